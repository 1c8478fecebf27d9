"""What an ear hears of each object, as evidence: how much more probable an object's sounding became by it.

An ear tags the sound with classes. An object of a semantic prediction is known by its class's name (AVSBench's words by
the table of :mod:`coprop_plugin.audio.tags`, else AudioSet's own, else the table of what can be heard and seen); one of
a binary prediction, where that is wanted, by what its picture shows: if ImageNet's classes tell surely enough, and if that is
heard somewhere in the clip. Of an object that the ear does not know it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..audio.tags import Tags, avsbench_table
from ..errors import CoPropError
from ..structures import Clip, Prediction
from ..vision.heard_and_seen import Kind, heard_and_seen, narrowest
from .objects import Objects

if TYPE_CHECKING:
    from ..audio.yamnet import YamNet
    from ..vision.imagenet import ImageNetClasses

YAMNET, OFF = "yamnet", "off"
HOP_S = 0.48  # between YAMNet's patches
PICTURES = 3  # of an object are looked at, the largest
SEEN_FROM = 0.6  # of a kind's probability: an object surely shows it
HEARD_FROM = 0.85  # nats: a kind read from a picture is heard so surely somewhere, or the picture may be misread
MAX_RATIO = 2.5  # nats that one frame may say


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
    """What an ear says of C objects in T frames.

    Attributes:
        sounds: of each object, the ear's classes that it may sound as; empty: the ear does not know it.
        ratio: ``(T, C)`` log likelihood ratio that it sounds; 0 where the ear does not know it.
        note: what could not be asked, in words.
    """

    sounds: tuple[tuple[str, ...], ...]
    ratio: np.ndarray
    note: str = ""

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
    """Asks an ear about a clip's objects.

    Args:
        ear: what listens.
        look: tell the objects of a binary prediction by their pictures; else the ear is not asked about them.
        weights: of the likelihood ratios.
        pictures: tells what a picture shows; loaded from the installed package when first asked.
    """

    ear: Hearing
    look: bool = False
    weights: EarWeights = FITTED
    pictures: ImageNetClasses | None = field(default=None, repr=False)

    def ask(self, clip: Clip, base: Prediction, objects: Objects) -> Evidence:
        """The evidence for each object."""
        count, note = objects.present.shape[1], ""
        if base.binary and not self.look:
            return Evidence(((),) * count, np.zeros(objects.present.shape), NOT_LOOKED)
        if base.binary:
            sounds, note = self._by_picture(clip, objects)
        else:
            sounds = tuple(sounds_of(objects.name(c)) for c in range(count))
        if not any(sounds):
            return Evidence(((),) * count, np.zeros(objects.present.shape), note)
        tags = self.ear.tags(clip)
        place = {label.casefold(): i for i, label in enumerate(tags.labels)}
        logits = tags.on_frames(clip.time_base).astype(np.float64)
        known, ratio = [], np.zeros(objects.present.shape)
        for c, names in enumerate(sounds):
            columns = [place[name.casefold()] for name in names if name.casefold() in place]
            told = likelihood_ratio(logits[:, columns].max(axis=1), self.weights) if columns else np.zeros(len(logits))
            if base.binary and told.max() < HEARD_FROM:
                columns, told = [], np.zeros(len(logits))
            known.append(tuple(tags.labels[i] for i in columns))
            ratio[:, c] = told
        return Evidence(tuple(known), ratio, note)

    def _by_picture(self, clip: Clip, objects: Objects) -> tuple[tuple[tuple[str, ...], ...], str]:
        """What the objects of a binary prediction may sound as, by their pictures."""
        if self.pictures is None:
            from ..vision.imagenet import ImageNetClasses

            try:
                self.pictures = ImageNetClasses()
            except CoPropError as error:
                return ((),) * objects.present.shape[1], f"the ear was not asked: {error}"
        return tuple(_sounds_of_kind(self._kind(clip, objects, c)) for c in range(objects.present.shape[1])), ""

    def _kind(self, clip: Clip, objects: Objects, c: int) -> Kind | None:
        """What an object's largest pictures surely show."""
        assert self.pictures is not None
        masks = {int(t): objects.mask(int(t), c) > 0.5 for t in np.flatnonzero(objects.present[:, c])}
        largest = sorted(masks, key=lambda t: -int(masks[t].sum()))[:PICTURES]
        rows = [self.pictures.crop_logits(clip.frames[t], masks[t][None])[0] for t in largest if masks[t].any()]
        if not rows:
            return None
        shares = np.exp(np.stack(rows) - np.max(rows, axis=1, keepdims=True))
        chances = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
        sure = [kind for kind in heard_and_seen().kinds.values() if kind.chance(chances) >= SEEN_FROM]
        return max(narrowest(sure), key=lambda kind: float(kind.chance(chances)), default=None)


def witness(evidence: str | Hearing, *, look: bool = False) -> Witness | None:
    """Of the options ``evidence`` (``off``, ``yamnet``, or an ear) and ``look``.

    Raises:
        CoPropError: another word, or YAMNet's package is not installed.
    """
    if isinstance(evidence, str):
        if evidence == OFF:
            return None
        if evidence == YAMNET:
            return Witness(InstalledYamNet(), look)
    elif callable(getattr(evidence, "tags", None)):
        return Witness(evidence, look)
    raise CoPropError(
        f"consensus takes evidence={OFF}, evidence={YAMNET}, or an object with tags(clip); got {evidence!r}."
    )


def sounds_of(name: str) -> tuple[str, ...]:
    """AudioSet's display names that a class of that name sounds as; the name itself where no table has it."""
    plain = name.replace("_", " ").casefold()
    tables: Sequence[Mapping[str, tuple[str, ...]]] = (avsbench_table(), heard_and_seen().words())
    for table in tables:
        for known, names in table.items():
            if known.casefold() in (name.casefold(), plain):
                return names
    return (plain,)


def _sounds_of_kind(kind: Kind | None) -> tuple[str, ...]:
    return () if kind is None else kind.sounds


def likelihood_ratio(logits: np.ndarray, weights: EarWeights = FITTED) -> np.ndarray:
    """``(T,)`` log likelihood ratio that a class sounds in each frame, from its logits there."""
    return np.asarray((weights.bias + weights.here * logits).clip(-MAX_RATIO, MAX_RATIO))
