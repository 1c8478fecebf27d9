"""The configs that come with the package, as files: nothing of OpenMMLab is needed to find them."""

from __future__ import annotations

from pathlib import Path

from ..errors import unknown_name

FOLDER = Path(__file__).parent.parent / "configs"


def config_names() -> list[str]:
    """Names as ``_base_ = 'coprop_plugin::NAME'`` takes them: files below ``configs/``, ``_base_`` last."""
    names = (path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/**/*.py"))
    return sorted(names, key=lambda name: (name.startswith("_base_"), name))


def find_config(name: str) -> Path:
    """The file of a config, by its name with or without ``.py``.

    Raises:
        CoPropError: no such config; the nearest name is in the message.
    """
    known = config_names()
    for given in (name, f"{name}.py"):
        if given in known:
            return FOLDER / given
    raise unknown_name("config", name, known)
