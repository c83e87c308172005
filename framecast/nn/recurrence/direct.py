"""The fused recurrence with direct convolutions; axes as in `fused.py`.

A sequence is worked in blocks that stay in the processor's cache: as many samples of the batch as
fit and, where all fit, as many time steps for the input's convolution and the weights' gradients;
the state's gradient goes step by step. Saved for the backward pass are h, c and, unless they are
recomputed, the gates of each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from framecast.nn.recurrence.chunks import (
    SequenceSettings,
    Weights,
    blocks,
    cell_dtype,
    empty,
    frames,
    packed,
)
from framecast.nn.recurrence.equations import State, convolve, padded
from framecast.nn.recurrence.pointwise import (
    peephole_gradient,
    recompute_gates,
    step_backward,
    step_forward,
)
from framecast.nn.shapes import ConvGeometry


def forward(
    x_BTCHW: Tensor,
    first: Sequence[Tensor | None],
    weights: Weights,
    settings: SequenceSettings,
    *,
    save: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """h of all steps, or of the last if that suffices, c of the last, and the saved tensors.

    `first` are h and c before the first step, None for zeros. Saved are c of all steps and a tensor
    of gates for each block and part.
    """
    batch, steps = x_BTCHW.shape[:2]
    filters = weights.recurrent_kernel.shape[1]
    shape = (batch, filters, *settings.inputs.output_sizes(x_BTCHW.shape[3:]))
    like_BCHW = x_BTCHW[:, 0]
    h_SBFHW = empty((steps if save or settings.return_sequences else 1, *shape), like_BCHW)
    c_SBFHW = empty((steps if save else 1, *shape), like_BCHW, cell_dtype(x_BTCHW))
    cut = list(blocks(h_SBFHW[0], steps))
    # Allocated before anything that is freed again, so that memory does not become fragmented.
    gates = [
        empty((times.stop - times.start, b.stop - b.start, 3 * filters, *shape[2:]), like_BCHW)
        for b, parts in cut
        for times in parts
        if save and not settings.recompute
    ]
    pieces = iter(gates)
    for samples, parts in cut:
        h_BFHW, c_BFHW = first
        state = (
            None if h_BFHW is None else packed(h_BFHW[samples]),
            None if c_BFHW is None else c_BFHW[samples],
        )
        for times in parts:
            x_NCHW = frames(x_BTCHW, samples, times, settings.go_backwards)
            z_NGHW = convolve(x_NCHW, weights.kernel, weights.bias, settings.inputs)
            after = [
                (h_SBFHW[t % len(h_SBFHW), samples], c_SBFHW[t % len(c_SBFHW), samples])
                for t in range(times.start, times.stop)
            ]
            _part_forward(z_NGHW, next(pieces, None), state, after, weights, settings.state)
            state = after[-1]
            del x_NCHW, z_NGHW  # before the next part's are made
    return h_SBFHW, c_SBFHW[-1], [c_SBFHW, *gates]


def _part_forward(
    z_NGHW: Tensor,
    gates_nbKHW: Tensor | None,
    state: tuple[Tensor | None, Tensor | None],
    after: list[State],
    weights: Weights,
    geometry: ConvGeometry,
) -> None:
    """Turn the inputs' pre-activations of some steps into h and c `after` each, and save gates."""
    steps = z_NGHW.unflatten(0, (len(after), -1))
    for n, (z_bGHW, (h_new, c_new)) in enumerate(zip(steps, after, strict=True)):
        h_bFHW, c_bFHW = state
        if h_bFHW is not None:
            z_bGHW.add_(convolve(h_bFHW, weights.recurrent_kernel, None, geometry))
        saved_bKHW = None if gates_nbKHW is None else gates_nbKHW[n]
        step_forward(z_bGHW, saved_bKHW, c_bFHW, c_new, h_new, weights)
        state = h_new, c_new


@dataclass
class _Part:
    """Some steps of some samples: what they read, and the h and c before each of them."""

    samples: slice
    times: slice
    x_NCHW: Tensor
    h_MFHW: Tensor | None
    """h before each step, the first left out where it is zeros."""
    c_before: list[Tensor | None]


