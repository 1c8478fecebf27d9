"""coprop-plugin: audio-visual segmentation masks that start and stop with the sound.

Names are loaded on first use (PEP 562): importing the package imports neither torch nor mmengine.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from .version import __version__

_PUBLIC = {
    "CoProp": "coprop",
    "Result": "structures",
    "read_clip": "media.reader",
    "read_prediction": "adapters.saved_masks",
    "build_adapter": "adapters.base",
    "save": "report.folder",
    "score": "metrics.protocols",
    "Clip": "structures",
    "ControlPoints": "structures",
    "Prediction": "structures",
    "Segment": "structures",
    "Sound": "structures",
    "TimeBase": "structures",
    "CoPropError": "errors",
}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from .adapters.base import build_adapter as build_adapter
    from .adapters.saved_masks import read_prediction as read_prediction
    from .coprop import CoProp as CoProp
    from .errors import CoPropError as CoPropError
    from .media.reader import read_clip as read_clip
    from .metrics.protocols import score as score
    from .report.folder import save as save
    from .structures import (
        Clip as Clip,
        ControlPoints as ControlPoints,
        Prediction as Prediction,
        Result as Result,
        Segment as Segment,
        Sound as Sound,
        TimeBase as TimeBase,
    )


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'coprop_plugin' has no attribute '{name}'")
    return getattr(importlib.import_module(f"coprop_plugin.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


# A config or a tool of OpenMMLab imports us: make our names known there, now or as soon as mmengine is imported.
_openmmlab = importlib.import_module("coprop_plugin.openmmlab")
if "mmengine" in sys.modules:
    _openmmlab.register_names()
else:
    _openmmlab.await_mmengine()
