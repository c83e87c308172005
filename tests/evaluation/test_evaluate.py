"""A model compared with the baselines: the same windows, streamed, held out, all figures redone."""

import csv
import json
import math
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from framecast.data import reading_limits
from framecast.data.batches import WindowShape
from framecast.data.plan import make_plan
from framecast.data.windows import Window
from framecast.errors import SourceError, UsageError
from framecast.evaluation import window_scores
from framecast.evaluation.evaluate import evaluate_task
from framecast.evaluation.metrics import MeanError
from framecast.evaluation.report import MODEL
from framecast.evaluation.request import EvaluationRequest
from framecast.evaluation.task import open_task, plan_evaluation
from framecast.evaluation.window_scores import (
    WindowScores,
    as_pixels,
    stream_batches,
    stream_windows,
)
from framecast.prediction.baselines import BASELINES, optical_flow
from framecast.prediction.checkpoint import save_checkpoint
from framecast.prediction.loaded_forecaster import LoadedForecaster, load_forecaster
from framecast.prediction.predict_clip import open_clip
from framecast.prediction.request import PredictionRequest
from framecast.video.readers.base import FrameSource, ReadOptions, SourceInfo
from framecast.video.readers.open import open_source, open_sources
from framecast.video.value_range import full_range
from tests.support.models import random_checkpoint
from tests.support.tiny_runs import CONTEXT, FRAMES, HEIGHT, HORIZON, WIDTH

HELD_OUT = FRAMES - CONTEXT - HORIZON
"""First frame that the tiny models were not trained on."""


def evaluate(forecaster, sources, request=None, *baselines, **options):
    task = plan_evaluation(forecaster, sources, request or EvaluationRequest())
    return evaluate_task(task, *baselines, **options)


class NumberedSource(FrameSource):
    """Frames that hold their number; counts what is decoded and how many are alive at once."""

    def __init__(self, frames, height=6, width=9):
        super().__init__(Path("numbered"), ReadOptions())
        self.info = SourceInfo(
            path=Path("numbered"),
            kind="array",
            frames=frames,
            height=height,
            width=width,
            channels=1,
            values=full_range(np.uint16),
        )
        self.decoded, self.alive, self.most = [], [], 0

    def _decode(self, numbers):
        for number in numbers:
            self.decoded.append(number)
            frame = np.full((self.info.height, self.info.width, 1), number, np.uint16)
            self.alive = [ref for ref in self.alive if ref() is not None]
            self.alive.append(weakref.ref(frame))
            self.most = max(self.most, len(self.alive))
            yield frame
            del frame


def window_numbers(source, starts, shape):
    size = (source.info.height, source.info.width)
    return [w[:, 0, 0, 0].tolist() for w in stream_windows(source, starts, shape, size)]


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("starts", [[0], [2, 3, 5], [0, 4, 40, 41, 90], [*range(0, 80, 7)]])
def test_streamed_windows_hold_their_frames_and_each_frame_is_read_once(starts, step):
    source, shape = NumberedSource(130), WindowShape(4, 3, step)
    found = window_numbers(source, starts, shape)
    assert found == [[start + step * k for k in range(7)] for start in starts]
    assert len(source.decoded) == len(set(source.decoded))
    assert source.decoded == sorted(source.decoded)


def test_memory_and_reading_do_not_grow_with_the_clip():
    shape = WindowShape(4, 3, 1)
    source = NumberedSource(5000)
    assert len(window_numbers(source, range(0, 4000), shape)) == 4000
    assert source.most <= 7
    source = NumberedSource(500)
    assert len(window_numbers(source, range(0, 490, 5), shape)) == 98
    assert source.most <= 7
    source = NumberedSource(5000)
    assert len(window_numbers(source, range(0, 5000, 500), shape)) == 10
    assert len(source.decoded) == 10 * 7


