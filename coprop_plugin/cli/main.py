"""The command ``coprop``: finds the verb, parses its flags, turns errors into one clear line.

Each verb is a module of this folder with ``HELP``, ``EXAMPLES``, ``configure(parser)`` and ``run(args) -> int``
(``SUBJECTS`` names the modules of what else the verb can be asked for, as ``coprop train propagator``);
only the verb that was asked for is imported, so ``coprop --help`` stays fast.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CoPropError, MissingExtra, unknown_name
from ..files.atomic import NO_ROOM
from ..files.documents import plain
from ..version import __version__
from .options import with_config
from .spoken import spoken
from .terminal import close_stdout, open_streams, say

VERBS = {
    "refine": "mend the masks of one clip",
    "parts": "list adapters, generators, propagators and policies, or show one with its options",
    "points": "find the control points of a clip's sound",
    "annotate": "write a benchmark's training clips as examples for an audio language model",
    "score": "score saved predictions against the truth, under named protocols",
    "rescore": "refine and re-score a whole benchmark's saved predictions",
    "study": "compare policies, propagators and control points on clips with known truth",
    "synth": "make audio-visual clips with exact masks and control points",
    "data": "check a benchmark on disk, list its keyframes",
    "report": "make the HTML report of a refined clip again",
    "test": "test an OpenMMLab config's model, before and after refinement (runs the config as code)",
    "train": "train an OpenMMLab config's model (runs the config as code), or parts of the method",
    "configs": "list, show or locate the OpenMMLab configs that come with the package",
    "checkpoint": "say which model a weights file fits, or write it as safetensors",
    "cache": "show or remove the kept answers of audio language models",
    "demo": "the main job on an example made on the spot",
    "doctor": "versions, decoders, GPU and caches in one block for a bug report",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``coprop``; returns the exit code: 0 done, 1 part of the work failed, 2 the input was wrong."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    open_streams()
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except (CoPropError, MissingExtra) as error:
        say(f"coprop: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        close_stdout()
        return 0
    except OSError as error:
        told = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
        hint = (
            ". Make room (on the disk, in the quota, under `ulimit -f`) and run the same command again."
            if error.errno in NO_ROOM
            else ""
        )
        say(f"coprop: error: {told}{hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("coprop: interrupted; finished files are whole, run the same command again to go on.", file=sys.stderr)
        return 130


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(f"coprop-plugin {__version__}")
        return 0
    module, parser, rest = parser_of(arguments)
    try:
        return int(module.run(with_config(parser, rest)))
    except CoPropError as error:
        raise CoPropError(spoken(str(error), parser)) from error


def parser_of(arguments: Sequence[str]) -> tuple[Any, argparse.ArgumentParser, list[str]]:
    """The module of a command, its parser, and the words that are left for it.

    Raises:
        CoPropError: there is no such command.
    """
    verb, *rest = arguments
    if verb not in VERBS:
        raise unknown_name("command", verb, VERBS)
    module = importlib.import_module(f"coprop_plugin.cli.{verb}")
    if rest and rest[0] in getattr(module, "SUBJECTS", {}):
        module = importlib.import_module(f"coprop_plugin.cli.{module.SUBJECTS[rest[0]]}")
        verb = f"{verb} {rest.pop(0)}"
    parser = _Parser(
        prog=f"coprop {verb}",
        description=module.HELP,
        epilog=f"examples:\n{module.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.configure(parser)
    return module, parser, rest


class _Parser(argparse.ArgumentParser):
    """What it says holds what was typed, so it is made harmless like every other text."""

    def error(self, message: str) -> NoReturn:
        """A file that is named like a flag (video ids of YouTube begin with a dash) gets the hint that helps."""
        dashed = [a for a in sys.argv[1:] if a.startswith("-") and Path(a).exists()]
        hint = f" '{dashed[0]}' is a file whose name begins with a dash: write ./{dashed[0]}" if dashed else ""
        super().error(message + (f";{hint}" if hint else ""))

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(plain(message), file)


def overview() -> str:
    """The text of ``coprop --help``."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {text}" for verb, text in VERBS.items())
    return (
        "coprop: audio-visual segmentation masks that start and stop with the sound.\n\n"
        f"usage: coprop COMMAND …        coprop COMMAND --help\n\n{verbs}\n\n"
        "example:\n  coprop refine video.mp4 --masks preds/ -o out/"
    )


if __name__ == "__main__":
    sys.exit(main())
