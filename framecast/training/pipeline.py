"""One training from paths to a finished run folder: open, plan, decode, train, preview."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from framecast.config.schema import PRETRAINED
from framecast.data.decoding import decode_clips, fitted_frames
from framecast.data.training_frames import record_clips
from framecast.data.windows import Window
from framecast.prediction.checkpoint import load_checkpoint
from framecast.runtime.device import pick_device
from framecast.runtime.distributed import Group, joined
from framecast.runtime.versions import __version__
from framecast.training.events import Event, TrainingResult, Working
from framecast.training.learner import Learner
from framecast.training.pictures import write_pictures
from framecast.training.preparation import (
    Session,
    check_resume,
    prepare,
    resumed_config,
    whole_best,
)
from framecast.training.run_folder import (
    RunFolder,
    RunWriter,
    check_runs_folder,
    fingerprints,
)
from framecast.training.starting_point import seen_before, starting_point
from framecast.training.tensorboard import logged
from framecast.training.trainer import Trainer


@dataclass(frozen=True)
class Outcome:
    """A finished training: its folder, its figures, and what to know about them."""

    run: RunFolder
    result: TrainingResult
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DryRun:
    """What one real training batch took, forward, backward and optimizer step.

    `step_seconds` and `epoch_seconds` are measured and estimated time, `peak_bytes` is None where
    the system does not tell.
    """

    device: str
    parameters: int
    loss: float
    step_seconds: float
    epoch_seconds: float
    peak_bytes: int | None


def prepare_resume(
    run: Path,
    overrides: Sequence[str | tuple[str, object, str]],
    on_frame: Callable[[str, int], None] = lambda name, total: None,
) -> Session:
    """Resume a run where its `last.pt` stopped; the overrides may change its budget and device.

    Raises CheckpointError when there is no run to resume, SourceError when its clips have changed,
    UsageError for an override that would make it another run.
    """
    folder = RunFolder(run)
    check_resume(folder, overrides)
    resumed = load_checkpoint(folder.last)
    with whole_best(folder):
        load_checkpoint(folder.best)
    config = resumed_config(resumed.config, overrides)
    session = prepare(folder.source_paths(), config, on_frame, settled=True)
    return replace(session, run=folder, resumed=resumed)


def dry_run(session: Session) -> DryRun:
    """Train on real batches, and time one after the slow first ones; writes nothing."""
    plan, first = session.plan, session.plan.split.train[0]
    # One window is enough: what a step takes depends on shapes alone.
    frames = range(first.start, first.start + plan.split.shape.span)
    source, size = session.sources[first.clip], plan.sizes[first.clip]
    excerpt_THWC = np.stack(list(fitted_frames(source, size, frames)))
    learner = Learner(plan, Group(pick_device(plan.config.train.device)), starting_point(plan))
    lr = plan.config.train.lr
    with closing(learner.batches([excerpt_THWC], windows=[Window(0, 0)])) as batches:
        untimed = learner.slow_steps  # a number that falls while precisions are being timed
        for number in range(untimed):
            learner.step(next(batches), lr, number + 1)
        started = time.monotonic()
        loss = learner.step(next(batches), lr, untimed + 1)
        seconds = time.monotonic() - started
    batch_pixels = plan.batch_size * plan.crop[0] * plan.crop[1]
    areas = (plan.sizes[window.clip] for window in plan.validation)
    # A forward pass is about a third of a step.
    validation_steps = sum(height * width for height, width in areas) / batch_pixels / 3
    return DryRun(
        device=learner.device,
        parameters=sum(weight.numel() for weight in learner.network.parameters()),
        loss=loss,
        step_seconds=seconds,
        epoch_seconds=seconds * (plan.steps_per_epoch + validation_steps),
        peak_bytes=_peak_bytes(learner.device),
    )


def train(
    session: Session, runs: Path, emit: Callable[[Event], None], started: float | None = None
) -> Outcome:
    """Decode the clips, train in a new folder below `runs` (or in the resumed one), preview.

    The budget counts from `started` on, on the monotonic clock; None: from now.
    Of the processes that torchrun started, all train and the main one alone writes. Raises what
    reading, training and writing raise; what was saved before stays.
    """
    plan = session.plan
    started = time.monotonic() if started is None else started
    if session.run is None:
        check_runs_folder(runs)
    # Before decoding, which takes long: a model that does not fit is refused here.
    start = starting_point(plan) if session.resumed is None else None
    with joined(plan.config.train.device) as group:
        # Clips that are too short for a window are not decoded.
        used = {window.clip for window in (*plan.split.train, *plan.split.validation)}
        total, decoded = sum(len(plan.infos[number].used) for number in used), count(1)
        clips = decode_clips(
            session.sources,
            plan.sizes,
            used,
            lambda: emit(Working("decoding", next(decoded), total)),
        )
        known, notes = None, []
        if group.main:
            emit(Working("recording which frames are trained on"))
            known = record_clips(session.sources, plan.split.train, plan.split.shape.span)
            if start is not None and plan.config.train.weights != PRETRAINED:
                notes = seen_before(start, plan, session.sources)
                known = None if start.trained_on is None else (*start.trained_on, *known)
            emit(Working("building the network"))
        with (
            closing(RunWriter(runs, plan.config, _record(session), session.run)) as writer,
            logged(emit, writer, plan.config) as tell,
        ):
            trainer = Trainer(
                plan, clips, writer, tell, group, started, session.resumed, start, known
            )
            result = trainer.train()
            if group.main:
                emit(Working("writing the preview"))
                notes += write_pictures(plan, clips, trainer.run, group.device)
    return Outcome(trainer.run, result, tuple(notes))


def _record(session: Session) -> dict[str, Any]:
    return {
        "framecast": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "sources": fingerprints([source.info.path for source in session.sources]),
    }


def _peak_bytes(device: str) -> int | None:
    """Most memory used so far: of the device on CUDA, else of this process; None if unknown."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # noqa: PLC0415 - Unix only
    except ImportError:
        return None
    # In kilobytes on Linux, in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
