"""framecast from Python: one script that runs, results that show and save themselves."""

import base64
import io
import json
import re
import runpy
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tifffile import imread

import framecast
from framecast.errors import ConfigError, SourceError, UsageError
from framecast.training import pipeline, preparation
from framecast.video.readers.open import open_source
from framecast.video.writers.open import open_writer
from tests.support.media import smooth_clip
from tests.support.tiny_runs import CONTEXT, HORIZON

SCRIPT = Path(__file__).with_name("notebook.py")


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "clip.npy", smooth_clip(24, 18, 26)[..., 1])
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    out = capsys.readouterr().out
    assert "Clip((24, 18, 26, 1) uint8, 10 frames/s)" in out
    assert "Clip((4, 18, 26, 1) uint8, 10 frames/s) Clip((6, 18, 26) float32" in out
    assert "lead  framecast  last frame  optical flow" in out
    assert "MSE x 1000" in out
    assert out.endswith("(4, 18, 26, 1)\n")
    assert framecast.read(tmp_path / "future.gif").frames.shape[0] == 4
    assert "<title>framecast: clip.npy</title>" in (tmp_path / "report.html").read_text()


def test_what_predict_gives_is_what_the_command_writes(run, clips, grey_run, tmp_path):
    target = tmp_path / "future.npy"
    assert run("predict", grey_run, clips / "grey.npy", "-o", target)[0] == 0
    found = framecast.predict(clips / "grey.npy", grey_run)
    np.testing.assert_array_equal(np.load(target), found.frames)
    again = framecast.predict(np.load(clips / "grey.npy"), framecast.load_forecaster(grey_run))
    np.testing.assert_array_equal(again.frames, found.frames[..., 0])
    assert again.frames.shape == (HORIZON, 18, 26)


def test_an_array_shorter_than_the_context_is_the_context(clips, grey_run, tmp_path):
    frames = np.load(clips / "grey.npy")[:2]
    found = framecast.predict(frames, grey_run)
    expected = framecast.load_forecaster(grey_run).predict(frames[..., None], HORIZON)
    np.testing.assert_array_equal(found.frames, expected[..., 0])
    assert found.notes == ("the clip is short: the context is 2 frames, not 3",)
    np.save(tmp_path / "two.npy", frames)
    np.testing.assert_array_equal(
        framecast.predict(tmp_path / "two.npy", grey_run).frames, expected
    )
    batch = framecast.predict(np.stack([frames[..., None], frames[::-1, ..., None]]), grey_run)
    np.testing.assert_array_equal(batch.frames[0], expected)


def test_batches_and_floats_come_back_as_they_were_given(clips, grey_run):
    frames = np.load(clips / "grey.npy")[..., None]
    forecaster = framecast.load_forecaster(grey_run)
    batch = np.stack([frames[:CONTEXT], frames[4 : 4 + CONTEXT]])
    found = forecaster.predict(batch, 2)
    assert found.shape == (2, 2, 18, 26, 1)
    np.testing.assert_array_equal(found[1], forecaster.predict(batch[1], 2))
    kelvin = 200 + 100 * (batch[0] / 255)
    floats = forecaster.predict(kelvin, 2, (200, 300))
    assert floats.dtype == np.float64
    # One level of uint8 is 0.39 K; rounding to whole levels is the only difference.
    np.testing.assert_allclose(floats, 200 + 100 * (found[0] / 255), atol=0.25)


def test_results_show_themselves(clips, grey_run):
    clip = framecast.read(clips / "grey.npy")
    html = clip._repr_html_()
    assert re.search(r'<img alt="20 frames"[^>]* src="data:image/gif;base64,R0lG', html)
    assert len(clip) == 20
    assert np.asarray(clip).shape == clip.frames.shape
    assert json.loads(clip.to_json())["shape"] == [20, 18, 26, 1]
    evaluation = framecast.evaluate(grey_run, clips / "grey.npy", windows=1)
    assert evaluation.summary in evaluation._repr_html_()
    assert evaluation.table("psnr").startswith("PSNR dB\nlead  framecast  last frame")
    assert json.loads(evaluation.to_json())["summary"] == evaluation.summary


