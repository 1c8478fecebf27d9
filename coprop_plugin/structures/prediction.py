"""What a model said of every frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from ..errors import PredictionError
from .classes import BINARY, check_class_ids
from .frozen import Frozen, FrozenMapping, read_only_frames
from .stack import Frames, FrameStack

Kind = Literal["probability", "logit", "hard"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Frozen):
    """Scores of every frame at the model's own size; the truth is a prediction of kind ``hard``.

    Read-only once made (arrays that could still be written are copied). Two predictions are equal if they are the
    same object: their frames are read when asked for.

    Attributes:
        scores: ``(T, K+1, H, W) float32``, channel 0 the background, channel i the class ``class_ids[i-1]``.
            Probabilities sum to 1 over the channels; the logit of a binary model is ``[0, z]``; hard scores are 0/1.
            Read one frame at a time; never all of it unless asked.
        kind: ``probability``, ``logit`` or ``hard``.
        class_ids: ``(K,)`` the class of each foreground channel; ``(1,)`` for binary models.
        labels: ``(T, H, W)`` integer class ids, where a model's label is not the argmax of its scores, and
            for ``hard`` always. -1 marks ignored pixels of a ground truth.
        names: class id -> name, where known.
        source: what it was read or computed from, for messages and manifests.
        notes: what whoever reads its scores must know (a stand-in for an input of the published model).
    """

    scores: Frames
    kind: Kind
    class_ids: tuple[int, ...] = BINARY
    labels: Frames | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_ids", check_class_ids(self.class_ids))
        object.__setattr__(self, "names", FrozenMapping(self.names))
        object.__setattr__(self, "scores", read_only_frames(self.scores, what="scores (T, K+1, H, W)"))
        if self.labels is not None:
            object.__setattr__(self, "labels", read_only_frames(self.labels, what="labels (T, H, W)"))
        if self.kind not in KINDS:
            raise PredictionError(f"unknown kind of scores '{self.kind}'. Allowed: {', '.join(KINDS)}.")
        shape = tuple(self.scores.shape)
        channels = len(self.class_ids) + 1
        if len(shape) != 4 or shape[1] != channels or min(shape) < 1:
            raise PredictionError(
                f"scores of {len(self.class_ids)} classes are (T, {channels}, H, W) with the background first, got {shape}."
            )
        if self.labels is not None and tuple(self.labels.shape) != (shape[0], *shape[2:]):
            raise PredictionError(f"labels are (T, H, W) = {(shape[0], *shape[2:])}, got {tuple(self.labels.shape)}.")
        if self.kind == "hard" and self.labels is None:
            raise PredictionError("a hard prediction needs its labels; make it with Prediction.from_labels(...).")

    def __repr__(self) -> str:
        classes = "binary" if self.binary else f"{len(self.class_ids)} classes"
        source = f", from '{self.source}'" if self.source else ""
        return f"Prediction({self.kind}, {classes}, scores {tuple(self.scores.shape)}{source})"

    @property
    def num_frames(self) -> int:
        return self.scores.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the scores in pixels."""
        return self.scores.shape[2], self.scores.shape[3]

    @property
    def binary(self) -> bool:
        return len(self.class_ids) == 1

    def frame(self, t: int) -> np.ndarray:
        """``(K+1, H, W) float32`` scores of frame t, checked.

        Raises:
            PredictionError: NaN or infinite values, or probabilities outside [0, 1].
        """
        scores = np.asarray(self.scores[t], np.float32)
        if not np.isfinite(scores).all():
            raise PredictionError(
                f"{self.source or 'prediction'}: frame {t} holds NaN or infinite scores; a {self.kind} is finite. "
                "Check the model's output, or save probabilities."
            )
        if self.kind == "probability" and (scores.min() < -1e-4 or scores.max() > 1 + 1e-4):
            raise PredictionError(
                f"{self.source or 'prediction'}: frame {t} holds values from {scores.min():.3g} to {scores.max():.3g}; "
                "probabilities lie in [0, 1]. If these are logits, say kind='logit'."
            )
        return scores

    def label_map(self, t: int) -> np.ndarray:
        """``(H, W) int16`` class ids of frame t: the model's own labels, else the argmax (ties to the lower channel)."""
        if self.labels is not None:
            return np.asarray(self.labels[t]).astype(np.int16, copy=False)
        lookup = np.array((0, *self.class_ids), np.int16)
        return lookup[best_channel(self.frame(t))]

    def label_maps(self) -> FrameStack:
        """``(T, H, W) int16``, each computed when asked for."""
        return FrameStack(self.label_map, num_frames=self.num_frames, frame_shape=self.size, dtype=np.int16)

    def hardened(self) -> Prediction:
        """The label maps alone, as a hard prediction; a hard one is itself."""
        if self.kind == "hard":
            return self
        return Prediction.from_labels(self.label_maps(), class_ids=self.class_ids, names=self.names, source=self.source)

    @classmethod
    def from_labels(
        cls,
        labels: Frames,
        *,
        class_ids: tuple[int, ...] = BINARY,
        names: Mapping[int, str] | None = None,
        source: str = "",
    ) -> Prediction:
        """A hard prediction from ``(T, H, W)`` class ids; values outside ``class_ids``, 0 and -1 are refused when read.

        Raises:
            PredictionError: wrong shape, or a label that is none of the classes.
        """
        labels = read_only_frames(labels, what="label maps (T, H, W)")
        shape = tuple(labels.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise PredictionError(f"label maps are (T, H, W) integers, got the shape {shape}.")
        ids = check_class_ids(class_ids)
        allowed = np.array((-1, 0, *ids))
        without_gaps = max(ids) == len(ids)  # then the range says it all, much faster

        def read_labels(t: int) -> np.ndarray:
            frame = np.asarray(labels[t])
            if frame.dtype == bool:
                frame = frame.astype(np.int16)
            if not np.issubdtype(frame.dtype, np.integer):
                raise PredictionError(f"{source or 'labels'}: frame {t} is {frame.dtype}; label maps are integers.")
            if without_gaps and frame.min() >= -1 and frame.max() <= len(ids):
                return frame.astype(np.int16)
            within = frame.min() >= -1 and frame.max() <= max(ids)  # then to count is many times as fast as to sort
            there = np.flatnonzero(np.bincount(frame.ravel() + 1)) - 1 if within else frame
            unexpected = np.setdiff1d(there, allowed)
            if len(unexpected):
                raise PredictionError(
                    f"{source or 'labels'}: frame {t} holds the labels {unexpected[:8].tolist()}, "
                    f"allowed are 0 (background), -1 (ignored) and {ids if len(ids) < 9 else f'{ids[0]}..{ids[-1]}'}."
                )
            return frame.astype(np.int16)

        def read_scores(t: int) -> np.ndarray:
            frame = read_labels(t)
            return np.stack([frame == c for c in (0, *ids)]).astype(np.float32)

        return cls(
            scores=FrameStack(
                read_scores, num_frames=shape[0], frame_shape=(len(ids) + 1, *shape[1:]), dtype=np.float32
            ),
            kind="hard",
            class_ids=ids,
            labels=FrameStack(read_labels, num_frames=shape[0], frame_shape=shape[1:], dtype=np.int16),
            names=names or {},
            source=source,
        )

    @classmethod
    def from_foreground(cls, foreground: Frames, *, kind: Kind, source: str = "") -> Prediction:
        """A binary prediction from ``(T, H, W)`` foreground probabilities or logits (sigmoid not yet applied)."""
        foreground = read_only_frames(foreground, what="foreground scores (T, H, W)")
        shape = tuple(foreground.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise PredictionError(f"foreground scores are (T, H, W), got the shape {shape}.")
        if kind not in ("probability", "logit"):
            raise PredictionError(f"foreground scores are of kind 'probability' or 'logit', not '{kind}'.")

        def read(t: int) -> np.ndarray:
            frame = np.asarray(foreground[t], np.float32)
            background = 1 - frame if kind == "probability" else np.zeros_like(frame)
            return np.stack([background, frame])

        stack = FrameStack(read, num_frames=shape[0], frame_shape=(2, *shape[1:]), dtype=np.float32)
        return cls(scores=stack, kind=kind, source=source)


def best_channel(scores: np.ndarray) -> np.ndarray:
    """``(H, W) intp``: ``scores.argmax(axis=0)`` of ``(C, H, W)``, several times faster; ties to the lower channel."""
    best = scores.max(axis=0)
    channel = np.zeros(scores.shape[1:], np.intp)
    for c in range(len(scores) - 1, 0, -1):
        np.copyto(channel, c, where=scores[c] == best)
    channel[scores[0] == best] = 0
    return channel
