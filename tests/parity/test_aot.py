"""The AOT family against the published code: weights by the published cases' rule, inputs and outputs from the cases.

Every case file whose name begins with a layout's name is taken, and every case in it is replayed by what its arrays
and its ``meta`` say, whatever its name.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from coprop_plugin.propagators.aot.config import MODELS
from coprop_plugin.propagators.aot.encoders.frozen_norm import fold_norms
from coprop_plugin.propagators.aot.engine import Engine
from coprop_plugin.propagators.aot.lockstep import LockStep
from coprop_plugin.propagators.aot.memory import Memory, MemoryRule
from coprop_plugin.propagators.aot.network import AOTNetwork, Features
from coprop_plugin.propagators.aot.objects import merge_groups, num_groups, objects_of_group, split_labels
from coprop_plugin.propagators.aot.preprocess import most_likely, nearest, network_size, resize_frame, to_input

REFERENCE = Path(
    os.environ.get("COPROP_REFERENCE_DIR", Path(__file__).resolve().parents[2] / "../shared/reference")
).resolve()
FAMILY = ("aott", "aots", "aotb", "aotl", "r50_aotl", "swinb_aotl", "r50_deaotl")
CLOSE = 2e-5  # largest difference over largest value; the cases ask for 1e-4, and we stay below 5e-6
EQUAL = 0.999  # share of a frame's pixels with the published label, in closed loop
CLAMPED = 11.51  # merged logits at the clamp are left out


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


@functools.lru_cache(maxsize=1)
def published_weights(layout: str, seed: int) -> dict[str, Tensor]:
    spec = importlib.util.spec_from_file_location("fill", REFERENCE / "fill.py")
    assert spec and spec.loader
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    state = rule.make_state_dict(REFERENCE / "layouts" / f"{layout}.json", seed)
    return {name: torch.from_numpy(np.asarray(value)) for name, value in state.items()}


def published_network(layout: str, seed: int) -> AOTNetwork:
    network = AOTNetwork.from_state(MODELS[layout], published_weights(layout, seed)).eval().requires_grad_(False)
    fold_norms(network)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Case:
    """The arrays of one case, time first."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.meta = json.loads(str(arrays["meta"]))
        frames = arrays["frames_u8"]
        self.frames = frames[None] if frames.ndim == 4 else frames  # (B, T, 3, H, W)
        self.num_frames = self.frames.shape[1]
        self.size = self.frames.shape[-2:]
        if "labels_u8" in arrays:
            labels = torch.from_numpy(arrays["labels_u8"]).long()
            self.labels = labels[None] if labels.ndim == 3 else labels

    def image(self, t: int) -> Tensor:
        frames = [np.ascontiguousarray(frame.transpose(1, 2, 0)) for frame in self.frames[:, t]]
        return to_input(frames, torch.device("cpu"))

    def features(self, network: AOTNetwork, t: int) -> Features:
        image = self.image(t)
        if t == 0 and "frame0_norm_crop" in self.arrays:
            np.testing.assert_allclose(image[0, :, :8, :8], self.arrays["frame0_norm_crop"], atol=1e-5)
        return network.encode(image)

    def num_objects(self, t: int) -> list[int]:
        per_frame = self.meta.get("obj_nums_per_frame")
        return [per_frame[t]] if per_frame else self.meta["obj_nums"]

    def rule(self) -> MemoryRule:
        return MemoryRule(self.meta["long_term_mem_gap"], None, self.meta["short_term_mem_skip"])


class Groups:
    """Identity groups of different age, each with a memory of its own, as the published wrapper holds them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.memories: list[Memory] = []

    def reference(self, features: Features, labels: Tensor, num_objects: Sequence[int]) -> None:
        self.num_objects = list(num_objects)
        groups = num_groups(max(num_objects))
        self.memories += [self.engine.new_memory() for _ in range(groups - len(self.memories))]
        seen = self._seen(labels)
        self.tokens = [self.engine.reference(m, features, s) for m, s in zip(self.memories, seen, strict=True)]

    def propagate(self, features: Features) -> None:
        self.tokens = [self.engine.propagate(memory, features) for memory in self.memories]

    def update(self, features: Features, labels: Tensor) -> None:
        for memory, seen in zip(self.memories, self._seen(labels), strict=True):
            self.engine.update(memory, features, seen)

    def logits(self, features: Features) -> list[Tensor]:
        """Each group's ``(B, 11, h, w)``."""
        return [
            self.engine.decode(tokens, features, [objects_of_group(k, group) for k in self.num_objects])
            for group, tokens in enumerate(self.tokens)
        ]

    def _seen(self, labels: Tensor) -> list[Tensor]:
        if len(self.memories) == 1:
            return [labels]
        return [group[None] for group in split_labels(labels[0], self.num_objects[0])]


def assert_close(ours: Tensor, theirs: np.ndarray, what: str) -> None:
    values = ours.numpy()
    assert values.shape == theirs.shape, f"{what}: {values.shape}, published {theirs.shape}"
    used = np.abs(theirs) < CLAMPED if len(theirs) > 11 else theirs > -1e9
    error = np.abs(values - theirs)[used].max() / np.abs(theirs[used]).max()
    print(f"{what}: {error:.1e}")
    assert error < CLOSE, f"{what}: largest relative difference {error:.2e}"
    assert np.allclose(values[~used], theirs[~used], rtol=1e-4), f"{what}: unused channels"


def assert_labels(ours: Tensor, theirs: np.ndarray, what: str) -> None:
    equal = float((ours.numpy() == theirs).mean())
    print(f"{what}: {equal:.6f} equal")
    assert equal >= EQUAL, f"{what}: {equal:.5f} of the labels are equal"


