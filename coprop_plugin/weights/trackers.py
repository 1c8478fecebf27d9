"""Trackers of transformers (SAM 2, EdgeTAM): the model, and a session over a clip that holds none of its frames.

The library's own session wants every frame beforehand, or forgets how many there are; its processor needs torchvision.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import CheckpointError
from .pretrained import load_model, model_folder, read_config

if TYPE_CHECKING:
    import torch

MAX_SIDE_PX = 4096
# model_type in config.json -> what the classes' names begin with
TRACKERS = {"sam2_video": "Sam2Video", "edgetam_video": "EdgeTamVideo"}


class FeatureStore(Protocol):
    """What a model asks for features of a frame that it has encoded before, and tells of those that it encodes."""

    def get_vision_features(self, frame_idx: int) -> dict[str, Any] | None: ...

    def cache_vision_features(self, frame_idx: int, features: dict[str, Any]) -> None: ...


def load_tracker(model: str | Path, *, kind: str, device: torch.device, dtype: torch.dtype) -> Any:
    """A tracker from a folder, or from the local cache of the Hugging Face hub; nothing is downloaded.

    Args:
        model: folder or hub id.
        kind: one of TRACKERS.

    Raises:
        CheckpointError: a model of another kind, damaged files, or a package that its encoder needs is missing.
        CoPropError: no such model here.
    """
    folder = model_folder(model)
    found = read_config(folder)["model_type"]
    if found != kind:
        raise CheckpointError(f"'{folder}' holds a model of the type '{found}'; wanted is '{kind}'.")
    try:
        tracker = load_model(f"{TRACKERS[kind]}Model", folder, device=device, dtype=dtype)
    except ImportError as error:  # EdgeTAM's published encoder is one of timm's
        first = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"the model in '{folder}' needs a package that is not installed: {first} EdgeTAM's published encoder comes "
            "with timm: pip install timm (it brings torchvision; take the build that fits torch)."
        ) from error
    side = tracker.config.image_size
    if not isinstance(side, int) or not 16 <= side <= MAX_SIDE_PX:
        raise CheckpointError(
            f"'{folder}' takes pictures of {side} px; a tracker's side is one number up to {MAX_SIDE_PX}."
        )
    return tracker


def tracking_session(
    tracker: Any, *, num_frames: int, frame: Callable[[int], torch.Tensor], features: FeatureStore
) -> Any:
    """The library's session, which asks for frames when they are encoded and keeps features where it is told.

    Args:
        tracker: the model.
        num_frames: of the whole clip; the model's encodings of time depend on it (up to 16).
        frame: gives ``(3, S, S)`` of a frame index, ready for the encoder.
        features: see :class:`FeatureStore`.
    """
    import transformers

    base = getattr(transformers, f"{TRACKERS[tracker.config.model_type]}InferenceSession")

    class Streamed(base):  # type: ignore[misc, valid-type]
        @property
        def num_frames(self) -> int:
            return num_frames

        def get_frame(self, frame_idx: int) -> torch.Tensor:
            return frame(frame_idx)

    session = Streamed(inference_device=tracker.device, inference_state_device=tracker.device, dtype=tracker.dtype)
    session.cache = features
    return session
