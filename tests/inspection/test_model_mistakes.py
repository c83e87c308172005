"""Mistakes that people asked about in public: each is found, explained, and gets its change."""

import re

import keras
import numpy as np
import pytest

from framecast.inspection.keras_code import read_code
from framecast.inspection.model_source import parse_sizes
from framecast.inspection.model_walk import inspect_graph

CLIP = "input_shape=(10, 64, 64, 1)"
FIRST = f"ConvLSTM2D(8, 3, padding='same', return_sequences=True, {CLIP})"
LAST = f"ConvLSTM2D(8, 3, padding='same', {CLIP})"

STOPS = {
    # keras-team/keras#7905, "5d Input array shape for ConvLSTM2D layer"
    "no channels": (
        "ConvLSTM2D(32, (3, 3), input_shape=(10, 64, 64))",
        "needs 5 axes, (batch, time, rows, columns, channels), and gets 4: (B, 10, 64, 64); add "
        "the axis of channels, shape=(10, 64, 64, 1)",
    ),
    # rstudio/keras3#220, from layer_conv_2d to layer_conv_lstm_2d
    "no time": (
        "ConvLSTM2D(10, (5, 1), input_shape=(50, 1, 1))",
        "gets 4: (B, 50, 1, 1); add the axis of time, shape=(T, 50, 1, 1)",
    ),
    # keras-team/keras#10235, "ConvLSTM2D reads the 5 dim inputs as 6 dim"
    "batch in the shape": (
        "ConvLSTM2D(4, (5, 1), input_shape=(668, 677, 9, 7, 676))",
        "has input_shape=(668, 677, 9, 7, 676), 5 axes, and ConvLSTM2D takes 4: input_shape is "
        "that of one sample, without the batch; write input_shape=(677, 9, 7, 676)",
    ),
    "sequences missing in the middle": (
        f"{LAST}, BatchNormalization(), ConvLSTM2D(8, 3)",
        "gets 4: (B, 64, 64, 8); set return_sequences=True in conv_lstm2d (line 1), which returns "
        "its last step only",
    ),
    "volumes after the last step": (
        f"{LAST}, Conv3D(1, 3)",
        "conv3d (line 1) needs 5 axes, (batch, depth, rows, columns, channels), and gets 4: "
        "(B, 64, 64, 8); set return_sequences=True in conv_lstm2d",
    ),
    # iamrakesh28/Video-Prediction#4, "expected ndim=4, found ndim=5"
    "images of a sequence": (
        f"{FIRST}, Conv2D(1, 3)",
        "needs 4 axes, (batch, rows, columns, channels), and gets 5: (B, 10, 64, 64, 8); set "
        "return_sequences=False in conv_lstm2d (line 1) to continue with its last step, or wrap "
        "this layer, TimeDistributed(Conv2D(...))",
    ),
    "pooling of a sequence": (
        f"{FIRST}, MaxPooling2D()",
        "max_pooling2d (line 1) needs 4 axes, (batch, rows, columns, channels), and gets 5",
    ),
    "time distributed over the last step": (
        f"{LAST}, TimeDistributed(Conv2D(1, 1))",
        "applies Conv2D to each time step, 4 axes, so it needs 5, and gets 4: (B, 64, 64, 8); set "
        "return_sequences=True in conv_lstm2d (line 1)",
    ),
    "time distributed without time": (
        "TimeDistributed(Conv2D(8, 3), input_shape=(64, 65, 1))",
        "gets 4: (B, 64, 65, 1); add the axis of time, shape=(T, 64, 65, 1), or leave out "
        "TimeDistributed",
    ),
    "series": (
        "ConvLSTM2D(8, 3, input_shape=(1200, 19))",
        "gets 3: (B, 1200, 19); a series of features has no rows and columns: use LSTM or Conv1D",
    ),
    "series in one dimension": (
        "ConvLSTM1D(8, 3, input_shape=(1200, 19))",
        "needs 4 axes, (batch, time, steps, channels), and gets 3: (B, 1200, 19); add the axis of "
        "channels, shape=(1200, 19, 1)",
    ),
    # keras-team/keras#11506, "Problem connecting Flatten() and LSTM()"
    "recurrence after Flatten": (
        "Conv2D(32, 3, input_shape=(28, 28, 1)), Flatten(), LSTM(100)",
        "lstm (line 1) needs 3 axes, (batch, time, features), and gets 2: (B, 21632); put "
        "Reshape((steps, features)) or RepeatVector(n) before it, or drop Flatten",
    ),
    # keras-team/keras#11425, "How to connect LSTM to CNN"
    "recurrence on frames": (
        "TimeDistributed(Conv2D(32, 3), input_shape=(10, 28, 28, 1)), LSTM(100)",
        "gets 5: (B, 10, 26, 26, 32); put TimeDistributed(Flatten()) before it",
    ),
    "states in the middle": (
        f"ConvLSTM2D(8, 3, return_sequences=True, return_state=True, {CLIP}), ConvLSTM2D(8, 3)",
        "gets 3 tensors from conv_lstm2d (line 1), its output and its states, and takes only "
        "the output; set return_state=False in conv_lstm2d",
    ),
    # keras-team/keras#2030, "If a RNN is stateful, a complete input_shape must be provided"
    "stateful without a batch": (
        f"ConvLSTM2D(8, 3, stateful=True, {CLIP})",
        "is stateful and keeps a state for each sample of the batch, whose size is not given; "
        "write Input(batch_shape=(8, 10, 64, 64, 1))",
    ),
    "stateful with samples left": (
        "ConvLSTM2D(8, 3, stateful=True, batch_input_shape=(8, 10, 64, 64, 1))",
        "is stateful and keeps its batch of 8, but the last batch of 100 samples has 4; use "
        "a batch of 5, 96 samples, or stateful=False",
        {"samples": 100},
    ),
    # keras-team/keras#3906, the layer as it was first merged
    "names of Keras 1": (
        "ConvLSTM2D(nb_filter=40, nb_row=3, nb_col=5, border_mode='same', inner_activation="
        f"'hard_sigmoid', dim_ordering='th', subsample=(1, 1), {CLIP})",
        "has old names, nb_filter, border_mode, inner_activation, dim_ordering, subsample, nb_row "
        "and nb_col; write filters=40, padding='same', recurrent_activation='hard_sigmoid', "
        "data_format='channels_first', strides=(1, 1), kernel_size=(3, 5)",
    ),
    # keras-team/keras#7611, "Negative dimension size caused by subtracting 3 from 1"
    "rows and columns of Keras 1": (
        "Convolution2D(32, 3, 3, input_shape=(1, 28, 28))",
        "collapses to nothing: its kernel covers 3 x 3 and its input is 1 x 28; feed frames of "
        "3 x 3 or larger",
    ),
    "collapse of a stack": (
        "ConvLSTM2D(4, 5, strides=2, return_sequences=True, input_shape=(10, 12, 64, 1)), "
        "ConvLSTM2D(4, 5)",
        "conv_lstm2d_1 (line 1) collapses to nothing: its kernel covers 5 x 5 and its input is "
        "4 x 30; feed frames of 13 x 13 or larger, set padding='same' in conv_lstm2d_1",
    ),
    "collapse after pixels were moved": (
        "Reshape((8, 8, 1), input_shape=(64, 1)), Conv2D(4, 3), Conv2D(4, 7)",
        "its input is 6 x 6; give it 7 x 7 or more, set padding='same', or use a smaller kernel",
    ),
    "no pixels": (
        "ConvLSTM2D(8, 3, input_shape=(10, -1, 64, 0))",
        "is declared as (B, 10, -1, 64, 0), where sizes are 1 or more, or None; declare the shape",
    ),
    "channels left open": (
        "ConvLSTM2D(8, 3, input_shape=(None, 64, 64, None))",
        "cannot make its weights: the number of channels is None; give the Input a number there",
    ),
    # keras-team/keras#818, "LSTM layer cannot connect to Dense layer after Flatten"
    "features left open": (
        "ConvLSTM2D(8, 3, input_shape=(None, None, None, 1)), Flatten(), Dense(3)",
        "dense (line 1) cannot make its weights: its input has 8*(H - 2)*(W - 2) features, which "
        "None in the Input leaves open; give the Input numbers instead of None, or take "
        "GlobalAveragePooling instead of Flatten",
    ),
    "strides with dilation": (
        f"ConvLSTM2D(8, 3, strides=2, dilation_rate=2, {CLIP})",
        "strides > 1 do not go with dilation_rate > 1; received strides=(2, 2), "
        "dilation_rate=(2, 2); set one of them to 1",
    ),
    "misspelt argument": (
        f"ConvLSTM2D(8, 3, return_sequence=True, {CLIP})",
        "return_sequence is not an argument of ConvLSTM2D; did you mean return_sequences?",
    ),
    "kernel missing": (f"ConvLSTM2D(8, {CLIP})", "kernel_size is missing; add kernel_size=3"),
    "padding of series": (
        f"ConvLSTM2D(8, 3, padding='causal', {CLIP})",
        'padding must be "valid" or "same"; received \'causal\'; "same" keeps the size',
    ),
    "unknown activation": (
        f"ConvLSTM2D(8, 3, activation='rulu', {CLIP})",
        "activation: there is no 'rulu'; did you mean 'relu'?",
    ),
    "dropout of all": (
        f"ConvLSTM2D(8, 3, dropout=1, {CLIP})",
        "dropout must be at least 0 and less than 1",
    ),
    "reshape": (
        "Dense(64, input_shape=(10,)), Reshape((8, 9, 1))",
        "cannot reshape (64,) into (8, 9, 1): they have 64 and 72 elements",
    ),
    "permute": (
        f"{FIRST}, Permute((1, 2, 3))",
        "has dims=(1, 2, 3) and gets (B, 10, 64, 64, 8); name each axis after the batch once, 1 "
        "to 4",
    ),
    # keras-team/keras#10572, "expected activation_1 to have 4 dimensions, but got ..."
    "target of every step": (
        f"{LAST}, Conv2D(3, 1)",
        "returns (B, 64, 64, 3), and the target is (1, 10, 64, 64, 3): 4 axes and 5; set "
        "return_sequences=True in conv_lstm2d (line 1) to return every step, or use one frame",
        {"target": "1,10,64,64,3"},
    ),
    "target of one step": (
        FIRST,
        "5 axes and 4; set return_sequences=False in conv_lstm2d (line 1) to return only the last "
        "step",
        {"target": "1,64,64,8"},
    ),
    "target that lacks another axis than time": (
        f"ConvLSTM2D(8, 3, padding='same', {CLIP})",
        "4 axes and 3; give the target the shape of the output",
        {"target": "1,64,64"},
    ),
    # keras-team/keras#6351, "expected dense_2 to have 3 dimensions, but got ... (11, 2)"
    "target of one answer": (
        f"{LAST}, Dense(2)",
        "returns (B, 64, 64, 2), and the target is (11, 2): 4 axes and 2; put Flatten or "
        "GlobalAveragePooling before the last layer",
        {"target": "11,2"},
    ),
    "target of other channels": (
        FIRST,
        "8 and 3 in axis 4; give the last layer 3 channels, or the target 8",
        {"target": "1,10,64,64,3"},
    ),
    "target of one channel": (
        FIRST,
        "8 and 1 in axis 4; give the last layer 1 channel, or the target 8",
        {"target": "1,10,64,64,1"},
    ),
    "target of another size": (
        f"ConvLSTM2D(8, 3, {CLIP})",
        "returns (B, 62, 62, 8), and the target is (1, 64, 64, 8): 62 and 64 in axis 1; use "
        "padding='same' and strides of 1, or crop the target",
        {"target": "1,64,64,8"},
    ),
    "data of another shape": (
        FIRST,
        "is declared as (B, 10, 64, 64, 1) and is fed (30, 64, 64, 1); declare shape=(64, 64, 1)",
        {"fed": "30,64,64,1"},
    ),
}

