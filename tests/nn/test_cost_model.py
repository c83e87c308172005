"""The trace against the real networks: every shape, call, weight, MAC and byte."""

import contextlib
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from framecast.config.schema import ModelConfig
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.cost_model.network import trace_network
from framecast.nn.cost_model.tensors import channels_last, size, totals
from framecast.nn.forecasters import base, comparison, layers
from framecast.nn.forecasters.flow import network as network_module
from framecast.nn.forecasters.registry import NETWORKS, build_forecaster
from framecast.prediction.rollout import rollout
from tests.support.live_bytes import LiveBytes

FUNCTIONS = (
    *("lucas_kanade", "gaussian_blur", "pad_to_grid", "advect", "warp", "coverage"),
    *("beyond", "recall", "remembered", "read_signs"),
)
METHODS = ("surprises", "growths", "on_grid", "spread", "doubt", "flatten")
NO_CALLS = ("mix", "frame")


@st.composite
def models(draw):
    filters = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    kernel = st.sampled_from([1, 3, 5])
    each = st.lists(kernel, min_size=len(filters), max_size=len(filters)).map(tuple)
    return ModelConfig(
        name=draw(st.sampled_from([*NETWORKS])),
        filters=filters,
        kernel_size=draw(kernel | each),
        patch=draw(st.sampled_from([1, 2, 4, 8, 16])),
        units=tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))),
    )


SIZES = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 4),
        "context_length": st.integers(1, 6),
        "horizon": st.integers(1, 4),
        "channels": st.sampled_from([1, 3]),
        "height": st.integers(1, 70),
        "width": st.integers(1, 70),
    }
)
drawn = given(model=models(), sizes=SIZES)
FLOW, PLAIN = ModelConfig(filters=(6, 9), patch=4), ModelConfig("convlstm", (6, 9), 5, 2)
ONE = {"batch": 2, "context_length": 5, "horizon": 4, "channels": 3, "height": 37, "width": 22}


def build(model, sizes, device):
    with torch.device(device):
        return build_forecaster(model, sizes["channels"], (sizes["height"], sizes["width"]))


def context_of(sizes, device):
    names = ("batch", "context_length", "channels", "height", "width")
    return torch.rand([sizes[name] for name in names], device=device)


def lengths(axes):
    return tuple(length for _, length in axes)


class Recorder:
    """Notes the outermost calls of modules without children, layers and the networks' functions."""

    def __init__(self, network):
        self.calls, self.inside = Counter(), False
        self.network, self.undo = network, contextlib.ExitStack()

    def __enter__(self):
        for name, module in self.network.named_modules():
            if isinstance(module, ConvLSTM2D | comparison.StateOnlyConvLSTM2D):
                self._wrap(module, "step", name)
                self._wrap(module, "forward", name)
            elif not list(module.children()):
                self._wrap(module, "forward", name)
        for owner in (network_module, layers, base, comparison):
            for name in set(FUNCTIONS) & set(vars(owner)):
                self._wrap(owner, name, name)
        for name in METHODS:
            if hasattr(self.network, f"_{name}"):
                self._wrap(self.network, f"_{name}", name)
        return self

    def __exit__(self, *_):
        self.undo.close()

    def _wrap(self, owner, attribute, name):
        real = getattr(owner, attribute)

        def recorded(x, *rest):
            if self.inside:
                return real(x, *rest)
            self.inside = True
            gives = real(x, *rest)
            self.inside = False
            if isinstance(gives, tuple) and len(gives) == 3:  # of a sequence, with h and c
                assert gives[1].shape == gives[2].shape == gives[0][:, -1].shape
                given_back = (gives[0],)
            else:
                given_back = gives if isinstance(gives, tuple) else (gives,)
            shapes = [tuple(t.shape) for t in given_back]
            assert len(set(shapes)) == 1
            seen = x[0] if isinstance(x, tuple) else x
            self.calls[name, tuple(seen.shape), shapes[0], len(shapes)] += 1
            return gives

        setattr(owner, attribute, recorded)
        undo = (lambda o, a, _: delattr(o, a)) if isinstance(owner, nn.Module) else setattr
        self.undo.callback(undo, owner, attribute, real)


