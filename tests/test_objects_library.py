"""Libraries of objects: laid out by hand or built of packages, split by a rule, checked when opened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from objects_library import tiny_library, write_background, write_bursts, write_cutout, write_wav
from PIL import Image

from coprop_plugin.cli.main import main
from coprop_plugin.datasets.objects.build import build_library, stamp_table
from coprop_plugin.datasets.objects.further import LEAST_VOICES, Further
from coprop_plugin.datasets.objects.instruments import _midi
from coprop_plugin.datasets.objects.library import open_library, read_cutout
from coprop_plugin.datasets.objects.recordings import RATE_HZ, prepared
from coprop_plugin.datasets.objects.table import describe_library
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import AVSBENCH_NAMES


def laid(root: Path, count: int = 20) -> Path:
    """Things without a table."""
    rng = np.random.default_rng(1)
    for i in range(count):
        write_cutout(root / "objects" / "dog" / f"dog{i:02d}" / "cutout.png", rng, hue=i)
        write_bursts(root / "objects" / "dog" / f"dog{i:02d}" / "sound.wav", i + 1, rng)
        write_background(root / "backgrounds" / f"place{i:02d}.png", rng)
    return root


def test_a_folder_gets_its_table_and_splits_by_the_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = laid(tmp_path / "lib")
    assert main(["data", "objects", str(root)]) == 0
    assert "objects      train 12, val 3, test 5" in capsys.readouterr().out
    library = open_library(root)
    assert library.class_ids == {"dog": AVSBENCH_NAMES.index("dog")}
    first = json.loads((root / "library.json").read_text())
    write_cutout(root / "objects" / "cat" / "new" / "cutout.png", np.random.default_rng(0), hue=0)
    write_bursts(root / "objects" / "cat" / "new" / "sound.wav", 3, np.random.default_rng(0))
    with pytest.raises(CoPropError, match=r"objects without a line in library\.json: cat/new"):
        open_library(root)
    again = json.loads((describe_library(root).root / "library.json").read_text())
    assert all(again["objects"][name] == line for name, line in first["objects"].items())  # splits stay
    assert again["objects"]["cat/new"]["split"] in ("train", "val", "test")


def test_ids_are_avsbench_first_then_from_71(tmp_path: Path) -> None:
    library = tiny_library(tmp_path / "lib")
    for name, number in library.class_ids.items():
        assert AVSBENCH_NAMES[number] == name if number < 71 else name not in AVSBENCH_NAMES
    assert len(set(library.class_ids.values())) == len(library.class_ids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["objects"].pop("dog/dog00"), "objects without a line"),
        (lambda t: t["objects"].update({"dog/none": {"split": "train"}}), "not there: dog/none"),
        (lambda t: t["objects"]["dog/dog00"].update(split="all"), "has no split"),
        (lambda t: t["classes"].pop("dog"), "its class 'dog' is not among"),
        (lambda t: t["classes"]["dog"].update(avsbench="hound"), "one of AVSBench's names"),
        (lambda t: t.update(format="2"), "is no table of a library"),
        (lambda t: t.update(voices=[]), "voices"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, change, message: str) -> None:
    root = laid(tmp_path / "lib", 3)
    table = json.loads((describe_library(root).root / "library.json").read_text())
    change(table)
    (root / "library.json").write_text(json.dumps(table))
    with pytest.raises(CoPropError, match=message):
        open_library(root)


def test_no_library(tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match="make objects"):
        open_library(tmp_path)
    (tmp_path / "library.json").write_text("[" * 100_000)
    with pytest.raises(CoPropError, match="library"):
        open_library(tmp_path)


def test_recordings_are_trimmed_resampled_and_levelled() -> None:
    rate = 44100
    time_s = np.arange(rate) / rate
    tone = np.concatenate([np.zeros(rate), 0.01 * np.sin(2 * np.pi * 440 * time_s), np.zeros(rate)]).astype(np.float32)
    recording = prepared(tone, rate, name="tone")
    assert abs(recording.duration_s - 1) < 0.1 and len(recording.active_s) == 1
    assert abs(float(np.sqrt(np.mean(recording.samples[1600:-1600] ** 2))) - 1) < 0.05
    with pytest.raises(CoPropError, match="is silent"):
        prepared(np.zeros(rate, np.float32), rate, name="nothing")
    with pytest.raises(CoPropError, match=r"lasts 0\.05 s"):
        prepared(tone[: rate // 20], rate, name="short")


def test_cutouts_are_cut_to_what_is_opaque(tmp_path: Path) -> None:
    picture = np.zeros((40, 60, 4), np.uint8)
    picture[10:20, 5:50] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert read_cutout(tmp_path / "a.png").shape == (10, 45, 4)
    Image.fromarray(picture * 0).save(tmp_path / "b.png")
    with pytest.raises(CoPropError, match="nothing of it is opaque"):
        read_cutout(tmp_path / "b.png")


def test_the_table_of_stamps_is_sound() -> None:
    table = stamp_table()
    names = {*table["sounding"].values(), *table["seen"].values(), *filter(None, table["silent_folders"].values())}
    names |= {c for c, _ in table["rendered"].values()} | {c for c, _ in table["heard"].values()}
    assert {c for c in table["classes"] if c != "person"} <= names
    benchmark = [told["avsbench"] for told in table["classes"].values() if told["avsbench"]]
    assert set(benchmark) <= set(AVSBENCH_NAMES[1:]) and len(set(benchmark)) == len(benchmark)
    assert all(
        0 <= p < 128 for _, programs in (*table["rendered"].values(), *table["heard"].values()) for p in programs
    )


def stamps(root: Path) -> Path:
    """A package in small: two animals that sound, one silent recording, a drawn one, people, names spoken."""
    rng = np.random.default_rng(5)
    for stamp in ("animals/mammals/dogs/dog", "animals/birds/duck", "animals/birds/hen", "people/fireman200b"):
        write_cutout(root / f"{stamp}.png", rng, hue=1)
    write_cutout(root / "animals/birds/magpie.png", rng, hue=2)
    write_cutout(root / "animals/birds/magpie_mirror.png", rng, hue=2)
    write_cutout(root / "animals/birds/cartoon/owl.png", rng, hue=3)
    for stamp, timbre in (("animals/mammals/dogs/dog", 1), ("animals/birds/duck", 2)):
        write_bursts(root / f"{stamp}.ogg", timbre, rng)
    write_wav(root / "animals/birds/hen.ogg", np.zeros(RATE_HZ))
    # Long enough as a file, not in what sounds of it: a library must not hold what it could not read again.
    click = np.zeros(RATE_HZ)
    click[8000:8060] = 0.5 * np.sin(np.arange(60))
    write_wav(root / "animals/birds/n9_desc_fr.ogg", click)
    for i in range(6):
        write_bursts(root / f"animals/birds/n{i}_desc_fr.ogg", i + 1, rng)
        write_bursts(root / f"animals/birds/n{i}_desc.ogg", i + 9, rng)
    return root


def test_built_of_packages(tmp_path: Path) -> None:
    source = stamps(tmp_path / "usr/share/tuxpaint/stamps")
    write_background(tmp_path / "small/one.png", np.random.default_rng(0))
    theme = tmp_path / "walls/Hill/contents/images"
    theme.mkdir(parents=True)
    for size in ((1600, 900), (800, 600)):
        Image.new("RGB", size, "green").save(theme / f"{size[0]}x{size[1]}.jpg")
    folders = [tmp_path / "small", tmp_path / "walls"]
    library = build_library(tmp_path / "lib", stamps=tmp_path, backgrounds=folders)
    assert {t.name for t in library.things["objects"]} == {"dog/dog", "duck/duck", "person/fireman200b"}
    assert {t.name: t.class_name for t in library.things["distractors"]} == {"magpie": "bird"}
    assert {t.name: len(t.sounds) for t in library.things["voices"]} == {"en": 6, "fr": 6}
    assert [t.name for t in library.things["backgrounds"]] == ["Hill"]  # the small one is no photograph for a frame
    before = sorted(p.relative_to(library.root) for p in library.root.rglob("*"))
    again = build_library(tmp_path / "lib", stamps=source, backgrounds=folders)  # an older one is replaced
    assert sorted(p.relative_to(again.root) for p in again.root.rglob("*")) == before
    assert not list(tmp_path.glob(".lib-*"))


def test_further_sounds_are_of_the_train_part_and_leave_the_others_as_they_are(tmp_path: Path) -> None:
    source, rng = stamps(tmp_path / "stamps"), np.random.default_rng(1)
    for name in ("bear-1", "bear-2", "door_slam"):
        write_bursts(tmp_path / f"effects/{name}.wav", 3, rng)
    for speaker in ("en", "fr", "xx"):
        for i in range(LEAST_VOICES if speaker != "xx" else 2):
            write_bursts(tmp_path / f"talk/{speaker}/deeper/{i}.wav", i + 1, rng)
    (tmp_path / "talk/icons").mkdir()
    theme = tmp_path / "walls"
    theme.mkdir()
    Image.new("RGB", (800, 600), "green").save(theme / "hill.jpg")
    plain = build_library(tmp_path / "plain", stamps=source, backgrounds=[theme])
    further = Further([tmp_path / "effects"], [tmp_path / "talk"])
    more = build_library(tmp_path / "more", stamps=source, backgrounds=[theme], further=further)
    for group in ("objects", "voices", "distractors"):
        splits = [{t.name: t.split for t in library.things[group]} for library in (plain, more)]
        assert splits[0].items() <= splits[1].items()
        assert {splits[1][name] for name in splits[1].keys() - splits[0].keys()} <= {"train"}
    classes = {t.name: t.class_name for t in more.of("objects", "train") if t.name.endswith(("1", "2", "slam"))}
    assert classes == {
        "bear (heard)/bear-1": "bear (heard)",
        "bear (heard)/bear-2": "bear (heard)",
        "door (heard)/door_slam": "door (heard)",
    }
    apart = {t.name for t in plain.things["voices"] if t.split != "train"}
    assert {t.name for t in more.things["voices"]} == {"en", "fr"} | {f"talk-{name}" for name in {"en", "fr"} - apart}
    with pytest.raises(CoPropError, match="holds no sound files"):
        build_library(tmp_path / "none", stamps=source, backgrounds=[theme], further=Further([theme]))


def test_what_cannot_be_built(tmp_path: Path) -> None:
    with pytest.raises(CoPropError, match="holds no Tux Paint stamps"):
        build_library(tmp_path / "lib", stamps=tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(CoPropError, match="holds something that is no library"):
        build_library(tmp_path / "full", stamps=tmp_path)
    with pytest.raises(CoPropError, match="no such sound font"):
        build_library(tmp_path / "lib", stamps=stamps(tmp_path / "stamps"), soundfont=tmp_path / "none.sf2")
    assert not (tmp_path / "lib").exists()


def test_midi_says_what_it_holds() -> None:
    data = _midi(40)
    assert data[:4] == b"MThd" and data[14:18] == b"MTrk"
    assert int.from_bytes(data[18:22], "big") == len(data) - 22 and data.endswith(b"\xff\x2f\x00")
    assert data == _midi(40) != _midi(41)
