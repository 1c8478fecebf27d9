"""``coprop refine --adapter vct`` on real clips with made-up weights, for every source of Maskige."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from maskige_cases import code_of, save_tiny_sam
from PIL import Image
from rule_weights import rule_state
from vct_cases import small

from coprop_plugin.adapters.vct.maskige import PALETTE
from coprop_plugin.adapters.vct.network import Vct
from coprop_plugin.cli.main import main
from coprop_plugin.media.reader import read_clip

pytestmark = [pytest.mark.heavy, pytest.mark.needs("data")]
PREDICTOR = "sem_seg_head.predictor"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up weights whose queries differ, so that masks are neither empty nor full."""
    state = rule_state(lambda: Vct(small("ms3")))
    for name in ("query_feat", "query_embed"):
        state[f"{PREDICTOR}.{name}.weight"] *= 48
    state[f"{PREDICTOR}.class_embed.bias"] = torch.tensor([0.0, 0.5, 0.0])
    path = tmp_path_factory.mktemp("weights") / "model_best.pth"
    torch.save({"model": state, "trainer": {"iteration": 1}, "iteration": 1}, path)
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


Given = str | dict[str, object]  # what maskige= names


def as_pictures(folder: Path, clip: str, frames: list[np.ndarray], _: Path) -> Given:
    (folder / clip).mkdir(parents=True)
    for t, frame in enumerate(frames):
        image = Image.fromarray(np.where(frame.mean(-1) > 150, 1, 2).astype(np.uint8))
        image.putpalette(PALETTE.tobytes())
        image.save(folder / clip / f"{t}_mask_color.png")
    return str(folder)


def as_npz(folder: Path, clip: str, frames: list[np.ndarray], _: Path) -> Given:
    (folder / clip).mkdir(parents=True)
    for t, frame in enumerate(frames):
        np.savez_compressed(folder / clip / f"{t}.npz", masks=blocks(frame))
    return str(folder)


def as_coco(folder: Path, clip: str, frames: list[np.ndarray], _: Path) -> Given:
    folder.mkdir()
    images = [{"id": t, "file_name": f"{t}.jpg"} for t in range(len(frames))]
    found = [{"image_id": t, "segmentation": code_of(m)} for t, frame in enumerate(frames) for m in blocks(frame)]
    (folder / f"{clip}.json").write_text(json.dumps({"images": images, "annotations": found}))
    return str(folder)


def as_sam(_: Path, __: str, ___: list[np.ndarray], sam: Path) -> Given:
    sure_of_all = {"pred_iou_thresh": -1e9, "stability_score_thresh": 0.0}
    return {"model": str(sam), "points_per_side": 4, **sure_of_all}


def as_grey(*_: object) -> Given:
    return "grey"


@pytest.mark.parametrize(
    ("clip", "source"),
    [
        ("o1_toys_10s", as_pictures),
        ("o2_car_5s", as_npz),
        ("o3_car_bmx_10s", as_coco),
        ("o4_negative_5s", as_sam),
        ("o2_car_5s", as_grey),
    ],
)
def test_refine(
    clip: str, source: Callable[..., Given], checkpoint: Path, tiny_sam: Path, tmp_path: Path, data: Path, capsys
) -> None:
    video = data / "composed" / f"{clip}.mp4"
    frames = [np.asarray(frame) for frame in read_clip(video, sampling="avsbench").frames]
    maskige = source(tmp_path / "segments", clip, frames, tiny_sam)
    out, run = tmp_path / "out", tmp_path / "run.yaml"
    run.write_text(json.dumps({"adapter": {"name": "vct", "maskige": maskige}}))
    model = ["--config", str(run)] if isinstance(maskige, dict) else ["--adapter", f"vct:maskige={maskige}"]
    model += ["--adapter-checkpoint", str(checkpoint)]
    assert main(["refine", str(video), *model, "-o", str(out), "--no-overlay", "--no-report", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (note,) = [note for note in told["notes"] if note.startswith("Maskige")]
    assert ("NOT the published" in note) == (source in (as_sam, as_grey))
    assert len(list((out / "masks").glob("*.png"))) == len(frames)
    stored = json.loads((out / "run.json").read_text())
    assert stored["prediction"]["notes"] == [note] == stored["base"]["notes"]
    kept = sorted(path.name for path in (out / ".maskige" / clip).glob("*.png"))
    made = source not in (as_pictures, as_grey)
    assert kept == (sorted(f"{t}_mask_color.png" for t in range(len(frames))) if made else [])
    assert main(["score", str(out), "--truth", str(out / "masks"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["about"]["notes"] == [note]
