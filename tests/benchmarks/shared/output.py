"""The files that a benchmark writes: a JSON record, a Markdown table, and the machine it ran on."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from framecast.errors import FramecastError
from framecast.runtime.versions import versions


def machine() -> dict[str, Any]:
    """Versions, processors, and how busy the machine was when the benchmark began."""
    return {
        **versions(),
        "processor": platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def command_line(name: str, about: str | None) -> argparse.ArgumentParser:
    """The command line of a benchmark, explained by its docstring; a folder for its record."""
    made = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--output", type=Path, default=Path("runs", name), metavar="DIR")
    return made


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record and the machine it is from, in place of an earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"machine": machine(), **record}, indent=1, allow_nan=False)
    path.write_text(content + "\n", encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def run(parser: argparse.ArgumentParser, body: Callable[[], None]) -> None:
    """Call `body`; an error of framecast's becomes one line and its exit code."""
    try:
        body()
    except FramecastError as error:
        parser.exit(error.exit_code, f"error: {error}\n")


def count(text: str) -> int:
    """A number of 1 or more from the command line; ValueError for others."""
    if int(text) < 1:
        raise ValueError(f"expected 1 or more, got {text}")
    return int(text)
