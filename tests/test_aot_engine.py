"""The recurrence: what is batched, grouped, dropped or folded gives what each sequence gives alone."""

from __future__ import annotations

from collections.abc import Sequence

import aot_scenes as scenes
import numpy as np
import pytest
import torch
from torch import Tensor

from coprop_plugin.errors import CoPropError
from coprop_plugin.layers.frozen_norm import FrozenBatchNorm, fold_norms
from coprop_plugin.propagators.aot import attention
from coprop_plugin.propagators.aot.engine import Engine
from coprop_plugin.propagators.aot.grid import Grid
from coprop_plugin.propagators.aot.lockstep import LockStep
from coprop_plugin.propagators.aot.memory import Memory, MemoryRule
from coprop_plugin.propagators.aot.network import AOTNetwork, Features
from coprop_plugin.propagators.aot.objects import merge_groups, split_labels
from coprop_plugin.propagators.aot.preprocess import nearest, network_size, to_input

NUM_FRAMES = 6


@pytest.fixture(scope="module")
def network() -> AOTNetwork:
    return scenes.network("aotl")


def encoded(network: AOTNetwork, seed: int, *, num_frames: int = NUM_FRAMES) -> list[Features]:
    with torch.inference_mode():
        return [network.encode(to_input([f], torch.device("cpu"))) for f in scenes.frames(num_frames, seed=seed)]


def taught(num_objects: int, seed: int, *, num_frames: int = NUM_FRAMES) -> Tensor:
    return torch.from_numpy(np.stack([scenes.labels(num_objects, seed=seed + t) for t in range(num_frames)]))


@torch.inference_mode()
def probabilities(
    engine: Engine, features: Sequence[Features], labels: Tensor, num_objects: Sequence[int], lengths: Sequence[int]
) -> list[list[Tensor]]:
    """Per sequence the probability of each frame after the first; ``labels (R, T, H, W)`` are fed back."""
    lockstep = LockStep(engine, features[0], labels[:, 0], num_objects)
    found: list[list[Tensor]] = [[] for _ in num_objects]
    for t in range(1, len(features)):
        active = sum(length > t for length in lengths)
        lockstep.keep(active)
        lockstep.step(features[t].rows(slice(active)))
        for row, probability in enumerate(lockstep.probability(scenes.SIZE)):
            found[row].append(probability[: num_objects[row] + 1])
        lockstep.feed(labels[:active, t])
    return found


@pytest.mark.parametrize("num_objects", [(2, 3, 1), (13, 2, 12)], ids=["one group", "several groups"])
def test_batched_equals_single(network: AOTNetwork, num_objects: tuple[int, ...]) -> None:
    """Sequences of different lengths and numbers of objects, some with two identity groups."""
    engine = Engine(network, rule=MemoryRule(2, max_frames=2))
    lengths = (6, 6, 3)
    each = [encoded(network, seed) for seed in range(3)]
    labels = torch.stack([taught(k, seed) for seed, k in enumerate(num_objects)])
    together = probabilities(
        engine, [Features.join(step) for step in zip(*each, strict=True)], labels, num_objects, lengths
    )
    for row, k in enumerate(num_objects):
        alone = probabilities(engine, each[row][: lengths[row]], labels[row : row + 1], [k], [lengths[row]])[0]
        assert len(alone) == len(together[row]) == lengths[row] - 1
        for a, b in zip(alone, together[row], strict=True):
            torch.testing.assert_close(a, b, atol=scenes.EQUAL, rtol=0)


@torch.inference_mode()
def test_groups_merge_as_engines_that_run_alone(network: AOTNetwork) -> None:
    """13 objects: two rows of one batch against two engines, each with the labels that it sees."""
    features, labels = encoded(network, 0, num_frames=3), taught(13, 0, num_frames=3)
    engine = Engine(network, rule=MemoryRule(2))
    together = probabilities(engine, features, labels[None], [13], [3])[0][-1]
    logits = []
    views = torch.stack([split_labels(frame, 13) for frame in labels], dim=1)
    for seen, used in zip(views, (10, 3), strict=True):
        memory = engine.new_memory()
        for t, frame in enumerate(features):
            tokens = engine.propagate(memory, frame) if t else engine.reference(memory, frame, seen[:1])
            logits.append(network.resize(engine.decode(tokens, frame, [used]), scenes.SIZE))
            engine.update(memory, frame, seen[t : t + 1])
    merged = merge_groups(torch.cat([logits[2], logits[5]]))[:14].softmax(dim=0)
    torch.testing.assert_close(together, merged, atol=scenes.EQUAL, rtol=0)


