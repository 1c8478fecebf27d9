"""Where optical flow comes from: OpenCV's DIS, a function, files, or a Perceiver of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from ..errors import CoPropError, unknown_name
from ..media.arrays import open_npy
from ..parts import check, options_of
from ..store.frame_files import entries
from ..structures import Clip
from .motion import FlowSource
from .steps import grey_of, grid_of, pictures_of_step, sample

FlowFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Dis:
    """OpenCV's DIS optical flow, chained through the frames in between where the video is at hand.

    What is told is the length of a pixel's way, not of its displacement: what swings and comes back has moved.

    Args:
        max_side_px: the flow is computed at this size of the longer side at most.
        max_gap_s: about how long a step through the frames in between is; 0 takes none, as the paper.
        camera: ``kept`` is the paper's: under a panning camera everything moves. ``removed`` subtracts the median
            displacement of every step first.
    """

    def __init__(
        self, *, max_side_px: int = 320, max_gap_s: float = 0.25, camera: Literal["kept", "removed"] = "kept"
    ) -> None:
        if camera not in ("kept", "removed"):
            raise unknown_name("treatment of the camera's motion", camera, ("kept", "removed"))
        if max_side_px < 16 or max_gap_s < 0:
            raise CoPropError(f"dis takes max_side_px >= 16 and max_gap_s >= 0; got {max_side_px} and {max_gap_s}.")
        self.max_side_px, self.max_gap_s, self.camera = max_side_px, max_gap_s, camera
        self.about = (
            f"optical flow by DIS at {max_side_px} px{f', steps of {max_gap_s:g} s' if max_gap_s else ''}"
            f"{', the median motion removed' if camera == 'removed' else ''}"
        )
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def speeds(self, clip: Clip) -> Iterator[np.ndarray]:
        for t in range(clip.num_frames - 1):
            pictures = pictures_of_step(
                clip, t, lambda frame: grey_of(frame, self.max_side_px), max_gap_s=self.max_gap_s
            )
            yield self._way(pictures) * (clip.size[1] / pictures[0].shape[1])

    def _way(self, pictures: list[np.ndarray]) -> np.ndarray:
        """``(h, w)``: how far each pixel of the first picture goes up to the last, in pixels of these pictures."""
        total: np.ndarray | None = None
        way = np.zeros(pictures[0].shape, np.float32)
        for here, there in pairwise(pictures):
            step = self._dis.calc(here, there, None)  # type: ignore[call-overload]
            step = step if total is None else sample(step, grid_of(step.shape[:2]) + total)
            own = step - np.median(step, axis=(0, 1)) if self.camera == "removed" else step
            way += np.hypot(own[..., 0], own[..., 1])
            total = step if total is None else total + step
        return way


class FromFunction:
    """Flow by any function of two frames ``(H, W, 3) uint8`` that gives ``(h, w, 2)`` displacements in their pixels."""

    def __init__(self, function: FlowFunction, *, about: str = "") -> None:
        self._function = function
        self.about = about or f"optical flow by {getattr(function, '__name__', type(function).__name__)}"

    def speeds(self, clip: Clip) -> Iterator[np.ndarray]:
        for t in range(clip.num_frames - 1):
            flow = np.asarray(self._function(np.asarray(clip.frames[t]), np.asarray(clip.frames[t + 1])), np.float32)
            yield _length(flow, f"{self.about}, frames {t} and {t + 1} of clip '{clip.clip_id}'")


class FromFiles:
    """Flows that were computed before: ``<clip>.npy`` in a folder, or one file.

    An array ``(T - 1, h, w, 2)`` of displacements in pixels of the frames, or ``(T - 1, h, w)`` of their lengths.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.about = f"optical flow from '{path.name}'"

    def speeds(self, clip: Clip) -> Iterator[np.ndarray]:
        path = self._path
        if path.is_dir():
            own = [each for each in entries(path) if each.name == f"{clip.clip_id}.npy"]
            if not own:
                raise CoPropError(f"{path}: no flow for clip '{clip.clip_id}': {clip.clip_id}.npy is not there.")
            path = own[0]
        flows = open_npy(path)
        if flows.ndim not in (3, 4) or len(flows) != clip.num_frames - 1:
            raise CoPropError(
                f"{path}: flows are (T - 1, h, w, 2) or their lengths (T - 1, h, w), here T - 1 = {clip.num_frames - 1}; "
                f"got {flows.shape}."
            )
        for t, flow in enumerate(flows):
            one = np.asarray(flow, np.float32)
            yield one if one.ndim == 2 else _length(one, f"{path}, step {t}")


def _length(flow: np.ndarray, where: str) -> np.ndarray:
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise CoPropError(f"{where}: a flow is (h, w, 2), x and y in pixels; got {flow.shape}.")
    return np.hypot(flow[..., 0], flow[..., 1])


def open_flow(given: Any, *, device: str = "auto") -> FlowSource:
    """The source of flow that a user names.

    Args:
        given: ``"dis"``; ``"dis-steady"``, the camera's motion removed; a folder with a Perceiver of transformers (``config.json``); a folder or file of flows
            (``.npy``); a dict of options of :class:`Dis`, or ``{"perceiver": FOLDER, …}``; a function; or a source.
        device: of a Perceiver.

    Raises:
        CoPropError: nothing usable is there.
    """
    if isinstance(given, Mapping):
        options = dict(given)
        if "perceiver" in options:
            return _perceiver({"model": options.pop("perceiver"), "device": device, **options})
        check("the flow source 'dis'", options, options_of(Dis))
        return Dis(**options)
    if isinstance(given, FlowSource):
        return given
    if callable(given):
        return FromFunction(given)
    if given in ("dis", "dis-steady"):
        return Dis(camera="kept" if given == "dis" else "removed")
    path = Path(given)
    if (path / "config.json").is_file():
        return _perceiver({"model": path, "device": device})
    if path.suffix.lower() == ".npy" or (path.is_dir() and any(p.suffix == ".npy" for p in entries(path))):
        return FromFiles(path)
    raise CoPropError(
        f"flow: nothing usable at '{path}'. Allowed: dis, dis-steady; a folder with a Perceiver of transformers (config.json); "
        "flows as .npy, one a clip; in Python a function of two frames too."
    )


def _perceiver(options: dict[str, Any]) -> FlowSource:
    from .perceiver import Perceiver

    check("the flow source 'perceiver'", options, options_of(Perceiver))
    return Perceiver(**options)
