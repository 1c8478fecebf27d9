"""Stand-ins for the harmless baggage of training checkpoints.

MMEngine's files carry its log buffers (numpy arrays and the names of methods), DETR-like ones the parsed command
line. None of it is weights. Under ``weights_only`` every one of these names is answered by :class:`Inert`, which
takes any arguments and does nothing: the file loads, and nothing of it is imported or called.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Inert:
    """Whatever the file wanted made here; it keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


_ARRAYS = [f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")] + [
    "numpy.ndarray",
    "numpy.dtype",
]
_DTYPES = [f"numpy.dtypes.{name}" for name in dir(np.dtypes) if name.endswith("DType")]
_LOGS = ["mmengine.logging.history_buffer.HistoryBuffer", "builtins.getattr"]
_ARGUMENTS = ["argparse.Namespace", "pathlib.PosixPath", "pathlib._local.PosixPath"]

INERT_GLOBALS = tuple((Inert, name) for name in (*_ARRAYS, *_DTYPES, *_LOGS, *_ARGUMENTS))
