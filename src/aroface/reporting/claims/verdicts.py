"""Claims against values: from the reported ones, which checks the paper, and from the reproduced ones."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from os import PathLike
from typing import Literal, Unpack

from aroface.reporting.claims.claims import Claim, Claims, DifferenceClaim, DropClaim, Pair
from aroface.reporting.claims.compare import TOLERANCES, heading
from aroface.reporting.figures.curves import FULL_QUALITY, PROTOCOL, metric_name, quality_name
from aroface.reporting.records import Record, RecordedExperiment, Selection, load_records, select, selected
from aroface.reporting.tables.cells import Measurement, check_columns, lines, measure
from aroface.reporting.tables.seed_statistics import Difference, mean_interval, paired_difference, rounded
from aroface.reporting.tables.spec import Column, Spec

Verdict = Literal["confirmed", "refuted", "not enough data"]
UNKNOWN: Verdict = "not enough data"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that speaks for or against a claim.

    Attributes:
        what: rows and column, or experiment and condition.
        verdict: what it says.
        value: points, or per cent of a drop, with a sign; None where there is none.
        low: lower end of its 95 % interval over seeds; None where there is none.
        high: upper end.
        seeds: how many; 0 for reported values.
        p_value: of no difference.
        remark: how the value came about, or why there is none.
        cells: table, row and column of the cells that it is the difference of; none of a drop.
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


@dataclass(frozen=True, slots=True)
class Judgement:
    """A claim, and what the paper's own values and the reproduced ones say of it."""

    claim: Claim
    paper: tuple[Evidence, ...]
    reproduction: tuple[Evidence, ...]

    @property
    def paper_verdict(self) -> Verdict:
        """Whether the paper's values bear the claim out."""
        return combined(self.paper)

    @property
    def reproduction_verdict(self) -> Verdict:
        """Whether the reproduced values do."""
        return combined(self.reproduction)


