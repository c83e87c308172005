"""Training end to end on clips made here: it learns, stops, resumes and fails as it says."""

import csv
import math
import os
import signal
import time

import numpy as np
import pytest
import torch

from framecast.config.loading import load_config
from framecast.data.plan import fitting_windows, make_plan
from framecast.errors import CheckpointError, DivergedError, InterruptedRunError
from framecast.prediction.checkpoint import load_checkpoint
from framecast.runtime.distributed import Group
from framecast.runtime.interrupts import interrupts
from framecast.training.events import EpochDone, StepDone
from framecast.training.run_folder import RunWriter
from framecast.training.starting_point import starting_point
from framecast.training.trainer import Trainer
from framecast.video.readers.base import SourceInfo

TINY = (
    "model.filters=[6]",
    "model.patch=4",
    "data.context_length=3",
    "data.horizon=4",
    "train.batch_size=3",
    "train.steps_per_epoch=2",
    "train.minutes=none",
    "train.device=cpu",
)
PLAIN = "model.name=convlstm"
"""Where the network does not matter, the one that trains at once."""


def moving_shapes(frames, height=36, width=44):
    """A disc and a box on straight, wrapping paths; uint8 (T, H, W, 1)."""
    y, x = np.mgrid[:height, :width]
    clip = np.zeros((frames, height, width, 1))
    for t in range(frames):
        row, column = (9 + 1.5 * t) % height, (7 + 2 * t) % width
        dy = np.abs(y - row)
        dx = np.abs(x - column)
        distance = np.hypot(np.minimum(dy, height - dy), np.minimum(dx, width - dx))
        disc = np.clip(7 - distance, 0, 1)
        left = (30 - 1.0 * t) % width
        gap = np.abs(x - left)
        box = (np.minimum(gap, width - gap) < 4) & (np.abs(y - 26) < 6)
        clip[t, ..., 0] = np.maximum(200 * disc, 120 * box)
    return clip.round().astype(np.uint8)


def make_trainer(folder, *overrides, clip=None, emit=lambda event: None, run=None, resumed=None):
    clip = moving_shapes(32) if clip is None else clip
    info = SourceInfo(
        path=folder / "clip",
        kind="array",
        frames=len(clip),
        height=clip.shape[1],
        width=clip.shape[2],
        channels=clip.shape[3],
    )
    plan = make_plan([info], load_config(None, [*TINY, *overrides], {}))
    writer = RunWriter(folder / "runs", plan.config, {"sources": []}, run)
    start = None if resumed else starting_point(plan)
    return Trainer(plan, [clip], writer, emit, Group("cpu"), time.monotonic(), resumed, start)


def validation_windows(trainer):
    """Context and truth of every validation window, cut out by hand."""
    shape = trainer.plan.split.shape
    context, horizon = shape.context_length, shape.horizon
    for window in trainer.plan.validation:
        frames = trainer.clips[0][window.start : window.start + context + horizon]
        unit = torch.from_numpy(frames.transpose(0, 3, 1, 2) / np.float32(255))[None]
        yield unit[:, :context], unit[:, context:]


def test_learns_moving_shapes_far_beyond_persistence_and_beyond_its_own_start(tmp_path):
    events = []
    result = make_trainer(
        tmp_path,
        "model.filters=[16]",
        "train.epochs=2",
        "train.steps_per_epoch=25",
        "train.lr=0.01",
        clip=moving_shapes(60),
        emit=events.append,
    ).train()
    rows = [event for event in events if isinstance(event, EpochDone)]
    error = np.mean(result.validation_mse_T)
    assert error < 0.25 * np.mean(result.persistence_mse_T)
    assert error < 0.8 * rows[0].validation_mse
    assert result.epoch > 0
    assert len(result.validation_mse_T) == 4


