"""The wheel holds what the project needs, as real files; its configs are inherited from it and from an editable install."""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_SOURCE = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__", "demo", "out", "work_dirs")


OFFLINE = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")


def command(*arguments: str, cwd: Path, program: str | Path = sys.executable) -> str:
    """What a program prints, run away from this repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(program), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source tree, its wheel, and the wheel of its source distribution; all without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=NOT_SOURCE)
    for hidden in (".mim",):
        shutil.copytree(ROOT / "coprop_plugin" / hidden, source / "coprop_plugin" / hidden, symlinks=True)
    sdist = command("-c", "import setuptools.build_meta as b; print(b.build_sdist('dist'))", cwd=source).split()[-1]
    shutil.unpack_archive(source / "dist" / sdist, folder / "sdist")
    (unpacked,) = (folder / "sdist").iterdir()
    return {"source": source, "tree": build(source, folder / "tree"), "sdist": build(unpacked, folder / "from_sdist")}


def build(source: Path, out: Path) -> Path:
    command("-m", "pip", "wheel", ".", "-w", str(out), *OFFLINE, cwd=source)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.mark.heavy
def test_the_wheel_is_whole_and_alone(wheels: dict[str, Path]) -> None:
    contents = {way: set(zipfile.ZipFile(wheels[way]).namelist()) for way in ("tree", "sdist")}
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


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The example's config, which inherits one of mmsegmentation and our base; the same without the hook; weights."""
    folder = tmp_path_factory.mktemp("example")
    config, checkpoint = runpy.run_path(str(ROOT / "examples" / "inherit_config.py"))["make_example"](folder)
    plain, new_style = folder / "plain.py", folder / "new_style.py"
    plain.write_text(f"_base_ = ['./{config.name}']\ncustom_hooks = []\n")
    new_style.write_text(
        "from mmengine.config import read_base\nwith read_base():\n    from coprop_plugin.configs._base_.coprop import *\n"
    )
    return {"config": config, "plain": plain, "new style": new_style, "checkpoint": checkpoint}


def installed(folder: Path, *what: str) -> Path:
    """The ``bin`` of a fresh environment with this package installed; it borrows all others from where the tests run."""
    command("-m", "venv", "--without-pip", str(folder), cwd=folder.parent)
    (site,) = folder.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    python = folder / "bin" / "python"
    command("-m", "pip", "--python", str(python), "install", *what, "--ignore-installed", *OFFLINE, cwd=folder.parent)
    return python.parent


def scalars(folder: Path) -> dict[str, float]:
    """What a run wrote into its scalars file."""
    (file,) = [path for path in folder.rglob("*.json") if path.parent.name == path.stem]
    values = json.loads(file.read_text().splitlines()[-1])
    return {name: value for name, value in values.items() if name not in ("time", "data_time", "step")}


@pytest.mark.heavy
@pytest.mark.parametrize("way", ["wheel", "editable"])
def test_an_inherited_config_runs_under_the_stock_tool_and_ours(
    way: str, wheels: dict[str, Path], example: dict[str, Path], tmp_path: Path
) -> None:
    """mmsegmentation's own ``tools/test.py``, untouched, and ``coprop test``; the base model's numbers as without us."""
    what = (str(wheels["tree"]),) if way == "wheel" else ("-e", str(wheels["source"]))
    bin_folder = installed(tmp_path / "venv", *what)
    home = command(
        "-c", "import coprop_plugin; print(coprop_plugin.__file__)", cwd=tmp_path, program=bin_folder / "python"
    )
    assert Path(home.strip()).is_relative_to(tmp_path if way == "wheel" else wheels["source"])

    mmseg = importlib.util.find_spec("mmseg")
    assert mmseg is not None and mmseg.origin is not None
    stock = str(Path(mmseg.origin).parent / ".mim" / "tools" / "test.py")
    weights = str(example["checkpoint"])
    for name in ("plain", "config"):
        arguments = (str(example[name]), weights, "--work-dir", name)
        command(stock, *arguments, cwd=tmp_path, program=bin_folder / "python")
    arguments = (str(example["config"]), weights, "--work-dir", "ours")
    printed = command("test", *arguments, cwd=tmp_path, program=bin_folder / "coprop")

    without, theirs, ours = (scalars(tmp_path / name) for name in ("plain", "config", "ours"))
    assert ours == theirs
    assert {name: ours[name] for name in without} == without
    assert set(ours) == {f"{prefix}{name}" for prefix in ("", "coprop/") for name in without}
    assert f"{ours['mIoU']:>12.2f}{ours['coprop/mIoU']:>12.2f}" in printed

    code = "import coprop_plugin, sys; from mmengine.config import Config; print(Config.fromfile(sys.argv[1]).custom_hooks)"
    assert "CoPropHook" in command("-c", code, str(example["new style"]), cwd=tmp_path, program=bin_folder / "python")
