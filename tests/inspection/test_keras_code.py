"""Keras code is followed without running it; what cannot be followed is named with its line."""

import json
import math
import random
import re
import textwrap

import keras
import pytest

from framecast.errors import UsageError
from framecast.inspection.keras_code import read_code
from framecast.inspection.keras_signatures import NEUTRAL
from framecast.inspection.model_report import table
from framecast.inspection.model_source import read_configuration
from framecast.inspection.model_walk import inspect_graph

DOCUMENTATION = """
# Construct the input layer with no definite frame size.
inp = layers.Input(shape=(None, *x_train.shape[2:]))

# We will construct 3 `ConvLSTM2D` layers with batch normalization,
# followed by a `Conv3D` layer for the spatiotemporal outputs.
x = layers.ConvLSTM2D(
    filters=64,
    kernel_size=(5, 5),
    padding="same",
    return_sequences=True,
    activation="relu",
)(inp)
x = layers.BatchNormalization()(x)
x = layers.ConvLSTM2D(
    filters=64,
    kernel_size=(3, 3),
    padding="same",
    return_sequences=True,
    activation="relu",
)(x)
x = layers.BatchNormalization()(x)
x = layers.ConvLSTM2D(
    filters=64,
    kernel_size=(1, 1),
    padding="same",
    return_sequences=True,
    activation="relu",
)(x)
x = layers.Conv3D(
    filters=1, kernel_size=(3, 3, 3), activation="sigmoid", padding="same"
)(x)

# Next, we will build the complete model and compile it.
model = keras.models.Model(inp, x)
model.compile(
    loss=keras.losses.binary_crossentropy,
    optimizer=keras.optimizers.Adam(),
)
"""
"""Next-Frame Video Prediction with Convolutional LSTMs, keras.io/examples/vision/conv_lstm."""

PARAMETERS = 416_256 + 256 + 295_168 + 256 + 33_024 + 1_729
"""Of that model on grey frames, as Keras' own summary counts them."""


def look(code, fed=None):
    return inspect_graph(read_code(textwrap.dedent(code), "model.py"), fed)


def shapes(report):
    return [tuple(map(str, line.output)) for line in report.lines]


def test_the_example_of_keras_documentation_is_followed_as_pasted():
    report = look(DOCUMENTATION)
    assert report.works
    assert str(report.parameters) == f"6400*channels + {PARAMETERS - 6400}"
    assert shapes(report)[-1] == ("B", "T", "H", "W", "1")
    assert "x_train.shape[2:] is not known here" in report.notes[0]
    fed = look(DOCUMENTATION, (8, 19, 64, 64, 1))
    assert (fed.output, fed.parameters) == ((8, 19, 64, 64, 1), PARAMETERS)
    assert fed.notes == ()


def test_unknown_sizes_stay_symbols_in_the_arithmetic():
    report = look("""
        model = Sequential([
            Input((None, None, None, 3)),
            ConvLSTM2D(8, 3, strides=2, padding="same", return_sequences=True),
            TimeDistributed(MaxPooling2D(padding="same")),
            ConvLSTM2D(4, 3),
            Conv2DTranspose(2, 2, strides=2),
            GlobalAveragePooling2D(),
        ])
    """)
    assert shapes(report)[1:] == [
        ("B", "T", "ceil(H/2)", "ceil(W/2)", "8"),
        ("B", "T", "ceil(H/4)", "ceil(W/4)", "8"),
        ("B", "ceil(H/4) - 2", "ceil(W/4) - 2", "4"),
        ("B", "2*ceil(H/4) - 4", "2*ceil(W/4) - 4", "2"),
        ("B", "2"),
    ]


@pytest.mark.parametrize(
    "code",
    [
        """
        model = Sequential()
        for filters in [4, 8]:
            model.add(ConvLSTM2D(filters, 3, return_sequences=True, input_shape=(5, 20, 30, 1)))
        """,
        """
        SIDE, widths = 20, (4, 8)
        def build(side=SIDE, *, steps=5):
            x = inputs = keras.Input((steps, side, side + 10, 1))
            for number in range(len(widths)):
                if number > 5:
                    continue
                x = block(x, widths[number])
            return keras.Model(inputs=inputs, outputs=x)
        def block(x, filters):
            return tf.keras.layers.ConvLSTM2D(filters, (3, 3), return_sequences=True)(x)
        if __name__ == "__main__":
            model = build()
        """,
        """
        from keras.layers import ConvLSTM2D as Recurrent
        stack = [Recurrent(width, 3, return_sequences=True) for width in (4, 8)]
        model = Sequential(layers=[Input(batch_shape=(None, 5, 20, 30, 1))] + stack, **options)
        """,
        """
        x, filters = Input((5, 20, 30, 1)), 4
        while True:
            x = ConvLSTM2D(filters, 3, return_sequences=True)(x)
            filters *= 2
            if filters > 8:
                break
        """,
        """
        x, filters = Input((5, 20, 30, 1)), 4
        while filters < 9:
            x = ConvLSTM2D(filters, 3, **({"strides": 1} | {"return_sequences": True}))(x)
            filters *= 2
        """,
        """
        >>> settings = dict(filters=4, kernel_size=3, return_sequences=True)
        >>> model = keras.Sequential(
        ...     [layers.InputLayer(shape=(5, 20, 30, 1)),
        ...      layers.ConvLSTM2D(**settings)])
        >>> model.add(layers.ConvLSTM2D(2 ** 3, 3, return_sequences=True))
        """,
        """
        ```python
        %matplotlib inline
        !pip install keras
        with strategy.scope():
            first = ConvLSTM2D(4, 3, **{"return_sequences": True})
            last = ConvLSTM2D(filters=8, kernel_size=3, return_sequences=not False)
            given = Input(shape=(5, 20, 30, 1))
            features = Model(given, first(given))
            seen = Input(shape=(5, 20, 30, 1))
            model = Model(seen, last(features(seen)))
        ```
        """,
        """
        def layer(width, /, *sizes, steps=5, **settings):
            return ConvLSTM2D(width, *sizes, **settings)
        x = Input((5, 20, 30, 1))
        for width in (4, 8, 16):
            if width > 8:
                break
            side = 1
            side += 2
            x = layer(width, side, return_sequences=True)(sequences=x)
        """,
        """
        def create_model(input_shape):
            model = Sequential()
            model.add(Input((5, 20, 30, 1)))
            model.add(ConvLSTM2D(4, 3, return_sequences=True, activation=tf.nn.tanh))
            model.add(ConvLSTM2D(8, 3, return_sequences=True, kernel_regularizer=l2(0.01)))
            model.compile(loss="mse")
            return model
        """,
    ],
    ids=[
        "loop",
        "functions",
        "comprehension",
        "break",
        "while",
        "prompts",
        "nested",
        "unpacked",
        "uncalled",
    ],
)
def test_ways_to_write_the_same_model(code):
    report = look(code)
    assert report.works, [str(finding) for finding in report.findings]
    assert report.output[1:] == (5, 16, 26, 8)
    assert report.parameters == 4 * 4 * (9 * (1 + 4) + 1) + 4 * 8 * (9 * (4 + 8) + 1)


