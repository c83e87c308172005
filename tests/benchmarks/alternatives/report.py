"""The figures as Markdown tables for the README."""

from __future__ import annotations

from collections.abc import Sequence

from .costs import NETWORKS, Cost
from .evidence import Finding
from .scores import Score


def evidence_table(findings: Sequence[Finding]) -> str:
    """What each network computes for x and h, and what follows from it."""
    first = findings[0]
    old, new = max(first.felt_in), min(first.felt_in)
    rows = [
        (
            f"`{found.network}`",
            found.of_input,
            found.of_state,
            f"{found.felt_in[new]:.0%}, {found.felt_in[old]:.0%}",
            _share(found.unlike_when_moved),
            "works" if found.refusal is None else "refused",
        )
        for found in findings
    ]
    return _table(
        (
            "",
            "x",
            "h",
            f"a pixel is felt {new} and {old} frames later in",
            "a moved clip's forecast, off by",
            "another frame size",
        ),
        rows,
    )


def cost_table(costs: Sequence[Cost]) -> str:
    """Parameters and memory to train on one window, by the side of the frame."""
    by_key = {(cost.network, cost.side): cost for cost in costs}
    sides = sorted({cost.side for cost in costs})
    rows = [
        (
            f"`{name}`",
            *(
                f"{by_key[name, side].parameters / 1e6:.1f} M, "
                f"{by_key[name, side].memory_bytes / 1e6:,.0f} MB"
                for side in sides
            ),
        )
        for name in NETWORKS
    ]
    return _table(("", *(f"{side}x{side}" for side in sides)), rows)


def score_table(scores: Sequence[Score]) -> str:
    """Held-out error, steps and seconds per step, by clip."""
    clips = list(dict.fromkeys(score.clip for score in scores))
    by_key = {(score.clip, score.network): score for score in scores}
    rows = [
        (
            f"`{name}`",
            *(
                f"{by_key[clip, name].mse:.4f} ({by_key[clip, name].steps} steps of "
                f"{by_key[clip, name].seconds_per_step:.2f} s)"
                for clip in clips
            ),
        )
        for name in NETWORKS
    ]
    one = [next(score for score in scores if score.clip == clip) for clip in clips]
    rows.append(("last frame repeated", *(f"{score.persistence_mse:.4f}" for score in one)))
    rows.append(("optical flow", *(f"{score.flow_mse:.4f}" for score in one)))
    return _table(("", *(f"`{clip}`" for clip in clips)), rows)


def _share(value: float) -> str:
    """0%, 0.05% or 143%; what float32 rounds away is 0%."""
    return f"{value:.2%}" if 1e-5 < value < 0.1 else f"{value:.0%}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
