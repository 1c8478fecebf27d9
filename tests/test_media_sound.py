"""Sound placed by its time: late, early, with gaps, longer, shorter, of any codec and form."""

from __future__ import annotations

import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from media_clips import tone, write_clip

from coprop_plugin.errors import MediaError
from coprop_plugin.media import canvas
from coprop_plugin.media.canvas import MEMORY_BYTES, NoSoundError
from coprop_plugin.media.reader import read_clip
from coprop_plugin.media.sound import read_sound, read_track


def noise(num_samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """``(N, channels) float32`` on the grid of 16-bit samples, so that lossless codecs keep it."""
    ints = np.random.default_rng(seed).integers(-16000, 16000, (num_samples, channels))
    return (ints / 32768).astype(np.float32)


def lag_of(found: np.ndarray, wanted: np.ndarray) -> int:
    """By how many samples ``found`` comes late (circular cross-correlation)."""
    spectrum = np.fft.rfft(found) * np.conj(np.fft.rfft(wanted))
    best = int(np.fft.irfft(spectrum, len(wanted)).argmax())
    return best - len(wanted) if best > len(wanted) // 2 else best


@pytest.mark.parametrize("form", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_files_are_the_channel_mean_at_their_own_rate(tmp_path: Path, form: str, channels: int) -> None:
    samples = noise(150_000, channels)
    soundfile.write(tmp_path / f"a.{form}", samples, 22050, subtype="PCM_16")
    sound = read_sound(tmp_path / f"a.{form}")
    assert sound.rate_hz == 22050 and sound.samples.dtype == np.float32
    assert np.allclose(sound.samples, samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("form", ["mp3", "ogg"])
def test_lossy_files(tmp_path: Path, form: str) -> None:
    wanted = tone(1.0)
    soundfile.write(tmp_path / f"a.{form}", np.stack([wanted, wanted], axis=1), 44100)
    found = read_sound(tmp_path / f"a.{form}").samples
    assert abs(len(found) - len(wanted)) < 2400
    assert np.abs(found[5000:40000] - wanted[5000:40000]).max() < 0.05 or form == "mp3"
    assert abs(np.sqrt(np.mean(found[5000:40000] ** 2)) - 0.5 / np.sqrt(2)) < 0.02


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "channels"),
    [
        ("a.mov", "pcm_s16le", 48000, 2),
        ("a.mkv", "flac", 44100, 2),
        ("a.mkv", "pcm_s16le", 8000, 1),
        ("a.avi", "pcm_s16le", 16000, 2),
    ],
)
def test_sound_of_a_video_is_exact(tmp_path: Path, name: str, codec: str, rate_hz: int, channels: int) -> None:
    samples = noise(2 * rate_hz, channels)
    video_codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_clip(tmp_path / name, codec=video_codec, sounds=[samples], sound_rate_hz=rate_hz, sound_codec=codec)
    sound = read_sound(path)
    assert sound.rate_hz == rate_hz
    assert np.allclose(sound.samples, samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("a.mp4", "aac", 44100),
        ("a.mp4", "aac", 16000),
        ("a.mkv", "aac", 44100),
        ("a.mkv", "libopus", 48000),
        ("a.webm", "libopus", 48000),
        ("a.mp4", "libmp3lame", 44100),
    ],
)
def test_the_delay_of_encoders_is_taken_out(tmp_path: Path, name: str, codec: str, rate_hz: int) -> None:
    wanted = (tone(2.0, rate_hz=rate_hz, hz=200) * (np.random.default_rng(1).random(2 * rate_hz) > 0.5)).astype(
        np.float32
    )
    video_codec = "libvpx" if name.endswith("webm") else "libx264"
    path = write_clip(tmp_path / name, codec=video_codec, sounds=[wanted], sound_rate_hz=rate_hz, sound_codec=codec)
    found = read_track(path, duration_s=2.0).sound.samples
    assert len(found) == len(wanted)
    assert lag_of(found, wanted) == 0


@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_a_late_start_is_zeros_and_told(tmp_path: Path, name: str) -> None:
    samples = noise(44100)
    path = write_clip(tmp_path / name, num_frames=50, sounds=[samples], sound_codec="pcm_s16le", sound_start_s=0.5)
    clip = read_clip(path)
    assert len(clip.sound.samples) == 2 * 44100
    assert not clip.sound.samples[:22050].any() and not clip.sound.samples[-22050:].any()
    assert np.allclose(clip.sound.samples[22050:-22050], samples[:, 0], atol=1e-7)
    assert "the sound starts 0.500 s late; zeros stand before it" in clip.notes
    assert any("the sound ends at 1.500 s; zeros follow up to 2.000 s" in note for note in clip.notes)