def test_merging_is_soft_aggregation() -> None:
    logits = torch.randn(2, 11, 3, 4, generator=torch.Generator().manual_seed(0))
    probability = logits.softmax(dim=1)
    merged = merge_groups(logits).sigmoid()
    torch.testing.assert_close(merged[0], probability[0, 0] * probability[1, 0])
    torch.testing.assert_close(merged[11:], probability[1, 1:])
    assert torch.equal(merge_groups(logits[:1]), logits[0])


def test_split_labels_shows_each_group_its_own_objects() -> None:
    labels = torch.tensor([[0, 1, 10, 11, 13, 255]])
    assert split_labels(labels, 13).tolist() == [[[0, 1, 10, 0, 0, 0]], [[0, 0, 0, 1, 3, 0]]]
    assert split_labels(labels, 10).tolist() == [labels.tolist()]


class TestMemory:
    """Which frames stay, told apart by the value of their keys."""

    @staticmethod
    def entry(value: int) -> list:
        from coprop_plugin.propagators.aot.layer import Entry

        return [Entry(torch.full((1, 2, 1), float(value)), torch.full((1, 2, 1), float(value)))]

    def kept(self, rule: MemoryRule, num_frames: int) -> tuple[list[int], list[int]]:
        memory, sizes = Memory(rule), []
        memory.add_reference(self.entry(0))
        for t in range(1, num_frames):
            memory.step()
            memory.add(self.entry(t))
            sizes.append(memory.num_bytes)
        keys = memory.read()[0].long.keys[0, ::2, 0].int().tolist()
        assert memory.long_frames == len(keys)
        return keys, sizes

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            (MemoryRule(5, None), [0, 5, 10, 15, 20]),
            (MemoryRule(5, 3), [0, 15, 20]),
            (MemoryRule(5, 1), [0]),
            (MemoryRule(9999, None), [0]),
            (MemoryRule(1, 4), [0, 19, 20, 21]),
        ],
    )
    def test_the_first_and_the_newest_frames_stay(self, rule: MemoryRule, expected: list[int]) -> None:
        assert self.kept(rule, 22)[0] == expected

    def test_bytes_stop_growing(self) -> None:
        _, sizes = self.kept(MemoryRule(2, 5), 400)
        assert max(sizes) == sizes[10] == sizes[-1]

    def test_skip_reads_an_older_frame(self) -> None:
        memory = Memory(MemoryRule(9999, skip_frames=2))
        memory.add_reference(self.entry(0))
        read = []
        for t in range(1, 5):
            memory.step()
            read.append(int(memory.read()[0].short.keys[0, 0, 0]))
            memory.add(self.entry(t))
        assert read == [0, 0, 1, 2]

    def test_refuses_no_memory(self) -> None:
        with pytest.raises(CoPropError, match="at least 1, got 5, 1 and 0"):
            MemoryRule(5, 0)


@torch.inference_mode()
def test_ring_equals_unbounded_until_it_is_full(network: AOTNetwork) -> None:
    features, labels = encoded(network, 1), taught(2, 1)[None]
    free, ring, small = (
        probabilities(Engine(network, rule=MemoryRule(1, most)), features, labels, [2], [NUM_FRAMES])[0]
        for most in (None, 4, 2)
    )
    for a, b in zip(free[:4], ring[:4], strict=True):
        assert torch.equal(a, b)
    assert not torch.allclose(free[-1], small[-1], atol=1e-6)


@torch.inference_mode()
def test_folding_changes_rounding_only(network: AOTNetwork) -> None:
    folded = scenes.network("aotl")
    fold_norms(folded)
    assert not any(isinstance(module, FrozenBatchNorm) for module in folded.modules())
    image = to_input(list(scenes.frames(1)), torch.device("cpu"))
    for plain, ours in zip(network.encoder(image), folded.encoder(image), strict=True):
        assert (plain - ours).abs().max() < 1e-5 * plain.abs().max()


