"""Shape rules of Keras' layers: output, weights, multiply-adds and padding from an input shape.

Shapes are tuples in the axis order of the code, the batch first; sizes may be symbols. The rules
are those of Keras 3 (`keras/src/ops/operation_utils.py` and the layers' `compute_output_shape`),
compared with Keras by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from framecast.inspection.keras_signatures import MERGES, NORMALIZATIONS, UNCHANGED, parameters_of
from framecast.inspection.kernel_layers import KERNEL_RULES
from framecast.inspection.layer_outcome import (
    GATES,
    Arguments,
    LayerMistakeError,
    LayerOutcome,
    axes_of,
    bias_of,
    check_axes,
    count_of,
    known_channels,
)
from framecast.inspection.model_graph import RECURRENT, Node
from framecast.inspection.sizes import Shape, Size, Symbol, is_known, is_none, product, quotient
from framecast.inspection.sizes import show_shape as show


def work_out(kind: str, arguments: Arguments, shapes: Sequence[Shape]) -> LayerOutcome:
    """Apply a layer's rule to its inputs; LayerMistakeError if it cannot work with them."""
    if kind not in MERGES and len(shapes) != 1:
        raise LayerMistakeError(
            f"gets {len(shapes)} tensors and takes one", "give it one of them, e.g. the output"
        )
    try:
        # Merges and wrappers say themselves what they need
        if kind not in (*MERGES, "TimeDistributed", "Bidirectional"):
            check_axes(kind, arguments, shapes[0])
        outcome = RULES[kind](kind, arguments, shapes if kind in MERGES else shapes[0])
        is_trained = arguments.get("trainable", True) is not False
        return outcome if is_trained else replace(outcome, frozen=outcome.parameters)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        what, _, change = str(error).rpartition("; ")
        # Python's own error: text where a number belongs, or too many numbers
        if not what:
            default = parameters_of(kind)
            written = (f"{name}={v!r}" for name, v in arguments.items() if v != default.get(name))
            what, change = f"{', '.join(written):.120}", "give a number for each size"
        raise LayerMistakeError(f"has wrong arguments: {what}", change) from None


def outcome_of(node: Node, shapes: Sequence[Shape | None]) -> LayerOutcome:
    """The result of a call, unknown for an unknown layer and where inputs are not followed."""
    # A missing argument is reported already; a shape would be a guess
    if not node.kind or None in shapes or _lacks_arguments(node.arguments):
        return LayerOutcome()
    try:
        return work_out(node.kind, node.arguments, shapes)
    except LayerMistakeError as mistake:
        return LayerOutcome(mistake=mistake)


def _lacks_arguments(arguments: Arguments) -> bool:
    """Whether an argument of a layer, or of a layer that it wraps, is missing or not followed."""
    wrapped = (arguments.get(name) for name in ("layer", "backward_layer"))
    inner = (layer[1] for layer in wrapped if isinstance(layer, tuple))
    return any(value is ... for value in arguments.values()) or any(map(_lacks_arguments, inner))


