"""``coprop train kpf``: the paper's keyframe processor, on all frames and then on the keyframes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..errors import CoPropError
from .synth import size_of
from .training_run import add_schedule, add_source, run_training, tell

if TYPE_CHECKING:
    from ..keyframe.network import KpfForm

HELP = """Train the keyframe processor (paper section 3.3): one frame and its sound in, the mask of what sounds out.
First on all frames; then fine-tune it on the keyframes: --checkpoint of the first, --keyframes of coprop data keyframes.
A stopped training goes on with the same command; OUT/weights.safetensors is for --adapter kpf."""
EXAMPLES = """\
  coprop train kpf --backbone pvt_v2_b5 --backbone-checkpoint pvt_v2_b5.pth --audio-checkpoint vggish-10086976.pth \\
      --data AVSBench/Multi-sources --steps 37000 --batch 4 --learning-rate 1e-4 -o runs/kpf
  coprop data keyframes AVSBench/Multi-sources --control-points rcpg --lm-model Qwen2-Audio-7B-Instruct -o ms3.json
  coprop train kpf --checkpoint runs/kpf/weights.safetensors --keyframes ms3.json --audio-checkpoint vggish-10086976.pth \\
      --data AVSBench/Multi-sources --steps 2220 --batch 4 --learning-rate 1e-5 --final-rate 1e-6 -o runs/kpf-keyframes
  coprop refine video.mp4 --adapter kpf --adapter-checkpoint runs/kpf-keyframes/weights.safetensors -o out/"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="folder of the training")
    parser.add_argument("--json", action="store_true", help="print JSON")
    what = parser.add_argument_group("what (of a checkpoint to go on from its weights tell all of it)")
    what.add_argument("--checkpoint", metavar="FILE", help="a keyframe processor to go on from (fine-tuning)")
    what.add_argument("--backbone", choices=("resnet50", "pvt_v2_b5", "lite0"), default="pvt_v2_b5", help="(pvt_v2_b5)")
    what.add_argument("--backbone-checkpoint", metavar="FILE", help="its ImageNet weights; lite0: the package's")
    what.add_argument("--freeze-backbone", action="store_true", help="it stays as it is")
    what.add_argument("--ear", choices=("vggish", "logmel", "yamnet"), default="vggish", help="(vggish)")
    what.add_argument("--audio-checkpoint", metavar="FILE", help="VGGish's weights; yamnet: the package's")
    what.add_argument("--classes", choices=("binary", "avsbench"), default="binary", help="of the masks (binary)")
    what.add_argument("--size", default="224x224", metavar="HxW", help="of the frames (224x224)")
    for name, default in (
        ("width", 256),
        ("hidden", 2048),
        ("queries", 50),
        ("encoder-layers", 3),
        ("decoder-layers", 3),
    ):
        what.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"({default})")
    data = parser.add_argument_group("data")
    add_source(data)
    data.add_argument("--keyframes", metavar="FILE", help="train on these frames alone: coprop data keyframes")
    data.add_argument("--frames", type=int, default=1, metavar="N", help="of each clip in a step (1)")
    add_seen(data)
    add_schedule(parser.add_argument_group("schedule"))


def add_seen(group: Any) -> None:
    group.add_argument(
        "--seen",
        metavar="DIR",
        help="keep there what the frozen backbone sees and the ear hears (4 GB at most); then frames are not varied",
    )


def run(args: argparse.Namespace) -> int:
    outcome, schedule = run_training(args, lambda: _training(args))
    tell(outcome, schedule, as_json=args.json)
    return 0


def _training(args: argparse.Namespace) -> Any:
    """What the flags describe."""
    from ..datasets.keyframes import KeyframeList
    from ..keyframe.ears import ear_of, open_ear
    from ..store.manifest import digest
    from ..training.kpf import KpfTraining, starting_kpf
    from ..training.sources import open_source
    from ..weights.device import choose_device

    keyframes = KeyframeList.read(args.keyframes) if args.keyframes else None
    form = _form(args)
    network, has_weights = starting_kpf(
        form, checkpoint=args.checkpoint, backbone_checkpoint=args.backbone_checkpoint, seed=args.seed
    )
    if args.freeze_backbone and not has_weights:
        raise CoPropError(
            "--freeze-backbone keeps weights as they are, and there are none: give --backbone-checkpoint."
        )
    ear = ear_of(form.audio_dim)
    source, hear = open_source(args.data, size=form.size, split=args.split), open_ear(ear, args.audio_checkpoint)
    files = {"checkpoint": args.checkpoint, "backbone": args.backbone_checkpoint, "audio": args.audio_checkpoint}
    return KpfTraining(
        network.to(choose_device(args.device)),
        source,
        hear,
        keyframes=keyframes,
        frames=args.frames,
        freeze_backbone=args.freeze_backbone,
        frozen_norms=has_weights,
        seen=seen_of(args, source, network, hear, ear),
        record={"ear": ear, "files": {name: digest(path) if path else None for name, path in files.items()}},
    )


def seen_of(args: argparse.Namespace, source: Any, network: Any, hear: Any, ear: str) -> Any:
    """What --seen asks for, or None."""
    from ..store.manifest import digest
    from ..training.seen import SeenClips

    if not args.seen:
        return None
    if not args.freeze_backbone:
        raise CoPropError("--seen keeps what the backbone sees, so it must stay as it is: add --freeze-backbone.")
    key = {"ear": ear, "audio": digest(args.audio_checkpoint) if args.audio_checkpoint else None}
    return SeenClips(args.seen, source, network.backbone.eval(), hear, size=network.form.size, key=key)


def _form(args: argparse.Namespace) -> KpfForm:
    """What the flags ask for, or what the checkpoint is."""
    from ..keyframe.ears import EARS
    from ..keyframe.network import KpfForm
    from ..structures import AVSBENCH_CLASSES
    from ..weights.checkpoint import read_state_dict

    if args.checkpoint:
        return KpfForm.of(read_state_dict(args.checkpoint))
    return KpfForm(
        backbone=args.backbone,
        audio_dim=EARS[args.ear],
        channels=1 if args.classes == "binary" else len(AVSBENCH_CLASSES) + 1,
        width=args.width,
        hidden=args.hidden,
        queries=args.queries,
        encoder_layers=args.encoder_layers,
        decoder_layers=args.decoder_layers,
        size=size_of(args.size),
    )
