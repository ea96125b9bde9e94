"""Response of norms to alignment errors, by naive loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aroface.embedding.feature_store import StoredFeatures
from aroface.evaluation.norm_response import by_factor, norm_responses


def test_ratio_falls_and_recognition():
    rng = np.random.default_rng(0)
    first, clean, small, large, both = rng.normal(size=(5, 30, 4)) * np.array([1, 1, 0.9, 0.5, 0.1])[:, None, None]
    variants = [
        {"quality": "hq", "factor": None, "level": 0.0, "first": 0, "second": 30},
        {"quality": "hq", "factor": "shift", "level": 0.1, "first": 0, "second": 90},
        {"quality": "hq", "factor": "shift", "level": 0.05, "first": 0, "second": 60},
        {"quality": "hq", "factor": "shift", "level": 0.05, "other": ["scale", 0.1], "first": 0, "second": 120},
    ]
    values = np.concatenate([first, clean, small, large, both]).astype(np.float32)
    features = StoredFeatures(Path("x"), {"layout": {"variants": variants}}, values, {"same": np.ones(30, bool)})
    found = norm_responses(features)
    assert len(found) == 2 and [each.level for each in by_factor(found, "hq", "shift")] == [0.05, 0.1]
    response = by_factor(found, "hq", "shift")[1]
    own, other = np.linalg.norm(clean, axis=1), np.linalg.norm(large, axis=1)
    assert response.probes == 30
    assert response.ratio == pytest.approx(np.mean(other / own), rel=1e-5)
    assert response.falls == pytest.approx(np.mean(other < own))
    wins = np.mean([(one < two) + (one == two) / 2 for one in other for two in own])
    assert response.recognised == pytest.approx(wins)
    assert by_factor(found, "hq", "scale") == []
