"""NumPy files: layouts, types, what is refused from the header, and where a file ends."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from framecast.errors import CorruptSourceError
from framecast.video.readers.open import open_source
from tests.support.media import H, T, W, problem, read_all, smooth_clip


def save(path, clip):
    if path.suffix == ".npz":
        np.savez_compressed(path, frames=clip)
    else:
        np.save(path, clip)
    return path


@pytest.fixture(params=[".npy", ".npz"])
def path(request, tmp_path):
    return tmp_path / f"clip{request.param}"


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize(("axes", "channels"), [((), 1), ((1,), 1), ((3,), 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2"])
def test_layouts_and_types(path, axes, channels, dtype, fortran):
    top = np.iinfo(dtype).max
    clip = np.random.default_rng(0).integers(0, top + 1, (T, H, W, *axes)).astype(dtype)
    source = open_source(save(path, np.asfortranarray(clip) if fortran else clip))
    info = source.info
    assert (info.kind, info.frames, info.exact, info.fps) == ("array", T, True, None)
    assert (info.height, info.width, info.channels) == (H, W, channels)
    assert info.dtype == np.dtype(dtype).newbyteorder("=").name
    frames = read_all(source)
    assert frames.dtype == info.dtype
    expected = clip.reshape(T, H, W, channels)
    np.testing.assert_array_equal(frames, expected)
    np.testing.assert_array_equal(read_all(source, 2, 9, 3), expected[2:9:3])


def test_booleans_become_black_and_white(path):
    clip = np.random.default_rng(0).random((T, H, W)) > 0.5
    frames = read_all(open_source(save(path, clip)))
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames[..., 0], np.where(clip, 255, 0))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_16_bit_pixels(path, dtype):
    clip = np.linspace(0, 1, T * H * W).reshape(T, H, W).astype(dtype)
    source = open_source(save(path, clip))
    assert source.info.dtype == "uint16"
    assert source.info.notes == ("floats in [0, 1] are read as 16-bit pixels",)
    np.testing.assert_array_equal(
        read_all(source)[..., 0], np.rint(clip.astype(np.float64) * 65535)
    )


def test_rounding_beyond_the_range_is_forgiven(path):
    clip = np.array([-5e-7, 1 + 5e-7]).reshape(1, 1, 2)
    assert read_all(open_source(save(path, clip))).ravel().tolist() == [0, 65535]


def test_alpha_is_dropped_with_a_note(path):
    clip = np.random.default_rng(0).integers(0, 256, (T, H, W, 4), np.uint8)
    source = open_source(save(path, clip))
    assert source.info.notes == ("transparency is dropped",)
    np.testing.assert_array_equal(read_all(source), clip[..., :3])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "holds NaN"),
        (np.inf, "holds values from 0 to inf, outside [0, 1]"),
        (-0.25, "holds values from -0.25 to 0, outside [0, 1]"),
        (255.0, "holds values from 0 to 255, outside [0, 1]"),
    ],
)
def test_floats_that_are_no_pixels_name_the_frame(path, value, said):
    clip = np.zeros((T, H, W, 3), np.float32)
    clip[6, 2, 1, 2] = clip[7, 0, 0, 0] = value
    save(path, clip)
    assert f"{path}: frame 6 {said}; scale float frames to 0" in problem(path)
    source = open_source(path, keep_readable=True)
    assert source.info.frames == 6
    assert f"stops being readable at frame 6 ({said})" in source.info.notes[1]
    assert read_all(source).shape == (6, H, W, 3)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((H, W), "expected an array (T, H, W) or (T, H, W, C), got shape (14, 22); save one clip"),
        ((2, T, H, W, 3), "got shape (2, 9, 14, 22, 3); save one clip per file"),
        ((), "got shape ()"),
        ((T, H, W, 2), "expected 1, 3 or 4 channels last, got (9, 14, 22, 2); save grey frames"),
        ((T, 3, H, W), "got (9, 3, 14, 22); move the channels to the end, with numpy.moveaxis"),
        ((0, H, W), "the array is empty, shape (0, 14, 22)"),
        ((T, 0, W), "the array is empty, shape (9, 0, 22)"),
    ],
)
def test_other_layouts_are_refused(path, shape, said):
    assert f"{path}: " in problem(save(path, np.zeros(shape, np.uint8)))
    assert said in problem(path)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint32, np.complex64, "U3", "M8[s]"])
def test_other_types_are_refused(path, dtype):
    text = problem(save(path, np.zeros((T, H, W), dtype)))
    assert f"expected bool, uint8, uint16 or float in [0, 1], got {np.dtype(dtype)}" in text


class Tripwire:
    """An object whose unpickling would be noticed."""

    tripped = False

    def __reduce__(self):
        return (setattr, (Tripwire, "tripped", True))


def test_objects_are_never_unpickled(path):
    objects = np.empty((2, 2, 2), object)
    objects[:] = Tripwire()
    save(path, objects)
    for keep_readable in (False, True):
        text = problem(path, keep_readable=keep_readable)
        assert f"{path}: holds Python objects, which are not read as they could run code" in text
    assert not Tripwire.tripped
    path.write_bytes(pickle.dumps(Tripwire()))
    assert "is no readable NumPy" in problem(path)
    assert not Tripwire.tripped


def test_the_only_clip_of_several_arrays_is_read(tmp_path):
    clip = smooth_clip()
    np.savez(tmp_path / "a.npz", times=np.arange(T), frames=clip, rate=np.array(25))
    source = open_source(tmp_path / "a.npz")
    assert source.info.notes == ("of several arrays, frames is read",)
    np.testing.assert_array_equal(read_all(source), clip)


def test_several_clips_in_one_file_are_refused_by_name(tmp_path):
    clip = smooth_clip()
    np.savez(tmp_path / "a.npz", train=clip, test=clip[:2])
    text = problem(tmp_path / "a.npz")
    assert "expected one array of frames, found train (9, 14, 22, 3), test (2, 14, 22, 3)" in text
    with zipfile.ZipFile(tmp_path / "none.npz", "w"):
        pass
    assert "expected one array of frames, found nothing" in problem(tmp_path / "none.npz")


@pytest.mark.parametrize("missing", [1, H * W * 3, H * W * 3 * 4 + 5])
def test_a_cut_npy_names_the_frame(tmp_path, missing):
    clip = smooth_clip()
    path = save(tmp_path / "cut.npy", clip)
    path.write_bytes(path.read_bytes()[:-missing])
    count = T - -(-missing // (H * W * 3))
    text = problem(path, CorruptSourceError)
    assert f"{path}: frame {count} cannot be read (the file ends here, but announces 9" in text
    assert "set data.keep_readable=true" in text
    source = open_source(path, keep_readable=True)
    np.testing.assert_array_equal(read_all(source), clip[:count])
    assert f"stops being readable at frame {count}" in source.info.notes[0]


def test_a_cut_column_order_npy_has_no_readable_frame(tmp_path):
    path = save(tmp_path / "cut.npy", np.asfortranarray(smooth_clip()))
    path.write_bytes(path.read_bytes()[:-1])
    assert "frame 0 cannot be read" in problem(path, CorruptSourceError, keep_readable=True)


def test_damage_inside_an_archive_names_the_frame(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, H, W, 3), np.uint8)
    path = save(tmp_path / "bad.npz", noise)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    assert "cannot be read (" in problem(path, CorruptSourceError)
    source = open_source(path, keep_readable=True)
    assert 0 < source.info.frames < 40
    assert len(read_all(source)) == source.info.frames


@pytest.mark.parametrize("keep", [0, 3, 40, 100])
def test_too_little_of_an_array(path, keep):
    save(path, smooth_clip())
    path.write_bytes(path.read_bytes()[:keep])
    text = problem(path)
    assert f"{path}: {'is empty' if keep == 0 else 'is no readable NumPy'}" in text


def test_text_named_npy(path):
    path.write_text("1 2 3\n4 5 6\n" * 30)
    assert f"{path}: is no readable NumPy" in problem(path)


def test_reading_an_npy_maps_it_instead_of_loading_it(tmp_path):
    shape = (2000, 512, 1024)  # 1 GiB that is not there, as the file is sparse
    path = tmp_path / "big.npy"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.truncate(len(header.getvalue()) + np.prod(shape))
    source = open_source(path)
    assert read_all(source, 1998).shape == (2, 512, 1024, 1)
