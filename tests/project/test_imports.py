"""What a script or command loads: nothing heavy before it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAIN = "from framecast.cli.main import main\n"
INSPECT = (
    "from framecast.inspection.network_report import inspect_target; from pathlib import Path\n"
)


@pytest.mark.parametrize(
    ("script", "absent"),
    [
        ("import framecast", "torch numpy cv2 av yaml rich typer"),
        ("import framecast.config.loading, framecast.data.windows", "torch numpy cv2 av yaml PIL"),
        ("import framecast.data.plan", "torch cv2"),
        (MAIN + "main(['--help'])", "torch numpy cv2 av yaml rich"),
        (MAIN + "assert main(['inspect-shapes', 'sample_data/rain']) == 0", "torch"),
        (MAIN + "assert main(['inspect-shapes', '{code}']) == 0", "torch numpy matplotlib keras"),
        (INSPECT + "inspect_target(None)", "torch numpy cv2 av PIL"),
        (INSPECT + "inspect_target(Path('sample_data/rain'))", "torch av"),
        (INSPECT + "inspect_target(Path('sample_data/shapes.mp4'))", "torch"),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(tmp_path, script, absent):
    code = tmp_path / "model.py"
    code.write_text("model = Sequential([Input((5, 9, 8, 1)), ConvLSTM2D(4, 3)])\n")
    script = f"{script.format(code=code)}\nimport sys; print(); print(*sys.modules)"
    process = [sys.executable, "-c", script]
    done = subprocess.run(process, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.splitlines()[-1].split()
    assert "framecast" in loaded
    assert not {*absent.split()} & {*loaded}
