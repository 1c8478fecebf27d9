"""Sequences whose pictures are moved about besides: a camera that turns, shifts and zooms, things that bend, light, twins.

AOT is pre-trained on still photographs moved like this; here it is done to short sequences of composed pictures, whose
backgrounds would stand still otherwise.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from .losses import IGNORE
from .sequences import MaskedSequence

TURN_DEG, SHIFT, ZOOM = 8.0, 0.08, 0.12  # spread of a step from frame to frame
BEND, BEND_CELLS = 0.025, 4  # spread of a bend in shares of a side, and how many bends a side has
LIGHT, COLOUR = 0.12, 0.05
STILL_SHARE = 0.25  # of the sequences stay as they are
TWIN_SHARE, TWIN_AWAY = (
    0.3,
    (0.15, 0.5),
)  # of the sequences have an object's likeness about, so far away along both axes
STRIP_SHARE, STRIP_WIDTH = 0.3, (0.1, 0.3)  # of the sequences have something pass before everything, so wide


def moved(sequence: MaskedSequence, rng: np.random.Generator) -> MaskedSequence:
    """The sequence with its frames and labels moved together, each frame further from the first.

    The strength is drawn for each sequence, so that slow ones are seen as well as fast ones; what comes in from
    outside the picture is its mirror image, and is of no known label there.
    """
    if rng.random() < TWIN_SHARE:
        sequence = _with_twin(sequence, rng)
    if rng.random() < STRIP_SHARE:
        sequence = _passed_by(sequence, rng)
    if rng.random() < STILL_SHARE:
        return sequence
    strength = rng.uniform(0, 1.5)
    assert sequence.frames is not None, "what was seen already is not moved"
    frames, labels = [], []
    size = sequence.labels.shape[1:]
    camera, bend = np.zeros(4), np.zeros((BEND_CELLS, BEND_CELLS, 2))
    light = np.zeros(6)
    for frame, label in zip(sequence.frames, sequence.labels, strict=True):
        x, y = _places(size, camera, bend)
        frames.append(
            _recoloured(
                cv2.remap(np.asarray(frame, np.float32), x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT_101), light
            )
        )
        labels.append(
            cv2.remap(label.astype(np.float32), x, y, cv2.INTER_NEAREST, None, cv2.BORDER_CONSTANT, IGNORE).astype(
                np.int64
            )
        )
        camera = camera + strength * rng.normal(0, (TURN_DEG, SHIFT, SHIFT, ZOOM))
        bend = bend + strength * rng.normal(0, BEND, bend.shape)
        light = light + rng.normal(0, (LIGHT, LIGHT, LIGHT, COLOUR, COLOUR, COLOUR))
    if not all((labels[0] == identity).any() for identity in sequence.identities):
        return sequence
    return replace(sequence, frames=np.stack(frames), labels=np.stack(labels))


def _with_twin(sequence: MaskedSequence, rng: np.random.Generator) -> MaskedSequence:
    """Behind all objects goes one that looks like one of them and is none: its frames from the last to the first."""
    assert sequence.frames is not None
    _, height, width = sequence.labels.shape
    frames, labels = np.array(sequence.frames), sequence.labels
    identity = rng.choice(sequence.identities)
    share, sign = rng.uniform(*TWIN_AWAY, 2), rng.choice([-1, 1], 2)
    down, right = (int(side * part) for side, part in zip((height, width), share * sign, strict=True))
    for frame, label, other, others in zip(frames, labels, sequence.frames[::-1], labels[::-1], strict=True):
        y, x = np.nonzero(others == identity)
        inside = (y + down >= 0) & (y + down < height) & (x + right >= 0) & (x + right < width)
        y, x = y[inside], x[inside]
        free = label[y + down, x + right] == 0
        frame[y[free] + down, x[free] + right] = np.asarray(other)[y[free], x[free]]
    return replace(sequence, frames=frames)


def _passed_by(sequence: MaskedSequence, rng: np.random.Generator) -> MaskedSequence:
    """From the second frame on an upright strip of the picture, upside down, passes before everything."""
    length, _, width = sequence.labels.shape
    assert sequence.frames is not None
    strip = strip_of(np.asarray(sequence.frames[0]), share=rng.uniform(*STRIP_WIDTH), rng=rng)
    frames, labels = np.array(sequence.frames), sequence.labels.copy()
    start, speed = rng.uniform(-0.2, 1.0), rng.uniform(-0.4, 0.4)
    for t in range(1, length):
        cover(frames[t], labels[t], strip, left=round((start + speed * t) * width))
    return replace(sequence, frames=frames, labels=labels)


def strip_of(frame: np.ndarray, *, share: float, rng: np.random.Generator) -> np.ndarray:
    """``(H, w, 3)``: a strip of a frame of this share of its width, from anywhere in it, upside down."""
    width = frame.shape[1]
    wide = max(1, round(share * width))
    left = int(rng.integers(width - wide + 1))
    return frame[::-1, left : left + wide].copy()


def cover(frame: np.ndarray, label: np.ndarray, strip: np.ndarray, *, left: int) -> None:
    """Put a strip before a frame, in place; its pixels belong to no object. What lies outside is cut off."""
    first, last = max(0, left), min(frame.shape[1], left + strip.shape[1])
    if first < last:
        frame[:, first:last] = strip[:, first - left : last - left]
        label[:, first:last] = 0


def _places(size: tuple[int, ...], camera: np.ndarray, bend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel is taken from, ``(H, W) float32`` each."""
    height, width = size
    turn_deg, right, down, zoom = camera
    centre = (width / 2, height / 2)
    matrix = cv2.getRotationMatrix2D(centre, float(turn_deg), float(np.exp(zoom)))
    matrix[:, 2] += (right * width, down * height)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    field = cv2.resize(bend.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return (
        (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] + field[..., 0] * width).astype(np.float32),
        (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] + field[..., 1] * height).astype(np.float32),
    )


def _recoloured(frame: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Contrast, brightness and gamma of all channels, then each channel's own gain."""
    contrast, bright, gamma = np.exp(light[:3].clip(-0.4, 0.4))
    x = (np.clip(frame, 0, 255) / 255) ** gamma
    x = (x - 0.5) * contrast + 0.5 * bright
    return np.asarray((x * np.exp(light[3:].clip(-0.2, 0.2))).clip(0, 1) * 255, np.float32)
