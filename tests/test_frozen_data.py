"""Data that nobody can change, that compare and print: arrays, equality, pickle, notebooks."""

from __future__ import annotations

import base64
import copy
import io
import pickle
import re
import tracemalloc
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.structures import FrameSpool, FrameStack, Origin, Sampling
from coprop_plugin.structures.frozen import FrozenMapping, locked, read_only

T, H, W = 6, 12, 16


def clip_of(frames: Any = None, *, clip_id: str = "dog") -> cp.Clip:
    frames = np.arange(T * H * W * 3, dtype=np.uint8).reshape(T, H, W, 3) if frames is None else frames
    return cp.Clip(clip_id, frames, cp.Sound.silence(T, rate_hz=100), cp.TimeBase.of("avsbench", T))


def points_of(**known: Any) -> cp.ControlPoints:
    values = {"confidence": np.linspace(0, 1, T), "silent": [False, True], "categories": [["dog"], None]}
    return cp.ControlPoints(np.array([1, 0, 0, 1, 0, 0]), **{**values, "origin": Origin("test"), **known})


def scores_of(*, frames: int = T) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (frames, 2, H, W)).astype(np.float32)


GIVEN: dict[str, tuple[Any, Any]] = {  # what is given, and how the data that is made of it shows it
    "flags": (np.array([True, False, True]), lambda a: cp.ControlPoints(a).flags),
    "integer flags": (np.array([1, 0, 1]), lambda a: cp.ControlPoints(a).flags),
    "confidence": (np.array([0.5, 0.25]), lambda a: cp.ControlPoints(np.ones(2), confidence=a).confidence),
    "times": (np.array([0.5, 1.5]), lambda a: cp.TimeBase(SAMPLING, a, WINDOWS).frame_time_s),
    "windows": (np.array([[0.0, 1], [1, 2]]), lambda a: cp.TimeBase(SAMPLING, np.array([0.5, 1.5]), a).sound_window_s),
    "samples": (np.ones(9, np.float32), lambda a: cp.Sound(a, 3).samples),
    "frames": (np.ones((T, H, W, 3), np.uint8), lambda a: clip_of(a).frames),
    "scores": (scores_of(), lambda a: cp.Prediction(a, "logit").scores),
    "a tensor": (torch.from_numpy(scores_of()), lambda a: cp.Prediction(a, "logit").scores),
    "own labels": (np.ones((T, H, W), int), lambda a: cp.Prediction(scores_of(), "logit", labels=a).labels),
    "label maps": (np.ones((T, H, W), int), lambda a: cp.Prediction.from_labels(a).labels),
    "foreground": (np.ones((T, H, W), np.float32), lambda a: cp.Prediction.from_foreground(a, kind="logit").scores),
}
SAMPLING = Sampling("uniform", Fraction(1))
WINDOWS = np.array([[0.0, 1], [1, 2]])


@pytest.mark.parametrize("name", GIVEN)
def test_no_array_of_data_can_be_written_neither_inside_nor_through_what_was_given(name: str) -> None:
    given, made = copy.deepcopy(GIVEN[name])
    shown = made(given)
    before = np.array(shown)
    frame = shown[0] if np.ndim(shown[0]) else shown
    with pytest.raises(ValueError, match="read-only"):
        frame[...] = 7
    if isinstance(shown, np.ndarray):
        with pytest.raises(ValueError, match="cannot set WRITEABLE"):
            shown[:1].setflags(write=True)
    given[...] = 0
    np.testing.assert_array_equal(np.asarray(shown), before)


def test_the_first_frame_cannot_be_lost() -> None:
    points = cp.ControlPoints(np.array([1, 0, 1]))
    with pytest.raises(ValueError, match="read-only"):
        points.flags[0] = False
    assert points.frames == (0, 2)


def test_a_copy_is_taken_only_where_somebody_could_still_write(tmp_path: Any) -> None:
    open_, mine = np.zeros(4), locked(np.zeros(4))
    assert not np.shares_memory(read_only(open_), open_)
    assert np.shares_memory(read_only(mine), mine) and np.shares_memory(read_only(mine[1:]), mine)
    assert np.shares_memory(read_only(read_only(open_)), read_only(mine)) is False
    base = np.zeros(4)
    view = base[:]
    view.flags.writeable = False  # a read-only view of what its owner can still write
    kept = read_only(view)
    base[:] = 1
    assert kept.tolist() == [0, 0, 0, 0]
    raw = np.frombuffer(b"\0" * 8, np.uint8)
    assert np.shares_memory(read_only(raw), raw)
    loose = np.frombuffer(bytearray(8), np.uint8)
    assert not np.shares_memory(read_only(loose), loose)
    (tmp_path / "large.bin").write_bytes(bytes(4096))
    for mode in ("r", "r+", "c"):
        mapped = np.memmap(tmp_path / "large.bin", np.float32, mode)  # type: ignore[call-overload]
        for part in (mapped, mapped[8:], np.asarray(mapped)[::2]):
            assert np.shares_memory(read_only(part), mapped) and not read_only(part).flags.writeable


