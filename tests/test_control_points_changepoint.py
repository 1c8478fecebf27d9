"""Change points of sounds whose changes are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sounds

from coprop_plugin import parts
from coprop_plugin.control_points import changepoint
from coprop_plugin.control_points.cells import CELLS_PER_S
from coprop_plugin.control_points.changepoint import ChangePoint, Heard, hear, on_frames
from coprop_plugin.control_points.segmentation import SILENT, SOUNDING, Prices
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import Clip, ControlPoints, Sound
from coprop_plugin.study.clips import Known, composed_clips
from coprop_plugin.study.points import agreement

BARKS = [piece for pause_s in (0.5, 0.35, 0.6, 0.4, 0.55, 0.5) for piece in (("noise", 0.25), ("none", pause_s))]


def found(clip: Clip) -> ControlPoints:
    return ChangePoint()(clip)


def listed(points: ControlPoints) -> list[tuple[int, bool | None]]:
    """First frame and silence of each segment."""
    return [(segment.start, segment.silent) for segment in points.segments()]


@pytest.mark.parametrize("bed_db", [None, -57.0], ids=["digital silence", "bed of noise"])
@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([("low", 5)], [(0, False)]),
        ([("none", 2), ("low", 3)], [(0, True), (2, False)]),
        ([("low", 2), ("high", 3), ("noise", 2), ("low", 3)], [(0, False), (2, False), (5, False), (7, False)]),
        ([("low", 3), ("low+high", 2), ("low", 2), ("none", 1), ("high", 2)], [(0, False), (3, False), (5, False), (7, True), (8, False)]),
        ([("none", 1.4), ("high", 2.2), ("none", 1.4)], [(0, True), (1, False), (4, True)]),
        ([("none", 4), ("low", 1)], [(0, True), (4, False)]),
        (BARKS, [(0, False)]),
        ([("none", 5)], [(0, True)]),
    ],
    ids=["steady", "late start", "four sources", "added and taken away", "off the grid", "last second", "barks", "nothing"],
)  # fmt: skip
def test_changes_silence_and_pauses(pieces: list, expected: list, bed_db: float | None) -> None:
    points = found(sounds.clip(pieces, bed_db=bed_db))
    assert listed(points) == expected
    assert points.origin.generator == "changepoint"


@pytest.mark.parametrize("bed_db", [-57, -56, -55, -54, -53])
def test_a_sound_at_the_threshold_of_silence_does_not_flicker(bed_db: float) -> None:
    assert found(sounds.clip([("none", 8)], bed_db=bed_db)).frames == (0,)


def test_confidence_is_high_where_the_sound_is_plain() -> None:
    points = found(sounds.clip([("low", 3), ("none", 2), ("high", 5)]))
    assert points.confidence is not None and points.confidence[0] == 1
    assert points.confidence.min() > 0.9


def test_confidence_is_low_where_a_change_is_doubtful() -> None:
    """A source that is added far under another one: whatever is decided, not with certainty."""
    loud, faint = sounds.sound([("low", 10)]).samples, sounds.sound([("none", 5), ("high", 5)]).samples
    doubts = []
    for gain_db in (0, -30, -60):
        mixture = Sound((loud + 10 ** (gain_db / 20) * faint).astype(np.float32), sounds.RATE_HZ)
        points = found(clip_of_sound(mixture))
        doubts.append(points.confidence[5] if points.flags[5] else 1 - points.confidence[5])
    assert doubts[0] > 0.99 and doubts[2] < 0.1 and doubts[0] >= doubts[1] >= doubts[2]


@pytest.mark.parametrize("gain_db", [-12, 6])
def test_loudness_does_not_matter(gain_db: float) -> None:
    clip = make_clip(3, size=(32, 32)).clip
    louder = Sound(clip.sound.samples * np.float32(10 ** (gain_db / 20)), clip.sound.rate_hz)
    assert (found(clip_of_sound(louder)).flags == found(clip).flags).all()


@pytest.mark.parametrize("rate_hz", [8000, 22050, 48000])
def test_the_native_rate_does_not_matter(rate_hz: int) -> None:
    """The same waves, sampled at another rate."""
    times_s = np.arange(10 * rate_hz) / rate_hz
    wave = np.where(times_s < 3, np.sin(2 * np.pi * 300 * times_s), np.sin(2 * np.pi * 1200 * times_s))
    wave[times_s >= 8] = 0
    points = found(clip_of_sound(Sound((0.2 * wave).astype(np.float32), rate_hz)))
    assert listed(points) == [(0, False), (3, False), (8, True)]


def test_fine_windows_get_fine_times() -> None:
    pieces = [("low", 1.48), ("none", 1.0), ("noise", 1.32), ("high", 1.2)]
    points = found(sounds.clip(pieces, sampling="uniform:25"))
    assert np.abs(np.array(points.frames) - [0, 37, 62, 95]).max() <= 1
    assert points.silent == (False, True, False, False)
    assert points.confidence is not None and points.confidence[points.flags].min() > 0.9


def test_a_long_sound_is_heard_in_stretches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Seams are no changes, changes at and near seams are found, a mapped file gives the same, bit for bit."""
    clip = sounds.clip([("low", 9), ("high", 11), ("none", 5), ("noise", 20), ("low", 15)], bed_db=-60)
    whole = found(clip)
    assert listed(whole) == [(0, False), (9, False), (20, True), (25, False), (45, False)]
    clip.sound.samples.tofile(tmp_path / "sound.f32")
    mapped = clip_of_sound(Sound(np.memmap(tmp_path / "sound.f32", np.float32, "r"), sounds.RATE_HZ))
    for stretch_s in (10, 12, 18):
        monkeypatch.setattr(changepoint, "STRETCH_CELLS", stretch_s * CELLS_PER_S)
        assert listed(found(clip)) == listed(whole), stretch_s
    assert (found(mapped).confidence == found(clip).confidence).all()


