"""Prediction on NumPy frames and clips: the network's own frames, at the clip's size and depth."""

import itertools
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import framecast
from framecast.errors import CheckpointError, SourceError, UsageError
from framecast.prediction.checkpoint import save_checkpoint
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.prediction.predict_clip import forecast_source, open_clip, predict_file
from framecast.prediction.request import PredictionRequest as Request
from framecast.video.frame_style import color_table
from framecast.video.readers.open import open_source
from tests.support.models import random_checkpoint

T, C, H, W, HORIZON = 5, 3, 7, 8, 4


def pixels(*shape, dtype=np.uint8, seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def by_hand(checkpoint, context_THWC, horizon):
    """The network's frames (horizon, H, W, C) in [0, 1]."""
    scale = np.float32(np.iinfo(context_THWC.dtype).max)
    context_BTCHW = torch.from_numpy(context_THWC.transpose(0, 3, 1, 2) / scale)[None]
    with torch.no_grad():
        frames_BTCHW = checkpoint.forecaster()(context_BTCHW, horizon)
    return frames_BTCHW[0].permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("dtype", "levels"), [(np.uint8, 0.501), (np.uint16, 1.0)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["flow-convlstm", "convlstm"])
def test_predicts_the_networks_frames_in_the_type_and_size_given(name, channels, dtype, levels):
    checkpoint = random_checkpoint(channels, f"model.name={name}")
    context = pixels(T, H, W, channels, dtype=dtype)
    future = LoadedForecaster(checkpoint, "cpu").predict(context, HORIZON)
    assert future.shape == (HORIZON, H, W, channels)
    assert future.dtype == dtype
    expected = by_hand(checkpoint, context, HORIZON) * np.iinfo(dtype).max
    np.testing.assert_allclose(future, expected, atol=levels)
    assert len(np.unique(future)) > 20


def test_a_prediction_that_is_not_finite_is_refused_with_its_lead_time():
    forecaster = LoadedForecaster(random_checkpoint(3, "model.name=convlstm"), "cpu")
    healthy, calls = forecaster.network.step, itertools.count(1)

    def step(state):
        frame_BCHW, after = healthy(state)
        return (frame_BCHW * np.nan if next(calls) == 3 else frame_BCHW), after

    forecaster.network.step = step
    frames = forecaster.stream(pixels(T, H, W, C), HORIZON)
    assert len(list(itertools.islice(frames, 2))) == 2
    with pytest.raises(CheckpointError, match="prediction 3 frames ahead is not finite"):
        next(frames)


@pytest.mark.parametrize("size", [(1, 1), (13, 6), (40, 41)])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_any_size_and_any_number_of_context_frames(size, length):
    future = LoadedForecaster(random_checkpoint(), "cpu").predict(pixels(length, *size, C), 2)
    assert future.shape == (2, *size, C)


def test_a_model_for_another_size_works_at_it_and_answers_at_the_clips_own():
    checkpoint = random_checkpoint(3, "data.resize=12x10")
    context = pixels(T, 24, 30, C)
    future = LoadedForecaster(checkpoint, "cpu").predict(context, HORIZON)
    assert future.shape == (HORIZON, 24, 30, C)
    # Both sides shrink by whole numbers, so area averages are means of 2x3 blocks.
    small = np.rint(context.reshape(T, 12, 2, 10, 3, C).mean(axis=(2, 4))).astype(np.uint8)
    frames = np.rint(255 * by_hand(checkpoint, small, HORIZON)).astype(np.uint8)
    expected = [cv2.resize(frame, (30, 24), interpolation=cv2.INTER_CUBIC) for frame in frames]
    off = np.abs(future.astype(int) - np.stack(expected))
    assert off.mean() < 0.3
    assert off.max() <= 3


def test_frames_are_made_when_they_are_asked_for():
    forecaster, steps = LoadedForecaster(random_checkpoint(), "cpu"), []
    step = forecaster.network.step
    forecaster.network.step = lambda state: (steps.append(1), step(state))[1]
    context = pixels(T, H, W, C)
    frames = forecaster.stream(context, 10**6)
    assert steps == []
    first = list(itertools.islice(frames, 3))
    assert len(steps) == 3
    np.testing.assert_array_equal(np.stack(first), forecaster.predict(context, 3))


def test_a_forecast_is_told_of_before_its_first_frame_which_may_take_long(tmp_path):
    forecaster, told = LoadedForecaster(random_checkpoint(), "cpu"), []
    step = forecaster.network.step
    forecaster.network.step = lambda state: (told.append("step"), step(state))[1]
    np.save(tmp_path / "clip.npy", pixels(9, H, W, C))
    target = str(tmp_path / "future.npy")
    tell = lambda *progress: told.append(progress)  # noqa: E731
    predict_file(forecaster, tmp_path / "clip.npy", [target], Request(horizon=2), tell=tell)
    assert told == [(name := "clip.npy", 0, 2), "step", (name, 1, 2), "step", (name, 2, 2)]


def test_two_streams_can_be_read_in_turns():
    forecaster = LoadedForecaster(random_checkpoint(3, "train.precision=bfloat16"), "cpu")
    contexts = [pixels(T, H, W, C, seed=seed) for seed in (0, 1)]
    alone = [forecaster.predict(context, HORIZON) for context in contexts]
    streams = [forecaster.stream(context, HORIZON) for context in contexts]
    for k, pair in enumerate(zip(*streams, strict=True)):
        for frame, expected in zip(pair, alone, strict=True):
            np.testing.assert_array_equal(frame, expected[k])


def test_precision_is_the_models_and_ends_with_each_frame():
    checkpoint = random_checkpoint(3, "train.precision=bfloat16")
    forecaster, context = LoadedForecaster(checkpoint, "cpu"), pixels(T, H, W, C)
    seen = []
    step = forecaster.network.step
    forecaster.network.step = lambda state: (
        seen.append(torch.is_autocast_enabled("cpu")),
        step(state),
    )[1]
    for frame in forecaster.stream(context, 2):
        assert not torch.is_autocast_enabled("cpu")
        assert frame.dtype == np.uint8
    assert seen == [True, True]
    close = by_hand(checkpoint, context, HORIZON) * 255
    rough = forecaster.predict(context, HORIZON)
    assert np.abs(rough - close).mean() < 3
    assert (rough != np.rint(close)).any()


def test_the_public_three_lines(tmp_path):
    checkpoint = random_checkpoint()
    save_checkpoint(tmp_path / "best.pt", checkpoint)
    context = pixels(T, H, W, C)
    forecaster = framecast.load_forecaster(str(tmp_path / "best.pt"))
    future = forecaster.predict(context, HORIZON)
    assert isinstance(forecaster, framecast.LoadedForecaster)
    expected = 255 * by_hand(checkpoint, context, HORIZON)
    np.testing.assert_allclose(future, expected, atol=0.501)
    from_run = framecast.load_forecaster(tmp_path, device="cpu").predict(context, HORIZON)
    np.testing.assert_array_equal(from_run, future)


def test_the_context_given_is_not_changed():
    context = pixels(T, H, W, C)
    before = context.copy()
    LoadedForecaster(random_checkpoint(), "cpu").predict(context, 2)
    np.testing.assert_array_equal(context, before)


@pytest.mark.parametrize(
    ("context", "horizon", "error", "words"),
    [
        (pixels(T, H, W, C), 0, UsageError, "horizon 0: nothing to predict; use 1 or more"),
        (pixels(T, H, W, C), 10**12, UsageError, "horizon 1000000000000: more frames than can"),
        (pixels(T, H, W, 1), 2, CheckpointError, r"3 channels.* have 1; read .*color=.rgb."),
        (pixels(H, W), 2, ValueError, r"\(T, H, W, C\).*received shape \(7, 8\)"),
        (pixels(0, H, W, C), 2, ValueError, r"received shape \(0, 7, 8, 3\)"),
        (pixels(T, 0, W, C), 2, ValueError, r"received shape \(5, 0, 8, 3\)"),
        (np.full((T, H, W, C), 2.5), 2, ValueError, "value_range 0 to 1; received values from 2.5"),
    ],
)
def test_what_it_cannot_work_on_is_refused(context, horizon, error, words):
    with pytest.raises(error, match=words):
        LoadedForecaster(random_checkpoint(), "cpu").predict(context, horizon)


def test_a_model_whose_weights_do_not_fit_names_the_file(tmp_path):
    other = random_checkpoint(1, "model.filters=[4, 5]").weights
    save_checkpoint(tmp_path / "best.pt", replace(random_checkpoint(3), weights=other))
    with pytest.raises(CheckpointError, match=rf"^{tmp_path}/best\.pt: the weights do not fit"):
        framecast.load_forecaster(tmp_path / "best.pt", device="cpu")


class Noting:
    """Stands in for a forecaster: notes the context, answers with the lead time."""

    fallback_note = None

    def __init__(self, *settings):
        self.config, self.channels, self.context = random_checkpoint(3, *settings).config, 3, None
        self.trained_horizon = int(self.config.data.horizon)

    def stream(self, context_THWC, horizon):
        self.context = context_THWC
        for lead in range(1, horizon + 1):
            yield np.full_like(context_THWC[0], lead)

    def tile_side(self, *size):
        return None


@pytest.fixture
def clip(tmp_path):
    """30 colour frames, each of which shows its number."""
    numbers = np.arange(30, dtype=np.uint8)[:, None, None, None]
    np.save(tmp_path / "clip.npy", np.broadcast_to(numbers, (30, H, W, C)))
    return open_source(tmp_path / "clip.npy")


@pytest.mark.parametrize(
    ("settings", "request_", "context"),
    [
        ((), Request(), [25, 26, 27, 28, 29]),
        ((), Request(start=3), [3, 4, 5, 6, 7]),
        ((), Request(start=25), [25, 26, 27, 28, 29]),
        ((), Request(compare=True), [21, 22, 23, 24, 25]),
        ((), Request(compare=True, horizon=7), [18, 19, 20, 21, 22]),
        (("data.frame_step=3",), Request(), [17, 20, 23, 26, 29]),
        (("data.frame_step=3",), Request(start=2), [2, 5, 8, 11, 14]),
        (("data.frame_step=3",), Request(compare=True), [5, 8, 11, 14, 17]),
    ],
)
def test_the_context_is_the_newest_frames_or_those_asked_for(clip, settings, request_, context):
    forecaster = Noting(*settings)
    forecast = forecast_source(forecaster, clip, request_)
    frames = list(forecast.frames)
    assert forecaster.context[:, 0, 0, 0].tolist() == context
    assert len(frames) == forecast.count
    if not request_.compare:
        assert [frame[0, 0, 0] for frame in frames] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("cut", "settings", "request_", "context"),
    [
        (26, (), Request(), [26, 27, 28, 29]),
        (29, (), Request(), [29]),
        (25, (), Request(), [25, 26, 27, 28, 29]),
        (24, (), Request(), [25, 26, 27, 28, 29]),
        (9, (), Request(start=6), [9, 10]),
        (11, (), Request(start=6), [6, 7, 8, 9, 10]),
        (22, (), Request(compare=True), [22, 23, 24, 25]),
        (19, ("data.frame_step=3",), Request(), [20, 23, 26, 29]),
        (27, ("data.frame_step=3",), Request(), [29]),
        (26, ("data.scene_cuts=false",), Request(), [25, 26, 27, 28, 29]),
    ],
)
def test_a_context_begins_where_its_scene_does(tmp_path, cut, settings, request_, context):
    numbers = np.arange(30, dtype=np.uint8)
    numbers[cut:] += 100  # as bright as no motion makes it
    np.save(tmp_path / "clip.npy", np.broadcast_to(numbers[:, None, None, None], (30, H, W, C)))
    forecaster = Noting(*settings)
    clip = open_source(tmp_path / "clip.npy")
    forecast = forecast_source(forecaster, clip, request_)
    seen = forecaster.context[:, 0, 0, 0] if len(list(forecast.frames)) == forecast.count else None
    assert [number % 100 for number in seen] == context
    notes = [note for note in forecast.notes if "cuts to another scene" in note]
    frames = "1 frame" if len(context) == 1 else f"{len(context)} frames"
    told = f"frame {cut}: the context is the {frames} from there on, not 5"
    assert [note.endswith(told) for note in notes] == [True] * (len(context) < 5)


