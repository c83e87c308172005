"""The command line as a user meets it: names, exit codes, files written, files left alone."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
import typer

import framecast
from framecast import errors
from framecast.cli import main
from framecast.config.loading import load_config
from framecast.prediction import loaded_forecaster
from framecast.video.readers.open import open_source
from tests.support.children import forked_program
from tests.support.tiny_runs import CONTEXT, FRAMES, HEIGHT, HORIZON, TINY, WIDTH

ROOT = Path(__file__).parents[2]
OPTIONS = {
    "framecast": "--debug --version",
    "train": "--axes --batch-size --color --config --context-length --crop --device --dry-run "
    "--epochs --frame-step --from-scratch --horizon --keep-readable --lr --minutes --model "
    "--patience --preset --quiet --range --resize --resume --runs --seed --set --tensorboard "
    "--variable --weights -q sources",
    "predict": "--axes --color --colormap --compare --device --format --fps --horizon "
    "--keep-readable --labels --match --model --output --overwrite --range --size --start "
    "--step-minutes --stream --tile --value-scale --variable -o paths",
    "inspect-shapes": "--channels --config --diagram --input --json --layer --model --overwrite "
    "--samples "
    "--set --size --target --verbose target",
    "evaluate": "--axes --color --colormap --csv --device --horizon --include-training --json "
    "--keep-readable --match --minutes --model --overwrite --protocol --range --report --scale "
    "--step-minutes --stride --threshold --variable --windows paths",
    "export": "--axes --colormap --context-length --fps --half --horizon --keep-readable --labels "
    "--model --output --overwrite --range --scale --size --step --step-minutes --value-scale "
    "--variable -o source",
    "demo": "--minutes --samples folder",
    "models": "",
    "doctor": "",
    "config": "",
}


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(path):
    return np.stack(list(open_source(path).read()))


def test_commands_and_options_stay():
    root = typer.main.get_command(main.app)
    found = {
        name: " ".join(sorted(flag for option in command.params for flag in option.opts))
        for name, command in {"framecast": root, **root.commands}.items()
    }
    found["framecast"] = found["framecast"].replace(
        "--debug --install-completion --show-completion", "--debug"
    )
    assert found == OPTIONS


def test_version(run):
    assert run("--version") == (0, f"{framecast.__version__}\n", "")


@pytest.mark.parametrize(("given", "expected"), [(None, "1000"), ("7", "7")])
def test_waiting_threads_hardly_spin_unless_the_user_says_so(run, monkeypatch, given, expected):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if given:
        monkeypatch.setenv("GOMP_SPINCOUNT", given)
    assert run("--version")[0] == 0
    assert os.environ["GOMP_SPINCOUNT"] == expected


@pytest.mark.parametrize(
    ("allowed", "given", "expected"), [(3, None, "3"), (3, "5", "5"), (None, None, None)]
)
def test_a_limit_of_the_processor_limits_threads(run, monkeypatch, allowed, given, expected):
    monkeypatch.setattr("framecast.cli.main.limited_threads", lambda: allowed)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is put back as it was
    monkeypatch.delenv("OMP_NUM_THREADS")
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert run("--version")[0] == 0
    assert os.environ.get("OMP_NUM_THREADS") == expected


def test_of_many_arguments_too_many_some_are_named(run):
    code, _, err = run(
        "inspect-shapes", *(f"frames/frame{number:05}.png" for number in range(5000))
    )
    assert code == 2
    assert err.startswith("error: Got unexpected extra argument(s) (frames/frame00001.png")
    assert err.endswith(".png [...]; see framecast inspect-shapes --help\n")
    assert len(err) < 300


def test_no_command_shows_the_help_and_fails(run):
    code, out, err = run()
    assert (code, err) == (2, "")
    assert "inspect-shapes" in out


def test_help_readme_and_errors_have_the_same_exit_codes(run):
    def codes(kind):
        return {kind.exit_code}.union(*(codes(child) for child in kind.__subclasses__()))

    assert set(errors.EXIT_CODES) == codes(errors.FramecastError) | {0}
    shown = " ".join(run("--help")[1].split())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for code, meaning in errors.EXIT_CODES.items():
        assert f"{code} {meaning}" in shown
    assert dict(re.findall(r"^\| (\d+) \| (.+) \|$", readme, re.MULTILINE)) == {
        str(code): meaning for code, meaning in errors.EXIT_CODES.items()
    }


@pytest.mark.parametrize("name", ["out.gif", "out.mp4", "out.webm", "out.npy", "out", "out.d/"])
def test_predictions_have_the_clips_size_colours_and_rate(run, clips, color_run, tmp_path, name):
    target = f"{tmp_path}/{name}"
    code, out, _ = run("predict", color_run, clips / "color.mp4", "-o", target, "--horizon", 5)
    assert (code, out) == (0, f"{target}\n")
    info = open_source(target).info
    assert (info.frames, info.height, info.width, info.channels) == (5, HEIGHT, WIDTH, 3)
    assert info.fps == (12.5 if name in ("out.gif", "out.mp4", "out.webm") else None)
    assert len([*tmp_path.iterdir()]) == 1


def test_frames_are_exported_into_a_folder_whose_name_has_a_dot(run, clips, tmp_path):
    assert run("export", clips / "grey.npy", "-o", f"{tmp_path}/frames.d/")[0] == 0
    assert np.array_equal(read(tmp_path / "frames.d")[..., 0], np.load(clips / "grey.npy"))


def test_horizon_is_as_trained_and_the_rate_as_asked(run, clips, color_run, tmp_path):
    target = tmp_path / "out.mp4"
    code, _, err = run("predict", color_run, clips / "color.mp4", "-o", target, "--fps", 7)
    assert (code, err) == (0, "flow-convlstm on cpu in float32\n")
    info = open_source(target).info
    assert (info.frames, info.fps) == (HORIZON, 7)


def test_matched_forecasts_have_the_last_frames_pixels_in_an_order_of_their_own(
    run, clips, grey_run, tmp_path
):
    last_HW1 = read(clips / "grey.npy")[-1]
    plain, half, whole = (tmp_path / f"{name}.npy" for name in ("plain", "half", "whole"))
    for target, flags in ((plain, ()), (half, ("--match", 0.5)), (whole, ("--match", 1))):
        assert run("predict", grey_run, clips / "grey.npy", "-o", target, *flags)[0] == 0
    for plain_HW1, half_HW1, whole_HW1 in zip(read(plain), read(half), read(whole), strict=True):
        assert np.isin(whole_HW1, last_HW1).all()
        assert not np.array_equal(whole_HW1, last_HW1)
        assert not np.array_equal(whole_HW1, plain_HW1)
        middle_HW1 = (plain_HW1.astype(int) + whole_HW1) / 2
        assert np.abs(half_HW1 - middle_HW1).max() <= 1


def test_a_horizon_beyond_the_trained_one_is_noted(run, clips, grey_run, tmp_path):
    code, _, err = run(
        "predict", grey_run, clips / "grey", "-o", tmp_path / "a.npy", "--horizon", 30
    )
    assert code == 0
    assert f"horizon 30 goes beyond the {HORIZON} frames" in err
    assert "has no frame rate: 10 per second" in err
    assert len(read(tmp_path / "a.npy")) == 30


def test_compare_plays_the_context_then_the_future_in_four_panels(run, clips, grey_run, tmp_path):
    target = tmp_path / "out.mp4"
    code, _, _ = run("predict", grey_run, clips / "grey.npy", "-o", target, "--compare")
    info = open_source(target).info
    assert (code, info.frames) == (0, CONTEXT + HORIZON)
    assert info.width > 4 * 160


def test_start_predicts_from_there_as_from_the_end_of_a_cut_clip(run, clips, grey_run, tmp_path):
    start = 5
    np.save(tmp_path / "cut.npy", np.load(clips / "grey.npy")[: start + CONTEXT])
    common = ("--horizon", HORIZON, "-o")
    assert run("predict", grey_run, tmp_path / "cut.npy", *common, tmp_path / "a.npy")[0] == 0
    clip = clips / "grey.npy"
    assert run("predict", grey_run, clip, "--start", start, *common, tmp_path / "b.npy")[0] == 0
    assert run("predict", grey_run, clip, *common, tmp_path / "c.npy")[0] == 0
    from_cut, from_start, from_end = (read(tmp_path / f"{name}.npy") for name in "abc")
    assert np.array_equal(from_cut, from_start)
    assert not np.array_equal(from_start, from_end)


def test_color_and_python_give_the_same_frames(run, clips, grey_run, tmp_path):
    target = tmp_path / "out.npy"
    assert run("predict", grey_run, clips / "color.mp4", "--color", "gray", "-o", target)[0] == 0
    clip_THWC = np.stack(list(open_source(clips / "color.mp4", color="gray").read()))
    forecaster = loaded_forecaster.load_forecaster(grey_run)
    assert np.array_equal(read(target), forecaster.predict(clip_THWC[-CONTEXT:], HORIZON))


def test_an_existing_file_is_replaced_only_when_asked(run, clips, grey_run, tmp_path):
    target = tmp_path / "out.npy"
    target.write_text("precious")
    code, out, err = run("predict", grey_run, clips / "grey.npy", "-o", target)
    assert (code, out) == (5, "")
    assert err == f"error: {target} exists already; choose another name or pass --overwrite\n"
    assert files(tmp_path) == {target: b"precious"}
    assert run("predict", grey_run, clips / "grey.npy", "-o", target, "--overwrite")[0] == 0
    assert read(target).shape == (HORIZON, HEIGHT, WIDTH, 1)


def test_results_are_named_after_their_clips(run, clips, grey_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dotted = tmp_path / "two.dots.npy"
    dotted.write_bytes((clips / "grey.npy").read_bytes())
    code, out, _ = run("predict", grey_run, clips / "grey")
    assert (code, out) == (0, "grey-prediction.gif\n")
    code, out, _ = run("predict", grey_run, dotted, "--format", "png")
    assert (code, out) == (0, "two.dots-prediction/\n")
    assert len([*(tmp_path / "two.dots-prediction").glob("lead_*.png")]) == HORIZON
    # With a format the output is a folder, as for several clips
    code, out, _ = run("predict", grey_run, dotted, "--format", "mp4", "-o", tmp_path / "results")
    assert (code, out) == (0, f"{tmp_path}/results/two.dots-prediction.mp4\n")


def test_several_sources_are_done_although_one_fails(run, clips, grey_run, tmp_path):
    missing, into = tmp_path / "missing.mp4", tmp_path / "results"
    sources = (clips / "grey.npy", missing, clips / "color.mp4")
    code, out, err = run(
        "predict", grey_run, *sources, "-o", into, "--format", "mp4", "--color", "gray"
    )
    assert code == 7
    assert out.splitlines() == [f"{into}/grey-prediction.mp4", f"{into}/color-prediction.mp4"]
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert lines == [
        f"error: {missing}: no such file or folder; check the path",
        f"error: 1 of 3 sources failed: {missing}",
    ]
    assert {path.name for path in into.iterdir()} == {"grey-prediction.mp4", "color-prediction.mp4"}


def test_every_clip_of_a_folder_is_forecast(run, clips, grey_run, tmp_path):
    into, nested = tmp_path / "results", tmp_path / "set"
    for name in ("walk/left", "run/left", "run/right"):
        (nested / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(clips / "grey", nested / name)
    (nested / "broken.mp4").write_bytes(b"")
    code, out, err = run("predict", grey_run, nested, "-o", into, "--format", "mp4")
    names = ("run-left", "right", "walk-left")
    assert out.splitlines() == [f"{into}/{name}-prediction.mp4" for name in names]
    assert code == 7
    assert f"error: 1 of 4 sources failed: {nested}/broken.mp4" in err
    # A folder with one clip is that clip
    code, out, _ = run("predict", grey_run, nested / "walk", "-o", tmp_path / "next.gif")
    assert (code, out) == (0, f"{tmp_path}/next.gif\n")


def test_results_that_are_there_are_kept_and_the_others_made(run, clips, grey_run, tmp_path):
    into = tmp_path / "results"
    into.mkdir()
    (into / "grey-prediction.mp4").write_bytes(b"mine")
    sources = (clips / "grey.npy", clips / "color.mp4")
    kind = ("--format", "mp4", "--color", "gray")
    code, out, err = run("predict", grey_run, *sources, "-o", into, *kind)
    assert (code, out) == (7, f"{into}/color-prediction.mp4\n")
    assert f"error: {into}/grey-prediction.mp4 exists already" in err
    assert (into / "grey-prediction.mp4").read_bytes() == b"mine"


def test_a_run_folder_is_complete_and_the_next_gets_a_new_number(run, clips, grey_run):
    before = files(grey_run)
    assert {path.name for path in before} == {
        *("best.pt", "last.pt", "preview.gif", "preview.png", "curves.png"),
        *("metrics.csv", "config.yaml", "run.json"),
    }
    code, out, err = run("train", clips / "grey", "--runs", grey_run.parent, *TINY)
    assert code == 0
    second = grey_run.parent / "train-2"
    assert out.splitlines() == [str(second / "best.pt"), str(second / "preview.gif")]
    assert err == ""
    assert files(grey_run) == before
    assert open_source(second / "preview.gif").info.frames == CONTEXT + HORIZON


def test_training_reports_the_data_first_then_every_epoch(run, clips, tmp_path):
    loud = [flag for flag in TINY if flag != "--quiet"]
    code, _, err = run("train", clips / "grey", clips / "grey.npy", "--runs", tmp_path, *loud)
    assert code == 0
    report, _, progress = err.partition("epoch    step   minutes     loss   held-out MSE")
    assert f"{HEIGHT} x {WIDTH}" in report
    assert f"windows of {CONTEXT} + {HORIZON} frames spanning {CONTEXT + HORIZON}: " in report
    assert re.search(
        r"^    1       2       0\.\d +0\.\d{5} +\d+\.\d{3}   .* (lower|high)", progress, re.M
    )
    assert "held-out MSE x 1000 (frames in 0..1)" in progress


def test_flag_beats_environment_beats_file_beats_default(run, clips, tmp_path, monkeypatch):
    file = tmp_path / "settings.yaml"
    file.write_text("train:\n  lr: 5e-4\n  seed: 3\n  patience: 7\n")
    monkeypatch.setenv("FRAMECAST_TRAIN_SEED", "4")
    monkeypatch.setenv("FRAMECAST_TRAIN_PATIENCE", "8")
    flags = ("--patience", 9, "--set", "train.ema=0.5", "--config", file)
    assert run("train", clips / "grey.npy", "--runs", tmp_path, *flags, *TINY)[0] == 0
    settings = load_config(tmp_path / "train-1/config.yaml", env={}).train
    found = (settings.lr, settings.seed, settings.patience, settings.ema, settings.loss)
    assert found == (5e-4, 4, 9, 0.5, "skill")


def test_dry_run_tries_a_batch_and_writes_nothing(run, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loud = [flag for flag in TINY if flag != "--quiet"]
    code, out, err = run("train", clips / "grey.npy", "--dry-run", *loud)
    assert (code, out) == (0, "")
    assert re.search(r"dry run on cpu: [\d,]+ parameters, one batch has loss 0\.\d+", err)
    assert not any(tmp_path.iterdir())


def test_a_finished_run_can_be_resumed_with_more_epochs(run, clips, tmp_path):
    start = ("train", clips / "grey.npy", "--runs", tmp_path, *TINY)
    assert run(*start)[0] == 0
    folder = tmp_path / "train-1"
    weights = (folder / "best.pt").read_bytes()
    assert run("train", "--resume", folder)[0] == 0
    assert epochs(folder) == ["0", "1"]
    assert (folder / "best.pt").read_bytes() == weights
    assert run("train", "--resume", folder, "--epochs", 3)[0] == 0
    assert epochs(folder) == ["0", "1", "2", "3"]
    assert [path.name for path in tmp_path.iterdir()] == ["train-1"]


def epochs(folder):
    with (folder / "metrics.csv").open() as file:
        return [row["epoch"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
    ids=["Ctrl-C", "SIGTERM", "terminal closed"],
)
def test_a_stopped_training_is_saved_and_says_how_to_go_on(
    run, clips, tmp_path, monkeypatch, number
):
    runs, scratch = tmp_path / "my runs", tmp_path / "scratch"
    scratch.mkdir()
    flags = [flag for flag in TINY if not flag.startswith(("--epochs", "--quiet"))]
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    process = forked_program("train", clips / "grey.npy", "--runs", runs, *flags)
    while not (line := process.stderr.readline()).startswith(b"    1 "):
        assert line, "training ended by itself"
    process.send_signal(number)
    rest = process.communicate()[1].decode().splitlines()
    assert process.returncode == 130
    assert [*scratch.glob("*framecast*")] == []  # PyTorch makes a folder of its own here
    command = shlex.split(rest[-1].partition("; continue with: ")[2])
    assert command == ["framecast", "train", "--resume", str(runs / "train-1")]
    assert rest[-1].startswith("error: stopped after step ")
    done = int(epochs(runs / "train-1")[-1])
    assert run(*command[1:], "--epochs", done + 1)[0] == 0
    assert epochs(runs / "train-1") == [str(number) for number in range(done + 2)]


def test_ctrl_c_while_predicting_leaves_nothing(run, clips, grey_run, tmp_path, monkeypatch):
    def interrupted(self, context_THWC, horizon):
        yield context_THWC[-1]
        raise KeyboardInterrupt

    monkeypatch.setattr(loaded_forecaster.LoadedForecaster, "stream", interrupted)
    code, out, err = run("predict", grey_run, clips / "grey.npy", "-o", tmp_path / "a.mp4")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "error: interrupted; give the same command to start again"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", ["--debug train missing", "train missing --debug"])
def test_debug_shows_where_an_error_came_from(run, arguments):
    code, _, err = run(*arguments.split())
    assert code == 3
    assert "Traceback" in err
    assert err.splitlines()[-1] == "error: missing: no such file or folder; check the path"


# Rich would take the first two for its own language, the rest would break the line.
@pytest.mark.parametrize(
    "name", ["[red]a :car: [", "[/]", "two\nlines", "bell\a\x1b[31m", "\udcff"]
)
def test_odd_file_names_are_shown_as_they_are_in_one_line(run, clips, grey_run, tmp_path, name):
    folder = tmp_path / name
    shown = name.encode("unicode_escape").decode()
    try:
        folder.mkdir(parents=True)
    except OSError:
        pytest.xfail("the file system refuses such names")
    code, _, err = run("predict", grey_run, folder, "-o", tmp_path / "a.gif")
    assert code == 3
    assert len(err.splitlines()) == 1
    assert f"{tmp_path}/{shown.rstrip('/')}: holds nothing to read" in err


def test_tables_escape_what_would_break_their_lines(run, clips, tmp_path):
    name = "two\nlines\x1b[31m.npy"
    shutil.copy(clips / "grey.npy", tmp_path / name)
    code, out, _ = run("inspect-shapes", tmp_path / name)
    assert code == 0
    assert "\n  two\\nlines\\x1b[31m.npy  T=" in out


def test_the_path_of_a_result_is_printed_as_it_is(run, clips, tmp_path):
    # A space that does not break, one that macOS writes before PM, and what Persian words hold.
    target = tmp_path / "a\xa0b\u202fPM \u0645\u06cc\u200c\u062e.npy"
    code, out, _ = run("export", clips / "grey.npy", "-o", target)
    assert (code, out) == (0, f"{target}\n")
    assert target.exists()


def test_run_record_names_the_sources(clips, grey_run):
    record = json.loads((grey_run / "run.json").read_text())
    clip = clips / "grey.npy"
    expected = {"path": str(clip), "files": 1, "bytes": clip.stat().st_size}
    assert record["sources"] == [expected]
    assert record["framecast"] == framecast.__version__
    assert len(np.load(clip)) == FRAMES


def test_no_forecast_comes_between_the_frames_of_the_working_folder(run, clips, monkeypatch):
    monkeypatch.chdir(clips / "grey")
    code, _, err = run("predict", ".")
    assert code == 5
    assert (
        "grey-prediction.gif would lie among the frames of . and count as one of them; choose"
        in err
    )
    assert run("predict", ".", "-o", "../of-here.gif")[0] == 0
    (clips / "of-here.gif").unlink()


def test_a_file_whose_name_begins_with_a_dash_can_be_named(run, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clips / "grey.npy", "-grey.npy")
    code, _, err = run("export", "-grey.npy", "-o", "a.gif")
    assert code == 2
    assert err == "error: No such option: -g; write ./-grey.npy for the file of that name\n"
    assert run("export", "./-grey.npy", "-o", "a.gif")[0] == 0
