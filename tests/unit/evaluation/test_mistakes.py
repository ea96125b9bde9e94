"""The worst mistakes of stored features: pairs at a threshold, and probes whose best hit is somebody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.mistakes import PairMistakes, SearchMistakes, find_mistakes


def stored(protocol: str, values: np.ndarray, **arrays: np.ndarray) -> StoredFeatures:
    index = {"protocol": {"name": protocol, "options": {}}, "checkpoint": {"run": "run"}, "benchmark": "set"}
    return StoredFeatures(Path("features"), index, values.astype(np.float32), arrays)


def at(*degrees: float) -> np.ndarray:
    """Features on a circle, of growing lengths."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, len(degrees) + 1)[:, None]


def test_pairs_beyond_the_threshold_of_the_wished_fmr():
    rng = np.random.default_rng(0)
    same = rng.random(60) < 0.5
    angles = np.where(same, 20, 90) + rng.normal(0, 30, 60)
    features = at(*np.stack([np.zeros(60), angles], axis=1).ravel())
    found = find_mistakes(stored("pairs", features, same=same), fmr=0.1, most=4)
    assert isinstance(found, PairMistakes)
    scores = np.cos(np.radians(angles))
    accepted, rejected = ~same & (scores >= found.threshold - 1e-6), same & (scores < found.threshold - 1e-6)
    assert found.accepted == accepted.sum() == int(0.1 * (~same).sum()) and found.rejected == rejected.sum() > 4
    worst = sorted(np.flatnonzero(accepted).tolist(), key=lambda pair: -scores[pair])[:4]
    assert [each.pair for each in found.false_accepts] == worst
    worst = sorted(np.flatnonzero(rejected).tolist(), key=lambda pair: scores[pair])[:4]
    assert [each.pair for each in found.false_rejects] == worst
    first = found.false_rejects[0]
    assert first.rows == (2 * first.pair, 2 * first.pair + 1)
    assert first.score == pytest.approx(scores[first.pair], abs=1e-6)


def test_probes_whose_best_hit_is_somebody_else_by_their_margin():
    probes = at(0, 50, 100, 200)
    gallery = at(3, 9, 52, 120, 190, 95, 260)  # the second probe hits its mate; the fourth has none
    labels, gallery_labels = np.array([1, 2, 3, 4]), np.array([9, 1, 2, 3, 9, -100, -100])
    both = {"probe_labels": labels, "gallery_labels": gallery_labels}
    found = find_mistakes(stored("tinyface", np.concatenate([probes, gallery]), **both))
    assert isinstance(found, SearchMistakes) and (found.probes, found.missed) == (3, 2)
    third, first = found.searches
    assert (third.probe, third.best, third.mate, third.rank) == (2, 4 + 5, 4 + 3, 2)
    assert (first.probe, first.best, first.mate, first.rank) == (0, 4 + 0, 4 + 1, 2)
    assert third.best_score == pytest.approx(np.cos(np.radians(5))) and third.rows == (2, 9, 7)
    assert third.mate_score == pytest.approx(np.cos(np.radians(20)))
    assert len(find_mistakes(stored("tinyface", np.concatenate([probes, gallery]), **both), most=1).searches) == 1


def test_nothing_missed_is_no_mistake():
    features = stored("tinyface", at(0, 90, 1, 91), probe_labels=np.array([0, 1]), gallery_labels=np.array([0, 1]))
    found = find_mistakes(features)
    assert isinstance(found, SearchMistakes) and found.missed == 0 and not found.searches


def test_other_protocols_are_refused():
    with pytest.raises(InputError, match=r"of the protocol ijb.*pairs or tinyface"):
        find_mistakes(stored("ijb", at(0, 1)))
