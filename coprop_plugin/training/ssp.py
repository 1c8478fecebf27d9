"""Training SSP (and AAVS, which it is without its parts): its losses, and AAVS's two phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..adapters.images import normalise
from ..adapters.ssp.network import PRE_MASKED, Ssp
from ..adapters.ssp.pre_mask import pre_mask
from ..errors import CoPropError, unknown_name
from .set_losses import Targets, set_losses
from .ssp_clips import FrameBatch, SspClips

PreMask = Literal["truth", "flow", "off"]
Part = Literal["adapters", "all"]
WEIGHT_DECAY = 0.05
POST_WEIGHT = 10.0  # lambda' of the paper, the best of the five that it tried
ADAPTERS = {  # by stage: what AAVS trains from the beginning
    1: ("queries_embedder", "queries_features", "avs_adapt", "class_predictor", "audio_proj"),
    2: (
        "queries_embedder",
        "avs_adapt",
        "class_predictor",
        "audio_proj",
        "audio_embed",
        "silence_embed",
        "uncertain_embed",
    ),
}
NEW = ("align.", "fusion.")
LATE = "swin_adapt"
PRETRAINED_TEXT_SCALE = 0.1  # of the learning rate, for a BERT that brings weights


@dataclass(frozen=True)
class SspRule:
    """What of SSP is trained; each row of the paper's Table 2 is a setting of these.

    Attributes:
        pre_mask: the image is weighed by flow and truth (the paper), by flow alone (as stage 1 is tested), or not.
        post_weight: of the additional mask loss; 0 leaves it out.
        part: AAVS's ``adapters`` (queries, adapters, heads, projections) and what SSP adds, or ``all``.
        second_phase: share of the training after which Swin's adapters are trained too (AAVS: a half for stage 1, a
            third for stage 2).
        points: see :func:`~.set_losses.set_losses`.
        frames: of a clip in a step, drawn anew each time (they never meet); 0 takes all, as AAVS.
        pretrained_text: whether BERT brings weights; it then learns at a tenth of the rate.
    """

    pre_mask: PreMask = "truth"
    post_weight: float = POST_WEIGHT
    part: Part = "adapters"
    second_phase: float = 0.5
    points: int = 12544
    frames: int = 0
    pretrained_text: bool = False

    def __post_init__(self) -> None:
        for what, given, allowed in (("pre_mask", self.pre_mask, PreMask), ("part to train", self.part, Part)):
            if given not in get_args(allowed):
                raise unknown_name(what, given, get_args(allowed))
        if min(self.post_weight, self.points, self.frames) < 0 or not 0 <= self.second_phase <= 1:
            raise CoPropError(
                "post_weight, points and frames are 0 or more, second_phase is a share in [0, 1]; got "
                f"{self.post_weight}, {self.points}, {self.frames} and {self.second_phase}."
            )


class SspTraining:
    """Trains an SSP on clips (a :class:`~.trainable.Trainable`); an item is a clip, frames never meet.

    Not AAVS's way: Swin's adapters come back for the second phase as they were, at a start that changes nothing, and
    not at random; the best checkpoint of the first phase is not gone back to.

    Args:
        network: with texts or without; its pre-mask flag is set here.
        clips: with answers where the network has texts.
        rule: what is trained.
        record: what else describes the training.

    Raises:
        CoPropError: texts on one side alone, or clips of the other stage.
    """

    def __init__(
        self, network: Ssp, clips: SspClips, rule: SspRule, *, record: Mapping[str, Any] | None = None
    ) -> None:
        if (network.align is None) != (clips.encoders is None):
            raise CoPropError(
                "texts are trained with a network that aligns them and clips with answers: give both or none."
            )
        if clips.encoders is not None and (text := network.ssp_config.text) is not None:
            clips.encoders.check(words=text.bert.vocab_size, vision_dim=text.vision_dim)
        if (stage := network.ssp_config.aavs.stage) != clips.stage:
            raise CoPropError(f"the network is of stage {stage}, the clips are labelled for stage {clips.stage}.")
        self.module: nn.Module = network
        self.num_items = len(clips)
        self._network, self._clips, self._rule, self._record = network, clips, rule, dict(record or {})
        with torch.no_grad():
            network.get_buffer(PRE_MASKED).fill_(int(rule.pre_mask != "off"))
        for name, parameter in network.named_parameters():
            named = name.startswith(NEW) or any(each in name for each in ADAPTERS[stage])
            parameter.requires_grad_(rule.part == "all" or named)
        self._late = [p for name, p in network.named_parameters() if LATE in name]

    def groups(self) -> list[dict[str, Any]]:
        """A pretrained BERT, and the rest; Swin's adapters are there from the beginning and rest in the first phase."""
        slow: list[Tensor] = []
        fast: list[Tensor] = []
        for name, parameter in self._network.named_parameters():
            if parameter.requires_grad or LATE in name:
                (slow if self._rule.pretrained_text and name.startswith("align.text.") else fast).append(parameter)
        return [
            {"params": fast, "weight_decay": WEIGHT_DECAY},
            {"params": slow, "scale": PRETRAINED_TEXT_SCALE, "weight_decay": WEIGHT_DECAY},
        ]

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> FrameBatch:
        chosen = []
        for item in items:
            count = len(self._clips[item].frames)
            few = self._rule.frames and self._rule.frames < count
            chosen.append(rng.choice(count, self._rule.frames, replace=False) if few else np.arange(count))
        return self._clips.batch(items, chosen, next(self._network.parameters()).device)

    def losses(self, batch: FrameBatch, *, progress: float) -> Mapping[str, Tensor]:
        for parameter in self._late:
            parameter.requires_grad_(progress >= self._rule.second_phase)
        truth = (batch.labels != 0).float()
        weights = None
        if self._rule.pre_mask != "off":
            weights = pre_mask(batch.moving, truth if self._rule.pre_mask == "truth" else None)
        outputs = self._network.outputs(
            normalise(batch.frames),
            batch.heard,
            boost=truth if self._network.ssp_config.aavs.stage == 2 else None,
            pre_mask=weights,
            texts=batch.texts,
        )
        targets = Targets.of(batch.labels, batch.moving if self._rule.post_weight else None)
        return set_losses(list(outputs), targets, points=self._rule.points, post_weight=self._rule.post_weight)

    def weights(self) -> Mapping[str, Tensor]:
        return self._network.state_dict()

    def describe(self) -> Mapping[str, Any]:
        text = self._network.ssp_config.text
        return {
            "trains": "ssp",
            "network": asdict(self._network.ssp_config.aavs),
            "text": None if text is None else asdict(text),
            "data": self._clips.describe(),
            "rule": asdict(self._rule),
            **self._record,
        }
