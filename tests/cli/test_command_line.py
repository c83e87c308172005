"""Options and values that do not belong together: a documented exit code, one line of error."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framecast.cli.main import main
from framecast.errors import EXIT_CODES

VALUES = (
    *("clip.npy", "model.pt", "", ".", "gone", "file/below", "/dev/null", "/dev/zero", "/dev/full"),
    *("a" * 300, "~nosuchuser/x", "\udcff.gif", "день.gif", "a\nb.npy", "--", "out/", "out.npy"),
    *(
        "0",
        "1",
        "-1",
        "1e9",
        "nan",
        "auto",
        "12x18",
        "0x0",
        "99999999999x1",
        "gray",
        "radar",
        "0..1",
    ),
)
OPTIONS = {
    "predict": (
        *("-o", "--horizon", "--start", "--format", "--tile", "--match", "--fps", "--color"),
        *("--device", "--size", "--colormap", "--value-scale", "--step-minutes", "--variable"),
    ),
    "evaluate": (
        "--horizon",
        "--stride",
        "--windows",
        "--threshold",
        "--scale",
        "--csv",
        "--report",
    ),
    "inspect-shapes": ("--config", "--set", "--size", "--channels", "--input", "--layer"),
    "export": ("-o", "--horizon", "--context-length", "--size", "--fps", "--scale", "--colormap"),
    "config": ("--config", "--set"),
}
FLAGS = ("--stream", "--compare", "--overwrite", "--json", "--labels", "--step", "--quiet")


@st.composite
def command_lines(draw):
    command = draw(st.sampled_from(sorted(OPTIONS)))
    values = st.sampled_from(VALUES) | st.text(max_size=8)
    arguments = draw(st.lists(st.sampled_from(["model.pt", "clip.npy"]) | values, max_size=3))
    for option in draw(st.lists(st.sampled_from(OPTIONS[command]), max_size=3)):
        arguments += [option, draw(values)]
    return [command, *arguments, *draw(st.lists(st.sampled_from(FLAGS), max_size=2))]


@pytest.fixture
def here(tmp_path, grey_run, monkeypatch):
    """A working folder with a clip and a model."""
    np.save(tmp_path / "clip.npy", np.zeros((8, 18, 26), np.uint8))
    (tmp_path / "model.pt").write_bytes((grey_run / "best.pt").read_bytes())
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(arguments=command_lines())
def test_any_command_line_ends_with_a_documented_code(here, capfd, arguments):
    inputs = [here / name for name in ("clip.npy", "model.pt", "file")]
    before = [path.read_bytes() for path in inputs]
    code = main(arguments)
    err = capfd.readouterr().err
    assert code in {*EXIT_CODES} - {1, 130}, err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == (0 if code == 0 else 1) or code == 7, err
    assert "Traceback" not in err
    assert [path.read_bytes() for path in inputs] == before
