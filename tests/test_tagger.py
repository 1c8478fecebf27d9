"""The tagger: change-points on class probabilities, and real classes of transformers with random weights."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from coprop_plugin import parts
from coprop_plugin.control_points import ears
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.control_points.tagger import Tagger, change_points
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import Clip, Prediction, Sound


def noisy_clip(seconds: float = 6, *, rate_hz: int = 16000, sampling: str = "avsbench") -> Clip:
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate_hz)).astype(np.float32)
    samples[: len(samples) // 2] = np.sin(np.arange(len(samples) // 2) * 0.05)
    return clip_of_sound(Sound(samples, rate_hz), sampling=sampling)


@pytest.fixture(scope="module")
def ast_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    folder = tmp_path_factory.mktemp("ast")
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_length=100,
        id2label={0: "Dog", 1: "Silence", 2: "Piano"},
    )
    ASTForAudioClassification(config).save_pretrained(folder)
    ASTFeatureExtractor(max_length=100).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

    folder = tmp_path_factory.mktemp("clap")
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *(chr(c) for c in range(33, 127)), "Ġ"]
    tokenizer = RobertaTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])
    audio = {
        "hidden_size": 32,
        "spec_size": 256,
        "num_mel_bins": 64,
        "patch_size": 4,
        "window_size": 4,
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "projection_dim": 16,
        "patch_stride": [4, 4],
    }
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "projection_dim": 16,
    }
    torch.manual_seed(0)
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=16)).save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_changes_are_found_where_classes_change() -> None:
    dog, cat, both = [0.9, 0.05, 0.0], [0.05, 0.9, 0.0], [0.9, 0.9, 0.0]
    assert change_points(np.array([dog, dog, cat, cat, cat, both, both]), change=0.5) == [0, 2, 5]
    assert change_points(np.array([dog] * 7), change=0.5) == [0]
    assert change_points(np.array([dog]), change=0.5) == [0]
    assert change_points(np.array([dog, dog, cat, cat]), change=50.0) == [0]


def _cost(roots: np.ndarray, starts: tuple[int, ...], change: float) -> float:
    edges = [0, *starts, len(roots)]
    pieces = [roots[a:b] for a, b in itertools.pairwise(edges)]
    return sum(float(((p - p.mean(axis=0)) ** 2).sum()) for p in pieces) + change * len(starts)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10**6), st.floats(0.05, 2))
def test_no_other_cut_is_cheaper(n: int, seed: int, change: float) -> None:
    chances = np.random.default_rng(seed).random((n, 3))
    roots = np.sqrt(chances)
    cuts = [c for k in range(n) for c in itertools.combinations(range(1, n), k)]
    found = change_points(chances, change=change)
    assert found[0] == 0
    assert _cost(roots, tuple(found[1:]), change) == pytest.approx(min(_cost(roots, cut, change) for cut in cuts))


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_ast_gives_probabilities_of_each_second(ast_folder: Path, rate_hz: int) -> None:
    clip = noisy_clip(rate_hz=rate_hz)
    tags = Tagger(model=ast_folder).tags(clip)
    chances = tags.probabilities
    assert chances.shape == (6, 3) and tags.labels == ("Dog", "Silence", "Piano")
    alone = Tagger(model=ast_folder, batch_size=1).tags(clip)
    assert np.allclose(alone.probabilities, chances, atol=1e-5)
    fine = Tagger(model=ast_folder, hop_s=0.5).tags(clip)
    assert len(fine.logits) == 12 and np.allclose(fine.windows_s[3], [1.5, 2.0])
    assert np.abs(chances[0] - chances[-1]).max() > 1e-4  # a tone is not noise


def test_ast_end_to_end(ast_folder: Path) -> None:
    points = parts.build("control_points", {"name": "tagger", "model": ast_folder, "change": 1e-3})(noisy_clip())
    assert points.frames[0] == 0 and 3 in points.frames and points.origin.generator == "tagger"
    assert all("Silence" not in names for names in points.categories)
    fine = Tagger(model=ast_folder, change=1e-3)(noisy_clip(sampling="uniform:10"))
    assert fine.frames == tuple(10 * t for t in points.frames)


def test_clap_end_to_end(clap_folder: Path) -> None:
    tagger = Tagger(model=clap_folder, labels=["dog", "cat", "piano"], change=1e-6)
    clip = noisy_clip(rate_hz=48000)
    tags = tagger.tags(clip)
    assert tags.logits.shape == (6, 3) and tags.labels == ("dog", "cat", "piano")
    assert np.allclose(tags.probabilities.sum(axis=1), 1, atol=1e-5)
    points = tagger(clip)
    assert len(points) == 6 and points.silent is None and points.origin.generator == "tagger"
    assert len(Tagger(model=clap_folder).tags(clip).labels) == 70


def test_long_sounds_are_cut_in_stretches() -> None:
    """Stretches find what the whole gives, at seams and elsewhere."""
    rng = np.random.default_rng(0)
    starts = np.cumsum(rng.integers(3, 9, 40))
    kinds = rng.permutation(np.arange(40) % 2 == 0)
    rows = np.repeat(
        np.where(kinds[:, None] != np.roll(kinds, 1)[:, None], [0.9, 0.1], [0.1, 0.9]),
        np.diff(starts, prepend=0),
        axis=0,
    )
    whole = change_points(rows, change=0.4)
    for longest in (20, 33, 64):
        assert change_points(rows, change=0.4, longest=longest) == whole
    assert change_points(np.full((300, 2), 0.5), change=0.4, longest=20) == [0]


# PE-A-Frame


@pytest.fixture(scope="module")
def frame_level_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import PeAudioConfig, PeAudioFeatureExtractor, PeAudioFrameLevelModel, RobertaTokenizer

    folder = tmp_path_factory.mktemp("pe_audio")
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *(chr(c) for c in range(33, 127)), "Ġ"]
    special = {f"{name}_token_id": 0 for name in ("bos", "eos", "cls", "sep")}
    text = {
        **special,
        "model_type": "modernbert",
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": 1,
    }
    audio = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 16,
        "dac_config": {
            "model_type": "dac",
            "encoder_hidden_size": 4,
            "downsampling_ratios": [2, 8, 10, 12],
            "codebook_dim": 8,
            "hidden_size": 64,
        },
    }
    torch.manual_seed(0)
    model = PeAudioFrameLevelModel(PeAudioConfig(text_config=text, audio_config=audio))
    model.text_audio_logit_scale.data.fill_(10)  # 0 where it begins
    model.save_pretrained(folder)
    PeAudioFeatureExtractor().save_pretrained(folder)
    RobertaTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[]).save_pretrained(folder)
    return folder


def test_frame_level_queries(frame_level_folder: Path) -> None:
    """A logit of each query every 40 ms; the base model's classes are the queries where none are given."""
    clip = noisy_clip(rate_hz=48000)
    tagger = Tagger(model=frame_level_folder, labels=["dog", "violin"], change=1e-6)
    tags = tagger.tags(clip)
    assert tags.labels == ("dog", "violin") and tags.logits.shape == (150, 2)
    assert np.allclose(np.diff(tags.windows_s[:, 0]), 0.04) and np.ptp(tags.logits[:, 0]) > 0
    base = Prediction.from_labels(np.zeros((6, 4, 4), int), class_ids=(3, 9), names={3: "cat", 9: "cello"})
    assert Tagger(model=frame_level_folder).tags(clip, base=base).labels == ("cat", "cello")
    assert len(Tagger(model=frame_level_folder).tags(clip).labels) == 70
    assert len(tagger(clip)) == 6


