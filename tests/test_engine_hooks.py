"""The hooks: the base model's side stays bit-identical, the refined side is that of the library, whatever the batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_runner as toy
from mmengine.evaluator import DumpResults, Evaluator
from mmengine.hooks import Hook
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement, PixelData
from toy_runner import Runner

from coprop_plugin.coprop import CoProp
from coprop_plugin.datasets.avsbench import open_dataset
from coprop_plugin.engine.refining import second_evaluator, undisturbed_randomness
from coprop_plugin.engine.videos import ClassChannels, SampleInfo, VideoSamples, prediction_of_logits
from coprop_plugin.errors import CoPropError
from coprop_plugin.media.images import read_rgb
from coprop_plugin.metrics.scorer import Scorer
from coprop_plugin.store import read_result
from coprop_plugin.structures import ControlPoints, Prediction

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Witness(Hook):
    """Keeps what the model said, and the metainfo that came with it."""

    priority = "LOWEST"  # after all other hooks

    def __init__(self) -> None:
        self.said: dict[tuple[str, int], torch.Tensor] = {}
        self.logits: list[torch.Tensor] = []
        self.metas: list[dict[str, Any]] = []
        self.most_open = 0

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.most_open = max(self.most_open, *(len(getattr(hook, "_videos", ())) for hook in runner.hooks))
        for sample in outputs:
            self.metas.append(dict(sample.metainfo_items()))
            self.said[sample.video_id, sample.get("frame_idx", -1)] = sample.pred_sem_seg.data.clone()
            if "seg_logits" in sample:
                self.logits.append(sample.seg_logits.data.clone())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.toy_data(tmp_path_factory.mktemp("data") / "ms3")


def run(
    data: Path, folder: Path, hooks: list[dict[str, Any]], **options: Any
) -> tuple[dict[str, float], Witness, Runner]:
    runner = Runner.from_cfg(toy.config(data, folder, hooks=hooks, **options))
    witness = Witness()
    runner.register_hook(witness, priority="LOWEST")
    return runner.test(), witness, runner


def test_base_outputs_and_metrics_are_bit_identical_and_batches_do_not_matter(data: Path, tmp_path: Path) -> None:
    alone, said_alone, _ = run(data, tmp_path / "alone", [])
    refined = {}
    for batch_size in (1, 4, 64):
        hook = {"type": "CoPropHook", "propagator": {"type": "Hold"}, "fusion": {"type": "Replace"}}
        metrics, said, _ = run(data, tmp_path / f"b{batch_size}", [hook], batch_size=batch_size)
        assert {name: metrics.pop(name) for name in alone} == alone
        assert all(torch.equal(said.said[key], value) for key, value in said_alone.said.items())
        assert all(torch.equal(a, b) for a, b in zip(said.logits, said_alone.logits, strict=True))
        refined[batch_size] = metrics
        assert said.most_open <= 1  # complete videos are refined and forgotten
    assert refined[1] == refined[4] == refined[64] and set(refined[1]) == {"coprop/mIoU"}
    assert refined[1]["coprop/mIoU"] != alone["mIoU"]


@pytest.mark.parametrize("unit", ["frame", "clip"])
def test_refined_masks_are_those_of_the_library(data: Path, tmp_path: Path, unit: str) -> None:
    out = tmp_path / "out"
    hook = {
        "type": "coprop_plugin.CoPropHook",
        "control_points": {"type": "ChangePoint"},
        "output_dir": str(out),
        "report": True,
    }
    metrics, witness, _ = run(data, tmp_path / "run", [hook], unit=unit)
    bench, method = open_dataset(data), CoProp(control_points="changepoint", propagator="flow")
    for video in bench.videos("test"):
        if unit == "clip":
            labels = witness.said[video.video_id, -1].numpy()
        else:
            labels = np.concatenate([witness.said[video.video_id, t].numpy() for t in range(5)])
        expected = method(bench.clip(video), Prediction.from_labels(labels))
        stored = read_result(out / video.video_id)
        assert stored.control_points.frames == expected.control_points.frames
        for t in range(5):
            np.testing.assert_array_equal(stored.prediction.label_map(t), expected.prediction.label_map(t))
            np.testing.assert_array_equal(stored.base.label_map(t), labels[t])
        assert (out / video.video_id / "report.html").stat().st_size > 1000
    assert "coprop/mIoU" in metrics


def test_scores_refine_as_in_the_library(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    hook = {"type": "CoPropHook", "base": "scores", "output_dir": str(out)}
    metrics, witness, _ = run(data, tmp_path / "run", [hook], evaluator={"type": "AVSMetric", "use": "scores"})
    bench, before, after = open_dataset(data), Scorer(), Scorer()
    for i, video in enumerate(bench.videos("test")):
        base = Prediction(scores=torch.stack(witness.logits[5 * i : 5 * i + 5]).numpy(), kind="logit")
        refined = CoProp()(bench.clip(video), base).prediction
        before.add(video.video_id, base, bench.truth(video))
        after.add(video.video_id, refined, bench.truth(video))
        stored = read_result(out / video.video_id)
        for t in range(5):
            np.testing.assert_array_equal(stored.prediction.label_map(t), refined.label_map(t))
    for prefix, scorer in (("", before), ("coprop/", after)):
        expected = scorer.compute()
        for name in ("M_J", "M_F"):
            assert metrics[f"{prefix}avsbench/{name}"] == pytest.approx(expected[name], abs=1e-6)


def log_of(folder: Path) -> str:
    (file,) = folder.rglob("*.log")
    return file.read_text()


def test_numbers_are_in_the_log_line_and_the_scalars_file_and_several_hooks_live_together(
    data: Path, tmp_path: Path
) -> None:
    hooks = [
        {"type": "CoPropHook"},
        {"type": "CoPropHook", "prefix": "paper", "fusion": {"type": "Replace"}, "propagator": "hold"},
    ]
    metrics, _, runner = run(data, tmp_path / "run", hooks, log_level="INFO")
    assert {"mIoU", "coprop/mIoU", "paper/mIoU"} == set(metrics)
    scalars = json.loads(next((tmp_path / "run").rglob("*.json")).read_text())
    (line,) = [line for line in log_of(tmp_path / "run").splitlines() if "(test) [8/8]" in line]
    assert all(f"{name}: {value:.4f}" in line for name, value in metrics.items())
    assert {name: scalars[name] for name in metrics} == pytest.approx(metrics)
    assert runner.message_hub.get_scalar("test/coprop/mIoU").current() == metrics["coprop/mIoU"]


def test_control_points_in_metainfo_and_propagation_from_them(data: Path, tmp_path: Path) -> None:
    points = {"type": "RCPGHook", "control_points": {"type": "EveryK", "k": 2}}
    _, witness, _ = run(data, tmp_path / "points", [points])
    assert {meta["control_points"].frames for meta in witness.metas} == {(0, 2, 4)}
    propagate = {"type": "AudioInsertPropagatorHook", "propagator": "hold", "output_dir": str(tmp_path / "out")}
    metrics, witness, _ = run(data, tmp_path / "both", [propagate, points])
    assert "propagated/mIoU" in metrics
    for video in open_dataset(data).videos("test"):
        stored = read_result(tmp_path / "out" / video.video_id)
        for t, keyframe in enumerate((0, 0, 2, 2, 4)):
            said = witness.said[video.video_id, keyframe][0].numpy()
            np.testing.assert_array_equal(stored.prediction.label_map(t), said)
    with pytest.raises(CoPropError, match="RCPGHook"):
        run(data, tmp_path / "alone", [propagate])


@TRANSFORMS.register_module(force=True)
class KnownPoints:
    """A data set of the user that knows the control points itself."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        return {**results, "control_points": ControlPoints(np.array([1, 0, 0, 1, 0]))}


