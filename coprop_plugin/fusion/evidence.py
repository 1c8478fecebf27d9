"""What an ear hears of each object, as evidence: how much more probable an object's sounding became by it.

An ear tags the sound with classes. An object of a semantic prediction is known by its class's name (AVSBench's words by
the table of :mod:`coprop_plugin.audio.tags`, else AudioSet's own, else the table of what can be heard and seen); one of
a binary prediction, where that is wanted, by what its picture shows: if ImageNet's classes tell surely enough, and if that is
heard somewhere in the clip. Of an object that the ear does not know it says nothing. Where candidates are named, it is
asked about those alone; and how much an object moves can be asked beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..audio.tags import Tags
from ..errors import CoPropError
from ..language.answers import AnswerSource, NoText
from ..structures import Clip, Prediction
from ..vision.heard_and_seen import Kind, heard_and_seen, narrowest
from .candidates import Candidates, candidates_of, open_candidates, sounds_of
from .evidence_motion import Moved, Movement
from .objects import Objects

if TYPE_CHECKING:
    from ..audio.yamnet import YamNet
    from ..vision.imagenet import ImageNetClasses

YAMNET, OFF = "yamnet", "off"
HOP_S = 0.48  # between YAMNet's patches
PICTURES = 3  # of an object are looked at, the largest
SEEN_FROM = 0.6  # of a kind's probability: an object surely shows it
NAMED_FROM = (
    0.2  # of a candidate's probability: of 105 objects of the training part 17 were told rightly then, 1 wrongly
)
HEARD_FROM = 0.85  # nats: a kind read from a picture is heard so surely somewhere, or the picture may be misread
MAX_RATIO = 2.5  # nats that one frame may say

NOT_NAMED = "the ear was not asked about it, as it is none of the candidates"
UNKNOWN = "the ear does not know what it sounds like"
NOT_LOOKED = "binary masks name no classes, so the ear was not asked (consensus:look=True tells them by their pictures)"


class Hearing(Protocol):
    """An ear: what :class:`coprop_plugin.control_points.tagger.Tagger` can be asked, or anything like it."""

    def tags(self, clip: Clip) -> Tags:
        """A logit of each of its classes in windows of the clip's sound."""
        ...


@dataclass(frozen=True)
class EarWeights:
    """Of a logistic regression on a class's logits, the prior taken out of its bias.

    Fitted by ``benchmarks/fit_ear.py`` on 90 mixtures of the training part of the library of real objects. On 40 of the
    validation part, of the frames given 0.7 to 0.9 a share of 0.72 sound, of those given less than 0.1 a share of 0.13.

    Attributes:
        bias: log likelihood ratio at a logit of 0.
        here: for the logit in the frame.
    """

    bias: float = 2.02
    here: float = 0.24


FITTED = EarWeights()


