"""The walls of the house: the length of files and what importing the package costs; who may import whom: make lint."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "coprop_plugin"

MODULES = sorted(p for p in PACKAGE.rglob("*.py") if ".mim" not in p.parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


READERS = {  # who may call a reader that checks nothing: the one reader of its kind, and those of what is not a file of others
    "files/documents.py": "the one reader of JSON and YAML",
    "weights/checkpoint.py": "the one reader of what torch.save wrote",
    "media/arrays.py": "the one reader of numpy's files",
    "metrics/scores.py": "a leaf; a text that the caller holds",
    "rescore/worker.py": "what it wrote itself, in memory",
    "rescore/torchrun.py": "what its own ranks say",
    "audio/tags.py": "a file of the package",
    "vision/heard_and_seen.py": "a file of the package",
    "datasets/objects/build.py": "a file of the package",
    "language/model.py": "an answer of a model, any error of it is caught",
    "language/transport.py": "an answer of a server, any error of it is caught",
}
UNCHECKED = re.compile(
    r"\b(json\.loads?|yaml\.\w*load\w*|torch\.load|np\.(load|fromfile|genfromtxt)|pickle\.loads?|toml\w*\.loads?)\("
)


def test_files_of_others_have_one_reader() -> None:
    """Sizes, kinds of file, depth and types are checked in one place; a reader that checks nothing stands nowhere else."""
    found = {p.relative_to(PACKAGE).as_posix() for p in MODULES if UNCHECKED.search(p.read_text())}
    assert found <= {*READERS}, f"read these through files/ or weights/: {sorted(found - {*READERS})}"


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
