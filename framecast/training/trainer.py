"""The training loop: step, validate, keep the best, stop. Emits events, prints nothing."""

from __future__ import annotations

import math
import random
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Any, NoReturn

import numpy as np
from torch import Tensor

from framecast.data.batches import Batch, whole_batches
from framecast.data.plan import Plan, fitting_windows
from framecast.data.training_frames import TrainedClip
from framecast.data.windows import spread
from framecast.errors import CheckpointError, DivergedError, InterruptedRunError
from framecast.prediction.baselines import optical_flow, persistence
from framecast.prediction.checkpoint import Checkpoint
from framecast.prediction.rollout import rollout
from framecast.runtime.device import pick_precision
from framecast.runtime.distributed import Group
from framecast.runtime.interrupts import interrupts
from framecast.training.events import (
    FINE_TUNED,
    FITTED,
    PRETRAINED,
    START,
    TRAINED,
    Counters,
    EpochDone,
    Event,
    PrecisionChosen,
    Started,
    StepDone,
    TrainingResult,
    Working,
)
from framecast.training.learner import Learner
from framecast.training.run_folder import RunWriter
from framecast.training.schedule import Schedule
from framecast.training.starting_point import QUARTER
from framecast.training.validation import Validation

LEAD_OVER_START = 0.01
"""Share by which an epoch's held-out error has to be below the start's before it counts as better:
of many epochs some are a little better by chance, on windows that follow those trained on. The
same for another share of what fine-tuning changes."""

FITTING_SHARE, VALIDATION_SHARE = 0.1, 0.08
"""Most of a budget in minutes that the fit of a network's start and one validation may take."""

FITTED_TOGETHER = 2**16
"""Most pixels, a frame of each window, of the windows that the fit looks at together: on fewer an
operation takes longer to start than to run, and more are no faster."""

PLAIN = (int, float, bool, str, type(None))
"""Types of the cells of the table."""

PREVIEW_WINDOWS = 8
"""Scored windows that writing the preview takes about as long as."""


