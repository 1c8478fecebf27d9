"""Objects of a binary prediction: connected regions, followed through the clip, where they can be told apart.

Regions are joined from frame to frame by where the propagator expects them and by their colours, one to one, at the
least total cost. What is left over is a fragment of an object that was already found, or a new one. At the end stretches
that may be one object are joined, and objects that were confused somewhere become one: an edit of an object that is not
surely itself would be a coin toss.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from ..masks.areas import min_area_px
from ..masks.probability import probabilities
from ..propagators.base import PropagationTask, Propagator
from ..structures import Clip, Prediction

MAX_ABSENCE_FRAMES = 12  # a track that was not shown for so long is no longer expected anywhere
SAME_TRACK = 0.4  # overlap plus likeness from which a region continues a track
LIKENESS_WEIGHT = 0.5  # of colour against overlap
CONFUSED_BELOW = 0.3  # two tracks whose regions could be swapped at this loss were not told apart
# Likeness of colours, measured on real clips: one object in two frames has at least 0.6 in 95 % of the pairs, two
# objects at most 0.5 in 70 %.
SURELY_SAME, SURELY_OTHER = 0.8, 0.5
COVERED = 0.6  # of a region, or of an expected mask: it belongs there
MAX_SIDE_PX = 240  # regions are followed at this size at most
SPECK_SHARE = 0.12  # of a near region's area: a smaller region is a piece of it
NEAR_SIDES = 0.06  # of the frame's longer side: fragments of one object lie so near to each other


@dataclass
class _Track:
    """Regions followed through the clip, and how they looked.

    ``shown``: frame -> labels of its regions; ``middles``: frame -> their middle (y, x); ``mask (H, W) float32`` at
    frame ``last``; ``colours`` the sum over its frames.
    """

    last: int
    mask: np.ndarray
    colours: np.ndarray
    shown: dict[int, list[int]] = field(default_factory=dict)
    middles: dict[int, np.ndarray] = field(default_factory=dict)

    def see(self, t: int, label: int, piece: np.ndarray, colours: np.ndarray) -> None:
        """A region of frame t is (a fragment of) this track."""
        old = self.mask if self.shown.get(t) else 0.0
        self.mask = np.maximum(old, piece).astype(np.float32)
        self.last = t
        self.colours = self.colours + colours
        self.shown.setdefault(t, []).append(label)
        self.middles[t] = np.argwhere(self.mask > 0.5).mean(axis=0)

    @property
    def radius_px(self) -> float:
        return float(np.sqrt((self.mask > 0.5).sum() / np.pi))

    def likeness(self, colours: np.ndarray) -> float:
        return alike(self.colours / max(self.colours.sum(), 1e-9), colours)


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
        groups = _groups(self._tracks, self._confused)
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
        return foreground * _resized(own, foreground.shape)

    def channel(self, c: int) -> int:
        return 1

    def name(self, c: int) -> str:
        return f"object {c + 1}"

    def _look(self, clip: Clip, t: int, propagator: Propagator) -> None:
        """Find the regions of frame t and give each to a track, old or new."""
        foreground = _resized(self._base.label_map(t) > 0, self._size)
        pieces = _with_specks(regions(foreground, min_area_px=min_area_px(foreground.shape)))
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
            pieces = [part for piece in pieces for part in _split(piece, expected)]
            if len(pieces) > whole:
                colours = [colours_of(frame, piece) for piece in pieces]
            scores = _scores(pieces, colours, tracks, expected)
            owners = _owners(scores)
            self._confused |= {(alive[a], alive[b]) for a, b in _swappable(scores, owners)}
            _own_fragments(owners, pieces, colours, expected)
        self._labels[t] = zlib.compress(_nearest(pieces).tobytes(), 1)
        for i, piece in enumerate(pieces):
            if i not in owners:
                owners[i] = len(tracks)
                tracks.append(_Track(t, piece.astype(np.float32), np.zeros_like(colours[i])))
                self._tracks.append(tracks[-1])
            tracks[owners[i]].see(t, i, piece, colours[i])


def regions(foreground: np.ndarray, *, min_area_px: int) -> list[np.ndarray]:
    """``(H, W) bool`` connected regions of at least this area; at most 255, the largest."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8), connectivity=8)
    found = [i for i in range(1, len(stats)) if stats[i, cv2.CC_STAT_AREA] >= min_area_px]
    largest = sorted(sorted(found, key=lambda i: -stats[i, cv2.CC_STAT_AREA])[:255])
    return [labels == i for i in largest]


