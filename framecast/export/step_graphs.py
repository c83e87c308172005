"""A forecaster as two graphs: `encode` from context to states, `step` from states to a frame.

Graphs of one step stay small whatever the horizon, and can be stepped by any program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
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


class InlineConstants(TorchFunctionMode):
    """Make `torch.tensor` of numbers from operators.

    torch.export cannot save a loop whose subgraph holds a tensor of its own.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.tensor:
            return func(*args, **(kwargs or {}))
        numbers = np.array(args[0])
        scalars = [torch.full((), number, **kwargs) for number in numbers.flat]
        return torch.stack(scalars).view(numbers.shape)


class LoopedRollout(nn.Module):
    """A forecaster whose horizon is part of it: context (B, Tc, C, H, W) to all of its frames.

    torch.export sees one step, which its `while_loop` runs. With a copy of the step for each of 12
    lead times, exporting takes twice as long and loading three times.
    """

    def __init__(self, network: Forecaster, horizon: int) -> None:
        super().__init__()
        self.network, self.horizon = network, horizon

    def forward(self, context: Tensor) -> Tensor:
        leaves, spec = pytree.tree_flatten(self.network.encode(context))
        # Clones: what a loop carries must not share memory.
        states = [leaf.clone() for leaf in leaves if isinstance(leaf, Tensor)]
        fixed = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        step = Step(self.network, spec, fixed)
        # A subgraph sees nothing but its arguments, so weights are among them.
        weights = {**dict(step.named_parameters()), **dict(step.named_buffers())}

        def goes_on(lead: Tensor, frames_BTCHW: Tensor, *_: Tensor) -> Tensor:
            return lead < self.horizon

        def next_frame(lead: Tensor, frames_BTCHW: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            given = dict(zip(weights, rest[len(states) :], strict=True))
            with InlineConstants():
                frame_BCHW, *after = torch.func.functional_call(
                    step, given, (list(rest[: len(states)]),)
                )
            frames_BTCHW = frames_BTCHW.index_copy(1, lead.view(1), frame_BCHW.unsqueeze(1))
            return lead + 1, frames_BTCHW, *after

        frames_BTCHW = context.new_zeros((context.shape[0], self.horizon, *context.shape[2:]))
        carried = (torch.zeros((), dtype=torch.int64), frames_BTCHW, *states)
        # The operator itself: `torch.while_loop` would compile both functions with Dynamo first.
        loop = torch.ops.higher_order.while_loop
        return loop(goes_on, next_frame, carried, tuple(weights.values()))[1]


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
