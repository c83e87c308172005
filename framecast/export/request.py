"""The arguments of an export; without torch or NumPy, since help lists its fields."""

from __future__ import annotations

from dataclasses import dataclass

from framecast.config.argument_types import check_fields


@dataclass(frozen=True)
class ExportRequest:
    """What to export, as the command line gives it; None is as trained, or as the frames are.

    Of a model `horizon`, `context_length`, `size` ("HxW"), `step` and `half`; of frames `fps`,
    `enlarge`, `colormap`, `labels`, `step_minutes`, `value_scale`, and for how they are read
    `axes`, `variable` and `keep_readable`.
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
    keep_readable: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
