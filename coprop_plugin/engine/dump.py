"""What a refining hook leaves of a video besides its metrics: a result folder with a report, and overlays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..coprop import Result
from ..errors import CoPropError
from ..report.colours import class_colours
from ..report.compare import compare
from ..report.folder import save
from ..report.overlay import overlay_panels
from ..structures import Clip, Prediction


def check_visualizer(visualizer: Any) -> None:
    """Raise a :class:`CoPropError` where overlays would go nowhere."""
    if not visualizer._vis_backends:  # mmengine asks this attribute too; there is no public name for it
        raise CoPropError(
            "overlays=… are given to the runner's visualizer, which keeps nothing. Write visualizer=dict(type=…, "
            "vis_backends=[dict(type='LocalVisBackend')]) into the config."
        )


def write_video(
    folder: Path, result: Result, clip: Clip, *, truth: Prediction | None, settings: Mapping[str, Any], report: bool
) -> None:
    """``<folder>/<video id>/``: masks before and after, control points, ``run.json`` and, if asked for, ``report.html``.

    Args:
        truth: the true masks; the report then shows them, and scores.
        settings: what the hook was given, kept with the result.

    Raises:
        CoPropError: the id is no name of a folder.
    """
    if Path(clip.clip_id).name != clip.clip_id or clip.clip_id in ("", ".", ".."):
        raise CoPropError(f"the video id '{clip.clip_id}' cannot name a folder of output_dir.")

    save(
        result,
        folder / clip.clip_id,
        clip=clip,
        truth=truth if report else None,
        settings=settings,
        scores="none",
        overlay=False,
        page=report,
    )


def show_video(visualizer: Any, result: Result, clip: Clip, *, name: str) -> None:
    """Give the visualizer each frame, base and refined side by side over the sound, as steps of one image."""
    roles = {"base": result.base, "refined": result.prediction}
    colours = class_colours(compare(result.base, result.prediction).classes)
    for t, picture in enumerate(overlay_panels(clip, roles, result.control_points, colours=colours)):
        visualizer.add_image(name, picture, step=t)
