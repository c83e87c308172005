"""The radar and video benchmarks: windows, peers, scores from files, the commands as a whole."""

import json
import sys

import numpy as np
import pytest
import torch

from framecast.config.brightness_scale import read_scale
from framecast.errors import SourceError, UsageError
from framecast.evaluation.report import MODEL
from framecast.video.readers.open import open_source
from tests.benchmarks import radar, video
from tests.benchmarks.shared import pysteps_peers as peers
from tests.benchmarks.shared import record as records
from tests.benchmarks.shared.clips import first_unseen, late_part, read_clips
from tests.benchmarks.shared.contest import summarise
from tests.benchmarks.shared.matches import budgets, count, plan_matches
from tests.benchmarks.shared.proof import Keeper, check_agreement, frames_path, recompute
from tests.support.media import smooth_clip, write_folder, write_video

FRAMES, H, W = 60, 17, 26
SCALE = read_scale("-10..60 dBZ")
SMALL = ["--set=model.filters=[3]", "--set=model.patch=4", "--set=train.epochs=1"]
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


@pytest.mark.parametrize(("frames", "cut", "part"), [(40, 28, (22, 40)), (144, 101, (95, 144))])
def test_targets_lie_behind_the_cut_and_contexts_may_reach_before_it(frames, cut, part):
    assert first_unseen(frames) == cut
    assert late_part(frames) == range(*part)
    assert part[0] + 6 == cut


def test_clips_are_cut_in_time_and_matches_train_on_what_they_may(events, tmp_path):
    north, south = clips = read_clips([events], tmp_path, "gray")
    assert [(clip.name, clip.shape, clip.cut) for clip in clips] == [
        ("north", (60, H, W, 1), 42),
        ("south", (63, H, W, 1), 45),
    ]
    whole_THWC = np.stack(list(open_source(events / "south").read(0, 63)))
    np.testing.assert_array_equal(np.load(south.whole), whole_THWC)
    np.testing.assert_array_equal(np.load(south.early), whole_THWC[:45])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["early", "whole"]

    together, without_north, without_south = plan_matches(clips, leave_out=True)
    assert together.training == (north.early, south.early)
    assert [contest.part for contest in together.contests] == [range(36, 60), range(39, 63)]
    assert without_north.name == "leave-out:north"
    assert without_north.training == (south.whole,)
    assert [contest.clip for contest in without_north.contests] == [north]
    assert without_south.contests[0].part == range(63)
    assert len(plan_matches(clips, leave_out=False)) == len(plan_matches(clips[:1], True)) == 1


def test_videos_are_scaled_before_anything_else(tmp_path):
    write_video(tmp_path / "clip.mp4", smooth_clip(FRAMES, 2 * H, 2 * W))
    [clip] = read_clips([tmp_path / "clip.mp4"], tmp_path, "rgb", (H, W))
    assert (clip.name, clip.shape) == ("clip", (FRAMES, H, W, 3))


def test_clips_that_cannot_be_scored_are_refused(tmp_path):
    frames_THW = smooth_clip(FRAMES, H, W)[..., 0]
    write_folder(tmp_path / "gap/one", frames_THW)
    (tmp_path / "gap/one/frame7.png").unlink()
    with pytest.raises(SourceError, match="frame 7 does not follow the one before it"):
        read_clips([tmp_path / "gap"], tmp_path, "gray")
    for name in ("a/one", "b/one"):
        write_folder(tmp_path / "same" / name, frames_THW)
    with pytest.raises(SourceError, match="another clip is called one too"):
        read_clips([tmp_path / "same"], tmp_path, "gray")
    write_folder(tmp_path / "short/one", frames_THW[:38])
    with pytest.raises(SourceError, match="has 38 frames, of which the last 30% hold no 12 in a"):
        read_clips([tmp_path / "short"], tmp_path, "gray")


def test_pixels_become_dbz_and_come_back():
    pixels = np.arange(256) / 255
    dbz = peers.to_dbz(pixels, SCALE)
    assert dbz[[0, 109, 255]] == pytest.approx([-10, 70 * 109 / 255 - 10, 60])
    np.testing.assert_array_equal(np.rint(255 * peers.to_pixels(dbz, SCALE)), np.arange(256))
    assert peers.to_pixels(np.array([-30.0, 99.0]), SCALE).tolist() == [0, 1]


