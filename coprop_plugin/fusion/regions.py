"""Connected regions of a mask: found, cut, measured, and compared by place and colour."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

COVERED = 0.6  # of a region, or of an expected mask: it belongs there
SPECK_SHARE = 0.12  # of a near region's area: a smaller region is a piece of it
NEAR_SIDES = 0.06  # of the frame's longer side: fragments of one object lie so near to each other


def regions(foreground: np.ndarray, *, min_area_px: int) -> list[np.ndarray]:
    """``(H, W) bool`` connected regions of at least this area; at most 255, the largest."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8), connectivity=8)
    found = [i for i in range(1, len(stats)) if stats[i, cv2.CC_STAT_AREA] >= min_area_px]
    largest = sorted(sorted(found, key=lambda i: -stats[i, cv2.CC_STAT_AREA])[:255])
    return [labels == i for i in largest]


def with_specks(pieces: list[np.ndarray]) -> list[np.ndarray]:
    """Regions with those that are tiny beside a near one made part of it: a frayed contour, no object of its own."""
    areas = [int(piece.sum()) for piece in pieces]
    order = sorted(range(len(pieces)), key=lambda i: -areas[i])
    kept: list[int] = []
    whole = {}
    for i in order:
        hosts = [k for k in kept if areas[i] < SPECK_SHARE * areas[k]]
        host = next((k for k in hosts if (around(pieces[k]) & pieces[i]).any()), None)
        if host is None:
            kept.append(i)
            whole[i] = pieces[i]
        else:
            whole[host] = whole[host] | pieces[i]
    return [whole[i] for i in sorted(kept)]


def around(piece: np.ndarray) -> np.ndarray:
    """``(H, W) bool``: a region and what lies near it."""
    side = 2 * max(1, round(NEAR_SIDES * max(piece.shape))) + 1
    return np.asarray(cv2.dilate(piece.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(H, W) bool`` mask at another size."""
    if mask.shape == size:
        return mask
    return (
        cv2.resize(
            mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA if size < mask.shape else cv2.INTER_LINEAR
        )
        > 0.5
    )


def nearest_of(masks: list[np.ndarray]) -> np.ndarray:
    """``(H, W) uint8``: the index of the mask that each pixel is nearest to; up to 256 masks."""
    if len(masks) == 1:
        return np.zeros(masks[0].shape, np.uint8)
    return np.argmin([distance_px(mask) for mask in masks], axis=0).astype(np.uint8)


def distance_px(mask: np.ndarray) -> np.ndarray:
    """``(H, W) float32``: how far each pixel is from the mask."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0


def share_in(part: np.ndarray, whole: np.ndarray) -> float:
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


def split(region: np.ndarray, expected: list[np.ndarray]) -> list[np.ndarray]:
    """A region that holds several tracks, cut so that every pixel goes to the nearest of them.

    It holds them if it covers where they should be and is as large as they are together.
    """
    covered = [mask for mask in expected if mask.any() and share_in(mask, region) >= COVERED]
    if len(covered) < 2 or region.sum() < 0.75 * np.logical_or.reduce(covered).sum():
        return [region]
    largest = max(covered, key=np.sum)
    if region.sum() < 1.15 * largest.sum():  # it is as large as one of them alone
        return [region]
    nearest = nearest_of(covered)
    return [part for i in range(len(covered)) if (part := region & (nearest == i)).any()]
