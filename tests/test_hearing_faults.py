"""Faults of recordings that once left everything silent: each is mended or told, whatever file or container it is in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import sounds
from hypothesis import given, settings, strategies as st
from media_clips import write_clip

from coprop_plugin import CoProp
from coprop_plugin.audio.level import Level, level_of
from coprop_plugin.control_points.changepoint import ChangePoint
from coprop_plugin.control_points.cosine import frame_log_mel
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.datasets.simulators import simulate
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.errors import MediaError
from coprop_plugin.language.model import model_audio
from coprop_plugin.media.canvas import Track
from coprop_plugin.media.mending import Channels, mend
from coprop_plugin.media.reader import read_clip
from coprop_plugin.media.sound import read_track
from coprop_plugin.structures import Sound

PIECES = [("none", 2), ("low", 3), ("high", 3), ("none", 2)]
HEARD = [(0, True), (2, False), (5, False), (8, True)]
PLAIN = sounds.sound(PIECES).samples


def wav(folder: Path, samples: np.ndarray, *, subtype: str = "FLOAT") -> Track:
    soundfile.write(folder / "a.wav", samples, sounds.RATE_HZ, subtype=subtype)
    return read_track(folder / "a.wav")


def heard(sound: Sound) -> list[tuple[int, bool | None]]:
    return [(s.start, s.silent) for s in ChangePoint()(clip_of_sound(sound)).segments()]


# Channels that cancel


@pytest.mark.parametrize("weights", [(1, -1), (-1, 1), (1, -0.9), (1, -1, 0), (1, 1, -1, -1)], ids=str)
def test_channels_out_of_phase_are_heard_as_loud_as_one(tmp_path: Path, weights: tuple[float, ...]) -> None:
    track = wav(tmp_path, np.stack([PLAIN * w for w in weights], axis=1))
    assert heard(track.sound) == HEARD
    assert np.allclose(np.abs(track.sound.samples), np.abs(PLAIN), atol=1e-6)
    assert len(track.notes) == 1 and "cancel each other" in track.notes[0]


def test_in_a_video_too(tmp_path: Path) -> None:
    stereo = np.stack([PLAIN, -PLAIN], axis=1)[3 * sounds.RATE_HZ : 5 * sounds.RATE_HZ + 8000]
    path = write_clip(
        tmp_path / "a.mkv", num_frames=60, sounds=[stereo], sound_rate_hz=sounds.RATE_HZ, sound_codec="pcm_s16le"
    )
    clip = read_clip(path, sampling="uniform:10")
    samples = clip.sound.samples[: 2 * sounds.RATE_HZ]
    assert np.allclose(samples, stereo[: len(samples), 0], atol=1e-4) and samples.any()
    assert any("cancel each other" in note for note in clip.notes)


def test_half_a_second_out_of_phase_is_enough(tmp_path: Path) -> None:
    """One source of several, as a widened voice is."""
    right = PLAIN.copy()
    right[6 * sounds.RATE_HZ : 7 * sounds.RATE_HZ] *= -1
    track = wav(tmp_path, np.stack([PLAIN, right], axis=1))
    assert np.allclose(track.sound.samples, PLAIN, atol=1e-6) and track.notes


@settings(max_examples=25, deadline=None)
@given(channels=st.integers(2, 6), seed=st.integers(0, 99), alone=st.booleans())
def test_unlike_channels_and_lone_ones_are_mixed_as_ever(channels: int, seed: int, alone: bool) -> None:
    block = 0.1 * np.random.default_rng(seed).standard_normal((24_000, channels)).astype(np.float32)
    block[:, 1:] *= not alone
    mixer = Channels(rate_hz=16000)
    mixed = [mixer.mono(piece) for piece in np.array_split(block, 7)]
    assert mixer.cancelled() is None and np.array_equal(np.concatenate(mixed), block.mean(axis=1))


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 20_000), max_size=6), seed=st.integers(0, 99))
def test_what_is_found_does_not_depend_on_blocks(cuts: list[int], seed: int) -> None:
    left = np.random.default_rng(seed).standard_normal(20_000).astype(np.float32)
    right = -0.9 * left if seed % 2 else left
    mixer = Channels(rate_hz=16000)
    for piece in np.split(np.stack([left, right], axis=1), sorted(cuts)):
        mixer.mono(piece)
    assert mixer.cancelled() == (0 if seed % 2 else None)


# Very quiet recordings


@settings(max_examples=20, deadline=None)
@given(down_db=st.floats(0, 55))
def test_a_quiet_recording_is_heard_like_a_loud_one(down_db: float) -> None:
    quiet = Sound(PLAIN * np.float32(10 ** (-down_db / 20)), sounds.RATE_HZ)
    assert heard(quiet) == HEARD


def test_what_listens_hears_it_raised() -> None:
    for down_db in (30, 45):
        quiet = Sound(PLAIN * np.float32(10 ** (-down_db / 20)), sounds.RATE_HZ)
        gain_db = level_of(quiet).gain_db
        raised = Sound(quiet.samples * np.float32(10 ** (gain_db / 20)), sounds.RATE_HZ)
        assert level_of(raised).loudest_dbfs == pytest.approx(-31, abs=0.01)
        assert np.allclose(frame_log_mel(clip_of_sound(quiet)), frame_log_mel(clip_of_sound(raised)), atol=0.01)
        assert np.abs(model_audio(quiet, 2, 8) - model_audio(raised, 2, 8)).max() < 1e-4


def test_a_steady_hiss_and_digital_silence_are_not_raised() -> None:
    assert level_of(sounds.sound([("none", 4)], bed_db=-60)).gain_db == 0
    assert level_of(sounds.sound([("none", 4)])) == Level(pytest.approx(-150), pytest.approx(-150))
    assert level_of(Sound(np.empty(0, np.float32), 16000)).gain_db == 0
    assert level_of(sounds.sound(PIECES)).gain_db == 0 and level_of(sounds.sound(PIECES)).note is None


def test_level_does_not_depend_on_length_or_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = sounds.sound(PIECES, bed_db=-70)
    padded = Sound(np.append(sound.samples, np.zeros(99_999, np.float32)), sound.rate_hz, ends=len(sound.samples))
    whole = level_of(sound)
    assert level_of(padded) == whole
    monkeypatch.setattr("coprop_plugin.audio.level.BLOCK_CELLS", 7)
    assert level_of(sound) == whole


# Erasing never goes without a word


@pytest.mark.parametrize(("bed_db", "why"), [(None, "only zeros"), (-60.0, "nothing above a steady -60 dBFS")])
def test_a_clip_that_is_silent_as_a_whole_is_told(bed_db: float | None, why: str) -> None:
    made = make_clip(3, size=(32, 32))
    clip = replace(made.clip, sound=sounds.sound([("none", made.clip.time_base.duration_s)], bed_db=bed_db))
    result = CoProp(control_points="changepoint", propagator="hold")(clip, simulate(made.scene, "perfect", seed=0))
    (note,) = [note for note in result.notes if "taken for silent" in note]
    assert why in note
    told = f"the masks of {len(result.changed)} frames were edited" if result.changed else "no mask was edited"
    assert told in note


def test_a_quiet_clip_keeps_its_masks_and_is_told() -> None:
    made = make_clip(3, size=(32, 32))
    quiet = replace(made.clip, sound=Sound(made.clip.sound.samples * np.float32(1e-3), made.clip.sound.rate_hz))
    loud, low = (
        CoProp(control_points="changepoint", propagator="hold")(clip, simulate(made.scene, "perfect", seed=0))
        for clip in (made.clip, quiet)
    )
    assert low.changed == loud.changed and (low.control_points.flags == loud.control_points.flags).all()
    assert any("very quiet" in note for note in low.notes) and not any("very quiet" in note for note in loud.notes)


# Numbers on another scale, a constant, clipping


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_integers_written_as_floats(tmp_path: Path, bits: int) -> None:
    track = wav(tmp_path, np.round(PLAIN * 2.0 ** (bits - 1)), subtype="DOUBLE")
    assert np.allclose(track.sound.samples, PLAIN, atol=2e-5) and heard(track.sound) == HEARD
    assert track.notes == (f"its floats are integers of {bits} bits; they are scaled to [-1, 1]",)


def test_floats_a_little_over_full_scale_stay(tmp_path: Path) -> None:
    loud = PLAIN * np.float32(3 / np.abs(PLAIN).max())
    track = wav(tmp_path, loud)
    assert np.allclose(track.sound.samples, loud) and not track.notes


def test_numbers_that_no_integer_has(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"samples of up to 1e\+12.*Write it again"):
        wav(tmp_path, PLAIN * 1e12 / np.abs(PLAIN).max())


@settings(max_examples=20, deadline=None)
@given(offset=st.sampled_from([-0.6, -0.1, 0.02, 0.3, 0.5]), seed=st.integers(0, 9))
def test_a_constant_is_taken_off(offset: float, seed: int) -> None:
    samples = 0.05 * np.random.default_rng(seed).standard_normal(30_000).astype(np.float32)
    shifted = samples + np.float32(offset)
    notes = mend(shifted, where="a.wav")
    assert np.abs(shifted - (samples - samples.mean() * bool(notes))).max() < (1e-6 if notes else abs(offset) + 1e-6)
    assert bool(notes) == (abs(offset) > 0.3 * 0.05)


def test_a_constant_makes_no_edges(tmp_path: Path) -> None:
    """Zeros follow where the sound ends: from a constant they are a step."""
    track = wav(tmp_path, PLAIN + np.float32(0.4))
    assert heard(track.sound) == HEARD and "constant offset of 0.400" in track.notes[0]
    padded = read_track(tmp_path / "a.wav", duration_s=12.0)
    assert np.abs(padded.sound.samples[-2 * sounds.RATE_HZ - 10 :]).max() < 1e-3


@pytest.mark.parametrize("gain", [8, 20])
def test_clipping_is_told_and_heard_through(tmp_path: Path, gain: float) -> None:
    track = wav(tmp_path, np.clip(PLAIN * gain, -1, 1), subtype="PCM_16")
    assert [start for start, _ in heard(track.sound)] == [0, 2, 5, 8]
    assert len(track.notes) == 1 and "is clipped" in track.notes[0]


def test_loud_sound_that_is_not_clipped_is_not_called_so(tmp_path: Path) -> None:
    for hz in (50, 440, 3000):
        tone = np.sin(2 * np.pi * hz * np.arange(40_000) / 16000)
        assert not wav(tmp_path, tone, subtype="PCM_16").notes, hz


def test_faults_together(tmp_path: Path) -> None:
    """Antiphase, integers as floats, an offset, and quiet."""
    left = PLAIN * 2000 + 500
    track = wav(tmp_path, np.stack([left, 1000 - left], axis=1))
    assert heard(track.sound) == HEARD and len(track.notes) == 3


@pytest.mark.needs("data")
@pytest.mark.parametrize("name", ["antiphase", "quiet_40db"])
def test_odd_files(data: Path, name: str) -> None:
    track = read_track(data / f"odd/{name}.wav")
    points = ChangePoint()(clip_of_sound(track.sound))
    assert points.silent is not None and not all(points.silent)
    assert bool(track.notes) == (name == "antiphase")
    assert (level_of(track.sound).note is not None) == (name == "quiet_40db")
