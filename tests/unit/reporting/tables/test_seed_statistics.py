from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aroface.reporting.tables.seed_statistics import (
    estimate,
    holm,
    paired_difference,
    percent,
    prediction_interval,
    rounded,
)


@pytest.mark.parametrize(
    ("value", "decimals", "printed"),
    [
        ("0.67325", 2, "67.33"),
        ("0.02675", 2, "2.68"),  # f"{2.675:.2f}" gives 2.67
        ("0.00125", 2, "0.13"),  # half to even would give 0.12
        ("0.99995", 2, "100.00"),
        ("1", 2, "100.00"),
        ("0.676", 1, "67.6"),
        ("0.5", 0, "50"),
    ],
)
def test_percentages_round_half_up(value: str, decimals: int, printed: str):
    assert percent(Decimal(value), decimals) == printed


def test_signs():
    assert rounded(Decimal("0.004"), 2, signed=True) == "0.00"
    assert rounded(Decimal("-0.004"), 2, signed=True) == "0.00"
    assert rounded(Decimal("-0.004"), 2) == "0.00"
    assert rounded(Decimal("0.005"), 2, signed=True) == "+0.01"
    assert rounded(Decimal("-0.005"), 2) == "-0.01"


@given(st.decimals(min_value=-1000, max_value=1000, places=6), st.integers(0, 4))
def test_rounding_is_exact(value: Decimal, decimals: int):
    step = Fraction(1, 10**decimals)
    gap = abs(Fraction(rounded(value, decimals))) - abs(Fraction(value))
    assert -step / 2 < gap <= step / 2


def test_mean_and_sample_standard_deviation():
    values = {0: 0.6732, 1: 0.6689, 2: 0.6741}
    found = estimate(values)
    assert found is not None
    assert found.n == 3
    assert float(found.mean) == pytest.approx(np.mean(list(values.values())), abs=1e-12)
    assert float(found.sd) == pytest.approx(np.std(list(values.values()), ddof=1), abs=1e-12)


def test_one_seed_has_no_spread_and_none_no_estimate():
    found = estimate({3: 0.5})
    assert found is not None
    assert (found.mean, found.sd, found.n) == (Decimal("0.5"), None, 1)
    assert estimate({}) is None


def test_paired_interval_agrees_with_the_t_test():
    rng = np.random.default_rng(0)
    minus = {seed: float(value) for seed, value in enumerate(rng.normal(0.6, 0.02, 5))}
    of = {seed: value + float(rng.normal(0.03, 0.01)) for seed, value in minus.items()}
    found = paired_difference(of, minus)
    oracle = stats.ttest_rel(list(of.values()), list(minus.values())).confidence_interval(0.95)
    assert found is not None
    assert (float(found.low), float(found.high)) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


def test_only_common_seeds_are_paired():
    found = paired_difference({0: 0.5, 1: 0.7, 2: 0.9}, {1: 0.6, 2: 0.7, 3: 0.0})
    assert found is not None
    assert (found.n, found.mean) == (2, Decimal("0.15"))
    assert paired_difference({0: 0.5}, {1: 0.5}) is None
    single = paired_difference({0: 0.5}, {0: 0.25})
    assert single is not None
    assert (single.mean, single.low, single.high) == (Decimal("0.25"), None, None)


def test_p_value_agrees_with_the_t_test():
    of, minus = {0: 0.61, 1: 0.66, 2: 0.63}, {0: 0.60, 1: 0.62, 2: 0.62}
    found = paired_difference(of, minus)
    assert found is not None
    assert found.p_value == pytest.approx(stats.ttest_rel(list(of.values()), list(minus.values())).pvalue, rel=1e-9)
    assert paired_difference(of, of).p_value == 1
    assert paired_difference({0: 0.5}, {0: 0.4}).p_value is None


def test_a_further_seed_falls_into_the_prediction_interval_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        *seen, new = rng.normal(0.6, 0.01, 4)
        low, high = prediction_interval({seed: float(value) for seed, value in enumerate(seen)}) or (None, None)
        hits += low <= new <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)
    assert prediction_interval({0: 0.5}) is None


def test_prediction_interval_by_hand():
    # mean 0.6, deviation 0.1, t of two degrees of freedom 4.302653, sqrt(4/3) 1.154701
    low, high = prediction_interval({0: 0.5, 1: 0.6, 2: 0.7}) or (None, None)
    assert (float(low), float(high)) == pytest.approx((0.6 - 0.4968276, 0.6 + 0.4968276), abs=1e-7)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
