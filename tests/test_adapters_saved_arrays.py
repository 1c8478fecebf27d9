"""Saved arrays as predictions: one file a clip or a frame, npy, npz or safetensors, the kind always said."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.structures import Clip, Sound, TimeBase

T, H, W = 4, 6, 5
FORMATS = ("npy", "npz", "npz deflated", "safetensors")


def save(path: Path, array: np.ndarray, form: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.with_suffix("." + form.split()[0])
    if form == "npy":
        np.save(path, array)
    elif form == "safetensors":
        save_file({"masks": array}, path)
    else:
        (np.savez_compressed if "deflated" in form else np.savez)(path, masks=array)
    return path


@pytest.fixture
def soft() -> np.ndarray:
    return np.random.default_rng(0).random((T, H, W), np.float32)


def frames(prediction) -> np.ndarray:
    return np.stack([prediction.frame(t) for t in range(prediction.num_frames)])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("per_frame", [False, True])
def test_every_format_gives_the_same_prediction(tmp_path: Path, soft: np.ndarray, form: str, per_frame: bool) -> None:
    expected = np.stack([1 - soft, soft], axis=1)
    for name, array in (("hw", soft), ("1hw", soft[:, None]), ("2hw", expected)):
        if per_frame:
            for t, frame in enumerate(array):
                save(tmp_path / name / f"toy_{t + 1}", frame, form)
            source = tmp_path / name
        else:
            source = save(tmp_path / name, array, form)
        prediction = read_prediction(source, kind="probability")
        assert (prediction.kind, prediction.scores.shape) == ("probability", (T, 2, H, W))
        np.testing.assert_array_equal(frames(prediction), expected)
        np.testing.assert_array_equal(prediction.frame(2), expected[2])  # any order, more than once


@pytest.mark.parametrize("form", FORMATS)
def test_logits_of_many_classes_and_label_maps(tmp_path: Path, form: str) -> None:
    logits = np.random.default_rng(1).normal(size=(T, 71, H, W)).astype(np.float16)
    prediction = read_prediction(save(tmp_path / "logits", logits, form), kind="logit", classes="avsbench")
    np.testing.assert_array_equal(frames(prediction), logits.astype(np.float32))
    labels = logits.argmax(1).astype(np.uint8)
    hard = read_prediction(save(tmp_path / "labels", labels, form), classes="avsbench")
    assert hard.kind == "hard"
    np.testing.assert_array_equal(hard.label_maps()[:], labels)
    mapped = read_prediction(save(tmp_path / "objects", (labels > 35) * np.int32(7), form), ids={7: 11})
    np.testing.assert_array_equal(mapped.label_maps()[:], (labels > 35) * 11)


def test_bfloat16_tensors(tmp_path: Path, soft: np.ndarray) -> None:
    tensor = torch.from_numpy(soft).bfloat16()
    save_tensors({"z": tensor}, tmp_path / "z.safetensors")
    prediction = read_prediction(tmp_path / "z.safetensors", kind="logit")
    np.testing.assert_array_equal(frames(prediction)[:, 1], tensor.float().numpy())


@pytest.mark.parametrize("form", FORMATS)
def test_the_kind_is_never_told_by_the_range(tmp_path: Path, soft: np.ndarray, form: str) -> None:
    for array in (soft, soft * 20 - 10):
        with pytest.raises(PredictionError, match=r"nothing says whether they are probabilities or logits. Say kind="):
            read_prediction(save(tmp_path / "scores", array, form))


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_several_arrays_need_a_name(tmp_path: Path, soft: np.ndarray, suffix: str) -> None:
    path, arrays = tmp_path / f"x.{suffix}", {"probs": soft, "features": soft * 5}
    if suffix == "npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    with pytest.raises(PredictionError, match=r"holds several arrays \(features, probs\).*entry="):
        read_prediction(path, kind="probability")
    np.testing.assert_array_equal(frames(read_prediction(path, kind="probability", entry="probs"))[:, 1], soft)
    with pytest.raises(CoPropError, match=r"'prob'. Did you mean 'probs'"):
        read_prediction(path, kind="probability", entry="prob")


def test_the_clip_finds_its_file(tmp_path: Path, soft: np.ndarray) -> None:
    clip = Clip("toy", np.zeros((T, 8, 8, 3), np.uint8), Sound.silence(T), TimeBase.of("avsbench", T))
    for name in ("toy", "joy"):
        save(tmp_path / name, soft, "npz")
    assert read_prediction(tmp_path, clip=clip, kind="probability").num_frames == T


def test_files_of_frames_have_one_shape_and_type(tmp_path: Path, soft: np.ndarray) -> None:
    for t in range(T):
        save(tmp_path / "p" / str(t), soft[t], "npy")
    np.save(tmp_path / "p/2.npy", soft[2, :3])
    with pytest.raises(PredictionError, match=r"2\.npy: float32 \(3, 5\), but 0\.npy is float32 \(6, 5\)"):
        read_prediction(tmp_path / "p", kind="probability")
    np.save(tmp_path / "p/2.npy", soft[2].astype(np.float64))
    with pytest.raises(PredictionError, match=r"2\.npy: float64 \(6, 5\), but 0\.npy is float32"):
        read_prediction(tmp_path / "p", kind="probability")


def test_values_are_checked_when_read_and_named(tmp_path: Path, soft: np.ndarray) -> None:
    soft[3, 0, 0] = np.nan
    prediction = read_prediction(save(tmp_path / "nan", soft, "npz"), kind="logit")
    prediction.frame(2)
    with pytest.raises(PredictionError, match=r"nan\.npz: frame 3 holds NaN or infinite"):
        prediction.frame(3)
    with pytest.raises(PredictionError, match=r"high\.npy: frame 0 holds values from .* If these are logits"):
        read_prediction(save(tmp_path / "high", soft[:3] * 9, "npy"), kind="probability").frame(0)
    labels = np.full((T, H, W), 9, np.int64)
    with pytest.raises(
        PredictionError, match=r"labels\.npy, frame 1: holds values that stand for no class: 9 \(30 px\)"
    ):
        read_prediction(save(tmp_path / "labels", labels, "npy")).label_map(1)


def npz_with(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def npy_announcing(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def test_headers_that_announce_gigabytes_are_refused_at_open(tmp_path: Path) -> None:
    bomb = npy_announcing((10**6, 1000, 1000))
    (tmp_path / "bomb.npy").write_bytes(bomb)
    for path in (tmp_path / "bomb.npy", npz_with(tmp_path / "bomb.npz", "a.npy", bomb)):
        with pytest.raises(CoPropError, match=path.name):
            read_prediction(path, kind="logit")
    zeros = npz_with(tmp_path / "deflated.npz", "a.npy", npy_announcing((1, 60_000, 60_000)) + b"\0" * 10**6)
    with pytest.raises(CoPropError, match=r"deflated\.npz"):
        read_prediction(zeros, kind="logit")


def test_object_arrays_and_pickles_are_refused(tmp_path: Path, soft: np.ndarray) -> None:
    hostile = np.array([{"a": 1}], dtype=object)
    np.save(tmp_path / "o.npy", hostile, allow_pickle=True)
    np.savez(tmp_path / "o.npz", a=hostile)
    torch.save(torch.zeros(2), tmp_path / "o.pt")
    for name in ("o.npy", "o.npz"):
        with pytest.raises(CoPropError, match=rf"{name}.*object"):
            read_prediction(tmp_path / name, kind="logit")
    with pytest.raises(PredictionError, match=r"o\.pt: a pickle, which can run code"):
        read_prediction(tmp_path / "o.pt")


@pytest.mark.parametrize("name", ["../a.npy", "/etc/a.npy", "b/../../a.npy"])
def test_names_in_archives_cannot_lead_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(CoPropError, match=r"x\.npz"):
        read_prediction(npz_with(tmp_path / "x.npz", name, npy_announcing((1, 1, 1)) + b"\0" * 4), kind="logit")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npy", b"not numpy"),
        ("x.npy", b""),
        ("x.npy", npy_announcing((T, H, W))),
        ("x.npz", b"not a zip"),
        ("x.npz", b"PK\x05\x06" + bytes(18)),
        ("x.safetensors", b"not safetensors"),
        ("x.safetensors", struct.pack("<Q", 2**60) + b"{}"),
        (
            "x.safetensors",
            (lambda h: struct.pack("<Q", len(h)) + h)(
                json.dumps({"a": {"dtype": "F32", "shape": [9, 9, 9], "data_offsets": [0, 9**3 * 4]}}).encode()
            ),
        ),
    ],
)
def test_damaged_files_are_refused_at_open(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CoPropError, match=name.replace(".", r"\.")):
        read_prediction(tmp_path / name, kind="logit")


@pytest.mark.parametrize(
    ("source", "message"),
    [("nothing.npz", "no saved masks at"), ("x.mat", "one file of .npy, .npz"), ("0.png", "For masks as PNG give")],
)
def test_other_sources(tmp_path: Path, source: str, message: str) -> None:
    if source != "nothing.npz":
        (tmp_path / source).touch()
    with pytest.raises(PredictionError, match=message):
        read_prediction(tmp_path / source)


def test_arrays_in_memory(soft: np.ndarray) -> None:
    expected = np.stack([1 - soft, soft], axis=1)
    for source in (soft, torch.from_numpy(soft), list(soft)):
        np.testing.assert_array_equal(frames(read_prediction(source, kind="probability")), expected)
    with pytest.raises(PredictionError, match="the array: got a dict"):
        read_prediction({"a": soft})
