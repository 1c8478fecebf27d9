"""Cutie as a propagator, run by the installed package ``rf-cutie``; it hears nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CheckpointError, CoPropError, MissingExtra
from ..parts import part
from ..structures import Clip
from ..weights.checkpoint import load_into, read_state_dict
from ..weights.device import choose_device
from .base import PropagationTask, Propagator, both_ways

FORM_OF_WIDTH = {1024: "base", 256: "small"}  # the last encoder stage that is read: of ResNet-50, of ResNet-18


@part(
    "propagator",
    "cutie",
    needs="checkpoint=, the authors' file",
    extra="cutie",
    weights="published by the authors of Cutie under MIT, cutie-base-mega.pth and others",
    example="checkpoint=cutie-base-mega.pth",
)
class Cutie(Propagator):
    """Cutie (Cheng et al., CVPR 2024) follows the objects of the anchor mask, forwards and backwards from the anchor.

    Each direction of each task begins with the anchor alone in memory, which holds a few frames at most, however long
    the task.

    Args:
        checkpoint: the published file, ``base`` or ``small`` (its shapes tell), or a state dict.
        short_side_px: larger frames are shrunk to it for the network (published: 480).
        memory_every: every so many frames one is remembered (published: 5).
        device: ``auto``, ``cpu``, ``cuda``, …
        trust_pickle: see :func:`coprop_plugin.weights.checkpoint.read_state_dict`.

    Raises:
        MissingExtra: ``rf-cutie`` is not installed (PyPI's ``cutie`` is something else).
        CheckpointError: no checkpoint, or one that is unsafe, damaged or of another model.
        CoPropError: an option outside its range.
    """

    def __init__(
        self,
        *,
        checkpoint: str | Path | Mapping[str, Tensor] | None = None,
        short_side_px: int = 480,
        memory_every: int = 5,
        device: str = "auto",
        trust_pickle: bool = False,
    ) -> None:
        if short_side_px < 32 or memory_every < 1:
            raise CoPropError(
                f"cutie takes short_side_px from 32 and memory_every from 1 on, got {short_side_px} and {memory_every}."
            )
        if not checkpoint:
            raise CheckpointError(
                "cutie needs its weights, and none are shipped: give checkpoint=FILE (--propagator-checkpoint FILE), "
                "cutie-base-mega.pth as its authors publish it."
            )
        if isinstance(checkpoint, Mapping):
            self.network = _network(checkpoint, what="the state dict")
        else:
            self.network = _network(read_state_dict(checkpoint, trust_pickle=trust_pickle), what=f"'{checkpoint}'")
        self.network.cfg.max_internal_size, self.network.cfg.mem_every = short_side_px, memory_every
        self.network.to(choose_device(device))

    def propagate(self, clip: Clip, tasks: Iterable[PropagationTask]) -> Iterator[np.ndarray]:
        for task in tasks:
            yield both_ways(clip, task, partial(self._follow, clip, task))

    def _follow(self, clip: Clip, task: PropagationTask, frames: range) -> Iterator[tuple[int, np.ndarray]]:
        """``(t, (K+1, H, W))`` of the frames on one side of the anchor, away from it."""
        from cutie.inference.inference_core import InferenceCore

        core = InferenceCore(self.network, cfg=self.network.cfg)
        core.memory.top_k = min(core.memory.top_k, _cells(clip.size, core.max_internal_size))
        device = next(self.network.parameters()).device

        def step(t: int, **given: Any) -> Tensor:
            picture = torch.tensor(np.asarray(clip.frames[t]), device=device).permute(2, 0, 1).float() / 255
            with torch.inference_mode():
                return core.step(picture, **given)

        labels = torch.from_numpy(task.mask.argmax(axis=0))[None, None].float()
        at_frame = F.interpolate(labels, clip.size, mode="nearest-exact")[0, 0].long().to(device)
        shown: list[int] = at_frame[at_frame > 0].unique().tolist()
        if not shown:  # smaller than a pixel of the frame
            return
        step(task.anchor, mask=at_frame, objects=shown)
        for t in frames:
            found = step(t, end=t == frames[-1])
            mask = np.zeros(task.mask.shape, np.float32)
            size = mask.shape[1:]
            mask[[0, *shown]] = F.interpolate(found[None], size, mode="bilinear", align_corners=False)[0].cpu().numpy()
            yield t, mask


def _cells(size: tuple[int, int], short_side_px: int) -> int:
    """Cells of 16 x 16 pixels of one frame: a small one has fewer than the matches that are read."""
    scale = min(1.0, short_side_px / min(size))
    height, width = (-(-int(side * scale) // 16) for side in size)
    return height * width


def _network(state: Mapping[str, Tensor], *, what: str) -> Any:
    """Cutie with these weights, and its published settings, in the form that the weights are of."""
    try:
        from cutie.model.cutie import CUTIE
        from cutie.model.utils import resnet
    except ImportError as error:
        raise MissingExtra("rf-cutie", "cutie", "the propagator 'cutie'") from error
    width = state["pix_feat_proj.weight"].shape[1] if "pix_feat_proj.weight" in state else 1024
    if width not in FORM_OF_WIDTH:
        raise CheckpointError(f"{what}: an encoder with {width} channels is in no published form of Cutie.")
    # Its constructor would download ImageNet's weights, which the checkpoint replaces.
    without: dict[str, Any] = {name: _untrained(getattr(resnet, name)) for name in ("resnet18", "resnet50")}
    with patch.multiple(resnet, **without):
        network = CUTIE(_settings(FORM_OF_WIDTH[width]))
    load_into(network, state, what=what)
    return network.eval().requires_grad_(False)


def _untrained(make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **options: partial(make, **options)(pretrained=False)


def _settings(form: str) -> Any:
    """What the package's ``eval_config.yaml`` says, with the model of this form and DAVIS' rule of memory."""
    from importlib.resources import files

    from omegaconf import OmegaConf

    def read(name: str) -> Any:
        return OmegaConf.create((files("cutie") / "config" / name).read_text(encoding="utf-8"))

    settings, model = read("eval_config.yaml"), read("model/base.yaml")
    for key in ("defaults", "hydra"):
        settings.pop(key, None)
    if form != "base":
        model = OmegaConf.merge(model, read(f"model/{form}.yaml"))
    return OmegaConf.merge(settings, {"model": model, "use_long_term": False, "mem_every": 5})
