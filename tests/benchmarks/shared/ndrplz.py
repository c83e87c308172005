"""The layer of ndrplz/ConvLSTM_pytorch, from a checkout of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from torch import nn


def ndrplz_layer(checkout: Path, channels: int, filters: int, kernel: int) -> nn.Module:
    """One layer, (B, T, C, H, W) in; its first output holds that of all steps."""
    spec = importlib.util.spec_from_file_location("ndrplz", checkout / "convlstm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ConvLSTM(channels, filters, (kernel, kernel), 1, batch_first=True)
