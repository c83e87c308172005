"""Initial weights by Keras' names, drawn in Keras' layout (..., in, out).

Source: `keras/src/initializers/random_initializers.py`. Values come from PyTorch's generator, on
the CPU whatever the device, so that a seed gives the same weights everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from framecast.nn.convlstm.keras_identifiers import resolve

Shape = tuple[int, ...]
Initializer = Callable[..., Tensor]
# An integer gives the same weights at every call, a generator or None other ones each time.
Seed = int | torch.Generator | None
# Standard deviation of a unit normal distribution truncated at two standard deviations.
_TRUNCATED_STDDEV = 0.87962566103423978


@dataclass(frozen=True)
class Constant:
    """Every weight is `value`; an array is broadcast over the weight's shape."""

    value: float | Sequence[float] = 0.0

    def __call__(self, shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
        value = torch.as_tensor(self.value, dtype=dtype or torch.get_default_dtype(), device="cpu")
        try:
            return value.expand(shape).clone()
        except RuntimeError as error:
            raise ValueError(
                f"initial weights of shape {tuple(value.shape)} do not broadcast to {shape}; "
                "kernels are (rows, columns, in, out) as in Keras"
            ) from error


@dataclass(frozen=True)
class Zeros:
    """Every weight is 0."""

    def __call__(self, shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device="cpu")


@dataclass(frozen=True)
class Ones:
    """Every weight is 1."""

    def __call__(self, shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
        return torch.ones(shape, dtype=dtype, device="cpu")


@dataclass(frozen=True)
class RandomNormal:
    """Normal weights; an integer `seed` gives the same at every call, a generator does not."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: Seed = None

    def __call__(self, shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
        drawn = torch.empty(shape, dtype=dtype, device="cpu")
        return drawn.normal_(self.mean, self.stddev, generator=_generator(self.seed))


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal weights, drawn again when further than two standard deviations from the mean."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: Seed = None

    def __call__(self, shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
        drawn = torch.empty(shape, dtype=dtype, device="cpu")
        # Scaled afterwards, since PyTorch divides by the standard deviation, which may be 0.
        torch.nn.init.trunc_normal_(drawn, generator=_generator(self.seed))
        return drawn.mul_(self.stddev).add_(self.mean)


@dataclass(frozen=True)
class RandomUniform:
    """Weights drawn evenly between `minval` and `maxval`."""

    minval: float = -0.05
    maxval: float = 0.05
    seed: Seed = None

    def __call__(self, shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
        drawn = torch.empty(shape, dtype=dtype, device="cpu")
        return drawn.uniform_(self.minval, self.maxval, generator=_generator(self.seed))


@dataclass(frozen=True)
class VarianceScaling:
    """Weights whose variance is `scale / n`, n the number of inputs, outputs or their mean.

    `mode` is "fan_in", "fan_out" or "fan_avg"; `distribution` is "truncated_normal" (also
    "normal"), "untruncated_normal" or "uniform"; `input_axes` and `output_axes` replace the axes
    that count as inputs and outputs, by default the second to last and the last, each times all
    axes before them. ValueError for other modes, distributions and scales <= 0.
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: Seed = None
    input_axes: Sequence[int] | None = None
    output_axes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"scale must be positive; received {self.scale}")
        if self.mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"mode must be fan_in, fan_out or fan_avg; received {self.mode!r}")
        known = ("normal", "truncated_normal", "untruncated_normal", "uniform")
        if self.distribution not in known:
            rule = f"distribution must be one of {', '.join(known)}"
            raise ValueError(f"{rule}; received {self.distribution!r}")

    def __call__(self, shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
        fan_in, fan_out = self._fans(shape)
        # Glorot and Bengio, 2010: fan_avg; He et al., 2015 (arXiv:1502.01852): fan_in, scale 2.
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        # A uniform distribution over [-a, a] has variance a^2 / 3.
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return RandomUniform(-limit, limit, self.seed)(shape, dtype)
        if self.distribution == "untruncated_normal":
            return RandomNormal(0.0, math.sqrt(variance), self.seed)(shape, dtype)
        return TruncatedNormal(0.0, math.sqrt(variance) / _TRUNCATED_STDDEV, self.seed)(
            shape, dtype
        )

    def _fans(self, shape: Shape) -> tuple[int, int]:
        if self.input_axes is not None and self.output_axes is not None:
            fan_in = math.prod(shape[axis] for axis in self.input_axes)
            return fan_in, math.prod(shape[axis] for axis in self.output_axes)
        if len(shape) == 1:
            return shape[0], shape[0]
        # A kernel (rows, columns, in, out): each output sums over the receptive field.
        field = math.prod(shape[:-2])
        return shape[-2] * field, shape[-1] * field


class _Scaled(VarianceScaling):
    """One setting of VarianceScaling under a name, with the arguments that Keras leaves to it."""

    setting: ClassVar[tuple[float, str, str]]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self.setting, seed, input_axes, output_axes)


class GlorotNormal(_Scaled):
    """Truncated normal weights of variance 2 / (inputs + outputs)."""

    setting = (1.0, "fan_avg", "truncated_normal")


class GlorotUniform(_Scaled):
    """Uniform weights of variance 2 / (inputs + outputs)."""

    setting = (1.0, "fan_avg", "uniform")


class HeNormal(_Scaled):
    """Truncated normal weights of variance 2 / inputs."""

    setting = (2.0, "fan_in", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform weights of variance 2 / inputs."""

    setting = (2.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Truncated normal weights of variance 1 / inputs."""

    setting = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform weights of variance 1 / inputs."""

    setting = (1.0, "fan_in", "uniform")


@dataclass(frozen=True)
class Orthogonal:
    """A (semi-)orthogonal matrix of all axes but the last against the last, times `gain`.

    Source: Saxe et al., 2014, arXiv:1312.6120. ValueError for tensors of fewer than two axes.
    """

    gain: float = 1.0
    seed: Seed = None

    def __call__(self, shape: Shape, dtype: torch.dtype | None = None) -> Tensor:
        if len(shape) < 2:
            raise ValueError(
                f"orthogonal weights need two or more axes; received shape {shape}; use another "
                "initializer for a bias"
            )
        # 16-bit matrices have no QR decomposition: they are drawn in float32.
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        # For a recurrent kernel (rows, columns, F, 4F) the columns are all four gates together.
        matrix = torch.empty(math.prod(shape[:-1]), shape[-1], dtype=wide, device="cpu")
        torch.nn.init.orthogonal_(matrix, self.gain, _generator(self.seed))
        return matrix.reshape(shape).to(dtype)


def _generator(seed: Seed) -> torch.Generator | None:
    return torch.Generator("cpu").manual_seed(seed) if isinstance(seed, int) else seed


INITIALIZERS: Mapping[str, Initializer] = {
    "constant": Constant,
    "glorot_normal": GlorotNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "normal": RandomNormal,
    "one": Ones,
    "ones": Ones,
    "orthogonal": Orthogonal,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "truncated_normal": TruncatedNormal,
    "uniform": RandomUniform,
    "variance_scaling": VarianceScaling,
    "zero": Zeros,
    "zeros": Zeros,
}


def get_initializer(identifier: object, argument: str) -> Initializer:
    """Initializer for a name, configuration, array, class or callable `(shape, dtype=...)`.

    Raises ValueError, naming the `argument`, for what is none of these, None included.
    """
    if isinstance(identifier, (Tensor, np.ndarray)):
        return Constant(identifier)
    found = resolve(argument, identifier, INITIALIZERS)
    if found is None:
        raise ValueError(f'{argument} must not be None; use "zeros" for weights that start at 0')
    return found
