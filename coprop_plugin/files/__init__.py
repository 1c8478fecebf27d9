"""Files: atomic, inside the folder, locked writing; and the one reader of JSON and YAML."""

from __future__ import annotations

from .atomic import atomic_write
from .documents import parse_json, read_bytes, read_json, read_text, read_yaml
from .inside import Folder, check_new_folder, leads_out
from .locks import Lock, locked
from .stage import staged

__all__ = [
    "Folder",
    "Lock",
    "atomic_write",
    "check_new_folder",
    "leads_out",
    "locked",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_text",
    "read_yaml",
    "staged",
]