def test_batches_hold_whole_windows_of_one_clip_within_their_budget():
    sources = [NumberedSource(40, 128, 512), NumberedSource(9, 128, 1000), NumberedSource(9)]
    windows = [Window(0, 0), Window(0, 1), Window(0, 2), Window(1, 1), Window(2, 0), Window(2, 2)]
    sizes = [(s.info.height, s.info.width) for s in sources]
    batches = list(stream_batches(sources, sizes, windows, WindowShape(4, 3, 1)))
    assert [tuple(batch.context_BTCHW.shape) for batch, _ in batches] == [
        *((2, 4, 1, 128, 512), (1, 4, 1, 128, 512), (1, 4, 1, 128, 1000), (2, 4, 1, 6, 9)),
    ]
    starts = [batch.context_BTCHW[:, 0, 0, 0, 0] * levels for batch, levels in batches]
    assert torch.cat(starts).round().tolist() == [window.start for window in windows]


@pytest.fixture
def model():
    return LoadedForecaster(random_checkpoint(1), "cpu")


@pytest.fixture
def textured(tmp_path):
    """Two grey clips of different length and size, one of 8 and one of 16 bits."""
    generator = np.random.default_rng(3)
    coarse = generator.random((2, 24, 5, 6, 1))
    smooth = np.kron(coarse, np.ones((1, 1, 5, 6, 1)))
    np.save(tmp_path / "a.npy", (255 * smooth[0, :24]).astype(np.uint8))
    np.save(tmp_path / "b.npy", (65535 * smooth[1, :13, :22, :31]).astype(np.uint16))
    return open_sources([tmp_path / "a.npy", tmp_path / "b.npy"])


def test_every_figure_is_that_of_the_rounded_frames_by_hand(model, textured, monkeypatch):
    # One window a batch, as by hand: other batch sizes may round a pixel to its neighbour.
    monkeypatch.setattr(window_scores, "BATCH_PIXELS", 1)
    request = EvaluationRequest(horizon=3, stride=4, thresholds=("0.5",))
    report = evaluate(model, textured, request)
    starts = [Window(0, s) for s in range(0, 17, 4)] + [Window(1, s) for s in (0, 4)]
    assert list(report.windows) == starts
    squares, hits, total = {}, {}, {}
    for window in starts:
        source = textured[window.clip]
        full = np.iinfo(source.info.dtype).max
        frames = np.stack(list(source.read(window.start, window.start + 8))).astype(np.float64)
        context = torch.from_numpy((frames[:5] / full).transpose(0, 3, 1, 2)[None]).float()
        for name, predictor in {MODEL: model.extrapolate, **BASELINES}.items():
            for lead, frame in enumerate(predictor(context, 3)):
                levels = np.rint(np.clip(frame[0, 0].numpy(), 0, 1) * np.float32(full))
                said, came = levels / full, frames[5 + lead, ..., 0] / full
                squares.setdefault((name, lead), []).append(((said - came) ** 2).ravel())
                hit, both = (said > 0.5) & (came > 0.5), (said > 0.5) | (came > 0.5)
                hits[name, lead] = hits.get((name, lead), 0) + hit.sum()
                total[name, lead] = total.get((name, lead), 0) + both.sum()
    for (name, lead), values in squares.items():
        expected = np.concatenate(values).mean()
        assert report.scores[name]["mse"][lead] == pytest.approx(expected, rel=1e-7), name
        csi = hits[name, lead] / total[name, lead]
        assert report.scores[name]["csi 0.5"][lead] == pytest.approx(csi, rel=1e-6), name
        rows = [value.mean() for value in values]
        np.testing.assert_allclose(report.window_mse[name][:, lead], rows, rtol=1e-7)
    skill = report.comparison.skills[1]
    best = min(report.scores[name]["mse"][1] for name in BASELINES)
    assert skill.value == pytest.approx(1 - report.scores[MODEL]["mse"][1] / best, rel=1e-9)