@drawn
@settings(max_examples=100, derandomize=True, deadline=None)
def test_every_row_is_a_call_of_the_network_and_every_call_a_row(model, sizes):
    assert_rows_are_calls(model, sizes, "cpu")


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_walk_on_the_meta_device_finds_every_row(name):
    assert_rows_are_calls(replace(FLOW, name=name), ONE, "meta")


def assert_rows_are_calls(model, sizes, device):
    rows = trace_network(model, **sizes)
    network = build(model, sizes, device)
    context_BTCHW = context_of(sizes, device)
    with torch.inference_mode():
        with Recorder(network) as encode:
            state = network.encode(context_BTCHW)
        with Recorder(network) as step:
            frame_BCHW, _ = network.step(state)
    horizon = sizes["horizon"]
    for phase, recorded in (("encode", encode), ("step", step)):
        traced = Counter()
        for row in rows:
            if row.phase == phase and row.name not in NO_CALLS:
                call = (row.name, lengths(row.takes), lengths(row.gives), row.tensors)
                traced[call] += row.calls * (1 if phase == "encode" else Fraction(1, horizon))
        assert traced == recorded.calls
    assert rows[-1].name == "frame"
    assert lengths(rows[-1].gives) == tuple(frame_BCHW.shape)
    layers = [row for row in rows if "ConvLSTM2D" in row.operation and row.phase == "step"]
    for row, state_of_layer in zip(layers, state.layers, strict=True):
        shape = lengths(row.gives)
        assert {tuple(t.shape) for t in state_of_layer} == {(shape[0], *shape[-3:])}


@drawn
@settings(max_examples=60, derandomize=True, deadline=None)
def test_every_weight_is_listed_and_counted_once(model, sizes):
    rows = trace_network(model, **sizes)
    traced = {
        f"{row.name}.{name}".removeprefix("mix."): shape
        for row in rows
        for name, shape in row.parameters
    }
    network = build(model, sizes, "meta")
    assert traced == {name: tuple(p.shape) for name, p in network.named_parameters()}
    count = sum(p.numel() for p in network.parameters())
    assert totals(rows).parameters == count
    assert totals(rows).weight_bytes == 4 * count


def saved_by_autograd(model, sizes):
    """Bytes that a real forward pass keeps beside weights and batch."""
    network, context_BTCHW = build(model, sizes, "cpu"), context_of(sizes, "cpu")
    shape = list(context_BTCHW.shape)
    target_BTCHW = torch.rand([shape[0], shape[1] + sizes["horizon"], *shape[2:]])
    given_ = [*network.parameters(), *network.buffers(), context_BTCHW, target_BTCHW]
    known = {tensor.untyped_storage().data_ptr() for tensor in given_}
    saved, kept = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # else its address could be given away again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        frames_BTCHW = network(context_BTCHW, sizes["horizon"])
        F.mse_loss(frames_BTCHW, target_BTCHW[:, -frames_BTCHW.shape[1] :])
    return sum(saved.values())


@drawn
@settings(max_examples=40, derandomize=True, deadline=None)
def test_sums_are_torch_flops_and_the_bytes_that_autograd_saves(model, sizes):
    """On real forward passes, of a forecast and in training; a MAC is two FLOPs."""
    network = build(model, sizes, "cpu").eval()
    with FlopCounterMode(display=False) as counter:
        network(context_of(sizes, "cpu"), sizes["horizon"])
    sums = totals(trace_network(model, **sizes))
    assert sums.training_bytes == saved_by_autograd(model, sizes)
    assert 2 * sums.macs == counter.get_total_flops()


