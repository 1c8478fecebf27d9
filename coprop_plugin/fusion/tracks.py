"""Objects of a binary prediction: connected regions, followed through the clip, where they can be told apart.

Regions are joined from frame to frame by where the propagator expects them and by their colours, one to one, at the
least total cost. What is left over is a fragment of an object that was already found, or a new one. At the end stretches
that may be one object are joined, and objects that were confused somewhere become one: an edit of an object that is not
surely itself would be a coin toss.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise, permutations

import cv2
import numpy as np

from ..masks.areas import min_area_px
from ..masks.probability import probabilities
from ..propagators.base import PropagationTask, Propagator
from ..structures import Clip, Prediction
from .regions import (
    COVERED,
    alike,
    around,
    colours_of,
    distance_px,
    nearest_of,
    overlap,
    regions,
    resized,
    share_in,
    split,
    with_specks,
)

MAX_ABSENCE_FRAMES = 12  # a track that was not shown for so long is no longer expected anywhere
SAME_TRACK = 0.4  # overlap plus likeness from which a region continues a track
LIKENESS_WEIGHT = 0.5  # of colour against overlap
CONFUSED_BELOW = 0.3  # two tracks whose regions could be swapped at this loss were not told apart
# Likeness of colours, measured on real clips: one object in two frames has at least 0.6 in 95 % of the pairs, two
# objects at most 0.5 in 70 %.
SURELY_SAME, SURELY_OTHER = 0.8, 0.5
MAX_SIDE_PX = 240  # regions are followed at this size at most


@dataclass
class _Track:
    """Regions followed through the clip, and how they looked.

    ``shown``: frame -> labels of its regions; ``areas``: frame -> their pixels; ``middles``: frame -> their middle
    (y, x); ``mask (H, W) float32`` at frame ``last``; ``colours`` the sum over its regions.
    """

    last: int
    mask: np.ndarray
    colours: np.ndarray
    shown: dict[int, list[int]] = field(default_factory=dict)
    areas: dict[int, int] = field(default_factory=dict)
    middles: dict[int, np.ndarray] = field(default_factory=dict)

    def see(self, t: int, label: int, piece: np.ndarray, colours: np.ndarray) -> None:
        """A region of frame t is (a fragment of) this track."""
        old = self.mask if self.shown.get(t) else 0.0
        self.mask = np.maximum(old, piece).astype(np.float32)
        self.last = t
        self.colours = self.colours + colours
        self.shown.setdefault(t, []).append(label)
        self.areas[t] = int((self.mask > 0.5).sum())
        self.middles[t] = np.argwhere(self.mask > 0.5).mean(axis=0)

    @property
    def radius_px(self) -> float:
        return float(np.sqrt((self.mask > 0.5).sum() / np.pi))

    @property
    def look(self) -> np.ndarray:
        return np.asarray(self.colours / max(self.colours.sum(), 1e-9))

    def likeness(self, colours: np.ndarray) -> float:
        return alike(self.look, colours)


class Tracks:
    """The objects of a binary prediction; see the module.

    ``present (T, C) bool``; ``joined``: how many tracks were taken for another one's object.
    """

    def __init__(self, clip: Clip, base: Prediction, propagator: Propagator) -> None:
        self._base = base
        height, width = base.size
        scale = min(1.0, MAX_SIDE_PX / max(height, width))
        self._size = max(1, round(height * scale)), max(1, round(width * scale))
        self._tracks: list[_Track] = []
        self._confused: set[tuple[int, int]] = set()
        self._labels: dict[int, bytes] = {}  # frame -> (H, W) uint8, every pixel given to the nearest region; packed
        for t in range(base.num_frames):
            self._look(clip, t, propagator)
        groups = _groups(self._tracks, self._confused | set(self._lost_pieces()))
        self.joined = len(self._tracks) - len(groups)
        self._shown: list[dict[int, list[int]]] = []
        for group in groups:
            shown: dict[int, list[int]] = {}
            for k in group:
                for t, labels in self._tracks[k].shown.items():
                    shown.setdefault(t, []).extend(labels)
            self._shown.append(shown)
        self.present = np.zeros((base.num_frames, len(groups)), bool)
        for c, shown in enumerate(self._shown):
            self.present[list(shown), c] = True

    def mask(self, t: int, c: int) -> np.ndarray:
        foreground = probabilities(self._base, t)[1]
        if t not in self._shown[c]:
            return np.zeros_like(foreground)
        labels = np.frombuffer(zlib.decompress(self._labels[t]), np.uint8).reshape(self._size)
        own = np.isin(labels, self._shown[c][t])
        return foreground * resized(own, foreground.shape)

    def channel(self, c: int) -> int:
        return 1

    def name(self, c: int) -> str:
        return f"object {c + 1}"

    def _lost_pieces(self) -> Iterator[tuple[int, int]]:
        """Pairs of a track and what it lost: regions beside it whenever it is smaller by as much than where it is whole.

        So something looks before which another thing passes: its parts lie no further apart than it is wide.
        """
        for (a, of), (b, lost) in permutations(enumerate(self._tracks), 2):
            if not lost.areas.keys() < of.areas.keys():
                continue
            whole = max(area for t, area in of.areas.items() if t not in lost.areas)
            if any(of.areas[t] + lost.areas[t] > whole for t in lost.areas):
                continue
            parts = ((self._region(t, of.shown[t]), self._region(t, lost.shown[t])) for t in lost.shown)
            width_px = 2 * np.sqrt(whole / np.pi) if of.likeness(lost.look) >= SURELY_OTHER else 0
            if all((around(x) & y).any() or distance_px(x)[y].min() <= width_px for x, y in parts):
                yield a, b

    def _region(self, t: int, labels: list[int]) -> np.ndarray:
        """``(H, W) bool``: the pixels that are nearest to these regions, inside the foreground."""
        nearest = np.frombuffer(zlib.decompress(self._labels[t]), np.uint8).reshape(self._size)
        return np.isin(nearest, labels) & resized(self._base.label_map(t) > 0, self._size)

    def _look(self, clip: Clip, t: int, propagator: Propagator) -> None:
        """Find the regions of frame t and give each to a track, old or new."""
        foreground = resized(self._base.label_map(t) > 0, self._size)
        pieces = with_specks(regions(foreground, min_area_px=min_area_px(foreground.shape)))
        if not pieces:
            return
        alive = [k for k, track in enumerate(self._tracks) if t - track.last <= MAX_ABSENCE_FRAMES]
        tracks = [self._tracks[k] for k in alive]
        frame = cv2.resize(clip.frames[t], foreground.shape[::-1], interpolation=cv2.INTER_AREA)
        colours = [colours_of(frame, piece) for piece in pieces]
        if len(pieces) == len(tracks) == 1 and tracks[0].likeness(colours[0]) >= SURELY_SAME:
            owners = {0: 0}  # colours alone settle it: the costly flow is spared
        else:
            expected = _follow(clip, tracks, t, propagator)
            whole = len(pieces)
            pieces = [part for piece in pieces for part in split(piece, expected)]
            if len(pieces) > whole:
                colours = [colours_of(frame, piece) for piece in pieces]
            scores = _scores(pieces, colours, tracks, expected)
            owners = _owners(scores)
            self._confused |= {(alive[a], alive[b]) for a, b in _swappable(scores, owners)}
            _own_fragments(owners, pieces, colours, expected)
        self._labels[t] = zlib.compress(nearest_of(pieces).tobytes(), 1)
        for i, piece in enumerate(pieces):
            if i not in owners:
                owners[i] = len(tracks)
                tracks.append(_Track(t, piece.astype(np.float32), np.zeros_like(colours[i])))
                self._tracks.append(tracks[-1])
            tracks[owners[i]].see(t, i, piece, colours[i])


def _follow(clip: Clip, tracks: list[_Track], t: int, propagator: Propagator) -> list[np.ndarray]:
    """``(H, W) bool``: where each track should be in frame t."""
    tasks = [PropagationTask(track.last, t + 1, track.last, np.stack([1 - track.mask, track.mask])) for track in tracks]
    return [masks[-1, 1] > 0.5 for _, masks in propagator.carry(clip, tasks)]


def _scores(
    pieces: list[np.ndarray], colours: list[np.ndarray], tracks: list[_Track], expected: list[np.ndarray]
) -> np.ndarray:
    """``(pieces, tracks)``: overlap with where a track should be, plus likeness; nothing for what surely is another."""
    scores = np.zeros((len(pieces), len(tracks)))
    for i, piece in enumerate(pieces):
        for k, track in enumerate(tracks):
            likeness = track.likeness(colours[i])
            scores[i, k] = overlap(piece, expected[k]) + LIKENESS_WEIGHT * likeness
    return scores


def _owners(scores: np.ndarray) -> dict[int, int]:
    """Piece -> the track that it continues; pieces that are none's are left out."""
    from scipy.optimize import linear_sum_assignment  # costs a second to import; one object needs none

    rows, columns = linear_sum_assignment(-scores)
    return {int(i): int(k) for i, k in zip(rows, columns, strict=True) if scores[i, k] >= SAME_TRACK}


