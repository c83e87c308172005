"""The recurrence of a ConvLSTM over a whole sequence as one differentiable operation.

The equations are those of `recurrence.py`, sigma the logistic function and tanh written as
tanh(z) = 1 - 2 sigma(-2 z), which takes a third of the time. Convolutions go through a sequence in
blocks that stay in the processor's cache: as many samples of the batch as fit and, where all fit,
as many time steps for the input's convolution and the weights' gradients; the state's gradient
goes step by step. Kept for the backward pass are i, f, o, c and h of each step, or with `recompute`
c and h alone; i, f and o are then computed a second time. The candidate is what c says it was:
i tanh(z_c) = C_t - f C_{t-1}.

Axes as in `recurrence.py`; S is T or, where only the newest step is needed, 1; b samples and n
steps of a block, N = n b; K = 3F the channels of i, f, o.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from framecast.nn.recurrence import State, convolve
from framecast.nn.scan_backward import Backward
from framecast.nn.scan_blocks import Plan, Weights, blocks, frames
from framecast.nn.shapes import ConvGeometry


def can_scan(tensors: Iterable[Tensor]) -> bool:
    """Whether `scan` takes these; not while being traced, transformed or cast to other types."""
    tensors = list(tensors)
    device, dtype = tensors[0].device, tensors[0].dtype
    return (
        device.type in ("cpu", "cuda", "meta")
        and dtype in (torch.float32, torch.float64)
        and all(tensor.device == device and tensor.dtype == dtype for tensor in tensors)
        and not (device.type != "meta" and torch.is_autocast_enabled(device.type))
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
    )


def scan(
    x_BTCHW: Tensor, state: State | None, weights: Weights, plan: Plan
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a ConvLSTM with sigmoid and tanh over a sequence; returns the output, h and c.

    The output is that of all steps (B,T,F,H,W) or the last h (B,F,H,W). `state` holds h and c
    before the first step, None for zeros. Gradients flow into everything given; to differentiate
    them again raises RuntimeError.
    """
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
        h_SBFHW, c_SBFHW, _ = _forward(*tensors[:3], weights, plan, keep=False)
        # A view of the last step would hold on to all the others.
        h_BFHW = h_SBFHW[-1] if len(h_SBFHW) == 1 else h_SBFHW[-1].clone()
        c_BFHW = c_SBFHW[-1]
    return h_SBFHW.transpose(0, 1) if plan.return_sequences else h_BFHW, h_BFHW, c_BFHW


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        h_TBFHW, c_TBFHW, gates = _forward(*tensors[:3], Weights(*tensors[3:]), plan, keep=True)
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, h_TBFHW, c_TBFHW, *gates)
        shown = h_TBFHW if plan.return_sequences else None
        return shown, h_TBFHW[-1].clone(), c_TBFHW[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *received: Tensor | None) -> tuple[Tensor | None, ...]:
        x_BTCHW, *first = ctx.saved_tensors[:3]
        weights = Weights(*ctx.saved_tensors[3:7])
        h_TBFHW, c_TBFHW, *gates = ctx.saved_tensors[7:]
        # Unless the graph is kept, gates are forgotten one by one as they have been used.
        ctx.maybe_clear_saved_tensors()
        backward = Backward(ctx.plan, weights, x_BTCHW, h_TBFHW, c_TBFHW, ctx.needs_input_grad[1:])
        return None, *backward.run(first, gates, received)


def _forward(
    x_BTCHW: Tensor,
    h_BFHW: Tensor | None,
    c_BFHW: Tensor | None,
    weights: Weights,
    plan: Plan,
    *,
    keep: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """h and c, of all steps where they are kept or wanted, and the gates that are kept."""
    batch, steps = x_BTCHW.shape[:2]
    filters = weights.recurrent_kernel.shape[1]
    shape = (batch, filters, *plan.inputs.output_sizes(x_BTCHW.shape[3:]))
    h_SBFHW = x_BTCHW.new_empty((steps if keep or plan.return_sequences else 1, *shape))
    c_SBFHW = x_BTCHW.new_empty((steps if keep else 1, *shape))
    cut = list(blocks(h_SBFHW[0], steps))
    # Ahead of everything that is freed again, between which they would leave holes.
    kept = [
        x_BTCHW.new_empty((times.stop - times.start, b.stop - b.start, 3 * filters, *shape[2:]))
        for b, parts in cut
        for times in parts
        if keep and not plan.recompute
    ]
    pieces = iter(kept)
    for samples, parts in cut:
        state = (
            None if h_BFHW is None else h_BFHW[samples].contiguous(),
            None if c_BFHW is None else c_BFHW[samples],
        )
        for times in parts:
            x_NCHW = frames(x_BTCHW, samples, times, plan.go_backwards)
            z_NGHW = convolve(x_NCHW, weights.kernel, weights.bias, plan.inputs)
            after = [
                (h_SBFHW[t % len(h_SBFHW), samples], c_SBFHW[t % len(c_SBFHW), samples])
                for t in range(times.start, times.stop)
            ]
            _advance_all(z_NGHW, next(pieces, None), state, after, weights, plan.state)
            state = after[-1]
            del x_NCHW, z_NGHW  # before the next part's are made
    return h_SBFHW, c_SBFHW, kept


def _advance_all(
    z_NGHW: Tensor,
    gates_nbKHW: Tensor | None,
    state: tuple[Tensor | None, Tensor | None],
    after: list[State],
    weights: Weights,
    geometry: ConvGeometry,
) -> None:
    """Turn the inputs' sums of some steps into gates, kept if told where, and h and c `after`."""
    steps = z_NGHW.unflatten(0, (len(after), -1))
    for n, (z_bGHW, (h_new, c_new)) in enumerate(zip(steps, after, strict=True)):
        h_bFHW, c_bFHW = state
        if h_bFHW is not None:
            z_bGHW.add_(convolve(h_bFHW, weights.recurrent_kernel, None, geometry))
        kept_bKHW = None if gates_nbKHW is None else gates_nbKHW[n]
        _advance(z_bGHW, kept_bKHW, c_bFHW, c_new, h_new, weights)
        state = h_new, c_new


def _advance(
    z_bGHW: Tensor,
    kept_bKHW: Tensor | None,
    c_bFHW: Tensor | None,
    c_new: Tensor,
    h_new: Tensor,
    weights: Weights,
) -> None:
    """Write the gates to `kept_bKHW`, or over their sums, and the new c and h.

    `c_bFHW` None is zeros.
    """
    i, f, s, o = z_bGHW.chunk(4, 1)
    if weights.peephole is not None:
        w_i, w_f, w_o = weights.peepholes(z_bGHW.ndim - 2)
        if c_bFHW is not None:
            i.addcmul_(w_i, c_bFHW)
            f.addcmul_(w_f, c_bFHW)
    both, last = z_bGHW.split(2 * o.shape[1], 1)[0], o
    if kept_bKHW is not None:
        both, last = kept_bKHW.tensor_split((2 * o.shape[1],), 1)
    i, f = torch.sigmoid(z_bGHW[:, : both.shape[1]], out=both).chunk(2, 1)
    s.mul_(-2).sigmoid_()
    if c_bFHW is None:
        torch.addcmul(i, i, s, value=-2, out=c_new)
    else:
        torch.addcmul(i, f, c_bFHW, out=c_new).addcmul_(i, s, value=-2)
    if weights.peephole is not None:
        o.addcmul_(w_o, c_new)
    o = torch.sigmoid(o, out=last)
    share = torch.mul(c_new, -2, out=h_new).sigmoid_()
    torch.addcmul(o, o, share, value=-2, out=h_new)
