"""The report page: self-contained, escaped, bounded, and every sentence and number follows from the data."""

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings as profile, strategies as st
from PIL import Image

from coprop_plugin.errors import CoPropError
from coprop_plugin.report.compare import compare, explanation, frame_iou, headline
from coprop_plugin.report.html import write_report
from coprop_plugin.report.page import content_policy
from coprop_plugin.report.strips import choose_frames, picture
from coprop_plugin.report.tables import number, score_rows, seconds, setting_rows
from coprop_plugin.structures import (
    AVSBENCH_CLASSES,
    Clip,
    ControlPoints,
    FrameStack,
    Origin,
    Prediction,
    Segment,
    Sound,
    TimeBase,
)

VOID = {"meta", "img", "br"}
EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='x",
    "javascript:alert(1)",
    "{{ 7*7 }}&lt;",
]


class Page(HTMLParser):
    """Elements, text and nesting of a page."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(html)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


def example(num_frames=6, size=(24, 32), *, noise=False, sampling="avsbench", clip_id="clip", names=None):
    """A clip whose object sounds in frames 2 and 3; the base is a frame late, the refined masks are right."""
    rng = np.random.default_rng(0)
    shape = (*size, 3)

    def frame(t):
        return rng.integers(0, 256, shape, np.uint8) if noise else np.full(shape, 40 + t % 100, np.uint8)

    def labels(late):
        def read(t):
            inside = np.zeros(size, np.int16)
            inside[4:12, 6:16] = (t - late) % num_frames in (2, 3)
            return inside

        stack = FrameStack(read, num_frames=num_frames, frame_shape=size, dtype=np.int16)
        return Prediction.from_labels(stack, names=names, source="predictions")

    flags = np.zeros(num_frames, bool)
    flags[[0, 2, 4]] = True
    time_base = TimeBase.of(sampling, num_frames)
    return {
        "clip": Clip(
            clip_id,
            FrameStack(frame, num_frames=num_frames, frame_shape=shape, dtype=np.uint8),
            Sound(rng.normal(0, 0.1, round(time_base.duration_s * 800)).astype(np.float32), 800),
            time_base,
        ),
        "base": labels(1),
        "refined": labels(0),
        "control_points": ControlPoints(flags, silent=(True, False, True), origin=Origin("changepoint")),
    }


def report(tmp_path, **given):
    path = write_report(tmp_path / "report.html", **given)
    return Page(path.read_text("utf-8"))


def test_page_loads_nothing_and_runs_nothing(tmp_path):
    case = example()
    page = report(tmp_path, **case, truth=case["refined"], settings={"a": 1}, scores=[{"protocol": "p", "metric": "m"}])
    assert {"script", "link", "iframe", "object", "embed", "base", "form", "a"}.isdisjoint(t for t, _ in page.elements)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "href", "xlink:href")], (
            tag
        )
        assert attributes.get("src", "data:image/jpeg;").startswith("data:image/jpeg;")
        assert not re.search(r"url\((?!#)", " ".join(filter(None, attributes.values())))
    html = (tmp_path / "report.html").read_text("utf-8")
    css = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    policy = page.all("meta")[1]["content"]
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    assert policy == content_policy(css) and f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    assert "url(" not in css and "@import" not in css


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_given_becomes_markup(tmp_path, evil):
    case = example(clip_id=evil, names={1: evil})
    points = case["control_points"]
    case["control_points"] = ControlPoints(
        points.flags, categories=((evil,), None, (evil, evil)), origin=Origin(evil, (evil,), evil)
    )
    scores = [dict.fromkeys(("protocol", "metric", "unit", "note"), evil)]
    page = report(tmp_path, **case, scores=scores, settings={evil: {evil: evil}}, notes=[evil], title=evil)
    plain = report(tmp_path, **example(), scores=[{"protocol": "p", "metric": "m"}], settings={"a": "b"}, notes=["n"])
    tags = {tag for tag, _ in plain.elements} | {"li", "title"}
    assert {tag for tag, _ in page.elements} <= tags
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert page.words.count(re.sub(r"\s+", " ", evil)) >= 8


def test_numbers_and_sentences_follow_from_the_data(tmp_path):
    case = example()
    page = report(tmp_path, **case, truth=case["refined"])
    words = page.words
    assert "2 of 6 frames changed." in words
    assert "Masks now start or stop only at control points of the sound (2 s and 4 s)." in words
    assert "Before, 0 of 2 such changes lay at control points." in words
    assert "Mean frame IoU with the truth rises from 66.7 to 100.0 %." in words
    assert "control points where masks start or stop 0 of 2 → 2 of 2" in words
    assert len(page.all("img")) == 6 * 3 + 3
    alts = [image["alt"] for image in page.all("img")]
    assert "frame 2, before" in alts and "frame 5, truth" in alts
    assert "avsbench" in words and "changepoint" in words and "silent" in words


def test_without_truth_nothing_speaks_of_it(tmp_path):
    page = report(tmp_path, **example())
    assert len(page.all("img")) == 6 * 2 + 2
    assert "IoU" not in page.words and "truth" not in page.words


def test_the_same_input_gives_the_same_bytes(tmp_path):
    first = write_report(tmp_path / "a.html", **example()).read_bytes()
    assert first == write_report(tmp_path / "b.html", **example()).read_bytes()


def test_long_noisy_clips_stay_under_4_mb(tmp_path):
    case = example(400, size=(340, 360), noise=True, sampling="uniform:25")
    path = write_report(tmp_path / "report.html", **case, truth=case["base"])
    assert path.stat().st_size < 4_000_000
    page = Page(path.read_text("utf-8"))
    assert "24 of 400 frames" in page.words
    assert len(page.all("img")) == 24 * 3 + 3


def test_names_that_are_no_text_are_written_all_the_same(tmp_path):
    assert "b?d" in report(tmp_path, **example(clip_id="b\udcffd")).words


def test_unchanged_masks_are_said_to_be(tmp_path):
    case = example()
    case["base"] = case["refined"]
    page = report(tmp_path, **case)
    assert "None of the 6 frames changed: the refined masks equal the base masks." in page.words
    assert "The frame that changed most" not in page.words


def test_what_the_base_masks_are_stands_once_and_first(tmp_path):
    case = example()
    case["base"] = replace(case["base"], notes=("heard and seen: <dog>",))
    words = report(tmp_path, **case, notes=["heard and seen: <dog>", "another note"]).words
    assert words.count("heard and seen: <dog>") == 1 and words.count("another note") == 1
    assert words.index("heard and seen") < words.index("Frame by frame") < words.index("another note")
    assert "About the base masks" not in report(tmp_path, **example()).words


def test_avsbench_classes_have_their_names(tmp_path):
    case = example()
    labels = np.zeros((6, 24, 32), np.int16)
    labels[:, 2:9, 3:9] = 11
    case["refined"] = Prediction.from_labels(labels, class_ids=AVSBENCH_CLASSES)
    case["base"] = Prediction.from_labels(labels * 0, class_ids=AVSBENCH_CLASSES)
    assert "shown: car" in report(tmp_path, **case).words


def test_mismatched_input_is_named(tmp_path):
    case, short = example(), example(5)
    with pytest.raises(CoPropError, match="clip 'clip' has 6 frames, the base 5"):
        report(tmp_path, **{**case, "base": short["base"]})
    with pytest.raises(CoPropError, match="has 6 frames, the truth 5"):
        report(tmp_path, **case, truth=short["base"])
    with pytest.raises(CoPropError, match="has 6 frames, the control points 5"):
        report(tmp_path, **{**case, "control_points": short["control_points"]})
    with pytest.raises(CoPropError, match=r"segments lie in \[0, 6\)"):
        report(tmp_path, **case, segments=[Segment(0, 7)])
    with pytest.raises(CoPropError, match="a score row needs 'protocol' and 'metric'"):
        report(tmp_path, **case, scores=[{"metric": "mIoU", "base": 1.0}])
    assert not list(tmp_path.iterdir())


class TestCompare:
    def test_frame_iou_by_hand(self):
        truth = np.array([[1, 1, 2, -1]])
        assert frame_iou(np.array([[1, 0, 0, 5]]), truth) == pytest.approx((1 / 2 + 0) / 2)
        assert frame_iou(truth, truth) == 1.0
        assert frame_iou(np.zeros((1, 4), int), np.zeros((1, 4), int)) == 1.0
        assert frame_iou(np.ones((1, 4), int), np.zeros((1, 4), int)) == 0.0

    def test_frames_of_unknown_truth_count_nowhere(self, tmp_path):
        case = example()
        labels = case["refined"].labels[:]
        labels[[1, 2, 5]] = -1
        truth = Prediction.from_labels(labels)
        found = compare(case["base"], case["refined"], truth=truth)
        assert np.isnan(found.base_iou).tolist() == [False, True, True, False, False, True]
        page = report(tmp_path, **case, truth=truth)
        assert "rises from 66.7 to 100.0 %" in page.words and "nan" not in page.words.lower()
        unknown = Prediction.from_labels(labels * 0 - 1)
        assert "No frame's truth is known." in report(tmp_path, **case, truth=unknown).words

    def test_sizes_may_differ(self):
        small = example()
        large = Prediction.from_labels(np.kron(small["refined"].labels[:], np.ones((1, 3, 3), np.int16)))
        assert compare(large, small["refined"], truth=large).refined_iou.tolist() == [1] * 6
        assert not compare(large, small["refined"]).changed.any()

    def test_specks_have_a_colour_all_the_same(self, tmp_path):
        labels = np.zeros((6, 100, 100), np.int16)
        labels[:, 0, 0] = 3
        case = example()
        case["refined"] = Prediction.from_labels(labels, class_ids=(1, 3))
        assert compare(case["base"], case["refined"]).classes == (1, 3)
        assert len(report(tmp_path, **case).all("img")) == 14

    def test_specks_are_not_shown(self):
        labels = np.zeros((1, 100, 100), np.int16)
        labels[0, 0, :9] = 1
        speck = Prediction.from_labels(labels)
        found = compare(speck, speck, truth=speck)
        assert found.base_sets == (frozenset(),) and found.truth_sets == (frozenset({1}),)

    @pytest.mark.parametrize(
        "base, refined, said",
        [
            (
                "0110",
                "0011",
                ("Masks now start or stop only at control points of the sound (2 s).", "0 of 2 such changes"),
            ),
            (
                "0011",
                "0110",
                ("Of 2 frames where masks now start or stop, 0 are control points", "1 of 1 such change lay"),
            ),
            ("0000", "1111", ("Masks never start or stop within the clip, neither before nor now.",)),
        ],
    )
    def test_sentences(self, base, refined, said):
        def masks(pattern):
            return Prediction.from_labels(np.array([[[int(c)]] for c in pattern], np.int16))

        points = ControlPoints(np.array([1, 0, 1, 0]))
        sentences = " ".join(explanation(compare(masks(base), masks(refined)), points, TimeBase.of("avsbench", 4)))
        assert all(part in sentences for part in said), sentences
        assert (
            headline(compare(masks(base), masks(refined)))
            == f"{sum(a != b for a, b in zip(base, refined, strict=True))} of 4 frames changed."
        )

    def test_a_fall_is_called_a_fall(self):
        case = example()
        found = compare(case["refined"], case["base"], truth=case["refined"])
        assert "falls from 100.0 to 66.7 %" in explanation(found, case["control_points"], case["clip"].time_base)[-1]


@given(st.integers(1, 500), st.sets(st.integers(1, 499)), st.integers(4, 40))
def test_chosen_frames(num_frames, points, at_most):
    points = sorted({0} | {p for p in points if p < num_frames})
    frames = choose_frames(num_frames, points, at_most=at_most)
    assert len(frames) == min(num_frames, at_most) and list(frames) == sorted(set(frames))
    assert frames[0] == 0 and frames[-1] == num_frames - 1
    if len(points) <= at_most // 3:
        assert {t for p in points for t in (p - 1, p) if t >= 0} <= set(frames)


@profile(max_examples=10)
@given(st.integers(500, 60_000))
def test_pictures_keep_to_their_budget_where_a_quality_does(max_bytes):
    noise = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    packed = base64.b64decode(picture(noise, max_bytes=max_bytes).uri.partition(",")[2])
    lowest = base64.b64decode(picture(noise, max_bytes=0).uri.partition(",")[2])
    assert len(packed) <= max(max_bytes, len(lowest))
    assert Image.open(io.BytesIO(packed)).size == (120, 100)


def test_score_rows_keep_protocols_together():
    rows = score_rows(
        [
            {"protocol": "a", "metric": "m", "base": 50.0, "refined": 40.0, "unit": "%"},
            {"protocol": "b", "metric": "n", "base": None, "refined": float("nan"), "note": "no silent frame"},
            {"protocol": "a", "metric": "o", "base": 0.5, "refined": 0.75},
        ]
    )
    assert [(r.protocol, r.metric, r.first, r.span) for r in rows] == [
        ("a", "m", True, 2),
        ("a", "o", False, 2),
        ("b", "n", True, 1),
    ]
    assert [(r.base, r.refined, r.change) for r in rows] == [
        ("50.00", "40.00", "−10.00"),
        ("0.500", "0.750", "+0.250"),
        ("–", "–", ""),
    ]


def test_numbers_and_settings_as_text():
    assert [seconds(t) for t in (0, 3, 0.04, 2.5, 123456)] == ["0 s", "3 s", "0.04 s", "2.5 s", "123456 s"]
    assert [number(v, u) for v, u in [(12.345, "%"), (12.345, ""), (7, ""), (None, "%"), (-0.5, "")]] == [
        "12.35",
        "12.345",
        "7",
        "–",
        "−0.500",
    ]
    rows = setting_rows({"propagator": {"name": "flow", "empty": {}}, "seed": 3, "long": "x" * 1000})
    assert rows[1:] == [("propagator.empty", "–"), ("propagator.name", "flow"), ("seed", "3")]
    assert rows[0][1].endswith("… (1000 characters)") and len(rows[0][1]) < 450


@given(st.integers(41, 500), st.sets(st.integers(0, 499), min_size=1), st.integers(12, 40))
def test_changed_frames_are_among_the_chosen(num_frames, changed, at_most):
    changed = sorted({t for t in changed if t < num_frames} or {num_frames // 2})
    frames = choose_frames(num_frames, [0], at_most=at_most, changed=changed)
    assert len(frames) == at_most and list(frames) == sorted(set(frames))
    assert len(set(frames) & set(changed)) >= min(len(changed), at_most // 2 - 2)
    assert {changed[0], changed[-1]} <= set(frames)
