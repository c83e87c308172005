"""Frames from standard input and cameras: every kind, each as soon as it is sent, damage named."""

import io
import itertools
import os
import re
import socket
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from framecast.errors import CorruptSourceError, SourceError, UsageError
from framecast.video.readers import live
from framecast.video.readers.live import is_live, live_name, open_live
from framecast.video.readers.open import open_source
from tests.support import rtsp
from tests.support.media import encoded, read_all, smooth_clip, write_video

T, H, W = 4, 7, 10


def clip(*shape, dtype=np.uint8, seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.fixture
def send(monkeypatch):
    """Put bytes on standard input, through a real pipe."""

    def put(data, *, closed=True):
        reading, writing = os.pipe()
        os.write(writing, data)
        monkeypatch.setattr("sys.stdin", open(reading, encoding="latin-1"))  # noqa: SIM115, PTH123
        if closed:
            os.close(writing)
        return writing

    return put


def received(channels, size=None):
    return np.stack(list(open_live("-", channels, size).frames))


@pytest.mark.parametrize("kind", ["png", "pnm"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_one_after_another_arrive_exactly(send, kind, dtype, channels):
    frames = clip(T, H, W, dtype=dtype) if channels == 1 else clip(T, H, W, 3, dtype=dtype)
    send(b"".join(encoded(frame, kind) for frame in frames))
    found = received(channels)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, frames.reshape(T, H, W, channels))


def test_chunks_as_long_as_the_limit_are_taken_and_longer_ones_are_damage(send, monkeypatch):
    picture = clip(H, W)
    data = encoded(picture, "png")
    at = data.find(b"IDAT")
    longest = int.from_bytes(data[at - 4 : at], "big") + 4  # and its checksum
    monkeypatch.setattr("framecast.video.readers.live.IMAGE_LIMIT", longest)
    send(data)
    np.testing.assert_array_equal(received(1)[0, ..., 0], picture)
    monkeypatch.setattr("framecast.video.readers.live.IMAGE_LIMIT", longest - 1)
    send(data)
    with pytest.raises(SourceError, match="it is damaged"):
        received(1)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_jpegs_are_told_apart_and_decoded_as_pillow_does(send, options):
    files = []
    for frame in clip(T, 40, 56, 3):  # noise: many 0xFF bytes in the compressed pixels
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "jpeg", quality=98, **options)
        files.append(file.getvalue())
    send(b"".join(files))
    expected = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    assert np.abs(received(3).astype(int) - expected).max() <= 4  # two decoders


def test_fill_bytes_before_a_marker_are_passed_over(send):
    file = encoded(clip(H, W), "jpeg")
    send((file[:-2] + b"\xff\xff" + file[-2:]) * 2)
    assert len(received(1)) == 2


def test_pnm_headers_may_hold_comments(send):
    pixels = clip(H, W)
    header = b"P5 # made by hand\n%d # columns\n%d\n255\n" % (W, H)
    send((header + pixels.tobytes()) * 2)
    np.testing.assert_array_equal(received(1)[1, :, :, 0], pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_raw_frames_of_a_size_that_is_told(send, channels):
    frames = clip(T, H, W, channels)
    send(frames.tobytes())
    np.testing.assert_array_equal(received(channels, (H, W)), frames)


def test_a_frame_is_there_before_the_next_is_sent(send):
    frames = clip(3, H, W)
    writing = send(encoded(frames[0], "png"), closed=False)
    feed = open_live("-", 1).frames
    for number, kind in ((1, "jpeg"), (2, "pnm")):
        assert next(feed).shape == (H, W, 1)
        os.write(writing, encoded(frames[number], kind))
    assert next(feed)[:, :, 0].tolist() == frames[2].tolist()
    os.close(writing)
    assert next(feed, None) is None


def test_frames_take_the_models_channels_and_the_first_ones_depth(send):
    grey, color = clip(H, W), clip(H, W, 3)
    send(encoded(grey, "png") + encoded(color, "png") + encoded(clip(H, W, dtype=np.uint16), "png"))
    found = received(3)
    assert (found.shape, found.dtype) == ((3, H, W, 3), np.uint8)
    np.testing.assert_array_equal(found[0], np.repeat(grey[:, :, None], 3, axis=2))
    send(encoded(color, "png"))
    luma = color @ np.array([0.299, 0.587, 0.114])
    assert np.abs(received(1)[0, :, :, 0] - luma).max() <= 1


PNG, JPEG = encoded(clip(H, W), "png"), encoded(clip(H, W), "jpeg")
CHUNK = struct.pack(">I", 2**31) + b"IDAT"
BAD_PIXELS = PNG[:41] + bytes(len(PNG) - 57) + PNG[-16:]


@pytest.mark.parametrize(
    ("data", "size", "words"),
    [
        (PNG + PNG[:-3], None, "frame 1 cannot be read (the stream ends in it)"),
        (PNG + JPEG[:-1], None, "frame 1 cannot be read (the stream ends in it)"),
        (JPEG + b"P5 10", None, "frame 1 cannot be read (the stream ends in it)"),
        (PNG[:8] + CHUNK + PNG, None, "frame 0 cannot be read (it is damaged)"),
        (JPEG[:2] + b"no marker", None, "frame 0 cannot be read (it is damaged)"),
        (b"P5" + b" " * 2000, None, "frame 0 cannot be read (the stream ends in it)"),
        (b"P5 x 3 255 ", None, "frame 0 cannot be read (it is damaged)"),
        (BAD_PIXELS, None, "frame 0 cannot be read (broken data stream"),
        (bytes(H * W + 3), (H, W), f"ends after 3 of the {H * W} bytes of frame 1"),
    ],
)
def test_a_stream_that_breaks_off_says_where(send, data, size, words):
    send(data)
    with pytest.raises(CorruptSourceError) as caught:
        received(1, size)
    assert words in str(caught.value)
    assert "; " in str(caught.value)


def test_other_things_on_standard_input_are_refused(send):
    send(PNG + b"GIF89a and so on")
    with pytest.raises(SourceError, match=r"frame 1 is no PNG, JPEG or PNM image; .*--size"):
        received(1)
    send(PNG + encoded(clip(H + 1, W), "png"))
    with pytest.raises(SourceError, match="frame 1 is 8x10 where the first is 7x10"):
        received(1)


def test_a_terminal_is_no_stream(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(UsageError, match="standard input is a terminal; send it frames"):
        open_live("-", 1)


class Camera:
    """Stands in for cv2.VideoCapture: gives the blue-green-red pictures put into it."""

    pictures, fps, opened = (), 30.0, True

    def __init__(self, number):
        self.number, self.rest, self.released = number, list(self.pictures), False
        Camera.last = self

    def isOpened(self):  # noqa: N802
        return self.opened

    def set(self, *setting):
        self.settings = setting

    def get(self, _):
        return self.fps

    def read(self):
        return (True, self.rest.pop(0)) if self.rest else (False, None)

    def release(self):
        self.released = True


def test_a_camera_gives_its_pictures_until_it_stops(monkeypatch):
    frames = clip(2, H, W, 3)
    monkeypatch.setattr(Camera, "pictures", frames[..., ::-1])
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    feed = open_live("camera:3", 3)
    assert (Camera.last.number, feed.name, feed.fps, feed.total) == (3, "camera:3", 30.0, None)
    assert Camera.last.settings == (cv2.CAP_PROP_BUFFERSIZE, 1)
    np.testing.assert_array_equal([next(feed.frames), next(feed.frames)], frames)
    with pytest.raises(SourceError, match="camera:3: gives no picture 2; check"):
        next(feed.frames)
    assert Camera.last.released
    monkeypatch.setattr(Camera, "fps", 0.0)
    assert open_live("camera:0", 1).fps is None


def test_a_camera_that_is_not_there(monkeypatch, capfd):
    with pytest.raises(SourceError, match="camera:97: there is no such camera"):
        open_live("camera:97", 1)
    assert capfd.readouterr().err == ""
    with pytest.raises(UsageError, match=r"camera:front: cameras have numbers; .*camera:0"):
        open_live("camera:front", 1)


def test_names_of_live_sources():
    assert [is_live(name) for name in ("-", "camera:0", "-.mp4", "./camera:0", "a")] == [
        *(True, True, False, False, False)
    ]
    assert (live_name("-"), live_name("camera:12")) == ("stdin", "camera-12")


@pytest.fixture
def server(tmp_path):
    """A web server on this machine; gives the address of the folder that it serves."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


@pytest.mark.parametrize("slashes", ["//", "/"])
def test_a_stream_from_the_network(server, tmp_path, slashes):
    frames = smooth_clip(8, 32, 48)
    write_video(tmp_path / "a.mp4", frames)
    url = f"{server}/a.mp4".replace("//", slashes)
    assert is_live(url)
    assert re.fullmatch(r"127\.0\.0\.1-[0-9]+-a\.mp4", live_name(url))
    feed = open_live(url, 3)
    assert feed.fps == 12.5
    found = np.stack(list(feed.frames))
    np.testing.assert_array_equal(found, np.stack(list(open_source(tmp_path / "a.mp4").read())))


def test_a_camera_on_the_network(tmp_path):
    frames = smooth_clip(5, 32, 48)
    feed = open_live(rtsp.serve(frames), 3)
    assert feed.fps == 25
    compressed = read_all(open_source(write_video(tmp_path / "a.mp4", frames))).astype(int)
    for frame in itertools.islice(feed.frames, 7):  # more than the clip: it is sent again and again
        assert min(float(np.abs(frame - other).mean()) for other in compressed) < 2


def test_an_address_without_a_stream_says_so(server):
    with pytest.raises(SourceError, match=r"/none\.mp4: cannot be opened \(.*; check the address"):
        open_live(f"{server}/none.mp4", 3)


def test_an_address_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(live, "NETWORK_TIMEOUT", 0.5)
    said = r"cannot be opened \(nothing has come for 0\.5 seconds\); check the address"
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(SourceError, match=said),
    ):
        open_live(f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4", 3)
