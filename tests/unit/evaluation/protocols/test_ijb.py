from __future__ import annotations

import numpy as np
import pytest

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.compare_runs import compare
from aroface.evaluation.protocols.ijb import evaluate, measure, measure_verification, people_of, pool_stored
from aroface.evaluation.statistics.jackknife import standard_error

OPTIONS = {"norm_weighting": True, "detector_weighting": True}
GALLERIES = ("G1", "G2")


def stored(tmp_path, noise=1.0, seed=0, **changes):
    """30 subjects with a template in a gallery and three probes each, two images a template; all probes are paired."""
    rng = np.random.default_rng(seed)
    identities = rng.normal(size=(30, 16))
    owners = np.tile(np.arange(30), 4)  # of each template
    template = np.repeat(np.arange(120), 2)
    values = identities[owners[template]] + noise * rng.normal(size=(240, 16))
    pairs = np.array([(one, other) for one in range(30) for other in range(30, 120)], np.int32)
    arrays = {
        "templates": template,
        "media": np.arange(240),
        "detector_scores": rng.uniform(0.5, 1, 240).astype(np.float32),
        "pairs": pairs,
        "same": owners[pairs[:, 0]] == owners[pairs[:, 1]],
        "gallery_G1": np.stack([np.arange(15), owners[:15]], axis=1),
        "gallery_G2": np.stack([np.arange(15, 30), owners[15:30]], axis=1),
        "probes": np.stack([np.arange(30, 120), owners[30:]], axis=1),
    }
    index = {"protocol": {"name": "ijb", "options": OPTIONS}, "layout": {"galleries": list(GALLERIES)}}
    return StoredFeatures(tmp_path, index, values.astype(np.float32), {**arrays, **changes})


def test_perfect_features_find_everybody(tmp_path):
    outcome = evaluate(stored(tmp_path, noise=0.0))
    assert set(outcome.metrics.values()) == {1.0}
    assert outcome.intervals["tar_at_far_1e-1"] == (pytest.approx(0.025 ** (1 / 30)), 1)  # of 30 people
    assert outcome.intervals["rank1"] == (pytest.approx(0.025 ** (1 / 30)), 1)


def test_intervals_hold_their_values(tmp_path):
    outcome = evaluate(stored(tmp_path, noise=1.4))
    assert outcome.counts == {
        "images": 240, "templates": 120, "people": 30, "pairs": 2700, "genuine": 90, "impostors": 2610,
        "probes": 90, "probes_with_mate": 90, "gallery_G1": 15, "gallery_G2": 15, "mated_G1": 45, "mated_G2": 45,
    }  # fmt: skip
    assert outcome.metrics.keys() == outcome.resolution.keys()
    single = {f"{kind}_at_far_{far}" for kind in ("tar", "tar_strict") for far in ("1e-6", "1e-5", "1e-4")}
    assert outcome.metrics.keys() - outcome.intervals.keys() == single, "2,610 impostors, none of whom may pass"
    (pairs, searches) = outcome.jackknife
    assert {**pairs.values, **searches.values}.keys() == outcome.intervals.keys()
    assert {len(each) for part in outcome.jackknife for each in part.values.values()} == {30}
    assert (pairs.units, searches.units) == (30, 30)
    for name in ("tar_at_far_1e-1", "tar_strict_at_far_1e-1", "tar_strict_at_far_1e-2", "rank1", "rank5"):
        low, high = outcome.intervals[name]
        assert low < outcome.metrics[name] < high
        assert 0.02 < high - low < 0.4
    for name in ("tpir_legacy_at_fpir_1e-1", "tpir_standard_at_fpir_1e-1"):
        low, high = outcome.intervals[name]
        assert low <= outcome.metrics[name] <= high


def test_the_same_features_give_the_same_outcome(tmp_path):
    one, other = (evaluate(stored(tmp_path, noise=1.4)) for _ in range(2))
    assert (one.metrics, one.intervals, one.curves) == (other.metrics, other.intervals, other.curves)
    for part, again in zip(one.jackknife, other.jackknife, strict=True):
        assert {name: each.tolist() for name, each in part.values.items()} == {
            name: each.tolist() for name, each in again.values.items()
        }


