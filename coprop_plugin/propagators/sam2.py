"""SAM 2 and EdgeTAM as propagators: models of transformers, prompted with the anchor mask; they hear nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CheckpointError, CoPropError
from ..parts import part
from ..structures import Clip
from ..weights.device import choose_device
from ..weights.trackers import load_tracker, tracking_session
from .base import PropagationTask, Propagator, Session, both_ways
from .clip_cache import ClipCache

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OBJECT_LOGIT = 0.0  # an object is where its logit is above


@part(
    "propagator",
    "sam2",
    needs="checkpoint=, the folder or hub id of a Sam2VideoModel",
    weights="published by Meta under Apache-2.0, facebook/sam2.1-hiera-tiny and larger",
    example="checkpoint=facebook/sam2.1-hiera-tiny",
)
class Sam2(Propagator):
    """SAM 2 (Ravi et al., 2024) follows each object of the anchor mask, forwards and backwards from the anchor.

    A clip has one session, however many tasks: a frame that several tasks cross is encoded once, if its features are
    still kept. Each task begins without memory, and so does each direction. Only what the model will still look at is
    kept of frames that are done: memory does not grow with the clip. Frames are stretched to the model's square (1024 x
    1024 as published); where objects overlap the larger logit wins, as published.

    Args:
        checkpoint: the folder that the model was saved in, or its hub id if the local cache holds it.
        device: ``auto``, ``cpu``, ``cuda``, …
        precision: of weights and products; ``bfloat16`` is for GPUs.
        cache_bytes: bound of the features kept of a clip's frames, about 20 MB each as published; the current frame's
            are kept in any case.

    Raises:
        CheckpointError: no checkpoint, a model of another kind, or damaged files.
        CoPropError: an option outside its range, or no such model here.
    """

    session: Session = "clip"
    kind: ClassVar[str] = "sam2_video"

    def __init__(
        self,
        *,
        checkpoint: str | Path | None = None,
        device: str = "auto",
        precision: Literal["float32", "bfloat16"] = "float32",
        cache_bytes: int = 256 << 20,
    ) -> None:
        if precision not in ("float32", "bfloat16") or cache_bytes < 0:
            raise CoPropError(
                f"{self.name} takes precision float32 or bfloat16 and cache_bytes from 0 on, got {precision} and {cache_bytes}."
            )
        if not checkpoint:
            raise CheckpointError(
                f"{self.name} needs its weights, and none are shipped: give checkpoint=FOLDER (--propagator-checkpoint "
                "FOLDER), or the hub id of a model in the local cache."
            )
        dtype = torch.float32 if precision == "float32" else torch.bfloat16
        self.model = load_tracker(checkpoint, kind=self.kind, device=choose_device(device), dtype=dtype)
        self.kept: ClipCache[dict[str, Any]] = ClipCache(cache_bytes)

    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        session = tracking_session(
            self.model,
            num_frames=clip.num_frames,
            frame=lambda t: self._seen(clip.frames[t]),
            features=_KeptFeatures(clip, self.kept),
        )
        for task in tasks:
            yield both_ways(clip, task, partial(self._follow, session, task))
            session.reset_tracking_data()

    def _follow(self, session: Any, task: PropagationTask, frames: range) -> Iterator[tuple[int, np.ndarray]]:
        """``(t, (K+1, H, W))`` of the frames on one side of the anchor, away from it."""
        session.reset_tracking_data()
        labels = task.mask.argmax(axis=0)
        shown = [k for k in range(1, len(task.mask)) if (labels == k).any()]
        for index, k in enumerate(shown):
            session.obj_id_to_idx(k)  # objects have the numbers 0, 1, … in this order
            session.add_mask_inputs(index, task.anchor, self._prompt(labels == k))
        session.obj_with_new_inputs = list(shown)
        self._step(session, task.anchor, reverse=False)
        for t in frames:
            logits = self._step(session, t, reverse=frames.step < 0)
            forget(session, t, step=frames.step, memories=self.model.num_maskmem, pointers=self._pointers)
            yield t, as_probability(logits, shown, task.mask.shape)

    @torch.inference_mode()
    def _step(self, session: Any, t: int, *, reverse: bool) -> Tensor:
        """``(n, h, w)`` logits of the session's objects in frame t."""
        return self.model(session, frame_idx=t, reverse=reverse).pred_masks[:, 0].float().cpu()

    @property
    def _pointers(self) -> int:
        return int(self.model.config.max_object_pointers_in_encoder)

    def _seen(self, frame: np.ndarray) -> Tensor:
        """``(3, S, S)``: as the published processor makes it, in whole grey levels."""
        size = (int(self.model.config.image_size),) * 2
        pixels = torch.tensor(np.asarray(frame), device=self.model.device).permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True).round().clamp(0, 255) / 255
        mean, std = (torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (MEAN, STD))
        return ((pixels[0] - mean) / std).to(self.model.dtype)

    def _prompt(self, mask: np.ndarray) -> Tensor:
        """``(1, 1, S, S)`` of zeros and ones."""
        size = (int(self.model.config.image_size),) * 2
        given = torch.from_numpy(mask)[None, None].float()
        return (F.interpolate(given, size, mode="bilinear", antialias=True) >= 0.5).to(self.model.dtype)


