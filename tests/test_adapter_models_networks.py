"""The published networks by themselves: stored numbers of verified builds, and what must not change the result."""

from __future__ import annotations

import functools
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rule_weights import noise, rule_network, sounds
from torch import Tensor, nn
from vct_cases import small

from coprop_plugin.adapters.aavs.network import Aavs, AavsConfig
from coprop_plugin.adapters.avsegformer.network import AVSegFormer
from coprop_plugin.adapters.catr.network import Catr, choose_mask
from coprop_plugin.adapters.images import as_in_avsbench, normalise, resize_bilinear
from coprop_plugin.adapters.tpavi.attention import Tpavi
from coprop_plugin.adapters.tpavi.network import TpaviNet
from coprop_plugin.adapters.vct.network import Vct
from coprop_plugin.errors import CoPropError
from coprop_plugin.layers.deformable import DeformableAttention, token_centres
from coprop_plugin.layers.mask2former import class_scores
from coprop_plugin.layers.positions import sine_position
from coprop_plugin.layers.pvt_v2 import PvtV2B5
from coprop_plugin.layers.resnet import ResNet50

GOLDEN = Path(__file__).parent / "data" / "adapter_networks_golden.npz"
SMALL_STAGE_1 = AavsConfig(
    stage=1,
    queries=10,
    classes=2,
    embed_dim=32,
    depths=(2, 2, 2, 2),
    heads=(1, 2, 4, 8),
    window=4,
    encoder_layers=2,
    encoder_hidden=64,
    decoder_layers=4,
    decoder_hidden=64,
)
SMALL_STAGE_2 = replace(SMALL_STAGE_1, stage=2, queries=12, classes=71)


def frames(n: int, height: int = 64, width: int = 64) -> Tensor:
    return normalise(noise(n, height, width, 3))


def run_pvt() -> list[Tensor]:
    return [x[:, ::16] for x in network_of(PvtV2B5)(frames(1, 64, 96))]


def run_resnet() -> list[Tensor]:
    return [x[:, ::32, ::2, ::2] for x in network_of(ResNet50)(frames(1, 64, 96))]


def run_avsegformer() -> list[Tensor]:
    network = network_of(avsegformer)
    logits, feature = network.head(network.backbone(frames(1)), network.audio_proj(sounds(1, 128))[:, None])
    return [logits[..., ::4, ::4], feature[:, ::16, ::4, ::4]]


def run_tpavi() -> list[Tensor]:
    return [network_of(tpavi)(frames(5), sounds(5, 128))[..., ::8, ::8]]


def run_catr() -> list[Tensor]:
    output = network_of(Catr)(frames(5), sounds(1, 5, 128))
    return [output.masks[-1, :, ::5], output.referred[-1, :, ::5]]


def run_aavs_1() -> list[Tensor]:
    output = network_of(aavs_1)(frames(2), sounds(2, 128))
    return [output.classes, output.masks[..., ::2, ::2], class_scores(output, (384, 384))[..., ::32, ::32]]


def run_aavs_2() -> list[Tensor]:
    boost = torch.zeros(2, 16, 16)
    boost[0, 4:8, 4:8], boost[0, 8:12, 4:8] = 1, 0.5
    output = network_of(aavs_2)(frames(2), sounds(2, 128), boost=boost)
    return [output.classes[..., ::8], output.masks[..., ::2, ::2]]


def run_vct() -> list[Tensor]:
    pictures = normalise(noise(2, 128, 128, 3, seed=1))
    output = network_of(vct)(frames(2, 128, 128), pictures, sounds(2, 1, 96, 64))
    return [output.classes, output.masks[..., ::2, ::2], class_scores(output, (128, 128))[..., ::32, ::32]]


def avsegformer() -> AVSegFormer:
    network = AVSegFormer(backbone="resnet50", classes=1)
    network.vggish = nn.Identity()  # type: ignore[assignment]  # its parity is its own test's
    return network


def tpavi() -> TpaviNet:
    return TpaviNet(backbone="resnet50", classes=1)


def aavs_1() -> Aavs:
    return Aavs(SMALL_STAGE_1)


def aavs_2() -> Aavs:
    return Aavs(SMALL_STAGE_2)


def vct() -> Vct:
    return Vct(small("s4"))


@functools.lru_cache(maxsize=8)
def network_of(make: Callable[[], nn.Module]) -> nn.Module:
    return rule_network(make)


RUNS = {
    "pvt_v2_b5": run_pvt,
    "resnet50": run_resnet,
    "avsegformer": run_avsegformer,
    "tpavi": run_tpavi,
    "catr": run_catr,
    "aavs stage 1": run_aavs_1,
    "aavs stage 2": run_aavs_2,
    "vct": run_vct,
}


