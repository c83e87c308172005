"""What can be refused without PyTorch is refused before it is loaded."""

import shlex
import subprocess
import sys
import zipfile

import pytest

from framecast.export.export import EXPORTED_SUFFIXES
from framecast.export.formats import MODEL_FORMATS

SCRIPT = """
import sys
from framecast.cli.main import main
code = main(sys.argv[1:])
assert "torch" not in sys.modules, "PyTorch was loaded first"
assert "scenedetect" not in sys.modules and "matplotlib" not in sys.modules
raise SystemExit(code)
"""


@pytest.fixture
def places(clips, grey_run, tmp_path):
    """Paths by the words of a command: a clip, a model, what exists, model files that are none."""
    for name in ("file", "taken.gif", "taken.onnx", "taken.csv"):
        (tmp_path / name).touch()
    (tmp_path / "text.pt").write_text("no model")
    with zipfile.ZipFile(tmp_path / "code.pt", "w") as archive:
        archive.writestr("code/data.pkl", b"cos\nsystem\n(S'echo run'\ntR.")
    with zipfile.ZipFile(tmp_path / "stranger.pt", "w") as archive:
        archive.writestr("stranger/data.pkl", b"\x80\x02}q\x00.")
    return {"clip": clips / "grey.npy", "clips": clips, "model": grey_run, "tmp": tmp_path}


@pytest.mark.parametrize(
    ("code", "text", "command"),
    [
        (3, "no such file", "train missing.mp4"),
        (3, "cannot tell what it is", "train {tmp}/file"),
        (2, "got fast", "train {clip} --set train.lr=fast"),
        (2, "no such file", "train {clip} --config {tmp}/missing.yaml"),
        (3, "too few frames", "train {clip} --context-length 500"),
        (5, "no run folder can be made", "train {clip} --runs {tmp}/file"),
        (4, "not a run folder", "train --resume {tmp}/none"),
        (2, "takes its sources", "train --resume {tmp} {clip}"),
        (2, "no SOURCE given", "train"),
        (3, "no such file", "predict {model} missing.mp4"),
        (2, "cannot write .xyz", "predict {model} {clip} -o {tmp}/a.xyz"),
        (5, "exists already", "predict {model} {clip} -o {tmp}/taken.gif"),
        (5, "there is no folder", "predict {model} {clip} -o {tmp}/none/a.gif"),
        (2, "nothing to predict", "predict {model} {clip} --horizon 0"),
        (4, "no such file", "predict missing.pt {clip}"),
        (4, "no model here", "predict --model {clips} {clip}"),
        (4, "damaged, or not a model", "predict {tmp}/text.pt {clip}"),
        (4, "damaged, or not a model", "predict {tmp}/code.pt {clip}"),
        (4, "not a framecast model", "predict {tmp}/stranger.pt {clip}"),
        (5, "exists already", "export {model} -o {tmp}/taken.onnx"),
        (5, "there is no folder", "export {model} -o {tmp}/none/a.onnx"),
        (2, "cannot become a file of this kind", "export {model} -o {tmp}/a.gif"),
        (2, "--fps is for frames", "export {model} -o {tmp}/a.onnx --fps 3"),
        (4, "no such file", "export missing.pt -o {tmp}/a.onnx"),
        (4, "not a framecast model", "export {tmp}/stranger.pt -o {tmp}/a.pt2"),
        (3, "no such file", "export missing.mp4 -o {tmp}/a.gif"),
        (3, "no such file", "evaluate {model} missing.mp4"),
        (5, "exists already", "evaluate {model} {clip} --csv {tmp}/taken.csv"),
        (2, "nothing to score", "evaluate {model} {clip} --stride 0"),
        (4, "damaged, or not a model", "evaluate {tmp}/text.pt {clip}"),
    ],
)
def test_what_is_refused_without_pytorch(places, code, text, command):
    arguments = [word.format(**places) for word in shlex.split(command)]
    process = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(process, check=False, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == code, done.stderr
    assert last.startswith("error: ") and text in last


def test_the_suffixes_of_models_are_those_of_the_formats():
    assert tuple(MODEL_FORMATS) == EXPORTED_SUFFIXES
