"""Networks made for their names and shapes: the same as others, without numbers, and soon."""

from __future__ import annotations

import subprocess
import sys

from torch import nn

from coprop_plugin.weights.unfilled import unfilled

FRESH = """
import sys, torch
from coprop_plugin.weights.unfilled import unfilled
before = set(sys.modules)
with unfilled():
    torch.nn.Embedding(3, 4), torch.nn.MultiheadAttention(8, 2), torch.nn.Conv2d(3, 3, 3)
print(len(set(sys.modules) - before))
"""


def layers() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4), nn.LSTM(4, 2), nn.Embedding(5, 4))


def test_names_shapes_and_kinds_are_those_of_a_filled_network() -> None:
    with unfilled():
        ours = layers().state_dict()
    theirs = layers().state_dict()
    assert {n: (v.shape, v.dtype) for n, v in ours.items()} == {n: (v.shape, v.dtype) for n, v in theirs.items()}
    assert all(value.is_meta for value in ours.values()) and not any(value.is_meta for value in theirs.values())
    assert theirs["0.weight"].std() > 0  # outside, numbers are drawn


def test_nothing_is_imported_to_draw_without_memory() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) < 20  # otherwise some 800 modules, two seconds
