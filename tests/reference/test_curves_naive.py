"""Operating curves against counts at every threshold, and against scikit-learn's ``roc_curve``."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from aroface.evaluation.metrics.open_set import rates, search
from aroface.evaluation.metrics.operating_curves import abscissae, tar_far, tpir_fpir
from aroface.evaluation.metrics.operating_points import FARS
from aroface.evaluation.protocols.ijb import verification_metrics
from aroface.evaluation.protocols.pairs import pair_metrics


def naive_points(genuine, impostors):
    """(FAR, TAR) as fractions at every threshold that makes a difference, and where nothing is accepted."""
    points = [(Fraction(0), Fraction(0))]
    for threshold in {*genuine.tolist(), *impostors.tolist()}:
        accepted = sum(score >= threshold for score in impostors.tolist())
        hits = sum(score >= threshold for score in genuine.tolist())
        points.append((Fraction(accepted, len(impostors)), Fraction(hits, len(genuine))))
    return points


def made_up_scores(genuine, impostors, levels=None, seed=0):
    """Overlapping scores; with ``levels`` many of them are equal, between the kinds too."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(1, 0.6, genuine), rng.normal(0, 0.5, impostors)
    return [(np.round(scores * levels) / levels if levels else scores).astype(np.float32) for scores in kinds]


@pytest.mark.parametrize(("genuine", "impostors", "levels"), [(40, 150, None), (70, 211, 8), (5, 1, None), (30, 7, 2)])
def test_the_curve_is_the_best_of_all_thresholds(genuine, impostors, levels):
    scores = made_up_scores(genuine, impostors, levels)
    points = naive_points(*scores)
    curve = tar_far(*scores)
    expected = [max(tar for far, tar in points if float(far) <= limit) for limit in curve["far"]]
    assert curve["tar"] == [float(tar) for tar in expected]
    assert curve["impostors"] == impostors


@pytest.mark.parametrize("levels", [None, 20])
def test_the_curve_lies_on_that_of_scikit_learn(levels):
    genuine, impostors = made_up_scores(3000, 50_000, levels)
    labels = np.repeat([1, 0], [3000, 50_000])
    fpr, tpr, _ = roc_curve(labels, np.concatenate([genuine, impostors]), drop_intermediate=False)
    curve = tar_far(genuine, impostors)
    expected = [tpr[fpr <= far].max() for far in curve["far"]]
    np.testing.assert_array_equal(curve["tar"], expected)


def test_metrics_of_templates_are_points_of_the_curve():
    scores = made_up_scores(2000, 3_000_000)
    curve = tar_far(*scores)
    metrics = verification_metrics(np.concatenate(scores), np.repeat([True, False], [2000, 3_000_000]))
    for name, far in FARS.items():
        assert curve["tar"][curve["far"].index(far)] == metrics[f"tar_strict_at_far_{name}"]
        # The paper's are those of the nearest point that scikit-learn keeps: the same but for the next few pairs.
        assert curve["tar"][curve["far"].index(far)] == pytest.approx(metrics[f"tar_at_far_{name}"], abs=2e-3)
    assert curve["far"][0] == 1e-6


def test_metrics_of_pairs_are_points_of_the_curve():
    rng = np.random.default_rng(1)
    same = rng.random(6000) < 0.5
    distances = np.round(np.clip(np.where(same, rng.normal(1.3, 0.4, 6000), rng.normal(1.9, 0.2, 6000)), 0, 4), 3)
    curve = tar_far(-distances[same], -distances[~same])
    metrics = pair_metrics(distances, same)
    for power in (1, 2, 3):
        assert curve["tar"][curve["far"].index(10.0**-power)] == metrics[f"tar_strict_at_far_1e-{power}"]


@pytest.mark.parametrize(("trials", "first", "count"), [(15_638_932, 1e-6, 121), (3000, 1 / 3000, 71), (1, 1.0, 1)])
def test_points_are_few_and_begin_where_something_can_be_measured(trials, first, count):
    found = abscissae(trials, 1e-6)
    assert (found[0], found[-1], len(found)) == (first, 1.0, count)
    assert found == sorted({*found})
    assert all(10.0**-power in found for power in range(6) if 10.0**-power >= first)


def test_memory_is_one_copy_of_the_impostors():
    genuine, impostors = made_up_scores(1000, 4_000_000)
    tracemalloc.start()
    tar_far(genuine, impostors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * impostors.nbytes


def naive_tpir(scores, subjects, gallery, fpir):
    """Largest share of mated probes found at rank 1 over all thresholds with at most this FPIR, in one gallery."""
    found, known, alarms = [], 0, []
    for row, subject in zip(scores.tolist(), subjects.tolist(), strict=True):
        own = [score for score, name in zip(row, gallery.tolist(), strict=True) if name == subject]
        others = [score for score, name in zip(row, gallery.tolist(), strict=True) if name != subject]
        if not own:
            alarms.append(max(others))
            continue
        known += 1
        found += [max(own)] if max(own) > max(others) else []
    thresholds = [np.inf, *found, *alarms]
    fitting = [t for t in thresholds if sum(alarm >= t for alarm in alarms) / len(alarms) <= fpir]
    return max(sum(score >= t for score in found) for t in fitting) / known


def random_search(seed=0, probes=120, subjects=40):
    """Probes of all subjects, the first half of which is enrolled in one gallery, the middle in the other."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(subjects, 12))

    def vectors(labels):
        noisy = centres[labels] + rng.normal(size=(len(labels), 12))
        return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)

    labels = rng.integers(subjects, size=probes)
    galleries = [np.arange(subjects // 2), np.arange(subjects // 4, 3 * subjects // 4)]
    return vectors(labels), labels, [(vectors(gallery), gallery) for gallery in galleries]


def test_the_search_curve_is_the_best_of_all_thresholds():
    probes, labels, galleries = random_search()
    found = search(probes, labels, galleries)
    curve = tpir_fpir(found)
    assert curve["unknown"] == min(np.count_nonzero(~np.isin(labels, gallery)) for _, gallery in galleries)
    for fpir, tpir in zip(curve["fpir"], curve["tpir"], strict=True):
        each = [naive_tpir(probes @ vectors.T, labels, gallery, fpir) for vectors, gallery in galleries]
        assert tpir == pytest.approx(sum(each) / 2, abs=1e-12)
    assert curve["tpir"][curve["fpir"].index(0.1)] == rates(found)["tpir_standard_at_fpir_1e-1"]
    assert curve["tpir"][0] < curve["tpir"][-1]


def test_a_search_whose_probes_are_all_enrolled_has_no_curve():
    probes, labels, galleries = random_search()
    everybody = np.arange(40)
    vectors = np.tile(galleries[0][0], (2, 1))
    assert tpir_fpir(search(probes, labels, [(vectors, everybody), galleries[1]])) is None
