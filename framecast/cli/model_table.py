"""The output of `framecast models` and `framecast train --preset help`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

from framecast.cli.console import open_table, results, show_table
from framecast.config.networks import NETWORKS
from framecast.config.presets import Preset, presets
from framecast.config.schema import ModelConfig
from framecast.nn.cost_model.network import forecast_totals
from framecast.prediction.model_files import PRETRAINED, PRETRAINED_FILE
from framecast.prediction.model_header import read_header

# Side of the grey frames for which sizes are given; only networks tied to a size depend on it
SIDE = 64


def show_models() -> None:
    """Print a line for each network, its size with the default settings."""
    table = open_table("model.name", "parameters", "file", "what it is", left=1)
    table.columns[-1].justify = "left"
    for name, traits in NETWORKS.items():
        # Counted without building it
        parameters = forecast_totals(ModelConfig(name=name), 1, (SIDE, SIDE)).parameters
        # 4 bytes a parameter, in MB
        table.add_row(name, f"{parameters:,}", f"{4e-6 * parameters:.1f} MB", traits.summary)
    show_table(results, table)
    results.print(
        f"\nSizes are for grey frames of {SIDE} x {SIDE} with default settings, 4 bytes a\n"
        "parameter. Choose with `framecast train SOURCE --model NAME`; the settings\n"
        "model.filters, model.kernel_size, model.patch and model.units change sizes.\n",
        markup=False,
    )
    megabytes = PRETRAINED_FILE.stat().st_size / 1e6
    header = read_header(Path(PRETRAINED))
    results.print(
        f"pretrained: {header.config.model.name}, {megabytes:.1f} MB, shipped with framecast;\n"
        "predict and evaluate use it where no model is named.\n"
        f"presets (--preset): {', '.join(presets())}; `--preset help` describes them.",
        markup=False,
    )


def show_presets(chosen: Iterable[Preset]) -> None:
    """Print what each preset is and where it comes from."""
    for preset in chosen:
        results.print(preset.name, style="bold", end="")
        lines = textwrap.wrap(preset.summary, 78) + textwrap.wrap(f"Source: {preset.source}", 78)
        results.print("\n" + textwrap.indent("\n".join(lines), "  "), markup=False)
        results.print(f"  File: {preset.path}\n", markup=False)
    results.print(
        "Use one with `framecast train SOURCE --preset NAME`; flags, environment variables and\n"
        "a --config file win over it.",
        markup=False,
    )
