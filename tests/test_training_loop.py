"""The loop: resumed = uninterrupted, bit for bit, wherever it was stopped; and what it refuses."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import training_toys
from fuzz.mutations import NASTY, change_bytes
from safetensors.torch import load_file
from training_toys import SCHEDULE, Killed, Toy, contents, files, stop_after

from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.training.loop import TrainingError, train
from coprop_plugin.training.state import LOG, RUN, STATE, WEIGHTS


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training in one go."""
    folder = tmp_path_factory.mktemp("training") / "whole"
    assert train(Toy(), folder, schedule=SCHEDULE).finished
    return folder


@pytest.mark.parametrize("stops", [(1,), (4,), (5,), (7,), (3, 8, 11), (5, 10)], ids=str)
def test_killed_between_steps_and_resumed_is_uninterrupted(whole: Path, tmp_path: Path, stops: tuple[int, ...]) -> None:
    """State, weights, settings and log, byte by byte; killed before a first state was saved, on one, and after."""
    for stop in stops:
        with pytest.raises(Killed):
            train(Toy(), tmp_path / "run", schedule=SCHEDULE, on_step=stop_after(stop))
        torch.rand(3)  # the caller's random numbers are none of the loop's business
    assert train(Toy(), tmp_path / "run", schedule=SCHEDULE).finished
    assert contents(tmp_path / "run") == contents(whole)


