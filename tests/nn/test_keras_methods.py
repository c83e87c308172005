"""Configurations, weights as arrays, shapes and names of layers against Keras' own."""

import json

import keras
import numpy as np
import pytest
import torch
from torch import nn

from framecast.errors import UsageError
from framecast.nn.convlstm.cell import ConvLSTMCell2D
from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from framecast.nn.interchange.keras_config import to_keras_config
from tests.support.keras_models import NEWEST_KERAS

B, T, C, F, SIZES = 2, 5, 3, 6, (7, 8, 9)
PAIRS = {
    1: (ConvLSTM1D, keras.layers.ConvLSTM1D),
    2: (ConvLSTM2D, keras.layers.ConvLSTM2D),
    3: (ConvLSTM3D, keras.layers.ConvLSTM3D),
}
ARGUMENTS = {
    "defaults": {},
    "settings": {
        "strides": 2,
        "padding": "same",
        "data_format": "channels_first",
        "use_bias": False,
        "activation": "relu",
        "recurrent_activation": "hard_sigmoid",
        "return_sequences": True,
        "return_state": True,
        "go_backwards": True,
        "zero_output_for_mask": True,
        "dropout": 0.25,
        "recurrent_dropout": 0.5,
        "seed": 3,
        "name": "rain",
        "trainable": False,
        "dtype": "float64",
    },
    "rules": {
        "dilation_rate": 2,
        "unit_forget_bias": False,
        "kernel_initializer": "he_normal",
        "recurrent_initializer": "zeros",
        "bias_initializer": "ones",
        "kernel_regularizer": "l2",
        "recurrent_regularizer": "l1",
        "bias_regularizer": "l1l2",
        "activity_regularizer": "l2",
        "kernel_constraint": "max_norm",
        "recurrent_constraint": "unit_norm",
        "bias_constraint": "non_neg",
    },
}
OBJECTS = {
    "kernel_initializer": keras.initializers.VarianceScaling(
        0.5, "fan_out", "untruncated_normal", seed=7
    ),
    "recurrent_initializer": keras.initializers.Orthogonal(gain=0.3, seed=5),
    "bias_initializer": keras.initializers.Constant(0.2),
    "kernel_regularizer": keras.regularizers.L1L2(0.03, 0.04),
    "bias_regularizer": keras.regularizers.L2(0.5),
    "activity_regularizer": keras.regularizers.L1(0.25),
    "kernel_constraint": keras.constraints.MinMaxNorm(0.5, 1.5, 0.7, axis=(0, 1)),
    "bias_constraint": keras.constraints.MaxNorm(0.1),
    "activation": keras.activations.elu,
    "recurrent_activation": keras.activations.hard_sigmoid,
}


def shape_of(rank, data_format=None, batch=B, steps=T):
    sizes = SIZES[:rank]
    frame = (C, *sizes) if data_format == "channels_first" else (*sizes, C)
    return (batch, steps, *frame)


def tuples(shapes):
    return tuple(tuples(s) if isinstance(s, (list, tuple)) else s for s in shapes)


def plain(config):
    """As it is written to JSON, with dtypes by name."""
    dtype = config["dtype"]
    dtype = dtype["config"]["name"] if isinstance(dtype, dict) else dtype
    return json.loads(json.dumps({**config, "dtype": dtype}))


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("rank", PAIRS)
def test_a_configuration_of_keras_makes_the_same_layer_and_ours_makes_kerass(rank, arguments):
    ours_class, keras_class = PAIRS[rank]
    theirs = keras_class(F, 2, **arguments)
    ours = ours_class(**theirs.get_config())
    for again in (keras_class.from_config(ours.get_config()), theirs):
        assert plain(again.get_config()) == plain(theirs.get_config())
    restored = ours_class.from_config(ours.get_config())
    assert restored.get_config() == ours.get_config()
    for key, value in plain(theirs.get_config()).items():
        found = plain(ours.get_config())[key]
        if isinstance(value, dict):  # Keras names the axes of an initializer even if there are none
            assert found["class_name"] == value["class_name"]
            assert found["config"].items() <= value["config"].items()
        else:
            assert found == value


