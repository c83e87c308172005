"""Mistakes that stop a model and likely ones, each with the change that fixes it.

Functions that are given `lines` look at the layers before a node, which have been worked out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from framecast.inspection.keras_signatures import NEUTRAL
from framecast.inspection.layer_outcome import (
    LayerMistakeError,
    LayerOutcome,
    Problem,
    rank_of,
)
from framecast.inspection.model_graph import RECURRENT, Node, state_count
from framecast.inspection.model_report import LayerLine
from framecast.inspection.sizes import Shape, Symbol, is_known, is_none
from framecast.inspection.sizes import show_shape as show
from framecast.nn.shapes import ConvGeometry
from framecast.runtime.text import counted

# Frames have at most this many channels: grey, grey and alpha, RGB, RGB and alpha
FEW_CHANNELS = 4

# Pixels a side below which nothing is an image: in a series cut into parts, (1, 32, 9) are one row,
# time steps and features, and no grey picture of 32 x 9
SMALLEST_IMAGE = 16


def place(node: Node) -> str:
    """A layer's name, with its line if it has one."""
    return f"{node.name} (line {node.line})" if node.line else node.name


def remedy(
    lines: Sequence[LayerLine], node: Node, shapes: Sequence[Shape], mistake: LayerMistakeError
) -> tuple[str, Shape | None]:
    """The change that fixes a mistake, and the input's shape after it, None if it is unknown."""
    if mistake.wanted_rank and len(shapes) == 1:
        return _axes_remedy(lines, node, shapes[0], mistake.wanted_rank)
    change = mistake.change
    if mistake.kernel and (smallest := _smallest_input(lines, node, mistake.kernel)):
        change = (
            f"feed frames of {smallest} or larger, set padding='same' in {place(node)}, or use "
            "a smaller kernel"
        )
    return change, None


def _axes_remedy(
    lines: Sequence[LayerLine], node: Node, shape: Shape, wanted: int
) -> tuple[str, Shape | None]:
    """The change that gives a layer as many axes as it needs."""
    producer, missing = recurrent_before(lines, node), wanted - len(shape)
    is_convlstm = node.kind.startswith("ConvLSTM")
    # One axis short, and the layer before dropped time: that is the axis
    if missing == 1 and producer and not returns_sequences(producer.node) and producer.inputs[0]:
        change = f"set return_sequences=True in {place(producer.node)}, which returns its last step"
        return f"{change} only", (shape[0], producer.inputs[0][1], *shape[1:])
    if missing == 1 and is_convlstm:
        return _missing_axis(shape)
    # One axis too many, and it is time
    last = ""
    if producer and returns_sequences(producer.node):
        name = place(producer.node)
        last = f"set return_sequences=False in {name} to continue with its last step, or "
    if missing == -1 and (last or not is_convlstm):
        wrap = f"wrap {'this layer' if last else 'it'}, TimeDistributed({node.kind}(...)), to apply"
        return f"{last}{wrap} it to every step", (shape[0], *shape[2:])
    return _reshaped(node, shape, wanted), None


def _reshaped(node: Node, shape: Shape, wanted: int) -> str:
    """The layer to put before one whose input has a wrong number of axes."""
    if node.kind == "TimeDistributed" and len(shape) == wanted - 1:
        return (
            f"add the axis of time, shape={show(('T', *shape[1:]))}, or leave out TimeDistributed"
        )
    if wanted == 3 and len(shape) == 2:
        return "put Reshape((steps, features)) or RepeatVector(n) before it, or drop Flatten"
    if wanted == 3 and len(shape) > 3:
        return "put TimeDistributed(Flatten()) before it, which keeps time and makes features"
    if len(shape) == 3 and node.kind.startswith("ConvLSTM"):
        return "a series of features has no rows and columns: use LSTM or Conv1D, or give frames"
    axes = "1 axis" if wanted == 2 else f"{wanted - 1} axes"
    return f"put a Reshape before it that gives {axes} after the batch"


