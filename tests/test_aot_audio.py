"""Audio insertion: nothing until it is trained, then what equation 6 says; its guides and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import aot_scenes as scenes
import numpy as np
import pytest
import torch
from rule_weights import rule_entry

from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.propagators.aot.network import INSERT
from coprop_plugin.propagators.audio_insert import AudioInsert, AudioTokens, CrossAttention
from coprop_plugin.propagators.guides import AudioGuide, TextGuide
from coprop_plugin.structures import Clip

WIDTHS = {"aott": (24, 32, 96, 256), "r50_aotl": (256, 512, 1024, 256), "r50_deaotl": (256, 512, 1024, 256)}
NUM_FRAMES, DIM = 5, 128
FORMS = [
    {},
    {"levels": "last"},
    {"context_frames": 2},
    {"identity": True},
    {"levels": "last", "context_frames": 1, "identity": True},
]


@pytest.fixture(scope="module")
def clip() -> Clip:
    return scenes.clip(NUM_FRAMES)


def features(clip: Clip) -> np.ndarray:
    """Each frame's sound: one number, as loud as its index."""
    return np.random.default_rng(0).standard_normal((clip.num_frames, DIM)).astype(np.float32)


def weights(model: str = "aott", *, trained: bool, **form: object) -> dict[str, torch.Tensor]:
    """A checkpoint with an insert: fresh, or with all of its weights away from zero."""
    insert = AudioInsert(WIDTHS[model], audio_dim=DIM, **form)  # type: ignore[arg-type]
    state = insert.state_dict()
    if trained:
        state = {k: rule_entry(k, v) if v.is_floating_point() else v for k, v in state.items()}
    return {**scenes.weights(model), **{f"{INSERT}{name}": value for name, value in state.items()}}


def masks_of(clip: Clip, model: str = "aott", *, heard: np.ndarray | None = None, **options: object) -> np.ndarray:
    propagator = scenes.propagator(model, audio=lambda _: features(clip) if heard is None else heard, **options)
    return next(propagator.propagate(clip, [scenes.task(0, NUM_FRAMES, 2)]))


@pytest.mark.parametrize(
    ("model", "form"),
    [*(("aott", form) for form in FORMS), ("r50_deaotl", {"context_frames": 2, "identity": True})],
    ids=str,
)
def test_untrained_is_exactly_aot(clip: Clip, model: str, form: dict[str, object]) -> None:
    plain = next(scenes.propagator(model).propagate(clip, [scenes.task(0, NUM_FRAMES, 2)]))
    assert np.array_equal(masks_of(clip, model, checkpoint=weights(model, trained=False, **form)), plain)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_trained_hears_every_frame(clip: Clip, form: dict[str, object]) -> None:
    state, heard = weights(trained=True, **form), features(clip)
    here = masks_of(clip, checkpoint=state)
    heard[3] += 1
    there = masks_of(clip, heard=heard, checkpoint=state)
    reach = int(form.get("context_frames", 0))  # type: ignore[call-overload]
    assert not np.array_equal(here[3], there[3])
    if not reach:  # frames 0 and 1 lie on the anchor's other side
        assert np.array_equal(here[:2], there[:2])


def test_cross_attention_is_equation_six() -> None:
    """Against the equation with every head written out, for two tokens; one of three is not valid."""
    attention = CrossAttention(24, DIM)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, tokens = torch.randn(2, 24, 3, 4), torch.randn(2, 3, DIM)
    valid = torch.tensor([[True, True, False]] * 2)
    inserted = attention(x, AudioTokens(tokens, valid, tokens[:, 1]))
    visual = x.flatten(2).transpose(1, 2)
    q, k, v = (
        visual @ attention.linear_Q.weight.T,
        tokens[:, :2] @ attention.linear_K.weight.T,
        tokens[:, :2] @ attention.linear_V.weight.T,
    )
    heads = [
        torch.softmax(q[..., i : i + 32] @ k[..., i : i + 32].transpose(1, 2) / 32**0.5, dim=2) @ v[..., i : i + 32]
        for i in range(0, 256, 32)
    ]
    expected = attention.projection(torch.cat(heads, dim=2)).transpose(1, 2).unflatten(2, (3, 4))
    torch.testing.assert_close(inserted, expected, atol=1e-5, rtol=1e-4)


def test_a_single_token_needs_no_softmax() -> None:
    attention = CrossAttention(24, DIM)
    torch.nn.init.normal_(attention.projection.weight)
    x, token = torch.randn(2, 24, 3, 4), torch.randn(2, 1, DIM)
    alone = attention(x, AudioTokens(token, torch.ones(2, 1, dtype=torch.bool), token[:, 0]))
    padded = AudioTokens.join([AudioTokens(token, torch.ones(2, 1, dtype=torch.bool), token[:, 0]), _three_tokens()])
    among = attention(x.repeat(2, 1, 1, 1)[:3], padded.rows(slice(3)))
    torch.testing.assert_close(alone.expand(2, 24, 3, 4), among[:2], atol=1e-5, rtol=1e-4)


