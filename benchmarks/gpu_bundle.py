"""Collect what a bare GPU node needs to run ``gpu_bench.py``: the package, decoded frames, a few published cases.

    make gpu-bundle                                     # the same as: python benchmarks/gpu_bundle.py -o gpu_bundle
    cd gpu_bundle && python gpu_bench.py -o gpu.json    # on the node, which needs torch, numpy and scipy

The folder holds nothing that decodes: neither OpenMMLab nor a video or sound library is imported on the node.
Frames come from the folder of ``COPROP_DATA_DIR``, cases from ``COPROP_REFERENCE_DIR``. The bundle is not for a commit.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from coprop_plugin.media.images import read_label_values, read_rgb
from coprop_plugin.propagators.aot.preprocess import nearest, resize_frame

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("COPROP_DATA_DIR", ROOT / "../shared/data")).resolve()
REFERENCE = Path(os.environ.get("COPROP_REFERENCE_DIR", ROOT / "../shared/reference")).resolve()
SCRIPTS = ("benchmarks/gpu_bench.py", "benchmarks/gpu_stages.py", "benchmarks/aot_inputs.py", "tests/aot_cases.py")
CASES = {"aott": "aott.npz", "r50_aotl": "r50_aotl.npz", "r50_deaotl": "r50_deaotl.npz"}
CLIPS = ("bmx-trees", "car-shadow")
SIZES = ((225, 225), (481, 849))
FRAMES = 16
LIMIT_BYTES = 64 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "gpu_bundle")
    arguments = parser.parse_args()
    size = collect(arguments.output)
    print(f"{arguments.output}: {size / 1e6:.1f} MB (at most {LIMIT_BYTES / 1e6:.0f})")
    print(f"on the node: cd {arguments.output.name} && python gpu_bench.py -o gpu.json")


def collect(folder: Path) -> int:
    """Write the bundle anew; returns its bytes.

    Raises:
        SystemExit: the folder holds something else, material is missing, or the bundle grew too large.
    """
    for needed, variable in ((DATA / "real/vos", "COPROP_DATA_DIR"), (REFERENCE / "cases", "COPROP_REFERENCE_DIR")):
        if not needed.is_dir():
            raise SystemExit(f"{needed} is not there; set {variable} to the folder that holds it.")
    if folder.exists() and any(folder.iterdir()) and not (folder / "gpu_bench.py").is_file():
        raise SystemExit(f"{folder} holds other things; give an empty folder, or the one of an earlier bundle.")
    shutil.rmtree(folder, ignore_errors=True)
    code = shutil.ignore_patterns("__pycache__", ".mim", "configs", "data", "templates")
    shutil.copytree(ROOT / "coprop_plugin", folder / "coprop_plugin", ignore=code)
    for script in SCRIPTS:
        shutil.copy(ROOT / script, folder)
    copy_cases(folder / "reference")
    (folder / "clips").mkdir()
    for name in CLIPS:
        for size, frames, labels in decoded(DATA / "real/vos" / name):
            np.savez_compressed(folder / "clips" / f"{name}_{size[0]}x{size[1]}.npz", frames=frames, labels=labels)
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if total > LIMIT_BYTES:
        raise SystemExit(f"the bundle has {total} bytes, at most {LIMIT_BYTES} are carried; take fewer FRAMES.")
    return total


def copy_cases(reference: Path) -> None:
    """The chosen case files, their layouts, and the rule that makes their weights."""
    for part in ("cases", "layouts"):
        (reference / part).mkdir(parents=True)
    shutil.copy(REFERENCE / "fill.py", reference)
    for layout, file in CASES.items():
        shutil.copy(REFERENCE / "cases" / file, reference / "cases")
        shutil.copy(REFERENCE / "layouts" / f"{layout}.json", reference / "layouts")


def decoded(clip: Path) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
    """For each size: ``(T, H, W, 3) uint8`` frames, and the first frame's ``(H, W) uint8`` labels."""
    import torch

    pictures = sorted((clip / "frames").iterdir())[:FRAMES]
    frames = [read_rgb(path) for path in pictures]
    mask = read_labels(min((clip / "masks").iterdir()))
    for size in SIZES:
        resized = [resize_frame(frame, size).round().clip(0, 255).astype(np.uint8) for frame in frames]
        yield size, np.stack(resized), nearest(torch.from_numpy(mask), size).numpy()


def read_labels(path: Path) -> np.ndarray:
    """``(H, W) uint8``: the objects of a mask as 0, 1, 2, …"""
    values = read_label_values(path).values
    return np.searchsorted(np.unique(values), values).astype(np.uint8)


if __name__ == "__main__":
    main()
