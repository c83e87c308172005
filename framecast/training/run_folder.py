"""Run folders: a new numbered one for each training, never an old one overwritten."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from framecast.config.loading import Config, to_yaml
from framecast.errors import CheckpointError, OutputError
from framecast.runtime.output_files import write_error, write_whole


@dataclass(frozen=True)
class RunFolder:
    """The files of one training run."""

    path: Path

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation error."""
        return self.path / "best.pt"

    @property
    def last(self) -> Path:
        """The newest checkpoint, with what resuming needs."""
        return self.path / "last.pt"

    @property
    def metrics(self) -> Path:
        """One CSV row per epoch."""
        return self.path / "metrics.csv"

    @property
    def preview(self) -> Path:
        """Input, prediction, truth and error of a validation window, side by side."""
        return self.path / "preview.gif"

    @property
    def strip(self) -> Path:
        """The same window as one still picture."""
        return self.path / "preview.png"

    @property
    def settings(self) -> Path:
        """The settings of the run, resolved, as YAML."""
        return self.path / "config.yaml"

    @property
    def record(self) -> Path:
        """Sources, their fingerprints and the versions of what ran, as JSON."""
        return self.path / "run.json"

    @property
    def profile(self) -> Path:
        """Where the time went, by phase of the loop, as JSON."""
        return self.path / "profile.json"

    @property
    def operators(self) -> Path:
        """The operators that took most of a few steps, as a table."""
        return self.path / "profile.txt"

    @property
    def trace(self) -> Path:
        """Every operator of those steps, for Perfetto or chrome://tracing."""
        return self.path / "profile-trace.json.gz"

    def write_settings(self, config: Config, record: Mapping[str, Any]) -> None:
        """Write the resolved settings (config.yaml) and the record (run.json).

        Raises ResourceError when the disk is full, OutputError when it refuses otherwise.
        """
        write_whole(self.settings, to_yaml(config), "settings")
        write_whole(self.record, json.dumps(record, indent=2) + "\n", "run record")

    def read_record(self) -> dict[str, Any]:
        """The contents of run.json; CheckpointError when this is no run folder."""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            [row["path"] for row in record["sources"]]
            return record
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"{self.path}: not a run folder, run.json cannot be read",
                remedy="give a folder that `framecast train` wrote, such as runs/train-1",
            ) from error

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one row to metrics.csv, with the header first in a new file.

        Raises ResourceError when the disk is full, OutputError when it refuses otherwise.
        """
        try:
            with self.metrics.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, fieldnames=list(row))
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise write_error(self.metrics, "metrics", error) from error


def check_runs_folder(parent: Path) -> None:
    """Raise OutputError now if `new_run` will not be able to make a folder in `parent`."""
    nearest = next(folder for folder in (parent, *parent.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise _no_run_folder(parent, f"{nearest} is a file")
    if not os.access(nearest, os.W_OK):
        raise _no_run_folder(parent, f"{nearest} is read-only")


def new_run(parent: Path) -> RunFolder:
    """Create the first free of `parent`/train-1, train-2, ...

    Raises ResourceError when the disk is full, OutputError when it refuses otherwise.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            try:
                (parent / f"train-{number}").mkdir()
            except FileExistsError:
                continue
            break
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise write_error(parent, "run folder", error) from error
        raise _no_run_folder(parent, error.strerror) from error
    return RunFolder(parent / f"train-{number}")


def _no_run_folder(parent: Path, reason: str) -> OutputError:
    return OutputError(
        f"{parent}: no run folder can be made here ({reason})",
        remedy="give a writable folder with --runs",
    )


def fingerprints(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Path, files and bytes of each source, to notice on resuming that it is another one."""
    rows = []
    for path in paths:
        files = [entry for entry in path.iterdir() if entry.is_file()] if path.is_dir() else [path]
        stats = [file.stat() for file in files]
        rows.append(
            {
                "path": str(path.resolve()),
                "files": len(files),
                "bytes": sum(stat.st_size for stat in stats),
            }
        )
    return rows
