"""Models of Keras for tests: inputs, weights that all differ, files and changed copies of them."""

import json
import zipfile

import keras
import numpy as np
import pytest
import torch

B, T, C, SIZES, F = 2, 5, 3, (7, 8), 6


def inputs(arguments, rank=2, channels=C, sizes=SIZES):
    last = arguments.get("data_format") != "channels_first"
    sizes = sizes[:rank]
    shape = (*sizes, channels) if last else (channels, *sizes)
    return torch.randn(B, T, *shape, generator=torch.Generator().manual_seed(0))


def scramble(model):
    """Give every weight its own value; states stay small."""
    rng = np.random.default_rng(5)
    for variable in model.weights:
        variable.assign(rng.normal(0.05, 0.3, variable.shape))
    return model


NEWEST_KERAS = pytest.mark.skipif(
    tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15),
    reason="Keras before 3.15 has other defaults, penalties and refusals; the last for Python 3.10",
)


def keras_model(*layers, x):
    return scramble(keras.Sequential([keras.layers.Input(x.shape[1:]), *layers]))


def call(layer, x):
    with torch.no_grad():
        found = layer(x)
    return found if isinstance(found, (list, tuple)) else [found]


def assert_same(ours, theirs, bound=1e-5):
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        assert our.shape == their.shape
        assert their.abs().max() > 1e-3
        assert (our - their).abs().max() <= bound * their.abs().max()


def rewrite(source, target, **members):
    """Copy an archive with some members replaced, or left out where None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            value = members.get(name.replace(".", "_"), old.read(name))
            if value is not None:
                new.writestr(name, value)
    return target


def saved(tmp_path, **arguments):
    """A saved model with one layer, its inputs, and its configuration."""
    x = inputs(arguments)
    model = keras_model(keras.layers.ConvLSTM2D(F, 3, **arguments, name="rain"), x=x)
    path = tmp_path / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return path, x, model, json.loads(archive.read("config.json"))


def changed(config, **arguments):
    config["config"]["layers"][1]["config"].update(arguments)
    return json.dumps(config)
