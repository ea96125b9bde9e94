"""Intervals of one evaluation, and paired tests of two equal networks, as records and ``compare-runs`` print them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from numpy.random import Generator

from aroface.evaluation.compare_runs import compare
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.protocols.registry import protocol_of
from known_truth.populations import POPULATIONS
from known_truth.rows import Key, Observations, Simulation

FAMILY = "any metric after Holm"


def evaluated(population: str, rng: Generator) -> Observations:
    """Intervals of one network on a new benchmark, and the comparison with a second, equal one."""
    one, other = POPULATIONS[population].draw(rng, networks=2)
    outcome = protocol_of(one).evaluate(one)
    found: dict[Key, tuple[float, ...]] = {}
    for name, value in outcome.metrics.items():
        if not name.endswith("_std"):
            found["interval", name] = (value, *outcome.intervals.get(name, (math.nan, math.nan)))
    found |= {("interval", name): values for name, values in _further(outcome)}
    found |= dict(_swept(outcome.series))
    rows = compare(one, other)
    for row in rows:
        found["interval", f"difference of {row.metric}"] = (row.difference, *row.interval, 0.0)
        found["test", row.metric] = (row.p_value,)
    found["share", FAMILY] = (float(min(row.adjusted for row in rows if math.isfinite(row.adjusted)) < 0.05),)
    return found


def _further(outcome: Outcome) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Further intervals of a metric, under names that begin with its own."""
    for name, ends in outcome.intervals.items():
        if name not in outcome.metrics:
            metric = max((each for each in outcome.metrics if name.startswith(each)), key=len)
            yield name, (outcome.metrics[metric], *ends)


def _swept(series: Any) -> Iterator[tuple[Key, tuple[float, ...]]]:
    """Values and drops of a sensitivity sweep; errors of rotation are other images, which cost nothing."""
    for point in series:
        if point["level"] == 0:
            continue
        place = f"{point['metric']}, {'no error' if point['factor'] == 'rotation' else 'error'} {point['level']:g}"
        for name, low, high in (
            ("value", "low", "high"),
            ("drop", "drop_low", "drop_high"),
            ("relative_drop", "relative_drop_low", "relative_drop_high"),
        ):
            values = tuple(math.nan if point[each] is None else float(point[each]) for each in (name, low, high))
            yield ("interval", f"{name.replace('_', ' ')} of {place}"), values
        if point["factor"] == "rotation":
            yield ("share", f"significant drop of {place}"), (float(point["significant"]),)


_BEFORE: Mapping[str, Mapping[str, str]] = {
    "LFW-like": {
        "interval accuracy": "97 %",
        "interval tar_strict_at_far_1e-3": "88 to 93 %",
        "interval tar_at_far_1e-3": "88 to 93 %",
        "interval auc": "89 to 93 %",
        "interval eer": "91 to 95 %",
        "test accuracy": ".4 to 2 %",
        "test auc": "6 to 12 %",
        "test eer": "1.6 to 6 %",
        "test tar_*_1e-3": "2 %",
    },
    "CFP-like": {
        "interval accuracy": "94 %",
        "interval tar_strict_at_far_1e-3": "88 to 93 %",
        "interval tar_at_far_1e-3": "88 to 93 %",
        "interval auc": "89 to 93 %",
        "interval eer": "91 to 95 %",
        "test accuracy": ".4 to 2 %",
        "test auc": "6 to 12 %",
        "test eer": "1.6 to 6 %",
        "test tar_*_1e-3": "2 %",
    },
    "TinyFace-like": {"interval rank*": "90 to 95 %", "interval map": "90 to 95 %"},
    "IJB-like": {
        "interval tar_*1e-4": "98 %",
        "interval tar_*1e-3": "95.5 %",
        "interval tar_*1e-2": "89 %",
        "interval rank1": "82 %",
        "interval rank5": "85 %",
        "interval rank10": "87 %",
        "interval tpir_*1e-1": "83 %",
        "interval tpir_*1e-2": "91 %",
        "test tar_*1e-2": "6 %",
        "test tar_*1e-4": "1 %",
        "test rank1": "12 %",
        "test tpir_*1e-1": "11 %",
        "test tpir_*1e-2": "4 %",
    },
    "IJB-S-like": {
        "interval *to_single_rank1": "54 %",
        "interval difference of *to_single_rank1": "67 %",
        "interval difference of *tpir*": "67 %",
        "test *to_single_rank1": "32 %",
        "test *tpir*": "32 %",
    },
}


def _simulation(name: str, model: str, smoke: int, full: int) -> Simulation:
    return Simulation(name, model, lambda rng: evaluated(name, rng), smoke, full, before=_BEFORE.get(name, {}))


SIMULATIONS = (
    _simulation(
        "LFW-like", "6,000 pairs of 2,000 people in ten folds; people and images recur in several pairs", 200, 2000
    ),
    _simulation("LFW-like, nearly solved", "the same, at an accuracy of 99 %", 200, 2000),
    _simulation("CFP-like", "7,000 pairs of 500 people with ten frontal images and four in profile", 200, 2000),
    _simulation("swept pairs", "1,000 pairs of 400 people under alignment errors of two sizes, and none", 300, 2000),
    _simulation("TinyFace-like", "800 people with 1.45 probes each among 4,000 distractors", 300, 2000),
    _simulation(
        "IJB-like",
        "200 people with 5.5 probes each: all pairs of a probe and an enrolled template; search in two galleries",
        300,
        2000,
    ),
    _simulation("IJB-S-like", "202 people with 28 probes each, searched in two galleries", 150, 1000),
)
