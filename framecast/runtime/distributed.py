"""Several processes that work as one: who they are, what each does, what they agree on.

torchrun starts the processes and numbers them through the environment; PyTorch's own engine does
the rest, over gloo on CPUs and NCCL on CUDA. In a single process every call returns its argument.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from framecast.errors import ResourceError, UsageError
from framecast.runtime.device import pick_device
from framecast.runtime.text import counted

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others, which may have more to decode."""

MOST = 2**16
"""One more than processes and ports are numbered by."""

_LOST = re.compile("gloo|nccl|connection|broken pipe|process group|timed out", re.IGNORECASE)
"""Messages by which PyTorch reports that another process is gone."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Group:
    """The processes of one command; this is number `rank` of `size`, and computes on `device`."""

    device: str
    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that prints and saves."""
        return self.rank == 0

    def share(self, batch_size: int) -> range:
        """The samples of a batch that are this process's; shares differ by at most one.

        Raises UsageError when there are fewer samples than processes.
        """
        if batch_size < self.size:
            raise UsageError(
                f"a batch of {counted(batch_size, 'window')} cannot be shared by {self.size} "
                "processes",
                remedy=f"use --batch-size {self.size} or more, or start fewer processes",
            )
        return self.part(range(batch_size))

    def part(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's share of the items, consecutive ones; shares differ by at most one."""
        first, last = (len(items) * rank // self.size for rank in (self.rank, self.rank + 1))
        return items[first:last]

    def every(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's share of the items: every `size`-th, from `rank` on."""
        return items[self.rank :: self.size]

    def wrap(self, network: nn.Module) -> nn.Module:
        """Give all processes the main one's weights, and average their gradients from now on."""
        if self.size == 1:
            return network
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else None
        with peers_explained():
            for buffer in network.buffers():  # which the engine would send before every step
                dist.broadcast(buffer, src=0)
            return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, the same in each, on the device of `values`."""
        if self.size == 1:
            return values
        total = values.to(self.device, copy=True)
        with peers_explained():
            dist.all_reduce(total)
        return total.to(values.device)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return bool(self.sum(torch.tensor(int(flag))))

    def broadcast(self, value: Item) -> Item:
        """The main process's value, in every process."""
        if self.size == 1:
            return value
        values = [value]
        with peers_explained():
            dist.broadcast_object_list(values, src=0, device=torch.device(self.device))
        return values[0]

    def gather(self, item: Item) -> list[Item]:
        """Every process's item, in the order of the processes, the same in each."""
        items = [item] * self.size
        if self.size > 1:
            with peers_explained():
                dist.all_gather_object(items, item)
        return items


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """Meet the other processes that torchrun started; alone where it started none.

    `device` is the setting: "auto" takes this machine's GPU of this process's number, else the CPU.
    Raises UsageError for a half-set environment, and it or ResourceError for a device that this
    process cannot have.
    """
    size = _number("WORLD_SIZE", range(1, MOST), "1")
    if size == 1:
        yield Group(pick_device(device))
        return
    rank, local_rank = _number("RANK", range(size)), _number("LOCAL_RANK", range(size), "0")
    # Where the processes meet, which PyTorch reads by itself
    if not os.environ.get("MASTER_ADDR"):
        raise _unset("MASTER_ADDR is not set")
    _number("MASTER_PORT", range(MOST))
    group = Group(_own_device(device, local_rank), rank, size)
    cuda = group.device.startswith("cuda")
    with peers_explained():
        if cuda:
            torch.cuda.set_device(group.device)
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    yield group
    # Not in `finally`: after an error the others may be gone, and this would wait for them.
    dist.destroy_process_group()


def _number(name: str, allowed: range, default: str = "") -> int:
    """A number in the environment, as torchrun sets it; UsageError for anything else."""
    text = os.environ.get(name, default)
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) not in allowed:
        raise _unset(f"{name} is {text or 'not set'}")
    return int(text)


def _unset(problem: str) -> UsageError:
    return UsageError(problem, remedy="start the processes with torchrun")


def _own_device(setting: str, local_rank: int) -> str:
    """The device of one of several processes."""
    if setting == "mps" or ":" in setting:
        raise UsageError(
            f"device {setting}: several processes cannot share it",
            remedy="use --device cuda, which gives each its own, or --device cpu",
        )
    kind = pick_device(setting)
    return pick_device(f"cuda:{local_rank}") if kind == "cuda" else "cpu"


@contextmanager
def peers_explained() -> Iterator[None]:
    """Turn the loss of another process into a ResourceError."""
    try:
        yield
    except RuntimeError as error:
        if not (dist.is_initialized() and _LOST.search(str(error))):
            raise
        raise ResourceError(
            "another process of this command stopped",
            remedy="see what it says; a training goes on with --resume",
        ) from error
