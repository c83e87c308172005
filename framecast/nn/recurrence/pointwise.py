"""Gate arithmetic of the fused recurrence: one step after its convolutions, forward and backward.

Everything is written in place and element by element, so that the axes after the channels may be
rows and columns, or those of tiles. tanh(z) is computed as 1 - 2 sigma(-2 z), which takes a third
of the time or less. 16 bits would leave little of a small tanh, so it is then taken in float32.

Axes as in `fused.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from framecast.nn.recurrence.chunks import Weights

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def step_forward(
    z_bGHW: Tensor,
    saved_bKHW: Tensor | None,
    c_bFHW: Tensor | None,
    c_new: Tensor,
    h_new: Tensor,
    weights: Weights,
) -> None:
    """Write the gates to `saved_bKHW`, or over the pre-activations, and the new c and h.

    `c_bFHW` None is zeros. Letters as in `equations.py`.
    """
    i, f, s, o = z_bGHW.chunk(4, 1)
    if weights.peephole is not None:
        w_i, w_f, w_o = weights.peepholes(z_bGHW.ndim - 2)
        if c_bFHW is not None:
            i.addcmul_(w_i, c_bFHW)
            f.addcmul_(w_f, c_bFHW)
    # i and f lie next to each other, so one sigmoid serves both.
    both, last = z_bGHW.split(2 * o.shape[1], 1)[0], o
    if saved_bKHW is not None:
        both, last = saved_bKHW.tensor_split((2 * o.shape[1],), 1)
    i, f = torch.sigmoid(z_bGHW[:, : both.shape[1]], out=both).chunk(2, 1)  # (i), (f)
    half_precision = s.dtype != c_new.dtype
    # The old c may be the same memory as the new one, so it is read before that is written.
    if half_precision:
        candidate = _tanh(s.float())
        added = torch.mul(i, candidate, out=c_new if c_bFHW is None else candidate)
    else:
        added = c_new if c_bFHW is None else s
        torch.addcmul(i, i, s.mul_(-2).sigmoid_(), value=-2, out=added)
    if c_bFHW is not None:
        torch.addcmul(added, f, c_bFHW, out=c_new)  # (c)
    if weights.peephole is not None:
        o.addcmul_(w_o, c_new)
    o = torch.sigmoid(o, out=last)  # (o)
    if half_precision:
        h_new.copy_(_tanh(c_new)).mul_(o)  # (h)
    else:
        sigma = torch.mul(c_new, -2, out=h_new).sigmoid_()
        torch.addcmul(o, o, sigma, value=-2, out=h_new)  # (h)


def _tanh(x: Tensor) -> Tensor:
    """tanh as a new tensor, in float32."""
    return torch.mul(x, -2).sigmoid_().mul_(-2).add_(1)


def step_backward(
    d_z_bGHW: Tensor,
    gates_bKHW: Tensor,
    c_before: Tensor | None,
    c_bFHW: Tensor,
    d_h_bFHW: Tensor,
    d_c_bFHW: Tensor,
    weights: Weights,
) -> None:
    """Write the gradient of the pre-activations; turn that of c into that of the c before it."""
    if gates_bKHW.dtype != c_bFHW.dtype:  # converted once: in mixed arithmetic every operation does
        exact_bGHW = torch.empty_like(d_z_bGHW, dtype=c_bFHW.dtype)
        given = (gates_bKHW.to(c_bFHW.dtype), c_before, c_bFHW, d_h_bFHW.to(c_bFHW.dtype), d_c_bFHW)
        step_backward(exact_bGHW, *given, weights)
        d_z_bGHW.copy_(exact_bGHW)
        return
    i, f, o = gates_bKHW.chunk(3, 1)
    # Slices of the result serve as scratch memory until their own gradient is written.
    d_i, d_f, d_g, d_o = d_z_bGHW.chunk(4, 1)
    torch.mul(d_h_bFHW, o, out=d_f)
    sigma = torch.mul(c_bFHW, -2, out=d_i).sigmoid_()
    torch.addcmul(d_h_bFHW, d_h_bFHW, sigma, value=-2, out=d_o)
    d_c_bFHW.add_(_sigmoid_backward(d_f, sigma, grad_input=d_f), alpha=4)
    _sigmoid_backward(d_o, o, grad_input=d_o)
    if weights.peephole is not None:
        w_i, w_f, w_o = weights.peepholes(d_z_bGHW.ndim - 2)
        d_c_bFHW.addcmul_(w_o, d_o)
    # The candidate g = tanh(z_c) was not saved: line (c) gives i g = C_t - f C_{t-1}.
    if c_before is None:
        d_g.copy_(c_bFHW)
        d_f.zero_()
    else:
        torch.addcmul(c_bFHW, f, c_before, value=-1, out=d_g)
        torch.mul(d_c_bFHW, c_before, out=d_f)
    # An i near 0 magnifies the rounding of c, so g is clamped to the range of tanh; 0/0 is avoided.
    g = d_g.div_(torch.clamp(i, min=torch.finfo(i.dtype).tiny, out=d_i)).clamp_(-1, 1)
    torch.mul(d_c_bFHW, g, out=d_i)
    _tanh_backward(d_c_bFHW, g, grad_input=d_g).mul_(i)
    d_both, both = (t[:, : 2 * o.shape[1]] for t in (d_z_bGHW, gates_bKHW))
    _sigmoid_backward(d_both, both, grad_input=d_both)
    d_c_bFHW.mul_(f)
    if weights.peephole is not None:
        d_c_bFHW.addcmul_(w_i, d_i).addcmul_(w_f, d_f)


def recompute_gates(
    z_gates: Sequence[Tensor],
    out_bKHW: Tensor,
    c_before: Tensor | None,
    c_bFHW: Tensor,
    weights: Weights,
) -> None:
    """Write the gates of a step whose c is known; the pre-activations of i, f, o are destroyed."""
    i, f, o = z_gates
    if weights.peephole is not None:
        w_i, w_f, w_o = weights.peepholes(out_bKHW.ndim - 2)
        if c_before is not None:
            i.addcmul_(w_i, c_before)
            f.addcmul_(w_f, c_before)
        o.addcmul_(w_o, c_bFHW)
    for z_bFHW, gate_bFHW in zip(z_gates, out_bKHW.chunk(3, 1), strict=True):
        torch.sigmoid(z_bFHW, out=gate_bFHW)


def peephole_gradient(d_z_bGHW: Tensor, c_before: Tensor | None, c_bFHW: Tensor) -> Tensor:
    """The gradient of W_ci, W_cf and W_co, (3F): summed over samples and places."""
    d_i, d_f, _, d_o = d_z_bGHW.chunk(4, 1)
    places = (0, *range(2, d_o.ndim))
    before = torch.zeros_like(c_bFHW) if c_before is None else c_before
    pairs = ((d_i, before), (d_f, before), (d_o, c_bFHW))
    return torch.cat([(d * c).sum(places) for d, c in pairs])
