"""``read_clip``: samplings, folders, times between frames, and memory that stays flat."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from media_clips import number_of, numbered, tone, write_clip
from PIL import Image

import coprop_plugin as cp
from coprop_plugin.errors import CoPropError, MediaError
from coprop_plugin.media.reader import read_clip
from coprop_plugin.media.timeline import Timeline, num_frames, sampled_indices
from coprop_plugin.structures import parse_sampling

AVSBENCH = parse_sampling("avsbench")


def regular(rate: float, count: int) -> Timeline:
    return Timeline(np.arange(count) / rate, count / rate, rate)


# Samplings, as pure functions over times


@pytest.mark.parametrize(
    ("rate", "seconds", "wanted"),
    [
        (25, 5.0, [23, 48, 73, 98, 123]),
        (30, 5.0, [28, 58, 88, 118, 148]),
        (24, 5.0, [22, 46, 70, 94, 118]),
        (30000 / 1001, 5.005, [28, 58, 88, 118, 148]),
        (7.5, 5.2, [7, 15, 23, 31, 38]),
        (25, 3.4, [23, 48, 73]),
        (25, 0.5, [11]),  # past the end: the last frame
        (1, 3.0, [0, 1, 2]),
    ],
)
def test_avsbench_takes_the_frames_that_the_published_preparation_takes(
    rate: float, seconds: float, wanted: list[int]
) -> None:
    indices, notes = sampled_indices(regular(rate, round(rate * seconds)), AVSBENCH)
    assert indices.tolist() == wanted and notes == ()


@pytest.mark.parametrize("rate", [8, 12, 24, 25, 30, 50, 60])
def test_at_whole_rates_the_count_and_the_time_agree(rate: int) -> None:
    timeline = regular(rate, rate * 200)
    indices, _ = sampled_indices(timeline, AVSBENCH)
    assert np.array_equal(indices, timeline.index_at(AVSBENCH.frame_time_s(200)))


def test_a_count_that_drifts_away_from_the_picture_is_left() -> None:
    """Ten minutes of 29.97 fps: the published count would be 0.6 s ahead at the end."""
    timeline = regular(30000 / 1001, 18_000)
    indices, notes = sampled_indices(timeline, AVSBENCH)
    shown_s = timeline.times_s[indices]
    assert len(indices) == 600 and np.abs(shown_s - (np.arange(600) + 15 / 16)).max() < 1 / 29
    assert len(notes) == 1 and "would drift by 0.6 s" in notes[0]


def test_avsbench_at_a_variable_rate_takes_what_is_shown() -> None:
    times_s = np.array([0, 0.5, 0.95, 1.2, 1.93, 2.5])
    indices, notes = sampled_indices(Timeline(times_s, 3.0, 2.0), AVSBENCH)
    assert indices.tolist() == [1, 4, 5] and "the frame rate varies" in notes[0]


def test_uniform_takes_the_frame_that_has_begun() -> None:
    timeline = regular(25, 50)
    assert sampled_indices(timeline, parse_sampling("uniform:25"))[0].tolist() == list(range(50))
    assert sampled_indices(timeline, parse_sampling("uniform:10"))[0].tolist()[:4] == [0, 2, 5, 7]
    assert sampled_indices(timeline, parse_sampling("uniform:50"))[0].tolist()[:4] == [0, 0, 1, 1]
    rounded_to_ms = Timeline(np.round(np.arange(90) / 30, 3), 3.0, 30.0)
    assert sampled_indices(rounded_to_ms, parse_sampling("uniform:30"))[0].tolist() == list(range(90))
    assert rounded_to_ms.constant_rate_hz == 30


@pytest.mark.parametrize(
    ("sampling", "duration_s", "count"),
    [
        ("avsbench", 5.0, 5),
        ("avsbench", 4.9995, 5),
        ("avsbench", 4.9, 4),
        ("avsbench", 5.99, 5),
        ("avsbench", 0.04, 1),
        ("uniform:25", 2.0, 50),
        ("uniform:25", 2.0005, 50),
        ("uniform:25", 2.01, 51),
        ("uniform:30000/1001", 5.005, 150),
        ("uniform:1/2", 5.0, 3),
    ],
)
def test_how_many_frames(sampling: str, duration_s: float, count: int) -> None:
    assert num_frames(parse_sampling(sampling), duration_s) == count


def test_impossible_times_are_refused() -> None:
    with pytest.raises(CoPropError, match="cannot have the rate 1e\\+06 Hz; allowed are"):
        parse_sampling("uniform:1000000")
    with pytest.raises(MediaError, match="uniform:1000 gives 60000000 frames"):
        num_frames(parse_sampling("uniform:1000"), 60_000.0)
    for times_s, duration_s in (([], 1), ([0, 1, 1], 3), ([1, 2], 3), ([0, np.nan], 3), ([0, 1], 1)):
        with pytest.raises(MediaError):
            Timeline(np.array(times_s, float), duration_s, 25.0)
    with pytest.raises(MediaError, match=r"at most 86400 s \(24 h\)"):
        Timeline(np.array([0.0, 1e6]), 1e6 + 1, 25.0)


# Videos


@pytest.mark.needs("data")
@pytest.mark.parametrize("name", ["o1_toys_10s", "o2_car_5s", "o3_car_bmx_10s", "o4_negative_5s"])
@pytest.mark.parametrize("backend", ["av", "decord"])
def test_composed_clips_show_the_stated_frames(data: Path, name: str, backend: str) -> None:
    known = json.loads((data / f"composed/{name}.json").read_text())
    clip = cp.read_clip(data / f"composed/{name}.mp4", backend=backend)
    assert clip.clip_id == name and clip.notes == ()
    assert clip.num_frames == known["duration_s"] and list(clip.size) == known["size"][::-1]
    video = clip.frames._read.args[0]
    indices = clip.frames._read.args[1]
    assert indices.tolist() == known["frame_index"]
    assert np.allclose(video.stream.timeline.times_s[indices], known["frame_time_s"], atol=1e-4)
    assert clip.sound.duration_s == known["duration_s"] and clip.sound.rate_hz == 44100
    assert np.array_equal(clip.frames[1], video.frame(known["frame_index"][1]))


@pytest.mark.needs("data")
def test_frames_of_the_video_are_the_jpgs_of_the_benchmark_tree(data: Path) -> None:
    clip = read_clip(data / "composed/o2_car_5s.mp4")
    folder = data / "composed/avss/v1m/o2_car_5s"
    from_folder = read_clip(folder / "frames", audio=folder / "audio.wav")
    assert from_folder.clip_id == "o2_car_5s" and from_folder.frames.shape == clip.frames.shape
    for t in range(5):
        assert np.abs(clip.frames[t].astype(int) - from_folder.frames[t]).mean() < 4
    assert from_folder.sound.rate_hz == 16000 and len(from_folder.sound.samples) == 80_000


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip one.mp4"
    return write_clip(path, num_frames=85, options={"g": "20", "bf": "2"}, sounds=[tone(3.4)])


def test_a_clip_and_its_time_base(video: Path) -> None:
    clip = read_clip(video)
    assert clip.clip_id == "clip one" and clip.frames.shape == (3, 48, 96, 3)
    assert [number_of(frame) for frame in clip.frames] == [23, 48, 73]
    assert clip.time_base.frame_time_s.tolist() == [0.9375, 1.9375, 2.9375]
    assert len(clip.sound.samples) == 3 * 44100
    assert any("the last 0.400 s of the video are no whole second" in note for note in clip.notes)
    fast = read_clip(video, sampling="uniform:25", clip_id="mine")
    assert fast.clip_id == "mine" and fast.num_frames == 85
    assert [number_of(frame) for frame in fast.frames] == list(range(85))
    assert np.array_equal(np.asarray(fast.frames)[7], fast.frames[7])


@pytest.mark.parametrize("backend", ["av", "decord"])
def test_between_two_times(video: Path, backend: str) -> None:
    """Strictly between; the times of the clip's own frames stand for those frames, whenever they begin."""
    clip = read_clip(video, backend=backend)

    def between(start_s: float, stop_s: float) -> list[int]:
        return [number_of(frame) for frame in clip.between(start_s, stop_s)]

    assert between(0.4, 0.6) == [11, 12, 13, 14]
    assert between(0.41, 0.55) == [11, 12, 13]
    shown_s = clip.time_base.frame_time_s
    assert between(shown_s[0], shown_s[1]) == list(range(24, 48))
    assert between(shown_s[1], shown_s[2]) == list(range(49, 73))
    assert between(0.5, 0.5) == [] and between(2.0, 1.0) == [] and between(3.3, 99.0) == [83, 84]
    assert between(-1.0, 0.1) == [0, 1, 2]
    mixed = clip.between(0.5, 0.7)
    assert number_of(next(mixed)) == 13 and number_of(clip.frames[2]) == 73 and number_of(next(mixed)) == 14


