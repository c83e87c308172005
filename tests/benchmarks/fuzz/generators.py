"""Seeded generators of damaged and hostile input: each writes files and returns a command line.

What is mutated is a valid file of the kind, so that most cases come past the first check. Archives
with odd flags and headers of huge pictures are tests (`tests/video/test_hostile_files.py`).
"""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image

from framecast.config.loading import example_yaml, fields, load_config
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.checkpoint import Checkpoint, save_checkpoint
from tests.support.media import write_video

T, H, W = 6, 12, 18
SETTINGS = ["model.filters=[3]", "model.patch=4", "data.context_length=3", "data.horizon=2"]
EDGES = (0, 1, 2, 3, 4, 7, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
"""Integers at which sizes and counters of file formats overflow."""
VIDEOS = {"mp4": "mpeg4", "avi": "mjpeg", "mkv": "ffv1", "mov": "mpeg4", "webm": "libvpx"}

Generator = Callable[[random.Random, Path, dict[str, bytes]], list[str]]


def valid_files(folder: Path) -> dict[str, bytes]:
    """A small valid file of every kind, by suffix; `model.pt` stays in the folder, too."""
    frames_THWC = np.random.default_rng(0).integers(0, 256, (T, H, W, 3), dtype=np.uint8)
    images = [Image.fromarray(frame) for frame in frames_THWC]
    files = {}
    for name, frames in (("npy", frames_THWC), ("npy16", frames_THWC[..., 0].astype("<u2"))):
        np.save(file := io.BytesIO(), frames)
        files[name] = file.getvalue()
    for name, save in (("npz", np.savez), ("npz-deflated", np.savez_compressed)):
        save(file := io.BytesIO(), frames=frames_THWC)
        files[name] = file.getvalue()
    for name in ("gif", "tiff", "webp", "png"):
        stack = {"save_all": True, "append_images": images[1:]}
        images[0].save(file := io.BytesIO(), name, **stack)
        files[name] = file.getvalue()
    for name in ("jpeg", "bmp", "ppm"):
        images[0].save(file := io.BytesIO(), name)
        files[name] = file.getvalue()
    with h5py.File(file := io.BytesIO(), "w") as stored:
        stored["frames"] = frames_THWC
    files["h5"] = file.getvalue()
    for suffix, codec in VIDEOS.items():
        path = folder / f"clip.{suffix}"
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        write_video(path, frames_THWC, codec, pixels=pixels)
        files[suffix] = path.read_bytes()
    config = load_config(None, SETTINGS, {})
    network = build_forecaster(config.model, 3, (H, W))
    clip = {"channels": 3, "height": H, "width": W}
    path = folder / "model.pt"
    save_checkpoint(path, Checkpoint(config, clip, network.state_dict(), {"validation_mse": 0.1}))
    files["pt"] = path.read_bytes()
    return files


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The data with one to four changes, more often near the start, where headers are."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        reach = min(len(data), draw.choice((32, 200, len(data))))
        at = draw.randrange(reach + 1)
        size = min(draw.choice((1, 2, 4, 8, 100)), len(data) - at)
        kind = draw.randrange(6)
        if kind == 0:
            data = data[:at]
        elif kind == 1:
            data = data[:at] + draw.randbytes(size) + data[at + size :]
        elif kind == 2:
            data = data[:at] + data[at + size :]
        elif kind == 3:
            data = data[: at + size] + data[at:]
        elif kind == 4 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        else:
            form = draw.choice(("<H", ">H", "<I", ">I", "<Q"))
            number = draw.choice(EDGES) % 256 ** struct.calcsize(form)
            data = data[:at] + struct.pack(form, number) + data[at + struct.calcsize(form) :]
    return data


def _reading(draw: random.Random, path: Path) -> list[str]:
    """A command that reads the clip: its header, all its frames, or a context for a model."""
    clip = str(path)
    commands = (
        ["inspect-shapes", clip],
        ["export", clip, "-o", "out.npy"],
        ["export", clip, "-o", "out.gif"],
        ["predict", "../model.pt", clip, "-o", "out.npy", "--horizon", "1"],
    )
    return draw.choice(commands)


def file_of(*kinds: str) -> Generator:
    """A generator of one damaged file, or for pictures a folder with one damaged frame."""

    def generate(draw: random.Random, folder: Path, valid: dict[str, bytes]) -> list[str]:
        kind = draw.choice(kinds)
        data = mutated(valid[kind], draw)
        suffix = kind.partition("-")[0].removesuffix("16")
        if suffix in {"png", "jpeg", "bmp", "ppm", "webp", "tiff"} and draw.random() < 0.8:
            (folder / "frames").mkdir()
            bad = draw.randrange(T)
            for number in range(T):
                content = data if number == bad else valid[kind]
                (folder / f"frames/{number}.{suffix}").write_bytes(content)
            return _reading(draw, folder / "frames")
        (folder / f"clip.{suffix}").write_bytes(data)
        return _reading(draw, folder / f"clip.{suffix}")

    return generate


def numpy_header(draw: random.Random, folder: Path, valid: dict[str, bytes]) -> list[str]:
    """An array whose header says something else than what follows it."""
    side = (*EDGES, -1, 2**40, 2**63, 1.5, "None", "'a'", True)
    shape = [draw.choice((T, H, W, 3, *side)) for _ in range(draw.choice((0, 1, 3, 4, 4, 5)))]
    dtypes = ("|u1", "<u2", "<f4", ">f8", "<f2", "|b1", "|O", "<c8", "|S5", "x", "<M8[s]")
    dtype = draw.choice(dtypes)
    fortran = draw.choice(("True", "False", "False", "1", "None"))
    shown = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    text = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': ({shown}), }}"
    if draw.random() < 0.2:
        text = mutated(text.encode(), draw).decode("latin-1")
    version = draw.choice(((1, 0), (1, 0), (2, 0), (3, 0), (9, 9)))
    header = text.encode("latin-1", "replace") + b" " * draw.randrange(64) + b"\n"
    form = "<H" if version[0] == 1 else "<I"
    length = draw.choice((len(header), len(header), draw.choice(EDGES)))
    length %= 256 ** struct.calcsize(form)
    magic = b"\x93NUMPY" + bytes(version) + struct.pack(form, length)
    data = magic + header + draw.randbytes(draw.choice((0, 100, 5000)))
    if draw.random() < 0.6:
        (folder / "clip.npy").write_bytes(data)
        return _reading(draw, folder / "clip.npy")
    with zipfile.ZipFile(folder / "clip.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", data)
        if draw.random() < 0.3:
            archive.writestr(draw.choice(("b.npy", "../c.npy", "d.txt")), data)
    return _reading(draw, folder / "clip.npz")


def hostile_values(draw: random.Random) -> Any:
    """A value that no field of a model file expects."""
    tensor = torch.ones(2, 3)
    return draw.choice(
        (
            lambda: None,
            lambda: True,
            lambda: draw.choice((*EDGES, -1, 10**12, -(2**63))),
            lambda: draw.choice((float("nan"), float("inf"), -0.5, 1e308)),
            lambda: draw.choice(("", "x", "auto", "\x1b[31m\n", "a" * 100_000)),
            lambda: draw.choice(([], {}, (), [[]], {"a": 1}, [None], {1: 2}, [10**9] * 50)),
            tensor.to_sparse,
            lambda: torch.ones(1).expand(10**6, 10**6),
            lambda: tensor.to(torch.float8_e4m3fn),
            lambda: tensor.to(torch.complex64),
            lambda: torch.empty(3, 4, device="meta"),
            lambda: torch.zeros(0),
            tensor.double,
        )
    )()


def model_fields(draw: random.Random, folder: Path, valid: dict[str, bytes]) -> list[str]:
    """A model file in which one to three entries hold something else, or are gone."""
    contents = torch.load(io.BytesIO(valid["pt"]), weights_only=True)
    for _ in range(draw.choice((1, 1, 2, 3))):
        place, key = contents, draw.choice([*contents])
        while isinstance(place[key], dict) and place[key] and draw.random() < 0.9:
            place = place[key]
            key = draw.choice([*place])
        if draw.random() < 0.15:
            del place[key]
        else:
            place[key] = hostile_values(draw)
    torch.save(contents, folder / "model.pt")
    return _with_model(draw, folder)


def model_bytes(draw: random.Random, folder: Path, valid: dict[str, bytes]) -> list[str]:
    """A model file with damaged bytes."""
    (folder / "model.pt").write_bytes(mutated(valid["pt"], draw))
    return _with_model(draw, folder)


def _with_model(draw: random.Random, folder: Path) -> list[str]:
    np.save(folder / "clip.npy", np.zeros((T, H, W, 3), np.uint8))
    return draw.choice(
        (
            ["predict", "model.pt", "clip.npy", "-o", "out.npy"],
            ["inspect-shapes", "model.pt"],
            ["evaluate", "model.pt", "clip.npy", "--windows", "1"],
        )
    )


def settings_file(draw: random.Random, folder: Path, valid: dict[str, bytes]) -> list[str]:
    """A YAML file of settings with other values, other structure or other bytes."""
    lines = example_yaml().splitlines()
    for _ in range(draw.choice((1, 1, 3, 10))):
        at = draw.randrange(len(lines))
        name = draw.choice(fields()).name
        value = draw.choice(
            ("", "1e999", "-1", "[1, [2]]", "{a: b}", "&a [*a]", "!!python/name:os.system", "'1'",
             "0x10", "1:30", "no", "~", "9" * 5000, "[" * 500, "\t", "\x00", "é", "? a", "| x", "%")
        )  # fmt: skip
        lines[at] = draw.choice((f"  {name}: {value}", value, lines[at] * 2, f"{name}: {value}"))
    data = "\n".join(lines).encode()
    if draw.random() < 0.3:
        data = mutated(data, draw)
    (folder / "settings.yaml").write_bytes(data)
    return draw.choice(
        (["config", "show", "--config", "settings.yaml"], ["inspect-shapes", "settings.yaml"])
    )


def command_line(draw: random.Random, folder: Path, valid: dict[str, bytes]) -> list[str]:
    """Options and values that do not belong together, paths that cannot be."""
    np.save(folder / "clip.npy", np.zeros((T, H, W, 3), np.uint8))
    (folder / "file").write_text("x")
    os.mkfifo(folder / "fifo")
    paths = (
        "clip.npy", "../model.pt", "file", "", ".", "/", "gone", "file/below", "/dev/null",
        "/dev/zero", "/dev/full", "a" * 300, "a" * 251 + ".gif", "~nosuchuser/x", "/proc/self/mem",
        "\udcff.gif", "день.gif", "a\nb.npy", "-", "--", "out.gif", "out/", "out.npy", "x.yaml",
    )  # fmt: skip
    values = (*paths, "0", "1", "-1", "1e9", "nan", "auto", "12x18", "0x0", "99999999999x1", "é")
    commands = {
        "predict": ("-o", "--horizon", "--start", "--format", "--tile", "--match", "--fps",
                    "--color", "--device", "--size", "--stream", "--compare", "--overwrite"),
        "evaluate": ("--horizon", "--stride", "--windows", "--threshold", "--scale", "--csv",
                     "--report", "--json", "--protocol", "--overwrite"),
        "inspect-shapes": ("--config", "--set", "--size", "--channels", "--input", "--layer",
                           "--samples", "--json"),
        "export": ("-o", "--horizon", "--context-length", "--size", "--fps", "--overwrite"),
        "train": ("--config", "--set", "--resume", "--runs", "--minutes", "--crop", "--dry-run"),
    }  # fmt: skip
    name = draw.choice([*commands])
    arguments = [name]
    arguments += ["../model.pt", "clip.npy"][: draw.randrange(3)] if draw.random() < 0.7 else []
    for _ in range(draw.randrange(4)):
        option = draw.choice(commands[name])
        arguments.append(option)
        if not option.startswith(("--stream", "--compare", "--overwrite", "--json", "--dry")):
            arguments.append(draw.choice(values))
    if draw.random() < 0.3:
        arguments.append(draw.choice(paths))
    if name == "train":  # a whole training is another benchmark
        arguments += ["--minutes", "0.001", "--set", "train.epochs=1", "--set", "model.filters=[2]"]
    return arguments


GENERATORS: dict[str, Generator] = {
    "npy": file_of("npy", "npy16"),
    "npy header": numpy_header,
    "npz": file_of("npz", "npz-deflated"),
    "hdf5": file_of("h5"),
    "gif": file_of("gif"),
    "tiff": file_of("tiff"),
    "png": file_of("png"),
    "other pictures": file_of("jpeg", "bmp", "ppm", "webp"),
    "video": file_of(*VIDEOS),
    "model fields": model_fields,
    "model bytes": model_bytes,
    "settings": settings_file,
    "command line": command_line,
}
"""By the names that reports and --kind give them."""
