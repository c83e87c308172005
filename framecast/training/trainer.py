"""The training loop: step, validate, keep the best, stop honestly. Emits events, prints nothing."""

from __future__ import annotations

import copy
import math
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from framecast.data.batches import Batch, WindowShape, prefetched, training_batches, whole_batches
from framecast.data.plan import Plan
from framecast.data.training_frames import TrainedClip
from framecast.data.windows import Window, spread
from framecast.errors import CheckpointError, DivergedError, InterruptedRunError
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.baselines import optical_flow, persistence
from framecast.prediction.checkpoint import Checkpoint, save_checkpoint
from framecast.prediction.rollout import Predictor, rollout
from framecast.runtime.device import autocast, explained_memory, pick_device, pick_precision, placed
from framecast.runtime.distributed import Group, peers_explained
from framecast.runtime.interrupts import interrupts
from framecast.training.cuda_graph import WARM_UPS, Recording
from framecast.training.events import Counters, EpochDone, Event, StepDone, TrainingResult
from framecast.training.losses import LOSSES
from framecast.training.profiler import PROFILING, Profile, Stopwatch
from framecast.training.run_folder import RunFolder
from framecast.training.validation import score

WARM_UP, LAST_LR = 0.05, 0.01
"""Share of the budget in which the learning rate rises; what is left of it at the end."""

LEAD_OVER_START = 0.02
"""Share by which an epoch's held-out error has to be below the start's before it counts as better:
of many epochs some are a little better by chance, on windows that follow those trained on."""

CALIBRATION_WINDOWS, CALIBRATION_PIXELS = (6, 96), 48 * 256 * 256
"""Training windows that a network's start is solved for: as many as have about these pixels in a
frame, but no fewer and no more than these, evenly from every clip."""


