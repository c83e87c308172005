"""Layers above one another: equal to the layers run by hand, and what does not fit is named."""

import pytest
import torch

from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D
from framecast.nn.convlstm.stack import ConvLSTMStack

B, T, C, H, W = 2, 5, 3, 11, 8
SETTINGS = [
    {"filters": 6, "kernel_size": (5, 3), "strides": 2, "padding": "same"},
    {"filters": 4, "kernel_size": 3, "peephole": True},
    {"filters": 7, "kernel_size": (1, 2), "padding": "same", "layer_norm": True},
]


def stack_of(settings=SETTINGS, **arguments):
    torch.manual_seed(1)
    stack = ConvLSTMStack(settings, **{"in_channels": C, **arguments})
    for weight in stack.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return stack


def first(data_format):
    """Settings in one data format, and an input that has it."""
    x_BTCHW = torch.rand(B, T, C, H, W, generator=torch.Generator().manual_seed(0))
    inputs = x_BTCHW if data_format == "channels_first" else x_BTCHW.movedim(2, -1)
    return [{**layer, "data_format": data_format} for layer in SETTINGS], inputs


def test_numpy_arrays_are_taken_as_by_the_layers():
    settings, inputs = first("channels_last")
    stack = stack_of(settings)
    found = stack(inputs.double().numpy())
    torch.testing.assert_close(found, stack(inputs), rtol=0, atol=0)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("sequences", [False, True])
def test_a_stack_is_its_layers_one_after_another(data_format, sequences):
    settings, inputs = first(data_format)
    settings[-1]["return_sequences"] = sequences
    stack = stack_of(settings, return_all=True, return_state=True)
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]])
    outputs, states = stack(inputs, mask=mask)
    expected = inputs
    for layer, output, state in zip(stack.layers, outputs, states, strict=True):
        expected, *last = layer(expected, mask=mask)
        torch.testing.assert_close(output, expected, rtol=0, atol=0)
        torch.testing.assert_close(list(state), last, rtol=0, atol=0)
    assert outputs[-1].ndim == (5 if sequences else 4)
    assert len({tuple(output.shape[-3:]) for output in outputs}) == 3


def test_without_being_asked_only_the_last_output_comes_out():
    settings, inputs = first("channels_last")
    whole, plain = stack_of(settings, return_all=True, return_state=True), stack_of(settings)
    plain.load_state_dict(whole.state_dict())
    outputs, states = whole(inputs)
    assert torch.equal(plain(inputs), outputs[-1])
    states_only = stack_of(settings, return_state=True)
    states_only.load_state_dict(whole.state_dict())
    output, again = states_only(inputs)
    assert torch.equal(output, outputs[-1])
    torch.testing.assert_close(again, states, rtol=0, atol=0)


def test_going_on_from_returned_states_is_one_long_sequence():
    settings, inputs = first("channels_last")
    stack = stack_of(settings, return_state=True)
    whole, _ = stack(inputs)
    _, states = stack(inputs[:, :2])
    rest, _ = stack(inputs[:, 2:], states)
    torch.testing.assert_close(rest, whole)
    other, _ = stack(inputs[:, 2:], [states[0], None, None])
    assert not torch.allclose(other, whole)


def test_steps_in_a_row_are_the_sequence():
    settings, inputs = first("channels_first")
    stack = stack_of(settings, return_state=True)
    output, states = stack(inputs)
    for given in (stack.zero_state(inputs[:, 0]), None):
        stepped = given
        for x_BCHW in inputs.unbind(1):
            h_BFHW, stepped = stack.step(x_BCHW, stepped)
        torch.testing.assert_close(h_BFHW, output)
        torch.testing.assert_close(stepped, states)
    assert [tuple(h.shape) for h, _ in stack.zero_state(inputs[:, 0])] == [
        (B, 6, 6, 4),
        (B, 4, 4, 2),
        (B, 7, 4, 2),
    ]


def test_dropout_in_steps_comes_through_masks_of_each_layer():
    settings = [{**layer, "dropout": 0.5} for layer in first("channels_first")[0]]
    stack, inputs = stack_of(settings), first("channels_first")[1]
    masks = [stack.layers[0].sample_dropout(inputs[:, 0]), None, None]
    dropped, _ = stack.step(inputs[:, 0], masks=masks)
    alone = stack.layers[0].step(inputs[:, 0], masks=masks[0])
    expected = stack.layers[2].step(stack.layers[1].step(alone[0])[0])[0]
    assert torch.equal(dropped, expected)
    assert not torch.allclose(dropped, stack.step(inputs[:, 0])[0])


