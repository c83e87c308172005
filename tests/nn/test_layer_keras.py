"""ConvLSTM layers against Keras' own, run on its PyTorch backend, over drawn configurations."""

import inspect
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framecast.nn.convlstm.dropout import NO_DROPOUT
from framecast.nn.convlstm.initializers import Constant
from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from framecast.nn.convlstm.weights import to_keras_layout

LAYERS = {
    1: (ConvLSTM1D, keras.layers.ConvLSTM1D),
    2: (ConvLSTM2D, keras.layers.ConvLSTM2D),
    3: (ConvLSTM3D, keras.layers.ConvLSTM3D),
}
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
DRAWN = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Case:
    """One configuration: the layer's arguments, and what it is called with."""

    rank: int
    arguments: dict
    batch: int
    steps: int
    channels: int
    sizes: tuple
    masked: bool = False
    initial_state: bool = False
    calls: int = 1
    seed: int = 0


@pytest.fixture(scope="module")
def record():
    """Holds each difference against its bound; prints how many there were and the largest."""
    found = {}

    def check(name, difference, bound):
        found.setdefault(name, []).append(difference)
        assert difference <= bound

    yield check
    for name, differences in found.items():
        print(f"\n{name}: {len(differences)} calls, largest difference {max(differences):.1e}")


ACTIVATION_NAMES = ("tanh", "sigmoid", "relu", "hard_sigmoid", "linear", "softsign", "elu", None)


@st.composite
def cases(draw):
    rank = draw(st.sampled_from([2, 2, 2, 1, 3]))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    widening = draw(st.sampled_from(["strides", "dilation_rate", "neither"]))
    steps_of = {
        name: tuple(draw(st.integers(1, 3)) for _ in range(rank)) if name == widening else 1
        for name in ("strides", "dilation_rate")
    }
    dilation = steps_of["dilation_rate"] if widening == "dilation_rate" else (1,) * rank
    padding = draw(st.sampled_from(["valid", "same", "SAME"]))
    least = [
        d * (k - 1) + 1 if padding == "valid" else 1 for k, d in zip(kernel, dilation, strict=True)
    ]
    batch, steps, channels, filters = draw(st.permutations([1, 2, 3, 4, 5]))[:4]
    stateful = draw(st.booleans())
    masked = draw(st.booleans())
    go_backwards = draw(st.booleans())
    arguments = {
        "filters": filters,
        "kernel_size": kernel[0] if len(set(kernel)) == 1 else kernel,
        **steps_of,
        "padding": padding,
        "data_format": draw(st.sampled_from([None, "channels_last", "channels_first"])),
        "activation": draw(st.sampled_from(ACTIVATION_NAMES)),
        "recurrent_activation": draw(st.sampled_from(["sigmoid", "hard_sigmoid", "tanh"])),
        "use_bias": draw(st.booleans()),
        "return_sequences": draw(st.booleans()),
        "return_state": draw(st.booleans()),
        "go_backwards": go_backwards,
        "stateful": stateful,
        # Keras' PyTorch backend fails on unroll with a mask and go_backwards.
        "unroll": draw(st.booleans()) and not (masked and go_backwards),
        "zero_output_for_mask": draw(st.booleans()),
    }
    return Case(
        rank,
        arguments,
        batch=batch,
        steps=steps,
        channels=channels,
        sizes=tuple(low + draw(st.integers(0, 4)) + axis for axis, low in enumerate(least)),
        masked=masked,
        initial_state=draw(st.booleans()),
        calls=draw(st.integers(2, 3)) if stateful else 1,
        seed=draw(st.integers(0, 2**16)),
    )


def build(case, dtype):
    """Both layers with the same, unequal weights, small enough that no state blows up.

    A recurrence that grows would multiply the rounding of float32, whoever computes it.
    """
    torch.manual_seed(case.seed)
    ours_class, keras_class = LAYERS[case.rank]
    ours = ours_class(**case.arguments, in_channels=case.channels, dtype=getattr(torch, dtype))
    theirs = keras_class(**case.arguments, dtype=dtype)
    theirs.build(input_shape(case))
    with torch.no_grad():
        for name in WEIGHTS:
            parameter = getattr(ours, name)
            if parameter is not None:
                fan_in = parameter[0].numel()
                parameter.normal_(0.2 / fan_in, 0.5 / fan_in**0.5)
                getattr(theirs.cell, name).assign(to_keras_layout(parameter))
    return ours, theirs


def input_shape(case):
    shape = (*case.sizes, case.channels)
    shape = (
        (case.channels, *case.sizes) if case.arguments["data_format"] == "channels_first" else shape
    )
    return (case.batch, case.steps, *shape)


def call_arguments(case, theirs, dtype):
    """Inputs, states and mask of one call; the same tensors go to both layers."""
    dtype = getattr(torch, dtype)
    inputs = torch.randn(input_shape(case), dtype=dtype, requires_grad=True)
    state = mask = None
    if case.initial_state:
        shape = theirs.get_initial_state(case.batch)[0].shape
        state = [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in "hc"]
    if case.masked:
        mask = torch.rand(case.batch, case.steps) < 0.6
    return inputs, state, mask


def results(layer, weights, call, training):
    """Outputs, then gradients of all inputs and weights of a sum with unequal factors."""
    inputs, state, mask = call
    outputs = layer(inputs, initial_state=state, mask=mask, training=training)
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    total = sum((o * torch.cos(torch.arange(o.numel()).reshape(o.shape))).sum() for o in outputs)
    sources = [inputs, *(state or []), *weights]
    gradients = torch.autograd.grad(total, sources, materialize_grads=True, allow_unused=True)
    return outputs, gradients[: -len(weights)], gradients[-len(weights) :]