@pytest.mark.parametrize(
    "code",
    [
        """
        cnn = Sequential()
        cnn.add(Conv2D(4, 3, padding="same", input_shape=(20, 30, 1)))
        cnn.add(MaxPooling2D())
        cnn.add(Flatten())
        model = Sequential()
        model.add(TimeDistributed(cnn, input_shape=(5, 20, 30, 1)))
        model.add(LSTM(6))
        """,
        """
        frame = Input((20, 30, 1))
        cnn = Model(frame, Flatten()(MaxPooling2D()(Conv2D(4, 3, padding="same")(frame))))
        model = Sequential([Input((5, 20, 30, 1)), TimeDistributed(layer=cnn), LSTM(6)])
        """,
        """
        cnn = Sequential([Conv2D(4, 3, padding="same"), Sequential([MaxPooling2D(), Flatten()])])
        frames = Input((5, 20, 30, 1))
        model = Model(frames, LSTM(6)(TimeDistributed(cnn)(frames)))
        """,
    ],
    ids=["added to", "functional", "nested"],
)
def test_a_model_is_applied_to_every_frame_layer_by_layer(code):
    report = look(code)
    assert report.works, [str(finding) for finding in report.findings]
    names = [line.node.name for line in report.lines if line.node.kind != "InputLayer"]
    inside = [f"time_distributed/{name}" for name in ("conv2d", "max_pooling2d", "flatten")]
    assert names == [*inside, "lstm"]
    assert shapes(report)[-2:] == [("B", "5", "600"), ("B", "6")]
    assert report.parameters == (9 + 1) * 4 + 4 * 6 * (600 + 6 + 1)
    assert report.notes == ()


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [("ConvLSTM2D(3, 2, padding='same'", (5, 9, 8, 1), 2), ("GRU(3", (5, 4), 1)],
)
def test_all_states_are_taken_by_a_star(layer, shape, count):
    layer += ", return_sequences=True"
    code = f"x, *states = {layer}, return_state=True)(Input({shape}))"
    report = look(f"{code}\ny = {layer})(x, initial_state=states)")
    assert report.works and len(report.lines[-1].node.states) == count


@pytest.mark.parametrize(
    "filters",
    [
        "-(-8)", "given or 8", "0 or 0.0 or 8", "4 and 8", "8 if given is None else 3",
        "8 if not width < 4 else 3", "8 if 4 >= width else 3", "(3, 8)[-1]", "[4, 8, 5][1:][0]",
        "[width * k for k in range(3)][2]", "{'a': 8}['a']", "len('framecas')", "max(3, width + 4)",
        "[w for w in (3, 4, 8) if w > width][0]", "{'a': 8}.get('a')", "{}.get('a', 8)",
        "[w for _, w in {'a': 8}.items()][0]", "[*{'a': 8}.values()][0]", "17 // 2", "2 ** 3",
        "sum(k for k in (3, 5))", "[9, 8].pop()", "{'a': 8}.pop('a')", "[3, 8].index(8) + 7",
        "math.ceil(7.5)", "math.prod((2, 4))", "2 ** int(math.log2(9))",
        "({'a': 3} | {'a': 8})['a']", "sorted([8, 3])[1]", "8 if any([0, width]) else 3",
        "8 if 'b' not in 'a' and 3 in (3, 4) else 3",
        "int(8.5)", "8 if width == 4 and given is None else 3", "(*[3], 8)[1]", "+8", "round(8.4)",
        "[n for n, _ in enumerate((3, 5), start=7)][1]", "sorted([3, 8], reverse=True)[0]",
        "min([], default=8)", "max({3, 8})", "{'conv_8': 8}['conv_%d' % (2 * width)]",
    ],
)  # fmt: skip
def test_expressions_have_the_values_that_python_gives_them(filters):
    code = f"given, width = None, 4\nx = Input((5, 20, 30, 1))\nx = ConvLSTM2D({filters}, 3)(x)"
    assert eval(filters, {"given": None, "width": 4, "math": math}) == 8
    assert look(code).output[1:] == (18, 28, 8)


