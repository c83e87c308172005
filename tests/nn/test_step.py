"""A step without gradients, which is fused, against the same step with them, which is not."""

import pytest
import torch

from framecast.nn.convlstm import cell as cell_module
from framecast.nn.convlstm.layer import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from framecast.nn.recurrence import cost

B, C, F, SIZES = 2, 3, 6, (7, 8, 9)
LAYERS = {1: ConvLSTM1D, 2: ConvLSTM2D, 3: ConvLSTM3D}
VARIANTS = {
    "plain": {"padding": "same"},
    "strided": {"strides": 2},
    "peephole": {"peephole": True, "padding": "same"},
    "backwards": {"go_backwards": True, "return_sequences": True, "use_bias": False},
    "relu": {"activation": "relu"},
    "layer norm": {"layer_norm": True},
    "own kernel over the state": {"recurrent_kernel_size": 1},
}


@pytest.mark.parametrize("arguments", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("rank", LAYERS)
def test_a_step_is_the_same_with_and_without_gradients(rank, arguments):
    torch.manual_seed(0)
    layer = LAYERS[rank](F, 3, in_channels=C, dtype=torch.float64, **arguments)
    x = torch.rand(B, C, *SIZES[:rank], dtype=torch.float64)
    state = None
    for _ in range(3):
        with torch.no_grad():
            fused = layer.step(x, state)
        looped = layer.step(x, state)
        assert looped[0].requires_grad and not fused[0].requires_grad
        for ours, theirs in zip(fused, looped, strict=True):
            torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-12)
        before = [tensor.clone() for tensor in fused]
        state = fused
        with torch.no_grad():
            layer.step(x, state)
        # A step leaves the state that it was given as it is.
        assert all(map(torch.equal, state, before))


def test_a_step_without_gradients_is_fused_and_direct(monkeypatch):
    layer = ConvLSTM2D(64, 3, padding="same", in_channels=64)
    monkeypatch.setattr(ConvLSTM2D, "_step", None)
    monkeypatch.setattr(cost, "_LEAST_TILES", 0)
    found = []
    forward = cell_module.fused_recurrence
    monkeypatch.setattr(
        cell_module,
        "fused_recurrence",
        lambda *given: found.append(given) or forward(*given),
    )
    with torch.no_grad():
        h, _ = layer.step(torch.rand(1, 64, 64, 64))
    assert len(found) == 1 and h.shape == (1, 64, 64, 64)
    monkeypatch.setattr(cost, "halves_matrix_products", lambda: False)
    assert not cost.pays(cost.Tiles(16, (64, 64), (3, 3)), 64, 64, steps=1)
    assert cost.pays(cost.Tiles(16, (64, 64), (3, 3)), 64, 64, steps=2)


def test_a_fused_step_under_autocast_is_near_that_in_full():
    layer = ConvLSTM2D(F, 3, padding="same", in_channels=C)
    x, state = torch.rand(B, C, 7, 8), (torch.rand(B, F, 7, 8), torch.rand(B, F, 7, 8))
    with torch.no_grad():
        exact = layer.step(x, state)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = layer.step(x, state)
    assert [t.dtype for t in rounded] == [torch.bfloat16, torch.float32]
    for ours, full in zip(rounded, exact, strict=True):
        assert (ours - full).norm() < 0.015 * full.norm()