LIKELY = {
    "channels first": (
        "ConvLSTM2D(8, 3, input_shape=(30, 3, 227, 227))",
        "is fed (B, 30, 3, 227, 227), which looks channels_first: read as channels_last its frames "
        "have 227 channels, otherwise 3; set data_format='channels_first'",
    ),
    "channels last": (
        "ConvLSTM2D(8, 3, data_format='channels_first', input_shape=(30, 96, 64, 3))",
        "looks channels_last: read as channels_first its frames have 96 channels, otherwise 3",
    ),
    "time last": (
        "ConvLSTM2D(8, 3, padding='same', input_shape=(227, 227, 1, 12))",
        "reads 12 channels of 227 x 1 pixels; (227, 227, 1, 12) looks like (rows, columns, "
        "channels, time); move time to the front, np.moveaxis(x, -1, 1): shape=(12, 227, 227, 1)",
    ),
    "time as channels": (
        "ConvLSTM2D(8, 3, input_shape=(1, 64, 64, 12))",
        "reads 12 channels and 1 time step; if the 12 are frames, time is the last axis",
    ),
    "time third": (
        "ConvLSTM2D(8, 3, input_shape=(64, 64, 10, 1))",
        "reads 64 time steps of 64 x 10 pixels; (64, 64, 10, 1) looks like (rows, columns, time, "
        "channels); move time to the front, np.moveaxis(x, 3, 1): shape=(10, 64, 64, 1)",
    ),
    "formats that change": (
        f"{FIRST}, ConvLSTM2D(4, 3, data_format='channels_first', padding='same')",
        "reads channels_first and is given channels_last; set data_format='channels_last' in "
        "conv_lstm2d_1",
    ),
    "sequences before Flatten": (
        f"{FIRST}, Flatten(), Dense(3)",
        "flatten (line 1) flattens all 10 time steps together, since conv_lstm2d returns "
        "sequences: each step gets its own weights; set return_sequences=False in conv_lstm2d",
    ),
    "frames before Dense": (
        f"{LAST}, Dense(3)",
        "dense (line 1) acts only on the last axis: (B, 64, 64, 8) becomes (B, 64, 64, 3)",
    ),
    "even kernel": (
        f"ConvLSTM2D(8, 4, padding='same', {CLIP})",
        "has an even kernel of 4 rows and columns, which has no middle: padding='same' adds 1 "
        "before and 2 after, and the image shifts by half a pixel; use 3 or 5",
    ),
    "rows unseen": (
        f"ConvLSTM2D(8, (5, 4), strides=(3, 2), {CLIP})",
        "ignores the last 2 of 64 rows, which kernels of 5 with strides of 3 do not reach; pad "
        "them by 1, crop them by 2, or set padding='same'",
    ),
    "strides by accident": (
        f"ConvLSTM2D(40, 3, 3, {CLIP})",
        "ConvLSTM2D(..., 3, 3) reads as kernel_size=3, strides=3; Keras 1 meant rows and columns; "
        "write kernel_size=(3, 3)",
    ),
    "sizes left open": (
        "ConvLSTM2D(8, 3, input_shape=(None, None, None, 1))",
        "leaves H x W open, which Keras 3 refuses for ConvLSTM2D; give them numbers there",
    ),
}


