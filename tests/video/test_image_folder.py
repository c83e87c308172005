"""Folders of images: formats, depths and alpha as stored; gaps, odd sizes and damage by name."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from framecast.errors import CorruptSourceError
from framecast.video.readers.open import open_source
from tests.support.media import H, T, W, problem, read_all, smooth_clip, write_folder


@pytest.fixture
def clip():
    return smooth_clip()


def test_a_folder_is_read_in_natural_order(tmp_path, clip):
    clip = np.concatenate([clip, 255 - clip])
    source = open_source(write_folder(tmp_path / "f", clip))
    info = source.info
    assert (info.kind, info.frames, info.exact, info.fps) == ("folder", 2 * T, True, None)
    assert (info.height, info.width, info.channels, info.dtype) == (H, W, 3, "uint8")
    assert (info.breaks, info.notes) == ((), ())
    np.testing.assert_array_equal(read_all(source), clip)
    np.testing.assert_array_equal(read_all(source, 3, 14, 4), clip[3:14:4])
    np.testing.assert_array_equal(read_all(source, 17), clip[17:])


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "ppm", "webp"])
def test_lossless_formats(tmp_path, clip, suffix):
    for number, frame in enumerate(clip):
        Image.fromarray(frame).save(tmp_path / f"{number}.{suffix}", lossless=True)
    np.testing.assert_array_equal(read_all(open_source(tmp_path)), clip)


def test_jpeg_is_read_as_opencv_reads_it(tmp_path, clip):
    write_folder(tmp_path, clip, "{}.jpg")
    reference = [cv2.imread(str(tmp_path / f"{n}.jpg"))[:, :, ::-1] for n in range(T)]
    difference = read_all(open_source(tmp_path)).astype(int) - np.stack(reference)
    assert np.abs(difference).max() <= 4  # two JPEG decoders may differ in chroma upsampling


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
def test_grey_images_stay_grey(tmp_path, clip, suffix):
    write_folder(tmp_path, clip[..., 0], "{}." + suffix)
    source = open_source(tmp_path)
    assert source.info.channels == 1
    np.testing.assert_array_equal(read_all(source), clip[..., :1])
    rgb = read_all(open_source(tmp_path, color="rgb"))
    np.testing.assert_array_equal(rgb, np.repeat(clip[..., :1], 3, axis=3))


def test_colour_is_read_as_luma_when_asked(tmp_path, clip):
    grey = read_all(open_source(write_folder(tmp_path, clip), color="gray"))
    assert grey.shape == (T, H, W, 1)
    assert np.abs(grey[..., 0] - clip @ np.array([0.299, 0.587, 0.114])).max() <= 0.51


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [("png", 1), ("tif", 1), ("pgm", 1), ("png", 3), ("tif", 3), ("ppm", 3)],
)
def test_16_bit_frames_keep_their_bits_and_channel_order(tmp_path, suffix, channels):
    clip = np.random.default_rng(0).integers(0, 65536, (3, H, W, channels)).astype(np.uint16)
    for number, frame in enumerate(clip):
        cv2.imwrite(str(tmp_path / f"{number}.{suffix}"), frame[:, :, ::-1])  # BGR in OpenCV
    source = open_source(tmp_path)
    assert (source.info.dtype, source.info.channels) == ("uint16", channels)
    assert source.info.notes == ("pixels have 16 bits",)
    np.testing.assert_array_equal(read_all(source), clip)


@pytest.mark.parametrize("suffix", ["png", "ppm"])
def test_16_bit_colour_that_is_cut_names_the_frame(tmp_path, suffix):
    clip = np.random.default_rng(0).integers(0, 65536, (3, H, W, 3)).astype(np.uint16)
    for number, frame in enumerate(clip):
        cv2.imwrite(str(tmp_path / f"{number}.{suffix}"), frame)
    path = tmp_path / f"2.{suffix}"
    whole = path.read_bytes()
    for end in (60, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:end])
        with pytest.raises(CorruptSourceError, match=rf"2\.{suffix}"):
            read_all(open_source(tmp_path))


def test_16_bit_colour_with_alpha(tmp_path):
    frame = np.random.default_rng(0).integers(0, 65536, (H, W, 4)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "0.png"), frame)
    source = open_source(tmp_path)
    expected = np.rint(frame[:, :, 2::-1].astype(float) * frame[:, :, 3:] / 65535)
    assert np.abs(read_all(source)[0] - expected).max() <= 1
    assert "transparent pixels are shown on black (0.png)" in source.info.notes


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("LA", 1)])
def test_alpha_is_composed_on_black_with_a_note(tmp_path, clip, mode, channels):
    for number, frame in enumerate(clip):
        picture = Image.fromarray(frame[..., 0] if mode == "LA" else frame)
        picture.putalpha(Image.fromarray(frame[..., 2]))
        assert picture.mode == mode
        picture.save(tmp_path / f"{number}.png")
    source = open_source(tmp_path)
    assert source.info.notes == ("transparent pixels are shown on black (0.png and 8 more)",)
    expected = clip[..., :channels].astype(float) * clip[..., 2:] / 255
    assert np.abs(read_all(source) - expected).max() <= 0.5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 250, 10))])
def test_palette_images(tmp_path, clip, transparency):
    expected = []
    for number, frame in enumerate(clip):
        picture = Image.fromarray(frame).quantize(25)
        opacity = np.full(256, 255)
        if isinstance(transparency, int):
            opacity[transparency] = 0
        elif transparency:
            opacity[: len(transparency)] = list(transparency)
        alpha = opacity[np.asarray(picture)][..., None] / 255
        expected.append(np.asarray(picture.convert("RGB")) * alpha)
        options = {} if transparency is None else {"transparency": transparency}
        picture.save(tmp_path / f"{number}.png", **options)
    source = open_source(tmp_path)
    assert source.info.channels == 3
    assert bool(source.info.notes) == (transparency is not None)
    assert np.abs(read_all(source) - np.stack(expected)).max() <= 0.5


def test_grey_palette_and_one_bit_images_are_grey(tmp_path):
    indices = np.arange(H * W, dtype=np.uint8).reshape(H, W) % 5
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette([level for index in range(5) for level in [index * 40] * 3])
    picture.save(tmp_path / "0.png")
    Image.fromarray(indices > 2).save(tmp_path / "1.png")
    source = open_source(tmp_path)
    assert source.info.channels == 1
    frames = read_all(source)[..., 0]
    np.testing.assert_array_equal(frames[0], indices * 40)
    np.testing.assert_array_equal(frames[1], np.where(indices > 2, 255, 0))


def test_grey_among_colour_and_8_bits_among_16(tmp_path, clip):
    Image.fromarray(clip[0]).save(tmp_path / "0.png")
    Image.fromarray(clip[1, :, :, 0]).save(tmp_path / "1.png")
    cv2.imwrite(str(tmp_path / "2.png"), clip[2, :, :, ::-1].astype(np.uint16) * 200)
    source = open_source(tmp_path)
    assert (source.info.channels, source.info.dtype) == (3, "uint16")
    assert source.info.notes == (
        "grey images are mixed with colour (1.png)",
        "8-bit images are mixed with 16-bit and scaled up to them (0.png and 1 more)",
    )
    frames = read_all(source)
    np.testing.assert_array_equal(frames[0], clip[0].astype(int) * 257)
    np.testing.assert_array_equal(frames[1, :, :, 2], clip[1, :, :, 0].astype(int) * 257)
    np.testing.assert_array_equal(frames[2], clip[2].astype(int) * 200)


def test_camera_orientation_is_honoured(tmp_path, clip):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(clip[0]).save(tmp_path / "0.webp", lossless=True, exif=exif)
    source = open_source(tmp_path)
    assert (source.info.height, source.info.width) == (W, H)
    np.testing.assert_array_equal(read_all(source)[0], np.rot90(clip[0], -1))


def test_gaps_are_breaks_with_the_files_named(tmp_path, clip):
    write_folder(tmp_path, clip)
    (tmp_path / "frame3.png").unlink()
    (tmp_path / "frame4.png").unlink()
    source = open_source(tmp_path)
    assert source.info.breaks == (3,)
    expected = "2 frames are missing by number between frame2.png and frame5.png"
    assert source.info.notes == (expected,)
    np.testing.assert_array_equal(read_all(source), np.delete(clip, [3, 4], axis=0))


def test_many_gaps_are_counted_not_listed(tmp_path, clip):
    frames = [*clip, *clip]
    write_folder(tmp_path, frames, "{:03}.png")
    for number in (2, 5, 8, 11, 14):
        (tmp_path / f"{number:03}.png").unlink()
    info = open_source(tmp_path).info
    assert info.breaks == (2, 4, 6, 8, 10)
    assert info.notes[-1] == "and 2 more gaps"
    assert len(info.notes) == 4


def test_the_odd_size_is_named_even_when_it_comes_first(tmp_path, clip):
    write_folder(tmp_path, clip)
    Image.fromarray(clip[0, :5, :7]).save(tmp_path / "frame0.png")
    text = problem(tmp_path)
    assert f"{tmp_path}: frame0.png is 5x7 where the other frames are 14x22" in text


def test_strays_are_ignored_with_a_note_system_files_without(tmp_path, clip):
    write_folder(tmp_path, clip)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "notes.txt", "a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "masks").mkdir()
    info = open_source(tmp_path).info
    assert info.frames == T
    assert info.notes == ("not frames, ignored: a.csv, b.csv, c.csv and 2 more",)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "pgm", "webp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_truncated_images_name_file_and_frame(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (T, H, W), np.uint8)
    write_folder(tmp_path, noise, "f{}." + suffix)
    path = tmp_path / f"f4.{suffix}"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    text = problem(tmp_path, CorruptSourceError)
    assert f"{path}: frame 4 cannot be read" in text
    assert "add --keep-readable to leave it out" in text
    source = open_source(tmp_path, keep_readable=True)
    assert source.info.frames == T - 1
    assert source.info.breaks == (4,)
    assert any(f"f4.{suffix} is left out (" in note for note in source.info.notes)
    assert read_all(source).shape[0] == T - 1


def test_truncated_images_are_refused_where_the_program_has_told_pillow_to_take_them(
    tmp_path, clip, monkeypatch
):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as some libraries do on import
    write_folder(tmp_path, clip, "f{}.png")
    path = tmp_path / "f2.png"
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path}: frame 2 cannot be read" in problem(tmp_path, CorruptSourceError)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_damaged_file_is_a_break_without_numbers_too(tmp_path, clip):
    for name, frame in zip("vwxyz", clip, strict=False):
        Image.fromarray(frame).save(tmp_path / f"{name}.png")
    (tmp_path / "x.png").write_text("no image")
    source = open_source(tmp_path, keep_readable=True)
    assert source.info.breaks == (2,)
    assert source.info.notes == (
        "x.png is left out (it is not an image)",
        "frames are taken in the order v.png, w.png, ..., z.png",
    )
    np.testing.assert_array_equal(read_all(source), clip[[0, 1, 3, 4]])


def test_damage_at_the_ends_is_no_break(tmp_path, clip):
    write_folder(tmp_path, clip)
    for number in (0, T - 1):
        (tmp_path / f"frame{number}.png").write_bytes(b"")
    info = open_source(tmp_path, keep_readable=True).info
    assert (info.frames, info.breaks) == (T - 2, ())


def test_nothing_readable_is_an_error_even_then(tmp_path, clip):
    write_folder(tmp_path, clip)
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    text = problem(tmp_path, CorruptSourceError, keep_readable=True)
    assert "none of its 9 images can be read, frame0.png is left out (it is empty)" in text


def test_opening_decodes_nothing(tmp_path, clip):
    write_folder(tmp_path, clip)
    data = (tmp_path / "frame5.png").read_bytes()
    (tmp_path / "frame5.png").write_bytes(data[:-60])
    source = open_source(tmp_path)
    np.testing.assert_array_equal(read_all(source, 0, 5), clip[:5])
    np.testing.assert_array_equal(read_all(source, 6, T), clip[6:])
    with pytest.raises(CorruptSourceError, match=r"frame5.png: frame 5 cannot be read \(.*trunc"):
        read_all(source)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_values_of_any_type_stay_as_they_are(tmp_path, dtype):
    clip = np.random.default_rng(0).uniform(-3, 41, (4, H, W)).astype(dtype)
    clip[0, 0, :2] = -3, 41
    for number, frame in enumerate(clip):
        tifffile.imwrite(tmp_path / f"{number}.tif", frame)
    source = open_source(tmp_path)
    assert (source.info.values.low, source.info.values.high) == (-3, 41)
    assert (
        f"{dtype} values are taken to range from -3 (black) to 41 (white)" in source.info.notes[0]
    )
    np.testing.assert_array_equal(np.stack(list(source.read_values()))[..., 0], clip)
    expected = np.rint((clip.astype(float) + 3) / 44 * 65535)
    assert np.abs(read_all(source)[..., 0] - expected).max() <= 1


def test_values_beyond_16_bits_are_scaled(tmp_path):
    for number in range(3):
        frame = np.full((H, W), 70000 * number, np.int32)
        Image.fromarray(frame).save(tmp_path / f"{number}.tif")
    source = open_source(tmp_path)
    assert source.info.values.text == "0..140000"
    assert read_all(source)[:, 0, 0, 0].tolist() == [0, 32768, 65535]


def test_files_with_several_pictures_say_so(tmp_path, clip):
    pictures = [Image.fromarray(frame) for frame in clip]
    pictures[0].save(tmp_path / "0.tif")
    pictures[1].save(tmp_path / "1.tif", save_all=True, append_images=pictures[2:])
    source = open_source(tmp_path)
    assert source.info.notes == ("only the first picture of files with several is read (1.tif)",)
    np.testing.assert_array_equal(read_all(source), clip[:2])


def test_a_file_that_goes_away_while_reading(tmp_path, clip):
    source = open_source(write_folder(tmp_path, clip))
    (tmp_path / "frame2.png").unlink()
    assert len(read_all(source, 0, 2)) == 2
    with pytest.raises(Exception, match=r"frame2.png: no such file or folder; check the path"):
        read_all(source)


def test_a_file_that_changes_size_while_reading(tmp_path, clip):
    source = open_source(write_folder(tmp_path, clip))
    Image.fromarray(clip[2, :5]).save(tmp_path / "frame2.png")
    with pytest.raises(Exception, match=r"frame 2 is 5x22 where the clip is 14x22"):
        read_all(source)
