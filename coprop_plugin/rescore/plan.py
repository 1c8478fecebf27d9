"""What a run will do: the videos of a split, the folders of predictions, and every setting, resolved and hashed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..datasets.avsbench import AVSBench, LayoutName, open_dataset
from ..datasets.layouts import Video
from ..datasets.moc import moc_videos
from ..errors import CoPropError
from ..metrics.protocols import protocols
from ..store import check_storable
from ..store.label_values import OBJECTS, label_values
from ..store.manifest import digest, plain, versions

if TYPE_CHECKING:
    from ..coprop import CoProp

FORMAT = "coprop-rescore/1"
DEFAULT_PROTOCOLS = ("avsbench", "alignment", "split")
ScoreFiles = Literal["none", "float32", "float16"]


@dataclass(frozen=True)
class Source:
    """The saved predictions of one method: ``name`` for tables and folders, ``path`` the folder with its videos."""

    name: str
    path: Path

    def __post_init__(self) -> None:
        bad = any(c in "/\\\0" or not c.isprintable() for c in self.name)
        if not self.name or self.name.startswith(".") or len(self.name) > 100 or bad:
            raise CoPropError(
                f"'{self.name}' names a folder of the run, so it is one plain name of at most 100 characters. "
                "Give the predictions as NAME=PATH."
            )
        if not self.path.is_dir():
            raise CoPropError(f"{self.path}: is no folder of saved predictions.")

    @classmethod
    def parse(cls, text: str) -> Source:
        """``"NAME=PATH"``, or ``"PATH"``, which is called after its last part (also if there is a ``=`` in it)."""
        name, equals, path = text.partition("=")
        if equals and not Path(text).is_dir():
            return cls(name, Path(path))
        return cls(Path(text).absolute().name, Path(text))


@dataclass(frozen=True)
class Task:
    """One video of one method."""

    source: Source
    video: Video


@dataclass(frozen=True)
class RunPlan:
    """A run, resolved; it travels to other processes as it is.

    Attributes:
        data_root, layout, split: the benchmark.
        videos: those of the split, in the order of its table.
        sources: the methods to compare.
        method: ``control_points``, ``propagator`` and ``fusion`` as :class:`~coprop_plugin.coprop.CoProp` takes them.
        reading: options of ``read_prediction``.
        protocols: of the scores, options included.
        scores: whether the refined probabilities are kept beside the masks.
        semantic_root: an AVSS data set that tells the categories of MS3 videos.
        moc: ids of the MOC subset (``None``: nothing tells them).
        notes: what planning found worth telling.
    """

    data_root: Path
    layout: str
    split: str
    videos: tuple[Video, ...]
    sources: tuple[Source, ...]
    method: Mapping[str, Any]
    reading: Mapping[str, Any]
    protocols: tuple[str, ...]
    scores: ScoreFiles = "none"
    semantic_root: Path | None = None
    moc: tuple[str, ...] | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def tasks(self) -> list[Task]:
        """Method after method, the videos of each in the order of the data set."""
        return [Task(source, video) for source in self.sources for video in self.videos]

    def build_method(self) -> CoProp:
        from ..coprop import CoProp

        return CoProp(**self.method)

    def open_dataset(self) -> AVSBench:
        return open_dataset(self.data_root, layout=self.layout)  # type: ignore[arg-type]

    def open_semantic(self) -> AVSBench | None:
        return None if self.semantic_root is None else open_dataset(self.semantic_root, layout="avss")

    def manifest(self) -> dict[str, Any]:
        """What decides every byte of the run; no time, host or absolute path."""
        files = {str(value) for part in self.method.values() for value in _leaves(part) if _is_file(value)}
        told: dict[str, Any] = {
            "format": FORMAT,
            "versions": dict(versions()),
            "dataset": {
                "layout": self.layout,
                "split": self.split,
                "videos": [video.video_id for video in self.videos],
                "moc": self.moc,
                "semantic": self.semantic_root is not None,
            },
            "methods": [{"name": source.name, "folder": source.path.absolute().name} for source in self.sources],
            "configuration": {
                **self.method,
                "reading": self.reading,
                "protocols": self.protocols,
                "scores": self.scores,
            },
            "files": {Path(name).name: digest(name) for name in sorted(files)},
        }
        return plain(told)


def make_plan(
    predictions: Sequence[str | Path | Source],
    data_root: str | Path,
    *,
    layout: LayoutName = "auto",
    split: str = "test",
    method: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    protocol: str | Sequence[str] = DEFAULT_PROTOCOLS,
    scores: ScoreFiles = "none",
    semantic_root: str | Path | None = None,
) -> RunPlan:
    """Resolve a run; everything that can be wrong before the first video is found here.

    Args:
        predictions: folders with the saved predictions of whole methods, as ``PATH``, ``NAME=PATH`` or ``Source``.
        data_root: the benchmark (:func:`~coprop_plugin.datasets.avsbench.open_dataset`).
        layout, split: which benchmark, and which of its videos.
        method: what ``CoProp`` takes: ``control_points``, ``propagator``, ``fusion``, as names or dicts.
        reading: what ``read_prediction`` takes; AVSS predictions are of its classes unless said otherwise.
        protocol: of the scores.
        scores: keep the refined probabilities too, without loss (``float32``) or not (``float16``).
        semantic_root: an AVSS data set, whose class masks say which MS3 videos belong to MOC.

    Raises:
        CoPropError: no such data, split, folder, part or protocol; two methods of one name; classes above 254.
    """
    sources = tuple(p if isinstance(p, Source) else Source.parse(str(p)) for p in predictions)
    if not sources:
        raise CoPropError("name at least one folder of saved predictions.")
    names = [source.name.casefold() for source in sources]
    if len(set(names)) < len(names):
        double = next(source.name for source in sources if names.count(source.name.casefold()) > 1)
        raise CoPropError(f"two folders of predictions are called '{double}'; tell them apart with NAME=PATH.")
    dataset = open_dataset(data_root, layout=layout)
    semantic = None if semantic_root is None else open_dataset(semantic_root, layout="avss")
    moc, notes = _moc(dataset, split, semantic)
    classes = {"classes": "avsbench"} if dataset.layout.name == "avss" else {}
    given = {k: v for k, v in (reading or {}).items() if v is not None}
    plan = RunPlan(
        data_root=Path(data_root),
        layout=dataset.layout.name,
        split=split,
        videos=dataset.videos(split),
        sources=sources,
        method=dict(method or {}),
        reading={**classes, **given},
        protocols=tuple(p.name for p in protocols(protocol)),
        scores=scores,
        semantic_root=None if semantic_root is None else Path(semantic_root),
        moc=moc,
        notes=notes,
    )
    if plan.reading.get("classes") == OBJECTS:
        raise CoPropError("objects have ids of their own in every video; benchmarks are scored by classes or binary.")
    check_storable(label_values(classes=plan.reading.get("classes"), ids=plan.reading.get("ids")).class_ids)
    plan.build_method()
    return plan


def _moc(dataset: AVSBench, split: str, semantic: AVSBench | None) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The ids of the MOC subset where something tells them, and what is to be said about it."""
    if dataset.layout.name == "s4":
        return None, ()
    if dataset.layout.name == "ms3" and semantic is None:
        return None, (
            "No MOC subset: the masks of MS3 are binary and do not show which category sounds. Name the AVSS data "
            "set, which has class masks of the same videos (--semantic-root).",
        )
    dataset.videos(split)  # a wrong split is told as such
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chosen = moc_videos(dataset, split=split, semantic=semantic)
    notes = tuple(str(warning.message) for warning in caught if issubclass(warning.category, UserWarning))
    return tuple(video.video_id for video in chosen), notes


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [value]


def _is_file(value: Any) -> bool:
    return isinstance(value, str | Path) and 0 < len(str(value)) < 4096 and Path(value).is_file()
