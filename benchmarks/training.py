"""Does training work, and does the sound help? A small AOTT on synthetic clips, from random weights on.

    python benchmarks/training.py --runs runs          # the same command again goes on, until everything is finished
    python benchmarks/training.py --runs runs --table  # what is there so far, as a table

(i) Plain AOTT learns to carry the masks of all visible objects; held-out clips show it beside ``hold``.
(ii) From there, equal steps on what sounds, with one control point left out of every sequence, so that only the sound
tells when an object of the first frame falls silent: without audio, with it, and with that of another clip ("shuffled":
all the parameters, nothing to hear). Held-out clips: every segment is propagated over its missed end, from the true mask
of its first frame; the truth of the other frames is what sounds of that frame's objects. All of the network is trained.

A call stops after ``--budget-s`` with everything saved. One thread; about 50 minutes of one core in all.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from coprop_plugin.datasets.made import made_clips
from coprop_plugin.datasets.synthetic import SyntheticClip, make_clip
from coprop_plugin.metrics.bootstrap import paired_bootstrap
from coprop_plugin.metrics.protocols import score
from coprop_plugin.propagators.aot.propagator import AOT
from coprop_plugin.propagators.base import PropagationTask, Propagator
from coprop_plugin.propagators.guides import LOG_MEL_DIM, AudioFeatures, log_mel_features
from coprop_plugin.propagators.hold import Hold
from coprop_plugin.structures import Clip, Prediction
from coprop_plugin.training.loop import train
from coprop_plugin.training.networks import starting_network
from coprop_plugin.training.propagator import PropagatorTraining
from coprop_plugin.training.schedule import Schedule
from coprop_plugin.training.sequences import SequenceRule
from coprop_plugin.training.sources import SyntheticSource
from coprop_plugin.training.state import WEIGHTS

MODEL, SIZE, KIND = "aott", (97, 97), "moc"
IDENTITIES = 5  # a moc clip shows at most five objects
PRETRAINING = Schedule(steps=700, batch=8, learning_rate=5e-4, save_every=50)
STUDY = Schedule(steps=80, batch=8, learning_rate=5e-4, save_every=20)
PRETRAINING_CLIPS, STUDY_CLIPS = f"synth:{KIND}:100000-107999", f"synth:{KIND}:200000-203999"
HELD_OUT = range(500_000, 500_040)


@dataclass(frozen=True)
class Arm:
    """One way to train in part (ii).

    Attributes:
        sound: what is heard in training: nothing, the clip's own sound, or another clip's.
        context: neighbours to each side that are heard too.
        seed: of the training.
    """

    sound: str
    context: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.sound}-context{self.context}-seed{self.seed}"


ARMS = [
    Arm(sound, context, seed)
    for seed in (0, 1)
    for context, sounds in ((0, ("true", "shuffled", "none")), (2, ("true", "shuffled")))
    for sound in sounds
]


def pretraining() -> PropagatorTraining:
    """Plain AOTT from random weights, on all visible objects."""
    source = SyntheticSource(made_clips(PRETRAINING_CLIPS), SIZE, masks="visible")
    rule = SequenceRule(length=3, size=SIZE, num_identities=IDENTITIES)
    return PropagatorTraining(
        starting_network(MODEL), source, rule, part="all", pretrained=False, record={"model": MODEL}
    )


def study(arm: Arm, pretrained: Path) -> PropagatorTraining:
    """From there, with one control point missed in every sequence."""
    insert = {"audio_dim": LOG_MEL_DIM, "heard": "logmel", "context_frames": arm.context}
    hears = arm.sound != "none"
    return PropagatorTraining(
        starting_network(MODEL, checkpoint=pretrained, insert=insert if hears else None, seed=arm.seed),
        SyntheticSource(made_clips(STUDY_CLIPS), SIZE),
        SequenceRule(
            length=3, size=SIZE, missed_points=1, num_identities=IDENTITIES, context_frames=arm.context * hears
        ),
        part="all",
        features=log_mel_features if hears else None,
        sound="shuffled" if arm.sound == "shuffled" else "true",
        record={"model": MODEL},
    )


def run_all(runs: Path, budget_s: float) -> None:
    """Train and judge what is not finished yet, in order, until the time is over."""
    over_s = time.monotonic() + budget_s
    pretrained = runs / "pretrained" / WEIGHTS
    if not _finish(pretraining, runs / "pretrained", PRETRAINING, over_s):
        return
    _judge(runs / "visible.json", lambda: judge_visible(AOT(MODEL, checkpoint=pretrained, device="cpu")))
    _judge(runs / "visible-hold.json", lambda: judge_visible(Hold()))
    _judge(runs / "hold.json", lambda: judge_missed(Hold()))
    _judge(runs / "pretrained.json", lambda: judge_missed(AOT(MODEL, checkpoint=pretrained, device="cpu")))
    for arm in ARMS:
        folder = runs / arm.name
        if not _finish(lambda: study(arm, pretrained), folder, Schedule(**{**vars(STUDY), "seed": arm.seed}), over_s):  # noqa: B023
            return
        for heard in ("none",) if arm.sound == "none" else ("true", "shuffled"):
            _judge(runs / f"{arm.name}.{heard}.json", lambda: judge_missed(_trained(folder, heard)))  # noqa: B023
        if time.monotonic() > over_s:
            return


def _finish(make: Callable[[], PropagatorTraining], folder: Path, schedule: Schedule, over_s: float) -> bool:
    """Train on; whether it came to its end."""
    begun_s = time.process_time()

    def show(step: int, line: object) -> None:
        if step % 25 == 0:
            print(f"{folder.name} {time.process_time() - begun_s:.0f} CPU s {json.dumps(line)}", flush=True)

    left_s = max(1e-3, over_s - time.monotonic())
    outcome = train(make(), folder, schedule=schedule, budget_s=left_s, on_step=show)
    with (folder / "cpu_s.txt").open("a") as file:
        file.write(f"{time.process_time() - begun_s:.1f}\n")
    return outcome.finished


def _judge(path: Path, judge: Callable[[], dict[str, list[float]]]) -> None:
    if not path.is_file():
        path.write_text(json.dumps(judge()))


def _trained(folder: Path, heard: str) -> AOT:
    audio: AudioFeatures | None = {"none": None, "true": log_mel_features, "shuffled": _another_sound}[heard]
    return AOT(MODEL, checkpoint=load_file(folder / WEIGHTS), device="cpu", audio=audio)


def _another_sound(clip: Clip) -> np.ndarray:
    """The features of the next held-out clip."""
    seed = int(clip.clip_id.rpartition("_")[2])
    following = HELD_OUT[(HELD_OUT.index(seed) + 1) % len(HELD_OUT)]
    return log_mel_features(make_clip(following, kind=KIND, size=SIZE).clip)


def judge_visible(propagator: Propagator) -> dict[str, list[float]]:
    """Mean J of each held-out clip: all visible objects, from the first frame's masks through the other nine."""
    values = []
    for made in _held_out():
        instances = np.asarray(made.scene.instances)
        num_objects = int(instances.max())
        task = PropagationTask(0, len(instances), 0, _one_hot(instances[0], range(1, num_objects + 1)))
        (masks,) = propagator.propagate(made.clip, [task])
        labels = masks.argmax(axis=1)[1:]
        values.append(
            float(np.mean([_iou(labels == k, instances[1:] == k) for k in range(1, num_objects + 1)]))  # over frames
        )
    return {"J": values}


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    both, either = (a & b).sum(axis=(1, 2)), (a | b).sum(axis=(1, 2))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1).mean())


