"""The layer and all networks on a CUDA device: equal to the CPU's, and what recording saves.

python -m tests.benchmarks.gpu

Errors are norms of differences, relative to the norm of what the CPU gives: for the layer, whose
gradients are those of its input and weights together, in float64, for networks in float32. Times
are of training steps recorded as a CUDA graph, as `framecast train` records them, and of the same
launched kernel by kernel, with the largest difference of their losses and gradients. The layer's
own times are those of `python -m tests.benchmarks.layer --device cuda --bfloat16`.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.data.batches import Batch
from framecast.nn.forecasters.registry import build_forecaster
from framecast.runtime.device import autocast, placed
from framecast.training.cuda_graph import WARM_UPS, Recording
from framecast.training.losses import squared_error

from .shared.layers import OURS, SHAPES, Shape, build, frames
from .shared.output import machine, write_json
from .shared.timing import interleaved, median_milliseconds

DEVICE = "cuda"
PRECISIONS = ("float32", "bfloat16")
SIZE, CONTEXT, HORIZON = (64, 80), 6, 12
BATCH = ((4, 6, 1, 96, 80), (4, 8, 1, 96, 80))
"""Context and target of a step that is recorded."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(9, "error: PyTorch sees no CUDA device here\n")
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    record = {
        "machine": machine(),
        "layer_errors": {str(shape): layer_errors(shape) for shape in SHAPES},
        "network_errors": {name: network_errors(name) for name in NETWORKS},
        "recordings": {
            name: recorded(name, given.rounds)
            for name, network in NETWORKS.items()
            if network.recordable
        },
    }
    write_json(given.output / "gpu.json", record)
    for title, rows in record.items():
        if title != "machine":
            print(title)
            for name, row in rows.items():
                print(f"  {name:24} " + "  ".join(f"{key} {row[key]:.3g}" for key in row))


def layer_errors(shape: Shape) -> dict[str, float]:
    """Of the output and of all gradients, in each precision."""
    torch.manual_seed(0)
    layer = build(OURS, shape).double()
    x = frames(shape)[:2].double()
    exact = _output_and_gradients(layer, x)
    found = {}
    for precision in PRECISIONS:
        moved = placed(copy.deepcopy(layer).float(), DEVICE)
        with autocast(DEVICE, precision):
            results = _output_and_gradients(moved, x.float().to(DEVICE))
        for what, one, other in zip(("output", "gradients"), results, exact, strict=True):
            found[f"{precision} {what}"] = _error(one, other)
    return found


def _output_and_gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    output = layer(leaf)
    weight = torch.linspace(-1, 1, output.numel()).view(output.shape).to(output)
    gradients = torch.autograd.grad((output * weight).sum(), [leaf, *layer.parameters()])
    return output.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def network_errors(name: str) -> dict[str, float]:
    """Of the forecast frames, in each precision."""
    torch.manual_seed(0)
    network = build_forecaster(ModelConfig(name), 1, SIZE).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    context_BTCHW = torch.rand(2, CONTEXT, 1, *SIZE)
    found = {}
    with torch.inference_mode():
        exact = network(context_BTCHW, HORIZON)
        for precision in PRECISIONS:
            moved = placed(copy.deepcopy(network), DEVICE)
            with autocast(DEVICE, precision):
                frames_BTCHW = moved(context_BTCHW.to(DEVICE), HORIZON)
            found[f"{precision} frames"] = _error(frames_BTCHW, exact)
    return found


def recorded(name: str, rounds: int) -> dict[str, float]:
    """Milliseconds of a training step recorded and one by one, and how far they are apart."""
    torch.manual_seed(0)
    network = placed(build_forecaster(ModelConfig(name), 1, BATCH[0][3:]), DEVICE).train()

    def step(batch: Batch) -> Tensor:
        with autocast(DEVICE, "bfloat16"):
            frames_BTCHW = network(batch.context_BTCHW, BATCH[1][1]).float()
            loss = squared_error(frames_BTCHW, batch.reaching_back(frames_BTCHW.shape[1]))
        network.zero_grad()
        loss.backward()
        return loss.detach()

    recording, difference = Recording(step, DEVICE), 0.0
    for _ in range(WARM_UPS + 2):
        batch = Batch(*map(torch.rand, BATCH)).to(DEVICE)
        found = [_flat(recording(batch), network)]
        kept = [parameter.grad for parameter in network.parameters()]
        found.append(_flat(step(batch), network))
        for parameter, gradient in zip(network.parameters(), kept, strict=True):
            parameter.grad = gradient  # where the recording writes it
        difference = max(difference, _error(*found))
    runs = {"recorded": lambda: recording(batch), "one by one": lambda: step(batch)}
    waited = {name: partial(_wait_for, run) for name, run in runs.items()}
    return {"difference": difference, **median_milliseconds(interleaved(waited, rounds))}


def _wait_for(run: Callable[[], object]) -> None:
    run()
    torch.cuda.synchronize()


def _flat(loss: Tensor, network: nn.Module) -> Tensor:
    gradients = [parameter.grad for parameter in network.parameters()]
    return torch.cat([loss.flatten(), *(g.flatten() for g in gradients if g is not None)]).cpu()


def _error(found: Tensor, exact: Tensor) -> float:
    difference = found.detach().cpu().double() - exact.cpu().double()
    return (difference.norm() / exact.norm()).item()


if __name__ == "__main__":
    main()
