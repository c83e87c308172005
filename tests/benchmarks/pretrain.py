"""Teach the default network from scenes of many kinds, and write what framecast ships.

python -m tests.benchmarks.pretrain --data FOLDER --hours 2 [--resume] [--work FOLDER]

FOLDER has an index.csv (see shared/scenes.py). The working folder keeps decoded frames, the state
(`state.pt`, resumable to the step, data included), `log.txt`, and after every validation
`flow-convlstm.pt` with `PROVENANCE.md`: the pretrained model in half precision and where it comes
from. Copy both into framecast/prediction/pretrained/ to ship them.

Most of the budget teaches small crops and fewer lead times, which takes a third of the time. On a
GPU use --batch-size 32 and --workers as many as there are cores.
"""

from __future__ import annotations

import argparse
import copy
import math
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from framecast.config.loading import load_config
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.checkpoint import Checkpoint, save_checkpoint
from framecast.prediction.rollout import rollout
from framecast.runtime.output_files import atomic_write

from .scenes import score_scenes, score_table, summary
from .shared.scene_batches import SIDE, SceneBatches
from .shared.scenes import CONTEXT, HORIZON, LENGTH, Scene, read_scenes, split_scenes

EASY, EASY_SIDE, EASY_HORIZON = 0.85, 64, 8
"""Share of the budget with smaller crops, their side in pixels, and the lead times that these
begin with, which grow to all."""

WARM_UP, LAST_LR = 100, 0.02
"""Steps in which the learning rate rises; what is left of it at the end."""

DECAY, CLIP = 0.998, 1.0
"""Of the averaged weights, at most; largest norm of a gradient."""

DECAY_OF_WEIGHTS, DECAY_IN_LAYERS = 1e-3, 0.1
"""Weight decay, and that of the ConvLSTM2D layers: where their weights are large, gates stand at 0
or 1 and learn nothing more. Biases don't decay: a forget gate's would fall to 0, where each step
forgets half of what the layer knows."""

SAVED = ("network", "average", "optimizer")
"""What a run resumes from, besides its step and time."""

EACH, FIRST = 0.2, 0.2
"""How much every lead time counts for itself, and the first, next to the error of all together."""

USUAL, FLOOR = 0.5, 1e-6
"""Share of what repeating the last frame usually costs in a scene below which an error hardly
counts, and what is added to that everywhere (0.3 grey levels, squared). So scenes count alike, as
in scores, and in each of them windows by their errors."""

PREFACE = """# Where the pretrained weights come from

`flow-convlstm.pt` holds the weights that framecast predicts with when no model is given, and that
`framecast train` starts from. They were learnt by

    python -m tests.benchmarks.pretrain --data FOLDER

from the scenes below and from synthetic ones (`tests/benchmarks/shared/synthetic_scenes.py`).
Scenes held out by group were used for the scores alone, and to choose between means of weights.
"""


