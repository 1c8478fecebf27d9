"""``coprop study paper``: the paper's tables on library clips, from checkpoints that are named."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CoPropError
from ..parts import names_in
from . import options
from .terminal import console

if TYPE_CHECKING:
    from ..study.cases import Case
    from ..study.paper_rows import Cell, Inserts

KINDS = ("s4", "ms3", "moc", "avss")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--library", required=True, metavar="LIB", help="of real objects and sounds: coprop data objects"
    )
    parser.add_argument("--split", choices=("val", "test"), default="test", help="of the library (test)")
    parser.add_argument("--sets", metavar="A,B,…", default=",".join(KINDS), help=f"({','.join(KINDS)})")
    parser.add_argument("--clips-each", type=int, default=24, metavar="N", help="of each set (24)")
    parser.add_argument("--size", type=int, default=224, help="side of made frames in pixels (224)")
    models = parser.add_argument_group("trained networks; what is not given is a row 'not run'")
    models.add_argument("--tpavi", metavar="FILE", help="that sees whole clips: coprop train tpavi")
    models.add_argument("--kpf", metavar="FILE", help="trained on all frames: coprop train kpf")
    models.add_argument("--kpf-keyframes", metavar="FILE", help="fine-tuned on keyframes: coprop train kpf --keyframes")
    models.add_argument("--look", action="store_true", help="the training-free adapter too, as a base model of table 1")
    models.add_argument(
        "--base",
        action="append",
        default=[],
        metavar="ROW=NAME[:k=v,…]",
        help="any other adapter as a base model of table 1, and what its rows are called, as "
        "'avsegformer_lite=avsegformer_lite:checkpoint=FILE' or 'kpf, seed 1=kpf:checkpoint=FILE'",
    )
    models.add_argument("--propagator", default="flow", metavar="NAME", help="the plain one (flow)")
    models.add_argument(
        "--insert",
        action="append",
        default=[],
        metavar="ROW=NAME[:k=v,…]",
        help="a propagator with an audio insert, and what its row is called, as '1-layer=aot_lite0:checkpoint=FILE'; "
        "the first is compared with text",
    )
    models.add_argument(
        "--text-insert", action="append", default=[], metavar="ROW=NAME[:k=v,…]", help="one that words guide"
    )
    models.add_argument(
        "--without-insert", default="aot_lite0", metavar="NAME[:k=v,…]", help="what inserts were trained on (aot_lite0)"
    )
    parser.add_argument("--keep-masks", metavar="DIR", help="write each base model's scores and the true masks there")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from .. import parts
    from ..study import paper, paper_rows
    from ..study.written import study_folder, write_study

    folder = study_folder(args.out) if args.out else None
    models = _models(args)
    if not models:
        raise CoPropError("the tables need a base model: --tpavi, --kpf, --kpf-keyframes, --look or --base.")
    inserts, named = _inserts(args)
    propagators = {args.propagator: args.propagator, **named}
    built = {name: parts.build("propagator", options.parsed("propagator", text)) for name, text in propagators.items()}
    have = partial(_if_given, models)
    rows = paper_rows.lines(
        tuple(models),
        args.propagator,
        whole=have("tpavi_lite"),
        kpf=have("kpf"),
        tuned=have("kpf, keyframes"),
        inserts=inserts,
    )
    sets = _sets(args)
    values = paper.Values(folder and folder / "cells.jsonl", key=_keys(args, propagators))
    clips = paper.run(
        sets,
        models,
        built,
        rows,
        values,
        progress=lambda name: print(f"  {name}", file=sys.stderr, flush=True),
        **({"keep": _Keeper(Path(args.keep_masks))} if args.keep_masks else {}),
    )
    told = paper.summary(rows, values, clips)
    if folder:
        write_study(folder, {"protocols": paper.PROTOCOLS, "rows": told}, values.lines())
    if args.json:
        print(json.dumps(told, indent=1))
    else:
        _render(told)
    return 0


def _inserts(args: argparse.Namespace) -> tuple[Inserts | None, dict[str, str]]:
    """Which rows stage 2 has, and its propagators by name."""
    from ..study.paper_rows import Inserts

    audio, text = (dict(_named(given) for given in texts) for texts in (args.insert, args.text_insert))
    if not audio and not text:
        return None, {}
    without = {f"no insert: {args.without_insert.partition(':')[0]}": args.without_insert}
    if twice := {*audio} & {*text}:
        raise CoPropError(f"two propagators have the row '{min(twice)}'; name them apart.")
    return Inserts(next(iter(without)), tuple(audio), tuple(text)), {**without, **audio, **text}


def _keys(args: argparse.Namespace, propagators: dict[str, str]) -> Callable[[Cell], str]:
    """What the values of a cell depend on: with other weights, another library or size they are worked out anew."""
    from ..datasets.objects.library import open_library
    from ..store.manifest import digest, digest_of
    from ..version import __version__

    open_library(args.library)  # said before hours of work that there is none
    weights = {"tpavi_lite": args.tpavi, "kpf": args.kpf, "kpf, keyframes": args.kpf_keyframes}
    of_bases: dict[str, Any] = {name: digest(file) for name, file in weights.items() if file}
    of_bases |= {name: _with_digests(part) for name, part in _further(args).items()}
    of_propagators = {name: _with_digests(options.parsed("propagator", text)) for name, text in propagators.items()}
    all_cells = {"version": __version__, "library": digest(Path(args.library) / "library.json"), "size": args.size}

    @cache
    def key(cell: Cell) -> str:
        return digest_of(
            {**all_cells, "base": of_bases.get(cell.base), "propagator": of_propagators.get(cell.propagator)}
        )

    return key


def _with_digests(part: dict[str, Any]) -> dict[str, Any]:
    """A part's options, files by what they hold."""
    from ..store.manifest import digest

    return {
        name: digest(value) if name != "name" and isinstance(value, str) and Path(value).exists() else value
        for name, value in part.items()
    }


