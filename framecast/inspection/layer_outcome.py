"""The result of a layer's shape rule, its mistakes, and how a layer reads the axes of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from framecast.inspection.sizes import Shape, Size, Symbol, is_none, product
from framecast.inspection.sizes import show_shape as show
from framecast.nn.convlstm.argument_checks import to_data_format
from framecast.nn.shapes import ConvGeometry, to_count

Arguments = dict[str, Any]


@dataclass(eq=False)
class LayerMistakeError(Exception):
    """An input that a layer cannot work with: what happens and why, and the change that fixes it.

    `wanted_rank` is the number of axes the layer needs if it gets another one, `kernel` its own if
    that is larger than its input.
    """

    what: str
    change: str
    wanted_rank: int = 0
    kernel: ConvGeometry | None = None


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
class LayerOutcome:
    """The result of a layer: `outputs`, its `weights`, of which `frozen` elements are not trained.

    `macs` are the multiply-adds of one sample; `padding` and `formulas` explain the sizes. The
    receptive field grows by the `kernel` that moves over a frame, and in each step by the
    `state_kernel`. Without outputs it is unknown, because of a `mistake` or of code that is not
    followed.
    """

    outputs: tuple[Shape, ...] = ()
    weights: Mapping[str, Shape] = field(default_factory=dict)
    frozen: Size = 0
    macs: Size = 0
    padding: str = ""
    formulas: tuple[str, ...] = ()
    kernel: ConvGeometry | None = None
    state_kernel: tuple[int, ...] = ()
    warnings: tuple[Problem, ...] = ()
    mistake: LayerMistakeError | None = None

    @property
    def parameters(self) -> Size:
        return sum(map(product, self.weights.values()), 0)


def rank_of(kind: str) -> int:
    """Axes that a frame has for a layer of this kind: 2 for Conv2D."""
    return next((int(letter) for letter in kind if letter in "123"), 0)


def axes_of(kind: str, arguments: Arguments) -> tuple[str, ...]:
    """Names of the axes of a layer's input, the batch first; none if any number will do."""
    # Of a wrapper they follow from the layer inside, which is `...` where none was given
    if isinstance(inner := arguments.get("layer"), tuple):
        axes = axes_of(*inner)
        return ("batch", "time", *axes[1:]) if axes and kind == "TimeDistributed" else axes
    if kind in GATES:
        return ("batch", "time", "features")
    if kind == "RepeatVector":
        return ("batch", "features")
    time = ("time",) if kind.startswith("ConvLSTM") else ()
    return ("batch", *time, *SIDES[rank_of(kind)], "channels") if rank_of(kind) else ()


def check_axes(kind: str, arguments: Arguments, shape: Shape) -> None:
    """Refuse the wrong number of axes, and an order of axes that does not exist."""
    to_data_format(arguments.get("data_format"))
    axes = axes_of(kind, arguments)
    if axes and len(shape) != len(axes):
        raise LayerMistakeError(
            f"needs {len(axes)} axes, ({', '.join(axes)}), and gets {len(shape)}: {show(shape)}",
            "give it such a tensor",
            wanted_rank=len(axes),
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


def bias_of(arguments: Arguments, *sizes: Size) -> dict[str, Shape]:
    return {"bias": sizes} if arguments["use_bias"] else {}


def count_of(arguments: Arguments, name: str = "filters") -> Size:
    given = arguments[name]
    return given if isinstance(given, Symbol) else to_count(given, name)


# Matrices that a recurrent layer has side by side in one kernel
GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}

# Names of the axes of a frame
SIDES = {1: ("steps",), 2: ("rows", "columns"), 3: ("depth", "rows", "columns")}
