"""Parts in configs: one rule names them all, at any depth; AudioInsertPropagator and RCPG as the config of a user has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aot_scenes as scenes
import numpy as np
import pytest
import torch
import toy_runner as toy
from mmengine.config import Config, ConfigDict
from mmengine.registry import HOOKS
from rule_weights import rule_entry, rule_state

from coprop_plugin import parts
from coprop_plugin.audio.vggish import VGGish
from coprop_plugin.control_points.changepoint import ChangePoint
from coprop_plugin.control_points.fixed import EveryK
from coprop_plugin.control_points.language.rcpg import RCPG
from coprop_plugin.coprop import CoProp
from coprop_plugin.datasets.avsbench import open_dataset
from coprop_plugin.engine.mirror import PROPAGATORS, REGISTRIES, build_part
from coprop_plugin.errors import CoPropError
from coprop_plugin.propagators.aot.network import INSERT
from coprop_plugin.propagators.aot.with_audio import AudioInsertPropagator
from coprop_plugin.propagators.audio_insert import AudioInsert
from coprop_plugin.propagators.hold import Hold
from coprop_plugin.store import read_result
from coprop_plugin.structures import Clip, ControlPoints

ANSWER = "[1, 0, 1, 0, 0]"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("kind", parts.KINDS)
def test_every_part_has_its_own_name_and_that_of_its_class(kind: parts.PartKind) -> None:
    known = REGISTRIES[kind].module_dict
    wanted = {name for part in parts.all_parts(kind) for name in (*part.names, part.class_name)}
    assert set(known) == wanted
    for part in parts.all_parts(kind):
        assert parts.maker(kind, part.name).__name__ == part.class_name


def test_a_part_is_named_in_every_way() -> None:
    for given in ("hold", {"type": "Hold"}, {"type": "coprop_plugin.Hold", "_scope_": "mmseg"}, {"type": Hold}):
        assert type(build_part("propagator", given)) is Hold
    for given in ({"name": "every_k", "k": 2}, ConfigDict(type="EveryK", k=2), {"type": EveryK, "k": 2}):
        assert build_part("control_points", given).k == 2
    made = Hold()
    assert build_part("propagator", made) is made


def test_a_part_inside_a_part_is_one_too() -> None:
    """``pkg::`` configs put ``_scope_`` into dicts of every depth."""
    fallback = {"type": "ChangePoint", "_scope_": "coprop_plugin"}
    given = ConfigDict(type="RCPG", replay=[{"answer": ANSWER, "_scope_": "mmseg"}], fallback=fallback)
    generator = build_part("control_points", given)
    assert isinstance(generator, RCPG) and isinstance(generator.fallback, ChangePoint)
    assert generator.model.records == [{"answer": ANSWER}]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"type": "Flwo"}, r"unknown propagator 'Flwo'.*Did you mean 'Flow'"),
        ({"type": "Hold", "speed": 2}, "has no option 'speed'"),
        ({"type": Hold, "speed": 2}, "has no option 'speed'"),
        ({"speed": 2}, "needs a 'name'"),
        ({"type": "AudioInsertPropagator"}, "r50_aotl needs its weights"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        build_part("propagator", given)


def test_a_user_adds_a_part_of_his_own() -> None:
    @PROPAGATORS.register_module()
    class Mine(Hold):
        """Holds."""

    try:
        assert type(HOOKS.build({"type": "CoPropHook", "propagator": {"type": "Mine"}}).method.propagator) is Mine
    finally:
        del PROPAGATORS.module_dict["Mine"]


def weights() -> dict[str, torch.Tensor]:
    """Made-up weights of AOT-T with an audio insert that is heard."""
    insert = AudioInsert((24, 32, 96, 256)).state_dict()
    heard = {name: rule_entry(name, value) if value.is_floating_point() else value for name, value in insert.items()}
    return {**scenes.weights("aott"), **{f"{INSERT}{name}": value for name, value in heard.items()}}


def loudness(clip: Clip) -> np.ndarray:
    """``(T, 128)``: each frame's sound as one number."""
    loud = [np.abs(clip.sound_of(t)).mean() for t in range(clip.num_frames)]
    return np.tile(np.float32(loud)[:, None], (1, 128))


