"""Wrong input of every kind: one clear line on stderr, its exit code, nothing written."""

import json
import re
import shlex
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.tiny_runs import FRAMES, HEIGHT, TINY, WIDTH

USAGE, SOURCE, MODEL, OUTPUT, RESOURCE = 2, 3, 4, 5, 9


@pytest.fixture
def here(tmp_path, clips, grey_run, color_run):
    """Where a case makes its files: `here.tmp`; what is in order: the clips and the models."""
    return SimpleNamespace(tmp=tmp_path, clips=clips, grey_run=grey_run, color_run=color_run)


def array(here, frames, name="clip.npy"):
    np.save(here.tmp / name, frames)
    return here.tmp / name


def text(here, name, content="not what the name says\n"):
    (here.tmp / name).write_text(content)
    return here.tmp / name


def cut(here, source, share):
    """A copy of the file that ends too early."""
    data = source.read_bytes()
    (here.tmp / source.name).write_bytes(data[: int(share * len(data))])
    return here.tmp / source.name


def folder(here, count=FRAMES):
    """A folder with the first frames of the grey clip."""
    target = here.tmp / "frames"
    target.mkdir()
    for number in range(count):
        shutil.copy(here.clips / f"grey/frame{number}.png", target)
    return target


def folder_of_notes(here):
    text(here, "notes.txt").rename(folder(here, 0) / "notes.txt")
    return here.tmp / "frames"


def damaged_folder(here):
    frames = folder(here)
    (frames / "frame13.png").write_bytes((frames / "frame13.png").read_bytes()[:90])
    return frames


def mixed_sizes(here):
    frames = folder(here)
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(frames / "frame4.png")
    return frames


def mixed_kinds(here):
    frames = folder(here)
    shutil.copy(here.clips / "color.mp4", frames)
    return frames


def floats(value):
    frames = np.full((FRAMES, HEIGHT, WIDTH), 0.5, np.float32)
    frames[11, 4, 5] = value
    return frames


def checkpoint(here, name="model.pt", **changes):
    contents = torch.load(here.grey_run / "best.pt", weights_only=True)
    torch.save({**contents, **changes}, here.tmp / name)
    return here.tmp / name


def saved(here, contents):
    torch.save(contents, here.tmp / "model.pt")
    return here.tmp / "model.pt"


def run_copy(here, **files):
    """A copy of the grey run with some files replaced, or removed where the text is None."""
    target = here.tmp / "train-1"
    shutil.copytree(here.grey_run, target)
    for name, content in files.items():
        path = target / name.replace("_", ".")
        path.unlink() if content is None else path.write_text(content)
    return target


def run_without_its_clip(here):
    record = json.loads((here.grey_run / "run.json").read_text())
    record["sources"][0]["path"] = str(here.tmp / "moved.npy")
    return run_copy(here, run_json=json.dumps(record))


def run_with_another_clip(here):
    record = json.loads((here.grey_run / "run.json").read_text())
    record["sources"][0]["bytes"] += 1
    return run_copy(here, run_json=json.dumps(record))


