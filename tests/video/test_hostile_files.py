"""Files that break readers in ways no copy error does: one SourceError, and little memory."""

import io
import os
import struct
import zipfile

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from framecast.errors import SourceError
from framecast.video.readers.open import open_source, open_sources

T, H, W = 3, 6, 9
FRAMES = np.random.default_rng(0).integers(0, 256, (T, H, W, 3), dtype=np.uint8)
MEMORY = "framecast.video.readers.frame_checks.machine_memory"


def read_or_refuse(path):
    """Read a clip to its end; SourceError is the only other way it may end."""
    try:
        source = open_source(path)
        return sum(1 for _ in source.read())
    except SourceError as error:
        assert "\n" not in str(error)
        return 0


def npy(header, body=bytes(2000), version=(1, 0)):
    """An array file with a header of any text."""
    text = header.encode("latin-1") + b"\n"
    form = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, len(text)) + text + body


HEADER = "{{'descr': '|u1', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    "header",
    [
        HEADER.format((T, 2**32, 2**32)),
        HEADER.format((-1, 4, 4)),
        HEADER.format((T, H, True)),
        HEADER.format((2**63, 4, 4)),
        HEADER.format((T, H, 2**40)),
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 6, 9), ",
        "{'descr': '|u1', 'fortran_order': False, 'shape': ((((",
        "{'descr': ('|u1', 10**9), 'fortran_order': False, 'shape': (3, 6, 9), }",
        "x" * 100,
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_headers_that_cannot_be_are_refused(tmp_path, header, suffix):
    path = tmp_path / f"clip.{suffix}"
    if suffix == "npy":
        path.write_bytes(npy(header))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("clip.npy", npy(header))
    with pytest.raises(SourceError):
        list(open_source(path).read())


@pytest.mark.parametrize(("flags", "method"), [(1, 0), (0, 99), (0, 97), (1, 8)])
def test_archives_that_are_encrypted_or_packed_unknown_are_refused(tmp_path, flags, method):
    np.savez(file := io.BytesIO(), frames=FRAMES)
    data = bytearray(file.getvalue())
    # General purpose flags and method of the central directory: APPNOTE.TXT, 4.3.12.
    at = data.find(b"PK\x01\x02")
    data[at + 8 : at + 12] = struct.pack("<HH", flags, method)
    (tmp_path / "clip.npz").write_bytes(data)
    with pytest.raises(SourceError, match=r"clip\.npz"):
        list(open_source(tmp_path / "clip.npz").read())


def test_a_gif_whose_screen_exceeds_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(MEMORY, lambda: 10**9)
    images = [Image.fromarray(frame) for frame in FRAMES]
    images[0].save(file := io.BytesIO(), "gif", save_all=True, append_images=images[1:])
    data = bytearray(file.getvalue())
    data[6:10] = struct.pack("<HH", 60_000, 60_000)  # the logical screen: GIF89a, section 18
    (tmp_path / "clip.gif").write_bytes(data)
    memory = r"(announces 14\.4 GB of pixels.* has 1\.0 GB of|not fit into this machine's) memory"
    with pytest.raises(SourceError, match=memory):
        open_source(tmp_path / "clip.gif")


def test_frames_of_an_array_that_exceed_memory_are_refused(tmp_path, monkeypatch):
    np.save(tmp_path / "clip.npy", FRAMES)
    monkeypatch.setattr(MEMORY, lambda: H * W * 3 * 8 - 1)
    with pytest.raises(SourceError, match="of pixels, this machine has"):
        open_source(tmp_path / "clip.npy")
    monkeypatch.setattr(MEMORY, lambda: H * W * 3 * 8)
    assert open_source(tmp_path / "clip.npy").info.frames == T


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
def test_titles_that_are_no_utf_8_do_not_matter(tmp_path, suffix):
    path = tmp_path / f"clip.{suffix}"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "QQQQ"
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 16, 32, "yuv420p"
        for frame in np.zeros((T, 16, 32, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    assert b"QQQQ" in data
    path.write_bytes(data.replace(b"QQQQ", b"\xe4\xff\xfe\xd0"))
    assert read_or_refuse(path) == T


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_and_devices_are_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "clip.npy")
    for path in (tmp_path / "clip.npy", "/dev/zero"):
        with pytest.raises(SourceError, match="is a device or a pipe, not a clip"):
            open_source(path)


@pytest.mark.parametrize("name", ["a" * 300, "@" + "a" * 300, "a" * 300 + "/b.npy"])
def test_names_that_are_too_long_are_one_sentence(name):
    with pytest.raises(SourceError, match="File name too long"):
        open_sources([name])
    with pytest.raises(SourceError, match="matches nothing"):
        open_sources([f"{name.removeprefix('@')}/*.png"])


def valid(kind):
    file = io.BytesIO()
    images = [Image.fromarray(frame) for frame in FRAMES]
    if kind == "npy":
        np.save(file, FRAMES)
    elif kind == "npz":
        np.savez_compressed(file, frames=FRAMES)
    else:
        images[0].save(file, kind, save_all=True, append_images=images[1:])
    return file.getvalue()


@pytest.mark.parametrize("kind", ["npy", "npz", "gif", "tiff", "png", "webp"])
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damage_anywhere_ends_in_frames_or_one_sentence(tmp_path, monkeypatch, kind, data):
    """At any place of a file: other bytes, bytes that are gone, bytes that come twice."""
    monkeypatch.setattr(MEMORY, lambda: 10**9)
    content = valid(kind)
    at = data.draw(st.integers(0, len(content)) | st.integers(0, 60))
    removed, added = data.draw(st.integers(0, 20)), data.draw(st.binary(max_size=20))
    path = tmp_path / f"clip.{kind}"
    path.write_bytes(content[:at] + added + content[at + removed :])
    assert read_or_refuse(path) <= 100_000
