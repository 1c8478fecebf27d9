"""VCT on a clip: the published sizes, sound windows and scores around the network, and its second picture a frame."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import CheckpointError, CoPropError
from ...layers.mask2former import LABEL_PX, Output, class_scores
from ...parts import part
from ...structures import AVSBENCH_CLASSES, BINARY, Clip
from ...weights.variants import Checkpoint, State, Variant, load_variant
from ..images import normalise
from ..published import Batch, Precision, PublishedAdapter
from .kept import Kept
from .maskige import resized
from .network import AVSS, MS3, S4, UNUSED, UNUSED_WITH_PROMPT, Vct, VctConfig, as_text, check_size, config_of, sizes
from .pictures import FromMasks, Source
from .sources import NOT_GIVEN, open_source

JPEG_QUALITY = 75  # Pillow's default, at which the published AVSS frames were kept
KEPT_IN = ".maskige"  # beside a run's files


def _network(state: State, *, published: VctConfig) -> Vct:
    return Vct(config_of(state, published))


def _variant(name: str, published: VctConfig) -> Variant:
    unused = (*UNUSED, *UNUSED_WITH_PROMPT) if published.prototypes else UNUSED
    return Variant("vct", name, partial(_network, published=published), unused, marks="pre_sam_backbone.*")


VARIANTS = (_variant("s4", S4), _variant("ms3", MS3), _variant("avss", AVSS))


@part(
    "adapter",
    "vct",
    needs="checkpoint=, maskige= (the picture of segments beside every frame)",
    weights="published by the authors of VCT_AVS (CVPR 2025)",
    example="checkpoint=s4_swinb_384/model_best.pth,maskige=segments",
)
class VctAdapter(PublishedAdapter):
    """VCT, the Vision-Centric Transformer (CVPR 2025), Swin-B at 384 x 384, for S4, MS3 (binary) or AVSS (70 classes).

    Beside every frame it sees *Maskige*, a picture of the frame's segments, which has to come from somewhere. Frames
    are resized to the input size, scores are 224 x 224: for S4 and MS3 the published softmax, for AVSS logits whose
    softmax is the published one. Frames never meet, so a frame alone gives what it gives in its clip.

    Args:
        checkpoint: the published ``.pth``, safetensors, or a state dict; the variant is read from it.
        maskige: where the picture of segments comes from: a folder with the authors' pictures
            (``NAME/0_mask_color.png``), with masks (``.npz``, ``.npy``, COCO run-length ``.json``) or with a SAM-family
            model of transformers; ``{"model": FOLDER, …}`` with its options; a function; or ``grey``, whose scores
            are not the published ones. There is no default.
        maskige_kept: a folder to keep pictures in that were made from masks or by a model.
        frames: ``published`` passes AVSS frames through JPEG at quality 75 after they are resized, as the published
            preparation did (AVSBench's own files are JPEG before); ``clean`` leaves that out.
        size: ``HEIGHTxWIDTH`` of the input, where it is not square; the weights fix the number of its pixels.
        variant: ``s4``, ``ms3`` or ``avss``.
        device, precision, batch_frames: see :class:`PublishedAdapter`.
        trust_pickle: read a checkpoint that could run code.

    Raises:
        CheckpointError: no checkpoint, or one that does not fit.
        CoPropError: no source of Maskige, or a size that the weights do not take.
    """

    variants = VARIANTS
    frame_equals_clip = True
    score_size = (LABEL_PX, LABEL_PX)

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        maskige: Source | Mapping[str, Any] | Callable[..., Any] | str | Path | None = None,
        maskige_kept: str | Path | None = None,
        frames: Literal["published", "clean"] = "published",
        size: str | tuple[int, int] | None = None,
        variant: str | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        batch_frames: int | None = None,
        trust_pickle: bool = False,
    ) -> None:
        if frames not in ("published", "clean"):
            raise CoPropError(f"unknown frames '{frames}'. Allowed: published, clean.")
        if not maskige:  # said before a large file is read
            raise CoPropError(NOT_GIVEN)
        self.variant, network = load_variant(checkpoint, VARIANTS, variant=variant, trust_pickle=trust_pickle)
        self.maskige: Source = open_source(maskige, device=device)
        semantic = self.variant.name == "avss"
        super().__init__(
            network,
            class_ids=AVSBENCH_CLASSES if semantic else BINARY,
            device=device,
            precision=precision,
            batch_frames=batch_frames,
        )
        if semantic:
            self.stretch_s, self.missing = 10, "zero"
        else:
            self.kind = "probability"
        assert isinstance(network, Vct)
        self.size = input_size(size, network.config.pixels)
        self.recompressed = semantic and frames == "published"
        self.notes = (self.maskige.about,)
        if maskige_kept is not None and isinstance(self.maskige, FromMasks):
            self.maskige = Kept(self.maskige, maskige_kept)

    def keep_in(self, folder: str | Path) -> None:
        if isinstance(self.maskige, FromMasks):
            self.maskige = Kept(self.maskige, Path(folder) / KEPT_IN)

    def resized(self, clip: Clip, indices: list[int]) -> np.ndarray:
        frames = super().resized(clip, indices)
        return np.stack([through_jpeg(frame) for frame in frames]) if self.recompressed and len(frames) else frames

    def pictures(self, batch: Batch) -> Tensor:
        """``(n, 3, H, W) float32``: the normalised Maskige of a batch's frames."""
        pictures = [resized(self.maskige.picture(clip, t), self.size) for clip, t in batch.places]
        return normalise(torch.from_numpy(np.stack(pictures)).to(self.device))

    def answer(self, batch: Batch, *, alone: bool) -> Tensor:
        classes, masks = self.network(batch.frames, self.pictures(batch), batch.examples)
        with torch.autocast(self.device.type, enabled=False):  # the label is the argmax of close sums
            scores = class_scores(Output(classes.float(), masks.float()), self.size)
        # The F-score sweeps its thresholds over the softmax itself: a sigmoid of the difference rounds otherwise.
        return scores if self.kind == "logit" else scores.softmax(dim=1)


def input_size(given: str | tuple[int, int] | None, pixels: int) -> tuple[int, int]:
    """Height and width that frames are resized to: the square that the weights take, or another size of theirs.

    Raises:
        CoPropError: a size that they do not take; or none was given, and they take no square.
        CheckpointError: weights that take no size at all.
    """
    possible = sizes(pixels)
    if not possible:
        raise CheckpointError(
            f"the query mixer has {pixels} weights a row; no height and width in 32 px steps gives it."
        )
    if given is None:
        side = 4 * math.isqrt(pixels)
        if (side, side) in possible:
            return side, side
        raise CoPropError(
            f"these weights take no square; say size=HEIGHTxWIDTH, one of {', '.join(map(as_text, possible))}."
        )
    try:
        height, width = map(int, given.split("x")) if isinstance(given, str) else given
        return check_size((height, width), pixels)
    except (ValueError, TypeError) as error:
        raise CoPropError(f"size={given}: {error}; write HEIGHTxWIDTH, as {as_text(possible[0])}.") from error


def through_jpeg(frame: np.ndarray) -> np.ndarray:
    """``(H, W, 3) uint8`` as it comes back from a JPEG file of Pillow's default quality."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, format="JPEG", quality=JPEG_QUALITY)
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))
