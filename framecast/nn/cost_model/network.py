"""A batch's way through the networks, call by call, in plain integers: no torch, no forward pass.

Axes as in `forecaster.py`: B batch, T time, N = B T (all frames of a batch in one call), C
channels, E embedding, F filters, H rows, W columns; on the network's grid, of cells; D all numbers
of a frame or grid in a row, U units of an LSTM.
"""

from __future__ import annotations

from collections.abc import Callable

from framecast.config.networks import PATCH_2015
from framecast.config.schema import ModelConfig
from framecast.nn.cost_model.builder import Way
from framecast.nn.cost_model.flow_network import encode_flow, step_flow
from framecast.nn.cost_model.tensors import Axes, Row, size


def trace_network(
    model: ModelConfig,
    *,
    batch: int,
    context_length: int,
    horizon: int,
    channels: int,
    height: int,
    width: int,
) -> tuple[Row, ...]:
    """Walk one forecast: encode a context (B, T, C, H, W), step to `horizon` frames (B, C, H, W).

    Rows come in the order of the calls; those of "step" stand for each lead time. All sizes are at
    least 1.
    """
    way = Way(model, batch, context_length, horizon, channels, (height, width))
    _walk(way)
    return tuple(way.rows)


def _walk(way: Way) -> None:
    encode, step = WALKS[way.model.name]
    encode(way)
    way.phase = "step"
    step(way)


def _encode_plain(way: Way) -> None:
    way.held = size(way.context)
    model, steps = way.model, way.T - 1
    way.add_stem(way.C, way.B * way.T, beside=0, learnt_inputs=0, keeps_output=steps > 0)
    takes = way.cells("E", model.filters[0])
    way.held += steps * size(takes)
    if steps:
        way.add_sequence(
            "stack.layers", takes, model.filters, model.kernel_sizes, steps, held_input=True
        )


def _step_plain(way: Way) -> None:
    _add_plain_steps(way)
    way.add_paint(way.Th)
    _add_changed_frame(way, size(way.image(way.C, padded=True)))


def _step_frame(way: Way) -> None:
    _add_plain_steps(way)
    seen = way.T - 1  # frames of the context, painted in training alone and all at once
    way.add_paint(way.Th + (seen > 0))
    frame = way.image(way.C)
    # Kept for the sigmoid, but where a stem has kept them as its input, and for the loss
    kept = way.Th + seen - (way.Th - 1) + way.Th + seen
    beside = size(way.image(way.C, padded=True)) - size(frame)  # cropped pixels are a view
    way.add("frame", "sigmoid", frame, frame, beside=beside, kept=kept * size(frame))


def _add_plain_steps(way: Way) -> None:
    model = way.model
    way.begin_step(size(way.image(way.C)) + way.state)
    takes = way.cells("E", model.filters[0])
    way.add_stem(way.C, 0, beside=0, learnt_inputs=way.Th - 1, keeps_output=True)
    way.add_layers("stack.layers", takes, model.filters, model.kernel_sizes, calls=way.Th)
    way.held += way.state


def _add_changed_frame(way: Way, change: int) -> None:
    frame = way.image(way.C)
    kept = way.Th * size(frame)
    way.add("frame", "last frame + change", frame, frame, beside=change, kept=kept)


def _encode_cnn_lstm(way: Way) -> None:
    way.held = size(way.context)
    steps, model = way.T - 1, way.model
    way.add_stem(way.C, way.B * way.T, beside=0, learnt_inputs=0, keeps_output=steps > 0)
    takes = _add_flatten(way, way.B * way.T)
    way.held += steps * size(takes)
    if steps:
        way.add_sequence(
            "stack.layers", takes, model.units, model.kernel_sizes, steps, held_input=True
        )


