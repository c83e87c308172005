"""Keras files that are damaged, contain code or refer to other files."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
import torch

from framecast.errors import CheckpointError, UsageError
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.interchange.keras_layers import (
    load_keras_layers,
    load_keras_weights,
    save_keras_weights,
)
from framecast.runtime import extras
from tests.support.keras_models import (
    C,
    F,
    assert_same,
    call,
    changed,
    inputs,
    keras_model,
    rewrite,
    saved,
)

pytestmark = pytest.mark.filterwarnings("error::UserWarning")


def test_code_in_a_file_is_refused_or_left_out_and_never_run(tmp_path):
    path, x, model, config = saved(tmp_path)
    code = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}
    own = {"module": "my.own", "class_name": "Ours", "config": {}, "registered_name": "my>Ours"}
    for value in (code, own, "my_function"):
        file = rewrite(path, tmp_path / "code.keras", config_json=changed(config, activation=value))
        with pytest.raises(CheckpointError, match=r"rain: activation .* never run"):
            load_keras_layers(file)
    text = changed(
        config, activation="tanh", kernel_initializer=code, bias_regularizer=own, seed=own
    )
    file = rewrite(path, tmp_path / "rules.keras", config_json=text)
    with pytest.warns(UserWarning) as caught:
        (layer,) = load_keras_layers(file).values()
    said = [str(w.message) for w in caught if "left out" in str(w.message)]
    assert [
        name for name in ("kernel_initializer", "bias_regularizer", "seed") if name in str(said)
    ]
    assert len(said) == 3
    assert_same(call(layer, x), call(model, x))


class Wrapped(keras.layers.Wrapper):
    """A wrapper of the user's own."""

    def call(self, x):
        return self.layer(x)

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape(shape)


def test_skipped_layers_are_named(tmp_path):
    x = inputs({})
    model = keras_model(
        Wrapped(keras.layers.ConvLSTM2D(2, 1, return_sequences=True), name="wrapped"),
        keras.layers.ConvLSTM2D(F, 3, name="rain"),
        x=x,
    )
    model.save(tmp_path / "model.keras")
    with (
        pytest.warns(UserWarning, match="wrapped: a Wrapped .* was skipped"),
        pytest.warns(UserWarning, match="layers/wrapped/layer: .* were skipped"),
    ):
        assert list(load_keras_layers(tmp_path / "model.keras")) == ["rain"]


def test_a_model_without_convlstms_is_refused(tmp_path):
    keras_model(keras.layers.Dense(2), x=inputs({})).save(tmp_path / "model.keras")
    with pytest.raises(CheckpointError, match="without ConvLSTM layers; give a model that has"):
        load_keras_layers(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": F + 1}, "do not fit"),
        ({"filters": 10**6}, "do not fit"),
        ({"filters": 10**12}, "rain: .* overflow"),
        ({"kernel_size": [9, 9]}, "do not fit"),
        ({"use_bias": False}, "do not fit"),
        ({"strides": 0}, "rain: strides"),
        ({"dropout": 1.0}, "rain: dropout"),
        ({"activation": "softmax", "data_format": "channels_first"}, "goes over the width"),
    ],
    ids=str,
)
def test_an_invalid_configuration_is_refused(tmp_path, arguments, message):
    path, *_, config = saved(tmp_path)
    file = rewrite(path, tmp_path / "bad.keras", config_json=changed(config, **arguments))
    with pytest.raises(CheckpointError, match=message):
        load_keras_layers(file)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", '"a"', '{"config": 3}', '{"config": {"layers": [3]}}', "[" * 100_000),
        '{"config": {"layers": [{"class_name": "ConvLSTM2D", "config": 5}]}}',
    ],
    ids=range(8),
)
def test_text_that_is_no_configuration_is_refused(tmp_path, text):
    path, *_ = saved(tmp_path)
    with pytest.raises(CheckpointError, match=r"bad\.keras"):
        load_keras_layers(rewrite(path, tmp_path / "bad.keras", config_json=text))