def test_a_clip_can_be_sent_to_another_process(video: Path) -> None:
    clip = read_clip(video)
    clip.frames[0]
    sent = pickle.loads(pickle.dumps(clip))  # noqa: S301
    assert number_of(sent.frames[2]) == 73 and len(list(sent.between(0.4, 0.6))) == 4
    assert np.array_equal(sent.sound.samples, clip.sound.samples)


def test_bad_arguments(video: Path) -> None:
    with pytest.raises(CoPropError, match="unknown sampling 'avsbnch'"):
        read_clip(video, sampling="avsbnch")
    with pytest.raises(CoPropError, match="unknown video backend"):
        read_clip(video, backend="opencv")
    with pytest.raises(MediaError, match="No such file"):
        read_clip(video, audio="nothing.wav")


# Folders of frames


def fill(folder: Path, names: list[str], size: tuple[int, int] = (48, 96)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        Image.fromarray(numbered(k, size=size)).save(folder / name, quality=95)
    return folder


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "sound.wav", tone(5.0, rate_hz=16000), 16000)
    return tmp_path / "sound.wav"


@pytest.mark.parametrize(
    "pattern",
    ["{0}.jpg", "{1}.png", "-_wzn_2_{1}.png", "id9.mp4_{1}.png", "{0:05d}.jpg", "{1:05d}.JPG", "frame{0}.jpeg"],
)
def test_names_of_frames(tmp_path: Path, wav: Path, pattern: str) -> None:
    names = [pattern.format(k, k + 1) for k in range(11)]  # 10 comes after 9, not after 1
    clip = read_clip(fill(tmp_path / "clip", names), audio=wav)
    assert [number_of(frame) for frame in clip.frames] == list(range(11))
    assert clip.clip_id == "clip" and clip.between is None


