"""What a benchmark leaves behind: one JSON file, one picture, and lines to read."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import framecast
from framecast.evaluation.report import MODEL

from .pysteps_peers import pysteps_version


def machine() -> dict[str, Any]:
    """What the figures were made with, and how many others were computing just then."""
    return {
        "framecast": framecast.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "pysteps": pysteps_version(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, in place of an earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def verdict(title: str, clip: Mapping[str, Any]) -> str:
    """One line of a clip: the model beside the best of its peers."""
    summary = clip["summary"]
    best, ours = summary["best_peer"], summary["mse_255"]
    line = (
        f"{title}, {clip['clip']}: MSE {ours[MODEL]:.1f}, {_than(summary['gain'])} {best} "
        f"({ours[best]:.1f}), at lead 1 {_than(summary['gain_at_lead_1'])} "
        f"{summary['best_at_lead_1']}"
    )
    sharpest = summary["best_csi_peer"]
    if sharpest is not None:
        csi = summary["csi"]
        said = "undefined" if csi[MODEL] is None else f"{csi[MODEL]:.3f}"
        line += f"; CSI {said} beside {csi[sharpest]:.3f} of {sharpest}"
    return line


def goals(
    clips: Sequence[Mapping[str, Any]], each: float, mean: float, csi: bool
) -> dict[str, bool]:
    """Whether goals are reached: the gain on every clip, its mean, CSI not below the best peer's.

    "never worse" is beside the project's own baselines.
    """
    gains = [clip["summary"]["gain"] for clip in clips]
    found = {
        f"MSE at least {each:.0%} below the best peer on every clip"
        if each
        else "MSE below the best peer on every clip": all(
            gain >= each if each else gain > 0 for gain in gains
        ),
        "MSE never above the best baseline": all(
            clip["summary"]["gain_over_baselines"] >= 0 for clip in clips
        ),
    }
    if mean:
        found[f"MSE {mean:.0%} below the best peer on average"] = sum(gains) / len(gains) >= mean
    if csi:
        found["CSI not below the best peer's on every clip"] = all(
            (clip["summary"]["csi_difference"] or 0) >= 0 for clip in clips
        )
    return found


def _than(gain: float) -> str:
    return f"{abs(gain):.1%} {'below' if gain >= 0 else 'ABOVE'}"
