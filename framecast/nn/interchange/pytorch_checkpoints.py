"""ConvLSTM weights of two PyTorch projects, as ConvLSTM2D layers with equal outputs.

`ndrplz/ConvLSTM_pytorch` (`convlstm.py`): one convolution over x and h concatenated, gates in the
order i, f, o, g, bias optional. `chengtan9907/OpenSTL` (`openstl/modules/convlstm_modules.py`):
separate convolutions of x and h, gates i, f, g, o, no bias. Both pad by half the kernel and start
from zeros; g is what Keras calls c.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from framecast.errors import CheckpointError
from framecast.nn.convlstm.layer import ConvLSTM2D
from framecast.runtime.text import counted, listed

_Source = Mapping[str, Any] | str | Path
_CONTAINERS = ("state_dict", "model_state_dict", "model")


def load_ndrplz(source: _Source, prefix: str | None = None) -> list[ConvLSTM2D]:
    """Layers of an ndrplz ConvLSTM, from its state dict or a file of it; in eval mode, in order.

    Each maps (B,T,C,H,W) to all steps (B,T,F,H,W), as the original with batch_first=True.
    `prefix` chooses one of several stacks in a larger model ("encoder." for
    "encoder.cell_list.0.conv.weight"). Other tensors are named in a UserWarning. Raises
    CheckpointError for files that are damaged, contain code, or have another layout.
    """
    names = {"conv.weight", "conv.bias"}
    where, layers, rest = _load(source, prefix, names, "ndrplz", _ndrplz_parts)
    _report(where, rest)
    return layers


def _ndrplz_parts(at: str, cell: dict[str, Tensor]) -> dict[str, Tensor]:
    weight = _weight(at, cell, "conv.weight")
    filters = weight.shape[0] // 4
    # One convolution over [x, h]: its input channels are those of x, then those of h
    channels = weight.shape[1] - filters
    parts = {"kernel": weight[:, :channels], "recurrent_kernel": weight[:, channels:]}
    if "conv.bias" in cell:
        parts["bias"] = _weight(at, cell, "conv.bias", axes=1)
    # From i, f, o, g to i, f, g, o
    return {
        name: torch.cat([tensor[: 2 * filters], *tensor[2 * filters :].chunk(2)[::-1]])
        for name, tensor in parts.items()
    }


def load_openstl(source: _Source, prefix: str | None = None) -> list[ConvLSTM2D]:
    """Layers of an OpenSTL ConvLSTM, from its state dict or a file of it; in eval mode, in order.

    Each maps (B,T,C,H,W) to all steps (B,T,F,H,W), C the channels of a frame cut into patches. The
    cells' conv_o and conv_last, which OpenSTL never computes with, and the model's own conv_last,
    the 1x1 convolution after the last layer, are named in a UserWarning. `prefix` as in
    `load_ndrplz`. Raises CheckpointError as there, and for cells with layer_norm, whose
    normalisation over the whole frame this project's layer does not compute.
    """
    names = {"conv_x.0.weight", "conv_h.0.weight"}
    where, layers, rest = _load(source, prefix, names, "OpenSTL", _openstl_parts)
    if normed := [name for name in rest if re.search(r"cell_list\.\d+\.conv_[xh]\.1\.", name)]:
        raise CheckpointError(
            f"{where}: {normed[0]} belongs to a cell with layer_norm over channels, height and "
            "width, which ConvLSTM2D does not compute",
            remedy="only checkpoints trained with layer_norm=0 can be loaded",
        )
    # OpenSTL's cells have these, but their forward pass does not use them
    dead = [name for name in rest if re.search(r"cell_list\.\d+\.conv_(o|last)\.", name)]
    if dead:
        count = sum(rest[name].numel() for name in dead)
        text = f"{where}: conv_o and conv_last of the cells, {count} weights that OpenSTL never"
        warnings.warn(f"{text} computes with, were ignored", stacklevel=2)
    _report(where, [name for name in rest if name not in dead])
    return layers


def _openstl_parts(at: str, cell: dict[str, Tensor]) -> dict[str, Tensor]:
    kernels = (_weight(at, cell, f"conv_{source}.0.weight") for source in "xh")
    return dict(zip(("kernel", "recurrent_kernel"), kernels, strict=True))


def _load(
    source: _Source,
    prefix: str | None,
    names: set[str],
    project: str,
    parts_of: Callable[[str, dict[str, Tensor]], dict[str, Tensor]],
) -> tuple[str, list[ConvLSTM2D], dict[str, Tensor]]:
    """Where the tensors come from, the layers of a stack, and the tensors that it leaves unused."""
    where, tensors = _tensors(source)
    prefix, cells = _cells(where, tensors, prefix, names, project)
    layers = []
    for index, cell in enumerate(cells):
        at = f"{prefix}cell_list.{index}"
        layers.append(_layer(f"{where}: {at}", parts_of(f"{where}: {at}", cell)))
        for name in cell:
            del tensors[f"{at}.{name}"]
    _check_chain(where, layers)
    return where, layers, tensors


def _tensors(source: _Source) -> tuple[str, dict[str, Tensor]]:
    """Where the tensors come from, in words, and the tensors by name."""
    where, contents = "state dict", source
    if isinstance(source, (str, Path)):
        where = str(source)
        if not Path(source).is_file():
            raise CheckpointError(f"{where}: no such file", remedy="give a .pt, .pth or .ckpt file")
        try:
            # weights_only: a pickle could run code
            contents = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:
            # Changed bytes make zipfile, pickle and torch raise almost anything.
            raise CheckpointError(
                f"{where}: cannot be read as plain tensors",
                remedy="it is damaged, or holds more than plain weights, which are never "
                "loaded: save the model's state_dict() alone",
            ) from error
    # Training scripts save the state dict inside a dictionary with epochs and the like.
    for name in _CONTAINERS:
        if isinstance(contents, Mapping) and isinstance(contents.get(name), Mapping):
            contents = contents[name]
    if not isinstance(contents, Mapping):
        raise CheckpointError(
            f"{where}: holds a {type(contents).__name__}, not a state dict",
            remedy="save the model's state_dict()",
        )
    tensors = {str(name): value for name, value in contents.items() if isinstance(value, Tensor)}
    return where, tensors


def _cells(
    where: str, tensors: dict[str, Tensor], prefix: str | None, names: set[str], project: str
) -> tuple[str, list[dict[str, Tensor]]]:
    """Prefix of the chosen stack, and the tensors called `names` of each of its cells."""
    stacks: dict[str, dict[int, dict[str, Tensor]]] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(r"(.*?)cell_list\.(\d+)\.(.+)", key)
        if match and match[3] in names:
            stack = stacks.setdefault(match[1], {})
            stack.setdefault(int(match[2]), {})[match[3]] = tensor
    found = [name for name in stacks if prefix in (None, name)]
    if len(found) != 1:
        known = ", ".join(repr(name) for name in stacks) or "none"
        wanted = "" if prefix is None else f" with prefix {prefix!r}"
        raise CheckpointError(
            f"{where}: {len(found)} ConvLSTM stacks of {project}{wanted}; prefixes found: {known}",
            remedy="give the prefix of one, or another file",
        )
    # Numbers of cells, not their order in the file, are the order of the layers
    stack = stacks[found[0]]
    if sorted(stack) != list(range(len(stack))):
        raise CheckpointError(
            f"{where}: cells {sorted(stack)} of {found[0]}cell_list are there, others are missing",
            remedy="the checkpoint is incomplete; save the model again",
        )
    return found[0], [stack[index] for index in range(len(stack))]


def _weight(at: str, cell: dict[str, Tensor], name: str, axes: int = 4) -> Tensor:
    weight = cell.get(name)
    if weight is None or weight.ndim != axes or not weight.is_floating_point():
        found = "nothing" if weight is None else f"{weight.dtype} {tuple(weight.shape)}"
        raise CheckpointError(
            f"{at}.{name}: expected numbers of {counted(axes, 'dimension')}, found {found}",
            remedy="the checkpoint is incomplete or another model's",
        )
    if not weight.isfinite().all():
        raise CheckpointError(
            f"{at}.{name}: holds numbers that are not finite",
            remedy="the training diverged or the file is damaged; use an earlier one",
        )
    return weight


def _layer(at: str, parts: dict[str, Tensor]) -> ConvLSTM2D:
    gates, channels, *size = parts["kernel"].shape
    filters = gates // 4
    expected = {"kernel": (4 * filters, channels, *size), "bias": (4 * filters,)}
    expected["recurrent_kernel"] = (4 * filters, filters, *size)
    shapes = {name: tuple(tensor.shape) for name, tensor in parts.items()}
    odd = all(side % 2 for side in size)  # both projects pad by k // 2 on each side
    if min(filters, channels) < 1 or not odd or any(shapes[n] != expected[n] for n in shapes):
        raise CheckpointError(
            f"{at}: weights of shapes {shapes} do not make a ConvLSTM with an odd kernel",
            remedy="the checkpoint is damaged or another model's",
        )
    layer = ConvLSTM2D(
        filters,
        tuple(size),
        padding="same",
        data_format="channels_first",
        use_bias="bias" in parts,
        return_sequences=True,
        in_channels=channels,
        dtype=parts["kernel"].dtype,
        device="meta",
    )
    layer.to_empty(device="cpu").load_state_dict(parts)
    return layer.eval()


def _check_chain(where: str, layers: list[ConvLSTM2D]) -> None:
    for index, (below, layer) in enumerate(pairwise(layers), 1):
        if layer.in_channels != below.filters:
            raise CheckpointError(
                f"{where}: layer {index} takes {counted(layer.in_channels, 'channel')}, the one "
                f"before it gives {below.filters}",
                remedy="the checkpoint is damaged or another model's",
            )


def _report(where: str, names: Iterable[str]) -> None:
    """Warn of tensors that belong to no ConvLSTM of the stack."""
    if names := list(names):
        shown = listed(names, 6)
        warnings.warn(f"{where}: not part of the ConvLSTM layers, left: {shown}", stacklevel=3)