@pytest.mark.parametrize(("change_s", "frame"), [(5.3, 5), (9.7, 10)], ids=["after half", "at the end"])
def test_a_change_near_the_ends_of_a_stretch(monkeypatch: pytest.MonkeyPatch, change_s: float, frame: int) -> None:
    """Too near to be placed rightly by one of two stretches: the other one's word counts."""
    monkeypatch.setattr(changepoint, "STRETCH_CELLS", 10 * CELLS_PER_S)
    assert found(sounds.clip([("low", change_s), ("noise", 20 - change_s)])).frames == (0, frame)


@pytest.mark.parametrize("name", ["low", "noise"])
def test_a_steady_sound_is_one_segment_however_long(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(changepoint, "STRETCH_CELLS", 10 * CELLS_PER_S)
    assert listed(found(sounds.clip([(name, 60)], bed_db=-50))) == [(0, False)]


def test_an_odd_moment_in_half_a_minute_of_a_steady_tone_is_no_event() -> None:
    pieces = [("low", 30.05), ("high", 29.95)]
    assert listed(found(sounds.clip(pieces))) == [(0, False), (30, False)]


def test_what_follows_the_windows_is_not_heard() -> None:
    clip = sounds.clip([("low", 4), ("high", 1)])
    cut = Clip("cut", np.zeros((4, 1, 1, 3), np.uint8), clip.sound, sounds.clip([("low", 4)]).time_base)
    state, change, probability = hear(cut.sound, cut.time_base, Prices())
    assert len(state) == len(change) == len(probability) == 40
    assert found(cut).frames == (0,)


def test_a_sound_between_two_midpoints_leaves_one_silent_segment() -> None:
    state, change = np.full(40, SILENT), np.zeros(40, bool)
    state[26:31], change[[26, 31]] = SOUNDING, True
    heard = Heard(state, change, np.where(change, 0.9, 0))
    points = on_frames(sounds.clip([("none", 4)]).time_base, heard, np.array([2.6, 3.1]))
    assert listed(points) == [(0, True)]


def test_a_sound_shorter_than_a_segment() -> None:
    assert listed(found(sounds.clip([("low", 0.2)]))) == [(0, False)]
    assert listed(found(clip_of_sound(Sound(np.empty(0, np.float32), 16000)))) == [(0, True)]


def test_synthetic_clips_are_mostly_right() -> None:
    made = [make_clip(seed, size=(48, 48)) for seed in range(200, 212)]
    scores = agreement(ChangePoint(), [Known(m.clip, m.scene.control_points()) for m in made])
    assert scores["F1@0"] > 0.85 and scores["precision@0"] > 0.85


@pytest.mark.needs("data")
def test_composed_clips(data: Path) -> None:
    """All but the clip whose only sound comes from something that is not in the picture."""
    for known in composed_clips(data / "composed"):
        clip, truth = known.clip, known.points.flags
        if clip.clip_id != "o4_negative_5s":
            assert (found(clip).flags == truth).all(), clip.clip_id
        else:
            assert listed(found(clip)) == [(0, False), (3, True)]


def test_options_by_name() -> None:
    assert parts.build("control_points", "changepoint:change=20,min_cells=4").prices == Prices(change=20, min_cells=4)
    with pytest.raises(CoPropError, match="has no option 'penalty'"):
        parts.build("control_points", "changepoint:penalty=3")
    steady = sounds.clip([("low", 5), ("high", 5)])
    assert ChangePoint(change=1e6)(steady).frames == (0,)


def test_torch_is_not_imported() -> None:
    code = "import sys, coprop_plugin.control_points.changepoint; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
