"""Our networks against the published ones: weights by the published cases' rule, inputs and outputs from the cases.

Every case file whose name begins with a layout's name is taken, with the seed and the inputs that it holds.
"""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from adapter_cases import (
    REFERENCE,
    SHARP,
    assert_close,
    assert_labels,
    assert_stored,
    filled,
    parts,
    published,
    read_case,
    state_of,
    watching,
)
from torch import Tensor, nn

from coprop_plugin.adapters import images
from coprop_plugin.adapters.aavs import network as aavs
from coprop_plugin.adapters.avsegformer import network as avsegformer
from coprop_plugin.adapters.catr import network as catr
from coprop_plugin.adapters.published import PublishedAdapter
from coprop_plugin.adapters.sound import SecondExamples
from coprop_plugin.adapters.tpavi import network as tpavi
from coprop_plugin.audio.vggish import log_mel_examples
from coprop_plugin.layers import pvt_v2, resnet
from coprop_plugin.layers.mask2former import class_scores
from coprop_plugin.media.reader import read_clip
from coprop_plugin.media.sound import read_sound


@published("pvt_v2_b5")
def test_pvt_v2(layout: str, case: str) -> None:
    data = read_case(case)
    network = filled(pvt_v2.PvtV2B5, layout, data, unused=("head.*",))
    compare_maps(network, data)


@published("resnet50_b2")
def test_resnet(layout: str, case: str) -> None:
    data = read_case(case)
    network = filled(resnet.ResNet50, layout, data, unused=resnet.UNUSED)
    compare_maps(network, data)
    # The second branch has the first one's form and its own weights: nothing of the layout is misread.
    state = state_of(layout, int(data["seed"]))
    second = {name: state[re.sub(r"^(layer[34])_1", r"\1_2", name)] for name in network.state_dict()}
    network.load_state_dict(second)
    for name in filter(lambda key: "branch2" in key, data):
        prefix, i, c = re.fullmatch(r"(.+)\.branch2_feat(\d)_c(\d+)", name).groups()
        with torch.inference_mode():
            maps = network(images.normalise(data[f"{prefix}.frames_u8"]))
        assert_close(maps[int(i) - 1][:, :: int(c)], data[name], name)


def compare_maps(network: nn.Module, data: dict[str, np.ndarray]) -> None:
    for part in parts(data):
        with torch.inference_mode():
            maps = network(images.normalise(data[f"{part}.frames_u8"]))
        for i, ours in enumerate(maps, start=1):
            assert tuple(ours.shape) == tuple(data[f"{part}.feat{i}_shape"])
        names = [match for name in data if (match := re.fullmatch(rf"{part}\.feat(\d)_c(\d+)_s(\d+)", name))]
        assert names, f"nothing to compare in {part}"
        for match in names:
            i, c, s = map(int, match.groups())
            assert_close(maps[i - 1][:, ::c, ::s, ::s], data[match[0]], match[0], within=SHARP)


@published("avsegformer_")
def test_avsegformer(layout: str, case: str) -> None:
    data = read_case(case)
    backbone = "pvt_v2_b5" if "_pvt2_" in layout else "resnet50"
    classes = 71 if layout.endswith("_avss") else 1
    network = filled(
        lambda: avsegformer.AVSegFormer(backbone=backbone, classes=classes), layout, data, unused=avsegformer.UNUSED
    )
    for part in parts(data):
        own = {name.removeprefix(f"{part}."): value for name, value in data.items() if name.startswith(f"{part}.")}
        frames, log_mel, flag = avsegformer_input(own)
        inner = (
            "vggish",
            "audio_proj",
            "backbone",
            "head.query_generator",
            "head.transformer",
            "head.out_conv",
            "head.mlp",
        )
        with torch.inference_mode(), watching(network, *inner) as seen:
            output = network(frames, log_mel, flag=flag)
        compare_avsegformer(output, own, f"{case} {part}", real=len(own["frames_u8"]))
        assert_stored(own, inside_avsegformer(network, seen), f"{case} {part}")


