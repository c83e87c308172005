"""The benchmarks: windows, third-party methods, scores, and each command as a whole."""

import gzip
import json
import shlex
import struct
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from framecast.cli.main import main
from framecast.config.brightness_scale import read_scale
from framecast.errors import SourceError, UsageError
from framecast.evaluation.report import MODEL
from framecast.prediction.baselines import BASELINES
from framecast.video.readers.open import open_source
from tests.benchmarks import contest, layer, moving_mnist, networks
from tests.benchmarks.contest import read_clips
from tests.benchmarks.layer import LAYERS, LOOP, OURS, interleaved, ratios, time_table
from tests.benchmarks.moving_mnist import read_digits, sequences, trajectories
from tests.benchmarks.shared import pysteps_methods as methods
from tests.benchmarks.shared.output import count
from tests.support.media import smooth_clip, write_folder, write_video

ROOT = Path(__file__).parents[2]
FRAMES, H, W = 60, 17, 26
SCALE = read_scale("-10..60 dBZ")
RADAR = ["--scale=-10..60 dBZ", "--threshold=20 dBZ"]
SMALL = ["--set=model.name=convlstm", "--set=model.filters=[3]", "--set=model.patch=4"]
SMALL += ["--set=train.epochs=1"]
SMALL += ["--set=train.steps_per_epoch=1", "--set=train.batch_size=2", "--set=train.device=cpu"]


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """Two events of grey frames, in a folder each."""
    folder = tmp_path_factory.mktemp("events")
    for number, name in enumerate(("north", "south")):
        frames_THWC = smooth_clip(FRAMES + 3 * number, H, W)[..., number, None]
        write_folder(folder / name, frames_THWC[..., 0])
    return folder


def call(module, monkeypatch, *arguments):
    """Run a benchmark's command in this process."""
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    module.main()


def starts(clip):
    return [window["start"] for window in clip["windows"]]


def test_clips_are_cut_in_time_and_models_train_on_what_they_may(events, tmp_path, monkeypatch):
    north, south = clips = read_clips([events], tmp_path, "gray")
    assert [clip.name for clip in clips] == ["north", "south"]
    whole_THWC = np.stack(list(open_source(events / "south").read(0, 63)))
    # 44.1 frames are 70 %; contexts of 6 may begin before the cut.
    np.testing.assert_array_equal(np.load(south.early), whole_THWC[:45])
    np.testing.assert_array_equal(np.load(south.late), whole_THWC[39:])

    monkeypatch.setattr(contest, "train_model", lambda paths, settings, output: tuple(paths))
    options = {"model": None, "each": False, "minutes": 1, "settings": [], "output": tmp_path}

    def models(**changed):
        return list(contest.models(SimpleNamespace(**options | changed), clips))

    assert models() == [((north.early, south.early), clips)]
    assert models(each=True) == [((north.early,), [north]), ((south.early,), [south])]
    assert models(model=Path("best.pt")) == [(Path("best.pt"), clips)]


def test_videos_are_scaled_before_anything_else(tmp_path):
    write_video(tmp_path / "clip.mp4", smooth_clip(FRAMES, 2 * H, 2 * W))
    [clip] = read_clips([tmp_path / "clip.mp4"], tmp_path, "rgb", (H, W))
    assert np.load(clip.early).shape == (42, H, W, 3)


def test_clips_that_cannot_be_scored_are_refused_in_one_line(tmp_path, monkeypatch, capsys):
    frames_THW = smooth_clip(FRAMES, H, W)[..., 0]
    write_folder(tmp_path / "gap/one", frames_THW)
    (tmp_path / "gap/one/frame7.png").unlink()
    with pytest.raises(SourceError, match="frame 7 does not follow the one before it"):
        read_clips([tmp_path / "gap"], tmp_path, "gray")
    write_folder(tmp_path / "short/one", frames_THW[:38])
    with pytest.raises(SystemExit) as caught:
        call(contest, monkeypatch, tmp_path / "short", "--color=rgb", f"--size={H}x{W}")
    assert caught.value.code == 3
    said = capsys.readouterr().err
    assert "has 38 frames, of which the last 30% hold no 12 in a row; " in said
    assert said.count("\n") == 1


