"""Scores against NumPy on unequal batches."""

import numpy as np
import torch

from framecast.baselines import persistence
from framecast.dataset import Batch
from framecast.metrics import MeanSquaredError, score

B, T, C, H, W, HORIZON = 2, 5, 3, 7, 8, 4


def frames(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_mse_is_the_mean_over_all_pixels_of_all_batches_not_the_mean_of_means():
    total, kept = MeanSquaredError(HORIZON), {}
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
    total = MeanSquaredError(1)
    total.update(1, prediction, torch.full((1, 1, 300, 300), 0.5))
    assert total.compute().item() == 0.0625


def test_score_compares_lead_k_with_target_frame_k():
    batches = [
        Batch(frames(B, T, C, H, W, seed=seed), frames(B, HORIZON, C, H, W, seed=seed + 5))
        for seed in (0, 1)
    ]
    calls = []

    def fading(context_BTCHW, horizon):
        calls.append((tuple(context_BTCHW.shape), horizon))
        for lead in range(1, horizon + 1):
            yield context_BTCHW[:, -1] / lead

    expected = [
        np.mean(
            [
                (b.context_BTCHW[:, -1].numpy() / (k + 1) - b.target_BTCHW[:, k].numpy()) ** 2
                for b in batches
            ]
        )
        for k in range(HORIZON)
    ]
    np.testing.assert_allclose(score(fading, batches, HORIZON), expected, rtol=1e-6)
    assert calls == [((B, T, C, H, W), HORIZON)] * 2


def test_a_future_that_repeats_the_last_frame_costs_persistence_nothing():
    context = frames(B, T, C, H, W, seed=3)
    still = Batch(context, context[:, -1:].repeat(1, HORIZON, 1, 1, 1))
    assert score(persistence, [still], HORIZON).tolist() == [0.0] * HORIZON


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
    total = MeanSquaredError(1)
    total.update(1, prediction, truth)
    assert len(moved) == 2
    assert 0.1 < total.compute().item() < 0.3
