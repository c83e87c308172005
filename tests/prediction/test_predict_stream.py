"""One frame in, one forecast out: the forecasts of `predict`, one context held, ended by Ctrl-C."""

import os
import signal
import time
import weakref
from io import BytesIO, TextIOWrapper

import cv2
import numpy as np
import pytest

from framecast.prediction import loaded_forecaster
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.prediction.model_header import ModelHeader
from framecast.prediction.predict_clip import forecast_source
from framecast.prediction.predict_stream import nowcast, open_feed, stoppable
from framecast.prediction.request import PredictionRequest as Request
from framecast.video.readers.live import _images
from framecast.video.readers.open import open_source
from framecast.video.scene_detection import NEIGHBOURS
from framecast.video.writers.png import write_picture
from tests.support.children import forked_program, without_progress
from tests.support.media import encoded
from tests.support.models import random_checkpoint
from tests.support.tiny_runs import CONTEXT, FRAMES, HEIGHT, WIDTH

T, C, H, W, TC = 12, 3, 7, 8, 5


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", ["flow-convlstm", "convlstm", "shi2015"])
@pytest.mark.parametrize(("step", "horizon"), [(1, 1), (1, 3), (2, 2)])
def test_each_forecast_is_what_predict_makes_of_its_context(name, step, horizon):
    checkpoint = random_checkpoint(C, f"model.name={name}", f"data.frame_step={step}")
    forecaster, clip = LoadedForecaster(checkpoint, "cpu"), pixels(T, H, W, C)
    forecasts = list(nowcast(forecaster, iter(clip), horizon))
    assert len(forecasts) == T - step
    for newest, forecast in enumerate(forecasts, start=step):
        first = max(newest - (TC - 1) * step, newest % step)
        context = clip[first : newest + 1 : step]
        assert 2 <= len(context) <= TC
        np.testing.assert_array_equal(forecast, forecaster.predict(context, horizon)[-1])


def test_a_model_of_one_frame_forecasts_from_the_first():
    forecaster = LoadedForecaster(random_checkpoint(C, "data.context_length=1"), "cpu")
    assert len(list(nowcast(forecaster, iter(pixels(3, H, W, C))))) == 3


def test_a_forecast_is_made_before_the_next_frame_is_asked_for():
    asked = []

    def frames():
        for number, frame in enumerate(pixels(4, H, W, C)):
            asked.append(number)
            yield frame

    forecasts = nowcast(LoadedForecaster(random_checkpoint(), "cpu"), frames())
    for newest in (1, 2, 3):
        next(forecasts)
        assert asked == list(range(newest + 1))


class Counted(np.ndarray):
    """A frame that, unlike a plain array, can be watched while it is alive."""


def frames_alive(count, alive):
    """Black frames, each of whose numbers is in `alive` for as long as it is held."""
    for number in range(count):
        frame = np.zeros((H, W, C), np.uint8).view(Counted)
        alive.add(number)
        weakref.finalize(frame, alive.discard, number)
        yield frame
        del frame


class Repeating:
    """Stands in for a forecaster: answers with the newest frame."""

    def __init__(self):
        self.config = random_checkpoint().config

    def stream(self, context_THWC, horizon):
        for _ in range(horizon):
            yield context_THWC[-1]


@pytest.mark.parametrize("horizon", [1, 50])
def test_no_more_frames_are_held_than_a_context_those_beside_it_and_the_newest(horizon):
    alive, most = set(), 0
    for _ in nowcast(Repeating(), frames_alive(300, alive), horizon):
        most = max(most, len(alive))
    assert TC <= most <= TC + NEIGHBOURS + 1


