"""What a frozen backbone sees of training clips and an ear hears: the same in every epoch, so it is kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..adapters.images import normalise, resize_bilinear
from ..errors import CoPropError
from ..files import atomic_write, parse_json
from ..files.schema import MapOf, Record, Text
from ..propagators.aot.preprocess import nearest
from ..propagators.guides import AudioFeatures
from ..store.manifest import plain
from ..weights.checkpoint import read_state_dict
from .sequences import LabelledClip, SeenClip, SequenceSource

LARGEST_BYTES = 4 << 30  # of a folder; what does not fit is worked out each time
_TOLD = Record(needed={"clip_id": Text(), "names": MapOf(Text())})
Pictures = Callable[[Sequence[np.ndarray], tuple[int, int]], Tensor]


def stretched(frames: Sequence[np.ndarray], size: tuple[int, int]) -> Tensor:
    """Frames as the keyframe processors take them."""
    return normalise(resize_bilinear(list(frames), size))


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
        pictures: makes a backbone's input of frames and that size.
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
        pictures: Pictures = stretched,
        most_bytes: int = LARGEST_BYTES,
    ) -> None:
        self._folder, self._source, self._backbone, self._hear, self._size = Path(folder), source, backbone, hear, size
        self._pictures = pictures
        self._folder.mkdir(parents=True, exist_ok=True)
        told = {"data": plain(source.describe()), "size": list(size), "backbone": digest_of(backbone), **plain(key)}
        self._key = sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
        self._left_bytes = most_bytes - sum(path.stat().st_size for path in self._folder.glob("*.safetensors"))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, item: int) -> SeenClip:
        path = self._folder / f"{self._key}-{item}.safetensors"
        return _read(path) or self._made(item, path)

    def _made(self, item: int, path: Path) -> SeenClip:
        seen = see(self._source[item], self._backbone, self._hear, size=self._size, pictures=self._pictures)
        packed = _packed(seen)
        if len(packed) <= self._left_bytes:
            with atomic_write(path) as file:
                file.write(packed)
            self._left_bytes -= len(packed)
        return seen


@torch.no_grad()
def see(
    labelled: LabelledClip, backbone: nn.Module, hear: AudioFeatures, *, size: tuple[int, int], pictures: Pictures
) -> SeenClip:
    """What a backbone sees of a clip's frames, all at once, and what is heard; in one layout, so that sums agree to the bit."""
    device = next(backbone.parameters()).device
    frames = labelled.clip.frames
    seen = pictures([np.asarray(frames[t]) for t in range(len(frames))], size).to(device)
    labels = nearest(torch.from_numpy(np.asarray(labelled.labels).astype(np.int64)), size)
    maps = tuple(each.float().cpu().contiguous().numpy() for each in backbone(seen))
    heard = np.asarray(hear(labelled.clip), np.float32)
    return SeenClip(
        labelled.clip.clip_id, maps, heard, labels.numpy().astype(np.int16), np.array(labelled.flags), labelled.names
    )


def digest_of(module: nn.Module) -> str:
    """Of a module's weights."""
    told = sha256()
    for name, value in module.state_dict().items():
        told.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return told.hexdigest()[:16]


def _packed(seen: SeenClip) -> bytes:
    told = {"clip_id": seen.clip_id, "names": {str(number): name for number, name in seen.names.items()}}
    arrays = {
        "told": np.frombuffer(json.dumps(told).encode(), np.uint8),
        "heard": seen.heard,
        "labels": seen.labels,
        "flags": seen.flags,
        **{f"map{i}": each for i, each in enumerate(seen.maps)},
    }
    return save({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})


def _read(path: Path) -> SeenClip | None:
    """What a file holds; ``None`` where there is none, or one that is damaged or of something else."""
    try:
        held = {name: value.numpy() for name, value in read_state_dict(path).items()}
        maps = tuple(held[f"map{i}"] for i in range(sum(name.startswith("map") for name in held)))
        told = parse_json(held["told"].tobytes().decode(), form=_TOLD, where=str(path))
        names = {int(number): name for number, name in told["names"].items()}
        return SeenClip(told["clip_id"], maps, held["heard"], held["labels"], held["flags"], names)
    except (CoPropError, LookupError, ValueError):
        return None


def stacked(rows: list[list[np.ndarray]], device: torch.device) -> list[Tensor]:
    """Maps of single frames, ``rows[frame][level] (C, h, w)``, as ``(B, C, h, w)`` tensors a level."""
    return [torch.from_numpy(np.stack(level)).to(device) for level in zip(*rows, strict=True)]
