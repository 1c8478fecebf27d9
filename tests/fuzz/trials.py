"""What is tried: mutated files, runs killed anywhere, two runs in one folder, folders with links in them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coprop_plugin.language.cache import FILE_NAME

from .kinds import KINDS, Kind
from .mutations import mutate
from .processes import Ended, finish, load, run, start

BAD = (
    "traceback",
    "crash",
    "hang",
    "memory",
    "silent error",
    "odd exit",
    "changed unnoticed",
    "half written",
    "escaped",
)


@dataclass
class Report:
    """Outcomes by kind, and the cases that must not be.

    Attributes:
        counts: kind -> outcome -> how often.
        cases: a line each, with the seed that makes it again.
        slowest_s: kind -> the most processor time of one input.
    """

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    cases: list[str] = field(default_factory=list)
    slowest_s: dict[str, float] = field(default_factory=dict)

    def add(self, kind: str, outcome: str, *, case: str = "", cpu_s: float = 0.0) -> None:
        self.counts.setdefault(kind, Counter())[outcome] += 1
        self.slowest_s[kind] = max(cpu_s, self.slowest_s.get(kind, 0.0))
        if outcome in BAD:
            self.cases.append(f"{kind}: {outcome}: {case}")
            print(self.cases[-1].encode("utf-8", "backslashreplace").decode(), flush=True)

    @property
    def bad(self) -> int:
        return sum(count for kind in self.counts.values() for outcome, count in kind.items() if outcome in BAD)

    @property
    def total(self) -> int:
        return sum(sum(kind.values()) for kind in self.counts.values())

    def table(self) -> str:
        """Markdown: a row a kind."""
        names = sorted({name for kind in self.counts.values() for name in kind}, key=lambda n: (n in BAD, n))
        lines = [f"| kind | inputs | {' | '.join(names)} | most CPU s |", "|---" * (len(names) + 3) + "|"]
        for kind, found in self.counts.items():
            cells = " | ".join(str(found[name] or "") for name in names)
            lines.append(f"| {kind} | {sum(found.values())} | {cells} | {self.slowest_s[kind]:.1f} |")
        return "\n".join(lines)


def copied(corpus: Path, names: tuple[str, ...], folder: Path) -> Path:
    """A fresh working folder with these files and folders of the corpus."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in names:
        source = corpus / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    return folder


Good = dict[str, tuple[int, str, bytes]]


def good_outputs(corpus: Path, work: Path) -> Good:
    """What each kind's command says of the good files; what it loads, later ones find loaded."""
    told, seen, streams = {}, set[str](), work / "good-streams"
    for kind in KINDS:
        folder = copied(corpus, kind.needs, work / "good")
        ended = run(list(kind.command), folder, streams, modules=True)
        if ended.outcome != "done":
            raise SystemExit(f"{kind.name}: the good file does not pass: {ended.outcome}: {ended.err[-2000:]}")
        exact = (folder / kind.exact).read_bytes() if kind.exact else b""
        told[kind.name] = (ended.code, ended.out, exact)
        seen.update(streams.with_suffix(".modules").read_text().splitlines())
    load(sorted(seen))
    return told


def inputs(
    corpus: Path,
    work: Path,
    report: Report,
    good: Good,
    kinds: Sequence[Kind],
    *,
    seed: int,
    rounds: int,
    until_s: float,
) -> None:
    """Mutated files of the kinds in turn, ``rounds`` of each, or as many as there is time for."""
    for number in range(rounds):
        for kind in kinds:
            if time.monotonic() > until_s:
                return
            _one_input(corpus, work, report, kind, f"{seed}:{number}", good[kind.name])


