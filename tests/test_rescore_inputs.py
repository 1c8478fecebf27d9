"""What published code writes, in every form: a run over each gives the numbers of the same masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rescore_runs import plan_of, quick, write_benchmark

from coprop_plugin.rescore.comparison import Comparison


@pytest.fixture(scope="module")
def ms3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("inputs") / "set", videos=2)


def numbers(comparison: Comparison) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    return {(row.protocol, row.metric): (row.before, row.after) for row in comparison.rows}


def rewritten(ms3: Path, name: str, write: Callable[[Path, str, np.ndarray], None], *, source: str = "soft") -> str:
    """Another folder of predictions: what ``write`` makes of each video's probabilities ``(T, H, W)``."""
    folder = ms3 / "predictions" / name
    folder.mkdir()
    for path in sorted((ms3 / "predictions" / source).glob("*.npy")):
        write(folder, path.stem, np.load(path))
    return name


def logits(folder: Path, video: str, probability: np.ndarray) -> None:
    p = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    np.savez(folder / f"{video}.npz", scores=np.log(p / (1 - p)).astype(np.float32))


def test_logits_score_like_their_probabilities(ms3: Path, tmp_path: Path) -> None:
    soft = quick(plan_of(ms3, "soft", reading={"kind": "probability"}), tmp_path / "soft").comparison
    plan = plan_of(ms3, rewritten(ms3, "logits", logits), reading={"kind": "logit"})
    told = numbers(quick(plan, tmp_path / "logits").comparison)
    assert told.keys() == numbers(soft).keys() and not any("hard" in metric for _, metric in told)
    for key, values in numbers(soft).items():
        assert told[key] == pytest.approx(values, abs=0.02), key


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("named_after", ["video", "frame"])
def test_masks_numbered_from_0_or_1(first: int, named_after: str, ms3: Path, tmp_path: Path) -> None:
    def write(folder: Path, video: str, probability: np.ndarray) -> None:
        (folder / video).mkdir()
        for t, frame in enumerate(probability):
            name = f"{video}_{t + first}" if named_after == "video" else f"{t + first:05d}"
            Image.fromarray((frame > 0.5).astype(np.uint8) * 255).save(folder / video / f"{name}.png")

    name = rewritten(ms3, f"masks-{named_after}-{first}", write)
    hard = quick(plan_of(ms3, name), tmp_path / "out").comparison
    told = numbers(hard)
    soft = numbers(quick(plan_of(ms3, "soft", reading={"kind": "probability"}), tmp_path / "soft").comparison)
    assert told["avsbench", "M_J"][0] == soft["avsbench", "M_J"][0]
    assert {row.masks for row in hard.rows if row.metric == "M_F"} == {"hard masks"}
