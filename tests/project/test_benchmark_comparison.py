"""The networks' operations on x and h: the experiments in the README."""

import numpy as np
import pytest
import torch
from PIL import Image

from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.registry import build_forecaster
from tests.benchmarks.comparison import (
    draw,
    drawn_network,
    influence,
    transforms,
    unlike_when_moved,
)

H, W = 31, 27
TIED = ("cnn-lstm", "fc-lstm")
# PyTorch's forward differentiation compiles what PyTorch itself calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")


def noise(size, steps=5):
    return torch.rand(1, steps, 1, *size, generator=torch.Generator().manual_seed(4))


def square(size, center, radius):
    """Where |row - center row| and |column - center column| are no more than the radius."""
    rows, columns = (abs(np.arange(n) - c) <= radius for n, c in zip(size, center, strict=True))
    return rows[:, None] & columns


@pytest.mark.parametrize("kernel", [3, 5])
def test_in_convlstm_a_pixel_is_felt_farther_by_half_a_kernel_each_frame(kernel):
    """Exactly: one for the stem, half a kernel for each layer, and for each frame since."""
    network = drawn_network("convlstm", (H, W), patch=1, filters=(5, 7), kernel_size=kernel)
    for age in (1, 2, 4):
        frame_HW = influence(network, noise((H, W)), age, (15, 12))
        expected = square((H, W), (15, 12), 1 + kernel // 2 * (2 + age - 1))
        assert 0.05 < expected.mean() < 0.7
        np.testing.assert_array_equal(frame_HW > 0, expected)


def test_in_shi2015_a_pixel_is_felt_farther_by_a_cell_each_frame():
    network = drawn_network("shi2015", (60, 52), filters=(5, 7), kernel_size=3)
    for age in (1, 2, 4):
        frame_HW = influence(network, noise((60, 52)), age, (29, 26))
        cells = square((15, 13), (29 // 4, 26 // 4), 2 + age)
        np.testing.assert_array_equal(frame_HW > 0, cells.repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize("name", TIED)
def test_in_fully_connected_lstms_a_pixel_is_felt_everywhere_at_once(name):
    for age in (1, 4):
        frame_HW = influence(drawn_network(name, (H, W)), noise((H, W)), age, (15, 12))
        assert (frame_HW > 0).mean() > 0.99


def test_influence_is_what_a_small_change_makes():
    network, context_BTCHW = drawn_network("convlstm", (H, W)).double(), noise((H, W)).double()
    found_HW = influence(network, context_BTCHW, 3, (15, 12))
    with torch.no_grad():
        before_HW = network(context_BTCHW, 1)[0, 0, 0]
        context_BTCHW[0, -3, 0, 15, 12] += 1e-5
        change_HW = (network(context_BTCHW, 1)[0, 0, 0] - before_HW).abs() / 1e-5
    np.testing.assert_allclose(found_HW, change_HW, rtol=1e-2, atol=1e-9)
    assert found_HW.max() > 1e-5


def test_flow_convlstm_feels_a_pixel_most_where_it_was():
    network, size = drawn_network("flow-convlstm", (96, 96)), (96, 96)
    frame_HW = influence(network, noise(size), 2, (48, 48))
    near, far = square(size, (48, 48), 12), ~square(size, (48, 48), 36)
    assert frame_HW[near].mean() > 3 * frame_HW[far].mean()


@pytest.mark.parametrize("name", NETWORKS)
def test_what_moves_with_the_frame_is_a_convlstm(name):
    """A clip moved by whole cells gives the forecast moved alike, away from the borders; or not."""
    found = unlike_when_moved(name)
    if name in TIED:
        assert found > 0.5
    else:  # the motion pyramid has cells of 64 pixels
        assert found < (0.01 if name == "flow-convlstm" else 1e-5)


def test_transforms_are_those_of_the_networks_weights():
    words, of_state = "3x3 convolution, 64 to 4 x 64 maps", "dense, 256 to 4 x 256 numbers"
    assert transforms("convlstm", 32) == transforms("convlstm", 256) == (words, words)
    for side, numbers in ((32, "1,024"), (64, "4,096")):
        assert transforms("fc-lstm", side) == (f"dense, {numbers} to 4 x 256 numbers", of_state)
    with torch.device("meta"):
        network = build_forecaster(ModelConfig("cnn-lstm"), 1, (48, 48))
    assert network.stack.layers[0].kernel.shape == (4 * 256, 64 * 6 * 6, 1, 1)
    assert transforms("cnn-lstm", 48) == ("dense, 2,304 to 4 x 256 numbers", of_state)


def test_the_maps_are_drawn(tmp_path):
    maps = {name: {2: np.eye(18, 26), 4: np.ones((18, 26))} for name in NETWORKS}
    draw(tmp_path / "picture.png", maps)
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 300
