"""ConvLSTM layers by themselves: goldens, what Keras lacks, and life as a PyTorch module."""

import copy
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from framecast.nn.convlstm.cell import ConvLSTMCell2D
from framecast.nn.convlstm.dropout import DropoutMasks
from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from framecast.nn.convlstm.regularizers import L1
from framecast.nn.convlstm.weights import from_keras_layout, to_keras_layout
from tests.goldens import make_convlstm

B, T, C, H, W, F = 2, 5, 3, 7, 8, 6
GOLDENS = json.loads((Path(__file__).parents[1] / "goldens" / "convlstm.json").read_text())


def make(**arguments):
    """A layer with unequal weights everywhere, channels first."""
    torch.manual_seed(0)
    defaults = {"padding": "same", "data_format": "channels_first", "in_channels": C}
    layer = ConvLSTM2D(F, 3, **{**defaults, **arguments})
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0.1, 0.3)
    return layer


def frames(seed=1, batch=B, steps=T):
    return torch.rand(batch, steps, C, H, W, generator=torch.Generator().manual_seed(seed))


def golden_layer(name):
    sizes, kernel, strides, padding, dilation, options = make_convlstm.CASES[name]
    layer = {1: ConvLSTM1D, 2: ConvLSTM2D}[len(sizes)](
        make_convlstm.FILTERS,
        kernel,
        strides=strides,
        padding=padding,
        dilation_rate=dilation,
        return_sequences=True,
        return_state=True,
        in_channels=make_convlstm.CHANNELS,
        dtype=torch.float64,
        **dict.fromkeys(options, True),
    )
    data = {key: torch.from_numpy(value) for key, value in make_convlstm.inputs_of(name).items()}
    with torch.no_grad():
        for key, parameter in layer.named_parameters():
            parameter.copy_(from_keras_layout(data[key]))
    return layer, data


