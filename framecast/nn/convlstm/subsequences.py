"""Plain series as the input of a ConvLSTM1D.

Axes: B batch, N samples of a series, T pieces (the layer's steps), S samples of a piece, C
variables.
"""

from __future__ import annotations

import torch
from torch import Tensor

from framecast.nn.convlstm.keras_methods import as_tensor
from framecast.nn.shapes import to_count


def subsequences(series_BNC: Tensor, length: int, stride: int | None = None) -> Tensor:
    """Cut series into pieces one after another, (B,N,C) to (B,T,S,C), as ConvLSTM1D takes them.

    The layer steps from piece to piece and convolves along the samples inside each. `series_BNC`
    may be one series (N,C), which makes a batch of 1; `length` is S; `stride` is the distance in
    samples between the starts of two pieces, None is `length`. T is (N - length) / stride + 1. The
    result is a view, of a NumPy array that of a copy. A layer with data_format="channels_first"
    takes `pieces.movedim(-1, 2)`. ValueError for series that are too short or would leave samples
    over.
    """
    length = to_count(length, "length")
    stride = to_count(length if stride is None else stride, "stride")
    series_BNC = as_tensor(series_BNC, torch.empty(0))
    if series_BNC.ndim not in (2, 3):
        remedy = "add the axis of variables with unsqueeze(-1)" if series_BNC.ndim == 1 else ""
        raise ValueError(
            "a series has the axes (batch, samples, variables) or (samples, variables); received "
            f"shape {tuple(series_BNC.shape)}; {remedy or 'reorder its axes'}"
        )
    if series_BNC.ndim == 2:
        series_BNC = series_BNC.unsqueeze(0)
    samples = series_BNC.shape[1]
    over = (samples - length) % stride
    if samples < length:
        raise ValueError(
            f"a piece of length {length} needs a series at least as long; received {samples} "
            f"samples; use a length of {samples} or less"
        )
    if over:
        raise ValueError(
            f"pieces of length {length} every {stride} must end with the series; received "
            f"{samples} samples, which leave {over} over; leave out the oldest with "
            f"series[..., {over}:, :], or choose another length or stride"
        )
    # unfold puts the samples of a piece last: (B,T,C,S).
    return series_BNC.unfold(1, length, stride).movedim(-1, 2)