class Telling(ModelHeader):
    """Stands in for a forecaster: answers with the numbers that its context shows."""

    fallback_note = None

    def __init__(self, *settings):
        super().__init__(random_checkpoint(C, *settings).config, C)

    def stream(self, context_THWC, horizon):
        yield context_THWC[:, 0, 0, 0] % 100

    def tile_side(self, *size):
        return None


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("cut", [4, 11, 16])
def test_behind_a_cut_the_context_begins_anew_as_it_does_for_predict(tmp_path, cut, step):
    numbers = np.arange(20, dtype=np.uint8)
    numbers[cut:] += 100  # as bright as no motion makes it
    np.save(tmp_path / "clip.npy", np.broadcast_to(numbers[:, None, None, None], (20, H, W, C)))
    clip, forecaster = open_source(tmp_path / "clip.npy"), Telling(f"data.frame_step={step}")
    found = [context.tolist() for context in nowcast(forecaster, clip.read())]
    for newest, context in enumerate(found, start=step):
        assert context[-1] == newest
        assert context == [n for n in context if n >= cut or newest < cut]
        start = newest - (TC - 1) * step
        if start >= 0:
            (seen,) = forecast_source(forecaster, clip, Request(start=start, horizon=1)).frames
            assert context == seen.tolist()
    assert len(found) == 20 - step
    uncut = Telling(f"data.frame_step={step}", "data.scene_cuts=false")
    assert all(len(c) == TC for c in [*nowcast(uncut, clip.read())][TC * step :])


@pytest.mark.parametrize("step", [1, 2])
def test_no_context_reaches_back_over_missing_frames(tmp_path, step):
    numbers = [n for n in range(21) if n not in (0, 9, 18)]
    for n in numbers:
        write_picture(tmp_path / f"{n:02}.png", np.full((H, W, C), n, np.uint8))
    clip = open_source(tmp_path, color="rgb")
    forecaster = Telling(f"data.frame_step={step}", "data.scene_cuts=false")
    for start in (0, 3):
        feed = open_feed(forecaster, tmp_path, Request(stream=True, start=start, color="rgb"))
        found = [c.tolist() for c in nowcast(forecaster, feed.frames, 1, feed.breaks)]
        assert [context[-1] for context in found] == numbers[start + step :]
        for newest, context in enumerate(found, start=start + step):
            first = newest - (TC - 1) * step
            if first >= start:
                (seen,) = forecast_source(forecaster, clip, Request(start=first, horizon=1)).frames
                assert context == seen.tolist()
    assert found[-1] == [20] if step == 2 else [19, 20]


@pytest.mark.parametrize(("color", "channels"), [(None, 3), ("gray", 1), ("rgb", 3)])
def test_live_frames_are_read_in_the_colours_asked_for(monkeypatch, color, channels):
    frames = pixels(4, H, W, channels)
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(frames.tobytes())))
    request = Request(stream=True, size=f"{H}x{W}", color=color)
    np.testing.assert_array_equal(list(open_feed(Telling(), "-", request).frames), frames)


def test_stream_and_predict_agree_on_the_command_line(run, clips, grey_run, tmp_path):
    stream = ("predict", grey_run, clips / "grey.npy", "--stream")
    code, out, err = run(*stream, "-o", tmp_path / "all.npy")
    assert (code, out) == (0, f"{tmp_path}/all.npy\n")
    assert "grey.npy has no frame rate: 10 per second" in err
    forecasts = np.load(tmp_path / "all.npy")
    assert forecasts.shape == (FRAMES - 1, HEIGHT, WIDTH, 1)
    for start in (0, 7, FRAMES - CONTEXT):
        target = tmp_path / f"{start}.npy"
        options = ("--start", start, "--horizon", 2, "-o", target)
        assert run("predict", grey_run, clips / "grey.npy", *options)[0] == 0
        np.testing.assert_array_equal(np.load(target)[0], forecasts[start + CONTEXT - 2])
    assert run(*stream, "-o", tmp_path / "part.npy", "--start", 5, "--horizon", 2)[0] == 0
    part = np.load(tmp_path / "part.npy")
    assert len(part) == FRAMES - 1 - 5
    np.testing.assert_array_equal(part[3], np.load(tmp_path / "7.npy")[1])


def test_a_video_keeps_its_rate_whatever_the_models_frame_step(run, clips, color_run, tmp_path):
    target = tmp_path / "out.mp4"
    assert run("predict", color_run, clips / "color.mp4", "--stream", "-o", target)[0] == 0
    info = open_source(target).info
    assert (info.frames, info.fps, info.channels) == (FRAMES - 1, 12.5, 3)


