"""The pictures that a training writes: its curves, and the best model on a held-out window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from framecast.data.batches import frames_of
from framecast.data.plan import Plan
from framecast.data.windows import Window
from framecast.prediction.baselines import BASELINES
from framecast.prediction.checkpoint import load_checkpoint
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.training.run_folder import RunFolder
from framecast.video.comparison_figures import comparison_video, contact_strip
from framecast.video.line_plots import training_curves, write_png
from framecast.video.pixels import from_unit, to_unit
from framecast.video.writers.open import DEFAULT_FPS, write_frames
from framecast.video.writers.png import write_picture


def write_pictures(
    plan: Plan, clips: Sequence[np.ndarray], run: RunFolder, device: str
) -> list[str]:
    """Write curves.png, preview.gif and preview.png; returns a note where the model falls back.

    The window shown is the validation window with most motion, next to the better baseline of the
    training's own validation.
    """
    rows = run.read_metrics()
    write_png(run.curves, training_curves(rows))
    forecaster = LoadedForecaster(load_checkpoint(run.best), device)
    shape, window = plan.split.shape, liveliest(plan, clips)
    seen_THWC, truth_THWC = np.split(frames_of(clips, window, shape), [shape.context_length])
    future_THWC = forecaster.predict(seen_THWC, shape.horizon)
    # Means over all lead times; the preview shows the baseline that is harder to beat.
    still = float(rows[-1]["persistence_mse"]) <= float(rows[-1]["flow_mse"])
    name = "last frame" if still else "optical flow"
    context_BTCHW = torch.from_numpy(to_unit(seen_THWC))[None]
    baseline = [
        from_unit(frame_BCHW[0].numpy(), seen_THWC.dtype)
        for frame_BCHW in BASELINES[name](context_BTCHW, shape.horizon)
    ]
    fps = (plan.infos[window.clip].fps or DEFAULT_FPS) / shape.frame_step
    frames = comparison_video(seen_THWC, future_THWC, truth_THWC, (name, baseline))
    write_frames(run.preview, frames, fps=fps, overwrite=True)
    write_picture(run.strip, contact_strip(seen_THWC, future_THWC, truth_THWC))
    return [forecaster.fallback_note] if forecaster.fallback_note else []


def liveliest(plan: Plan, clips: Sequence[np.ndarray]) -> Window:
    """The validation window whose last frame differs most from the last one of its context."""

    def change(window: Window) -> float:
        frames_THWC = frames_of(clips, window, plan.split.shape)
        last_seen = plan.split.shape.context_length - 1
        return float(np.abs(frames_THWC[-1].astype(np.float32) - frames_THWC[last_seen]).mean())

    return max(plan.validation, key=change)
