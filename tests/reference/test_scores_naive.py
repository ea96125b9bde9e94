"""Metrics of score files against plain loops over thresholds, comparisons and probes."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy.stats import binom, norm

from aroface.evaluation.metrics.left_out_pairs import auc_left_out, auc_without, eer_left_out, share_left_out
from aroface.evaluation.metrics.score_thresholds import d_prime, threshold_interval
from aroface.evaluation.score_files import ScoreSet
from aroface.evaluation.scores import compare_systems, evaluate_scores
from aroface.evaluation.statistics.multiplicity import holm
from aroface.evaluation.statistics.people import PairsWithoutGroups, kept_pairs


def drawn(seed: int = 0, count: int = 400, *, ties: bool = False, people: bool = False) -> ScoreSet:
    rng = np.random.default_rng(seed)
    same = np.arange(count) % 4 == 0
    scores = rng.normal(np.where(same, 1.5, 0.0), 1.0)
    named = None
    if people:
        first = rng.integers(40, size=count)
        named = np.stack([first, np.where(same, first, (first + 1 + rng.integers(39, size=count)) % 40)], axis=1)
    return ScoreSet(np.round(scores, 1) if ties else scores, same, named)


def naive_fnmr(scores: ScoreSet, fmr: float) -> tuple[float, float]:
    """The lowest FNMR with at most this FMR, and the lowest threshold that has it, by a loop over all thresholds."""
    genuine = [s for s, same in zip(scores.scores, scores.same, strict=True) if same]
    impostors = [s for s, same in zip(scores.scores, scores.same, strict=True) if not same]
    best = (1.0, math.inf)
    for threshold in sorted({*genuine, *impostors}, reverse=True):
        if sum(s >= threshold for s in impostors) / len(impostors) <= fmr:
            best = (sum(s < threshold for s in genuine) / len(genuine), threshold)
    return best


@pytest.mark.parametrize("ties", [False, True])
def test_error_rates_and_thresholds(ties: bool) -> None:
    scores = drawn(ties=ties)
    verdict = evaluate_scores("a", scores, [0.1, 0.02])
    assert verdict.metrics["zero_fmr"] == pytest.approx(naive_fnmr(scores, 0)[0])
    assert verdict.metrics["fmr100"] == pytest.approx(naive_fnmr(scores, 0.01)[0])
    assert verdict.metrics["tar_strict_at_far_1e-1"] == pytest.approx(1 - naive_fnmr(scores, 0.1)[0])
    assert "fmr1000" not in verdict.metrics  # 300 impostors cannot show one in a thousand
    for each in verdict.thresholds:
        fnmr, threshold = naive_fnmr(scores, each.wished)
        assert (each.fnmr, each.threshold) == pytest.approx((fnmr, threshold))
        assert each.accepted == sum(s >= threshold for s in scores.scores[~scores.same])
        assert each.low <= each.threshold <= each.high


def test_auc_is_a_share_of_pairs_of_comparisons() -> None:
    scores = drawn(ties=True)
    wins = [(g > i) + (g == i) / 2 for g in scores.scores[scores.same] for i in scores.scores[~scores.same]]
    assert evaluate_scores("a", scores, []).metrics["auc"] == pytest.approx(statistics.fmean(wins))


def test_equal_error_rate_of_normal_scores() -> None:
    """Two normal distributions d' apart have an EER of Φ(-d'/2)."""
    verdict = evaluate_scores("a", drawn(count=40_000), [])
    assert verdict.metrics["eer"] == pytest.approx(norm.cdf(-0.75), abs=0.01)
    assert verdict.metrics["d_prime"] == pytest.approx(1.5, abs=0.05)
    low, high = verdict.intervals["d_prime"]
    assert low < 1.5 < high


def test_d_prime_by_its_formula() -> None:
    genuine, impostors = np.array([3.0, 5.0, 4.0]), np.array([0.0, 1.0, 0.5, 2.5])
    spread = math.sqrt((statistics.pvariance(genuine) + statistics.pvariance(impostors)) / 2)
    assert d_prime(genuine, impostors) == pytest.approx((4 - 1) / spread)


@pytest.mark.parametrize("people", [False, True])
def test_products_without_groups_are_those_of_the_matrix(people: bool) -> None:
    scores = drawn(people=people)
    sides = scores.people if people else np.arange(len(scores))[:, None].repeat(2, axis=1)
    assert sides is not None
    _, numbers = np.unique(sides, return_inverse=True)
    sides = numbers.reshape(-1, 2)
    kept, matrix = PairsWithoutGroups(sides, scores.same), kept_pairs(sides, scores.same)
    assert kept @ scores.scores == pytest.approx(matrix @ scores.scores)
    hits = scores.scores > 1
    assert share_left_out(kept, scores.same, hits) == pytest.approx(share_left_out(matrix, scores.same, hits))
    assert eer_left_out(-scores.scores, scores.same, kept) == pytest.approx(
        eer_left_out(-scores.scores, scores.same, matrix)
    )
    rounded = np.round(-scores.scores, 1)
    assert auc_without(rounded, scores.same, kept.parts()) == pytest.approx(auc_left_out(rounded, scores.same, matrix))


def test_threshold_interval_covers_what_it_says() -> None:
    """Of the uniform distribution the threshold for an FMR of 5 % is .95."""
    rng, covered = np.random.default_rng(3), 0
    for _ in range(400):
        low, high = threshold_interval(np.sort(rng.random(500)), 0.05, 500)
        covered += low <= 0.95 <= high
    few, many = binom.ppf([0.025, 0.975], 500, 0.05)
    exact = binom.cdf(many, 500, 0.05) - binom.cdf(few - 1, 500, 0.05)
    assert exact >= 0.95
    assert covered / 400 == pytest.approx(exact, abs=0.03)


def test_a_threshold_that_few_impostors_do_not_bound() -> None:
    assert threshold_interval(np.arange(10.0), 0.01, 10)[1] == math.inf


def naive_search(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, fpir: float) -> tuple[list[int], float]:
    ranks, alarms, mated = [], [], []
    for row, person in zip(matrix, rows, strict=True):
        mates, others = row[columns == person], row[columns != person]
        if len(mates):
            ranks.append(1 + sum(others >= mates.max()))
            mated.append((mates.max(), others.max()))
        else:
            alarms.append(others.max())
    best = 0.0
    for threshold in sorted({*alarms, *(mate for mate, _ in mated)}):
        if sum(alarm >= threshold for alarm in alarms) / len(alarms) <= fpir:
            best = max(best, sum(mate > other and mate >= threshold for mate, other in mated) / len(mated))
    return ranks, best


def test_search_rates() -> None:
    rng = np.random.default_rng(1)
    rows, columns = np.repeat(np.arange(40), 2), np.arange(25)
    matrix = rng.normal(size=(80, 25)) + 2 * (rows[:, None] == columns)
    people = np.stack([np.repeat(rows, 25), np.tile(columns, 80)], axis=1)
    scores = ScoreSet(matrix.ravel(), people[:, 0] == people[:, 1], people, np.repeat(np.arange(80), 25))
    verdict = evaluate_scores("a", scores, [])
    ranks, tpir = naive_search(matrix, rows, columns, 0.1)
    for rank in (1, 5, 10):
        share = np.mean(np.array(ranks) <= rank)
        assert verdict.metrics[f"rank{rank}"] == pytest.approx(share)
        assert verdict.cmc[rank - 1] == pytest.approx(share)
    assert verdict.metrics["tpir_at_fpir_1e-1"] == pytest.approx(tpir)
    assert verdict.counts["mated_probes"] == 50
    low, high = verdict.intervals["rank1"]
    assert 0 < low < verdict.metrics["rank1"] < high < 1


def test_people_make_an_interval_wider_than_their_comparisons() -> None:
    """Each comparison ten times over tells no more than once; people know it, comparisons do not."""
    base = drawn(count=200, people=True)
    rows = np.repeat(np.arange(200), 10)
    repeated = base.take(rows)
    by_people = evaluate_scores("a", repeated, [0.05])
    by_pairs = evaluate_scores("a", ScoreSet(repeated.scores, repeated.same), [0.05])
    for metric in ("eer", "auc"):
        widths = [np.diff(each.intervals[metric])[0] for each in (by_people, by_pairs)]
        assert widths[0] > 2 * widths[1]
    assert by_people.thresholds[0].effective < 0.5 * by_pairs.thresholds[0].effective


def test_pairs_of_systems_by_holm() -> None:
    base = drawn(count=800)
    noise = np.random.default_rng(9)
    sets = {name: ScoreSet(base.scores + noise.normal(0, sd, 800), base.same) for name, sd in
            {"a": 0.01, "b": 0.02, "c": 1.5}.items()}  # fmt: skip
    rows = compare_systems([evaluate_scores(*item, []) for item in sets.items()])
    aucs = [each for each in rows if each.row.metric == "auc"]
    assert [(each.first, each.second) for each in aucs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [each.row.adjusted for each in aucs] == pytest.approx(holm([each.row.p_value for each in aucs]))
    assert aucs[0].row.adjusted > 0.05 > aucs[1].row.adjusted
