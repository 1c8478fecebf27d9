"""The published models: what each is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...errors import unknown_name

NEVER = 9999  # the published gap of models that keep the reference frame alone in their long-term memory
MAX_OBJECTS = 10  # identities of one group; more objects take several groups
PATCH_PX = 16  # one token stands for this many pixels a side


@dataclass(frozen=True)
class AOTConfig:
    """One published model.

    Attributes:
        encoder: the image network.
        num_layers: propagation layers.
        gated: DeAOT's two-stream gated layers instead of AOT's.
        memory_gap: a frame enters the long-term memory every this many frames.
    """

    name: str
    encoder: Literal["mobilenet_v2", "resnet50", "swin_b", "lite0"]
    num_layers: int
    gated: bool = False
    memory_gap: int = 5

    @property
    def align_corners(self) -> bool:
        """Sizes are ``16k + 1`` and corners aligned; Swin and lite0 take ``16k`` and do not align them."""
        return self.encoder not in ("swin_b", "lite0")


MODELS = {
    model.name: model
    for model in (
        AOTConfig("aott", "mobilenet_v2", 1, memory_gap=NEVER),
        AOTConfig("aots", "mobilenet_v2", 2, memory_gap=NEVER),
        AOTConfig("aotb", "mobilenet_v2", 3, memory_gap=NEVER),
        AOTConfig("aotl", "mobilenet_v2", 3),
        AOTConfig("r50_aotl", "resnet50", 3),
        AOTConfig("swinb_aotl", "swin_b", 3),
        AOTConfig("r50_deaotl", "resnet50", 3, gated=True),
    )
}
LITE0 = AOTConfig("aot_lite0", "lite0", 1, memory_gap=2)  # not published: made and trained here


def config_of(name: str) -> AOTConfig:
    """The configuration of a model by its name.

    Raises:
        CoPropError: no such model.
    """
    known = {**MODELS, LITE0.name: LITE0}
    if name not in known:
        raise unknown_name("AOT model", name, known)
    return known[name]
