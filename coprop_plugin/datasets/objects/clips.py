"""Clips of real things with exact truth, and their sounds alone: what :mod:`..synthetic` makes by formula, from a library.

Same library, same seed, same bytes, in any order. Truth of who sounds follows the recordings, not the plan: a source
sounds in a frame when the midpoint of its sound window lies in a stretch in which its recordings are active (level with
hysteresis, :func:`.recordings.active_stretches`), pauses shorter than a second closed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Literal, get_args

import numpy as np

from ...errors import CoPropError, unknown_name
from ...structures import Clip, ControlPoints, FrameStack, Origin, Sound, TimeBase, change_flags
from ...structures.intervals import sounding_frames
from ..scene import Scene
from ..schedule import ClipKind, change_times_s, clip_kind, draw_states, intervals
from ..synthetic import SyntheticClip, frames_between
from ..timbre import SoundEvent
from .casting import Cast, Classes, Company, Player, Troupe
from .library import Library, read_background, read_cutout
from .mixture import (
    USUAL_SPEEDS,
    WIDE_SPEEDS,
    Placed,
    Room,
    draw_colour,
    draw_room,
    heard_s,
    place,
    render,
    render_apart,
)
from .picture import Photo, at_rest, draw_photo
from .recordings import RATE_HZ

Variety = Literal["usual", "wide"]
_ATTEMPTS = 200
_ANYWHERE = 0.5  # of a window: a change that belongs to frame k lies between the midpoints of k - 1 and k


class _Stream(IntEnum):
    CAST, STATES, TIMES, MOTION, LOOK, SOUND, HIDDEN, REST, COLOUR = range(9)


@dataclass(frozen=True)
class HeardSource:
    """One source of a clip.

    Attributes:
        class_name: of the library; ``narrator`` for a voice from off-screen.
        class_id: the library's number; 0 for a narrator.
        object_id: which visible object it is; ``None`` from off-screen, or where there is no picture.
        off_screen: whether it is no part of the truth of masks.
        intervals_s: ``(n, 2)`` when it is heard.
        level_db: beside the other sources.
    """

    class_name: str
    class_id: int
    object_id: int | None
    off_screen: bool
    intervals_s: np.ndarray
    level_db: float


@dataclass(frozen=True)
class HeardClip:
    """The sound of a clip and everything that is true of it.

    Attributes:
        name: of the clip.
        sound: mono, 16 kHz.
        time_base: whose windows the truth is told of.
        sources: all that is heard.
        noise_db: RMS of the noise relative to full scale (before the whole was turned down, if it was); ``None`` is none.
    """

    name: str
    sound: Sound
    time_base: TimeBase
    sources: tuple[HeardSource, ...]
    noise_db: float | None

    @cached_property
    def sounding(self) -> np.ndarray:
        """``(T, S) bool``: which source sounds at the midpoint of each window."""
        return np.stack([sounding_frames(s.intervals_s, self.time_base) for s in self.sources], axis=1)

    def control_points(self, *, off_screen: bool = True) -> ControlPoints:
        """Where the set of sources changes; without ``off_screen``, of those in the picture only."""
        counted = [i for i, source in enumerate(self.sources) if off_screen or not source.off_screen]
        sets = [frozenset(i for i in counted if on[i]) for on in self.sounding]
        flags = change_flags(sets)
        heard = [sets[t] for t in np.flatnonzero(flags)]
        names = tuple(tuple(sorted(self.sources[i].class_name for i in some)) for some in heard)
        return ControlPoints(flags, silent=tuple(not some for some in heard), categories=names, origin=Origin("truth"))


@dataclass(frozen=True)
class _Drawn:
    """A clip before it is rendered. Of the players the sources come first, in the order of their columns."""

    name: str
    rng: Callable[[_Stream], np.random.Generator]
    time_base: TimeBase
    company: Company
    placed: tuple[list[Placed], ...]
    levels_db: tuple[float, ...]
    room: Room
    variety: Variety

    @property
    def heard(self) -> tuple[Player, ...]:
        return (*self.company.sources, *((self.company.hidden,) if self.company.hidden else ()))

    def samples(self) -> np.ndarray:
        sources, colours = self._played()
        samples = render(sources, self.room, self.time_base.duration_s, colours=colours)
        samples.flags.writeable = False
        return samples

    def apart(self) -> np.ndarray:
        """``(S + 1, N)``: each source by itself, and the noise."""
        sources, colours = self._played()
        return render_apart(sources, self.room, self.time_base.duration_s, colours=colours)

    def _played(self) -> tuple[list[tuple[list[Placed], float]], list[np.ndarray]]:
        draw = self.rng(_Stream.COLOUR)
        colours = [draw_colour(draw) for _ in self.placed] if self.variety == "wide" else []
        return list(zip(self.placed, self.levels_db, strict=True)), colours


def make_object_sound(
    library: Library,
    seed: int,
    *,
    split: str,
    kind: str = "moc",
    num_frames: int | None = None,
    classes: Classes = "all",
    cast: Cast = "all",
    variety: Variety = "usual",
) -> HeardClip:
    """The sound of a clip without its pictures; some thirty times as fast.

    With ``cast="pictured"`` it is the sound of :func:`make_object_clip` with the same arguments, to the byte; with ``"all"`` objects
    without a picture and more voices are sources too.

    Args:
        library: where the recordings are from.
        seed: any integer from 0 on.
        split: ``train``, ``val`` or ``test``: nothing of another split is used.
        kind: ``s4``, ``ms3``, ``avss``, ``moc`` or ``uniform:RATE``.
        num_frames: T; by default the kind's.
        classes: ``avsbench`` leaves out what is of none of its classes.
        cast: who may be a source.
        variety: ``wide`` plays every source at a pitch and in a colour further from its own recordings', to train on.

    Raises:
        CoPropError: an unknown name, or a split with too little in it.
    """
    drawn = _draw(library, seed, split, kind, num_frames, classes, cast, variety)
    sources = []
    for i, (player, placed, level_db) in enumerate(zip(drawn.heard, drawn.placed, drawn.levels_db, strict=True)):
        off_screen = i >= len(drawn.company.sources)
        class_id = library.class_ids.get(player.class_name, 0)
        sources.append(HeardSource(player.class_name, class_id, None, off_screen, heard_s(placed), level_db))
    return HeardClip(drawn.name, Sound(drawn.samples(), RATE_HZ), drawn.time_base, tuple(sources), drawn.room.noise_db)


def make_object_tracks(
    library: Library,
    seed: int,
    *,
    split: str,
    kind: str = "moc",
    classes: Classes = "all",
    variety: Variety = "usual",
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What :func:`make_object_sound` mixes: ``(S + 1, N) float32`` at 16 kHz, and ``(n, 2)`` seconds of each source.

    Each source is by itself, in the clip's room; the last track is the noise. Arguments and errors as there.
    """
    drawn = _draw(library, seed, split, kind, None, classes, "all", variety)
    return drawn.apart(), [heard_s(placed) for placed in drawn.placed]


