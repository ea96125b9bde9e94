from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aroface.evaluation.statistics.multiplicity import holm
from aroface.reporting.statistics.multiplicity import best_rows
from aroface.reporting.statistics.samples import Sample, deviation_floor

rows = st.lists(
    st.lists(st.integers(0, 1000).map(lambda number: number / 1000), min_size=3, max_size=3), min_size=1, max_size=5
)


def samples(table: object) -> list[Sample]:
    return [Sample(dict(enumerate(map(float, row)))) for row in table]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]):
    """Each hypothesis has the largest of Bonferroni's p-values of all sets of hypotheses that it belongs to."""
    indices = range(len(p_values))
    subsets = list(chain.from_iterable(combinations(indices, size) for size in range(1, len(p_values) + 1)))
    for index, adjusted in enumerate(holm(p_values)):
        oracle = max(min(1.0, len(subset) * min(p_values[i] for i in subset)) for subset in subsets if index in subset)
        assert adjusted == pytest.approx(oracle)


def test_the_best_and_what_is_not_worse_are_marked():
    table = samples([(0.900, 0.902, 0.901), (0.9001, 0.9030, 0.9005), (0.500, 0.501, 0.5021)])
    assert best_rows(table) == [True, True, False]
    assert best_rows(table, "lower") == [False, False, True]
    assert best_rows([None, *table, Sample({})]) == [False, True, True, False, False]


def test_a_row_that_cannot_be_tested_is_not_marked():
    table = samples([(0.900, 0.902, 0.901), (0.500, 0.501, 0.5021)])
    assert best_rows([*table, Sample({7: 0.9})]) == [True, False, False]


def test_equal_rows_are_marked_alike():
    best, worse = (0.900, 0.902, 0.901), (0.500, 0.501, 0.5021)
    assert best_rows(samples([best, best, worse])) == [True, True, False]
    # Lower by the same in all seeds: nothing can be said without a resolution, and with one it is worse.
    lower = tuple(value - 0.1 for value in best)
    assert best_rows(samples([best, lower, worse])) == [True, False, False]
    firm = [Sample(dict(enumerate(row)), floor=deviation_floor(0.001)) for row in (best, lower)]
    assert best_rows(firm) == [True, False]


@given(rows)
def test_marks_are_the_best_and_others_or_none_at_all(table: list[list[float]]):
    marks = best_rows(samples(table))
    assert not all(marks)
    if any(marks):
        means = [sum(row) for row in table]
        assert marks[means.index(max(means))]
        worst_marked = min(mean for mean, mark in zip(means, marks, strict=True) if mark)
        assert worst_marked <= max(means)
    assert best_rows(samples([[-value for value in row] for row in table]), "lower") == marks


@given(rows)
def test_nothing_is_marked_with_one_seed_or_where_rows_are_equal(table: list[list[float]]):
    assert not any(best_rows([Sample({0: row[0]}) for row in table]))
    assert not any(best_rows(samples([table[0]] * 4)))


@pytest.mark.parametrize("seeds", [3, 5])
def test_where_nothing_differs_nothing_is_bold_in_95_of_100_columns(seeds: int):
    rng = np.random.default_rng(0)
    marked = sum(any(best_rows(samples(rng.normal(0.6, 0.01, (5, seeds))))) for _ in range(500))
    assert marked / 500 <= 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5
