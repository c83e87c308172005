"""What predict and export write: several formats, free names, values of the source; notes."""

import io
import os
import shutil
import warnings

import numpy as np
import pytest
import tifffile
from rich.console import Console

from framecast.cli import console
from framecast.cli.main import warnings_as_notes
from framecast.video.readers.open import open_source
from framecast.video.readers.video_file import VideoSource
from tests.support.media import smooth_clip, write_folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_forecast_goes_into_several_files(run, clips, grey_run, here):
    code, out, _ = run(
        "predict", grey_run, clips / "grey.npy", "-o", "a.gif", "-o", "a.npy", "-o", "a.tif"
    )
    assert code == 0
    assert out.split() == ["a.gif", "a.npy", "a.tif"]
    np.testing.assert_array_equal(np.load("a.npy")[..., 0], tifffile.imread("a.tif"))


def test_a_clip_is_opened_once(run, clips, color_run, here, monkeypatch):
    opened = []
    init = VideoSource.__init__
    monkeypatch.setattr(
        VideoSource, "__init__", lambda self, *given: opened.append(given[0]) or init(self, *given)
    )
    assert run("predict", color_run, clips / "color.mp4", "-o", "a.npy")[0] == 0
    assert opened == [clips / "color.mp4"]


def test_predictions_are_named_as_the_links_that_were_given(run, clips, grey_run, here):
    for name in ("north", "south"):
        (here / name).symlink_to(clips / "grey")
    code, out, _ = run("predict", grey_run, "north", "./south/.", "-o", "out")
    assert (code, out.split()) == (0, ["out/north-prediction.gif", "out/south-prediction.gif"])


def test_a_name_that_exists_gets_a_number_unless_it_was_given(run, clips, grey_run, here):
    names = [run("predict", grey_run, clips / "grey.npy")[1].strip() for _ in range(3)]
    assert names == ["grey-prediction.gif", "grey-prediction-2.gif", "grey-prediction-3.gif"]
    code, _, err = run("predict", grey_run, clips / "grey.npy", "-o", names[0])
    assert (code, "exists already" in err) == (5, True)


def test_the_longest_name_of_a_clip_still_names_its_prediction(run, grey_run, here):
    folder = write_folder(here / ("y" * 250), smooth_clip(12)[..., 0], "f_{:02}.png")
    code, out, err = run("predict", grey_run, folder)
    assert (code, "Traceback" in err) == (0, False)
    assert out.strip() == f"{'y' * 200}-prediction.gif"


def test_names_that_are_no_utf_8_name_their_predictions(run, clips, grey_run, here):
    names = [os.fsdecode(name) for name in (b"\xe4\xff.npy", b"\xe5.npy")]
    for name in names:
        shutil.copy(clips / "grey.npy", name)
    code, _, err = run("predict", grey_run, *names)
    assert code == 0, err
    found = {os.fsencode(path.name) for path in here.glob("*.gif")}
    assert found == {b"\xe4\xff-prediction.gif", b"\xe5-prediction.gif"}


def test_a_grey_model_takes_the_brightness_of_a_colour_clip(run, clips, grey_run, here):
    code, _, err = run("predict", grey_run, clips / "color.mp4", "-o", "a.npy")
    assert code == 0
    assert "color.mp4 is read as grey: the brightness of its colours" in err
    assert np.load("a.npy").shape[3] == 1


def test_a_list_of_clips_is_predicted_one_by_one(run, clips, grey_run, here):
    (here / "clips.txt").write_text(f"{clips}/grey.npy\n{clips}/color.mp4\n")
    code, out, _ = run("predict", grey_run, "@clips.txt", "-o", "out", "--format", "npy")
    assert (code, out.split()) == (0, ["out/grey-prediction.npy", "out/color-prediction.npy"])


def test_a_setting_in_the_place_of_a_source_names_its_flag(run):
    code, _, err = run("train", "frames", "epochs=10", "--dry-run")
    assert code in (2, 3)
    code, _, err = run("train", "epochs=10", "--dry-run")
    assert code == 2
    assert "epochs=10: is no source but a setting; write --epochs 10" in err


def test_export_gives_back_type_and_values_and_speaks_of_frames(run, here):
    clip = np.linspace(-3, 60, 8 * 14 * 22).reshape(8, 14, 22).astype(np.float32)
    np.save("a.npy", clip)
    code, _, err = run("export", "a.npy", "-o", "a.tif")
    assert (code, "PyTorch" in err) == (0, False)
    found = tifffile.imread("a.tif")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, clip)
    assert run("export", "a.npy", "-o", "a.mp4")[0] == 0
    shown = np.stack(list(open_source("a.mp4", color="gray").read()))
    assert (shown.min() < 20, shown.max() > 235) == (True, True)


def test_a_librarys_warning_is_one_note(capfd):
    with warnings_as_notes():
        for _ in range(2):
            warnings.warn("Corrupt EXIF data", UserWarning, stacklevel=1)
            warnings.warn("of a library, for its programmers", DeprecationWarning, stacklevel=1)
    assert capfd.readouterr().err == "note: Corrupt EXIF data\n"


def test_a_terminal_gets_the_rest_of_a_line_below_its_last_column(monkeypatch):
    line = "conv_lstm2d  (8, 19, 64, 64, 64)  ConvLSTM2D 3x3, 64 filters: h of every step"
    for width, is_terminal, shown in (
        (60, False, [line]),
        (90, True, [line]),
        (60, True, [line[:52], " " * 34 + "filters: h of every step"]),
        (40, True, [line[:32], " " * 25 + "ConvLSTM2D 3x3,", " " * 25 + "64 filters: h"]),
    ):
        printed = io.StringIO()
        size = {"width": width, "height": 25}  # both, since a dumb terminal has 80 columns
        fake = Console(file=printed, **size, force_terminal=is_terminal, color_system=None)
        fake.soft_wrap = True
        monkeypatch.setattr(console, "results", fake)
        console.show_line(line, column=34)
        assert printed.getvalue().splitlines()[: len(shown)] == shown
