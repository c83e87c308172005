"""Random models of mixed layers: as Keras code, and the shapes and parameters Keras gives them."""

import random

from keras import layers

REFUSED = (ValueError, RuntimeError, TypeError, IndexError, ZeroDivisionError, AssertionError)
"""What Keras and its backend raise for layers that do not fit."""

LARGEST_SIDE = 5000


def call(kind, **words):
    """A layer as code: `layers.Conv2D(filters=3, kernel_size=2)`."""
    return f"layers.{kind}({', '.join(f'{name}={value!r}' for name, value in words.items())})"


class Draw(random.Random):
    """Random arguments of layers over n axes."""

    def often(self, share):
        return self.random() < share

    def sizes(self, n):
        return self.choice([self.randint(1, 3), tuple(self.randint(1, 3) for _ in range(n))])

    def pairs(self, n):
        pairs = [(self.randint(0, 2), self.randint(0, 2)) for _ in range(n)]
        return self.choice([1, pairs[0] if n == 1 else tuple(pairs)])

    def kernel(self, n, name="kernel_size", *, dilates=True):
        words = {name: self.sizes(n), "padding": self.choice(["same", "valid"])}
        extra = self.randrange(4)
        if extra == 0:
            words["strides"] = self.sizes(n)
        elif extra == 1 and dilates:
            words["dilation_rate"] = self.sizes(n)
        if self.often(0.2):
            words["data_format"] = "channels_first"
        return words


def candidates(draw, shape):
    """Layers that may fit a tensor of this shape, the batch included, as code."""
    rank, filters = len(shape), draw.randint(1, 6)
    dims = draw.sample(range(1, rank), rank - 1)
    found = [
        call("BatchNormalization", **draw.choice([{}, {"scale": False}, {"axis": 1}])),
        call("LayerNormalization", **draw.choice([{}, {"center": False}])),
        call(*draw.choice([("PReLU",), ("LeakyReLU",), ("Flatten",)])),
        draw.choice([call("Dropout", rate=0.3), call("Activation", activation="relu")]),
        call("Dense", units=filters, use_bias=draw.often(0.5)),
        call("Permute", dims=tuple(dims)),
    ]
    if rank == 2:
        found.append(call("RepeatVector", n=draw.randint(2, 5)))
        target = draw.choice([(1, -1), (-1, 1), (1, 1, -1), (1, -1, 1, 1)])
        found.append(call("Reshape", target_shape=target))
    if rank == 3:
        found += series(draw, filters)
    if 3 <= rank <= 5:
        found += frames(draw, rank - 2, filters)
    if 4 <= rank <= 6:
        found += videos(draw, rank - 3, filters)
    return found


def series(draw, filters):
    sequences = {"units": filters, "return_sequences": draw.often(0.6)}
    kinds = [call(kind, **sequences) for kind in ("LSTM", "GRU", "SimpleRNN")]
    mode = draw.choice(["concat", "sum", "ave"])
    both = f"layers.Bidirectional({call('LSTM', **sequences)}, merge_mode={mode!r})"
    return [*kinds, both, f"layers.TimeDistributed({call('Dense', units=filters)})"]


def frames(draw, n, filters):
    convolution = draw.kernel(n)
    if n == 1 and "data_format" not in convolution and draw.often(0.3):
        convolution["padding"] = "causal"
    how = draw.choice(["Max", "Average"])
    found = [
        call(f"Conv{n}D", filters=filters, **convolution),
        call(f"Conv{n}DTranspose", filters=filters, **draw.kernel(n, dilates=False)),
        call(f"{how}Pooling{n}D", **draw.kernel(n, "pool_size", dilates=False)),
        call(f"Global{how}Pooling{n}D", keepdims=draw.often(0.5)),
        call(f"UpSampling{n}D", size=draw.randint(1, 2) if n == 1 else draw.sizes(n)),
        call(f"ZeroPadding{n}D", padding=draw.pairs(n)),
        call(f"Cropping{n}D", cropping=draw.pairs(n)),
        call(f"SpatialDropout{n}D", rate=0.2),
    ]
    if n < 3:
        words = draw.kernel(n, dilates=False)
        if isinstance(words.get("strides"), tuple):
            words["strides"] = words["strides"][0]
        found.append(call(f"DepthwiseConv{n}D", **words, depth_multiplier=draw.randint(1, 2)))
        found.append(call(f"SeparableConv{n}D", filters=filters, **words))
    return found


def videos(draw, n, filters):
    lstm = call(
        f"ConvLSTM{n}D",
        filters=filters,
        **draw.kernel(n),
        return_sequences=draw.often(0.7),
        use_bias=draw.often(0.8),
    )
    mode = draw.choice(["concat", "sum", "mul"])
    inner = draw.choice(
        [
            call(f"Conv{n}D", filters=filters, **draw.kernel(n)),
            call(f"MaxPooling{n}D", pool_size=2),
            call("Flatten"),
        ]
    )
    wrapped = f"layers.Bidirectional({lstm}, merge_mode={mode!r})"
    return [*[lstm] * 5, wrapped, *[f"layers.TimeDistributed({inner})"] * 2]


def random_model(seed):
    """Code of a functional model, and (shape, parameters) of each layer as Keras built it."""
    draw = Draw(seed)
    shape = tuple(draw.randint(4, 8) for _ in range(draw.choice([1, 2, 3, 4, 4, 4, 5])))
    lines = ["from keras import layers", f"x = layers.Input(shape={shape!r})"]
    x, built = layers.Input(shape=shape), []
    for _ in range(draw.randint(2, 6)):
        text = draw.choice(candidates(draw, x.shape))
        try:
            layer = eval(text)
            y = layer(x)
        except REFUSED:
            continue
        if not all(size is None or 1 <= size <= LARGEST_SIDE for size in y.shape):
            continue
        lines.append(f"y = {text}(x)")
        built.append((tuple(y.shape), layer.count_params()))
        if y.shape == x.shape and draw.often(0.3):
            lines.append("y = layers.Concatenate()([x, y])")
            y = layers.Concatenate()([x, y])
            built.append((tuple(y.shape), 0))
        lines.append("x = y")
        x = y
    return "\n".join(lines) + "\n", built
