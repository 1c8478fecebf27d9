"""Mend masks that a model has saved: from a video and a folder of PNGs to aligned masks and their scores.

    python examples/saved_masks.py                         # makes a clip and lagging masks of its own
    python examples/saved_masks.py video.mp4 preds/ -o out # yours: one PNG a second, 0/255 or 0/1

Masks of several classes, object ids, probabilities or logits: see ``help(coprop_plugin.read_prediction)``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import coprop_plugin as cp
from coprop_plugin.store import write_masks, write_result


def mend(video: str | Path, masks: str | Path, out: str | Path) -> cp.Result:
    """Refine the saved masks of one video and write the result to ``out``."""
    clip = cp.read_clip(video)  # sampling="avsbench": one frame a second
    base = cp.read_prediction(masks, clip=clip)  # refuses holes, extra files and values that it does not know
    method = cp.CoProp(control_points="boundary", propagator="flow")
    result = method(clip, base)
    write_result(
        result,
        out,
        clip=clip,
        configuration={"control_points": "boundary", "propagator": "flow"},
        inputs={"video": video, "masks": masks},
    )
    return result


def make_example(folder: Path) -> tuple[Path, Path, cp.Prediction]:
    """A short video with sound, masks that follow it a second late, and the truth."""
    from coprop_plugin.datasets.simulators import simulate
    from coprop_plugin.datasets.synthetic import make_clip
    from coprop_plugin.media.video_writer import write_video

    made = make_clip(7, size=(96, 96), semantic=False)
    video, masks = folder / "example.mp4", folder / "preds"
    frames = [made.clip.frames[t] for t in range(made.clip.num_frames)]
    write_video(video, frames, rate_hz=made.clip.time_base.sampling.rate_hz, sound=made.clip.sound)
    write_masks(masks, simulate(made.scene, "lag", strength=1, seed=0))
    return video, masks, made.scene.truth()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", help="a video file with sound; without it an example is made")
    parser.add_argument("masks", nargs="?", help="the folder with its saved masks")
    parser.add_argument("-o", "--out", default="out", help="folder for the result (new, empty, or an earlier result)")
    arguments = parser.parse_args()
    if arguments.video and not arguments.masks:
        parser.error("a video needs its masks: saved_masks.py VIDEO MASKS")

    with tempfile.TemporaryDirectory() as scratch:
        truth = None
        video, masks = arguments.video, arguments.masks
        if not video:
            video, masks, truth = make_example(Path(scratch))
        result = mend(video, masks, arguments.out)
        print(f"segments: {[(segment.start, segment.stop) for segment in result.segments]}")
        if truth is not None:
            for name, prediction in (("before", cp.read_prediction(masks)), ("after", result.prediction)):
                scores = cp.score(prediction, truth, protocol="avsbench")
                print(name, {key: round(value, 3) for key, value in scores.items() if isinstance(value, float)})
    print(f"masks, control points and run.json are in {arguments.out}")


if __name__ == "__main__":
    main()
