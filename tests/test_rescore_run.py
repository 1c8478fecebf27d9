"""Batch re-scoring: its numbers are the library's, its engines agree, and it goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rescore_runs import VIDEOS, copy, files_of, plan_of, quick, write_benchmark

from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.cli.main import main
from coprop_plugin.coprop import CoProp
from coprop_plugin.datasets.avsbench import open_dataset
from coprop_plugin.errors import CoPropError
from coprop_plugin.files import locked
from coprop_plugin.metrics.protocols import Scorer
from coprop_plugin.rescore import Processes, Source, make_plan
from coprop_plugin.rescore.pages import extremes

EDITING = {"control_points": "changepoint", "fusion": {"name": "replace"}}  # edits more than the default would dare


@pytest.fixture(scope="module")
def ms3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("ms3") / "set")


@pytest.fixture(scope="module")
def avss(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("avss") / "set", kind="moc", videos=2, side=32)


@pytest.fixture(scope="module")
def done(ms3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over two methods."""
    out = tmp_path_factory.mktemp("done") / "out"
    summary = quick(plan_of(ms3), out)
    assert (summary.done, summary.kept, summary.failed) == (2 * VIDEOS, 0, 0)
    return out


def test_the_numbers_are_the_librarys(ms3: Path, tmp_path: Path) -> None:
    dataset, method = open_dataset(ms3), CoProp(**EDITING)
    scorers = {side: Scorer(["avsbench", "split"]) for side in ("before", "after")}
    for video in dataset.videos("test"):
        clip = dataset.clip(video)
        base = read_prediction(ms3 / "predictions/soft", clip=clip, kind="probability")
        result = method(clip, base)
        for side, prediction in (("before", base), ("after", result.prediction)):
            scorers[side].add(video.video_id, prediction, dataset.truth(video), result.control_points)
    summary = quick(
        plan_of(ms3, "soft", reading={"kind": "probability"}, protocol=("avsbench", "split"), method=EDITING),
        tmp_path / "o",
    )
    told = {(r.protocol, r.metric): (r.before, r.after) for r in summary.comparison.rows}
    for protocol in ("avsbench", "split"):
        old, new = (scorers[side].compute()[protocol] for side in ("before", "after"))
        for metric in old:
            wanted = tuple(None if side[metric] is None else 100 * side[metric] for side in (old, new))
            assert told[protocol, metric] == wanted
    assert any(row.change for row in summary.comparison.rows)


def test_written_masks_are_predictions_again(ms3: Path, done: Path) -> None:
    dataset = open_dataset(ms3)
    for video in dataset.videos("test"):
        clip = dataset.clip(video)
        base = read_prediction(ms3 / "predictions/lag-1", clip=clip)
        refined = CoProp()(clip, base).prediction
        stored = read_prediction(done / "masks/lag-1", clip=clip)
        np.testing.assert_array_equal(np.asarray(stored.label_maps()), np.asarray(refined.label_maps()))
    again = quick(make_plan([Source("again", done / "masks/lag-1")], ms3), done.parent / "again")
    first = [(r.metric, r.after) for r in quick(plan_of(ms3), done).comparison.rows if r.method == "lag-1"]
    assert [(r.metric, r.before) for r in again.comparison.rows if not r.metric.startswith(("key", "normal"))] == [
        (m, v) for m, v in first if not m.startswith(("key", "normal"))
    ]


def test_kept_scores_are_without_loss(ms3: Path, tmp_path: Path) -> None:
    quick(plan_of(ms3, "soft", reading={"kind": "probability"}, scores="float32", protocol="avsbench"), tmp_path / "o")
    dataset = open_dataset(ms3)
    clip = dataset.clip(dataset.videos("test")[0])
    base = read_prediction(ms3 / "predictions/soft", clip=clip, kind="probability")
    wanted = CoProp()(clip, base).prediction
    stored = read_prediction(tmp_path / "o/scores/soft", clip=clip)
    np.testing.assert_array_equal(np.asarray(stored.scores), np.asarray(wanted.scores))


def test_two_workers_write_what_one_does(ms3: Path, done: Path, tmp_path: Path) -> None:
    """Workers are held to this folder by its lock, and end with the run."""
    summary = quick(plan_of(ms3), tmp_path / "two", engine=Processes(2))
    assert (summary.done, summary.kept, summary.failed) == (2 * VIDEOS, 0, 0)
    assert files_of(tmp_path / "two") == files_of(done)
    with locked(tmp_path / "two", wait_s=0):
        pass


