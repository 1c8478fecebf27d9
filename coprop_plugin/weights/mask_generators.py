"""Models of transformers that find all masks of a picture (SAM, SAM-HQ, SAM 2, …), asked with a grid of points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import CheckpointError, CoPropError
from .device import choose_device
from .pretrained import load_model, load_processor


def mask_generator(folder: Path, *, device: str = "auto") -> Any:
    """The library's own pipeline, up to the suppression of like masks, which there needs torchvision.

    Called with a PIL image and the pipeline's options it gives ``masks`` (n run-length codes), ``scores (n,)`` and
    ``boxes (n, 4)``.

    Raises:
        CheckpointError: no model that generates masks, or a processor that needs torchvision where that is missing.
    """
    import torch
    from transformers import MaskGenerationPipeline

    class Candidates(MaskGenerationPipeline):
        def postprocess(self, model_outputs: Any, *_: Any, **__: Any) -> dict[str, Any]:
            parts = list(model_outputs)
            return {
                "masks": [mask for part in parts for mask in part["masks"]],
                "scores": torch.cat([part["iou_scores"] for part in parts]).float().cpu().numpy(),
                "boxes": torch.cat([part["boxes"] for part in parts]).float().cpu().numpy(),
            }

    try:
        where = choose_device(device)
        model = load_model("AutoModelForMaskGeneration", folder, device=where)
        processor = load_processor("AutoImageProcessor", folder)
    except (CoPropError, ImportError) as error:
        raise CheckpointError(f"the model in '{folder}' generates no masks here: {error}") from error
    return Candidates(model=model, image_processor=processor, device=where)
