"""Which published model a checkpoint belongs to, by the names and shapes of its entries.

The signatures are those of our own networks, which read the published names as they are: nothing is listed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from torch import Tensor, nn

from ..errors import CheckpointError, unknown_name
from .checkpoint import load_into, read_state_dict
from .unfilled import unfilled

State = Mapping[str, Tensor]
Checkpoint = str | Path | State


@dataclass(frozen=True)
class Variant:
    """One published form of a model.

    Attributes:
        part: the adapter (or other part) that runs it.
        name: what ``variant=`` calls it; variants of one layout differ in how their data are prepared, or not at all.
        make: the network for a state dict (most look the same for every one); cheap on the meta device.
        unused: shell patterns of names that published files hold and no output depends on.
        marks: a name that files of this model hold and those of others do not, as a shell pattern.
    """

    part: str
    name: str
    make: Callable[[State], nn.Module]
    unused: tuple[str, ...] = ()
    marks: str = ""

    def expected(self, state: State) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the network's entries."""
        with unfilled():
            return {name: tuple(value.shape) for name, value in self.make(state).state_dict().items()}

    def is_marked(self, state: State) -> bool:
        """Whether a state dict holds the name that tells this model from others."""
        return bool(self.marks) and any(fnmatchcase(name, self.marks) for name in state)

    def fit(self, state: State) -> Fit:
        """How far a state dict is from this variant."""
        expected = self.expected(state)
        given = {name: tuple(value.shape) for name, value in state.items()}
        known = {name for name in given if name in expected or not self._ignores(name)}
        return Fit(
            variant=self,
            missing=tuple(name for name in expected if name not in given),
            left_over=tuple(name for name in given if name in known and name not in expected),
            reshaped=tuple(
                f"{name} {given[name]}, expected {shape}"
                for name, shape in expected.items()
                if name in given and given[name] != shape
            ),
            ignored=len(given) - len(known),
            expected=len(expected),
        )

    def load(self, state: State, *, what: str) -> nn.Module:
        """The network with these weights, on the CPU, ready for inference.

        Raises:
            CheckpointError: names or shapes that do not fit.
        """
        with unfilled():
            network = self.make(state)
        network.to_empty(device="cpu")
        load_into(network, {name: value for name, value in state.items() if not self._ignores(name)}, what=what)
        return network.eval().requires_grad_(False)

    def _ignores(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.unused)


@dataclass(frozen=True)
class Fit:
    """What a state dict lacks or has too much for a variant.

    Attributes:
        variant: the variant compared with.
        missing, left_over: names.
        reshaped: names with the given and the expected shape.
        ignored: entries that published files hold and the network does not use.
        expected: entries that the network has.
    """

    variant: Variant
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    reshaped: tuple[str, ...]
    ignored: int
    expected: int

    @property
    def exact(self) -> bool:
        return not (self.missing or self.left_over or self.reshaped)

    @property
    def distance(self) -> int:
        """Entries in which file and network differ."""
        return len(self.missing) + len(self.left_over) + len(self.reshaped)

    @property
    def shared(self) -> int:
        """Entries that file and network have in common, shape included."""
        return self.expected - len(self.missing) - len(self.reshaped)


def load_variant(
    checkpoint: Checkpoint | None,
    variants: Sequence[Variant],
    *,
    variant: str | None = None,
    trust_pickle: bool = False,
    completed: Callable[[State], State] = lambda state: state,
) -> tuple[Variant, nn.Module]:
    """The network of a checkpoint file.

    Args:
        checkpoint: the file, or its state dict; there is no default, a model without weights is never run.
        variants: those of one adapter.
        variant: which of them; needed where several share one layout.
        trust_pickle: see :func:`coprop_plugin.weights.checkpoint.read_state_dict`.
        completed: what a part makes of a state dict that it may begin with before it is fitted.

    Raises:
        CheckpointError: no file, an unsafe or damaged one, weights of another model, or a layout that several
            variants share.
        CoPropError: no such variant.
    """
    part = variants[0].part
    if not checkpoint:
        raise CheckpointError(f"the adapter '{part}' needs checkpoint=FILE, the published weights.")
    chosen = next((v for v in variants if v.name == variant), None)
    if variant is not None and chosen is None:
        raise unknown_name(f"variant of {part}", variant, [v.name for v in variants])
    if isinstance(checkpoint, Mapping):
        state, what = checkpoint, "the state dict"
    else:
        state, what = read_state_dict(checkpoint, trust_pickle=trust_pickle), f"'{checkpoint}'"
    state = completed(state)
    if chosen is None:
        chosen = _only_fit([v.fit(state) for v in variants], what)
    return chosen, chosen.load(state, what=what)


def _only_fit(fits: Sequence[Fit], what: str) -> Variant:
    exact = [fit.variant for fit in fits if fit.exact]
    if len(exact) > 1:
        raise CheckpointError(
            f"{what} fits several variants of {exact[0].part}: {', '.join(v.name for v in exact)}. "
            "Say which with variant=NAME (or give the model's config)."
        )
    # the nearest variant's strict loader says what is wrong
    return exact[0] if exact else min(fits, key=lambda fit: fit.distance).variant