@pytest.mark.parametrize("unit", ["frame", "clip"])
def test_control_points_of_the_data_set_are_propagated_from(data: Path, tmp_path: Path, unit: str) -> None:
    hook = {"type": "AudioInsertPropagatorHook", "propagator": {"type": "Hold"}, "output_dir": str(tmp_path / "out")}
    settings = toy.config(data, tmp_path / "run", hooks=[hook], unit=unit)
    settings.test_dataloader.dataset.pipeline.insert(2, {"type": "KnownPoints"})
    assert "propagated/mIoU" in Runner.from_cfg(settings).test()
    for video in open_dataset(data).videos("test"):
        stored = read_result(tmp_path / "out" / video.video_id)
        assert stored.control_points.frames == (0, 3)
        np.testing.assert_array_equal(stored.prediction.label_map(4), stored.base.label_map(3))


def test_training_is_not_disturbed_and_the_best_is_saved_by_the_refined_metric(data: Path, tmp_path: Path) -> None:
    histories = {}
    out = tmp_path / "masks"  # written by each epoch anew
    for name, hooks in (
        ("without", []),
        ("with", [{"type": "CoPropHook", "fusion": "replace", "output_dir": str(out)}]),
    ):
        settings = toy.config(data, tmp_path / name, hooks=hooks)
        loader = settings.pop("test_dataloader")
        settings.pop("test_cfg")
        settings.update(
            val_dataloader=loader,
            val_evaluator=settings.pop("test_evaluator"),
            val_cfg={},
            train_dataloader={**loader, "sampler": {"type": "DefaultSampler", "shuffle": True}},
            train_cfg={"by_epoch": True, "max_epochs": 2, "val_interval": 1},
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
            randomness={"seed": 3},
            default_hooks={
                "checkpoint": {
                    "type": "CheckpointHook",
                    "save_best": "coprop/mIoU" if hooks else "mIoU",
                }
            },
        )
        runner = Runner.from_cfg(settings)
        runner.train()
        histories[name] = runner.model.weight.item()
        assert runner.val()["mIoU"]
    assert histories["with"] == histories["without"] != 0
    assert list((tmp_path / "with").glob("best_coprop*mIoU_epoch_*.pth"))
    assert read_result(out / "ms3_0000000").prediction.num_frames == 5
    # torch's safe loader takes mmengine's checkpoint, log histories included
    checkpoint = torch.load(tmp_path / "with" / "epoch_2.pth", weights_only=True)
    assert "val/coprop/mIoU" in checkpoint["message_hub"]["log_scalars"]