@pytest.mark.parametrize("name", RUNS)
def test_stored_numbers_of_the_verified_networks(name: str) -> None:
    """Written when every published case agreed; see ``write_golden``."""
    with torch.inference_mode():
        outputs = RUNS[name]()
    with np.load(GOLDEN, allow_pickle=False) as golden:
        for i, output in enumerate(outputs):
            expected = golden[f"{name}.{i}"]
            assert np.abs(output.numpy() - expected).max() < 5e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["pvt_v2_b5", "avsegformer", "tpavi", "vct"])
def test_the_benchmark_computes_the_same_plainly(name: str) -> None:
    plain = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "plain_adapters.py"))
    with plain["plainly"]():
        test_stored_numbers_of_the_verified_networks(name)


@torch.inference_mode()
def write_golden() -> None:
    """Store the numbers again; only after ``tests/parity`` passed on all published cases."""
    arrays = {f"{name}.{i}": x.numpy() for name, run in RUNS.items() for i, x in enumerate(run())}
    np.savez_compressed(GOLDEN, **arrays)


@pytest.mark.parametrize("name", ["avsegformer", "aavs stage 1"])
@torch.inference_mode()
def test_bfloat16_stays_close(name: str) -> None:
    exact = RUNS[name]()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = RUNS[name]()
    for a, b in zip(exact, rounded, strict=True):
        assert 1e-4 < (a - b.float()).abs().max() / a.abs().max() < 0.05


@torch.inference_mode()
def test_frames_of_avsegformer_never_meet() -> None:
    network, images, heard = network_of(avsegformer), frames(3), sounds(3, 128)
    whole = network(images, heard)
    for t in range(3):
        alone = network(images[t : t + 1], heard[t : t + 1])
        torch.testing.assert_close(
            alone.logits[0], whole.logits[t], rtol=0, atol=2e-5 * float(whole.logits.abs().max())
        )


@torch.inference_mode()
def test_flagged_frames_of_avsegformer_are_exactly_zero() -> None:
    network, images, heard = network_of(avsegformer), frames(2), sounds(2, 128)
    masked, whole = network(images, heard, flag=torch.tensor([1.0, 0.0])), network(images, heard)
    torch.testing.assert_close(masked.logits[0], whole.logits[0])
    assert not masked.logits[1].any() and not masked.mask_feature[1].any()


