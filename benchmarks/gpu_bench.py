"""One command for a GPU node: everything that this project measures on a GPU, into one JSON, in under nine minutes.

    python gpu_bench.py -o gpu.json                      # inside the folder that `make gpu-bundle` made
    python gpu_bench.py -o cpu.json --device cpu --quick # the same stages, small, to see that the bundle runs

Stages run in order of importance. A stage that would begin after ``--budget-s`` is skipped and says so; one that
fails leaves its error; the JSON is written anew after each, so that nothing is lost when time runs out.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]  # in a bundle all lies in one folder

import gpu_stages as stages  # noqa: E402

GOALS = {
    "R50_AOTL 225x225 bf16, frames/s": {"at least": 5000, "goal": 15000},
    "R50_AOTL 481x849 bf16, frames/s": {"at least": 600, "goal": 2000},
    "bf16 against float32, mask IoU": {"at least": 0.99},
    "10,000-frame stream over a 200-frame one, peak memory": {"at most": 1.1},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget-s", type=float, default=480, help="no stage begins later")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--bundle", type=Path, default=HERE, help="the folder with reference/ and clips/")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --device cpu --quick shows that the bundle runs")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    found: dict[str, Any] = {"machine": machine(arguments.device), "goals": GOALS, "stages": {}}
    started = time.perf_counter()
    for name, stage in plan(arguments).items():
        begun = time.perf_counter()
        if begun - started > arguments.budget_s:
            found["stages"][name] = {"skipped": f"not begun within {arguments.budget_s:g} s"}
        else:
            found["stages"][name] = attempt(stage) | {"stage_s": round(time.perf_counter() - begun, 1)}
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")
        print(name, json.dumps(found["stages"][name]), flush=True)
    return int(any("error" in row for row in found["stages"].values()))


def attempt(stage: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a stage found, or why it found nothing; later stages still run."""
    try:
        return stage()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def machine(device: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__, "device": device}
    if device.startswith("cuda"):
        facts |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return facts


def plan(arguments: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """The stages by name, the most important first."""
    device, bundle = arguments.device, arguments.bundle
    model = "aott" if arguments.quick else "r50_aotl"
    small, large = ((49, 65), (65, 81)) if arguments.quick else ((225, 225), (481, 849))
    clips = sorted((bundle / "clips").glob("*225x225.npz" if arguments.quick else "*.npz"))
    if arguments.quick:
        clips = clips[:1]

    def rate(size: stages.Size, segments: int, precision: str, *, compiled: bool = False) -> Any:
        return lambda: stages.resident_rate(
            model,
            size,
            segments=2 if arguments.quick else segments,
            length=3 if arguments.quick else 10,
            precision=precision,  # type: ignore[arg-type]
            compiled=compiled,
            device=device,
        )

    def label(size: stages.Size, rest: str) -> str:
        return f"{model} {size[0]}x{size[1]} {rest}"

    found: dict[str, Callable[[], dict[str, Any]]] = {
        "parity": lambda: stages.parity(bundle / "reference", device=device)
    }
    for segments in (64, 256):
        found[label(small, f"bfloat16, {segments} segments")] = rate(small, segments, "bfloat16")
    for segments in (16, 64):
        found[label(large, f"bfloat16, {segments} segments")] = rate(large, segments, "bfloat16")
    found["bfloat16 against float32"] = lambda: stages.half_precision_iou(
        model, clips, precision="bfloat16", device=device
    )
    found["memory of a stream"] = lambda: stages.stream_memory(
        "aott", small, frames=(20, 200) if arguments.quick else (200, 10_000), device=device
    )
    found[label(small, "float32, 64 segments")] = rate(small, 64, "float32")
    found[label(large, "float32, 16 segments")] = rate(large, 16, "float32")
    found[label(small, "bfloat16, 1 segment")] = rate(small, 1, "bfloat16")
    for size in (small, large):
        found[label(size, "from the clip")] = lambda size=size: stages.from_clip_rate(
            model, size, segments=2 if arguments.quick else 16, length=5, precision="bfloat16", device=device
        )
    if not arguments.quick:
        found[label(small, "bfloat16, 64 segments, compiled")] = rate(small, 64, "bfloat16", compiled=True)
        found[label(large, "bfloat16, 16 segments, compiled")] = rate(large, 16, "bfloat16", compiled=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
