import math

import pytest

from aroface.training.divergence import BEGINNING, DivergenceDetector


def feed(watch: DivergenceDetector, losses: list[float]) -> list[str]:
    return [words for words in map(watch.trouble, losses) if words is not None]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_trouble_at_once(loss):
    assert feed(DivergenceDetector(), [loss]) == [f"loss is {loss}"]


def test_a_loss_that_falls_or_has_peaks_is_none():
    falling = [40 * 0.99**step for step in range(500)]
    peaks = [200.0 if step % 60 == 50 else 40.0 for step in range(500)]
    assert not feed(DivergenceDetector(), falling)
    assert not feed(DivergenceDetector(), peaks)


def test_a_loss_that_stays_far_above_its_beginning_is():
    found = feed(DivergenceDetector(), [40.0] * BEGINNING + [200.0] * BEGINNING)
    assert found[0].startswith("mean loss is 8")


def test_a_loss_that_may_grow_is_only_where_it_is_no_number():
    watch = DivergenceDetector()
    losses = [0.01] * BEGINNING + [0.2] * 100 + [-3.0, math.nan]
    assert [watch.trouble(loss, may_grow=True) for loss in losses] == [None] * (len(losses) - 1) + ["loss is nan"]


def test_a_watch_goes_on_where_it_was():
    whole, first = DivergenceDetector(), DivergenceDetector()
    losses = [50.0 - step for step in range(45)]
    feed(whole, losses)
    feed(first, losses[:30])
    second = DivergenceDetector(first.seen, first.beginning, first.recent)
    feed(second, losses[30:])
    assert second == whole
