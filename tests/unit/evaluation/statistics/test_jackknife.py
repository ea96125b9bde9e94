from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, sem, ttest_rel
from scipy.stats import bootstrap as scipy_bootstrap

from aroface.evaluation.protocols.pairs import measure_pairs
from aroface.evaluation.statistics import bootstrap
from aroface.evaluation.statistics.jackknife import (
    GROUPS,
    LeaveOut,
    covariance,
    difference,
    groups_of,
    interval,
    pair_variance,
    standard_error,
)
from aroface.evaluation.statistics.multiplicity import holm
from aroface.evaluation.statistics.people_metrics import mean_of_items


@pytest.mark.parametrize("people", [2, 30, 100])
def test_the_error_of_a_mean_is_the_textbooks(people):
    values = np.random.default_rng(people).random(people)
    left_out = mean_of_items({"mean": values}, np.arange(people)).left_out
    assert left_out.units == people
    assert standard_error(left_out.values["mean"]) == pytest.approx(sem(values), rel=1e-12)


def test_the_covariance_of_two_means_is_the_textbooks():
    first, second = np.random.default_rng(0).random((2, 80))
    one, other = (mean_of_items({"m": each}, np.arange(80)).left_out.values["m"] for each in (first, second))
    assert covariance(one, other) == pytest.approx(np.cov(first, second)[0, 1] / 80, rel=1e-12)
    found = difference(first.mean(), second.mean(), one, other)
    expected = ttest_rel(second, first)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), abs=1e-12)


def test_groups_are_even_and_depend_on_the_strata_alone():
    strata = np.repeat([0, 1, 2], [250, 37, 513])
    groups = groups_of(strata)
    np.testing.assert_array_equal(groups, groups_of(strata.copy()))
    assert np.bincount(groups).tolist() == [8] * GROUPS
    for label in range(3):
        sizes = np.bincount(groups[strata == label], minlength=GROUPS)
        assert sizes.max() - sizes.min() <= 1
    assert sorted(groups_of(np.zeros(7)).tolist()) == [*range(7)]


def test_groups_of_pairs_do_not_depend_on_the_network():
    rng = np.random.default_rng(1)
    same, images = rng.random(200) < 0.5, rng.integers(150, size=(200, 2))
    one, other = (measure_pairs(rng.random(200) + ~same, same, images) for _ in range(2))
    assert one.left_out.units == other.left_out.units
    first = measure_pairs(np.where(same, 0.0, 2.0), same, images).left_out.values["accuracy"]
    assert len(first) == len(one.left_out.values["auc"]) == min(GROUPS, one.left_out.units)


@pytest.mark.parametrize(("hits", "people"), [(30, 30), (0, 30), (1, 1), (2, 2)])
def test_where_nobody_differs_the_interval_is_the_exact_one(hits, people):
    measured = mean_of_items({"rank1": np.arange(people) < hits}, np.arange(people))
    if people < 2:
        assert measured.intervals() == {}
        assert measured.left_out.finite().values == {}
        return
    expected = binomtest(hits, people).proportion_ci(0.95, "exact")
    assert measured.intervals()["rank1"] == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_values_that_are_not_defined_without_somebody_have_no_interval():
    left = np.array([0.4, np.nan, 0.6])
    assert np.isnan(interval(0.5, left, 3)).all()
    assert np.isnan(difference(0.5, 0.6, left, np.array([0.5, 0.6, 0.7])).p_value)
    part = LeaveOut("people", 3, {"a": left, "b": np.array([0.4, 0.5, 0.6])}).finite()
    assert part.values.keys() == {"b"}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(1, 5))
def test_intervals_hold_the_value_and_are_rates(hits, each):
    people = np.arange(len(hits)) // each
    measured = mean_of_items({"rank1": np.array(hits)}, people)
    for name, (low, high) in measured.intervals().items():
        assert 0 <= low <= measured.values[name] <= high <= 1
        assert high > low or people.max() == 0


def test_few_people_who_make_all_the_difference_widen_the_interval():
    """The same standard error, of contributions that are even, and that of one person."""
    even = 0.9 + 0.001 * np.tile([1, -1], 50)
    one = np.full(100, 0.9)
    one[0] = 0.9 + np.sqrt(np.sum((even - even.mean()) ** 2) * 100 / 99)
    assert standard_error(one) == pytest.approx(standard_error(even))
    widths = [np.subtract(*reversed(interval(0.9, left, 100))) for left in (even, one)]
    assert widths[1] > 2 * widths[0]


def means_over_pairs(rng, people, own, shared):
    """A mean over all pairs of what is each one's own and what is a pair's: without each, by each two; its variance."""
    effects, noise = rng.normal(0, own, people), np.triu(rng.normal(0, shared, (people, people)), 1)
    values = 0.5 + effects[:, None] + effects + noise + noise.T
    np.fill_diagonal(values, 0)
    sums, count = values.sum(axis=1), people * (people - 1) / 2
    total, fewer = sums.sum() / 2, (people - 1) * (people - 2) / 2
    together = (values - total / count) / count
    return total / count, (total - sums) / fewer, together, 4 * own**2 / people + shared**2 / count