def _missing_axis(shape: Shape) -> tuple[str, Shape | None]:
    """The change for a ConvLSTM's input that lacks channels or time, and its shape after it."""
    batch, *sample = shape
    # (10, 64, 64): the last axis is too long to be channels, so these are rows and columns
    if isinstance(sample[-1], int) and sample[-1] > FEW_CHANNELS:
        axis, wanted, data = "channels", (*sample, 1), "x[..., None] to the data"
    else:
        axis, wanted = "time", (Symbol("T"), *sample)
        data = "cut the data into windows of T frames"
    return f"add the axis of {axis}, shape={show(wanted)}, and {data}", (batch, *wanted)


def _before(lines: Sequence[LayerLine], node: Node) -> Iterator[LayerLine]:
    """The layers before a node along its first inputs, the nearest first."""
    while node.inputs:
        line = lines[node.inputs[0].node]
        yield line
        node = line.node


def recurrent_before(lines: Sequence[LayerLine], node: Node) -> LayerLine | None:
    """The recurrent layer that decided on the time axis of a node's input."""
    for line in _before(lines, node):
        if line.node.kind in (*RECURRENT, "Bidirectional"):
            return line
        if line.node.kind in ("Flatten", "Reshape", "RepeatVector", "Permute", "GetItem"):
            break
    return None


def returns_sequences(node: Node) -> bool:
    arguments = node.arguments
    if node.kind == "Bidirectional":
        arguments = arguments["layer"][1]
    return bool(arguments.get("return_sequences"))


def _smallest_input(lines: Sequence[LayerLine], node: Node, kernel: ConvGeometry) -> str | None:
    """The smallest input, `13 x 13`, for which this layer and all before it return something.

    None if layers before it change sizes in other ways than kernels do.
    """
    needed = kernel.spans
    for line in _before(lines, node):
        outcome, inner = line.outcome, line.node.inner_kind
        if outcome.kernel is None:
            if line.node.moves_pixels or (rank_of(inner) and "Dropout" not in inner):
                return None
            continue
        before = outcome.kernel
        if len(before.spans) != len(needed):
            return None
        spans = before.spans if before.padding == "valid" else (1,) * len(needed)
        axes = zip(needed, before.strides, spans, strict=True)
        # n outputs need (n - 1) strides and one kernel
        needed = tuple((count - 1) * stride + span for count, stride, span in axes)
    return " x ".join(map(str, needed))


def batch_in_shape(node: Node, first: Node, shape: Shape) -> Iterator[Problem]:
    """A shape that includes the batch, where Keras takes that of one sample."""
    name = "shape" if node.kind == "InputLayer" else "input_shape"
    what = (
        f"has {name}={show(shape[1:])}, {len(shape) - 1} axes, and {first.kind} takes "
        f"{len(shape) - 2}: {name} is that of one sample, without the batch"
    )
    yield Problem(what, f"write {name}={show(shape[2:])} (assumed below)")


def fixed_sizes(first: Node, shape: Shape) -> Iterator[Problem]:
    """Rows and columns that are None, which Keras 2 takes and Keras 3 does not."""
    if not first.kind.startswith("ConvLSTM") or len(shape) != first.wanted_axes:
        return
    first_order = first.arguments.get("data_format") == "channels_first"
    sides = shape[3:] if first_order else shape[2:-1]
    if any(map(is_none, sides)):
        what = f"leaves {' x '.join(map(str, sides))} open, which Keras 3 refuses for {first.kind}"
        change = "give them numbers there; Keras 2 and framecast take any size"
        yield Problem(what, change, fatal=False)


def fed_problems(declared: Shape, fed: Shape) -> Iterator[Problem]:
    """An array whose shape differs from the Input that it is fed to."""
    # The batch of an Input is free
    if not _agree(declared[1:], fed[1:]):
        what = f"is declared as {show(declared)} and is fed {show(fed)}"
        yield Problem(what, f"declare shape={show(fed[1:])} (assumed below), or reshape the data")


