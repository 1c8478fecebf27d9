"""The main job as a user does it: from a video and a folder of masks to a result folder."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import coprop_plugin as cp
from coprop_plugin.cli import main as cli
from coprop_plugin.cli.demo import make_example
from coprop_plugin.cli.options import ids_of


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("example")
    return folder, ",".join(map(str, make_example(folder, seed=4, simulate_as="lag:1")))


def refine(example: tuple[Path, str], out: Path, *extra: str) -> int:
    folder, classes = example
    return cli.main(
        [
            "refine",
            str(folder / "video.mp4"),
            "--masks",
            str(folder / "preds"),
            "--classes",
            classes,
            "-o",
            str(out),
            *extra,
        ]
    )


@pytest.fixture(scope="module")
def refined(example: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes, overlay and report included; to be copied, not changed."""
    out = tmp_path_factory.mktemp("refined") / "out"
    assert refine(example, out) == 0
    return out


def test_a_late_model_is_mended_scored_and_reported(
    example: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert refine(example, out, "--truth", str(example[0] / "truth"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    scores = {(row["protocol"], row["metric"]): row for row in told["scores"]}
    aligned = scores["alignment", "alignment_set"]
    assert aligned["refined"] > aligned["base"] + 20 and told["changed_frames"]
    assert scores["avsbench", "M_J"]["refined"] > scores["avsbench", "M_J"]["base"]
    for name in ("masks/9.png", "scores.npz", "control_points.json", "run.json", "overlay.mp4", "report.html"):
        assert (out / name).stat().st_size > 0
    assert "alignment_set" in (out / "report.html").read_text()


def test_what_was_written_is_read_back_and_can_be_edited(example: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert refine(example, out, "--no-overlay", "--no-report") == 0
    clip = cp.read_clip(example[0] / "video.mp4")
    base = cp.read_prediction(example[0] / "preds", clip=clip, classes=tuple(map(int, example[1].split(","))))
    result = cp.CoProp()(clip, base)
    stored = cp.read_prediction(out, clip=clip)
    assert all((stored.label_map(t) == result.prediction.label_map(t)).all() for t in range(10))
    points = tmp_path / "edited.json"
    points.write_text("[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]")
    again = tmp_path / "again"
    assert refine(example, again, "--no-overlay", "--no-report", "--control-points", f"file:path={points}") == 0
    assert cp.ControlPoints.from_json((again / "control_points.json").read_text()).frames == (0,)


def test_the_same_command_gives_the_same_bytes(example: tuple[Path, str], refined: Path, tmp_path: Path) -> None:
    one, two, again = refined, tmp_path / "two", Path(shutil.copytree(refined, tmp_path / "again"))
    assert refine(example, two) == 0
    aside = ("run.log", "overlay.mp4")  # times and places; and the h264 encoder promises no equal bytes
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file() and p.name not in aside)
    assert files == sorted(p.relative_to(two) for p in two.rglob("*") if p.is_file() and p.name not in aside)
    assert all((one / f).read_bytes() == (two / f).read_bytes() for f in files)
    shutil.copy(again / "masks/9.png", again / "masks/0.png")  # an edited mask of an earlier result is written over
    assert refine(example, again, "--no-overlay", "--no-report") == 0
    assert all((again / f).read_bytes() == (one / f).read_bytes() for f in files if f.parent.name == "masks")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda preds: (preds / "4.png").unlink(), "4"),
        (lambda preds: (preds / "10.png").write_bytes((preds / "0.png").read_bytes()), "uniform"),
        (lambda preds: (preds / "3.png").write_text("#EXTM3U"), "3.png"),
        (lambda preds: shutil.rmtree(preds), "preds"),
    ],
    ids=["a missing mask", "one mask too many", "no picture", "no folder"],
)
def test_spoilt_masks_end_with_one_clear_line(
    example: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil, message: str
) -> None:
    copy = tmp_path / "example"
    shutil.copytree(example[0], copy)
    spoil(copy / "preds")
    assert refine((copy, example[1]), tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert message in err and err.startswith("coprop: error:") and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_the_earlier_result_whole(example: tuple[Path, str], refined: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(refined, tmp_path / "out"))
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    command = [sys.executable, "-m", "coprop_plugin.cli.main", "refine", str(example[0] / "video.mp4")]
    command += ["--masks", str(example[0] / "preds"), "--classes", example[1], "-o", str(out), "--fusion", "replace"]
    done = subprocess.run(command, preexec_fn=small_disk, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "coprop: error:" in done.stderr and "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_a_foreign_folder_is_not_written_into(
    example: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    assert refine(example, tmp_path) == 2
    assert "holds other things" in capsys.readouterr().err and [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.needs("data")
@pytest.mark.parametrize(
    "name", ["o2_car_5s", pytest.param("o3_car_bmx_10s", marks=pytest.mark.heavy), "o4_negative_5s"]
)
def test_real_model_output_on_composed_clips(data: Path, tmp_path: Path, name: str) -> None:
    told = json.loads((data / "composed" / f"{name}.json").read_text())
    preds = next((data / "composed/avss").glob(f"*/{name}/osvos_pred"))
    ids = ",".join(["0:0", *(f"{o['id']}:{o['avsbench_index']}" for o in told["objects"])])
    options = ["--classes", "avsbench", "--ids", ids]
    options += [] if name == "o3_car_bmx_10s" else ["--no-overlay", "--no-report"]  # which take most of the time
    video = data / "composed" / f"{name}.mp4"
    out = tmp_path / "out"
    assert cli.main(["refine", str(video), "--masks", str(preds), *options, "-o", str(out)]) == 0
    clip = cp.read_clip(video)
    truth = cp.read_prediction(preds.parent / "labels_semantic", clip=clip, classes="avsbench")
    base = cp.read_prediction(preds, clip=clip, classes="avsbench", ids=ids_of(ids))
    before, after = (
        cp.score(p, truth, protocol="alignment")["alignment_set"] for p in (base, cp.read_prediction(out, clip=clip))
    )
    assert after >= before
    silent = np.array([not truth.label_map(t).any() for t in range(clip.num_frames)])
    if name == "o2_car_5s":
        assert silent.any()


def test_a_run_without_a_network_or_a_score_does_without_torch(example: tuple[Path, str], tmp_path: Path) -> None:
    """Its import takes longer than refining a short clip."""
    folder, classes = example
    command = ["refine", str(folder / "video.mp4"), "--masks", str(folder / "preds"), "--classes", classes]
    command += ["--control-points", "changepoint", "-o", str(tmp_path / "out")]
    run = f"import sys; from coprop_plugin.cli.main import main; code = main({command!r}); "
    done = subprocess.run(
        [sys.executable, "-c", run + "sys.exit(code or 'torch' in sys.modules)"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
