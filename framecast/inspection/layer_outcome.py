"""The result of a layer's shape rule, its mistakes, and how a layer reads the axes of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framecast.inspection.sizes import Shape, Size, Symbol, is_none, product
from framecast.inspection.sizes import show_shape as show
from framecast.nn.convlstm.argument_checks import to_data_format
from framecast.nn.shapes import to_count

Arguments = dict[str, Any]
WeightShapes = tuple[tuple[str, Shape], ...]


class LayerMistakeError(Exception):
    """An input that a layer cannot work with: what happens and why, and the change that fixes it.

    `wanted_rank` is the number of axes the layer needs if it gets another one, `window` its kernel
    if that is larger than its input.
    """

    def __init__(
        self, what: str, change: str, *, wanted_rank: int = 0, window: KernelWindow | None = None
    ) -> None:
        super().__init__(what)
        self.what, self.change, self.wanted_rank, self.window = what, change, wanted_rank, window


@dataclass(frozen=True)
class Problem:
    """What is wrong at a layer and the change that fixes it; if not `fatal` the model works.

    `layer` and its `line` of code are filled in when it is reported.
    """

    what: str
    change: str
    fatal: bool = True
    layer: str = ""
    line: int | None = None

    def __str__(self) -> str:
        at = f" (line {self.line})" if self.line else ""
        return f"{self.layer}{at} {self.what}; {self.change}"


@dataclass(frozen=True)
class KernelWindow:
    """A kernel that moves over the axes of a frame, by which the receptive field grows.

    `spans` are the pixels that it covers, dilation included; `recurrent` is the kernel of a state.
    """

    spans: tuple[int, ...]
    strides: tuple[int, ...]
    recurrent: tuple[int, ...] = ()


@dataclass(frozen=True)
class LayerOutcome:
    """The result of a layer: `outputs`, its `weights`, of which `frozen` elements are not trained.

    `macs` are the multiply-adds of one sample; `padding` and `formulas` explain the sizes.
    """

    outputs: tuple[Shape, ...]
    weights: WeightShapes = ()
    frozen: Size = 0
    macs: Size = 0
    padding: str = ""
    formulas: tuple[str, ...] = ()
    window: KernelWindow | None = None
    warnings: tuple[Problem, ...] = ()

    @property
    def parameters(self) -> Size:
        return sum((product(shape) for _, shape in self.weights), 0)


def rank_of(kind: str) -> int:
    """Axes that a frame has for a layer of this kind: 2 for Conv2D."""
    return next((int(letter) for letter in kind if letter in "123"), 0)


def wanted_axes(kind: str, arguments: Arguments) -> int:
    """How many axes a layer's input needs, the batch included; 0 if any number will do."""
    # Of a wrapper they follow from the layer inside, which is `...` where none was given
    if isinstance(inner := arguments.get("layer"), tuple):
        axes = wanted_axes(*inner)
        return axes + 1 if kind == "TimeDistributed" and axes else axes
    if kind.startswith("ConvLSTM"):
        return rank_of(kind) + 3
    if kind in ("LSTM", "GRU", "SimpleRNN", "SpatialDropout1D"):
        return 3
    if kind == "RepeatVector":
        return 2
    return rank_of(kind) + 2 if rank_of(kind) else 0


def check_axes(kind: str, arguments: Arguments, shape: Shape) -> None:
    """Refuse the wrong number of axes, and an order of axes that does not exist."""
    to_data_format(arguments.get("data_format"))
    wanted = wanted_axes(kind, arguments)
    if wanted and len(shape) != wanted:
        axes = _AXES.get(kind) or _AXES[f"{wanted - 2}D"]
        raise LayerMistakeError(
            f"needs {wanted} axes, {axes}, and gets {len(shape)}: {show(shape)}",
            "give it such a tensor",
            wanted_rank=wanted,
        )


@dataclass(frozen=True)
class Frame:
    """A tensor's axes by their meaning: batch and perhaps time, rows and columns, channels."""

    leading: Shape
    sides: Shape
    channels: Size
    first: bool

    @classmethod
    def of(cls, kind: str, arguments: Arguments, shape: Shape) -> Frame:
        check_axes(kind, arguments, shape)
        # channels_first: (batch, [time,] channels, *sides)
        first = to_data_format(arguments.get("data_format")) == "channels_first"
        lead = len(shape) - rank_of(kind) - 1
        rest = shape[lead:]
        sides, channels = (rest[1:], rest[0]) if first else (rest[:-1], rest[-1])
        return cls(shape[:lead], sides, channels, first)

    def shape(self, sides: Shape, channels: Size) -> Shape:
        rest = (channels, *sides) if self.first else (*sides, channels)
        return (*self.leading, *rest)


def known_channels(size: Size, what: str = "the number of channels") -> Size:
    """The number of channels or another size of weights, which may not be None."""
    if is_none(size):
        raise LayerMistakeError(
            f"cannot make its weights: {what} is None",
            "give the Input a number there",
        )
    return size


def bias_of(arguments: Arguments, *sizes: Size) -> WeightShapes:
    return (("bias", sizes),) if arguments["use_bias"] else ()


def count_of(arguments: Arguments, name: str = "filters") -> Size:
    given = arguments[name]
    return given if isinstance(given, Symbol) else to_count(given, name)


# Matrices that a recurrent layer has side by side in one kernel
GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}

# Axes of a layer's input in Keras' order
_AXES = {
    "1D": "(batch, steps, channels)",
    "2D": "(batch, rows, columns, channels)",
    "3D": "(batch, depth, rows, columns, channels)",
    "0D": "(batch, features)",
    **dict.fromkeys(GATES, "(batch, time, features)"),
    "ConvLSTM1D": "(batch, time, steps, channels)",
    "ConvLSTM2D": "(batch, time, rows, columns, channels)",
    "ConvLSTM3D": "(batch, time, depth, rows, columns, channels)",
}
