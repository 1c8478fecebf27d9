"""The project's named protocols as MMEngine metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from ..errors import CoPropError, unknown_name
from ..metrics.scorer import Scorer
from ..metrics.table import protocols
from ..structures import ControlPoints, Prediction
from .videos import IGNORED, ClassChannels, Kept, SampleInfo, prediction_of_logits, smallest

Detail = Literal["headline", "all"]
KEPT_KEYS = {"pred_sem_seg", "gt_sem_seg", "seg_logits", "control_points"}


@METRICS.register_module()
class AVSMetric(BaseMetric):
    """Scores of whole videos under one or several named protocols (``coprop_plugin.metrics.protocols``).

    Takes samples that are frames or clips. A number's name is ``<protocol>/<metric>``; shares lie in [0, 1].

    Args:
        protocol: a name or several.
        use: of samples that are frames, the ``labels`` or the model's ``scores`` (``seg_logits``); a clip's sample from
            ``AdapterModel(keep='scores')`` brings its scores itself.
        detail: ``all`` numbers of the protocols, or the ``headline`` ones, which are no part of another.
        options: those of mmengine's ``BaseMetric`` (``prefix``, ``collect_device``).

    Raises:
        CoPropError: an unknown protocol; in the loop, a video that is not whole on one process.
    """

    def __init__(
        self,
        *,
        protocol: str | Sequence[str] = "avsbench",
        use: Kept = "labels",
        detail: Detail = "all",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for option, given, allowed in (("use", use, Kept), ("detail", detail, Detail)):
            if given not in get_args(allowed):
                raise unknown_name(f"value of {option}", given, get_args(allowed))
        self.use, self.detail = use, detail
        self.protocol = protocol if isinstance(protocol, str) else tuple(protocol)
        protocols(self.protocol)  # an unknown name is an error now, not after the epoch
        self._open: dict[str, dict[int, Mapping[str, Any]]] = {}

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Take samples; a video is scored when its last frame comes, and only its sums are kept."""
        for sample in data_samples:
            info = SampleInfo.of(sample)
            if len(info.frames) == info.num_frames:
                frames = [sample]
            else:
                held = self._open.setdefault(info.video_id, {})
                if info.frames[0] in held:
                    raise CoPropError(f"video '{info.video_id}': frame {info.frames[0]} came twice.")
                held[info.frames[0]] = self._light(sample)
                if len(held) < info.num_frames:
                    continue
                frames = [held[t] for t in sorted(self._open.pop(info.video_id))]
            self.results.append(self._scored(info, frames))

    def evaluate(self, size: int) -> dict[str, float]:
        if self._open:
            count, (name, held) = len(self._open), next(iter(self._open.items()))
            self._open = {}
            raise CoPropError(
                f"{count} videos are not whole: of '{name}' only the frames {sorted(held)} came to this "
                "process. Write sampler=dict(type='VideoSampler') into the data loader."
            )
        return super().evaluate(size)

    def compute_metrics(self, results: list[str]) -> dict[str, float]:
        """The numbers of all videos of all processes; equal to those of a single process."""
        total = Scorer(self.protocol)
        for text in results:
            total.merge(Scorer.from_json(text))
        scores = total.compute().subset(parts=self.detail == "all")
        return {name: float(value) for name, value in scores.flat().items() if value is not None}

    def _light(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """What is needed of a frame until its video is whole: maps on the CPU, labels in a byte or two a pixel."""
        kept = {key: sample[key] for key in KEPT_KEYS & sample.keys()}
        if self.use != "scores":
            kept.pop("seg_logits", None)
        for key in kept.keys() & {"pred_sem_seg", "gt_sem_seg", "seg_logits"}:
            data = kept[key]["data"].cpu()
            kept[key] = {"data": data if data.is_floating_point() else smallest(data)}
        return kept

    def _scored(self, info: SampleInfo, frames: Sequence[Mapping[str, Any]]) -> str:
        """The sums of one video, as JSON."""
        classes = ClassChannels.of(self.dataset_meta)
        truth = np.concatenate([_maps(frame, "gt_sem_seg", info) for frame in frames]).astype(np.int16)
        prediction = frames[0].get("prediction")
        if prediction is None:
            labels = np.concatenate([_maps(frame, "pred_sem_seg", info) for frame in frames]).astype(np.int16)
            source = f"model on '{info.video_id}'"
            if self.use == "scores":
                logits = np.stack([_maps(frame, "seg_logits", info) for frame in frames]).astype(np.float32)
                prediction = prediction_of_logits(logits, labels, classes, source=source)
            else:
                prediction = Prediction.from_labels(labels, class_ids=classes.ids, names=classes.names, source=source)
        points = frames[0].get("control_points")
        scorer = Scorer(self.protocol)
        scorer.add(
            info.video_id,
            prediction,
            Prediction.from_labels(np.where(truth == IGNORED, -1, truth), class_ids=classes.ids, source="truth"),
            points if isinstance(points, ControlPoints) else None,
        )
        return scorer.to_json()


@METRICS.register_module()
class AlignmentMetric(AVSMetric):
    """Do the right objects appear and vanish with the sound? (``coprop_plugin.metrics.alignment``)"""

    def __init__(self, *, protocol: str | Sequence[str] = "alignment", **options: Any) -> None:
        super().__init__(protocol=protocol, **options)


def _maps(frame: Mapping[str, Any], key: str, info: SampleInfo) -> np.ndarray:
    """``(T or C, H, W)`` maps of a sample that is a dict, as an evaluator gives it."""
    if key not in frame:
        raise CoPropError(f"video '{info.video_id}': a sample holds no '{key}'; it has {sorted(frame)}.")
    return frame[key]["data"].cpu().numpy()
