"""Data sets, transforms, sampler, metrics and the adapter's model under MMEngine."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_runner as toy
from toy_runner import Runner, brightness

from coprop_plugin.adapters.callable import CallableAdapter
from coprop_plugin.coprop import CoProp
from coprop_plugin.datasets.avsbench import open_dataset
from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.engine.adapter_model import AdapterModel
from coprop_plugin.engine.avsbench import AVSBenchDataset
from coprop_plugin.engine.metrics import AlignmentMetric, AVSMetric
from coprop_plugin.engine.samplers import VideoSampler
from coprop_plugin.engine.transforms import LoadAVSMasks
from coprop_plugin.errors import CoPropError
from coprop_plugin.metrics.scorer import Scorer
from coprop_plugin.structures import Clip, Prediction

ADAPTER = {"type": "CallableAdapter", "function": "toy_runner:brightness", "kind": "probability"}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.toy_data(tmp_path_factory.mktemp("data") / "ms3")


@pytest.mark.parametrize("kind", ["s4", "ms3", "avss"])
def test_frames_and_clips_show_the_same(tmp_path: Path, kind: str) -> None:
    root = toy.toy_data(tmp_path / kind, kind=kind, videos=2)
    frames = AVSBenchDataset(str(root), unit="frame", pipeline=toy.PIPELINE)
    clips = AVSBenchDataset(str(root), unit="clip", pipeline=toy.CLIP_PIPELINE)
    assert len(frames) == sum(clips.get_data_info(i)["num_frames"] for i in range(len(clips)))
    bench, index = open_dataset(root), 0
    for i, video in enumerate(bench.videos("test")):
        clip, whole, truth = bench.clip(video), clips[i], bench.truth(video)
        np.testing.assert_array_equal(whole["inputs"]["frames"].permute(0, 2, 3, 1).numpy(), np.asarray(clip.frames))
        np.testing.assert_array_equal(whole["inputs"]["sound"].numpy(), clip.sound.samples)
        for t in range(clip.num_frames):
            one, index = frames[index], index + 1
            assert one["data_samples"].frame_idx == t and one["data_samples"].video_id == video.video_id
            np.testing.assert_array_equal(one["inputs"].permute(1, 2, 0).numpy()[..., ::-1], clip.frames[t])  # BGR
            labels = truth.label_map(t)
            for found in (one["data_samples"].gt_sem_seg.data[0], whole["data_samples"].gt_sem_seg.data[t]):
                np.testing.assert_array_equal(found.numpy(), np.where(labels < 0, 255, labels))
    assert len(frames.metainfo["classes"]) == len(frames.metainfo["palette"]) == (71 if kind == "avss" else 2)


def test_a_data_set_goes_to_workers_and_can_be_narrowed(data: Path) -> None:
    dataset = AVSBenchDataset(str(data), pipeline=toy.PIPELINE, videos=["ms3_0000001"])
    again = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    assert len(again) == 5 and torch.equal(again[3]["inputs"], dataset[3]["inputs"])
    with pytest.raises(CoPropError, match="unknown video 'ms3_1'"):
        AVSBenchDataset(str(data), videos=["ms3_1"])
    with pytest.raises(CoPropError, match=r"unknown unit 'frames'. Did you mean 'frame'"):
        AVSBenchDataset(str(data), unit="frames")  # type: ignore[arg-type]
    with pytest.raises(CoPropError, match="masks of an AVSBenchDataset"):
        LoadAVSMasks()({"video_id": "x"})


def test_training_takes_the_labelled_frames(tmp_path: Path) -> None:
    """S4's training videos show a mask for their first frame alone."""
    write_dataset(tmp_path / "s4", kind="s4", videos=2, splits=("train",), size=toy.SIZE)
    labelled = AVSBenchDataset(str(tmp_path / "s4"), split="train", frames="labelled", pipeline=toy.PIPELINE)
    assert [labelled.get_data_info(i)["frame_idx"] for i in range(len(labelled))] == [0, 0]
    all_frames = AVSBenchDataset(str(tmp_path / "s4"), split="train", pipeline=toy.PIPELINE)
    truth = [all_frames[i]["data_samples"].gt_sem_seg.data for i in range(len(all_frames))]
    assert [bool((labels != 255).all()) for labels in truth] == [True, False, False, False, False] * 2
    with pytest.raises(CoPropError, match="unknown value of frames 'label'"):
        AVSBenchDataset(str(tmp_path / "s4"), split="train", frames="label")  # type: ignore[arg-type]


