"""The blend of a forecast with classical candidates that has the least squared error.

Ridge regression (Hoerl & Kennard 1970), smoothed over lead times.

Axes: n lead times, J candidates, B batch, C image channels, H rows, W columns, D the pixels of all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

RIDGE, SMOOTHNESS = 0.05, 1.0
"""How strongly the blend is drawn to the forecast alone, and to those of the lead times before and
after: a weight that is off by 1 counts like this share of all windows' error."""

FLOOR = 1e-5
"""Mean squared error below which windows no longer count more for being easy; frames in [0, 1]."""

PIXELS = 64 * 64
"""Largest number of pixels, about, that are used of a frame: larger ones are subsampled evenly."""


class BlendRegression:
    """Sums over windows, from which the blending weights of every lead time are solved for.

    The error of a window counts relative to that of the forecast, so that wild windows do not drown
    the quiet ones.
    """

    def __init__(self, leads: int, candidates: int) -> None:
        self.products_nJJ = torch.zeros(leads, candidates, candidates, dtype=torch.float64)
        self.sums_nJ = torch.zeros(leads, candidates, dtype=torch.float64)
        self.windows = 0
        self.longest = 0

    def add(self, lead: int, terms_BJCHW: Tensor, target_BCHW: Tensor) -> None:
        """Add windows at one lead time, counted from 0: candidates, the forecast last; the target.

        Lead times come in order.
        """
        step = math.ceil(math.sqrt(target_BCHW[0, 0].numel() / PIXELS))
        self.windows += len(target_BCHW) if lead == 0 else 0
        self.longest = max(self.longest, lead + 1)
        for terms_JCHW, target_CHW in zip(
            terms_BJCHW[..., ::step, ::step].cpu().double(),
            target_BCHW[..., ::step, ::step].cpu().double(),
            strict=True,
        ):
            terms_JD, target_D = terms_JCHW.flatten(1), target_CHW.flatten()
            # Regressed are deviations from the forecast, so that ridge pulls towards it, not to 0.
            missed_D = target_D - terms_JD[-1]
            change_JD = terms_JD[:-1] - terms_JD[-1]
            error = (missed_D.square().mean() + FLOOR) * len(target_D)
            self.products_nJJ[lead] += change_JD @ change_JD.mT / error
            self.sums_nJ[lead] += change_JD @ missed_D / error

    def solve(self) -> Tensor | None:
        """Weights (n, J), those of the longest lead time for all after it; None without windows."""
        n, J = self.longest, self.sums_nJ.shape[1]
        if n == 0:
            return None
        # In proportion to the number of windows: a prior of the same strength for any clip length.
        held = self.windows * torch.eye(J, dtype=torch.float64)
        system_nJnJ = torch.zeros(n, J, n, J, dtype=torch.float64)
        for lead in range(n):
            system_nJnJ[lead, :, lead] += self.products_nJJ[lead] + RIDGE * held
            for neighbour in (lead - 1, lead + 1):
                if 0 <= neighbour < n:
                    system_nJnJ[lead, :, lead] += SMOOTHNESS * held
                    system_nJnJ[lead, :, neighbour] -= SMOOTHNESS * held
        weights_D = torch.linalg.solve(
            system_nJnJ.reshape(n * J, n * J), self.sums_nJ[:n].reshape(n * J)
        )
        weights_nJ = weights_D.view(n, J)
        leads = torch.arange(len(self.sums_nJ)).clamp(max=n - 1)
        return weights_nJ[leads].float()
