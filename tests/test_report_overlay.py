"""Masks over frames: what is painted and what is not, colours, the video's timing, the strip."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from coprop_plugin.errors import CoPropError
from coprop_plugin.report import overlay as room
from coprop_plugin.report.colours import FIRST_COLOURS, class_colours
from coprop_plugin.report.overlay import before_after_strip, overlay, overlay_frames, panel_size, write_overlay
from coprop_plugin.structures import Clip, ControlPoints, Prediction, Sound, TimeBase

RNG = np.random.default_rng(0)


def clip_of(num_frames=4, size=(60, 80), sampling="avsbench"):
    frames = RNG.integers(0, 256, (num_frames, *size, 3), dtype=np.uint8)
    time_base = TimeBase.of(sampling, num_frames)
    samples = RNG.normal(0, 0.1, round(8000 * time_base.duration_s)).astype(np.float32)
    return Clip("clip", frames, Sound(samples, 8000), time_base)


def square(num_frames=4, size=(60, 80), on=(1, 2), label=1):
    labels = np.zeros((num_frames, *size), np.int16)
    labels[list(on), 20:40, 30:50] = label
    return labels


def test_outside_of_masks_the_frame_is_untouched():
    frame, labels = clip_of().frames[0], square()[1]
    picture = overlay(frame, labels)
    near = np.zeros(labels.shape, bool)
    near[19:41, 29:51] = True
    assert np.array_equal(picture[~near], frame[~near])
    assert np.array_equal(overlay(frame, np.zeros_like(labels)), frame)
    assert (picture[20, 30:50] == FIRST_COLOURS[0]).all()  # the contour carries the pure colour
    inside = (0.55 * frame[30, 40] + 0.45 * np.array(FIRST_COLOURS[0])).astype(np.uint8)
    assert np.array_equal(picture[30, 40], inside)


def test_labels_of_another_size_cover_the_same_share():
    frame, labels = clip_of(size=(120, 160)).frames[0], square()[1]
    large = np.kron(labels, np.ones((2, 2), np.int16))
    assert np.array_equal(overlay(frame, labels), overlay(frame, large))


def test_ignored_pixels_are_grey_without_a_contour():
    frame = np.full((10, 10, 3), 255, np.uint8)
    labels = np.full((10, 10), -1)
    assert (overlay(frame, labels) == overlay(frame, labels)[0, 0]).all()
    assert len(set(overlay(frame, labels)[0, 0].tolist())) == 1


def test_bad_overlay_input_is_named():
    frame = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(CoPropError, match=r"float64 \(4, 4, 3\)"):
        overlay(frame.astype(float), np.zeros((4, 4), int))
    with pytest.raises(CoPropError, match=r"no colour for the labels \[7\]; colours are given for \[1\]"):
        overlay(frame, np.full((4, 4), 7), colours={1: (1, 2, 3)})
    with pytest.raises(CoPropError, match="has 4 frames, the prediction 3"):
        overlay_frames(clip_of(), Prediction.from_labels(square(3)))


def test_colours_stay_apart_and_bright():
    assert class_colours((11, 41)) == {11: FIRST_COLOURS[0], 41: FIRST_COLOURS[1]}
    many = class_colours(range(1, 72))
    assert len(set(many.values())) == 71
    assert min(max(colour) for colour in many.values()) > 200  # none is too dark to see


@pytest.mark.parametrize("sampling, rate_hz, held", [("avsbench", 1, 10), ("uniform:4", 4, 3), ("uniform:25", 25, 1)])
def test_every_frame_stays_for_its_window_of_the_sound(monkeypatch, sampling, rate_hz, held):
    clip, points = clip_of(sampling=sampling), ControlPoints(np.array([1, 0, 1, 0]))
    written = {}
    monkeypatch.setattr(
        room, "write_video", lambda path, frames, *, rate_hz, sound: written.update(f=list(frames), r=rate_hz, s=sound)
    )
    write_overlay("x.mp4", clip, Prediction.from_labels(square()), control_points=points)
    assert written["r"] == Fraction(rate_hz * held) and written["s"] is clip.sound
    assert len(written["f"]) / written["r"] == pytest.approx(clip.time_base.duration_s)
    for t in range(4):
        for picture in written["f"][t * held : (t + 1) * held]:
            assert np.array_equal(picture[:-56], written["f"][t * held][:-56])


def test_video_lasts_as_long_as_the_clip(tmp_path):
    clip = clip_of()
    write_overlay(tmp_path / "overlay.mp4", clip, Prediction.from_labels(square()))
    with av.open(tmp_path / "overlay.mp4") as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}
        assert container.duration / av.time_base == pytest.approx(4, abs=0.1)
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    expected = list(overlay_frames(clip, Prediction.from_labels(square())))[1]
    seen = cv2.resize(pictures[len(pictures) * 3 // 8], (80, 60), interpolation=cv2.INTER_AREA)
    assert np.abs(seen[24:36, 34:46].astype(int) - expected[24:36, 34:46]).mean() < 30


def test_side_by_side_video_has_even_sides_and_a_moving_play_head(monkeypatch):
    clip, frames = clip_of(size=(61, 83)), []
    monkeypatch.setattr(room, "write_video", lambda path, pictures, **_: frames.extend(pictures))
    masks = Prediction.from_labels(square(size=(61, 83)))
    write_overlay("x.mp4", clip, masks, base=masks, control_points=ControlPoints(np.array([1, 0, 1, 0])))
    height, width = panel_size(clip.size)
    assert {f.shape for f in frames} == {(24 + height + 56, 2 * width + 4, 3)}
    assert all(side % 2 == 0 for side in frames[0].shape[:2])
    base, refined = frames[0][24 : 24 + height, :width], frames[0][24 : 24 + height, -width:]
    assert np.array_equal(base, refined)
    assert not np.array_equal(frames[0][-56:], frames[1][-56:])


@pytest.mark.parametrize("size", [(224, 224), (2160, 3840), (1, 5000), (5000, 1), (33, 77)])
def test_panels_keep_within_bounds(size):
    height, width = panel_size(size)
    assert 2 <= height <= 720 and 2 <= width <= 1920 and height % 2 == width % 2 == 0


def test_strip_has_a_row_for_each_prediction():
    clip, labels = clip_of(), square()
    masks, empty = Prediction.from_labels(labels), Prediction.from_labels(labels * 0)
    two = before_after_strip(clip, empty, masks)
    three = before_after_strip(clip, empty, masks, truth=masks)
    assert two.shape[0] == 48 + 2 * (96 + 4) and three.shape[0] == two.shape[0] + 100
    assert two.shape[1] == 60 + 4 * (128 + 4)
    assert np.array_equal(three[: len(two)], two)
    assert np.array_equal(three[-196:-100, 64:], three[-96:, 64:])  # after equals the truth
    part = before_after_strip(clip, empty, masks, frames=(2, 3))
    assert np.array_equal(part[:, 64:], two[:, 64 + 2 * 132 :])


def test_the_video_plays_at_its_own_rate_and_fits_a_page(tmp_path):
    from media_clips import number_of, tone, write_clip

    from coprop_plugin.media.backend import probe
    from coprop_plugin.media.reader import read_clip
    from coprop_plugin.media.video import VideoFile
    from coprop_plugin.report.overlay import MAX_WIDTH_PX, overlay_panels, pictures_a_frame, write_overlay
    from coprop_plugin.structures import Prediction

    clip = read_clip(write_clip(tmp_path / "a.mp4", num_frames=50, sounds=[tone(2.0)]), sampling="avsbench")
    masks = Prediction.from_labels(np.zeros((2, 12, 24), np.uint8))
    held = pictures_a_frame(clip, least_hz=10)
    assert held == 15  # of 25
    panels = list(overlay_panels(clip, {"prediction": masks}, None, colours={}, held=held))
    small = [p[:: panels[0].shape[0] // 48, :: panels[0].shape[1] // 96][:48, :96] for p in panels]
    assert [number_of(p) for p in small] == [25 * t + i * 25 // 15 for t in range(2) for i in range(15)]
    wide = read_clip(
        write_clip(tmp_path / "w.mp4", num_frames=50, size=(96, 2400), sounds=[tone(2.0)]), sampling="avsbench"
    )
    write_overlay(tmp_path / "o.mp4", wide, masks, base=masks)
    stream = probe(tmp_path / "o.mp4", "mp4")
    assert stream.size[1] <= MAX_WIDTH_PX == 960 and len(stream.timeline) == 30
    assert VideoFile(stream).frame(29).shape[1] <= 960
