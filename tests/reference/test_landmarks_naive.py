"""Displacement of landmarks against a warp written out point by point, over the errors that a sweep draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aroface.embedding.alignment_sweep import Variant, draw_directions
from aroface.faces.geometry import TEMPLATE
from aroface.reporting.figures.landmarks import mean_displacement

MAXIMUM = {"scale": 0.1, "degrees": 10.0, "shift": 0.06}


def naive_displacements(variant, directions):
    """How far each error moves the landmarks on average: enlarge, turn about the middle of 112 pixels, then shift."""
    sizes = {"scale": 0.0, "rotation": 0.0, "shift": 0.0}
    if variant.factor == "joint":
        sizes = {"scale": 0.1 * variant.level, "rotation": 10 * variant.level, "shift": 0.06 * variant.level}
    else:
        sizes[variant.factor] = variant.level
    found = []
    for sign, turn, bearing in zip(directions.scale, directions.rotation, directions.bearing, strict=True):
        factor, angle = 1 + sign * sizes["scale"], math.radians(turn * sizes["rotation"])
        right, down = (112 * sizes["shift"] * f(bearing) for f in (math.cos, math.sin))
        distances = []
        for x, y in TEMPLATE.tolist():
            dx, dy = x - 55.5, y - 55.5
            moved_x = 55.5 + factor * (dx * math.cos(angle) - dy * math.sin(angle)) + right
            moved_y = 55.5 + factor * (dx * math.sin(angle) + dy * math.cos(angle)) + down
            distances.append(math.hypot(moved_x - x, moved_y - y))
        found.append(sum(distances) / 5)
    return np.array(found)


@pytest.mark.parametrize(("factor", "level"), [("scale", 0.05), ("scale", 0.15), ("rotation", 20), ("shift", 0.12)])
def test_one_factor_moves_landmarks_alike_in_all_directions(factor, level):
    variant = Variant(None, factor, level)
    found = naive_displacements(variant, draw_directions(200, seed=0))
    np.testing.assert_allclose(found, mean_displacement(variant, MAXIMUM), atol=1e-5)


@pytest.mark.parametrize("level", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_joint_errors_are_the_mean_over_the_draws(level, seed):
    variant = Variant(None, "joint", level)
    drawn = naive_displacements(variant, draw_directions(20_000, seed))
    expected = mean_displacement(variant, MAXIMUM)
    assert drawn.mean() == pytest.approx(expected, abs=4 * drawn.std() / math.sqrt(len(drawn)))
    assert drawn.std() > 0.1 * expected


def test_a_shift_is_its_share_of_the_width():
    assert mean_displacement(Variant(None, "shift", 0.12), MAXIMUM) == pytest.approx(0.12 * 112)
    assert mean_displacement(Variant(), MAXIMUM) == 0
