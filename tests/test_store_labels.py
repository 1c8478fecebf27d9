"""What the values of label files mean, and that nothing else is let through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from coprop_plugin.errors import CoPropError, PredictionError
from coprop_plugin.store.label_values import label_values, resolve_classes
from coprop_plugin.structures import AVSBENCH_CLASSES


def image(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


@pytest.mark.parametrize("foreground", [1, 255])
def test_binary_files_hold_0_and_1_or_0_and_255(foreground: int) -> None:
    labels = label_values().labels(image([0, foreground], [foreground, 0]), "0.png")
    assert labels.dtype == np.int16
    np.testing.assert_array_equal(labels, [[0, 1], [1, 0]])


def test_an_empty_mask_and_a_bool_mask_are_binary() -> None:
    assert not label_values().labels(np.zeros((4, 5), np.uint8), "0.png").any()
    np.testing.assert_array_equal(label_values().labels(np.eye(3, dtype=bool), "x"), np.eye(3))


def test_0_1_255_in_one_file_is_not_guessed() -> None:
    with pytest.raises(PredictionError, match=r"3\.png: holds both 1 and 255.*ids=\{1: 1, 255: 1\}.*ignore=255"):
        label_values().labels(image([0, 1, 255]), "3.png")
    np.testing.assert_array_equal(label_values(ignore=255).labels(image([0, 1, 255]), "3.png"), [[0, 1, -1]])
    np.testing.assert_array_equal(label_values(ids={1: 1, 255: 1}).labels(image([0, 1, 255]), "x"), [[0, 1, 1]])


def test_unexpected_values_are_reported_with_file_value_and_count() -> None:
    with pytest.raises(
        PredictionError, match=r"masks/7\.png: .*: 45 \(3 px\), 9 \(1 px\)\. Expected: 0 \(background\), 1"
    ):
        label_values().labels(image([0, 45, 45], [45, 9, 0]), "masks/7.png")
    with pytest.raises(PredictionError, match="and 90 more"):
        label_values().labels(np.arange(100, dtype=np.uint8)[None], "soft.png")


def test_255_is_ignored_only_when_asked() -> None:
    with pytest.raises(PredictionError, match=r"255 \(1 px\).*ignore=255"):
        label_values(classes="avsbench").labels(image([0, 70, 255]), "x")
    labels = label_values(classes="avsbench", ignore=255).labels(image([0, 70, 255]), "x")
    np.testing.assert_array_equal(labels, [[0, 70, -1]])


def test_ids_map_file_values_to_classes() -> None:
    values = label_values(ids={1: 11, 2: 41, 3: 11})
    assert values.class_ids == (11, 41)
    np.testing.assert_array_equal(values.labels(image([0, 1, 2, 3]), "x"), [[0, 11, 41, 11]])
    with pytest.raises(PredictionError, match=r"4 \(1 px\)"):
        values.labels(image([0, 4]), "x")


def test_ids_can_move_the_background() -> None:
    values = label_values(ids={70: 0, 0: 1})
    np.testing.assert_array_equal(values.labels(image([70, 0]), "x"), [[0, 1]])


@given(st.dictionaries(st.integers(1, 255), st.integers(1, 70), min_size=1), st.integers(0, 2**32 - 1))
def test_ids_are_applied_pixel_by_pixel(ids: dict[int, int], seed: int) -> None:
    given_values = np.random.default_rng(seed).choice([0, *ids], (5, 7)).astype(np.uint8)
    expected = [[ids.get(int(v), 0) for v in row] for row in given_values]
    np.testing.assert_array_equal(label_values(ids=ids).labels(given_values, "x"), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": [1, 2]}, r"ids maps file values to class ids, as \{1: 11, 2: 41\}; got \[1, 2\]"),
        ({"ids": {"car": 1}}, "ids maps file values to class ids"),
        ({"classes": 5}, "a list of class ids, got 5"),
        ({"ids": {}}, "ids maps to no class"),
        ({"ids": {1: 0}}, "ids maps to no class"),
        ({"ids": {1: 99}, "classes": "avsbench"}, r"ids maps to the class ids \[99\], but the classes are 1\.\.70"),
        ({"ids": {1: -3}}, "class ids are distinct integers from 1 to 32767"),
        ({"ids": {70000: 1}}, r"file values lie in \[0, 65535\], got \[70000\]"),
        ({"ignore": 1}, "the value 1 cannot be ignored: it already means class 1"),
        ({"classes": "avsbnch"}, "unknown label set 'avsbnch'. Did you mean 'avsbench'"),
        ({"classes": (1, 1)}, "distinct"),
        ({"classes": (0, 1)}, "0 is the background"),
    ],
)
def test_contradictions_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(CoPropError, match=message):
        label_values(**arguments)


def test_values_beyond_any_label_file() -> None:
    with pytest.raises(PredictionError, match=r"lie in \[0, 65535\], got -7 to 0"):
        label_values().labels(np.array([[0, -7]]), "array, frame 2")


def test_avsbench_classes_have_names() -> None:
    ids, names = resolve_classes("avsbench")
    assert ids == AVSBENCH_CLASSES
    assert names[11] == "car"
    assert set(names) == set(ids)