@pytest.mark.parametrize(
    "code",
    [
        """
def block(filters):
    def apply(x):
        return Conv2D(filters, 3)(x)
    return apply
x = block(8)(x)
""",
        """
filters = 8
def block(x, kernel=filters - 5):
    return Conv2D(filters, kernel)(x)
def build(filters=4):
    return block(x)
build()
""",
        """
if kind not in known():
    raise ValueError(kind)
else:
    x = Conv2D(8, 3)(x)
""",
        "make = lambda width, k=3: Conv2D(width, k)\nx = make(8)(x)",
        "make = partial(Conv2D, kernel_size=3)\nx = make(8)(x)",
        "make = partial(Conv2D, 8)\nx = make(kernel_size=3)(x)",
        "x = Lambda(lambda t: t[:, 1:-1, 1:-1] + 1)(x)\nx = Conv2D(8, 1)(x)",
        "model = Sequential([Input((20, 30, 1)), Lambda(lambda t: t), Conv2D(8, 3)])",
        "model = Sequential()\nmodel.add(layer=Input((20, 30, 1)))\nmodel.add(layer=Conv2D(8, 3))",
        "settings = {'kernel_size': 3}\nx = Conv2D(**{**settings, 'filters': 8})(x)",
        "x = Conv2D((width := 8), 3)(x)\nx = Conv2D(width, 1)(x)",
        "x = Conv2D(8 if 1 < 3 <= 4 else 5, 4 if 3 < 1 < 4 else 3)(x)",
        "sizes = {name: size for name, size in zip('ab', (4, 8))}\nx = Conv2D(sizes['b'], 3)(x)",
        "x = Sequential([layer for width in (4, 8) for layer in (Conv2D(width, 2), ReLU())])(x)",
        "x = Conv2D(8, 3, padding='VALID'.lower())(x)",
        "x = Conv2D(8, 3, name='a%d'\n% 3)(x)\nx = Conv2D(8 if 3\n!= 4 else 3, 1)(x)",
        "clips = np.zeros((9, 20, 30, 1))\nx = Conv2D(8, 3)(Input(clips.shape[1:]))",
        "_, *sizes = np.random.rand(9, 20, 30, 1).shape\nx = Conv2D(8, 3)(Input(sizes))",
        "x = squeeze(expand_dims(x, axis=1), axis=1)\nx = Conv2D(8, 3)(x)",
        "x = squeeze(expand_dims(x, -3), -3)\nx = Conv2D(8, 3)(x)",
        "given = SimpleNamespace(width=4)\ngiven.width *= 2\nx = Conv2D(given.width, 3)(x)",
        """
class Settings:
    width = 8
    kernel = (3, 3)
x = Conv2D(Settings.width, Settings.kernel)(x)
""",
        """
@dataclass
class Settings:
    width: int = 4
    kernel: int = 3
settings = Settings(width=8)
x = Conv2D(settings.width, settings.kernel)(x)
""",
        """
@dataclass
class Sizes:
    kernel: int
    width: int = 4
sizes = Sizes(3, 8)
x = Conv2D(sizes.width, sizes.kernel)(x)
""",
        "sizes = namedtuple('Sizes', 'kernel, width')(3, width=8)\n"
        "x = Conv2D(sizes.width, sizes.kernel)(x)",
        """
class Wide:
    def __init__(self, width):
        self.width = width
    @property
    def double(self):
        return 2 * self.width
    @staticmethod
    def kernel():
        return 3
    @classmethod
    def small(cls):
        return cls(4)
x = Conv2D(Wide.small().double, Wide.kernel())(x)
""",
        """
class Part:
    def __init__(self, width):
        self.layer = Conv2D(width, 2)
    def __call__(self, x):
        return ReLU()(self.layer(x))
class Twice(Part):
    def __init__(self):
        super().__init__(8)
        self.last = Conv2D(8, 2)
    def __call__(self, x):
        return self.last(super().__call__(x))
x = Twice()(x)
""",
        """
class Net(keras.Model):
    def __init__(self, width=8):
        super().__init__()
        self.layers_ = [Conv2D(width, 2), Conv2D(width, 2)]
    def call(self, x, training=False):
        for layer in self.layers_:
            x = layer(x)
        return Dropout(0.5)(x) if training else x
x = Net()(x)
""",
    ],
)
def test_functions_classes_and_comprehensions_are_followed(code):
    report = look(f"x = Input((20, 30, 1))\n{code}")
    assert report.output[1:] == (18, 28, 8)
    assert not report.notes and report.works


def test_an_object_whose_method_is_called_is_made_once():
    report = look("""
        class Encoder:
            def __init__(self, x):
                self.x = Conv2D(8, 2)(x)
            def deepen(self):
                return Conv2D(3, 2)(self.x)
        x = Encoder(Input((20, 30, 1))).deepen()
    """)
    assert [line.output[1:] for line in report.lines] == [(20, 30, 1), (19, 29, 8), (18, 28, 3)]


@pytest.mark.parametrize(
    "part",
    ["layers[0].output", "get_layer('a').output", "get_layer(index=0).output", "outputs[1]"],
)
def test_a_model_may_begin_with_a_part_of_another(part):
    report = look(f"""
        base = Sequential([Input((20, 30, 1)), Conv2D(8, 3, name='a'), Conv2D(9, 3)])
        if {"outputs" in part}:
            given = Input((20, 30, 1))
            base = Model(given, [ReLU()(given), Conv2D(8, 3)(given)])
        x = ReLU()(ReLU()(base.{part}))
        model = Model(base.inputs, Conv2D(2, 1)(x))
    """)
    assert report.output[1:] == (18, 28, 2)
    assert report.parameters == 80 + 18


