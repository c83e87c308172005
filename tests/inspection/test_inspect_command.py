"""`inspect-shapes` of layers and Keras models at the command line: text, JSON, pictures, exits."""

import io
import json
import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context

ROOT = Path(__file__).parents[2]
CODE = """
model = Sequential([
    Input((10, 40, 50, 1)),
    ConvLSTM2D(8, 3, padding="same", return_sequences=True),
    BatchNormalization(),
    ConvLSTM2D(4, 5, strides=2),
])
"""
WRONG = CODE.replace(", return_sequences=True", "")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(CODE, encoding="utf-8")
    return path


def test_one_line_a_layer_with_the_sums_above(run, model):
    code, out, err = run("inspect-shapes", model)
    assert (code, err) == (0, "")
    sums, empty, header, *lines = (out.splitlines()[i] for i in (0, 3, 4, 5, 6, 7, 8))
    assert sums == "7,472 parameters, 7,456 of them trained"
    assert empty == ""
    assert header.split() == ["layer", "output", "parameters", "padding", "receptive", "field"]
    assert re.split(r"  +", lines[1]) == [
        "conv_lstm2d",
        "(B, 10, 40, 50, 8)",
        "2,624",
        "same: 1",
        "3 x 3, +2 x 2 per earlier frame",
    ]
    assert re.split(r"  +", lines[3])[:4] == ["conv_lstm2d_1", "(B, 18, 23, 4)", "4,816", "valid"]
    warning = "warning: conv_lstm2d_1 (line 6) ignores the last 1 of 40 rows"
    assert any(line.startswith(warning) for line in out.splitlines())


def test_verbose_shows_every_tensor_in_both_orders(run, model):
    code, out, _ = run("inspect-shapes", model, "--verbose")
    assert code == 0
    assert "output (B, 10, 40, 50, 8), channels first (B, 10, 8, 40, 50)" in out
    assert "size   rows: ceil((40 - 4) / 2) = 18; columns: ceil((50 - 4) / 2) = 23" in out
    assert "weight recurrent_kernel 5 x 5 x 4 x 16 = 1,600" in out
    assert "saved for the backward pass" in out


def test_json_has_the_same_for_programs(run, model):
    code, out, _ = run("inspect-shapes", model, "--input", "2,10,40,50,1", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["works"], found["parameters"], found["trainable_parameters"]) == (
        True,
        7472,
        7456,
    )
    last = found["layers"][-1]
    assert (last["kind"], last["line"], last["outputs"]) == ("ConvLSTM2D", 6, [[2, 18, 23, 4]])
    assert last["receptive_field"] == {"newest_frame": [7, 7], "per_frame_back": [8, 8]}
    assert last["weights"]["kernel"] == [5, 5, 8, 16]
    assert last["training_bytes"] > 0
    assert found["mistakes"] == []
    open_sizes = json.loads(run("inspect-shapes", model, "--json")[1])
    assert open_sizes["layers"][0]["outputs"] == [["B", 10, 40, 50, 1]]


def test_a_model_that_cannot_work_exits_with_1(run, model):
    model.write_text(WRONG, encoding="utf-8")
    code, out, err = run("inspect-shapes", model)
    assert code == 1
    mistake = "mistake: conv_lstm2d_1 (line 6) needs 5 axes, (batch, time, rows, columns, channels)"
    assert any(line.startswith(mistake) for line in out.splitlines())
    assert "set return_sequences=True in conv_lstm2d (line 4)" in out
    assert err.strip() == (
        "error: this model cannot work as it stands: 1 mistake; make the changes named above"
    )
    code, out, _ = run("inspect-shapes", model, "--json")
    assert (code, json.loads(out)["works"]) == (1, False)


def test_code_comes_from_standard_input(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(WRONG))
    code, out, _ = run("inspect-shapes", "-", "--target", "8,18,23,4")
    assert code == 1
    assert "conv_lstm2d_1" in out


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_diagram_is_drawn_whole_or_not_at_all(run, model, tmp_path, suffix, start):
    target = tmp_path / f"shapes.{suffix}"
    assert run("inspect-shapes", model, "--diagram", target)[0] == 0
    content = target.read_bytes()
    assert content.startswith(start)
    if suffix == "svg":
        assert content.count(b"<path") > 8
    code, _, err = run("inspect-shapes", model, "--diagram", target)
    assert code == 5
    assert "exists" in err
    assert run("inspect-shapes", model, "--diagram", target, "--overwrite")[0] == 0
    code, _, err = run("inspect-shapes", model, "--diagram", tmp_path / "a.gif")
    assert (code, ".svg, .pdf, .png" in err) == (5, True)


