"""Configs: inheritance, names, the console script, the stock tool, two processes, and what openmmlab.py patches."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import pytest
import torch
import toy_runner as toy
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.registry import HOOKS, DefaultScope

from coprop_plugin import openmmlab
from coprop_plugin.cli.main import main
from coprop_plugin.engine.config_files import config_names, find_config
from coprop_plugin.engine.run import config_file, read_config, test_config as run_test
from coprop_plugin.errors import CheckpointError, CoPropError

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("name", [name for name in config_names() if name.startswith("_base_")])
def test_every_base_is_read_and_names_what_exists(name: str) -> None:
    from coprop_plugin import registry

    config = Config.fromfile(find_config(name))
    for hook in config.get("custom_hooks", []):
        assert HOOKS.get(hook.type) is not None
    for loader in (config.get("val_dataloader"), config.get("test_dataloader")):
        if loader is not None:
            assert registry.DATASETS.get(loader.dataset.type) and registry.DATA_SAMPLERS.get(loader.sampler.type)
            assert all(registry.TRANSFORMS.get(step.type) for step in loader.dataset.pipeline)


INHERITED = {
    "plain": "_base_ = ['mmseg::_base_/default_runtime.py', 'coprop_plugin::_base_/coprop.py']",
    "for any tool": (
        "_base_ = ['mmseg::_base_/default_runtime.py', 'coprop_plugin::_base_/coprop.py'] "
        "if __import__('coprop_plugin') else []"
    ),
    "new style": (
        "from mmengine.config import read_base\nwith read_base():\n    from coprop_plugin.configs._base_.coprop import *\n"
    ),
}


@pytest.mark.parametrize("spelling", INHERITED)
def test_a_config_inherits_the_hook(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "config.py"
    path.write_text(INHERITED[spelling])
    (hook,) = Config.fromfile(path).custom_hooks
    with DefaultScope.overwrite_default_scope("mmseg"):
        built = HOOKS.build(hook)
    assert type(built).__name__ == "CoPropHook" and built.method.propagator.name == "flow"


@pytest.mark.parametrize("scope", [None, "mmengine", "mmseg", "coprop_plugin"])
@pytest.mark.parametrize("name", ["CoPropHook", "coprop_plugin.CoPropHook"])
def test_plain_and_dotted_names_work_in_every_scope(
    name: str, scope: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        assert type(HOOKS.build({"type": name})).__module__ == "coprop_plugin.engine.coprop_hook"
    assert "WARNING" not in capsys.readouterr().out


BUILD = "from mmengine.registry import HOOKS; print(type(HOOKS.build(dict(type='{}', propagator=dict(type='Hold')))).__name__)"


@pytest.mark.heavy
@pytest.mark.parametrize(
    "code",
    [
        BUILD.format("coprop_plugin.CoPropHook"),
        "import mmengine, coprop_plugin; " + BUILD.format("CoPropHook"),
        "import coprop_plugin, mmengine; " + BUILD.format("CoPropHook"),
        "import coprop_plugin, importlib.util as u; u.find_spec('mmengine'); " + BUILD.format("CoPropHook"),
    ],
    ids=["dotted", "mmengine first", "we first", "asked for, then imported"],
)
def test_names_are_known_whatever_was_imported_first(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "CoPropHook" and "WARNING" not in done.stdout


def test_checkpoints_of_mmengine_load_safely_and_hostile_ones_do_not(tmp_path: Path) -> None:
    hub = MessageHub("config-test")
    for value in (np.float32(1.5), 2.0, np.float64(3)):
        hub.update_scalar("val/coprop/mIoU", value)
    torch.save({"state_dict": {"a": torch.ones(2)}, "message_hub": hub.state_dict()}, tmp_path / "a.pth")
    log = torch.load(tmp_path / "a.pth")["message_hub"]["log_scalars"]["val/coprop/mIoU"]
    assert log.current() == 3 and log.mean() == pytest.approx(6.5 / 3)

    class Hostile:
        def __init__(self, *call: Any) -> None:
            self.call = call

        def __reduce__(self) -> Any:
            return self.call[0], self.call[1:]

    for call in (
        (os.system, "true"),
        (getattr, HistoryBuffer, "__init__"),
        (getattr, np.ndarray, "tofile"),
        (eval, "1"),
    ):
        torch.save({"a": Hostile(*call)}, tmp_path / "b.pth")
        with pytest.raises((pickle.UnpicklingError, ValueError)):
            torch.load(tmp_path / "b.pth")


def test_packages_are_found_without_pkg_resources() -> None:
    from mmengine.config import config as mmengine_config

    assert mmengine_config.get_installed_path is openmmlab.installed_path
    assert Path(openmmlab.installed_path("coprop_plugin"), ".mim", "configs", "_base_", "coprop.py").is_file()
    assert mmengine.utils.is_installed("mmsegmentation")


def test_a_full_mmcv_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    openmmlab.prepare_mmengine.cache_clear()
    monkeypatch.delitem(sys.modules, openmmlab.EXTENSION, raising=False)
    find = openmmlab.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: object() if name == openmmlab.EXTENSION else find(name)
    )
    openmmlab.prepare_mmengine()
    assert openmmlab.EXTENSION not in sys.modules
    monkeypatch.undo()
    openmmlab.prepare_mmengine()


def test_configs_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["configs", "list"]) == 0 and "_base_/coprop.py" in capsys.readouterr().out.split()
    assert main(["configs", "show", "_base_/coprop"]) == 0 and "CoPropHook" in capsys.readouterr().out
    assert main(["configs", "path", "_base_/coprop.py", "--json"]) == 0
    assert Path(json.loads(capsys.readouterr().out)["path"]).is_file()
    assert main(["configs", "show"]) == 2 and "needs a NAME" in capsys.readouterr().err
    assert main(["configs", "show", "../setup.cfg"]) == 2 and "unknown config" in capsys.readouterr().err
    assert main(["test", str(tmp_path / "none.py")]) == 2 and "unknown config" in capsys.readouterr().err
    assert main(["test", "_base_/coprop.py", "--set", "work_dir"]) == 2 and "has no value" in capsys.readouterr().err


def test_configs_of_packages_stay_in_their_folder() -> None:
    assert config_file("mmseg::_base_/default_runtime.py").is_file()
    for name, why in (("mmseg::../../api.py", "there is no config"), ("no_such::a/b.py", "is not installed")):
        with pytest.raises(CoPropError, match=re.escape(why)):
            config_file(name)


@pytest.mark.heavy
@pytest.mark.parametrize("way", ["VideoSampler", "gather", "raise"])
def test_two_processes_equal_one(tmp_path: Path, way: str) -> None:
    data = toy.toy_data(tmp_path / "data")
    hook = {"type": "CoPropHook", "propagator": "hold", "incomplete": "gather" if way == "gather" else "raise"}
    sampler = "VideoSampler" if way == "VideoSampler" else "DefaultSampler"
    settings = toy.config(data, tmp_path / "run", hooks=[hook], sampler=sampler)
    settings["custom_imports"] = {"imports": ["toy_runner"]}
    evaluator = [{"type": "Overlap"}] + [{"type": "AVSMetric"}] * (way == "VideoSampler")
    settings["test_evaluator"] = evaluator
    path = tmp_path / "config.py"
    settings.dump(path)
    torchrun = (
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone",
        "-m", "coprop_plugin.cli.main", "test",
    )  # fmt: skip
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT / "tests")}
    command = [*torchrun, str(path), "--work-dir", str(tmp_path / "two"), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    if way == "raise":
        assert done.returncode and "sampler=dict(type='VideoSampler')" in done.stderr
        return
    assert done.returncode == 0, done.stderr[-4000:]
    two = json.loads(done.stdout)
    settings.work_dir = str(tmp_path / "one")
    one = toy.Runner.from_cfg(settings).test()
    for name, value in one.items():
        if way == "VideoSampler" or name.startswith("coprop/"):
            assert two[name] == pytest.approx(value, abs=1e-12), name


def test_a_checkpoint_that_is_not_there() -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at 'none.pth'"):
        run_test(read_config("mmseg/segformer_ms3.py"), "none.pth")
