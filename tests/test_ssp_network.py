"""SSP's pieces against plain re-computations: Eq. (2) and (3), the alignment by hand, BERT against transformers'."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rule_weights import noise, rule_network, sounds
from torch import Tensor
from transformers import BertConfig, BertModel

from coprop_plugin.adapters.aavs.network import Aavs, AavsConfig
from coprop_plugin.adapters.images import normalise
from coprop_plugin.adapters.ssp.align import AlignKind, Fusion, Norm, PlainAttention, TextConfig, Texts, Vta
from coprop_plugin.adapters.ssp.bert import Bert, BertSizes
from coprop_plugin.adapters.ssp.network import Ssp, SspConfig, config_of
from coprop_plugin.adapters.ssp.pre_mask import floored, post_mask, pre_mask
from coprop_plugin.errors import CoPropError

SIZES = BertSizes(30, 16, 2, 2, 24, 12, 2)
TEXT = TextConfig(SIZES, vision_dim=10)
AAVS = AavsConfig(
    stage=1,
    queries=6,
    classes=2,
    embed_dim=32,
    depths=(1, 1, 1, 1),
    heads=(1, 2, 4, 8),
    window=4,
    encoder_layers=1,
    encoder_hidden=32,
    decoder_layers=3,
    decoder_hidden=32,
)


def texts(n: int, *, there: bool = True, vision_dim: int = 10) -> Texts:
    rng = np.random.default_rng(0)
    vision = torch.from_numpy(rng.standard_normal((n, 4, vision_dim)).astype(np.float32))
    mask = torch.ones(2, n, 5, dtype=torch.bool)
    mask[:, :, 3:] = False
    return Texts(vision, torch.from_numpy(rng.integers(0, 30, (2, n, 5))), mask, torch.full((n,), there))


def test_equation_2_is_the_papers_table() -> None:
    moving, sounding = torch.tensor([[1.0, 1, 0, 0]]), torch.tensor([[1.0, 0, 1, 0]])
    assert pre_mask(moving, sounding).tolist() == [[1, 0.5, 0.5, 0]]
    assert pre_mask(moving).tolist() == [[1, 1, 0, 0]]  # nothing known of what sounds
    assert floored(pre_mask(moving, sounding)).tolist() == [[1, 0.75, 0.75, 0.5]]
    assert post_mask(moving, sounding).tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize("norm", ["layer", "l2"])
def test_equation_3_by_hand(norm: Norm) -> None:
    fusion = rule_network(lambda: Fusion(norm))
    z, a = torch.randn(2, 256, 3, 3), torch.randn(2, 256)
    there = torch.tensor([True, False])
    summed = z[0, :, 1, 2] + a[0]
    if norm == "l2":
        wanted = summed / summed.norm()
    else:
        centred = summed - summed.mean()
        wanted = centred / (centred.square().mean() + 1e-5).sqrt() * fusion.norm.weight + fusion.norm.bias
    for gate in (0.0, 0.25, 1.0):
        with torch.no_grad():
            fusion.gate.fill_(gate)
        fused = fusion(z, a, there)
        torch.testing.assert_close(fused[0, :, 1, 2], (1 - gate) * z[0, :, 1, 2] + gate * wanted)
        assert torch.equal(fused[1], z[1])  # a video without text stays as it is
    with torch.no_grad():
        fusion.gate.zero_()
    assert torch.equal(fusion(z, a, there), z)


def bert_pair() -> tuple[Bert, BertModel]:
    """Ours and transformers', with the same weights."""
    config = BertConfig(**vars(SIZES), is_decoder=True, add_cross_attention=True, initializer_range=0.3)
    theirs = BertModel(config, add_pooling_layer=False).eval()
    ours = Bert(SIZES).eval()
    missing = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing.missing_keys == ["heads"] and not missing.unexpected_keys
    return ours, theirs


def additive(mask: Tensor, rows: int) -> Tensor:
    """A 4-D mask for transformers, which then looks both ways."""
    return ((1 - mask[:, None, None].float()) * torch.finfo(torch.float32).min).expand(-1, 1, rows, -1).contiguous()


