"""Results on disk: read back exactly, written as a whole, byte for byte the same, and over nothing that is not ours."""

from __future__ import annotations

import json
import os
import re
import resource
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.errors import CoPropError, MediaError, PredictionError
from coprop_plugin.store import check_output, output_folder, read_result, write_masks, write_result, write_scores
from coprop_plugin.structures import Clip, ControlPoints, Origin, Prediction, Sound, TimeBase

T, H, W = 5, 12, 10


@dataclass(frozen=True)
class Result:
    prediction: Prediction
    control_points: ControlPoints
    base: Prediction | None
    changed: tuple[int, ...] = (1, 3)
    notes: tuple[str, ...] = ("padded",)
    why: tuple[str, ...] = ()

    @property
    def segments(self):
        return self.control_points.segments()


def clip() -> Clip:
    return Clip("toy", np.zeros((T, 8, 8, 3), np.uint8), Sound.silence(T), TimeBase.of("avsbench", T))


def scores(classes: int, kind: str, seed: int = 0) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(size=(T, classes + 1, H, W)).astype(np.float32)
    if kind == "logit":
        return raw
    weights = np.exp(raw)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def predictions() -> dict[str, Prediction]:
    ids = (11, 41)
    labels = np.random.default_rng(3).choice([0, 11, 41, -1], (T, H, W))
    foreground = scores(1, "probability")[:, 1]
    return {
        "probability": Prediction(scores(2, "probability"), "probability", ids, names={11: "car", 41: "man"}),
        "logit": Prediction(scores(2, "logit"), "logit", ids),
        "binary probability": Prediction.from_foreground(foreground, kind="probability"),
        "binary logit": Prediction.from_foreground(scores(1, "logit")[:, 1], kind="logit"),
        "background not 1 - p": Prediction(scores(1, "probability"), "probability"),
        "background not logit 0": Prediction(scores(1, "logit"), "logit"),
        "labels of its own": Prediction(scores(2, "logit"), "logit", ids, labels=labels),
        "hard": Prediction.from_labels(labels, class_ids=ids),
    }


def result(prediction: Prediction | None = None, *, seed: int = 0) -> Result:
    points = ControlPoints(np.arange(T) % 3 == 0, silent=(False, True), origin=Origin("test"))
    base = Prediction.from_foreground(scores(1, "probability", seed=7)[:, 1], kind="probability")
    return Result(prediction or Prediction.from_foreground(scores(1, "logit", seed)[:, 1], kind="logit"), points, base)


def assert_same(read: Prediction, written: Prediction) -> None:
    assert (read.kind, read.class_ids, dict(read.names)) == (written.kind, written.class_ids, dict(written.names))
    assert (read.labels is None) == (written.labels is None)
    for t in range(T):
        assert read.frame(t).tobytes() == written.frame(t).tobytes()
        np.testing.assert_array_equal(read.label_map(t), written.label_map(t))


def contents(folder: Path, *, without: tuple[str, ...] = ("run.log",)) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in without
    }


@pytest.mark.parametrize("form", predictions())
def test_what_is_read_is_what_was_written(tmp_path: Path, form: str) -> None:
    written = result(predictions()[form])
    write_result(written, tmp_path / "out", clip=clip(), base="scores")
    read = read_result(tmp_path / "out")
    assert_same(read.prediction, written.prediction)
    assert_same(read.base, written.base)
    assert read.control_points.to_json() == written.control_points.to_json()
    assert_same(read_prediction(tmp_path / "out", clip=clip()), written.prediction)


@pytest.mark.parametrize("form", ["probability", "binary logit", "background not 1 - p"])
def test_a_scores_file_alone_says_its_kind_and_classes(tmp_path: Path, form: str) -> None:
    written = predictions()[form]
    write_scores(tmp_path / "scores.npz", written)
    read = read_prediction(tmp_path / "scores.npz", clip=clip())
    assert (read.kind, read.class_ids) == (written.kind, written.class_ids)
    assert all(read.frame(t).tobytes() == written.frame(t).tobytes() for t in range(T))
    with np.load(tmp_path / "scores.npz") as archive:  # plain numpy opens it
        assert bytes(archive["kind"]).decode() == written.kind
        assert archive["scores"].dtype == np.float32
        assert len(archive["scores"]) == T


