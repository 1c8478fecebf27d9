"""Clips of a library's things: deterministic, exact, of one split, as their kind promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from objects_library import CLASSES, SPLITS, digest, tiny_library

from coprop_plugin.datasets.avsbench import open_dataset
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.datasets.objects.clips import Variety, make_object_clip, make_object_sound, make_object_tracks
from coprop_plugin.datasets.objects.library import Library
from coprop_plugin.datasets.objects.recordings import active_stretches
from coprop_plugin.datasets.schedule import KINDS
from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import AVSBENCH_NAMES, change_flags, class_sets
from coprop_plugin.structures.intervals import BRIDGED_S, bridged, sounding_frames
from coprop_plugin.training.sources import open_source

SMALL = (64, 80)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return tiny_library(tmp_path_factory.mktemp("objects") / "lib")


def test_same_seed_same_bytes_in_another_process_and_in_any_order(library: Library) -> None:
    seeds = (4, 5)
    here = {s: digest(make_object_clip(library, s, split="train", kind="ms3", size=SMALL)) for s in reversed(seeds)}
    code = f"import sys; sys.path[:0] = {[*sys.path]!r}\n"
    code += "from objects_library import digest\nfrom coprop_plugin.datasets.objects.clips import make_object_clip\n"
    code += "from coprop_plugin.datasets.objects.library import open_library\n"
    code += f"lib = open_library({str(library.root)!r})\n"
    code += f"print(*[digest(make_object_clip(lib, s, split='train', kind='ms3', size={SMALL})) for s in {seeds}])"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert list(reversed(here.values())) == there and len(set(there)) == 2
    assert digest(make_object_clip(library, 4, split="test", kind="ms3", size=SMALL)) not in there


def test_frames_are_the_same_in_any_order_and_between_frames_too(library: Library) -> None:
    made, again = (make_object_clip(library, 2, split="val", size=SMALL, between_hz=16) for _ in range(2))
    backwards = [made.clip.frames[t] for t in reversed(range(10))][::-1]
    assert np.array_equal(np.stack(backwards), again.clip.frames[:])
    assert again.clip.between is not None
    shown = list(again.clip.between(2 + 14.5 / 16, 3))  # 2 + 15/16 s, the moment of frame 2
    assert len(shown) == 1 and np.array_equal(shown[0], made.clip.frames[2])


@pytest.mark.parametrize("kind", [*KINDS, "uniform:4"])
def test_truth_shows_exactly_what_sounds_and_its_classes_give_the_control_points(library: Library, kind: str) -> None:
    for seed in range(2):
        scene = make_object_clip(library, seed, split="train", kind=kind, size=SMALL).scene
        truth = scene.truth()
        for t in range(scene.num_frames):
            instances, labels = scene.instance_map(t), truth.label_map(t)
            for column, object_id in enumerate(scene.object_ids):
                expected = scene.object_class[object_id] if scene.sounding[t, column] else 0
                assert (labels[instances == object_id] == expected).all()
            assert not labels[instances == 0].any()
        sets = class_sets([truth.label_map(t) for t in range(scene.num_frames)])
        assert np.array_equal(scene.control_points().flags, change_flags(sets))
        changes = int((scene.sounding[1:] != scene.sounding[:-1]).any(axis=1).sum())
        if kind == "moc":
            assert changes >= KINDS["moc"].changes[0]
        if kind == "s4":
            assert not changes and scene.sounding.any(axis=0).sum() == 1


def test_masks_follow_the_pictures_alpha(library: Library) -> None:
    """Where no object is, the frame is the bare photograph's; so an object's mask covers all that it changed."""
    made = make_object_clip(library, 3, split="train", kind="s4", size=SMALL)
    mask = made.scene.instance_map(0) > 0
    assert 0.01 < mask.mean() < 0.6
    assert set(np.unique(made.scene.instance_map(0))) <= {0, *made.scene.object_ids}


def test_nothing_of_another_split_is_used(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    from coprop_plugin.datasets.objects import clips, mixture

    read: set[Path] = set()

    def noted(function):
        def reading(path):
            read.add(path)
            return function(path)

        return reading

    monkeypatch.setattr(clips, "read_cutout", noted(clips.read_cutout))
    monkeypatch.setattr(clips, "read_background", noted(clips.read_background))
    monkeypatch.setattr(mixture, "read_recording", noted(mixture.read_recording))
    used = {}
    for split in SPLITS:
        read.clear()
        for seed in range(4):
            make_object_clip(library, seed, split=split, kind="ms3", size=SMALL)
            make_object_sound(library, seed, split=split, kind="ms3")
        used[split] = set(read)
        assert read and all(split in str(path.relative_to(library.root)) for path in read)
    assert not used["train"] & used["test"] and not used["val"] & used["test"]


def test_sound_alone_is_the_sound_of_the_clip(library: Library) -> None:
    for seed in range(4):
        made = make_object_clip(library, seed, split="val", kind="avss", size=SMALL)
        heard = make_object_sound(library, seed, split="val", kind="avss", cast="pictured")
        assert np.array_equal(heard.sound.samples, made.clip.sound.samples) and heard.noise_db == made.bed_db
        seen = [s for s in heard.sources if not s.off_screen]
        for source in seen:
            column = [*made.scene.object_class.values()].index(source.class_id)
            assert np.array_equal(sounding_frames(source.intervals_s, heard.time_base), made.scene.sounding[:, column])
        told = [(e.start_s, e.stop_s) for e in made.events]
        assert told == [tuple(piece) for s in heard.sources for piece in s.intervals_s.tolist()]


def test_more_variety_is_another_sound_with_its_own_truth(library: Library) -> None:
    usual, wide, again = (make_object_sound(library, 3, split="train", variety=v) for v in ("usual", "wide", "wide"))
    assert np.array_equal(wide.sound.samples, again.sound.samples)
    assert [s.class_name for s in wide.sources] == [s.class_name for s in usual.sources]
    assert not np.array_equal(wide.sound.samples, usual.sound.samples)
    level = np.sqrt(np.mean(wide.sound.samples**2) / np.mean(usual.sound.samples**2))
    assert 0.25 < level < 4 and np.abs(wide.sound.samples).max() <= 1
    with pytest.raises(CoPropError, match="unknown variety"):
        make_object_sound(library, 0, split="train", variety="some")  # type: ignore[arg-type]


@pytest.mark.parametrize("variety", ["usual", "wide"])
def test_tracks_add_up_to_the_sound(library: Library, variety: Variety) -> None:
    for seed in range(4):
        heard = make_object_sound(library, seed, split="train", variety=variety)
        tracks, turns_s = make_object_tracks(library, seed, split="train", variety=variety)
        assert len(tracks) == len(heard.sources) + 1
        assert all(np.array_equal(a, s.intervals_s) for a, s in zip(turns_s, heard.sources, strict=True))
        whole, sound = tracks.sum(axis=0), heard.sound.samples
        turned_down = min(1.0, 0.98 / np.abs(whole).max())
        assert np.abs(whole * turned_down - sound).max() < 1e-4


def test_truth_is_what_the_recordings_do(library: Library) -> None:
    """Without noise and room the mixture has power inside the stretches that are told, and none outside."""
    quiet = 0
    for seed in range(12):
        heard = make_object_sound(library, seed, split="train")
        rate, samples = heard.sound.rate_hz, heard.sound.samples
        assert samples.dtype == np.float32 and len(samples) == 10 * rate and np.abs(samples).max() <= 1
        for source in heard.sources:
            gaps = source.intervals_s[1:, 0] - source.intervals_s[:-1, 1]
            assert (gaps >= BRIDGED_S).all() and (np.diff(source.intervals_s, axis=1) > 0).all()
        if heard.noise_db is not None:
            continue
        quiet += 1
        told = np.zeros(len(samples), bool)
        for start_s, stop_s in bridged([p for s in heard.sources for p in s.intervals_s.tolist()], 0.0):
            told[int(start_s * rate) : int((stop_s + 0.75) * rate)] = True  # a room rings on
        assert np.abs(samples[told]).max() > 1000 * np.abs(samples[~told]).max(initial=0) or told.all()
    assert quiet


def test_sounds_begin_at_any_time(library: Library) -> None:
    starts = [
        p[0] for s in range(14) for h in make_object_sound(library, s, split="train").sources for p in h.intervals_s
    ]
    parts = np.array([s % 1 for s in starts if s > 0.1])
    assert len(parts) > 25 and (np.histogram(parts, 4, (0, 1))[0] > 2).all()


def test_choice_of_classes(library: Library) -> None:
    for seed in range(4):
        scene = make_object_clip(library, seed, split="test", kind="moc", size=SMALL, classes="avsbench").scene
        assert all(c < len(AVSBENCH_NAMES) and scene.names[c] == AVSBENCH_NAMES[c] for c in scene.object_class.values())
    everything = {
        s.class_name for n in range(24) for s in make_object_sound(library, n, split="test", kind="ms3").sources
    }
    assert everything >= {*CLASSES, "person", "gong", "narrator"}
    pictured = {
        s.class_name
        for n in range(12)
        for s in make_object_sound(library, n, split="test", kind="ms3", cast="pictured").sources
        if not s.off_screen
    }
    assert "gong" not in pictured and "person" in pictured


@pytest.mark.parametrize("kind", ["s4", "ms3", "avss", "moc"])
def test_data_sets_are_written_in_the_layouts(library: Library, tmp_path: Path, kind: str) -> None:
    dataset = write_dataset(tmp_path / "set", kind=kind, videos=3, size=SMALL, objects=library)
    again = open_dataset(tmp_path / "set", layout=dataset.layout.name)
    assert [v.split for v in again.table] == ["train", "train", "test"] or len(again.table) == 3
    truth = again.truth(again.table[0])
    assert truth.num_frames == KINDS[kind].num_frames
    scene = json.loads(next((tmp_path / "set" / "scenes").glob("*/scene.json")).read_text())
    assert all(
        o["avsbench_index"] is None or AVSBENCH_NAMES[o["avsbench_index"]] == o["name"] for o in scene["objects"]
    )


def test_named_as_a_source_of_training(library: Library) -> None:
    text = f"objects:{library.root}:val:moc:3-5"
    source = open_source(text, size=SMALL)
    made = make_object_clip(library, 4, split="val", size=SMALL)
    assert len(source) == 3 and str(made_clips(text)) == text
    assert np.array_equal(source[1].labels[2], made.scene.label_map(2))
    assert source.describe()["split"] == "val"
    chosen = made_clips(f"{text},classes=avsbench")
    assert chosen.classes == "avsbench" and str(chosen).endswith(",classes=avsbench")
    assert made_clips(f"objects:{library.root}:test:uniform:25:0-0").kind == "uniform:25"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objects:{root}:moc:0-1", "made clips are named"),
        ("objects:{root}:all:moc:0-1", "made clips are named"),
        ("objects:{root}:test:moc:2-1", "no clips"),
        ("objects:{root}/none:test:moc:0-1", "is no library of objects"),
        ("objects:{root}:test:mocs:0-1", "unknown kind of clip"),
        ("objects:{root}:test:moc:0-1,classes=few", "unknown choice of classes"),
    ],
)
def test_what_names_no_clips(library: Library, text: str, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        made_clips(text.format(root=library.root))


def test_wrong_arguments(library: Library) -> None:
    with pytest.raises(CoPropError, match="unknown split 'dev'"):
        make_object_sound(library, 0, split="dev")
    with pytest.raises(CoPropError, match="unknown cast"):
        make_object_sound(library, 0, split="test", cast="some")  # type: ignore[arg-type]
    with pytest.raises(CoPropError, match="at least 32 px"):
        make_object_clip(library, 0, split="test", size=(8, 8))
    with pytest.raises(CoPropError, match="any time"):
        write_dataset(library.root / "set", kind="moc", videos=1, objects=library, onsets="grid")


def test_activity_has_hysteresis() -> None:
    tone = np.sin(np.arange(16000) * 0.3).astype(np.float32)
    level = np.concatenate([np.full(16000, 1.0), np.full(8000, 0.04), np.full(8000, 0.5), np.zeros(8000)])
    faint_first = np.concatenate([np.full(4000, 0.04), level])
    samples = (np.resize(tone, len(faint_first)) * faint_first).astype(np.float32)
    (stretch,) = active_stretches(samples)  # -28 dB goes on with what sounds, and begins nothing
    assert abs(stretch[0] - 0.25) < 0.04 and abs(stretch[1] - 2.25) < 0.04


def test_objects_at_rest_stand_where_they_were(library: Library) -> None:
    """Some stand still under a still camera, the others move; everything else of the clip stays the same."""
    moving = make_object_clip(library, 3, split="train", kind="ms3", size=(48, 64))
    resting = make_object_clip(library, 3, split="train", kind="ms3", size=(48, 64), rest_share=1.0)
    mixed = make_object_clip(library, 3, split="train", kind="ms3", size=(48, 64), rest_share=0.5)
    assert moving.resting == () and resting.resting == resting.scene.object_ids
    assert set(mixed.resting) <= set(mixed.scene.object_ids)
    np.testing.assert_array_equal(moving.clip.sound.samples, resting.clip.sound.samples)
    np.testing.assert_array_equal(moving.scene.sounding, resting.scene.sounding)
    maps = [resting.scene.instance_map(t) for t in range(resting.clip.num_frames)]
    assert all(np.array_equal(maps[0], one) for one in maps)
    assert any(not np.array_equal(moving.scene.instance_map(0), moving.scene.instance_map(t)) for t in range(1, 5))
    with pytest.raises(CoPropError, match="rest_share is a probability"):
        make_object_clip(library, 3, split="train", rest_share=2.0)
