"""Evaluation of scores of any system: error rates, thresholds, search rates, and paired comparison of systems.

Terms are those of ISO/IEC 19795-1: FMR is the share of impostor comparisons that are accepted, FNMR that of genuine
ones that are not. TAR is 1 - FNMR, FAR the FMR. Intervals of 95 % are over draws of people where people are named,
else over draws of comparisons, which takes each for independent of all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from aroface.errors import InputError
from aroface.evaluation.compare_runs import MetricComparison, compare_metrics
from aroface.evaluation.metrics.left_out_pairs import auc_without, eer_left_out, share_left_out
from aroface.evaluation.metrics.left_out_points import tars_left_out
from aroface.evaluation.metrics.open_set import Found, standard_rate
from aroface.evaluation.metrics.operating_curves import Curve, tar_far
from aroface.evaluation.metrics.operating_points import FARS, strict_tars
from aroface.evaluation.metrics.score_thresholds import d_prime, d_prime_of_moments, threshold_at, threshold_interval
from aroface.evaluation.metrics.verification import auc, eer, roc
from aroface.evaluation.score_files import ScoreSet
from aroface.evaluation.statistics.bootstrap import LEVEL
from aroface.evaluation.statistics.exact import clopper_pearson
from aroface.evaluation.statistics.jackknife import LeaveOut, groups_of, interval, standard_error
from aroface.evaluation.statistics.multiplicity import holm
from aroface.evaluation.statistics.people import PairsWithoutGroups
from aroface.evaluation.statistics.people_metrics import PeopleMetrics

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MOST_SYSTEMS = 8
FNMRS: Mapping[str, float] = {"fmr100": 1e-2, "fmr1000": 1e-3, "zero_fmr": 0.0}
"""Metrics that are the lowest FNMR at an FMR of at most so much."""
RANKS = (1, 5, 10)
FPIRS: Mapping[str, float] = {"1e-1": 1e-1, "1e-2": 1e-2}
CMC_RANKS = 20
COMPARED = ("eer", "fmr100", "fmr1000", "auc", "rank1", "tpir_at_fpir_1e-1")
"""Metrics that systems are compared by."""
FEW = 30
"""Errors that a rate should rest on at least, by the rule of 30.

