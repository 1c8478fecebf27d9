"""The hook that all refining hooks are: collects videos, refines each when it is complete, scores both sides.

The base model's outputs and metrics stay as they are: samples are copied, and a second evaluator of the same metrics
is fed with the refined ones.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.evaluator import DumpResults, Evaluator
from mmengine.hooks import Hook
from mmengine.structures import BaseDataElement

from ..coprop import Result
from ..errors import CoPropError, unknown_name
from ..parts import PartKind
from ..store.manifest import plain
from ..structures import Clip, Prediction
from .dump import check_visualizer, show_video, write_video
from .mirror import without_scopes
from .samplers import VideoSampler
from .videos import ClassChannels, Kept, SampleInfo, VideoSamples, clip_of, with_prediction

Incomplete = Literal["raise", "gather"]


class RefiningHook(Hook):
    """Collects a test or validation loop's samples to videos and refines them.

    Args:
        parts: of the method, as the config gives them; they are kept with each result.
        prefix: the refined metrics are ``<prefix>/<name of the base metric>``.
        base: what is kept of the model's answer: its ``labels``, or its ``scores`` as well.
        incomplete: under several processes, ``raise`` unless the sampler keeps videos whole (``VideoSampler``), or
            ``gather`` all frames when the epoch ends (slower, and all label maps are in memory).
        output_dir: a folder for ``<video_id>/masks/<k>.png``, control points and ``run.json`` of each video; what an
            earlier epoch or run left of a video is replaced.
        report: also write each video's ``report.html`` there.
        overlays: of so many videos (a process), base and refined masks over frames go to the runner's visualizer.
        max_open_frames: of videos that are not complete yet; a bound on memory.

    Raises:
        CoPropError: options that exclude each other.
    """

    priority = "NORMAL"

    def __init__(
        self,
        parts: Mapping[PartKind, Any],
        *,
        prefix: str = "coprop",
        base: Kept = "labels",
        incomplete: Incomplete = "raise",
        output_dir: str | None = None,
        report: bool = False,
        overlays: int = 0,
        max_open_frames: int = 8192,
    ) -> None:
        for option, given, allowed in (("base", base, Kept), ("incomplete", incomplete, Incomplete)):
            if given not in get_args(allowed):
                raise unknown_name(f"value of {option}", given, get_args(allowed))
        if base == "scores" and incomplete == "gather":
            raise CoPropError("incomplete='gather' sends label maps only; with base='scores' use the VideoSampler.")
        if report and not output_dir:
            raise CoPropError("report=True writes into output_dir, which is not set.")
        self.settings = plain({"hook": type(self).__name__, **without_scopes(parts), "base": base})
        self.prefix, self.base, self.incomplete = prefix, base, incomplete
        self.output_dir, self.report, self.overlays = output_dir, report, overlays
        self.max_open_frames = max_open_frames

    def refine(self, clip: Clip, base: Prediction, samples: Sequence[BaseDataElement]) -> Result:
        """The refined prediction of a complete video; ``samples`` are its own, by frame."""
        raise NotImplementedError

    def before_val_epoch(self, runner: Any) -> None:
        self._open_epoch(runner, runner.val_loop)

    def before_test_epoch(self, runner: Any) -> None:
        self._open_epoch(runner, runner.test_loop)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._take(runner, outputs)

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._take(runner, outputs)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._close_epoch(runner, "val", metrics)

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._close_epoch(runner, "test", metrics)

    def _open_epoch(self, runner: Any, loop: Any) -> None:
        sampler = getattr(loop.dataloader.batch_sampler, "sampler", loop.dataloader.sampler)
        if get_world_size() > 1 and self.incomplete == "raise" and not isinstance(sampler, VideoSampler):
            raise CoPropError(
                f"{type(self).__name__}: {get_world_size()} processes share the frames by {type(sampler).__name__}, so that "
                "none of them sees a whole video. Write sampler=dict(type='VideoSampler') into test_dataloader and "
                "val_dataloader, or, to send all label maps around when the epoch ends, incomplete='gather' into the hook."
            )
        if self.overlays:
            check_visualizer(runner.visualizer)
        self._gathering = get_world_size() > 1 and not isinstance(sampler, VideoSampler)
        self._evaluator = second_evaluator(loop.evaluator, self.prefix)
        self._classes = ClassChannels.of(loop.evaluator.dataset_meta)
        self._num_samples = len(loop.dataloader.dataset)
        self._videos: dict[str, VideoSamples] = {}
        self._shown = 0

    def _take(self, runner: Any, outputs: Sequence[BaseDataElement]) -> None:
        for sample in outputs:
            info = SampleInfo.of(sample.metainfo)
            video = self._videos.setdefault(info.video_id, VideoSamples(info, self.base))
            if self._gathering and video.seen.issuperset(info.frames):
                continue  # the sampler's padding
            video.add(info, sample)
            if video.complete and not self._gathering:
                self._finish(runner, self._videos.pop(info.video_id))
        held = sum(len(video.infos) for video in self._videos.values())
        if held > self.max_open_frames and not self._gathering:
            raise CoPropError(
                f"{held} frames of {len(self._videos)} videos wait for the rest of their videos. Read a video's frames "
                "one after the other (sampler=dict(type='VideoSampler')), or raise max_open_frames."
            )

    @torch.no_grad()  # after_*_iter runs without gradients, the end of an epoch does not
    def _close_epoch(self, runner: Any, mode: str, metrics: dict[str, float] | None) -> None:
        if self._gathering:
            for video in self._gathered():
                self._finish(runner, video)
        elif self._videos:
            video = next(iter(self._videos.values()))
            raise CoPropError(
                f"{len(self._videos)} videos are not complete, the first is '{video.video_id}': its frames "
                f"{video.frames[:16]} came, of {video.num_frames}. All frames of a video must be in the loader."
            )
        results = self._evaluator.evaluate(self._num_samples)
        for name, value in results.items():
            key = f"{self.prefix}/{name}"
            if metrics is not None:
                metrics[key] = value  # the dict that runner.test() and runner.val() return
            # mmengine copied the base metrics to its log before this hook ran
            runner.message_hub.update_scalar(f"{mode}/{key}", value)
        self._videos.clear()

    def _gathered(self) -> Iterator[VideoSamples]:
        """This process's share of the videos, put together from the samples of all; frames that came twice once."""
        mine = [pair for video in self._videos.values() for pair in video.in_order()]
        videos: dict[str, VideoSamples] = {}
        for pairs in all_gather_object(mine):
            for info, sample in pairs:
                video = videos.setdefault(info.video_id, VideoSamples(info, self.base))
                if not video.seen.issuperset(info.frames):
                    video.add(info, sample)
        self._videos = {name: videos[name] for name in sorted(videos) if not videos[name].complete}
        if self._videos:
            raise CoPropError(f"videos are not complete on any process, the first is '{next(iter(self._videos))}'.")
        return (videos[name] for name in sorted(videos)[get_rank() :: get_world_size()])

    def _finish(self, runner: Any, video: VideoSamples) -> None:
        clip, base = clip_of([info for info, _ in video.in_order()]), video.base(self._classes)
        with undisturbed_randomness():
            result = self.refine(clip, base, [sample for _, sample in video.in_order()])
        for info, sample in video.in_order():  # one at a time: as the model gives them, labels take eight bytes a pixel
            refined = with_prediction(sample, info, result.prediction, kept=self.base)
            self._evaluator.process(data_samples=[refined], data_batch=None)
        if self.output_dir:
            truth = video.truth(self._classes)
            folder = Path(self.output_dir)
            write_video(folder, result, clip, truth=truth, settings=self.settings, report=self.report)
        if self._shown < self.overlays:
            self._shown += 1
            show_video(runner.visualizer, result, clip, name=f"{self.prefix}_{clip.clip_id}")


def second_evaluator(first: Evaluator, prefix: str) -> Evaluator:
    """An evaluator of the same metrics, empty, that writes into folders of its own; dumps of the base are left out."""
    metrics = []
    for metric in first.metrics:
        if isinstance(metric, DumpResults):
            continue
        twin = copy.deepcopy(metric)
        twin.results.clear()
        if getattr(twin, "output_dir", None):
            twin.output_dir = str(Path(twin.output_dir) / prefix)
            Path(twin.output_dir).mkdir(parents=True, exist_ok=True)
        metrics.append(twin)
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = first.dataset_meta
    return evaluator


@contextmanager
def undisturbed_randomness() -> Iterator[None]:
    """Whatever draws random numbers inside, the training around it draws the same as without."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what is protected
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_initialized() else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
