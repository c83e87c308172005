"""One frame in, one forecast out: a clip, standard input or a camera followed as it goes on.

What is carried from frame to frame is the newest `data.context_length` frames, on which the network
starts afresh each time: a forecast is the one that `predict` makes of that context, of the length
the network was trained with. Recurrent states carried on for longer drift away from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from framecast.errors import InterruptedRunError, SourceError
from framecast.prediction.loaded_forecaster import LoadedForecaster
from framecast.prediction.predict_clip import PredictionRequest, model_notes, open_clip
from framecast.runtime.interrupts import interrupts
from framecast.video.frame_size import parse_size
from framecast.video.readers.live import Feed, is_live, open_live
from framecast.video.writers.open import DEFAULT_FPS, open_writer


def nowcast(
    forecaster: LoadedForecaster, frames_THWC: Iterable[np.ndarray], horizon: int = 1
) -> Iterator[np.ndarray]:
    """After each frame (H, W, C) but the first, yield the forecast (H, W, C) `horizon` steps ahead.

    A step is the model's `data.frame_step`, of which a forecast needs one before it: so many frames
    at the start have none. Until `data.context_length` steps have come, those that have are the
    context; what lies before a cut to another scene is not. Holds little more than one context,
    however many frames there are.
    """
    from framecast.video.scene_detection import NEIGHBOURS, newest_scene  # noqa: PLC0415  (slow to load)

    data = forecaster.config.data
    span = (data.context_length - 1) * data.frame_step + 1
    newest: deque[np.ndarray] = deque(maxlen=span + NEIGHBOURS)
    for frame_HWC in frames_THWC:
        newest.append(frame_HWC)
        last = len(newest) - 1
        steps = min(data.context_length - 1, last // data.frame_step)
        if steps < min(1, data.context_length - 1):
            continue
        first = last - steps * data.frame_step
        scene = newest_scene(newest, first) if data.scene_cuts else first
        context = [newest[i] for i in range(first, last + 1, data.frame_step) if i >= scene]
        (forecast_HWC,) = deque(forecaster.stream(np.stack(context), horizon), maxlen=1)
        yield forecast_HWC


def nowcast_file(
    forecaster: LoadedForecaster,
    source: Path,
    target: str | Path,
    request: PredictionRequest,
    overwrite: bool = False,
    on_frame: Callable[[str, int | None], None] = lambda name, total: None,
) -> tuple[str, ...]:
    """Write the forecasts of a stream as they are made and return what is worth noting.

    The first Ctrl-C ends it, as does a frame that cannot be read: what was forecast before is kept
    as a whole file. That is how a live source is meant to end; of a clip it is an
    InterruptedRunError. Else raises what reading, predicting and writing raise.
    """
    feed, problem = open_feed(forecaster, source, request), None
    fps = request.fps if request.fps is not None else feed.fps or DEFAULT_FPS
    with Stop().listening() as stop, open_writer(target, fps=fps, overwrite=overwrite) as writer:
        try:
            for frame_HWC in nowcast(forecaster, stop.before(feed.frames), request.horizon or 1):
                writer.write(frame_HWC)
                on_frame(feed.name, feed.total)
        except SourceError as error:
            problem = error
        if writer.frames == 0:
            raise problem or _nothing(feed.name, stop.requested)
    if problem is not None:
        raise SourceError(
            f"{problem.message}; {target} holds the {writer.frames} forecasts made before",
            remedy=problem.remedy,
        ) from problem
    if stop.requested and not is_live(str(source)):
        raise InterruptedRunError(
            f"interrupted; {target} holds the {writer.frames} forecasts made before"
        )
    return (*feed.notes, *_notes(feed, request, forecaster), *writer.notes)


def open_feed(forecaster: LoadedForecaster, source: Path, request: PredictionRequest) -> Feed:
    """Open a clip, standard input or a camera as a feed of frames that the model can work on.

    Raises what `open_clip` and `open_live` raise, ConfigError for a size that is none.
    """
    if is_live(str(source)):
        size = request.size and parse_size(request.size, "--size: expected HEIGHTxWIDTH")
        return open_live(str(source), forecaster.channels, size or None)
    clip = open_clip(forecaster, source, request)
    info, start = clip.info, request.start or 0
    if start >= info.frames:
        raise SourceError(
            f"{info.path}: has {info.frames} frames, --start is {start}",
            remedy="use an earlier --start",
        )
    notes = (*info.notes, *model_notes(forecaster, info))
    return Feed(source.name, clip.read(start), info.fps, info.frames - start, notes)


class Stop:
    """Takes the first Ctrl-C or SIGTERM as the wish to end a stream, without tearing a frame.

    It ends the wait for a frame at once, but what is being computed or written is finished. A
    second one raises KeyboardInterrupt. Does nothing outside the main thread.
    """

    def __init__(self) -> None:
        self.requested = False
        self._waiting = False

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Catch the signals while inside."""
        with interrupts(tell=self._receive):
            yield self

    def before(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the frames that come before the wish to end."""
        while not self.requested:
            try:
                self._waiting = True
                frame = next(frames, None)
            except KeyboardInterrupt:
                if not self.requested:
                    raise
                return
            finally:
                self._waiting = False
            if frame is None:
                return
            yield frame

    def _receive(self) -> None:
        self.requested = True
        if self._waiting:
            raise KeyboardInterrupt


def _nothing(name: str, interrupted: bool) -> SourceError | InterruptedRunError:
    if interrupted:
        return InterruptedRunError("interrupted before the first forecast")
    return SourceError(
        f"{name}: ends before a forecast can be made", remedy="send two frames or more"
    )


def _notes(feed: Feed, request: PredictionRequest, forecaster: LoadedForecaster) -> Iterator[str]:
    trained = int(forecaster.config.data.horizon)
    if feed.fps is None and request.fps is None:
        yield f"{feed.name} knows no frame rate: {DEFAULT_FPS:g} per second, or give --fps"
    if (request.horizon or 1) > trained:
        yield f"horizon {request.horizon} goes beyond the {trained} frames the model was trained on"
