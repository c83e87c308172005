"""The cost of one forecast with each network, call by call, in plain integers.

Axes as in `builder.py`. Does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable

from framecast.config.networks import PATCH_2015
from framecast.config.schema import ModelConfig
from framecast.nn.cost_model.builder import CostBuilder
from framecast.nn.cost_model.flow_network import encode_flow, step_flow
from framecast.nn.cost_model.tensors import Axes, LayerRecord, Totals, size, totals


def forecast_cost(
    model: ModelConfig,
    channels: int,
    frame: tuple[int, int],
    *,
    batch: int = 1,
    context_length: int = 1,
    horizon: int = 1,
) -> tuple[LayerRecord, ...]:
    """Describe one forecast: encode a context (B, T, C, H, W), step to `horizon` frames.

    `frame` is its (H, W). Records come in the order of the calls; those of "step" stand for each
    lead time. All sizes are at least 1.
    """
    build = CostBuilder(model, batch, context_length, horizon, channels, frame)
    encode, step = NETWORK_COSTS[model.name]
    encode(build)
    build.phase = "step"
    step(build)
    return tuple(build.records)


def forecast_totals(
    model: ModelConfig, channels: int, frame: tuple[int, int], **lengths: int
) -> Totals:
    """The sums over `forecast_cost`, whose arguments these are."""
    return totals(forecast_cost(model, channels, frame, **lengths))


def _encode_plain(build: CostBuilder) -> None:
    build.stem(build.image(frames=build.B * build.T))
    # The last frame is read by the first step
    if build.T > 1:
        filters = build.model.filters
        build.convlstm("stack.layers", build.cells("E", filters[0], steps=build.T - 1), filters)


def _step_plain(build: CostBuilder) -> None:
    _paint_plain(build)
    _add_change(build)


def _step_frame(build: CostBuilder) -> None:
    _paint_plain(build)
    frame = build.image()
    # In training the context's frames are forecast, too. Saved for the sigmoid and for the loss
    trained = build.Th + build.T - 1
    build.add("frame", "sigmoid", frame, frame, saved=2 * trained * size(frame) // build.Th)


def _paint_plain(build: CostBuilder) -> None:
    filters = build.model.filters
    _hold_state(build, sum(filters))
    build.paint(build.convlstm("stack.layers", build.stem(build.image()), filters))


def _hold_state(build: CostBuilder, filters: int) -> None:
    """Hold the context, the newest frame, and h and c of all layers."""
    # Networks tied to their size carry vectors, one cell
    cells = 1 if build.model.traits.tied_to_size else build.grid[0] * build.grid[1]
    build.held = size(build.context) + size(build.image()) + 2 * build.B * filters * cells


def _add_change(build: CostBuilder) -> None:
    frame = build.image()
    build.add("frame", "last frame + change", frame, frame, workspace=size(frame))


def _row(elements: int) -> Axes:
    """A frame or grid as the channels of a single cell, as an LSTM reads it."""
    return (("D", elements), ("H", 1), ("W", 1))


def _encode_cnn_lstm(build: CostBuilder) -> None:
    row = _flatten(build, build.stem(build.image(frames=build.B * build.T)))
    if build.T > 1:
        sequence = (("B", build.B), ("T", build.T - 1), *row[1:])
        build.convlstm("stack.layers", sequence, build.model.units)


def _step_cnn_lstm(build: CostBuilder) -> None:
    _hold_state(build, sum(build.model.units))
    row = _flatten(build, build.stem(build.image()))
    h = build.convlstm("stack.layers", row, build.model.units)
    cells = build.cells("F", build.model.filters[-1])
    build.dense("dense", h[:2], size(cells[1:]))
    build.paint(cells)
    _add_change(build)


def _flatten(build: CostBuilder, cells: Axes) -> Axes:
    row = (cells[0], *_row(size(cells[1:])))
    # A view, so nothing is copied
    return build.add("flatten", "the grid in a row", cells, row, saved=0, workspace=-size(row))


def _encode_fc_lstm(build: CostBuilder) -> None:
    # The layers read a view of the context, which is then counted as their input
    build.held, frames = 0, (*build.context[:2], *_row(size(build.context[2:])))
    build.add("flatten", "frames in a row", build.context, frames, saved=0)
    build.convlstm("core.encoder.layers", frames, build.model.units)


def _step_fc_lstm(build: CostBuilder) -> None:
    units = build.model.units
    _hold_state(build, sum(units))
    h = _step_forecaster(build, (("B", build.B), ("U", units[0]), ("H", 1), ("W", 1)), units)
    build.dense("head", h[:2], size(build.context[2:]), saved=0)  # added to the last frame
    _add_change(build)


def _encode_shi2015(build: CostBuilder) -> None:
    padded = build.pad_to_grid(build.image(frames=build.B * build.T))
    folded = build.cells("C", build.C * PATCH_2015**2, steps=build.T)
    cells = (padded[0], *folded[2:])
    build.add("fold", f"{PATCH_2015}x{PATCH_2015} patches into channels", padded, cells)
    build.convlstm("core.encoder.layers", folded, build.model.filters)


def _step_shi2015(build: CostBuilder) -> None:
    filters = build.model.filters
    _hold_state(build, sum(filters))
    _step_forecaster(build, build.cells("F", filters[0]), filters)
    # Hidden states of all layers side by side, Shi et al. 2015, figure 3
    cells = build.cells("F", sum(filters))
    maps = build.conv("head", cells, "C", build.C * PATCH_2015**2, kernel=1)
    padded = build.image(padded=True)
    build.add("unfold", f"channels into {PATCH_2015}x{PATCH_2015} patches", maps, padded)
    build.add("frame", "sigmoid, padding cropped off", padded, build.image())


def _step_forecaster(build: CostBuilder, state: Axes, filters: tuple[int, ...]) -> Axes:
    """The second stack of an encoder-forecaster, whose first layer has no input."""
    kernel = build.model.recurrent_kernel_sizes[0]
    first = build.convlstm_layer("core.first", state, filters[0], kernel, reads_input=False)
    return build.convlstm("core.rest.layers", first, filters[1:])


NETWORK_COSTS: dict[str, tuple[Callable[[CostBuilder], None], Callable[[CostBuilder], None]]] = {
    "flow-convlstm": (encode_flow, step_flow),
    "convlstm": (_encode_plain, _step_plain),
    "frame-convlstm": (_encode_plain, _step_frame),
    "cnn-lstm": (_encode_cnn_lstm, _step_cnn_lstm),
    "fc-lstm": (_encode_fc_lstm, _step_fc_lstm),
    "shi2015": (_encode_shi2015, _step_shi2015),
}
"""How each network encodes a context, and how it steps."""
