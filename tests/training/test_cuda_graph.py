"""Recorded training steps, with a stand-in for CUDA graphs that works where there is no device."""

import contextlib

import pytest
import torch

from framecast.config.networks import NETWORKS
from framecast.config.schema import ModelConfig
from framecast.data.batches import Batch
from framecast.nn.forecasters.registry import build_forecaster
from framecast.runtime.device import autocast, placed
from framecast.training import cuda_graph
from framecast.training.cuda_graph import WARM_UPS, Recording
from framecast.training.losses import squared_error


class Stream:
    def wait_stream(self, other):
        pass


class Graph:
    """Notes what is recorded; a replay does it again with what lies in the same memory by then."""

    def __init__(self):
        self.work, self.replays = None, 0

    def replay(self):
        self.replays += 1
        self.into.copy_(self.work())


def batch(seed):
    shapes = ((2, 3, 1, 4, 5), (2, 6, 1, 4, 5))
    generator = torch.Generator().manual_seed(seed)
    return Batch(*(torch.rand(shape, generator=generator) for shape in shapes))


@pytest.fixture
def calls(monkeypatch):
    """What was called how: aside, recorded or replayed."""
    noted, how = [], ["aside"]

    @contextlib.contextmanager
    def recorded(graph):
        assert torch.backends.cudnn.benchmark
        how[0] = "recorded"
        yield
        how[0] = "replayed"

    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recorded)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    return noted, how


def test_every_batch_gets_its_own_result_however_it_is_computed(calls):
    noted, how = calls

    def work(given):
        noted.append(how[0])
        result = (given.context_BTCHW.sum() - 2 * given.target_BTCHW.sum()).clone()
        if how[0] == "recorded":
            steps.graph.work, steps.graph.into = lambda: work(given), result
        return result

    steps = Recording(work, "cpu")
    for seed in range(WARM_UPS + 4):
        given = batch(seed)
        expected = given.context_BTCHW.sum() - 2 * given.target_BTCHW.sum()
        assert steps(given).item() == pytest.approx(expected.item())
    assert noted == ["aside"] * WARM_UPS + ["recorded"] + ["replayed"] * 4
    assert steps.graph.replays == 4


def test_the_batch_it_was_given_first_stays_as_it_is(calls):
    steps, first = Recording(lambda given: given.target_BTCHW.sum(), "cpu"), batch(0)
    steps(first)
    steps(batch(1))
    assert torch.equal(first.target_BTCHW, batch(0).target_BTCHW)


@pytest.mark.parametrize("before", [True, False])
def test_cudnn_is_left_as_it_was(before, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)
    with pytest.raises(ValueError), cuda_graph.chosen_by_trying():
        assert torch.backends.cudnn.benchmark
        raise ValueError
    assert torch.backends.cudnn.benchmark is before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_recorded_step_has_the_loss_and_gradients_of_a_launched_one(name):
    torch.manual_seed(0)
    network = placed(build_forecaster(ModelConfig(name), 1, (96, 80)), "cuda").train()
    if not network.recordable:
        pytest.skip("steps depend on the batch")

    def step(given):
        with autocast("cuda", "bfloat16"):
            frames_BTCHW = network(given.context_BTCHW, 8).float()
            loss = squared_error(frames_BTCHW, given.reaching_back(frames_BTCHW.shape[1]))
        network.zero_grad()
        loss.backward()
        return loss.detach()

    def result(loss):
        gradients = [parameter.grad for parameter in network.parameters()]
        return torch.cat(
            [loss.view(1), *(each.flatten() for each in gradients if each is not None)]
        )

    recording = Recording(step, "cuda")
    for _ in range(WARM_UPS + 2):
        given = Batch(torch.rand(4, 6, 1, 96, 80), torch.rand(4, 8, 1, 96, 80)).to("cuda")
        found = result(recording(given)).clone()
        kept = [parameter.grad for parameter in network.parameters()]
        expected = result(step(given))
        assert (found - expected).norm() < 0.01 * expected.norm()
        for parameter, gradient in zip(network.parameters(), kept, strict=True):
            parameter.grad = gradient  # where the recording writes it
