"""How fast synthetic clips are made and rendered, masks and sound included, on one core.

    python benchmarks/synthetic.py

The goal is at least 200 frames of 224 by 224 a second, so that a training loop does not wait.
"""

from __future__ import annotations

import time

from coprop_plugin.datasets.synthetic import make_clip

CLIPS = {"s4": 30, "ms3": 30, "avss": 20, "moc": 20, "uniform:25": 3}


def frames_per_second(kind: str, clips: int) -> float:
    """Frames with their truth per CPU second; what every clip shares (timbres) is made before."""
    for seed in range(clips):
        make_clip(seed, kind=kind)
    start, frames = time.process_time(), 0
    for seed in range(clips):
        made = make_clip(seed, kind=kind)
        for t in range(made.clip.num_frames):
            made.clip.frames[t], made.scene.label_map(t)
        frames += made.clip.num_frames
    return frames / (time.process_time() - start)


if __name__ == "__main__":
    for kind, clips in CLIPS.items():
        print(f"{kind:<12} {frames_per_second(kind, clips):6.0f} frames of 224x224 a CPU second")
