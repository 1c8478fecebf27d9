"""The generators that do not segment: cosine, from masks, from a file, every k, none; and labelled intervals."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import sounds
from hypothesis import given, strategies as st

from coprop_plugin import parts
from coprop_plugin.control_points.cosine import (
    LOG_MEL_THRESHOLD,
    Cosine,
    CosineLogMel,
    fit_threshold,
    frame_log_mel,
    similarities,
)
from coprop_plugin.control_points.events import points_of_intervals
from coprop_plugin.control_points.fixed import EveryK, FromFile, NoChange
from coprop_plugin.control_points.from_masks import FromMasks
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.structures import ControlPoints, Prediction, Sound, TimeBase

CLIP = sounds.clip([("low", 2), ("noise", 3)])


def labels(sets: list[dict[int, int]]) -> Prediction:
    """Frames of 20 x 20 pixels that show so many pixels of each class."""
    maps = np.zeros((len(sets), 400), np.int16)
    for t, areas in enumerate(sets):
        start = 0
        for class_id, area in areas.items():
            maps[t, start : start + area] = class_id
            start += area
    return Prediction.from_labels(maps.reshape(-1, 20, 20), class_ids=(1, 2), names={1: "girl", 2: "dog"})


SHOWN = labels([{1: 9}, {1: 9}, {1: 9, 2: 30}, {2: 30}, {}])


def test_cosine_flags_what_is_under_the_threshold() -> None:
    features = np.array([[1, 0], [2, 0.1], [0, 1], [0, 0], [0, 0]])
    points = Cosine(features=features, threshold=0.8)(CLIP)
    assert points.frames == (0, 2, 3) and points.origin.generator == "cosine"
    assert Cosine(features=lambda clip: features, threshold=-1)(CLIP).frames == (0,)
    assert similarities(features) == pytest.approx([2 / np.hypot(2, 0.1), 0.1 / np.hypot(2, 0.1), 0, 1])


def test_cosine_says_what_it_cannot_use() -> None:
    with pytest.raises(
        CoPropError, match=r"cosine needs finite features \(5, D\), one row a frame; got the shape \(4, 2\)"
    ):
        Cosine(features=np.ones((4, 2)))(CLIP)
    with pytest.raises(CoPropError, match="finite"):
        Cosine(features=np.full((5, 2), np.nan))(CLIP)
    with pytest.raises(CoPropError, match=r"weights.*checkpoint=FILE.*cosine-logmel"):
        parts.build("control_points", "cosine")
    with pytest.raises(CoPropError, match=r"features is .* one of vggish, got 'mfcc'"):
        parts.build("control_points", "cosine:features=mfcc")
    with pytest.raises(CoPropError, match=r"lies in \[-1, 1\], got 3"):
        CosineLogMel(threshold=3)


def test_log_mel_of_a_frame_is_the_mean_of_its_window() -> None:
    features = frame_log_mel(CLIP)
    assert features.shape == (5, 40) and (features > 0).all()
    assert CosineLogMel()(CLIP).frames == (0, 2)
    fine = sounds.clip([("low", 0.4), ("noise", 0.4)], sampling="uniform:30000/1001")
    assert frame_log_mel(fine).shape == (24, 40)
    assert (frame_log_mel(clip_of_sound(Sound.silence(3))) == 0).all()


@given(st.lists(st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()), min_size=1), min_size=1))
def test_the_fitted_threshold_is_the_best_of_all(clips: list[list[tuple[float, bool]]]) -> None:
    pairs = [(np.array([s for s, _ in clip]), np.array([True, *(c for _, c in clip)])) for clip in clips]
    similar, changed = (np.concatenate(v) for v in zip(*((s, c[1:]) for s, c in pairs), strict=True))

    def f1(threshold: float) -> float:
        return 2 * (changed & (similar < threshold)).sum() / max(1, (similar < threshold).sum() + changed.sum())

    if not changed.any():
        with pytest.raises(CoPropError, match="and no change"):
            fit_threshold(pairs)
    else:
        assert f1(fit_threshold(pairs)) == max(f1(t) for t in (0.2, 0.4, 0.6, 0.8, 0.95))


def test_the_stored_threshold_is_what_its_protocol_gives() -> None:
    made = [make_clip(seed) for seed in range(40)]
    fitted = fit_threshold((similarities(frame_log_mel(m.clip)), m.scene.control_points().flags) for m in made)
    assert fitted == pytest.approx(LOG_MEL_THRESHOLD, abs=5e-5)


def test_masks_give_the_class_sets_changes() -> None:
    points = FromMasks()(CLIP, base=SHOWN)
    assert points.frames == (0, 2, 3, 4) and points.origin.generator == "from_masks"
    assert points.silent == (False, False, False, True)
    assert points.categories == (("girl",), ("girl", "dog"), ("dog",), ())


def test_specks_count_in_a_truth_alone() -> None:
    masks = labels([{1: 1, 2: 30}, {2: 30}, {2: 30}, {2: 30}, {2: 30}])
    assert FromMasks()(CLIP, base=masks).frames == (0, 1)  # 0.1 % of 400 pixels is one pixel
    assert FromMasks(min_area=0.004)(CLIP, base=masks).frames == (0,)
    assert FromMasks(min_area=2)(CLIP, base=masks).frames == (0,)
    assert FromMasks(truth=masks)(CLIP, base=SHOWN).frames == (0, 1)


def test_a_truth_may_lie_in_a_folder(tmp_path: Path) -> None:
    from coprop_plugin.media.images import write_label_png

    for t in range(5):
        write_label_png(tmp_path / f"{t}.png", np.arange(64).reshape(8, 8) < 30 * (t > 2))
    points = parts.build("control_points", {"name": "from_masks", "truth": str(tmp_path)})(CLIP)
    assert points.frames == (0, 3) and points.silent == (True, False)


def test_masks_that_are_not_there_or_too_few() -> None:
    with pytest.raises(PredictionError, match="control points from masks need the base model's prediction"):
        FromMasks()(CLIP)
    with pytest.raises(PredictionError, match=r"clip 'made' has 5 frames, the masks.* 2"):
        FromMasks()(CLIP, base=labels([{}, {}]))
    with pytest.raises(CoPropError, match="min_area"):
        FromMasks(min_area=-1)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    points = FromMasks()(CLIP, base=SHOWN)
    (tmp_path / "points.json").write_text(points.to_json())
    (tmp_path / "list.json").write_text("[1, 0, 1, 0, 0]")
    again = FromFile(path=tmp_path / "points.json")(CLIP)
    assert (again.flags == points.flags).all() and again.origin == points.origin and again.silent == points.silent
    by_hand = parts.build("control_points", f"file:path={tmp_path}/list.json")(CLIP)
    assert by_hand.frames == (0, 2) and by_hand.origin.generator == "edited"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 0, 1]", "3 flags, but clip 'made' has 5 frames under the sampling 'avsbench'"),
        (b"[0, 0, 1, 0, 0]", "the first frame always is a control point"),
        (b"\xff\xfe\x00", "not in UTF-8"),
        (b"flags", "not JSON"),
        (b"[" * 100_000, "nested more than 40 deep"),
        (None, "cannot be read from .*No such file"),
    ],
)
def test_a_file_that_holds_no_control_points_of_the_clip(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "points.json").write_bytes(content)
    with pytest.raises(CoPropError, match=message) as caught:
        FromFile(path=tmp_path / "points.json")(CLIP)
    assert "points.json" in str(caught.value)


def test_a_file_announcing_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "points.json").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(CoPropError, match=r"has 3221\.2 MB; control points .* at most 67\.1 MB"):
        FromFile(path=tmp_path / "points.json")(CLIP)


def test_fixed_lists() -> None:
    assert EveryK(k=2)(CLIP).frames == (0, 2, 4) and EveryK(k=9)(CLIP).frames == (0,)
    assert NoChange()(CLIP).frames == (0,)
    assert parts.build("control_points", "every_k:k=3")(CLIP).origin.generator == "every_k"
    assert parts.build("control_points", "none")(CLIP).origin.generator == "none"
    for wrong in (0, 1.5, "x"):
        with pytest.raises(CoPropError, match="whole number k of frames, 1 or more"):
            EveryK(k=wrong)  # type: ignore[arg-type]


def test_intervals_follow_the_half_rule_and_pauses_are_closed() -> None:
    base = TimeBase.of("avsbench", 6)
    labelled = {"dog": [[0.6, 0.9], [1.7, 3.4]], "girl": [[2.5, 9.0]]}
    points = points_of_intervals(labelled, base)
    # The dog's pause of 0.8 s is closed: on from 0.6 to 3.4 s, which holds the middles of the seconds 1 and 2.
    assert points.categories == ((), ("dog",), ("dog", "girl"), ("girl",))
    assert points.frames == (0, 1, 2, 3) and points.silent == (True, False, False, False)
    apart = points_of_intervals({"dog": labelled["dog"]}, base, bridged_s=0.5)
    assert apart.frames == (0, 2, 3)
    assert points_of_intervals({}, base).silent == (True,)


@given(st.lists(st.floats(0, 9.9), min_size=1, max_size=4, unique=True))
def test_intervals_agree_with_the_time_base(times_s: list[float]) -> None:
    """One source after the other: the changes are those that the time base gives for the times between them."""
    base = TimeBase.of("uniform:3", 30)
    edges_s = [0.0, *(t for t in sorted(times_s) if t > 0.01), 20.0]
    pieces = [(a, b) for a, b in pairwise(edges_s) if b - a > 0.01]
    points = points_of_intervals({f"s{i}": [piece] for i, piece in enumerate(pieces)}, base)
    assert (points.flags == base.flags_of_changes([a for a, _ in pieces])).all()


@pytest.mark.parametrize("pieces", [[[2, 1]], [[1]], [["a", "b"]], [[1, 1]]])
def test_intervals_that_are_none(pieces: list) -> None:
    with pytest.raises(CoPropError, match="intervals of 'dog'"):
        points_of_intervals({"dog": pieces}, TimeBase.of("avsbench", 3))


def test_a_sound_alone_tells_the_tail_that_no_frame_has() -> None:
    clip = clip_of_sound(Sound.silence(3.4), clip_id="tail")
    assert clip.num_frames == 3 and clip.size == (1, 1) and not clip.frames[2].any()
    assert clip.notes == ("the last 0.40 s of the sound belong to no frame under the sampling 'avsbench'",)
    assert clip_of_sound(Sound.silence(3.4), sampling="uniform:10").num_frames == 34
    assert json.loads(ControlPoints([True] + [False] * 2).to_json())["flags"] == [1, 0, 0]
