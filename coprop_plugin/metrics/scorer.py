"""Scores of many videos under named protocols, mergeable and storable."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import CoPropError, PredictionError
from ..files import parse_json
from ..structures import ControlPoints, Prediction
from .frames import FramePair, VideoInfo
from .scores import HARD, PARTLY, SOFT, Scores, together_of
from .sums import Family, Sums, totals
from .table import protocols

FORMAT = 2  # 2: the sums of STQ (families say since which format theirs are readable)


@dataclass(frozen=True)
class VideoRecord:
    """What is kept of one video: what it was, and its sums per protocol (``None``: no frame has a truth)."""

    frames: int
    unlabelled: int
    scores: str
    truth_size: tuple[int, int]
    control_points: str
    truth_control_points: str
    sums: dict[str, Sums | None]
    notes: tuple[str, ...] = ()


class Scorer:
    """Scores of many videos: add them one by one, merge what other processes added, compute at any time.

    Videos are kept by their id, and their sums are added exactly: scoring shards apart and merging them gives the
    numbers of one run to the last digit. Protocols that score several videos together (``batch=4``) cut their
    batches in the order of ``order``; without it, in the order in which videos were added.

    Args:
        protocol: a name, or several (:func:`coprop_plugin.metrics.table.describe`).
        order: the data set's order of video ids.
    """

    def __init__(self, protocol: str | Sequence[str] = "avsbench", *, order: Sequence[str] | None = None) -> None:
        self.asked = protocol if isinstance(protocol, str) else list(protocol)
        self.protocols = protocols(protocol)
        self.order = None if order is None else list(order)
        self.class_ids: tuple[int, ...] = ()
        self.videos: dict[str, VideoRecord] = {}

    def add(
        self,
        video_id: str,
        prediction: Prediction,
        truth: Prediction,
        control_points: ControlPoints | None = None,
        *,
        truth_control_points: ControlPoints | None = None,
        frame_s: float | None = None,
    ) -> None:
        """Score one video; its frames are read once, one at a time. See :func:`coprop_plugin.metrics.protocols.score`.

        Raises:
            CoPropError: a video id for the second time, other classes than the videos before, or prediction, truth
                and control points that do not fit.
            PredictionError: NaN or infinite scores.
        """
        if video_id in self.videos:
            raise CoPropError(f"the video '{video_id}' was scored already; every video is added once.")
        points = {"control points": control_points, "true control points": truth_control_points}
        _check(video_id, prediction, truth, points)
        binary = prediction.binary or truth.binary
        info = VideoInfo(
            video_id=video_id,
            num_frames=truth.num_frames,
            class_ids=(1,) if binary else tuple(sorted({*prediction.class_ids, *truth.class_ids})),
            binary=binary,
            flags=None if control_points is None else control_points.flags,
            truth_flags=None if truth_control_points is None else truth_control_points.flags,
            frame_s=frame_s,
        )
        self._check_classes(f"the video '{video_id}'", info.class_ids)
        sums, unlabelled = self._sum_up(prediction, truth, info)
        self.class_ids = info.class_ids
        self.videos[video_id] = VideoRecord(
            frames=info.num_frames,
            unlabelled=unlabelled,
            scores=HARD if prediction.kind == "hard" else SOFT,
            truth_size=truth.size,
            control_points="from masks" if control_points is None else control_points.origin.generator,
            truth_control_points="from masks" if truth_control_points is None else "given",
            sums=sums,
            notes=prediction.notes,
        )

    def merge(self, other: Scorer) -> Scorer:
        """Take over the videos of another scorer of the same protocols; returns this one.

        Raises:
            CoPropError: other protocols or classes, or a video that both have.
        """
        if [p.name for p in self.protocols] != [p.name for p in other.protocols]:
            raise CoPropError(f"scorers merge under the same protocols only, got '{self.asked}' and '{other.asked}'.")
        if both := sorted(self.videos.keys() & other.videos.keys()):
            raise CoPropError(f"{len(both)} videos were scored on both sides, the first is '{both[0]}'.")
        if other.videos:
            self._check_classes("the other scorer", other.class_ids)
            self.class_ids = other.class_ids
        self.videos |= other.videos
        return self

    def compute(self) -> Scores:
        """The scores of all videos so far.

        Raises:
            CoPropError: nothing was added yet, or a video is not in ``order``.
        """
        return self._compute(self.video_ids())

    def per_video(self) -> dict[str, Scores]:
        """Video id -> its scores, as if it had been scored alone."""
        return {video_id: self._compute([video_id]) for video_id in self.video_ids()}

    def subset(self, videos: Iterable[str]) -> Scorer:
        """A scorer of some of the videos.

        Raises:
            CoPropError: a video that was not scored.
        """
        part = Scorer(self.asked, order=self.order)
        part.class_ids = self.class_ids
        for video in videos:
            if video not in self.videos:
                raise CoPropError(f"the video '{video}' was not scored.")
            part.videos[video] = self.videos[video]
        return part

    def video_ids(self) -> list[str]:
        """The videos in the order of the data set, or as they were added."""
        if not self.videos:
            raise CoPropError("nothing was scored yet; add videos first.")
        if self.order is None:
            return list(self.videos)
        if strange := sorted(self.videos.keys() - set(self.order)):
            raise CoPropError(
                f"{len(strange)} videos are not in the order that was given, the first is '{strange[0]}'."
            )
        return [video_id for video_id in self.order if video_id in self.videos]

    def families(self) -> dict[str, Family]:
        """Protocol name -> its family, for the classes of the videos."""
        return self._families(binary=len(self.class_ids) == 1)

    def _families(self, *, binary: bool) -> dict[str, Family]:
        return {p.name: p.family(binary) for p in self.protocols}

    def rows(self, name: str, videos: Sequence[str]) -> list[Sums]:
        """The sums of these videos under a protocol, in its units; videos without a truth are left out."""
        kept = [sums for v in videos if (sums := self.videos[v].sums[name]) is not None]
        return self.families()[name].rows(kept) if kept else []

    def record(self, video_id: str) -> dict[str, Any]:
        """All that is kept of one video, as plain data; :meth:`restore` takes it back."""
        return {"format": FORMAT, "class_ids": list(self.class_ids), **asdict(self.videos[video_id])}

    def restore(self, video_id: str, record: Mapping[str, Any]) -> None:
        """Take over a video's :meth:`record`; sums of protocols that this scorer does not compute are left out.

        Raises:
            CoPropError: no such record, sums of another rule, other classes than the videos before.
        """
        try:
            kept = {k: v for k, v in record.items() if k not in ("format", "class_ids")}
            self._check_format(record.get("format", 1))
            kept["sums"] = {p.name: kept["sums"][p.name] for p in self.protocols}
            tuples: dict[str, Any] = {key: tuple(kept[key]) for key in ("truth_size", "notes") if key in kept}
            video = VideoRecord(**{**kept, **tuples})
            class_ids = tuple(record["class_ids"])
        except (KeyError, TypeError, AttributeError) as error:
            raise CoPropError(f"these are no stored scores ({type(error).__name__}: {error}).") from error
        self._check_classes(f"the video '{video_id}'", class_ids)
        self.class_ids = class_ids
        self.videos[video_id] = video

    def to_json(self) -> str:
        """Everything, to be stored or sent; numbers keep every digit."""
        videos = {video_id: asdict(record) for video_id, record in self.videos.items()}
        head = {"format": FORMAT, "protocol": self.asked, "order": self.order, "class_ids": self.class_ids}
        return json.dumps({**head, "videos": videos})

    @classmethod
    def from_json(cls, text: str) -> Scorer:
        """The scorer that :meth:`to_json` wrote.

        Raises:
            CoPropError: not such a text, or sums that an earlier version computed by another rule.
        """
        try:
            data = parse_json(text, where="stored scores", nan=True)
            scorer = cls(data["protocol"], order=data["order"])
            scorer._check_format(data["format"])
            head = {"format": data["format"], "class_ids": data["class_ids"]}
            for video_id, record in data["videos"].items():
                scorer.restore(video_id, {**head, **record})
            scorer.class_ids = tuple(data["class_ids"])
        except (KeyError, TypeError, AttributeError) as error:
            raise CoPropError(f"these are no stored scores ({type(error).__name__}: {error}).") from error
        return scorer

    def _check_format(self, given: Any) -> None:
        """Whether sums that were stored in this format can be added to those of today."""
        if given not in range(1, FORMAT + 1):
            raise CoPropError(f"stored scores have the format {given!r}, this version reads 1 to {FORMAT}.")
        if changed := [name for name, family in self._families(binary=True).items() if family.since > given]:
            raise CoPropError(
                f"stored scores of the format {given} hold sums of {', '.join(changed)} by a rule that has changed "
                "since; score the videos again."
            )

    def _sum_up(self, prediction: Prediction, truth: Prediction, info: VideoInfo) -> tuple[dict[str, Sums | None], int]:
        """The sums of a video under each protocol, and how many of its frames have no truth."""
        families = self._families(binary=info.binary)
        running = {name: family.open(info) for name, family in families.items()}
        unlabelled = 0
        for t in range(info.num_frames):
            frame = FramePair(prediction, truth, t, info)
            try:
                if not frame.has_truth:
                    unlabelled += 1
                    continue
                views = {size: frame.at(size) for size in {family.size for family in families.values()}}
                for name, family in families.items():
                    running[name].add(views[family.size])
            except PredictionError as error:
                raise PredictionError(f"video '{info.video_id}': {error}") from error
        if unlabelled == info.num_frames:
            return dict.fromkeys(running), unlabelled
        return {name: _jsonable(video.close()) for name, video in running.items()}, unlabelled

    def _check_classes(self, whose: str, class_ids: tuple[int, ...]) -> None:
        if self.class_ids not in ((), class_ids):
            raise CoPropError(
                f"{whose} has {_classes(class_ids)}, the videos before have {_classes(self.class_ids)}; "
                "scores are pooled over videos of one label set only."
            )

    def _compute(self, videos: Sequence[str]) -> Scores:
        results = {p.name: self._scores(p.name, p.description, videos) for p in self.protocols}
        return next(iter(results.values())) if len(results) == 1 else together_of(results)

    def _scores(self, name: str, description: str, videos: Sequence[str]) -> Scores:
        family = self.families()[name]
        about = {"rule": description, **self._about(family, videos)}
        rows = self.rows(name, videos)
        values = {key: float(value[0]) for key, value in family.values(totals(rows)).items()} if rows else {}
        plain = {k: None if math.isnan(v) else int(v) if k in family.counts else v for k, v in values.items()}
        return Scores(plain, name, about, family.swept(plain))

    def _about(self, family: Family, videos: Sequence[str]) -> dict[str, Any]:
        records = [self.videos[v] for v in videos]
        sizes = sorted({record.truth_size if family.size is None else family.size for record in records})
        kinds = {record.scores for record in records}
        return {
            "videos": len(records),
            "frames": sum(r.frames - r.unlabelled for r in records),
            "frames_without_truth": sum(r.unlabelled for r in records),
            "classes": len(self.class_ids),
            "scores": kinds.pop() if len(kinds) == 1 else PARTLY,
            "size": ", ".join(f"{width}x{height}" for height, width in sizes[:3]) + (" …" if len(sizes) > 3 else ""),
            "resize": f"{'to the truth' if family.size is None else 'both'}: scores bilinear, labels nearest",
            "control_points": ", ".join(sorted({r.control_points for r in records})),
            "truth_control_points": ", ".join(sorted({r.truth_control_points for r in records})),
            **({"notes": notes} if (notes := sorted({note for r in records for note in r.notes})) else {}),
        }


def _check(
    video_id: str, prediction: Prediction, truth: Prediction, points: Mapping[str, ControlPoints | None]
) -> None:
    if truth.kind != "hard":
        raise CoPropError(
            f"video '{video_id}': the truth is a hard prediction, got one of kind '{truth.kind}'; "
            "make it from label maps with Prediction.from_labels(...)."
        )
    if prediction.num_frames != truth.num_frames:
        raise PredictionError(
            f"video '{video_id}': {prediction.num_frames} predicted frames against {truth.num_frames} of the truth; "
            "both need the same frames (mark frames without a truth with -1)."
        )
    for name, given in points.items():
        if given is not None and len(given) != truth.num_frames:
            raise CoPropError(f"video '{video_id}': {name} of {len(given)} frames, the truth has {truth.num_frames}.")


def _classes(class_ids: tuple[int, ...]) -> str:
    if len(class_ids) == 1:
        return "one class (binary)"
    return f"{len(class_ids)} classes {class_ids if len(class_ids) < 9 else f'{class_ids[0]}..{class_ids[-1]}'}"


def _jsonable(sums: Mapping[str, Any]) -> Sums:
    return {
        name: value.tolist() if isinstance(value, np.ndarray | np.generic) else value for name, value in sums.items()
    }
