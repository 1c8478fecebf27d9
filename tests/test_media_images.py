"""Pictures, label maps, palette, and files that are whole or not there."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coprop_plugin.errors import CoPropError, MediaError
from coprop_plugin.files.atomic import atomic_write
from coprop_plugin.masks.palette import voc_palette
from coprop_plugin.media.images import MAX_PIXELS, read_label_values, read_rgb, write_label_png


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    """A PNG whose header may announce anything."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


# The palette


def test_the_palette_is_the_pascal_voc_colour_map() -> None:
    colours = voc_palette()
    stated = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 8: (64, 0, 0), 70: (32, 128, 128)}
    assert all(tuple(colours[k]) == colour for k, colour in stated.items())
    assert tuple(colours[255]) == (224, 224, 192)
    assert len({tuple(colour) for colour in colours.tolist()}) == 256 and colours.dtype == np.uint8
    assert np.array_equal(voc_palette(71), colours[:71])
    for n in (0, 257):
        with pytest.raises(CoPropError, match="1 to 256 colours"):
            voc_palette(n)


@pytest.mark.needs("data")
def test_the_palette_is_that_of_published_files(data: Path) -> None:
    with Image.open(next((data / "real/vos/schoolgirls/masks").glob("*.png"))) as davis:
        used = np.unique(np.array(davis))
        stored = np.array(davis.getpalette(), np.uint8).reshape(-1, 3)
    assert np.array_equal(stored[used], voc_palette()[used])
    semantic = read_label_values(data / "composed/avss/v1m/o2_car_5s/labels_semantic/1.png")
    coloured = read_label_values(data / "composed/avss/v1m/o2_car_5s/labels_rgb/1.png")
    assert coloured.mode == "RGB"
    assert np.array_equal(voc_palette()[semantic.values], coloured.values)


# Label maps


def test_every_mode_gives_the_values_of_the_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    path = tmp_path / "a.png"
    for mode in ("L", "P"):
        image = Image.fromarray(values)
        if mode == "P":
            image.putpalette(voc_palette()[::-1].tobytes())
        image.save(path)
        read = read_label_values(path)
        assert (read.mode, read.values.dtype) == (mode, np.uint8) and np.array_equal(read.values, values)
    Image.fromarray(values > 99).save(path)
    read = read_label_values(path)
    assert read.mode == "1" and np.array_equal(read.values, values > 99)
    Image.fromarray(values.astype(np.uint16) * 200).save(path)
    read = read_label_values(path)
    assert read.mode == "I;16" and np.array_equal(read.values, values.astype(np.uint16) * 200)
    colours = voc_palette()[values]
    Image.fromarray(colours).save(path)
    assert np.array_equal(read_label_values(path).values, colours)
    Image.fromarray(np.dstack([colours, np.full((5, 7), 255, np.uint8)])).save(path)
    assert read_label_values(path).mode == "RGB" and np.array_equal(read_label_values(path).values, colours)


@pytest.mark.parametrize(
    ("depth", "row", "values"), [(2, b"\x00\x1b", [0, 1, 2, 3]), (4, b"\x00\x05\xaf", [0, 5, 10, 15])]
)
def test_small_grey_depths_are_not_spread(tmp_path: Path, depth: int, row: bytes, values: list[int]) -> None:
    (tmp_path / "a.png").write_bytes(png(4, 1, depth=depth, rows=row))
    assert read_label_values(tmp_path / "a.png").values.tolist() == [values]