def test_large_and_long_clips_are_shown_smaller_and_thinned():
    clip = framecast.Clip(smooth_clip(130, 12, 640)[..., :1], 30)
    html = clip._repr_html_()
    assert html.endswith("30 frames/s), one frame in 3 is shown</figcaption></figure>")
    data = re.search(r'alt="44 frames"[^>]* src="data:image/gif;base64,([^"]*)"', html)[1]
    with Image.open(io.BytesIO(base64.b64decode(data))) as gif:
        assert (gif.size, gif.n_frames, gif.info["duration"]) == ((320, 6), 44, 100)


def test_evaluations_are_saved_by_their_ending_and_overwrite_nothing(clips, grey_run, tmp_path):
    evaluation = framecast.evaluate(grey_run, clips / "grey.npy", windows=1)
    for name in ("report.html", "scores.csv", "scores.json"):
        assert evaluation.save(tmp_path / name) == tmp_path / name
        with pytest.raises(framecast.errors.OutputError, match="exists already"):
            evaluation.save(tmp_path / name)
    assert json.loads((tmp_path / "scores.json").read_text())["protocol"] == "pixel"
    with pytest.raises(UsageError, match=r"use \.html, \.csv, \.json"):
        evaluation.save(tmp_path / "report.pdf")


def test_a_clip_is_written_and_read_again_as_it_was(tmp_path):
    frames = smooth_clip(5, 18, 26)
    path = framecast.write(tmp_path / "a.npy", frames)
    again = framecast.read(path)
    np.testing.assert_array_equal(again.frames, frames)
    assert again.notes[-1] == f"{path} has no frame rate: 10 per second is assumed"
    framecast.write(tmp_path / "b.gif", framecast.Clip(frames[..., 0], 25))
    again = framecast.read(tmp_path / "b.gif")
    assert again.fps == 25
    assert not any("frame rate" in note for note in again.notes)
    framecast.write(tmp_path / "c.npy", frames[..., 0] / 255)
    np.testing.assert_allclose(np.load(tmp_path / "c.npy"), frames[..., :1] / 255, atol=1 / 65535)
    framecast.write(tmp_path / "d.mp4", framecast.Clip(frames, np.float32(12.5)))
    assert framecast.read(tmp_path / "d.mp4").fps == 12.5


