"""The configs that come with the package: each is read, its data sets, hooks, metrics and models are built."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import toy_runner as toy
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, MODELS, DefaultScope
from rule_weights import rule_state
from torch import Tensor

from coprop_plugin.adapters.aavs.adapter import VARIANTS as AAVS
from coprop_plugin.adapters.avsegformer.adapter import VARIANTS as AVSEGFORMER
from coprop_plugin.adapters.catr.adapter import VARIANTS as CATR
from coprop_plugin.adapters.tpavi.adapter import VARIANTS as TPAVI
from coprop_plugin.adapters.vct.adapter import VARIANTS as VCT
from coprop_plugin.audio.vggish import VGGish
from coprop_plugin.datasets.write import Simulation, write_dataset
from coprop_plugin.engine.avsbench import AVSBenchDataset
from coprop_plugin.engine.config_files import config_names, find_config
from coprop_plugin.engine.coprop_hook import CoPropHook
from coprop_plugin.engine.run import read_config, test_config as run_test, train_config
from coprop_plugin.errors import CheckpointError, CoPropError, PredictionError
from coprop_plugin.weights.variants import Variant

READY = [name for name in config_names() if not name.startswith("_base_")]
PUBLISHED = [name for name in READY if name.split("/")[0] not in ("mmseg", "saved_masks")]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds all three data sets, with the MS3 test videos among AVSS's: one of them changes its class."""
    folder = tmp_path_factory.mktemp("data")
    for kind in ("s4", "ms3", "avss"):
        splits, perfect = ("train", "val", "test"), [Simulation("perfect")]
        write_dataset(folder / kind, kind=kind, videos=6, splits=splits, size=toy.SIZE, simulations=perfect)
        (data,) = (path for path in (folder / kind).iterdir() if path.name not in ("scenes", "predictions"))
        data.rename(folder / data.name)
    (ms3,) = (
        row for row in csv.DictReader((folder / "Multi-sources" / "ms3_meta_data.csv").open()) if row["split"] == "test"
    )
    table = folder / "AVSS" / "metadata.csv"
    header, *rows = csv.reader(table.open())
    twin = dict(zip(header, next(row for row in rows if "test" in row), strict=True))
    shutil.copytree(folder / "AVSS" / "v2" / twin["uid"], folder / "AVSS" / "v1m" / "twin")
    entry = {**twin, "vid": ms3["video_id"], "uid": "twin", "label": "v1m"}
    with table.open("a") as file:
        csv.writer(file, lineterminator="\n").writerow([entry[name] for name in header])
    return folder


def config_over(name: str, data: Path) -> Config:
    """A ready config that reads its data from a folder."""
    config = Config.fromfile(find_config(name))
    for split in ("train", "val", "test"):
        if loader := config.get(f"{split}_dataloader"):
            loader.dataset.data_root = str(data)
            loader.num_workers, loader.persistent_workers = 0, False
            if loader.dataset.get("semantic_root"):
                loader.dataset.semantic_root = str(data)
    return config


def expected_classes(name: str) -> int:
    return 71 if "avss" in name else 2


@pytest.mark.parametrize("name", READY)
def test_data_hooks_and_metrics_are_built(name: str, benchmarks: Path) -> None:
    config = config_over(name, benchmarks)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        (hook,) = map(HOOKS.build, config.custom_hooks)
        assert type(hook) is CoPropHook and hook.base == ("scores" if name in PUBLISHED else "labels")
        for split in ("train", "val", "test"):
            if not (loader := config.get(f"{split}_dataloader")):
                continue
            dataset = DATASETS.build(loader.dataset)
            assert len(dataset.metainfo["classes"]) == expected_classes(name)
            sample = dataset[0]["data_samples"]
            assert sample.gt_sem_seg.data.max() <= 255 and sample.video_id
            if split != "train":
                sampler = DATA_SAMPLERS.build(loader.sampler, default_args={"dataset": dataset, "seed": 0})
                assert sorted(sampler) == list(range(len(dataset)))
        Evaluator(config.test_evaluator)
    if name.endswith("moc.py"):
        assert [dataset.get_data_info(i)["video_id"] for i in range(len(dataset))] == ["ms3_0000005"] * len(dataset)


@pytest.mark.needs("data")
@pytest.mark.parametrize("unit", ["frame", "clip"])
def test_moc_is_a_data_set_by_rule(data: Path, unit: Literal["frame", "clip"]) -> None:
    """Of the two composed MS3 clips one changes what sounds; its class masks stand in the AVSS set beside it."""
    folder = data / "composed"
    options: dict[str, Any] = {"layout": "ms3", "videos": "moc", "unit": unit}
    moc = AVSBenchDataset(str(folder), semantic_root=str(folder / "avss"), **options)
    assert {moc.get_data_info(i)["video_id"] for i in range(len(moc))} == {"o2_car_5s"}
    assert len(moc) == (5 if unit == "frame" else 1)
    with pytest.raises(CoPropError, match="Give the AVSS data set"):
        AVSBenchDataset(str(folder), **options)
    with pytest.raises(CoPropError, match="unknown subset of videos 'mco'"):
        AVSBenchDataset(str(folder), layout="ms3", videos="mco")


