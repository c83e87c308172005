"""Run folders: whole from the start, never used twice, one trainer at a time, nothing lost."""

import csv
import errno
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from framecast.config.loading import load_config
from framecast.errors import CheckpointError, OutputError, ResourceError
from framecast.prediction import checkpoint
from framecast.prediction.checkpoint import load_checkpoint
from framecast.runtime import output_files
from framecast.training.run_folder import RunFolder, RunWriter, fingerprints, only_trainer
from tests.support.models import random_checkpoint

CONFIG = load_config(None, ["model.filters=[7, 5]", "train.lr=3e-4", "data.horizon=4"], {})
RECORD = {"sources": [{"path": "/a/Zähler", "files": 3, "bytes": 7}], "torch": "2"}
ROWS = [
    {"epoch": 0, "train_loss": None, "note": "a, b"},
    {"epoch": 1, "train_loss": 0.25, "note": "c"},
]
FILES = ["best.pt", "config.yaml", "last.pt", "metrics.csv", "run.json"]
LAST, BEST = random_checkpoint(3, progress={"step": 1}), random_checkpoint(1)


def saved(parent, rows=ROWS):
    """A run folder as the first save makes it."""
    writer = RunWriter(parent, CONFIG, RECORD)
    writer.save(LAST, BEST, rows)
    writer.close()
    return writer.run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_runs_are_numbered_from_one_in_a_folder_that_is_made(tmp_path):
    parent = tmp_path / "deep" / "runs"
    paths = [saved(parent).path for _ in range(3)]
    assert paths == [parent / f"train-{number}" for number in (1, 2, 3)]
    assert names(parent) == ["train-1", "train-2", "train-3"]
    assert all(names(path) == FILES for path in paths)


def test_nothing_is_there_before_the_first_save(tmp_path):
    writer = RunWriter(tmp_path / "runs", CONFIG, RECORD)
    assert writer.run is None
    writer.close()
    assert not any(tmp_path.iterdir())


def test_nothing_that_exists_is_used_again(tmp_path):
    (tmp_path / "train-1").mkdir()
    (tmp_path / "train-2").write_text("a file")
    (tmp_path / "train-3").symlink_to(tmp_path / "nowhere")
    assert saved(tmp_path).path == tmp_path / "train-4"
    assert not any((tmp_path / "train-1").iterdir())
    assert (tmp_path / "train-2").read_text() == "a file"


def test_runs_that_begin_at_once_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: saved(tmp_path / "runs"), range(24)))
    assert {run.path.name for run in runs} == {f"train-{number}" for number in range(1, 25)}
    assert all(names(run.path) == FILES for run in runs)


def test_a_place_for_no_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    for parent in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(OutputError, match="no run folder can be made here") as caught:
            saved(parent)
        assert "--runs" in str(caught.value)
        assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("number", "said"), [("ENOSPC", "the disk is full"), ("EDQUOT", "the disk quota is used up")]
)
@pytest.mark.parametrize(
    "place",
    [(Path, "write_bytes"), (Path, "mkdir"), (checkpoint, "atomic_write")],
    ids=["record", "folder", "model"],
)
def test_a_disk_that_fills_up_at_the_first_save_leaves_nothing(
    tmp_path, monkeypatch, number, said, place
):
    def full(*_, **__):
        raise OSError(getattr(errno, number), "full")

    monkeypatch.setattr(*place, full)
    with pytest.raises(ResourceError, match=rf"runs: {said}; free some space.*--runs"):
        saved(tmp_path / "runs")
    monkeypatch.undo()
    assert not any(tmp_path.iterdir())
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(*place, full)
    with pytest.raises(ResourceError):
        saved(tmp_path / "runs")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"], "the user's own folder stays"


def test_a_disk_that_fills_up_later_leaves_the_files_as_they_were(tmp_path, monkeypatch):
    run = saved(tmp_path)
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = RunWriter(tmp_path, load_config(None, ["train.lr=0.1"], {}), RECORD, run)
    for module, function in ((checkpoint, "save_checkpoint"), (output_files, "_exchange")):
        with monkeypatch.context() as patch:
            patch.setattr(module, function, full)
            with pytest.raises((ResourceError, OSError)):
                writer.save(LAST, BEST, [*ROWS, ROWS[0]])
        after = {path.name: path.read_bytes() for path in run.path.iterdir()}
        assert after == before