@pytest.mark.parametrize(
    ("breaks", "settings", "request_", "context", "told"),
    [
        ([27], (), Request(), [27, 28, 29], [27]),
        ([6, 28, 29], (), Request(), [29], [29]),
        ([25], (), Request(), [25, 26, 27, 28, 29], []),
        ([8], (), Request(start=6), [8, 9, 10], [8]),
        ([11], (), Request(start=6), [6, 7, 8, 9, 10], []),
        ([21], ("data.frame_step=3",), Request(), [23, 26, 29], [21]),
        ([27], ("data.scene_cuts=false",), Request(), [27, 28, 29], [27]),
        ([26], (), Request(compare=True), [17, 18, 19, 20, 21], []),
        ([*range(8, 30, 8)], (), Request(compare=True), [24, 25], [24]),
        ([12], (), Request(compare=True, start=6), [6, 7, 8, 9, 10], [12]),
    ],
)
def test_a_context_begins_after_the_last_break(clip, breaks, settings, request_, context, told):
    clip.break_at(breaks, "frames are missing")
    forecaster = Noting(*settings)
    forecast = forecast_source(forecaster, clip, request_)
    list(forecast.frames)
    assert forecaster.context[:, 0, 0, 0].tolist() == context
    notes = [note for note in forecast.notes if "has a break before" in note]
    assert [int(re.search(r"frame (\d+)", note)[1]) for note in notes] == told
    if len(context) < 5:
        frames = "1 frame" if len(context) == 1 else f"{len(context)} frames"
        assert f"the context is the {frames} from there on, not 5" in notes[0]


