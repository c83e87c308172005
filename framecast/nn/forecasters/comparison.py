"""The networks that a ConvLSTM forecaster is compared with, all with encode / step.

Shi et al., 2015 (arXiv:1506.04214) for the encoder-forecaster and the fully connected LSTM, in the
setting whose parameter counts are those of the paper's table 1; Keras' TimeDistributed(Conv2D) ->
LSTM pattern for the CNN-LSTM. An LSTM here is a ConvLSTM2D with a 1x1 kernel on a grid of one cell,
which is the same arithmetic (section 3.1 of the paper).

Axes as in `base.py`; D is all elements of a frame or grid in a row, U the units of an LSTM.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from framecast.config.networks import PATCH_2015
from framecast.config.schema import ModelConfig
from framecast.errors import CheckpointError
from framecast.nn.convlstm.stack import States
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.convlstm import PlainState
from framecast.nn.forecasters.grid import grid_size
from framecast.nn.forecasters.layers import (
    Stem,
    ToPixels,
    grid_stack,
    mean_logit,
    over_time,
    pad_to_grid,
    state_after,
)
from framecast.nn.recurrence.equations import State, convolve, gates
from framecast.nn.shapes import ConvGeometry


class StateOnlyConvLSTM2D(nn.Module):
    """A ConvLSTM2D cell with peepholes and no input: the first layer of Shi's forecaster."""

    def __init__(self, filters: int, kernel_size: int) -> None:
        super().__init__()
        self.geometry = ConvGeometry.parse(2, kernel_size=kernel_size)
        self.recurrent_kernel = nn.Parameter(
            torch.empty(4 * filters, filters, kernel_size, kernel_size)
        )
        self.bias = nn.Parameter(torch.zeros(4 * filters))
        self.peephole = nn.Parameter(torch.zeros(3 * filters))
        # As in Keras: orthogonal, and 1 for the bias of the forget gate, the second quarter
        nn.init.orthogonal_(self.recurrent_kernel)
        with torch.no_grad():
            self.bias[filters : 2 * filters] = 1

    def step(self, state: State) -> State:
        """Advance h and c (B, F, H, W) by one step."""
        h_BFHW, c_BFHW = state
        z_BGHW = convolve(h_BFHW, self.recurrent_kernel, self.bias, self.geometry)
        return gates(z_BGHW, c_BFHW, peephole=self.peephole)


