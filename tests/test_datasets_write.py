"""Synthetic data sets on disk: what the published loaders would read is what the scenes are."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.cli.main import main
from coprop_plugin.datasets.avsbench import open_dataset
from coprop_plugin.datasets.check import check_dataset
from coprop_plugin.datasets.scene_files import read_scene
from coprop_plugin.datasets.simulators import simulate
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.datasets.write import Simulation, write_dataset
from coprop_plugin.errors import CoPropError
from coprop_plugin.masks.palette import voc_palette

SIZE = (48, 64)


def published_masks(root: Path, layout: str, video) -> list[np.ndarray]:
    """The masks by the rules of the published loaders, from the files alone."""
    if layout == "s4":
        folder = root / f"Single-source/s4_data/gt_masks/{video.split}/{video.group}/{video.video_id}"
        count = 1 if video.split == "train" else 5
        opened = [Image.open(folder / f"{video.video_id}_{k}.png").convert("1") for k in range(1, count + 1)]
        return [np.asarray(image).astype(float) for image in opened]
    if layout == "ms3":
        folder = root / f"Multi-sources/ms3_data/gt_masks/{video.split}/{video.video_id}"
        opened = [Image.open(folder / f"{video.video_id}_{k}.png").convert("P") for k in range(1, 6)]
        return [np.asarray(image) / 255 for image in opened]
    folder = root / f"AVSS/{video.group}/{video.video_id}"
    classes = {tuple(colour): i for i, colour in enumerate(voc_palette(71).tolist())}
    colours = [np.asarray(Image.open(folder / f"labels_rgb/{k}.png")) for k in range(10)]
    labels = [np.array([[classes[tuple(pixel)] for pixel in row] for row in image.tolist()]) for image in colours]
    indices = [np.asarray(Image.open(folder / f"labels_semantic/{k}.png")) for k in range(10)]
    assert all(map(np.array_equal, labels, indices))
    return labels


@pytest.mark.parametrize("kind, layout", [("s4", "s4"), ("ms3", "ms3"), ("avss", "avss"), ("moc", "avss")])
def test_written_sets_read_the_same_by_the_published_rules_and_by_ours(tmp_path, kind, layout):
    dataset = write_dataset(tmp_path / "set", kind=kind, videos=5, seed=2, size=SIZE)
    assert dataset.layout.name == layout and check_dataset(dataset).complete
    assert [v.split for v in dataset.table] == ["train"] * 4 + ["test"]
    for i, video in enumerate(dataset.table):
        made = make_clip(200_000 + i, kind=kind, size=SIZE, semantic=layout == "avss")
        clip, truth = dataset.clip(video), dataset.truth(video)
        labelled = dataset.layout.labelled(video, clip.num_frames)
        for t, mask in zip(labelled, published_masks(tmp_path / "set", layout, video), strict=True):
            expected = made.scene.label_map(t)
            assert np.array_equal(mask, expected) and np.array_equal(truth.label_map(t), expected)
        exact = np.abs(clip.frames[:].astype(int) - made.clip.frames[:])
        assert exact.max() == 0 if layout != "avss" else exact.mean() < 6  # JPEG
        assert np.abs(clip.sound.samples - made.clip.sound.samples).max() <= 1 / 32768


def test_tables_sounds_and_pickles_are_as_the_published_loaders_expect(tmp_path):
    root = tmp_path / "set"
    write_dataset(root / "s4", kind="s4", videos=2, size=SIZE, splits=["test"])
    with (root / "s4/Single-source/s4_meta_data.csv").open(newline="") as file:
        header, row, *_ = csv.reader(file)
    assert header == ["name", "start", "category", "split"]
    name, category = row[0], row[2]
    data = root / "s4/Single-source/s4_data"
    with wave.open(str(data / f"audio_wav/test/{category}/{name}.wav")) as sound:
        assert sound.getparams()[:4] == (2, 2, 16000, 80000)
    log_mel = pickle.loads((data / f"audio_log_mel/test/{category}/{name}.pkl").read_bytes())  # noqa: S301 - our own
    assert tuple(log_mel.shape) == (5, 1, 96, 64) and log_mel.requires_grad and str(log_mel.dtype) == "torch.float32"
    write_dataset(root / "avss", kind="avss", videos=1, size=SIZE)
    label2idx = json.loads((root / "avss/AVSS/label2idx.json").read_text())
    assert len(label2idx) == 71 and label2idx["background"] == 1 and label2idx["woman"] == 71
    with (root / "avss/AVSS/metadata.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == ["vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"] and row["label"] == "v2"
    assert not (root / "avss").stat().st_mode & 0o022 and (root / "avss").stat().st_mode & 0o055


def test_saved_predictions_are_named_as_published_and_hold_the_simulated_labels(tmp_path):
    simulations = [Simulation("lag", 1), Simulation("ignore_sound", 2)]
    ms3 = write_dataset(tmp_path / "ms3", kind="ms3", videos=2, size=SIZE, simulations=simulations)
    moc = write_dataset(tmp_path / "moc", kind="moc", videos=1, size=SIZE, simulations=simulations)
    for dataset, kind in ((ms3, "ms3"), (moc, "moc")):
        for i, video in enumerate(dataset.table):
            scene = make_clip(i, kind=kind, size=SIZE, semantic=kind == "moc").scene
            for simulation in simulations:
                expected = simulate(scene, simulation.name, strength=simulation.strength, seed=i)
                folder = tmp_path / kind / "predictions" / str(simulation) / video.video_id
                assert len(list(folder.iterdir())) == scene.num_frames
                for t in range(scene.num_frames):
                    image = Image.open(folder / f"{video.video_id}_{t}.png")
                    scale = 255 if kind == "ms3" else 1
                    assert image.mode == "P" and np.array_equal(np.asarray(image), expected.label_map(t) * scale)


def test_predictions_of_one_class_hold_its_index(tmp_path):
    dataset = write_dataset(tmp_path / "set", kind="avss", videos=7, size=SIZE, simulations=[Simulation("lag", 1)])
    video = dataset.table[6]
    (class_id,) = make_clip(6, kind="avss", size=SIZE).scene.names
    prediction = read_prediction(tmp_path / "set/predictions/lag-1" / video.video_id, classes="avsbench")
    assert set(np.unique(np.asarray(prediction.label_maps()))) == {0, class_id}


def test_same_seed_writes_the_same_bytes(tmp_path):
    def digest(folder: Path) -> str:
        write_dataset(folder, kind="moc", videos=2, seed=3, size=SIZE, simulations=[Simulation("flicker", 1)])
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        return hashlib.sha256(b"".join(str(p.relative_to(folder)).encode() + p.read_bytes() for p in files)).hexdigest()

    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_scenes_come_back_from_disk(tmp_path):
    dataset = write_dataset(tmp_path / "set", kind="moc", videos=1, size=SIZE)
    folder = tmp_path / "set/scenes" / dataset.table[0].video_id
    made, again = make_clip(0, kind="moc", size=SIZE).scene, read_scene(folder / "instances", folder / "scene.json")
    assert again.object_class == made.object_class and again.names == made.names
    assert np.array_equal(again.sounding, made.sounding)
    assert np.array_equal(again.truth().label_map(4), made.truth().label_map(4))
    assert np.array_equal(simulate(again, "lag", seed=1).frame(5), simulate(made, "lag", seed=1).frame(5))


def test_nothing_is_left_when_writing_is_interrupted(tmp_path):
    def interrupted(videos):
        yield from videos[:1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", kind="ms3", videos=3, size=SIZE, progress=interrupted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kind": "uniform:25"}, "unknown kind of data set 'uniform:25'"),
        ({"splits": ["tst"]}, "unknown split 'tst'. Did you mean 'test'"),
        ({"splits": []}, "name at least one split"),
        ({"videos": 0}, "1 to 100000 videos"),
        ({"seed": -1}, "a seed from 0 on"),
    ],
)
def test_bad_options_are_told(tmp_path, options, message):
    with pytest.raises(CoPropError, match=message):
        write_dataset(tmp_path / "set", **({"kind": "ms3", "videos": 2} | options))


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CoPropError, match="is not empty; name a new folder"):
        write_dataset(tmp_path, kind="ms3", videos=1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "description, message",
    [
        ("[1]", "it is a mapping with objects"),
        ("{", "is not JSON"),
        ('{"objects": [{"id": 1, "avsbench_index": 900}], "sounding_per_second": {"1": [1]}}', "from 1 to 70"),
        ('{"objects": [{"id": 1, "avsbench_index": 3}], "sounding_per_second": {}}', "not as expected"),
        ('{"objects": [{"id": 1, "avsbench_index": 3}], "sounding_per_second": {"1": [2]}}', "0 or 1; got 2"),
        ('{"objects": [{"id": 1, "avsbench_index": 3}], "sounding_per_second": {"1": [1, 1]}}', "tells of 2 frames"),
    ],
)
def test_damaged_scenes_are_told(tmp_path, description, message):
    (tmp_path / "scene.json").write_text(description)
    (tmp_path / "instances").mkdir()
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "instances/0.png")
    with pytest.raises(CoPropError, match=message):
        read_scene(tmp_path / "instances", tmp_path / "scene.json")


COMPOSED = {"o1_toys_10s": "v2", "o2_car_5s": "v1m", "o3_car_bmx_10s": "v2", "o4_negative_5s": "v1m"}


@pytest.mark.needs("data")
@pytest.mark.parametrize("name", COMPOSED)
def test_composed_clips_are_scenes_whose_truth_and_control_points_are_those_on_disk(data, name):
    composed = data / "composed"
    folder = composed / "avss" / COMPOSED[name] / name
    scene = read_scene(folder / "instances", composed / f"{name}.json")
    told = json.loads((composed / f"{name}.json").read_text())
    assert scene.control_points().flags.astype(int).tolist() == told["control_points"]
    semantic = (folder / "labels_semantic").is_dir()
    assert scene.labelling == ("semantic" if semantic else "binary")
    for t in range(scene.num_frames):
        binary = np.asarray(Image.open(folder / f"labels_binary/{t}.png")) > 0
        assert np.array_equal(scene.label_map(t) > 0, binary)
        if semantic:
            assert np.array_equal(scene.label_map(t), np.asarray(Image.open(folder / f"labels_semantic/{t}.png")))


@pytest.mark.needs("data")
def test_composed_data_sets_open_as_avss_and_ms3(data):
    avss, ms3 = (open_dataset(data / "composed", layout=name) for name in ("avss", "ms3"))
    assert check_dataset(avss).complete and check_dataset(ms3).complete
    scene = read_scene(data / "composed/avss/v2/o3_car_bmx_10s/instances", data / "composed/o3_car_bmx_10s.json")
    truth = avss.truth("o3_car_bmx_10s")
    assert all(np.array_equal(truth.label_map(t), scene.label_map(t)) for t in range(10))
    assert not any(ms3.truth("o4_negative_5s").label_map(t).any() for t in range(5))
    assert avss.clip("o2_car_5s").size == (480, 854)


def test_synth_and_data_on_the_command_line(tmp_path, capsys):
    out = tmp_path / "set"
    words = ["--kind", "ms3", "--videos", "3", "--split", "test", "--size", "48x64", "--simulate", "lag:2"]
    assert main(["synth", str(out), *words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["layout"] == "ms3" and made["videos"] == {"test": 3}
    assert Path(made["predictions"][0]).name == "lag-2" and len(list(Path(made["predictions"][0]).iterdir())) == 3
    assert main(["data", "check", str(out)]) == 0
    assert "complete" in capsys.readouterr().out
    victim = next((out / "Multi-sources/ms3_data/gt_masks/test").rglob("*_3.png"))
    victim.unlink()
    assert main(["data", "check", str(out), "--json"]) == 1
    check = json.loads(capsys.readouterr().out)
    assert check["complete"] is False
    assert check["splits"]["test"]["masks"]["missing"] == [str(victim.relative_to(out / "Multi-sources/ms3_data"))]
    assert main(["data", "check", str(out)]) == 1
    assert f"missing: gt_masks/test/{victim.parent.name}/{victim.name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["synth", "{out}", "--size", "big"], "--size is height x width"),
        (["synth", "{out}", "--simulate", "lag:x"], "is no number; write lag:1"),
        (["synth", "{out}", "--simulate", "lag:0.5"], "counts whole frames"),
        (["data", "check", "{out}"], "is no folder"),
    ],
)
def test_bad_words_on_the_command_line(tmp_path, capsys, words, message):
    assert main([word.format(out=tmp_path / "set") for word in words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