def test_a_comparison_shows_the_true_frames_beside_the_predicted(clip, monkeypatch):
    shown = {}

    def picture(context_THWC, prediction, truth, **_):
        shown.update(
            context=[frame[0, 0, 0] for frame in context_THWC],
            prediction=[frame[0, 0, 0] for frame in prediction],
            truth=[frame[0, 0, 0] for frame in truth],
        )
        yield from ()

    monkeypatch.setattr("framecast.prediction.predict_clip.comparison_video", picture)
    forecast = forecast_source(Noting("data.frame_step=3"), clip, Request(compare=True, start=1))
    assert list(forecast.frames) == []
    assert shown == {
        "context": [1, 4, 7, 10, 13],
        "prediction": [1, 2, 3, 4],
        "truth": [16, 19, 22, 25],
    }


def test_the_rate_is_the_clips_thinned_by_the_frame_step_or_the_one_asked_for(clip):
    timed = Noting("data.frame_step=2")
    assert forecast_source(timed, clip, Request()).fps == 5.0
    clip.info = replace(clip.info, fps=25.0)
    assert forecast_source(timed, clip, Request()).fps == 12.5
    assert forecast_source(timed, clip, Request(fps=7.0)).fps == 7.0


def test_notes_say_what_was_assumed(clip):
    notes = forecast_source(Noting(), clip, Request(horizon=6)).notes
    assert any("has no frame rate: 10 per second" in note for note in notes)
    assert any("horizon 6 goes beyond the 4 frames" in note for note in notes)
    assert not forecast_source(Noting(), clip, Request(fps=5.0)).notes