def look(layers, fed=None, target=None, samples=None):
    code = f"model = Sequential([{layers}])"
    fed, target = (None if text is None else parse_sizes(text) for text in (fed, target))
    return inspect_graph(read_code(code, "model.py"), fed, target, samples)


@pytest.mark.parametrize("case", STOPS.values(), ids=STOPS)
def test_a_mistake_that_stops_a_model_is_reported_with_its_change(case):
    layers, sentence, *options = case
    report = look(layers, **(options[0] if options else {}))
    assert not report.works
    assert sentence in " ".join(str(finding) for finding in report.findings if finding.fatal)


@pytest.mark.parametrize("case", LIKELY.values(), ids=LIKELY)
def test_a_likely_mistake_of_a_model_that_works_is_reported(case):
    layers, sentence = case
    report = look(layers)
    assert report.works
    assert sentence in " ".join(map(str, report.findings))


def test_a_correct_model_gets_no_warning():
    layers = f"{FIRST}, BatchNormalization(), ConvLSTM2D(8, 5, padding='same'), Conv2D(1, 3)"
    report = look(layers, "4,10,64,64,1", "4,62,62,1")
    assert report.works
    assert report.findings == ()
    assert report.output == (4, 62, 62, 1)


def test_a_shortcut_that_leaves_out_every_other_pixel_gets_no_warning():
    report = look("Conv2D(4, 1, strides=2, input_shape=(32, 32, 3))")
    assert report.findings == () and report.output[1:] == (16, 16, 4)


