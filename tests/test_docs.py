"""The documentation is true: its drawing of the import rule, its examples in docstrings, its links."""

from __future__ import annotations

import doctest
import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WITH_EXAMPLES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("coprop_plugin", "adapters")
    for path in (ROOT / folder).rglob("*.py")
    if ".mim" not in path.parts and "configs" not in path.parts and ">>> " in path.read_text(encoding="utf-8")
)


def drawn_import_rule() -> str:
    """The layers of the contract, the upper ones first, an arrow to what may be imported."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return "\n    ↓\n".join(layers) + "\n"


def test_the_import_rule_is_drawn_as_it_is() -> None:
    assert (ROOT / "docs/import_rule.txt").read_text(encoding="utf-8") == drawn_import_rule()


@pytest.mark.parametrize("path", WITH_EXAMPLES)
def test_examples_in_docstrings_run(path: str) -> None:
    name = path.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name if name.startswith("coprop_plugin") else f"coprop_plugin.{name}")
    done = doctest.testmod(module)
    assert done.attempted and not done.failed


def _pages(entry: object) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    values = entry if isinstance(entry, list) else list(entry.values())  # type: ignore[attr-defined]
    return [page for value in values for page in _pages(value)]


def test_every_page_is_in_the_navigation_and_every_name_of_the_reference_exists() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = _pages(settings["nav"])
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(listed) == there and len(listed) == len(set(listed))
    for page in (ROOT / "docs/reference").glob("*.md"):
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M):
            assert _exists(name), f"{page.name} names {name}"


def _exists(name: str) -> bool:
    parent, _, last = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return hasattr(importlib.import_module(parent), last)
    return True


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
