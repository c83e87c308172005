"""A training before it starts: clips opened, scene cuts found, the run planned. No PyTorch.

Errors in headers and settings are raised here, before PyTorch is loaded, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from framecast.config.loading import Config
from framecast.data.plan import Plan, make_plan
from framecast.data.scene_breaks import split_scenes
from framecast.errors import ResourceError
from framecast.nn.cost_model.memory import check_batch, check_weight_memory
from framecast.runtime.extras import check_installed
from framecast.training.run_folder import RunFolder
from framecast.video.readers.base import FrameSource
from framecast.video.readers.open import open_sources, read_options

if TYPE_CHECKING:
    from framecast.prediction.checkpoint import Checkpoint


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
) -> Session:
    """Open the clips, look for scene cuts and plan the run.

    `on_frame` is called for every frame looked at, with a description of the work and the number
    of frames.
    Raises SourceError when a path cannot be used, and what `make_plan`, `check_weight_memory` and
    `check_batch` raise; ResourceError when the device that is named is not there, UsageError when
    TensorBoard is asked for and not installed.
    """
    if config.train.tensorboard:
        check_installed("tensorboard", "tensorboard", "train.tensorboard")
    # From here on each check takes longer than those before it.
    sources = open_sources(paths, **read_options(config.data))
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
            horizon=plan.split.horizon,
        )
    except ResourceError:  # the machine's memory does not matter where a GPU computes
        if _pick_device(config) == "cpu":
            raise
    if config.data.scene_cuts:  # takes longest, so errors in headers are raised before
        split_scenes(sources, on_frame)
        # Again, since windows must not span the cuts that were found.
        plan = make_plan([source.info for source in sources], config)
    return Session(tuple(sources), plan)


def _pick_device(config: Config) -> str:
    """Ask PyTorch, which is loaded for this alone."""
    from framecast.runtime.device import pick_device  # noqa: PLC0415

    return pick_device(config.train.device)
