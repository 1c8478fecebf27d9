"""The published way to the numbers that ``rescore.py`` compares with: plain loops, one thread."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from coprop_plugin.datasets.avsbench import AVSBench
from coprop_plugin.masks.palette import voc_palette

# The plain loop is the tests' oracle too.
published = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent.parent / "tests/published_metrics.py")))

CLASSES = 71


def published_test_set(probability: torch.Tensor, truth: torch.Tensor, *, batch: int) -> tuple[float, float]:
    """M_J and M_F of ``(V, T, H, W)``: the mean over batches of videos; the IoU takes logits, whose sign is all it sees."""
    values = []
    for i in range(0, len(probability), batch):
        p, g = probability[i : i + batch].flatten(0, 1), truth[i : i + batch].flatten(0, 1)
        values.append((published.binary_iou(1000 * (p - 0.5), g), published.binary_f(p, g, scores_are="probability")))
    m_j, m_f = np.mean(values, axis=0)
    return float(m_j), float(m_f)


def published_scores_of_colours(dataset: AVSBench, predictions: Path, *, batch: int) -> tuple[float, float]:
    """M_J and M_F as published test scripts get them: files to colours to labels, class after class."""
    palette = torch.from_numpy(voc_palette()[:CLASSES].copy())

    def labels(path: Path) -> torch.Tensor:
        return published.colours_to_labels(torch.from_numpy(np.array(Image.open(path).convert("RGB"))), palette)

    videos = dataset.videos("test")
    parts = []
    for some in (videos[i : i + batch] for i in range(0, len(videos), batch)):
        files = [(v, t, dataset.mask_folder(v)) for v in some for t in range(dataset.num_frames(v))]
        guess = [labels(predictions / dataset.layout.prediction_file(v, t)) for v, t, _ in files]
        truth = [labels(dataset.path(dataset.layout.mask_file(v, t, folder=folder))) for v, t, folder in files]
        parts.append(published.label_sums(torch.stack(guess), torch.stack(truth), CLASSES))
    return published.semantic_scores(tuple(sum(part) for part in zip(*parts, strict=True)))
