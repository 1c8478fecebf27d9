"""The walls of the house: the length of files and what importing the package costs; who may import whom: make lint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "coprop_plugin"

MODULES = sorted(p for p in PACKAGE.rglob("*.py") if ".mim" not in p.parts)


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
