"""The AOT family against the published code: weights by the published cases' rule, inputs and outputs from the cases.

Every case file whose name begins with a layout's name is taken, and every case in it is replayed by what its arrays
and its ``meta`` say, whatever its name.
"""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aot_cases import Case, Report, published_network, published_weights, replay_file

from coprop_plugin.propagators.aot.preprocess import network_size, resize_frame, to_input

REFERENCE = Path(
    os.environ.get("COPROP_REFERENCE_DIR", Path(__file__).resolve().parents[2] / "../shared/reference")
).resolve()
FAMILY = ("aott", "aots", "aotb", "aotl", "r50_aotl", "swinb_aotl", "r50_deaotl")
CLOSE = 2e-5  # largest difference over largest value; the cases ask for 1e-4, and we stay below 5e-6
EQUAL = 0.999  # share of a frame's pixels with the published label, in closed loop


def published() -> Any:
    """Parametrises a test with ``(layout, file)`` of all case files of the family."""
    layouts = sorted((path.stem for path in (REFERENCE / "layouts").glob("*.json")), key=len, reverse=True)
    found = [
        (layout, path.name)
        for path in sorted((REFERENCE / "cases").glob("*.npz"))
        if (layout := next((name for name in layouts if path.stem.startswith(name)), None)) in FAMILY
    ]
    found = found or [(name, f"{name}.npz") for name in ("aott", "aotl", "r50_aotl", "swinb_aotl", "r50_deaotl")]
    marks = [[pytest.mark.needs("reference"), pytest.mark.parity(file)] for _, file in found]
    params = [pytest.param(*names, marks=m, id=names[1]) for names, m in zip(found, marks, strict=True)]
    return pytest.mark.parametrize(("layout", "file"), params)


@published()
@torch.inference_mode()
def test_every_case(layout: str, file: str) -> None:
    report = Report()
    replay_file(published_network(REFERENCE, layout, file), REFERENCE / "cases" / file, report)
    print(f"{file}: {max(report.differences.values()):.1e}, labels {min(report.equal.values(), default=1):.6f} equal")
    assert report.differences
    assert_matches(report)


def assert_matches(report: Report) -> None:
    far = {what: f"{error:.2e}" for what, error in report.differences.items() if not error < CLOSE}
    assert not far, f"largest relative differences: {far}"
    unequal = {what: f"{equal:.5f}" for what, equal in report.equal.items() if equal < EQUAL}
    assert not unequal, f"shares of equal labels: {unequal}"


@pytest.mark.needs("reference")
@pytest.mark.parametrize("layout", ["aott", "aotl", "r50_aotl"])
@torch.inference_mode()
def test_the_benchmark_s_plain_side(layout: str) -> None:
    """What the engine is measured against computes the published function too."""
    plain = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "plain_aot.py"))["PlainAOT"]
    with np.load(REFERENCE / "cases" / f"{layout}.npz", allow_pickle=False) as stored:
        weights, arrays = published_weights(REFERENCE, layout, int(stored["seed"])), dict(stored)
    report = Report()
    for name in ("base", "gap2", "wide"):
        prefix = f"{name}/"
        if f"{prefix}meta" not in arrays:
            continue
        case = Case({key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)})
        sequence = plain(weights, gap=case.meta["long_term_mem_gap"])
        sequence.reference(case.image(0)[0], case.labels[0, 0], case.num_objects(0)[0])
        for t in range(1, case.num_frames):
            logits = sequence.propagate(case.image(t)[0])
            report.close(logits, case.arrays["logits"][t], f"plain {layout} {name} frame {t}")
            sequence.update(case.labels[0, t])
    assert report.differences
    assert_matches(report)


@pytest.mark.needs("reference")
@pytest.mark.parity("aot_preprocess.npz")
def test_preprocessing() -> None:
    with np.load(REFERENCE / "cases" / "aot_preprocess.npz", allow_pickle=False) as stored:
        case = dict(stored)
    for name, align_corners, max_side in (
        ("tensor_align", True, 1040),
        ("tensor_noalign", False, 1040),
        ("tensor_align_maxlong48", True, 48),
    ):
        image = case["image_rgb_u8"]
        size = network_size(*image.shape[:2], align_corners=align_corners, max_side_px=max_side)
        ours = to_input([resize_frame(image, size)], torch.device("cpu"))[0]
        assert ours.shape == case[name].shape
        np.testing.assert_allclose(ours, case[name], atol=1e-5, err_msg=name)
    for given in json.loads(str(case["sizes"])):
        size = network_size(
            given["height"],
            given["width"],
            align_corners=given["align_corners"],
            max_side_px=given["max_long_edge"],
            max_short_side_px=given["max_short_edge"],
        )
        assert list(size) == given["out"], given