class EncoderForecaster(nn.Module):
    """Two stacks of peephole ConvLSTM2D layers; the second continues from the first one's states.

    Works on cells (B, D, H, W); the forecaster's first layer is driven by its state alone.
    """

    def __init__(
        self,
        channels: int,
        filters: tuple[int, ...],
        kernel_sizes: tuple[int, ...],
        recurrent: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.encoder = grid_stack(channels, filters, kernel_sizes, recurrent, peephole=True)
        self.first = StateOnlyConvLSTM2D(filters[0], recurrent[0])
        self.rest = None
        if len(filters) > 1:
            self.rest = grid_stack(
                filters[0], filters[1:], kernel_sizes[1:], recurrent[1:], peephole=True
            )

    def encode(self, cells_BTDHW: Tensor) -> States:
        return state_after(self.encoder, cells_BTDHW)

    def step(self, layers: States) -> States:
        first = self.first.step(layers[0])
        if self.rest is None:
            return (first,)
        _, rest = self.rest.step(first[0], layers[1:])
        return (first, *rest)


class Shi2015(Forecaster):
    """The nowcasting network of Shi et al., 2015: 4x4 patches, peepholes, encoder and forecaster.

    A 1x1 convolution over all hidden states of the forecaster, then a sigmoid, gives the frame
    itself, not a change of the last one. With filters 128, 64, 64 and 5x5 kernels on grey frames it
    has the paper's 7,585,296 parameters.
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        cell = channels * PATCH_2015**2
        self.fold, self.unfold = nn.PixelUnshuffle(PATCH_2015), nn.PixelShuffle(PATCH_2015)
        self.core = EncoderForecaster(
            cell, config.filters, config.kernel_sizes, config.recurrent_kernel_sizes
        )
        self.head = nn.Conv2d(sum(config.filters), cell, 1)

    def encode(self, context_BTCHW: Tensor) -> PlainState:
        cells_BTCHW = over_time(
            lambda frames_NCHW: self.fold(pad_to_grid(frames_NCHW, PATCH_2015)), context_BTCHW
        )
        # A copy, since a view would hold on to the whole context.
        return PlainState(context_BTCHW[:, -1].clone(), self.core.encode(cells_BTCHW))

    def step(self, state: PlainState) -> tuple[Tensor, PlainState]:
        layers = self.core.step(state.layers)
        cells_BCHW = self.head(torch.cat([h_BFHW for h_BFHW, _ in layers], dim=1))
        H, W = state.last_BCHW.shape[-2:]
        # In float32: near 1 the steps of bfloat16 are as large as those of 8-bit pixels
        frame_BCHW = torch.sigmoid(self.unfold(cells_BCHW).float())[..., :H, :W]
        return frame_BCHW, PlainState(frame_BCHW, layers)

    @torch.no_grad()
    def calibrate(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Start from the mean brightness of the targets instead of from grey."""
        self.head.bias.fill_(mean_logit(windows))


class SizedForecaster(Forecaster):
    """A network whose fully connected layers tie it to the frame size it was built for."""

    def __init__(self, name: str, size: tuple[int, int]) -> None:
        super().__init__()
        self.name, self.size = name, size

    def check_size(self, frames: Tensor) -> None:
        """Refuse frames (..., H, W) of another size."""
        if tuple(frames.shape[-2:]) != self.size:
            found, made = (f"{H}x{W}" for H, W in (frames.shape[-2:], self.size))
            raise CheckpointError(
                f"{self.name} is tied to the frame size {made} it was made for, found {found}",
                remedy=f"resize them to {made}, or train a convlstm model, which works at any size",
            )


class FcLstm(SizedForecaster):
    """A fully connected LSTM over whole frames in a row of pixels: encoder, forecaster, dense
    layer.

    Predicts the change from the last frame. With units 2048, 2048 on 64x64 grey frames it has the
    142,667,776 parameters of the paper's FC-LSTM-2048-2048.
    """

    def __init__(self, config: ModelConfig, channels: int, size: tuple[int, int]) -> None:
        super().__init__(config.name, size)
        elements = channels * size[0] * size[1]
        # LSTMs have 1x1 kernels over input and state
        ones = config.kernel_sizes
        self.core = EncoderForecaster(elements, config.units, ones, ones)
        self.head = nn.Linear(config.units[-1], elements)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def encode(self, context_BTCHW: Tensor) -> PlainState:
        self.check_size(context_BTCHW)
        # Every pixel is a channel of a single cell
        row_BTD11 = context_BTCHW.flatten(2)[..., None, None]
        return PlainState(context_BTCHW[:, -1], self.core.encode(row_BTD11))

    def step(self, state: PlainState) -> tuple[Tensor, PlainState]:
        layers = self.core.step(state.layers)
        change_BD = self.head(layers[-1][0].flatten(1))
        frame_BCHW = self.bounded(state.last_BCHW + change_BD.view_as(state.last_BCHW))
        return frame_BCHW, PlainState(frame_BCHW, layers)


class CnnLstm(SizedForecaster):
    """Convolutions per time step, flattened, an LSTM, a dense layer, and up to pixels again.

    The same stem and output as the `convlstm` forecaster; between them an LSTM whose input and
    recurrent transformations are dense, so that content and position are mixed for good. Reads its
    own frames and predicts the change from the last.
    """

    def __init__(self, config: ModelConfig, channels: int, size: tuple[int, int]) -> None:
        super().__init__(config.name, size)
        self.grid = (config.filters[-1], *grid_size(*size, config.patch))
        _, rows, columns = self.grid
        self.stem = Stem(channels, config.patch, config.filters[0])
        self.stack = grid_stack(
            config.filters[0] * rows * columns, config.units, config.kernel_sizes
        )
        self.dense = nn.Linear(config.units[-1], self.grid[0] * rows * columns)
        self.paint = ToPixels(config.filters[-1], channels, config.patch)

    def encode(self, context_BTCHW: Tensor) -> PlainState:
        self.check_size(context_BTCHW)
        layers = state_after(self.stack, over_time(self._embed, context_BTCHW)[:, :-1])
        return PlainState(context_BTCHW[:, -1], layers)

    def step(self, state: PlainState) -> tuple[Tensor, PlainState]:
        h_BU11, layers = self.stack.step(self._embed(state.last_BCHW), state.layers)
        cells_BFHW = self.dense(h_BU11.flatten(1)).unflatten(1, self.grid)
        frame_BCHW = self.bounded(state.last_BCHW + self.paint(cells_BFHW, self.size))
        return frame_BCHW, PlainState(frame_BCHW, layers)

    def _embed(self, frames_NCHW: Tensor) -> Tensor:
        return self.stem(frames_NCHW).flatten(1)[..., None, None]
