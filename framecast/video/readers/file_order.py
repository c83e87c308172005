"""The order of frames from the numbers and times in their names, and where some are missing.

Names with the same texts between their numbers are one series. A step of more than one and a half
times the usual one is a gap.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby, pairwise

from framecast.runtime.text import are
from framecast.video.readers.frame_names import (
    GAP,
    STEADY,
    Field,
    Name,
    as_read,
    evenness,
    natural_key,
    parse_name,
)

LONG_STEP = 5.0

# Text before a number that names the camera or station, not the time.
VIEW = re.compile(r"(?:cam|camera|view|channel|ch|eye|sensor)[-_ ]?$")


@dataclass(frozen=True)
class Gap:
    """Something missing between two files that follow each other; `index` is the later one's."""

    index: int
    sentence: str


@dataclass(frozen=True)
class Order:
    """Names in the order of their frames, where that order has gaps, and whether it is a guess."""

    names: tuple[str, ...]
    gaps: tuple[Gap, ...]
    note: str = ""


def order_names(names: Sequence[str]) -> Order:
    """Put the names of a clip's frames in order and find where frames are missing between them.

    Names that share nothing but order (`a.png`, `b.png`, names made of hashes) have no gaps and a
    note that says in which order they are taken.
    """
    series: Series = {}
    for name in sorted(names, key=natural_key):
        parsed = parse_name(name)
        series.setdefault(parsed.texts, []).append(parsed)
    series = _with_first_download(_with_signs(series))
    # With fewer than three names a series on average, the texts change like numbers do.
    if len(series) > 1 and 3 * len(series) > len(names):
        return _by_first_number(names)
    ordered: list[str] = []
    gaps: list[Gap] = []
    certain = True
    for members in series.values():
        for run, counters in _runs(members):
            if ordered:
                first, last = run[0].name, ordered[-1]
                gaps.append(Gap(len(ordered), f"a new series starts at {first}, after {last}"))
            gaps += (Gap(len(ordered) + gap.index, gap.sentence) for gap in _gaps(run, counters))
            ordered += (member.name for member in run)
            certain = certain and (bool(counters) or len(run) == 1)
    in_doubt = not certain or (len(series) == 1 and ordered != sorted(names, key=natural_key))
    return Order(tuple(ordered), tuple(gaps), _order_note(ordered) if in_doubt else "")


Series = dict[tuple[str, ...], list[Name]]


def _with_signs(series: Series) -> Series:
    """Join series that differ in a sign before a number, such as t-1, t0 and t+1.

    A minus alone may be a hyphen: it is a sign where others have a plus, or none and a zero.
    """
    joined: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for texts in series:
        joined.setdefault(tuple(re.sub("[-+]$", "", text) for text in texts), []).append(texts)
    result: Series = {}
    for plain, variants in joined.items():
        signs = [
            {text[len(bare) :] for text in column}
            for bare, *column in zip(plain, *variants, strict=True)
        ]
        members = [member for texts in variants for member in series[texts]]
        signed = [i for i, found in enumerate(signs) if len(found) > 1 and _is_sign(i, members)]
        if len(signed) == sum(len(found) > 1 for found in signs) == 1:
            members = [_signed(member, plain, signed[0]) for member in members]
            result[plain] = members
        else:
            result |= {texts: series[texts] for texts in variants}
    return result


def _is_sign(index: int, members: Sequence[Name]) -> bool:
    zeros = {m.texts[index][-1:] == "-" for m in members if m.fields[index].value == 0}
    return any(m.texts[index].endswith("+") for m in members) or zeros == {False}


def _signed(member: Name, texts: tuple[str, ...], index: int) -> Name:
    fields = list(member.fields)
    if member.texts[index].endswith("-"):
        fields[index] = replace(
            fields[index], text=f"-{fields[index].text}", value=-fields[index].value
        )
    return Name(member.name, texts, tuple(fields))


def _with_first_download(series: Series) -> Series:
    """Put the one name without a number before those that count from 1 or 2 on.

    Browsers name downloads of one picture radar.png, radar (1).png, radar (2).png.
    """
    for texts, members in series.items():
        followers = [t for t in series if len(t) > 2 and t[0].rstrip(" (_-.") == texts[0]]
        if len(texts) > 2 or len(members) > 1 or len(followers) != 1:
            continue
        (follower,) = followers
        first = min(member.fields[0].value for member in series[follower])
        if len(follower) == 3 and follower[-1] == texts[-1] and first in (1, 2):
            number = Field(str(first - 1), first - 1)
            joined = [Name(members[0].name, follower, (number,)), *series[follower]]
            return {t: joined if t == follower else series[t] for t in series if t != texts}
    return series


