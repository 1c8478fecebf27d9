"""The AOT engine against the published algorithm written plainly (``plain_aot.py``), in one process.

    python benchmarks/propagator.py                                     # AOTT and R50_AOTL, 225x225, 1 and 16 segments
    python benchmarks/propagator.py --models r50_aotl --size 481x849 --segments 1,16 --lengths 5,10 --rounds 1
    python benchmarks/propagator.py --published DIR                     # and AOT's published code, from a checkout of it
    python benchmarks/propagator.py --stream 2000                       # does memory grow with the length of a stream?

All sides go from uint8 frames to probabilities at the frames' size, with two objects and the same stand-in weights;
their rounds take turns and the best of each counts. Frames with a given mask are not counted. Beside the times
stands a fixed kernel (a product of two 1024x1024 float32 matrices), so that machines and busy hours can be compared;
peak memory is what a side takes above what was resident before it (its answers included). ``max_difference`` is of
probabilities, the plain side being fed the engine's masks: noise has ties, and a label that flips at one goes on
through the frames. ``labels_equal_to_...`` lets each side feed on its own masks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from aot_inputs import Size, clip_of, drift, probabilities, stand_in_weights, two_squares
from plain_aot import PlainAOT
from published_aot import PublishedAOT

from coprop_plugin.propagators.aot.config import MODELS
from coprop_plugin.propagators.aot.preprocess import most_likely, to_input
from coprop_plugin.propagators.aot.propagator import AOT
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.structures import Clip

NUM_OBJECTS = 2
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default="aott,r50_aotl", help="of aott, aots, aotb, aotl, r50_aotl")
    parser.add_argument("--size", default="225x225", help="height x width of the frames, sides of 16k + 1")
    parser.add_argument("--segments", default="1,16", help="numbers of segments")
    parser.add_argument("--lengths", default="5", help="frames of a segment")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu with one thread where others are busy")
    parser.add_argument("--device", default="cpu", help="of the engine; the plain side runs on it too")
    parser.add_argument("--precision", default="float32", help="of the engine")
    parser.add_argument("--compile", action="store_true", help="compile the engine")
    parser.add_argument("--published", type=Path, metavar="DIR", help="a checkout of AOT's code, which is run as well")
    parser.add_argument("--stream", type=int, metavar="FRAMES", help="only measure memory over a stream this long")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    measure = memory_of_a_stream if arguments.stream else frames_a_second
    for row in measure(arguments):
        print(json.dumps(row) if arguments.json else "  ".join(f"{key} {_short(value)}" for key, value in row.items()))


def frames_a_second(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row per model and number of segments."""
    size = _size(arguments.size)
    for model in arguments.models.split(","):
        weights = stand_in_weights(model)
        engine = AOT(
            model,
            checkpoint=weights,
            device=arguments.device,
            precision=arguments.precision,
            compile=arguments.compile,
            max_memory_frames=None,
            max_side_px=max(size),
        )
        published = PublishedAOT(arguments.published, model, weights, arguments.device) if arguments.published else None
        for segments, length in product(_numbers(arguments.segments), _numbers(arguments.lengths)):
            clip, tasks = scene(segments, length, size)
            sides: dict[str, Callable[[], list[np.ndarray]]] = {
                "plain": lambda: list(run_plain(model, weights, clip, tasks, arguments.device)),  # noqa: B023
                # A clip of its own each time: the engine keeps what it encoded of a clip that it knows.
                "engine": lambda: list(engine.propagate(replace(clip), tasks)),  # noqa: B023
            }
            if published:
                sides["published"] = lambda: list(published.run(clip, tasks))  # noqa: B023
            best_s, masks, peak_mb = _take_turns(sides, arguments.rounds, CLOCKS[arguments.clock])
            propagated = segments * (length - 1)
            checked = slice(0, segments, max(1, segments - 1))  # the first and the last: all segments are alike
            fed = run_plain(model, weights, clip, tasks[checked], arguments.device, fed=masks["engine"][checked])
            difference = max(_gap(a, b) for a, b in zip(fed, masks["engine"][checked], strict=True))
            labels = {side: np.concatenate(answer).argmax(axis=1) for side, answer in masks.items()}
            row = {
                "model": model,
                "size": arguments.size,
                "segments": segments,
                "length": length,
                "threads": arguments.threads,
                "kernel_ms": 1e3 * best_s["kernel"],
                "max_difference": difference,
            }
            for side in sides:
                row |= {
                    f"{side}_s": best_s[side],
                    f"{side}_fps": propagated / best_s[side],
                    f"{side}_peak_mb": peak_mb[side],
                }
                if side != "engine":
                    row[f"ratio_to_{side}"] = best_s[side] / best_s["engine"]
                    row[f"labels_equal_to_{side}"] = float((labels[side] == labels["engine"]).mean())
            yield row


