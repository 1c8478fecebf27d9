"""Does flow help what moves, and text what stands still? SSP's Table 2 in small, on clips of real objects and sounds.

    python benchmarks/ssp.py --library objects --runs runs            # the same command goes on where it stopped
    python benchmarks/ssp.py --runs runs --table     # results/ssp.json and the table of RESULTS_ssp.md, of what is there

Half of the objects stand still under a camera that stands; the others move. One small AAVS a seed is trained from
scratch, then every row goes on from it for the same number of steps on the same clips. Judged are frames of clips that
were never trained on, of objects that were (``seen``) and of the library's test split (``unseen``): J and F of what
moves and sounds, and of what stands and sounds, apart. Answers are written by a rule that knows the truth and errs
(a sounding object is left out in a tenth of the cases, a silent one named in a fifth): a better model of pictures and
sound than any. The encoders of text and frames are small and random; CLIP stays frozen, BERT is trained.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pages import put
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, BertTokenizer, CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from coprop_plugin.adapters.aavs.network import STAGE_1
from coprop_plugin.adapters.images import normalise
from coprop_plugin.adapters.ssp.align import TextConfig
from coprop_plugin.adapters.ssp.encoders import Encoders, bert_sizes
from coprop_plugin.adapters.ssp.network import Ssp
from coprop_plugin.adapters.ssp.pre_mask import floored
from coprop_plugin.datasets.made import made_clips
from coprop_plugin.datasets.synthetic import SyntheticClip
from coprop_plugin.language.answers import SavedAnswers
from coprop_plugin.layers.mask2former import resize
from coprop_plugin.metrics.bootstrap import paired_bootstrap
from coprop_plugin.propagators.flow_sources import Dis
from coprop_plugin.propagators.guides import LOG_MEL_DIM, log_mel_features
from coprop_plugin.propagators.motion import MotionMasks
from coprop_plugin.structures import Clip
from coprop_plugin.training.loop import train
from coprop_plugin.training.schedule import Schedule
from coprop_plugin.training.sequences import LabelledClip
from coprop_plugin.training.ssp import SspRule, SspTraining
from coprop_plugin.training.ssp_clips import SspClips
from coprop_plugin.training.ssp_start import starting_ssp
from coprop_plugin.training.state import WEIGHTS

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "ssp.json"
KIND, RENDERED, SIZE = "ms3", (128, 128), (64, 64)
SIZES = replace(
    STAGE_1,
    queries=8,
    embed_dim=32,
    depths=(1, 1, 2, 1),
    heads=(1, 2, 4, 8),
    window=4,
    encoder_layers=1,
    encoder_hidden=128,
    decoder_layers=3,
    decoder_hidden=128,
    channels=64,
)
PARTS = {"train": ("train", 0, 95), "seen": ("train", 50_000, 50_023), "unseen": ("test", 0, 23)}
MISSED, INVENTED = 0.1, 0.2
SEEDS = (0, 1)
START = Schedule(steps=300, batch=2, learning_rate=6e-4, final_rate=1e-4, save_every=50)
GO_ON = Schedule(steps=150, batch=2, learning_rate=4e-4, final_rate=5e-5, save_every=50)
FRAMES = 2  # of a clip in a step


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        pre_mask, post_weight: as in :class:`SspRule`.
        text: how texts are aligned; empty: none.
    """

    name: str
    pre_mask: str = "off"
    post_weight: float = 0.0
    text: str = ""


ROWS = (
    Row("AAVS"),
    Row("+ pre-mask", "truth"),
    Row("+ pre-mask + post-mask", "truth", 10.0),
    Row("+ texts, no VTA", text="attention"),
    Row("+ texts with VTA", text="vta"),
    Row("all", "truth", 10.0, "vta"),
)


