"""Masks in the forms that people have: run lengths in JSON, one folder an object, videos; judged by pycocotools."""

from __future__ import annotations

import contextlib
import json
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fuzz.mutations import change_value
from media_clips import tone, write_clip
from PIL import Image

import coprop_plugin as cp
from coprop_plugin.cli.main import main
from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.media.images import write_label_png
from coprop_plugin.store.coco import write_coco, write_youtube_vis
from coprop_plugin.structures import Prediction

LABELS = np.zeros((4, 12, 24), np.int16)
LABELS[0, 2:6, 3:9], LABELS[1, 3:7, 4:10], LABELS[1, 8:, 15:], LABELS[3, :2, :2] = 2, 2, 5, 5
TWO = Prediction.from_labels(LABELS, class_ids=(2, 5))


RUNS = {"size": [12, 24], "counts": [288]}


def maps(prediction: Prediction) -> np.ndarray:
    return np.stack([prediction.label_map(t) for t in range(prediction.num_frames)])


@pytest.mark.parametrize("write", [write_coco, write_youtube_vis])
def test_run_lengths_come_back_and_are_those_of_pycocotools(tmp_path: Path, write) -> None:
    masks = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed (extra coco)")
    write(tmp_path / "m.json", TWO)
    assert np.array_equal(maps(cp.read_prediction(tmp_path / "m.json", classes=(2, 5))), LABELS)
    assert np.array_equal(maps(cp.read_prediction(tmp_path / "m.json")) == 1, LABELS > 0)  # binary: every object
    rows = json.loads((tmp_path / "m.json").read_text())
    for row in rows:
        pieces = enumerate(row["segmentations"]) if "segmentations" in row else [(row["image_id"], row["segmentation"])]
        for t, piece in pieces:
            if piece is not None:
                assert np.array_equal(masks.decode(piece) == 1, LABELS[t] == row["category_id"])


def test_an_empty_clip_comes_back_empty(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    for write in (write_coco, write_youtube_vis):
        write(tmp_path / "m.json", Prediction.from_labels(np.zeros((3, 8, 8), np.uint8)))
        back = cp.read_prediction(tmp_path / "m.json")
        assert back.num_frames == 3 and not maps(back).any()


def test_data_sets_of_others(tmp_path: Path) -> None:
    """Polygons, listed runs, images out of order, overlaps by score, one video of several."""
    pytest.importorskip("pycocotools")
    images = [{"id": 7, "file_name": "00001.jpg", "height": 12, "width": 24}]
    images += [{"id": 9, "file_name": "00000.jpg", "height": 12, "width": 24}]
    square = [[2.0, 2.0, 10.0, 2.0, 10.0, 8.0, 2.0, 8.0]]
    runs = {"size": [12, 24], "counts": [0, 24, 264]}
    annotations = [
        {"image_id": 7, "category_id": 5, "segmentation": square, "score": 0.9},
        {"image_id": 7, "category_id": 2, "segmentation": runs, "score": 0.2},
        {"image_id": 9, "category_id": 2, "segmentation": runs},
    ]
    (tmp_path / "d.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    found = maps(cp.read_prediction(tmp_path / "d.json", classes=(2, 5)))
    assert (found[0, :, :2] == 2).all() and (found[0, :, 2:] == 0).all()
    assert (found[1, 3:7, 3:9] == 5).all() and (found[1, :, 0] == 2).all()
    two = [{"video_id": v, "category_id": 1, "segmentations": [runs]} for v in (1, 2)]
    videos = [{"id": v, "file_names": [f"clip{v}/0.jpg"], "height": 12, "width": 24} for v in (1, 2)]
    (tmp_path / "y.json").write_text(json.dumps({"videos": videos, "annotations": two}))
    with pytest.raises(PredictionError, match="holds 2 videos"):
        cp.read_prediction(tmp_path / "y.json")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"a": 1}, "neither COCO nor YouTube-VIS"),
        ([{"image_id": 0, "segmentation": {"size": [12, 24], "counts": "zzzzzzzz"}}], "no run lengths of COCO"),
        ([{"image_id": 0, "segmentation": {"size": [12, 24], "counts": [1, 2]}}], "the runs do not fill the picture"),
        ([{"image_id": 0, "segmentation": {"size": [10**6, 10**6], "counts": "0"}}], "at most"),
        ([{"image_id": -1, "segmentation": {"size": [12, 24], "counts": "0"}}], "image_id is a whole number"),
        ([], "holds no frames"),
        ([{"image_id": 0, "segmentation": RUNS, "score": [1]}], r"\[0\]\.score is a number; got a list of 1"),
        ([{"image_id": 0, "segmentation": {"size": [[12], 24], "counts": "0"}}], "segmentation is"),
        ([{"image_id": 0, "segmentation": {"size": [12, 24], "counts": [512.5, -224.5]}}], "segmentation is"),
        ([{"image_id": [0], "segmentation": RUNS}], "image_id is"),
        (
            {"annotations": [{"image_id": 5, "segmentation": RUNS}], "images": [{"id": 1}]},
            "the image 5, and there is none",
        ),
        ({"annotations": [], "images": [{"id": {}}]}, r"images\[0\]\.id is"),
        ({"annotations": [{"video_id": 1, "segmentations": 5}]}, "segmentations is"),
        ([{"image_id": 0, "segmentation": RUNS}, {"image_id": 0, "segmentation": [[1e9, 1, 2, 3, 4, 5]]}], "far off"),
        (
            [{"image_id": 0, "segmentation": RUNS}, {"image_id": 0, "segmentation": [[1, 2, 3, 4, 5, 6, 7]]}],
            "three points",
        ),
        ([{"image_id": 0, "segmentation": RUNS}, {"image_id": 0, "segmentation": [[1, 2]]}], "segmentation is"),
        ([{"image_id": 0, "segmentation": RUNS}, {"image_id": 0, "segmentation": []}], "segmentation is"),
    ],
)
def test_json_that_is_no_masks(tmp_path: Path, data: object, told: str) -> None:
    pytest.importorskip("pycocotools")
    (tmp_path / "m.json").write_text(json.dumps(data))
    with pytest.raises(PredictionError, match=told):
        maps(cp.read_prediction(tmp_path / "m.json"))


