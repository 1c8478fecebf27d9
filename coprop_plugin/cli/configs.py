"""``coprop configs``: the OpenMMLab configs that come with the package."""

from __future__ import annotations

import argparse
import json

from ..engine.config_files import config_names, find_config
from ..errors import CoPropError
from .terminal import say

HELP = "List, show or locate the OpenMMLab configs that come with the package (inherit them as coprop_plugin::NAME)."
EXAMPLES = """  coprop configs list
  coprop configs show _base_/coprop.py
  coprop configs path avsegformer/ms3.py"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "show", "path"))
    parser.add_argument("name", nargs="?", help="a config of the list")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    if args.action == "list":
        names = config_names()
        print(json.dumps(names, indent=2) if args.json else "\n".join(names))
        return 0
    if not args.name:
        raise CoPropError(f"coprop configs {args.action} needs a NAME; `coprop configs list` shows them.")
    path = find_config(args.name)
    answer = str(path.resolve()) if args.action == "path" else path.read_text(encoding="utf-8").rstrip()
    say(json.dumps({args.action: answer}) if args.json else answer)
    return 0
