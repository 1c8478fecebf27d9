"""``AVSBenchDataset``: S4, MS3, AVSS and MOC for MMEngine, a frame or a whole clip a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ..datasets.avsbench import AVSBench, LayoutName, open_dataset
from ..datasets.layouts import Video
from ..datasets.moc import moc_videos
from ..errors import unknown_name
from ..masks.palette import voc_palette
from ..structures import AVSBENCH_NAMES


@DATASETS.register_module()
class AVSBenchDataset(BaseDataset):
    """AVSBench on disk (``coprop_plugin.datasets.avsbench``).

    A sample names its video (``video_id``, ``num_frames``, ``audio_path``, ``sampling``) and its pictures: with
    ``unit='frame'`` ``frame_idx`` and ``img_path``, with ``unit='clip'`` ``frame_paths``. Label 0 is the background.

    Args:
        data_root: see ``open_dataset``.
        split: ``train``, ``val`` or ``test``.
        layout: ``s4``, ``ms3``, ``avss`` or ``auto``.
        unit: what one sample is: a ``frame`` for mmseg's models, a ``clip`` for audio-visual ones.
        frames: with ``unit='frame'``, ``all``, or for training the ``labelled`` ones (of S4's training videos the first).
        videos: only these ids, or ``moc``: those of MS3 whose set of sounding categories changes (paper, table 3); by
            default all of the split.
        semantic_root: for ``moc`` on MS3, the AVSS data set, whose class masks tell the categories.
        options: those of mmengine's ``BaseDataset`` (``pipeline``, ``indices``, …).

    Raises:
        CoPropError: no such data set, split, unit or video, or files that are missing.
    """

    def __init__(
        self,
        data_root: str,
        *,
        split: str = "test",
        layout: LayoutName = "auto",
        unit: Literal["frame", "clip"] = "frame",
        frames: Literal["all", "labelled"] = "all",
        videos: Sequence[str] | Literal["moc"] | None = None,
        semantic_root: str | None = None,
        **options: Any,
    ) -> None:
        if unit not in ("frame", "clip"):
            raise unknown_name("unit", unit, ("frame", "clip"))
        if frames not in ("all", "labelled"):
            raise unknown_name("value of frames", frames, ("all", "labelled"))
        self.bench: AVSBench = open_dataset(data_root, layout=layout)
        if isinstance(videos, str) and videos != "moc":
            raise unknown_name("subset of videos", videos, ("moc",))
        self.split, self.unit, self.frames = split, unit, frames
        self.videos, self.semantic_root = videos, semantic_root
        semantic = len(self.bench.layout.class_ids) > 1
        classes = tuple(AVSBENCH_NAMES) if semantic else ("background", "object")
        palette = voc_palette(len(classes)) if semantic else voc_palette(256)[[0, 255]]
        metainfo = {"classes": classes, "palette": palette.tolist(), **(options.pop("metainfo", None) or {})}
        super().__init__(data_root=data_root, metainfo=metainfo, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry a frame, or a clip, in the order of the data set's table."""
        return [entry for video in self._chosen() for entry in self._entries(video)]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """An entry, with the opened data set that the transforms read masks from."""
        return {**super().get_data_info(idx), "avsbench": self.bench}

    def _chosen(self) -> tuple[Video, ...]:
        if self.videos == "moc":
            semantic = None if self.semantic_root is None else open_dataset(self.semantic_root, layout="avss")
            return moc_videos(self.bench, split=self.split, semantic=semantic)
        of_split = self.bench.videos(self.split)
        if self.videos is None:
            return of_split
        known = {video.video_id: video for video in of_split}
        if strange := [name for name in self.videos if name not in known]:
            raise unknown_name("video", strange[0], known)
        return tuple(known[name] for name in self.videos)

    def _entries(self, video: Video) -> list[dict[str, Any]]:
        layout, count = self.bench.layout, self.bench.num_frames(video)
        paths = [str(self.bench.path(layout.frame_file(video, t))) for t in range(count)]
        common = {
            "video_id": video.video_id,
            "num_frames": count,
            "audio_path": str(self.bench.path(layout.sound_file(video))),
            "sampling": "avsbench",
            "reduce_zero_label": False,
            "seg_fields": [],
        }
        if self.unit == "clip":
            return [{**common, "frame_paths": paths}]
        chosen = range(count) if self.frames == "all" else layout.labelled(video, count)
        return [{**common, "frame_idx": t, "img_path": paths[t]} for t in chosen]
