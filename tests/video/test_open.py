"""From paths to clips: what a path may be, and what is said when it is none of that."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from framecast.errors import SourceError, UsageError
from framecast.video.readers import video_file
from framecast.video.readers.image_file import decode_image
from framecast.video.readers.open import (
    distinct_names,
    expand_clips,
    open_source,
    open_sources,
)
from tests.support.media import H, T, W, problem, read_all, smooth_clip, write_folder, write_video


@pytest.fixture
def clip():
    return smooth_clip()


def names(sources):
    return [source.info.path.name for source in sources]


def test_a_folder_of_folders_is_one_clip_each(tmp_path, clip):
    for name, frames in (("c10", 4), ("c2", 3), ("c1", 5)):
        write_folder(tmp_path / name, clip[:frames])
    (tmp_path / ".git").mkdir()
    (tmp_path / "empty").mkdir()
    sources = open_sources([tmp_path])
    assert names(sources) == ["c1", "c2", "c10"]
    assert [source.info.frames for source in sources] == [5, 3, 4]


def test_clips_of_one_name_are_told_apart_by_their_folders(tmp_path, clip):
    for place in ("seq0/left", "seq0/right", "seq1/left", "one"):
        write_folder(tmp_path / place, clip)
    folders = [tmp_path / place for place in ("seq0", "seq1", "one")]
    sources = open_sources(folders)
    assert [each.info.name for each in sources] == ["seq0/left", "right", "seq1/left", "one"]
    assert open_source(tmp_path / "seq1/left").info.name == "left"


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/x/1", "b/x/1", "b/y/1", "2"], ["a/x/1", "b/x/1", "y/1", "2"]),
        (["1", "a/1", "b/a/1"], ["1", "a/1", "b/a/1"]),
        (["/a/1", "b/a/1"], ["/a/1", "b/a/1"]),
        (["a/1", "b/2", "a/1"], ["1", "2", "1"]),
        ([], []),
    ],
)
def test_as_many_folders_are_named_as_tell_paths_apart(paths, expected):
    assert distinct_names([Path(path) for path in paths]) == expected


def test_a_folder_of_clips_of_every_kind(tmp_path, clip):
    write_video(tmp_path / "b.mp4", clip)
    np.save(tmp_path / "c.npy", clip)
    Image.fromarray(clip[0]).save(
        tmp_path / "a.gif", save_all=True, append_images=[Image.fromarray(f) for f in clip[1:]]
    )
    write_folder(tmp_path / "deep" / "er", clip)
    sources = open_sources([tmp_path])
    assert names(sources) == ["a.gif", "b.mp4", "c.npy", "er"]
    assert [source.info.kind for source in sources] == ["gif", "video", "array", "folder"]
    assert all(read_all(source).shape == (T, H, W, 3) for source in sources)


def test_all_clips_that_cannot_be_used_are_named_or_left_out(tmp_path, clip):
    for name in ("a", "g"):
        np.save(tmp_path / f"{name}.npy", clip)
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(SourceError) as caught:
        open_sources([tmp_path])
    assert str(caught.value) == f"{tmp_path / 'b.mp4'}: is empty; check what the file is"
    for name in "cdef":
        (tmp_path / f"{name}.mp4").write_bytes(b"no video" * 99)
    empty, text = f"{tmp_path / 'b.mp4'}: is empty", "is not a video file"
    named = f"{empty}, {tmp_path / 'c.mp4'}: {text}, {tmp_path / 'd.mp4'}: {text} and 2 more"
    with pytest.raises(SourceError) as caught:
        open_sources([tmp_path])
    assert str(caught.value) == (
        f"5 of 7 clips cannot be used: {named}; take them out, or add --keep-readable to leave "
        "them out"
    )
    sources = open_sources([tmp_path], keep_readable=True)
    assert names(sources) == ["a.npy", "g.npy"]
    said = [[note for note in source.info.notes if "left out" in note] for source in sources]
    assert said == [[f"left out 5 clips that cannot be used: {named}"], []]
    with pytest.raises(SourceError) as caught:
        open_sources([tmp_path / "b.mp4", tmp_path / "c.mp4"], keep_readable=True)
    assert str(caught.value) == f"{empty}; check what the file is"


def test_several_paths_keep_their_order_and_settings(tmp_path, clip):
    paths = [write_folder(tmp_path / name, clip) for name in ("z", "a")]
    sources = open_sources([str(path) for path in paths], color="gray")
    assert names(sources) == ["z", "a"]
    assert [source.info.channels for source in sources] == [1, 1]


def test_one_clip_in_a_folder_may_be_given_by_the_folder(tmp_path, clip):
    (tmp_path / "in").mkdir()
    path = write_video(tmp_path / "in" / "only.mp4", clip)
    assert open_source(tmp_path).info.path == path


def test_several_clips_where_one_is_needed(tmp_path, clip):
    for name in ("b", "a"):
        write_folder(tmp_path / name, clip)
    with pytest.raises(SourceError) as caught:
        open_source(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: holds 2 clips where one is needed; give {tmp_path / 'a'}"
    )


def test_a_clip_given_twice_would_leak_into_validation(tmp_path, clip):
    inner = write_folder(tmp_path / "a", clip)
    with pytest.raises(SourceError, match=r"a: is given twice; name each clip once"):
        open_sources([tmp_path, inner])
    (tmp_path / "link").symlink_to(inner)
    assert names(open_sources([tmp_path])) == ["a"]
    with pytest.raises(SourceError, match=r"link: is given twice"):
        open_sources([inner, tmp_path / "link"])


def test_what_links_lead_to_twice_is_read_once(tmp_path, clip):
    write_folder(tmp_path / "b" / "c", clip)
    for name in ("a", "z"):
        (tmp_path / name).symlink_to(tmp_path / "b")
    assert names(open_sources([tmp_path])) == ["c"]


def test_links_that_lead_in_circles_end(tmp_path, clip):
    write_folder(tmp_path / "a", clip)
    (tmp_path / "circle").symlink_to(tmp_path)
    assert names(open_sources([tmp_path])) == ["a"]


def test_no_source_at_all():
    with pytest.raises(SourceError, match="no source is given"):
        open_sources([])


def test_paths_that_are_no_clip(tmp_path, clip):
    missing = tmp_path / "nothing"
    assert f"{missing}: no such file or folder; check the path" in problem(missing)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"{empty}: holds nothing to read; give a folder with some of 264 3g2 3gp" in problem(
        empty
    )
    (empty / "notes.txt").touch()
    assert f"{empty}: holds no frames or clips, but notes.txt; give" in problem(empty)
    assert f"{empty / 'notes.txt'}: cannot tell what it is from its name" in problem(
        empty / "notes.txt"
    )
    single = write_folder(tmp_path / "f", clip) / "frame0.png"
    assert f"{single}: is a single image, not a clip; give its folder" in problem(single)
    through = single / "inner"
    assert f"{through}: cannot be read (Not a directory)" in problem(through)


@pytest.mark.parametrize("name", ["https://example.com/clip.mp4", "camera:0", "-"])
def test_live_sources_are_no_files(name):
    remedy = "save its frames as one, or forecast them with predict --stream"
    assert problem(name) == f"{name}: is no file; {remedy}"
    assert problem(Path(name)) == f"{name}: is no file; {remedy}"  # of which a slash is lost


def test_runs_are_no_clips(tmp_path, clip):
    run = tmp_path / "runs/train-1"
    run.mkdir(parents=True)
    for name in ("best.pt", "run.json"):
        (run / name).touch()
    write_folder(run, clip)
    assert problem(run) == (
        f"{run}: is the run of a training, not a clip; give clips; predict and evaluate take one "
        "run, before the clips"
    )
    write_folder(tmp_path / "clips/a", clip)
    (source,) = open_sources([tmp_path])
    assert source.info.path == tmp_path / "clips/a"


def test_images_beside_videos_are_unclear(tmp_path, clip):
    write_folder(tmp_path, clip)
    write_video(tmp_path / "movie.mp4", clip)
    assert "holds images (frame0.png) next to clips (movie.mp4)" in problem(tmp_path)


@pytest.mark.parametrize("kind", ["f", "clip.mp4", "clip.gif", "clip.npy", "clip.npz"])
def test_denied_permission_is_said_as_such(tmp_path, clip, kind, monkeypatch):
    path = tmp_path / kind
    if kind == "f":
        write_folder(path, clip)
    else:
        path.write_bytes(b"never read")

    def deny(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    # Rights on the file itself would not stop a test that runs as root.
    monkeypatch.setattr(Path, "open", deny)
    monkeypatch.setattr(Path, "iterdir", deny)
    monkeypatch.setattr("zipfile.io.open", deny)
    assert f"{path}: permission to read it is denied; run chmod u+r on it" in problem(path)


def test_a_source_can_be_read_again_and_side_by_side(tmp_path, clip):
    np.save(tmp_path / "c.npy", clip)
    paths = [write_folder(tmp_path / "f", clip), write_video(tmp_path / "v.mp4", clip)]
    for source in open_sources([*paths, tmp_path / "c.npy"]):
        first, second = source.read(), source.read(4)
        np.testing.assert_array_equal(next(first), next(source.read()))
        ahead = next(second)
        frames = list(source.read())
        np.testing.assert_array_equal(ahead, frames[4])
        np.testing.assert_array_equal(next(first), frames[1])


def test_a_quoted_glob_of_images_is_one_clip(tmp_path, clip):
    write_folder(tmp_path / "f", clip, "frame{}.png")
    write_folder(tmp_path / "f", clip[:2], "mask{}.png")
    source = open_source(f"{tmp_path}/f/frame*.png")
    assert (source.info.frames, len(source.files)) == (T, T)
    np.testing.assert_array_equal(read_all(source), clip)
    sources = open_sources([f"{tmp_path}/f/[fm]*.png"])
    assert sources[0].info.breaks == (T,)


def test_all_images_of_a_folder_are_the_folder(tmp_path, clip):
    frames, video = write_folder(tmp_path / "frames", clip), write_video(tmp_path / "a.mp4", clip)
    (frames / "notes.txt").write_text("")
    images = [*frames.glob("*.png")][::-1]
    assert len(images) == T
    # As a shell makes of a.mp4 frames/*.png, or of two such patterns
    sources = open_sources([video, *images])
    assert names(sources) == ["a.mp4", "frames"]
    np.testing.assert_array_equal(read_all(sources[1]), clip)
    assert expand_clips([*images[3:], video, *images[:3]]) == [str(frames), str(video)]
    other = write_folder(tmp_path / "other", clip[:4])
    assert names(open_sources([*images, *other.iterdir()])) == ["frames", "other"]


def test_some_images_of_a_folder_are_refused(tmp_path, clip):
    images = sorted(write_folder(tmp_path / "frames", clip).iterdir())
    told = f"{tmp_path}/frames: only some of its images are given; quote the pattern"
    for call in (open_sources, expand_clips):
        with pytest.raises(SourceError, match=told):
            call(images[1:])
    assert names(open_sources([f"{tmp_path}/frames/*[2-5].png"])) == ["frames"]
    with pytest.raises(SourceError, match="is a single image, not a clip; give its folder"):
        open_sources(images[:1])


def test_several_animations_or_stacks_are_a_clip_each(tmp_path, clip):
    paths = [tmp_path / name for name in ("a.gif", "b.gif", "c.tif", "d.tif")]
    for path in paths[:2]:
        Image.fromarray(clip[0]).save(path, save_all=True, append_images=map(Image.fromarray, clip))
    for path in paths[2:]:
        tifffile.imwrite(path, clip, photometric="rgb")
    for kind in (paths[:2], paths[2:], paths):
        assert names(open_sources(kind)) == [path.name for path in kind]


def test_a_glob_of_videos_is_a_clip_each(tmp_path, clip):
    for name in ("b.mp4", "a.mp4", "c.mkv"):
        write_video(tmp_path / name, clip)
    sources = open_sources([f"{tmp_path}/*.mp4"])
    assert [source.info.path.name for source in sources] == ["a.mp4", "b.mp4"]
    assert "no*.mp4: matches nothing" in problem(f"{tmp_path}/no*.mp4")


def test_a_glob_follows_the_order_of_numbers_as_folders_do(tmp_path, clip):
    for number in (1, 2, 10):
        np.save(tmp_path / f"v{number}.npy", clip)
        np.save(write_folder(tmp_path / f"f{number}", []) / "w.npy", clip)
    assert names(open_sources([f"{tmp_path}/*.npy"])) == ["v1.npy", "v2.npy", "v10.npy"]
    inner = [source.info.path.parent.name for source in open_sources([f"{tmp_path}/f*/*.npy"])]
    assert inner == ["f1", "f2", "f10"]


def test_a_glob_of_all_that_a_folder_holds_is_like_the_folder(tmp_path, clip):
    write_folder(tmp_path, clip)
    write_folder(tmp_path / "masks", clip[:3])
    for given in (tmp_path, tmp_path / "*"):
        source = open_source(given)
        assert (source.info.path, source.info.frames) == (tmp_path, T)
        assert source.info.notes == ("not frames, ignored: masks/",)


def test_a_text_file_lists_clips(tmp_path, clip):
    write_folder(tmp_path / "f", clip)
    write_video(tmp_path / "a.mp4", clip)
    (tmp_path / "clips.txt").write_text("# two clips\n\na.mp4\n  f  \n")
    sources = open_sources([f"@{tmp_path}/clips.txt"])
    assert [source.info.kind for source in sources] == ["video", "folder"]
    assert "none.txt: no such file or folder" in problem(f"@{tmp_path}/none.txt")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00clip", b"clip.mp4\n" * 2_000_000])
def test_a_list_that_is_no_text_or_far_too_long_is_refused(tmp_path, content):
    (tmp_path / "clips.txt").write_bytes(content)
    with pytest.raises(SourceError, match=r"clips\.txt: is no list of clips; write a path a line"):
        open_sources([f"@{tmp_path / 'clips.txt'}"])


def test_a_pattern_that_no_name_can_match(tmp_path, clip):
    write_folder(tmp_path / "a", clip)
    # Newer versions of Python take two stars for one, older ones refuse them.
    with pytest.raises(SourceError, match=r"\*\*\.gif: (no such file|matches no)"):
        open_sources([tmp_path / "**.gif"])


def test_a_list_may_name_the_home_of_somebody_who_is_not_there(tmp_path):
    (tmp_path / "clips.txt").write_text("~nobody-of-this-name/a.mp4\n")
    assert "/~nobody-of-this-name/a.mp4: no such file" in problem(f"@{tmp_path}/clips.txt")


def test_a_setting_typed_as_a_source_names_its_flag(tmp_path):
    for text, flag in (
        ("epochs=10", "--epochs 10"),
        ("batch-size=4", "--batch-size 4"),
        ("train.lr=1e-3", "--lr 1e-3"),
    ):
        with pytest.raises(UsageError, match=f"is no source but a setting; write {flag}"):
            open_sources([text])


def test_an_heic_picture_is_named_whatever_it_is_called(tmp_path):
    (tmp_path / "IMG_1.jpg").write_bytes(bytes(4) + b"ftypheic" + bytes(60))
    assert "it is an HEIC picture, whatever its name; convert it" in problem(tmp_path)


# By EXIF's orientation, which TIFF has, too.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("depth", [8, 16])
def test_cameras_say_which_side_is_up(tmp_path, clip, orientation, depth):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = clip[0, :, :, 0] if depth == 8 else clip[0, :, :, 0].astype(np.uint16) * 257
    expected = UPRIGHT[orientation](stored)
    Image.fromarray(stored).save(tmp_path / "0.png", exif=exif)
    np.testing.assert_array_equal(read_all(open_source(tmp_path))[0, :, :, 0], expected)
    decoded = decode_image((tmp_path / "0.png").read_bytes(), "0.png")
    np.testing.assert_array_equal(decoded[:, :, 0], expected)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("depth", [8, 16])
def test_tiffs_say_which_side_is_up(tmp_path, clip, orientation, depth, compression):
    stored = clip if depth == 8 else clip.astype(np.uint16) * 257
    options = {
        "photometric": "rgb",
        "compression": compression,
        "extratags": [(ExifTags.Base.Orientation, "H", 1, orientation, False)],
    }
    tifffile.imwrite(tmp_path / "0.tif", stored[0], **options)
    tifffile.imwrite(tmp_path / "stack.tif", stored, **options)
    expected = [UPRIGHT[orientation](frame) for frame in stored]
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "0.tif*")), expected[:1])
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "stack.tif")), expected)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("depth", [8, 16])
def test_tiffs_that_libtiff_decodes_are_turned_once(tmp_path, clip, orientation, depth):
    stored = clip[..., 0] if depth == 8 else clip[..., 0].astype(np.uint16) * 257
    pictures = [Image.fromarray(frame) for frame in stored]
    options = {"compression": "tiff_lzw", "tiffinfo": {274: orientation}}
    pictures[0].save(tmp_path / "a.tif", save_all=True, append_images=pictures[1:], **options)
    expected = [UPRIGHT[orientation](frame) for frame in stored]
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "a.tif"))[..., 0], expected)


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),  # a quarter turn clockwise
        ((-1, 0, 0, -1), lambda a: a[::-1, ::-1]),
        ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),  # a mirror, as front cameras write it
        ((1, 0, 0, -1), lambda a: a[::-1]),
        ((0, 1, 1, 0), lambda a: a.swapaxes(0, 1)),
    ],
)
def test_display_matrices_turn_and_mirror(matrix, turned):
    a, b, c, d = (value * 65536 for value in matrix)
    data = np.array([a, b, 0, c, d, 0, 0, 0, 2**30], np.int32).tobytes()
    frame = SimpleNamespace(side_data={"DISPLAYMATRIX": data})
    picture = np.arange(H * W).reshape(H, W, 1)
    np.testing.assert_array_equal(video_file._turned(picture, frame), turned(picture))


def test_lists_as_windows_writes_them_and_links_in_circles(tmp_path):
    for name in ("a", "b"):
        write_folder(tmp_path / name, smooth_clip())
    (tmp_path / "clips.txt").write_bytes("\ufeffa\r\n# no\r\n  b\r\n".encode())
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    for given in ([f"@{tmp_path}/clips.txt"], [f"{tmp_path}/*"], [f"{tmp_path}/**/*.png"]):
        assert [s.info.path.name for s in open_sources(given)] == ["a", "b"]
    (tmp_path / "clips.txt").write_bytes(b"a\0b")
    assert "is no list of clips" in problem(f"@{tmp_path}/clips.txt")
    assert "*.jpg: matches nothing; check the pattern" in problem(f"{tmp_path}/*.jpg")
