"""Every model of the family on stand-in weights gives the numbers that it gave when it matched the published code."""

from __future__ import annotations

from pathlib import Path

import aot_scenes as scenes
import numpy as np
import pytest
import torch

from coprop_plugin.propagators.aot.config import MODELS
from coprop_plugin.propagators.aot.engine import Engine
from coprop_plugin.propagators.aot.memory import MemoryRule
from coprop_plugin.propagators.aot.preprocess import to_input

GOLDEN = Path(__file__).parent / "data" / "aot_golden.npz"


@torch.inference_mode()
def logits_of(model: str) -> np.ndarray:
    """``(T, 3, h, w)``: taught propagation with an insertion into the long-term memory, every third logit."""
    network = scenes.network(model)
    engine = Engine(network, rule=MemoryRule(2, None))
    extra = int(network.config.align_corners)
    size = (48 + extra, 64 + extra)
    memory, found = engine.new_memory(), []
    labels = torch.from_numpy(np.stack([scenes.labels(2, size, seed=t) for t in range(5)]))
    for t, frame in enumerate(scenes.frames(5, size)):
        features = network.encode(to_input([frame], torch.device("cpu")))
        tokens = engine.propagate(memory, features) if t else engine.reference(memory, features, labels[:1])
        found.append(engine.decode(tokens, features, [2])[0, :3, ::3, ::3])
        engine.update(memory, features, labels[t : t + 1])
    return torch.stack(found).numpy()


@pytest.mark.parametrize("model", MODELS)
def test_golden_logits(model: str) -> None:
    with np.load(GOLDEN, allow_pickle=False) as stored:
        expected = stored[model]
    ours = logits_of(model)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() < 2e-5 * np.abs(expected).max()
