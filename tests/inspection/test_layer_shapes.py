"""ConvLSTM2D layers given as text: equal to the real ones, refused with the layer's messages."""

import inspect
import json
import re

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from framecast.errors import UsageError
from framecast.inspection.model_report import View, table
from framecast.inspection.model_source import inspect_model
from framecast.nn.convlstm import keras_names
from framecast.nn.convlstm.activations import ACTIVATIONS
from framecast.nn.convlstm.constraints import CONSTRAINTS as CONSTRAINTS_BY_NAME
from framecast.nn.convlstm.initializers import INITIALIZERS
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.convlstm.regularizers import REGULARIZERS as REGULARIZERS_BY_NAME
from framecast.nn.cost_model.tensors import FLOAT_BYTES
from tests.support.keras_models import NEWEST_KERAS
from tests.support.live_bytes import LiveBytes, saved_bytes

SIDE = st.integers(1, 21)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


FLAGS = (
    *("use_bias", "unit_forget_bias", "return_sequences", "return_state", "go_backwards"),
    *("stateful", "unroll", "zero_output_for_mask", "peephole", "layer_norm", "recompute"),
)
REGULARIZERS, CONSTRAINTS = (None, "l1", "L1L2"), (None, "non_neg", "MaxNorm")
RULES = {
    "activation": (None, "relu", "elu"),
    "recurrent_activation": ("hard_sigmoid", "tanh", "hard_sigmoid_keras2"),
    "kernel_initializer": ("he_normal", "GlorotUniform"),
    "recurrent_initializer": ("orthogonal", "zeros"),
    "bias_initializer": ("ones", "random_normal"),
    "kernel_regularizer": REGULARIZERS,
    "recurrent_regularizer": REGULARIZERS,
    "bias_regularizer": REGULARIZERS,
    "activity_regularizer": (None, "l2"),
    "kernel_constraint": CONSTRAINTS,
    "recurrent_constraint": CONSTRAINTS,
    "bias_constraint": CONSTRAINTS,
    "dropout": (0.0, 0.25),
    "recurrent_dropout": (0.0, 0.5),
    "recurrent_kernel_size": (3, 1),
    "seed": (None, 3),
}


@st.composite
def layer_settings(draw):
    strided = draw(st.booleans())
    layer = {
        "filters": draw(st.integers(1, 6)),
        "kernel_size": draw(pairs),
        "strides": draw(pairs) if strided else (1, 1),
        "dilation_rate": (1, 1) if strided else draw(pairs),
        "padding": draw(st.sampled_from(("valid", "Same", "VALID"))),
        "data_format": draw(st.sampled_from(("channels_last", "channels_first"))),
    }
    layer |= {name: draw(st.booleans()) for name in FLAGS}
    layer["layer_norm"] &= layer["filters"] > 1
    if draw(st.booleans()):
        layer |= {name: draw(st.sampled_from(values)) for name, values in RULES.items()}
    return layer


def text(layer):
    values = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in layer.items()
    }
    return " ".join(f"{name}={value}" for name, value in values.items())


def keras_shape(name, weight):
    """A weight's shape in Keras' order: sides, input channels, output channels."""
    shape = tuple(weight.shape)
    return (*shape[2:], shape[1], shape[0]) if name.endswith("kernel") else shape


def inspected(sizes, *words):
    return inspect_model(None, words, ",".join(map(str, sizes)))


@given(layer_settings(), st.tuples(SIDE, st.integers(1, 5), SIDE, SIDE, SIDE))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_shapes_parameters_and_macs_are_the_real_ones(layer, sizes):
    report = inspected(sizes, text(layer))
    (line,) = report.lines
    last = layer["data_format"] == "channels_last"
    real = ConvLSTM2D(**layer, in_channels=sizes[4 if last else 2], device="meta")
    inputs = torch.empty(sizes, device="meta")
    if line.output is None:
        assert "collapses to nothing" in str(report.findings[0])
        with pytest.raises(ValueError, match="needs a size of"):
            real(inputs)
        return
    weights = {name: keras_shape(name, weight) for name, weight in real.named_parameters()}
    assert line.outcome.weights == weights
    assert report.parameters == sum(weight.numel() for weight in real.parameters())
    with FlopCounterMode(display=False) as counter:
        outputs = real(inputs, training=False)
    outputs = outputs if layer["return_state"] else (outputs,)
    assert line.outcome.outputs == tuple(tuple(output.shape) for output in outputs)
    assert 2 * sizes[0] * report.macs == counter.get_total_flops()
    pads = real.geometry.pads(sizes[2:4] if last else sizes[3:])
    shown = line.outcome.padding.removeprefix("same: ")
    everywhere = {count for pair in pads for count in pair}
    if layer["padding"].lower() == "same":
        alike = len(everywhere) == 1
        assert shown == (
            str(pads[0][0]) if alike else ", ".join(f"{one}+{two}" for one, two in pads)
        )


