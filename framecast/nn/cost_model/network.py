"""What one forecast of each network costs, call by call, in plain integers: no torch.

Axes as in `builder.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from framecast.config.networks import PATCH_2015
from framecast.config.schema import ModelConfig
from framecast.nn.cost_model.builder import CostBuilder
from framecast.nn.cost_model.flow_network import encode_flow, step_flow
from framecast.nn.cost_model.tensors import Axes, LayerRecord, size


def forecast_cost(
    model: ModelConfig,
    *,
    batch: int,
    context_length: int,
    horizon: int,
    channels: int,
    height: int,
    width: int,
) -> tuple[LayerRecord, ...]:
    """Describe one forecast: encode a context (B, T, C, H, W), step to `horizon` frames.

    Records come in the order of the calls; those of "step" stand for each lead time. All sizes are
    at least 1.
    """
    build = CostBuilder(model, batch, context_length, horizon, channels, (height, width))
    encode, step = NETWORK_COSTS[model.name]
    encode(build)
    build.phase = "step"
    step(build)
    return tuple(build.records)


def _encode_plain(build: CostBuilder) -> None:
    # The last frame is read by the first step
    model, steps = build.model, build.T - 1
    build.held = size(build.context)
    build.stem(build.image(build.C, frames=build.B * build.T))
    if steps:
        cells = build.cells("E", model.filters[0], steps=steps)
        build.convlstm("stack.layers", cells, model.filters, model.kernel_sizes, from_zeros=True)


def _step_plain(build: CostBuilder) -> None:
    _paint_plain(build)
    _add_change(build)


def _step_frame(build: CostBuilder) -> None:
    _paint_plain(build)
    frame = build.image(build.C)
    # In training the context's frames are forecast, too. Saved for the sigmoid and for the loss
    trained = build.Th + build.T - 1
    saved = 2 * trained * size(frame) // build.Th
    build.add("frame", "sigmoid", frame, frame, saved=saved)


def _paint_plain(build: CostBuilder) -> None:
    model = build.model
    _hold_state(build, sum(model.filters))
    cells = build.stem(build.image(build.C))
    build.paint(build.convlstm("stack.layers", cells, model.filters, model.kernel_sizes))


def _hold_state(build: CostBuilder, filters: int, *, cells: int | None = None) -> None:
    """Hold the context, the newest frame, and h and c of all layers."""
    # Networks tied to their size carry vectors, one cell
    on_grid = build.grid[0] * build.grid[1] if cells is None else cells
    build.held = size(build.context) + size(build.image(build.C))
    build.held += 2 * build.B * filters * on_grid


def _add_change(build: CostBuilder) -> None:
    frame = build.image(build.C)
    build.add("frame", "last frame + change", frame, frame, workspace=size(frame))


def _encode_cnn_lstm(build: CostBuilder) -> None:
    model, steps = build.model, build.T - 1
    build.held = size(build.context)
    row = _flatten(build, build.stem(build.image(build.C, frames=build.B * build.T)))
    if steps:
        sequence = (("B", build.B), ("T", steps), *row[1:])
        build.convlstm("stack.layers", sequence, model.units, model.kernel_sizes, from_zeros=True)


def _step_cnn_lstm(build: CostBuilder) -> None:
    model = build.model
    _hold_state(build, sum(model.units), cells=1)
    row = _flatten(build, build.stem(build.image(build.C)))
    h = build.convlstm("stack.layers", row, model.units, model.kernel_sizes)
    cells = build.cells("F", model.filters[-1])
    build.dense("dense", h[:2], size(cells) // build.B)
    build.paint(cells)
    _add_change(build)


def _flatten(build: CostBuilder, cells: Axes) -> Axes:
    """Put cells in a row: a view."""
    # Nothing is copied
    row = (cells[0], ("D", size(cells[1:])), ("H", 1), ("W", 1))
    return build.add("flatten", "the grid in a row", cells, row, saved=0, workspace=-size(row))


def _encode_fc_lstm(build: CostBuilder) -> None:
    model = build.model
    frame = (("D", size(build.image(build.C)[1:])), ("H", 1), ("W", 1))
    frames = (("B", build.B), ("T", build.T), *frame)
    build.add("flatten", "frames in a row", build.context, frames, saved=0)
    build.convlstm("core.encoder.layers", frames, model.units, model.kernel_sizes, from_zeros=True)


def _step_fc_lstm(build: CostBuilder) -> None:
    units = build.model.units
    _hold_state(build, sum(units), cells=1)
    h = _step_forecaster(build, (("B", build.B), ("U", units[0]), ("H", 1), ("W", 1)), units)
    build.dense("head", h[:2], size(build.image(build.C)[1:]), saved=0)  # added to the last frame
    _add_change(build)


def _encode_shi2015(build: CostBuilder) -> None:
    model, frames = build.model, build.B * build.T
    build.held = size(build.context)
    padded = build.pad_to_grid(build.image(build.C, frames=frames))
    folded = build.cells("C", build.C * PATCH_2015**2, steps=build.T)
    cells = (("N", frames), *folded[2:])
    build.add("fold", f"{PATCH_2015}x{PATCH_2015} patches into channels", padded, cells)
    build.convlstm(
        "core.encoder.layers",
        folded,
        model.filters,
        model.kernel_sizes,
        recurrent_kernels=model.recurrent_kernel_sizes,
        from_zeros=True,
    )


def _step_shi2015(build: CostBuilder) -> None:
    filters = build.model.filters
    _hold_state(build, sum(filters))
    _step_forecaster(build, build.cells("F", filters[0]), filters)
    cells = build.cells("F", sum(filters))
    # Hidden states of all layers side by side, Shi et al. 2015, figure 3
    maps = build.conv("head", cells, "C", build.C * PATCH_2015**2, kernel=1)
    padded = build.image(build.C, padded=True)
    build.add("unfold", f"channels into {PATCH_2015}x{PATCH_2015} patches", maps, padded)
    build.add("frame", "sigmoid, padding cropped off", padded, build.image(build.C))


def _step_forecaster(build: CostBuilder, state: Axes, filters: tuple[int, ...]) -> Axes:
    """The second stack of an encoder-forecaster, whose first layer has no input."""
    kernels, recurrent = build.model.kernel_sizes, build.model.recurrent_kernel_sizes
    first = build.convlstm_layer("core.first", state, filters[0], recurrent[0], reads_input=False)
    return build.convlstm(
        "core.rest.layers", first, filters[1:], kernels[1:], recurrent_kernels=recurrent[1:]
    )


NETWORK_COSTS: dict[str, tuple[Callable[[CostBuilder], None], Callable[[CostBuilder], None]]] = {
    "flow-convlstm": (encode_flow, step_flow),
    "convlstm": (_encode_plain, _step_plain),
    "frame-convlstm": (_encode_plain, _step_frame),
    "cnn-lstm": (_encode_cnn_lstm, _step_cnn_lstm),
    "fc-lstm": (_encode_fc_lstm, _step_fc_lstm),
    "shi2015": (_encode_shi2015, _step_shi2015),
}
"""How each network encodes a context, and how it steps."""