def test_hours_of_silence_are_not_copied() -> None:
    tracemalloc.start()
    sound = cp.Sound.silence(60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not sound.samples.any() and peak < 1.1 * sound.samples.nbytes


def test_frames_that_are_read_cannot_be_written_where_they_are_held() -> None:
    held = np.zeros((H, W))
    stack = FrameStack(lambda t: held, num_frames=2, frame_shape=(H, W), dtype=float)
    with pytest.raises(ValueError, match="read-only"):
        stack[0][0, 0] = 1
    held[0, 0] = 5  # its reader's own
    spool = FrameSpool()
    spool[0] = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="read-only"):
        spool[0][0, 0] = 1


def test_frames_that_are_none_are_named() -> None:
    for wrong in ([[1]], None, "frames"):
        with pytest.raises(CoPropError, match="an array, or frames that are read one at a time; got"):
            cp.Prediction(wrong, "logit")  # type: ignore[arg-type]
        with pytest.raises(CoPropError, match="clip 'dog': frames"):
            clip_of(wrong if wrong is not None else 3)
        with pytest.raises(CoPropError, match="sound is an array"):
            cp.Sound(wrong, 100)  # type: ignore[arg-type]


def test_values_compare_by_value() -> None:
    assert points_of() == points_of() and hash(points_of()) == hash(points_of())
    others = {"confidence": None, "silent": None, "categories": [["cat"], None], "origin": Origin("other")}
    for name, value in others.items():
        assert points_of() != points_of(**{name: value})
    assert cp.ControlPoints(np.ones(2)) != cp.ControlPoints(np.ones(3)) and points_of() != "points"
    assert len({points_of(), points_of(), points_of(silent=None)}) == 2
    base = cp.TimeBase.of("avsbench", 3)
    assert base == cp.TimeBase.of("avsbench", 3) and hash(base) == hash(cp.TimeBase.of("avsbench", 3))
    assert base != cp.TimeBase.of("avsbench", 4) and base != cp.TimeBase.of("uniform:1", 3)
    assert cp.Segment(0, 2, categories=["dog"]) == cp.Segment(0, 2, categories=("dog",))  # type: ignore[arg-type]
    assert hash(cp.Segment(0, 2, categories=["dog"]))  # type: ignore[arg-type]
    assert points_of().silent == (False, True) and points_of().categories == (("dog",), None)


def test_what_holds_media_compares_by_identity() -> None:
    for make in (clip_of, lambda: cp.Sound.silence(1), lambda: cp.Prediction(scores_of(), "logit"), result_of):
        one, other = make(), make()
        assert one == one and one != other and len({one, other}) == 2


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])  # noqa: S301
def test_copies_and_pickles_are_as_frozen(way: Any) -> None:
    for made, array in ((points_of(), "flags"), (points_of(), "confidence"), (clip_of().sound, "samples"),
                        (cp.TimeBase.of("avsbench", 3), "frame_time_s"), (clip_of(), "frames"),
                        (cp.Prediction(scores_of(), "logit", names={1: "dog"}), "scores")):  # fmt: skip
        again = way(made)
        np.testing.assert_array_equal(getattr(again, array), getattr(made, array))
        assert not getattr(again, array).flags.writeable
    assert way(points_of()) == points_of()


def test_names_cannot_be_changed() -> None:
    names = {1: "dog"}
    prediction = cp.Prediction(scores_of(), "logit", names=names)
    names[1] = "cat"
    assert prediction.names == {1: "dog"} and dict(prediction.names) == {1: "dog"}
    with pytest.raises(TypeError):
        prediction.names[1] = "cat"  # type: ignore[index]
    assert FrozenMapping({1: 2}) == FrozenMapping({1: 2}) and hash(FrozenMapping({1: 2})) == hash(FrozenMapping({1: 2}))


def unreadable(shape: tuple[int, ...], dtype: Any) -> FrameStack:
    def read(t: int) -> np.ndarray:
        raise AssertionError("a frame was read")

    return FrameStack(read, num_frames=shape[0], frame_shape=shape[1:], dtype=dtype)


def test_data_print_shapes_and_times_and_read_no_frame() -> None:
    clip = clip_of(unreadable((T, H, W, 3), np.uint8))
    prediction = cp.Prediction(unreadable((T, 2, H, W), np.float32), "logit", source="x.npz")
    assert repr(clip) == "Clip('dog', 6 frames of 16x12 px, avsbench, 6.00 s, Sound(6.00 s, 100 Hz))"
    assert repr(clip.time_base) == "TimeBase(avsbench, 6 frames, sound 0.00 to 6.00 s)"
    assert repr(points_of()) == "ControlPoints(2 in 6 frames: 0, 3; test)"
    assert repr(prediction) == "Prediction(logit, binary, scores (6, 2, 12, 16), from 'x.npz')"
    result = cp.Result(prediction, points_of(), points_of().segments(), prediction, (3, 4), clip=clip)
    assert repr(result).startswith("Result(2 of 6 frames of 'dog' changed, ControlPoints(2 in 6")
    many = cp.ControlPoints(np.ones(1000))
    for made in (clip, clip.sound, clip.time_base, points_of(), many, prediction, result):
        assert len(repr(made)) < 300 and "\n" not in repr(made)


