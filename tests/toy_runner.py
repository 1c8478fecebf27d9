"""A small AVSBench-like data set, a model whose answer is a rule, and an MMEngine runner over both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import METRICS, MODELS
from mmengine.runner import Runner as MMEngineRunner
from mmengine.structures import PixelData

import coprop_plugin.registry  # noqa: F401
from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.structures import Clip

SIZE = (64, 64)


def toy_data(folder: Path, *, kind: str = "ms3", videos: int = 3) -> Path:
    """A data set of which all videos are for testing."""
    write_dataset(folder, kind=kind, videos=videos, splits=("test",), size=SIZE)
    return folder


@MODELS.register_module(force=True)
class LateModel(BaseModel):
    """Says of each frame what is bright in it, and forgets the object in every fourth frame."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        if mode == "loss":
            return {"loss": self.weight**2 + torch.rand(()) * self.weight}
        clip = isinstance(inputs, dict)
        for pictures, sample in zip(inputs["frames"] if clip else inputs, data_samples, strict=True):
            brightness = pictures.float().mean(dim=-3)  # (H, W) or (T, H, W)
            logits = torch.stack([brightness.mean() - brightness, brightness - brightness.mean()], dim=-3) / 32
            labels = logits.argmax(dim=-3)
            if not clip:
                labels *= sample.frame_idx % 4 != 3
                sample.seg_logits = PixelData(data=logits)
                labels = labels[None]
            sample.pred_sem_seg = PixelData(data=labels)
        return data_samples


@METRICS.register_module(force=True)
class Overlap(BaseMetric):
    """Mean IoU of the foreground, the mean over samples."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        for sample in data_samples:
            truth, found = (sample[key]["data"].cpu() for key in ("gt_sem_seg", "pred_sem_seg"))
            truth = (truth == 1) & (truth != 255)
            either = (truth | (found > 0)).sum()
            self.results.append(float((truth & (found > 0)).sum() / either) if either else 1.0)

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {"mIoU": 100 * sum(results) / len(results)}


class Runner(MMEngineRunner):
    """Without the description of compilers and GPUs, which takes a second."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        pass


def brightness(clip: Clip) -> np.ndarray:
    """A model of sounding objects: bright pixels."""
    return np.asarray(clip.frames).mean(axis=-1).astype(np.float32) / 255


PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "LoadAVSMasks"}, {"type": "PackAVSInputs"}]
CLIP_PIPELINE = [{"type": "LoadClip"}, {"type": "LoadAVSMasks"}, {"type": "PackAVSInputs"}]


def loader(data: Path, *, unit: str = "frame", batch_size: int = 2, sampler: str = "VideoSampler") -> dict[str, Any]:
    pipeline = PIPELINE if unit == "frame" else CLIP_PIPELINE
    return {
        "batch_size": batch_size,
        "num_workers": 0,
        "sampler": {"type": sampler} if sampler == "VideoSampler" else {"type": sampler, "shuffle": False},
        "dataset": {"type": "AVSBenchDataset", "data_root": str(data), "unit": unit, "pipeline": pipeline},
    }


def config(
    data: Path,
    work_dir: Path,
    *,
    hooks: list[dict[str, Any]],
    evaluator: Any = None,
    log_level: str = "WARNING",
    **options: Any,
) -> Config:
    return Config(
        {
            "work_dir": str(work_dir),
            "default_scope": "mmengine",
            # MMEngine's log goes to whoever had the name in the same second: a test's folder makes it one of its own.
            "experiment_name": "-".join(work_dir.parts[-2:]),
            "model": {"type": "LateModel"},
            "test_dataloader": loader(data, **options),
            "test_evaluator": evaluator or {"type": "Overlap"},
            "test_cfg": {},
            "custom_hooks": hooks,
            "visualizer": {"type": "Visualizer", "name": str(work_dir)},
            "log_level": log_level,
        }
    )
