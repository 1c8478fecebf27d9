"""How long a training of the keyframe processor takes: seconds and memory of a step, hours on AVSBench.

    python benchmarks/keyframe.py                       # one CPU core
    python benchmarks/keyframe.py --device cuda         # on a GPU

Steps of four frames of 224 x 224 with random weights, pictures and sounds: forward, losses, backward, Adam. What reads
frames and listens is not in it (VGGish's features are computed once a clip and kept).
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from coprop_plugin.keyframe.network import Kpf, KpfForm
from coprop_plugin.training.kpf import KpfBatch, KpfTraining
from coprop_plugin.training.sources import open_source

BATCH, EPOCHS = 4, 100  # the paper's
FRAMES = {"MS3": 296 * 5, "S4": 3452}  # with masks, in the train split


def measure(backbone: str, device: torch.device, steps: int) -> tuple[float, float, float]:
    """Parameters in millions, seconds of a step (CPU time on a CPU), and GB at most."""
    torch.manual_seed(0)
    form = KpfForm(backbone)
    network = Kpf(form).to(device)
    source = open_source("synth:s4:0-0", size=form.size)
    training = KpfTraining(network, source, lambda clip: torch.zeros(clip.num_frames, form.audio_dim).numpy())
    pictures, sounds = torch.randn(BATCH, 3, *form.size), torch.randn(BATCH, form.audio_dim)
    labels = torch.randint(0, 2, (BATCH, *form.size))
    batch = KpfBatch(("",) * BATCH, pictures.to(device), sounds.to(device), labels.to(device))
    optimizer = torch.optim.AdamW(training.groups(), 1e-4)

    def step() -> None:
        loss = training.losses(batch, progress=0)["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    begun_s = clock()
    for _ in range(steps):
        step()
    seconds = (clock() - begun_s) / steps
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else _resident_bytes()
    return sum(p.numel() for p in network.parameters()) / 1e6, seconds, peak / 1e9


def _resident_bytes() -> int:
    """The most that this process ever held; it never falls, so models are measured from small to large."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbones", nargs="+", default=["lite0", "resnet50", "pvt_v2_b5"])
    parser.add_argument("--steps", type=int, default=2, help="measured, after one that is not (2)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    hours = [f"{name}, {EPOCHS} epochs" for name in FRAMES]
    print(
        f"| backbone | parameters | a step of {BATCH} | memory | {' | '.join(hours)} |\n|---|---|---|---|{'---|' * len(hours)}"
    )
    for backbone in args.backbones:
        millions, seconds, gigabytes = measure(backbone, torch.device(args.device), args.steps)
        times = [f"{EPOCHS * frames / BATCH * seconds / 3600:.1f} h" for frames in FRAMES.values()]
        print(
            f"| {backbone} | {millions:.0f} M | {seconds:.2f} s | {gigabytes:.1f} GB | {' | '.join(times)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