def _step_cnn_lstm(way: Way) -> None:
    model = way.model
    way.begin_step(size(way.image(way.C)) + way.state)
    way.add_stem(way.C, 0, beside=0, learnt_inputs=way.Th - 1, keeps_output=True)
    way.add_layers(
        "stack.layers", _add_flatten(way, 0), model.units, model.kernel_sizes, calls=way.Th
    )
    way.held += way.state
    cells = size(way.cells("F", model.filters[-1]))
    way.add_dense("dense", cells // way.B, kept=way.Th * cells)
    way.add_paint(way.Th)
    _add_changed_frame(way, size(way.image(way.C, padded=True)))


def _add_flatten(way: Way, frames: int) -> Axes:
    """Put cells in a row, for N `frames` or the batch; returns the axes of the batch's."""
    cells = way.cells("E", way.model.filters[0])
    row = (("B", way.B), ("D", size(cells) // way.B), ("H", 1), ("W", 1))
    first = (("N", frames),) if frames else row[:1]
    takes, gives = (*first, *cells[1:]), (*first, *row[1:])
    way.add("flatten", "the grid in a row", takes, gives, beside=-size(gives))
    return row


def _encode_fc_lstm(way: Way) -> None:
    way.held = size(way.context)
    row = (("D", size(way.image(way.C)) // way.B), ("H", 1), ("W", 1))
    gives = (("B", way.B), ("T", way.T), *row)
    way.add("flatten", "frames in a row", way.context, gives, beside=-2 * size(gives))
    way.add_sequence(
        "core.encoder.layers",
        (gives[0], *row),
        way.model.units,
        way.model.kernel_sizes,
        way.T,
        held_input=True,
    )


def _step_fc_lstm(way: Way) -> None:
    frame, units = way.image(way.C), way.model.units
    way.begin_step(size(frame) + way.state)
    _add_forecaster(
        way, (("B", way.B), ("U", units[0]), ("H", 1), ("W", 1)), units, way.model.kernel_sizes
    )
    way.add_dense("head", size(frame) // way.B)
    _add_changed_frame(way, size(frame))


def _encode_shi2015(way: Way) -> None:
    way.held = size(way.context)
    model, folded = way.model, way.cells("C", way.C * PATCH_2015**2)
    frames = way.B * way.T
    padded = way.add_padding(way.C, frames, beside=0, kept=0)
    patches = f"{PATCH_2015}x{PATCH_2015} patches"
    way.add("fold", f"{patches} into channels", padded, (("N", frames), *folded[1:]))
    way.held += way.T * size(folded)
    way.add_sequence(
        "core.encoder.layers",
        folded,
        model.filters,
        model.kernel_sizes,
        way.T,
        keeps_input=True,
        held_input=True,
    )


def _step_shi2015(way: Way) -> None:
    model, padded, frame = way.model, way.image(way.C, padded=True), way.image(way.C)
    way.begin_step(size(padded) + way.state)
    cells = way.cells("F", model.filters[0])
    _add_forecaster(way, cells, model.filters, model.kernel_sizes, keeps_output=False)
    states = way.Th * size(way.cells("F", sum(model.filters)))
    folded = way.add_head(sum(model.filters), way.C * PATCH_2015**2, kept=states)
    way.add("unfold", f"channels into {PATCH_2015}x{PATCH_2015} patches", folded, padded)
    kept = way.Th * (size(padded) + size(frame))
    beside = size(padded) - size(frame)  # the frame is a view of the sigmoid's result
    way.add("frame", "sigmoid, padding cropped off", padded, frame, beside=beside, kept=kept)


def _add_forecaster(
    way: Way,
    takes: Axes,
    filters: tuple[int, ...],
    kernels: tuple[int, ...],
    *,
    keeps_output: bool = True,
) -> None:
    """The second stack of an encoder-forecaster, whose first layer has no input."""
    alone = len(filters) == 1
    way.add_state_only("core.first", takes, kernels[0], keeps_output=keeps_output or not alone)
    way.add_layers(
        "core.rest.layers",
        takes,
        filters[1:],
        kernels[1:],
        calls=way.Th,
        keeps_output=keeps_output,
        held_input=True,
        newer=2 * size(takes),
    )
    way.held += way.state


WALKS: dict[str, tuple[Callable[[Way], None], Callable[[Way], None]]] = {
    "flow-convlstm": (encode_flow, step_flow),
    "convlstm": (_encode_plain, _step_plain),
    "frame-convlstm": (_encode_plain, _step_frame),
    "cnn-lstm": (_encode_cnn_lstm, _step_cnn_lstm),
    "fc-lstm": (_encode_fc_lstm, _step_fc_lstm),
    "shi2015": (_encode_shi2015, _step_shi2015),
}
"""How each network encodes a context, and how it steps."""
