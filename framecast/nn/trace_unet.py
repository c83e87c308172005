"""The U-Net's rows.

Axes as in `unet.py`. Numbers alive are those of steps that predict one frame each; numbers kept
those of one pass over all lead times, as in training.
"""

from __future__ import annotations

import math
from itertools import pairwise

from framecast.nn.rows import Axes, size
from framecast.nn.way import Way
from framecast.nn.widths import REFINEMENTS


def encode_unet(way: Way) -> None:
    levels = _levels(way)
    way.held = size(way.context)
    way.add_stem(way.C, way.B * way.T, beside=0, learnt_inputs=0, keeps_output=True)
    for number, level in enumerate(levels):
        if number:
            _add_halving(way, number - 1, levels[number - 1], level)
        _add_level(way, "encoder", number, level)
        way.held += 3 * size(level)  # what it said last, and its state


def step_unet(way: Way) -> None:
    levels = _levels(way)
    frame = way.image(way.C)
    way.held = size(way.context) + size(frame) + 3 * sum(map(size, levels))
    for number, (coarser, level) in enumerate(pairwise((levels[-1], *levels[::-1]))):
        if number:
            _add_doubling(way, number - 1, coarser, level)
        _add_level(way, "forecaster", number, level)
        way.held += 2 * size(level)
    kept = way.Th * size(levels[0])
    _add_norm(way, "norm", levels[0], kept=kept + _statistics(levels[0], way.Th))
    way.held += size(levels[0])
    way.add_paint(1, levels[0][1][1], 2 * way.C, kept=kept)
    beside = size(way.image(2 * way.C, padded=True)) + size(levels[0])
    kept = way.Th * size(frame)
    way.add("frame", "last frame x (1 + map) + map", frame, frame, beside=beside, kept=kept)


def _levels(way: Way) -> list[Axes]:
    """What the layers of each level give for one frame, the finest first."""
    (rows, columns), levels = way.grid, []
    for filters in way.model.filters:
        levels.append((("B", way.B), ("F", filters), ("H", rows), ("W", columns)))
        rows, columns = -(-rows // 2), -(-columns // 2)
    return levels


def _add_level(way: Way, path: str, number: int, level: Axes) -> None:
    """Norm, ConvLSTM2D and refinements; leaves as held what was held before."""
    encodes, width = way.phase == "encode", level[1][1]
    steps, times = (way.T, way.T) if encodes else (1, way.Th)
    kernel = way.model.kernel_sizes[number if encodes else -1 - number]
    cells, before, name = _frames(way, level), way.held, f"{path}.{number}"
    # Where it was not kept by its giver, also the input
    kept = _statistics(level, times) + (0 if encodes else times * size(level))
    _add_norm(way, f"{name}.norm", level, kept=kept)
    way.held += size(cells)
    passes = 1 if encodes else way.Th
    way.add_layer(
        f"{name}.layer",
        level,
        width,
        kernel,
        steps,
        passes=passes,
        first=encodes,
        keeps_input=True,
        scattered=True,
    )
    way.held -= size(cells)  # the norm's result
    for refinement in range(REFINEMENTS):
        _add_refinement(way, f"{name}.refine.{refinement}", level, times)
        way.held += size(cells) * (refinement == 0)  # the sum of input and output
    way.held = before


def _add_norm(way: Way, name: str, level: Axes, *, kept: int) -> None:
    cells, width = _frames(way, level), level[1][1]
    way.add(
        name,
        "LayerNorm of the channels of each place",
        cells,
        cells,
        beside=size(cells) + _statistics(cells, 1),
        parameters=(("weight", (width,)), ("bias", (width,))),
        kept=kept,
    )


def _statistics(level: Axes, times: int) -> int:
    """Mean and spread of each place."""
    return 2 * times * size(level) // level[1][1]


def _add_refinement(way: Way, name: str, level: Axes, times: int) -> None:
    cells, kept = _frames(way, level), times * size(level)
    _add_convolution(way, f"{name}.0", cells, cells, 3, 1, kept=2 * kept)
    way.add(f"{name}.1", "LeakyReLU", cells, cells, beside=size(cells), kept=kept)
    _add_convolution(way, f"{name}.2", cells, cells, 3, 1, kept=0, beside=size(cells))


def _add_halving(way: Way, number: int, fine: Axes, coarse: Axes) -> None:
    takes, gives = _frames(way, fine), _frames(way, coarse)
    kept = size(takes) + size(gives)
    _add_convolution(way, f"down.{number}.0", takes, gives, 3, 2, kept=kept)
    operation = "LeakyReLU"
    way.add(f"down.{number}.1", operation, gives, gives, beside=size(takes), kept=size(gives))


def _add_doubling(way: Way, number: int, coarse: Axes, fine: Axes) -> None:
    """Where the finer grid's sides are odd the last row or column is cropped off."""
    gives = (*fine[:2], *((axis, 2 * length) for axis, length in coarse[2:]))
    weight = (coarse[1][1], fine[1][1], 4, 4)
    way.add(
        f"up.{number}.0",
        "ConvTranspose2d 4x4, stride 2",
        coarse,
        gives,
        parameters=(("weight", weight), ("bias", weight[1:2])),
        macs=size(coarse) * math.prod(weight[1:]),
        kept=way.Th * (size(coarse) + size(gives)),
    )
    way.add(f"up.{number}.1", "LeakyReLU", gives, gives, beside=size(coarse))


def _add_convolution(
    way: Way,
    name: str,
    takes: Axes,
    gives: Axes,
    side: int,
    stride: int,
    *,
    kept: int,
    beside: int = 0,
) -> None:
    weight = (gives[1][1], takes[1][1], side, side)
    way.add(
        name,
        f"Conv2d {side}x{side}" + (f", stride {stride}" if stride > 1 else ""),
        takes,
        gives,
        beside=beside,
        parameters=(("weight", weight), ("bias", weight[:1])),
        padding=(1, 1, 1, 1),
        macs=size(gives) * math.prod(weight[1:]),
        kept=kept,
    )


def _frames(way: Way, level: Axes) -> Axes:
    """A level's cells for all frames of a call: N of the context, or the batch's."""
    return (("N", way.B * way.T), *level[1:]) if way.phase == "encode" else level
