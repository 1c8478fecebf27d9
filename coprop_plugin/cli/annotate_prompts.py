"""``coprop annotate prompts``: what a model says of every video of a data set, SSP's two answers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CoPropError
from .terminal import console, say

if TYPE_CHECKING:
    from ..structures import Clip

HELP = """Ask a model that sees (and hears) SSP's two questions about every video, and write {video: [A1, A2]}, for
--adapter ssp:answers=FILE. The same command goes on where it stopped; videos without an answer are asked again."""
EXAMPLES = """\
  coprop annotate prompts data/AVSBench-semantic --lm-server http://127.0.0.1:8000/v1 -o answers.json
  coprop annotate prompts data/MS3 --split test --lm-model qwen2.5-vl-7b/ -o answers.json --json"""
SAVE_EVERY = 20  # videos


def configure(parser: argparse.ArgumentParser) -> None:
    from ..adapters.ssp.asking import MOST_PICTURES, SIDE_PX

    parser.add_argument("root", help="folder of the benchmark")
    parser.add_argument("--layout", choices=("auto", "s4", "ms3", "avss"), default="auto", help="which of the three")
    parser.add_argument("--split", choices=("all", "train", "val", "test"), default="all", help="which videos (all)")
    parser.add_argument("-o", "--out", metavar="FILE", required=True, help="the answers, JSON")
    parser.add_argument("--lm-server", metavar="URL", help="an OpenAI-compatible server; key in COPROP_LM_KEY")
    parser.add_argument("--lm-model", metavar="NAME", help="the model's name there, or a folder of transformers")
    parser.add_argument("--question", choices=("a", "b", "c", "d"), default="d", help="wording of question 1 (d)")
    parser.add_argument(
        "--pictures", type=int, default=MOST_PICTURES, metavar="N", help=f"frames sent ({MOST_PICTURES})"
    )
    parser.add_argument(
        "--side", type=int, default=SIDE_PX, metavar="PX", help=f"their longer side at most ({SIDE_PX})"
    )
    parser.add_argument("--no-sound", action="store_true", help="send no sound (models that only see)")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of text")


def run(args: argparse.Namespace) -> int:
    from rich.progress import Progress

    from ..datasets.avsbench import open_dataset
    from ..language.answers import NoText, checked

    source = _source(args)
    dataset = open_dataset(args.root, layout=args.layout)
    videos = list(dataset.videos(None if args.split == "all" else args.split))
    said = _said(Path(args.out))
    kept = {name: pair for name, pair in said.items() if not isinstance(checked(pair), NoText)}
    failed: dict[str, str] = {}
    asked = 0
    try:
        with Progress(console=console(stderr=True), transient=True) as bar:
            for clip in bar.track(_clips(dataset, videos), total=len(videos), description="videos"):
                if clip.clip_id in kept:
                    continue
                found = source.of(clip)
                asked += 1
                if isinstance(found, NoText):
                    failed[clip.clip_id] = found.why
                else:
                    kept[clip.clip_id] = [found.first, found.second]
                if asked % SAVE_EVERY == 0:
                    _write(kept, args.out)
    finally:
        _write(kept, args.out)
    facts = {"videos": len(videos), "asked": asked, "answered": len(kept), "failed": failed, "by": source.about}
    if args.json:
        print(json.dumps(facts | {"written": args.out}, indent=2))
        return 1 if failed else 0
    say(f"{args.out}: {len(kept)} of {len(videos)} videos answered, {asked} asked now; {source.about}")
    for name, why in failed.items():
        say(f"no text for '{name}': {why}")
    return 1 if failed else 0


def _source(args: argparse.Namespace) -> Any:
    from ..adapters.ssp.sources import open_answers

    if not args.lm_server and not args.lm_model:
        raise CoPropError("say who answers: --lm-server URL, or --lm-model FOLDER with a model of transformers.")
    return open_answers(
        args.lm_server or args.lm_model,
        model=args.lm_model if args.lm_server else None,
        question=args.question,
        pictures=args.pictures,
        side_px=args.side,
        sound="left_out" if args.no_sound else "sent",
    )


def _clips(dataset: Any, videos: list[Any]) -> Iterator[Clip]:
    return (dataset.clip(video) for video in videos)


def _said(path: Path) -> dict[str, Any]:
    """What an earlier call wrote."""
    from ..files import read_json
    from ..files.schema import Anything, MapOf

    if not path.exists():
        return {}
    found: dict[str, Any] = read_json(path, form=MapOf(Anything()), what="answers about videos")
    return found


def _write(said: dict[str, Any], out: str) -> None:
    from ..files import atomic_write

    with atomic_write(Path(out), "w") as file:
        file.write(json.dumps(dict(sorted(said.items())), indent=1, ensure_ascii=False) + "\n")
