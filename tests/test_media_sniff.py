"""What is refused before a decoder opens it, and what a decoder would have done."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import av
import decord
import media_clips
import numpy as np
import pytest
import soundfile
from PIL import Image

from coprop_plugin.errors import MediaError
from coprop_plugin.media.backend import probe
from coprop_plugin.media.packets import open_container
from coprop_plugin.media.reader import read_clip
from coprop_plugin.media.sniff import sniff
from coprop_plugin.media.sound import read_sound


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi"])
def test_videos_are_told_by_their_bytes_not_their_names(tmp_path: Path, name: str) -> None:
    codec = {"a.webm": "libvpx", "a.avi": "mpeg4"}.get(name, "libx264")
    written = media_clips.write_clip(tmp_path / name, num_frames=2, codec=codec)
    disguised = written.rename(tmp_path / "x.txt")
    assert sniff(disguised) == {"a.mov": "mp4", "a.mkv": "matroska", "a.webm": "matroska"}.get(name, name[2:])


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "ogg"])
def test_sounds(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.{form}"
    soundfile.write(path, media_clips.tone(0.5), 44100)
    assert sniff(path) == form


def test_mp3_without_a_tag(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, media_clips.tone(0.5), 44100)
    data = path.read_bytes()
    start = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] & 0xE6 == 0xE2)
    path.write_bytes(data[start:])
    assert sniff(path) == "mp3"
    path.write_bytes(data[start : start + 4] + b"text that no frame follows" * 100)
    with pytest.raises(MediaError, match="no container that is read here"):
        sniff(path)


def test_pictures(tmp_path: Path) -> None:
    for form in ("png", "jpeg"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"a.{form}")
        assert sniff(tmp_path / f"a.{form}") == form


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A readable video that no playlist must lead to."""
    return media_clips.write_clip(tmp_path / "target.mp4", num_frames=25)


def playlist(kind: str, target: Path) -> str:
    return {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile {target}\n",
        "bom": f"\ufeff#EXTM3U\n{target}\n",
        "space": f" \n#EXTM3U\n{target}\n",
        "pls": f"[playlist]\nFile1={target}\n",
        "mpd": f'<?xml version="1.0"?>\n<MPD><BaseURL>{target}</BaseURL></MPD>',
        "sdp": "v=0\nc=IN IP4 127.0.0.1\n",
        "list": f"file '{target}'\n",
    }[kind]


@pytest.mark.parametrize("kind", ["m3u8", "ffconcat", "bom", "space", "pls", "mpd", "sdp", "list"])
@pytest.mark.parametrize("backend", ["av", "decord"])
def test_a_playlist_named_mp4_is_refused_by_both(tmp_path: Path, target: Path, kind: str, backend: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_text(playlist(kind, target))
    with pytest.raises(MediaError, match=r"x\.mp4: is a playlist .* never followed"):
        read_clip(path, silent_ok=True, backend=backend)
    with pytest.raises(MediaError, match="playlist"):
        read_sound(path)


def test_the_playlist_trap_is_real_and_the_demuxer_is_named(tmp_path: Path, target: Path) -> None:
    """A decoder left alone follows the list; the container opened as what it was sniffed as does not."""
    path = tmp_path / "x.mp4"
    path.write_text(f"ffconcat version 1.0\nfile {target.name}\n")
    followed = []
    with contextlib.suppress(decord.DECORDError, RuntimeError):
        followed.append(len(decord.VideoReader(str(path))))
    with av.open(str(path)) as container:
        followed.append(sum(1 for _ in container.decode(video=0)))
    assert 25 in followed
    with pytest.raises(MediaError, match=r"is cut off|cannot be opened as mp4"):
        open_container(path, "mp4")
    with pytest.raises(MediaError):
        probe(path, "mp4", backend="decord")


@pytest.mark.parametrize(
    "url", ["http://host/x.mp4", "https://host/x.mp4", "concat:a.mp4|b.mp4", "file:x.mp4", "rtsp://host/x", "pipe:0"]
)
def test_urls_are_refused(url: str) -> None:
    with pytest.raises(MediaError, match="is a URL; only files of this machine"):
        read_clip(url)
    with pytest.raises(MediaError, match="is a URL"):
        read_sound(url)


def test_a_file_named_like_a_protocol_is_just_a_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(target.parent)
    target.rename(target.with_name("concat:a.mp4"))
    for backend in ("av", "decord"):
        assert read_clip("concat:a.mp4", silent_ok=True, backend=backend).num_frames == 1


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"just some text", "no container that is read here"),
        (b"%PDF-1.7 ....", "no container"),
        (b"PK\x03\x04" + bytes(30), "no container"),
        (b"RIFF\x10\0\0\0ACON" + bytes(30), "no container"),
        (b"\xff\xff\xff\x7fftypisom" + bytes(30), "no container"),  # a box of 4 GB
        (b"\x1aE\xdf\xa3\x84aaaa#EXTM3U", "no container"),  # EBML of no known kind
        (b"\x00\x00\x00\x08ftyp", "no container"),
    ],
)
def test_other_bytes_are_refused(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=told):
        sniff(path)


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    for name in ("pipe", "socket"):
        with pytest.raises(MediaError, match="is a pipe, socket or device"):
            read_clip(tmp_path / name)
    server.close()
    with pytest.raises(MediaError, match="is a pipe, socket or device"):
        sniff("/dev/zero")
    with pytest.raises(MediaError, match="is a folder"):
        sniff(tmp_path)
    with pytest.raises(MediaError, match="No such file"):
        sniff(tmp_path / "nothing.mp4")
    with pytest.raises(MediaError, match="cannot be read"):
        sniff("x\0.mp4")


def test_a_wrong_family_is_told(tmp_path: Path, target: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
    with pytest.raises(MediaError, match=r"is wav, no video. For single frames give their folder"):
        read_clip(tmp_path / "a.wav")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match="is png, which holds no sound"):
        read_sound(tmp_path / "a.png")
