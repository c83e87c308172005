"""Layers described in numbers: equal to the real ones, and mistakes found before anything runs."""

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from framecast.errors import UsageError
from framecast.inspection.layer_arguments import _READERS, parse_layers
from framecast.inspection.layer_report import inspect_layers
from framecast.nn.convlstm import keras_names
from framecast.nn.convlstm.activations import ACTIVATIONS
from framecast.nn.convlstm.constraints import CONSTRAINTS as CONSTRAINTS_BY_NAME
from framecast.nn.convlstm.initializers import INITIALIZERS
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.convlstm.regularizers import REGULARIZERS as REGULARIZERS_BY_NAME
from tests.support.live_bytes import LiveBytes

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


def shape(axes, layer):
    """Axes, channels first, as a tensor of the layer's data_format has them."""
    first = tuple(length for _, length in axes)
    last = layer["data_format"] == "channels_last"
    return (*first[:-3], *first[-2:], first[-3]) if last else first


def build(layer, channels, device):
    return ConvLSTM2D(**layer, in_channels=channels, device=device)


@given(layer_settings(), st.tuples(SIDE, st.integers(1, 5), SIDE, SIDE, SIDE))
@settings(max_examples=250, derandomize=True, deadline=None)
def test_shapes_parameters_and_macs_are_the_real_ones(layer, sizes):
    report = inspect_layers(",".join(map(str, sizes)), [text(layer)]).layers[0]
    channels = dict(report.takes)["C"]
    assert shape(report.takes, layer) == tuple(sizes)
    real = build(layer, channels, "meta")
    weights = {name: tuple(weight.shape) for name, weight in real.named_parameters()}
    assert dict(report.parameters) == weights
    assert report.parameter_count == sum(weight.numel() for weight in real.parameters())
    inputs = torch.empty(sizes, device="meta")
    if 0 in dict(report.gives).values():
        with pytest.raises(ValueError, match="needs a size of"):
            real(inputs)
        return
    with FlopCounterMode(display=False) as counter:
        outputs = real(inputs, training=False)
    output, *states = outputs if layer["return_state"] else (outputs,)
    assert tuple(output.shape) == shape(report.gives, layer)
    wanted = [shape(report.states, layer)] * 2 if layer["return_state"] else []
    assert [tuple(state.shape) for state in states] == wanted
    assert 2 * report.macs == counter.get_total_flops()
    (top, bottom), (left, right) = real.geometry.pads([dict(report.takes)[side] for side in "HW"])
    assert report.padding == (top, bottom, left, right)


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
        for name in keras_names.ACTIVATION_COSTS
    ),
]


def test_every_argument_of_the_layer_is_drawn_and_read():
    unread = {"in_channels", "input_shape", "recurrent_kernel_size", "device", "dtype"}
    unread |= {"name", "trainable"}
    named = [*inspect.signature(ConvLSTM2D).parameters]
    drawn = {"filters", "kernel_size", "strides", "dilation_rate", "padding", "data_format"}
    assert drawn | {*FLAGS, *RULES} == {*named} - unread
    assert {*_READERS} == {*named} - unread


def test_the_names_read_without_torch_are_those_the_layer_knows():
    def known(registry):
        return {*registry} | {r.__name__ for r in registry.values() if inspect.isclass(r)}

    assert {*keras_names.ACTIVATION_COSTS} == known(ACTIVATIONS)
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
        ("bias_initializer", "orthogonal"),
        ("dropout", 1.0),
        ("recurrent_dropout", -0.5),
        ("dropout", "much"),
    ],
)
def test_a_wrong_value_is_refused_with_the_sentence_of_the_layer(argument, value):
    layer = {"filters": 2, "kernel_size": 3, argument: value}
    with pytest.raises(ValueError) as real:
        ConvLSTM2D(**layer)
    with pytest.raises(UsageError) as caught:
        parse_layers([text(layer)])
    assert str(caught.value) == f"--layer 1: {real.value}"


@pytest.mark.parametrize("text", ["l2(0.01)", "l1(0)", "l1_l2(0.01, 0.02)", "L1L2( 1e-3,2e-3 )"])
def test_a_penalty_can_be_written_with_its_factors(text):
    (layer,) = parse_layers([f"filters=2 kernel_regularizer={text}  kernel=3"])
    assert (layer.filters, layer.geometry.kernel_size) == (2, (3, 3))


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("l2(-1)", "l2 must be a number >= 0; received -1.0"),
        ("l1_l2(0.5, much)", "l2 must be a number >= 0; received much"),
        ("l1(inf)", "l1 must be a number >= 0; received inf"),
        ("l3(1)", "kernel_regularizer: there is no 'l3'; known are l1, l1_l2, "),
        (
            "l1(0.01, 0.02)",
            "kernel_regularizer: l1 takes l1; received 'l1(0.01, 0.02)'; write "
            "kernel_regularizer=l1(0.01)",
        ),
        (
            "l1_l2(0.01",
            "kernel_regularizer: l1_l2 takes l1 and l2; received 'l1_l2(0.01'; write "
            "kernel_regularizer=l1_l2(0.01, 0.01)",
        ),
    ],
)
def test_a_penalty_that_means_nothing_is_refused(written, sentence):
    with pytest.raises(UsageError) as caught:
        parse_layers([f"filters=2 kernel=3 kernel_regularizer={written}"])
    assert str(caught.value).startswith(f"--layer 1: {sentence}")