def test_figures_are_those_of_the_files_that_predict_writes(
    run, clips, grey_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(window_scores, "BATCH_PIXELS", 1)
    flags = ("--include-training", "--threshold", "20 dBZ", "--scale", "-10..60 dBZ")
    code, out, _ = run("evaluate", grey_run, clips / "grey.npy", "--json", *flags)
    assert code == 0
    report = json.loads(out)
    clip_THW = np.load(clips / "grey.npy").astype(np.float64)
    squares, hits, either = np.zeros((3, HORIZON))
    for window in report["windows"]:
        start, target = window["start"], tmp_path / f"{window['start']}.npy"
        flags = ("--start", start, "--horizon", HORIZON, "-o", target)
        assert run("predict", grey_run, clips / "grey.npy", *flags)[0] == 0
        said = np.load(target)[..., 0].astype(np.float64)
        came = clip_THW[start + CONTEXT : start + CONTEXT + HORIZON]
        squares += (((said - came) / 255) ** 2).mean(axis=(1, 2))
        over = (20 + 10) / 70 * 255
        hits += ((said > over) & (came > over)).sum(axis=(1, 2))
        either += ((said > over) | (came > over)).sum(axis=(1, 2))
    assert len(report["windows"]) == FRAMES - CONTEXT - HORIZON + 1
    scores = report["scores"][MODEL]
    np.testing.assert_allclose(scores["mse"], squares / len(report["windows"]), rtol=1e-6)
    np.testing.assert_allclose(scores["csi 20 dBZ"], hits / either, rtol=1e-6)


def test_the_horizon_and_stride_are_as_trained_unless_given(model, textured):
    assert evaluate(model, textured[:1]).horizon == 4
    report = evaluate(model, textured[:1], EvaluationRequest(horizon=2, stride=5, windows=2))
    assert (report.horizon, report.stride, report.windows_found) == (2, 5, 4)
    assert report.windows == (Window(0, 0), Window(0, 15))
    assert "the scores come from 2 of 4 windows, evenly spread" in report.notes
    assert len(report.scores[MODEL]["mse"]) == 2


def test_a_budget_scores_as_many_windows_as_fit_and_spreads_them(model, textured, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("framecast.evaluation.evaluate.time.monotonic", lambda: clock[0])
    totals = []

    def on_windows(total, more):  # each window takes 2 seconds
        clock[0] += 2 * more
        totals.extend([total] * more)

    def scored(**options):
        clock[0] = 100.0
        totals.clear()
        request = EvaluationRequest(horizon=2, stride=1, windows=0, **options)
        return evaluate(model, textured[:1], request, on_windows=on_windows)

    everything = scored()
    found = everything.windows_found
    report = scored(minutes=0.5)
    # Of 27 seconds, a tenth of 30 being left for the report: 2, then 4 x 2, then the 3 that fit.
    assert len(report.windows) == len(totals) == 13 < found
    assert totals == [2] * 2 + [13] * 11
    assert list(report.windows) == sorted(report.windows)
    assert {Window(0, 0), Window(0, found - 1)} <= set(report.windows)
    assert np.diff([window.start for window in report.windows]).max() <= 3
    rows = [window.start for window in report.windows]
    for name in (MODEL, "optical flow"):
        # In batches of other sizes sums are rounded in another order, and a pixel here and there.
        np.testing.assert_allclose(report.window_mse[name], everything.window_mse[name][rows], 1e-3)
        assert np.mean(report.scores[name]["mse"]) == pytest.approx(report.window_mse[name].mean())
    used = f"13 of {found} windows, evenly spread, as many as fit into 0.5 minutes"
    assert f"the scores come from {used}" in report.notes
    for minutes in (5, 1e308, math.inf):
        assert scored(minutes=minutes).windows == everything.windows
    assert len(scored(minutes=1e-6).windows) == 2


def test_a_budget_too_short_to_read_a_clip_scores_its_newest_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_limits, "READING_SHARE", 1e-12)
    save_checkpoint(tmp_path / "model.pt", random_checkpoint())
    np.save(tmp_path / "clip.npy", np.random.default_rng(1).integers(0, 255, (90, 16, 16), "u1"))

    save_checkpoint(tmp_path / "uncut.pt", random_checkpoint(3, "data.scene_cuts=false"))

    def starts(name="model.pt", **options):
        request = EvaluationRequest(windows=0, stride=1, **options)
        task = open_task(tmp_path / name, [tmp_path / "clip.npy"], request)
        return [window.start for window in task.found], task.shape.span

    everything, span = starts()
    assert everything == [*range(90 - span + 1)]
    assert starts(minutes=1.0)[0] == [*range(90 - 8 * span, 90 - span + 1)]
    # Without cuts to look for, only the windows that are scored are read
    assert starts("uncut.pt", minutes=1.0)[0] == everything

    (tmp_path / "clips").mkdir()
    for number in range(7):
        np.save(tmp_path / f"clips/{number}.npy", np.zeros((span, 16, 16), "u1"))
    few = EvaluationRequest(windows=0, minutes=1.0)
    task = open_task(tmp_path / "model.pt", [tmp_path / "clips"], few)
    assert [source.info.path.stem for source in task.sources] == ["0", "2", "3", "4", "6"]
    assert [window.clip for window in task.found] == [*range(5)]

    source = open_source(tmp_path / "clip.npy", color="rgb")
    source.use_newest(span - 1)
    needs = f"{span} frames in a row .* does not fit, the longest clip has {span - 1}"
    with pytest.raises(SourceError, match=f"{needs}; give more --minutes or a smaller --horizon"):
        plan_evaluation(load_forecaster(tmp_path / "model.pt"), [source], EvaluationRequest())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"windows": -1}, "--windows -1: nothing to score; use 0 for all"),
        ({"minutes": 0}, "--minutes 0: no time to score; use more than 0"),
        ({"stride": 0}, "--stride 0: nothing to score; use 1 or more"),
        (
            {"protocol": "best"},
            "protocol: expected pixel or openstl or nowcast; received 'best'; leave it out for .*",
        ),
    ],
)
def test_requests_that_mean_nothing_are_refused(options, text):
    with pytest.raises(UsageError, match=f"^{text}$"):
        EvaluationRequest(**options)


