"""How long a training runs and how fast it learns at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import CoPropError


@dataclass(frozen=True)
class Schedule:
    """The loop's settings: AdamW under a polynomial learning rate with a warm-up.

    The defaults are AOT's for MobileNetV2, but for the number of steps.

    Attributes:
        steps: updates in all.
        batch: items of a step.
        learning_rate, final_rate: at the end of the warm-up, and at the end.
        power: of the fall between them.
        warm_up: share of the steps over which the rate rises from 0.
        clip_norm: longer gradients are shortened to it.
        save_every: steps between two saved states.
        seed: of everything that is drawn.
    """

    steps: int = 1000
    batch: int = 8
    learning_rate: float = 2e-4
    final_rate: float = 2e-5
    power: float = 0.9
    warm_up: float = 0.05
    clip_norm: float = 5.0
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.save_every) < 1 or self.seed < 0:
            raise CoPropError(
                "a training needs steps, batch and save_every of at least 1 and a seed from 0 on; got "
                f"{self.steps}, {self.batch}, {self.save_every} and {self.seed}."
            )
        rates = (self.learning_rate, self.final_rate, self.power, self.clip_norm)
        if not all(math.isfinite(rate) and rate > 0 for rate in rates) or not 0 <= self.warm_up < 1:
            raise CoPropError(
                "learning_rate, final_rate, power and clip_norm are positive and finite, warm_up lies in [0, 1); got "
                f"{rates} and {self.warm_up}."
            )

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, …."""
        warm_up = round(self.warm_up * self.steps)
        if step < warm_up:
            return self.learning_rate * (step + 1) / (warm_up + 1)
        left = 1 - (step - warm_up) / max(1, self.steps - warm_up)
        return self.final_rate + (self.learning_rate - self.final_rate) * left**self.power

    def progress(self, step: int) -> float:
        """The share of the training that is over when a step begins."""
        return step / self.steps


@dataclass(frozen=True)
class TwoPhases(Schedule):
    """A rate that stays, and from a share of the steps on another one that stays (AAVS).

    Attributes:
        second_phase: the share.
    """

    second_phase: float = 0.5

    def rate(self, step: int) -> float:
        return self.learning_rate if self.progress(step) < self.second_phase else self.final_rate