def judge_missed(propagator: Propagator) -> dict[str, list[float]]:
    """M_J (any object) and alignment (set of objects) of each held-out clip, over the frames that are not anchors.

    ``after``: the alignment of the frames from the missed control point on.
    """
    values: dict[str, list[float]] = {"M_J": [], "alignment": [], "before": [], "after": []}
    for made in _held_out():
        parts = list(_missed(made, propagator))
        if not parts:
            continue
        labels, truth, late = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        any_object = (Prediction.from_labels((x > 0).astype(np.int16), class_ids=(1,)) for x in (labels, truth))
        values["M_J"].append(score(*any_object, protocol="avsbench")["M_J"])
        values["alignment"].append(_alignment(labels, truth))
        for name, which in (("before", ~late), ("after", late)):
            values[name].append(_alignment(labels[which], truth[which]) if which.any() else np.nan)
    return values


def _missed(made: SyntheticClip, propagator: Propagator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Labels, truth and "after the missed point" of the frames of each pair of segments whose first frame has objects."""
    starts = [*np.flatnonzero(made.scene.control_points().flags).tolist(), made.clip.num_frames]
    truth = np.stack([made.scene.label_map(t) for t in range(made.clip.num_frames)])
    for start, change, stop in zip(starts, starts[1:], starts[2:], strict=False):
        objects = sorted(set(np.unique(truth[start]).tolist()) - {0})
        if objects:
            task = PropagationTask(start, stop, start, _one_hot(truth[start], objects))
            (masks,) = propagator.propagate(made.clip, [task])
            labels = np.array([0, *objects], np.int16)[masks.argmax(axis=1)]
            kept = np.where(np.isin(truth[start:stop], objects), truth[start:stop], 0)
            yield labels[1:], kept[1:], np.arange(start + 1, stop) >= change


def _alignment(labels: np.ndarray, truth: np.ndarray) -> float:
    classes = tuple(sorted({1, 2, *np.unique(truth).tolist(), *np.unique(labels).tolist()} - {0}))
    predictions = (Prediction.from_labels(x, class_ids=classes) for x in (labels, truth))
    return score(*predictions, protocol="alignment")["alignment_set"]


def _one_hot(labels: np.ndarray, objects: object) -> np.ndarray:
    ids = np.array([0, *objects])[:, None, None]  # type: ignore[misc]
    mask = (labels == ids).astype(np.float32)
    mask[0] = 1 - mask[1:].sum(axis=0)
    return mask


def _held_out() -> Iterator[SyntheticClip]:
    return (make_clip(seed, kind=KIND, size=SIZE) for seed in HELD_OUT)


def print_table(runs: Path) -> None:
    """All that is there, in percent, and the paired differences over held-out clips."""
    for name in ("visible-hold", "visible"):
        if (path := runs / f"{name}.json").is_file():
            print(f"{name}: J {100 * np.mean(json.loads(path.read_text())['J']):.1f}")
    found = {path.stem: _read(path) for path in sorted(runs.glob("*.json")) if not path.stem.startswith("visible")}
    print("| trained with, heard | M_J | alignment | before | after the missed point |\n|---|---|---|---|---|")
    for group, members in _groups(found).items():
        cells = (
            f"{100 * np.nanmean([found[m][k] for m in members]):.1f}" for k in ("M_J", "alignment", "before", "after")
        )
        print(f"| {group} ({len(members)}) | {' | '.join(cells)} |")
    print("\n| difference (mean of the seeds) | M_J | alignment |\n|---|---|---|")
    groups = _groups(found)
    for after, before in COMPARED:
        if after in groups and before in groups:
            print(f"| {after} minus {before} | {' | '.join(_difference(found, groups, before, after))} |")


COMPARED = [
    ("true-context0.true", "shuffled-context0.shuffled"),
    ("true-context2.true", "shuffled-context2.shuffled"),
    ("true-context0.true", "none-context0.none"),
    ("true-context2.true", "none-context0.none"),
    ("shuffled-context0.shuffled", "none-context0.none"),
    ("true-context0.true", "true-context0.shuffled"),
    ("true-context2.true", "true-context2.shuffled"),
    ("true-context2.true", "true-context0.true"),
]


def _read(path: Path) -> dict[str, np.ndarray]:
    return {name: np.array(values, float) for name, values in json.loads(path.read_text()).items()}


def _groups(found: dict[str, dict[str, np.ndarray]]) -> dict[str, list[str]]:
    """The files of each arm, its seeds together: ``true-context0-seed1.true`` belongs to ``true-context0.true``."""
    groups: dict[str, list[str]] = {}
    for name in found:
        arm, dot, heard = name.partition(".")
        groups.setdefault(arm.partition("-seed")[0] + dot + heard, []).append(name)
    return groups


def _difference(
    found: dict[str, dict[str, np.ndarray]], groups: dict[str, list[str]], before: str, after: str
) -> Iterator[str]:
    for metric in ("M_J", "alignment"):
        sides = (np.mean([found[name][metric] for name in groups[side]], axis=0) for side in (before, after))
        change = paired_bootstrap(*sides)
        yield f"{100 * change.delta:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all trainings")
    parser.add_argument("--budget-s", type=float, default=400, help="wall time of this call")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.table:
        arguments.runs.mkdir(parents=True, exist_ok=True)
        run_all(arguments.runs, arguments.budget_s)
        print(
            f"{sum((arguments.runs / a.name / WEIGHTS).is_file() for a in ARMS)} of {len(ARMS)} arms", file=sys.stderr
        )
    print_table(arguments.runs)


if __name__ == "__main__":
    main()