class DirectBackward:
    """The gradients of one sequence, block by block, from the last step of each to the first."""

    def __init__(
        self,
        settings: SequenceSettings,
        weights: Weights,
        x_BTCHW: Tensor,
        h_TBFHW: Tensor,
        saved: list[Tensor],
        wanted: Sequence[bool],
    ) -> None:
        self.settings, self.weights = settings, weights
        self.x_BTCHW, self.h_TBFHW = x_BTCHW, h_TBFHW
        self.c_TBFHW, *self.gates = saved
        self.wants_x, self.wants_h, self.wants_c, *self.wants_weights = wanted
        self.gate_weights = weights.of_gates() if settings.recompute else None
        self.d_x_BTCHW = torch.empty_like(x_BTCHW) if self.wants_x else None
        self.d_weights: list[Tensor | None] = [None] * 4

    def run(
        self,
        first: Sequence[Tensor | None],
        received: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """Gradients of x, of h and c before the `first` step and the weights, None if unwanted.

        A part's saved gates are freed once used.
        """
        # Gradients of all outputs shown, of the last h and of the last c, each None if unused.
        d_shown_TBFHW, *d_last = received
        last = self.h_TBFHW[-1]
        pairs = zip((last, self.c_TBFHW[-1]), (self.wants_h, self.wants_c), strict=True)
        d_first = [torch.empty_like(like) if wanted else None for like, wanted in pairs]
        for samples, parts in reversed(list(blocks(last, len(self.h_TBFHW)))):
            state = [None if tensor is None else tensor[samples] for tensor in first]
            d_state = []
            for d, like in zip(d_last, (last[samples], self.c_TBFHW[-1, samples]), strict=True):
                own = empty(like.shape, like=last, dtype=like.dtype)
                d_state.append(own.zero_() if d is None else own.copy_(d[samples]))
            for times in reversed(parts):
                part = self._part(samples, times, state)
                saved = self.gates.pop().flatten(0, 1) if self.gates else None
                gates_NKHW = self._recompute_gates(part) if saved is None else saved
                d_z_NGHW, d_state = self._part_backward(part, gates_NKHW, d_state, d_shown_TBFHW)
                del saved, gates_NKHW  # before the convolutions' own memory is needed
                self._add_gradients(part, d_z_NGHW)
                del part, d_z_NGHW  # before the next part's are made
            for found, d in zip(d_first, d_state, strict=True):
                if found is not None:
                    found[samples] = d
        if self.wants_weights[1] and self.d_weights[1] is None:
            # A single step from zeros never used the recurrent kernel.
            self.d_weights[1] = torch.zeros_like(self.weights.recurrent_kernel)
        return [self.d_x_BTCHW, *d_first, *self.d_weights]

    def _part(self, samples: slice, times: slice, state: list[Tensor | None]) -> _Part:
        """Gather what these steps read; `state` is the state before the first step of all."""
        h_bFHW, c_bFHW = state
        before = slice(max(0, times.start - 1), times.stop - 1)
        h_nbFHW = self.h_TBFHW[before, samples]
        c_before = [*self.c_TBFHW[before, samples]]
        if times.start == 0:
            c_before = [c_bFHW, *c_before]
            if h_bFHW is not None:
                h_nbFHW = torch.cat((h_bFHW.unsqueeze(0), h_nbFHW))
        return _Part(
            samples,
            times,
            frames(self.x_BTCHW, samples, times, self.settings.go_backwards),
            h_nbFHW.flatten(0, 1) if len(h_nbFHW) else None,
            c_before,
        )

    def _recompute_gates(self, part: _Part) -> Tensor:
        """The gates of all steps of a part, from the h and c before each."""
        weights = self.gate_weights
        z_NKHW = convolve(part.x_NCHW, weights.kernel, weights.bias, self.settings.inputs)
        if part.h_MFHW is not None:
            z_MKHW = z_NKHW[-len(part.h_MFHW) :]
            z_MKHW += convolve(part.h_MFHW, weights.recurrent_kernel, None, self.settings.state)
        steps = z_NKHW.unflatten(0, (len(part.c_before), -1))
        after = self.c_TBFHW[part.times, part.samples]
        for z_bKHW, c_before, c_bFHW in zip(steps, part.c_before, after, strict=True):
            recompute_gates(z_bKHW.chunk(3, 1), z_bKHW, c_before, c_bFHW, weights)
        return z_NKHW

    def _part_backward(
        self,
        part: _Part,
        gates_NKHW: Tensor,
        d_state: list[Tensor],
        d_shown_TBFHW: Tensor | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Step by step, from the last to the first, the gradient of a part's pre-activations.

        `d_state`, the gradient of the state after the part, becomes that of the state before it.
        """
        d_h_bFHW, d_c_bFHW = d_state
        count = len(part.c_before)
        gates_nbKHW = gates_NKHW.unflatten(0, (count, -1))
        shape = (*gates_nbKHW.shape[:2], 4 * d_c_bFHW.shape[1], *d_c_bFHW.shape[2:])
        d_z_nbGHW = empty(shape, gates_NKHW)
        for n in reversed(range(count)):
            t = part.times.start + n
            if d_shown_TBFHW is not None:
                d_h_bFHW += d_shown_TBFHW[t, part.samples]
            c_bFHW = self.c_TBFHW[t, part.samples]
            before, d_z_bGHW = part.c_before[n], d_z_nbGHW[n]
            step_backward(
                d_z_bGHW, gates_nbKHW[n], before, c_bFHW, d_h_bFHW, d_c_bFHW, self.weights
            )
            if self.wants_weights[3]:
                self._add(3, peephole_gradient(d_z_bGHW, before, c_bFHW))
            if t > 0 or self.wants_h:  # the first step has no predecessor
                kernel = self.weights.recurrent_kernel
                d_h_bFHW = _convolve_backward(
                    d_z_bGHW, d_h_bFHW, kernel, self.settings.state, (True, False, False)
                )[0]
        return d_z_nbGHW.flatten(0, 1), [d_h_bFHW, d_c_bFHW]

    def _add_gradients(self, part: _Part, d_z_NGHW: Tensor) -> None:
        """Gradients of a part's frames and its share of those of the weights."""
        wants_kernel, wants_recurrent, wants_bias, _ = self.wants_weights
        if wants_recurrent and part.h_MFHW is not None:
            d_z_MGHW = d_z_NGHW[-len(part.h_MFHW) :]
            kernel = self.weights.recurrent_kernel
            wanted = (False, True, False)
            self._add(
                1, _convolve_backward(d_z_MGHW, part.h_MFHW, kernel, self.settings.state, wanted)[1]
            )
        wanted = (self.wants_x, wants_kernel, wants_bias)
        d_x_NCHW, d_kernel, d_bias = _convolve_backward(
            d_z_NGHW, part.x_NCHW, self.weights.kernel, self.settings.inputs, wanted
        )
        self._add(0, d_kernel)
        self._add(2, d_bias)
        if d_x_NCHW is not None:
            d_x_bnCHW = d_x_NCHW.unflatten(0, (len(part.c_before), -1)).transpose(0, 1)
            start, stop = part.times.start, part.times.stop
            if self.settings.go_backwards:
                d_x_bnCHW = d_x_bnCHW.flip(1)
                start, stop = (self.x_BTCHW.shape[1] - t for t in (stop, start))
            self.d_x_BTCHW[part.samples, start:stop] = d_x_bnCHW

    def _add(self, index: int, share: Tensor | None) -> None:
        if self.d_weights[index] is None:
            self.d_weights[index] = share
        elif share is not None:
            self.d_weights[index] += share


def _convolve_backward(
    d_z_NGHW: Tensor,
    x_NCHW: Tensor,
    kernel: Tensor,
    geometry: ConvGeometry,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of `convolve` by its input, its kernel and a bias, None where not `wanted`."""
    x_NCHW, padding, added = padded(x_NCHW, geometry)
    if x_NCHW.shape[1] == 1 and x_NCHW.ndim == 4 and x_NCHW.device.type == "cpu":
        grads = _one_channel_backward(d_z_NGHW, x_NCHW, kernel, geometry, padding, wanted)
    else:
        grads = torch.ops.aten.convolution_backward(
            d_z_NGHW,
            x_NCHW,
            kernel,
            [len(kernel)],
            geometry.strides,
            padding,
            geometry.dilation_rate,
            False,
            [0] * len(padding),
            1,
            wanted,
        )
    d_x_NCHW, d_kernel, d_bias = grads
    if d_x_NCHW is not None and added:
        d_x_NCHW = functional.pad(d_x_NCHW, [-side for side in added])
    return d_x_NCHW, d_kernel, d_bias


def _one_channel_backward(
    d_z_NGHW: Tensor,
    x_N1HW: Tensor,
    kernel: Tensor,
    geometry: ConvGeometry,
    padding: list[int],
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The same as matrix products, which take a third of the time for frames of one channel."""
    window = {
        "kernel_size": kernel.shape[2:],
        "dilation": geometry.dilation_rate,
        "padding": padding,
        "stride": geometry.strides,
    }
    d_z_NGP = d_z_NGHW.flatten(2)
    d_x_N1HW = d_kernel = None
    if wanted[0]:
        d_x_NKP = kernel.flatten(1).T @ d_z_NGP
        d_x_N1HW = functional.fold(d_x_NKP, x_N1HW.shape[2:], **window)
    if wanted[1]:
        x_NPK = functional.unfold(x_N1HW, **window).transpose(1, 2)
        d_kernel = torch.bmm(d_z_NGP, x_NPK).sum(0).view_as(kernel)
    return d_x_N1HW, d_kernel, d_z_NGP.sum((0, 2)) if wanted[2] else None
