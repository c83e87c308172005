"""YAML with line numbers and without its traps: nodes are read as the setting's type wants.

PyYAML's own values would make `1e-3` a string, `no` False, `1:30` 90, and drop a repeated key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from framecast.config.fields import FieldSpec
from framecast.errors import ConfigError

if TYPE_CHECKING:
    import yaml

YAML_TAG = "tag:yaml.org,2002:"

# Bytes: ten times all settings with their comments, and already 3 s of parsing
LARGEST_FILE = 100_000


def compose(path: Path) -> yaml.Node | None:
    """The file's root node, None if it is empty; ConfigError names the line of an error."""
    import yaml  # noqa: PLC0415  (importing config stays free of it)

    try:
        # A device or a pipe could go on for ever
        if path.stat().st_size > LARGEST_FILE or not (path.is_file() or path.is_dir()):
            raise ConfigError(
                f"{path}: not a settings file of at most {LARGEST_FILE // 1000} kB",
                remedy="see framecast.yaml.example",
            )
        # Decoded here, since PyYAML names no line for bytes that are not UTF-8
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: {(error.strerror or str(error)).lower()}", remedy="check the path of --config"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text", remedy="save it as UTF-8") from None
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError(
            f"{path}:{line}: not YAML: character {error.character:#04x}", remedy="remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The second half of PyYAML's sentence may be nothing without the first
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(
            f"{path}:{mark.line + 1}: not YAML: {problem}",
            remedy="write settings as `name: value` lines, indented with spaces",
        ) from None
    except (OverflowError, ValueError):  # from chr(), for an escape such as \UFFFFFFFF
        raise ConfigError(f"{path}: not YAML: a character beyond Unicode") from None
    except RecursionError:
        raise ConfigError(f"{path}: not a configuration: nested too deeply") from None


def pairs(node: yaml.Node | None, path: str, name: str) -> Iterator[tuple[str, int, yaml.Node]]:
    """A mapping's keys, each with its line and its value's node; none for an empty value.

    Raises ConfigError for anything but a mapping and for a key that is set twice.
    """
    # `train:` with every line below it commented out
    if node is None or node.tag == YAML_TAG + "null":
        return
    line = node.start_mark.line + 1
    if node.id != "mapping":
        raise ConfigError(
            f"{path}:{line}: {name}: expected settings as `name: value` lines, got {_found(node)}"
        )
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if key_node.id != "scalar":
            raise ConfigError(f"{path}:{line}: expected a setting's name, got {_found(key_node)}")
        key = key_node.value
        if key in lines:
            raise ConfigError(
                f"{path}:{line}: {key}: set twice, first on line {lines[key]}", remedy="keep one"
            )
        lines[key] = line
        yield key, line, value_node


def node_value(node: yaml.Node, spec: FieldSpec, where: str) -> object:
    """The setting's value as the node spells it; ConfigError begins with `where`."""
    if node.id == "sequence" and all(item.id == "scalar" for item in node.value):
        # As text again, so that a list in YAML and one in a flag are read by one rule
        items = [f'"{item.value}"' if item.style else item.value for item in node.value]
        return spec.parse(f"[{', '.join(items)}]", where)
    if node.id == "scalar" and node.tag == YAML_TAG + "null":
        return spec.check(None, where)
    # A tag of the user's own, `!new`, would mean code to other loaders
    if node.id == "scalar" and node.tag.startswith(YAML_TAG):
        return spec.parse(node.value, where, quoted=node.style is not None)
    raise ConfigError(f"{where}: {spec.dotted}: expected {spec.expects}, got {_found(node)}")


def _found(node: yaml.Node) -> str:
    if node.id == "scalar":
        return node.value if node.tag.startswith(YAML_TAG) else f"the YAML tag {node.tag}"
    return {"sequence": "a list", "mapping": "a mapping"}[node.id]
