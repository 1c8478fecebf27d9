"""A clip without pictures, for what only listens."""

from __future__ import annotations

import numpy as np

from ..structures import Clip, FrameStack, Sampling, Sound, TimeBase, parse_sampling

TOLD_S = 0.05  # a longer tail that belongs to no frame is told


def clip_of_sound(
    sound: Sound, *, sampling: str | Sampling = "avsbench", clip_id: str = "sound", notes: tuple[str, ...] = ()
) -> Clip:
    """The sound under a sampling (``avsbench``: windows of one second), with black frames of one pixel."""
    sampling = parse_sampling(sampling)
    time_base = TimeBase.of(sampling, sampling.num_frames(sound.duration_s))
    tail_s = sound.duration_s - time_base.duration_s
    note = f"the last {tail_s:.2f} s of the sound belong to no frame under the sampling '{sampling}'"
    frames = FrameStack(
        lambda t: np.zeros((1, 1, 3), np.uint8), num_frames=len(time_base), frame_shape=(1, 1, 3), dtype=np.uint8
    )
    return Clip(clip_id, frames, sound, time_base, notes=(*notes, *([note] if tail_s > TOLD_S else [])))