# Name: the command, its exit code, what the line says (" ... " stands for anything between), and
# what makes {made}. Words in braces are paths, {tiny} the settings of a small training.
# fmt: off
WRONG = {
    # the command line
    "no command of that name": ("trian", USAGE, "'trian'; did you mean 'train'?"),
    "an empty argument, as of a variable that is not set": ("predict {model} ''", USAGE,
        "an argument is empty; check the variable that it was made from"),
    "an empty value": ("predict --model= {array}", USAGE, "--model= is empty; check the variable"),
    "no such option": ("train --epoch 3", USAGE, "--epoch ... see framecast train --help"),
    "no source": ("train", USAGE, "no SOURCE given; name a frame folder, video, GIF or array"),
    "no model": ("predict", USAGE, "MODEL ... see framecast predict --help"),
    "unknown format": ("predict {model} {array} -o {out} --format avi", USAGE,
        "'avi' is not one of 'gif' ... see framecast predict --help"),
    "a file where a format asks for a folder": (
        "predict {model} {array} -o {out} --format mp4", USAGE,
        "out.gif: -o names a folder with --format; name one, or leave --format out"),
    "a format on standard output": ("predict {model} {array} -o - --format mp4", USAGE,
        "standard output holds the PNGs of one prediction; predict clips one by one, without"),
    "horizon 0 to predict": ("predict {model} {array} -o {out} --horizon 0", USAGE,
        "--horizon 0: nothing to predict; use 1 or more"),
    "a horizon that nobody could wait for": (
        "predict {model} {array} -o {out} --horizon 1000000001", USAGE,
        "--horizon 1000000001: more frames than can be predicted at once; use 1,000,000 or less"),
    "minutes that are not a number": (
        "predict {model} {array} -o {out} --labels --step-minutes nan", USAGE,
        "--step-minutes nan: no time between two frames; use more than 0"),
    "minutes that nothing shows": ("predict {model} {array} -o {out} --step-minutes 5", USAGE,
        "--step-minutes is for labels and the names of PNGs; add --labels, or leave it out"),
    "a scale that nothing needs": ("evaluate {model} {array} --scale '-10..60 dBZ'", USAGE,
        "--scale is for thresholds and the colours of a page; add --threshold, or leave it out"),
    "minutes backwards": ("evaluate {model} {array} --step-minutes -5", USAGE,
        "--step-minutes -5: no time between two frames; use more than 0"),
    "one output twice": ("predict {model} {array} -o {out} -o {tmp}/../{tmp.name}/out.gif", USAGE,
        "an output is named twice; name each output once"),
    "one file for scores and page": (
        "evaluate {model} {array} --csv {tmp}/out.html --report {tmp}/./out.html", USAGE,
        "an output is named twice; name each output once"),
    "a variable of a file without names": (
        "predict {model} {array} -o {out} --variable rain", USAGE,
        "grey.npy: --variable is for files of named arrays; leave it out"),
    "a range beyond the values of a video": (
        "export {clips}/color.mp4 -o {out} --range 0..4095", USAGE,
        "color.mp4: --range 0..4095 goes beyond its uint8 values; leave it out"),
    "a variable of a video": ("export {clips}/color.mp4 -o {out} --variable rain", USAGE,
        "color.mp4: --variable is for files of named arrays; leave it out"),
    "axes of frames in a folder": ("predict {model} {frames} -o {out} --axes THW", USAGE,
        "grey: --axes is for arrays; leave it out"),
    "axes of frames to score": ("evaluate {model} {frames} --axes THW --keep-readable", USAGE,
        "grey: --axes is for arrays; leave it out"),
    "axes of a video to train on": ("train {clips}/color.mp4 {tiny} --set data.axes=TNHW", USAGE,
        "color.mp4: --axes is for arrays; leave it out"),
    "start before the clip": ("predict {model} {array} -o {out} --start -2", USAGE,
        "--start -2: frames are counted from 0; use 0 or more"),
    "a model after the frames": ("predict {array} {model} -o {out}", USAGE,
        "train-1: is a model; give one model, before the frames"),
    "two models": ("evaluate {model} pretrained {array}", USAGE,
        "pretrained: is a model; give one model, before the frames"),
    "no frame rate": ("predict {model} {array} -o {out} --fps 0", USAGE,
        "expected a frame rate of 0.002 to 1000 per second, got 0; set it with --fps"),
    "a frame rate no file can hold": ("predict {model} {array} -o {out} --fps 1e-09", USAGE,
        "expected a frame rate of 0.002 to 1000 per second, got 1e-09; set it with --fps"),
    "a stream compared with what has not come": (
        "predict {model} {array} -o {out} --stream --compare", USAGE,
        "--compare needs frames that a stream has not seen yet; leave out --stream"),
    "standard input without --stream": ("predict {model} - -o {out}", USAGE,
        "-: its frames are not all there yet; add --stream, or save them as a file first"),
    "a start in a live stream": ("predict {model} camera:0 -o {out} --stream --start 3", USAGE,
        "camera:0: --start is for files; leave it out"),
    "a range of a live stream": ("predict {model} camera:0 -o {out} --stream --range 0..9", USAGE,
        "camera:0: --range is for files; leave it out"),
    "a damaged live stream": ("predict {model} camera:0 -o {out} --stream --keep-readable", USAGE,
        "camera:0: --keep-readable is for files; leave it out"),
    "a range that is none": ("predict {model} {array} -o {out} --range 9..1", USAGE,
        "data.range: expected a low value below the high one, got 9..1"),
    "a range without end": ("predict {model} {array} -o {out} --range 0..1e999", USAGE,
        "data.range: expected values below 1e308, got 0..1e999"),
    "a size for a clip that has one": ("predict {model} {array} -o {out} --size 4x4", USAGE,
        "--size is for raw frames on standard input ... leave it out"),
    "a size of raw frames that is none": ("predict {model} - -o {out} --stream --size '4*4'", USAGE,
        "--size: expected HEIGHTxWIDTH, got '4*4'; write it like 96x160"),
    "a camera without a number": ("predict {model} camera:front -o {out} --stream", USAGE,
        "camera:front: cameras have numbers; write it like camera:0"),
    "a camera that is not there": ("predict {model} camera:97 -o {out} --stream", SOURCE,
        "camera:97: there is no such camera ... try another number"),
    "a stream that starts after the clip": (
        "predict {model} {array} -o {out} --stream --start 20", SOURCE,
        "grey.npy: has 20 frames, --start is 20; use an earlier --start"),
    "a stream of one frame": ("predict {model} {made} -o {out} --stream", SOURCE,
        "frames: ends before a forecast can be made; send two frames or more",
        lambda here: folder(here, 1)),
    "two results on standard output": ("predict {model} {frames} {array} -o -", USAGE,
        "standard output holds the PNGs of one prediction; predict clips one by one, without"),
    "two results in one file": ("predict {model} {frames} {clips}/color.mp4 -o {out}", USAGE,
        "out.gif: -o names a folder for several clips; name one, or predict them one by one"),
    "a match out of range": ("predict {model} {array} -o {out} --match 1.5", USAGE,
        "--match 1.5: out of range; use 0 to 1"),
    "tiles smaller than their overlap": ("predict {model} {array} -o {out} --tile 3", USAGE,
        "--tile 3: smaller than what neighbouring tiles share; use 64 or more"),
    "a clip twice": ("predict {model} {array} {array} -o {tmp}/into", USAGE,
        "several sources would be written to ... into/grey-prediction.gif; predict them"),
    "one name for two results": ("predict {model} {frames} {array} -o {out}", USAGE,
        "several sources would be written to ... predict them one by one"),
    "unknown device to predict on": ("predict {model} {array} -o {out} --device gpu", USAGE,
        "device gpu: unknown; use auto, cpu, cuda, cuda:N or mps"),
    "absent device to predict on": ("predict {model} {array} -o {out} --device cuda:99", RESOURCE,
        "device cuda:99 is not on this machine ... use --device auto"),
    "batch that no memory holds": ("train {array} {tiny} --batch-size 100000000", RESOURCE,
        "a training batch of 100,000,000 crops of ... use a smaller --batch-size or --crop"),
    "absent device to train on": ("train {array} {tiny} --device cuda:99", RESOURCE,
        "device cuda:99 is not on this machine ... use --device auto"),
    # evaluation
    "nothing to score": ("evaluate {model} {array} --stride 0", USAGE,
        "--stride 0: nothing to score; use 1 or more"),
    "unknown protocol": ("evaluate {model} {frames} --protocol pixels", USAGE,
        "'pixels' is not one of 'pixel', 'openstl', 'nowcast'; see framecast evaluate --help"),
    "threshold in a unit nobody explained": (
        "evaluate {model} {frames} --threshold '20 dBZ'", USAGE,
        "threshold 20 dBZ: what pixels mean in dBZ is not known; say it with --scale "
        '"BLACK..WHITE dBZ"'),
    "scale without a unit": ("evaluate {model} {frames} --scale -10..60", USAGE,
        "--scale: expected BLACK..WHITE UNIT [log] such as -10..60 dBZ, got -10..60"),
    "colour for a grey model to score": ("evaluate {model} {clips}/color.mp4 --color rgb", MODEL,
        "has 3 channels, the model was trained on 1; convert the frames with --color gray"),
    "clip too short to score": ("evaluate {model} {frames} --horizon 40", SOURCE,
        "a window of 43 frames in a row (3 of context, 40 ahead) does not fit ... give a longer "
        "clip or a smaller --horizon"),
    "figures into a folder that is not there": (
        "evaluate {model} {frames} --csv {tmp}/none/figures.csv", OUTPUT,
        "there is no folder ... create it first"),
    # settings
    "unknown setting in a file": ("train {array} --config {made}", USAGE,
        "settings.yaml:3: data.horizn: unknown setting; did you mean data.horizon?",
        lambda here: text(here, "settings.yaml", "data:\n # lead times\n horizn: 3\n")),
    "wrong type in a file": ("train {array} --config {made}", USAGE,
        "settings.yaml:2: train.epochs: expected an integer >= 1 or none, got many",
        lambda here: text(here, "settings.yaml", "train:\n epochs: many\n")),
    "no YAML": ("train {array} --config {made}", USAGE,
        "settings.yaml:2: not YAML", lambda here: text(here, "settings.yaml", "data: [\n")),
    "missing settings file": ("train {frames} --config {tmp}/none.yaml", USAGE,
        "none.yaml: no such file ... check the path of --config"),
    "horizon 0 to train": ("train {frames} --horizon 0", USAGE,
        "--horizon: data.horizon: expected an integer >= 1 or auto, got 0"),
    "--set without a value": ("train {frames} --set train.lr", USAGE,
        "--set train.lr: no value; write --set section.name=value, as in train.lr=1e-3"),
    "--set of nothing known": ("train {frames} --set data.colour=gray", USAGE,
        "--set data.colour=gray: data.colour: unknown setting; did you mean data.color?"),
    "unknown model name": ("train {frames} --model convlsm", USAGE,
        "got convlsm; did you mean convlstm?"),
    "resize nonsense": ("train {frames} --resize '96*160'", USAGE,
        "--resize: data.resize: expected auto, none, SIDE or HEIGHTxWIDTH such as 96x160, got "
        "96*160"),
    # frames
    "missing path": ("train {tmp}/none.mp4 {tiny}", SOURCE,
        "none.mp4: no such file or folder; check the path"),
    "empty folder": ("train {made} {tiny}", SOURCE,
        "frames: holds nothing to read; give a folder with some of ", lambda here: folder(here, 0)),
    "one frame": ("train {made} {tiny}", SOURCE,
        "too few frames: a window of context_length 3 and horizon 4 covers 7, so training and "
        "validation need a clip of 14, and the longest has 1; give more frames, or lower "
        "data.horizon or data.context_length", lambda here: folder(here, 1)),
    "a single image": ("train {frames}/frame3.png {tiny}", SOURCE,
        "frame3.png: is a single image, not a clip; give its folder"),
    "a suffix that says nothing": ("train {made} {tiny}", SOURCE,
        "clip.xyz: cannot tell what it is from its name; give a folder of images or a file "
        "ending in one of ", lambda here: text(here, "clip.xyz")),
    "text named .mp4": ("train {made} {tiny}", SOURCE,
        "clip.mp4: is not a video file; check what the file is",
        lambda here: text(here, "clip.mp4")),
    "text named .gif": ("train {made} {tiny}", SOURCE,
        "clip.gif: is not an image; check what the file is", lambda here: text(here, "clip.gif")),
    "text named .npy": ("train {made} {tiny}", SOURCE,
        "clip.npy: is no readable NumPy array ... copy it again or save it again",
        lambda here: text(here, "clip.npy")),
    "truncated mp4": ("train {made} {tiny}", SOURCE,
        "color.mp4: frame ... copy or download it again",
        lambda here: cut(here, here.clips / "color.mp4", 0.7)),
    "truncated npy": ("train {made} {tiny}", SOURCE,
        "grey.npy: frame 9 cannot be read (the file ends here, but announces 20 frames) ... add "
        "--keep-readable to use the frames before it",
        lambda here: cut(here, here.clips / "grey.npy", 0.5)),
    "truncated png": ("train {made} {tiny}", SOURCE,
        "frame13.png: frame 13 cannot be read ... replace or remove the file, or add "
        "--keep-readable to leave it out", damaged_folder),
    "mixed sizes": ("train {made} {tiny}", SOURCE,
        "frame4.png is 7x9 where the other frames are 18x26 (height x width); give frames of one "
        "size, or move the odd ones away", mixed_sizes),
    "images next to videos": ("train {made} {tiny}", SOURCE,
        "holds images (frame0.png) next to clips (color.mp4) ... put the images and the clips "
        "into folders of their own", mixed_kinds),
    "grey and colour clips": ("train {array} {clips}/color.mp4 {tiny}", SOURCE,
        "grey.npy is grey and ... choose one for all with --color gray or --color rgb "
        "(inspect-shapes: --set data.color=gray or rgb)"),
    "the same clip twice": ("train {array} {array} {tiny}", SOURCE,
        "grey.npy: is given twice; name each clip once"),
    "NaN": ("train {made} {tiny}", SOURCE,
        "clip.npy: frame 11 holds NaN ... fill missing values, for example with numpy.nan_to_num",
        lambda here: array(here, floats(np.nan))),
    "Python objects": ("train {made} {tiny}", SOURCE,
        "clip.npy: holds Python objects, which are not read as they could run code; save a plain "
        "array of numbers", lambda here: array(here, np.array([{}] * FRAMES, dtype=object))),
    "context longer than the clip": ("train {frames} {tiny} --context-length 50", SOURCE,
        "too few frames: a window of context_length 50 and horizon 4 covers 54 ... give more "
        "frames, or lower data.horizon or data.context_length"),
    "a single frame": ("predict {model} {made} -o {out}", SOURCE,
        "frames: has 1 frame, 2 are needed (2 of context); use a longer clip",
        lambda here: folder(here, 1)),
    "too short to compare": ("predict {model} {made} -o {out} --compare", SOURCE,
        "has 5 frames, 6 are needed (2 of context + 4 of truth); use a smaller --horizon or a "
        "longer clip", lambda here: folder(here, 5)),
    "start beyond the end": ("predict {model} {array} -o {out} --start 18", SOURCE,
        "grey.npy: has 20 frames, 21 are needed (18 before the start + 3 of context); use an "
        "earlier --start or a longer clip"),
    "several clips in one file": ("predict {model} {clips} -o {out}", USAGE,
        "several sources would be written to ... predict them one by one"),
    # models
    "missing model": ("predict {tmp}/none.pt {frames} -o {out}", MODEL,
        "none.pt: no such file; give a .pt file or a run folder that `framecast train` wrote"),
    "a run that is not there": ("predict {tmp}/runs/train-2 {frames} -o {out}", MODEL,
        "train-2: no such file; give a .pt file or a run folder that `framecast train` wrote"),
    "a run's record in its place": ("predict {model}/run.json {frames} -o {out}", MODEL,
        "run.json: damaged, or not a model; give a .pt file that `framecast train` wrote"),
    "the folder of runs to predict": ("predict {made} {frames}", MODEL,
        "no model here; give one of its runs, such as ", lambda here: run_copy(here).parent),
    "the folder of runs to evaluate": ("evaluate {made} {frames}", MODEL,
        "no model here; give one of its runs, such as ", lambda here: run_copy(here).parent),
    "text named .pt": ("predict {made} {frames} -o {out}", MODEL,
        "model.pt: damaged, or not a model; give a .pt file that `framecast train` wrote",
        lambda here: text(here, "model.pt")),
    "empty model file": ("predict {made} {frames} -o {out}", MODEL,
        "model.pt: damaged, or not a model; give a .pt file that `framecast train` wrote",
        lambda here: text(here, "model.pt", "")),
    "truncated model file": ("predict {made} {frames} -o {out}", MODEL,
        "best.pt: damaged, or not a model; give a .pt file that `framecast train` wrote",
        lambda here: cut(here, here.grey_run / "best.pt", 0.8)),
    "someone else's weights": ("predict {made} {frames} -o {out}", MODEL,
        "model.pt: a PyTorch file, but not a framecast model; give a .pt file that `framecast "
        "train` wrote", lambda here: saved(here, {"weight": torch.ones(2)})),
    "a pickled module, which could run code": ("predict {made} {frames} -o {out}", MODEL,
        "model.pt: damaged, or not a model; give a .pt file that `framecast train` wrote",
        lambda here: saved(here, torch.nn.Linear(2, 3))),
    "a model of a later version": ("predict {made} {frames} -o {out}", MODEL,
        "model.pt: format version 7, this framecast reads 1; upgrade framecast",
        lambda here: checkpoint(here, version=7)),
    "a model without settings": ("predict {made} {frames} -o {out}", MODEL,
        "model.pt: incomplete or inconsistent ... use the original file, or train again with "
        "this framecast", lambda here: checkpoint(here, config=None)),
    "weights that do not fit": ("predict {made} {frames} -o {out}", MODEL,
        "model.pt: incomplete or inconsistent ... use the original file, or train again with "
        "this framecast", lambda here: checkpoint(here, weights={"head.bias": torch.ones(2)})),
    "weights that are NaN": ("predict {made} {frames} -o {out}", MODEL,
        "head.bias holds NaN or infinite weights ... use the original file, or train again with "
        "this framecast",
        lambda here: checkpoint(here, weights={"head.bias": torch.tensor([torch.nan])})),
    # runs
    "no run to resume": ("train --resume {clips}", MODEL,
        "clips0: not a run folder, run.json cannot be read; give a folder that `framecast train` "
        "wrote, such as runs/train-1"),
    "a run record of something else": ("train --resume {made}", MODEL,
        "train-1: not a run folder, run.json cannot be read; give a folder that `framecast "
        "train` wrote, such as runs/train-1",
        lambda here: run_copy(here, run_json='{"sources": 3}')),
    "a run without its last state": ("train --resume {made}", MODEL,
        "last.pt: no such file; give a .pt file or a run folder that `framecast train` wrote",
        lambda here: run_copy(here, last_pt=None)),
    "a run whose best model is gone": ("train --resume {made}", MODEL,
        "best.pt: the best model of this run is missing or damaged; put it back from a copy, or "
        "start a new run", lambda here: run_copy(here, best_pt=None)),
    "a run whose best model is damaged": ("train --resume {made} --epochs 2", MODEL,
        "best.pt: the best model of this run is missing or damaged; put it back from a copy, or "
        "start a new run", lambda here: run_copy(here, best_pt="PK")),
    "a run whose clip is gone": ("train --resume {made}", SOURCE,
        "moved.npy, which it is trained on, is no longer there; put it back, or start a new run",
        run_without_its_clip),
    "a run whose clip is another": ("train --resume {made}", SOURCE,
        "train-1: its source files have changed since the run began; restore them, or start a "
        "new run", run_with_another_clip),
    "resuming with another model": ("train --resume {model} --model convlstm", USAGE,
        "model.name cannot change when a run is resumed; only train.device, train.epochs, "
        "train.minutes, train.patience, train.precision, train.tensorboard can"),
    "resuming with a source": ("train {frames} --resume {model}", USAGE,
        "--resume takes its sources, settings and place from the run; give only the run"),
    "resuming in another place": ("train --resume {model} --runs {tmp}/other", USAGE,
        "--resume takes its sources, settings and place from the run; give only the run"),
    # shapes
    "nothing to inspect": ("inspect-shapes {tmp}/none", SOURCE,
        "none: no such file or folder; check the path"),
    "a size to inspect that is none": ("inspect-shapes --size 96x", USAGE,
        "--size: expected HEIGHTxWIDTH, got '96x'; write it like 96x160"),
    "a patch to inspect that is none": ("inspect-shapes {frames} --set model.patch=3", USAGE,
        "--set model.patch=3: model.patch: expected one of 1, 2, 4, 8, 16, got 3"),
    # outputs
    "output exists": ("predict {model} {frames} -o {made}", OUTPUT,
        "out.mp4 exists already; choose another name or pass --overwrite",
        lambda here: text(here, "out.mp4")),
    "output among the frames": ("predict {model} {made} -o {made}/out.gif", OUTPUT,
        "out.gif would lie among the frames of ... choose another folder with -o", folder),
    "output in no folder": ("predict {model} {frames} -o {tmp}/none/out.gif", OUTPUT,
        "none/out.gif: there is no folder ... create it first"),
    "output below a file": ("predict {model} {frames} {clips}/color.mp4 -o {made}", OUTPUT,
        "file: no folder can be made here (File exists); give another one with -o",
        lambda here: text(here, "file")),
    "output of an unknown kind": ("predict {model} {frames} -o {tmp}/out.avi", USAGE,
        "out.avi: cannot write .avi files; use .gif, .mp4, .webm, .webp, .apng, .npy, .tif, "
        ".tiff, .nc, or end the path in /"),
    "output into a folder of other things": (
        "predict {model} {frames} -o {made} --overwrite", OUTPUT,
        "frames holds notes.txt, which is no frame of framecast; choose an empty or a new folder",
        folder_of_notes),
    "runs below a file": ("train {frames} {tiny} --runs {made}/runs", OUTPUT,
        "file/runs: no run folder can be made here ( ... give a writable folder with --runs",
        lambda here: text(here, "file")),
}