def memory_of_a_stream(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Resident and remembered bytes after 200 frames and at the end."""
    size = _size(arguments.size)
    for model in arguments.models.split(","):
        clip, tasks = scene(1, 8, size)
        stream = AOT(model, checkpoint=stand_in_weights(model), device=arguments.device).stream(
            clip.frames[0], tasks[0].mask
        )
        peak = 0
        for t in range(1, arguments.stream + 1):
            stream.step(clip.frames[t % 8])
            peak = max(peak, _resident_bytes())
            if t in (200, arguments.stream):
                yield {"model": model, "frames": t, "peak_mb": peak / 1e6, "remembered_mb": stream.memory_bytes / 1e6}


def scene(segments: int, length: int, size: Size) -> tuple[Clip, list[PropagationTask]]:
    """A clip of drifting noise, cut into segments that begin with a mask of two squares."""
    mask = probabilities(two_squares(size))
    tasks = [PropagationTask(i * length, (i + 1) * length, i * length, mask) for i in range(segments)]
    return clip_of(np.concatenate([drift(length, size)] * segments)), tasks


@torch.inference_mode()
def run_plain(
    model: str,
    weights: dict[str, torch.Tensor],
    clip: Clip,
    tasks: list[PropagationTask],
    device: str,
    *,
    fed: list[np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    """The plain side on the same tasks; it feeds on its own masks, or on those that are given."""
    sequence = PlainAOT({name: value.to(device) for name, value in weights.items()}, gap=MODELS[model].memory_gap)
    for number, task in enumerate(tasks):
        masks = [task.mask]
        images = [
            to_input([clip.frames[t]], torch.device(device))[0].contiguous() for t in range(task.start, task.stop)
        ]
        sequence.reference(images[0], torch.from_numpy(task.mask.argmax(axis=0)).to(device), NUM_OBJECTS)
        for step, image in enumerate(images[1:], start=1):
            logits = F.interpolate(sequence.propagate(image)[None], size=clip.size, mode="bilinear", align_corners=True)
            probability = logits.softmax(dim=1)
            masks.append(probability[0].cpu().numpy())
            remembered = probability if fed is None else torch.from_numpy(fed[number][step : step + 1]).to(device)
            sequence.update(most_likely(remembered)[0])
        yield np.stack(masks)


def _take_turns(
    sides: dict[str, Callable[[], list[np.ndarray]]], rounds: int, clock: Callable[[], float]
) -> tuple[dict[str, float], dict[str, list[np.ndarray]], dict[str, float]]:
    """Best seconds of each side and of the calibration kernel, each side's answers, and what it took of memory."""
    seconds: dict[str, list[float]] = {side: [] for side in (*sides, "kernel")}
    answers: dict[str, list[np.ndarray]] = {}
    peak_mb: dict[str, float] = {}
    matrix = torch.randn(1024, 1024)
    for _ in range(rounds):
        for _ in range(5):
            seconds["kernel"].append(_timed(lambda: matrix @ matrix, clock)[0])
        for side, run in sides.items():
            answers.pop(side, None)
            before = _peak_bytes(anew=True)
            spent, answers[side] = _timed(run, clock)
            seconds[side].append(spent)
            peak_mb[side] = max(peak_mb.get(side, 0), (_peak_bytes() - before) / 1e6)
    return {side: min(times) for side, times in seconds.items()}, answers, peak_mb


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


def _timed(run: Callable[[], Any], clock: Callable[[], float]) -> tuple[float, Any]:
    start = clock()
    answer = run()
    return clock() - start, answer


def _peak_bytes(*, anew: bool = False) -> int:
    """The largest resident size so far (Linux); ``anew`` forgets what was before."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
