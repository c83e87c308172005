"""Keras' names of a layer's rules. Does not import torch."""

from __future__ import annotations

# Activations that save only their result for the backward pass; the others save their input, too
SAVE_RESULT_ALONE = ("exponential", "linear", "log_softmax", "relu", "sigmoid", "softmax", "tanh")
ACTIVATION_NAMES = (
    *SAVE_RESULT_ALONE,
    *("celu", "elu", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh"),
    *("leaky_relu", "log_sigmoid", "mish", "relu6", "selu", "silu", "soft_shrink", "softplus"),
    *("softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "swish", "tanh_shrink"),
    "hard_sigmoid_keras2",
)
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