# These come after a line that says what is being done.
WRONG_EXPORTS = {
    "no model and no frames": ("export {tmp}/none -o {out}", SOURCE,
        "none: no such file or folder; check the path"),
    "text named .pt": ("export {made} -o {tmp}/out.pt2", MODEL,
        "model.pt: damaged, or not a model; give a .pt file that `framecast train` wrote",
        lambda here: text(here, "model.pt")),
    "a model as a video": ("export {model} -o {tmp}/out.mp4", USAGE,
        "out.mp4: a model cannot become a file of this kind; end the name in .onnx, .pt2, "
        ".torchscript, .safetensors"),
    "frames as another kind of file": ("export {frames} -o {tmp}/out.avi", USAGE,
        "out.avi: cannot write .avi files; use .gif, .mp4, .webm, .webp, .apng, .npy, .tif, "
        ".tiff, .nc, or end the path in /"),
    "a size that is none": ("export {model} -o {tmp}/out.pt2 --size '4*4'", USAGE,
        "--size: expected HEIGHTxWIDTH, got '4*4'; write it like 96x160"),
    "a sheet in the place of a frame": ("export {made} -o {made}/frame0.png --overwrite", OUTPUT,
        "frame0.png would lie among the frames of ... choose another folder with -o", folder),
    "minutes without labels": ("export {array} -o {out} --step-minutes 5", USAGE,
        "--step-minutes is for the times that --labels writes; add --labels, or leave it out"),
    "minutes without end": ("export {array} -o {out} --labels --step-minutes inf", USAGE,
        "--step-minutes inf: no time between two frames; use more than 0"),
    "the folder of runs": ("export {made} -o {tmp}/out.pt2", MODEL,
        "no model here; give one of its runs, such as ", lambda here: run_copy(here).parent),
    "output exists": ("export {model} -o {made}", OUTPUT,
        "out.torchscript exists already; choose another name or pass --overwrite",
        lambda here: text(here, "out.torchscript")),
}
# fmt: on


