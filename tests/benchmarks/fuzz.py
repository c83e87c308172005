"""Fuzzing that coverage leads, with Atheris, which is installed by hand (pip install atheris):

    python -m tests.benchmarks.fuzz npy CORPUS -max_total_time=600 -timeout=60

Input of one kind is changed until it runs lines that none has run; only an error of framecast's own
may come of it. CORPUS is a folder that keeps such input, so that another run goes on from there;
what follows are options of libFuzzer, which also limits memory. It stops at the first fault and
names the file. The tests draw damage of their own, of files, model fields and command lines.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris
import h5py
import numpy as np
from PIL import Image

with atheris.instrument_imports(include=["framecast"]):
    from framecast.config.loading import load_config
    from framecast.errors import FramecastError
    from framecast.nn.forecasters.registry import build_forecaster
    from framecast.prediction.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from framecast.video.readers.open import open_source

from tests.support.media import write_video

FRAMES_THWC = np.random.default_rng(0).integers(0, 256, (6, 12, 18, 3), dtype=np.uint8)
SETTINGS = ["model.filters=[3]", "model.patch=4", "data.context_length=3", "data.horizon=2"]
VIDEOS = {"mp4": "mpeg4", "avi": "mjpeg", "mkv": "ffv1", "mov": "mpeg4", "webm": "libvpx"}
KINDS = ("npy", "npz", "h5", "gif", "tiff", "webp", "png", "jpeg", "bmp", "ppm", *VIDEOS)


def write_valid(path: Path) -> None:
    """Write a small valid file of the kind that its suffix names."""
    kind, (_, height, width, channels) = path.suffix[1:], FRAMES_THWC.shape
    if kind == "npy":
        np.save(path, FRAMES_THWC)
    elif kind == "npz":
        np.savez_compressed(path, frames=FRAMES_THWC)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["frames"] = FRAMES_THWC
    elif kind in VIDEOS:
        pixels = "yuvj420p" if VIDEOS[kind] == "mjpeg" else "yuv420p"
        write_video(path, FRAMES_THWC, VIDEOS[kind], pixels=pixels)
    elif kind == "yaml":
        path.write_text("data:\n  horizon: 3\nmodel:\n  filters: [4, 5]\n")
    elif kind == "pt":
        config = load_config(None, SETTINGS, {})
        weights = build_forecaster(config.model, channels, (height, width)).state_dict()
        clip = {"channels": channels, "height": height, "width": width}
        save_checkpoint(path, Checkpoint(config, clip, weights, {"validation_mse": 0.1}))
    else:
        first, *others = map(Image.fromarray, FRAMES_THWC)
        stack = {"save_all": True, "append_images": others}
        first.save(path, **(stack if kind in ("gif", "tiff", "webp", "png") else {}))


def read(path: Path) -> None:
    """Do with a file what commands do with it first."""
    if path.suffix == ".pt":
        load_checkpoint(path).forecaster()
    elif path.suffix == ".yaml":
        load_config(path, [], {})
    else:
        for _ in open_source(path).read():
            pass


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in (*KINDS, "pt", "yaml"):
        sys.exit(f"{__doc__}\nKinds: {', '.join(KINDS)}, pt, yaml")
    kind, corpus, *options = sys.argv[1:]
    folder = Path(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    write_valid(folder / f"valid.{kind}")
    path = Path(tempfile.mkdtemp(prefix="framecast-fuzz-"), f"input.{kind}")

    def one_input(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read(path)
        except FramecastError as error:
            if "\n" in str(error):
                raise AssertionError("an error of two lines") from error

    atheris.Setup([sys.argv[0], corpus, *options], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
