"""Answers of language models: any text in, a valid list or a named failure out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from coprop_plugin.control_points.language import prompts
from coprop_plugin.control_points.language.parse import MAX_ANSWER_CHARS, Failure, Marked, read_categories, read_flags

PROMPT = prompts.mark_question(5, examples=[(("dog", "cat"), (1, 0, 1, 0, 0))])
BITS = st.lists(st.integers(0, 1), min_size=1, max_size=40)
PROSE = st.text(st.characters(exclude_characters="[]"), max_size=60)


@pytest.mark.parametrize(
    ("answer", "flags"),
    [
        ("[1, 0, 0, 1, 0]", "10010"),
        ("The list is [1,0,0,1,0].", "10010"),
        ("[1 0 0 1 0]", "10010"),
        ('["1", "0", "0", "1", "0"]', "10010"),
        ("[1.0, 0.0, 0, 1, 0]", "10010"),
        ('{"control_points": [1, 0, 0, 0, 1]}', "10001"),
        ("First I thought [1, 1, 1, 1, 1], but it is [1, 0, 0, 0, 0] [sure].", "10000"),
        ("[[1, 0, 0, 0, 0], [1, 0, 0, 0, 1]]", "10001"),
        ("[0, 0, 0, 1, 0]", "10010"),
        (PROMPT + "\n[1, 1, 0, 0, 0]", "11000"),
        ("```\n[1,\n 0,\n 0,\n 1,\n 0]\n```", "10010"),
    ],
)
def test_lists_are_found_leniently(answer: str, flags: str) -> None:
    read = read_flags(answer, 5, prompt=PROMPT)
    assert isinstance(read, Marked)
    assert "".join(map(str, read.flags.astype(int))) == flags
    assert read.first_forced == ("forced" if answer.startswith("[0") else "kept")


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        ("", "empty", "no text"),
        (" \n\t", "empty", "no text"),
        ("x" * (MAX_ANSWER_CHARS + 1), "too_long", "20001"),
        (PROMPT, "repeats_prompt", "nothing else"),
        (PROMPT.replace(" ", "  "), "repeats_prompt", "nothing else"),
        ("Frames 1 0 0 1 0 change.", "no_list", "square brackets"),
        ("(1, 0, 0, 1, 0)", "no_list", "square brackets"),
        ("[1, 0, 0, 1, 0", "no_list", "square brackets"),
        ("It changes [see below].", "no_list", "square brackets"),
        ("[1, 0, 0]", "wrong_length", "3 values for 5"),
        ("[1, 0, 0, 1, 0, 0]", "wrong_length", "6 values for 5"),
        ("[]", "wrong_length", "0 values"),
        ("[1, 0, 0, 1, 0] and then [1, 0]", "wrong_length", "2 values"),
        ("[1, 0, 2, 1, 0]", "not_binary", "'2'"),
        ("[NaN, 0, 0, 1, 0]", "not_binary", "'NaN'"),
        ("[1, 0, dog, 1, 0]", "not_binary", "'dog'"),
        ("[1, 0, 0, 1, 0,]", "not_binary", "''"),
        ("[1, -0, 0.5, 1, 0]", "not_binary", "'-0'"),
        ("[1, 0, ١, 1, 0]", "not_binary", "'١'"),
    ],
)
def test_other_answers_fail_by_name(answer: str, kind: str, detail: str) -> None:
    read = read_flags(answer, 5, prompt=PROMPT)
    assert isinstance(read, Failure)
    assert (read.kind, detail in read.detail) == (kind, True), str(read)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text("[]01, \n\"'.{}nainf2-")), st.integers(1, 12), st.text("[]01, \nab", max_size=60))
def test_any_text_is_a_valid_list_or_a_named_failure(answer: str, length: int, prompt: str) -> None:
    read = read_flags(answer, length, prompt=prompt)
    if isinstance(read, Failure):
        assert str(read).startswith(read.kind) and read.detail
    else:
        assert read.flags.shape == (length,) and read.flags.dtype == bool and read.flags[0]


@settings(max_examples=200, deadline=None)
@given(BITS, PROSE, PROSE)
def test_a_list_is_read_back_from_any_prose_without_brackets(bits: list[int], before: str, after: str) -> None:
    read = read_flags(f"{before}{bits}{after}", len(bits))
    assert isinstance(read, Marked)
    assert read.flags.tolist() == [True, *map(bool, bits[1:])]


@settings(max_examples=100, deadline=None)
@given(BITS, st.integers(1, 40))
def test_a_wrong_length_is_never_bent_into_shape(bits: list[int], length: int) -> None:
    read = read_flags(json.dumps(bits), length)
    assert isinstance(read, Marked) == (len(bits) == length)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("Dog, cat", ("dog", "cat")),
        ("a man and the dog.", ("man", "dog")),
        ("1. dog\n2) A hen\n- dog", ("dog", "hen")),
        ("Silence", ()),
        ("None.", ()),
        (
            "There are two different types of audio here, one for cello and the other for piano. Both are clear.",
            ("cello", "piano"),
        ),
        ("I cannot say what this is. It might be anything at all.", None),
        ("", None),
        ("pianos and cellos are playing together in a very big hall", ("piano", "cello")),
    ],
)
def test_categories_are_nouns_or_known_names(answer: str, names: tuple[str, ...] | None) -> None:
    assert read_categories(answer, ["cello", "piano", "dog"]) == names


@settings(max_examples=100, deadline=None)
@given(st.text(), st.lists(st.text(max_size=8), max_size=4))
def test_categories_of_any_text_are_short_names_or_nothing(answer: str, vocabulary: list[str]) -> None:
    names = read_categories(answer, vocabulary)
    assert names is None or (len(set(names)) == len(names) and all(names))


def test_prompts_are_the_papers_with_the_clips_number_of_frames_in_words() -> None:
    ten = prompts.mark_question(10)
    assert "The audio frames are evenly divided into ten frames, keyframes are marked as 1" in ten
    assert ten.endswith("in order from the first frame to the tenth frame in the format of a list.")
    five = prompts.mark_question(5, variant="one_step")
    assert five.startswith("Divide the audio into five frames. Assume the audio category of the first frame is 1.")
    assert five.endswith("Provide the categories of frames one through five in sequence, formatted as a list.")
    assert PROMPT.startswith("Example 1: categories dog and cat, control points [1, 0, 1, 0, 0]\nWhen the category")


def test_number_words() -> None:
    assert [prompts.number_word(n) for n in (0, 13, 20, 42, 100)] == ["zero", "thirteen", "twenty", "forty-two", "100"]
    ordinals = [prompts.ordinal_word(n) for n in (1, 2, 5, 9, 12, 20, 31, 90, 101, 111, 122)]
    assert ordinals == "first second fifth ninth twelfth twentieth thirty-first ninetieth 101st 111th 122nd".split()


def test_a_retry_reads_differently() -> None:
    assert prompts.retry_question(PROMPT, 5) != PROMPT and "five values" in prompts.retry_question(PROMPT, 5)


def test_the_first_value_is_forced_without_touching_the_others() -> None:
    read = read_flags("[0, 0, 1]", 3)
    assert isinstance(read, Marked) and np.array_equal(read.flags, [True, False, True])
