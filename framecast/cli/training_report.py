"""The output of a training: its plan, its epochs, and its held-out errors at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from framecast.cli.console import (
    messages,
    one_line,
    open_table,
    show_notes,
    show_result,
    show_table,
)
from framecast.config.schema import PRETRAINED
from framecast.runtime.text import counted, listed, show_bytes
from framecast.training.events import FINE_TUNED, START, TRAINED

if TYPE_CHECKING:
    from framecast.data.plan import Plan
    from framecast.training.events import EpochDone, PrecisionChosen, Started, TrainingResult
    from framecast.training.pipeline import DryRun, Outcome

# Rows of the table of clips at most
MOST_CLIPS = 20

HELD_OUT_BY = {"time": "the end of every clip", "clip": "whole clips"}


def show_plan(plan: Plan) -> None:
    """Print the clips that were found and the plan of the training."""
    table = open_table("clip", "frames", "H x W", "trained at", "channels", "fps", title="clips")
    clips = [*zip(plan.infos, plan.sizes, strict=True)]
    for info, (height, width) in clips[:MOST_CLIPS]:
        frames = f"{info.frames}" if info.exact else f"about {info.frames}"
        table.add_row(
            Text(one_line(info.name)),
            f"{len(info.used)} of {frames}" if info.first else frames,
            f"{info.height} x {info.width}",
            f"{height} x {width}",
            f"{plan.channels}",
            f"{info.fps:g}" if info.fps else "-",
        )
    if (more := len(clips) - MOST_CLIPS) > 0:
        table.add_row(f"and {more:,} more")
    show_table(messages, table)
    split, model = plan.split, plan.config.model
    messages.print(
        f"windows of {plan.config.data.context_length} + {split.shape.horizon} frames spanning "
        f"{split.shape.span}: {len(split.train)} to train on, {len(split.validation)} held out "
        f"({HELD_OUT_BY[split.mode]}; {len(plan.validation)} scored after each epoch)"
    )
    messages.print(
        f"{model.name}, batches of {counted(plan.batch_size, 'crop')} of {plan.crop[0]} x "
        f"{plan.crop[1]}, {counted(plan.steps_per_epoch, 'step')} per epoch"
    )
    show_notes(_plan_notes(plan))


def _plan_notes(plan: Plan) -> list[str]:
    notes = []
    if plan.config.model.traits.tied_to_size:
        notes.append(
            f"{plan.config.model.name} works at frames of {plan.config.data.resize} only, trained "
            "on whole; clips of other sizes are resized to it when predicted"
        )
    if plan.config.train.weights != PRETRAINED:
        notes.append(f"starts from the weights of {plan.config.train.weights}")
    notes += plan.notes
    if plan.split.unused:
        names = [plan.infos[number].name for number in plan.split.unused]
        notes.append(f"too short for a window, not used: {listed(names)}")
    # Last, since there may be thousands
    return [*notes, *(note for info in plan.infos for note in info.notes)]


def show_dry_run(measured: DryRun) -> None:
    """Print what one batch of a dry run took."""
    peak = "unknown" if measured.peak_bytes is None else show_bytes(measured.peak_bytes)
    messages.print(
        f"dry run on {measured.device}: {measured.parameters:,} parameters, one batch has loss "
        f"{measured.loss:.5f}, {measured.step_seconds:.2f} s per step, about "
        f"{measured.epoch_seconds:.0f} s per epoch, peak memory {peak}; nothing was written"
    )


def show_start(start: Started) -> None:
    """Print what is trained, and where and how it computes."""
    how = start.precision or "float32 or bfloat16, whichever the first steps show to be faster"
    messages.print(f"training {counted(start.parameters, 'parameter')} on {start.device} in {how}")


def show_precision(found: PrecisionChosen) -> None:
    """Print which precision the first steps have shown to be faster."""
    steps = ", ".join(f"{name} {seconds:.2g} s" for name, seconds in found.seconds.items())
    messages.print(f"going on in {found.precision} (a step takes: {steps})")


def show_epoch(epoch: EpochDone) -> None:
    """Print an epoch in one line of at most 80 columns, with a header before the first."""
    begins = epoch.train_loss is None  # a state before the first step
    if begins and epoch.stage != "fitted":
        messages.print(
            f"held-out MSE x 1000: last frame {1000 * epoch.persistence_mse:.3f}, "
            f"optical flow {1000 * epoch.flow_mse:.3f}"
        )
        if epoch.persistence_mse == 0:
            show_notes(["nothing changes in the held-out frames, so there is nothing to predict"])
        messages.print("epoch    step   minutes     loss   held-out MSE   against the better")
    if begins:
        spent = f"{epoch.minutes:7.1f} {epoch.stage or '-':>10}"
    else:
        spent = f"{epoch.minutes:9.1f} {epoch.train_loss:>8.5f}"
    # The one to beat: a model between the two has learnt nothing of use
    better = min(epoch.persistence_mse, epoch.flow_mse)
    messages.print(
        f"{epoch.epoch:5d} {epoch.step:7d} {spent}  "
        f"{1000 * epoch.validation_mse:13.3f}   "
        f"{compared(epoch.validation_mse, better):<18}{'  best' if epoch.improved else ''}".rstrip()
    )


def compared(error: float, reference: float) -> str:
    """Compare an error with another in words: `equal`, `4.2 % lower`, `16 times as high`."""
    if reference == 0:
        return "equal" if error == 0 else "above its zero"
    ratio = error / reference
    if abs(1 - ratio) < 0.0005:  # what would be printed as 0.0 %
        return "equal"
    if ratio >= 2:  # where a percentage would be hard to read
        return f"{ratio:.1f} times as high" if ratio < 10 else f"{ratio:,.0f} times as high"
    return f"{abs(1 - ratio):.1%} {'lower' if ratio < 1 else 'higher'}".replace("%", " %")


def show_outcome(outcome: Outcome, quiet: bool) -> None:
    """Print the paths to stdout; unless quiet, the held-out errors before them."""
    if not quiet:
        _show_scores(outcome.result)
    show_notes(outcome.notes)
    for path in (outcome.run.best, outcome.run.preview):
        show_result(str(path))


def _stages(result: TrainingResult) -> str:
    """Say which stage of the run is kept, and what each has gained over the first."""
    (first, reference), *others = result.stage_mse.items()
    gains = [f"{first} {1000 * reference:.3f}"]
    gains += [f"{stage} {1000 * mse:.3f} ({compared(mse, reference)})" for stage, mse in others]
    return f"kept: {result.kept}; held-out MSE x 1000 of each stage: {', '.join(gains)}"


def _kept_start(result: TrainingResult) -> str:
    """Say why the model is as it was before its first step."""
    if result.steps == 0:
        return "the budget held no step of fine-tuning, so the start is kept"
    start = sum(result.validation_mse_T) / len(result.validation_mse_T)
    stage = TRAINED if START in result.stage_mse else FINE_TUNED
    if result.stage_mse.get(stage, start) < start:
        return (
            f"the {stage} model is less than 1 % better than its start on held-out frames, "
            "which may be chance, so the start is kept"
        )
    return f"the {stage} model did not beat its start on held-out frames, so the start is kept"


def _show_scores(result: TrainingResult) -> None:
    """Print the held-out errors per lead time, next to the baselines', and how they compare."""
    # Not as the table's title, which would be broken to its width.
    messages.print(f"held-out MSE x 1000 (frames in 0..1), best epoch {result.epoch}")
    table = open_table("lead", "framecast", "last frame", "optical flow", left=0)
    columns = (result.validation_mse_T, result.persistence_mse_T, result.flow_mse_T)
    for lead, row in enumerate(zip(*columns, strict=True), start=1):
        table.add_row(str(lead), *(f"{1000 * error:.3f}" for error in row))
    # Means over lead times, as the epoch lines above have them
    model, *baselines = (sum(errors) / len(errors) for errors in columns)
    table.add_section()
    table.add_row("mean", *(f"{1000 * mean:.3f}" for mean in (model, *baselines)))
    show_table(messages, table)
    spent = f"{counted(result.steps, 'step')}, {counted(round(result.minutes, 1), 'minute')}"
    messages.print(f"stopped after {spent}: {result.reason}")
    if result.epoch == 0:
        messages.print(_kept_start(result))
    if result.stage_mse:  # a resumed run of an earlier framecast noted none
        messages.print(_stages(result))
    for name, mean in zip(("the last frame repeated", "optical flow"), baselines, strict=True):
        messages.print(f"held-out error compared with {name}: {compared(model, mean)}")
