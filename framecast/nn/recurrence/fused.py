"""The recurrence of a ConvLSTM over a whole sequence as one differentiable operation.

The equations are those of `equations.py` with the logistic function and tanh. Saved for the
backward pass are i, f, o, c and h of each step, or with `recompute` c and h alone. Convolutions are
direct (`direct.py`) or, where that is faster, Winograd's (`winograd.py`). Under autocast everything
has its dtype but c, which adds up over time and stays in float32.

Axes as in `equations.py`; S is T or, where only the newest step is needed, 1; b samples and n
steps of a block, N = n b; K = 3F the channels of i, f, o.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from framecast.nn.autocast import as_given, autocast_type
from framecast.nn.recurrence import direct, winograd
from framecast.nn.recurrence.chunks import SequenceSettings, Weights, cell_dtype
from framecast.nn.recurrence.cost import Tiles, tiles_of
from framecast.nn.recurrence.equations import State, convolve, gates, recur

Gradients = tuple[Tensor | None, ...]


def can_fuse(tensors: Iterable[Tensor]) -> bool:
    """Whether `fused_recurrence` takes these, the input first.

    Not while being traced, transformed or differentiated forwards, and no empty batch.
    """
    tensors = list(tensors)
    x_BTCHW = tensors[0]
    device, dtypes = x_BTCHW.device, {tensor.dtype for tensor in tensors}
    if lowered := autocast_type(device):
        fitting = dtypes <= {torch.float32, lowered}
    else:
        fitting = dtypes in ({torch.float32}, {torch.float64})
    return (
        fitting
        and device.type in ("cpu", "cuda", "meta")
        and all(tensor.device == device for tensor in tensors)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        # No public way to ask whether a transform of torch.func or a forward derivative is active.
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        # Last, since a graph that is being traced must not depend on the batch.
        and x_BTCHW.shape[0] > 0
    )


def fused_recurrence(
    x_BTCHW: Tensor, state: State | None, weights: Weights, settings: SequenceSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a ConvLSTM with sigmoid and tanh over a sequence; returns the output, h and c.

    The output is that of all steps (B,T,F,H,W) or the last h (B,F,H,W). `state` holds h and c
    before the first step, None for zeros. Gradients of any order flow into everything given. Under
    autocast output and h are of its dtype.
    """
    if lowered := autocast_type(x_BTCHW.device):
        state = state and (state[0].to(lowered), state[1].float())
        with as_given(x_BTCHW.device):
            return fused_recurrence(x_BTCHW.to(lowered), state, weights.to(lowered), settings)
    tensors = (
        x_BTCHW,
        *(state or (None, None)),
        weights.kernel,
        weights.recurrent_kernel,
        weights.bias,
        weights.peephole,
    )
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        h_SBFHW, h_BFHW, c_BFHW = _FusedRecurrence.apply(settings, *tensors)
    else:
        h_SBFHW, c_BFHW, _ = _forward(tensors, settings, save=False)
        # A view of the last step would keep, and share, the memory of the output.
        h_BFHW = h_SBFHW[-1].clone() if settings.return_sequences else h_SBFHW[-1]
    return h_SBFHW.transpose(0, 1) if settings.return_sequences else h_BFHW, h_BFHW, c_BFHW


class _FusedRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, settings: SequenceSettings, *tensors: Tensor | None) -> Gradients:
        h_TBFHW, c_BFHW, saved = _forward(tensors, settings, save=True)
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, h_TBFHW, *saved)
        shown = h_TBFHW if settings.return_sequences else None
        return shown, h_TBFHW[-1].clone(), c_BFHW.clone()

    @staticmethod
    def backward(ctx: Any, *received: Tensor | None) -> Gradients:
        # Read once: checkpoint(use_reentrant=False) recomputes them and returns
        # each only once.
        all_saved = list(ctx.saved_tensors)
        tensors, h_TBFHW, saved = all_saved[:7], all_saved[7], all_saved[8:]
        wanted = ctx.needs_input_grad[1:]
        # These gradients are differentiated again with create_graph=True; many are made at once
        # with is_grads_batched=True, when none of them can be added to an ordinary tensor in place.
        if torch.is_grad_enabled() or any(_batched(d) for d in received if d is not None):
            return None, *_backward_by_autograd(ctx.settings, tensors, wanted, received)
        # Unless the graph is retained, gates are freed one by one as soon as they have been used.
        ctx.maybe_clear_saved_tensors()
        x_BTCHW, weights = tensors[0], Weights(*tensors[3:])
        given = (ctx.settings, weights, x_BTCHW, h_TBFHW, saved, wanted)
        tiles = _tiles(x_BTCHW, weights, ctx.settings)
        kind = partial(winograd.WinogradBackward, tiles) if tiles else direct.DirectBackward
        backward = kind(*given)
        del all_saved, saved, given
        with as_given(x_BTCHW.device):
            return None, *backward.run(tensors[1:3], received)


