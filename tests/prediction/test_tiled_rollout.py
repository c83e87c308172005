"""Tiles: they cover the frame, their weights sum to 1, and they forecast what the whole does."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from framecast.config.loading import load_config
from framecast.config.schema import ModelConfig
from framecast.errors import ResourceError, UsageError
from framecast.nn.cost_model.network import forecast_totals
from framecast.nn.forecasters.grid import TILE_UNIT, tile_overlap, tile_spans
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.checkpoint import Checkpoint, save_checkpoint
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.prediction.rollout import blending_weights, rollout, tiled_rollout
from framecast.video.pixels import from_unit, to_unit
from tests.support.live_bytes import LiveBytes
from tests.support.models import random_checkpoint
from tests.support.textures import translating

DEFAULT = ModelConfig().name


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100, 177, 256, 1000])
@pytest.mark.parametrize("side", [64, 100, 160, 256])
def test_tiles_cover_a_length_at_whole_cells(length, side):
    tiles, overlap = tile_spans(length, side), tile_overlap(side)
    assert tiles[0][0] == 0
    assert tiles[-1][1] == length
    assert all(start % TILE_UNIT == 0 and 0 < end - start <= side for start, end in tiles)
    for (_, end), (start, _) in itertools.pairwise(tiles):
        assert end - start >= overlap >= TILE_UNIT
    assert len(tiles) == 1 or all(end - start > side - 2 * TILE_UNIT for start, end in tiles)


@pytest.mark.parametrize("length", [100, 177, 1000])
def test_weights_sum_to_one_and_ignore_borders_inside_the_frame(length):
    overlap, tiles = tile_overlap(64), tile_spans(length, 64)
    total = torch.zeros(length)
    for (start, end), weight in zip(tiles, blending_weights(length, tiles, overlap), strict=True):
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
    return network.eval()


def frames(height, width):
    return translating(3, height, width, (1.5, -0.75), seed=4)[None, :, None]


def forecast(network, context_BTCHW, horizon, side=None):
    if side is None:
        return torch.stack([*rollout(network, context_BTCHW, horizon)])
    return torch.stack([*tiled(network, context_BTCHW, horizon, side)])


def tiled(network, context_BTCHW, horizon, side):
    B, _, C, H, W = context_BTCHW.shape
    cut = lambda rows, columns: context_BTCHW[..., rows, columns]  # noqa: E731
    return tiled_rollout(network, cut, (B, C, H, W), horizon, side)


@pytest.mark.parametrize("name", ["convlstm", "shi2015"])
def test_where_no_border_is_in_sight_tiles_give_the_whole_exactly(name):
    network, context_BTCHW = network_of(name), frames(83, 390)
    whole = forecast(network, context_BTCHW, 2)
    assert whole.std() > 0.01
    torch.testing.assert_close(forecast(network, context_BTCHW, 2, 256), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("amplitude", [0.0, 0.2])
def test_tiles_of_estimated_motion_stay_close_to_the_whole(amplitude):
    """Also in noise that grows from left to right."""
    network, context_BTCHW = network_of(DEFAULT), frames(110, 320)
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(context_BTCHW.shape, generator=draw) * torch.linspace(0, 1, 320)
    context_BTCHW = (context_BTCHW + amplitude * noise).clamp(0, 1)
    whole = forecast(network, context_BTCHW, 3)
    moved = (whole[-1] - context_BTCHW[:, -1]).abs().mean()
    off = [(forecast(network, context_BTCHW, 3, side) - whole).abs().mean() for side in (256, 64)]
    assert off[0] < 0.05 * moved
    assert off[0] < off[1]


@pytest.mark.parametrize("name", [DEFAULT, "convlstm"])
def test_only_one_tile_is_held_at_a_time(name):
    """Besides context and forecast, many tiles need what one does: a fraction of the whole."""
    network, (height, width), side, horizon = network_of(name), (192, 288), 64, 2
    context_BTCHW = frames(height, width)
    tile = peak_bytes(rollout(network, frames(side, side), horizon))
    tiles = peak_bytes(tiled(network, context_BTCHW, horizon, side))
    whole = peak_bytes(rollout(network, context_BTCHW, horizon))
    # Bytes of the context and the forecast, float32, and of the row of tiles that is put together.
    shown, row = 4 * (3 + horizon) * height * width, 4 * horizon * side * width
    assert tiles < shown + 1.5 * row + 1.5 * tile
    assert tiles - shown - row < (whole - shown) / 3


def peak_bytes(forecast):
    with LiveBytes() as measured:
        for _ in forecast:
            pass
    return measured.peak


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_frames_kept_as_pixels_are_those_kept_in_float32(dtype):
    """Of a clip of pixels in several tiles, from the context's pixels to the forecast's."""
    forecaster = LoadedForecaster(random_checkpoint(3, "data.resize=none"), "cpu", tile=64)
    context = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (5, 70, 130, 3), dtype)
    context_BTCHW = torch.from_numpy(to_unit(context))[None]
    with torch.no_grad():
        kept = [frame[0].numpy() for frame in forecaster.extrapolate(context_BTCHW, 3)]
    expected = np.stack([from_unit(frame, dtype) for frame in kept])
    found = forecaster.predict(context, 3)
    assert found.std() > 5
    # A value halfway between two levels may be rounded either way.
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert (found == expected).mean() > 0.999


def test_one_tile_is_the_whole_to_the_bit():
    checkpoint = random_checkpoint(3)
    context = np.random.default_rng(0).integers(0, 256, (5, 40, 50, 3), dtype=np.uint8)
    whole = LoadedForecaster(checkpoint, "cpu").predict(context, 3)
    forecaster = LoadedForecaster(checkpoint, "cpu", tile=64)
    assert forecaster.tile_side(40, 50, 5, 3) is None
    np.testing.assert_array_equal(forecaster.predict(context, 3), whole)
    context_BTCHW = torch.from_numpy(to_unit(context))[None]
    tiled = forecast(forecaster.network, context_BTCHW, 3, 64)
    assert torch.equal(tiled, forecast(forecaster.network, context_BTCHW, 3))


def test_tiles_are_asked_for_or_taken_where_memory_needs_them(monkeypatch):
    checkpoint = random_checkpoint(3, "data.resize=none")
    context = np.random.default_rng(0).integers(0, 256, (5, 80, 400, 3), dtype=np.uint8)
    asked = LoadedForecaster(checkpoint, "cpu", tile=90)
    assert asked.tile_side(80, 400, 5, 2) == 90
    free = LoadedForecaster(checkpoint, "cpu")
    assert free.tile_side(80, 400, 5, 2) is None
    model = checkpoint.config.model
    whole, tile = (forecast_bytes(model, 3, (80, width)) for width in (400, 200))
    needed = tile + 4 * (5 + 2) * 3 * 80 * 400  # bytes of the context and two frames
    monkeypatch.setattr(
        "framecast.prediction.loaded_forecaster.prediction_memory", lambda device: needed
    )
    assert needed < whole
    assert free.tile_side(80, 400, 5, 2) == 200
    tiled = LoadedForecaster(checkpoint, "cpu", tile=200)
    np.testing.assert_array_equal(free.predict(context, 2), tiled.predict(context, 2))
    assert free.tile_side(80, 400, 5, 3) == 100
    monkeypatch.setattr(
        "framecast.prediction.loaded_forecaster.prediction_memory", lambda device: 1000
    )
    with pytest.raises(ResourceError, match=r"predicting 2 frames of 80 x 400 takes .* in tiles"):
        free.predict(context, 2)


def forecast_bytes(model, channels, size):
    return forecast_totals(model, channels, size, context_length=5).prediction_bytes


@pytest.mark.parametrize(
    ("settings", "tile", "words"),
    [
        ((), 63, "--tile 63: smaller than what neighbouring tiles share; use 64 or more"),
        (("model.name=fc-lstm", "data.resize=7x8"), 64, "--tile 64: fc-lstm is tied to frames of"),
        (("model.name=cnn-lstm", "data.resize=7x8"), 64, "cannot see in parts; leave out --tile"),
    ],
)
def test_tiles_that_cannot_be_are_refused(settings, tile, words):
    checkpoint = random_checkpoint(3, *settings)
    assert isinstance(checkpoint, Checkpoint)
    with pytest.raises(UsageError, match=words):
        LoadedForecaster(checkpoint, "cpu", tile=tile)


@pytest.mark.slow
def test_tiles_of_256_take_a_third_of_the_memory_of_whole_frames(tmp_path):
    """Highest resident memory, above that of a tiny clip, of a grey one of 2048 x 2048 pixels."""
    config = load_config(None, ["data.resize=none"], {})
    network = build_forecaster(config.model, 1, (2048, 2048))
    settled = replace(config, data=replace(config.data, horizon=12))
    clip = {"channels": 1, "height": 2048, "width": 2048}
    save_checkpoint(tmp_path / "best.pt", Checkpoint(settled, clip, network.state_dict(), {}))
    frames_THW = translating(2, 512, 512, (1.5, -0.75), seed=4).mul(255).byte().numpy()
    np.save(tmp_path / "clip.npy", np.tile(frames_THW, (3, 4, 4)))
    peaks = {}
    np.save(tmp_path / "tiny.npy", frames_THW[:1].repeat(6, axis=0)[:, :64, :64])
    for kind, clip_name, side in (
        ("tiny", "tiny", "2048"),
        ("whole", "clip", "2048"),
        ("tiles", "clip", "256"),
    ):
        command = [sys.executable, "-m", "framecast", "predict", "best.pt", f"{clip_name}.npy"]
        command += ["-o", f"future-{kind}.npy", "--tile", side]
        process = subprocess.Popen(command, cwd=tmp_path)
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0
        peaks[kind] = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print({kind: f"{peak / 1e6:.0f} MB" for kind, peak in peaks.items()})
    assert peaks["tiles"] - peaks["tiny"] < (peaks["whole"] - peaks["tiny"]) / 3
