"""The sizes and counts of the default network, which its cost model shares. No torch."""

from __future__ import annotations

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Gaussian widths in pixels between which a picture is taken apart into scales."""


CELL = 32
"""Side in pixels of the cells in which the memory of each scale is told; 2 to the number of
scales."""


MEMORY_LAG = 3
"""Frames over which the memory is told, beside one."""


MEMORY_SIGMA = 1.0
"""Gaussian width in cells of the window over which the memory is told."""


FLOW_HINTS = 4 + len(SCALES) + 1
"""Grid channels beside the flow forecaster's embedding: velocity x, y, lead time, coverage, and the
memory of each scale."""


BLURS = (2.0, 8.0)
"""Gaussian widths in pixels, of `SCALES`. What the flow forecaster carries along each motion is the
last frame, sharp and blurred to these, since small things are the first that cannot be known."""


SURPRISE_BLURS, GROWTH_BLURS = (2.0, 6.0), (6.0, 16.0)
"""Gaussian widths in pixels of what the first motion failed to explain in the last frame, and of
its mean over the newest: growth and decay, carried along the first motion."""


GROWTH_FRAMES = 5
"""The newest frames whose surprises make up the growth."""


ESTIMATES = ((5.0, None), (1.5, 2))
"""The flow forecaster's estimates of motion: the window's width in pixels, and how many of the
newest frames it looks at (None: the whole context)."""


MOTIONS = len(ESTIMATES) + 1
"""Motions that it extrapolates along: those estimates, and what the first was before its last
refinement."""


PICTURES = 1 + len(BLURS)
"""Guesses along every motion."""


GROWTHS = len(SURPRISE_BLURS) + len(GROWTH_BLURS)
"""Guesses of growth and decay."""


INFLOW = 8.0
"""Pixels beyond the border within which what flows in becomes, by 1 - 1/e, anyone's guess."""


INFLOWS = 2
"""Guesses of that: the border repeated, sharp and as blurred as the widest of `SCALES`."""


GUESSES = 1 + MOTIONS * PICTURES + GROWTHS + INFLOWS + 2
"""Guesses that the flow forecaster mixes: the last frame as far as it is remembered; every picture
along every motion; growth and decay; what flows in; the mean of the context; and the last frame as
it is."""


CARRIED_SIGNS, SIGNS = 4, 6
"""Maps by which the mix leans place by place, and the first of them that move along."""


SIGN_ENERGIES, SIGN_SIGMA = 8, 4.0
"""Mean squares that signs are read from; Gaussian width in pixels of the window they are of."""


LEADS = 24
"""Lead times with a mix of their own; later ones have the last one's."""


PYRAMID_SIGMA = 0.7
"""Width in pixels of the Gaussian blur between two levels of the motion pyramid."""


COARSEST_SIDE = 16
"""The pyramid stops before a side would fall below half of this many pixels."""


LEVELS, ITERATIONS = 5, 3


def blur_radius(sigma: float) -> int:
    """Pixels that a Gaussian blur looks at on each side."""
    return int(3 * sigma + 0.5)
