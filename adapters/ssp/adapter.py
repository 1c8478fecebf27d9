"""SSP on a clip: AAVS with what moves and what a model said of the video, each where its inputs are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ...audio.vggish import VGGish
from ...errors import CoPropError, unknown_name
from ...language.answers import AnswerSource, NoText
from ...layers.mask2former import Output
from ...parts import part
from ...propagators.flow_sources import open_flow
from ...propagators.motion import FlowSource, MotionMasks, MotionRule, Rule
from ...structures import Clip
from ...weights.variants import Checkpoint, State, Variant
from ..aavs.adapter import AavsAdapter, Features
from ..aavs.network import STAGE_1, STAGE_2, UNUSED, UNUSED_IN_STAGE_1, AavsConfig
from ..published import Batch, Precision
from .align import Texts
from .encoders import Encoders, joined
from .network import PRE_MASKED, Ssp, completed, config_of
from .pre_mask import TestMode, floored, pre_mask
from .sources import open_answers


def _network(state: State, *, published: AavsConfig) -> Ssp:
    return Ssp(config_of(state, published))


VARIANTS = (
    Variant("ssp", "stage1", partial(_network, published=STAGE_1), (*UNUSED, *UNUSED_IN_STAGE_1), PRE_MASKED),
    Variant("ssp", "stage2", partial(_network, published=STAGE_2), UNUSED, PRE_MASKED),
)


@part(
    "adapter",
    "ssp",
    needs="checkpoint= and audio_checkpoint= (VGGish); stage 2 also first_stage=; texts: answers= and two encoders",
    weights="none published; trained with `coprop train ssp`, or AAVS's",
    example="checkpoint=ssp.safetensors,audio_checkpoint=vggish-10086976.pth,answers=answers.json",
)
class SspAdapter(AavsAdapter):
    """SSP, "Stepping Stone Plus" (arXiv 2601.08133): AAVS with an optical-flow pre-mask and two aligned texts.

    No weights are published. Weights of AAVS run too: what was not trained stays off, and it is AAVS, to the bit. What
    was left off, and why, stands in the prediction's notes.

    Args:
        checkpoint: what ``coprop train ssp`` wrote, or AAVS's ``.pth``.
        audio_checkpoint: see :class:`AavsAdapter`.
        first_stage: for stage 2; a checkpoint is run by this adapter with the same flow and answers.
        flow: where optical flow comes from: ``dis``; ``dis-steady``, the camera's motion removed; a folder with a
            Perceiver of transformers; flows as ``.npy``; a function of two frames (see
            :func:`~coprop_plugin.propagators.flow_sources.open_flow`).
        binary: the rule by which a video's flow becomes a mask: ``max``, ``otsu`` or ``mean``.
        pre_mask: ``flow`` blacks out what stands still (the paper), ``floor`` dims it to a half, ``off``; ``auto`` takes
            ``flow`` where the weights were trained with a pre-mask, else ``off``.
        answers: where the two answers come from: a JSON file ``{video: [A1, A2]}``, the mapping, the address of an
            OpenAI-compatible server, a folder with a multimodal model of transformers, or a source. None: no text.
        answers_model: the model's name on the server.
        text_encoder, vision_encoder: folders of the BERT and the CLIP that the weights were trained with.
        features, variant, device, precision, batch_frames, trust_pickle: see :class:`AavsAdapter`.

    Raises:
        CheckpointError: a file is missing or does not fit.
        CoPropError: an unknown mode, or a source that is not there.
    """

    variants = VARIANTS

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        audio_checkpoint: str | Path | VGGish | None = None,
        first_stage: Any = None,
        flow: MotionMasks | FlowSource | Mapping[str, Any] | Callable[..., Any] | str | Path = "dis",
        binary: Rule = "max",
        pre_mask: TestMode | Literal["auto"] = "auto",
        answers: AnswerSource | Mapping[str, Any] | str | Path | None = None,
        answers_model: str | None = None,
        text_encoder: str | Path | Encoders | None = None,
        vision_encoder: str | Path | None = None,
        features: Features = "linear",
        variant: str | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
        trust_pickle: bool = False,
    ) -> None:
        if pre_mask not in (allowed := ("auto", *get_args(TestMode))):
            raise unknown_name("pre_mask", pre_mask, allowed)
        rule = MotionRule(binary)
        self.motion = flow if isinstance(flow, MotionMasks) else MotionMasks(open_flow(flow, device=device), rule)
        self.answers = open_answers(answers, model=answers_model, device=device)
        self.encoders = _encoders(text_encoder, vision_encoder, device)
        self._shared: dict[str, Any] = {"flow": self.motion, "pre_mask": pre_mask, "answers": self.answers}
        self._shared["text_encoder"] = self.encoders
        super().__init__(
            checkpoint,
            audio_checkpoint=audio_checkpoint,
            first_stage=first_stage,
            features=features,
            variant=variant,
            device=device,
            precision=precision,
            batch_frames=batch_frames,
            trust_pickle=trust_pickle,
        )
        assert isinstance(self.network, Ssp)
        self._text, trained = self.network.ssp_config.text, self.network.was_pre_masked
        self.mode: TestMode = ("flow" if trained else "off") if pre_mask == "auto" else pre_mask
        self.text_off = self._why_no_text()
        self.notes = (*self.notes, self._about_mask(trained), self._about_text())

    completed = staticmethod(completed)

    def first_options(self) -> dict[str, Any]:
        return self._shared

    def _why_no_text(self) -> str:
        """Why texts are off for all clips; empty where they are on."""
        if self._text is None:
            return "the weights were trained without texts"
        if self.answers is None:
            return "answers= was not given"
        if self.encoders is None:
            return "text_encoder= and vision_encoder= were not given"
        self.encoders.check(words=self._text.bert.vocab_size, vision_dim=self._text.vision_dim)
        return ""

    def _about_mask(self, trained: bool) -> str:
        if self.mode == "off":
            why = "" if trained else " (the weights were trained without one)"
            return f"SSP's pre-mask is off{why}"
        untrained = "" if trained else "; the weights were trained without one"
        return f"SSP's pre-mask: {self.mode}, {self.motion.about}{untrained}"

    def _about_text(self) -> str:
        if self.text_off or self._text is None or self.answers is None or self.encoders is None:
            return f"SSP's texts are off: {self.text_off}"
        return f"SSP's texts: {self._text.kind}, {self.answers.about}; {self.encoders.about}"

    def notes_of(self, clip: Clip) -> tuple[str, ...]:
        if self.text_off or self.answers is None:
            return self.notes
        found = self.answers.of(clip)
        missing = (f"no text for clip '{clip.clip_id}': {found.why}",) if isinstance(found, NoText) else ()
        return (*self.notes, *missing)

    def look(self, batch: Batch, audio: Tensor, boost: Tensor | None) -> Output:
        output: Output = self.network(
            batch.frames, audio, boost=boost, pre_mask=self._weights_of(batch, boost), texts=self._texts_of(batch)
        )
        return output

    def _weights_of(self, batch: Batch, boost: Tensor | None) -> Tensor | None:
        """``(n, h, w)`` pre-masks at the network's size; ``boost`` are the masks of stage 1."""
        if self.mode == "off":
            return None
        moving = np.stack([self.motion.mask(clip, t, self.size) for clip, t in batch.places])
        sounding = None
        if boost is not None:
            sounding = torch.nn.functional.interpolate(boost[:, None], self.size, mode="nearest")[:, 0]
        mask = pre_mask(torch.from_numpy(moving).to(self.device).float(), sounding)
        return floored(mask) if self.mode == "floor" else mask

    def _texts_of(self, batch: Batch) -> Texts | None:
        """The answers of a batch's clips; ``None`` where none of them has any."""
        if self.text_off or self._text is None or self.answers is None or self.encoders is None:
            return None
        found = [self.answers.of(clip) for clip, _ in batch.places]
        if all(isinstance(each, NoText) for each in found):
            return None
        most = self._text.bert.max_position_embeddings
        pairs = [None if isinstance(each, NoText) else self.encoders.tokens(each, most=most) for each in found]
        seen = self.encoders.seen([np.asarray(clip.frames[t]) for clip, t in batch.places])
        return joined(seen.to(self.device), pairs)


def _encoders(text: Any, vision: Any, device: str) -> Encoders | None:
    if isinstance(text, Encoders):
        return text
    if (text is None) != (vision is None):
        raise CoPropError("texts need both encoders: text_encoder= (BERT) and vision_encoder= (CLIP), or neither.")
    return None if text is None else Encoders(text, vision, device=device)
