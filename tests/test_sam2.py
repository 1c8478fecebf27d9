"""SAM 2 and EdgeTAM with few random weights: the library's own way over a whole video, but streamed and bounded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_trackers
import torch
import torch.nn.functional as F

import coprop_plugin as cp
from coprop_plugin import CoPropError, parts
from coprop_plugin.errors import CheckpointError
from coprop_plugin.propagators import sam2
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.structures import FrameStack
from coprop_plugin.weights import trackers

HEIGHT, WIDTH = 48, 80
KINDS = ("sam2", "edgetam")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("trackers")
    return {kind: tiny_trackers.build(kind, root / kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def tracker(request: pytest.FixtureRequest, folders: dict[str, Path]) -> sam2.Sam2:
    return parts.build("propagator", {"name": request.param, "checkpoint": folders[request.param], "device": "cpu"})


def clip_of(frames: np.ndarray) -> cp.Clip:
    count = len(frames)
    return cp.Clip("made", frames, cp.Sound.silence(count), cp.TimeBase.of("uniform:1", count))


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


def mask_of(*boxes: tuple[int, int, int, int], objects: int) -> np.ndarray:
    """Boxes of rows and columns; objects beyond them are never there."""
    mask = np.zeros((objects + 1, HEIGHT, WIDTH), np.float32)
    for k, (top, bottom, left, right) in enumerate(boxes, start=1):
        mask[k, top:bottom, left:right] = 1
    mask[0] = 1 - mask[1:].sum(axis=0)
    return mask


TWO = mask_of((10, 30, 10, 40), (5, 40, 50, 70), objects=3)


@torch.inference_mode()
def whole(tracker: sam2.Sam2, frames: np.ndarray, task: PropagationTask, *, reverse: bool) -> dict[int, np.ndarray]:
    """The library's own way: all frames in one tensor, its own iterator; ``{t: (n, H, W)}`` logits."""
    import transformers

    model, side = tracker.model, (tiny_trackers.SIDE_PX,) * 2
    pixels = F.interpolate(torch.tensor(frames).permute(0, 3, 1, 2).float(), side, mode="bilinear", antialias=True)
    pixels = pixels.round() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    video = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    kind = {"sam2_video": "Sam2Video", "edgetam_video": "EdgeTamVideo"}[model.config.model_type]
    session = getattr(transformers, f"{kind}InferenceSession")(video=video, dtype=torch.float32)
    shown = [k for k in range(1, len(task.mask)) if (task.mask[k] > 0.5).any()]
    for k in shown:
        resized = F.interpolate(torch.tensor(task.mask[k])[None, None], side, mode="bilinear", antialias=True)
        session.add_mask_inputs(session.obj_id_to_idx(k), task.anchor, (resized >= 0.5).float())
    session.obj_with_new_inputs = shown
    model(session, frame_idx=task.anchor)
    found = model.propagate_in_video_iterator(session, start_frame_idx=task.anchor, reverse=reverse)
    return {
        out.frame_idx: F.interpolate(out.pred_masks, (HEIGHT, WIDTH), mode="bilinear")[:, 0].numpy() for out in found
    }


def test_streamed_is_the_librarys_whole_video(tracker: sam2.Sam2) -> None:
    frames = noise(19)
    task = PropagationTask(0, 19, 17, TWO)
    (masks,) = tracker.propagate(clip_of(frames), [task])
    for logits in (whole(tracker, frames, task, reverse=True), whole(tracker, frames, task, reverse=False)):
        for t, of_frame in logits.items():
            if t != task.anchor:
                sums = 1 + np.exp(of_frame).sum(axis=0)
                np.testing.assert_allclose(masks[t, 1:3], np.exp(of_frame) / sums, atol=1e-5)
                np.testing.assert_allclose(masks[t, 0], 1 / sums, atol=1e-5)
    assert masks[:, 3].max() == 0 and np.ptp(masks[:17, 1:3]) > 0.1


