"""One training from paths to a finished run folder: open, plan, decode, train, preview."""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from framecast.config.loading import Config, load_config, to_dict
from framecast.data.batches import frames_of
from framecast.data.decoding import decode_clips, fitted_frames
from framecast.data.frame_cache import Store, cache_folder
from framecast.data.plan import Plan, make_plan
from framecast.data.scene_breaks import split_scenes
from framecast.data.training_frames import remember
from framecast.data.windows import Window
from framecast.errors import SourceError, UsageError
from framecast.nn.cost_model.memory import check_batch, check_memory
from framecast.prediction.checkpoint import Checkpoint, load_checkpoint
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.runtime.device import pick_device
from framecast.runtime.distributed import Group, joined
from framecast.runtime.versions import __version__
from framecast.training.events import ClipsReady, FrameDecoded, SessionEvent, TrainingResult
from framecast.training.run_folder import RunFolder, check_runs_folder, fingerprints, new_run
from framecast.training.trainer import Trainer, window_shape
from framecast.video.comparison_figures import comparison_video, contact_strip
from framecast.video.readers.base import FrameSource
from framecast.video.readers.open import open_sources
from framecast.video.writers.open import DEFAULT_FPS, write_frames
from framecast.video.writers.png import write_picture

RESUMABLE = {
    *("train.minutes", "train.epochs", "train.patience", "train.device", "train.precision"),
    "data.cache_gb",
}
"""Settings that may differ when a run is resumed."""


