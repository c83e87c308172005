"""What Keras refuses is refused, each time with the rule, what was received, and what to do."""

import keras
import pytest
import torch

from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D
from tests.support.keras_models import NEWEST_KERAS

LAYERS = {1: (ConvLSTM1D, keras.layers.ConvLSTM1D), 2: (ConvLSTM2D, keras.layers.ConvLSTM2D)}
B, T, C, SIZES, F = 2, 5, 3, (7, 8), 6

ARGUMENTS = [
    {"filters": 0},
    {"filters": -2},
    {"filters": "six"},
    {"filters": None},
    {"filters": [4]},
    {"kernel_size": 0},
    {"kernel_size": -1},
    {"kernel_size": "three"},
    {"kernel_size": None},
    {"kernel_size": (3, 3, 3)},
    {"kernel_size": ()},
    {"strides": -1},
    {"strides": 0},
    {"strides": (1, 1, 1)},
    {"strides": None},
    {"dilation_rate": 0},
    {"dilation_rate": (1, 1, 1)},
    {"strides": 2, "dilation_rate": 3},
    {"padding": "causal"},
    {"padding": 1},
    {"padding": None},
    {"data_format": "channels_middle"},
    {"data_format": 1},
    {"activation": "tahn"},
    {"activation": 3},
    {"recurrent_activation": "sigmoyd"},
    {"recurrent_activation": 3},
    {"kernel_initializer": "glorot"},
    {"recurrent_initializer": "orthogonale"},
    {"bias_initializer": "orthogonal"},
    {"bias_initializer": 3},
    {"kernel_regularizer": "l3"},
    {"recurrent_regularizer": "l3"},
    {"bias_regularizer": "l3"},
    {"activity_regularizer": "l3"},
    {"kernel_regularizer": 0.01},
    {"kernel_constraint": "max"},
    {"recurrent_constraint": "max"},
    {"bias_constraint": "max"},
    {"bias_constraint": 2},
    {"dropout": "half"},
    {"recurrent_dropout": None},
    {"seed": "x"},
    {"seed": 1.5},
    {"trainable": 2},
    {"trainable": "no"},
]


def inputs(rank, *, batch=B, steps=T, channels=C):
    return torch.rand(batch, steps, *SIZES[:rank], channels)


def used(layer_class, rank, arguments):
    """Make a layer and call it: some of what Keras refuses it only notices in the call."""
    given = {"filters": F, "kernel_size": 3, "padding": "same", **arguments}
    return layer_class(**given)(inputs(rank))


def assert_says_what_to_do(error):
    message = str(error.value)
    assert "received" in message or "there is no" in message, message
    remedy = message.rpartition("; ")[2]
    assert len(remedy) > 8, message
    assert "received" not in remedy, message


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@NEWEST_KERAS
def test_arguments(arguments, rank):
    ours, theirs = LAYERS[rank]
    with pytest.raises(Exception):  # noqa: B017  (Keras has no one kind for them)
        used(theirs, rank, arguments)
    word = next(reversed(arguments)).rpartition("_")[2]
    with pytest.raises(ValueError, match=word) as error:
        used(ours, rank, arguments)
    assert_says_what_to_do(error)


def states(rank, *, batch=B, filters=F, sizes=SIZES, count=2):
    return [torch.zeros(batch, *sizes[:rank], filters) for _ in range(count)]


CALLS = {
    "4 axes": lambda rank: (inputs(rank)[:, 0], {}),
    "6 axes": lambda rank: (inputs(rank)[None], {}),
    "1 state": lambda rank: (inputs(rank), {"initial_state": states(rank, count=1)}),
    "3 states": lambda rank: (inputs(rank), {"initial_state": states(rank, count=3)}),
    "states of another batch": lambda rank: (
        inputs(rank),
        {"initial_state": states(rank, batch=3)},
    ),
    "states of other filters": lambda rank: (
        inputs(rank),
        {"initial_state": states(rank, filters=4)},
    ),
    "states of another size": lambda rank: (
        inputs(rank),
        {"initial_state": states(rank, sizes=(5, 5))},
    ),
    "mask of another batch": lambda rank: (inputs(rank), {"mask": torch.ones(3, T) > 0}),
    "mask of fewer steps": lambda rank: (inputs(rank), {"mask": torch.ones(B, T - 1) > 0}),
    "other channels": lambda rank: (inputs(rank, channels=4), {}),
    "no steps": lambda rank: (inputs(rank, steps=0), {}),
}


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_calls(call, rank):
    given, arguments = call(rank)
    ours, theirs = (layer(F, 3, padding="same") for layer in LAYERS[rank])
    for layer in (ours, theirs):
        layer(inputs(rank))
    with pytest.raises(Exception):  # noqa: B017  (Keras has no one kind for them)
        theirs(given, **arguments)
    with pytest.raises(ValueError) as error:
        ours(given, **arguments)
    assert_says_what_to_do(error)


@pytest.mark.parametrize("rank", [1, 2])
def test_frames_smaller_than_the_kernel(rank):
    ours, theirs = (layer(F, 9) for layer in LAYERS[rank])
    with pytest.raises(Exception):  # noqa: B017  (Keras has no one kind for it)
        theirs(inputs(rank))
    with pytest.raises(ValueError) as error:
        ours(inputs(rank))
    assert_says_what_to_do(error)


@pytest.mark.parametrize("rank", [1, 2])
def test_another_batch_for_a_stateful_layer(rank):
    ours, theirs = (layer(F, 3, stateful=True) for layer in LAYERS[rank])
    for layer in (ours, theirs):
        layer(inputs(rank))
        with pytest.raises(ValueError, match="batch") as error:
            layer(inputs(rank, batch=3))
    with pytest.raises(ValueError) as error:
        ours(inputs(rank, batch=3))
    assert_says_what_to_do(error)
