"""Power of a plan: differences of two methods that its seeds and its benchmarks' people can show.

The mean difference of two methods over n seeds, paired, divided by its standard error, has Student's t distribution,
noncentral where there is a difference. Error and degrees of freedom are those of the intervals that are printed
afterwards (:func:`aroface.reporting.statistics.intervals.standard_error`): on this benchmark from the spread over seeds
alone, on faces like these with the variance over draws of people, which no number of seeds makes up for.

Source: Hillis, Obuchowski and Berbaum, "Power estimation for multireader ROC methods", Acad. Radiol. 18, 2011: seeds
are the readers, people the cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean, mode, variance
from typing import Any, Literal

from scipy.special import nctdtr, stdtrit

from aroface.datasets.registry import REGISTRIES, Typical, read_benchmarks
from aroface.embedding.alignment_sweep import quality_key
from aroface.evaluation.statistics.jackknife import covariance
from aroface.planning.plan import Plan, PlannedBenchmark
from aroface.reporting.records import Record, RecordedExperiment, load_records
from aroface.reporting.statistics.decisions import MOST_SEEDS, POWER
from aroface.reporting.statistics.intervals import people_variance, standard_error
from aroface.reporting.statistics.multiplicity import SIGNIFICANT
from aroface.reporting.statistics.samples import Sample
from aroface.reporting.statistics.samples import difference as paired
from aroface.reporting.tables.cells import metric_sample

Origin = Literal["records", "assumed"]

DIFFERENCE = 1.0
"""Wished difference where none is named, in points."""

SEED_SPREAD = 0.015
"""Standard deviation of a rate p over seeds, as a multiple of √(p (1 − p)), where fewer than two seeds are finished.

