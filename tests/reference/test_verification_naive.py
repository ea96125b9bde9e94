"""Pair metrics against plain loops over thresholds, written from the protocols and the released scripts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from aroface.evaluation.metrics.verification import fold_numbers, pair_distances
from aroface.evaluation.protocols.pairs import pair_metrics
from aroface.evaluation.protocols.sensitivity import variant_metrics


def naive_accuracy(distances, same):
    """insightface ``calculate_roc``: a loop over folds, a loop over thresholds."""
    thresholds = np.arange(0, 4, 0.01)
    accuracies = []
    for train, test in KFold(n_splits=10, shuffle=False).split(distances):
        scores = [np.mean((distances[train] < threshold) == same[train]) for threshold in thresholds]
        best = thresholds[int(np.argmax(scores))]
        accuracies.append(np.mean((distances[test] < best) == same[test]))
    return np.mean(accuracies), np.std(accuracies)


def naive_val(distances, same, target):
    """insightface ``calculate_val``, its interpolation taken between the last FAR <= target and the next."""
    thresholds = np.arange(0, 4, 0.001)
    vals = []
    for train, test in KFold(n_splits=10, shuffle=False).split(distances):
        impostors = distances[train][~same[train]]
        fars = [np.count_nonzero(impostors < threshold) / len(impostors) for threshold in thresholds]
        threshold = 0.0
        if max(fars) >= target:
            last = max(i for i, far in enumerate(fars) if far <= target)
            threshold = thresholds[last]
            if last + 1 < len(thresholds):
                share = (target - fars[last]) / (fars[last + 1] - fars[last])
                threshold += share * (thresholds[last + 1] - thresholds[last])
        genuine = distances[test][same[test]]
        if len(genuine):
            vals.append(np.mean(genuine < threshold))
    return np.mean(vals)


def naive_points(distances, same):
    """(FAR, TAR) for every threshold that makes a difference, from accepting nothing to accepting all."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(distances)):
        accepted = distances <= threshold
        points.append((np.mean(accepted[~same]), np.mean(accepted[same])))
    return points


def naive_strict(distances, same, target):
    return max(tar for far, tar in naive_points(distances, same) if far <= target)


def naive_eer(distances, same):
    points = naive_points(distances, same)
    for (far0, tar0), (far1, tar1) in pairwise(points):
        if far1 >= 1 - tar1:
            gap0, gap1 = 1 - tar0 - far0, far1 - (1 - tar1)
            return far0 + (far1 - far0) * gap0 / (gap0 + gap1)
    raise AssertionError("accepting all has FAR 1 and TAR 1")


def naive_metrics(distances, same):
    mean, sd = naive_accuracy(distances, same)
    return {
        "accuracy": mean,
        "accuracy_std": sd,
        "tar_at_far_1e-3": naive_val(distances, same, 1e-3),
        "tar_strict_at_far_1e-1": naive_strict(distances, same, 1e-1),
        "tar_strict_at_far_1e-2": naive_strict(distances, same, 1e-2),
        "tar_strict_at_far_1e-3": naive_strict(distances, same, 1e-3),
        "auc": roc_auc_score(same, -distances),
        "eer": naive_eer(distances, same),
    }


def assert_equal(distances, same):
    found = {name: float(value) for name, value in pair_metrics(distances, same).items()}
    assert found == pytest.approx(naive_metrics(distances, same), abs=1e-9, rel=0)


def overlapping(pairs, seed):
    rng = np.random.default_rng(seed)
    same = rng.random(pairs) < 0.5
    return np.clip(np.where(same, rng.normal(1.3, 0.4, pairs), rng.normal(1.9, 0.2, pairs)), 0, 4), same


@pytest.mark.parametrize("pairs", [200, 1003, 3000])
def test_metrics_equal_the_loops(pairs):
    assert_equal(*overlapping(pairs, seed=pairs))


def test_metrics_equal_the_loops_where_distances_lie_on_thresholds():
    distances, same = overlapping(400, seed=1)
    assert_equal(np.arange(0, 4, 0.01)[(distances * 100).astype(int)], same)


@pytest.mark.parametrize("value", [0.0, 1.0, 3.9995, 4.0])
def test_metrics_equal_the_loops_where_all_distances_are_one(value):
    assert_equal(np.full(40, value), np.arange(40) % 2 == 0)


def test_metrics_equal_the_loops_where_the_classes_are_apart():
    same = np.arange(60) % 3 == 0
    assert_equal(np.where(same, 0.5, 2.5), same)
    assert_equal(np.where(same, 2.5, 0.5), same)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_metrics_equal_the_loops_on_tiny_sets(data):
    pairs = data.draw(st.integers(12, 31))
    distances = np.array(data.draw(st.lists(st.integers(0, 8), min_size=pairs, max_size=pairs))) / 2
    impostors = data.draw(st.sets(st.integers(0, pairs - 1), min_size=5, max_size=pairs - 1))
    same = np.array([index not in impostors for index in range(pairs)])
    assert_equal(distances, same)


@pytest.mark.parametrize("pairs", [10, 11, 19, 6000, 6003])
def test_folds_are_those_of_scikit_learn(pairs):
    numbers = np.empty(pairs, dtype=int)
    for fold, (_, test) in enumerate(KFold(n_splits=10, shuffle=False).split(np.zeros(pairs))):
        numbers[test] = fold
    np.testing.assert_array_equal(fold_numbers(pairs), numbers)


def test_distances_are_those_of_normalised_features():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5000, 8)).astype(np.float32)
    first[3] = 0
    expected = np.sum((normalize(first.astype(float)) - normalize(second.astype(float))) ** 2, axis=1)
    np.testing.assert_allclose(pair_distances(first, second), expected, atol=1e-12)


def test_weights_are_repeated_pairs():
    """A replicate's metrics are those of the pairs written out as often as they were drawn (folds kept)."""
    distances, same = overlapping(300, seed=3)
    weights = np.random.default_rng(4).integers(1, 4, size=(2, 300))
    found = variant_metrics(distances, same, ("accuracy", "auc", "tar_strict_at_far_1e-1"), weights)
    for replicate, row in enumerate(weights):
        fold = np.repeat(fold_numbers(300), row)
        written, labels = np.repeat(distances, row), np.repeat(same, row)
        accuracies = []
        for number in range(10):
            train, test = fold != number, fold == number
            scores = [np.mean((written[train] < t) == labels[train]) for t in np.arange(0, 4, 0.01)]
            best = np.arange(0, 4, 0.01)[int(np.argmax(scores))]
            accuracies.append(np.mean((written[test] < best) == labels[test]))
        assert found["accuracy"][replicate] == pytest.approx(np.mean(accuracies), abs=1e-9)
        assert found["auc"][replicate] == pytest.approx(roc_auc_score(labels, -written), abs=1e-9)
        assert found["tar_strict_at_far_1e-1"][replicate] == pytest.approx(naive_strict(written, labels, 0.1), abs=1e-9)
