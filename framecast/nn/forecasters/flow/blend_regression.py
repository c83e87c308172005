"""The mix of guesses with the least squared error at each lead time: a ridge regression.

A mix leans: the weight of a guess is a number of its own, plus another times how far the share of
the context that is remembered overall lies from the middle of what it was calibrated on, plus one
more times each sign of the place.

Axes: B batch, n lead times, K guesses, C image channels, H rows, W columns, D the numbers of a
frame; G signs, in a lean the share before them; P = (1 + G) K guesses as they are and times each
sign, L = (2 + G) K with those times the share in between.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from framecast.nn.forecasters.flow.constants import GUESSES, LEADS, SIGNS

RIDGE, SMOOTHNESS = 0.05, 5.0
"""How strongly the mix is drawn to the first guess, and to those of the lead times before and
after: a weight that is off by 1 counts like this many windows whose error is that of their last
frame moved along."""

FLOOR = 1e-4
"""Mean squared error below which windows no longer count more for being easy; frames in [0, 1]."""

NARROWEST = 0.05
"""Half of the range of shares that a mix leans over, if those it was calibrated on differ less."""

PIXELS = 64 * 64
"""Of larger frames no more than about so many are looked at, in even steps."""

REMEMBERED, MOVED, STILL = 0, 1, -1
"""Where among the guesses some of them are."""

FACTORS = 2 + SIGNS
"""What guesses are multiplied by: 1, the share, and each sign."""


class Mix(NamedTuple):
    """Weights of each guess, how they lean, and the least and the most share they were found on."""

    weights_nK: Tensor
    lean_nGK: Tensor
    shares_2: Tensor


class MixRegression:
    """Sums over windows, from which the mix of the first `LEADS` lead times is solved for.

    A window's error counts relative to that of its last frame moved along, so that wild windows do
    not drown the quiet ones; a ridge draws the mix to the first guess, and to leaning nowhere,
    and mixes of neighbouring lead times together.
    """

    def __init__(self) -> None:
        unknowns = FACTORS * GUESSES
        self.products_nLL = torch.zeros(LEADS, unknowns, unknowns, dtype=torch.float64)
        self.sums_nL1 = torch.zeros(LEADS, unknowns, 1, dtype=torch.float64)
        self.shares: list[float] = []
        self.longest = 0

    def add(
        self, guesses_nKCHW: Tensor, signs_nGHW: Tensor, target_nCHW: Tensor, share: float
    ) -> None:
        """Add a window: its guesses and their signs, what came, and the share of its context that
        is remembered.
        """
        step = math.ceil(math.sqrt(target_nCHW[0, 0].numel() / PIXELS))
        # The share is the same at all places, so products with it need no sum of their own.
        with_share_FF = torch.eye(FACTORS, dtype=torch.float64)[:, [0, *range(2, FACTORS)]]
        with_share_FF[1, 0] = share
        with_share_LP = torch.kron(with_share_FF, torch.eye(GUESSES, dtype=torch.float64))
        windows = (maps[..., ::step, ::step] for maps in (guesses_nKCHW, signs_nGHW, target_nCHW))
        for lead, (guesses_KCHW, signs_GHW, target_CHW) in enumerate(zip(*windows, strict=True)):
            factors_FHW = torch.cat((torch.ones_like(signs_GHW[:1]), signs_GHW)).double()
            terms_FKCHW = factors_FHW[:, None, None] * guesses_KCHW.double()
            terms_PD = terms_FKCHW.flatten(2).flatten(0, 1)
            target_D1 = target_CHW.double().reshape(-1, 1)
            error = (terms_PD[MOVED] - target_D1[:, 0]).square().mean() + FLOOR
            scaled_PD = terms_PD / (error * target_D1.numel())
            products_PP = scaled_PD @ terms_PD.mT
            self.products_nLL[lead] += with_share_LP @ products_PP @ with_share_LP.mT
            self.sums_nL1[lead] += with_share_LP @ (scaled_PD @ target_D1)
        self.shares.append(share)
        self.longest = max(self.longest, len(target_nCHW))

    def solve(self) -> Mix | None:
        """The best mix, that of the longest lead time for all beyond it; None without windows."""
        if self.longest == 0:
            return None
        shares_2 = torch.tensor([min(self.shares), max(self.shares)], dtype=torch.float64)
        middle, half = (value.item() for value in _middle_and_half(shares_2))
        # From the share to how far that is from the middle, in half ranges.
        change_FF = torch.eye(FACTORS, dtype=torch.float64)
        change_FF[1, :2] = torch.tensor([-middle / half, 1 / half])
        change_LL = torch.kron(change_FF, torch.eye(GUESSES, dtype=torch.float64))
        products_nLL = change_LL @ self.products_nLL[: self.longest] @ change_LL.mT
        sums_nL1 = change_LL @ self.sums_nL1[: self.longest]
        ridge_LL = RIDGE * torch.eye(FACTORS * GUESSES, dtype=torch.float64)
        mix_nL1 = _chained(products_nLL + ridge_LL, sums_nL1 + ridge_LL[:, [REMEMBERED]])
        mix_nL = mix_nL1[torch.arange(LEADS).clamp(max=self.longest - 1), :, 0]
        mix_nFK = mix_nL.unflatten(1, (FACTORS, GUESSES))
        return Mix(mix_nFK[:, 0], mix_nFK[:, 1:], shares_2)


def _chained(products_nLL: Tensor, sums_nL1: Tensor) -> Tensor:
    """Solve for all lead times at once, neighbours held together by SMOOTHNESS.

    A block tridiagonal system: eliminated from the first lead time on, filled in from the last.
    """
    n, L = sums_nL1.shape[:2]
    neighbours_n = torch.tensor([(i > 0) + (i < n - 1) for i in range(n)], dtype=torch.float64)
    held_nLL = products_nLL + SMOOTHNESS * neighbours_n.view(-1, 1, 1) * torch.eye(L).double()
    inverse_LL, mix_L1 = torch.zeros_like(held_nLL[0]), torch.zeros_like(sums_nL1[0])
    inverses, mixes = [], []
    for lead in range(n):
        inverse_LL = torch.linalg.inv(held_nLL[lead] - SMOOTHNESS**2 * inverse_LL)
        mix_L1 = inverse_LL @ (sums_nL1[lead] + SMOOTHNESS * mix_L1)
        inverses.append(inverse_LL)
        mixes.append(mix_L1)
    for lead in reversed(range(n - 1)):
        mixes[lead] = mixes[lead] + SMOOTHNESS * inverses[lead] @ mixes[lead + 1]
    return torch.stack(mixes)


def leaning(share_B: Tensor, shares_2: Tensor) -> Tensor:
    """How far a mix leans, (B,): from -1 at the least share to 1 at the most, and no farther."""
    middle, half = _middle_and_half(shares_2)
    return (torch.clamp(share_B, shares_2[0], shares_2[1]) - middle) / half


def _middle_and_half(shares_2: Tensor) -> tuple[Tensor, Tensor]:
    """The middle of the range between two shares, and half of its width."""
    least, most = shares_2.unbind()
    return (least + most) / 2, ((most - least) / 2).clamp(min=NARROWEST)
