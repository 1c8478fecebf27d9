"""The wrapped segmentor: the hook's refined numbers, the base model's weights by their own names."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
import toy_runner as toy
from toy_runner import LateModel, Runner

from coprop_plugin.engine.run import only_classes_that_occur, read_config, test_config as run_test
from coprop_plugin.engine.samplers import VideoBatchSampler
from coprop_plugin.engine.segmentor import CoPropSegmentor
from coprop_plugin.errors import CoPropError
from coprop_plugin.openmmlab import prepare_openmmlab
from coprop_plugin.structures import AVSBENCH_NAMES

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Shared(LateModel):
    """A model whose preprocessor has weights too."""

    def __init__(self) -> None:
        super().__init__()
        self.data_preprocessor.register_buffer("mean", torch.ones(3))
        self.body = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))


def test_its_numbers_are_those_of_the_hook(tmp_path: Path) -> None:
    data = toy.toy_data(tmp_path / "data")
    hooked = toy.config(data, tmp_path / "hook", hooks=[{"type": "CoPropHook"}])
    refined = Runner.from_cfg(hooked).test()["coprop/mIoU"]
    wrapped = toy.config(data, tmp_path / "wrapped", hooks=[])
    wrapped.model = {"type": "CoPropSegmentor", "segmentor": {"type": "LateModel"}}
    wrapped.test_dataloader["batch_sampler"] = {"type": "VideoBatchSampler"}
    assert Runner.from_cfg(wrapped).test() == {"mIoU": refined}
    wrapped.test_dataloader.pop("batch_sampler")
    with pytest.raises(CoPropError, match=r"holds its frames \[0, 1\] of 5.*VideoBatchSampler"):
        Runner.from_cfg(wrapped).test()
    with pytest.raises(CoPropError, match=r"needs sampler=dict\(type='VideoSampler'\), got list"):
        VideoBatchSampler([])


def test_a_base_checkpoint_of_mmseg_is_loaded_as_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The example's EncoderDecoder and its checkpoint, once with the hook and once wrapped."""
    make_example = runpy.run_path(str(Path(__file__).parent.parent / "examples" / "inherit_config.py"))["make_example"]
    config, checkpoint = make_example(tmp_path)
    refined = {}
    for way in ("hook", "wrapped"):
        settings = read_config(str(config), work_dir=tmp_path / way)
        settings.experiment_name = settings.visualizer["name"] = f"{tmp_path.name}-{way}"
        if way == "wrapped":
            settings.custom_hooks = []
            settings.model = {"type": "CoPropSegmentor", "segmentor": settings.model, "classes": AVSBENCH_NAMES}
            settings.test_dataloader["batch_sampler"] = {"type": "VideoBatchSampler"}
        refined[way] = run_test(settings, str(checkpoint))
    assert "unexpected key" not in capfd.readouterr().out
    hooked = refined["hook"]
    assert refined["wrapped"] == {k.removeprefix("coprop/"): v for k, v in hooked.items() if k.startswith("coprop/")}
    assert hooked["mIoU"] != hooked["coprop/mIoU"]


@pytest.mark.parametrize("inside", ["alone", "in a module"])
def test_weights_keep_the_names_of_the_base(inside: str) -> None:
    base = Shared()
    for parameter in base.parameters():
        torch.nn.init.normal_(parameter)
    wrapper: torch.nn.Module = CoPropSegmentor(Shared())
    expected = {name: value.clone() for name, value in base.state_dict().items()}
    if inside == "in a module":  # as DistributedDataParallel holds it
        wrapper = torch.nn.ModuleDict({"module": wrapper})
        expected = {f"module.{name}": value for name, value in expected.items()}
    wrapper.load_state_dict(expected, strict=True)
    given = wrapper.state_dict()
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], value) for name, value in expected.items())
    wrapper.load_state_dict(given, strict=True)


def test_only_classes_that_occur_are_listed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prepare_openmmlab()
    from mmengine.logging import MMLogger
    from mmseg.evaluation import IoUMetric

    metric = IoUMetric(iou_metrics=["mIoU", "mFscore"])
    metric.dataset_meta = {"classes": ["background", "nan", "cat", "dog"]}
    truth, predicted = (
        torch.tensor([[0, 1, 1]]),
        torch.tensor([[0, 1, 2]]),
    )  # class 2 is predicted alone: 0 of it is right
    metric.process({}, [{"pred_sem_seg": {"data": predicted}, "gt_sem_seg": {"data": truth}}])
    logger = MMLogger.get_instance(tmp_path.name, logger_name="mmengine")
    MMLogger._instance_dict.move_to_end(tmp_path.name)
    logger.addFilter(only_classes_that_occur)
    metric.compute_metrics(metric.results)
    rows = [line for line in capfd.readouterr().out.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows] == ["Class", "background", "nan", "cat"]
    logger.info("\n+-- another table\n| nan | 1 |\n")
    assert "| nan | 1 |" in capfd.readouterr().out