class Trainer:
    """One run over decoded clips, from the beginning or from where `resumed` stopped.

    Two copies of the network: the one that is optimized, and the running average of its weights
    that is validated and saved. Of several processes, each has a Trainer that does its share of
    every batch and validation; all decide alike, and the main one of the group writes and emits.
    """

    def __init__(
        self,
        plan: Plan,
        clips: Sequence[np.ndarray],
        run: RunFolder,
        emit: Callable[[Event], None],
        resumed: Checkpoint | None = None,
        trained_on: tuple[TrainedClip, ...] | None = None,
        group: Group | None = None,
        profile: bool = False,
    ) -> None:
        self.plan, self.clips, self.run, self.emit = plan, clips, run, emit
        self.trained_on = trained_on
        self.settings, self.shape = plan.config.train, window_shape(plan)
        self.group = group or Group(pick_device(self.settings.device))
        self.device, self.part = self.group.device, self.group.share(plan.batch_size)
        self.precision = pick_precision(self.settings.precision, self.device)
        torch.manual_seed(self.settings.seed)
        with explained_memory("use a smaller --resize, or --model convlstm"):
            network = build_forecaster(plan.config.model, plan.channels, plan.sizes[0])
            self.network = placed(network, self.device)
            self.average = copy.deepcopy(self.network)
        self.trained = self.network
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )
        self.counters = Counters()
        self.validation_minutes = 0.0
        if resumed is not None:
            self._restore(resumed)
        self.profile = Profile(self.device) if profile and self.group.main else None
        records = self.network.recordable and self.group.size == 1 and not profile
        self.recording = (
            Recording(self._gradients, self.device)
            if records and self.device.startswith("cuda")
            else None
        )
        # Counts from here on: the first optimizer of a process loads modules for seconds.
        self.watch = Stopwatch(self.device, exact=profile)

    @property
    def slow_steps(self) -> int:
        """First steps, which take longer than those behind them."""
        return WARM_UPS + 1 if self.recording else 1

    def train(self) -> TrainingResult:
        """Run until the budget, the patience or the user ends it.

        Raises DivergedError when the loss is no longer finite and InterruptedRunError on Ctrl-C
        or SIGTERM; both leave a usable `best.pt` and `last.pt` in the run folder.
        """
        self._started, losses = time.monotonic() - 60 * self.counters.minutes, []
        batches = self.batches(self.plan.split.train)
        if self.device.startswith("cuda"):
            batches = map(Batch.pinned, batches)
        batches = prefetched(batches)
        with interrupts(once=self.group.size > 1) as interrupted, closing(batches):
            self._start()
            while (reason := self._reason_to_stop()) is None:
                if self.group.any(bool(interrupted)):
                    self._save_and_stop()
                with self.watch.phase("data"):
                    batch = next(batches)
                losses.append(self.step(batch))
                self._read_clock()
                epoch, step = self.counters.epoch + 1, self.counters.step
                self._tell(StepDone(epoch, step, losses[-1], self._progress()))
                if step % self.plan.steps_per_epoch == 0 or self._out_of_time():
                    self.counters.epoch = epoch
                    self._close_epoch(sum(losses) / len(losses))
                    losses = []
                    self._read_clock()
        if self.profile is not None:
            self.profile.write(self.run, self.watch)
        return self._result(reason)

    def _read_clock(self) -> None:
        """Take the time from the main process, so that all of them stop and slow down alike."""
        self.counters.minutes = self.group.agree((time.monotonic() - self._started) / 60)

    def _tell(self, event: Event) -> None:
        if self.group.main:
            self.emit(event)

    def _start(self) -> None:
        """Score the baselines and, in a new run, the network before its first step."""
        self.persistence_T = self._validate(persistence)
        self.flow_T = self._validate(optical_flow)
        new = not self.counters.best_mse_T
        if new and self.group.main:
            with self.watch.phase("calibration"):
                self.network.calibrate(self._calibration_windows())
        self.trained = self.group.wrap(self.network)
        if new:
            self.average.load_state_dict(self.network.state_dict())
            self._close_epoch(None)

    def _save_and_stop(self) -> NoReturn:
        self._save_last()
        path = shlex.quote(str(self.run.path))
        raise InterruptedRunError(
            f"stopped after step {self.counters.step}, {self.run.last} is saved",
            remedy=f"continue with: framecast train --resume {path}",
        )

    def step(self, batch: Batch) -> float:
        """Do one optimizer step on this process's share of a batch; returns the whole one's loss.

        Raises DivergedError before the optimizer's step if it is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr()
        self.network.train()
        with peers_explained(), explained_memory("use a smaller --batch-size or --crop"):
            share = self.recording(batch) if self.recording else self._gradients(batch)
        with self.watch.phase("optimizer"):
            loss = self.group.sum(share)
            self._descend(loss)
        if self.profile is not None:
            with self.watch.phase(PROFILING):
                self.profile.step()
        return loss.item()

    def _gradients(self, batch: Batch) -> Tensor:
        """Make the gradients of this process's share of a batch; returns its part of the loss."""
        with self.watch.phase("forward"), autocast(self.device, self.precision):
            batch = batch.to(self.device)
            frames_BTCHW = self.trained(batch.context_BTCHW, self.shape.horizon).float()
            loss = LOSSES[self.settings.loss](
                frames_BTCHW, batch.reaching_back(frames_BTCHW.shape[1])
            )
            # The gradients of all processes are averaged; their losses here are to be summed.
            share = loss * (len(self.part) / self.plan.batch_size)
        with self.watch.phase("backward"):
            self.optimizer.zero_grad()
            (share * self.group.size).backward()
        return share.detach()

    def _descend(self, loss: Tensor) -> None:
        """Clip the gradients and follow them, unless they or the loss are not finite."""
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        if not torch.isfinite(loss + norm):  # asked at once, since a GPU is waited for
            raise DivergedError(
                f"the loss is no longer finite at step {self.counters.step + 1}; "
                f"{self.run.best} holds the best model until here",
                remedy="train again with a smaller --lr",
            )
        self.optimizer.step()
        self.counters.step += 1
        self._update_average()

    def _update_average(self) -> None:
        decay = min(self.settings.ema, self.counters.step / (self.counters.step + 10))
        with torch.no_grad():
            for mean, weight in zip(
                self.average.parameters(), self.network.parameters(), strict=True
            ):
                mean.lerp_(weight, 1 - decay)

    def _close_epoch(self, train_loss: float | None) -> None:
        """Validate, save, and tell."""
        started = time.monotonic()
        mse_T = self._validate(partial(rollout, self.average))
        self.validation_minutes = self.group.agree((time.monotonic() - started) / 60)
        mse = mse_T.mean().item()
        at_start = self.counters.best_epoch == 0
        improved = mse < self.counters.best_mse * (1 - LEAD_OVER_START * at_start)
        if improved:
            self.counters.best_epoch, self.counters.best_mse = self.counters.epoch, mse
            self.counters.best_mse_T = tuple(mse_T.tolist())
            self._save(self.run.best, self._checkpoint())
        self._save_last()
        row = EpochDone(
            epoch=self.counters.epoch,
            step=self.counters.step,
            minutes=self.counters.minutes,
            lr=self._lr(),
            train_loss=train_loss,
            validation_mse=mse,
            persistence_mse=self.persistence_T.mean().item(),
            flow_mse=self.flow_T.mean().item(),
            improved=improved,
        )
        if self.group.main:
            self.run.append_metrics(asdict(row))
        self._tell(row)

    def _validate(self, predictor: Predictor) -> Tensor:
        """MSE per lead time on the plan's validation windows, whole frames, over all processes."""
        pixels = 2 * self.plan.batch_size * self.plan.crop[0] * self.plan.crop[1]
        windows = self.group.every(self.plan.validation)
        batches = whole_batches(self.clips, windows, self.shape, pixels)
        with (
            self.watch.phase("validation"),
            explained_memory("use a smaller --resize"),
            autocast(self.device, self.precision),
        ):
            ready = (batch.to(self.device) for batch in self.watch.timed("data", batches))
            return score(predictor, ready, self.shape.horizon, self.group.sum)

    def batches(self, windows: Sequence[Window]) -> Iterator[Batch]:
        """Training batches of these windows, from the step the run stands at."""
        return training_batches(
            self.clips,
            windows,
            self.shape,
            batch_size=self.plan.batch_size,
            crop=self.plan.crop,
            flip=self.plan.config.data.flip,
            turn=self.plan.config.data.turn,
            seed=self.settings.seed,
            first_step=self.counters.step,
            part=self.part,
        )

    def _calibration_windows(self) -> Iterator[tuple[Tensor, Tensor]]:
        windows = calibration_windows(self.plan)
        batches = whole_batches(self.clips, windows, self.shape, pixels=1)
        for batch in self.watch.timed("data", batches):
            moved = batch.to(self.device)
            yield moved.context_BTCHW, moved.target_BTCHW

    def _progress(self) -> float | None:
        """Share of the budget that is used, 0 to 1; None without a budget."""
        shares = []
        if self.settings.minutes is not None:
            shares.append(self.counters.minutes / self.settings.minutes)
        if self.settings.epochs is not None:
            steps = self.settings.epochs * self.plan.steps_per_epoch
            shares.append(self.counters.step / steps)
        return min(max(shares), 1.0) if shares else None

    def _lr(self) -> float:
        """Linear warm-up, then a cosine down to almost nothing at the end of the budget."""
        progress = self._progress()
        if progress is None:
            return self.settings.lr * min((self.counters.step + 1) / 100, 1)
        if progress < WARM_UP:
            return self.settings.lr * (0.05 + 0.95 * progress / WARM_UP)
        fall = (progress - WARM_UP) / (1 - WARM_UP)
        return self.settings.lr * (LAST_LR + (1 - LAST_LR) * (1 + math.cos(math.pi * fall)) / 2)

    def _out_of_time(self) -> bool:
        """Whether no more than the time for one validation is left."""
        limit = self.settings.minutes
        return limit is not None and self.counters.minutes + self.validation_minutes >= limit

    def _reason_to_stop(self) -> str | None:
        settings, counters = self.settings, self.counters
        if settings.epochs is not None and counters.epoch >= settings.epochs:
            return f"{settings.epochs} epochs are done"
        if self._out_of_time():
            return f"{settings.minutes:g} minutes are used"
        if settings.patience and counters.epoch - counters.best_epoch >= settings.patience:
            return f"no improvement for {settings.patience} epochs"
        return None

    def _result(self, reason: str) -> TrainingResult:
        return TrainingResult(
            self.counters.best_epoch,
            self.counters.step,
            self.counters.minutes,
            reason,
            self.counters.best_mse_T,
            tuple(self.persistence_T.tolist()),
            tuple(self.flow_T.tolist()),
        )

    def _checkpoint(self, progress: dict[str, Any] | None = None) -> Checkpoint:
        height, width = self.plan.sizes[0]
        scores = {
            "validation_mse": self.counters.best_mse,
            "persistence_mse": self.persistence_T.mean().item(),
            "flow_mse": self.flow_T.mean().item(),
        }
        return Checkpoint(
            self.plan.config,
            {"channels": self.plan.channels, "height": height, "width": width},
            _on_cpu(self.average.state_dict()),
            scores,
            progress,
            self.trained_on,
        )

    def _save_last(self) -> None:
        progress = {
            "network": _on_cpu(self.network.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "counters": asdict(self.counters),
            "random": torch.get_rng_state(),
        }
        self._save(self.run.last, self._checkpoint(progress))

    def _save(self, path: Path, checkpoint: Checkpoint) -> None:
        if self.group.main:
            with self.watch.phase("saving"):
                save_checkpoint(path, checkpoint)

    def _restore(self, resumed: Checkpoint) -> None:
        progress = resumed.progress
        if progress is None:
            raise CheckpointError(
                f"{self.run.last}: holds a model but not the state of a training run",
                remedy="resume a run folder with its last.pt as framecast wrote it",
            )
        try:
            self.average.load_state_dict(resumed.weights)
            self.network.load_state_dict(progress["network"])
            self.optimizer.load_state_dict(progress["optimizer"])
            self.counters = Counters(**progress["counters"])
            torch.set_rng_state(progress["random"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.run.last}: its training state does not fit this framecast",
                remedy="start a new run",
            ) from error


def calibration_windows(plan: Plan) -> tuple[Window, ...]:
    """Some of the training windows, as many from each clip, so that no long clip dominates."""
    by_clip: dict[int, list[Window]] = {}
    for window in plan.split.train:
        by_clip.setdefault(window.clip, []).append(window)
    area = max(height * width for height, width in plan.sizes)
    fewest, most = CALIBRATION_WINDOWS
    wanted = min(max(CALIBRATION_PIXELS // area, fewest), most)
    each = -(-wanted // len(by_clip))
    return spread([w for windows in by_clip.values() for w in spread(windows, each)], wanted)


def window_shape(plan: Plan) -> WindowShape:
    """How the plan's windows are cut out of the time axis."""
    data = plan.config.data
    return WindowShape(data.context_length, plan.split.horizon, data.frame_step)


def _on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
