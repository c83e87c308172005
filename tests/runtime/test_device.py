"""Devices: what auto becomes on every machine, and what is said when one is missing."""

import pytest
import torch

from framecast.errors import ResourceError, UsageError
from framecast.runtime.device import autocast, explained_memory, pick_device, pick_precision, placed


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have this many CUDA devices, and Apple's or not."""

    def pretend(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("cuda", "mps", "picked"),
    [(0, False, "cpu"), (0, True, "mps"), (1, False, "cuda"), (2, True, "cuda")],
)
def test_auto_is_cuda_then_mps_then_cpu(machine, cuda, mps, picked):
    machine(cuda, mps)
    assert pick_device("auto") == picked


def test_a_named_device_is_taken_where_it_exists(machine):
    machine(cuda=2, mps=True)
    for setting in ("cpu", "cuda", "cuda:0", "cuda:1", "mps"):
        assert pick_device(setting) == setting
        assert pick_device(torch.device(setting)) == setting


@pytest.mark.parametrize(
    ("cuda", "setting", "found"),
    [(0, "cuda", "cuda devices found: 0"), (2, "cuda:2", "cuda devices found: 2"),
     (1, "mps", "mps devices found: 0")],
)  # fmt: skip
def test_a_missing_device_is_an_error_that_says_what_there_is(machine, cuda, setting, found):
    machine(cuda)
    with pytest.raises(ResourceError, match=f"device {setting} .*{found}.*--device auto") as caught:
        pick_device(setting)
    assert caught.value.exit_code == 9


@pytest.mark.parametrize("setting", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CPU"])
def test_an_unknown_device_is_a_usage_error(setting):
    with pytest.raises(UsageError, match="unknown; use auto, cpu, cuda, cuda:N or mps"):
        pick_device(setting)


@pytest.mark.parametrize(
    ("setting", "device", "precision"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "mps", "float32"),
        ("auto", "cuda", "bfloat16"),
        ("auto", "cuda:1", "bfloat16"),
        ("float32", "cuda", "float32"),
        ("bfloat16", "cpu", "bfloat16"),
    ],
)
def test_precision(setting, device, precision):
    assert pick_precision(setting, device) == precision


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_autocast_sets_the_type_of_convolutions(precision, dtype):
    with autocast("cpu", precision):
        assert torch.nn.Conv2d(2, 3, 1)(torch.rand(1, 2, 4, 5)).dtype == dtype


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("could not create a primitive"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."),
    ],
)
def test_running_out_of_memory_is_explained(error):
    with (
        pytest.raises(ResourceError, match=r"^out of memory; use less$"),
        explained_memory("use less"),
    ):
        raise error


def test_a_real_failed_allocation_is_explained():
    with pytest.raises(ResourceError, match="out of memory"), explained_memory("use less"):
        torch.empty(2**60, dtype=torch.uint8)


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="shape mismatch"), explained_memory("use less"):
        raise RuntimeError("shape mismatch")


def test_weights_lie_on_cuda_in_the_order_it_convolves_fastest_in(monkeypatch):
    moves = []

    def move(module, *place, **order):
        moves.append((place, order))
        return module

    monkeypatch.setattr(torch.nn.Module, "to", move)
    network = torch.nn.Conv2d(2, 3, 1)
    assert placed(network, "cuda:1") is network is placed(network, "cpu")
    assert moves == [(("cuda:1",), {"memory_format": torch.channels_last}), (("cpu",), {})]
