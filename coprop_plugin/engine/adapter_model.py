"""``AdapterModel``: any adapter as an MMEngine model of whole clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, PixelData

from ..adapters.base import Adapter
from ..errors import CoPropError, unknown_name
from ..structures import Clip, Prediction, Sound, TimeBase
from .mirror import build_part


@MODELS.register_module()
class AdapterModel(BaseModel):
    """Runs an adapter over clips that ``PackAVSInputs`` packed; its weights are the adapter's own.

    Each sample gets ``pred_sem_seg (T, H, W)`` and, with ``keep='scores'``, ``prediction``.

    Args:
        adapter: a name, ``dict(type=…)`` or an object.
        keep: ``scores`` keeps the prediction with its scores, ``labels`` its label maps only.
        data_preprocessor: not used, adapters prepare their clips; MMEngine gives a config's own to every model.

    Raises:
        CoPropError: unknown adapter or option; training, which adapters do elsewhere; inputs that are no clips.
    """

    def __init__(
        self, adapter: Any, *, keep: Literal["labels", "scores"] = "scores", data_preprocessor: Any = None
    ) -> None:
        super().__init__()
        if keep not in ("labels", "scores"):
            raise unknown_name("value of keep", keep, ("labels", "scores"))
        self.adapter: Adapter = build_part("adapter", adapter)
        self.keep = keep
        # torch's DistributedDataParallel refuses a model without any parameter
        self.placeholder = torch.nn.Parameter(torch.zeros(()))

    def forward(
        self, inputs: Any, data_samples: Sequence[BaseDataElement] | None = None, mode: str = "tensor"
    ) -> list[BaseDataElement]:
        if mode != "predict" or data_samples is None:
            raise CoPropError(
                f"an AdapterModel predicts; mode='{mode}' is not for it. Train with the model's own code."
            )
        if not isinstance(inputs, Mapping) or "frames" not in inputs:
            raise CoPropError(
                "an AdapterModel takes clips: AVSBenchDataset(unit='clip') with the pipeline LoadClip, LoadAVSMasks, "
                "PackAVSInputs."
            )
        triples = zip(inputs["frames"], inputs["sound"], data_samples, strict=True)
        predictions = self.adapter.predict_clips([clip_of(*triple) for triple in triples])
        return [self._answer(*pair) for pair in zip(predictions, data_samples, strict=True)]

    def _answer(self, prediction: Prediction, sample: BaseDataElement) -> BaseDataElement:
        labels = np.asarray(prediction.label_maps()).astype(np.int64)
        sample.set_field(PixelData(data=torch.from_numpy(labels)), "pred_sem_seg")
        if self.keep == "scores":
            sample.set_field(prediction, "prediction")
        return sample


def clip_of(frames: torch.Tensor, sound: torch.Tensor, sample: BaseDataElement) -> Clip:
    """A packed sample as a clip."""
    meta = sample.metainfo
    return Clip(
        meta["video_id"],
        frames.permute(0, 2, 3, 1).cpu().numpy(),
        Sound(sound.cpu().numpy(), meta["rate_hz"]),
        TimeBase.of(meta["sampling"], len(frames)),
    )
