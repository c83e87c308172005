"""Run folders: numbered, never used twice, also when several runs begin at once."""

import csv
import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from framecast.config.loading import load_config
from framecast.errors import CheckpointError, OutputError, ResourceError
from framecast.training.run_folder import RunFolder, fingerprints, new_run


def test_runs_are_numbered_from_one_in_a_folder_that_is_made(tmp_path):
    parent = tmp_path / "deep" / "runs"
    paths = [new_run(parent).path for _ in range(3)]
    assert paths == [parent / f"train-{number}" for number in (1, 2, 3)]
    assert all(path.is_dir() for path in paths)


def test_nothing_that_exists_is_used_again(tmp_path):
    (tmp_path / "train-1").mkdir()
    (tmp_path / "train-1" / "best.pt").write_text("precious")
    (tmp_path / "train-2").write_text("a file")
    (tmp_path / "train-3").symlink_to(tmp_path / "nowhere")
    assert new_run(tmp_path).path == tmp_path / "train-4"
    assert (tmp_path / "train-1" / "best.pt").read_text() == "precious"
    assert (tmp_path / "train-2").read_text() == "a file"


def test_runs_that_begin_at_once_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: new_run(tmp_path / "runs"), range(64)))
    assert {run.path.name for run in runs} == {f"train-{number}" for number in range(1, 65)}


def test_a_place_for_no_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    for parent in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(OutputError, match="no run folder can be made here") as caught:
            new_run(parent)
        assert "--runs" in str(caught.value)
        assert caught.value.exit_code == 5


def test_the_files_of_a_run_have_names_of_their_own(tmp_path):
    run = RunFolder(tmp_path)
    files = [run.best, run.last, run.metrics, run.preview, run.strip, run.settings, run.record]
    files += [run.profile, run.operators, run.trace]
    assert [path.name for path in files] == [
        *("best.pt", "last.pt", "metrics.csv", "preview.gif", "preview.png"),
        *("config.yaml", "run.json", "profile.json", "profile.txt", "profile-trace.json.gz"),
    ]
    assert {path.parent for path in files} == {tmp_path}


def test_settings_and_record_are_read_back(tmp_path):
    run = new_run(tmp_path)
    config = load_config(None, ["model.filters=[7, 5]", "train.lr=3e-4", "data.horizon=4"], {})
    record = {"sources": [{"path": "/a/Zähler", "files": 3, "bytes": 7}], "torch": "2"}
    run.write_settings(config, record)
    assert load_config(run.settings, (), {}) == config
    assert run.read_record() == record


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"sources": [{}]}', '{"sources": 3}'])
def test_a_folder_that_is_no_run_is_a_checkpoint_error(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"not a run folder, run\.json cannot be read"):
        RunFolder(tmp_path).read_record()


def test_settings_that_cannot_be_written_are_an_output_error(tmp_path):
    run = RunFolder(tmp_path / "gone")
    with pytest.raises(OutputError, match=r"config\.yaml: cannot write the settings"):
        run.write_settings(load_config(None, (), {}), {})
    with pytest.raises(OutputError, match=r"metrics\.csv: cannot write the metrics"):
        run.append_metrics({"epoch": 1})


def test_a_full_disk_is_a_resource_error(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = new_run(tmp_path)
    with monkeypatch.context() as at_the_start:
        at_the_start.setattr(Path, "mkdir", full)
        with pytest.raises(ResourceError, match="the disk is full; free some space"):
            new_run(tmp_path / "runs")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ResourceError, match=r"config\.yaml: the disk is full; free some space"):
        run.write_settings(load_config(None, (), {}), {})
    monkeypatch.setattr(csv.DictWriter, "writerow", full)
    with pytest.raises(ResourceError, match=r"metrics\.csv: the disk is full"):
        run.append_metrics({"epoch": 1})


def test_metrics_are_one_csv_with_one_header(tmp_path):
    run = new_run(tmp_path)
    run.append_metrics({"epoch": 1, "loss": 0.25, "note": None})
    RunFolder(run.path).append_metrics({"epoch": 2, "loss": 0.125, "note": "a, b"})
    assert run.metrics.read_bytes().splitlines()[0] == b"epoch,loss,note"
    with run.metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "1", "loss": "0.25", "note": ""},
        {"epoch": "2", "loss": "0.125", "note": "a, b"},
    ]


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
