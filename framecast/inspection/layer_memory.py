"""What a ConvLSTM2D layer keeps in memory, in numbers of float32, from its arguments alone.

Integers only, no torch. Axes: B batch, T time, C channels, F filters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from framecast.inspection.layer_arguments import LayerSettings
from framecast.nn.convlstm.keras_names import ACTIVATION_COSTS
from framecast.nn.cost_model.tensors import Axes, size
from framecast.nn.recurrence.cost import block_of, numbers_beside, numbers_kept, tiles_of
from framecast.nn.shapes import FLOAT_BYTES, ConvGeometry


def numbers_alive(layer: LayerSettings, takes: Axes, state: int) -> tuple[int, int]:
    """Numbers kept for the backward pass, and alive at most without one.

    `takes` are the axes of the input, channels first; `state` counts the numbers of h.
    """
    (_, B), (_, T), (_, C), *rest = takes
    frame = tuple(length for _, length in rest)
    pads, given = layer.geometry.pads(frame), size(takes)
    padded = B * T * C * _padded(frame, pads)
    grid = layer.geometry.output_sizes(frame)
    reach = tuple(((side - 1) // 2, side // 2) for side in layer.geometry.kernel_size)
    shown = B * layer.filters * _padded(grid, reach)
    inputs = 4 * padded if layer.dropout else padded
    shown_steps = 4 * T * shown + 4 * state if layer.recurrent_dropout else T * shown
    training = inputs + shown_steps + round(_kept_by_gates(layer, T) * state)
    copy = padded if padded != given else 0
    sums, outputs = 4 * T * state, (T - 1) * state if layer.return_sequences else 0
    # A step: the first and the last h and c, two sets of sums for 4 gates, the new c, o, tanh(c)
    # and h; outputs so far hold the last h.
    last = 0 if T == 1 else 1 if layer.return_sequences else 2
    stepping = sums + outputs + (14 + last + 3 * layer.peephole) * state
    stacking = sums + 2 * (outputs + state) + 3 * state if layer.return_sequences else 0
    convolving = (3 if layer.layer_norm else 1) * sums
    if not layer.scanned:
        return training, given + max(copy + convolving, stepping, stacking)
    scanned, prediction = _scanned(layer, takes, state, copy)
    return training if layer.dropout or layer.recurrent_dropout else scanned, prediction


def _scanned(layer: LayerSettings, takes: Axes, state: int, copy: int) -> tuple[int, int]:
    """The same for the recurrence as one operation; `copy` counts the input with its padding."""
    (_, B), (_, T), (_, C), *rest = takes
    given, outputs = size(takes), T if layer.return_sequences else 1
    frame = tuple(length for _, length in rest)
    tiles = tiles_of(
        layer.geometry,
        ConvGeometry.parse(len(frame), kernel_size=layer.geometry.kernel_size),
        frame,
        C,
        layer.filters,
        batch=B,
        steps=T,
    )
    if tiles:
        kept = numbers_kept(tiles, layer.filters, T, recompute=layer.recompute)
        beside = numbers_beside(tiles, C, layer.filters, T)
        return given + T * state + kept, given + (outputs + 1) * state + beside
    # h, c and unless they are computed again i, f and o of each step
    training = given + (2 if layer.recompute else 5) * T * state
    samples, steps = block_of(B, T, 4 * FLOAT_BYTES * state // B)
    block = samples * steps * 4 * state // B
    frames = (given + copy) * samples * steps // (B * T)
    step = 4 * samples * state // B
    return training, given + (outputs + 1) * state + frames + block + step


def _padded(frame: Sequence[int], pads: Sequence[tuple[int, int]]) -> int:
    """Numbers per channel that are convolved: padding that differs by side makes a copy."""
    if all(before == after for before, after in pads):
        return math.prod(frame)
    axes = zip(frame, pads, strict=True)
    return math.prod(length + before + after for length, (before, after) in axes)


def _kept_by_gates(layer: LayerSettings, T: int) -> float:
    """Numbers that all steps keep behind the convolutions, in multiples of those of h."""
    sigma = ACTIVATION_COSTS[layer.recurrent_activation]
    phi = ACTIVATION_COSTS[layer.activation]
    # i, f, the candidate, o, activation(c), and the c that the step starts from
    kept = 6 + 3 * sigma.own + 2 * phi.own
    reads_sums = phi.keeps_input or phi.passes_on
    if layer.peephole:  # its products make new sums of i, f and o
        kept += 3 * sigma.keeps_input
    elif sigma.keeps_input or sigma.passes_on:
        reads_sums = True
        kept -= 3 * sigma.passes_on
    kept += 4 * reads_sums - phi.passes_on
    sees_c = layer.peephole or layer.layer_norm
    if layer.layer_norm:
        # Both sets of sums and c: what was normalised (c is kept already), what came of it, mean
        # and deviation for each gate.
        kept += 2 * (8 + 8 / layer.filters) + 1 + 2 / layer.filters + phi.keeps_input
    else:
        kept -= phi.passes_on
        sees_c = sees_c or phi.keeps_input or phi.passes_on
    return kept * T + sees_c  # the last c
