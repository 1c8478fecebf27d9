"""Named protocols and the scorer: sharded = one run, stored = fresh, streamed = whole; sizes, kinds, bad input."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.masks.probability import probabilities, sigmoid
from coprop_plugin.masks.resize import bilinear, nearest
from coprop_plugin.metrics import compare
from coprop_plugin.metrics.binary import binary_frames, mean_over_batches
from coprop_plugin.metrics.bootstrap import paired_bootstrap
from coprop_plugin.metrics.protocols import Scorer, Scores, describe, score
from coprop_plugin.structures import ControlPoints, FrameStack, Prediction

CLASSES = (1, 2, 3)


def logits_of(seed: int, *, frames: int = 4, size: tuple[int, int] = (12, 16)) -> tuple[np.ndarray, np.ndarray]:
    """Foreground logits and 0/1 truth ``(T, H, W)``; the last frame is silent."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((frames, *size), int)
    truth[:-1, 2:9, 3 : 6 + seed % 7] = 1
    logits = (4 * truth - 2 + rng.normal(0, 2, truth.shape)).astype(np.float32)
    return logits, truth


def binary_video(seed: int, **shape: Any) -> tuple[Prediction, Prediction]:
    logits, truth = logits_of(seed, **shape)
    return Prediction.from_foreground(logits, kind="logit"), Prediction.from_labels(truth)


def semantic_video(seed: int) -> tuple[Prediction, Prediction]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, (3, 2, 2)).repeat(4, 1).repeat(4, 2)
    scores = rng.normal(0, 1, (3, 4, 8, 8)).astype(np.float32)
    np.put_along_axis(scores, truth[:, None], 1.5, axis=1)
    return Prediction(scores=scores, kind="logit", class_ids=CLASSES), Prediction.from_labels(truth, class_ids=CLASSES)


def scored(protocol: Any, videos: dict[str, Any], **options: Any) -> Scorer:
    scorer = Scorer(protocol, **options)
    for video_id, (prediction, truth) in videos.items():
        scorer.add(video_id, prediction, truth)
    return scorer


BINARY = {f"video {seed}": binary_video(seed) for seed in range(5)}
SEMANTIC = {f"video {seed}": semantic_video(seed) for seed in range(5)}


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


def test_scores_go_round_merge_and_part() -> None:
    prediction, truth = binary_video(0)
    several = score(prediction, truth, protocol=["avsbench", "temporal"])
    one, other = score(prediction, truth), score(prediction, truth, protocol="temporal")
    assert one.merge(other) == several and hash(one.merge(other)) == hash(several)
    assert several.subset("avsbench") == one and several.subset(["temporal", "avsbench"]).parts == (other, one)
    assert several["avsbench"] is several.parts[0] and several.about["frames"] == 4
    whole = several.subset(parts=False)
    assert "STQ" in whole["temporal"] and not any("/" in name for name in whole["temporal"])
    for scores in (one, other, several, whole, score(Prediction.from_labels(np.asarray(truth.labels)), truth)):
        assert Scores.from_json(scores.to_json()) == scores
        assert len(repr(scores)) < 400
    with pytest.raises(CoPropError, match="unknown protocol of these scores 'alignment'"):
        several.subset("alignment")
    with pytest.raises(KeyError, match="no 'M_Q' under avsbench; there are M_J, M_F"):
        one["M_Q"]
    with pytest.raises(TypeError):
        one["M_J"] = 1  # type: ignore[index]
    hard = score(Prediction.from_labels(np.asarray(prediction.label_maps())), truth, protocol="temporal")
    with pytest.raises(CoPropError, match="different videos or masks do not go together"):
        one.merge(hard)
    with pytest.raises(CoPropError, match="two different scores under 'avsbench'"):
        one.merge(score(*binary_video(1)))
    with pytest.raises(CoPropError, match="a score is a fraction, a count or None"):
        Scores({"M_J": "high"}, "avsbench", {})  # type: ignore[dict-item]


