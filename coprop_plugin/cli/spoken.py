"""Errors of the library in the words of the command line: ``kind='logit'`` is ``--kind logit`` there."""

from __future__ import annotations

import argparse
import re

_RENAMED = {"model": "--lm-model", "server": "--lm-server"}
# Names that a part takes too (``--adapter NAME:config=F``), or that mean something else as a flag of their own.
_OF_PARTS = ("config", "checkpoint", "audio_checkpoint", "mode")
_OPTION = re.compile(r"(?<![\w:.,-])([a-z_]+)=(\{[^{}]*\}|'[^']*'|\([^()]*\)|[\w.:/]*)")
_TWICE = re.compile(r" \((--[a-z-]+) on the command line\)")


def spoken(message: str, parser: argparse.ArgumentParser | None) -> str:
    """The message with the options that it names as the flags of this command; others stay as they are."""
    if parser is None:
        return message
    flags = {a.dest: a.option_strings[-1] for a in parser._actions if a.option_strings}
    switches = {a.dest for a in parser._actions if a.option_strings and a.nargs == 0}
    flags |= {name: flag for name, flag in _RENAMED.items() if flag in flags.values()}

    def flag(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in flags or name in _OF_PARTS:
            return match[0]
        return flags[name] if name in switches or not value else f"{flags[name]} {_typed(value)}"

    return _OPTION.sub(flag, _TWICE.sub("", message))


def _typed(value: str) -> str:
    """A Python value as it is typed in a shell: ``{1: 11, 2: 41}`` is ``1:11,2:41``."""
    dot = "." if value.endswith(".") else ""
    return re.sub(r"[{}()'\s]", "", value.removesuffix(".")) + dot
