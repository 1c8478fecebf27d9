"""The losses against their definitions written out, the schedule and the order of items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coprop_plugin.errors import CheckpointError, CoPropError
from coprop_plugin.training.losses import (
    HARDEST_SHARE,
    IGNORE,
    bootstrapped_cross_entropy,
    kept_share,
    mask_loss,
    soft_jaccard,
)
from coprop_plugin.training.sampler import Sampler
from coprop_plugin.training.schedule import Schedule


def scores(num_frames: int = 2, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """``(B, 4, 6, 7)`` logits and labels, some pixels not known, channel 3 never shown."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 3, (num_frames, 6, 7))
    return torch.from_numpy(rng.standard_normal((num_frames, 4, 6, 7))), torch.from_numpy(labels)


def test_all_pixels_are_the_plain_cross_entropy() -> None:
    logits, labels = scores()
    for frame in range(2):
        expected = F.cross_entropy(logits[frame : frame + 1], labels[frame : frame + 1], ignore_index=IGNORE)
        torch.testing.assert_close(bootstrapped_cross_entropy(logits, labels, kept=1)[frame], expected)


@pytest.mark.parametrize("kept", [0.15, 0.5, 0.999])
def test_the_hardest_pixels_count(kept: float) -> None:
    logits, labels = scores()
    found = bootstrapped_cross_entropy(logits, labels, kept=kept)
    for frame in range(2):
        log_p = logits[frame].log_softmax(dim=0)
        losses = sorted(
            (-log_p[labels[frame, y, x], y, x].item() for y in range(6) for x in range(7) if labels[frame, y, x] >= 0),
            reverse=True,
        )
        count = round(len(losses) * kept)
        assert found[frame].item() == pytest.approx(sum(losses[:count]) / count)


def test_soft_jaccard_is_its_formula() -> None:
    logits, labels = scores()
    found = soft_jaccard(logits, labels)
    for frame in range(2):
        p, known = logits[frame].softmax(dim=0), labels[frame] != IGNORE
        terms = []
        for channel in range(4):
            g = (labels[frame] == channel).double()
            if g.any():
                hit, missed, wrong = p[channel] * g, (1 - p[channel]) * g, p[channel] * (1 - g) * known
                terms.append(1 - hit.sum() / (hit.sum() + missed.sum() + wrong.sum() + 1e-6))
        assert len(terms) == 3
        torch.testing.assert_close(found[frame], torch.stack(terms).mean())


def test_frames_without_labels_cost_nothing_and_break_nothing() -> None:
    logits, labels = scores()
    labels[1] = IGNORE
    logits.requires_grad_()
    losses = mask_loss(logits, labels, progress=0.6)
    assert losses[0] > 0.1 and losses[1] == 0
    losses.sum().backward()
    assert torch.isfinite(logits.grad).all() and (logits.grad[1] == 0).all()


def test_perfect_masks_cost_almost_nothing() -> None:
    _, labels = scores()
    labels = labels.clamp(min=0)
    assert mask_loss(40.0 * F.one_hot(labels, 4).permute(0, 3, 1, 2), labels, progress=1).max() < 1e-6


def test_kept_share_falls_over_the_first_half() -> None:
    assert [kept_share(p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([1, 0.575, HARDEST_SHARE, HARDEST_SHARE])


class TestSchedule:
    def test_rises_then_falls(self) -> None:
        schedule = Schedule(steps=200, warm_up=0.05)
        rates = [schedule.rate(step) for step in range(200)]
        assert int(np.argmax(rates)) == 10 and rates[10] == schedule.learning_rate
        assert np.all(np.diff(rates[:11]) > 0) and np.all(np.diff(rates[10:]) < 0)
        assert schedule.final_rate < rates[-1] < 1.2 * schedule.final_rate
        half = schedule.final_rate + (schedule.learning_rate - schedule.final_rate) * 0.5**0.9
        assert schedule.rate(105) == pytest.approx(half)

    def test_one_step_and_no_warm_up(self) -> None:
        assert Schedule(steps=1).rate(0) == Schedule().learning_rate

    @pytest.mark.parametrize(
        "wrong",
        [{"steps": 0}, {"batch": 0}, {"seed": -1}, {"learning_rate": float("nan")}, {"clip_norm": 0}, {"warm_up": 1}],
    )
    def test_settings_out_of_range(self, wrong: dict[str, float]) -> None:
        with pytest.raises(CoPropError, match="got"):
            replace(Schedule(), **wrong)


class TestSampler:
    def test_every_epoch_holds_every_item(self) -> None:
        sampler = Sampler(7, batch=3, seed=1)
        drawn = [item for _ in range(7) for item in sampler.next()]
        epochs = [drawn[i : i + 7] for i in (0, 7, 14)]
        assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
        assert epochs[0] != epochs[1] != epochs[2]

    def test_restored_goes_on(self) -> None:
        whole = Sampler(5, batch=3, seed=2)
        drawn = [whole.next() for _ in range(9)]
        first = Sampler(5, batch=3, seed=2)
        for expected in drawn[:4]:
            assert first.next() == expected
        second = Sampler(5, batch=3, seed=2)
        second.restore(first.state())
        assert [second.next() for _ in range(5)] == drawn[4:]

    def test_other_data_is_refused(self) -> None:
        with pytest.raises(CheckpointError, match="drew from 5 items, the data set now holds 6"):
            Sampler(6, batch=1, seed=0).restore(Sampler(5, batch=1, seed=0).state())

    def test_nothing_to_train_on(self) -> None:
        with pytest.raises(CoPropError, match="the data set is empty"):
            Sampler(0, batch=1, seed=0)
