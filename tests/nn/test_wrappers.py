"""Bidirectional and TimeDistributed against Keras' own."""

import keras
import numpy as np
import pytest
import torch
from torch import nn

from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from framecast.nn.convlstm.wrappers import Bidirectional, TimeDistributed
from framecast.nn.interchange.keras_layers import load_keras_layers

B, T, C, F, SIZES = 2, 5, 3, 6, (5, 4, 3)
PAIRS = {
    1: (ConvLSTM1D, keras.layers.ConvLSTM1D),
    2: (ConvLSTM2D, keras.layers.ConvLSTM2D),
    3: (ConvLSTM3D, keras.layers.ConvLSTM3D),
}
VARIANTS = {
    "sequence": {"return_sequences": True},
    "last": {},
    "states": {"return_sequences": True, "return_state": True},
    "last and states": {"return_state": True, "padding": "same"},
    "stateful": {"return_sequences": True, "stateful": True},
}


def pair(rank, merge_mode, **arguments):
    """Our wrapper and Keras', of different weights in each direction, equal in both."""
    ours_class, keras_class = PAIRS[rank]
    theirs = keras.layers.Bidirectional(keras_class(F, 2, **arguments), merge_mode=merge_mode)
    ours = Bidirectional(ours_class(F, 2, **arguments), merge_mode=merge_mode)
    x = np.random.default_rng(0).random((B, T, *SIZES[:rank], C)).astype("float32")
    theirs.build(x.shape)
    rng = np.random.default_rng(1)
    for variable in theirs.trainable_variables:
        variable.assign(rng.normal(0, 0.2, variable.shape))
    ours.set_weights([variable.numpy() for variable in theirs.trainable_variables])
    return ours, theirs, x


def listed(found):
    return list(found) if isinstance(found, (list, tuple)) else [found]