def test_a_series_cut_into_parts_is_no_grey_picture():
    """4 parts of 32 time steps of 9 features; 1 x 64 x 64 is a grey picture."""
    report = look("ConvLSTM2D(64, (1, 3), activation='relu', input_shape=(4, 1, 32, 9))")
    assert report.findings == () and report.output[1:] == (1, 30, 64)
    picture = look("ConvLSTM2D(64, (1, 3), input_shape=(4, 1, 64, 64))")
    assert "looks channels_first" in str(picture.findings[0])


def test_one_mistake_does_not_hide_the_next():
    report = look(f"{LAST}, ConvLSTM2D(8, 3), Conv2D(2, 4, padding='same'), Reshape((3, 3))")
    told = [re.sub(r" .*", "", str(finding)) for finding in report.findings]
    assert told == ["conv_lstm2d_1", "conv2d", "reshape"]


FUNCTIONAL = """
seen = Input((10, 64, 64, 1))
y, h, c = ConvLSTM2D(8, 3, padding='same', return_state=True)(seen)
ahead = Input((10, 64, 64, 1))
z = ConvLSTM2D({filters}, 3, padding='same')(ahead, initial_state={states})
model = Model([seen, ahead], z)
"""


@pytest.mark.parametrize(
    ("filters", "states", "sentence"),
    [
        (8, "[h, c]", None),
        (
            16,
            "[h, c]",
            "gets an initial_state of (B, 64, 64, 8), and its own state is (B, 64, 64, 16)",
        ),
        (8, "[h]", "takes 2 tensors as initial_state and gets 1; give it [h, c]"),
    ],
)
def test_an_initial_state_needs_the_shape_of_the_layers_state(filters, states, sentence):
    report = inspect_graph(read_code(FUNCTIONAL.format(filters=filters, states=states), "m"))
    found = [str(finding) for finding in report.findings]
    assert report.works == (sentence is None)
    assert (sentence is None and not found) or sentence in found[0]


