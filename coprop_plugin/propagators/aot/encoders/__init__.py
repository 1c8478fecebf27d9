"""Image encoders: an image in, four maps of strides 4, 8, 16 and 16 out."""

from __future__ import annotations

from torch import Tensor, nn

Maps = tuple[Tensor, Tensor, Tensor, Tensor]


def build_encoder(name: str) -> tuple[nn.Module, tuple[int, int, int, int]]:
    """The encoder of a configuration, with random weights, and the channels of its four maps.

    It takes ``(B, 3, H, W)`` normalised images.
    """
    if name == "mobilenet_v2":
        from .mobilenet import MobileNetV2

        return MobileNetV2(), MobileNetV2.widths
    if name == "resnet50":
        from .resnet import ResNet50

        return ResNet50(), ResNet50.widths
    from .swin import SwinB

    return SwinB(), SwinB.widths
