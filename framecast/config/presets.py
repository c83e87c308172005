"""Presets: named settings of networks that were published or measured, as YAML in `preset_files/`.

The first line of a file is its summary, the second its source.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from framecast.config.loading import Config, load_config
from framecast.errors import ConfigError

_FOLDER = Path(__file__).with_name("preset_files")


@dataclass(frozen=True)
class Preset:
    """A named set of settings, with a summary and its source."""

    name: str
    summary: str
    source: str
    path: Path

    def load(self) -> Config:
        """Its settings, all others at their defaults."""
        # Without the environment, so that a preset means the same everywhere
        return load_config(self.path, env=None)


def presets() -> dict[str, Preset]:
    """Every preset by its name."""
    # A new file in the folder is a new preset; its first two lines are comments to YAML
    found = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        summary, source = (
            line.removeprefix("# ") for line in path.read_text(encoding="utf-8").splitlines()[:2]
        )
        found[path.stem] = Preset(path.stem, summary, source.removeprefix("Source: "), path)
    return found


def find_preset(name: str) -> Preset:
    """The preset of that name. Raises ConfigError, with the nearest, when there is none."""
    known = presets()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise ConfigError(f"--preset {name}: unknown preset", remedy=hint)
    return known[name]