def test_the_anchor_gives_back_its_mask(tracker: sam2.Sam2) -> None:
    """As it was given, not as the model draws it; the model is shown it as it is, too."""
    frames = noise(4)
    soft = TWO * 0.6 + 0.1
    task = PropagationTask(1, 4, 1, soft)
    (masks,) = tracker.propagate(clip_of(frames), [task])
    assert masks.shape == (3, 4, HEIGHT, WIDTH) and masks.dtype == np.float32
    np.testing.assert_array_equal(masks[0], soft)
    hard = PropagationTask(1, 4, 1, TWO)
    shown = whole(tracker, frames, hard, reverse=False)[1] > 0
    assert [(a & (b > 0.5)).sum() / (a | (b > 0.5)).sum() > 0.8 for a, b in zip(shown, TWO[1:3], strict=True)] == [
        True,
        True,
    ]


def test_both_directions_are_one(tracker: sam2.Sam2) -> None:
    frames = noise(7)
    (onward,) = tracker.propagate(clip_of(frames), [PropagationTask(0, 7, 3, TWO)])
    (back,) = tracker.propagate(clip_of(frames[::-1]), [PropagationTask(0, 7, 3, TWO)])
    np.testing.assert_allclose(onward, back[::-1], atol=1e-5)


def test_several_tasks_have_one_session_and_are_each_alone(tracker: sam2.Sam2, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = clip_of(noise(8))
    tasks = [
        PropagationTask(0, 5, 2, TWO),
        PropagationTask(4, 8, 7, mask_of((0, 20, 0, 20), objects=1)),
        PropagationTask(0, 8, 0, mask_of(objects=1)),
    ]
    alone = [next(tracker.propagate(clip, [task])) for task in tasks]
    sessions, seen = [], []
    made, encoded = sam2.tracking_session, sam2.Sam2._seen
    monkeypatch.setattr(sam2, "tracking_session", lambda *a, **k: sessions.append(made(*a, **k)) or sessions[-1])
    monkeypatch.setattr(sam2.Sam2, "_seen", lambda self, frame: seen.append(frame) or encoded(self, frame))
    fresh = clip_of(noise(8))
    together = list(tracker.propagate(fresh, tasks))
    assert len(sessions) == 1 and len(seen) == 8, "a session a clip, and every frame is encoded once"
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (together[2][:, 1] == 0).all(), "an empty mask stays empty"


def test_objects_together_are_objects_alone_where_they_do_not_touch(tracker: sam2.Sam2) -> None:
    """The model follows each object by itself; what they say is joined by a softmax."""
    clip = clip_of(noise(4))
    (both,) = tracker.propagate(clip, [PropagationTask(0, 4, 0, TWO[:3])])
    odds = both[1:, 1:] / both[1:, :1]
    for k, box in ((0, (10, 30, 10, 40)), (1, (5, 40, 50, 70))):
        (one,) = tracker.propagate(clip, [PropagationTask(0, 4, 0, mask_of(box, objects=1))])
        np.testing.assert_allclose(one[1:, 1] / one[1:, 0], odds[:, k], rtol=1e-3)


def held_bytes(session: object) -> int:
    """Of everything that a session holds of its frames."""
    found: dict[int, int] = {}

    def look(value: object) -> None:
        if isinstance(value, torch.Tensor):
            found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, dict):
            for each in value.values():
                look(each)
        elif isinstance(value, list | tuple):
            for each in value:
                look(each)

    look({name: value for name, value in vars(session).items() if name != "cache"})
    return sum(found.values())