def test_other_forecasters_can_stand_beside_the_model(model, textured):
    report = evaluate(model, textured, EvaluationRequest(windows=2), {"copy": model.extrapolate})
    assert list(report.scores) == [MODEL, "copy"]
    assert report.scores["copy"] == report.scores[MODEL]
    assert report.comparison.overall.value == 0
    assert report.comparison.sentence.startswith("no better than copy at all leads 1-4")


def test_halves_scored_apart_and_merged_are_one_pass(model, textured):
    shape, sizes = WindowShape(5, 2, 1), [(25, 36), (22, 31)]
    windows = [Window(0, start) for start in range(6)] + [Window(1, start) for start in range(3)]

    def scored(part):
        scores = WindowScores([MeanError(2, 2)])
        for batch, levels in stream_batches(textured, sizes, part, shape):
            scores.update(batch, optical_flow(batch.context_BTCHW, 2), levels)
        return scores

    whole, first, rest = scored(windows), scored(windows[:4]), scored(windows[4:])
    first.merge(rest)
    np.testing.assert_allclose(first.mse(), whole.mse(), rtol=1e-12)
    np.testing.assert_allclose(first.by_lead_time()["mse"], whole.by_lead_time()["mse"], rtol=1e-12)


def test_pixels_are_exact_shares_of_the_full_scale():
    levels = torch.arange(256, dtype=torch.float64)
    noisy = (levels / 255).float() + 1e-4
    assert as_pixels(noisy, 255).tolist() == (levels / 255).tolist()
    assert as_pixels(torch.tensor([-0.5, 1.5]), 65535).tolist() == [0, 1]


def test_openstl_refuses_frames_of_several_sizes(model, textured):
    with pytest.raises(UsageError, match="sums over the pixels of a frame"):
        evaluate(model, textured, EvaluationRequest(protocol="openstl"))
    report = evaluate(model, textured[:1], EvaluationRequest(protocol="openstl", windows=1))
    pixel = evaluate(model, textured[:1], EvaluationRequest(windows=1))
    ratio = np.array(report.scores[MODEL]["mse"]) / pixel.scores[MODEL]["mse"]
    np.testing.assert_allclose(ratio, 25 * 36, rtol=1e-9)


