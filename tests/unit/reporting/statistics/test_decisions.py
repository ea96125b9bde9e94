from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest

from aroface.reporting.statistics.decisions import (
    decide,
    judge_cells,
    out_of_reach,
    seeds_that_decide,
    smallest_effect,
)
from aroface.reporting.statistics.intervals import SeedInterval, on_faces_like_these, on_this_benchmark
from aroface.reporting.statistics.samples import Sample, against_reported


def cell(*values: float) -> Sample:
    return Sample(dict(enumerate(values)))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        ("0.1", "0.3", "confirmed"),
        ("-0.3", "-0.1", "refuted"),
        ("-0.1", "0.3", "not enough data"),
        ("0.0", "0.3", "not enough data"),
        ("-0.3", "0.0", "not enough data"),
        (None, None, "not enough data"),
    ],
)
def test_the_whole_interval_decides(low: str | None, high: str | None, verdict: str):
    ends = [None if end is None else Decimal(end) for end in (low, high)]
    assert decide(*ends, Decimal(0)) == verdict


@pytest.mark.parametrize(
    ("cells", "bound", "verdict", "verdicts"),
    [
        # Each cell alone is open, their mean is not.
        ([cell(0.5, 2.0, 2.0), cell(2.0, 0.5, 2.1), cell(2.0, 2.1, 0.5)], 0, "confirmed", {"not enough data"}),
        # One cell that is far below refutes, though the mean is above.
        ([cell(9.0, 9.1, 9.2), cell(-3.00, -3.01, -3.02)], 0, "refuted", {"confirmed", "refuted"}),
        # Below by its own interval, but not after Holm's correction over six cells.
        ([cell(-1.0, -1.3, -0.7), *[cell(1.0, -1.0, 0.5)] * 5], 0, "not enough data", {"not enough data"}),
        ([cell(-1.0, -1.3, -0.7)], 0, "refuted", {"refuted"}),
        ([cell(-0.1, -0.12, -0.11)], "-0.3", "confirmed", {"confirmed"}),
        ([cell(-0.5, -0.52, -0.51)], "-0.3", "refuted", {"refuted"}),
        # A cell without values keeps a claim from being confirmed, and not from being refuted.
        ([cell(1.0, 1.1, 1.2), cell()], 0, "not enough data", {"confirmed", "not enough data"}),
        ([cell(-1.0, -1.1, -1.2), cell()], 0, "refuted", {"refuted", "not enough data"}),
        ([cell(1.0), cell(1.0)], 0, "not enough data", {"not enough data"}),
    ],
)
def test_claims_by_hand(cells: list[Sample], bound: object, verdict: str, verdicts: set[str]):
    found = judge_cells(cells, Decimal(bound))
    assert found.verdict == verdict
    assert {*found.verdicts} == verdicts


def rates(true: float, bound: str, *, cells: int, sd: float, seeds: int, people: float = 0.0) -> Counter[str]:
    """Rates of verdicts, in per cent, of claims whose cells all have this truth."""
    rng, counts, repetitions = np.random.default_rng(0), Counter(), 500
    for _ in range(repetitions):
        made = []
        for _ in range(cells):
            values = true + sd * rng.standard_normal(seeds)
            left_out = {}
            if people:
                groups = rng.standard_normal(20)
                values += people * groups.mean() * math.sqrt(20)
                without = people * math.sqrt(20) * (groups.sum() - groups) / 19
                left_out = {f"people {len(made)}": dict.fromkeys(range(seeds), without)}
            made.append(Sample(dict(enumerate(map(float, values))), left_out))
        counts[judge_cells(made, Decimal(bound)).verdict] += 1
    return Counter({name: 100 * count / repetitions for name, count in counts.items()})


WORST = 5 + 3 * math.sqrt(0.05 * 0.95 / 500) * 100
"""5 %, and three standard errors of the simulation."""


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("people", [0.0, 0.4])
@pytest.mark.parametrize(
    ("bound", "cells", "sd"), [("2.8", 1, 0.8), ("-0.3", 6, 0.2), ("0", 3, 0.4)], ids=["gain", "no loss", "improves"]
)
def test_a_truth_at_the_bound_is_rarely_judged(bound: str, cells: int, sd: float, seeds: int, people: float):
    found = rates(float(bound), bound, cells=cells, sd=sd, seeds=seeds, people=people)
    assert found["confirmed"] <= WORST
    assert found["refuted"] <= WORST


def test_clear_truths_are_seen():
    assert rates(1.43, "2.8", cells=1, sd=0.8, seeds=3)["confirmed"] == 0
    assert rates(0.0, "-0.3", cells=15, sd=0.2, seeds=3)["confirmed"] >= 90
    assert rates(1.5, "0", cells=6, sd=0.4, seeds=3)["confirmed"] >= 99


def test_the_number_of_seeds_that_decides_is_the_first_whose_interval_leaves_the_bound_out():
    found = on_this_benchmark(cell(0.0, 1.0, 2.0))
    number = seeds_that_decide(found, Decimal(0))
    assert number == 7  # 2.447 / sqrt(7) = .925; with six, 2.571 / sqrt(6) = 1.05
    assert seeds_that_decide(found, Decimal("0.99")) is None
    assert out_of_reach(found, Decimal("0.99")) == out_of_reach(found, Decimal(1)) == "seeds"


def test_what_no_number_of_seeds_decides_says_why():
    groups = np.array([0.5, -0.5]) * 2.0  # a covariance of 1
    found = on_faces_like_these(Sample({0: 0.9, 1: 1.0, 2: 1.1}, {"people": dict.fromkeys(range(3), groups)}))
    assert seeds_that_decide(found, Decimal(0)) is None
    assert out_of_reach(found, Decimal(0)) == "people"
    found = on_this_benchmark(against_reported(cell(0.0, 1.0, 2.0), 0.5))
    assert seeds_that_decide(found, Decimal(0)) is None
    assert out_of_reach(found, Decimal(0)) == "reported run"


def test_an_effect_of_the_smallest_size_is_seen_in_four_of_five_cases():
    rng = np.random.default_rng(0)

    def verdict(count: int) -> str:
        told, found = rng.standard_normal((2, count))
        effect = float(smallest_effect(on_this_benchmark(cell(*map(float, told)))))
        return judge_cells([cell(*map(float, effect + found))], Decimal(0)).verdict

    for count in (3, 5):
        assert Counter(verdict(count) for _ in range(800))["confirmed"] / 800 == pytest.approx(0.8, abs=0.06)
    known = SeedInterval(Decimal(0), Decimal(1), math.inf, 5, "faces like these")
    assert float(smallest_effect(known)) == pytest.approx(1.96 + 0.8416, abs=1e-3)
    assert smallest_effect(on_this_benchmark(cell(1.0))) is None