NET = """
class Net(keras.Model):
    def __init__(self, width=4):
        super().__init__()
        self.first = ConvLSTM2D(width, 3, return_sequences=True)
        self.last = Conv2D(2, 1)
    def call(self, x):
        return self.last(self.first(x)[:, -1])
"""


@pytest.mark.parametrize(
    ("used", "output"),
    [
        ("model = Net()\nmodel.build((None, 5, 20, 30, 1))", ("18", "28", "2")),
        ("model = Net()\nmodel.build(input_shape=(None, 5, 20, 30, 1))", ("18", "28", "2")),
        ("model = Net()\nmodel.compile('adam')", ("H - 2", "W - 2", "2")),
        ("", ("H - 2", "W - 2", "2")),
    ],
)
def test_a_subclassed_model_is_followed_with_its_shape_or_an_open_one(used, output):
    report = look(NET + used)
    assert tuple(map(str, report.output[1:])) == output
    assert str(report.parameters) == ("746" if "build" in used else "144*channels + 602")


@pytest.mark.parametrize("shape", ["(None, 9, 8, 2)", "input_shape=(None, 9, 8, 2)"])
def test_a_sequential_may_be_given_its_shape_when_it_is_built(shape):
    report = look(f"model = Sequential([Conv2D(4, 3), ReLU()])\nmodel.build({shape})")
    assert (report.output[1:], report.parameters, report.notes) == ((7, 6, 4), 76, ())


def test_methods_that_build_a_model_are_followed_though_never_called():
    report = look("""
        class Maker:
            def __init__(self, width=4):
                self.width = width
            def make(self):
                return Sequential([Input((5, 20, 30, 1)), ConvLSTM2D(self.width, 3)])
    """)
    assert report.output[1:] == (18, 28, 4)


@pytest.mark.parametrize(
    "freeze",
    [
        "",
        "first.trainable = False",
        "base.trainable = False\nlast.trainable = True",
        "for layer in base.layers[:1]: layer.trainable = False",
    ],
)
def test_weights_that_are_not_trained_are_counted_as_in_keras(freeze):
    report = look(
        f"first, last = Conv2D(8, 3, trainable={bool(freeze)}), Conv2D(4, 3)\n"
        f"base = Sequential([Input((20, 30, 1)), first, last])\n{freeze}\n"
        "model = Sequential([base, TimeDistributed(Dense(2, trainable=False))])"
    )
    assert report.parameters == 80 + 292 + 10
    assert report.frozen == 80 + 10
    assert report.notes == ()


@pytest.mark.parametrize(
    ("layer", "frozen"),
    [
        ("ConvLSTM2D(2, 3, trainable=False)", False),
        ("Bidirectional(ConvLSTM2D(2, 3), trainable=False)", False),
        ("TimeDistributed(Conv2D(2, 3), trainable=False)", False),
        ("TimeDistributed(Conv2D(2, 3, trainable=False))", True),
        ("Conv3D(2, 3, trainable=False)", True),
    ],
)
def test_trainable_in_a_call_reaches_the_weights_that_keras_lets_it_reach(layer, frozen):
    """Compared with Keras' own count, from the code and from a saved file's configuration."""
    names = ("Bidirectional", "Conv2D", "Conv3D", "ConvLSTM2D", "TimeDistributed")
    made = eval(layer, {name: getattr(keras.layers, name) for name in names})
    model = keras.Sequential([keras.Input((4, 8, 8, 3)), made])
    trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert (trained == 0) == frozen
    report = look(f"Sequential([Input((4, 8, 8, 3)), {layer}])")
    assert report.parameters - report.frozen == trained
    assert [finding.what.startswith("has trainable=False") for finding in report.findings] == (
        [] if frozen else [True]
    )
    graph = read_configuration(json.loads(model.to_json()), "m")
    report = inspect_graph(graph)
    assert report.parameters - report.frozen == trained


@pytest.mark.parametrize(
    "changes",
    [
        "sizes['a'] = 8", "sizes['a'] *= 2", "sizes.update(a=8)", "sizes.update({'b': 3}, a=8)",
        "sizes.clear(), sizes.setdefault('a', 8)", "other = sizes; other['a'] = 8",
        "first, *others, last = 3, 8, 4; sizes['a'] = 2 * last if others == [8] else first",
        "widths[0] = 8; sizes['a'] = widths[0]", "widths[0:1] = [8]; sizes['a'] = widths[0]",
        "widths.insert(0, 8); sizes['a'], *rest = widths", "del widths[0]; sizes['a'] = widths[0]",
        "widths.reverse(); sizes['a'] = widths[0]", "sizes['a'], widths[0] = widths[1], 3",
        "widths.sort(reverse=True); sizes['a'] = widths[0]", "read()['a'] = 3; sizes['a'] = 8",
        "widths.extend(range(600)); sizes['a'] = len(widths) - 594",
        "other = widths; other += [8]; sizes['a'] = widths[2]",
        "for side in widths: sizes['a'] = 3\nelse: sizes['a'] = 8",
        "def change(given):\n    given['a'] = 8\nchange(sizes)",
        "side = 8; found = [side for side in widths[:1]]; sizes['a'] = side",
    ],
)  # fmt: skip
def test_lists_and_dictionaries_change_as_in_python(changes):
    code = f"sizes, widths = {{'a': 4}}, [4, 8]\n{changes}\n"
    exec(code, found := {"read": dict})
    assert found["sizes"]["a"] == 8
    report = look(f"{code}x = Conv2D(sizes['a'], 3)(Input((20, 30, 1)))")
    assert report.output[1:] == (18, 28, 8) and not report.notes


