"""Read a model from a Keras file, Python code, standard input, or layers given as text."""

from __future__ import annotations

import ast
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from framecast.errors import SourceError, UsageError
from framecast.inspection.keras_code import read_code, read_layer
from framecast.inspection.keras_signatures import (
    ELEMENTWISE,
    MERGES,
    SIGNATURES,
    freezes_weights,
    parameters_of,
)
from framecast.inspection.keras_values import GraphBuilder, ModelValue
from framecast.inspection.model_graph import Graph, Node, Tensor, named_axes
from framecast.inspection.model_report import ModelReport
from framecast.inspection.model_walk import inspect_graph
from framecast.inspection.sizes import Shape, Symbol
from framecast.nn.convlstm.keras_identifiers import to_snake_case

# Classes of whole models, which may stand inside of others; Sequential is the first
MODELS = ("Sequential", "Functional", "Model")

# Of functions, `keras.ops`, those that are the same as the layer of that name; others have other
# arguments, such as Reshape, or do something else, such as Average
_SAME_AS_LAYERS = ("Add", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")

# What files raise that are not as Keras or Jupyter writes them, too deep ones included
_DAMAGED = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)

EXAMPLE_INPUT = "--input 8,10,64,64,1"
# Bytes; no model's code has more
LARGEST_CODE = 4 * 2**20

# One setting: no white space or comma, except in brackets, in quotes, and between digits
_SETTING = re.compile(r"(?:\([^)]*\)?|\[[^\]]*\]?|'[^']*'|\"[^\"]*\"|,(?=\d)|[^\s,(\[])+")


def inspect_model(
    source: Path | None,
    layers: Sequence[str] = (),
    fed: str | None = None,
    target: str | None = None,
    samples: int | None = None,
) -> ModelReport:
    """Inspect a Keras file, code or `-`, or else layers given as text, one after another.

    `fed` and `target` are the sizes of the arrays that the model is given and trained towards,
    "8,10,64,64,1"; `samples` is the size of the data set that stateful layers are fed from.
    Raises UsageError for text that is no layer or shape, SourceError for files that are no model.
    """
    if samples is not None and samples < 1:
        raise UsageError(f"--samples {samples}: expected an integer of 1 or more")
    if source is not None and layers:
        raise UsageError(
            f"--layer describes layers alone, and {source} is given", remedy="leave out one of them"
        )
    if source is None and not (layers and fed):
        missing = "--input" if layers else "--layer"
        example = EXAMPLE_INPUT if layers else '--layer "filters=64 kernel=5"'
        raise UsageError(f"{missing} is missing", remedy=f"add e.g. {example}")
    graph = read_layers(layers) if source is None else read_model(source)
    return inspect_graph(
        graph,
        None if fed is None else parse_sizes(fed),
        None if target is None else parse_sizes(target, "--target"),
        samples,
    )


def is_model_source(target: Path | None) -> bool:
    """Whether a path is a Keras model or code: `-`, or one with their suffixes."""
    if target is None:
        return False
    return str(target) == "-" or target.suffix.lower() in (".keras", ".json", ".py", ".ipynb")


def read_model(target: Path) -> Graph:
    """Read a model's layers from a file or, for `-`, from standard input.

    SourceError for files that are missing or no model, UsageError for code that cannot be followed.
    """
    is_piped, suffix = str(target) == "-", target.suffix.lower()
    title, is_saved = "standard input" if is_piped else str(target), suffix in (".keras", ".json")
    try:
        if is_piped:
            text = sys.stdin.read(LARGEST_CODE).removeprefix("\ufeff")
        elif suffix == ".keras":  # a zip, of which the weights are not needed
            with zipfile.ZipFile(target) as archive:
                text = archive.read("config.json")
        else:
            text = target.read_text(encoding="utf-8-sig")
        if is_saved or suffix == ".ipynb":
            document = json.loads(text)
        if suffix == ".ipynb":  # a notebook's code, cell after cell
            cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
            text = "\n".join("".join(cell["source"]) for cell in cells)
    except FileNotFoundError:
        raise SourceError(f"{target}: no such file") from None
    except IsADirectoryError:
        raise SourceError(
            f"{target}: is a folder, not a model",
            remedy="inspect frames without --input and --layer",
        ) from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, *_DAMAGED) as error:
        remedy = "give Python code in UTF-8, or a .keras file"
        if is_saved:
            remedy = "save it once more with model.save('model.keras')"
        message = f"{title}: cannot be read as a Keras model: {error}"
        raise SourceError(message, remedy=remedy) from None
    return read_configuration(document, title) if is_saved else read_code(text, title)


