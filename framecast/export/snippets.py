"""Short scripts that run an exported network without framecast, printed after an export."""

from __future__ import annotations

from pathlib import Path

from framecast.export.formats import Export
from framecast.prediction.onnx_network import part_paths

OPENING = """\
import numpy as np
{imports}

frames = np.load("clip.npy")[-{length}:]  # the newest {length} of (T, H, W, {channels}), uint8
context = (frames / np.float32(255)).transpose(0, 3, 1, 2)[None]  # (1, {length}, {channels}, H, W)
"""

CLOSING = """\
np.save("future.npy", np.rint(future * 255).astype(np.uint8).transpose(0, 2, 3, 1))
"""

ROLLOUTS = {
    ".onnx": (
        "import onnxruntime",
        """\
session = onnxruntime.InferenceSession("{name}")
[future] = session.run(["frames"], {{"context": context, "horizon": np.array({horizon})}})[0]
""",
    ),
    ".pt2": (
        "import torch",
        """\
network = torch.export.load("{name}").module()
future = network(torch.from_numpy(context))[0].detach().numpy()
""",
    ),
    ".torchscript": (
        "import torch",
        """\
network = torch.jit.load("{name}")
future = network(torch.from_numpy(context), {horizon})[0].detach().numpy()
""",
    ),
    ".safetensors": (
        "import torch\nfrom framecast import load_forecaster",
        """\
network = load_forecaster("{name}").network
future = network(torch.from_numpy(context), {horizon})[0].detach().numpy()
""",
    ),
}

STEPS = (
    "import onnxruntime",
    """\
encode, step = map(onnxruntime.InferenceSession, ("{encode}", "{step}"))
names = [value.name for value in step.get_inputs()]
states, future = encode.run(None, {{"context": context}}), []
for lead in range({horizon}):
    frame, *states = step.run(None, dict(zip(names, states)))
    future.append(frame[0])
future = np.stack(future)
""",
)


def snippet(path: Path, export: Export) -> str:
    """A script that reads the last frames of clip.npy and writes those to come as future.npy."""
    imports, middle = STEPS if export.step else ROLLOUTS[path.suffix.lower()]
    parts = part_paths(path)
    return (OPENING + middle + CLOSING).format(
        imports=imports,
        length=export.context_BTCHW.shape[1],
        channels=export.context_BTCHW.shape[2],
        horizon=export.horizon,
        name=path.name,
        encode=parts["encode"].name,
        step=parts["step"].name,
    )
