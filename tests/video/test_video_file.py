"""Video files: exact counts and rates, frames as other decoders see them, damage named."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from framecast.errors import CorruptSourceError
from framecast.video.readers import video_file
from framecast.video.readers.open import open_source
from tests.support.media import (
    H,
    T,
    W,
    mp4_boxes,
    mux,
    problem,
    read_all,
    read_with_opencv,
    smooth_clip,
    write_video,
)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "libx264"),
        (".mov", "libx264"),
        (".mkv", "libx264"),
        (".m4v", "libx264"),
        (".avi", "mpeg4"),
        (".mpg", "mpeg2video"),
        (".webm", "libvpx"),
        (".webm", "libvpx-vp9"),
    ],
)
def test_containers_and_codecs(tmp_path, suffix, codec):
    clip = smooth_clip()
    path = write_video(tmp_path / f"clip{suffix}", clip, codec)
    source = open_source(path)
    info = source.info
    assert (info.kind, info.frames, info.exact) == ("video", T, True)
    assert (info.height, info.width, info.channels, info.dtype) == (H, W, 3, "uint8")
    assert (info.fps, info.stored_channels) == (12.5, 3)
    assert not [note for note in info.notes if "bits" in note]
    frames = read_all(source)
    reference = read_with_opencv(path)
    assert reference.shape == frames.shape
    assert np.abs(frames.astype(int) - reference).max() <= 2  # rounding of YUV to RGB
    nearest = [np.abs(clip.astype(int) - frame).mean(axis=(1, 2, 3)).argmin() for frame in frames]
    assert nearest == list(range(T))


def test_any_span_gives_the_frames_of_a_full_read(tmp_path):
    source = open_source(write_video(tmp_path / "clip.mp4", smooth_clip(15)))
    whole = read_all(source)
    for start in range(15):
        np.testing.assert_array_equal(read_all(source, start, 15), whole[start:])
    np.testing.assert_array_equal(read_all(source, 5, 14, 3), whole[5:14:3])
    assert list(source.read(4, 4)) == []


def test_reading_starts_at_the_key_frame_before(tmp_path, monkeypatch):
    source = open_source(write_video(tmp_path / "clip.mp4", smooth_clip(15)))
    decoded = []
    upright = video_file.UprightPixels.__call__
    monkeypatch.setattr(
        video_file.UprightPixels, "__call__", lambda *a: decoded.append(1) or upright(*a)
    )
    seeks = []
    seek = source._sought
    monkeypatch.setattr(source, "_sought", lambda *a: seeks.append(seek(*a)) or seeks[-1])
    read_all(source, 13, 15)
    assert len(decoded) == 2
    assert seeks[0][0] == 12


@pytest.mark.parametrize("span", [(-1, 3), (4, 3), (0, T + 1), (0, 3, 0)])
def test_spans_outside_the_clip_are_refused_at_once(tmp_path, span):
    source = open_source(write_video(tmp_path / "clip.mp4", smooth_clip()))
    with pytest.raises(ValueError, match=f"no such frames in {T}"):
        source.read(*span)


@pytest.mark.parametrize(("turn", "quarters"), [((0, 1, -1, 0), -1), ((0, -1, 1, 0), 1)])
def test_rotation_is_honoured(tmp_path, turn, quarters):
    path = write_video(tmp_path / "phone.mp4", smooth_clip())
    flat = read_all(open_source(path))
    data = bytearray(path.read_bytes())
    # the display matrix of the track header box, ISO/IEC 14496-12: rows (a b u), (c d v)
    matrix = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in turn)
    struct.pack_into(">6i", data, matrix, a, b, 0, c, d, 0)
    path.write_bytes(data)
    source = open_source(path)
    assert (source.info.height, source.info.width) == (W, H)
    frames = read_all(source)
    np.testing.assert_array_equal(frames, np.rot90(flat, quarters, axes=(1, 2)))
    assert np.abs(frames.astype(int) - read_with_opencv(path)).max() <= 2


def test_grey_content_is_found_and_colour_may_be_asked_for(tmp_path):
    grey = np.repeat(smooth_clip()[:, :, :, :1], 3, axis=3)
    path = write_video(tmp_path / "grey.mp4", grey)
    source = open_source(path)
    assert source.info.channels == 1
    assert source.info.notes == ("read as grey: no colour in 5 frames looked at",)
    assert read_all(source).shape == (T, H, W, 1)
    assert open_source(path, color="rgb").info.channels == 3


def test_colour_that_comes_late_is_not_lost(tmp_path):
    clip = smooth_clip(20)
    clip[:10] = clip[:10, :, :, :1]
    assert open_source(write_video(tmp_path / "late.mp4", clip)).info.channels == 3


def test_colour_is_read_as_luma_when_asked(tmp_path):
    path = write_video(tmp_path / "clip.mp4", smooth_clip())
    rgb, grey = read_all(open_source(path)), read_all(open_source(path, color="gray"))
    assert grey.shape == (T, H, W, 1)
    assert np.abs(grey[..., 0] - rgb @ np.array([0.299, 0.587, 0.114])).max() <= 0.51


def test_16_bit_grey_video_keeps_its_bits(tmp_path):
    clip = np.random.default_rng(0).integers(0, 65536, (T, H, W)).astype(np.uint16)
    path = write_video(tmp_path / "deep.mkv", clip, "ffv1", pixels="gray16le", layout="gray16le")
    source = open_source(path)
    assert (source.info.channels, source.info.dtype) == (1, "uint16")
    assert "16 bits" in source.info.notes[0]
    np.testing.assert_array_equal(read_all(source)[..., 0], clip)


def write_at(path, ticks, rate=25, clock=25):
    """Encode a frame at each of `ticks` of 1/clock s, with a key frame first and B-frames."""
    pictures = []
    for frame, tick in zip(smooth_clip(len(ticks)), ticks, strict=True):
        pictures.append(av.VideoFrame.from_ndarray(frame, format="rgb24"))
        pictures[-1].pts, pictures[-1].time_base = tick, Fraction(1, clock)
    return mux(path, pictures, "libx264", "yuv420p", rate=rate, time_base=Fraction(1, clock))


def test_a_hole_in_time_is_a_break_and_the_rate_stays_the_usual_one(tmp_path):
    info = open_source(write_at(tmp_path / "hole.mp4", [0, 1, 2, 3, 9, 10, 11, 12, 13])).info
    assert (info.frames, info.fps, info.breaks) == (T, 25.0, (4,))
    assert info.notes == ("5 frames are missing by time before frame 4",)


def test_times_all_over_are_noted(tmp_path):
    info = open_source(write_at(tmp_path / "uneven.mp4", [0, 1, 4, 5, 9, 10, 17, 18, 20])).info
    assert "the frame rate varies; frames are taken as they come" in info.notes
    assert info.breaks == ()


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_the_rate_comes_from_the_frames_not_from_the_header(tmp_path, suffix):
    ticks = [round(k * 1000 / 23.976) for k in range(40)]  # milliseconds, as browsers record
    info = open_source(write_at(tmp_path / f"a.{suffix}", ticks, rate=1000, clock=1000)).info
    assert info.fps == pytest.approx(23.976, abs=0.02)
    assert (info.breaks, info.notes) == ((), ())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9])
def test_mp4_cut_in_its_frames(tmp_path, share):
    path = write_video(tmp_path / "cut.mp4", smooth_clip(30, 64, 96))
    data = path.read_bytes()
    start, end = mp4_boxes(data)["mdat"]
    assert mp4_boxes(data)["moov"][0] < start
    path.write_bytes(data[: start + 8 + int(share * (end - start - 8))])
    text = problem(path, CorruptSourceError)
    assert f"{path}: frame " in text
    if share == 0.0:
        assert "frame 0 cannot be read" in text
        assert "frame 0 cannot be read" in problem(path, CorruptSourceError, keep_readable=True)
        return
    assert "add --keep-readable" in text
    source = open_source(path, keep_readable=True)
    assert 0 < source.info.frames < 30
    assert len(read_all(source)) == source.info.frames
    assert f"stops being readable at frame {source.info.frames}" in source.info.notes[0]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_mp4_cut_in_its_index(tmp_path, share):
    path = write_video(tmp_path / "cut.mp4", smooth_clip())
    data = path.read_bytes()
    start, end = mp4_boxes(data)["moov"]
    path.write_bytes(data[: start + int(share * (end - start))])
    assert f"{path}: frame 0 cannot be read (" in problem(path, CorruptSourceError)


def test_damage_in_the_middle_names_the_frame(tmp_path):
    path = write_video(tmp_path / "hole.mp4", smooth_clip(30, 64, 96))
    data = bytearray(path.read_bytes())
    start, end = mp4_boxes(data)["mdat"]
    middle = (start + end) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    assert "cannot be read (invalid data" in problem(path, CorruptSourceError)
    source = open_source(path, keep_readable=True)
    assert 0 < len(read_all(source)) == source.info.frames < 30


def test_cut_matroska_and_avi(tmp_path):
    for name, codec in (("cut.mkv", "libx264"), ("cut.avi", "mjpeg")):
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        path = write_video(tmp_path / name, smooth_clip(60, 64, 96), codec, pixels=pixels)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        assert "cannot be read" in problem(path, CorruptSourceError)
        source = open_source(path, keep_readable=True)
        assert 0 < len(read_all(source)) == source.info.frames < 60


def test_an_intact_video_is_kept_whole_when_only_the_readable_is_asked_for(tmp_path):
    source = open_source(write_video(tmp_path / "clip.mp4", smooth_clip()), keep_readable=True)
    assert (source.info.frames, source.info.notes) == (T, ())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"hello, this is a note\n" * 50, "is not a video file"),
        (b"#EXTM3U\n#EXTINF:10,\n/etc/hostname\n#EXT-X-ENDLIST\n", "is not a video file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "is not a video file"),
    ],
)
def test_what_is_no_video(tmp_path, content, expected):
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    assert f"{path}: {expected}" in problem(path)


def test_sound_without_pictures(tmp_path):
    path = tmp_path / "song.mp4"
    cover = av.VideoFrame.from_ndarray(smooth_clip(1)[0])
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mjpeg", pix_fmt="yuvj420p", height=H, width=W)
        picture.disposition = Disposition.attached_pic
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        sound.sample_rate = 44100
        for each, frame in ((picture, cover), (stream, sound)):
            container.mux(each.encode(frame))
            container.mux(each.encode())
    assert "has no video stream" in problem(path)


def test_the_first_of_several_video_streams_is_read_with_a_note(tmp_path):
    clip = smooth_clip()
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        large = container.add_stream("ffv1", rate=10, pix_fmt="bgr0", height=H, width=W)
        small = container.add_stream("ffv1", rate=10, pix_fmt="bgr0", height=4, width=6)
        for frame in clip:
            for stream, pixels in ((large, frame), (small, frame[:4, :6].copy())):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux([*large.encode(), *small.encode()])
    source = open_source(tmp_path / "clip.mkv")
    assert source.info.notes == ("holds 2 video streams, of which the first is read",)
    np.testing.assert_array_equal(read_all(source), clip)


def test_a_name_like_a_protocol_is_a_file(tmp_path, monkeypatch):
    write_video(tmp_path / "clip.mp4", smooth_clip()).rename(tmp_path / "concat:a.mp4")
    monkeypatch.chdir(tmp_path)
    assert open_source("concat:a.mp4").info.frames == T


def test_a_count_that_is_only_announced_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(video_file, "DECODED_COUNT_LIMIT", 3)
    path = write_video(tmp_path / "old.avi", smooth_clip(), "mpeg4")
    source = open_source(path)
    assert not source.info.exact
    assert "the container's word" in source.info.notes[0]
    assert len(read_all(source, 2, 7)) == 5
    assert open_source(path, keep_readable=True).info.exact


@pytest.mark.parametrize("layout", ["rgb565be", "rgb565le", "rgb555le"])
def test_colours_of_two_bytes_are_right_in_either_order(tmp_path, layout):
    levels = 31 if "555" in layout else 63
    path = tmp_path / "a.mov"
    frame = av.VideoFrame.from_ndarray(np.full((H, W, 3), (255, 130, 0), np.uint8))
    stored = frame.reformat(format=layout.replace("be", "le"))
    mux(path, [stored.reformat(format=layout)], "rawvideo", layout)
    red, green, blue = read_all(open_source(path))[0, 5, 5]
    assert (red, blue) == (255, 0)
    assert abs(int(green) - 130) <= 255 / levels


def palette_video(path):
    """A raw AVI of 12 grey ramps, whose palette is in the first packet alone."""
    palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1)
    palette[:, 0] = 255
    ramps = (np.arange(H * W).reshape(H, W) + 9 * np.arange(12)[:, None, None]) % 256
    stored = [(ramp, palette) for ramp in ramps.astype(np.uint8)]
    mux(path, [av.VideoFrame.from_ndarray(s, format="pal8") for s in stored], "rawvideo", "pal8")
    return ramps


def test_a_palette_is_known_in_the_middle_too(tmp_path):
    ramps = palette_video(tmp_path / "a.avi")
    source = open_source(tmp_path / "a.avi")
    np.testing.assert_array_equal(read_all(source, 7, 10)[..., 0], ramps[7:10])


def test_ten_bits_of_odd_width_keep_their_colours(tmp_path):
    path, height, width = tmp_path / "a.mkv", 31, 45
    colour = (64800, 1200, 30000)
    colours = np.full((height, width, 3), colour, np.uint16)
    frame = av.VideoFrame.from_ndarray(colours, format="rgb48le")
    pictures = [frame.reformat(format="yuv420p10le") for _ in range(3)]
    mux(path, pictures, "ffv1", "yuv420p10le")
    found = read_all(open_source(path)).astype(int)
    assert np.abs(found - colour).max() < 400  # of 65535: four levels of 10 bits


def test_colours_stay_in_place_where_a_video_says_where_they_lie(tmp_path):
    path, blue_difference = tmp_path / "a.mkv", np.repeat((400, 600), 16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p10le"
        frame = av.VideoFrame(64, 32, "yuv420p10le")
        for plane, values in zip(frame.planes, (500, blue_difference, 512), strict=True):
            rows = np.zeros((plane.height, plane.line_size // 2), "<u2")
            rows[:, : plane.width] = values
            plane.update(rows)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    # As FFmpeg's program shows it: H.264 has a chroma sample at the left one of two pixels.
    blue = read_all(open_source(path))[0, 8, :, 2]
    np.testing.assert_array_equal(blue, np.repeat((18033, 43853), 32))


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "libx264"), ("a.ts", "mpeg2video")])
def test_a_recording_of_a_broadcast_begins_at_its_first_key_frame(tmp_path, name, codec):
    whole = write_video(tmp_path / name, smooth_clip(41, 64, 96), codec)
    path = tmp_path / "cut.ts"
    path.write_bytes(whole.read_bytes()[188 * 10 :])  # packets of 188 bytes
    source = open_source(path)
    frames, count = read_all(source), source.info.frames
    assert 20 <= count < 41
    assert any("its first" in note and "cannot be decoded" in note for note in source.info.notes)
    np.testing.assert_array_equal(frames, read_all(open_source(whole), 41 - count))
    np.testing.assert_array_equal(read_all(source, count - 3), frames[-3:])


def test_an_edit_list_hides_frames_that_are_there(tmp_path):
    whole = write_video(tmp_path / "a.mp4", smooth_clip(15))
    data = bytearray(whole.read_bytes())
    # Edit list (ISO/IEC 14496-12, 8.6.6), version 0: size, "elst", flags, 1, duration, media time.
    place = data.index(b"elst") + 16
    data[place : place + 4] = struct.pack(">I", struct.unpack(">I", data[place : place + 4])[0] * 3)
    path = tmp_path / "edited.mp4"
    path.write_bytes(data)
    with av.open(str(path)) as container:  # FFmpeg drops what the list leaves out
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert 0 < len(expected) < 15
    source = open_source(path)
    assert not any("between two key frames" in note for note in source.info.notes)
    np.testing.assert_array_equal(read_all(source), expected)


def test_a_clip_that_starts_between_key_frames_begins_at_the_first(tmp_path):
    whole = write_video(tmp_path / "a.mkv", smooth_clip(15))  # a key frame every 4
    path = tmp_path / "cut.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if number >= 2 and packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    info = open_source(path).info
    frames = read_all(open_source(path))
    assert (info.frames, len(frames)) == (11, 11)
    assert any("starts between two key frames: its first" in note for note in info.notes)
    np.testing.assert_array_equal(frames, read_all(open_source(whole), 4))
    np.testing.assert_array_equal(read_all(open_source(path), 9), frames[9:])


@pytest.mark.parametrize("suffix", ["mpeg", "ts", "mts", "m2ts", "3gp", "flv", "wmv", "ogv", "m4v"])
def test_everyday_names_of_videos_are_known(tmp_path, suffix):
    codec = {"wmv": "wmv2", "ogv": "libtheora", "mpeg": "mpeg2video", "flv": "flv"}
    if suffix == "ogv" and "libtheora" not in av.codecs_available:
        codec["ogv"] = "libvpx"
    pictures = [av.VideoFrame.from_ndarray(f, format="rgb24") for f in smooth_clip(6, 64, 96)]
    codec = codec.get(suffix, "libx264")
    source = open_source(mux(tmp_path / f"a.{suffix}", pictures, codec, "yuv420p", rate=25))
    assert source.info.frames == len(read_all(source)) == 6
    assert source.info.fps == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_the_opacity_of_a_webm_counts(tmp_path, codec):
    path, opacity = tmp_path / "a.webm", np.zeros((48, 64), np.uint8)
    opacity[:, 32:] = 255
    picture = np.full((48, 64, 4), 200, np.uint8)
    picture[..., 3] = opacity
    pictures = []
    for number in range(6):
        frame = av.VideoFrame.from_ndarray(picture, format="rgba")
        pictures.append(frame.reformat(format="yuva420p"))
        pictures[-1].pts = number
    mux(path, pictures, codec, "yuva420p", options={"auto-alt-ref": "0", "crf": "4"})
    source = open_source(path, color="rgb")
    assert "transparent pixels are shown on black" in source.info.notes
    frames = read_all(source)
    assert frames[:, :, :28].max() < 20
    assert frames[:, :, 36:].min() > 180
    np.testing.assert_array_equal(read_all(source, 4), frames[4:])