@pytest.mark.parametrize("name", make_convlstm.CASES)
def test_golden_with_unequal_weights(name):
    layer, data = golden_layer(name)
    outputs, h, c = layer(data["x"], initial_state=[data["h"], data["c"]])
    expected = {key: torch.tensor(v, dtype=torch.float64) for key, v in GOLDENS[name].items()}
    torch.testing.assert_close(outputs, expected["outputs"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(h, expected["outputs"][:, -1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(c, expected["c"], rtol=1e-12, atol=1e-12)


def test_the_goldens_are_those_of_their_script():
    made = make_convlstm.goldens()
    assert made.keys() == GOLDENS.keys()
    for name, values in made.items():
        for key, value in values.items():
            kept = torch.tensor(GOLDENS[name][key], dtype=torch.float64)
            now = torch.tensor(value, dtype=torch.float64)
            torch.testing.assert_close(now, kept, rtol=1e-13, atol=1e-14)


VARIANTS = [
    {},
    {"peephole": True},
    {"layer_norm": True},
    {"peephole": True, "layer_norm": True, "use_bias": False},
    {"padding": "valid", "strides": 2},
    {"data_format": "channels_last"},
]


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_steps_in_a_row_are_the_sequence(arguments):
    layer = make(return_sequences=True, return_state=True, **arguments)
    last = layer.data_format == "channels_last"
    x_BTCHW = frames()
    outputs, h, c = layer(x_BTCHW.movedim(2, -1) if last else x_BTCHW)
    state = layer.zero_state(B, H, W, like=x_BTCHW)
    for t in range(T):
        state = layer.step(x_BTCHW[:, t], state)
        shown = outputs[:, t].movedim(-1, 1) if last else outputs[:, t]
        torch.testing.assert_close(state[0], shown)
    for stepped, whole in zip(state, (h, c), strict=True):
        torch.testing.assert_close(stepped, whole.movedim(-1, 1) if last else whole)


@pytest.mark.parametrize("kind", [ConvLSTM1D, ConvLSTM2D, ConvLSTM3D])
def test_a_step_without_a_state_starts_from_zeros(kind):
    sizes = (H, W, 5)[: kind.rank]
    layer, x_BCHW = kind(F, 3, strides=2, padding="same"), torch.rand(B, C, *sizes)
    state = layer.zero_state(B, *sizes, like=x_BCHW)
    assert [s.shape for s in state] == [(B, F, *(4, 4, 3)[: kind.rank])] * 2
    assert not any(s.any() for s in state)
    for ours, theirs in zip(layer.step(x_BCHW), layer.step(x_BCHW, state), strict=True):
        assert torch.equal(ours, theirs)


def test_steps_share_the_dropout_masks_of_a_sequence():
    layer = make(dropout=0.4, recurrent_dropout=0.3, seed=3)
    x_BTCHW = frames()
    whole = layer(x_BTCHW)
    layer._mask_seeds.seed(3)
    masks = layer.sample_dropout(x_BTCHW[:, 0])
    state = None
    for t in range(T):
        state = layer.step(x_BTCHW[:, t], state, masks)
    torch.testing.assert_close(state[0], whole)


def test_weights_are_three_tensors_in_the_layout_of_pytorch():
    shapes = {name: tuple(tensor.shape) for name, tensor in make().state_dict().items()}
    assert shapes == {
        "kernel": (4 * F, C, 3, 3),
        "recurrent_kernel": (4 * F, F, 3, 3),
        "bias": (4 * F,),
    }
    extra = make(peephole=True, layer_norm=True).state_dict()
    assert {name: tuple(extra[name].shape) for name in extra if name not in shapes} == {
        "peephole": (3 * F,),
        "input_gain": (4 * F,),
        "recurrent_gain": (4 * F,),
        "cell_gain": (F,),
        "cell_shift": (F,),
    }


def test_layouts_are_each_other_inverse_and_move_the_axes_they_name():
    kernel = torch.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert from_keras_layout(kernel).shape == (5, 4, 2, 3)
    assert from_keras_layout(kernel)[4, 3, 1, 2] == kernel[1, 2, 3, 4]
    assert torch.equal(to_keras_layout(from_keras_layout(kernel)), kernel)
    bias = torch.arange(4.0)
    assert from_keras_layout(bias) is bias


def test_peepholes_at_zero_change_nothing_and_elsewhere_do():
    plain, seeing = make(), make(peephole=True)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(getattr(seeing, name))
    changed = seeing(frames())
    assert not torch.allclose(changed, plain(frames()))
    nn.init.zeros_(seeing.peephole)
    torch.testing.assert_close(seeing(frames()), plain(frames()))


def test_fresh_peepholes_are_zero_and_fresh_gains_one():
    layer = ConvLSTM2D(F, 3, peephole=True, layer_norm=True, in_channels=C)
    assert not layer.peephole.any()
    assert not layer.cell_shift.any()
    for gain in (layer.input_gain, layer.recurrent_gain, layer.cell_gain):
        assert torch.equal(gain, torch.ones_like(gain))


@pytest.mark.parametrize("arguments", [{}, {"peephole": True, "layer_norm": True}], ids=str)
def test_no_frame_size_is_welded_in(arguments):
    layer = make(**arguments)
    for height, width in ((7, 8), (12, 5), (1, 1)):
        assert layer(torch.rand(B, 2, C, height, width)).shape == (B, F, height, width)


def test_input_channels_are_inferred_at_first_use():
    layer = ConvLSTM2D(F, 3)
    assert layer.in_channels is None
    assert isinstance(layer.kernel, UninitializedParameter)
    optimizer_view = list(layer.parameters())
    layer(torch.rand(B, T, H, W, C))
    assert layer.in_channels == C
    assert layer.kernel.shape == (4 * F, C, 3, 3)
    assert optimizer_view[0] is layer.kernel
    assert 0 < layer.kernel.abs().max() <= (6 / (9 * (C + 4 * F))) ** 0.5


def test_a_step_infers_the_input_channels_too():
    layer = ConvLSTM2D(F, 3)
    layer.step(torch.rand(B, C, H, W))
    assert layer.in_channels == C


def test_weights_load_into_a_layer_that_has_seen_no_input():
    source, empty = make(), ConvLSTM2D(F, 3, padding="same", data_format="channels_first")
    nn.Sequential(empty).load_state_dict(nn.Sequential(source).state_dict())
    assert torch.equal(empty(frames()), source(frames()))


def test_a_stateful_layer_carries_its_state_until_it_is_reset():
    layer, x_BTCHW = make(stateful=True), frames()
    with torch.no_grad():
        whole = layer(x_BTCHW)
        layer.reset_state()
        first = layer(x_BTCHW[:, :2])
        assert not torch.allclose(first, whole)
        torch.testing.assert_close(layer(x_BTCHW[:, 2:]), whole)
        layer.reset_state()
        assert torch.equal(layer(x_BTCHW[:, :2]), first)
        layer.reset_state()
        assert layer(frames(batch=3)).shape == (3, F, H, W)
    assert "kernel" in layer.state_dict()
    assert len(layer.state_dict()) == 3


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize(("steps", "sequences"), [(1, True), (3, False), (3, True)])
def test_a_changed_output_does_not_change_the_state(learns, steps, sequences):
    layer = make(stateful=True, return_sequences=sequences, return_state=True)
    x_BTCHW = frames(steps=steps)
    with torch.set_grad_enabled(learns):
        expected = [layer(x_BTCHW)[0].clone() for _ in range(2)][1]
        layer.reset_state()
        with torch.no_grad():
            for result in layer(x_BTCHW):
                result.zero_()
        assert torch.equal(layer(x_BTCHW)[0], expected)


@pytest.mark.parametrize("options", [{}, {"layer_norm": True}], ids=["fused", "loop"])
@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize(("steps", "sequences"), [(1, True), (3, False), (3, True)])
def test_what_is_returned_shares_no_memory(options, learns, steps, sequences):
    layer = make(return_sequences=sequences, return_state=True, **options)
    with torch.set_grad_enabled(learns):
        output, *state = layer(frames(steps=steps))
    expected = [tensor.clone() for tensor in state]
    with torch.no_grad():
        output.zero_()
    assert all(map(torch.equal, state, expected))


def test_the_state_of_a_stateful_layer_carries_no_gradient():
    layer = make(stateful=True)
    for seed in (1, 2):
        layer(frames(seed)).sum().backward()


def test_dropout_follows_the_mode_unless_told():
    layer, x_BTCHW = make(dropout=0.5, recurrent_dropout=0.5), frames()
    assert not torch.equal(layer(x_BTCHW), layer(x_BTCHW))
    assert torch.equal(layer(x_BTCHW, training=False), layer(x_BTCHW, training=False))
    layer.eval()
    assert torch.equal(layer(x_BTCHW), layer(x_BTCHW, training=False))
    assert not torch.equal(layer(x_BTCHW, training=True), layer(x_BTCHW, training=True))


def test_rates_and_factors_may_be_numbers_of_numpy():
    quarter = np.float32(0.25)
    layer = make(dropout=quarter, recurrent_dropout=np.float16(0.5), kernel_regularizer=L1(quarter))
    config = layer.get_config()
    assert (config["dropout"], config["recurrent_dropout"]) == (0.25, 0.5)
    assert json.loads(json.dumps(config))["kernel_regularizer"]["config"] == {"l1": 0.25}


def test_dropout_masks_are_four_scaled_and_of_the_rate():
    masks = make(dropout=0.25, recurrent_dropout=0.5, strides=2).sample_dropout(
        torch.zeros(64, C, 40, 40)
    )
    assert masks.inputs_4BCHW.shape == (4, 64, C, 40, 40)
    assert masks.state_4BFHW.shape == (4, 64, F, 20, 20)
    for mask, rate in zip(masks, (0.25, 0.5), strict=True):
        assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - rate)])
        assert (mask == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
        assert not torch.equal(mask[0], mask[1])


def test_a_seed_fixes_the_masks_and_each_call_has_its_own():
    first, second, other = (make(dropout=0.5, seed=seed) for seed in (1, 1, 2))
    x_BTCHW = frames()
    calls = [first(x_BTCHW), first(x_BTCHW)]
    torch.rand(5)
    assert torch.equal(second(x_BTCHW), calls[0])
    assert torch.equal(second(x_BTCHW), calls[1])
    assert not torch.equal(calls[0], calls[1])
    assert not torch.equal(other(x_BTCHW), calls[0])


def test_masked_steps_hold_the_state_and_repeat_the_output():
    mask = torch.tensor([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0]])
    layer = make(return_sequences=True, return_state=True)
    outputs, h, _ = layer(frames(), mask=mask)
    assert torch.equal(outputs[0, 2], outputs[0, 1])
    assert torch.equal(outputs[1, 4], outputs[1, 2])
    assert not outputs[1, 0].any()
    assert torch.equal(outputs[1, -1], h[1])
    torch.testing.assert_close(outputs[0, 4], layer(frames()[:, [0, 1, 4]])[0][0, 2])
    layer.zero_output_for_mask = True
    zeroed, held, _ = layer(frames(), mask=mask)
    assert torch.equal(held, h)
    assert not zeroed[mask == 0].any()
    assert torch.equal(zeroed[mask == 1], outputs[mask == 1])


def test_a_layer_goes_through_the_meta_device():
    layer = make(device="meta", strides=2, return_state=True, dropout=0.5, seed=1)
    output, h, c = layer(torch.empty(B, T, C, H, W, device="meta"))
    assert {output.device.type, h.device.type, c.device.type} == {"meta"}
    assert output.shape == h.shape == c.shape == (B, F, 4, 4)
    layer = ConvLSTM2D(F, 3, in_channels=C, device="meta").to_empty(device="cpu")
    layer.reset_parameters()
    assert 0 < layer.kernel.abs().max() < 1
    assert layer.bias.tolist() == [0.0] * F + [1.0] * F + [0.0] * 2 * F


def test_autocast_keeps_the_state_in_float32():
    layer, x_BTCHW = make(return_state=True, peephole=True, layer_norm=True), frames()
    exact = layer(x_BTCHW)
    with torch.autocast("cpu", torch.bfloat16):
        cast = layer(x_BTCHW)
        sum(result.float().sum() for result in cast).backward()
    for result, reference in zip(cast, exact, strict=True):
        assert result.dtype == torch.float32
        assert (result - reference).abs().max() < 0.05
    assert layer.recurrent_kernel.grad.isfinite().all()


@pytest.mark.parametrize("layer_norm", [False, True])
def test_autocast_keeps_c_in_float32_for_inputs_of_16_bits(layer_norm):
    layer = make(return_state=True, layer_norm=layer_norm)
    x_BTCHW = frames(steps=6).bfloat16()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        whole = layer(x_BTCHW)
        _, *state = layer(x_BTCHW[:, :3])
        halves = layer(x_BTCHW[:, 3:], state)
        _, after = layer.step(x_BTCHW[:, 0])
    assert {whole[2].dtype, state[1].dtype, halves[2].dtype, after.dtype} == {torch.float32}
    torch.testing.assert_close(halves[2], whole[2], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}, {"zero_output_for_mask": True}], ids=str)