MEMORY = [
    ((2, 5, 17, 28, 3), "filters=6 kernel=3 padding=same return_sequences=true"),
    ((2, 5, 37, 28, 3), "filters=6 kernel=5,3 strides=2"),
    ((3, 7, 27, 18, 2), "filters=8 kernel=3 padding=same peephole=true return_sequences=true"),
    ((1, 4, 24, 40, 16), "filters=5 kernel=3 dilation_rate=2 return_sequences=true"),
    ((2, 6, 16, 36, 4), "filters=7 kernel=4 padding=same return_sequences=true"),
    ((2, 6, 26, 36, 2), "filters=7 kernel=3 padding=same strides=3 data_format=channels_first"),
    ((2, 5, 37, 28, 3), "filters=6 kernel=3 dropout=0.2 recurrent_dropout=0.3"),
    ((2, 5, 17, 28, 3), "filters=6 kernel=3 recompute=true return_sequences=true"),
    ((2, 5, 17, 28, 3), "filters=6 kernel=3 layer_norm=true return_sequences=true"),
    ((2, 5, 37, 28, 3), "filters=6 kernel=3 layer_norm=true peephole=true activation=relu"),
    ((2, 5, 17, 28, 3), "filters=6 kernel=3 activation=elu peephole=true return_state=true"),
    ((2, 5, 17, 28, 3), "filters=6 kernel=3 recurrent_activation=hard_sigmoid peephole=true"),
    ((8, 6, 24, 20, 64), "filters=64 kernel=3 padding=same return_sequences=true"),
    ((4, 20, 39, 41, 2), "filters=64 kernel=5 padding=same return_sequences=true"),
    ((16, 6, 24, 20, 9), "filters=64 kernel=3 padding=same recompute=true"),
    *(
        ((2, 5, 17, 28, 3), f"filters=6 kernel=3 {argument}={name} return_sequences=true")
        for argument in ("activation", "recurrent_activation")
        for name in keras_names.ACTIVATION_NAMES
    ),
]


def test_every_argument_of_the_layer_is_drawn_and_read():
    unread = {"in_channels", "input_shape", "device", "dtype", "name", "trainable"}
    named = [*inspect.signature(ConvLSTM2D).parameters]
    drawn = {"filters", "kernel_size", "strides", "dilation_rate", "padding", "data_format"}
    assert drawn | {*FLAGS, *RULES} == {*named} - unread
    for name in {*named} - unread - drawn:
        value = "true" if name in FLAGS else RULES[name][1]
        report = inspected((1, 2, 9, 9, 1), f"filters=2 kernel=3 {name}={value}")
        assert str(report.lines[0].node.arguments[name]).lower() == str(value).lower()
        assert report.findings == ()


