"""Claims against values: from the reported ones, which checks the paper, and from the reproduced ones."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from os import PathLike
from typing import Unpack

from aroface.humanize import plural
from aroface.reporting.claims.claims import Claim, Claims, DifferenceClaim, DropClaim, MethodRows, OrthogonalClaim, Pair
from aroface.reporting.claims.compare import TOLERANCES, heading
from aroface.reporting.claims.printed_bars import printed_bar
from aroface.reporting.records import Record, RecordedExperiment, Selection, load_records, select, selected
from aroface.reporting.rounding import exact, rounded
from aroface.reporting.statistics.decisions import (
    MOST_SEEDS,
    UNKNOWN,
    Verdict,
    judge_cells,
    out_of_reach,
    seeds_that_decide,
    smallest_effect,
)
from aroface.reporting.statistics.intervals import Scope, SeedInterval
from aroface.reporting.statistics.orthogonality import Arms, Orthogonality, judge_orthogonality
from aroface.reporting.statistics.over_methods import MethodsGain
from aroface.reporting.statistics.samples import Sample, against_reported, difference, mean_of
from aroface.reporting.tables.cells import NO_PEOPLE, CellValues, check_columns, lines, measure
from aroface.reporting.tables.spec import Column, Spec
from aroface.reporting.text import FULL_QUALITY, SENSITIVITY, metric_name, quality_name

NOTHING = Sample({})


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that speaks for or against a claim.

    Attributes:
        what: Rows and column, or experiment and condition.
        verdict: Verdict of the number.
        value: Points, or per cent of a drop, with a sign; None where there is none.
        low: Lower end of its 95 % interval over seeds; None where there is none.
        high: Upper end.
        seeds: Number of seeds; 0 for reported values.
        p_value: P value of no difference.
        remark: Origin of the value, or the reason why there is none.
        cells: Table, row and column of the cells that it is the difference of; none of a drop, nor of a mean.
        scope: Population that the interval speaks of; None where there is none.
        deciding: Number of seeds that would decide; None where it is decided, or no number would.
        smallest: Smallest effect, in points or per cent from the bound, that is seen in 80 % of cases.
    """

    what: str
    verdict: Verdict
    value: str | None = None
    low: str | None = None
    high: str | None = None
    seeds: int = 0
    p_value: float | None = None
    remark: str = ""
    cells: tuple[tuple[str, str, str], ...] = ()
    scope: Scope | None = None
    deciding: int | None = None
    smallest: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A claim, and what the paper's own values and the reproduced ones say of it.

    Attributes:
        claim: Claim.
        paper: Reported numbers.
        reproduction: Reproduced numbers, one for each comparison.
        whole: Mean of the reproduced numbers, with the verdict on the claim.
        orthogonality: Contrasts behind a claim of this kind; None of others.
    """

    claim: Claim
    paper: tuple[Evidence, ...]
    reproduction: tuple[Evidence, ...]
    whole: Evidence
    orthogonality: Orthogonality | None = None

    @property
    def paper_verdict(self) -> Verdict:
        """Verdict of the paper's values."""
        return combined(self.paper)

    @property
    def reproduction_verdict(self) -> Verdict:
        """Verdict of the reproduced values."""
        return self.whole.verdict


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Reproduced values of one comparison by seed, before they are judged."""

    what: str
    sample: Sample = NOTHING
    remark: str = ""
    decimals: int = 2
    signed: bool = True
    tested: bool = True


def combined(evidence: Iterable[Evidence]) -> Verdict:
    """Refuted by any, confirmed by all, else not enough data: the rule of reported values, which have no interval."""
    verdicts = {each.verdict for each in evidence}
    if "refuted" in verdicts:
        return "refuted"
    return "confirmed" if verdicts == {"confirmed"} else UNKNOWN


def judge_claims(
    claims: Claims,
    records: str | PathLike[str],
    **shown: Unpack[Selection],
) -> tuple[Judgement, ...]:
    """Recompute each claim from reported and from reproduced values.

    Of *reported* values a gain is confirmed if it has the digits that are claimed. *Reproduced* ones are judged by one
    rule, :func:`aroface.reporting.statistics.decisions.judge_cells`: the whole 95 % interval of the mean over the
    claim's comparisons lies above a bound, which confirms, or below, which refutes, as does any comparison below it
    after Holm's correction. The bound (:func:`bound_of`) is

    - of a *gain* the claimed points less the tolerance of a network trained again, but not below 0;
    - of *improves* 0, of *no loss* minus the margin;
    - of a *drop* the claimed per cent, of *no drop* minus the claimed per cent, which the change has to lie above.

    The authors' bars of drops are read off a picture: they confirm and refute where that is sure in spite of the error
    of reading.

    That a module is *orthogonal* to methods is judged by
    :attr:`aroface.reporting.statistics.orthogonality.Orthogonality.verdict`.

    Intervals speak of faces like these where the records of all seeds allow it, else of this benchmark alone.

    Args:
        claims: See :func:`aroface.reporting.claims.claims.read_claims`.
        records: Folder of the records.
        shown: See :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: Records that are invalid, ambiguous or not comparable.
    """
    runs, known, labels = selected(shown)
    loaded_records = load_records(records, runs)
    judged = []
    for claim in claims.claims:
        if isinstance(claim, DropClaim):
            drops = [_drop(claim, each, loaded_records, labels) for each in claim.experiments]
            judged.append(_judged(claim, _bars(claims, claim, labels), drops, [()] * len(drops)))
            continue
        spec = claims.specs[claim.table]
        owners = {line.row.key: line.experiment for line in lines(spec, loaded_records, known, labels)}
        if isinstance(claim, OrthogonalClaim):
            judged.append(_orthogonal(claims, claim, owners, loaded_records))
            continue
        cells = [(pair, spec.column(name)) for pair in claim.pairs for name in claim.columns]
        places = [tuple((spec.name, row, column.id) for row in (pair.of, pair.minus)) for pair, column in cells]
        reported = [_reported(claims, claim, pair, column) for pair, column in cells]
        paper = tuple(replace(each, cells=references) for each, references in zip(reported, places, strict=True))
        compared = [_compared(claims, claim, pair, column, owners, loaded_records) for pair, column in cells]
        judged.append(_judged(claim, paper, compared, places))
    return tuple(judged)


def bound_of(claim: Claim) -> Decimal:
    """Value that a claim's interval has to lie above, in points or per cent."""
    if isinstance(claim, DropClaim):
        return claim.claimed if claim.kind == "drop" else -claim.claimed
    if isinstance(claim, OrthogonalClaim):
        return Decimal(0)
    if claim.kind == "gain":
        return max(Decimal(claim.claimed or 0) - TOLERANCES["trained"], Decimal(0))
    return -claim.margin


