"""Transforms that load and pack frames, sound and masks with the metainfo of their video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement, PixelData

from ..errors import CoPropError
from ..structures import Clip
from .videos import CLIP_KEYS, FRAME_KEYS, IGNORED, SampleInfo, clip_of

MMSEG_KEYS = (
    "img_path seg_map_path ori_shape img_shape pad_shape scale_factor flip flip_direction reduce_zero_label"
).split()


@TRANSFORMS.register_module()
class LoadAVSMasks:
    """The truth of a frame, ``gt_seg_map (H, W) uint8``, or of a clip, ``(T, H, W)``; 255 where there is none.

    Reads what ``AVSBenchDataset`` names; mmseg's own loader would take the white of a binary mask for "ignore".
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        if "avsbench" not in results:
            raise CoPropError(
                "LoadAVSMasks reads the masks of an AVSBenchDataset; for other data write your own loader."
            )
        truth = results["avsbench"].truth(results["video_id"])
        frames = [results["frame_idx"]] if "frame_idx" in results else range(truth.num_frames)
        maps = np.stack([truth.label_map(t) for t in frames])
        labels = np.where(maps < 0, IGNORED, maps).astype(np.uint8)
        results["gt_seg_map"] = labels[0] if "frame_idx" in results else labels
        results["seg_fields"] = [*results.get("seg_fields", []), "gt_seg_map"]
        return results


@TRANSFORMS.register_module()
class LoadClip:
    """Frames and sound of a whole clip, decoded: ``results['clip']`` is a :class:`coprop_plugin.Clip` in memory."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        clip = clip_of([SampleInfo.of(results)])
        results["clip"] = Clip(clip.clip_id, np.asarray(clip.frames), clip.sound, clip.time_base, notes=clip.notes)
        results["ori_shape"] = clip.size
        return results


@TRANSFORMS.register_module()
class PackAVSInputs:
    """The last step: inputs for the model, and a sample with the truth and the video's metainfo.

    A frame (after mmseg's ``LoadImageFromFile``) is packed as by mmseg's ``PackSegInputs``. A clip (after
    ``LoadClip``) gives ``inputs = dict(frames (T, 3, H, W) uint8 RGB, sound (N,) float32)`` and a sample whose
    ``gt_sem_seg`` is ``(T, H, W)``.

    Args:
        meta_keys: keys of ``results`` for the metainfo, beside the video's and its ``control_points`` where there are any.
    """

    def __init__(self, *, meta_keys: Sequence[str] = tuple(MMSEG_KEYS)) -> None:
        self.meta_keys = tuple(meta_keys)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        if "clip" in results:
            return self._pack_clip(results)
        from mmseg.datasets.transforms import PackSegInputs

        keys = tuple(dict.fromkeys((*self.meta_keys, *FRAME_KEYS, "control_points")))
        return PackSegInputs(meta_keys=keys).transform(results)

    def _pack_clip(self, results: dict[str, Any]) -> dict[str, Any]:
        clip: Clip = results["clip"]
        sample = BaseDataElement()
        keys = (*self.meta_keys, *CLIP_KEYS, "control_points")
        sample.set_metainfo({key: results[key] for key in keys if key in results} | {"rate_hz": clip.sound.rate_hz})
        if "gt_seg_map" in results:
            truth = torch.from_numpy(results["gt_seg_map"].astype(np.int64))
            sample.set_field(PixelData(data=truth), "gt_sem_seg")
        frames = torch.from_numpy(np.ascontiguousarray(np.asarray(clip.frames).transpose(0, 3, 1, 2)))
        sound = torch.from_numpy(np.array(clip.sound.samples))
        return {"inputs": {"frames": frames, "sound": sound}, "data_samples": sample}