def test_sound_that_begins_behind_the_frames_is_silence_and_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", num_frames=25, sounds=[noise(44100)], sound_codec="flac", sound_start_s=3.0)
    clip = read_clip(path)
    assert len(clip.sound.samples) == 44100 and not clip.sound.samples.any()
    assert "the sound starts 3.000 s late; zeros stand before it" in clip.notes


def test_an_audio_file_in_a_video_container(tmp_path: Path) -> None:
    """What the encoder filled up before and behind the sound is taken off."""
    wanted = (tone(1.0, hz=200) * (np.random.default_rng(1).random(44100) > 0.5)).astype(np.float32)
    path = write_clip(tmp_path / "a.m4a", streams=0, sounds=[wanted])
    found = read_sound(path).samples
    assert len(found) == 44100 and lag_of(found, wanted) == 0
    with pytest.raises(MediaError, match="holds no video stream"):
        read_clip(path)


def test_the_clock_begins_with_the_first_frame(tmp_path: Path) -> None:
    """Both streams begin at 0.52 s: nothing is late. Sound that begins before the picture is left out."""
    samples = noise(2 * 44100)
    path = write_clip(
        tmp_path / "a.mkv", sounds=[samples], sound_codec="pcm_s16le", start_s=Fraction(13, 25), sound_start_s=-0.2
    )
    track = read_track(path, duration_s=2.0)
    assert np.allclose(track.sound.samples[: -int(0.2 * 44100)], samples[int(0.2 * 44100) :, 0], atol=1e-7)
    assert track.notes[0] == "the sound starts 0.200 s before the picture; that is left out"
    assert np.array_equal(read_clip(path).sound.samples, track.sound.samples)
    assert np.array_equal(read_clip(path, backend="decord").sound.samples, track.sound.samples)


@pytest.mark.parametrize(("name", "codec", "rounding"), [("a.mp4", "flac", 0), ("a.mkv", "pcm_s16le", 45)])
def test_gaps_are_zeros_and_told(tmp_path: Path, name: str, codec: str, rounding: int) -> None:
    """What follows a gap is where its time says: exactly, or to the millisecond that Matroska rounds to."""
    samples = noise(2 * 44100)
    path = write_clip(tmp_path / name, sounds=[samples], sound_codec=codec, sound_gap_s=(0.5, 1.0))
    track = read_track(path, duration_s=2.0)
    found, wanted = track.sound.samples, samples[:, 0]
    silent = np.flatnonzero(np.convolve(found != 0, np.ones(9), "same") == 0)
    begin, end = silent[0] - 4, silent[-1] + 5
    assert 0.45 < begin / 44100 <= 0.6 and 0.95 < end / 44100 <= 1.1
    assert np.allclose(found[:begin], wanted[:begin], atol=1e-7)
    assert abs(lag_of(found[60_000:80_000], wanted[60_000:80_000])) <= rounding
    assert len(track.notes) == 1 and track.notes[0].startswith("the sound has 1 gaps, 0.")


def test_longer_sound_is_cut_and_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", num_frames=30, sounds=[noise(3 * 44100)], sound_codec="pcm_s16le")
    clip = read_clip(path, sampling="uniform:10")
    assert clip.num_frames == 12 and len(clip.sound.samples) == round(1.2 * 44100)
    assert any(re.fullmatch(r"the sound is 1\.(80|79)\d s longer .* left out", note) for note in clip.notes)