def _batched(gradient: Tensor) -> bool:
    """Whether `torch.autograd.grad` was called with is_grads_batched; no public way to ask."""
    return torch._C._functorch.is_legacy_batchedtensor(gradient)


def _backward_by_autograd(
    settings: SequenceSettings,
    tensors: Sequence[Tensor | None],
    wanted: Sequence[bool],
    received: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The same gradients from a loop of autograd's own operations, differentiable in turn."""
    again = torch.is_grad_enabled()
    with torch.enable_grad(), as_given(tensors[0].device):
        # Views, since one tensor may have been given in two places, each with its own gradient.
        views = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
        outputs = _loop(settings, *views)
    pairs = [(y, d) for y, d in zip(outputs, received, strict=True) if d is not None]
    sources = [view for view, want in zip(views, wanted, strict=True) if want]
    if not pairs:
        return [None] * len(views)
    ys, ds = zip(*pairs, strict=True)
    gradients = torch.autograd.grad(ys, sources, ds, create_graph=again, materialize_grads=True)
    found = iter(gradients)
    return [next(found) if want else None for want in wanted]


def _loop(
    settings: SequenceSettings,
    x_BTCHW: Tensor,
    h_BFHW: Tensor | None,
    c_BFHW: Tensor | None,
    *weights: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """h of all steps (T,B,F,H,W), the last h and the last c."""
    kernel, recurrent_kernel, bias, peephole = weights
    z_NGHW = convolve(x_BTCHW.flatten(0, 1), kernel, bias, settings.inputs)
    z_BTGHW = z_NGHW.unflatten(0, x_BTCHW.shape[:2])
    if settings.go_backwards:
        z_BTGHW = z_BTGHW.flip(1)
    like = z_BTGHW[:, 0, : recurrent_kernel.shape[1]]
    h_BFHW = torch.zeros_like(like) if h_BFHW is None else h_BFHW
    c_BFHW = torch.zeros_like(like, dtype=cell_dtype(like)) if c_BFHW is None else c_BFHW

    def step(z_BGHW: Tensor, h: Tensor, c: Tensor) -> State:
        z_BGHW = z_BGHW + convolve(h, recurrent_kernel, None, settings.state)
        return gates(z_BGHW, c, peephole=peephole)

    h_BTFHW, h_BFHW, c_BFHW = recur(step, z_BTGHW, h_BFHW, c_BFHW)
    return h_BTFHW.transpose(0, 1), h_BFHW, c_BFHW


def _forward(
    tensors: Sequence[Tensor | None], settings: SequenceSettings, *, save: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    x_BTCHW, *first = tensors[:3]
    weights = Weights(*tensors[3:])
    tiles = _tiles(x_BTCHW, weights, settings)
    if tiles:
        return winograd.forward(tiles, x_BTCHW, first, weights, settings, save=save)
    return direct.forward(x_BTCHW, first, weights, settings, save=save)


def _tiles(x_BTCHW: Tensor, weights: Weights, settings: SequenceSettings) -> Tiles | None:
    """How to cut frames for Winograd's convolutions; None where direct ones are taken."""
    # CUDA's libraries choose such algorithms by themselves; 16 bits are too few for them.
    if x_BTCHW.device.type != "cpu" or x_BTCHW.dtype.itemsize < 4:
        return None
    batch, steps, channels, *sizes = x_BTCHW.shape
    filters = weights.recurrent_kernel.shape[1]
    return tiles_of(
        settings.inputs, settings.state, sizes, channels, filters, batch=batch, steps=steps
    )