def _agree(one: Shape, other: Shape) -> bool:
    """Whether shapes are equal as far as their sizes are known."""
    pairs = zip(one, other, strict=False)
    same = (first == second or not is_known((first, second)) for first, second in pairs)
    return len(one) == len(other) and all(same)


def likely_mistakes(
    lines: Sequence[LayerLine], node: Node, shape: Shape | None
) -> Iterator[Problem]:
    """Likely mistakes of a model that works: the order of axes, and an unwanted time axis."""
    if shape is None:
        return
    data_format = node.arguments.get("data_format") or "channels_last"
    before = _format_before(lines, node)
    if rank_of(node.kind) and before not in (None, data_format):
        change = f"set data_format={before!r} in {place(node)}"
        yield Problem(f"reads {data_format} and is given {before}", change, fatal=False)
    # With a wrong number of axes the order cannot be judged
    is_frame = len(shape) == node.wanted_axes and "Conv" in node.kind
    is_first = all(each.node.kind in ("InputLayer", *NEUTRAL) for each in _before(lines, node))
    if is_frame and is_first:
        yield from _order_problems(node, shape, data_format)
    line = recurrent_before(lines, node)
    if line is None or len(shape) < 3:
        return
    if node.kind == "Flatten" and returns_sequences(line.node) and shape[1] != 1:
        what = (
            f"flattens all {shape[1]} time steps together, since {line.node.name} returns "
            "sequences: each step gets its own weights"
        )
        change = f"set return_sequences=False in {place(line.node)} if you want only the last step"
        yield Problem(what, change, fatal=False)
    if node.kind == "Dense" and len(shape) > 3:
        output = (*shape[:-1], node.arguments["units"])
        what = f"acts only on the last axis: {show(shape)} becomes {show(output)}"
        change = (
            "put Flatten or GlobalAveragePooling before it if you want one answer for each clip"
        )
        yield Problem(what, change, fatal=False)


def _format_before(lines: Sequence[LayerLine], node: Node) -> str | None:
    """The order of axes that the layer before returned, if that is a layer over frames."""
    for line in _before(lines, node):
        kind, arguments = line.node.kind, line.node.arguments
        if kind in ("Flatten", "Reshape", "Permute", "GetItem", "Dense", "", "TimeDistributed"):
            break
        if rank_of(kind) and "data_format" in arguments:
            return arguments["data_format"] or "channels_last"
    return None


def _order_problems(node: Node, shape: Shape, data_format: str) -> Iterator[Problem]:
    """Input axes of the first layer that look like another order than the one it reads."""
    lead = len(shape) - rank_of(node.kind) - 1
    axes, first = shape[lead:], data_format == "channels_first"
    if not is_known(axes) or len(axes) != 3:
        return
    # The channels of each data_format
    channels, other = (axes[0], axes[-1]) if first else (axes[-1], axes[0])
    many, (rows, columns) = channels > FEW_CHANNELS, axes[:2]
    if many and other <= FEW_CHANNELS and min(axes[:2] if first else axes[1:]) >= SMALLEST_IMAGE:
        name = "channels_last" if first else "channels_first"
        what = (
            f"is fed {show(shape)}, which looks {name}: read as {data_format} its frames have "
            f"{channels} channels, otherwise {other}"
        )
        yield Problem(what, f"set data_format={name!r} or reorder the data", fatal=False)
        return
    # The rest is about the place of time, which only a ConvLSTM's input has
    if first or lead != 2:
        return
    steps, looks = shape[1], f"{rows} x {columns} pixels; {show(shape[1:])} looks like"
    move = "move time to the front, np.moveaxis(x, -1, 1)"
    # Frames have few channels and are rarely 1 to 4 pixels wide; sequences are rarely one step
    if many and columns <= FEW_CHANNELS:
        what = f"reads {channels} channels of {looks} (rows, columns, channels, time)"
        order = (channels, steps, rows, columns)
    elif many and steps == 1:
        what = f"reads {channels} channels and 1 time step; if the {channels} are frames, time is"
        what += " the last axis"
        move = "move it to the front, np.moveaxis(x, -1, 1)[..., None] without the axis of 1"
        order = (channels, rows, columns, 1)
    elif isinstance(steps, int) and steps == rows != columns and steps > FEW_CHANNELS:
        what = f"reads {steps} time steps of {looks} (rows, columns, time, channels)"
        move, order = (
            "move time to the front, np.moveaxis(x, 3, 1)",
            (columns, steps, rows, channels),
        )
    else:
        return
    yield Problem(what, f"{move}: shape={show(order)}", fatal=False)