def test_a_clip_out_of_a_file_keeps_its_values_and_the_shape_of_its_pixels(
    run, clips, grey_run, tmp_path
):
    celsius = (40 * (np.load(clips / "grey.npy") / 255) - 10).astype(np.float32)
    np.save(tmp_path / "celsius.npy", celsius)
    clip = framecast.read(tmp_path / "celsius.npy")
    found = imread(clip.save(tmp_path / "celsius.tif"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, celsius, atol=41 / 65535)

    assert run("predict", grey_run, tmp_path / "celsius.npy", "-o", tmp_path / "asked.npy")[0] == 0
    future = framecast.predict(tmp_path / "celsius.npy", grey_run)
    written = np.load(future.save(tmp_path / "future.npy"))
    np.testing.assert_array_equal(written, np.load(tmp_path / "asked.npy"))
    again = framecast.predict(clip, grey_run).save(tmp_path / "again.npy")
    np.testing.assert_array_equal(np.load(again), written)

    with open_writer(tmp_path / "wide.mp4", fps=10, pixel_aspect=Fraction(2)) as wide:
        for frame in smooth_clip(3, 18, 26):
            wide.write(frame)
    copy = framecast.read(tmp_path / "wide.mp4").save(tmp_path / "copy.mp4")
    assert open_source(copy).info.pixel_aspect == 2


def test_arrays_are_read_by_variable_axes_and_range_as_the_command_does(
    run, clips, grey_run, tmp_path
):
    frames = np.load(clips / "grey.npy")
    np.savez(tmp_path / "two.npz", other=frames[::-1] // 2, wanted=frames.transpose(1, 2, 0))
    how = {"variable": "wanted", "axes": "HWT", "range": "0..200"}
    clip = framecast.read(tmp_path / "two.npz", **how)
    expected = np.rint(np.minimum(frames / 200, 1) * 255)
    np.testing.assert_allclose(clip.frames[..., 0], expected, atol=1)
    flags = [f"--{name}={value}" for name, value in how.items()]
    target = tmp_path / "asked.npy"
    assert run("predict", grey_run, tmp_path / "two.npz", "-o", target, *flags)[0] == 0
    found = framecast.predict(tmp_path / "two.npz", grey_run, **how)
    np.testing.assert_array_equal(np.load(found.save(tmp_path / "found.npy")), np.load(target))


def test_a_forecast_of_floats_is_saved_in_their_range(clips, grey_run, tmp_path):
    kelvin = 200 + 100 * (np.load(clips / "grey.npy") / 255).astype(np.float32)
    future = framecast.predict(kelvin, grey_run, value_range=(200, 300))
    assert future.value_range == (200, 300)
    for name in ("future.npy", "future.tif"):
        future.save(tmp_path / name)
    for found in (np.load(tmp_path / "future.npy")[..., 0], imread(tmp_path / "future.tif")):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, future.frames, atol=100 / 65535)
    shown = framecast.read(future.save(tmp_path / "future.apng")).frames[..., 0]
    np.testing.assert_allclose(200 + 100 * (shown / 65535), future.frames, atol=100 / 65535)
    # What has been forecast can be a context in turn.
    assert framecast.predict(future, grey_run).value_range == (200, 300)


def test_a_forecast_says_that_the_model_falls_back(clips, grey_run, monkeypatch):
    forecaster = framecast.load_forecaster(grey_run)
    monkeypatch.setattr(forecaster, "fallback", "optical flow")
    frames = np.load(clips / "grey.npy")
    for source in (clips / "grey.npy", frames, framecast.Clip(frames, 5)):
        notes = framecast.predict(source, forecaster).notes
        assert "so the optical flow makes the forecast" in notes[-1]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda run, clip: framecast.predict(5, run), ValueError, r"must be .*received shape \(\)"),
        (lambda run, clip: framecast.predict(clip[0], run), ValueError, "add a time axis"),
        (lambda run, clip: framecast.predict(clip[:1], run), ValueError, "1 frame; give more f"),
        (lambda run, clip: framecast.predict(clip, run, start=18), ValueError, "20 frames and sta"),
        (lambda run, clip: framecast.predict(clip, 7), ValueError, "expected a path; received int"),
        (lambda run, clip: framecast.predict("none.mp4", run), SourceError, "no such file"),
        (lambda run, clip: framecast.read(None), ValueError, "received NoneType"),
        (lambda run, clip: framecast.read(""), ValueError, "received ''; give a str or a Path"),
        (
            lambda run, clip: framecast.predict("x.npy", run, value_range=(0, 9)),
            ValueError,
            r"arrays of floats; received x\.npy; give range=",
        ),
        (
            lambda run, clip: framecast.read("x", variables="a"),
            ValueError,
            "variables: unknown opt",
        ),
        (lambda run, clip: framecast.read("x", axes=3), ValueError, "axes: expected str"),
        (lambda run, clip: framecast.predict("x", run, fps=3), ValueError, "there are color, axes"),
        (lambda run, clip: framecast.predict(clip, run, axes="THW"), ValueError, "axes says how"),
        (lambda run, clip: framecast.write("x.gif", 9 * clip), ValueError, "give value_range="),
        (lambda run, clip: framecast.write("x.gif", "no"), ValueError, "array of numbers"),
        (lambda run, clip: framecast.write("x.gif", clip + 0.5), ValueError, "value_range 0 to 1"),
        (lambda run, clip: framecast.train("x", epoch=3), ConfigError, "epoch"),
        (lambda run, clip: framecast.train("x", lr="high"), ConfigError, "expected a number"),
        (lambda run, clip: framecast.evaluate(run, "x", step=1), ValueError, "there are horizon"),
        (
            lambda run, clip: framecast.evaluate(run, "x", thresholds=(0.4,)),
            ValueError,
            "of str; r",
        ),
        (lambda run, clip: framecast.evaluate(run, "x", windows="9"), ValueError, "int; received"),
        (lambda run, clip: framecast.predict(clip, run, horizon="3"), ValueError, "int or None; r"),
        (lambda run, clip: framecast.predict(clip, run, start=1.5), ValueError, "start: expected"),
        (lambda run, clip: framecast.predict(clip, run, device=3), ValueError, "device 3: unknown"),
        (lambda run, clip: framecast.predict(clip, run, value_range=3), ValueError, "two numbers"),
        (lambda run, clip: framecast.load_forecaster(run).predict(clip, 2.5), ValueError, "whole"),
        (
            lambda run, clip: next(framecast.load_forecaster(run).stream(clip[..., None], 1)),
            UsageError,
            "of uint8 or uint16; received float64",
        ),
        (lambda run, clip: framecast.load_forecaster(3), ValueError, "received int; give a str"),
        (lambda run, clip: framecast.predict(clip, "none.pt"), ValueError, "none.pt: no such file"),
        (lambda run, clip: framecast.read(run, color="red"), ValueError, "auto or gray or rgb"),
        (lambda run, clip: framecast.write("x.gif", clip, fps=0), ValueError, "rate of 0.002 to"),
        (lambda run, clip: framecast.write("x.gif", clip, fps="x"), ValueError, "fps must be a n"),
        (
            lambda run, clip: framecast.write("x.gif", [clip[0], clip[1, 1:]]),
            ValueError,
            "one size",
        ),
        (
            lambda run, clip: framecast.load_forecaster(run, match="a"),
            ValueError,
            "--match a: out of range",
        ),
        (lambda run, clip: framecast.train(None), ValueError, "expected paths; received NoneType"),
        (lambda run, clip: framecast.train(clip), ValueError, "ndarray; give .* framecast.write"),
        (lambda run, clip: framecast.train([clip]), ValueError, "a path; received ndarray"),
        (framecast.evaluate, ValueError, "expected paths; received ndarray"),
        (lambda run, clip: framecast.Clip("no", 10), ValueError, "array of numbers"),
        (lambda run, clip: framecast.Clip(clip, None), ValueError, "number; received None; give"),
        (lambda run, clip: framecast.load_forecaster(run, tile="64"), ValueError, "whole number"),
        (
            lambda run, clip: framecast.predict(np.stack([clip] * 3, -1), run),
            ValueError,
            r'the frames have 3; read files with framecast.read\(path, color="gray"\)',
        ),
        (lambda run, clip: framecast.train("x", minutes="a"), ConfigError, "^minutes='a': train.m"),
    ],
)
def test_wrong_input_is_a_value_error_with_what_to_do(grey_run, clips, call, error, text):
    with pytest.raises(error, match=text) as caught:
        call(grey_run, np.load(clips / "grey.npy").astype(np.float64) / 255)
    assert "has no attribute" not in str(caught.value)