def test_a_process_killed_by_the_system_goes_on(whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, training_toys.__file__, str(tmp_path / "run"), "7"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "7":
            assert process.poll() is None
        process.kill()
    assert torch.load(tmp_path / "run" / STATE, weights_only=True)["step"] == 5
    assert len((tmp_path / "run" / LOG).read_text().splitlines()) == 7
    train(Toy(), tmp_path / "run", schedule=SCHEDULE)
    assert contents(tmp_path / "run") == contents(whole)


def test_a_budget_stops_with_everything_saved(whole: Path, tmp_path: Path) -> None:
    steps = 0
    while not (outcome := train(Toy(), tmp_path / "run", schedule=SCHEDULE, budget_s=1e-9)).finished:
        steps += 1
        assert outcome.step == steps == torch.load(tmp_path / "run" / STATE, weights_only=True)["step"]
    assert contents(tmp_path / "run") == contents(whole)


def test_a_finished_training_is_left_alone(whole: Path) -> None:
    before, toy = files(whole), Toy()
    assert train(toy, whole, schedule=SCHEDULE).step == SCHEDULE.steps
    assert not toy.seen and files(whole) == before


def test_it_learns_and_tells(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert lines[6]["progress"] == pytest.approx(0.5) and lines[3]["rate"] == SCHEDULE.rate(3)
    weights, start = load_file(whole / WEIGHTS), Toy().weights()
    assert weights.keys() == start.keys() and not any(torch.equal(weights[n], start[n]) for n in ("0.weight", "4.bias"))
    assert json.loads((whole / RUN).read_text())["settings"]["schedule"]["steps"] == 12


def test_seeds_differ(whole: Path, tmp_path: Path) -> None:
    train(Toy(), tmp_path / "run", schedule=replace(SCHEDULE, seed=1))
    assert (tmp_path / "run" / WEIGHTS).read_bytes() != (whole / WEIGHTS).read_bytes()


def test_the_callers_random_numbers_stay(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    train(Toy(), tmp_path / "run", schedule=replace(SCHEDULE, steps=2))
    assert torch.equal(torch.rand(2), expected)


class TestBadInput:
    def test_a_loss_that_is_nan(self, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match=r"(?s)step 8: the loss is nan, on tensor.*lower learning rate"):
            train(Toy(broken_from=7), tmp_path, schedule=SCHEDULE)
        state = torch.load(tmp_path / STATE, weights_only=True)
        assert state["step"] == 5 and all(torch.isfinite(v).all() for v in state["module"].values())
        assert train(Toy(), tmp_path, schedule=SCHEDULE).finished  # what was saved is whole

    def test_a_gradient_that_is_infinite(self, tmp_path: Path) -> None:
        toy = Toy()
        toy.module[0].weight.register_hook(lambda gradient: gradient * float("inf"))
        with pytest.raises(TrainingError, match=r"step 1: the gradient is (nan|inf)"):
            train(toy, tmp_path, schedule=SCHEDULE)

    def test_other_settings(self, whole: Path) -> None:
        with pytest.raises(CheckpointError, match=r"other settings: schedule was .*Repeat the command"):
            train(Toy(), whole, schedule=replace(SCHEDULE, seed=2))

    def test_settings_may_be_mended_before_anything_was_saved(self, tmp_path: Path) -> None:
        with pytest.raises(Killed):
            train(Toy(), tmp_path, schedule=SCHEDULE, on_step=stop_after(1))
        assert train(Toy(), tmp_path, schedule=replace(SCHEDULE, steps=2)).finished

    def test_no_data(self, tmp_path: Path) -> None:
        with pytest.raises(CoPropError, match="the data set is empty"):
            train(Toy(0), tmp_path, schedule=SCHEDULE)

    def test_nothing_to_train(self, tmp_path: Path) -> None:
        with pytest.raises(CoPropError, match="nothing to train"):
            train(Toy(frozen=True), tmp_path, schedule=SCHEDULE)

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04half", b"no state"], ids=str)
    def test_a_damaged_state(self, whole: Path, tmp_path: Path, content: bytes) -> None:
        for name, old in files(whole).items():
            (tmp_path / name).write_bytes(content if name == STATE else old)
        with pytest.raises(CheckpointError, match="is damaged or no training state"):
            train(Toy(), tmp_path, schedule=SCHEDULE)

    def test_a_state_changed_anywhere_is_a_named_error_or_a_training(self, whole: Path, tmp_path: Path) -> None:
        good = files(whole)
        state = torch.load(whole / STATE, weights_only=True)
        for number in range(60):
            rng = random.Random(number)
            for name, old in good.items():
                (tmp_path / name).write_bytes(old)
            if number % 2:
                key = rng.choice(sorted(set(state) - {"format"}))
                torch.save({**state, key: rng.choice(NASTY)}, tmp_path / STATE)
            else:
                (tmp_path / STATE).write_bytes(change_bytes(good[STATE], rng))
            with contextlib.suppress(CoPropError):
                train(Toy(), tmp_path, schedule=SCHEDULE)

    def test_two_trainings_in_one_folder(self, tmp_path: Path) -> None:
        def second(step: int, line: object) -> None:
            with pytest.raises(CoPropError, match="is being written by another run"):
                train(Toy(), tmp_path, schedule=SCHEDULE)

        train(Toy(), tmp_path, schedule=replace(SCHEDULE, steps=1), on_step=second)
        with pytest.raises(CoPropError, match="is the root of the file system"):
            train(Toy(), "/", schedule=SCHEDULE)

    def test_a_state_that_would_run_code(self, whole: Path, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return (Path.touch, (tmp_path / "ran",))

        for name, old in files(whole).items():
            (tmp_path / name).write_bytes(old)
        torch.save({"format": "coprop-training/1", "step": Trap()}, tmp_path / STATE)
        with pytest.raises(CheckpointError, match="is damaged or no training state"):
            train(Toy(), tmp_path, schedule=SCHEDULE)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("state", [{"model": {}}, {"format": "coprop-training/1", "step": 3}], ids=str)
    def test_a_foreign_state(self, whole: Path, tmp_path: Path, state: dict[str, object]) -> None:
        for name, old in files(whole).items():
            (tmp_path / name).write_bytes(old)
        torch.save(state, tmp_path / STATE)
        with pytest.raises(CheckpointError, match=r"not of the format|does not fit what is trained"):
            train(Toy(), tmp_path, schedule=SCHEDULE)

    @pytest.mark.parametrize("content", ["[1]", "{", '{"format": "coprop-result/1", "settings": {}}'], ids=str)
    def test_a_folder_of_something_else(self, tmp_path: Path, content: str) -> None:
        (tmp_path / RUN).write_text(content)
        with pytest.raises(CheckpointError, match="describes no training"):
            train(Toy(), tmp_path, schedule=SCHEDULE)