def _three_tokens() -> AudioTokens:
    return AudioTokens(torch.zeros(1, 3, DIM), torch.ones(1, 3, dtype=torch.bool), torch.zeros(1, DIM))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_batched_streamed_and_whole_agree(clip: Clip, form: dict[str, object]) -> None:
    state, heard, reach = weights(trained=True, **form), features(clip), int(form.get("context_frames", 0))  # type: ignore[call-overload]
    tasks = [scenes.task(0, 5, 0), scenes.task(1, 4, 1, num_objects=3, seed=1)]
    together = scenes.propagator(checkpoint=state, audio=lambda _: heard)
    alone = scenes.propagator(checkpoint=state, audio=lambda _: heard, batch=1)
    whole = list(together.propagate(clip, tasks))
    for a, b in zip(whole, alone.propagate(clip, tasks), strict=True):
        np.testing.assert_allclose(a, b, atol=scenes.FED)
    around = np.pad(heard, ((reach, reach), (0, 0)), constant_values=np.nan)
    stream = together.stream(clip.frames[0], tasks[0].mask, audio=around[: 2 * reach + 1])
    for t in range(1, 5):
        masks = stream.step(clip.frames[t], around[t : t + 2 * reach + 1])
        np.testing.assert_allclose(masks, whole[0][t], atol=scenes.FED)


def test_clips_hear_their_own_sound_when_they_advance_together(clip: Clip) -> None:
    state, other, made = weights(trained=True), scenes.clip(NUM_FRAMES, seed=3), []

    def hear(of: Clip) -> np.ndarray:
        made.append(of)
        return features(of) * (2 if of is other else 1)

    pairs = [(clip, scenes.task(0, 5, 0)), (clip, scenes.task(0, 5, 4)), (other, scenes.task(0, 5, 0))]
    together = list(scenes.propagator(checkpoint=state, audio=hear).propagate_many(pairs))
    assert made == [clip, other]
    for (own, task), masks in zip(pairs, together, strict=True):
        (alone,) = scenes.propagator(checkpoint=state, audio=hear).propagate(own, [task])
        np.testing.assert_allclose(masks, alone, atol=scenes.FED)


def test_a_checkpoint_tells_the_form_of_its_insert() -> None:
    for form in FORMS:
        insert = AudioInsert(WIDTHS["r50_aotl"], audio_dim=96, **form)  # type: ignore[arg-type]
        again = AudioInsert.from_state(insert.state_dict(), WIDTHS["r50_aotl"])
        again.load_state_dict(insert.state_dict())
        assert {k: v.shape for k, v in again.state_dict().items()} == {
            k: v.shape for k, v in insert.state_dict().items()
        }
        assert int(again.context_frames) == form.get("context_frames", 0)


def test_context_stays_inside_the_segment() -> None:
    clip = scenes.clip(6)
    guide = AudioGuide(lambda c: np.arange(6, dtype=np.float32)[:, None], dim=1, context_frames=2)
    tokens = guide.tokens(clip, scenes.task(1, 5, 1)).rows(slice(0, None, 2))
    assert tokens.tokens[..., 0].tolist() == [[1, 1, 1, 2, 3], [1, 2, 3, 4, 4]]
    assert tokens.valid.tolist() == [[False, False, True, True, True], [True, True, True, True, False]]
    assert tokens.own[:, 0].tolist() == [1, 3]


def test_features_are_made_once_a_clip() -> None:
    made = []
    guide = AudioGuide(lambda c: made.append(c) or np.zeros((3, 4), np.float32), dim=4, context_frames=0)
    first, second = scenes.clip(3), scenes.clip(3)
    for clip in (first, first, second):
        guide.tokens(clip, scenes.task(0, 3, 0))
    assert made == [first, second]


