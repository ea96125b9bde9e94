from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aroface.datasets.splits import sample_pairs, split_images, split_people

COUNTS = st.lists(st.integers(2, 12), min_size=2, max_size=20)


@given(COUNTS, st.integers(2, 200), st.integers(1, 5), st.integers(0, 9))
def test_pairs_are_what_they_say_and_none_comes_twice(counts: list[int], most: int, folds: int, seed: int):
    pairs = sample_pairs(counts, most, folds, np.random.default_rng(seed))
    assert len(pairs.first) == len(pairs.second) == len(pairs.same) <= most
    assert len(pairs.same) % (2 * folds) == 0
    assert len({frozenset(pair) for pair in zip(pairs.first, pairs.second, strict=True)}) == len(pairs.same)
    for first, second, same in zip(pairs.first, pairs.second, pairs.same, strict=True):
        assert (first[0] == second[0]) == same
        assert first != second
        assert all(image < counts[person] for person, image in (first, second))
    assert (pairs.same.reshape(folds, -1).sum(axis=1) * 2 == len(pairs.same) // folds).all()


def test_as_many_pairs_as_wanted_if_the_images_allow_them():
    assert len(sample_pairs([5] * 30, 600, 10, np.random.default_rng(0)).same) == 600
    all_genuine = sample_pairs([3] * 10, 600, 1, np.random.default_rng(0))
    assert all_genuine.same.sum() == 30


def test_a_person_of_many_images_does_not_give_most_of_the_pairs():
    pairs = sample_pairs([100, *[3] * 40], 160, 1, np.random.default_rng(0))
    genuine = [first[0] for first, same in zip(pairs.first, pairs.same, strict=True) if same]
    assert np.bincount(genuine).max() <= 2


@given(st.lists(st.integers(2, 12), min_size=1, max_size=20), st.integers(1, 4), st.integers(1, 4))
def test_gallery_and_probes_share_people_and_no_image(counts: list[int], gallery: int, probes: int):
    known, searched = split_images(counts, gallery, probes, np.random.default_rng(0))
    assert not set(known) & set(searched)
    assert {person for person, _ in known} == {person for person, _ in searched} == set(range(len(counts)))
    for person, count in enumerate(counts):
        found = [sum(who == person for who, _ in part) for part in (known, searched)]
        assert found == [min(gallery, count - min(probes, count // 2)), min(probes, count // 2)]


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_people_are_split_into_disjoint_parts(fraction: float):
    names = [f"person {number}" for number in range(40)]
    rest, chosen = split_people(names, fraction, seed=1)
    assert sorted([*rest, *chosen]) == sorted(names)
    assert len(chosen) == 40 * fraction


def test_the_split_depends_on_the_seed_and_hardly_on_one_more_person():
    names = [f"person {number}" for number in range(40)]
    chosen = set(split_people(names, 0.5, seed=1)[1])
    assert chosen != set(split_people(names, 0.5, seed=2)[1])
    assert len(chosen & set(split_people([*names, "one more"], 0.5, seed=1)[1])) >= 19
