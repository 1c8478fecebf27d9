"""Scores on disk: a compressed npz that says its kind and classes; equal scores give equal bytes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np

from ..errors import PredictionError
from ..files import atomic_write
from ..media.arrays import Npz
from ..structures import Prediction
from ..structures.prediction import Kind
from .array_files import STREAMED_BYTES
from .score_arrays import prediction_of_scores

Storage = Literal["float32", "float16"]
ENTRIES = {"scores", "kind", "class_ids"}
# text is no type that readers of untrusted files take, so a kind is stored by its ASCII codes
_KINDS: dict[bytes, Kind] = {b"probability": "probability", b"logit": "logit"}
_LEVEL = 1  # scores are close to noise: higher levels cost time and save 1 %


def write_scores(path: str | Path, prediction: Prediction, *, storage: Storage = "float32") -> None:
    """Write ``scores`` with its ``kind`` (ASCII codes) and ``class_ids``, one frame after the other.

    ``scores`` is ``(T, K+1, H, W)``, or ``(T, H, W)`` where the background of a binary model follows exactly from the
    foreground (1 - p, or the logit 0). ``float32`` keeps every bit; ``float16`` is lossy, and a number computed
    from it must say so.

    Raises:
        PredictionError: a hard prediction (its masks are all of it), or logits beyond the range of float16.
    """
    if prediction.kind == "hard":
        raise PredictionError(
            f"{prediction.source or 'prediction'}: hard predictions are stored as masks, not as scores."
        )
    foreground = prediction.binary and all(_implied(prediction, t) for t in range(prediction.num_frames))
    shape = (prediction.num_frames, *prediction.size) if foreground else tuple(prediction.scores.shape)
    with (
        atomic_write(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive,
    ):
        for name, small in (
            ("kind", np.frombuffer(prediction.kind.encode(), np.uint8)),
            ("class_ids", np.array(prediction.class_ids, "<i8")),
        ):
            with _entry(archive, name, small.shape, small.dtype) as entry:
                entry.write(small.tobytes())
        with _entry(archive, "scores", shape, np.dtype(storage)) as entry:
            for t in range(prediction.num_frames):
                scores = prediction.frame(t)
                entry.write(_stored(scores[1] if foreground else scores, storage, prediction, t).tobytes())


def is_score_file(path: str | Path) -> bool:
    """Whether a file is what :func:`write_scores` writes.

    Raises:
        MediaError: an npz that is damaged.
    """
    path = Path(path)
    return path.suffix.lower() == ".npz" and set(Npz(path, limit_bytes=STREAMED_BYTES).headers) == ENTRIES


def read_scores(path: str | Path) -> Prediction:
    """What :func:`write_scores` wrote, read one frame at a time; its ``source`` names lossy storage.

    Raises:
        MediaError: no npz, a damaged one, or no such entry.
        PredictionError: entries that are not what is stored.
    """
    npz = Npz(path, limit_bytes=STREAMED_BYTES)
    if set(npz.headers) != ENTRIES:
        raise PredictionError(f"{path}: holds {sorted(npz.headers)}, stored scores are {sorted(ENTRIES)}.")
    header, ids = npz.headers["scores"], npz.headers["class_ids"]
    if header.dtype.name not in get_args(Storage) or len(header.shape) not in (3, 4) or 0 in header.shape:
        raise PredictionError(
            f"{path}: stored scores are float32 or float16 frames, not {header.dtype} {header.shape}."
        )
    if npz.headers["kind"].nbytes > 32 or ids.nbytes > 1 << 20 or ids.dtype.kind not in "iu":
        raise PredictionError(f"{path}: its kind or its class_ids are damaged; store the scores again.")
    if (kind := _KINDS.get(npz["kind"].tobytes())) is None:
        raise PredictionError(f"{path}: holds an unknown kind of scores; stored are {', '.join(_KINDS.values())}.")
    class_ids = tuple(npz["class_ids"].ravel().tolist())
    source = str(path) if header.dtype == np.float32 else f"{path} (lossy: stored as float16)"
    return prediction_of_scores(npz.frames("scores"), kind=kind, class_ids=class_ids, source=source)


def _implied(prediction: Prediction, t: int) -> bool:
    """Whether the background is what reading the foreground alone would give back, to the bit (-0.0 is not 0.0)."""
    background, foreground = prediction.frame(t)
    implied = np.zeros_like(foreground) if prediction.kind == "logit" else 1 - foreground
    return implied.tobytes() == background.tobytes()


def _stored(scores: np.ndarray, storage: Storage, prediction: Prediction, t: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        stored = scores.astype(storage)
    if not np.isfinite(stored).all():
        raise PredictionError(
            f"{prediction.source or 'prediction'}: frame {t} holds scores up to {np.abs(scores).max():.3g}, beyond "
            "float16; store them as float32."
        )
    return stored


def _entry(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype) -> IO[bytes]:
    """An open npy entry with its header written; zipfile dates entries 1980, so the bytes are the same every day."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    entry = archive.open(f"{name}.npy", "w", force_zip64=True)
    entry.write(header.getvalue())
    return entry
