"""The default forecaster: ConvLSTM2D layers that blend, move and paint what classical motion shows.

Axes: B batch, T time, K candidates, C image channels, H rows, W columns of frames; h rows and w
columns at working size; E embedding channels on the fine grid of 4 x 4 pixels (at working size) per
cell, X channels and F filters on the layers' grids of 8 x 8, 16 x 16, ... pixels per cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framecast.config.schema import ModelConfig
from framecast.nn.autocast import as_given
from framecast.nn.convlstm.stack import ConvLSTMStack, States
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.flow.blend_regression import BlendRegression
from framecast.nn.forecasters.flow.candidates import (
    at_full_size,
    blended,
    enlarge,
    shrink,
    squash,
    taken_along,
    to_cells,
)
from framecast.nn.forecasters.flow.constants import (
    BLENDED,
    CANDIDATES,
    CARRIED,
    CONDITIONS,
    CONTEXT_MAPS,
    ELSEWHERE,
    EMBEDDING,
    FINE,
    FORECAST_MAPS,
    HINDCAST_OF,
    HINDCASTS,
    HINTS,
    LEADS,
    MOVING,
    OWN,
    PATCH,
    TURNS,
    padded_size,
    pyramid_levels,
    working_scale,
)
from framecast.nn.forecasters.flow.optical_flow import (
    advance,
    advect,
    coverage,
    places,
    sample,
    warp,
)
from framecast.nn.forecasters.flow.scene import LOG_UNIT, Scene, survey
from framecast.nn.forecasters.layers import zero_conv

CONFIDENCE = 1.4
"""What the log-odds of candidates start from, times the log of their hindcasts' errors."""

FIRST_ODDS = (1.0, 0, 1, 0.5, -1, 1, 0, -1)
"""Log-odds that are added to those: an untrained network is a fair classical forecast."""

LEAD_UNIT = 12.0
"""Lead times that are one as an input of the network."""


class FlowState(NamedTuple):
    """What the forecaster carries from step to step.

    The newest forecast is at working size. A displacement, along the first motion, points from one
    of its pixels back to where that was in the last frame; `lead_B` counts the frames forecast.
    """

    scene: Scene
    frame_BChw: Tensor
    embedded_BEHW: Tensor
    displacement_B2hw: Tensor
    coverage_B2XX: Tensor
    lead_B: Tensor
    layers: States


class Motion(NamedTuple):
    """Both motions at one lead time: the first one's velocity, displacements along both, and on the
    fine grid how much of what was seen arrives along both, and the speed from 0 to 1.
    """

    velocity_B2hw: Tensor
    displacements_B2hw: tuple[Tensor, Tensor]
    coverage_B2HW: Tensor
    speed_B1HW: Tensor