def test_the_names_read_without_torch_are_those_the_layer_knows():
    def known(registry):
        return {*registry} | {r.__name__ for r in registry.values() if inspect.isclass(r)}

    assert {*keras_names.ACTIVATION_NAMES} == known(ACTIVATIONS)
    for found, registry in (
        (keras_names.INITIALIZER_NAMES, INITIALIZERS),
        (keras_names.REGULARIZER_NAMES, REGULARIZERS_BY_NAME),
        (keras_names.CONSTRAINT_NAMES, CONSTRAINTS_BY_NAME),
    ):
        assert {*found} == known(registry)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("filters", 0),
        ("kernel_size", (3, 0)),
        ("kernel_size", "three"),
        ("strides", (1, 2, 3)),
        ("dilation_rate", -1),
        ("padding", "causal"),
        ("data_format", "NCHW"),
        ("activation", "tahn"),
        ("recurrent_activation", "xyz"),
        ("kernel_initializer", "glorot"),
        ("recurrent_regularizer", "l3"),
        ("bias_constraint", "clip"),
        ("kernel_size", "3x3"),
        ("kernel_initializer", None),
        ("dropout", 1.0),
        ("recurrent_dropout", -0.5),
        ("dropout", "much"),
    ],
)
def test_a_wrong_value_is_refused_with_the_sentence_of_the_layer(argument, value):
    layer = {"filters": 2, "kernel_size": 3, argument: value}
    with pytest.raises(ValueError) as real:
        ConvLSTM2D(**layer)
    (finding,) = inspected((1, 2, 9, 9, 1), text(layer)).findings
    found = f"{finding.what}; {finding.change}".removeprefix("has wrong arguments: ")
    # Keras knows more names than the layer
    sentence, found = (words.partition("known are")[0] for words in (str(real.value), found))
    assert found == sentence


def real_layer(sizes, words):
    """The layer of a text, whose numbers and flags are read as JSON."""
    channels = sizes[2] if "channels_first" in words else sizes[4]
    arguments = {"in_channels": channels}
    for word in words.split():
        name, value = word.split("=")
        try:
            value = tuple(json.loads(f"[{value}]"))
            value = value[0] if len(value) == 1 else value
        except json.JSONDecodeError:
            pass  # other text is a name
        arguments["kernel_size" if name == "kernel" else name] = value
    return ConvLSTM2D(**arguments)


@pytest.mark.parametrize(("sizes", "words"), MEMORY)
def test_memory_is_within_30_percent_of_what_is_saved_and_of_the_measured_peak(sizes, words):
    training, prediction = inspected(sizes, words).lines[0].elements
    real = real_layer(sizes, words)
    weights = [*real.parameters()]
    saved = saved_bytes(lambda: real(torch.rand(sizes), training=True), weights)
    assert FLOAT_BYTES * training == pytest.approx(saved, rel=0.3)
    with torch.no_grad(), LiveBytes() as measured:
        measured.live.update(id(weight.untyped_storage()) for weight in weights)
        inputs = torch.rand(sizes)
        measured.know(inputs)
        real(inputs, training=False)
    assert FLOAT_BYTES * prediction == pytest.approx(measured.peak, rel=0.3)


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        ("LSTM(3, return_state=True)", ["output", "h", "c"]),
        ("Bidirectional(GRU(3, return_state=True))", ["output", "h", "h backward"]),
        (
            "Bidirectional(LSTM(3, return_state=True), merge_mode=None)",
            ["output", "output backward", "h", "c", "h backward", "c backward"],
        ),
    ],
)
def test_every_tensor_that_a_layer_returns_has_a_name(layer, names):
    shown = "\n".join(table(inspected((8, 5, 4), layer), verbose=True))
    assert re.findall(r"^    ((?:output|h|c)(?: backward)?) +\(8,", shown, re.MULTILINE) == names


def test_the_receptive_field_is_where_gradients_arrive():
    layers = ["filters=2 kernel=3,2 strides=2,1 return_sequences=true", "filters=2 kernel=2,3"]
    views = inspected((1, 3, 40, 39, 1), *layers).lines[-1].views
    first = ConvLSTM2D(2, (3, 2), (2, 1), return_sequences=True, in_channels=1)
    second = ConvLSTM2D(2, (2, 3), in_channels=2)
    inputs = torch.rand((1, 3, 40, 39, 1), requires_grad=True)
    second(first(inputs))[0, 9, 18].sum().backward()
    for lag in range(3):
        touched = inputs.grad[0, 2 - lag, ..., 0].nonzero()
        extent = (touched.max(0).values - touched.min(0).values + 1).tolist()
        assert extent == [view.sees + lag * view.reaches for view in views]