class Resting:
    """Made clips of which half of the objects stand still, with binary truth."""

    def __init__(self, library: str, part: str) -> None:
        split, first, last = PARTS[part]
        self.made = made_clips(f"objects:{library}:{split}:{KIND}:{first}-{last}")

    def __len__(self) -> int:
        return len(self.made.seeds)

    @cache  # noqa: B019 - as long as the script runs
    def truth(self, item: int) -> list[tuple[np.ndarray, list[int], list[int]]]:
        """Of each frame: object ids at the size of the network, the sounding objects that rest, and that move."""
        made = self.clip(item)
        scene, frames = made.scene, []
        for t in range(made.clip.num_frames):
            ids = cv2.resize(scene.instance_map(t), SIZE[::-1], interpolation=cv2.INTER_NEAREST)
            on = [o for o, sounds in zip(scene.object_ids, scene.sounding[t], strict=True) if sounds]
            frames.append((ids, [o for o in on if o in made.resting], [o for o in on if o not in made.resting]))
        return frames

    def clip(self, item: int) -> SyntheticClip:
        return self.made.make(self.made.seeds[item], size=RENDERED, between_hz=2, rest_share=0.5)

    def __getitem__(self, item: int) -> LabelledClip:
        made = self.clip(item)
        labels = np.stack([made.scene.label_map(t) for t in range(made.clip.num_frames)])
        return LabelledClip(made.clip, labels, made.scene.control_points().flags)

    def describe(self) -> dict[str, object]:
        return {**self.made.describe(), "rest_share": 0.5}


def answers_of(made: SyntheticClip) -> list[str]:
    """What a model that errs would say: A1 names all that is visible, A2 what sounds at some time."""
    rng = np.random.default_rng(zlib.crc32(made.clip.clip_id.encode()))
    scene, said, named = made.scene, [], []
    for column, object_id in enumerate(scene.object_ids):
        noun = scene.names[scene.object_class[object_id]].replace("_", " ")
        said.append(f"a {noun} {'stands' if object_id in made.resting else 'moves'}")
        if rng.random() < (1 - MISSED if scene.sounding[:, column].any() else INVENTED):
            named.append(noun)
    return [", ".join(said) + ".", ", ".join(named or ["nothing"]) + "."]


def heard(clip: Clip) -> torch.Tensor:
    """``(T, 128)``: log-mel statistics of each frame's sound, filled up with zeros; no weights are needed."""
    return torch.nn.functional.pad(torch.from_numpy(log_mel_features(clip)), (0, 128 - LOG_MEL_DIM))


def encoders(folder: Path, words: list[str]) -> Encoders:
    """Small random ones; made once."""
    if not (folder / "clip" / "config.json").is_file():
        torch.manual_seed(0)
        (folder / "bert").mkdir(parents=True, exist_ok=True)
        vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
        (folder / "bert" / "vocab.txt").write_text("\n".join(vocab))
        BertTokenizer(str(folder / "bert" / "vocab.txt")).save_pretrained(folder / "bert")
        sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
        BertModel(BertConfig(vocab_size=len(vocab), max_position_embeddings=128, **sizes)).save_pretrained(
            folder / "bert"
        )
        sizes |= {"image_size": 32, "patch_size": 16}
        CLIPVisionModel(CLIPVisionConfig(**sizes)).save_pretrained(folder / "clip")
        side = {"height": 32, "width": 32}
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side).save_pretrained(folder / "clip")
    return Encoders(folder / "bert", folder / "clip", device="cpu")


def prepared(library: str, folder: Path) -> dict[str, SspClips]:
    """The clips of each part, with texts."""
    sources = {part: Resting(library, part) for part in PARTS}
    said = {
        (made := source.clip(i)).clip.clip_id: answers_of(made)
        for source in sources.values()
        for i in range(len(source))
    }
    words = sorted(
        {w for pair in said.values() for text in pair for w in text.replace(",", "").replace(".", "").split()}
    )
    read = encoders(folder, [*words, ",", "."])
    motion = MotionMasks(Dis(max_gap_s=0.5))
    options = {"size": SIZE, "heard": heard, "motion": motion, "answers": SavedAnswers(said), "encoders": read}
    return {part: SspClips(source, **options) for part, source in sources.items()}  # type: ignore[arg-type]


def without_texts(clips: SspClips) -> SspClips:
    """The same clips, prepared once for both."""
    plain = copy.copy(clips)
    plain.answers = plain.encoders = None
    return plain