@torch.inference_mode()
@pytest.mark.parametrize("heads", [8, 1])
def test_local_attention_in_blocks_equals_its_definition(monkeypatch: pytest.MonkeyPatch, heads: int) -> None:
    """Against masked attention over the whole grid, with blocks of two rows and one sequence."""
    grid, generator = Grid.of(9, 20), torch.Generator().manual_seed(0)
    local = attention.LocalAttention(32 * heads, heads=heads, relative_values=heads > 1)
    for parameter in local.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    q, k, v = (torch.randn(2, 180, 32 * heads, generator=generator) for _ in range(3))
    whole = local.mix(q, k, v, grid)
    monkeypatch.setitem(attention.BLOCK_LOGITS, "cpu", 1000)
    torch.testing.assert_close(local.mix(q, k, v, grid), whole, atol=1e-5, rtol=1e-5)

    y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(9), torch.arange(20), indexing="ij"))
    dy, dx = y[None, :] - y[:, None], x[None, :] - x[:, None]
    inside = (dy.abs() <= 7) & (dx.abs() <= 7)
    place = ((dy + 7) * 15 + dx + 7).clamp(0, 224)
    maps = q.transpose(1, 2).unflatten(2, (9, 20))
    bias = local.relative_emb_k(maps).view(2, heads, 225, 180).transpose(2, 3)
    bias = bias.gather(3, place.expand(2, heads, -1, -1))
    qh, kh, vh = (attention.split_heads(tokens, heads) for tokens in (q, k, v))
    logits = (qh @ kh.transpose(-1, -2) / 32**0.5 + bias).masked_fill(~inside, -torch.inf)
    weight = logits.softmax(dim=-1)
    mixed = weight @ vh
    if local.relative_emb_v is not None:
        table = local.relative_emb_v.transpose(1, 2)[:, place]  # (heads, N, N, d)
        mixed = mixed + torch.einsum("bhnm,hnmd->bhnd", weight, table)
    torch.testing.assert_close(attention.merge_heads(mixed), whole, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_wide_values_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(2, 50, 16), torch.randn(2, 70, 16), torch.randn(2, 70, 64)
    whole = attention.attend(q, k, v, heads=1)
    monkeypatch.setitem(attention.BLOCK_LOGITS, "cpu", 200)
    torch.testing.assert_close(attention.attend(q, k, v, heads=1), whole)
    torch.testing.assert_close(whole, (q @ k.transpose(1, 2) / 4).softmax(dim=-1) @ v)


def test_gradients_reach_every_weight(network: AOTNetwork) -> None:
    """Training uses the same code: every weight has a part in the second frame's logits, the unused ones apart."""
    network = scenes.network("aott").requires_grad_(True)
    engine, labels = Engine(network), taught(10, 0, num_frames=2)
    memory = engine.new_memory()
    first, second = (network.encode(to_input([frame], torch.device("cpu"))) for frame in scenes.frames(2))
    engine.reference(memory, first, labels[:1])
    engine.decode(engine.propagate(memory, second), second, [10])[0].square().mean().backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    ("size", "align_corners", "expected"),
    [
        ((224, 224), True, (225, 225)),
        ((1080, 1920), True, (577, 1041)),
        ((480, 854), False, (480, 848)),
        ((3, 3), True, (17, 17)),
    ],
)
def test_network_size(size: tuple[int, int], align_corners: bool, expected: tuple[int, int]) -> None:
    assert network_size(*size, align_corners=align_corners) == expected


@pytest.mark.parametrize(
    ("size", "short_px", "expected"),
    [
        ((240, 432), 336, (336, 608)),
        ((224, 224), 336, (336, 336)),
        ((480, 854), 336, (336, 592)),
        ((96, 96), 336, (336, 336)),
        ((100, 1000), 336, (64, 640)),
        ((240, 432), None, (240, 432)),
    ],
)
def test_frames_are_enlarged_to_a_shorter_side_on_request_alone(
    size: tuple[int, int], short_px: int | None, expected: tuple[int, int]
) -> None:
    found = network_size(
        *size, align_corners=False, max_side_px=640, max_short_side_px=short_px, enlarge=short_px is not None
    )
    assert found == expected


def test_nearest_takes_the_floor() -> None:
    labels = torch.arange(10)[None, None].expand(1, 4, 10)
    assert nearest(labels, (2, 4))[0, 0].tolist() == [0, 2, 5, 7]
    assert torch.equal(nearest(labels, (4, 10)), labels)
