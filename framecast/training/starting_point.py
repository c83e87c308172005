"""Where the weights of a new run come from: another model, or chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from framecast.config.schema import PRETRAINED
from framecast.data.plan import Plan
from framecast.data.training_frames import find_overlap
from framecast.errors import CheckpointError
from framecast.prediction.checkpoint import Checkpoint, load_checkpoint
from framecast.prediction.model_files import PRETRAINED_FILE
from framecast.runtime.text import listed
from framecast.video.readers.base import FrameSource

FIRST_SHARE, QUARTER = 0.75, 0.25
"""Share of what fine-tuning changes in pretrained weights that is kept at first, and by how much it
changes where that lowers the held-out error: a part of the way back to where they started forecasts
later frames better (Wortsman et al. 2022, arXiv:2109.01903)."""


def starting_point(plan: Plan) -> Checkpoint | None:
    """The model that a new run starts from; None: random weights.

    The one that framecast ships serves where the settings describe its network. Raises
    CheckpointError where the weights of another one do not fit the run's channels or frame size.
    """
    config, path = plan.config, plan.config.train.weights
    if config.train.from_scratch or (path == PRETRAINED and not PRETRAINED_FILE.is_file()):
        return None
    start = load_checkpoint(Path(path))
    if path == PRETRAINED:
        # These give the weights their shapes; they do not depend on frame sizes or channels.
        made, wanted = (
            (model.name, model.filters, model.kernel_sizes)
            for model in (start.config.model, config.model)
        )
        return start if made == wanted else None
    height, width = plan.sizes[0]
    clip = {"channels": plan.channels, "height": height, "width": width}
    try:
        replace(start, clip=clip).forecaster()
    except CheckpointError as error:
        raise CheckpointError(
            f"{path}: {error.message}",
            remedy="train on frames with the channels and the size that it was trained on",
        ) from error
    return start


def seen_before(start: Checkpoint, plan: Plan, sources: Sequence[FrameSource]) -> list[str]:
    """A note where held-out frames are among those that the starting point was trained on."""
    held_out = {window.clip for window in plan.validation}
    span = plan.split.shape.span
    seen = []
    for number in sorted(held_out):
        trained = find_overlap(sources[number], start.trained_on or ()).trained
        if any(
            window.clip == number and window.start < part.stop and part.start < window.start + span
            for window in plan.validation
            for part in trained
        ):
            seen.append(sources[number].info.name)
    if not seen:
        return []
    return [
        f"{plan.config.train.weights} was trained on held-out frames of {listed(seen)}, so that "
        "errors of new frames may be higher"
    ]
