"""The sizes of the small clips and models that the tests of the command line share."""

FRAMES, HEIGHT, WIDTH = 20, 18, 26
CONTEXT, HORIZON = 3, 4

TINY = (
    "--set=model.filters=[3]",
    "--set=model.patch=4",
    f"--context-length={CONTEXT}",
    f"--horizon={HORIZON}",
    "--epochs=1",
    "--set=train.steps_per_epoch=2",
    "--batch-size=2",
    "--device=cpu",
    # By default the faster precision is chosen by timing, which differs from run to run
    "--set=train.precision=float32",
    "--quiet",
)
"""Flags that make a training last a moment."""
