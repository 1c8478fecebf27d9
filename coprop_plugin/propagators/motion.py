"""Which pixels of a clip move: optical flow of neighbouring frames, averaged (SSP's Eq. 1), made binary per video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import cv2
import numpy as np

from ..errors import CoPropError, unknown_name
from ..structures import Clip, FrameSpool
from .clip_cache import ClipCache

Rule = Literal["max", "otsu", "mean"]
ABS_FLOOR_PX = 0.5  # less is no motion, whatever the rule says
REL_FLOOR = 0.1  # of the video's largest motion, rule ``max``
CACHE_BYTES = 64 << 20
_BINS = 256


@runtime_checkable
class FlowSource(Protocol):
    """What measures motion between neighbouring frames.

    Attributes:
        about: what it is, for reports and scores.
    """

    about: str

    def speeds(self, clip: Clip) -> Iterator[np.ndarray]:
        """For each of the T - 1 steps from a frame to the next ``(h, w) float32``: the flow's length, px of the frame."""
        ...


@dataclass(frozen=True)
class MotionRule:
    """When a pixel counts as moving.

    Attributes:
        rule: the threshold is a share of the video's largest motion (``max``), Otsu's of the video's histogram, or the
            video's mean; never below ``abs_floor_px``.
        abs_floor_px: of a step, in pixels of the frame.
        rel_floor: the share that ``max`` takes.
        alone: whether a clip of one frame, which has no flow, is wholly still or wholly moving.
    """

    rule: Rule = "max"
    abs_floor_px: float = ABS_FLOOR_PX
    rel_floor: float = REL_FLOOR
    alone: Literal["still", "moving"] = "still"

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise unknown_name("rule of a flow mask", self.rule, get_args(Rule))
        if self.alone not in ("still", "moving"):
            raise unknown_name("mask of a single frame", self.alone, ("still", "moving"))
        if not (self.abs_floor_px >= 0 and 0 <= self.rel_floor <= 1):
            raise CoPropError(
                "a flow mask takes abs_floor_px >= 0 and rel_floor in [0, 1]; got "
                f"{self.abs_floor_px} and {self.rel_floor}."
            )

    def threshold_px(self, motion: list[np.ndarray] | FrameSpool) -> float:
        """Above which a pixel moves, of a video's averaged motion."""
        if self.rule == "max":
            found = self.rel_floor * max(float(one.max()) for one in _each(motion))
        elif self.rule == "mean":
            found = float(np.mean([one.mean(dtype=np.float64) for one in _each(motion)]))
        else:
            found = _otsu(motion)
        return max(self.abs_floor_px, found)


def averaged(speeds: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """SSP's Eq. (1) as it can be meant: of T - 1 steps T maps, the first, the means of neighbours, the last."""
    before: np.ndarray | None = None
    for speed in speeds:
        yield speed if before is None else (before + speed) / 2
        before = speed
    if before is not None:
        yield before


class MotionMasks:
    """The moving pixels of clips, kept (a bit a pixel) while a clip is in use.

    Args:
        source: measures the motion.
        rule: makes it binary, once per video.
        cache_bytes: bound of what is kept.
    """

    def __init__(self, source: FlowSource, rule: MotionRule | None = None, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.source, self.rule = source, MotionRule() if rule is None else rule
        self._kept: ClipCache[tuple[np.ndarray, int]] = ClipCache(cache_bytes)

    @property
    def about(self) -> str:
        """Source and rule, for reports and scores."""
        return f"{self.source.about}, binary by '{self.rule.rule}'"

    def mask(self, clip: Clip, t: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """``(H, W) uint8``, 1 where frame t moves; at the flow's own size, or brought to ``size`` by nearest.

        Raises:
            CoPropError: the source gives no flow for this clip.
        """
        packed, width = self._masks(clip)
        mask = np.unpackbits(packed[t], axis=-1, count=width)
        if size is None or mask.shape == size:
            return mask
        return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST))

    def _masks(self, clip: Clip) -> tuple[np.ndarray, int]:
        """``(T, h, ceil(w / 8)) uint8`` packed bits, and w."""
        if (known := self._kept.get(clip, "masks")) is not None:
            return known
        if clip.num_frames == 1:
            full = np.full((1, *clip.size), self.rule.alone == "moving", np.uint8)
            found = np.packbits(full, axis=-1), clip.size[1]
        else:
            motion = FrameSpool()
            for t, one in enumerate(averaged(self.source.speeds(clip))):
                motion[t] = _checked(one, clip, t)
            if len(motion) != clip.num_frames:
                raise CoPropError(
                    f"clip '{clip.clip_id}' has {clip.num_frames} frames, so {clip.num_frames - 1} steps; "
                    f"{self.source.about} gave {max(0, len(motion) - 1)}."
                )
            limit = self.rule.threshold_px(motion)
            found = np.stack([np.packbits(one > limit, axis=-1) for one in _each(motion)]), motion[0].shape[1]
        self._kept.put(clip, "masks", found, num_bytes=found[0].nbytes)
        return found


def _checked(motion: np.ndarray, clip: Clip, t: int) -> np.ndarray:
    if motion.ndim != 2 or not np.isfinite(motion).all():
        raise CoPropError(f"clip '{clip.clip_id}', frame {t}: a flow is a finite length for every pixel (h, w).")
    return motion


def _each(motion: list[np.ndarray] | FrameSpool) -> Iterator[np.ndarray]:
    return (motion[t] for t in range(len(motion)))


def _otsu(motion: list[np.ndarray] | FrameSpool) -> float:
    """The threshold that parts a video's motion into two groups as far apart as can be (Otsu, 1979)."""
    top = max(float(one.max()) for one in _each(motion))
    if top <= 0:
        return 0.0
    counts = sum(np.histogram(one, _BINS, (0, top))[0].astype(np.float64) for one in _each(motion))
    share = counts / np.sum(counts)
    below, mean = np.cumsum(share), np.cumsum(share * np.arange(_BINS))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (mean[-1] * below - mean) ** 2 / (below * (1 - below))
    return (int(np.nanargmax(np.where(np.isfinite(apart), apart, -1))) + 1) * top / _BINS
