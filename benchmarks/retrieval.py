"""Examples for RCPG: how long a query takes over a whole benchmark, and that a job's second run asks nothing.

    python benchmarks/retrieval.py                       # retrieval over 8,498 annotated clips
    python benchmarks/retrieval.py --job 12356           # and an AVSS-sized job, twice, through the answer cache

The annotated clips are drawn: one to three of AVSBench's 70 classes each. The job's model answers at once without
listening, so that what is measured is all but the model: sound, hashes, prompts, retrieval, cache.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np

from coprop_plugin.control_points.language.document import Document
from coprop_plugin.control_points.language.rcpg import RCPG
from coprop_plugin.control_points.language.retrieval import Entry, retrieve
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.language.model import Answer, AudioLanguageModel, ModelError, Request
from coprop_plugin.structures import AVSBENCH_NAMES, Clip, Sound

ANNOTATED = 8498  # training videos of AVSBench-semantic
QUERIES = 200
ASKED_TOGETHER = 16
RATE_HZ = 16_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=ANNOTATED, help="annotated clips")
    parser.add_argument("--job", type=int, default=0, metavar="CLIPS", help="also a job of so many clips, twice")
    parser.add_argument("--seconds", type=int, default=10, help="length of the job's clips")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    entries = tuple(_entries(rng, arguments.entries))
    print(json.dumps(queries(entries, rng)))
    if arguments.job:
        for row in job(Document("drawn", entries), arguments.job, arguments.seconds):
            print(json.dumps(row), flush=True)


def _entries(rng: np.random.Generator, count: int) -> Iterator[Entry]:
    for i in range(count):
        names = rng.choice(AVSBENCH_NAMES[1:], rng.integers(1, 4), replace=False)
        yield Entry(
            f"video_{i}", tuple(map(str, names)), (1, *map(int, rng.integers(0, 2, 9))), f"old_{i}", f"{i:064x}"
        )


def queries(entries: Sequence[Entry], rng: np.random.Generator) -> dict[str, float]:
    """Milliseconds a query, ids and sound excluded as RCPG does."""
    times_ms = []
    for i in range(QUERIES):
        wanted = [str(name) for name in rng.choice(AVSBENCH_NAMES[1:], rng.integers(1, 4), replace=False)]
        begun_s = time.process_time()
        retrieve(wanted, entries, exclude_ids={f"video_{i}"}, exclude_audio={f"{i:064x}"})
        times_ms.append(1000 * (time.process_time() - begun_s))
    told = {"median": np.median(times_ms), "95 %": np.quantile(times_ms, 0.95)}
    return {
        "entries": len(entries),
        "queries": QUERIES,
        **{f"CPU ms, {k}": round(float(v), 2) for k, v in told.items()},
    }


class Instant(AudioLanguageModel):
    """Answers at once: two classes, and one change."""

    identity = "instant"

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        return [Answer(self._text(request)) for request in requests]

    def _text(self, request: Request) -> str:
        if request.constraint is None:
            return "dog, man"
        return str([1, 1, *[0] * (request.constraint.length - 2)])


def job(document: Document, clips: int, seconds: int) -> Iterator[dict[str, float | int | str]]:
    """The same job twice over one cache: questions that went to the model, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        for run in ("first", "second"):
            generator = RCPG(model=Instant(), examples=document, cache=folder)
            begun_s, cpu_s = time.perf_counter(), time.process_time()
            for start in range(0, clips, ASKED_TOGETHER):
                generator.many([_clip(i, seconds) for i in range(start, min(start + ASKED_TOGETHER, clips))])
            spent_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
            yield {
                "run": run,
                "clips": clips,
                "model calls": generator.calls,
                "s": round(spent_s, 1),
                "CPU ms a clip": round(1000 * cpu_s / clips, 1),
            }


def _clip(seed: int, seconds: int) -> Clip:
    noise = np.random.default_rng(seed).normal(0, 0.1, seconds * RATE_HZ).astype(np.float32)
    return clip_of_sound(Sound(noise, RATE_HZ), clip_id=f"query_{seed}")


if __name__ == "__main__":
    main()
