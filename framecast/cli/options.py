"""What help says of each option, by panel, and what the shell completes; commands name the types.

An entry is called as the parameter, or COMMAND.PARAMETER where commands mean different things.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from framecast.config.fields import specs
from framecast.config.presets import presets
from framecast.config.schema import DataConfig, ModelConfig, TrainConfig

# Sections of the settings in the order in which help shows their flags
SECTIONS = (TrainConfig, ModelConfig, DataConfig)

# Settings that flags have set: the setting's full name, its value, the flag
Overrides = list[tuple[str, object, str]]

# Whoever reads a path says what is wrong with it, with the exit code of a clip or of a model
PATHS = {"readable": False}

# Columns for a word and its text, of 80; zsh gets quotes and a command around them
COMPLETION_ROOM = 56

CLIP_KINDS = "frame folders, videos, GIFs, TIFF stacks, arrays, @lists, or folders of them."
RESULT_KINDS = ".gif, .mp4, .webm, .webp, .apng, .npy, .tif or .nc file, or a folder for PNGs"

PANELS: dict[str, dict[str, tuple[str | None, str]]] = {
    "Settings": {
        "preset": (
            "NAME",
            "Settings of a published or measured network; help lists them with their sources.",
        ),
        "config": ("FILE", "Settings in YAML, as in framecast.yaml.example."),
        "settings": (
            "NAME=VALUE",
            "Any setting, e.g. train.lr=1e-3; repeatable. `framecast config show` lists all.",
        ),
    },
    "Run": {
        "runs": ("FOLDER", "Where the numbered run folders go; default: runs."),
        "resume": ("RUN", "Continue an interrupted run, given its folder."),
        "dry_run": (None, "Show the plan, try one batch, write nothing."),
        "quiet": (None, "Print paths and errors only."),
        "demo.minutes": ("NUMBER", "Minutes to train."),
        "demo.samples": (None, "Only write the sample clips."),
    },
    "Input": {
        "model": (
            "MODEL",
            "A model file, a run folder or `pretrained`, instead of a first argument.",
        ),
        "size": ("HxW", "Standard input is raw 8-bit frames of this size, in pixels."),
        "inspect_shapes.size": ("HxW", "Frame size in pixels when no frames are given."),
        "channels": ("N", "Channels when no frames are given: 1 or 3."),
        "color": (None, "Convert the frames to this first."),
        "axes": (
            "LETTERS",
            "Order of an array's axes, such as TNHW; default: as trained, else inferred.",
        ),
        "variable": ("NAME", "Array to read from a file of several."),
        "range": (
            "LOW..HIGH",
            "Stored values of black and white, or full: the range of the type; default: as "
            "trained, else from the values found.",
        ),
        "keep_readable": (None, "Use what is readable of damaged clips."),
    },
    "Forecast": {
        "horizon": ("FRAMES", "Frames to predict; default: as trained."),
        "start": ("FRAME", "First context frame; default: the clip's last frames are the context."),
        "stream": (
            None,
            "After every frame, predict the one that is --horizon (1) ahead; a SOURCE may also be "
            "- (standard input), camera:N or a URL.",
        ),
        "match": (
            "SHARE",
            "How far to match forecasts to the last frame's distribution of brightness, 0 to 1.",
        ),
    },
    "Scoring": {
        "stride": ("FRAMES", "Frames between window starts; default: as trained."),
        "windows": ("N", "Score at most so many windows, evenly spread; 0: all."),
        "minutes": ("NUMBER", "Score only as many windows as fit into this time."),
        "protocol": (None, "Set of metrics."),
        "thresholds": (
            "VALUE",
            'Add CSI, POD, FAR and FSS at "20 dBZ", 0.4 or 109/255; repeatable.',
        ),
        "scale": (
            "TEXT",
            'What black and white stand for, such as "-10..60 dBZ"; default: as trained.',
        ),
        "include_training": (None, "Also score frames the model was trained on."),
    },
    "Layers alone": {
        "input_": ("B,T,H,W,C", "Sizes of the array that the layers are fed."),
        "goal": ("B,T,H,W,C", "Sizes of the array that the output is compared with."),
        "layers": ("LAYER", '"filters=64 kernel=5", or in Keras\' spelling; repeatable.'),
        "samples": ("N", "Samples that stateful layers are fed in batches."),
    },
    "Models": {
        "export.horizon": ("FRAMES", "Frames the exported model returns; default: as trained."),
        "context_length": ("FRAMES", "Context frames it takes; default: as trained."),
        "export.size": ("HxW", "Frame size in pixels to check at; default: as trained."),
        "step": (
            None,
            "Two ONNX files: encode, and one step with its states as inputs and outputs.",
        ),
        "half": (None, "Store weights in half precision (.onnx and .safetensors)."),
    },
    "Output": {
        "output": (
            "PATH",
            f"{RESULT_KINDS}, or - for PNGs on standard output; repeatable. With several "
            "sources: the folder that gets one result each. Default: named after the clip, in the "
            "working folder.",
        ),
        "export.output": (
            "PATH",
            "For a model .onnx, .pt2, .torchscript or .safetensors; for frames .png (one sheet), "
            f"{RESULT_KINDS}, or - for PNGs on standard output; repeatable.",
        ),
        "kind": (None, "Format of results, default gif; with it, -o names a folder."),
        "compare": (None, "Show input, prediction, truth and error."),
        "fps": ("RATE", "Frames per second of the result; default: the source's."),
        "enlarge": ("FACTOR", "Enlarge (2) or shrink (0.5) the frames."),
        "colormap": ("NAME", "Colours of grey frames: a name of matplotlib's, or radar for dBZ."),
        "labels": (None, "Write the time above every frame."),
        "step_minutes": (
            "MINUTES",
            "Minutes between two frames; default: read from file names. Times are then shown in "
            "minutes.",
        ),
        "value_scale": (
            "TEXT",
            'What black and white stand for, such as "-10..60 dBZ"; adds a legend to colours.',
        ),
        "csv": ("FILE", "Write every score as a row of a CSV file."),
        "report": ("FILE", "Write one HTML page with plots and windows to step through."),
        "diagram": ("FILE", "Draw the layers with their sizes: .svg, .pdf or .png."),
        "verbose": (None, "Show every tensor, both axis orders, formulas and memory."),
        "json": (None, "Print one JSON document on standard output."),
        "overwrite": (None, "Replace files that exist."),
    },
    "Machine": {
        "device": ("DEVICE", "auto, cpu, cuda, cuda:N or mps."),
        "tile": (
            "PIXELS",
            "Side of the tiles that large frames are predicted in; default: as memory needs.",
        ),
    },
}

# Each option's panel, what stands for its value, and its text
OPTIONS = {
    name: (panel, *entry) for panel, entries in PANELS.items() for name, entry in entries.items()
}

# Names on the command line that are not the parameter's, or more than that
FLAGS = {
    "settings": "--set",
    "thresholds": "--threshold",
    "layers": "--layer",
    "input_": "--input",
    "goal": "--target",
    "kind": "--format",
    "enlarge": "--scale",
    "output": "--output -o",
    "quiet": "--quiet -q",
}


def offered(word: str, text: str) -> tuple[str, str]:
    """A word that the shell completes, with as much of its text as one line has room for.

    Typer breaks longer lines to the width of the terminal, and shells take the rest for a word.
    """
    return word, textwrap.shorten(text, max(20, COMPLETION_ROOM - len(word)), placeholder=" ...")


def complete_setting() -> Iterator[tuple[str, str]]:
    """Offer every setting with each value it may have, or with its default where it has any."""
    for section in SECTIONS:
        for spec in specs(section):
            words = ("true", "false") if bool in spec.kinds else spec.literals
            for word in words or ("none" if spec.default is None else spec.default,):
                yield offered(f"{spec.dotted}={word}", spec.help)


def complete_run(incomplete: str) -> Iterator[str]:
    """Offer run folders and model files: of `runs`, and of the folder that is being typed."""
    typed = Path(incomplete)
    for folder in dict.fromkeys((Path("runs"), typed if typed.is_dir() else typed.parent)):
        yield from (str(path.parent) for path in sorted(folder.glob("*/best.pt")))
        yield from (str(path) for path in sorted(folder.glob("*.pt")))


COMPLETIONS: dict[str, Callable[..., Any]] = {
    "preset": lambda: [offered(preset.name, preset.summary) for preset in presets().values()],
    "settings": complete_setting,
    "resume": complete_run,
    "model": complete_run,
}


def _argument(name: str, text: str, complete: Callable[..., Any] | None = None) -> Any:
    shown = {"metavar": name, "help": text, "show_default": False}
    return typer.Argument(autocompletion=complete, **shown, **PATHS)


def _after_model(kinds: str) -> Any:
    """The argument for frames of these kinds, before which a model may be named."""
    text = f"A model file or run folder, none: the pretrained model; then {kinds}"
    return _argument("[MODEL] SOURCE", text, complete_run)


Sources = Annotated[list[Path] | None, _argument("SOURCE", f"Clips: {CLIP_KINDS}")]
ModelAndSources = Annotated[list[Path], _after_model(CLIP_KINDS)]
Target = Annotated[Path | None, _argument("TARGET", "Frames, a model, or a framecast.yaml.")]
Exported = Annotated[
    Path | None, _argument("SOURCE", "A model file or run folder; or frames.", complete_run)
]