@pytest.mark.parametrize(
    ("merged", "shape"),
    [
        ("layers.add([x, y])", (9, 8, 4)),
        ("layers.concatenate([x, y], axis=1)", (18, 8, 4)),
        ("layers.concatenate(axis=2, inputs=[x, y])", (9, 16, 4)),
        ("keras.ops.concatenate((x, y), 1)", (18, 8, 4)),
        ("keras.ops.maximum(x, y)", (9, 8, 4)),
        ("keras.ops.multiply(x1=x, x2=y)", (9, 8, 4)),
        ("keras.ops.add(layers.Conv2D(3, 3)(x), 2.0)", (7, 6, 3)),
    ],
)
def test_functions_merge_tensors_as_in_keras(merged, shape):
    code = f"x = keras.Input((9, 8, 4))\ny = layers.Conv2D(4, 1)(x)\nz = {merged}"
    exec(code, found := {"keras": keras, "layers": keras.layers})
    report = look(code)
    assert report.output[1:] == shape == found["z"].shape[1:]
    assert report.works and not report.notes


@pytest.mark.parametrize(
    "code",
    [
        "def widen():\n    global width\n    width += 4\nwiden()",
        "def twice(): widen(), widen()\ndef widen():\n    global width\n    width += 2\ntwice()",
        """
def count():
    made = 4
    def add():
        nonlocal made
        made += 4
    add()
    return made
width = count()
""",
        "def other():\n    width = 9\nother()\nwidth = 2 * width",
        "match 'wide':\n    case 'flat': width = 3\n    case 'deep' | 'wide': width = 8",
        "match width:\n    case 3: width = 5\n    case other: width = 2 * other",
        "match width:\n    case n if n > 5: width = 3\n    case int() | _: width = 8",
        "match None:\n    case None: width = 8\n    case _: width = 3",
        "match width:\n    case 3: width = 9\nwidth += 4",
        "for _ in range(499): width += 1\nwidth -= 495",
    ],
)
def test_names_are_set_where_python_sets_them(code):
    code = f"width = 4\n{code}\n"
    exec(code, found := {})
    assert found["width"] == 8
    report = look(f"{code}x = Conv2D(width, 3)(Input((20, 30, 1)))")
    assert report.output[1:] == (18, 28, 8)


@pytest.mark.parametrize(
    "loop",
    [
        "for _ in range(501): width += 1",
        "for _ in range(501): sizes[0] += 1",
        "for _ in range(501): more.append(1)",
        "for each in load(): width = each",
        "while load(): width, depth = 1, 2",
        "for i in range(999):\n    for j in range(999): width += 1",
    ],
)
def test_what_a_loop_counts_is_unknown_where_it_is_not_followed_to_its_end(loop):
    made = f"width, sizes, more = 4, [4], [1, 2]\n{loop}\nx = Input((20, 30, 1))\n"
    for name, value in {"width": "width", "sizes[0]": "sizes", "len(more)": "more"}.items():
        report = look(f"{made}x = Conv2D({name}, 3)(x)")
        changed = value in loop
        shown = name if value != name else f"{value} after line 2"
        assert report.works
        assert (str(report.output[-1]) == shown) == changed
        assert isinstance(report.output[-1], int) != changed


def test_what_a_loop_only_reads_stays_known_after_it():
    report = look("""
        from keras.layers import Conv2D as Conv
        x, sizes, given = Input((20, 30, 1)), [4, 8], {"width": 5}
        for _ in load():
            x = Conv(sizes[0] + given.get("width"), 3)(x)
        x = Conv(sizes[-1], given["width"])(x)
    """)
    assert report.output[1:] == (14, 24, 8)


def test_layers_of_a_loop_over_unknown_sizes_stay_with_a_note():
    report = look("""
        parts, depth = [Input((20, 30, 1))], 1
        for width in load():
            parts.append(Conv2D(width, 3))
            depth += 1
        model = Sequential(parts + [Dense(depth)])
    """)
    assert [str(size) for size in report.output[1:]] == ["18", "28", "depth after line 3"]
    assert report.notes == ("line 3: the loop over load() is followed only once",)


