"""``RCPGHook``: control points into each sample's metainfo, before the model sees it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ..structures import ControlPoints
from .mirror import build_part
from .refining import undisturbed_randomness
from .videos import SampleInfo, clip_of

REMEMBERED_VIDEOS = 64


@HOOKS.register_module()
class RCPGHook(Hook):
    """Find each video's control points in its sound and write them into ``metainfo['control_points']``.

    They are there when the model and all other hooks see the samples. A video's frames ask once; the last
    ``REMEMBERED_VIDEOS`` videos are remembered.

    Args:
        control_points: the generator, as in :class:`coprop_plugin.CoProp`, or ``dict(type=…)``; for samples that are
            single frames it must do with the sound.
    """

    priority = "ABOVE_NORMAL"

    def __init__(self, *, control_points: Any) -> None:
        self.generator = build_part("control_points", control_points)
        self._points: OrderedDict[str, ControlPoints] = OrderedDict()

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._write_points(data_batch)

    def before_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._write_points(data_batch)

    def _write_points(self, data_batch: Any) -> None:
        for sample in data_batch["data_samples"]:
            info = SampleInfo.of(sample.metainfo)
            if info.video_id not in self._points:
                with undisturbed_randomness():
                    self._points[info.video_id] = self.generator(clip_of([info]))
            if len(self._points) > REMEMBERED_VIDEOS:
                self._points.popitem(last=False)
            sample.set_metainfo({"control_points": self._points[info.video_id]})
