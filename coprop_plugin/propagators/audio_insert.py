"""Audio insertion: each frame's sound, put into its visual features (paper section 3.4, equation 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError, unknown_name

Levels = Literal["all", "last"]
Heard = Literal["any", "vggish", "text", "logmel"]  # files hold the place in this list: append only
HEARD = get_args(Heard)
MAX_CONTEXT_FRAMES = 64


class AudioTokens(NamedTuple):
    """The sound (or the words) that goes with B frames.

    Attributes:
        tokens: ``(B, n, D)``: the frame's sound, with an audio context also its neighbours', or one token a word.
        valid: ``(B, n) bool``, false for tokens that do not exist (frames outside the segment).
        own: ``(B, D)``: one vector for the frame itself.
    """

    tokens: Tensor
    valid: Tensor
    own: Tensor

    def rows(self, index: Tensor | slice) -> AudioTokens:
        """The tokens of some of the frames."""
        return AudioTokens(self.tokens[index], self.valid[index], self.own[index])

    def to(self, device: torch.device) -> AudioTokens:
        """The same on a device."""
        return AudioTokens(*(x.to(device) for x in self))

    @classmethod
    def join(cls, parts: Sequence[AudioTokens]) -> AudioTokens:
        """The tokens of several batches as those of one, filled up with invalid tokens to the same number."""
        most = max(part.tokens.shape[1] for part in parts)
        return cls(
            torch.cat([F.pad(part.tokens, (0, 0, 0, most - part.tokens.shape[1])) for part in parts]),
            torch.cat([F.pad(part.valid, (0, most - part.valid.shape[1])) for part in parts]),
            torch.cat([part.own for part in parts]),
        )


class AudioInsert(nn.Module):
    """Equation 6 at the encoder's levels, as a residual whose last map starts at zero.

    With one token a frame the softmax of the equation is 1, and its result does not depend on the image: taken
    alone it would lose it. So it is added to the visual features, and until it is trained nothing changes.

    Args:
        widths: channels of the four maps, the projected one last.
        audio_dim: D of the tokens (128 for VGGish).
        levels: insert at all four maps (the paper's final model) or at the last.
        context_frames: k: tokens of the frames t - k .. t + k are the keys of frame t (0: the paper's one).
        identity: also add a projection of the audio to the identities of foreground patches.
        heard: what the tokens are; ``any``: whatever the caller brings.

    Raises:
        CoPropError: an unknown kind of tokens.
    """

    context_frames: Tensor
    heard_kind: Tensor

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        *,
        audio_dim: int = 128,
        levels: Levels = "all",
        context_frames: int = 0,
        identity: bool = False,
        heard: Heard = "any",
    ) -> None:
        super().__init__()
        if heard not in HEARD:
            raise unknown_name("kind of audio tokens", heard, HEARD)
        self.audio_dim = audio_dim
        # Buffers, so that a trained file says by itself how it is to be used.
        self.register_buffer("context_frames", torch.tensor(context_frames))
        self.register_buffer("heard_kind", torch.tensor(HEARD.index(heard)))
        used = range(4) if levels == "all" else (3,)
        self.levels = nn.ModuleDict({str(level): CrossAttention(widths[level], audio_dim) for level in used})
        self.identity = _zeroed(nn.Linear(audio_dim, widths[3])) if identity else None

    @property
    def heard(self) -> Heard:
        """What the insert was trained to hear."""
        return HEARD[int(self.heard_kind)]

    def forward(self, maps: tuple[Tensor, ...], audio: AudioTokens) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four ``(B, C, h, w)`` maps with the audio inserted."""
        inserted = [
            x + self.levels[str(level)](x, audio) if str(level) in self.levels else x for level, x in enumerate(maps)
        ]
        return tuple(inserted)  # type: ignore[return-value]

    def identify(self, identity: Tensor, foreground: Tensor, audio: AudioTokens) -> Tensor:
        """``(B, 256, h, w)`` identities with the audio added on the foreground patches."""
        if self.identity is None:
            return identity
        return identity + foreground * self.identity(audio.own)[:, :, None, None]

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], widths: tuple[int, int, int, int]) -> AudioInsert:
        """An insert of the form that trained weights have, not yet filled with them.

        Raises:
            CheckpointError: no insert has such names.
        """
        keys, context = state.get("levels.3.linear_K.weight"), state.get("context_frames")
        heard = state.get("heard_kind")
        if (
            keys is None
            or keys.ndim != 2
            or not _is_number(context, most=MAX_CONTEXT_FRAMES)
            or not _is_number(heard, most=len(HEARD) - 1)
        ):
            raise CheckpointError(
                "an audio insert holds the matrix 'levels.3.linear_K.weight', the number 'context_frames' from 0 to "
                f"{MAX_CONTEXT_FRAMES} and the number 'heard_kind' of one of {', '.join(HEARD)}; got "
                f"{ ({name: tuple(state[name].shape) for name in [*state][:4]}) }, context {context}, heard {heard}."
            )
        assert context is not None and heard is not None
        return cls(
            widths,
            audio_dim=keys.shape[1],
            levels="all" if "levels.0.linear_K.weight" in state else "last",
            context_frames=int(context),
            identity="identity.weight" in state,
            heard=HEARD[int(heard)],
        )


class CrossAttention(nn.Module):
    """``softmax(F_v W_Q (F_a W_K)^T / sqrt(d)) F_a W_V``, 8 heads, and an output map that starts at zero."""

    def __init__(self, channels: int, audio_dim: int, *, width: int = 256, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.linear_Q = nn.Linear(channels, width, bias=False)
        self.linear_K, self.linear_V = (nn.Linear(audio_dim, width, bias=False) for _ in range(2))
        self.projection = _zeroed(nn.Linear(width, channels))

    def forward(self, x: Tensor, audio: AudioTokens) -> Tensor:
        """What to add to a ``(B, C, h, w)`` map: ``(B, C, h, w)``, or ``(B, C, 1, 1)`` where it is one for all places."""
        values = self.linear_V(audio.tokens)
        if audio.tokens.shape[1] == 1:
            # The softmax over a single key is 1 whatever the query: no need to compute it.
            return self.projection(values)[:, 0, :, None, None]
        q, k, v = (
            tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for tokens in (self.linear_Q(x.permute(0, 2, 3, 1).flatten(1, 2)), self.linear_K(audio.tokens), values)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=audio.valid[:, None, None, :])
        return self.projection(mixed.transpose(1, 2).flatten(2)).unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2)


def _is_number(value: Tensor | None, *, most: int) -> bool:
    """Whether an entry of a file is a single number from 0 to ``most``."""
    return value is not None and not value.shape and bool(0 <= value <= most)


def _zeroed(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