def test_indexed_png_of_few_bits(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
    image.putpalette(voc_palette(4).tobytes())
    image.save(tmp_path / "a.png", bits=2)
    assert read_label_values(tmp_path / "a.png").values.tolist() == [[0, 1, 2, 3]]


def test_written_label_maps_come_back(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(-1, 255, (40, 30))
    for palette in ("avsbench", "davis"):
        write_label_png(tmp_path / "a.png", labels, palette=palette)
        read = read_label_values(tmp_path / "a.png")
        assert read.mode == "P"
        assert np.array_equal(np.where(read.values == 255, -1, read.values.astype(int)), labels)
        assert np.array_equal(read_rgb(tmp_path / "a.png"), voc_palette()[labels % 256])
    write_label_png(tmp_path / "b.png", labels > 100)
    assert np.array_equal(read_label_values(tmp_path / "b.png").values, labels > 100)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.zeros((2, 3, 4), int), r"is \(H, W\) integers, got int64 \(2, 3, 4\)"),
        (np.zeros((0, 3), int), "integers, got"),
        (np.zeros((2, 3)), "got float64"),
        (np.full((2, 3), 255), "labels from 255 to 255 do not fit"),
        (np.full((2, 3), -2), "labels from -2 to -2 do not fit"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: np.ndarray, told: str) -> None:
    with pytest.raises(MediaError, match=told):
        write_label_png(tmp_path / "a.png", labels)
    assert not list(tmp_path.iterdir())


def test_an_unknown_palette_is_told(tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match=r"unknown palette 'avsbnch'. Did you mean 'avsbench'"):
        write_label_png(tmp_path / "a.png", np.zeros((2, 2), int), palette="avsbnch")


def test_what_is_no_label_map(tmp_path: Path) -> None:
    grey = np.zeros((4, 4), np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.jpg")
    with pytest.raises(MediaError, match="lossy compression changes labels"):
        read_label_values(tmp_path / "a.jpg")
    Image.fromarray(np.dstack([grey] * 4)).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match="transparent pixels"):
        read_label_values(tmp_path / "a.png")
    (tmp_path / "deep.png").write_bytes(png(1, 1, depth=16, colour=2, rows=b"\0" + b"\1\2" * 3))
    for read in (read_label_values, read_rgb):
        with pytest.raises(MediaError, match="has 16 bits a channel"):
            read(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(MediaError, match="no container that is read here"):
        read_label_values(tmp_path / "text.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "b.gif")
    with pytest.raises(MediaError, match="no container"):
        read_rgb(tmp_path / "b.gif")


# Pictures


def test_pictures_become_rgb(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert np.array_equal(read_rgb(tmp_path / "a.png"), colours)
    Image.fromarray(colours[..., 0]).save(tmp_path / "b.png")
    assert np.array_equal(read_rgb(tmp_path / "b.png"), np.dstack([colours[..., 0]] * 3))
    Image.fromarray(np.dstack([colours, colours[..., :1]])).save(tmp_path / "c.png")
    assert np.array_equal(read_rgb(tmp_path / "c.png"), colours)
    Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8)).save(tmp_path / "d.jpg", quality=98)
    assert np.abs(read_rgb(tmp_path / "d.jpg").astype(int) - (200, 100, 50)).max() < 4


@pytest.mark.parametrize("read", [read_rgb, read_label_values])
def test_a_header_that_announces_too_much_is_refused_unread(tmp_path: Path, read) -> None:
    (tmp_path / "a.png").write_bytes(png(60_000, 60_000, rows=b"\0" * 100))
    with pytest.raises(MediaError, match=r"header announces 60000x60000 pixels; at most 64 million"):
        read(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    with pytest.raises(MediaError, match="header announces"):
        read(tmp_path / "b.png")
    assert MAX_PIXELS == 64_000_000


def test_a_jpeg_that_announces_too_much(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(MediaError, match=r"65000x65000|header cannot be read"):
        read_rgb(tmp_path / "a.jpg")


@pytest.mark.parametrize("damage", ["cut", "head", "noise"])
def test_damaged_pictures(tmp_path: Path, damage: str) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "head":
        data = data[:20]
    else:
        data[60:200] = bytes(140)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(MediaError, match="damaged"):
        read_label_values(tmp_path / "a.png")


# Files


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path, "w") as file:
        file.write("grün")
        assert path.read_text() == "old"
    assert path.read_bytes() == "grün".encode()
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == "grün".encode() and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "nowhere" / "a"):
        pass


def test_a_written_file_has_the_usual_rights(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    with atomic_write(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


FULL_DISK = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from coprop_plugin.files.atomic import atomic_write
from coprop_plugin.media.images import write_label_png
from coprop_plugin.media.video_writer import write_video

folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0)

def text():
    with atomic_write(folder / "old.bin") as file:
        file.write(bytes(100_000))

def label():
    write_label_png(folder / "old.png", noise.integers(0, 255, (400, 400)))

def video():
    frames = (noise.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(20))
    write_video(folder / "old.mp4", frames, rate_hz=Fraction(25), sound=None)

def short():  # it fits, but for its last bytes: only closing the file meets the limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, 20_000))
    frames = [np.zeros((32, 32, 3), np.uint8)] * 2
    write_video(folder / "old.mp4", frames, rate_hz=Fraction(25), sound=None)

for write in (text, label, video, short):
    try:
        write()
    except OSError as error:
        print(write.__name__, error.errno)
"""


def test_a_full_disk_leaves_the_old_files_whole(tmp_path: Path) -> None:
    for name in ("old.bin", "old.png", "old.mp4"):
        (tmp_path / name).write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split() == ["text", "27", "label", "27", "video", "27", "short", "27"], (
        done.stderr
    )  # 27: file too large
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == dict.fromkeys(
        ("old.bin", "old.png", "old.mp4"), "old"
    )
