"""Masks as editors, quantisers and id encoders leave them: the colours decide, or the file is refused; never inverted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import DATA
from media_clips import tone, write_clip
from PIL import Image

import coprop_plugin as cp
from coprop_plugin.cli.main import main
from coprop_plugin.datasets.avsbench import _classes, _foreground
from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.masks.palette import voc_palette
from coprop_plugin.media.images import read_label_values


def indexed(path: Path, indices: np.ndarray, palette: np.ndarray) -> Path:
    image = Image.fromarray(np.asarray(indices, np.uint8))
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    image.save(path)
    return path


LABELS = np.repeat(np.arange(4)[:, None], 6, axis=1)  # 0, 1, 2, 3 in rows


@pytest.mark.needs("data")
def test_an_adaptive_palette_never_inverts() -> None:
    masks = cp.read_prediction(DATA / "odd/palette_quantized_masks")
    for t in range(5):
        shown = np.array(Image.open(DATA / f"odd/palette_quantized_masks/{t}.png").convert("L")) > 127
        assert np.array_equal(masks.label_map(t) == 1, shown) and shown.mean() < 0.5


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("padding", [0, 5])
def test_black_and_white_at_any_index(tmp_path: Path, order: list[int], padding: int) -> None:
    palette = np.array([[0] * 3, [255] * 3])[order].tolist() + [[9, 9, 9]] * padding
    object_at = LABELS == 2
    indexed(tmp_path / "0.png", np.where(object_at, order.index(1), order.index(0)), palette)
    assert np.array_equal(cp.read_prediction(tmp_path).label_map(0) == 1, object_at)


@pytest.mark.parametrize("seed", range(5))
def test_colours_of_voc_at_any_index(tmp_path: Path, seed: int) -> None:
    """A permuted palette is the same picture; its own order, and a grey ramp, are taken as they are."""
    order = np.random.default_rng(seed).permutation(4)
    folder = tmp_path / str(seed)
    folder.mkdir()
    indexed(folder / "0.png", np.argsort(order)[LABELS], voc_palette(4)[order])
    indexed(folder / "1.png", LABELS, voc_palette(256))
    indexed(folder / "2.png", LABELS, np.repeat(np.arange(256), 3).reshape(-1, 3))
    masks = cp.read_prediction(folder, classes=(1, 2, 3))
    assert all(np.array_equal(masks.label_map(t), LABELS) for t in range(3))
    assert np.array_equal(_classes(read_label_values(folder / "0.png"), folder), LABELS)


def test_other_palettes_are_refused_unless_the_indices_are_said_to_mean_something(tmp_path: Path) -> None:
    palette = [[120, 120, 120], [180, 120, 120], [6, 230, 230], [80, 50, 50]]
    path = indexed(tmp_path / "0.png", LABELS, palette)
    with pytest.raises(PredictionError, match=r"colours are of no known palette: 0 \(120, 120, 120\), 1 .*mode L"):
        cp.read_prediction(tmp_path, classes=(1, 2, 3)).label_map(0)
    said = cp.read_prediction(tmp_path, ids={1: 1, 2: 2, 3: 3})
    assert np.array_equal(said.label_map(0), LABELS)
    for decode in (_classes, _foreground):
        with pytest.raises(CoPropError, match="colours are not those of AVSBench"):
            decode(read_label_values(path), path)


def test_ids_in_the_channels_of_a_colour_picture_are_named_as_such(tmp_path: Path) -> None:
    coded = np.zeros((4, 6, 3), np.uint8)
    coded[1], coded[2] = (3, 1, 0), (7, 0, 0)
    Image.fromarray(coded).save(tmp_path / "0.png")
    with pytest.raises(PredictionError, match=r"\(3, 1, 0\) \(6 px\).*ids that were written into the channels") as told:
        cp.read_prediction(tmp_path).label_map(0)
    assert "Blended" not in str(told.value) and "off_palette" not in str(told.value)
    Image.fromarray(coded + np.uint8(60)).save(tmp_path / "0.png")
    with pytest.raises(PredictionError, match="Blended edges"):
        cp.read_prediction(tmp_path).label_map(0)


# Refused first, in the words of the command line


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "a.mp4", num_frames=50, sounds=[tone(2.0)])


def saved(folder: Path, value: int, *, count: int = 2) -> Path:
    folder.mkdir()
    for t in range(count):
        Image.fromarray(np.full((12, 24), value, np.uint16 if value > 255 else np.uint8)).save(folder / f"{t}.png")
    return folder


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """What ``refine`` says before any work begins."""
    monkeypatch.setattr(cp.CoProp, "__call__", lambda *_, **__: pytest.fail("the work began"))
    assert main(["refine", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_classes_that_no_mask_file_holds(tmp_path: Path, video: Path, capsys, monkeypatch) -> None:
    masks = saved(tmp_path / "masks", 300)
    told = refused(
        capsys, monkeypatch, video, "--masks", masks, "--classes", "300", "-o", tmp_path / "out", "--no-report"
    )
    assert "class id 300 does not fit in an 8-bit mask" in told and "--ids 300:1" in told and "ids=" not in told


def test_a_protocol_and_a_truth_that_cannot_be_used(tmp_path: Path, video: Path, capsys, monkeypatch) -> None:
    masks, truth = saved(tmp_path / "masks", 255), saved(tmp_path / "truth", 7)
    common = (video, "--masks", masks, "--truth", truth, "-o", tmp_path / "out")
    assert "unknown protocol 'avsbnch'" in refused(capsys, monkeypatch, *common, "--protocol", "avsbnch")
    told = refused(capsys, monkeypatch, *common)
    assert (
        "stand for no class: 7" in told and "--ids " in told and "--ignore 255" in told and "--kind probability" in told
    )


@pytest.mark.parametrize(
    ("arguments", "wanted", "unwanted"),
    [
        (("--masks", "scores.npy"), "--kind", "kind="),
        (("--masks", "far"), "--first-index 7", "first_index="),
        (("--masks", "few"), "--sampling uniform:0.5", "sampling="),
    ],
)
def test_errors_name_the_flag(
    tmp_path: Path, video: Path, capsys, monkeypatch, arguments: tuple[str, str], wanted: str, unwanted: str
) -> None:
    np.save(tmp_path / "scores.npy", np.full((2, 12, 24), 0.5, np.float32))
    saved(tmp_path / "few", 255, count=1)
    for t in (0, 1):
        (saved(tmp_path / f"far{t}", 255, count=1) / "0.png").rename(tmp_path / f"f{t}")
    (tmp_path / "far").mkdir()
    for t in (0, 1):
        (tmp_path / f"f{t}").rename(tmp_path / "far" / f"{t + 7}.png")
    told = refused(capsys, monkeypatch, video, arguments[0], tmp_path / arguments[1], "-o", tmp_path / "out")
    assert wanted in told and unwanted not in told
