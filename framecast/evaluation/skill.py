"""From errors per window to the skill score, its confidence interval and a summary.

Windows overlap in time, so their errors are not independent. Intervals are those of a circular
block bootstrap (Politis & Romano, 1992): blocks of consecutive windows, as many in a block as
predict the same frames, are drawn with replacement 2,000 times; 95 % of those skills lie inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from framecast.data.windows import Window
from framecast.runtime.text import are

# With 2,000 draws the ends of a 95 % interval of normal errors are themselves uncertain by 1.5 % of
# its width
DRAWS, AT_ONCE = 2000, 50
COVERAGE = 0.95

# What an interval needs: fewer would only show which windows happened to be scored
FEWEST_BLOCKS, FEWEST_WINDOWS = 2, 8

WITH_ARTICLE = ("last frame", "context mean", "linear trend")


@dataclass(frozen=True)
class Skill:
    """1 - MSE / MSE of the reference, None where the reference makes no error.

    `low` and `high` bound its 95 % interval; None where the windows are too few for one.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def says(self) -> str:
        """`better` or `worse` where the interval, if there is one, excludes 0; else `no better`."""
        if self.value is None:
            return "no better"
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        return "better" if low > 0 else "worse" if high < 0 else "no better"


@dataclass(frozen=True)
class Comparison:
    """A forecaster compared with the best of the baselines at each lead time.

    `references` names that baseline per lead, `skills` is against it; `overall` is over all leads
    against `reference`, the baseline with the lowest mean error. `block` is the windows in a block.
    """

    references: tuple[str, ...]
    skills: tuple[Skill, ...]
    reference: str
    overall: Skill
    block: int
    sentence: str


def compare(
    model_NT: np.ndarray,
    baselines_NT: Mapping[str, np.ndarray],
    windows: Sequence[Window],
    covered: int,
    seed: int = 0,
) -> Comparison:
    """Compare summed squared errors (windows, lead times) of a model and of baselines.

    `windows` are those of the rows, in order of clip and time; each predicts `covered` frames of
    the time axis. The baselines that are best on these windows are the references in every draw.
    """
    totals = {name: errors_NT.sum(axis=0) for name, errors_NT in baselines_NT.items()}
    leads = range(model_NT.shape[1])
    references = tuple(min(totals, key=lambda name: totals[name][lead]) for lead in leads)
    reference = min(totals, key=lambda name: totals[name].sum())
    # The one to beat is the best at each lead time, which may be another baseline
    best_NT = np.stack([baselines_NT[references[lead]][:, lead] for lead in leads], axis=1)
    block = block_length(windows, covered)
    weights = _draws(len(windows), block, seed)
    skills = tuple(_skill(model_NT[:, [lead]], best_NT[:, [lead]], weights) for lead in leads)
    overall = _skill(model_NT, baselines_NT[reference], weights)
    sentence = _sentence(model_NT, best_NT, references, skills, weights)
    if weights is None:
        sentence += f"; {are(len(windows), 'window')} too few to tell it from chance"
    return Comparison(references, skills, reference, overall, block, sentence)


def block_length(windows: Sequence[Window], covered: int) -> int:
    """The most consecutive windows that predict a common frame: of one clip, `covered` apart."""
    longest = 1
    first = 0
    for last, window in enumerate(windows):
        while windows[first].clip != window.clip or window.start - windows[first].start >= covered:
            first += 1
        longest = max(longest, last - first + 1)
    return longest


def ranges(leads: Sequence[int]) -> str:
    """Lead times in words: [1, 2, 5] is `1-2, 5`."""
    parts = []
    # Consecutive numbers have the same distance from their places in the list
    for _, run in groupby(enumerate(leads), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        parts.append(f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}")
    return ", ".join(parts)


def _draws(count: int, block: int, seed: int) -> np.ndarray | None:
    """How often each window is in each draw (draws, windows); None where there are too few."""
    if count < max(FEWEST_WINDOWS, FEWEST_BLOCKS * block):
        return None
    generator = np.random.default_rng(seed)
    # 2 bytes a count: 40 MB for 10,000 windows
    weights = np.empty((DRAWS, count), np.uint16)
    for draw in range(DRAWS):
        # Circular: a block that runs past the last window continues with the first one, so that
        # every window is drawn equally often.
        starts = generator.integers(count, size=-(-count // block))
        picked = (starts[:, None] + np.arange(block)).ravel()[:count] % count
        weights[draw] = np.bincount(picked, minlength=count)
    return weights


def _skill(model_NT: np.ndarray, reference_NT: np.ndarray, weights: np.ndarray | None) -> Skill:
    """Over all lead times of the columns given."""
    model_N, reference_N = model_NT.sum(axis=1), reference_NT.sum(axis=1)
    if reference_N.sum() == 0:
        return Skill(None)
    # A ratio of sums: in a mean of ratios, windows in which hardly anything moves would decide
    value = float(1 - model_N.sum() / reference_N.sum())
    if weights is None:
        return Skill(value)
    # In parts: all draws of all windows as float64 would take gigabytes for a long clip.
    sums = np.concatenate(
        [
            weights[start : start + AT_ONCE].astype(np.float64)
            @ np.stack([model_N, reference_N], axis=1)
            for start in range(0, DRAWS, AT_ONCE)
        ]
    )
    # A draw in which the reference makes no error has an undefined skill.
    drawn = sums[sums[:, 1] > 0]
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(1 - drawn[:, 0] / drawn[:, 1], [tail, 1 - tail])
    return Skill(value, float(low), float(high))


def _sentence(
    model_NT: np.ndarray,
    best_NT: np.ndarray,
    references: Sequence[str],
    skills: Sequence[Skill],
    weights: np.ndarray | None,
) -> str:
    clauses, named = [], ""
    for word in ("better", "no better", "worse"):
        leads = [lead for lead, skill in enumerate(skills) if skill.says == word]
        if not leads:
            continue
        name = _name([references[lead] for lead in leads], leads)
        than = "" if name == named else f" than {name}"
        named = name
        where = f" at {_leads(leads, len(skills), named=bool(clauses))}"
        skill = _skill(model_NT[:, leads], best_NT[:, leads], weights)
        clauses.append(f"{word}{than}{where}{_by(word, skill)}")
    return ", ".join(clauses)


def _name(references: Sequence[str], leads: Sequence[int]) -> str:
    """The baseline, or which is the best one where."""
    names = list(dict.fromkeys(references))
    if len(names) == 1:
        return f"the {names[0]}" if names[0] in WITH_ARTICLE else names[0]
    where = {
        name: [lead + 1 for lead, best in zip(leads, references, strict=True) if best == name]
        for name in names
    }
    parts = (f"{name} at {ranges(numbers)}" for name, numbers in where.items())
    return f"the best baseline ({', '.join(parts)})"


def _leads(leads: Sequence[int], horizon: int, named: bool) -> str:
    numbers = ranges([lead + 1 for lead in leads])
    if named:
        return numbers
    if len(leads) == horizon > 1:
        return f"all leads {numbers}"
    return f"lead{'s' if len(leads) > 1 else ''} {numbers}"


def _by(word: str, skill: Skill) -> str:
    if skill.value is None:
        return ", which makes no error"
    if word == "no better":
        return ""
    interval = ""
    if skill.low is not None and skill.high is not None:
        # Half the width, in percent
        interval = f" ± {50 * (skill.high - skill.low):.0f} %"
    return f" (by {100 * abs(skill.value):.0f} %{interval})"