def test_random_numbers_go_on_as_if_nothing_had_drawn() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with undisturbed_randomness():
        torch.rand(100)
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        np.random.rand(5)  # noqa: NPY002
    assert torch.equal(torch.rand(3), expected)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_overlays_show_both_sides_through_the_visualizer(data: Path, tmp_path: Path) -> None:
    settings = toy.config(data, tmp_path / "run", hooks=[{"type": "CoPropHook", "overlays": 1}])
    with pytest.raises(CoPropError, match=r"keeps nothing.*LocalVisBackend"):
        Runner.from_cfg(settings).test()
    settings.visualizer.update(name="both sides", vis_backends=[{"type": "LocalVisBackend"}])
    Runner.from_cfg(settings).test()
    pictures = sorted((tmp_path / "run").rglob("vis_image/*.png"))
    assert [path.name for path in pictures] == [f"coprop_ms3_0000000_{t}.png" for t in range(5)]
    height, width = read_rgb(pictures[0]).shape[:2]
    assert width > 2 * 240 - 1 and height > 240  # two panels, their names above and the sound below


def test_the_report_shows_the_truth_scores_and_settings(data: Path, tmp_path: Path) -> None:
    hook = {"type": "CoPropHook", "fusion": {"type": "Replace"}, "output_dir": str(tmp_path / "out"), "report": True}
    run(data, tmp_path / "run", [hook])
    folder = tmp_path / "out" / "ms3_0000000"
    page = (folder / "report.html").read_text()
    assert all(
        words in page for words in ("mean frame IoU with the truth", "alignment_binary", "fusion.type", "Replace")
    )
    assert read_result(folder).manifest["configuration"] == {
        "hook": "CoPropHook",
        "control_points": "boundary",
        "propagator": "flow",
        "fusion": {"type": "Replace"},
        "base": "labels",
    }


