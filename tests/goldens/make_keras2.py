"""Make keras2.h5, keras2.keras and keras2.npz: a model in both formats of Keras 2, its answers.

They are written by tf.keras 2.15, the last before Keras 3. Needs Python 3.11 or older and
tensorflow-cpu 2.15.1, in an environment of its own.

    python tests/goldens/make_keras2.py
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.keras import Model, Sequential, layers

HERE = Path(__file__).parent
STEPS, SIZES, CHANNELS = 3, (5, 6), 2


def fill(shape, seed):
    """Unequal numbers between -1 and 1 by formula, the same on every machine."""
    size = int(np.prod(shape))
    return np.sin(np.arange(1, size + 1) * (1.7 + 0.31 * seed) + seed).reshape(shape)


def build():
    """A model with ConvLSTM layers outermost, in a model inside, and in both wrappers."""
    inner = Sequential(
        [layers.ConvLSTM2D(2, (2, 1), padding="same", return_sequences=True, name="deep")],
        name="inside",
    )
    turn = layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True, name="turn")
    entry = layers.Input((STEPS, *SIZES, CHANNELS))
    hidden = layers.ConvLSTM2D(
        3,
        (3, 2),
        strides=(1, 2),
        recurrent_activation="hard_sigmoid",
        kernel_regularizer="l2",
        bias_constraint="non_neg",
        dropout=0.2,
        return_sequences=True,
        name="first",
    )(entry)
    hidden = layers.Bidirectional(turn, name="both")(inner(hidden))
    hidden = layers.ConvLSTM1D(3, 2, use_bias=False, name="line")(
        layers.Reshape((STEPS, 3 * 3, 4))(hidden)
    )
    return Model(entry, hidden)


def main():
    """Fill the weights, save in both formats, and keep what each layer gives for its inputs."""
    model = build()
    for seed, variable in enumerate(model.weights):
        variable.assign(0.4 * fill(variable.shape, seed))
    found = {}
    both = model.get_layer("both")
    asked = {
        "first": (model.get_layer("first"), (*SIZES, CHANNELS)),
        "inside/deep": (model.get_layer("inside").layers[0], (3, 3, 3)),
        "both/forward_turn": (both.forward_layer, (3, 3, 2)),
        "both/backward_turn": (both.backward_layer, (3, 3, 2)),
        "line": (model.get_layer("line"), (9, 4)),
    }
    for seed, (name, (layer, shape)) in enumerate(asked.items(), 20):
        x = fill((2, STEPS, *shape), seed).astype("float32")
        found[f"{name}.x"], found[f"{name}.y"] = x, layer(tf.constant(x)).numpy()
    np.savez_compressed(HERE / "keras2.npz", **found)
    model.save(HERE / "keras2.h5")
    model.save(HERE / "keras2.keras")


if __name__ == "__main__":
    main()