def make_object_clip(
    library: Library,
    seed: int,
    *,
    split: str,
    kind: str = "moc",
    num_frames: int | None = None,
    size: tuple[int, int] = (224, 224),
    semantic: bool = True,
    classes: Classes = "all",
    between_hz: int = 12,
    rest_share: float | None = None,
) -> SyntheticClip:
    """A clip of real objects with real sounds over a photograph.

    Args:
        library: what it is made of.
        seed: any integer from 0 on.
        split: ``train``, ``val`` or ``test``: nothing of another split is used.
        kind: as in :func:`~..synthetic.make_clip`.
        num_frames: T; by default the kind's.
        size: height and width in pixels, at least 32.
        semantic: whether the truth holds class ids (AVSBench's where it has the class, the library's from 71 on), or
            class 1 for whatever sounds.
        classes: ``avsbench`` leaves out what is of none of its classes.
        between_hz: rate of the frames that ``clip.between`` renders on demand; none is made before.
        rest_share: how probably each object stands still, under a camera that stands too; ``None``: all move.

    Raises:
        CoPropError: an unknown name, values out of range, or a split with too little in it.
    """
    if len(size) != 2 or min(size) < 32 or between_hz < 1:
        raise CoPropError(f"clips have at least 32 px a side and a between_hz from 1 on; got {size} and {between_hz}.")
    if rest_share is not None and not 0 <= rest_share <= 1:
        raise CoPropError(f"rest_share is a probability in [0, 1], got {rest_share}.")
    drawn = _draw(library, seed, split, kind, num_frames, classes, "pictured")
    time_base, company = drawn.time_base, drawn.company
    players = (*company.sources, *company.silent)
    order = drawn.rng(_Stream.CAST).permutation(len(players))  # from back to front
    columns = {int(player): column for column, player in enumerate(order)}
    photo = _photo(library, drawn, [players[i] for i in order], size, split)
    resting: tuple[int, ...] = ()
    if rest_share is not None:
        at_all = drawn.rng(_Stream.REST).random(len(players)) < rest_share
        resting = tuple((np.flatnonzero(at_all) + 1).tolist())
        photo = at_rest(photo, resting)
    heard = [heard_s(placed) for placed in drawn.placed]
    sounding = np.zeros((len(time_base), len(players)), bool)
    for i in range(len(company.sources)):
        sounding[:, columns[i]] = sounding_frames(heard[i], time_base)
    events = []
    for i, (player, pieces, level_db) in enumerate(zip(drawn.heard, heard, drawn.levels_db, strict=True)):
        object_id = columns[i] + 1 if i < len(company.sources) else None
        class_id = library.class_ids.get(player.class_name, 0)
        events += [SoundEvent(class_id, object_id, start, stop, level_db) for start, stop in pieces.tolist()]
    clip = Clip(
        drawn.name,
        FrameStack(
            lambda t: photo.render(time_base.frame_time_s[t]),
            num_frames=len(time_base),
            frame_shape=(*size, 3),
            dtype=np.uint8,
        ),
        Sound(drawn.samples(), RATE_HZ),
        time_base,
        between=frames_between(photo, between_hz),
    )
    object_class = {columns[i] + 1: library.class_ids[p.class_name] for i, p in enumerate(players)}
    scene = Scene(
        FrameStack(
            lambda t: photo.instances(time_base.frame_time_s[t]),
            num_frames=len(time_base),
            frame_shape=size,
            dtype=np.uint8,
        ),
        object_class,
        sounding,
        "semantic" if semantic else "binary",
        {library.class_ids[p.class_name]: p.class_name for p in players},
        drawn.name,
    )
    return SyntheticClip(clip, scene, tuple(events), drawn.room.noise_db, resting)