@NEWEST_KERAS
def test_objects_and_functions_of_keras_keep_their_parameters():
    ours = ConvLSTM2D(F, 3, in_channels=C, **OBJECTS)
    theirs = keras.layers.ConvLSTM2D(F, 3, **OBJECTS)
    ours_config, their_config = ours.get_config(), theirs.get_config()
    for name in OBJECTS:
        if "activation" in name:
            assert ours_config[name] == their_config[name]
        else:
            assert ours_config[name]["class_name"] == their_config[name]["class_name"]
            expected = their_config[name]["config"]
            for key, value in ours_config[name]["config"].items():
                same = value == expected[key] if isinstance(value, str) else None
                assert np.allclose(value, expected[key]) if same is None else same
    assert torch.equal(ours.bias[:F], torch.full((F,), 0.2))
    assert ours.kernel.std().item() == pytest.approx((0.5 / (9 * 4 * F)) ** 0.5, rel=0.2)
    x = np.random.default_rng(0).random(shape_of(2)).astype("float32")
    theirs(x)
    theirs.set_weights(ours.get_weights())
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x), theirs(x)
    assert sum(loss.item() for loss in ours.regularization_losses().values()) == pytest.approx(
        sum(loss.item() for loss in theirs.losses), rel=1e-5
    )


class Halves(keras.initializers.Initializer):
    """The user's own rule, written for Keras."""

    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, 0.5, dtype=dtype)


def test_rules_of_the_users_own_are_called(tmp_path):
    layer = ConvLSTM2D(
        F,
        3,
        in_channels=C,
        kernel_initializer=Halves(),
        bias_initializer=lambda shape, dtype=None: np.full(shape, 0.25),
        unit_forget_bias=False,
        recurrent_initializer=np.full((1, 1, F, 4 * F), 0.125),
        kernel_constraint=lambda w: w.clamp(max=0.1),
        activation=lambda x: torch.tanh(2 * x),
    )
    assert layer.kernel.eq(0.5).all() and layer.bias.eq(0.25).all()
    assert layer.recurrent_kernel.eq(0.125).all()
    layer.apply_constraints()
    assert layer.kernel.eq(0.1).all()
    again = ConvLSTM2D.from_config(layer.get_config())
    assert again.activation is layer.activation
    assert again.rules["kernel"].constraint is layer.rules["kernel"].constraint


@pytest.mark.parametrize("dtype", ["float32", torch.float64, "bfloat16", torch.float16, "float16"])
def test_every_dtype_can_be_asked_for_at_construction(dtype):
    layer = ConvLSTM2D(F, 3, in_channels=C, dtype=dtype)
    expected = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert {parameter.dtype for parameter in layer.parameters()} == {expected}
    rows = layer.recurrent_kernel.float().movedim((0, 1), (-1, -2)).reshape(-1, 4 * F)
    torch.testing.assert_close(rows.T @ rows, torch.eye(4 * F), atol=2e-2, rtol=0)
    assert layer.kernel.float().std() > 0.05
    if expected in (torch.float32, torch.float64, torch.bfloat16):
        output = layer(torch.rand(shape_of(2)).to(expected))
        assert output.dtype == expected and output.isfinite().all()


def test_a_mixed_policy_has_weights_in_float32():
    theirs = keras.layers.ConvLSTM2D(F, 3, dtype="mixed_bfloat16")
    layer = ConvLSTM2D(**theirs.get_config(), in_channels=C)
    assert layer.kernel.dtype == torch.float32
    for wrong in ("int8", "float31", 3):
        with pytest.raises(ValueError, match="dtype must be a floating-point type; received"):
            ConvLSTM2D(F, 3, dtype=wrong)


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("rank", PAIRS)
def test_weights_shapes_and_counts_are_those_of_keras(rank, arguments):
    ours_class, keras_class = PAIRS[rank]
    ours, theirs = ours_class(F, 2, **arguments), keras_class(F, 2, **arguments)
    shape = shape_of(rank, arguments.get("data_format"))
    assert ours.get_weights() == []
    with pytest.raises(ValueError, match=r"has no weights yet; call it or build\(shape\)"):
        ours.count_params()
    theirs.build(shape)
    for known in (shape, (None, None, *shape[2:])):
        assert tuples(ours.compute_output_shape(known)) == tuples(
            theirs.compute_output_shape(known)
        )
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=w.shape).astype(w.dtype) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(theirs.get_weights())
    assert ours.count_params() == theirs.count_params()
    for our, their in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert our.dtype == their.dtype and np.array_equal(our, their)
    x = rng.random(shape).astype("float32" if ours.kernel.dtype == torch.float32 else "float64")
    results = [layer(x, training=False) for layer in (ours, theirs)]
    found, expected = (r if isinstance(r, (list, tuple)) else [r] for r in results)
    for our, their in zip(found, expected, strict=True):
        torch.testing.assert_close(our, their)
    shapes = ours.compute_output_shape(shape)
    assert [tuple(y.shape) for y in found] == list(shapes if ours.return_state else [shapes])


