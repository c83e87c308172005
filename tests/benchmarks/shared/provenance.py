"""Where pretrained weights come from: sources with their terms, commit, seed, steps, scores."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from .scenes import Scene

PREFACE = """# Where the pretrained weights come from

`flow-convlstm.pt` holds the weights that framecast predicts with when no model is given, and that
`framecast train` starts from. They were learnt by

    python -m tests.benchmarks.pretrain --data FOLDER

from the scenes below and from synthetic ones (`tests/benchmarks/shared/synthetic_scenes.py`).
Scenes held out by group were used for the scores alone.
"""


def provenance(facts: Mapping[str, str], scores: str, scenes: Sequence[Scene]) -> str:
    """The text that stands next to the weights, in Markdown."""
    lines = [PREFACE]
    lines += [f"- {name}: {value}" for name, value in {"commit": _commit(), **facts}.items()]
    lines += ["", "MSE relative to the better of last frame and optical flow, held-out scenes:", ""]
    lines += [f"    {line}" for line in scores.splitlines()]
    lines += ["", "## Sources and terms", ""]
    lines += ["Nothing of these is part of framecast; CC BY asks for this attribution.", ""]
    sources: dict[tuple[str, str], list[str]] = defaultdict(list)
    for scene in scenes:
        sources[scene.source, scene.licence].append(scene.name)
    for (source, licence), names in sorted(sources.items()):
        lines.append(f"- {source}: {licence}; scenes {', '.join(sorted(names))}")
    return "\n".join(lines) + "\n"


def _commit() -> str:
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
