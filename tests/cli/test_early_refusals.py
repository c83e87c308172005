"""What can be refused without PyTorch is refused before it is loaded."""

import json
import shlex
import subprocess
import sys
import zipfile

import pytest

from framecast.export.export import EXPORTED_SUFFIXES
from framecast.export.formats import MODEL_FORMATS

SCRIPT = """
import json, sys
from framecast.cli.main import main
for arguments in json.load(sys.stdin):
    code = main(arguments)
    loaded = [name for name in ("torch", "scenedetect", "matplotlib") if name in sys.modules]
    print(json.dumps([code, loaded]), file=sys.stderr)
"""
"""Ends what each command says with a line of its exit code, and what it should not have loaded."""


REFUSALS = [
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
    (2, "--value-scale: expected BLACK", "predict {clip} --colormap radar --value-scale 70"),
    (2, "nothing is in colours", "predict {clip} --labels --value-scale '-10..60 dBZ'"),
    (2, "add --colormap, or leave", "export {clip} -o {tmp}/a.gif --value-scale '-10..60 dBZ'"),
    (2, "--scale: expected BLACK", "evaluate {model} {clip} --scale dBZ"),
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
]
"""Exit code, what the message says, and the command, in which `places` stand."""


@pytest.fixture(scope="module")
def places(clips, grey_run, tmp_path_factory):
    """Paths by the words of a command: a clip, a model, what exists, model files that are none."""
    folder = tmp_path_factory.mktemp("places")
    for name in ("file", "taken.gif", "taken.onnx", "taken.csv"):
        (folder / name).touch()
    (folder / "text.pt").write_text("no model")
    with zipfile.ZipFile(folder / "code.pt", "w") as archive:
        archive.writestr("code/data.pkl", b"cos\nsystem\n(S'echo run'\ntR.")
    with zipfile.ZipFile(folder / "stranger.pt", "w") as archive:
        archive.writestr("stranger/data.pkl", b"\x80\x02}q\x00.")
    return {"clip": clips / "grey.npy", "clips": clips, "model": grey_run, "tmp": folder}


@pytest.fixture(scope="module")
def answers(places):
    """What one process that never loads PyTorch answers to every command, by the command."""
    commands = [
        [word.format(**places) for word in shlex.split(command)] for *_, command in REFUSALS
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(commands),
        check=True,
        capture_output=True,
        text=True,
    )
    said, found = [], {}
    for line in done.stderr.splitlines():
        if line.startswith("["):
            found[REFUSALS[len(found)][-1]] = (*json.loads(line), said)
            said = []
        else:
            said.append(line)
    return found


@pytest.mark.parametrize(("code", "text", "command"), REFUSALS)
def test_what_is_refused_without_pytorch(answers, code, text, command):
    found, loaded, said = answers[command]
    assert (found, loaded) == (code, []), said
    assert said[-1].startswith("error: ") and text in said[-1]


def test_the_suffixes_of_models_are_those_of_the_formats():
    assert tuple(MODEL_FORMATS) == EXPORTED_SUFFIXES