def test_json_on_stdout_is_the_file(ms3: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["rescore", str(ms3 / "predictions/lag-1"), "--data-root", str(ms3), "--pages", "none", "--json"]
    assert main([*command, "--protocol", "avsbench", "-o", str(tmp_path / "out")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told.pop("out"), told.pop("videos_failed")) == (str(tmp_path / "out"), 0)
    assert told == json.loads((tmp_path / "out/comparison.json").read_bytes())


def test_a_second_run_keeps_what_is_done(ms3: Path, done: Path, tmp_path: Path) -> None:
    out = copy(done, tmp_path / "out")
    before = files_of(out)
    summary = quick(plan_of(ms3), out)
    assert (summary.done, summary.kept) == (0, 2 * VIDEOS)
    assert files_of(out) == before


@pytest.mark.parametrize("damage", ["mask edited", "mask gone", "record gone", "record damaged", "strange leftovers"])
def test_damage_is_mended(damage: str, ms3: Path, done: Path, tmp_path: Path) -> None:
    out = copy(done, tmp_path / "out")
    wanted = files_of(out)
    record = next((out / "records/lag-1").iterdir())
    mask = out / "masks/lag-1" / record.stem / "0.png"
    if damage == "mask edited":
        Image.fromarray(1 - np.array(Image.open(mask))).save(mask)
    elif damage == "mask gone":
        mask.unlink()
    elif damage == "record gone":
        record.unlink()
    elif damage == "record damaged":
        record.write_bytes(record.read_bytes()[:100])
    else:
        (out / ".stage/lag-1/x").mkdir(parents=True)
        (out / f".{'0' * 16}.part").write_bytes(b"half")
    summary = quick(plan_of(ms3), out)
    assert summary.done == (0 if damage == "strange leftovers" else 1)
    assert files_of(out) == wanted


def test_changed_predictions_are_done_again(ms3: Path, tmp_path: Path) -> None:
    root = copy(ms3, tmp_path / "set")
    quick(plan_of(root, "lag-1"), tmp_path / "out")
    shutil.rmtree(root / "predictions/lag-1")
    copy(root / "predictions/flicker-2", root / "predictions/lag-1")
    summary = quick(plan_of(root, "lag-1"), tmp_path / "out")
    assert summary.done == VIDEOS
    quick(plan_of(root, "lag-1"), tmp_path / "fresh")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")


def test_a_failed_video_does_not_stop_the_rest(ms3: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = copy(ms3, tmp_path / "set")
    victim = sorted((root / "predictions/lag-1").iterdir())[1]
    hidden = victim / f"{victim.name}_2.png"
    kept = hidden.read_bytes()
    hidden.unlink()
    command = ["rescore", str(root / "predictions/lag-1"), "--data-root", str(root), "-o", str(tmp_path / "out")]
    assert main([*command, "--pages", "none"]) == 1
    told = capsys.readouterr()
    assert f"failed lag-1/{victim.name}" in told.err
    assert "--retry-failed" in told.err
    assert victim.name in told.out
    assert f"{VIDEOS - 1} of {VIDEOS} videos" in told.out
    comparison = json.loads((tmp_path / "out/comparison.json").read_bytes())
    assert [f["video"] for f in comparison["failures"]] == [victim.name]
    assert "2 missing" in comparison["failures"][0]["error"]
    assert str(root) not in comparison["failures"][0]["error"]  # equal on every machine; the log knows the place
    assert not (tmp_path / "out/masks/lag-1" / victim.name).exists()

    hidden.write_bytes(kept)
    assert main([*command, "--pages", "none"]) == 1  # remembered, not tried
    assert main([*command, "--pages", "none", "--retry-failed"]) == 0
    assert main([*command[:-1], str(tmp_path / "fresh"), "--pages", "none"]) == 0
    mended, fresh = files_of(tmp_path / "out"), files_of(tmp_path / "fresh")
    assert mended == fresh


def test_a_full_disk_stops_the_run(ms3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("coprop_plugin.rescore.worker.write_masks", full)
    with pytest.raises(OSError, match="No space left"):
        quick(plan_of(ms3), tmp_path / "out")
    monkeypatch.undo()
    assert quick(plan_of(ms3), tmp_path / "out").failed == 0


def test_semantic_data_per_class_and_moc(avss: Path, tmp_path: Path) -> None:
    """AVSS videos of the subset ``v1m`` are the MS3 ones; the synthetic changing videos are made such."""
    root = copy(avss, tmp_path / "set")
    table = root / "AVSS/metadata.csv"
    table.write_text(table.read_text().replace(",v2", ",v1m"))
    (root / "AVSS/v2").rename(root / "AVSS/v1m")
    plan = plan_of(root, "lag-1")
    assert plan.moc == tuple(v.video_id for v in plan.videos)
    comparison = quick(plan, tmp_path / "out").comparison
    assert {row.subset for row in comparison.rows} == {"all", "MOC"}
    per_class = {row.class_id: row for row in comparison.classes}
    dataset = open_dataset(root)
    shown = set().union(*(np.unique(np.asarray(dataset.truth(v).label_maps())) for v in plan.videos))
    assert set(per_class) >= {int(c) for c in shown}
    assert per_class[0].name == "background"
    mean = np.mean([row.after_j or 0 for row in comparison.classes])
    present = next(r for r in comparison.rows if r.metric == "M_J/present_only" and r.subset == "all")
    assert mean == pytest.approx(present.after)


def test_colour_maps_read_like_indices(avss: Path, tmp_path: Path) -> None:
    root = copy(avss, tmp_path / "set")
    for path in (root / "predictions/lag-1").rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    indexed, colours = (quick(plan_of(r, "lag-1"), tmp_path / n) for r, n in ((avss, "a"), (root, "b")))
    assert [r.after for r in indexed.comparison.rows] == [r.after for r in colours.comparison.rows]


def test_ms3_without_class_masks_says_why_there_is_no_moc(done: Path) -> None:
    told = json.loads((done / "comparison.json").read_bytes())
    assert told["dataset"]["moc"] is None
    assert any("binary" in note and "--semantic-root" in note for note in told["notes"])


def test_another_run_does_not_fit_in_the_folder(ms3: Path, done: Path) -> None:
    with pytest.raises(CoPropError, match=r"other settings: configuration.*hold"):
        quick(plan_of(ms3, method={"propagator": "hold"}), done)
    with pytest.raises(CoPropError, match="other settings: methods"):
        quick(plan_of(ms3, "lag-1"), done)


def test_other_folders_and_two_runs_at_once_are_refused(ms3: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    with pytest.raises(CoPropError, match=r"other things \(thesis.tex\)"):
        quick(plan_of(ms3), tmp_path / "mine")
    with locked(tmp_path / "out"), pytest.raises(CoPropError, match="being written by another run"):
        quick(plan_of(ms3), tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name the predictions and the data"),
        (["PREDS", "--data-root", "DATA", "--split", "exam"], "unknown split 'exam'"),
        (["PREDS", "--data-root", "DATA", "--fusion", "replaced"], "Did you mean 'replace'"),
        (["PREDS", "--data-root", "DATA", "--protocol", "avsbanch"], "Did you mean 'avsbench'"),
        (["PREDS", "x=PREDS", "X=PREDS", "--data-root", "DATA"], "two folders of predictions are called"),
        (["../x=PREDS", "--data-root", "DATA"], "one plain name"),
        (["x=PREDS/none", "--data-root", "DATA"], "is no folder of saved predictions"),
        (["PREDS", "--data-root", "DATA", "--workers", "0"], "at least one worker"),
    ],
)
def test_wrong_input_is_explained(
    arguments: list[str], words: str, ms3: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [a.replace("PREDS", str(ms3 / "predictions/lag-1")).replace("DATA", str(ms3)) for a in arguments]
    assert main(["rescore", *given, "-o", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err


def test_the_worst_and_best_videos_have_pages(ms3: Path, tmp_path: Path) -> None:
    summary = quick(plan_of(ms3, "flicker-2", method=EDITING), tmp_path / "out", pages="extremes")
    worst, best = extremes(summary.comparison)
    assert best or worst
    assert all(v.change < 0 for v in worst)
    assert [v.change for v in best] == sorted((v.change for v in best), reverse=True)
    index = (tmp_path / "out/index.html").read_text()
    for video in (*worst, *best):
        assert f'href="pages/flicker-2/{video.video}.html"' in index
        assert (tmp_path / f"out/pages/flicker-2/{video.video}.html").is_file()


def test_nothing_of_the_machine_is_in_the_results(done: Path, ms3: Path) -> None:
    for name, content in files_of(done).items():
        assert str(ms3).encode() not in content, name
    assert str(ms3) in (done / "run.log").read_text()