def test_only_held_out_windows_are_scored_unless_told(run, clips, grey_run, tmp_path):
    renamed = tmp_path / "renamed.npy"
    renamed.write_bytes((clips / "grey.npy").read_bytes())
    for clip in (clips / "grey.npy", renamed):
        code, out, _ = run("evaluate", grey_run, clip, "--json")
        report = json.loads(out)
        assert code == 0
        assert [window["start"] for window in report["windows"]] == [HELD_OUT]
        assert not report["includes_training"]
        assert f"trained on frames 0 to {HELD_OUT - 1}, which are left out" in report["notes"][0]
    code, out, err = run("evaluate", grey_run, renamed, "--include-training")
    assert (code, out) == (0, "")
    assert f"{HELD_OUT + 1} windows of {CONTEXT} + {HORIZON} frames" in err
    assert err.splitlines()[-1].endswith("(scored on frames it was trained on)")


def test_a_clip_without_a_held_out_window_is_refused(run, clips, grey_run, tmp_path):
    code, out, err = run("evaluate", grey_run, clips / "grey.npy", "--horizon", HORIZON + 1)
    assert (code, out) == (3, "")
    assert err == (
        f"error: {clips / 'grey.npy'}: the model was trained on it, and a window of "
        f"{CONTEXT + HORIZON + 1} frames does not fit into the frames that are left; give a clip "
        "it has not seen, or "
        "score it anyway with --include-training\n"
    )
    # Scoring it anyway would not help.
    code, _, err = run("evaluate", grey_run, clips / "grey.npy", "--horizon", 500)
    assert code == 3
    assert f"a window of {CONTEXT + 500} frames in a row" in err
    assert err.endswith("give a longer clip or a smaller --horizon\n")


@pytest.mark.parametrize(
    ("clip", "flags", "words"),
    [
        ("grey.npy", "--colormap magma", "--colormap is for the page that --report writes; add"),
        ("grey.npy", "--step-minutes 5", "--step-minutes is for the page that --report writes"),
        ("grey.npy", "--report page.pdf", "page.pdf: is no name of a page; end it in .html"),
        ("grey.npy", "--report a.html --colormap radar", "what pixels mean in dBZ is not known"),
        ("color.mp4", "--report a.html --colormap magma", "is for grey frames, these are in col"),
    ],
)
def test_what_a_page_cannot_show_is_refused_before_windows_are_scored(
    run, clips, grey_run, color_run, monkeypatch, clip, flags, words
):
    monkeypatch.setattr("framecast.evaluation.evaluate.evaluate_task", None)
    model = grey_run if clip == "grey.npy" else color_run
    code, _, err = run("evaluate", model, clips / clip, "--include-training", *flags.split())
    assert (code, words in err) == (2, True), err


def test_the_table_ends_with_the_summary_and_says_what_is_measured(run, clips, grey_run):
    code, out, err = run("evaluate", grey_run, clips / "grey", "--protocol", "nowcast")
    assert (code, out) == (0, "")
    for word in " ".join((MODEL, *BASELINES)).split():  # titles break between words
        assert word in err
    assert "protocol nowcast: errors over pixels, and events beyond thresholds" in err
    assert "csi 0.5: hits / (hits + misses + false alarms), pixels brighter than 0.5" in err
    assert err.splitlines()[-1].split()[0] in ("better", "no", "worse")


def test_matched_forecasts_are_scored_and_said_to_be(run, clips, grey_run):
    flags = ("--include-training", "--windows", 2, "--json")
    scores = []
    for share in ((), ("--match", 0.25)):
        code, out, _ = run("evaluate", grey_run, clips / "grey.npy", *flags, *share)
        assert code == 0
        report = json.loads(out)
        scores.append(report["scores"])
        said = (
            "the model's frames are moved 25% of the way to the last context frame's distribution"
        )
        assert any(note.startswith(said) for note in report["notes"]) == bool(share)
    plain, moved = scores
    assert plain[MODEL]["mse"] != moved[MODEL]["mse"]
    assert plain["optical flow"] == moved["optical flow"]


