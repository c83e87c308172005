"""A run as TensorBoard shows it: loss by step, held-out errors by epoch, settings, the preview."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from framecast.config.loading import Config, to_yaml
from framecast.training.events import EpochDone, Event, StepDone
from framecast.training.run_folder import RunWriter

FLUSHED = 10
"""Seconds after which a reader sees what was logged; TensorBoard itself reloads every 30."""


@contextmanager
def logged(
    emit: Callable[[Event], None], writer: RunWriter, config: Config
) -> Iterator[Callable[[Event], None]]:
    """Yield what to emit with: as given, and where the settings say so also logged in the run."""
    if not config.train.tensorboard:
        yield emit
        return
    log = TensorBoardLog(writer)

    def emit_and_log(event: Event) -> None:
        emit(event)
        log.add(event)

    try:
        yield emit_and_log
    finally:
        log.close(config)


class TensorBoardLog:
    """Events of a training in `tensorboard`, a folder inside the run's."""

    def __init__(self, writer: RunWriter) -> None:
        self.writer = writer
        self._waiting: list[StepDone | EpochDone] = []
        self._board = None

    def add(self, event: Event) -> None:
        """Log steps and epochs; other events are about the moment."""
        if isinstance(event, StepDone | EpochDone):
            self._waiting.append(event)
        # A new run has no folder before its first checkpoint.
        if self.writer.run is None:
            return
        for waiting in self._waiting:
            self._log(waiting)
        self._waiting.clear()

    def close(self, config: Config) -> None:
        """Add settings and preview, and write everything to disk."""
        if self._board is None:
            return
        # Markdown shows what is indented by four columns as it is.
        lines = "\n".join(f"    {line}" for line in to_yaml(config).splitlines())
        self._board.add_text("settings", lines)
        strip: Path = self.writer.run.strip
        if strip.is_file():
            self._board.add_image("preview", np.asarray(Image.open(strip)), dataformats="HWC")
        self._board.close()

    def _log(self, event: StepDone | EpochDone) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an extra)

            # A resumed run repeats the steps after its last checkpoint: the earlier ones go.
            folder = self.writer.run.path / "tensorboard"
            self._board = SummaryWriter(folder, purge_step=event.step, flush_secs=FLUSHED)
        add, step = self._board.add_scalar, event.step
        if isinstance(event, StepDone):
            add("loss/step", event.loss, step)
            return
        add("learning_rate", event.lr, step)
        if event.train_loss is not None:  # None: the state before the first step
            add("loss/epoch", event.train_loss, step)
        # In the unit of the tables, and under one heading, so that they share a chart's scale.
        add("mse_x1000/held_out", 1000 * event.validation_mse, step)
        add("mse_x1000/last_frame", 1000 * event.persistence_mse, step)
        add("mse_x1000/optical_flow", 1000 * event.flow_mse, step)
