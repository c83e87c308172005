"""The size that frames are worked on at, in plain integers: no NumPy, no OpenCV."""

from __future__ import annotations

import re

from framecast.errors import ConfigError

AUTO_LONGEST_SIDE = 768


def target_size(height: int, width: int, setting: str) -> tuple[int, int]:
    """Return the (height, width) that `data.resize` asks for.

    setting: "none", "HxW" such as "96x160", or "auto": unchanged unless the longest side exceeds
    768 pixels, then shrunk to 768 with the aspect kept and both sides even.
    Raises ConfigError for anything else.
    """
    if setting == "none":
        return height, width
    if setting == "auto":
        longest = max(height, width)
        if longest <= AUTO_LONGEST_SIDE:
            return height, width
        scale = AUTO_LONGEST_SIDE / longest
        return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))
    return parse_size(setting, "data.resize: expected auto, none or HEIGHTxWIDTH")


def parse_size(text: str, rule: str) -> tuple[int, int]:
    """Read (height, width) from a text like "96x160"; ConfigError begins with the `rule`."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match is None:
        raise ConfigError(f"{rule}, got {text!r}", remedy="write it like 96x160")
    return int(match[1]), int(match[2])
