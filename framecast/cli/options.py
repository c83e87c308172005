"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings, as framecast.yaml.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. train.lr=1e-3; repeatable."),
]
CLIP_KINDS = "Frame folders, videos, GIFs, .npy/.npz arrays"
Sources = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SOURCE", help=f"{CLIP_KINDS}, or folders of them.", show_default=False),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model file or run folder.", show_default=False)
]
Horizon = Annotated[
    int | None, typer.Option(help="Frames to predict; default: as trained.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Match = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Give forecasts so much of the last frame's distribution of brightness back, 0 to 1.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Color = Annotated[Literal["gray", "rgb"] | None, typer.Option(help="Convert the frames first.")]
KeepReadable = Annotated[
    bool, typer.Option("--keep-readable", help="Use what is readable of damaged clips.")
]


def setting(flag: str, text: str) -> typer.models.OptionInfo:
    """An option for a configuration value; its check and default are the setting's own."""
    return typer.Option(flag, help=text, metavar="VALUE", show_default=False)
