"""Kinds of damage that once went unnoticed, ran for ever or ended in a traceback: each a named error, or no difference."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import sqlite3
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz.mutations import TEXTS, change_value
from PIL import Image
from safetensors.numpy import save_file

from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.cli.main import main
from coprop_plugin.datasets.layouts import Video
from coprop_plugin.datasets.write import write_dataset
from coprop_plugin.errors import CheckpointError, CoPropError, MediaError, PredictionError
from coprop_plugin.language import transport
from coprop_plugin.language.cache import FILE_NAME, AnswerCache
from coprop_plugin.language.model import Answer, Message
from coprop_plugin.media import canvas
from coprop_plugin.media.arrays import Npz
from coprop_plugin.media.folder import frame_paths
from coprop_plugin.media.images import read_label_values
from coprop_plugin.metrics.protocols import Scores, score
from coprop_plugin.store.find import find_prediction
from coprop_plugin.structures import ControlPoints, Prediction, parse_sampling
from coprop_plugin.weights.checkpoint import read_state_dict


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_no_bit_of_a_png_flips_unnoticed(mode: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 3, (12, 12)).astype(np.uint8)).convert(mode)
    image.save(tmp_path / "whole.png")
    whole, content = read_label_values(tmp_path / "whole.png"), (tmp_path / "whole.png").read_bytes()
    chance = random.Random(0)
    for _ in range(150):
        flipped = bytearray(content)
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        (tmp_path / "flipped.png").write_bytes(flipped)
        try:
            found = read_label_values(tmp_path / "flipped.png")
        except MediaError:
            continue
        assert (found.mode, found.values.tolist()) == (whole.mode, whole.values.tolist())
    (tmp_path / "cut.png").write_bytes(content[:-12])
    with pytest.raises(MediaError, match="last chunk is missing"):
        read_label_values(tmp_path / "cut.png")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0.png").symlink_to("1.png")
    (tmp_path / "1.png").symlink_to("0.png")
    with pytest.raises(MediaError, match="is a link that leads out"):
        frame_paths(tmp_path)
    with pytest.raises(PredictionError, match="a link that leads out"):
        read_prediction(tmp_path)


def test_sound_that_the_disk_cannot_hold_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(canvas, "MEMORY_BYTES", 10)
    assert canvas.zeros(100).sum() == 0
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MediaError, match=r"do not fit in .*No space left on device.*TMPDIR"):
        canvas.zeros(100)


@pytest.mark.parametrize(
    "rate", ["1e999999999", "1e9", "1000000", "0.0001", "0", "-5", "1/1000", "9" * 400, "nan", "1_0"]
)
def test_rates_beyond_all_use_are_refused_at_once(rate: str) -> None:
    with pytest.raises(CoPropError, match=r"cannot have the rate|is not a number"):
        parse_sampling(f"uniform:{rate}")


def test_odd_checkpoints_are_named_errors(tmp_path: Path) -> None:
    circle: dict[str, object] = {}
    circle["state_dict"] = circle
    torch.save(circle, tmp_path / "circle.pth")
    with pytest.raises(CheckpointError, match=r"in themselves|damaged"):
        read_state_dict(tmp_path / "circle.pth")
    torch.save({"w": torch.zeros(3).to(torch.float8_e4m3fn)}, tmp_path / "small.pth")
    with pytest.raises(CheckpointError, match=r"w is of type torch\.float8_e4m3fn; read are float64"):
        read_state_dict(tmp_path / "small.pth")


def _with_a_bad_name(path: Path) -> Path:
    """A zip whose only name says that it is UTF-8 and is not."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("é.npy", b"x")
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    return path


