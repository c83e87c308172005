"""The losses: predicted frames and a batch in, a number out.

Axes: B batch, T lead times, C image channels, H rows, W columns; frames are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from framecast.data.batches import Batch

FLOOR = 1e-4
"""Mean squared error added to the last frame's, so that still windows do not count endlessly: a
hundredth of the full range, squared."""


def skill_loss(frames_BTCHW: Tensor, batch: Batch) -> Tensor:
    """Mean over windows and lead times of log(1 + MSE / (MSE of the last frame repeated + FLOOR)).

    What counts is the error relative to persistence, so that wild windows and late lead times,
    whose errors are large whatever one does, do not drown the others; the logarithm keeps single
    frames that go wrong altogether from doing so.
    """
    reference_BT = _mse_per_frame(batch.context_BTCHW[:, -1:], batch.target_BTCHW)
    relative_BT = _mse_per_frame(frames_BTCHW, batch.target_BTCHW) / (reference_BT + FLOOR)
    return relative_BT.log1p().mean()


def squared_error(frames_BTCHW: Tensor, batch: Batch) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(frames_BTCHW, batch.target_BTCHW)


def absolute_error(frames_BTCHW: Tensor, batch: Batch) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(frames_BTCHW, batch.target_BTCHW)


def mixed_error(frames_BTCHW: Tensor, batch: Batch) -> Tensor:
    """Mean squared plus mean absolute error."""
    return squared_error(frames_BTCHW, batch) + absolute_error(frames_BTCHW, batch)


def cross_entropy(frames_BTCHW: Tensor, batch: Batch) -> Tensor:
    """Mean binary cross-entropy in nats of frames in [0, 1]; Shi et al., 2015, sum instead."""
    with torch.autocast(frames_BTCHW.device.type, enabled=False):  # which refuses it
        return F.binary_cross_entropy(frames_BTCHW, batch.target_BTCHW)


def _mse_per_frame(frames_BTCHW: Tensor, truth_BTCHW: Tensor) -> Tensor:
    # One pass forward and one backward over the frames, where a difference, squared, takes six.
    errors = F.mse_loss(frames_BTCHW.expand_as(truth_BTCHW), truth_BTCHW, reduction="none")
    return errors.mean(dim=(2, 3, 4))


LOSSES: dict[str, Callable[[Tensor, Batch], Tensor]] = {
    "skill": skill_loss,
    "mse": squared_error,
    "mae": absolute_error,
    "mix": mixed_error,
    "bce": cross_entropy,
}
