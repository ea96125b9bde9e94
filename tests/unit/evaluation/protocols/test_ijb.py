from __future__ import annotations

import numpy as np
import pytest
from aroface.evaluation.statistics.subject_bootstrap import subjects_of, tar_samples

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.compare_runs import compare
from aroface.evaluation.metrics.operating_points import strict_tars
from aroface.evaluation.protocols.ijb import evaluate, weighted_metrics
from aroface.evaluation.statistics import bootstrap, subject_bootstrap

OPTIONS = {"norm_weighting": True, "detector_weighting": True}
GALLERIES = ("G1", "G2")
FARS = {"1e-2": 1e-2, "1e-1": 1e-1, "1": 1.0}


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
    assert outcome.intervals["tar_at_far_1e-1"] == (1, 1)
    assert outcome.intervals["rank1"] == (1, 1)
    assert outcome.intervals["tar_at_far_1e-1_binomial"] == (pytest.approx(0.025 ** (1 / 90)), 1)


def test_intervals_hold_their_values(tmp_path):
    outcome = evaluate(stored(tmp_path, noise=1.4))
    assert outcome.counts == {
        "images": 240, "templates": 120, "pairs": 2700, "genuine": 90, "impostors": 2610,
        "pair_bootstrap_replicates": 200, "probes": 90, "probes_with_mate": 90, "gallery_G1": 15, "gallery_G2": 15,
        "mated_G1": 45, "mated_G2": 45, "bootstrap_replicates": 1000,
    }  # fmt: skip
    assert outcome.intervals.keys() == {*outcome.metrics, *(f"{n}_binomial" for n in outcome.metrics if "far" in n)}
    for name in ("tar_at_far_1e-1", "tar_strict_at_far_1e-1", "tar_strict_at_far_1e-2", "rank1", "rank5"):
        low, high = outcome.intervals[name]
        assert low < outcome.metrics[name] < high
        assert 0.02 < high - low < 0.4
    for name in ("tpir_legacy_at_fpir_1e-1", "tpir_standard_at_fpir_1e-1"):
        low, high = outcome.intervals[name]
        assert low <= outcome.metrics[name] <= high


def test_the_same_features_give_the_same_outcome(tmp_path):
    assert evaluate(stored(tmp_path, noise=1.4)) == evaluate(stored(tmp_path, noise=1.4))


def test_features_that_are_all_alike_find_nobody(tmp_path):
    """Vectors of four halves: every score is exactly 1."""
    features = stored(tmp_path)
    collapsed = np.zeros_like(features.values)
    collapsed[:, :4] = 0.5
    arrays = {**features.arrays, "detector_scores": np.ones(240, np.float32)}
    outcome = evaluate(StoredFeatures(tmp_path, features.index, collapsed, arrays))
    assert set(outcome.metrics.values()) == {0.0}
    assert outcome.intervals["tar_strict_at_far_1e-1"] == (0, 0)


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


def test_subjects_are_those_whom_genuine_pairs_link():
    first, second = np.array([0, 1, 3, 4, 0]), np.array([1, 2, 4, 4, 5])
    found, genuine = subjects_of(first, second, np.array([True, True, True, True, False]), 7)
    assert found[0] == found[1] == found[2]
    assert found[3] == found[4]
    assert len(set(found.tolist())) == len(genuine) == 4
    assert genuine[found].tolist() == [2, 2, 2, 2, 2, 0, 0]


def scored_pairs(seed, decimals):
    rng = np.random.default_rng(seed)
    owners = np.concatenate([np.arange(12), np.arange(12), np.arange(6)])
    first, second = rng.integers(12, size=400), rng.integers(12, 30, size=400)
    same = owners[first] == owners[second]
    return np.round(rng.normal(size=400) + same, decimals).astype(np.float32), first, second, same


@pytest.mark.parametrize("decimals", [6, 1])
@pytest.mark.parametrize("few", [1, 1 << 21])
def test_a_replicate_is_the_tar_of_the_pairs_repeated(decimals, few, monkeypatch):
    scores, first, second, same = scored_pairs(5, decimals)
    owner, genuine = subjects_of(first, second, same, 30)
    drawn = np.random.default_rng(6).integers(3, size=(20, len(genuine)))
    monkeypatch.setattr(bootstrap, "samples", lambda statistic, strata, replicates: statistic(drawn))
    found = tar_samples(scores, first, second, same, 30, FARS, few=few)
    for row, counts in enumerate(drawn):
        one, other = counts[owner[first]], counts[owner[second]]
        mates = np.repeat(scores[same], one[same])
        others = np.repeat(scores[~same], (one * other)[~same])
        for name, far in FARS.items():
            assert found[f"tar_strict_at_far_{name}"][row] == pytest.approx(strict_tars(mates, others, [far])[0])
            assert found[f"tar_at_far_{name}"][row] == pytest.approx(nearest_tar(mates, others, far))


