"""How many bytes of tensors are alive at once while a network runs."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode


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