def test_scores_that_were_stored_before_are_read() -> None:
    old = {"protocol": "avsbench", "M_J": 0.5, "M_F (hard masks)": 0.25, "about": {"scores": "hard masks", "frames": 4}}
    read = Scores.from_json(json.dumps(old))
    assert dict(read) == {"M_J": 0.5, "M_F": 0.25} and read.hard and read.swept == ("M_F",)
    soft = {"protocol": "avsbench", "M_J": 0.5, "M_F": 0.25, "about": {"scores": "scores"}}
    assert Scores.from_dict({"protocol": "headline", "avsbench": soft}).parts[0].swept == ("M_F",)
    for text in (
        "",
        "[]",
        "{}",
        '{"about": {}}',
        '{"about": 3, "protocol": "x"}',
        '{"protocol": "x", "about": {}, "M_J": []}',
    ):
        with pytest.raises(CoPropError, match=r"no scores|score is a fraction"):
            Scores.from_json(text)


def test_a_scorer_of_some_videos() -> None:
    whole = scored("headline", BINARY)
    assert whole.subset(["video 1"]).compute() == whole.per_video()["video 1"]
    with pytest.raises(CoPropError, match="'video 9' was not scored"):
        whole.subset(["video 9"])


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("avsbnch", "unknown protocol 'avsbnch'. Did you mean 'avsbench'"),
        ("avsbench:bach=2", "unknown option of the protocol 'avsbench' 'bach'. Did you mean 'batch'"),
        ("avsbench:batch=0", "integer from 1 on, or 'all'; got 0"),
        ("avsbench:batch", "the option 'batch' has no value"),
        ("avsbench:size=big", "side of a square in pixels, or 'truth'"),
        ("avsbench:pad=-1", "0 for none; got -1"),
        ("alignment:tau=2", r"IoU in \(0, 1\], got 2"),
        ("alignment:tau=high", "tau is a number; got 'high'"),
        ("control-points:min_area=-1", "pixels from 1 on; got -1"),
        ("onsets:within=-1", "0 or more; got -1"),
        ("tpavi:batch=3", "unknown option of the protocol 'tpavi' 'batch'"),
        ([], "no protocol was named"),
    ],
)
def test_what_no_protocol_is(protocol: Any, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        Scorer(protocol)


def test_names_are_canonical() -> None:
    for given, canonical in (
        ("avsbench:batch=1", "avsbench"),
        ("avsbench:size=224,batch=4", "avsbench:size=224,batch=4"),
    ):
        assert score(*binary_video(0), protocol=given).protocol == canonical
    assert list(score(*binary_video(0), protocol=["avsbench", "headline"])) == [*("avsbench", "alignment", "temporal")]


def refused(prediction: Prediction, truth: Prediction, message: str, error: type = CoPropError, **known: Any) -> None:
    with pytest.raises(error, match=message):
        score(prediction, truth, protocol="all", video_id="clip 7", **known)


def test_what_does_not_fit_is_refused() -> None:
    prediction, truth = binary_video(0)
    short = Prediction.from_labels(np.zeros((3, 12, 16), int))
    refused(prediction, short, "video 'clip 7': 4 predicted frames against 3 of the truth", PredictionError)
    refused(prediction, prediction, "the truth is a hard prediction, got one of kind 'logit'")
    refused(prediction, truth, "control points of 2 frames, the truth has 4", control_points=ControlPoints(np.ones(2)))
    for bad in (np.nan, np.inf):
        logits, _ = logits_of(0)
        logits[2, 0, 0] = bad
        spoiled = Prediction.from_foreground(logits, kind="logit", source="model.npz")
        refused(spoiled, truth, "video 'clip 7': model.npz: frame 2 holds NaN or infinite", PredictionError)
    logits_as_probability = Prediction.from_foreground(logits_of(0)[0], kind="probability")
    refused(logits_as_probability, truth, "say kind='logit'", PredictionError)
    ignored = Prediction.from_labels(np.full((4, 12, 16), -1))
    refused(ignored, truth, "negative labels; -1 is for a truth only", PredictionError)


def test_a_scorer_refuses_what_it_cannot_pool() -> None:
    scorer = scored("avsbench", BINARY)
    with pytest.raises(CoPropError, match="'video 0' was scored already"):
        scorer.add("video 0", *BINARY["video 0"])
    with pytest.raises(CoPropError, match=r"'x' has 3 classes .* the videos before have one class"):
        scorer.add("x", *SEMANTIC["video 0"])
    with pytest.raises(CoPropError, match="5 videos were scored on both sides, the first is 'video 0'"):
        scorer.merge(scored("avsbench", BINARY))
    with pytest.raises(CoPropError, match="the other scorer has 3 classes"):
        scorer.merge(scored("avsbench", {"other": SEMANTIC["video 0"]}))
    with pytest.raises(CoPropError, match="merge under the same protocols only, got 'avsbench' and 'alignment'"):
        scorer.merge(Scorer("alignment"))
    with pytest.raises(CoPropError, match="nothing was scored yet"):
        Scorer().compute()


def test_a_failed_video_leaves_the_scorer_as_it_was() -> None:
    logits, truth = logits_of(0)
    logits[3, 1, 1] = np.nan
    scorer = Scorer()
    with pytest.raises(PredictionError):
        scorer.add("bad", Prediction.from_foreground(logits, kind="logit"), Prediction.from_labels(truth))
    scorer.add("video 0", *SEMANTIC["video 0"])
    assert scorer.compute().about["videos"] == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "protocol": "avsbench"}'])
