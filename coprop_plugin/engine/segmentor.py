"""``CoPropSegmentor``: a segmentor whose answers are refined ones, for deployment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, PixelData

from ..coprop import CoProp
from ..errors import CoPropError
from ..parts import PartKind
from .mirror import built_parts
from .refining import undisturbed_randomness
from .videos import ClassChannels, SampleInfo, VideoSamples, clip_of


@MODELS.register_module()
class CoPropSegmentor(BaseModel):
    """Wraps a segmentor: what it predicts of the whole videos of a batch is refined by Co-Prop.

    Weights keep the wrapped model's names, in both directions: a base checkpoint is loaded unchanged. Training and
    ``tensor`` mode are the wrapped model's. Where both numbers are wanted use the ``CoPropHook``; this model shows the
    refined masks alone. Batches of whole videos come from ``batch_sampler=dict(type='VideoBatchSampler')``.

    Args:
        segmentor: the wrapped model, or its config.
        classes: names of the labels, the background first.
        data_preprocessor: the wrapped model's where its config names none; MMEngine gives a config's own to every model.
        control_points, propagator, fusion: as in :class:`coprop_plugin.CoProp`, or ``dict(type=…)``.

    Raises:
        CoPropError: unknown parts; when predicting, a batch with a part of a video.
    """

    def __init__(
        self,
        segmentor: Any,
        *,
        classes: Sequence[str] = ("background", "object"),
        control_points: Any = "boundary",
        propagator: Any = "flow",
        fusion: Any = "consensus",
        data_preprocessor: Any = None,
    ) -> None:
        super().__init__()
        if not isinstance(segmentor, BaseModel):
            inherited = {} if data_preprocessor is None else {"data_preprocessor": data_preprocessor}
            segmentor = MODELS.build({**inherited, **segmentor})
        self.segmentor = segmentor
        self.data_preprocessor = self.segmentor.data_preprocessor
        self.classes = ClassChannels.of({"classes": tuple(classes)})
        parts: dict[PartKind, Any] = {"control_points": control_points, "propagator": propagator, "fusion": fusion}
        self.method = CoProp(**built_parts(parts))
        self.register_state_dict_post_hook(_names_of_the_base)
        self.register_load_state_dict_pre_hook(_names_of_the_wrapper)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        return self.segmentor.train_step(data, optim_wrapper)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        answers = self.segmentor(inputs, data_samples, mode=mode)
        return self._refined(answers) if mode == "predict" else answers

    @torch.no_grad()
    def _refined(self, samples: Sequence[BaseDataElement]) -> Sequence[BaseDataElement]:
        infos = [SampleInfo.of(sample.metainfo) for sample in samples]
        videos: dict[str, VideoSamples] = {}
        for info, sample in zip(infos, samples, strict=True):
            videos.setdefault(info.video_id, VideoSamples(info, "labels")).add(info, sample)
        refined = {}
        for name, video in videos.items():
            if not video.complete:
                raise CoPropError(
                    f"video '{name}': the batch holds its frames {video.frames} of {video.num_frames}. Give whole videos: "
                    "sampler=dict(type='VideoSampler'), batch_sampler=dict(type='VideoBatchSampler')."
                )
            with undisturbed_randomness():
                clip = clip_of([info for info, _ in video.in_order()])
                refined[name] = self.method(clip, video.base(self.classes)).prediction
        for info, sample in zip(infos, samples, strict=True):
            said = sample.pred_sem_seg.data
            maps = [torch.from_numpy(np.array(refined[info.video_id].label_map(t))) for t in info.frames]
            sample.pred_sem_seg = PixelData(data=torch.stack(maps).to(said))
        return samples


PREFIX = "segmentor."


def _names_of_the_base(module: CoPropSegmentor, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        value = state.pop(name)
        state.setdefault(prefix + name.removeprefix(prefix).removeprefix(PREFIX), value)


def _names_of_the_wrapper(module: CoPropSegmentor, state: dict[str, Any], prefix: str, *_: Any) -> None:
    shared = "data_preprocessor."  # the wrapper's and the wrapped model's are one object
    for name in [name for name in state if name.startswith(prefix)]:
        plain = name.removeprefix(prefix)
        if not plain.startswith(PREFIX):
            value = state[name] if plain.startswith(shared) else state.pop(name)
            state[prefix + PREFIX + plain] = value
