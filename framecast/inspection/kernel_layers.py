"""Layers that work on frames: convolutions, pooling, padding and ConvLSTM, of 1 to 3 axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from framecast.inspection.layer_outcome import (
    SIDES,
    Arguments,
    Frame,
    LayerMistakeError,
    LayerOutcome,
    Problem,
    bias_of,
    count_of,
    known_channels,
    rank_of,
)
from framecast.inspection.sizes import Shape, Size, ceil_divide, is_known, product, quotient
from framecast.inspection.sizes import show_shape as show
from framecast.nn.shapes import ConvGeometry, to_sizes

_RESIZING = ("UpSampling", "ZeroPadding", "Cropping")


def geometry_of(kind: str, arguments: Arguments, kernel: str = "kernel_size") -> ConvGeometry:
    """How a layer's kernel, whose size is the argument `kernel`, moves over a frame."""
    padding, strides = arguments["padding"], arguments["strides"]
    size = to_sizes(arguments[kernel], rank_of(kind), kernel)
    return ConvGeometry.parse(
        rank_of(kind),
        kernel_size=size,
        strides=size if strides is None and kernel == "pool_size" else strides,
        padding="same" if padding == "causal" and rank_of(kind) == 1 else padding,
        dilation_rate=arguments.get("dilation_rate", 1),
    )


def _slide(
    kind: str, arguments: Arguments, shape: Shape, kernel: str = "kernel_size"
) -> tuple[Frame, ConvGeometry, Shape, dict[str, Any]]:
    """How a kernel moves over a frame, the sizes after it, and what explains them: the fields of a
    LayerOutcome.
    """
    frame, geometry = Frame.of(kind, arguments, shape), geometry_of(kind, arguments, kernel)
    # valid: a kernel of d(k - 1) + 1 fits into L samples L - d(k - 1) times; same: L times
    lost = [span - 1 if geometry.padding == "valid" else 0 for span in geometry.spans]
    axes = list(zip(frame.sides, lost, geometry.strides, strict=True))
    sides = tuple(ceil_divide(size - less, stride) for size, less, stride in axes)
    if any(isinstance(side, int) and side < 1 for side in sides):
        covered, given = (" x ".join(map(str, part)) for part in (geometry.spans, frame.sides))
        raise LayerMistakeError(
            f"collapses to nothing: its kernel covers {covered} and its input is {given}",
            f"give it {covered} or more, set padding='same', or use a smaller kernel",
            kernel=geometry,
        )
    # Shown by --verbose, so that a size can be checked by hand
    names = SIDES[len(sides)]
    formulas = tuple(
        f"{name}: {_formula(*axis)} = {side}"
        for name, axis, side in zip(names, axes, sides, strict=True)
    )
    padding = geometry.padding
    # With a stride the padding depends on the size, which a symbol does not have
    if padding == "same" and (is_known(frame.sides) or max(geometry.strides) == 1):
        sizes = [side if isinstance(side, int) else 1 for side in frame.sides]
        padding = f"same: {show_pads(geometry.pads(sizes))}"
    # valid leaves the end unseen and shifts nothing, same the other way round
    if geometry.padding == "valid":
        warnings = tuple(_unseen(frame.sides, geometry))
    else:
        warnings = tuple(_even(geometry)) if kind.startswith("Conv") else ()
    details = {"padding": padding, "formulas": formulas, "warnings": warnings, "kernel": geometry}
    return frame, geometry, sides, details


def _formula(size: Size, lost: int, stride: int) -> str:
    less = f"{size} - {lost}" if lost else str(size)
    if stride == 1:
        return less
    return f"ceil(({less}) / {stride})" if lost else f"ceil({less} / {stride})"