def test_a_mask_changes_no_dtype_under_autocast(options):
    layer, x_BTCHW = make(return_state=True, **options), frames()
    with torch.autocast("cpu", torch.bfloat16):
        plain, masked = layer(x_BTCHW), layer(x_BTCHW, mask=torch.ones(x_BTCHW.shape[:2]))
    assert [y.dtype for y in masked] == [y.dtype for y in plain]
    assert masked[0].dtype == torch.bfloat16


@pytest.mark.parametrize("stateful", [False, True])
def test_a_state_made_under_autocast_is_taken_without(stateful):
    layer, x_BTCHW = make(return_state=True, stateful=stateful), frames()
    cell = ConvLSTMCell2D(F, 3, padding="same", data_format="channels_first", in_channels=C)
    cell.load_state_dict(layer.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        _, *state = layer(x_BTCHW)
    assert state[0].dtype == torch.bfloat16
    h, (_, c) = cell(x_BTCHW[:, 0], state)
    found = layer(x_BTCHW[:, :1], None if stateful else state)
    assert {result.dtype for result in (*found, h, c)} == {torch.float32}
    for result, reference in zip(found[1:], (h, c), strict=True):
        torch.testing.assert_close(result, reference)


def test_a_layer_can_be_copied_before_and_after_first_use():
    layer = ConvLSTM2D(F, 3)
    fresh = copy.deepcopy(layer)
    x = torch.rand(B, T, H, W, C)
    expected = layer(x)
    assert fresh.in_channels is None
    assert torch.equal(copy.deepcopy(layer)(x), expected)


@pytest.mark.parametrize("arguments", VARIANTS[:4], ids=str)
def test_torch_export_gives_the_same_frames_at_another_size(arguments):
    layer = make(return_sequences=True, **arguments).eval()
    most = 2**20  # PyTorch 2.7 takes no size for free without a limit
    size = {
        3: torch.export.Dim("height", min=4, max=most),
        4: torch.export.Dim("width", min=4, max=most),
    }
    batch = {0: torch.export.Dim("batch", min=1, max=most)}
    program = torch.export.export(layer, (frames(steps=4),), dynamic_shapes=({**batch, **size},))
    other = torch.rand(3, 4, C, 12, 9)
    torch.testing.assert_close(program.module()(other), layer(other))


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.filterwarnings("ignore")  # of PyTorch's older exporter
def test_onnx_gives_the_same_frames_and_states(tmp_path, dynamo):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = {"peephole": True, "layer_norm": True}
    layer = make(return_sequences=True, return_state=True, **options).eval()
    path = tmp_path / "layer.onnx"
    torch.onnx.export(layer, (frames(),), path, dynamo=dynamo, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: frames(2).numpy()})
    for ours, theirs in zip(layer(frames(2)), found, strict=True):
        torch.testing.assert_close(ours.detach(), torch.from_numpy(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "export", [partial(torch.export.export, strict=False), torch.jit.trace], ids=["export", "trace"]
)
def test_a_stateful_layer_is_not_exported_without_its_state(export):
    layer = make(stateful=True)
    for _ in range(2):  # before it has a state, and after
        with pytest.raises(ValueError, match="stateful layer cannot be exported or traced"):
            export(layer, (frames(),))
        layer(frames())


def test_a_stateful_layer_is_compiled_with_its_state():
    layer = make(stateful=True)
    compiled = torch.compile(copy.deepcopy(layer), backend="eager")
    for _ in range(3):
        torch.testing.assert_close(compiled(frames()), layer(frames()))


def test_gradients_of_what_keras_lacks_are_those_of_finite_differences():
    torch.manual_seed(1)
    layer = ConvLSTM2D(
        2,
        (2, 3),
        padding="same",
        peephole=True,
        layer_norm=True,
        in_channels=1,
        return_sequences=True,
        dtype=torch.float64,
    )
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.rand(1, 2, 2, 3, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *tensors: layer(tensors[0]), (x, *layer.parameters()))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"filters": 0},
            r"filters must be an integer of 1 or more; received 0; use e.g. filters=3",
        ),
        ({"filters": True}, r"filters must be .*received True"),
        ({"kernel_size": (3, 0)}, r"kernel_size must be an integer or 2 .*received \(3, 0\)"),
        ({"strides": (1, 2, 3)}, r"strides must be .*received \(1, 2, 3\)"),
        ({"dilation_rate": 1.5}, r"dilation_rate must be .*received 1\.5"),
        ({"padding": "causal"}, r'padding must be "valid" or "same"; received \'causal\''),
        ({"data_format": "NCHW"}, r"data_format must be .*received 'NCHW'"),
        ({"strides": 2, "dilation_rate": 2}, r"strides=\(2, 2\), .*set one of them to 1"),
        (
            {"dropout": 1.0},
            r"dropout must be at least 0 and less than 1.*received 1\.0; use e.g. dropout=0.2",
        ),
        ({"dropout": -0.1}, r"dropout must be .*received -0\.1"),
        ({"recurrent_dropout": 1}, r"recurrent_dropout must be .*received 1"),
        ({"in_channels": 0}, r"in_channels must be .*received 0"),
        ({"filters": 1, "layer_norm": True}, r"layer_norm needs 2 filters .*layer_norm=False"),
    ],
    ids=str,
)
def test_arguments_that_mean_nothing_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        ConvLSTM2D(**{"filters": F, "kernel_size": 3, **arguments})


