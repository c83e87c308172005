"""The cost model against the real networks: shapes, weights and MACs exact, memory within 30 %."""

import contextlib
from collections import Counter
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.cost_model.network import forecast_cost
from framecast.nn.cost_model.tensors import channels_last, size, totals
from framecast.nn.forecasters import comparison
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.rollout import rollout
from tests.support.live_bytes import LiveBytes, saved_bytes


@st.composite
def models(draw, names=tuple(NETWORKS)):
    filters = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    kernel = st.sampled_from([1, 3, 5])
    each = st.lists(kernel, min_size=len(filters), max_size=len(filters)).map(tuple)
    return ModelConfig(
        name=draw(st.sampled_from(names)),
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
        "frame": st.tuples(st.integers(1, 70), st.integers(1, 70)),
    }
)
BRIEF = SIZES.map(lambda sizes: {**sizes, "horizon": (sizes["horizon"] + 1) // 2})
"""The same with a horizon of 1 or 2."""
drawn = given(model=models(), sizes=SIZES)
FLOW, PLAIN = ModelConfig(filters=(6, 9), patch=4), ModelConfig("convlstm", (6, 9), (3, 5), 4)
AXES = ("batch", "context_length", "channels")
ONE = {"batch": 2, "context_length": 5, "horizon": 4, "channels": 3, "frame": (37, 22)}


def build(model, sizes, device):
    with torch.device(device):
        return build_forecaster(model, sizes["channels"], sizes["frame"])


def context_of(sizes, device):
    return torch.rand([*(sizes[name] for name in AXES), *sizes["frame"]], device=device)


def lengths(axes):
    return tuple(length for _, length in axes)


class Recorder:
    """Notes the outermost calls of layers and of modules without children."""

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
        return self

    def __exit__(self, *_):
        self.undo.close()

    def _wrap(self, owner, attribute, name):
        real = getattr(owner, attribute)

        def recorded(x, *rest):
            if self.inside:
                return real(x, *rest)
            self.inside = True
            output = real(x, *rest)
            self.inside = False
            if isinstance(output, tuple) and len(output) == 3:  # of a sequence, with h and c
                assert output[1].shape == output[2].shape == output[0][:, -1].shape
                returned = (output[0],)
            else:
                returned = output if isinstance(output, tuple) else (output,)
            shapes = [tuple(t.shape) for t in returned]
            assert len(set(shapes)) == 1
            seen = x[0] if isinstance(x, tuple) else x
            self.calls[name, tuple(seen.shape), shapes[0], len(shapes)] += 1
            return output

        setattr(owner, attribute, recorded)
        self.undo.callback(delattr, owner, attribute)


@drawn
@settings(max_examples=12, derandomize=True, deadline=None)
def test_records_are_the_calls_of_the_networks_modules(model, sizes):
    """On the meta device: every call has a record, every record of a module is a call."""
    records = forecast_cost(model, **sizes)
    network = build(model, sizes, "meta")
    modules = {name for name, _ in network.named_modules()}
    with torch.no_grad():
        with Recorder(network) as encode:
            state = network.encode(context_of(sizes, "meta"))
        with Recorder(network) as step:
            frame_BCHW, _ = network.step(state)
    horizon = sizes["horizon"]
    for phase, recorded in (("encode", encode), ("step", step)):
        expected = Counter()
        for record in records:
            if record.phase == phase and record.name in modules:
                call = (record.name, lengths(record.input), lengths(record.output), record.tensors)
                expected[call] += record.calls * (1 if phase == "encode" else Fraction(1, horizon))
        assert expected == recorded.calls
    assert records[-1].name == "frame"
    assert lengths(records[-1].output) == tuple(frame_BCHW.shape)
    layers = [r for r in records if "ConvLSTM2D" in r.operation and r.phase == "step"]
    for record, state_of_layer in zip(layers, state.layers, strict=True):
        shape = lengths(record.output)
        assert {tuple(t.shape) for t in state_of_layer} == {(shape[0], *shape[-3:])}


@drawn
@settings(max_examples=20, derandomize=True, deadline=None)
def test_every_weight_is_listed_and_counted_once(model, sizes):
    records = forecast_cost(model, **sizes)
    listed = {
        f"{record.name}.{name}".removeprefix("blend."): shape
        for record in records
        for name, shape in record.parameters
    }
    network = build(model, sizes, "meta")
    assert listed == {name: tuple(p.shape) for name, p in network.named_parameters()}
    count = sum(p.numel() for p in network.parameters())
    assert totals(records).parameters == count
    assert totals(records).weight_bytes == 4 * count


@pytest.mark.parametrize("name", NETWORKS)
@given(data=st.data(), sizes=BRIEF)
@settings(max_examples=4, derandomize=True, deadline=None)
def test_multiply_adds_are_half_of_torchs_flops(name, data, sizes):
    model = data.draw(models((name,)))
    network = build(model, sizes, "meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(context_of(sizes, "meta"), sizes["horizon"])
    assert 2 * totals(forecast_cost(model, **sizes)).macs == counter.get_total_flops()


def saved_by_autograd(model, sizes):
    """Bytes that a real forward pass keeps in addition to weights and batch."""
    network, context_BTCHW = build(model, sizes, "cpu"), context_of(sizes, "cpu")
    shape = list(context_BTCHW.shape)
    target_BTCHW = torch.rand([shape[0], shape[1] + sizes["horizon"], *shape[2:]])

    def run():
        frames_BTCHW = network(context_BTCHW, sizes["horizon"])
        F.mse_loss(frames_BTCHW, target_BTCHW[:, -frames_BTCHW.shape[1] :])

    return saved_bytes(
        run, [*network.parameters(), *network.buffers(), context_BTCHW, target_BTCHW]
    )


SHAPES = [(1, 6, 1, 188, 172), (1, 4, 3, 90, 160), (3, 5, 1, 96, 64), (2, 1, 3, 61, 50)]
WIDE = [(16, 6, 1, 64, 64), (2, 10, 1, 128, 96)]
"""Batches whose layers convolve by Winograd's method, or compute their gates a second time."""


def memory_cases():
    for name in NETWORKS:
        patches = zip(SHAPES, (4, 8, 4, 1), strict=True)
        for shape, patch in (*patches, (SHAPES[2], 1), (SHAPES[2], 16)):
            yield ModelConfig(name, (24, 40), 3, patch, (10, 14)), shape
        for shape, kernel in zip(WIDE, (5, 3), strict=True):
            yield ModelConfig(name, (64, 64), kernel, 4, (64,)), shape
    # Large enough to be worked on at half its size
    yield ModelConfig("flow-convlstm", (24, 40)), (1, 2, 3, 480, 500)


def sizes_of(shape, horizon):
    return dict(zip(AXES, shape[:3], strict=True)) | {"frame": shape[3:], "horizon": horizon}


CASES = list(memory_cases())
IDS = [f"{model.name}-{model.patch}-{shape}" for model, shape in CASES]


@pytest.mark.parametrize(("model", "shape"), CASES, ids=IDS)
def test_training_bytes_are_within_30_percent_of_what_autograd_saves(model, shape):
    sizes = sizes_of(shape, horizon=4)
    estimate = totals(forecast_cost(model, **sizes)).training_bytes
    assert estimate == pytest.approx(saved_by_autograd(model, sizes), rel=0.3)


@pytest.mark.parametrize(("model", "shape"), CASES, ids=IDS)
def test_prediction_bytes_are_within_30_percent_of_the_measured_peak(model, shape):
    """Buffers inside PyTorch's convolutions come on top."""
    sizes = sizes_of(shape, horizon=3)
    estimate = totals(forecast_cost(model, **sizes)).prediction_bytes
    assert estimate == pytest.approx(peak(build(model, sizes, "cpu"), sizes), rel=0.3)


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
    records = forecast_cost(FLOW, **ONE)
    pads = {record.padding for record in records if record.name == "pad_to_grid"}
    assert pads == {(0, 11, 0, 10)}, "whole cells of 16 pixels, of the second layer"
    kernel = {record.padding for record in forecast_cost(PLAIN, **ONE) if "layers" in record.name}
    assert kernel == {(1, 1, 1, 1), (2, 2, 2, 2)}


def test_golden_records():
    records = {(record.phase, record.name): record for record in forecast_cost(PLAIN, **ONE)}
    stem = records["encode", "stem.2"]
    assert stem.input == (("N", 10), ("E", 6), ("H", 20), ("W", 12))
    assert channels_last(stem.output) == (("N", 10), ("H", 10), ("W", 6), ("E", 6))
    layer = records["step", "stack.layers.1"]
    assert dict(layer.parameters)["kernel"] == (36, 6, 5, 5)
    assert layer.parameter_count == 36 * 6 * 25 + 36 * 9 * 25 + 36
    assert (layer.tensors, size(layer.output)) == (2, 2 * 9 * 10 * 6)
    assert layer.calls == 4
    assert records["encode", "stack.layers.1"].output[:2] == (("B", 2), ("T", 4))
    paint = records["step", "paint"]
    assert paint.output == (("B", 2), ("C", 3), ("H", 37), ("W", 22))
    assert dict(paint.parameters) == {"weight": (9, 3, 8, 8), "bias": (3,)}
    assert paint.macs == 2 * 10 * 6 * 9 * 3 * 8 * 8


def test_a_plain_network_with_one_context_frame_steps_nothing_before_the_first_forecast():
    records = forecast_cost(PLAIN, **{**ONE, "context_length": 1})
    assert not [
        record for record in records if record.phase == "encode" and "layers" in record.name
    ]
