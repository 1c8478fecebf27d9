"""``coprop train ssp``: Stepping Stone Plus, or AAVS, from AAVS's weights, Mask2Former's or from scratch."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import CoPropError
from .synth import size_of
from .training_run import add_schedule, add_source, run_training, settings_of, tell

HELP = """Train SSP (Stepping Stone Plus): AAVS with a flow pre-mask, a post-mask loss and two aligned texts.
Each can be left out (--pre-mask off --post-weight 0, no --answers: that is AAVS). A stopped training goes on with the same
command; OUT/weights.safetensors is for --adapter ssp."""
EXAMPLES = """\
  coprop train ssp --checkpoint avs.pth --data AVSBench/MS3 --audio-checkpoint vggish.pth -o runs/ssp
  coprop train ssp --checkpoint avs.pth --data AVSBench/MS3 --audio-checkpoint vggish.pth --answers answers.json \\
      --text-encoder bert-base-uncased/ --vision-encoder clip-vit-base-patch16/ -o runs/ssp_texts
  coprop train ssp --stage 2 --checkpoint avss.pth --data AVSBench/AVSS --audio-checkpoint vggish.pth -o runs/ssp_2
  coprop train ssp --sizes small --size 96x96 --data synth:ms3:0-999 --audio-checkpoint vggish.pth -o runs/small
  coprop refine video.mp4 --adapter ssp:audio_checkpoint=vggish.pth --adapter-checkpoint runs/ssp/weights.safetensors -o out/"""
RATES = {"learning_rate": 1e-3, "final_rate": 1e-4, "batch": 2}
CLIP_NORM = {1: 0.01, 2: 1e6}  # AAVS clips stage 1 alone


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="folder of the training")
    parser.add_argument("--json", action="store_true", help="print JSON")
    what = parser.add_argument_group("what")
    what.add_argument("--stage", type=int, choices=(1, 2), default=1, help="1: what sounds; 2: its class (1)")
    what.add_argument(
        "--checkpoint", metavar="FILE", help="AAVS's, SSP's or Mask2Former's weights (none: from scratch)"
    )
    what.add_argument("--sizes", choices=("published", "small"), default="published", help="of a network from scratch")
    what.add_argument("--train", choices=("adapters", "all"), help="which part (adapters; all from scratch)")
    what.add_argument(
        "--pre-mask",
        choices=("truth", "flow", "off"),
        default="truth",
        help="weigh the image by flow and truth (truth)",
    )
    what.add_argument(
        "--post-weight", type=float, default=10.0, metavar="L", help="of the post-mask loss (10); 0: none"
    )
    what.add_argument(
        "--align", choices=("vta", "attention"), default="vta", help="of texts: plain attention is w/o VTA"
    )
    what.add_argument("--norm", choices=("layer", "l2"), default="layer", help="of the fusion, Eq. (3)")
    what.add_argument("--points", type=int, default=12544, metavar="N", help="of a mask that are compared; 0: all")
    _add_data(parser.add_argument_group("data"))
    schedule = parser.add_argument_group("schedule")
    add_schedule(schedule)
    parser.set_defaults(**RATES)
    schedule.add_argument(
        "--second-phase", type=float, metavar="SHARE", help="of the steps, from which the rate is the final one"
    )


def _add_data(group: Any) -> None:
    add_source(group)
    group.add_argument("--size", default="384x384", metavar="HxW", help="of the frames (384x384)")
    group.add_argument("--audio-checkpoint", metavar="FILE", required=True, help="VGGish's weights")
    group.add_argument("--flow", default="dis", help="dis, dis-steady, a Perceiver's folder, or flows as .npy")
    group.add_argument("--binary", choices=("max", "otsu", "mean"), default="max", help="how flow becomes a mask")
    group.add_argument(
        "--answers", metavar="FILE", help="{video: [A1, A2]}, of coprop annotate prompts; none: no texts"
    )
    group.add_argument("--text-encoder", metavar="FOLDER", help="BERT of transformers; its weights are trained on")
    group.add_argument("--vision-encoder", metavar="FOLDER", help="CLIP of transformers; it stays as it is")


def run(args: argparse.Namespace) -> int:
    from ..training.schedule import TwoPhases

    phases = TwoPhases(**settings_of(args), clip_norm=CLIP_NORM[args.stage], second_phase=second_phase(args))
    outcome, schedule = run_training(args, lambda: training_of(args), schedule=phases)
    tell(outcome, schedule, as_json=args.json)
    return 0


def second_phase(args: argparse.Namespace) -> float:
    """AAVS's: half of a stage 1, a third of a stage 2."""
    if args.second_phase is not None:
        return float(args.second_phase)
    return 1 / 2 if args.stage == 1 else 1 / 3


def training_of(args: argparse.Namespace) -> Any:
    """What the flags describe."""
    from dataclasses import replace

    from ..adapters.aavs.network import STAGE_1, STAGE_2
    from ..adapters.ssp.align import TextConfig
    from ..adapters.ssp.encoders import Encoders, bert_sizes
    from ..adapters.ssp.sources import open_answers
    from ..audio.vggish import VGGish
    from ..propagators.flow_sources import open_flow
    from ..propagators.motion import MotionMasks, MotionRule
    from ..store.manifest import digest
    from ..training.sources import open_source
    from ..training.ssp import SspRule, SspTraining
    from ..training.ssp_clips import SspClips, vggish_of
    from ..training.ssp_start import SMALL, starting_ssp
    from ..weights.device import choose_device

    given = [args.answers, args.text_encoder, args.vision_encoder]
    if any(given) and not all(given):
        raise CoPropError("texts are trained with --answers, --text-encoder and --vision-encoder: give all or none.")
    size, device = size_of(args.size), choose_device(args.device)
    encoders = Encoders(args.text_encoder, args.vision_encoder, device=str(device)) if all(given) else None
    clips = SspClips(
        open_source(args.data, size=size, split=args.split),
        size=size,
        heard=vggish_of(VGGish.load(args.audio_checkpoint), stage=args.stage),
        motion=MotionMasks(open_flow(args.flow, device=args.device), MotionRule(args.binary)),
        stage=args.stage,
        answers=open_answers(args.answers) if encoders else None,
        encoders=encoders,
    )
    text = None
    if encoders is not None:
        text = TextConfig(bert_sizes(args.text_encoder), encoders.vision_dim, args.align, args.norm)
    published = STAGE_1 if args.stage == 1 else STAGE_2
    sizes = replace(published, **SMALL) if args.sizes == "small" else published
    network, taken = starting_ssp(
        args.stage,
        checkpoint=args.checkpoint,
        sizes=sizes,
        text=text,
        text_encoder=args.text_encoder,
        seed=args.seed,
    )
    rule = SspRule(
        pre_mask=args.pre_mask,
        post_weight=args.post_weight,
        part=args.train or ("adapters" if args.checkpoint else "all"),
        second_phase=second_phase(args),
        points=args.points,
        pretrained_text=encoders is not None,
    )
    checkpoint = digest(args.checkpoint) if args.checkpoint else None
    record = {"checkpoint": checkpoint, "entries_from_it": taken, "sound": digest(args.audio_checkpoint)}
    return SspTraining(network.to(device), clips, rule, record=record)
