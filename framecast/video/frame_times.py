"""How far frames lie ahead of the last one seen, or when: as labels, and as names of files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from framecast.errors import UsageError


def check_step(minutes: float | None) -> None:
    """Raise UsageError for minutes between two frames that are no length of time."""
    if minutes is not None and not 0 < minutes < math.inf:
        raise UsageError(
            f"--step-minutes {minutes:g}: no time between two frames", remedy="use more than 0"
        )


def lead_label(lead: float, step_minutes: float | None = None, fps: float | None = None) -> str:
    """How far a frame lies ahead of the last one seen: "+3", "+15 min" or "+0.12 s".

    `lead` counts frames, 0 and less are those seen; `step_minutes` is the time between two of them,
    `fps` their rate where that is a video's.
    """
    if step_minutes is not None:
        factor, unit = time_unit(step_minutes)
        return f"{round(lead * factor, 3):+g} {unit}" if lead else f"0 {unit}"
    if fps is not None:
        return f"{lead / fps:+.2f} s" if lead else "0 s"
    return f"{lead:+g}" if lead else "0"


def lead_names(
    leads: Sequence[int], step_minutes: float | None = None, seen: datetime | None = None
) -> list[str]:
    """Names for files of frames: `frame_20260928_1605`, `lead_0015min` or `lead_0003`.

    `leads` and `step_minutes` are as in `lead_label`; `seen` is when the last frame seen was taken.
    Frames that were seen are numbered, `input_0001`, where no time is known, or it is beyond the
    calendar. Sorted by name they are in order of time.
    """
    if seen is not None and step_minutes is not None:
        with suppress(OverflowError):  # the calendar ends with the year 9999
            step = timedelta(minutes=step_minutes)
            return moment_names([seen + lead * step for lead in leads])
    factor, unit = (1.0, "") if step_minutes is None else time_unit(step_minutes)
    # All with decimals or none, else 2.5 would be sorted before 2; as many as tell them apart.
    decimals = 0 if factor == int(factor) else max(2, -math.floor(math.log10(factor)))
    width = 4 if decimals == 0 else 5 + decimals
    seen_names = [f"input_{number:04d}" for number, _ in enumerate(leads, start=1)]
    return [
        f"lead_{lead * factor:0{width}.{decimals}f}{unit}" if lead > 0 else name
        for lead, name in zip(leads, seen_names, strict=True)
    ]


def moment_names(moments: Sequence[datetime]) -> list[str]:
    """Names of frames by when they were taken: `frame_20260928_1605`, or with seconds for all."""
    if len({moment.replace(microsecond=0) for moment in moments}) < len(moments):
        return [f"frame_{number:04d}" for number, _ in enumerate(moments)]
    seconds = "%S" if any(moment.second for moment in moments) else ""
    return [f"frame_{moment:%Y%m%d_%H%M{seconds}}" for moment in moments]


def time_unit(step_minutes: float) -> tuple[float, str]:
    """A step in minutes, or in seconds if it is shorter than one."""
    return (step_minutes, "min") if step_minutes >= 1 else (60 * step_minutes, "s")
