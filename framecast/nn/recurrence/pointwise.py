"""One step of the recurrence of `scan.py` behind its convolutions, forth and back, in place.

Element by element, so that axes other than the batch and the channels may be any: rows and columns,
or those of tiles. Where c is of another type than the rest, those have 16 bits, in which
1 - 2 sigma leaves little of a small tanh; there tanh is called by its name.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from framecast.nn.recurrence.chunks import Weights

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def advance(
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
    short = s.dtype != c_new.dtype
    # The old c may be the same memory as the new one, so that it is read before that is written.
    added = c_new if c_bFHW is None else s
    if short:
        torch.mul(i, s.tanh_(), out=added)
    else:
        torch.addcmul(i, i, s.mul_(-2).sigmoid_(), value=-2, out=added)
    if c_bFHW is not None:
        torch.addcmul(added, f, c_bFHW, out=c_new)
    if weights.peephole is not None:
        o.addcmul_(w_o, c_new)
    o = torch.sigmoid(o, out=last)
    if short:
        torch.tanh(c_new, out=h_new).mul_(o)
    else:
        share = torch.mul(c_new, -2, out=h_new).sigmoid_()
        torch.addcmul(o, o, share, value=-2, out=h_new)


def retreat(
    d_z_bGHW: Tensor,
    gates_bKHW: Tensor,
    c_before: Tensor | None,
    c_bFHW: Tensor,
    d_h_bFHW: Tensor,
    d_c_bFHW: Tensor,
    weights: Weights,
) -> None:
    """Write the gradient of a step's sums, and turn that of c into that of the c before it."""
    i, f, o = gates_bKHW.chunk(3, 1)
    d_i, d_f, d_g, d_o = d_z_bGHW.chunk(4, 1)
    torch.mul(d_h_bFHW, o, out=d_f)
    if o.dtype != c_bFHW.dtype:
        shown = torch.tanh(c_bFHW, out=d_i)
        torch.mul(d_h_bFHW, shown, out=d_o)
        d_c_bFHW.add_(_tanh_backward(d_f, shown, grad_input=d_f))
    else:
        share = torch.mul(c_bFHW, -2, out=d_i).sigmoid_()
        torch.addcmul(d_h_bFHW, d_h_bFHW, share, value=-2, out=d_o)
        d_c_bFHW.add_(_sigmoid_backward(d_f, share, grad_input=d_f), alpha=4)
    _sigmoid_backward(d_o, o, grad_input=d_o)
    if weights.peephole is not None:
        w_i, w_f, w_o = weights.peepholes(d_z_bGHW.ndim - 2)
        d_c_bFHW.addcmul_(w_o, d_o)
    if c_before is None:
        d_g.copy_(c_bFHW)
        d_f.zero_()
    else:
        torch.addcmul(c_bFHW, f, c_before, value=-1, out=d_g)
        torch.mul(d_c_bFHW, c_before, out=d_f)
    # The rounding of c, which an i near 0 lifts, ends where a tanh does; both may be 0.
    g = d_g.div_(torch.clamp(i, min=torch.finfo(i.dtype).tiny, out=d_i)).clamp_(-1, 1)
    torch.mul(d_c_bFHW, g, out=d_i)
    _tanh_backward(d_c_bFHW, g, grad_input=d_g).mul_(i)
    d_both, both = (t[:, : 2 * o.shape[1]] for t in (d_z_bGHW, gates_bKHW))
    _sigmoid_backward(d_both, both, grad_input=d_both)
    d_c_bFHW.mul_(f)
    if weights.peephole is not None:
        d_c_bFHW.addcmul_(w_i, d_i).addcmul_(w_f, d_f)


def gates_again(
    sums: Sequence[Tensor],
    out_bKHW: Tensor,
    c_before: Tensor | None,
    c_bFHW: Tensor,
    weights: Weights,
) -> None:
    """Write the gates of a step whose c is known, from the sums of i, f and o, which are lost."""
    i, f, o = sums
    if weights.peephole is not None:
        w_i, w_f, w_o = weights.peepholes(out_bKHW.ndim - 2)
        if c_before is not None:
            i.addcmul_(w_i, c_before)
            f.addcmul_(w_f, c_before)
        o.addcmul_(w_o, c_bFHW)
    for z_bFHW, gate_bFHW in zip(sums, out_bKHW.chunk(3, 1), strict=True):
        torch.sigmoid(z_bFHW, out=gate_bFHW)


def peephole_gradient(d_z_bGHW: Tensor, c_before: Tensor | None, c_bFHW: Tensor) -> Tensor:
    """The gradient of W_ci, W_cf and W_co, (3F)."""
    d_i, d_f, _, d_o = d_z_bGHW.chunk(4, 1)
    places = (0, *range(2, d_o.ndim))
    before = torch.zeros_like(c_bFHW) if c_before is None else c_before
    pairs = ((d_i, before), (d_f, before), (d_o, c_bFHW))
    return torch.cat([(d * c).sum(places) for d, c in pairs])
