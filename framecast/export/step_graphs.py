"""A forecaster as two graphs: `encode` from context to states, `step` from states to a frame.

Graphs of one step stay small whatever the horizon, and can be stepped by any program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from framecast.nn.forecasters.base import Forecaster


class Encode(nn.Module):
    """Context (B, Tc, C, H, W) to the tensors of a state, in the order of its fields."""

    def __init__(self, network: Forecaster) -> None:
        super().__init__()
        self.network = network
        # Which leaves of the state are tensors; while tracing, sizes of a frame are, too
        self.is_tensor: list[bool] = []

    def forward(self, context: Tensor) -> list[Tensor]:
        leaves = pytree.tree_leaves(self.network.encode(context))
        self.is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]
        # Clones: exporters merge outputs that are one tensor, and then there are fewer than names.
        return [leaf.clone() for leaf in leaves if isinstance(leaf, Tensor)]


class Step(nn.Module):
    """The tensors of a state to the next frame (B, C, H, W), followed by those of the next state.

    `fixed` are the leaves that tracing does not see, None where a tensor belongs.
    """

    def __init__(self, network: Forecaster, spec: pytree.TreeSpec, fixed: Sequence[Any]) -> None:
        super().__init__()
        self.network, self.spec, self.fixed = network, spec, list(fixed)

    def forward(self, states: list[Tensor]) -> list[Tensor]:
        given = iter(states)
        leaves = [next(given) if leaf is None else leaf for leaf in self.fixed]
        frame_BCHW, state = self.network.step(pytree.tree_unflatten(leaves, self.spec))
        after = zip(pytree.tree_leaves(state), self.fixed, strict=True)
        # A state's whole numbers are the same after a step as before it.
        kept = [
            leaf.clone() if isinstance(leaf, Tensor) else torch.tensor(leaf)
            for leaf, fixed in after
            if fixed is None
        ]
        return [frame_BCHW.clone(), *kept]


class StepGraphs:
    """Both graphs of a network with examples to trace them with; in eval mode, without gradients.

    `states` are example tensors of the state, named `names`, for the context (B, Tc, C, H, W).
    """

    def __init__(self, network: Forecaster, context_BTCHW: Tensor) -> None:
        network = network.eval().requires_grad_(False)
        self.network, self.context = network, context_BTCHW
        self.encode = Encode(network).eval()
        leaves, spec = pytree.tree_flatten(network.encode(context_BTCHW))
        # strict=False: the states are a list, because their number depends on the network.
        self.traced_encode = torch.jit.trace(
            self.encode, (context_BTCHW,), check_trace=False, strict=False
        )
        traced = self.encode.is_tensor
        fixed = [None if tensor else leaf for leaf, tensor in zip(leaves, traced, strict=True)]
        self.step = Step(network, spec, fixed).eval()
        self.states = [
            leaf.clone() if isinstance(leaf, Tensor) else torch.tensor(leaf)
            for leaf, tensor in zip(leaves, traced, strict=True)
            if tensor
        ]
        self.names = [f"state_{number}" for number in range(len(self.states))]
