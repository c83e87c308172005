"""The networks to compare with: the paper's sizes, arithmetic by hand, what they can and cannot."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from framecast.config.loading import Config, load_config
from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.data.batches import Batch
from framecast.data.plan import make_plan
from framecast.errors import CheckpointError, ResourceError, SourceError
from framecast.inspection.network_report import inspect_clips, inspect_settings
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.cost_model import memory
from framecast.nn.cost_model.memory import check_weight_memory
from framecast.nn.cost_model.network import forecast_totals
from framecast.nn.forecasters.comparison import CnnLstm, EncoderForecaster, FcLstm
from framecast.nn.forecasters.layers import grid_stack
from framecast.nn.forecasters.registry import FORECASTERS, build_forecaster
from framecast.prediction.checkpoint import load_checkpoint, save_checkpoint
from framecast.training.losses import cross_entropy
from framecast.video.readers.base import SourceInfo
from tests.support.tiny_runs import HORIZON, TINY

B, T, C, H, W, U = 2, 5, 3, 11, 9, 6
TIED = ("cnn-lstm", "fc-lstm")
SIGMOIDS = ("frame-convlstm", "shi2015")


def random_network(name, size=(H, W), channels=C, **settings):
    """A network in which no weight is zero, as heads and peepholes are at first."""
    settings = {"filters": (5, 7), "kernel_size": 3, "patch": 4, "units": (U, 4)} | settings
    torch.manual_seed(3)
    network = build_forecaster(ModelConfig(name, **settings), channels, size)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def parameter_count(name, size, **settings):
    with torch.device("meta"):
        network = build_forecaster(ModelConfig(name, **settings), 1, size)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("filters", "count"),
    [((256,), 13_524_496), ((128, 128), 10_042_896), ((128, 64, 64), 7_585_296)],
)
def test_shi2015_has_the_papers_parameters(filters, count):
    """Table 1 of arXiv:1506.04214; for its last rows see below."""
    assert parameter_count("shi2015", (64, 64), filters=filters, kernel_size=5) == count
    assert parameter_count("shi2015", (96, 80), filters=filters, kernel_size=5) == count


@pytest.mark.parametrize(
    ("filters", "count"), [((128, 128), 11_550_224), ((128, 64, 64), 8_830_480)]
)
def test_the_papers_rows_with_a_small_kernel_over_the_state(filters, count):
    given = {"filters": filters, "kernel_size": 9, "recurrent_kernel_size": 1}
    assert parameter_count("shi2015", (64, 64), **given) == count
    assert forecast_totals(ModelConfig("shi2015", **given), 1, (64, 64)).parameters == count


def test_every_layer_has_its_own_kernel():
    """Counted by hand: 4F (C + F) k^2 + 4F, and 3F more where there are peepholes."""
    filters, kernels = (5, 7, 4), (5, 1, 3)
    convlstm = random_network("convlstm", filters=filters, kernel_size=kernels)
    counts = [sum(w.numel() for w in layer.parameters()) for layer in convlstm.stack.layers]
    assert counts == [4 * 5 * (10 * 25 + 1), 4 * 7 * (12 + 1), 4 * 4 * (11 * 9 + 1)]
    core = random_network("shi2015", filters=filters, kernel_size=kernels).core
    sides = [layer.kernel.shape[-1] for layer in (*core.encoder.layers, *core.rest.layers)]
    assert (sides, core.first.recurrent_kernel.shape[-1]) == ([5, 1, 3, 1, 3], 5)


def test_fc_lstm_has_the_papers_parameters():
    assert parameter_count("fc-lstm", (64, 64), units=(2048, 2048)) == 142_667_776


def test_an_lstm_is_a_convlstm_with_1x1_kernels_on_one_cell():
    D, widths = 7, (U, U)
    torch.manual_seed(0)
    stack, lstm = grid_stack(D, widths, (1, 1)), torch.nn.LSTM(D, U, num_layers=2, batch_first=True)
    with torch.no_grad():
        for number, layer in enumerate(stack.layers):
            torch.nn.init.normal_(layer.bias)
            getattr(lstm, f"weight_ih_l{number}").copy_(layer.kernel[..., 0, 0])
            getattr(lstm, f"weight_hh_l{number}").copy_(layer.recurrent_kernel[..., 0, 0])
            getattr(lstm, f"bias_ih_l{number}").copy_(layer.bias)
            getattr(lstm, f"bias_hh_l{number}").zero_()
    x_BTD = torch.randn(B, T, D)
    states, outputs = stack.zero_state(x_BTD[:, 0, :, None, None]), []
    for x_BD in x_BTD.unbind(dim=1):
        h_BU11, states = stack.step(x_BD[..., None, None], states)
        outputs.append(h_BU11[..., 0, 0])
    expected_BTU, (h_LBU, c_LBU) = lstm(x_BTD)
    torch.testing.assert_close(torch.stack(outputs, 1), expected_BTU, rtol=1e-5, atol=1e-6)
    for number, (h_BU11, c_BU11) in enumerate(states):
        torch.testing.assert_close(h_BU11[..., 0, 0], h_LBU[number], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(c_BU11[..., 0, 0], c_LBU[number], rtol=1e-5, atol=1e-6)


def test_the_forecasters_first_layer_is_a_layer_that_sees_zeros():
    first = EncoderForecaster(C, (5, 7), (3, 3), (3, 3)).first
    layer = ConvLSTM2D(
        5, 3, padding="same", data_format="channels_first", in_channels=1, peephole=True
    )
    assert torch.equal(first.bias, layer.bias)
    assert torch.equal(first.peephole, layer.peephole)
    with torch.no_grad():
        for name, parameter in first.named_parameters():
            torch.nn.init.normal_(parameter)
            getattr(layer, name).copy_(parameter)
    state = torch.randn(B, 5, H, W), torch.randn(B, 5, H, W)
    expected = layer.step(torch.zeros(B, 1, H, W), state)
    torch.testing.assert_close(first.step(state), expected, rtol=1e-5, atol=1e-6)


def by_the_paper(x, h, c, weights, prefix):
    """Eq. 3 of arXiv:1506.04214 with a peephole per channel; x None: no input."""
    z = F.conv2d(h, weights[f"{prefix}.recurrent_kernel"], weights[f"{prefix}.bias"], padding=1)
    if x is not None:
        z = z + F.conv2d(x, weights[f"{prefix}.kernel"], padding=1)
    z_i, z_f, z_c, z_o = z.split(h.shape[1], dim=1)
    w_i, w_f, w_o = weights[f"{prefix}.peephole"].view(3, 1, -1, 1, 1)
    c_new = torch.sigmoid(z_f + w_f * c) * c + torch.sigmoid(z_i + w_i * c) * torch.tanh(z_c)
    return torch.sigmoid(z_o + w_o * c_new) * torch.tanh(c_new), c_new


@torch.no_grad()
def test_shi2015_is_the_papers_network_written_out():
    network = random_network("shi2015").eval()
    weights, context_BTCHW = dict(network.named_parameters()), torch.rand(B, T, C, H, W)
    padded = F.pad(context_BTCHW.flatten(0, 1), (0, 12 - W, 0, 12 - H), mode="replicate")
    cells = padded.view(B, T, C, 3, 4, 3, 4).permute(0, 1, 2, 4, 6, 3, 5).reshape(B, T, -1, 3, 3)
    h_1, c_1 = torch.zeros(2, B, 5, 3, 3)
    h_2, c_2 = torch.zeros(2, B, 7, 3, 3)
    for t in range(T):
        h_1, c_1 = by_the_paper(cells[:, t], h_1, c_1, weights, "core.encoder.layers.0")
        h_2, c_2 = by_the_paper(h_1, h_2, c_2, weights, "core.encoder.layers.1")
    expected = []
    for _ in range(4):
        h_1, c_1 = by_the_paper(None, h_1, c_1, weights, "core.first")
        h_2, c_2 = by_the_paper(h_1, h_2, c_2, weights, "core.rest.layers.0")
        head = weights["head.weight"][..., 0, 0]
        out = torch.einsum("of,bfhw->bohw", head, torch.cat((h_1, h_2), 1))
        out = torch.sigmoid(out + weights["head.bias"].view(-1, 1, 1)).view(B, C, 4, 4, 3, 3)
        expected.append(out.permute(0, 1, 4, 2, 5, 3).reshape(B, C, 12, 12)[..., :H, :W])
    torch.testing.assert_close(
        network(context_BTCHW, 4), torch.stack(expected, 1), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", [*TIED, "convlstm"])
def test_untrained_networks_that_predict_a_change_are_persistence(name):
    network = build_forecaster(ModelConfig(name, patch=4), C, (H, W)).eval()
    context_BTCHW = torch.rand(B, T, C, H, W)
    frames_BTCHW = network(context_BTCHW, 3)
    assert torch.equal(frames_BTCHW, context_BTCHW[:, -1:].expand(B, 3, C, H, W))


def test_shi2015_starts_from_the_mean_brightness():
    network = random_network("shi2015")
    targets = [(torch.rand(1, T, C, H, W), torch.full((1, 2, C, H, W), v)) for v in (0.1, 0.3)]
    network.calibrate(targets)
    assert network.head.bias.tolist() == pytest.approx([np.log(0.2 / 0.8)] * (16 * C), rel=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient(name):
    """Otherwise the processes of torchrun would wait for it."""
    network = random_network(name, size=(24, 20))
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(20.0), indexing="ij")
    phases = torch.arange(float(B * (T + 3) * C)).view(B, T + 3, C, 1, 1)
    frames_BTCHW = 0.5 + 0.4 * torch.sin(0.5 * x + 0.3 * y - 0.4 * phases)
    F.mse_loss(network(frames_BTCHW[:, :T], 3)[:, -3:], frames_BTCHW[:, T:]).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", TIED)
def test_tied_networks_refuse_other_sizes_and_name_a_network_for_any_size(name):
    network = random_network(name)
    message = (
        f"{name} is tied to the frame size 11x9 it was made for, found 10x9; resize them to 11x9, "
        "or train a convlstm model, which works at any size"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        network(torch.rand(B, T, C, 10, W), 1)
    free = random_network("convlstm").eval()
    assert free(torch.rand(B, T, C, 10, W), 1).shape == (B, 1, C, 10, W)


def test_cnn_lstm_and_fc_lstm_take_their_widths_from_their_settings():
    cnn, fc = random_network("cnn-lstm"), random_network("fc-lstm")
    assert isinstance(cnn, CnnLstm)
    assert isinstance(fc, FcLstm)
    assert cnn.stack.layers[0].in_channels == 5 * 3 * 3
    assert cnn.dense.weight.shape == (7 * 3 * 3, 4)
    assert [layer.filters for layer in fc.core.encoder.layers] == [U, 4]
    assert fc.head.weight.shape == (C * H * W, 4)


def clip(name, height, width, frames=60):
    return SourceInfo(Path(name), "array", frames, height, width, 1)


@pytest.mark.parametrize("name", TIED)
def test_plans_for_tied_networks_are_whole_frames_of_one_size(name):
    config = load_config(None, [f"model.name={name}", "data.crop=16"], {})
    plan = make_plan([clip("a", 40, 64), clip("b", 40, 64)], config)
    assert plan.crop == (40, 64)
    assert (plan.config.data.resize, plan.config.data.crop) == ("40x64", 0)
    assert make_plan([clip("a", 40, 64), clip("b", 40, 64)], plan.config) == plan
    message = (
        f"{name} is tied to one frame size, but a has 40x64 and b has 64x40; bring all to one "
        "size with --resize 40x64, or use --model convlstm"
    )
    with pytest.raises(SourceError, match=f"^{re.escape(message)}$"):
        make_plan([clip("a", 40, 64), clip("b", 64, 40)], config)
    resized = load_config(None, [f"model.name={name}", "data.resize=24x32"], {})
    assert make_plan([clip("a", 40, 64), clip("b", 64, 40)], resized).crop == (24, 32)
    free = load_config(None, ["data.crop=16"], {})
    assert make_plan([clip("a", 40, 64), clip("b", 64, 40)], free).config.data.resize == "auto"


def test_a_network_too_large_for_memory_is_refused_before_it_is_built(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 2_000_000_000)
    big, small = ModelConfig("fc-lstm", units=(2048, 2048)), ModelConfig("fc-lstm")
    message = (
        "fc-lstm on frames of 64 x 64 has 142,667,776 parameters, whose training takes 2.9 GB; "
        "this machine has 2.0 GB; use a smaller --resize or model.units, or --model convlstm"
    )
    with pytest.raises(ResourceError, match=f"^{re.escape(message)}$"):
        check_weight_memory(big, 1, (64, 64))
    check_weight_memory(small, 1, (64, 64))
    with pytest.raises(ResourceError, match=r"convlstm on .*; use smaller model.filters$"):
        check_weight_memory(ModelConfig("convlstm", (4000,)), 1, (64, 64))
    assert message in inspect_settings(Config(model=big), (64, 64), 1).warnings
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    check_weight_memory(big, 1, (64, 64))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_inspected(name):
    config = Config(model=ModelConfig(name, (5, 7), units=(U,)))
    inspection = inspect_clips([clip("a", 37, 50)], config)
    found = build_forecaster(config.model, 1, (37, 50)).parameters()
    figures = inspection.to_dict()["figures"]
    assert figures["parameters"] == sum(parameter.numel() for parameter in found)
    coarsest = f"the coarsest cell of {name} is "
    patch = {"shi2015": f"{coarsest}4", "flow-convlstm": f"{coarsest}16", "fc-lstm": None}.get(
        name, "model.patch is 8"
    )
    padded = [text for text in inspection.warnings if "are padded" in text]
    assert len(padded) == (patch is not None)
    assert not patch or patch in padded[0]
    assert not [text for text in inspection.warnings if "kernel covers" in text]
    other = inspect_clips([clip("a", 37, 50), clip("b", 50, 37)], config)
    assert bool([text for text in other.warnings if "is tied to" in text]) == (name in TIED)


def test_cross_entropy_is_the_mean_in_nats_and_computed_without_autocast(monkeypatch):
    real = F.binary_cross_entropy

    def refuses_autocast(*tensors):  # as on CUDA
        assert not torch.is_autocast_enabled("cpu")
        return real(*tensors)

    monkeypatch.setattr(F, "binary_cross_entropy", refuses_autocast)
    prediction, truth = torch.tensor([0.25, 0.9]), torch.tensor([1.0, 0.0])
    prediction, truth = (frames.view(1, 2, 1, 1, 1) for frames in (prediction, truth))
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(prediction, Batch(torch.zeros(1, 1, 1, 1, 1), truth))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((np.log(4) + np.log(10)) / 2, rel=1e-6)


@pytest.mark.parametrize("name", SIGMOIDS)
@torch.no_grad()
def test_probabilities_are_float32_under_autocast(name):
    network = random_network(name)
    with torch.autocast("cpu", torch.bfloat16):
        frames_BTCHW = network(torch.rand(B, T, C, H, W), 2)
    assert frames_BTCHW.dtype == torch.float32
    assert (frames_BTCHW != frames_BTCHW.bfloat16()).float().mean() > 0.9


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_trained_saved_predicts_and_is_exported(name, run, clips, tmp_path):
    flags = [*TINY, "--model", name, "--set", "model.units=[5]"]
    flags += ["--set", "train.loss=bce", "--set", "train.precision=bfloat16"] * (name in SIGMOIDS)
    code, _, err = run("train", clips / "grey.npy", "--runs", tmp_path, *flags)
    assert code == 0, err
    checkpoint = load_checkpoint(tmp_path / "train-1")
    assert isinstance(checkpoint.forecaster(), FORECASTERS[name])
    assert checkpoint.config.data.resize == ("18x26" if name in TIED else "auto")

    save_checkpoint(tmp_path / "copy.pt", checkpoint)
    context_BTCHW = torch.rand(B, 3, 1, 18, 26)
    with torch.no_grad():
        frames, copied = (
            model.forecaster()(context_BTCHW, 2)
            for model in (checkpoint, load_checkpoint(tmp_path / "copy.pt"))
        )
    assert torch.equal(frames, copied)

    frames_THW = np.random.default_rng(0).integers(0, 256, (9, 30, 22), np.uint8)
    np.save(tmp_path / "other.npy", frames_THW)
    future = tmp_path / "future.npy"
    code, _, err = run("predict", tmp_path / "copy.pt", tmp_path / "other.npy", "-o", future)
    assert code == 0, err
    assert np.load(future).shape[:3] == (HORIZON, 30, 22)
    note = f"{name} works at 18x26 only: {tmp_path / 'other.npy'} is resized from 30x22"
    assert (note in "".join(err.split("\n"))) == (name in TIED)

    target, other = tmp_path / "model.torchscript", ("--size", "30x22")
    if name in TIED:
        assert run("export", tmp_path / "copy.pt", "-o", target, *other)[0] == 4
        assert not target.exists()
        other = ()
    code, _, err = run("export", tmp_path / "copy.pt", "-o", target, *other)
    assert code == 0, err
    assert target.exists()
