"""The arguments of an export and its result; without torch or NumPy: help lists the fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from framecast.config.argument_types import check_fields
from framecast.config.brightness_scale import check_legend
from framecast.errors import UsageError
from framecast.prediction.request import check_horizon, check_reading
from framecast.video.frame_size import parse_size
from framecast.video.frame_times import check_step


@dataclass(frozen=True)
class ExportRequest:
    """What to export, as the command line gives it; None is as trained, or as the frames are.

    Of a model `horizon`, `context_length`, `size` ("HxW"), `step`, which writes `encode` and `step`
    for ONNX, and `half`, weights in half precision. Of frames `fps`, `enlarge`, the factor of both
    sides, `colormap`, `labels`, `step_minutes` and `value_scale` as in `FrameStyle`, and for how
    they are read `axes`, `variable`, `range` and `keep_readable`. Raises UsageError for values that
    mean nothing.
    """

    horizon: int | None = None
    context_length: int | None = None
    size: str | None = None
    step: bool = False
    half: bool = False
    fps: float | None = None
    enlarge: float | None = None
    colormap: str | None = None
    labels: bool = False
    step_minutes: float | None = None
    value_scale: str | None = None
    axes: str | None = None
    variable: str | None = None
    range: str | None = None
    keep_readable: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.horizon is not None:
            check_horizon(self.horizon, "--horizon")
        if self.context_length is not None and self.context_length < 1:
            raise UsageError(
                f"--context-length {self.context_length}: no context", remedy="use 1 or more"
            )
        check_step(self.step_minutes)
        if self.step_minutes is not None and not self.labels:
            raise UsageError(
                "--step-minutes is for the times that --labels writes",
                remedy="add --labels, or leave it out",
            )
        check_reading(self)
        check_legend(self.value_scale, self.colormap)

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """`size` as (H, W) in pixels; ConfigError for text that is none."""
        return parse_size(self.size, "--size: expected HEIGHTxWIDTH") if self.size else None


@dataclass(frozen=True)
class ExportReport:
    """The files or folder made, what is worth noting, and how far a model's frames are from
    PyTorch's at most; None where that could not be checked, and for frames.

    `snippet` is a Python script that runs the file.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...]
    difference: float | None = None
    snippet: str = ""
