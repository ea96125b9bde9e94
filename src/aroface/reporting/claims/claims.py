"""The paper's claims: what each says of the tables, as a YAML file under ``paper_tables`` has it, checked and typed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from aroface.errors import InputError
from aroface.humanize import one_of
from aroface.reporting.claims.literature import Literature, read_literature
from aroface.reporting.claims.printed_bars import read_authors
from aroface.reporting.records import RecordedExperiment
from aroface.reporting.tables.spec import Citation, RowSpec, Spec
from aroface.schemas import read_yaml, validate


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows of a table by their addresses, the second to be subtracted from the first."""

    of: str
    minus: str


@dataclass(frozen=True, slots=True)
class DifferenceClaim:
    """A claim on differences of rows.

    Attributes:
        id: Its name.
        claim: Claim in the authors' words or short for them.
        stands: Place in the paper.
        kind: ``gain``: so many points; ``improves``: above zero; ``no_loss``: no loss of more than a margin.
        table: Name of the table.
        columns: Ids of its columns.
        pairs: Rows to be compared.
        claimed: Points of a gain as printed.
        margin: Points that count as no loss.
    """

    id: str
    claim: str
    stands: str
    kind: Literal["gain", "improves", "no_loss"]
    table: str
    columns: tuple[str, ...]
    pairs: tuple[Pair, ...]
    claimed: str | None = None
    margin: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class DropClaim:
    """A claim on what alignment errors take of a metric.

    Attributes:
        id: Its name.
        claim: Claim in the authors' words or short for them.
        stands: Place in the paper.
        kind: ``drop``: more than so many per cent; ``no_drop``: not more.
        claimed: Per cent of the undistorted value.
        benchmark: Benchmark with protocol ``sensitivity``.
        metric: Name of the metric.
        quality: Quality of the faces, or the lowest there is.
        factor: Kind of error.
        level: Size of the error.
        experiments: Models that it is about.
        stand_in: Metric that is shown where the claim's is not measured.
        unprinted: Reason why the paper's own values are not known; None where its bars were read off the picture.
    """

    id: str
    claim: str
    stands: str
    kind: Literal["drop", "no_drop"]
    claimed: Decimal
    benchmark: str
    metric: str
    quality: str
    factor: str
    level: float
    experiments: tuple[RecordedExperiment, ...]
    stand_in: str | None = None
    unprinted: str | None = None


@dataclass(frozen=True, slots=True)
class MethodRows:
    """Rows of a method that was trained in three ways, by their addresses."""

    name: str
    plain: str
    random: str
    module: str


@dataclass(frozen=True, slots=True)
class OrthogonalClaim:
    """A claim that a module helps every method, more than its random control, and all of them alike.

    Attributes:
        id: Its name.
        claim: Claim in the authors' words or short for them.
        stands: Place in the paper.
        kind: ``orthogonal``.
        table: Name of the table.
        columns: Ids of its columns; the mean over them is judged.
        methods: Methods, in their order.
    """

    id: str
    claim: str
    stands: str
    kind: Literal["orthogonal"]
    table: str
    columns: tuple[str, ...]
    methods: tuple[MethodRows, ...]


Claim = DifferenceClaim | DropClaim | OrthogonalClaim


@dataclass(frozen=True, slots=True)
class Claims:
    """All claims of a paper, the tables that they speak of, the literature on those, and bars read off its figure."""

    path: Path
    source: Citation
    claims: tuple[Claim, ...]
    specs: Mapping[str, Spec]
    literature: Literature
    bars: Mapping[str, Any]

    def row(self, table: str, address: str) -> RowSpec:
        """A row of a table by its address."""
        return next(row for row in self.specs[table].rows or () if row.key == address)


def read_claims(path: str | PathLike[str], specs: Iterable[Spec]) -> Claims:
    """Read and check a file of claims.

    Args:
        path: Such as ``paper_tables/claims.yaml``.
        specs: Tables there are.

    Raises:
        InputError: The file does not follow the schema, names a claim twice, or names a table, row or column that is
            not there.
    """
    path = Path(path)
    content = read_yaml(path)
    validate(content, "claims", file=path)
    claims = tuple(map(_claim, content["claims"]))
    for name, count in Counter(claim.id for claim in claims).items():
        if count > 1:
            raise InputError(f"claim {name} stands {count} times", file=path, expected="once")
    tables = {spec.name: spec for spec in specs}
    for claim in claims:
        if not isinstance(claim, DropClaim):
            _check(path, claim, tables)
    literature = read_literature(content, tables, path)
    drawn = any(isinstance(claim, DropClaim) and claim.unprinted is None for claim in claims)
    bars = read_authors() if drawn else {}
    return Claims(path, Citation(**content["source"]), claims, tables, literature, bars)


def _claim(content: Mapping[str, Any]) -> Claim:
    if content["kind"] in ("drop", "no_drop"):
        experiments = tuple(RecordedExperiment(**each) for each in content["experiments"])
        return DropClaim(**{**content, "claimed": Decimal(content["claimed"]), "experiments": experiments})
    if content["kind"] == "orthogonal":
        methods = tuple(MethodRows(**each) for each in content["methods"])
        return OrthogonalClaim(**{**content, "columns": tuple(content["columns"]), "methods": methods})
    changed = {
        "columns": tuple(content["columns"]),
        "pairs": tuple(Pair(**pair) for pair in content["pairs"]),
        "margin": Decimal(content.get("margin", "0")),
    }
    return DifferenceClaim(**{**content, **changed})


def _check(path: Path, claim: DifferenceClaim | OrthogonalClaim, tables: Mapping[str, Spec]) -> None:
    _check_known(path, claim, "table", [claim.table], tables)
    spec = tables[claim.table]
    _check_known(path, claim, "column", claim.columns, [column.id for column in spec.columns])
    if isinstance(claim, OrthogonalClaim):
        named = [address for each in claim.methods for address in (each.plain, each.random, each.module)]
    else:
        named = [address for pair in claim.pairs for address in (pair.of, pair.minus)]
    _check_known(path, claim, "row", named, [row.key for row in spec.rows or ()])


def _check_known(path: Path, claim: Claim, what: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"no {what} {name!r}", file=path, where=claim.id, expected=one_of([*known], name))