@pytest.mark.parametrize(
    ("layer", "is_known"),
    [
        *[("Dropout(0.1)", True), ("ZeroPadding2D(2)", True), ("Dense(3)", True)],
        *[("UpSampling2D(2)", False), ("Conv2DTranspose(3, 2, strides=2)", False)],
        *[("GlobalMaxPooling2D(keepdims=True)", False), ("Permute((2, 1, 3))", False)],
    ],
)
def test_a_receptive_field_is_not_claimed_after_pixels_were_moved(layer, is_known):
    views = inspected((1, 9, 8, 2), "Conv2D(2, 3)", layer).lines[-1].views
    assert views == ((View(3, 0, 1),) * 2 if is_known else ())
    wrapped = f"TimeDistributed({layer})"
    lines = inspected((1, 5, 9, 8, 2), "ConvLSTM2D(2, 3, return_sequences=True)", wrapped).lines
    assert lines[-1].views == ((View(3, 2, 1),) * 2 if is_known else ())


def test_what_a_recurrent_layer_sees_of_a_series_is_not_the_kernel_before_it():
    assert inspected((1, 9, 2), "Conv1D(2, 3)", "LSTM(3)").lines[-1].views == ()
    assert inspected((1, 9, 2), "Conv1D(2, 3)", "Bidirectional(GRU(3))").lines[-1].views == ()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("filters=4 kernel=3 filters=5", "filters is given twice"),
        ("filters=4 kernel", r"'kernel' is not NAME=VALUE; write e\.g\."),
        ("filters= kernel=3", "'filters=' is not NAME=VALUE; write e"),
        ("filters=4 3=kernel", "'3=kernel' is not NAME=VALUE; write e"),
        ("filters=4 class=3", "not Python: invalid syntax; write e.g."),
        ("ConvLSTM2D(40, 3", "--layer 1: "),
        ("Banana(40)", "'Banana\\(40\\)' is not a known layer"),
        (f"Dense({'-' * 9000}3)", "'Dense\\(-+ is not a known layer"),
    ],
)
def test_text_that_is_no_layer_is_refused(words, sentence):
    with pytest.raises(UsageError, match=sentence):
        inspected((8, 10, 64, 64, 1), words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "filters=4 kernel=3 stride=2",
            "stride is not an argument of ConvLSTM2D; did you mean strides?",
        ),
        (
            "filters=4 kernel=3 filter=2",
            "filter is not an argument of ConvLSTM2D; did you mean filters?",
        ),
        (
            "filters=4 kernel=3 layer=3,3",
            "layer is not an argument of ConvLSTM2D; did you mean layer_norm?",
        ),
        ("kernel=3", "filters is missing; add filters=64"),
        ("filters=4", "kernel_size is missing; add kernel_size=3"),
        (
            "filters=4 kernel=3 return_sequences=yes",
            "return_sequences must be true or false; received 'yes'; write return_sequences=True "
            "or return_sequences=False",
        ),
        (
            "filters=4 kernel=3 return_sequences=2",
            "return_sequences must be true or false; received 2; write return_sequences=True or "
            "return_sequences=False",
        ),
        ("filters=4 kernel=3 seed=x", "seed must be an integer or None; received 'x'; use seed=1"),
        (
            "filters=4 kernel=3 bias_initializer=orthogonal",
            "bias_initializer: orthogonal weights need two or more axes, and a bias has one; use "
            "another initializer",
        ),
        (
            "filters=4)+1 kernel=3",
            "has wrong arguments: filters must be an integer of 1 or more; received '4)+1'; use "
            "e.g. filters=3",
        ),
        (
            "ConvLSTM2D(4, 3, kernel_regularizer=keras.regularizers.L2(-1))",
            "l2 must be a number >= 0; received -1; use e.g. l2=0.01",
        ),
        (
            "filters=4 kernel=3 kernel_regularizer=l2(a,b)",
            "kernel_regularizer: l2 takes 1 factor, l2; write kernel_regularizer=l2(0.01)",
        ),
        (
            "ConvLSTM2D(4, 3, bias_regularizer=l1_l2(l1=0.1, l3=0.2))",
            "bias_regularizer: l1_l2 takes 2 factors, l1 and l2; write bias_regularizer="
            "l1_l2(0.01, 0.01)",
        ),
        (
            "filters=4 kernel=3 kernel_regularizer=l2(0.01",
            "kernel_regularizer: there is no 'l2(0.01'; known are l1, l1_l2, l1l2, l2, "
            "orthogonal_regularizer",
        ),
        (
            "filters=4 kernel=3 strides=2 dilation_rate=2",
            "has wrong arguments: strides > 1 do not go with dilation_rate > 1; received "
            "strides=(2, 2), dilation_rate=(2, 2); set one of them to 1",
        ),
    ],
)
def test_a_wrong_setting_is_a_mistake_of_the_layer(words, sentence):
    (finding,) = inspected((8, 10, 64, 64, 1), words).findings
    assert str(finding) == f"conv_lstm2d {sentence}"


