"""Control points from masks (paper A.1): where the set of classes shown differs from the frame before."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..errors import CoPropError, PredictionError
from ..parts import build, part
from ..structures import Clip, ControlPoints, Origin, Prediction, change_flags, class_sets
from ..structures.control_points import SOUND_AND_SILENCE
from .base import ControlPointGenerator

PREDICTED_MIN_AREA = 0.001  # of the frame: a smaller class is a speck; in a truth each pixel was meant
TRUE_MIN_AREA_PX = 1


@part("control_points", "from_masks", example="truth=masks/")
class FromMasks(ControlPointGenerator):
    """Class sets of the base prediction's label maps, or of a truth's (for studies: true control points).

    Fills ``silent`` (nothing shown) and ``categories`` (the classes' names, where the prediction has them).

    Args:
        truth: a hard prediction, or where its masks lie, to be used instead of the base prediction.
        min_area: of a class to count: a share of the frame below 1, else pixels. By default 0.1 % of the frame,
            1 pixel for a truth.

    Raises:
        CoPropError: ``min_area`` is not positive.
    """

    def __init__(self, *, truth: Prediction | str | Path | None = None, min_area: float | None = None) -> None:
        if min_area is not None and min_area <= 0:
            raise CoPropError(f"min_area is a share of the frame below 1, or pixels from 1 on; got {min_area}.")
        self.truth = truth
        self.wants_base = truth is None
        self.min_area = min_area or (PREDICTED_MIN_AREA if truth is None else TRUE_MIN_AREA_PX)

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """Look at every frame's labels.

        Raises:
            PredictionError: no masks were given, or not as many as the clip has frames.
        """
        masks = self._masks(clip, base)
        if masks.num_frames != clip.num_frames:
            raise PredictionError(
                f"clip '{clip.clip_id}' has {clip.num_frames} frames, the masks that control points shall come from "
                f"{masks.num_frames}."
            )
        return points_from_masks(masks, min_area=self.min_area)

    def _masks(self, clip: Clip, base: Prediction | None) -> Prediction:
        if isinstance(self.truth, str | Path):
            return build("adapter", {"name": "saved_masks", "path": self.truth, "kind": "hard"}).predict(clip)
        masks = self.truth if self.truth is not None else base
        if masks is None:
            raise PredictionError(
                "control points from masks need the base model's prediction of all frames; "
                "give masks (or an adapter with mode='clip'), or from_masks:truth=PATH."
            )
        return masks


def points_from_masks(masks: Prediction, *, min_area: float) -> ControlPoints:
    """Control points of a prediction, by its class sets; areas as :class:`FromMasks` takes them."""
    height, width = masks.size
    least_px = math.ceil(min_area * height * width - 1e-9) if min_area < 1 else math.ceil(min_area)
    sets = class_sets(masks.label_maps(), min_area_px=max(1, least_px))  # type: ignore[arg-type]
    flags = change_flags(sets)
    shown = [sets[t] for t in np.flatnonzero(flags)]
    named = all(c in masks.names for classes in shown for c in classes)
    return ControlPoints(
        flags,
        silent=tuple(not classes for classes in shown),
        categories=tuple(tuple(masks.names[c] for c in sorted(classes)) for classes in shown) if named else None,
        origin=Origin(f"{FromMasks.name} {SOUND_AND_SILENCE}" if masks.binary else FromMasks.name),
    )
