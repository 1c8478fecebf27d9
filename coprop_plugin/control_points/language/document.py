"""The annotated document D: control points and categories of a training set, as JSON that knows its own hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.avsbench import AVSBench
from ...datasets.layouts import Video
from ...datasets.moc import true_control_points
from ...errors import CoPropError
from ...files import atomic_write, read_json
from ...files.schema import shown
from ...language.model import audio_sha256
from .retrieval import Entry, plain_words

FORMAT = "coprop-annotations-1"
SPLIT = "train"
MAX_FILE_BYTES = 256 << 20
MAX_FLAGS = 3600


@dataclass(frozen=True)
class Document:
    """Training clips with their control points.

    Attributes:
        layout: the data set's (``s4``, ``ms3``, ``avss``), or a word of the person who wrote it.
        entries: by id.
        notes: what limits them.
    """

    layout: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All categories that occur, sorted."""
        return tuple(sorted({name for entry in self.entries for name in entry.categories or ()}))

    @property
    def version(self) -> str:
        """The hash of the entries: two documents of one version retrieve alike."""
        rows = [[e.video_id, e.original_id, e.categories, e.flags, e.audio_sha256] for e in self.entries]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def annotate(dataset: AVSBench, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Document:
    """The document of a data set's training clips.

    Control points come from the true masks by the paper's rule (A.1). Clips with one labelled frame hold one source:
    ``[1, 0, …]``. Categories are those that the masks show, or the table's where masks are binary.

    Raises:
        CoPropError: files of the data set are missing or damaged.
    """
    videos = sorted(dataset.videos(SPLIT), key=lambda video: video.video_id)
    entries = []
    for done, video in enumerate(videos, start=1):
        entries.append(_entry(dataset, video))
        progress(done, len(videos))
    notes = []
    if dataset.layout.name == "ms3":
        notes.append(
            "binary masks: only changes between something and silence are known, and no categories, so nothing can be "
            "retrieved; annotate AVSBench-semantic, whose v1m part holds these videos with class masks"
        )
    return Document(dataset.layout.name, tuple(entries), tuple(notes))


def _entry(dataset: AVSBench, video: Video) -> Entry:
    points = true_control_points(dataset, video)
    num_frames = len(points)
    seen: tuple[str, ...] | None = None
    if points.categories is not None and len(dataset.layout.labelled(video, num_frames)) == num_frames:
        seen = tuple(sorted({name for names in points.categories for name in names or ()}))
    sound = dataset.clip(video).sound
    return Entry(
        video.video_id,
        video.categories or None if seen is None else seen,
        tuple(points.flags.astype(int).tolist()),
        video.original_id if video.original_id != video.video_id else "",
        audio_sha256(sound.samples, sound.rate_hz),
    )


def write_document(document: Document, path: str | Path) -> None:
    """Write it, one entry a line, so that a person can read and mend it (the hash then is to be left out)."""
    head = {"format": FORMAT, "layout": document.layout, "split": SPLIT, "sha256": document.version}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append(f'  "notes": {json.dumps(list(document.notes))}')
    rows = ",\n".join(
        "    "
        + json.dumps(
            {
                "id": e.video_id,
                "original_id": e.original_id,
                "categories": None if e.categories is None else list(e.categories),
                "control_points": list(e.flags),
                "audio_sha256": e.audio_sha256,
            }
        )
        for e in document.entries
    )
    with atomic_write(path, "w") as file:
        file.write("{\n" + ",\n".join(lines) + ',\n  "entries": [\n' + rows + "\n  ]\n}\n")


def read_document(path: str | Path) -> Document:
    """Read what :func:`write_document` wrote, or a person with it; every entry is checked.

    Raises:
        CoPropError: not such a file, not of training clips, an entry out of order, or changed since its hash was taken.
    """
    file = Path(path)
    data = read_json(file, what="a document of annotations (JSON)", limit_bytes=MAX_FILE_BYTES)
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("entries"), list):
        raise CoPropError(
            f"'{file}' holds no annotations ({FORMAT}); `coprop annotate ROOT -o {file.name}` makes them."
        )
    if data.get("split") != SPLIT:
        raise CoPropError(f"'{file}' is of the split '{data.get('split')}'; examples come from training clips only.")
    entries = tuple(_checked(row, f"'{file}', entry {i}") for i, row in enumerate(data["entries"]))
    if len({entry.video_id for entry in entries}) != len(entries):
        raise CoPropError(f"'{file}': an id occurs twice.")
    document = Document(str(data.get("layout", "")), entries, tuple(map(str, _listed(data.get("notes"), file))))
    if data.get("sha256") not in (None, document.version):
        raise CoPropError(f"'{file}' was changed after it was written; remove its 'sha256' if you meant to.")
    return document


def _listed(notes: Any, file: Path) -> list[Any]:
    if notes is not None and not isinstance(notes, list):
        raise CoPropError(f"'{file}': 'notes' is a list of sentences; got {shown(notes)}.")
    return notes or []


def _checked(row: Any, where: str) -> Entry:
    fields: dict[str, Any] = row if isinstance(row, dict) else {}
    texts = [fields.get("id"), fields.get("original_id", ""), fields.get("audio_sha256", "")]
    categories, flags = fields.get("categories"), fields.get("control_points") or []
    if not all(isinstance(text, str) for text in texts) or not texts[0]:
        raise CoPropError(f"{where}: needs an 'id' of text; 'original_id' and 'audio_sha256' are text.")
    named = isinstance(categories, list) and all(isinstance(c, str) and plain_words(c) for c in categories)
    if not named and ("categories" not in fields or categories is not None):
        raise CoPropError(f"{where} ('{texts[0]}'): 'categories' is a list of names, or null where they are not known.")
    valid = isinstance(flags, list) and 0 < len(flags) <= MAX_FLAGS and flags[0] == 1
    if not valid or not all(isinstance(f, int) and f in (0, 1) for f in flags):
        raise CoPropError(f"{where} ('{texts[0]}'): 'control_points' is a list of 0 and 1, the first one 1.")
    return Entry(
        texts[0], None if categories is None else tuple(categories), tuple(map(int, flags)), texts[1], texts[2]
    )
