"""What the contracts promise: read-ahead, sessions, the base prediction, modes; and who breaks them is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import scenes

import coprop_plugin as cp
from coprop_plugin import CoPropError, parts
from coprop_plugin.adapters.base import Adapter
from coprop_plugin.control_points.base import ControlPointGenerator
from coprop_plugin.control_points.fixed import NoChange
from coprop_plugin.fusion.replace import Replace
from coprop_plugin.propagators.base import PropagationTask, Propagator
from coprop_plugin.propagators.hold import Hold

CLIP = scenes.clip()
BASE = scenes.prediction(scenes.late(scenes.STATES, 1))


class Ahead(Hold):
    """Hold that takes several tasks before it answers the first."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks

    def propagate(self, clip: cp.Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        waiting: list[PropagationTask] = []
        for task in tasks:
            waiting.append(task)
            if len(waiting) > self.tasks:
                yield from super().propagate(clip, [waiting.pop(0)])
        yield from super().propagate(clip, waiting)


@pytest.mark.parametrize("fusion", ["replace", "consensus"])
@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_reading_tasks_ahead_changes_nothing(fusion: str, ahead: int) -> None:
    one, other = (
        cp.CoProp(control_points=scenes.points(scenes.STATES), propagator=propagator, fusion=fusion)(CLIP, BASE)
        for propagator in ("hold", Ahead(ahead))
    )
    assert one.changed == other.changed and one.changed
    for t in range(CLIP.num_frames):
        np.testing.assert_array_equal(one.prediction.frame(t), other.prediction.frame(t))


def test_a_plan_is_data_and_may_be_carried_out_twice() -> None:
    points, policy, hold = scenes.points(scenes.STATES), Replace(), Hold()
    plan = policy.plan(CLIP, BASE, points, points.segments(), hold)
    first, second = ([(t, s.sum()) for t, s in policy.fuse(plan, hold.carry(CLIP, policy.tasks(plan)))] for _ in "ab")
    assert first == second and first


@pytest.mark.parametrize(
    ("extra", "message"), [(-1, "left 1 tasks without an answer"), (1, "more answers than it took")]
)
def test_answers_that_are_too_few_or_too_many(extra: int, message: str) -> None:
    class Wrong(Hold):
        def propagate(self, clip: cp.Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
            answers = list(super().propagate(clip, tasks))
            yield from (answers + answers[:1])[: len(answers) + extra]

    with pytest.raises(CoPropError, match=message):
        cp.CoProp.paper(control_points=scenes.points(scenes.STATES), propagator=Wrong())(CLIP, BASE)


def test_an_answer_of_another_shape_is_named() -> None:
    class Wrong(Hold):
        def propagate(self, clip: cp.Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
            yield from (masks[:, :, 1:] for masks in super().propagate(clip, tasks))

    with pytest.raises(CoPropError, match=r"'hold' answered frames \[0, \d+\) of clip .* the task wants"):
        cp.CoProp.paper(control_points=scenes.points(scenes.STATES), propagator=Wrong())(CLIP, BASE)


class Session(Propagator):
    """Notes whose tasks each call brought."""

    name, session = "session", "clip"

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def propagate(self, clip: cp.Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        held = list(tasks)
        self.calls.append((clip.clip_id, len(held)))
        yield from Hold().propagate(clip, held)


def test_a_propagator_with_a_session_gets_all_tasks_of_a_clip_at_once() -> None:
    mask = np.stack([np.zeros((4, 4)), np.ones((4, 4))]).astype(np.float32)
    clips = [scenes.clip(n) for n in (4, 6)]
    tasks = [(clip, PropagationTask(t, t + 2, t, mask)) for clip in clips for t in range(3)]
    session = Session()
    assert len(list(session.propagate_many(tasks))) == 6
    assert [number for _, number in session.calls] == [3, 3]


def test_tracks_of_one_foreground_open_no_session() -> None:
    session = Session()
    binary = scenes.prediction(scenes.late(scenes.STATES, 1), binary=True)
    cp.CoProp(control_points=scenes.points(scenes.STATES), propagator=session)(CLIP, binary)
    assert len(session.calls) == 1


class Model(Adapter):
    name, class_ids = "model", (1, 2)

    def predict(self, clip: cp.Clip) -> cp.Prediction:
        return BASE

    def predict_frames(self, clip: cp.Clip, frames: Iterable[int]) -> dict[int, np.ndarray]:
        return {t: BASE.frame(t) for t in frames}


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        (BASE, {"mode": "clips"}, "unknown mode 'clips'. Did you mean 'clip'"),
        (Model(), {"mode": "frames"}, "unknown mode 'frames'"),
        (lambda clip: clip, {}, "got function. Wrap a function .*build_adapter\\('callable'"),
        (np.zeros((10, 4, 4)), {}, "got ndarray. Read saved masks, or an array .*read_prediction"),
        ("preds/", {}, "got str. Read saved masks.*read_prediction"),
        (None, {}, "got NoneType"),
    ],
)
def test_what_the_method_cannot_take_is_named(base: object, options: dict, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        cp.CoProp()(CLIP, base, **options)  # type: ignore[arg-type]


def test_a_generator_that_wants_the_base_prediction_is_not_asked_without() -> None:
    with pytest.raises(CoPropError, match="'from_masks' looks at the base model's answers of all frames"):
        cp.CoProp.paper(control_points="from_masks", propagator="hold")(CLIP, Model(), mode="frame")
    assert cp.CoProp.paper(control_points="from_masks", propagator="hold")(CLIP, Model()).control_points.frames[0] == 0


def test_an_adapter_that_answers_with_something_else() -> None:
    class Array(Model):
        def predict(self, clip: cp.Clip) -> cp.Prediction:
            return np.zeros((10, 4, 4))  # type: ignore[return-value]

    with pytest.raises(CoPropError, match="an adapter answers with a Prediction, got ndarray"):
        cp.CoProp()(CLIP, Array())


@pytest.mark.parametrize("given", [cp.ControlPoints(np.array([1, 0])), {"name": "none"}])
def test_control_points_are_one_flag_a_frame(given: object) -> None:
    class Two(NoChange):
        def __call__(self, clip: cp.Clip, *, base: cp.Prediction | None = None) -> cp.ControlPoints:
            return cp.ControlPoints(np.array([1, 0]))

    with pytest.raises(CoPropError, match=r"2 flags, but clip .* has 10 frames"):
        cp.CoProp(control_points=given if isinstance(given, cp.ControlPoints) else Two())(CLIP, BASE)


def test_many_asks_one_by_one_unless_a_generator_knows_better() -> None:
    clips = [scenes.clip(4), scenes.clip(6)]
    assert [len(points) for points in NoChange().many(clips)] == [4, 6]
    with pytest.raises(ValueError):
        NoChange().many(clips, bases=[None])


@pytest.mark.parametrize("kind", parts.KINDS)
def test_an_object_of_no_kind_is_refused(kind: parts.PartKind) -> None:
    wanted = parts.contract(kind).__name__
    for given in (object(), print, 5, None, ["flow"]):
        with pytest.raises(CoPropError, match=f"must be a name, a dict with a 'name', or an object of {wanted}"):
            parts.build(kind, given)


def test_contracts_cannot_be_made_without_their_methods() -> None:
    for contract in (ControlPointGenerator, Propagator, *map(parts.contract, ("fusion", "adapter"))):
        with pytest.raises(TypeError, match="abstract"):
            contract()


def test_a_policy_that_changes_what_is_not_there() -> None:
    class Far(Replace):
        def fuse(self, plan, carried):
            list(carried)
            yield 99, np.zeros((3, 4, 4), np.float32)

    with pytest.raises(CoPropError, match="'replace' changes frame 99"):
        cp.CoProp(control_points="none", propagator="hold", fusion=Far())(CLIP, BASE)
