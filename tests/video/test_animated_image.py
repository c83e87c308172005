"""GIFs and APNGs as a browser shows them: disposal, partial frames, delays, damage."""

import struct

import av
import numpy as np
import pytest
from PIL import Image

from framecast.errors import CorruptSourceError
from framecast.video.readers.open import open_source
from framecast.video.writers.open import write_frames
from tests.support.media import H, T, W, problem, read_all, smooth_clip


def write_gif(path, clip, **options):
    pictures = [Image.fromarray(f).convert("P", palette=Image.Palette.ADAPTIVE) for f in clip]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], loop=0, **options)
    return path


def block(index, size, *, corner=(0, 0), disposal=0, transparent=None, delay=4):
    """Return one GIF frame of a single palette colour: control block and picture."""
    flags = disposal << 2 | (transparent is not None)
    control = b"\x21\xf9\x04" + struct.pack("<BHBB", flags, delay, transparent or 0, 0)
    height, width = size
    place = b"\x2c" + struct.pack("<HHHHB", corner[1], corner[0], width, height, 0)
    # 3-bit codes, a clear code before each pixel, so that the code size never grows
    codes = [code for _ in range(height * width) for code in (4, index)] + [5]
    bits = sum(code << 3 * i for i, code in enumerate(codes))
    data = bits.to_bytes(3 * len(codes) // 8 + 1, "little")
    chunks = [data[i : i + 255] for i in range(0, len(data), 255)]
    return control + place + b"\x02" + b"".join(bytes([len(c)]) + c for c in chunks) + b"\x00"


def assemble(path, *blocks, size=(H, W)):
    """Write a GIF with the palette black, red, green, blue."""
    palette = bytes([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    screen = struct.pack("<HHBBB", size[1], size[0], 0xF1, 0, 0)
    path.write_bytes(b"GIF89a" + screen + palette + b"".join(blocks) + b"\x3b")
    return path


RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def test_partial_frames_build_on_those_before(tmp_path):
    path = assemble(
        tmp_path / "part.gif",
        block(1, (H, W), disposal=1),
        block(2, (3, 5), corner=(2, 4), disposal=1),
        block(3, (2, 2), corner=(10, 20), disposal=1),
    )
    expected = np.zeros((3, H, W, 3), np.uint8)
    expected[:] = RED
    expected[1:, 2:5, 4:9] = GREEN
    expected[2:, 10:12, 20:22] = BLUE
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source), expected)
    np.testing.assert_array_equal(read_all(source, 2, 3), expected[2:])
    assert source.info.fps == 25.0


def test_disposal_to_background_and_to_the_frame_before(tmp_path):
    path = assemble(
        tmp_path / "dispose.gif",
        block(1, (H, W), disposal=1),
        block(2, (3, 5), disposal=3),  # undone: red comes back
        block(3, (4, 4), corner=(8, 8), disposal=2, transparent=0),  # cleared afterwards
        block(2, (1, 1), disposal=1),
    )
    expected = np.zeros((4, H, W, 3), np.uint8)
    expected[:] = RED
    expected[1, :3, :5] = GREEN
    expected[2:, 8:12, 8:12] = BLUE
    expected[3, 8:12, 8:12] = BLACK
    expected[3, 0, 0] = GREEN
    np.testing.assert_array_equal(read_all(open_source(path)), expected)


def test_the_first_frame_may_leave_pixels_open(tmp_path):
    path = assemble(tmp_path / "open.gif", block(1, (3, 5), transparent=2), block(2, (H, W)))
    source = open_source(path)
    assert "transparent pixels are shown on black" in source.info.notes
    frames = read_all(source)
    assert tuple(frames[0, 0, 0]) == RED
    assert tuple(frames[0, 13, 21]) == BLACK
    assert tuple(frames[1, 13, 21]) == GREEN


def test_frames_agree_with_ffmpeg(tmp_path):
    path = write_gif(tmp_path / "clip.gif", smooth_clip(), duration=40)
    with av.open(str(path)) as container:
        reference = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    source = open_source(path)
    info = source.info
    assert (info.kind, info.frames, info.exact, info.fps) == ("gif", T, True, 25.0)
    assert (info.height, info.width, info.channels, info.dtype) == (H, W, 3, "uint8")
    assert info.notes == ("palette pictures (GIF holds at most 256 colours a frame)",)
    np.testing.assert_array_equal(read_all(source), reference)
    np.testing.assert_array_equal(read_all(source, 2, 9, 3), reference[2:9:3])


def test_grey_gifs_are_read_as_grey(tmp_path):
    clip = smooth_clip()[:, :, :, 0]
    pictures = [Image.fromarray(frame) for frame in clip]
    path = tmp_path / "grey.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    source = open_source(path)
    assert source.info.channels == 1
    np.testing.assert_array_equal(read_all(source)[..., 0], clip)
    assert read_all(open_source(path, color="rgb")).shape == (T, H, W, 3)


@pytest.mark.parametrize(
    ("delays", "fps", "note"),
    [
        ((2, 2, 2), 50.0, None),
        ((5, 2, 2, 2), 50.0, "frame delays vary from 20 to 50 ms; played back at 20 ms"),
        ((0, 0, 0), 10.0, None),
        # As 24 frames per second are written; the last one is held.
        (
            (4, 4, 4, 4, 4, 5, 200),
            24.0,
            "frame delays vary from 40 to 2000 ms; played back at 41.67 ms",
        ),
    ],
)
def test_delays(tmp_path, delays, fps, note):
    blocks = [block(1 + i % 3, (H, W), delay=delay) for i, delay in enumerate(delays)]
    info = open_source(assemble(tmp_path / "delay.gif", *blocks)).info
    assert info.fps == pytest.approx(fps)
    assert info.notes[1:] == (() if note is None else (note,))


def test_a_gif_cut_anywhere_names_the_frame(tmp_path):
    path = write_gif(tmp_path / "cut.gif", smooth_clip(), duration=40)
    data = path.read_bytes()
    whole = read_all(open_source(path))
    seen = set()
    for end in range(len(data) // 4, len(data), 23):
        path.write_bytes(data[:end])
        with pytest.raises(CorruptSourceError) as caught:
            open_source(path)
        source = open_source(path, keep_readable=True)
        count = source.info.frames
        assert f"{path}: frame {count} cannot be read" in str(caught.value)
        assert "add --keep-readable" in str(caught.value)
        assert f"stops being readable at frame {count}" in source.info.notes[1]
        np.testing.assert_array_equal(read_all(source), whole[:count])
        seen.add(count)
    assert {2, 3, 4, 5, 6, 7, 8} <= seen


def test_damaged_pixels_name_the_frame(tmp_path):
    good, bad = block(1, (H, W)), bytearray(block(2, (H, W)))
    bad[20:60] = bytes([0xFF] * 40)
    path = assemble(tmp_path / "bad.gif", good, bytes(bad), good)
    assert "frame 1 cannot be read" in problem(path, CorruptSourceError)
    source = open_source(path, keep_readable=True)
    assert (source.info.frames, read_all(source).shape) == (1, (1, H, W, 3))


@pytest.mark.parametrize(
    ("keep", "expected"), [(0, "is empty"), (5, "is not an image"), (100, "frame 0 cannot be read")]
)
def test_too_little_of_a_gif(tmp_path, keep, expected):
    path = write_gif(tmp_path / "cut.gif", smooth_clip(), duration=40)
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path}: {expected}" in problem(path)


def test_a_gif_that_became_shorter_ends_before_a_frame(tmp_path):
    frames = smooth_clip(6, 9, 11)
    source = open_source(write_frames(tmp_path / "a.gif", frames, fps=5))
    write_frames(tmp_path / "a.gif", frames[:4], fps=5, overwrite=True)
    with pytest.raises(CorruptSourceError, match=r"frame 4 cannot be read \(the file ends before"):
        list(source.read())


def test_text_named_gif(tmp_path):
    path = tmp_path / "notes.gif"
    path.write_text("no pictures in here\n" * 20)
    assert f"{path}: is not an image" in problem(path)


def write_apng(path, **options):
    """A red picture, then green squares of 3 by 4 pixels that move to the right."""
    red = Image.new("RGBA", (W, H), (255, 0, 0, 255))
    squares = []
    for number in range(4):
        square = Image.new("RGBA", (W, H), (0, 0, 0, 0))
        square.paste((0, 255, 0, 255), (5 * number, 5, 5 * number + 4, 8))
        squares.append(square)
    red.save(path, save_all=True, append_images=squares, duration=1000 / 30, **options)
    return path


# As FFmpeg's program draws them; Pillow 13 gives 12, 24, 36, 48 for "previous".
@pytest.mark.parametrize(
    ("disposal", "green"),
    [(0, [0, 12, 24, 36, 48]), (1, [0, 12, 12, 12, 12]), (2, [0, 12, 12, 12, 12])],
)
def test_an_apng_is_composed_as_its_specification_says(tmp_path, disposal, green):
    source = open_source(write_apng(tmp_path / "a.png", disposal=disposal, blend=1))
    assert [int((frame[..., 1] > 0).sum()) for frame in source.read()] == green
    assert (source.info.fps, source.info.frames) == (30.0, 5)


def test_the_picture_of_an_apng_for_other_programs_is_no_frame(tmp_path):
    source = open_source(write_apng(tmp_path / "a.png", default_image=True))
    assert (source.info.frames, int(read_all(source)[..., 0].max())) == (4, 0)


def test_damage_anywhere_in_an_apng_is_noticed(tmp_path):
    path = write_apng(tmp_path / "a.png")
    data = path.read_bytes()
    for place in range(60, len(data) - 12, 29):  # from the first frame to the end mark
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        assert "cannot be read" in problem(path)
        path.write_bytes(data[:place])
        assert "cannot be read" in problem(path)


def test_a_webp_cut_short_is_no_single_image(tmp_path):
    pictures = [Image.fromarray(frame) for frame in smooth_clip()]
    path = tmp_path / "a.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], lossless=True)
    path.write_bytes(path.read_bytes()[:900])
    assert "frame 0 cannot be read" in problem(path, CorruptSourceError)


def test_a_frame_too_large_for_the_machine_is_damage(tmp_path, monkeypatch):
    path = tmp_path / "a.gif"
    assemble(path, block(1, (H, W)), block(2, (H, W)), block(3, (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(CorruptSourceError, match=r"a\.gif: frame 2 cannot be read \(Image size"):
        open_source(path)
    assert open_source(path, keep_readable=True).info.frames == 2
