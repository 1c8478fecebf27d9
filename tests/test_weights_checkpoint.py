"""Weights files: every container that is met in the wild, nothing that runs code, every mistake by its name."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.weights.catalogue import looks_like
from coprop_plugin.weights.checkpoint import load_into, read_state_dict

WEIGHTS = {"conv.weight": torch.arange(6.0).view(2, 3), "conv.steps": torch.tensor(7)}


class Calls:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def saved(path: Path, content: Any, *, new_format: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    return path


def assert_weights(state: dict[str, Tensor]) -> None:
    assert list(state) == list(WEIGHTS)
    for name, value in WEIGHTS.items():
        assert torch.equal(state[name], value) and state[name].dtype == value.dtype


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize(
    "container",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}},
        {"model": WEIGHTS, "epoch": 3, "args": argparse.Namespace(lr=0.1, path=Path("x"))},
        {"model_state_dict": WEIGHTS, "step": np.float64(2), "history": np.arange(3.0)},
        {"state_dict": {f"module.{name}": value for name, value in WEIGHTS.items()}},
        {f"_orig_mod.module.{name}": value for name, value in WEIGHTS.items()},
        {"model": {"state_dict": WEIGHTS, "config": {}}, "epoch": 1},
    ],
    ids=["raw", "state_dict", "model", "model_state_dict", "module", "compiled", "nested"],
)
def test_containers(tmp_path: Path, container: Any, new_format: bool) -> None:
    assert_weights(read_state_dict(saved(tmp_path / "w.pth", container, new_format=new_format)))


def test_what_others_allowed_for_the_process_neither_mixes_in_nor_is_lost(tmp_path: Path) -> None:
    file = saved(tmp_path / "w.pth", {"model_state_dict": WEIGHTS, "step": np.float64(2)}, new_format=True)
    before = torch.serialization.get_safe_globals()
    try:
        torch.serialization.add_safe_globals([np._core.multiarray.scalar])  # as the MMEngine side does
        allowed = torch.serialization.get_safe_globals()
        assert_weights(read_state_dict(file))
        assert set(torch.serialization.get_safe_globals()) == set(allowed)
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(WEIGHTS, tmp_path / "w.safetensors")
    state = read_state_dict(tmp_path / "w.safetensors")
    assert_weights({name: state[name] for name in WEIGHTS})


def test_a_checkpoint_with_mmengine_s_logs(tmp_path: Path) -> None:
    logging = pytest.importorskip("mmengine.logging")
    buffer = logging.HistoryBuffer()
    buffer.update(3.0)
    content = {"meta": {"epoch": 1}, "message_hub": {"log_scalars": {"loss": buffer}}, "state_dict": WEIGHTS}
    assert_weights(read_state_dict(saved(tmp_path / "epoch_1.pth", content)))


def test_what_is_read_does_not_hang_on_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"state_dict": WEIGHTS})
    state = read_state_dict(path)
    path.write_bytes(b"")
    assert_weights(state)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("exit 1",), "posix.system"),
        (eval, ("1",), "eval"),
        (np.fromfile, ("/etc/passwd",), "numpy.fromfile"),
        (nn.Linear, (2, 2), "Linear"),
    ],
)
def test_a_pickle_that_calls_is_refused(
    tmp_path: Path, function: Any, arguments: tuple[Any, ...], named: str, new_format: bool
) -> None:
    path = saved(
        tmp_path / "w.pth", {"state_dict": WEIGHTS, "extra": Calls(function, *arguments)}, new_format=new_format
    )
    with pytest.raises(CheckpointError, match=rf"could run code when read; refused \(it calls '.*{named}'\)"):
        read_state_dict(path)


def test_stand_ins_do_nothing(tmp_path: Path) -> None:
    """``getattr`` is among the names that load, as logs need it; what it would have fetched cannot be called."""
    path = saved(tmp_path / "w.pth", {"state_dict": WEIGHTS, "extra": Calls(getattr, Path, "unlink")})
    with pytest.raises(CheckpointError, match="could run code"):
        read_state_dict(path)
    assert_weights(read_state_dict(saved(path, {"state_dict": WEIGHTS, "extra": Calls(getattr, 1, "real")})))


def test_trust_runs_the_code_and_says_so(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = saved(tmp_path / "w.pth", {"state_dict": WEIGHTS, "extra": Calls(os.mkdir, str(marker))})
    with pytest.raises(CheckpointError, match="trust_pickle=True"):
        read_state_dict(path)
    assert not marker.exists()
    with pytest.warns(UserWarning, match="running the code in"):
        assert_weights(read_state_dict(path, trust_pickle=True))
    assert marker.exists()


def test_trusted_code_that_fails_is_a_named_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"state_dict": WEIGHTS, "extra": Calls(os.rmdir, str(tmp_path / "none"))})
    with (
        pytest.warns(UserWarning, match="running the code in"),
        pytest.raises(CheckpointError, match="read with trust_pickle=True, ended in FileNotFoundError"),
    ):
        read_state_dict(path, trust_pickle=True)


@pytest.mark.parametrize("word", ["false", "no", 0, None])
def test_a_word_is_no_trust(tmp_path: Path, word: Any) -> None:
    """``--adapter NAME:trust_pickle=false`` gives the string, which is true in Python."""
    marker = tmp_path / "ran"
    path = saved(tmp_path / "w.pth", {"state_dict": WEIGHTS, "extra": Calls(os.mkdir, str(marker))})
    with pytest.raises(CoPropError, match="trust_pickle is True or False; got"):
        read_state_dict(path, trust_pickle=word)
    assert not marker.exists()


def test_tied_weights_load_and_a_file_that_unfolds_in_memory_does_not(tmp_path: Path) -> None:
    shared = torch.ones(1 << 16)
    assert len(read_state_dict(saved(tmp_path / "tied.pth", {f"w{i}": shared for i in range(6)}))) == 6
    for entries in ({f"w{i}": shared for i in range(9)}, {f"w{i}": shared[i:] for i in range(1000)}):
        with pytest.raises(CheckpointError, match=r"entries claim \d+ MB, but the file has 0 MB"):
            read_state_dict(saved(tmp_path / "trap.pth", entries))


def test_trust_is_not_used_where_it_is_not_needed(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    assert_weights(read_state_dict(saved(tmp_path / "w.pth", WEIGHTS), trust_pickle=True))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no weights file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><title>Quota exceeded</title>", "is a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "is no weights file"),
        (pickle.dumps([1, 2]), "weights"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{'broken'}      ", "damaged safetensors"),
    ],
    ids=["empty", "lfs", "html", "hdf5", "pickle", "safetensors"],
)
def test_files_that_are_no_weights(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(path)


def test_cut_off_missing_or_compressed(tmp_path: Path) -> None:
    import zipfile

    path = saved(tmp_path / "w.pth", WEIGHTS)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="cut off or damaged"):
        read_state_dict(path)
    with pytest.raises(CheckpointError, match="no weights file at"):
        read_state_dict(tmp_path / "none.pth")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1000))
    with pytest.raises(CheckpointError, match="compressed zip"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": torch.tensor([1.0, float("nan")])}, "a holds NaN or infinite values"),
        ({"a": torch.tensor([1.0, float("inf")])}, "a holds NaN or infinite values"),
        ({"a": torch.ones(1).expand(10**10)}, r"a claims the shape \(10000000000,\), more than the file holds"),
        ({"a": torch.ones(3).to_sparse()}, "a is not a plain dense tensor"),
        ({"a": torch.ones(3, device="meta")}, "a is not a plain dense tensor"),
        ({"a": np.ones(3)}, r"holds no state dict: .*1 not a tensor \(a\)"),
        ({"state_dict": {}}, "it is empty"),
        (["a"], "holds a list, not weights by name"),
    ],
    ids=["nan", "inf", "expanded", "sparse", "meta", "array", "empty", "list"],
)
def test_contents_that_are_no_weights(tmp_path: Path, weights: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(saved(tmp_path / "w.pth", weights))


class TestLoadInto:
    def test_fills_every_name(self) -> None:
        module = nn.Linear(2, 3)
        state = {"weight": torch.ones(3, 2), "bias": torch.zeros(3, dtype=torch.float16)}
        load_into(module, state)
        assert torch.equal(module.weight, state["weight"]) and module.bias.dtype == torch.float32

    def test_drops_only_what_it_is_told_to(self) -> None:
        state = {**nn.Linear(2, 3).state_dict(), "head.weight": torch.ones(1), "head.bias": torch.ones(1)}
        load_into(nn.Linear(2, 3), state, drop=["head."])
        with pytest.raises(CheckpointError, match=r"does not fit Linear: 1 unknown \(head.weight\)"):
            load_into(nn.Linear(2, 3), state, drop=["head.bias"])

    def test_a_name_of_the_module_is_never_dropped(self) -> None:
        module = nn.Linear(2, 3)
        load_into(module, {"weight": torch.ones(3, 2), "bias": torch.ones(3)}, drop=["weight"])
        assert (module.weight == 1).all()

    def test_says_which_names_and_shapes(self) -> None:
        with pytest.raises(
            CheckpointError,
            match=r"'x.pth' does not fit Linear: 1 missing \(bias\); 1 unknown \(other\); 1 of another shape "
            r"\(weight is \(2, 2\), expected \(3, 2\)\)\. No model known here has such names\.",
        ):
            load_into(nn.Linear(2, 3), {"weight": torch.ones(2, 2), "other": torch.ones(1)}, what="'x.pth'")


@pytest.mark.parametrize(
    ("names", "model"),
    [
        (["patch_wise_id_bank.weight", "LSTT.layers.0.norm1.weight"], "aott"),
        (
            ["patch_wise_id_bank.weight", "LSTT.layers.0.linear_QV.weight", "encoder.layer1.0.conv1.weight"],
            "r50_deaotl",
        ),
        (["head.query_generator.query.weight", "backbone.patch_embed4.proj.weight"], "avsegformer (pvt_v2_b5"),
        (["model.model.pixel_level_module.encoder.x", "audio_proj.0.weight"], "aavs"),
        (["tpavi_b1.g.weight", "resnet.layer4_1.0.conv1.weight"], "tpavi (resnet50"),
        (["obj_queries.weight"], "catr"),
        (["features.0.weight", "embeddings.4.weight"], "vggish"),
        (["layer4.0.conv1.weight"], "backbone (resnet50)"),
    ],
)
def test_signatures(names: list[str], model: str) -> None:
    found = looks_like({name: torch.empty(0) for name in names})
    assert found is not None and model in found


def test_no_signature() -> None:
    assert looks_like({"weight": torch.empty(0)}) is None


@pytest.mark.needs("reference")
def test_signatures_of_the_published_layouts(reference: Path) -> None:
    import json

    expected = {"aott": "aott", "r50_aotl": "r50_aotl", "swinb_aotl": "swinb_aotl", "r50_deaotl": "r50_deaotl"}
    expected |= {
        "avsegformer_res50_s4": "avsegformer (resnet50-s4 or resnet50-ms3)",
        "vggish": "vggish",
        "pvt_v2_b5": "backbone (pvt_v2_b5)",
    }
    for layout, model in expected.items():
        entries = json.loads((reference / "layouts" / f"{layout}.json").read_text())["entries"]
        assert (
            looks_like({name: torch.empty(entry["shape"], device="meta") for name, entry in entries.items()}) == model
        )