def test_plain_convlstm_learns_too(tmp_path):
    result = make_trainer(
        tmp_path,
        "model.name=convlstm",
        "model.filters=[12]",
        "train.epochs=4",
        "train.steps_per_epoch=20",
        "train.lr=0.004",
        clip=moving_shapes(60),
    ).train()
    assert np.mean(result.validation_mse_T) < 0.8 * np.mean(result.persistence_mse_T)


def test_reported_errors_are_those_of_the_saved_model_and_of_repeating_the_last_frame(tmp_path):
    trainer = make_trainer(tmp_path, "train.epochs=2")
    result = trainer.train()
    network = load_checkpoint(trainer.run.best).forecaster()
    model, still = [], []
    for context, truth in validation_windows(trainer):
        with torch.no_grad():
            prediction = network(context, 4)
        model.append(((prediction - truth) ** 2).mean(dim=(0, 2, 3, 4)).numpy())
        still.append(((context[:, -1:] - truth) ** 2).mean(dim=(0, 2, 3, 4)).numpy())
    np.testing.assert_allclose(result.validation_mse_T, np.mean(model, axis=0), rtol=1e-5)
    np.testing.assert_allclose(result.persistence_mse_T, np.mean(still, axis=0), rtol=1e-5)


def test_best_is_the_lowest_validation_error_and_metrics_hold_every_epoch(tmp_path):
    events = []
    settings = ("train.epochs=3", "train.steps_per_epoch=5", "train.lr=0.02")
    trainer = make_trainer(tmp_path, *settings, emit=events.append)
    result = trainer.train()
    rows = list(csv.DictReader(trainer.run.metrics.open()))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert [int(row["step"]) for row in rows] == [0, 5, 10, 15]
    errors = [float(row["validation_mse"]) for row in rows]
    assert result.epoch == int(np.argmin(errors))
    assert load_checkpoint(trainer.run.best).scores["validation_mse"] == pytest.approx(min(errors))
    assert rows[0]["train_loss"] == ""
    assert [event.step for event in events if isinstance(event, StepDone)] == list(range(1, 16))


@pytest.mark.parametrize(
    ("last_step", "filters"),
    [(4, "[6]"), (3, "[64,96]")],
    ids=["at an epoch's end", "pretrained, within an epoch"],
)
def test_interrupted_and_resumed_equals_uninterrupted_to_the_bit(tmp_path, last_step, filters):
    settings = ("train.epochs=3", f"model.filters={filters}")
    clip = moving_shapes(24)  # 11 windows, so that the second pass over them begins in step 4
    whole = make_trainer(tmp_path / "a", *settings, clip=clip)
    assert whole.learner.pretrained == (filters != "[6]")
    whole.train()

    def stop_in_epoch_two(event):
        if isinstance(event, StepDone) and event.step == last_step:
            os.kill(os.getpid(), signal.SIGINT)

    cut = make_trainer(tmp_path / "b", *settings, clip=clip, emit=stop_in_epoch_two)
    with pytest.raises(InterruptedRunError, match=f"stopped after step {last_step},") as stopped:
        cut.train()
    assert f"framecast train --resume {cut.run.path}" in str(stopped.value)

    resumed = load_checkpoint(cut.run.last)
    make_trainer(tmp_path / "b", *settings, clip=clip, run=cut.run, resumed=resumed).train()
    for one, other in ((whole.run.last, cut.run.last), (whole.run.best, cut.run.best)):
        expected, found = load_checkpoint(one), load_checkpoint(other)
        for name, tensor in expected.weights.items():
            assert torch.equal(tensor, found.weights[name]), name
    assert load_checkpoint(cut.run.last).progress["counters"]["step"] == 6
    steps = [int(row["step"]) for row in csv.DictReader(cut.run.metrics.open())]
    starts = [0, 0] if whole.learner.pretrained else [0]  # scored before and after the fit
    assert steps == [*starts, 2, 4, 6]