def test_what_is_no_stored_scorer(text: str) -> None:
    with pytest.raises(CoPropError, match="stored scores"):
        Scorer.from_json(text)


def test_sums_of_a_rule_that_has_changed_are_refused_and_others_read() -> None:
    """Format 1 stored STQ's sums by another rule; its other families are those of today."""
    old = {name: json.loads(scored(name, BINARY).to_json()) | {"format": 1} for name in ("avsbench", "temporal", "all")}
    assert Scorer.from_json(json.dumps(old["avsbench"])).compute() == scored("avsbench", BINARY).compute()
    for name in ("temporal", "all"):
        with pytest.raises(CoPropError, match="format 1 hold sums of temporal by a rule that has changed"):
            Scorer.from_json(json.dumps(old[name]))


def test_a_videos_record_goes_round() -> None:
    whole, other = scored("headline", BINARY), Scorer("headline")
    for video_id in whole.videos:
        other.restore(video_id, json.loads(json.dumps(whole.record(video_id))))
    assert other.compute() == whole.compute()
    alone = Scorer("alignment")
    alone.restore("video 0", whole.record("video 0"))
    assert alone.compute() == scored("alignment", {"video 0": BINARY["video 0"]}).compute()
    for wrong in ({}, {"sums": {}}, {"format": 2, "class_ids": [1], "sums": {"alignment": {}}}, {"format": "x"}):
        with pytest.raises(CoPropError, match="stored scores"):
            Scorer("alignment").restore("video 0", wrong)


def test_one_thread_is_enough_for_torch() -> None:
    """Logits become probabilities in one place, with torch's own functions."""
    logits = np.random.default_rng(0).normal(0, 5, (3, 32)).astype(np.float32)
    np.testing.assert_array_equal(sigmoid(logits), torch.sigmoid(torch.from_numpy(logits)).numpy())
    frozen = logits.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(sigmoid(frozen), sigmoid(logits))


def test_the_plug_in_study_scores_through_the_protocols() -> None:
    """Its three numbers are those of plain loops over frames, and its table names their protocols."""
    from coprop_plugin.masks.areas import min_area_px
    from coprop_plugin.metrics.alignment import frame_alignment
    from coprop_plugin.metrics.binary import count_mask, score_frames
    from coprop_plugin.metrics.temporal import flicker
    from coprop_plugin.study import plug_in

    for prediction, truth in (*BINARY.values(), *SEMANTIC.values()):
        points = ControlPoints(np.eye(1, truth.num_frames)[0])
        ours = plug_in.evaluate(prediction, truth, points)
        labels, wanted = (np.stack([p.label_map(t) for t in range(p.num_frames)]) for p in (prediction, truth))
        least, pairs = min_area_px(truth.size), range(1, len(labels))
        frames = [frame_alignment(a, b, min_area_px=least) for a, b in zip(labels, wanted, strict=True)]
        aligned = [f.binary_iou >= 0.5 if truth.binary else f.same_set for f in frames]
        iou = score_frames([count_mask(a > 0, b > 0) for a, b in zip(labels, wanted, strict=True)]).iou
        assert ours["alignment"] == pytest.approx(np.mean(aligned))
        assert ours["M_J"] == pytest.approx(iou.mean(), abs=1e-6)
        excess = (flicker(labels, pairs=pairs) or 0.0) - (flicker(wanted, pairs=pairs) or 0.0)
        assert ours["excess_flicker"] == pytest.approx(excess)
    row = plug_in.Row(plug_in.Setting("perfect", 1), {m: [1.0] for m in plug_in.METRICS}, [1.0])
    (told,) = plug_in.summary([row])
    assert told["protocols"].keys() == set(plug_in.METRICS) and told["protocols"]["M_J"].startswith("avsbench")
