"""The two questions put to a model that sees, and hears, within stated limits."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from ...errors import CoPropError, unknown_name
from ...language.answers import Answers, NoText, checked, cleaned
from ...language.cache import AnswerCache, Cached
from ...language.model import Answer, AudioLanguageModel, Message, ModelError, Request, model_audio
from ...propagators.clip_cache import ClipCache
from ...structures import Clip

QUESTION_1 = {
    "a": "Describe the video.",
    "b": "Describe the video with every objects location.",
    "c": "Describe the video, give every objects location with their characteristic, "
    'with a format of "A NOUN VERB NOUN".',
    "d": "Describe the video, give every object's location with their characteristic, "
    'with a format of "A NOUN VERB NOUN", for example: "a man plays a guitar".',
}  # the paper's figure 7, from the poorest to the one that is used
QUESTION_2 = "According to the video, with {answer}, give the NOUN word that potentially produce sound."
VERSION = "ssp-1"  # of the questions' wording and form
MOST_PICTURES, SIDE_PX, SOUND_S = 8, 448, 30.0
_KEPT_BYTES = 1 << 20


class Asked:
    """Answers of a model, each question asked once: answers are cached, and kept while a clip is in use.

    Args:
        model: on a server or local; what it is sent: at most ``pictures`` frames, evenly spread, of ``side_px`` on the
            longer side, and the first 30 s of the sound (16 kHz, 16 bits).
        question: the wording of Q1, ``d`` (the paper's) or the poorer ``a``, ``b``, ``c``.
        pictures, side_px: limits of what is sent.
        sound: ``sent`` or ``left_out``, for models that only see.
        cache: of answers; ``None``: none are kept on disk.

    Raises:
        CoPropError: limits that leave nothing to send, or an unknown wording.
    """

    def __init__(
        self,
        model: AudioLanguageModel,
        *,
        question: str = "d",
        pictures: int = MOST_PICTURES,
        side_px: int = SIDE_PX,
        sound: Literal["sent", "left_out"] = "sent",
        cache: AnswerCache | None = None,
    ) -> None:
        if question not in QUESTION_1:
            raise unknown_name("wording of question 1", question, QUESTION_1)
        if sound not in ("sent", "left_out"):
            raise unknown_name("treatment of the sound", sound, ("sent", "left_out"))
        if pictures < 1 or side_px < 32:
            raise CoPropError(f"a model is shown at least 1 picture of at least 32 px; got {pictures} of {side_px} px.")
        self._model = Cached(model, cache, worth_keeping=_usable)
        self.question, self.pictures, self.side_px, self.sound = question, pictures, side_px, sound
        self._kept: ClipCache[Answers | NoText] = ClipCache(_KEPT_BYTES)

    @property
    def about(self) -> str:
        return (
            f"answers of {self._model.description} to question 1{self.question}, {self.pictures} frames of "
            f"{self.side_px} px{', the sound left out' if self.sound == 'left_out' else ''}"
        )

    def of(self, clip: Clip) -> Answers | NoText:
        """The answers about a clip.

        Raises:
            CoPropError: the model is not there, or refuses key, model or form.
        """
        if (known := self._kept.get(clip, "answers")) is None:
            known = self._ask(clip)
            self._kept.put(clip, "answers", known, num_bytes=1024)
        return known

    def _ask(self, clip: Clip) -> Answers | NoText:
        shown = shown_of(clip, most=self.pictures, side_px=self.side_px)
        audio = model_audio(clip.sound, 0.0, min(SOUND_S, clip.sound.duration_s))
        hears = self.sound == "sent" and len(audio) > 0

        def said(question: str, what: str) -> str | NoText:
            message = Message("user", question, "heard" if hears else "none", "seen")
            heard = audio if hears else np.zeros(0, np.float32)
            (answer,) = self._model.ask([Request((message,), heard, prompts=VERSION, pictures=shown)])
            if isinstance(answer, ModelError):
                return NoText(f"the model gave no {what}: {answer}")
            return cleaned(answer.text, what=what)

        first = said(QUESTION_1[self.question], "A1")
        if isinstance(first, NoText):
            return first
        second = said(question_2(first), "A2")
        return second if isinstance(second, NoText) else checked([first, second])


def question_2(first: str) -> str:
    """Q2 with A1 in the place of "A_1"."""
    return QUESTION_2.format(answer=f'"{first}"')


def _usable(answer: Answer) -> bool:
    return not isinstance(cleaned(answer.text, what="it"), NoText)


def shown_of(clip: Clip, *, most: int, side_px: int) -> tuple[np.ndarray, ...]:
    """At most so many frames, evenly spread, each with its longer side of ``side_px`` at most."""
    count = min(most, clip.num_frames)
    chosen = np.unique(np.linspace(0, clip.num_frames - 1, count).round().astype(int))
    return tuple(_smaller(np.asarray(clip.frames[int(t)]), side_px) for t in chosen)


def _smaller(frame: np.ndarray, side_px: int) -> np.ndarray:
    scale = side_px / max(frame.shape[:2])
    if scale >= 1:
        return frame
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