HOSTILE = '<script>alert("x")</script>&'


def test_a_clip_shows_a_strip_in_a_notebook() -> None:
    page = clip_of(clip_id=HOSTILE)._repr_html_()
    assert "<script" not in page
    uri = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert uri is not None
    picture = Image.open(io.BytesIO(base64.b64decode(uri[1])))
    assert picture.format == "PNG" and picture.size == (T * 96, 72)


def test_control_points_show_a_timeline_in_a_notebook() -> None:
    points = points_of(categories=[[HOSTILE], None], origin=Origin(HOSTILE))
    page = points._repr_html_()
    assert "<script" not in page
    svg = ElementTree.fromstring(page[page.index("<svg") :])
    assert [bar.get("width") for bar in svg.iter("rect")] == ["320.0", "320.0"]
    assert [title.text for title in svg.iter("title")] == [f"frames 0 to 2: {HOSTILE}", "frames 3 to 5: silent"]
    assert len(cp.ControlPoints(np.ones(20_000))._repr_html_()) < 200_000


def result_of(*, base_frames: tuple[int, ...] | None = None, clip: cp.Clip | None = None) -> cp.Result:
    base = cp.Prediction.from_foreground(scores_of()[:, 1], kind="logit")
    refined = cp.Prediction(np.stack([np.full((T, H, W), 0.25), np.full((T, H, W), 0.75)], 1), "probability")
    points = points_of()
    clip = clip or clip_of()
    return cp.Result(refined, points, points.segments(), base, (0, 1), ("a note",), clip, base_frames)


def test_a_result_in_numbers_and_pictures() -> None:
    result = result_of()
    labels, probabilities = result.to_numpy(), result.to_numpy("probabilities")
    assert (labels.shape, labels.dtype) == ((T, H, W), np.int16) and (labels == 1).all()
    assert (probabilities.shape, probabilities.dtype) == ((T, 2, H, W), np.float32)
    assert probabilities[:, 1] == pytest.approx(0.75)
    with pytest.raises(CoPropError, match="unknown content 'logits'"):
        result.to_numpy("logits")  # type: ignore[arg-type]
    assert "2 of 6 frames changed" in result._repr_html_() and "a note" in result._repr_html_()
    figure = result.plot()
    assert figure._repr_png_()[:4] == b"\x89PNG" and len(figure.axes) == 1 + 2 * T
    assert len(result_of(base_frames=(0, 3)).plot().axes) == 1 + T
    named = result_of(clip=clip_of(clip_id=r"$\nothing$ <b>"))  # no formula, no markup
    assert named.plot()._repr_png_()


def test_plots_without_matplotlib_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(CoPropError, match=r"pip install 'coprop-plugin\[plot\]'"):
        result_of().plot()


def test_a_result_writes_its_page_and_folder(tmp_path: Any) -> None:
    result = result_of()
    page = result.report(tmp_path / "page.html", title=HOSTILE)
    assert (tmp_path / "page.html").read_text() == page and page.startswith("<!")
    assert HOSTILE not in page and "<script" not in page._repr_html_()  # type: ignore[attr-defined]
    assert result.save(tmp_path / "a") == tmp_path / "a"
    assert cp.save(result, tmp_path / "b", clip=result.clip) == tmp_path / "b"
    files = [sorted(p.name for p in (tmp_path / d).iterdir() if p.name not in ("run.log", ".lock")) for d in "ab"]
    assert files[0] == files[1] == ["base", "control_points.json", "masks", "overlay.mp4", "report.html", "run.json",
                                    "scores.npz"]  # fmt: skip
    assert (tmp_path / "a/run.json").read_bytes() == (tmp_path / "b/run.json").read_bytes()
    again = cp.read_prediction(tmp_path / "a", clip=result.clip)
    np.testing.assert_array_equal(np.asarray(again.label_maps()), result.to_numpy())
    keyframes = result_of(base_frames=(0, 3))
    assert not (keyframes.save(tmp_path / "c") / "base").exists() and not (tmp_path / "c/report.html").exists()
    with pytest.raises(CoPropError, match="run at 2 keyframes alone"):
        keyframes.report()


def test_a_result_without_a_clip_asks_for_it(tmp_path: Any) -> None:
    bare = cp.Result(*[getattr(result_of(), n) for n in ("prediction", "control_points", "segments", "base")])
    for way in (lambda: bare.save(tmp_path / "x"), bare.report, bare.plot):
        with pytest.raises(CoPropError, match="give it: clip="):
            way()
    short = clip_of(np.zeros((T, H, W, 3), np.uint8))
    short = cp.Clip("short", short.frames[:2], short.sound, cp.TimeBase.of("avsbench", 2))
    with pytest.raises(CoPropError, match="'short' has 2 frames, the result 6"):
        bare.save(tmp_path / "x", clip=short)
    (tmp_path / "other.txt").touch()
    with pytest.raises(CoPropError, match="holds other things"):
        result_of().save(tmp_path)
