"""Kinds of files for networks, and what each can hold; without PyTorch, which writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from framecast.errors import UsageError
from framecast.export.request import ExportRequest
from framecast.runtime.extras import check_installed


@dataclass(frozen=True)
class ModelKind:
    """A kind of file; `title` names it to the user, `packages` are needed to write it.

    `can_step` says whether it comes as `encode` and `step`, `can_halve` whether with weights in
    half precision, `is_graph` whether it holds what the network did with an example, and so sizes
    that it holds for, not only weights, `any_size` whether other heights and widths than that of
    the example can be among them.
    """

    title: str
    packages: tuple[str, ...] = ()
    can_step: bool = False
    can_halve: bool = False
    is_graph: bool = True
    any_size: bool = True


KINDS: Mapping[str, ModelKind] = {
    ".onnx": ModelKind("ONNX", ("onnx",), can_step=True, can_halve=True),
    ".pt2": ModelKind("torch.export", any_size=False),
    ".torchscript": ModelKind("TorchScript"),
    ".safetensors": ModelKind("safetensors", ("safetensors",), can_halve=True, is_graph=False),
}

# What a kind has to be for an option of an export to mean something
NEEDS = {
    "step": "can_step",
    "half": "can_halve",
    "horizon": "is_graph",
    "context_length": "is_graph",
}


def check_kind(path: Path, request: ExportRequest) -> None:
    """Raise UsageError where a path's suffix names no kind, or one that cannot be as asked for."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{path}: no format for models ends in {path.suffix or 'nothing'}",
            remedy=f"end the name in {', '.join(KINDS)}",
        )
    for name, able in NEEDS.items():
        if getattr(request, name) not in (None, False) and not getattr(kind, able):
            fitting = " or ".join(suffix for suffix, other in KINDS.items() if getattr(other, able))
            flag = name.replace("_", "-")
            raise UsageError(
                f"--{flag} is not for {kind.title}", remedy=f"end the name in {fitting}"
            )
    for package in kind.packages:
        check_installed(package, "export", kind.title)