def _models(args: argparse.Namespace) -> dict[str, Any]:
    from .. import parts

    given = {
        "tpavi_lite": ("tpavi_lite", args.tpavi),
        "kpf": ("kpf", args.kpf),
        "kpf, keyframes": ("kpf", args.kpf_keyframes),
    }
    models = {
        name: parts.build("adapter", {"name": part, "checkpoint": file, "device": "cpu"})
        for name, (part, file) in given.items()
        if file
    }
    if args.look:
        models["look"] = parts.build("adapter", "look")
    for name, part in _further(args).items():
        if name in models:
            raise CoPropError(f"two base models have the row '{name}'; name them apart.")
        models[name] = parts.build("adapter", part)
    return models


def _further(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What --base names: rows and parts."""
    found: dict[str, dict[str, Any]] = {}
    for row, part in map(_named, args.base):
        if row in found:
            raise CoPropError(f"two base models have the row '{row}'; name them apart.")
        found[row] = options.parsed("adapter", part)
    return found


def _if_given(models: dict[str, Any], name: str) -> str | None:
    return name if name in models else None


def _named(text: str) -> tuple[str, str]:
    name, equals, part = text.partition("=")
    if not equals or not name or not part:
        raise CoPropError(
            f"--base, --insert and --text-insert are ROW=NAME[:k=v,…], as '4-layer=audio_insert:checkpoint=FILE'; got '{text}'."
        )
    return name, part


def _sets(args: argparse.Namespace) -> dict[str, Callable[[], Iterator[Case]]]:
    from ..datasets.made import made_clips
    from ..study.cases import made_cases

    if args.clips_each < 1:
        raise CoPropError(f"--clips-each is 1 or more, got {args.clips_each}.")
    return {
        f"{kind}-like": partial(
            made_cases,
            made_clips(f"objects:{args.library}:{args.split}:{kind}:0-{args.clips_each - 1}"),
            size=args.size,
            labelling="binary",
        )
        for kind in names_in(args.sets)
    }


class _Keeper:
    """Writes clips and masks: ``DIR/SET/CLIP/{truth,BASE}.npy``, truth label maps and base logits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, case: Case, base: str, made: Any) -> None:
        folder = self._folder / name / case.name.replace(":", "_").replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{base.replace(', ', '_')}.npy", np.asarray(made.scores, np.float32))
        np.save(folder / "truth.npy", np.stack([case.truth.label_map(t) for t in range(case.clip.num_frames)]))


def _render(told: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(
        title="library clips; percent, means over clips [95 % paired bootstrap interval of the change to the base model]; "
        "worse: clips that lost more than 1 point of M_J",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for column in ("table", "row", "set"):
        table.add_column(column, no_wrap=True)
    for column in ("M_J", "change", "M_F", "alignment", "change", "J key / normal", "worse"):
        table.add_column(column, justify="right", no_wrap=True)
    for line in told:
        if "not run" in line:
            table.add_row(line["table"], line["row"], f"not run: {line['not run']}")
            continue
        table.add_row(line["table"], line["row"], line["set"], *cells_of(line))
    console(width=220).print(table)


def cells_of(line: dict[str, Any]) -> tuple[str, ...]:
    """The numbers of a row as text."""

    def change(metric: str) -> str:
        interval = line.get(f"{metric} change")
        return "" if interval is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*interval)

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    split = "" if line["J_key"] is None else f"{number(line['J_key'])} / {number(line['J_normal'])}"
    harmed = line.get("harm")
    worse = "" if harmed is None else f"{len(harmed['harmed'])} of {harmed['clips']} ({100 * harmed['worst']:+.0f})"
    return (
        number(line["M_J"]),
        change("M_J"),
        number(line["M_F"]),
        number(line["alignment"]),
        change("alignment"),
        split,
        worse,
    )