@part(
    "propagator",
    "edgetam",
    needs="checkpoint=, the folder or hub id of an EdgeTamVideoModel; its published encoder needs timm",
    weights="published by Meta under Apache-2.0, yonigozlan/EdgeTAM-hf",
    example="checkpoint=yonigozlan/EdgeTAM-hf",
)
class EdgeTam(Sam2):
    """EdgeTAM (Zhou et al., 2025): SAM 2 with a light encoder and a condensed memory; see :class:`Sam2`.

    Args:
        checkpoint: the folder that the model was saved in, or its hub id if the local cache holds it.
        device: ``auto``, ``cpu``, ``cuda``, …
        precision: of weights and products; ``bfloat16`` is for GPUs.
        cache_bytes: bound of the features kept of a clip's frames; the current frame's are kept in any case.

    Raises:
        CheckpointError: no checkpoint, a model of another kind, damaged files, or timm is missing.
        CoPropError: an option outside its range, or no such model here.
    """

    kind: ClassVar[str] = "edgetam_video"


class _KeptFeatures:
    """Where a session's model finds features of a clip's frames (a ``FeatureStore``).

    Of the encodings of places only the coarsest level's is ever read.
    """

    def __init__(self, clip: Clip, kept: ClipCache[dict[str, Any]]) -> None:
        self._clip, self._kept = clip, kept
        self._current: tuple[int, dict[str, Any] | None] = (-1, None)

    def get_vision_features(self, frame_idx: int) -> dict[str, Any] | None:
        if self._current[0] != frame_idx:
            self._current = frame_idx, self._kept.get(self._clip, frame_idx)
        return self._current[1]

    def cache_vision_features(self, frame_idx: int, features: dict[str, Any]) -> None:
        kept = {**features, "vision_pos_embeds": features["vision_pos_embeds"][-1:]}
        size = sum(tensor.nbytes for tensors in kept.values() for tensor in tensors)
        self._current = frame_idx, kept
        self._kept.put(self._clip, frame_idx, kept, num_bytes=size)


def forget(session: Any, t: int, *, step: int, memories: int, pointers: int) -> None:
    """Drop what no later frame of this direction will look at, once frame t is done.

    The model looks at the memories of the last ``memories - 1`` frames and at the object pointers of the last
    ``pointers - 1``; masks it does not look at again.
    """
    for index, held in session.output_dict_per_obj.items():
        frames = held["non_cond_frame_outputs"]
        for outputs in (*held["cond_frame_outputs"].values(), frames[t]):
            outputs.pop("high_res_masks", None)
        frames[t].pop("pred_masks")
        frames.pop(t - (pointers - 1) * step, None)
        if (old := frames.get(t - (memories - 1) * step)) is not None:
            old.pop("maskmem_features", None)
            old.pop("maskmem_pos_enc", None)
        session.frames_tracked_per_obj[index].clear()


def as_probability(logits: Tensor, shown: list[int], shape: tuple[int, ...]) -> np.ndarray:
    """``(K+1, H, W) float32`` of ``(n, h, w)`` logits of the objects ``shown``; the others have no pixel.

    A softmax with the background at the logit above which an object is: of one object this is the sigmoid, and of
    several the largest logit wins, if it is an object's at all.
    """
    full = F.interpolate(logits[None], shape[1:], mode="bilinear", align_corners=False)[0]
    background = torch.full_like(full[:1], OBJECT_LOGIT)
    probability = np.zeros(shape, np.float32)
    probability[[0, *shown]] = torch.cat([background, full]).softmax(dim=0).numpy()
    return probability
