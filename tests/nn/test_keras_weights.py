"""ConvLSTM layers from and to files of Keras, compared with Keras' own outputs."""

import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import torch
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from framecast.errors import CheckpointError, OutputError, UsageError
from framecast.nn.convlstm.activations import hard_sigmoid_keras2
from framecast.nn.convlstm.initializers import Orthogonal
from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D
from framecast.nn.interchange.keras_config import to_keras_config
from framecast.nn.interchange.keras_layers import (
    load_keras_layers,
    load_keras_weights,
    save_keras_weights,
)
from tests.support.keras_models import (
    C,
    F,
    T,
    assert_same,
    call,
    changed,
    inputs,
    keras_model,
    rewrite,
    saved,
    scramble,
)

pytestmark = pytest.mark.filterwarnings("error::UserWarning")
OURS = {1: ConvLSTM1D, 2: ConvLSTM2D}
THEIRS = {1: keras.layers.ConvLSTM1D, 2: keras.layers.ConvLSTM2D}
VARIANTS = {
    "defaults": {},
    "same_even": {"kernel_size": (2, 4), "padding": "same", "return_sequences": True},
    "strides": {"strides": (2, 3), "padding": "same", "return_state": True},
    "dilation": {"kernel_size": (3, 2), "dilation_rate": (2, 3), "return_sequences": True},
    "channels_first": {"data_format": "channels_first", "strides": (3, 2), "return_state": True},
    "no_bias_backwards": {"use_bias": False, "go_backwards": True, "return_sequences": True},
    "activations": {"activation": "leaky_relu", "recurrent_activation": "hard_sigmoid"},
    "linear": {"activation": None, "recurrent_activation": "hard_tanh", "unroll": True},
    "one_axis": {"rank": 1, "kernel_size": 4, "strides": 2, "return_sequences": True},
    "training": {
        "dropout": 0.3,
        "recurrent_dropout": 0.2,
        "seed": 7,
        "kernel_initializer": keras.initializers.VarianceScaling(0.5, "fan_out", "uniform", 3),
        "bias_initializer": keras.initializers.Constant(0.2),
        "kernel_regularizer": keras.regularizers.L1L2(0.1, 0.2),
        "activity_regularizer": "l2",
        "recurrent_constraint": keras.constraints.MinMaxNorm(0.1, 0.9, axis=(0, 1, 2)),
        "bias_constraint": "non_neg",
    },
}


def split(arguments):
    arguments = {"filters": F, "kernel_size": 3, **arguments}
    return arguments.pop("rank", 2), arguments


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def variant(request):
    """A Keras model with one ConvLSTM, its inputs, and the arguments of the layer."""
    rank, arguments = split(request.param)
    x = inputs(arguments, rank)
    model = keras_model(THEIRS[rank](**arguments, name="rain"), x=x)
    return model, x, rank, arguments


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_whole_model_is_read_with_equal_outputs(variant, suffix, tmp_path):
    model, x, rank, _ = variant
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    layers = load_keras_layers(path)
    assert list(layers) == ["rain"]
    assert type(layers["rain"]) is OURS[rank]
    assert_same(call(layers["rain"], x), call(model, x))


@pytest.mark.parametrize("suffix", ["weights.h5", "h5"])
def test_weights_alone_are_read_into_a_layer(variant, suffix, tmp_path):
    model, x, rank, arguments = variant
    path = tmp_path / f"model.{suffix}"
    if suffix == "h5":
        with h5py.File(path, "w") as file:
            save_weights_to_hdf5_group(file, model)
    else:
        model.save_weights(path)
    config = keras.layers.serialize(model.layers[0])["config"]
    known = {name: config[name] for name in arguments}
    for name in ("rain", None):
        layer = OURS[rank](**known).eval()
        load_keras_weights(layer, path, name)
        assert_same(call(layer, x), call(model, x))


