"""Checks of a ConvLSTM layer; each error gives the rule, the value received and a remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING

from framecast.nn.shapes import ConvGeometry

if TYPE_CHECKING:  # the inspection wing reads the rules on numbers without torch
    from torch import Tensor

_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def to_data_format(value: str | None) -> str:
    """Normalise to "channels_first" or "channels_last", which None stands for."""
    data_format = "channels_last" if value is None else str(value).lower()
    if data_format not in ("channels_first", "channels_last"):
        rule = 'data_format must be "channels_first" or "channels_last"'
        remedy = "channels_last has the channels after the sizes, channels_first before them"
        raise ValueError(f"{rule}; received {value!r}; {remedy}")
    return data_format


def to_rate(value: float, name: str) -> float:
    """Accept a dropout rate in [0, 1); at 1 nothing would be left to learn from."""
    # A bool is an int to Python. NaN fails the comparison and is refused with the rest.
    if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= value < 1.0:
        raise ValueError(
            f"{name} must be at least 0 and less than 1, at which nothing would be left to learn "
            f"from; received {value!r}; use e.g. {name}=0.2"
        )
    return float(value)


def to_seed(value: int | None) -> int | None:
    """Accept an integer or None, which draws other numbers each time."""
    if not isinstance(value, int | None):
        raise ValueError(f"seed must be an integer or None; received {value!r}; use seed=1")
    return value


def to_factor(value: float, name: str) -> float:
    """Accept the factor of a penalty, a number of 0 or more."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be a number >= 0; received {value!r}; use e.g. {name}=0.01")
    return float(value)


def to_layer_norm(value: bool, filters: int) -> bool:
    """Refuse a normalisation over the channels where there is only one."""
    if value and filters == 1:
        raise ValueError(
            "layer_norm needs 2 filters or more, since it takes from each channel the mean over "
            "the channels, which leaves 0 of one alone; received filters=1; use more filters or "
            "layer_norm=False"
        )
    return value


def check_shape(
    layer: str, shape: Sequence[int | None], data_format: str, rank: int, time_axes: int = 1
) -> None:
    """Refuse a shape with the wrong number of axes; `time_axes` is 0 for a single frame."""
    axes = ("batch", *("time",) * time_axes)
    last = data_format == "channels_last"
    axes += (*_AXES[rank], "channels") if last else ("channels", *_AXES[rank])
    if len(shape) == len(axes):
        return
    remedy = "reorder or add axes with movedim and unsqueeze"
    # One axis short: most often a layer below that gives its last step only.
    if len(shape) == len(axes) - 1 and time_axes:
        remedy = (
            "give the previous layer return_sequences=True, or add the missing axis with unsqueeze"
        )
    raise ValueError(
        f"{layer} takes {len(axes)} axes ({', '.join(axes)}); received shape {tuple(shape)}; "
        f"{remedy}"
    )


def check_inputs(
    layer: str, inputs: Tensor, data_format: str, rank: int, time_axes: int = 1
) -> None:
    """Refuse inputs with the wrong number of axes, an empty one, or no floating-point numbers.

    Only the batch may be empty.
    """
    check_shape(layer, inputs.shape, data_format, rank, time_axes)
    if 0 in inputs.shape[1:]:
        raise ValueError(
            f"{layer} needs one or more along every axis after the batch; received shape "
            f"{tuple(inputs.shape)}; give it one frame or more, none of them empty"
        )
    if not inputs.is_floating_point():
        raise ValueError(
            f"{layer} takes floating-point numbers; received {inputs.dtype}; convert with "
            ".float(), frames scaled to [0, 1]"
        )


def check_fits(sizes: Sequence[int], geometry: ConvGeometry) -> None:
    """Refuse sizes smaller than the kernel where nothing is padded."""
    # spans are effective kernels: with dilation d a kernel of k covers d (k - 1) + 1.
    short = any(size < span for size, span in zip(sizes, geometry.spans, strict=True))
    if geometry.padding == "valid" and short:
        raise ValueError(
            f'padding="valid" needs a size of {geometry.spans} or more, the kernel with its '
            f'dilation; received {tuple(sizes)}; use padding="same" or a smaller kernel'
        )


def check_mask(mask: Tensor, batch: int, steps: int) -> Tensor:
    """Refuse a mask that is not (batch, time); returns it as truth values."""
    if mask.shape != (batch, steps):
        raise ValueError(
            f"mask must be (batch, time) = ({batch}, {steps}); received {tuple(mask.shape)}; give "
            "it one truth value for each step of each sequence"
        )
    return mask.bool()


def check_state(state: Sequence[Tensor], shape: Sequence[int]) -> None:
    """Refuse a state that is not h and c, both of `shape`."""
    if not isinstance(state, (list, tuple)) or len(state) != 2:
        # A tensor has a length too, its batch, which would only mislead.
        length = len(state) if isinstance(state, (list, tuple)) else 1
        raise ValueError(
            f"initial_state must be two tensors, [h, c]; received {length}; give it what the layer "
            "returns with return_state=True"
        )
    for name, tensor in zip("hc", state, strict=True):
        if tensor.shape != tuple(shape):
            raise ValueError(
                f"{name} of initial_state must be {tuple(shape)}; received {tuple(tensor.shape)}; "
                "its axes are those of one output, in the order of data_format"
            )
