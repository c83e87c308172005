"""NumPy files: layouts, types, what is refused from the header, and where a file ends."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from framecast.errors import ConfigError, CorruptSourceError, SourceError, UsageError
from framecast.video.readers.open import open_source, open_sources
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
    assert source.info.notes == (
        f"{np.dtype(dtype)} values are taken to range from 0 (black) to 1 (white); "
        "--range sets another range",
    )
    np.testing.assert_array_equal(
        read_all(source)[..., 0], np.rint(clip.astype(np.float64) * 65535)
    )


@pytest.mark.filterwarnings("error")
def test_rounding_beyond_the_range_is_forgiven(path):
    clip = np.array([-5e-7, 1 + 5e-7]).reshape(1, 1, 2)
    assert read_all(open_source(save(path, clip))).ravel().tolist() == [0, 65535]


def test_alpha_is_composed_on_black_with_a_note(path):
    clip = np.random.default_rng(0).integers(0, 256, (T, H, W, 4), np.uint8)
    source = open_source(save(path, clip))
    assert source.info.notes == ("transparent pixels are shown on black",)
    expected = clip[..., :3].astype(float) * clip[..., 3:] / 255
    assert np.abs(read_all(source) - expected).max() <= 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_values_name_the_frame(path, value):
    clip = np.zeros((T, H, W, 3), np.float32)
    clip[6, 2, 1, 2] = clip[7, 0, 0, 0] = value
    save(path, clip)
    assert f"{path}: frame 6 holds NaN or infinite values; fill missing values" in problem(path)
    source = open_source(path, keep_readable=True)
    assert source.info.frames == 6
    assert "stops being readable at frame 6 (holds NaN or infinite values)" in source.info.notes[0]
    assert read_all(source).shape == (6, H, W, 3)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((H, W), "expected frames (T, H, W), (T, H, W, C) or clips of them, got shape (14, 22)"),
        ((T, H, W, 2), "expected 1, 3 or 4 channels, got shape (9, 14, 22, 2)"),
        ((2, 2, T, H, W, 3), "got shape (2, 2, 9, 14, 22, 3); save frames as (T, H, W)"),
        ((), "got shape ()"),
        ((2, T, H, W, 2), "got shape (2, 9, 14, 22, 2)"),
        ((0, H, W), "the array is empty, shape (0, 14, 22)"),
        ((T, 0, W), "the array is empty, shape (9, 0, 22)"),
    ],
)
def test_other_layouts_are_refused(path, shape, said):
    assert f"{path}: " in problem(save(path, np.zeros(shape, np.uint8)))
    assert said in problem(path)


@pytest.mark.parametrize("dtype", [np.complex64, "U3", "M8[s]"])
def test_other_types_are_refused(path, dtype):
    text = problem(save(path, np.zeros((T, H, W), dtype)))
    assert f"expected integers, floats or bool, got {np.dtype(dtype)}" in text


MOVING = smooth_clip(frames=12)
"""Twelve frames (12, 14, 22, 3) that resemble their neighbours in time."""

CLIPS = np.stack([np.roll(MOVING, 7 * n, axis=2)[:: -1 if n % 2 else 1] for n in range(5)])
"""Five clips (N, T, H, W, C), each unlike the others."""


@pytest.mark.parametrize("kind", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("order", "axes"),
    [
        ("NTHWC", "NTHWC"),
        ("TNHWC", "TNHWC"),
        ("NTCHW", "NTCHW"),
        ("TNCHW", "TNCHW"),
        ("NCTHW", "NCTHW"),
        ("NTHW", "NTHW"),
        ("TNHW", "TNHW"),  # as Moving MNIST is published
    ],
)
def test_many_clips_in_one_array(tmp_path, order, axes, kind):
    whole = CLIPS if "C" in order else CLIPS[..., 0]
    stored = whole.transpose([("NTHWC" if "C" in order else "NTHW").index(a) for a in order])
    source = open_source(save(tmp_path / f"a{kind}", stored))
    assert (source.info.frames, source.info.breaks) == (60, (12, 24, 36, 48))
    assert f"axes are taken as {axes} (" in source.info.notes[0]
    assert source.info.notes[1].startswith("5 clips in one file")
    expected = whole.reshape(60, H, W, -1)
    np.testing.assert_array_equal(read_all(source), expected)
    np.testing.assert_array_equal(read_all(source, 13, 50, 11), expected[13:50:11])


def test_channels_first(path):
    source = open_source(save(path, np.moveaxis(MOVING, -1, 1)))
    assert (
        "axes are taken as TCHW (time 12, channels 3, height 14, width 22)" in source.info.notes[0]
    )
    np.testing.assert_array_equal(read_all(source), MOVING)


def test_axes_can_be_told(path):
    save(path, MOVING[..., 0].transpose(1, 2, 0))
    np.testing.assert_array_equal(read_all(open_source(path, axes="HWT")), MOVING[..., :1])
    for axes, said in (
        ("NTHW", "--axes NTHW has not one letter for each axis of "),
        ("HHT", "needs T, H and W, and no letter twice"),
    ):
        with pytest.raises(UsageError, match=said):
            open_source(path, axes=axes)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "taken"),
    [
        (np.uint16, 0, 4095, "0..4095"),
        (np.uint16, 0, 1000, "0..1023"),
        (np.uint16, 3, 200, "0..255"),
        (np.uint16, 0, 12, "0..12"),
        (np.int16, -1024, 3071, "-1100..3100"),
        (np.int16, 0, 4000, "0..4095"),
        (np.int8, -128, 127, "-128..127"),
        (np.uint32, 0, 60000, "0..65535"),
        (np.int64, 0, 10**9, "0..1000000000"),
        (np.float32, 0, 255, "0..255"),
        (np.float64, -31.5, 52.25, "-32..53"),
        (np.float16, 0, 0.9, "0..1"),
        (np.float32, 0, 0.011, "0..0.011"),
        (np.uint8, 0, 1, "0..1"),
    ],
)
def test_the_range_of_values_is_told_and_results_come_back(tmp_path, dtype, low, high, taken):
    clip = np.linspace(low, high, T * H * W).reshape(T, H, W).astype(dtype)
    source = open_source(save(tmp_path / "a.npy", clip))
    values = source.info.values
    assert (values.dtype, values.text) == (np.dtype(dtype).name, taken)
    assert any(f"{np.dtype(dtype)} values are taken to range" in n for n in source.info.notes)
    pixels = read_all(source)
    top = np.iinfo(pixels.dtype).max
    bounds = [float(bound) for bound in taken.replace("--", "-").split("..")]
    expected = (clip.astype(float) - bounds[0]) / (bounds[1] - bounds[0]) * top
    assert np.abs(pixels[..., 0] - expected).max() <= 0.51
    back = values.to_values(pixels)[..., 0]
    assert back.dtype == dtype
    step = (bounds[1] - bounds[0]) / top
    assert np.abs(back.astype(float) - clip).max() <= max(
        step, abs(high) * 1e-3 * (dtype == np.float16)
    )
    np.testing.assert_array_equal(np.stack(list(source.read_values()))[..., 0], clip)


def test_a_range_that_is_set_is_taken(tmp_path):
    clip = np.full((T, H, W), 1000, np.uint16)
    path = save(tmp_path / "a.npy", clip)
    assert read_all(open_source(path, range="0..2000")).max() == 32768
    assert read_all(open_source(path, range="full")).max() == 1000
    with pytest.raises(ConfigError, match="a low value below the high one"):
        open_source(path, range="9..3")
    with pytest.warns(UserWarning, match=r"from 1000 to 1000; those beyond 0\.\.500 are clipped"):
        assert read_all(open_source(path, range="0..500")).max() == 65535


@pytest.mark.parametrize("least", [-1e308, np.finfo(np.float64).min])  # what Esri's grids lack
def test_values_whose_difference_floats_cannot_hold_are_read(tmp_path, least):
    clip = np.tile([least, 0.0, 1e308], (4, 5, 1))
    np.save(tmp_path / "a.npy", clip)
    with pytest.warns(UserWarning, match="are clipped"):
        black, grey, white = next(open_source(tmp_path / "a.npy").read())[0, :, 0]
    assert (black, white) == (0, 65535)
    assert abs(int(grey) - 32768) < 2000


def test_clips_of_one_type_share_a_range(tmp_path):
    for name, top in (("a", 900), ("b", 3000)):
        save(tmp_path / f"{name}.npy", np.full((T, H, W), top, np.uint16))
    sources = open_sources([tmp_path])
    assert [source.info.values.text for source in sources] == ["0..4095"] * 2
    assert sum("to 4095" in note for note in sources[0].info.notes) == 1
    assert not any("to 1023" in note for note in sources[0].info.notes)


def test_hdf5_datasets_by_name(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/rain"] = MOVING[..., 0].astype(np.float32)
        file["times"] = np.arange(12)
    np.testing.assert_array_equal(np.stack(list(open_source(path).read_values())), MOVING[..., :1])
    with h5py.File(path, "a") as file:
        file["flow"] = CLIPS
    assert "expected one array of frames, found flow (5, 12, 14, 22, 3), group/rain" in problem(
        path
    )
    assert read_all(open_source(path, variable="flow")).shape == (60, H, W, 3)
    with pytest.raises(UsageError, match=r"has no array 'wind'; use one of flow, group/rain"):
        open_source(path, variable="wind")


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_packed_variables_are_read_as_the_values_they_stand_for(tmp_path, dtype):
    h5py = pytest.importorskip("h5py")
    numbers = MOVING[..., 0].astype(dtype) * 10 - 500
    numbers[3, 2:5] = -999
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["rain"] = numbers
        told = {"scale_factor": 0.25, "add_offset": 9000.0, "_FillValue": dtype(-999)}
        file["rain"].attrs.update(told)
    source = open_source(tmp_path / "a.nc")
    assert source.info.values.dtype == ("float32" if dtype == np.int16 else "float64")
    expected = numbers * 0.25 + 9000.0
    black = source.info.values.low
    expected[3, 2:5] = black
    assert 8600 < expected.min() == black
    with pytest.warns(UserWarning, match=rf"missing values are read as black \({black:.6g}\)"):
        found = np.stack([*source.read_values()])[..., 0]
    np.testing.assert_array_equal(found, expected)  # as xarray.open_dataset has it, but for NaN
    pixels = read_all(source)
    assert (pixels[3, 2:5] == 0).all()
    assert pixels[3, 6, 5, 0] == source.info.values.to_pixels(expected[3, 6, 5])


def test_a_missing_value_that_the_type_cannot_hold_is_no_other_value(tmp_path):
    h5py = pytest.importorskip("h5py")
    numbers = MOVING[..., 0].copy()
    numbers[3, 2] = -9999 % 256
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["rain"] = numbers
        file["rain"].attrs["missing_value"] = -9999.0
    found = np.stack([*open_source(tmp_path / "a.nc").read_values()])[..., 0]
    np.testing.assert_array_equal(found, numbers)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_numpy_headers_of_every_version(tmp_path, suffix, version):
    path, stored = tmp_path / f"clip.{suffix}", io.BytesIO()
    np.lib.format.write_array(stored, MOVING[..., 0], version)
    if suffix == "npy":
        path.write_bytes(stored.getvalue())
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("frames.npy", stored.getvalue())
    if version == (3, 0):  # for names that are not Latin-1, of fields that no frame has
        assert "format version 3.0" in problem(path)
    else:
        np.testing.assert_array_equal(read_all(open_source(path)), MOVING[..., :1])


def test_a_dataset_in_other_files_is_read_from_there(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["rain"] = MOVING[..., 0]
    layout = h5py.VirtualLayout((12, H, W), np.uint8)
    layout[:] = h5py.VirtualSource("part.h5", "rain", (12, H, W))
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.create_virtual_dataset("rain", layout)
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "whole.h5")), MOVING[..., :1])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("kind", ["virtual", "external"])
def test_a_pipe_is_no_part_of_a_dataset(tmp_path, kind):
    h5py = pytest.importorskip("h5py")
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if kind == "virtual":
            layout = h5py.VirtualLayout((5, H, W), np.uint8)
            layout[:] = h5py.VirtualSource("pipe", "rain", (5, H, W))
            file.create_virtual_dataset("rain", layout)
        else:
            file.create_dataset("rain", (5, H, W), "u1", external=[("pipe", 0, 5 * H * W)])
    said = f"names {tmp_path / 'pipe'} as a part of it, which is no file"
    assert said in problem(tmp_path / "a.h5")


def test_frames_that_nobody_has_written_are_not_listed(tmp_path):
    h5py = pytest.importorskip("h5py")
    for frames in (2**22, 2**22 + 1):
        with h5py.File(tmp_path / f"{frames}.h5", "w") as file:
            file.create_dataset("rain", (frames, H, W), np.uint8, chunks=(1, H, W))
    assert open_source(tmp_path / f"{2**22}.h5").info.frames == 2**22
    with pytest.raises(SourceError, match=r"announces 4\.19e\+06 frames, of which a file may have"):
        open_source(tmp_path / f"{2**22 + 1}.h5")


def test_a_classic_netcdf_says_how_to_convert_it(tmp_path):
    pytest.importorskip("h5py")
    (tmp_path / "a.nc").write_bytes(b"CDF\x01" + bytes(100))
    assert "NetCDF 3; convert it with nccopy -k nc4" in problem(tmp_path / "a.nc")


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


def test_several_arrays_of_one_file_are_a_clip_each(tmp_path):
    clip = smooth_clip()
    np.savez(tmp_path / "a.npz", train=clip, test=clip[:2])
    source = open_source(tmp_path / "a.npz")
    assert (source.info.frames, source.info.breaks) == (T + 2, (T,))
    np.testing.assert_array_equal(read_all(source), np.concatenate([clip, clip[:2]]))
    np.savez(tmp_path / "b.npz", train=clip, test=clip[:, 1:])
    text = problem(tmp_path / "b.npz")
    assert "train (9, 14, 22, 3) uint8 and test (9, 13, 22, 3) uint8 differ in more" in text
    assert open_source(tmp_path / "b.npz", variable="test").info.height == H - 1
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
    assert "add --keep-readable" in text
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


@pytest.mark.parametrize(
    ("dtype", "low", "high", "taken"),
    [
        (np.uint16, 30, 4000, "0..4095"),  # as the model's clips
        (np.uint16, 0, 9000, "0..16383"),
        (np.float32, -10, 54, "-10..54"),
        (np.uint8, 0, 255, "0..255"),
    ],
)
def test_a_clip_unlike_those_of_the_model_is_read_with_its_own_range(
    tmp_path, dtype, low, high, taken
):
    clip = np.linspace(low, high, T * H * W).reshape(T, H, W).astype(dtype)
    source = open_source(save(tmp_path / "a.npy", clip), {"range": "0..4095"})
    source.fit_range()
    assert source.info.values.text == taken
    unlike = any("has other values than the range 0..4095" in n for n in source.info.notes)
    assert unlike == (taken not in ("0..4095", "0..255"))
