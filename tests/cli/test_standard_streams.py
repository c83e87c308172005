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


@pytest.mark.parametrize(
    ("package", "error", "said"),
    [
        (
            "cv2",
            'ImportError("libGL.so.1: cannot open shared object file: No such file", name="cv2")',
            "libGL.so.1, which cv2 needs, is not on this machine; run pip install "
            "--force-reinstall --no-deps opencv-python-headless",
        ),
        (
            "torch",
            'OSError("libcudnn.so.9: cannot open shared object file: No such file")',
            "libcudnn.so.9, which a package needs, is not on this machine; install it with the "
            "system's package manager",
        ),
    ],
)
def test_a_library_that_the_system_lacks_is_one_sentence(package, error, said, tmp_path):
    (tmp_path / f"{package}.py").write_text(f"raise {error}")
    np.save(tmp_path / "clip.npy", np.zeros((9, 16, 16), np.uint8))
    environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    line = "framecast predict clip.npy -o a.gif"
    code, out, err = shell(line, cwd=tmp_path, env=environment)
    assert (code, out, err) == (1, b"", f"error: {said}\n")
    assert not (tmp_path / "a.gif").exists()


def test_a_programming_error_in_an_import_keeps_its_traceback(tmp_path):
    (tmp_path / "cv2.py").write_text("from numpy import no_such_name")
    environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    code, _, err = shell("framecast predict . -o a.gif", cwd=tmp_path, env=environment)
    assert code == 1
    assert "Traceback" in err
    assert "no_such_name" in err