Source: Doddington et al., "The NIST speaker recognition evaluation", Speech Communication 31, 2000.
"""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class DecisionThreshold:
    """A threshold for a wished FMR, in the scores of the system.

    Attributes:
        wished: FMR that was asked for.
        threshold: Score at which, and beyond which, a comparison is accepted.
        low: Lower end of its 95 % interval; minus infinity where the comparisons do not bound it.
        high: Upper end; infinite likewise.
        impostors: Number of impostor comparisons that it rests on.
        accepted: Number of those that it accepts.
        effective: Number of independent comparisons that they are worth.
        fmr: FMR at the threshold, of these comparisons.
        fmr_interval: The 95 % interval of the FMR at this threshold.
        fnmr: FNMR at the threshold.
        fnmr_interval: Likewise.
    """

    wished: float
    threshold: float
    low: float
    high: float
    impostors: int
    accepted: int
    effective: float
    fmr: float
    fmr_interval: Interval
    fnmr: float
    fnmr_interval: Interval

    @property
    def few(self) -> bool:
        """True if the FMR rests on fewer than :data:`FEW` accepted impostors."""
        return self.accepted < FEW


@dataclass(frozen=True, slots=True, eq=False)
class SystemVerdict:
    """All that is measured of one system.

    Attributes:
        name: Name of the system.
        scores: Comparisons.
        unit: Sampling unit of the intervals.
        counts: Numbers of comparisons, people and probes.
        metrics: Metrics by name.
        intervals: Their 95 % intervals.
        thresholds: Threshold for each wished FMR.
        curve: TAR against FAR.
        cmc: Share of mated probes whose mate is among the first k, for k from 1; empty where it is no search.
        measured: Metrics with and without each group of people: of comparisons, and of a search.
    """

    name: str
    scores: ScoreSet
    unit: Literal["people", "pairs"]
    counts: Mapping[str, int]
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    thresholds: Sequence[DecisionThreshold]
    curve: Curve
    cmc: Sequence[float]
    measured: Sequence[PeopleMetrics]

    @property
    def reversed(self) -> bool:
        """True if impostors score higher than genuine comparisons, as where distances are read as similarities."""
        return self.metrics["auc"] < 0.5


@dataclass(frozen=True, slots=True)
class SystemComparison:
    """One metric of two systems on the same comparisons.

    Attributes:
        first: Name of the one system.
        second: Name of the other.
        row: Values, difference, interval and p-values; ``adjusted`` is for all pairs of systems by this metric.
    """

    first: str
    second: str
    row: MetricComparison


def evaluate_scores(name: str, scores: ScoreSet, fmrs: Sequence[float]) -> SystemVerdict:
    """Measure one system.

    Args:
        name: Name of the system.
        scores: Comparisons, each with a score.
        fmrs: Wished FMRs, each in (0, 1).

    Raises:
        InputError: All scores are equal.
    """
    if scores.scores.min() == scores.scores.max():
        raise InputError(f"all {len(scores):,} scores are {abs(scores.scores[0]):g}", where=name)
    counted = scores if scores.once is None else scores.take(scores.once)
    values, same = counted.scores, counted.same
    people = counted.people if counted.people is not None else np.arange(len(same))[:, None].repeat(2, axis=1)
    unit: Literal["people", "pairs"] = "pairs" if counted.people is None else "people"
    _, numbers = np.unique(people, return_inverse=True)
    people = numbers.reshape(-1, 2)
    kept = PairsWithoutGroups(people, same)
    verification, separation = _verification(values, same, people, kept, unit)
    found = _search(scores)
    measured = [verification] if found is None else [verification, _searched(found, scores)]
    impostors = int(np.count_nonzero(~same))
    counts = {"comparisons": len(same), "genuine": len(same) - impostors, "impostors": impostors}
    if unit == "people":
        counts["people"] = verification.left_out.units
    if found is not None:
        mated = found.mated[:, 0]
        counts |= {"probes": len(mated), "mated_probes": int(mated.sum()), "references": _references(scores)}
    intervals = {name: ends for part in measured for name, ends in part.intervals().items()}
    return SystemVerdict(
        name,
        scores,
        unit,
        counts,
        {"d_prime": separation[0], **{key: value for part in measured for key, value in part.values.items()}},
        {"d_prime": separation[1], **intervals} if np.isfinite(separation[1]).all() else intervals,
        [_threshold(values, same, kept, unit, verification, fmr, scores.is_distance) for fmr in fmrs],
        tar_far(values[same], values[~same]),
        [] if found is None else _cmc(found, _references(scores)),
        measured,
    )


def _verification(
    values: Floats, same: Booleans, people: Integers, kept: PairsWithoutGroups, unit: Literal["people", "pairs"]
) -> tuple[PeopleMetrics, tuple[float, Interval]]:
    """Error rates, and d' with its interval, which is no rate."""
    genuine, impostors = values[same], values[~same]
    fnmrs = {name: fmr for name, fmr in FNMRS.items() if fmr * len(impostors) >= 1 or not fmr}
    fars = {name: far for name, far in reversed([*FARS.items()]) if far * len(impostors) >= 1}
    targets = {**fnmrs, **fars}
    # The largest impostor alone decides ZeroFMR: that has no interval which could be told from these comparisons.
    steady = {name: target for name, target in targets.items() if target}
    tars = dict(zip(targets, strict_tars(genuine, impostors, targets.values()), strict=True))
    curve = roc(-values, same)
    metrics = {"eer": float(eer(curve)), "auc": float(auc(curve))}
    metrics |= {name: 1 - tars[name] for name in fnmrs}
    metrics |= {f"tar_strict_at_far_{name}": tars[name] for name in fars}
    usable = (kept @ same > 0) & (kept @ ~same > 0)
    together: dict[str, Floats] = {}
    if usable.all():
        groups = kept.groups.astype(np.uint8)
        left = {"eer": eer_left_out(-values, same, kept), "auc": auc_without(-values, same, kept.parts())}
        if steady:
            without = tars_left_out(values, people[:, 0], people[:, 1], same, groups, steady)
            for name in steady:
                metric = f"tar_strict_at_far_{name}"
                rate, cells = without.values[metric], without.together[metric]
                left |= {name: 1 - rate} if name in fnmrs else {metric: rate}
                together |= {name: -cells} if name in fnmrs else {metric: cells}
    else:
        left = {name: np.full(kept.count, np.nan) for name in metrics if name != "zero_fmr"}
    units, mated = int(people.max()) + 1, len(np.unique(people[same]))
    trials = dict.fromkeys(metrics, units) | {name: mated for name in metrics if name not in ("eer", "auc")}
    separation = d_prime(genuine, impostors)
    centred = values - values.mean()
    powers = (np.ones(len(values)), centred, centred**2)
    of_genuine, of_impostors = ([kept @ (kind * power) for power in powers] for kind in (same, ~same))
    defined = usable.all() and math.isfinite(separation)
    ends = _student(separation, d_prime_of_moments(of_genuine, of_impostors)) if defined else (np.nan, np.nan)
    return PeopleMetrics(metrics, LeaveOut(unit, units, left), trials, together=together), (separation, ends)


