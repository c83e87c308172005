"""The cost of one forecast with each network, call by call, in plain integers.

Axes as in `builder.py`. Does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable

from framecast.config.networks import PATCH_2015
from framecast.config.schema import ModelConfig
from framecast.nn.cost_model.builder import CostBuilder
from framecast.nn.cost_model.flow_network import flow_convlstm
from framecast.nn.cost_model.tensors import LayerRecord, Totals, axes, size, totals


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
    _NETWORKS[model.name](build)
    return tuple(build.records)


def forecast_totals(
    model: ModelConfig, channels: int, frame: tuple[int, int], **lengths: int
) -> Totals:
    """The sums over `forecast_cost`, whose arguments these are."""
    return totals(forecast_cost(model, channels, frame, **lengths))


def _convlstm(build: CostBuilder) -> None:
    filters, image = build.model.filters, build.image
    build.stem(build.images)
    # The last frame is read by the first step
    if build.T > 1:
        build.convlstm("stack.layers", build.maps("E", filters[0], T=build.T - 1), filters)
    build.begin_steps()
    build.paint(build.convlstm("stack.layers", build.stem(image), filters))
    if not build.model.traits.gives_probabilities:
        build.add_change()
        return
    # In training the context's frames are forecast, too. Saved for the sigmoid and for the loss
    trained = build.Th + build.T - 1
    build.add("frame", "sigmoid", image, image, saved=2 * trained * size(image) // build.Th)


def _cnn_lstm(build: CostBuilder) -> None:
    units = build.model.units
    row = build.flatten(build.stem(build.images))
    if build.T > 1:
        sequence = (*axes("BT", build.B, build.T - 1), *row[1:])
        build.convlstm("stack.layers", sequence, units)
    build.begin_steps()
    h = build.convlstm("stack.layers", build.flatten(build.stem(build.image)), units)
    cells = build.maps("F", build.model.filters[-1])
    build.dense("dense", h[:2], size(cells[1:]))
    build.paint(cells)
    build.add_change()


def _fc_lstm(build: CostBuilder) -> None:
    units = build.model.units
    # The layers read a view of the context, which is counted as their input
    build.held = 0
    build.convlstm("core.encoder.layers", build.flatten(build.context), units)
    build.begin_steps()
    state = axes("BUHW", build.B, units[0], 1, 1)
    h = build.convlstm("core.rest.layers", state, units, first="core.first")
    # Nothing is saved of what is added to the last frame
    build.dense("head", h[:2], size(build.context[2:]), saved=0)
    build.add_change()


def _shi2015(build: CostBuilder) -> None:
    filters, folded = build.model.filters, build.C * PATCH_2015**2
    patches = f"{PATCH_2015}x{PATCH_2015} patches"
    padded = build.pad_to_grid(build.images)
    build.add("fold", f"{patches} into channels", padded, build.maps("C", folded, N=padded[0][1]))
    build.convlstm("core.encoder.layers", build.maps("C", folded, T=build.T), filters)
    build.begin_steps()
    state = build.maps("F", filters[0])
    build.convlstm("core.rest.layers", state, filters, first="core.first")
    # Hidden states of all layers side by side, Shi et al. 2015, figure 3
    cells = build.conv("head", build.maps("F", sum(filters)), "C", folded, kernel=1)
    build.add("unfold", f"channels into {patches}", cells, build.pixels)
    build.add("frame", "sigmoid, padding cropped off", build.pixels, build.image)


_NETWORKS: dict[str, Callable[[CostBuilder], None]] = {
    "flow-convlstm": flow_convlstm,
    "convlstm": _convlstm,
    "frame-convlstm": _convlstm,
    "cnn-lstm": _cnn_lstm,
    "fc-lstm": _fc_lstm,
    "shi2015": _shi2015,
}
