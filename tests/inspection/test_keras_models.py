"""Whole Keras models: shapes and parameters are those that Keras itself gives them."""

import inspect
import json
import random
import re
import zipfile

import keras
import pytest
from keras import layers

from framecast.errors import SourceError
from framecast.inspection.keras_code import read_code
from framecast.inspection.keras_signatures import KINDS, SIGNATURES, parameters_of
from framecast.inspection.model_source import read_configuration, read_model
from framecast.inspection.model_walk import inspect_graph
from framecast.inspection.sizes import Symbol
from tests.support.keras_models import NEWEST_KERAS
from tests.support.random_models import random_model

OF_THE_BASE_CLASS = {"name", "dtype"}


def found(report):
    """Shape, None for an unknown size, and parameters of each layer but the Input."""
    return [
        (tuple(None if isinstance(s, Symbol) else s for s in line.output), line.outcome.parameters)
        for line in report.lines
        if line.node.kind != "InputLayer"
    ]


def check(seeds):
    kinds = set()
    for seed in seeds:
        code, built = random_model(seed)
        report = inspect_graph(read_code(code, "model.py"))
        assert found(report) == built, f"seed {seed}\n{code}"
        assert report.works, code
        kinds |= {line.node.kind for line in report.lines}
    return kinds


def test_random_models_have_the_shapes_and_parameters_that_keras_gives_them():
    assert len(check(range(25))) > 20


def test_what_is_not_known_in_a_model_that_works_is_never_called_a_mistake():
    draw, value = (
        random.Random(0),
        r"(?<![\w.])\d+(?![\w.])|True|False|'(?:same|valid|channels_\w+)'",
    )
    for seed in range(25):
        code, _ = random_model(seed)
        places = [found.span() for found in re.finditer(value, code)]
        for start, end in draw.sample(places, min(6, len(places))):
            changed = f"{code[:start]}unknown{code[end:]}"
            report = inspect_graph(read_code(changed, "model.py"))
            assert report.works, f"{changed}\n{report.findings}"


@pytest.mark.slow
def test_two_hundred_random_models_have_the_shapes_and_parameters_that_keras_gives_them():
    kinds = check(range(200))
    assert {"ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional", "TimeDistributed"} <= kinds
    assert len(kinds) > 45


@pytest.mark.parametrize("kind", sorted(SIGNATURES))
@NEWEST_KERAS
def test_arguments_and_defaults_are_those_of_keras(kind):
    def plain(value):
        """Equal sizes as one number, as Keras' layers take them."""
        same = isinstance(value, tuple) and len({*value}) == 1 and not kind.startswith("Cropping")
        return plain(value[0]) if same else value

    real = inspect.signature(getattr(layers, kind).__init__).parameters.values()
    named = {
        each.name: ... if each.default is each.empty else plain(each.default)
        for each in list(real)[1:]
        if each.kind is each.POSITIONAL_OR_KEYWORD and each.name not in OF_THE_BASE_CLASS
    }
    ours = {"recurrent_kernel_size", "peephole", "layer_norm", "recompute"}
    listed = {name: plain(value) for name, value in parameters_of(kind).items() if name not in ours}
    listed.pop("dtype", None)
    assert listed == named
    assert list(listed) == list(named)


def test_every_name_that_keras_has_for_a_layer_is_known():
    made = {name: getattr(layers, name) for name in dir(layers)}
    named = {name: each.__name__ for name, each in made.items() if inspect.isclass(each)}
    assert {(name, kind) for name, kind in named.items() if kind in SIGNATURES} <= KINDS.items()


