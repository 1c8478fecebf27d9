"""npy and npz files: what they announce is checked before it is read, frames come one at a time."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from coprop_plugin.errors import MediaError
from coprop_plugin.media.arrays import LIMIT_BYTES, Npz, open_npy


def array(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((12, 3, 8, 10), np.float32)


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": descr})
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["f4", "f2", ">f8", "u1", "i8", "?"])
def test_npy_is_mapped_not_read(tmp_path: Path, dtype: str) -> None:
    wanted = (array() * 2).astype(dtype)
    np.save(tmp_path / "a.npy", wanted)
    found = open_npy(tmp_path / "a.npy")
    assert isinstance(found, np.memmap) and not found.flags.writeable
    assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
    np.save(tmp_path / "f.npy", np.asfortranarray(wanted))
    assert np.array_equal(open_npy(tmp_path / "f.npy"), wanted)
    np.save(tmp_path / "empty.npy", wanted[:0])
    assert open_npy(tmp_path / "empty.npy").shape == (0, 3, 8, 10)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_whole_and_frame_by_frame(tmp_path: Path, save) -> None:
    save(tmp_path / "a.npz", a=array(), f=np.asfortranarray(array(1)), line=np.arange(4), names=np.array(["x", "y"]))
    npz = Npz(tmp_path / "a.npz")
    assert set(npz.headers) == {"a", "f", "line", "names"}
    assert np.array_equal(npz["a"], array()) and np.array_equal(npz["line"], np.arange(4))
    for name, seed in (("a", 0), ("f", 1)):
        frames = npz.frames(name)
        assert frames.shape == (12, 3, 8, 10) and frames.dtype == np.float32
        for t in (0, 1, 5, 4, 11, -1, 0):
            assert np.array_equal(frames[t], array(seed)[t])
        assert np.array_equal(np.asarray(frames), array(seed))
    with pytest.raises(MediaError, match="'names': holds items of type <U1"):
        npz["names"]
    with pytest.raises(MediaError, match="holds no array 'b', only: a, f, line, names"):
        npz.frames("b")


def test_frames_are_unpacked_one_at_a_time(tmp_path: Path) -> None:
    """60 frames of 1 MB each from a compressed array: a few are held, not all."""
    import tracemalloc

    np.savez_compressed(tmp_path / "a.npz", a=np.ones((60, 512, 512), np.float32))
    tracemalloc.start()
    assert sum(float(frame[0, 0]) for frame in Npz(tmp_path / "a.npz").frames("a")) == 60
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    trap = np.array([Trap()], object)
    np.save(tmp_path / "a.npy", trap)
    np.savez(tmp_path / "a.npz", trap=trap, good=np.arange(3))
    with pytest.raises(MediaError, match="holds Python objects, which can run code"):
        open_npy(tmp_path / "a.npy")
    npz = Npz(tmp_path / "a.npz")
    with pytest.raises(MediaError, match="'trap': holds Python objects"):
        npz["trap"]
    assert npz["good"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            header((10**6, 1000, 1000)) + bytes(64),
            r"announces \(1000000, 1000, 1000\) float32, 4000000000000 bytes, but 64",
        ),
        (header((4,)) + bytes(15), "16 bytes, but 15 follow"),
        (header((4,)) + bytes(17), "16 bytes, but 17 follow"),
        (header((-4,)), "impossible shape"),
        (header((4,)).replace(b"}", b"{"), "is no whole npy array"),
        (b"no array at all", "is no whole npy array"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "a header of 4294967295 bytes"),
        (b"\x93NUMPY\x09\x00" + bytes(9), "format version"),
        (b"", "is no whole npy array"),
    ],
)
def test_npy_files_that_lie(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(MediaError, match=told):
        open_npy(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(MediaError, match=r"announces|is no whole npy array|impossible shape"):
        Npz(tmp_path / "a.npz")["a"]


def test_npz_that_announces_gigabytes(tmp_path: Path) -> None:
    """A true bomb, 160 MB of zeros in 0.7 MB, is refused from its headers alone under a limit of 100 MB."""
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        member.write(header((40, 1, 1024, 1024)))
        for _ in range(40):
            member.write(bytes(4 << 20))
    with pytest.raises(MediaError, match=r"announces 0\.2 GiB; at most 0\.1 GiB are unpacked. Save it as \.npy"):
        Npz(path, limit_bytes=100 << 20).frames("a")
    assert Npz(path).frames("a").shape == (40, 1, 1024, 1024)
    assert LIMIT_BYTES == 2 << 30


def test_npz_that_are_not_whole(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=array())
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[:-40])
    (tmp_path / "text.npz").write_text("no zip")
    for name in ("cut.npz", "text.npz"):
        with pytest.raises(MediaError, match="is no whole npz file"):
            Npz(tmp_path / name)
    noisy = bytearray(data)
    noisy[3000:3100] = bytes(100)
    (tmp_path / "noisy.npz").write_bytes(noisy)
    with pytest.raises(MediaError, match="'a' is damaged"):
        Npz(tmp_path / "noisy.npz")["a"]
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(MediaError, match=r"'readme\.txt' is no array, or there twice"):
        Npz(tmp_path / "other.npz")
    with pytest.raises(MediaError, match="No such file"):
        open_npy(tmp_path / "nothing.npy")