def difference(ours, theirs):
    """Largest difference as a share of the largest value; shapes must be equal."""
    assert ours.shape == theirs.shape
    scale, apart = theirs.abs().max().item(), (ours - theirs).abs().max().item()
    return apart / scale if scale else apart


def compare(ours, theirs, call, training=False):
    """Largest difference of outputs, states and gradients between the layers in one call."""
    names = [name for name in WEIGHTS if getattr(ours, name) is not None]
    our = results(ours, [getattr(ours, name) for name in names], call, training)
    their = results(theirs, [getattr(theirs.cell, name).value for name in names], call, training)
    our_weights = [to_keras_layout(gradient) for gradient in our[2]]
    pairs = zip([*our[0], *our[1], *our_weights], [*their[0], *their[1], *their[2]], strict=True)
    return max(difference(*pair) for pair in pairs)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-10)])
@DRAWN
@given(case=cases())
def test_outputs_states_and_gradients(dtype, bound, case, record):
    ours, theirs = build(case, dtype)
    for _ in range(case.calls):
        record(dtype, compare(ours, theirs, call_arguments(case, theirs, dtype)), bound)


def share_masks(ours, theirs, inputs):
    """Give both layers the masks that ours draws; Keras wants them in its own order of axes."""
    last = ours.data_format == "channels_last"
    x_BCHW = inputs[:, 0].movedim(-1, 1) if last else inputs[:, 0]
    masks = ours.sample_dropout(x_BCHW.detach(), training=True)
    assert (masks.inputs_4BCHW is None) == (ours.dropout == 0)
    assert (masks.state_4BFHW is None) == (ours.recurrent_dropout == 0)
    ours.sample_dropout = lambda x_BCHW, training: masks if training else NO_DROPOUT
    for mask, name in zip(masks, ("dropout", "recurrent_dropout"), strict=True):
        if mask is not None:
            listed = list(mask.movedim(2, -1) if last else mask)
            setattr(theirs.cell, f"get_{name}_mask", lambda _, listed=listed: listed)


@settings(DRAWN, max_examples=50)
@given(case=cases(), rates=st.sampled_from([(0.3, 0.0), (0.0, 0.6), (0.6, 0.3)]))
def test_dropout_with_the_same_masks(case, rates, record):
    dropout, recurrent = rates
    arguments = {**case.arguments, "dropout": dropout, "recurrent_dropout": recurrent}
    case = replace(case, arguments=arguments)
    ours, theirs = build(case, "float64")
    call = call_arguments(case, theirs, "float64")
    share_masks(ours, theirs, call[0])
    record("dropout", compare(ours, theirs, call, training=True), 1e-10)


def arange(*shape, scale=100):
    return torch.arange(float(np.prod(shape))).reshape(shape) / scale


CONSTANTS = {"kernel_initializer": Constant(0.01), "recurrent_initializer": Constant(0.02)}


def test_golden_of_keras_conv_lstm2d_test():
    layer = ConvLSTM2D(2, 3, bias_initializer=Constant(0.03), **CONSTANTS)
    expected = [
        [[0.48694518, 0.50237733], [0.5461202, 0.5598283]],
        [[0.8661607, 0.86909103], [0.8774414, 0.8800861]],
    ]
    output = layer(arange(2, 3, 4, 4, 5))
    assert output.shape == (2, 2, 2, 2)
    for channel in range(2):
        torch.testing.assert_close(output[..., channel], torch.tensor(expected))


def test_golden_of_keras_conv_lstm1d_test():
    layer = ConvLSTM1D(2, 3, bias_initializer=Constant(0.03), **CONSTANTS)
    expected = torch.tensor([[0.40807986, 0.46421072], [0.80933154, 0.8233646]])
    output = layer(arange(2, 3, 4, 5, scale=10))
    torch.testing.assert_close(output, expected.unsqueeze(-1).expand(2, 2, 2))


def test_golden_of_keras_conv_lstm_test():
    layer = ConvLSTM2D(4, 3, padding="same", **CONSTANTS)
    states = [arange(2, 5, 5, 4), arange(2, 5, 5, 4)]
    output = layer(arange(2, 3, 5, 5, 3), initial_state=states)
    assert output.sum().item() == pytest.approx(119.812454, rel=1e-6)


def test_golden_of_the_keras_cell_in_one_step():
    layer = ConvLSTM2D(4, 3, padding="same", **CONSTANTS)
    state = arange(2, 5, 5, 4, scale=10).movedim(-1, 1)
    h, c = layer.step(arange(2, 5, 5, 3, scale=10).movedim(-1, 1), (state, state))
    assert h.sum().item() == pytest.approx(188.89502, rel=1e-6)
    assert c.sum().item() == pytest.approx(2170.444, rel=1e-6)


@pytest.mark.parametrize("rank", LAYERS)
def test_every_argument_of_keras_has_its_name_its_place_and_its_default(rank):
    ours_class, keras_class = LAYERS[rank]
    ours = inspect.signature(ours_class).parameters
    theirs = inspect.signature(keras_class).parameters
    named = [name for name in theirs if name != "kwargs"]
    assert list(ours)[: len(named)] == named
    assert {name: ours[name].default for name in named} == {
        name: theirs[name].default for name in named
    }
    assert ours["unroll"].default is ours["zero_output_for_mask"].default is False
    call = inspect.signature(keras_class.call).parameters
    assert set(call) <= set(inspect.signature(ours_class.forward).parameters)


@pytest.mark.parametrize("return_sequences", [True, False])
def test_the_mask_goes_on_as_keras_passes_it(return_sequences):
    ours, theirs = (
        layer(2, 3, return_sequences=return_sequences, return_state=True) for layer in LAYERS[2]
    )
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert ours.compute_mask(mask) is theirs.compute_mask(None, mask)[0]
