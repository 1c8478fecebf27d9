"""RCPG (paper, section 3.2, algorithm 1): an audio language model marks the frames where the sound's sources change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...errors import CoPropError, unknown_name
from ...language.model import (
    Answer,
    AudioLanguageModel,
    BitList,
    Message,
    ModelError,
    Request,
    audio_sha256,
    model_audio,
)
from ...language.opening import open_model
from ...parts import build, part
from ...structures import Clip, ControlPoints, Origin, Prediction
from ..base import ControlPointGenerator
from . import prompts
from .document import Document, read_document
from .parse import Failure, Marked, read_categories, read_flags
from .retrieval import NUM_EXAMPLES, match_category, retrieve
from .windows import QuestionWindow, merge, plan_windows

VARIANTS = ("rcpg", "three_step", "one_step")


@dataclass
class Talk:
    """The conversation about one window of a clip, while it goes on.

    Attributes:
        categories: what the model heard; ``None`` where it was not asked or not understood.
        flags, p_change: ``(seconds,)`` each, when it is over; ``p_change`` where the model shows probabilities.
        repairs: what had to be mended; ``problem``: why there are no flags.
    """

    clip: Clip
    window: QuestionWindow
    audio: np.ndarray
    messages: tuple[Message, ...] = ()
    categories: tuple[str, ...] | None = None
    flags: np.ndarray | None = None
    p_change: np.ndarray | None = None
    repairs: list[str] = field(default_factory=list)
    problem: str | None = None

    def asked(self, question: str) -> tuple[Message, ...]:
        """The conversation with one more question; the first one comes with the sound."""
        return (*self.messages, Message("user", question, "none" if self.messages else "heard"))


@part(
    "control_points",
    "rcpg",
    needs="an audio language model: a folder, a hub id, a server or recorded answers",
    takes=("language.local:LocalModel", "language.server:ServerModel"),
    example="model=MODEL_DIR,examples=D.json",
)
class RCPG(ControlPointGenerator):
    """Ask an audio language model, second by second, where the set of sounding objects changes.

    A malformed answer is asked for once more with a changed prompt; then the fallback generator stands in, and
    ``origin`` tells it. Fills ``categories`` (what the model heard in the windows of a segment; it does not say when)
    and, with constrained decoding here or with ``agreement``, ``confidence``.

    Args:
        model: an :class:`AudioLanguageModel`, a folder, a hub id, or with ``server`` the model's name there.
        server: address of an OpenAI-compatible server.
        replay: recorded answers.
        variant: ``rcpg`` (describe, categories, retrieve, mark), or the paper's ablations ``three_step``, ``one_step``.
        examples: the annotated document D, or its file (``coprop annotate``); without it none are shown.
        num_examples: how many are shown.
        agreement: answers sampled for the marking; 1 is greedy. The majority holds, its share is the confidence.
        decoding: ``constrained`` to a list where the model can, or ``free``.
        window_s, overlap_s: longest sound put to the model (default: what it hears) and overlap of windows.
        fallback: the generator that stands in; ``None``: a failure is an error.
        cache: folder of the answer cache, ``"default"``, or ``"off"``.
        options: of :class:`~.local.LocalModel` or :class:`~.server.ServerModel`, as ``device`` or ``timeout_s``.

    Raises:
        CoPropError: no model is named or found, or an option is out of range.
    """

    def __init__(
        self,
        *,
        model: AudioLanguageModel | str | Path | None = None,
        server: str | None = None,
        replay: str | Path | Sequence[dict[str, Any]] | None = None,
        variant: prompts.Variant = "rcpg",
        examples: Document | str | Path | None = None,
        num_examples: int = NUM_EXAMPLES,
        agreement: int = 1,
        decoding: Literal["constrained", "free"] = "constrained",
        window_s: int | None = None,
        overlap_s: int = 6,
        fallback: Any = "boundary",
        cache: str | Path = "default",
        **options: Any,
    ) -> None:
        if variant not in VARIANTS:
            raise unknown_name("variant of rcpg", variant, VARIANTS)
        if decoding not in ("constrained", "free"):
            raise unknown_name("decoding of rcpg", decoding, ("constrained", "free"))
        bounds = {
            "agreement": (agreement, 1, 101),
            "num_examples": (num_examples, 0, 100),
            "window_s": (window_s or 1, 1, 3600),
        }
        for option, (value, minimum, most) in bounds.items():
            if not isinstance(value, int) or not minimum <= value <= most:
                raise CoPropError(f"rcpg: {option} is a whole number from {minimum} to {most}, got {str(value)[:40]}.")
        self.variant, self.num_examples, self.agreement = variant, num_examples, agreement
        self.decoding, self.window_s, self.overlap_s = decoding, window_s, overlap_s
        self.document = read_document(examples) if isinstance(examples, str | Path) else examples
        self.fallback = None if fallback is None else build("control_points", fallback)
        self.wants_base = self.fallback is not None and self.fallback.wants_base
        self.model = open_model(model, server=server, replay=replay, cache=cache, **options)

    @property
    def calls(self) -> int:  # type: ignore[override]
        """Questions that went to the model so far; kept and recorded answers are none."""
        return self.model.calls

    def __call__(self, clip: Clip, *, base: Prediction | None = None) -> ControlPoints:
        """Ask about one clip; ``base`` is looked at by a fallback only.

        Raises:
            CoPropError: the model cannot be used, or failed and there is no fallback.
        """
        return self.many([clip], bases=[base])[0]

    def many(self, clips: Sequence[Clip], *, bases: Sequence[Prediction | None] | None = None) -> list[ControlPoints]:
        """Ask about several clips at once: models that batch answer faster."""
        grouped = [self._talks(clip) for clip in clips]
        talks = [talk for group in grouped for talk in group]
        if self.variant == "three_step":
            self._free_round(talks, prompts.ABLATION_DESCRIBE)
            self._free_round(talks, prompts.ABLATION_COUNT)
        elif self.variant == "rcpg":
            self._free_round(talks, prompts.DESCRIBE)
            vocabulary = self.document.vocabulary if self.document else ()
            self._free_round(talks, prompts.categories_question(vocabulary))
            for talk in talks:
                self._understand(talk, vocabulary)
        self._mark(talks)
        return [
            self._points(clip, group, base)
            for clip, group, base in zip(clips, grouped, bases or [None] * len(clips), strict=True)
        ]

    def _talks(self, clip: Clip) -> list[Talk]:
        seconds = max(1, math.ceil(clip.time_base.duration_s - 1e-6))
        window_s = int(min(self.model.window_s, self.window_s or math.inf))
        windows = plan_windows(seconds, window_s=window_s, overlap_s=self.overlap_s)
        return [Talk(clip, window, model_audio(clip.sound, window.start, window.stop)) for window in windows]

    def _ask(self, asked: Sequence[Request]) -> list[Answer | ModelError]:
        """The answers in order; a model that breaks down before any question (its name cannot be had) answers none."""
        try:
            return self.model.ask(asked) if asked else []
        except ModelError as error:
            return [error] * len(asked)

    def _free_round(self, talks: Sequence[Talk], question: str) -> None:
        """Put a question without a constraint to every conversation that goes on."""
        going = [talk for talk in talks if talk.problem is None]
        asked = [Request(talk.asked(question), talk.audio, prompts=prompts.VERSION) for talk in going]
        for talk, request, answer in zip(going, asked, self._ask(asked), strict=True):
            if isinstance(answer, ModelError):
                talk.problem = str(answer)
            elif answer.unfinished and not answer.text:
                talk.problem = "unfinished (the answer ends in the middle of its thinking)"
            else:
                talk.messages = (*request.messages, Message("assistant", answer.text))

    def _understand(self, talk: Talk, vocabulary: Sequence[str]) -> None:
        """The categories of the last answer, by the vocabulary's names where they mean one."""
        if talk.problem is not None:
            return
        names = read_categories(talk.messages[-1].text, vocabulary)
        if names is None:
            talk.repairs.append("no categories understood")
            return
        matches = [match_category(name, vocabulary) for name in names]
        meant = (match.category if match else name for name, match in zip(names, matches, strict=True))
        talk.categories = tuple(dict.fromkeys(meant))

    def _question(self, talk: Talk) -> str:
        if self.variant != "rcpg" or self.document is None or talk.categories is None:
            return prompts.mark_question(len(talk.window), variant=self.variant)
        sound = talk.clip.sound
        found = retrieve(
            talk.categories,
            self.document.entries,
            count=self.num_examples,
            exclude_ids={talk.clip.clip_id},
            exclude_audio={audio_sha256(sound.samples, sound.rate_hz)},
        )
        if not found:
            talk.repairs.append(f"no examples matched these categories: {', '.join(talk.categories) or 'silence'}")
        return prompts.mark_question(
            len(talk.window), variant=self.variant, examples=[(entry.categories or (), entry.flags) for entry in found]
        )

    def _mark(self, talks: Sequence[Talk]) -> None:
        """Ask for the lists, and once more where too few are valid."""
        going = [talk for talk in talks if talk.problem is None]
        questions = {id(talk): self._question(talk) for talk in going}
        for attempt in ("first", "second"):
            asked = []
            for talk in going:
                question = questions[id(talk)]
                constraint = BitList(len(talk.window)) if self.decoding == "constrained" else None
                seeds = [None] if self.agreement == 1 else range(self.agreement)
                asked += [
                    Request(talk.asked(question), talk.audio, constraint, seed, prompts.VERSION) for seed in seeds
                ]
            answers = self._ask(asked)
            for i, talk in enumerate(going):
                self._take(talk, questions[id(talk)], answers[i * self.agreement : (i + 1) * self.agreement])
            going = [talk for talk in going if talk.problem is not None]
            if attempt == "first":
                for talk in going:
                    talk.repairs.append(f"asked again after {talk.problem}")
                    questions[id(talk)] = prompts.retry_question(questions[id(talk)], len(talk.window))

    def _take(self, talk: Talk, question: str, answers: Sequence[Answer | ModelError]) -> None:
        """The majority of the valid lists; a problem if they are no majority of all."""
        length, valid, chances, problem = len(talk.window), [], [], ""
        for answer in answers:
            if isinstance(answer, ModelError):
                problem = str(answer)
                continue
            if answer.unfinished:
                problem = "unfinished (the answer was cut off at its longest length)"
                continue
            read = read_flags(answer.text, length, prompt=question)
            if isinstance(read, Failure):
                problem = str(read)
                continue
            valid.append(read)
            chances.append(_chance(answer, read, length))
        if 2 * len(valid) <= len(answers):
            talk.problem = problem
            return
        talk.problem = None
        if any(read.first_forced == "forced" for read in valid):
            talk.repairs.append("first value set to 1")
        talk.flags = np.mean([read.flags for read in valid], axis=0) > 0.5
        if len(answers) > 1 or all(answer.p_change for answer in answers if isinstance(answer, Answer)):
            talk.p_change = np.mean(chances, axis=0)

    def _points(self, clip: Clip, talks: Sequence[Talk], base: Prediction | None) -> ControlPoints:
        several = [f"{len(talks)} windows of {len(talks[0].window)} s"] if len(talks) > 1 else []
        repairs = tuple(dict.fromkeys([*several, *(text for talk in talks for text in talk.repairs)]))
        problems = [talk.problem for talk in talks if talk.problem is not None]
        if not problems:
            points = _on_frames(clip, talks)
            return _with_categories(replace(points, origin=Origin(self.name, repairs)), clip, talks)
        if self.fallback is None:
            raise CoPropError(f"clip '{clip.clip_id}': rcpg got no list of control points: {problems[0]}.")
        points = self.fallback(clip, base=base)
        origin = Origin(self.name, (*repairs, f"no list: {problems[0]}"), fallback=points.origin.generator)
        return _with_categories(replace(points, origin=origin), clip, talks)


