"""``coprop checkpoint``: every published layout is recognised, wrong files are explained, conversion keeps every bit."""

from __future__ import annotations

import functools
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rule_weights import rule_state
from ssp_cases import BERT, STAGE_2, VISION_DIM
from torch import Tensor

from coprop_plugin.adapters.aavs.network import Aavs, AavsConfig
from coprop_plugin.adapters.avsegformer.adapter import VARIANTS as AVSEGFORMER
from coprop_plugin.adapters.avsegformer.network import AVSegFormer
from coprop_plugin.adapters.ssp.align import TextConfig
from coprop_plugin.adapters.ssp.network import Ssp, SspConfig
from coprop_plugin.adapters.tpavi.network import TpaviNet
from coprop_plugin.cli import checkpoint
from coprop_plugin.cli.main import main
from coprop_plugin.errors import CheckpointError
from coprop_plugin.weights import catalogue
from coprop_plugin.weights.checkpoint import read_state_dict
from coprop_plugin.weights.unfilled import unfilled
from coprop_plugin.weights.variants import Variant, load_variant

SMALL = AavsConfig(
    stage=1,
    queries=4,
    classes=2,
    embed_dim=16,
    depths=(1, 1, 1, 1),
    heads=(1, 1, 2, 4),
    window=4,
    encoder_layers=1,
    encoder_hidden=32,
    decoder_layers=1,
    decoder_hidden=32,
)


@functools.cache
def signature(make: Callable) -> dict[str, Tensor]:
    """Names and shapes, without numbers."""
    with unfilled():
        return dict(make().state_dict())


def pvt_avss() -> AVSegFormer:
    return AVSegFormer(backbone="pvt_v2_b5", classes=71)


def resnet_binary() -> AVSegFormer:
    return AVSegFormer(backbone="resnet50", classes=1)


def tpavi_avss() -> TpaviNet:
    return TpaviNet(backbone="resnet50", classes=71)


@pytest.fixture(autouse=True, scope="module")
def one_catalogue():
    """The networks are made once for all tests of this file, but for AAVS and SSP, whose sizes come from each file."""

    def remembered(variant: Variant) -> Variant:
        with unfilled():
            network = variant.make({})
        return variant if variant.part in ("aavs", "ssp") else replace(variant, make=lambda _: network)

    known = [remembered(variant) for variant in catalogue.catalogue()]
    original, catalogue.catalogue = catalogue.catalogue, lambda: known
    yield
    catalogue.catalogue = original


def test_every_file_of_a_model_holds_its_mark() -> None:
    """So where a mark is missing, the model need not be compared."""
    assert [v.name for v in catalogue.catalogue() if v.marks and not v.is_marked(v.expected({}))] == []


@pytest.mark.parametrize(
    ("make", "fits"),
    [
        (pvt_avss, ["avsegformer pvt_v2_b5-avss"]),
        (resnet_binary, ["avsegformer resnet50-s4", "avsegformer resnet50-ms3"]),
        (tpavi_avss, ["tpavi resnet50-avss"]),
        (lambda: Aavs(SMALL), ["aavs stage1"]),
        (lambda: Ssp(SspConfig(SMALL)), ["ssp stage1"]),
        (lambda: Ssp(SspConfig(STAGE_2, TextConfig(BERT, VISION_DIM))), ["ssp stage2"]),
        (lambda: Ssp(SspConfig(STAGE_2, TextConfig(BERT, VISION_DIM, "attention", "l2"))), ["ssp stage2"]),
    ],
)
def test_our_own_networks_are_recognised(make: Callable, fits: list[str]) -> None:
    found = checkpoint.inspect(signature(make))
    assert [f"{fit['part']} {fit['variant']}" for fit in found["fits"]] == fits
    assert found["nearest"] is None


def test_entries_that_a_model_never_uses_do_not_count() -> None:
    state = signature(resnet_binary) | {
        "head.fpn.up1.1.weight": torch.empty(1),
        "backbone.layer4_2.0.conv1.weight": torch.empty(1),
    }
    assert [fit["unused_entries"] for fit in checkpoint.inspect(state)["fits"]] == [2, 2]