def _runs(members: list[Name]) -> Iterator[tuple[list[Name], list[int]]]:
    """Cut one series where fields before the last one that varies name a run, and sort each.

    `left_03_0001` is run 3 of `left`. The last field that varies counts; it goes together with the
    one before where that is a time and the last its milliseconds. Yields each run with the fields
    that count in it; none where nothing does.
    """
    members = as_read(members)
    varying = _varying(members)
    views = [i for i in varying if VIEW.search(members[0].texts[i])]
    others = [i for i in varying if i not in views]
    labels, varying = (views, others) if others else ([], varying)
    counters = _counters(members, varying)
    labels += [i for i in varying if i not in counters]
    distinct = len({tuple(m.fields[i].value for i in labels) for m in members})
    is_code = bool(labels) and 2 * distinct > len(members)  # no run has two frames
    if is_code:
        labels, counters = [], varying

    def label(member: Name) -> tuple[Fraction, ...]:
        return tuple(member.fields[i].value for i in labels)

    def place(member: Name) -> tuple[Fraction, ...]:
        return tuple(member.fields[i].value for i in counters)

    # By name last, so that numbers written twice (1 and 01) do not depend on the file system.
    ordered = sorted(members, key=lambda m: (label(m), place(m), natural_key(m.name)))
    for _, run in groupby(ordered, key=label):
        yield list(run), [] if is_code else counters


def _counters(members: Sequence[Name], varying: list[int]) -> list[int]:
    """The fields, of those that vary, by which frames of one run follow one another."""
    if len(varying) < 2:
        return varying
    *_, before, last = varying
    values = sorted((m.fields[before].value, m.fields[last].value) for m in members)
    # A frame number next to a time: both go up with every frame.
    if all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(values)):
        return [before, last]
    if _is_fraction(members, before, last):
        return [before, last]
    return [last]


def _is_fraction(members: Sequence[Name], before: int, last: int) -> bool:
    """Return whether the last field is a fraction of the seconds in the one before it."""
    widths = {len(m.fields[last].text) for m in members}
    is_time = all(m.fields[before].is_moment or m.fields[before].value >= 10**8 for m in members)
    if not is_time or len(widths) != 1 or not widths <= {3, 6, 9}:
        return False
    return evenness([_seconds(m, before, last) for m in members]) >= STEADY


def _seconds(member: Name, before: int, last: int) -> Fraction:
    text = member.fields[last].text
    return member.fields[before].value + Fraction(int(text), 10 ** len(text))


def _varying(members: Sequence[Name]) -> list[int]:
    columns = zip(*(member.fields for member in members), strict=True)
    return [i for i, column in enumerate(columns) if len({field.value for field in column}) > 1]


def _gaps(run: Sequence[Name], counters: Sequence[int]) -> Iterator[Gap]:
    columns: list[tuple[list[Fraction], str]] = []
    if len(counters) > 1 and _is_fraction(run, *counters):
        columns.append(([_seconds(member, *counters) for member in run], "time"))
    else:
        for i in counters:
            unit = "time" if run[0].fields[i].is_moment else "number"
            columns.append(([member.fields[i].value for member in run], unit))
    found: dict[int, str] = {}
    for values, unit in columns:
        for index, missing in _long_steps(values):
            before, after = run[index - 1].name, run[index].name
            sentence = f"{are(missing, 'frame')} missing by {unit} between {before} and {after}"
            found.setdefault(index, sentence)
    yield from (Gap(index, sentence) for index, sentence in sorted(found.items()))


def _long_steps(values: Sequence[Fraction]) -> Iterator[tuple[int, int]]:
    """Yield each index after a gap, and how many frames are missing there."""
    steps = [b - a for a, b in pairwise(values)]
    rising = [step for step in steps if step > 0]
    if not rising:
        return
    counts = Counter(rising)
    common = min(counts, key=lambda step: (-counts[step], step))
    usual, limit = common, GAP
    if len(rising) > 3 and 2 * counts[common] <= len(rising):
        # Counters mostly repeat one step exactly; times jitter around their median.
        usual = statistics.median(rising)
        even = sum(step <= GAP * usual for step in rising) >= STEADY * len(rising)
        limit = GAP if even else LONG_STEP
    for index, step in enumerate(steps, 1):
        if step > limit * usual:
            yield index, max(1, round(step / usual) - 1)


def _by_first_number(names: Sequence[str]) -> Order:
    """Order names whose texts differ all over by the first number, if that distinguishes them."""
    ordered = sorted(names, key=natural_key)
    # frame_0001_9af3.png: only the first number gives the order, whatever follows it.
    heads = [re.match(r"([^0-9]*)([0-9]+)", name.casefold()) for name in ordered]
    if all(heads) and len({head[1] for head in heads}) == 1:  # type: ignore[index]
        numbers = [Fraction(int(head[2])) for head in heads]  # type: ignore[index]
        if all(a < b for a, b in pairwise(numbers)):
            run = [Name(n, (), (Field("", v),)) for n, v in zip(ordered, numbers, strict=True)]
            return Order(tuple(ordered), tuple(_gaps(run, [0])))
    return Order(tuple(ordered), (), _order_note(ordered))


def _order_note(names: Sequence[str]) -> str:
    if len(names) < 3:
        return ""
    return f"frames are taken in the order {names[0]}, {names[1]}, ..., {names[-1]}"
