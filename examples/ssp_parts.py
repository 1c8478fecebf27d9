"""For the user of SSP: which of its parts act on a video, and how much each changes.

    python examples/ssp_parts.py video.mp4 --checkpoint ssp.pth --audio vggish.pth
    python examples/ssp_parts.py video.mp4 --checkpoint ssp.pth --audio vggish.pth --flow perceiver/ \\
        --answers answers.json --text-encoder bert/ --vision-encoder clip/

Weights come from ``coprop train ssp``; AAVS's run too, and then every part is off. Answers may also be asked for:
``--answers http://127.0.0.1:8000/v1``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import coprop_plugin as cp


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Run the model with all its parts and with each left out; returns the share of pixels whose label changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--audio", required=True, help="VGGish weights")
    parser.add_argument("--flow", default="dis", help="dis, a Perceiver's folder, or flows as .npy")
    parser.add_argument("--answers", help="a JSON file, a server, or a folder with a model")
    parser.add_argument("--text-encoder")
    parser.add_argument("--vision-encoder")
    args = parser.parse_args(arguments)

    clip = cp.read_clip(args.video)
    given: dict[str, Any] = {"checkpoint": args.checkpoint, "audio_checkpoint": args.audio, "flow": args.flow}
    texts = {"answers": args.answers, "text_encoder": args.text_encoder, "vision_encoder": args.vision_encoder}
    whole = cp.build_adapter("ssp", **given, **texts).predict(clip)
    for note in whole.notes:
        print(note)
    changed = {}
    for name, options in {
        "without the pre-mask": {**texts, "pre_mask": "off"},
        "with a pre-mask that dims": {**texts, "pre_mask": "floor"},
        "without texts": {},
    }.items():
        other = cp.build_adapter("ssp", **given, **options).predict(clip)
        shares = [(other.label_map(t) != whole.label_map(t)).mean() for t in range(clip.num_frames)]
        changed[name] = float(sum(shares) / len(shares))
        print(f"{name}: {changed[name]:.1%} of the pixels change")
    return changed


if __name__ == "__main__":
    main()
