"""Frames by index and time: both backends, every kind of stream, the traps of real clips."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import random
import struct
import sys
import threading
from fractions import Fraction
from pathlib import Path

import media_clips
import numpy as np
import pytest
from media_clips import number_of, numbered, write_clip

from coprop_plugin.errors import CoPropError, MediaError
from coprop_plugin.media.backend import VideoStream, probe
from coprop_plugin.media.reader import read_clip
from coprop_plugin.media.sniff import sniff
from coprop_plugin.media.video import FrameCache, VideoFile

NUM_FRAMES = 70
OPEN_GOP = {"g": "15", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}
STEPS_MS = random.Random(0)
TIMES = [Fraction(0)]
for _ in range(NUM_FRAMES - 1):
    TIMES.append(TIMES[-1] + Fraction(STEPS_MS.choice([20, 33, 40, 80, 200]), 1000))

STREAMS = {
    "constant.mp4": {"options": {"g": "12", "bf": "0"}},
    "b_frames.mp4": {"options": {"g": "250", "bf": "3"}},
    "open_gop.mp4": {"options": OPEN_GOP},
    "open_gop.mkv": {"options": OPEN_GOP},
    "refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=20:bframes=0"}},
    "ntsc.mkv": {"rate": Fraction(30000, 1001)},
    "variable.mp4": {"times": TIMES, "options": {"g": "30", "bf": "2"}},
    "variable.mkv": {"times": TIMES},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "hidden_frames.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}},
    "full_range_444_odd.mp4": {"pix_fmt": "yuvj444p", "size": (51, 99)},
    "one.mp4": {"num_frames": 1},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, form in STREAMS.items():
        write_clip(folder / name, **{"num_frames": NUM_FRAMES, **form})
    return folder


def look(path: Path, backend: str = "av") -> VideoStream:
    return probe(path, sniff(path), backend=backend)


@pytest.mark.parametrize("backend", ["av", "decord"])
@pytest.mark.parametrize("name", STREAMS)
def test_every_frame_is_the_right_one(clips: Path, name: str, backend: str) -> None:
    """In order, and in any order: the number painted into a frame is its index."""
    stream = look(clips / name, backend)
    num_frames = STREAMS[name].get("num_frames", NUM_FRAMES)
    assert len(stream.timeline) == num_frames
    in_order = VideoFile(stream)
    assert [number_of(in_order.frame(i)) for i in range(num_frames)] == list(range(num_frames))
    anywhere, wanted = VideoFile(stream), random.Random(1).choices(range(num_frames), k=25)
    assert [number_of(anywhere.frame(i)) for i in wanted] == wanted


@pytest.mark.parametrize("name", STREAMS)
def test_both_backends_give_the_same_pixels_and_times(clips: Path, name: str) -> None:
    one, other = look(clips / name, "av"), look(clips / name, "decord")
    assert one.size == other.size == STREAMS[name].get("size", (48, 96))
    assert np.array_equal(one.timeline.times_s, other.timeline.times_s)
    assert one.timeline.duration_s == other.timeline.duration_s
    frames = VideoFile(one), VideoFile(other)
    for i in range(0, len(one.timeline), 9):
        assert np.array_equal(frames[0].frame(i), frames[1].frame(i))


@pytest.mark.parametrize("name", ["constant.mp4", "variable.mkv", "ntsc.mkv", "hidden_frames.webm", "open_gop.mp4"])
def test_decord_without_pyav_finds_the_same_table(clips: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = look(clips / name)
    monkeypatch.delitem(sys.modules, "coprop_plugin.media.backend_av")
    monkeypatch.setitem(sys.modules, "av", None)
    alone = probe(clips / name, sniff(clips / name), backend="auto")
    assert type(alone).__name__ == "DecordStream" and "decord alone" in alone.notes[0]
    assert np.allclose(alone.timeline.times_s, known.timeline.times_s, atol=1e-5)
    assert abs(alone.timeline.duration_s - known.timeline.duration_s) < 1e-3
    with pytest.raises(MediaError, match="'av' is not installed"):
        probe(clips / name, sniff(clips / name), backend="av")


def test_times_of_a_variable_rate(clips: Path) -> None:
    for name in ("variable.mp4", "variable.mkv"):
        timeline = look(clips / name).timeline
        assert np.allclose(timeline.times_s, [float(t) for t in TIMES], atol=1e-9)
        assert timeline.constant_rate_hz is None


@pytest.mark.needs("data")
@pytest.mark.parametrize(
    "name",
    [
        "composed/o2_car_5s.mp4",
        "composed/o4_negative_5s.mp4",
        "real/real_av/chainsaw/6aV6c8mY0lg.mp4",
        "real/streams/flipping_a_pancake.mkv",
        "real/streams/small.mp4",
    ],
)
def test_real_clips_are_the_same_for_both(data: Path, name: str) -> None:
    one, other = (look(data / name, backend) for backend in ("av", "decord"))
    assert np.array_equal(one.timeline.times_s, other.timeline.times_s)
    frames = VideoFile(one), VideoFile(other)
    for i in (*range(0, len(one.timeline), 25), len(one.timeline) - 1, 3):
        assert np.array_equal(frames[0].frame(i), frames[1].frame(i))


@pytest.mark.needs("data")
def test_of_two_video_streams_the_first_is_taken(data: Path, tmp_path: Path) -> None:
    nasa = data / "real/streams/nasa_13013.mp4"
    stream = look(nasa)
    assert (len(stream.timeline), stream.size) == (325, (180, 320))
    assert stream.notes == ("2 video streams; the first one is read",)
    with pytest.raises(MediaError, match=r"holds 2 video streams, and decord .* Say backend='av'"):
        look(nasa, "decord")
    own = VideoFile(look(write_clip(tmp_path / "two.mp4", streams=2)))  # the second one is larger: decord's choice
    assert [number_of(own.frame(i)) for i in range(50)] == list(range(50))


@pytest.mark.parametrize(
    ("name", "matrix", "turns"),
    [("quarter", (0, 1, -1, 0), -1), ("half", (-1, 0, 0, -1), 2), ("other", (0, -1, 1, 0), 1)],
)
def test_video_is_turned_as_it_is_shown(tmp_path: Path, name: str, matrix: tuple[int, ...], turns: int) -> None:
    path = write_clip(tmp_path / f"{name}.mp4", num_frames=9)
    data = bytearray(path.read_bytes())
    a, b, c, d = (65536 * x for x in matrix)
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    stream = look(path)
    wanted = np.rot90(numbered(5), turns)
    assert stream.size == wanted.shape[:2]
    assert np.abs(stream.open().frame(5).astype(int) - wanted).mean() < 2
    if name == "half":
        assert np.array_equal(look(path, "decord").open().frame(5), stream.open().frame(5))
    else:
        with pytest.raises(MediaError, match=r"shown turned. Say backend='av'"):
            look(path, "decord")


def test_frames_outside_of_an_edit_list_are_not_shown(tmp_path: Path) -> None:
    """A file cut without re-encoding holds frames before its start; they decode, but are not shown."""
    path = write_clip(tmp_path / "cut.mp4", num_frames=60, options={"bf": "2"}, start_s=Fraction(-2, 5))
    stream = look(path)
    assert len(stream.timeline) == 50 and number_of(stream.open().frame(0)) == 10
    with pytest.raises(MediaError, match=r"decord counts 60 frames, but 50 are shown. Say backend='av'"):
        look(path, "decord")


def test_frames_that_cannot_be_decoded_at_the_start_are_left_out_and_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "cut.mkv", num_frames=60, options={"g": "20", "bf": "0"}, drop_packets=5)
    stream = look(path)
    assert number_of(stream.open().frame(0)) == 20 and len(stream.timeline) == 40
    assert stream.notes == (
        "the first 15 frames cannot be decoded (the file was cut between keyframes) and are left out",
    )


# Files that are not whole


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


@pytest.mark.parametrize("backend", ["av", "decord"])
@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "fast.mp4", "with_sound.mkv"])
def test_a_cut_off_video_says_where_it_ends(tmp_path: Path, name: str, backend: str) -> None:
    sounds = [media_clips.tone(4.0)] if "sound" in name else []
    fast = {"movflags": "faststart"} if "fast" in name else None
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    options = {"g": "10"}
    path = write_clip(
        tmp_path / name, num_frames=100, codec=codec, options=options, sounds=sounds, container_options=fast
    )
    with pytest.raises(
        MediaError,
        match=r"is cut off or damaged: its video ends at [0-3]\.\d\d s of \d\.\d\d s, \d+ bytes are missing.* ffmpeg",
    ):
        look(cut(path, 0.6), backend)


@pytest.mark.parametrize("backend", ["av", "decord"])
def test_an_mp4_without_its_index(tmp_path: Path, backend: str) -> None:
    path = cut(write_clip(tmp_path / "a.mp4", num_frames=100), 0.6)
    with pytest.raises(MediaError, match=r"is cut off: its index \(moov\), which stands at the end, is missing"):
        look(path, backend)


def test_a_file_cut_behind_its_last_frame_is_accepted_with_a_note(tmp_path: Path) -> None:
    """Only the seek table at the end of the mkv is lost: the announced duration is there."""
    path = write_clip(tmp_path / "a.mkv", num_frames=100, options={"g": "10"})
    path.write_bytes(path.read_bytes()[:-20])
    stream = look(path)
    assert len(stream.timeline) == 100
    assert stream.notes == ("the file lacks 20 bytes at its end, but nothing of its video",)
    assert number_of(stream.open().frame(99)) == 99


def test_a_live_recording_of_unknown_length_is_whole(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", num_frames=60, container_options={"live": "1"})
    assert len(look(path).timeline) == 60 and not look(path).notes


@pytest.mark.parametrize("damage", ["zeros", "flips"])
def test_a_damaged_frame_is_told_and_never_patched_up(tmp_path: Path, damage: str) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=100, options={"g": "10", "bf": "0"})
    whole = [frame for _, frame in read_all(look(path))]
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 600, 1 if damage == "zeros" else 37):
        data[at] = 0 if damage == "zeros" else data[at] ^ 0x55
    path.write_bytes(data)
    found = read_all(look(path))
    told = {i: error for i, error in found if isinstance(error, str)}
    assert told and all(f"the video is damaged at {i / 25:.2f} s, frame {i} of 100" in told[i] for i in told)
    assert {i % 10 for i in range(100) if i not in told} >= {0, 9}, "other groups of pictures are still read"
    assert all(np.array_equal(whole[i], frame) for i, frame in found if i not in told)
    assert read_all(look(path), reversed(range(100)))[99 - min(told)][1] == told[min(told)]


def read_all(stream: VideoStream, order=range(100)) -> list[tuple[int, np.ndarray | str]]:
    video, found = VideoFile(stream), []
    for i in order:
        try:
            found.append((i, video.frame(i)))
        except MediaError as error:
            found.append((i, str(error)))
    return found


def test_decord_tells_damage_too(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=100, options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"cannot be read by decord|the video is damaged at"):
        read_all_strictly(path)


def read_all_strictly(path: Path) -> None:
    video = VideoFile(look(path, "decord"))
    for i in range(100):
        video.frame(i)


def test_other_things_that_are_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(3000))
    with pytest.raises(MediaError, match=r"a\.mp4: (is cut off|cannot be opened)"):
        look(path)
    sound = write_clip(tmp_path / "sound.mp4", streams=0, sounds=[media_clips.tone(1.0)])
    with pytest.raises(MediaError, match=r"holds no video stream. For sound alone"):
        look(sound)
    with pytest.raises(CoPropError, match=r"unknown video backend 'ffmpeg'. .*auto, av, decord"):
        look(sound, "ffmpeg")


def test_names_that_are_no_utf8_do_no_harm(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=3, title="titleXX")
    path.write_bytes(path.read_bytes().replace(b"titleXX", b"title\xff\xfe"))
    assert len(look(path).timeline) == 3


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_random_damage_ends_in_a_clear_error_or_whole_frames(tmp_path: Path, name: str) -> None:
    """Flipped bytes, also in the headers: no other exception, no crash, no endless work."""
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_clip(tmp_path / name, num_frames=12, codec=codec, sounds=[media_clips.tone(0.5)])
    whole, generator = path.read_bytes(), random.Random(0)
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(generator.choice([1, 4, 20])):
            data[generator.randrange(32, len(data))] = generator.randrange(256)
        path.write_bytes(data)
        try:
            clip = read_clip(path, sampling="uniform:25", silent_ok=True)
            for t in range(min(clip.num_frames, 50)):
                assert clip.frames[t].shape == clip.frames.shape[1:]
        except CoPropError as error:
            assert len(str(error)) > 30


# One reader in several places


def _number_in_child(videos: list[VideoFile], results) -> None:
    gc.collect()
    videos.pop(0).frame(7)
    results.put(number_of(videos[0].frame(40)))


@pytest.mark.parametrize("backend", ["av", "decord"])
def test_a_child_process_neither_uses_nor_frees_the_decoders_of_its_parent(clips: Path, backend: str) -> None:
    """Both would hang: the threads of a decoder do not survive a fork."""
    video, dropped = (VideoFile(look(clips / "b_frames.mp4", backend)) for _ in range(2))
    assert number_of(video.frame(3)) == number_of(dropped.frame(3)) == 3
    ring: list[object] = [VideoFile(video.stream)]
    ring[0].frame(0)
    ring.append(ring)
    gc.disable()
    try:
        del ring  # unreachable, not yet collected
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        child = context.Process(target=_number_in_child, args=([dropped, video], results))
        child.start()
    finally:
        gc.enable()
    try:
        assert results.get(timeout=20) == 40
        child.join(20)
        assert child.exitcode == 0
    finally:
        child.kill()
    assert number_of(video.frame(5)) == 5


@pytest.mark.parametrize("backend", ["av", "decord"])
def test_a_reader_is_pickled_without_its_decoder(clips: Path, backend: str) -> None:
    video = VideoFile(look(clips / "b_frames.mp4", backend))
    video.frame(3)
    assert number_of(pickle.loads(pickle.dumps(video)).frame(7)) == 7  # noqa: S301


def test_threads_take_turns(clips: Path) -> None:
    video, wrong = VideoFile(look(clips / "open_gop.mp4")), []

    def read(seed: int) -> None:
        wrong.extend(i for i in random.Random(seed).choices(range(NUM_FRAMES), k=15) if number_of(video.frame(i)) != i)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_cache_is_bounded_and_its_frames_are_the_callers_own() -> None:
    cache, reads = FrameCache(limit_bytes=5 * 300), []

    def read(i: int) -> np.ndarray:
        reads.append(i)
        return np.full((10, 10, 3), i, np.uint8)

    for i in range(50):
        cache.get(i, read)[:] = 99
        assert len(cache) <= 5
    assert cache.get(49, read).max() == 49 and cache.get(45, read).max() == 45
    assert reads == list(range(50))
    tiny = FrameCache(limit_bytes=1)
    for i in range(9):
        tiny.get(i, read)
    assert len(tiny) == 2


def test_in_order_reading_never_seeks(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coprop_plugin.media.backend_av import AvDecoder

    monkeypatch.setattr(AvDecoder, "_seek", lambda *_: pytest.fail("a seek in forward reading"))
    video = VideoFile(look(clips / "constant.mp4"))
    assert [number_of(video.frame(i)) for i in range(0, NUM_FRAMES, 30)] == [0, 30, 60]
