"""What a ConvLSTM layer keeps in memory, in elements of float32: an estimate within 30 %. No torch.

Axes: B batch, T time, C channels, F filters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from framecast.nn.convlstm.keras_names import ACTIVATION_COSTS
from framecast.nn.cost_model.builder import fused_memory
from framecast.nn.shapes import ConvGeometry, to_sizes


def layer_elements(
    arguments: Mapping[str, Any], batch: int, steps: int, channels: int, frame: tuple[int, ...]
) -> tuple[int, int]:
    """Elements saved for the backward pass, and alive at most without one; both with the input.

    `arguments` are all those of the layer by name, `frame` its rows and columns (or 1 or 3 sides).
    """
    (filters,) = to_sizes(arguments["filters"], 1, "filters")
    geometry = ConvGeometry.parse(
        len(frame),
        kernel_size=arguments["kernel_size"],
        strides=arguments["strides"],
        padding=arguments["padding"],
        dilation_rate=arguments["dilation_rate"],
    )
    # The input itself is saved for the kernel's gradient
    given = batch * steps * channels * math.prod(frame)
    state = batch * filters * math.prod(geometry.output_sizes(frame))
    outputs = (steps if arguments["return_sequences"] else 1) * state
    phi, sigma = (
        _activation_name(arguments[argument]) for argument in ("activation", "recurrent_activation")
    )
    normed, peephole = arguments["layer_norm"], arguments["peephole"]
    dropped = bool(arguments["dropout"] or arguments["recurrent_dropout"])
    # The fused recurrence knows these two functions; everything else runs step by step
    is_fused = (phi, sigma) == ("tanh", "sigmoid") and not normed
    axes = (("B", batch), ("C", channels), *(("H", side) for side in frame))
    saved, workspace = fused_memory(
        axes, filters, geometry, steps, recompute=arguments["recompute"]
    )
    if not is_fused or dropped:
        # With dropout each gate reads a copy of its own
        inputs, hidden = (4 if arguments[name] else 1 for name in ("dropout", "recurrent_dropout"))
        gates = _saved_by_gates(phi, sigma, normed=normed, peephole=peephole)
        saved = (inputs - 1) * given + round(steps * state * (hidden + gates))
    if not is_fused:
        # Pre-activations of all steps, their normalisation, and a step's gates
        workspace = steps * 4 * state * (3 if normed else 1)
        workspace = max(workspace, 4 * steps * state + 14 * state) - state
    return given + saved, given + outputs + workspace


def _activation_name(activation: Any) -> str:
    """An activation's name; "" for a function of the user's own, which saves what most do."""
    return activation or "linear" if isinstance(activation, str | None) else ""


def _saved_by_gates(phi: str, sigma: str, *, normed: bool, peephole: bool) -> float:
    """Tensors of the size of h that a step of the loop saves, h itself apart.

    i, f, the candidate, o, activation(c) and c; what activations save besides their result, the
    pre-activations of all four at once, or with peepholes of three; and what LayerNorm saves of
    both sums and c.
    """
    activation, gates = (ACTIVATION_COSTS.get(name, 1) for name in (phi, sigma))
    sums = 4 if activation > 0 or (gates > 0 and not peephole) else 0
    sums += 3 if gates > 0 and peephole else 0
    return 6 + sums + 2 * (activation > 1) + 3 * (gates > 1) + 17 * normed
