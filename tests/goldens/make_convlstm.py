"""Make convlstm.json: ConvLSTM outputs worked out by nested loops in NumPy, float64.

It shares nothing with framecast or Keras: each equation of Shi et al. (2015, eq. 3) and of layer
normalisation (Ba et al., 2016, eq. 20-22) is written per gate, per place and per tap. All weights
and sizes differ, so that gates in another order or a pad on another side give other numbers.

    python tests/goldens/make_convlstm.py
"""

import json
from pathlib import Path

import numpy as np

CASES = {
    # name: (sizes H, W; kernel; strides; padding; dilation; options)
    "even_same": ((5, 6), (2, 4), (1, 1), "same", (1, 1), ()),
    "strided_same": ((7, 8), (3, 2), (2, 3), "same", (1, 1), ()),
    "dilated_valid": ((7, 8), (2, 3), (1, 1), "valid", (3, 2), ()),
    "peephole": ((4, 5), (3, 3), (1, 1), "same", (1, 1), ("peephole",)),
    "layer_norm": ((4, 5), (3, 1), (1, 1), "same", (1, 1), ("layer_norm",)),
    "one_axis": ((9,), (4,), (2,), "same", (1,), ()),
}
BATCH, STEPS, CHANNELS, FILTERS = 2, 3, 2, 3


def fill(shape, seed):
    """Unequal numbers between -1 and 1 by formula, the same on every machine."""
    size = int(np.prod(shape))
    return np.sin(np.arange(1, size + 1) * (1.7 + 0.31 * seed) + seed).reshape(shape)


def inputs_of(name):
    """Inputs (B,T,H,W,C), initial h and c (B,H',W',F), and weights in Keras' layouts, scaled."""
    sizes, kernel, strides, padding, dilation, options = CASES[name]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    out = [
        -(-(n - (s - 1 if padding == "valid" else 0)) // st)
        for n, s, st in zip(sizes, spans, strides, strict=True)
    ]
    data = {
        "x": fill((BATCH, STEPS, *sizes, CHANNELS), 1),
        "h": 0.5 * fill((BATCH, *out, FILTERS), 2),
        "c": fill((BATCH, *out, FILTERS), 3),
        "kernel": 0.4 * fill((*kernel, CHANNELS, 4 * FILTERS), 4),
        "recurrent_kernel": 0.3 * fill((*kernel, FILTERS, 4 * FILTERS), 5),
        "bias": 0.5 * fill((4 * FILTERS,), 6),
    }
    if "peephole" in options:
        data["peephole"] = fill((3 * FILTERS,), 7)
    if "layer_norm" in options:
        data["input_gain"] = 1 + 0.5 * fill((4 * FILTERS,), 8)
        data["recurrent_gain"] = 1 + 0.5 * fill((4 * FILTERS,), 9)
        data["cell_gain"] = 1 + 0.5 * fill((FILTERS,), 10)
        data["cell_shift"] = 0.5 * fill((FILTERS,), 11)
    return data


def convolve(x, kernel, out, *, strides, dilation, padding):
    """Sum over taps, one output place at a time: (sizes, in) to (out, channels)."""
    taps, sizes = kernel.shape[:-2], x.shape[:-1]
    before = [0] * len(taps)
    if padding == "same":
        for a, (k, d, st) in enumerate(zip(taps, dilation, strides, strict=True)):
            before[a] = max(0, (out[a] - 1) * st + d * (k - 1) + 1 - sizes[a]) // 2
    y = np.zeros((*out, kernel.shape[-1]))
    for place in np.ndindex(*out):
        for tap in np.ndindex(*taps):
            at = tuple(
                p * st + t * d - b
                for p, t, st, d, b in zip(place, tap, strides, dilation, before, strict=True)
            )
            if all(0 <= a < n for a, n in zip(at, sizes, strict=True)):
                y[place] += x[at] @ kernel[tap]
    return y


def normalize(x, gain, shift):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * gain + shift


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run(name):
    """Outputs of all steps (B,T,H',W',F) and the last cell state."""
    _, kernel, strides, padding, dilation, options = CASES[name]
    data = inputs_of(name)
    once = (1,) * len(kernel)
    geometry = {"strides": strides, "dilation": dilation, "padding": padding}
    plain = {"strides": once, "dilation": once, "padding": "same"}
    outputs, cells = [], []
    for b in range(BATCH):
        h, c = data["h"][b], data["c"][b]
        sequence = []
        for t in range(STEPS):
            sums = []
            for g in range(4):
                gate = slice(g * FILTERS, (g + 1) * FILTERS)
                w, u = data["kernel"][..., gate], data["recurrent_kernel"][..., gate]
                from_x = convolve(data["x"][b, t], w, h.shape[:-1], **geometry)
                from_h = convolve(h, u, h.shape[:-1], **plain)
                if "layer_norm" in options:
                    from_x = normalize(from_x, data["input_gain"][gate], 0)
                    from_h = normalize(from_h, data["recurrent_gain"][gate], 0)
                sums.append(from_x + from_h + data["bias"][gate])
            p_i, p_f, p_o = np.split(data.get("peephole", np.zeros(3 * FILTERS)), 3)
            i = sigmoid(sums[0] + p_i * c)
            f = sigmoid(sums[1] + p_f * c)
            c = f * c + i * np.tanh(sums[2])
            o = sigmoid(sums[3] + p_o * c)
            shown = c
            if "layer_norm" in options:
                shown = normalize(c, data["cell_gain"], data["cell_shift"])
            h = o * np.tanh(shown)
            sequence.append(h)
        outputs.append(sequence)
        cells.append(c)
    return {"outputs": np.array(outputs).tolist(), "c": np.array(cells).tolist()}


def goldens():
    return {name: run(name) for name in CASES}


if __name__ == "__main__":
    Path(__file__).with_name("convlstm.json").write_text(json.dumps(goldens()) + "\n")
