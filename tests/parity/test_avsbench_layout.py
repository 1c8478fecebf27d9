"""A small AVSBench tree read by this project, against what the published loaders returned for it.

The published preparation of frames and masks (resizing, cropping, normalising, padding) is applied here to what
``open_dataset`` gives; PNG-based values are exact, JPEG-based ones may differ by two grey levels.
"""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coprop_plugin.audio.vggish import log_mel_examples
from coprop_plugin.datasets.avsbench import AVSBench, open_dataset
from coprop_plugin.datasets.layouts import Video
from coprop_plugin.masks.palette import voc_palette
from coprop_plugin.media.sound import read_sound
from coprop_plugin.structures import AVSBENCH_CLASSES, AVSBENCH_NAMES

CASES = (
    Path(os.environ.get("COPROP_REFERENCE_DIR", Path(__file__).resolve().parents[2] / "../shared/reference")) / "cases"
)
TREES = [path.name[: -len(".tar.gz")] for path in sorted(CASES.glob("avsbench_*.tar.gz"))] or ["avsbench_mini"]
MEAN, STD = np.array((0.485, 0.456, 0.406), np.float32), np.array((0.229, 0.224, 0.225), np.float32)
TWO_GREY_LEVELS = 0.036
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def tree(request, tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """The unpacked tree and the published arrays of one case."""
    place = tmp_path_factory.mktemp("tree")
    with tarfile.open(CASES / f"{request.param}.tar.gz") as archive:
        archive.extractall(place, filter="data")
    with np.load(CASES / f"{request.param}.npz", allow_pickle=False) as stored:
        return place / request.param, {key: stored[key] for key in stored.files}


trees = pytest.mark.parametrize(
    "tree",
    [
        pytest.param(
            name,
            marks=[
                pytest.mark.needs("reference"),
                pytest.mark.parity(f"{name}.npz"),
                pytest.mark.parity(f"{name}.tar.gz"),
            ],
        )
        for name in TREES
    ],
    indirect=True,
)


def items(dataset: AVSBench, loader: str, published: dict[str, np.ndarray]):
    """Every item that the published loader was asked for: its arrays by field, its strings, and our video."""
    meta = json.loads(str(published["meta_json"]))
    count = 0
    for split in SPLITS:
        for i, video in enumerate(v for v in dataset.table if v.split == split):
            key = f"{loader}.{split}.{i}"
            fields = {name[len(key) + 1 :]: array for name, array in published.items() if name.startswith(key + ".")}
            if fields:
                count += 1
                yield video, fields, meta.get(key, [])
    assert count, f"the case holds nothing of {loader}"


def normalised(frames: list[np.ndarray]) -> np.ndarray:
    """``(T, 3, H, W)`` as torchvision's ToTensor and Normalize leave it."""
    return ((np.stack(frames).astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)


def resized(image: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size, how))


@trees
@pytest.mark.parametrize("layout", ["s4", "ms3"])
def test_binary_layouts_as_avsbench_reads_them(tree, layout):
    root, published = tree
    dataset = open_dataset(root, layout=layout)
    for video, fields, strings in items(dataset, f"avsbench_{layout}", published):
        clip, truth = dataset.clip(video), dataset.truth(video)
        assert np.array_equal(normalised(list(clip.frames[:]))[:, :, ::16, ::16], fields["imgs"])
        for t, mask in enumerate(fields["masks"]):
            assert np.array_equal(truth.label_map(t)[::4, ::4], mask[0])
        for t in range(len(fields["masks"]), clip.num_frames):
            assert (truth.label_map(t) == -1).all()
        examples = log_mel_examples(read_sound(dataset.path(dataset.layout.sound_file(video))).samples)[:5]
        examples = examples[np.minimum(np.arange(5), len(examples) - 1)]  # the last one is repeated
        assert np.abs(examples[:, :, ::8, ::8] - fields["log_mel"]).max() < 2e-5
        assert set(strings) <= {video.video_id, video.group}


@trees
@pytest.mark.parametrize("layout", ["s4", "ms3"])
def test_binary_layouts_as_avsegformer_reads_them(tree, layout):
    root, published = tree
    dataset = open_dataset(root, layout=layout)
    for video, fields, _ in items(dataset, f"avsegformer_{layout}", published):
        clip, truth = dataset.clip(video), dataset.truth(video)
        frames = [resized(frame, (512, 512), Image.Resampling.BILINEAR) for frame in clip.frames]
        assert np.array_equal(normalised(frames)[:, :, ::16, ::16], fields["imgs"])
        for t, area in enumerate(fields["masks_area"]):
            mask = resized(truth.label_map(t).astype(np.uint8), (512, 512), Image.Resampling.NEAREST)
            assert mask.sum() == area
            assert np.array_equal(mask[::4, ::4], fields["masks"][t, 0])


def published_view(image: np.ndarray, split: str, how: Image.Resampling) -> np.ndarray:
    """224 by 224: straight for val and test; short side first, then the centre, for train."""
    if split != "train":
        return resized(image, (224, 224), how)
    height, width = image.shape[:2]
    size = (224, int(224 * height / width)) if width < height else (int(224 * width / height), 224)
    image = resized(image, size, how)
    top, left = (round((length - 224) / 2) for length in image.shape[:2])
    return image[top : top + 224, left : left + 224]


def flags_of(video: Video, count: int) -> tuple[list[int], list[int]]:
    """The published flags of real frames and of labelled frames, of 10."""
    labelled = 1 if video.group == "v1s" else count
    return [1] * count + [0] * (10 - count), [1] * labelled + [0] * (10 - labelled)


@trees
def test_semantic_layout_as_published_loaders_read_it(tree):
    root, published = tree
    dataset = open_dataset(root, layout="avss")
    for video, fields, strings in items(dataset, "avss", published):
        clip, truth = dataset.clip(video), dataset.truth(video)
        frames = [published_view(frame, video.split, Image.Resampling.BILINEAR) for frame in clip.frames]
        images = normalised(frames)[:, :, ::16, ::16]
        assert np.abs(images - fields["imgs"][: len(images)]).max() < TWO_GREY_LEVELS
        assert not fields["imgs"][len(images) :].any()
        for t in range(10):
            # Padded frames, and those of a single-source training video after the first, are class 0 there.
            labels = truth.label_map(t) if t < truth.num_frames else np.zeros(truth.size, np.int16)
            view = published_view(np.maximum(labels, 0).astype(np.uint8), video.split, Image.Resampling.NEAREST)
            assert np.array_equal(np.bincount(view.ravel(), minlength=71), fields["label_hist"][t])
            assert np.array_equal(view[::4, ::4], fields["labels"][t, 0])
        shown, labelled = flags_of(video, clip.num_frames)
        assert fields["vid_flag"].tolist() == shown and fields["gt_flag"].tolist() == labelled
        assert strings[1] == video.video_id and strings[0].endswith(dataset.layout.sound_file(video))


@pytest.mark.needs("reference")
@pytest.mark.parity("avss_labels.json")
def test_classes_and_palette(reference):
    labels = json.loads((reference / "cases" / "avss_labels.json").read_text())
    assert {name: i for i, name in enumerate(AVSBENCH_NAMES)} == labels["class_index"]
    assert (0, *AVSBENCH_CLASSES) == tuple(range(len(labels["class_index"])))
    assert np.array_equal(voc_palette(71), np.array(labels["palette_rgb"]))
