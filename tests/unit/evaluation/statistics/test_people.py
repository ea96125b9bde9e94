from __future__ import annotations

import numpy as np
import pytest

from aroface.embedding.pairs import image_numbers
from aroface.evaluation.protocols.pairs import measure_pairs
from aroface.evaluation.statistics.people import (
    drawn_pairs,
    equal_images,
    kept_pairs,
    linked,
    people_of_pairs,
)


def test_links_join_people_whose_numbers_follow_their_first_image():
    assert linked(np.array([5, 1, 2]), np.array([1, 4, 0]), 7).tolist() == [0, 1, 0, 2, 1, 1, 3]
    assert linked(np.array([], int), np.array([], int), 3).tolist() == [0, 1, 2]


def test_genuine_pairs_and_shared_images_make_people():
    images = np.array([[10, 11], [11, 12], [12, 20], [20, 30], [40, 41]])
    same = np.array([True, True, False, False, True])
    assert people_of_pairs(images, same).tolist() == [[0, 0], [0, 0], [0, 1], [1, 2], [3, 3]]


def test_images_of_equal_bytes_have_one_number():
    assert image_numbers([b"a", b"b", b"b", b"c", b"a", b"a"]).tolist() == [[0, 1], [1, 3], [0, 0]]


def test_features_that_differ_by_rounding_are_of_one_image():
    rng = np.random.default_rng(0)
    rows, numbers = rng.normal(size=(300, 64)), rng.integers(300, size=900)
    features = rows[numbers] * (1 + 1e-6 * rng.normal(size=(900, 64)))
    for precise in (features.astype(np.float32), features.astype(np.float16)):
        found = equal_images(precise)
        assert len(set(zip(found.tolist(), numbers.tolist(), strict=True))) == len(set(found)) == len(set(numbers))


def test_pairs_of_those_left_out_are_gone():
    people, same = np.array([[0, 0], [0, 1], [1, 2], [2, 2]]), np.array([True, False, False, True])
    kept = kept_pairs(people, same)
    assert sorted(map(tuple, kept.tolist())) == [(0, 0, 1, 1), (1, 0, 0, 1), (1, 1, 0, 0)]


def test_draws_of_people_are_the_pairs_written_out():
    """Each person as often as drawn, with all pairs between them: genuine ones within one copy."""
    people, same = np.array([[0, 0], [0, 1], [1, 2], [2, 2]]), np.array([True, False, False, True])
    drawn = np.array([[2, 0, 1], [1, 2, 3]])
    copies = [np.repeat(np.arange(3), row) for row in drawn]
    expected = [
        [
            np.sum(copy == one) if genuine else np.sum(copy == one) * np.sum(copy == other)
            for (one, other), genuine in zip(people, same, strict=True)
        ]
        for copy in copies
    ]
    assert drawn_pairs(drawn, people, same).tolist() == expected


@pytest.mark.parametrize("people", [1, 2, 3])
def test_sets_of_very_few_people_have_no_interval_that_is_not_defined(people):
    """One person: nobody is left without them; two: without either no impostor pair is left."""
    rng = np.random.default_rng(people)
    first = rng.integers(people, size=30)
    second = (first + np.arange(30) % people) % people
    same = np.arange(30) % 2 == 0 if people == 1 else first == second
    measured = measure_pairs(rng.random(30) + ~same, same, np.stack([first, second], axis=1))
    if people <= 2:
        assert "auc" not in measured.intervals()
    for low, high in measured.intervals().values():
        assert 0 <= low <= high <= 1


def test_people_without_impostor_pairs_count_for_the_genuine_ones():
    same = np.repeat([True, False], [40, 40])
    images = np.concatenate([np.arange(80).reshape(-1, 2), 80 + np.arange(80).reshape(-1, 2)])
    distances = np.random.default_rng(1).random(80) + 0.5 * ~same
    measured = measure_pairs(distances, same, images)
    assert measured.left_out.units == 120
    assert measured.intervals().keys() == measured.values.keys() - {"accuracy_std"}
    assert measured.trials["tar_strict_at_far_1e-1"] == 40


@pytest.mark.parametrize("genuine", [0.1, 1.9])
def test_sets_where_all_or_nobody_is_found(genuine):
    same = np.arange(60) % 2 == 0
    distances = np.where(same, genuine, 1.0) + 1e-3 * np.arange(60)
    found = measure_pairs(distances, same, np.arange(120).reshape(-1, 2)).intervals()["tar_strict_at_far_1e-1"]
    bound = 0.025 ** (1 / 30)
    assert found == pytest.approx((bound, 1) if genuine < 1 else (0, 1 - bound))
