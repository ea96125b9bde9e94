from __future__ import annotations

import pytest
from scipy.stats import binom, binomtest

from aroface.evaluation.statistics.exact import clopper_pearson


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (0, 50), (50, 50), (1, 50), (17, 50), (2990, 3000)])
def test_interval_is_that_of_the_inverted_binomial_test(hits, trials):
    expected = binomtest(hits, trials).proportion_ci(0.95, "exact")
    assert clopper_pearson(hits, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.95])
def test_interval_covers_the_rate_often_enough(rate):
    covering = [low <= rate <= high for low, high in (clopper_pearson(hits, 60) for hits in range(61))]
    assert sum(binom.pmf(hits, 60, rate) for hits in range(61) if covering[hits]) >= 0.95