@pytest.mark.parametrize(
    ("settings", "request_", "words"),
    [
        (
            (),
            Request(start=26),
            "30 frames, 31 are needed .*26 before the start .* 5 of context",
        ),
        (
            (),
            Request(compare=True, horizon=29),
            "30 frames, 31 are needed .2 of context . 29 of truth",
        ),
        (("data.frame_step=30",), Request(), "30 frames, 31 are needed .2 of context, 30 frames"),
        (("data.context_length=1",), Request(start=30), "30 frames, 31 are needed"),
    ],
)
def test_a_clip_that_is_too_short_says_by_how_much(clip, settings, request_, words):
    with pytest.raises(SourceError, match=words):
        forecast_source(Noting(*settings), clip, request_)


@pytest.mark.parametrize(
    ("settings", "request_", "context"),
    [
        ((), Request(compare=True, horizon=26), [0, 1, 2, 3]),
        ((), Request(compare=True, horizon=28), [0, 1]),
        (("data.frame_step=8",), Request(), [5, 13, 21, 29]),
        (("data.frame_step=29",), Request(), [0, 29]),
        (("data.context_length=31",), Request(), [*range(30)]),
    ],
)
def test_a_clip_shorter_than_the_context_gives_what_it_has(clip, settings, request_, context):
    forecaster = Noting(*settings)
    forecast = forecast_source(forecaster, clip, request_)
    assert len(list(forecast.frames)) == forecast.count
    assert forecaster.context[:, 0, 0, 0].tolist() == context
    trained = forecaster.config.data.context_length
    told = f"{clip.info.path.name} is short: the context is {len(context)} frames, not {trained}"
    assert told in forecast.notes


