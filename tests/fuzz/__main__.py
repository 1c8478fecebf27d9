"""``python -m fuzz`` (from ``tests``): the whole harness, bounded; exit code 1 where something was found that must not be."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from .kinds import KINDS, write_corpus
from .processes import run, warm_up
from .trials import Report, good_outputs, inputs, kills, links, races


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1_000_000, help="inputs of each kind")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--races", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=300.0, help="for all of it")
    parser.add_argument(
        "--only", action="append", choices=[kind.name for kind in KINDS], help="inputs of this kind alone"
    )
    parser.add_argument(
        "--work", type=Path, help="where it works and keeps what it found (default: a temporary folder)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coprop-fuzz-") as temporary:
        report = fuzz(args.work or Path(temporary), args)
    print(report.table())
    print(f"\nseed {args.seed}: {report.total} trials, {report.bad} that must not be")
    return 1 if report.bad else 0


def fuzz(work: Path, args: argparse.Namespace) -> Report:
    """Links, races and kills first, then as many inputs as there is time for."""
    begin = time.monotonic()
    until_s = begin + args.seconds
    warm_up()
    work.mkdir(parents=True, exist_ok=True)
    corpus, report = work / "corpus", Report()
    if not corpus.exists():
        write_corpus(corpus, lambda command: run(command, corpus, work / "streams").code)
    good = good_outputs(corpus, work)
    links(corpus, work, report)
    races(corpus, work, report, seed=args.seed, count=args.races, until_s=begin + 0.3 * args.seconds)
    kills(corpus, work, report, seed=args.seed, count=args.kills, until_s=begin + 0.5 * args.seconds)
    kinds = [kind for kind in KINDS if kind.name in (args.only or good)]
    inputs(corpus, work, report, good, kinds, seed=args.seed, rounds=args.rounds, until_s=until_s)
    return report


if __name__ == "__main__":
    sys.exit(main())
