"""`coprop refine --adapter ssp` on composed clips with rule-made weights: every source of flow, every source of answers."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_server import Reply, serving, text
from rule_weights import rule_state
from ssp_cases import STAGE_1, encoders, weights
from tiny_language import qwen2_vl
from transformers import PerceiverConfig, PerceiverForOpticalFlow

import coprop_plugin as cp
from coprop_plugin.adapters.aavs.adapter import AavsAdapter
from coprop_plugin.audio.vggish import VGGish
from coprop_plugin.cli.main import main

pytestmark = [pytest.mark.heavy, pytest.mark.needs("data"), pytest.mark.needs("serve")]
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "ssp_parts.py"
SAID = ["a man is playing the guitar", "guitar, man"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("ssp")
    torch.save(rule_state(VGGish), folder / "vggish.pth")
    torch.save(weights(STAGE_1), folder / "ssp.pth")
    (folder / "answers.json").write_text(json.dumps({"o2_car_5s": SAID, "o1_toys_10s": 3}))
    encoders(folder)
    qwen2_vl(folder / "seer")
    sizes = {"num_latents": 16, "d_latents": 32, "d_model": 322, "num_blocks": 1, "num_self_attends_per_block": 1}
    heads = {"num_self_attention_heads": 2, "num_cross_attention_heads": 1}
    PerceiverForOpticalFlow(PerceiverConfig(**sizes, **heads, train_size=[48, 64])).save_pretrained(
        folder / "perceiver"
    )
    (folder / "flows").mkdir()
    flow = np.zeros((4, 60, 80, 2), np.float32)
    flow[:, 20:50, 10:60] = 3
    np.save(folder / "flows" / "o2_car_5s.npy", flow)
    published = AavsAdapter.size
    AavsAdapter.size = (96, 96)
    yield folder
    AavsAdapter.size = published


def refined(files: Path, video: Path, out: Path, **options: Any) -> list[str]:
    """The notes of the result."""
    given = {"audio_checkpoint": files / "vggish.pth", "text_encoder": files / "bert", "vision_encoder": files / "clip"}
    adapter = "ssp:" + ",".join(f"{name}={value}" for name, value in {**given, **options}.items())
    command = ["refine", str(video), "--adapter", adapter, "--adapter-checkpoint", str(files / "ssp.pth")]
    assert main([*command, "-o", str(out), "--no-overlay", "--json", "--scores", "none"]) == 0
    return list(cp.read_prediction(out).notes)


@pytest.mark.parametrize("flow", ["dis", "perceiver", "flows"])
def test_every_flow(files: Path, data: Path, flow: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = data / "composed" / "o2_car_5s.mp4"
    given = flow if flow == "dis" else {"perceiver": files / "perceiver", "flows": files / "flows"}[flow]
    refined(files, video, tmp_path / "out", flow=given, answers=files / "answers.json")
    notes = " ".join(json.loads(capsys.readouterr().out)["notes"])
    told = {"dis": "flow by DIS", "perceiver": "flow by Perceiver IO", "flows": "flow from 'flows'"}[flow]
    assert told in notes and "texts: vta, answers of 'answers.json'" in notes and "no text for clip" not in notes


def answered(body: dict[str, Any], number: int) -> Reply:
    return text(SAID[(number - 1) % 2])


@pytest.mark.parametrize(
    ("kind", "told"), [("well formed", ""), ("malformed", "no text for clip 'o2_car_5s': A1 is empty")]
)
def test_a_server(
    files: Path,
    data: Path,
    kind: str,
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COPROP_CACHE_DIR", str(tmp_path / "cache"))
    with serving(answered if kind == "well formed" else lambda body, number: text("\x00 \n")) as server:
        refined(files, data / "composed" / "o2_car_5s.mp4", tmp_path / "out", answers=f"'{server.url}'")
    notes = " ".join(json.loads(capsys.readouterr().out)["notes"])
    assert "answers of tiny at http://127.0.0.1" in notes
    assert told in notes if told else "no text for" not in notes
    assert len(server.chats) == (2 if kind == "well formed" else 1)


def test_a_local_model_and_a_faulty_entry(
    files: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPROP_CACHE_DIR", str(tmp_path / "cache"))
    refined(files, data / "composed" / "o2_car_5s.mp4", tmp_path / "local", answers=files / "seer")
    assert "which does not hear" in " ".join(json.loads(capsys.readouterr().out)["notes"])
    refined(files, data / "composed" / "o1_toys_10s.mp4", tmp_path / "faulty", answers=files / "answers.json")
    notes = " ".join(json.loads(capsys.readouterr().out)["notes"])
    assert "no text for clip 'o1_toys_10s': the answers are no pair" in notes


def test_the_example(files: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLE))
    arguments = [str(data / "composed" / "o2_car_5s.mp4"), "--checkpoint", str(files / "ssp.pth")]
    arguments += ["--audio", str(files / "vggish.pth"), "--answers", str(files / "answers.json")]
    arguments += ["--text-encoder", str(files / "bert"), "--vision-encoder", str(files / "clip")]
    changed = example["main"](arguments)
    assert set(changed) == {"without the pre-mask", "with a pre-mask that dims", "without texts"}
    assert all(0 <= share <= 1 for share in changed.values()) and "SSP's texts: vta" in capsys.readouterr().out