def _swappable(scores: np.ndarray, owners: dict[int, int]) -> set[tuple[int, int]]:
    """Pairs of tracks that could have been given each other's regions about as well."""
    pairs = set()
    for i, k in owners.items():
        for other in range(scores.shape[1]):
            if other == k or scores[i, other] < SAME_TRACK:
                continue
            theirs = next((j for j, owner in owners.items() if owner == other), None)
            loss = scores[i, k] - scores[i, other]
            if theirs is not None:
                loss += scores[theirs, other] - scores[theirs, k]
            if loss < CONFUSED_BELOW:
                pairs.add((min(k, other), max(k, other)))
    return pairs


def _own_fragments(
    owners: dict[int, int], pieces: list[np.ndarray], colours: list[np.ndarray], expected: list[np.ndarray]
) -> None:
    """Give pieces that continue no track to the one whose object they lie in, or beside a like piece of it."""
    for i in set(range(len(pieces))) - set(owners):
        covering = [share_in(pieces[i], mask) for mask in expected]
        if covering and max(covering) >= COVERED:
            owners[i] = int(np.argmax(covering))
            continue
        near = around(pieces[i])
        for j, k in list(owners.items()):
            if (near & pieces[j]).any() and alike(colours[i], colours[j]) >= SURELY_SAME:
                owners[i] = k
                break


