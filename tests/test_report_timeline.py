"""The timeline: a true outline of the sound, right places, bounded size, words for everything."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, strategies as st

from coprop_plugin.report.colours import class_colours
from coprop_plugin.report.compare import ClipComparison
from coprop_plugin.report.envelope import envelope
from coprop_plugin.report.lanes import Grid, fits
from coprop_plugin.report.svg import tag
from coprop_plugin.report.timeline import nice_step, timeline_svg
from coprop_plugin.structures import Clip, ControlPoints, FrameStack, Segment, Sound, TimeBase


def clip_of(num_frames=10, sampling="avsbench", rate_hz=1000, clip_id="clip"):
    time_base = TimeBase.of(sampling, num_frames)
    samples = np.sin(np.arange(round(rate_hz * time_base.duration_s))).astype(np.float32)
    stack = FrameStack(
        lambda t: np.zeros((4, 4, 3), np.uint8), num_frames=num_frames, frame_shape=(4, 4, 3), dtype="u1"
    )
    return Clip(clip_id, stack, Sound(samples, rate_hz), time_base)


def comparison_of(num_frames, *, truth=True, classes=(1,)):
    sets = tuple(frozenset(classes) if t % 3 else frozenset() for t in range(num_frames))
    iou = np.linspace(0, 1, num_frames)
    return ClipComparison(
        changed=np.arange(num_frames) % 2 * 0.5,
        classes=classes,
        base_sets=sets,
        refined_sets=sets[::-1],
        truth_sets=sets if truth else None,
        base_iou=iou if truth else None,
        refined_iou=iou[::-1] if truth else None,
    )


def drawn(clip, points, comparison, **more):
    names = {c: f"class {c}" for c in comparison.shown}
    segments = more.pop("segments", points.segments())
    colours = class_colours(comparison.shown)
    svg = timeline_svg(clip, points, segments, comparison, names=names, colours=colours, **more)
    return svg, ET.fromstring(svg)


def with_class(root, name):
    return [e for e in root.iter() if name in (e.get("class") or "").split()]


def words(root):
    return [e.text for e in root.iter() if e.tag == "text"]


@given(st.integers(1, 5), st.integers(1, 60), st.integers(0, 2000))
def test_envelope_bounds_the_sound_and_touches_it(duration_s, columns, longer):
    samples = np.random.default_rng(longer).normal(size=1000 * duration_s + longer).astype(np.float32)
    outline = envelope(Sound(samples, 1000), duration_s, columns=columns)
    covered = samples[: 1000 * duration_s]
    assert outline[:, 0].min() == covered.min() and outline[:, 1].max() == covered.max()
    middles = covered[np.linspace(0, len(covered), 2 * columns + 1).astype(int)[1::2]]
    assert (outline[:, 0] <= middles).all() and (middles <= outline[:, 1]).all()


def test_envelope_after_the_end_of_the_sound_is_flat():
    outline = envelope(Sound(np.ones(1000, np.float32), 1000), 4, columns=8)
    assert outline.tolist() == [[1, 1]] * 2 + [[0, 0]] * 6


@given(st.lists(st.booleans(), min_size=1, max_size=700))
def test_stretches_cover_exactly_the_set_columns(flags):
    grid = Grid.of(TimeBase.of("uniform:10", len(flags)))
    covered = np.zeros(len(flags), bool)
    for start, width in grid.any(flags):
        covered[round(start * len(flags)) : round((start + width) * len(flags))] = True
    assert (covered >= np.array(flags)).all()
    if len(flags) <= 480:
        assert np.array_equal(covered, flags)


def test_column_means_keep_the_mean_of_all():
    grid, values = Grid.of(TimeBase.of("uniform:10", 1000)), np.random.default_rng(0).random(1000)
    assert len(grid.mean(values)) == 480
    assert np.average(grid.mean(values), weights=np.diff(grid.columns)) == pytest.approx(values.mean())


def test_marks_lie_at_their_times_and_say_what_they_are():
    points = ControlPoints(
        np.array([1, 0, 0, 1, 0, 1, 0, 0, 0, 0]),
        confidence=np.linspace(0.1, 1, 10),
        silent=(False, True, None),
        categories=(("car", "man"), None, None),
    )
    segments = (Segment(0, 3, False, ("car", "man"), 1), Segment(3, 5, True), Segment(5, 10))
    svg, root = drawn(clip_of(), points, comparison_of(10), segments=segments)
    caps = [e for e in root.iter("svg") if with_class(e, "point-cap") and e is not root]
    assert [e.get("x") for e in caps] == ["0%", "30%", "50%"]
    assert [e.text for e in with_class(root, "point-time")] == ["0 s", "3 s", "5 s"]
    assert {"car, man", "silent"} <= set(words(root))
    hatched = [e for e in with_class(root, "band-edge") if e.get("fill") != "transparent"]
    assert [(e.get("x"), e.get("width")) for e in hatched] == [("30%", "20%")]
    assert len(with_class(root, "anchor")) == 1 and "anchor: frame 1" in svg
    assert len([e for e in root.iter("circle") if e in list(with_class(root, "dots")[0])]) == 10
    assert root.get("role") == "img"
    assert {e.get("id") for e in root.iter() if e.get("id")} >= set(root.get("aria-labelledby").split())
    assert "3 control points, at 0 s, 3 s, 5 s; 3 segments, 1 of them silent" in root.find("desc").text


def test_lanes_follow_what_is_known():
    points = ControlPoints(np.array([1, 0, 0, 0, 1]))
    _, bare = drawn(clip_of(5), points, comparison_of(5, truth=False))
    _, full = drawn(clip_of(5), points, comparison_of(5), truth_changes=[2])
    labels = [e.text for e in with_class(bare, "lane")]
    assert labels == ["sound, 1 kHz, peak 0 dBFS", "segments", "shown: class 1", "frames changed (2 of 5)"]
    more = {e.text for e in with_class(full, "lane")} - set(labels)
    assert more == {"changes of the truth", "frame IoU with the truth"}
    assert "truth changes at frame 2" in ET.tostring(full, "unicode")


def test_many_classes_are_counted_where_not_drawn():
    _, root = drawn(clip_of(5), ControlPoints(np.eye(1, 5)[0]), comparison_of(5, classes=tuple(range(1, 10))))
    lanes = [e.text for e in with_class(root, "lane")]
    assert [lane for lane in lanes if lane.startswith("shown")] == [f"shown: class {c}" for c in range(1, 7)]
    assert "3 more classes are not drawn" in lanes


def test_worse_frames_are_told_apart_from_better_ones():
    _, root = drawn(clip_of(5), ControlPoints(np.eye(1, 5)[0]), comparison_of(5))
    assert len(with_class(root, "gain")) == 3 and len(with_class(root, "loss")) == 2


def test_a_hundred_thousand_frames_stay_small():
    flags = np.random.default_rng(0).random(100_000) < 0.05
    flags[0] = True
    points = ControlPoints(flags, confidence=np.full(len(flags), 0.5), silent=(True,) * int(flags.sum()))
    svg, root = drawn(clip_of(len(flags), "uniform:25", rate_hz=50), points, comparison_of(len(flags)))
    assert len(svg) < 600_000
    times = [float(e.text.split()[0]) for e in with_class(root, "point-time")]
    assert times == sorted(times) and len(times) < 40


def test_digital_silence_is_said():
    clip = clip_of(3)
    still = Clip("still", clip.frames, Sound.silence(3), clip.time_base)
    _, root = drawn(still, ControlPoints(np.array([1, 0, 0])), comparison_of(3))
    assert "sound, 16 kHz, digital silence" in words(root)


def test_svg_escapes_names_and_values():
    name = "<script>\"'&"
    svg, root = drawn(clip_of(clip_id=name), ControlPoints(np.eye(1, 10)[0]), comparison_of(10))
    assert "<script" not in svg and root.find("title").text == f"Timeline of {name}"
    assert ET.fromstring(tag("a", "<b>", x='"><i>')).get("x") == '"><i>'


@pytest.mark.parametrize(
    "length, at_most, step", [(10, 10, 1), (11, 10, 2), (10, 5, 2), (0.16, 5, 0.05), (3600, 5, 1000)]
)
def test_nice_steps(length, at_most, step):
    assert nice_step(length, at_most=at_most) == pytest.approx(step)


def test_labels_show_where_they_fit():
    assert [fits("silent", share) for share in (1, 0.1, 0.01)] == ["", "roomy", None]