def _student(value: float, left_out: Floats) -> Interval:
    reach = float(stdtrit(len(left_out) - 1, (1 + LEVEL) / 2)) * standard_error(left_out)
    return value - reach, value + reach


def _threshold(
    values: Floats,
    same: Booleans,
    kept: PairsWithoutGroups,
    unit: str,
    measured: PeopleMetrics,
    wished: float,
    is_distance: bool,
) -> DecisionThreshold:
    genuine, impostors = np.sort(values[same]), np.sort(values[~same])
    threshold = threshold_at(impostors, genuine, wished)
    passing = values >= threshold
    accepted, rejected = int(np.count_nonzero(passing & ~same)), int(np.count_nonzero(~passing & same))
    fmr, fnmr = accepted / len(impostors), rejected / len(genuine)
    effective = float(len(impostors))
    if unit == "people":
        left = share_left_out(kept, ~same, passing)
        units, mated = measured.left_out.units, measured.trials["zero_fmr"]
        fmr_ends = interval(fmr, left, units)
        fnmr_ends = interval(fnmr, share_left_out(kept, same, ~passing), units, trials=mated)
        error = standard_error(left)
        effective = min(effective, fmr * (1 - fmr) / error**2 if error and accepted else float(units))
    else:
        fmr_ends, fnmr_ends = clopper_pearson(accepted, len(impostors)), clopper_pearson(rejected, len(genuine))
    low, high = threshold_interval(impostors, wished, effective)
    if is_distance:
        threshold, low, high = -threshold, -high, -low
    return DecisionThreshold(
        wished, threshold, low, high, len(impostors), accepted, effective, fmr, fmr_ends, fnmr, fnmr_ends
    )


def _references(scores: ScoreSet) -> int:
    """Largest number of references that a probe is compared with."""
    assert scores.probes is not None
    return int(np.bincount(scores.probes).max())


