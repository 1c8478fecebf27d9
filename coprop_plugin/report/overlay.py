"""Masks drawn over frames: one picture, a stream of pictures, and a strip that compares predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from ..errors import CoPropError
from ..masks.resize import nearest
from ..media.video_writer import write_video
from ..structures import Clip, ControlPoints, Prediction
from .colours import RGB, class_colours
from .compare import compare
from .drawing import DARK, LIGHT, below, beside, caption, fit, mark_column, paled, sound_strip

IGNORED_COLOUR: RGB = (150, 150, 150)
OPACITY = 0.45
EDGE_S = 2e-3  # a frame that begins with a window belongs to it
PLAY_HEAD_HZ = 10  # frames are repeated so often that the play head moves smoothly
PANEL_HEIGHT_PX = (240, 720)
MAX_WIDTH_PX = 960  # of all panels side by side; encoding takes most of the time of a refined clip
MAX_PICTURES_HZ = 15
MOST_SHOWN = 1 << 12  # frames of a video that are counted in a window


def overlay(
    frame: np.ndarray,
    labels: np.ndarray,
    *,
    colours: Mapping[int, RGB] | None = None,
    opacity: float = OPACITY,
    contour_px: int | None = None,
) -> np.ndarray:
    """One frame with its masks: a tint, a contour in the full colour and a dark line around it.

    Args:
        frame: ``(H, W, 3) uint8`` RGB.
        labels: ``(h, w)`` integer class ids, 0 background, -1 ignored (grey); resized to the frame where they differ.
        colours: class id -> RGB; by default :func:`class_colours` of the labels that occur.
        opacity: of the tint, 0 to 1.
        contour_px: width of the contour; by default 1 px per 200 px of the frame's shorter side.

    Returns:
        ``(H, W, 3) uint8`` RGB, a new array; pixels without a mask near them are the frame's own.

    Raises:
        CoPropError: wrong shapes, or a label that has no colour.
    """
    frame, labels = np.asarray(frame), np.asarray(labels)
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or labels.ndim != 2:
        raise CoPropError(
            f"an overlay takes a frame (H, W, 3) uint8 and labels (H, W), got {frame.dtype} {frame.shape} "
            f"and {labels.shape}."
        )
    return _Paint(labels, frame.shape[:2], colours=colours, opacity=opacity, contour_px=contour_px)(frame)


class _Paint:
    """The masks of one frame at the size of its pictures, worked out once, painted over as many as show it."""

    def __init__(
        self,
        labels: np.ndarray,
        size: tuple[int, int],
        *,
        colours: Mapping[int, RGB] | None,
        opacity: float = OPACITY,
        contour_px: int | None = None,
    ) -> None:
        labels = nearest(labels, size).astype(np.int16)
        present = [int(label) for label in np.unique(labels) if label > 0]
        colours = class_colours(present) if colours is None else colours
        if missing := [label for label in present if label not in colours]:
            raise CoPropError(f"no colour for the labels {missing}; colours are given for {sorted(colours)}.")
        flat, self.opacity = labels.reshape(-1), opacity
        shown = [*((label, colours[label]) for label in present), (-1, IGNORED_COLOUR)]
        self._tints = [(np.flatnonzero(flat == label), np.array(colour)) for label, colour in shown]
        # Contours lie inside the masks, a dark line around them.
        width_px = contour_px or max(1, round(min(labels.shape) / 200))
        kernel, positive = np.ones((2 * width_px + 1,) * 2, np.uint8), np.maximum(labels, 0)
        edge = (cv2.dilate(positive, kernel) != cv2.erode(positive, kernel)).reshape(-1)
        self._outside = np.flatnonzero(edge & (positive.reshape(-1) == 0))
        self._contours = [(np.flatnonzero(edge & (flat == label)), colours[label]) for label in present]

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        picture = frame.copy()
        pixels = picture.reshape(-1, 3)
        for inside, colour in self._tints:
            pixels[inside] = (1 - self.opacity) * pixels[inside] + self.opacity * colour
        pixels[self._outside] //= 3
        for inside, own in self._contours:
            pixels[inside] = own
        return picture


def overlay_frames(
    clip: Clip, prediction: Prediction, *, colours: Mapping[int, RGB] | None = None
) -> Iterator[np.ndarray]:
    """``(H, W, 3) uint8`` pictures of every frame with its masks, one at a time.

    Raises:
        CoPropError: the prediction has another number of frames than the clip.
    """
    check_frames(clip, prediction)
    colours = class_colours(prediction.class_ids) if colours is None else colours
    return (overlay(clip.frames[t], prediction.label_map(t), colours=colours) for t in range(clip.num_frames))


def write_overlay(
    path: str | Path,
    clip: Clip,
    prediction: Prediction,
    *,
    base: Prediction | None = None,
    control_points: ControlPoints | None = None,
    colours: Mapping[int, RGB] | None = None,
) -> None:
    """An mp4 of the masks over the frames, with sound, in real time: every frame stays for its window of the sound.

    Args:
        base: shown at the left of ``prediction`` where given.
        control_points: adds a strip with the waveform, the control points and a moving play head.
        colours: class id -> RGB; by default the report's.

    Raises:
        CoPropError: a prediction or control points of another number of frames than the clip.
        MediaError: the video cannot be written.
    """
    roles = {"prediction": prediction} if base is None else {"base": base, "refined": prediction}
    for role, shown in roles.items():
        check_frames(clip, shown, role=role)
    if control_points is not None and len(control_points) != clip.num_frames:
        raise CoPropError(
            f"clip '{clip.clip_id}' has {clip.num_frames} frames, the control points {len(control_points)}."
        )
    rate_hz = clip.time_base.sampling.rate_hz
    held = pictures_a_frame(clip, least_hz=0 if control_points is None else PLAY_HEAD_HZ)
    colours = class_colours(compare(base or prediction, prediction).classes) if colours is None else colours
    frames = overlay_panels(clip, roles, control_points, held=held, colours=colours)
    write_video(path, frames, rate_hz=rate_hz * held, sound=clip.sound)


def overlay_panels(
    clip: Clip,
    roles: Mapping[str, Prediction],
    control_points: ControlPoints | None,
    *,
    colours: Mapping[int, RGB],
    held: int = 1,
) -> Iterator[np.ndarray]:
    """Predictions side by side under their names, one ``(H, W, 3) uint8`` picture a frame.

    Each frame of the clip comes as ``held`` pictures: the video's own frames while its sound is heard, where the clip
    knows them, all under the one mask that stands for that time. With control points a strip of the sound lies below,
    over which a play head moves.
    """
    height_px, width_px = panel_size(clip.size, panels=len(roles))
    total_px = width_px * len(roles) + 4 * (len(roles) - 1)
    strip = None if control_points is None else _marked_strip(clip, control_points, total_px)
    names = [caption(name, width_px=width_px, height_px=24, theme=DARK) for name in roles] if len(roles) > 1 else []
    shown = _shown_in_window(clip)
    for t in range(clip.num_frames):
        paints = [_Paint(p.label_map(t), (height_px, width_px), colours=colours) for p in roles.values()]
        for i, frame in enumerate(_shown_during(clip, t, held=held, shown=shown)):
            small = fit(frame, (height_px, width_px))
            panels = [paint(small) for paint in paints]
            rows = [beside(row, gap_px=4, theme=DARK) for row in (names, panels) if row]
            if strip is not None:
                played = strip.copy()
                mark_column(played, int((t + (i + 0.5) / held) / clip.num_frames * total_px), DARK.ink)
                rows.append(played)
            yield below(rows, gap_px=0, theme=DARK)


def pictures_a_frame(clip: Clip, *, least_hz: float) -> int:
    """How many pictures stand for a frame of the clip: as many as the video shows meanwhile, at most MAX_PICTURES_HZ."""
    rate_hz = float(clip.time_base.sampling.rate_hz)
    most = max(1, int(MAX_PICTURES_HZ / rate_hz))
    return max(1, min(_shown_in_window(clip), most), math.ceil(least_hz / rate_hz))


def _shown_in_window(clip: Clip) -> int:
    """How many of its frames the video shows while one frame of the clip is heard; 0: only the clip's own are known."""
    return 0 if clip.between is None else sum(1 for _ in islice(_window(clip, 0), MOST_SHOWN))


