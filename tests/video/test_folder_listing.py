"""What a folder holds: frames, clips, copies, and what is neither."""

import pytest

from framecast.errors import SourceError
from framecast.video.readers.folder_listing import list_folder


def test_what_a_folder_holds(tmp_path):
    for name in ("b.PNG", "a.jpeg", "Thumbs.db", ".DS_Store", "._a.jpeg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "inner").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    listing = list_folder(tmp_path)
    assert [p.name for p in listing.images] == ["a.jpeg", "b.PNG"]
    assert [p.name for p in listing.others] == ["notes.txt"]
    assert [p.name for p in listing.folders] == ["inner"]
    assert listing.clips == ()


@pytest.mark.parametrize("clip", ["movie.mp4", "data.npz", "data.npy"])
def test_images_next_to_clips_are_unclear(tmp_path, clip):
    (tmp_path / "a.png").touch()
    (tmp_path / clip).touch()
    with pytest.raises(
        SourceError, match=rf"holds images \(a.png\) next to clips \({clip}\).*; put"
    ):
        list_folder(tmp_path)


def kept(folder, *names):
    for name in names:
        (folder / name).touch()
    listing = list_folder(folder)
    return [path.name for path in listing.images], sorted(path.name for path in listing.copies)


def test_copies_by_the_system_are_left_out(tmp_path):
    copies = ["f_1 - Copy.png", "f_2 (1).png", "f_3 - Kopie (2).png"]
    found = kept(tmp_path, "f_1.png", "f_2.png", "f_3.png", *copies)
    assert found == (["f_1.png", "f_2.png", "f_3.png"], copies)


def test_numbers_in_brackets_are_no_copies(tmp_path):
    names = [f"radar ({n}).png" for n in range(1, 12)]
    assert kept(tmp_path, *names) == (names, [])


def test_of_one_frame_in_two_formats_the_better_is_read(tmp_path):
    names = [f"f_{n}.{suffix}" for n in (1, 2, 10) for suffix in ("jpg", "png")]
    assert kept(tmp_path, *names)[0] == ["f_1.png", "f_2.png", "f_10.png"]


def test_files_with_several_pictures_are_clips(tmp_path):
    for name in ("a.gif", "b.gif"):
        (tmp_path / name).touch()
    listing = list_folder(tmp_path, lambda path: 3)
    assert [path.name for path in listing.clips] == ["a.gif", "b.gif"]
    listing = list_folder(tmp_path, lambda path: 1)
    assert [path.name for path in listing.images] == ["a.gif", "b.gif"]