def test_a_dollar_is_no_formula_in_a_diagram(run, tmp_path):
    code = 'model = Sequential([Input((4,)), Dense(n["$_{"]), Dense(m["$"])])'
    (tmp_path / "model.py").write_text(code)
    with rc_context({"text.usetex": True}):  # as a matplotlibrc may have it
        done = run("inspect-shapes", tmp_path / "model.py", "--diagram", tmp_path / "a.svg")
    assert done[0] == 0, done[2]


def test_a_name_that_is_no_text_is_escaped_in_a_diagram(run, tmp_path):
    clip = tmp_path / os.fsdecode(b"\xe4\xff.npy")
    np.save(clip, np.zeros((20, 8, 8), np.uint8))
    done = run("inspect-shapes", clip, "--diagram", tmp_path / "a.svg")
    assert done[0] == 0, done[2]


def test_a_clip_has_a_diagram_and_one_line_a_tensor(run, tmp_path):
    target = tmp_path / "shapes.svg"
    code, out, _ = run("inspect-shapes", "--size", "32x40", "--diagram", target)
    assert code == 0
    assert target.exists()
    lines = out.splitlines()
    assert lines[0].endswith(" parameters")
    assert len(lines) < 60
    verbose = run("inspect-shapes", "--size", "32x40", "--verbose")[1].splitlines()
    assert len(verbose) > 1.5 * len(lines)


WRONG_CALLS = {
    "layer missing": (["--input", "8,10,64,64,1"], "--layer is missing; add e.g. --layer"),
    "input missing": (["--layer", "filters=4 kernel=3"], "--input is missing; add e.g. --input"),
    "long size": (["--input", f"8,{'9' * 400}", "--layer", "Dense(3)"], "expected integers"),
    "longest size": (["--input", f"8,{'9' * 5000}", "--layer", "Dense(3)"], "expected integers"),
    "long setting": (["--set", f"model.filters={'9' * 290}"], "expected a list of integers"),
    "sizes": (["--input", "8,x-1", "--layer", "Dense(3)"], "--input 8,x-1: expected integers"),
    "target": (
        ["--input", "8,3", "--target", "8", "--layer", "Dense(3)"],
        "--target 8: expected integers",
    ),
    "samples": (
        ["--input", "8,3", "--samples", "0", "--layer", "Dense(3)"],
        "--samples 0: expected an integer of 1 or more",
    ),
    "settings": (
        ["--input", "8,3", "--layer", "Dense(3)", "--set", "model.patch=4"],
        "--config, --set, --size and --channels are for framecast's own networks",
    ),
    "layer": (
        ["--input", "8,3", "--layer", "Banana(3)"],
        "--layer 1: 'Banana(3)' is not a known layer",
    ),
}


@pytest.mark.parametrize(("words", "sentence"), WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_wrong_combinations_of_options_are_refused(run, words, sentence):
    code, out, err = run("inspect-shapes", *words)
    assert (code, out) == (2, "")
    assert sentence in err


def test_a_notebook_is_its_code_cell_after_cell(run, tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# A model ("]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "model = Sequential([\n"]},
    ]
    first, *rest = CODE.strip().splitlines(keepends=True)
    commands = ["%matplotlib inline\n", "files = !ls\n", "Sequential?\n", "?Sequential\n"]
    cells[1]["source"] = [*commands, first, *rest]
    path = tmp_path / "model.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    code, out, _ = run("inspect-shapes", path)
    assert (code, out.splitlines()[0]) == (0, "7,472 parameters, 7,456 of them trained")
    path.write_text('{"cells": 3}', encoding="utf-8")
    assert run("inspect-shapes", path)[0] == 3


def test_code_may_begin_with_a_byte_order_mark(run, model, monkeypatch):
    model.write_text(f"\ufeff{CODE}", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"\ufeff{CODE}"))
    assert run("inspect-shapes", model) == run("inspect-shapes", "-")
    assert run("inspect-shapes", model)[0] == 0


def test_files_that_cannot_be_read_are_refused(run, tmp_path, model, monkeypatch):
    assert run("inspect-shapes", tmp_path / "none.py")[0] == 3
    (tmp_path / "a.py").write_bytes(b"\xff\xfe\x00")
    assert run("inspect-shapes", tmp_path / "a.py")[0] == 3
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"# \xe9"), "utf-8"))
    code, _, err = run("inspect-shapes", "-")
    assert (code, err.count("\n"), "error: standard input: cannot be read" in err) == (3, 1, True)
    code, _, err = run("inspect-shapes", model, "--layer", "Dense(3)")
    assert (code, "leave out one of them" in err) == (2, True)


def test_the_readme_shows_the_real_output(run):
    text = (ROOT / "framecast/inspection/README.md").read_text(encoding="utf-8")
    pattern = r"^framecast ([^\n]* --layer [^\n]*)\n```\n\n```text\n(.*?)```"
    shown = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert run(*shlex.split(shown[1])) == (0, shown[2], "")
