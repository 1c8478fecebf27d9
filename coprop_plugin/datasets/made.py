"""Clips made on the fly, named by one line of text: by formula, or of a library's real things."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, get_args

from ..errors import CoPropError, unknown_name
from .objects.casting import Classes
from .objects.clips import make_object_clip
from .objects.library import TABLE, Library, open_library
from .schedule import clip_kind
from .synthetic import SyntheticClip, make_clip

FORMS = "synth:KIND:FIRST-LAST (synth:moc:0-999) or objects:LIBRARY:SPLIT:KIND:FIRST-LAST (objects:lib:train:moc:0-999)"
_SYNTHETIC = re.compile(r"synth:(.+):(\d+)-(\d+)")
_OBJECTS = re.compile(r"objects:(.+?):(train|val|test):([a-z0-9]+(?::[0-9/.]+)?):(\d+)-(\d+)(?:,classes=(\w+))?")


@dataclass(frozen=True)
class MadeClips:
    """Clips by their seeds.

    Attributes:
        kind: of :func:`.synthetic.make_clip`.
        seeds: which.
        library: what they are made of; ``None``: made by formula.
        split: of the library; nothing of another split is used.
        classes: of the library: ``all``, or those of AVSBench alone.
    """

    kind: str
    seeds: range
    library: Library | None = None
    split: str = ""
    classes: Classes = "all"

    def __post_init__(self) -> None:
        clip_kind(self.kind)
        if len(self.seeds) < 1 or self.seeds[0] < 0:
            raise CoPropError(f"there are no clips of the seeds {self.seeds.start}-{self.seeds.stop - 1}.")
        if self.classes not in get_args(Classes):
            raise unknown_name("choice of classes", self.classes, get_args(Classes))
        if self.library is not None:
            self.library.of("objects", self.split)

    def make(self, seed: int, **options: Any) -> SyntheticClip:
        """The clip of a seed; ``size``, ``num_frames``, ``semantic``, ``between_hz`` as in :func:`.synthetic.make_clip`."""
        if self.library is None:
            return make_clip(seed, kind=self.kind, **options)
        return make_object_clip(self.library, seed, split=self.split, kind=self.kind, classes=self.classes, **options)

    def __str__(self) -> str:
        seeds = f"{self.seeds[0]}-{self.seeds[-1]}"
        if self.library is None:
            return f"synth:{self.kind}:{seeds}"
        chosen = "" if self.classes == "all" else f",classes={self.classes}"
        return f"objects:{self.library.root}:{self.split}:{self.kind}:{seeds}{chosen}"

    def describe(self) -> dict[str, Any]:
        """What the clips are, for a record; a library by its table's digest, wherever it lies."""
        told: dict[str, Any] = {"kind": self.kind, "seeds": f"{self.seeds[0]}-{self.seeds[-1]}"}
        if self.library is not None:
            digest = hashlib.sha256((self.library.root / TABLE).read_bytes()).hexdigest()[:16]
            told |= {"objects": digest, "split": self.split, "classes": self.classes}
        return told


def is_made(text: str) -> bool:
    """Whether a text means to name made clips (and is no folder)."""
    return text.startswith(("synth:", "objects:"))


def made_clips(text: str) -> MadeClips:
    """The clips that a text names: one of FORMS; ``,classes=avsbench`` may follow for a library.

    Raises:
        CoPropError: another form, an unknown kind, no such library, or no clips.
    """
    if found := _SYNTHETIC.fullmatch(text):
        return MadeClips(found[1], range(int(found[2]), int(found[3]) + 1))
    if found := _OBJECTS.fullmatch(text):
        seeds = range(int(found[4]), int(found[5]) + 1)
        return MadeClips(found[3], seeds, open_library(found[1]), found[2], found[6] or "all")  # type: ignore[arg-type]
    raise CoPropError(f"made clips are named {FORMS}; got '{text}'.")
