"""VCT against its published code: every published case, every intermediate value, and mistakes that a case must catch."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from adapter_cases import SHARP, assert_close, assert_labels, published, read_case
from vct_cases import inputs_of, network_of, pictures_of, run_watched

from coprop_plugin.adapters.vct import maskige
from coprop_plugin.layers.mask2former import class_scores

STRIDES = re.compile(r"i\.(?P<name>[a-z_0-9]+?)(?P<steps>(_[cqs]\d+)*)")


@published("vct_")
def test_vct(layout: str, case: str) -> None:
    data = read_case(case)
    frames, pictures = pictures_of(data)
    for ours, stored in ((frames, "images_s8"), (pictures, "pre_masks_s8")):
        np.testing.assert_array_equal(ours.transpose(0, 3, 1, 2)[:, :, ::8, ::8], data[stored])
    network = network_of(layout, data)
    output, values = run_watched(network, inputs_of(data))
    s = int(data["mask_stride"])
    for name in filter(lambda name: name.startswith("i."), data):
        compare_inside(values, name, data[name])
    assert_close(output.classes, data["class_queries_logits"], "class_queries_logits", within=SHARP)
    assert_close(output.masks[:, :, ::s, ::s], data["masks_queries_logits"], "masks_queries_logits", within=SHARP)
    with torch.inference_mode():
        scores = class_scores(output, tuple(data["size"].tolist()))
    assert_labels(scores.argmax(1), data["label_map"], "label_map", equal=0.9999)
    best = scores.topk(2, dim=1).values
    derived = {
        "post_scores_s4": scores[:, :, ::4, ::4],
        "fscore_input_s4": (scores[:, 1] - scores[:, 0]).sigmoid()[:, ::4, ::4],
        "post_margin_s4": (best[:, 0] - best[:, 1])[:, ::4, ::4],
        "post_scores_f0_s16": scores[0, :, ::16, ::16],
    }
    for name in derived.keys() & data.keys():
        assert_close(derived[name], data[name], name)


def compare_inside(values: dict[str, torch.Tensor], name: str, stored: np.ndarray) -> None:
    """Hold an intermediate value against the stored one, which was taken in the steps that its name tells."""
    if name == "i.opened_rows":
        return  # where a row was opened, its share of blocked keys is 0
    match = STRIDES.fullmatch(name)
    assert match and match["name"] in values, f"{name}: no test knows it"
    ours = values[match["name"]]
    steps = {kind: int(step) for kind, step in re.findall(r"_([cqs])(\d+)", match["steps"])}
    if "q" in steps:
        ours = ours[..., :: steps["q"], :: steps.get("c", 1)]
    elif "s" in steps and match["name"] == "assigned":
        ours = ours[:, :: steps["s"], :: steps["s"]]
    elif "c" in steps:
        s = steps.get("s", 1)
        ours = ours[:, :: steps["c"], ::s, ::s]
    if match["name"].startswith("assigned"):
        np.testing.assert_array_equal(ours.numpy(), stored, err_msg=name)
    else:
        assert_close(ours, stored, name)


@pytest.mark.needs("reference")
@pytest.mark.parity("maskige.npz")
def test_maskige() -> None:
    data = read_case("maskige")
    np.testing.assert_array_equal(maskige.PALETTE, data["palette"])
    names = sorted({name.partition(".")[0] for name in data if name.endswith(".index")})
    for name in names:
        size = data[f"{name}.index"].shape
        masks = np.zeros((0, *size), np.uint8)
        if f"{name}.masks_packed" in data:
            masks = np.unpackbits(data[f"{name}.masks_packed"], axis=-1)[..., : size[1]]
            assert masks.shape == tuple(data[f"{name}.masks_shape"])
        indices = maskige.segment_indices(masks, size)
        picture = maskige.coloured(indices)
        np.testing.assert_array_equal(indices, data[f"{name}.index"], err_msg=name)
        np.testing.assert_array_equal(picture, data[f"{name}.rgb"], err_msg=name)
        for key in filter(lambda key: re.fullmatch(rf"{name}\.rgb384_s\d+", key), data):
            step = int(key.rpartition("_s")[2])
            np.testing.assert_array_equal(maskige.resized(picture, (384, 384))[::step, ::step], data[key])