@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"horizon": -3}, {"start": -1}])
def test_requests_that_mean_nothing_are_usage_errors(wrong):
    with pytest.raises(UsageError):
        Request(**wrong)


@pytest.mark.parametrize(
    ("scores", "fallback"),
    [
        ({"validation_mse": 0.2, "persistence_mse": 0.3, "flow_mse": 0.25}, None),
        ({"validation_mse": 0.2, "persistence_mse": 0.3, "flow_mse": 0.1}, "optical flow"),
        ({"validation_mse": 0.2, "persistence_mse": 0.05, "flow_mse": 0.1}, "last frame"),
        ({"validation_mse": 0.2}, None),
    ],
)
def test_a_network_that_lost_its_training_leaves_forecasting_to_the_classical(scores, fallback):
    forecaster = LoadedForecaster(replace(random_checkpoint(), scores=scores), "cpu")
    assert forecaster.fallback == fallback
    if fallback == "last frame":
        context = pixels(T, H, W, C)
        future = forecaster.predict(context, HORIZON)
        np.testing.assert_array_equal(future, np.repeat(context[-1:], HORIZON, axis=0))
        assert "did not beat the last frame" in forecaster.fallback_note


def test_networks_that_are_there_to_be_compared_never_fall_back():
    scores = {"validation_mse": 0.2, "persistence_mse": 0.05, "flow_mse": 0.1}
    checkpoint = replace(random_checkpoint(3, "model.name=convlstm"), scores=scores)
    assert checkpoint.fallback is None


def test_predictions_are_painted_with_lead_times_as_asked(run, clips, grey_run, tmp_path):
    command = ("predict", grey_run, clips / "grey.npy", "--colormap", "magma")
    for name, more in (("p", ("--labels", "--step-minutes", 5)), ("c", ("--compare",))):
        assert run(*command, "-o", tmp_path / f"{name}.npy", *more)[0] == 0
    assert run(*command[:3], "-o", tmp_path / "plain.npy")[0] == 0
    plain, painted = np.load(tmp_path / "plain.npy"), np.load(tmp_path / "p.npy")
    table = color_table("magma")
    height = plain.shape[1]
    np.testing.assert_array_equal(painted[:, -height:], table[plain[..., 0]])
    assert (painted[0, :-height] != painted[1, :-height]).any()  # another lead time
    compared = np.load(tmp_path / "c.npy")
    assert (compared.max(axis=-1) != compared.min(axis=-1)).mean() > 0.2
    code, _, err = run(*command[:3], "-o", tmp_path / "r.gif", "--colormap", "radar")
    assert (code, "what pixels mean in dBZ is not known" in err) == (2, True)
    radar = ("--colormap", "radar", "--value-scale", "-10..60 dBZ", "--stream")
    assert run(*command[:3], "-o", tmp_path / "s.gif", *radar)[0] == 0