def test_sound_of_a_folder_follows_its_frames(tmp_path: Path, wav: Path) -> None:
    folder = fill(tmp_path / "uid" / "frames", [f"{k}.png" for k in range(6)])
    clip = read_clip(folder, audio=wav)
    assert clip.clip_id == "uid" and len(clip.sound.samples) == 6 * 16000
    assert clip.notes == ("the sound ends at 5.000 s; zeros follow up to 6.000 s",)
    fast = read_clip(folder, audio=wav, sampling="uniform:2")
    assert fast.notes == ("the sound is 2.000 s longer than the frames' windows; that is left out",)
    assert fast.sound.duration_s == 3 and np.array_equal(fast.sound_of(1), fast.sound.samples[8000:16000])
    with pytest.raises(MediaError, match=r"no sound of its own. Give it with audio=FILE.*--silent-ok"):
        read_clip(folder)
    assert not read_clip(folder, silent_ok=True).sound.samples.any()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["0.png", "1.png", "3.png"], r"the frame 2\.png is missing \(3 frames from 0 to 3"),
        (["00001.jpg", "00003.jpg"], r"the frame 00002\.jpg is missing"),
        (["a_2.png", "a_3.png"], r"the frame a_1\.png is missing"),
        (["1.png", "01.png"], r"01\.png and 1\.png both are frame 1"),
        (["a_1.png", "b_2.png"], r"a_1\.png and b_2\.png are not named alike"),
        (["1.png", "2.jpg"], r"1\.png and 2\.jpg are not named alike"),
        (["1.png", "cover.png"], r"cover\.png: has no frame number"),
        ([], "holds no frames"),
    ],
)
def test_a_folder_that_is_not_whole(tmp_path: Path, wav: Path, names: list[str], told: str) -> None:
    with pytest.raises(MediaError, match=told):
        read_clip(fill(tmp_path / "clip", names), audio=wav)


def test_frames_of_two_sizes_and_damaged_frames(tmp_path: Path, wav: Path) -> None:
    folder = fill(tmp_path / "clip", ["0.png", "1.png", "2.png"])
    Image.new("RGB", (50, 48)).save(folder / "1.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:-60])
    clip = read_clip(folder, audio=wav)
    with pytest.raises(MediaError, match=r"1\.png: is 50x48, the first frame 96x48"):
        clip.frames[1]
    with pytest.raises(MediaError, match=r"2\.png: the picture is damaged or cut off"):
        clip.frames[2]
    (folder / "2.png").unlink()
    (folder / "2.png").symlink_to(wav)
    with pytest.raises(MediaError, match=r"2\.png: is a link that leads out of the folder"):
        read_clip(folder, audio=wav)


# Memory


def anonymous_mb() -> float:
    """Memory of this process that is its own (file maps left out), in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


@pytest.mark.parametrize(("backend", "limit_mb"), [("av", 110), ("decord", 270)])
def test_streaming_thousands_of_frames_keeps_memory_flat(tmp_path: Path, backend: str, limit_mb: int) -> None:
    """3,000 frames of 0.1 MB: with all of them it would be 400 MB, the cache is 67 MB; decord reads ahead at will."""
    path = write_clip(
        tmp_path / "long.mp4", num_frames=60, size=(144, 256), codec="mpeg4", repeat=50, options={"qscale": "20"}
    )
    clip = read_clip(path, sampling="uniform:25", silent_ok=True, backend=backend)
    assert clip.num_frames == 3000
    clip.frames[0]
    before, most = anonymous_mb(), 0.0
    for t, frame in enumerate(clip.frames):
        assert frame.shape == (144, 256, 3)
        most = max(most, anonymous_mb()) if t % 100 == 0 else most
    assert most - before < limit_mb


@pytest.mark.heavy
def test_an_hour_in_bounded_memory(tmp_path: Path) -> None:
    samples = np.tile(tone(1.0, rate_hz=8000), 3600)
    path = write_clip(
        tmp_path / "hour.mkv",
        num_frames=3600,
        rate=Fraction(1),
        sounds=[samples],
        sound_rate_hz=8000,
        sound_codec="pcm_s16le",
    )
    before = anonymous_mb()
    clip = read_clip(path)
    assert clip.num_frames == 3600 and isinstance(clip.sound.samples, np.memmap)
    assert [number_of(clip.frames[t]) for t in (0, 1800, 3599, 5)] == [0, 1800, 3599, 5]
    assert np.allclose(clip.sound_of(3599), samples[-8000:], atol=1e-4)
    assert anonymous_mb() - before < 100
