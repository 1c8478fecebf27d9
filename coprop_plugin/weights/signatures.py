"""Which published model a state dict looks like, by names that no other model has."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def looks_like(state: Mapping[str, Tensor]) -> str | None:
    """A model's name for an error message (``"r50_aotl"``, ``"AVSegFormer (PVT-v2)"``), or ``None``."""
    if "patch_wise_id_bank.weight" in state:
        return _aot(state)
    backbone = _backbone(state)
    for name, model in (
        ("head.query_generator.query.weight", "AVSegFormer"),
        ("obj_queries.weight", "CATR"),
        ("tpavi_b1.g.weight", "AVSBench's TPAVI baseline"),
    ):
        if name in state:
            return f"{model} ({backbone})" if backbone else model
    if any(name.startswith("model.model.pixel_level_module.") for name in state):
        return "AAVS (Stepping-Stones)"
    if "embeddings.4.weight" in state and "features.0.weight" in state:
        return "VGGish"
    if "pca_eigen_vectors" in state:
        return "VGGish's PCA"
    return f"a {backbone} backbone" if backbone else None


def _aot(state: Mapping[str, Tensor]) -> str:
    """The member of the AOT family; aotb and aotl share one layout."""
    num_layers = sum(name.startswith("LSTT.layers.") and name.endswith(".norm1.weight") for name in state)
    family = "deaot" if "LSTT.layers.0.linear_QV.weight" in state else "aot"
    size = {1: "t", 2: "s", 3: "l"}.get(num_layers, f" with {num_layers} layers")
    if "encoder.layer3.22.conv1.weight" in state:
        return f"r101_{family}{size}"
    if "encoder.layer1.0.conv1.weight" in state:
        return f"r50_{family}{size}"
    if "encoder.patch_embed.proj.weight" in state:
        return f"swinb_{family}{size}"
    return f"{family}{size}"


def _backbone(state: Mapping[str, Tensor]) -> str | None:
    for name in state:
        if name.endswith("patch_embed4.proj.weight"):
            return "PVT-v2"
        if name.endswith(("layer4.0.conv1.weight", "layer4_1.0.conv1.weight")):
            return "ResNet"
    return None
