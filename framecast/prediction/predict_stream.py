"""One frame in, one forecast out, as long as a clip, standard input or a camera continues.

The newest `data.context_length` frames are kept, and the network starts from them each time: each
forecast is the one that `predict` makes of this context, of the length the network was trained
with. Recurrent states carried on for longer would drift away from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from framecast.errors import InterruptedRunError, SourceError
from framecast.prediction.predict_clip import assumptions, model_notes, open_clip, shown_as
from framecast.prediction.request import PredictionRequest
from framecast.runtime.interrupts import interrupts
from framecast.runtime.text import counted
from framecast.video.frame_times import lead_label
from framecast.video.readers.live import Feed, is_live, open_live
from framecast.video.scene_detection import NEIGHBOURS, newest_scene
from framecast.video.writers.open import DEFAULT_FPS, open_writer

if TYPE_CHECKING:  # an exported model is predicted with without torch
    from framecast.prediction.frame_forecaster import FrameForecaster


def nowcast(
    forecaster: FrameForecaster,
    frames_THWC: Iterable[np.ndarray],
    horizon: int = 1,
    breaks: Container[int] = (),
) -> Iterator[np.ndarray]:
    """After each frame (H, W, C), yield the forecast (H, W, C) `horizon` steps ahead.

    A step is the model's `data.frame_step` frames. The first step's frames have no forecast, since
    a forecast needs two frames that far apart. Until a whole context has come, it is shorter, as it
    is after a cut to another scene and from each frame on that `breaks` names, before which some
    are missing. Holds little more than one context, however many frames come.
    """
    data = forecaster.config.data
    span = (data.context_length - 1) * data.frame_step + 1
    # Cuts are detected from the frames around them, so some from before the context are kept.
    newest: deque[np.ndarray] = deque(maxlen=span + NEIGHBOURS)
    needed = min(1, data.context_length - 1)  # a model of one context frame needs no step
    for number, frame_HWC in enumerate(frames_THWC):
        if number in breaks:
            newest.clear()
            needed = 0  # a clip's forecasts stay one a frame
        newest.append(frame_HWC)
        last = len(newest) - 1
        steps = min(data.context_length - 1, last // data.frame_step)
        if steps < needed:
            continue
        first = last - steps * data.frame_step
        scene = newest_scene(newest, first) if data.scene_cuts else first
        context = [newest[i] for i in range(first, last + 1, data.frame_step) if i >= scene]
        # Shorter lead times were the forecasts after earlier frames.
        (forecast_HWC,) = deque(forecaster.stream(np.stack(context), horizon), maxlen=1)
        yield forecast_HWC


def nowcast_file(
    forecaster: FrameForecaster,
    source: str | Path,
    targets: Sequence[str | Path],
    request: PredictionRequest,
    overwrite: bool = False,
    tell: Callable[[str, int, int | None], None] = lambda name, written, total: None,
) -> tuple[str, ...]:
    """Write the forecasts of a stream as they are made and return notes for the user.

    The first Ctrl-C ends it, as does a frame that cannot be read; earlier forecasts are kept as a
    whole file. Ctrl-C is how a live source is meant to end; for a clip it raises
    InterruptedRunError. Otherwise raises what reading, predicting and writing raise.
    """
    feed, problem = open_feed(forecaster, source, request), None
    horizon = request.horizon or 1
    fps = request.fps if request.fps is not None else feed.fps or DEFAULT_FPS
    made = 0
    with ExitStack() as stack:
        seen, signals = stack.enter_context(stoppable(feed.frames))
        writers = [
            stack.enter_context(open_writer(target, fps=fps, overwrite=overwrite, **feed.look))
            for target in targets
        ]
        try:
            frames = nowcast(forecaster, seen, horizon, feed.breaks)
            if request.paints:
                data = forecaster.config.data
                text = lead_label(horizon, request.model_step(data))
                frames = request.style(data).show(frames, repeat(text) if request.labels else None)
            for frame_HWC in frames:
                for writer in writers:
                    writer.write(frame_HWC)
                made += 1
                tell(feed.name, made, feed.total)
        except SourceError as error:
            problem = error  # raised once the writers have finished what came before
        if made == 0 and problem is None:
            if signals:
                raise InterruptedRunError("interrupted before the first forecast")
            problem = SourceError(
                f"{feed.name}: ends before a forecast can be made", remedy="send two frames or more"
            )
        if made == 0:
            raise problem
    target = " and ".join(map(str, targets))
    before = f"{target} holds the {counted(made, 'forecast')} made before"
    if problem is not None:
        raise SourceError(f"{problem.message}; {before}", remedy=problem.remedy) from problem
    if signals and not is_live(str(source)):
        raise InterruptedRunError(f"interrupted; {before}")
    assumed = assumptions(request, horizon, feed.name, feed.fps, forecaster.trained_horizon)
    return (*feed.notes, *assumed, *(note for writer in writers for note in writer.notes))


def open_feed(forecaster: FrameForecaster, source: Path, request: PredictionRequest) -> Feed:
    """Open a clip, standard input or a camera as a feed of frames that the model can work on.

    Raises what `open_clip` and `open_live` raise.
    """
    if is_live(str(source)):
        channels = {None: forecaster.channels, "gray": 1, "rgb": 3}[request.color]
        return open_live(str(source), channels, request.frame_size)
    clip = open_clip(forecaster, source, request)
    info, start = clip.info, request.start or 0
    if start >= info.frames:
        raise SourceError(
            f"{info.path}: has {counted(info.frames, 'frame')}, --start is {start}",
            remedy="use an earlier --start",
        )
    notes = (*info.notes, *model_notes(forecaster, info, request.horizon or 1))
    look = shown_as(clip, request)
    breaks = frozenset(number - start for number in info.breaks if number > start)
    left = info.frames - start
    return Feed(info.path.name, clip.read(start), info.fps, left, notes, look, breaks)


@contextmanager
def stoppable(frames: Iterator[np.ndarray]) -> Iterator[tuple[Iterator[np.ndarray], list[int]]]:
    """The frames up to the first signal that ends a command, and a list that has it from then on.

    It ends the wait for a frame at once, but a forecast being computed or written is finished. A
    second signal raises KeyboardInterrupt. Does nothing outside the main thread.
    """
    waiting = False

    def stop() -> None:
        if waiting:  # a camera or a pipe may not send another frame for hours
            raise KeyboardInterrupt

    def before() -> Iterator[np.ndarray]:
        nonlocal waiting
        while not signals:
            try:
                waiting = True
                frame = next(frames, None)
            except KeyboardInterrupt:
                if not signals:
                    raise
                return
            finally:
                waiting = False
            if frame is None:
                return
            yield frame

    with interrupts(tell=stop) as signals:
        yield before(), signals
