"""Control points that do not listen: from a file, every k frames, none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import CoPropError
from ..files import read_text
from ..parts import part
from ..structures import Clip, ControlPoints, Origin, Prediction
from .base import ControlPointGenerator, check_points
from .changepoint import ChangePoint
from .interval_files import is_table, points_of_file

MAX_FILE_BYTES = 64 << 20  # many hours of 25 flags a second with their confidence


class Given(ControlPointGenerator):
    """Control points that are known already.

    Args:
        points: of the one clip that they belong to.
    """

    name = "given"

    def __init__(self, points: ControlPoints) -> None:
        self.points = points

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """The points themselves; nothing is looked at.

        Raises:
            CoPropError: not one flag a frame of the clip.
        """
        return check_points(self.points, clip, by=self.points.origin.generator)


@part("control_points", "file", example="path=points.json")
class FromFile(ControlPointGenerator):
    """Control points that were saved, or written by a person: JSON as ``coprop points`` writes it, or a list of 0 and 1.

    Audacity labels and tables of strong labels as DCASE has them are known by what the file holds.

    Args:
        path: the file.
    """

    def __init__(self, *, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """Read the file; where it does not say which segments are silent, that is heard. ``base`` is not looked at.

        Raises:
            CoPropError: no such file, not control points, or not one flag a frame of the clip.
        """
        text = read_text(self.path, what="control points", limit_bytes=MAX_FILE_BYTES)
        if is_table(text):
            points = points_of_file(text, clip.time_base, clip_id=clip.clip_id, where=f"'{self.path}'")
        else:
            points = read_control_points(self.path)
        return _with_silence(check_points(points, clip, by=f"'{self.path}'"), clip)


def _with_silence(points: ControlPoints, clip: Clip) -> ControlPoints:
    """The points with silence as the sound has it, where they do not say: most of a silent segment is silent."""
    known = points.silent or (None,) * len(points.frames)
    if None not in known:
        return points
    quiet = np.zeros(clip.num_frames, bool)
    for segment in ChangePoint()(clip).segments():
        quiet[segment.start : segment.stop] = bool(segment.silent)
    heard = [bool(quiet[s.start : s.stop].mean() > 0.5) for s in points.segments()]
    silent = tuple(h if k is None else k for k, h in zip(known, heard, strict=True))
    told = f"{known.count(None)} of {len(known)} segments do not say whether they are silent: heard from the sound"
    return replace(points, silent=silent, origin=replace(points.origin, repairs=(*points.origin.repairs, told)))


def read_control_points(path: str | Path) -> ControlPoints:
    """The control points of a JSON file.

    Raises:
        CoPropError: the file is not there, too large, not text, or not control points.
    """
    text = read_text(path, what="control points (JSON)", limit_bytes=MAX_FILE_BYTES)
    try:
        return ControlPoints.from_json(text)
    except CoPropError as error:
        raise CoPropError(f"'{path}': {error}") from error


@part("control_points", "every_k", example="k=5")
class EveryK(ControlPointGenerator):
    """A control point every k frames, whatever sounds: a baseline.

    Args:
        k: frames a segment, 1 or more.
    """

    def __init__(self, *, k: int) -> None:
        if not isinstance(k, int) or k < 1:
            raise CoPropError(f"every_k needs a whole number k of frames, 1 or more; got {k!r}.")
        self.k = k

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """Flags at 0, k, 2k, …; nothing is looked at."""
        return ControlPoints(np.arange(clip.num_frames) % self.k == 0, origin=Origin(self.name))


@part("control_points", "none")
class NoChange(ControlPointGenerator):
    """One segment: nothing ever changes. The baseline that is right for three quarters of MS3's videos."""

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """The first frame only; nothing is looked at."""
        return ControlPoints(np.arange(clip.num_frames) == 0, origin=Origin(self.name))
