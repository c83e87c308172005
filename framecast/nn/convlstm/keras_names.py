"""What may be written for a layer's rules, by Keras' names, and what activations cost. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class ActivationCost(NamedTuple):
    """What one call keeps for the backward pass beside its result, which its reader keeps.

    `keeps_input`: what it was given; `own`: further tensors of that size; `passes_on`: nothing,
    since the result is the input itself.
    """

    keeps_input: bool = False
    own: float = 0.0
    passes_on: bool = False


_RESULT, _INPUT = ActivationCost(), ActivationCost(keeps_input=True)
_OWN, _BOTH = ActivationCost(own=1.0), ActivationCost(keeps_input=True, own=1.0)

ACTIVATION_COSTS: Mapping[str, ActivationCost] = {
    **dict.fromkeys(("exponential", "log_softmax", "relu", "sigmoid", "softmax", "tanh"), _RESULT),
    **dict.fromkeys(("celu", "elu", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu"), _INPUT),
    **dict.fromkeys(("hard_swish", "hard_tanh", "leaky_relu", "mish", "relu6", "selu"), _INPUT),
    **dict.fromkeys(("silu", "soft_shrink", "softplus", "swish"), _INPUT),
    **dict.fromkeys(("hard_sigmoid_keras2", "sparse_sigmoid", "tanh_shrink"), _OWN),
    **dict.fromkeys(("log_sigmoid", "softsign", "squareplus"), _BOTH),
    "sparse_plus": ActivationCost(keeps_input=True, own=1.25),
    "linear": ActivationCost(passes_on=True),
}

INITIALIZER_NAMES = (
    *("constant", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal"),
    *("lecun_uniform", "normal", "one", "ones", "orthogonal", "random_normal", "random_uniform"),
    *("truncated_normal", "uniform", "variance_scaling", "zero", "zeros"),
    *("Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal"),
    *("LecunUniform", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal"),
    *("Ones", "VarianceScaling", "Zeros"),
)
REGULARIZER_NAMES = ("l1", "l2", "l1l2", "L1", "L2", "L1L2")
CONSTRAINT_NAMES = (
    *("max_norm", "min_max_norm", "non_neg", "unit_norm"),
    *("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"),
)
