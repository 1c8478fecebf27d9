"""Scores and scorers as they are stored, merged and parted; what no protocol, video or stored scorer is."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scored_videos import BINARY, SEMANTIC, binary_video, logits_of, scored

from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.masks.probability import sigmoid
from coprop_plugin.metrics.protocols import Scorer, Scores, score
from coprop_plugin.structures import ControlPoints, Prediction


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
