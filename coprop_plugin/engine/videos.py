"""Samples of a test loop put together to videos: what their metainfo must say, and what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from mmengine.structures import BaseDataElement, PixelData

from ..errors import CoPropError
from ..media.images import read_rgb
from ..media.sound import read_track
from ..structures import Clip, Frames, FrameSpool, FrameStack, Prediction, TimeBase

FRAME_KEYS = ("video_id", "frame_idx", "num_frames", "audio_path", "sampling")  # of a sample that is one frame
CLIP_KEYS = ("video_id", "num_frames", "frame_paths", "audio_path", "sampling")  # of a sample that is a whole clip
Kept = Literal["labels", "scores"]
IGNORED = 255  # mmseg's value for pixels without a truth


@dataclass(frozen=True)
class SampleInfo:
    """Which frames of which video a sample is.

    Attributes:
        frames: their indices; one, or all of the clip.
        paths: their image files.
        sampling: how frames lie in time; ``avsbench`` where the metainfo does not say.
    """

    video_id: str
    num_frames: int
    frames: tuple[int, ...]
    paths: tuple[str, ...]
    audio_path: str
    sampling: str

    @classmethod
    def of(cls, metainfo: Mapping[str, Any]) -> SampleInfo:
        """Read a sample's metainfo.

        Raises:
            CoPropError: a key is missing; the message says where to put it.
        """
        whole = "frame_paths" in metainfo
        needed = ("video_id", "num_frames", "audio_path", *(() if whole else ("frame_idx", "img_path")))
        if missing := [key for key in needed if metainfo.get(key) is None]:
            raise CoPropError(
                f"a sample's metainfo lacks {missing}, without which its video is not known. End the pipeline with "
                f"dict(type='PackAVSInputs'), or with PackSegInputs(meta_keys=(…, {', '.join(map(repr, FRAME_KEYS))})), "
                "and let the data set (AVSBenchDataset does) fill these keys."
            )
        if metainfo.get("reduce_zero_label"):
            raise CoPropError("reduce_zero_label: label 0 must be the background, which this data set drops.")
        num_frames = int(metainfo["num_frames"])
        frames = tuple(range(num_frames)) if whole else (int(metainfo["frame_idx"]),)
        paths = tuple(map(str, metainfo["frame_paths"])) if whole else (str(metainfo["img_path"]),)
        if len(paths) != len(frames) or not 0 <= frames[-1] < num_frames:
            raise CoPropError(
                f"video '{metainfo['video_id']}': frames {frames} with {len(paths)} files, of {num_frames} frames."
            )
        sampling = str(metainfo.get("sampling") or "avsbench")
        return cls(str(metainfo["video_id"]), num_frames, frames, paths, str(metainfo["audio_path"]), sampling)


def clip_of(infos: Sequence[SampleInfo]) -> Clip:
    """The clip of the samples of one video; frames are read from their files when asked for.

    Reading a frame that no sample names is an error; the sound needs one sample only.
    """
    first = infos[0]
    paths = dict(pair for info in infos for pair in zip(info.frames, info.paths, strict=True))
    time_base = TimeBase.of(first.sampling, first.num_frames)
    frames = FrameStack(
        partial(_read_frame, first.video_id, paths),
        num_frames=first.num_frames,
        frame_shape=read_rgb(next(iter(paths.values()))).shape,
        dtype=np.uint8,
    )
    track = read_track(first.audio_path, duration_s=time_base.duration_s)
    return Clip(first.video_id, frames, track.sound, time_base, notes=track.notes)


def _read_frame(video_id: str, paths: Mapping[int, str], t: int) -> np.ndarray:
    if t not in paths:
        raise CoPropError(
            f"video '{video_id}': frame {t} is not at hand yet. Before the model only the sound of a video of frames is "
            "known; a generator that looks at pictures belongs into the CoPropHook."
        )
    return read_rgb(paths[t])


class ClassChannels(NamedTuple):
    """What the labels of a data set mean."""

    ids: tuple[int, ...]
    names: dict[int, str]

    @classmethod
    def of(cls, dataset_meta: Mapping[str, Any] | None) -> ClassChannels:
        """From an evaluator's ``dataset_meta``; label 0 is the background.

        Raises:
            CoPropError: it names no classes.
        """
        names = (dataset_meta or {}).get("classes")
        if not names:
            raise CoPropError(
                "the data set's metainfo names no classes; write metainfo=dict(classes=('background', …))."
            )
        ids = tuple(range(1, max(2, len(names))))
        return cls(ids, {c: str(names[c]) for c in ids if c < len(names)})


class VideoSamples:
    """What is kept of one video until it is complete: its masks (and scores where asked for), never its pictures.

    Args:
        info: of its first sample.
        kept: ``labels`` keeps the model's label maps, ``scores`` its scores as well (beyond 256 MB in a file).
    """

    def __init__(self, info: SampleInfo, kept: Kept) -> None:
        self.video_id, self.num_frames, self.kept = info.video_id, info.num_frames, kept
        self.seen: set[int] = set()
        self.infos: list[SampleInfo] = []
        self.samples: list[BaseDataElement] = []
        self._scores = FrameSpool()
        self._given: Prediction | None = None

    @property
    def frames(self) -> list[int]:
        return sorted(self.seen)

    @property
    def complete(self) -> bool:
        return len(self.seen) == self.num_frames

    def add(self, info: SampleInfo, sample: BaseDataElement) -> None:
        """Keep what is needed of a sample, which is left as it is.

        Raises:
            CoPropError: a frame for the second time, another number of frames, or no masks.
        """
        if info.num_frames != self.num_frames:
            raise CoPropError(
                f"video '{self.video_id}' has {self.num_frames} frames by one sample, {info.num_frames} by another."
            )
        if twice := self.seen.intersection(info.frames):
            raise CoPropError(f"video '{self.video_id}': frame {min(twice)} came twice; no two videos share an id.")
        if "pred_sem_seg" not in sample:
            raise CoPropError(
                f"video '{self.video_id}': the model's sample holds no 'pred_sem_seg', only {sample.keys()}."
            )
        if "prediction" in sample and self.kept == "scores":
            self._given = sample.prediction
        elif self.kept == "scores":
            if "seg_logits" not in sample or len(info.frames) > 1:
                raise CoPropError(f"video '{self.video_id}': base='scores' needs the model's scores in each sample.")
            self._scores[info.frames[0]] = sample.seg_logits.data.float().cpu().numpy()
        self.seen.update(info.frames)
        self.infos.append(info)
        self.samples.append(light(sample))

    def in_order(self) -> list[tuple[SampleInfo, BaseDataElement]]:
        """The samples with their infos, by frame."""
        return sorted(zip(self.infos, self.samples, strict=True), key=lambda pair: pair[0].frames)

    def base(self, classes: ClassChannels) -> Prediction:
        """What the base model said of the complete video."""
        if self._given is not None:
            return self._given
        maps = [sample.pred_sem_seg.data for _, sample in self.in_order()]
        if len({tuple(each.shape[1:]) for each in maps}) > 1:
            raise CoPropError(
                f"video '{self.video_id}': its masks have several sizes, {[tuple(m.shape[1:]) for m in maps]}."
            )
        stack = torch.cat(maps).numpy()
        source = f"base model on '{self.video_id}'"
        if self.kept == "labels":
            return Prediction.from_labels(stack, class_ids=classes.ids, names=classes.names, source=source)
        scores = FrameStack(
            lambda t: self._scores[t],
            num_frames=self.num_frames,
            frame_shape=self._scores[0].shape,
            dtype=np.float32,
        )
        return prediction_of_logits(scores, stack, classes, source=source)

    def truth(self, classes: ClassChannels) -> Prediction | None:
        """The true masks, -1 where there is none; ``None`` where the samples bring no truth."""
        ordered = [sample for _, sample in self.in_order()]
        if not all("gt_sem_seg" in sample for sample in ordered):
            return None
        maps = torch.cat([sample.gt_sem_seg.data for sample in ordered]).numpy().astype(np.int16)
        return Prediction.from_labels(
            np.where(maps == IGNORED, -1, maps), class_ids=classes.ids, names=classes.names, source="truth"
        )


def prediction_of_logits(scores: Frames, labels: np.ndarray, classes: ClassChannels, *, source: str) -> Prediction:
    """A prediction from mmseg's ``seg_logits (T, C, H, W)`` and its label maps ``(T, H, W)``.

    Of a single channel mmseg gives the sigmoid, and labels by a threshold of its own.
    """
    num_frames, channels, *size = scores.shape
    if channels > 1:
        return Prediction(scores=scores, kind="logit", class_ids=classes.ids, names=classes.names, source=source)
    both = FrameStack(
        lambda t: np.concatenate([1 - scores[t], scores[t]]),
        num_frames=num_frames,
        frame_shape=(2, *size),
        dtype=np.float32,
    )
    return Prediction(
        scores=both, kind="probability", class_ids=classes.ids, labels=labels, names=classes.names, source=source
    )


def light(sample: BaseDataElement) -> BaseDataElement:
    """A copy on the CPU without scores, its label maps in the smallest type that holds them."""
    copy = sample.new()
    for name in {"seg_logits", "prediction"} & set(copy.keys()):
        delattr(copy, name)
    copy = copy.cpu()
    for name, value in list(copy.items()):
        if isinstance(value, PixelData) and "data" in value and _are_labels(name, value.data):
            copy.set_field(PixelData(data=smallest(value.data.long())), name)
    return copy


def _are_labels(name: str, data: torch.Tensor) -> bool:
    """Whether a map holds labels: mmseg gives those of heads with one channel as floats."""
    return not data.is_floating_point() or (
        name in ("pred_sem_seg", "gt_sem_seg") and bool((data == data.round()).all())
    )


def smallest(labels: torch.Tensor) -> torch.Tensor:
    """Integer labels as uint8 where they fit, else as int16."""
    fits = labels.numel() == 0 or (int(labels.min()) >= 0 and int(labels.max()) <= 255)
    return labels.to(torch.uint8 if fits else torch.int16)


def with_prediction(sample: BaseDataElement, info: SampleInfo, refined: Prediction, *, kept: Kept) -> BaseDataElement:
    """The sample as the model would have given it, had it said what the refined prediction says."""
    copy = sample.new()
    for name, value in list(copy.items()):
        if isinstance(value, PixelData) and "data" in value and not value.data.is_floating_point():
            copy.set_field(PixelData(data=value.data.long()), name)
    labels = np.stack([refined.label_map(t) for t in info.frames]).astype(np.int64)
    copy.set_field(PixelData(data=torch.from_numpy(labels)), "pred_sem_seg")
    if kept == "scores" and len(info.frames) == 1:
        # The softmax of a log-probability is the probability: the same meaning as a model's own logits.
        scores = np.log(np.maximum(refined.frame(info.frames[0]), 1e-12))
        copy.set_field(PixelData(data=torch.from_numpy(scores)), "seg_logits")
    elif kept == "scores":
        copy.set_field(refined, "prediction")
    return copy
