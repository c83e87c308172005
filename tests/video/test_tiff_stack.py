"""TIFF stacks of every kind that tifffile and Pillow write; damage, axes and folders of stacks."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from framecast.errors import CorruptSourceError, SourceError
from framecast.video.readers.open import open_source, open_sources
from tests.support.media import H, T, W, problem, read_all, smooth_clip

CLIP = smooth_clip()
GREY = CLIP[..., 0]


def values(source):
    return np.stack(list(source.read_values()))


@pytest.mark.parametrize(
    ("stored", "options"),
    [
        (GREY, {}),
        (GREY, {"compression": "zlib", "photometric": "minisblack"}),
        (CLIP, {"photometric": "rgb"}),
        (np.moveaxis(CLIP, -1, 1), {"photometric": "rgb", "planarconfig": "separate"}),
        (GREY, {"imagej": True, "metadata": {"axes": "TYX"}}),
        (CLIP, {"imagej": True, "metadata": {"axes": "TYXS"}}),
        (GREY, {"ome": True, "metadata": {"axes": "TYX"}}),
        (np.moveaxis(CLIP, -1, 1), {"ome": True, "metadata": {"axes": "TCYX"}}),
        (255 - GREY, {"photometric": "miniswhite"}),
        (GREY, {"bigtiff": True, "byteorder": ">"}),
    ],
)
def test_stacks_are_clips(tmp_path, stored, options):
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    source = open_source(tmp_path / "a.tif")
    expected = CLIP if stored.ndim == 4 else GREY[..., None]
    assert (source.info.kind, source.info.frames, source.info.dtype) == ("stack", T, "uint8")
    np.testing.assert_array_equal(read_all(source), expected)
    np.testing.assert_array_equal(read_all(source, 2, 9, 3), expected[2:9:3])


@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int16, np.float32])
@pytest.mark.parametrize("options", [{}, {"photometric": "minisblack", "compression": "zlib"}])
def test_types_keep_their_values(tmp_path, dtype, options):
    stored = (GREY.astype(np.int32) * 13 - (500 if np.dtype(dtype).kind != "u" else 0)).astype(
        dtype
    )
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    source = open_source(tmp_path / "a.tif")
    assert source.info.values.dtype == np.dtype(dtype).newbyteorder("=").name
    np.testing.assert_array_equal(values(source)[..., 0], stored)
    assert source.info.dtype == "uint16"
    assert read_all(source).max() > 40_000


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "CMYK", "I;16", "LA", "RGBA"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits"])
def test_pages_written_by_pillow(tmp_path, mode, compression):
    if mode == "I;16":
        pictures = [Image.fromarray(frame.astype(np.uint16) * 257) for frame in GREY]
    else:
        pictures = [Image.fromarray(frame).convert(mode) for frame in CLIP]
    path = tmp_path / "a.tif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], compression=compression)
    frames = read_all(open_source(path))
    assert len(frames) == T
    if mode == "I;16":
        np.testing.assert_array_equal(frames[..., 0], GREY.astype(np.uint16) * 257)
        return
    channels = frames.shape[3]
    expected = [np.asarray(p.convert("L" if channels == 1 else "RGB")) for p in pictures]
    np.testing.assert_array_equal(frames, np.reshape(expected, frames.shape))


def test_sixteen_bit_colour_compressed_by_lzw_needs_no_further_package(tmp_path):
    cv2 = pytest.importorskip("cv2")
    frames = (CLIP.astype(np.uint16) * 201)[..., ::-1]
    done = cv2.imwritemulti(str(tmp_path / "a.tif"), [*frames], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    assert done
    np.testing.assert_array_equal(values(open_source(tmp_path / "a.tif")), frames[..., ::-1])


def test_depth_is_taken_for_time_with_a_note(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, metadata={"axes": "ZYX"})
    notes = open_source(tmp_path / "a.tif").info.notes
    assert notes == ("depth (Z) is taken for time, as there is no time axis",)


def test_planes_and_times_together_are_refused(tmp_path):
    stored = GREY[:8].reshape(2, 4, H, W)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="minisblack", metadata={"axes": "TZYX"}
    )
    text = problem(tmp_path / "a.tif")
    assert "has more axes than time, height and width (T=2, Z=4); save one plane" in text


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "TYX", "fps": 7.5}},
        {"imagej": True, "metadata": {"axes": "TYX", "finterval": 1 / 7.5}},
        {"ome": True, "metadata": {"axes": "TYX", "TimeIncrement": 1 / 7.5}},
    ],
)
def test_the_rate_is_the_microscopes(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", GREY, **options)
    assert open_source(tmp_path / "a.tif").info.fps == pytest.approx(7.5)


def test_pages_written_one_by_one_are_frames(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for frame in GREY:
            file.write(frame, contiguous=False)
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "a.tif")), GREY[..., None])


def test_a_folder_of_stacks_is_a_folder_of_clips(tmp_path):
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", GREY)
    assert [source.info.frames for source in open_sources([tmp_path])] == [T, T]


def test_a_stack_cut_short_names_the_frame(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, photometric="minisblack")
    data = path.read_bytes()
    path.write_bytes(data[: -2 * H * W - 5])
    with pytest.raises((CorruptSourceError, SourceError)) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


def test_text_named_tif_is_no_stack(tmp_path):
    (tmp_path / "a.tif").write_text("no pictures")
    assert "a.tif: frame 0 cannot be read (it is not an image)" in problem(tmp_path / "a.tif")