def test_the_second_evaluator_is_the_first_ones_twin_with_files_of_its_own(tmp_path: Path) -> None:
    metric = toy.Overlap(collect_device="cpu")
    metric.output_dir, metric.results = str(tmp_path / "files"), [1.0]
    first = Evaluator([metric, DumpResults(str(tmp_path / "dump.pkl"))])
    first.dataset_meta = {"classes": ("background", "object")}
    (twin,) = second_evaluator(first, "coprop").metrics
    assert type(twin) is toy.Overlap and twin.results == [] and metric.results == [1.0]
    assert twin.output_dir == str(tmp_path / "files" / "coprop") and twin.dataset_meta == first.dataset_meta


def sample(frame: int = 0, **meta: Any) -> BaseDataElement:
    keys = {"video_id": "v", "num_frames": 2, "frame_idx": frame, "img_path": "x.png", "audio_path": "x.wav", **meta}
    element = BaseDataElement(metainfo={k: v for k, v in keys.items() if v is not None})
    element.pred_sem_seg = PixelData(data=torch.zeros(1, 4, 4, dtype=torch.long))
    return element


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(CoPropError, match=r"lacks \['audio_path'\].*PackAVSInputs"):
        SampleInfo.of(sample(audio_path=None).metainfo)
    with pytest.raises(CoPropError, match="label 0 must be the background"):
        SampleInfo.of(sample(reduce_zero_label=True).metainfo)
    video = VideoSamples(SampleInfo.of(sample().metainfo), "labels")
    video.add(SampleInfo.of(sample().metainfo), sample())
    with pytest.raises(CoPropError, match="frame 0 came twice"):
        video.add(SampleInfo.of(sample().metainfo), sample())
    assert video.samples[0].pred_sem_seg.data.dtype == torch.uint8 and not video.complete


def test_a_single_channel_is_a_probability_with_labels_of_its_own() -> None:
    sigmoid = np.random.default_rng(0).random((2, 1, 4, 4), dtype=np.float32)
    prediction = prediction_of_logits(
        sigmoid, (sigmoid[:, 0] > 0.3).astype(np.int16), ClassChannels((1,), {}), source="x"
    )
    np.testing.assert_array_equal(prediction.frame(1), np.concatenate([1 - sigmoid[1], sigmoid[1]]))
    np.testing.assert_array_equal(prediction.label_map(1), sigmoid[1, 0] > 0.3)
    assert prediction.kind == "probability"


def test_a_video_that_is_not_whole_is_an_error(data: Path, tmp_path: Path) -> None:
    settings = toy.config(data, tmp_path / "run", hooks=[{"type": "CoPropHook"}])
    settings.test_dataloader.dataset["indices"] = 7
    with pytest.raises(CoPropError, match=r"1 videos are not complete.*\[0, 1\] came, of 5"):
        Runner.from_cfg(settings).test()
    settings.test_dataloader["sampler"] = {"type": "DefaultSampler", "shuffle": True}
    settings.test_dataloader.dataset["indices"] = None
    settings.custom_hooks[0]["max_open_frames"] = 2
    with pytest.raises(CoPropError, match="wait for the rest of their videos"):
        Runner.from_cfg(settings).test()


def test_labels_of_a_head_with_one_channel_are_labels() -> None:
    """mmseg gives the labels of ``out_channels=1`` as floats."""
    labels = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    info = SampleInfo("v", 1, (0,), ("a.png",), "a.wav", "avsbench")
    sample = BaseDataElement(
        pred_sem_seg=PixelData(data=labels),
        gt_sem_seg=PixelData(data=torch.tensor([[[0, 1], [1, 255]]])),
        seg_logits=PixelData(data=labels),
    )
    for kept in ("labels", "scores"):
        video = VideoSamples(info, kept)
        video.add(info, sample)
        base = video.base(ClassChannels((1,), {1: "sounding"}))
        assert base.label_map(0).tolist() == [[0, 1], [1, 0]] and sample.pred_sem_seg.data.dtype == torch.float32