def _search(scores: ScoreSet) -> Found | None:
    """Search of each probe among the references it is compared with; None where probes are not named or have one.

    There is one gallery, which stands for both of those of an open-set search.
    """
    if scores.probes is None or _references(scores) < 2:
        return None
    _, probes = np.unique(scores.probes, return_inverse=True)
    mates, others = np.full((2, int(probes.max()) + 1), -np.inf)
    np.maximum.at(mates, probes[scores.same], scores.scores[scores.same])
    np.maximum.at(others, probes[~scores.same], scores.scores[~scores.same])
    if not np.isfinite(mates).any():
        return None
    ahead = ~scores.same & (scores.scores >= mates[probes])
    ranks = 1 + np.bincount(probes[ahead], minlength=len(mates))
    both: list[Any] = [np.stack([each, each], axis=1) for each in (mates, others)]
    nothing: Any = np.empty(0)
    return Found(ranks, both[0], both[1], nothing, nothing.astype(np.int64), whole=True)


def _searched(found: Found, scores: ScoreSet) -> PeopleMetrics:
    """Rates of a search with and without the probes of each group of people, or of probes where people are unknown."""
    assert scores.probes is not None
    values = _search_rates(found, _references(scores))
    _, first = np.unique(scores.probes, return_index=True)
    owners = np.arange(len(first)) if scores.people is None else scores.people[first, 0]
    _, owners = np.unique(owners, return_inverse=True)
    mated = np.zeros(int(owners.max()) + 1, np.bool_)
    mated[owners[found.mated[:, 0]]] = True
    groups = groups_of(mated)[owners]
    rows = []
    for group in range(int(groups.max()) + 1):
        stay = groups != group
        part = replace(found, ranks=found.ranks[stay], mates=found.mates[stay], others=found.others[stay])
        rows.append(_search_rates(part, _references(scores), values))
    left = {name: np.array([row[name] for row in rows]) for name in values}
    unit: Literal["people", "pairs"] = "pairs" if scores.people is None else "people"
    return PeopleMetrics(values, LeaveOut(unit, len(mated), left), dict.fromkeys(values, int(mated.sum())))


def _search_rates(found: Found, references: int, names: Mapping[str, float] | None = None) -> dict[str, float]:
    """Rates by name; those that the probes cannot show are left out, or not a number where ``names`` has them."""
    mated = found.mated[:, 0]
    unknown = int(np.count_nonzero(~mated))
    rates = {f"rank{rank}": _found_by(found, rank) for rank in RANKS if rank == 1 or rank < references}
    for name, fpir in FPIRS.items():
        key = f"tpir_at_fpir_{name}"
        if key in names if names is not None else unknown * fpir >= 1:
            rates[key] = standard_rate(found, fpir) if unknown and mated.any() else np.nan
    return rates


def _found_by(found: Found, rank: int) -> float:
    mated = found.mated[:, 0]
    return float(np.mean(found.ranks[mated] <= rank)) if mated.any() else np.nan


def _cmc(found: Found, references: int) -> list[float]:
    return [_found_by(found, rank) for rank in range(1, min(CMC_RANKS, references) + 1)]


def compare_systems(verdicts: Sequence[SystemVerdict]) -> list[SystemComparison]:
    """Compare all pairs of systems by each of :data:`COMPARED` that they have, by paired tests.

    The same people, or comparisons, are left out of both. P-values are adjusted for all pairs of systems by one metric:
    the metric that decides is chosen beforehand.

    Args:
        verdicts: Systems, measured on the same comparisons.
    """
    rows: list[SystemComparison] = []
    for one, other in combinations(verdicts, 2):
        for first, second in zip(one.measured, other.measured, strict=True):
            rows += [SystemComparison(one.name, other.name, row) for row in compare_metrics(first, second)]
    compared = []
    for metric in COMPARED:
        those = [each for each in rows if each.row.metric == metric]
        tested = [each for each in those if math.isfinite(each.row.p_value)]
        adjusted = dict(zip(map(id, tested), holm([each.row.p_value for each in tested]), strict=True))
        for each in those:
            row = replace(each.row, adjusted=adjusted.get(id(each), each.row.p_value))
            compared.append(replace(each, row=row))
    return compared