def test_score_files_carry_no_date(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.npz", predictions()["logit"])
    with zipfile.ZipFile(tmp_path / "scores.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": np.frombuffer(b"guess", np.uint8)}, "unknown kind of scores; stored are probability, logit"),
        ({"kind": np.array(["logit"])}, "items of type <U5"),
        ({"kind": np.zeros(1000, np.uint8)}, "its kind or its class_ids are damaged"),
        ({"class_ids": np.array([np.nan])}, "its kind or its class_ids are damaged"),
        ({"class_ids": np.array([0, 1])}, "class ids are distinct integers from 1 to 32767"),
        ({"class_ids": np.array([1, 2, 3])}, r"3 classes have 4 channels with the background first"),
        ({"scores": np.zeros((2, 3, 4, 5), int)}, r"float32 or float16 frames, not int64 \(2, 3, 4, 5\)"),
        ({"scores": np.zeros((2, 3), np.float32)}, r"float32 or float16 frames, not float32 \(2, 3\)"),
        ({"scores": np.zeros((0, 3, 4, 5), np.float32)}, "float32 or float16 frames"),
    ],
)
def test_edited_score_files_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    write_scores(tmp_path / "scores.npz", predictions()["logit"])
    with np.load(tmp_path / "scores.npz") as archive:
        np.savez(tmp_path / "scores.npz", **{**archive, **change})
    with pytest.raises(CoPropError, match=message):
        read_prediction(tmp_path / "scores.npz")


def test_results_of_many_clips_are_found_by_clip(tmp_path: Path) -> None:
    for name, seed in (("toy", 0), ("joy", 1)):
        write_result(result(seed=seed), tmp_path / "runs" / name, clip=clip())
    (tmp_path / "runs/summary.csv").touch()
    assert_same(read_prediction(tmp_path / "runs", clip=clip()), result(seed=0).prediction)


def test_without_scores_the_masks_are_the_prediction(tmp_path: Path) -> None:
    written = result(predictions()["probability"])
    write_result(written, tmp_path / "out", clip=clip(), scores="none", base="none")
    read = read_result(tmp_path / "out")
    assert (read.prediction.kind, read.base) == ("hard", None)
    np.testing.assert_array_equal(read.prediction.label_maps()[:], written.prediction.label_maps()[:])
    assert not (tmp_path / "out/scores.npz").exists()


def test_float16_is_lossy_and_says_so(tmp_path: Path) -> None:
    written = predictions()["logit"]
    write_result(result(written), tmp_path / "out", clip=clip(), scores="float16")
    read = read_result(tmp_path / "out")
    assert read.manifest["prediction"]["scores"] == "float16"
    assert "float16" in read.prediction.source
    expected = written.frame(2).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(read.prediction.frame(2), expected)
    huge = Prediction.from_foreground(np.full((T, H, W), 1e6), kind="logit")
    with pytest.raises(PredictionError, match="beyond float16; store them as float32"):
        write_scores(tmp_path / "huge.npz", huge, storage="float16")


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    masks = tmp_path / "preds"
    write_masks(masks, predictions()["hard"])
    for place in ("a", "deep/er/b"):
        write_result(
            result(),
            tmp_path / place,
            clip=clip(),
            configuration={"checkpoint": tmp_path / place / "x.pth", "log": str(tmp_path), "rate": np.float64(0.5)},
            inputs={"masks": masks},
        )
    first, second = contents(tmp_path / "a"), contents(tmp_path / "deep/er/b")
    assert first == second
    assert {"run.json", "control_points.json", "scores.npz", "masks/0.png", "base/masks/4.png"} <= set(first)
    told = first["run.json"].decode()
    assert str(tmp_path) not in told
    assert os.uname().nodename not in told
    assert not re.search(r"20\d\d-\d\d-\d\d", told)
    log = json.loads((tmp_path / "a/run.log").read_text())
    assert log["inputs"]["masks"] == str(masks)
    assert log["written"].startswith("20")


