"""Shape arithmetic against PyTorch's own on the meta device."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from framecast.nn.shapes import ConvGeometry, to_sizes


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(
    kernel=st.integers(1, 6),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 4),
    padding=st.sampled_from(["valid", "same"]),
    length=st.integers(1, 40),
)
def test_sizes_are_those_of_the_convolution(kernel, stride, dilation, padding, length):
    geometry = ConvGeometry((kernel,), (stride,), padding, (dilation,))
    ((before, after),) = geometry.pads((length,))
    assert 0 <= after - before <= 1
    assert padding == "same" or before == after == 0
    padded = length + before + after
    if padded < geometry.spans[0]:
        assert geometry.output_sizes((length,)) == (0,)
        return
    x = torch.zeros(1, 1, padded, device="meta")
    weight = torch.zeros(1, 1, kernel, device="meta")
    found = nn.functional.conv1d(x, weight, stride=stride, dilation=dilation).shape[-1]
    assert geometry.output_sizes((length,)) == (found,)


@pytest.mark.parametrize(
    ("value", "sizes"), [(3, (3, 3)), ([4, 5], (4, 5)), (iter((1, 2)), (1, 2))]
)
def test_sizes_are_normalised(value, sizes):
    assert to_sizes(value, 2, "kernel_size") == sizes


@pytest.mark.parametrize("value", [{3: 1, 5: 1}, True, (3, 0), (3,), "35", 3.0])
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError, match="kernel_size must be an integer or 2 integers, each of 1"):
        to_sizes(value, 2, "kernel_size")
