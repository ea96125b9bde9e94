from __future__ import annotations

import math
from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aroface.reporting.statistics.intervals import (
    SeedInterval,
    best_interval,
    estimate,
    obuchowski_rockette,
    on_faces_like_these,
    on_this_benchmark,
    one_further_run,
    people_variance,
    standard_error,
)
from aroface.reporting.statistics.samples import (
    Sample,
    against_reported,
    deviation_floor,
    difference,
    mean_of,
)

FIRST = {0: 0.61, 1: 0.66, 2: 0.63}
SECOND = {0: 0.60, 1: 0.62, 2: 0.62}


def ends(found: SeedInterval | None) -> tuple[float, float]:
    assert found is not None
    assert found.low is not None and found.high is not None
    return float(found.low), float(found.high)


def by_seed(values: object) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


def shared_people(variance: float, seeds: int) -> dict[int, np.ndarray]:
    """Values without each of two groups whose covariance is ``variance`` between any two seeds."""
    return {seed: np.array([0.5, -0.5]) * math.sqrt(4 * variance) for seed in range(seeds)}


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
    assert on_this_benchmark(Sample({})) is None
    single = on_this_benchmark(Sample({3: 0.5}))
    assert single is not None
    assert (single.mean, single.low, single.high, single.p_value) == (Decimal("0.5"), None, None, None)
    assert single.tail(Decimal(0), "below") == 1
    assert on_faces_like_these(Sample({0: 0.5}, {"people": shared_people(1e-4, 1)})) is None


def test_the_interval_on_this_benchmark_and_its_p_value_are_those_of_the_paired_t_test():
    found = on_this_benchmark(difference(Sample(FIRST), Sample(SECOND)))
    oracle = stats.ttest_rel(list(FIRST.values()), list(SECOND.values()))
    assert ends(found) == pytest.approx(tuple(oracle.confidence_interval(0.95)), abs=1e-12)
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-9)
    assert found.tail(Decimal(0), "above") == pytest.approx(oracle.pvalue / 2, rel=1e-9)
    assert found.tail(Decimal(0), "below") == pytest.approx(1 - oracle.pvalue / 2, rel=1e-9)
    assert found.scope == "this benchmark"


def test_only_common_seeds_are_paired():
    found = difference(Sample({0: 0.5, 1: 0.7, 2: 0.9}), Sample({1: 0.6, 2: 0.7, 3: 0.0}))
    assert found.values == {1: 0.1, 2: 0.2}
    assert difference(Sample({0: 0.5}), Sample({1: 0.5})).values == {}


def test_equal_seeds_allow_no_p_value():
    equal = Sample({0: 0.01, 1: 0.01, 2: 0.01})
    found = on_this_benchmark(equal)
    assert (found.low, found.p_value) == (None, None)
    counts = difference(
        Sample({s: (2700 + 2 * s) / 3728 for s in range(3)}), Sample({s: (2600 + 2 * s) / 3728 for s in range(3)})
    )
    assert len({*counts.values.values()}) > 1, "equal but for the rounding of binary numbers"
    assert on_this_benchmark(counts).p_value is None
    # A step of .006 may hide a deviation of .006 / sqrt(6) of a difference.
    floored = difference(Sample(FIRST, floor=deviation_floor(0.006)), Sample(FIRST, floor=deviation_floor(0.006)))
    found = on_this_benchmark(floored)
    half = stats.t.ppf(0.975, 2) * 0.006 / math.sqrt(6) / math.sqrt(3)
    assert ends(found) == pytest.approx((-half, half), rel=1e-9)
    assert found.p_value is None


def test_no_deviation_is_smaller_than_the_resolution_allows():
    floor = deviation_floor(0.01)
    of, minus = {0: 0.5101, 1: 0.5102, 2: 0.5103}, {0: 0.50, 1: 0.50, 2: 0.50}
    loose = on_this_benchmark(difference(Sample(of), Sample(minus)))
    firm = on_this_benchmark(difference(Sample(of, floor=floor), Sample(minus, floor=floor)))
    assert loose.p_value < 1e-3 < firm.p_value
    assert firm.p_value == pytest.approx(2 * stats.t.sf(0.0102 / (0.01 / math.sqrt(18)), 2), rel=1e-6)


# Van Dyke et al., 114 cases read by five readers in two modalities: areas, covariances by jackknife, and the results of
# OR-DBM MRMC 2.51 (Schartz, Hillis, Pesce, Berbaum), analysis 1, random readers and random cases; printed in
# inst/IowaResults/VanDyke_trap_area_jackknife_anova.txt of the R package RJafroc. The method: Hillis 2007.
AREAS = (
    (0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066),
    (0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169),
)
COV2, COV3 = 0.00034407, 0.00023903