def test_the_manifest_tells_what_made_it(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"abc")
    write_result(
        result(),
        tmp_path / "out",
        clip=clip(),
        configuration={"propagator": {"name": "flow"}},
        inputs={"video": tmp_path / "video.mp4"},
    )
    told = read_result(tmp_path / "out").manifest
    assert told["configuration"] == {"propagator": {"name": "flow"}}
    abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert told["inputs"] == {"video": {"name": "video.mp4", "digest": abc}}
    assert told["clip"]["sampling"] == "avsbench"
    assert (told["changed_frames"], told["notes"]) == ([1, 3], ["padded"])
    assert [(s["start"], s["stop"], s["silent"]) for s in told["segments"]] == [(0, 3, False), (3, 5, True)]
    assert {"coprop-plugin", "python", "numpy", "torch"} <= set(told["versions"])


def test_an_earlier_result_is_replaced_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_result(result(), out, clip=clip(), base="scores", extras={"overlay.mp4": lambda p: p.write_bytes(b"old")})
    (out / "my notes.txt").write_text("mine")
    write_result(result(predictions()["hard"]), out, clip=clip(), base="none")
    left = contents(out)
    assert "my notes.txt" in left
    assert not {"overlay.mp4", "scores.npz", "base/scores.npz"} & set(left)
    assert not (out / "base").exists()
    assert_same(read_result(out).prediction, predictions()["hard"])


def test_a_run_that_fails_leaves_the_earlier_result(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_result(result(), out, clip=clip())
    before = contents(out)

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_result(result(seed=5), out, clip=clip(), extras={"overlay.mp4": fail})
    assert contents(out) == before
    assert not list(out.glob(".partial*"))


def test_a_full_disk_leaves_the_earlier_result(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_result(result(), out, clip=clip())
    before = contents(out)
    noise = Prediction.from_foreground(np.random.default_rng(0).normal(size=(T, 100, 100)), kind="logit")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_result(result(noise), out, clip=clip())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(out) == before


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("survived", [0, 1, 4, 8])  # of: manifest, control points, 5 masks, scores, manifest
def test_a_run_killed_at_any_rename_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool, survived: int
) -> None:
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    write_result(result(seed=5), fresh, clip=clip(), base="none")
    if earlier:
        write_result(result(), out, clip=clip())
    replace, renames = os.replace, 0

    def killed(source: str | Path, target: str | Path, **folders: int) -> None:
        nonlocal renames
        renames += "dst_dir_fd" in folders or Path(target).parent == out
        if renames > survived:
            raise KeyboardInterrupt
        replace(source, target, **folders)

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", killed)
        patched.setattr("shutil.rmtree", lambda *_, **__: None)  # the dead do not tidy up
        with pytest.raises(KeyboardInterrupt):
            write_result(result(seed=5), out, clip=clip(), base="none")
    if survived:  # the manifest was the first to change: what is half new says so
        with pytest.raises(PredictionError, match="did not finish; run the same command again"):
            read_prediction(out)
    elif earlier:
        assert_same(read_result(out).prediction, result().prediction)
    write_result(result(seed=5), out, clip=clip(), base="none")
    assert contents(out) == contents(fresh)


def test_folders_that_hold_other_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").touch()
    with pytest.raises(CoPropError, match=r"holds other things \(thesis\.tex\).*Name a new or an empty folder"):
        write_result(result(), tmp_path / "other", clip=clip())
    (tmp_path / "other/run.json").write_text('{"format": "something else"}')
    with pytest.raises(CoPropError, match="holds other things"):
        check_output(tmp_path / "other")
    with pytest.raises(CoPropError, match="is a file; results need a folder"):
        check_output(tmp_path / "other/thesis.tex")
    assert (tmp_path / "other/thesis.tex").exists()


def test_names_in_an_earlier_manifest_cannot_lead_out(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    out = tmp_path / "out"
    out.mkdir()
    for name in ("../precious", str(tmp_path / "precious"), "link/precious"):
        (out / "run.json").write_text(json.dumps({"format": "coprop-result/1", "files": [name]}))
        if not (out / "link").exists():
            (out / "link").symlink_to(tmp_path)
        with pytest.raises(CoPropError, match="leads out of the folder"):
            write_result(result(), out, clip=clip())
        assert (tmp_path / "precious").exists()


def test_results_are_not_written_through_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    with output_folder(out, {}) as stage:
        (stage / "a").touch()
    (out / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CoPropError, match="leads out of the folder; results are not written through links"):
        write_result(result(), out, clip=clip())
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no run\.json"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"format": "coprop-result/2"}', "not of the format"),
        ('{"format": "coprop-result/1"}', "did not finish"),
        ('{"format": "coprop-result/1", "complete": true}', r"control_points\.json is missing"),
    ],
)
def test_damaged_results_are_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(PredictionError, match=message):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_ids": None}, r"prediction\.class_ids is a list .*; got null; the result is damaged"),
        ({"names": [1]}, r"prediction\.names is a mapping .*; got a list of 1"),
        ({"num_frames": 9}, "tells of 9 frames"),
        ({"num_frames": float("inf")}, r"prediction\.num_frames is a whole number .*; got inf"),
        ({"class_ids": [2]}, r"tells of 5 frames of the classes \(2,\)"),
    ],
)
def test_edited_manifests_are_checked_against_the_files(tmp_path: Path, change: dict, message: str) -> None:
    write_result(result(), tmp_path / "out", clip=clip())
    told = json.loads((tmp_path / "out/run.json").read_text())
    told["prediction"].update(change)
    (tmp_path / "out/run.json").write_text(json.dumps(told))
    with pytest.raises(PredictionError, match=message):
        read_result(tmp_path / "out")


