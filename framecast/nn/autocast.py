"""The dtype that autocast gives to convolutions, and regions without autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast_type(device: torch.device) -> torch.dtype | None:
    """The type in which autocast has convolutions computed on this device; None outside of it."""
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)


def as_given(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast; where there is none anyway, as on meta tensors, it does nothing.

    A region that switches autocast off doubles the time that `torch.export` takes.
    """
    if autocast_type(device) is None:
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
