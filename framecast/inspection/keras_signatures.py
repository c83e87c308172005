"""The arguments of Keras' layers, in their order and with their defaults; kept equal by a test.

Each is written as in Python. Source: the layers of Keras 3, `keras/src/layers/`.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any

from framecast.nn.convlstm.keras_names import ACTIVATION_NAMES

# Initializers that are not Keras' usual one, glorot_uniform
_STARTS = {"recurrent": "orthogonal", "bias": "zeros"}


def _weights(*names: str, forget: bool = False) -> str:
    """The initializers, regularizers and constraints of weights, which change no shape."""
    starts = [f"{name}_initializer={_STARTS.get(name, 'glorot_uniform')!r}" for name in names]
    penalties = [f"{name}_regularizer=None" for name in (*names, "activity")]
    limits = [f"{name}_constraint=None" for name in names]
    return ", ".join([*starts, *(["unit_forget_bias=True"] if forget else []), *penalties, *limits])


_ACTIVE = "activation=None, use_bias=True"
_LINEAR = f"{_ACTIVE}, {_weights('kernel', 'bias')}"
_RNN_WEIGHTS = _weights("kernel", "recurrent", "bias")
_LSTM_WEIGHTS = _weights("kernel", "recurrent", "bias", forget=True)
_CONV = "kernel_size, strides=1, padding='valid', data_format=None, dilation_rate=1"
_SEQUENCES = "return_sequences=False, return_state=False, go_backwards=False, stateful=False"
_GATES = "activation='tanh', recurrent_activation='sigmoid', use_bias=True"
_DROPOUT = "dropout=0.0, recurrent_dropout=0.0"
_POOL = "strides=None, padding='valid', data_format=None"
_LORA = "lora_rank=None, lora_alpha=None, quantization_config=None"
_NORM = (
    "epsilon=0.001, center=True, scale=True, beta_initializer='zeros', gamma_initializer='ones', "
    "{moving}beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, "
    "gamma_constraint=None"
)

MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")

# Layers that return their input's shape, of any number of axes and without weights
UNCHANGED = (
    *("Activation", "AlphaDropout", "Dropout", "ELU", "GaussianDropout", "GaussianNoise"),
    *("Identity", "LeakyReLU", "Masking", "ReLU", "Rescaling", "Softmax", "UnitNormalization"),
)

# The same with or without weights
NORMALIZATIONS = ("BatchNormalization", "GroupNormalization", "LayerNormalization")
NEUTRAL = (*UNCHANGED, *NORMALIZATIONS, "PReLU")

# By the kinds of layers that have them
_ARGUMENTS = {
    "Conv1D Conv2D Conv3D": f"filters, {_CONV}, groups=1, {_LINEAR}",
    "Conv1DTranspose Conv2DTranspose": "filters, kernel_size, strides=1, padding='valid', "
    f"output_padding=None, data_format=None, dilation_rate=1, {_LINEAR}",
    "Conv3DTranspose": "filters, kernel_size, strides=1, padding='valid', data_format=None, "
    f"output_padding=None, dilation_rate=1, {_LINEAR}",
    "SeparableConv1D SeparableConv2D": f"filters, {_CONV}, depth_multiplier=1, {_ACTIVE}, "
    + _weights("depthwise", "pointwise", "bias"),
    "DepthwiseConv1D DepthwiseConv2D": "kernel_size, strides=1, padding='valid', "
    f"depth_multiplier=1, data_format=None, dilation_rate=1, {_ACTIVE}, "
    + _weights("depthwise", "bias"),
    "MaxPooling1D MaxPooling2D MaxPooling3D": f"pool_size=2, {_POOL}",
    "AveragePooling1D AveragePooling2D AveragePooling3D": f"pool_size, {_POOL}",
    "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D "
    "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D": "data_format=None, "
    "keepdims=False",
    "BatchNormalization": "axis=-1, momentum=0.99, "
    + _NORM.format(moving="moving_mean_initializer='zeros', moving_variance_initializer='ones', ")
    + ", renorm=False, renorm_clipping=None, renorm_momentum=0.99, synchronized=False",
    "GroupNormalization": "groups=32, axis=-1, " + _NORM.format(moving=""),
    "LayerNormalization": "axis=-1, " + _NORM.format(moving=""),
    "UnitNormalization Softmax Concatenate": "axis=-1",
    "Dropout AlphaDropout": "rate, noise_shape=None, seed=None",
    "SpatialDropout1D GaussianDropout": "rate, seed=None",
    "SpatialDropout2D SpatialDropout3D": "rate, data_format=None, seed=None",
    "GaussianNoise": "stddev, seed=None",
    "Activation": "activation",
    "ReLU": "max_value=None, negative_slope=0.0, threshold=0.0",
    "LeakyReLU": "negative_slope=0.3",
    "PReLU": "alpha_initializer='Zeros', alpha_regularizer=None, alpha_constraint=None, "
    "shared_axes=None",
    "ELU": "alpha=1.0",
    "Rescaling": "scale, offset=0.0",
    "Masking": "mask_value=0.0",
    "Identity Add Subtract Multiply Average Maximum Minimum": "",
    "Flatten": "data_format=None",
    "Reshape": "target_shape",
    "Permute": "dims",
    "Dense": f"units, {_LINEAR}, {_LORA}",
    "Embedding": "input_dim, output_dim, embeddings_initializer='uniform', "
    f"embeddings_regularizer=None, embeddings_constraint=None, mask_zero=False, weights=None, "
    f"{_LORA}",
    "LSTM": f"units, {_GATES}, {_LSTM_WEIGHTS}, {_DROPOUT}, seed=None, {_SEQUENCES}, unroll=False, "
    "use_cudnn='auto'",
    "GRU": f"units, {_GATES}, {_RNN_WEIGHTS}, {_DROPOUT}, seed=None, {_SEQUENCES}, unroll=False, "
    "reset_after=True, use_cudnn='auto'",
    "SimpleRNN": f"units, activation='tanh', use_bias=True, {_RNN_WEIGHTS}, {_DROPOUT}, "
    f"{_SEQUENCES}, unroll=False, seed=None",
    "ConvLSTM1D ConvLSTM2D ConvLSTM3D": f"filters, {_CONV}, {_GATES}, {_LSTM_WEIGHTS}, {_DROPOUT}, "
    f"seed=None, {_SEQUENCES}",
    "RepeatVector": "n",
    "TimeDistributed": "layer",
    "Bidirectional": "layer, merge_mode='concat', weights=None, backward_layer=None",
    "UpSampling1D": "size=2",
    "UpSampling2D": "size=2, data_format=None, interpolation='nearest'",
    "UpSampling3D": "size=2, data_format=None",
    "ZeroPadding1D ZeroPadding2D ZeroPadding3D": "padding=1, data_format=None",
    "Cropping1D": "cropping=(1, 1)",
    "Cropping2D": "cropping=((0, 0), (0, 0)), data_format=None",
    "Cropping3D": "cropping=((1, 1), (1, 1), (1, 1)), data_format=None",
    "InputLayer": "shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, "
    "batch_shape=None, input_tensor=None, optional=False",
}
SIGNATURES = {kind: text for kinds, text in _ARGUMENTS.items() for kind in kinds.split()}

# Functions that keep the shape of a tensor
ELEMENTWISE = {
    *ACTIVATION_NAMES,
    *("abs", "absolute", "cast", "clip", "exp", "log", "sign", "sqrt", "square", "stop_gradient"),
}

# The kind of layer that a name stands for: its own, another one, or an old one of Keras 1
KINDS = {
    **{kind: kind for kind in SIGNATURES},
    **{kind.replace("AveragePooling", "AvgPool"): kind for kind in SIGNATURES},
    **{kind.replace("MaxPooling", "MaxPool"): kind for kind in SIGNATURES},
    **{re.sub(r"^(Separable)?Conv(?=\d)", r"\1Convolution", kind): kind for kind in SIGNATURES},
    "Input": "InputLayer",
    "Deconvolution2D": "Conv2DTranspose",
    "LSTMConv2D": "ConvLSTM2D",
}

# Arguments that framecast's ConvLSTM layers have and Keras' do not
OURS_ALONE = "recurrent_kernel_size=None, peephole=False, layer_norm=False, recompute=False"

# Arguments that a layer takes in its `**kwargs`, in this or an earlier version of Keras
OF_ANY_LAYER = {
    *("name", "dtype", "trainable", "autocast", "activity_regularizer", "weights", "input_shape"),
    *("batch_input_shape", "batch_shape", "batch_size", "input_dim", "input_length"),
    *("unroll", "zero_output_for_mask", "implementation", "time_major"),
}

# Arguments of Keras 1 with their names since Keras 2
OLD_NAMES = {
    **{"nb_filter": "filters", "border_mode": "padding", "subsample": "strides"},
    **{"subsample_length": "strides", "filter_length": "kernel_size"},
    **{"dim_ordering": "data_format", "inner_activation": "recurrent_activation"},
    **{"init": "kernel_initializer", "inner_init": "recurrent_initializer"},
    **{"forget_bias_init": "unit_forget_bias", "W_regularizer": "kernel_regularizer"},
    **{"U_regularizer": "recurrent_regularizer", "b_regularizer": "bias_regularizer"},
    **{"W_constraint": "kernel_constraint", "b_constraint": "bias_constraint"},
    **{"dropout_W": "dropout", "dropout_U": "recurrent_dropout", "output_dim": "units"},
    **{"bias": "use_bias", "p": "rate", "atrous_rate": "dilation_rate", "pool_length": "pool_size"},
    "sigma": "stddev",
}


def freezes_weights(kind: str) -> bool:
    """Whether `trainable=False` in a layer's call reaches its weights: not those of inner layers.

    In Keras 3 that is so of ConvLSTM's cell, too; `layer.trainable = False` reaches all of them.
    """
    return not kind.startswith(("ConvLSTM", "TimeDistributed", "Bidirectional"))


@cache
def parameters_of(kind: str) -> dict[str, Any]:
    """A layer's arguments by name, in order; `...` for one without a default."""
    text = SIGNATURES.get(kind, "")  # GetItem, a part of a tensor, is no layer of Keras
    if kind.startswith("ConvLSTM"):
        text = f"{text}, {OURS_ALONE}"
    # Parsed as Python, so that defaults are read as Keras' source has them
    arguments = ast.parse(f"def layer({text}): 0").body[0].args
    names = [argument.arg for argument in arguments.args]
    defaults = [ast.literal_eval(default) for default in arguments.defaults]
    return dict(zip(names, [...] * (len(names) - len(defaults)) + defaults, strict=True))
