"""The objects of a base prediction: its classes, or, where all is one foreground, tracks through the frames."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from ..masks.areas import min_area_px
from ..masks.probability import probabilities
from ..propagators.base import PropagationTask, Propagator
from ..propagators.flow import Flow
from ..structures import Clip, Prediction

MAX_ABSENCE_FRAMES = 12  # a track that was not shown for so long is given up
SAME_TRACK = 0.4  # overlap plus likeness from which a region continues a track
LIKENESS_WEIGHT = 0.5  # of colour against overlap


class Objects(Protocol):
    """Which object the base model shows in which frame, and where.

    ``present (T, C) bool``; ``channel(c)`` is the score channel that object c belongs to.
    """

    present: np.ndarray

    def mask(self, t: int, c: int) -> np.ndarray:
        """``(H, W) float32`` probability of object c in frame t; zero where it is not shown."""
        ...

    def channel(self, c: int) -> int: ...


def objects_of(clip: Clip, base: Prediction, propagator: Propagator) -> Objects:
    """Classes of a semantic prediction, tracks of a binary one."""
    if not base.binary:
        return Classes(base)
    # Following asks frame by frame; a propagator with a session wants all tasks of a clip at once.
    return Tracks(clip, base, propagator if propagator.session == "task" else Flow())


class Classes:
    """One object a class."""

    def __init__(self, base: Prediction) -> None:
        self._base = base
        areas = np.stack([_areas(base.label_map(t), base.class_ids) for t in range(base.num_frames)])
        shown = areas >= min_area_px(base.size)  # smaller specks are no object, by the alignment metrics' rule
        self._channels = np.flatnonzero(shown.any(axis=0)) + 1
        self.present = shown[:, self._channels - 1]

    def mask(self, t: int, c: int) -> np.ndarray:
        return probabilities(self._base, t)[self.channel(c)]

    def channel(self, c: int) -> int:
        return int(self._channels[c])


@dataclass
class _Track:
    """A foreground region followed through the clip: where it was last seen, and how it looked."""

    last: int
    mask: np.ndarray  # (H, W) float32 at frame ``last``
    colours: np.ndarray
    shown: dict[int, int]  # frame -> label of its region


class Tracks:
    """Connected foreground regions, followed by the propagator through frames in which they are not shown.

    A region continues the track whose propagated mask it overlaps and whose colours it has; a region that covers
    several tracks is shared among them (nearest track wins), as objects often touch.
    """

    def __init__(self, clip: Clip, base: Prediction, propagator: Propagator) -> None:
        self._base = base
        self._tracks: list[_Track] = []
        self._labels: dict[int, bytes] = {}  # frame -> (H, W) uint8, every pixel given to the nearest region; packed
        for t in range(base.num_frames):
            self._look(clip, t, propagator)
        self.present = np.zeros((base.num_frames, len(self._tracks)), bool)
        for c, track in enumerate(self._tracks):
            self.present[list(track.shown), c] = True

    def mask(self, t: int, c: int) -> np.ndarray:
        label = self._tracks[c].shown.get(t)
        foreground = probabilities(self._base, t)[1]
        if label is None:
            return np.zeros_like(foreground)
        labels = np.frombuffer(zlib.decompress(self._labels[t]), np.uint8).reshape(foreground.shape)
        return foreground * (labels == label)

    def channel(self, c: int) -> int:
        return 1

    def _look(self, clip: Clip, t: int, propagator: Propagator) -> None:
        """Find the regions of frame t and give each to a track, old or new."""
        foreground = self._base.label_map(t) > 0
        regions = _regions(foreground, min_area_px=min_area_px(foreground.shape))
        if not regions:
            return
        alive = [track for track in self._tracks if t - track.last <= MAX_ABSENCE_FRAMES]
        frame = cv2.resize(clip.frames[t], foreground.shape[::-1], interpolation=cv2.INTER_AREA)
        pieces, colours = regions, [_colours(frame, region) for region in regions]
        if len(regions) == len(alive) == 1 and _surely_same(colours[0], alive[0].colours):
            owners = {0: alive[0]}
        else:
            expected = _follow(clip, alive, t, propagator)
            pieces = [piece for region in regions for piece in _split(region, expected)]
            if len(pieces) > len(regions):
                colours = [_colours(frame, piece) for piece in pieces]
            owners = _owners(pieces, colours, alive, expected)
        self._labels[t] = zlib.compress(_nearest(pieces).tobytes(), 1)
        for i, piece in enumerate(pieces):
            mask = piece.astype(np.float32)
            if i not in owners:
                self._tracks.append(_Track(t, mask, colours[i], {t: i}))
            else:
                track = owners[i]
                track.last, track.mask, track.colours = t, mask, colours[i]
                track.shown[t] = i


def _areas(labels: np.ndarray, class_ids: tuple[int, ...]) -> np.ndarray:
    """``(K,)`` pixels of each class."""
    return np.bincount(np.maximum(labels, 0).ravel(), minlength=max(class_ids) + 1)[list(class_ids)]


def _regions(foreground: np.ndarray, *, min_area_px: int) -> list[np.ndarray]:
    """``(H, W) bool`` connected regions of at least this area."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8), connectivity=8)
    return [labels == i for i in range(1, len(stats)) if stats[i, cv2.CC_STAT_AREA] >= min_area_px]