def branched_model():
    """States handed on, layers wrapped, a sum, two branches and a model inside the model."""
    given = keras.Input((6, 9, 8, 2))
    same = {"padding": "same", "return_sequences": True}
    x = layers.BatchNormalization()(layers.ConvLSTM2D(5, 3, **same)(given))
    y, h, c = layers.ConvLSTM2D(5, (3, 1), **same, return_state=True)(x)
    last = layers.ConvLSTM2D(5, 3, padding="same")(y, initial_state=[h, c])
    summed = layers.add([x, layers.TimeDistributed(layers.Conv2D(5, 3, padding="same"))(y)])
    both = layers.Bidirectional(layers.ConvLSTM2D(3, 2))(summed)
    last = layers.UnitNormalization()(layers.GroupNormalization(5, scale=False)(last))
    joined = layers.Concatenate()([layers.Flatten()(both), layers.Flatten()(last)])
    answer = keras.Sequential([layers.Dense(7), layers.Dense(4)])(joined)
    return keras.Model(given, answer)


def encoder_decoder():
    """The states of both directions, side by side, start the second layer."""
    given = keras.Input((10, 6))
    wrapped = layers.LSTM(4, return_sequences=True, return_state=True)
    y, *states = layers.Bidirectional(wrapped)(given)
    h, c = (layers.Concatenate()(states[each::2]) for each in (0, 1))
    last = layers.LSTM(8)(y, initial_state=[h, c])
    return keras.Model(given, layers.Dense(4)(last))


def frames_through_a_model():
    """The usual CNN-LSTM: a whole model inside TimeDistributed."""
    frame = keras.Input((16, 12, 3))
    wide = layers.Conv2D(5, 3, strides=2)(frame)
    both = layers.Concatenate(axis=3)([wide, layers.Conv2D(2, 1)(wide)])
    pooled = layers.GlobalAveragePooling2D()(both)
    features = keras.Sequential([keras.Model(frame, pooled), layers.Dense(7)])
    given = keras.Input((6, 16, 12, 3))
    x = layers.TimeDistributed(features, name="each_frame")(given)
    return keras.Model(given, layers.Dense(4)(layers.LSTM(9)(x)))


def parts_of_a_clip():
    """Parts of a tensor, an input given by name, and outputs in a dictionary."""
    given = keras.Input((5, 9, 8, 2), name="clip")
    x = layers.Conv2D(3, 3)(inputs=given[:, -1])
    weights = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    x = layers.Flatten()(layers.Multiply()([x, weights]))
    y = layers.Flatten()(given[:, 1:3, ::2, ..., 0])
    joined = layers.Concatenate()([x, y, given[..., 0, 0, 0]])
    return keras.Model({"clip": given}, {"answer": layers.Dense(4)(joined)})


def one_of_two_heads():
    """Of a model's two outputs one is used; Keras counts the layers of both."""
    given = keras.Input((6, 5, 2))
    flat = layers.Flatten()(layers.Conv2D(3, 2)(given))
    encoder = keras.Model(given, [layers.Dense(4)(flat), layers.Dense(5)(flat)], name="encoder")
    seen = keras.Input((6, 5, 2))
    return keras.Model(seen, encoder(seen)[0])


def test_all_layers_of_a_model_inside_another_count():
    model = one_of_two_heads()
    report = inspect_graph(read_configuration(json.loads(model.to_json()), "model.json"))
    assert report.works and report.parameters == model.count_params()
    assert report.output[1:] == model.output_shape[1:] == (4,)


def test_models_inside_another_are_read_as_keras_2_counts_their_calls():
    inner = [{"class_name": "Dense", "config": {"name": "first", "units": 3, "use_bias": True}}]
    rows = [
        ("InputLayer", {"name": "given", "batch_input_shape": [None, 4]}, []),
        ("Sequential", {"name": "inside", "layers": inner}, [[["given", 0, 0, {}]]]),
        ("Dense", {"name": "last", "units": 2}, [[["inside", 1, 0, {}]]]),
    ]
    stored = [
        {"class_name": kind, "name": words["name"], "config": words, "inbound_nodes": calls}
        for kind, words, calls in rows
    ]
    config = {
        "layers": stored,
        "input_layers": [["given", 0, 0]],
        "output_layers": [["last", 0, 0]],
    }
    report = inspect_graph(read_configuration({"class_name": "Functional", "config": config}, "m"))
    assert report.works and (report.output[1:], report.parameters) == ((2,), 15 + 8)