class Infos:
    """Just the entries of a data set."""

    def __init__(self, infos: list[dict[str, Any]]) -> None:
        self.infos = infos

    def __len__(self) -> int:
        return len(self.infos)

    def get_data_info(self, index: int) -> dict[str, Any]:
        return self.infos[index]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_videos_stay_whole_and_nothing_is_lost_or_doubled(monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    lengths = {"a": 5, "b": 3, "c": 4, "d": 7}
    infos = [{"video_id": v, "frame_idx": t} for t in range(7) for v, n in lengths.items() if t < n]  # interleaved
    dealt: list[int] = []
    loads = []
    for rank in range(world_size):
        monkeypatch.setattr("coprop_plugin.engine.samplers.get_dist_info", lambda rank=rank: (rank, world_size))
        sampler = VideoSampler(Infos(infos), seed=1)
        mine = [infos[i] for i in sampler]
        for video in {info["video_id"] for info in mine}:
            assert [i["frame_idx"] for i in mine if i["video_id"] == video] == list(range(lengths[video]))
        changes = sum(a["video_id"] != b["video_id"] for a, b in itertools.pairwise(mine))
        assert changes == max(0, len({info["video_id"] for info in mine}) - 1)  # one video after the other
        dealt += list(sampler)
        loads.append(len(sampler))
    assert sorted(dealt) == list(range(len(infos)))
    assert max(loads) - min(loads) <= max(lengths.values())
    with pytest.raises(CoPropError, match="names no 'video_id'"):
        VideoSampler(Infos([{}]))


def test_metrics_are_the_named_protocols(data: Path, tmp_path: Path) -> None:
    names = ["avsbench", "per-dataset", "alignment"]
    evaluator = [{"type": "AVSMetric", "protocol": names[:2]}, {"type": "AlignmentMetric"}]
    results = {}
    for unit in ("frame", "clip"):
        settings = toy.config(data, tmp_path / unit, hooks=[], evaluator=evaluator, unit=unit)
        settings.model = {"type": "AdapterModel", "adapter": ADAPTER, "keep": "labels"}
        if unit == "frame":
            settings.model = {"type": "LateModel"}
        results[unit] = Runner.from_cfg(settings).test()
    scorer, bench = Scorer(names), open_dataset(data)
    for video in bench.videos("test"):
        hard = Prediction.from_labels(np.asarray(half(bench.clip(video)).label_maps()))
        scorer.add(video.video_id, hard, bench.truth(video))
    expected = scorer.compute()
    flat = {name: value for name, value in expected.flat().items() if value is not None}
    assert results["clip"] == flat
    assert set(results["frame"]) == set(flat)


def adapter() -> CallableAdapter:
    """Bright pixels, with a probability."""
    return CallableAdapter(brightness, kind="probability")


def half(clip: Clip) -> Prediction:
    return adapter().predict(clip)


def test_an_adapter_is_a_model_and_its_scores_are_refined(data: Path, tmp_path: Path) -> None:
    hook = {"type": "CoPropHook", "base": "scores"}
    settings = toy.config(data, tmp_path / "run", hooks=[hook], evaluator={"type": "AVSMetric"}, unit="clip")
    settings.model = {"type": "AdapterModel", "adapter": ADAPTER}
    metrics = Runner.from_cfg(settings).test()
    before, after, bench = Scorer(), Scorer(), open_dataset(data)
    for video in bench.videos("test"):
        clip = bench.clip(video)
        before.add(video.video_id, half(clip), bench.truth(video))
        after.add(video.video_id, CoProp()(clip, half(clip)).prediction, bench.truth(video))
    for prefix, scorer in (("", before), ("coprop/", after)):
        expected = scorer.compute()
        for name in ("M_J", "M_F"):
            assert metrics[f"{prefix}avsbench/{name}"] == pytest.approx(expected[name], abs=1e-6)


def test_what_a_model_or_a_metric_cannot_do_is_said(data: Path) -> None:
    model = AdapterModel(adapter())
    with pytest.raises(CoPropError, match="mode='loss' is not for it"):
        model([], [], mode="loss")
    with pytest.raises(CoPropError, match="takes clips"):
        model(torch.zeros(1, 3, 4, 4), [], mode="predict")
    with pytest.raises(CoPropError, match="unknown protocol 'avsbnch'"):
        AVSMetric(protocol="avsbnch")
    metric = AlignmentMetric()
    metric.dataset_meta = {"classes": ("background", "object")}
    one = AVSBenchDataset(str(data), pipeline=toy.PIPELINE)[0]["data_samples"]
    one.pred_sem_seg = one.gt_sem_seg
    metric.process(None, [one.to_dict()])
    with pytest.raises(CoPropError, match=r"1 videos are not whole.*frames \[0\].*VideoSampler"):
        metric.evaluate(1)
