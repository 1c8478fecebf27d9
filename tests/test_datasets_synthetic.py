"""Synthetic clips: deterministic, exact, and as their kind promises."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from coprop_plugin.datasets.scene import Scene
from coprop_plugin.datasets.schedule import KINDS, clip_kind, draw_states, intervals
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.datasets.timbre import RATE_HZ, class_loop
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import AVSBENCH_CLASSES, AVSBENCH_NAMES, change_flags, class_sets

SMALL = (64, 80)


def digest(seed: int, kind: str) -> str:
    made = make_clip(seed, kind=kind, size=SMALL)
    parts = (made.clip.frames[:], made.scene.instances[:], made.clip.sound.samples, made.scene.sounding)
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


def test_same_seed_same_bytes_in_another_process_and_other_seed_other_bytes():
    code = f"import sys; sys.path[:0] = {[*sys.path]!r}\nimport numpy as np, hashlib\n"
    code += "from coprop_plugin.datasets.synthetic import make_clip\n"
    code += f"m = make_clip(5, kind='moc', size={SMALL})\n"
    code += "p = (m.clip.frames[:], m.scene.instances[:], m.clip.sound.samples, m.scene.sounding)\n"
    code += "print(hashlib.sha256(b''.join(np.ascontiguousarray(x).tobytes() for x in p)).hexdigest())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert digest(5, "moc") == other
    assert len({digest(s, k) for s in (5, 6) for k in ("moc", "avss")}) == 4


def test_frames_are_the_same_in_any_order():
    made, again = (make_clip(2, kind="avss", size=SMALL) for _ in range(2))
    backwards = [made.clip.frames[t] for t in reversed(range(10))][::-1]
    assert np.array_equal(np.stack(backwards), again.clip.frames[:])


@pytest.mark.parametrize("kind", [*KINDS, "uniform:8"])
def test_truth_shows_exactly_the_sounding_objects_and_its_classes_give_the_control_points(kind):
    for seed in range(6):
        made = make_clip(seed, kind=kind, size=SMALL)
        scene, truth = made.scene, made.scene.truth()
        assert truth.kind == "hard" and truth.class_ids == scene.class_ids
        assert set(scene.class_ids) <= set(AVSBENCH_CLASSES)
        for t in range(scene.num_frames):
            instances, labels = scene.instance_map(t), truth.label_map(t)
            for column, object_id in enumerate(scene.object_ids):
                expected = scene.object_class[object_id] if scene.sounding[t, column] else 0
                assert (labels[instances == object_id] == expected).all()
            assert not labels[instances == 0].any()
        sets = class_sets([truth.label_map(t) for t in range(scene.num_frames)])
        points = scene.control_points()
        assert np.array_equal(points.flags, change_flags(sets))
        for segment in points.segments():
            assert segment.silent == (not sets[segment.start])
            assert segment.categories == tuple(AVSBENCH_NAMES[c] for c in sorted(sets[segment.start]))


def test_every_object_stays_visible_so_that_sound_and_masks_tell_the_same_changes():
    for seed in range(16):
        made = make_clip(seed, kind="moc", size=(112, 112))
        maps = made.scene.instances[:]
        areas = [(maps == o).mean(axis=(1, 2)).min() for o in made.scene.object_ids]
        assert min(areas) > 0.008, (seed, areas)
        heard = (np.diff(made.scene.sounding.astype(int), axis=0) != 0).any(axis=1)
        assert np.array_equal(made.scene.control_points().flags[1:], heard)


def test_kinds_have_the_changes_that_they_promise():
    rng = np.random.default_rng(0)
    changes = {
        name: np.array(
            [(np.diff(draw_states(rng, kind, kind.num_frames), axis=0) != 0).any(axis=1).sum() for _ in range(600)]
        )
        for name, kind in KINDS.items()
    }
    assert (changes["s4"] == 0).all()
    assert 0.21 < (changes["ms3"] > 0).mean() < 0.33
    assert (changes["moc"] >= 3).all() and (changes["moc"] > 3).any()
    assert 0.35 < (changes["avss"] > 0).mean() < 0.55
    states = draw_states(rng, clip_kind("uniform:25"), 100)
    gaps = np.diff([0, *np.flatnonzero((np.diff(states, axis=0) != 0).any(axis=1)) + 1, 100])
    assert (gaps[1:-1] >= 13).all()


def test_objects_are_heard_when_they_sound_and_silence_is_silent_without_a_bed():
    checked = 0
    for seed in range(12):
        made = make_clip(seed, kind="moc", size=(32, 32), bed="none")
        on = np.zeros(10, bool)
        for event in made.events:
            on[int(event.start_s) : int(event.stop_s)] = True
        power = np.array([np.abs(made.clip.sound_of(t)).max() for t in range(10)])
        assert (power[on] > 0.02).all() and (power[~on] == 0).all()
        checked += int((~on).sum())
        assert all(on[made.scene.sounding.any(axis=1)])
    assert checked > 3


@pytest.mark.parametrize("kind", ["moc", "uniform:4"])
def test_free_onsets_keep_the_frame_of_every_change_by_the_half_rule(kind):
    moved = 0
    for seed in range(10):
        made = make_clip(seed, kind=kind, size=(32, 32), onsets="free")
        base = made.clip.time_base
        on_screen = [e for e in made.events if e.object_id is not None]
        times = {s for e in on_screen for s in (e.start_s, e.stop_s) if 0 < s < base.duration_s}
        heard = (np.diff(made.scene.sounding.astype(int), axis=0) != 0).any(axis=1)
        assert np.array_equal(base.flags_of_changes(times)[1:], heard)
        moved += sum(not float(s * float(base.sampling.rate_hz)).is_integer() for s in times)
        for t, (start, stop) in enumerate(base.sound_window_s):
            for column, object_id in enumerate(made.scene.object_ids):
                overlap = sum(
                    max(0.0, min(stop, e.stop_s) - max(start, e.start_s)) for e in on_screen if e.object_id == object_id
                )
                assert made.scene.sounding[t, column] == (overlap >= 0.5 * (stop - start) - 1e-9)
    assert moved > 10


def test_between_renders_the_moments_strictly_between_two_frames():
    made = make_clip(1, kind="moc", size=SMALL, between_hz=8)
    times = made.clip.time_base.frame_time_s
    frames = list(made.clip.between(times[3], times[4]))
    assert len(frames) == 8  # 4.0, 4.125, …, 4.875 lie in (3.9375, 4.9375)
    uniform = make_clip(1, kind="uniform:4", size=SMALL, between_hz=8)
    (middle,) = uniform.clip.between(0.25, 0.5)
    assert middle.shape == (*SMALL, 3)
    step = np.abs(middle.astype(int) - uniform.clip.frames[1]).mean()
    assert 0 < step < np.abs(uniform.clip.frames[1].astype(int) - uniform.clip.frames[7]).mean()


def log_bands(samples: np.ndarray) -> np.ndarray:
    """A plain log spectrum in 48 bands, mean and spread over time: enough to tell timbres apart."""
    frames = samples[: len(samples) // 512 * 512].reshape(-1, 512) * np.hanning(512)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.unique(np.geomspace(2, 257, 49).astype(int))
    bands = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-3)
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0)])


def test_every_class_has_a_timbre_of_its_own():
    loops = {c: class_loop(c) for c in AVSBENCH_CLASSES}
    assert all(abs(np.sqrt(np.mean(loop**2)) - 1) < 1e-3 for loop in loops.values())
    first = np.stack([log_bands(loops[c][:RATE_HZ]) for c in AVSBENCH_CLASSES])
    second = np.stack([log_bands(loops[c][RATE_HZ:]) for c in AVSBENCH_CLASSES])
    nearest = np.linalg.norm(first[:, None] - second[None], axis=2).argmin(axis=1)
    assert np.mean(nearest == np.arange(len(nearest))) == 1


def test_binary_scene_shows_class_one_and_keeps_the_class_changes():
    semantic, binary = (make_clip(4, kind="moc", size=SMALL, semantic=s).scene for s in (True, False))
    assert binary.class_ids == (1,)
    assert np.array_equal(binary.truth().label_map(3), (semantic.truth().label_map(3) > 0).astype(np.int16))
    assert np.array_equal(binary.control_points().flags, semantic.control_points().flags)


def test_motion_between_frames_is_moderate():
    overlaps = []
    for seed in range(12):
        maps = make_clip(seed, kind="moc", size=(112, 112)).scene.instances[:]
        for a, b in pairwise(maps):
            overlaps += [((a == o) & (b == o)).sum() / ((a == o) | (b == o)).sum() for o in np.unique(maps)[1:]]
    assert 0.6 < np.mean(overlaps) < 0.85


def test_intervals():
    assert intervals(np.array([1, 1, 0, 0, 1], bool)) == [(0, 2), (4, 5)]
    assert intervals(np.zeros(3, bool)) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kind": "mos"}, "unknown kind of clip 'mos'. Did you mean"),
        ({"kind": "moc", "num_frames": 3}, "give at least 4 frames"),
        ({"num_frames": 0}, "at least 1 frame"),
        ({"size": (8, 8)}, r"at least \(32, 32\) px"),
        ({"onsets": "fre"}, "Did you mean 'free'"),
        ({"bed": "loud"}, "unknown bed"),
        ({"kind": "uniform:0"}, "cannot have the rate 0"),
    ],
)
def test_bad_options_are_told(options, message):
    with pytest.raises(CoPropError, match=message):
        make_clip(0, **options)


def test_negative_seed_is_refused():
    with pytest.raises(CoPropError, match="a seed from 0 on"):
        make_clip(-1)


def scene_of(**changes) -> Scene:
    instances = np.zeros((2, 4, 4), np.uint8)
    instances[:, 0] = 7
    whole = {"instances": instances, "object_class": {7: 3}, "sounding": np.array([[True], [False]])}
    return Scene(**(whole | changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sounding": np.ones((2, 2), bool)}, r"\(T, O\) = \(2, 1\)"),
        ({"object_class": {0: 3}}, "object ids are integers from 1 on"),
        ({"object_class": {7: 0}}, "class ids are distinct integers from 1 to 32767"),
        ({"instances": np.zeros((4, 4))}, r"instances are \(T, H, W\)"),
        ({"labelling": "binry"}, "Did you mean 'binary'"),
    ],
)
def test_scene_checks_itself(changes, message):
    with pytest.raises(CoPropError, match=message):
        scene_of(**changes)


def test_an_object_without_a_class_is_named_when_its_frame_is_read():
    with pytest.raises(CoPropError, match=r"frame 1 shows the objects \[7\], which have no class; known are \[2\]"):
        scene_of(object_class={2: 3}).label_map(1)


def test_silence_is_a_state_unless_told_otherwise():
    scene = scene_of()
    assert scene.control_points().flags.tolist() == [True, True]
    assert scene.control_points().silent == (False, True)
    assert scene.control_points(silence_counts=False).flags.tolist() == [True, False]


@pytest.mark.parametrize("value", [-1, 0.5, 1 << 40])
def test_what_is_no_object_id_is_told(value):
    with pytest.raises(CoPropError, match="frame 0 holds no object ids"):
        scene_of(instances=np.full((2, 4, 4), value)).label_map(0)


def test_seeds_keep_their_meaning():
    """Numbers are reported for ranges of seeds: what a seed stands for must not drift."""
    made = make_clip(1, size=(32, 32))
    assert made.scene.object_class == {1: 42, 2: 59, 3: 2}
    assert ["".join(map(str, column.astype(int))) for column in made.scene.sounding.T] == [
        "0111110111",
        "1111111000",
        "1000001000",
    ]
