"""The networks' shapes, layer by layer, as integer arithmetic: no torch, no forward pass."""

from __future__ import annotations

FLOW_HINTS = 4
"""Grid channels beside the flow forecaster's embedding: velocity x, y, lead time, coverage."""

FLOW_MAPS = 4
"""Per-cell outputs of the flow forecaster's head: velocity correction x, y, blend logit, gain."""


def stem_widths(patch: int, embedding: int) -> tuple[int, ...]:
    """Output channels of the stem's convolutions: doubling from 16, the embedding last.

    One convolution for every halving of the resolution; one at full resolution when patch is 1.
    """
    halvings = max(patch.bit_length() - 1, 1)
    return (*(min(16 * 2**i, embedding) for i in range(halvings - 1)), embedding)
