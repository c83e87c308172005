"""S-PROG of pysteps as a predictor, with motion by Lucas-Kanade.

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
from importlib.util import find_spec

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

Nowcast = Callable[[np.ndarray, int], np.ndarray]
"""dBZ (Tc, H, W) and a horizon in, dBZ (horizon, H, W) out; not finite where nothing is known."""


def pysteps_methods(scale: Scale) -> dict[str, Predictor]:
    """S-PROG with and without matching, for grey frames; nothing where pysteps is not installed.

    Raises UsageError for a scale that is not linear in dBZ.
    """
    if scale.unit != "dBZ" or scale.logarithmic:
        raise UsageError(
            f"pysteps' methods need pixels in dBZ, the scale is in {scale.unit}",
            remedy='use a --scale like "-10..60 dBZ"',
        )
    if find_spec("pysteps") is None:
        return {}
    return {
        name: as_predictor(partial(sprog, black=scale.black, matching=matching), scale)
        for name, matching in (("S-PROG", "mean"), ("S-PROG unmatched", None))
    }


def as_predictor(nowcast: Nowcast, scale: Scale) -> Predictor:
    """A nowcast as what scores frames expects; where nothing is known there is no echo."""

    def predictor(context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
        dbz_BTHW = scale.value(context_BTCHW[:, :, 0].double().cpu().numpy())
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found_BTHW = np.stack([nowcast(dbz_THW, horizon) for dbz_THW in dbz_BTHW])
        found_BTHW = np.where(np.isfinite(found_BTHW), found_BTHW, scale.black)
        pixels_BTHW = torch.from_numpy(scale.pixel(found_BTHW).clip(0, 1)).float()
        yield from pixels_BTHW.unsqueeze(2).unbind(dim=1)

    return predictor


def sprog(dbz_THW: np.ndarray, horizon: int, black: float, matching: str | None) -> np.ndarray:
    """S-PROG (Seed, 2003): scales that lose their memory are smoothed away.

    `matching` gives rain its observed mean again, which raises its CSI; without it, its MSE is the
    lower.
    """
    velocity_2HW = import_module("pysteps.motion").get_method("LK")(dbz_THW[-MOTION_FRAMES:])
    return import_module("pysteps.nowcasts").get_method("sprog")(
        dbz_THW[-ORDER - 1 :],
        velocity_2HW,
        horizon,
        precip_thr=black + LEAST_ECHO_DB,
        ar_order=ORDER,
        probmatching_method=matching,
    )
