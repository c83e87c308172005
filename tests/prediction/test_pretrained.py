"""The weights that are shipped: what their forecasts are worth on clips they never saw."""

from pathlib import Path

import numpy as np
import pytest
import torch

from framecast.prediction.baselines import optical_flow, persistence
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.video.readers.open import open_source

SAMPLES = Path(__file__).parents[2] / "sample_data"

CONTEXT, HORIZON, WINDOWS = 6, 12, 8


def errors(clip_TCHW, *predictors):
    """Mean squared errors of predictors on windows spread over a clip."""
    starts = np.linspace(0, len(clip_TCHW) - CONTEXT - HORIZON, WINDOWS).astype(int)
    windows_BTCHW = torch.stack([clip_TCHW[n : n + CONTEXT + HORIZON] for n in starts])
    context_BTCHW, target_BTCHW = windows_BTCHW.tensor_split((CONTEXT,), dim=1)
    for predictor in predictors:
        frames_BTCHW = torch.stack([*predictor(context_BTCHW, HORIZON)], dim=1)
        yield (frames_BTCHW - target_BTCHW).square().mean().item()


# 1 % above what is shipped: on the scenes of pretraining, weights that were a third worse on shapes
# looked as good.
@pytest.mark.parametrize(
    ("name", "most"), [("rain", 0.69), ("pendulum.gif", 0.81), ("shapes.mp4", 0.69)]
)
def test_on_the_samples_its_error_is_below_that_of_the_better_classical_forecast(name, most):
    frames_THWC = np.stack([*open_source(SAMPLES / name, color="gray").read()])
    clip_TCHW = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float() / 255
    extrapolate = load_forecaster("pretrained").extrapolate
    found, still, flow = errors(clip_TCHW, extrapolate, persistence, optical_flow)
    assert found < most * min(still, flow)