@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("x = keras.ops.average(x, axis=1)", "line 3: average is not followed"),
        ("x = tf.concat(values=[x, x], axis=1)", "line 3: concat is not followed"),
        ("sizes = {}\nsizes.update(read())", "line 4: sizes.update(read()) is not followed"),
        (
            "sizes = []\nsizes.extend(range(10**12))",
            "sizes.extend(range(10 ** 12)) is not followed",
        ),
        ("sizes = []\nsizes[pick()] = 3", "line 4: the change of sizes[pick()] is not followed"),
        ("x = Lambda(last)(x)", "line 3: Lambda is not followed"),
        ("y = Model(x, read().output)", "line 3: outputs=read().output is not followed"),
        ("x = ConvLSTM2D(3, **{**more, 'strides': 2})(x)", "line 3: ConvLSTM2D(3, **{**more, 'st"),
        ("x = ConvLSTM2D(3, **{read(): 2})(x)", "line 3: ConvLSTM2D(3, **{read(): 2}) is not foll"),
        (
            "class Scale(Layer):\n    def build(self, s):\n        self.w = self.add_weight(s)\n"
            "    def call(self, x):\n        return x * self.w\nx = Scale()(x)",
            "line 3: class Scale is subclassed code, whose call is not followed",
        ),
        (
            "x = TimeDistributed(VGG16(weights=None))(x)",
            "line 3: TimeDistributed of VGG16(weights=None) is not followed",
        ),
        (
            "x = Bidirectional(LSTM(3), backward_layer=backwards)(x)",
            "line 3: Bidirectional of backwards is not followed",
        ),
        ("x = tf.reduce_mean(x, axis=1, keepdims=True)", "line 3: reduce_mean is not followed"),
        ("x = tf.reduce_mean(x, [1, 2])", "line 3: reduce_mean is not followed"),
        ("x = x[:, step()]", "line 3: [:, step()] is not followed"),
        ("x = ConvLSTM2D(3, 2, strides=pick())(x)", "line 3: strides=pick() is not followed"),
        ("if deep:\n    x = ConvLSTM2D(3, 2)(x)", "line 3: deep is unknown"),
        ("while deep:\n    x = ConvLSTM2D(3, 2)(x)", "line 3: the while loop is not followed"),
        (
            "side = 9\nwhile side > 3:\n    x, side = BatchNormalization()(x), half(side)",
            "line 4: the while loop is not followed any further",
        ),
        (
            "x = Conv2D(3, side())(x)",
            "line 3: kernel_size=side() is not followed; the shape of the ",
        ),
        (
            "x = Conv2D(3, (3, side()))(x)",
            "line 3: kernel_size=(3, side()) is not followed",
        ),
        ("x = x / Conv3D(4, 1)(x)", "line 3: x / Conv3D(4, 1)(x) is not followed"),
        (
            "Sequential([Input((9,)), norm, Dense(3)])",
            "norm is not followed, so the shapes after it",
        ),
        ("Sequential([Input((9,)), *more, Dense(3)])", "*more is not followed, so the shapes"),
        ("x = TimeDistributed(Conv2D(3, side()))(x)", "line 3: kernel_size=side() is not followed"),
        (
            "x = Conv2D(3, 3)(ConvLSTM2D(3, 2, return_sequences=all())(x))",
            "line 3: return_sequences=all() is not followed; the shape of the output is unknown",
        ),
        (
            "x = Conv3DTranspose(3, 2, strides=2, output_padding=[more, 1, 1])(x)",
            "line 3: output_padding=(more, 1, 1) is not followed; the shape of the",
        ),
        ("x = GroupNormalization(read())(x)", "line 3: groups=read() is not followed; the shape"),
        ("x = ConvLSTM2D(*sizes)(x)", "line 3: ConvLSTM2D(*sizes) is not followed"),
        ("x = ConvLSTM2D(3, **sizes)(x)", "line 3: ConvLSTM2D(3, **sizes) is not followed"),
        ("x = ConvLSTM2D(3, 2, **more)(x)", "line 3: ConvLSTM2D(3, 2, **more) is not followed"),
        ("class Net(keras.Model):\n    pass", "line 3: class Net is subclassed code"),
        (
            "match kind:\n    case 'a':\n        x = ConvLSTM2D(3, 2)(x)",
            "line 4: match kind: case 'a' is unknown; taken as true",
        ),
        (
            "match (1, 2):\n    case (1, 3):\n        x = ConvLSTM2D(3, 2)(x)",
            "line 4: match (1, 2): case [1, 3] is unknown; taken as true",
        ),
    ],
)
def test_what_cannot_be_followed_is_named_with_its_line(code, note):
    report = look(
        f"x = Input((5, 20, 30, 1))\nx = ConvLSTM2D(4, 3, return_sequences=True)(x)\n{code}"
    )
    assert note in " ".join(report.notes)
    assert report.works


def test_a_tensor_with_a_sign_or_a_number_keeps_its_shape():
    report = look(
        "x = Input((5, 20, 30, 1))\nx = ConvLSTM2D(4, 3)(-x)\nx = Conv2D(2, 3)(1 - x / 2)"
    )
    assert shapes(report)[1:] == [("B", "18", "28", "4"), ("B", "16", "26", "2")]
    assert not report.notes


@pytest.mark.parametrize(
    "code",
    [
        "y = Conv2D(2 * K.int_shape(x)[-1], 3)(x)",
        "y = Conv2D(x.shape[3] if x.shape[-1] != 2 else 4, 3)(x)",
        "y = Reshape((7, 6, tf.shape(x)[1] - 5))(Dense(7 * 6 * 4)(Flatten()(x)))",
        "x = Conv2D(4, 3)(x)\ny = Reshape((-1, 4))(x)\ny = Reshape((7, 6, x.shape[-1]))(y)",
    ],
)
def test_the_shape_of_a_tensor_is_followed(code):
    report = look(f"x = Input((9, 8, 2))\n{code}")
    assert (report.findings, report.notes) == ((), ())
    assert shapes(report)[-1] == ("B", "7", "6", "4")


def test_a_comprehension_that_is_too_long_is_a_symbol_and_not_cut_short():
    report = look("x = Dense(sum(1 for k in range(600)))(Input((9,)))")
    assert str(report.output[-1]).startswith("sum(")


def test_the_shape_of_a_tensor_is_a_symbol_where_it_is_not_known():
    report = look("x = Input(size)\ny = Dense(2 * x.shape[-1])(x)\nz = Dense(3)(pool(y))")
    assert str(report.lines[1].node.arguments["units"]) == "2*x.shape[-1]"


