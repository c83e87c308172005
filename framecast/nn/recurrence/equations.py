"""The arithmetic of a ConvLSTM on channels-first tensors: one step, and steps in a row.

Shi et al., 2015 (arXiv:1506.04214), eq. 3, with * a convolution and . a product per element:

    (i)  i_t = sigma(W_xi * X_t + W_hi * H_{t-1} + W_ci . C_{t-1} + b_i)
    (f)  f_t = sigma(W_xf * X_t + W_hf * H_{t-1} + W_cf . C_{t-1} + b_f)
    (c)  C_t = f_t . C_{t-1} + i_t . tanh(W_xc * X_t + W_hc * H_{t-1} + b_c)
    (o)  o_t = sigma(W_xo * X_t + W_ho * H_{t-1} + W_co . C_t + b_o)
    (h)  H_t = o_t . tanh(C_t)

Differences: the peepholes W_ci, W_cf, W_co are left out unless asked for, as in Keras. They hold
one weight per channel instead of one per channel and place, so that the frame size stays free (the
paper's parameter counts agree). sigma and tanh may be other functions. With layer normalisation
(Ba et al., 2016, arXiv:1607.06450, eq. 20-22) W_x * X, W_h * H and the C_t inside the last tanh
are normalised first, over the channels of each gate at each place.

Axes: B batch, T time, N = B T, C input channels, F filters, G = 4F the channels of the gates in
the order i, f, c, o, H rows, W columns (HW stands for one or three spatial axes as well).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from framecast.nn.shapes import ConvGeometry

State = tuple[Tensor, Tensor]
Step = Callable[[Tensor, Tensor, Tensor], State]
Activation = Callable[[Tensor], Tensor]
_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def convolve(
    x_NCHW: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    geometry: ConvGeometry,
    masks_4NCHW: Tensor | None = None,
) -> Tensor:
    """Convolve for all gates at once, (N,C,H,W) to (N,G,H',W').

    With `masks_4NCHW` each gate sees the input through its own dropout mask.
    """
    groups = 1
    if masks_4NCHW is not None:
        # Four masked copies of the input, one per gate: a grouped convolution keeps them apart.
        x_NCHW, groups = torch.cat([x_NCHW * mask for mask in masks_4NCHW], 1), 4
    x_NCHW, padding, _ = padded(x_NCHW, geometry)
    return _CONVOLUTIONS[len(padding)](
        x_NCHW,
        kernel,
        bias,
        stride=geometry.strides,
        padding=padding,
        dilation=geometry.dilation_rate,
        groups=groups,
    )


def padded(x_NCHW: Tensor, geometry: ConvGeometry) -> tuple[Tensor, list[int], list[int]]:
    """What a convolution reads, how much it pads along each axis, and the zeros that are added.

    Convolutions pad both sides alike: where they must not, the padding is added here, as
    `functional.pad` takes it.
    """
    pads = geometry.pads(x_NCHW.shape[2:])
    if all(before == after for before, after in pads):
        return x_NCHW, [before for before, _ in pads], []
    added = [side for pad in reversed(pads) for side in pad]  # the last axis first
    return functional.pad(x_NCHW, added), [0] * len(pads), added


def normalize_channels(
    x_BCHW: Tensor, groups: int, gain: Tensor, shift: Tensor | None = None
) -> Tensor:
    """Give each of `groups` equal blocks of channels mean 0 and variance 1 at each place.

    Then scale and shift each channel; epsilon is 1e-5.
    """
    last = x_BCHW.ndim - 1  # PyTorch's older ONNX exporter does not move axes counted from the end
    x_BHWgc = x_BCHW.movedim(1, last).unflatten(-1, (groups, -1))
    x_BHWC = functional.layer_norm(x_BHWgc, x_BHWgc.shape[-1:]).flatten(-2) * gain
    return (x_BHWC if shift is None else x_BHWC + shift).movedim(last, 1)


def gates(
    z_BGHW: Tensor,
    c_BFHW: Tensor,
    *,
    activation: Activation = torch.tanh,
    recurrent_activation: Activation = torch.sigmoid,
    peephole: Tensor | None = None,
    normalize_c: Callable[[Tensor], Tensor] | None = None,
) -> State:
    """Eq. 3 from the pre-activations on, W_x * X_t + W_h * H_{t-1} + b: h and c of this step.

    `peephole` holds W_ci, W_cf and W_co, (3F); `normalize_c` acts on the C_t inside line (h).
    """
    sigma, tanh = recurrent_activation, activation
    z_i, z_f, z_c, z_o = z_BGHW.chunk(4, 1)
    h_dtype = z_o.dtype
    if peephole is not None:
        w_i, w_f, w_o = peephole.view(3, -1, *(1,) * (c_BFHW.ndim - 2))
        z_i, z_f = z_i + w_i * c_BFHW, z_f + w_f * c_BFHW
    i = sigma(z_i)  # (i)
    f = sigma(z_f)  # (f)
    c_BFHW = f * c_BFHW + i * tanh(z_c)  # (c)
    if peephole is not None:
        z_o = z_o + w_o * c_BFHW
    o = sigma(z_o)  # (o)
    shown_BFHW = tanh(c_BFHW if normalize_c is None else normalize_c(c_BFHW))
    # Under autocast z has 16 bits and c, which adds up over time, has 32.
    return o.to(h_dtype) * shown_BFHW.to(h_dtype), c_BFHW  # (h)


def recur(
    step: Step,
    z_BTGHW: Tensor,
    h_BFHW: Tensor,
    c_BFHW: Tensor,
    *,
    use_BT: Tensor | None = None,
    zero_output_for_mask: bool = False,
    return_sequences: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run `step(z_BGHW, h, c) -> (h, c)` over time; returns the output and the last h and c.

    The output is that of all steps (B,T,F,H,W), or of the last (B,F,H,W). Where `use_BT` is
    False a step holds the state and repeats the output before it, zeros if there is none or with
    `zero_output_for_mask`.
    """
    output_BFHW, outputs = torch.zeros_like(h_BFHW), []
    for t, z_BGHW in enumerate(z_BTGHW.unbind(1)):
        h_new, c_new = step(z_BGHW, h_BFHW, c_BFHW)
        if use_BT is None:
            output_BFHW, h_BFHW, c_BFHW = h_new, h_new, c_new
        else:
            use = use_BT[:, t].view(-1, *(1,) * (h_new.ndim - 1))
            held = torch.zeros_like(h_new) if zero_output_for_mask else output_BFHW
            # Under autocast the first state has 32 bits, and h after it has 16.
            output_BFHW = torch.where(use, h_new, held.to(h_new.dtype))
            h_BFHW = torch.where(use, h_new, h_BFHW.to(h_new.dtype))
            c_BFHW = torch.where(use, c_new, c_BFHW)
        if return_sequences:
            outputs.append(output_BFHW)
    return torch.stack(outputs, 1) if return_sequences else output_BFHW, h_BFHW, c_BFHW
