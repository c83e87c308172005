"""What PyTorch computes on: the device, its precision, and running out of its memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import nn

from framecast.errors import ResourceError
from framecast.runtime.device_names import check_device_name
from framecast.runtime.memory import lacks_memory, machine_memory

Module = TypeVar("Module", bound=nn.Module)


def pick_device(device: str | torch.device) -> str:
    """Resolve "auto" to cuda, mps or cpu, in this order; check that another choice is there.

    Raises UsageError for anything else, ResourceError when the machine has no such device.
    """
    setting = str(device)
    check_device_name(setting)
    mps = torch.backends.mps.is_available()
    if setting == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    kind, _, number = setting.partition(":")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(mps)}[kind]
    if int(number or 0) >= there:
        raise ResourceError(
            f"device {setting} is not on this machine ({kind} devices found: {there})",
            remedy="use --device auto",
        )
    return setting


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16: without them it is slower, never faster.

    PyTorch has no public way to ask for them.
    """
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def pick_precision(setting: str, device: str) -> str:
    """Resolve "auto" to bfloat16 on CUDA, where it is faster, and to float32 elsewhere."""
    if setting != "auto":
        return setting
    return "bfloat16" if device.startswith("cuda") else "float32"


def prediction_memory(device: str) -> int | None:
    """Bytes that a forecast may take: what is free on CUDA, half of the machine's memory elsewhere;
    None if the system does not report it."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    memory = machine_memory()
    return None if memory is None else memory // 2


def autocast(device: str, precision: str) -> torch.autocast:
    """Context in which convolutions run at the given precision."""
    enabled = precision == "bfloat16"
    return torch.autocast(device.partition(":")[0], dtype=torch.bfloat16, enabled=enabled)


def placed(network: Module, device: str) -> Module:
    """The network on a device, its weights in the order in which that convolves fastest."""
    if device.startswith("cuda"):
        return network.to(device, memory_format=torch.channels_last)
    return network.to(device)


def cpu_by_default() -> AbstractContextManager[object]:
    """Context in which new tensors lie on the CPU, whatever `torch.set_default_device` was given.

    Where they do so anyway it does nothing, since it costs time at every call of PyTorch.
    """
    if torch.empty(0).device.type == "cpu":
        return nullcontext()
    return torch.device("cpu")


@contextmanager
def explained_memory(remedy: str) -> Iterator[None]:
    """Turn a failed allocation, on the CPU or a device, into a ResourceError with this remedy."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not lacks_memory(error):
            raise
        raise ResourceError("out of memory", remedy=remedy) from error
