"""Maskige: the colouring rule, every source of segments, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from maskige_cases import FRAMES, HEIGHT, WIDTH, code_of, dog, expected, masks_of
from PIL import Image
from rule_weights import noise

from coprop_plugin.adapters.vct.maskige import GREY, PALETTE, coloured, resized, segment_indices
from coprop_plugin.adapters.vct.sources import open_source
from coprop_plugin.errors import CoPropError, MediaError, PredictionError
from coprop_plugin.masks.rle import decode_rle
from coprop_plugin.structures import Clip


@pytest.fixture
def clip() -> Clip:
    return dog()


# the rule


def test_the_smallest_mask_that_covers_a_pixel_colours_it() -> None:
    for t in range(FRAMES):
        indices = segment_indices(masks_of(t), (HEIGHT, WIDTH))
        assert indices[6 + t, 7] == 1 and indices[3, 4] == 2 and indices[0, 0] == 0
        np.testing.assert_array_equal(coloured(indices)[0, 0], (120, 120, 120))


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_the_rule_written_pixel_by_pixel(seed: int, count: int) -> None:
    random = np.random.RandomState(seed)
    masks = random.rand(count, 5, 7) < random.rand()
    indices = segment_indices(masks, (5, 7))
    areas = masks.sum((1, 2))
    order = sorted(range(count), key=lambda i: (areas[i], i))
    for y, x in np.ndindex(5, 7):
        covering = [rank + 1 for rank, i in enumerate(order) if masks[i, y, x]]
        assert indices[y, x] == (covering[0] if covering else 0)


def test_indices_beyond_the_palette_are_black_and_grey_is_not() -> None:
    picture = coloured(np.array([[0, 1, 149, 150, 255]], np.uint8))[0]
    np.testing.assert_array_equal(picture, [GREY, PALETTE[1], PALETTE[149], (0, 0, 0), (0, 0, 0)])
    many = np.eye(300, dtype=bool).reshape(300, 1, 300)
    assert segment_indices(many, (1, 300)).max() == 255


# sources


def write_pictures(folder: Path) -> Path:
    """As published: palette PNG; the first 150 colours are ADE20K's."""
    (folder / "dog").mkdir(parents=True)
    for t in range(FRAMES):
        image = Image.fromarray(segment_indices(masks_of(t), (HEIGHT, WIDTH)))
        image.putpalette(PALETTE.tobytes())
        image.save(folder / "dog" / f"{t}_mask_color.png")
        image.save(folder / "dog" / f"{t}_mask.png")  # what else may lie there is of no account
    return folder


def write_npz_frames(folder: Path) -> Path:
    (folder / "music" / "dog").mkdir(parents=True)
    for t in range(FRAMES):
        np.savez_compressed(folder / "music" / "dog" / f"{t}.npz", masks=masks_of(t))
    return folder


def write_npy_frames(folder: Path) -> Path:
    folder.mkdir()
    for t in range(FRAMES):
        np.save(folder / f"{t}.npy", masks_of(t).astype(np.uint8))
    return folder


def write_npz_clip(folder: Path) -> Path:
    folder.mkdir()
    np.savez(folder / "dog.npz", **{str(t): masks_of(t) for t in range(FRAMES)})
    return folder


def write_json_frames(folder: Path) -> Path:
    """Both forms that SAM's own tools write: a list of annotations, and one under a key."""
    (folder / "dog").mkdir(parents=True)
    for t in range(FRAMES):
        found = [{"segmentation": code_of(mask), "area": int(mask.sum())} for mask in masks_of(t)]
        content = found if t == 0 else {"image": {"file_name": "1.jpg"}, "annotations": found}
        (folder / "dog" / f"{t}.json").write_text(json.dumps(content))
    return folder


