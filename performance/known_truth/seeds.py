"""Intervals over seeds, notes and bold of tables, and verdicts, as the tables and the claims print them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import trim_mean

from aroface.evaluation.statistics.people_metrics import PeopleMetrics, mean_of_items
from aroface.planning.forecast.power import visible_difference
from aroface.reporting.claims.compare import judge
from aroface.reporting.statistics.decisions import Decision, judge_cells, seeds_that_decide, smallest_effect
from aroface.reporting.statistics.intervals import (
    SeedInterval,
    on_faces_like_these,
    on_this_benchmark,
    one_further_run,
)
from aroface.reporting.statistics.multiplicity import SIGNIFICANT, best_rows, holm
from aroface.reporting.statistics.orthogonality import Arms, judge_orthogonality
from aroface.reporting.statistics.over_methods import interquartile_mean
from aroface.reporting.statistics.samples import Sample, against_reported, deviation_floor, difference
from known_truth.rows import Key, Kind, Observations

Floats = NDArray[np.float64]
Found = Iterator[tuple[Key, tuple[float, ...]]]


def sample_of(values: Sequence[float] | Floats, **rest: float) -> Sample:
    """Values of seeds 0, 1 and so on."""
    return Sample({seed: float(value) for seed, value in enumerate(values)}, **rest)


def ends(found: SeedInterval | None, truth: float | None = None) -> tuple[float, ...]:
    """Observation of an interval; no numbers where there is none."""
    rest = () if truth is None else (truth,)
    if found is None or found.low is None or found.high is None:
        return (np.nan, np.nan, np.nan, *rest)
    return (float(found.mean), float(found.low), float(found.high), *rest)


def p_of(found: SeedInterval | None) -> tuple[float]:
    """Observation of a test; one that has no p-value rejects nothing."""
    return (1.0 if found is None or found.p_value is None else found.p_value,)


# Over seeds, on one benchmark


def normal(rng: Generator, count: int) -> Floats:
    return rng.normal(0.6, 0.008, count)


def skewed(rng: Generator, count: int) -> Floats:
    return 0.6 - 0.008 * rng.exponential(size=count)


def failing(rng: Generator, count: int) -> Floats:
    """One seed in ten loses ten standard deviations."""
    return rng.normal(0.6, 0.008, count) - 0.08 * (rng.random(count) < 0.1)


DISTRIBUTIONS = {"normal": (normal, 0.6), "skewed": (skewed, 0.592), "one in ten fails": (failing, 0.592)}


def over_seeds(rng: Generator) -> Observations:
    """Means, predictions and comparisons with a reported run, of 3, 5 and 10 seeds."""
    found: dict[Key, tuple[float, ...]] = {}
    for kind, (draw, mean) in DISTRIBUTIONS.items():
        for count in (3, 5, 10):
            seeds, further = sample_of(draw(rng, count)), float(draw(rng, 1)[0])
            found["interval", f"mean of {count} seeds, {kind}"] = ends(on_this_benchmark(seeds), mean)
            found["interval", f"one further run after {count} seeds, {kind}"] = ends(one_further_run(seeds), further)
    for count in (3, 5, 10):
        seeds, reported = sample_of(normal(rng, count)), float(normal(rng, 1)[0])
        against = on_this_benchmark(against_reported(seeds, reported))
        found["interval", f"difference from one reported run, {count} seeds"] = ends(against, 0.0)
        found["test", f"difference from one reported run, {count} seeds"] = p_of(against)
        paired = on_this_benchmark(difference(sample_of(normal(rng, count)), sample_of(normal(rng, count))))
        found["interval", f"difference of two equal methods, {count} seeds"] = ends(paired, 0.0)
        found["test", f"difference of two equal methods, {count} seeds"] = p_of(paired)
    return found


def grainy(rng: Generator) -> Observations:
    """Two equal methods whose hits, of 400 probes, are the same but for a probe now and then."""
    found: dict[Key, tuple[float, ...]] = {}
    for count in (2, 3, 5):
        floor = deviation_floor(1 / 400)
        sides = [sample_of(np.round(300 + rng.normal(0, 0.6, count)) / 400, floor=floor) for _ in range(2)]
        paired = on_this_benchmark(difference(*sides))
        found["test", f"difference of two equal methods, {count} seeds"] = p_of(paired)
        found["share", f"p below .001, {count} seeds"] = (float(p_of(paired)[0] < 0.001),)
    return found


# Over seeds and people


class Benchmark:
    """People with several probes each, who are more or less difficult, for everybody and for one network alone.

    Args:
        rng: Source of the draws.
        people: Number of people.
        methods: Number of methods.
        probes: Number of probes of each person.
    """

    def __init__(self, rng: Generator, people: int, methods: int = 2, probes: int = 5) -> None:
        self.rng, self.probes = rng, probes
        common = 1.0 + 1.2 * rng.normal(size=(1, people))
        self.difficulty = common + 0.6 * rng.normal(size=(methods, people))

    def seen(self, method: int, quality: Floats) -> Floats:
        """Probability (S, people) of a hit by seeds of this quality (S,), each with an opinion of its own."""
        own = 0.4 * self.rng.normal(size=(len(quality), self.difficulty.shape[1]))
        return np.asarray(expit(self.difficulty[method] + quality[:, None] + own))

    def measured(self, method: int, seeds: int) -> list[PeopleMetrics]:
        """Measurements of some seeds of a method."""
        chances = self.seen(method, self.rng.normal(0, 0.08, seeds))
        people = np.repeat(np.arange(chances.shape[1]), self.probes)
        return [mean_of_items({"rate": self.rng.random(len(people)) < row[people]}, people) for row in chances]

    def sample(self, method: int, seeds: int) -> Sample:
        """The same as a table takes it from records."""
        runs = self.measured(method, seeds)
        left_out = {"people": {seed: run.left_out.values["rate"] for seed, run in enumerate(runs)}}
        return Sample({seed: run.values["rate"] for seed, run in enumerate(runs)}, left_out)

    def truth(self, method: int) -> float:
        """Mean of very many seeds on these people and probes."""
        return float(self.seen(method, self.rng.normal(0, 0.08, 400)).mean())


def seeds_and_people(rng: Generator) -> Observations:
    """Two methods that are equal on all faces, on 60 and on 200 people."""
    found: dict[Key, tuple[float, ...]] = {}
    for people, count in ((60, 3), (200, 3), (200, 5)):
        place = f"{count} seeds, {people} people"
        benchmark = Benchmark(rng, people)
        one, other = (benchmark.sample(method, count) for method in range(2))
        paired = difference(one, other)
        faces, here = on_faces_like_these(paired), on_this_benchmark(paired)
        gap = benchmark.truth(0) - benchmark.truth(1)
        found["interval", f"mean, on faces like these: {place}"] = ends(on_faces_like_these(one))
        found["interval", f"difference, on faces like these: {place}"] = ends(faces, 0.0)
        found["test", f"difference, on faces like these: {place}"] = p_of(faces)
        found["interval", f"difference, on this benchmark: {place}"] = ends(here, gap)
        found["interval", f"t over seeds, taken for all faces: {place}"] = ends(here, 0.0)
        found["test", f"t over seeds, taken for all faces: {place}"] = p_of(here)
    return found


# Many comparisons


def ablation(rng: Generator) -> Observations:
    """A table of 5 rows and 9 columns in which nothing differs, and one in which a row is better by 5 deviations."""
    found: dict[Key, tuple[float, ...]] = {}
    for count in (3, 5):
        table = rng.normal(0.6, 0.008, (9, 5, count))
        cells = [[sample_of(seeds) for seeds in column] for column in table]
        tests = [on_this_benchmark(difference(row, column[0])) for column in cells for row in column[1:]]
        chances = [p_of(each)[0] for each in tests]
        place = f"{count} seeds"
        found["share", f"brackets that leave out 0, {place}"] = (float(np.mean([p < SIGNIFICANT for p in chances])),)
        found["share", f"tables with such a bracket, {place}"] = (float(min(chances) < SIGNIFICANT),)
        found["share", f"tables with a finding after Holm, {place}"] = (float(min(holm(chances)) < SIGNIFICANT),)
        marks = [best_rows(column) for column in cells]
        found["share", f"columns with bold where nothing differs, {place}"] = (float(np.mean([*map(any, marks)])),)
        better = table + np.array([0, 0, 0, 0, 0.04])[:, None]
        marks = [best_rows([sample_of(seeds) for seeds in column]) for column in better]
        shown, right = [each for each in marks if any(each)], [each for each in marks if each[4]]
        found["share", f"columns with bold where a row is better by 5 sd, {place}"] = (len(shown) / 9,)
        found["share", f"the best row is bold where any is, {place}"] = (len(right) / len(shown) if shown else np.nan,)
    return found


# Verdicts

TRUTHS: Mapping[str, tuple[float, float, float, int, str]] = {
    "gain of 4.3, true gain a third of it": (4.3 / 3, 0.8, 2.8, 1, "refuted"),
    "gain of 4.3, true gain 4.3": (4.3, 0.8, 2.8, 1, "confirmed"),
    "gain of 4.3, true gain at the bound": (2.8, 0.8, 2.8, 1, ""),
    "no loss within .3, all differences 0": (0.0, 0.2, -0.3, 6, "confirmed"),
    "no loss within .3, all at -.3": (-0.3, 0.2, -0.3, 6, ""),
    "improves, all by 1.5": (1.5, 0.4, 0.0, 6, "confirmed"),
    "improves, no effect at all": (0.0, 0.4, 0.0, 6, ""),
    "drop of over 50 %, true drop 50 %": (50.0, 3.0, 50.0, 2, ""),
    "drop of over 50 %, true drop 60 %": (60.0, 3.0, 50.0, 2, "confirmed"),
}
"""Truth of a claim: true value, standard deviation over seeds, bound (in points), cells, and the right verdict."""


def verdicts(rng: Generator) -> Observations:
    """Claims of known truth, by 3 and by 5 seeds."""
    found: dict[Key, tuple[float, ...]] = {}
    for count in (3, 5):
        for truth, (value, sd, bound, number, _) in TRUTHS.items():
            cells = [sample_of(rng.normal(value, sd, count) / 100) for _ in range(number)]
            found |= dict(_decided(f"{truth}, {count} seeds", judge_cells(cells, Decimal(str(bound)) / 100)))
        benchmarks = [Benchmark(rng, 100) for _ in range(2)]
        cells = [difference(each.sample(0, count), each.sample(1, count)) for each in benchmarks]
        found |= dict(_decided(f"improves, no effect on all faces, {count} seeds", judge_cells(cells, Decimal(0))))
    return found


def _decided(place: str, decision: Decision) -> Found:
    for verdict in ("confirmed", "refuted"):
        yield ("share", f"{place}: {verdict}"), (float(decision.verdict == verdict),)


METHODS: Mapping[str, tuple[float, float, float]] = {
    "no gain": (0.0, 0.0, 0.0),
    "no gain on average, another for each method": (0.0, 0.005, 0.0),
    "one gain for all": (0.012, 0.0, 0.0),
    "one gain for all, which depends on the seed": (0.012, 0.0, 0.004),
}
"""Gain, its standard deviation over methods, and over seeds; beside .008 of each network."""


def over_methods(rng: Generator) -> Observations:
    """Gains of 3 and of 12 methods by 5 seeds, on three benchmarks for the interquartile mean."""
    found: dict[Key, tuple[float, ...]] = {}
    for methods, count in ((3, 5), (12, 5)):
        for truth, (gain, of_methods, of_seeds) in METHODS.items():
            place = f"{methods} methods, {count} seeds: {truth}"
            common = gain + rng.normal(0, of_methods, (methods, 1)) + rng.normal(0, of_seeds, (1, count))
            plain = rng.normal(0.6, 0.008 / np.sqrt(2), (3, 2, methods, count))
            arms = [
                Arms(*map(sample_of, each)) for each in zip(plain[0, 0], plain[0, 1], plain[1, 0] + common, strict=True)
            ]
            judged = judge_orthogonality({str(number): each for number, each in enumerate(arms)}, 199)
            whole = judged.gain.whole
            assert whole is not None
            found["interval", f"mean gain, {place}"] = (*map(float, (whole.mean, whole.low, whole.high)), gain)
            kind: Kind = "share" if of_methods else "test"
            seen = float(whole.interaction < SIGNIFICANT) if of_methods else whole.interaction
            found[kind, f"gain differs between methods, {place}"] = (seen,)
            if gain == 0 or not of_seeds:
                found["share", f"orthogonal, {place}: confirmed"] = (float(judged.verdict == "confirmed"),)
                found["share", f"orthogonal, {place}: refuted"] = (float(judged.verdict == "refuted"),)
            cells = {str(number): [*map(sample_of, one - other + common)] for number, (one, other) in enumerate(plain)}
            further = rng.normal(0, np.hypot(0.008, of_seeds), (methods, 2000)) + common.mean(axis=1, keepdims=True)
            further -= 0 if of_methods else common.mean() - gain
            truth_here = float(trim_mean(further, 0.25, axis=None))
            found["interval", f"interquartile mean, {place}"] = (*(interquartile_mean(cells, 199) or ()), truth_here)
    return found


def closeness(rng: Generator) -> Observations:
    """A reported run of our own distribution, and one that lies 6 points away; deviations of 1 point over seeds."""
    found: dict[Key, tuple[float, ...]] = {}
    for count in (2, 3, 5, 10):
        for distance in (0.0, 6.0):
            seeds = sample_of(rng.normal(0.6, 0.01, count))
            reported = rng.normal(0.6 - distance / 100, 0.01)
            further = one_further_run(seeds)
            assert further is not None and further.half is not None
            gap = Decimal(repr(round(100 * (float(further.mean) - reported), 2)))
            verdict = judge(gap, 100 * further.half, "trained")
            if distance:
                found["share", f"a run 6 points away holds, {count} seeds"] = (float(verdict == "holds"),)
            else:
                wrong = verdict in ("differs", "check the preprocessing")
                found["share", f"a run like ours differs, {count} seeds"] = (float(wrong),)
    return found


# Forecasts


def forecasts(rng: Generator) -> Observations:
    """Differences that are said to be seen in four of five cases, and what an undecided verdict is told with."""
    found: dict[Key, tuple[float, ...]] = {}
    for count in (3, 5):
        seen = visible_difference(count, 0.008)
        assert seen is not None
        here = on_this_benchmark(sample_of(rng.normal(seen, 0.008, count)))
        found["share", f"plan --power, on this benchmark: found with {count} seeds"] = (float(p_of(here)[0] < 0.05),)
        sd, people_sd, people = 0.004, 0.006, 100
        seen = visible_difference(count, sd, people_sd)
        assert seen is not None
        faces = on_faces_like_these(_shifted(rng, seen, sd, people_sd, count, people))
        found["share", f"plan --power, on faces like these: found with {count} seeds"] = (float(p_of(faces)[0] < 0.05),)
        told = on_this_benchmark(sample_of(rng.normal(0, 0.008, count)))
        assert told is not None
        effect = smallest_effect(told)
        again = on_this_benchmark(sample_of(rng.normal(float(effect or 0), 0.008, count)))
        found["share", f"smallest effect of a verdict: found with {count} seeds"] = (float(p_of(again)[0] < 0.05),)
    told = on_this_benchmark(sample_of(rng.normal(0.01, 0.008, 3)))
    assert told is not None
    needed = seeds_that_decide(told, Decimal(0))
    if needed is not None:
        again = on_this_benchmark(sample_of(rng.normal(float(told.mean), np.sqrt(told.spread), needed)))
        found["share", "seeds that would decide: they do"] = (float(p_of(again)[0] < 0.05),)
    return found


def _shifted(rng: Generator, value: float, sd: float, people_sd: float, seeds: int, people: int) -> Sample:
    """Differences of two methods on drawn people, whose effects are the same for all seeds."""
    effects = rng.normal(value, people_sd * np.sqrt(people), people)
    left_out = (effects.sum() - effects) / (people - 1)
    values = effects.mean() + rng.normal(0, sd, seeds)
    by_seed = {seed: left_out + each - effects.mean() for seed, each in enumerate(values)}
    return Sample({seed: float(each) for seed, each in enumerate(values)}, {"people": by_seed})
