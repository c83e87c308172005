"""Winograd's transforms against PyTorch's convolutions, and when they are taken."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from framecast.nn.recurrence import cost
from framecast.nn.recurrence.cost import (
    SIDE,
    Tiles,
    live_elements,
    samples_of_block,
    saved_elements,
    saves_gates,
    tiles_of,
)
from framecast.nn.recurrence.winograd_transforms import (
    WinogradTransforms,
    clear_beyond,
    from_tiles,
    to_tiles,
)
from framecast.nn.shapes import ConvGeometry

N, C, G = 2, 3, 5
KERNELS = [(3, 3), (5, 5), (3, 5), (5, 3)]
SIZES = [(8, 12), (7, 9), (3, 21), (13, 4)]
DOUBLE = torch.float64


def noise(*shape, dtype=DOUBLE, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(shape, generator=draw, dtype=DOUBLE) - 1).to(dtype)


def read(x_NCHW, way):
    """What the tiles of frames read, (n,n,C,N,I,J)."""
    grid = tuple(-(-size // SIDE) for size in x_NCHW.shape[2:])
    n = [SIDE + side - 1 for side in way.kernel_size]
    out = x_NCHW.new_full((*n, x_NCHW.shape[1], len(x_NCHW), *grid), torch.nan)
    way.read(to_tiles(x_NCHW, grid), out)
    return out


def convolve(x_NCHW, kernel):
    way = WinogradTransforms(tuple(kernel.shape[2:]), kernel.dtype)
    x_nnCNIJ = read(x_NCHW, way)
    inputs = (way.inputs @ x_nnCNIJ.flatten(0, 1).flatten(1)).view(-1, x_NCHW.shape[1], len(x_NCHW))
    inputs_ACP = inputs.reshape(len(way.inputs), x_NCHW.shape[1], -1)
    products_AGP = way.weights(kernel) @ inputs_ACP
    sums = (way.outputs @ products_AGP.flatten(1)).view(
        SIDE, SIDE, len(kernel), *x_nnCNIJ.shape[3:]
    )
    found = x_NCHW.new_empty(len(x_NCHW), len(kernel), *x_NCHW.shape[2:])
    from_tiles(sums, found)
    return found


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_a_convolution_is_pytorchs(kernel_size, sizes):
    x_NCHW, kernel = noise(N, C, *sizes), noise(G, C, *kernel_size, seed=1)
    expected = functional.conv2d(x_NCHW, kernel, padding="same")
    torch.testing.assert_close(convolve(x_NCHW, kernel), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("side", "most"), [(3, 2e-6), (5, 1e-5)])
def test_float32_is_off_by_millionths_of_the_largest_value(side, most):
    x_NCHW, kernel = noise(N, 64, 32, 40), noise(48, 64, side, side, seed=1)
    expected = functional.conv2d(x_NCHW, kernel, padding="same")
    found = convolve(x_NCHW.float(), kernel.float())
    error = (found - expected).abs().max() / expected.abs().max()
    assert 1e-8 < error < most


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_a_tile_reads_itself_and_its_surroundings_with_zeros_around_the_frame(kernel_size, sizes):
    x_NCHW = noise(N, C, *sizes)
    found = read(x_NCHW, WinogradTransforms(kernel_size, DOUBLE))
    (above, left), grid = (side // 2 for side in kernel_size), found.shape[-2:]
    rows, columns = (SIDE * count - size for count, size in zip(grid, sizes, strict=True))
    padded = functional.pad(x_NCHW, (left, left + columns, above, above + rows))
    for i in range(grid[0]):
        for j in range(grid[1]):
            part = padded[:, :, SIDE * i :, SIDE * j :][..., : found.shape[0], : found.shape[1]]
            assert torch.equal(found[..., i, j].permute(3, 2, 0, 1), part)


@pytest.mark.parametrize(
    ("mode", "size"),
    [(FakeTensorMode(), (5, 3)), (torch.device("meta"), (3, 5))],
    ids=["fake", "meta"],
)
def test_what_is_made_first_in_a_mode_serves_outside_of_it(mode, size):
    dtype = torch.float16  # which nothing else asks for
    with mode:
        WinogradTransforms(size, dtype)
    way = WinogradTransforms(size, dtype)
    for matrix in (way.outputs, way.inputs, way.weights(noise(G, C, *size, dtype=dtype))):
        assert type(matrix) is torch.Tensor and not matrix.is_meta


@pytest.mark.parametrize("kernel_size", KERNELS)
def test_the_ways_back_are_adjoint(kernel_size):
    """<A x, y> = <x, A' y> for what is read and for the weights."""
    way = WinogradTransforms(kernel_size, DOUBLE)
    x_mmCNIJ = noise(SIDE, SIDE, C, N, 2, 4)
    forth = noise(*(SIDE + side - 1 for side in kernel_size), C, N, 2, 4, seed=1)
    y, back = torch.empty_like(forth), torch.empty_like(x_mmCNIJ)
    way.read(x_mmCNIJ, y)
    way.read_backward(forth, back)
    torch.testing.assert_close((y * forth).sum(), (x_mmCNIJ * back).sum())
    kernel = noise(G, C, *kernel_size)
    weights_AGC = way.weights(kernel)
    d_weights_AGC = noise(*weights_AGC.shape, seed=2)
    d_kernel = way.weights_backward(d_weights_AGC)
    assert d_kernel.shape == kernel.shape
    torch.testing.assert_close((weights_AGC * d_weights_AGC).sum(), (kernel * d_kernel).sum())


