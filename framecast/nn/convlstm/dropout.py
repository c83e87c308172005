"""Dropout masks that all steps of one sequence share, one for each of the four gates.

Source: `keras/src/layers/rnn/dropout_rnn_cell.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class DropoutMasks(NamedTuple):
    """What a sequence's inputs and states are multiplied by; None where nothing is dropped."""

    inputs_4BCHW: Tensor | None = None
    state_4BFHW: Tensor | None = None


NO_DROPOUT = DropoutMasks()


def sample_mask(rate: float, shape: Sequence[int], like: Tensor, seed: int | None) -> Tensor | None:
    """Draw four masks of `shape`, 0 at `rate` and 1 / (1 - rate) elsewhere; None for rate 0.

    They have the dtype and device of `like`. `seed` None draws from PyTorch's own generator.
    """
    if rate == 0.0:  # so that the fused recurrence, which has no masks, can be taken
        return None
    # A generator cannot draw on the meta device, where nothing is drawn anyway.
    seeded = seed is not None and not like.is_meta
    generator = torch.Generator(like.device).manual_seed(seed) if seeded else None
    # Inverted dropout: dividing now keeps the expectation, so that prediction needs no scaling.
    return like.new_empty((4, *shape)).bernoulli_(1 - rate, generator=generator) / (1 - rate)
