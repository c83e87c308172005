"""TIFF stacks of every kind that tifffile and Pillow write; damage, axes and folders of stacks."""

import os
import re
import struct

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


@pytest.mark.parametrize("dtype", ["uint8", ">u2"])
def test_one_page_stands_for_all_of_a_large_stack_of_imagej(tmp_path, dtype):
    frames, path = GREY.astype(dtype) * 2, tmp_path / "a.tif"
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"}, byteorder=">")
    with tifffile.TiffFile(path) as file:  # as beyond 4 GB, no page after the first
        at = file.pages[0].offset + file.tiff.tagnosize
        at += len(file.pages[0].tags) * file.tiff.tagsize
    data = path.read_bytes()
    path.write_bytes(data[:at] + bytes(4) + data[at + 4 :])
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
        begins = file.series[0].dataoffset
    source = open_source(path)
    assert (source.info.kind, source.info.frames) == ("stack", T)
    np.testing.assert_array_equal(values(source)[..., 0], frames)
    path.write_bytes(path.read_bytes()[: begins + 3 * frames[0].nbytes + 7])
    assert f"frame 3 cannot be read (the file ends here, but announces {T}" in problem(path)
    kept = open_source(path, keep_readable=True)
    np.testing.assert_array_equal(values(kept)[..., 0], frames[:3])
    path.write_bytes(path.read_bytes()[: begins + frames[0].nbytes])
    assert "is a single image, not a clip" in problem(path)  # whatever stack it was taken from


def test_16_bit_print_colours_are_refused(tmp_path):
    cmyk = np.zeros((5, H, W, 4), np.uint16)
    tifffile.imwrite(tmp_path / "cmyk.tif", cmyk, photometric="separated")
    assert "holds 16-bit SEPARATED pixels; convert the frames" in problem(tmp_path / "cmyk.tif")


def test_floats_with_white_at_zero_are_turned_round(tmp_path):
    unit = GREY.astype(np.float32) / 255
    tifffile.imwrite(tmp_path / "a.tif", unit, photometric="miniswhite")
    np.testing.assert_array_equal(values(open_source(tmp_path / "a.tif"))[..., 0], 1 - unit)


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
        *(
            {"ome": True, "metadata": {"axes": "TYX", "TimeIncrement": t, "TimeIncrementUnit": u}}
            for t, u in ((1e3 / 7.5, "ms"), (1e6 / 7.5, "µs"), (1 / 7.5 / 3600, "h"))
        ),
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


@pytest.mark.parametrize("big", [False, True], ids=["classic", "BigTIFF"])
@pytest.mark.parametrize("next_page", [0, 2, 4])
def test_pages_that_go_round_in_a_circle_are_refused(tmp_path, big, next_page):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        for frame_HW in GREY[:5]:
            writer.write(frame_HW)
    with tifffile.TiffFile(path) as file:
        form, offsets = file.tiff, [page.offset for page in file.pages]
        tags = len(file.pages[4].tags)
    data = path.read_bytes()
    # A page ends in the offset of the next one, 0 in the last.
    at = offsets[4] + form.tagnosize + tags * form.tagsize
    assert data[at:][: form.offsetsize] == bytes(form.offsetsize)
    link = struct.pack(form.offsetformat, offsets[next_page])
    path.write_bytes(data[:at] + link + data[at + form.offsetsize :])
    said = f"{path}: page 5 leads back to an earlier one; copy or download it again"
    assert problem(path) == problem(tmp_path) == said


def ome(path, old, new):
    """GREY as an OME-TIFF with another text somewhere in its XML."""
    tifffile.imwrite(path, GREY, ome=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata
    assert text.count(old) == 1
    tifffile.tiffcomment(path, text.replace(old, new).encode())
    return path


MODULO = '<ModuloAlongT Type="phase" Start="0" End="{}"/>'
NAMESPACE = "openmicroscopy.org/omero/dimension/modulo"
ANNOTATED = (
    '<StructuredAnnotations><XMLAnnotation ID="Annotation:0" Namespace="{}"><Value><Modulo>{}'
    "</Modulo></Value></XMLAnnotation></StructuredAnnotations></OME>"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f'SizeT="{T}"', 'SizeT="900000000"'),
        ('SizeC="1"', 'SizeC="100000000"'),
        (f'PlaneCount="{T}"', 'PlaneCount="900000000"'),
        ("</OME>", ANNOTATED.format(NAMESPACE, MODULO.format("9e8"))),
    ],
)
def test_metadata_that_announces_more_than_memory_holds_is_refused(tmp_path, old, new):
    path = ome(tmp_path / "a.ome.tif", old, new)
    assert re.search(r"announces 9e\+08 frames, of which a file may have 4,194,304", problem(path))


