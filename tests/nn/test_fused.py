"""The recurrence as one operation against the plain loop: values, gradients, and where it runs."""

import itertools

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from framecast.nn.convlstm import cell as cell_module
from framecast.nn.convlstm import layer as layer_module
from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from framecast.nn.recurrence import cost, direct, fused

B, T, C, H, W, F = 2, 5, 3, 7, 8, 6
DOUBLE = torch.float64
VARIANTS = {
    "plain": {"padding": "same"},
    "valid, strided": {"strides": (2, 3)},
    "dilated, no bias": {"dilation_rate": 2, "use_bias": False},
    "even kernel": {"kernel_size": (2, 4), "padding": "same"},
    "even kernel, strided": {"kernel_size": (4, 2), "padding": "same", "strides": 2},
    "peephole": {"peephole": True, "padding": "same"},
    "backwards": {"go_backwards": True, "padding": "same"},
    "last output": {"return_sequences": False, "padding": "same"},
    "channels last": {"data_format": "channels_last", "padding": "same"},
    "recompute": {"recompute": True, "peephole": True, "go_backwards": True, "padding": "same"},
}
BLOCKS = {"a sample and step": 1, "some steps": 2 * 2 * 4 * B * F * H * W * 8, "all": 2**30}


def make(dtype=DOUBLE, channels=C, **arguments):
    given = {"kernel_size": 3, "data_format": "channels_first", "return_sequences": True}
    given = {**given, **arguments, "in_channels": channels}
    layer = ConvLSTM2D(F, **given, return_state=True, dtype=dtype)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return layer


def inputs_of(layer, dtype=DOUBLE, state=True):
    torch.manual_seed(7)
    sizes = layer.geometry.output_sizes((H, W))
    shaped = [(B, T, layer.in_channels, H, W), *[(B, F, *sizes)] * (2 * state)]
    if layer.data_format == "channels_last":
        shaped = [(*shape[:-3], *shape[-2:], shape[-3]) for shape in shaped]
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shaped]


def run(layer, x, *state):
    """Outputs, the same without gradients, and the gradients of everything by random weights."""
    outputs = layer(x, state or None)
    with torch.no_grad():
        again = layer(x, state or None)
    torch.manual_seed(9)
    # Drawn in one type, so that they are the same for outputs of any.
    loss = sum((output * torch.randn(output.shape).to(output.dtype)).sum() for output in outputs)
    return outputs, again, torch.autograd.grad(loss, [x, *state, *layer.parameters()])


def loops(monkeypatch):
    monkeypatch.setattr(cell_module, "can_fuse", lambda tensors: False)


def fuses(monkeypatch):
    """Fail where the fast path is not taken."""
    monkeypatch.setattr(ConvLSTM2D, "_loop", None)