def test_a_nowcast_is_asked_in_dbz_and_unknown_pixels_have_no_echo():
    context_BTCHW = torch.rand(2, 5, 1, 7, 8, generator=torch.Generator().manual_seed(0))
    asked = []

    def nowcast(dbz_THW, horizon):
        asked.append(dbz_THW)
        future_THW = np.stack([dbz_THW[-1] + 7 * lead for lead in range(horizon)])
        future_THW[1, 2, 3] = np.nan
        return future_THW

    frames = list(methods.as_predictor(nowcast, SCALE)(context_BTCHW, 3))
    assert [tuple(frame.shape) for frame in frames] == [(2, 1, 7, 8)] * 3
    last_BCHW = context_BTCHW[:, -1]
    np.testing.assert_allclose(asked[1], 70 * context_BTCHW[1, :, 0].double() - 10)
    torch.testing.assert_close(frames[0], last_BCHW)
    expected_BCHW = (last_BCHW + 0.1).clamp(max=1)
    expected_BCHW[:, :, 2, 3] = 0
    torch.testing.assert_close(frames[1], expected_BCHW)


def test_missing_pysteps_is_left_out_and_it_needs_dbz(monkeypatch):
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    assert methods.pysteps_methods(SCALE) == {}
    with pytest.raises(UsageError, match="need pixels in dBZ, the scale is in mm/h"):
        methods.pysteps_methods(read_scale("0.1..100 mm/h log"))


