"""From paths to clips: what a path may be, and what is said when it is none of that."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framecast.errors import SourceError
from framecast.video.readers.open import open_source, open_sources
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
    with pytest.raises(SourceError, match=r"link: is given twice"):
        open_sources([tmp_path])


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
