"""Every text that is put to an audio language model, as data. The number of frames is written as a word.

Texts without a remark are the paper's (section 3.2 and its ablations), with T frames for its five or ten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

Variant = Literal["one_step", "three_step", "rcpg"]

DESCRIBE = "Please briefly describe the content of this audio."
# The paper shows the second question in a figure only: our wording.
CATEGORIES = (
    "What are the categories of the sounding objects in this audio? Answer with a comma separated list of nouns."
)
VOCABULARY = " Choose from: {names}."
MARK = (
    "When the category, timbre, and quantity of the current frame audio differ from the previous frame, we call the "
    "current frame a keyframe. The audio frames are evenly divided into {count} frames, keyframes are marked as 1, and "
    "non-key frames are marked as 0. Please output the categories of these {count} frames in order from the first frame "
    "to the {last} frame in the format of a list."
)
# How examples are shown is not given in the paper.
EXAMPLE = "Example {number}: categories {categories}, control points {flags}"

ABLATION_DESCRIBE = "Please describe the input audio."
ABLATION_COUNT = "How many different sound categories are present in the audio?"
ABLATION_MARK = (
    "Divide the audio into {count} frames. Assume the audio category of the first frame is 1. If the category of the "
    "current frame matches the previous frame, output 0; otherwise, output 1. Provide the categories of frames one "
    "through {count} in sequence, formatted as a list."
)
# Greedy decoding repeats itself: the second attempt must read differently.
RETRY = "Answer with the list alone: {count} values, each 0 or 1, separated by commas, in square brackets."

_TEXTS = (DESCRIBE, CATEGORIES, VOCABULARY, MARK, EXAMPLE, ABLATION_DESCRIBE, ABLATION_COUNT, ABLATION_MARK, RETRY)
VERSION = hashlib.sha256(json.dumps(_TEXTS).encode()).hexdigest()[:12]

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = ". . twenty thirty forty fifty sixty seventy eighty ninety".split()
_IRREGULAR = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def number_word(number: int) -> str:
    """``5`` as "five"; from 100 on in digits.

    >>> number_word(25)
    'twenty-five'
    """
    if not 0 <= number < 100:
        return str(number)
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def ordinal_word(number: int) -> str:
    """``10`` as "tenth".

    >>> ordinal_word(21)
    'twenty-first'
    """
    word = number_word(number)
    if word.isdigit():
        last_two = number % 100
        return word + ("th" if 10 < last_two < 20 else {1: "st", 2: "nd", 3: "rd"}.get(last_two % 10, "th"))
    head, dash, last = word.rpartition("-")
    last = _IRREGULAR.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last.removesuffix("e") + "th")
    return head + dash + last


def categories_question(vocabulary: Sequence[str] = ()) -> str:
    """The question for categories, with the names to choose from where there are any."""
    return CATEGORIES + (VOCABULARY.format(names=", ".join(vocabulary)) if vocabulary else "")


def mark_question(
    num_frames: int, *, variant: Variant = "rcpg", examples: Sequence[tuple[Sequence[str], Sequence[int]]] = ()
) -> str:
    """The question for control points; examples are ``(categories, flags)``, one a line, before it."""
    lines = [
        EXAMPLE.format(number=i, categories=" and ".join(categories) or "none", flags=list(flags))
        for i, (categories, flags) in enumerate(examples, start=1)
    ]
    text = MARK if variant == "rcpg" else ABLATION_MARK
    return "\n".join([*lines, text.format(count=number_word(num_frames), last=ordinal_word(num_frames))])


def retry_question(question: str, num_frames: int) -> str:
    """The same question, changed so that greedy decoding takes another way."""
    return f"{question}\n{RETRY.format(count=number_word(num_frames))}"
