"""``coprop doctor``: what a bug report needs, in one block."""

from __future__ import annotations

import argparse
import ctypes.util
import json
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..weights.packages import WeightsPackage

from .terminal import say

HELP = "Versions, torch build, GPU, decoders, owners of cv2 and mmcv, cache folders: one block for a bug report."
EXAMPLES = "  coprop doctor\n  coprop doctor --json"
PACKAGES = (
    "coprop-plugin torch torchvision numpy scipy mmengine mmsegmentation mmcv mmcv-lite transformers opencv-python "
    "opencv-python-headless av decord soundfile pillow safetensors rich jinja2 ray openai rf-cutie timm"
).split()


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    facts = examine()
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    for section, lines in facts.items():
        say(f"[{section}]")
        for name, value in lines.items():
            say(f"  {name:<24} {value}")
    return 0


def examine() -> dict[str, dict[str, Any]]:
    """Everything ``doctor`` prints, as plain data."""
    from ..language.cache import cache_folder
    from ..weights.packages import WEIGHTS_PACKAGES

    return {
        "system": {
            "python": f"{platform.python_version()} ({sys.implementation.name})",
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "ffmpeg on PATH": shutil.which("ffmpeg") or "no (not needed)",
        },
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "torch": _torch(),
        "decoders": {"PyAV": _import("av"), "decord": _import("decord"), "soundfile": _import("soundfile")},
        "shared libraries": {"libGL": ctypes.util.find_library("GL") or "not found (only needed by some cv2 builds)"},
        "weights in packages": {package.name: _weights(package) for package in WEIGHTS_PACKAGES},
        "owners": {module: _owners(module) for module in ("cv2", "mmcv")},
        "parts of other packages": _third_party(),
        "caches": {
            "language-model answers": str(cache_folder()),
            "Hugging Face": os.environ.get("HF_HOME", str(Path.home() / ".cache/huggingface")),
            "offline": os.environ.get("HF_HUB_OFFLINE", "no"),
        },
    }


def _version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def _weights(package: WeightsPackage) -> str:
    from ..weights.packages import installed_version

    version = installed_version(package)
    return f"{version} ({package.what})" if version else f"not installed ({package.what}): {package.install}"


def _torch() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "build": f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU",
        "GPU": ", ".join(gpus) or "none",
        "threads": torch.get_num_threads(),
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
    }


def _import(name: str) -> str:
    try:
        module = __import__(name)
    except (ImportError, OSError, RuntimeError) as error:
        return f"missing: {error}"
    return str(getattr(module, "__version__", "present"))


def _owners(module: str) -> str:
    owners = sorted(set(packages_distributions().get(module, [])))
    if len(owners) > 1:
        return f"{', '.join(owners)}: TWO OWNERS overwrite each other's files; uninstall all but one, then reinstall it"
    return ", ".join(owners) or "none"


def _third_party() -> dict[str, Any]:
    """The entry points of all kinds; none is loaded."""
    from .. import parts

    own = {
        kind: {name for part in parts.all_parts(kind) if not part.package for name in part.names}
        for kind in parts.KINDS
    }
    found = {
        f"{kind}: {point.name}": f"{point.value} (by {parts.package_of(point)})"
        + (" HIDDEN by ours of the same name" if point.name in own[kind] else "")
        for kind in parts.KINDS
        for point in parts.points_of(kind)
    }
    return found or {"none": f"(entry-point groups {', '.join(parts.GROUPS.values())})"}