@pytest.mark.parametrize(("own", "shared"), [(0.02, 0.0), (0.02, 0.2), (0.0, 0.2)])
def test_what_pairs_bring_about_counts_once(own, shared):
    drawn = [means_over_pairs(np.random.default_rng(each), 60, own, shared) for each in range(300)]
    truth = drawn[0][3]
    variances = [standard_error(left) ** 2 for _, left, *_ in drawn]
    assert np.mean(variances) == pytest.approx(truth + shared**2 / 1770, rel=0.08)  # of 60 * 59 / 2 pairs
    assert np.mean([pair_variance(cells) for *_, cells, _ in drawn]) == pytest.approx(
        shared**2 / 1770, rel=0.02, abs=1e-12
    )
    ends = [interval(value, left, 60, together=cells) for value, left, cells, _ in drawn]
    wide = [interval(value, left, 60) for value, left, _, _ in drawn]
    assert 0.92 <= np.mean([low <= 0.5 <= high for low, high in ends]) <= 0.98
    assert np.mean([low <= 0.5 <= high for low, high in wide]) >= (0.98 if own == 0 else 0.93)


def test_pairs_count_once_in_differences_too():
    rejected, before = [], []
    for each in range(300):
        rng = np.random.default_rng(each)
        (one, left, cells, _), (other, theirs, more, _) = (means_over_pairs(rng, 60, 0.01, 0.2) for _ in range(2))
        rejected.append(difference(one, other, left, theirs, together=more - cells).p_value < 0.05)
        before.append(difference(one, other, left, theirs).p_value < 0.05)
    assert np.mean(before) < 0.02 < np.mean(rejected) < 0.08


def test_no_variance_of_pairs_from_few_groups_or_where_people_add_up():
    effects = np.arange(30.0)
    assert pair_variance(effects[:, None] + effects) == pytest.approx(0, abs=1e-20)
    assert pair_variance(np.random.default_rng(0).random((9, 9))) == 0


def test_no_p_value_is_below_that_of_so_many_groups():
    found = difference(0.0, 0.5, np.zeros(4), np.full(4, 0.5))
    assert found.p_value == 2**-3


def test_runs_that_never_differ_have_the_interval_of_so_many_people():
    found = difference(0.9, 0.9, np.full(50, 0.9), np.full(50, 0.9), trials=50)
    assert (found.value, found.p_value) == (0, 1)
    assert found.high == -found.low == pytest.approx(1 - 0.025 ** (1 / 50))


def test_the_bootstrap_is_scipys():
    values = np.random.default_rng(2).exponential(size=400)
    drawn = bootstrap.samples(lambda weights: {"mean": weights @ values / 400}, np.zeros(400), 4000)["mean"]
    expected = scipy_bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=3)
    assert bootstrap.interval(drawn) == pytest.approx(tuple(expected.confidence_interval), abs=0.01)
    assert drawn.std(ddof=1) == pytest.approx(expected.standard_error, rel=0.05)
    left_out = mean_of_items({"mean": values}, np.arange(400)).left_out.values["mean"]
    assert standard_error(left_out) == pytest.approx(expected.standard_error, rel=0.15)  # of 100 groups


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [([], []), ([0.2], [0.2]), ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]), ([0.9, 0.6, 0.001], [1.0, 1.0, 0.003])],
)
def test_holm_steps_down(p_values, expected):
    assert holm(p_values) == pytest.approx(expected)


def test_intervals_cover_the_truth_where_people_have_much_in_common():
    """200 people with 20 probes each, a rank of .9: 93 to 97 of 100 intervals hold it, and t keeps its size."""
    rng = np.random.default_rng(4)
    people, each, draws = 200, 20, 600
    owners, threshold = np.repeat(np.arange(people), each), np.sqrt(2) * 1.2815515655
    covered = []
    for _ in range(draws):
        hits = rng.normal(size=people)[owners] + rng.normal(size=people * each) < threshold
        low, high = mean_of_items({"rank1": hits}, owners).intervals()["rank1"]
        covered.append(low <= 0.9 <= high)
    assert 0.925 <= np.mean(covered) <= 0.975


def test_pair_sets_cover_the_truth():
    """600 pairs of 120 people, some hard to recognise and some alike to many: the AUC of very many people."""
    rng = np.random.default_rng(5)
    pairs, people = 600, 120

    def one_set(pairs, people):
        same = np.arange(pairs) % 2 == 0
        first = rng.integers(people, size=pairs)
        second = np.where(same, first, (first + 1 + rng.integers(people - 1, size=pairs)) % people)
        hard, alike = rng.normal(size=(2, people))
        scores = np.where(same, 1.6 + 0.5 * hard[first], 0.4 * (alike[first] + alike[second]))
        return scores + rng.normal(0, 0.6, pairs), same, np.stack([first, second], axis=1)

    scores, same, _ = one_set(400_000, 200_000)
    order = np.argsort(np.argsort(scores))
    truth = (order[same].mean() - (np.count_nonzero(same) - 1) / 2) / np.count_nonzero(~same)
    covered = []
    for _ in range(60):
        scores, same, owners = one_set(pairs, people)
        low, high = measure_pairs(2 - 0.2 * scores, same, owners).intervals()["auc"]
        covered.append(low <= truth <= high)
    assert np.mean(covered) >= 0.85
