"""Error against discard: naive loops, the ideal and a random order, ties and images without a quality."""

from __future__ import annotations

import numpy as np
import pytest

from aroface.evaluation.metrics.error_discard import (
    RULES,
    SHARES,
    discard_curve,
    ideal_fnmr,
    pair_quality,
    random_band,
)


@pytest.fixture
def comparisons() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    same = rng.random(800) < 0.5
    quality = rng.normal(size=800)
    scores = rng.normal(np.where(same, 0.5 + 0.2 * quality, 0.0), 0.3)
    return scores, same, quality


@pytest.mark.parametrize("rule", RULES)
def test_the_naive_loop_gives_the_same(comparisons, rule):
    scores, same, quality = comparisons
    curve = discard_curve(scores, same, quality, 0.05, rule)
    poorest = np.sort(quality[same])
    for place, share in enumerate(SHARES):
        cut = poorest[int(share * len(poorest) + 1e-9)] if place else -np.inf
        stay = quality >= cut
        impostors = scores[~same] if rule == "fixed" else scores[~same & stay]
        allowed = int(0.05 * len(impostors) + 1e-9)
        threshold = np.sort(impostors)[len(impostors) - allowed - 1]  # accepted is what is above it
        genuine = scores[same & stay]
        assert curve.fnmr[place] == pytest.approx(np.mean(genuine <= threshold), abs=1e-12)
        assert curve.shares[place] == pytest.approx(1 - len(genuine) / same.sum())
        assert curve.accepted[place] == np.count_nonzero(scores[~same & stay] > threshold)
        assert curve.impostor_shares[place] == pytest.approx(1 - np.mean(stay[~same]))
    assert curve.steady(30).tolist() == [
        bool(r >= 30 and (a >= 30 or rule == "fixed" or n == 0))
        for n, (r, a) in enumerate(zip(curve.rejected, curve.accepted, strict=True))
    ]


def test_the_gain_of_ideal_random_and_reversed_orders(comparisons):
    scores, same, quality = comparisons
    gains = [discard_curve(scores, same, each, 0.05, "fixed").gain for each in (scores, quality, -quality)]
    assert gains[0] == pytest.approx(1, abs=0.02) and 0.1 < gains[1] < 0.9 and gains[2] < -0.1
    rng = np.random.default_rng(0)
    shuffled = [discard_curve(scores, same, rng.random(800), 0.05, "fixed") for _ in range(200)]
    assert abs(np.mean([curve.gain for curve in shuffled])) < 0.03
    low, high = random_band(shuffled[0])
    within = np.mean([(low <= curve.fnmr) & (curve.fnmr <= high) for curve in shuffled], axis=0)
    assert within[0] == 1 and within[1:].min() > 0.9
    assert ideal_fnmr(0.2, np.array([0, 0.1, 0.2, 0.5])).tolist() == pytest.approx([0.2, 1 / 9, 0, 0])


def test_no_error_has_no_gain():
    scores, same = np.array([0.9, 0.8, 0.1, 0.0]), np.array([True, True, False, False])
    assert np.isnan(discard_curve(scores, same, scores, 0.5, "fixed").gain)


def test_equal_qualities_go_in_a_random_order(comparisons):
    scores, same, _ = comparisons
    order = np.argsort(scores, kind="stable")  # a set that lists its errors first
    curve = discard_curve(scores[order], same[order], np.zeros(800), 0.05, "fixed")
    assert abs(curve.gain) < 0.2 and curve.shares == pytest.approx(SHARES, abs=0.01)


def test_the_poorer_image_counts_and_none_is_the_poorest():
    assert pair_quality(np.array([3.0, 1.0, np.nan, 9.0])).tolist() == [1.0, -np.inf]
