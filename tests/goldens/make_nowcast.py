"""Make nowcast.json: CSI, POD, FAR and FSS of two pairs of fields as pysteps computes them.

pysteps is not needed to run the tests, only to make their numbers again:

    pip install pysteps && python tests/goldens/make_nowcast.py
"""

import json
from pathlib import Path

import numpy as np

THRESHOLDS = (0.25, 109 / 255, 0.8)
SCALES = (1, 2, 5, 8)
PAIRS, HEIGHT, WIDTH = 2, 23, 31


def fields():
    """Pixels k / 255 by formula, the same on every machine: (pairs, 2, H, W), forecast then truth.

    The threshold 109 / 255 is a value that pixels take, so `>` and `>=` give different counts.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    made = [
        [
            np.sin(0.31 * y + 0.23 * x + pair) * np.cos(0.17 * x - 0.4 * y + 0.3 * kind + pair)
            for kind in range(2)
        ]
        for pair in range(PAIRS)
    ]
    levels = np.rint(127.5 * (np.array(made) + 1)).astype(int)
    levels[:, :, ::3, ::4] = 109
    levels[:, 0, ::6] = 110
    return levels / 255


def goldens():
    from pysteps.verification import detcatscores, spatialscores  # noqa: PLC0415

    found = {}
    for threshold in THRESHOLDS:
        counts = detcatscores.det_cat_fct_init(threshold)
        fractions = {scale: spatialscores.fss_init(threshold, scale) for scale in SCALES}
        for forecast, truth in fields():
            detcatscores.det_cat_fct_accum(counts, forecast, truth)
            for scale in SCALES:
                spatialscores.fss_accum(fractions[scale], forecast, truth)
        scores = detcatscores.det_cat_fct_compute(counts, ["CSI", "POD", "FAR"])
        found[str(threshold)] = {name.lower(): float(value) for name, value in scores.items()} | {
            f"fss {scale}": float(spatialscores.fss_compute(fractions[scale])) for scale in SCALES
        }
    return found


if __name__ == "__main__":
    text = json.dumps(goldens(), indent=1)
    Path(__file__).with_name("nowcast.json").write_text(text + "\n", encoding="utf-8")
