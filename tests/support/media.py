"""Small clips written by the tests, and the result of reading one."""

import io
import struct
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from framecast.errors import SourceError
from framecast.video.readers.open import open_sources
from tests.support.textures import translating

T, C, H, W = 9, 3, 14, 22


def smooth_clip(frames=T, height=H, width=W):
    """Return moving colour (T, H, W, 3), smooth enough for a codec to keep it closely."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [
        [127 + 100 * np.sin(0.3 * rows + 0.2 * columns + 0.5 * t + c) for c in range(C)]
        for t in range(frames)
    ]
    return np.moveaxis(np.array(waves), 1, -1).astype(np.uint8)


def write_folder(folder, clip, pattern="frame{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(clip):
        Image.fromarray(frame).save(folder / pattern.format(number))
    return folder


def write_video(path, clip, codec="libx264", *, pixels="yuv420p", layout="rgb24"):
    """Encode at 12.5 fps with B-frames and a key frame every 4, which puts seeking to the test."""
    options = {"crf": "1", "bf": "2"} if codec == "libx264" else {}
    movflags = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    pictures = [av.VideoFrame.from_ndarray(frame, format=layout) for frame in clip]
    how = {"rate": Fraction(25, 2), "options": options, "gop_size": 4}
    return mux(path, pictures, codec, pixels, container=movflags, **how)


def mux(path, pictures, codec, pixels, *, rate=10, options=None, container=None, **settings):
    """Encode PyAV's pictures in a pixel format; `settings` are attributes of the encoder."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].height, pictures[0].width
        stream.pix_fmt = pixels
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for picture in pictures:
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return path


def read_with_opencv(path):
    """All frames of a video (T, H, W, 3), as OpenCV decodes them."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    capture.release()
    return np.stack(frames)


def read_with_pillow(path):
    """All frames of an animated picture (T, H, W, 3), as Pillow composes it, and their delays."""
    with Image.open(path) as image:
        pages = [
            (np.asarray(page.convert("RGB")), page.info["duration"])
            for page in ImageSequence.Iterator(image)
        ]
    return np.stack([pixels for pixels, _ in pages]), [delay for _, delay in pages]


def mp4_boxes(data):
    """Name -> (start, end) of the top-level boxes of an MP4's bytes, in their order."""
    found, position = {}, 0
    while position < len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        found[name.decode()] = (position, position + size)
        position += size
    return found


def read_all(source, *span):
    return np.stack(list(source.read(*span)))


def problem(path, error=SourceError, **settings):
    """Open and read everything; return the one line of its error or success."""
    with pytest.raises(error) as caught:
        for source in open_sources([path], **settings):
            for _ in source.read():
                pass
    assert caught.value.exit_code == 3
    text = str(caught.value)
    assert "\n" not in text
    assert "; " in text, "an error names a remedy"
    return text


SCENE_H, SCENE_W = 40, 64


def scene(frames, seed, velocity=(1.5, -0.5)):
    """A moving texture that no other clip has, (T, H, W, 1) in 0..255."""
    pixels = 255 * translating(frames, SCENE_H, SCENE_W, velocity, sigma=6, seed=seed)
    return pixels.numpy().astype(np.uint8)[..., None]


def joined(*lengths):
    return np.concatenate([scene(length, seed) for seed, length in enumerate(lengths, start=1)])


def encoded(frame, kind):
    """The frame as a file, written by Pillow; 16-bit PNG and PNM, which it cannot, by OpenCV."""
    if frame.dtype == np.uint16 or kind == "pnm":
        suffix = {"png": ".png", "pnm": ".pgm" if frame.ndim == 2 else ".ppm"}[kind]
        return cv2.imencode(suffix, frame if frame.ndim == 2 else frame[..., ::-1])[1].tobytes()
    file = io.BytesIO()
    Image.fromarray(frame).save(file, kind)
    return file.getvalue()
