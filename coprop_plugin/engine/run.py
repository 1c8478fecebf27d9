"""``coprop test`` and ``coprop train``: OpenMMLab's runner over a config, with all that it needs prepared."""

from __future__ import annotations

import ast
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, CoPropError
from ..openmmlab import installed_path, is_installed, join_processes_without_gpu, prepare_openmmlab, register_names
from .config_files import find_config

register_names()  # before a config is read

log = logging.getLogger(__name__)

ROW_OF_NAN = re.compile(r"^\|[^|\n]*(?:\|\s*nan\s*)+\|\n", re.MULTILINE)


def config_file(name: str) -> Path:
    """The file behind a config's name: a path, ``PACKAGE::FILE``, or one of ours (``coprop configs list``).

    Raises:
        CoPropError: no such file or package.
    """
    package, colons, rest = name.partition("::")
    if not colons:
        return Path(name) if Path(name).is_file() else find_config(name)
    if not is_installed(package):
        raise CoPropError(f"'{name}': the package '{package}' is not installed.")
    folder = Path(installed_path(package), ".mim", "configs")
    path = folder / rest
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise CoPropError(f"'{name}': there is no config '{rest}' in {package}; they lie in {folder}.")
    return path


def read_config(name: str, *, options: Sequence[str] = (), work_dir: str | Path | None = None) -> Any:
    """An mmengine ``Config``. **The file is Python code, and it is run.**

    Args:
        name: see :func:`config_file`.
        options: ``key.of.it=value`` entries that replace what the file says; values are Python literals or strings.
        work_dir: where logs and checkpoints go; by default what the config says, or ``work_dirs/<its name>``.

    Raises:
        CoPropError: no such file, or an option without a value.
    """
    from mmengine.config import Config

    path = config_file(name)
    log.warning("running the config '%s' as Python code", path)
    config = Config.fromfile(path)
    config.merge_from_dict(dict(map(_parsed, options)))
    config.work_dir = str(work_dir or config.get("work_dir") or Path("work_dirs", path.stem))
    return config


def _parsed(option: str) -> tuple[str, Any]:
    key, equals, value = option.partition("=")
    if not equals or not key:
        raise CoPropError(f"the option '{option}' has no value; write key.of.the.config=VALUE.")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def build_model(config: Any) -> Any:
    """The model of a config, as its runner builds it: without weights."""
    from mmengine.registry import MODELS, DefaultScope

    prepare_openmmlab()
    with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmengine")):
        return MODELS.build(config.model)


def test_config(config: Any, checkpoint: str | None = None) -> dict[str, float]:
    """What ``runner.test()`` returns, as plain numbers: the base model's metrics and ``coprop/…`` beside them."""
    with _leaving_together():
        metrics = _runner(config, checkpoint).test()
    return {name: float(value) for name, value in metrics.items()}


def train_config(config: Any, checkpoint: str | None = None, *, resume: bool = False) -> None:
    """Train the config's model, from a checkpoint where one is given (``resume``: with its optimizer and epoch)."""
    config.resume = resume
    with _leaving_together():
        _runner(config, checkpoint).train()


@contextmanager
def _leaving_together() -> Iterator[None]:
    """The processes of ``torchrun`` end at the same time: none is gone while another still talks to it."""
    from torch import distributed

    yield
    if distributed.is_initialized():
        distributed.barrier()


def _runner(config: Any, checkpoint: str | None) -> Any:
    from mmengine.runner import Runner

    prepare_openmmlab()
    if checkpoint and "://" not in checkpoint and not Path(checkpoint).is_file():
        raise CheckpointError(f"no checkpoint at '{checkpoint}'.")
    config.load_from = checkpoint or config.get("load_from")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        config.launcher = "pytorch"
        join_processes_without_gpu(config)
    runner = Runner.from_cfg(config)
    runner.logger.addFilter(only_classes_that_occur)
    return runner


def only_classes_that_occur(record: logging.LogRecord) -> bool:
    """A filter of logs: in mmseg's table of classes, those that neither truth nor prediction shows are only counted."""
    if isinstance(record.msg, str) and record.msg.startswith("\n+-"):
        kept, left_out = ROW_OF_NAN.subn("", record.msg)
        record.msg = f"{kept}\n({left_out} classes that do not occur are left out)" if left_out else kept
    return True