def test_without_an_audio_stream(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    with pytest.raises(NoSoundError, match=r"no audio stream.*audio=FILE.*silent_ok=True \(--silent-ok"):
        read_clip(path)
    clip = read_clip(path, silent_ok=True)
    assert clip.sound.duration_s == 2 and not clip.sound.samples.any()
    assert "no audio stream: taken as silence" in clip.notes


@pytest.mark.needs("data")
def test_traps_of_real_clips(data: Path) -> None:
    streams = data / "real/streams"
    with pytest.raises(MediaError, match="--silent-ok"):
        read_clip(streams / "no_audio_stream.mp4")
    silent = read_clip(streams / "cockatoo_silent_track.mp4")
    assert not silent.sound.samples.any() and silent.sound.rate_hz == 16000 and silent.num_frames == 14
    opus = read_clip(streams / "flipping_a_pancake.mkv")
    assert opus.sound.rate_hz == 48000 and len(opus.sound.samples) == 480_000
    assert abs(20 * np.log10(np.sqrt(np.mean(opus.sound_of(0) ** 2))) + 23) < 1
    late = read_clip(streams / "small.mp4")
    assert "the sound starts 0.021 s late; zeros stand before it" in late.notes
    assert not late.sound.samples[:1024].any() and late.sound.samples[1024:2048].any()


@pytest.mark.needs("data")
@pytest.mark.parametrize("name", ["o2_car_5s", "o3_car_bmx_10s"])
def test_sound_in_the_video_equals_the_wav_beside_it(data: Path, name: str) -> None:
    """The mp4's stereo aac against the uncompressed mix: no lag, no other level."""
    import scipy.signal

    clip = read_clip(data / f"composed/{name}.mp4")
    wav = next((data / "composed/avss").glob(f"*/{name}/audio.wav"))
    wanted = read_sound(wav)
    found = scipy.signal.resample_poly(clip.sound.samples, 160, 441)
    count = min(len(found), len(wanted.samples))
    assert lag_of(found[:count], np.asarray(wanted.samples[:count])) == 0
    assert np.corrcoef(found[:count], wanted.samples[:count])[0, 1] > 0.99
    assert abs(np.std(found[:count]) / np.std(wanted.samples[:count]) - 1) < 0.02


def test_of_two_audio_streams_the_first(tmp_path: Path) -> None:
    first, second = noise(44100), noise(44100, seed=1)
    path = write_clip(tmp_path / "a.mkv", num_frames=25, sounds=[first, second], sound_codec="pcm_s16le")
    track = read_track(path)
    assert np.allclose(track.sound.samples, first[:, 0], atol=1e-7)
    assert track.notes == ("2 audio streams; the first one is read",)


def test_a_video_may_lend_its_sound(tmp_path: Path) -> None:
    samples = noise(2 * 44100)
    with_sound = write_clip(tmp_path / "sound.mov", sounds=[samples], sound_codec="pcm_s16le")
    mute = write_clip(tmp_path / "mute.mp4")
    assert np.array_equal(read_clip(mute, audio=with_sound).sound.samples, samples[:, 0])


# Damage, and things that are not sound


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_a_cut_off_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.{form}"
    soundfile.write(path, noise(44100), 44100, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(MediaError, match=r"a\.(wav|flac): (is cut off|cannot be read as flac)"):
        read_sound(path)


def test_a_cut_off_audio_stream(tmp_path: Path) -> None:
    """Two seconds of pictures, four of sound: behind the pictures only sound lies in the file."""
    path = write_clip(
        tmp_path / "a.mp4",
        sounds=[noise(4 * 44100)],
        container_options={"movflags": "faststart"},
    )
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(MediaError, match=r"is cut off or damaged: its audio ends at 3\.\d\d s of 4\.0"):
        read_clip(path)


def test_numbers_that_are_no_sound(tmp_path: Path) -> None:
    samples = noise(44100)[:, 0]
    samples[30_000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    with pytest.raises(MediaError, match=r"a\.wav: holds NaN or infinite samples at 0\.00 s"):
        read_sound(tmp_path / "a.wav")
    soundfile.write(tmp_path / "b.wav", noise(100), 100)
    with pytest.raises(MediaError, match="announces 1 channels at 100 Hz; allowed are"):
        read_sound(tmp_path / "b.wav")


def test_without_pyav_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", sounds=[tone(2.0)])
    for name in ("sound_av", "backend_av", "packets"):
        monkeypatch.delitem(sys.modules, f"coprop_plugin.media.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MediaError, match="read by PyAV, which is not installed: pip install av"):
        read_clip(path)
    soundfile.write(tmp_path / "a.wav", tone(2.0), 44100)
    assert read_clip(path, audio=tmp_path / "a.wav").sound.samples.any()


def test_long_sound_lies_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(3 * 44100)
    soundfile.write(tmp_path / "a.wav", samples, 44100, subtype="PCM_16")
    short = read_sound(tmp_path / "a.wav")
    assert not isinstance(short.samples, np.memmap)
    monkeypatch.setattr(canvas, "MEMORY_BYTES", 100_000)
    long = read_track(tmp_path / "a.wav", duration_s=4.0).sound
    assert isinstance(long.samples, np.memmap) and len(long.samples) == 4 * 44100
    assert np.array_equal(long.samples[: 3 * 44100], short.samples) and not long.samples[3 * 44100 :].any()
    assert np.array_equal(long.window(1.0, 2.0), short.window(1.0, 2.0))
    assert MEMORY_BYTES < 4 * 44100 * 600, "ten minutes lie in a file"


def test_silence_of_announced_years_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", sounds=[noise(44100)], sound_codec="pcm_s16le", sound_start_s=10**6)
    with pytest.raises(MediaError, match=r"at most 86400 s \(24 h\)"):
        read_sound(path)
