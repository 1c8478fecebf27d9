"""What models that think write before they answer."""

from __future__ import annotations

import re

_THINKING = r"(?:think|thinking|thought|reasoning)"
_THOUGHT = re.compile(rf"<{_THINKING}>.*?</{_THINKING}>", re.DOTALL | re.IGNORECASE)
_END_OF_THOUGHT = re.compile(rf"^.*</{_THINKING}>", re.DOTALL | re.IGNORECASE)
_BEGUN = re.compile(rf"<{_THINKING}>.*$", re.DOTALL | re.IGNORECASE)


def without_thinking(answer: str) -> tuple[str, bool]:
    """What a model says, without what it thinks before; and whether it was still thinking when the answer ended.

    The mark that opens a thought may be part of the prompt, so that the answer holds the closing one alone.
    """
    said = _END_OF_THOUGHT.sub("", _THOUGHT.sub("", answer))
    return _BEGUN.sub("", said).strip(), _BEGUN.search(said) is not None
