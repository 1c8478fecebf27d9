"""Published cases of the AOT family, replayed on any device; needs nothing but torch, numpy and the package."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.propagators.aot.config import MODELS
from coprop_plugin.propagators.aot.engine import Engine
from coprop_plugin.propagators.aot.lockstep import LockStep
from coprop_plugin.propagators.aot.memory import Memory, MemoryRule
from coprop_plugin.propagators.aot.network import AOTNetwork, Features
from coprop_plugin.propagators.aot.objects import merge_groups, num_groups, objects_of_group, split_labels
from coprop_plugin.propagators.aot.preprocess import most_likely, nearest, to_input
from coprop_plugin.propagators.aot.runtime import prepare

CLAMPED = 11.51  # merged logits at the clamp are left out


def published_weights(reference: Path, layout: str, seed: int) -> dict[str, Tensor]:
    """The stand-in weights that the cases were made with, by the rule beside them."""
    spec = importlib.util.spec_from_file_location("fill", reference / "fill.py")
    assert spec and spec.loader
    rule: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    state = rule.make_state_dict(reference / "layouts" / f"{layout}.json", seed)
    return {name: torch.from_numpy(np.asarray(value)) for name, value in state.items()}


def published_network(reference: Path, layout: str, file: str, *, device: str = "cpu") -> AOTNetwork:
    """The network that a case file was made with, ready for inference."""
    with np.load(reference / "cases" / file, allow_pickle=False) as stored:
        seed = int(stored["seed"])
    network = AOTNetwork.from_state(MODELS[layout], published_weights(reference, layout, seed))
    return prepare(network, torch.device(device))


class Case:
    """The arrays of one case, time first."""

    def __init__(self, arrays: dict[str, np.ndarray], device: str = "cpu") -> None:
        self.arrays, self.device = arrays, torch.device(device)
        self.meta = json.loads(str(arrays["meta"]))
        frames = arrays["frames_u8"]
        self.frames = frames[None] if frames.ndim == 4 else frames  # (B, T, 3, H, W)
        self.num_frames = self.frames.shape[1]
        self.size = self.frames.shape[-2:]
        if "labels_u8" in arrays:
            labels = torch.from_numpy(arrays["labels_u8"]).long().to(self.device)
            self.labels = labels[None] if labels.ndim == 3 else labels

    def image(self, t: int) -> Tensor:
        frames = [np.ascontiguousarray(frame.transpose(1, 2, 0)) for frame in self.frames[:, t]]
        return to_input(frames, self.device)

    def features(self, network: AOTNetwork, t: int) -> Features:
        image = self.image(t)
        if t == 0 and "frame0_norm_crop" in self.arrays:
            np.testing.assert_allclose(image[0, :, :8, :8].cpu(), self.arrays["frame0_norm_crop"], atol=1e-5)
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


@dataclass
class Report:
    """What a replay found.

    Attributes:
        differences: largest difference over largest published value, of every comparison of numbers.
        equal: share of equal labels, of every comparison of label maps.
    """

    differences: dict[str, float] = field(default_factory=dict)
    equal: dict[str, float] = field(default_factory=dict)

    def close(self, ours: Tensor, theirs: np.ndarray, what: str) -> None:
        values = ours.cpu().numpy()
        if values.shape != theirs.shape:
            raise ValueError(f"{what}: {values.shape}, published {theirs.shape}")
        used = np.abs(theirs) < CLAMPED if len(theirs) > 11 else theirs > -1e9
        self.differences[what] = float(np.abs(values - theirs)[used].max() / np.abs(theirs[used]).max())
        if not np.allclose(values[~used], theirs[~used], rtol=1e-4):
            self.differences[f"{what}: unused channels"] = np.inf

    def labels(self, ours: Tensor, theirs: np.ndarray, what: str) -> None:
        self.equal[what] = float((ours.cpu().numpy() == theirs).mean())


def replay_file(network: AOTNetwork, file: Path, report: Report, *, device: str = "cpu") -> None:
    """Every case of a file, by what its arrays and its ``meta`` say."""
    with np.load(file, allow_pickle=False) as stored:
        names = sorted({key.partition("/")[0] for key in stored.files if "/" in key})
        if not names:
            raise ValueError(f"{file} holds no case")
        for name in names:
            prefix = f"{name}/"
            arrays = {key.removeprefix(prefix): stored[key] for key in stored.files if key.startswith(prefix)}
            replay = replay_fed if "label0_u8" in arrays else replay_taught
            replay(network, Case(arrays, device), f"{file.stem} {name}", report)


def replay_taught(network: AOTNetwork, case: Case, name: str, report: Report) -> None:
    """Cases in which the stored labels are fed back, whatever was predicted."""
    arrays, groups = case.arrays, Groups(Engine(network, rule=case.rule()))
    for t in range(case.num_frames):
        features, labels = case.features(network, t), case.labels[:, t]
        if t == 0:
            groups.reference(features, labels, case.num_objects(0))
        else:
            groups.propagate(features)
        compare_step(groups, features, arrays, t, name, report)
        if t and case.num_objects(t) != case.num_objects(t - 1):
            groups.reference(features, labels, case.num_objects(t))
            merged = merge_groups(torch.cat(groups.logits(features)))
            report.close(merged, arrays[f"logits_after_reref_t{t}"], f"{name} reference at {t}")
        if t:
            groups.update(features, labels)
            if "long_mem_frames_after_update" in arrays:
                kept = groups.memories[0].long_frames == arrays["long_mem_frames_after_update"][t - 1]
                report.equal[f"{name} {t} frames in the long-term memory"] = float(kept)
    if "logits_up_last" in arrays:
        size = arrays["logits_up_last"].shape[-2:]
        last = network.resize(groups.logits(features)[0], size)
        report.close(last[0, : case.num_objects(0)[0] + 1], arrays["logits_up_last"], f"{name} resized")


def compare_step(
    groups: Groups, features: Features, arrays: dict[str, np.ndarray], t: int, name: str, report: Report
) -> None:
    """What a case stores of one step."""
    logits = groups.logits(features)
    if "logits" in arrays:
        theirs = arrays["logits"][t] if arrays["logits"].ndim == 5 else arrays["logits"][t][None]
        for row, k in enumerate(groups.num_objects):
            report.close(logits[0][row, : k + 1], theirs[row, : k + 1], f"{name} row {row} frame {t}")
    if f"logits_t{t}" in arrays:
        report.close(merge_groups(torch.cat(logits)), arrays[f"logits_t{t}"], f"{name} frame {t}")
    if "merged_logits" in arrays and t:
        for group, (ours, theirs) in enumerate(zip(logits, arrays["engine_logits"][t - 1], strict=True)):
            report.close(ours[0], theirs, f"{name} frame {t} group {group}")
        report.close(merge_groups(torch.cat(logits)), arrays["merged_logits"][t - 1], f"{name} frame {t} merged")
        full = merge_groups(groups.engine.network.resize(torch.cat(logits), arrays["labels_u8"].shape[-2:]))
        report.labels(full.argmax(dim=0), arrays["merged_labels_full"][t - 1], f"{name} frame {t} merged")


def replay_fed(network: AOTNetwork, case: Case, name: str, report: Report) -> None:
    """Cases in closed loop: the prediction at the label's size is what is fed back."""
    arrays, first = case.arrays, torch.from_numpy(case.arrays["label0_u8"]).long().to(case.device)
    size = tuple(first.shape)
    label = nearest(first, case.size)
    if "label0_net_u8" in arrays:
        report.labels(label, arrays["label0_net_u8"], f"{name} label at network size")
    lockstep = LockStep(
        Engine(network, rule=case.rule()), case.features(network, 0), label[None], case.meta["obj_nums"]
    )
    for t in range(1, case.num_frames):
        lockstep.step(case.features(network, t))
        probability = lockstep.probability(size)
        labels = most_likely(probability)
        fed = nearest(labels, case.size)
        report.labels(labels[0], arrays["pred_labels_u8"][t - 1], f"{name} frame {t}")
        if "fed_labels_net_u8" in arrays:
            report.labels(fed[0], arrays["fed_labels_net_u8"][t - 1], f"{name} frame {t} fed")
        lockstep.feed(fed)
    if "logits_up_last" in arrays:
        theirs = torch.from_numpy(arrays["logits_up_last"]).softmax(dim=0).numpy()
        report.close(probability[0], theirs, f"{name} probability at the original size")