def _follow(clip: Clip, tracks: list[_Track], t: int, propagator: Propagator) -> list[np.ndarray]:
    """``(H, W) bool``: where each track should be in frame t."""
    tasks = [PropagationTask(track.last, t + 1, track.last, np.stack([1 - track.mask, track.mask])) for track in tracks]
    return [masks[-1, 1] > 0.5 for _, masks in propagator.carry(clip, tasks)]


def _surely_same(colours: np.ndarray, known: np.ndarray) -> bool:
    """Whether colours alone let a region continue a track, wherever it is expected: the costly flow is spared."""
    return LIKENESS_WEIGHT * _alike(colours, known) >= SAME_TRACK


def _owners(
    pieces: list[np.ndarray], colours: list[np.ndarray], tracks: list[_Track], expected: list[np.ndarray]
) -> dict[int, _Track]:
    """Piece -> the track that it continues; pieces that are none's are left out."""
    scores = np.zeros((len(pieces), len(tracks)))
    for i, piece in enumerate(pieces):
        for k, track in enumerate(tracks):
            scores[i, k] = _overlap(piece, expected[k]) + LIKENESS_WEIGHT * _alike(colours[i], track.colours)
    rows, columns = linear_sum_assignment(-scores)
    return {int(i): tracks[k] for i, k in zip(rows, columns, strict=True) if scores[i, k] >= SAME_TRACK}


def _nearest(masks: list[np.ndarray]) -> np.ndarray:
    """``(H, W) uint8``: the index of the mask that each pixel is nearest to; up to 256 masks."""
    if len(masks) == 1:
        return np.zeros(masks[0].shape, np.uint8)
    return np.argmin([_distance(mask) for mask in masks], axis=0).astype(np.uint8)


def _split(region: np.ndarray, expected: list[np.ndarray]) -> list[np.ndarray]:
    """A region that covers several tracks, cut so that every pixel goes to the nearest of them."""
    covered = [mask for mask in expected if mask.any() and (mask & region).sum() >= 0.6 * mask.sum()]
    if len(covered) < 2:
        return [region]
    nearest = _nearest(covered)
    return [part for i in range(len(covered)) if (part := region & (nearest == i)).any()]


def _distance(mask: np.ndarray) -> np.ndarray:
    """``(H, W) float32``: how far each pixel is from the mask."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0


def _colours(frame: np.ndarray, region: np.ndarray) -> np.ndarray:
    """``(512,)`` share of each of 8x8x8 colours in a region."""
    levels = (frame[region] >> 5).astype(np.int64)
    codes = levels[:, 0] << 6 | levels[:, 1] << 3 | levels[:, 2]
    return np.bincount(codes, minlength=512) / max(1, len(codes))


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    """Histogram intersection in [0, 1]."""
    return float(np.minimum(a, b).sum())
