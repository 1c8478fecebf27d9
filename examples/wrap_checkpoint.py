"""For the user who wraps a model's checkpoint: from a video and a published AVS checkpoint to aligned masks.

    python examples/wrap_checkpoint.py video.mp4 --adapter avsegformer --checkpoint MS3_pvt2.pth -o out/
    python examples/wrap_checkpoint.py video.mp4 --adapter tpavi --checkpoint MS3_resnet.pth --audio vggish.pth -o out/

The same on the command line: coprop refine video.mp4 --adapter avsegformer --adapter-checkpoint MS3_pvt2.pth -o out/
``coprop checkpoint inspect FILE`` tells which adapter and variant a file fits.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import coprop_plugin as cp


def main(arguments: Sequence[str] | None = None) -> cp.Prediction:
    """Wrap the checkpoint, refine the video, write what ``coprop refine`` writes; returns the refined prediction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--adapter", required=True, help="avsegformer, tpavi, catr, aavs")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--audio", help="VGGish weights, where the model needs them as a file of their own")
    parser.add_argument("--variant", help="where several variants share one layout")
    parser.add_argument("--mode", choices=("clip", "frame"), default="clip")
    parser.add_argument("-o", "--out", required=True)
    args = parser.parse_args(arguments)

    given = {"checkpoint": args.checkpoint, "audio_checkpoint": args.audio, "variant": args.variant}
    model = cp.build_adapter(args.adapter, **{name: value for name, value in given.items() if value})
    clip = cp.read_clip(args.video)
    # Run over the whole clip, the default policy compares all frames; run at keyframes alone, it is the paper's.
    method = cp.CoProp() if args.mode == "clip" else cp.CoProp.paper()
    result = method(clip, model, mode=args.mode)
    result.save(
        args.out, clip=clip
    )  # masks, scores, control points, overlay and report, as `coprop refine` writes them
    print(f"{len(result.changed)} of {clip.num_frames} frames changed; control points {result.control_points.frames}")
    return result.prediction


if __name__ == "__main__":
    main()