def test_names_in_no_encoding_are_named_errors(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no whole npz"):
        Npz(_with_a_bad_name(tmp_path / "x.npz"))
    with pytest.raises(CheckpointError, match="damaged"):
        read_state_dict(_with_a_bad_name(tmp_path / "x.pth"))


def test_a_clip_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    np.save(tmp_path / "dog/0.npy", np.zeros((2, 2)))
    np.save(tmp_path / "dog.npy", np.zeros((2, 2)))
    with pytest.raises(PredictionError, match="lies there 2 times"):
        find_prediction(tmp_path, "dog")


def test_a_cache_is_one_table_and_no_link(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "a")
    cache.put("k", "m", Answer("[1, 0]", (0.5, 0.5)))
    for broken in ("[1, 2]", "[NaN]", "x", "[" * 9000):
        with sqlite3.connect(cache.path) as table:
            table.execute("UPDATE answers SET p_change = ?", (broken,))
        assert cache.get("k") is None  # asked again
    endless = (
        "CREATE VIEW answers(key, model, text, p_change, written_s) AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT "
        "i + 1 FROM n) SELECT i, i, i, i, i FROM n"
    )
    (tmp_path / "b").mkdir()
    with sqlite3.connect(tmp_path / "b" / FILE_NAME) as table:
        table.execute(endless)
    begin = time.monotonic()
    with pytest.raises(CoPropError, match="holds other things than a table of answers"):
        AnswerCache(tmp_path / "b")
    assert time.monotonic() - begin < 30
    (tmp_path / "c").mkdir()
    (tmp_path / "precious").write_bytes(b"")
    (tmp_path / "precious").chmod(0o644)
    (tmp_path / "c" / FILE_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(CoPropError, match="leads out of the folder"):
        AnswerCache(tmp_path / "c")
    assert (tmp_path / "precious").stat().st_mode & 0o777 == 0o644 and not (tmp_path / "precious").read_bytes()


def test_headers_that_drip_in_have_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    from coprop_plugin.language.server import ServerModel

    monkeypatch.setattr(transport, "PAUSE_S", 0.5)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not ended.wait(0.1):
                    try:
                        connection.sendall(b"X-Slow: 1\r\n")
                    except OSError:
                        return

        threading.Thread(target=drip, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        model = ServerModel(url, model="m", timeout_s=0.5, retries=0)
        begin = time.monotonic()
        with pytest.raises(CoPropError, match="no answer in time"):
            model.chat([Message("user", "?")], np.zeros(1600, np.float32))
        assert time.monotonic() - begin < 20
        ended.set()


def test_the_report_reads_the_truth_with_the_truths_own_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The base model's ids stay with the base model."""
    import soundfile

    labels = np.zeros((3, 16, 16), np.uint8)
    labels[:, 4:9, 4:9] = 1
    for name, maps in (("frames", labels * 200), ("masks", labels * 7), ("truth", labels * 9)):
        (tmp_path / name).mkdir()
        for t in range(3):
            Image.fromarray(maps[t]).save(tmp_path / f"{name}/{t}.png")
    soundfile.write(tmp_path / "s.wav", np.zeros(24000), 8000)
    place = str(tmp_path)
    command = ["refine", f"{place}/frames", "--audio", f"{place}/s.wav", "--masks", f"{place}/masks", "--ids", "7:1"]
    command += [
        "--truth",
        f"{place}/truth",
        "--truth-ids",
        "9:1",
        "--classes",
        "binary",
        "--no-overlay",
        "-o",
        f"{place}/out",
    ]
    assert main([*command, "--control-points", "none", "--fusion", "replace"]) == 0
    first = (tmp_path / "out/report.html").read_text()
    assert main(["report", f"{place}/out", "-o", f"{place}/again.html"]) == 0
    sentence = first.partition("Mean frame IoU with the truth")[2].partition(".")[0]
    assert sentence and f"Mean frame IoU with the truth{sentence}" in (tmp_path / "again.html").read_text()
    capsys.readouterr()
    told = json.loads((tmp_path / "out/run.json").read_text())
    told["configuration"]["classes"] = 5
    (tmp_path / "out/run.json").write_text(json.dumps(told))
    assert main(["report", f"{place}/out"]) == 2
    assert "configuration.classes is text; got 5" in capsys.readouterr().err


def test_scores_and_points_that_were_changed_are_a_named_error_or_others() -> None:
    labels = np.zeros((3, 8, 8), np.int16)
    labels[1:, 2:5, 2:5] = 1
    prediction = Prediction.from_labels(labels)
    scores = score(prediction, prediction, protocol="avsbench")
    points = ControlPoints(np.array([1, 0, 1], bool), silent=(True, False))
    for good, read in ((scores.to_json(), Scores.from_json), (points.to_json(), ControlPoints.from_json)):
        for text in (*TEXTS, *(change_value(good.encode(), random.Random(n)) or b"" for n in range(300))):
            with contextlib.suppress(CoPropError):
                read(text.decode("utf-8", "replace"))


def test_two_data_sets_cannot_be_mixed_in_one_folder(tmp_path: Path) -> None:
    def meanwhile(videos: list[Video]) -> list[Video]:
        (tmp_path / "set/other").mkdir(parents=True)
        return videos

    with pytest.raises(CoPropError, match="something was written there meanwhile"):
        write_dataset(tmp_path / "set", kind="ms3", videos=1, splits=("test",), size=(32, 32), progress=meanwhile)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_size_that_cannot_be_mapped_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file of any size costs nothing to make."""

    def full(*_: object, **__: object) -> None:
        raise MemoryError("Cannot allocate memory (os error 12)")

    path = tmp_path / "a.safetensors"
    save_file({"a": np.zeros((2, 4, 4), np.float32)}, path)
    monkeypatch.setattr("safetensors.safe_open", full)
    monkeypatch.setattr("safetensors.torch.load_file", full)
    with pytest.raises(PredictionError, match="more bytes than this process may map"):
        read_prediction(path, kind="probability")
    with pytest.raises(CheckpointError, match="more bytes than this process may map"):
        read_state_dict(path)