def nearest_tar(mates, others, far):
    points = [(0.0, 0.0)]
    points += [((others >= each).mean(), (mates >= each).mean()) for each in np.unique([*mates, *others])]
    return max((-abs(rate - far), rate, tar) for rate, tar in points)[2]


def test_draws_are_of_subjects_and_every_replicate_has_genuine_pairs():
    scores, first, second, same = scored_pairs(7, 3)
    few = np.flatnonzero(~same)[:60]
    rows = np.concatenate([np.flatnonzero(same)[:1], few])
    samples = tar_samples(scores[rows], first[rows], second[rows], same[rows], 30, {"1e-1": 0.1}, replicates=100)
    assert set(samples["tar_strict_at_far_1e-1"].tolist()) <= {0.0, 1.0}
    assert 90 < len(samples["tar_strict_at_far_1e-1"]) <= 100


def test_dependent_pairs_widen_the_interval():
    """Ten templates of each subject with one score: as many pairs as ten times the subjects, and no more evidence."""
    rng = np.random.default_rng(8)
    people, each = 40, 10
    first = np.repeat(np.arange(people), each)
    second = people + np.arange(people * each)
    quality = np.repeat(rng.normal(size=people), each)
    impostor = rng.integers(people, size=(2, 5000))
    impostor[1] = people + each * ((impostor[0] + 1 + impostor[1] % (people - 1)) % people)
    scores = np.concatenate([1 + quality, rng.normal(size=5000)]).astype(np.float32)
    same = np.arange(len(scores)) < len(first)
    pairs = np.concatenate([first, impostor[0]]), np.concatenate([second, impostor[1]])
    samples = tar_samples(scores, *pairs, same, people * (1 + each), {"1e-1": 0.1})
    low, high = bootstrap.interval(samples["tar_strict_at_far_1e-1"])
    tar = strict_tars(scores[same], scores[~same], [0.1])[0]
    assert high - low > 2 * 2 * 1.96 * np.sqrt(tar * (1 - tar) / len(first))


def test_whole_and_partial_walks_agree():
    scores, first, second, same = scored_pairs(9, 6)
    one, other = (tar_samples(scores, first, second, same, 30, {"1e-2": 0.01}, few=few) for few in (1, 1 << 21))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
    assert len(one) == 2 and len(values) == subject_bootstrap.REPLICATES


def test_measures_that_count_everybody_once_are_the_metrics(tmp_path):
    """Of the strict TARs and of the search; the others have no weights."""
    features = stored(tmp_path, noise=1.4)
    outcome = evaluate(features)
    found = {name: value for each in weighted_metrics(features) for name, value in each.values().items()}
    assert found.keys() == {name for name in outcome.metrics if not name.startswith("tar_at")}
    assert found == pytest.approx({name: outcome.metrics[name] for name in found}, abs=1e-12)
    hits = {name: rows for each in weighted_metrics(features) for name, rows in each.hits.items()}
    assert {name: rows.mean() for name, rows in hits.items()} == pytest.approx({name: found[name] for name in hits})


def test_a_better_run_is_told_from_a_worse_one(tmp_path):
    """And two that are equally good are not, though none of their scores are the same."""
    described = {"benchmark": "faces", "benchmark_manifest_hash": "b"}
    good, bad, other = (
        StoredFeatures(each.folder, {**each.index, **described}, each.values, each.arrays)
        for each in (stored(tmp_path, noise=noise) for noise in (0.9, 2.0, 0.9001))
    )
    rows = {row.metric: row for row in compare(bad, good, ["tar_strict_at_far_1e-1", "rank1"], replicates=200)}
    for row in rows.values():
        assert row.interval[0] > 0
        assert row.p_value < 0.05
    assert rows["rank1"].discordance.p_value < 0.05
    assert all(row.p_value > 0.05 for row in compare(other, good, ["rank1"], replicates=200))