def _chance(answer: Answer, read: Marked, length: int) -> np.ndarray:
    """``(length,)`` chances of a control point: the model's own, or 0 and 1 of its list."""
    if answer.p_change is None:
        return read.flags.astype(float)
    chance = np.asarray(answer.p_change, float)
    if chance.shape != (length,) or not ((chance >= 0) & (chance <= 1)).all():
        raise CoPropError(f"a model gave chances of the shape {chance.shape} for {length} seconds, or outside [0, 1].")
    return chance


def _on_frames(clip: Clip, talks: Sequence[Talk]) -> ControlPoints:
    """The answers of all windows, second by second, mapped to frames once."""
    windows = [talk.window for talk in talks]
    changes = merge(windows, [talk.flags for talk in talks if talk.flags is not None])
    time_base = clip.time_base
    flags = time_base.flags_of_changes(np.flatnonzero(changes[1:]) + 1)
    chances = [talk.p_change for talk in talks if talk.p_change is not None]
    if len(chances) < len(talks):
        return ControlPoints(flags)
    chance = np.zeros(len(time_base))
    for second, p in enumerate(merge(windows, chances)):
        frame = time_base.frame_of_change(second)
        if frame is not None:
            chance[frame] = max(chance[frame], p)
    confidence = np.where(flags, chance, 1 - chance)
    confidence[0] = 1
    return ControlPoints(flags, confidence)


def _with_categories(points: ControlPoints, clip: Clip, talks: Sequence[Talk]) -> ControlPoints:
    """The names heard in the windows that a segment lies in; ``silent`` where these heard nothing."""
    middle_s = clip.time_base.sound_window_s.mean(axis=1)
    owner = np.searchsorted([talk.window.own_stop for talk in talks[:-1]], middle_s, side="right")
    categories: list[tuple[str, ...] | None] = []
    silent = list(points.silent or [None] * int(points.flags.sum()))
    for i, segment in enumerate(points.segments()):
        heard = [talks[k].categories for k in sorted(set(owner[segment.start : segment.stop].tolist()))]
        known = [names for names in heard if names is not None]
        if len(known) < len(heard):
            categories.append(None)
            continue
        categories.append(() if silent[i] else tuple(dict.fromkeys(name for names in known for name in names)))
        if silent[i] is None and not any(known):
            silent[i] = True
    return replace(
        points,
        categories=tuple(categories) if any(c is not None for c in categories) else None,
        silent=tuple(silent) if any(s is not None for s in silent) else None,
    )
