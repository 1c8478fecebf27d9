"""``coprop refine --adapter vct`` on real clips with made-up weights, for every source of Maskige."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from maskige_cases import code_of, save_tiny_sam
from rule_weights import rule_state
from vct_cases import small

from coprop_plugin.adapters.vct.maskige import PALETTE
from coprop_plugin.adapters.vct.network import Vct
from coprop_plugin.cli.main import main
from coprop_plugin.media.reader import read_clip

pytestmark = [pytest.mark.heavy, pytest.mark.needs("data")]
CLIP = "o2_car_5s"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model_best.pth"
    torch.save({"model": rule_state(lambda: Vct(small("ms3"))), "trainer": {"iteration": 1}, "iteration": 1}, path)
    return path


@pytest.fixture(scope="module")
def tiny_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("sam"))


def blocks(frame: np.ndarray) -> np.ndarray:
    """Three segments of a frame: its bright parts, a half and a corner."""
    height, width = frame.shape[:2]
    masks = np.zeros((3, height, width), bool)
    masks[0] = frame.mean(-1) > 150
    masks[1, :, : width // 2] = True
    masks[2, : height // 3, : width // 3] = True
    return masks


def as_pictures(folder: Path, frames: list[np.ndarray], _: Path) -> str:
    from PIL import Image

    (folder / CLIP).mkdir(parents=True)
    for t, frame in enumerate(frames):
        image = Image.fromarray(np.where(frame.mean(-1) > 150, 1, 2).astype(np.uint8))
        image.putpalette(PALETTE.tobytes())
        image.save(folder / CLIP / f"{t}_mask_color.png")
    return f"maskige={folder}"


def as_npz(folder: Path, frames: list[np.ndarray], _: Path) -> str:
    (folder / CLIP).mkdir(parents=True)
    for t, frame in enumerate(frames):
        np.savez_compressed(folder / CLIP / f"{t}.npz", masks=blocks(frame))
    return f"maskige={folder}"


def as_coco(folder: Path, frames: list[np.ndarray], _: Path) -> str:
    folder.mkdir()
    images = [{"id": t, "file_name": f"{t}.jpg"} for t in range(len(frames))]
    found = [{"image_id": t, "segmentation": code_of(m)} for t, frame in enumerate(frames) for m in blocks(frame)]
    (folder / f"{CLIP}.json").write_text(json.dumps({"images": images, "annotations": found}))
    return f"maskige={folder}"


def as_sam(folder: Path, frames: list[np.ndarray], sam: Path) -> str:
    return f"maskige={sam}"


def as_grey(folder: Path, frames: list[np.ndarray], sam: Path) -> str:
    return "maskige=grey"


@pytest.mark.parametrize("source", [as_pictures, as_npz, as_coco, as_sam, as_grey])
def test_refine(source: Callable, checkpoint: Path, tiny_sam: Path, tmp_path: Path, data: Path, capsys) -> None:
    video = data / "composed" / f"{CLIP}.mp4"
    frames = [np.asarray(frame) for frame in read_clip(video, sampling="avsbench").frames]
    option = source(tmp_path / "segments", frames, tiny_sam)
    out = tmp_path / "out"
    model = ["--adapter", f"vct:{option}", "--adapter-checkpoint", str(checkpoint)]
    assert main(["refine", str(video), *model, "-o", str(out), "--no-overlay", "--no-report", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (note,) = [note for note in told["notes"] if note.startswith("Maskige")]
    assert ("NOT the published" in note) == (source in (as_sam, as_grey))
    assert len(list((out / "masks").glob("*.png"))) == len(frames)
    stored = json.loads((out / "run.json").read_text())
    assert stored["prediction"]["notes"] == [note] == stored["base"]["notes"]
    kept = sorted(path.name for path in (out / ".maskige" / CLIP).glob("*.png"))
    made = source not in (as_pictures, as_grey)
    assert kept == ([f"{t}_mask_color.png" for t in range(len(frames))] if made else [])
    assert main(["score", str(out), "--truth", str(out / "masks"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["about"]["notes"] == [note]
