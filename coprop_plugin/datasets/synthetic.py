"""Audio-visual clips made by formula, with exact masks and control points.

Same seed, same bytes. Every aspect of a clip has its own generator, so that a change in one leaves the others:
``np.random.default_rng((seed, crc32(kind), stream))`` with the streams of :class:`_Stream`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np

from ..errors import CoPropError, unknown_name
from ..structures import AVSBENCH_CLASSES, AVSBENCH_NAMES, Clip, FrameStack, Sound, TimeBase
from .pictures import draw_picture
from .scene import Scene
from .schedule import MAX_JITTER, ClipKind, change_times_s, clip_kind, draw_states, intervals
from .timbre import RATE_HZ, SoundEvent, mix

Onsets = Literal["grid", "free"]
Bed = Literal["drawn", "none"]
Timbres = Literal["class", "drawn"]


class _Stream(IntEnum):
    CAST, STATES, TIMES, MOTION, LOOK, SOUND, VOICES = range(7)


class Renders(Protocol):
    """What shows a picture of any moment."""

    def render(self, time_s: float) -> np.ndarray: ...


@dataclass(frozen=True)
class SyntheticClip:
    """A clip and everything that is true of it.

    Attributes:
        clip: frames, sound, time base; renders frames when asked, in-between frames too.
        scene: all visible objects at every frame, and which of them sound.
        events: the sounds as they were mixed, those from off-screen included.
        bed_db: level of the noise under them; ``None`` is digital silence.
        resting: ids of the objects that were made to stand still.
    """

    clip: Clip
    scene: Scene
    events: tuple[SoundEvent, ...]
    bed_db: float | None
    resting: tuple[int, ...] = ()


def make_clip(
    seed: int,
    *,
    kind: str = "moc",
    num_frames: int | None = None,
    size: tuple[int, int] = (224, 224),
    semantic: bool = True,
    onsets: Onsets = "grid",
    bed: Bed = "drawn",
    timbres: Timbres = "class",
    between_hz: int = 12,
) -> SyntheticClip:
    """A deterministic clip.

    Args:
        seed: any integer from 0 on.
        kind: ``s4`` (5 s, one source throughout), ``ms3`` (5 s, 17 in 64 change), ``avss`` (10 s, 45 % change),
            ``moc`` (10 s, at least 3 changes), or ``uniform:RATE``.
        num_frames: T; by default the kind's (``uniform``: 4 s).
        size: height and width in pixels, at least 32.
        semantic: whether the truth holds AVSBench class ids, or class 1 for whatever sounds.
        onsets: whether sounds change where a frame's window begins, or up to a quarter of a window away from there
            (the frame that a change belongs to is the same).
        bed: whether a bed of noise is drawn (in 60 % of the clips, -60 to -46 dB), or silence is digital silence.
        timbres: ``class``: every class has one, as the default generator was tuned on; ``drawn``: every source has one
            that it shares with no other, with breaths.
        between_hz: rate of the frames that ``clip.between`` renders on demand.

    Raises:
        CoPropError: an unknown kind, or values out of range.
    """
    rule = clip_kind(kind)
    num_frames = rule.num_frames if num_frames is None else num_frames
    _check(seed, num_frames, size, onsets, bed, timbres, between_hz)
    time_base = TimeBase.of(rule.sampling, num_frames)

    def rng(stream: _Stream) -> np.random.Generator:
        return np.random.default_rng((seed, zlib.crc32(kind.encode()), stream))

    states = draw_states(rng(_Stream.STATES), rule, num_frames)
    classes, sounding, off_screen = _cast(rng(_Stream.CAST), rule, states)
    picture = draw_picture(rng(_Stream.MOTION), rng(_Stream.LOOK), classes, size, time_base.frame_time_s)
    times_s = change_times_s(rng(_Stream.TIMES), time_base, MAX_JITTER if onsets == "free" else 0.0)
    sound_rng = rng(_Stream.SOUND)
    voices = rng(_Stream.VOICES).integers(1, 1 << 31, len(classes) + 1).tolist() if timbres == "drawn" else None
    events = _events(sound_rng, classes, sounding, off_screen, times_s, voices or [0] * (len(classes) + 1))
    bed_db = float(sound_rng.uniform(-60, -46)) if bed == "drawn" and sound_rng.random() < 0.6 else None
    samples = mix(sound_rng, events, time_base.duration_s, bed_db)
    name = f"{kind.replace(':', '').replace('/', '-')}_{seed:06d}"
    clip = Clip(
        clip_id=name,
        frames=FrameStack(
            lambda t: picture.render(time_base.frame_time_s[t]),
            num_frames=num_frames,
            frame_shape=(*size, 3),
            dtype=np.uint8,
        ),
        sound=Sound(samples, RATE_HZ),
        time_base=time_base,
        between=frames_between(picture, between_hz),
    )
    scene = Scene(
        instances=FrameStack(
            lambda t: picture.instances(time_base.frame_time_s[t]),
            num_frames=num_frames,
            frame_shape=size,
            dtype=np.uint8,
        ),
        object_class={i + 1: c for i, c in enumerate(classes)},
        sounding=sounding,
        labelling="semantic" if semantic else "binary",
        names={c: AVSBENCH_NAMES[c] for c in classes},
        source=name,
    )
    return SyntheticClip(clip, scene, tuple(events), bed_db)


def _cast(
    rng: np.random.Generator, rule: ClipKind, states: np.ndarray
) -> tuple[list[int], np.ndarray, tuple[int, int, int] | None]:
    """Classes of the objects from back to front, ``(T, O)`` which of them sound, and ``(class, start, stop)`` of a
    sound from off-screen, if there is one. All classes of a clip differ."""
    num_frames, num_sources = states.shape
    num_objects = num_sources + int(rng.integers(rule.distractors[0], rule.distractors[1] + 1))
    *classes, hidden = (int(c) for c in rng.choice(AVSBENCH_CLASSES, num_objects + 1, replace=False))
    sounding = np.zeros((num_frames, num_objects), bool)
    sounding[:, rng.permutation(num_objects)[:num_sources]] = states
    if rng.random() >= rule.off_screen_share:
        return classes, sounding, None
    start, stop = np.sort(rng.choice(num_frames + 1, 2, replace=False))
    return classes, sounding, (hidden, int(start), int(stop))


def _events(
    rng: np.random.Generator,
    classes: list[int],
    sounding: np.ndarray,
    off_screen: tuple[int, int, int] | None,
    times_s: np.ndarray,
    voices: list[int],
) -> list[SoundEvent]:
    """One event a run of frames in which an object sounds; an object keeps its level within 2 dB, and its voice."""
    events = []
    for column, class_id in enumerate(classes):
        level_db = rng.uniform(-22, -15)
        for start, stop in intervals(sounding[:, column]):
            level = float(level_db + rng.uniform(-1, 1))
            span_s = float(times_s[start]), float(times_s[stop])
            events.append(SoundEvent(class_id, column + 1, *span_s, level, voices[column]))
    if off_screen is not None:
        class_id, start, stop = off_screen
        level = float(rng.uniform(-30, -22))
        events.append(SoundEvent(class_id, None, float(times_s[start]), float(times_s[stop]), level, voices[-1]))
    return events


def frames_between(picture: Renders, rate_hz: int) -> Callable[[float, float], Iterator[np.ndarray]]:
    """Frames at multiples of ``1 / rate_hz`` strictly between two times."""

    def frames(start_s: float, stop_s: float) -> Iterator[np.ndarray]:
        first = Fraction(start_s) * rate_hz // 1 + 1
        k = int(first)
        while k / rate_hz < stop_s - 1e-9:
            if k / rate_hz > start_s + 1e-9:
                yield picture.render(k / rate_hz)
            k += 1

    return frames


def _check(
    seed: int, num_frames: int, size: tuple[int, int], onsets: str, bed: str, timbres: str, between_hz: int
) -> None:
    if seed < 0 or num_frames < 1 or between_hz < 1 or len(size) != 2 or min(size) < 32:
        raise CoPropError(
            "a synthetic clip needs a seed from 0 on, at least 1 frame, a between_hz from 1 on and a size of at least "
            f"(32, 32) px; got seed={seed}, num_frames={num_frames}, between_hz={between_hz}, size={size}."
        )
    if onsets not in ("grid", "free"):
        raise unknown_name("rule of onsets", onsets, ("grid", "free"))
    if bed not in ("drawn", "none"):
        raise unknown_name("bed", bed, ("drawn", "none"))
    if timbres not in ("class", "drawn"):
        raise unknown_name("rule of timbres", timbres, ("class", "drawn"))