def test_links_in_a_result_are_refused(tmp_path: Path) -> None:
    write_result(result(), tmp_path / "out", clip=clip())
    (tmp_path / "out/scores.npz").rename(tmp_path / "elsewhere.npz")
    (tmp_path / "out/scores.npz").symlink_to(tmp_path / "elsewhere.npz")
    with pytest.raises(PredictionError, match=r"scores\.npz: a link that leads out of the folder"):
        read_prediction(tmp_path / "out")


def test_control_points_must_fit_the_frames(tmp_path: Path) -> None:
    write_result(result(), tmp_path / "out", clip=clip())
    (tmp_path / "out/control_points.json").write_text("[1, 0]")
    with pytest.raises(PredictionError, match="2 control-point flags for 5 frames"):
        read_result(tmp_path / "out")
    (tmp_path / "out/control_points.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CoPropError, match="is not in UTF-8"):
        read_result(tmp_path / "out")


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match=r"unknown scores option 'float8'. Did you mean 'float32'"):
        write_result(result(), tmp_path / "out", clip=clip(), scores="float8")  # type: ignore[arg-type]
    with pytest.raises(PredictionError, match="hard predictions are stored as masks"):
        write_scores(tmp_path / "x.npz", predictions()["hard"])
    with pytest.raises(MediaError, match="labels from 0 to 300 do not fit"):
        write_masks(tmp_path / "m", Prediction.from_labels(np.array([[[0, 300]]]), class_ids=(300,)))
    assert not (tmp_path / "out").exists()


def test_a_result_folder_needs_no_options_and_takes_no_others(tmp_path: Path) -> None:
    write_result(result(), tmp_path / "out", clip=clip())
    assert read_prediction(tmp_path / "out", kind="logit").kind == "logit"
    with pytest.raises(PredictionError, match="holds scores of kind 'logit', not 'probability'"):
        read_prediction(tmp_path / "out", kind="probability")
    assert read_prediction(tmp_path / "out", classes="binary").class_ids == (1,)
    with pytest.raises(PredictionError, match=r"holds the classes \(1,\), not \(11, 41\)"):
        read_prediction(tmp_path / "out", classes=(11, 41))
    with pytest.raises(PredictionError, match="says itself what its files hold; leave out ids=, ignore="):
        read_prediction(tmp_path / "out", ids={1: 1}, ignore=255)