@torch.inference_mode()
def test_frames_of_aavs_never_meet() -> None:
    network, images, heard = network_of(aavs_1), frames(2), sounds(2, 128)
    whole = network(images, heard)
    alone = network(images[1:], heard[1:])
    torch.testing.assert_close(alone.masks[0], whole.masks[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(alone.classes[0], whole.classes[1], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_tpavi_is_the_published_product_without_its_matrix() -> None:
    """Written out as published: ``(theta phi^T / M) g`` over all M pixels of a group."""
    block = rule_network(lambda: Tpavi(audio_bias=True))
    x, heard, t, h, w = torch.randn(5, 256, 3, 4), sounds(5, 128), 5, 3, 4
    grouped = x.unflatten(0, (1, t)).transpose(1, 2)  # (1, C, T, h, w)
    audio = block.align_channel(heard).T.view(1, 256, t, 1, 1).expand(-1, -1, -1, h, w)
    theta, phi, g = (
        conv(v).flatten(2)[0].T for conv, v in ((block.theta, grouped), (block.phi, audio), (block.g, grouped))
    )
    seen = (theta @ phi.T / len(theta)) @ g
    plain = block.W_z(seen.T.reshape(1, 128, t, h, w)) + grouped
    plain = block.norm_layer(plain.permute(0, 2, 3, 4, 1))[0].permute(0, 3, 1, 2)
    torch.testing.assert_close(block(x, heard, t), plain, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_frame_alone_is_the_frame_shown_five_times() -> None:
    """What mode "frame" of TPAVI and CATR rests on: equal frames need not be computed five times."""
    image, heard = frames(1), sounds(1, 128)
    five = network_of(tpavi)(image.expand(5, -1, -1, -1), heard.expand(5, -1))
    torch.testing.assert_close(network_of(tpavi)(image, heard, group_frames=1)[0], five[3], rtol=1e-4, atol=1e-4)

    rows = heard.expand(5, -1)[None]
    five, alone = network_of(Catr)(image.expand(5, -1, -1, -1), rows), network_of(Catr)(image, rows)
    torch.testing.assert_close(alone.masks[:, 0], five.masks[:, 3], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(alone.referred[:, 0], five.referred[:, 3], rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_catr_does_not_hear_the_order_of_its_five_seconds() -> None:
    heard = sounds(1, 5, 128)
    forwards, backwards = network_of(Catr)(frames(5), heard), network_of(Catr)(frames(5), heard.flip(1))
    torch.testing.assert_close(backwards.masks, forwards.masks, rtol=1e-3, atol=1e-3)


def test_catr_takes_the_first_of_equal_queries() -> None:
    masks = torch.arange(2 * 3 * 4.0).view(1, 6, 2, 2)
    referred = torch.tensor([[[0.0, 0], [2, 1], [3, 2], [0, 0], [1, 0], [0, 9]]])  # queries 1, 2 and 4 are equal
    logits, query = choose_mask(masks, referred, (2, 2))
    assert query.tolist() == [1]
    torch.testing.assert_close(logits[0], masks[0, 1])


@torch.inference_mode()
def test_deformable_attention_reads_what_lies_under_its_points() -> None:
    """One point a level without offset and equal weights: the mean over levels of the bilinear value at the token."""
    sizes = [(4, 6), (2, 3)]
    layer = DeformableAttention(8, heads=2, levels=2, points=1)
    for parameter in layer.parameters():
        parameter.zero_()
    layer.value_proj.weight.copy_(torch.eye(8))
    layer.output_proj.weight.copy_(torch.eye(8))
    x = torch.randn(1, 4 * 6 + 2 * 3, 8)
    centres = token_centres(sizes, device=x.device)
    result = layer(torch.randn_like(x), x, sizes, centres)
    maps = [
        piece.transpose(1, 2).unflatten(-1, size) for piece, size in zip(x.split([24, 6], dim=1), sizes, strict=True)
    ]
    expected = sum(
        torch.nn.functional.grid_sample(m, 2 * centres[None, None] - 1, align_corners=False)[0, :, 0].T for m in maps
    ) / len(maps)  # fmt: skip
    torch.testing.assert_close(result[0], expected)
    token = 1 * 6 + 4  # of the finer level itself: its own value
    torch.testing.assert_close(centres[token], torch.tensor([4.5 / 6, 1.5 / 4]))


def test_positions_count_rows_first_and_from_one() -> None:
    plain = sine_position(2, 3, normalised=False, device=torch.device("cpu"))
    assert plain.shape == (6, 256)
    torch.testing.assert_close(plain[4, :2], torch.stack([torch.tensor(2.0).sin(), torch.tensor(2.0).cos()]))
    torch.testing.assert_close(plain[2, 128], torch.tensor(3.0).sin())
    normalised = sine_position(2, 3, normalised=True, device=torch.device("cpu"))
    torch.testing.assert_close(normalised[0, 0], torch.tensor(torch.pi).sin(), atol=1e-5, rtol=0)


def test_pvt_refuses_frames_that_its_kernels_outgrow() -> None:
    with pytest.raises(CoPropError, match=r"at least 29x29 px, got \(64, 28\)"), torch.device("meta"):
        PvtV2B5()(torch.zeros(1, 3, 64, 28))


def test_frames_of_the_right_size_are_not_resampled() -> None:
    picture = noise(2, 32, 48, 3)
    np.testing.assert_array_equal(resize_bilinear(picture, (32, 48)), picture)
    assert resize_bilinear(picture, (20, 10)).shape == (2, 20, 10, 3)


def test_s4_frames_are_made_as_avsbench_made_them() -> None:
    picture = noise(448, 672, 3)
    small = as_in_avsbench(picture)
    assert small.shape == (224, 224, 3)
    # no antialiasing: OpenCV's bilinear reads two neighbours a side, here of exactly half and a third of the size
    expected = (picture[0::2][:, 1::3].astype(int) + picture[1::2][:, 1::3]) / 2
    assert np.abs(small - expected).max() <= 1
    assert as_in_avsbench(small) is small


@pytest.mark.needs("gpu")
@pytest.mark.parametrize("make", [avsegformer, tpavi, Catr, aavs_1], ids=lambda make: make.__name__)
@torch.inference_mode()
def test_gpu_equals_cpu(make: Callable[[], nn.Module]) -> None:
    inputs = frames(5), sounds(1, 5, 128) if make is Catr else sounds(5, 128)
    network = rule_network(make)
    ours = network(*inputs)
    ours = [ours] if isinstance(ours, Tensor) else list(ours)
    theirs = network.cuda()(*(x.cuda() for x in inputs))
    theirs = [theirs] if isinstance(theirs, Tensor) else list(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b.cpu()).abs().max()) < 1e-3 * float(a.abs().max())