def _judged(
    claim: Claim,
    paper: tuple[Evidence, ...],
    compared: Sequence[_Comparison],
    places: Sequence[tuple[tuple[str, str, str], ...]],
) -> Judgement:
    bound = bound_of(claim) / 100
    decision = judge_cells([each.sample for each in compared], bound)
    # A stand-in decides nothing, whatever its values are.
    able = all(each.tested for each in compared)
    reproduction = tuple(
        replace(_evidence(each, interval, verdict if able else UNKNOWN), cells=references)
        for each, interval, verdict, references in zip(compared, decision.cells, decision.verdicts, places, strict=True)
    )
    verdict = decision.verdict if able else UNKNOWN
    pooled = decision.pooled
    if len(compared) == 1:
        whole = replace(reproduction[0], verdict=verdict)
    else:
        whole = replace(_evidence(_mean_of(compared, pooled), pooled, verdict), verdict=verdict)
    if pooled is not None and pooled.error is not None and pooled.scope == "this benchmark":
        lacking = next(each.sample.lacking for each in compared if each.sample.lacking)
        whole = replace(whole, remark=_joined(whole.remark, f"on this benchmark only: {lacking}"))
    if verdict == UNKNOWN and able and pooled is not None and pooled.error is not None:
        whole = _advised(whole, pooled, bound, compared[0].decimals)
    return Judgement(claim, paper, reproduction if len(compared) > 1 else (whole,), whole)