@lru_cache(maxsize=8)
def _troupe(library: Library, split: str, classes: Classes, cast: Cast) -> Troupe:
    return Troupe.of(library, split, classes=classes, cast=cast)


def _draw(
    library: Library,
    seed: int,
    split: str,
    kind: str,
    num_frames: int | None,
    classes: Classes,
    cast: Cast,
    variety: Variety = "usual",
) -> _Drawn:
    """Everything but the pictures, drawn until the recordings keep what the kind promises."""
    for name, value, allowed in (
        ("choice of classes", classes, Classes),
        ("cast", cast, Cast),
        ("variety", variety, Variety),
    ):
        if value not in get_args(allowed):
            raise unknown_name(name, value, get_args(allowed))
    rule = clip_kind(kind)
    num_frames = rule.num_frames if num_frames is None else num_frames
    if seed < 0 or num_frames < 1:
        raise CoPropError(f"clips have a seed from 0 on and at least 1 frame; got {seed} and {num_frames}.")
    troupe = _troupe(library, split, classes, cast)
    most = len(troupe.sounding)
    rule = replace(rule, sources=(min(rule.sources[0], most), min(rule.sources[1], most)))
    time_base = TimeBase.of(rule.sampling, num_frames)
    key = zlib.crc32(f"{split}:{kind}:{classes}:{cast}".encode())
    for attempt in range(_ATTEMPTS):

        def rng(stream: _Stream, attempt: int = attempt) -> np.random.Generator:
            return np.random.default_rng((seed, key, stream, attempt))

        states = draw_states(rng(_Stream.STATES), rule, num_frames)
        company = troupe.draw(rng(_Stream.CAST), rule, states.shape[1])
        placed, levels_db, room = _sound(
            rng, company, states, time_base, WIDE_SPEEDS if variety == "wide" else USUAL_SPEEDS
        )
        heard = [sounding_frames(heard_s(p), time_base) for p in placed[: len(company.sources)]]
        if _keeps(rule, states, np.stack(heard, axis=1)):
            name = f"{kind.replace(':', '').replace('/', '-')}_{split}_{seed:06d}"
            return _Drawn(name, rng, time_base, company, placed, levels_db, room, variety)
    raise CoPropError(
        f"{library.root}: {_ATTEMPTS} draws gave no clip of the kind '{kind}' with {num_frames} frames from the split '{split}'; "
        "its recordings are too short or too few for so many changes."
    )