def test_an_unknown_size_leaves_the_others_known():
    layer = ConvLSTM2D(F, 3, strides=2, return_sequences=True)
    assert layer.compute_output_shape((None, T, None, 8, C)) == (None, T, None, 3, F)
    layer.build((None, None, None, None, C))
    assert layer.in_channels == C
    with pytest.raises(ValueError, match="was made for 3 input channels; received 4"):
        layer.compute_output_shape((B, T, 7, 8, 4))
    with pytest.raises(ValueError, match="takes 5 axes"):
        layer.compute_output_shape((B, 7, 8, C))
    with pytest.raises(ValueError, match=r"needs a size of \(3, 3\) or more"):
        layer.compute_output_shape((B, T, 2, 8, C))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "has 3 weights (kernel, recurrent_kernel, bias); received 0"),
        ([np.zeros((3, 3, C, 4 * F))] * 3, "recurrent_kernel must be (3, 3, 6, 24); received"),
        ([np.zeros((4 * F, C, 3, 3))] * 3, "kernel must be (3, 3, 3, 24); received (24, 3, 3, 3)"),
        ([np.zeros(4 * F)] * 3, "kernel must be"),
        ([np.zeros(())] * 3, "kernel must be"),
    ],
    ids=range(5),
)
@pytest.mark.parametrize("built", [True, False])
def test_weights_that_do_not_fit_are_refused_and_change_nothing(weights, message, built):
    layer = ConvLSTM2D(F, 3, in_channels=C if built else None)
    before = layer.get_weights()
    with pytest.raises(ValueError) as caught:
        layer.set_weights(weights)
    assert message in str(caught.value) or not built
    assert all(map(np.array_equal, layer.get_weights(), before))
    assert layer.in_channels == (C if built else None)


def test_names_count_up_as_in_keras_and_may_be_given():
    first, second = ConvLSTM3D(F, 1), ConvLSTM3D(F, 1)
    number = int(first.name.rpartition("d_")[2] if "d_" in first.name else 0)
    assert first.name.startswith("conv_lstm3d") and second.name == f"conv_lstm3d_{number + 1}"
    assert ConvLSTM2D(F, 1, name="rain").name == "rain"
    with pytest.raises(ValueError, match="name must be a text without '/'"):
        ConvLSTM2D(F, 1, name="a/b")


def test_trainable_freezes_and_frees_all_weights_made_or_not():
    layer = ConvLSTM2D(F, 3, trainable=False)
    layer(torch.rand(shape_of(2)))
    assert not layer.trainable and not any(p.requires_grad for p in layer.parameters())
    layer.trainable = True
    layer(torch.rand(shape_of(2))).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    layer.trainable = False
    assert layer.get_config()["trainable"] is False


@pytest.mark.parametrize(
    ("data_format", "shape"), [(None, (T, 7, 8, C)), ("channels_first", (None, C, None, None))]
)
def test_input_shape_tells_the_channels(data_format, shape):
    layer = ConvLSTM2D(F, 3, data_format=data_format, input_shape=shape)
    assert layer.in_channels == C
    with pytest.raises(ValueError, match="takes 5 axes"):
        ConvLSTM2D(F, 3, input_shape=shape[1:])
    with pytest.raises(ValueError, match="was made for 4 input channels; received 3"):
        ConvLSTM2D(F, 3, data_format=data_format, input_shape=shape, in_channels=4)


