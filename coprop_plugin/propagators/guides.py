"""What is inserted into the visual features: each frame's sound, or the category words instead (paper, table 4)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..audio.log_mel import FLOOR_DB, HOPS_PER_S, NUM_MELS, log_mel
from ..errors import CoPropError, unknown_name
from ..structures import Clip, Sound
from .audio_insert import AudioInsert, AudioTokens
from .base import PropagationTask

AudioFeatures = Callable[[Clip], np.ndarray]
TextEncoder = Callable[[Sequence[str]], np.ndarray]
LOG_MEL_DIM = 2 * NUM_MELS
NOTHING = "silence"  # the word for a segment in which nothing sounds that has a name


class Guide(Protocol):
    """Gives the tokens of a task's frames."""

    def tokens(self, clip: Clip, task: PropagationTask) -> AudioTokens:
        """One row for each frame of ``[task.start, task.stop)``."""
        ...


class AudioGuide:
    """The audio features of each frame and, with a context, of its neighbours inside the segment.

    Args:
        features: gives a clip's ``(T, D)`` features, one row per frame; called once for tasks of one clip in a row.
        dim: D.
        context_frames: neighbours to each side.
    """

    def __init__(self, features: AudioFeatures, *, dim: int, context_frames: int) -> None:
        self._features, self._dim, self._context = features, dim, context_frames
        self._last: tuple[weakref.ref[Clip], np.ndarray] | None = None

    def tokens(self, clip: Clip, task: PropagationTask) -> AudioTokens:
        return tokens_of_segment(self._of(clip), task.start, task.stop, context_frames=self._context)

    def _of(self, clip: Clip) -> np.ndarray:
        """The features of a clip; those of the last one are kept."""
        if self._last is None or self._last[0]() is not clip:
            self._last = (weakref.ref(clip), self._checked(clip))
        return self._last[1]

    def _checked(self, clip: Clip) -> np.ndarray:
        features = np.asarray(self._features(clip), np.float32)
        if features.shape != (clip.num_frames, self._dim):
            raise CoPropError(
                f"clip '{clip.clip_id}': the audio insert needs one row of {self._dim} features for each of the "
                f"{clip.num_frames} frames, got {features.shape}. Resample the features to the clip's frames."
            )
        if not np.isfinite(features).all():
            raise CoPropError(f"clip '{clip.clip_id}': the audio features hold NaN or infinite values.")
        return features


def tokens_of_segment(features: np.ndarray, start: int, stop: int, *, context_frames: int) -> AudioTokens:
    """The tokens of the frames ``[start, stop)``: each frame's own and its neighbours' inside the segment.

    Args:
        features: ``(T, D) float32`` of the whole clip.
    """
    reach = np.arange(-context_frames, context_frames + 1)
    places = np.arange(start, stop)[:, None] + reach
    valid = (places >= start) & (places < stop)
    rows = torch.from_numpy(features[places.clip(start, stop - 1)])
    return AudioTokens(rows, torch.from_numpy(valid), rows[:, context_frames])


class TextGuide:
    """The words of a segment's categories, the same for all of its frames.

    Args:
        encode: gives ``(n, D)`` embeddings of n words.
        dim: D.
    """

    def __init__(self, encode: TextEncoder, *, dim: int) -> None:
        self._encode, self._dim = encode, dim

    def tokens(self, clip: Clip, task: PropagationTask) -> AudioTokens:
        if task.categories is None:
            raise CoPropError(
                f"clip '{clip.clip_id}', frames [{task.start}, {task.stop}): text guidance needs the segment's "
                "categories, and its control points name none. Use a generator that names them (rcpg), or audio."
            )
        return self.tokens_of_words(task.categories or (NOTHING,), len(task))

    def tokens_of_words(self, words: Sequence[str], num_frames: int) -> AudioTokens:
        """One or more words, a token each, the same for so many frames.

        Raises:
            CoPropError: the encoder gives embeddings of another shape.
        """
        tokens = self._embed(words)[None].expand(num_frames, -1, -1)
        return AudioTokens(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), tokens.mean(dim=1))

    def _embed(self, words: Sequence[str]) -> Tensor:
        embeddings = torch.from_numpy(np.asarray(self._encode(words), np.float32))
        if embeddings.shape != (len(words), self._dim):
            raise CoPropError(
                f"the text encoder gave {tuple(embeddings.shape)} for {len(words)} words; the insert takes "
                f"({len(words)}, {self._dim}). Use the encoder that the insert was trained with."
            )
        return embeddings


def make_guide(
    insert: AudioInsert | None, audio: str | AudioFeatures | None, checkpoint: str | Path | None
) -> Guide | None:
    """The guide that an insert needs, from the propagator's options.

    Raises:
        CoPropError: audio without an insert, an insert without audio, or an unknown kind of audio.
        CheckpointError: the audio model's weights are missing or wrong.
    """
    if insert is None:
        if audio is not None:
            raise CoPropError(
                f"audio={audio!r} was given, but the checkpoint holds no audio insert and would not hear it. "
                "Take a plain propagator (r50_aotl, …) without audio, or a checkpoint trained with an insert."
            )
        return None
    dim, context = insert.audio_dim, int(insert.context_frames)
    if audio is None and (insert.heard == "logmel" or (insert.heard != "any" and checkpoint is not None)):
        audio = insert.heard  # as it was trained
    elif audio is None and checkpoint is not None:
        audio = "vggish"
    if callable(audio):
        return AudioGuide(audio, dim=dim, context_frames=context)
    if audio == "logmel":
        return AudioGuide(log_mel_features, dim=dim, context_frames=context)
    if audio is None or checkpoint is None:
        told = "" if insert.heard == "any" else f" It was trained with '{insert.heard}'."
        raise CoPropError(
            f"the checkpoint holds an audio insert of {dim} features a frame: give audio='vggish' or audio='text' "
            f"with audio_checkpoint=…, audio='logmel', or audio=a function that gives a clip's (T, D) features.{told}"
        )
    if audio == "vggish":
        return AudioGuide(vggish_features(checkpoint), dim=dim, context_frames=context)
    if audio == "text":
        from .text import text_encoder

        return TextGuide(text_encoder(checkpoint), dim=dim)
    raise unknown_name("audio", audio, ("logmel", "vggish", "text"))


def vggish_features(checkpoint: str | Path) -> AudioFeatures:
    """VGGish's 128 features of the sound around each frame's window."""
    from ..audio.vggish import VGGish

    model = VGGish.load(checkpoint)
    return lambda clip: model.embed_windows(clip.sound, clip.time_base.sound_window_s)


def log_mel_features(clip: Clip) -> np.ndarray:
    """``(T, 80) float32``: the mean and the spread over time of 40 log-mel bands in each frame's sound window.

    Needs no weights. Scaled to about [-1, 1]: 0 is 50 dB above digital silence, and a spread of 10 dB is 1.
    """
    return np.stack([_log_mel_of_window(clip.sound, *window) for window in clip.time_base.sound_window_s])


def _log_mel_of_window(sound: Sound, start_s: float, stop_s: float) -> np.ndarray:
    start = round(start_s * HOPS_PER_S)
    hops = log_mel(sound, start=start, stop=max(start + 1, round(stop_s * HOPS_PER_S)))
    return np.concatenate([(hops.mean(axis=0) - FLOOR_DB - 50) / 50, hops.std(axis=0) / 10]).astype(np.float32)