def replay_taught(network: AOTNetwork, case: Case, name: str) -> None:
    """Cases in which the stored labels are fed back, whatever was predicted."""
    arrays, groups = case.arrays, Groups(Engine(network, rule=case.rule()))
    for t in range(case.num_frames):
        features, labels = case.features(network, t), case.labels[:, t]
        if t == 0:
            groups.reference(features, labels, case.num_objects(0))
        else:
            groups.propagate(features)
        compare_step(groups, features, arrays, t, name)
        if t and case.num_objects(t) != case.num_objects(t - 1):
            groups.reference(features, labels, case.num_objects(t))
            merged = merge_groups(torch.cat(groups.logits(features)))
            assert_close(merged, arrays[f"logits_after_reref_t{t}"], f"{name} reference at {t}")
        if t:
            groups.update(features, labels)
            if "long_mem_frames_after_update" in arrays:
                assert groups.memories[0].long_frames == arrays["long_mem_frames_after_update"][t - 1], f"{name} {t}"
    if "logits_up_last" in arrays:
        size = arrays["logits_up_last"].shape[-2:]
        last = network.resize(groups.logits(features)[0], size)
        assert_close(last[0, : case.num_objects(0)[0] + 1], arrays["logits_up_last"], f"{name} resized")


def compare_step(groups: Groups, features: Features, arrays: dict[str, np.ndarray], t: int, name: str) -> None:
    """What a case stores of one step."""
    logits = groups.logits(features)
    if "logits" in arrays:
        theirs = arrays["logits"][t] if arrays["logits"].ndim == 5 else arrays["logits"][t][None]
        for row, k in enumerate(groups.num_objects):
            assert_close(logits[0][row, : k + 1], theirs[row, : k + 1], f"{name} row {row} frame {t}")
    if f"logits_t{t}" in arrays:
        assert_close(merge_groups(torch.cat(logits)), arrays[f"logits_t{t}"], f"{name} frame {t}")
    if "merged_logits" in arrays and t:
        for group, (ours, theirs) in enumerate(zip(logits, arrays["engine_logits"][t - 1], strict=True)):
            assert_close(ours[0], theirs, f"{name} frame {t} group {group}")
        assert_close(merge_groups(torch.cat(logits)), arrays["merged_logits"][t - 1], f"{name} frame {t} merged")
        full = merge_groups(groups.engine.network.resize(torch.cat(logits), arrays["labels_u8"].shape[-2:]))
        assert_labels(full.argmax(dim=0), arrays["merged_labels_full"][t - 1], f"{name} frame {t} merged")


def replay_fed(network: AOTNetwork, case: Case, name: str) -> None:
    """Cases in closed loop: the prediction at the label's size is what is fed back."""
    arrays, first = case.arrays, torch.from_numpy(case.arrays["label0_u8"]).long()
    size = tuple(first.shape)
    label = nearest(first, case.size)
    if "label0_net_u8" in arrays:
        assert (label.numpy() == arrays["label0_net_u8"]).all()
    lockstep = LockStep(
        Engine(network, rule=case.rule()), case.features(network, 0), label[None], case.meta["obj_nums"]
    )
    for t in range(1, case.num_frames):
        lockstep.step(case.features(network, t))
        probability = lockstep.probability(size)
        labels = most_likely(probability)
        fed = nearest(labels, case.size)
        assert_labels(labels[0], arrays["pred_labels_u8"][t - 1], f"{name} frame {t}")
        if "fed_labels_net_u8" in arrays:
            assert_labels(fed[0], arrays["fed_labels_net_u8"][t - 1], f"{name} frame {t} fed")
        lockstep.feed(fed)
    if "logits_up_last" in arrays:
        theirs = torch.from_numpy(arrays["logits_up_last"]).softmax(dim=0).numpy()
        assert_close(probability[0], theirs, f"{name} probability at the original size")


@published()
@torch.inference_mode()
def test_every_case(layout: str, file: str) -> None:
    with np.load(REFERENCE / "cases" / file, allow_pickle=False) as stored:
        network = published_network(layout, int(stored["seed"]))
        names = sorted({key.partition("/")[0] for key in stored.files if "/" in key})
        assert names
        for name in names:
            prefix = f"{name}/"
            case = Case({k.removeprefix(prefix): stored[k] for k in stored.files if k.startswith(prefix)})
            replay = replay_fed if "label0_u8" in case.arrays else replay_taught
            replay(network, case, f"{layout} {name}")


@pytest.mark.needs("reference")
@pytest.mark.parametrize("layout", ["aott", "aotl", "r50_aotl"])
@torch.inference_mode()
def test_the_benchmark_s_plain_side(layout: str) -> None:
    """What the engine is measured against computes the published function too."""
    plain = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "plain_aot.py"))["PlainAOT"]
    with np.load(REFERENCE / "cases" / f"{layout}.npz", allow_pickle=False) as stored:
        weights, arrays = published_weights(layout, int(stored["seed"])), dict(stored)
    for name in ("base", "gap2", "wide"):
        prefix = f"{name}/"
        if f"{prefix}meta" not in arrays:
            continue
        case = Case({key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)})
        sequence = plain(weights, gap=case.meta["long_term_mem_gap"])
        sequence.reference(case.image(0)[0], case.labels[0, 0], case.num_objects(0)[0])
        for t in range(1, case.num_frames):
            logits = sequence.propagate(case.image(t)[0])
            assert_close(logits, case.arrays["logits"][t], f"plain {layout} {name} frame {t}")
            sequence.update(case.labels[0, t])


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
