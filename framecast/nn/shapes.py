"""Shape arithmetic of convolutions in plain integers: nothing here imports torch.

A convolution along one axis of length L, with kernel k, stride s and dilation d, looks at
d(k - 1) + 1 neighbouring samples (its effective kernel) and gives

    valid:  ceil((L - d(k - 1)) / s)    nothing is padded
    same:   ceil(L / s)                 the odd one of an uneven padding goes after (bottom, right)

as Keras and TensorFlow define them (`keras/src/backend/torch/nn.py: _compute_padding_length`).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable

PADDINGS = ("valid", "same")


def to_sizes(value: int | Iterable[int], rank: int, name: str) -> tuple[int, ...]:
    """Normalise an integer or `rank` integers, all at least 1, to a tuple of `rank` integers.

    Raises ValueError naming the argument `name` when the count, a type or a value is wrong.
    """
    rule = f"{name} must be an integer or {rank} integers, each at least 1"
    try:
        sizes = tuple(map(_to_int, value)) if isinstance(value, Iterable) else (_to_int(value),)
    except TypeError:
        raise ValueError(f"{rule}; received {value!r}") from None
    if not isinstance(value, Iterable):
        sizes *= rank
    if len(sizes) != rank or min(sizes, default=0) < 1:
        raise ValueError(f"{rule}; received {value!r}")
    return sizes


def _to_int(value: object) -> int:
    if isinstance(value, bool):
        raise TypeError("a truth value is no size")
    return operator.index(value)


def to_padding(value: str) -> str:
    """Normalise a padding mode, in any case, to `"valid"` or `"same"`; ValueError for others."""
    padding = value.lower() if isinstance(value, str) else value
    if padding not in PADDINGS:
        raise ValueError(f'padding must be "valid" or "same"; received {value!r}')
    return padding


def effective_kernel(kernel: int, dilation: int) -> int:
    """Samples that one output sample spans: d(k - 1) + 1."""
    return dilation * (kernel - 1) + 1


def axis_padding(
    length: int, kernel: int, stride: int, dilation: int, padding: str
) -> tuple[int, int]:
    """Zeros added before and after an axis of `length` samples.

    With stride 1 they do not depend on the length, which keeps traced graphs free of it.
    """
    if padding == "valid":
        return 0, 0
    total = effective_kernel(kernel, dilation) - 1
    if stride > 1:
        outputs = (length + stride - 1) // stride
        total = max(0, (outputs - 1) * stride + effective_kernel(kernel, dilation) - length)
    return total // 2, total - total // 2


def axis_output(length: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Samples that a convolution gives along an axis of `length` samples; 0 if it does not fit."""
    if padding == "valid":
        length -= effective_kernel(kernel, dilation) - 1
    return max(0, (length + stride - 1) // stride)