def avsegformer_input(own: dict[str, np.ndarray]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Frames, log-mel examples and flag of one part; frames beyond the stored ones are zeros after normalisation."""
    frames = images.normalise(own["frames_u8"])
    flag = torch.from_numpy(own["vid_temporal_mask_flag"]) if "vid_temporal_mask_flag" in own else None
    if flag is not None:
        frames = torch.cat([frames, frames.new_zeros(len(flag) - len(frames), *frames.shape[1:])])
    if "log_mel" in own:
        return frames, torch.from_numpy(own["log_mel"]), flag
    examples = torch.from_numpy(log_mel_examples(own["pcm16k"].astype(np.float64) / 32768))
    return frames, torch.cat([examples, examples.new_zeros(len(frames) - len(examples), 1, 96, 64)]), flag


@torch.inference_mode()
def inside_avsegformer(network: avsegformer.AVSegFormer, seen: dict[str, Any]) -> dict[str, Tensor]:
    """Intermediate values under the names that the cases give them."""
    heard, queries = seen["audio_proj"][:, None], seen["head.query_generator"]
    memory, last = seen["head.transformer"]
    mixed = seen["head.out_conv"].relu()
    steps = zip(seen["backbone"], ("c16_s2", "c32_s2", "c64_s2", "c128_s2"), (16, 32, 64, 128), strict=True)
    values = {f"feat{i}_{name}": maps[:, ::c, ::2, ::2] for i, (maps, name, c) in enumerate(steps, start=1)} | {
        "audio_feat": seen["vggish"],
        "audio_token": heard,
        "query_gen_q25_c8": queries[:, ::25, ::8],
        "query_q25_c8": (queries + network.head.learnable_query.weight)[:, ::25, ::8],
        "memory_t7_c8": memory[:, ::7, ::8],
        "dec_last_q25_c8": last[:, ::25, ::8],
        "out_conv_c16_s4": mixed[:, ::16, ::4, ::4],
        "gate": network.head.fusion_block.gate(mixed, heard),
        "mlp_c16_s4": seen["head.mlp"][:, ::16, ::4, ::4],
    }
    return {f"i.{name}": value for name, value in values.items()}


def compare_avsegformer(output: avsegformer.Output, own: dict[str, np.ndarray], what: str, *, real: int) -> None:
    logits, feature = output
    assert tuple(logits.shape) == tuple(own["pred_shape"]), what
    assert not logits[real:].any() and not feature[real:].any(), f"{what}: padding frames are not silent"
    for name, theirs in own.items():
        if match := re.fullmatch(r"pred_s(\d+)", name):
            s = int(match[1])
            ours = logits[: len(theirs), :, ::s, ::s]
            assert_close(ours, theirs, f"{what} {name}", within=SHARP)
            if theirs.shape[1] == 1:
                assert_labels(ours > 0, theirs > 0, f"{what} sign of {name}")
        elif match := re.fullmatch(r"mask_feature_c(\d+)_s(\d+)", name):
            c, s = int(match[1]), int(match[2])
            assert_close(feature[: len(theirs), ::c, ::s, ::s], theirs, f"{what} {name}")
        elif name == "argmax":
            s = logits.shape[-1] // theirs.shape[-1]
            assert_labels(logits.argmax(1)[:, ::s, ::s], theirs, f"{what} {name}")
        elif name == "pred_mean_abs":
            assert_close(logits.abs().mean((1, 2, 3)), theirs, f"{what} {name}")


@published("avsbench_tpavi_")
def test_tpavi(layout: str, case: str) -> None:
    data = read_case(case)
    backbone = "pvt_v2_b5" if "_pvtv2b5" in layout else "resnet50"
    classes = 71 if layout.endswith("_avss") else 1
    network = filled(lambda: tpavi.TpaviNet(backbone=backbone, classes=classes), layout, data, unused=tpavi.UNUSED)
    flag = torch.from_numpy(data["vid_temporal_mask_flag"]) if "vid_temporal_mask_flag" in data else None
    frames = images.normalise(data["frames_u8"])
    if flag is not None:
        frames = frames * flag[:, None, None, None]  # the published loader's padding, which no logit depends on
    inner = [f"{name}{i}" for name in ("conv", "tpavi_b", "path") for i in (1, 2, 3, 4)]
    heard = [f"tpavi_b{i}.align_channel" for i in (1, 2, 3, 4)]
    with torch.inference_mode(), watching(network, *inner, *heard) as seen:
        logits = network(frames, torch.from_numpy(data["audio_feature"]), flag=flag)
    names = {"conv": "aspp", "tpavi_b": "tpavi", "path": "path"}
    values = {f"mid_{names[name[:-1]]}{name[-1]}": seen[name][:, ::32] for name in inner}
    assert_stored(data, values | {f"mid_audio{i}": seen[f"tpavi_b{i}.align_channel"] for i in (1, 2, 3, 4)}, case)
    s = int(data["logits_stride"])
    assert_close(logits[:, :, ::s, ::s], data["logits"], "logits")
    if "mask" in data:
        assert_labels((logits[:, 0] > 0).byte(), data["mask"], "mask")
    if "argmax" in data:
        assert_labels(logits.argmax(1), data["argmax"], "argmax")


@published("catr_pvtv2b5")
def test_catr(layout: str, case: str) -> None:
    data = read_case(case)
    network = filled(catr.Catr, layout, data, unused=catr.UNUSED)
    frames = F.interpolate(images.normalise(data["frames_u8"]), tuple(data["network_size"].tolist()), mode="bilinear")
    temporal = "transformer.temporal_encoder"
    inner = ["conv2", "conv3", "conv4", "vid_embed_proj", "transformer.audio_proj", "transformer.spatial_encoder"]
    inner += ["transformer.decoder", "spatial_decoder", temporal, *(f"{temporal}.layers.{i}" for i in range(3))]
    with torch.inference_mode(), watching(network, *inner) as seen:
        output = network(frames, torch.from_numpy(data["audio_feature"])[None])
    values = {f"mid_aspp{i}": seen[f"conv{i}"][:, ::32] for i in (2, 3, 4)} | {
        "mid_vid": seen["vid_embed_proj"][:, ::32],
        "mid_audio": seen["transformer.audio_proj"][0],
        "mid_spatial_memory": seen["transformer.spatial_encoder"][..., ::32].transpose(1, 2),
        "mid_decoder": seen["transformer.decoder"][..., ::16],
        "mid_gated_video": seen[temporal][:, ::32],
        "mid_frame_features": seen["spatial_decoder"][:, ::4],
    }
    gates = {f"mid_gate{i + 1}": seen[f"{temporal}.layers.{i}"][1][0, ..., ::32].transpose(1, 2) for i in range(3)}
    assert_stored(data, values | gates, case)
    assert_close(output.masks[-1], data["pred_masks"], "pred_masks")
    assert_close(output.referred, data["pred_is_referred"], "pred_is_referred")
    if "pred_masks_aux" in data:
        assert_close(output.masks[:2, :, ::5], data["pred_masks_aux"], "pred_masks_aux")
    compare_choice(output.masks[-1], output.referred[-1], data)


@pytest.mark.needs("reference")
@pytest.mark.parity("catr_postprocess.npz")
def test_catr_postprocess() -> None:
    data = read_case("catr_postprocess")
    compare_choice(torch.from_numpy(data["pred_masks"]), torch.from_numpy(data["pred_is_referred"]), data)


def compare_choice(masks: Tensor, referred: Tensor, data: dict[str, np.ndarray]) -> None:
    logits, query = catr.choose_mask(masks, referred, tuple(data["output_size"].tolist()))
    np.testing.assert_array_equal(query, data["query"])
    assert_close(referred.softmax(-1)[..., 0], data["scores"], "scores")
    s = logits.shape[-1] // data["mask_logits"].shape[-1]
    assert_close(logits[:, ::s, ::s], data["mask_logits"], "mask_logits")
    assert_labels((logits > 0).byte(), data["mask"], "mask")


@published("aavs_avs")
def test_aavs(layout: str, case: str) -> None:
    data = read_case(case)
    config = aavs_config(layout)
    unused = aavs.UNUSED if config.stage == 2 else (*aavs.UNUSED, *aavs.UNUSED_IN_STAGE_1)
    network = filled(lambda: aavs.Aavs(config), layout, data, unused=unused)
    size = tuple(data["size"].tolist())
    frames = images.normalise(images.resize_bilinear(data["frames_rgb"].transpose(0, 2, 3, 1), size))
    stored = "pixel_values" if "pixel_values" in data else "pixel_values_s8"
    step = 1 if stored == "pixel_values" else 8
    assert_close(frames[:, :, ::step, ::step], data[stored], stored)

    boost = torch.from_numpy(data["audio_boost_mask"]) / 2 if config.stage == 2 else None
    pixels = "model.model.pixel_level_module"
    with torch.inference_mode(), watching(network, "audio_proj", f"{pixels}.encoder", f"{pixels}.decoder") as seen:
        output = network(frames, torch.from_numpy(data["audio"]), boost=boost)
        scores = class_scores(output, (aavs.POST_PX, aavs.POST_PX))
    maps, best = seen[f"{pixels}.encoder"], scores.topk(2, dim=1).values
    values = {
        "audio_projected": seen["audio_proj"][None],
        "backbone_stage1": maps[0][:, ::8, ::4, ::4],
        "backbone_stage4": maps[3][:, ::32],
        "pixel_decoder_mask_features_s": seen[f"{pixels}.decoder"][1][:, ::32, ::4, ::4],
        "post_margin_s4": (best[:, 0] - best[:, 1])[:, ::4, ::4],
        "fscore_input_s4": (2 * scores[:, 1] - scores[:, 0]).sigmoid()[:, ::4, ::4],
    }
    assert_stored(data, values, case)
    s = int(data["mask_stride"])
    assert_close(output.classes, data["class_queries_logits"], "class_queries_logits")
    assert_close(output.masks[:, :, ::s, ::s], data["masks_queries_logits"], "masks_queries_logits")
    assert_labels(scores.argmax(1), data["label_map"], "label_map", equal=0.9999)
    if config.stage == 1:
        assert_close(scores[:, :, ::4, ::4], data["post_scores_s4"], "post_scores_s4")
    else:
        assert_close(scores[0, :, ::16, ::16], data["post_scores_f0_s16"], "post_scores_f0_s16")


def aavs_config(layout: str) -> aavs.AavsConfig:
    """The sizes that a layout file states."""
    config = json.loads((REFERENCE / "layouts" / f"{layout}.json").read_text())["config"]
    return aavs.AavsConfig(
        stage=2 if "_avss_" in layout else 1,
        queries=config["num_queries"],
        classes=config["num_labels"],
        embed_dim=config["backbone"]["embed_dim"],
        depths=tuple(config["backbone"]["depths"]),
        heads=tuple(config["backbone"]["num_heads"]),
        window=config["backbone"]["window_size"],
        encoder_layers=config["encoder_layers"],
        encoder_hidden=config["encoder_feedforward_dim"],
        decoder_layers=config["decoder_layers"] - 1,
        decoder_hidden=config["dim_feedforward"],
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tree in AVSBench's layouts, which the published loaders have read."""
    folder = tmp_path_factory.mktemp("avsbench")
    with tarfile.open(REFERENCE / "cases" / "avsbench_mini.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "avsbench_mini"


@pytest.mark.needs("reference")
@pytest.mark.parametrize(
    ("item", "frames", "sound", "size", "within"),
    [
        ("avsegformer_s4.test.0", "{s4}/visual_frames/test/{b}", "{s4}/audio_wav/test/{b}.wav", 512, 1e-5),
        ("avsegformer_ms3.test.0", "{ms3}/visual_frames/mixC_1", "{ms3}/audio_wav/test/mixC_1.wav", 512, 1e-5),
        ("avsbench_s4.test.0", "{s4}/visual_frames/test/{b}", "{s4}/audio_wav/test/{b}.wav", 224, 1e-5),
        ("avsbench_s4.val.0", "{s4}/visual_frames/val/{d}", "{s4}/audio_wav/val/{d}.wav", 224, 1e-5),
        ("avss.val.0", "AVSS/v1m/mixC_1_0_5000/frames", "AVSS/v1m/mixC_1_0_5000/audio.wav", 224, 0.036),
        ("avss.test.1", "AVSS/v2/newF_1000_11000/frames", "AVSS/v2/newF_1000_11000/audio.wav", 224, 0.036),
    ],
)
def test_published_loaders(item: str, frames: str, sound: str, size: int, within: float, tree: Path) -> None:
    """From files to what the networks see and hear, as the published data loaders gave it."""
    places = {
        "s4": "Single-source/s4_data",
        "ms3": "Multi-sources/ms3_data",
        "b": "dog_barking/vidB_0002",
        "d": "dog_barking/shortD",
    }
    clip = read_clip(tree / frames.format(**places), audio=tree / sound.format(**places))
    clip = replace(clip, sound=read_sound(tree / sound.format(**places)))  # the reader pads it to the frames' length
    data = read_case("avsbench_mini")
    theirs = data[f"{item}.imgs"][: clip.num_frames]
    semantic = item.startswith("avss")
    loader = SimpleNamespace(prepared=not semantic, size=(size, size))
    seen = images.normalise(PublishedAdapter.resized(loader, clip, list(range(clip.num_frames))))[:, :, ::16, ::16]
    assert np.abs(seen.numpy() - theirs).max() < within
    if f"{item}.log_mel" in data:
        heard = SecondExamples(clip, stretch_s=5, missing="repeat").of(range(clip.num_frames))
        np.testing.assert_allclose(heard[:, :, ::8, ::8], data[f"{item}.log_mel"], atol=1e-3)
