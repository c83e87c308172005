"""File formats for networks: ONNX, torch.export and TorchScript, each saved and loaded again."""

from __future__ import annotations

import io
import json
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from framecast.errors import UsageError
from framecast.nn.forecasters.base import Forecaster

METADATA_FILE = "framecast.json"
"""Name of the metadata inside .pt2 and .torchscript files, among their extra files."""

Run = Callable[[Tensor], Tensor]


class FixedRollout(nn.Module):
    """A forecaster whose horizon is part of it, as exported graphs are: context in, frames out."""

    def __init__(self, network: Forecaster, horizon: int) -> None:
        super().__init__()
        self.network, self.horizon = network, horizon

    def forward(self, context: Tensor) -> Tensor:
        return self.network(context, self.horizon)


class FixedSize(nn.Module):
    """Refuses every other (Tc, C, H, W): a traced graph would take some and answer wrongly."""

    def __init__(self, traced: nn.Module, takes: list[int]) -> None:
        super().__init__()
        self.traced, self.takes = traced, takes

    def forward(self, context: Tensor) -> Tensor:
        if list(context.shape[1:]) != self.takes:
            message = "context must be float32 (B, Tc, C, H, W) with Tc, C, H, W = {}; received {}"
            raise ValueError(message.format(self.takes, list(context.shape)))
        return self.traced(context)


class ModelFormat(ABC):
    """A file format for networks; `title` names it to the user."""

    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def save(
        self, network: nn.Module, example: Tensor, metadata: Mapping[str, str], path: Path
    ) -> None:
        """Write the network, traced with the example (B, Tc, C, H, W), and the metadata."""

    @abstractmethod
    def load(self, path: Path) -> Run | None:
        """Make the file's contents callable; None where this machine lacks what runs them."""


class OneSequence(nn.Module):
    """A network of batches as one of a single context (Tc, C, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, context: Tensor) -> Tensor:
        return self.network(context.unsqueeze(0)).squeeze(0)


class OnnxFormat(ModelFormat):
    """ONNX through torch.export; the metadata become `metadata_props`.

    What is traced is one sequence of fixed sizes, which an ONNX Scan runs over the batch: traced
    with a batch of symbolic size, the same network takes several times as long to export.
    """

    title = "ONNX"
    packages = ("onnx", "onnxscript")

    def save(
        self, network: nn.Module, example: Tensor, metadata: Mapping[str, str], path: Path
    ) -> None:
        onnx, optimizer = import_module("onnx"), import_module("onnxscript.optimizer")
        sequence = (example[0],)
        program = torch.onnx.export(
            _without_paths(torch.export.export(OneSequence(network), sequence, strict=False)),
            sequence,
            input_names=["one_context"],
            output_names=["one_future"],
            dynamo=True,
            verbose=False,
            optimize=False,  # its search for patterns takes longer than all else
        )
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
        model = program.model_proto
        inner, make = model.graph, onnx.helper
        shapes = [
            [axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in (inner.input[0], inner.output[0])
        ]
        body = make.make_graph(inner.node, "one_sequence", inner.input, inner.output)
        scan = make.make_node("Scan", ["context"], ["frames"], body=body, num_scan_inputs=1)
        given, returned = (
            make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])
            for name, shape in zip(("context", "frames"), shapes, strict=True)
        )
        graph = make.make_graph([scan], "framecast", [given], [returned], inner.initializer)
        model.graph.CopyFrom(graph)
        make.set_model_props(model, dict(metadata))
        onnx.save(model, path)

    def load(self, path: Path) -> Run | None:
        if find_spec("onnxruntime") is None:
            return None
        runtime = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors only
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(context: Tensor) -> Tensor:
            return torch.from_numpy(session.run(["frames"], {"context": context.numpy()})[0])

        return run


class ProgramFormat(ModelFormat):
    """torch.export's ExportedProgram."""

    title = "torch.export"

    def save(
        self, network: nn.Module, example: Tensor, metadata: Mapping[str, str], path: Path
    ) -> None:
        extra = {METADATA_FILE: json.dumps(dict(metadata))}
        # Into memory first: PyTorch's own writer ends the process where a disk is full.
        content = io.BytesIO()
        torch.export.save(_exported(network, example), content, extra_files=extra)
        path.write_bytes(content.getbuffer())

    def load(self, path: Path) -> Run:
        return torch.export.load(path).module()


class TorchScriptFormat(ModelFormat):
    """TorchScript, traced."""

    title = "TorchScript"

    def save(
        self, network: nn.Module, example: Tensor, metadata: Mapping[str, str], path: Path
    ) -> None:
        # The check at other batch sizes, after reloading, says more than tracing a second time.
        traced = torch.jit.trace(network, example, check_trace=False)
        script = torch.jit.script(FixedSize(traced, list(example.shape[1:])))
        extra = {METADATA_FILE: json.dumps(dict(metadata)).encode()}
        content = io.BytesIO()
        torch.jit.save(script, content, _extra_files=extra)
        path.write_bytes(content.getbuffer())

    def load(self, path: Path) -> Run:
        return torch.jit.load(str(path), map_location="cpu")


MODEL_FORMATS: Mapping[str, ModelFormat] = {
    ".onnx": OnnxFormat(),
    ".pt2": ProgramFormat(),
    ".torchscript": TorchScriptFormat(),
}


def pick_format(path: Path) -> ModelFormat:
    file_format = MODEL_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise UsageError(
            f"{path}: no format for models ends in {path.suffix or 'nothing'}",
            remedy=f"end the name in {', '.join(MODEL_FORMATS)}",
        )
    missing = [name for name in file_format.packages if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{file_format.title} needs {' and '.join(missing)}, which is not installed",
            remedy='run pip install "framecast[export]"',
        )
    return file_format


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' warnings and log lines, which are about themselves, from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _exported(network: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """The network as an ExportedProgram with a free batch size."""
    shapes = {"context": {0: torch.export.Dim("batch", min=1)}}
    return _without_paths(
        torch.export.export(network, (example,), dynamic_shapes=shapes, strict=False)
    )


def _without_paths(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program, relieved of its stack traces: they hold paths of this machine."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program