BUILDERS = [branched_model, encoder_decoder, frames_through_a_model, parts_of_a_clip]


@pytest.mark.parametrize("build", BUILDERS)
def test_a_keras_file_and_its_json_are_read_without_keras(tmp_path, build):
    model = build()
    model.save(tmp_path / "model.keras")
    (tmp_path / "model.json").write_text(model.to_json(), encoding="utf-8")
    for name in ("model.keras", "model.json"):
        report = inspect_graph(read_model(tmp_path / name))
        assert report.works
        assert report.parameters == model.count_params()
        trained = sum(int(keras.ops.size(weight)) for weight in model.trainable_weights)
        assert report.parameters - report.frozen == trained
        shapes = {line.node.name: line.output[1:] for line in report.lines}
        for layer in model.layers[:-1]:
            if layer.name == "each_frame":
                assert shapes[f"each_frame/{layer.layer.layers[-1].name}"] == layer.output.shape[1:]
                continue
            output = layer.output[0] if isinstance(layer.output, list) else layer.output
            assert shapes[layer.name] == output.shape[1:]
        assert report.output[1:] == (4,)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: keras.ops.average(x, axis=1), "average"),
        (lambda x: keras.ops.reshape(x, (-1, 4, 2)), "reshape"),
    ],
)
def test_a_function_with_the_name_of_a_layer_is_not_taken_for_it(function, name):
    given = keras.Input((8,))
    model = keras.Model(given, function(given))
    report = inspect_graph(read_configuration(json.loads(model.to_json()), "model.json"))
    assert report.output is None
    assert re.match(rf"{name}(_\d+)? is not followed, so the shapes after it", report.notes[0])


def test_a_sequential_file_is_read(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 7, 1)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(2)]
    )
    model.save(tmp_path / "model.keras")
    report = inspect_graph(read_model(tmp_path / "model.keras"))
    assert (report.output[1:], report.parameters) == ((2,), model.count_params())


class Subclassed(keras.Model):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.first = layers.Dense(2)

    def call(self, x):
        return self.first(x)


