"""Rolling out: lazily, frame by frame, without gradients, the same as stepping by hand."""

import itertools
import weakref

import pytest
import torch

from framecast.config.schema import ModelConfig
from framecast.nn.forecasters.base import Forecaster
from framecast.nn.forecasters.registry import build_forecaster
from framecast.prediction.loaded_forecaster import load_forecaster
from framecast.prediction.rollout import rollout

B, T, C, H, W, HORIZON = 2, 5, 3, 7, 8, 4


class Counting(Forecaster):
    """Answers with the number of steps so far, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def encode(self, context_BTCHW):
        return (context_BTCHW[:, -1],)

    def step(self, state):
        self.steps += 1
        assert not torch.is_grad_enabled()
        assert not self.training
        return state[0] + 1, (state[0] + 1,)


@pytest.mark.parametrize("name", ["flow-convlstm", "convlstm"])
def test_equals_encoding_and_stepping_by_hand(name):
    torch.manual_seed(0)
    network = build_forecaster(ModelConfig(name, (6,), 3, 4), C, (H, W))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, mean=0.03, std=0.1)
    context = torch.rand(B, T, C, H, W)
    frames = list(rollout(network.train(), context, HORIZON))
    with torch.no_grad():
        state, expected = network.eval().encode(context), []
        for _ in range(HORIZON):
            frame, state = network.step(state)
            expected.append(frame)
        whole = network(context, HORIZON)
    assert [frame.shape for frame in frames] == [(B, C, H, W)] * HORIZON
    assert not any(frame.requires_grad for frame in frames)
    for k, frame in enumerate(frames):
        torch.testing.assert_close(frame, expected[k])
        torch.testing.assert_close(frame, whole[:, k])
    assert not torch.equal(frames[0], frames[1])


def test_makes_a_frame_when_it_is_asked_for_and_no_sooner():
    network = Counting()
    frames = rollout(network, torch.zeros(B, T, C, H, W), 10**9)
    assert network.steps == 0
    taken = [frame.mean().item() for frame in itertools.islice(frames, 3)]
    assert taken == [1.0, 2.0, 3.0]
    assert network.steps == 3


def test_gradients_are_as_they_were_between_frames():
    for _ in rollout(Counting(), torch.zeros(B, T, C, H, W), 2):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_the_context_is_freed_once_it_has_been_read():
    """At 1080p six frames take 150 MB, which nobody needs while the future is made."""
    context = torch.rand(1, T, C, 32, 40)
    seen = weakref.ref(context)
    frames = load_forecaster(device="cpu").extrapolate(context, 2)
    del context
    next(frames)
    assert seen() is None