def assert_equal(fast, slow):
    for ours, theirs in zip(itertools.chain(*fast), itertools.chain(*slow), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def assert_as_the_loop(monkeypatch, layer, state, prepare):
    """Values and gradients after `prepare`, which chooses the fused operations, are the loop's."""
    tensors = inputs_of(layer, state=state)
    with monkeypatch.context() as patch:
        prepare(patch)
        fast = run(layer, *tensors)
    loops(monkeypatch)
    assert_equal(fast, run(layer, *tensors))


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("state", [True, False], ids=["from a state", "from zeros"])
@pytest.mark.parametrize("name", VARIANTS)
def test_values_and_gradients_are_those_of_the_loop(monkeypatch, name, state, block):
    def prepare(patch):
        patch.setattr(cost, "BLOCK_BYTES", block)
        fuses(patch)

    assert_as_the_loop(monkeypatch, make(**VARIANTS[name]), state, prepare)


def cuts_tiles(monkeypatch):
    """Take Winograd's way whatever it costs, and fail where another is taken."""
    monkeypatch.setattr(cost, "pays", lambda *_: True)
    monkeypatch.setattr(direct, "forward", None)
    fuses(monkeypatch)


IN_TILES = {
    "plain": {},
    "no bias": {"use_bias": False},
    "peephole": {"peephole": True},
    "backwards": {"go_backwards": True},
    "last output": {"return_sequences": False},
    "channels last": {"data_format": "channels_last"},
    "kernel of 5": {"kernel_size": 5},
    "kernel of 3 x 5": {"kernel_size": (3, 5), "peephole": True},
    "recompute": {"recompute": True, "peephole": True, "go_backwards": True},
    "recompute, no bias": {"recompute": True, "use_bias": False, "kernel_size": (5, 3)},
}


@pytest.mark.parametrize("kept", [0, 2**30], ids=["gates again", "gates kept"])
@pytest.mark.parametrize("block", [1, 2**30], ids=["a sample", "all"])
@pytest.mark.parametrize("state", [True, False], ids=["from a state", "from zeros"])
@pytest.mark.parametrize("name", IN_TILES)
def test_values_and_gradients_in_tiles_are_those_of_the_loop(monkeypatch, name, state, block, kept):
    def prepare(patch):
        patch.setattr(cost, "_BLOCK_BYTES", (block, block))
        patch.setattr(cost, "_MOST_SAVED_BYTES", kept)
        cuts_tiles(patch)

    assert_as_the_loop(monkeypatch, make(padding="same", **IN_TILES[name]), state, prepare)


@pytest.mark.parametrize("asked", ["kernel", "recurrent_kernel", "bias"])
@pytest.mark.parametrize("way", [fuses, cuts_tiles], ids=["direct", "in tiles"])
def test_only_what_is_asked_for_gets_a_gradient(monkeypatch, way, asked):
    way(monkeypatch)
    layer = make(padding="same", peephole=True)
    x, h, c = inputs_of(layer)
    layer.requires_grad_(False)
    layer.get_parameter(asked).requires_grad_()
    layer(x.detach(), (h.detach(), c))[0].sum().backward()
    found = {name for name, weight in layer.named_parameters() if weight.grad is not None}
    assert h.grad is None and x.grad is None and found == {asked}
    assert c.grad.abs().max() > 0 and layer.get_parameter(asked).grad.abs().max() > 0


def test_tiles_are_taken_where_they_are_faster(monkeypatch):
    layer = ConvLSTM2D(64, 3, padding="same", in_channels=32, data_format="channels_first")
    x = torch.rand(16, 6, 32, 14, 16, generator=torch.Generator().manual_seed(0))
    loops(monkeypatch)
    expected = layer(x)
    monkeypatch.undo()
    monkeypatch.setattr(cost, "halves_matrix_products", lambda: False)
    monkeypatch.setattr(direct, "forward", None)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=2e-6)