class Trainer:
    """One run over decoded clips, from the beginning or from where `resumed` stopped.

    Of several processes, each has a Trainer that does its part of every batch and validation; all
    decide alike, and the main one of the group writes and emits.
    """

    def __init__(
        self,
        plan: Plan,
        clips: Sequence[np.ndarray],
        writer: RunWriter,
        emit: Callable[[Event], None],
        group: Group,
        started: float,
        resumed: Checkpoint | None = None,
        start: Checkpoint | None = None,
        trained_on: tuple[TrainedClip, ...] | None = None,
    ) -> None:
        """Build the network; `started` is when the budget began, on the monotonic clock.

        `resumed` is the last state of a run that goes on, `start` the model that a new one starts
        from.
        """
        self.plan, self.clips, self.writer, self.emit = plan, clips, writer, emit
        self.run = writer.run
        self.trained_on, self.group = trained_on, group
        self.learner = Learner(plan, group, start)
        self.schedule = Schedule(plan.config.train, plan.steps_per_epoch)
        precision = pick_precision(plan.config.train.precision, group.device)
        self.validation = Validation(plan, clips, group, precision, tell=self._tell)
        self.counters = Counters()
        self.rows: list[dict[str, Any]] = []
        self.persistence_T = self.flow_T = Tensor()
        if resumed is not None:
            self._restore(resumed)
        # A resumed run goes on with the minutes it has used.
        self.started = started - 60 * self.counters.minutes
        self.longest_step = 0.0  # in minutes

    def train(self) -> TrainingResult:
        """Run until the budget, the patience or the user ends it.

        Raises DivergedError when the loss is no longer finite and InterruptedRunError on Ctrl-C,
        SIGTERM or SIGHUP; both leave a usable `best.pt` and `last.pt` in the run folder.
        """
        counters, schedule, learner = self.counters, self.schedule, self.learner
        parameters = sum(weight.numel() for weight in learner.network.parameters())
        self._tell(Started(parameters, learner.device, learner.precision.chosen))
        with (
            interrupts(once=self.group.size > 1) as interrupted,
            closing(learner.batches(self.clips, self.counters.step)) as batches,
        ):
            self._start()
            if self.plan.config.train.epochs is None:  # else the first rate would depend on time
                self._read_clock()
            while (reason := schedule.reason_to_stop(counters, self._reserve())) is None:
                if self.group.any(bool(interrupted)):
                    self._save_and_stop()
                self._step(next(batches))
                whole_epoch = counters.step % self.plan.steps_per_epoch == 0
                if whole_epoch or schedule.out_of_time(counters, self._reserve()):
                    self._close_epoch()
        return TrainingResult(
            counters.best_epoch,
            counters.step,
            counters.minutes,
            reason,
            counters.best_mse_T,
            counters.kept,
            dict(counters.stage_mse),
            tuple(self.persistence_T.tolist()),
            tuple(self.flow_T.tolist()),
        )

    def _start(self) -> None:
        """Score the baselines and, in a new run, the network before its first step."""
        if self.rows and self.group.main:  # a kill can come between a checkpoint and its table
            self.run.write_metrics(self.rows)
        score, minutes = self.validation.mse_per_lead, self.plan.config.train.minutes
        new = not self.counters.best_mse_T
        if new and minutes is not None:
            network = partial(rollout, self.learner.average)
            self.validation.limit(network, VALIDATION_SHARE * minutes)
            self.counters.validation_windows = len(self.validation.windows)
        # Baselines do not learn: scored once, for all epochs.
        self.persistence_T = score(persistence, "scoring the last frame")
        self.flow_T = score(optical_flow, "scoring optical flow")
        if not new:
            self.learner.start(new=False)
            return
        before = self.learner.weights()
        if self.learner.pretrained:
            self._tell(self._validate(None, PRETRAINED))
        if self.group.main:  # the weights of the main process become those of all
            self.learner.network.calibrate(self._fitting_samples())
        self.learner.start(new=True)
        row = self._validate(None, FITTED if self.learner.pretrained else START)
        if self.counters.kept == PRETRAINED:  # the fit did not help
            self.learner.go_back(before)
        # Saved once the start is settled: a run that is resumed does not fit again.
        self._save(improved=True)
        self._tell(row)

    def _fitting_samples(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Contexts and targets that a network's start is fitted on, a few windows at a time.

        As many as a share of the budget allows, in random order so that those are from everywhere.
        """
        windows = list(fitting_windows(self.plan))
        random.Random(self.plan.config.train.seed).shuffle(windows)
        begun, fitted, allowed = time.monotonic(), 0, len(windows)
        seconds = 60 * FITTING_SHARE * (self.plan.config.train.minutes or math.inf)
        batches = whole_batches(self.clips, windows, self.plan.split.shape, FITTED_TOGETHER)
        for batch in batches:
            spent = time.monotonic() - begun
            if fitted and spent > seconds:
                return
            if fitted:  # how many the budget allows, at the speed so far
                allowed = math.ceil(min(len(windows), fitted * seconds / spent))
            self._tell(Working("fitting the start", fitted, allowed))
            fitted += len(batch.target_BTCHW)
            moved = batch.to(self.group.device)
            yield moved.context_BTCHW, moved.target_BTCHW

    def _step(self, batch: Batch) -> None:
        counters = self.counters
        precision, lr = self.learner.precision, self.schedule.learning_rate(counters)
        measuring = precision.chosen is None
        loss = self.learner.step(batch, lr, counters.step + 1)
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is no longer finite at step {counters.step + 1}; "
                f"{self.run.best} holds the best model until here",
                remedy="train again with a smaller --lr",
            )
        counters.step += 1
        counters.loss_sum += loss
        counters.loss_steps += 1
        before = counters.minutes
        self._read_clock()
        self.longest_step = max(self.longest_step, counters.minutes - before)
        if measuring and precision.chosen is not None:
            seconds = {name: found[-1] for name, found in precision.seconds.items()}
            self._tell(PrecisionChosen(precision.chosen, seconds))
        progress = self.schedule.progress(counters)
        self._tell(StepDone(counters.epoch + 1, counters.step, loss, progress))

    def _read_clock(self) -> None:
        """Take the time from the main process, so that all of them stop and slow down alike."""
        self.counters.minutes = self.group.broadcast((time.monotonic() - self.started) / 60)

    def _reserve(self) -> float:
        """Minutes to keep for one more step, its validation, and the preview."""
        validation = self.validation
        preview = PREVIEW_WINDOWS * validation.minutes / len(validation.windows)
        # A larger and a smaller share of what fine-tuning changes may be scored, too.
        scorings = 3 if self.learner.pretrained else 1
        # The longest step, not the mean: other programs may slow down the next one as much.
        return self.longest_step + scorings * validation.minutes + preview

    def _tell(self, event: Event) -> None:
        if self.group.main:
            self.emit(event)

    def _close_epoch(self) -> None:
        counters = self.counters
        mean_loss = counters.loss_sum / counters.loss_steps
        counters.epoch += 1
        counters.loss_sum, counters.loss_steps = 0.0, 0
        row = self._validate(mean_loss, FINE_TUNED if self.learner.pretrained else TRAINED)
        self._save(row.improved)
        self._tell(row)
        self._read_clock()

    def _validate(self, train_loss: float | None, stage: str) -> EpochDone:
        """Score the averaged weights, and note whether they are the best."""
        counters = self.counters
        mse_T = self._held_out_mse()
        if stage == FINE_TUNED:
            mse_T = self._with_the_better_share(mse_T)
        mse = mse_T.mean().item()
        counters.stage_mse[stage] = min(mse, counters.stage_mse.get(stage, math.inf))
        lead = LEAD_OVER_START if counters.best_epoch == 0 < counters.epoch else 0
        improved = mse < counters.best_mse * (1 - lead)
        if improved:
            counters.best_epoch, counters.best_mse = counters.epoch, mse
            counters.kept = stage
            counters.best_mse_T = tuple(mse_T.tolist())
        row = EpochDone(
            epoch=counters.epoch,
            step=counters.step,
            minutes=counters.minutes,
            lr=self.schedule.learning_rate(counters),
            train_loss=train_loss,
            validation_mse=mse,
            persistence_mse=self.persistence_T.mean().item(),
            flow_mse=self.flow_T.mean().item(),
            improved=improved,
            stage=stage,
        )
        self.rows.append(asdict(row))
        return row

    def _held_out_mse(self) -> Tensor:
        return self.validation.mse_per_lead(partial(rollout, self.learner.average))

    def _with_the_better_share(self, mse_T: Tensor) -> Tensor:
        """Go on with a quarter more or less of what fine-tuning changes where that is clearly
        better than the share that has `mse_T`; returns the errors of what is gone on with.
        """
        share, mse = self.learner.share, mse_T.mean()
        for other in (share + QUARTER, share - QUARTER):
            if 0 < other <= 1:
                self.learner.keep(other)
                other_T = self._held_out_mse()
                if other_T.mean() < mse * (1 - LEAD_OVER_START):
                    return other_T
                if other_T.mean() < mse:  # the error falls towards more, so less is worse
                    break
        self.learner.keep(share)
        return mse_T

    def _save_and_stop(self) -> NoReturn:
        self._save(improved=False)
        raise InterruptedRunError(
            f"stopped after step {self.counters.step}, {self.run.last} is saved",
            remedy=f"continue with: framecast train --resume {shlex.quote(str(self.run.path))}",
        )

    def _save(self, improved: bool) -> None:
        if self.group.main:
            progress = {
                **self.learner.state(),
                "counters": asdict(self.counters),
                "rows": self.rows,
            }
            # Without the optimizer's state, which is twice as large as the weights.
            best = self._checkpoint(None) if improved else None
            self.writer.save(self._checkpoint(progress), best, self.rows)
        # Which number a new run gets is known from its first save on, to the main process.
        self.run = self.group.broadcast(self.writer.run)

    def _checkpoint(self, progress: dict[str, Any] | None) -> Checkpoint:
        # Networks that are tied to a frame size train on clips of one size.
        height, width = self.plan.sizes[0]
        return Checkpoint(
            config=self.plan.config,
            clip={"channels": self.plan.channels, "height": height, "width": width},
            weights=self.learner.weights(),
            scores={
                "validation_mse": self.counters.best_mse,
                "persistence_mse": self.persistence_T.mean().item(),
                "flow_mse": self.flow_T.mean().item(),
            },
            progress=progress,
            trained_on=self.trained_on,
        )

    def _restore(self, resumed: Checkpoint) -> None:
        last = self.run.last
        if resumed.progress is None:
            raise CheckpointError(
                f"{last}: holds a model but not the state of a training run",
                remedy="resume a run folder with its last.pt as framecast wrote it",
            )
        try:
            self.learner.restore(resumed)
            self.counters = Counters.restored(resumed.progress["counters"])
            # Runs of framecast 0.1 have their rows in metrics.csv alone.
            rows = resumed.progress.get("rows")
            if self.counters.validation_windows:
                windows = spread(self.plan.validation, self.counters.validation_windows)
                self.validation.windows = windows
            self.rows = self.run.read_metrics() if rows is None else list(rows)
            if not all(type(cell) in PLAIN for row in self.rows for cell in row.values()):
                raise ValueError("rows: expected numbers and text")
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{last}: its training state does not fit this framecast", remedy="start a new run"
            ) from error
