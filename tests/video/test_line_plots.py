"""Plots: every line has a look of its own, gaps stay gaps, curves mark the best epoch."""

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from matplotlib import rc_context

from framecast.errors import OutputError
from framecast.video.line_plots import INK, lines_plot, to_svg, training_curves, write_png
from tests.support.media import smooth_clip


def test_no_two_lines_have_one_look():
    names = [f"forecaster {number}" for number in range(10)]
    plot = to_svg(lines_plot({name: [1.0, 2.0, 3.0] for name in names}, "lead", "MSE"))
    looks = re.findall(r'<path d="[^"]*"[^>]*style="(fill: none; [^"]*stroke: #[^"]*)"', plot)
    lines = {look for look in looks if "stroke-width: 1.4" in look or "stroke-width: 2.6" in look}
    assert len(lines) == len(names)
    assert INK not in plot
    assert "currentColor" in plot


def test_a_unit_is_shown_as_it_is_written():
    plot = to_svg(lines_plot({"model": [1.0, 2.0]}, "lead", "CSI 0.5 $\\frac$\udcff"))
    assert r"CSI 0.5 $\frac$\udcff</text>" in plot


def test_plots_look_the_same_whatever_the_users_style_is():
    def plot():
        return to_svg(lines_plot({"model": [1.0, 2.0], "last frame": [3.0, 4.0]}, "lead", "MSE"))

    expected = plot()
    # LaTeX need not be there.
    with rc_context({"text.usetex": True, "font.size": 30, "savefig.bbox": "tight"}):
        assert plot() == expected


DRAWING_COMMANDS = [
    ("inspect-shapes", "--input", "2,3,8,8,1", "--layer", "filters=4", "--diagram", "a.svg"),
    ("train", "clip.npy", "--runs", "runs", "--epochs", "1"),
    ("evaluate", "pretrained", "clip.npy", "--report", "a.html"),
    ("predict", "clip.npy", "--colormap", "viridis", "-o", "a.gif"),
]


NO_CACHE = {name: text for name, text in os.environ.items() if name != "MPLCONFIGDIR"}
NO_CACHE |= {"HOME": "/dev/null", "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}


@pytest.mark.parametrize("command", DRAWING_COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("wrong", ["MPLBACKEND", "matplotlibrc"])
def test_settings_that_matplotlib_cannot_load_are_one_sentence(tmp_path, command, wrong):
    np.save(tmp_path / "clip.npy", smooth_clip(24, 20, 26)[..., 1])
    if wrong == "matplotlibrc":
        (tmp_path / wrong).write_bytes("font.size: 9  # na\u00efve".encode("latin-1"))
    said = {"MPLBACKEND": "Key backend: 'none'", "matplotlibrc": "'utf-8' codec can't decode"}
    done = subprocess.run(
        [sys.executable, "-m", "framecast", *command],
        cwd=tmp_path,
        env=os.environ | ({"MPLBACKEND": "none"} if wrong == "MPLBACKEND" else {}),
        check=False,
        capture_output=True,
        text=True,
    )
    *_, last = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert last.startswith(f"error: matplotlib cannot be loaded with its settings ({said[wrong]}")
    assert last.endswith("; mend MPLBACKEND, or the file matplotlibrc")
    assert {path.name for path in tmp_path.iterdir()} <= {"clip.npy", "matplotlibrc"}


def test_where_no_cache_can_be_written_nothing_is_said_and_nothing_stays(tmp_path):
    np.save(tmp_path / "clip.npy", smooth_clip(24, 20, 26)[..., 1])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "framecast", *DRAWING_COMMANDS[-1]],
        cwd=tmp_path,
        # As in containers whose user has no home
        env=NO_CACHE | {"TMPDIR": str(scratch)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "a.gif\n")
    assert "atplotlib" not in done.stderr
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("command", DRAWING_COMMANDS[:2], ids=lambda command: command[0])
def test_where_no_temporary_files_can_be_written_matplotlib_is_refused(tmp_path, command):
    np.save(tmp_path / "clip.npy", smooth_clip(24, 20, 26)[..., 1])
    nowhere = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/dev/null']; "
    program = nowhere + "from framecast.cli.main import program; program()"
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=tmp_path,
        env=NO_CACHE,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (9, "")
    [error] = done.stderr.splitlines()
    assert error.startswith("error: matplotlib cannot be loaded (Matplotlib requires access to a")
    assert error.endswith("; set TMPDIR to a folder that can be written")


def test_what_is_not_defined_is_a_gap():
    figure = lines_plot({"model": [1.0, None, 3.0]}, "lead", "CSI", band=([0, 0, 0], [2, 2, 2]))
    [line] = figure.axes[0].lines
    assert list(line.get_xdata()) == [1, 2, 3]
    assert line.get_ydata()[0] == 1
    assert line.get_ydata()[1] != line.get_ydata()[1]
    assert len(figure.axes[0].collections) == 1


def test_lead_times_that_are_named_are_those_of_frames():
    figure = lines_plot({"model": [1.0] * 13}, "lead time, min", "MSE", step=7.5)
    assert list(figure.axes[0].lines[0].get_xdata()[:2]) == [7.5, 15]
    assert list(figure.axes[0].get_xticks()) == [22.5, 45, 67.5, 90]


ROWS = [
    {
        "epoch": str(epoch),
        "train_loss": "" if epoch == 0 else str(0.5 / epoch),
        "validation_mse": str(error),
        "persistence_mse": "0.009",
        "flow_mse": "0.004",
    }
    for epoch, error in enumerate((0.008, 0.005, 0.003, 0.0035))
]


def test_curves_show_the_levels_to_beat_and_mark_the_best_epoch(tmp_path):
    figure = training_curves(ROWS)
    above, below = figure.axes
    lines = {line.get_label(): line for line in above.lines}
    assert lines["last frame"].get_ydata()[0] == pytest.approx(9)
    assert lines["optical flow"].get_ydata()[0] == pytest.approx(4)
    best = lines["kept: epoch 2"]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, pytest.approx(3))
    assert list(below.lines[0].get_xdata()) == [1, 2, 3]
    rows = [row | {"improved": str(row["epoch"] in "01")} for row in ROWS]
    assert "kept: epoch 1" in [line.get_label() for line in training_curves(rows).axes[0].lines]
    write_png(tmp_path / "curves.png", figure)
    assert cv2.imread(str(tmp_path / "curves.png")).shape[2] == 3
    with pytest.raises(OutputError):
        write_png(tmp_path / "none" / "curves.png", figure)