def real_layer(report, words):
    """The layer of a text, whose numbers and flags are read as JSON."""
    arguments = {"in_channels": dict(report.takes)["C"]}
    for word in words.split():
        name, value = word.split("=")
        try:
            value = tuple(json.loads(f"[{value}]"))
            value = value[0] if len(value) == 1 else value
        except json.JSONDecodeError:
            pass  # a name stands for itself
        arguments["kernel_size" if name == "kernel" else name] = value
    return ConvLSTM2D(**arguments)


@pytest.mark.parametrize(("sizes", "words"), MEMORY)
def test_training_bytes_are_within_10_percent_of_what_autograd_saves(sizes, words):
    report = inspect_layers(",".join(map(str, sizes)), [words]).layers[0]
    real, saved, kept = real_layer(report, words), {}, []
    known = {weight.untyped_storage().data_ptr() for weight in real.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # else its address could be given away again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        real(torch.rand(sizes), training=True)
    assert report.training_bytes == pytest.approx(sum(saved.values()), rel=0.1)


@pytest.mark.parametrize(("sizes", "words"), MEMORY)
def test_prediction_bytes_are_within_10_percent_of_the_tensors_alive_at_once(sizes, words):
    report = inspect_layers(",".join(map(str, sizes)), [words]).layers[0]
    real = real_layer(report, words)
    weights = [weight.untyped_storage() for weight in real.parameters()]
    with torch.no_grad(), LiveBytes() as measured:
        measured.live.update(map(id, weights))
        inputs = torch.rand(sizes)
        measured.know(inputs)
        real(inputs, training=False)
    assert report.prediction_bytes == pytest.approx(measured.peak, rel=0.1)


BIG = "8,10,64,64,1"


def fed(sizes, *layers, options=()):
    """Arguments that feed an input to layers."""
    return ["--input", sizes, *options, *(word for layer in layers for word in ("--layer", layer))]


MISTAKES = {
    "collapse": (
        fed(
            "8,10,12,64,1",
            "filters=4 kernel=5 strides=2 return_sequences=true",
            "filters=4 kernel=5",
        ),
        0,
        "layer 2 collapses to nothing: its kernel covers 5 x 5 and its input is 4 x 30; use an "
        "--input of 13 x 13 or more, padding=same or a smaller kernel",
    ),
    "4D into 5D": (
        fed(BIG, "filters=4 kernel=3", "filters=4 kernel=3"),
        0,
        "layer 2 wants 5 axes (batch, time, ...) and layer 1 gives 4, its last step only; set "
        "return_sequences=true in layer 1",
    ),
    "states in the middle": (
        fed(
            BIG, "filters=4 kernel=3 return_sequences=true return_state=true", "filters=4 kernel=3"
        ),
        0,
        "layer 1 gives 3 tensors, its output, h and c, and layer 2 wants the output alone; set "
        "return_state=false in layer 1",
    ),
    "stateful batch": (
        fed(BIG, "filters=4 kernel=3 stateful=true", options=("--samples", "100")),
        0,
        "layer 1 is stateful and keeps its batch of 8, but 100 samples leave a last batch of 4; "
        "use a batch of 5, 96 samples, or stateful=false",
    ),
    "rest that no kernel sees": (
        fed(BIG, "filters=4 kernel=5,4 strides=3,2"),
        0,
        "layer 1 never sees the last 2 of 64 rows: kernels of 5 every 3 end before them; pad "
        "rows by 1, crop them by 2, or set padding=same",
    ),
    "channels first, read as last": (
        fed("8,10,1,64,64", "filters=4 kernel=3 padding=same"),
        0,
        "--input 8,10,1,64,64 looks channels_first: read as channels_last its frames have 64 "
        "channels, the other way 1; set data_format=channels_first",
    ),
    "channels last, read as first": (
        fed(BIG, "filters=4 kernel=3 padding=same data_format=channels_first"),
        0,
        "looks channels_last: read as channels_first its frames have 64 channels, the other way "
        "1; set data_format=channels_last",
    ),
    "formats that change": (
        fed(
            BIG,
            "filters=4 kernel=3 return_sequences=true",
            "filters=4 kernel=3 data_format=channels_first",
        ),
        0,
        "layer 2 reads channels_first and layer 1 gives channels_last; set "
        "data_format=channels_last in layer 2",
    ),
    "4D input": (
        fed("8,64,64,1", "filters=4 kernel=3"),
        2,
        "4 axes, and ConvLSTM2D takes 5: batch or time is missing; one clip of 8 frames is "
        "--input 1,8,64,64,1, 8 clips of one frame are --input 8,1,64,64,1",
    ),
    "strides with dilation": (
        fed(BIG, "filters=4 kernel=3 strides=2 dilation_rate=2"),
        2,
        "--layer 1: strides > 1 do not go with dilation_rate > 1; received strides=(2, 2), "
        "dilation_rate=(2, 2); set one of them to 1",
    ),
    "dropout of 1": (
        fed(BIG, "filters=4 kernel=3 recurrent_dropout=1"),
        2,
        "--layer 1: recurrent_dropout must be at least 0 and less than 1, at which nothing would "
        "be left to learn from; received 1.0; use e.g. recurrent_dropout=0.2",
    ),
    "unknown setting": (
        fed(BIG, "filters=4 kernel=3 stride=2"),
        2,
        "--layer 1: stride is no argument of ConvLSTM2D; did you mean strides?",
    ),
    "filters missing": (
        fed(BIG, "kernel=3"),
        2,
        "--layer 1: filters is missing; add filters=64",
    ),
    "filters that are none": (
        fed(BIG, "filters=0 kernel=3"),
        2,
        "--layer 1: filters must be an integer of 1 or more; received 0; use e.g. filters=3",
    ),
    "layer missing": (fed(BIG), 2, "--layer is missing; add e.g. --layer "),
    "layers beside frames": (
        ["frames", *fed(BIG, "filters=4 kernel=3")],
        2,
        "--input, --layer and --samples describe layers alone; leave out frames",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "message"), MISTAKES.values(), ids=MISTAKES)
def test_planted_mistakes_are_found_and_explained(run, arguments, code, message):
    found, out, err = run("inspect-shapes", *arguments)
    assert found == code
    assert message in (err if code else out)


def test_from_the_named_size_on_no_layer_collapses():
    layers = ["filters=4 kernel=5 strides=2 return_sequences=true", "filters=4 kernel=5"]
    for side, gives in ((12, 0), (13, 1)):
        report = inspect_layers(f"8,10,{side},{side},1", layers)
        assert dict(report.layers[-1].gives)["H"] == gives
        assert any("collapses" in warning for warning in report.warnings) == (gives == 0)


def test_right_layers_need_no_warning_and_print_their_figures(run):
    layers = ["filters=64 kernel=5 strides=2 return_sequences=true", "filters=3 kernel=4,3"]
    arguments = fed("8,10,65,65,1", *layers)
    code, out, _ = run("inspect-shapes", *arguments)
    assert code == 0
    assert "warning" not in out
    assert "H: ceil((65 - 1*(5-1)) / 2) = 31" in out
    assert "kernel 256x1x5x5 = 6,400" in out
    assert "channels_last B=8 T=10 H=31 W=31 F=64, channels_first B=8 T=10 F=64 H=31 W=31" in out
    code, out, _ = run("inspect-shapes", *arguments, "--json")
    found = json.loads(out)
    assert found == inspect_layers("8,10,65,65,1", layers).to_dict()
    assert found["layers"][1]["output"]["channels_last"] == {"B": 8, "H": 28, "W": 29, "F": 3}


def test_states_are_shown_where_they_are_returned_and_sizes_below_zero_are_explained():
    layer = inspect_layers(BIG, ["filters=3 kernel=3,5 return_state=true return_sequences=true"])
    shown = "h and c channels_last B=8 H=62 W=60 F=3, channels_first B=8 F=3 H=62 W=60"
    assert shown in layer.layers[0].lines
    small = inspect_layers("8,10,3,64,1", ["filters=3 kernel=7 strides=2"]).layers[0]
    assert small.formulas[0] == "H: ceil((3 - 1*(7-1)) / 2) = -1, so nothing is left"


def test_the_readme_shows_the_real_output(run):
    place = Path(__file__).parents[2] / "framecast/inspection/README.md"
    text = place.read_text(encoding="utf-8")
    pattern = r"^framecast ([^\n]* --layer [^\n]*)\n```\n\n```text\n(.*?)```"
    shown = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert run(*shlex.split(shown[1])) == (0, shown[2], "")


def test_the_receptive_field_is_where_gradients_arrive():
    layers = ["filters=2 kernel=3,2 strides=2,1 return_sequences=true", "filters=2 kernel=2,3"]
    report = inspect_layers("1,3,40,39,1", layers).layers[-1]
    first = ConvLSTM2D(2, (3, 2), (2, 1), return_sequences=True, in_channels=1)
    second = ConvLSTM2D(2, (2, 3), in_channels=2)
    inputs = torch.rand((1, 3, 40, 39, 1), requires_grad=True)
    second(first(inputs))[0, 9, 18].sum().backward()
    for lag in range(3):
        touched = inputs.grad[0, 2 - lag, ..., 0].nonzero()
        extent = (touched.max(0).values - touched.min(0).values + 1).tolist()
        assert extent == [
            sees + lag * reach for sees, reach in zip(report.sees, report.reaches, strict=True)
        ]


def test_layers_are_inspected_without_torch():
    script = (
        "import sys; from framecast.cli.main import main;"
        "assert main(['inspect-shapes', '--input', "
        "'8,10,64,64,1', '--layer', 'filters=4 kernel=3']) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
