"""Models of mmsegmentation, frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import CheckpointError, CoPropError
from ..openmmlab import prepare_openmmlab
from ..parts import part
from ..structures import AVSBENCH_CLASSES, AVSBENCH_NAMES, Clip, FrameSpool, FrameStack, Prediction
from ..weights.checkpoint import load_into, read_state_dict
from ..weights.device import choose_device
from .base import Adapter, check_frames

log = logging.getLogger(__name__)


@part(
    "adapter",
    "mmseg",
    needs="config= (run as code) and checkpoint= of an mmsegmentation model, and mmcv",
    extra="mmcv-lite",
    weights="the model zoo of mmsegmentation, or a training of your own",
    example="config=segformer.py,checkpoint=segformer.pth",
)
class MmsegAdapter(Adapter):
    """Any mmsegmentation model, frame by frame; its config file is run as Python code, so take only one you trust.

    The sound is not heard: the model sees every frame alone. The first channel is the background, the others are the
    classes. A model with one channel gives a sigmoid and its own threshold, which mmsegmentation sets to 0.3.

    Args:
        checkpoint: the model's weights; mmengine's checkpoints are read without running what they hold.
        config: mmsegmentation's config file. **It is code, and it is run.**
        class_ids: the classes of the channels after the background; by default ``(1,)`` for a binary model, AVSBench's
            classes for 71 channels, and 1, 2, 3, … for others.
        device: ``auto`` takes the GPU where there is one.
        trust_pickle: read a checkpoint that could run code.

    Raises:
        CheckpointError: no checkpoint, or one that does not fit the config's model.
        CoPropError: no config, or one that mmsegmentation cannot build a model from.
        MissingExtra: mmsegmentation or mmcv is not installed.
    """

    frame_equals_clip = True

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        config: str | Path | None = None,
        class_ids: Sequence[int] | None = None,
        device: str = "auto",
        trust_pickle: bool = False,
    ) -> None:
        if not checkpoint or not config:
            raise CheckpointError("the adapter 'mmseg' needs config=FILE and checkpoint=FILE of the same model.")
        state = read_state_dict(checkpoint, trust_pickle=trust_pickle)
        self._model = build_segmentor(Path(config), choose_device(device))
        load_into(self._model, state, what=f"'{checkpoint}'", drop=("data_preprocessor.",))
        channels = int(self._model.out_channels)
        self._sigmoid = channels == 1
        self.kind = "probability" if self._sigmoid else "logit"
        self.class_ids: tuple[int, ...] = tuple(class_ids) if class_ids else default_classes(channels)
        if len(self.class_ids) != max(1, channels - 1):
            raise CoPropError(
                f"mmseg: the model has {channels} channels, class_ids names {len(self.class_ids)} classes."
            )

    def predict(self, clip: Clip) -> Prediction:
        """Every frame at the clip's own size; computed when first read, then kept (beyond 256 MB in a file)."""
        kept = FrameSpool()

        def answer(t: int) -> np.ndarray:
            if t not in kept:
                kept[t] = self._answer(clip, t)
            return kept[t]

        labels = None
        if self._sigmoid:
            labels = FrameStack(
                lambda t: answer(t)[-1].astype(np.int16) * self.class_ids[0],
                num_frames=clip.num_frames,
                frame_shape=clip.size,
                dtype=np.int16,
            )
        return Prediction(
            scores=FrameStack(
                lambda t: answer(t)[: len(self.class_ids) + 1],
                num_frames=clip.num_frames,
                frame_shape=(len(self.class_ids) + 1, *clip.size),
                dtype=np.float32,
            ),
            kind=self.kind or "logit",
            class_ids=self.class_ids,
            labels=labels,
            names=dict(enumerate(AVSBENCH_NAMES)) if self.class_ids == AVSBENCH_CLASSES else {},
            source=f"mmseg on clip '{clip.clip_id}'",
        )

    def predict_frames(self, clip: Clip, frames: Sequence[int]) -> dict[int, np.ndarray]:
        """The same function of a frame as within its clip."""
        return {t: self._answer(clip, t)[: len(self.class_ids) + 1] for t in check_frames(clip, frames)}

    @torch.inference_mode()
    def _answer(self, clip: Clip, t: int) -> np.ndarray:
        """``(K+1, H, W) float32``, with the model's own label as a last channel where it has a threshold."""
        from mmseg.apis import inference_model

        sample = inference_model(self._model, np.ascontiguousarray(clip.frames[t][..., ::-1]))  # mmseg reads BGR
        scores = sample.seg_logits.data.float().cpu().numpy()
        if not self._sigmoid:
            return scores
        return np.stack([1 - scores[0], scores[0], sample.pred_sem_seg.data[0].cpu().numpy().astype(np.float32)])


def build_segmentor(config: Path, device: torch.device) -> Any:
    """The model of a config file, which is run, without weights.

    Raises:
        CoPropError: no such file, or anything that goes wrong when it is run.
    """
    if not config.is_file():
        raise CoPropError(f"no config file at '{config}'.")
    prepare_openmmlab()
    log.warning("mmseg: running the config '%s' as Python code", config)
    try:
        from mmseg.apis import init_model

        return init_model(str(config), checkpoint=None, device=str(device))
    except Exception as error:  # the config is code: any error can come out of it
        raise CoPropError(f"mmsegmentation builds no model from '{config}': {type(error).__name__}: {error}") from error


def default_classes(channels: int) -> tuple[int, ...]:
    """The classes of the channels after the background."""
    return AVSBENCH_CLASSES if channels == len(AVSBENCH_CLASSES) + 1 else tuple(range(1, max(2, channels)))
