"""The recurrence of a ConvLSTM over a whole sequence as one differentiable operation.

The equations are those of `recurrence.py`, sigma the logistic function and tanh written as
tanh(z) = 1 - 2 sigma(-2 z), which takes a third of the time. Kept for the backward pass are i, f,
o, c and h of each step, or with `recompute` c and h alone; i, f and o are then computed a second
time. The candidate is what c says it was: i tanh(z_c) = C_t - f C_{t-1}. Convolutions go one of two
ways: direct ones (`scan_direct.py`), or where that is faster Winograd's (`scan_winograd.py`). Under
autocast everything is of its type but c, which adds up over time and stays in float32.

Axes as in `recurrence.py`; S is T or, where only the newest step is needed, 1; b samples and n
steps of a block, N = n b; K = 3F the channels of i, f, o.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

from framecast.nn.autocast import as_given, autocast_type
from framecast.nn.recurrence import direct, winograd
from framecast.nn.recurrence.chunks import Plan, Weights
from framecast.nn.recurrence.cost import Tiles, tiles_of
from framecast.nn.recurrence.equations import State


def can_scan(tensors: Iterable[Tensor]) -> bool:
    """Whether `scan` takes these.

    Not while being traced, transformed or differentiated forwards.
    """
    tensors = list(tensors)
    device, types = tensors[0].device, {tensor.dtype for tensor in tensors}
    if lowered := autocast_type(device):
        fitting = types <= {torch.float32, lowered}
    else:
        fitting = types in ({torch.float32}, {torch.float64})
    return (
        fitting
        and device.type in ("cpu", "cuda", "meta")
        and all(tensor.device == device for tensor in tensors)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def scan(
    x_BTCHW: Tensor, state: State | None, weights: Weights, plan: Plan
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a ConvLSTM with sigmoid and tanh over a sequence; returns the output, h and c.

    The output is that of all steps (B,T,F,H,W) or the last h (B,F,H,W). `state` holds h and c
    before the first step, None for zeros. Gradients flow into everything given; to differentiate
    them again raises RuntimeError. Under autocast output and h are of its type.
    """
    if lowered := autocast_type(x_BTCHW.device):
        state = state and (state[0].to(lowered), state[1].float())
        with as_given(x_BTCHW.device):
            return scan(x_BTCHW.to(lowered), state, weights.to(lowered), plan)
    tensors = (
        x_BTCHW,
        *(state or (None, None)),
        weights.kernel,
        weights.recurrent_kernel,
        weights.bias,
        weights.peephole,
    )
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        h_SBFHW, h_BFHW, c_BFHW = _Scan.apply(plan, *tensors)
    else:
        h_SBFHW, c_BFHW, _ = _forward(tensors, plan, keep=False)
        # A view of the last step would hold on to all the others.
        h_BFHW = h_SBFHW[-1] if len(h_SBFHW) == 1 else h_SBFHW[-1].clone()
    return h_SBFHW.transpose(0, 1) if plan.return_sequences else h_BFHW, h_BFHW, c_BFHW


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        h_TBFHW, c_BFHW, kept = _forward(tensors, plan, keep=True)
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, h_TBFHW, *kept)
        shown = h_TBFHW if plan.return_sequences else None
        return shown, h_TBFHW[-1].clone(), c_BFHW.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *received: Tensor | None) -> tuple[Tensor | None, ...]:
        x_BTCHW, *first = ctx.saved_tensors[:3]
        weights = Weights(*ctx.saved_tensors[3:7])
        h_TBFHW, *kept = ctx.saved_tensors[7:]
        # Unless the graph is kept, gates are forgotten one by one as they have been used.
        ctx.maybe_clear_saved_tensors()
        given = (ctx.plan, weights, x_BTCHW, h_TBFHW, kept, ctx.needs_input_grad[1:])
        tiles = _tiles(x_BTCHW, weights, ctx.plan)
        way = winograd.Backward(tiles, *given) if tiles else direct.Backward(*given)
        del kept, given
        with as_given(x_BTCHW.device):
            return None, *way.run(first, received)


def _forward(
    tensors: tuple[Tensor | None, ...], plan: Plan, *, keep: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    x_BTCHW, *first = tensors[:3]
    weights = Weights(*tensors[3:])
    tiles = _tiles(x_BTCHW, weights, plan)
    if tiles:
        return winograd.forward(tiles, x_BTCHW, first, weights, plan, keep=keep)
    return direct.forward(x_BTCHW, first, weights, plan, keep=keep)


def _tiles(x_BTCHW: Tensor, weights: Weights, plan: Plan) -> Tiles | None:
    """How to cut frames for Winograd's convolutions; None where direct ones are taken."""
    # CUDA's libraries choose among such ways by themselves; 16 bits are too few for them.
    if x_BTCHW.device.type != "cpu" or x_BTCHW.dtype.itemsize < 4:
        return None
    batch, steps, channels, *sizes = x_BTCHW.shape
    filters = weights.recurrent_kernel.shape[1]
    return tiles_of(plan.inputs, plan.state, sizes, channels, filters, batch=batch, steps=steps)
