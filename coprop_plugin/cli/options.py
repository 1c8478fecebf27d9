"""Flags that several verbs share: one meaning each, settable in a YAML file as well."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import parts
from ..errors import CoPropError
from .terminal import say

if TYPE_CHECKING:
    from ..coprop import CoProp
    from ..structures import Clip, Prediction


CLIPS_HELP = (
    "clips made on the fly: synth:KIND:FIRST-LAST (by formula), or objects:LIBRARY:SPLIT:KIND:FIRST-LAST (real things, "
    "coprop data objects; ',classes=avsbench' may follow); repeat for several"
)


def add_clip(parser: argparse.ArgumentParser) -> None:
    """Where frames and sound come from."""
    group = parser.add_argument_group("clip")
    group.add_argument("source", help="a video file, or a folder of frames (then with --audio)")
    group.add_argument("--audio", metavar="FILE", help="wav, flac, mp3 or ogg to use instead of the video's own sound")
    group.add_argument(
        "--sampling",
        metavar="NAME",
        help="avsbench (a frame a second, shown at k + 15/16 s; the default) or uniform:RATE (uniform:25)",
    )
    group.add_argument("--silent-ok", action="store_true", help="a video without sound counts as silence")
    group.add_argument("--backend", choices=("auto", "av", "decord"), default="auto", help="video decoder")


def add_base(parser: argparse.ArgumentParser) -> None:
    """The base model's answers: saved, or made by an adapter."""
    group = parser.add_argument_group("base model")
    group.add_argument(
        "--masks", metavar="PATH", help="saved predictions: PNGs, npz/npy, COCO or YouTube-VIS JSON, a video"
    )
    add_reading(group)
    group.add_argument(
        "--adapter",
        metavar="NAME[:k=v,…]",
        help=f"run a base model instead of reading masks (default without --masks: {LOOK}, which looks for what it "
        f"hears); {names_of('adapter')}",
    )
    group.add_argument("--adapter-config", metavar="FILE", help="its config file (mmseg runs it as Python code)")
    group.add_argument("--adapter-checkpoint", metavar="FILE", help="its weights")
    group.add_argument(
        "--mode", choices=("clip", "frame"), default="clip", help="run the adapter on the clip, or at keyframes alone"
    )


LOOK = "look"  # what makes masks where none are named
LOOKS = (
    "the adapter 'look' listens, and looks for what it hears (animals, instruments, vehicles, tools; no people). "
    "Masks of your own: --masks PATH; a model: --adapter NAME"
)
READING = ("kind", "classes", "ids", "ignore", "first_index", "entry", "off_palette")


def add_renamed(group: Any, *flags: str, old: str, dest: str, **settings: Any) -> None:
    """A flag that had another name in the version before: the old one still works and stands in no help."""
    action = group.add_argument(*flags, dest=dest, **settings)
    group._option_string_actions[old] = action


def add_reading(group: Any) -> None:
    """How files of masks are to be understood; never guessed from their values."""
    group.add_argument("--kind", choices=("hard", "probability", "logit"), help="what an npz/npy array or PNG holds")
    group.add_argument(
        "--classes", metavar="SET", help="binary, avsbench, objects (each value is one), or ids as 1,2,5"
    )
    group.add_argument("--ids", metavar="A:B,…", help="file value A means class B (1:11,2:40)")
    group.add_argument("--ignore", metavar="N", type=int, help="the value of pixels that count for nothing (often 255)")
    group.add_argument("--first-index", metavar="N", type=int, help="number of the first file, if neither 0 nor 1")
    group.add_argument("--entry", metavar="NAME", help="the array to take from an npz or safetensors file of several")
    group.add_argument("--off-palette", choices=("refuse", "background"), help="what a colour of no class becomes")


def add_method(parser: argparse.ArgumentParser) -> None:
    """The parts of the method."""
    group = parser.add_argument_group("method", parts.RULE)
    add_generator(group)
    add_language(group)
    add_propagator(group)
    group.add_argument("--propagator-checkpoint", metavar="FILE", help="weights of a learned propagator")
    group.add_argument(
        "--fusion",
        metavar="NAME[:k=v,…]",
        default="consensus",
        help=f"policy (default: consensus; the paper's: replace); {names_of('fusion')}",
    )


def add_generator(group: Any) -> None:
    """Where control points come from."""
    group.add_argument(
        "--control-points",
        metavar="NAME[:k=v,…]",
        default="boundary",
        help=f"generator (default: boundary), or file:path=points.json; {names_of('control_points')}",
    )


def add_propagator(group: Any) -> None:
    """What carries masks."""
    group.add_argument(
        "--propagator", metavar="NAME[:k=v,…]", default="flow", help=f"default: flow; {names_of('propagator')}"
    )


def names_of(kind: parts.PartKind) -> str:
    """All names of a kind, for a flag's help; no part is imported."""
    return f"one of {', '.join(parts.names(kind))} (coprop parts {kind})"


def parsed(kind: parts.PartKind, given: Any) -> dict[str, Any]:
    """A part that a flag or a run file names, as a dict.

    Raises:
        CoPropError: it is neither an option string nor a mapping.
    """
    if isinstance(given, str):
        return parts.parse(given, kind=kind)
    if isinstance(given, dict):
        return dict(given)
    raise CoPropError(f"{kind} is NAME, NAME:option=value,… or a mapping with a name; got {given!r}.")