def _groups(tracks: list[_Track], confused: set[tuple[int, int]]) -> list[list[int]]:
    """Tracks that are, or may be, one object; the confused ones first, then the most alike."""
    groups = [{k} for k in range(len(tracks))]

    def join(a: set[int], b: set[int]) -> None:
        if a is not b:
            a |= b
            groups.remove(b)

    def of(k: int) -> set[int]:
        return next(group for group in groups if k in group)

    for a, b in sorted(confused):
        join(of(a), of(b))
    looks = [track.look for track in tracks]
    pairs = sorted(combinations(range(len(tracks)), 2), key=lambda pair: -alike(looks[pair[0]], looks[pair[1]]))
    for a, b in pairs:
        together = any(set(tracks[i].shown) & set(tracks[j].shown) for i in of(a) for j in of(b))
        if not together and _may_be_one(tracks[a], tracks[b], alike(looks[a], looks[b])):
            join(of(a), of(b))
    return [sorted(group) for group in groups]


def _may_be_one(a: _Track, b: _Track, likeness: float) -> bool:
    """Whether two stretches that never show together may be one object: unless colours or places tell them apart."""
    if likeness < SURELY_OTHER:
        return False
    if len(a.middles) < 2 or len(b.middles) < 2:
        return True
    pace_px = max(_pace_px(a), _pace_px(b))
    gap = min((abs(s - t), s, t) for s in a.middles for t in b.middles)
    distance = float(np.linalg.norm(a.middles[gap[1]] - b.middles[gap[2]]))
    return distance <= 2 * pace_px * gap[0] + a.radius_px + b.radius_px


def _pace_px(track: _Track) -> float:
    """The fastest that it moved, in pixels a frame."""
    times = sorted(track.middles)
    return max(float(np.linalg.norm(track.middles[t] - track.middles[s])) / (t - s) for s, t in pairwise(times))