def test_a_comparison_has_the_legend_of_its_colours(run, clips, grey_run, tmp_path):
    command = ("predict", grey_run, clips / "grey.npy", "--compare", "--colormap", "magma")
    scale = ("--value-scale", "0..12.5 mm/h")
    assert run(*command, "-o", tmp_path / "plain.npy")[0] == 0
    code, _, err = run(*command, *scale, "-o", tmp_path / "a.npy", "-o", tmp_path / "a.mp4")
    assert code == 0
    assert "padded" not in err
    plain, explained = np.load(tmp_path / "plain.npy"), np.load(tmp_path / "a.npy")
    width = plain.shape[2]
    np.testing.assert_array_equal(explained[:, :, :width], plain)
    legend = explained[:, :, width:]
    assert (legend == legend[0]).all()
    shown = {tuple(color) for color in legend[0].reshape(-1, 3).tolist()}
    table = {tuple(color) for color in color_table("magma").tolist()}
    assert len(shown & table) > 100


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["frame_20260928_2350", "frame_20260928_2355", "frame_20260929_0000"]),
        (("--start=0",), ["frame_20260928_2345", "frame_20260928_2350", "frame_20260928_2355"]),
        (("--step-minutes=10",), ["frame_20260928_2355", "frame_20260929_0005"]),
        (("--compare", "--start=0"), ["frame_20260928_2330", "frame_20260928_2335"]),
    ],
)
def test_files_of_frames_carry_the_time_that_the_clips_names_have(
    run, grey_run, tmp_path, options, names
):
    moments = [datetime(2026, 9, 28, 23, minute) for minute in (30, 35, 40, 45)]
    if "--compare" in options:
        moments += [datetime(2026, 9, 28, 23, 50) + timedelta(minutes=5 * i) for i in range(3)]
    (tmp_path / "radar").mkdir()
    for moment in moments:
        picture = pixels(18, 26, seed=moment.minute)
        cv2.imwrite(str(tmp_path / f"radar/radar_{moment:%Y%m%d%H%M}.png"), picture)
    code, _, err = run("predict", grey_run, tmp_path / "radar", *options, "-o", tmp_path / "out/")
    assert code == 0, err
    found = sorted(path.stem for path in (tmp_path / "out").iterdir())
    assert found[: len(names)] == names


def test_files_of_frames_carry_the_lead_time(run, clips, grey_run, tmp_path):
    for options, names in (
        ((), ["lead_0001", "lead_0002", "lead_0003", "lead_0004"]),
        (("--step-minutes=7.5",), [f"lead_{t}min" for t in ("0007.50", "0015.00", "0022.50")]),
        (("--compare",), ["input_0001", "input_0002", "input_0003", "lead_0001"]),
    ):
        target = f"{tmp_path}/{len(names)}{len(options)}{options[:1]}/"
        assert run("predict", grey_run, clips / "grey.npy", *options, "-o", target)[0] == 0
        assert sorted(path.stem for path in Path(target).iterdir())[: len(names)] == names


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [0.0, 0.004, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("tile", [None, 64])
def test_a_constant_clip_stays_what_it_is_to_the_bit(dtype, level, tile):
    checkpoint = random_checkpoint(3, "data.resize=none")
    value = round(level * np.iinfo(dtype).max)
    context = np.full((T, 40, 90, C), value, dtype)
    future = LoadedForecaster(checkpoint, "cpu", tile=tile).predict(context, 8)
    assert set(np.unique(future)) == {value}


def test_a_range_that_is_asked_for_holds_whatever_the_models_is(tmp_path):
    values = np.arange(20 * 16 * 24, dtype=np.int16).reshape(20, 16, 24) % 990
    np.save(tmp_path / "a.npy", values)
    for model_range in ("auto", "0..4095", "-9000..-8000"):
        checkpoint = random_checkpoint(1, f"data.range={model_range}")
        forecaster = LoadedForecaster(checkpoint, "cpu")
        source = open_clip(forecaster, tmp_path / "a.npy", Request(range="100..900"))
        assert source.info.values.text == "100..900"
        (frame_HWC,) = source.read(7, 8)
        expected = np.clip((values[7] - 100.0) / 800, 0, 1)
        np.testing.assert_allclose(frame_HWC[..., 0] / 65535, expected, atol=1e-4)


def test_axes_and_variable_of_the_training_clips_hold_for_arrays_alone(tmp_path, clips):
    trained = ("data.axes=TWH", "data.variable=rain")
    forecaster = LoadedForecaster(random_checkpoint(1, *trained), "cpu")
    frames_THW = pixels(T, H, W)
    np.savez(tmp_path / "named.npz", rain=frames_THW, wind=frames_THW)
    np.save(tmp_path / "single.npy", frames_THW)
    for path in (tmp_path / "named.npz", tmp_path / "single.npy"):
        info = open_clip(forecaster, path, Request()).info
        assert (info.height, info.width) == (W, H)
    assert open_clip(forecaster, clips / "grey", Request()).info.kind == "folder"
    with pytest.raises(UsageError, match="grey: --axes is for arrays; leave it out"):
        open_clip(forecaster, clips / "grey", Request(axes="TWH"))
