"""Named protocols and the scorer: sharded = one run, streamed = whole; sizes, kinds, comparisons."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import numpy as np
import pytest
from scored_videos import BINARY, CLASSES, SEMANTIC, binary_video, logits_of, scored

from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.masks.probability import probabilities, sigmoid
from coprop_plugin.masks.resize import bilinear, nearest
from coprop_plugin.metrics import compare
from coprop_plugin.metrics.binary import binary_frames, mean_over_batches
from coprop_plugin.metrics.bootstrap import paired_bootstrap
from coprop_plugin.metrics.protocols import Scorer, describe, score
from coprop_plugin.structures import FrameStack, Prediction


@pytest.mark.parametrize("videos", [BINARY, SEMANTIC], ids=["binary", "semantic"])
def test_shards_give_the_numbers_of_one_run_to_the_last_digit(videos: dict[str, Any]) -> None:
    whole = scored("all", videos).compute()
    ids = list(videos)
    shards = [scored("all", {i: videos[i] for i in part}) for part in (ids[3:], ids[:1], ids[1:3])]
    stored = [Scorer.from_json(shard.to_json()) for shard in shards]
    merged = Scorer("all")
    for shard in stored:
        merged.merge(shard)
    assert merged.compute() == whole
    assert scored("all", dict(reversed(videos.items()))).compute() == whole


def test_batches_follow_the_order_of_the_data_set() -> None:
    ids = list(BINARY)
    whole = scored("avsbench:batch=2", BINARY).compute()
    turned = {i: BINARY[i] for i in reversed(ids)}
    assert scored("avsbench:batch=2", turned, order=ids).compute() == whole
    assert scored("avsbench:batch=2", turned).compute()["M_F"] != whole["M_F"]
    frames = [binary_frames(sigmoid(z), g) for z, g in (logits_of(seed) for seed in range(5))]
    for batch in (1, 2, 4):
        scores = scored(f"avsbench:batch={batch}", BINARY).compute()
        assert (scores["M_J"], scores["M_F"]) == pytest.approx(mean_over_batches(frames, batch=batch), abs=1e-9)
    assert scored("avsbench:batch=all", BINARY).compute()["M_F"] == pytest.approx(frames_together(frames), abs=1e-9)
    with pytest.raises(CoPropError, match="1 videos are not in the order that was given, the first is 'video 4'"):
        scored("avsbench:batch=2", BINARY, order=ids[:4]).compute()


def frames_together(frames: list[Any]) -> float:
    return mean_over_batches(frames, batch=None)[1]


def test_batch_free_takes_one_curve_over_all_frames_with_an_object() -> None:
    frames = [binary_frames(sigmoid(z), g) for z, g in (logits_of(seed) for seed in range(5))]
    curves = np.concatenate([f.f_curve[f.sounding] for f in frames])
    scores = scored("batch-free", BINARY).compute()
    assert scores["M_F"] == pytest.approx(curves.mean(axis=0).max(), abs=1e-6)
    assert scores["M_J"] == pytest.approx(np.concatenate([f.iou for f in frames]).mean(), abs=1e-6)


def test_one_video_is_scored_as_in_a_scorer_and_per_video() -> None:
    scorer = scored(["avsbench", "alignment"], BINARY)
    for video_id, (prediction, truth) in BINARY.items():
        alone = score(prediction, truth, protocol=["avsbench", "alignment"], video_id=video_id)
        assert scorer.per_video()[video_id] == alone
    assert list(alone) == ["avsbench", "alignment"] and alone.protocol == ("avsbench", "alignment")
    assert alone["avsbench"].protocol == "avsbench"


@pytest.mark.parametrize("protocol", [name for name in describe() if name != "all"])
@pytest.mark.parametrize("videos", [BINARY, SEMANTIC], ids=["binary", "semantic"])
def test_every_protocol_scores_a_perfect_prediction_best(protocol: str, videos: dict[str, Any]) -> None:
    worst_is_high = ("excess_flicker", "false_area", "error", "missed", "spurious", "decay", "lag")
    for _, truth in videos.values():
        perfect = score(truth, truth, protocol=protocol).rows()
        assert perfect
        for metric, value, unit in ((row.metric, row.value, row.unit) for row in perfect):
            if unit == "%" and value is not None and not metric.startswith(("flicker", "key_share", "any_change")):
                bound = 0 if any(word in metric for word in worst_is_high) else 100
                if truth.binary or "M_" not in metric:  # semantic: classes that are never seen count 0
                    assert value == pytest.approx(bound, abs=1e-5), metric
    assert json.loads(json.dumps([row.as_dict() for row in perfect]))


def test_frames_are_read_once_and_never_all_held() -> None:
    logits, truth = logits_of(0)
    reads: list[int] = []

    def read(t: int) -> np.ndarray:
        reads.append(t)
        return np.stack([np.zeros_like(logits[t]), logits[t]])

    lazy = FrameStack(read, num_frames=4, frame_shape=(2, 12, 16), dtype=np.float32)
    prediction = Prediction(scores=lazy, kind="logit")
    streamed = score(prediction, Prediction.from_labels(truth), protocol=["all", "avsegformer"])
    assert reads == [0, 1, 2, 3]
    whole = score(*binary_video(0), protocol=["all", "avsegformer"])
    assert streamed == whole


def test_a_scored_frame_is_let_go_at_once() -> None:
    """71-class frames are large: at most two lie in memory, without waiting for the garbage collector."""
    truth = np.zeros((6, 8, 8), int)
    alive: list[weakref.ref] = []
    most = 0

    def read(t: int) -> np.ndarray:
        nonlocal most
        scores = np.zeros((2, 8, 8), np.float32)
        alive.append(weakref.ref(scores))
        most = max(most, sum(ref() is not None for ref in alive))
        return scores

    prediction = Prediction(
        scores=FrameStack(read, num_frames=6, frame_shape=(2, 8, 8), dtype=np.float32), kind="logit"
    )
    gc.disable()
    try:
        score(prediction, Prediction.from_labels(truth), protocol=["all", "avsegformer", "catr"])
    finally:
        gc.enable()
    assert len(alive) == 6 and most <= 2


def test_probabilities_and_logits_score_alike() -> None:
    logits, truth = logits_of(1)
    sides = {
        kind: Prediction.from_foreground(values, kind=kind)
        for kind, values in (("logit", logits), ("probability", sigmoid(logits)))
    }
    results = [score(p, Prediction.from_labels(truth), protocol="avsbench") for p in sides.values()]
    assert results[0] == results[1]


def test_hard_masks_say_so() -> None:
    logits, truth = logits_of(2)
    hard, soft = Prediction.from_labels(logits > 0), Prediction.from_foreground(logits, kind="logit")
    scores, other = (score(p, Prediction.from_labels(truth)) for p in (hard, soft))
    assert (scores.masks, scores.hard, other.masks, other.hard) == ("hard masks", True, "scores", False)
    assert scores["M_J"] == other["M_J"] and scores["M_F"] < other["M_F"]
    (hard_j, hard_f), (soft_j, soft_f) = scores.rows(), other.rows()
    assert hard_j.key == soft_j.key and hard_f.key == ("avsbench", "M_F", "hard masks") != soft_f.key
    assert list(scores.flat()) == ["avsbench/M_J", "avsbench/M_F (hard masks)"]
    assert list(other.flat()) == ["avsbench/M_J", "avsbench/M_F"]
    both = scored("avsbench", {"a": (hard, Prediction.from_labels(truth)), "b": (soft, Prediction.from_labels(truth))})
    assert both.compute().masks == "partly hard masks"
    assert list(both.compute().flat())[1] == "avsbench/M_F (partly hard masks)"


def test_a_models_own_labels_are_its_mask() -> None:
    logits, truth = logits_of(3)
    labels = np.roll(truth, 1, axis=2)
    prediction = Prediction.from_foreground(logits, kind="logit")
    own = Prediction(scores=prediction.scores, kind="logit", labels=labels)
    ours = score(own, Prediction.from_labels(truth))
    assert ours["M_J"] == score(Prediction.from_labels(labels), Prediction.from_labels(truth))["M_J"]
    assert ours["M_F"] == score(prediction, Prediction.from_labels(truth))["M_F"]


def test_the_two_channel_rule_needs_two_channels() -> None:
    prediction, truth = SEMANTIC["video 0"]
    binary_truth = Prediction.from_labels((np.asarray(truth.labels) > 0).astype(int))
    with pytest.raises(PredictionError, match="needs 2 channels of scores, got 4"):
        score(prediction, binary_truth, protocol="stepping-stones")
    assert score(prediction, binary_truth, protocol="avsbench")["M_J"] > 0  # any object is the foreground


def test_sizes_differ_by_the_stated_rule() -> None:
    logits, truth = logits_of(4)
    small = Prediction.from_foreground(logits[:, ::2, ::2], kind="logit")
    resized = np.stack([bilinear(z[None, ::2, ::2], (12, 16))[0] for z in logits])
    scores = score(small, Prediction.from_labels(truth))
    wanted = score(Prediction.from_foreground(resized, kind="logit"), Prediction.from_labels(truth))
    assert dict(scores) == dict(wanted)
    assert scores.about["size"] == "16x12"
    assert scores.about["resize"] == "to the truth: scores bilinear, labels nearest"

    larger = score(*binary_video(4), protocol="avsbench:size=32")
    both = [bilinear(logits, (32, 32)), np.stack([nearest(g, (32, 32)) for g in truth])]
    wanted = score(Prediction.from_foreground(both[0], kind="logit"), Prediction.from_labels(both[1]))
    assert (larger["M_J"], larger["M_F"]) == (wanted["M_J"], wanted["M_F"])
    assert larger.about["size"] == "32x32" and larger.about["resize"].startswith("both")


def test_nearest_takes_the_pixel_that_pil_takes() -> None:
    from PIL import Image

    labels = np.random.default_rng(0).integers(0, 99, (7, 11)).astype(np.uint8)
    for size in ((14, 22), (5, 3), (224, 224), (7, 11)):
        theirs = np.array(Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST))
        np.testing.assert_array_equal(nearest(labels, size), theirs)


def test_published_settings_carry_their_size_and_batch() -> None:
    prediction, truth = binary_video(0)
    assert score(prediction, truth, protocol="avsegformer").about["size"] == "512x512"
    semantic = score(*SEMANTIC["video 0"], protocol="avsegformer")
    assert semantic.about["size"] == "224x224"
    padded = score(*SEMANTIC["video 0"], protocol="avsbench:size=224,pad=10")
    assert (semantic["M_J"], semantic["M_F"]) == (padded["M_J"], padded["M_F"])


def test_frames_without_a_truth_are_left_out() -> None:
    logits, truth = logits_of(5)
    only_first = truth.copy()
    only_first[1:] = -1
    prediction = Prediction.from_foreground(logits, kind="logit")
    scores = score(prediction, Prediction.from_labels(only_first))
    first = score(Prediction.from_foreground(logits[:1], kind="logit"), Prediction.from_labels(truth[:1]))
    assert (scores["M_J"], scores["M_F"]) == (first["M_J"], first["M_F"])
    assert (scores.about["frames"], scores.about["frames_without_truth"]) == (1, 3)
    nothing = score(prediction, Prediction.from_labels(np.full_like(truth, -1)), protocol="all")
    assert nothing["avsbench"].about["frames"] == 0 and "M_J" not in nothing["avsbench"]


def test_a_binary_model_is_scored_on_any_object() -> None:
    logits, truth = logits_of(6)
    named = Prediction.from_labels(truth * 2, class_ids=CLASSES)
    scores = score(Prediction.from_foreground(logits, kind="logit"), named)
    assert scores == score(*binary_video(6)) and scores.about["classes"] == 1
    probability = probabilities(SEMANTIC["video 0"][0], 0)
    assert probability.sum(axis=0) == pytest.approx(1, abs=1e-6)


def test_comparison_draws_videos() -> None:
    worse = {i: (Prediction.from_labels(np.zeros((4, 12, 16), int)), truth) for i, (_, truth) in BINARY.items()}
    hard = {i: (Prediction.from_labels(np.asarray(p.label_maps())), truth) for i, (p, truth) in BINARY.items()}
    before, after = (scored(["batch-free", "alignment"], videos) for videos in (worse, hard))
    differences = compare.compare(before, after, draws=300, seed=2)
    d = differences["batch-free"]["M_J"]
    per_video = [[s["batch-free"]["M_J"] for s in scorer.per_video().values()] for scorer in (before, after)]
    plain = paired_bootstrap(*map(np.array, per_video), draws=300, seed=2)
    assert (d.delta, d.low, d.high, d.better) == pytest.approx((plain.delta, plain.low, plain.high, plain.better))
    assert d.after == pytest.approx(after.compute()["batch-free"]["M_J"])
    assert differences["alignment"]["alignment_binary@0.5"].delta > 0
    with pytest.raises(CoPropError, match="compare under batch=1 or batch-free"):
        compare.compare(*(scored("avsbench:batch=2", videos) for videos in (worse, hard)))
    with pytest.raises(CoPropError, match="1 videos were scored on one side only, the first is 'video 4'"):
        compare.compare(before, scored(["batch-free", "alignment"], {i: hard[i] for i in list(hard)[:4]}))


def test_rows_for_a_table_before_and_after() -> None:
    prediction, truth = binary_video(0)
    hard = Prediction.from_labels(np.asarray(prediction.label_maps()))
    rows = compare.score_rows(prediction, hard, truth, protocols=("avsbench", "temporal"))
    assert [r["metric"] for r in rows[:3]] == ["M_J", "M_F", "excess_flicker"]
    by_name = {r["metric"]: r for r in rows}
    wanted = score(hard, truth)  # like with like: the labels of both are scored
    for name in ("M_J", "M_F"):
        assert by_name[name]["base"] == by_name[name]["refined"] == pytest.approx(100 * wanted[name])
    assert (by_name["M_F"]["masks"], by_name["M_J"]["masks"]) == ("hard masks", "")
    assert by_name["silent_frames"] == {
        "protocol": "temporal",
        "metric": "silent_frames",
        "base": 1,
        "refined": 1,
        "unit": "",
        "masks": "",
    }
    soft = compare.score_rows(prediction, prediction, truth, protocols="avsbench")
    assert soft[1]["masks"] == "scores" and soft[1]["base"] == pytest.approx(100 * score(prediction, truth)["M_F"])
    alone = compare.score_rows(None, prediction, truth, protocols="avsbench")
    assert alone[1] == soft[1] | {"base": None}
    apart = compare.side_by_side(score(hard, truth), score(prediction, truth))
    assert [(r["metric"], r["masks"]) for r in apart] == [("M_J", ""), ("M_F", "hard masks"), ("M_F", "scores")]
