"""Sizes that frames are worked on at."""

import pytest

from framecast.errors import ConfigError
from framecast.video.frame_size import target_size


@pytest.mark.parametrize(
    ("size", "setting", "expected"),
    [
        ((1081, 1920), "none", (1081, 1920)),
        ((768, 431), "auto", (768, 431)),
        ((1080, 1920), "auto", (432, 768)),
        ((1920, 1081), "auto", (768, 432)),
        ((5000, 3), "auto", (768, 2)),
        ((7, 8), "96x160", (96, 160)),
        ((1080, 1920), "343", (192, 342)),
        ((300, 200), "300", (300, 200)),
        ((24, 32), "15", (10, 14)),
        ((24, 33), "2", (2, 2)),
    ],
)
def test_target_size(size, setting, expected):
    assert target_size(*size, setting) == expected


@pytest.mark.parametrize("setting", ["1", "096", "0x5", "96X160", "96x160x3", "-1x4", "big", ""])
def test_target_size_refuses_what_is_no_size(setting):
    with pytest.raises(ConfigError, match=r"data.resize: .*; write it like 96x160"):
        target_size(7, 8, setting)