def test_radar_trains_and_scores_what_plain_numpy_says(events, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    flags = ["--windows=3", "--minutes=1", "--output", tmp_path, *SMALL]
    call(contest, monkeypatch, events, *RADAR, *flags)
    north, south = json.loads((tmp_path / "contest.json").read_text())["clips"]
    assert (starts(north), starts(south)) == ([0, 3, 6], [0, 3, 6])
    assert set(north["scores"]) == {MODEL, "pretrained", *BASELINES}
    whole_THWC = np.stack(list(open_source(events / "north").read(0, FRAMES))).astype(float)
    errors = [(whole_THWC[s + 6 : s + 18] - whole_THWC[s + 5]) ** 2 for s in (36, 39, 42)]
    expected_T = np.mean(errors, axis=(0, 2, 3, 4)) / 255**2
    np.testing.assert_allclose(north["scores"]["last frame"]["mse"], expected_T, rtol=1e-9)
    hits = either = 0
    for start in (36, 39, 42):
        said, came = (whole_THWC[at] > 109.3 for at in (start + 5, start + 6))
        hits, either = hits + (said & came).sum(), either + (said | came).sum()
    assert north["scores"]["last frame"]["csi 20 dBZ"][0] == pytest.approx(hits / either)
    printed = capsys.readouterr().out
    assert f"| north | mse | {1000 * np.mean(north['scores'][MODEL]['mse']):.3f} |" in printed

    again = tmp_path / "again"
    arguments = ["--model", tmp_path / "models/train-1", "--windows=3", "--output", again]
    call(contest, monkeypatch, events, *RADAR, *arguments)
    del north["scores"]["pretrained"]
    assert json.loads((again / "contest.json").read_text())["clips"][0]["scores"] == north["scores"]


def test_counts_are_above_zero():
    assert count("3") == 3
    with pytest.raises(ValueError, match="1 or more"):
        count("0")


def digits(number=8010):
    """Digit n is a full square of value 1 + n % 255."""
    values = (1 + np.arange(number) % 255).astype(np.uint8)
    return np.broadcast_to(values[:, None, None], (number, 28, 28))


def write_idx(path, images, packed, kind=2051):
    content = struct.pack(">4i", kind, *images.shape) + images.tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def test_digits_are_read_packed_or_not_and_other_files_refused(tmp_path):
    for packed in (True, False):
        path = write_idx(tmp_path / "digits", digits(), packed)
        np.testing.assert_array_equal(read_digits(path), digits())
    (tmp_path / "text").write_text("no digits")
    with pytest.raises(SourceError, match="cannot be read as digits"):
        read_digits(tmp_path / "text")
    with pytest.raises(SourceError, match="holds 8010 images"):
        read_digits(write_idx(tmp_path / "labels", digits(), True, kind=2049))


def test_digits_move_straight_and_bounce_at_the_borders():
    """In a straight line of 3.6 pixels a frame, and from edge to edge in the long run."""
    generator = np.random.default_rng(0)
    places = trajectories(generator.random((2000, 2)), 2 * np.pi * generator.random(2000), 20)
    assert (places.min(), places.max()) == (0, 36)
    steps = np.diff(places, axis=1)
    inside = ((places[:, :-1] > 4) & (places[:, :-1] < 32)).all(axis=2)
    assert np.hypot(*steps[inside].T).max() < 3.6 + 2**0.5
    assert np.hypot(*steps[inside].T).mean() == pytest.approx(3.6, abs=0.1)
    assert abs(steps[:, 0].mean(axis=0)).max() < 0.2
    assert places.mean(axis=(0, 1)) == pytest.approx([17.6, 17.6], abs=0.5)


def test_moving_mnist_is_scored_as_openstl_does(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = write_idx(tmp_path / "digits.gz", digits(), True)
    flags = ["--digits", path, "--sequences=40", "--tests=3", "--output=."]
    call(moving_mnist, monkeypatch, *flags)
    said = capsys.readouterr().out.replace("\\\n", "")
    training, evaluation = (shlex.split(line)[1:] for line in said.split("\n") if line)
    assert main([*training, "--quiet", *SMALL]) == 0
    capsys.readouterr()
    assert main([*evaluation, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [window["start"] for window in report["windows"]] == [0, 20, 40]
    made_SHW = sequences(digits()[8000:], 3, 20, 2)
    assert (made_SHW != sequences(digits()[8000:], 3, 20, 3)).any()
    tests_NTHW = made_SHW.reshape(3, 20, 64, 64) / 255
    errors = (tests_NTHW[:, 10:] - tests_NTHW[:, 9:10]) ** 2
    np.testing.assert_allclose(
        report["scores"]["last frame"]["mse"], errors.sum(axis=(2, 3)).mean(axis=0), rtol=1e-6
    )


def test_the_ratios_of_a_layer_are_to_the_fastest_other_and_to_bare_convolutions():
    row = {OURS: 20.0, LOOP: 50.0, "x": 30.0, "bare convolutions": 40.0}
    assert ratios(row) == (1.5, 0.5)
    assert time_table("training", {"1, 2, 3, 4, 5, 6": row}).splitlines()[-2:] == [
        "| 1, 2, 3, 4, 5, 6 | 20 | 50 | 30 | 40 | 1.50 | 0.50 |",
        "| geometric mean |  |  |  |  | 1.50 | 0.50 |",
    ]


def test_the_layer_benchmark_runs_as_its_command_says(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # it would last
    call(layer, monkeypatch, "--tiny", "--rounds=1", "--output", tmp_path)
    assert "| geometric mean |" in capsys.readouterr().out
    times = json.loads((tmp_path / "layer.json").read_text())["ms"]
    for rows in (times["training step"], times["inference"]):
        (row,) = rows.values()
        assert row.keys() == {*LAYERS, "bare convolutions"}
        assert min(row.values()) > 0


def test_runs_take_turns_and_the_first_round_does_not_count():
    calls, clock = [], iter(range(100))
    runs = {name: partial(calls.append, name) for name in "ab"}
    found = interleaved(runs, 2, lambda: next(clock), least=0)
    assert calls == list("ababab")
    assert found == {"a": [2, 2], "b": [2, 2]}


def test_both_sides_of_every_ratio_of_the_networks_run(monkeypatch):
    monkeypatch.setattr(networks, "SHORTEST", 0)
    pairs = networks.pairs(1, 32, (48, 64))
    assert len(pairs) == 2 + 1 + 4
    for name, pair in pairs.items():
        assert min(networks.measure(pair, rounds=1)) > 0, name