def add_language(group: Any) -> None:
    """The audio language model of ``--control-points rcpg``."""
    group.add_argument("--lm-model", metavar="DIR|ID", help="rcpg: model folder or hub id, or its name on --lm-server")
    group.add_argument(
        "--lm-server", metavar="URL", help="rcpg: an OpenAI-compatible server, as http://127.0.0.1:8000/v1"
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="RUN.yaml", help="flags from a YAML file (names as here, with _ for -)")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of tables")


def with_config(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse flags; what ``--config`` names becomes the default of the flags that were not given.

    Raises:
        CoPropError: the file is no YAML mapping, holds a key that is no flag, or a value that the flag does not take.
    """
    first, _ = _config_only().parse_known_args(arguments)
    if first.config:
        from .config_file import take_settings

        take_settings(parser, first.config)
    return parser.parse_args(arguments)


def _config_only() -> argparse.ArgumentParser:
    only = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    only.add_argument("--config")
    return only


def clip_of(args: argparse.Namespace) -> Clip:
    """The clip that the flags describe."""
    from ..media.reader import read_clip

    if not args.source:
        raise CoPropError("name a video file, or a folder of frames with --audio.")
    return read_clip(
        args.source,
        audio=args.audio,
        sampling=args.sampling or "avsbench",
        silent_ok=args.silent_ok,
        backend=args.backend,
    )


def reading_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options of ``read_prediction`` that the flags give."""
    return {
        "kind": args.kind,
        "classes": classes_of(args.classes),
        "ids": ids_of(args.ids),
        "ignore": args.ignore,
        "first_index": args.first_index,
        "entry": args.entry,
        **({"off_palette": args.off_palette} if args.off_palette else {}),
    }


def truth_of(args: argparse.Namespace, clip: Clip) -> Prediction:
    """True masks as ``refine`` reads them: like the base model's labels but with their own ids, and always hard."""
    from ..adapters.saved_masks import read_prediction

    reading = reading_of(args) | {"kind": "hard", "ids": ids_of(args.truth_ids)}
    truth = read_prediction(args.truth, clip=clip, **reading)
    for t in range(truth.num_frames):
        truth.label_map(t)  # a value that stands for no class is found now, not after the work
    return truth


def classes_of(text: str | None) -> Any:
    if text is None or text in ("binary", "avsbench", "objects"):
        return text
    try:
        return tuple(int(c) for c in text.split(","))
    except ValueError as error:
        raise CoPropError(f"--classes is binary, avsbench, objects, or class ids as 1,2,5; got '{text}'.") from error


def ids_of(text: str | None) -> dict[int, int] | None:
    if text is None:
        return None
    try:
        pairs = [(int(a), int(b)) for a, b in (pair.split(":") for pair in text.split(","))]
    except ValueError as error:
        raise CoPropError(f"--ids maps file values to classes as 1:11,2:40; got '{text}'.") from error
    if len(dict(pairs)) < len(pairs):
        raise CoPropError(f"--ids names a file value twice: '{text}'; each stands for one class.")
    return dict(pairs)


def base_of(args: argparse.Namespace, clip: Clip) -> Any:
    """The base prediction that the flags name, or the adapter that makes it; by default ``LOOK``.

    Raises:
        CoPropError: masks and an adapter, or an adapter that cannot be made.
    """
    if args.masks and args.adapter:
        raise CoPropError(
            "name the base model's answers once: either --masks PATH (saved) or --adapter NAME (to be run)."
        )
    if args.masks:
        return prediction_of(args.masks, args, clip)
    if not args.adapter:
        say(f"no masks and no base model named: {LOOKS}", file=sys.stderr)
        return parts.build("adapter", LOOK)
    options = parsed("adapter", args.adapter)
    options |= {k: v for k, v in (("config", args.adapter_config), ("checkpoint", args.adapter_checkpoint)) if v}
    return parts.build("adapter", options)


def prediction_of(path: str, args: argparse.Namespace, clip: Clip) -> Prediction:
    """Saved masks, read as the flags say."""
    from ..adapters.saved_masks import read_prediction

    return read_prediction(path, clip=clip, **reading_of(args))


def control_points_of(args: argparse.Namespace) -> Any:
    """The generator that the flags name, with its language model.

    Raises:
        CoPropError: a language model is named for a generator that asks none.
    """
    given = args.control_points
    named = {k: v for k, v in (("model", args.lm_model), ("server", args.lm_server)) if v}
    if not named:
        return given
    generator = parsed("control_points", given)
    if generator.get("name") != "rcpg":
        raise CoPropError(
            f"--lm-model and --lm-server belong to --control-points rcpg, not to '{generator.get('name')}'."
        )
    return generator | named


def method_of(args: argparse.Namespace) -> CoProp:
    """The method that the flags name."""
    from ..coprop import CoProp

    propagator = parsed("propagator", args.propagator)
    if args.propagator_checkpoint:
        propagator["checkpoint"] = args.propagator_checkpoint
    return CoProp(control_points=control_points_of(args), propagator=propagator, fusion=args.fusion)
