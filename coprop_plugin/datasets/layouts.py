"""AVSBench's three layouts as data: where the table, the frames, the sound and the masks of a video lie.

Names come from untrusted tables and become paths, so each must be one plain name. They are never parsed: real ids
begin with ``-`` or ``_`` and contain both.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CoPropError
from ..files import read_text
from ..structures import AVSBENCH_CLASSES, BINARY

MAX_TABLE_BYTES = 64 << 20


@dataclass(frozen=True)
class Video:
    """One row of a data set's table.

    Attributes:
        video_id: unique in the data set (S4 name, MS3 video id, AVSS uid).
        split: ``train``, ``val`` or ``test``.
        group: S4's category, AVSS's subset (``v1s``, ``v1m``, ``v2``), nothing in MS3.
        original_id: the id that the video has in S4 or MS3, where AVSS gives it another.
        categories: names of what sounds, where the table tells.
    """

    video_id: str
    split: str
    group: str = ""
    original_id: str = ""
    categories: tuple[str, ...] = ()


Row = Mapping[str, str]


@dataclass(frozen=True)
class Layout:
    """A layout; templates take ``{id}``, ``{split}``, ``{group}`` and the frame's number ``{n}``.

    Attributes:
        name: ``s4``, ``ms3`` or ``avss``.
        table: name of the CSV file.
        homes: where the data folder lies below what a user calls the root, most specific last.
        needed: columns that the table must have.
        to_video: a row (by name, and by position as ``"0"``, ``"1"``, …) as a Video.
        frames, frame, first_frame: folder and file of the frames, and the first number.
        sound, log_mel: files; the pickles are only written, never read.
        masks: folders of the truth, the preferred first; ``mask``, ``first_mask``: file and first number.
        prediction: file of a saved prediction (numbered from 0), as published code writes it.
        class_ids: of the truth.
        published: videos per split of the real data set.
    """

    name: str
    table: str
    homes: tuple[str, ...]
    needed: tuple[str, ...]
    to_video: Callable[[Row], Video]
    frames: str
    frame: str
    first_frame: int
    sound: str
    log_mel: str | None
    masks: tuple[str, ...]
    mask: str
    first_mask: int
    prediction: str
    class_ids: tuple[int, ...]
    published: Mapping[str, int] = field(default_factory=dict)

    def num_frames(self, video: Video) -> int:
        """How many frames the video has in the published set."""
        return 10 if video.group == "v2" else 5

    def labelled(self, video: Video, num_frames: int) -> range:
        """The frames that have a mask: single-source training videos show the first only."""
        single_source = self.name == "s4" or video.group == "v1s"
        return range(1 if single_source and video.split == "train" else num_frames)

    def frames_folder(self, video: Video) -> str:
        return _fill(self.frames, video)

    def frame_file(self, video: Video, t: int) -> str:
        return f"{self.frames_folder(video)}/{_fill(self.frame, video, t + self.first_frame)}"

    def mask_file(self, video: Video, t: int, *, folder: str) -> str:
        return f"{_fill(folder, video)}/{_fill(self.mask, video, t + self.first_mask)}"

    def sound_file(self, video: Video) -> str:
        return _fill(self.sound, video)

    def log_mel_file(self, video: Video) -> str | None:
        return self.log_mel and _fill(self.log_mel, video)

    def prediction_file(self, video: Video, t: int) -> str:
        return _fill(self.prediction, video, t)


def _fill(template: str, video: Video, number: int | None = None) -> str:
    return template.format(id=video.video_id, split=video.split, group=video.group, n=number)


def read_table(path: Path, layout: Layout) -> tuple[Video, ...]:
    """The videos of a table, in its order.

    Raises:
        CoPropError: too large, not UTF-8, missing columns, an id that is no plain name, or one that occurs twice.
    """
    text = read_text(path, what="a table of videos", limit_bytes=MAX_TABLE_BYTES)
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise CoPropError(f"{path}: is no table ({error}).") from error
    header = rows[0] if rows else []
    missing = [name for name in layout.needed if name not in header]
    if missing:
        raise CoPropError(f"{path}: lacks the columns {missing}; its header is {header}. It needs {layout.needed}.")
    videos: dict[str, Video] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise CoPropError(f"{path}, row {line}: has {len(row)} columns, its header {len(header)}.")
        video = layout.to_video(dict(zip(header, row, strict=True)) | {str(i): value for i, value in enumerate(row)})
        for name in (video.video_id, video.split, video.group)[: 3 if "{group}" in layout.frames else 2]:
            _check_name(name, f"{path}, row {line}")
        if video.video_id in videos:
            raise CoPropError(f"{path}, row {line}: the video '{video.video_id}' occurs twice.")
        videos[video.video_id] = video
    return tuple(videos.values())


def _check_name(name: str, where: str) -> None:
    """A name that becomes one part of a path must not be able to leave its folder."""
    if name in ("", ".", "..") or len(name) > 200 or any(c in "/\\\0" or not c.isprintable() for c in name):
        raise CoPropError(
            f"{where}: '{name[:80]}' is no plain name. Ids, splits and categories become file names; they hold no "
            "slash and no '..'. Mend the table."
        )


def _s4_video(row: Row) -> Video:
    # The published loaders take name and category by position.
    return Video(row["0"], row["split"], group=row["2"], original_id=row["0"], categories=(row["2"],))


def _ms3_video(row: Row) -> Video:
    return Video(row["0"], row["split"], original_id=row["0"])


def _avss_video(row: Row) -> Video:
    categories = tuple(filter(None, row.get("a_obj", "").split("_")))
    return Video(row["uid"], row["split"], row["label"], row.get("vid") or row["uid"], categories)


LAYOUTS = {
    "s4": Layout(
        name="s4",
        table="s4_meta_data.csv",
        homes=("", "s4_data", "Single-source", "Single-source/s4_data"),
        needed=("name", "category", "split"),
        to_video=_s4_video,
        frames="visual_frames/{split}/{group}/{id}",
        frame="{id}_{n}.png",
        first_frame=1,
        sound="audio_wav/{split}/{group}/{id}.wav",
        log_mel="audio_log_mel/{split}/{group}/{id}.pkl",
        masks=("gt_masks/{split}/{group}/{id}",),
        mask="{id}_{n}.png",
        first_mask=1,
        prediction="{group}/{id}/{id}_{n}.png",
        class_ids=BINARY,
        published={"train": 3452, "val": 740, "test": 740},
    ),
    "ms3": Layout(
        name="ms3",
        table="ms3_meta_data.csv",
        homes=("", "ms3_data", "Multi-sources", "Multi-sources/ms3_data"),
        needed=("video_id", "split"),
        to_video=_ms3_video,
        frames="visual_frames/{id}",
        frame="{id}.mp4_{n}.png",
        first_frame=1,
        sound="audio_wav/{split}/{id}.wav",
        log_mel="audio_log_mel/{split}/{id}.pkl",
        masks=("gt_masks/{split}/{id}",),
        mask="{id}_{n}.png",
        first_mask=1,
        prediction="{id}/{id}_{n}.png",
        class_ids=BINARY,
        published={"train": 296, "val": 64, "test": 64},
    ),
    "avss": Layout(
        name="avss",
        table="metadata.csv",
        homes=("", "AVSS", "avss", "AVSBench-semantic"),
        needed=("uid", "label", "split"),
        to_video=_avss_video,
        frames="{group}/{id}/frames",
        frame="{n}.jpg",
        first_frame=0,
        sound="{group}/{id}/audio.wav",
        log_mel=None,
        masks=("{group}/{id}/labels_rgb", "{group}/{id}/labels_semantic"),
        mask="{n}.png",
        first_mask=0,
        prediction="{id}/{id}_{n}.png",
        class_ids=AVSBENCH_CLASSES,
        published={"train": 8498, "val": 1304, "test": 1554},
    ),
}
