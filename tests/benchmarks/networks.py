"""The default network's time as ratios: to `convlstm`, to DIS optical flow, to bare convolutions.

python -m tests.benchmarks.networks [--rounds 5]

Processor seconds of one thread, so that other work on the machine counts little; both sides of a
ratio take turns, and its median over the rounds is shown.
"""

from __future__ import annotations

import statistics
import time
from functools import partial

import cv2
import torch
from torch import Tensor

from framecast.config.schema import ModelConfig
from framecast.data.batches import Batch
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.baselines import optical_flow
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.rollout import rollout
from framecast.training.losses import skill_loss
from framecast.video.frame_size import target_size
from tests.support.textures import translating

from .layer import (
    SHAPES,
    Run,
    Shape,
    bare_convolutions,
    interleaved,
    median_milliseconds,
    our_layer,
)
from .shared.output import command_line, table, write_json
from .shared.scenes import CONTEXT, HORIZON

SHORTEST = 0.2
"""Seconds: shorter runs are repeated."""

Pair = tuple[Run, Run]
"""What is timed, and what it is relative to."""


def texture(batch: int, frames: int, height: int, width: int) -> Tensor:
    """A picture that moves by 3 columns and 2 rows a frame, (B, T, 3, H, W)."""
    seen_THW = translating(frames, height, width, (3.0, 2.0))
    return seen_THW[None, :, None].expand(batch, -1, 3, -1, -1).contiguous()


def training_step(network: Forecaster, batch: Batch, bfloat16: bool) -> None:
    network.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        frames_BTCHW = network(batch.context_BTCHW, batch.target_BTCHW.shape[1])
        loss = skill_loss(frames_BTCHW.float(), batch)
    loss.backward()


def layer_step(shape: Shape) -> Pair:
    """A step of a layer, and the convolutions of its input and its state."""
    layer, convolutions = our_layer(shape), bare_convolutions(shape)
    (_, x_BCHW), (_, h_BFHW) = convolutions
    state = (h_BFHW, torch.rand_like(h_BFHW))
    no_grad = torch.no_grad()
    return (
        no_grad(lambda: layer.step(x_BCHW, state)),
        no_grad(lambda: [convolution(x) for convolution, x in convolutions]),
    )


def pairs(windows: int, side: int, frame: tuple[int, int]) -> dict[str, Pair]:
    """All ratios by name; `frame` is the size of a large video."""
    seen = texture(windows, CONTEXT + HORIZON, side, side)
    batch = Batch(seen[:, :CONTEXT], seen[:, CONTEXT:])
    default, plain = (
        build_forecaster(ModelConfig(name), 3, (side, side)).train()
        for name in ("flow-convlstm", "convlstm")
    )
    found: dict[str, Pair] = {}
    for name, bfloat16 in (("float32", False), ("bfloat16", True)):
        steps = [partial(training_step, each, batch, bfloat16) for each in (default, plain)]
        found[f"training step, {name} / convlstm's"] = (steps[0], steps[1])
    forecaster = load_forecaster()
    context = texture(1, CONTEXT, *target_size(*frame, forecaster.config.data.resize))
    found[f"{HORIZON} frames of {frame[0]}p / DIS at the same size"] = (
        lambda: list(rollout(forecaster.network, context, HORIZON)),
        lambda: list(optical_flow(context, HORIZON)),
    )
    for shape in SHAPES:
        name = f"layer.step of {', '.join(map(str, shape[:4]))} / bare convolutions"
        found[name] = layer_step(Shape(*shape[:4]))
    return found


def measure(pair: Pair, rounds: int) -> tuple[float, float, float]:
    """Median milliseconds of both, and the median of their ratios."""
    runs = dict(zip(("first", "second"), pair, strict=True))
    seconds = interleaved(runs, rounds, time.process_time, SHORTEST)
    ratio = statistics.median(one / two for one, two in zip(*seconds.values(), strict=True))
    return (*median_milliseconds(seconds).values(), ratio)


def main() -> None:
    parser = command_line("networks", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    record, rows = {}, []
    for name, pair in pairs(16, 96, (1080, 1920)).items():
        first, second, ratio = measure(pair, options.rounds)
        record[name] = {"milliseconds": first, "relative to": second, "ratio": ratio}
        rows.append([name, f"{first:.1f}", f"{second:.1f}", f"{ratio:.2f}"])
        print(rows[-1], flush=True)
    write_json(options.output / "networks.json", record)
    print(table(["processor milliseconds", "first", "second", "ratio"], rows))


if __name__ == "__main__":
    main()
