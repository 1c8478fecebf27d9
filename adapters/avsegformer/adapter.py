"""AVSegFormer on a clip: its loaders' sizes and sound windows around the network."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ...errors import CoPropError
from ...parts import part
from ...structures import AVSBENCH_CLASSES, BINARY
from ...weights.variants import Checkpoint, Variant, load_variant
from ..published import Batch, Precision, PublishedAdapter
from .config import variant_of_config
from .network import UNUSED, AVSegFormer, Backbone

BACKBONES: tuple[Backbone, ...] = ("pvt_v2_b5", "resnet50")
CLASSES = {"s4": 1, "ms3": 1, "avss": 71}


def _variant(backbone: Backbone, task: str) -> Variant:
    return Variant(
        "avsegformer",
        f"{backbone}-{task}",
        lambda _: AVSegFormer(backbone=backbone, classes=CLASSES[task]),
        tuple(name for name in UNUSED if backbone == "resnet50" or not name.startswith("backbone.")),
        marks="head.query_generator.query.weight",
    )


VARIANTS = tuple(_variant(backbone, task) for backbone in BACKBONES for task in CLASSES)


@part(
    "adapter",
    "avsegformer",
    needs="checkpoint=",
    weights="published by the authors of AVSegFormer (AAAI 2024)",
    example="checkpoint=AVSegFormer_pvt2_ms3.pth,variant=pvt_v2_b5-ms3",
)
class AVSegFormerAdapter(PublishedAdapter):
    """AVSegFormer (AAAI 2024), PVT-v2-B5 or ResNet-50, for S4, MS3 (binary) or AVSS (70 classes).

    S4 and MS3 frames are made 224 x 224, as AVSBench has them, and then resized to 512 x 512 whatever the config says,
    as the published loader does; AVSS frames are resized to 224 x 224. Its VGGish is in the checkpoint. Frames never
    meet, so a frame alone gives what it gives in its clip, and the padding of short AVSS clips changes nothing.

    Args:
        checkpoint: the published ``.pth``, safetensors, or a state dict.
        config: the published config file, read without running it; it says the variant.
        variant: ``BACKBONE-TASK``, as ``pvt_v2_b5-ms3``; needed without a config for S4 and MS3, whose checkpoints
            look alike.
        device, precision, batch_frames: see :class:`PublishedAdapter`.
        trust_pickle: read a checkpoint that could run code.

    Raises:
        CheckpointError: no checkpoint, or one that does not fit.
        CoPropError: a config of another model, or one that contradicts ``variant``.
    """

    variants = VARIANTS
    frame_equals_clip = True

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        config: str | Path | None = None,
        variant: str | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
        trust_pickle: bool = False,
    ) -> None:
        if config is not None:
            described = variant_of_config(config)
            if variant not in (None, described):
                raise CoPropError(f"'{config}' describes {described}, but variant='{variant}' was asked for.")
            variant = described
        self.variant, network = load_variant(checkpoint, VARIANTS, variant=variant, trust_pickle=trust_pickle)
        semantic = self.variant.name.endswith("-avss")
        if semantic:
            self.stretch_s, self.missing = 10, "zero"
        else:
            self.prepared = True
            self.size = self.score_size = (512, 512)
        super().__init__(
            network,
            class_ids=AVSBENCH_CLASSES if semantic else BINARY,
            device=device,
            precision=precision,
            batch_frames=batch_frames,
        )

    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        return self.network(batch.frames, batch.examples).logits