def test_damaged_and_missing_files_are_checkpoint_errors(tmp_path):
    path, *_ = saved(tmp_path)
    whole = path.read_bytes()
    broken = tmp_path / "broken.keras"
    for cut in range(0, len(whole), len(whole) // 40):
        broken.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"broken\.keras"):
            load_keras_layers(broken)
    for member in ("metadata_json", "config_json", "model_weights_h5"):
        with pytest.raises(CheckpointError, match="the archive holds no"):
            load_keras_layers(rewrite(path, broken, **{member: None}))
    with pytest.raises(CheckpointError, match="no such file"):
        load_keras_layers(tmp_path / "none.keras")
    with pytest.raises(CheckpointError, match="no such file"):
        load_keras_layers(tmp_path)
    zeros = bytes(300 * 2**20)
    with pytest.raises(CheckpointError, match=r"config\.json claims 314572800 bytes"):
        load_keras_layers(rewrite(path, broken, config_json=zeros))


def test_flipped_bytes_give_a_checkpoint_error_or_finite_weights(tmp_path):
    path, *_ = saved(tmp_path)
    with zipfile.ZipFile(path) as archive:
        archive.extract("model.weights.h5", tmp_path)
    whole = (tmp_path / "model.weights.h5").read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, min(len(data), 8000), 20)
        data[places] ^= rng.integers(1, 256, 20, dtype=np.uint8)
        file = rewrite(path, tmp_path / "flipped.keras", model_weights_h5=data.tobytes())
        try:
            (layer,) = load_keras_layers(file).values()
            assert all(parameter.isfinite().all() for parameter in layer.parameters())
        except CheckpointError:
            refused += 1
    assert refused > 20


def plant(tmp_path, act):
    """A weights file whose data set 0 was taken away and `act(file, its path)` called."""
    path = tmp_path / "planted.weights.h5"
    layer = ConvLSTM2D(F, 3, in_channels=C)
    save_keras_weights({"rain": layer}, path, overwrite=True)
    name = "layers/conv_lstm2d/cell/vars/0"
    with h5py.File(path, "a") as file:
        kernel = file[name][()]
        del file[name]
        act(file, name, kernel)
    return layer, path


PLANTED = {
    "0 ConvLSTM": lambda f, name, k: f.__setitem__(name, h5py.ExternalLink("/etc/passwd", "x")),
    "0 ConvLSTM layers fit": lambda f, name, k: f.__setitem__(name, h5py.SoftLink("/layers")),
    "in another file": lambda f, name, k: f.create_dataset(
        name, k.shape, k.dtype, external=[("/etc/hostname", 0, k.nbytes)]
    ),
    "claims": lambda f, name, k: f.create_dataset(
        name, (3, 3, 10**12, 4 * F), "f4", chunks=(3, 3, 1, 4 * F)
    ),
    "not weights": lambda f, name, k: f.create_dataset(name, data=k.astype("i4")),
    "not finite": lambda f, name, k: f.create_dataset(name, data=k * np.inf),
    "0 .* holds: none": lambda f, name, k: f.__setitem__("layers/again", f["layers"]),
    "0 ConvLSTM layers": lambda f, name, k: f.create_dataset(name, data=k[..., :-1]),
}


@pytest.mark.parametrize("message", PLANTED)
def test_what_reaches_out_of_a_file_or_past_memory_is_refused(tmp_path, message):
    layer, path = plant(tmp_path, PLANTED[message])
    with pytest.raises(CheckpointError, match=message):
        load_keras_weights(layer, path)


def test_big_endian_and_compressed_weights_are_read(tmp_path):
    layer, path = plant(
        tmp_path, lambda f, name, k: f.create_dataset(name, data=k.astype(">f4"), compression=9)
    )
    again = ConvLSTM2D(F, 3)
    load_keras_weights(again, path)
    assert torch.equal(again.kernel, layer.kernel)


def test_without_h5py_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "framecast\[keras\]"'):
        load_keras_layers(tmp_path)
