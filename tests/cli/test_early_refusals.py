"""What can be refused without PyTorch is refused before it is loaded."""

import json
import shlex
import shutil
import subprocess
import sys
import zipfile

import pytest

from framecast.export.formats import MODEL_FORMATS
from framecast.export.request import KINDS
from framecast.prediction.checkpoint import save_checkpoint
from tests.support.models import random_checkpoint

SCRIPT = """
import json, sys
from framecast.cli.main import main
for arguments in json.load(sys.stdin):
    code = main(arguments)
    loaded = [name for name in ("torch", "scenedetect", "matplotlib") if name in sys.modules]
    print(json.dumps([code, loaded]), file=sys.stderr)
"""
"""Ends what each command says with a line of its exit code, and what it should not have loaded."""


RADAR = "--colormap radar"
"""The colours that need no matplotlib."""

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
    (5, "a.step.onnx exists already", "export {model} --step -o {tmp}/a.onnx"),
    (5, "there is no folder", "export {model} -o {tmp}/none/a.onnx"),
    (2, "cannot become a file of this kind", "export {model} -o {tmp}/a.gif"),
    (2, "--fps is for frames", "export {model} -o {tmp}/a.onnx --fps 3"),
    (4, "no such file", "export missing.pt -o {tmp}/a.onnx"),
    (4, "not a framecast model", "export {tmp}/stranger.pt -o {tmp}/a.pt2"),
    (3, "no such file", "export missing.mp4 -o {tmp}/a.gif"),
    (3, "no such file", "evaluate {model} missing.mp4"),
    (5, "exists already", "evaluate {model} {clip} --csv {tmp}/taken.csv"),
    (2, "nothing to score", "evaluate {model} {clip} --stride 0"),
    (2, "device gpu: unknown", "predict {clip} --device gpu"),
    (2, "use 64 or more", "predict {clip} --tile 3"),
    (2, "leave out --tile", "predict {tied} {clip} --tile 64"),
    (2, "--match nan: out of range", "predict {clip} --match nan"),
    (2, "got '4y4'", "predict - --stream --size 4y4"),
    (2, "cameras have numbers", "predict camera:front --stream"),
    (2, "a frame rate of 0.002", "predict {clip} {clips}/color.mp4 --fps 0"),
    (2, "--range: data.range: expected", "predict {clip} --range 9-1 --keep-readable"),
    (2, "a low value below", "predict {clip} {clips}/color.mp4 --range 9..1"),
    (2, "--axes: data.axes: expected", "predict {clip} --axes QRS --keep-readable"),
    (2, "in dBZ is not known", f"predict {{clip}} {RADAR}"),
    (2, "these are in colour", f"predict {{clips}}/color.mp4 {RADAR} --value-scale '0..70 dBZ'"),
    (3, "1001 before the start", "predict {clip} --start 1001"),
    (3, "510 of truth", "predict {clip} --compare --horizon 510"),
    (4, "convert the frames", "predict {model} {clips}/color.mp4 --color rgb"),
    (2, "device tpu: unknown", "evaluate {model} {clip} --device tpu"),
    (2, "--match 1.5: out of range", "evaluate {model} {clip} --match 1.5"),
    (2, "threshold high: cannot", "evaluate {model} {clip} --threshold high"),
    (2, "in dBZ is not known", "evaluate {model} {clip} --threshold '20 dBZ'"),
    (
        2,
        "radar: what pixels mean",
        f"evaluate {{model}} {{clip}} {RADAR} --report {{tmp}}/r.html",
    ),
    (3, "503 frames in a row", "evaluate {model} {clip} --horizon 500"),
    (4, "an exported graph", "evaluate {tmp}/taken.onnx {clip}"),
    (4, "convert the frames", "evaluate {model} {clips}/color.mp4 --color rgb"),
    (2, "got tpu", "train --resume {model} --device tpu"),
    (2, "model.name cannot change", "train --resume {model} --model convlstm"),
    (2, "sources, settings and place", "train --resume {model} --runs {tmp}"),
    (3, "source files have changed", "train --resume {changed}"),
    (3, "gone.npy, which it is trained on, is no longer there", "train --resume {moved}"),
    (4, "best model of this run is missing", "train --resume {headless}"),
    (2, "--horizon 0: nothing", "export {model} -o {tmp}/a.onnx --horizon 0"),
    (2, "--context-length 0: no", "export {model} -o {tmp}/a.onnx --context-length 0"),
    (2, "--step is not for torch.export", "export {model} -o {tmp}/a.pt2 --step"),
    (2, "--half is not for TorchScript", "export {model} -o {tmp}/a.torchscript --half"),
    (4, "an exported graph", "export {tmp}/taken.onnx -o {tmp}/a.pt2"),
    (4, "damaged, or not a model", "evaluate {tmp}/text.pt {clip}"),
]
"""Exit code, what the message says, and the command, in which `places` stand."""


@pytest.fixture(scope="module")
def places(clips, grey_run, tmp_path_factory):
    """Paths by the words of a command: a clip, a model, what exists, model files that are none."""
    folder = tmp_path_factory.mktemp("places")
    for name in ("file", "taken.gif", "taken.onnx", "a.step.onnx", "taken.csv"):
        (folder / name).touch()
    (folder / "text.pt").write_text("no model")
    with zipfile.ZipFile(folder / "code.pt", "w") as archive:
        archive.writestr("code/data.pkl", b"cos\nsystem\n(S'echo run'\ntR.")
    with zipfile.ZipFile(folder / "stranger.pt", "w") as archive:
        archive.writestr("stranger/data.pkl", b"\x80\x02}q\x00.")
    tied = random_checkpoint(1, "model.name=fc-lstm", "data.resize=32x32")
    save_checkpoint(folder / "tied.pt", tied)
    for name in ("changed", "moved", "headless"):
        shutil.copytree(grey_run, folder / name)
    record = json.loads((grey_run / "run.json").read_text())
    [source] = record["sources"]
    for name, other in (("changed", {"bytes": 1}), ("moved", {"path": str(folder / "gone.npy")})):
        text = json.dumps({**record, "sources": [{**source, **other}]})
        (folder / name / "run.json").write_text(text)
    (folder / "headless/best.pt").unlink()
    return {
        **{"clip": clips / "grey.npy", "clips": clips, "model": grey_run, "tmp": folder},
        **{name: folder / name for name in ("changed", "moved", "headless")},
        "tied": folder / "tied.pt",
    }


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
    assert tuple(MODEL_FORMATS) == tuple(KINDS)
