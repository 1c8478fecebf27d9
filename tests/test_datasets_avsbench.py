"""AVSBench layouts: found where users have them, read strictly, never outside their folder."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coprop_plugin.datasets.avsbench import AVSBench, colour_classes, open_dataset
from coprop_plugin.datasets.check import check_dataset, missing_files
from coprop_plugin.datasets.layouts import LAYOUTS, Video
from coprop_plugin.datasets.moc import moc_videos, true_control_points
from coprop_plugin.errors import CoPropError
from coprop_plugin.masks.palette import voc_palette

SIZE = (12, 16)
STRANGE = "-_wznbUu3DY"  # a real S4 name


def put(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def put_wav(path: Path, seconds: int = 5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setparams((2, 2, 16000, 0, "NONE", ""))
        sound.writeframes(bytes(4 * 16000 * seconds))


def mask(on: bool) -> np.ndarray:
    image = np.zeros(SIZE, np.uint8)
    image[3:9, 4:10] = 255 * on
    return image


def add(data: Path, layout: str, video: Video, masks: list[np.ndarray]) -> None:
    """One video with the given masks; frames and sound are plain."""
    rule = LAYOUTS[layout]
    for t in range(10 if video.group == "v2" else 5):
        put(data / rule.frame_file(video, t), np.full((*SIZE, 3), 20 * t, np.uint8))
    put_wav(data / rule.sound_file(video))
    for t, image in enumerate(masks):
        put(data / rule.mask_file(video, t, folder=rule.masks[0]), image)


def s4_tree(data: Path) -> Path:
    data.mkdir(parents=True)
    (data.parent / "s4_meta_data.csv").write_text(
        f"name,start,category,split\n{STRANGE},6,baby_laughter,train\nplain,0,race_car,test\n"
    )
    add(data, "s4", Video(STRANGE, "train", "baby_laughter"), [mask(True)])
    add(data, "s4", Video("plain", "test", "race_car"), [mask(t != 2) for t in range(5)])
    return data


def avss_tree(data: Path, videos: dict[Video, list[list[int]]]) -> Path:
    """Videos whose frames show the listed classes, each as a stripe."""
    data.mkdir(parents=True, exist_ok=True)
    lines = ["vid,uid,s_min,s_sec,a_obj,split,label"]
    for video, sets in videos.items():
        labels = np.zeros((len(sets), *SIZE), np.uint8)
        for t, classes in enumerate(sets):
            for row, class_id in enumerate(classes):
                labels[t, 2 * row] = class_id
        add(data, "avss", video, [voc_palette()[frame] for frame in labels])
        lines.append(f"{video.original_id},{video.video_id},0,0,man_dog,{video.split},{video.group}")
    (data / "metadata.csv").write_text("\n".join(lines) + "\n")
    return data


def v1m(name: str, split: str = "test") -> Video:
    return Video(f"{name}_0_5000", split, "v1m", name)


@pytest.mark.parametrize("given", ["Single-source/s4_data", "Single-source", "."])
def test_the_root_may_be_any_of_the_usual_folders(tmp_path, given):
    s4_tree(tmp_path / "Single-source/s4_data")
    dataset = open_dataset(tmp_path / given)
    assert dataset.layout.name == "s4"
    assert [v.video_id for v in dataset.videos()] == [STRANGE, "plain"]
    assert [v.video_id for v in dataset.videos("train")] == [STRANGE]


def test_avss_is_found_under_its_other_name_and_several_sets_must_be_told_apart(tmp_path):
    avss_tree(tmp_path / "AVSBench-semantic", {v1m("a"): [[1]] * 5})
    assert open_dataset(tmp_path).layout.name == "avss"
    s4_tree(tmp_path / "Single-source/s4_data")
    with pytest.raises(CoPropError, match=r"several data sets \(s4, avss\); say which with layout="):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, layout="s4").layout.name == "s4"


def test_s4_clip_and_truth(tmp_path):
    dataset = open_dataset(s4_tree(tmp_path / "s4_data"))
    clip, truth = dataset.clip("plain"), dataset.truth("plain")
    assert clip.clip_id == "plain" and str(clip.time_base.sampling) == "avsbench"
    assert clip.frames[3][0, 0, 0] == 60 and clip.sound.duration_s == 5
    assert truth.kind == "hard" and truth.class_ids == (1,)
    for t in range(5):
        assert np.array_equal(truth.label_map(t), (mask(t != 2) > 0).astype(np.int16))  # frame 2 is all black
    labelled = dataset.truth(STRANGE)
    assert labelled.label_map(0).max() == 1
    assert all((labelled.label_map(t) == -1).all() for t in range(1, 5))
    assert true_control_points(dataset, dataset.video(STRANGE)).frames == (0,)
    points = true_control_points(dataset, dataset.video("plain"))
    assert points.frames == (0, 2, 3) and points.categories is None and "binary masks" in points.origin.generator


def test_avss_truth_has_native_size_and_class_ids(tmp_path):
    video = Video("x_0_10000", "val", "v2", "x")
    sets = [[41], [41, 17], [], [17], [17], [17], [70], [70], [70], [1]]
    dataset = open_dataset(avss_tree(tmp_path / "AVSS", {video: sets}))
    truth = dataset.truth(video)
    assert truth.size == SIZE and truth.num_frames == 10 and truth.names[41] == "man"
    assert [set(np.unique(truth.label_map(t)).tolist()) - {0} for t in range(10)] == [set(s) for s in sets]
    assert dataset.video("x_0_10000").categories == ("man", "dog")
    points = true_control_points(dataset, video)
    assert points.frames == (0, 1, 2, 3, 6, 9) and points.categories[1] == ("dog", "man")
    assert true_control_points(dataset, video, silence_counts=False).frames == (0, 1, 3, 6, 9)


def test_a_colour_of_no_class_is_background_and_class_indices_are_read_where_colours_are_not_there(tmp_path):
    colours = np.array([[[128, 0, 0], [127, 0, 0], [32, 128, 128], [160, 128, 128]]], np.uint8)
    assert colour_classes(colours).tolist() == [[1, 0, 70, 0]]  # (160, 128, 128) would be 71
    data = avss_tree(tmp_path / "AVSS", {v1m("a"): [[1]] * 5})
    for t in range(5):
        (data / f"v1m/a_0_5000/labels_rgb/{t}.png").unlink()
        put(data / f"v1m/a_0_5000/labels_semantic/{t}.png", np.full(SIZE, 5 + 66 * (t == 4), np.uint8))
    (data / "v1m/a_0_5000/labels_rgb").rmdir()
    truth = open_dataset(data).truth("a_0_5000")
    assert (truth.label_map(0) == 5).all()
    with pytest.raises(CoPropError, match=r"4\.png: holds the class index 71; AVSBench has 0 to 70"):
        truth.label_map(4)


@pytest.mark.parametrize(
    "image, message",
    [
        (np.full(SIZE, 128, np.uint8), r"black and white \(0 and 255 in mode L\); it also holds \[128\]"),
        (np.ones(SIZE, np.uint8), r"it also holds \[1\]"),
        (np.tile(np.array([255, 0, 0], np.uint8), (*SIZE, 1)), "it also holds colours"),
    ],
)
def test_binary_masks_are_black_and_white(tmp_path, image, message):
    data = s4_tree(tmp_path / "s4_data")
    put(data / "gt_masks/test/race_car/plain/plain_4.png", image)
    with pytest.raises(CoPropError, match=message):
        open_dataset(data).truth("plain").label_map(3)


def test_white_masks_of_other_modes_are_read(tmp_path):
    data = s4_tree(tmp_path / "s4_data")
    folder = data / "gt_masks/test/race_car/plain"
    Image.fromarray(mask(True)).convert("1").save(folder / "plain_1.png")
    Image.fromarray(mask(True)).convert("RGB").save(folder / "plain_2.png")
    Image.fromarray(mask(True)).convert("P").save(folder / "plain_4.png")
    truth = open_dataset(data).truth("plain")
    for t in (0, 1, 3):
        assert np.array_equal(truth.label_map(t), (mask(True) > 0).astype(np.int16))


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "a\x07b"])
@pytest.mark.parametrize("column", [0, 2, 3])
def test_ids_splits_and_categories_that_are_no_plain_names_are_refused(tmp_path, name, column):
    data = s4_tree(tmp_path / "s4_data")
    row = ["x", "0", "dog", "test"]
    row[column] = name
    (tmp_path / "s4_meta_data.csv").write_text("name,start,category,split\n" + ",".join(row) + "\n")
    with pytest.raises(CoPropError, match=r"s4_meta_data\.csv, row 2: .* is no plain name"):
        open_dataset(data)


@pytest.mark.parametrize(
    "table, message",
    [
        ("", r"lacks the columns \['name', 'category', 'split'\]"),
        ("name,start,kind,split\na,0,b,test\n", r"lacks the columns \['category'\]"),
        ("name,start,category,split\na,0,b\n", "row 2: has 3 columns, its header 4"),
        ("name,start,category,split\na,0,b,test\na,0,c,val\n", "row 3: the video 'a' occurs twice"),
        ("name,start,category,split\na,0,\udcff,test\n", "is not in UTF-8"),
    ],
)
def test_damaged_tables_are_told(tmp_path, table, message):
    data = s4_tree(tmp_path / "s4_data")
    (tmp_path / "s4_meta_data.csv").write_bytes(table.encode("utf-8", "surrogateescape"))
    with pytest.raises(CoPropError, match=message):
        open_dataset(data)


def test_a_huge_table_is_refused_before_it_is_read(tmp_path):
    data = s4_tree(tmp_path / "s4_data")
    os.truncate(tmp_path / "s4_meta_data.csv", 1 << 40)
    with pytest.raises(CoPropError, match=r"a table of videos has at most 67\.1 MB"):
        open_dataset(data)


@pytest.mark.parametrize(
    "link", ["gt_masks", "gt_masks/test/race_car/plain/plain_2.png", "visual_frames/test/race_car/plain", "audio_wav"]
)
def test_links_out_of_the_data_set_are_not_followed(tmp_path, link):
    data = s4_tree(tmp_path / "s4_data")
    outside = tmp_path / "outside"
    (data / link).rename(outside)
    (data / link).symlink_to(outside)
    dataset = open_dataset(data)
    with pytest.raises(CoPropError, match="leads out of the data set"):
        dataset.truth("plain")
        dataset.clip("plain")
    with pytest.raises(CoPropError, match="leads out of the data set"):
        check_dataset(dataset)


def test_a_link_to_the_whole_data_set_is_fine(tmp_path):
    s4_tree(tmp_path / "far/s4_data")
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert check_dataset(open_dataset(tmp_path / "near")).complete


def test_missing_files_are_named(tmp_path):
    data = s4_tree(tmp_path / "s4_data")
    dataset = open_dataset(data)
    (data / "visual_frames/test/race_car/plain/plain_5.png").unlink()
    with pytest.raises(CoPropError, match="holds 4 frames, but 'plain' has 5 in this layout"):
        dataset.clip("plain")
    (data / "audio_wav/test/race_car/plain.wav").unlink()
    with pytest.raises(CoPropError, match=r"plain\.wav: the sound of 'plain' is missing"):
        dataset.clip("plain")
    (data / "gt_masks/test/race_car/plain/plain_3.png").unlink()
    with pytest.raises(CoPropError, match=r"plain_3\.png: the mask is missing \(1 of 5"):
        dataset.truth("plain")
    check = check_dataset(dataset)
    assert not check.complete
    assert missing_files(check) == [
        "visual_frames/test/race_car/plain/plain_5.png",
        "audio_wav/test/race_car/plain.wav",
        "gt_masks/test/race_car/plain/plain_3.png",
    ]


def test_check_counts_beside_the_published_ones(tmp_path):
    check = check_dataset(open_dataset(s4_tree(tmp_path / "s4_data")))
    assert check.complete and list(check.splits) == ["train", "val", "test"]
    train, test = check.splits["train"], check.splits["test"]
    assert (train.frames.expected, train.masks.expected, test.masks.expected, train.published) == (5, 1, 5, 3452)
    assert "train: the table names 1 videos, the published one 3452" in check.notes
    assert any("only the published loaders need them" in note for note in check.notes)


def test_pickles_are_never_opened(tmp_path):
    data = s4_tree(tmp_path / "s4_data")
    trap = data / "audio_log_mel/test/race_car/plain.pkl"
    trap.parent.mkdir(parents=True)
    trap.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "sprung").encode() + b"'\ntR.")
    dataset = open_dataset(data)
    dataset.clip("plain"), dataset.truth("plain").label_map(0), check_dataset(dataset)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda d: d.videos("tset"), "unknown split 'tset'. Did you mean 'test'"),
        (lambda d: d.clip("plane"), "unknown video 'plane'. Did you mean 'plain'"),
        (lambda d: open_dataset(d.data, layout="s5"), "unknown layout 's5'"),
        (lambda d: open_dataset(d.data / "gt_masks"), "holds no AVSBench data set"),
        (lambda d: open_dataset(d.data / "nowhere"), "is no folder"),
        (lambda d: open_dataset(d.data, layout="ms3"), "no ms3_meta_data.csv with its data here"),
        (lambda d: moc_videos(d), "S4 has single sources only"),
    ],
)
def test_wrong_questions_are_told(tmp_path, ask, message):
    dataset = open_dataset(s4_tree(tmp_path / "s4_data"))
    with pytest.raises(CoPropError, match=message):
        ask(dataset)


MOC = {"still": [[1]] * 5, "change": [[1], [1], [2], [2], [2]], "pause": [[1], [], [1], [1], [1]]}


def ms3_tree(data: Path, names: list[str]) -> AVSBench:
    """Enough of MS3 for its table: MOC needs no files of it."""
    (data / "gt_masks").mkdir(parents=True)
    (data / "ms3_meta_data.csv").write_text("video_id,split\n" + "".join(f"{n},test\n" for n in names))
    return open_dataset(data)


def test_moc_by_rule_from_avss_and_from_ms3_with_class_masks(tmp_path):
    videos = {v1m(name): sets for name, sets in MOC.items()}
    videos |= {Video("new_0_10000", "test", "v2", "new"): [[1]] * 5 + [[2]] * 5, v1m("early", "train"): MOC["change"]}
    semantic = open_dataset(avss_tree(tmp_path / "AVSS", videos))
    assert [v.original_id for v in moc_videos(semantic)] == ["change", "pause"]
    assert [v.original_id for v in moc_videos(semantic, silence_counts=False)] == ["change"]
    assert [v.original_id for v in moc_videos(semantic, split="train")] == ["early"]
    ms3 = ms3_tree(tmp_path / "ms3_data", list(MOC))
    assert [v.video_id for v in moc_videos(ms3, semantic=semantic)] == ["change", "pause"]
    with pytest.raises(CoPropError, match="MS3 masks are binary"):
        moc_videos(ms3)
    with pytest.raises(CoPropError, match="'other' is not among the v1 videos"):
        moc_videos(ms3_tree(tmp_path / "ms3_other", ["other"]), semantic=semantic)


def test_moc_warns_when_the_64_test_videos_do_not_give_17(tmp_path):
    changing = {v1m(f"c{i:02d}"): MOC["change"] for i in range(17)} | {v1m("pause"): MOC["pause"]}
    still = {v1m(f"s{i:02d}"): MOC["still"] for i in range(46)}
    dataset = open_dataset(avss_tree(tmp_path / "AVSS", changing | still))
    with pytest.warns(UserWarning, match="18 of the 64 MS3 test videos change.*has 17; with silence_counts=False.* 17"):
        assert len(moc_videos(dataset)) == 18
    assert len(moc_videos(dataset, silence_counts=False)) == 17
