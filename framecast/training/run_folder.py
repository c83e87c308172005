"""Run folders: a new numbered one for each training, never an old one overwritten."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast.config.loading import Config, to_yaml
from framecast.errors import CheckpointError, FramecastError, OutputError, ResourceError
from framecast.runtime.folder_lock import lock_folder, lock_holder, unlock_folder
from framecast.runtime.output_files import full_disk, remove_leftovers, workplace, write_whole

if TYPE_CHECKING:
    from framecast.prediction.checkpoint import Checkpoint

SETTINGS_HEADER = """\
# The settings of this run, to read, or to copy for another with --config. A run is resumed with
# those in last.pt, changed by flags.
"""


class RunFolder:
    """The files of one training run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The checkpoints with the lowest held-out error, and with what resuming needs
        self.best, self.last = path / "best.pt", path / "last.pt"
        # A row for each epoch, and the same as curves
        self.metrics, self.curves = path / "metrics.csv", path / "curves.png"
        # Input, prediction, truth and error of a held-out window, playing and still
        self.preview, self.strip = path / "preview.gif", path / "preview.png"
        self.settings = path / "config.yaml"
        # Sources, their fingerprints and the versions of what ran
        self.record = path / "run.json"

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

    def source_paths(self) -> list[Path]:
        """The clips that the run is trained on; raises what `read_record` raises."""
        return [Path(row["path"]) for row in self.read_record()["sources"]]

    def write_settings(self, config: Config) -> None:
        """Write the resolved settings unless they stand there; raises what `write_whole` raises."""
        _write_changed(self.settings, SETTINGS_HEADER + to_yaml(config), "settings file")

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a row for each epoch unless they stand there; raises what `write_whole` raises."""
        text = io.StringIO()
        # Rows of an earlier framecast, before a resume, may lack the last columns.
        writer = csv.DictWriter(text, fieldnames=list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)
        _write_changed(self.metrics, text.getvalue(), "table")

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows of metrics.csv as text; none where it cannot be read."""
        try:
            with self.metrics.open(newline="", encoding="utf-8") as file:
                return [row for row in csv.DictReader(file) if None not in row.values()]
        except (OSError, ValueError, csv.Error):
            return []


@contextmanager
def only_trainer(run: Path | None) -> Iterator[None]:
    """Be the one process that trains this run; OutputError while another one is.

    None is a run that nobody else has. Removes what a process left that was killed while it wrote
    the run, or before the run appeared.
    """
    if run is None:
        yield
        return
    try:
        lock = lock_folder(run)
    except BlockingIOError as error:
        holder = lock_holder(run)
        by = "another process trains" if holder is None else f"process {holder} is training"
        raise OutputError(
            f"{run}: {by} this run already", remedy="wait until it ends, or stop it with Ctrl-C"
        ) from error
    except OSError:  # no such folder, which is reported when it is read
        lock = None
    try:
        for folder in (run.parent, run):
            remove_leftovers(folder)
        yield
    finally:
        unlock_folder(lock)


class RunWriter:
    """Keeps a run on disk. A new run's folder appears, whole, with the first save.

    So a training that is stopped before has left nothing, and one that is stopped later can be
    resumed. `run` is None until then. A new folder is locked until `close`.
    """

    def __init__(
        self, runs: Path, config: Config, record: Mapping[str, Any], run: RunFolder | None = None
    ) -> None:
        """Write below `runs`, or into the `run` that is resumed, which keeps its record."""
        self.runs, self.config, self.record, self.run = runs, config, record, run
        self.lock: int | None = None

    def save(
        self, last: Checkpoint, best: Checkpoint | None, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Save where the run stands, and the best model where there is a new one.

        Raises ResourceError when the disk is full, OutputError when it refuses otherwise; each
        file is the old one or the new one.
        """
        if self.run is not None:
            self._write(self.run, last, best, rows)
            return
        known = self.runs.exists()
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            with workplace(self.runs) as place:
                temporary = RunFolder(place / "run")
                temporary.path.mkdir()
                self.lock = lock_folder(temporary.path)
                write_whole(
                    temporary.record, json.dumps(self.record, indent=2) + "\n", "run record"
                )
                self._write(temporary, last, best, rows)
                self.run = RunFolder(_numbered(temporary.path, self.runs))
        except (OSError, FramecastError) as error:
            if not known:
                with suppress(OSError):  # another run has begun in it
                    self.runs.rmdir()
            # Of files it has become a ResourceError already, with a temporary name.
            if full := full_disk(error.__cause__ or error):
                raise ResourceError(
                    f"{self.runs}: {full}",
                    remedy="free some space, or give another place with --runs",
                ) from error
            raise _no_run_folder(self.runs, getattr(error, "strerror", None) or error) from error

    def close(self) -> None:
        """Let other processes train the run."""
        unlock_folder(self.lock)
        self.lock = None

    def _write(
        self,
        run: RunFolder,
        last: Checkpoint,
        best: Checkpoint | None,
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        from framecast.prediction.checkpoint import save_checkpoint  # noqa: PLC0415  (loads torch)

        # The state comes after the model it calls the best one, and before the table that is made
        # from it: whichever of these writes is the last, the run can be resumed from there.
        if best is not None:
            save_checkpoint(run.best, best)
        save_checkpoint(run.last, last)
        run.write_metrics(rows)
        run.write_settings(self.config)


def check_runs_folder(parent: Path) -> None:
    """Raise OutputError now if no run folder can be made in `parent`."""
    above = (parent, *parent.absolute().parents)
    try:
        nearest = next(folder for folder in above if folder.exists())
    except OSError as error:
        raise _no_run_folder(parent, error.strerror) from error
    if not nearest.is_dir():
        raise _no_run_folder(parent, f"{nearest} is a file")
    if not os.access(nearest, os.W_OK):
        raise _no_run_folder(parent, f"{nearest} is read-only")


def _write_changed(path: Path, text: str, kind: str) -> None:
    """Write a text file, except where it is there and the same."""
    with suppress(OSError):
        if path.read_bytes() == text.encode():
            return
    write_whole(path, text, kind)


def _numbered(temporary: Path, parent: Path) -> Path:
    """Move a folder to the first free of `parent`/train-1, train-2, ..., and return its place."""
    places = (parent / f"train-{number}" for number in count(1))
    while True:
        place = next(place for place in places if not os.path.lexists(place))
        try:
            return temporary.rename(place)
        except OSError:
            if not os.path.lexists(place):  # else another run was faster
                raise


def _no_run_folder(parent: Path, reason: object) -> OutputError:
    return OutputError(
        f"{parent}: no run folder can be made here ({reason})",
        remedy="give a writable folder with --runs",
    )


def fingerprints(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Path, files and bytes of each source, to notice on resuming that it is another one."""
    # Sizes are enough to notice a mix-up, and hashing gigabytes would delay every start.
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
