"""The tagger: change-points on class probabilities, and real classes of transformers with random weights."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from coprop_plugin import parts
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.control_points.tagger import Tagger, change_points
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import Clip, Sound


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
    chances, labels = Tagger(model=ast_folder).tags(clip)
    assert chances.shape == (6, 3) and labels == ("Dog", "Silence", "Piano")
    alone, _ = Tagger(model=ast_folder, batch_size=1).tags(clip)
    assert np.allclose(alone, chances, atol=1e-5)
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
    chances, labels = tagger.tags(clip)
    assert (
        chances.shape == (6, 3) and np.allclose(chances.sum(axis=1), 1, atol=1e-5) and labels == ("dog", "cat", "piano")
    )
    points = tagger(clip)
    assert len(points) == 6 and points.silent is None and points.origin.generator == "tagger"
    assert len(Tagger(model=clap_folder).tags(clip)[1]) == 70


def test_bad_taggers_are_told(ast_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match="no model at '/no/such/folder'"):
        Tagger(model="/no/such/folder")
    with pytest.raises(CoPropError, match="labels are for CLAP"):
        Tagger(model=ast_folder, labels=["dog"])
    with pytest.raises(CoPropError, match="change is positive"):
        Tagger(model=ast_folder, change=0)
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(CoPropError, match="unknown tagger model_type 'whisper'"):
        Tagger(model=tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clap"}')
    with pytest.raises(CoPropError, match="cannot be loaded"):
        Tagger(model=tmp_path)(noisy_clip())