def _recurrent(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    (batch, steps, features), units = shape, count_of(arguments, "units")
    columns = GATES[kind] * units
    # cuDNN's GRU has one bias for the input and one for the state
    bias = (2, columns) if arguments.get("reset_after") else (columns,)
    kernels = {"kernel": (known_channels(features), columns), "recurrent_kernel": (units, columns)}
    weights = {**kernels, **bias_of(arguments, *bias)}
    state = (batch, units)
    output = (batch, steps, units) if arguments["return_sequences"] else state
    states = (state,) * (2 if kind == "LSTM" else 1) if arguments["return_state"] else ()
    macs = steps * columns * (features + units)
    return LayerOutcome((output, *states), weights, macs=macs)


def _dense(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    if len(shape) < 2:
        raise LayerMistakeError(f"needs 2 axes or more and gets {show(shape)}", "keep the features")
    units, features = count_of(arguments, "units"), shape[-1]
    if is_none(features):  # and weights need numbers
        raise LayerMistakeError(
            f"cannot make its weights: its input has {features} features, which None in the "
            "Input leaves open",
            "give the Input numbers instead of None, or take GlobalAveragePooling instead of "
            "Flatten",
        )
    weights = {"kernel": (features, units), **bias_of(arguments, units)}
    return LayerOutcome(((*shape[:-1], units),), weights, macs=product(shape[1:]) * units)


def _embedding(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    words, width = (count_of(arguments, name) for name in ("input_dim", "output_dim"))
    return LayerOutcome(((*shape, width),), {"embeddings": (words, width)})


def _check_range(axes: Sequence[int], shape: Shape) -> None:
    """Raise LayerMistakeError for an axis that the input does not have."""
    for axis in axes:
        if not -len(shape) <= axis < len(shape):
            raise LayerMistakeError(f"has axis={axis} and gets {show(shape)}", "use axis=-1")


def _normalization(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    axes = arguments["axis"]
    axes = [axes] if isinstance(axes, int) else list(axes)
    _check_range(axes, shape)
    # gamma and beta have one element for each place along the normalised axes
    sizes = tuple(known_channels(shape[axis], "the size of a normalised axis") for axis in axes)
    groups = -1 if arguments.get("groups", -1) == -1 else count_of(arguments, "groups")
    if groups != -1 and any(isinstance(size, int) and size % groups for size in sizes):
        raise LayerMistakeError(
            f"has groups={groups}, which do not divide the channels ({sizes[0]})",
            "use groups that divide them, or -1 for one of each channel",
        )
    scales = [name for flag, name in (("scale", "gamma"), ("center", "beta")) if arguments[flag]]
    # Statistics are counted as parameters and not trained
    moving = ["moving_mean", "moving_variance"] if kind == "BatchNormalization" else []
    weights = dict.fromkeys((*scales, *moving), sizes)
    return LayerOutcome((shape,), weights, frozen=len(moving) * product(sizes))


def _prelu(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    shared = arguments["shared_axes"] or ()
    shared = (shared,) if isinstance(shared, int) else shared
    alpha = tuple(
        1 if axis in shared else known_channels(size, "a size of the input")
        for axis, size in enumerate(shape[1:], start=1)
    )
    return LayerOutcome((shape,), {"alpha": alpha})


def _unchanged(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    return LayerOutcome((shape,))


def _flatten(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    return LayerOutcome(((shape[0], product(shape[1:])),))


def _reshape(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    target = arguments["target_shape"]
    target = (target,) if isinstance(target, int | Symbol) else tuple(target)
    if not all(isinstance(size, int | Symbol) for size in target):
        raise TypeError("sizes are integers")
    if target.count(-1) > 1:
        raise LayerMistakeError(
            f"has target_shape={show(target)}, where one -1 is allowed", "leave one size open"
        )
    # -1 takes all remaining elements; it is a number only if everything else is
    given, known = product(shape[1:]), product(size for size in target if size != -1)
    counted = is_known((given, known))
    if -1 in target and not (counted and (known == 0 or given % known)):
        rest = quotient(given, known)
        target, known = tuple(rest if size == -1 else size for size in target), given
    if counted and given != known:
        raise LayerMistakeError(
            f"cannot reshape {show(shape[1:])} into {show(target)}: they have {given:,} and "
            f"{known:,} elements",
            "choose a target_shape with as many elements",
        )
    return LayerOutcome(((shape[0], *target),))


def _permute(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    dims = tuple(arguments["dims"])
    if sorted(dims) != list(range(1, len(shape))):
        raise LayerMistakeError(
            f"has dims={dims} and gets {show(shape)}",
            f"name each axis after the batch once, 1 to {len(shape) - 1}",
        )
    return LayerOutcome(((shape[0], *(shape[dim] for dim in dims)),))


def _repeat(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    return LayerOutcome(((shape[0], count_of(arguments, "n"), shape[1]),))


def _get_item(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    """A part of a tensor, `x[:, -1]`: integers drop an axis, slices shorten it."""
    parts = list(arguments["index"])
    # An ellipsis stands for all axes that are not named
    if ... in parts:
        at, named = parts.index(...), sum(part not in (None, ...) for part in parts)
        parts[at : at + 1] = [slice(None)] * (len(shape) - named)
    sizes, left = [], list(shape)
    for part in parts:
        if part is None:
            sizes.append(1)
            continue
        if not left:
            raise LayerMistakeError(f"has {len(parts)} indices for {show(shape)}", "leave some out")
        size = left.pop(0)
        # An integer drops its axis
        if isinstance(part, int):
            continue
        if part.step == 0:
            raise LayerMistakeError("has a slice with a step of 0", "leave the step out")
        if isinstance(size, Symbol) and part != slice(None):
            text = f"len({size}[{part.start}:{part.stop}])".replace("None", "")
            sizes.append(Symbol(text, is_none=size.is_none))
        else:
            sizes.append(size if isinstance(size, Symbol) else len(range(size)[part]))
    return LayerOutcome(((*sizes, *left),))


def _time_distributed(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    inner_kind, inner_arguments = arguments["layer"]
    if len(shape) < 3:
        raise LayerMistakeError(
            f"needs a time axis, 3 axes or more, and gets {show(shape)}",
            "drop TimeDistributed, or set return_sequences=True in the layer before",
        )
    wanted = len(axes_of(inner_kind, inner_arguments))
    if wanted and len(shape) != wanted + 1:
        raise LayerMistakeError(
            f"applies {inner_kind} to each time step, {wanted} axes, so it needs {wanted + 1}, "
            f"and gets {len(shape)}: {show(shape)}",
            "give it a time axis, or leave out TimeDistributed",
            wanted_rank=wanted + 1,
        )
    # One step without the time axis, which comes back in front of its output
    inner = work_out(inner_kind, inner_arguments, [(shape[0], *shape[2:])])
    outputs = tuple((output[0], shape[1], *output[1:]) for output in inner.outputs)
    return replace(inner, outputs=outputs, macs=inner.macs * shape[1])


def _bidirectional(kind: str, arguments: Arguments, shape: Shape) -> LayerOutcome:
    inner_kind, mode = arguments["layer"][0], arguments["merge_mode"]
    if inner_kind not in RECURRENT:
        raise LayerMistakeError(
            f"wraps {inner_kind}, which is not recurrent", "wrap an LSTM, GRU or ConvLSTM"
        )
    pair = (arguments["layer"], arguments["backward_layer"] or arguments["layer"])
    forward, backward = (work_out(*layer, [shape]) for layer in pair)
    (one, *states), (other, *more) = forward.outputs, backward.outputs
    if mode not in ("concat", "sum", "mul", "ave", None):
        raise LayerMistakeError(
            f"has merge_mode={mode!r}", "use 'concat', 'sum', 'mul', 'ave' or None"
        )
    _check_pair(*(layer[1] for layer in pair), is_given=arguments["backward_layer"] is not None)
    # The last axis, whatever data_format says: `ops.concatenate(..., axis=-1)` in Keras
    compared = len(one) - 1 if mode == "concat" else len(one)
    axes = list(zip(one, other, strict=True))[:compared]
    if mode is not None and any(is_known(sizes) and len({*sizes}) > 1 for sizes in axes):
        raise LayerMistakeError(
            f"merges {show(one)} of its forward layer with {show(other)} of its backward layer",
            "give both the same filters, kernel_size, strides and padding, or use merge_mode=None",
        )
    joined = (*one[:-1], one[-1] + other[-1]) if mode == "concat" else one
    outputs = (joined, *((other,) if mode is None else ()), *states, *more)
    weights = {f"forward_{name}": size for name, size in forward.weights.items()}
    weights |= {f"backward_{name}": size for name, size in backward.weights.items()}
    macs, frozen = forward.macs + backward.macs, forward.frozen + backward.frozen
    return replace(forward, outputs=outputs, weights=weights, macs=macs, frozen=frozen)


def _check_pair(forward: Arguments, backward: Arguments, *, is_given: bool) -> None:
    """Refuse two directions that Keras does not take as one layer."""
    # A backward layer that is not given is made with go_backwards=True
    if forward["go_backwards"] == (backward["go_backwards"] if is_given else True):
        raise LayerMistakeError(
            f"has go_backwards={forward['go_backwards']} in both of its layers",
            "set go_backwards=True in the backward layer alone",
        )
    for name in ("stateful", "return_sequences", "return_state"):
        if forward[name] != backward[name]:
            raise LayerMistakeError(
                f"has {name}={forward[name]} in its forward and {name}={backward[name]} in its "
                "backward layer",
                f"give both the same {name}",
            )


def _merge(kind: str, arguments: Arguments, shapes: Sequence[Shape]) -> LayerOutcome:
    if len(shapes) < 2:
        raise LayerMistakeError(
            "merges two tensors or more and gets one", "give it a list of tensors"
        )
    joins, rank = kind == "Concatenate", max(map(len, shapes))
    # `x * w` aligns last axes, as NumPy does, so that a batch would meet rows or columns
    if (joins or "operator" in arguments) and rank > min(map(len, shapes)):
        raise LayerMistakeError(
            f"gets tensors with different numbers of axes: {', '.join(map(show, shapes))}",
            "reshape one of them",
        )
    if kind == "Subtract" and len(shapes) > 2:
        raise LayerMistakeError(f"takes two tensors and gets {len(shapes)}", "subtract in turn")
    joined = None
    if joins:
        _check_range([arguments["axis"]], shapes[0])
        joined = arguments["axis"] % rank
    # Axes that a tensor lacks come after its batch, or batch and time inside TimeDistributed, so
    # that (B, C) scales the channels of frames
    lead = arguments.get("leading", 1)
    full = [(*shape[:lead], *(1,) * (rank - len(shape)), *shape[lead:]) for shape in shapes]
    sizes: list[Size] = []
    for axis, column in enumerate(zip(*full, strict=True)):
        if axis == joined:
            sizes.append(sum(column, 0))
            continue
        # Unknown sizes are taken to agree with known ones
        known = {size for size in column if isinstance(size, int)}
        # All but Concatenate broadcast sizes of 1, as NumPy does
        if not joins and len(known) > 1:
            known -= {1}
        if len(known) > 1:
            raise LayerMistakeError(
                f"gets tensors that differ in axis {axis}: {', '.join(map(show, shapes))}",
                "give both the same size there: padding='same', the same strides, or a crop",
            )
        sizes.append(known.pop() if known else column[0])
    return LayerOutcome((tuple(sizes),))


RULES: dict[str, Callable[..., LayerOutcome]] = {
    **KERNEL_RULES,
    **dict.fromkeys(GATES, _recurrent),
    **dict.fromkeys(NORMALIZATIONS, _normalization),
    **dict.fromkeys((*UNCHANGED, *(f"SpatialDropout{n}D" for n in (1, 2, 3))), _unchanged),
    **dict.fromkeys(MERGES, _merge),
    "PReLU": _prelu,
    "Dense": _dense,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "RepeatVector": _repeat,
    "GetItem": _get_item,
    "TimeDistributed": _time_distributed,
    "Bidirectional": _bidirectional,
}
