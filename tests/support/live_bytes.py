"""Bytes of tensors that a network saves for its backward pass, or has alive while it runs."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def saved_bytes(run, known):
    """Bytes that `run()` saves for its backward pass, apart from those of the tensors `known`."""
    known = {tensor.untyped_storage().data_ptr() for tensor in known}
    saved, kept = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # else its address could be given away again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(saved.values())


class LiveBytes(TorchDispatchMode):
    """Follows the storages of all tensors that operations make, until they are freed."""

    def __init__(self):
        super().__init__()
        self.live, self.now, self.peak = set(), 0, 0

    def know(self, tensor):
        storage = tensor.untyped_storage()
        key, count = id(storage), storage.nbytes()
        if key not in self.live:
            self.live.add(key)
            self.now += count
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key, count)

    def _forget(self, key, count):
        self.live.remove(key)
        self.now -= count

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.know(tensor)
        return result
