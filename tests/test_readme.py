"""The README's commands and its Python do what they say, on an example of our own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from coprop_plugin.cli.demo import make_example
from coprop_plugin.cli.main import main, parser_of

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "adapters/README.md",
    ROOT / "configs/README.md",
]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def commands(text: str) -> list[list[str]]:
    """The words of every ``coprop`` line in shell blocks, continued lines joined, comments left out."""
    joined = "\n".join(blocks("(?:bash|sh)", text)).replace("\\\n", " ")
    lines = (line.strip() for line in joined.splitlines())
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("coprop ")]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with ``video.mp4``, ``preds/`` and ``gt/``, and the masks' classes."""
    folder = tmp_path_factory.mktemp("reader")
    classes = make_example(folder, seed=0, simulate_as="lag:1")
    (folder / "gt").symlink_to(folder / "truth")
    return folder, ",".join(map(str, classes))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_line_is_one_that_is_understood(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        if any(word.startswith(("$", "[")) or word == "…" for word in words) or not words:
            continue
        _, parser, rest = parser_of(words)
        parser.parse_args(rest)


def test_the_first_command_and_what_it_leaves(example: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, classes = example
    monkeypatch.chdir(folder)
    words = next(words for words in commands(README) if "--masks" in words)
    assert main([*words, "--truth", "gt/", "--classes", classes]) == 0
    for name in ("masks", "scores.npz", "control_points.json", "overlay.mp4", "report.html"):
        assert (folder / "out" / name).exists(), name
    again = ["--control-points", "file:path=out/control_points.json", "--classes", classes, "--no-overlay"]
    assert main(["refine", "video.mp4", "--masks", "preds/", "-o", "again/", *again]) == 0


def test_the_python_runs(example: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, classes = example
    monkeypatch.chdir(folder)
    (code,) = (block for block in blocks("python") if "read_clip" in block)
    code = code.replace("clip=clip)", f"clip=clip, classes=({classes},))").replace('"out/"', '"from_python/"')
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert (folder / "from_python" / "report.html").is_file()


def test_no_line_of_a_table_is_too_long() -> None:
    assert not [line for line in README.splitlines() if len(line) > 120]