def test_a_gru_takes_one_tensor_as_its_state():
    code = "s = Input((8,))\nx = GRU(8)(Input((5, 3)), initial_state=[s, s])\n"
    (found,) = inspect_graph(read_code(code, "m")).findings
    assert "takes 1 tensor as initial_state and gets 2; give it h alone" in str(found)


def test_one_time_step_may_be_flattened():
    code = "Sequential([LSTM(4, return_sequences=True, input_shape=({}, 3)), Flatten()])"
    (found,) = inspect_graph(read_code(code.format(2), "m")).findings
    assert "flattens all 2 time steps together" in str(found)
    assert inspect_graph(read_code(code.format(1), "m")).findings == ()


def test_branches_of_other_sizes_cannot_be_joined():
    code = "i = Input((64, 64, 1))\nx = concatenate([Conv2D(8, 3)(i), Conv2D(8, 1)(i)])\n"
    report = inspect_graph(read_code(code, "m"))
    assert "differ in axis 1: (B, 62, 62, 8), (B, 64, 64, 8)" in str(report.findings[0])


def test_merges_broadcast_as_keras_does():
    """Squeeze and excitation: a weight for each channel, from the mean of its pixels."""
    code = "x = Input((20, 30, 4))\nw = Dense(4)(GlobalAveragePooling2D()(x))\n"
    report = inspect_graph(read_code(f"{code}y = Multiply()([x, w])", "m"))
    x = keras.Input((20, 30, 4))
    theirs = keras.layers.Multiply()([x, keras.layers.GlobalAveragePooling2D()(x)])
    assert report.works and report.output[1:] == theirs.shape[1:] == (20, 30, 4)
    code += "y = TimeDistributed(Model(x, Multiply()([x, w])))(Input((5, 20, 30, 4)))"
    report = inspect_graph(read_code(code, "m"))
    assert report.works and report.output[1:] == (5, 20, 30, 4)