def _orthogonal(
    claims: Claims,
    claim: OrthogonalClaim,
    owners: Mapping[str, RecordedExperiment | None],
    records: Sequence[Record],
) -> Judgement:
    """Judgement of the mean over a claim's columns, for each method and over methods."""
    spec = claims.specs[claim.table]
    columns = [spec.column(name) for name in claim.columns]

    def sample(address: str) -> Sample:
        quality = claims.row(claim.table, address).quality
        cells = [_measured(spec, column, owners[address], records, quality) for column in columns]
        return mean_of([cell.sample for cell in cells])

    found = judge_orthogonality(
        {each.name: Arms(sample(each.plain), sample(each.random), sample(each.module)) for each in claim.methods}
    )
    decimals = columns[0].decimals
    reproduction = tuple(_of_method(claim, each, found, decimals) for each in claim.methods)
    whole = _over_methods(found, decimals)
    pairs = [(Pair(each.module, each.plain), column) for each in claim.methods for column in columns]
    reported = tuple(_reported(claims, claim, pair, column) for pair, column in pairs)
    return Judgement(claim, reported, reproduction, whole, found)


def _of_method(claim: OrthogonalClaim, rows: MethodRows, found: Orthogonality, decimals: int) -> Evidence:
    """The gain of one method."""
    what = f"{rows.module} − {rows.plain}"
    interval = found.gain.methods[rows.name]
    compared = _Comparison(what, remark="" if interval else "no result of one of its rows", decimals=decimals)
    cells = tuple((claim.table, row, column) for column in claim.columns for row in (rows.module, rows.plain))
    return replace(_evidence(compared, interval, found.gain.verdicts[rows.name]), cells=cells)


def _over_methods(found: Orthogonality, decimals: int) -> Evidence:
    """The mean gain over methods, with what else the verdict rests on."""
    gain, beyond = found.gain.whole, found.beyond_random.whole
    what = f"mean of {len(found.gain.methods)} methods"
    if gain is None:
        return Evidence(what, UNKNOWN, remark="fewer than two methods with two seeds in common")
    mean, low, high = _points(gain, decimals)
    control = "no result of the random controls"
    if beyond is not None:
        over, least, most = _points(beyond, decimals)
        control = f"{over} [{least}, {most}] beyond random".replace("-", "−")
    visible = rounded(100 * exact(gain.visible_sd), decimals)
    parts = [
        control,
        f"the gains of methods {'are' if found.same_for_all else 'are not'} alike (p = {gain.interaction:.2g}; "
        f"a spread of {visible} would be seen in 80 % of cases; I² {gain.inconsistency:.0%})",
    ]
    if found.verdict == UNKNOWN:
        parts.append(f"seen in 80 % of cases: {rounded(100 * gain.smallest, decimals)}")
    return Evidence(what, found.verdict, mean, low, high, gain.seeds, remark=_joined(*parts), scope=gain.scope)


def _points(gain: MethodsGain, decimals: int) -> tuple[str, str, str]:
    low, high = (rounded(100 * end, decimals) for end in (gain.low, gain.high))
    return rounded(100 * gain.mean, decimals, signed=True), low, high


def _mean_of(compared: Sequence[_Comparison], pooled: SeedInterval | None) -> _Comparison:
    """The mean of several comparisons by its name, with what keeps it from being known."""
    missing = sum(not each.sample.values for each in compared)
    remark = ""
    if pooled is None:
        remark = f"{missing} of {len(compared)} have no result" if missing else "the comparisons share no seed"
    elif pooled.one_run:
        remark = "against reported values, one run each"
    return replace(compared[0], what=f"mean of {len(compared)} comparisons", remark=remark)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _evidence(compared: _Comparison, interval: SeedInterval | None, verdict: Verdict) -> Evidence:
    if interval is None:
        return Evidence(compared.what, UNKNOWN, remark=compared.remark)
    digits = compared.decimals
    mean = rounded(100 * interval.mean, digits, signed=compared.signed)
    if interval.low is None or interval.high is None:
        lacking = "one seed has no interval" if interval.n == 1 else "equal seeds without a known resolution"
        return Evidence(compared.what, UNKNOWN, mean, seeds=interval.n, remark=_joined(compared.remark, lacking))
    ends = (rounded(100 * interval.low, digits), rounded(100 * interval.high, digits))
    # That of a drop would be of no drop at all, which nobody claims.
    p_value = interval.p_value if compared.signed else None
    return Evidence(compared.what, verdict, mean, *ends, interval.n, p_value, compared.remark, scope=interval.scope)


