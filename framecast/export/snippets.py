"""Short scripts that run an exported network without framecast, printed after an export."""

from __future__ import annotations

import json
from pathlib import Path

from framecast.export.formats import Export
from framecast.prediction.model_files import part_paths

# Lines of at most 79 columns: a terminal would break longer ones, and Python refuse the pieces.
OPENING = """\
import numpy as np
{imports}

frames = np.load("clip.npy")[-{length}:]  # (T, H, W, {channels}), uint8; the newest count
context = np.float32(frames / 255).transpose(0, 3, 1, 2)[None]
"""

CLOSING = """\
pixels = np.rint(255 * np.array(future)).astype(np.uint8)
np.save("future.npy", pixels.transpose(0, 2, 3, 1))
"""

CALL = "future = network(torch.from_numpy(context), {horizon})[0].detach()\n"

ROLLOUTS = {
    ".onnx": (
        "from onnxruntime import InferenceSession as load",
        """\
given = {{"context": context, "horizon": np.array({horizon})}}
future = load({name}).run(["frames"], given)[0][0]
""",
    ),
    ".pt2": (
        "import torch",
        # Its file has one horizon
        "network = torch.export.load({name}).module()\n" + CALL.replace(", {horizon}", ""),
    ),
    ".torchscript": ("import torch", "network = torch.jit.load({name})\n" + CALL),
    ".safetensors": (
        "import torch\nfrom framecast import load_forecaster",
        "network = load_forecaster({name}).network\n" + CALL,
    ),
}

STEPS = (
    "from onnxruntime import InferenceSession as load",
    """\
encode, step = load({encode}), load({step})
names = [value.name for value in step.get_inputs()]
states, future = encode.run(None, {{"context": context}}), []
for lead in range({horizon}):
    frame, *states = step.run(None, dict(zip(names, states)))
    future.append(frame[0])
""",
)


def snippet(path: Path, export: Export) -> str:
    """A script that reads the last frames of clip.npy and writes those to come as future.npy."""
    imports, middle = STEPS if export.request.step else ROLLOUTS[path.suffix.lower()]
    parts = part_paths(path)
    return (OPENING + middle + CLOSING).format(
        imports=imports,
        length=export.context_BTCHW.shape[1],
        channels=export.context_BTCHW.shape[2],
        horizon=export.horizon,
        name=_quoted(path),
        encode=_quoted(parts["encode"]),
        step=_quoted(parts["step"]),
    )


def _quoted(path: Path) -> str:
    """A file's name as Python reads it, whatever is in it; JSON's text is Python's, too."""
    return json.dumps(path.name, ensure_ascii=False)
