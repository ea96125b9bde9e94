"""TinyFace search against the field's way: the whole score matrix, every row sorted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aroface.evaluation.metrics.identification import retrieve


def naive(probes, probe_labels, gallery, gallery_labels):
    """Sort each probe's scores, impostors first among equals; rank of the best mate and average precision."""
    scores = probes @ gallery.T
    ranks, precisions = [], []
    for row, label in zip(scores, probe_labels, strict=True):
        mate = gallery_labels == label
        if not mate.any():
            continue
        order = sorted(range(len(row)), key=lambda column: (-row[column], mate[column]))
        hits = 1 + np.flatnonzero(mate[order])
        ranks.append(hits[0])
        precisions.append(np.mean((1 + np.arange(len(hits))) / hits))
    return np.array(ranks, dtype=int), np.array(precisions)


def assert_equal(probes, probe_labels, gallery, gallery_labels, **blocks):
    found = retrieve(probes, probe_labels, gallery, gallery_labels, **blocks)
    ranks, precisions = naive(probes, probe_labels, gallery, gallery_labels)
    np.testing.assert_array_equal(found.ranks, ranks)
    np.testing.assert_allclose(found.average_precision, precisions, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.probes, np.flatnonzero(np.isin(probe_labels, gallery_labels)))


def noisy_identities(rng, labels, identities, noise):
    features = identities[labels] + noise * rng.normal(size=(len(labels), identities.shape[1]))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("blocks", [{}, {"probe_block": 7, "gallery_block": 50}, {"gallery_block": 1}])
def test_search_equals_sorting_the_score_matrix(blocks):
    rng = np.random.default_rng(5)
    identities = rng.normal(size=(40, 24))
    probe_labels, mate_labels = rng.integers(0, 40, 60), rng.integers(0, 30, 90)
    mates = noisy_identities(rng, mate_labels, identities, 1.0)
    gallery = np.concatenate([mates, noisy_identities(rng, np.zeros(400, int), identities, 9.0)])
    gallery_labels = np.concatenate([mate_labels, np.full(400, -100)])
    shuffled = rng.permutation(len(gallery))
    probes = noisy_identities(rng, probe_labels, identities, 1.5)
    assert_equal(probes, probe_labels, gallery[shuffled], gallery_labels[shuffled], **blocks)


# Four entries of one half have length 1 and inner products that float32 holds exactly: ties are ties in any block.
exact_features = st.lists(st.sampled_from([-0.5, 0.0, 0.5]), min_size=6, max_size=6).map(
    lambda signs: np.array([0.5 if value >= 0 else -0.5 for value in signs[:4]] + [0, 0], np.float32)
)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_search_equals_sorting_where_scores_tie(data):
    probes = np.stack(data.draw(st.lists(exact_features, min_size=1, max_size=6)))
    gallery = np.stack(data.draw(st.lists(exact_features, min_size=1, max_size=14)))
    probe_labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(probes), max_size=len(probes))))
    gallery_labels = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(gallery), max_size=len(gallery))))
    assert_equal(probes, probe_labels, gallery, gallery_labels, probe_block=2, gallery_block=3)


def test_equal_scores_count_against_the_model():
    collapsed = np.tile(np.array([1, 0], np.float32), (8, 1))
    found = retrieve(collapsed[:1], np.array([0]), collapsed, np.array([0, 0, 1, 1, 1, 1, 1, 1]))
    assert found.ranks.tolist() == [7]
    assert found.average_precision[0] == pytest.approx((1 / 7 + 2 / 8) / 2)


def test_lengths_of_features_do_not_matter():
    rng = np.random.default_rng(6)
    probes, gallery = (rng.normal(size=(n, 16)).astype(np.float32) for n in (9, 50))
    probe_labels, gallery_labels = np.arange(9), np.arange(50) % 12
    scaled = gallery * rng.uniform(0.1, 30, size=(50, 1)).astype(np.float32)
    one, other = (retrieve(probes, probe_labels, each, gallery_labels) for each in (gallery, scaled))
    np.testing.assert_array_equal(one.ranks, other.ranks)
    np.testing.assert_allclose(one.average_precision, other.average_precision)
