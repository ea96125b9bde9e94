from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from aroface.reporting.statistics.over_methods import (
    gain_over_methods,
    interaction_p,
    interquartile_mean,
    mean_squares,
)
from aroface.reporting.statistics.samples import Sample


def cells(gains: np.ndarray, floor: float = 0.0) -> list[Sample]:
    return [Sample(dict(enumerate(row)), floor=floor) for row in gains.tolist()]


@pytest.fixture
def gains() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(0.02, 0.01, (5, 1)) + rng.normal(0, 0.004, (1, 3)) + rng.normal(0, 0.006, (5, 3))


def test_mean_squares_by_loops(gains: np.ndarray):
    count, seeds = gains.shape
    whole = sum(gains.ravel()) / gains.size
    rows = [sum(row) / seeds for row in gains]
    columns = [sum(column) / count for column in gains.T]
    methods = seeds * sum((each - whole) ** 2 for each in rows) / (count - 1)
    of_seeds = count * sum((each - whole) ** 2 for each in columns) / (seeds - 1)
    left = sum((gains[m, k] - rows[m] - columns[k] + whole) ** 2 for m, k in product(range(count), range(seeds)))
    expected = (methods, of_seeds, left / (count - 1) / (seeds - 1))
    np.testing.assert_allclose(mean_squares(gains), expected, rtol=1e-12)


def test_without_an_effect_of_seeds_it_is_the_t_interval_of_the_methods_means():
    rng = np.random.default_rng(5)
    gains = rng.normal(0.02, 0.01, (6, 4))
    gains += gains.mean() - gains.mean(axis=0)  # seeds do not differ
    found = gain_over_methods(cells(gains))
    assert found is not None
    expected = stats.t.interval(0.95, 5, gains.mean(), stats.sem(gains.mean(axis=1)))
    np.testing.assert_allclose([float(found.low), float(found.high)], expected, rtol=1e-9)


def test_where_only_seeds_differ_their_mean_decides():
    gains = np.array([[0.01, 0.02, 0.06]] * 4) + 1e-9 * np.random.default_rng(0).normal(size=(4, 3))
    found = gain_over_methods(cells(gains))
    assert found is not None
    expected = stats.t.interval(0.95, 2, gains.mean(), stats.sem(gains.mean(axis=0)))
    np.testing.assert_allclose([float(found.low), float(found.high)], expected, rtol=1e-4)


def test_inconsistency_is_that_of_a_meta_analysis_with_equal_weights(gains: np.ndarray):
    _, _, rest = mean_squares(gains)
    means = gains.mean(axis=1)
    q = np.square(means - means.mean()).sum() / (rest / gains.shape[1])
    found = gain_over_methods(cells(gains))
    assert found is not None
    assert found.inconsistency == pytest.approx(max(0.0, (q - 4) / q), rel=1e-12)
    assert found.method_sd**2 == pytest.approx(means.var(ddof=1) - rest / 3, rel=1e-9)


def test_the_permutation_test_counts_all_permutations():
    gains = np.array([[0.1, 0.3], [0.2, 0.1], [0.6, 0.4]])
    observed = gains.mean(axis=1).var()
    every = [
        np.stack([gains[list(one), 0], gains[list(other), 1]], axis=1).mean(axis=1).var()
        for one, other in product(permutations(range(3)), repeat=2)
    ]
    exact = np.mean([each >= observed - 1e-12 for each in every])
    assert interaction_p(gains, 20_000) == pytest.approx(exact, abs=0.01)


def test_a_visible_spread_is_seen_in_four_of_five_cases(gains: np.ndarray):
    found = gain_over_methods(cells(gains))
    assert found is not None
    rng = np.random.default_rng(7)
    _, _, rest = mean_squares(gains)
    count, seeds = gains.shape
    effects = rng.normal(0, found.visible_sd, (20_000, count, 1)) + rng.normal(0, rest**0.5, (20_000, count, seeds))
    f = [stats.f_oneway(*each).statistic for each in effects[:2000]]  # independent: one way, with more degrees left
    assert np.mean(np.array(f) > stats.f.ppf(0.95, count - 1, count * (seeds - 1))) == pytest.approx(0.8, abs=0.04)


def test_draws_of_people_widen_the_interval(gains: np.ndarray):
    groups = np.random.default_rng(1).normal(0, 0.002, 40)
    people = [
        Sample(cell.values, {"all": {seed: value + groups for seed, value in cell.values.items()}})
        for cell in cells(gains)
    ]
    narrow, wide = gain_over_methods(cells(gains)), gain_over_methods(people)
    assert narrow is not None
    assert wide is not None
    assert (narrow.scope, wide.scope) == ("this benchmark", "faces like these")
    assert wide.half > narrow.half
    assert wide.mean == narrow.mean


@pytest.mark.parametrize(
    ("gains", "floor"),
    [([[0.1, 0.2]], 0.0), ([[0.1], [0.2]], 0.0), ([[0.1, 0.1], [0.1, 0.1]], 0.0)],
    ids=["one method", "one seed", "all equal"],
)
def test_too_little_has_no_interval(gains: list[list[float]], floor: float):
    assert gain_over_methods(cells(np.array(gains), floor)) is None
    assert gain_over_methods([]) is None


def test_equal_gains_of_a_grainy_metric_have_the_interval_of_its_grain():
    found = gain_over_methods(cells(np.full((3, 4), 0.1), floor=0.002))
    assert found is not None
    assert float(found.error) == pytest.approx(0.002 / np.sqrt(12), rel=1e-9)


def test_the_interquartile_mean_by_hand_and_its_interval():
    rng = np.random.default_rng(2)
    columns = {name: rng.normal(0.02, 0.01, (4, 5)) for name in ("lfw", "tinyface")}
    found = interquartile_mean({name: cells(column) for name, column in columns.items()}, draws=2000)
    assert found is not None
    whole, low, high = found
    every = np.sort(np.concatenate([column.ravel() for column in columns.values()]))
    assert whole == pytest.approx(every[10:30].mean(), rel=1e-12)
    assert low < whole < high
    drawn = []
    for _ in range(2000):
        seeds = rng.integers(5, size=5)
        values = [column[method, seed] for column in columns.values() for method in range(4) for seed in seeds]
        drawn.append(sum(sorted(values)[10:30]) / 20)
    half = stats.t.ppf(0.975, 4) * np.std(drawn) * np.sqrt(5 / 4)
    np.testing.assert_allclose([low, high], [whole - half, whole + half], atol=0.1 * half)
    assert interquartile_mean({"lfw": [Sample({0: 0.1}), Sample({1: 0.1})]}) is None
