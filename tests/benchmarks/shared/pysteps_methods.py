"""Nowcasts of pysteps as predictors: Lucas-Kanade extrapolation, S-PROG and ANVIL.

pysteps works on reflectivity, so pixels are converted by a scale in dBZ and back. Its options are
those of several tried that gave it the lowest error on radar clips.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from torch import Tensor

from framecast.config.brightness_scale import Scale
from framecast.errors import UsageError
from framecast.prediction.rollout import Predictor

MOTION_FRAMES = 3
"""The newest frames that motion is taken from."""

ORDER = 2
"""Of the autoregressive models, pysteps' default."""

LEAST_ECHO_DB = 0.1
"""How far above black, in dB, a pixel counts as rain."""

Field = np.ndarray
Nowcast = Callable[[Field, int], Field]
"""dBZ (Tc, H, W) and a horizon in, dBZ (horizon, H, W) out; not finite where nothing is known."""


def pysteps_version() -> str | None:
    """The version that is installed, None without one."""
    try:
        return version("pysteps")
    except PackageNotFoundError:
        return None


def pysteps_methods(scale: Scale) -> dict[str, Predictor]:
    """The three methods for grey frames whose pixels mean dBZ by `scale`; none without pysteps.

    Raises UsageError for a scale that is not linear in dBZ.
    """
    if scale.unit != "dBZ" or scale.logarithmic:
        raise UsageError(
            f"pysteps' methods need pixels in dBZ, the scale is in {scale.unit}",
            remedy='use a --scale like "-10..60 dBZ"',
        )
    if pysteps_version() is None:
        return {}
    methods = {
        "pysteps extrapolation": extrapolation,
        "S-PROG": partial(sprog, black=scale.black, matching="mean"),
        "S-PROG unmatched": partial(sprog, black=scale.black, matching=None),
        "ANVIL": partial(anvil, black=scale.black),
    }
    return {name: as_predictor(method, scale) for name, method in methods.items()}


def as_predictor(nowcast: Nowcast, scale: Scale) -> Predictor:
    """A nowcast as what scores frames expects; where nothing is known there is no echo."""

    def predictor(context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
        context_BTHW = context_BTCHW[:, :, 0].double().cpu().numpy()
        future_BTHW = np.stack([_forecast(nowcast, scale, c, horizon) for c in context_BTHW])
        for lead in range(horizon):
            yield torch.from_numpy(future_BTHW[:, lead, None]).float()

    return predictor


def _forecast(nowcast: Nowcast, scale: Scale, context_THW: Field, horizon: int) -> Field:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found_THW = nowcast(to_dbz(context_THW, scale), horizon)
    return to_pixels(np.where(np.isfinite(found_THW), found_THW, scale.black), scale)


def to_dbz(pixels: Field, scale: Scale) -> Field:
    """Pixels in 0..1 as dBZ."""
    return scale.black + (scale.white - scale.black) * pixels


def to_pixels(dbz: Field, scale: Scale) -> Field:
    """dBZ as pixels in 0..1, clipped to them."""
    return np.clip((dbz - scale.black) / (scale.white - scale.black), 0, 1)


def motion(dbz_THW: Field) -> Field:
    """Velocity (2, H, W) in pixels per frame, by pysteps' Lucas-Kanade."""
    return import_module("pysteps.motion").get_method("LK")(dbz_THW[-MOTION_FRAMES:])


def extrapolation(dbz_THW: Field, horizon: int) -> Field:
    """The last frame moved along, semi-Lagrangian."""
    move = import_module("pysteps.extrapolation").get_method("semilagrangian")
    return move(dbz_THW[-1], motion(dbz_THW), horizon)


def sprog(dbz_THW: Field, horizon: int, black: float, matching: str | None) -> Field:
    """S-PROG (Seed, 2003): scales that lose their memory are smoothed away.

    `matching` gives rain its observed mean again, which raises its CSI; without it, its MSE is the
    lower.
    """
    forecast = import_module("pysteps.nowcasts").get_method("sprog")
    return forecast(
        dbz_THW[-ORDER - 1 :],
        motion(dbz_THW),
        horizon,
        precip_thr=black + LEAST_ECHO_DB,
        ar_order=ORDER,
        probmatching_method=matching,
    )


def anvil(dbz_THW: Field, horizon: int, black: float) -> Field:
    """ANVIL (Pulkkinen et al., 2020): growth and decay by scale and place.

    On decibels above black, without a mask of dry places: lower errors than on rain rate or on
    liquid water made from it, with or without the mask.
    """
    forecast = import_module("pysteps.nowcasts").get_method("anvil")
    echo_THW = dbz_THW[-ORDER - 2 :] - black
    moved = forecast(echo_THW, motion(dbz_THW), horizon, ar_order=ORDER, apply_rainrate_mask=False)
    return moved + black
