"""The layer and all networks on a CUDA device: equal to the CPU's, and what recording saves.

python -m tests.benchmarks.gpu

Errors are norms of differences, relative to the norm of what the CPU gives: for the layer, whose
gradients are those of its input and weights together, in float64, for networks in float32. Times
are of training steps recorded as a CUDA graph, as `framecast train` records them, and of the same
launched kernel by kernel, with the largest difference of their losses and gradients. The layer's
own times are those of `python -m tests.benchmarks.layer --device cuda --bfloat16`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.data.batches import Batch
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.registry import build_forecaster
from framecast.runtime.device import autocast, placed
from framecast.training.cuda_graph import WARM_UPS, Recording
from framecast.training.losses import squared_error

from .shared.clips import CONTEXT, HORIZON
from .shared.layers import OURS, SHAPES, Shape, build, frames
from .shared.output import command_line, write_json
from .shared.timing import interleaved, median_milliseconds

DEVICE = "cuda"
SIZE = (64, 80)
BATCH = ((4, 6, 1, 96, 80), (4, 8, 1, 96, 80))
"""Context and target of a step that is recorded."""


def main() -> None:
    parser = command_line("gpu", __doc__)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(9, "error: PyTorch sees no CUDA device here\n")
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    networks = {name: network_of(name, BATCH[0][3:]) for name in NETWORKS}
    record = {
        "layer_errors": {str(shape): layer_errors(shape) for shape in SHAPES},
        "network_errors": {name: network_errors(name) for name in NETWORKS},
        "recordings": {
            name: recorded(network, given.rounds)
            for name, network in networks.items()
            if network.recordable
        },
    }
    write_json(given.output / "gpu.json", record)
    for title, rows in record.items():
        print(title)
        for name, row in rows.items():
            print(f"  {name:24} " + "  ".join(f"{key} {row[key]:.3g}" for key in row))


def network_of(name: str, size: tuple[int, int]) -> Forecaster:
    torch.manual_seed(0)
    return build_forecaster(ModelConfig(name), 1, size)


def layer_errors(shape: Shape) -> dict[str, float]:
    """Of the output and of all gradients, in each precision."""

    def output_and_gradients(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
        leaf = x.clone().requires_grad_()
        output = layer(leaf)
        weight = torch.linspace(-1, 1, output.numel()).view(output.shape).to(output)
        gradients = torch.autograd.grad((output * weight).sum(), [leaf, *layer.parameters()])
        return {"output": output.detach(), "gradients": _flat(gradients)}

    torch.manual_seed(0)
    return errors(build(OURS, shape).double(), frames(shape)[:2].double(), output_and_gradients)


def network_errors(name: str) -> dict[str, float]:
    """Of the forecast frames, in each precision."""
    network = network_of(name, SIZE).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    context_BTCHW = torch.rand(2, CONTEXT, 1, *SIZE)
    with torch.inference_mode():
        return errors(network, context_BTCHW, lambda net, x: {"frames": net(x, HORIZON)})


def errors(
    module: nn.Module, x: Tensor, call: Callable[[nn.Module, Tensor], dict[str, Tensor]]
) -> dict[str, float]:
    """Of each result of a call on the device, in each precision."""
    found, exact = {}, call(module, x)
    for precision in ("float32", "bfloat16"):
        moved = placed(copy.deepcopy(module).float(), DEVICE)
        with autocast(DEVICE, precision):
            results = call(moved, x.float().to(DEVICE))
        found |= {f"{precision} {name}": _error(results[name], exact[name]) for name in exact}
    return found


def recorded(network: Forecaster, rounds: int) -> dict[str, float]:
    """Milliseconds of a training step recorded and one by one, and how far they are apart."""
    network = placed(network, DEVICE).train()

    def step(batch: Batch) -> Tensor:
        with autocast(DEVICE, "bfloat16"):
            frames_BTCHW = network(batch.context_BTCHW, BATCH[1][1]).float()
            loss = squared_error(frames_BTCHW, batch.reaching_back(frames_BTCHW.shape[1]))
        network.zero_grad()
        loss.backward()
        return loss.detach()

    def result(loss: Tensor) -> Tensor:
        gradients = [parameter.grad for parameter in network.parameters()]
        return _flat([loss, *(each for each in gradients if each is not None)])

    recording, difference = Recording(step, DEVICE), 0.0
    for _ in range(WARM_UPS + 2):
        batch = Batch(*map(torch.rand, BATCH)).to(DEVICE)
        found = result(recording(batch))
        kept = [parameter.grad for parameter in network.parameters()]
        difference = max(difference, _error(found, result(step(batch))))
        for parameter, gradient in zip(network.parameters(), kept, strict=True):
            parameter.grad = gradient  # where the recording writes it
    # A run ends when the device has finished, not when its kernels are launched
    runs = {
        "recorded": lambda: (recording(batch), torch.cuda.synchronize()),
        "one by one": lambda: (step(batch), torch.cuda.synchronize()),
    }
    return {"difference": difference, **median_milliseconds(interleaved(runs, rounds))}


def _flat(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors]).cpu()


def _error(found: Tensor, exact: Tensor) -> float:
    difference = found.detach().cpu().double() - exact.cpu().double()
    return (difference.norm() / exact.norm()).item()


if __name__ == "__main__":
    main()