def test_frame_level_answers_equal_the_models_own(frame_level_folder: Path) -> None:
    from transformers import AutoTokenizer, PeAudioFeatureExtractor, PeAudioFrameLevelModel

    clip = noisy_clip(rate_hz=48000)
    model = PeAudioFrameLevelModel.from_pretrained(frame_level_folder).eval()
    padded = np.concatenate([clip.sound.samples, np.zeros(96000, np.float32)])  # what is heard behind the clip
    heard = PeAudioFeatureExtractor()([padded], sampling_rate=48000, return_tensors="pt")
    asked = AutoTokenizer.from_pretrained(frame_level_folder)(["dog", "violin"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        wanted = model(**asked, **heard).logits_audio_text[0].T[:150]
    found = Tagger(model=frame_level_folder, labels=["dog", "violin"]).tags(clip).logits
    assert np.allclose(found, wanted.numpy(), atol=1e-4)


def test_frame_level_stretches(frame_level_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame is answered once; stretches that hear the whole around them equal it."""
    clip = noisy_clip(rate_hz=48000)
    whole = Tagger(model=frame_level_folder, labels=["dog"]).tags(clip).logits
    monkeypatch.setattr(ears, "STRETCH_S", 2.5)
    monkeypatch.setattr(ears, "CONTEXT_S", 2.0)
    pieces = Tagger(model=frame_level_folder, labels=["dog"])
    assert pieces.tags(clip).logits.shape == whole.shape and pieces.calls == 3


def test_bad_taggers_are_told(ast_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match="no model at '/no/such/folder'"):
        Tagger(model="/no/such/folder")
    with pytest.raises(CoPropError, match="labels are for CLAP and PE-A-Frame"):
        Tagger(model=ast_folder, labels=["dog"])
    with pytest.raises(CoPropError, match="change is positive"):
        Tagger(model=ast_folder, change=0)
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(CoPropError, match="unknown tagger model_type 'whisper'"):
        Tagger(model=tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clap"}')
    with pytest.raises(CoPropError, match="cannot be loaded"):
        Tagger(model=tmp_path)(noisy_clip())
