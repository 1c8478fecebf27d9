"""Our numbers against those of the published functions, and our own definitions against their worked examples.

Every case file whose name begins with a family's name is taken, with whatever cases its manifest lists;
one file, since all families share that rule and its tolerances.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coprop_plugin.datasets import moc
from coprop_plugin.masks.labels import channel_map
from coprop_plugin.masks.palette import colours_to_labels
from coprop_plugin.masks.probability import sigmoid
from coprop_plugin.masks.resize import bilinear
from coprop_plugin.metrics import alignment, binary, catr, control_points, davis, semantic, split, temporal
from coprop_plugin.metrics.bootstrap import paired_bootstrap
from coprop_plugin.metrics.class_counts import class_counts
from coprop_plugin.metrics.protocols import Scorer, score
from coprop_plugin.structures import AVSBENCH_CLASSES, Prediction, change_flags, class_sets

REFERENCE = Path(
    os.environ.get("COPROP_REFERENCE_DIR", Path(__file__).resolve().parents[2] / "../shared/reference")
).resolve()
FAMILIES = (
    "metrics_binary",
    "metrics_binary_two_channel",
    "metrics_catr",
    "metrics_davis",
    "metrics_palette",
    "metrics_semantic",
    "alignment_examples",
    "aavs_metrics",
    "vct_metrics",
)
SILENT_FIRST = "_first_frame_empty"
SUMS = 1e-5  # tolerance of per-class sums, as the cases ask; scores have their own in the manifest
BATCHES = {"bs1": 1, "bs2": 2, "bs4": 4, "bsall": None}


def published(family: str) -> Any:
    """Parametrises a test with the case files of a family (each belongs to the longest family name that fits)."""
    found = [
        path.name
        for path in sorted((REFERENCE / "cases").glob("*"))
        if max((f for f in FAMILIES if path.stem.startswith(f)), key=len, default=None) == family
    ]
    names = found or [f"{family}.npz"]
    marks = [[pytest.mark.needs("reference"), pytest.mark.parity(name)] for name in names]
    return pytest.mark.parametrize("file", [pytest.param(n, marks=m) for n, m in zip(names, marks, strict=True)])


def cases(file: str) -> Iterator[tuple[str, dict[str, np.ndarray], float]]:
    """Name, arrays and tolerance of every case in a file."""
    with np.load(REFERENCE / "cases" / file, allow_pickle=False) as stored:
        manifest = json.loads(str(stored["manifest"]))
        for name, entry in manifest.items():
            if name != "_header":
                yield name, {key: stored[f"{name}.{key}"] for key in entry["arrays"]}, entry["tol"]


def read_json(file: str) -> dict[str, Any]:
    return json.loads((REFERENCE / "cases" / file).read_text())


def close(ours: Any, theirs: Any, tolerance: float, what: str) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=what)


def check_batches(videos: list[binary.BinaryFrames], case: dict[str, np.ndarray], tolerance: float, what: str) -> None:
    for tag, batch in BATCHES.items():
        if f"miou_{tag}" not in case:
            continue
        size = batch or len(videos)
        batches = [binary.join(videos[i : i + size]) for i in range(0, len(videos), size)]
        close([b.mean_iou() for b in batches], case[f"batch_iou_{tag}"], tolerance, f"{what} iou {tag}")
        close([b.max_f() for b in batches], case[f"batch_f_{tag}"], tolerance, f"{what} F {tag}")
        theirs = case[f"miou_{tag}"], case[f"fscore_{tag}"]
        close(binary.mean_over_batches(videos, batch=batch), theirs, tolerance, f"{what} {tag}")


@published("metrics_binary")
def test_binary(file: str) -> None:
    for name, case, tolerance in cases(file):
        truth, probability = case["gt"], sigmoid(case["logits"])
        videos = [binary.binary_frames(p, g) for p, g in zip(probability, truth, strict=True)]
        close([v.iou for v in videos], case["frame_iou"], tolerance, name)
        check_batches(videos, case, tolerance, name)
        if "precision" in case:
            counts = [
                [binary.count_frame(*f) for f in zip(p, g, strict=True)]
                for p, g in zip(probability, truth, strict=True)
            ]
            for v, video in enumerate(counts):
                reached, hits, area = (
                    np.stack([getattr(c, key) for c in video]) for key in ("reached", "hits", "truth")
                )
                sounding = area > 0
                precision, recall = binary.precision_recall(reached, hits, area)
                close(precision[sounding], case["precision"][v][sounding], tolerance, f"{name} precision")
                close(recall[sounding], case["recall"][v][sounding], tolerance, f"{name} recall")
                assert np.isnan(case["precision"][v][~sounding]).all()


@published("metrics_binary")
def test_binary_through_the_protocols(file: str) -> None:
    """The way of users: predictions of logits, probabilities and both ways round a stored scorer."""
    for name, case, tolerance in cases(file):
        if not np.isfinite(case["logits"]).all() or case["gt"].dtype != np.uint8:
            continue  # not finite: refused; soft truth: no label map
        for kind, values in (("logit", case["logits"]), ("probability", sigmoid(case["logits"]))):
            for tag, batch in BATCHES.items():
                if f"miou_{tag}" in case:
                    scorer = Scorer(f"avsbench:batch={batch or 'all'}")
                    for v, (video, truth) in enumerate(zip(values, case["gt"], strict=True)):
                        scorer.add(str(v), Prediction.from_foreground(video, kind=kind), Prediction.from_labels(truth))
                    scores = Scorer.from_json(scorer.to_json()).compute()
                    close(scores["M_J"], case[f"miou_{tag}"], tolerance, f"{name} {kind} {tag}")
                    close(scores["M_F"], case[f"fscore_{tag}"], tolerance, f"{name} {kind} {tag}")


@published("metrics_binary_two_channel")
def test_two_channels(file: str) -> None:
    for name, case, tolerance in cases(file):
        videos = [binary.two_channel_frames(s, g) for s, g in zip(case["logits"], case["gt"], strict=True)]
        close([v.iou for v in videos], case["frame_iou"], tolerance, name)
        check_batches(videos, case, tolerance, name)


@published("metrics_binary_two_channel")
def test_two_channels_through_the_protocols(file: str) -> None:
    for name, case, tolerance in cases(file):
        scorer = Scorer("stepping-stones:size=truth")
        for v, (scores, truth) in enumerate(zip(case["logits"], case["gt"], strict=True)):
            scorer.add(str(v), Prediction(scores=scores, kind="logit"), Prediction.from_labels(truth))
        ours = scorer.compute()
        close((ours["M_J"], ours["M_F"]), (case["miou_bs1"], case["fscore_bs1"]), tolerance, name)


@published("metrics_catr")
def test_catr(file: str) -> None:
    for name, case, tolerance in cases(file):
        selected, logits = catr.select_queries(case["pred_is_referred"], case["pred_masks"])
        np.testing.assert_array_equal(selected, case["selected"], err_msg=name)
        close(logits[:, ::8, ::8], case["selected_up_stride8"], tolerance, name)
        truth = np.unpackbits(case["gt_packed"], axis=-1).reshape(case["gt_shape"])
        frames = binary.binary_frames(sigmoid(logits), truth)
        close(frames.iou, case["frame_iou"], tolerance, name)
        close((frames.mean_iou(), frames.max_f()), (case["miou"], case["fscore"]), tolerance, name)
        scores = score(Prediction.from_foreground(logits, kind="logit"), Prediction.from_labels(truth), protocol="catr")
        close((scores["M_J"], scores["M_F"]), (case["miou"], case["fscore"]), tolerance, name)


@published("metrics_semantic")
def test_semantic(file: str) -> None:
    variants = {"": "", "/drop_last": "_drop_last", "/drop_first": "_drop_first", "/present_only": "_present_only"}
    for name, case, tolerance in cases(file):
        if "logits" in case:
            logits = case["logits"].astype(np.float32)
            predicted = np.stack([channel_map(x, "logit") for x in logits.reshape(-1, *logits.shape[2:])])
            target, classes = case["target"].reshape(predicted.shape), logits.shape[2]
            np.testing.assert_array_equal(predicted, case["pred_label"].reshape(predicted.shape), err_msg=name)
        else:
            predicted, target, classes = case["pred"], case["target"], len(case["count"])
        counts = np.stack([class_counts(p, g, classes) for p, g in zip(predicted, target, strict=True)])
        sums = semantic.class_sums(counts)
        for ours, key in zip(sums, ("iou_sum", "fscore_sum", "count"), strict=True):
            close(ours, case[key], SUMS, f"{name} {key}")
        scores = semantic.published_scores(*sums)
        for suffix, theirs in variants.items():
            close(scores[f"M_J{suffix}"], case[f"miou{theirs}"], tolerance, f"{name} M_J{suffix}")
            close(scores[f"M_F{suffix}"], case[f"fscore{theirs}"], tolerance, f"{name} M_F{suffix}")
        assert scores["classes_seen"] == case["n_classes_present"]
        if "frame_iou" in case:
            for frame, iou, f in zip(
                counts, *(case[k].reshape(-1, classes) for k in ("frame_iou", "frame_fscore")), strict=True
            ):
                ours_iou, ours_f, seen = semantic.frame_class_scores(frame)
                close(ours_iou[seen], iou[seen], tolerance, name)
                close(ours_f[seen], f[seen], tolerance, name)
        pooled = semantic.pooled_scores(*counts.sum(axis=0))
        close(pooled["iou"], case["dataset_iou"], tolerance, f"{name} per data set")
        close(semantic.mean_of_defined(pooled["iou"]), case["dataset_miou"], tolerance, name)
        close(semantic.mean_of_defined(pooled["iou"][1:]), case["dataset_miou_foreground"], tolerance, name)
        close(semantic.mean_of_defined(pooled["f"]), case["dataset_fscore"], tolerance, name)
        if "binary_miou_lastbg" in case:
            ours = semantic.binary_miou_last_background(predicted, target, num_classes=classes)
            close(ours, case["binary_miou_lastbg"], tolerance, name)


@published("metrics_semantic")
def test_semantic_through_the_protocols(file: str) -> None:
    for name, case, tolerance in cases(file):
        if "logits" not in case:
            continue
        ids = tuple(range(1, case["logits"].shape[2]))
        scorer = Scorer(["avsbench", "per-dataset"])
        for v, (logits, target) in enumerate(zip(case["logits"], case["target"], strict=True)):
            truth = Prediction.from_labels(target, class_ids=ids)
            scorer.add(str(v), Prediction(scores=logits, kind="logit", class_ids=ids), truth)
        scores = scorer.compute()
        ours = scores["avsbench"]["M_J"], scores["avsbench"]["M_F"], scores["per-dataset"]["mIoU"]
        close(ours, (case["miou"], case["fscore"], case["dataset_miou"]), tolerance, name)


@published("metrics_davis")
def test_davis(file: str) -> None:
    for name, case, tolerance in cases(file):
        frames = list(zip(case["pred"], case["gt"], case.get("void", [None] * len(case["gt"])), strict=True))
        j = np.array([davis.region_j(p, g, void=v) for p, g, v in frames])
        f = np.array([davis.contour_f(p, g, void=v, bound_th=float(case["bound_th"])) for p, g, v in frames])
        close(j, case["J"], tolerance, name)
        close(f, case["F"], tolerance, name)
        for key, values in (("J", j), ("F", f)):
            theirs = [case[f"{key}_{statistic}"] for statistic in ("mean", "recall", "decay")]
            close(davis.statistics(values), theirs, tolerance, f"{name} {key}")
        close((j.mean() + f.mean()) / 2, case["JF_mean"], tolerance, name)


@published("metrics_palette")
def test_palette(file: str) -> None:
    for name, case, _ in cases(file):
        ours = colours_to_labels(case["rgb"], case["palette"])
        np.testing.assert_array_equal(ours, case["label"], err_msg=name)


@published("alignment_examples")
def test_alignment_examples(file: str) -> None:
    for name, example in read_json(file).items():
        if name.startswith("frames"):
            check_frames(np.array(example["gt"]), np.array(example["pred"]), example, name)
        elif name.startswith("control_point_scores"):
            check_points(example, name)
        elif name.startswith("split"):
            flags = np.concatenate(example["key_flags"])
            ours = split.split_mean(np.concatenate(example["frame_values"]), flags)
            for key, value in ours.items():
                close(value, example[key], 1e-9, name)
        else:
            assert name.startswith("bootstrap"), f"an example of a form that no test knows: {name}"
            d = paired_bootstrap(
                example["before"], example["after"], draws=example["B"], seed=example["seed"], level=example["level"]
            )
            ours = [d.delta, d.low, d.high, d.videos, d.better, d.worse, d.same]
            keys = ("delta", "low", "high", "n", "better", "worse", "same")
            close(ours, [example[key] for key in keys], 1e-9, name)


def check_frames(truth: np.ndarray, predicted: np.ndarray, example: dict[str, Any], name: str) -> None:
    pairs = list(zip(predicted, truth, strict=True))
    frames = [alignment.frame_alignment(p, g) for p, g in pairs]
    two_px = [alignment.frame_alignment(p, g, min_area_px=2) for p, g in pairs]
    assert [f.same_set for f in frames] == [bool(x) for x in example["aligned_semantic_set"]]
    assert [f.same_set for f in two_px] == [bool(x) for x in example["aligned_semantic_set_min2px"]]
    for percent in (50, 75):
        of_sets, of_masks = zip(*[f.at(percent / 100) for f in frames], strict=True)
        assert list(of_sets) == [bool(x) for x in example[f"aligned_semantic_iou{percent}"]], name
        assert list(of_masks) == [bool(x) for x in example[f"aligned_binary_iou{percent}"]], name
    over_taus = np.mean([[f.at(tau) for tau in alignment.TAUS] for f in frames], axis=(0, 1))
    theirs = [example[f"alignment_{kind}_mean_over_tau"] for kind in ("semantic", "binary")]
    close(over_taus, theirs, 1e-9, name)
    close([f.binary_iou for f in frames], example["frame_iou_binary"], 1e-9, name)
    iou = binary.score_frames([binary.count_mask(p > 0, g > 0) for p, g in pairs]).iou
    close(iou, example["iou_no_object_rule"], 2e-6, name)

    for maps, key in ((truth, "gt"), (predicted, "pred")):
        flags = change_flags(class_sets(maps))
        assert flags.astype(int).tolist() == example[f"control_points_{key}"]
        assert change_flags(class_sets(maps > 0)).astype(int).tolist() == example[f"control_points_binary_{key}"]
    flags = change_flags(class_sets(truth))
    assert moc.in_moc(class_sets(truth)) == bool(example["moc"])
    assert len(frozenset().union(*class_sets(truth))) == example["n_categories"]
    ours = split.split_mean(iou, flags)
    for key, value in example["split_by_gt_points"].items():
        close(ours[key], value, 2e-6, f"{name} split {key}")
    check_temporal(truth, predicted, flags, example, name)


def check_temporal(
    truth: np.ndarray, predicted: np.ndarray, flags: np.ndarray, example: dict[str, Any], name: str
) -> None:
    for n in (2, 3):
        windows = range(len(truth) - n + 1)
        ours = [temporal.window_consistency(predicted[t : t + n], truth[t : t + n]) for t in windows]
        close(ours, example[f"vc{n}"], 1e-9, f"{name} VC{n}")
    everywhere, within = range(1, len(truth)), [t for t in range(1, len(truth)) if not flags[t]]
    for key, maps in (("pred", predicted), ("gt", truth)):
        close(temporal.flicker(maps, pairs=everywhere), example[f"flicker_{key}"], 1e-9, name)
        close(temporal.flicker(maps, pairs=within), example[f"flicker_{key}_within"], 1e-9, name)
    ids = tuple(range(1, int(max(truth.max(), predicted.max())) + 1))
    sides = (Prediction.from_labels(maps, class_ids=ids) for maps in (predicted, truth))
    scores = score(*sides, protocol="temporal")
    for key, value in example["silence"].items():
        close(scores[key], value, 1e-9, f"{name} {key}")
    stq = example["stq_one_track_per_class"]
    close([scores["STQ"], scores["STQ/AQ"], scores["STQ/SQ"]], [stq["STQ"], stq["AQ"], stq["SQ"]], 1e-9, name)
    excess = example["flicker_pred_within"] - example["flicker_gt_within"]
    close(scores["excess_flicker"], excess, 1e-9, name)


def check_points(example: dict[str, Any], name: str) -> None:
    pairs = list(zip(example["pred"], example["gt"], strict=True))
    for key, expected in example.items():
        if key.startswith("delta"):
            tolerance = int(key.removeprefix("delta"))
            rows = [control_points.list_sums(np.array(p), np.array(g), tolerances=[tolerance]) for p, g in pairs]
            total = {k: np.sum([row[k] for row in rows], axis=0)[None] for k in rows[0]}
            assert [int(total[k].sum()) for k in ("matches", "predicted", "true")] == [
                expected[k] for k in ("tp", "n_pred", "n_gt")
            ], name
            scores = control_points.point_scores(total, tolerances=[tolerance])
            ours = [scores[f"{k}@{tolerance}"][0] for k in ("precision", "recall", "F1")]
            close(ours, [expected[k] for k in ("precision", "recall", "f1")], 1e-9, f"{name} {key}")


@published("aavs_metrics")
def test_aavs_metrics(file: str) -> None:
    """The published functions on the label maps and scores of the tiny AAVS cases, under ``stepping-stones``."""
    expected = read_json(file)
    with np.load(REFERENCE / "cases" / "aavs_avs_tiny.npz", allow_pickle=False) as case:
        channels = query_scores(case, size=(384, 384))
        close(channels[:, :, ::4, ::4], case["post_scores_s4"], 1e-4, "the scores of AAVS")
        truth = case["gt_label_map"]
        prediction = Prediction(scores=channels, kind="logit", labels=case["label_map"])
    silent_first = truth.copy()
    silent_first[0] = 0
    for key, target in (("avs", truth), ("avs_first_frame_empty", silent_first)):
        ours = score(prediction, Prediction.from_labels(target), protocol="stepping-stones")
        close((ours["M_J"], ours["M_F"]), (expected[key]["miou"], expected[key]["fscore"]), 2e-6, key)

    with np.load(REFERENCE / "cases" / "aavs_avss_tiny.npz", allow_pickle=False) as case:
        target = case["gt_label_map"]
        mixed = np.where(np.arange(target.shape[2]) < 140, target, case["label_map"])
    sides = (Prediction.from_labels(maps, class_ids=AVSBENCH_CLASSES) for maps in (mixed, target))
    ours, avss = score(*sides, protocol="stepping-stones"), expected["avss"]
    keys = {"M_J": "miou", "M_F": "fscore", "M_J/drop_first": "miou_noBg", "M_F/drop_first": "fscore_noBg"}
    for our_key, their_key in keys.items():
        close(ours[our_key], avss[their_key], 2e-6, their_key)
    counts = np.stack([class_counts(p, g, 71) for p, g in zip(mixed, target, strict=True)])
    iou_sum, f_sum, frames = semantic.class_sums(counts)
    assert np.flatnonzero(frames).tolist() == avss["classes_seen"]
    for values, key in ((iou_sum, "iou_sum"), (f_sum, "f_sum"), (frames, "count")):
        close(values[frames > 0], avss[key], SUMS, key)


@published("vct_metrics")
def test_vct_metrics(file: str) -> None:
    """The published functions on the tiny VCT cases, under ``vct``."""
    for name, expected in read_json(file).items():
        with np.load(REFERENCE / "cases" / f"{name.removesuffix(SILENT_FIRST)}.npz", allow_pickle=False) as case:
            truth = case["gt_label_map"]
            if name.endswith(SILENT_FIRST):
                truth[0] = 0
            if "classes_seen" in expected and case["mask_stride"] > 1:
                check_vct_labels(case["label_map"], truth, expected, name)
                continue
            scores = query_scores(case, size=tuple(case["size"].tolist()))
            if "classes_seen" in expected:
                check_vct_semantic(scores, truth, expected, name)
                continue
            close(scores[:, :, ::4, ::4], case["post_scores_s4"], 1e-4, name)
        probability = torch.softmax(torch.from_numpy(scores), dim=1)[:, 1].numpy()
        prediction = Prediction.from_foreground(probability, kind="probability")
        ours = score(prediction, Prediction.from_labels(truth), protocol="vct")
        close((ours["M_J"], ours["M_F"]), (expected["miou"], expected["fscore"]), 2e-6, name)


def check_vct_semantic(scores: np.ndarray, truth: np.ndarray, expected: dict[str, Any], name: str) -> None:
    """Labels are taken after a float32 softmax: where no query shows anything, classes tie and the background wins."""
    prediction = Prediction(scores=scores, kind="logit", class_ids=AVSBENCH_CLASSES)
    ours = score(prediction, Prediction.from_labels(truth, class_ids=AVSBENCH_CLASSES), protocol="vct")
    for our_key, their_key in (("M_J", "miou"), ("M_F", "fscore")):
        close(ours[our_key], expected[their_key], 2e-6, f"{name} {their_key}")
        theirs = expected[f"{their_key}_noBg_published_drops_last"]
        close(ours[f"{our_key}/drop_last"], theirs, 2e-6, f"{name} {their_key} without the last class")
    labels = [channel_map(frame, "logit") for frame in scores]
    counts = np.stack([class_counts(p, g, 71) for p, g in zip(labels, truth, strict=True)])
    iou_sum, f_sum, frames = semantic.class_sums(counts)
    assert np.flatnonzero(frames).tolist() == expected["classes_seen"], name
    for values, key in ((iou_sum, "iou_sum"), (f_sum, "f_sum"), (frames, "count")):
        close(values[frames > 0], expected[key], SUMS, f"{name} {key}")


def check_vct_labels(labels: np.ndarray, truth: np.ndarray, expected: dict[str, Any], name: str) -> None:
    """Where a case holds thinned masks: its stored labels lack the ties of the softmax, so sums agree to a hundredth."""
    counts = np.stack([class_counts(p, g, 71) for p, g in zip(labels, truth, strict=True)])
    iou_sum, f_sum, frames = semantic.class_sums(counts)
    assert np.flatnonzero(frames).tolist() == expected["classes_seen"], name
    for values, key, within in ((iou_sum, "iou_sum", 1e-2), (f_sum, "f_sum", 1e-2), (frames, "count", 0)):
        close(values[frames > 0], expected[key], within, f"{name} {key}")


def query_scores(case: Any, *, size: tuple[int, int]) -> np.ndarray:
    """``(T, C, 224, 224)``: the post-processing that AAVS and VCT share, of a case's query logits."""
    shares = F.softmax(torch.from_numpy(case["class_queries_logits"]), dim=-1)[..., :-1]
    masks = case["masks_queries_logits"]
    planes = torch.sigmoid(torch.from_numpy(np.stack([bilinear(m, size) for m in masks])))
    scores = torch.einsum("tqc,tqhw->tchw", shares, planes).numpy()
    return np.stack([bilinear(s, (224, 224)) for s in scores])