class Pretraining:
    """The network, its running average, the optimizer, and how much of the budget is used."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work = options, options.work
        self.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(options.seed)
        lengths = [f"data.context_length={CONTEXT}", f"data.horizon={HORIZON}"]
        self.config = load_config(None, [*lengths, f"train.seed={options.seed}"])
        network = build_forecaster(self.config.model, 1, (SIDE, SIDE)).to(self.device)
        self.network = network.to(memory_format=torch.channels_last).train()
        # The blend is for what is fitted to one clip; here it would only repeat the weights.
        self.network.blend.requires_grad_(False)
        self.average = copy.deepcopy(self.network)
        self.optimizer = torch.optim.AdamW(
            decay_groups(self.network), lr=options.lr, betas=(0.9, 0.98)
        )
        self.step, self.seconds = 0, 0.0
        scenes = read_scenes(options.data, self.work / "frames")
        training, self.held_out = split_scenes(scenes)
        self.training = [scene for scene in training if scene.frames >= LENGTH]
        self.state_file = self.work / "state.pt"
        if options.resume and self.state_file.exists():
            state = torch.load(self.state_file, map_location=self.device, weights_only=True)
            for name in SAVED:
                getattr(self, name).load_state_dict(state[name])
            self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        state = {name: getattr(self, name).state_dict() for name in SAVED}
        with atomic_write(self.state_file) as path:
            torch.save({**state, "step": self.step, "seconds": self.seconds}, path)

    @property
    def progress(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        if self.options.steps:
            return min(self.step / self.options.steps, 1)
        return min(self.seconds / 3600 / self.options.hours, 1)

    def run(self) -> None:
        """Train until the budget is used, with validations in between; resumes where it stood."""
        batches = SceneBatches(tuple(self.training), self.options.batch_size, self.options.seed)
        ready = batches.from_step(self.step, self.options.workers)
        validations = self.options.validations
        last, losses = time.monotonic(), []
        while self.progress < 1:
            done = int(self.progress * validations)
            batch = (part.to(self.device, non_blocking=True) for part in next(ready))
            losses.append(self.learn(*batch))
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            if self.step % 50 == 0:
                loss = torch.stack(losses).mean().item()
                self.say(f"step {self.step}, {self.seconds / 60:.1f} minutes: loss {loss:.4f}")
                self.save()
                losses = []
            if done < int(self.progress * validations) < validations:
                self.validate()
                last = time.monotonic()
        self.save()
        self.validate()

    def learn(self, window_BTCHW: Tensor, usual_BT: Tensor) -> Tensor:
        """One optimizer step; returns the loss."""
        ease = max(1 - self.progress / EASY, 0)
        side, horizon = (
            EASY_SIDE if ease else SIDE,
            HORIZON - round(ease * (HORIZON - EASY_HORIZON)),
        )
        window_BTCHW = window_BTCHW[:, : CONTEXT + horizon, :, :side, :side]
        context_BTCHW, target_BTCHW = window_BTCHW.tensor_split((CONTEXT,), dim=1)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.options.bfloat16):
            frames_BTCHW = self.network(context_BTCHW, horizon)
        loss = relative_error(frames_BTCHW, target_BTCHW, usual_BT[:, :horizon])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * self.schedule()
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        decay = min(DECAY, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            weights = (self.average.parameters(), self.network.parameters())
            for mean, weight in zip(*weights, strict=True):
                mean.lerp_(weight, 1 - decay)
        return loss.detach()

    def schedule(self) -> float:
        """The learning rate's share: a linear rise, then half a cosine."""
        fall = (1 + math.cos(math.pi * self.progress)) / 2
        return min(1, (self.step + 1) / WARM_UP) * (LAST_LR + (1 - LAST_LR) * fall)

    def validate(self) -> None:
        """Score the averaged weights on scenes held out by group, and write the model."""
        network = copy.deepcopy(self.average).cpu().float()
        predictor = partial(rollout, network)
        scores = score_scenes(predictor, self.held_out, self.options.windows)
        self.say(f"held-out scenes after step {self.step}\n{score_table(scores)}")
        self.write(network, score_table(scores), summary(scores))

    def write(self, network: Forecaster, scores: str, found: dict[str, float]) -> None:
        half = {
            name: weight.half() if weight.is_floating_point() else weight
            for name, weight in network.state_dict().items()
        }
        clip = {"channels": 3, "height": 144, "width": 256}
        model = Checkpoint(self.config, clip, half, found, trained_on=())
        save_checkpoint(self.work / "flow-convlstm.pt", model)
        facts = {
            "steps": f"{self.step} of {self.options.batch_size} windows",
            "time": f"{self.seconds / 3600:.2f} hours on {self.device}",
            "seed": str(self.options.seed),
            "parameters": f"{sum(weight.numel() for weight in network.parameters()):,}",
        }
        text = provenance(facts, scores, self.training)
        (self.work / "PROVENANCE.md").write_text(text, encoding="utf-8")

    def say(self, text: str) -> None:
        print(text, flush=True)
        with (self.work / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")


def decay_groups(network: nn.Module) -> list[dict[str, object]]:
    """The parameters that are learnt, by their weight decay, as an optimizer takes them."""
    groups: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            of_weights = DECAY_IN_LAYERS if name.startswith("stack.") else DECAY_OF_WEIGHTS
            groups[0.0 if name.endswith("bias") else of_weights].append(weight)
    return [{"params": weights, "weight_decay": decay} for decay, weights in groups.items()]


def relative_error(frames_BTCHW: Tensor, target_BTCHW: Tensor, usual_BT: Tensor) -> Tensor:
    """Mean log of the squared error plus what is usual in a scene, `usual_BT`, over the latter.

    Scores are means over a scene, so in a window that is quieter than usual little is lost.
    """
    mse_BT = (frames_BTCHW.float() - target_BTCHW).square().mean(dim=(2, 3, 4))
    usual_BT = USUAL * usual_BT + FLOOR
    each_BT = (mse_BT / usual_BT).log1p()
    together_B = (mse_BT.mean(dim=1) / usual_BT.mean(dim=1)).log1p()
    shares = (1 - EACH - FIRST) * together_B + EACH * each_BT.mean(dim=1) + FIRST * each_BT[:, 0]
    return shares.mean()


def provenance(facts: Mapping[str, str], scores: str, scenes: Sequence[Scene]) -> str:
    """The text that stands next to the weights, in Markdown: commit, facts, scores, sources."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    facts = {"commit": commit or "unknown", **facts}
    sources: dict[tuple[str, str], list[str]] = defaultdict(list)
    for scene in scenes:
        sources[scene.source, scene.licence].append(scene.name)
    lines = [
        PREFACE,
        *(f"- {name}: {value}" for name, value in facts.items()),
        "\nMSE relative to the better of last frame and optical flow, held-out scenes:\n",
        scores,
        "\n## Sources and terms\n",
        "Nothing of these is part of framecast; CC BY asks for this attribution.\n",
    ]
    for (source, licence), names in sorted(sources.items()):
        lines.append(f"- {source}: {licence}; scenes {', '.join(sorted(names))}")
    return "\n".join(lines) + "\n"


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pretrain")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="scenes")
    parser.add_argument("--hours", type=float, default=2.0, help="of training (default 2)")
    parser.add_argument("--steps", type=int, help="as the budget, in place of --hours")
    parser.add_argument("--resume", action="store_true", help="go on where --work stands")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "framecast-pretraining",
        metavar="FOLDER",
        help="state, log and result (default a folder for temporary files)",
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--validations", type=int, default=10, help="in the whole budget")
    parser.add_argument("--windows", type=int, default=3, help="of a scene, in validations")
    parser.add_argument(
        "--bfloat16", action=argparse.BooleanOptionalAction, default=True, help="autocast"
    )
    return parser


def main() -> None:
    options = command_line().parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    Pretraining(options).run()


if __name__ == "__main__":
    main()
