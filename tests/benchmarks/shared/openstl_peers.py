"""OpenSTL's ConvLSTM-S and SimVP-gSTA, imported from a checkout of it, trained with its recipe.

Adam, batches of 16, one cycle of the learning rate over the budget, mean squared error. What its
200 epochs on a GPU reach is in `PUBLISHED`; a few minutes are another matter.
"""

from __future__ import annotations

import importlib
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BATCH, PATCH = 16, 4

PUBLISHED = {
    "ConvLSTM-S": {"mse": 29.80, "mae": 90.64, "ssim": 0.9288},
    "SimVP (IncepU)": {"mse": 32.15, "mae": 89.05, "ssim": 0.9268},
    "SimVP (gSTA)": {"mse": 26.69, "mae": 77.19, "ssim": 0.9402},
    "PredRNN++": {"mse": 22.06, "mae": 69.58, "ssim": 0.9509},
}
"""OpenSTL, docs/en/model_zoos/video_benchmarks.md, Moving MNIST, 200 epochs."""

PUBLISHED_BUDGET = (
    "published by OpenSTL, not measured here: 200 epochs of 10,000 fresh sequences (125,000 steps "
    "of 16) on a GPU, digits and test sequences of its own, the best epoch chosen on the test set"
)


class Peer(ABC):
    """A network of OpenSTL's with its recipe; a predictor once it is trained."""

    name: str
    lr: float
    network: torch.nn.Module

    @abstractmethod
    def loss(self, clips_BTCHW: Tensor, context: int, step: int) -> Tensor:
        """What a step of its recipe makes smaller."""

    @abstractmethod
    def predict(self, context_BTCHW: Tensor, horizon: int) -> Tensor:
        """Frames (B, horizon, C, H, W), not clipped."""

    def __call__(self, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
        """As a `rollout.Predictor`."""
        device = next(self.network.parameters()).device
        self.network.eval()
        with torch.inference_mode():
            frames_BTCHW = self.predict(context_BTCHW.to(device), horizon)
        yield from frames_BTCHW.unbind(1)


class ConvLSTMS(Peer):
    """configs/mmnist/ConvLSTM.py: 4 layers of 128, 5x5, patches of 4, scheduled sampling."""

    name, lr = "OpenSTL ConvLSTM-S", 5e-4
    falls = 2e-5

    def __init__(self, models: ModuleType, context: int, horizon: int, size: int) -> None:
        settings = SimpleNamespace(
            in_shape=(context, 1, size, size),
            patch_size=PATCH,
            filter_size=5,
            stride=1,
            layer_norm=0,
            reverse_scheduled_sampling=0,
            pre_seq_length=context,
            aft_seq_length=horizon,
        )
        self.network = models.ConvLSTM_Model(4, [128] * 4, settings)
        self.generator = torch.Generator().manual_seed(0)

    def loss(self, clips_BTCHW: Tensor, context: int, step: int) -> Tensor:
        batch, frames = clips_BTCHW.shape[:2]
        truths = torch.rand(batch, frames - context - 1, generator=self.generator)
        shown = (truths < max(1 - self.falls * (step + 1), 0)).to(clips_BTCHW)
        cells_BTHWC = to_cells(clips_BTCHW)
        mask = shown[:, :, None, None, None].expand(-1, -1, *cells_BTHWC.shape[2:])
        return self.network(cells_BTHWC, mask)[1]

    def predict(self, context_BTCHW: Tensor, horizon: int) -> Tensor:
        batch = len(context_BTCHW)
        unknown = torch.zeros_like(context_BTCHW[:, :1]).expand(-1, horizon, -1, -1, -1)
        cells_BTHWC = to_cells(torch.cat([context_BTCHW, unknown], dim=1))
        mask = torch.zeros(batch, horizon - 1, *cells_BTHWC.shape[2:], device=cells_BTHWC.device)
        cells_BTHWC = self.network(cells_BTHWC, mask, return_loss=False)[0]
        return from_cells(cells_BTHWC[:, -horizon:])


class SimVP(Peer):
    """configs/mmnist/simvp/SimVP_gSTA.py; as many frames out as in."""

    name, lr = "OpenSTL SimVP (gSTA)", 1e-3

    def __init__(self, models: ModuleType, context: int, horizon: int, size: int) -> None:
        if context != horizon:
            raise ValueError(f"SimVP forecasts as many frames as it sees, not {horizon}")
        shape = (context, 1, size, size)
        self.network = models.SimVP_Model(
            shape, hid_S=64, hid_T=512, N_S=4, N_T=8, model_type="gSTA"
        )

    def loss(self, clips_BTCHW: Tensor, context: int, step: int) -> Tensor:
        return F.mse_loss(
            self.network(clips_BTCHW[:, :context].contiguous()), clips_BTCHW[:, context:]
        )

    def predict(self, context_BTCHW: Tensor, horizon: int) -> Tensor:
        return self.network(context_BTCHW.contiguous())


def load_models(checkout: Path) -> ModuleType | str:
    """`openstl.models` from a checkout of OpenSTL, or why it cannot be imported."""
    sys.path.insert(0, str(checkout.resolve()))
    try:
        return importlib.import_module("openstl.models")
    except (ImportError, RuntimeError) as error:  # the latter from a torchvision that does not fit
        return f"openstl.models cannot be imported: {error}"
    finally:
        sys.path.pop(0)


def to_cells(clips_BTCHW: Tensor) -> Tensor:
    """Grey frames as squares of PATCH x PATCH pixels: (B, T, H / 4, W / 4, 16)."""
    cells_BTCHW = F.pixel_unshuffle(clips_BTCHW.flatten(0, 1), PATCH)
    return cells_BTCHW.unflatten(0, clips_BTCHW.shape[:2]).movedim(2, -1)


def from_cells(cells_BTHWC: Tensor) -> Tensor:
    """The inverse of `to_cells`."""
    cells_NCHW = cells_BTHWC.movedim(-1, 2).flatten(0, 1)
    return F.pixel_shuffle(cells_NCHW, PATCH).unflatten(0, cells_BTHWC.shape[:2])


def one_cycle(progress: float) -> tuple[float, float]:
    """Share of the highest learning rate, and Adam's first beta, by the share of the budget used.

    torch.optim.lr_scheduler.OneCycleLR with its defaults and OpenSTL's final_div_factor 1e4.
    """
    start, end, share = 1 / 25, 1 / 25 / 1e4, 0.3
    if progress < share:
        way = (1 - math.cos(math.pi * progress / share)) / 2
        return start + (1 - start) * way, 0.95 - 0.1 * way
    way = (1 - math.cos(math.pi * (progress - share) / (1 - share))) / 2
    return 1 + (end - 1) * way, 0.85 + 0.1 * way


def train_peer(
    peer: Peer, clips_NTHW: np.ndarray, context: int, minutes: float, device: str, seed: int = 0
) -> dict[str, Any]:
    """Train for `minutes` on sequences (N, T, H, W), uint8; returns the record of it."""
    network = peer.network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=peer.lr)
    generator, losses = np.random.default_rng(seed), []
    started = time.monotonic()
    while (progress := (time.monotonic() - started) / 60 / minutes) < 1:
        share, beta = one_cycle(progress)
        optimizer.param_groups[0].update(lr=peer.lr * share, betas=(beta, 0.999))
        clips = clips_NTHW[generator.integers(len(clips_NTHW), size=BATCH)]
        clips_BTCHW = torch.from_numpy(clips)[:, :, None].float().div(255).to(device)
        loss = peer.loss(clips_BTCHW, context, len(losses))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {
        "minutes": (time.monotonic() - started) / 60,
        "steps": len(losses),
        "batch": BATCH,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "last_loss": losses[-1],
    }
