"""What is carried to a GPU node runs there: without OpenMMLab, without anything that decodes, from one folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ABSENT = ("mmengine", "mmcv", "mmseg", "decord", "av", "soundfile", "cv2", "PIL", "openai", "transformers")
# Runs a script with packages that cannot be imported, as on a node that lacks them.
WITHOUT = f"""
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} here", name=name)
sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.heavy
@pytest.mark.needs("reference")
@pytest.mark.needs("data")
def test_the_bundle_runs_on_a_bare_node(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    made = run(sys.executable, ROOT / "benchmarks" / "gpu_bundle.py", "-o", folder, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 64 << 20
    done = run(
        *(sys.executable, "-c", WITHOUT, "gpu_bench.py", "--device", "cpu", "--quick", "-o", "found.json"), cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    stages = json.loads((folder / "found.json").read_text())["stages"]
    assert not [name for name, row in stages.items() if "error" in row or "skipped" in row]
    for file, row in stages["parity"].items():
        if file.endswith(".npz"):
            assert row["largest_relative_difference"] < 2e-5 and row["labels_equal"] in (None, 1.0), file
    assert stages["memory of a stream"]["ratio"] < 1.1
    assert min(row["smallest"] for name, row in stages["bfloat16 against float32"].items() if "225" in name) > 0.9


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = run(sys.executable, ROOT / "benchmarks" / "gpu_bundle.py", "-o", tmp_path, cwd=ROOT)
    assert done.returncode == 1 and ("holds other things" in done.stderr or "is not there" in done.stderr)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_without_a_gpu_the_benchmark_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run(sys.executable, ROOT / "benchmarks" / "gpu_bench.py", "-o", tmp_path / "found.json", cwd=tmp_path)
    assert done.returncode == 2 and "--device cpu --quick" in done.stderr
