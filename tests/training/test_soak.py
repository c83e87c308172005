"""A short soak: kills at the worst moments lose nothing; the long one is in tests/benchmarks."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_killed_trainings_go_on_as_if_nothing_had_happened(tmp_path, tmp_path_factory):
    # PyTorch makes a cache of its own in TMPDIR, unless it is told another place.
    cache = tmp_path_factory.mktemp("torch")
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.soak", "--kills", "4"],
        cwd=ROOT,
        env={
            **os.environ,
            "TMPDIR": str(tmp_path),
            "TORCHINDUCTOR_CACHE_DIR": str(cache),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("4 kills, 0 faults")
    assert not any(tmp_path.iterdir())