@pytest.mark.parametrize("arguments", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("merge_mode", ["concat", "sum", "ave", "mul", None])
@pytest.mark.parametrize("rank", PAIRS)
def test_outputs_states_and_shapes_are_those_of_keras(rank, merge_mode, arguments):
    ours, theirs, x = pair(rank, merge_mode, **arguments)
    mask = np.array([[True, True, False, True, False], [True] * 5])
    for call in range(3 if arguments.get("stateful") else 1):
        given = {} if call else {"mask": mask}
        found, expected = listed(ours(x, **given)), listed(theirs(x, **given))
        for our, their in zip(found, expected, strict=True):
            torch.testing.assert_close(our, their)
    state = [np.full(_state_shape(ours, x), n, "float32") for n in (0.1, 0.2, 0.3, 0.4)]
    for our, their in zip(
        listed(ours(x, initial_state=state)), listed(theirs(x, initial_state=state)), strict=True
    ):
        torch.testing.assert_close(our, their)
    shapes = ours.compute_output_shape(x.shape)
    shapes = shapes if isinstance(shapes[0], tuple) else (shapes,)
    assert shapes == tuple(tuple(y.shape) for y in found)
    assert ours.count_params() == theirs.count_params()


def _state_shape(ours, x):
    layer = ours.forward_layer
    shape = layer.compute_output_shape(x.shape)
    shape = shape[0] if layer.return_state else shape
    return (shape[0], *shape[2:]) if layer.return_sequences else shape


def test_a_backward_layer_and_initial_weights_may_be_given():
    forward = ConvLSTM2D(F, 2, in_channels=C)
    backward = ConvLSTM2D(F, 3, padding="valid", go_backwards=True, in_channels=C)
    weights = [w + 1 for w in (*forward.get_weights(), *backward.get_weights())]
    ours = Bidirectional(forward, "concat", weights=weights, backward_layer=backward)
    assert all(map(np.array_equal, ours.get_weights(), weights))
    assert ours.forward_layer is forward and ours.backward_layer is backward


def test_a_configuration_goes_both_ways():
    ours, theirs, x = pair(2, "ave", return_sequences=True)
    again = keras.layers.Bidirectional.from_config(ours.get_config())
    again(x)
    again.set_weights(ours.get_weights())
    torch.testing.assert_close(again(x), ours(x))
    back = Bidirectional.from_config(theirs.get_config())
    back.set_weights(ours.get_weights())
    torch.testing.assert_close(back(x), ours(x))
    assert back.merge_mode == "ave"


@pytest.mark.parametrize("merge_mode", ["concat", None])
def test_layers_of_other_filters_and_kernels_have_the_shapes_that_keras_computes(merge_mode):
    options = {"return_state": True, "padding": "same"}
    ours, theirs = (
        wrapper(
            layer(F, 2, **options),
            merge_mode,
            backward_layer=layer(4, 3, go_backwards=True, **options),
        )
        for wrapper, layer in zip(
            (Bidirectional, keras.layers.Bidirectional), PAIRS[2], strict=True
        )
    )
    x = np.zeros((B, T, 5, 4, C), "float32")
    shapes = [tuple(found.shape) for found in theirs(x)]
    assert [tuple(found.shape) for found in ours(x)] == shapes
    assert list(ours.compute_output_shape(x.shape)) == shapes
    assert ours.compute_output_shape((None, None, None, 4, C))[0] == (None, None, *shapes[0][2:])


@pytest.mark.parametrize(
    ("merge_mode", "backward"),
    [("sum", {"filters": 1}), ("mul", {"filters": 4}), ("concat", {"kernel_size": 3})],
)
def test_outputs_that_do_not_merge_are_refused(merge_mode, backward):
    layer = ConvLSTM2D(**{"filters": F, "kernel_size": 2, **backward}, go_backwards=True)
    ours = Bidirectional(ConvLSTM2D(F, 2), merge_mode, backward_layer=layer)
    for call in (ours, lambda x: ours.compute_output_shape(x.shape)):
        with pytest.raises(ValueError, match=f"'{merge_mode}' takes outputs of one size; received"):
            call(torch.rand(B, T, 5, 4, C))


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("merge_mode", ["concat", None])
def test_the_mask_goes_on_as_keras_passes_it(merge_mode, return_sequences):
    ours, theirs, _ = pair(2, merge_mode, return_sequences=return_sequences)
    mask = torch.ones(B, T, dtype=torch.bool)
    expected, found = theirs.compute_mask(None, mask), ours.compute_mask(mask)
    assert type(found) is type(expected)
    for our, their in zip(listed(found), listed(expected), strict=True):
        assert our is their


@pytest.mark.parametrize("kept", [0, 3, 5])
def test_weights_that_do_not_fit_are_refused_and_change_nothing(kept):
    ours, _, _ = pair(2, "sum")
    before = ours.get_weights()
    given = [weight + 1 for weight in before]
    with pytest.raises(ValueError, match=f"3 of the backward layer; received {kept}"):
        ours.set_weights(given[:kept])
    with pytest.raises(ValueError, match=r"bias must be \(24,\); received \(3,\)"):
        ours.set_weights([*given[:5], np.zeros(3, "float32")])
    assert all(map(np.array_equal, ours.get_weights(), before))


def test_a_wrapper_is_frozen_and_freed_as_in_keras():
    ours, theirs, x = pair(2, "sum")
    frozen = keras.layers.Bidirectional(keras.layers.ConvLSTM2D(F, 2), trainable=False)
    frozen.build(x.shape)
    assert frozen.get_config()["layer"]["config"]["trainable"] and not frozen.trainable_variables
    back = Bidirectional.from_config(frozen.get_config())
    back.build((None, None, 5, 4, C))
    assert back.count_params() == frozen.count_params()
    assert not back.trainable and not any(p.requires_grad for p in back.parameters())
    for value in (False, True):
        ours.trainable = theirs.trainable = value
        assert [p.requires_grad for p in ours.parameters()] == [value] * 6
        assert ours.trainable is ours.get_config()["trainable"] is value
        again = keras.layers.Bidirectional.from_config(ours.get_config())
        again.build(x.shape)
        assert len(again.trainable_variables) == len(theirs.trainable_variables) == 6 * value


def test_with_channels_first_the_channels_are_joined():
    ours = Bidirectional(ConvLSTM2D(F, 2, data_format="channels_first", return_sequences=True))
    output = ours(torch.rand(B, T, C, 5, 4))
    assert output.shape == ours.compute_output_shape((B, T, C, 5, 4)) == (B, T, 2 * F, 4, 3)


def test_both_directions_learn_and_are_saved_with_a_model(tmp_path):
    ours = Bidirectional(ConvLSTM2D(F, 2, return_sequences=True))
    ours(torch.rand(B, T, 5, 4, C)).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in ours.parameters())
    assert len(ours.state_dict()) == 6 and "forward_layer.kernel" in ours.state_dict()


