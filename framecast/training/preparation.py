"""A training before it starts: clips opened, scene cuts found, the run planned. No PyTorch.

Errors in headers and settings are raised here, before PyTorch is loaded, which takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from framecast.config.loading import Config, differences, load_config
from framecast.config.schema import PRETRAINED, ModelConfig
from framecast.data.plan import Plan, make_plan, sized_for_budget
from framecast.data.reading_limits import limit_reading
from framecast.data.windows import LONGEST_AUTO_HORIZON, WindowShape
from framecast.errors import CheckpointError, ResourceError, SourceError, UsageError
from framecast.nn.cost_model.memory import check_batch, check_weight_memory
from framecast.prediction.model_header import read_header
from framecast.runtime.extras import check_installed
from framecast.runtime.text import listed
from framecast.training.run_folder import RunFolder, fingerprints
from framecast.video.frame_size import target_size
from framecast.video.plot_style import imported_matplotlib
from framecast.video.readers.base import FrameSource
from framecast.video.readers.frame_checks import unreadable
from framecast.video.readers.open import open_sources, read_options
from framecast.video.scene_detection import split_scenes

if TYPE_CHECKING:
    from framecast.prediction.checkpoint import Checkpoint


RESUMABLE = {
    "train.minutes",
    "train.epochs",
    "train.patience",
    "train.device",
    "train.precision",
    "train.tensorboard",
}
"""Settings that may differ when a run is resumed."""


@dataclass(frozen=True)
class Session:
    """A training that can start: opened clips and a plan; `run` and `resumed` of a resumed one."""

    sources: tuple[FrameSource, ...]
    plan: Plan
    run: RunFolder | None = None
    resumed: Checkpoint | None = None


def prepare(
    paths: Sequence[Path],
    config: Config,
    on_frame: Callable[[str, int], None] = lambda name, total: None,
    settled: bool = False,
) -> Session:
    """Open the clips, look for scene cuts and plan the run.

    `on_frame` is called for every frame looked at, with a description of the work and the number
    of frames. `settled` settings are those of a run, which used all frames unless they say how
    many, however long reading takes now.
    Raises SourceError when a path cannot be used, and what `make_plan`, `check_weight_memory` and
    `check_batch` raise; ResourceError when the device that is named is not there, UsageError when
    TensorBoard is asked for and not installed, and when matplotlib cannot be loaded.
    """
    if not settled:
        config = _with_its_network(config)
    if config.train.tensorboard:
        check_installed("tensorboard", "tensorboard", "train.tensorboard")
    # From here on each check takes longer than those before it.
    sources = open_sources(paths, **read_options(config.data))
    sources, config = _limited(sources, config, settled)
    plan = make_plan([source.info for source in sources], config)
    check_weight_memory(config.model, plan.channels, plan.crop)
    if config.train.device not in ("auto", "cpu"):
        _pick_device(config)
    try:
        check_batch(
            config.model,
            plan.channels,
            plan.crop,
            batch=plan.batch_size,
            context_length=plan.config.data.context_length,
            horizon=plan.split.shape.horizon,
        )
    except ResourceError:  # the machine's memory does not matter where a GPU computes
        if _pick_device(config) == "cpu":
            raise
    imported_matplotlib()  # which draws the curves when all else is done
    if config.data.scene_cuts:  # takes longest, so errors in headers are raised before
        split_scenes(sources, on_frame)
        # Again, since windows must not span the cuts that were found.
        plan = make_plan([source.info for source in sources], config)
    return Session(tuple(sources), plan)


def _with_its_network(config: Config) -> Config:
    """The settings with the network of the model that the run starts from.

    Raises CheckpointError where that is no model to start from, UsageError where the settings ask
    for another network.
    """
    path = config.train.weights
    if path == PRETRAINED:  # which serves where it fits
        return config
    header = read_header(Path(path))
    if header is None:
        raise CheckpointError(
            f"{path}: is no model to start from",
            remedy="give a .pt file or a run folder that `framecast train` wrote",
        )
    started = replace(config, model=header.config.model)
    if config.model != ModelConfig() and config.model != started.model:
        raise UsageError(
            f"{listed(sorted(differences(config, started)))}: not as in {path}, which the run "
            "starts from",
            remedy="leave out these settings, or the model",
        )
    return started


def _limited(
    sources: Sequence[FrameSource], config: Config, settled: bool
) -> tuple[Sequence[FrameSource], Config]:
    """Leave out clips that are too many and the oldest frames of clips that are too long."""
    data = config.data
    if type(data.max_frames) is int:
        for source in sources:
            source.use_newest(data.max_frames)
    if data.max_frames != "auto" or settled:
        return sources, config
    horizon = LONGEST_AUTO_HORIZON if data.horizon == "auto" else data.horizon
    span = WindowShape(data.context_length, horizon, data.frame_step).span
    infos = [source.info for source in sources]
    resize = sized_for_budget(infos, config)[0].data.resize
    sizes = [target_size(info.height, info.width, resize) for info in infos]
    passes = 1 + data.scene_cuts
    used, limit = limit_reading(sources, config.train.minutes, span, passes, kept_at=sizes)
    if limit is not None:  # else the setting stays as it is, for those who copy it
        config = replace(config, data=replace(data, max_frames=limit))
    return used, config


def check_resume(run: RunFolder, overrides: Sequence[str | tuple[str, object, str]]) -> None:
    """Raise now what resuming a run would raise only once PyTorch is loaded.

    That is CheckpointError when there is no run to resume, SourceError when its clips have changed,
    and what `resumed_config` raises.
    """
    record, last = run.read_record(), read_header(run.last)
    with whole_best(run):
        read_header(run.best)
    if last is not None:
        resumed_config(last.config, overrides)
    paths = run.source_paths()
    for path in paths:
        if not os.path.lexists(path):  # never raises, unlike Path.exists
            raise SourceError(
                f"{run.path}: {path}, which it is trained on, is no longer there",
                remedy="put it back, or start a new run",
            )
        try:
            path.stat()
        except OSError as error:
            raise unreadable(path, error) from error
    if fingerprints(paths) != record["sources"]:
        raise SourceError(
            f"{run.path}: its source files have changed since the run began",
            remedy="restore them, or start a new run",
        )


@contextmanager
def whole_best(run: RunFolder) -> Iterator[None]:
    """Raise CheckpointError about a run's best model where reading it in the block does."""
    try:
        yield
    except CheckpointError as error:  # else this would come out after hours of training
        raise CheckpointError(
            f"{run.best}: the best model of this run is missing or damaged",
            remedy="put it back from a copy, or start a new run",
        ) from error


def resumed_config(config: Config, overrides: Sequence[str | tuple[str, object, str]]) -> Config:
    """A run's settings with overrides; UsageError for one that would make it another run."""
    resumed = load_config(None, overrides, base=config)
    changed = differences(config, resumed) - RESUMABLE
    if changed:
        raise UsageError(
            f"{', '.join(sorted(changed))} cannot change when a run is resumed",
            remedy=f"only {', '.join(sorted(RESUMABLE))} can; or start a new run",
        )
    return resumed


def _pick_device(config: Config) -> str:
    """Ask PyTorch, which is loaded for this alone."""
    from framecast.runtime.device import pick_device  # noqa: PLC0415

    return pick_device(config.train.device)