PAIR, BACK = "Bidirectional(ConvLSTM2D(2, 3), backward_layer=", "go_backwards=True"


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("Dense(3)([x, x])", "gets 2 tensors and takes one; give it one of them"),
        ("Add()([x])", "merges two tensors or more and gets one; give it a list of tensors"),
        ("concatenate([x, Input((3,))])", "different numbers of axes: (B, 5, 20, 30, 1), (B, 3);"),
        ("x * Input((3,))", "different numbers of axes: (B, 5, 20, 30, 1), (B, 3); reshape one"),
        ("Add()([x, Input((20, 9, 1))])", "differ in axis 3: (B, 5, 20, 30, 1), (B, 20, 9, 1); g"),
        ("Subtract()([x, x, x])", "takes two tensors and gets 3; subtract in turn"),
        ("Concatenate(axis=7)([x, x])", "has axis=7 and gets (B, 5, 20, 30, 1); use axis=-1"),
        ("GroupNormalization(groups=0)(x)", "groups must be an integer of 1 or more; rec"),
        ("GroupNormalization()(x)", "has groups=32, which do not divide the channels (1); use gro"),
        ("LayerNormalization(axis=[1, -9])(x)", "has axis=-9 and gets (B, 5, 20, 30, 1); use"),
        ("Reshape((-1, -1))(x)", "has target_shape=(-1, -1), where one -1 is allowed; leave one"),
        ("Dense(lambda n: 3)(x)", "units must be an integer of 1 or more; received lambda; use e"),
        ("Dense(Flatten(name='flat'))(x)", "received flat; use"),
        ("Reshape((3, x))(x)", "has wrong arguments: target_shape=(3, a tensor); give a number"),
        ("Dropout(2)(x)", "rate must be at least 0 and less than 1, at which nothing would be lef"),
        ("Reshape([[1]])(x)", "has wrong arguments: target_shape=[[1]]; give a number for"),
        ("Embedding(3, 'x')(x)", "output_dim must be an integer of 1 or more; received 'x'"),
        ("Reshape((7, -1))(x)", "cannot reshape (5, 20, 30, 1) into (7, -1): they have 3,000 and"),
        ("Permute((0, 1, 2, 3))(x)", "gets (B, 5, 20, 30, 1); name each axis after the batch once"),
        ("RepeatVector(3)(x)", "put a Reshape before it that gives 1 axis after the batch"),
        ("TimeDistributed(Dense(3))(Input((4,)))", "needs a time axis, 3 axes or more, and gets"),
        ("Bidirectional(Dense(3))(x)", "wraps Dense, which is not recurrent; wrap an LSTM, GRU or"),
        ("Bidirectional(LSTM(3), merge_mode='max')(Input((4, 5)))", "has merge_mode='max'; use"),
        ("Bidirectional(ConvLSTM2D(2, 3, go_backwards=True))(x)", "go_backwards=True in both of i"),
        (f"{PAIR}ConvLSTM2D(2, 3))(x)", "has go_backwards=False in both of its layers; set go_bac"),
        (f"{PAIR}ConvLSTM2D(2, 5, {BACK}))(x)", "merges (B, 18, 28, 2) of its forward layer with "
            "(B, 16, 26, 2) of its backward layer; give both the same filters, kernel_size, str"),
        (f"{PAIR}ConvLSTM2D(1, 3, {BACK}), merge_mode='sum')(x)", "with (B, 18, 28, 1) of its ba"),
        (f"{PAIR}ConvLSTM2D(2, 3, {BACK}, stateful=True))(x)", "has stateful=False in its forwar"
            "d and stateful=True in its backward layer; give both the same stateful"),
        ("Dense(3)(Input((), batch_size=3))", "needs 2 axes or more and gets (3,); keep the feat"),
        ("x[0, 0, 0, 0, 0, 0]", "has 6 indices for (B, 5, 20, 30, 1); leave some out"),
        ("x[:, ::0]", "has a slice with a step of 0; leave the step out"),
        ("Conv3D(3, 3, groups=2)(Concatenate()([x, x]))", "do not divide both the channels (2) an"),
        ("Conv3D(2, 3, groups=0)(x)", "groups must be an integer of 1 or more; rec"),
        ("DepthwiseConv2D(3, depth_multiplier='a')(x[:, 0])", "depth_multiplier must be an int"),
        ("MaxPooling3D((2, 0, 2))(x)", "pool_size must be an integer or 3 integers, each of 1"),
        ("ZeroPadding3D((1, (1,), 1))(x)", "has wrong arguments: padding=(1, (1,), 1); give a nu"),
    ],
)  # fmt: skip
def test_a_layer_that_cannot_take_its_input_says_so(layer, sentence):
    report = inspect_graph(read_code(f"x = Input((5, 20, 30, 1))\nx = {layer}", "m"))
    assert not report.works
    assert sentence in str(report.findings[0])


def test_directions_of_other_filters_are_joined():
    code = f"x = Input((5, 20, 30, 1))\nx = {PAIR}ConvLSTM2D(4, 3, {BACK}))(x)"
    report = inspect_graph(read_code(code, "m"))
    assert report.works and report.output[1:] == (18, 28, 6)


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ("[:, None, 2]", (1, 20, 30, 1)),
        ("[:, 1:3, ::7]", (2, 3, 30, 1)),
        ("[..., 0]", (5, 20, 30)),
        ("[:, ..., -1:, 0]", (5, 20, 1)),
    ],
)
def test_parts_of_a_tensor_have_the_shape_that_numpy_gives_them(part, shape):
    report = inspect_graph(read_code(f"x = Input((5, 20, 30, 1))\nx = x{part}", "m"))
    assert eval(f"np.zeros((4, 5, 20, 30, 1)){part}", {"np": np}).shape[1:] == shape
    assert report.output[1:] == shape
