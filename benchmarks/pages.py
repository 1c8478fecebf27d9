"""Tables of a page of results, each between its marks."""

from __future__ import annotations

from pathlib import Path

SEED = ", seed "  # in the row of a network that was trained once more


def put(page: Path, name: str, table: str) -> None:
    """Write a table of this name anew where it stands."""
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(f"<!-- {name} -->\n")
    assert found and f"<!-- end of {name} -->" in rest, f"{page.name} has no marks of '{name}'"
    after = rest[rest.index(f"<!-- end of {name} -->") :]
    page.write_text(f"{before}{found}{table}\n{after}", encoding="utf-8")
