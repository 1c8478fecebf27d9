"""The adapter contract: built by name, other packages' adapters, and the guide's worked example run as it stands."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

import coprop_plugin as cp
from coprop_plugin import parts
from coprop_plugin.adapters.base import Adapter, build_adapter, check_count
from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.masks.probability import probabilities
from coprop_plugin.parts import installed as packages
from coprop_plugin.structures import Clip, Prediction, Sound, TimeBase

GUIDE = Path(__file__).resolve().parent.parent / "adapters" / "README.md"
T = 3


@pytest.fixture
def clip() -> Clip:
    frames = np.random.default_rng(0).integers(0, 256, (T, 20, 30, 3), dtype=np.uint8)
    return Clip("toy", frames, Sound.silence(T, rate_hz=44100), TimeBase.of("avsbench", T))


class Everywhere(Adapter):
    """Says that everything sounds."""

    name = "everywhere"

    def predict(self, clip: Clip) -> Prediction:
        return Prediction.from_labels(np.ones((clip.num_frames, 4, 4), int))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two adapters of another package, one of them no adapter."""
    points = [
        EntryPoint("everywhere", f"{__name__}:Everywhere", "coprop_plugin.adapters"),
        EntryPoint("odd", "builtins:dict", "coprop_plugin.adapters"),
    ]
    monkeypatch.setattr(packages, "entry_points", lambda group: [p for p in points if p.group == group])
    monkeypatch.setattr(EntryPoint, "load", lambda self: Everywhere if self.name == "everywhere" else dict)


def test_adapters_of_other_packages_are_found_by_name(clip: Clip, installed: None) -> None:
    assert "everywhere" in parts.names("adapter")
    adapter = cp.build_adapter("everywhere")
    assert adapter.predict(clip).label_map(0).all()
    with pytest.raises(CoPropError, match="'everywhere' has no option 'size'"):
        build_adapter("everywhere", size=3)
    with pytest.raises(CoPropError, match=r"'odd' must be .* an object of Adapter .*got \{\} \(dict\)"):
        build_adapter("odd")


def test_unknown_names_suggest_the_nearest(installed: None) -> None:
    with pytest.raises(CoPropError, match=r"unknown adapter 'everywere'. Did you mean 'everywhere'.*saved_masks"):
        build_adapter("everywere")


def test_an_adapter_without_frame_mode_says_so(clip: Clip) -> None:
    with pytest.raises(CoPropError, match="'everywhere' cannot be run at single frames; use mode='clip'"):
        Everywhere().predict_frames(clip, [0])


def test_the_count_of_frames_decides_the_sampling(clip: Clip) -> None:
    too_many = Prediction.from_labels(np.zeros((75, 4, 4), int), source="preds/")
    with pytest.raises(PredictionError, match=r"preds/: 75 frames, but clip 'toy' has 3 .*sampling='uniform:25'"):
        check_count(too_many, clip)


def test_the_worked_example_of_the_guide_runs(clip: Clip) -> None:
    example = next(
        code for code in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S) if "class MyAdapter" in code
    )

    class Model(torch.nn.Module):
        def forward(self, pixels: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
            assert pixels.shape == (1, 3, 224, 224)
            assert sound.shape == (1, 16000)
            return pixels.mean(1, keepdim=True) - 0.5 + sound.mean()

    names = {
        "load_mymodel": lambda checkpoint: Model(),
        "resample": lambda samples, rate_hz, to_hz: samples[:: len(samples) // to_hz][:to_hz],
    }
    exec(example, names)
    adapter = names["MyAdapter"]("mymodel.pth")
    assert isinstance(adapter, Adapter)
    whole = check_count(adapter.predict(clip), clip)
    assert (whole.kind, whole.size) == ("logit", (224, 224))
    alone = adapter.predict_frames(clip, [2])
    assert adapter.frame_equals_clip
    np.testing.assert_array_equal(alone[2], whole.frame(2))


def test_scores_that_combo_saves_are_what_its_evaluator_sees(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    names: dict = {}
    exec(next(example for example in code if "def save_scores" in example), names)
    scores = torch.from_numpy(np.random.default_rng(1).standard_normal((T, 2, 8, 12)).astype(np.float32))
    names["save_scores"]([{"file_names": ["ms3/visual_frames/toy/toy_1.png"]}], [{"sem_seg": one} for one in scores])
    prediction = cp.read_prediction("combo/toy.npy", clip=clip, kind="logit")
    for t in range(T):
        seen = torch.softmax(scores, dim=1)[t].numpy()
        np.testing.assert_allclose(probabilities(prediction, t), seen, rtol=1e-5, atol=1e-6)
    adapter = cp.build_adapter("saved_masks", path="combo", kind="logit")
    np.testing.assert_allclose(adapter.predict(clip).frame(1), scores[1], rtol=1e-6)
