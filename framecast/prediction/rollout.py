"""Autoregression as a generator: one predicted frame at a time, or tile after tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from framecast.errors import CheckpointError
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.grid import tile_overlap, tile_spans
from framecast.runtime.memory import return_freed_memory
from framecast.runtime.text import counted

Predictor = Callable[[Tensor, int], Iterator[Tensor]]
"""Everything that forecasts: context (B, Tc, C, H, W) and horizon in, (B, C, H, W) frames out."""

PIXELS = {None: torch.float32, 255: torch.uint8, 65535: torch.uint16}
"""What frames in tiles are kept in, by the value of white in the pixels that they become."""


def rollout(forecaster: Forecaster, context_BTCHW: Tensor, horizon: int) -> Iterator[Tensor]:
    """Yield the `horizon` frames (B, C, H, W) in [0, 1] after the context; computes no gradients.

    Puts the forecaster into eval mode. Holds one state and one frame, whatever the horizon.
    """
    forecaster.eval()
    with torch.inference_mode():
        state = forecaster.encode(context_BTCHW)
    del context_BTCHW
    for _ in range(horizon):
        with torch.inference_mode():
            frame_BCHW, state = forecaster.step(state)
        yield frame_BCHW
        del frame_BCHW  # tens of MB at 1080p, as in all that hand it on


def tiled_rollout(
    network: Forecaster,
    cut: Callable[[slice, slice], Tensor],
    shape_BCHW: Sequence[int],
    horizon: int,
    side: int,
    levels: int | None = None,
) -> Iterator[Tensor]:
    """Like `rollout`, in overlapping tiles of at most `side` pixels that are blended without seams.

    `cut` gives these rows and columns of the context, (B, Tc, C, H, W); `shape_BCHW` is that of
    whole frames. For any network that is not tied to a frame size. One tile goes through all lead
    times before the next begins, so only one tile's states are in memory at a time, and only one
    tile of the context is on the network's device. All `horizon` frames (B, C, H, W) are put
    together on the CPU before the first is yielded: in float32, or where they will be pixels of
    0 to `levels` (255 or 65535) in one or two bytes each. Raises CheckpointError when a frame is
    not finite.

    Near its border inside the frame a tile knows less than the whole frame does; neighbours overlap
    there, and the blending ignores what lies closest to such a border.
    """
    device = next(network.parameters()).device
    B, C, *size = shape_BCHW
    overlap = tile_overlap(side)
    row_spans, column_spans = (tile_spans(length, side) for length in size)
    row_weights = blending_weights(size[0], row_spans, overlap)
    column_weights = blending_weights(size[1], column_spans, overlap)
    dtype = PIXELS[levels]
    # All lead times at once, as the tiles come one after another.
    frames_TBCHW = torch.empty(horizon, B, C, *size, dtype=dtype)
    shared_TBCHW = torch.zeros(horizon, B, C, 0, size[1])  # rows that two bands of tiles share
    for (top, bottom), weight_H in zip(row_spans, row_weights, strict=True):
        band_TBCHW = torch.zeros(horizon, B, C, bottom - top, size[1])
        band_TBCHW[..., : shared_TBCHW.shape[-2], :] = shared_TBCHW
        for (left, right), weight_W in zip(column_spans, column_weights, strict=True):
            weight_HW = weight_H.unsqueeze(1) * weight_W
            # Contiguous, as a whole frame is: strided input may take another kernel.
            tile_BTCHW = cut(slice(top, bottom), slice(left, right)).to(device).contiguous()
            for lead, tile_BCHW in enumerate(rollout(network, tile_BTCHW, horizon)):
                check_finite(tile_BCHW, lead + 1)
                band_TBCHW[lead, ..., left:right] += weight_HW * tile_BCHW.float().cpu()
            return_freed_memory()
        end = next((start for start, _ in row_spans if start > top), bottom)
        # A copy, so that the band is freed before the next one is made.
        shared_TBCHW = band_TBCHW[..., end - top :, :].clone()
        done_TBCHW = band_TBCHW[..., : end - top, :]
        if levels is not None:
            done_TBCHW.mul_(levels).round_()
        frames_TBCHW[..., top:end, :] = done_TBCHW.to(dtype)
        del band_TBCHW, done_TBCHW
    del cut  # and with it the context, while the frames are written
    for frame_BCHW in frames_TBCHW:
        yield frame_BCHW if levels is None else frame_BCHW.float() / levels


def check_finite(frame_BCHW: Tensor, lead: int) -> None:
    """Raise CheckpointError unless all values of a frame, `lead` frames ahead, are finite."""
    if not torch.isfinite(frame_BCHW).all():
        raise CheckpointError(
            f"the model's prediction {counted(lead, 'frame')} ahead is not finite",
            remedy="use a smaller --horizon, or train again with a smaller --lr",
        )


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