class FlowConvLSTM(Forecaster):
    """Candidate forecasts along optical flow, blended and corrected by ConvLSTM2D layers.

    The layers read every context frame with its residual after optical flow, then step once for
    each lead time, reading their own last forecast. Out of their h come a correction of both
    velocities and, together with the candidates that these carry, weights for each candidate and a
    residual, in proportion to how uncertain a place is. The log-odds of a candidate start from how
    well it would have forecast the context; a place where nothing was seen is known by its
    coverage. The first layer's cells are 8 x 8 pixels, those of each further one twice as large.

    Motion, features and weights come from grey frames at a working size and are shared by all image
    channels. `blend` is the closed-form fit to a clip: weights of some candidates at each lead time
    by which the finished forecast moves towards them, 0 at first.
    """

    recordable = False

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        filters, E = config.filters, EMBEDDING
        self.depth, hidden = len(filters), sum(filters)
        self.embed = conv3x3(CONTEXT_MAPS * FINE**2, E)
        self.from_context = conv3x3(E + FINE**2, filters[0], stride=PATCH // FINE)
        self.from_forecast = conv3x3(E + FINE**2, filters[0], stride=PATCH // FINE)
        shared = {"padding": "same", "data_format": "channels_first", "return_sequences": True}
        layers = [
            {"filters": width, "kernel_size": side, "strides": 1 if number == 0 else 2, **shared}
            for number, (width, side) in enumerate(zip(filters, config.kernel_sizes, strict=True))
        ]
        self.stack = ConvLSTMStack(layers, in_channels=filters[0] + HINTS, return_state=True)
        self.turn = zero_conv(hidden, TURNS * (PATCH // FINE) ** 2)
        self.lift = nn.Conv2d(hidden, E * (PATCH // FINE) ** 2, 1)
        self.read = conv3x3(FORECAST_MAPS * FINE**2 + CONDITIONS, E)
        self.mix = conv3x3(E, E)
        self.paint = zero_conv(E, CANDIDATES + 1)
        self.confidence = nn.Parameter(torch.zeros(CANDIDATES, HINDCASTS, 1, 1))
        self.blend = nn.Parameter(torch.zeros(LEADS, len(BLENDED)))
        with torch.no_grad():
            self.confidence[torch.arange(CANDIDATES), HINDCAST_OF] = CONFIDENCE
            # The last of the painted maps is the residual, which starts at 0.
            self.paint.bias.copy_(torch.tensor((*FIRST_ODDS, 0.0)))

    def graph_of(self, height: int, width: int) -> tuple[int, int]:
        """The working scale and the levels of the motion pyramid."""
        scale = working_scale(height, width)
        rows, columns = (side // scale for side in padded_size(height, width, self.depth))
        return scale, pyramid_levels(rows, columns)

    def encode(self, context_BTCHW: Tensor) -> FlowState:
        # Classical motion has nothing to learn, and 16 bits are too few for its small differences.
        with torch.no_grad(), as_given(context_BTCHW.device):
            scene, maps_NMhw = survey(context_BTCHW.float(), self.depth)
        B, T = context_BTCHW.shape[:2]
        cells_NMHW = channels_last(to_cells(maps_NMhw, FINE))
        embedded_NEHW = leaky(self.embed(cells_NMHW))
        x_NXHW = channels_last(torch.cat((embedded_NEHW, cells_NMHW[:, : FINE**2]), dim=1))
        x_BTXHW = normalized(leaky(self.from_context(x_NXHW)).float()).unflatten(0, (B, T))
        # Before the first step nothing has moved, so that all of the frame is still seen.
        covered_B2XX = torch.ones_like(scene.velocities_B4XX[:, :2])
        lead_B = torch.zeros(B, dtype=torch.int64, device=context_BTCHW.device)
        hints_BXX = self._hints(scene, lead_B, covered_B2XX)
        hints_BTXX = hints_BXX.unsqueeze(1).expand(-1, T, -1, -1, -1)
        _, layers = self.stack(torch.cat((x_BTXHW, hints_BTXX), dim=2))
        return FlowState(
            scene,
            shrink(scene.last_BCHW, scene.scale),
            embedded_NEHW.unflatten(0, (B, T))[:, -1],
            torch.zeros_like(scene.velocities_B4hw[:, :2]),
            covered_B2XX,
            lead_B,
            layers,
        )

    def step(self, state: FlowState) -> tuple[Tensor, FlowState]:
        frame_BCHW, candidates, after = self._forecast(state)
        weights_BJ = self.blend[(after.lead_B - 1).clamp(max=LEADS - 1)]
        # The forecast has what the weights leave over.
        moved_BCHW = frame_BCHW * (1 - weights_BJ.sum(dim=1)).view(-1, 1, 1, 1)
        for weight_B, number in zip(weights_BJ.unbind(dim=1), BLENDED, strict=True):
            image_BCHW = at_full_size(candidates, number, state.scene.scale)
            # In place: each copy of a 1080p frame takes 25 MB.
            moved_BCHW.addcmul_(weight_B.view(-1, 1, 1, 1), image_BCHW)
        # What padding added is cut off; the state keeps the frame before the blend, as trained.
        height, width = state.scene.size
        return self.bounded(moved_BCHW[..., :height, :width]), after

    def _hints(self, scene: Scene, lead_B: Tensor, covered_B2XX: Tensor) -> Tensor:
        """Further inputs of the layers, (B, `HINTS`, ...) on the grid."""
        lead_B1XX = (lead_B.float() / LEAD_UNIT).view(-1, 1, 1, 1).expand_as(covered_B2XX[:, :1])
        return torch.cat(
            (scene.velocities_B4XX, lead_B1XX, covered_B2XX, scene.log_errors_B14XX), dim=1
        )

    def _forecast(self, state: FlowState) -> tuple[Tensor, tuple[Tensor, ...], FlowState]:
        """The next frame before the fitted blend, its candidates, and the state after it."""
        scene, lead_B = state.scene, state.lead_B + 1
        hidden_BFHW, layers = self._recur(state, lead_B)
        motion = self._move(state, hidden_BFHW, lead_B)
        candidates = self._candidates(state, motion)
        # Motion is learnt from frames: through what is known of errors no gradient has to flow.
        traced_B2hw = motion.displacements_B2hw[0].detach()
        residual_B1hw = warp(scene.residual_B1hw, traced_B2hw)
        moving_B11HW = warp(scene.moving_B11HW, shrink(traced_B2hw, FINE) / FINE)
        log_errors_B10HW, uncertainty_B1HW = moving_B11HW.split((MOVING, 1), dim=1)
        log_errors_B14HW = torch.cat((log_errors_B10HW, scene.log_errors_B4HW), dim=1)
        own_B1hw, others_B4hw = self._compared(scene, candidates)
        apart_B1hw = others_B4hw.abs().mean(dim=1, keepdim=True)
        maps_B6hw = torch.cat((own_B1hw - 0.5, squash(others_B4hw), residual_B1hw), dim=1)
        known = (motion.coverage_B2HW, motion.speed_B1HW, log_errors_B14HW / LOG_UNIT + 1)
        cells = (to_cells(maps_B6hw, FINE), *known)
        # Channels last, in which shuffling takes a tenth of the time.
        lifted_BEHW = F.pixel_shuffle(self.lift(channels_last(hidden_BFHW)), PATCH // FINE)
        read_BEHW = self.read(channels_last(torch.cat(cells, dim=1)))
        embedded_BEHW = leaky(read_BEHW + lifted_BEHW)
        embedded_BEHW = leaky(self.mix(embedded_BEHW))
        odds_BKHW, painted_B1HW = self.paint(embedded_BEHW).float().split((CANDIDATES, 1), dim=1)
        # softmax(-c log e) = e^-c / sum: weights by inverse error, the classical combination of
        # forecasts (Bates & Granger 1969), which the painted log-odds then correct.
        weights_BKHW = torch.softmax(self._odds(odds_BKHW, log_errors_B14HW), dim=1)
        # Interpolated: painted pixel by pixel, maps are no better and leave the grid of cells in
        # frames at late lead times.
        weights_BKhw, painted_B1hw, uncertainty_B1hw = (
            enlarge(maps_BMHW, FINE) for maps_BMHW in (weights_BKHW, painted_B1HW, uncertainty_B1HW)
        )
        # Where candidates agree and hindcasts were right there is nothing to add.
        added_B1hw = painted_B1hw * (uncertainty_B1hw + apart_B1hw)
        frame_BCHW = blended(weights_BKhw, candidates, added_B1hw, scene.scale)
        after = state._replace(
            # Weights that diverge must not: sampling at places that are not finite crashes PyTorch.
            frame_BChw=shrink(frame_BCHW, scene.scale).clamp(-1, 2),
            embedded_BEHW=embedded_BEHW,
            displacement_B2hw=motion.displacements_B2hw[0],
            coverage_B2XX=shrink(motion.coverage_B2HW, PATCH // FINE),
            lead_B=lead_B,
            layers=layers,
        )
        return frame_BCHW, candidates, after

    def _odds(self, painted_BKHW: Tensor, log_errors_B14HW: Tensor) -> Tensor:
        """Log-odds of the candidates: what is painted less what the hindcasts' errors say."""
        confidence_BK14 = self.confidence.flatten(1).expand(painted_BKHW.shape[0], -1, -1)
        # As matrices: a 1 x 1 convolution over so few channels takes three times as long.
        with as_given(painted_BKHW.device):
            odds_BKN = torch.baddbmm(
                painted_BKHW.flatten(2), confidence_BK14, log_errors_B14HW.flatten(2), alpha=-1
            )
        return odds_BKN.view_as(painted_BKHW)

    def _move(self, state: FlowState, hidden_BFHW: Tensor, lead_B: Tensor) -> Motion:
        """Correct both velocities, and find where in the last frame each pixel was.

        The first motion is a field that stands still, as in nowcasting: its trajectories are traced
        back frame by frame. In the second one things keep their velocities and take them along.
        """
        turned_B8HW = F.pixel_shuffle(self.turn(hidden_BFHW).float(), PATCH // FINE)
        # (B, motion, component, H, W): shares and changes of speed hold for both components.
        shift_B22HW, share_B21HW, faster_B21HW = (
            maps_BMHW.unflatten(1, (2, -1)) for maps_BMHW in turned_B8HW.split((4, 2, 2), dim=1)
        )
        first_B2hw, second_B2hw = state.scene.velocities_B4hw.split(2, dim=1)
        with as_given(first_B2hw.device):
            taken_B2hw, arriving_B1HW = taken_along(second_B2hw, lead_B)
        estimated_B22HW = torch.stack((shrink(first_B2hw, FINE), shrink(taken_B2hw, FINE)), dim=1)
        # A correction of this step only: the estimate itself stays, so errors do not add up.
        apart_B22HW = estimated_B22HW.flip(1) - estimated_B22HW
        change_B22HW = shift_B22HW.addcmul(share_B21HW, apart_B22HW)
        change_B22HW = change_B22HW.addcmul(faster_B21HW, estimated_B22HW)
        first_B2hw = first_B2hw + enlarge(change_B22HW[:, 0], FINE)
        second_B2hw = taken_B2hw + enlarge(change_B22HW[:, 1], FINE)
        traced_B2hw = advect(state.displacement_B2hw, first_B2hw)
        before_B111 = (lead_B - 1).view(-1, 1, 1, 1)
        straight_B2hw = -(second_B2hw + before_B111 * taken_B2hw)
        covered_B1HW = shrink(coverage(traced_B2hw), FINE)
        # Not `norm`, which takes 10 times as long over a short axis that is not the last.
        squares_B2HW = (estimated_B22HW[:, 0] + change_B22HW[:, 0]).square()
        speed_B1HW = (squares_B2HW.sum(dim=1, keepdim=True) + 1e-12).sqrt()
        return Motion(
            first_B2hw,
            (traced_B2hw, straight_B2hw),
            torch.cat((covered_B1HW, arriving_B1HW), dim=1),
            speed_B1HW / (1 + speed_B1HW),
        )

    def _compared(self, scene: Scene, candidates: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The network's own last forecast in grey, and how other candidates differ from it: carried
        along both motions, the last frame and the mean.
        """
        own_B1hw = candidates[OWN].mean(dim=1, keepdim=True)
        moved = (
            shrink(candidates[number].mean(dim=1, keepdim=True), scene.scale)
            for number in (CARRIED, ELSEWHERE)
        )
        return own_B1hw, torch.cat((*moved, scene.still_B2hw), dim=1) - own_B1hw

    def _recur(self, state: FlowState, lead_B: Tensor) -> tuple[Tensor, States]:
        """Step all layers on the last forecast; h of all of them on the first one's grid."""
        cells_B16HW = to_cells(state.frame_BChw.mean(dim=1, keepdim=True) - 0.5, FINE)
        parts = (state.embedded_BEHW, cells_B16HW)
        read_BXHW = torch.cat([channels_last(part) for part in parts], dim=1)
        x_BXHW = normalized(leaky(self.from_forecast(read_BXHW)).float())
        hints_BXX = self._hints(state.scene, lead_B, state.coverage_B2XX)
        _, layers = self.stack.step(torch.cat((x_BXHW, hints_BXX), dim=1), state.layers)
        hidden = [enlarge(h_BFHW.float(), 2**depth) for depth, (h_BFHW, _) in enumerate(layers)]
        return torch.cat(hidden, dim=1), layers

    def _candidates(self, state: FlowState, motion: Motion) -> tuple[Tensor, ...]:
        """All K candidates of the next frame: those of `SHARP` at full, others at working size."""
        scene = state.scene
        soft_BChw, blurred_BChw, wide_BChw = scene.blurs_BChw
        carried, elsewhere = (
            self._carried(scene, blur_BChw, shift_B2hw)
            for blur_BChw, shift_B2hw in zip(
                (wide_BChw, soft_BChw), motion.displacements_B2hw, strict=True
            )
        )
        own_BChw = advance(state.frame_BChw, motion.velocity_B2hw)
        still = (scene.last_BCHW, scene.mean_BCHW, blurred_BChw)
        return (*carried, *elsewhere, own_BChw, *still)

    def _carried(
        self, scene: Scene, blur_BChw: Tensor, shift_B2hw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The last frame, (B, C, H, W), and a blur of it, along a displacement."""
        places_Bhw2, scale = places(shift_B2hw), scene.scale
        # Pixels at working size become pixels of the frame.
        large_BHW2 = places_Bhw2 if scale == 1 else places(enlarge(shift_B2hw, scale), scale)
        return sample(scene.last_BCHW, large_BHW2), sample(blur_BChw, places_Bhw2)

    @torch.no_grad()
    def calibrate(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit the blend of the forecast with classical candidates; no windows change nothing."""
        regression = BlendRegression(LEADS, len(BLENDED))
        for context_BTCHW, target_BTCHW in windows:
            state = self.encode(context_BTCHW)
            height, width = state.scene.size
            for lead, target_BCHW in enumerate(target_BTCHW[:, :LEADS].unbind(dim=1)):
                frame_BCHW, candidates, state = self._forecast(state)
                scale = state.scene.scale
                blended_with = (at_full_size(candidates, number, scale) for number in BLENDED)
                terms = (*blended_with, frame_BCHW)
                terms_BJCHW = torch.stack(terms, dim=1)[..., :height, :width]
                regression.add(lead, terms_BJCHW, target_BCHW)
        weights_nJ = regression.solve()
        if weights_nJ is not None:
            self.blend.copy_(weights_nJ)


def conv3x3(channels: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size, but for its stride."""
    return nn.Conv2d(channels, outputs, 3, stride=stride, padding=1)


def channels_last(maps_BCHW: Tensor) -> Tensor:
    """The same in the memory format in which convolutions are fastest, on CPUs and GPUs."""
    return maps_BCHW.contiguous(memory_format=torch.channels_last)


def leaky(maps: Tensor) -> Tensor:
    """A rectifier that lets a tenth of what is negative pass."""
    return F.leaky_relu(maps, 0.1)


def normalized(x_BXHW: Tensor) -> Tensor:
    """Divide every cell by the root of its channels' mean square (Zhang & Sennrich 2019).

    Without it, what the layers read grew in pretraining to a standard deviation of 15, which
    saturates their gates.
    """
    return x_BXHW * (x_BXHW.square().mean(dim=1, keepdim=True) + 1e-6).rsqrt()
