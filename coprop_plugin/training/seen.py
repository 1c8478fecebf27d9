"""What a frozen backbone sees of training clips and an ear hears: the same in every epoch, so it is kept on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..adapters.images import normalise, resize_bilinear
from ..errors import CheckpointError
from ..files import atomic_write
from ..propagators.aot.preprocess import nearest
from ..propagators.guides import AudioFeatures
from ..store.manifest import plain
from ..weights.checkpoint import read_state_dict
from .sequences import LabelledClip, SequenceSource

LARGEST_BYTES = 4 << 30  # of a folder; what does not fit is worked out each time


@dataclass(frozen=True)
class SeenClip:
    """A clip as a network's trained part takes it.

    Attributes:
        clip_id: its name.
        maps: of the backbone, ``(T, C, h, w) float32`` each.
        heard: ``(T, D) float32``.
        labels: ``(T, H, W) int16`` at the network's size.
        named: whether its labels are named classes.
    """

    clip_id: str
    maps: tuple[np.ndarray, ...]
    heard: np.ndarray
    labels: np.ndarray
    named: bool = False


class SeenClips:
    """The clips of a source, each looked at and listened to once.

    A file that is damaged is worked out again. Frames are seen as they are: mirroring or another light would be
    another picture each time.

    Args:
        folder: of the files; several trainings on the same clips, with the same eye and ear, may share it.
        source: the clips.
        backbone: what sees, frozen.
        hear: what hears.
        size: height and width of the pictures.
        key: what else the files depend on (the ear, its weights).
        most_bytes: of all files together.
    """

    def __init__(
        self,
        folder: str | Path,
        source: SequenceSource,
        backbone: nn.Module,
        hear: AudioFeatures,
        *,
        size: tuple[int, int],
        key: Mapping[str, Any],
        most_bytes: int = LARGEST_BYTES,
    ) -> None:
        self._folder, self._source, self._backbone, self._hear, self._size = Path(folder), source, backbone, hear, size
        self._folder.mkdir(parents=True, exist_ok=True)
        told = {"data": plain(source.describe()), "size": list(size), "backbone": digest_of(backbone), **plain(key)}
        self._key = sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
        self._left_bytes = most_bytes - sum(path.stat().st_size for path in self._folder.glob("*.safetensors"))

    def __getitem__(self, item: int) -> SeenClip:
        path = self._folder / f"{self._key}-{item}.safetensors"
        return _read(path) or self._made(item, path)

    def _made(self, item: int, path: Path) -> SeenClip:
        seen = see(self._source[item], self._backbone, self._hear, size=self._size)
        packed = _packed(seen)
        if len(packed) <= self._left_bytes:
            with atomic_write(path) as file:
                file.write(packed)
            self._left_bytes -= len(packed)
        return seen


@torch.no_grad()
def see(labelled: LabelledClip, backbone: nn.Module, hear: AudioFeatures, *, size: tuple[int, int]) -> SeenClip:
    """What a backbone sees of a clip's frames, all at once, and what is heard; in one layout, so that sums agree to the bit."""
    device = next(backbone.parameters()).device
    frames = labelled.clip.frames
    pictures = normalise(resize_bilinear([np.asarray(frames[t]) for t in range(len(frames))], size)).to(device)
    labels = nearest(torch.from_numpy(np.asarray(labelled.labels).astype(np.int64)), size)
    maps = tuple(each.float().cpu().contiguous().numpy() for each in backbone(pictures))
    heard = np.asarray(hear(labelled.clip), np.float32)
    return SeenClip(labelled.clip.clip_id, maps, heard, labels.numpy().astype(np.int16), bool(labelled.names))


def digest_of(module: nn.Module) -> str:
    """Of a module's weights."""
    told = sha256()
    for name, value in module.state_dict().items():
        told.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return told.hexdigest()[:16]


def _packed(seen: SeenClip) -> bytes:
    arrays = {
        "clip_id": np.frombuffer(seen.clip_id.encode(), np.uint8),
        "named": np.array([seen.named]),
        "heard": seen.heard,
        "labels": seen.labels,
        **{f"map{i}": each for i, each in enumerate(seen.maps)},
    }
    return save({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})


def _read(path: Path) -> SeenClip | None:
    """What a file holds; ``None`` where there is none, or one that is damaged or of something else."""
    try:
        held = {name: value.numpy() for name, value in read_state_dict(path).items()}
        maps = tuple(held[f"map{i}"] for i in range(sum(name.startswith("map") for name in held)))
        clip_id = held["clip_id"].tobytes().decode()
        return SeenClip(clip_id, maps, held["heard"], held["labels"], bool(held["named"][0]))
    except (CheckpointError, LookupError, UnicodeDecodeError):
        return None


def stacked(rows: list[list[np.ndarray]], device: torch.device) -> list[Tensor]:
    """Maps of single frames, ``rows[frame][level] (C, h, w)``, as ``(B, C, h, w)`` tensors a level."""
    return [torch.from_numpy(np.stack(level)).to(device) for level in zip(*rows, strict=True)]