def _advised(evidence: Evidence, interval: SeedInterval, bound: Decimal, decimals: int) -> Evidence:
    """Evidence that decides nothing, with the number of seeds that would and the smallest effect that is seen."""
    deciding = seeds_that_decide(interval, bound)
    if deciding is not None:
        advice = f"{plural(deciding, 'seed')} of this mean and spread would decide"
    else:
        advice = {
            "people": "no number of seeds would decide: more people are needed",
            "reported run": "no number of seeds would decide: the one reported run varies, too",
            "seeds": f"more than {MOST_SEEDS} seeds would be needed",
        }[out_of_reach(interval, bound)]
    effect = smallest_effect(interval)
    assert effect is not None, "there is an interval"
    smallest = rounded(100 * effect, decimals)
    seen = f"seen in 80 % of cases: {smallest} from the bound of {rounded(100 * bound, decimals)}"
    return replace(evidence, remark=_joined(evidence.remark, advice, seen), deciding=deciding, smallest=smallest)


def _reported(claims: Claims, claim: DifferenceClaim | OrthogonalClaim, pair: Pair, column: Column) -> Evidence:
    description = _what(pair, column)
    digits = [claims.row(claim.table, each).reported.get(column.id) for each in (pair.of, pair.minus)]
    of, minus = digits
    if of is None or minus is None:
        missing = [key for key, value in zip((pair.of, pair.minus), digits, strict=True) if value is None]
        return Evidence(description, UNKNOWN, remark=f"not printed{f' of {missing[0]}' if len(missing) == 1 else ''}")
    gain = Decimal(of) - Decimal(minus)
    if isinstance(claim, OrthogonalClaim):
        holds = gain > 0
    elif claim.claimed is not None:
        holds = rounded(gain, _decimals(claim.claimed)) == claim.claimed
    else:
        holds = gain > 0 if claim.kind == "improves" else gain >= -claim.margin
    verdict: Verdict = "confirmed" if holds else "refuted"
    return Evidence(description, verdict, rounded(gain, column.decimals, signed=True), remark=f"{of} − {minus}")


def _bars(claims: Claims, claim: DropClaim, labels: Mapping[str, str]) -> tuple[Evidence, ...]:
    """The authors' bars of a claim, one for each experiment; one line where their values are not known."""
    if claim.unprinted is not None:
        return (Evidence(claim.benchmark, UNKNOWN, remark=claim.unprinted),)
    return tuple(_bar(claims, claim, experiment, labels) for experiment in claim.experiments)


def _bar(claims: Claims, claim: DropClaim, experiment: RecordedExperiment, labels: Mapping[str, str]) -> Evidence:
    description = f"{experiment.named(labels)}, {metric_name(claim.metric)[0]}"
    bar = printed_bar(claims.bars, claim.benchmark, claim.metric, experiment)
    if bar is None:
        return Evidence(description, UNKNOWN, remark="the figure has no such bar")
    value = -bar.change if claim.kind == "drop" else bar.change
    away = value - bound_of(claim)
    verdict: Verdict = UNKNOWN if abs(away) <= bar.error else "confirmed" if away > 0 else "refuted"
    remark = f"read off the picture, ± {bar.error}; points or per cent of the aligned rate"
    return Evidence(description, verdict, str(value), remark=remark)


def _compared(
    claims: Claims,
    claim: DifferenceClaim,
    pair: Pair,
    column: Column,
    owners: Mapping[str, RecordedExperiment | None],
    records: Sequence[Record],
) -> _Comparison:
    description, spec = _what(pair, column), claims.specs[claim.table]
    of, minus = (
        _measured(spec, column, owners[each], records, claims.row(claim.table, each).quality)
        for each in (pair.of, pair.minus)
    )
    check_columns([of, minus])
    fixed = claims.row(claim.table, pair.minus).known(column.id) if owners[pair.minus] is None else None
    sides = ((pair.of, of), (pair.minus, minus))
    missing = [key for key, side in sides if not side.values and not (fixed and key == pair.minus)]
    if fixed is not None and of.values:
        digits = fixed if isinstance(fixed, str) else fixed.digits
        whose = f"the reported {fixed}" if isinstance(fixed, str) else f"{digits} by {fixed.source.name}"
        remark = f"against {whose}, one run"
        return _Comparison(
            description, against_reported(of.sample, float(Decimal(digits) / 100)), remark, column.decimals
        )
    if missing:
        return _Comparison(description, remark=f"no result of {missing[0]}" if len(missing) == 1 else "no result")
    sample = difference(of.sample, minus.sample)
    if not sample.values:
        return _Comparison(description, remark="the two share no seed")
    return _Comparison(description, sample, decimals=column.decimals)


