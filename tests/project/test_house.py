"""The structure is as its picture says: imports go downwards, without circles or an early torch."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "framecast"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")
}

MAY_IMPORT = {
    "errors": "",
    "config": "errors",
    "runtime": "errors",
    "video": "errors config runtime",
    "nn": "errors config runtime",
    "data": "errors config runtime video nn",
    "prediction": "errors config runtime video nn data",
    "evaluation": "errors config runtime video nn data prediction",
    "training": "errors config runtime video nn data prediction evaluation",
    "inspection": "errors config runtime video nn data prediction",
    "export": "errors config runtime video nn data prediction",
    "cli": "errors config runtime video nn data prediction evaluation training inspection export",
    "api": "errors config runtime video data prediction evaluation training",
    "__init__": "api runtime nn data prediction evaluation training video",
    "__main__": "cli",
}
"""For each wing, the other wings that it may import."""


def imports(tree):
    """Modules of the package that a file imports, wherever in it, `if TYPE_CHECKING` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("framecast"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("framecast"))


@pytest.fixture(scope="module")
def trees():
    """The syntax trees of all modules; not made where tests are only collected."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


@pytest.fixture(scope="module")
def graph(trees):
    """Which modules of the package each one imports."""
    return {name: set(imports(tree)) for name, tree in trees.items()}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_arrows_point_downwards(graph, name):
    wing = name.split(".")[1]
    wings = {target.split(".")[1] for target in graph[name] if "." in target}
    assert wings - {wing} <= set(MAY_IMPORT[wing].split())
    assert "framecast" not in graph[name], "the public names are for users, not for the house"


def test_there_is_no_circle(graph):
    left = {name: targets & set(MODULES) for name, targets in graph.items()}
    while free := {name for name, targets in left.items() if not targets & set(left)}:
        left = {name: targets for name, targets in left.items() if name not in free}
    assert not left


@pytest.mark.parametrize("wing", ["cli", "config", "inspection", "video"])
def test_these_wings_import_no_torch(wing):
    names = [name for name in MODULES if name.startswith(f"framecast.{wing}.")]
    script = f"import sys, importlib\nfor name in {names}: importlib.import_module(name)\n"
    script += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_the_picture_names_every_file_and_no_other():
    picture = (PACKAGE / "README.md").read_text(encoding="utf-8")
    table = picture[picture.index("| wing |") :].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)(?:\.py)?`", table))
    files = {path.stem for path in MODULES.values()} - {"__init__", "__main__"}
    assert files <= named
    folders = {path.parent.name for path in MODULES.values()}
    assert named <= files | folders | {"cli", "config", "inspection", "video"}


def test_files_named_for_a_change_are_there():
    picture = (PACKAGE / "README.md").read_text(encoding="utf-8")
    table = picture[picture.index("| what someone says |") :].partition("\n\n")[0]
    named = re.findall(r"`([\w/]+\.py)`", table)
    assert len(named) == 10
    assert [name for name in named if not (PACKAGE / name).is_file()] == []


def test_functions_fit_on_a_screen(trees):
    """Bodies of at most 60 lines: signatures of commands and of Keras' layers are longer."""
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                length = node.end_lineno - node.body[0].lineno + 1
                assert length <= 60, f"{MODULES[name]}:{node.lineno} {node.name}"