def _one_input(corpus: Path, work: Path, report: Report, kind: Kind, seed: str, good: tuple[int, str, bytes]) -> None:
    rng = random.Random(f"{kind.name}:{seed}")
    folder = copied(corpus, kind.needs, work / "one")
    target = folder / rng.choice(kind.files)
    if target.is_dir():
        target = rng.choice(sorted(p for p in target.rglob("*") if p.is_file()))
    elif not target.exists():
        target.touch()
    done = mutate(target, rng, document=kind.document)
    (work / "outside").mkdir(exist_ok=True)
    ended = run(list(kind.command), folder, work / "streams")
    outcome = ended.outcome
    case = f"seed {seed}, {done} of {target.relative_to(folder)}: {_last_line(ended)}"
    if (outcome == "done" and kind.checked and (ended.code, ended.out) != good[:2]) or (
        outcome == "done" and kind.exact and (folder / kind.exact).read_bytes() != good[2]
    ):
        outcome = "changed unnoticed"
    report.add(kind.name, outcome, case=case, cpu_s=ended.cpu_s)
    if outcome in BAD:
        keep = work / "found" / f"{kind.name.replace(' ', '_')}-{seed.replace(':', '_')}"
        keep.mkdir(parents=True, exist_ok=True)
        (keep / "err").write_text(ended.err)
        if target.is_file() and not target.is_symlink() and target.stat().st_size < 1 << 20:
            shutil.copy(target, keep / target.name)


def _last_line(ended: Ended) -> str:
    lines = ended.err.strip().splitlines()
    return lines[-1][:300] if lines else f"exit {ended.code}"