def state_problems(
    node: Node, outcome: LayerOutcome, states: Sequence[Shape | None]
) -> Iterator[Problem]:
    """Tensors given as initial_state that differ in shape from the layer's own state."""
    if not states or not outcome.outputs or node.kind not in RECURRENT:
        return
    output, count = outcome.outputs[0], state_count(node.kind)
    wanted = (output[0], *output[2:]) if node.arguments["return_sequences"] else output
    if len(states) != count:
        what = f"takes {counted(count, 'tensor')} as initial_state and gets {len(states)}"
        yield Problem(what, "give it [h, c]" if count == 2 else "give it h alone")
    elif wrong := [shape for shape in states if shape is not None and not _agree(shape, wanted)]:
        yield Problem(
            f"gets an initial_state of {show(wrong[0])}, and its own state is {show(wanted)}",
            "give both layers the same filters, strides and padding, and the state of one step",
        )


def batch_problems(line: LayerLine, samples: int | None) -> Iterator[Problem]:
    """Stateful layers keep their batch, which has to be known and to divide the samples."""
    shape = line.inputs[0] if line.inputs else None
    if not line.node.arguments.get("stateful") or shape is None:
        return
    batch, *sizes = shape
    if not isinstance(batch, int):
        yield Problem(
            "is stateful and keeps a state for each sample of the batch, whose size is not given",
            f"write Input(batch_shape=(8, {', '.join(map(str, sizes))})) with the size of your "
            "batch, or stateful=False",
        )
    elif samples is not None and samples % batch:
        # The largest batch that leaves no smaller last one
        fits = max(count for count in range(1, batch + 1) if samples % count == 0)
        other = f", {samples - samples % batch} samples" if samples > batch else ""
        yield Problem(
            f"is stateful and keeps its batch of {batch}, but the last batch of "
            f"{counted(samples, 'sample')} has {samples % batch}",
            f"use a batch of {fits}{other}, or stateful=False",
        )


def target_problems(
    lines: Sequence[LayerLine], last: LayerLine, output: Shape, target: Shape
) -> Iterator[Problem]:
    """Outputs that a loss cannot compare with the target."""
    what = f"returns {show(output)}, and the target is {show(target)}"
    line = last if last.node.kind in RECURRENT else recurrent_before(lines, last.node)
    if len(target) != len(output):
        change = "give the target the shape of the output"
        if len(target) == 2:
            change = "put Flatten or GlobalAveragePooling before the last layer"
        # Steps too many or too few, and not an axis of another meaning
        elif line and len(output) - len(target) == (1 if returns_sequences(line.node) else -1):
            steps, frames = "every step", "one frame"
            if returns_sequences(line.node):
                steps, frames = "only the last step", "every frame"
            change = (
                f"set return_sequences={not returns_sequences(line.node)} in {place(line.node)} to "
                f"return {steps}, or use {frames} as the target"
            )
        yield Problem(f"{what}: {len(output)} axes and {len(target)}", change)
        return
    for axis, (one, other) in enumerate(zip(output[1:], target[1:], strict=True), start=1):
        # Losses compare element by element; Keras would broadcast 1, which is rarely intended
        if is_known((one, other)) and one != other:
            change = "use padding='same' and strides of 1, or crop the target"
            if axis == len(output) - 1:
                change = f"give the last layer {counted(other, 'channel')}, or the target {one}"
            elif axis == 1 and len(output) == 5:
                change = f"use {counted(one, 'frame')} as the target, as many as the input has"
            yield Problem(f"{what}: {one} and {other} in axis {axis}", change)
            return
