"""Tiles: they cover the frame, together count as 1 everywhere, and forecast what the whole does."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from framecast.config.loading import load_config
from framecast.errors import ResourceError, UsageError
from framecast.nn.cost_model.memory import fitting_tile
from framecast.nn.forecasters.flow.constants import CELL
from framecast.nn.forecasters.flow.scale_persistence import recall
from framecast.nn.forecasters.grid import smallest_tile, spans, tile_unit
from framecast.nn.forecasters.registry import build_forecaster
from framecast.nn.forecasters.tiled import TiledForecaster, blend_weights
from framecast.prediction.checkpoint import Checkpoint
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.prediction.rollout import rollout
from tests.support.models import random_checkpoint
from tests.support.textures import translating


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100, 177, 256, 1000])
@pytest.mark.parametrize(("side", "overlap", "unit"), [(64, 32, 16), (96, 32, 16), (240, 96, 48)])
def test_tiles_cover_a_length_at_whole_cells(length, side, overlap, unit):
    tiles = spans(length, side, overlap, unit)
    assert tiles[0][0] == 0
    assert tiles[-1][1] == length
    assert all(start % unit == 0 and 0 < end - start <= side for start, end in tiles)
    for (_, end), (start, _) in itertools.pairwise(tiles):
        assert end - start >= overlap
    assert len(tiles) == 1 or all(end - start > side - unit for start, end in tiles)


@pytest.mark.parametrize("length", [100, 177, 1000])
def test_weights_sum_to_one_and_ignore_borders_inside_the_frame(length):
    overlap, tiles = 32, spans(length, 64, 32, 16)
    total = torch.zeros(length)
    for (start, end), weight in zip(tiles, blend_weights(length, tiles, overlap), strict=True):
        total[start:end] += weight
        assert weight.min() >= 0
        assert weight.diff().abs().max() < 3 / overlap  # no step
        if start > 0:
            assert not weight[: overlap // 4].any()
        if end < length:
            assert not weight[-(overlap // 4) :].any()
    torch.testing.assert_close(total, torch.ones(length))


def network_of(name, *settings):
    """A network of one layer, each weight drawn: it sees few cells."""
    config = load_config(
        None,
        ["model.filters=[4]", "model.patch=4", f"model.name={name}", *settings],
        {},
    )
    torch.manual_seed(1)
    network = build_forecaster(config.model, 1, (96, 128))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    return network.eval(), config.model


def frames(height, width):
    return translating(3, height, width, (1.5, -0.75), seed=4)[None, :, None]


@pytest.mark.parametrize("name", ["convlstm", "shi2015"])
def test_where_no_border_is_in_sight_tiles_give_the_whole_exactly(name):
    network, model = network_of(name)
    context_BTCHW = frames(83, 190)
    whole = torch.stack([*rollout(network, context_BTCHW, 2)])
    tiled = torch.stack([*rollout(TiledForecaster(network, model, 128), context_BTCHW, 2)])
    assert whole.std() > 0.01
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("amplitude", [0.0, 0.2])
def test_tiles_of_estimated_motion_stay_close_to_the_whole(amplitude):
    """Also in noise, of which each place remembers another share."""
    network, model = network_of("flow-convlstm")
    context_BTCHW = frames(150, 400)
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(context_BTCHW.shape, generator=draw) * torch.linspace(0, 1, 400)
    context_BTCHW = (context_BTCHW + amplitude * noise).clamp(0, 1)
    whole = torch.stack([*rollout(network, context_BTCHW, 3)])
    moved = (whole[-1] - context_BTCHW[:, -1]).abs().mean()
    off = [
        (torch.stack([*rollout(TiledForecaster(network, model, side), context_BTCHW, 3)]) - whole)
        .abs()
        .mean()
        for side in (256, 64)
    ]
    assert off[0] < 0.01 * moved
    assert off[0] < off[1]


def test_inside_a_tile_as_much_is_remembered_as_in_the_whole():
    """To rounding, more than the window's 3 cells from where the tile ends, if cells are the same.

    A tile that starts at cells of the grid and the pyramid alone has other ones.
    """
    unit, cells = tile_unit(load_config(None, [], {}).model), slice(3, -3)
    draw = torch.Generator().manual_seed(0)
    context_BTCHW = torch.rand(1, 3, 1, 288, 320, generator=draw, dtype=torch.float64)
    whole_BSIJ, aligned_BSIJ, other_BSIJ = (
        recall(part_BTCHW, torch.zeros_like(part_BTCHW[:, :2, 0])).first_BSIJ
        for part_BTCHW in (context_BTCHW, context_BTCHW[..., unit:], context_BTCHW[..., 16:])
    )
    inside_BSIJ = whole_BSIJ[..., unit // CELL :][..., cells]
    torch.testing.assert_close(aligned_BSIJ[..., cells], inside_BSIJ)
    assert (other_BSIJ[..., 1:][..., cells] - inside_BSIJ).abs().max() > 1e-3


def test_one_tile_is_the_whole_to_the_bit():
    checkpoint = random_checkpoint(3)
    context = np.random.default_rng(0).integers(0, 256, (5, 40, 50, 3), dtype=np.uint8)
    whole = LoadedForecaster(checkpoint, "cpu").predict(context, 3)
    assert LoadedForecaster(checkpoint, "cpu", tile=64).tile_side(40, 50) is None
    tiled = TiledForecaster(checkpoint.forecaster(), checkpoint.config.model, 64)
    forecaster = LoadedForecaster(checkpoint, "cpu")
    forecaster.network = tiled
    np.testing.assert_array_equal(forecaster.predict(context, 3), whole)


def test_tiles_are_asked_for_or_taken_where_memory_needs_them(monkeypatch):
    checkpoint = random_checkpoint(3, "data.resize=none")
    context = np.random.default_rng(0).integers(0, 256, (5, 80, 400, 3), dtype=np.uint8)
    asked = LoadedForecaster(checkpoint, "cpu", tile=90)
    assert asked.tile_side(80, 400) == 90
    free = LoadedForecaster(checkpoint, "cpu")
    assert free.tile_side(80, 400) is None
    monkeypatch.setattr(
        "framecast.prediction.loaded_forecaster.prediction_memory", lambda device: 28_000_000
    )
    side = free.tile_side(80, 400)
    assert side == 100
    tiled = LoadedForecaster(checkpoint, "cpu", tile=side)
    np.testing.assert_array_equal(free.predict(context, 2), tiled.predict(context, 2))
    monkeypatch.setattr(
        "framecast.prediction.loaded_forecaster.prediction_memory", lambda device: 1000
    )
    with pytest.raises(ResourceError, match=r"predicting frames of 80 x 400 takes .* in tiles"):
        free.predict(context, 2)


@pytest.mark.parametrize(
    ("name", "bytes_per_pixel", "sides"),
    [
        ("convlstm", 216, {1.0: None, 0.95: 1024, 0.9: 512, 0.65: 512}),
        ("flow-convlstm", 461, {1.0: None, 0.95: 512, 0.92: 512}),
    ],
)
def test_the_tile_that_fits_is_the_largest_half_that_does(name, bytes_per_pixel, sides):
    """Overlaps make quarters of 256 and less hold more than they save."""
    model, whole = (
        replace(load_config(None, [], {}).model, name=name),
        bytes_per_pixel * 2048 * 1024,
    )
    found = {share: fitting_tile(model, 1, (2048, 1024), 6, int(share * whole)) for share in sides}
    assert found == sides
    with pytest.raises(ResourceError, match=r"takes .* GB whole and more than the .* in tiles"):
        fitting_tile(model, 1, (2048, 1024), 6, int(0.6 * whole))


def test_tiles_start_at_cells_of_grid_pyramid_and_memory():
    model = load_config(None, [], {}).model
    for patch in (1, 2, 4, 8, 16):
        sized = replace(model, patch=patch)
        assert (tile_unit(sized), smallest_tile(sized)) == (32, 64)


@pytest.mark.parametrize(
    ("settings", "tile", "words"),
    [
        ((), 3, "--tile 3: too small for a model with patches of 4; use 64 or more"),
        (("model.name=fc-lstm", "data.resize=7x8"), 64, "--tile 64: fc-lstm is tied to frames of"),
        (("model.name=cnn-lstm", "data.resize=7x8"), 64, "cannot see in parts; leave out --tile"),
    ],
)
def test_tiles_that_cannot_be_are_refused(settings, tile, words):
    checkpoint = random_checkpoint(3, *settings)
    assert isinstance(checkpoint, Checkpoint)
    with pytest.raises(UsageError, match=words):
        LoadedForecaster(checkpoint, "cpu", tile=tile)