def test_an_interrupt_before_the_first_step_can_be_resumed_too(tmp_path):
    def stop_at_once(event):
        if isinstance(event, EpochDone):
            os.kill(os.getpid(), signal.SIGINT)

    whole = make_trainer(tmp_path / "a", PLAIN, "train.epochs=1")
    whole.train()
    cut = make_trainer(tmp_path / "b", PLAIN, "train.epochs=1", emit=stop_at_once)
    with pytest.raises(InterruptedRunError, match="stopped after step 0"):
        cut.train()
    resumed = load_checkpoint(cut.run.last)
    make_trainer(tmp_path / "b", PLAIN, "train.epochs=1", run=cut.run, resumed=resumed).train()
    expected, found = load_checkpoint(whole.run.last), load_checkpoint(cut.run.last)
    assert all(torch.equal(found.weights[name], expected.weights[name]) for name in found.weights)
    steps = [int(row["step"]) for row in csv.DictReader(cut.run.metrics.open())]
    assert steps == [0, 2]


def test_same_seed_same_model_other_seed_another(tmp_path):
    def weights(folder, seed):
        trainer = make_trainer(tmp_path / folder, PLAIN, "train.epochs=1", f"train.seed={seed}")
        trainer.train()
        return load_checkpoint(trainer.run.last).weights

    one, same, other = weights("a", 5), weights("b", 5), weights("c", 6)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_run_can_be_extended(tmp_path):
    first = make_trainer(tmp_path, PLAIN, "train.epochs=1")
    first.train()
    again = make_trainer(
        tmp_path, PLAIN, "train.epochs=2", run=first.run, resumed=load_checkpoint(first.run.last)
    )
    result = again.train()
    assert result.steps == 4
    assert result.reason == "2 epochs are done"


def test_a_model_without_progress_cannot_be_resumed(tmp_path):
    trainer = make_trainer(tmp_path, PLAIN, "train.epochs=1")
    trainer.train()
    with pytest.raises(CheckpointError, match="not the state of a training run"):
        make_trainer(tmp_path, PLAIN, run=trainer.run, resumed=load_checkpoint(trainer.run.best))


def first_moment(progress):
    return progress["optimizer"]["state"][0]


CHANGES = {
    "rows": lambda state: state.update(rows=[3]),
    "cells": lambda state: state["rows"][0].update(step=torch.ones(2)),
    "negative": lambda state: state["counters"].update(step=-1),
    "no number": lambda state: state["counters"].update(minutes="2"),
    "not a number": lambda state: state["counters"].update(minutes=math.nan),
    "errors": lambda state: state["counters"].update(best_mse_T=(0.5, None)),
    "stages": lambda state: state["counters"].update(stage_mse={"start": []}),
    "unknown counter": lambda state: state["counters"].update(steps=3),
    "weights": lambda state: state["network"].popitem(),
    "first weights": lambda state: state.update(first={"paint.bias": torch.ones(3)}),
    "share": lambda state: state.update(share=0.0),
    "weight": lambda state: next(iter(state["network"].values())).view(-1)[:1].fill_(math.nan),
    "moment": lambda state: first_moment(state).update(exp_avg=torch.ones(2, 3)),
    "no moment": lambda state: first_moment(state).pop("exp_avg"),
    "no tensor": lambda state: first_moment(state).update(exp_avg=[0.5]),
    "random state": lambda state: state.update(random=torch.ones(3)),
    "optimizer": lambda state: state.update(optimizer=None),
}


def test_a_training_state_that_cannot_be_is_refused_before_training(tmp_path):
    trainer = make_trainer(tmp_path, PLAIN, "train.epochs=1")
    trainer.train()
    for name, change in CHANGES.items():
        resumed = load_checkpoint(trainer.run.last)
        change(resumed.progress)
        with pytest.raises(CheckpointError, match=r"last\.pt: its training state does not fit"):
            pytest.fail(
                f"{name}: {make_trainer(tmp_path, PLAIN, run=trainer.run, resumed=resumed)}"
            )


