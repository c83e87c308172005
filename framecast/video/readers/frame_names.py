"""The numbers and times in the names of frames.

A name is cut into texts and numbers. Numbers of a series are read so that most steps are alike: as
integers, as decimals, as a time of day, as date and time.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import PurePath

# Steps above this multiple of the usual one skip something.
GAP = 1.5

# Share of steps that must not be gaps; where time runs less evenly, only long steps are gaps.
STEADY = 0.9

# Date, and time where there is one: 20160928_1605, 2021-08-04T15-53-21, 20210804155321123; names
# are in lower case here.
MOMENT = re.compile(
    r"(?<![0-9])(?P<year>(?:19|20)[0-9]{2})[-_.]?(?P<month>0[1-9]|1[0-2])[-_.]?"
    r"(?P<day>0[1-9]|[12][0-9]|3[01])"
    r"(?:[-_ t.]{0,3}(?P<hour>[01][0-9]|2[0-3])[-_:.h]?(?P<minute>[0-5][0-9])"
    r"(?:[-_:.m]?(?P<second>[0-5][0-9])(?P<fraction>\.[0-9]+|[0-9]{3}(?![0-9]))?)?)?(?![0-9])"
)

# Where moments are counted from.
EPOCH = datetime(1900, 1, 1)

NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")

# A time of day after any number of days: hours and minutes, or seconds too.
CLOCKS = tuple(
    re.compile(rf"([0-9]*?)([01][0-9]|2[0-3])([0-5][0-9]){seconds}")
    for seconds in ("()", "([0-5][0-9])")
)

DAY = 24 * 3600


@dataclass(frozen=True)
class Field:
    """One number of a name: `text` as written, `value` to compare; seconds where it is a moment."""

    text: str
    value: Fraction
    is_moment: bool = False


@dataclass(frozen=True)
class Name:
    """A file's name, the texts between its numbers (with the suffix), and the numbers."""

    name: str
    texts: tuple[str, ...]
    fields: tuple[Field, ...]


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key by which frame2 comes before frame10."""
    pieces = re.split(r"([0-9]+)", name.casefold())
    return tuple(int(p) if i % 2 else p for i, p in enumerate(pieces)), name


def frame_times(names: Sequence[str]) -> tuple[datetime, ...]:
    """The date and time in each name, where all have one and most steps are alike; else nothing."""
    found = [MOMENT.search(PurePath(name).stem.casefold()) for name in names]
    moments = [_field(match) for match in found if match]
    seconds = [moment.value for moment in moments if moment.is_moment]
    rising = all(before < after for before, after in pairwise(seconds))
    if len(seconds) < len(names) or not rising or evenness(seconds) < STEADY:
        return ()
    return tuple(EPOCH + timedelta(seconds=float(value)) for value in seconds)


def parse_name(name: str) -> Name:
    path = PurePath(name)
    # Windows and macOS take Frame1.PNG and frame1.png for one name.
    stem, suffix = path.stem.casefold(), path.suffix.lower()
    texts, fields, place = [], [], 0
    while match := MOMENT.search(stem, place) or NUMBER.search(stem, place):
        number = NUMBER.search(stem, place)
        if number and (number.start(), -number.end()) < (match.start(), -match.end()):
            match = number  # a plain number stands before the date
        texts.append(stem[place : match.start()])
        fields.append(_field(match))
        place = match.end()
    return Name(name, (*texts, stem[place:], suffix), tuple(fields))


def _field(match: re.Match[str]) -> Field:
    parts = match.groupdict()
    if not parts:
        return Field(match[0], Fraction(match[0]))
    try:
        names = ("year", "month", "day", "hour", "minute", "second")
        moment = datetime(*(int(parts[name] or 0) for name in names))  # type: ignore[arg-type]
    except ValueError:  # the 31st of a month that has 30 days: a number like others
        return Field(match[0], Fraction(re.sub(r"[^0-9]", "", match[0])))
    seconds = Fraction(int((moment - EPOCH).total_seconds()))
    fraction = (parts["fraction"] or "0").lstrip(".")
    # Exact fractions: float64 cannot tell nanoseconds of today apart.
    seconds += Fraction(int(fraction), 10 ** len(fraction))
    return Field(match[0], seconds, is_moment=True)


def as_read(members: Sequence[Name]) -> list[Name]:
    """A series with the reading of every column of numbers by which most steps are alike."""
    columns = [_read_column(fields) for fields in zip(*(m.fields for m in members), strict=True)]
    rows = zip(*columns, strict=True) if columns else [()] * len(members)
    return [replace(member, fields=row) for member, row in zip(members, rows, strict=True)]


def _read_column(fields: Sequence[Field]) -> list[Field]:
    """Decimals of one number of digits or without trailing zeros are decimals, 1.10 is no 1.1."""
    if all(field.is_moment for field in fields):
        return list(fields)
    if any(field.is_moment for field in fields):  # a counter that looked like a date now and then
        fields = [replace(field, text=re.sub("[^0-9]", "", field.text)) for field in fields]
        return [replace(f, value=Fraction(int(f.text)), is_moment=False) for f in fields]
    parts = [field.text.partition(".") for field in fields]
    fractions = {part for _, _, part in parts}
    signed = any(field.value < 0 for field in fields)
    uneven = len({len(part) for part in fractions}) > 1 and not signed
    if uneven and any(part.endswith("0") for part in fractions):
        width = max(map(len, fractions))
        values = [int(whole) + Fraction(int(part or 0), 10**width) for whole, _, part in parts]
    else:
        values = [field.value for field in fields]
    # 1655 and 1700 are 5 minutes apart as times of day, and 45 as integers.
    for pattern in CLOCKS:
        clock = _past_midnight([_clock(field.text, pattern) for field in fields])
        if clock and evenness(clock) > evenness(values):
            values = clock
    return [replace(field, value=value) for field, value in zip(fields, values, strict=True)]


def _clock(text: str, pattern: re.Pattern[str]) -> Fraction | None:
    """Seconds of a time of day such as 1655, 165500, or 162721655 with days before it."""
    match = pattern.fullmatch(text)
    if match is None:
        return None
    days, hour, minute, second = (int(part or 0) for part in match.groups())
    return Fraction(DAY * days + 3600 * hour + 60 * minute + second)


def _past_midnight(values: Sequence[Fraction | None]) -> list[Fraction]:
    """Times of day in order: those after midnight on the next day, where a clip goes over it.

    It does where times are missing at one place only, and none over midnight. Empty without times.
    """
    if None in values:
        return []
    ordered = sorted({*values})
    steps = [b - a for a, b in pairwise([*ordered, ordered[0] + DAY])]
    usual = statistics.median(steps)
    long = [index for index, step in enumerate(steps) if step > GAP * usual]
    if ordered[-1] >= DAY or len(ordered) < 4 or len(long) != 1 or long[0] == len(steps) - 1:
        return list(values)
    return [value + DAY if value <= ordered[long[0]] else value for value in values]


def evenness(values: Sequence[Fraction]) -> float:
    """Share of the steps between sorted values that are not far from the usual one."""
    steps = [b - a for a, b in pairwise(sorted(set(values)))]
    if not steps:
        return 0.0
    usual = statistics.median(steps)
    return sum(usual / GAP <= step <= usual * GAP for step in steps) / len(steps)