def objects_tree(root: Path) -> Path:
    for object_id in (1, 2):
        (root / f"{object_id:03d}").mkdir(parents=True)
        for t in range(4):
            mask = LABELS[t] == (2, 5)[object_id - 1]
            if mask.any() or t == 3:
                Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(
                    root / f"{object_id:03d}" / f"{t:05d}.png"
                )
    return root


def test_a_tree_of_one_folder_an_object(tmp_path: Path) -> None:
    tree = objects_tree(tmp_path / "tree")
    found = cp.read_prediction(tree, classes="objects")
    assert found.class_ids == (1, 2) and found.num_frames == 4
    assert np.array_equal(maps(found), np.select([LABELS == 2, LABELS == 5], [1, 2]))
    clip = cp.read_clip(write_clip(tmp_path / "a.mp4", num_frames=4, sounds=[tone(0.2)]), sampling="uniform:25")
    with pytest.raises(PredictionError, match="or classes='objects' if these are the folders of its objects"):
        cp.read_prediction(tree, clip=clip)


def test_values_that_are_objects(tmp_path: Path) -> None:
    for t, labels in enumerate(LABELS):
        write_label_png(tmp_path / f"{t:05d}.png", np.select([labels == 2, labels == 5], [1, 3]))
    with pytest.raises(PredictionError, match="If each value is an object of its own, say classes='objects'"):
        maps(cp.read_prediction(tmp_path))
    found = cp.read_prediction(tmp_path, classes="objects")
    assert found.class_ids == (1, 3) and np.array_equal(maps(found) > 0, LABELS > 0)
    with pytest.raises(CoPropError, match="leave ids= out"):
        cp.read_prediction(tmp_path, classes="objects", ids={1: 2})


def mask_video(path: Path, pictures: np.ndarray) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23"})
        stream.height, stream.width, stream.pix_fmt = pictures.shape[1], pictures.shape[2], "yuv420p"
        for k, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.repeat(picture[..., None], 3, axis=2), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def test_a_video_of_masks(tmp_path: Path) -> None:
    masks = np.zeros((5, 64, 96), np.uint8)
    for t in range(5):
        masks[t, 16:48, 8 * t : 8 * t + 40] = 255
    found = maps(cp.read_prediction(mask_video(tmp_path / "m.mp4", masks)))
    assert found.shape == masks.shape and ((found == 1) != (masks == 255)).mean() < 0.01
    with pytest.raises(PredictionError, match="grey or coloured"):
        maps(cp.read_prediction(mask_video(tmp_path / "g.mp4", masks // 2)))


def test_refine_takes_and_writes_them(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    video = write_clip(tmp_path / "a.mp4", num_frames=4, sounds=[tone(0.16)])
    write_youtube_vis(tmp_path / "m.json", Prediction.from_labels((LABELS > 0).astype(np.int16)))
    common = ["--sampling", "uniform:25", "--no-overlay", "--no-report", "--propagator", "hold"]
    also = ["--also", "coco", "--also", "youtube-vis", "--truth", str(tmp_path / "m.json")]
    out = tmp_path / "out"
    assert main(["refine", str(video), "--masks", str(tmp_path / "m.json"), *common, *also, "-o", str(out)]) == 0
    stored = maps(cp.read_prediction(out))
    for name in ("masks.coco.json", "masks.youtube-vis.json"):
        assert np.array_equal(maps(cp.read_prediction(out / name)), stored)
    tree = objects_tree(tmp_path / "tree")
    arguments = ["refine", str(video), "--masks", str(tree), "--classes", "objects", *common, "-o", str(tmp_path / "o")]
    assert main(arguments) == 0 and cp.read_prediction(tmp_path / "o").class_ids == (1, 2)


def test_changed_json_of_masks_is_a_named_error_or_masks(tmp_path: Path) -> None:
    """Whatever value stands anywhere, polygons included: the library below crashes on some."""
    pytest.importorskip("pycocotools")
    polygon = {"image_id": 1, "category_id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]], "score": 0.5}
    images = [{"id": k, "file_name": f"{k}.jpg", "height": 12, "width": 24} for k in (0, 1)]
    good = json.dumps(
        {"images": images, "annotations": [{"image_id": 0, "category_id": 5, "segmentation": RUNS}, polygon]}
    )
    (tmp_path / "m.json").write_text(good)
    assert maps(cp.read_prediction(tmp_path / "m.json")).any()
    for number in range(400):
        (tmp_path / "m.json").write_bytes(change_value(good.encode(), random.Random(number)) or b"")
        with contextlib.suppress(CoPropError):
            maps(cp.read_prediction(tmp_path / "m.json", classes=(2, 5)))
