"""Trainings and what they are scored on: the ends of the clips seen, or a clip left out."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framecast.errors import FramecastError, UsageError
from framecast.evaluation.report import MODEL

from .clips import CONTEXT, HORIZON, TRAINING_SHARE, Clip, late_part
from .contest import Contest, Rules, hold
from .figure import draw
from .record import goals, machine, verdict, write_json
from .training import Trained, reuse_model, train_model

IN_DOMAIN, LEAVE_OUT = "in-domain", "leave-out"
TASK = (f"data.context_length={CONTEXT}", f"data.horizon={HORIZON}")
"""The only settings of a training that are not default."""

GOALS = {IN_DOMAIN: (0.25, 0.0), LEAVE_OUT: (0.0, 0.15)}
"""What is aimed at: the least gain over the best peer on every clip, and on average."""


@dataclass(frozen=True)
class Match:
    """One training on clips, and the contests that its model is scored in."""

    kind: str
    name: str
    training: tuple[Path, ...]
    contests: tuple[Contest, ...]


def plan_matches(clips: Sequence[Clip], leave_out: bool) -> list[Match]:
    """In-domain: one model of all clips' beginnings; leave out: for each clip, one of the others'.

    In-domain windows have all targets in the clip's end, those of a clip left out lie anywhere.
    """
    matches = [
        Match(
            IN_DOMAIN,
            IN_DOMAIN,
            tuple(clip.early for clip in clips),
            tuple(Contest(clip, late_part(clip.frames)) for clip in clips),
        )
    ]
    if leave_out and len(clips) > 1:
        matches += [
            Match(
                LEAVE_OUT,
                f"{LEAVE_OUT}:{clip.name}",
                tuple(other.whole for other in clips if other is not clip),
                (Contest(clip, range(clip.frames)),),
            )
            for clip in clips
        ]
    return matches


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """The options that all benchmarks of clips share."""
    parser.add_argument(
        "--minutes",
        type=budgets,
        default=[15.0],
        metavar="LIST",
        help="budget of each training, or several such as 1,5,15 (default 15)",
    )
    parser.add_argument(
        "--windows",
        type=count,
        default=8,
        metavar="N",
        help="windows scored of a clip at most, evenly spread (default 8)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="train with a setting that is not default; repeatable",
    )
    parser.add_argument("--keep", action="store_true", help="keep all forecasts as NPY files")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs", name),
        metavar="DIR",
        help="where everything goes; JSON and picture in place of earlier ones "
        f"(default runs/{name})",
    )


def add_match_options(parser: argparse.ArgumentParser) -> None:
    """Which matches are played, and with a model of before."""
    parser.add_argument(
        "--only", action="append", metavar="MATCH", help="only this match; repeatable"
    )
    parser.add_argument(
        "--reuse", type=Path, metavar="MODEL", help="score this model instead of training one"
    )


def budgets(text: str) -> list[float]:
    """ "1,5,15" as minutes; ValueError for what is not above 0."""
    minutes = [float(part) for part in text.split(",")]
    if min(minutes) <= 0:
        raise ValueError(f"a budget is above 0 minutes, got {text}")
    return minutes


def frame_size(text: str) -> tuple[int, int]:
    """ "96x160" as (96, 160); ValueError for anything else."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise ValueError(f"expected HEIGHTxWIDTH, got {text}")
    return int(match[1]), int(match[2])


def count(text: str) -> int:
    """A number of 1 or more; ValueError for others."""
    if int(text) < 1:
        raise ValueError(f"expected 1 or more, got {text}")
    return int(text)


def choose(matches: Sequence[Match], options: argparse.Namespace) -> list[Match]:
    """The matches asked for; UsageError for unknown ones, or several of a model to reuse."""
    names = [match.name for match in matches]
    unknown = [name for name in options.only or () if name not in names]
    if unknown:
        raise UsageError(f"--only {unknown[0]}: there is no such match", remedy=f"use {names}")
    chosen = [match for match in matches if match.name in (options.only or names)]
    if options.reuse and (len(chosen) > 1 or len(options.minutes) > 1):
        raise UsageError(
            "--reuse: a model belongs to one match", remedy=f"name it with --only {names[0]}"
        )
    return chosen


