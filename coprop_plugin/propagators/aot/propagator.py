"""The propagator part: tasks in, probabilities out, many segments of one or several clips at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ...errors import CheckpointError, CoPropError
from ...parts import part
from ...structures import Clip
from ...weights.checkpoint import check_finite, read_state_dict
from ...weights.device import choose_device
from ..base import PropagationTask, Propagator, check_range
from ..guides import AudioFeatures, make_guide
from .config import AOTConfig, config_of
from .engine import Engine
from .frames import FrameEncoder, num_active
from .lockstep import LockStep
from .memory import DEFAULT_MEMORY_FRAMES, MemoryRule
from .network import AOTNetwork
from .preprocess import MAX_SIDE_PX, most_likely, nearest
from .runs import Run, runs_of
from .runtime import Precision, check_precision, inference, prepare
from .stream import Stream
from .variants import VARIANTS


@part(
    "propagator",
    "aot",
    presets={
        "aott": "AOT-T: MobileNetV2, one layer, remembers the anchor and the last frame; the fastest.",
        "aots": "AOT-S: MobileNetV2, two layers, remembers the anchor and the last frame.",
        "aotb": "AOT-B: MobileNetV2, three layers, remembers the anchor and the last frame.",
        "aotl": "AOT-L: MobileNetV2, three layers, remembers every fifth frame.",
        "r50_aotl": "R50-AOT-L: ResNet-50, three layers, remembers every fifth frame; the paper's propagator.",
        "swinb_aotl": "SwinB-AOT-L: Swin-B, three layers, remembers every fifth frame; the most exact and the slowest.",
        "r50_deaotl": "R50-DeAOT-L: ResNet-50, three gated layers, remembers every fifth frame.",
    },
    preset_option="model",
    needs="checkpoint=, published weights or some trained here",
    weights="published by the authors of AOT and DeAOT",
    example="checkpoint=R50_AOTL.pth",
)
class AOT(Propagator):
    """AOT or DeAOT, with the sound inserted where the checkpoint holds an audio insert (paper section 3.4).

    Each task begins with an empty memory. Up to ``batch`` tasks advance in lock step, forwards and backwards at
    once; more than ten objects take several identity groups, merged as published. A frame that several tasks of a
    clip cross, in this call or a later one, is encoded once: the encoder's maps of the frames seen last are kept
    (256 MB on a CPU, 2 GB on a GPU at most), so a clip's frames must not change.

    Args:
        model: a published model: aott, aots, aotb, aotl, r50_aotl (the paper's), swinb_aotl or r50_deaotl.
        checkpoint: its weights: the published file, one trained here, or a state dict.
        device: ``auto``, ``cpu``, ``cuda``, …
        precision: of products and convolutions; half precisions are for GPUs.
        compile: compile the network on first use (minutes); pays for many clips of one size.
        batch: tasks that advance together.
        max_memory_frames: long-term frames that are kept, the first always among them; ``None`` keeps all, as
            published, and grows with the length of a segment. Bytes a frame: 2 x layers x tokens x 256 x 4.
        max_side_px: longer frames are shrunk to it for the network (published: 1040).
        short_side_px: what the shorter side is made, of small frames too; ``None``, as published: as it comes.
        audio: what a checkpoint with an audio insert hears: ``"vggish"``, ``"text"`` (the segments' category words
            instead), or a function that gives a clip's ``(T, D)`` features.
        audio_checkpoint: VGGish's weights, or the folder of the text model.
        trust_pickle: see :func:`coprop_plugin.weights.checkpoint.read_state_dict`.

    Raises:
        CoPropError: unknown model, device or precision; audio without an insert, or an insert without audio.
        CheckpointError: no checkpoint, or one that is unsafe, damaged or of another model.
    """

    variants = VARIANTS

    def __init__(
        self,
        model: str = "r50_aotl",
        *,
        checkpoint: str | Path | Mapping[str, torch.Tensor] | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        compile: bool = False,
        batch: int = 16,
        max_memory_frames: int | None = DEFAULT_MEMORY_FRAMES,
        max_side_px: int = MAX_SIDE_PX,
        short_side_px: int | None = None,
        audio: str | AudioFeatures | None = None,
        audio_checkpoint: str | Path | None = None,
        trust_pickle: bool = False,
    ) -> None:
        if batch < 1 or min(max_side_px, max_side_px if short_side_px is None else short_side_px) < 32:
            raise CoPropError(
                f"AOT takes batch >= 1, max_side_px >= 32 and short_side_px >= 32 or none; got {batch}, {max_side_px} and "
                f"{short_side_px}."
            )
        config = config_of(model)
        self.name: str = model
        self._batch = batch
        self._device, self._precision = choose_device(device), check_precision(precision)
        if checkpoint is None:
            raise CheckpointError(
                f"{model} needs its weights, and none are shipped: give checkpoint=FILE (--propagator-checkpoint FILE), "
                "the file that AOT's authors publish or one trained here."
            )
        if isinstance(checkpoint, Mapping):
            state, what = checkpoint, "the state dict"
            check_finite(state, what=what)
        else:
            state, what = read_state_dict(checkpoint, trust_pickle=trust_pickle), f"'{checkpoint}'"
        network = self._network(config, state, what)
        self._guide = make_guide(network.audio_insert, audio, audio_checkpoint)
        network = prepare(network, self._device, compile_network=compile)
        self._engine = Engine(network, rule=MemoryRule(config.memory_gap, max_memory_frames))
        self._encoder = FrameEncoder(network, max_side_px=max_side_px, short_side_px=short_side_px)

    def _network(self, config: AOTConfig, state: Mapping[str, torch.Tensor], what: str) -> AOTNetwork:
        return AOTNetwork.from_state(config, state, what=what)

    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        """One ``(stop - start, K+1, H, W) float32`` probability array per task, in order, at the mask's size.

        Raises:
            CoPropError: a task outside the clip, or a frame of another size than the clip's.
        """
        return self.propagate_many((clip, task) for task in tasks)

    def propagate_many(self, tasks: Iterable[tuple[Clip, PropagationTask]]) -> Iterator[np.ndarray]:
        """As :meth:`propagate`, for tasks of several clips; those with frames of one size advance together."""
        tasks = iter(tasks)
        while batch := list(islice(tasks, self._batch)):
            results: list[np.ndarray] = []
            runs: defaultdict[tuple[int, int], list[Run]] = defaultdict(list)
            for clip, task in batch:
                result, ways = runs_of(clip, check_range(clip, task), self._guide)
                results.append(result)
                runs[clip.size] += ways
            for same_size in runs.values():
                if same_size:
                    self._advance(sorted(same_size, key=len, reverse=True))
            yield from results

    def stream(self, frame: np.ndarray, mask: np.ndarray, *, audio: np.ndarray | None = None) -> Stream:
        """Begin at an anchor frame ``(H, W, 3) uint8`` with its mask; then call ``step(frame)`` for each next frame."""
        return Stream(self._engine, self._encoder, self._context, frame=frame, mask=mask, audio=audio)

    def _advance(self, runs: Sequence[Run]) -> None:
        """Fill in the results of runs on frames of one size, the longest first."""
        frame_size = runs[0].clip.size
        network_size, label_size = self._encoder.network_size(frame_size), self._encoder.label_size(frame_size)
        labels = torch.stack([nearest(run.anchor.labels, network_size) for run in runs])
        with self._context():
            steps = self._encoder.steps(runs)
            lockstep = LockStep(
                self._engine, next(steps), labels.to(self._device), [len(run.anchor.objects) for run in runs]
            )
            for step, features in enumerate(steps, start=1):
                lockstep.step(features)
                sizes = {label_size, *(run.anchor.size for run in runs[: len(lockstep)])}
                masks = {size: lockstep.probability(size) for size in sizes}
                going_on = num_active(runs, step + 1)
                fed = most_likely(masks[label_size][:going_on])
                _write(runs[: len(lockstep)], step, masks)
                if going_on:
                    lockstep.keep(going_on)
                    lockstep.feed(nearest(fed, network_size))

    def _context(self) -> AbstractContextManager[None]:
        return inference(self._device, self._precision)


def _write(runs: Sequence[Run], step: int, masks: Mapping[tuple[int, int], torch.Tensor]) -> None:
    """Each run's mask of a step, at the size that it was given."""
    on_host = {size: probability.cpu().numpy() for size, probability in masks.items()}
    for row, run in enumerate(runs):
        run.write(step, on_host[run.anchor.size][row])
