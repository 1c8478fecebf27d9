"""The published metrics written as plain loops, in our own words: slow, obvious, and the oracle of the fast ones.

Torch throughout, float32, one threshold after the other: what a published test script does on the CPU.
"""

from __future__ import annotations

import torch

NUM_THRESHOLDS = 255


def binary_iou_of_frames(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """``(N,)`` for logits and 0/1 float truth ``(N, H, W)``."""
    values = []
    for z, g in zip(logits, truth, strict=True):
        predicted = (torch.sigmoid(z) > 0.5).float()
        if g.sum() == 0:
            both = ((1 - predicted) * (1 - g)).sum()
            either = torch.tensor(float(g.numel()))
        else:
            both = (predicted * g).sum()
            either = torch.maximum(predicted, g).sum()
        values.append(both / (either + 1e-7))
    return torch.stack(values)


def binary_iou(logits: torch.Tensor, truth: torch.Tensor) -> float:
    """The value of one batch."""
    return float(binary_iou_of_frames(logits, truth).sum() / len(logits))


def precision_recall(probability: torch.Tensor, truth: torch.Tensor, thresholds: torch.Tensor):
    """``(255,)`` each, of one frame."""
    precision, recall = torch.zeros(len(thresholds)), torch.zeros(len(thresholds))
    for i, threshold in enumerate(thresholds):
        reached = (probability >= threshold).float()
        hits = (reached * truth).sum()
        precision[i] = hits / (reached.sum() + 1e-20)
        recall[i] = hits / (truth.sum() + 1e-20)
    return precision, recall


def f_of_thresholds(precision: torch.Tensor, recall: torch.Tensor) -> torch.Tensor:
    f = 1.3 * precision * recall / (0.3 * precision + recall)
    f[f != f] = 0
    return f


def binary_f(logits: torch.Tensor, truth: torch.Tensor, *, scores_are: str = "logit") -> float:
    """The value of one batch: frames without an object are left out, then the maximum of the mean curve."""
    thresholds = torch.linspace(0, 1 - 1e-10, NUM_THRESHOLDS)
    probability = torch.sigmoid(logits) if scores_are == "logit" else logits
    total, frames = torch.zeros(NUM_THRESHOLDS), 0
    for p, g in zip(probability, truth, strict=True):
        if g.mean() == 0:
            continue
        total = total + f_of_thresholds(*precision_recall(p, g, thresholds))
        frames += 1
    return float((total / frames).max()) if frames else 0.0


def binary_test_set(logits: torch.Tensor, truth: torch.Tensor, *, batch: int) -> tuple[float, float]:
    """Mean of the batch values for logits and truth ``(V, T, H, W)``, ``batch`` videos at a time."""
    ious, fs = [], []
    for start in range(0, len(logits), batch):
        z, g = logits[start : start + batch].flatten(0, 1), truth[start : start + batch].flatten(0, 1)
        ious.append(binary_iou(z, g))
        fs.append(binary_f(z, g))
    return sum(ious) / len(ious), sum(fs) / len(fs)


def semantic_sums(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``iou_sum, f_sum, count (C,)`` over frames: logits ``(N, C, H, W)``, target ``(N, H, W)`` with -1 ignored."""
    classes = logits.shape[1]
    labels = torch.argmax(torch.softmax(logits, dim=1), dim=1)
    return label_sums(labels, target, classes)


def label_sums(labels: torch.Tensor, target: torch.Tensor, classes: int):
    """The same for label maps ``(N, H, W)``."""
    iou_sum, f_sum, count = torch.zeros(classes), torch.zeros(classes), torch.zeros(classes)
    for predicted, truth in zip(labels.float() + 1, target.float() + 1, strict=True):
        predicted = predicted * (truth > 0).float()  # an ignored pixel becomes 0, outside the histograms
        agreed = predicted * (predicted == truth).float()
        both, area, wanted = (torch.histc(x, classes, 1, classes) for x in (agreed, predicted, truth))
        either = area + wanted - both
        iou_sum += both / (either + 2.220446049250313e-16)
        f_sum += f_of_thresholds(both / area, both / wanted)
        count += (either > 0).float()
    return iou_sum, f_sum, count


def semantic_scores(sums: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> tuple[float, float]:
    """The published mIoU and F: a class that was never seen counts 0."""
    iou_sum, f_sum, count = sums
    means = [torch.nan_to_num(total / count, nan=0.0) for total in (iou_sum, f_sum)]
    return float(means[0].mean()), float(means[1].mean())


def colours_to_labels(rgb: torch.Tensor, palette: torch.Tensor) -> torch.Tensor:
    """``(H, W)`` class of each ``(H, W, 3)`` colour, class after class; an unknown colour is background."""
    labels = torch.zeros(rgb.shape[:2], dtype=torch.int64)
    for c, colour in enumerate(palette):
        labels[(rgb == colour).all(dim=2)] = c
    return labels
