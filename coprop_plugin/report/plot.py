"""A result as a figure of matplotlib: the sound with its control points, and masks before and after."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CoPropError
from ..structures import Clip, Result
from .colours import class_colours
from .compare import compare
from .envelope import envelope
from .overlay import overlay
from .strips import choose_frames, shrink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THUMB_PX, COLUMNS = 240, 800


def plot(result: Result, *, clip: Clip | None = None, at_most: int = 8) -> Figure:
    """The figure, made without pyplot: no window opens, nothing global changes; a notebook shows it.

    Args:
        result: what ``CoProp`` returned.
        clip: what was refined, where the result does not hold it.
        at_most: how many frames are shown.

    Raises:
        CoPropError: matplotlib is not installed, no clip, or a number of frames below 2.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CoPropError("plots need matplotlib: pip install 'coprop-plugin[plot]'") from error
    clip = result.clip_of(clip)
    if at_most < 2:
        raise CoPropError(f"at_most is a number of frames from 2 on, got {at_most}.")

    class Shown(Figure):
        """A figure that notebooks show though pyplot never heard of it."""

        def _repr_png_(self) -> bytes:
            packed = io.BytesIO()
            self.savefig(packed, format="png")
            return packed.getvalue()

    roles = {"after": result.prediction}
    if result.base_frames is None:
        roles = {"before": result.base, **roles}
    frames = choose_frames(clip.num_frames, result.control_points.frames, at_most=at_most, changed=result.changed)
    figure = Shown(figsize=(1.6 * max(len(frames), 4), 1.4 + 1.3 * len(roles)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + len(roles), len(frames))
    _draw_sound(figure.add_subplot(grid[0, :]), result, clip)
    colours = class_colours(compare(roles.get("before", result.prediction), result.prediction).classes)
    for row, (role, prediction) in enumerate(roles.items(), start=1):
        for column, t in enumerate(frames):
            axes = figure.add_subplot(grid[row, column])
            axes.set_xticks([])
            axes.set_yticks([])
            axes.imshow(overlay(shrink(np.asarray(clip.frames[t]), THUMB_PX), prediction.label_map(t), colours=colours))
            if row == 1:
                axes.set_title(f"frame {t}", fontsize=8)
            if column == 0:
                axes.set_ylabel(role)
    return figure


def _draw_sound(axes: Axes, result: Result, clip: Clip) -> None:
    """The waveform, a dashed line at each control point, a band over each changed frame."""
    duration_s, windows = clip.time_base.duration_s, clip.time_base.sound_window_s
    outline = envelope(clip.sound, duration_s, columns=COLUMNS)
    axes.fill_between(np.linspace(0, duration_s, len(outline)), outline[:, 0], outline[:, 1], color="0.55", linewidth=0)
    for t in result.changed:
        axes.axvspan(*windows[t], color="tab:orange", alpha=0.25, linewidth=0)
    for t in result.control_points.frames:
        axes.axvline(windows[t, 0], color="tab:red", linestyle="--", linewidth=1)
    axes.set_xlim(0, duration_s)
    axes.set_yticks([])
    axes.set_xlabel("s; dashed: control points, orange: changed frames", fontsize=8)
    axes.set_title(f"{clip.clip_id}: {len(result.changed)} of {clip.num_frames} frames changed", parse_math=False)
