"""How well propagators carry a given first mask through real video (DAVIS clips in a folder): mean J, CPU ms a frame.

    python benchmarks/real_vos.py DIR --every 4 8 16 --propagators hold flow match

DIR holds NAME/frames (or one video) and NAME/masks (or masks_A_B.npz, of frames A to B, which are then the clip). Every n-th frame is a frame of the clip, at most 12; the first mask is
given; J is the mean IoU of every object of the first mask over the other frames, scored at 240 px height. Nothing is fitted
here. ``--between`` hands over the frames in between, as a video has them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from coprop_plugin import parts
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.structures import Clip, FrameStack, Sound, TimeBase

SCORED_PX, MOST_FRAMES, RATE_HZ = 240, 12, 24


def frames_of(folder: Path) -> list[np.ndarray]:
    """All frames of a clip, RGB."""
    if (folder / "frames").is_dir():
        return [cv2.imread(str(p))[..., ::-1] for p in sorted((folder / "frames").iterdir())]
    video = cv2.VideoCapture(str(next(folder.glob("*.mp4"))))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1][..., ::-1])
    return frames


def labelled(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The frames that have masks, and the object ids of each; 0/255 masks hold one object."""
    frames = frames_of(folder)
    if packed := next(folder.glob("masks_*_*.npz"), None):
        first, last = (int(number) for number in packed.stem.split("_")[1:])
        return frames[first : last + 1], list(np.load(packed)["masks"])
    labels = [np.asarray(Image.open(p)) for p in sorted((folder / "masks").iterdir())]
    return frames, [np.where(label == 255, 1, label) if label.max() == 255 else label for label in labels]


def clip_of(frames: list[np.ndarray], every: int, *, between: bool) -> Clip:
    """Every n-th frame as a clip at DAVIS' 24 frames a second."""
    chosen = frames[::every][:MOST_FRAMES]
    rate = Fraction(RATE_HZ, every)
    base = TimeBase.of(f"uniform:{rate}", len(chosen))

    def inner(start_s: float, stop_s: float) -> Iterator[np.ndarray]:
        for i, frame in enumerate(frames):
            if start_s + 1e-6 < i / RATE_HZ < stop_s - 1e-6:
                yield frame

    stack = FrameStack(
        lambda t: np.ascontiguousarray(chosen[t]), num_frames=len(chosen), frame_shape=chosen[0].shape, dtype=np.uint8
    )
    return Clip("clip", stack, Sound.silence(len(chosen) * every / RATE_HZ), base, between=inner if between else None)


def scored(labels: np.ndarray, like: np.ndarray) -> np.ndarray:
    width = round(like.shape[1] * SCORED_PX / like.shape[0])
    return cv2.resize(labels.astype(np.uint8), (width, SCORED_PX), interpolation=cv2.INTER_NEAREST)


def run(folder: Path, name: str, every: int, *, between: bool) -> tuple[float, float]:
    """``(J in percent, CPU ms a frame)``."""
    frames, labels = labelled(folder)
    clip, truth = clip_of(frames, every, between=between), labels[::every][:MOST_FRAMES]
    ids = [i for i in np.unique(truth[0]) if i]
    mask = np.stack([truth[0] == i for i in (0, *ids)]).astype(np.float32)
    start = time.process_time()
    (masks,) = parts.build("propagator", name).propagate(clip, [PropagationTask(0, clip.num_frames, 0, mask)])
    spent_ms = 1000 * (time.process_time() - start) / max(1, clip.num_frames - 1)
    found = [scored(np.array((0, *ids))[m.argmax(axis=0)], m[0]) for m in masks[1:]]
    wanted = [scored(label, label) for label in truth[1:]]
    ious = []
    for i in ids:
        for got, want in zip(found, wanted, strict=True):
            a, b = got == i, want == i
            ious.append(1.0 if not (a | b).any() else float((a & b).sum() / (a | b).sum()))
    return 100 * float(np.mean(ious)), spent_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", nargs="+", default=["bmx-trees", "car-shadow", "schoolgirls"])
    parser.add_argument("--every", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--propagators", nargs="+", default=["hold", "flow", "match"])
    parser.add_argument("--between", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print("| every | propagator | " + " | ".join(options.clips) + " | mean J | CPU ms a frame |")
    print("|---|---|" + "---|" * (len(options.clips) + 2))
    for every in options.every:
        for name in options.propagators:
            results = [run(options.folder / clip, name, every, between=options.between) for clip in options.clips]
            mean, spent = np.mean([j for j, _ in results]), np.mean([ms for _, ms in results])
            cells = " | ".join(f"{j:.1f}" for j, _ in results)
            print(f"| {every} | {name} | {cells} | {mean:.1f} | {spent:.0f} |", flush=True)
            rows.append(
                {
                    "every": every,
                    "propagator": name,
                    "J": dict(zip(options.clips, [j for j, _ in results], strict=True)),
                }
            )
    if options.json:
        options.json.write_text(json.dumps({"between": options.between, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