def test_stateful_layers_carry_on_until_reset():
    settings = [{**layer, "stateful": True} for layer in SETTINGS]
    stack, (_, inputs) = stack_of(settings), first("channels_last")
    whole = stack(inputs)
    stack.reset_state()
    assert not torch.allclose(stack(inputs[:, :2]), whole)
    torch.testing.assert_close(stack(inputs[:, 2:]), whole)
    assert not torch.allclose(stack(inputs), whole)
    stack.reset_state()
    torch.testing.assert_close(stack(inputs), whole)


def test_series_and_layers_made_before_go_into_a_stack():
    layers = [ConvLSTM1D(5, 3, return_sequences=True, in_channels=C), ConvLSTM1D(4, 2)]
    stack = ConvLSTMStack(layers)
    assert list(stack.layers) == layers
    inputs = torch.rand(B, T, W, C)
    torch.testing.assert_close(stack(inputs), layers[1](layers[0](inputs)))
    series = ConvLSTMStack([{"filters": 5, "kernel_size": 3}], rank=1)
    assert isinstance(series.layers[0], ConvLSTM1D)
    assert series(inputs).shape == (B, W - 2, 5)


ONE = {"filters": 4, "kernel_size": 3}
SHARED = ConvLSTM2D(4, 3, return_sequences=True)


@pytest.mark.parametrize(
    ("layers", "arguments", "says"),
    [
        ([], {}, "a stack takes a list of layers or of their settings, at least one; received []"),
        (ONE, {}, "a stack takes a list of layers or of their settings"),
        ([ONE, 8], {}, "received 8 as layer 2; write {"),
        ([ONE], {"rank": 4}, "rank must be 1, 2 or 3 spatial axes; received 4"),
        ([ONE, {"filters": 4}], {}, "layer 2: kernel_size is missing; write e.g. {"),
        (
            [{**ONE, "stride": 2}],
            {},
            "layer 1: stride is not an argument of the layer; did you ",
        ),
        ([ONE, {**ONE, "dropout": 1.0}], {}, "layer 2: dropout must be at least 0 and less than 1"),
        (
            [ONE, {**ONE, "return_sequences": False}, ONE],
            {},
            "layer 2 gives 4 axes, its last step only, and layer 3 takes 5 (batch, time, ...); "
            "received return_sequences=False; give layer 2 return_sequences=True",
        ),
        (
            [ConvLSTM2D(4, 3), ONE],
            {},
            "layer 1 gives 4 axes, its last step only, and layer 2 takes 5",
        ),
        (
            [ONE, {**ONE, "data_format": "channels_first"}],
            {},
            "layers of a stack have one data_format; received 'channels_last' in layer 1 and "
            "'channels_first' in layer 2; make them agree",
        ),
        ([ONE, ConvLSTM1D(4, 3)], {}, "layers of a stack have one rank; received 2 in layer 1"),
        (
            [ONE, ConvLSTM2D(4, 3, in_channels=5)],
            {},
            "layer 2 gets 4 channels; received in_channels=5; leave it out, or give it 4",
        ),
        ([ONE, {**ONE, "in_channels": 5}], {}, "layer 2 gets 4 channels; received in_channels=5"),
        ([SHARED, SHARED], {}, "can stand in a stack only once"),
        (
            [SHARED],
            {"return_state": True},
            "received return_state=False in layer 1; leave it out, or make it True",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_layers_number(layers, arguments, says):
    with pytest.raises(ValueError) as caught:
        ConvLSTMStack(layers, **arguments)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "arguments", "says"),
    [
        ((B, H, W, C), {}, "ConvLSTMStack takes 5 axes (batch, time, height, width, channels)"),
        ((B, T, 3, 3, C), {}, 'layer 2: padding="valid" needs a size of (3, 3) or more'),
        ((B, T, H, W, 2), {}, "layer 1: ConvLSTM2D was made for 3 input channels; received 2"),
        (
            (B, T, H, W, C),
            {"initial_states": [None]},
            "initial_states has one entry for each of the 3 layers; received 1; write None",
        ),
        (
            (B, T, H, W, C),
            {"initial_states": [None, [torch.zeros(B, 6, 4, 4)] * 2, None]},
            "layer 2: h of initial_state must be (2, 4, 2, 4); received (2, 6, 4, 4)",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_the_layers_number(shape, arguments, says):
    with pytest.raises(ValueError) as caught:
        stack_of()(torch.rand(shape), **arguments)
    assert says in str(caught.value)