def test_a_nowcast_is_asked_in_dbz_and_unknown_pixels_have_no_echo():
    context_BTCHW = torch.rand(2, 5, 1, 7, 8, generator=torch.Generator().manual_seed(0))
    asked = []

    def nowcast(dbz_THW, horizon):
        asked.append(dbz_THW)
        future_THW = np.stack([dbz_THW[-1] + 7 * lead for lead in range(horizon)])
        future_THW[1, 2, 3] = np.nan
        return future_THW

    frames = list(peers.as_predictor(nowcast, SCALE)(context_BTCHW, 3))
    assert [tuple(frame.shape) for frame in frames] == [(2, 1, 7, 8)] * 3
    last_BCHW = context_BTCHW[:, -1]
    np.testing.assert_allclose(asked[1], 70 * context_BTCHW[1, :, 0].double() - 10)
    torch.testing.assert_close(frames[0], last_BCHW)
    expected_BCHW = (last_BCHW + 0.1).clamp(max=1)
    expected_BCHW[:, :, 2, 3] = 0
    torch.testing.assert_close(frames[1], expected_BCHW)


def test_pysteps_is_told_when_absent_and_needs_dbz(monkeypatch):
    monkeypatch.setattr(peers, "pysteps_version", lambda: None)
    assert peers.pysteps_peers(SCALE) == {}
    with pytest.raises(UsageError, match="need pixels in dBZ, the scale is in mm/h"):
        peers.pysteps_peers(read_scale("0.1..100 mm/h log"))


def test_frames_are_kept_in_the_order_of_windows(tmp_path):
    keeper = Keeper(tmp_path, (3, 2, 7, 8, 1))

    def predictor(context_BTCHW, horizon):
        for lead in range(horizon):
            yield context_BTCHW[:, -1] + lead / 255

    watched = keeper.watch("last frame", predictor)
    context_BTCHW = torch.arange(3)[:, None, None, None, None].expand(3, 5, 1, 7, 8) * 10 / 255
    for batch in (context_BTCHW[:2], context_BTCHW[2:]):
        assert torch.equal(list(watched(batch, 2))[1], batch[:, -1] + 1 / 255)
    kept_NTHWC = np.load(tmp_path / "last-frame.npy")
    assert kept_NTHWC.dtype == np.uint8
    assert kept_NTHWC[:, :, 4, 5, 0].tolist() == [[0, 1], [10, 11], [20, 21]]


def test_scores_are_worked_out_from_files(tmp_path):
    truth_NTHWC = np.zeros((2, 2, 2, 2, 1), np.uint8)
    truth_NTHWC[0, 0, 0, :, 0] = 200, 110
    said_NTHWC = truth_NTHWC.copy()
    said_NTHWC[0, 0, :, :, 0] = (110, 109), (111, 0)
    for name, frames in (("truth", truth_NTHWC), ("some one", said_NTHWC)):
        np.save(frames_path(tmp_path, name), frames)
    found = recompute(tmp_path, ["some one"], 109)["some one"]
    assert found["mse"] == pytest.approx([(90**2 + 1 + 111**2) / 8 / 255**2, 0])
    assert found["csi"][0] == 1 / 3
    assert np.isnan(found["csi"][1])
    assert recompute(tmp_path, ["some one"], None)["some one"]["csi"] == []


def test_scores_that_differ_in_six_digits_are_refused():
    recomputed = {"x": {"mse": [0.2, 0.0], "csi": [0.5, float("nan")]}}
    scored = {"x": {"mse": [0.2 * (1 + 4e-7), 0.0], "csi": [0.5, None]}}
    assert check_agreement(scored, recomputed) == pytest.approx(4e-7, rel=1e-3)
    scored["x"]["csi"][0] = 0.5 * (1 + 1e-6)
    with pytest.raises(ValueError, match="x, csi at lead 1"):
        check_agreement(scored, recomputed)
    scored["x"]["csi"] = [0.5, 0.0]
    with pytest.raises(ValueError, match="x, csi at lead 2"):
        check_agreement(scored, recomputed)