def test_a_size_that_is_no_number_is_text_for_programs():
    report = look("x = Dense(3)(Input((4,), batch_size=lambda: 8))")
    assert json.loads(json.dumps(report.to_dict()))["layers"][-1]["outputs"] == [["lambda", 3]]


def test_groups_of_an_unknown_number_of_channels_are_no_mistake():
    report = look("x = Conv2D(width, 3)(Input((9, 8, 2)))\nx = Conv2D(6, 3, groups=2)(x)")
    assert (report.findings, report.output[1:]) == ((), (5, 4, 6))
    assert str(report.lines[-1].outcome.weights["kernel"][2]) == "(width)/(2)"


@pytest.mark.parametrize(
    ("shape", "layers", "is_none"),
    [
        ("(HEIGHT, cfg.W, C)", "Conv2D(2, 3, strides=2), Flatten(), Dense(3)", False),
        ("(9, HEIGHT, WIDTH, C)", "ConvLSTM2D(2, 3), Flatten(), Dense(3)", False),
        ("(None, 9, 3)", "Conv2D(2, 3, strides=2), Flatten(), Dense(3)", True),
        ("(None, 9, 3)", "Reshape((9, 3, -1)), Dense(3)", True),
        ("(None, 9, 3)", "PReLU()", True),
        ("(None, 9, 3)", "BatchNormalization(axis=1)", True),
        ("(None, 9, 9)", "Conv2D(2, 3, data_format='channels_first')", True),
    ],
)
def test_weights_may_have_sizes_that_are_not_known_here_but_not_none(shape, layers, is_none):
    report = look(f"model = Sequential([Input({shape}), {layers}])")
    assert is_none or report.findings == ()
    assert is_none == ("cannot make its weights" in " ".join(map(str, report.findings)))


@pytest.mark.parametrize("kind", NEUTRAL)
def test_a_first_layer_that_keeps_any_shape_has_that_of_the_next(kind):
    arguments = {"Activation": "'relu'", "Rescaling": "0.5", "GaussianNoise": "0.1"}
    rate = "0.1" if "Dropout" in kind else arguments.get(kind, "")
    report = look(f"Sequential([{kind}({rate}), ConvLSTM2D(4, 3)])")
    assert shapes(report) == [("B", "T", "H", "W", "channels"), ("B", "H - 2", "W - 2", "4")]


@pytest.mark.parametrize(
    ("words", "length"), [("input_length=10", "10"), ("input_shape=(10,)", "10"), ("", "T")]
)
def test_an_embedding_reads_words_and_not_features(words, length):
    report = look(f"Sequential([Embedding(100, 8, {words}), LSTM(3), Dense(1)])")
    assert report.works and report.parameters == 100 * 8 + 4 * 3 * (8 + 3 + 1) + 4
    assert shapes(report)[0] == ("B", length, "8")


def test_a_part_of_a_clip_without_steps_takes_no_memory():
    report = look("x = ConvLSTM2D(4, 3, return_sequences=True)(Input((5, 9, 8, 1))[:, 3:3])")
    assert (report.output[1:], report.lines[-1].elements) == ((0, 7, 6, 4), (0, 0))


def test_unknown_pixels_are_cropped_and_padded_in_symbols():
    report = look(
        "x = Cropping2D(((c, 1), (0, 2)))(ZeroPadding2D(((0, 0), (p, 0)))(Input((9, 8, 1))))"
    )
    assert (report.findings, shapes(report)[-1]) == ((), ("B", "-1*c + 8", "p + 6", "1"))
    report = look("x = ZeroPadding1D((1, p))(Input((9, 2)))")
    assert (report.findings, shapes(report)[-1]) == ((), ("B", "p + 10", "2"))


def test_a_model_with_two_outputs_is_applied_to_other_tensors():
    code = """
    given = Input((9, 8, 1))
    narrow = Conv2D(4, 3)(given)
    both = Model(given, [narrow, Conv2D(6, 5)(narrow)])
    x = Input((9, 8, 1))
    one, other = both(x)
    model = Model(x, Concatenate()([Flatten()(one), Flatten()(other)]))
    """
    report = look(code)
    assert report.output[1:] == (7 * 6 * 4 + 3 * 2 * 6,)
    assert report.parameters == 4 * 9 + 4 + 6 * 25 * 4 + 6


def test_weights_of_a_layer_that_is_called_twice_are_counted_once():
    code = """
    given = Input((9, 8, 1))
    both = Model(given, Conv2D(4, 3)(given))
    x, once, norm = Input((9, 8, 1)), Conv2D(1, 5, padding='same'), BatchNormalization()
    model = Model(x, Add()([both(norm(once(x))), both(norm(once(once(x))))]))
    """
    report = look(code)
    assert report.parameters == 4 * 9 + 4 + 25 + 1 + 4
    assert report.frozen == 2
    assert report.macs == 3 * 9 * 8 * 25 + 2 * 7 * 6 * 4 * 9


def test_a_rate_that_is_not_followed_changes_no_shape():
    report = look("x = Input((9, 8, 1))\nx = GaussianNoise(noise)(Dropout(rate)(x))")
    assert (report.output[1:], report.findings, report.notes) == ((9, 8, 1), (), ())


