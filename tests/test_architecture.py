"""The walls of the house: who may import whom, and what importing the package costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "coprop_plugin"

# Imports run downwards only; rooms of one floor may see each other.
FLOORS = [
    {"structures", "parts", "openmmlab", "errors", "data"},
    {"masks"},
    {"metrics", "media", "audio", "weights", "store", "layers"},
    {"adapters", "control_points", "propagators", "fusion", "keyframe", "datasets"},
    {"coprop"},
    {"cli", "rescore", "report", "engine", "training", "registry", "study"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
OPENMMLAB = {"mmengine", "mmcv", "mmseg"}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if ".mim" not in p.parts)


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Absolute names of everything a module imports, at the top or inside functions, type checking left out."""
    tree = ast.parse(path.read_text())
    package = ["coprop_plugin", *path.relative_to(PACKAGE).parts[:-1]]
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in FLOOR, f"the room '{room}' has no floor"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] in OPENMMLAB:
            assert room in {"engine", "registry", "openmmlab"} or "mmseg" in path.stem, (
                f"{room} must not know {parts[0]}"
            )
        if parts[0] == "transformers":
            known = path.parts
            assert {"language", "adapters"} & set(known) or path.stem in {"pretrained", "doctor"}, name
        if parts[0] == "torch":
            assert room != "structures" and path.stem not in {"flow", "changepoint"}, (
                f"{path.name} must not import torch"
            )
        if parts[0] == "coprop_plugin" and len(parts) > 1 and parts[1] in FLOOR:
            assert FLOOR[parts[1]] <= FLOOR[room], f"{room} imports upwards: {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import coprop_plugin, sys; print(sorted({'torch', 'mmengine', 'cv2', 'numpy'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_the_bare_adapters_folder_refuses_to_be_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import adapters"], cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode and "coprop_plugin.adapters" in done.stderr