VGGISH = [Variant("vggish", "vggish", lambda _: VGGish())]
VARIANTS = {"avsegformer": AVSEGFORMER, "tpavi": TPAVI, "catr": CATR, "aavs": AAVS, "vct": VCT}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_named_with_the_variant_that_their_checkpoint_needs(name: str) -> None:
    """S4's and MS3's checkpoints of one model look alike: the config must say which is meant."""
    folder, task = name.removesuffix(".py").split("/")
    model = Config.fromfile(find_config(name)).model.to_dict()
    trained_on = task.replace("moc", "ms3")
    if folder in ("avsegformer", "tpavi", "vct"):
        assert model["adapter"]["variant"] == (trained_on if folder == "vct" else f"pvt_v2_b5-{trained_on}")
        assert model["adapter"]["variant"] in [variant.name for variant in VARIANTS[folder]]
    ending = "safetensors" if folder == "kpf" else "pth"
    assert folder == "aavs" or model["adapter"]["checkpoint"] == f"checkpoints/{folder}_{trained_on}.{ending}"
    with pytest.raises(CheckpointError, match=rf"checkpoints/\w+\.{ending}"):
        MODELS.build(model)


def made_up(variants: Sequence[Variant], name: str) -> dict[str, Tensor]:
    """Weights for a published model."""
    (variant,) = (each for each in variants if each.name == name)
    return rule_state(lambda: variant.make({}))


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["avsegformer/ms3.py", "tpavi/avss.py", "catr/s4.py", "aavs/avss.py"])
def test_published_models_are_built(name: str, tmp_path: Path) -> None:
    folder = name.split("/")[0]
    model = Config.fromfile(find_config(name)).model.to_dict()
    adapter: dict[str, Any] = model["adapter"]
    wanted = adapter.get("variant") or {"catr": "pvt_v2_b5", "aavs": "stage2"}[folder]
    files = {
        "checkpoint": (VARIANTS[folder], wanted),
        "audio_checkpoint": (VGGISH, "vggish"),
        "first_stage": (AAVS, "stage1"),
    }
    for option in adapter.keys() & files:
        adapter[option] = tmp_path / f"{option}.pth"
        torch.save(made_up(*files[option]), adapter[option])
    built = MODELS.build(model).adapter
    assert built.variant.name == wanted and len(built.class_ids) == expected_classes(name) - 1


@pytest.mark.parametrize("task", ["s4", "ms3", "avss", "moc"])
def test_saved_masks_are_a_model(task: str, benchmarks: Path, tmp_path: Path) -> None:
    """Perfect predictions as published code names them, read by the ready config, score as the truth."""
    config = config_over(f"saved_masks/{task}.py", benchmarks)
    with pytest.raises(PredictionError, match="no saved masks"):
        MODELS.build(config.model)
    config.model.adapter.path = str(
        benchmarks / task.replace("moc", "ms3") / "predictions" / str(Simulation("perfect"))
    )
    if task == "avss":
        config.test_dataloader.dataset.videos = ["avss_0000005_0_10000"]  # the twin has no predictions
    config.work_dir = str(tmp_path)
    config.experiment_name = config.visualizer["name"] = tmp_path.name
    config.log_level = "WARNING"
    metrics = run_test(config)
    right = "alignment/alignment_set" if task == "avss" else "avsbench/M_J"
    assert metrics[right] == 1 and f"coprop/{right}" in metrics


@pytest.mark.parametrize("way", ["by its name", pytest.param("inherited", marks=pytest.mark.heavy)])
def test_a_model_of_mmseg_trains_and_the_best_by_the_refined_metric_is_kept(
    way: str, benchmarks: Path, tmp_path: Path
) -> None:
    name = "mmseg/segformer_ms3.py"
    if way == "inherited":
        path = tmp_path / "mine.py"
        path.write_text(f"_base_ = ['coprop_plugin::{name}'] if __import__('coprop_plugin') else []\n")
        name = str(path)
    loaders = [f"{split}_dataloader" for split in ("train", "val", "test")]
    options = [f"{loader}.dataset.data_root={benchmarks}" for loader in loaders]
    options += [f"{loader}.num_workers=0" for loader in loaders]
    options += [f"{loader}.persistent_workers=False" for loader in loaders[:1]]
    options += ["train_dataloader.batch_size=2", "train_cfg.max_iters=2", "train_cfg.val_interval=2"]
    options += ["model.decode_head.norm_cfg.type=BN", "default_hooks.checkpoint.interval=2"]
    config = read_config(name, options=options, work_dir=tmp_path / "work")
    config.experiment_name = config.visualizer["name"] = tmp_path.name
    config.log_level = "WARNING"
    train_config(config)
    (best,) = (tmp_path / "work").glob("best_coprop*mIoU_iter_2.pth")
    config = read_config(name, options=options, work_dir=tmp_path / "test")
    config.experiment_name = config.visualizer["name"] = f"{tmp_path.name}-test"
    metrics = run_test(config, str(best))
    assert {"mIoU", "coprop/mIoU", "avsbench/M_J", "coprop/avsbench/M_J"} <= set(metrics)