def play(
    name: str,
    options: argparse.Namespace,
    rules: Rules,
    matches: Sequence[Match],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Train and score every match at every budget; JSON is written after each, a picture last.

    `facts` are what the record says beside the task, the machine and the entries.
    """
    record: dict[str, Any] = {
        "benchmark": name,
        "task": {
            "context_length": CONTEXT,
            "horizon": HORIZON,
            "training_share": TRAINING_SHARE,
            "windows_at_most": rules.windows,
            "scored": "frames rounded to pixels; MSE of pixels in 0..1, means over windows; "
            "in-domain contexts may reach back into the share that training saw, targets never; no "
            "window crosses a scene cut, unless it is trained with data.scene_cuts=false",
            **facts,
        },
        "machine": machine(),
        "entries": [],
        "goals": [],
    }
    for minutes in options.minutes:
        for match in matches:
            print(f"{match.name}, {minutes:g} minutes", file=sys.stderr, flush=True)
            played = play_match(match, match.name, minutes, rules, options, options.reuse)
            record["entries"].append(played)
            record["goals"] = list(_goals(record["entries"], rules))
            write_json(options.output / f"{name}.json", record)
    title = f"CSI, pixels > {rules.threshold}" if rules.threshold else None
    draw(options.output / f"{name}.png", record["entries"], title)
    return record


def play_match(
    match: Match,
    label: str,
    minutes: float,
    rules: Rules,
    options: argparse.Namespace,
    reuse: Path | None = None,
) -> dict[str, Any]:
    """Train the model of a match, or reuse one, and score it on every clip of it."""
    if reuse:
        trained = reuse_model(reuse)
        minutes = trained.record["settings"]["train"]["minutes"]
    else:
        settings = [*TASK, *options.settings]
        trained = train_model(match.training, minutes, settings, options.output / "models")
    title = f"{label}, {minutes:g} minutes"
    slug = re.sub(r"[^a-z0-9.]+", "-", title.lower())
    pages = options.output / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    clips = []
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        frames = options.output / "frames" if options.keep else Path(scratch)
        for contest in match.contests:
            place = f"{slug}-{contest.clip.name}"
            page = pages / f"{place}.html"
            clips.append(hold(contest, trained.model, rules, frames / place, page))
    return {
        "title": title,
        "kind": match.kind,
        "match": match.name,
        "minutes": minutes,
        "model": _within(trained, options.output),
        "training": trained.record,
        "clips": clips,
    }


def _within(trained: Trained, output: Path) -> str:
    """The model's path from the output folder; of a model from elsewhere its name alone."""
    path, folder = trained.model.resolve(), output.resolve()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def _goals(entries: Sequence[dict[str, Any]], rules: Rules) -> Iterator[dict[str, Any]]:
    """The goals of each kind of match at each budget, over all of its clips."""
    groups = dict.fromkeys((entry["kind"], entry["minutes"]) for entry in entries)
    for kind, minutes in groups:
        clips = [
            clip
            for entry in entries
            if (entry["kind"], entry["minutes"]) == (kind, minutes)
            for clip in entry["clips"]
        ]
        each, mean = GOALS[kind]
        reached = goals(clips, each, mean, csi=kind == IN_DOMAIN and rules.threshold is not None)
        yield {"of": f"{kind}, {minutes:g} minutes", "clips": len(clips), "reached": reached}


def show(record: dict[str, Any]) -> None:
    """Print the verdicts and which goals were reached."""
    for entry in record["entries"]:
        for clip in entry["clips"]:
            print(verdict(entry["title"], clip))
            print(f"  {clip['sentence']}")
            for name in filter(lambda name: name.startswith(f"{MODEL} "), clip["scores"]):
                found = clip["summary"]
                csi = "" if found["csi"][name] is None else f", CSI {found['csi'][name]:.3f}"
                print(f"  {name}: MSE {found['mse_255'][name]:.1f}{csi}")
    for group in record["goals"]:
        for goal, reached in group["reached"].items():
            print(f"{group['of']}, {goal}: {'reached' if reached else 'NOT reached'}")


def run(parser: argparse.ArgumentParser, main: Callable[[], None]) -> None:
    """Call `main`; an error of framecast's becomes one line and its exit code."""
    try:
        main()
    except FramecastError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
