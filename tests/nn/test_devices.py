"""On a device the layer and all networks compute what they do on the CPU in higher precision."""

import copy

import pytest
import torch

from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.nn.forecasters.registry import build_forecaster
from framecast.runtime.device import autocast, placed

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
pytestmark = [
    pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_CUDA)]),
    pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-5), ("bfloat16", 0.02)]),
]


@pytest.fixture(autouse=True)
def whole_products():
    """No TF32, which rounds what is multiplied."""
    settings = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [each.allow_tf32 for each in settings]
    for each in settings:
        each.allow_tf32 = False
    yield
    for each, allowed in zip(settings, before, strict=True):
        each.allow_tf32 = allowed


def run(call, module, x, device, precision):
    """The results of a call on the device, one after another."""
    moved = placed(copy.deepcopy(module).float(), device)
    with autocast(device, precision):
        return flat(call(moved, x.float().to(device)))


def flat(tensors):
    return torch.cat([tensor.detach().flatten().double().cpu() for tensor in tensors])


def output_and_gradients(layer, x):
    leaf = x.clone().requires_grad_()
    output = layer(leaf)
    weight = torch.linspace(-1, 1, output.numel()).view(output.shape).to(output)
    return output, *torch.autograd.grad((output * weight).sum(), [leaf, *layer.parameters()])


@pytest.mark.parametrize(("channels", "kernel"), [(3, 3), (64, 3), (1, 5)])
def test_a_layer(device, precision, bound, channels, kernel):
    torch.manual_seed(0)
    options = {"padding": "same", "data_format": "channels_first", "return_sequences": True}
    layer = ConvLSTM2D(16, kernel, in_channels=channels, **options).double()
    x = torch.rand(2, 5, channels, 24, 20, dtype=torch.double)
    exact = flat(output_and_gradients(layer, x))
    found = run(output_and_gradients, layer, x, device, precision)
    assert 0 < (found - exact).norm() < bound * exact.norm()


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_a_network(device, precision, bound, name):
    torch.manual_seed(0)
    network = build_forecaster(ModelConfig(name), 1, (64, 80)).eval()
    for parameter in network.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    x = torch.rand(2, 6, 1, 64, 80)
    exact = network(x, 12).flatten().double()
    found = run(lambda network, x: [network(x, 12)], network, x, device, precision)
    assert (found - exact).norm() < bound * exact.norm()
