"""What is held of base models and control points before a clip is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from ..errors import CoPropError, unknown_name

ERROR_RATES = np.array([0.004, 0.02, 0.06, 0.15, 0.3])


@dataclass(frozen=True)
class Beliefs:
    """What is held of base models and control points before a clip is seen; see :data:`FITTED`.

    Attributes:
        error_rates: weight of each of :data:`ERROR_RATES`.
        stubborn: how probably a model knows nothing of an object in one segment.
        hearing: by which the log odds of each change are scaled.
        seen: how probably a change of the sound is one of the objects that the model shows.
        missed: how probably something changes where the sound does not, at least.
        shift: how improbable any shift is, in nats, and ``shift_frame`` each frame of it.
        surest_silence: what is held of silence at most: nothing tells a pause from a source that has become quiet.
        unseen_source: cost in nats of a sounding frame that no object fills.
        ear: by which an ear's log likelihood ratios are scaled: what is next to each other is not independent.
        deaf: how probably a model shows an object whether it sounds or not; asked of what an ear knows alone.
        trust: by which the final log odds are scaled: evidence that comes from one clip is not independent.
    """

    error_rates: tuple[float, ...] = (0.3, 0.15, 0.2, 0.25, 0.1)
    stubborn: float = 0.03
    hearing: float = 1.5
    seen: float = 0.9
    missed: float = 0.005
    shift: float = 3.5
    shift_frame: float = 0.15
    surest_silence: float = 0.96
    unseen_source: float = 0.7
    ear: float = 1.0
    deaf: float = 0.15
    trust: float = 1.0

    def __post_init__(self) -> None:
        if len(self.error_rates) != len(ERROR_RATES):
            raise CoPropError(f"beliefs weigh {len(ERROR_RATES)} error rates, got {len(self.error_rates)}.")
        for item in fields(self):
            values = np.atleast_1d(np.asarray(getattr(self, item.name), float))
            if not (np.isfinite(values) & (values > 0)).all():
                raise CoPropError(f"the belief '{item.name}' is above 0, got {getattr(self, item.name)!r}.")

    @classmethod
    def named(cls, beliefs: Mapping[str, float]) -> Beliefs:
        """The fitted beliefs, some of them set anew.

        Raises:
            CoPropError: a belief that there is not.
        """
        known = [item.name for item in fields(cls)]
        for name in beliefs:
            if name not in known:
                raise unknown_name("belief of consensus", name, known)
        return replace(FITTED, **beliefs)  # type: ignore[arg-type]


FITTED = Beliefs()
