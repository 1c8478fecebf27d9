"""ImageNet's classes in pictures, and the table of what can be heard and seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import coprop_plugin as cp
from coprop_plugin import CoPropError
from coprop_plugin.audio.tags import Tags
from coprop_plugin.audio.yamnet_files import class_names
from coprop_plugin.errors import CheckpointError
from coprop_plugin.layers.efficientnet_lite import EfficientNetLite0
from coprop_plugin.media.images import read_label_values
from coprop_plugin.vision import imagenet
from coprop_plugin.vision.heard_and_seen import Kind, heard_and_seen, narrowest
from coprop_plugin.vision.imagenet import ImageNetClasses
from coprop_plugin.weights.packages import EFFICIENTNET, YAMNET, installed_version

KINDS = heard_and_seen().kinds


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = EfficientNetLite0()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):  # else what comes out depends on hardly anything that went in
            torch.nn.init.kaiming_normal_(layer.weight)
    path = tmp_path_factory.mktemp("lite0") / "lite0.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network(weights: Path) -> ImageNetClasses:
    return ImageNetClasses(weights)


def picture(height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_the_finer_map_holds_the_published_one(network: ImageNetClasses) -> None:
    """Every second cell of the map at 1/16 is a cell of the network as it was trained, at 1/32."""
    frame = picture(128, 192)
    finer = network.maps(frame, height_px=128)
    with torch.inference_mode():
        coarse = network._whole.cells(imagenet.prepared(torch.from_numpy(frame)[None]))[0]
    assert finer.shape == (1000, 8, 12) and coarse.shape == (1000, 4, 6)
    assert (finer[:, ::2, ::2] - coarse).std() > 0.1 * coarse.std() > 0.001
    torch.testing.assert_close(finer[:, 1::2, 1::2], coarse, rtol=1e-3, atol=1e-4 * float(coarse.std()))


def test_whole_pictures_are_seen_with_their_own_shape(network: ImageNetClasses) -> None:
    small, wide = picture(224, 224), picture(448, 896)
    logits = network.logits([small, wide])
    assert logits.shape == (2, 1000) and logits.dtype == np.float32
    np.testing.assert_allclose(network.logits([wide])[0], logits[1], atol=1e-5)
    assert network.logits([]).shape == (0, 1000)


def test_a_crop_shows_what_the_mask_shows_alone(network: ImageNetClasses) -> None:
    frame, other = picture(), picture()[::-1].copy()
    masks = np.zeros((2, 64, 96), bool)
    masks[0, 20:40, 30:60] = masks[1, 0:30, 80:96] = True
    other[20:40, 30:60] = frame[20:40, 30:60]
    logits = network.crop_logits(frame, masks)
    assert logits.shape == (2, 1000) and not np.allclose(logits[0], logits[1])
    # Resampled, a pixel at the rim of the mask sees its neighbour outside.
    crop, same = imagenet._crop(frame, masks[0]), imagenet._crop(other, masks[0])
    assert (crop != same).any(axis=2).mean() < 0.06
    assert (imagenet._crop(frame, masks[1]) == 127).all(axis=2).mean() > 0.4
    half = masks[:, ::2, ::2]
    assert imagenet._crop(frame, half[0]).shape == crop.shape
    with pytest.raises(CoPropError, match="empty mask"):
        network.crop_logits(frame, np.zeros((1, 64, 96), bool))
    with pytest.raises(CoPropError, match="bool"):
        network.crop_logits(frame, np.zeros((64, 96)))


def test_weights_that_are_damaged_or_foreign_are_named(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "cut.pth").write_bytes(weights.read_bytes()[:4000])
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        ImageNetClasses(tmp_path / "cut.pth")
    torch.save({"fc.weight": torch.zeros(3, 4)}, tmp_path / "foreign.pth")
    with pytest.raises(CheckpointError, match="does not fit"):
        ImageNetClasses(tmp_path / "foreign.pth")


def test_the_table_names_each_sound_once_and_pictures_are_in_order() -> None:
    table = heard_and_seen()
    sounds = [*table.people, *(sound for kind in KINDS.values() for sound in (*kind.sounds, *kind.loose))]
    assert len(sounds) == len(set(sounds)) and len(KINDS) > 90
    for kind in KINDS.values():
        assert list(kind.pictures) == sorted(kind.pictures) and not set(kind.pictures) & set(kind.near)
    assert KINDS["dog"].pictures == tuple(range(151, 269)) and KINDS["lawn mower"].pictures == (621,)
    assert table.of_sound("bow-wow") is KINDS["dog"] and table.of_sound("Speech") is None
    assert KINDS["animal"].wider_than(KINDS["dog"]) and not KINDS["dog"].wider_than(KINDS["cat"])
    assert narrowest([KINDS["animal"], KINDS["dog"], KINDS["pet"], KINDS["cat"]]) == [KINDS["dog"], KINDS["cat"]]


def test_wider_kinds_hold_all_of_their_parts() -> None:
    parts = {"animal": ("pet", "farm animal", "bird", "insect", "wild animal", "frog", "snake", "whale")}
    parts |= {"instrument": ("guitar", "piano", "drum", "violin", "flute", "trumpet", "accordion")}
    parts |= {"vehicle": ("car", "train", "boat", "aeroplane", "bicycle"), "road vehicle": ("car", "bus", "motorcycle")}
    for wide, narrow in parts.items():
        assert all(KINDS[wide].wider_than(KINDS[name]) for name in narrow), wide


def test_chances_add_up_over_a_kind() -> None:
    even = np.full((1000, 2, 3), 1e-3)
    np.testing.assert_allclose(KINDS["dog"].chance(even), np.full((2, 3), 0.118))
    labels = ("Dog", "Bark", "Speech", "Cello")
    heard = Tags.regular(labels, np.array([[1, 3, 5, -2]], np.float32), hop_s=1.0).in_words(heard_and_seen().words())
    assert dict(zip(heard.labels, heard.logits[0], strict=True)) == {"dog": 3, "cello": -2}


@pytest.mark.parametrize("seen", [(), (1000,), (5, 5), (-1,)])
def test_a_kind_is_seen_as_something_of_imagenet(seen: tuple[int, ...]) -> None:
    with pytest.raises(CoPropError, match="thing"):
        Kind("thing", ("Thing",), (), seen, ())


@pytest.mark.skipif(not installed_version(YAMNET), reason="AudioSet's names come with YAMNet's package")
def test_the_table_knows_only_audiosets_names() -> None:
    table = heard_and_seen()
    told = {*table.people, *(sound for kind in KINDS.values() for sound in (*kind.sounds, *kind.loose))}
    assert told <= set(class_names())


@pytest.mark.skipif(not installed_version(EFFICIENTNET), reason="the weights come with a package")
@pytest.mark.needs("data")
def test_what_is_heard_is_found_where_it_is(data: Path) -> None:
    """The map of dogs is high on the dog and low elsewhere, and its crop is a dog to the network."""
    folder = data / "real/real_av/dog_barking"
    frame = cp.read_clip(next(folder.glob("*.mp4"))).frames[3]
    mask = read_label_values(folder / "masks/3.png").values > 0
    network = ImageNetClasses()
    chance = KINDS["dog"].chance(network.maps(frame).softmax(dim=0).numpy())
    cells = np.array([[block.mean() for block in np.array_split(row, chance.shape[1], axis=1)]
                      for row in np.array_split(mask.astype(float), chance.shape[0], axis=0)])  # fmt: skip
    assert chance[cells > 0.8].mean() > 3 * chance[cells < 0.1].mean()
    logits = network.crop_logits(frame, mask[None])[0]
    shares = np.exp(logits - logits.max())
    assert KINDS["dog"].chance(shares / shares.sum()) > 0.5