def combined(evidence: Iterable[Evidence]) -> Verdict:
    """Refuted by any, confirmed by all, else not enough data."""
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

    Of *reported* values a gain is confirmed if it has the digits that are claimed. Of *reproduced* ones all depends on
    the 95 % interval over seeds (paired by seed, Student's t), so with fewer than two seeds there is not enough data:

    - a *gain* is confirmed if the interval lies above zero and reaches the claimed gain less the tolerance of a network
      trained again; refuted if it ends below that, or below zero;
    - *improves*: confirmed above zero, refuted below;
    - *no loss*: confirmed above minus the margin, refuted below;
    - a *drop* is confirmed above the claimed per cent, refuted below.

    Args:
        claims: see :func:`aroface.reporting.claims.claims.read_claims`.
        records: folder of the records.
        shown: see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: records that are invalid, ambiguous or not comparable.
    """
    runs, known, labels = selected(shown)
    found = load_records(records, runs)
    judged = []
    for claim in claims.claims:
        if isinstance(claim, DropClaim):
            nothing = Evidence(claim.benchmark, UNKNOWN, remark=claim.unprinted)
            drops = tuple(_drop(claim, each, found, labels) for each in claim.experiments)
            judged.append(Judgement(claim, (nothing,), drops))
            continue
        spec = claims.specs[claim.table]
        owners = {line.row.key: line.experiment for line in lines(spec, found, known, labels)}
        cells = [(pair, spec.column(name)) for pair in claim.pairs for name in claim.columns]
        paper = [_reported(claims, claim, pair, column) for pair, column in cells]
        reproduction = [_reproduced(claims, claim, pair, column, owners, found) for pair, column in cells]
        places = [tuple((spec.name, row, column.id) for row in (pair.of, pair.minus)) for pair, column in cells]
        judged.append(Judgement(claim, _placed(paper, places), _placed(reproduction, places)))
    return tuple(judged)


def _placed(evidence: Iterable[Evidence], places: Iterable[tuple[tuple[str, str, str], ...]]) -> tuple[Evidence, ...]:
    return tuple(replace(each, cells=cells) for each, cells in zip(evidence, places, strict=True))


def _reported(claims: Claims, claim: DifferenceClaim, pair: Pair, column: Column) -> Evidence:
    what = _what(pair, column)
    digits = [claims.row(claim.table, each).reported.get(column.id) for each in (pair.of, pair.minus)]
    of, minus = digits
    if of is None or minus is None:
        missing = [key for key, value in zip((pair.of, pair.minus), digits, strict=True) if value is None]
        return Evidence(what, UNKNOWN, remark=f"not printed{f' of {missing[0]}' if len(missing) == 1 else ''}")
    gain = Decimal(of) - Decimal(minus)
    if claim.claimed is not None:
        holds = rounded(gain, _decimals(claim.claimed)) == claim.claimed
    else:
        holds = gain > 0 if claim.kind == "improves" else gain >= -claim.margin
    verdict: Verdict = "confirmed" if holds else "refuted"
    return Evidence(what, verdict, rounded(gain, column.decimals, signed=True), remark=f"{of} − {minus}")


def _reproduced(
    claims: Claims,
    claim: DifferenceClaim,
    pair: Pair,
    column: Column,
    owners: Mapping[str, RecordedExperiment | None],
    records: Sequence[Record],
) -> Evidence:
    what, spec = _what(pair, column), claims.specs[claim.table]
    of, minus = (
        _measured(spec, column, owners[each], records, claims.row(claim.table, each).quality)
        for each in (pair.of, pair.minus)
    )
    check_columns([of, minus])
    fixed = claims.row(claim.table, pair.minus).reported.get(column.id) if owners[pair.minus] is None else None
    sides = ((pair.of, of), (pair.minus, minus))
    missing = [key for key, side in sides if not side.values and not (fixed and key == pair.minus)]
    if fixed is not None and of.values:
        level = float(Decimal(fixed) / 100)
        return _judged(
            what,
            claim,
            mean_interval({seed: v - level for seed, v in of.values.items()}),
            column,
            f"against the reported {fixed}",
        )
    if missing:
        return Evidence(what, UNKNOWN, remark=f"no result of {missing[0]}" if len(missing) == 1 else "no result")
    found = paired_difference(of.values, minus.values)
    if found is None:
        return Evidence(what, UNKNOWN, remark="the two share no seed")
    return _judged(what, claim, found, column)


def _measured(
    spec: Spec, column: Column, experiment: RecordedExperiment | None, records: Sequence[Record], quality: str | None
) -> Measurement:
    return Measurement({}, ()) if experiment is None else measure(spec, column, experiment, records, quality)


def _judged(what: str, claim: DifferenceClaim, found: Difference | None, column: Column, remark: str = "") -> Evidence:
    rules: dict[str, Callable[[Decimal, Decimal], Verdict]] = {
        "gain": lambda low, high: _gain(low, high, Decimal(claim.claimed or 0)),
        "improves": lambda low, high: _above(low, high, Decimal(0)),
        "no_loss": lambda low, high: _above(low, high, -claim.margin),
    }
    return _evidence(what, found, rules[claim.kind], column.decimals, remark)


def _evidence(
    what: str,
    found: Difference | None,
    rule: Callable[[Decimal, Decimal], Verdict],
    decimals: int,
    remark: str,
    *,
    signed: bool = True,
) -> Evidence:
    assert found is not None, "there are values"
    mean = rounded(100 * found.mean, decimals, signed=signed)
    if found.low is None or found.high is None:
        one = "one seed has no interval"
        return Evidence(what, UNKNOWN, mean, seeds=found.n, remark=f"{remark}; {one}" if remark else one)
    low, high = 100 * found.low, 100 * found.high
    ends = (rounded(low, decimals), rounded(high, decimals))
    return Evidence(what, rule(low, high), mean, *ends, seeds=found.n, p_value=found.p_value, remark=remark)


def _gain(low: Decimal, high: Decimal, claimed: Decimal) -> Verdict:
    if high < claimed - TOLERANCES["trained"] or high < 0:
        return "refuted"
    return "confirmed" if low > 0 else UNKNOWN


def _above(low: Decimal, high: Decimal, bound: Decimal) -> Verdict:
    if low > bound:
        return "confirmed"
    return "refuted" if high < bound else UNKNOWN


def _drop(
    claim: DropClaim, experiment: RecordedExperiment, records: Sequence[Record], labels: Mapping[str, str]
) -> Evidence:
    name = experiment.named(labels)
    found = select(records, experiment, claim.benchmark)
    found = tuple(record for record in found if record.protocol["name"] == PROTOCOL)
    if not found:
        return Evidence(name, UNKNOWN, remark=f"no result on {claim.benchmark}")
    known = {point["metric"] for record in found for point in record.series}
    metric = claim.metric if claim.metric in known else claim.stand_in
    if metric is None or metric not in known:
        return Evidence(name, UNKNOWN, remark=f"{metric_name(claim.metric)[0]} is not measured")
    drops = {record.seed: _drop_of(claim, record, metric) for record in found}
    values = {seed: drop for seed, drop in drops.items() if drop is not None}
    quality = quality_name(_quality(claim, found[0]))
    what = f"{name}, {metric_name(metric)[0]}, {quality}, {claim.factor} {claim.level:g}"
    if not values:
        return Evidence(what, UNKNOWN, remark="no such point in the curves, or nothing left to lose")
    stands_in = metric != claim.metric
    remark = f"{metric_name(claim.metric)[0]} is not measured, so this decides nothing" if stands_in else ""
    mean = mean_interval(values)
    evidence = _evidence(what, mean, lambda low, high: _above(low, high, claim.claimed), 1, remark, signed=False)
    # The p-value is that of no drop at all, which nobody claims.
    return replace(evidence, verdict=UNKNOWN if stands_in else evidence.verdict, p_value=None)


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
    """When reproduced values confirm and refute a claim, in a sentence."""
    interval = "the 95 % interval over seeds"
    if isinstance(claim, DropClaim):
        return f"confirmed where {interval} lies above {claim.claimed} %, refuted below"
    if claim.kind == "gain":
        tolerance = TOLERANCES["trained"]
        least = Decimal(claim.claimed or 0) - tolerance
        reaches = f"reaches {least} points (the claim less {tolerance}, the tolerance of training again)"
        return f"confirmed where {interval} lies above 0 and {reaches}, refuted where it ends below"
    bound = f"−{claim.margin}" if claim.margin else "0"
    return f"confirmed where {interval} lies above {bound} points, refuted below"


def _decimals(digits: str) -> int:
    return len(digits.partition(".")[2])
