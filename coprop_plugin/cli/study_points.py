"""``coprop study control-points``: generators against clips whose control points are known."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import CoPropError

if TYPE_CHECKING:
    from ..study.points import Known

GENERATORS = "changepoint,cosine-logmel,none"
FIRST_SEED = 100


def configure(parser: argparse.ArgumentParser) -> None:
    sets = parser.add_argument_group("clips (default: --synthetic 40)")
    sets.add_argument(
        "--synthetic", metavar="N", type=int, help=f"this many synthetic clips, seeds from {FIRST_SEED} on"
    )
    sets.add_argument("--seeds", metavar="A-B", help="synthetic clips of these seeds")
    sets.add_argument(
        "--kind", default="moc", help="kind of synthetic clips: moc (default), ms3, avss, s4, uniform:RATE"
    )
    sets.add_argument("--composed", metavar="DIR", help="composed clips: NAME.json with control points beside a video")
    sets.add_argument("--audio", metavar="DIR", help="sound files, on windows of one second; needs --events")
    sets.add_argument("--events", metavar="FILE", help='JSON {"files": {name: {label: [[start_s, stop_s], …]}}}')
    sets.add_argument(
        "--bridge", metavar="S", type=float, default=1.0, help="pauses of one label under S seconds are closed (1.0)"
    )
    parser.add_argument(
        "--generators", metavar="A,B,…", default=GENERATORS, help=f"NAME[:k=v,…] each (default: {GENERATORS})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from .. import parts
    from ..study.points import agreement

    generators = {text: parts.build("control_points", text) for text in split_names(args.generators)}
    rows = []
    for name, clips in clip_sets(args):
        known = list(clips)
        for text, generator in generators.items():
            rows.append({"clips_from": name, "generator": text, **agreement(generator, known)})
    print(json.dumps({"rule": RULE, "rows": rows}, indent=2)) if args.json else render(rows)
    return 0


RULE = (
    "F1, precision and recall are micro: changes of all clips pooled, matched one to one within so many frames, "
    "frame 0 left out. A change at s seconds belongs to the first frame whose sound window's midpoint is at or after s."
)


def split_names(text: str) -> list[str]:
    """``"a,b:k=1,l=2,c"`` as ``["a", "b:k=1,l=2", "c"]``: an option belongs to the name before it."""
    names: list[str] = []
    for item in filter(None, text.split(",")):
        if names and "=" in item and ":" not in item.partition("=")[0]:
            names[-1] += f",{item}"
        else:
            names.append(item)
    return names


def clip_sets(args: argparse.Namespace) -> Iterator[tuple[str, Iterator[Known]]]:
    """The named sets that the flags ask for."""
    from ..study.points import composed_clips, sound_clips, synthetic_clips

    if args.seeds or args.synthetic or not (args.composed or args.audio):
        seeds = seeds_of(args)
        yield f"synthetic {args.kind}, seeds {seeds[0]}-{seeds[-1]}", synthetic_clips(seeds, kind=args.kind)
    if args.composed:
        yield "composed", composed_clips(args.composed)
    if bool(args.audio) != bool(args.events):
        raise CoPropError("sound files are scored against their intervals: give both --audio DIR and --events FILE.")
    if args.audio:
        yield "sound files", sound_clips(args.audio, args.events, bridged_s=args.bridge)


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


COLUMNS = {
    "F1@0": "F1@0",
    "F1@1": "F1@1",
    "F1@2": "F1@2",
    "precision@0": "P@0",
    "recall@0": "R@0",
    "exact_list": "exact",
    "error_s": "error s",
    "cpu_ms": "CPU ms",
}


def render(rows: list[dict[str, Any]]) -> None:
    """A table a set of clips, a line a generator."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for name in dict.fromkeys(row["clips_from"] for row in rows):
        here = [row for row in rows if row["clips_from"] == name]
        console.print(f"[bold]{escape(name)}[/bold]: {here[0]['clips']} clips, {here[0]['changes_true']} changes")
        table = Table("generator", box=None, pad_edge=False, header_style="bold")
        for title in COLUMNS.values():
            table.add_column(title, justify="right")
        for row in here:
            values = ["-" if row[column] is None else f"{row[column]:.2f}" for column in COLUMNS]
            table.add_row(escape(row["generator"]), *values)
        console.print(table, "")
    console.print(f"[dim]{RULE} 'exact' is the share of clips with the right list, 'CPU ms' the time a clip.[/dim]")