@pytest.mark.parametrize(("horizon", "height"), [(7, 101), (5, 96), (18, 101)])
def test_layers_that_cut_cells_into_tiles_keep_what_is_said(horizon, height):
    """Cells that fill the tiles and others; gates that are kept and, of 18 steps, made again."""
    model = ModelConfig(filters=(64, 64), patch=4)
    sizes = {**ONE, "batch": 3, "height": height, "width": 92, "horizon": horizon}
    assert totals(trace_network(model, **sizes)).training_bytes == saved_by_autograd(model, sizes)


@pytest.mark.parametrize("patch", [1, 4, 8])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "shape", [(1, 6, 1, 188, 172), (1, 4, 3, 90, 160), (3, 5, 1, 96, 64), (2, 1, 3, 61, 50)]
)
def test_prediction_bytes_are_within_10_percent_of_the_tensors_alive_at_once(name, patch, shape):
    """Frames of some 50 pixels and more; buffers inside PyTorch's convolutions come on top."""
    check_prediction_bytes(ModelConfig(name, (24, 40), 3, patch, (10, 14)), shape)


@pytest.mark.parametrize("shape", [(1, 6, 1, 188, 172), (3, 5, 1, 96, 64)])
def test_prediction_bytes_in_tiles_are_within_10_percent_of_those_alive_at_once(shape):
    check_prediction_bytes(ModelConfig(filters=(64, 64), patch=4), shape)


def check_prediction_bytes(model, shape):
    names = ("batch", "context_length", "channels", "height", "width")
    sizes = dict(zip(names, shape, strict=True)) | {"horizon": 3}
    estimate = totals(trace_network(model, **sizes)).prediction_bytes
    assert estimate == pytest.approx(peak(build(model, sizes, "cpu"), sizes), rel=0.1)


def peak(network, sizes):
    """Most bytes alive at once in a forecast of three frames, weights apart."""
    context_BTCHW = context_of(sizes, "cpu")
    weights = [parameter.untyped_storage() for parameter in network.parameters()]
    with LiveBytes() as measured:
        measured.live.update(map(id, weights))
        measured.know(context_BTCHW)
        for _ in rollout(network, context_BTCHW, 3):
            pass
    return measured.peak


def test_padding_is_what_the_grid_lacks():
    rows = trace_network(FLOW, **ONE)
    pads = {row.padding for row in rows if row.name == "pad_to_grid"}
    assert pads == {(0, 3, 0, 2)}
    kernel = {row.padding for row in trace_network(PLAIN, **ONE) if "layers" in row.name}
    assert kernel == {(2, 2, 2, 2)}


def test_golden_rows():
    rows = {(row.phase, row.name): row for row in trace_network(FLOW, **ONE)}
    stem = rows["encode", "stem.2"]
    assert stem.takes == (("N", 10), ("E", 6), ("H", 20), ("W", 12))
    assert channels_last(stem.gives) == (("N", 10), ("H", 10), ("W", 6), ("E", 6))
    layer = rows["step", "stack.layers.1"]
    assert dict(layer.parameters)["kernel"] == (36, 6, 3, 3)
    assert layer.parameter_count == 36 * 6 * 9 + 36 * 9 * 9 + 36
    assert layer.bytes == 4 * (2 * 9 * 10 * 6)
    assert layer.calls == 4
    assert rows["encode", "stack.layers.1"].gives[:2] == (("B", 2), ("T", 5))
    assert size(rows["step", "head"].gives) == 2 * 18 * 10 * 6
    assert rows["step", "advect"].calls == 4
    assert dict(rows["step", "mix"].parameters) == {"mix": (24, 18), "lean": (24, 7, 18)}
    paint = rows["step", "paint"]
    assert paint.gives == (("B", 2), ("C", 3), ("H", 37), ("W", 22))
    assert dict(paint.parameters) == {"weight": (9, 3, 8, 8), "bias": (3,)}
    assert paint.macs == 2 * 10 * 6 * 9 * 3 * 8 * 8


def test_a_plain_network_with_one_context_frame_steps_nothing_before_the_first_forecast():
    rows = trace_network(PLAIN, **{**ONE, "context_length": 1})
    assert not [row for row in rows if row.phase == "encode" and "layers" in row.name]