def test_our_layers_are_written_for_keras(variant, tmp_path):
    model, x, rank, arguments = variant
    config = keras.layers.serialize(model.layers[0])["config"]
    torch.manual_seed(3)
    ours = OURS[rank](**{name: config[name] for name in arguments}, in_channels=C).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(0.05, 0.3)
    path = save_keras_weights({"any name": ours}, tmp_path / "ours.weights.h5")
    layer = THEIRS[rank].from_config(to_keras_config(ours))
    rebuilt = keras.Sequential([keras.layers.Input(x.shape[1:]), layer])
    rebuilt.load_weights(path)
    assert_same(call(ours, x), call(rebuilt, x))
    assert {k: v for k, v in plain(layer.get_config()).items() if k not in ("name", "dtype")} == {
        k: v for k, v in plain(config).items() if k not in ("name", "dtype")
    }
    again = OURS[rank](**known_arguments(ours), in_channels=C)
    load_keras_weights(again, path, "any name")
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), ours.parameters(), strict=True)
    )


def known_arguments(layer):
    return {name: getattr(layer, name) for name in ("filters", "use_bias")} | {
        "kernel_size": layer.geometry.kernel_size
    }


def plain(value):
    """A configuration without the numbers that Keras gives to objects."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k != "shared_object_id"}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def nested_model(x):
    layers = keras.layers
    inner = keras.Sequential(
        [layers.Input((T, 5, 6, F)), layers.ConvLSTM2D(4, 2, return_sequences=True, name="deep")],
        name="inside",
    )
    both = layers.Bidirectional(
        layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True, name="turn"), name="both"
    )
    entry = layers.Input(x.shape[1:])
    hidden = layers.ConvLSTM2D(F, 3, return_sequences=True, name="first")(entry)
    hidden = layers.TimeDistributed(layers.Conv2D(F, 1, name="mix"), name="each")(hidden)
    hidden = both(inner(hidden))
    output = layers.ConvLSTM2D(5, 3, name="last")(hidden)
    return scramble(keras.Model(entry, output)), inner, both


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_layers_inside_models_and_wrappers_are_found(suffix, tmp_path):
    x = inputs({})
    model, inner, both = nested_model(x)
    model.save(tmp_path / f"model.{suffix}")
    layers = load_keras_layers(tmp_path / f"model.{suffix}")
    names = ["first", "inside/deep", "both/forward_turn", "both/backward_turn", "last"]
    assert list(layers) == names
    assert_same(call(layers["first"], x), call(model.get_layer("first"), x))
    hidden = inputs({}, channels=F, sizes=(5, 6))
    assert_same(call(layers["inside/deep"], hidden), call(inner.layers[0], hidden))
    hidden = inputs({}, channels=4, sizes=(4, 5))
    assert_same(call(layers["last"], hidden), call(model.get_layer("last"), hidden))
    forward, backward = (call(layers[name], hidden)[0] for name in names[2:4])
    turned = torch.cat([forward, backward.flip(1)], dim=-1)
    assert_same([turned], call(both, hidden))
    mask = torch.tensor([[0, 1, 1, 0, 1], [1, 0, 1, 1, 0]], dtype=torch.bool)
    with torch.no_grad():
        ours = layers[names[2]](hidden, mask=mask)
        assert_same([ours], [both.forward_layer(hidden, mask=mask)])


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_backward_layer_of_its_own_keeps_its_name(suffix, tmp_path):
    x = inputs({})
    rain = keras.layers.ConvLSTM2D(F, 3, padding="same", name="rain")
    back = keras.layers.ConvLSTM2D(F, 2, padding="same", go_backwards=True, name="back")
    both = keras.layers.Bidirectional(rain, "sum", backward_layer=back, name="both")
    model = keras_model(both, x=x)
    model.save(tmp_path / f"model.{suffix}")
    layers = load_keras_layers(tmp_path / f"model.{suffix}")
    assert list(layers) == ["both/forward_rain", "both/back"]
    (forward,), (backward,) = (call(layer, x) for layer in layers.values())
    assert_same([forward + backward], call(model, x))


def test_a_convlstm_applied_to_each_step_of_a_longer_series_is_found(tmp_path):
    x = inputs({}).unsqueeze(1)
    each = keras.layers.TimeDistributed(keras.layers.ConvLSTM2D(F, 3, name="rain"), name="each")
    model = keras_model(each, x=x)
    model.save(tmp_path / "model.keras")
    (name, layer), *rest = load_keras_layers(tmp_path / "model.keras").items()
    assert (name, rest) == ("each/rain", [])
    assert_same([call(layer, x[:, 0])[0].unsqueeze(1)], call(model, x))


def test_a_stack_of_our_layers_is_read_by_a_model_of_keras(tmp_path):
    ours = {
        "a": ConvLSTM2D(F, 3, in_channels=C, return_sequences=True),
        "b": ConvLSTM2D(4, (2, 3), in_channels=F, strides=2),
    }
    x = inputs({})
    path = save_keras_weights(ours, tmp_path / "stack.weights.h5")
    layers = [keras.layers.ConvLSTM2D.from_config(to_keras_config(o)) for o in ours.values()]
    model = keras.Sequential([keras.layers.Input(x.shape[1:]), *layers])
    model.load_weights(path)
    assert_same(call(ours["b"], call(ours["a"], x)[0]), call(model, x))
    with pytest.raises(OutputError, match="exists already"):
        save_keras_weights(ours, path)
    before = path.read_bytes()
    save_keras_weights({"a": ours["a"]}, path, overwrite=True)
    assert path.read_bytes() != before
    assert [p.name for p in tmp_path.iterdir()] == ["stack.weights.h5"]


def test_float64_stays_float64(tmp_path):
    x = inputs({}).double()
    model = keras_model(keras.layers.ConvLSTM2D(F, 3, dtype="float64"), x=x)
    model.save(tmp_path / "model.keras")
    (layer,) = load_keras_layers(tmp_path / "model.keras").values()
    assert_same(call(layer, x), call(model, x), bound=1e-12)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_two_bytes_keep_their_values(dtype, tmp_path):
    # PyTorch has no orthogonal matrices of such numbers on the CPU.
    arguments = {"dtype": dtype, "recurrent_initializer": "glorot_uniform", "name": "rain"}
    model, again = (
        keras_model(keras.layers.ConvLSTM2D(F, 3, **arguments), x=inputs({})) for _ in range(2)
    )
    model.save(tmp_path / "model.keras")
    layer = load_keras_layers(tmp_path / "model.keras")["rain"]
    assert layer.kernel.dtype is getattr(torch, dtype)
    layer.set_weights([2 * weights for weights in layer.get_weights()])
    for known in ({}, {"model": tmp_path / "model.keras"}):
        path = save_keras_weights({"rain": layer}, tmp_path / f"{len(known)}.weights.h5", **known)
        for variable in again.weights:
            variable.assign(variable * 0)
        again.load_weights(path)
        assert len(again.weights) == 3
        for theirs, copy in zip(model.weights, again.weights, strict=True):
            assert torch.equal(2 * theirs.value, copy.value)


def test_a_name_is_asked_for_when_several_layers_fit(tmp_path):
    x = inputs({}, channels=F)
    make = keras.layers.ConvLSTM2D
    both = [make(F, 3, padding="same", return_sequences=True, name=name) for name in "ba"]
    model = keras_model(*both, x=x)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    layer = ConvLSTM2D(F, 3, padding="same", return_sequences=True)
    with pytest.raises(CheckpointError, match=r"2 ConvLSTM layers fit .*conv_lstm2d_1; give one"):
        load_keras_weights(layer, path)
    with pytest.raises(CheckpointError, match="0 ConvLSTM layers are called 'c'"):
        load_keras_weights(layer, path, "c")
    for name in ("a", "layers/conv_lstm2d_1", "conv_lstm2d_1"):
        load_keras_weights(layer, path, name)
        assert_same(call(layer, x), call(model.layers[1], x))
    with pytest.raises(CheckpointError, match=r"do not fit ConvLSTM2D.*use_bias=False"):
        load_keras_weights(ConvLSTM2D(F, 3, use_bias=False), path, "a")
    with pytest.raises(CheckpointError, match=r"weights without the layers' configuration"):
        load_keras_layers(path)


def test_layers_that_keras_does_not_have_are_refused(tmp_path):
    path = tmp_path / "ours.weights.h5"
    refused = {
        "no peephole": ConvLSTM2D(F, 3, in_channels=C, peephole=True),
        "no layer_norm": ConvLSTM2D(F, 3, in_channels=C, layer_norm=True),
    }
    for message, layer in refused.items():
        for act in (
            lambda layer: save_keras_weights({"a": layer}, path),
            lambda layer: load_keras_weights(layer, path),
            to_keras_config,
        ):
            with pytest.raises(UsageError, match=message):
                act(layer)
    unnamed = {
        "hard_sigmoid_keras2": ConvLSTM2D(F, 3, recurrent_activation="hard_sigmoid_keras2"),
        "softmax' with channels_first": ConvLSTM2D(
            F, 3, activation="softmax", data_format="channels_first"
        ),
        "recurrent_activation": ConvLSTM2D(F, 3, recurrent_activation=lambda x: x),
        "bias_constraint": ConvLSTM2D(F, 3, bias_constraint=lambda w: w),
    }
    for message, layer in unnamed.items():
        with pytest.raises(UsageError, match=message):
            to_keras_config(layer)
    with pytest.raises(UsageError, match="no weights yet"):
        save_keras_weights({"a": ConvLSTM2D(F, 3)}, path)
    with pytest.raises(UsageError, match=r"use ours\.weights\.h5"):
        save_keras_weights({"a": ConvLSTM2D(F, 3, in_channels=C)}, tmp_path / "ours.h5")
    with pytest.raises(UsageError, match="dictionary by name; received list"):
        save_keras_weights([ConvLSTM2D(2, 3, in_channels=1)], tmp_path / "ours.weights.h5")
    layers = [ConvLSTM2D(2, 3, in_channels=1)]
    for convert in (to_keras_config, lambda layer: load_keras_weights(layer, path)):
        with pytest.raises(UsageError, match="expected a ConvLSTM layer; received list; give one"):
            convert(layers)
    with pytest.raises(UsageError, match="expected a path; received NoneType"):
        load_keras_weights(ConvLSTM2D(2, 3), None)
    with pytest.raises(UsageError, match="no layers to write"):
        save_keras_weights({}, path)
    with pytest.raises(OutputError, match="cannot write the weights file"):
        save_keras_weights({"a": ConvLSTM2D(F, 3, in_channels=C)}, tmp_path / "no" / path.name)
    assert list(tmp_path.iterdir()) == []


def test_hard_sigmoid_of_an_archive_by_keras_2_has_its_old_meaning(tmp_path):
    path, x, _, _ = saved(tmp_path, recurrent_activation="hard_sigmoid")
    (new,) = load_keras_layers(path).values()
    old_file = rewrite(path, tmp_path / "old.keras", metadata_json='{"keras_version": "2.15.0"}')
    (old,) = load_keras_layers(old_file).values()
    assert old.recurrent_activation is hard_sigmoid_keras2
    reference = keras_model(
        keras.layers.ConvLSTM2D(
            F, 3, recurrent_activation=lambda z: torch.clip(0.2 * z + 0.5, 0.0, 1.0)
        ),
        x=x,
    )
    assert_same(call(old, x), call(reference, x))
    assert (call(old, x)[0] - call(new, x)[0]).abs().max() > 1e-3


GOLDENS = Path(__file__).parents[1] / "goldens"
KERAS2 = {
    # Layers of keras2.h5 and keras2.keras, and their paths in the archive's weights.
    "first": "layers/conv_lstm2d",
    "inside/deep": "layers/sequential/layers/conv_lstm2d",
    "both/forward_turn": "layers/bidirectional/forward_layer",
    "both/backward_turn": "layers/bidirectional/backward_layer",
    "line": "layers/conv_lstm1d",
}


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_models_that_keras_2_wrote_are_read_with_equal_outputs(suffix):
    golden = {k: torch.from_numpy(v) for k, v in np.load(GOLDENS / "keras2.npz").items()}
    layers = load_keras_layers(GOLDENS / f"keras2.{suffix}")
    assert list(layers) == list(KERAS2)
    assert layers["first"].recurrent_activation is hard_sigmoid_keras2
    for name, layer in layers.items():
        assert_same(call(layer, golden[f"{name}.x"]), [golden[f"{name}.y"]])


def test_weights_that_keras_2_wrote_alone_are_read(tmp_path):
    layers = load_keras_layers(GOLDENS / "keras2.h5")
    with zipfile.ZipFile(GOLDENS / "keras2.keras") as archive:
        new = archive.extract("model.weights.h5", tmp_path)
    old = tmp_path / "old.h5"
    with h5py.File(GOLDENS / "keras2.h5") as whole, h5py.File(old, "w") as alone:
        for name, value in whole["model_weights"].attrs.items():
            alone.attrs[name] = value
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", alone)
    for key, path in KERAS2.items():
        for file, name in ((new, path), (old, key.rpartition("/")[2])):
            layer = type(layers[key])(
                **known_arguments(layers[key]), in_channels=layers[key].in_channels
            )
            load_keras_weights(layer, file, name)
            pairs = zip(layer.parameters(), layers[key].parameters(), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)


def test_an_initializer_as_older_keras_wrote_it_is_known(tmp_path):
    path, x, model, config = saved(tmp_path)
    old = {
        "class_name": "OrthogonalInitializer",
        "config": {"gain": 0.5, "seed": 3, "dtype": "float32"},
    }
    text = changed(config, recurrent_initializer=old)
    (layer,) = load_keras_layers(rewrite(path, tmp_path / "old.keras", config_json=text)).values()
    assert layer.rules["recurrent_kernel"].initializer == Orthogonal(0.5, 3)
    assert_same(call(layer, x), call(model, x))


def test_the_list_of_layers_may_have_the_name_it_had_in_keras_2_12(tmp_path):
    path, x, model, _ = saved(tmp_path)
    weights = tmp_path / "old.weights.h5"
    model.save_weights(weights)
    with h5py.File(weights, "a") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
    old = rewrite(path, tmp_path / "old.keras", model_weights_h5=weights.read_bytes())
    (layer,) = load_keras_layers(old).values()
    assert_same(call(layer, x), call(model, x))


def two_directions_and_a_head():
    x = inputs({})
    directions = keras.layers.Bidirectional(
        keras.layers.ConvLSTM2D(F, 3, return_sequences=True, name="rain"), name="both"
    )
    model = keras_model(
        keras.layers.TimeDistributed(keras.layers.Conv2D(C, 1)),
        directions,
        keras.layers.ConvLSTM2D(2, 3, name="last"),
        keras.layers.Flatten(),
        keras.layers.Dense(4),
        x=x,
    )
    return model, x


def changed_layers(path):
    layers = load_keras_layers(path)
    with torch.no_grad():
        for number, layer in enumerate(layers.values(), start=1):
            for parameter in layer.parameters():
                parameter.mul_(0.5).add_(0.01 * number)
    return layers


@pytest.mark.parametrize("source", ["model.keras", "model.weights.h5"])
def test_weights_go_back_into_a_model_with_heads_and_wrappers(tmp_path, source):
    model, x = two_directions_and_a_head()
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    layers = changed_layers(tmp_path / "model.keras")
    assert list(layers) == ["both/forward_rain", "both/backward_rain", "last"]
    expected, _ = two_directions_and_a_head()
    expected.set_weights(model.get_weights())
    both = expected.get_layer("both")
    pairs = (both.forward_layer, both.backward_layer, expected.get_layer("last"))
    for layer, theirs in zip(layers.values(), pairs, strict=True):
        theirs.set_weights(layer.get_weights() + theirs.get_weights()[3:])
    if source == "model.weights.h5":  # which names layers by their place
        stored = ("layers/bidirectional/forward_layer", "layers/bidirectional/backward_layer")
        layers = dict(zip((*stored, "last"), layers.values(), strict=True))
    path = save_keras_weights(layers, tmp_path / "new.weights.h5", model=tmp_path / source)
    again, _ = two_directions_and_a_head()
    again.load_weights(path)
    assert_same(call(again, x), call(expected, x))
    head = model.layers[-1].get_weights()
    assert all(map(np.array_equal, again.layers[-1].get_weights(), head))
    assert not np.array_equal(call(again, x)[0], call(model, x)[0])


def test_weights_go_back_into_a_file_of_keras_2(tmp_path):
    model, _ = two_directions_and_a_head()
    model.save(tmp_path / "model.h5")
    layers = changed_layers(tmp_path / "model.h5")
    with pytest.raises(UsageError, match=r"files that end in \.h5; use new\.h5"):
        save_keras_weights(layers, tmp_path / "new.weights.h5", model=tmp_path / "model.h5")
    path = save_keras_weights(layers, tmp_path / "new.h5", model=tmp_path / "model.h5")
    again, _ = two_directions_and_a_head()
    again.load_weights(path)
    for name, layer in load_keras_layers(path).items():
        assert all(map(np.array_equal, layer.get_weights(), layers[name].get_weights()))
    forward = again.get_layer("both").forward_layer.get_weights()[:3]
    assert all(map(np.array_equal, forward, layers["both/forward_rain"].get_weights()))


def test_a_layer_that_a_model_does_not_have_is_refused(tmp_path):
    model, _ = two_directions_and_a_head()
    model.save(tmp_path / "model.keras")
    layers = load_keras_layers(tmp_path / "model.keras")
    target = {"path": tmp_path / "new.weights.h5", "model": tmp_path / "model.keras"}
    with pytest.raises(CheckpointError, match=r"0 .* called 'snow'; the file holds: both/forward"):
        save_keras_weights({"snow": layers["last"]}, **target)
    with pytest.raises(CheckpointError, match="do not fit"):
        save_keras_weights({"last": layers["both/forward_rain"]}, **target)
    assert not target["path"].exists()


@keras.saving.register_keras_serializable("tests")
class Forecaster(keras.Model):
    """A model whose layers its own code makes, as many are written."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.rain = keras.layers.ConvLSTM2D(F, 3, name="rain")
        self.head = keras.layers.Dense(2)

    def call(self, x):
        return self.head(self.rain(x))


def test_a_subclassed_model_is_refused_with_what_to_do_which_works(tmp_path):
    model, x = Forecaster(), inputs({})
    model(x)
    model.save(tmp_path / "model.keras")
    with pytest.raises(CheckpointError, match=r"subclassed model \(Forecaster\)") as caught:
        load_keras_layers(tmp_path / "model.keras")
    assert "names of ConvLSTM weights: 'layers/conv_lstm2d'" in caught.value.remedy
    layer = ConvLSTM2D(F, 3)
    load_keras_weights(layer, tmp_path / "model.keras", "layers/conv_lstm2d")
    assert_same(call(layer, x), call(model.rain, x))
    with torch.no_grad():
        layer.kernel.mul_(2)
    path = save_keras_weights(
        {"layers/conv_lstm2d": layer},
        tmp_path / "new.weights.h5",
        model=tmp_path / "model.keras",
    )
    again = Forecaster()
    again(x)
    again.load_weights(path)
    assert_same(call(again.rain, x), call(layer, x))