def _window(clip: Clip, t: int) -> Iterator[np.ndarray]:
    """The video's own frames that begin while the sound of a frame of the clip is heard."""
    start_s, stop_s = map(float, clip.time_base.sound_window_s[t])
    return iter(()) if clip.between is None else iter(clip.between(start_s - EDGE_S, stop_s - EDGE_S))


def _shown_during(clip: Clip, t: int, *, held: int, shown: int) -> Iterator[np.ndarray]:
    """``held`` pictures: of the video's ``shown`` frames, evenly, the last one as long as it takes; else the clip's own."""
    frame: np.ndarray | None = None
    following, taken = _window(clip, t), 0
    for i in range(held):
        wanted = i * shown // held + 1 if shown > held else i + 1
        for newer in islice(following, wanted - taken):
            frame = newer
        taken = wanted
        yield clip.frames[t] if frame is None else frame


def _marked_strip(clip: Clip, control_points: ControlPoints, width_px: int) -> np.ndarray:
    strip = sound_strip(clip, control_points, width_px=width_px, height_px=56, theme=DARK)
    for t in control_points.frames:
        mark_column(strip, t * width_px // clip.num_frames, DARK.point)
    return strip


def panel_size(size: tuple[int, int], *, panels: int = 1) -> tuple[int, int]:
    """Height and width of a panel of the video: the frame's shape, of a size to play, with even sides."""
    scale = min(max(size[0], PANEL_HEIGHT_PX[0]), PANEL_HEIGHT_PX[1]) / size[0]
    scale = min(scale, ((MAX_WIDTH_PX - 4 * (panels - 1)) // panels - 1) / size[1])
    return 2 * max(1, round(scale * size[0] / 2)), 2 * max(1, round(scale * size[1] / 2))


def before_after_strip(
    clip: Clip,
    base: Prediction,
    refined: Prediction,
    *,
    truth: Prediction | None = None,
    control_points: ControlPoints | None = None,
    frames: Sequence[int] | None = None,
    panel_px: int = 96,
) -> np.ndarray:
    """One picture for a page: the sound, under it the frames, paled, with the masks before and after.

    Args:
        truth: a third row.
        control_points: marked in the sound, silent segments hatched.
        frames: those shown, each under its own stretch of sound; by default all.
        panel_px: height of one frame.

    Returns:
        ``(H, W, 3) uint8`` RGB on white.
    """
    shown = {"before": base, "after": refined, **({"truth": truth} if truth is not None else {})}
    for role, prediction in shown.items():
        check_frames(clip, prediction, role=role)
    frames = range(clip.num_frames) if frames is None else frames
    size = panel_px, round(panel_px * clip.size[1] / clip.size[0])
    colours = class_colours(compare(base, refined, truth=truth).classes)
    height_px, width_px = size
    small = {t: paled(fit(clip.frames[t], size), colour_share=0.3) for t in frames}
    sound = sound_strip(
        clip, control_points, width_px=width_px * clip.num_frames, height_px=height_px // 2, theme=LIGHT
    )
    rows = {"sound": [sound[:, t * width_px : (t + 1) * width_px] for t in frames]}
    for t, stretch in zip(frames, rows["sound"], strict=True):
        if control_points is not None and control_points.flags[t]:
            mark_column(stretch, 0, LIGHT.point)
    for role, prediction in shown.items():
        rows[role] = [overlay(small[t], prediction.label_map(t), colours=colours) for t in frames]
    drawn = [
        beside([caption(name, width_px=60, height_px=len(row[0]), theme=LIGHT), *row], gap_px=4, theme=LIGHT)
        for name, row in rows.items()
    ]
    return below(drawn, gap_px=4, theme=LIGHT)


def check_frames(clip: Clip, prediction: Prediction, *, role: str = "prediction") -> None:
    """Raise a :class:`CoPropError` unless the prediction has one mask for each frame of the clip."""
    if prediction.num_frames != clip.num_frames:
        raise CoPropError(
            f"clip '{clip.clip_id}' has {clip.num_frames} frames, the {role} {prediction.num_frames}; "
            "they must be the same. Check the sampling, or which masks were read."
        )