def trained(row: Row, seed: int, clips: SspClips, runs: Path, start: Path | None) -> Path:
    """The weights of a row; ``start`` is the shared beginning, or ``None`` for the beginning itself."""
    text, known = None, clips if row.text else without_texts(clips)
    if row.text:
        assert clips.encoders is not None
        text = TextConfig(bert_sizes(clips.encoders.text_folder), clips.encoders.vision_dim, row.text)  # type: ignore[arg-type]
    network, _ = starting_ssp(
        1, sizes=SIZES, text=text, gate=1.0, seed=seed, text_encoder=clips.encoders.text_folder if row.text else None
    )
    if start is not None:
        state = network.state_dict()
        network.load_state_dict({**state, **load_file(start)})
    rule = SspRule(row.pre_mask, row.post_weight, "all", second_phase=0.0, points=0, frames=FRAMES)  # type: ignore[arg-type]
    schedule = replace(START if start is None else GO_ON, seed=seed)
    folder = runs / f"{'start' if start is None else row.name.replace(' ', '')}_{seed}"
    train(SspTraining(network, known, rule), folder, schedule=schedule)
    return folder / WEIGHTS


@torch.inference_mode()
def measured(network: Ssp, clips: SspClips, *, pre_mask: str) -> Iterator[dict[str, float]]:
    """J and F of moving and of resting sounding objects, and the share of a silent frame that is marked, a clip each."""
    for item in range(len(clips)):
        one = clips[item]
        batch = clips.batch([item], [np.arange(len(one.frames))], torch.device("cpu"))
        weights = None if pre_mask == "off" else batch.moving if pre_mask == "flow" else floored(batch.moving)
        output = network(normalise(batch.frames), batch.heard, pre_mask=weights, texts=batch.texts)
        masks = resize(output.masks, SIZE).sigmoid()
        said = torch.einsum("nqc,nqhw->nchw", output.classes.softmax(-1)[..., :-1], masks).argmax(1).numpy() == 1
        yield _of_clip(said, clips.source.truth(item))  # type: ignore[attr-defined]


