"""Sensitivity curves against pairs that are written out, without each group of people."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from aroface.embedding.feature_store import StoredFeatures
from aroface.evaluation.protocols.sensitivity import evaluate
from aroface.evaluation.statistics.jackknife import interval
from aroface.evaluation.statistics.people import kept_pairs, people_of_pairs

PAIRS = 80
SPREADS = {("hq", None, 0.0): 0.3, ("hq", "scale", 0.1): 0.6, ("hq", "scale", 0.2): 1.2, ("r16", None, 0.0): 0.5}
SPREADS |= {("r16", "scale", 0.1): 1.5, ("r16", "rotation", 10.0): 0.5}


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """First images, then the second images of each variant, whose noise is ``SPREADS``; TAR and AUC asked for."""
    rng = np.random.default_rng(0)
    same = np.arange(PAIRS) % 2 == 0
    first = rng.normal(size=(PAIRS, 6))
    second = np.where(same[:, None], first, rng.normal(size=(PAIRS, 6)))
    noise = rng.normal(size=(PAIRS, 6))
    blocks = [first, *(second + spread * noise for spread in SPREADS.values())]
    variants = [
        {"quality": quality, "factor": factor, "level": level, "first": 0, "second": number * PAIRS}
        for number, (quality, factor, level) in enumerate(SPREADS, start=1)
    ]
    index = {"protocol": {"options": {"metric": ["auc", "tar_strict_at_far_1e-1"]}}, "layout": {"variants": variants}}
    values = np.concatenate(blocks).astype(np.float32)
    images = np.arange(2 * PAIRS).reshape(-1, 2) // 3  # neighbouring pairs share an image
    return StoredFeatures(tmp_path_factory.mktemp("features"), index, values, {"same": same, "images": images})


def similarities(features, variant):
    first = features.values[:PAIRS].astype(float)
    number = 1 + list(SPREADS).index(variant)
    second = features.values[number * PAIRS : (number + 1) * PAIRS].astype(float)
    return np.sum(first * second, axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


def naive_auc(same, scores):
    """How often a genuine pair beats an impostor, a tie being half a win."""
    genuine, impostors = scores[same][:, None], scores[~same][None, :]
    return np.mean((genuine > impostors) + (genuine == impostors) / 2)


def naive_curve_point(features, variant, clean, measure):
    """Value, drop and their intervals; without each group both variants are of the same pairs."""
    same = features.arrays["same"]
    scores, references = similarities(features, variant), similarities(features, clean)
    people = people_of_pairs(features.arrays["images"], same)
    kept = [row.astype(bool) for row in kept_pairs(people, same)]
    left = np.array([measure(same[rows], scores[rows]) for rows in kept])
    clean_left = np.array([measure(same[rows], references[rows]) for rows in kept])
    value, reference = measure(same, scores), measure(same, references)
    low, high = interval(value, left, people.max() + 1)
    drop, relative = paired(reference - value, clean_left - left), paired(1 - value / reference, 1 - left / clean_left)
    return {
        "value": value,
        "low": low,
        "high": high,
        "drop": reference - value,
        "drop_low": drop[0],
        "drop_high": drop[1],
        "relative_drop": (reference - value) / reference,
        "relative_drop_low": relative[0],
        "relative_drop_high": relative[1],
    }


def paired(value, left):
    """Student's interval of a difference, from the variance that leaving out groups tells."""
    groups = len(left)
    error = np.sqrt((groups - 1) ** 2 / groups * np.var(left, ddof=1))
    reach = t.ppf(0.975, groups - 1) * error
    return value - reach, value + reach


@pytest.mark.parametrize("variant", [("hq", "scale", 0.2), ("r16", "scale", 0.1), ("hq", "scale", 0.1)])
def test_points_equal_pairs_written_out(features, variant):
    metric, measure = "auc", naive_auc
    keys = dict(zip(("quality", "factor", "level"), variant, strict=True), metric=metric)
    point = next(point for point in evaluate(features).series if point.items() >= keys.items())
    expected = naive_curve_point(features, variant, (variant[0], None, 0.0), measure)
    found = {name: point[name] for name in expected}
    assert found == pytest.approx(expected, abs=1e-9)
    assert point["significant"] == (expected["drop_low"] > 0)


def test_curves_open_with_the_undistorted_value_of_their_quality(features):
    outcome = evaluate(features)
    curves: dict[tuple[str, str], list[float]] = {}
    for point in outcome.series:
        if point["metric"] == "auc":
            curves.setdefault((point["quality"], point["factor"]), []).append(point["level"])
    assert curves == {("hq", "scale"): [0, 0.1, 0.2], ("r16", "rotation"): [0, 10], ("r16", "scale"): [0, 0.1]}
    for point in outcome.series:
        if point["level"] == 0:
            assert point["value"] == outcome.metrics[f"{point['metric']}_{point['quality']}"]
            assert (point["drop"], point["drop_low"], point["drop_high"], point["significant"]) == (0, 0, 0, False)


def test_no_drop_where_the_distortion_changes_nothing(features):
    point = next(point for point in evaluate(features).series if point["factor"] == "rotation" and point["level"])
    assert (point["drop"], point["drop_low"], point["drop_high"], point["significant"]) == (0, 0, 0, False)
