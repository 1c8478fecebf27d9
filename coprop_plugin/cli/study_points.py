"""``coprop study control-points``: generators against clips whose control points are known."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import CoPropError
from . import options
from .options import CLIPS_HELP
from .study_points_tables import render

if TYPE_CHECKING:
    from ..study.clips import Known

FIRST_SEED = 100


def configure(parser: argparse.ArgumentParser) -> None:
    sets = parser.add_argument_group("clips (default: --synthetic 40)")
    sets.add_argument(
        "--synthetic", metavar="N", type=int, help=f"this many synthetic clips, seeds from {FIRST_SEED} on"
    )
    sets.add_argument("--seeds", metavar="A-B", help="synthetic clips of these seeds")
    options.add_renamed(
        sets, "--like", old="--kind", dest="kind", default="moc", help="moc (default), ms3, avss, s4 or uniform:RATE"
    )
    sets.add_argument("--clips", metavar="CLIPS", action="append", help=CLIPS_HELP)
    sets.add_argument("--composed", metavar="DIR", help="composed clips: NAME.json with control points beside a video")
    options.add_renamed(
        sets,
        "--recordings",
        old="--audio",
        dest="recordings",
        metavar="DIR",
        help="sound files, on windows of one second; needs --events",
    )
    sets.add_argument("--events", metavar="FILE", help='JSON {"files": {name: {label: [[start_s, stop_s], …]}}}')
    sets.add_argument(
        "--bridge", metavar="S", type=float, default=1.0, help="pauses of one label under S seconds are closed (1.0)"
    )
    sets.add_argument("--data-root", metavar="DIR", help="a benchmark in AVSBench's layouts; points follow its masks")
    sets.add_argument("--dataset", choices=("auto", "s4", "ms3", "avss"), default="auto", help="which (default: auto)")
    sets.add_argument("--split", default="test", metavar="NAME", help="of the benchmark (test)")
    sets.add_argument(
        "--semantic-root", metavar="DIR", help="AVSS, whose class masks tell the true changes of S4 and MS3 videos"
    )
    _add_generators(parser)
    bases = parser.add_argument_group("base models (adds M_J and M_F after propagation)")
    bases.add_argument(
        "--predictions", metavar="[NAME=]DIR", action="append", help="saved predictions of the benchmark's videos"
    )
    bases.add_argument(
        "--prediction-kind", choices=("hard", "probability", "logit"), help="what arrays or PNGs of predictions hold"
    )
    bases.add_argument(
        "--simulators", metavar="A,B,…", help="simulated base models of synthetic and composed clips, as lag:1,linger:1"
    )
    options.add_propagator(bases)
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")


def _add_generators(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("control points")
    group.add_argument(
        "--generators",
        metavar="A,B,…",
        help="NAME[:k=v,…] each, or truth (default: all that need nothing; those that look at a base model where one is "
        f"named); {options.names_of('control_points')}",
    )
    group.add_argument(
        "--table-2b", action="store_true", help="add the paper's table 2(b): cosine, and rcpg in its three variants"
    )
    group.add_argument("--vggish", metavar="FILE", help="table 2(b): weights for cosine; without, on log-mel features")
    options.add_language(group)
    group.add_argument("--lm-replay", metavar="FILE", help="rcpg: recorded answers in place of a model")
    group.add_argument("--examples", metavar="D.json", help="rcpg: annotated training clips (coprop annotate)")


def run(args: argparse.Namespace) -> int:
    from ..study.points import compare
    from ..study.propagation import Propagation, published_rows
    from ..study.written import study_folder, write_study

    folder = study_folder(args.out) if args.out else None
    lines: list[dict[str, Any]] = []
    generators = generators_of(args)
    rows: list[dict[str, Any]] = []
    refined: list[dict[str, Any]] = []
    for name, clips in clip_sets(args):
        propagation = Propagation(args.propagator)
        of_clips: list[dict[str, Any]] = []
        found = compare(clips, generators, propagation=propagation, progress=_progress, per_clip=of_clips.append)
        lines += [{"clips_from": name, **line} for line in (*of_clips, *propagation.per_clip())]
        rows += [{"clips_from": name, "answers_by": _answers_by(generators, row), **row} for row in found]
        refined += [{"clips_from": name, **row} for row in propagation.rows()]
    _name_stand_ins(rows, refined)
    told = {
        "rule": RULE,
        "rows": rows,
        "propagation": refined,
        "published": published_rows() if args.table_2b else [],
        "notes": notes_of(args, rows, refined),
    }
    if folder:
        write_study(folder, told, lines)
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        render(told)
    return 0


def _name_stand_ins(rows: list[dict[str, Any]], refined: list[dict[str, Any]]) -> None:
    """Masks that were refined by a stand-in's points, in part or all, are not told under the generator's bare name."""
    failed = {(row["clips_from"], row["generator"]): row for row in rows if row["fallbacks"]}
    for row in refined:
        if of := failed.get((row["clips_from"], row["control_points"])):
            row["control_points"] += f" (fallback in {of['fallbacks']} of {of['clips']} clips)"


RULE = (
    "F1, precision and recall are micro: changes of all clips pooled, matched one to one within so many frames, "
    "frame 0 left out. A change at s seconds belongs to the first frame whose sound window's midpoint is at or after s."
)


def _progress(name: str) -> None:
    print(f"  {name}", file=sys.stderr, flush=True)


def notes_of(args: argparse.Namespace, rows: list[dict[str, Any]], refined: list[dict[str, Any]]) -> list[str]:
    """What a reader of the numbers must know."""
    notes = []
    if any(row["answers_by"] for row in rows):
        notes.append(
            "Rows of rcpg are those of the model under 'answers by'; clips where it gave no list and a fallback stood in "
            "are counted, not scored. They say nothing about Qwen unless that model is Qwen; tiny and recorded ones show that the way works, not how well."
        )
    if any(row["clips_from"].startswith("AVSS") for row in refined):
        notes.append("M_J and M_F of AVSS are means over 71 classes; those that never occur count 0, as published.")
    if args.table_2b and not args.vggish:
        notes.append("The paper's cosine row hears features of a trained network; cosine-logmel stands in for it here.")
    return notes


def generators_of(args: argparse.Namespace) -> dict[str, Any]:
    """The generators by the names of their rows; ``rcpg`` gets the language model that the flags name."""
    from .. import parts
    from ..study.points import TRUTH

    texts = parts.names_in(args.generators or "") or ([] if args.table_2b else _ready(args))
    if args.table_2b:
        cosine = f"cosine:checkpoint={args.vggish}" if args.vggish else "cosine-logmel"
        texts += [cosine, "rcpg:variant=one_step", "rcpg:variant=three_step", "rcpg:variant=rcpg"]
    named = {
        "model": args.lm_model,
        "server": args.lm_server,
        "replay": args.lm_replay,
        "examples": args.examples,
    }
    given = {option: value for option, value in named.items() if value}
    if given and not any(text.partition(":")[0] == "rcpg" for text in texts):
        raise CoPropError("--lm-model, --lm-server, --lm-replay and --examples are for rcpg; name it in --generators.")
    made = {}
    for text in dict.fromkeys(texts):
        taken = given if text.partition(":")[0] == "rcpg" else {}
        made[text] = None if text == TRUTH else parts.build("control_points", text, **taken)
    return made


def _ready(args: argparse.Namespace) -> list[str]:
    """The generators that need nothing; those that want a base model's prediction where one is named."""
    from .. import parts

    found = parts.ready("control_points")
    if args.simulators or args.predictions:
        return found
    return [name for name in found if not parts.build("control_points", name).wants_base]


