from __future__ import annotations

import numpy as np
import pytest

from aroface.datasets.preparation.pair_folds import draw_pairs, fold_of, fold_pairs, shared_people
from aroface.evaluation.metrics.verification import fold_numbers


@pytest.mark.parametrize("pairs", [10, 17, 6000])
def test_folds_are_those_of_the_accuracy(pairs: int):
    assert np.array_equal(fold_of(pairs), fold_numbers(pairs))


def shared_by_loop(people: np.ndarray) -> int:
    folds: dict[int, set[int]] = {}
    for fold, both in zip(fold_of(len(people)), people, strict=True):
        for person in both:
            folds.setdefault(int(person), set()).add(int(fold))
    return sum(len(places) > 1 for places in folds.values())


def blocks(sizes: list[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of groups of three people each, so many pairs in each group, in random order."""
    people = [3 * group + rng.choice(3, 2) for group, size in enumerate(sizes) for _ in range(size)]
    order = rng.permutation(len(people))
    found = np.array(people)[order]
    return found, found[:, 0] == found[:, 1]


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_people_are_kept_apart(seed: int):
    rng = np.random.default_rng(seed)
    people, same = blocks([3] * 20 + [5] * 6 + [1] * 34, rng)
    order = fold_pairs(people, same)
    assert sorted(order) == list(range(len(same)))
    assert shared_people(people[order]) == shared_by_loop(people[order]) == 0


def test_the_share_of_genuine_pairs_is_alike_in_all_folds():
    people = np.array([[number, number] for number in range(100)] + [[100 + n, 200 + n] for n in range(100)])
    same = people[:, 0] == people[:, 1]
    order = fold_pairs(people, same)
    assert same[order].reshape(10, 20).sum(axis=1).tolist() == [10] * 10


def test_linked_people_are_spread_and_counted():
    people = np.array([[n % 7, n % 7] for n in range(40)] + [[n % 7, (n + 1) % 7] for n in range(60)])
    same = people[:, 0] == people[:, 1]
    order = fold_pairs(people, same)
    assert sorted(order) == list(range(100))
    assert shared_people(people[order]) == shared_by_loop(people[order]) == 7
    assert same[order].reshape(10, 10).sum(axis=1).tolist() == [4] * 10


def test_folds_of_the_list_are_kept_where_the_accuracy_has_the_same():
    people = np.arange(40).reshape(20, 2)
    same = np.zeros(20, np.bool_)
    names = [str(number) for number in range(10)] * 2
    order = fold_pairs(people, same, names)
    assert [names[number] for number in order] == [str(number) for number in range(10) for _ in range(2)]
    fewer = fold_pairs(people, same, ["1"] * 20)
    assert np.array_equal(fewer, fold_pairs(people, same))


@pytest.mark.parametrize(("counts", "apart"), [([4] * 40, True), ([6, 1, 2, 9] * 8, True), ([10] * 12, False)])
def test_drawn_pairs_are_balanced_different_and_apart_where_possible(counts: list[int], apart: bool):
    drawn = draw_pairs(counts, 400, [3])
    assert 0 < len(drawn.same) <= 400
    assert len(drawn.same) % 20 == 0
    assert drawn.same.reshape(10, -1).sum(axis=1).tolist() == [len(drawn.same) // 20] * 10
    pairs = list(zip(drawn.first, drawn.second, strict=True))
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    for (one, other), same in zip(pairs, drawn.same.tolist(), strict=True):
        assert one != other
        assert (one[0] == other[0]) == same
        assert one[1] < counts[one[0]]
        assert other[1] < counts[other[0]]
    people = np.array([(one[0], other[0]) for one, other in pairs])
    assert shared_people(people) == shared_by_loop(people)
    assert (shared_people(people) == 0) == apart


def test_draws_follow_the_seed():
    counts = [4] * 40
    assert draw_pairs(counts, 200, [1]).first == draw_pairs(counts, 200, [1]).first
    assert draw_pairs(counts, 200, [1]).first != draw_pairs(counts, 200, [2]).first


def test_all_pairs_of_a_small_set_can_be_drawn():
    drawn = draw_pairs([2] * 20, 10_000, [0])  # two people a fold: two genuine pairs, and two of four others
    assert len(drawn.same) == 40
    assert {one[0] for one, same in zip(drawn.first, drawn.same, strict=True) if same} == set(range(20))
