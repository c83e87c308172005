"""Scores against NumPy, scikit-image and pysteps (goldens/nowcast.json), on unequal batches."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from framecast.config.brightness_scale import read_scale
from framecast.config.loading import load_config
from framecast.data.plan import make_plan
from framecast.evaluation.metrics import (
    EVENT_SCORES,
    Contingency,
    FractionsSkill,
    MeanError,
    PeakSignalToNoise,
    StructuralSimilarity,
    make_metrics,
)
from framecast.evaluation.request import PROTOCOLS
from framecast.evaluation.thresholds import Threshold, read_threshold
from framecast.runtime.distributed import Group
from framecast.training.validation import Validation
from framecast.video.readers.open import open_source
from tests.goldens.make_nowcast import SCALES, THRESHOLDS, fields

GOLDENS = json.loads((Path(__file__).parents[1] / "goldens/nowcast.json").read_text())

B, T, C, H, W, HORIZON = 2, 5, 3, 7, 8, 4


def frames(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_mse_is_the_mean_over_all_pixels_of_all_batches_not_the_mean_of_means():
    total, kept = MeanError(HORIZON, 2), {}
    for seed, (count, height) in enumerate([(1, H), (3, 2), (2, 11)]):
        for lead in (1, 3):
            pair = [frames(count, C, height, W, seed=10 * seed + lead + i) for i in (0, 5)]
            total.update(lead, *pair)
            difference = pair[0].numpy().astype(float) - pair[1].numpy()
            kept.setdefault(lead, []).append(difference.ravel() ** 2)
    found = total.compute()
    assert found.shape == (HORIZON,)
    assert found.dtype == torch.float64
    for lead, squares in kept.items():
        np.testing.assert_allclose(found[lead - 1], np.concatenate(squares).mean(), rtol=1e-12)
    assert torch.isnan(found[[1, 3]]).all()


def test_half_precision_predictions_are_scored_in_full():
    prediction = torch.full((1, 1, 300, 300), 0.25, dtype=torch.bfloat16)
    total = MeanError(1, 2)
    total.update(1, prediction, torch.full((1, 1, 300, 300), 0.5))
    assert total.compute().item() == 0.0625


def test_validation_compares_lead_k_with_target_frame_k(tmp_path):
    clip_THWC = np.random.default_rng(4).integers(0, 256, (60, 9, 11, 1), dtype=np.uint8)
    np.save(tmp_path / "clip.npy", clip_THWC)
    settings = ["data.context_length=3", "data.horizon=4", "data.scene_cuts=false"]
    plan = make_plan([open_source(tmp_path / "clip.npy").info], load_config(None, settings, {}))

    def fading(context_BTCHW, horizon):
        assert context_BTCHW.shape[1:] == (3, 1, 9, 11)
        for lead in range(1, horizon + 1):
            yield context_BTCHW[:, -1] / lead

    found_T = Validation(plan, [clip_THWC], Group("cpu"), "float32").mse_per_lead(fading)
    unit_THWC = clip_THWC / 255
    starts = [window.start for window in plan.validation]
    expected = [
        np.mean([(unit_THWC[s + 2] / k - unit_THWC[s + 2 + k]) ** 2 for s in starts])
        for k in (1, 2, 3, 4)
    ]
    np.testing.assert_allclose(found_T, expected, rtol=1e-6)


def test_devices_without_float64_are_scored_too():
    """MPS has none: a frame has to reach the CPU before it is made double."""
    moved = []

    class Elsewhere(torch.Tensor):
        def cpu(self):
            moved.append(True)
            return self.as_subclass(torch.Tensor)

        def double(self):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    prediction, truth = (frames(1, C, H, W, seed=seed).as_subclass(Elsewhere) for seed in (0, 1))
    total = MeanError(1, 2)
    total.update(1, prediction, truth)
    assert len(moved) == 2
    assert 0.1 < total.compute().item() < 0.3


def updated(metric, *pairs, lead=1):
    for prediction, truth in pairs:
        metric.update(lead, torch.as_tensor(prediction), torch.as_tensor(truth))
    return metric


def pairs_of_batches():
    """Batches of different sizes, float64."""
    for seed, shape in enumerate([(1, C, 9, 12), (3, C, 7, 15), (2, C, 11, 8)]):
        yield tuple(frames(*shape, seed=seed + offset).double() for offset in (0, 50))


def test_absolute_error_is_the_mean_over_all_pixels():
    pairs = list(pairs_of_batches())
    expected = np.concatenate([(p - t).abs().ravel() for p, t in pairs]).mean()
    found = updated(MeanError(2, 1), *pairs, lead=2).compute()
    assert math.isnan(found[0])
    assert found[1].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("power", [1, 2])
def test_openstls_errors_are_sums_over_a_frame_and_means_over_frames(power):
    pairs = [pair for pair in pairs_of_batches() if pair[0].shape[0] > 1]
    per_frame = [((p - t).abs() ** power).sum(dim=(1, 2, 3)) for p, t in pairs]
    found = updated(MeanError(1, power, summed=True), *pairs).compute()
    assert found.item() == pytest.approx(torch.cat(per_frame).mean().item(), rel=1e-12)


def test_psnr_is_the_mean_of_decibels_not_the_decibels_of_the_mean():
    pairs = list(pairs_of_batches())
    per_frame = [
        10 * math.log10(1 / ((p[i] - t[i]) ** 2).mean().item())
        for p, t in pairs
        for i in range(len(p))
    ]
    found = updated(PeakSignalToNoise(1), *pairs).compute().item()
    assert found == pytest.approx(np.mean(per_frame), rel=1e-12)
    mse = updated(MeanError(1, 2), *pairs).compute().item()
    assert abs(found - 10 * math.log10(1 / mse)) > 1e-4


def test_frames_without_error_are_counted_apart_from_psnr():
    pair = next(pairs_of_batches())
    same = torch.cat([pair[1], pair[1]])
    metric = updated(PeakSignalToNoise(2), pair, (same, same.clone()))
    alone = updated(PeakSignalToNoise(2), pair).compute()[0]
    assert metric.compute()[0] == alone
    assert metric.perfect == 2
    assert updated(PeakSignalToNoise(1), (same, same)).compute().item() == math.inf
    assert math.isnan(PeakSignalToNoise(1).compute().item()), "of no frames at all"


@pytest.mark.parametrize("data_range", [1, 2])
def test_ssim_is_scikit_images(data_range):
    pairs = [*pairs_of_batches(), (torch.full((1, C, 8, 9), 0.3), torch.zeros(1, C, 8, 9))]
    expected = [
        structural_similarity(
            p[i].double().numpy(), t[i].double().numpy(), data_range=data_range, channel_axis=0
        )
        for p, t in pairs
        for i in range(len(p))
    ]
    found = updated(StructuralSimilarity(1, data_range), *pairs).compute().item()
    assert found == pytest.approx(np.mean(expected), rel=1e-9)


def test_ssim_of_frames_smaller_than_its_window_is_not_defined():
    pair = torch.zeros(1, 1, 6, 40), torch.ones(1, 1, 6, 40)
    assert math.isnan(updated(StructuralSimilarity(1), pair).compute().item())


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_events_are_counted_as_pysteps_counts_them(threshold):
    expected = GOLDENS[str(threshold)]
    pairs = [(pair[:1, None], pair[1:, None]) for pair in fields()]
    for score in ("csi", "pod", "far"):
        metric = updated(Contingency(1, score, threshold, "t"), *pairs)
        assert metric.compute().item() == pytest.approx(expected[score], rel=1e-12), score
    for side in SCALES:
        metric = updated(FractionsSkill(1, threshold, "t", side), *pairs)
        assert metric.compute().item() == pytest.approx(expected[f"fss {side}"], rel=1e-9)


def test_where_white_is_cold_events_are_what_is_colder_and_said_to_be():
    threshold = read_threshold("-40 C", read_scale("40..-60 C"))
    colder, warmer = (torch.full((1, 1, 2, 3), pixel) for pixel in (0.81, 0.79))  # -41 and -39
    for metric in make_metrics("nowcast", 1, [threshold])[2:]:
        metric.update(1, colder, warmer)
        # Observed nowhere, forecast everywhere
        wanted = {"csi": 0, "pod": math.nan, "far": 1, "fss": 0}[metric.name[:3]]
        np.testing.assert_equal(metric.compute().item(), wanted)
        assert re.search("pixels (brighter than -40 C|as bright as -40 C or b)", metric.definition)


def test_counts_are_summed_before_the_ratio():
    one = torch.tensor([1.0, 0, 0, 0, 0]).view(1, 1, 1, 5)
    four = torch.tensor([1.0, 1, 1, 1, 0]).view(1, 1, 1, 5)
    metric = updated(Contingency(1, "csi", 0.6, "t"), (one, one), (one, four))
    assert metric.compute().item() == pytest.approx(2 / 5), "not the mean of 1/1 and 1/4"


def test_an_event_that_never_happens_has_no_score():
    nothing = torch.zeros(1, 1, 9, 9)
    for score in EVENT_SCORES:
        metric = updated(Contingency(1, score, 0.5, "t"), (nothing, nothing))
        assert math.isnan(metric.compute().item())
    assert math.isnan(updated(FractionsSkill(1, 0.5, "t", 4), (nothing, nothing)).compute().item())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_merged_halves_are_one_pass(protocol):
    thresholds = (Threshold(0.4, "0.4"), Threshold(0.7, "0.7"))
    whole, one, other = (make_metrics(protocol, 3, thresholds) for _ in range(3))
    for number, pair in enumerate(pairs_of_batches()):
        lead = 1 + number % 2
        for metrics in (whole, (one, other)[number == 1]):
            for metric in metrics:
                metric.update(lead, *pair)
    assert len(whole) == {"pixel": 4, "openstl": 4, "nowcast": 2}[protocol] + 2 * 6
    for together, left, right in zip(whole, one, other, strict=True):
        left.merge(right)
        torch.testing.assert_close(
            left.compute(), together.compute(), rtol=1e-12, atol=0, equal_nan=True
        )


def test_only_the_same_metrics_can_be_merged():
    with pytest.raises(ValueError, match="mse and mae"):
        MeanError(2, 2).merge(MeanError(2, 1))
    with pytest.raises(ValueError, match="different things"):
        MeanError(2, 2).merge(MeanError(3, 2))
    with pytest.raises(ValueError, match="different things"):
        MeanError(2, 2).merge(MeanError(2, 2, summed=True))


def test_every_metric_has_its_own_name_and_a_definition():
    thresholds = (Threshold(0.4, "0.4"), Threshold(0.7, "20 dBZ"))
    for protocol in PROTOCOLS:
        metrics = make_metrics(protocol, 1, thresholds)
        assert len({metric.name for metric in metrics}) == len(metrics)
        assert all(len(metric.definition) > 20 for metric in metrics)
    assert "csi 20 dBZ" in {metric.name for metric in metrics}
