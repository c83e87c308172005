"""A model as layers and the tensors between them, from code, a file or flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from framecast.inspection.keras_signatures import MERGES
from framecast.inspection.layer_outcome import GATES, Problem, axes_of
from framecast.inspection.sizes import Shape, Size, Symbol
from framecast.nn.convlstm.keras_identifiers import to_snake_case


@dataclass(frozen=True, repr=False)
class Tensor:
    """An output of a node: the node's number and which of its outputs; None for all it returns."""

    node: int
    index: int | None = None

    def __repr__(self) -> str:
        return "a tensor"


@dataclass(repr=False)
class Node:
    """A layer in a model: its kind and arguments, the tensors it reads, its line of code.

    `states` are the tensors given as `initial_state`. A `kind` of "" is an unknown layer. A layer
    that is not called yet has no inputs, and perhaps no name; the nodes of its calls have the same
    `identity`.
    """

    kind: str
    name: str
    arguments: dict[str, Any]
    inputs: tuple[Tensor, ...] = ()
    states: tuple[Tensor, ...] = ()
    line: int | None = None
    problems: tuple[Problem, ...] = ()
    identity: object = field(default_factory=object, compare=False)

    def __repr__(self) -> str:
        return self.name or self.kind

    @property
    def wanted_axes(self) -> int:
        """Axes that the input needs, the batch included; 0 if any number will do."""
        return len(axes_of(self.kind, self.arguments))

    @property
    def inner_kind(self) -> str:
        """The kind of the layer that a wrapper is around, or its own."""
        kind, arguments = self.kind, self.arguments
        while isinstance(inner := arguments.get("layer"), tuple):
            kind, arguments = inner
        return kind

    @property
    def moves_pixels(self) -> bool:
        """Whether outputs depend on inputs elsewhere for another reason than a kernel."""
        kind = self.inner_kind
        moves = ("Flatten", "Reshape", "Permute", "RepeatVector", "UpSampling", "Global")
        return kind.startswith((*moves, *GATES)) or kind.endswith("Transpose")

    @property
    def returned(self) -> int:
        """How many tensors a call returns: the output, or one of each direction, and states."""
        inner = self.arguments.get("layer")
        # The states of a Bidirectional are those of its layers
        is_pair = self.kind == "Bidirectional" and inner is not ...
        kind, arguments = inner if is_pair else (self.kind, self.arguments)
        states = state_count(kind) if arguments.get("return_state") else 0
        outputs = 2 if self.arguments.get("merge_mode", "") is None else 1
        return outputs + (2 * states if is_pair else states)


def state_count(kind: str) -> int:
    """h and c, or h alone."""
    return 1 if kind in ("GRU", "SimpleRNN") else 2


def over_time(node: Node, wrapper: Mapping[str, Any]) -> Node:
    """A layer of a model inside TimeDistributed, whose `name` and other arguments are `wrapper`.

    The same as the model in each step is each of its layers in each step.
    """
    arguments, kind = {**wrapper, "layer": (node.kind, node.arguments)}, "TimeDistributed"
    # Merges work on any number of axes, of which time is now the second
    if node.kind in (*MERGES, ""):
        leading = node.arguments.get("leading", 1) + 1
        arguments, kind = {**node.arguments, "leading": leading}, node.kind
        if isinstance(axis := arguments.get("axis"), int) and axis > 0:
            arguments["axis"] = axis + 1
    name = f"{wrapper.get('name') or 'time_distributed'}/{node.name or to_snake_case(node.kind)}"
    return replace(node, kind=kind, name=name, arguments=arguments)


@dataclass
class Graph:
    """Nodes in the order of their calls, the output, and notes on code that was not followed."""

    nodes: list[Node] = field(default_factory=list)
    outputs: tuple[Tensor, ...] = ()
    notes: list[str] = field(default_factory=list)


RECURRENT = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


@dataclass(frozen=True, repr=False)
class OpenAxes:
    """An unknown number of unknown sizes in a shape: `*x_train.shape[2:]`."""

    text: str

    def __repr__(self) -> str:
        return f"*{self.text}"


def input_shape_of(node: Node) -> tuple[Any, ...] | None:
    """The shape, batch included, that an Input or a first layer's keywords give; None for none.

    None among the sizes stays None; `batch_input_shape` and `input_shape` are Keras 2's.
    """
    arguments = node.arguments
    batch = arguments.get("batch_size")
    for name in ("batch_shape", "batch_input_shape"):
        if arguments.get(name) and isinstance(arguments[name], tuple | list):
            return tuple(arguments[name])
    for name in ("shape", "input_shape"):
        given = arguments.get(name)
        if isinstance(given, int):  # `shape=(10)` is no tuple, and Keras takes it for one axis
            given = (given,)
        if isinstance(given, Symbol):
            given = (OpenAxes(str(given)),)
        if isinstance(given, tuple | list):
            return (batch, *given)
    if node.kind == "Embedding":  # whose input_dim is a number of words
        return (batch, arguments.get("input_length") or Symbol("T"))
    if isinstance(arguments.get("input_dim"), int | Symbol):
        length = arguments.get("input_length", 0)
        return (batch, *(() if length == 0 else (length,)), arguments["input_dim"])
    return None


def declared_shape(node: Node) -> Shape | None:
    """The same with symbols for what is None; None where the number of axes is open."""
    given = input_shape_of(node)
    if given is None or any(isinstance(size, OpenAxes) for size in given):
        return None
    return named_axes(given)


def named_axes(sizes: Sequence[Any]) -> tuple[Size | OpenAxes, ...]:
    """Sizes with a symbol for each None: B, T, H, W or C, as the axis most likely is.

    `...` stands for a number that is not known, unlike None.
    """
    # By the number of axes, channels last
    letters = {2: "BC", 3: "BTC", 4: "BHWC", 5: "BTHWC", 6: "BTDHWC"}
    named = letters.get(len(sizes), "BTDHW".ljust(len(sizes), "X"))
    return tuple(
        Symbol(letter, is_none=size is None) if size in (None, ...) else size
        for letter, size in zip(named, sizes, strict=False)
    )
