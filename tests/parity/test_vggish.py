"""VGGish against the published code: resampling, log-mel, network and codes."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coprop_plugin.audio.resample import resample
from coprop_plugin.audio.vggish import RATE_HZ, VGGish, log_mel_examples, mel_weights, quantise
from coprop_plugin.errors import CoPropError
from coprop_plugin.weights.unfilled import unfilled

REFERENCE = Path(
    os.environ.get("COPROP_REFERENCE_DIR", Path(__file__).resolve().parents[2] / "../shared/reference")
).resolve()


def published(pattern: str) -> Any:
    """Parametrises a test with case files: those of sound, or those of the network."""
    audio = [path.name for path in sorted((REFERENCE / "cases").glob("vggish_audio*.npz"))]
    network = [path.name for path in sorted((REFERENCE / "cases").glob("vggish*.npz")) if path.name not in audio]
    files = {"vggish_audio": audio, "vggish": network}[pattern] or [f"{pattern}.npz"]
    marks = [[pytest.mark.needs("reference"), pytest.mark.parity(file)] for file in files]
    return pytest.mark.parametrize("file", [pytest.param(f, marks=m) for f, m in zip(files, marks, strict=True)])


def read_case(file: str) -> dict[str, np.ndarray]:
    with np.load(REFERENCE / "cases" / file, allow_pickle=False) as stored:
        return dict(stored)


def weights(layout: str, seed: int) -> dict[str, np.ndarray]:
    spec = importlib.util.spec_from_file_location("fill", REFERENCE / "fill.py")
    assert spec and spec.loader
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    return rule.make_state_dict(REFERENCE / "layouts" / f"{layout}.json", seed)


@published("vggish_audio")
def test_waveform_to_log_mel(file: str) -> None:
    case = read_case(file)
    clips = sorted(key.removesuffix(".pcm") for key in case if key.endswith(".pcm"))
    assert clips
    for clip in clips:
        pcm, rate_hz = case[f"{clip}.pcm"] / 32768, int(case[f"{clip}.sr"])
        mono = pcm.mean(axis=1) if pcm.ndim == 2 else pcm
        samples = resample(mono, rate_hz, RATE_HZ)
        if rate_hz != RATE_HZ:
            assert len(samples) == case[f"{clip}.resampled_len"]
            np.testing.assert_allclose(samples[::16], case[f"{clip}.resampled_s16"], atol=1e-9, err_msg=clip)
        np.testing.assert_allclose(log_mel_examples(samples), case[f"{clip}.log_mel"], atol=1e-5, err_msg=clip)


@published("vggish_audio")
def test_number_of_examples_and_mel_weights(file: str) -> None:
    case = read_case(file)
    for samples, examples in zip(case.get("lengths.samples", ()), case.get("lengths.examples", ()), strict=True):
        if examples < 0:
            with pytest.raises(CoPropError, match="at least 240 samples"):
                log_mel_examples(np.zeros(samples))
        else:
            assert len(log_mel_examples(np.zeros(samples))) == examples
    if "mel_matrix_s8" in case:
        np.testing.assert_allclose(mel_weights()[:, :: 64 // case["mel_matrix_s8"].shape[1]], case["mel_matrix_s8"])


@published("vggish")
@torch.inference_mode()
def test_log_mel_to_embedding_and_codes(file: str) -> None:
    case = read_case(file)
    seed = int(case["seed"])
    with unfilled():
        network = VGGish()
    state = {name: torch.from_numpy(value) for name, value in weights("vggish", seed).items()}
    network.load_state_dict(state, assign=True)
    log_mel = torch.from_numpy(case["log_mel"])
    assert relative(network.features(log_mel[:1])[0].numpy(), case["features_ex0"]) < 1e-5
    embedding = network(log_mel).numpy()
    assert relative(embedding, case["embedding"]) < 1e-5

    pca = weights("vggish_pca", seed)
    codes = quantise(case["pca_in"], pca["pca_eigen_vectors"], pca["pca_means"])
    assert (codes == case["pca_quantised"]).all()
    codes = quantise(embedding, pca["pca_eigen_vectors"], pca["pca_means"])
    assert np.abs(codes.astype(int) - case["embedding_quantised"]).max() <= 1


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