@dataclass(frozen=True)
class Session:
    """A training that can start: opened clips and a plan; `run` and `resumed` when it goes on."""

    sources: tuple[FrameSource, ...]
    plan: Plan
    run: RunFolder | None = None
    resumed: Checkpoint | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished training: its folder, its figures, and what to tell where the model falls back."""

    run: RunFolder
    result: TrainingResult
    note: str | None


@dataclass(frozen=True)
class Rehearsal:
    """What a dry run found: one real batch, forward, backward and optimizer step."""

    device: str
    parameters: int
    loss: float
    step_seconds: float
    epoch_seconds: float
    peak_bytes: int | None


def prepare(
    paths: Sequence[Path],
    config: Config,
    on_frame: Callable[[str, int], None] = lambda name, total: None,
    keep: bool = True,
) -> Session:
    """Open the clips, look for scene cuts and plan the run; with `keep` cuts are remembered.

    `on_frame` is called for every frame looked at, with what is done and the number of frames.
    Raises ResourceError when the device is not there, SourceError when a path cannot be used, and
    what `make_plan`, `check_memory` and `check_batch` raise.
    """
    device = pick_device(config.train.device)
    sources = open_sources(paths, color=config.data.color, keep_readable=config.data.keep_readable)
    plan = make_plan([source.info for source in sources], config)
    check_memory(config.model, plan.channels, plan.crop)
    if device == "cpu":
        check_batch(
            config.model,
            batch=plan.batch_size,
            context_length=plan.config.data.context_length,
            horizon=plan.split.horizon,
            channels=plan.channels,
            size=plan.crop,
        )
    if config.data.scene_cuts:  # which takes longest, so all that headers tell is told before
        split_scenes(sources, cache_folder() if keep and config.data.cache_gb else None, on_frame)
        plan = make_plan([source.info for source in sources], config)
    return Session(tuple(sources), plan)


def prepare_resume(
    run: Path,
    overrides: Sequence[str | tuple[str, object, str]],
    on_frame: Callable[[str, int], None] = lambda name, total: None,
    keep: bool = True,
) -> Session:
    """Take up a run where its `last.pt` stopped; the overrides may change its budget and device.

    Raises CheckpointError when there is no run to resume, SourceError when its clips have changed,
    UsageError for an override that would make it another run.
    """
    folder = RunFolder(run)
    record, resumed = folder.read_record(), load_checkpoint(folder.last)
    config = load_config(folder.settings, overrides)
    changed = _differences(resumed.config, config) - RESUMABLE
    if changed:
        raise UsageError(
            f"{', '.join(sorted(changed))} cannot change when a run is resumed",
            remedy=f"only {', '.join(sorted(RESUMABLE))} can; or start a new run",
        )
    paths = [Path(row["path"]) for row in record["sources"]]
    session = prepare(paths, config, on_frame, keep)
    if fingerprints([source.info.path for source in session.sources]) != record["sources"]:
        raise SourceError(
            f"{run}: its source files have changed since the run began",
            remedy="restore them, or start a new run",
        )
    return replace(session, run=folder, resumed=resumed)


def rehearse(session: Session) -> Rehearsal:
    """Do real batches end to end, and time one behind the first; writes nothing that stays."""
    plan, first = session.plan, session.plan.split.train[0]
    excerpt_THWC = np.stack(
        list(
            fitted_frames(
                session.sources[first.clip],
                plan.sizes[first.clip],
                plan.channels,
                range(first.start, first.start + plan.split.span),
            )
        )
    )
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        trainer = Trainer(plan, [excerpt_THWC], RunFolder(Path(scratch)), lambda event: None)
        batches = trainer.batches([Window(0, 0)])
        for _ in range(trainer.slow_steps):
            trainer.step(next(batches))
        started = time.monotonic()
        loss = trainer.step(next(batches))
        seconds = time.monotonic() - started
    batch_pixels = plan.batch_size * plan.crop[0] * plan.crop[1]
    areas = (plan.sizes[window.clip] for window in plan.validation)
    forward_only = sum(height * width for height, width in areas) / batch_pixels / 3
    return Rehearsal(
        device=trainer.device,
        parameters=sum(weight.numel() for weight in trainer.network.parameters()),
        loss=loss,
        step_seconds=seconds,
        epoch_seconds=seconds * (plan.steps_per_epoch + forward_only),
        peak_bytes=_peak_bytes(trainer.device),
    )


def train(
    session: Session,
    runs: Path,
    emit: Callable[[SessionEvent], None],
    profile: bool = False,
) -> Outcome:
    """Decode the clips, train in a new folder below `runs` (or go on in the resumed one), preview.

    `profile` adds where the time went. Of the processes that torchrun started, all train and the
    main one alone writes. Raises what reading, training and writing raise; what was saved before
    stays.
    """
    plan = session.plan
    if session.run is None:
        check_runs_folder(runs)
    with (
        tempfile.TemporaryDirectory(prefix="framecast-") as scratch,
        joined(plan.config.train.device) as group,
    ):
        clips = _decoded(session, Path(scratch), emit)
        run = session.run or _common_run(runs, group)
        known = None
        if group.main:
            run.write_settings(plan.config, _record(session))
            known = remember(session.sources, plan.split.train, plan.split.span)
        trainer = Trainer(plan, clips, run, emit, session.resumed, known, group, profile)
        result = trainer.train()
        note = _write_preview(plan, clips, run, group.device) if group.main else None
    return Outcome(run, result, note)


def _common_run(runs: Path, group: Group) -> RunFolder:
    """A new run folder, one for all processes."""
    made = str(new_run(runs).path) if group.main else ""
    return RunFolder(Path(group.tell(made)))


def _decoded(
    session: Session, scratch: Path, emit: Callable[[SessionEvent], None]
) -> Sequence[np.ndarray]:
    """Every clip of the plan as a memory map, from the cache where it is there."""
    plan, limit = session.plan, session.plan.config.data.cache_gb
    total = sum(info.frames for info in plan.infos)
    cache = Store(cache_folder(), int(limit * 1e9)) if limit else None
    decoded = decode_clips(
        session.sources,
        plan.sizes,
        plan.channels,
        scratch,
        cache,
        lambda: emit(FrameDecoded(total)),
    )
    folder = cache.folder if cache else None
    emit(ClipsReady(len(decoded.clips), decoded.found, folder, decoded.note))
    return decoded.clips


def _write_preview(
    plan: Plan, clips: Sequence[np.ndarray], run: RunFolder, device: str
) -> str | None:
    """Show the best model on the first validation window; returns its note where it falls back."""
    forecaster = LoadedForecaster(load_checkpoint(run.best), device)
    shape, window = window_shape(plan), plan.validation[0]
    seen_THWC, truth_THWC = np.split(frames_of(clips, window, shape), [shape.context_length])
    future_THWC = forecaster.predict(seen_THWC, shape.horizon)
    fps = (plan.infos[window.clip].fps or DEFAULT_FPS) / shape.frame_step
    frames = comparison_video(seen_THWC, future_THWC, truth_THWC)
    write_frames(run.preview, frames, fps=fps, overwrite=True)
    write_picture(run.strip, contact_strip(seen_THWC, future_THWC, truth_THWC))
    return forecaster.fallback_note


def _record(session: Session) -> dict[str, Any]:
    return {
        "framecast": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "sources": fingerprints([source.info.path for source in session.sources]),
    }


def _differences(before: Config, after: Config) -> set[str]:
    """Dotted names of the settings that differ."""
    one, other = to_dict(before), to_dict(after)
    return {
        f"{section}.{name}"
        for section, values in one.items()
        for name, value in values.items()
        if other[section][name] != value
    }


def _peak_bytes(device: str) -> int | None:
    """Most memory used so far: of the device on CUDA, else of this process; None if unknown."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # noqa: PLC0415 - Unix only
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