def read_layers(texts: Sequence[str]) -> Graph:
    """Layers in a row, each as "filters=64 kernel=5" or in Keras' own spelling."""
    build, x = GraphBuilder(), []
    for number, text in enumerate(texts, start=1):
        where = f"--layer {number}"
        # A call is Keras' spelling, anything else settings of a ConvLSTM2D
        is_call = re.match(r"[\w.]+\(.*\)[\s,]*$", text.strip(), re.DOTALL)
        layer, found = read_layer(text if is_call else _call_of(text, where), where)
        x = build.chain([replace(layer, line=None)], x)
        build.notes += found
    return Graph(build.nodes, tuple(x), build.notes)


def _call_of(text: str, where: str) -> str:
    """The call that settings stand for: "filters=64 kernel=5,3 padding=same"."""
    arguments: dict[str, str] = {}
    for word in _SETTING.findall(text):
        name, _, value = word.partition("=")
        # The short name that the help shows
        name = "kernel_size" if name == "kernel" else name
        if not (name.isidentifier() and value):
            raise UsageError(
                f"{where}: {word!r} is not NAME=VALUE",
                remedy='write e.g. "filters=64 kernel=5", or "ConvLSTM2D(filters=64, ...)"',
            )
        if name in arguments:
            raise UsageError(f"{where}: {name} is given twice", remedy="leave one out")
        if value.lower() in ("true", "false", "none"):
            value = value.title()
        arguments[name] = repr(value) if _is_text(value) else value
    # In parentheses, so that 5,3 is one value
    return f"ConvLSTM2D({', '.join(f'{name}=({value})' for name, value in arguments.items())})"


def _is_text(value: str) -> bool:
    """Whether a setting is a name, such as same or tanh, or anything else that is not Python."""
    try:
        return isinstance(ast.parse(value, mode="eval").body, ast.Name)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True


def parse_sizes(text: str, flag: str = "--input") -> Shape:
    """Sizes from "8,10,64,64,1", None or a letter for an unknown one; UsageError for others."""
    words = [word.strip() for word in text.strip("()[] ").split(",")]
    known = all(re.fullmatch(r"\?|[A-Za-z]\w*|[1-9][0-9]{0,17}", word) for word in words)
    if len(words) < 2 or not known:
        raise UsageError(
            f"{flag} {text}: expected integers of 1 or more, separated by commas",
            remedy=f"e.g. {EXAMPLE_INPUT} for batch, time, height, width, channels; None for a "
            "size that is not known",
        )
    sizes = [int(word) if word.isdecimal() else Symbol(word) for word in words]
    return named_axes([None if str(size).lower() in ("none", "?") else size for size in sizes])


def read_configuration(config: dict[str, Any], title: str) -> Graph:
    """The graph of a model's configuration; SourceError, which names `title`, for anything else."""
    build = GraphBuilder()
    try:
        model = _model(config, build)
        build.models.append(model)
        graph = build.graph()
    except _DAMAGED:
        raise SourceError(
            f"{title}: not the configuration of a Sequential or functional model",
            remedy="a subclassed model's layers are in its code: give the .py file",
        ) from None
    if not graph.nodes:
        raise SourceError(
            f"{title}: {config.get('class_name')} is subclassed, and its file does not say how "
            "its layers are called",
            remedy="give the .py file with its code, or save a functional model",
        )
    return graph


def _model(config: dict[str, Any], build: GraphBuilder) -> ModelValue:
    settings = config["config"]
    if config["class_name"] == "Sequential":
        return ModelValue([_value(layer, build) for layer in settings["layers"]])
    # What each call of a layer has returned
    made: dict[str, list[list[Tensor]]] = {}
    layers = settings.get("layers", ())
    # Calls of a model are counted from 1, after a node of its own: in Keras 3 only as outputs
    calls = [call for layer in layers for call in layer.get("inbound_nodes") or ()]
    is_old = any(isinstance(call, list) for call in calls)
    own = {_name(layer) for layer in layers if layer["class_name"] in MODELS[0 if is_old else 1 :]}
    for layer in layers:
        value = _value(layer, build)
        # A layer that is used twice has two calls and one set of weights
        for call in layer.get("inbound_nodes") or [None]:
            inputs = [
                made[name][n - (is_old and name in own)][index]
                for name, n, index in _histories_of(call)
            ]
            if layer["class_name"] == "GetItem":  # `x[:, -1]`, whose index is in its call
                index = _index(call["args"][1])
                parts = index if isinstance(index, tuple) else (index,)
                value = Node("GetItem", value.name, {"index": parts})
            made.setdefault(_name(layer), []).append(_called(build, value, inputs))
    ends = _histories(settings.get("output_layers"), in_rows=True)
    outputs = [made[name][n - (name in own)][index] for name, n, index in ends]
    entries = [each for each in layers if each["class_name"] == "InputLayer"]
    return ModelValue(None, tuple(outputs), tuple(made[_name(each)][0][0] for each in entries))