def test_layers_of_a_keras_file_make_its_bidirectional_again(tmp_path):
    _, theirs, x = pair(2, "concat", return_sequences=True)
    model = keras.Sequential([keras.layers.Input(x.shape[1:]), theirs])
    model.save(tmp_path / "model.keras")
    forward, backward = load_keras_layers(tmp_path / "model.keras").values()
    ours = Bidirectional(forward, backward_layer=backward)
    torch.testing.assert_close(ours(x), model(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": nn.Linear(3, 3)}, "layer must be a ConvLSTM layer"),
        ({"layer": ConvLSTM2D(F, 2), "merge_mode": "max"}, "merge_mode must be one of concat, sum"),
        ({"layer": ConvLSTM2D(F, 2, go_backwards=True)}, "one of the layers must go backwards"),
        (
            {
                "layer": ConvLSTM2D(F, 2),
                "backward_layer": ConvLSTM2D(F, 2, go_backwards=True, return_sequences=True),
            },
            "both layers must have the same return_sequences; received False in the forward",
        ),
        (
            {"layer": ConvLSTM2D(F, 2), "backward_layer": ConvLSTM1D(F, 2, go_backwards=True)},
            "both layers must have the same rank; received 2 in the forward",
        ),
    ],
)
def test_what_makes_no_pair_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Bidirectional(**arguments)


def test_half_a_state_is_refused():
    with pytest.raises(ValueError, match="4 tensors; received 2"):
        Bidirectional(ConvLSTM2D(F, 2))(torch.rand(B, T, 5, 4, C), [torch.zeros(1)] * 2)


def test_time_distributed_applies_a_module_to_each_step_as_keras_does():
    theirs = keras.layers.TimeDistributed(keras.layers.Conv2D(F, 2))
    x = np.random.default_rng(0).random((B, T, 5, 4, C)).astype("float32")
    expected = theirs(x)
    conv = nn.Conv2d(C, F, 2)
    with torch.no_grad():
        conv.weight.copy_(theirs.layer.kernel.value.movedim((-1, -2), (0, 1)))
        conv.bias.copy_(theirs.layer.bias.value)
    ours = TimeDistributed(conv, data_format="channels_last")
    torch.testing.assert_close(ours(x), expected)
    first = TimeDistributed(conv)(torch.tensor(x).movedim(-1, 2))
    torch.testing.assert_close(first.movedim(2, -1), expected)
    assert TimeDistributed(nn.Linear(C, 4))(torch.rand(B, T, C)).shape == (B, T, 4)
    with pytest.raises(ValueError, match="at least 3 axes"):
        ours(x[0, 0, 0])
    with pytest.raises(ValueError, match="layer must be a module of PyTorch"):
        TimeDistributed(print)


def test_time_distributed_gives_each_of_several_tensors_its_time():
    x = torch.rand(B, 3, T, 5, 4, C)
    layer = ConvLSTM2D(F, 2, return_sequences=True, return_state=True)
    found = TimeDistributed(layer)(x)
    for n, expected in enumerate(zip(*(layer(x[:, t]) for t in range(3)), strict=True)):
        torch.testing.assert_close(found[n], torch.stack(expected, 1))
    assert len(found) == 3


def test_time_distributed_gives_mask_and_training_to_modules_that_take_them():
    class Probe(nn.Module):
        def forward(self, x, training=None, mask=None):
            return x * mask.view(-1, 1) + float(training)

    x, mask = torch.rand(B, T, C), torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]])
    found = TimeDistributed(Probe())(x, training=True, mask=mask)
    torch.testing.assert_close(found, x * mask.unsqueeze(-1) + 1)
    with pytest.raises(ValueError, match=r"mask must be \(batch, time\) = \(2, 5\)"):
        TimeDistributed(Probe())(x, mask=mask[:, :3])