def test_states_go_through_lists_and_code_that_builds_nothing_makes_no_notes():
    report = look("""
        def frames(count):
            for clip in load(count):
                while clip.left:
                    clip.read()
            return numpy.stack(clip)
        data = frames(8)
        def encode(x, filters):
            states = []
            for width in filters:
                x, h, c = ConvLSTM2D(width, 3, padding="same", return_sequences=True,
                                     return_state=True)(x)
                x = TimeDistributed(MaxPooling2D())(x)
                states.append([h, c])
            return x, states
        x, states = encode(Input((10, 64, 48, 1)), (4, 8))
        for width, state in zip(reversed((4, 8)), reversed(states)):
            x = TimeDistributed(UpSampling2D())(x)
            x = ConvLSTM2D(width, 3, padding="same", return_sequences=True)(x, initial_state=state)
        out = x[:, -1] + x[:, 0]
    """)
    assert report.works, [str(finding) for finding in report.findings]
    assert report.notes == ()
    assert report.output[1:] == (64, 48, 4)


def test_code_is_never_run(tmp_path):
    trap = tmp_path / "trap"
    code = f"""
        import os, pathlib
        pathlib.Path({str(trap)!r}).write_text("run")
        open({str(trap)!r}, "w")
        exec("open({str(trap)!r}, 'w')")
        [].__class__.__base__.__subclasses__()
        width = __import__("os").system("touch {trap}")
        model = Sequential([Input((5, 20, 30, 1)), ConvLSTM2D(width, 3)])
    """
    report = look(code)
    assert not trap.exists()
    assert report.output[-1] != 0


LOOP = "for epoch in range(999):\n    for step in range(999):\n        train(step)\n"
MODEL = "model = Sequential([Input((9,)), Dense(3)])\n"
FUNCTION = f"def main():\n{textwrap.indent(MODEL + LOOP, '    ')}"


@pytest.mark.parametrize("code", [LOOP + MODEL, MODEL + LOOP, FUNCTION, f"{FUNCTION}main()"])
def test_a_loop_over_data_or_steps_of_training_does_not_hide_the_model(code):
    report = look(code)
    assert report.parameters == 30
    too_long = "this takes too long to be followed to its end"
    line = {FUNCTION: "line 1: ", f"{FUNCTION}main()": "line 6: "}.get(code)
    assert report.notes == ((line + too_long,) if line else ())


def test_code_that_builds_layers_without_end_is_refused():
    loops = "for i in range(999):\n    for j in range(999):\n        x = Dense(3)(x)"
    with pytest.raises(UsageError, match="this code cannot be followed; give the part that builds"):
        look(f"x = Input((9,))\n{loops}")


def test_numbers_and_loops_that_would_take_forever_are_cut_short():
    report = look(
        """
        n = 10 ** 10 ** 10
        m = [0] * 10 ** 12
        m.append(3, 4)
        pairs = []
        pairs.extend(range(10 ** 12))
        pairs.extend(range(10 ** 30))
        for i in range(500):
            pairs.extend(range(9999))
        {}.get([])
        model = Sequential([Input((9,))])
        for i in range(10 ** 12):
            model.add(Dense(3))
        def again(x):
            return again(Dense(2)(x))
        again(Input((3,)))
        twice = lambda x: twice(x) + twice(x)
        twice(1)
        [0 for a in range(400) for b in range(400) for c in range(400) if a > 400]
        text = "long"
        for i in range(400):
            text = f"{text}{text}"
            text = "%s%s" % (text, text)
        "%9999999999d" % 3
        round(5, -10 ** 18)
        0.5 in range(10 ** 17)
        side = 3
        for i in range(40):
            side = side ** 60
        model.add(Dense(LARGE))
    """.replace("LARGE", "9" * 400)
    )
    assert len(report.lines) <= 502
    assert "is followed for 500 turns" in " ".join(report.notes)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("model = Sequential([", r"model.py:1: not Python: .*; give a file of Python code"),
        ("x = 1\nprint 'x'", r"model.py:2: not Python: "),
        ("x = 1\0", r"model.py: (not Python|this code cannot be followed)"),
        ("import torch\nx = torch.zeros(3)", r"model.py: no Keras layers that can be followed"),
        ("class Net(keras.Model):\n    pass", r"no Keras layers .*line 1: class Net is subclassed"),
        ("", r"model.py: no Keras layers"),
        ("d = {1: 2}\nfor k in d:\n    d[k + 1] = k", r"model.py: this code cannot be followed"),
    ],
)
def test_what_is_no_model_is_refused(code, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_code(code, "model.py")


PIECES = (
    *("None", "-1", "0", "'same'", "(3,)", "[]", "{}", "x", "lambda t: t", "3.5", "True", "**k"),
    *("Input((3,))", "Dense", "Dense(3)", "10**9", "(None, 3)", "model", "*a", "x[:, ::2]"),
    *("Bidirectional(Dense(3))", "TimeDistributed(LSTM(3, return_state=True))", "Flatten()"),
)


def test_code_with_random_replacements_is_reported_or_refused_in_a_sentence():
    draw = random.Random(0)
    model = "model = Sequential([Input((10, 64, 64, 1)), {}])"
    layers = (
        "ConvLSTM2D(8, 3, strides=2, padding='same', return_sequences=True), "
        "TimeDistributed(Conv2D(4, (3, 5), dilation_rate=2)), Bidirectional(ConvLSTM2D(3, 2)), "
        "Reshape((6, -1)), Permute((2, 1)), GRU(3, return_state=True), Dense(3), LSTM(2)"
    )
    tokens = [found.span() for found in re.finditer(r"\d+|'\w+'|True|\w+|\([^()]*\)", layers)]
    for _ in range(400):
        start, end = draw.choice(tokens)
        code = model.format(layers[:start] + draw.choice(PIECES) + layers[end:])
        try:
            report = inspect_graph(read_code(code, "m"))
        except UsageError:
            continue
        assert report.works or report.findings
        assert [*table(report, verbose=True)]
        json.dumps(report.to_dict())