def test_arrays_lists_and_keras_keywords_are_taken():
    layer = ConvLSTM2D(F, 3, return_state=True, in_channels=C)
    x = np.random.default_rng(0).random(shape_of(2))
    h, c = (np.random.default_rng(n).random((B, 5, 6, F)) for n in (1, 2))
    mask = [[True, False, True, True, False]] * B
    expected = layer(
        torch.tensor(x).float(),
        [torch.tensor(h).float(), torch.tensor(c).float()],
        torch.tensor(mask),
    )
    found = layer(sequences=x, initial_state=[h, c], mask=mask, training=False)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="takes floating-point numbers"):
        layer(np.zeros(shape_of(2), np.uint8))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_cell_is_one_step_of_keras(data_format):
    from keras.src.layers.rnn.conv_lstm import ConvLSTMCell  # noqa: PLC0415

    given = {"data_format": data_format, "strides": (1, 2), "padding": "same", "kernel_size": 3}
    ours = ConvLSTMCell2D(F, **given)
    theirs = ConvLSTMCell(2, F, **given)
    shape = shape_of(2, data_format)
    theirs.build((B, *shape[2:]))
    rng = np.random.default_rng(3)
    theirs.set_weights([rng.normal(0, 0.3, w.shape) for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    x = rng.random((B, *shape[2:])).astype("float32")
    state_shape = ours.compute_output_shape(x.shape)[0]
    state = [rng.random(state_shape).astype("float32") for _ in "hc"]
    output, states = ours(x, state)
    their_output, their_states = theirs(x, [torch.tensor(s) for s in state])
    torch.testing.assert_close(output, their_output)
    for our, their in zip(states, their_states, strict=True):
        torch.testing.assert_close(our, their)
    torch.testing.assert_close(ours(x)[0], ours(x, [np.zeros_like(s) for s in state])[0])
    with pytest.raises(ValueError, match="initial_state must be two tensors"):
        ours(x, state[:1])
    with pytest.raises(ValueError, match=r"takes 4 axes \(batch"):
        ours(x[None])
    config = {k: v for k, v in ours.get_config().items() if k not in ("name", "trainable")}
    theirs_again = ConvLSTMCell(2, **config)
    assert theirs_again.strides == (1, 2) and theirs_again.filters == F


def test_cells_share_masks_over_steps_where_they_are_given():
    cell = ConvLSTMCell2D(F, 3, padding="same", dropout=0.5, in_channels=C)
    layer = ConvLSTM2D(F, 3, padding="same", in_channels=C)
    layer.set_weights(cell.get_weights())
    x = torch.ones(B, 7, 8, C)
    assert not torch.equal(cell(x)[0], cell(x)[0])
    masks = cell.sample_dropout(x.movedim(-1, 1))
    assert torch.equal(cell(x, masks=masks)[0], cell(x, masks=masks)[0])
    torch.testing.assert_close(cell(x, training=False)[0], layer(x.unsqueeze(1)))


def test_the_state_dict_of_a_layer_without_input_weights_can_be_saved_and_loaded(tmp_path):
    unbuilt = nn.Sequential(ConvLSTM2D(F, 3), ConvLSTM2D(F, 3, in_channels=F))
    torch.save(unbuilt.state_dict(), tmp_path / "unbuilt.pt")
    state = torch.load(tmp_path / "unbuilt.pt", weights_only=False)
    assert [*state] == [*unbuilt.state_dict()] and len(state) == 6
    again = nn.Sequential(ConvLSTM2D(F, 3), ConvLSTM2D(F, 3, in_channels=F))
    again.load_state_dict(state)
    assert again[0].in_channels is None
    assert torch.equal(again[0].recurrent_kernel, unbuilt[0].recurrent_kernel)
    again[0](torch.rand(shape_of(2)))
    again.load_state_dict(again.state_dict())
    with pytest.raises(ValueError, match="save after the first call"):
        again.load_state_dict(state)


def test_a_stateful_layer_trains_after_inference_mode():
    layer = ConvLSTM2D(F, 3, stateful=True)
    x = torch.rand(shape_of(2))
    with torch.inference_mode():
        layer(x)
        layer(x)
    layer(x).sum().backward()
    assert layer.recurrent_kernel.grad.abs().max() > 0


@pytest.mark.parametrize("built", [True, False])
def test_a_layer_made_in_inference_mode_works_in_it(built):
    x = torch.rand(shape_of(2))
    with torch.inference_mode():
        layer = ConvLSTM2D(F, 3, in_channels=C if built else None)
        found = layer(x)
    again = ConvLSTM2D(F, 3)
    again.load_state_dict(layer.state_dict())
    again(x).sum().backward()
    torch.testing.assert_close(found, again(x).detach(), rtol=0, atol=0)


def test_a_layer_that_is_first_used_in_inference_mode_can_be_trained():
    layer, x = ConvLSTM2D(F, 3), torch.rand(shape_of(2))
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert layer.kernel.grad.abs().max() > 0


def test_jit_script_is_refused_with_what_works():
    layer = ConvLSTM2D(F, 3, in_channels=C)
    for module in (layer, nn.Sequential(layer)):
        with pytest.raises(RuntimeError, match=r"use torch\.export\.export or torch\.jit\.trace"):
            torch.jit.script(module)
    x = torch.rand(shape_of(2))
    torch.testing.assert_close(torch.jit.trace(layer, x)(x), layer(x))


def test_the_states_kernel_may_have_a_size_of_its_own():
    layer = ConvLSTM2D(F, 3, recurrent_kernel_size=(1, 5), padding="same", in_channels=C)
    assert layer.recurrent_kernel.shape == (4 * F, F, 1, 5)
    assert layer.get_config()["recurrent_kernel_size"] == (1, 5)
    again = ConvLSTM2D.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    embedded = ConvLSTM2D(F, (3, 5), padding="same", in_channels=C)
    with torch.no_grad():
        embedded.kernel.zero_()[..., 1:4] = layer.kernel
        embedded.recurrent_kernel.zero_()[:, :, 1:2] = layer.recurrent_kernel
    x = torch.rand(shape_of(2))
    for other in (again, embedded):
        torch.testing.assert_close(other(x), layer(x))
    with pytest.raises(UsageError, match="Keras' ConvLSTM2D has no recurrent_kernel_size"):
        to_keras_config(layer)
