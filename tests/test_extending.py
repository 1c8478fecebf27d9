"""A package of somebody else, written from the pages on extending: one class and one line of an entry point a kind."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.registry import Registry

from coprop_plugin import CoPropError, parts
from coprop_plugin.cli.doctor import examine
from coprop_plugin.cli.main import main
from coprop_plugin.engine.mirror import mirrored
from coprop_plugin.weights.catalogue import catalogue

PAGES = Path(__file__).resolve().parent.parent / "docs" / "extending"
KINDS: dict[parts.PartKind, str] = {
    "adapter": "brightness",
    "control_points": "loudness",
    "propagator": "fade",
    "fusion": "steady",
}
BLOCK = re.compile(r"^```(python|ini)\n(.*?)^```$", re.M | re.S)


def blocks(kind: str) -> tuple[str, str, list[str]]:
    """The module of a page, its entry point, and the code that uses it."""
    found = BLOCK.findall((PAGES / f"{kind}.md").read_text(encoding="utf-8"))
    module, *uses = [text for language, text in found if language == "python"]
    (entry_point,) = [text for language, text in found if language == "ini"]
    return module, entry_point, uses


@pytest.fixture
def my_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The modules of all pages and their entry points, as an installed package lies on disk."""
    folder, info = tmp_path / "site" / "my_package", tmp_path / "site" / "my_package-1.2.dist-info"
    folder.mkdir(parents=True)
    info.mkdir()
    (folder / "__init__.py").write_text("")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.2\n")
    points = []
    for kind, name in KINDS.items():
        module, entry_point, _ = blocks(kind)
        assert module.startswith(f"# my_package/{name}.py\n")
        (folder / f"{name}.py").write_text(module)
        points.append(entry_point)
    (info / "entry_points.txt").write_text("\n".join(points))
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


@pytest.mark.parametrize(("kind", "name"), KINDS.items())
def test_the_page_runs_and_the_part_is_known_everywhere(
    kind: parts.PartKind, name: str, my_package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert name in parts.names(kind) and f"{kind}: {name}" in examine_third_party()
    assert not any(module.startswith("my_package.") for module in sys.modules), "listed, not loaded"
    _, _, uses = blocks(kind)
    names = dict(vars(importlib.import_module(f"my_package.{name}")))
    for use in uses:
        exec(compile(use, f"{kind}.md", "exec"), names)
    assert main(["parts", kind]) == 0
    assert f"  {name} " in capsys.readouterr().out
    assert main(["parts", kind, name]) == 0
    told = capsys.readouterr().out
    assert "my-package 1.2" in told and "example     --" in told
    registry: Registry = mirrored(kind)
    assert name in registry.module_dict and name.capitalize() in registry.module_dict


def examine_third_party() -> dict[str, str]:
    return examine()["parts of other packages"]


def test_its_weights_are_recognised(my_package: Path) -> None:
    (variant,) = [variant for variant in catalogue() if variant.part == "brightness"]
    assert variant.name == "rgb"
    assert variant.fit({"weight": torch.ones(1, 3, 1, 1), "bias": torch.zeros(1)}).exact


def test_parts_that_need_nothing_are_studied(my_package: Path) -> None:
    assert "loudness" in parts.ready("control_points")
    assert "steady" in parts.ready("fusion") and "fade" in parts.ready("propagator")
    assert "brightness" not in parts.ready("adapter")


def test_options_are_checked_as_ours_are(my_package: Path) -> None:
    with pytest.raises(CoPropError, match=r"'fade': half_life_s is a finite number, got 'long'"):
        parts.build("propagator", "fade:half_life_s=long")
    with pytest.raises(CoPropError, match=r"'fade' has no option 'half_live_s'. Did you mean 'half_life_s'"):
        parts.build("propagator", {"name": "fade", "half_live_s": 1.0})
    with pytest.raises(CoPropError, match="half_life_s > 0"):
        mirrored("propagator").module_dict["Fade"](half_life_s=0)  # as an MMEngine config builds it


def test_a_package_that_breaks_harms_nobody_else(my_package: Path) -> None:
    (my_package / "fade.py").write_text("import no_such_thing\n")
    assert "fade" in parts.names("propagator")
    with pytest.raises(CoPropError, match=r"'fade' of the package my-package 1.2 cannot be loaded.*no_such_thing"):
        parts.build("propagator", "fade")
    assert parts.build("propagator", "hold").name == "hold"


def test_something_else_than_the_kind_is_refused(my_package: Path) -> None:
    (my_package / "fade.py").write_text("class Fade:\n    pass\n")
    with pytest.raises(
        CoPropError, match=r"'fade' must be .* an object of Propagator .*coprop_plugin.propagators.base.Propagator"
    ):
        parts.build("propagator", "fade")