def test_the_difference_of_the_van_dyke_data_is_as_published():
    gaps = by_seed(np.subtract(*AREAS))
    found = on_faces_like_these(Sample(gaps, {"cases": shared_people(2 * (COV2 - COV3), 5)}))
    assert float(found.mean) == pytest.approx(-0.04380032, abs=1e-8)
    assert found.spread / 2 == pytest.approx(0.00055103, abs=5e-9)  # the mean square of treatments and readers
    assert float(found.error) == pytest.approx(0.02075, abs=5e-6)
    assert found.degrees == pytest.approx(15.26, abs=0.005)
    assert ends(found) == pytest.approx((-0.08796, 0.00036), abs=6e-6)
    assert found.p_value == pytest.approx(0.0517, abs=5e-5)
    assert float(found.mean / found.error) ** 2 == pytest.approx(4.46, abs=0.005)  # F of one treatment's degree


@pytest.mark.parametrize(
    ("areas", "cov2", "error", "degrees", "interval"),
    [
        (AREAS[0], 0.00048396, 0.03317360, 12.74, (0.82522360, 0.96885048)),
        (AREAS[1], 0.00020419, 0.02156637, 12.71, (0.89413783, 0.98753689)),
    ],
)
def test_each_modality_of_the_van_dyke_data_is_as_published(
    areas: tuple[float, ...], cov2: float, error: float, degrees: float, interval: tuple[float, float]
):
    found = on_faces_like_these(Sample(by_seed(areas), {"cases": shared_people(cov2, 5)}))
    assert float(found.error) == pytest.approx(error, abs=2e-7)
    assert found.degrees == pytest.approx(degrees, abs=0.005)
    assert ends(found) == pytest.approx(interval, abs=5e-7)


def naive_obuchowski_rockette(areas: np.ndarray, left_out: np.ndarray) -> tuple[float, float, tuple[float, float]]:
    """Analysis of two treatments (2, r) with left-out values (2, r, G), term by term as the papers write it."""
    _, readers, groups = left_out.shape

    def covariance(i: int, j: int, k: int, m: int) -> float:
        one, other = left_out[i, j], left_out[k, m]
        return (groups - 1) / groups * sum((one[g] - one.mean()) * (other[g] - other.mean()) for g in range(groups))

    apart = [(j, m) for j, m in product(range(readers), repeat=2) if j != m]
    cov2 = np.mean([covariance(i, j, i, m) for i in range(2) for j, m in apart])
    cov3 = np.mean([covariance(i, j, 1 - i, m) for i in range(2) for j, m in apart])
    residuals = areas - areas.mean(0) - areas.mean(1, keepdims=True) + areas.mean()
    mean_square = float(np.sum(residuals**2)) / (readers - 1)
    denominator = mean_square + readers * max(cov2 - cov3, 0.0)
    degrees = denominator**2 / (mean_square**2 / (readers - 1))
    error = math.sqrt(2 / readers * denominator)
    gap = areas[0].mean() - areas[1].mean()
    half = stats.t.ppf(0.975, degrees) * error
    return error, degrees, (gap - half, gap + half)


@pytest.mark.parametrize("seed", range(6))
def test_two_methods_agree_with_a_naive_analysis_of_variance(seed: int):
    rng = np.random.default_rng(seed)
    readers, groups = 4, 20
    people = rng.normal(0, 0.3, (2, 1, groups)) + rng.normal(0, 0.1, (2, readers, groups))
    people += 0.7 + rng.normal(0, 0.005, (2, readers, 1))
    areas, left_out = people.mean(2), (people.sum(2, keepdims=True) - people) / (groups - 1)
    samples = [Sample(by_seed(areas[i]), {"people": {j: left_out[i, j] for j in range(readers)}}) for i in range(2)]
    found = on_faces_like_these(difference(*samples))
    error, degrees, interval = naive_obuchowski_rockette(areas, left_out)
    assert obuchowski_rockette(found.spread / readers, found.shared, readers) == pytest.approx((error, degrees))
    assert ends(found) == pytest.approx(interval, abs=1e-9)