@pytest.mark.parametrize(
    ("call", "sizes", "sentence"),
    [
        ("Flatten(data_format='x')", (2, 6, 8, 4), "data_format must be .*; received 'x'"),
        ("SpatialDropout2D(0.1, data_format=1)", (2, 6, 8, 4), "data_format must .*; received 1"),
        ("GlobalMaxPooling2D(keepdims=2)", (2, 6, 8, 4), "keepdims must be true .*; received 2"),
        ("UpSampling2D(interpolation='x')", (2, 6, 8, 4), "must be one of nearest.*; received 'x'"),
        ("RepeatVector(0)", (2, 6), "n must be an integer of 1 or more; received 0"),
        ("Conv2D([4], 3)", (2, 6, 8, 4), r"filters must be an integer.*; received \[4\]"),
        ("Cropping2D(((-1, 0), (0, 2)))", (2, 6, 8, 4), "cropping must not be negative; received"),
        ("Conv1DTranspose(2, 3, output_padding=1)", (2, 6, 4), "less than .*; received 1; leave"),
        ("ZeroPadding2D(((0, -1), (0, 0)))", (2, 6, 8, 4), "padding must not be negative; rec"),
        ("LeakyReLU(-0.1)", (2, 6), "negative_slope must be a number >= 0; received -0.1"),
        ("GaussianNoise('x')", (2, 6), "stddev must be a number >= 0; received 'x'"),
    ],
)
@NEWEST_KERAS
def test_values_that_keras_refuses_are_mistakes(call, sizes, sentence):
    with pytest.raises(Exception):  # noqa: B017  (Keras has no one kind for them)
        eval(call, vars(keras.layers))(np.ones(sizes))
    (finding,) = inspected(sizes, call).findings
    assert finding.fatal and re.search(sentence, str(finding))


def test_what_is_not_followed_in_a_layer_is_noted():
    report = inspected((8, 10, 64, 64, 1), "Input((10, 64, 64, 1))", "ConvLSTM2D(4, k, strides=s)")
    assert (report.output, report.findings) == (None, ())
    assert report.notes == (
        "--layer 2: kernel_size=k is not followed; the shape of the output is unknown",
        "--layer 2: strides=s is not followed; the shape of the output is unknown",
    )


@pytest.mark.parametrize(
    "words",
    [
        "ConvLSTM2D(2, 3, kernel_regularizer=l1_l2(l1=0.1, l2=w))",
        "ConvLSTM2D(2, 3, kernel_regularizer=L1L2(l1=None, l2=0.2), seed=SeedGenerator(3))",
        "ConvLSTM2D(2, 3, use_bias=False, bias_initializer='orthogonal')",
        "filters=2 kernel_regularizer=l2(0.01)  kernel=3",
        "filters=2 kernel_regularizer=l1(0)  kernel=3",
        "filters=2 kernel_regularizer=l1_l2(0.01, 0.02)  kernel=3",
        "filters=2 kernel_regularizer=L1L2( 1e-3,2e-3 )  kernel=3",
    ],
)
def test_what_keras_accepts_is_no_mistake(words):
    report = inspected((1, 2, 9, 9, 1), words)
    assert (report.output, report.findings) == ((1, 7, 7, 2), ())


def test_keras_spelling_and_settings_describe_the_same_layer():
    short = inspected((8, 10, 64, 65, 1), "filters=40 kernel=3,5 padding=same")
    keras = inspected(
        (8, 10, 64, 65, 1),
        "keras.layers.ConvLSTM2D(filters=40, kernel_size=(3, 5), padding='same'),",
    )
    quoted = inspected((8, 10, 64, 65, 1), "filters=40, kernel_size=(3, 5), padding='same'")
    assert short.lines[0].outcome == keras.lines[0].outcome == quoted.lines[0].outcome
    assert short.output == (8, 64, 65, 40)