def table(model, flow, peer):
    """Scores with MSE at two leads and CSI at one that is defined."""
    rest = {name: ([0.9, 0.9], [0.1, None]) for name in ("last frame", "context mean")}
    rest[f"{MODEL} --match 1"] = ([0.1, 0.1], [0.9, None])  # no peer
    rest |= {"linear trend": ([0.8, 0.9], [0.2, None]), "optical flow": flow, "S-PROG": peer}
    return {name: {"mse": mse, "csi": csi} for name, (mse, csi) in ({MODEL: model} | rest).items()}


def test_a_summary_names_the_best_of_each_kind():
    scores = table(([0.3, 0.3], [0.5, None]), ([0.2, 0.6], [0.4, None]), ([0.3, 0.45], [0.6, None]))
    found = summarise(scores)
    assert found["mse_255"][MODEL] == pytest.approx(0.3 * 255**2)
    assert (found["best_peer"], found["gain"]) == ("S-PROG", pytest.approx(1 - 0.3 / 0.375))
    assert found["best_baseline"] == found["best_at_lead_1"] == "optical flow"
    assert found["gain_over_baselines"] == pytest.approx(1 - 0.3 / 0.4)
    assert found["gain_at_lead_1"] == pytest.approx(-0.5)
    assert (found["best_csi_peer"], found["csi_difference"]) == ("S-PROG", pytest.approx(-0.1))
    clip = {"clip": "north", "summary": found}
    assert records.verdict("in-domain", clip) == (
        "in-domain, north: MSE 19507.5, 20.0% below S-PROG (24384.4), at lead 1 50.0% ABOVE "
        "optical flow; CSI 0.500 beside 0.600 of S-PROG"
    )
    assert list(records.goals([clip], 0.25, 0, csi=True).values()) == [False, True, False]
    assert list(records.goals([clip], 0, 0.15, csi=False).values()) == [True, True, True]
    assert list(records.goals([clip], 0.2, 0.25, csi=False).values()) == [True, True, False]


def test_budgets_and_counts_are_above_zero():
    assert count("3") == 3
    with pytest.raises(ValueError, match="1 or more"):
        count("0")
    assert budgets("1,5,15") == [1, 5, 15]
    with pytest.raises(ValueError, match="above 0"):
        budgets("5,0")


def test_radar_trains_scores_and_proves_its_scores(events, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers, "pysteps_version", lambda: None)
    monkeypatch.setattr(radar, "pysteps_version", lambda: None)
    flags = ["--windows=3", "--keep", "--output", tmp_path, *SMALL]
    call(radar, monkeypatch, "--data", events, "--minutes=1", "--only=in-domain", *flags)
    record = json.loads((tmp_path / "radar.json").read_text())
    printed = capsys.readouterr().out
    assert record["task"]["pysteps"].startswith("absent")
    [entry] = record["entries"]
    assert (entry["title"], entry["model"]) == ("in-domain, 1 minutes", "models/train-1")
    assert entry["training"]["result"]["steps"] == 1
    assert entry["training"]["clips"] == ["north", "south"]
    north = entry["clips"][0]
    assert north["windows"] == [36, 39, 42]
    assert north["recomputed_from_npy"]["largest_relative_difference"] < 5e-7
    whole_THWC = np.stack(list(open_source(events / "north").read(0, FRAMES))).astype(float)
    last = [(whole_THWC[s + 6 : s + 18] - whole_THWC[s + 5]) ** 2 for s in (36, 39, 42)]
    expected_T = np.mean(last, axis=(0, 2, 3, 4)) / 255**2
    np.testing.assert_allclose(north["scores"]["last frame"]["mse"], expected_T, rtol=1e-9)
    moved = [f"{MODEL} --match 0.25", f"{MODEL} --match 1"]
    assert set(north["scores"]) == {MODEL, *moved, *records_of_baselines()}
    assert printed.count(f"  {moved[0]}: MSE ") == printed.count(f"  {moved[1]}: MSE ") == 2
    frames = tmp_path / "frames/in-domain-1-minutes-north"
    assert np.load(frames / f"{MODEL}.npy").shape == (3, 12, H, W, 1)
    matched_NTHWC = np.load(frames / f"{MODEL}---match-1.npy")
    for start, matched_THWC in zip((36, 39, 42), matched_NTHWC, strict=True):
        allowed = np.unique(whole_THWC[start + 5])
        assert np.isin(matched_THWC, allowed).all()
    assert "<html" in (tmp_path / "pages/in-domain-1-minutes-north.html").read_text()
    assert (tmp_path / "radar.png").stat().st_size > 10_000
    assert printed.count("in-domain, 1 minutes, ") == 5
    assert str(tmp_path) not in json.dumps(record)

    reused = tmp_path / "again"
    arguments = ["--reuse", tmp_path / "models/train-1", "--only=in-domain", "--output", reused]
    call(radar, monkeypatch, "--data", events, "--windows=3", *arguments)
    again = json.loads((reused / "radar.json").read_text())["entries"][0]
    assert again["title"] == entry["title"]
    assert again["clips"][0]["scores"] == north["scores"]
    assert not (reused / "frames").exists()


