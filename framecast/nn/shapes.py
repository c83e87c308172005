"""Shape arithmetic of convolutions in plain integers. Does not import torch.

A convolution along one axis of length L, with kernel k, stride s and dilation d, covers
d(k - 1) + 1 samples (its effective kernel) and gives

    valid:  ceil((L - d(k - 1)) / s)    nothing is padded
    same:   ceil(L / s)                 an odd total pads one more at the bottom or right

as Keras and TensorFlow define them (`keras/src/backend/torch/nn.py: _compute_padding_length`).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

PADDINGS = ("valid", "same")
# Of one float32 number.
FLOAT_BYTES = 4


def to_sizes(value: int | Iterable[int], rank: int, name: str) -> tuple[int, ...]:
    """Normalise an integer or `rank` integers, all at least 1, to a tuple of `rank` integers.

    Raises ValueError naming the argument `name` when the count, a type or a value is wrong.
    """
    rule, remedy = f"{name} must be an integer of 1 or more", f"use e.g. {name}=3"
    if rank > 1:
        rule = f"{name} must be an integer or {rank} integers, each of 1 or more"
        remedy += f" or {name}=({', '.join('3' * rank)})"
    try:
        sizes = tuple(map(_to_int, value if isinstance(value, Iterable) else (value,) * rank))
    except TypeError:
        sizes = ()
    # The keys of a mapping would pass as sizes.
    if isinstance(value, Mapping) or len(sizes) != rank or min(sizes) < 1:
        raise ValueError(f"{rule}; received {value!r}; {remedy}")
    return sizes


def to_count(value: int, name: str) -> int:
    """Accept one integer of 1 or more; ValueError, which names the argument, for anything else."""
    try:
        count = _to_int(value)
    except TypeError:
        count = 0
    if count < 1:
        rule = f"{name} must be an integer of 1 or more"
        raise ValueError(f"{rule}; received {value!r}; use e.g. {name}=3")
    return count


def _to_int(value: object) -> int:
    if isinstance(value, bool):  # an integer to Python, but True is no size
        raise TypeError("a truth value is not a size")
    return operator.index(value)


def to_padding(value: str) -> str:
    """Normalise a padding mode, in any case, to `"valid"` or `"same"`; ValueError for others."""
    padding = value.lower() if isinstance(value, str) else value
    if padding not in PADDINGS:
        remedy = '"same" keeps the size at stride 1, "valid" pads nothing'
        raise ValueError(f'padding must be "valid" or "same"; received {value!r}; {remedy}')
    return padding


@dataclass(frozen=True)
class ConvGeometry:
    """Kernel, strides, padding and dilation of a convolution over one or more spatial axes."""

    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    dilation_rate: tuple[int, ...]

    @classmethod
    def parse(
        cls,
        rank: int,
        *,
        kernel_size: int | Iterable[int],
        strides: int | Iterable[int] = 1,
        padding: str = "same",
        dilation_rate: int | Iterable[int] = 1,
    ) -> ConvGeometry:
        """Normalise a layer's arguments for `rank` axes; ValueError for invalid ones."""
        geometry = cls(
            to_sizes(kernel_size, rank, "kernel_size"),
            to_sizes(strides, rank, "strides"),
            to_padding(padding),
            to_sizes(dilation_rate, rank, "dilation_rate"),
        )
        if max(geometry.strides) > 1 and max(geometry.dilation_rate) > 1:
            raise ValueError(
                "strides > 1 do not go with dilation_rate > 1; received strides="
                f"{geometry.strides}, dilation_rate={geometry.dilation_rate}; set one of them to 1"
            )
        return geometry

    @property
    def spans(self) -> tuple[int, ...]:
        """Effective kernel: samples that one output sample looks at, along each axis."""
        axes = zip(self.kernel_size, self.dilation_rate, strict=True)
        return tuple(dilation * (kernel - 1) + 1 for kernel, dilation in axes)

    def pads(self, sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Zeros added before and after each axis of an input of these `sizes`.

        With stride 1 they do not depend on the sizes, which keeps traced graphs free of them.
        """
        axes = zip(sizes, self.spans, self.strides, strict=True)
        return tuple(self._pad(*axis) for axis in axes)

    def _pad(self, length: int, span: int, stride: int) -> tuple[int, int]:
        if self.padding == "valid":
            return 0, 0
        total = span - 1
        if stride > 1:  # as few as still give ceil(length / stride) outputs
            total = max(0, (_ceil_divide(length, stride) - 1) * stride + span - length)
        return total // 2, total - total // 2

    def output_sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Size that each axis of an input of these `sizes` keeps; 0 if the kernel does not fit."""
        lost = [span - 1 if self.padding == "valid" else 0 for span in self.spans]
        axes = zip(sizes, lost, self.strides, strict=True)
        return tuple(max(0, _ceil_divide(size - less, stride)) for size, less, stride in axes)


def _ceil_divide(dividend: int, divisor: int) -> int:
    return (dividend + divisor - 1) // divisor
