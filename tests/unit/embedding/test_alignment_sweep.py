from __future__ import annotations

import numpy as np
import pytest

from aroface.embedding.alignment_sweep import Variant, choose_pairs, draw_directions, error_matrices, variants
from aroface.faces.geometry import TEMPLATE, transform

SIZE = 112
CENTRE = np.array([[55.5, 55.5]])
MAXIMUM = {"scale": 0.1, "degrees": 10.0, "shift": 0.06}
OPTIONS = {"qualities": ["hq", 16], "scale": [0.2, 0.1], "degrees": [5], "shift": [], "joint": [1]}


def matrices(factor, level, number=40, seed=0):
    return error_matrices(Variant(None, factor, level), draw_directions(number, seed), MAXIMUM, SIZE)


def shifts(found):
    return transform(found, CENTRE)[:, 0] - CENTRE


def scales(found):
    return np.linalg.norm(found[:, :, 0], axis=1)


def degrees(found):
    return np.degrees(np.arctan2(found[:, 1, 0], found[:, 0, 0]))


def test_each_quality_opens_undistorted_and_levels_ascend():
    found = [(variant.quality, variant.factor, variant.level) for variant in variants(OPTIONS)]
    of_one = [(None, 0.0), ("scale", 0.1), ("scale", 0.2), ("rotation", 5.0), ("joint", 1.0)]
    assert found == [(quality, *rest) for quality in ("hq", "r16") for rest in of_one]


def test_scale_errors_enlarge_or_shrink_about_the_centre():
    found = matrices("scale", 0.1)
    assert {round(scale, 9) for scale in scales(found)} == {0.9, 1.1}
    np.testing.assert_allclose(degrees(found), 0, atol=1e-9)
    np.testing.assert_allclose(shifts(found), 0, atol=1e-9)


def test_rotation_errors_turn_either_way():
    found = matrices("rotation", 8.0)
    assert {round(angle, 9) for angle in degrees(found)} == {-8.0, 8.0}
    np.testing.assert_allclose(scales(found), 1)


def test_shift_errors_have_one_length_and_all_bearings():
    found = shifts(matrices("shift", 0.05, number=400))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 0.05 * SIZE)
    quadrants = np.unique(np.sign(found), axis=0, return_counts=True)[1]
    assert len(quadrants) == 4 and quadrants.min() > 60


def test_joint_errors_are_multiples_of_their_maximum():
    found = matrices("joint", 0.5)
    assert {round(scale, 9) for scale in scales(found)} == {0.95, 1.05}
    assert {round(angle, 9) for angle in degrees(found)} == {-5.0, 5.0}
    np.testing.assert_allclose(np.linalg.norm(shifts(found), axis=1), 0.03 * SIZE)


def test_levels_of_one_factor_share_their_directions():
    small, large = matrices("shift", 0.02), matrices("shift", 0.08)
    np.testing.assert_allclose(4 * shifts(small), shifts(large), atol=1e-9)
    joint = matrices("joint", 1.0)
    np.testing.assert_allclose(np.sign(degrees(joint)), np.sign(degrees(matrices("rotation", 1.0))))
    np.testing.assert_allclose(np.sign(scales(joint) - 1), np.sign(scales(matrices("scale", 0.1)) - 1))


def test_landmarks_move_further_with_the_level():
    moved = [
        np.linalg.norm(transform(matrices("joint", level), TEMPLATE) - TEMPLATE, axis=2).mean()
        for level in (0.2, 0.6, 1)
    ]
    assert 0 < moved[0] < moved[1] < moved[2] < 20


def test_directions_are_a_function_of_the_seed():
    np.testing.assert_array_equal(matrices("joint", 1.0, seed=5), matrices("joint", 1.0, seed=5))
    assert (matrices("joint", 1.0, seed=5) != matrices("joint", 1.0, seed=6)).any()


@pytest.mark.parametrize("most", [None, 600, 6000])
def test_all_pairs_are_chosen_where_there_is_no_limit(most):
    np.testing.assert_array_equal(choose_pairs(np.arange(600) % 2 == 0, most), np.arange(600))


def test_chosen_pairs_keep_the_share_of_kinds_and_folds():
    same = np.tile(np.repeat([True, False], 300), 10)
    chosen = choose_pairs(same, 1000)
    assert len(chosen) == len(set(chosen)) == 1000
    assert np.count_nonzero(same[chosen]) == 500
    np.testing.assert_array_equal(np.bincount(chosen // 600), 100)


def test_rare_kinds_are_kept_in_proportion():
    same = np.arange(400) % 4 == 0
    chosen = choose_pairs(same, 40)
    assert len(chosen) == 40 and np.count_nonzero(same[chosen]) == 10
