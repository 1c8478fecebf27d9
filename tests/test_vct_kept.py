"""Maskige that is kept for another run, and the segmenter of transformers that makes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from maskige_cases import FRAMES, dog, expected, masks_of, save_tiny_sam
from PIL import Image

from coprop_plugin.adapters.vct.kept import Kept
from coprop_plugin.adapters.vct.maskige import coloured, segment_indices
from coprop_plugin.adapters.vct.pictures import FromMasks, Grey, Pictures, Source
from coprop_plugin.adapters.vct.segmenter import Segmenter, best_boxes
from coprop_plugin.adapters.vct.sources import open_source
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import Clip


@pytest.fixture
def clip() -> Clip:
    return dog()


class Counting(FromMasks):
    """A segmenter that says how often it was asked."""

    def __init__(self, key: str | None = "this one") -> None:
        self.asked = 0
        super().__init__(self._find, about="Maskige: counted", key=key)

    def _find(self, clip: Clip, t: int) -> np.ndarray:
        self.asked += 1
        return masks_of(t)


def test_kept_pictures_are_read_again_and_are_a_source_themselves(tmp_path: Path, clip: Clip) -> None:
    source = Counting()
    for _ in range(2):
        kept = Kept(source, tmp_path)
        for t in range(FRAMES):
            np.testing.assert_array_equal(kept.picture(clip, t), expected(t))
    assert source.asked == FRAMES
    again = open_source(tmp_path)
    assert isinstance(again, Pictures)
    for t in range(FRAMES):
        np.testing.assert_array_equal(again.picture(clip, t), expected(t))


@pytest.mark.parametrize("change", ["segmenter", "frame", "no key", "damage", "foreign"])
def test_a_kept_picture_of_something_else_is_made_anew(change: str, tmp_path: Path, clip: Clip) -> None:
    first = Counting(key=None if change == "no key" else "this one")
    Kept(first, tmp_path).picture(clip, 0)
    path = tmp_path / "dog" / "0_mask_color.png"
    source: Counting = Counting(key={"segmenter": "another", "no key": None}.get(change, "this one"))
    if change == "frame":
        clip = Clip("dog", 255 - np.asarray(clip.frames), clip.sound, clip.time_base)
    if change == "damage":
        path.write_bytes(path.read_bytes()[:-30])
    if change == "foreign":
        Image.fromarray(np.zeros((3, 3), np.uint8)).save(path)
    np.testing.assert_array_equal(Kept(source, tmp_path).picture(clip, 0), expected(0))
    assert source.asked == 1


def test_a_clip_whose_name_leads_elsewhere_is_not_kept(tmp_path: Path, clip: Clip) -> None:
    odd = Clip("../dog", np.asarray(clip.frames), clip.sound, clip.time_base)
    with pytest.raises(CoPropError, match="no name of a folder"):
        Kept(Counting(), tmp_path / "kept").picture(odd, 0)
    assert not list(tmp_path.iterdir())


# a segmenter of transformers


@pytest.fixture(scope="module")
def tiny_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("sam"))


def test_a_sam_model_makes_pictures(tiny_sam: Path, tmp_path: Path, clip: Clip) -> None:
    source = open_source(
        {"model": tiny_sam, "points_per_side": 3, "pred_iou_thresh": -1e9, "stability_score_thresh": 0.0}
    )
    assert isinstance(source, Segmenter) and "sam" in source.about and "NOT the published" in source.about
    masks = source.masks(clip.frames[0])
    assert masks and all(mask.shape == clip.size and mask.dtype == bool for mask in masks)
    picture = source.picture(clip, 0)
    np.testing.assert_array_equal(picture, coloured(segment_indices(masks, clip.size)))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1
    kept = Kept(source, tmp_path)
    np.testing.assert_array_equal(kept.picture(clip, 0), picture)
    source._generator = None
    source.masks = lambda frame: pytest.fail("it was asked again")  # type: ignore[method-assign]
    np.testing.assert_array_equal(kept.picture(clip, 0), picture)


def test_a_sure_model_without_sure_masks_gives_grey(tiny_sam: Path, clip: Clip) -> None:
    source = open_source({"model": tiny_sam, "points_per_side": 2, "pred_iou_thresh": 1e9})
    assert (source.picture(clip, 0) == 120).all()
    by_path = open_source(str(tiny_sam))
    assert isinstance(by_path, Segmenter) and by_path.key != source.key  # type: ignore[attr-defined]


def test_a_model_that_generates_no_masks_is_named(tmp_path: Path, clip: Clip) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CoPropError, match=r"the model in .* generates no masks here"):
        open_source(tmp_path).picture(clip, 0)


def test_of_like_boxes_the_better_one_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [0, 0, 3, 3]], float)
    assert best_boxes(boxes, np.array([0.5, 0.9, 0.1, 0.2]), overlap=0.7) == [1, 3, 2]
    assert best_boxes(boxes[:0], np.zeros(0), overlap=0.7) == []


def test_sources_say_what_they_are() -> None:
    assert isinstance(open_source("grey"), Grey)
    assert issubclass(Segmenter, Source)