Two trainings that others repeated differed by .3 points on IJB-C and by 1.2 on TinyFace (AdaFace #39 and #76), which is
.011 and .019 of it for one training. The small networks of ``make claim`` have .02 to .06.
"""
COMMON = 0.5
"""Share of a rate's variance over people that two networks have in common, where no two are finished."""
INTRACLASS = 0.25
"""Correlation of two trials of one person. A person with m of them counts as m / (1 + (m − 1) · this) (Kish, Survey
Sampling, 1965): intervals over single probes, 95 % by name, hold 54 % at 28 probes a person and 82 % at 5.5."""
RATE = 0.9
"""Rate of a benchmark of which nothing is known."""

METRICS = {
    "pairs": "accuracy",
    "tinyface": "rank1",
    "ijb": "tar_at_far_1e-4",
    "ijbs": "surveillance_to_single_rank1",
}
"""The metric that is looked at, by protocol; of a sensitivity sweep the first of the first quality."""

_STEPS = 60  # of a bisection
_LARGE = 1e7  # degrees of freedom at which a t distribution is the normal one
_CERTAIN = 6.0  # distance at which it does not reach the other side


@dataclass(frozen=True, slots=True)
class PeopleSpread:
    """Variation of the difference of two methods over draws of people.

    Attributes:
        sd: Standard deviation, a fraction.
        count: Number of people that are drawn.
        origin: Origin of the standard deviation.
    """

    sd: float
    count: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Spread:
    """Variation of the difference of two methods on a benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        metric: Metric that is looked at.
        seeds: Standard deviation over seeds, a fraction.
        origin: Origin of it.
        people: Variation over people; None where their number is not known.
    """

    benchmark: str
    metric: str
    seeds: float
    origin: Origin
    people: PeopleSpread | None


@dataclass(frozen=True, slots=True)
class Needs:
    """Answer for one benchmark.

    Attributes:
        spread: Variation that it follows from.
        visible: Difference that the plan's seeds show on this benchmark, a fraction; None for one seed.
        seeds: Number of seeds that the wished difference needs on this benchmark; None for more than `MOST_SEEDS`.
        visible_on_faces: Difference that the seeds show on faces like these; None for one seed or unknown people.
        seeds_on_faces: Number of seeds that it needs on faces like these; None for more, or where people do not do.
        people: Number of people that it needs with a quarter more seeds than ``seeds``, or with the plan's where these
            are more; None where `MOST_SEEDS` do not do, or for unknown people.
    """

    spread: Spread
    visible: float | None
    seeds: int | None
    visible_on_faces: float | None = None
    seeds_on_faces: int | None = None
    people: int | None = None


@dataclass(frozen=True, slots=True)
class PowerForecast:
    """Answers for all benchmarks of a plan.

    Attributes:
        difference: Wished difference, in points.
        seeds: Number of seeds of most experiments; 0 where nothing is trained.
        benchmarks: Answer for each benchmark.
    """

    difference: float
    seeds: int
    benchmarks: tuple[Needs, ...]


def power(difference: float, seeds: int, seed_sd: float, people_sd: float = 0.0) -> float:
    """Probability that a two-sided test of 5 % of no difference rejects; see the module.

    Args:
        difference: True difference, in the unit of the standard deviations.
        seeds: Number of seeds of each method, paired; a single one shows nothing.
        seed_sd: Standard deviation of the difference over seeds, above 0.
        people_sd: Standard deviation over draws of people; 0 for the difference on this benchmark.
    """
    if seeds < 2:
        return 0.0
    error, freedom = standard_error(seed_sd**2, people_sd**2, seeds)
    return _rejects(difference / error, min(_LARGE, freedom))


def _rejects(shift: float, freedom: float) -> float:
    """Probability that a noncentral t lies beyond the limits of a two-sided test."""
    shift, limit = abs(shift), float(stdtrit(freedom, 1 - SIGNIFICANT / 2))
    if shift > limit * _CERTAIN + 30:
        return 1.0
    wrong = float(nctdtr(freedom, shift, -limit)) if shift < _CERTAIN else 0.0
    return float(1 - nctdtr(freedom, shift, limit)) + wrong


def visible_difference(seeds: int, seed_sd: float, people_sd: float = 0.0) -> float | None:
    """Difference that is found with a probability of `POWER`; None for one seed, which finds none."""
    if seeds < 2:
        return None
    high = math.sqrt(seed_sd**2 / seeds + people_sd**2)
    while power(high, seeds, seed_sd, people_sd) < POWER:
        high *= 2
    return _bisect(lambda value: power(value, seeds, seed_sd, people_sd) >= POWER, 0.0, high)


def seeds_needed(difference: float, seed_sd: float, people_sd: float = 0.0) -> int | None:
    """Smallest number of seeds that finds a difference with a probability of `POWER`; None above `MOST_SEEDS`."""
    enough = (n for n in range(2, MOST_SEEDS + 1) if power(difference, n, seed_sd, people_sd) >= POWER)
    return next(enough, None)


def people_needed(difference: float, seeds: int, seed_sd: float, people_sd: float, people: int) -> int | None:
    """Smallest number of people on whom so many seeds find a difference with a probability of `POWER`.

    Args:
        difference: True difference.
        seeds: Number of seeds.
        seed_sd: Standard deviation of the difference over seeds.
        people_sd: Standard deviation over draws of ``people`` people; its square falls with their number.
        people: Number of people that it is known of.

    Returns:
        None where the seeds would not do with all people of the world.
    """
    one = people_sd * math.sqrt(people)

    def enough(count: float) -> bool:
        return power(difference, seeds, seed_sd, one / math.sqrt(count)) >= POWER

    everybody = 1e10
    if not enough(everybody):
        return None
    return math.ceil(round(10 ** _bisect(lambda exponent: enough(10**exponent), 0.0, math.log10(everybody)), 6))


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Smallest number at which a condition holds that holds at ``high`` and from there on."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def find_power(plan: Plan, difference: float = DIFFERENCE, *, root: Path = Path()) -> PowerForecast:
    """Answer for each benchmark of a plan, from the records that are there and, without any, from assumptions.

    Args:
        plan: Plan of the configuration.
        difference: Wished difference, in points.
        root: Folder of the repository.

    Raises:
        InputError: A record or the registry is malformed.
    """
    variants = {name: run.experiment.variant for name, run in plan.runs.items()}
    records = load_records(plan.results.records, variants)
    registered = read_benchmarks(root / REGISTRIES / "benchmarks.yaml")
    counts = [sum(run.experiment.key == key for run in plan.runs.values()) for key in _trained(plan)]
    seeds = mode(counts) if counts else 0
    answers = []
    for benchmark in plan.benchmarks.values():
        known = registered.get(benchmark.source.name)
        typical = _evaluated(known.typical if known else _generated(plan, benchmark), benchmark.spec["options"])
        trained_records = [each for each in records if each.benchmark == benchmark.name and not each.released]
        spread = find_spread(benchmark.name, metric_of(benchmark.spec), trained_records, typical)
        answers.append(_needs(spread, difference / 100, seeds))
    return PowerForecast(difference, seeds, tuple(answers))


def _trained(plan: Plan) -> dict[tuple[str, str, str], None]:
    """Keys of the experiments that are trained, each once."""
    return {run.experiment.key: None for run in plan.runs.values() if run.experiment.released is None}


def _needs(spread: Spread, difference: float, seeds: int) -> Needs:
    here, people = spread.seeds, spread.people
    visible, needed = visible_difference(seeds, here), seeds_needed(difference, here)
    if people is None:
        return Needs(spread, visible, needed)
    return Needs(
        spread,
        visible,
        needed,
        visible_difference(seeds, here, people.sd),
        seeds_needed(difference, here, people.sd),
        people_needed(difference, max(seeds, math.ceil(1.25 * (needed or 0))), here, people.sd, people.count),
    )


def metric_of(spec: Mapping[str, Any]) -> str:
    """The metric of a benchmark that is looked at."""
    if spec["protocol"] in METRICS:
        return METRICS[spec["protocol"]]
    options = spec["options"]
    return f"{options['metric'][0]}_{quality_key(options['qualities'][0])}"


def find_spread(benchmark: str, metric: str, records: Iterable[Record], typical: Typical | None) -> Spread:
    """Variation of a difference on a benchmark, from records where they tell, else from assumptions.

    Args:
        benchmark: Name of the benchmark.
        metric: Metric that is looked at.
        records: Records of it.
        typical: People, trials and usual rate of the benchmark; None where nothing is known.
    """
    measured = [record for record in records if metric in record.metrics]
    samples = _samples(measured, metric)
    values = [value for sample in samples.values() for value in sample.values.values()]
    rate = min(max(fmean(values), 0.001), 0.999) if values else typical.rate if typical else RATE
    gaps = [
        paired(samples[one], samples[other])
        for one, other in combinations(samples, 2)
        if (one.dataset, one.arch) == (other.dataset, other.arch)
    ]
    recorded = _over_seeds(gaps, samples.values())
    squared = _over_people(gaps, samples.values())
    if squared is not None:
        people: PeopleSpread | None = PeopleSpread(math.sqrt(squared), _people_of(measured, metric), "records")
    else:
        people = None if typical is None else _people_assumed(rate, typical)
    if recorded is not None:
        return Spread(benchmark, metric, recorded, "records", people)
    return Spread(benchmark, metric, math.sqrt(2 * rate * (1 - rate)) * SEED_SPREAD, "assumed", people)


def _samples(records: Iterable[Record], metric: str) -> dict[RecordedExperiment, Sample]:
    """Values over seeds of each experiment, with those without each group of people."""
    by_experiment: dict[RecordedExperiment, list[Record]] = {}
    for record in records:
        by_experiment.setdefault(record.experiment, []).append(record)
    return {experiment: metric_sample(runs, metric) for experiment, runs in by_experiment.items()}


def _people_of(records: Iterable[Record], metric: str) -> int:
    """Number of people that a metric was measured on, by the first record that has it without groups of them."""
    return int(next(part["units"] for record in records for part in record.jackknife if metric in part["values"]))


def _over_seeds(gaps: Iterable[Sample], alone: Iterable[Sample]) -> float | None:
    """Standard deviation of a difference over seeds, pooled; None where no two seeds are finished."""
    pooled_gaps, single = _pooled(gaps), _pooled(alone)
    squared = 2 * single if pooled_gaps is None and single is not None else pooled_gaps
    return math.sqrt(squared) if squared else None


def _pooled(samples: Iterable[Sample]) -> float | None:
    """Variance over seeds, pooled over samples of two and more."""
    several = [[*sample.values.values()] for sample in samples if len(sample.values) > 1]
    weight = sum(len(each) - 1 for each in several)
    return sum((len(each) - 1) * variance(each) for each in several) / weight if weight else None


def _over_people(gaps: Iterable[Sample], alone: Iterable[Sample]) -> float | None:
    """Variance of a difference over people; None where no record tells."""
    known = [sample for sample in gaps if len(sample.values) > 1 and sample.left_out]
    if known:
        return fmean(map(people_variance, known))
    left = [each for sample in alone for by_seed in sample.left_out.values() for each in by_seed.values()]
    return 2 * (1 - COMMON) * fmean(covariance(each, each) for each in left) if left else None


def _people_assumed(rate: float, typical: Typical) -> PeopleSpread:
    """Variation of a difference over people: binomial, with the design effect of several trials a person."""
    effect = 1 + max(0.0, typical.trials / typical.people - 1) * INTRACLASS
    squared = 2 * (1 - COMMON) * rate * (1 - rate) / typical.trials * effect
    return PeopleSpread(math.sqrt(squared), typical.people, "assumed")


def _evaluated(typical: Typical | None, options: Mapping[str, Any]) -> Typical | None:
    """As much of a set as a sweep looks at."""
    most = options.get("max_pairs")
    if typical is None or most is None or most >= typical.trials:
        return typical
    return Typical(min(typical.people, most), most, typical.rate)


def _generated(plan: Plan, benchmark: PlannedBenchmark) -> Typical | None:
    """People and trials of a set that is made here; None of one that was brought along."""
    for making in plan.sources.makings:
        if making.verb == "generate" and benchmark.source.manifest in making.manifests:
            return _size_of(making.spec["kind"], making.spec["spec"])
    return None


def _size_of(kind: str, spec: Mapping[str, Any]) -> Typical | None:
    """People and trials of a generated set by its complete specification; None of a kind that is no benchmark."""
    if kind == "pairs":
        return Typical(spec["identities"], spec["pairs"], RATE)
    if kind == "tinyface":
        return Typical(spec["identities"], spec["identities"] * spec["probes_per_identity"], RATE)
    if kind == "ijb":
        return Typical(
            spec["identities"], max(1, spec["pairs"] // 2), RATE
        )  # the genuine ones, which TAR is a share of
    if kind == "ijbs":
        return Typical(spec["subjects"], spec["subjects"] * spec["videos_per_subject"], RATE)
    return None
