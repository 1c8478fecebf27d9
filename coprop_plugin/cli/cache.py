"""``coprop cache``: the kept answers of audio language models."""

from __future__ import annotations

import argparse
import json

from .terminal import say

HELP = "Show or remove the kept answers of audio language models (COPROP_CACHE_DIR names their folder)."
EXAMPLES = """\
  coprop cache info
  coprop cache clear
  coprop cache info --folder .cache/answers --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("info", "clear"), help="show what is kept, or remove it")
    parser.add_argument("--folder", metavar="DIR", help="another folder than the default one")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of text")


def run(args: argparse.Namespace) -> int:
    from ..language.cache import clear, info

    if args.action == "clear":
        freed = clear(args.folder)
        print(json.dumps({"freed_bytes": freed}) if args.json else f"removed, {freed / 1e6:.1f} MB freed")
        return 0
    facts = info(args.folder)
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    say(f"{facts['answers']} answers, {facts['bytes'] / 1e6:.1f} MB, in {facts['path']}")
    for model, count in facts["models"].items():
        say(f"  {count:>8}  {model}")
    return 0
