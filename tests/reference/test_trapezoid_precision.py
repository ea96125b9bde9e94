"""The trapezoid average precision against the script's loop over the ranked gallery, written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aroface.evaluation.metrics.identification import retrieve
from aroface.evaluation.metrics.trapezoid_precision import trapezoid_average_precision


def looped(ranks: list[int]) -> float:
    """Walk down the ranked gallery, as the released script does."""
    total, found, old_precision = 0.0, 0, 1.0
    for rank in range(1, max(ranks) + 1):
        is_mate = rank in ranks
        found += is_mate
        precision = found / rank
        if is_mate:
            total += (old_precision + precision) / 2 / len(ranks)
        old_precision = precision
    return total


@given(st.lists(st.sets(st.integers(1, 60), min_size=1, max_size=8), min_size=1, max_size=6))
def test_it_is_the_scripts(probes):
    ordered = [sorted(ranks) for ranks in probes]
    starts = np.cumsum([0, *map(len, ordered[:-1])])
    found = trapezoid_average_precision(np.concatenate([np.array(each) for each in ordered]), starts)
    assert found == pytest.approx([looped(ranks) for ranks in ordered], abs=1e-12)


def test_the_search_has_both_definitions():
    rng = np.random.default_rng(5)
    features, labels = rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 8, 40)
    found = retrieve(features[:10], labels[:10], features[10:], labels[10:])
    scores = features[found.probes] @ (features[10:] / np.linalg.norm(features[10:], axis=1, keepdims=True)).T
    for probe, row, trapezoid in zip(found.probes, scores, found.trapezoid_precision, strict=True):
        ranked = labels[10:][np.argsort(-row)]
        assert trapezoid == pytest.approx(looped((np.flatnonzero(ranked == labels[probe]) + 1).tolist()))


def test_the_two_definitions_differ():
    found = trapezoid_average_precision(np.array([1, 2, 3, 1]), np.array([0, 2, 3]))
    assert found == pytest.approx([1.0, (0 + 1 / 3) / 2, 1.0])  # at rank 3 the plain mean is 1/3
    assert trapezoid_average_precision(np.empty(0, np.int64), np.empty(0, np.int64)).shape == (0,)
