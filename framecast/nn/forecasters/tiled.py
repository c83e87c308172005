"""Frames larger than memory, forecast in overlapping tiles that are blended without seams.

Tiles start at whole cells of the network's grid, of its motion pyramid and of its memory, so that
each sees the cells the whole frame has. Near its border inside the frame a tile knows less than the
whole does; the overlap is where that does not count yet.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.grid import spans, tile_overlap, tile_unit


class TiledState(NamedTuple):
    """Where each tile lies, how much it counts there, and its network's state."""

    spans: tuple[tuple[slice, slice], ...]
    weights_HW: tuple[Tensor, ...]
    states: tuple[Any, ...]
    size: tuple[int, int]


class TiledForecaster(Forecaster):
    """A forecaster that works on tiles of `side` pixels; context and frames stay on the CPU.

    Holds every tile's state, but computes one tile at a time.
    """

    def __init__(self, network: Forecaster, model: ModelConfig, side: int) -> None:
        super().__init__()
        self.network = network
        self.unit = tile_unit(model)
        self.side = side // self.unit * self.unit
        self.overlap = tile_overlap(self.side, self.unit)

    def encode(self, context_BTCHW: Tensor) -> TiledState:
        size = (context_BTCHW.shape[-2], context_BTCHW.shape[-1])
        device = next(self.network.parameters()).device
        rows, columns = (spans(length, self.side, self.overlap, self.unit) for length in size)
        down = blend_weights(size[0], rows, self.overlap)
        along = blend_weights(size[1], columns, self.overlap)
        places, weights, states = [], [], []
        for row, weight_H in zip(rows, down, strict=True):
            for column, weight_W in zip(columns, along, strict=True):
                places.append((slice(*row), slice(*column)))
                weights.append(weight_H.unsqueeze(1) * weight_W)
                tile_BTCHW = context_BTCHW[..., slice(*row), slice(*column)].contiguous()
                states.append(self.network.encode(tile_BTCHW.to(device)))
        states = tuple(self.network.agree(states))
        return TiledState(tuple(places), tuple(weights), states, size)

    def step(self, state: TiledState) -> tuple[Tensor, TiledState]:
        frame_BCHW: Tensor | None = None
        after = []
        for (row, column), weight_HW, tile in zip(
            state.spans, state.weights_HW, state.states, strict=True
        ):
            part_BCHW, tile_after = self.network.step(tile)
            after.append(tile_after)
            part_BCHW = part_BCHW.float().cpu()
            if frame_BCHW is None:
                frame_BCHW = part_BCHW.new_zeros(*part_BCHW.shape[:2], *state.size)
            frame_BCHW[..., row, column] += weight_HW * part_BCHW
        return frame_BCHW, state._replace(states=tuple(after))


def blend_weights(
    length: int, tiles: tuple[tuple[int, int], ...], overlap: int
) -> tuple[Tensor, ...]:
    """How much each tile counts at its pixels along one axis; all together 1 everywhere.

    Nothing within a quarter of the overlap from a border inside the frame, all from three quarters
    on, smooth in between.
    """
    raised = []
    for start, end in tiles:
        at = torch.arange(start, end, dtype=torch.float32) + 0.5
        inside = torch.full_like(at, float(overlap))
        if start > 0:
            inside = torch.minimum(inside, at - start)
        if end < length:
            inside = torch.minimum(inside, end - at)
        ramp = (2 * inside / overlap - 0.5).clamp(0, 1)
        raised.append(ramp * ramp * (3 - 2 * ramp))
    total = torch.zeros(length)
    for (start, end), weight in zip(tiles, raised, strict=True):
        total[start:end] += weight
    return tuple(
        weight / total[start:end] for (start, end), weight in zip(tiles, raised, strict=True)
    )
