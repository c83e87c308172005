"""Peak memory of `framecast predict` for short and long clips: python tests/benchmarks/predict.py

Each case is a process of its own, whose peak resident memory the system counts. Writes predict.json
and predict.png into --out; exits with 1 when a long clip takes more than 1.1 times the memory of a
short one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHORT, LONG = 100, 10_000
MOST = 1.1
HEIGHT, WIDTH = 96, 128
SETTINGS = ["model.filters=[8]", "data.context_length=6", "data.horizon=12"]

MAKE = """
import sys
from pathlib import Path
import numpy as np
import torch
from framecast.checkpoint import Checkpoint, save_checkpoint
from framecast.config import load_config
from framecast.nn.networks import build_forecaster
from framecast.video.writers import write_frames

folder, height, width, counts, settings = eval(sys.argv[1])
config = load_config(None, settings, {})
torch.manual_seed(0)
network = build_forecaster(config.model, 3, (height, width))
clip = {"channels": 3, "height": height, "width": width}
save_checkpoint(Path(folder) / "model.pt", Checkpoint(config, clip, network.state_dict(), {}))
rows, columns, channel = np.mgrid[0:height, 0:width, 0:3]

def frames(count):
    for t in range(count):
        wave = np.sin(0.2 * rows + 0.1 * columns - 0.3 * t + channel)
        yield (127 + 100 * wave).astype(np.uint8)

for count in counts:
    write_frames(f"{folder}/{count}.mp4", frames(count), fps=25)
    write_frames(f"{folder}/{count}/", frames(count), fps=25)
"""


def measure(arguments: list[str]) -> dict[str, float]:
    """Run one command to its end; its peak memory in MB and its seconds."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "framecast", "predict", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    message = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"framecast predict {' '.join(arguments)}: {message}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_mb": unit * usage.ru_maxrss / 1e6, "seconds": time.monotonic() - started}


def cases(folder: str, count: int) -> dict[str, list[str]]:
    """What is done with a clip of `count` frames, by name."""
    future = str(count - 6)  # the rest of the clip behind a context
    video, images = f"{folder}/{count}.mp4", f"{folder}/{count}"
    return {
        "video": [video, "-o", f"{folder}/out.mp4"],
        "folder": [images, "-o", f"{folder}/out.mp4"],
        "video --compare, all of it": [
            *(video, "--compare", "--horizon", future, "-o", f"{folder}/out.mp4")
        ],
        "folder, horizon as long, PNG": [images, "--horizon", future, "-o", f"{folder}/out/"],
        "video --stream": [video, "--stream", "-o", f"{folder}/out.mp4"],
        "folder --stream, GIF": [images, "--stream", "-o", f"{folder}/out.gif"],
    }


def run(out: Path) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory(dir=out) as folder:
        made = repr((folder, HEIGHT, WIDTH, (SHORT, LONG), SETTINGS))
        subprocess.run([sys.executable, "-c", MAKE, made], check=True)
        rows = []
        for name in cases(folder, SHORT):
            short, long = (
                measure([f"{folder}/model.pt", *cases(folder, count)[name], "--overwrite"])
                for count in (SHORT, LONG)
            )
            ratio = long["peak_mb"] / short["peak_mb"]
            rows.append({"case": name, "short": short, "long": long, "ratio": ratio})
            print(
                f"{name:30} {short['peak_mb']:7.1f} MB {long['peak_mb']:7.1f} MB  x{ratio:.3f}  "
                f"{long['seconds']:.0f} s",
                flush=True,
            )
    return rows


def draw(rows: list[dict[str, object]], path: Path) -> None:
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only the figure needs it

    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    places = range(len(rows))
    for shift, (key, count) in enumerate((("short", SHORT), ("long", LONG))):
        peaks = [row[key]["peak_mb"] for row in rows]
        axes.barh([p + 0.4 * shift for p in places], peaks, 0.38, label=f"{count:,} frames")
    axes.set_yticks([p + 0.2 for p in places], [row["case"] for row in rows])
    axes.set_xlabel("peak resident memory, MB")
    axes.invert_yaxis()
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rows = run(out)
    result = {"frames": [SHORT, LONG], "size": [HEIGHT, WIDTH, 3], "most": MOST, "cases": rows}
    (out / "predict.json").write_text(json.dumps(result, indent=2) + "\n")
    draw(rows, out / "predict.png")
    return int(any(row["ratio"] > MOST for row in rows))


if __name__ == "__main__":
    sys.exit(main())
