"""How well propagators carry a given first mask through clips of a library's real objects: mean J, CPU ms a frame.

    python benchmarks/library_vos.py objects:LIB:test:moc:0-13 --propagators hold flow match:height_px=256 aot_lite0

Composed clips of a second a frame; objects pass before one another, and with ``--strip 0.25`` a strip of a quarter of the
picture passes before all of them, once from left to right; masked is what is seen. The mask of the
first frame is given; J of an object is the mean IoU over the other frames in which it or its answer is seen. Nothing is
fitted here. Harm stands beside the mean: the share of clips that are worse than with the first propagator.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from coprop_plugin import parts
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.structures import Clip, FrameStack
from coprop_plugin.training.moved import cover, strip_of
from coprop_plugin.training.sequences import LabelledClip
from coprop_plugin.training.sources import open_source


def hidden_share(labels: np.ndarray) -> float:
    """The share of objects of the first frame that lose half of their area, or more, in some frame."""
    ids = [i for i in np.unique(labels[0]) if i > 0]
    areas = np.stack([(labels == i).sum(axis=(1, 2)) for i in ids])
    return float((areas.min(axis=1) < 0.5 * areas[:, 0]).mean())


def with_strip(made: LabelledClip, share: float, seed: int) -> LabelledClip:
    """The clip with a strip that comes in after the first frame and has left again at the end."""
    frames, labels = np.stack([made.clip.frames[t] for t in range(made.clip.num_frames)]), np.array(made.labels)
    strip = strip_of(frames[0], share=share, rng=np.random.default_rng(seed))
    width, last = frames.shape[2], len(frames) - 1
    for t in range(1, last):
        cover(frames[t], labels[t], strip, left=round((t / last) * (width + strip.shape[1])) - strip.shape[1])
    stack = FrameStack(lambda t: frames[t], num_frames=len(frames), frame_shape=frames.shape[1:], dtype=np.uint8)
    clip = Clip(made.clip.clip_id, stack, made.clip.sound, made.clip.time_base)
    return LabelledClip(clip, labels, made.flags, made.names)


def run(name: str, made: LabelledClip) -> tuple[float, float]:
    """``(J in percent, CPU ms a frame)``."""
    labels = np.asarray(made.labels)
    ids = [int(i) for i in np.unique(labels[0]) if i > 0]
    mask = np.stack([labels[0] == i for i in (0, *ids)]).astype(np.float32)
    mask[0] = 1 - mask[1:].sum(axis=0)
    propagator = parts.build("propagator", name)
    start = time.process_time()
    (masks,) = propagator.propagate(made.clip, [PropagationTask(0, made.clip.num_frames, 0, mask)])
    spent_ms = 1000 * (time.process_time() - start) / max(1, made.clip.num_frames - 1)
    ious = []
    for t in range(1, made.clip.num_frames):
        found = np.array((0, *ids))[masks[t].argmax(axis=0)]
        for i in ids:
            a, b = found == i, labels[t] == i
            if (a | b).any():
                ious.append((a & b).sum() / (a | b).sum())
    return 100 * float(np.mean(ious)), spent_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="objects:LIBRARY:SPLIT:KIND:FIRST-LAST")
    parser.add_argument("--propagators", nargs="+", default=["hold", "flow", "match:height_px=256", "aot_lite0"])
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("H", "W"))
    parser.add_argument("--strip", type=float, default=0.0, help="share of the width of what passes before everything")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = open_source(options.data, size=tuple(options.size), masks="visible")
    clips = [source[i] for i in range(len(source))]
    if options.strip:
        clips = [with_strip(clip, options.strip, i) for i, clip in enumerate(clips)]
    clips = [clip for clip in clips if (np.asarray(clip.labels[0]) > 0).any()]
    print(
        f"{len(clips)} clips; {100 * np.mean([hidden_share(c.labels) for c in clips]):.0f} % of objects are half hidden once"
    )
    print("| propagator | mean J | worst clip | clips worse than the first | CPU ms a frame |\n|---|---|---|---|---|")
    rows, first = [], None
    for name in options.propagators:
        found = [run(name, clip) for clip in clips]
        each = np.array([j for j, _ in found])
        first = each if first is None else first
        worse, spent = np.mean(each < first - 0.05), np.mean([ms for _, ms in found])
        print(f"| {name} | {each.mean():.1f} | {each.min():.1f} | {100 * worse:.0f} % | {spent:.0f} |", flush=True)
        rows.append({"propagator": name, "J": each.round(2).tolist(), "ms": round(spent, 1)})
    if options.json:
        options.json.write_text(json.dumps({"data": options.data.split(":", 2)[2], "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
