"""File formats for networks: ONNX, torch.export, TorchScript and safetensors."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from framecast.export import onnx_graphs
from framecast.export.request import ExportRequest, ModelKind
from framecast.export.step_graphs import LoopedRollout, StepGraphs
from framecast.nn.forecasters.base import Forecaster
from framecast.prediction.checkpoint import Checkpoint, load_checkpoint
from framecast.prediction.onnx_network import OnnxNetwork

# Name of the metadata inside .pt2 and .torchscript files, among their extra files
METADATA_FILE = "framecast.json"

# What a file does once it is loaded: context (B, Tc, C, H, W) and horizon to frames
Run = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Export:
    """What is written: a checkpoint's network with an example context (B, Tc, C, H, W), and how.

    `sides` are the smallest and the largest (H, W) that the file holds for.
    """

    request: ExportRequest
    kind: ModelKind
    checkpoint: Checkpoint
    network: Forecaster
    context_BTCHW: Tensor
    horizon: int
    sides: tuple[tuple[int, int], tuple[int, int]]
    metadata: Mapping[str, str]

    @property
    def free_size(self) -> bool:
        """Whether the file takes other heights and widths than the example's."""
        return self.sides[0] != self.sides[1]


class ModelFormat(NamedTuple):
    """How the network and its metadata are written to a kind of file, and made callable again.

    `load` gives None if no runtime for the file is installed.
    """

    save: Callable[[Export, Path], None]
    load: Callable[[Path], Run | None]


def _save_onnx(export: Export, path: Path) -> None:
    """ONNX; the metadata become `metadata_props`."""
    graphs = StepGraphs(export.network, export.context_BTCHW)
    encode, step = onnx_graphs.step_models(graphs, export.free_size)
    if export.free_size:  # else the size stands in the graph's input, which runtimes check
        onnx_graphs.refuse_other_sizes(encode, export.sides)
    models = [encode, step]
    if not export.request.step:
        models = [onnx_graphs.rollout_model(encode, step, graphs.names)]
    for file, model in zip(export.request.files(path), models, strict=True):
        if export.request.half:
            onnx_graphs.halve(model)
        file.write_bytes(onnx_graphs.finish(model, export.metadata))


def _load_onnx(path: Path) -> Run | None:
    if find_spec("onnxruntime") is None:
        return None
    network = OnnxNetwork(path)

    def run(context_BTCHW: Tensor, horizon: int) -> Tensor:
        frames = network.rollout(context_BTCHW.numpy(), horizon)
        return torch.stack([torch.from_numpy(frame_BCHW) for frame_BCHW in frames], dim=1)

    return run


def _save_program(export: Export, path: Path) -> None:
    """torch.export's ExportedProgram: a loop over the horizon, at one frame size, any batch."""
    program = torch.export.export(
        LoopedRollout(export.network, export.horizon),
        (export.context_BTCHW,),
        # H and W stay as traced: proving them free takes torch.export minutes. PyTorch 2.7 takes no
        # size for free that has no upper limit.
        dynamic_shapes={"context": {0: torch.export.Dim("batch", min=1, max=2**31)}},
        strict=False,
    )
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it holds paths of this machine
    extra = {METADATA_FILE: json.dumps(dict(export.metadata))}
    # Into memory first: PyTorch's own writer ends the process where a disk is full.
    content = io.BytesIO()
    torch.export.save(program, content, extra_files=extra)
    path.write_bytes(content.getvalue())


def _load_program(path: Path) -> Run:
    module = torch.export.load(path).module()
    return lambda context_BTCHW, horizon: module(context_BTCHW)


class ScriptedRollout(nn.Module):
    """Traced `encode` and `step` in a loop that TorchScript compiles: context, horizon to frames.

    Refuses sizes that the traces do not hold for, where they would answer wrongly.
    """

    def __init__(
        self, graphs: StepGraphs, horizon: int, sides: tuple[tuple[int, int], tuple[int, int]]
    ) -> None:
        super().__init__()
        self.encode = graphs.traced_encode
        self.step = torch.jit.trace(graphs.step, (graphs.states,), check_trace=False, strict=False)
        self.horizon = horizon
        self.takes = list(graphs.context.shape[1:3])
        self.smallest, self.largest = map(list, sides)  # what TorchScript can hold

    def forward(self, context: Tensor, horizon: int = 0) -> Tensor:
        """The frames (B, horizon, C, H, W); horizon 0 is the one of the export."""
        sizes = list(context.shape)
        fits = sizes[1:3] == self.takes
        for size, least, most in zip(sizes[3:], self.smallest, self.largest):  # noqa: B905 (TorchScript)
            fits = fits and least <= size and size <= most
        if not fits:
            message = "context must be float32 (B, Tc, C, H, W) with Tc, C = {}, H, W from {} to {}"
            raise ValueError(
                (message + "; received {}").format(self.takes, self.smallest, self.largest, sizes)
            )
        states = self.encode(context)
        frames: list[Tensor] = []
        for _ in range(horizon if horizon > 0 else self.horizon):
            after = self.step(states)
            frames.append(after[0])
            states = after[1:]
        return torch.stack(frames, 1)


def _save_script(export: Export, path: Path) -> None:
    graphs = StepGraphs(export.network, export.context_BTCHW)
    # Scripted around the traces: a traced loop would hold one horizon.
    script = torch.jit.script(ScriptedRollout(graphs, export.horizon, export.sides))
    extra = {METADATA_FILE: json.dumps(dict(export.metadata)).encode()}
    content = io.BytesIO()
    torch.jit.save(script, content, _extra_files=extra)
    path.write_bytes(content.getvalue())


def _save_weights(export: Export, path: Path) -> None:
    """The weights as safetensors, with the settings as metadata; framecast itself reads them."""
    kind = torch.float16 if export.request.half else torch.float32
    weights = {
        name: (tensor.to(kind) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in export.network.state_dict().items()
    }
    checkpoint = export.checkpoint
    trained_on = checkpoint.trained_on and [asdict(clip) for clip in checkpoint.trained_on]
    more = {"scores": dict(checkpoint.scores), "trained_on": trained_on}
    texts = {name: json.dumps(value) for name, value in more.items()}
    safetensors = import_module("safetensors.torch")
    # Its own writer has a special exception for a full disk.
    path.write_bytes(safetensors.save(weights, {**export.metadata, **texts}))


MODEL_FORMATS: Mapping[str, ModelFormat] = {
    ".onnx": ModelFormat(_save_onnx, _load_onnx),
    ".pt2": ModelFormat(_save_program, _load_program),
    ".torchscript": ModelFormat(_save_script, lambda path: torch.jit.load(str(path), "cpu")),
    ".safetensors": ModelFormat(_save_weights, lambda path: load_checkpoint(path).forecaster()),
}


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