def test_features_that_are_all_alike_find_nobody(tmp_path):
    """Vectors of four halves: every score is exactly 1."""
    features = stored(tmp_path)
    collapsed = np.zeros_like(features.values)
    collapsed[:, :4] = 0.5
    arrays = {**features.arrays, "detector_scores": np.ones(240, np.float32)}
    outcome = evaluate(StoredFeatures(tmp_path, features.index, collapsed, arrays))
    assert set(outcome.metrics.values()) == {0.0}
    assert outcome.intervals["tar_strict_at_far_1e-1"] == (0, pytest.approx(1 - 0.025 ** (1 / 30)))


def test_impossible_lists_are_one_line(tmp_path):
    with pytest.raises(InputError, match="all 2700 pairs are genuine; expected pairs of both kinds"):
        evaluate(stored(tmp_path, same=np.ones(2700, bool)))
    with pytest.raises(InputError, match="template 999 has no image"):
        evaluate(stored(tmp_path, probes=np.array([[999, 1]])))
    with pytest.raises(InputError, match="none of 2 probes has a mate in a gallery"):
        evaluate(stored(tmp_path, probes=np.array([[40, 77], [41, 78]])))


def test_without_unmated_probes_there_is_no_standard_rate(tmp_path):
    features = stored(tmp_path)
    both = {f"gallery_{name}": np.stack([np.arange(30), np.arange(30)], axis=1) for name in GALLERIES}
    outcome = evaluate(stored(tmp_path, **both))
    assert not [name for name in outcome.metrics if "standard" in name]
    assert outcome.metrics.keys() >= {"rank1", "tpir_legacy_at_fpir_1e-1"}
    assert [name for name in evaluate(features).metrics if "standard" in name]


def test_dependent_pairs_widen_the_interval(tmp_path):
    """Each template ten times over: as many pairs as ten times the people, and no more evidence."""
    features = stored(tmp_path, noise=1.6)
    templates = pool_stored(features)
    people = people_of(features, templates)
    first, second = (templates.rows(column) for column in features.arrays["pairs"].T)
    scores = np.einsum("nd,nd->n", templates.vectors[first], templates.vectors[second])
    errors = []
    for times in (1, 10):
        repeated = (np.tile(each, times) for each in (scores, first, second, features.arrays["same"]))
        found = measure_verification(*repeated, people)
        errors.append(standard_error(found.left_out.values["tar_strict_at_far_1e-1"]))
    assert errors[1] == pytest.approx(errors[0], rel=0.05) and errors[0] > 0


def test_what_two_runs_are_compared_by_are_the_metrics_of_the_record(tmp_path):
    features = stored(tmp_path, noise=1.4)
    outcome = evaluate(features)
    found = {name: value for each in measure(features) for name, value in each.values.items()}
    assert found == outcome.metrics
    hits = {name: rows for each in measure(features) for name, rows in each.hits.items()}
    assert {name: rows.mean() for name, rows in hits.items()} == pytest.approx({name: found[name] for name in hits})


def test_a_better_run_is_told_from_a_worse_one(tmp_path):
    """And two that are equally good are not, though none of their scores are the same."""
    described = {"benchmark": "faces", "benchmark_manifest_hash": "b"}
    good, bad, other = (
        StoredFeatures(each.folder, {**each.index, **described}, each.values, each.arrays)
        for each in (stored(tmp_path, noise=noise) for noise in (0.9, 2.0, 0.9001))
    )
    rows = {row.metric: row for row in compare(bad, good, ["tar_strict_at_far_1e-1", "rank1"])}
    for row in rows.values():
        assert row.interval[0] > 0
        assert row.p_value < 0.05
    assert rows["rank1"].discordance.only_second > rows["rank1"].discordance.only_first
    assert all(row.p_value > 0.05 for row in compare(other, good, ["rank1"]))
