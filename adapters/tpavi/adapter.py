"""The AVSBench baseline on a clip: five frames at a time, VGGish beside the checkpoint."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ...audio.vggish import VGGish
from ...parts import part
from ...structures import AVSBENCH_CLASSES, BINARY
from ...weights.variants import Checkpoint, Variant, load_variant
from ..published import Batch, Precision, PublishedAdapter
from ..sound import load_vggish
from .network import GROUP_FRAMES, UNUSED, Backbone, TpaviNet

BACKBONES: tuple[Backbone, ...] = ("resnet50", "pvt_v2_b5")
CLASSES = {"s4": 1, "ms3": 1, "avss": 71}


def _variant(backbone: Backbone, task: str) -> Variant:
    return Variant(
        "tpavi",
        f"{backbone}-{task}",
        lambda _: TpaviNet(backbone=backbone, classes=CLASSES[task]),
        tuple(name for name in UNUSED if backbone == "resnet50" or not name.startswith("resnet.")),
        marks="tpavi_b1.g.weight",
    )


VARIANTS = tuple(_variant(backbone, task) for backbone in BACKBONES for task in CLASSES)


@part(
    "adapter",
    "tpavi",
    needs="checkpoint= and audio_checkpoint= (VGGish)",
    weights="published by the authors of AVSBench (ECCV 2022)",
    example="checkpoint=tpavi.pth,audio_checkpoint=vggish-10086976.pth,variant=resnet50-ms3",
)
class TpaviAdapter(PublishedAdapter):
    """TPAVI, the AVSBench baseline (ECCV 2022), ResNet-50 or PVT-v2-B5, for S4, MS3 (binary) or AVSS (70 classes).

    Frames are resized to 224 x 224 and seen five at a time, AVSS included, whose last group is filled as its loader
    does it: with zero frames that are not heard either. A frame alone stands for five equal ones, which is another
    function than the frame within its clip.

    Args:
        checkpoint: the published ``.pth``, safetensors, or a state dict.
        audio_checkpoint: VGGish's weights (``vggish-10086976.pth``), which are not in the checkpoint, or
            a loaded VGGish.
        variant: ``BACKBONE-TASK``, as ``resnet50-ms3``; needed for S4 and MS3, whose checkpoints look alike.
        device, precision, batch_frames: see :class:`PublishedAdapter`.
        trust_pickle: read a checkpoint that could run code.

    Raises:
        CheckpointError: a file is missing or does not fit.
    """

    variants = VARIANTS
    frame_equals_clip = False
    together = GROUP_FRAMES

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
        semantic = self.variant.name.endswith("-avss")
        if semantic:
            self.stretch_s, self.missing, self.padded = 10, "zero", True
        self.prepared = not semantic
        super().__init__(
            network,
            class_ids=AVSBENCH_CLASSES if semantic else BINARY,
            device=device,
            precision=precision,
            batch_frames=batch_frames,
        )
        self.vggish = vggish.to(self.device)

    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        heard = self.vggish(batch.examples) * batch.flag[:, None]
        # With equal frames the means over a group are those of one frame: five need not be computed.
        group = 1 if alone else GROUP_FRAMES
        return self.network(batch.frames, heard, flag=batch.flag if self.padded else None, group_frames=group)