def test_audio_insert_propagator_is_aot_that_hears() -> None:
    options = {"model": "aott", "checkpoint": weights(), "audio": loudness, "device": "cpu"}
    made = build_part("propagator", {"type": "AudioInsertPropagator", **options})
    assert type(made) is type(parts.build("propagator", {"name": "audio_insert", **options})) is AudioInsertPropagator
    clip, task = scenes.clip(4), scenes.task(0, 4, 1)
    expected = next(scenes.propagator("aott", checkpoint=weights(), audio=loudness).propagate(clip, [task]))
    np.testing.assert_array_equal(next(made.propagate(clip, [task])), expected)
    with pytest.raises(CoPropError, match="hold no audio insert"):
        build_part("propagator", {"type": "AudioInsertPropagator", **options, "checkpoint": scenes.weights("aott")})
    with pytest.raises(CoPropError, match="audio_checkpoint"):
        AudioInsertPropagator("aott", checkpoint=weights())


CONFIG = """\
custom_hooks = [
    dict(
        type='CoPropHook',
        control_points=dict(type='RCPG', variant='one_step', replay=[dict(answer='[1, 0, 1, 0, 0]')],
                            fallback=dict(type='ChangePoint')),
        propagator=dict(type='AudioInsertPropagator', model='aott', checkpoint=r'{checkpoint}',
                        audio_checkpoint=r'{vggish}', device='cpu'),
        fusion=dict(type='Replace'),
        output_dir=r'{out}'),
    dict(type='RCPGHook', control_points=dict(type='RCPG', variant='one_step', replay=[dict(answer='[1, 0, 1, 0, 0]')])),
    dict(type='AudioInsertPropagatorHook', output_dir=r'{out}/alone',
         propagator=dict(type='AudioInsertPropagator', model='aott', checkpoint=r'{checkpoint}',
                         audio_checkpoint=r'{vggish}', device='cpu')),
]
"""


@pytest.mark.heavy
def test_the_papers_method_in_a_config(tmp_path: Path) -> None:
    """RCPG (recorded answers), AOT with audio (made-up weights), replacement: as the library, in one hook or in two."""
    data, out = toy.toy_data(tmp_path / "data", videos=2), tmp_path / "out"
    files = {"checkpoint": tmp_path / "aott.pth", "vggish": tmp_path / "vggish.pth"}
    torch.save(weights(), files["checkpoint"])
    torch.save(rule_state(VGGish), files["vggish"])
    path = tmp_path / "hooks.py"
    path.write_text(CONFIG.format(**files, out=out))
    hooks = Config.fromfile(path).custom_hooks
    metrics = toy.Runner.from_cfg(toy.config(data, tmp_path / "run", hooks=hooks)).test()
    assert set(metrics) == {"mIoU", "coprop/mIoU", "propagated/mIoU"}
    assert metrics["coprop/mIoU"] == metrics["propagated/mIoU"] != metrics["mIoU"]

    propagator = {"name": "audio_insert", "model": "aott", "device": "cpu", "checkpoint": files["checkpoint"]}
    method = CoProp.paper(
        control_points=ControlPoints(np.array([1, 0, 1, 0, 0])),
        propagator={**propagator, "audio_checkpoint": files["vggish"]},
    )
    for video in open_dataset(data).videos("test"):
        stored = read_result(out / video.video_id)
        assert stored.control_points.frames == (0, 2) and stored.control_points.origin.generator == "rcpg"
        assert stored.manifest["configuration"]["propagator"]["type"] == "AudioInsertPropagator"
        expected = method(open_dataset(data).clip(video), stored.base).prediction
        for folder in (out, out / "alone"):
            stored = read_result(folder / video.video_id)
            for t in range(5):
                np.testing.assert_array_equal(stored.prediction.label_map(t), expected.label_map(t))