def files_of(folder: Path) -> dict[str, bytes]:
    """The visible files of an output, without its log."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: content for name, content in found.items() if name != "run.log" and not name.startswith(".")}


def _by_name(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def kills(corpus: Path, work: Path, report: Report, *, seed: int, count: int, until_s: float) -> None:
    """Kill ``refine`` and ``rescore`` at a random moment, run again: the files are those of an undisturbed run."""
    for name, out, needs in (
        ("result refined again", "out", ("frames", "sound.wav", "masks")),
        ("run resumed", "run", ("set",)),
    ):
        command = list(_by_name(name).command)
        folder = copied(corpus, needs, work / "killed")  # a clip is called after the folder above its frames
        begin = time.monotonic()
        run(command, folder, work / "streams")
        took_s, wanted = time.monotonic() - begin, files_of(folder / out)
        rng = random.Random(f"kill:{seed}")
        for number in range(count // 2):
            if time.monotonic() > until_s:
                return
            folder = copied(corpus, needs, work / "killed")
            pid = start(command, folder, work / "streams")
            time.sleep(rng.uniform(0, 1.1) * took_s)
            os.kill(pid, signal.SIGKILL)
            finish(pid, work / "streams")
            half = _half_written(folder / out)
            ended = run(command, folder, work / "streams")
            right = ended.outcome == "done" and files_of(folder / out) == wanted and not half
            left = [p.name for p in (folder / out).iterdir() if p.name.startswith(".") and p.name != ".lock"]
            outcome = "whole after it" if right and not left else "half written"
            report.add(f"kill of {command[0]}", outcome, case=f"number {number}: {left} {_last_line(ended)}")


def _half_written(out: Path) -> bool:
    """Whether a result says that it is complete and cannot be read."""
    from coprop_plugin.errors import CoPropError
    from coprop_plugin.store import read_result

    if not (out / "run.json").is_file() or b'"complete": true' not in (out / "run.json").read_bytes():
        return False
    try:
        stored = read_result(out)
        [stored.prediction.label_map(t) for t in range(stored.prediction.num_frames)]
    except CoPropError:
        return True
    return False


def races(corpus: Path, work: Path, report: Report, *, seed: int, count: int, until_s: float) -> None:
    """Two ``refine`` into one folder at once: both end, and one of the two results stands there whole."""
    base = list(_by_name("result refined again").command)
    commands = (base, [*base, "--fusion", "replace", "--scores", "none"])
    wanted = []
    for command in commands:
        folder = copied(corpus, ("frames", "sound.wav", "masks"), work / "race")
        run(command, folder, work / "streams")
        wanted.append(files_of(folder / "out"))
    rng = random.Random(f"race:{seed}")
    for number in range(count):
        if time.monotonic() > until_s:
            return
        folder = copied(corpus, ("frames", "sound.wav", "masks"), work / "race")
        pids = []
        for i, command in enumerate(commands if rng.random() < 0.5 else commands[::-1]):
            pids.append((start(command, folder, work / f"race-{i}"), work / f"race-{i}"))
            time.sleep(rng.uniform(0, 0.2))
        ended = [finish(pid, streams) for pid, streams in pids]
        fine = all(e.outcome in ("done", "named error") for e in ended) and any(e.outcome == "done" for e in ended)
        right = fine and files_of(folder / "out") in wanted
        told = "; ".join(f"{e.outcome} {_last_line(e)}" for e in ended)
        report.add("two refine at once", "whole" if right else "half written", case=f"number {number}: {told}")


def links(corpus: Path, work: Path, report: Report) -> None:
    """Folders received with links in them that lead out: nothing outside is changed, whatever the command says."""
    for number, (name, needs, place, to_file) in enumerate(_link_attacks(corpus)):
        folder = copied(corpus, needs, work / "links")
        outside = work / "outside"
        shutil.rmtree(outside, ignore_errors=True)
        (outside / "lag-1/deep").mkdir(parents=True)
        for file in ("precious", "lag-1/0.png", "lag-1/deep/1.png", "run.log", FILE_NAME):
            (outside / file).write_text("mine")
        outside.chmod(0o755)
        before = _listing(outside)
        target = folder / place
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(outside / "precious" if to_file else outside)
        command = _LINK_COMMANDS[name]
        ended = run(list(command), folder, work / "streams")
        same = _listing(outside) == before
        outcome = ended.outcome if same else "escaped"
        report.add(f"link in {name}", outcome, case=f"number {number}, {place}: {_last_line(ended)}")


def _listing(folder: Path) -> list[tuple[str, int, int, bytes]]:
    return sorted(
        (str(p), p.lstat().st_mode, p.lstat().st_mtime_ns, p.read_bytes() if p.is_file() else b"")
        for p in (folder, *folder.rglob("*"))
    )


_LINK_COMMANDS = {
    "a run": _by_name("run resumed").command,
    "a result": _by_name("result refined again").command,
    "a cache": ("cache", "info", "--folder", "cache"),
    "a cleared cache": ("cache", "clear", "--folder", "cache"),
    "a reported result": ("report", "out", "--video", "frames", "--audio", "sound.wav"),
}


def _link_attacks(corpus: Path) -> Iterator[tuple[str, tuple[str, ...], str, bool]]:
    """``(what, needs, place of the link, whether it leads to a file)``."""
    video = sorted(p.stem for p in (corpus / "run/records/lag-1").iterdir())[0]
    for kind in ("masks", "records", "failed", "pages", "scores"):
        yield "a run", ("run", "set"), f"run/{kind}", False
        yield "a run", ("run", "set"), f"run/{kind}/lag-1", False
    for place in (f"run/masks/lag-1/{video}", "run/.stage", "run/.stage/lag-1"):
        yield "a run", ("run", "set"), place, False
    for place in (
        "run/run.log",
        "run/.lock",
        f"run/records/lag-1/{video}.json",
        "run/comparison.json",
        "run/index.html",
    ):
        yield "a run", ("run", "set"), place, True
    result = ("out", "frames", "sound.wav", "masks")
    for place in ("out/masks", "out/base", "out/base/masks", "out/.partial", "out/.partial-1", "out/.lock"):
        yield "a result", result, place, False
    for place in (
        "out/run.log",
        "out/.lock",
        "out/run.json",
        "out/control_points.json",
        "out/masks/0.png",
        "out/scores.json",
    ):
        yield "a result", result, place, True
    yield "a cache", ("cache",), f"cache/{FILE_NAME}", True
    yield "a cleared cache", ("cache",), f"cache/{FILE_NAME}", True
    yield "a reported result", result, "out/report.html", True