def _with_specks(pieces: list[np.ndarray]) -> list[np.ndarray]:
    """Regions with those that are tiny beside a near one made part of it: a frayed contour, no object of its own."""
    areas = [int(piece.sum()) for piece in pieces]
    order = sorted(range(len(pieces)), key=lambda i: -areas[i])
    kept: list[int] = []
    whole = {}
    for i in order:
        hosts = [k for k in kept if areas[i] < SPECK_SHARE * areas[k]]
        host = next((k for k in hosts if (_around(pieces[k]) & pieces[i]).any()), None)
        if host is None:
            kept.append(i)
            whole[i] = pieces[i]
        else:
            whole[host] = whole[host] | pieces[i]
    return [whole[i] for i in sorted(kept)]


def _around(piece: np.ndarray) -> np.ndarray:
    """``(H, W) bool``: a region and what lies near it."""
    side = 2 * max(1, round(NEAR_SIDES * max(piece.shape))) + 1
    return np.asarray(cv2.dilate(piece.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(H, W) bool`` mask at another size."""
    if mask.shape == size:
        return mask
    return (
        cv2.resize(
            mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA if size < mask.shape else cv2.INTER_LINEAR
        )
        > 0.5
    )


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
            scores[i, k] = _overlap(piece, expected[k]) + LIKENESS_WEIGHT * likeness
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
        covering = [_share(pieces[i], mask) for mask in expected]
        if covering and max(covering) >= COVERED:
            owners[i] = int(np.argmax(covering))
            continue
        near = _around(pieces[i])
        for j, k in list(owners.items()):
            if (near & pieces[j]).any() and alike(colours[i], colours[j]) >= SURELY_SAME:
                owners[i] = k
                break


def _split(region: np.ndarray, expected: list[np.ndarray]) -> list[np.ndarray]:
    """A region that holds several tracks, cut so that every pixel goes to the nearest of them.

    It holds them if it covers where they should be and is as large as they are together.
    """
    covered = [mask for mask in expected if mask.any() and _share(mask, region) >= COVERED]
    if len(covered) < 2 or region.sum() < 0.75 * np.logical_or.reduce(covered).sum():
        return [region]
    largest = max(covered, key=np.sum)
    if region.sum() < 1.15 * largest.sum():  # it is as large as one of them alone
        return [region]
    nearest = _nearest(covered)
    return [part for i in range(len(covered)) if (part := region & (nearest == i)).any()]


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
    looks = [track.colours / max(track.colours.sum(), 1e-9) for track in tracks]
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


def _nearest(masks: list[np.ndarray]) -> np.ndarray:
    """``(H, W) uint8``: the index of the mask that each pixel is nearest to; up to 256 masks."""
    if len(masks) == 1:
        return np.zeros(masks[0].shape, np.uint8)
    return np.argmin([_distance(mask) for mask in masks], axis=0).astype(np.uint8)


def _distance(mask: np.ndarray) -> np.ndarray:
    """``(H, W) float32``: how far each pixel is from the mask."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """The share of one mask that lies in another."""
    return float((part & whole).sum() / max(1, part.sum()))


def colours_of(frame: np.ndarray, region: np.ndarray) -> np.ndarray:
    """``(2048,)`` share of each of 8x16x16 colours (CIE L*a*b*) in a region of an RGB frame, neighbours blurred."""
    lab = cv2.cvtColor(frame[region][None], cv2.COLOR_RGB2LAB)[0].astype(np.int64)
    levels = lab[:, 0] >> 5, ((lab[:, 1:] - 48) // 10).clip(0, 15)
    codes = levels[0] << 8 | levels[1][:, 0] << 4 | levels[1][:, 1]
    counts = np.bincount(codes, minlength=2048).astype(np.float32).reshape(8, 16, 16)
    return (gaussian_filter(counts, (0.8, 1.0, 1.0), mode="nearest") / max(1, len(codes))).ravel()


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """Histogram intersection in [0, 1]."""
    return float(np.minimum(a, b).sum())
