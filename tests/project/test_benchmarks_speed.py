"""The benchmarks of memory, scaling and startup: what they work out, and each command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.benchmarks import cuda
from tests.benchmarks.memory import row
from tests.benchmarks.scaling import exponent, fit
from tests.benchmarks.shared.commands import Cost, package_ms, run
from tests.benchmarks.shared.layers import LOOP, OURS
from tests.benchmarks.shared.resident import METHOD
from tests.benchmarks.startup import COMMANDS, HELP, NOTHING, rows

ROOT = Path(__file__).parents[2]
REPORT = """\
import time: self [us] | cumulative | imported package
import time:       300 |        300 |     framecast.errors
import time:      2000 |       2300 |   framecast
a line of the program's own | 1 | torch
import time:      1250 |       3550 | numpy.core._methods
"""


def bench(name, *arguments):
    """Run a benchmark's command; what it printed."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_exponent_is_that_of_the_power_law_it_is_given():
    assert exponent([2, 4, 16], [0.3 * size**1.7 for size in (2, 4, 16)]) == pytest.approx(1.7)


def test_fit_takes_medians_of_rounds_and_says_how_far_single_ones_differ():
    linear, square, cubic = ([size**power for size in (1, 2, 4)] for power in (1, 2, 3))
    found = fit([1, 2, 4], [cubic, linear, square])
    assert found["seconds"] == square
    assert found["exponent"] == pytest.approx(2)
    assert found["spread"] == pytest.approx([1, 3])
    assert fit([1, 2, 4], [[1, 2, 8]])["local_exponents"] == pytest.approx([1, 2])


def test_import_times_are_summed_by_package_the_dearest_first():
    assert list(package_ms(REPORT).items()) == [("framecast", 2.3), ("numpy", 1.25)]


def test_startup_compares_medians_with_python_alone_and_names_what_is_heavy():
    costs = {name: [Cost(0.5, 0.25, 9.0)] for name in COMMANDS}
    costs[NOTHING] = [Cost(seconds, 0.05, 9.0) for seconds in (7.0, 0.1, 0.2)]
    imports = {name: {"json": 3.0} for name in COMMANDS} | {HELP: {"av": 4.0, "torch": 2.0}}
    found = {entry["command"]: entry for entry in rows(costs, imports)}
    assert found[NOTHING]["seconds"] == 0.2
    assert found[HELP]["to_python_alone"] == 2.5
    assert found[HELP]["heavy_imports"] == ["torch", "av"]
    assert found[NOTHING]["heavy_imports"] == []


def test_memory_is_the_median_beside_the_plain_loops():
    def rounds(*peaks):
        return [{"after_forward": peak / 2, "peak": peak} for peak in peaks]

    found = row((1, 2, 3, 4, 5, 6), {OURS: rounds(90.0, 30.0, 40.0), LOOP: rounds(50.0, 80.0)})
    assert found["peak_mb"] == {OURS: 40.0, LOOP: 65.0}
    assert found["to_plain_loop"] == {OURS: 40 / 65, LOOP: 1.0}
    assert found["after_forward_mb"][OURS] == 20.0


PEAK = """
from tests.benchmarks.shared.resident import forget_peak, resident

def held(megabytes):
    return bytearray(b"x") * (megabytes * 1_000_000)

held(300)
forget_peak()
before = resident(peak=False)
pair = held(60), held(40)
del pair
held(80)
print(round((resident(peak=True) - before) / 1e6))
"""


@pytest.mark.skipif(not METHOD.startswith("VmHWM"), reason="asks the Linux kernel")
def test_the_peak_is_that_of_what_was_there_at_once():
    command = [sys.executable, "-c", PEAK]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == pytest.approx(100, abs=5)


def test_errors_beside_the_cpu_are_rounding_where_the_device_is_the_cpu(monkeypatch):
    monkeypatch.setattr(cuda, "DEVICE", "cpu")
    layer, network = cuda.layer_errors((3, 6, 3, 8, 2, 5)), cuda.network_errors("convlstm")
    assert 1e-9 < layer["float32 output"] < 1e-6 and 1e-9 < layer["float32 gradients"] < 1e-6
    assert 1e-4 < layer["bfloat16 output"] < 0.02 and 1e-4 < layer["bfloat16 gradients"] < 0.02
    assert network["float32 frames"] == 0 and 1e-6 < network["bfloat16 frames"] < 0.01


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_cuda_device_the_benchmark_of_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cuda"])
    with pytest.raises(SystemExit) as left:
        cuda.main()
    assert left.value.code == 9
    assert capsys.readouterr().err == "error: PyTorch sees no CUDA device here\n"


def test_a_command_that_fails_ends_the_benchmark_with_its_message():
    with pytest.raises(SystemExit, match="no such luck"):
        run([sys.executable, "-c", "raise SystemExit('no such luck')"])


@pytest.mark.parametrize(
    ("name", "arguments", "printed"),
    [
        ("memory", ["--repeats=1", "--threads=1"], "| 3, 6, 3, 8, 2, 10 | "),
        ("scaling", [], "| 2 | "),
        ("startup", [], "| `framecast --help` | "),
    ],
)
def test_each_command_leaves_a_record_and_a_picture(tmp_path, name, arguments, printed):
    assert printed in bench(name, "--tiny", "--output", tmp_path, *arguments)
    assert json.loads((tmp_path / f"{name}.json").read_text())["machine"]["processors"]
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