def records_of_baselines():
    return {"last frame", "context mean", "optical flow", "linear trend"}


def test_video_trains_on_colours_and_needs_no_threshold(tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "clip.mp4", smooth_clip(FRAMES, 2 * H, 2 * W))
    output = tmp_path / "out"
    flags = ["--color=rgb", f"--size={H}x{W}", "--windows=2", "--output", output, *SMALL]
    call(video, monkeypatch, tmp_path / "clip.mp4", *flags)
    clip = json.loads((output / "video.json").read_text())["entries"][0]["clips"][0]
    assert (clip["size"], clip["channels"]) == ([H, W], 3)
    assert clip["scores"][MODEL]["csi"] == []
    assert "CSI" not in capsys.readouterr().out


@pytest.mark.parametrize("known", [True, False])
def test_no_window_scored_crosses_a_cut_unless_they_are_let_be(tmp_path, monkeypatch, known):
    clip_THWC = smooth_clip(100, H, W) // 4
    clip_THWC[75:] += 190
    np.save(tmp_path / "clip.npy", clip_THWC)
    flags = ["--color=gray", f"--size={H}x{W}", "--windows=99", "--output", tmp_path, *SMALL]
    flags += ["--set", f"data.scene_cuts={known}".lower()]
    call(video, monkeypatch, tmp_path / "clip.npy", *flags)
    clip = json.loads((tmp_path / "video.json").read_text())["entries"][0]["clips"][0]
    assert clip["scene_cuts"] == ([75] if known else [])
    # Targets lie in the last 30 frames, contexts may begin 6 before; windows are of 18.
    all_of_them = list(range(64, 83))
    assert clip["windows"] == [s for s in all_of_them if not known or s >= 75]


def test_a_clip_cut_too_often_to_score_is_one_line(tmp_path, monkeypatch, capsys):
    clip_THWC = smooth_clip(100, H, W) // 4
    clip_THWC[75:88] += 190
    np.save(tmp_path / "clip.npy", clip_THWC)
    flags = ["--color=gray", f"--size={H}x{W}", "--output", tmp_path, *SMALL]
    with pytest.raises(SystemExit) as caught:
        call(video, monkeypatch, tmp_path / "clip.npy", *flags)
    assert caught.value.code == 3
    assert "clip: no 18 frames to score lie between its scene cuts; " in capsys.readouterr().err


def test_wrong_usage_is_one_line_and_exit_code_2(events, tmp_path, monkeypatch, capsys):
    for flags, text in (
        (["--only=out-domain"], "--only out-domain: there is no such match"),
        (["--reuse", tmp_path], "--reuse: a model belongs to one match"),
    ):
        with pytest.raises(SystemExit) as stopped:
            call(radar, monkeypatch, "--data", events, "--output", tmp_path, *flags)
        assert stopped.value.code == 2
        assert text in capsys.readouterr().err