def test_files_that_are_no_model_are_explained(tmp_path):
    model = Subclassed()
    model.build((None, 3))
    model.save(tmp_path / "model.keras")
    with pytest.raises(SourceError, match=r"Subclassed is subclassed, .* give the \.py file"):
        read_model(tmp_path / "model.keras")
    with pytest.raises(SourceError, match="no such file"):
        read_model(tmp_path / "none.keras")
    for name, content, remedy in (
        ("a.keras", "no zip", r"save it once more with model\.save"),
        ("a.json", "{", r"save it once more with model\.save"),
        ("deep.json", "[" * 100_000, r"save it once more with model\.save"),
        (
            "b.json",
            "[1]",
            r"not the configuration .* model; a subclassed model's layers are in its",
        ),
        ("a.ipynb", '{"cells": 3}', "give Python code in UTF-8, or a .keras file"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(SourceError, match=f"{name}: .*{remedy}"):
            read_model(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "b.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}" * 100)
    damaged = bytearray((tmp_path / "b.keras").read_bytes())
    damaged[41:45] = b"\xff" * 4  # behind a header of 30 bytes and a name of 11
    (tmp_path / "b.keras").write_bytes(damaged)
    with pytest.raises(SourceError, match=r"save it once more with model\.save"):
        read_model(tmp_path / "b.keras")
    with pytest.raises(SourceError, match="is a folder, not a model; inspect frames without"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(layers=3),
        lambda config: config.update(output_layers=[]),
        lambda config: config["layers"][0]["config"].update(batch_shape=[None, "x"]),
        lambda config: config["layers"][1]["config"].update(kernel_size="x"),
        lambda config: config["layers"][1]["config"].update(name=True),
        lambda config: config["layers"][4]["config"].update(layer={"class_name": "Mine"}),
        lambda config: config["layers"][2].update(inbound_nodes=[{"args": [{"keras_history": 1}]}]),
        lambda config: config["layers"][4].update(inbound_nodes=[["conv_lstm2d_1", 0, [0]]]),
    ],
)
def test_a_damaged_configuration_is_reported_or_refused_in_a_sentence(change):
    config = json.loads(branched_model().to_json())
    change(config["config"])
    try:
        report = inspect_graph(read_configuration(config, "model.json"))
    except SourceError as error:
        assert "model.json" in str(error)
    else:
        assert json.dumps(report.to_dict())


def test_a_damaged_index_is_reported_with_what_it_is():
    config = json.loads(parts_of_a_clip().to_json())
    (part, *_) = (each for each in config["config"]["layers"] if each["class_name"] == "GetItem")
    part["inbound_nodes"][0]["args"][1] = ["x"]
    report = inspect_graph(read_configuration(config, "model.json"))
    assert "has wrong arguments: index=('x',); give a number" in str(report.findings[0])


@pytest.mark.parametrize(
    "code",
    [
        "x = keras.ops.relu(layers.Conv2D(3, 2)(given))\nx = keras.activations.tanh(x)",
        "x = keras.ops.sqrt(keras.ops.abs(layers.Conv2D(3, 2)(given)))",
        "frame = keras.ops.softmax(layers.Conv2D(3, 2)(given))\nx = layers.Flatten()(frame)",
        """
part = keras.Sequential([keras.Input((9, 8, 2)), layers.Conv2D(3, 2, name="a"), layers.ReLU()])
features = keras.Model(part.inputs, part.get_layer("a").output)
both = keras.Model(features.input, [features.output, layers.ReLU()(features.output)])
x = layers.Concatenate(axis=1)(both(given))
""",
        """
steps = layers.Reshape((9, 16))(given)
both = layers.Bidirectional(layers.GRU(3), merge_mode=None)(steps)
x = layers.Concatenate()(both)
""",
        """
states = layers.LSTM(3, return_state=True)(layers.Reshape((9, 16))(given))[1:]
x = layers.LSTM(3)(layers.Reshape((3, 48))(given), initial_state=states)
""",
        """
both = dict(filters=3, kernel_size=2)
x = layers.Conv2D(**dict(both, filters=5))(given)
""",
        """
inner = keras.Sequential([layers.Flatten(), layers.Dense(3)])
outer = keras.Sequential([layers.TimeDistributed(inner), layers.Dense(4)])
x = layers.TimeDistributed(outer)(given)
""",
    ],
    ids=["functions", "arithmetic", "softmax", "parts", "directions", "states", "dict", "steps"],
)
def test_code_and_its_file_have_the_shapes_and_parameters_that_keras_gives_them(code):
    code = f"given = keras.Input((9, 8, 2))\n{code}\nmodel = keras.Model(given, x)"
    exec(code, names := {"keras": keras, "layers": layers})
    model = names["model"]
    for graph in (read_code(code, "m"), read_configuration(json.loads(model.to_json()), "m")):
        report = inspect_graph(graph)
        assert report.findings == ()
        assert report.output[1:] == model.output_shape[1:]
        assert report.parameters == model.count_params()


@pytest.mark.parametrize("function", ["mean(x, axis=1)", "sum(x, -2)", "max(x, axis=-1)"])
def test_a_reduction_drops_its_axis_as_in_keras(function):
    code = f"x = keras.Input((9, 8, 2))\ny = keras.ops.{function}"
    exec(code, names := {"keras": keras})
    report = inspect_graph(read_code(code, "m"))
    assert (report.output[1:], report.notes) == (names["y"].shape[1:], ())


def test_a_layer_called_twice_and_a_product_with_a_number_are_counted_as_keras_does():
    given, dense = keras.Input((5, 7)), keras.layers.Dense(7)
    model = keras.Model(given, dense(2 * given) + dense(given))
    report = inspect_graph(read_configuration(json.loads(model.to_json()), "model.json"))
    assert (report.findings, report.output[1:]) == ((), (5, 7))
    assert report.parameters == model.count_params() == 56