@dataclass(frozen=True)
class Evidence:
    """What an ear says of C objects in T frames, and how they move, where that was asked.

    Attributes:
        sounds: of each object, the ear's classes that it may sound as; empty: the ear does not know it.
        ratio: ``(T, C)`` log likelihood ratio that it sounds, by the ear; 0 where the ear does not know it.
        note: what was asked or could not be, in words.
        unasked: of each object, why the ear was not asked about it; empty where it was, or does not know it.
        moved: how much they move.
        listened: whether there was an ear to ask.
    """

    sounds: tuple[tuple[str, ...], ...]
    ratio: np.ndarray
    note: str = ""
    unasked: tuple[str, ...] = ()
    moved: Moved | None = None
    listened: bool = True

    @property
    def total(self) -> np.ndarray:
        """``(T, C)`` log likelihood ratio that each object sounds, by all that was asked."""
        return self.ratio if self.moved is None else self.ratio + self.moved.ratio

    @property
    def known(self) -> np.ndarray:
        """``(C,) bool``, of which objects the ear says something."""
        return np.asarray(self.ratio.any(axis=0))

    def silence_about(self, c: int) -> str:
        """Why the ear says nothing of object c."""
        return (self.unasked[c] if self.unasked else "") or UNKNOWN

    def chances(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Object -> ``(T,)`` how probably it sounds by this alone (even odds before), for those that the ear knows."""
        heard = 1 / (1 + np.exp(-self.ratio))
        return {name: heard[:, c] for c, name in enumerate(names) if self.sounds[c]}


class InstalledYamNet:
    """YAMNet from the installed package, loaded when first asked.

    Raises:
        CoPropError: the package is not installed, with the line that installs it.
    """

    def __init__(self) -> None:
        from ..audio.yamnet_files import installed_weights

        self._weights = installed_weights()
        self._model: YamNet | None = None

    def tags(self, clip: Clip) -> Tags:
        from ..audio.yamnet import YamNet
        from ..audio.yamnet_files import class_names

        if self._model is None:
            self._model = YamNet.load(self._weights)
        return self._model.tags(clip.sound, class_names(), duration_s=clip.time_base.duration_s, hop_s=HOP_S)


@dataclass
class Witness:
    """Asks an ear about a clip's objects, and how much they move.

    Args:
        ear: what listens, if anything does.
        look: tell the objects of a binary prediction by their pictures; else the ear is not asked about them.
        candidates: names the things that may sound in a clip; the ear is asked about those alone.
        movement: asks how much the objects move.
        weights: of the likelihood ratios.
        pictures: tells what a picture shows; loaded from the installed package when first asked.
    """

    ear: Hearing | None
    look: bool = False
    candidates: AnswerSource | None = None
    movement: Movement | None = None
    weights: EarWeights = FITTED
    pictures: ImageNetClasses | None = field(default=None, repr=False)

    def ask(self, clip: Clip, base: Prediction, objects: Objects) -> Evidence:
        """The evidence for each object."""
        moved = None if self.movement is None else self.movement.ask(clip, objects)
        if self.ear is None:
            return Evidence(
                ((),) * objects.present.shape[1], np.zeros(objects.present.shape), moved=moved, listened=False
            )
        return replace(self._listened(self.ear, clip, base, objects), moved=moved)

    def _listened(self, ear: Hearing, clip: Clip, base: Prediction, objects: Objects) -> Evidence:
        """What the ear says of each object."""
        count, nothing = objects.present.shape[1], np.zeros(objects.present.shape)
        if base.binary and not self.look:
            return Evidence(((),) * count, nothing, NOT_LOOKED)
        among, note = self._among(clip)
        if base.binary:
            sounds, trouble = self._by_picture(clip, objects, among)
            note = trouble or note
        else:
            sounds = tuple(sounds_of(objects.name(c)) for c in range(count))
        unasked = [""] * count
        if among is not None:
            unasked = ["" if among.name(own) else f"{NOT_NAMED} ({among.told})" for own in sounds]
            sounds = tuple(() if why else own for own, why in zip(sounds, unasked, strict=True))
        if not any(sounds):
            return Evidence(((),) * count, nothing, note, tuple(unasked))
        tags = ear.tags(clip)
        place = {label.casefold(): i for i, label in enumerate(tags.labels)}
        logits = tags.on_frames(clip.time_base).astype(np.float64)
        known, ratio = [], nothing
        for c, names in enumerate(sounds):
            columns = [place[name.casefold()] for name in names if name.casefold() in place]
            told = likelihood_ratio(logits[:, columns].max(axis=1), self.weights) if columns else np.zeros(len(logits))
            if base.binary and told.max() < HEARD_FROM:
                columns, told = [], np.zeros(len(logits))
            known.append(tuple(tags.labels[i] for i in columns))
            ratio[:, c] = told
        return Evidence(tuple(known), ratio, note, tuple(unasked))

    def _among(self, clip: Clip) -> tuple[Candidates | None, str]:
        """The candidates of a clip, if there are any, and what is to be said of them."""
        if self.candidates is None:
            return None, ""
        found = candidates_of(clip, self.candidates)
        if isinstance(found, NoText):
            return None, f"no candidates for clip '{clip.clip_id}' ({found.why}): the ear was asked about every class"
        return found, f"the ear was asked about what {found.about} name alone: {found.told}"

    def _by_picture(
        self, clip: Clip, objects: Objects, among: Candidates | None
    ) -> tuple[tuple[tuple[str, ...], ...], str]:
        """What the objects of a binary prediction may sound as, by their pictures."""
        if self.pictures is None:
            from ..vision.imagenet import ImageNetClasses

            try:
                self.pictures = ImageNetClasses()
            except CoPropError as error:
                return ((),) * objects.present.shape[1], f"the ear was not asked: {error}"
        chances = [self._chances(clip, objects, c) for c in range(objects.present.shape[1])]
        return tuple(() if one is None else _sounds_of_kind(seen_kind(one, among)) for one in chances), ""

    def _chances(self, clip: Clip, objects: Objects, c: int) -> np.ndarray | None:
        """``(1000,)`` how probably an object's largest pictures show each of ImageNet's classes."""
        assert self.pictures is not None
        masks = {int(t): objects.mask(int(t), c) > 0.5 for t in np.flatnonzero(objects.present[:, c])}
        largest = sorted(masks, key=lambda t: -int(masks[t].sum()))[:PICTURES]
        rows = [self.pictures.crop_logits(clip.frames[t], masks[t][None])[0] for t in largest if masks[t].any()]
        if not rows:
            return None
        shares = np.exp(np.stack(rows) - np.max(rows, axis=1, keepdims=True))
        return np.asarray((shares / shares.sum(axis=1, keepdims=True)).mean(axis=0))


def seen_kind(chances: np.ndarray, among: Candidates | None = None) -> Kind | None:
    """The kind that is surely seen: of all kinds, or, where candidates are named, the likeliest of those.

    Args:
        chances: ``(1000,)`` probabilities of ImageNet's classes.
        among: the candidates; one of them is taken that has most of what all of them have, and not next to nothing.
    """
    if among is None:
        sure = [kind for kind in heard_and_seen().kinds.values() if kind.chance(chances) >= SEEN_FROM]
        return max(narrowest(sure), key=lambda kind: float(kind.chance(chances)), default=None)
    kinds = narrowest(among.kinds)
    shown = [float(kind.chance(chances)) for kind in kinds]
    best = int(np.argmax(shown)) if kinds else 0
    return kinds[best] if kinds and shown[best] >= max(NAMED_FROM, SEEN_FROM * sum(shown)) else None


def witness(
    evidence: str | Hearing,
    *,
    look: bool = False,
    candidates: AnswerSource | Mapping[str, Any] | str | Path | None = None,
    motion: float = 0.0,
) -> Witness | None:
    """Of the options ``evidence`` (``off``, ``yamnet``, or an ear), ``look``, ``candidates`` and ``motion``.

    Raises:
        CoPropError: another word, YAMNet's package is not installed, candidates that are none or that nobody is asked
            about, or a weight of motion out of its range.
    """
    movement = Movement(motion) if motion else None
    named = open_candidates(candidates)
    if isinstance(evidence, str) and evidence == OFF:
        if named is not None:
            raise CoPropError(
                f"candidates says what an ear is asked about: give evidence={YAMNET} (or an ear) with it."
            )
        return None if movement is None else Witness(None, movement=movement)
    if isinstance(evidence, str) and evidence == YAMNET:
        return Witness(InstalledYamNet(), look, named, movement)
    if callable(getattr(evidence, "tags", None)):
        assert not isinstance(evidence, str)
        return Witness(evidence, look, named, movement)
    raise CoPropError(
        f"consensus takes evidence={OFF}, evidence={YAMNET}, or an object with tags(clip); got {evidence!r}."
    )


def _sounds_of_kind(kind: Kind | None) -> tuple[str, ...]:
    return () if kind is None else kind.sounds


def likelihood_ratio(logits: np.ndarray, weights: EarWeights = FITTED) -> np.ndarray:
    """``(T,)`` log likelihood ratio that a class sounds in each frame, from its logits there."""
    return np.asarray((weights.bias + weights.here * logits).clip(-MAX_RATIO, MAX_RATIO))
