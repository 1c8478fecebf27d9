"""What OpenMMLab's packages need to run on today's Python and torch, and to find this package's configs.

Each patch says why it is there and when it goes away. Nothing of a full mmcv is replaced, and no check of torch's
loader is switched off. Importing ``coprop_plugin`` applies them where mmengine is loaded, or later when it is.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from .errors import MissingExtra

EXTENSION = "mmcv._ext"


def prepare_openmmlab() -> None:
    """Make ``mmengine``, ``mmcv`` and ``mmseg`` importable. Calling it again does nothing more.

    Raises:
        MissingExtra: mmcv is not installed at all.
    """
    if importlib.util.find_spec("mmcv") is None:
        raise MissingExtra("mmcv-lite", "mmcv-lite", "mmsegmentation")
    prepare_mmengine()


@functools.cache
def prepare_mmengine() -> None:
    """Everything that mmengine alone needs, and mmcv where it is installed. Calling it again does nothing.

    Raises:
        ImportError: mmengine is not installed.
    """
    _answer_where_packages_are()
    _name_our_configs()
    _read_checkpoints_safely()
    if (
        importlib.util.find_spec("mmcv")
        and EXTENSION not in sys.modules
        and importlib.util.find_spec(EXTENSION) is None
    ):
        _stand_in_for_operators()


class _AwaitMMEngine:
    """A finder that finds nothing of its own: it has our names registered at the end of mmengine's import.

    Why: a config's ``__import__('coprop_plugin')`` does nothing where a script imported us before mmengine. Goes away:
    once mmengine looks for the packages that it is extended by (entry points).
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "mmengine":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                sys.meta_path.remove(self)
                execute(module)
                register_names()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def register_names() -> None:
    """Prepare mmengine, and make this package's names known to it; by name, since all of ``engine`` stands above."""
    importlib.import_module("coprop_plugin.registry")


def await_mmengine() -> None:
    """Have this package's names registered as soon as mmengine is imported."""
    sys.meta_path.insert(0, _AwaitMMEngine())


class MissingOperators(ModuleType):
    """Stands where mmcv's compiled operators would be: it has every name, and none that can be called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> NoReturn:
            raise NotImplementedError(
                f"this model calls mmcv's compiled operator '{name}', which mmcv-lite does not have. Install a full "
                "mmcv (built for your torch), or use a model without it."
            )

        return missing


def _stand_in_for_operators() -> None:
    """Why: mmcv's operators are compiled for few torch versions; mmseg imports them all and its usual models call none.

    Goes away: with a full mmcv (``mmcv._ext`` is found, and this is not called), or once mmseg imports them on use.
    """
    module = MissingOperators(EXTENSION)
    module.__spec__ = importlib.util.spec_from_loader(EXTENSION, loader=None)
    sys.modules[EXTENSION] = module
    import torch

    if torch.cuda.is_available():  # Mask2Former's attention has a plain form, left for the operator on a GPU
        importlib.import_module("mmcv.ops.multi_scale_deform_attn").IS_CUDA_AVAILABLE = False  # type: ignore[attr-defined]


def _answer_where_packages_are() -> None:
    """mmengine's two questions about packages, answered from the import system.

    Why: it asks ``pkg_resources``, which setuptools 82 dropped, and takes an editable install's folder for one below
    site-packages. Goes away: once mmengine asks ``importlib`` itself.
    """
    importlib.import_module("mmengine.config.config")
    for name in ("mmengine.utils.package_utils", "mmengine.utils", "mmengine.config.config", "mmengine.hub.hub"):
        if module := sys.modules.get(name):
            module.is_installed = is_installed  # type: ignore[attr-defined]
            module.get_installed_path = installed_path  # type: ignore[attr-defined]


def _name_our_configs() -> None:
    """Why: ``_base_ = 'coprop_plugin::…'`` is looked up in a closed table of OpenMMLab's packages.

    Goes away: once mmengine reads ``PACKAGE::FILE`` of any package.
    """
    importlib.import_module("mmengine.config.utils").MODULE2PACKAGE["coprop_plugin"] = "coprop_plugin"


def _read_checkpoints_safely() -> None:
    """Let torch's safe loader take the log histories that mmengine puts into every checkpoint.

    Why: since torch 2.6 ``torch.load`` refuses all classes that it does not know, and mmengine's checkpoints hold its
    ``HistoryBuffer``, numpy arrays, and ``getattr(HistoryBuffer, 'mean')`` for its methods. The list is extended by
    exactly those; ``getattr`` by one that knows these four names alone. Goes away: once mmengine registers them.
    """
    import numpy as np
    from mmengine.logging import HistoryBuffer
    from torch.serialization import add_safe_globals

    def history_method(owner: object, name: str) -> Any:
        if owner is not HistoryBuffer or name not in ("mean", "max", "min", "current"):
            raise ValueError(f"a checkpoint asks for getattr({owner!r}, {name!r}), which no mmengine checkpoint needs.")
        return getattr(HistoryBuffer, name)

    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype, (history_method, "builtins.getattr")]
    makers = {"_reconstruct": np.empty(0).__reduce__()[0], "scalar": np.float32(0).__reduce__()[0]}
    for name, maker in makers.items():
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # as numpy 1 and numpy 2 wrote it
            allowed.append((maker, f"{module}.{name}"))
    allowed += [
        kind for kind in vars(np.dtypes).values() if isinstance(kind, type) and kind is not np.dtypes.ObjectDType
    ]
    add_safe_globals(allowed)


def join_processes_without_gpu(config: Any) -> None:
    """Join ``torchrun``'s processes over gloo, and let mmengine wrap the model for the CPU.

    Why: mmengine's own start sets a CUDA device without asking whether there is one. Call it before the ``Runner`` is
    built; it does nothing in a single process or where there is a GPU. Goes away: once mmengine starts without one.

    Args:
        config: an mmengine ``Config``; ``model_wrapper_cfg`` is set where it is not there.
    """
    import os

    import torch
    import torch.distributed as dist

    if torch.cuda.is_available() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    config.setdefault(
        "model_wrapper_cfg", {"type": "MMDistributedDataParallel", "device_ids": None, "broadcast_buffers": False}
    )


def is_installed(package: str) -> bool:
    """Whether a distribution or a module of this name is installed."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def installed_path(package: str) -> str:
    """The folder of a package, by its module's name, or by the name that pip knows it by.

    Raises:
        PackageNotFoundError: neither exists.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        top_level = importlib.metadata.distribution(package).read_text("top_level.txt") or ""
        for module in top_level.split():
            if (spec := importlib.util.find_spec(module)) is not None:
                break
    if spec is None or spec.origin is None:
        raise importlib.metadata.PackageNotFoundError(package)
    return str(Path(spec.origin).parent)
