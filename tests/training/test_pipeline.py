"""A dry run's figures, and what a training refuses and reports before and after its steps."""

import resource
import sys

import numpy as np
import pytest
import torch

from framecast.config.loading import load_config
from framecast.data import reading_limits
from framecast.errors import OutputError
from framecast.prediction.checkpoint import load_checkpoint
from framecast.training import pipeline
from framecast.training.events import Working
from framecast.training.learner import Learner
from framecast.training.preparation import prepare

SETTINGS = (
    *("model.name=convlstm", "model.filters=[3]", "model.patch=4", "train.precision=float32"),
    *("data.context_length=3", "data.horizon=2", "data.crop=22", "data.flip=false"),
    *("data.zoom=false", "data.reverse=false", "data.stride=5", "data.scene_cuts=false"),
    *("train.epochs=1", "train.steps_per_epoch=7", "train.batch_size=2", "train.device=cpu"),
)
FRAMES = np.random.default_rng(2).integers(0, 256, (40, 20, 24), dtype=np.uint8)


@pytest.fixture
def session(tmp_path):
    np.save(tmp_path / "clip.npy", FRAMES)
    return prepare([tmp_path / "clip.npy"], load_config(None, SETTINGS, {}))


def test_a_dry_run_times_a_step_that_is_not_the_slow_first_one(session, monkeypatch, tmp_path):
    steps, clock = [], iter([100.0, 102.5])

    def step(self, batch, lr, number):
        steps.append((number, lr))
        # Windows of noise are all different: the batch can only be cut out of the first one.
        window_TCHW = torch.from_numpy(FRAMES[:5, None] / np.float32(255))
        for frames_TCHW in batch.context_BTCHW:
            found_TCHW = window_TCHW[:3].unfold(3, 22, 1)
            assert (found_TCHW == frames_TCHW.unsqueeze(3)).all((0, 1, 2, 4)).sum() == 1
        monkeypatch.setattr(pipeline.time, "monotonic", lambda: next(clock))
        return 0.125 * number

    monkeypatch.setattr(Learner, "step", step)
    found = pipeline.dry_run(session)
    lr = session.plan.config.train.lr
    assert steps == [(1, lr), (2, lr)]
    assert (found.device, found.loss, found.step_seconds) == ("cpu", 0.25, 2.5)
    # 7 steps, and forward passes, each a third of a step, of whole frames in place of 2 crops.
    validation = len(session.plan.validation) * 20 * 24 / (2 * 20 * 22) / 3
    assert len(session.plan.validation) > 0
    assert found.epoch_seconds == pytest.approx(2.5 * (7 + validation), rel=1e-12)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    assert peak / 2 < found.peak_bytes <= peak
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npy"]


def test_a_training_says_what_it_works_at(session, tmp_path):
    events = []
    outcome = pipeline.train(session, tmp_path / "runs", events.append)
    assert outcome.run.path == tmp_path / "runs/train-1"
    said = [event for event in events if isinstance(event, Working)]
    assert [event.done for event in said if event.work == "decoding"] == [*range(1, 41)]
    assert [event.work for event in said if event.total is None][:2] == [
        "recording which frames are trained on",
        "building the network",
    ]
    assert said[-1] == Working("writing the preview")


def test_a_place_for_runs_that_cannot_be_is_refused_before_decoding(session, tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(OutputError, match="runs is a file"):
        pipeline.train(session, tmp_path / "runs", lambda event: pytest.fail(str(event)))


def starts(session):
    """First and last frame of both sides' windows."""
    split = session.plan.split
    span = split.shape.span
    return [
        (min(window.start for window in side), max(window.start for window in side) + span)
        for side in (split.train, split.validation)
    ]


def test_of_clips_too_long_for_the_budget_the_newest_frames_are_used(tmp_path, monkeypatch):
    np.save(tmp_path / "clip.npy", np.tile(FRAMES, (3, 1, 1)))
    monkeypatch.setattr(reading_limits, "READING_SHARE", 1e-12)
    settings = [*SETTINGS, "data.stride=1"]

    def prepared(*more):
        return prepare([tmp_path / "clip.npy"], load_config(None, [*settings, *more], {}))

    limited = prepared()
    # Eight windows of 3 + 2 frames at least
    assert limited.plan.config.data.max_frames == 40
    assert starts(limited) == [(80, 110), (110, 120)]
    assert starts(prepared("data.max_frames=30")) == [(90, 112), (112, 120)]
    for everything in ("data.max_frames=none", "data.max_frames=120", "train.minutes=none"):
        assert starts(prepared(everything)) == [(0, 90), (90, 120)]

    seen = []
    outcome = pipeline.train(limited, tmp_path / "runs", seen.append)
    decoded = [e.total for e in seen if isinstance(e, Working) and e.work == "decoding"]
    assert decoded == [40] * 40
    (clip,) = load_checkpoint(outcome.run.best).trained_on
    assert clip.frames == ((80, 110),)
    monkeypatch.setattr(reading_limits, "READING_SHARE", 1.0)
    assert starts(pipeline.prepare_resume(outcome.run.path, [])) == starts(limited)


def test_of_clips_too_long_for_the_disk_the_newest_frames_are_used(tmp_path, monkeypatch):
    np.save(tmp_path / "clip.npy", np.tile(FRAMES, (3, 1, 1)))
    monkeypatch.setattr(reading_limits, "free_bytes", lambda: 2 * 60 * 20 * 24)
    settings = [*SETTINGS, "data.stride=1", "train.minutes=none"]
    session = prepare([tmp_path / "clip.npy"], load_config(None, settings, {}))
    assert session.plan.config.data.max_frames == 60
    assert starts(session) == [(60, 105), (105, 120)]


def test_of_too_many_clips_some_are_trained_on_and_the_run_is_resumed_with_these(
    tmp_path, monkeypatch
):
    (tmp_path / "clips").mkdir()
    for number in range(12):
        np.save(tmp_path / f"clips/{number}.npy", np.roll(FRAMES[:6], number, axis=0))
    monkeypatch.setattr(reading_limits, "READING_SHARE", 1e-12)

    def prepared(*more):
        config = load_config(None, [*SETTINGS, "data.stride=1", *more], {})
        return prepare([tmp_path / "clips"], config)

    def names(session):
        return [source.info.path.stem for source in session.sources]

    limited = prepared()
    assert names(limited) == ["0", "3", "6", "8", "11"]
    assert len(limited.plan.infos) == 5
    # No clip has frames that are left out
    assert limited.plan.config.data.max_frames == "auto"
    assert names(prepared("data.max_frames=none")) == [str(number) for number in range(12)]
    outcome = pipeline.train(limited, tmp_path / "runs", lambda event: None)
    assert len(load_checkpoint(outcome.run.best).trained_on) == 5
    monkeypatch.setattr(reading_limits, "READING_SHARE", 1.0)
    resumed = pipeline.prepare_resume(outcome.run.path, [])
    assert names(resumed) == names(limited)
    assert resumed.plan.split == limited.plan.split


def test_a_run_that_used_all_frames_is_resumed_with_all(tmp_path, monkeypatch):
    np.save(tmp_path / "clip.npy", np.tile(FRAMES, (3, 1, 1)))
    session = prepare([tmp_path / "clip.npy"], load_config(None, SETTINGS, {}))
    assert session.plan.config.data.max_frames == "auto"
    outcome = pipeline.train(session, tmp_path / "runs", lambda event: None)
    monkeypatch.setattr(reading_limits, "READING_SHARE", 1e-12)
    assert starts(pipeline.prepare_resume(outcome.run.path, [])) == starts(session)
