from __future__ import annotations

import numpy as np
import pytest

from aroface.evaluation.statistics import bootstrap


def counts(weights):
    return {f"item{item}": column.astype(float) for item, column in enumerate(weights.T)}


def test_every_replicate_keeps_the_size_of_every_stratum():
    strata = np.array([True, False, True, True, False])
    drawn = np.stack(list(bootstrap.samples(counts, strata, replicates=120).values()), axis=1)
    assert drawn.shape == (120, 5)
    np.testing.assert_array_equal(drawn[:, strata].sum(axis=1), 3)
    np.testing.assert_array_equal(drawn[:, ~strata].sum(axis=1), 2)


def test_every_item_is_drawn_once_on_average():
    drawn = bootstrap.samples(counts, np.zeros(4), replicates=4000)
    for values in drawn.values():
        assert values.mean() == pytest.approx(1, abs=0.06)
        assert values.var() == pytest.approx(3 / 4, abs=0.08)


def test_seeds_decide_the_draws():
    first, again, other = (bootstrap.samples(counts, np.zeros(9), 60, seed)["item0"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(2, 1, 900)
    samples = bootstrap.samples(lambda weights: {"mean": weights @ values / 900}, np.zeros(900), 2000)["mean"]
    low, high = bootstrap.interval(samples)
    half = 1.96 * values.std() / 30
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.006)


def test_conditions_on_the_same_items_are_paired():
    """A constant difference has no spread, whatever the spread of each condition."""
    values = np.random.default_rng(1).normal(size=50)
    one, other = (
        bootstrap.samples(lambda weights, shift=shift: {"mean": weights @ (values + shift) / 50}, np.zeros(50), 200)
        for shift in (0.0, 0.25)
    )
    assert np.ptp(one["mean"]) > 0.1
    np.testing.assert_allclose(other["mean"] - one["mean"], 0.25)
