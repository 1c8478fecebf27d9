"""Re-score the saved predictions of a whole benchmark: every method before and after, in one table.

    python examples/rescore_benchmark.py                                   # makes a small benchmark of its own
    python examples/rescore_benchmark.py AVSBench preds/a preds/b -o runs/ms3 --layout ms3 --workers 4

Interrupted, the same command goes on where it stopped. On the command line: ``coprop rescore --help``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from coprop_plugin.rescore import Processes, Summary, make_plan, rescore


def compare(data: Path, predictions: Sequence[Path], out: Path, *, layout: str = "auto", workers: int = 1) -> Summary:
    """Refine and score the test split under two protocols; tables and pages are written to ``out``."""
    plan = make_plan(
        predictions,
        data,
        layout=layout,  # type: ignore[arg-type]
        method={"control_points": "boundary", "propagator": "flow", "fusion": "consensus"},
        protocol=("avsbench", "alignment"),
    )
    return rescore(plan, out, engine=Processes(workers))


def make_example(folder: Path) -> tuple[Path, list[Path]]:
    """Eight clips in MS3's layout, and the masks of a model that lags and of one that flickers."""
    from coprop_plugin.datasets.write import Simulation, write_dataset

    models = [Simulation("lag", 1), Simulation("flicker", 2)]
    write_dataset(folder / "set", kind="ms3", videos=8, splits=("test",), size=(96, 96), simulations=models)
    return folder / "set", [folder / "set/predictions" / str(model) for model in models]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="the benchmark; without it a small one is made")
    parser.add_argument("predictions", nargs="*", type=Path, help="a folder of saved predictions for each method")
    parser.add_argument("-o", "--out", type=Path, default=Path("rescored"), help="folder of the run")
    parser.add_argument("--layout", default="auto", choices=("auto", "s4", "ms3", "avss"))
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.data and not arguments.predictions:
        parser.error("a benchmark needs predictions: rescore_benchmark.py DATA PREDICTIONS [PREDICTIONS …]")

    with tempfile.TemporaryDirectory() as scratch:
        data, predictions = arguments.data, arguments.predictions
        if data is None:
            data, predictions = make_example(Path(scratch))
        summary = compare(data, predictions, arguments.out, layout=arguments.layout, workers=arguments.workers)
    for row in summary.comparison.rows:
        if row.headline and row.before is not None and row.after is not None:
            low, high = row.interval or (float("nan"), float("nan"))
            print(
                f"{row.method:<12} {row.protocol:<10} {row.metric:<28} {row.before:6.2f} -> {row.after:6.2f} "
                f"({row.change:+.2f}, 95 % interval {low:+.2f} to {high:+.2f})"
            )
    print(f"{summary.done + summary.kept} videos, {summary.failed} failed; open {arguments.out / 'index.html'}")


if __name__ == "__main__":
    main()
