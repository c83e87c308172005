"""The size that frames are worked on at, in plain integers: no NumPy, no OpenCV."""

from __future__ import annotations

import re

from framecast.errors import ConfigError

AUTO_LONGEST_SIDE = 768


def target_size(height: int, width: int, setting: str) -> tuple[int, int]:
    """Return the (height, width) that `data.resize` asks for.

    setting: "none", "HxW" such as "96x160", or the most pixels that a side may have, such as "512":
    larger frames are shrunk to it with the aspect kept and both sides even. "auto" is "768".
    Raises ConfigError for anything else.
    """
    if setting == "none":
        return height, width
    if setting == "auto":
        setting = str(AUTO_LONGEST_SIDE)
    if re.fullmatch("[2-9]|[1-9][0-9]{1,4}", setting):
        longest, most = max(height, width), int(setting)
        if longest <= most:
            return height, width
        scale = (most - most % 2) / longest  # the longest side is even and no longer than `most`
        return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))
    return parse_size(setting, "data.resize: expected auto, none, SIDE (2 or more) or HEIGHTxWIDTH")


def parse_size(text: str, rule: str) -> tuple[int, int]:
    """Read (height, width) from a text like "96x160"; ConfigError begins with the `rule`."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match is None:
        raise ConfigError(f"{rule}, got {text!r}", remedy="write it like 96x160")
    return int(match[1]), int(match[2])
