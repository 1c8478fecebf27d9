"""CATR on a clip: five frames at a time at twice their size, one query's mask a frame."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from ...audio.vggish import VGGish
from ...parts import part
from ...weights.variants import Checkpoint, Variant, load_variant
from ..published import Batch, Precision, PublishedAdapter
from ..sound import load_vggish
from .network import CLIP_FRAMES, UNUSED, Catr, choose_mask

VARIANTS = (Variant("catr", "pvt_v2_b5", lambda _: Catr(), UNUSED, marks="obj_queries.weight"),)


@part(
    "adapter",
    "catr",
    needs="checkpoint= and audio_checkpoint= (VGGish)",
    weights="none are published; a training of CATR's own code (ACM MM 2023)",
    example="checkpoint=catr.pth,audio_checkpoint=vggish-10086976.pth",
)
class CatrAdapter(PublishedAdapter):
    """CATR (ACM MM 2023), PVT-v2-B5, binary masks.

    Frames are made 224 x 224, as AVSBench has them, normalised, and then enlarged to 448 x 448; each frame's answer is
    the mask of the query that says most clearly that it is the sounding object. The network hears the five seconds of
    a window as a set, without their order. A frame alone stands for five equal ones, another function than within its
    clip.

    Args:
        checkpoint: the trainer's ``.pth`` (the authors publish none), safetensors, or a state dict.
        audio_checkpoint: VGGish's weights (``vggish-10086976.pth``), which are not in the checkpoint, or
            a loaded VGGish.
        variant: there is one, ``pvt_v2_b5``.
        device, precision, batch_frames: see :class:`PublishedAdapter`.
        trust_pickle: read a checkpoint that could run code.

    Raises:
        CheckpointError: a file is missing or does not fit.
    """

    variants = VARIANTS
    frame_equals_clip = False
    together = CLIP_FRAMES
    prepared = True

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        audio_checkpoint: str | Path | VGGish | None = None,
        variant: str | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
        trust_pickle: bool = False,
    ) -> None:
        vggish = load_vggish(audio_checkpoint, part=self.name)
        self.variant, network = load_variant(checkpoint, VARIANTS, variant=variant, trust_pickle=trust_pickle)
        super().__init__(network, device=device, precision=precision, batch_frames=batch_frames)
        self.vggish = vggish.to(self.device)

    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        frames = F.interpolate(batch.frames, scale_factor=2, mode="bilinear")  # 448 x 448
        heard = self.vggish(batch.examples)
        # With equal frames one is enough, but its sound must still be heard five times (the softmax counts tokens).
        audio = heard[:, None].expand(-1, CLIP_FRAMES, -1) if alone else heard.unflatten(0, (-1, CLIP_FRAMES))
        output = self.network(frames, audio)
        return choose_mask(output.masks[-1], output.referred[-1], self.score_size)[0][:, None]