def test_memory_does_not_grow_with_the_clip(tracker: sam2.Sam2, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards for one of the models, backwards for the other: both drop frames by one rule."""
    anchor = 0 if tracker.name == "sam2" else 23
    held: list[int] = []
    forget = sam2.forget

    def told(session: object, t: int, **rule: int) -> None:
        forget(session, t, **rule)
        held.append(held_bytes(session))

    monkeypatch.setattr(sam2, "forget", told)
    one = noise(1)[0]
    frames = FrameStack(lambda t: one, num_frames=24, frame_shape=one.shape, dtype=np.uint8)
    clip = cp.Clip("long", frames, cp.Sound.silence(24), cp.TimeBase.of("uniform:1", 24))
    tracker.kept.limit_bytes = 300_000
    list(tracker.propagate(clip, [PropagationTask(0, 24, anchor, TWO)]))
    assert len(held) == 23 and held[0] < held[10] < held[16] == held[19] == held[22]
    assert 0 < tracker.kept.held_bytes <= 300_000


def test_without_room_for_features_the_masks_are_the_same(tracker: sam2.Sam2) -> None:
    task = PropagationTask(0, 4, 1, TWO)
    (rich,) = tracker.propagate(clip_of(noise(4)), [task])
    tracker.kept.limit_bytes = 0
    (poor,) = tracker.propagate(clip_of(noise(4)), [task])
    np.testing.assert_array_equal(rich, poor)


def test_in_the_method(tracker: sam2.Sam2) -> None:
    clip = clip_of(noise(6))
    labels = np.stack([TWO.argmax(axis=0)] * 6).astype(np.int16)
    base = cp.Prediction.from_labels(labels, class_ids=(1, 2))
    points = cp.ControlPoints(np.array([1, 0, 0, 1, 0, 0], bool))
    result = cp.CoProp.paper(control_points=points, propagator=tracker)(clip, base)
    for t in (0, 3):
        np.testing.assert_array_equal(result.prediction.label_map(t), labels[t])
    assert set(result.changed) <= {1, 2, 4, 5}


@pytest.mark.parametrize("kind", KINDS)
def test_folders_that_are_not_right(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    other = KINDS[1 - KINDS.index(kind)]

    def refused(message: str, **options: object) -> None:
        with pytest.raises(CoPropError, match=message):
            parts.build("propagator", {"name": kind, **options})

    refused("none are shipped: give checkpoint=FOLDER")
    refused("there is no such folder", checkpoint=tmp_path / "none")
    refused("never downloaded behind your back", checkpoint="facebook/sam2.1-hiera-none")
    refused(f"holds a model of the type '{other}_video'", checkpoint=folders[other])
    refused("precision float32 or bfloat16 and cache_bytes from 0", checkpoint=folders[kind], cache_bytes=-1)
    cut = tmp_path / "cut"
    shutil.copytree(folders[kind], cut)
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refused("cannot be loaded", checkpoint=cut)


def test_an_encoder_of_timm_is_told_by_name(folders: dict[str, Path], tmp_path: Path, monkeypatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise ImportError("TimmWrapperModel requires the timm library.")

    monkeypatch.setattr(trackers, "load_model", load)
    assert json.loads((folders["edgetam"] / "config.json").read_text())["model_type"] == "edgetam_video"
    with pytest.raises(CheckpointError, match=r"requires the timm library.*pip install timm"):
        sam2.EdgeTam(checkpoint=folders["edgetam"])


@pytest.mark.parametrize(
    "odd",
    [
        {"image_size": "x"},
        {"image_size": [64, 64]},
        {"image_size": -64},
        {"num_maskmem": -3},
        {"max_object_pointers_in_encoder": None},
        {"vision_config": {"model_type": "nope"}},
        {"memory_attention_num_attention_heads": 0},
    ],
    ids=str,
)
def test_settings_that_make_no_model_are_named_errors(
    folders: dict[str, Path], tmp_path: Path, odd: dict[str, object]
) -> None:
    shutil.copytree(folders["sam2"], tmp_path / "odd")
    config = json.loads((tmp_path / "odd/config.json").read_text()) | odd
    (tmp_path / "odd/config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="odd'"):
        sam2.Sam2(checkpoint=tmp_path / "odd", device="cpu")