def _answers_by(generators: dict[str, Any], row: dict[str, Any]) -> str | None:
    """Which language model a row's answers are from."""
    return getattr(getattr(generators.get(row["generator"]), "model", None), "description", None)


def clip_sets(args: argparse.Namespace) -> Iterator[tuple[str, Iterator[Known]]]:
    """The named sets that the flags ask for."""
    from ..datasets.made import MadeClips, made_clips
    from ..study.clips import composed_clips, known_clips, sound_clips

    simulators = tuple(filter(None, (args.simulators or "").split(",")))
    if args.predictions and not args.data_root:
        raise CoPropError("--predictions are of a benchmark's videos; name it with --data-root DIR.")
    for text in args.clips or ():
        yield text, known_clips(made_clips(text), simulators=simulators)
    if (
        args.seeds
        or args.synthetic is not None
        or not (args.clips or args.composed or args.recordings or args.data_root)
    ):
        seeds = seeds_of(args)
        name = f"synthetic {args.kind}, seeds {seeds[0]}-{seeds[-1]}"
        yield name, known_clips(MadeClips(args.kind, seeds), simulators=simulators)
    if args.composed:
        yield "composed", composed_clips(args.composed, simulators=simulators)
    if args.data_root:
        yield _dataset(args)
    if bool(args.recordings) != bool(args.events):
        raise CoPropError(
            "sound files are scored against their intervals: give both --recordings DIR and --events FILE."
        )
    if args.recordings:
        yield "sound files", sound_clips(args.recordings, args.events, bridged_s=args.bridge)


def _dataset(args: argparse.Namespace) -> tuple[str, Iterator[Known]]:
    from ..datasets.avsbench import open_dataset
    from ..rescore.plan import Source
    from ..study.clips import dataset_clips

    dataset = open_dataset(args.data_root, layout=args.dataset)
    semantic = None if args.semantic_root is None else open_dataset(args.semantic_root, layout="avss")
    sources = [Source.parse(text) for text in args.predictions or ()]
    reading = {"kind": args.prediction_kind} if args.prediction_kind else {}
    name = f"{dataset.layout.name.upper()} {args.split}"
    if not dataset.names and semantic is None:
        name += " (binary masks: true changes are those between something and silence; see --semantic-root)"
    return name, dataset_clips(dataset, split=args.split, semantic=semantic, sources=sources, reading=reading)


def seeds_of(args: argparse.Namespace) -> range:
    """The seeds of ``--seeds``, or so many as ``--synthetic`` says."""
    if args.seeds is None:
        count = 40 if args.synthetic is None else args.synthetic
        if count < 1:
            raise CoPropError(f"--synthetic is a number of clips from 1 on, got {count}.")
        return range(FIRST_SEED, FIRST_SEED + count)
    if args.synthetic is not None:
        raise CoPropError("give either --seeds A-B or --synthetic N.")
    first, _, last = args.seeds.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()) or int(last or first) < int(first):
        raise CoPropError(f"--seeds is a range as 100-139, got '{args.seeds}'.")
    return range(int(first), int(last or first) + 1)