def test_other_devices_convolve_directly():
    layer = ConvLSTM2D(64, 3, padding="same", in_channels=64, device="meta")
    x = torch.empty(16, 6, 12, 12, 64, device="meta", requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == x.shape and layer.kernel.grad.shape == layer.kernel.shape


@pytest.mark.parametrize("name", VARIANTS)
def test_one_channel_has_its_own_way_to_the_same_gradients(monkeypatch, name):
    layer = make(channels=1, **VARIANTS[name])
    tensors = inputs_of(layer)
    fast = run(layer, *tensors)
    loops(monkeypatch)
    assert_equal(fast, run(layer, *tensors))


def errors(monkeypatch, exact, layer, tensors):
    """Largest relative errors of the fused recurrence and of the loop in float32."""
    truth = list(itertools.chain(*run(exact, *tensors)))
    single = [tensor.detach().float().requires_grad_() for tensor in tensors]
    for patch in (fuses, loops):
        with monkeypatch.context() as patched:
            patch(patched)
            found = itertools.chain(*run(layer, *single))
        pairs = [(a, b, b.abs().max()) for a, b in zip(found, truth, strict=True)]
        assert all(a.isfinite().all() and (top > 0 or not a.any()) for a, _, top in pairs)
        yield max(((a - b).abs().max() / top).item() for a, b, top in pairs if top > 0)


def test_float32_is_as_close_to_the_truth_as_the_loop(monkeypatch):
    exact, layer = make(), make(dtype=torch.float32)
    ours, theirs = errors(monkeypatch, exact, layer, inputs_of(exact))
    assert ours < max(2 * theirs, 1e-6)


UNFAVOURABLE = {
    "closed input gate": (-12, 0, 0, 0),
    "input gate of 0": (-200, 0, 0, 0),
    "large cell": (4, 6, 2, 0),
    "large cell, closing gate": (-4, 8, 2, 0),
    "certain candidate": (0, 0, 12, 0),
    "forgotten": (0, -200, 0, 0),
}
"""Added to the biases of i, f, c and o."""


@pytest.mark.parametrize("peephole", [False, True], ids=["", "peephole"])
@pytest.mark.parametrize("state", [True, False], ids=["from a state", "from zeros"])
@pytest.mark.parametrize("name", UNFAVOURABLE)
def test_a_candidate_is_known_from_the_cell_where_rounding_hides_it(
    monkeypatch, name, state, peephole
):
    pair = [make(dtype, padding="same", peephole=peephole) for dtype in (DOUBLE, torch.float32)]
    with torch.no_grad():
        for layer in pair:
            layer.bias.unflatten(0, (4, F)).add_(torch.tensor(UNFAVOURABLE[name])[:, None])
    x, *before = inputs_of(pair[0], state=state)
    long = x.detach().repeat(1, 8, 1, 1, 1).requires_grad_()
    ours, theirs = errors(monkeypatch, *pair, [long, *before])
    assert ours < max(2 * theirs, 1e-6)


def test_black_frames_without_a_bias_have_the_loops_gradients(monkeypatch):
    layer = make(torch.float32, use_bias=False, padding="same")
    x = torch.zeros(B, T, C, H, W, requires_grad=True)
    fast = run(layer, x)
    loops(monkeypatch)
    for ours, theirs in zip(itertools.chain(*fast), itertools.chain(*run(layer, x)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("way", "kernel_size"), [(fuses, (2, 3)), (cuts_tiles, 3)], ids=["direct", "in tiles"]
)
@pytest.mark.parametrize("arguments", [{}, {"peephole": True, "recompute": True}], ids=str)
def test_gradients_are_those_of_finite_differences(monkeypatch, arguments, way, kernel_size):
    way(monkeypatch)
    given = {"padding": "same", "in_channels": 1, "return_sequences": True, **arguments}
    layer = ConvLSTM2D(2, kernel_size, dtype=DOUBLE, **given)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, *state = (
        torch.rand(shape, dtype=DOUBLE) for shape in [(1, 3, 2, 3, 1), *[(1, 2, 3, 2)] * 2]
    )
    tensors = [tensor.requires_grad_() for tensor in (x, *state, *layer.parameters())]
    assert torch.autograd.gradcheck(lambda x, h, c, *_: layer(x, (h, c)), tensors)


@pytest.mark.parametrize("state", [True, False], ids=["from a state", "from zeros"])
@pytest.mark.parametrize("name", VARIANTS)
def test_under_autocast_all_is_near_what_the_loop_gives_in_full(monkeypatch, name, state):
    """As near as 16 bits are; c has 32."""
    layer = make(torch.float32, **VARIANTS[name])
    tensors = inputs_of(layer, torch.float32, state)
    with monkeypatch.context() as patch:
        loops(patch)
        truth = run(layer, *tensors)
    fuses(monkeypatch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = run(layer, *tensors)
    for outputs in rounded[:2]:
        assert [t.dtype for t in outputs] == [torch.bfloat16, torch.bfloat16, torch.float32]
    for ours, exact in zip(itertools.chain(*rounded), itertools.chain(*truth), strict=True):
        assert (ours - exact).norm() < 0.015 * exact.norm()


@pytest.mark.parametrize(("kind", "sizes"), [(ConvLSTM1D, (W,)), (ConvLSTM3D, (3, H, W))])
def test_frames_of_one_and_three_axes_are_as_near_in_16_bits(monkeypatch, kind, sizes):
    layer = kind(F, 3, padding="same", return_sequences=True, in_channels=C)
    x = torch.rand(B, T, *sizes, C)
    expected = layer(x)
    monkeypatch.setattr(kind, "_loop", None)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert (found - expected).norm() < 0.015 * expected.norm()


def test_one_axis_goes_the_same_way(monkeypatch):
    layer = ConvLSTM1D(F, 3, padding="same", return_sequences=True, in_channels=C, dtype=DOUBLE)
    x = torch.rand(B, T, W, C, dtype=DOUBLE)
    with monkeypatch.context() as patch:
        patch.setattr(ConvLSTM1D, "_loop", None)
        fast = layer(x)
    loops(monkeypatch)
    torch.testing.assert_close(fast, layer(x))


def test_a_retained_graph_can_be_used_twice():
    layer = make(padding="same")
    x, *_ = inputs_of(layer)
    loss = layer(x)[0].square().sum()
    first = torch.autograd.grad(loss, x, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(loss, x, retain_graph=True)[0], first)
    loss.backward()
    assert torch.equal(x.grad, first)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def second_order(layer, tensors):
    """Gradients of a loss that contains gradients of every input and weight."""
    torch.manual_seed(11)
    outputs = layer(tensors[0], tensors[1:] or None)
    loss = sum((y * torch.randn(y.shape).to(y)).sum() for y in outputs)
    sources = [*tensors, *layer.parameters()]
    first = torch.autograd.grad(loss, sources, create_graph=True)
    penalty = sum((g.square() * torch.rand(g.shape).to(g)).sum() for g in first)
    return first, torch.autograd.grad(loss + penalty, sources)


@pytest.mark.parametrize("taken", [fuses, cuts_tiles], ids=["direct", "in tiles"])
@pytest.mark.parametrize("name", ["plain", "recompute"])
def test_gradients_of_many_weights_at_once_are_those_of_each(monkeypatch, name, taken):
    taken(monkeypatch)
    layer = make(**VARIANTS[name])
    sources = [*inputs_of(layer), *layer.parameters()]
    h_BTFHW, *_ = layer(sources[0], tuple(sources[1:3]))
    weights_MBTFHW = torch.randn(4, *h_BTFHW.shape, dtype=DOUBLE)
    together = torch.autograd.grad(
        h_BTFHW, sources, weights_MBTFHW, is_grads_batched=True, retain_graph=True
    )
    for number, weights_BTFHW in enumerate(weights_MBTFHW):
        expected = torch.autograd.grad(h_BTFHW, sources, weights_BTFHW, retain_graph=True)
        for found, gradient in zip(together, expected, strict=True):
            torch.testing.assert_close(found[number], gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("taken", [fuses, cuts_tiles], ids=["direct", "in tiles"])
@pytest.mark.parametrize("state", [True, False], ids=["from a state", "from zeros"])
@pytest.mark.parametrize("name", IN_TILES)
def test_gradients_of_gradients_are_those_of_the_loop(monkeypatch, name, state, taken):
    layer = make(padding="same", **IN_TILES[name])
    tensors = inputs_of(layer, state=state)
    with monkeypatch.context() as patch:
        taken(patch)
        fused = second_order(layer, tensors)
    loops(monkeypatch)
    assert_equal(fused, second_order(layer, tensors))


def test_a_gradient_penalty_reaches_the_weights(monkeypatch):
    """A penalty on the input's gradient: once it was silently left out of the kernel's gradient."""
    layer, found = make(), []
    x, *_ = inputs_of(layer, state=False)
    for patched in (False, True):
        if patched:
            loops(monkeypatch)
        layer.zero_grad()
        loss = layer(x)[0].mean()
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        (loss + 1e6 * gradient.square().sum()).backward()
        found.append(layer.kernel.grad)
        alone = torch.autograd.grad(layer(x)[0].mean(), layer.kernel)[0]
        assert (found[-1] - alone).norm() > 10 * alone.norm()
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("taken", "kernel_size"), [(fuses, (2, 3)), (cuts_tiles, 3)], ids=["direct", "in tiles"]
)
def test_second_derivatives_are_those_of_finite_differences(monkeypatch, taken, kernel_size):
    taken(monkeypatch)
    given = {"padding": "same", "in_channels": 1, "return_sequences": True, "peephole": True}
    layer = ConvLSTM2D(1, kernel_size, dtype=DOUBLE, **given)
    torch.manual_seed(1)
    shapes = [(1, 2, 2, 3, 1), *[(1, 2, 3, 1)] * 2]
    x, *state = (torch.rand(shape, dtype=DOUBLE) for shape in shapes)
    tensors = [tensor.requires_grad_() for tensor in (x, *state, *layer.parameters())]
    assert torch.autograd.gradgradcheck(lambda x, h, c, *_: layer(x, (h, c)), tensors)


def test_second_order_under_autocast_is_near_that_in_full():
    layer = make(torch.float32, padding="same", peephole=True)
    tensors = inputs_of(layer, torch.float32)
    exact = second_order(layer, tensors)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = second_order(layer, tensors)
    for ours, full in zip(itertools.chain(*rounded), itertools.chain(*exact), strict=True):
        assert (ours - full).norm() < 0.1 * full.norm()


@pytest.mark.parametrize("taken", [fuses, cuts_tiles], ids=["direct", "in tiles"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_gives_the_same_gradients(monkeypatch, reentrant, taken):
    taken(monkeypatch)
    layer = make(padding="same", peephole=True)
    tensors = inputs_of(layer)
    sources = [*tensors, *layer.parameters()]
    expected = torch.autograd.grad(layer(tensors[0], tensors[1:])[0].square().sum(), sources)
    again = checkpoint(layer, tensors[0], tensors[1:], use_reentrant=reentrant)[0].square().sum()
    if reentrant:  # which knows backward() alone, and gradients of what it is given directly
        again.backward()
        found = [tensor.grad for tensor in sources[3:]]
    else:
        found = torch.autograd.grad(again, sources)
    assert_equal([found], [expected[-len(found) :]])


def test_one_tensor_given_in_two_places_gets_both_gradients(monkeypatch):
    layer = make(channels=F, padding="same")
    h = torch.randn(B, F, H, W, dtype=DOUBLE, requires_grad=True)
    results = []
    for patched in (False, True):
        if patched:
            loops(monkeypatch)
        loss = layer(h.unsqueeze(1), (h, h))[0].square().sum()
        (first,) = torch.autograd.grad(loss, h, create_graph=True)
        results.append([first, *torch.autograd.grad(first.square().sum(), h)])
    assert_equal([results[0]], [results[1]])


@pytest.mark.parametrize("bias", [True, False], ids=["bias learns", "bias fixed"])
@pytest.mark.parametrize("arguments", [{}, {"kernel_size": 1}, {"recompute": True}], ids=str)
def test_one_step_from_zeros_has_a_gradient_of_zeros_for_the_recurrent_kernel(arguments, bias):
    layer = make(**arguments)
    layer.bias.requires_grad_(bias)
    x = torch.randn(B, 1, C, H, W, dtype=DOUBLE)
    layer(x)[0].sum().backward()
    assert torch.equal(layer.recurrent_kernel.grad, torch.zeros_like(layer.recurrent_kernel))
    assert layer.kernel.grad.abs().max() > 0


@pytest.mark.parametrize("arguments", [{}, {"peephole": True, "go_backwards": True}], ids=str)
def test_an_empty_batch_gives_empty_outputs_and_gradients_of_zeros(arguments):
    layer = make(**arguments)
    x = torch.zeros(0, T, C, H, W, dtype=DOUBLE, requires_grad=True)
    output, h, c = layer(x)
    assert output.shape == (0, T, F, H - 2, W - 2)
    assert h.shape == c.shape == (0, F, H - 2, W - 2)
    (output.sum() + c.sum()).backward()
    assert x.grad.shape == x.shape
    for parameter in layer.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def test_what_the_operation_does_not_know_goes_through_the_loop(monkeypatch):
    monkeypatch.setattr(layer_module, "fused_recurrence", None)
    mask = torch.ones(B, T)
    for arguments in ({"activation": "relu"}, {"recurrent_activation": "hard_sigmoid"}):
        make(**arguments)(*inputs_of(make(**arguments), state=False))
    for arguments in ({"layer_norm": True}, {"dropout": 0.5}, {"recurrent_dropout": 0.5}):
        make(**arguments)(*inputs_of(make(), state=False))
    make()(*inputs_of(make(), state=False), mask=mask)
    with torch.autocast("cpu", torch.bfloat16):
        make()(*inputs_of(make(), state=False))
    layer, (x,) = make(), inputs_of(make(), state=False)
    with forward_ad.dual_level():
        output = layer(forward_ad.make_dual(x.detach(), torch.ones_like(x)))[0]
        assert forward_ad.unpack_dual(output).tangent.abs().max() > 0
    torch.vmap(lambda x_TCHW: layer(x_TCHW.unsqueeze(0))[0])(x.detach())
    assert not fused.can_fuse([x.bfloat16()])
