"""Whether training steps compute in float32 or bfloat16: as set, or the faster of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framecast.runtime.device import computes_bfloat16, pick_precision

PRECISIONS = ("float32", "bfloat16")

ROUNDS = 2
"""Steps with each precision before one is chosen. The first is slow, since libraries prepare."""


class StepPrecision:
    """The precision of the next step; `chosen` is None while both are being timed.

    They are timed by turns on real steps, which train as all others do. Losses, optical flow, c and
    the blend of candidates are float32 with either; so are validation and forecasts, unless
    bfloat16 is set.
    """

    def __init__(self, setting: str, device: str) -> None:
        self.measures = setting == "auto" and device == "cpu" and computes_bfloat16()
        self.chosen = None if self.measures else pick_precision(setting, device)
        self.seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}

    @property
    def next(self) -> str:
        """What the next step computes in."""
        # min keeps the first of equals: float32, bfloat16, float32, ...
        return self.chosen or min(PRECISIONS, key=lambda name: len(self.seconds[name]))

    @property
    def steps_left(self) -> int:
        """Steps until one is chosen."""
        if self.chosen is not None:
            return 0
        return len(PRECISIONS) * ROUNDS - sum(map(len, self.seconds.values()))

    def record(self, seconds: float) -> None:
        """Note what the step with the `next` precision took; after the last one, choose."""
        if self.chosen is not None:
            return
        self.seconds[self.next].append(seconds)
        if self.steps_left == 0:
            self.chosen = min(PRECISIONS, key=lambda name: self.seconds[name][-1])

    def state(self) -> dict[str, Any]:
        """What a resumed run goes on with, so that it computes as the first one would have."""
        return {"chosen": self.chosen, "seconds": self.seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up `state()`, unless the precision is set now; raises ValueError for no state."""
        if self.measures:
            if state["chosen"] not in (None, *PRECISIONS) or {*state["seconds"]} != {*PRECISIONS}:
                raise ValueError("precision: expected which was chosen, and seconds of each")
            self.chosen, self.seconds = state["chosen"], dict(state["seconds"])