def test_a_frame_into_the_pipe_a_forecast_out_of_it(clips, grey_run):
    frames = np.load(clips / "grey.npy")
    process = forked_program("predict", grey_run, "-", "--stream", "-o", "-")
    out = _images(process.stdout)
    expected = loaded_forecaster.load_forecaster(grey_run)
    process.stdin.write(encoded(frames[0], "png"))
    for newest in (1, 2, 3):
        process.stdin.write(encoded(frames[newest], "png"))
        process.stdin.flush()
        forecast = next(out)  # waits for ever if it came only with the next frame
        context = frames[max(0, newest - CONTEXT + 1) : newest + 1, :, :, None]
        np.testing.assert_array_equal(forecast, expected.predict(context, 1)[0])
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert without_progress(err.decode()) == [
        "flow-convlstm on cpu in float32",
        "note: standard input has no frame rate: 10 per second is assumed, --fps sets another",
    ]


def test_ctrl_c_ends_a_live_stream_with_a_whole_file(clips, grey_run, tmp_path):
    frames = np.load(clips / "grey.npy")
    target = tmp_path / "live.npy"
    process = forked_program("predict", grey_run, "-", "--stream", "-o", target, "--fps", 5)
    with process:
        process.stdin.write(b"".join(encoded(frame, "png") for frame in frames[:4]))
        process.stdin.flush()
        give_up = time.monotonic() + 300
        while not any(tmp_path.rglob("*.npy")):  # begun with the first forecast
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait(300) == 0, process.stderr.read()
    assert out.decode() == f"{target}\n"
    assert 1 <= len(np.load(target)) <= 3
    assert [*tmp_path.iterdir()] == [target]


def test_ctrl_c_before_a_clip_is_through_keeps_what_is_done(
    run, clips, grey_run, tmp_path, monkeypatch
):
    stream, calls = LoadedForecaster.stream, []

    def interrupted(self, context_THWC, horizon):
        calls.append(1)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        yield from stream(self, context_THWC, horizon)

    monkeypatch.setattr(LoadedForecaster, "stream", interrupted)
    clip = clips / "grey.npy"
    code, out, err = run("predict", grey_run, clip, clips / "color.mp4", "--stream", "-o", tmp_path)
    assert (code, out) == (130, "")
    target = tmp_path / "grey-prediction.gif"
    assert err.splitlines()[-1] == f"error: interrupted; {target} holds the 6 forecasts made before"
    assert open_source(target).info.frames == 6
    assert [*tmp_path.iterdir()] == [target]


def test_a_second_ctrl_c_does_not_wait():
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stoppable(iter([1, 2])) as (frames, signals):
        os.kill(os.getpid(), signal.SIGINT)
        assert signals == [signal.SIGINT]
        assert list(frames) == []
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_stream_that_breaks_keeps_what_was_forecast(clips, grey_run, tmp_path):
    frames = np.load(clips / "grey.npy")
    target = tmp_path / "out.npy"
    process = forked_program("predict", grey_run, "-", "--stream", "-o", target)
    data = b"".join(encoded(frame, "png") for frame in frames[:5])
    _, err = process.communicate(data[:-9], timeout=300)
    assert process.returncode == 3
    assert err.decode().splitlines()[-1] == (
        "error: standard input: frame 4 cannot be read (the stream ends in it); "
        f"{target} holds the 3 forecasts made before; check the program that sends it"
    )
    assert np.load(target).shape == (3, HEIGHT, WIDTH, 1)


def test_a_reader_that_goes_is_one_line(clips, grey_run):
    frames = np.load(clips / "grey.npy")
    process = forked_program("predict", grey_run, "-", "--stream", "-o", "-")
    process.stdout.close()
    process.stdout = None
    data = b"".join(encoded(frame, "png") for frame in frames[:3])
    _, err = process.communicate(data, timeout=300)
    assert process.returncode == 5
    told = without_progress(err.decode())
    assert told == ["error: -: cannot write the PNG stream (Broken pipe)"]


def test_deep_frames_stay_deep_through_the_pipe(clips, grey_run):
    deep = np.load(clips / "grey.npy").astype(np.uint16) * 257
    process = forked_program("predict", grey_run, "-", "--stream", "-o", "-")
    data = b"".join(cv2.imencode(".png", frame)[1].tobytes() for frame in deep[:2])
    out, _ = process.communicate(data, timeout=300)
    (forecast,) = [cv2.imdecode(np.frombuffer(out, np.uint8), cv2.IMREAD_UNCHANGED)]
    assert (forecast.dtype, forecast.shape) == (np.uint16, (HEIGHT, WIDTH))