def test_json_is_one_document_whatever_else_is_written(run, clips, grey_run, tmp_path):
    files = ("--csv", tmp_path / "a.csv", "--report", tmp_path / "a.html")
    command = ("evaluate", grey_run, clips / "grey.npy", "--windows", 2, "--json", *files)
    code, out, err = run(*command)
    assert code == 0, err
    assert json.loads(out)["scores"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.html"]


def test_csv_has_a_row_for_every_figure_and_is_not_overwritten(run, clips, grey_run, tmp_path):
    target = tmp_path / "figures.csv"
    arguments = ("evaluate", grey_run, clips / "grey", "--csv", target, "--horizon", 2)
    code, out, _ = run(*arguments)
    assert (code, out) == (0, f"{target}\n")
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (5 * 4 + 1)
    kinds = {(row["forecaster"], row["metric"], row["lead"]) for row in rows}
    assert len(kinds) == len(rows)
    assert (MODEL, "skill", "2") in kinds
    before = target.read_bytes()
    code, out, err = run(*arguments)
    assert (code, out) == (5, "")
    assert err == f"error: {target} exists already; choose another name or pass --overwrite\n"
    assert target.read_bytes() == before
    assert run(*arguments, "--overwrite")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["figures.csv"]


def test_the_held_out_score_is_the_one_training_reported(grey_run, clips):
    forecaster = load_forecaster(grey_run, "cpu")
    source = open_source(clips / "grey.npy")
    plan = make_plan([source.info], forecaster.config)
    report = evaluate(forecaster, [source])
    assert report.windows == plan.validation
    with (grey_run / "metrics.csv").open() as file:
        best = min(csv.DictReader(file), key=lambda row: float(row["validation_mse"]))
    assert report.mean(MODEL, "mse") == pytest.approx(float(best["validation_mse"]), rel=0.01)
    flow = report.mean("optical flow", "mse")
    assert flow == pytest.approx(float(best["flow_mse"]), rel=0.01)


def test_perfect_frames_are_noted_and_never_written_as_infinity(run, grey_run, tmp_path):
    still = np.random.default_rng(0).integers(0, 256, (1, HEIGHT, WIDTH), dtype=np.uint8)
    np.save(tmp_path / "still.npy", np.repeat(still, 9, axis=0))
    code, out, _ = run("evaluate", grey_run, tmp_path / "still.npy", "--json")
    report = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert report["scores"]["last frame"]["psnr"] == [None] * HORIZON
    assert f"PSNR leaves out {3 * HORIZON} frames of last frame without error" in report["notes"]
    assert "than the last frame" in report["summary"]
    assert "which makes no error" in report["summary"]


def test_a_model_file_without_a_memory_says_so(model, textured):
    notes = evaluate(model, textured, EvaluationRequest(windows=1)).notes
    assert any("does not say which clips it was trained on" in note for note in notes)


def test_clips_too_short_or_of_other_colours_are_refused(model, textured):
    with pytest.raises(SourceError, match="a window of 35 frames in a row"):
        evaluate(model, textured, EvaluationRequest(horizon=30))


def test_clips_are_read_as_prediction_reads_them(tmp_path):
    save_checkpoint(tmp_path / "a.pt", random_checkpoint(1, "data.range=0..1000"))
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.integers(0, 60_000, (12, 16, 16, 3), dtype=np.uint16))
    task = open_task(tmp_path / "a.pt", [tmp_path / "a.npy"], EvaluationRequest(), device="cpu")
    (source,) = task.sources
    assert source.info.values.text == "0..65535"
    predicted = open_clip(task.forecaster, tmp_path / "a.npy", PredictionRequest()).info.notes
    assert source.info.notes == predicted
    assert predicted[-1] == (
        "a.npy is read as grey: the brightness of its colours, as the model was trained"
    )


def test_clips_are_read_as_asked_for(tmp_path):
    save_checkpoint(tmp_path / "a.pt", random_checkpoint(1, "data.range=0..1000"))
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 900, (15, 17, 13), dtype=np.int16) for name in ("u", "v")}
    np.savez(tmp_path / "a.npz", **arrays)
    request = EvaluationRequest(axes="HWT", variable="v", range="-100..1500")
    (source,) = open_task(tmp_path / "a.pt", [tmp_path / "a.npz"], request, device="cpu").sources
    assert (source.info.frames, source.info.height, source.info.width) == (13, 15, 17)
    assert source.info.values.text == "-100..1500"
    (frame_HWC,) = source.read(4, 5)
    expected = (arrays["v"][..., 4] + 100.0) / 1600
    np.testing.assert_allclose(frame_HWC[..., 0] / 65535, expected, atol=1e-4)