def test_cells_of_one_benchmark_share_people_and_other_benchmarks_are_independent():
    rng = np.random.default_rng(0)
    one, other = ({seed: rng.normal(0.6, 0.01, 30) for seed in range(3)} for _ in range(2))
    values = {0: 0.60, 1: 0.61, 2: 0.59}
    apart = mean_of([Sample(values, {"a": one}), Sample(values, {"b": other})])
    both = people_variance(Sample(values, {"a": one})) + people_variance(Sample(values, {"b": other}))
    raw = [sum(np.cov(v[i], v[j], bias=True)[0, 1] * 29 for i, j in ((0, 1), (0, 2), (1, 2))) / 3 for v in (one, other)]
    assert people_variance(apart) == pytest.approx(max(sum(raw) / 4, 0.0))
    assert both == pytest.approx(sum(max(each, 0.0) for each in raw))
    twice = mean_of([Sample(values, {"a": one}), Sample(values, {"a": one})])
    assert people_variance(twice) == pytest.approx(people_variance(Sample(values, {"a": one})))
    negated = mean_of([Sample(values, {"a": one}), Sample(values, {"a": {s: -v for s, v in one.items()}})])
    assert people_variance(negated) == pytest.approx(0, abs=1e-18)


def test_people_that_are_not_the_same_give_no_interval_on_faces():
    groups = shared_people(1e-4, 3)
    found = difference(Sample(FIRST, {"a": groups}), Sample(SECOND, {"b": groups}))
    assert "same people" in found.lacking
    assert on_faces_like_these(found) is None
    assert best_interval(found).scope == "this benchmark"
    missing = difference(Sample(FIRST, {"a": groups}), Sample(SECOND, lacking="none kept"))
    assert (missing.left_out, missing.lacking) == ({}, "none kept")
    assert mean_of([found, missing]).left_out == {}


@given(st.floats(1e-8, 1e-2), st.floats(0, 1e-2), st.integers(2, 20), st.booleans())
def test_other_faces_are_never_less_uncertain_than_this_benchmark(spread: float, shared: float, n: int, run: bool):
    error, degrees = standard_error(spread, shared, n, one_run=run)
    alone = math.sqrt(spread * (1 / n + run))
    assert stats.t.ppf(0.975, degrees) * error >= stats.t.ppf(0.975, n - 1) * alone * (1 - 1e-12)
    assert degrees >= n - 1


def test_a_p_value_is_never_below_that_over_seeds_alone():
    values = by_seed((0.030, 0.031, 0.032))
    alone = on_this_benchmark(Sample(values))
    for shared in (1e-12, 1e-7, 1e-6, 1e-4):
        found = on_faces_like_these(Sample(values, {"people": shared_people(shared, 3)}))
        for bound in (Decimal(0), Decimal("0.028")):
            assert found.tail(bound, "above") >= alone.tail(bound, "above") * (1 - 1e-9)
        assert found.p_value >= alone.p_value * (1 - 1e-9)
        # The p-value of a bound at an end of the interval is the interval's level.
        assert found.tail(found.low, "above") == pytest.approx(0.025, rel=1e-6)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("share", [0.1, 1.0, 10.0])
def test_the_interval_on_faces_holds_what_it_says(seeds: int, share: float):
    """Truth over draws of seeds and people; ``share`` is the people's variance over that of the mean over seeds."""
    rng = np.random.default_rng(0)
    shared = share / seeds
    people = shared_people(shared, seeds)
    hits = 0
    for _ in range(1500):
        values = rng.standard_normal(seeds) + rng.standard_normal() * math.sqrt(shared)
        low, high = ends(on_faces_like_these(Sample(by_seed(values), {"people": people})))
        hits += low <= 0 <= high
    assert 0.925 <= hits / 1500 <= 0.99


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_a_further_run_and_a_reported_run_are_covered_as_often_as_is_said(seeds: int):
    rng = np.random.default_rng(0)
    further = reported = 0
    for _ in range(1500):
        *seen, new = rng.normal(0.6, 0.01, seeds + 1)
        low, high = ends(one_further_run(Sample(by_seed(seen))))
        further += low <= new <= high
        low, high = ends(on_this_benchmark(against_reported(Sample(by_seed(seen)), float(new))))
        reported += low <= 0 <= high
    assert further == reported
    assert further / 1500 == pytest.approx(0.95, abs=0.018)
    assert one_further_run(Sample({0: 0.5})) is None


def test_prediction_interval_by_hand():
    # mean 0.6, deviation 0.1, t of two degrees of freedom 4.302653, sqrt(4/3) 1.154701
    assert ends(one_further_run(Sample({0: 0.5, 1: 0.6, 2: 0.7}))) == pytest.approx(
        (0.6 - 0.4968276, 0.6 + 0.4968276), abs=1e-7
    )
