"""Open decoders and processes that are forked off."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any

# A decoder's threads do not survive a fork: in the child it would hang when used, and also when it is freed. So what is
# garbage is freed before the fork, and a child opens its own decoders and keeps those that it inherited for ever.
_OPEN: weakref.WeakSet[Any] = weakref.WeakSet()
_INHERITED: list[Any] = []


def never_free_in_children(decoder: object) -> None:
    """Keep an open decoder from being freed in processes that are forked off later."""
    _OPEN.add(decoder)


def _keep_inherited() -> None:
    _INHERITED.extend(_OPEN)
    _OPEN.clear()


os.register_at_fork(before=gc.collect, after_in_child=_keep_inherited)
