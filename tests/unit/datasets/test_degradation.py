from __future__ import annotations

import numpy as np
import pytest

from aroface.datasets.degradation import Treatment
from aroface.faces.geometry import TEMPLATE, transform

RNG = np.random.default_rng


def displacement(alignment: object, resolution: int = 112, count: int = 4000) -> np.ndarray:
    """Mean displacement of the five landmarks in pixels, (N,)."""
    errors = Treatment(alignment=alignment).errors(np.full(count, resolution), RNG(1))
    moved = transform(errors, np.tile(TEMPLATE, (count, 1, 1)))
    return np.linalg.norm(moved - TEMPLATE, axis=2).mean(axis=1)


def test_exact_alignment_moves_nothing():
    assert displacement("exact").max() == 0


def test_a_model_errs_more_at_low_resolution_and_with_a_heavier_tail():
    model = {"model": "scrfd"}
    medians = [np.median(displacement(model, resolution)) for resolution in (112, 48, 24, 14)]
    assert medians == sorted(medians)
    assert np.median(displacement({**model, "tail": 2.0})) == pytest.approx(2 * medians[0], rel=0.03)
    gaussian, heavy = (displacement({**model, **more}) for more in ({}, {"degrees_of_freedom": 2.5}))
    assert heavy.max() / np.median(heavy) > 2 * gaussian.max() / np.median(gaussian)


def test_landmark_noise_moves_the_crop_as_least_squares_averages_it():
    # Five points with independent noise: the fit keeps 4 of the 10 degrees of freedom, so that the mean squared
    # displacement of the points is 4/10 of the noise's 2 sd².
    squared = displacement({"landmark_noise": 2.0}) ** 2
    assert squared.mean() == pytest.approx(0.4 * 2 * 2.0**2, rel=0.25)


def test_uniform_errors_stay_within_their_bounds():
    errors = Treatment(alignment={"scale": 0.15, "degrees": 12, "shift": 0.1}).errors(np.full(2000, 20), RNG(1))
    scale = np.hypot(errors[:, 0, 0], errors[:, 1, 0])
    degrees = np.degrees(np.arctan2(errors[:, 1, 0], errors[:, 0, 0]))
    centre = transform(errors, np.full((2000, 1, 2), 55.5))[:, 0] - 55.5
    for values, bound in ((scale - 1, 0.15), (degrees, 12), (centre[:, 0], 11.2), (centre[:, 1], 11.2)):
        assert bound * 0.97 < np.abs(values).max() <= bound + 1e-9
        assert abs(values.mean()) < 0.05 * bound


def test_resolutions_are_drawn_for_the_degraded_share():
    drawn = Treatment(probability=0.3, resolution=(14, 40)).resolutions(5000, RNG(2))
    assert 0.27 < (drawn < 112).mean() < 0.33
    assert set(drawn[drawn < 112].tolist()) == set(range(14, 41))
    assert (Treatment().resolutions(100, RNG(2)) == 112).all()


@pytest.mark.parametrize("degradation", ["downsample", "surveillance"])
def test_only_images_of_low_resolution_are_degraded(degradation: str):
    images = np.repeat(RNG(3).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8), 3, axis=0)
    before = images.copy()
    Treatment(degradation=degradation).degrade(images, np.array([112, 20, 112]), RNG(4))
    assert np.array_equal(images[[0, 2]], before[[0, 2]])
    assert images[1].std() < 0.5 * before[1].std()
