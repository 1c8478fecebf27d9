"""The keyframes of a data set as a list: what the keyframe processor is fine-tuned on (paper section 3.3)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..errors import CoPropError
from ..files import atomic_write, read_json
from ..files.schema import Anything, ListOf, MapOf, Record, Text, Whole

FORMAT = "coprop-keyframes/1"
_FORM = Record(
    needed={
        "format": Text((FORMAT,)),
        "control_points": Text(),
        "data": MapOf(Anything()),
        "frames": MapOf(ListOf(Whole(0, 1 << 31), least=1)),
    }
)


@dataclass(frozen=True)
class KeyframeList:
    """Which frames of which clips are keyframes.

    Attributes:
        data: what clips they are of, as their source describes itself.
        control_points: what found them.
        frames: clip id -> frame indices, ascending; the first is 0.
    """

    data: Mapping[str, Any]
    control_points: str
    frames: Mapping[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        if not self.frames:
            raise CoPropError("a list of keyframes names at least one clip; this one names none.")
        for clip_id, frames in self.frames.items():
            if not frames or frames[0] != 0 or any(b <= a for a, b in pairwise(frames)):
                raise CoPropError(
                    f"the keyframes of '{clip_id}' are ascending frame indices from 0 on, got {list(frames)[:8]}."
                )

    def of(self, clip_id: str, num_frames: int) -> tuple[int, ...]:
        """The keyframes of a clip.

        Raises:
            CoPropError: the list does not name it, or it has fewer frames than the list says.
        """
        if clip_id not in self.frames:
            raise CoPropError(
                f"the list of keyframes names {len(self.frames)} clips, '{clip_id}' is not among them; make it of the data "
                "that are trained on: coprop data keyframes."
            )
        frames = self.frames[clip_id]
        if frames[-1] >= num_frames:
            raise CoPropError(f"the list of keyframes names frame {frames[-1]} of '{clip_id}', which has {num_frames}.")
        return frames

    def write(self, path: str | os.PathLike[str]) -> None:
        """As JSON, a line a clip."""
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(list(t))}" for name, t in self.frames.items())
        head = json.dumps({"format": FORMAT, "control_points": self.control_points, "data": dict(self.data)}, indent=1)
        with atomic_write(path, "w") as file:
            file.write(f'{head[:-2]},\n "frames": {{\n{lines}\n }}\n}}\n')

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> KeyframeList:
        """What :meth:`write` wrote.

        Raises:
            CoPropError: no such file, or another form.
        """
        found = read_json(path, form=_FORM, what="a list of keyframes")
        return cls(found["data"], found["control_points"], {name: tuple(t) for name, t in found["frames"].items()})
