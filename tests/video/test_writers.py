"""Every file is read back by a reader that shares no code with the writer."""

from __future__ import annotations

import errno
import io
import resource
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from framecast.errors import OutputError, ResourceError, UsageError
from framecast.video.readers.open import open_source
from framecast.video.value_range import ValueRange
from framecast.video.writers.open import open_writer, write_frames
from framecast.video.writers.png import write_picture
from tests.support.media import mp4_boxes, read_with_opencv, read_with_pillow


def moving_waves(frames: int, height: int, width: int, channels: int, dtype=np.uint8) -> np.ndarray:
    """Smooth frames (T, H, W, C) whose channels all differ."""
    t, y, x, c = np.ogrid[:frames, :height, :width, :channels]
    unit = 0.5 + 0.25 * np.sin(x / 17 + t / 3 + 2 * c) + 0.25 * np.cos(y / 13 - c)
    return np.round(unit * np.iinfo(dtype).max).astype(dtype)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(int) - b.astype(int))


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def written(path: Path, frames: np.ndarray, **how):
    """The writer of frames that are written, with its path and notes."""
    with open_writer(path, **{"fps": 10, **how}) as writer:
        for frame in frames:
            writer.write(frame)
    return writer


@contextmanager
def limited_files(nbytes: int):
    """Let no file grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_gif_keeps_grey_pixels_exactly(tmp_path):
    frames = np.random.default_rng(1).integers(0, 256, (5, 75, 101, 1), dtype=np.uint8)
    path = write_frames(tmp_path / "grey.gif", frames, fps=10)
    pixels, durations = read_with_pillow(path)
    assert np.array_equal(pixels, np.repeat(frames, 3, axis=3))
    assert durations == [100] * 5
    with Image.open(path) as image:
        assert image.info["loop"] == 0
    assert entries(tmp_path) == ["grey.gif"]


def test_gif_keeps_a_few_colours_and_dithers_many(tmp_path):
    palette = np.random.default_rng(2).integers(0, 256, (200, 3), dtype=np.uint8)
    few = palette[np.random.default_rng(3).integers(0, 200, (4, 75, 101))]
    many = moving_waves(4, 75, 101, 3)
    for name, order in (("few", [few]), ("both", [few, many]), ("many", [many])):
        frames = np.stack(order, axis=1).reshape(-1, 75, 101, 3)
        pixels, _ = read_with_pillow(write_frames(tmp_path / f"{name}.gif", frames, fps=10))
        apart = difference(pixels, frames).reshape(4, len(order), -1)
        for number, clip in enumerate(order):
            assert apart[:, number].max() <= 1 if clip is few else apart[:, number].mean() < 8
        # Dithering errs at single pixels, and nearly not at all over areas.
        local = [[cv2.blur(frame, (5, 5)) for frame in clip] for clip in (pixels, frames)]
        assert difference(np.stack(local[0]), np.stack(local[1])).mean() < 2


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_keeps_identical_consecutive_frames(tmp_path, channels):
    waves = moving_waves(3, 30, 41, channels)
    frames = waves[[0, 0, 0, 1, 1, 2, 2, 2]]
    pixels, durations = read_with_pillow(write_frames(tmp_path / "held.gif", frames, fps=5))
    assert len(pixels) == 8
    assert durations == [200] * 8
    assert difference(pixels, np.broadcast_to(frames, pixels.shape)).mean() < 8
    assert np.array_equal(pixels[5], pixels[7])
    assert not np.array_equal(pixels[4], pixels[5])


def test_gif_of_one_colour_frame_and_of_constant_frames(tmp_path):
    one = write_frames(tmp_path / "one.gif", moving_waves(1, 7, 8, 3), fps=5)
    assert Image.open(one).n_frames == 1
    constant = write_frames(tmp_path / "flat.gif", np.full((6, 7, 8, 3), 90, np.uint8), fps=5)
    pixels, _ = read_with_pillow(constant)
    assert pixels.shape == (6, 7, 8, 3)
    assert difference(pixels, np.array(90)).max() <= 1


def test_gif_delays_do_not_drift(tmp_path):
    frames = moving_waves(25, 9, 11, 1)
    writer = written(tmp_path / "twelve.gif", frames, fps=12)
    _, durations = read_with_pillow(writer.path)
    assert set(durations) == {80, 90}
    assert abs(sum(durations) - 25_000 / 12) <= 10
    assert writer.notes == []


def test_gif_faster_than_browsers_play_is_slowed_with_a_note(tmp_path):
    writer = written(tmp_path / "fast.gif", moving_waves(4, 9, 11, 1), fps=120)
    assert read_with_pillow(writer.path)[1] == [20] * 4
    assert writer.notes == ["a GIF plays at most 50 frames/s: slowed from 120"]


@pytest.mark.parametrize("name", ["a WebP", "an APNG"])
def test_no_delay_is_one_that_browsers_take_for_a_tenth_of_a_second(tmp_path, name):
    suffix = name.split()[1].lower()
    writer = written(tmp_path / f"fast.{suffix}", moving_waves(19, 9, 11, 1), fps=120)
    assert min(read_with_pillow(writer.path)[1]) > 10
    assert open_source(writer.path).info.fps == pytest.approx(90, 1e-3)
    assert writer.notes == [f"{name} plays at most 90 frames/s: slowed from 120"]
    exact = written(tmp_path / f"exact.{suffix}", moving_waves(19, 9, 11, 1), fps=90)
    assert exact.notes == []


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "h264"), ("clip.webm", "vp9")])
def test_videos_keep_count_rate_and_pixels(tmp_path, name, codec, channels):
    frames = moving_waves(20, 76, 102, channels)
    path = write_frames(tmp_path / name, frames, fps=30000 / 1001)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec.canonical_name == codec
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == Fraction(30000, 1001)
    pixels = read_with_opencv(path)
    assert pixels.shape == (20, 76, 102, 3)
    error = difference(pixels, np.broadcast_to(frames, pixels.shape))
    assert error.mean() < 2.5
    assert error.max() < 25
    assert entries(tmp_path) == [name]


def test_an_mp4_says_how_many_frames_it_has_before_they_come(tmp_path):
    path = write_frames(tmp_path / "clip.mp4", moving_waves(20, 76, 102, 1), fps=10)
    order = [*mp4_boxes(path.read_bytes())]
    assert order.index("moov") < order.index("mdat")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 20


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (220, 30, 40), (20, 90, 230)])
@pytest.mark.parametrize("name", ["flat.mp4", "flat.webm"])
def test_videos_keep_flat_colours(tmp_path, name, colour):
    frames = np.tile(np.array(colour, np.uint8), (3, 16, 32, 1))
    path = write_frames(tmp_path / name, frames, fps=12.5)
    assert difference(read_with_opencv(path), frames).max() <= 4
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert difference(frame.to_ndarray(format="rgb24"), frames[0]).max() <= 4
        assert container.streams.video[0].average_rate == Fraction(25, 2)


@pytest.mark.parametrize(("name", "codec"), [("odd.mp4", "H.264"), ("odd.webm", "VP9")])
def test_videos_pad_odd_sizes_by_edge_pixels_with_a_note(tmp_path, name, codec):
    frames = moving_waves(6, 75, 101, 1)
    writer = written(tmp_path / name, frames)
    assert writer.notes == [f"{codec} needs even sizes: padded to 76 x 102 (H x W)"]
    pixels = read_with_opencv(writer.path)
    assert pixels.shape == (6, 76, 102, 3)
    expected = np.pad(frames, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    assert difference(pixels, expected).mean() < 1.5
    assert difference(pixels[:, 75], expected[:, 74]).mean() < 3


@pytest.mark.parametrize("name", ["slow.mp4", "slow.webm"])
def test_videos_of_tiny_frames_at_one_frame_in_five_minutes(tmp_path, name):
    path = write_frames(tmp_path / name, moving_waves(3, 7, 5, 3), fps=1 / 300)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == Fraction(1, 300)
        assert len(list(container.decode(video=0))) == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_folder_and_npy_keep_every_bit(tmp_path, dtype, channels):
    frames = moving_waves(4, 7, 8, channels, dtype)
    folder = write_frames(tmp_path / "frames", frames, fps=10)
    assert entries(folder) == [f"frame_000{i}.png" for i in range(4)]
    for path, frame in zip(sorted(folder.iterdir()), frames, strict=True):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert pixels.dtype == dtype
        assert np.array_equal(pixels.reshape(7, 8, channels)[..., ::-1], frame)
    array = np.load(write_frames(tmp_path / "frames.npy", frames, fps=10), mmap_mode="r")
    assert array.dtype == dtype
    assert np.array_equal(array, frames)
    assert entries(tmp_path) == ["frames", "frames.npy"]


def test_npy_header_grows_with_the_number_of_frames(tmp_path):
    frames = np.arange(12_345, dtype=np.uint8).reshape(-1, 1, 1, 1)
    assert np.array_equal(np.load(write_frames(tmp_path / "n.npy", frames, fps=1)), frames)


def test_frames_that_are_views_are_written_as_they_look(tmp_path):
    frames = moving_waves(3, 8, 7, 3)[:, ::-1, ::-1]
    array = np.load(write_frames(tmp_path / "a.npy", frames, fps=1))
    assert np.array_equal(array, frames)
    pixels = cv2.imread(str(write_frames(tmp_path / "a", frames, fps=1) / "frame_0002.png"))
    assert np.array_equal(pixels[..., ::-1], frames[2])


@pytest.mark.parametrize("name", ["deep.GIF", "deep.MP4", "deep.WebM", "deep.WebP"])
def test_sixteen_bits_are_scaled_with_a_note(tmp_path, name):
    frames = np.full((3, 8, 12, 1), 40_000, np.uint16)
    writer = written(tmp_path / name, frames)
    kind = name[5:]
    assert writer.notes == [f"{kind} holds 8 bits: the 16-bit frames were scaled down"]
    animated = kind in ("GIF", "WebP")
    pixels = read_with_pillow(writer.path)[0] if animated else read_with_opencv(writer.path)
    assert difference(pixels, np.array(round(40_000 * 255 / 65535))).max() <= (not animated)


TARGETS = ["out.gif", "out.mp4", "out.webm", "out.webp", "out.apng", "out.npy", "out.tif", "out"]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_writer_leaves_nothing_behind(tmp_path, name, stop):
    frames = moving_waves(5, 16, 18, 3)
    with pytest.raises(stop), open_writer(tmp_path / name, fps=10) as writer:
        for frame in frames:
            writer.write(frame)
        assert name not in entries(tmp_path)
        raise stop
    assert entries(tmp_path) == []


@pytest.mark.parametrize("name", TARGETS)
def test_an_earlier_result_survives_an_interruption_and_a_plain_second_run(tmp_path, name):
    frames = moving_waves(5, 16, 18, 3)
    target = write_frames(tmp_path / name, frames, fps=10)

    def content() -> list[bytes]:
        return [p.read_bytes() for p in sorted([target, *target.rglob("*")]) if p.is_file()]

    before = content()
    with pytest.raises(RuntimeError), open_writer(target, fps=10, overwrite=True) as writer:
        writer.write(frames[3])
        raise RuntimeError
    with pytest.raises(OutputError, match="exists already; choose another name"):
        open_writer(target, fps=10)
    assert content() == before
    assert entries(tmp_path) == [name]


@pytest.mark.parametrize("name", TARGETS)
def test_overwriting_replaces_the_whole_earlier_result(tmp_path, name):
    write_frames(tmp_path / name, moving_waves(5, 16, 18, 3), fps=10)
    frames = moving_waves(2, 7, 8, 1)
    target = write_frames(tmp_path / name, frames, fps=10, overwrite=True)
    read = {
        ".gif": lambda: read_with_pillow(target)[0],
        ".mp4": lambda: read_with_opencv(target),
        ".webm": lambda: read_with_opencv(target),
        ".npy": lambda: np.load(target),
        ".webp": lambda: read_with_pillow(target)[0],
        ".apng": lambda: read_with_pillow(target)[0],
        ".tif": lambda: tifffile.imread(target),
        "": lambda: np.stack([cv2.imread(str(p)) for p in sorted(target.iterdir())]),
    }
    assert len(read[target.suffix]()) == 2
    assert entries(tmp_path) == [name]


def test_a_target_that_appears_while_writing_is_kept(tmp_path):
    frames = moving_waves(2, 7, 8, 1)
    with (
        pytest.raises(OutputError, match="exists already"),
        open_writer(tmp_path / "a.npy", fps=1) as writer,
    ):
        writer.write(frames[0])
        (tmp_path / "a.npy").write_text("of someone else")
    assert (tmp_path / "a.npy").read_text() == "of someone else"
    assert entries(tmp_path) == ["a.npy"]


def test_an_earlier_folder_comes_back_when_the_exchange_fails(tmp_path, monkeypatch):
    folder = write_frames(tmp_path / "frames", moving_waves(5, 7, 8, 1), fps=1)
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.parent.name == "new" and self.name == "frames":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OutputError, match=r"cannot write the PNG folder \(Input/output error\)"):
        write_frames(folder, moving_waves(2, 7, 8, 1), fps=1, overwrite=True)
    assert len(entries(folder)) == 5
    assert entries(tmp_path) == ["frames"]


def test_a_folder_with_anything_else_in_it_is_never_overwritten(tmp_path):
    frames = moving_waves(2, 7, 8, 1)
    folder = write_frames(tmp_path / "frames", frames, fps=1)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds notes\.txt, which is no frame of framecast"):
        open_writer(folder, fps=1, overwrite=True)
    assert entries(folder) == ["frame_0000.png", "frame_0001.png", "notes.txt"]


def test_an_empty_folder_and_a_trailing_slash_take_png_frames(tmp_path):
    (tmp_path / "empty").mkdir()
    frames = moving_waves(2, 7, 8, 1)
    assert len(entries(write_frames(tmp_path / "empty", frames, fps=1))) == 2
    assert len(entries(write_frames(f"{tmp_path}/v1.5/", frames, fps=1))) == 2
    assert entries(tmp_path) == ["empty", "v1.5"]


@pytest.mark.parametrize(
    ("name", "fps", "kind", "text"),
    [
        (
            "out.avi",
            10,
            UsageError,
            "cannot write .avi files; use .gif, .mp4, .webm, .webp,",
        ),
        ("out.png", 10, UsageError, "end the path in / for a folder of PNG frames"),
        ("missing/out.gif", 10, OutputError, "there is no folder"),
        ("folder.gif", 10, OutputError, "folder.gif is a folder, a GIF is one file"),
        ("file", 10, OutputError, "file is a file, PNG frames need a folder"),
        ("out.gif", 0, UsageError, "a frame rate of 0.002 to 1000 per second, got 0; set it"),
        ("out.gif", 0.001, UsageError, "got 0.001"),
        ("out.mp4", 1001, UsageError, "got 1001"),
        ("out.gif", float("nan"), UsageError, "got nan"),
        ("out.gif", float("inf"), UsageError, "got inf"),
    ],
)
def test_wrong_targets_are_refused_before_any_frame(tmp_path, name, fps, kind, text):
    (tmp_path / "folder.gif").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(kind) as raised:
        open_writer(tmp_path / name, fps=fps)
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)
    assert entries(tmp_path) == ["file", "folder.gif"]


def test_an_unwritable_folder_is_refused_before_any_frame():
    with pytest.raises(OutputError, match="cannot write in /proc"):
        open_writer("/proc/out.gif", fps=10)


@pytest.mark.parametrize("name", TARGETS)
def test_no_frames_make_no_file(tmp_path, name):
    with pytest.raises(OutputError, match="there was no frame to write"):
        write_frames(tmp_path / name, [], fps=10)
    assert entries(tmp_path) == []


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (np.zeros((7, 8), np.uint8), r"expected a frame \(H, W, 1 or 3\), got shape \(7, 8\)"),
        (np.zeros((7, 8, 4), np.uint8), r"got shape \(7, 8, 4\)"),
        (np.zeros((7, 8, 3), np.complex64), "expected real numbers, got complex64"),
        (np.zeros((8, 7, 3), np.uint8), r"frame 1 is \(\(8, 7, 3\)"),
        (np.zeros((7, 8, 3), np.uint16), r"frame 1 is .*uint16"),
    ],
)
def test_wrong_frames_are_refused(tmp_path, frame, text):
    with open_writer(tmp_path / "out.npy", fps=1) as writer:
        writer.write(np.zeros((7, 8, 3), np.uint8))
        with pytest.raises(ValueError, match=text):
            writer.write(frame)
    assert np.load(tmp_path / "out.npy").shape == (1, 7, 8, 3)


@pytest.mark.parametrize("name", TARGETS)
def test_a_file_that_cannot_grow_is_an_output_error(tmp_path, name):
    noise = np.random.default_rng(4).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    with limited_files(4096), pytest.raises(OutputError) as raised:
        write_frames(tmp_path / name, noise, fps=10)
    assert str(tmp_path / name) in str(raised.value)
    assert "File too large" in str(raised.value)
    assert entries(tmp_path) == []


def test_a_full_disk_is_a_resource_error(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ResourceError, match="the disk is full; free some space"):
        write_frames(tmp_path / "frames", moving_waves(2, 7, 8, 1), fps=1)
    assert entries(tmp_path) == []


@pytest.mark.parametrize("operation", ["write", "close"])
def test_a_disk_that_fills_up_under_an_npy_is_said_and_leaves_nothing(tmp_path, operation):
    class Full(io.BytesIO):
        """Closing flushes what was buffered, so that it can fail, too."""

    def refuse(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    setattr(Full, operation, refuse)
    with (
        pytest.raises(ResourceError, match="the disk is full; free some space"),
        open_writer(tmp_path / "out.npy", fps=10) as writer,
    ):
        writer.write(np.zeros((4, 6, 1), np.uint8))
        writer._file.close()
        writer._file = Full()
        writer.write(np.zeros((4, 6, 1), np.uint8))
    assert entries(tmp_path) == []
    delattr(Full, operation)  # else Python 3.13 complains where it takes the file apart


@pytest.mark.parametrize("fps", [0.002, 1000])
def test_the_slowest_and_the_fastest_rate_are_taken(tmp_path, fps):
    written(tmp_path / "a.npy", [np.zeros((4, 6, 1), np.uint8)], fps=fps)
    assert entries(tmp_path) == ["a.npy"]


@pytest.mark.parametrize("suffix", ["webp", "apng"])
@pytest.mark.parametrize("channels", [1, 3])
def test_animated_pictures_keep_every_pixel_and_the_rate(tmp_path, suffix, channels):
    frames = moving_waves(6, 13, 17, channels)
    path = write_frames(tmp_path / f"a.{suffix}", frames, fps=12.5)
    np.testing.assert_array_equal(
        read_with_pillow(path)[0], np.broadcast_to(frames, (6, 13, 17, 3))
    )
    source = open_source(path)
    assert (source.info.frames, source.info.fps) == (6, 12.5)
    assert source.info.channels == channels
    np.testing.assert_array_equal(np.stack(list(source.read())), frames)


@pytest.mark.parametrize("suffix", ["webp", "apng"])
def test_animated_pictures_keep_frames_that_are_alike(tmp_path, suffix):
    held = moving_waves(2, 13, 17, 3)[[0, 0, 1, 1, 1]]
    for name, frames in (("held", held), ("still", held[:2])):
        pixels, durations = read_with_pillow(
            write_frames(tmp_path / f"{name}.{suffix}", frames, fps=5)
        )
        np.testing.assert_array_equal(pixels, frames)
        assert durations == [200] * len(frames)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_apng_keeps_sixteen_bits(tmp_path, channels):
    frames = moving_waves(3, 7, 9, channels, np.uint16)
    path = write_frames(tmp_path / "a.apng", frames, fps=10)
    with av.open(str(path)) as container:
        layout = "gray16le" if channels == 1 else "rgb48le"
        found = np.stack([f.to_ndarray(format=layout) for f in container.decode(video=0)])
    np.testing.assert_array_equal(found.reshape(frames.shape), frames)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["npy", "tif"])
def test_files_for_data_give_back_type_and_values(tmp_path, suffix, channels, dtype):
    values = ValueRange(dtype, *((0, 255) if dtype == "uint8" else (10, 3010)))
    pixels = moving_waves(4, 7, 9, channels, np.dtype(values.pixel_dtype).type)
    writer = written(tmp_path / f"a.{suffix}", pixels, fps=7.5, values=values)
    found = (np.load if suffix == "npy" else tifffile.imread)(writer.path)
    assert found.dtype == dtype
    top = np.iinfo(pixels.dtype).max
    expected = values.low + pixels / top * (values.high - values.low)
    assert np.abs(found.reshape(pixels.shape) - expected).max() <= 0.5
    if suffix == "tif":
        assert open_source(writer.path).info.fps == 7.5


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_of_one_frame_keeps_the_axis_of_time(tmp_path, channels, caplog):
    frames = moving_waves(1, 7, 9, channels)
    path = written(tmp_path / "a.tif", frames, fps=7.5).path
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == ("TYX" if channels == 1 else "TYXS")
        found = file.asarray()
    np.testing.assert_array_equal(found, frames[..., 0] if channels == 1 else frames)
    assert not caplog.records  # where tifffile says that axes do not match the shape


def test_a_file_for_data_says_what_it_cannot_hold(tmp_path):
    values = ValueRange("float32", -10, 60)
    writer = written(tmp_path / "a", [np.full((7, 9, 1), 65535, np.uint16)], values=values)
    assert writer.notes == ["PNG folder holds no float32: -10..60 is written as 0..65535"]
    values = ValueRange("bool", 0, 1)
    writer = written(tmp_path / "a.tif", [np.full((7, 9, 1), 255, np.uint8)], values=values)
    assert writer.notes == ["TIFF holds no bool: 0..1 is written as 0..255"]


def test_a_video_keeps_the_shape_of_pixels_and_a_gif_says_that_it_cannot(tmp_path):
    for name in ("a.mp4", "a.webm", "a.gif"):
        frames = moving_waves(3, 16, 18, 3)
        writer = written(tmp_path / name, frames, pixel_aspect=Fraction(16, 11))
        info = open_source(tmp_path / name).info
        if name == "a.mp4":
            assert (writer.notes, info.pixel_aspect) == ([], Fraction(16, 11))
        else:
            said = f"{writer.kind} cannot say that its pixels are 16/11 times as wide as high"
            assert writer.notes == [said]


@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint16"), (3, "uint8")])
def test_a_picture_is_written_exactly_and_takes_the_place_of_another(tmp_path, channels, dtype):
    path = tmp_path / "a.png"
    path.write_bytes(b"earlier")
    frame_HWC = np.random.default_rng(0).integers(0, 250, (5, 7, channels)).astype(dtype)
    write_picture(path, frame_HWC)
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.reshape(5, 7, channels)[..., ::-1], frame_HWC)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("channels", [1, 3])
def test_netcdf_holds_the_values_of_every_frame(tmp_path, channels):
    netcdf = pytest.importorskip("netCDF4")
    values = ValueRange("float32", -10, 60)
    pixels_THWC = moving_waves(5, 7, 9, channels).astype(np.uint16) * 257
    written(tmp_path / "a.nc", pixels_THWC, fps=12.5, values=values)
    axes = ("time", "y", "x", "channel")[: 3 if channels == 1 else 4]
    with netcdf.Dataset(tmp_path / "a.nc") as file:
        frames = file["frames"]
        assert (frames.dimensions, frames.dtype) == (axes, np.float32)
        assert (file.dimensions["time"].isunlimited(), frames.frames_per_second) == (True, 12.5)
        found = frames[:].reshape(pixels_THWC.shape)
    np.testing.assert_allclose(found, pixels_THWC / 65535 * 70 - 10, rtol=0, atol=1e-5)
    assert open_source(tmp_path / "a.nc").info.fps == 12.5


def test_a_netcdf_that_cannot_grow_is_an_output_error(tmp_path):
    pytest.importorskip("netCDF4")
    noise = np.random.default_rng(4).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    with (
        limited_files(4096),
        pytest.raises(OutputError, match=r"a\.nc: cannot write the NetCDF \("),
    ):
        write_frames(tmp_path / "a.nc", noise, fps=10)
    assert entries(tmp_path) == []


def test_a_netcdf_has_no_name_that_its_library_cannot_write(tmp_path):
    with pytest.raises(OutputError, match="cannot write the NetCDF"):
        write_frames(tmp_path / "a\udcff.nc", moving_waves(2, 9, 11, 1), fps=5)
    assert entries(tmp_path) == []


def test_netcdf_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("framecast.runtime.extras.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs netCDF4, .*pip install \"framecast\[netcdf\]"):
        open_writer(tmp_path / "a.nc", fps=10)
