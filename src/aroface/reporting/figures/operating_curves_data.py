"""Operating curves of records, averaged over seeds: TAR against FAR, TPIR against FPIR."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from aroface.errors import InputError
from aroface.reporting.figures.curves import records_of
from aroface.reporting.records import Record, RecordedExperiment


@dataclass(frozen=True, slots=True)
class CurveKind:
    """A kind of curve that records hold.

    Attributes:
        name: key of the record's ``curves``.
        error: what lies along the abscissa, and its key in the record.
        hit: what lies along the ordinate, likewise.
        trials: key of the number of trials of which the error is a share.
        accident: what an error is called, in the plural.
        protocols: whose records have such a curve.
    """

    name: str
    error: str
    hit: str
    trials: str
    accident: str
    protocols: tuple[str, ...]


KINDS = {
    "tar_far": CurveKind("tar_far", "far", "tar", "impostors", "false accepts", ("pairs", "ijb")),
    "tpir_fpir": CurveKind("tpir_fpir", "fpir", "tpir", "unknown", "false positives", ("ijb",)),
}


@dataclass(frozen=True, slots=True)
class Operating:
    """One method's curve.

    Attributes:
        errors: rates along the abscissa, ascending.
        hits: mean over seeds of the hit rate at each, fractions in [0, 1].
        sd: sample standard deviation over the seeds, zeros for one seed.
        trials: number of trials of which an error rate is a share.
        seeds: number of seeds.
    """

    errors: tuple[float, ...]
    hits: tuple[float, ...]
    sd: tuple[float, ...]
    trials: int
    seeds: int


def operating_curves(
    records: Sequence[Record], benchmark: str, kind: CurveKind, experiments: Sequence[RecordedExperiment] | None = None
) -> dict[RecordedExperiment, Operating]:
    """The curve of each experiment on ``benchmark``.

    Raises:
        InputError: a record has no such curve, or not at the points of the others; and see
            :func:`aroface.reporting.figures.curves.records_of`.
    """
    chosen = records_of(kind.protocols, records, benchmark, experiments)
    return {experiment: _mean(seeds, kind) for experiment, seeds in chosen.items()}


def _mean(records: Sequence[Record], kind: CurveKind) -> Operating:
    for record in records:
        if kind.name not in record.curves:
            remedy = f"evaluate again: {record.provenance['command'] or 'aroface evaluate'}"
            raise InputError(f"no curve {kind.name}", file=record.path, remedy=remedy)
    curves = [record.curves[kind.name] for record in records]
    for record, curve in zip(records, curves, strict=True):
        if curve[kind.error] != curves[0][kind.error] or len(curve[kind.hit]) != len(curve[kind.error]):
            expected = f"a {kind.hit} at each {kind.error} of {records[0].run}"
            raise InputError(f"another curve {kind.name}", file=record.path, expected=expected)
    hits = [*zip(*(curve[kind.hit] for curve in curves), strict=True)]
    sd = [statistics.stdev(each) if len(each) > 1 else 0.0 for each in hits]
    first = curves[0]
    means = tuple(statistics.fmean(each) for each in hits)
    return Operating(tuple(first[kind.error]), means, tuple(sd), first[kind.trials], len(records))
