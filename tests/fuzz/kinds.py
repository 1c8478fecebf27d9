"""The kinds of files that the project reads, a small good one of each, and the command line that reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from objects_library import tiny_library
from PIL import Image

from coprop_plugin.adapters.saved_masks import read_prediction
from coprop_plugin.language.cache import FILE_NAME
from coprop_plugin.store.coco import write_coco

SIDE, SECONDS, RATE_HZ = 32, 3, 8000


@dataclass(frozen=True)
class Kind:
    """What is mutated and how it is read.

    Attributes:
        name: for the table.
        files: those of the corpus that are mutated, one at a time.
        command: arguments; the working folder is a copy of the corpus.
        document: JSON or YAML, whose values are changed too.
        checked: the format carries checksums: a command that ends well must say what it says of the good file.
        needs: what of the corpus the command reads, to be copied.
        exact: a file that must be as it was after the command, where it ends well.
    """

    name: str
    files: tuple[str, ...]
    command: tuple[str, ...]
    needs: tuple[str, ...]
    document: bool = False
    checked: bool = False
    exact: str = ""


_POINTS = ("points", "--json")
_CLIP = ("frames", "--audio", "sound.wav")
_REFINE = ("refine", *_CLIP, "--masks", "masks", "-o", "out", "--no-overlay", "--no-report", "--json")
_RESCORE = (
    "rescore",
    "set/predictions/lag-1",
    "--data-root",
    "set",
    "-o",
    "run",
    "--pages",
    "none",
    "--protocol",
    "avsbench",
)
_STUDY = ("study", "control-points", "--generators", "none", "--json")

KINDS = (
    Kind("video mp4", ("video.mp4",), (*_POINTS, "video.mp4"), ("video.mp4",)),
    Kind("video avi", ("video.avi",), (*_POINTS, "video.avi"), ("video.avi",)),
    Kind("video mkv", ("video.mkv",), (*_POINTS, "video.mkv"), ("video.mkv",)),
    Kind("sound wav", ("sound.wav",), (*_POINTS, "sound.wav"), ("sound.wav",)),
    Kind("sound flac", ("sound.flac",), (*_POINTS, "sound.flac"), ("sound.flac",)),
    Kind("sound mp3", ("sound.mp3",), (*_POINTS, "sound.mp3"), ("sound.mp3",)),
    Kind("sound ogg", ("sound.ogg",), (*_POINTS, "sound.ogg"), ("sound.ogg",)),
    Kind("frames jpeg", ("frames/1.jpg",), (*_POINTS, *_CLIP), ("frames", "sound.wav")),
    Kind("masks png", ("masks/1.png",), ("score", "masks", "--truth", "truth", "--json"), ("masks", "truth"), checked=True),
    Kind("scores npz", ("scores.npz",), ("score", "scores.npz", "--kind", "probability", "--truth", "truth", "--json"), ("scores.npz", "truth"), checked=True),
    Kind("scores npy", ("scores.npy",), ("score", "scores.npy", "--kind", "probability", "--truth", "truth", "--json"), ("scores.npy", "truth")),
    Kind("scores safetensors", ("scores.safetensors",), ("score", "scores.safetensors", "--kind", "probability", "--truth", "truth", "--json"), ("scores.safetensors", "truth")),
    Kind("control points", ("points.json",), ("score", "masks", "--truth", "truth", "--protocol", "control-points", "--control-points", "points.json", "--json"), ("points.json", "masks", "truth"), document=True),
    Kind("control points of a clip", ("points.json",), (*_POINTS, *_CLIP, "--control-points", "file:path=points.json"), ("points.json", "frames", "sound.wav"), document=True),
    Kind("labels of Audacity", ("labels.txt",), (*_POINTS, *_CLIP, "--control-points", "file:path=labels.txt"), ("labels.txt", "frames", "sound.wav")),
    Kind("table of DCASE", ("labels.tsv",), (*_POINTS, *_CLIP, "--control-points", "file:path=labels.tsv"), ("labels.tsv", "frames", "sound.wav")),
    Kind("masks coco", ("masks.json",), ("score", "masks.json", "--truth", "truth", "--json"), ("masks.json", "truth"), document=True),
    Kind("object library", ("lib/library.json", "lib/backgrounds", "lib/objects"), ("data", "objects", "lib", "--json"), ("lib",), document=True),
    Kind("settings for score", ("score.yaml",), ("score", "--config", "score.yaml"), ("score.yaml", "masks", "truth"), document=True),
    Kind("settings for refine", ("refine.yaml",), ("refine", "--config", "refine.yaml"), ("refine.yaml", "frames", "sound.wav", "masks"), document=True),
    Kind("recorded answers", ("answers.json",), (*_POINTS, *_CLIP, "--control-points", "rcpg:replay=answers.json,cache=off,variant=one_step"), ("answers.json", "frames", "sound.wav"), document=True),
    Kind("annotations", ("examples.json",), (*_POINTS, *_CLIP, "--control-points", "rcpg:replay=answers.json,cache=off,examples=examples.json"), ("answers.json", "examples.json", "frames", "sound.wav"), document=True),
    Kind("answer cache", (f"cache/{FILE_NAME}",), ("cache", "info", "--folder", "cache", "--json"), ("cache",)),
    Kind("checkpoint pth", ("weights.pth",), ("checkpoint", "convert", "weights.pth", "w.safetensors"), ("weights.pth",)),
    Kind("checkpoint safetensors", ("weights.safetensors",), ("checkpoint", "convert", "weights.safetensors", "w.safetensors"), ("weights.safetensors",)),
    Kind("result to report", ("out/run.json", "out/scores.json", "out/control_points.json", "out/run.log"), ("report", "out", "--video", "frames", "--audio", "sound.wav", "--json"), ("out", "frames", "sound.wav"), document=True),
    Kind("result refined again", ("out/run.json", "out/control_points.json", "out/.lock"), _REFINE, ("out", "frames", "sound.wav", "masks"), document=True),
    Kind("run resumed", ("run/run.json", "run/records", "run/.lock", "run/run.log"), _RESCORE, ("run", "set"), document=True, checked=True, exact="run/comparison.json"),
    Kind("data set table", ("set/Multi-sources/ms3_meta_data.csv",), ("data", "check", "set", "--json"), ("set",)),
    Kind("composed clips", ("composed/a.json",), (*_STUDY, "--composed", "composed"), ("composed",), document=True),
    Kind("labelled intervals", ("events.json",), (*_STUDY, "--audio", ".", "--events", "events.json"), ("events.json", "sound.wav"), document=True),
)  # fmt: skip


def write_corpus(root: Path, run: Callable[[list[str]], int]) -> None:
    """Good files of every kind; ``run`` is the command line."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    time_s = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    sound = (0.3 * np.sin(2 * np.pi * 440 * time_s) * (time_s >= 1)).astype(np.float32)
    for suffix in ("wav", "flac", "ogg", "mp3"):
        soundfile.write(root / f"sound.{suffix}", sound, RATE_HZ)
    _videos(root, sound)
    labels = np.zeros((SECONDS, SIDE, SIDE), np.uint8)
    labels[1:, 8:20, 8:20] = 1
    for folder, maps in (("masks", np.roll(labels, 1, axis=2)), ("truth", labels)):
        (root / folder).mkdir()
        for t in range(SECONDS):
            Image.fromarray(maps[t]).save(root / folder / f"{t}.png")
    (root / "frames").mkdir()
    for t in range(SECONDS):
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)).save(root / f"frames/{t}.jpg")
    scores = np.clip(labels * 0.8 + rng.normal(0.1, 0.02, labels.shape), 0, 1).astype(np.float32)
    np.save(root / "scores.npy", scores)
    np.savez_compressed(root / "scores.npz", scores)
    _weights(root, scores)
    flags = [1, 1, 0]
    points = {"flags": flags, "confidence": [1.0, 0.9, 0.8], "silent": [True, False], "categories": [[], ["dog"]]}
    _json(root / "points.json", points | {"origin": {"generator": "changepoint", "repairs": [], "fallback": None}})
    score = {"prediction": "masks", "truth": "truth", "kind": "hard", "classes": "binary", "ids": "1:1", "ignore": 255}
    _json(root / "score.yaml", score | {"protocol": ["avsbench", "alignment"], "json": True})
    clip = {"source": "frames", "audio": "sound.wav", "sampling": "avsbench", "silent_ok": False, "masks": "masks"}
    parts = {"control_points": {"name": "changepoint"}, "propagator": {"name": "flow"}, "fusion": "consensus"}
    _json(
        root / "refine.yaml",
        clip | parts | {"out": "new", "overlay": False, "report": False, "scores": "none", "json": True},
    )
    _json(root / "answers.json", {"answers": [{"answer": "[1, 1, 0]", "prompt": "", "p_change": [0.9, 0.8, 0.1]}]})
    entry = {"id": "a", "original_id": "", "categories": ["dog"], "control_points": [1, 0, 1], "audio_sha256": ""}
    document = {"format": "coprop-annotations-1", "layout": "avss", "split": "train", "notes": [], "entries": [entry]}
    _json(root / "examples.json", document)
    made = [
        ["synth", "set", "--kind", "ms3", "--videos", "2", "--split", "test", "--size", "32x32", "--simulate", "lag:1"],
        [*_REFINE, "--truth", "truth"],
        [*_RESCORE],
    ]
    for command in made:
        assert run(command) == 0, command
    _answer_cache(root / "cache")
    write_coco(root / "masks.json", read_prediction(root / "masks"))
    tiny_library(root / "lib")
    (root / "labels.txt").write_text("0.0\t1.0\tdog\n1.0\t3.0\tcat\n")
    (root / "labels.tsv").write_text("onset\toffset\tevent_label\n0.0\t1.0\tdog\n1.0\t3.0\tcat\n")
    (root / "composed").mkdir()
    _json(root / "composed/a.json", {"file": "a.mp4", "control_points": [1, 1, 0]})
    shutil.copy(root / "video.mp4", root / "composed/a.mp4")
    _json(root / "events.json", {"files": {"sound.wav": {"dog": [[1.0, 2.0]], "cat": [[0.5, 0.9], [2.0, 2.5]]}}})


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))


