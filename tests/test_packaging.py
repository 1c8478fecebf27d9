"""The wheel holds what the project needs, as real files, and its configs are inherited from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_SOURCE = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__", "demo", "out", "work_dirs")


def command(*arguments: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of the source tree, and the wheel of the source distribution of it; both without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=NOT_SOURCE)
    for hidden in (".mim",):
        shutil.copytree(ROOT / "coprop_plugin" / hidden, source / "coprop_plugin" / hidden, symlinks=True)
    sdist = command("-c", "import setuptools.build_meta as b; print(b.build_sdist('dist'))", cwd=source).split()[-1]
    shutil.unpack_archive(source / "dist" / sdist, folder / "sdist")
    (unpacked,) = (folder / "sdist").iterdir()
    return {"tree": build(source, folder / "tree"), "sdist": build(unpacked, folder / "from_sdist")}


def build(source: Path, out: Path) -> Path:
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    command("-m", "pip", "wheel", ".", "-w", str(out), *options, cwd=source)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.mark.heavy
def test_the_wheel_is_whole_and_alone(wheels: dict[str, Path]) -> None:
    contents = {way: set(zipfile.ZipFile(wheel).namelist()) for way, wheel in wheels.items()}
    assert contents["tree"] == contents["sdist"]
    names = contents["tree"]
    packed = {name for name in names if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in packed} == {"coprop_plugin"}
    sources = {
        p.relative_to(ROOT).as_posix() for room in ("coprop_plugin", "adapters") for p in (ROOT / room).rglob("*.py")
    }
    sources = {f"coprop_plugin/{name}" if name.startswith("adapters") else name for name in sources}
    assert {name for name in sources if "configs/" not in name} <= names
    for config in (ROOT / "configs").rglob("*.py"):
        name = config.relative_to(ROOT).as_posix()
        assert {f"coprop_plugin/{name}", f"coprop_plugin/.mim/{name}"} <= names
    assert {"coprop_plugin/py.typed", "coprop_plugin/.mim/model-index.yml"} <= names
    assert {
        f"coprop_plugin/report/templates/{p.name}" for p in (ROOT / "coprop_plugin/report/templates").iterdir()
    } <= names


@pytest.mark.heavy
def test_configs_are_inherited_from_the_installed_wheel(wheels: dict[str, Path], tmp_path: Path) -> None:
    place = tmp_path / "site"
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    command("-m", "pip", "install", str(wheels["tree"]), "--target", str(place), *options, cwd=tmp_path)
    (tmp_path / "config.py").write_text(
        "_base_ = ['mmseg::_base_/default_runtime.py', 'coprop_plugin::_base_/coprop.py'] "
        "if __import__('coprop_plugin') else []"
    )
    code = (
        "from mmengine.config import Config; import sys; config = Config.fromfile('config.py')\n"
        "import coprop_plugin; print(coprop_plugin.__file__); print(config.custom_hooks[0].type, config.default_scope)"
    )
    where, what = command("-c", code, cwd=tmp_path, PYTHONPATH=str(place)).splitlines()[-2:]
    assert Path(where).is_relative_to(place)
    assert what == "CoPropHook mmseg"
