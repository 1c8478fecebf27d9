"""Synthetic benchmarks with saved predictions for ``rescore.py``: MS3 with probabilities, AVSS with colour maps."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from PIL import Image

from coprop_plugin.datasets.avsbench import open_dataset
from coprop_plugin.datasets.simulators import simulate
from coprop_plugin.datasets.synthetic import make_clip
from coprop_plugin.datasets.write import Simulation, write_dataset
from coprop_plugin.masks.palette import voc_palette
from coprop_plugin.media.images import read_label_values

SIDE = 224
METHOD = "blinking"


def write_ms3(root: Path, *, videos: int) -> None:
    """A data set like MS3's test split, and the probabilities of a model that blinks and is not sure of its edges."""
    dataset = write_dataset(root, kind="ms3", videos=videos, splits=("test",), size=(SIDE, SIDE))
    folder = root / "predictions" / METHOD
    folder.mkdir(parents=True)
    for i, video in enumerate(dataset.videos("test")):
        scene = make_clip(int(video.video_id.rpartition("_")[2]), kind="ms3", size=(SIDE, SIDE), semantic=False).scene
        masks = np.asarray(simulate(scene, "flicker", strength=1, seed=i).label_maps())
        noise = np.random.default_rng(i).normal(0, 0.1, masks.shape)
        np.save(folder / f"{video.video_id}.npy", np.clip(0.15 + 0.7 * masks + noise, 0, 1).astype(np.float32))


def repeat(small: Path, root: Path, *, videos: int) -> None:
    """An MS3 set of many videos: those of a small one over and over, under names of their own, as hard links."""
    ids = [video.video_id for video in open_dataset(small).videos("test")]
    everything = [p.relative_to(small).as_posix() for p in small.rglob("*") if p.is_file()]
    files = {video_id: [place for place in everything if video_id in place] for video_id in ids}
    names = []
    for n in range(videos):
        old = ids[n % len(ids)]
        names.append(f"{old}_{n // len(ids)}")
        for place in files[old]:
            target = root / place.replace(old, names[-1])
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(small / place, target)
    (table,) = small.glob("*/*.csv")
    with (root / table.relative_to(small)).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("video_id", "split"), *((name, "test") for name in names)])


def write_avss(root: Path, *, videos: int) -> None:
    """Ten frames a video in AVSS's layout, and a lagging model's maps in palette colours, as published code saves them."""
    dataset = write_dataset(
        root, kind="avss", videos=videos, splits=("test",), size=(SIDE, SIDE), simulations=[Simulation("lag", 1)]
    )
    for video in dataset.videos("test"):
        for t in range(dataset.num_frames(video)):
            name = dataset.layout.prediction_file(video, t)
            labels = read_label_values(root / "predictions/lag-1" / name).values
            place = root / "predictions/colours" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(voc_palette()[labels]).save(place)