def test_a_loss_that_is_not_finite_stops_and_keeps_the_best(tmp_path):
    trainer = make_trainer(tmp_path, PLAIN, "train.epochs=2")
    healthy = trainer.learner.network.forward
    trainer.learner.network.forward = lambda context, horizon: (
        healthy(context, horizon) * (math.nan if trainer.counters.step == 3 else 1)
    )
    with pytest.raises(DivergedError, match="no longer finite at step 4") as stopped:
        trainer.train()
    assert "smaller --lr" in str(stopped.value)
    assert all(torch.isfinite(weight).all() for weight in trainer.learner.network.parameters())
    last = load_checkpoint(trainer.run.last)
    for weights in (last.weights, last.progress["network"]):
        assert all(torch.isfinite(weight).all() for weight in weights.values())
    assert last.progress["counters"]["step"] == 2
    assert load_checkpoint(trainer.run.best).scores["validation_mse"] > 0


def test_patience_counts_epochs_without_improvement(tmp_path):
    trainer = make_trainer(tmp_path, PLAIN, "train.patience=2", "train.steps_per_epoch=1")
    trainer.validation.mse_per_lead = lambda predictor, work="": torch.full((4,), 0.5)
    result = trainer.train()
    assert (result.steps, result.epoch) == (2, 0)
    assert result.reason == "no improvement for 2 epochs"


@pytest.mark.parametrize(
    ("errors", "better"),
    [
        ((0.5, 0.4975, 0.4955, 0.49505), [0]),
        ((0.5, 0.4975, 0.4945, 0.4947, 0.4944), [0, 2, 4]),
        ((0.5, 0.6, 0.48, 0.47), [0, 2, 3]),
    ],
)
def test_the_start_stays_unless_an_epoch_is_1_percent_better(tmp_path, errors, better):
    """After the first that is, any that is lower counts."""
    events = []
    limits = (PLAIN, "train.steps_per_epoch=1", f"train.epochs={len(errors) - 1}")
    trainer = make_trainer(tmp_path, *limits, emit=events.append)
    means = iter((0.9, 0.8, *errors))  # those of the last frame and of optical flow come first
    trainer.validation.mse_per_lead = lambda predictor, work="": torch.full((4,), next(means))
    result = trainer.train()
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert [event.epoch for event in epochs if event.improved] == better
    assert result.epoch == better[-1]
    assert result.validation_mse_T == pytest.approx([errors[better[-1]]] * 4)


def test_minutes_end_a_run_within_an_epoch(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 8))  # seconds; a step looks at it 3 times
    monkeypatch.setattr("framecast.training.trainer.time.monotonic", lambda: next(clock))
    trainer = make_trainer(tmp_path, PLAIN, "train.minutes=5", "train.steps_per_epoch=1000")
    result = trainer.train()
    assert result.reason == "the budget of 5 minutes is used up"
    assert 5 <= result.steps < 25
    assert trainer.counters.minutes <= 5
    assert trainer.counters.epoch == 1


@pytest.mark.parametrize(
    ("settings", "step", "moved"),
    [
        (["train.ema=0.9"], 990, 0.1),
        # Of what fine-tuning changes a quarter is taken back
        (["model.filters=[64, 96]", "train.ema=0"], 1, 0.75),
    ],
)
def test_average_follows_the_weights_with_the_stated_decay(tmp_path, settings, step, moved):
    learner = make_trainer(tmp_path, *settings).learner
    assert learner.pretrained == (moved == 0.75)
    if learner.pretrained:
        learner.start(new=True)
    before = {name: weight.clone() for name, weight in learner.average.named_parameters()}
    with torch.no_grad():
        for weight in learner.network.parameters():
            weight.add_(1)
    learner._update_average(step)
    for name, weight in learner.average.named_parameters():
        torch.testing.assert_close(weight, before[name] + moved)


