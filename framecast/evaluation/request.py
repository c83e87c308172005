"""The arguments of an evaluation; without torch or NumPy, since help lists its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from framecast.config.argument_types import check_fields
from framecast.config.brightness_scale import read_scale
from framecast.errors import UsageError
from framecast.prediction.request import check_reading

# Sets of metrics by name, and what each is
PROTOCOLS = {
    "pixel": "means over pixels of frames in 0..1",
    "openstl": "sums over the pixels of a frame and SSIM with data range 2, as OpenSTL reports",
    "nowcast": "errors over pixels, and events beyond thresholds, as pysteps counts them",
}


@dataclass(frozen=True)
class EvaluationRequest:
    """What to score.

    `horizon` in frames and `stride` between window starts, None: as trained. At most `windows`
    windows, evenly spread, 0: all; with `minutes` only as many of them as fit. `thresholds` are
    written like `20 dBZ`, `0.4` or `109/255`, `scale` like `-10..60 dBZ`; None: the one the model
    was trained with. `include_training` scores frames the model was trained on too. `color`,
    `axes`, `variable`, `range` and `keep_readable` say how clips are read. Raises UsageError for
    values that mean nothing.
    """

    horizon: int | None = None
    stride: int | None = None
    windows: int = 100
    minutes: float | None = None
    protocol: Literal["pixel", "openstl", "nowcast"] = "pixel"
    thresholds: tuple[str, ...] = ()
    scale: str | None = None
    include_training: bool = False
    color: Literal["gray", "rgb"] | None = None
    axes: str | None = None
    variable: str | None = None
    range: str | None = None
    keep_readable: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("horizon", "stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} {value}: nothing to score", remedy="use 1 or more")
        if self.windows < 0:
            raise UsageError(f"--windows {self.windows}: nothing to score", remedy="use 0 for all")
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(
                f"--minutes {self.minutes:g}: no time to score", remedy="use more than 0"
            )
        read_scale(self.scale, "--scale")
        check_reading(self)