@pytest.mark.parametrize("sizes", SIZES)
def test_frames_come_back_from_tiles_and_nothing_is_beyond_them(sizes):
    x_NCHW = noise(N, C, *sizes)
    grid = tuple(-(-size // SIDE) for size in sizes)
    tiles = to_tiles(x_NCHW, grid).clone()
    assert tiles.shape == (SIDE, SIDE, C, N, *grid)
    back = torch.empty_like(x_NCHW)
    from_tiles(tiles, back)
    assert torch.equal(back, x_NCHW)
    full = torch.ones_like(tiles)
    clear_beyond(full, sizes)
    assert torch.equal(full != 0, to_tiles(torch.ones_like(x_NCHW), grid) != 0)


SAME = {"kernel_size": 3}
CHOICES = {
    "the default's layers": ((12, 12), 64, 64, 16, 6, SAME, True),
    "one sample of them": ((12, 12), 64, 64, 1, 12, SAME, False),
    "a single step": ((24, 24), 64, 64, 4, 1, SAME, False),
    "a few steps, the first without state": ((14, 14), 64, 64, 16, 2, SAME, False),
    "the same for long": ((14, 14), 64, 64, 16, 10, SAME, True),
    "few filters": ((64, 64), 16, 16, 4, 10, SAME, False),
    "few filters of 5": ((64, 64), 16, 16, 4, 10, {"kernel_size": 5}, False),
    "32 filters of 5": ((24, 24), 32, 32, 4, 10, {"kernel_size": 5}, True),
    "128 filters of 5": ((16, 16), 128, 128, 16, 10, {"kernel_size": 5}, True),
    "one channel": ((64, 64), 1, 64, 4, 10, {"kernel_size": 5}, True),
    "tiles half empty": ((9, 9), 64, 64, 16, 10, SAME, False),
    "kernels of 7": ((64, 64), 64, 64, 4, 10, {"kernel_size": 7}, False),
    "kernels of 1": ((64, 64), 64, 64, 4, 10, {"kernel_size": 1}, False),
    "strides": ((64, 64), 64, 64, 4, 10, {"kernel_size": 3, "strides": 2}, False),
    "valid": ((64, 64), 64, 64, 4, 10, {"kernel_size": 3, "padding": "valid"}, False),
    "dilation": ((64, 64), 64, 64, 4, 10, {"kernel_size": 3, "dilation_rate": 2}, False),
}


DIRECT_IF_HALVED = {
    "the default's layers",
    "the same for long",
    "32 filters of 5",
    "one channel",
}
"""Those of CHOICES that go the other way where matrix products have half the width."""


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("name", CHOICES)
def test_the_way_is_chosen_by_what_it_costs(name, halved, monkeypatch):
    monkeypatch.setattr(cost, "halves_matrix_products", lambda: halved)
    sizes, channels, filters, batch, steps, arguments, wanted = CHOICES[name]
    wanted = wanted and not (halved and name in DIRECT_IF_HALVED)
    inputs = ConvGeometry.parse(2, **arguments)
    state = ConvGeometry.parse(2, kernel_size=arguments["kernel_size"])
    found = tiles_of(inputs, state, sizes, channels, filters, batch=batch, steps=steps)
    assert found == (Tiles(batch, sizes, state.kernel_size) if wanted else None)


def test_series_are_convolved_directly():
    looks = ConvGeometry.parse(1, kernel_size=3)
    assert tiles_of(looks, looks, (4096,), 64, 64, batch=4, steps=10) is None


def test_what_a_sequence_takes():
    tiles = Tiles(16, (15, 18), (3, 5))
    assert (tiles.grid, tiles.count, tiles.products) == ((4, 5), 320, 48)
    assert saves_gates(tiles, 8, 10) and not saves_gates(tiles, 64, 10)
    assert saved_elements(tiles, 8, 10) == 4 * 10 * 8 * 16 * 320
    assert saved_elements(tiles, 8, 10, recompute=True) == 10 * 8 * 16 * 320
    assert saved_elements(tiles, 64, 10) == 10 * 64 * 16 * 320
    # of a tile: 48 x (2 x 12 + 32) read and multiplied, 16 x (12 + 32) seen and summed up
    block, weights = 48 * (2 * 12 + 32) + 16 * (12 + 32), 48 * 32 * 12
    assert live_elements(tiles, 4, 8, 10) == 8 * 16 * 320 + block * 320 + weights


def test_blocks_are_of_one_size_and_a_sample_at_least():
    assert samples_of_block(Tiles(16, (12, 12), (3, 3)), 64, 64, 6) == 16
    assert samples_of_block(Tiles(16, (16, 16), (3, 3)), 16, 64, 10) == 8
    assert samples_of_block(Tiles(16, (16, 16), (3, 3)), 16, 64, 40) == 16
    assert samples_of_block(Tiles(10, (32, 32), (3, 3)), 16, 64, 10) == 5
    assert samples_of_block(Tiles(3, (512, 512), (3, 3)), 64, 64, 10) == 1
