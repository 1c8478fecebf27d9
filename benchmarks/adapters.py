"""What the base models cost: time and memory, the whole clip against single frames, ours against the published way.

    python benchmarks/adapters.py                                     times of all models; the memory table of TPAVI
    python benchmarks/adapters.py --only memory --models catr aavs    peak memory over clips of 10, 100 and 1000 frames
    python benchmarks/adapters.py --device cuda --precision bfloat16
    python benchmarks/adapters.py --json

Weights and clips are made up: speed and memory do not depend on them. On the CPU one thread is used and CPU seconds
are taken; every row runs in a process of its own, so that its peak memory is its own. Beside the times stands a fixed
kernel (a product of two 1024x1024 float32 matrices), so that machines and busy hours can be compared.

The memory table holds the paper's claim against the base models: all frames in one batch, the adapter's own windows,
and Co-Prop (base model at every tenth frame, ``flow`` in between). A row that reaches the limit is ended and says so;
longer clips are then not tried. By windows and with Co-Prop the network is run on the first four batches of a size,
and its last answer stands for the others: they would need the same memory again, and on a CPU hours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from adapter_rows import BY_WINDOWS, CO_PROP, MODELS, OVER_LIMIT, TIMED, WHOLE, Row, measure

FRAMES = 5  # of the clip that is timed
REAL_BATCHES = 4
HEADER = f"{'model':<34} {'way':<19} frames  seconds  frames/s  against plain  peak MB  above the model MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", help="parts of names, as tpavi")
    parser.add_argument("--only", choices=("times", "memory"), help="one of the two tables")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--lengths", type=int, nargs="*", default=[10, 100, 1000], help="frames, shortest first")
    parser.add_argument("--ways", nargs="*", default=["whole", "windows", "Co-Prop"], help="of the memory table")
    parser.add_argument("--limit-gib", type=float, default=8.0, help="end a row of the memory table here (CPU)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(Row(**json.loads(arguments.row)))))
        return
    if not arguments.json:
        print(f"kernel {kernel_ms():.1f} ms\n{HEADER}", flush=True)
    rows = []
    for row in all_rows(arguments):
        rows.append(row)
        if not arguments.json:
            print(as_text(row), flush=True)
    if arguments.json:
        print(json.dumps(rows, indent=2))


def all_rows(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    common = {"device": arguments.device, "precision": arguments.precision}
    if arguments.only != "memory":
        for model in chosen(arguments.models or [""]):
            plain = None
            for way in TIMED:
                row = in_a_process(Row(model, way, FRAMES, **common))
                plain = row.get("seconds") if way == "plain" else plain
                yield row | ({"against_plain": plain / row["seconds"]} if plain and "seconds" in row else {})
    if arguments.only != "times":
        for model in chosen(arguments.models or ["tpavi resnet50-s4"]):
            for way in (WHOLE, BY_WINDOWS, CO_PROP):
                if any(part in way for part in arguments.ways):
                    yield from lengths_of(model, way, arguments, common)


def chosen(parts: list[str]) -> list[str]:
    return [model for model in MODELS if any(part in model for part in parts)]


def lengths_of(model: str, way: str, arguments: argparse.Namespace, common: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Clips of growing length, until one does not fit."""
    over = None
    for frames in arguments.lengths:
        if over:
            yield {"model": model, "way": way, "frames": frames, "over_gib": arguments.limit_gib, "already_at": over}
            continue
        real = 0 if way == WHOLE else REAL_BATCHES
        row = in_a_process(Row(model, way, frames, limit_gib=arguments.limit_gib, real_batches=real, **common))
        over = frames if "over_gib" in row else None
        yield row


def in_a_process(row: Row) -> dict[str, Any]:
    """The row's settings with what was measured, or why there is nothing."""
    told = {"model": row.model, "way": row.way, "frames": row.frames}
    command = [sys.executable, __file__, "--row", json.dumps(asdict(row))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == OVER_LIMIT:
        return told | {"over_gib": row.limit_gib}
    if done.returncode:
        return told | {"failed": " ".join(done.stderr.strip().splitlines()[-1:]) or f"status {done.returncode}"}
    return told | json.loads(done.stdout) | ({"real_batches": row.real_batches} if row.real_batches else {})


def as_text(row: dict[str, Any]) -> str:
    start = f"{row['model']:<34} {row['way']:<19} {row['frames']:>6}"
    if "failed" in row:
        return f"{start}  failed: {row['failed']}"
    if "over_gib" in row:
        already = f" (already at {row['already_at']} frames)" if "already_at" in row else ""
        return f"{start}  over {row['over_gib']:g} GiB{already}"
    times = f"{'-':>8} {'-':>9}"  # where answers are repeated, the seconds say nothing
    if "real_batches" not in row:
        times = f"{row['seconds']:>8.2f} {row['frames'] / row['seconds']:>9.2f}"
    against = f"{row['against_plain']:>14.2f}" if "against_plain" in row else f"{'-':>14}"
    return f"{start} {times} {against} {row['peak_mb']:>8.0f} {row['peak_mb'] - row['model_mb']:>19.0f}"


def kernel_ms(rounds: int = 10) -> float:
    """CPU milliseconds of one product of two 1024 x 1024 float32 matrices with one thread."""
    torch.set_num_threads(1)
    a = torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        _ = a @ a
        best = min(best, time.process_time() - start)
    return 1000 * best


if __name__ == "__main__":
    main()