def state(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def refused(run, here, command, expected, says, make=None):
    """The lines of a command on stderr, which is refused as it should be and writes nothing."""
    places = {
        **{"tmp": here.tmp, "clips": here.clips, "model": here.grey_run},
        **{"array": here.clips / "grey.npy", "frames": here.clips / "grey"},
        **{"out": here.tmp / "out.gif", "made": make and make(here)},
    }
    arguments = []
    for word in shlex.split(command):
        tiny = ("--runs", here.tmp / "runs", *TINY)
        arguments += tiny if word == "{tiny}" else [word.format(**places)]
    before = state(here.tmp), state(here.grey_run)
    code, out, err = run(*arguments)
    assert (code, out) == (expected, ""), err
    *_, last = lines = err.splitlines()
    assert err.endswith("\n") and last.startswith("error: ") and "Traceback" not in err
    assert re.search(".*".join(map(re.escape, says.split(" ... "))), last), err
    assert (state(here.tmp), state(here.grey_run)) == before
    return lines


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_input_is_one_clear_line_with_its_exit_code(run, here, kind):
    assert len(refused(run, here, *WRONG[kind])) == 1


@pytest.mark.parametrize("kind", WRONG_EXPORTS)
def test_wrong_exports_end_in_one_clear_line_with_its_exit_code(run, here, kind):
    refused(run, here, *WRONG_EXPORTS[kind])
