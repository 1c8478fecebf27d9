"""VCT from checkpoint files to predictions: variants, sizes, sound, JPEG, modes, and what is told of its Maskige."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rule_weights import noise, rule_entry, rule_network, rule_state
from torch import Tensor
from vct_cases import SMALL, small

import coprop_plugin as cp
from coprop_plugin.adapters.base import build_adapter
from coprop_plugin.adapters.images import normalise, resize_bilinear
from coprop_plugin.adapters.vct import maskige
from coprop_plugin.adapters.vct.adapter import VctAdapter, input_size, through_jpeg
from coprop_plugin.adapters.vct.network import Vct, sizes
from coprop_plugin.audio.vggish import log_mel_examples
from coprop_plugin.cli.main import main
from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.layers.mask2former import class_scores
from coprop_plugin.structures import AVSBENCH_CLASSES, BINARY, Clip, Prediction, Sound, TimeBase
from coprop_plugin.weights.unfilled import unfilled

UNUSED_ENTRIES = {
    "audio_backbone.embeddings.0.bias": (4096,),
    "criterion.empty_weight": (3,),
    "backbone.layers.0.blocks.0.attn.relative_position_index": (16, 16),
}


@functools.cache
def state_of(variant: str) -> dict[str, Tensor]:
    return rule_state(lambda: Vct(small(variant)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models in the container that detectron2's trainer writes, with what the published files hold beside."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for variant in ("s4", "ms3", "avss"):
        unused = UNUSED_ENTRIES | ({} if variant == "ms3" else {"sem_seg_head.predictor.audio_proj.weight": (256, 256)})
        state = state_of(variant) | {name: torch.zeros(shape) for name, shape in unused.items()}
        trainer = {
            "iteration": 7,
            "optimizer": {"state": {0: {"step": torch.zeros(())}}, "param_groups": [{"lr": 1.0}]},
        }
        torch.save({"model": state, "trainer": trainer, "iteration": 7}, folder / f"{variant}.pth")
    return folder


def clip_of(num_frames: int, *, sound_s: float | None = None, name: str = "noise") -> Clip:
    seconds = num_frames if sound_s is None else sound_s
    samples = np.random.RandomState(3).uniform(-0.5, 0.5, round(seconds * 16000)).astype(np.float32)
    return Clip(name, noise(num_frames, 40, 60, 3), Sound(samples, 16000), TimeBase.of("avsbench", num_frames))


def squares(clip: Clip, t: int) -> np.ndarray:
    masks = np.zeros((2, *clip.size), bool)
    masks[0, 5:20, 4 * t : 4 * t + 20] = masks[1, 8:12, 4 * t + 3 : 4 * t + 9] = True
    return masks


def adapter_of(weights: str = "ms3", **options) -> VctAdapter:
    """From memory where the variant is not to be found out."""
    given = {"checkpoint": state_of(weights), "variant": weights, "maskige": squares}
    return build_adapter("vct", **{**given, **options})  # type: ignore[return-value]


def plainly(adapter: VctAdapter, clip: Clip, examples: np.ndarray, *, jpeg: bool = False) -> np.ndarray:
    """The published pipeline around the network, written out: S of every frame, ``(T, C, 224, 224)``."""
    frames = resize_bilinear(clip.frames, (128, 128))
    if jpeg:
        frames = np.stack([through_jpeg(frame) for frame in frames])
    pictures = [
        maskige.resized(maskige.coloured(maskige.segment_indices(squares(clip, t), clip.size)), (128, 128))
        for t in range(clip.num_frames)
    ]
    with torch.inference_mode():
        output = adapter.network(normalise(frames), normalise(np.stack(pictures)), torch.from_numpy(examples))
        return class_scores(output, (128, 128)).numpy()


@pytest.mark.parametrize("variant", ["s4", "ms3"])
def test_a_binary_model_is_its_network_in_its_pipeline(variant: str, files: Path) -> None:
    adapter, clip = adapter_of(variant, checkpoint=files / f"{variant}.pth", variant=None), clip_of(2)
    prediction = adapter.predict(clip)
    assert (adapter.variant.name, adapter.size) == (variant, (128, 128))
    assert (prediction.kind, prediction.class_ids, prediction.scores.shape) == ("probability", BINARY, (2, 2, 224, 224))
    scores = plainly(adapter, clip, log_mel_examples(clip.sound.samples))
    for t in range(2):
        foreground = 1 / (1 + np.exp(scores[t, 0] - scores[t, 1]))
        np.testing.assert_allclose(prediction.frame(t)[1], foreground, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(prediction.label_map(t), prediction.frame(t)[1] > 0.5)


@pytest.mark.parametrize("frames", ["published", "clean"])
def test_avss_hears_zeros_at_the_end_and_sees_jpeg(frames: str) -> None:
    adapter, clip = adapter_of("avss", frames=frames), clip_of(3, sound_s=1.5)
    examples = np.zeros((3, 1, 96, 64), np.float32)
    examples[:1] = log_mel_examples(clip.sound.samples)
    scores = plainly(adapter, clip, examples, jpeg=frames == "published")
    prediction = adapter.predict(clip)
    assert (prediction.kind, prediction.class_ids, prediction.names[70]) == ("logit", AVSBENCH_CLASSES, "woman")
    for t in range(3):
        np.testing.assert_allclose(prediction.frame(t), scores[t], rtol=1e-3, atol=1e-5)


def test_jpeg_changes_avss_frames_alone() -> None:
    clip = clip_of(1)
    plain = resize_bilinear(clip.frames, (128, 128))
    for variant, same in (("s4", True), ("ms3", True), ("avss", False)):
        assert np.array_equal(adapter_of(variant).resized(clip, [0]), plain) == same
    with pytest.raises(CoPropError, match=r"frames.*published.*clean"):
        adapter_of(frames="raw")


def test_a_frame_alone_gives_what_it_gives_in_the_clip() -> None:
    adapter, clip = adapter_of(batch_frames=3), clip_of(4)
    prediction = adapter.predict(clip)
    alone = adapter.predict_frames(clip, [3, 1])
    assert adapter.frame_equals_clip
    for t in (3, 1):
        np.testing.assert_allclose(alone[t], prediction.frame(t), rtol=1e-4, atol=1e-4)


def test_clips_share_batches() -> None:
    adapter = adapter_of(batch_frames=4)
    clips = [clip_of(3), replace(clip_of(2), frames=255 - noise(2, 40, 60, 3), clip_id="other")]
    apart = [adapter.predict(clip) for clip in clips]
    expected = [[p.frame(t) for t in range(p.num_frames)] for p in apart]
    sizes_run: list[int] = []
    network = adapter.network
    hook = network.register_forward_pre_hook(lambda _, given: sizes_run.append(len(given[0])))
    for together, alone in zip(adapter.predict_clips(clips), expected, strict=True):
        for t, scores in enumerate(alone):
            np.testing.assert_allclose(together.frame(t), scores, rtol=1e-4, atol=1e-4)
    hook.remove()
    assert sizes_run == [4, 1]


def test_maskige_matters_and_is_told() -> None:
    clip, truth = clip_of(2), Prediction.from_labels(np.zeros((2, 224, 224), np.int16))
    drawn, grey = adapter_of().predict(clip), adapter_of(maskige="grey").predict(clip)
    assert np.abs(drawn.frame(0) - grey.frame(0)).max() > 0.01 * np.abs(drawn.frame(0)).max()
    (note,) = cp.score(grey, truth, protocol="vct").about["notes"]
    assert "all grey" in note and "NOT the published" in note
    assert "squares" in cp.score(drawn, truth, protocol="vct").about["notes"][0]
    assert "notes" not in cp.score(truth, truth, protocol="vct").about


# sizes


@pytest.mark.parametrize(
    ("given", "pixels", "size"),
    [
        (None, 9216, (384, 384)),
        ("256x576", 9216, (256, 576)),
        ((576, 256), 9216, (576, 256)),
        ("64x320", 1280, (64, 320)),
    ],
)
def test_every_size_of_so_many_pixels_is_taken(given, pixels: int, size: tuple[int, int]) -> None:
    assert input_size(given, pixels) == size
    assert size in sizes(pixels)


@pytest.mark.parametrize(
    ("given", "pixels", "error", "message"),
    [
        ("512x512", 9216, CoPropError, "512x512 does not fit; these weights take 384x384"),
        ("368x384", 9216, CoPropError, "does not fit"),
        ("large", 9216, CoPropError, "write HEIGHTxWIDTH, as 384x384"),
        ("384", 9216, CoPropError, "write HEIGHTxWIDTH"),
        (None, 1280, CoPropError, "take no square; say size=HEIGHTxWIDTH, one of"),
        (None, 97, CheckpointError, "no height and width in 32 px steps"),
    ],
)
def test_other_sizes_are_named(given, pixels: int, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        input_size(given, pixels)


def test_a_wide_input() -> None:
    adapter, clip = adapter_of(size="64x256"), clip_of(1)
    assert adapter.predict(clip).frame(0).shape == (2, 224, 224)


# files


@pytest.mark.parametrize("variant", ["s4", "ms3", "avss"])
def test_inspect_knows_every_variant(variant: str, files: Path, capsys) -> None:
    assert main(["checkpoint", "inspect", str(files / f"{variant}.pth"), "--json"]) == 0
    (fit,) = json.loads(capsys.readouterr().out)["fits"]
    assert (fit["part"], fit["variant"], fit["unused_entries"]) == ("vct", variant, 3 if variant == "ms3" else 4)


def test_what_convert_writes_is_known_too(files: Path, capsys, tmp_path: Path) -> None:
    assert main(["checkpoint", "convert", str(files / "avss.pth"), str(tmp_path / "vct.safetensors")]) == 0
    assert main(["checkpoint", "inspect", str(tmp_path / "vct.safetensors")]) == 0
    assert "fits vct, variant avss" in capsys.readouterr().out


def test_the_published_layout_is_known() -> None:
    """At published size, names and shapes alone."""
    from coprop_plugin.adapters.vct.adapter import VARIANTS

    for variant, entries in zip(VARIANTS, (1019, 1012, 1019), strict=True):
        with unfilled():
            state = dict(variant.make({}).state_dict())
        assert [v.name for v in VARIANTS if v.fit(state).exact] == [variant.name]
        assert len(state) == entries


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("lacks an entry", r"1 missing \(sem_seg_head\.predictor\.query_embed\.weight\)"),
        ("has one more", r"1 unknown \(fusion_module\.0\.weight\)"),
        ("another shape", r"of another shape \(sem_seg_head\.audio_transformation\.embeddings\.2\.bias is"),
        ("three classes", r"class_embed\.bias is \(4,\), expected \(3,\)"),
        ("broken", "NaN or infinite"),
    ],
)
def test_wrong_weights_are_named(change: str, message: str, tmp_path: Path) -> None:
    state = {name: value.clone() for name, value in state_of("ms3").items()}
    head = "sem_seg_head"
    match change:
        case "lacks an entry":
            del state[f"{head}.predictor.query_embed.weight"]
        case "has one more":
            state["fusion_module.0.weight"] = torch.zeros(1)
        case "another shape":
            state[f"{head}.audio_transformation.embeddings.2.bias"] = torch.zeros(3)
        case "three classes":
            state[f"{head}.predictor.class_embed.weight"] = torch.zeros(4, 256)
            state[f"{head}.predictor.class_embed.bias"] = torch.zeros(4)
        case "broken":
            state["backbone.norm0.bias"][0] = torch.nan
    torch.save({"model": state}, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError, match=message):
        build_adapter("vct", checkpoint=tmp_path / "wrong.pth", maskige="grey")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maskige": None}, CoPropError, "'vct' needs maskige="),
        ({"checkpoint": None}, CheckpointError, "'vct' needs checkpoint=FILE"),
        ({"variant": "s5"}, CoPropError, "unknown variant of vct 's5'"),
        ({"variant": "s4"}, CheckpointError, "missing .*prototype"),
        ({"size": "96x96"}, CoPropError, "96x96 does not fit; these weights take 128x128"),
    ],
)
def test_what_is_missing_or_wrong_is_said(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        adapter_of(**options)


def test_weights_of_vct_given_elsewhere_are_named(files: Path) -> None:
    with pytest.raises(CheckpointError, match="look like the weights of vct"):
        build_adapter("avsegformer", checkpoint=files / "s4.pth", variant="resnet50-s4")


@torch.inference_mode()
def test_bfloat16_stays_close() -> None:
    network = rule_network(lambda: Vct(small("ms3")))
    frames, pictures = normalise(noise(1, 128, 128, 3)), normalise(noise(1, 128, 128, 3, seed=1))
    examples = rule_entry("examples", torch.zeros(1, 1, 96, 64))
    exact = network(frames, pictures, examples)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(frames, pictures, examples)
    for a, b in zip(exact, rounded, strict=True):
        assert 1e-4 < float((a - b.float()).abs().mean() / a.abs().mean()) < 0.1
    assert SMALL["pixels"] == 1024


@pytest.mark.needs("gpu")
@torch.inference_mode()
def test_gpu_equals_cpu() -> None:
    network = rule_network(lambda: Vct(small("s4")))
    inputs = (
        normalise(noise(3, 128, 128, 3)),
        normalise(noise(3, 128, 128, 3, seed=1)),
        rule_entry("examples", torch.zeros(3, 1, 96, 64)),
    )
    ours = network(*inputs)
    theirs = network.cuda()(*(x.cuda() for x in inputs))
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b.cpu()).abs().max()) < 1e-3 * float(a.abs().max())
