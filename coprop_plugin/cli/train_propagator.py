"""``coprop train propagator``: AOT with the sound inserted, from AOT's weights or from scratch."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..errors import CoPropError
from . import options
from .synth import size_of
from .training_run import add_schedule, add_source, run_training, tell

if TYPE_CHECKING:
    from ..training.sequences import Heard

HELP = """Train a propagator: the audio insert on top of AOT's weights (default), all of it, or plain AOT.
A stopped training goes on with the same command; OUT/weights.safetensors is for --propagator-checkpoint."""
EXAMPLES = """\
  coprop train propagator --model r50_aotl --checkpoint R50_AOTL_PRE_YTB_DAV.pth --data AVSBench/AVSS \\
      --hears vggish --audio-checkpoint vggish.pth -o runs/insert
  coprop train propagator --model aott --hears none --data synth:moc:0-7999 --masks visible --size 97x97 -o runs/aott
  coprop train propagator --model r50_aotl --checkpoint R50_AOTL_PRE_YTB_DAV.pth --data AVSBench/AVSS \\
      --hears text --audio-checkpoint clip-vit-base-patch32/ -o runs/words
  coprop train propagator --model aott --checkpoint runs/aott/weights.safetensors --train all --missed-points 1 \\
      --data synth:moc:10000-13999 --size 97x97 -o runs/heard
  coprop refine video.mp4 --masks preds/ --propagator aott --propagator-checkpoint runs/heard/weights.safetensors -o out/"""


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_renamed(
        parser, "-o", "--out", old="--output", dest="out", metavar="OUT", required=True, help="folder of the training"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    what = parser.add_argument_group("what")
    what.add_argument(
        "--model", default="r50_aotl", help="aott, aots, aotb, aotl, r50_aotl, swinb_aotl, r50_deaotl or aot_lite0"
    )
    what.add_argument("--checkpoint", metavar="FILE", help="weights to start from (none: from scratch)")
    what.add_argument(
        "--train", choices=("insert", "all"), help="which part (default: the insert; all where there is none)"
    )
    options.add_renamed(
        what,
        "--hears",
        old="--audio",
        dest="hears",
        choices=("logmel", "vggish", "text", "none"),
        default="logmel",
        help="what the insert hears (logmel); text: the names of what is masked, in place of the sound",
    )
    what.add_argument("--audio-checkpoint", metavar="PATH", help="VGGish's weights, or the text model's folder")
    what.add_argument("--audio-context", type=int, default=0, metavar="K", help="frames to each side heard too (0)")
    what.add_argument("--levels", choices=("all", "last"), default="all", help="encoder levels with an insert (all)")
    what.add_argument("--identity", action="store_true", help="the sound enters the objects' identities as well")
    what.add_argument("--shuffled", action="store_true", help="every sequence hears another one (a study's control)")
    _add_data(parser.add_argument_group("data"))
    add_schedule(parser.add_argument_group("schedule"))


def _add_data(group: Any) -> None:
    add_source(group)
    group.add_argument("--masks", choices=("sounding", "visible"), default="sounding", help="of made clips")
    group.add_argument("--size", default="465x465", metavar="HxW", help="of the frames (465x465; Swin: 464x464)")
    group.add_argument("--length", type=int, default=5, metavar="T", help="frames of a sequence (5)")
    group.add_argument("--identities", type=int, default=10, metavar="N", help="objects of a sequence at most (10)")
    group.add_argument("--moved", action="store_true", help="the pictures are turned, shifted, bent and recoloured too")
    group.add_argument(
        "--seen", metavar="DIR", help="of an insert alone: keep what the network sees of each clip there (4 GB at most)"
    )
    group.add_argument("--missed-points", type=int, default=0, metavar="N", help="control points left out of each (0)")


def run(args: argparse.Namespace) -> int:
    outcome, schedule = run_training(args, lambda: _training(args))
    tell(outcome, schedule, as_json=args.json)
    return 0


def _training(args: argparse.Namespace) -> Any:
    """What the flags describe."""
    from ..propagators.guides import TextGuide, log_mel_features
    from ..store.manifest import digest
    from ..training.networks import starting_network
    from ..training.propagator import PropagatorTraining, seen_clips
    from ..training.sequences import SequenceRule
    from ..training.sources import open_source
    from ..weights.device import choose_device

    size = size_of(args.size)
    source = open_source(args.data, size=size, split=args.split, masks=args.masks)
    insert = None
    heard, dim = _heard(args)
    if heard is not None:
        insert = {
            "audio_dim": dim,
            "heard": args.hears,
            "levels": args.levels,
            "context_frames": args.audio_context,
            "identity": args.identity,
        }
    network = starting_network(args.model, checkpoint=args.checkpoint, insert=insert, seed=args.seed)
    network = network.to(choose_device(args.device))
    seen = None
    if args.seen:
        ear, features = args.hears, heard
        if features is None or isinstance(features, TextGuide):
            ear, features = "logmel", log_mel_features  # words are not heard; so both kinds of inserts share the folder
        elif args.hears == "vggish":
            ear += f" {digest(args.audio_checkpoint)}"
        seen = seen_clips(args.seen, source, network, features, size=size, ear=ear)
    return PropagatorTraining(
        network,
        source,
        SequenceRule(
            length=args.length,
            size=size,
            missed_points=args.missed_points,
            num_identities=args.identities,
            context_frames=args.audio_context,
            **({"flip_share": 0.0} if args.seen else {}),
        ),
        part=args.train or ("all" if insert is None or args.checkpoint is None else "insert"),
        pretrained=args.checkpoint is not None,
        features=heard,
        moves=args.moved,
        seen=seen,
        sound="shuffled" if args.shuffled else "true",
        record={
            "model": args.model,
            "insert": insert,
            "checkpoint": digest(args.checkpoint) if args.checkpoint else None,
        },
    )


def _heard(args: argparse.Namespace) -> tuple[Heard | None, int]:
    """What the insert hears, and how many numbers a token of it has."""
    from ..propagators.guides import LOG_MEL_DIM, TextGuide, log_mel_features, vggish_features

    if args.hears == "none":
        return None, 0
    if args.hears == "logmel":
        return log_mel_features, LOG_MEL_DIM
    if not args.audio_checkpoint:
        what = "FILE" if args.hears == "vggish" else "FOLDER, a text model"
        raise CoPropError(f"--hears {args.hears} needs --audio-checkpoint {what}; --hears logmel needs no weights.")
    if args.hears == "vggish":
        return vggish_features(args.audio_checkpoint), 128
    from ..propagators.text import text_encoder

    encode = text_encoder(args.audio_checkpoint)
    dim = encode(["sound"]).shape[1]
    return TextGuide(encode, dim=dim), dim
