"""The mix of guesses with the least squared error at each lead time: a ridge regression.

A mix leans: the weight of a guess is a number of its own plus another times how far the share of
the context that is remembered overall lies from the middle of what it was calibrated on.

Axes: B batch, n lead times, K guesses, L = 2 K with those times the share behind those as they are,
C image channels, H rows, W columns, D all numbers of a frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from framecast.nn.widths import GUESSES, LEADS

RIDGE = 3e-3
"""How strongly the mix is drawn to the first guess, relative to what it mixes."""

FLOOR = 1e-4
"""Mean squared error below which windows no longer count more for being easy; frames in [0, 1]."""

NARROWEST = 0.05
"""Half of the range of shares that a mix leans over, if those it was calibrated on differ less."""

REMEMBERED, MOVED, STILL = 0, 1, -1
"""Where among the guesses some of them are."""


class Mix(NamedTuple):
    """Weights of each guess, how they lean, and the least and the most share they were found on."""

    weights_nK: Tensor
    lean_nK: Tensor
    shares_2: Tensor


class MixRegression:
    """Sums over windows, from which the mix of the first `LEADS` lead times is solved for.

    A window's error counts relative to that of its last frame, repeated and moved along, so that
    wild windows do not drown the quiet ones; a ridge draws the mix to the first guess, and to
    leaning nowhere.
    """

    def __init__(self) -> None:
        self.products_nLL = torch.zeros(LEADS, 2 * GUESSES, 2 * GUESSES, dtype=torch.float64)
        self.sums_nL1 = torch.zeros(LEADS, 2 * GUESSES, 1, dtype=torch.float64)
        self.shares: list[float] = []
        self.longest = 0

    def add(self, guesses_nKCHW: Tensor, target_nCHW: Tensor, share: float) -> None:
        """Add a window: its guesses, what came, and the share of its context that is remembered."""
        n = len(target_nCHW)
        guesses_nKD = guesses_nKCHW.flatten(2).double()
        target_nD1 = target_nCHW.flatten(1).double().unsqueeze(2)
        # A frame may stand still by chance: what moved along has to be near it as well.
        errors_n2D = guesses_nKD[:, [MOVED, STILL]] - target_nD1.mT
        error_n11 = errors_n2D.square().mean(dim=(1, 2), keepdim=True)
        scaled_nKD = guesses_nKD / (error_n11 + FLOOR)
        factors_2 = torch.tensor([1.0, share], dtype=torch.float64)
        products_nKK = scaled_nKD @ guesses_nKD.mT
        self.products_nLL[:n] += torch.kron(factors_2.outer(factors_2), products_nKK)
        self.sums_nL1[:n] += torch.kron(factors_2[:, None], scaled_nKD @ target_nD1)
        self.shares.append(share)
        self.longest = max(self.longest, n)

    def solve(self) -> Mix | None:
        """The best mix, that of the longest lead time for all beyond it; None without windows."""
        if self.longest == 0:
            return None
        shares_2 = torch.tensor([min(self.shares), max(self.shares)], dtype=torch.float64)
        middle, half = (value.item() for value in _middle_and_half(shares_2))
        # From the factors 1 and share to 1 and how far that is from the middle, in half ranges.
        change_22 = torch.tensor([[1.0, 0.0], [-middle / half, 1 / half]], dtype=torch.float64)
        change_LL = torch.kron(change_22, torch.eye(GUESSES, dtype=torch.float64))
        products_nLL = change_LL @ self.products_nLL[: self.longest] @ change_LL.mT
        sums_nL1 = change_LL @ self.sums_nL1[: self.longest]
        energy_nK = products_nLL.diagonal(dim1=1, dim2=2)[:, :GUESSES]
        ridge_n = RIDGE * energy_nK.mean(dim=1).clamp(min=1e-12)
        ridge_nLL = ridge_n.view(-1, 1, 1) * torch.eye(2 * GUESSES, dtype=torch.float64)
        mix_nL1 = torch.linalg.solve(
            products_nLL + ridge_nLL, sums_nL1 + ridge_nLL[:, :, [REMEMBERED]]
        )
        mix_nL = mix_nL1[torch.arange(LEADS).clamp(max=self.longest - 1), :, 0]
        return Mix(mix_nL[:, :GUESSES], mix_nL[:, GUESSES:], shares_2)


def leaning(share_B: Tensor, shares_2: Tensor) -> Tensor:
    """How far a mix leans, (B,): from -1 at the least share to 1 at the most, and no farther."""
    middle, half = _middle_and_half(shares_2)
    return (torch.clamp(share_B, shares_2[0], shares_2[1]) - middle) / half


def _middle_and_half(shares_2: Tensor) -> tuple[Tensor, Tensor]:
    """The middle of the range between two shares, and half of its width."""
    least, most = shares_2.unbind()
    return (least + most) / 2, ((most - least) / 2).clamp(min=NARROWEST)