def test_what_keeps_a_file_from_the_nearest_model() -> None:
    state = dict(signature(pvt_avss))
    del state["audio_proj.bias"]
    state["head.fc.4.weight"] = torch.empty(13, 32, 1, 1)
    state["head.extra"] = torch.empty(1)
    nearest = checkpoint.inspect(state)["nearest"]
    assert nearest["part"] == "avsegformer"
    assert nearest["variant"].startswith("pvt_v2_b5")
    assert nearest["missing"] == ["audio_proj.bias"]
    assert nearest["left_over"] == ["head.extra"]
    assert len(nearest["reshaped"]) == 1 and nearest["reshaped"][0].startswith("head.fc.4.weight (13, 32, 1, 1)")


def test_a_layout_of_several_variants_asks_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "coprop_plugin.weights.variants.read_state_dict", lambda path, *, trust_pickle: signature(resnet_binary)
    )
    with pytest.raises(
        CheckpointError, match=r"fits several variants of avsegformer: resnet50-s4, resnet50-ms3\..*variant="
    ):
        load_variant("s4.pth", AVSEGFORMER)
    with pytest.raises(
        CheckpointError, match=r"of another shape \(head\.fc\.4\.weight is \(1, 32, 1, 1\), expected \(71"
    ):
        load_variant("s4.pth", AVSEGFORMER, variant="resnet50-avss")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.pth"
    state = rule_state(lambda: Aavs(SMALL))
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    return path


def test_inspect_and_convert_from_the_shell(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "inspect", str(small)]) == 0
    assert "fits aavs, variant stage1" in capsys.readouterr().out
    target = small.with_suffix(".safetensors")
    assert main(["checkpoint", "convert", str(small), str(target)]) == 0
    capsys.readouterr()
    before, after = read_state_dict(small), read_state_dict(target)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert main(["checkpoint", "inspect", str(target), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fits"] == [{"part": "aavs", "variant": "stage1", "unused_entries": 0}]


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


def write_wrong(folder: Path, what: str, good: Path) -> Path:
    path = folder / "wrong.pth"
    content = good.read_bytes()
    match what:
        case "text":
            path.write_text("not weights")
        case "web page":
            path.write_text("<!DOCTYPE html><html>Sign in</html>")
        case "pointer":
            path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "hostile":
            path.write_bytes(pickle.dumps({"model": Hostile()}, protocol=2))
        case "hostile zip":
            torch.save({"model": Hostile()}, path)
        case "list":
            torch.save([torch.zeros(1)], path)
        case "empty":
            torch.save({}, path)
        case "nan":
            torch.save({"a": torch.tensor([float("nan")])}, path)
        case "optimizer":
            torch.save({"optimizer": {"lr": 1}, "epoch": 1}, path)
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing", "no weights file at"),
        ("text", "is no weights file"),
        ("web page", "is a web page"),
        ("pointer", "Git LFS pointer"),
        ("cut", "cut off or damaged"),
        ("hostile", "could run code when read; refused"),
        ("hostile zip", "could run code when read; refused"),
        ("list", "holds a list, not weights"),
        ("empty", "holds no state dict"),
        ("nan", "NaN or infinite"),
        ("optimizer", "holds no state dict"),
    ],
)
def test_wrong_files_are_explained(
    what: str, message: str, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["checkpoint", "inspect", str(write_wrong(tmp_path, what, small))]) == 2
    assert message in capsys.readouterr().err


def test_weights_of_no_known_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "mine.pth")
    assert main(["checkpoint", "inspect", str(tmp_path / "mine.pth")]) == 1
    assert "fits nothing: no model known here" in capsys.readouterr().out


def test_a_model_of_mmsegmentation_is_sent_to_its_adapter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = {"backbone.conv1.weight": torch.zeros(2, 2), "decode_head.conv_seg.weight": torch.zeros(2, 2)}
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "mmseg.pth")
    assert main(["checkpoint", "inspect", str(tmp_path / "mmseg.pth")]) == 1
    assert "the adapter mmseg runs it with its config file" in capsys.readouterr().out


def test_convert_wants_a_safetensors_name(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for output in ([], ["weights.pth"]):
        assert main(["checkpoint", "convert", str(small), *output]) == 2
        assert "NAME.safetensors" in capsys.readouterr().err
