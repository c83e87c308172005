"""What can be refused without PyTorch is refused before it is loaded."""

import subprocess
import sys
import zipfile

import pytest

from framecast.export.export import EXPORTED_SUFFIXES
from framecast.export.formats import MODEL_FORMATS
from tests.support.tiny_runs import TINY

SCRIPT = """
import sys
from framecast.cli.main import main
code = main(sys.argv[1:])
assert "torch" not in sys.modules, "PyTorch was loaded first"
assert "scenedetect" not in sys.modules and "matplotlib" not in sys.modules
raise SystemExit(code)
"""


def refused(*arguments):
    """Exit code and error of a command that must not load PyTorch."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
    )
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("error: "), done.stderr
    return done.returncode, lines[-1].removeprefix("error: ")


@pytest.fixture
def broken(tmp_path):
    """Model files that are none, by what is wrong with them."""
    (tmp_path / "text.pt").write_text("no model")
    with zipfile.ZipFile(tmp_path / "code.pt", "w") as archive:
        archive.writestr("code/data.pkl", b"cos\nsystem\n(S'echo run'\ntR.")
    with zipfile.ZipFile(tmp_path / "stranger.pt", "w") as archive:
        archive.writestr("stranger/data.pkl", b"\x80\x02}q\x00.")
    return tmp_path


def test_train_refuses_paths_settings_and_outputs(clips, tmp_path):
    (tmp_path / "file").touch()
    clip = clips / "grey.npy"
    for code, arguments in (
        (3, ["missing.mp4"]),
        (3, [tmp_path / "file"]),
        (2, [clip, "--set", "train.lr=fast"]),
        (2, [clip, "--config", tmp_path / "missing.yaml"]),
        (3, [clip, "--context-length", "500"]),
        (5, [clip, "--runs", tmp_path / "file"]),
        (4, ["--resume", tmp_path / "none"]),
        (2, ["--resume", tmp_path, clip]),
        (2, []),
    ):
        assert refused("train", *arguments, *TINY[:2])[0] == code, arguments


def test_predict_refuses_sources_outputs_requests_and_models(clips, grey_run, tmp_path, broken):
    clip, taken = clips / "grey.npy", tmp_path / "taken.gif"
    taken.touch()
    for code, text, arguments in (
        (3, "no such file", [grey_run, "missing.mp4"]),
        (2, "cannot write .xyz", [grey_run, clip, "-o", tmp_path / "a.xyz"]),
        (5, "exists already", [grey_run, clip, "-o", taken]),
        (5, "there is no folder", [grey_run, clip, "-o", tmp_path / "none" / "a.gif"]),
        (2, "nothing to predict", [grey_run, clip, "--horizon", "0"]),
        (4, "no such file", ["missing.pt", clip]),
        (4, "no model here", ["--model", clips, clip]),
        (4, "damaged, or not a model", [broken / "text.pt", clip]),
        (4, "damaged, or not a model", [broken / "code.pt", clip]),
        (4, "not a framecast model", [broken / "stranger.pt", clip]),
    ):
        found = refused("predict", *arguments)
        assert found[0] == code, (arguments, found)
        assert text in found[1]


def test_export_refuses_outputs_requests_and_models(clips, grey_run, tmp_path, broken):
    taken = tmp_path / "taken.onnx"
    taken.touch()
    for code, text, arguments in (
        (5, "exists already", [grey_run, "-o", taken]),
        (5, "there is no folder", [grey_run, "-o", tmp_path / "none" / "a.onnx"]),
        (2, "cannot become a file of this kind", [grey_run, "-o", tmp_path / "a.gif"]),
        (2, "--fps is for frames", [grey_run, "-o", tmp_path / "a.onnx", "--fps", "3"]),
        (4, "no such file", ["missing.pt", "-o", tmp_path / "a.onnx"]),
        (4, "not a framecast model", [broken / "stranger.pt", "-o", tmp_path / "a.pt2"]),
        (3, "no such file", ["missing.mp4", "-o", tmp_path / "a.gif"]),
    ):
        found = refused("export", *arguments)
        assert found[0] == code, (arguments, found)
        assert text in found[1]


def test_the_suffixes_of_models_are_those_of_the_formats():
    assert tuple(MODEL_FORMATS) == EXPORTED_SUFFIXES


def test_evaluate_refuses_sources_outputs_and_models(clips, grey_run, tmp_path, broken):
    clip, taken = clips / "grey.npy", tmp_path / "taken.csv"
    taken.touch()
    for code, text, arguments in (
        (3, "no such file", [grey_run, "missing.mp4"]),
        (5, "exists already", [grey_run, clip, "--csv", taken]),
        (2, "nothing to score", [grey_run, clip, "--stride", "0"]),
        (4, "damaged, or not a model", [broken / "text.pt", clip]),
    ):
        found = refused("evaluate", *arguments)
        assert found[0] == code, (arguments, found)
        assert text in found[1]
