"""Sequences: cut where they may be, numbered as AOT wants them, heard as at inference; sources and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from coprop_plugin.datasets.made import made_clips
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.errors import CoPropError
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.propagators.guides import AudioGuide, TextGuide
from coprop_plugin.structures import Clip, Sound, TimeBase
from coprop_plugin.training.losses import IGNORE
from coprop_plugin.training.sequences import LabelledClip, SequenceRule, draw_sequence, windows_of
from coprop_plugin.training.sources import AVSBenchSource, SyntheticSource, open_source

SIZE = (33, 49)


def clip(num_frames: int = 8) -> Clip:
    """Frames as bright as their index."""
    frames = np.broadcast_to(np.arange(num_frames, dtype=np.uint8)[:, None, None, None], (num_frames, *SIZE, 3))
    return Clip("clip", frames, Sound.silence(num_frames), TimeBase.of("avsbench", num_frames))


def labelled(objects: list[set[int] | None], points: list[int]) -> LabelledClip:
    """A clip whose frame t shows the objects, object k in column 4 k; ``None``: no mask."""
    labels = np.zeros((len(objects), *SIZE), np.int16)
    for t, ids in enumerate(objects):
        if ids is None:
            labels[t] = IGNORE
        for k in ids or ():
            labels[t, :, 4 * k] = k
    return LabelledClip(clip(len(objects)), labels, np.isin(np.arange(len(objects)), points))


class Few:
    """A source of a few clips."""

    def __init__(self, *clips: LabelledClip) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> LabelledClip:
        return self.clips[item]

    def describe(self) -> str:
        return "few"


def heard(clip: Clip) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((clip.num_frames, 3)).astype(np.float32)


class TestWindows:
    LABELS = labelled([{1}, {1}, {1}, {1, 2}, {1, 2}, set(), set(), {2}], [0, 3, 5, 7])

    def test_inside_segments(self) -> None:
        windows = windows_of(self.LABELS, SequenceRule(missed_points=0))
        assert windows == [(0, 3, 0), (0, 3, 1), (3, 5, 3)]  # an empty first frame has nothing to carry

    def test_over_one_missed_point(self) -> None:
        windows = windows_of(self.LABELS, SequenceRule(missed_points=1))
        assert windows == [(0, 5, 0), (0, 5, 1), (0, 5, 2), (3, 7, 3), (3, 7, 4)]

    def test_masks_must_follow(self) -> None:
        sparse = labelled([{1}, None, None, {1}], [0])
        assert windows_of(sparse, SequenceRule(length=3)) == []
        assert windows_of(sparse, SequenceRule(length=4)) == [(0, 4, 0)]


class TestSequence:
    def test_what_is_cut(self) -> None:
        source, rule = Few(TestWindows.LABELS), SequenceRule(length=4, size=SIZE, missed_points=1, context_frames=1)
        seen = set()
        for seed in range(40):
            drawn = draw_sequence(source, 0, rule, np.random.default_rng(seed), heard)
            first = int(drawn.name.rpartition(" ")[2])
            stop = 5 if first < 3 else 7
            times = [min(first + i, stop - 1) for i in range(4)]
            assert drawn.frames[:, 0, 0, 0].tolist() == times
            shown = [set(np.unique(labels)) for labels in drawn.labels]
            assert shown[0] == {0, *drawn.identities} and len(drawn.identities) == (1 if first < 3 else 2)
            for t, labels in zip(range(first, first + 4), shown, strict=True):
                known = TestWindows.LABELS.labels[min(t, 7)]
                kept = {0, *drawn.identities} if known.any() else {0}  # object 2 is not carried where it came later
                assert labels == (kept if t < stop else {IGNORE})
            task = PropagationTask(0 if first < 3 else 3, stop, 0 if first < 3 else 3, np.zeros((2, 4, 4), np.float32))
            expected = AudioGuide(heard, dim=3, context_frames=1).tokens(source[0].clip, task)
            for got, wanted in zip(drawn.audio, expected.rows(torch.tensor(times) - task.start), strict=True):
                assert torch.equal(got, wanted)
            seen |= {(first, *drawn.identities), (drawn.labels[0, 0, 4] == 0,)}
        assert len(seen) > 20 and {(True,), (False,)} <= seen  # places, identities and mirroring vary

    def test_words_of_what_is_masked_in_the_window(self) -> None:
        guide = TextGuide(lambda words: np.array([[len(word)] for word in words], np.float32), dim=1)
        rule = SequenceRule(length=2, size=SIZE, missed_points=0)
        names = {1: "dog", 2: "violin"}
        named = LabelledClip(TestWindows.LABELS.clip, TestWindows.LABELS.labels, TestWindows.LABELS.flags, names)
        seen = set()
        for seed in range(20):
            drawn = draw_sequence(Few(named), 0, rule, np.random.default_rng(seed), guide)
            assert drawn.audio is not None and drawn.audio.valid.all()
            lengths = [3.0] if int(drawn.name.rpartition(" ")[2]) < 3 else [3.0, 6.0]
            assert drawn.audio.tokens[..., 0].tolist() == [lengths] * 2
            seen.add(len(lengths))
        assert seen == {1, 2}
        with pytest.raises(CoPropError, match=r"objects \[1(, 2)?\] have none. Train on clips with classes"):
            draw_sequence(Few(TestWindows.LABELS), 0, rule, np.random.default_rng(0), guide)

    def test_mirrored_together(self) -> None:
        rule = SequenceRule(length=2, size=SIZE, flip_share=1, num_identities=1)
        drawn = draw_sequence(Few(labelled([{2}, {2}], [0])), 0, rule, np.random.default_rng(0), None)
        assert drawn.audio is None and np.argwhere(drawn.labels[1])[0, 1] == SIZE[1] - 1 - 8

    def test_the_largest_objects_are_kept(self) -> None:
        one = labelled([{1, 2, 3}, {1, 2, 3}], [0])
        one.labels[:, :, 20:40] = 2
        rule = SequenceRule(length=2, size=SIZE, flip_share=0, num_identities=1)
        drawn = draw_sequence(Few(one), 0, rule, np.random.default_rng(0), None)
        assert drawn.identities == (1,) and np.array_equal(drawn.labels[0] == 1, one.labels[0] == 2)

    def test_frames_and_masks_are_brought_to_the_size(self) -> None:
        rule = SequenceRule(length=2, size=(65, 97), flip_share=0)
        drawn = draw_sequence(Few(labelled([{3}, {3}], [0])), 0, rule, np.random.default_rng(0), None)
        assert drawn.frames.shape == (2, 65, 97, 3) and drawn.labels.shape == (2, 65, 97)
        assert abs(np.argwhere(drawn.labels[0])[:, 1].mean() / 97 - 12.5 / 49) < 0.02

    def test_a_clip_without_sequences_gives_way_to_the_next(self) -> None:
        source, rule = Few(labelled([set(), {1}], [0, 1]), labelled([{1}, {1}], [0])), SequenceRule(length=2, size=SIZE)
        assert draw_sequence(source, 0, rule, np.random.default_rng(0), None).name == "clip from frame 0"
        with pytest.raises(CoPropError, match="none of the 1 clips has an object"):
            draw_sequence(Few(source[0]), 0, rule, np.random.default_rng(0), None)

    @pytest.mark.parametrize("wrong", [{"length": 1}, {"missed_points": -1}, {"num_identities": 11}], ids=str)
    def test_rules_out_of_range(self, wrong: dict[str, int]) -> None:
        with pytest.raises(CoPropError, match="sequences have at least 2 frames"):
            SequenceRule(**wrong)


class TestSources:
    def test_synthetic(self) -> None:
        source = open_source("synth:moc:7-9", size=SIZE)
        assert len(source) == 3
        made, given = make_clip(8, kind="moc", size=SIZE), source[1]
        assert np.array_equal(given.labels[4], made.scene.label_map(4))
        assert np.array_equal(given.flags, made.scene.control_points().flags)
        visible = SyntheticSource(made_clips("synth:moc:7-9"), SIZE, masks="visible")[1]
        assert np.array_equal(visible.labels, np.asarray(made.scene.instances)) and visible.flags.sum() == 1

    @pytest.mark.parametrize("kind", ["s4", "ms3", "avss"])
    def test_data_sets(self, tmp_path: Path, kind: str) -> None:
        dataset = write_dataset(tmp_path / "set", kind=kind, videos=3, splits=("train",), size=(48, 48))
        source = open_source(str(tmp_path / "set"), size=SIZE)
        assert isinstance(source, AVSBenchSource) and len(source) == 3
        given, truth = source[1], dataset.truth(dataset.table[1])
        assert np.array_equal(given.labels, np.stack([truth.label_map(t) for t in range(truth.num_frames)]))
        rule = SequenceRule(length=3, size=(33, 33))
        if kind == "s4":  # trained on one frame a video: nothing follows from it
            assert (given.labels[1:] == IGNORE).all()
            with pytest.raises(CoPropError, match=r"none of the 3 clips .* masks to compare with"):
                draw_sequence(source, 0, rule, np.random.default_rng(0), None)
        else:
            drawn = draw_sequence(source, 0, rule, np.random.default_rng(0), None)
            assert set(np.unique(drawn.labels[0])) == {0, *drawn.identities}

    @pytest.mark.parametrize(
        ("text", "masks", "message"),
        [
            ("synth:moc:5", "sounding", "made clips are named"),
            ("synth:moc:5-4", "sounding", "there are no clips of the seeds 5-4"),
            ("synth:mocs:1-4", "sounding", "unknown kind of clip 'mocs'"),
            ("nowhere", "sounding", "or the folder of a data set; got 'nowhere'"),
            (".", "sounding", "holds no AVSBench data set"),
            (".", "visible", "needs synthetic clips"),
            ("synth:moc:1-2", "heard", "unknown kind of masks 'heard'"),
        ],
    )
    def test_what_is_no_source(self, text: str, masks: str, message: str) -> None:
        with pytest.raises(CoPropError, match=message):
            open_source(text, size=SIZE, masks=masks)  # type: ignore[arg-type]
