"""The default forecaster: classical guesses, mixed by ConvLSTM2D layers.

Axes: B batch, T time (n lead times), K guesses, M motions, P pictures, S scales, G growths or
signs, C image channels, H rows, W columns, D the numbers of a frame; on the network's grid of patch
x patch pixels per cell: E embedding, F filters; I rows and J columns of the memory's cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framecast.config.schema import ModelConfig
from framecast.nn.autocast import as_given
from framecast.nn.convlstm.stack import States
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.flow.blend_regression import (
    MOVED,
    REMEMBERED,
    STILL,
    MixRegression,
    leaning,
)
from framecast.nn.forecasters.flow.constants import (
    BLURS,
    CARRIED_SIGNS,
    CELL,
    ESTIMATES,
    FLOW_HINTS,
    GROWTH_BLURS,
    GROWTH_FRAMES,
    GROWTHS,
    GUESSES,
    INFLOW,
    LEADS,
    MOTIONS,
    PICTURES,
    SCALES,
    SIGNS,
    SURPRISE_BLURS,
)
from framecast.nn.forecasters.flow.local_features import read_signs, within
from framecast.nn.forecasters.flow.optical_flow import (
    advect,
    beyond,
    coverage,
    gaussian_blur,
    lucas_kanade,
    moved_on,
    warp,
)
from framecast.nn.forecasters.flow.scale_persistence import Memory, recall, remembered
from framecast.nn.forecasters.layers import (
    Stem,
    ToPixels,
    grid_stack,
    over_time,
    pad_to_grid,
    zero_conv,
)


class FlowState(NamedTuple):
    """What the forecaster carries: what it has seen, how far that has moved, and the layers.

    `scales_BSCHW` holds the last frame, sharp and blurred ever more, `growths_BGCHW` what the
    first motion failed to explain, blurred and, last, sharp; the mix leans by `share_B`, what is
    remembered overall, and by the signs; a displacement points from a pixel of the newest forecast
    back to where it was in the last frame; `lead_B` counts the frames forecast so far.
    """

    scales_BSCHW: Tensor
    mean_BCHW: Tensor
    growths_BGCHW: Tensor
    signs_BGHW: Tensor
    memory: Memory
    share_B: Tensor
    velocities_BM2HW: Tensor
    displacements_BM2HW: Tensor
    lead_B: Tensor
    layers: States


class Outlook(NamedTuple):
    """The classical part of `n` lead times: guesses, the signs by which their mix leans, and what
    the layers are shown."""

    guesses_BnKCHW: Tensor
    signs_BnGHW: Tensor
    seen_BnCHW: Tensor
    displacements_BnM2HW: Tensor


class FlowConvLSTM(Forecaster):
    """Optical-flow extrapolation at several scales, mixed and corrected by ConvLSTM2D layers.

    Guesses at each lead time are the last frame with each of its scales as far as it is remembered
    (`memory.py`), carried along the first estimated motion (semi-Lagrangian); the last frame
    carried along every motion, sharp and blurred; its growth and decay, of the last frame and of
    the newest, carried along the first; what that brings in over the border, where nothing was
    seen; the mean of the context; and the last frame as it is. The forecast is their weighted sum,
    with weights of each lead time that `calibrate` solves for, leaning the one way or the other by
    how much of the context is remembered overall and by the signs of each place (`signs.py`), and
    to which the layers add cell by cell; plus a residual that they paint in
    proportion to how much the guesses differ. The layers read every context frame
    beside what the first motion fails to explain in it, then both carried to every lead time, and
    what is remembered of each scale. What they add starts at zero: an untrained network gives the
    first guess.
    """

    recordable = False

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        self.patch, embedding = config.patch, config.filters[0]
        self.stem = Stem(2 * channels, config.patch, embedding)
        self.stack = grid_stack(embedding + FLOW_HINTS, config.filters, config.kernel_sizes)
        self.head = zero_conv(config.filters[-1], GUESSES)
        self.paint = ToPixels(config.filters[-1], channels, config.patch)
        first_guess = torch.zeros(LEADS, GUESSES)
        first_guess[:, REMEMBERED] = 1
        self.mix = nn.Parameter(first_guess)
        self.lean = nn.Parameter(torch.zeros(LEADS, 1 + SIGNS, GUESSES))
        self.register_buffer("shares", torch.tensor([0.0, 1.0]))
        self.register_buffer("usual", torch.tensor([[-1.0], [1.0]]).repeat(1, SIGNS))

    def encode(self, context_BTCHW: Tensor) -> FlowState:
        B, T, _, H, W = context_BTCHW.shape
        seen = context_BTCHW.float()
        with as_given(seen.device):
            velocities_BM2HW = self._velocities(seen)
            surprise_BTCHW = self._surprises(seen, velocities_BM2HW[:, 0])
            scales_BSCHW, mean_BCHW = _blurs(seen[:, -1], (None, *SCALES)), seen.mean(dim=1)
            growths_BGCHW = self._growths(surprise_BTCHW, velocities_BM2HW[:, 0])
            signs_BGHW = read_signs(seen, surprise_BTCHW, velocities_BM2HW)
            signs_BGHW = within(signs_BGHW, self.usual)
            memory = recall(seen, velocities_BM2HW[:, 0])
        displacements_BM2HW = torch.zeros_like(velocities_BM2HW)
        x_BTEHW = self._inputs(
            torch.cat((seen, surprise_BTCHW), dim=2),
            velocities_BM2HW[:, 0],
            displacements_BM2HW[:, :1].expand(B, T, 2, H, W),
            seen.new_zeros(B, T),
            memory,
        )
        _, layers = self.stack(x_BTEHW)
        return FlowState(
            scales_BSCHW,
            mean_BCHW,
            growths_BGCHW,
            signs_BGHW,
            memory,
            memory.overall(),
            velocities_BM2HW,
            displacements_BM2HW,
            torch.zeros(B, dtype=torch.int64, device=seen.device),
            layers,
        )

    def step(self, state: FlowState) -> tuple[Tensor, FlowState]:
        frames_B1CHW, after = self._forecast(state, 1)
        return frames_B1CHW[:, 0], after

    def forward(self, context_BTCHW: Tensor, horizon: int) -> Tensor:
        """All lead times in one pass, as (B, horizon, C, H, W): the frames of as many steps."""
        return self._forecast(self.encode(context_BTCHW), horizon)[0]

    def _forecast(self, state: FlowState, n: int) -> tuple[Tensor, FlowState]:
        """The next `n` frames (B, n, C, H, W), and the state behind the last of them."""
        outlook = self._look_ahead(state, n)
        size = outlook.seen_BnCHW.shape[-2:]
        lead_Bn = state.lead_B.unsqueeze(1) + torch.arange(1, n + 1, device=state.lead_B.device)
        x_BnEHW = self._inputs(
            outlook.seen_BnCHW,
            state.velocities_BM2HW[:, 0],
            outlook.displacements_BnM2HW[:, :, 0],
            lead_Bn.to(outlook.seen_BnCHW),
            state.memory,
        )
        h_BnFHW, layers = self.stack(x_BnEHW, state.layers)
        h_NFHW = h_BnFHW.flatten(0, 1)
        weights_BnKHW = self._spread(self.head(h_NFHW).float(), size).unflatten(0, lead_Bn.shape)
        residual_BnCHW = self.paint(h_NFHW, size).float().unflatten(0, lead_Bn.shape)
        frames_BnCHW = (outlook.guesses_BnKCHW * weights_BnKHW.unsqueeze(3)).sum(dim=2)
        frames_BnCHW = frames_BnCHW + self._leant(outlook, lead_Bn, state.share_B)
        frames_BnCHW = frames_BnCHW + self._doubt(outlook.guesses_BnKCHW) * residual_BnCHW
        after = state._replace(
            displacements_BM2HW=outlook.displacements_BnM2HW[:, -1],
            lead_B=lead_Bn[:, -1],
            layers=layers,
        )
        return self.bounded(frames_BnCHW), after

    def _look_ahead(self, state: FlowState, n: int) -> Outlook:
        """Carry the pictures along every motion, frame after frame."""
        B, _, C = state.scales_BSCHW.shape[:3]
        ways_BnM2HW = self._ways(state, n)
        sharp_and_blurred = [0, *(1 + SCALES.index(sigma) for sigma in BLURS)]
        frames_BPHW = state.scales_BSCHW[:, sharp_and_blurred].flatten(1, 2)
        growths_BPHW = state.growths_BGCHW.flatten(1, 2)
        last_BCHW, widest_BCHW = frames_BPHW[:, :C], state.scales_BSCHW[:, -1]
        leads_n = torch.arange(1, n + 1, device=state.lead_B.device)
        share_BnSIJ = state.memory.after(state.lead_B.unsqueeze(1) + leads_n)
        first_BnCHW = remembered(state.scales_BSCHW, share_BnSIJ)
        carried_BGHW, staying_BGHW = state.signs_BGHW.tensor_split([CARRIED_SIGNS], dim=1)
        others_BPHW = torch.cat((frames_BPHW, widest_BCHW, growths_BPHW, carried_BGHW), dim=1)
        first_way_N2HW = ways_BnM2HW[:, :, 0].flatten(0, 1)
        moved_NPHW = warp(
            torch.cat((first_BnCHW, _repeated(others_BPHW, n)), dim=2).flatten(0, 1), first_way_N2HW
        )
        pictures_NPHW, border_NCHW, growth_NPHW, signs_NGHW = moved_NPHW.split(
            ((1 + PICTURES) * C, C, (GROWTHS + 1) * C, CARRIED_SIGNS), dim=1
        )
        sharp_NCHW = pictures_NPHW[:, C : 2 * C]
        unseen_N1HW = 1 - torch.exp(-beyond(first_way_N2HW) / INFLOW)
        other_ways_K2HW = ways_BnM2HW[:, :, 1:].flatten(0, 2)
        elsewhere_KPHW = warp(
            _repeated(frames_BPHW, n * (MOTIONS - 1)).flatten(0, 1), other_ways_K2HW
        )
        # The sharp surprise is no guess: only the layers see it.
        guesses = (
            pictures_NPHW,
            growth_NPHW[:, :-C],
            torch.cat((sharp_NCHW, border_NCHW), dim=1) * unseen_N1HW,
            elsewhere_KPHW.unflatten(0, (B * n, MOTIONS - 1)).flatten(1, 2),
            _repeated(torch.cat((state.mean_BCHW, last_BCHW), dim=1), n).flatten(0, 1),
        )
        seen_NCHW = torch.cat((sharp_NCHW, growth_NPHW[:, -C:]), dim=1)
        return Outlook(
            torch.cat(guesses, dim=1).unflatten(1, (GUESSES, C)).unflatten(0, (B, n)),
            torch.cat((signs_NGHW.unflatten(0, (B, n)), _repeated(staying_BGHW, n)), dim=2),
            seen_NCHW.unflatten(0, (B, n)),
            ways_BnM2HW,
        )

    def _ways(self, state: FlowState, n: int) -> Tensor:
        """The displacements of every motion at each of `n` lead times, (B, n, M, 2, H, W)."""
        velocity_N2HW = state.velocities_BM2HW.flatten(0, 1)
        ways = [state.displacements_BM2HW.flatten(0, 1)]
        for _ in range(n):
            ways.append(advect(ways[-1], velocity_N2HW))
        return torch.stack(ways[1:]).unflatten(1, (-1, MOTIONS)).transpose(0, 1)

    def _leant(self, outlook: Outlook, lead_Bn: Tensor, share_B: Tensor) -> Tensor:
        """The guesses in the mix of these lead times, which leans: (B, n, C, H, W)."""
        mix_Bn = (lead_Bn - 1).clamp(max=LEADS - 1)
        by_share_Bn1K, by_sign_BnGK = self.lean[mix_Bn].tensor_split([1], dim=2)
        lean_B111 = leaning(share_B, self.shares)[:, None, None, None]
        mix_Bn1K = self.mix[mix_Bn].unsqueeze(2) + by_share_Bn1K * lean_B111
        # One product for all signs: to add up weights pixel by pixel takes far more memory traffic.
        with as_given(share_B.device):
            weights_BnGK = torch.cat((mix_Bn1K, by_sign_BnGK), dim=2)
            mixed_BnGD = weights_BnGK @ outlook.guesses_BnKCHW.flatten(3)
        shape = outlook.guesses_BnKCHW.shape[3:]
        upright_BnCHW, *leaning_GBnCHW = mixed_BnGD.unflatten(3, shape).unbind(dim=2)
        for part_BnCHW, sign_BnHW in zip(
            leaning_GBnCHW, outlook.signs_BnGHW.unbind(dim=2), strict=True
        ):
            upright_BnCHW = torch.addcmul(upright_BnCHW, part_BnCHW, sign_BnHW.unsqueeze(2))
        return upright_BnCHW

    @torch.no_grad()
    def calibrate(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Solve for the mix of guesses that is best on these; no windows change nothing."""
        regression, means = MixRegression(), []
        for context_BTCHW, target_BTCHW in windows:
            n = min(target_BTCHW.shape[1], LEADS)
            state = self.encode(context_BTCHW)
            outlook = self._look_ahead(state, n)
            means.append(state.signs_BGHW.mean(dim=(2, 3)))
            for window in zip(
                outlook.guesses_BnKCHW.cpu(),
                outlook.signs_BnGHW.cpu(),
                target_BTCHW[:, :n].cpu(),
                state.share_B.tolist(),
                strict=True,
            ):
                regression.add(*window)
        found = regression.solve()
        if found is not None:
            self.mix.copy_(found.weights_nK)
            self.lean.copy_(found.lean_nGK)
            self.shares.copy_(found.shares_2)
            self.usual.copy_(torch.stack(torch.cat(means).aminmax(dim=0)))

    def _velocities(self, context_BTCHW: Tensor) -> Tensor:
        grey_BTHW = context_BTCHW.mean(dim=2)
        newest = (
            grey_BTHW if frames is None else grey_BTHW[:, -frames:] for _, frames in ESTIMATES
        )
        pairs = [lucas_kanade(g, sigma) for g, (sigma, _) in zip(newest, ESTIMATES, strict=True)]
        return torch.stack([*(fine for fine, _ in pairs), pairs[0][1]], dim=1)

    def _surprises(self, context_BTCHW: Tensor, velocity_B2HW: Tensor) -> Tensor:
        """Each frame minus its predecessor moved along; the first frame has none: zeros."""
        if context_BTCHW.shape[1] == 1:
            return torch.zeros_like(context_BTCHW)
        unexplained = context_BTCHW[:, 1:] - moved_on(context_BTCHW[:, :-1], velocity_B2HW)
        return F.pad(unexplained, (0, 0, 0, 0, 0, 0, 1, 0))

    def _growths(self, surprise_BTCHW: Tensor, velocity_B2HW: Tensor) -> Tensor:
        """The last surprise and the mean of the newest, carried to the last frame: blurred, then
        the last as it is, (B, G, C, H, W).
        """
        last_BCHW = surprise_BTCHW[:, -1]
        newest = surprise_BTCHW[:, 1:][:, -GROWTH_FRAMES:].unbind(dim=1)[::-1]
        sum_BCHW, displacement_B2HW = last_BCHW, torch.zeros_like(velocity_B2HW)
        for older_BCHW in newest[1:]:
            displacement_B2HW = advect(displacement_B2HW, velocity_B2HW)
            sum_BCHW = sum_BCHW + warp(older_BCHW, displacement_B2HW)
        mean_BCHW = sum_BCHW / max(len(newest), 1)
        blurred = (_blurs(last_BCHW, SURPRISE_BLURS), _blurs(mean_BCHW, GROWTH_BLURS))
        return torch.cat((*blurred, last_BCHW.unsqueeze(1)), dim=1)

    def _inputs(
        self,
        seen_BTCHW: Tensor,
        velocity_B2HW: Tensor,
        displacement_BT2HW: Tensor,
        lead_BT: Tensor,
        memory: Memory,
    ) -> Tensor:
        """What the layers are told: the embedded picture and, per cell, hints.

        The velocity in cells per frame, how much of a cell comes from inside the frame, the lead
        time / 12, and what is left of each scale after one frame. (B, T, E + hints, H, W) on the
        grid.
        """
        embedded_BTEHW = over_time(self.stem, seen_BTCHW)
        inside_BT1HW = over_time(coverage, displacement_BT2HW)
        velocity = (velocity_B2HW / self.patch).unsqueeze(1).expand_as(displacement_BT2HW)
        hints_BT3HW = over_time(self._on_grid, torch.cat((velocity, inside_BT1HW), dim=2))
        lead_BT1HW = (lead_BT / 12)[..., None, None, None].expand_as(hints_BT3HW[:, :, :1])
        first_BSHW = F.interpolate(memory.first_BSIJ, scale_factor=CELL, mode="bilinear")
        H, W = seen_BTCHW.shape[-2:]
        memory_BSHW = self._on_grid(first_BSHW[..., :H, :W])
        memory_BTSHW = memory_BSHW.unsqueeze(1).expand(-1, lead_BT.shape[1], -1, -1, -1)
        return torch.cat((embedded_BTEHW, hints_BT3HW, lead_BT1HW, memory_BTSHW), dim=2)

    def _on_grid(self, maps_NMHW: Tensor) -> Tensor:
        """Mean over each cell's pixels."""
        return F.avg_pool2d(pad_to_grid(maps_NMHW, self.patch), self.patch)

    def _spread(self, maps_NMHW: Tensor, size: tuple[int, int]) -> Tensor:
        """Interpolate per-cell maps to pixels, the padding cropped off."""
        if self.patch > 1:
            maps_NMHW = F.interpolate(maps_NMHW, scale_factor=self.patch, mode="bilinear")
        return maps_NMHW[..., : size[0], : size[1]]

    def _doubt(self, guesses_BnKCHW: Tensor) -> Tensor:
        """How much guesses differ, smoothed over cells: (B, n, 1, H, W).

        Mean distance of the frame moved along from the same blurred, and from the frame unmoved: 0
        where nothing moves and nothing is to be seen.
        """
        ways = (MOVED, MOVED + len(BLURS), STILL)
        moved, blurred, still = (guesses_BnKCHW[:, :, k] for k in ways)
        doubt_BnCHW = ((moved - blurred).abs() + (moved - still).abs()) / 2
        doubt_Bn1HW = doubt_BnCHW.mean(dim=2, keepdim=True)
        cells_N1HW = self._on_grid(doubt_Bn1HW.flatten(0, 1))
        size = guesses_BnKCHW.shape[-2:]
        return self._spread(cells_N1HW, size).unflatten(0, guesses_BnKCHW.shape[:2])


def _blurs(image_BCHW: Tensor, sigmas: Iterable[float | None]) -> Tensor:
    """An image blurred to each width, None for not at all: (B, sigmas, C, H, W)."""
    blurred = [image_BCHW if s is None else gaussian_blur(image_BCHW, s) for s in sigmas]
    return torch.stack(blurred, dim=1)


def _repeated(image_BCHW: Tensor, n: int) -> Tensor:
    """The same image `n` times, (B, n, C, H, W)."""
    return image_BCHW.unsqueeze(1).expand(-1, n, -1, -1, -1)
