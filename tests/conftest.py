"""What the tests of the command line share: a way to run it, small clips, small trained models."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.media import smooth_clip, write_folder, write_video

# Rich looks at these when framecast.console is imported, and a user's settings are no test's.
for name in [*os.environ]:
    if name.startswith("FRAMECAST_") or name in {"FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"}:
        del os.environ[name]
os.environ.update(COLUMNS="120", NO_COLOR="1", TERM="dumb")
# Read when Keras is imported.
os.environ.update(KERAS_BACKEND="torch", KERAS_TORCH_DEVICE="cpu")
# Tests run side by side, one a core; more threads than cores wait for one another, and forked
# programs wait for threads for ever.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)  # which may be loaded already, with what was set before

from framecast.cli.main import main  # noqa: E402  (after the environment is clean)
from tests.support.tiny_runs import FRAMES, HEIGHT, TINY, WIDTH  # noqa: E402


@pytest.fixture(autouse=True)
def float32_steps(monkeypatch):
    """Train in float32 as where processors have nothing else: else timings would decide."""
    monkeypatch.setattr("framecast.training.step_precision.computes_bfloat16", lambda: False)


@pytest.fixture
def run(capfd, monkeypatch):
    """Call the command line in this process: `run("train", clip)` gives code, out and err."""
    # Signs of life depend on how busy the machine is; those that test them set this themselves.
    monkeypatch.setattr("framecast.cli.progress.SILENCE", 3600.0)

    def call(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return call


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """color.mp4 at 12.5 per second, grey.npy, and grey/ with PNG frames; all of one size."""
    folder = tmp_path_factory.mktemp("clips")
    color_THWC = smooth_clip(FRAMES, HEIGHT, WIDTH)
    write_video(folder / "color.mp4", color_THWC)
    np.save(folder / "grey.npy", color_THWC[..., 1])
    write_folder(folder / "grey", color_THWC[..., 1])
    return folder


@pytest.fixture(scope="session")
def color_run(clips, tmp_path_factory) -> Path:
    """The run folder of a model for colour frames."""
    return trained(clips / "color.mp4", tmp_path_factory)


@pytest.fixture(scope="session")
def grey_run(clips, tmp_path_factory) -> Path:
    """The run folder of a model for grey frames."""
    return trained(clips / "grey.npy", tmp_path_factory)


def trained(clip, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert main(["train", str(clip), "--runs", str(runs), *TINY]) == 0
    return runs / "train-1"