@pytest.mark.parametrize(
    ("shape", "arguments", "text"),
    [
        ((B, C, H, W), {}, r"takes 5 axes \(batch, time, channels, .*return_sequences=True"),
        ((B, H, W), {}, r"takes 5 axes .*received shape \(2, 7, 8\)"),
        ((B, 0, C, H, W), {}, r"every axis after the batch; received shape \(2, 0, 3, 7, 8\)"),
        ((B, T, C, 0, W), {}, r"every axis after the batch; received shape \(2, 5, 3, 0, 8\)"),
        ((B, T, H, W, C), {}, r"made for 3 input channels; received 7; check the order of the ax"),
        ((B, T, C, 2, W), {"padding": "valid"}, r"size of \(3, 3\) or more.*received \(2, 8\); us"),
    ],
    ids=str,
)
def test_inputs_that_do_not_fit_are_refused(shape, arguments, text):
    with pytest.raises(ValueError, match=text):
        make(**arguments)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(4 * F, C, 5, 5), (4 * F, C), (3 * F, C, 3, 3), (4 * F,), ()])
def test_an_empty_layer_refuses_a_kernel_of_another_size(shape):
    layer, state = ConvLSTM2D(F, 3, kernel_initializer="ones"), make().state_dict()
    with pytest.raises(RuntimeError, match="size mismatch for kernel"):
        layer.load_state_dict({**state, "kernel": torch.zeros(shape)})
    assert (layer.kernel == 1).all()