def _sound(
    rng: Callable[[_Stream], np.random.Generator],
    company: Company,
    states: np.ndarray,
    time_base: TimeBase,
    speeds: tuple[float, float],
) -> tuple[tuple[list[Placed], ...], tuple[float, ...], Room]:
    """What is played when, how loud, in which room."""
    times_s = change_times_s(rng(_Stream.TIMES), time_base, _ANYWHERE)
    end_s, draw = time_base.duration_s, rng(_Stream.SOUND)
    room = draw_room(draw)
    placed, levels_db = [], []
    for column, player in enumerate(company.sources):
        turns = [(float(times_s[a]), float(times_s[b])) for a, b in intervals(states[:, column])]
        placed.append(place(draw, player.sounds, turns, end_s, speeds=speeds))
        levels_db.append(float(draw.uniform(-5, 5)))
    if company.hidden is not None:
        draw = rng(_Stream.HIDDEN)
        start_s = float(draw.uniform(0, 0.8 * end_s))
        turn = (start_s, min(end_s, start_s + float(draw.uniform(1.2, 5))))
        placed.append(place(draw, company.hidden.sounds, [turn], end_s, speeds=speeds))
        levels_db.append(float(draw.uniform(-12, -2)))
    return tuple(placed), tuple(levels_db), room


def _keeps(rule: ClipKind, states: np.ndarray, heard: np.ndarray) -> bool:
    """Whether what is heard is still a clip of its kind: every source at some midpoint, changes where it promises them."""
    changes = int((heard[1:] != heard[:-1]).any(axis=1).sum())
    planned = int((states[1:] != states[:-1]).any(axis=1).sum())
    if not heard.any(axis=0).all() or (planned == 0 and (changes or not heard.all())):
        return False
    return rule.change_share < 1 or changes >= rule.changes[0]


def _photo(library: Library, drawn: _Drawn, players: list[Player], size: tuple[int, int], split: str) -> Photo:
    backgrounds = library.of("backgrounds", split)
    if not backgrounds:
        raise CoPropError(
            f"{library.root}: has no backgrounds in the split '{split}'; clips need photographs to lie on."
        )
    look = drawn.rng(_Stream.LOOK)
    background = backgrounds[int(look.integers(len(backgrounds)))].picture
    assert background is not None
    cutouts = [read_cutout(p.thing.picture) for p in players if p.thing is not None and p.thing.picture is not None]
    motion = drawn.rng(_Stream.MOTION)
    return draw_photo(motion, look, cutouts, read_background(background), size, drawn.time_base.frame_time_s)
