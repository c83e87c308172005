"""The arguments of an export, the kinds of files for networks, and the result.

Without torch or NumPy: help lists the fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from framecast.config.argument_types import check_fields
from framecast.config.brightness_scale import check_legend
from framecast.errors import UsageError
from framecast.prediction.model_files import part_paths
from framecast.prediction.request import check_horizon, check_reading
from framecast.runtime.extras import check_installed
from framecast.video.frame_size import parse_size
from framecast.video.frame_times import check_step


@dataclass(frozen=True)
class ExportRequest:
    """What to export, as the command line gives it; None is as trained, or as the frames are.

    Of a model `horizon`, `context_length`, `size` ("HxW"), `step`, which writes `encode` and `step`
    for ONNX, and `half`, weights in half precision. Of frames `fps`, `enlarge`, the factor of both
    sides, `colormap`, `labels`, `step_minutes` and `value_scale` as in `FrameStyle`, and for how
    they are read `axes`, `variable`, `range` and `keep_readable`. Raises UsageError for values that
    mean nothing.
    """

    horizon: int | None = None
    context_length: int | None = None
    size: str | None = None
    step: bool = False
    half: bool = False
    fps: float | None = None
    enlarge: float | None = None
    colormap: str | None = None
    labels: bool = False
    step_minutes: float | None = None
    value_scale: str | None = None
    axes: str | None = None
    variable: str | None = None
    range: str | None = None
    keep_readable: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.horizon is not None:
            check_horizon(self.horizon, "--horizon")
        if self.context_length is not None and self.context_length < 1:
            raise UsageError(
                f"--context-length {self.context_length}: no context", remedy="use 1 or more"
            )
        check_step(self.step_minutes)
        if self.step_minutes is not None and not self.labels:
            raise UsageError(
                "--step-minutes is for the times that --labels writes",
                remedy="add --labels, or leave it out",
            )
        check_reading(self)
        check_legend(self.value_scale, self.colormap)

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """`size` as (H, W) in pixels; ConfigError for text that is none."""
        return parse_size(self.size, "--size: expected HEIGHTxWIDTH") if self.size else None

    def files(self, path: Path) -> list[Path]:
        """The files that the export of a model to `path` makes."""
        return list(part_paths(path).values()) if self.step else [path]


def refuse(
    request: ExportRequest, names: Iterable[str], why: str, remedy: str = "leave it out"
) -> None:
    """Raise UsageError for the first of these options that is given, followed by `why`."""
    for name in names:
        if getattr(request, name) not in (None, False):
            flag = "scale" if name == "enlarge" else name.replace("_", "-")
            raise UsageError(f"--{flag} {why}", remedy=remedy)


# Options that mean something only for some kinds of files
OPTIONS = ("step", "half", "horizon", "context_length")


@dataclass(frozen=True)
class ModelKind:
    """A kind of file; `title` names it to the user, `packages` are needed to write it.

    `options` are those of `OPTIONS` that it has. `is_graph` says whether it holds what the network
    did with an example, and so sizes that it holds for, not only weights, `any_size` whether other
    heights and widths than that of the example can be among them.
    """

    title: str
    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ("horizon", "context_length")
    is_graph: bool = True
    any_size: bool = True


KINDS: Mapping[str, ModelKind] = {
    ".onnx": ModelKind("ONNX", ("onnx",), OPTIONS),
    ".pt2": ModelKind("torch.export", any_size=False),
    ".torchscript": ModelKind("TorchScript"),
    ".safetensors": ModelKind("safetensors", ("safetensors",), ("half",), is_graph=False),
}


def check_kind(path: Path, request: ExportRequest) -> None:
    """Raise UsageError where a path's suffix names a kind that cannot be as asked for."""
    kind = KINDS[path.suffix.lower()]
    for name in OPTIONS:
        if name not in kind.options:
            fitting = " or ".join(end for end, other in KINDS.items() if name in other.options)
            refuse(request, [name], f"is not for {kind.title}", f"end the name in {fitting}")
    for package in kind.packages:
        check_installed(package, "export", kind.title)
    if path.suffix.lower() == ".pt2" and (found := version("torch")).startswith("2.6."):
        # It hands the loop lists where it takes tuples.
        raise UsageError(
            f"{path}: PyTorch {found} cannot load the loop of a torch.export file",
            remedy="install torch 2.7 or newer, or end the name in .onnx or .torchscript",
        )


@dataclass(frozen=True)
class ExportReport:
    """The files or folder made, what is worth noting, and how far a model's frames are from
    PyTorch's at most; None where that could not be checked, and for frames.

    `snippet` is a Python script that runs the file.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...]
    difference: float | None = None
    snippet: str = ""