@pytest.mark.parametrize("kind", ["reversed", "big-endian", "read-only"])
@pytest.mark.filterwarnings("error")
def test_arrays_that_pytorch_does_not_take_are_copied(kind):
    array = frames(4).numpy().astype(np.float64)
    if kind == "reversed":
        array = np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    elif kind == "big-endian":
        array = array.astype(">f8")
    array.setflags(write=kind != "read-only")
    layer = make()
    torch.testing.assert_close(layer(array), layer(frames(4)))


@pytest.mark.parametrize("given", [None, "frames.npy", np.array([{}])])
def test_what_holds_no_numbers_is_refused(given):
    with pytest.raises(ValueError, match="expected a tensor, or an array of numbers; received"):
        make()(given)


def test_an_empty_layer_is_not_built_for_no_channels():
    layer = ConvLSTM2D(F, 3)
    with pytest.raises(ValueError, match="every axis after the batch; received shape"):
        layer(torch.zeros(B, T, H, W, 0))
    assert layer.in_channels is None


def test_one_input_channel_is_one():
    with pytest.raises(ValueError, match="ConvLSTM2D was made for 1 input channel; received 4;"):
        make(in_channels=1)(torch.zeros(B, T, 4, H, W))


def test_frames_of_whole_numbers_are_refused():
    with pytest.raises(ValueError, match=r"floating-point numbers; received torch.uint8; convert"):
        make()(torch.zeros(B, T, C, H, W, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(B, T + 1), (T,), (B, T, 1)])
def test_a_mask_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match=r"mask must be \(batch, time\) = \(2, 5\); received"):
        make()(frames(), mask=torch.ones(shape))


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ([torch.zeros(B, F, H, W)], r"two tensors, \[h, c\]; received 1"),
        (torch.zeros(B, F, H, W), r"two tensors, \[h, c\]; received 1"),
        ([torch.zeros(B, F, H, W), torch.zeros(B, H, W, F)], r"c of initial_state must be \(2, 6"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state, text):
    with pytest.raises(ValueError, match=text):
        make()(frames(), initial_state=state)


def test_a_stateful_layer_refuses_another_size_and_says_how_to_go_on():
    layer = make(stateful=True)
    layer(frames())
    with pytest.raises(ValueError, match=r"holds \(2, 6, 7, 8\).*need \(1, 6, 7, 8\).*reset_state"):
        layer(frames(batch=1))


def test_masks_of_a_layer_without_dropout_are_absent():
    assert make().sample_dropout(frames()[:, 0]) == DropoutMasks(None, None)
