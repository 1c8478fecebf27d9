"""The models behind the tagger: each hears a sound and answers with :class:`~coprop_plugin.audio.tags.Tags`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..audio.level import level_of, raised
from ..audio.resample import resample
from ..audio.tags import Tags
from ..errors import CoPropError, unknown_name
from ..structures import AVSBENCH_NAMES, Sound
from ..weights.pretrained import load_model, load_processor, model_folder, read_config

if TYPE_CHECKING:
    import torch

YAMNET, FRAME_LEVEL = "yamnet", "pe_audio"
CLAP_PROMPT = "This is a sound of {label}."
QUERIES = tuple(AVSBENCH_NAMES[1:])
STRETCH_S, CONTEXT_S = 30.0, 2.0  # PE-A-Frame hears so much at once, and so much before and after of what it answers
Tag = Callable[[Sequence[np.ndarray]], np.ndarray]
Ready = Callable[[tuple[str, ...]], tuple[Tag, tuple[str, ...]]]


class Ear(Protocol):
    """A model that tags sounds.

    Attributes:
        hop_s: between its answers.
        asks: whether it answers to any names (``queries``), or knows its own classes alone.
        calls: batches that it heard so far.
    """

    hop_s: float
    asks: bool
    calls: int

    def hear(self, sound: Sound, *, duration_s: float, queries: Sequence[str]) -> Tags:
        """What is heard in the first ``duration_s`` seconds; a very quiet recording is heard raised."""
        ...


def open_ear(
    model: str | Path,
    *,
    path: str | Path | None = None,
    names: str | Path | None = None,
    hop_s: float | None = None,
    device: str = "auto",
    batch_size: int = 16,
) -> tuple[str, Callable[[], Ear]]:
    """The kind of a model, and what loads it; see :class:`~.tagger.Tagger` for the arguments.

    Raises:
        CoPropError: no such model or file, or another kind of model.
    """
    from ..weights.device import choose_device

    if str(model) == YAMNET:
        from ..audio.yamnet_files import class_names, installed_weights

        weights = installed_weights() if path is None else Path(path)
        beside = weights.with_name("yamnet_class_map.csv")
        listed = Path(names) if names is not None else beside if path is not None and beside.is_file() else None
        labels = class_names(listed)
        return YAMNET, lambda: YamNetEar(weights, labels, hop_s=hop_s, device=choose_device(device))
    if path is not None or names is not None:
        raise CoPropError(f"path= and names= are for tagger:model={YAMNET}; a model of transformers is one folder.")
    folder = model_folder(model)
    kind = read_config(folder)["model_type"]
    if kind == FRAME_LEVEL:
        if hop_s is not None:
            raise CoPropError("PE-A-Frame answers at a hop of its own, 0.04 s; leave hop_s out.")
        return kind, lambda: FrameLevelEar(folder, device=choose_device(device))
    if kind not in _KINDS:
        raise unknown_name("tagger model_type", kind, [*_KINDS, FRAME_LEVEL])

    def load() -> Ear:
        ready, rate_hz = _KINDS[kind](folder, choose_device(device))
        return SecondsEar(ready, rate_hz, hop_s=hop_s or 1.0, batch_size=batch_size, asks=kind == "clap")

    return kind, load


class YamNetEar:
    """YAMNet: 521 classes of AudioSet, patches of 0.96 s.

    Args:
        hop_s: between patches; 0.24 where ``None``.
    """

    asks = False

    def __init__(
        self, weights: Path, labels: tuple[str, ...], *, hop_s: float | None, device: torch.device | str = "cpu"
    ) -> None:
        from ..audio.yamnet import HOP_S, YamNet

        self.labels, self.hop_s, self.calls = labels, HOP_S if hop_s is None else hop_s, 0
        self.model = YamNet.load(weights, device=device)

    def hear(self, sound: Sound, *, duration_s: float, queries: Sequence[str] = ()) -> Tags:
        from ..audio.yamnet import BATCH, num_patches

        count = num_patches(duration_s, self.hop_s)
        self.calls += -(-count // BATCH)
        logits, _ = self.model.listen(sound, stop=count, hop_s=self.hop_s)
        return Tags.regular(self.labels, logits, hop_s=self.hop_s)


@dataclass
class SecondsEar:
    """AST or CLAP: windows of a second, each by itself.

    Attributes:
        ready: queries -> what tags sounds, and the labels of its answers.
        rate_hz: of these sounds.
        window_s: length of a window, centred on its hop.
    """

    ready: Ready
    rate_hz: int
    hop_s: float = 1.0
    batch_size: int = 16
    asks: bool = False
    window_s: float = 1.0
    calls: int = 0

    def hear(self, sound: Sound, *, duration_s: float, queries: Sequence[str] = QUERIES) -> Tags:
        tag, labels = self.ready(tuple(queries))
        gain_db = level_of(sound).gain_db
        count = max(1, int(np.ceil(duration_s / self.hop_s - 1e-6)))
        firsts_s = self.hop_s * (np.arange(count) + 0.5) - self.window_s / 2
        rows = []
        for start in range(0, count, self.batch_size):
            self.calls += 1
            pieces = [sound.window(s, s + self.window_s) for s in firsts_s[start : start + self.batch_size].tolist()]
            heard = [resample(raised(piece, gain_db), sound.rate_hz, self.rate_hz) for piece in pieces]
            rows.append(tag([piece.astype(np.float32) for piece in heard]))
        return Tags.of_probabilities(labels, np.concatenate(rows), hop_s=self.hop_s)


class FrameLevelEar:
    """PE-A-Frame (``PeAudioFrameLevelModel``): any text queries, a probability of each every 40 ms."""

    asks = True

    def __init__(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.model = load_model("PeAudioFrameLevelModel", folder, device=device)
        self.extractor = load_processor("PeAudioFeatureExtractor", folder)
        self.tokenizer = load_processor("AutoTokenizer", folder)
        self.device, self.calls = device, 0
        self.rate_hz = int(self.extractor.sampling_rate)
        self.hop_s = self.extractor.hop_length / self.rate_hz

    def hear(self, sound: Sound, *, duration_s: float, queries: Sequence[str] = QUERIES) -> Tags:
        count = max(1, int(np.ceil(duration_s / self.hop_s - 1e-6)))
        gain_db = level_of(sound).gain_db
        asked = self.tokenizer(list(queries), padding=True, return_tensors="pt").to(self.device)
        rows = [self._stretch(sound, start, stop, gain_db, asked) for start, stop in self._stretches(count)]
        return Tags.regular(queries, np.concatenate(rows), hop_s=self.hop_s)

    def _stretches(self, count: int) -> Iterator[tuple[int, int]]:
        length = round(STRETCH_S / self.hop_s)
        for start in range(0, count, length):
            yield start, min(start + length, count)

    def _stretch(self, sound: Sound, start: int, stop: int, gain_db: float, asked: Any) -> np.ndarray:
        """``(stop - start, C)`` logits; heard with what lies before and after."""
        import torch

        before = min(start, round(CONTEXT_S / self.hop_s))
        first, last = start - before, stop + round(CONTEXT_S / self.hop_s)
        samples = resample(
            raised(sound.window(first * self.hop_s, last * self.hop_s), gain_db), sound.rate_hz, self.rate_hz
        )
        # Resampling may lose the last sample; the model hears whole hops.
        samples = np.pad(samples, (0, max(0, round((last - first) * self.hop_s * self.rate_hz) - len(samples))))
        heard = self.extractor([samples.astype(np.float32)], sampling_rate=self.rate_hz, return_tensors="pt")
        self.calls += 1
        with torch.inference_mode():
            answer = self.model(**asked, **heard.to(self.device)).logits_audio_text
        return answer[0].T.float().cpu().numpy()[before : before + stop - start]


def _ast(folder: Path, device: torch.device) -> tuple[Ready, int]:
    import torch

    model = load_model("ASTForAudioClassification", folder, device=device)
    extractor = load_processor("ASTFeatureExtractor", folder)
    named = model.config.id2label
    labels = tuple(str(named[i]) for i in range(len(named)))

    @torch.inference_mode()
    def tag(sounds: Sequence[np.ndarray]) -> np.ndarray:
        heard = extractor(list(sounds), sampling_rate=extractor.sampling_rate, return_tensors="pt")
        return torch.sigmoid(model(heard["input_values"].to(device)).logits.float()).cpu().numpy()

    return lambda queries: (tag, labels), extractor.sampling_rate


def _clap(folder: Path, device: torch.device) -> tuple[Ready, int]:
    import torch

    model = load_model("ClapModel", folder, device=device)
    extractor = load_processor("ClapFeatureExtractor", folder)
    tokenizer = load_processor("AutoTokenizer", folder)

    def unit(embedded: Any) -> torch.Tensor:
        return torch.nn.functional.normalize(getattr(embedded, "pooler_output", embedded).float(), dim=-1)

    @torch.inference_mode()
    def ready(queries: tuple[str, ...]) -> tuple[Tag, tuple[str, ...]]:
        texts = tokenizer([CLAP_PROMPT.format(label=label) for label in queries], padding=True, return_tensors="pt")
        named = unit(model.get_text_features(**texts.to(device)))

        @torch.inference_mode()
        def tag(sounds: Sequence[np.ndarray]) -> np.ndarray:
            heard = extractor(list(sounds), sampling_rate=extractor.sampling_rate, return_tensors="pt").to(device)
            like = unit(model.get_audio_features(**heard)) @ named.T
            return torch.softmax(model.logit_scale_a.float().exp() * like, dim=-1).cpu().numpy()

        return tag, queries

    return ready, extractor.sampling_rate


_KINDS: dict[str, Callable[[Path, Any], tuple[Ready, int]]] = {"audio-spectrogram-transformer": _ast, "clap": _clap}