class TestText:
    """The paper's text-guided variant: category words in place of the audio."""

    def test_words_replace_the_audio(self, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
        def fake(folder: object) -> object:
            return lambda words: np.stack([np.full(DIM, len(word) / 10, np.float32) for word in words])

        monkeypatch.setattr("coprop_plugin.propagators.text.text_encoder", fake)
        propagator = scenes.propagator(checkpoint=weights(trained=True), audio="text", audio_checkpoint="folder")
        tasks = [
            replace(scenes.task(0, 3, 0), categories=words)
            for words in (("dog",), ("violin",), ("dog", "violin"), ("dog",))
        ]
        dog, violin, both, again = propagator.propagate(clip, tasks)
        assert not np.allclose(dog, violin) and not np.allclose(both, dog)
        np.testing.assert_allclose(dog, again, atol=scenes.FED)
        with pytest.raises(CoPropError, match=r"frames \[0, 3\): text guidance needs the segment's categories"):
            list(propagator.propagate(clip, [scenes.task(0, 3, 0)]))

    def test_known_silence_is_a_word_too(self, clip: Clip) -> None:
        asked: list[str] = []
        guide = TextGuide(lambda words: asked.extend(words) or np.ones((len(words), DIM), np.float32), dim=DIM)
        assert guide.tokens(clip, replace(scenes.task(0, 3, 0), categories=())).tokens.shape == (3, 1, DIM)
        assert asked == ["silence"]

    def test_embeddings_of_another_width_are_refused(self, clip: Clip) -> None:
        guide = TextGuide(lambda words: np.zeros((len(words), 7), np.float32), dim=DIM)
        with pytest.raises(CoPropError, match=r"gave \(1, 7\) for 1 words; the insert takes \(1, 128\)"):
            guide.tokens(clip, replace(scenes.task(0, 3, 0), categories=("dog",)))

    def test_a_text_model_of_transformers(self, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        from tiny_language import bert

        from coprop_plugin.propagators.text import text_encoder

        encode = text_encoder(bert(tmp_path, words=["dog", "violin"]))
        words: Sequence[str] = ["dog", "violin", "dog violin"]
        embeddings = encode(words)
        assert embeddings.shape == (3, 16)
        np.testing.assert_allclose(embeddings[:1], encode(["dog"]), atol=1e-5)
        assert not np.allclose(embeddings[0], embeddings[1])
        with pytest.raises(CheckpointError, match="holds no AutoTokenizer"):
            text_encoder(tmp_path / "none")


class TestBadInput:
    @pytest.mark.parametrize("shape", [(NUM_FRAMES + 2, DIM), (NUM_FRAMES - 1, DIM), (NUM_FRAMES, 64), (DIM,)])
    def test_features_that_do_not_fit_the_frames(self, clip: Clip, shape: tuple[int, ...]) -> None:
        with pytest.raises(CoPropError, match="one row of 128 features for each of the 5 frames, got"):
            masks_of(clip, heard=np.zeros(shape, np.float32), checkpoint=weights(trained=False))

    def test_features_that_are_not_finite(self, clip: Clip) -> None:
        with pytest.raises(CoPropError, match="the audio features hold NaN"):
            masks_of(clip, heard=np.full((NUM_FRAMES, DIM), np.nan), checkpoint=weights(trained=False))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "holds an audio insert of 128 features a frame: give audio='vggish'"),
            ({"audio": "vggish"}, "with audio_checkpoint"),
            ({"audio": "clap", "audio_checkpoint": "x"}, "unknown audio 'clap'"),
        ],
    )
    def test_an_insert_without_audio(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(CoPropError, match=message):
            scenes.propagator(checkpoint=weights(trained=False), **options)

    def test_vggish_of_another_model(self, tmp_path: Path) -> None:
        torch.save(dict(scenes.weights("aott")), tmp_path / "vggish.pth")
        with pytest.raises(CheckpointError, match=r"does not fit VGGish.*look like the weights of aott"):
            scenes.propagator(
                checkpoint=weights(trained=False), audio="vggish", audio_checkpoint=tmp_path / "vggish.pth"
            )

    def test_half_an_insert(self) -> None:
        state = {k: v for k, v in weights(trained=False).items() if "context" not in k}
        with pytest.raises(CheckpointError, match="an audio insert holds"):
            scenes.propagator(checkpoint=state)

    def test_an_insert_that_wants_the_whole_film(self) -> None:
        state = {**weights(trained=False), f"{INSERT}context_frames": torch.tensor(10**9)}
        with pytest.raises(CheckpointError, match="from 0 to 64"):
            scenes.propagator(checkpoint=state)

    def test_an_insert_for_another_encoder(self) -> None:
        state = {
            **scenes.weights("aott"),
            **{k: v for k, v in weights("r50_aotl", trained=False).items() if k.startswith(INSERT)},
        }
        with pytest.raises(CheckpointError, match=r"of another shape \(audio_insert"):
            scenes.propagator(checkpoint=state)

    def test_a_stream_without_its_audio(self, clip: Clip) -> None:
        propagator = scenes.propagator(checkpoint=weights(trained=False), audio=features)
        with pytest.raises(CoPropError, match="takes 128 features a frame, got 0"):
            propagator.stream(clip.frames[0], scenes.mask(2))
        stream = propagator.stream(clip.frames[0], scenes.mask(2), audio=features(clip)[0])
        with pytest.raises(CoPropError, match="takes 128 features a frame, got 64"):
            stream.step(clip.frames[1], np.zeros(64))
        with pytest.raises(CoPropError, match=r"finite, in the middle; got \(2, 128\)"):
            stream.step(clip.frames[1], np.zeros((2, DIM)))
        with pytest.raises(CoPropError, match="holds no audio insert"):
            scenes.propagator().stream(clip.frames[0], scenes.mask(2), audio=np.zeros(DIM))


@pytest.mark.parametrize("model", ["aott", "r50_aotl", "r50_deaotl"])
def test_audio_insert_reads_network_and_kind_of_sound_from_the_weights(model: str) -> None:
    from coprop_plugin.propagators.aot.with_audio import AudioInsertPropagator, fitting_model

    state = weights(model, trained=False, heard="logmel")
    assert fitting_model(state) == model
    assert AudioInsertPropagator(checkpoint=state, device="cpu").name == model
    with pytest.raises(CoPropError, match="hold no audio insert"):
        AudioInsertPropagator(checkpoint=scenes.weights(model))
    with pytest.raises(CoPropError, match="It was trained with 'vggish'"):
        AudioInsertPropagator(checkpoint=weights(model, trained=False, heard="vggish"))
