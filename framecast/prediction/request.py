"""The arguments of a prediction; without torch or NumPy, since help lists its fields."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

from framecast.config.argument_types import check_fields
from framecast.config.brightness_scale import check_legend, read_scale
from framecast.config.fields import specs
from framecast.config.schema import DataConfig
from framecast.errors import UsageError
from framecast.nn.forecasters.grid import SMALLEST_TILE
from framecast.runtime.device_names import check_device_name
from framecast.video.frame_size import parse_size
from framecast.video.frame_times import check_step

if TYPE_CHECKING:
    from framecast.config.loading import Config
    from framecast.video.frame_style import FrameStyle

LONGEST_HORIZON = 1_000_000
"""Frames that can be asked for at most: a day of video; their names alone take 0.1 GB."""


OF_FILES = ("axes", "variable", "range", "keep_readable")
"""Fields of requests that say how files are read, which live sources are not."""

READING = ("color", *OF_FILES)
"""Fields of requests that say how frames are read, in place of what the model was trained with."""


def asked_reading(request: object) -> dict[str, Any]:
    """What a request asks of how files are read, as options of `open_source`."""
    return {name: value for name in READING if (value := getattr(request, name, None))}


def check_reading(request: object) -> None:
    """Raise ConfigError for what a request asks of how files are read that no file could be."""
    asked = asked_reading(request)
    for spec in specs(DataConfig):
        if spec.name in asked:
            spec.check(asked[spec.name], f"--{spec.name}")
    if "range" in asked:
        from framecast.video.value_range import read_range  # noqa: PLC0415  (loads NumPy)

        read_range(asked["range"], "float64")


def check_match(match: float) -> None:
    """Raise UsageError for a `match` that is no share."""
    if not isinstance(match, Real) or not 0 <= match <= 1:
        raise UsageError(f"--match {match}: out of range", remedy="use 0 to 1")


def check_tile(tile: int | None, config: Config | None = None) -> None:
    """Raise UsageError for tiles that are too small, or of a model that sees frames as a whole.

    `config` None: nothing is known of the model.
    """
    if tile is None:
        return
    if config is not None and config.model.traits.tied_to_size:
        raise UsageError(
            f"--tile {tile}: {config.model.name} is tied to frames of {config.data.resize}, which "
            "it cannot see in parts",
            remedy="leave out --tile",
        )
    if not isinstance(tile, Integral):
        raise UsageError(f"--tile {tile}: no whole number", remedy=f"use {SMALLEST_TILE} or more")
    if tile < SMALLEST_TILE:
        raise UsageError(
            f"--tile {tile}: smaller than what neighbouring tiles share",
            remedy=f"use {SMALLEST_TILE} or more",
        )


def check_horizon(horizon: int, name: str = "horizon") -> None:
    """Raise UsageError for a horizon that is no number of frames that can be asked for."""
    if not isinstance(horizon, Integral):
        raise UsageError(
            f"{name} must be a whole number; received {horizon!r:.60}", remedy="use 1 or more"
        )
    if horizon < 1:
        raise UsageError(f"{name} {horizon}: nothing to predict", remedy="use 1 or more")
    if horizon > LONGEST_HORIZON:
        raise UsageError(
            f"{name} {horizon}: more frames than can be predicted at once",
            remedy=f"use {LONGEST_HORIZON:,} or less",
        )


@dataclass(frozen=True)
class Computing:
    """How a model computes: its device, the side of its tiles, and how far it matches brightness.

    Raises UsageError for a device that no machine has, and for numbers out of range.
    """

    tile: int | None = None
    match: float = 0.0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_device_name(self.device)
        check_match(self.match)
        check_tile(self.tile)


@dataclass(frozen=True)
class PredictionRequest:
    """What to predict of a clip.

    `horizon` in frames, None: as trained. `start` is the index of the first context frame; None:
    the clip's last frames, or with `compare` the last whose future is known. `fps` None: the clip's
    own. `color` converts the frames before anything else; `keep_readable` accepts damaged clips.
    `stream` asks for a forecast after every frame; `size` (HxW) says that standard input is raw
    frames; `axes` and `variable` say how an array file is read, `range` which stored values are
    black and white. `colormap`, `labels`, the minutes between two frames and what pixels stand for
    ("-10..60 dBZ") say how frames are painted. Raises UsageError for values that mean nothing.
    """

    horizon: int | None = None
    start: int | None = None
    compare: bool = False
    fps: float | None = None
    color: Literal["gray", "rgb"] | None = None
    keep_readable: bool = False
    stream: bool = False
    size: str | None = None
    axes: str | None = None
    variable: str | None = None
    range: str | None = None
    colormap: str | None = None
    labels: bool = False
    step_minutes: float | None = None
    value_scale: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.horizon is not None:
            check_horizon(self.horizon, "--horizon")
        if self.start is not None and self.start < 0:
            raise UsageError(
                f"--start {self.start}: frames are counted from 0", remedy="use 0 or more"
            )
        check_step(self.step_minutes)
        check_reading(self)
        _ = self.frame_size  # a wrong one is refused now
        check_legend(self.value_scale, self.colormap)
        if self.stream and self.compare:
            raise UsageError(
                "--compare needs frames that a stream has not seen yet", remedy="leave out --stream"
            )
        if self.colormap not in (None, "radar"):  # which needs a scale that the model may have
            from framecast.video.frame_style import FrameStyle  # noqa: PLC0415  (slow to load)

            FrameStyle(self.colormap)  # raises for a name that matplotlib does not know

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """`size` as (H, W) in pixels; ConfigError for text that is none."""
        return parse_size(self.size, "--size: expected HEIGHTxWIDTH") if self.size else None

    @property
    def paints(self) -> bool:
        """Whether frames are painted for people, so that they no longer hold the values."""
        return self.compare or self.labels or self.colormap is not None

    def style(self, data: DataConfig) -> FrameStyle:
        """How frames are painted for a model of these settings."""
        from framecast.video.frame_style import FrameStyle  # noqa: PLC0415  (slow to load)

        return FrameStyle(self.colormap, read_scale(self.value_scale or data.scale))

    def model_step(self, data: DataConfig, known: float | None = None) -> float | None:
        """Minutes between two of the model's frames, `known` being those between the clip's."""
        minutes = known if self.step_minutes is None else self.step_minutes
        return None if minutes is None else minutes * data.frame_step

    def check_source(self, source: str) -> None:
        """Raise UsageError for options that this kind of source does not have."""
        from framecast.video.readers.live import (  # noqa: PLC0415  (slow to load)
            STANDARD_INPUT,
            check_camera,
            full_address,
            is_live,
        )

        check_camera(source)
        live, source = is_live(source), full_address(source)
        if live and not self.stream:
            raise UsageError(
                f"{source}: its frames are not all there yet",
                remedy="add --stream, or save them as a file first",
            )
        for name in ("start", *OF_FILES) if live else ():
            if getattr(self, name) not in (None, False):
                raise UsageError(
                    f"{source}: --{name.replace('_', '-')} is for files", remedy="leave it out"
                )
        if self.size is not None and source != STANDARD_INPUT:
            raise UsageError(
                f"--size is for raw frames on standard input, {source} has a size of its own",
                remedy="leave it out",
            )