def _by_axes(found: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """What was found along the axes, each once, with the names of all axes that have it."""
    names = SIDES[len(found)]
    for each in dict.fromkeys(found):
        alike = (name for name, other in zip(names, found, strict=True) if other == each)
        yield each, " and ".join(alike)


def _unseen(sizes: Shape, geometry: ConvGeometry) -> Iterator[Problem]:
    """Rows and columns at the end that no kernel reaches."""
    axes = [*zip(sizes, geometry.spans, geometry.strides, strict=True)]
    for (size, span, stride), names in _by_axes(axes):
        # Kernels smaller than their strides leave out pixels everywhere, as is meant in the
        # shortcut of a residual block
        if not isinstance(size, int) or span < stride:
            continue
        # What is left after the last whole stride; same pads it instead
        if unseen := (size - span) % stride:
            what = f"ignores the last {unseen} of {size} {names}, which kernels of {span} with "
            what += f"strides of {stride} do not reach"
            change = f"pad them by {stride - unseen}, crop them by {unseen}, or set padding='same'"
            yield Problem(what, change, fatal=False)


def _even(geometry: ConvGeometry) -> Iterator[Problem]:
    """Even kernels with padding on both sides."""
    for span, names in _by_axes(geometry.spans):
        if span % 2 == 0:
            what = f"has an even kernel of {span} {names}, which has no middle: padding='same' adds"
            what += f" {(span - 1) // 2} before and {span // 2} after, and the image shifts by half"
            what += " a pixel"
            yield Problem(what, f"use {span - 1} or {span + 1}", fatal=False)


def show_pads(pads: Sequence[tuple[int, int]]) -> str:
    """Padding before and after each axis: `2` if it is 2 everywhere, or `0+1, 1+1`."""
    if len({count for pair in pads for count in pair}) == 1:
        return str(pads[0][0])
    return ", ".join(f"{before}+{after}" for before, after in pads)


def _conv(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    filters, groups = count_of(arguments), count_of({"groups": 1, **arguments}, "groups")
    frame, geometry, sides, details = _slide(kind, arguments, shape)
    channels = known_channels(frame.channels)
    # Each group of filters reads its own part of the channels
    if groups != 1:
        if any(isinstance(count, int) and count % groups for count in (channels, filters)):
            raise LayerMistakeError(
                f"has groups={groups}, which do not divide both the channels ({channels}) and the "
                f"filters ({filters}) evenly",
                "use groups that divide both",
            )
        channels = quotient(channels, groups)
    # Keras' order: sides, input channels, output channels
    kernel = (*geometry.kernel_size, channels, filters)
    weights = {"kernel": kernel, **bias_of(arguments, filters)}
    macs = product(sides) * product(kernel)
    return LayerOutcome((frame.shape(sides, filters),), weights, macs=macs, **details)


def _depthwise(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    frame, geometry, sides, details = _slide(kind, arguments, shape)
    channels, multiplier = known_channels(frame.channels), count_of(arguments, "depth_multiplier")
    # Every channel has its own kernels: C in, C x depth_multiplier out
    multiplied = channels * multiplier
    kernel, returned = (*geometry.kernel_size, channels, multiplier), multiplied
    weights, macs = {"kernel": kernel}, product(sides) * product(kernel)
    if kind.startswith("Separable"):
        # A second, 1x1 convolution combines the channels
        returned = count_of(arguments)
        pointwise = (*(1,) * len(sides), multiplied, returned)
        weights = {"depthwise_kernel": kernel, "pointwise_kernel": pointwise}
        macs += product(sides) * product(pointwise)
    weights |= bias_of(arguments, returned)
    return LayerOutcome((frame.shape(sides, returned),), weights, macs=macs, **details)


def _transposed(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    frame, geometry = Frame.of(kind, arguments, shape), geometry_of(kind, arguments)
    filters, extras = count_of(arguments), arguments["output_padding"]
    if extras is None or isinstance(extras, int):
        extras = [extras] * len(frame.sides)
    both = zip(extras, geometry.strides, strict=True)
    if any(more is not None and not 0 <= more < stride for more, stride in both):
        rule = f"output_padding must be at least 0 and less than strides={geometry.strides}"
        raise ValueError(f"{rule}; received {arguments['output_padding']}; leave it out")
    sides, axes = [], zip(frame.sides, geometry.spans, geometry.strides, extras, strict=True)
    for size, span, stride, more in axes:
        # `_get_output_shape_given_tf_padding` in keras/src/backend/common/backend_utils.py
        least, usual = span % 2, stride
        if geometry.padding == "valid":
            least, usual = span, max(span, stride)
        sides.append((size - 1) * stride + (usual if more is None else least + more))
    # Transposed kernels have the filters before the input channels
    kernel = (*geometry.kernel_size, filters, known_channels(frame.channels))
    weights = {"kernel": kernel, **bias_of(arguments, filters)}
    macs, output = product(frame.sides) * product(kernel), frame.shape(tuple(sides), filters)
    return LayerOutcome((output,), weights, macs=macs, padding=geometry.padding)


def _pool(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    frame, _, sides, details = _slide(kind, arguments, shape, "pool_size")
    return LayerOutcome((frame.shape(sides, frame.channels),), **details)


def _global_pool(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    frame = Frame.of(kind, arguments, shape)
    # keepdims leaves 1 in place of each side
    kept = frame.shape((1,) * len(frame.sides), frame.channels)
    return LayerOutcome((kept if arguments["keepdims"] else (*frame.leading, frame.channels),))


def _resize(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    """UpSampling, ZeroPadding and Cropping."""
    frame = Frame.of(kind, arguments, shape)
    rank = len(frame.sides)
    if kind.startswith("UpSampling"):
        factors = to_sizes(arguments["size"], rank, "size")
        sides = tuple(size * by for size, by in zip(frame.sides, factors, strict=True))
        return LayerOutcome((frame.shape(sides, frame.channels),))
    # Padding and cropping are the same sum with another sign
    cropped = kind.startswith("Cropping")
    name, opposite = ("cropping", "ZeroPadding") if cropped else ("padding", "Cropping")
    given, pairs = arguments[name], _pairs(arguments[name], rank)
    if any(isinstance(by, int) and by < 0 for pair in pairs for by in pair):
        raise ValueError(f"{name} must not be negative; received {given}; use {opposite}{rank}D")
    sign = -1 if cropped else 1
    sides = tuple(size + sign * sum(pair) for size, pair in zip(frame.sides, pairs, strict=True))
    if any(isinstance(side, int) and side < 1 for side in sides):
        raise LayerMistakeError(f"crops everything away: {show(frame.sides)}", "crop less")
    padding = "" if cropped else f"zeros: {show_pads(pairs)}"
    return LayerOutcome((frame.shape(sides, frame.channels),), padding=padding)


def _pairs(value: Any, rank: int) -> list[tuple[int, int]]:
    """Pixels before and after each axis, from an integer, one for each axis, or pairs."""
    if isinstance(value, int):
        return [(value, value)] * rank
    # ZeroPadding1D((1, 2)) is before and after; ZeroPadding2D((1, 2)) is rows and columns
    if rank == 1 and all(isinstance(each, Size) for each in value):
        value = [value]
    pairs = ((each, each) if isinstance(each, Size) else each for each in value)
    return [(before, after) for before, after in pairs]


def _convlstm(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    filters = count_of(arguments)
    frame, geometry, sides, details = _slide(kind, arguments, shape)
    steps = frame.leading[1]
    # i, f, the candidate and o side by side, Shi et al. 2015, eq. 3
    gates = 4 * filters
    kernel = (*geometry.kernel_size, known_channels(frame.channels), gates)
    # The state's convolution is always same, stride 1 and undilated
    own = arguments.get("recurrent_kernel_size")
    state_kernel = to_sizes(own or geometry.kernel_size, len(sides), "recurrent_kernel_size")
    recurrent = (*state_kernel, filters, gates)
    weights = {"kernel": kernel, "recurrent_kernel": recurrent, **bias_of(arguments, gates)}
    if arguments.get("peephole"):
        weights["peephole"] = (3 * filters,)
    if arguments.get("layer_norm"):
        weights |= {"input_gain": (gates,), "recurrent_gain": (gates,)}
        weights |= {"cell_gain": (filters,), "cell_shift": (filters,)}
    details["state_kernel"] = state_kernel
    # A fused sequence skips the convolution of the first step's state, which is zeros
    later = steps - 1 if is_fused(arguments) else steps
    macs = product(sides) * (steps * product(kernel) + later * product(recurrent))
    # h and c have no time axis and the output's sides
    state = replace(frame, leading=frame.leading[:1]).shape(sides, filters)
    output = frame.shape(sides, filters) if arguments["return_sequences"] else state
    states = (state, state) if arguments["return_state"] else ()
    return LayerOutcome((output, *states), weights, macs=macs, **details)


def is_fused(arguments: Arguments) -> bool:
    """Whether a ConvLSTM runs as one fused sequence, which knows these two functions alone."""
    functions = arguments["activation"], arguments["recurrent_activation"]
    return functions == ("tanh", "sigmoid") and not arguments.get("layer_norm")


# Rules of all layers that work on frames, with or without a time axis
KERNEL_RULES: dict[str, Callable[[str, Arguments, Shape], LayerOutcome]] = {
    **{f"Conv{n}D": _conv for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": _transposed for n in (1, 2, 3)},
    **{f"{how}Conv{n}D": _depthwise for how in ("Depthwise", "Separable") for n in (1, 2)},
    **{f"{how}Pooling{n}D": _pool for how in ("Max", "Average") for n in (1, 2, 3)},
    **{f"Global{how}Pooling{n}D": _global_pool for how in ("Max", "Average") for n in (1, 2, 3)},
    **{f"{how}{n}D": _resize for how in _RESIZING for n in (1, 2, 3)},
    **{f"ConvLSTM{n}D": _convlstm for n in (1, 2, 3)},
}
