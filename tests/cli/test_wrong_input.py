"""Wrong input of every kind: one clear line on stderr, its exit code, nothing written."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.tiny_runs import CONTEXT, FRAMES, HEIGHT, HORIZON, TINY, WIDTH

USAGE, SOURCE, MODEL, OUTPUT, RESOURCE = 2, 3, 4, 5, 9


@pytest.fixture
def here(tmp_path, clips, grey_run, color_run):
    """Where a case makes its files: `here.tmp`; what is in order: the clips and the models."""
    return SimpleNamespace(tmp=tmp_path, clips=clips, grey_run=grey_run, color_run=color_run)


def training(here, *arguments):
    return ["train", *arguments, "--runs", here.tmp / "runs", *TINY]


def predicting(here, *arguments, model=None, output="out.gif"):
    return ["predict", model or here.grey_run, *arguments, "-o", here.tmp / output]


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


def settings(here, content):
    return ["train", here.clips / "grey.npy", "--config", text(here, "settings.yaml", content)]


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


SIZE = f"{HEIGHT}x{WIDTH}"

# Name: the command, its exit code, what the line says of place and find, how it ends.
WRONG = {
    # the command line
    "no command of that name": (lambda here: ["trian"], USAGE, "'trian'", "did you mean 'train'?"),
    "no such option": (
        lambda here: ["train", "--epoch", "3"],
        USAGE,
        "--epoch",
        "see framecast train --help",
    ),
    "no source": (
        lambda here: ["train"],
        USAGE,
        "no SOURCE given",
        "name a frame folder, video, GIF or array",
    ),
    "no model": (lambda here: ["predict"], USAGE, "MODEL", "see framecast predict --help"),
    "unknown format": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--format", "avi"],
        USAGE,
        "'avi' is not one of 'gif'",
        "see framecast predict --help",
    ),
    "horizon 0 to predict": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--horizon", 0],
        USAGE,
        "--horizon 0: nothing to predict",
        "use 1 or more",
    ),
    "start before the clip": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--start", -2],
        USAGE,
        "--start -2: frames are counted from 0",
        "use 0 or more",
    ),
    "no frame rate": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--fps", 0],
        USAGE,
        "expected a frame rate of 0.002 to 1000 per second, got 0",
        "set it with --fps",
    ),
    "a frame rate no file can hold": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--fps", 1e-9],
        USAGE,
        "expected a frame rate of 0.002 to 1000 per second, got 1e-09",
        "set it with --fps",
    ),
    "a stream compared with what has not come": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--stream", "--compare"],
        USAGE,
        "--compare needs frames that a stream has not seen yet",
        "leave out --stream",
    ),
    "standard input without --stream": (
        lambda here: predicting(here, "-"),
        USAGE,
        "-: has no last frames to start from",
        "add --stream",
    ),
    "a start in a live stream": (
        lambda here: [*predicting(here, "camera:0"), "--stream", "--start", 3],
        USAGE,
        "camera:0: --start and --keep-readable are for files",
        "leave them out",
    ),
    "a size for a clip that has one": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--size", "4x4"],
        USAGE,
        "--size is for raw frames on standard input",
        "leave it out",
    ),
    "a size of raw frames that is none": (
        lambda here: [*predicting(here, "-"), "--stream", "--size", "4*4"],
        USAGE,
        "--size: expected HEIGHTxWIDTH, got '4*4'",
        "write it like 96x160",
    ),
    "a camera without a number": (
        lambda here: [*predicting(here, "camera:front"), "--stream"],
        USAGE,
        "camera:front: cameras have numbers",
        "write it like camera:0",
    ),
    "a camera that is not there": (
        lambda here: [*predicting(here, "camera:97"), "--stream"],
        SOURCE,
        "camera:97: there is no such camera",
        "try another number",
    ),
    "a stream that starts after the clip": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--stream", "--start", FRAMES],
        SOURCE,
        f"grey.npy: has {FRAMES} frames, --start is {FRAMES}",
        "use an earlier --start",
    ),
    "a stream of one frame": (
        lambda here: [*predicting(here, folder(here, 1)), "--stream"],
        SOURCE,
        "frames: ends before a forecast can be made",
        "send two frames or more",
    ),
    "two results on standard output": (
        lambda here: [*predicting(here, here.clips / "grey", here.clips / "grey.npy")[:-1], "-"],
        USAGE,
        "standard output holds one prediction, not 2",
        "predict them one by one",
    ),
    "two results in one file": (
        lambda here: predicting(here, here.clips / "grey", here.clips / "color.mp4"),
        USAGE,
        "holds one prediction, not 2",
        "name a folder with -o, and the kind of files with --format",
    ),
    "a match out of range": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--match", 1.5],
        USAGE,
        "--match 1.5: out of range",
        "use 0 to 1",
    ),
    "tiles smaller than their overlap": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--tile", 3],
        USAGE,
        "--tile 3: smaller than what neighbouring tiles share",
        "use 64 or more",
    ),
    "one name for two results": (
        lambda here: predicting(here, here.clips / "grey", here.clips / "grey.npy"),
        USAGE,
        "several sources would be written to",
        "predict them one by one",
    ),
    "unknown device to predict on": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--device", "gpu"],
        USAGE,
        "device gpu: unknown",
        "use auto, cpu, cuda, cuda:N or mps",
    ),
    "absent device to predict on": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--device", "cuda:99"],
        RESOURCE,
        "device cuda:99 is not on this machine",
        "use --device auto",
    ),
    "batch that no memory holds": (
        lambda here: [*training(here, here.clips / "grey.npy"), "--batch-size", "100000000"],
        9,
        "a training batch of 100000000 crops of",
        "use a smaller --batch-size or --crop",
    ),
    "absent device to train on": (
        lambda here: [*training(here, here.clips / "grey.npy"), "--device", "cuda:99"],
        RESOURCE,
        "device cuda:99 is not on this machine",
        "use --device auto",
    ),
    # evaluation
    "nothing to score": (
        lambda here: ["evaluate", here.grey_run, here.clips / "grey.npy", "--stride", 0],
        USAGE,
        "--stride 0: nothing to score",
        "use 1 or more",
    ),
    "unknown protocol": (
        lambda here: ["evaluate", here.grey_run, here.clips / "grey", "--protocol", "pixels"],
        USAGE,
        "'pixels' is not one of 'pixel', 'openstl', 'nowcast'",
        "see framecast evaluate --help",
    ),
    "threshold in a unit nobody explained": (
        lambda here: ["evaluate", here.grey_run, here.clips / "grey", "--threshold", "20 dBZ"],
        USAGE,
        "threshold 20 dBZ: what pixels mean in dBZ is not known",
        'say it with --scale "BLACK..WHITE dBZ"',
    ),
    "scale without a unit": (
        lambda here: ["evaluate", here.grey_run, here.clips / "grey", "--scale", "-10..60"],
        USAGE,
        "data.scale: expected BLACK..WHITE UNIT [log] such as -10..60 dBZ, got -10..60",
        "",
    ),
    "colour for a grey model to score": (
        lambda here: ["evaluate", here.grey_run, here.clips / "color.mp4", "--color", "rgb"],
        MODEL,
        "has 3 channels, the model was trained on 1",
        "convert the frames with --color gray",
    ),
    "clip too short to score": (
        lambda here: ["evaluate", here.grey_run, here.clips / "grey", "--horizon", 40],
        SOURCE,
        f"a window of {CONTEXT + 40} frames in a row ({CONTEXT} of context, 40 ahead) does not fit",
        "give a longer clip or a smaller --horizon",
    ),
    "figures into a folder that is not there": (
        lambda here: [
            *("evaluate", here.grey_run, here.clips / "grey"),
            *("--csv", here.tmp / "none/figures.csv"),
        ],
        OUTPUT,
        "there is no folder",
        "create it first",
    ),
    # settings
    "unknown setting in a file": (
        lambda here: settings(here, "data:\n  # lead times\n  horizn: 3\n"),
        USAGE,
        "settings.yaml:3: data.horizn: unknown setting",
        "did you mean data.horizon?",
    ),
    "wrong type in a file": (
        lambda here: settings(here, "train:\n  epochs: many\n"),
        USAGE,
        "settings.yaml:2: train.epochs: expected an integer >= 1 or none, got many",
        "",
    ),
    "no YAML": (
        lambda here: settings(here, "data: [\n"),
        USAGE,
        "settings.yaml:2: not YAML",
        "",
    ),
    "missing settings file": (
        lambda here: ["train", here.clips / "grey", "--config", here.tmp / "none.yaml"],
        USAGE,
        "none.yaml: no such file",
        "check the path of --config",
    ),
    "horizon 0 to train": (
        lambda here: ["train", here.clips / "grey", "--horizon", 0],
        USAGE,
        "--horizon: data.horizon: expected an integer >= 1 or auto, got 0",
        "",
    ),
    "--set without a value": (
        lambda here: ["train", here.clips / "grey", "--set", "train.lr"],
        USAGE,
        "--set train.lr: no value",
        "write --set section.name=value, as in train.lr=1e-3",
    ),
    "--set of nothing known": (
        lambda here: ["train", here.clips / "grey", "--set", "data.colour=gray"],
        USAGE,
        "--set data.colour=gray: data.colour: unknown setting",
        "did you mean data.color?",
    ),
    "unknown model name": (
        lambda here: ["train", here.clips / "grey", "--model", "convlsm"],
        USAGE,
        "got convlsm",
        "did you mean convlstm?",
    ),
    "resize nonsense": (
        lambda here: ["train", here.clips / "grey", "--resize", "96*160"],
        USAGE,
        "--resize: data.resize: expected auto, none, SIDE or HEIGHTxWIDTH such as 96x160, "
        "got 96*160",
        "",
    ),
    # frames
    "missing path": (
        lambda here: training(here, here.tmp / "none.mp4"),
        SOURCE,
        "none.mp4: no such file or folder",
        "check the path",
    ),
    "empty folder": (
        lambda here: training(here, folder(here, 0)),
        SOURCE,
        "frames: holds nothing to read",
        "give a folder with some of ",
    ),
    "one frame": (
        lambda here: training(here, folder(here, 1)),
        SOURCE,
        f"too few frames: a window of context_length {CONTEXT} and horizon {HORIZON} covers 7, so "
        "training and validation need a clip of 14, and the longest has 1",
        "give more frames, or lower data.horizon or data.context_length",
    ),
    "a single image": (
        lambda here: training(here, here.clips / "grey/frame3.png"),
        SOURCE,
        "frame3.png: is a single image, not a clip",
        "give its folder",
    ),
    "a suffix that says nothing": (
        lambda here: training(here, text(here, "clip.xyz")),
        SOURCE,
        "clip.xyz: cannot tell what it is from its name",
        "give a folder of images or a file ending in one of ",
    ),
    "text named .mp4": (
        lambda here: training(here, text(here, "clip.mp4")),
        SOURCE,
        "clip.mp4: is not a video file",
        "check what the file is",
    ),
    "text named .gif": (
        lambda here: training(here, text(here, "clip.gif")),
        SOURCE,
        "clip.gif: is not an image",
        "check what the file is",
    ),
    "text named .npy": (
        lambda here: training(here, text(here, "clip.npy")),
        SOURCE,
        "clip.npy: is no readable NumPy array",
        "copy it again or save it again",
    ),
    "truncated mp4": (
        lambda here: training(here, cut(here, here.clips / "color.mp4", 0.7)),
        SOURCE,
        "color.mp4: frame ",
        "copy or download it again",
    ),
    "truncated npy": (
        lambda here: training(here, cut(here, here.clips / "grey.npy", 0.5)),
        SOURCE,
        "grey.npy: frame 9 cannot be read (the file ends here, but announces 20 frames)",
        "set data.keep_readable=true to use the frames before it",
    ),
    "truncated png": (
        lambda here: training(here, damaged_folder(here)),
        SOURCE,
        "frame13.png: frame 13 cannot be read",
        "replace or remove the file, or set data.keep_readable=true to leave it out",
    ),
    "mixed sizes": (
        lambda here: training(here, mixed_sizes(here)),
        SOURCE,
        f"frame4.png is 7x9 where the other frames are {SIZE} (height x width)",
        "give frames of one size, or move the odd ones away",
    ),
    "images next to videos": (
        lambda here: training(here, mixed_kinds(here)),
        SOURCE,
        "holds images (frame0.png) next to clips (color.mp4)",
        "put the images and the clips into folders of their own",
    ),
    "grey and colour clips": (
        lambda here: training(here, here.clips / "grey.npy", here.clips / "color.mp4"),
        SOURCE,
        "grey.npy is grey and ",
        "choose one for all with --color gray or --color rgb",
    ),
    "the same clip twice": (
        lambda here: training(here, here.clips / "grey.npy", here.clips / "grey.npy"),
        SOURCE,
        "grey.npy: is given twice",
        "name each clip once",
    ),
    "NaN": (
        lambda here: training(here, array(here, floats(np.nan))),
        SOURCE,
        "clip.npy: frame 11 holds NaN",
        "fill missing values, for example with numpy.nan_to_num",
    ),
    "Python objects": (
        lambda here: training(here, array(here, np.array([{}] * FRAMES, dtype=object))),
        SOURCE,
        "clip.npy: holds Python objects, which are not read as they could run code",
        "save a plain array of numbers",
    ),
    "context longer than the clip": (
        lambda here: [*training(here, here.clips / "grey"), "--context-length", 50],
        SOURCE,
        "too few frames: a window of context_length 50 and horizon 4 covers 54",
        "give more frames, or lower data.horizon or data.context_length",
    ),
    "too short to predict": (
        lambda here: predicting(here, folder(here, 2)),
        SOURCE,
        f"frames: has 2 frames, {CONTEXT} are needed ({CONTEXT} of context)",
        "use a longer clip",
    ),
    "too short to compare": (
        lambda here: [*predicting(here, folder(here, 5)), "--compare"],
        SOURCE,
        f"has 5 frames, 7 are needed ({CONTEXT} of context + {HORIZON} of truth)",
        "use a smaller --horizon or a longer clip",
    ),
    "start beyond the end": (
        lambda here: [*predicting(here, here.clips / "grey.npy"), "--start", 18],
        SOURCE,
        f"grey.npy: has {FRAMES} frames, 21 are needed (18 before the start + 3 of context)",
        "use an earlier --start or a longer clip",
    ),
    "several clips for one": (
        lambda here: predicting(here, here.clips.parent / here.clips.name),
        SOURCE,
        "holds 3 clips where one is needed",
        "give ",
    ),
    # models
    "missing model": (
        lambda here: predicting(here, here.clips / "grey", model=here.tmp / "none.pt"),
        MODEL,
        "none.pt: no such file",
        "give a .pt file or a run folder that `framecast train` wrote",
    ),
    "text named .pt": (
        lambda here: predicting(here, here.clips / "grey", model=text(here, "model.pt")),
        MODEL,
        "model.pt: damaged, or not a model",
        "give a .pt file that `framecast train` wrote",
    ),
    "empty model file": (
        lambda here: predicting(here, here.clips / "grey", model=text(here, "model.pt", "")),
        MODEL,
        "model.pt: damaged, or not a model",
        "give a .pt file that `framecast train` wrote",
    ),
    "truncated model file": (
        lambda here: predicting(
            here, here.clips / "grey", model=cut(here, here.grey_run / "best.pt", 0.8)
        ),
        MODEL,
        "best.pt: damaged, or not a model",
        "give a .pt file that `framecast train` wrote",
    ),
    "someone else's weights": (
        lambda here: predicting(
            here, here.clips / "grey", model=saved(here, {"weight": torch.ones(2)})
        ),
        MODEL,
        "model.pt: a PyTorch file, but not a framecast model",
        "give a .pt file that `framecast train` wrote",
    ),
    "a pickled module, which could run code": (
        lambda here: predicting(
            here, here.clips / "grey", model=saved(here, torch.nn.Linear(2, 3))
        ),
        MODEL,
        "model.pt: damaged, or not a model",
        "give a .pt file that `framecast train` wrote",
    ),
    "a model of a later version": (
        lambda here: predicting(here, here.clips / "grey", model=checkpoint(here, version=7)),
        MODEL,
        "model.pt: format version 7, this framecast reads 1",
        "upgrade framecast",
    ),
    "a model without settings": (
        lambda here: predicting(here, here.clips / "grey", model=checkpoint(here, config=None)),
        MODEL,
        "model.pt: incomplete or inconsistent",
        "use the original file, or train again with this framecast",
    ),
    "weights that do not fit": (
        lambda here: predicting(
            here,
            here.clips / "grey",
            model=checkpoint(here, weights={"head.bias": torch.ones(2)}),
        ),
        MODEL,
        "model.pt: incomplete or inconsistent",
        "use the original file, or train again with this framecast",
    ),
    "weights that are NaN": (
        lambda here: predicting(
            here,
            here.clips / "grey",
            model=checkpoint(here, weights={"head.bias": torch.tensor([torch.nan])}),
        ),
        MODEL,
        "head.bias holds NaN or infinite weights",
        "use the original file, or train again with this framecast",
    ),
    # runs
    "no run to resume": (
        lambda here: ["train", "--resume", here.clips],
        MODEL,
        "clips0: not a run folder, run.json cannot be read",
        "give a folder that `framecast train` wrote, such as runs/train-1",
    ),
    "a run record of something else": (
        lambda here: ["train", "--resume", run_copy(here, run_json='{"sources": 3}')],
        MODEL,
        "train-1: not a run folder, run.json cannot be read",
        "give a folder that `framecast train` wrote, such as runs/train-1",
    ),
    "a run without its last state": (
        lambda here: ["train", "--resume", run_copy(here, last_pt=None)],
        MODEL,
        "last.pt: no such file",
        "give a .pt file or a run folder that `framecast train` wrote",
    ),
    "a run whose best model is gone": (
        lambda here: ["train", "--resume", run_copy(here, best_pt=None)],
        MODEL,
        "best.pt: the best model of this run is missing or damaged",
        "put it back from a copy, or start a new run",
    ),
    "a run whose best model is damaged": (
        lambda here: ["train", "--resume", run_copy(here, best_pt="PK"), "--epochs", 2],
        MODEL,
        "best.pt: the best model of this run is missing or damaged",
        "put it back from a copy, or start a new run",
    ),
    "a run whose clip is gone": (
        lambda here: ["train", "--resume", run_without_its_clip(here)],
        SOURCE,
        "moved.npy: no such file or folder",
        "check the path",
    ),
    "a run whose clip is another": (
        lambda here: ["train", "--resume", run_with_another_clip(here)],
        SOURCE,
        "train-1: its source files have changed since the run began",
        "restore them, or start a new run",
    ),
    "resuming with another model": (
        lambda here: ["train", "--resume", here.grey_run, "--model", "convlstm"],
        USAGE,
        "model.name cannot change when a run is resumed",
        "only train.device, train.epochs, train.minutes, train.patience, train.precision, "
        "train.tensorboard can",
    ),
    "resuming with a source": (
        lambda here: ["train", here.clips / "grey", "--resume", here.grey_run],
        USAGE,
        "--resume takes its sources and settings from the run",
        "give only the run",
    ),
    # shapes
    "nothing to inspect": (
        lambda here: ["inspect-shapes", here.tmp / "none"],
        SOURCE,
        "none: no such file or folder",
        "check the path",
    ),
    "a size to inspect that is none": (
        lambda here: ["inspect-shapes", "--size", "96x"],
        USAGE,
        "--size: expected HEIGHTxWIDTH, got '96x'",
        "write it like 96x160",
    ),
    "a patch to inspect that is none": (
        lambda here: ["inspect-shapes", here.clips / "grey", "--set", "model.patch=3"],
        USAGE,
        "--set model.patch=3: model.patch: expected one of 1, 2, 4, 8, 16, got 3",
        "",
    ),
    # outputs
    "output exists": (
        lambda here: predicting(
            here, here.clips / "grey", output=text(here, "out.mp4").relative_to(here.tmp)
        ),
        OUTPUT,
        "out.mp4 exists already",
        "choose another name or pass --overwrite",
    ),
    "output in no folder": (
        lambda here: predicting(here, here.clips / "grey", output="none/out.gif"),
        OUTPUT,
        "none/out.gif: there is no folder ",
        "create it first",
    ),
    "output below a file": (
        lambda here: predicting(
            here, here.clips / "grey", here.clips / "color.mp4", output=text(here, "file").name
        ),
        OUTPUT,
        "file: no folder can be made here (File exists)",
        "give another one with -o",
    ),
    "output of an unknown kind": (
        lambda here: predicting(here, here.clips / "grey", output="out.avi"),
        USAGE,
        "out.avi: cannot write .avi files",
        "use .gif, .mp4, .webm, .webp, .apng, .npy, .tif, .tiff, .nc, or end the path in /",
    ),
    "output into a folder of other things": (
        lambda here: (
            [*predicting(here, here.clips / "grey", output="frames"), "--overwrite"]
            if text(here, "notes.txt").rename(folder(here, 0) / "notes.txt")
            else None
        ),
        OUTPUT,
        "frames holds notes.txt, which is no frame of framecast",
        "choose an empty or a new folder",
    ),
    "runs below a file": (
        lambda here: [*training(here, here.clips / "grey"), "--runs", text(here, "file") / "runs"],
        OUTPUT,
        "file/runs: no run folder can be made here (",
        "give a writable folder with --runs",
    ),
}


# Name: as above; these come after a line that says what is being done.
WRONG_EXPORTS = {
    "no model and no frames": (
        lambda here: ["export", here.tmp / "none", "-o", here.tmp / "out.gif"],
        SOURCE,
        "none: no such file or folder",
        "check the path",
    ),
    "text named .pt": (
        lambda here: ["export", text(here, "model.pt"), "-o", here.tmp / "out.pt2"],
        MODEL,
        "model.pt: damaged, or not a model",
        "give a .pt file that `framecast train` wrote",
    ),
    "a model as a video": (
        lambda here: ["export", here.grey_run, "-o", here.tmp / "out.mp4"],
        USAGE,
        "out.mp4: a model cannot become a file of this kind",
        "end the name in .onnx, .pt2, .torchscript, .safetensors",
    ),
    "frames as another kind of file": (
        lambda here: ["export", here.clips / "grey", "-o", here.tmp / "out.avi"],
        USAGE,
        "out.avi: cannot write .avi files",
        "use .gif, .mp4, .webm, .webp, .apng, .npy, .tif, .tiff, .nc, or end the path in /",
    ),
    "a size that is none": (
        lambda here: ["export", here.grey_run, "-o", here.tmp / "out.pt2", "--size", "4*4"],
        USAGE,
        "--size: expected HEIGHTxWIDTH, got '4*4'",
        "write it like 96x160",
    ),
    "output exists": (
        lambda here: ["export", here.grey_run, "-o", text(here, "out.pt2")],
        OUTPUT,
        "out.pt2 exists already",
        "choose another name or pass --overwrite",
    ),
}


def state(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_input_is_one_clear_line_with_its_exit_code(run, here, kind):
    build, expected, says, remedy = WRONG[kind]
    arguments = build(here)
    before = state(here.tmp), state(here.grey_run)
    code, out, err = run(*arguments)
    assert (code, out) == (expected, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert says in err
    assert remedy in err.partition(says)[2]
    assert (state(here.tmp), state(here.grey_run)) == before


@pytest.mark.parametrize("kind", WRONG_EXPORTS)
def test_wrong_exports_end_in_one_clear_line_with_its_exit_code(run, here, kind):
    build, expected, says, remedy = WRONG_EXPORTS[kind]
    arguments = build(here)
    before = state(here.tmp)
    code, out, err = run(*arguments)
    assert (code, out) == (expected, ""), err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert remedy in last.partition(says)[2]
    assert says in last
    assert state(here.tmp) == before