def test_pages_that_metadata_alone_knows_are_missing(tmp_path):
    path = ome(tmp_path / "a.ome.tif", f'SizeT="{T}"', f'SizeT="{T + 3}"')
    assert f"frame {T} cannot be read (the file ends here, but announces {T + 3}" in problem(path)
    source = open_source(path, keep_readable=True)
    np.testing.assert_array_equal(read_all(source)[..., 0], GREY)


PART = '<UUID FileName="{}">urn:uuid:1</UUID></TiffData>'


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_no_part_of_a_dataset(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    path = ome(
        tmp_path / "a.ome.tif", f'PlaneCount="{T}"/>', f'PlaneCount="{T}">' + PART.format("pipe")
    )
    assert f"names {tmp_path / 'pipe'} as a part of it, which is no file" in problem(path)


@pytest.mark.filterwarnings("ignore:.*reading array from closed file:UserWarning")
def test_a_dataset_in_several_files_is_one_clip(tmp_path):
    whole = f'<TiffData IFD="0" PlaneCount="{T}"/>'
    parts = [
        f'<TiffData IFD="0" FirstT="{k * T}" PlaneCount="{T}">' + PART.format(name)
        for k, name in enumerate(("first.tif", "a.ome.tif"))
    ]
    path = ome(tmp_path / "a.ome.tif", f'SizeT="{T}"', f'SizeT="{2 * T}"')
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata
    assert text.count(whole) == 1
    text = re.sub(' UUID="[^"]*"', "", text.replace(whole, "".join(parts)), count=1)
    tifffile.tiffcomment(path, text.encode())
    tifffile.imwrite(tmp_path / "first.tif", 255 - GREY)
    expected = np.concatenate([255 - GREY, GREY])
    np.testing.assert_array_equal(read_all(open_source(path))[..., 0], expected)


def test_metadata_that_is_no_xml_is_passed_over(tmp_path):
    path = ome(tmp_path / "a.ome.tif", "<Image ", '<Image x="&#0;" ')
    np.testing.assert_array_equal(read_all(open_source(path))[..., 0], GREY)


def test_text_named_tif_is_no_stack(tmp_path):
    (tmp_path / "a.tif").write_text("no pictures")
    assert "a.tif: frame 0 cannot be read (it is not an image)" in problem(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_packed_into_fewer_bits_keep_their_values(tmp_path, bits):
    samples = np.random.default_rng(0).integers(0, 2**bits, (3, H, 40), dtype=np.uint16)
    ones = samples[..., None] >> np.arange(bits - 1, -1, -1) & 1  # highest bit first
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for page in np.packbits(ones.astype(np.uint8).reshape(3, H, -1), axis=-1):
            file.write(page, contiguous=False, metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for page in file.pages:
            page.tags["BitsPerSample"].overwrite(bits)
            page.tags["ImageWidth"].overwrite(40)
    source = open_source(path)
    np.testing.assert_array_equal(values(source)[..., 0], samples)
    assert source.info.values.high == 2**bits - 1


TWELVE_BITS = {
    "min and max by ImageJ": {"imagej": True, "metadata": {"axes": "TYX", "min": 0, "max": 4095}},
    "SignificantBits=12": {"ome": True, "metadata": {"axes": "TYX", "SignificantBits": 12}},
    "MaxSampleValue": {"extratags": [(281, "H", 1, 4095, False)]},
    "SMaxSampleValue": {"extratags": [(341, "H", 1, 4095, False)]},
}


@pytest.mark.parametrize("field", TWELVE_BITS)
def test_the_range_that_a_file_states_counts(tmp_path, field):
    stored = GREY.astype(np.uint16) * 3  # up to 681: ten bits by their looks
    tifffile.imwrite(tmp_path / "a.tif", stored, **TWELVE_BITS[field])
    source = open_source(tmp_path / "a.tif")
    assert source.info.values.text == "0..4095"
    assert source.info.notes[-1] == f"0..4095 is the range that the file states ({field})"
    assert read_all(source).max() == round(int(stored.max()) * 65535 / 4095)
    assert open_source(tmp_path / "a.tif", range="0..1000").info.values.text == "0..1000"


def test_a_stated_range_counts_in_a_folder_of_single_images_too(tmp_path):
    for number, frame in enumerate(GREY.astype(np.uint16) * 3):
        tifffile.imwrite(tmp_path / f"{number}.tif", frame, **TWELVE_BITS["MaxSampleValue"])
    assert open_source(tmp_path).info.values.text == "0..4095"


@pytest.mark.parametrize(("factor", "expected"), [(20, "0..16383"), (1, "0..255")])
def test_a_stated_range_that_values_contradict_does_not(tmp_path, factor, expected):
    limit = 4095 if factor == 20 else 65534  # smaller than values, or far larger
    stored = GREY.astype(np.uint16) * factor
    tifffile.imwrite(tmp_path / "a.tif", stored, extratags=[(281, "H", 1, limit, False)])
    assert open_source(tmp_path / "a.tif").info.values.text == expected


def test_of_several_series_the_first_is_read_with_a_note(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for name, frames in (("cells", GREY), ("overview", GREY[:4, :8])):
            file.write(frames, photometric="minisblack", metadata={"axes": "TYX", "Name": name})
    source = open_source(tmp_path / "a.ome.tif")
    assert source.info.frames == T
    assert source.info.notes == ("of 2 series only the first (cells) is read",)


def test_complex_values_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.complex64))
    assert "holds complex64 values" in problem(tmp_path / "a.tif")


def test_a_page_of_another_size_is_left_out_with_a_note(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for frame in (*GREY, GREY[0, :4]):
            file.write(frame, contiguous=False)
    source = open_source(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_all(source)[..., 0], GREY)
    assert source.info.notes == ("1 page is of another size and left out",)


def geotiff(path, stored, text):
    """Write pages as GDAL does, with what stands for no data in its tag 42113."""
    tag = (42113, "s", 0, text, True)
    tifffile.imwrite(path, stored, photometric="minisblack", extratags=[tag], metadata=None)


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        (np.float32, "-9999"),
        (np.float32, "-3.40282346638528898e+38"),
        (np.float64, "-1.7976931348623157e+308"),
        (np.float32, "nan"),
        (np.float32, "0.1"),
        (np.int16, "-32768"),
        (np.uint16, "65535"),
        (np.uint8, "255"),
    ],
)
@pytest.mark.parametrize("kind", ["stack", "folder"])
def test_no_data_is_black_and_does_not_stretch_the_range(tmp_path, kind, dtype, text):
    measured = (GREY // 2 + 40).astype(dtype)
    tifffile.imwrite(tmp_path / "plain.tif", measured, photometric="minisblack")
    expected = open_source(tmp_path / "plain.tif").info.values
    stored = measured.copy()
    stored[3, 2:5, 1] = dtype(float(text))
    path = tmp_path / "clip"
    path.mkdir()
    if kind == "stack":
        geotiff(path / "a.tif", stored, text)
    else:
        for number, page in enumerate(stored):
            geotiff(path / f"{number}.tif", page, text)
    source = open_source(path)
    assert source.info.kind == kind
    assert source.info.values == expected
    measured[3, 2:5, 1] = expected.low
    warned = pytest.warns(UserWarning, match=r"clip.*: missing values are read as black")
    with warned:
        np.testing.assert_array_equal(values(source)[..., 0], measured)
    with warned:
        pixels = read_all(source)
    assert (pixels[3, 2:5, 1] == 0).all()
    np.testing.assert_array_equal(pixels[..., 0], expected.to_pixels(measured))


def test_no_data_of_colours_and_what_is_no_number_are_left_aside(tmp_path):
    tag = (42113, "s", 0, "255", True)
    stored = np.maximum(CLIP, 255 * (CLIP > 200).astype(np.uint8))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extratags=[tag])
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "a.tif")), stored)
    geotiff(tmp_path / "b.tif", GREY, "none")
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "b.tif"))[..., 0], GREY)


def test_infinite_values_beside_no_data_name_the_frame(tmp_path):
    stored = GREY.astype(np.float32)
    stored[3, 2, 1], stored[5, 2, 1] = -9999, np.inf
    geotiff(tmp_path / "a.tif", stored, "-9999")
    with pytest.warns(UserWarning, match="missing values"):
        assert "frame 5 holds NaN or infinite values" in problem(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_damaged_page_is_one_whoever_decodes_it(tmp_path, dtype):
    """Without imagecodecs tifffile leaves LZW to Pillow and OpenCV."""
    noise = np.random.default_rng(3)
    pages = [Image.fromarray(noise.integers(0, 255, (H, W)).astype(dtype)) for _ in range(5)]
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    with tifffile.TiffFile(path) as file:
        start, length = file.pages[3].dataoffsets[0], file.pages[3].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[start : start + length] = noise.bytes(length)
    path.write_bytes(data)
    with pytest.raises(CorruptSourceError, match=r"a\.tif: frame 3 cannot be read \(.*--keep-read"):
        list(open_source(path).read())
    source = open_source(path, keep_readable=True)
    assert source.info.frames == 3
    assert not any("None" in note for note in source.info.notes)