def test_settings_record_and_table_are_read_back(tmp_path):
    run = saved(tmp_path)
    assert load_config(run.settings, (), {}) == CONFIG
    assert run.read_record() == RECORD
    assert load_checkpoint(run.last).progress == {"step": 1}
    assert load_checkpoint(run.best).clip["channels"] == 1
    assert run.read_metrics() == [
        {"epoch": "0", "train_loss": "", "note": "a, b"},
        {"epoch": "1", "train_loss": "0.25", "note": "c"},
    ]


def test_what_is_the_same_is_not_written_again(tmp_path):
    run = saved(tmp_path)
    before = {path.name: path.stat().st_ino for path in run.path.iterdir()}
    RunWriter(tmp_path, CONFIG, {"sources": "others"}, run).save(LAST, None, ROWS)
    after = {path.name: path.stat().st_ino for path in run.path.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"last.pt"}


def test_the_table_is_made_from_the_rows_whatever_it_was(tmp_path):
    run = saved(tmp_path)
    whole = run.metrics.read_bytes()
    run.metrics.write_bytes(whole[:-4])
    run.write_metrics(ROWS)
    assert run.metrics.read_bytes() == whole
    run.metrics.unlink()
    run.write_metrics(ROWS)
    assert run.metrics.read_bytes() == whole


def test_a_torn_row_of_an_old_table_is_left_out(tmp_path):
    run = RunFolder(tmp_path)
    assert run.read_metrics() == []
    run.metrics.write_bytes(b"epoch,train_loss,note\r\n0,,x\r\n1,0.2")
    assert run.read_metrics() == [{"epoch": "0", "train_loss": "", "note": "x"}]


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"sources": [{}]}', '{"sources": 3}'])
def test_a_folder_that_is_no_run_is_a_checkpoint_error(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"not a run folder, run\.json cannot be read"):
        RunFolder(tmp_path).read_record()


HOLD = """
import sys
from pathlib import Path
from framecast.training.run_folder import only_trainer
with only_trainer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_has_one_trainer_and_the_second_is_told_which(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(OutputError) as caught, only_trainer(tmp_path):
            pass
        assert caught.value.exit_code == 5
        by = f"process {other.pid} is training" if sys.platform == "linux" else "another process"
        assert f"{tmp_path}: {by}" in str(caught.value)
        other.kill()  # its lock ends with it
    with only_trainer(tmp_path):
        pass
    with only_trainer(tmp_path):
        pass
    with only_trainer(tmp_path / "none"):
        pass


def test_a_new_run_is_held_from_its_first_save_until_it_is_closed(tmp_path):
    writer = RunWriter(tmp_path, CONFIG, RECORD)
    writer.save(LAST, BEST, ROWS)
    with pytest.raises(OutputError, match=f"process {os.getpid()} "), only_trainer(writer.run.path):
        pass
    writer.close()
    with only_trainer(writer.run.path):
        assert json.loads(writer.run.record.read_text()) == RECORD


def test_what_a_killed_first_save_left_goes_with_the_resume(tmp_path):
    run = saved(tmp_path)
    (tmp_path / ".framecast-0123456789ab.part").mkdir()
    (run.path / ".framecast-0123456789ab.part").mkdir()
    with only_trainer(run.path):
        assert names(tmp_path) == ["train-1"]
        assert not [name for name in names(run.path) if name.endswith(".part")]


def test_the_table_has_one_header(tmp_path):
    run = saved(tmp_path)
    with run.metrics.open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    assert len(re.findall("epoch,train_loss,note", run.metrics.read_text())) == 1


def test_fingerprints_notice_files_that_come_go_or_change(tmp_path, monkeypatch):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"12345")
    (folder / "b.png").write_bytes(b"123")
    (tmp_path / "clip.mp4").write_bytes(b"1234567")
    monkeypatch.chdir(tmp_path)
    before = fingerprints([folder.relative_to(tmp_path), tmp_path / "clip.mp4"])
    assert before == [
        {"path": str(folder.resolve()), "files": 2, "bytes": 8},
        {"path": str((tmp_path / "clip.mp4").resolve()), "files": 1, "bytes": 7},
    ]
    assert json.loads(json.dumps(before)) == before
    (folder / "c.png").write_bytes(b"")
    assert fingerprints([folder]) != before[:1]
    (folder / "c.png").unlink()
    assert fingerprints([folder]) == before[:1]
    (folder / "b.png").write_bytes(b"1234")
    assert fingerprints([folder]) != before[:1]