def test_settings_are_taken_as_numpy_and_python_have_them(clips, tmp_path):
    settings = {"epochs": np.int64(1), "filters": np.array([2, 3]), "kernel_size": (3, 1)}
    settings |= {"steps_per_epoch": 1, "horizon": 1, "model": "convlstm", "resize": 20}
    settings |= {"device": torch.device("cpu")}
    trained = framecast.train(clips / "grey.npy", runs=tmp_path, **settings)
    config = framecast.load_forecaster(trained.folder).config
    assert (config.model.filters, config.model.kernel_size) == ((2, 3), (3, 1))
    assert (config.train.epochs, config.data.resize) == (1, "20")


@pytest.mark.filterwarnings("error")
def test_a_training_starts_from_an_earlier_one(clips, tmp_path):
    small = {"filters": (4,), "model": "convlstm", "epochs": 1, "steps_per_epoch": 1, "horizon": 2}
    small |= {"context_length": 3, "runs": tmp_path}
    first = framecast.train(clips / "grey.npy", **small)
    del small["filters"], small["model"]
    for start in (first, first.folder, str(first.model)):
        second = framecast.train(clips / "grey.npy", weights=start, **small)
        config = framecast.load_forecaster(second.folder).config
        assert (config.model.name, config.model.filters) == ("convlstm", (4,))
        assert Path(config.train.weights) in (first.folder, first.model)
        assert second.notes == ()
        assert next(iter(second.result.stage_mse)) == "pretrained"


