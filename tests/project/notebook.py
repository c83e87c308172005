"""framecast from Python, cell by cell: run this file, or paste its cells into a notebook.

    python notebook.py [FOLDER]

Everything it writes goes into FOLDER, the working directory by default.
"""

# %% Read a clip: frames (T, H, W, C) with their rate, shown as a playing picture in Jupyter.
import sys
from pathlib import Path

import numpy as np

import framecast

here = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
clip = framecast.read(here / "clip.npy")
print(clip)

# %% Train for a while; settings are those of framecast.yaml.
training = framecast.train(
    here / "clip.npy",
    minutes=0.2,
    runs=here / "runs",
    model="convlstm",
    filters=(4,),
    patch=4,
    context_length=3,
    horizon=4,
    epochs=1,
    steps_per_epoch=2,
    batch_size=2,
    device="cpu",
)
print(training)
print(training.table())

# %% The future of a file, and of an array with its own type and range.
future = framecast.predict(here / "clip.npy", training)
future.save(here / "future.gif")
celsius = 15 + 25 * (clip.frames[..., 0] / 255).astype(np.float32)
warmer = framecast.predict(celsius, training, horizon=6, value_range=(15, 40))
print(future, warmer)

# %% Is it any good? Scores on frames it was not trained on, next to the baselines.
evaluation = framecast.evaluate(training, here / "clip.npy", protocol="nowcast")
print(evaluation.summary)
print(evaluation.table())
evaluation.save(here / "report.html")

# %% The model again, in another program.
forecaster = framecast.load_forecaster(training.model)
print(forecaster.predict(clip.frames[-3:]).shape)
