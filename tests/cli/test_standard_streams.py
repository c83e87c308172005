"""Standard streams as shells leave them: no traceback, and the exit code of the work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from framecast.video.writers.png import encode_png
from tests.support.children import without_progress

PROGRAM = [sys.executable, "-m", "framecast"]
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def shell(line, **options):
    """Run a line of the shell in which `framecast` stands for the program."""
    line = line.replace("framecast", " ".join(PROGRAM))
    options.setdefault("env", ENVIRONMENT)
    done = subprocess.run(
        ["sh", "-c", line], check=False, capture_output=True, timeout=300, **options
    )
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("command", ["config show", "--help", "--version"])
def test_a_full_disk_behind_standard_output_is_one_sentence(command):
    code, _, err = shell(f"framecast {command} > /dev/full")
    assert (code, err) == (9, "error: standard output: the disk is full; free some space\n")


def test_a_reader_that_has_seen_enough_is_no_error():
    code, out, err = shell("{ framecast config show; echo $? >&2; } | head -1")
    assert (code, out, err) == (0, b"data:\n", "0\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_end_the_work(closed, tmp_path):
    np.save(tmp_path / "clip.npy", np.zeros((3, 8, 9), np.uint8))
    line = f"framecast export clip.npy -o out.npy {closed}"
    code, _, err = shell(line, cwd=tmp_path)
    assert (code, err) == (0, "" if "2>&-" in closed else "note: read back: 3 frames, all exact\n")
    assert np.load(tmp_path / "out.npy").shape == (3, 8, 9, 1)


def test_frames_on_standard_output_are_all_that_is_there(tmp_path):
    np.save(tmp_path / "clip.npy", np.zeros((3, 8, 9), np.uint8))
    for more in ("", "-o copy.npy"):
        code, out, _ = shell(f"framecast export clip.npy -o - {more}", cwd=tmp_path)
        assert code == 0
        assert out == 3 * encode_png(np.zeros((8, 9, 1), np.uint8))


def test_closed_standard_input_is_an_input_without_frames(grey_run, tmp_path):
    code, _, err = shell(f"framecast predict {grey_run} - --stream -o {tmp_path}/a.npy <&-")
    assert code == 3
    assert without_progress(err) == [
        "error: standard input: ends before a forecast can be made; send two frames or more"
    ]


def test_a_name_that_the_encoding_lacks_is_escaped():
    env = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    code, out, err = shell("framecast inspect-shapes день.npy", env=env)
    assert (code, out) == (3, b"")
    assert err.startswith("error: \\u0434\\u0435\\u043d\\u044c.npy: no such file")
    assert err.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_whatever_the_encoding_lacks(encoding, tmp_path):
    np.save(tmp_path / "ü😀.npy", np.zeros((30, 8, 9), np.uint8))
    env = {**ENVIRONMENT, "PYTHONIOENCODING": encoding}
    code, out, _ = shell("framecast inspect-shapes *.npy --json", env=env, cwd=tmp_path)
    assert code == 0
    assert json.loads(out)["sections"][0]["tensors"][0]["name"] == "ü😀.npy"


@pytest.mark.parametrize("columns", ["0", "00", ""])
def test_a_terminal_of_no_width_is_one_of_usual_width(columns):
    code, out, _ = shell("framecast inspect-shapes", env={**ENVIRONMENT, "COLUMNS": columns})
    assert code == 0
    assert b"parameters" in out


def test_a_working_folder_that_is_gone_is_one_sentence(tmp_path):
    (tmp_path / "here").mkdir()
    line = "rmdir ../here; framecast export clip.npy -o out.gif"
    code, out, err = shell(line, cwd=tmp_path / "here")
    assert (code, out) == (2, b"")
    assert err == "error: the working folder is gone; change to a folder that exists\n"
