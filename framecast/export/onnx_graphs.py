"""Networks as ONNX: `encode` and `step` traced once each, and a rollout as a loop over `step`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import nn

from framecast.export.step_graphs import StepGraphs

# The first in which grid sampling, padding and reductions have the forms used here
OPSET = 18

# Numbers below which a tensor stays in single precision: nothing is saved by halving it
SMALLEST_HALVED = 64


def step_models(graphs: StepGraphs, free_size: bool) -> tuple[Any, Any]:
    """The ONNX models of `encode` (context -> states) and `step` (states -> frame, next states).

    B is free, with `free_size` H and W, too: `step` takes what `encode` gives at any of them.
    """
    free = {0: "batch", 3: "height", 4: "width"} if free_size else {0: "batch"}
    encode = _traced(graphs.encode, graphs.context, ["context"], graphs.names, {"context": free})
    # Names in the order of the states, so that outputs can be fed back as inputs by position.
    after = [f"next_{name}" for name in graphs.names]
    # Every size of a state may be free, except that of its channels.
    axes = {
        name: {axis: f"{name}_{axis}" for axis in range(state.ndim) if axis != 1}
        for name, state in zip(graphs.names, graphs.states, strict=True)
    }
    step = _traced(graphs.step, graphs.states, graphs.names, ["frame", *after], axes)
    return encode, step


def rollout_model(encode: Any, step: Any, names: Sequence[str]) -> Any:
    """One model from context and horizon to frames (B, horizon, C, H, W): a loop over `step`."""
    onnx = import_module("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    shared = {item.name: (item.raw_data, *item.dims) for item in encode.graph.initializer}
    # Weights that both graphs hold under one name are stored once, outside the loop.
    body = onnx.GraphProto()
    body.CopyFrom(step.graph)
    weights = {item.name: (item.raw_data, *item.dims) for item in body.initializer}
    _prefix(body, "step/", {name for name, held in weights.items() if shared.get(name) == held})
    # What a Loop reads from outside is looked up by name (ONNX, Loop: outer scope)
    own = [item for item in body.initializer if item.name not in shared]
    typed = helper.make_tensor_value_info
    go_on = helper.make_node("Identity", ["go_on"], ["goes_on"])
    given = [typed("step/number", kinds.INT64, []), typed("go_on", kinds.BOOL, []), *body.input]
    # States first, then what is scanned
    frame, *after = body.output
    returned = [typed("goes_on", kinds.BOOL, []), *after, frame]
    loop_body = helper.make_graph([go_on, *body.node], "step", given, returned)
    finals = [*(f"final_{name}" for name in names), "frames_TBCHW"]
    loop = helper.make_node("Loop", ["horizon", "", *names], finals, body=loop_body)
    # A Loop stacks what it scans along a new first axis: time.
    transpose = helper.make_node("Transpose", ["frames_TBCHW"], ["frames"], perm=[1, 0, 2, 3, 4])
    context = encode.graph.input[0]
    channels = context.type.tensor_type.shape.dim[2].dim_value
    inputs = [context, typed("horizon", kinds.INT64, [])]
    frames = typed("frames", kinds.FLOAT, ["batch", "time", channels, "height", "width"])
    nodes, held = [*encode.graph.node, loop, transpose], [*encode.graph.initializer, *own]
    graph = helper.make_graph(nodes, "framecast", inputs, [frames], held)
    model = onnx.ModelProto()
    model.CopyFrom(encode)
    model.graph.CopyFrom(graph)
    return model


def refuse_other_sizes(model: Any, sides: Sequence[Sequence[int]]) -> None:
    """Let a model that takes `context` fail on frames outside `sides`, the least and most (H, W).

    Tracing fixes what depends on the size, such as the levels of a pyramid, so at other sizes the
    graph would run and answer wrongly, in whatever program it is.
    """
    onnx = import_module("onnx")
    (least, most), make = sides, onnx.helper.make_node
    message = f"the frames must be {least[0]}x{least[1]} to {most[0]}x{most[1]} (H x W)"

    numbers = {"least": np.int64(least), "most": np.int64(most), "one": np.float32([1])}
    constants = [
        onnx.numpy_helper.from_array(array, f"sides/{name}") for name, array in numbers.items()
    ]
    # ONNX knows no assertion. An index that is out of range where a size is wrong stops every
    # runtime, and the message names the node. The product with 1 is the context to the bit, and
    # without it the check would be removed as dead code.
    nodes = [
        make("Shape", ["context"], ["sides/given"], start=3, end=5),
        make("Less", ["sides/given", "sides/least"], ["sides/below"]),
        make("Greater", ["sides/given", "sides/most"], ["sides/above"]),
        make("Or", ["sides/below", "sides/above"], ["sides/wrong"]),
        make("Cast", ["sides/wrong"], ["sides/numbers"], to=onnx.TensorProto.INT64),
        make("ReduceMax", ["sides/numbers"], ["sides/index"], keepdims=0),
        make("Gather", ["sides/one", "sides/index"], ["sides/factor"], name=message),
        make("Mul", ["context", "sides/factor"], ["sides/context"]),
    ]
    for node in model.graph.node:
        node.input[:] = ["sides/context" if name == "context" else name for name in node.input]
    traced = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *traced])
    model.graph.initializer.extend(constants)


def halve(model: Any) -> None:
    """Store the weights of a model in half precision; what is computed stays in single precision.

    In half precision the coordinates that frames are sampled at would be off by whole pixels.
    """
    onnx = import_module("onnx")
    casts = []
    for item in model.graph.initializer:
        numbers = onnx.numpy_helper.to_array(item)
        if item.data_type != onnx.TensorProto.FLOAT or numbers.size < SMALLEST_HALVED:
            continue
        name = item.name
        item.CopyFrom(onnx.numpy_helper.from_array(numbers.astype("float16"), f"{name}.half"))
        # Cast back when the model is loaded: the file is half as large, the arithmetic as exact
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def finish(model: Any, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a checked model that carries metadata."""
    onnx = import_module("onnx")
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _traced(
    module: nn.Module,
    example: torch.Tensor | list[torch.Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    free: Mapping[str, Mapping[int, str]],
) -> Any:
    """A module as ONNX model with the axes `free`.

    By tracing: it follows sizes as ordinary numbers, takes seconds, and specialises on none of
    them, while torch.export takes minutes to prove what it can of symbolic sizes.
    """
    onnx = import_module("onnx")
    torch.onnx.register_custom_op_symbolic("aten::unflatten", _unflatten, OPSET)
    written = BytesIO()
    torch.onnx.export(
        module.eval(),
        (example,),
        written,
        dynamo=False,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_axes={name: dict(axes) for name, axes in free.items()},
        opset_version=OPSET,
    )
    model = onnx.load_model_from_string(written.getvalue())
    # Sizes of the example, which would be wrong at others; and paths of this machine.
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
    for value in model.graph.output:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            size.dim_param = f"{value.name}_{axis}"
    return model


def _unflatten(graph: Any, tensor: Any, dim: Any, sizes: Any) -> Any:
    """torch.unflatten as a Reshape to traced sizes; PyTorch's own takes the example's as given."""
    helper = torch.onnx.symbolic_helper
    rank = helper._get_tensor_rank(tensor)
    dim = helper._maybe_get_const(dim, "i") % rank
    shape = graph.op("Shape", tensor)

    def constant(*numbers: int) -> Any:
        return graph.op("Constant", value_t=torch.tensor(numbers))

    def size(axis: int) -> Any:
        return graph.op("Gather", shape, constant(axis), axis_i=0)

    if helper._is_packed_list(sizes):
        parts = helper._unpack_list(sizes)
        middle = [graph.op("Reshape", part, constant(1)) for part in parts]
    else:
        middle = [constant(*helper._parse_arg(sizes, "is"))]
    before, after = map(size, range(dim)), map(size, range(dim + 1, rank))
    return graph.op("Reshape", tensor, graph.op("Concat", *before, *middle, *after, axis_i=0))


def _prefix(graph: Any, prefix: str, keep: set[str]) -> None:
    """Rename every value of a graph except `keep`, so that it can stand next to another graph."""

    def renamed(name: str) -> str:
        return name if name in keep or not name else f"{prefix}{name}"

    for node in graph.node:
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
        node.name = f"{prefix}{node.name}"
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = renamed(value.name)
