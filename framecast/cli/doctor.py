"""The checks of `framecast doctor`: versions, codecs, devices, memory, and whether they work."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from framecast.cli.console import results, show_table, show_warnings
from framecast.cli.standard_streams import explained
from framecast.errors import FramecastError, ResourceError
from framecast.runtime.memory import machine_memory
from framecast.runtime.output_files import scratch_folder
from framecast.runtime.text import counted, show_bytes
from framecast.runtime.versions import __version__

PACKAGES = ("torch", "numpy", "opencv-python", "av", "pillow", "scenedetect", "matplotlib", "rich")

# Packages that framecast works without, and what needs them
OPTIONAL = {
    "onnx": "export to ONNX",
    "onnxruntime": "forecasts and the check with ONNX models",
    "safetensors": "export to safetensors",
    "h5py": "Keras weight files and HDF5 arrays",
    "netCDF4": "NetCDF files",
    "tensorboard": "train --tensorboard",
}

DECODERS = ("h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg", "prores", "gif")
ENCODERS = {"MP4": "libx264", "WebM": "libvpx-vp9", "GIF": "gif"}


def show_examination(facts: Sequence[tuple[str, str]], problems: Sequence[str]) -> None:
    """Print what `examine` has found; FramecastError where something is wrong."""
    table = Table.grid(padding=(0, 2))
    for topic, text in facts:
        table.add_row(Text(topic, "bold"), Text(text))
    show_table(results, table)
    show_warnings(problems)
    if problems:
        raise FramecastError("framecast does not work as it should on this machine")


def examine() -> tuple[list[tuple[str, str]], list[str]]:
    """Lines by topic about this machine, and what is wrong, each with what to do.

    Takes some seconds, most of them for loading PyTorch.
    """
    problems: list[str] = []
    facts = [*_versions(), *_codecs(problems), *_devices(), *_room(problems)]
    for topic, test in (("encode, decode", _test_codec), ("training step", _test_step)):
        started = time.monotonic()
        try:
            found = test()
        except Exception as error:  # whatever is broken here is what doctor is asked to tell
            problems.append(f"{topic}: {explained(error) or f'{type(error).__name__}: {error}'}")
            found = "FAILED"
        facts.append((topic, f"{found}, {time.monotonic() - started:.1f} s"))
    return facts, problems


def _versions() -> Iterator[tuple[str, str]]:
    system = f"Python {platform.python_version()}, {platform.platform(terse=True)}"
    yield "framecast", f"{__version__}, {system}, {platform.machine()}"
    yield "packages", ", ".join(f"{name} {_version(name, '(unknown)')}" for name in PACKAGES)
    for name, purpose in OPTIONAL.items():
        yield name, _version(name, f"not installed; needed for {purpose}")


def _version(package: str, otherwise: str) -> str:
    # Conda's OpenCV, for one, does not go by the name that it has in pip.
    with suppress(PackageNotFoundError):
        return version(package)
    return otherwise


def _codecs(problems: list[str]) -> Iterator[tuple[str, str]]:
    import av

    def has(name: str, mode: str) -> bool:
        try:
            return bool(av.Codec(name, mode))
        except av.codec.codec.UnknownCodecError:
            return False

    missing = [f"{kind} ({name})" for kind, name in ENCODERS.items() if not has(name, "w")]
    problems += [f"FFmpeg in PyAV cannot write {kind}; reinstall av" for kind in missing]
    yield "video in", ", ".join(name for name in DECODERS if has(name, "r"))
    yield "video out", ", ".join(kind for kind, name in ENCODERS.items() if has(name, "w"))


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from framecast.runtime.device import pick_device, pick_precision

    capability = torch.backends.cpu.get_cpu_capability()
    there = counted(os.cpu_count() or 1, "thread")
    yield "cpu", f"{torch.get_num_threads()} of {there}, {capability}"
    count = torch.cuda.device_count()
    names = [torch.cuda.get_device_properties(number) for number in range(count)]
    cards = ", ".join(f"{card.name} ({card.total_memory / 1e9:.0f} GB)" for card in names)
    yield "cuda", cards or "none"
    yield "mps", "available" if torch.backends.mps.is_available() else "none"
    chosen = pick_device("auto")
    yield "used by default", f"{chosen}, {pick_precision('auto', chosen)}"


def _room(problems: list[str]) -> Iterator[tuple[str, str]]:
    memory = machine_memory()
    yield "memory", "unknown" if memory is None else show_bytes(memory)
    try:
        scratch = scratch_folder()
    except ResourceError as error:
        problems.append(str(error))
        yield "decoded frames", "nowhere"
        return
    yield "decoded frames", f"{show_bytes(shutil.disk_usage(scratch).free)} free in {scratch}"


def _test_codec() -> str:
    """Write a clip as MP4 and read it again."""
    from framecast.video.readers.open import open_source
    from framecast.video.samples import shapes_frames
    from framecast.video.writers.open import write_frames

    clip_THWC = np.stack(list(shapes_frames(frames=8)))
    with tempfile.TemporaryDirectory(prefix="framecast-") as scratch:
        path = write_frames(Path(scratch, "test.mp4"), clip_THWC, fps=10)
        read_THWC = np.stack(list(open_source(path).read()))
    difference = float(np.abs(read_THWC.astype(float) - clip_THWC).mean())
    if difference > 8:  # levels of 255; H.264 as it is written differs by about 2
        raise ValueError(f"frames come back changed by {difference:.0f} of 255 levels")
    return f"{len(clip_THWC)} frames changed by {difference:.1f} of 255 levels"


def _test_step() -> str:
    """Take one optimizer step of a small network on the default device."""
    import torch

    from framecast.config.schema import ModelConfig
    from framecast.nn.forecasters.registry import build_forecaster
    from framecast.runtime.device import pick_device

    device = pick_device("auto")
    # The same step on every machine, so that reports can be compared
    torch.manual_seed(0)
    network = build_forecaster(ModelConfig(name="convlstm", filters=(8,)), 1, (32, 32)).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    clip_BTCHW = torch.rand(2, 6, 1, 32, 32, device=device)

    def loss() -> torch.Tensor:
        return (network(clip_BTCHW[:, :4], 2) - clip_BTCHW[:, 4:]).square().mean()

    before = loss()
    before.backward()
    optimizer.step()
    after = loss()
    if not after < before:
        raise ValueError(f"the loss rose from {before.item():.5f} to {after.item():.5f}")
    return f"loss {before.item():.5f} to {after.item():.5f} on {device}"
