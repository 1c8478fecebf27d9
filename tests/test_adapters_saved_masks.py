"""Folders of PNGs as predictions: all forms that published code writes, and nothing guessed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import coprop_plugin as cp
from coprop_plugin.adapters.base import build_adapter
from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.errors import CoPropError, MediaError, PredictionError
from coprop_plugin.masks.palette import colours_to_labels, voc_palette
from coprop_plugin.structures import Clip, Sound, TimeBase

T, H, W = 4, 6, 5


def clip_of(frames: int = T, clip_id: str = "toy") -> Clip:
    return Clip(clip_id, np.zeros((frames, 8, 8, 3), np.uint8), Sound.silence(frames), TimeBase.of("avsbench", frames))


@pytest.fixture
def masks() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (T, H, W)).astype(np.uint8)


@pytest.fixture
def classes() -> np.ndarray:
    return np.random.default_rng(1).choice([0, 1, 11, 70], (T, H, W)).astype(np.uint8)


def save(folder: Path, images: np.ndarray, *, mode: str = "L", name: str = "{k}.png", first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, values in enumerate(images, start=first):
        image = Image.fromarray(voc_palette()[values] if mode == "RGB" else values)
        if mode == "P":
            image.putpalette(voc_palette().tobytes())
        if mode == "1":
            image = Image.fromarray(values * 255).convert("1")
        image.save(folder / name.format(k=k))
    return folder


def labels_of(prediction: cp.Prediction) -> np.ndarray:
    return prediction.label_maps()[:]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize("name", ["{k}.png", "toy_{k}.png", "{k:05d}.png"])
@pytest.mark.parametrize("first", [0, 1])
def test_binary_masks_in_every_mode_name_and_numbering(
    tmp_path: Path, masks: np.ndarray, mode: str, name: str, first: int
) -> None:
    prediction = read_prediction(save(tmp_path / "p", masks, mode=mode, name=name, first=first), clip=clip_of())
    assert (prediction.kind, prediction.class_ids, prediction.size) == ("hard", (1,), (H, W))
    np.testing.assert_array_equal(labels_of(prediction), masks)
    np.testing.assert_array_equal(prediction.frame(2), np.stack([masks[2] == 0, masks[2] == 1]))


@pytest.mark.parametrize("mode", ["L", "P"])
def test_0_255_is_binary(tmp_path: Path, masks: np.ndarray, mode: str) -> None:
    prediction = read_prediction(save(tmp_path / "p", masks * 255, mode=mode))
    np.testing.assert_array_equal(labels_of(prediction), masks)


def test_black_and_white_colours_are_binary(tmp_path: Path, masks: np.ndarray) -> None:
    folder = save(tmp_path / "p", np.repeat(masks[..., None] * 255, 3, axis=-1), mode="as it is")
    np.testing.assert_array_equal(labels_of(read_prediction(folder)), masks)


def test_empty_masks_are_masks(tmp_path: Path) -> None:
    assert not labels_of(read_prediction(save(tmp_path / "p", np.zeros((T, H, W), np.uint8)))).any()


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_semantic_maps_by_value_or_colour(tmp_path: Path, classes: np.ndarray, mode: str) -> None:
    prediction = read_prediction(save(tmp_path / "p", classes, mode=mode), classes="avsbench")
    assert len(prediction.class_ids) == 70
    assert prediction.names[11] == "car"
    np.testing.assert_array_equal(labels_of(prediction), classes)


def test_ids_map_what_files_hold_to_classes(tmp_path: Path) -> None:
    objects = np.array([[[0, 1, 2]]], np.uint8)
    prediction = read_prediction(save(tmp_path / "p", objects, mode="P"), ids={1: 11, 2: 41})
    assert prediction.class_ids == (11, 41)
    np.testing.assert_array_equal(labels_of(prediction), [[[0, 11, 41]]])


def test_unexpected_values_name_file_value_and_count(tmp_path: Path, masks: np.ndarray) -> None:
    masks[2, 0, :2] = 45
    prediction = read_prediction(save(tmp_path / "p", masks))
    prediction.label_map(1)
    with pytest.raises(
        PredictionError, match=r"2\.png: holds values that stand for no class: 45 \(2 px\)\. Expected: 0"
    ):
        prediction.label_map(2)
    with pytest.raises(PredictionError, match=r"11 \(\d+ px\).*classes="):
        labels_of(read_prediction(save(tmp_path / "semantic", np.full((1, H, W), 11, np.uint8))))


def test_colours_off_the_palette_are_reported(tmp_path: Path) -> None:
    colours = voc_palette()[np.full((1, H, W), 11)]
    colours[0, 0, :3] = (64, 64, 1)
    folder = save(tmp_path / "p", colours, mode="as it is")
    with pytest.raises(
        PredictionError, match=r"0\.png: colours that are not in the palette.*\(64, 64, 1\) \(3 px\)\. Blended"
    ):
        read_prediction(folder, classes="avsbench").label_map(0)
    with pytest.raises(CoPropError, match=r"unknown off_palette option 'black'"):
        read_prediction(folder, off_palette="black")


def test_colours_as_published_loaders_read_them(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).choice([0, 64, 128, 192, 255], (1, 40, 50, 3)).astype(np.uint8)
    folder = save(tmp_path / "p", colours, mode="as it is")
    prediction = read_prediction(folder, classes="avsbench", off_palette="background")
    np.testing.assert_array_equal(prediction.label_map(0), colours_to_labels(colours[0], voc_palette(71)))
    assert len(np.unique(prediction.label_map(0))) > 20


def test_255_is_ignored_only_when_asked(tmp_path: Path, classes: np.ndarray) -> None:
    classes[0, 0, 0] = 255
    folder = save(tmp_path / "p", classes)
    with pytest.raises(PredictionError, match=r"255 \(1 px\).*ignore=255"):
        read_prediction(folder, classes="avsbench").label_map(0)
    assert read_prediction(folder, classes="avsbench", ignore=255).label_map(0)[0, 0] == -1


def test_grey_probabilities_only_when_said(tmp_path: Path) -> None:
    soft = np.arange(T * H * W, dtype=np.uint8).reshape(T, H, W)
    folder = save(tmp_path / "p", soft)
    with pytest.raises(PredictionError, match="8-bit probabilities, say kind='probability'"):
        read_prediction(folder).label_map(1)
    prediction = read_prediction(folder, kind="probability")
    assert prediction.kind == "probability"
    np.testing.assert_array_equal(prediction.frame(1)[1], soft[1] / np.float32(255))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "logit"}, "scores of kind 'logit' of 1 classes are saved as"),
        ({"kind": "probability", "classes": "avsbench"}, "of 70 classes are saved as .npy"),
        ({"clip": clip_of(5)}, "4 frames, but clip 'toy' has 5 .*sampling='uniform:0.8'"),
        ({"first_index": 1}, r"0\.png comes before first_index=1"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, masks: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(PredictionError, match=message):
        read_prediction(save(tmp_path / "p", masks), **options)


def test_colour_probabilities_are_refused(tmp_path: Path, masks: np.ndarray) -> None:
    prediction = read_prediction(save(tmp_path / "p", masks, mode="RGB"), kind="probability")
    with pytest.raises(PredictionError, match=r"mode L.*this one is of mode RGB"):
        prediction.frame(0)


def test_sizes_are_compared_at_open(tmp_path: Path, masks: np.ndarray) -> None:
    folder = save(tmp_path / "p", masks)
    Image.new("L", (9, 9)).save(folder / "2.png")
    with pytest.raises(PredictionError, match=r"2\.png: 9x9 px .* but 0\.png has 6x5"):
        read_prediction(folder)


def png_announcing(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png_announcing(100_000, 100_000), "header announces 100000x100000 pixels"),
        (png_announcing(0, 7), "header announces 0x7"),
        (b"GIF89a, surely", r"0\.png.*no container that is read here"),
        (b"\xff\xd8\xff\xe0 jpeg", "is jpeg by its first bytes; saved masks are PNG"),
        (b"", "is empty"),
    ],
)
def test_files_that_are_no_images_are_refused_at_open(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "0.png").write_bytes(content)
    with pytest.raises(MediaError, match=message):
        read_prediction(tmp_path)


def test_links_and_names_that_lead_out(tmp_path: Path, masks: np.ndarray) -> None:
    outside = save(tmp_path / "outside", masks)
    inside = save(tmp_path / "preds" / "p", masks[:1])
    (inside / "1.png").symlink_to(outside / "1.png")
    with pytest.raises(PredictionError, match=r"1\.png: a link that leads out of the folder"):
        read_prediction(inside)
    (tmp_path / "videos" / "toy").mkdir(parents=True)
    (tmp_path / "videos" / "other").symlink_to(outside)
    with pytest.raises(PredictionError, match="other: a link that leads out"):
        read_prediction(tmp_path / "videos", clip=clip_of(clip_id="other"))
    with pytest.raises(PredictionError, match=r"no folder of the clip '\.\./outside'"):
        read_prediction(save(tmp_path / "good" / "p", masks).parent, clip=clip_of(clip_id="../outside"))


def test_the_clip_chooses_its_video(tmp_path: Path, masks: np.ndarray) -> None:
    save(tmp_path / "ms3" / "toy", masks, name="toy_{k}.png")
    save(tmp_path / "ms3" / "joy", 1 - masks, name="joy_{k}.png")
    save(tmp_path / "s4" / "dogs" / "toy", masks, name="toy_{k}.png")
    save(tmp_path / "s4" / "cats" / "joy", masks, name="joy_{k}.png")
    np.testing.assert_array_equal(labels_of(read_prediction(tmp_path / "ms3", clip=clip_of())), masks)
    np.testing.assert_array_equal(labels_of(read_prediction(tmp_path / "s4", clip=clip_of())), masks)
    np.testing.assert_array_equal(labels_of(read_prediction(tmp_path / "s4" / "dogs")), masks)
    with pytest.raises(PredictionError, match="folders of 2 videos"):
        read_prediction(tmp_path / "ms3")
    with pytest.raises(PredictionError, match=r"no folder of the clip 'toi'. Did you mean 'toy'"):
        read_prediction(tmp_path / "ms3", clip=clip_of(clip_id="toi"))
    save(tmp_path / "s4" / "cats" / "toy", masks)
    with pytest.raises(PredictionError, match="clip 'toy' lies there 2 times"):
        read_prediction(tmp_path / "s4", clip=clip_of())


def test_the_adapter_reads_what_read_prediction_reads(tmp_path: Path, masks: np.ndarray) -> None:
    save(tmp_path / "toy", masks)
    adapter = build_adapter("saved_masks", path=str(tmp_path))
    assert adapter.frame_equals_clip is True
    whole = adapter.predict(clip_of())
    np.testing.assert_array_equal(labels_of(whole), masks)
    (tmp_path / "toy" / "0.png").write_bytes(png_announcing(W, H))  # frames that are not asked for are not read
    np.testing.assert_array_equal(adapter.predict_frames(clip_of(), [2])[2], np.stack([masks[2] == 0, masks[2] == 1]))
    with pytest.raises(CoPropError, match="asked for \\[9\\]"):
        adapter.predict_frames(clip_of(), [9])


def test_single_frames_are_probabilities_whatever_was_saved(tmp_path: Path) -> None:
    logits = np.random.default_rng(2).normal(size=(T, H, W)).astype(np.float32)
    np.save(tmp_path / "logits.npy", logits)
    adapter = build_adapter("saved_masks", path=tmp_path / "logits.npy", kind="logit", classes=(11,))
    assert (adapter.kind, adapter.class_ids) == ("probability", (11,))
    foreground = adapter.predict_frames(clip_of(), [1, 3])[3][1]
    np.testing.assert_allclose(foreground, 1 / (1 + np.exp(-logits[3])), rtol=1e-6)
    assert adapter.predict(clip_of()).kind == "logit"


def test_adapters_are_built_by_name_with_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match="no saved masks at"):
        build_adapter("saved_masks", path=tmp_path / "nothing")
    with pytest.raises(CoPropError, match=r"unknown adapter 'saved_mask'. Did you mean 'saved_masks'"):
        build_adapter("saved_mask")
    with pytest.raises(CoPropError, match="'saved_masks' has no option 'folder'"):
        build_adapter("saved_masks", path=tmp_path, folder=1)


@pytest.mark.needs("data")
def test_real_outputs_of_a_model_that_ignores_sound(data: Path) -> None:
    folder = data / "composed/avss/v2/o3_car_bmx_10s/osvos_pred"
    prediction = read_prediction(folder, clip=clip_of(10), ids={1: 11, 2: 41})
    assert prediction.class_ids == (11, 41)
    assert set(np.unique(labels_of(prediction)).tolist()) == {0, 11, 41}
    with pytest.raises(PredictionError, match=r"holds values that stand for no class: 2 \(\d+ px\)"):
        labels_of(read_prediction(folder))
