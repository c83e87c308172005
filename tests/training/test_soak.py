"""A short soak: kills at the worst moments lose nothing; the long one is in tests/benchmarks."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_killed_trainings_go_on_as_if_nothing_had_happened(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.soak", "--kills", "12"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("12 kills, 0 faults")
    assert not any(tmp_path.iterdir())