def write_coco(folder: Path) -> Path:
    folder.mkdir()
    images = [{"id": 70 + t, "file_name": f"dog_{t}.jpg"} for t in reversed(range(FRAMES))]
    annotations = [{"image_id": 70 + t, "segmentation": code_of(mask)} for t in range(FRAMES) for mask in masks_of(t)]
    (folder / "dog.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


@pytest.mark.parametrize(
    "write", [write_pictures, write_npz_frames, write_npy_frames, write_npz_clip, write_json_frames, write_coco]
)
def test_every_form_of_segments_gives_the_same_picture(write: Callable, tmp_path: Path, clip: Clip) -> None:
    source = open_source(str(write(tmp_path / "segments")))
    assert "'segments'" in source.about
    for t in (1, 0):
        np.testing.assert_array_equal(source.picture(clip, t), expected(t))


def test_a_function_gives_segments_and_grey_needs_none(clip: Clip) -> None:
    source = open_source(lambda given, t: masks_of(t) if given is clip else [])
    np.testing.assert_array_equal(source.picture(clip, 1), expected(1))
    nothing = open_source(lambda *_: np.zeros((0, 4, 4), bool)).picture(clip, 0)
    grey = open_source("grey")
    np.testing.assert_array_equal(grey.picture(clip, 0), nothing)
    assert (nothing == 120).all() and nothing.shape == (HEIGHT, WIDTH, 3)
    assert "NOT the published" in grey.about
    assert open_source(grey) is grey


def test_resizing_keeps_the_colours() -> None:
    small = resized(expected(0), (64, 64))
    assert {tuple(c) for c in small.reshape(-1, 3)} <= {tuple(PALETTE[i]) for i in range(3)}


# what is refused


def spoil(folder: Path, what: str) -> Path:
    write_pictures(folder)
    place = folder / "dog" / "1_mask_color.png"
    match what:
        case "missing":
            place.unlink()
        case "hole":
            place.rename(place.with_name("2_mask_color.png"))
        case "strange colours":
            Image.fromarray(noise(HEIGHT, WIDTH, 3)).save(place)
        case "another palette":
            image = Image.fromarray(np.ones((HEIGHT, WIDTH), np.uint8))
            image.putpalette([7, 7, 7, 9, 9, 9])
            image.save(place)
        case "jpeg":
            Image.fromarray(expected(1)).save(place, format="JPEG")
        case "no picture":
            place.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 40)
        case "link":
            place.unlink()
            outside = folder.parent / "outside_mask_color.png"
            outside.write_bytes(b"")
            place.symlink_to(outside)
        case "other clip":
            (folder / "dog").rename(folder / "cat")
    return folder


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "Maskige of 1 frames, but clip 'dog' has 2"),
        ("hole", "1 missing"),
        ("strange colours", "is no Maskige"),
        ("another palette", "is no Maskige"),
        ("jpeg", "is jpeg"),
        ("no picture", "damaged|announces"),
        ("link", "leads out of the folder"),
        ("other clip", "no folder of the clip 'dog'"),
    ],
)
def test_wrong_pictures_are_named(what: str, message: str, tmp_path: Path, clip: Clip) -> None:
    with pytest.raises((PredictionError, MediaError), match=message):
        open_source(spoil(tmp_path / "pictures", what)).picture(clip, 1)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((HEIGHT, WIDTH), bool), r"\(n, H, W\)"),
        (np.zeros((2, HEIGHT, WIDTH), np.float32), "bools or integers"),
        (np.zeros((5000, 1, 1), bool), "at most 4096"),
        (np.zeros((1, 0, 3), bool), r"\(n, H, W\)"),
    ],
)
def test_wrong_arrays_are_named(masks: np.ndarray, message: str, tmp_path: Path, clip: Clip) -> None:
    for t in range(FRAMES):
        np.savez(tmp_path / f"{t}.npz", masks)
    with pytest.raises(PredictionError, match=message):
        open_source(tmp_path).picture(clip, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "each with a 'segmentation'"),
        ('[{"segmentation": [[0, 0, 1, 1]]}]', "polygons are not read"),
        ('[{"segmentation": {"size": [99999, 99999], "counts": [1]}}]', "at most 64000000 pixels"),
        ('[{"segmentation": {"size": [2, 2], "counts": [1, 2]}}]', "do not add up"),
        ('[{"segmentation": {"size": [2, 2], "counts": [5, -1]}}]', "do not add up"),
        ('[{"segmentation": {"size": [2, 2], "counts": "ooooooooooo"}}]', "no run-length code"),
        ('[{"segmentation": {"size": [2, 2], "counts": "P"}}]', "cut off"),
        ('[{"segmentation": {"size": [2, 2], "counts": {"a": 1}}}]', "neither a list"),
        (json.dumps([{"segmentation": code_of(np.ones(s))} for s in ((2, 2), (2, 3))]), "shape"),
    ],
)
def test_wrong_codes_are_named(content: str, message: str, tmp_path: Path, clip: Clip) -> None:
    for t in range(FRAMES):
        (tmp_path / f"{t}.json").write_text(content)
    with pytest.raises(CoPropError, match=message):
        open_source(tmp_path).picture(clip, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "needs maskige=.*maskige=grey"),
        ("", "needs maskige="),
        ("nowhere", "nothing usable at 'nowhere'"),
        ({"model": "nowhere"}, "no model at"),
    ],
)
def test_without_a_source_nothing_is_run(given: object, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        open_source(given)


def test_a_folder_that_holds_both_is_no_source(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    np.save(tmp_path / "dog" / "0.npy", masks_of(0))
    with pytest.raises(CoPropError, match="nothing usable"):
        open_source(tmp_path)


# run-length codes


@given(st.integers(0, 2**32 - 1))
def test_codes_agree_with_the_library(seed: int) -> None:
    library = pytest.importorskip("pycocotools.mask")
    random = np.random.RandomState(seed)
    mask = (random.rand(*random.randint(1, 40, 2)) < random.rand()).astype(np.uint8)
    if seed % 2:
        mask = np.kron(mask, np.ones((7, 9), np.uint8))
    code = library.encode(np.asfortranarray(mask))
    for counts in (code["counts"], code["counts"].decode()):
        np.testing.assert_array_equal(decode_rle({"size": code["size"], "counts": counts}), mask)
    np.testing.assert_array_equal(decode_rle(code_of(mask)), mask)