@torch.inference_mode()
def test_bert_is_transformers_bert_looking_both_ways() -> None:
    ours, theirs = bert_pair()
    x, other = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    mask, other_mask = torch.ones(2, 5, dtype=torch.bool), torch.ones(2, 7, dtype=torch.bool)
    mask[0, 3:], other_mask[1, 4:] = False, False
    places, kinds = torch.tensor([0, 1, 2, 0, 0]), torch.tensor([0, 0, 0, 1, 1])
    given = ours(x, mask, other, other_mask, places=places, kinds=kinds)
    wanted = theirs(
        inputs_embeds=x,
        attention_mask=additive(mask, 5),
        position_ids=places[None].expand(2, -1),
        token_type_ids=kinds[None].expand(2, -1),
        encoder_hidden_states=other,
        encoder_attention_mask=other_mask,
        use_cache=False,
    ).last_hidden_state
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_algorithm_1_line_by_line() -> None:
    """Against transformers' classes, put together as the algorithm reads."""
    ours, theirs = bert_pair()
    vta = rule_network(lambda: Vta(TEXT))
    vta.text = ours
    given = texts(2)
    ids, text_mask = given.ids[0], given.mask[0]
    z_v = vta.v_mlp[2](F.gelu(vta.v_mlp[0](given.vision)))
    z_a = vta.t_mlp[2](F.gelu(vta.t_mlp[0](theirs.embeddings.word_embeddings(ids))))
    v_mask = torch.ones(2, 4, dtype=torch.bool)
    unify = torch.cat([text_mask, v_mask], 1)
    assert unify.int().tolist() == [[1, 1, 1, 0, 0, 1, 1, 1, 1]] * 2  # line 6 by hand
    first = theirs(
        inputs_embeds=torch.cat([z_a, z_v], 1),
        attention_mask=additive(unify, 9),
        position_ids=torch.tensor([[0, 1, 2, 3, 4, 0, 0, 0, 0]]).expand(2, -1),
        token_type_ids=torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1, 1]]).expand(2, -1),
        encoder_hidden_states=z_v,
        encoder_attention_mask=v_mask,
        use_cache=False,
    ).last_hidden_state
    second = theirs(
        inputs_embeds=z_a,
        attention_mask=additive(text_mask, 5),
        encoder_hidden_states=first,
        encoder_attention_mask=unify,
        use_cache=False,
    ).last_hidden_state
    wanted = vta.out[2](F.gelu(vta.out[0](second[:, 0])))
    torch.testing.assert_close(
        vta(given.vision, ids, text_mask), wanted / wanted.norm(dim=-1, keepdim=True), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", [Vta, PlainAttention])
@torch.inference_mode()
def test_padding_is_not_read_and_words_are(kind: type) -> None:
    align, given = rule_network(lambda: kind(TEXT)), texts(2)
    ids, mask = given.ids[0], given.mask[0]
    aligned = align(given.vision, ids, mask)
    torch.testing.assert_close(aligned.norm(dim=-1), torch.ones(2))
    other = ids.clone()
    other[:, 3:] = 7
    torch.testing.assert_close(align(given.vision, other, mask), aligned)
    torch.testing.assert_close(align(given.vision, ids[:, :3], mask[:, :3]), aligned)
    other[:, 1] = (ids[:, 1] + 1) % 30
    assert not torch.allclose(align(given.vision, other, mask), aligned, atol=1e-3)
    assert not torch.allclose(align(given.vision + 1, ids, mask), aligned, atol=1e-3)


@pytest.mark.parametrize("kind", ["vta", "attention"])
@pytest.mark.parametrize("norm", ["layer", "l2"])
def test_sizes_are_read_from_the_weights(kind: AlignKind, norm: Norm) -> None:
    network = Ssp(SspConfig(AAVS, replace(TEXT, kind=kind, norm=norm)))
    found = config_of(network.state_dict(), AAVS)
    assert found.aavs == AAVS and found.text is not None
    assert (found.text.kind, found.text.norm, found.text.vision_dim) == (kind, norm, 10)
    if kind == "vta":
        assert found.text.bert == SIZES
    Ssp(found).load_state_dict(network.state_dict())
    assert config_of(Aavs(AAVS).state_dict(), AAVS) == SspConfig(AAVS)


def test_an_unknown_alignment_is_named() -> None:
    with pytest.raises(CoPropError, match="alignment 'cross'"):
        replace(TEXT, kind="cross")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["vta", "attention"])
def test_gradients_reach_every_new_parameter(kind: AlignKind) -> None:
    network = rule_network(lambda: Ssp(SspConfig(AAVS, replace(TEXT, kind=kind)))).requires_grad_(True)
    output = network(normalise(noise(2, 64, 64, 3)), sounds(2, 128), texts=texts(2))
    (output.masks.square().mean() + output.classes.square().mean()).backward()
    without = {
        name
        for name, p in network.named_parameters()
        if name.startswith(("align.", "fusion.")) and (p.grad is None or not p.grad.abs().sum() > 0)
    }
    # a text of one pass has token types of one kind; places beyond the text are not used
    assert not {name for name in without if not name.endswith(("self.key.bias", "in_proj_bias"))}, without


def test_the_pre_mask_weighs_the_image_and_texts_reach_the_masks() -> None:
    network = rule_network(lambda: Ssp(SspConfig(AAVS, TEXT)))
    frames, audio = normalise(noise(2, 64, 64, 3)), sounds(2, 128)
    mask = torch.rand(2, 64, 64)
    with torch.inference_mode():
        plain = network(frames, audio)
        weighed = network(frames, audio, pre_mask=mask)
        by_hand = network(frames * mask[:, None], audio)
        ones = network(frames, audio, pre_mask=torch.ones(2, 64, 64))
        said = network(frames, audio, texts=texts(2))
        nothing_said = network(frames, audio, texts=texts(2, there=False))
    assert torch.equal(weighed.masks, by_hand.masks) and not torch.equal(weighed.masks, plain.masks)
    assert torch.equal(ones.masks, plain.masks) and torch.equal(nothing_said.masks, plain.masks)
    assert not torch.allclose(said.masks, plain.masks, atol=1e-2)
