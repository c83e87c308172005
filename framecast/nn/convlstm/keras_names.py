"""Keras' names of a layer's rules, and the memory of activations. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping

ACTIVATION_COSTS: Mapping[str, int] = {
    **dict.fromkeys(("exponential", "log_softmax", "relu", "sigmoid", "softmax", "tanh"), 0),
    **dict.fromkeys(("celu", "elu", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu"), 1),
    **dict.fromkeys(("hard_swish", "hard_tanh", "leaky_relu", "mish", "relu6", "selu"), 1),
    **dict.fromkeys(("silu", "soft_shrink", "softplus", "swish"), 1),
    **dict.fromkeys(("hard_sigmoid_keras2", "sparse_sigmoid", "tanh_shrink"), 1),
    **dict.fromkeys(("log_sigmoid", "softsign", "squareplus", "sparse_plus"), 2),
    "linear": 0,
}
"""Tensors that a call saves for the backward pass in addition to its result."""

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