def _measured(
    spec: Spec, column: Column, experiment: RecordedExperiment | None, records: Sequence[Record], quality: str | None
) -> CellValues:
    return CellValues(NOTHING, ()) if experiment is None else measure(spec, column, experiment, records, quality)


def _drop(
    claim: DropClaim, experiment: RecordedExperiment, records: Sequence[Record], labels: Mapping[str, str]
) -> _Comparison:
    name = experiment.named(labels)
    sweeps = select(records, experiment, claim.benchmark)
    sweeps = tuple(record for record in sweeps if record.protocol["name"] == SENSITIVITY)
    if not sweeps:
        return _Comparison(name, remark=f"no result on {claim.benchmark}")
    known = {point["metric"] for record in sweeps for point in record.series}
    metric = claim.metric if claim.metric in known else claim.stand_in
    if metric is None or metric not in known:
        return _Comparison(name, remark=f"{metric_name(claim.metric)[0]} is not measured")
    drops = {record.seed: _drop_of(claim, record, metric) for record in sweeps}
    sign = 1 if claim.kind == "drop" else -1
    values = {seed: sign * drop for seed, drop in drops.items() if drop is not None}
    quality = quality_name(_quality(claim, sweeps[0]))
    description = f"{name}, {metric_name(metric)[0]}, {quality}, {claim.factor} {claim.level:g}"
    if not values:
        return _Comparison(description, remark="no such point in the curves, or nothing left to lose")
    stands_in = metric != claim.metric
    remark = f"{metric_name(claim.metric)[0]} is not measured, so this decides nothing" if stands_in else ""
    sample = Sample(values, lacking=NO_PEOPLE)
    return _Comparison(description, sample, remark, decimals=1, signed=claim.kind == "no_drop", tested=not stands_in)


def _drop_of(claim: DropClaim, record: Record, metric: str) -> float | None:
    """The share of the undistorted value that is lost at the claim's condition, a fraction; None if it is not known."""
    quality = _quality(claim, record)
    lost = [
        point.get("relative_drop")
        for point in record.series
        if (point["metric"], point["quality"], point["factor"]) == (metric, quality, claim.factor)
        and abs(point["level"] - claim.level) < 1e-9
    ]
    numbers = [float(each) for each in lost if each is not None]
    return statistics.fmean(numbers) if numbers else None


def _quality(claim: DropClaim, record: Record) -> str:
    if claim.quality != "lowest":
        return claim.quality
    reduced = {point["quality"] for point in record.series} - {FULL_QUALITY}
    return min(reduced, key=lambda name: int(name[1:]), default=FULL_QUALITY)


def _what(pair: Pair, column: Column) -> str:
    """The two rows and the column, what both rows have in common said once."""
    of, _, rest = pair.of.partition("@")
    minus, _, other = pair.minus.partition("@")
    rows = f"{of} − {minus}, {rest.replace('@', ' ')}" if rest == other else f"{pair.of} − {pair.minus}"
    return f"{rows}, {heading(column)}"


def criterion(claim: Claim) -> str:
    """Rule by which reproduced values confirm and refute a claim, in a sentence."""
    if isinstance(claim, OrthogonalClaim):
        return (
            f"confirmed where the 95 % intervals of the mean gain over {len(claim.methods)} methods, against plain and "
            "against random, lie above 0 points and the gains of methods are alike, refuted where one of them lies "
            "below, or a method's own after Holm's correction"
        )
    count = len(claim.experiments) if isinstance(claim, DropClaim) else len(claim.pairs) * len(claim.columns)
    interval = f"the 95 % interval{f' of the mean of {count} comparisons' if count > 1 else ''}"
    bound = str(bound_of(claim)).replace("-", "−")
    unit = "%" if isinstance(claim, DropClaim) else "points"
    why = ""
    if claim.kind == "gain" and bound_of(claim):
        why = f" (the claim less {TOLERANCES['trained']}, the tolerance of training again)"
    single = ", or one of them does after Holm's correction" if count > 1 else ""
    return f"confirmed where {interval} lies above {bound} {unit}{why}, refuted where it lies below{single}"


def _decimals(digits: str) -> int:
    return len(digits.partition(".")[2])