def _answer_cache(folder: Path) -> None:
    from coprop_plugin.language.cache import AnswerCache
    from coprop_plugin.language.model import Answer

    AnswerCache(folder).put("key", "model", Answer("[1, 0]", (0.9, 0.1)))


def _weights(root: Path, scores: np.ndarray) -> None:
    import torch
    from safetensors.numpy import save_file

    save_file({"scores": scores}, root / "scores.safetensors")
    state = {f"layer{i}.weight": np.full((4, 4), i, np.float32) for i in range(3)}
    save_file(state, root / "weights.safetensors")
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    torch.save({"state_dict": tensors, "meta": {"epoch": 3}}, root / "weights.pth")


def _videos(root: Path, sound: np.ndarray) -> None:
    import av

    for name, codecs in (
        ("video.mp4", ("h264", "aac")),
        ("video.mkv", ("h264", "aac")),
        ("video.avi", ("mjpeg", "pcm_s16le")),
    ):
        with av.open(str(root / name), "w") as container:
            video = container.add_stream(codecs[0], rate=5)
            video.width = video.height = 64
            video.pix_fmt = "yuvj420p" if codecs[0] == "mjpeg" else "yuv420p"
            audio = container.add_stream(codecs[1], rate=16000, layout="mono")
            for t in range(5 * SECONDS):
                picture = np.full((64, 64, 3), 16 * t, np.uint8)
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            samples = (np.repeat(sound, 2) * 32767).astype(np.int16)[None]
            for start in range(0, samples.shape[1], 1024):
                block = av.AudioFrame.from_ndarray(samples[:, start : start + 1024].copy(), format="s16", layout="mono")
                block.sample_rate, block.pts = 16000, start
                container.mux(audio.encode(block))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))
