"""``VideoSampler``: every video whole and in order on one process."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from ..errors import CoPropError


@DATA_SAMPLERS.register_module()
class VideoSampler(Sampler):
    """Deals whole videos to the processes, the longest first to whoever has the fewest frames; nothing is padded.

    Within a process videos keep the data set's order, and a video's frames follow each other by ``frame_idx``.

    Args:
        dataset: a data set whose ``get_data_info(i)`` holds ``video_id`` and, where samples are frames, ``frame_idx``.
        seed: not used (nothing is shuffled); MMEngine gives it to every sampler.

    Raises:
        CoPropError: the data set does not say which video a sample is of.
    """

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        rank, world_size = get_dist_info()
        videos: dict[str, list[tuple[int, int]]] = {}
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            if "video_id" not in info:
                raise CoPropError(
                    f"VideoSampler: {type(dataset).__name__}.get_data_info({index}) names no 'video_id'. Use "
                    "AVSBenchDataset, or put 'video_id' and 'frame_idx' into each entry of load_data_list()."
                )
            videos.setdefault(info["video_id"], []).append((int(info.get("frame_idx", 0)), index))
        load = [0] * world_size
        mine = set()
        for name in sorted(videos, key=lambda name: -len(videos[name])):
            least = load.index(min(load))
            load[least] += len(videos[name])
            if least == rank:
                mine.add(name)
        self.videos = [[index for _, index in sorted(videos[name])] for name in videos if name in mine]

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.videos)

    def __len__(self) -> int:
        return sum(map(len, self.videos))

    def set_epoch(self, epoch: int) -> None:
        """Every epoch has the same order."""


@DATA_SAMPLERS.register_module()
class VideoBatchSampler(Sampler):
    """A batch is a whole video, for models that refine within the batch (``CoPropSegmentor``).

    Args:
        sampler: a :class:`VideoSampler`.
        batch_size: not used (a video is a batch); MMEngine gives it to every batch sampler.

    Raises:
        CoPropError: another sampler.
    """

    def __init__(self, sampler: Any, batch_size: int = 1) -> None:
        if not isinstance(sampler, VideoSampler):
            raise CoPropError(
                f"VideoBatchSampler needs sampler=dict(type='VideoSampler'), got {type(sampler).__name__}."
            )
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.sampler.videos)

    def __len__(self) -> int:
        return len(self.sampler.videos)
