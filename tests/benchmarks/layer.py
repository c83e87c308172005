"""Time of ConvLSTM2D, of layers that compute the same, and of its bare convolutions.

python -m tests.benchmarks.layer [--bfloat16] [--device cuda]

Rounds are interleaved over all competitors; the tables have medians.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.runtime.device import autocast, placed

from .shared.output import command_line, table, write_json

THREADS = 2
OURS, LOOP, KERAS, BARE = "framecast", "plain loop", "Keras on torch", "bare convolutions"
KINDS = {"training step": True, "inference": False}


Run = Callable[[], object]


class Shape(NamedTuple):
    """What a layer is measured on: `steps` frames of `size` x `size` pixels."""

    channels: int
    filters: int
    kernel: int
    size: int
    batch: int = 1
    steps: int = 1

    def frames(self) -> Tensor:
        """Random input (B, T, C, H, W)."""
        return torch.rand(self.batch, self.steps, self.channels, self.size, self.size)


SHAPES = [
    Shape(64, 64, 3, 64, 4, 10),
    Shape(1, 64, 5, 64, 4, 10),
    Shape(128, 128, 5, 16, 16, 10),
    Shape(16, 64, 3, 16, 16, 10),
]
TINY = Shape(3, 6, 3, 8, 2, 5)


class PlainLoop(nn.Module):
    """x and h put together, one convolution, step by step."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.filters = shape.filters
        inputs, gates = shape.channels + shape.filters, 4 * shape.filters
        self.conv = nn.Conv2d(inputs, gates, shape.kernel, padding="same")

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        h = c = x_BTCHW.new_zeros(len(x_BTCHW), self.filters, *x_BTCHW.shape[3:])
        outputs = []
        for x_BCHW in x_BTCHW.unbind(1):
            i, f, g, o = self.conv(torch.cat((x_BCHW, h), 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1)


class KerasLayer(nn.Module):
    """Keras' own layer, whose weights are PyTorch's here, with channels last as is its default."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        os.environ["KERAS_BACKEND"] = "torch"
        from keras.layers import ConvLSTM2D  # noqa: PLC0415 - the backend must be chosen first

        self.layer = ConvLSTM2D(shape.filters, shape.kernel, padding="same", return_sequences=True)
        self.layer.build((None, None, shape.size, shape.size, shape.channels))

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        return self.layer(x_BTCHW.movedim(2, -1))


def our_layer(shape: Shape) -> ConvLSTM2D:
    return ConvLSTM2D(
        shape.filters,
        shape.kernel,
        in_channels=shape.channels,
        padding="same",
        data_format="channels_first",
        return_sequences=True,
    )


LAYERS = {OURS: our_layer, LOOP: PlainLoop, KERAS: KerasLayer}


def bare_convolutions(shape: Shape) -> list[tuple[nn.Module, Tensor]]:
    """The convolution of the input of all steps and that of the state, each with its input."""
    gates, state = 4 * shape.filters, (shape.batch, shape.filters, shape.size, shape.size)
    conv = partial(nn.Conv2d, out_channels=gates, kernel_size=shape.kernel, padding="same")
    return [
        (conv(shape.channels), shape.frames().flatten(0, 1)),
        (conv(shape.filters, bias=False), torch.rand(state)),
    ]


def run_step(module: nn.Module, x: Tensor, precision: str, training: bool) -> None:
    """Forward and backward to input and weights, or forward alone; waits for a CUDA device."""
    module.zero_grad(set_to_none=True)
    leaf = x.detach().requires_grad_(training)
    with torch.set_grad_enabled(training), autocast(x.device.type, precision):
        output = module(leaf)
    if training:
        output.float().sum().backward()
    if x.is_cuda:
        torch.cuda.synchronize()


def competitors(shape: Shape, device: str, precision: str, training: bool) -> dict[str, Run]:
    """One step of each layer, and of the bare convolutions: of all but the first state."""

    def step(module: nn.Module, x: Tensor) -> Run:
        return partial(run_step, placed(module, device), x.to(device), precision, training)

    layers = {name: make(shape) for name, make in LAYERS.items()}
    if precision == "bfloat16":  # in which it is then the fastest
        layers[LOOP] = layers[LOOP].to(memory_format=torch.channels_last)
    x_BTCHW = shape.frames()
    inputs, state = (step(*convolution) for convolution in bare_convolutions(shape))

    def bare() -> None:
        inputs()
        for _ in range(shape.steps - 1):
            state()

    return {name: step(layer, x_BTCHW) for name, layer in layers.items()} | {BARE: bare}


def interleaved(
    runs: Mapping[str, Run],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    least: float = 0,
) -> dict[str, list[float]]:
    """Seconds of each run in every round, after one round that does not count.

    Runs shorter than `least` seconds are repeated until that time has passed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            started, count = clock(), 0
            while count == 0 or clock() - started < least:
                run()
                count += 1
            seconds[name].append((clock() - started) / count)
    return {name: found[1:] for name, found in seconds.items()}


def median_milliseconds(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: 1000 * statistics.median(found) for name, found in seconds.items()}


def ratios(row: Mapping[str, float]) -> tuple[float, float]:
    """The fastest other's time over ours, and ours over the bare convolutions'."""
    others = [ms for name, ms in row.items() if name not in (OURS, BARE)]
    return min(others) / row[OURS], row[OURS] / row[BARE]


def time_table(kind: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Milliseconds of each competitor by shape, with the two ratios and their geometric means."""
    both = [ratios(row) for row in rows.values()]
    body = [
        [shape, *(f"{ms:.0f}" for ms in row.values()), *(f"{ratio:.2f}" for ratio in pair)]
        for (shape, row), pair in zip(rows.items(), both, strict=True)
    ]
    names = list(next(iter(rows.values())))
    means = [f"{statistics.geometric_mean(column):.2f}" for column in zip(*both, strict=True)]
    body.append(["geometric mean", *[""] * len(names), *means])
    return table([kind, *names, "fastest other / ours", "ours / bare"], body)


def main() -> None:
    parser = command_line("layer", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="autocast")
    parser.add_argument("--tiny", action="store_true", help="one small shape, to try it out")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    precision = "bfloat16" if given.bfloat16 else "float32"
    times: dict[str, dict[str, dict[str, float]]] = {kind: {} for kind in KINDS}
    for shape in [TINY] if given.tiny else SHAPES:
        name = ", ".join(map(str, shape))
        for kind, training in KINDS.items():
            runs = competitors(shape, given.device, precision, training)
            times[kind][name] = median_milliseconds(interleaved(runs, given.rounds))
            print(name, kind, {each: round(ms) for each, ms in times[kind][name].items()})
        write_json(given.output / "layer.json", {"precision": precision, "ms": times})
    for kind, rows in times.items():
        print("\n" + time_table(kind, rows))


if __name__ == "__main__":
    main()
