"""Autoregression as a generator: one predicted frame at a time, or tile after tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.grid import tile_overlap, tile_spans

Predictor = Callable[[Tensor, int], Iterator[Tensor]]
"""Everything that forecasts: context (B, Tc, C, H, W) and horizon in, (B, C, H, W) frames out."""


def rollout(forecaster: Forecaster, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
    """Yield the `horizon` frames (B, C, H, W) in [0, 1] after the context; computes no gradients.

    Puts the forecaster into eval mode. Holds one state and one frame, whatever the horizon.
    """
    forecaster.eval()
    with torch.inference_mode():
        state = forecaster.encode(context_BTCHW)
    for _ in range(horizon):
        with torch.inference_mode():
            frame_BCHW, state = forecaster.step(state)
        yield frame_BCHW


def tiled_rollout(
    network: Forecaster, context_BTCHW: Tensor, horizon: int, side: int
) -> Iterator[Tensor]:
    """Like `rollout`, in overlapping tiles of at most `side` pixels that are blended without seams.

    For any network that is not tied to a frame size. One tile goes through all lead times before
    the next begins, so only one tile's states are in memory at a time, and only one tile of the
    context is on the network's device. All `horizon` frames (B, C, H, W) are put together in
    float32 on the CPU before the first is yielded.

    Near its border inside the frame a tile knows less than the whole frame does; neighbours overlap
    there, and the blending ignores what lies closest to such a border.
    """
    device = next(network.parameters()).device
    B, _, C, *size = context_BTCHW.shape
    overlap = tile_overlap(side)
    spans = [tile_spans(length, side) for length in size]
    weights = [
        blending_weights(length, along, overlap) for length, along in zip(size, spans, strict=True)
    ]
    # All lead times at once, as the tiles come one after another: 4 bytes per pixel and lead time.
    frames_TBCHW = torch.zeros(horizon, B, C, *size)
    for i, j in product(*(range(len(along)) for along in spans)):
        rows, columns = slice(*spans[0][i]), slice(*spans[1][j])
        weight_HW = weights[0][i].unsqueeze(1) * weights[1][j]
        # Contiguous, as a whole frame is: strided input may take another convolution kernel.
        tile_BTCHW = context_BTCHW[..., rows, columns].to(device).contiguous()
        for lead, tile_BCHW in enumerate(rollout(network, tile_BTCHW, horizon)):
            frames_TBCHW[lead, ..., rows, columns] += weight_HW * tile_BCHW.float().cpu()
    yield from frames_TBCHW


def blending_weights(
    length: int, spans: tuple[tuple[int, int], ...], overlap: int
) -> tuple[Tensor, ...]:
    """Weight of each tile at its pixels along one axis; the tiles' weights sum to 1 everywhere.

    Zero within a quarter of the overlap from a border inside the frame, full from three quarters
    on, and a smooth step in between.
    """
    raised = []
    for start, end in spans:
        at = torch.arange(start, end, dtype=torch.float32) + 0.5  # pixel centres
        inside = torch.full_like(at, float(overlap))
        if start > 0:
            inside = torch.minimum(inside, at - start)
        if end < length:
            inside = torch.minimum(inside, end - at)
        ramp = (2 * inside / overlap - 0.5).clamp(0, 1)
        raised.append(ramp * ramp * (3 - 2 * ramp))  # cubic smoothstep: no edge in its slope
    total = torch.zeros(length)
    for (start, end), weight in zip(spans, raised, strict=True):
        total[start:end] += weight
    return tuple(
        weight / total[start:end] for (start, end), weight in zip(spans, raised, strict=True)
    )