def test_nothing_depends_on_the_default_device_of_pytorch(clips, tmp_path):
    settings = {"model": "convlstm", "filters": [4], "epochs": 1, "steps_per_epoch": 2}
    settings |= {"context_length": CONTEXT, "horizon": HORIZON, "precision": "float32"}

    def use():
        trained = framecast.train(clips / "grey.npy", runs=tmp_path, **settings)
        scores = framecast.evaluate(trained, clips / "grey.npy", windows=2)
        tiled = framecast.load_forecaster(trained.model, tile=64)
        wide = np.tile(np.load(clips / "grey.npy")[:CONTEXT], (1, 4, 4))
        future = framecast.predict(clips / "grey.npy", horizon=2)
        return trained.table(), scores.table(), tiled.predict(wide, 2), future.frames

    expected = use()
    with torch.device("meta"):  # on which every computation comes to nothing
        found = use()
    assert found[:2] == expected[:2]
    for frames, wanted in zip(found[2:], expected[2:], strict=True):
        np.testing.assert_array_equal(frames, wanted)


def test_the_minutes_of_a_training_count_from_the_call(clips, tmp_path, monkeypatch):
    prepared, begun = [], []
    monkeypatch.setattr(preparation, "prepare", lambda *_: prepared.append(time.monotonic()))

    def stop(*arguments):
        begun.append(arguments[-1])
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "train", stop)
    called = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        framecast.train(clips / "grey.npy", minutes=1, runs=tmp_path)
    assert called <= begun[0] <= prepared[0]


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_training_has_gradients_where_they_are_switched_off(clips, tmp_path, switched_off):
    settings = {"model": "convlstm", "filters": [4], "epochs": 1, "steps_per_epoch": 1}
    settings |= {"horizon": HORIZON, "precision": "float32", "runs": tmp_path}
    expected = framecast.train(clips / "grey.npy", **settings)
    with switched_off():
        trained = framecast.train(clips / "grey.npy", **settings)
        assert not torch.is_grad_enabled()
    assert trained.result.validation_mse_T == expected.result.validation_mse_T
    assert (trained.folder / "metrics.csv").exists()


def test_random_numbers_go_on_as_if_nothing_had_been_called(clips, tmp_path):
    settings = {"model": "convlstm", "filters": [4], "epochs": 1, "steps_per_epoch": 1}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained = framecast.train(clips / "grey.npy", runs=tmp_path, **settings)
    framecast.evaluate(trained, clips / "grey.npy", horizon=1, windows=1)
    framecast.predict(clips / "grey.npy", trained, horizon=1)
    assert torch.equal(torch.rand(3), expected)


def test_frames_are_taken_from_lists_and_generators(clips, grey_run):
    frames = np.load(clips / "grey.npy")
    expected = framecast.predict(frames, grey_run).frames
    clip = framecast.Clip([*frames], 10)
    assert repr(clip) == "Clip((20, 18, 26) uint8, 10 frames/s)"
    for given in (clip, [*frames], iter(frames), (frame for frame in frames)):
        np.testing.assert_array_equal(framecast.predict(given, grey_run).frames, expected)


def test_the_home_folder_is_a_tilde(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(clips)
    clip = framecast.read("grey.npy")
    assert framecast.write("~/copy.npy", clip) == tmp_path / "copy.npy"
    np.testing.assert_array_equal(framecast.read(Path("~/copy.npy")).frames, clip.frames)
    assert not (clips / "~").exists()


def test_the_pretrained_model_predicts_grey_and_colour_arrays_at_once():
    frames = smooth_clip(8, 32, 40)
    for clip in (frames, frames[..., 1]):
        future = framecast.predict(clip, horizon=2)
        assert future.frames.shape == (2, *clip.shape[1:])
        assert np.abs(future.frames.astype(int) - clip[-1]).mean() > 1