def _value(layer: dict[str, Any], build: GraphBuilder) -> Node | ModelValue:
    """A layer or a model that is not called yet."""
    kind, settings = layer["class_name"], layer["config"]
    if kind in MODELS:
        return _model(layer, build)
    if kind == "TimeDistributed" and settings["layer"]["class_name"] in MODELS:
        return replace(_model(settings["layer"], build), wrapper={"name": _name(layer)})
    name = str(settings.get("name", kind))
    is_function = ".ops." in (layer.get("module") or "")
    if is_function and to_snake_case(kind) in ELEMENTWISE:
        return Node("Activation", name, {"activation": to_snake_case(kind)})
    known = kind in SIGNATURES and (not is_function or kind in _SAME_AS_LAYERS)
    return Node(kind, name, _arguments(layer)) if known else Node("", name, {})


def _called(build: GraphBuilder, value: Node | ModelValue, inputs: list[Tensor]) -> list[Tensor]:
    """The tensors that one call of a layer or model returns."""
    if isinstance(value, ModelValue):
        return build.call_model(value, inputs)
    # An operation with a number, such as x * 2, keeps the shape
    if value.kind in MERGES and len(inputs) == 1:
        value = replace(value, kind="Identity", arguments={})
    # Of several tensors a recurrent layer reads the first; the others are its initial state
    count = len(inputs) if value.kind in (*MERGES, "") else 1
    return build.parts_of(build.add(value, inputs[:count], inputs[count:]))


def _name(layer: dict[str, Any]) -> str:
    return layer.get("name") or layer["config"]["name"]


def _histories_of(call: Any) -> Iterator[tuple[str, int, int]]:
    """Layer, call and output that each input of a call comes from, in the form of Keras 3 or 2."""
    if not isinstance(call, dict):  # Keras 2: [[name, node, index, {}], ...]
        return _histories(call, in_rows=True)
    keywords = {name: each for name, each in (call.get("kwargs") or {}).items() if name != "mask"}
    states = keywords.pop("initial_state", None)
    return _histories([call.get("args"), keywords, states])


def _histories(value: Any, *, in_rows: bool = False) -> Iterator[tuple[str, int, int]]:
    """Layer, call and output of all tensors in a value, in lists of their own if `in_rows`."""
    if isinstance(value, dict) and value.get("keras_history"):
        yield tuple(value["keras_history"])
    elif in_rows and isinstance(value, list) and value and isinstance(value[0], str):
        yield tuple(value[:3])
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _histories(each, in_rows=in_rows)


def _index(value: Any) -> Any:
    """The index of a tensor from its configuration, with lists for tuples and names for slices."""
    if isinstance(value, list):
        return tuple(map(_index, value))
    if isinstance(value, dict) and value["class_name"] == "__slice__":
        return slice(*(value["config"][bound] for bound in ("start", "stop", "step")))
    if isinstance(value, dict) and value["class_name"] == "__ellipsis__":
        return ...
    return value


def _arguments(layer: dict[str, Any]) -> dict[str, Any]:
    """A configured layer's arguments by name; wrapped layers as (kind, arguments)."""
    kind, settings = layer["class_name"], layer["config"]
    arguments = dict(parameters_of(kind))
    for name, value in settings.items():
        is_shape = name in ("batch_shape", "batch_input_shape")
        kept = is_shape or name == "batch_size" or (name == "trainable" and freezes_weights(kind))
        if name in arguments or kept:
            arguments[name] = tuple(value) if isinstance(value, list) else value
        if name in ("layer", "backward_layer") and value is not None:
            if value["class_name"] not in SIGNATURES:
                raise ValueError(f"{value['class_name']} in {kind} is not known")
            arguments[name] = (value["class_name"], _arguments(value))
        if is_shape and any(not isinstance(n, int | None) or (n or 0) < 0 for n in value or ()):
            raise ValueError(f"{value} are no sizes")
    return arguments
