"""Arguments from Python: paths from home."""

import ntpath
import posixpath
from types import SimpleNamespace

import pytest

from framecast.config import argument_types
from framecast.config.argument_types import from_home


@pytest.mark.parametrize(
    ("system", "path", "expected"),
    [
        (ntpath, "~\\runs", "C:\\Users\\me\\runs"),
        (ntpath, "~/runs", "C:\\Users\\me/runs"),
        (ntpath, "~", "C:\\Users\\me"),
        (ntpath, "~other\\runs", "~other\\runs"),
        (posixpath, "~/runs", "/home/me/runs"),
        (posixpath, "~\\runs", "~\\runs"),  # a name like any other
        (posixpath, "~other/runs", "~other/runs"),
        (posixpath, "runs/~", "runs/~"),
    ],
)
def test_the_home_folder_is_a_tilde_before_a_slash_of_the_system(
    monkeypatch, system, path, expected
):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "C:\\Users\\me")
    monkeypatch.setattr(argument_types, "os", SimpleNamespace(sep=system.sep, path=system))
    assert from_home(path) == expected