def test_windows_fitted_together_give_the_blend_of_each_for_itself(tmp_path):
    trainer = make_trainer(tmp_path)
    network, together = trainer.learner.network, list(trainer._fitting_samples())
    sizes = [len(target_BTCHW) for _, target_BTCHW in together]
    assert max(sizes) > 1 and sum(sizes) == len(fitting_windows(trainer.plan))
    network.calibrate(together)
    expected = network.blend.clone()
    assert expected.abs().max() > 0.01
    alone = [
        window
        for batch in together
        for window in zip(*(part.split(1) for part in batch), strict=True)
    ]
    network.calibrate(alone)
    torch.testing.assert_close(network.blend, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("factors", "share"),
    [
        # Of the error of three quarters: of a quarter, a half, three quarters and all.
        ((1.2, 1.1, 1.0, 0.98), 1.0),
        ((0.8, 1.1, 1.0, 0.995), 0.75),
        ((0.8, 0.9, 1.0, 0.995), 0.75),  # errors fall towards more, so less isn't tried
        ((0.8, 0.995, 1.0, 1.1), 0.75),
        ((0.975, 0.98, 1.0, 1.1), 0.5),
        ((0.9, 0.98, 1.0, 1.1), 0.25),
    ],
)
def test_more_or_less_of_what_fine_tuning_changes_is_kept_where_that_is_1_percent_better(
    tmp_path, factors, share
):
    settings = ("model.filters=[64, 96]", "train.ema=0", "train.epochs=2")
    trainer = make_trainer(tmp_path, *settings, "train.steps_per_epoch=1")
    learner = trainer.learner

    def scored(predictor, work=""):
        return torch.full((4,), 0.3 * 0.8**trainer.counters.epoch * factors[now()])

    def now():
        return round(4 * learner.share) - 1

    trainer.validation.mse_per_lead = scored
    result = trainer.train()
    assert learner.share == share
    assert result.validation_mse_T == pytest.approx([0.3 * 0.8**2 * factors[now()]] * 4)
    last = load_checkpoint(trainer.run.last)
    resumed = make_trainer(tmp_path, *settings, run=trainer.run, resumed=last)
    assert resumed.learner.share == share
    best = load_checkpoint(trainer.run.best).weights
    for name, weight in learner.network.named_parameters():
        first = learner.first[name]
        kept = first + share * (weight - first)
        # Roundings of float32: to other shares and, where they are not kept, back.
        torch.testing.assert_close(best[name], kept, rtol=2**-21, atol=1e-7)


@pytest.mark.parametrize("loss", ["skill", "mse", "mae", "mix"])
def test_each_loss_is_what_its_name_says(tmp_path, loss):
    trainer = make_trainer(tmp_path, f"train.loss={loss}")
    batch = next(trainer.learner.batches(trainer.clips))
    trainer.learner.network.train()
    with torch.no_grad():
        difference = trainer.learner.network(batch.context_BTCHW, 4) - batch.target_BTCHW
    squared, absolute = difference.square().mean().item(), difference.abs().mean().item()
    still = (batch.context_BTCHW[:, -1:] - batch.target_BTCHW).square().mean(dim=(2, 3, 4))
    skill = (difference.square().mean(dim=(2, 3, 4)) / (still + 1e-4)).log1p().mean().item()
    expected = {"skill": skill, "mse": squared, "mae": absolute, "mix": squared + absolute}[loss]
    assert trainer.learner.step(batch, 1e-3, 1) == pytest.approx(expected, rel=1e-5)


def test_a_second_interrupt_is_not_held_back():
    before = signal.getsignal(signal.SIGINT)
    with interrupts() as received:
        os.kill(os.getpid(), signal.SIGINT)
        assert received == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_colour_and_sixteen_bits_train_as_well(tmp_path):
    grey = moving_shapes(30).astype(np.uint16) * 257
    colour = np.concatenate([grey, grey[::-1], grey // 2], axis=3)
    trainer = make_trainer(tmp_path, "train.epochs=1", "data.horizon=2", clip=colour)
    result = trainer.train()
    assert np.mean(result.validation_mse_T) < np.mean(result.persistence_mse_T)
    assert load_checkpoint(trainer.run.best).clip["channels"] == 3
