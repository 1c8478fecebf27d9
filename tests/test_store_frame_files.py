"""Which files of a folder are its frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from coprop_plugin.errors import PredictionError
from coprop_plugin.store.frame_files import frame_files


def folder(path: Path, *names: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        (path / name).touch()
    return path


def frames(path: Path, **options):
    return frame_files(path, suffixes=(".png", ".npy"), **options)


@pytest.mark.parametrize(
    "name", ["{k}.png", "{k:05d}.png", "-_wz9bUu3DY7_{k}.png", "id.mp4_{k}.png", "frame{k:03d}.PNG"]
)
@pytest.mark.parametrize("first", [0, 1])
def test_published_names_from_0_or_1(tmp_path: Path, name: str, first: int) -> None:
    names = [name.format(k=k) for k in range(first, first + 12)]
    found = frames(folder(tmp_path, *reversed(names)))
    assert [path.name for path in found.paths] == names  # by number: 10 after 9, not after 1
    assert found.first_index == first


@settings(max_examples=30)
@given(st.sets(st.integers(0, 30), min_size=1))
def test_taken_whole_or_refused_naming_a_hole(tmp_path_factory, numbers: set[int]) -> None:
    path = folder(tmp_path_factory.mktemp("f"), *(f"{k}.png" for k in numbers))
    if numbers in (set(range(len(numbers))), set(range(1, len(numbers) + 1))):
        assert len(frames(path)) == len(numbers)
    else:
        with pytest.raises(PredictionError, match=r"missing|first_index="):
            frames(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("0.png", "1.png", "3.png"), "3 files numbered from 0 to 3, but 2 missing"),
        (("1.png", "4.png"), r"but 2, 3 missing \(counted from 1\)"),
        (("0.png", "999999999.png"), "2, 3, 4, 5 and 95 more missing"),
        (("7.png", "8.png"), "say first_index=7"),
        (("0.png", "1.png", "notes.txt"), "beside the frames lies what is none: notes.txt"),
        (("0.png", "mask.png"), "mask.png"),
        (("0.png", "0.npy"), "files of different formats lie beside each other: 0.npy, 0.png"),
        (("a_0.png", "b_1.png"), "files of different names lie beside each other: a_0.png, b_1.png"),
        (("1.png", "01.png"), "both are frame 1"),
        ((), "it holds no file"),
        (("0.jpg",), "no frames here.*found 0.jpg"),
    ],
)
def test_anything_else_is_named(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(PredictionError, match=message):
        frames(folder(tmp_path, *names))


def test_first_index_is_taken_as_said(tmp_path: Path) -> None:
    assert frames(folder(tmp_path, "7.png", "8.png"), first_index=7).first_index == 7
    with pytest.raises(PredictionError, match=r"7.png comes before first_index=8"):
        frames(tmp_path, first_index=8)
    with pytest.raises(PredictionError, match=r"but 0, 1, 2, 3, 4 and 2 more missing"):
        frames(tmp_path, first_index=0)


def test_files_of_the_desktop_are_no_frames(tmp_path: Path) -> None:
    folder(tmp_path / "overlays")
    assert len(frames(folder(tmp_path, "0.png", ".DS_Store", "Thumbs.db"))) == 1


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    outside = folder(tmp_path / "outside", "secret.png") / "secret.png"
    inside = folder(tmp_path / "masks", "0.png")
    (inside / "1.png").symlink_to(outside)
    with pytest.raises(PredictionError, match=r"1\.png: a link that leads out of the folder, to '.*secret.png'"):
        frames(inside)


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    inside = folder(tmp_path / "masks", "0.png")
    (inside / "1.png").symlink_to("0.png")
    assert len(frames(inside)) == 2