def _of_clip(said: np.ndarray, truth: list[tuple[np.ndarray, list[int], list[int]]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for guess, (ids, resting, moving) in zip(said, truth, strict=True):
        rests, moves = np.isin(ids, resting), np.isin(ids, moving)
        if not resting and not moving:
            values.setdefault("marked in silence", []).append(float(guess.mean()))
        for name, true, other in (("still", rests, moves), ("moving", moves, rests)):
            if true.any():
                own = guess & ~other
                both, either = (own & true).sum(), (own | true).sum()
                precision, recall = both / max(own.sum(), 1), both / true.sum()
                values.setdefault(f"J {name}", []).append(float(both / either))
                values.setdefault(f"F {name}", []).append(
                    float(1.3 * precision * recall / max(0.3 * precision + recall, 1e-9))
                )
    return {name: float(np.mean(each)) for name, each in values.items()}


def run(args: argparse.Namespace) -> None:
    args.runs.mkdir(parents=True, exist_ok=True)
    begun = time.process_time()
    clips = prepared(args.library, args.runs / "encoders")
    (args.runs / "about.json").write_text(
        json.dumps(
            {"start": asdict(START), "go_on": asdict(GO_ON), "data": {p: c.source.describe() for p, c in clips.items()}}
        )
    )
    for each in clips.values():  # with texts, so that rows without them find the same
        for item in range(len(each)):
            each[item]
    print(f"prepared: {time.process_time() - begun:.0f} s of CPU", file=sys.stderr, flush=True)
    for seed in SEEDS:
        start = trained(Row("AAVS"), seed, clips["train"], args.runs, None)
        for row in ROWS:
            file = args.runs / f"{row.name.replace(' ', '')}_{seed}.json"
            if file.is_file():
                continue
            weights = load_file(trained(row, seed, clips["train"], args.runs, start))
            text = TextConfig(bert_sizes(clips["train"].encoders.text_folder), 64, row.text) if row.text else None  # type: ignore[arg-type, union-attr]
            network, _ = starting_ssp(1, sizes=SIZES, text=text)
            network.load_state_dict(weights)
            modes = ("off",) if row.pre_mask == "off" else ("flow", "floor")
            found = {
                f"{part} {mode}": list(
                    measured(network.eval(), clips[part] if row.text else without_texts(clips[part]), pre_mask=mode)
                )
                for part in ("seen", "unseen")
                for mode in modes
            }
            file.write_text(json.dumps(found))
            print(f"{row.name}, seed {seed}: {time.process_time() - begun:.0f} s of CPU", file=sys.stderr, flush=True)


def collected(runs: Path) -> dict[str, Any]:
    """Every row and mode beside AAVS: means over clips and seeds, with intervals over clips."""
    kept = {(row.name, seed): runs / f"{row.name.replace(' ', '')}_{seed}.json" for row in ROWS for seed in SEEDS}
    read = {key: json.loads(path.read_text()) for key, path in kept.items() if path.is_file()}
    seeds = [seed for seed in SEEDS if all((row.name, seed) in read for row in ROWS)]
    lines = []
    for part in ("seen", "unseen"):
        for row in ROWS:
            for mode in ("off", "flow", "floor"):
                if f"{part} {mode}" not in read.get((row.name, seeds[0] if seeds else -1), {}):
                    continue
                for metric in METRICS:
                    ours, base = (
                        _means([read[name, seed][f"{part} {m}"] for seed in seeds], metric)
                        for name, m in ((row.name, mode), ("AAVS", "off"))
                    )
                    shared = sorted(ours.keys() & base.keys())
                    told = paired_bootstrap(np.array([base[i] for i in shared]), np.array([ours[i] for i in shared]))
                    lines.append(
                        {"clips": part, "row": row.name, "test pre-mask": mode, "metric": metric, **told.as_dict()}
                        | {"worst": min(ours[i] - base[i] for i in shared)}
                    )
    return {"about": json.loads((runs / "about.json").read_text()), "seeds": seeds, "lines": lines}


def _means(runs: list[list[dict[str, float]]], metric: str) -> dict[int, float]:
    """Clip -> its mean over seeds, where the metric is defined."""
    return {i: float(np.mean([run[i][metric] for run in runs])) for i in range(len(runs[0])) if metric in runs[0][i]}


METRICS = ("J moving", "J still", "F moving", "F still", "marked in silence")


def table(found: dict[str, Any]) -> str:
    """Percent; the difference to AAVS with its interval, and the clips whose J fell by more than rounding."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for line in found["lines"]:
        told = f"{100 * line['after']:.1f}"
        each = rows.setdefault((line["clips"], line["row"], line["test pre-mask"]), {})
        if line["row"] != "AAVS":
            told += f" ({100 * line['delta']:+.1f}; {100 * line['low']:+.1f} to {100 * line['high']:+.1f})"
            each[f"harm {line['metric']}"] = f"{line['worse']} of {line['videos']}, {100 * line['worst']:+.0f}"
        each[line["metric"]] = told
    columns = (*METRICS, "harm J moving", "harm J still")
    heads = (*METRICS, "J moving: worse, worst", "J still: worse, worst")
    text = [f"| objects | row | pre-mask at test | {' | '.join(heads)} |", "|" + "---|" * (3 + len(heads))]
    text += [f"| {' | '.join(key)} | {' | '.join(each.get(c, '') for c in columns)} |" for key, each in rows.items()]
    return "\n".join(text)


def written(found: dict[str, Any]) -> str:
    """As JSON, a number a line."""
    head = json.dumps({key: value for key, value in found.items() if key != "lines"})
    return head[:-1] + ', "lines": [\n' + ",\n".join(json.dumps(line) for line in found["lines"]) + "\n]}\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", help="of objects, made by `coprop data objects`")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings")
    parser.add_argument(
        "--table", action="store_true", help="write the stored results and the page's table from what is there"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.table:
        results = collected(given.runs)
        RESULTS.write_text(written(results), encoding="utf-8")
        put(HERE / "RESULTS_ssp.md", "ssp", table(results))
    else:
        run(given)
