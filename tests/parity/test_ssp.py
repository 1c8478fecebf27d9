"""SSP without its parts, and with new ones at their zero start, is AAVS to the bit, on all of AAVS's cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from adapter_cases import published, read_case, state_of
from rule_weights import rule_state

from coprop_plugin.adapters.aavs import network as aavs
from coprop_plugin.adapters.images import normalise, resize_bilinear
from coprop_plugin.adapters.ssp.adapter import VARIANTS
from coprop_plugin.adapters.ssp.align import TextConfig, Texts
from coprop_plugin.adapters.ssp.bert import BertSizes
from coprop_plugin.adapters.ssp.network import FUSED, Ssp, SspConfig, completed

TEXT = TextConfig(BertSizes(40, 32, 2, 4, 64, 64, 2), vision_dim=24)


NAMES, CASES = published("aavs_avs").args
SMALL = [case for case in CASES if "full" not in str(case.id)]
FULL = [case for case in CASES if "full" in str(case.id)]


@pytest.mark.parametrize(NAMES, SMALL)
def test_off_or_at_its_start_it_is_aavs(layout: str, case: str) -> None:
    check(layout, case)


@pytest.mark.heavy
@pytest.mark.parametrize(NAMES, FULL)
def test_the_published_size_too(layout: str, case: str) -> None:
    check(layout, case)


def check(layout: str, case: str) -> None:
    data, stage = read_case(case), 2 if "_avss_" in layout else 1
    state = state_of(layout, int(data["seed"]))
    size = tuple(data["size"].tolist())
    count = 1 if "full" in case else len(data["audio"])
    frames = normalise(resize_bilinear(data["frames_rgb"].transpose(0, 2, 3, 1)[:count], size))
    audio = torch.from_numpy(data["audio"][:count])
    boost = torch.from_numpy(data["audio_boost_mask"][:count]) / 2 if stage == 2 else None
    off = VARIANTS[stage - 1].load(completed(state), what=layout)
    assert isinstance(off, Ssp)
    config = off.ssp_config.aavs
    unused = aavs.UNUSED if stage == 2 else (*aavs.UNUSED, *aavs.UNUSED_IN_STAGE_1)
    with torch.inference_mode():
        plain = VARIANTS[0].__class__("", "", lambda _: aavs.Aavs(config), unused).load(state, what=layout)
        wanted = plain(frames, audio, boost=boost)
        for ours in (off, _at_the_start(config, off)):
            given = ours(frames, audio, boost=boost, texts=_texts(count))
            assert torch.equal(given.classes, wanted.classes) and torch.equal(given.masks, wanted.masks)


def _at_the_start(config: aavs.AavsConfig, off: Ssp) -> Ssp:
    """With texts whose gate is closed, whatever else they hold."""
    make = lambda: Ssp(SspConfig(config, TEXT))  # noqa: E731
    network = make().eval()
    new = {name: value for name, value in rule_state(make).items() if name.startswith(("align.", "fusion."))}
    new["align.text.heads"], new[FUSED] = torch.tensor([4]), torch.zeros(1)
    network.load_state_dict({**off.state_dict(), **new})
    return network


def _texts(count: int) -> Texts:
    rng = np.random.default_rng(0)
    vision = torch.from_numpy(rng.standard_normal((count, 5, TEXT.vision_dim)).astype(np.float32))
    ids = torch.from_numpy(rng.integers(0, TEXT.bert.vocab_size, (2, count, 7)))
    return Texts(vision, ids, torch.ones(2, count, 7, dtype=torch.bool), torch.ones(count, dtype=torch.bool))
