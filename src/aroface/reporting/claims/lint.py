"""Rules over tables and claims that find what a careful reader of the paper would ask about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from aroface.reporting.claims.claims import Claims, DifferenceClaim
from aroface.reporting.claims.compare import heading
from aroface.reporting.claims.literature import LiteratureRow
from aroface.reporting.tables.grid import on_one_line
from aroface.reporting.tables.spec import Column, RowSpec, Spec, address

LADDERS = ("rank", "tar_at_far_1e-", "tar_strict_at_far_1e-")
"""Beginnings of metrics' names whose values cannot fall: with the rank, with the FAR."""


@dataclass(frozen=True, slots=True)
class LintFinding:
    """Something in the source that is odd.

    Attributes:
        rule: Name of the rule that found it.
        place: Table and row, or claim.
        text: Description of the oddity.
        explained: True if the specification names it itself and continues without it.
    """

    rule: str
    place: str
    text: str
    explained: bool = False


def lint(specs: Iterable[Spec], claims: Claims | None = None) -> tuple[LintFinding, ...]:
    """Apply all rules.

    Args:
        specs: Tables; those without reported values give nothing.
        claims: Claims.
    """
    findings = [finding for spec in specs for rule in SPEC_RULES for finding in rule(spec)]
    if claims is not None:
        findings += [finding for rule in LITERATURE_RULES for finding in rule(claims)]
        differences = [claim for claim in claims.claims if isinstance(claim, DifferenceClaim) and claim.claimed]
        findings += [finding for claim in differences for rule in CLAIM_RULES for finding in rule(claims, claim)]
    return tuple(findings)


def same_row_twice(spec: Spec) -> Iterator[LintFinding]:
    """Two rows are printed under one name with different values: one of the names is a misprint."""
    for name, count in Counter(row.printed_key for row in _rows(spec)).items():
        rows = [row for row in _rows(spec) if row.printed_key == name]
        if count > 1 and any(row.reported != rows[0].reported for row in rows):
            corrected = [row.key for row in rows if row.key != name]
            remark = f"; read as {', '.join(corrected)}" if corrected else ""
            yield _finding("misprint", spec, name, f"{count} rows have this name and other values{remark}", corrected)


def row_outside_its_block(spec: Spec) -> Iterator[LintFinding]:
    """A row's printed header is not that of its block, and a block of that header is elsewhere."""
    key = spec.block_by
    if key is None:
        return
    for row in _rows(spec):
        printed = row.as_printed.get(key)
        if printed is not None and any(other.headers[key] == printed for other in _rows(spec)):
            block = row.headers[key]
            yield _finding("misprint", spec, row.key, f"printed as {printed} among the rows of {block}", [block])


def bold_is_not_best(spec: Spec) -> Iterator[LintFinding]:
    """A value is printed bold though another one of its block is better."""
    for column, block in _cells(spec):
        best_row, best = max(block, key=lambda cell: _better(column, cell[1]))
        for row, digits in block:
            if row.ours and _better(column, digits) < _better(column, best):
                text = f"{digits} is bold in {heading(column)}, {best_row.key} has {best}"
                yield _finding("emphasis", spec, row.key, text)


def value_twice(spec: Spec) -> Iterator[LintFinding]:
    """One column has the same digits in two rows: a coincidence, or a value copied by mistake."""
    for column in spec.columns:
        by_digits: dict[str, list[str]] = {}
        for row in _rows(spec):
            if digits := row.reported.get(column.id):
                by_digits.setdefault(digits, []).append(row.key)
        for digits, names in by_digits.items():
            if len(names) > 1:
                text = f"{digits} stands {len(names)} times in {heading(column)}: also in {', '.join(names[1:])}"
                yield _finding("duplicate", spec, names[0], text)


def uneven_digits(spec: Spec) -> Iterator[LintFinding]:
    """A value has another number of decimals than its column has elsewhere."""
    for column in spec.columns:
        cells = [(row, digits) for row in _rows(spec) if (digits := row.reported.get(column.id))]
        usual = Counter(_decimals(digits) for _, digits in cells).most_common(1)
        for row, digits in cells:
            if _decimals(digits) != usual[0][0]:
                text = f"{digits} in {heading(column)}, where values have {usual[0][0]} decimals"
                yield _finding("digits", spec, row.key, text)


def falling_ladder(spec: Spec) -> Iterator[LintFinding]:
    """Identification rates fall with the rank, or accept rates with the FAR, which they cannot."""
    steps: dict[tuple[str, str], list[tuple[float, Column]]] = {}
    for column in spec.columns:
        for ladder in LADDERS:
            before, separator, step = (column.metric or "").partition(ladder)
            if separator and step.isdecimal():
                rank = float(step) if ladder == "rank" else -float(step)
                steps.setdefault((column.benchmark or "", before + ladder), []).append((rank, column))
                break
    for columns in steps.values():
        ordered = [column for _, column in sorted(columns, key=lambda each: each[0])]
        for row in _rows(spec):
            values = [(column, digits) for column in ordered if (digits := row.reported.get(column.id))]
            for (lower, small), (upper, large) in pairwise(values):
                if Decimal(large) < Decimal(small):
                    text = f"{large} in {heading(upper)} is below {small} in {heading(lower)}"
                    yield _finding("order", spec, row.key, text)


def points_as_percent(claims: Claims, claim: DifferenceClaim) -> Iterator[LintFinding]:
    """A difference of percentages is said in per cent: points are meant."""
    if "%" not in claim.claim:
        return
    for of, minus, _ in _claimed_cells(claims, claim):
        relative = 100 * (of - minus) / minus
        text = f"“{claim.claim}” means points: {of} is {relative:.1f} % more than {minus}"
        yield LintFinding("points", claim.id, text)


def weak_baseline(claims: Claims, claim: DifferenceClaim) -> Iterator[LintFinding]:
    """Another method of the block is better than the one that a gain is measured against."""
    spec = claims.specs[claim.table]
    for pair in claim.pairs:
        for column, block in _cells(spec):
            rows = {row.key: Decimal(digits) for row, digits in block if not row.ours}
            ours = {row.key: Decimal(digits) for row, digits in block}
            if column.id not in claim.columns or pair.minus not in rows or pair.of not in ours:
                continue
            best = max(rows, key=lambda name: _better(column, str(rows[name])))
            if _better(column, str(rows[best])) > _better(column, str(rows[pair.minus])):
                gain = ours[pair.of] - rows[best]
                base = f"measured against {pair.minus} ({rows[pair.minus]})"
                text = f"{base}; against {best} ({rows[best]}) it is {gain:+}"
                yield LintFinding("baseline", claim.id, text)


def weak_baseline_of_all(claims: Claims, claim: DifferenceClaim) -> Iterator[LintFinding]:
    """A method that the literature has on the same training set is better than any that the table has beside ours."""
    spec = claims.specs[claim.table]
    for pair in claim.pairs:
        rows = [row for row in claims.literature.rows if (row.table, _block(row.row)) == (spec.name, _block(pair.of))]
        others = [row for row in _rows(spec) if _block(row.key) == _block(pair.of) and not row.ours]
        for column in map(spec.column, claim.columns):
            values = [(row, digits) for row in rows if (digits := row.values.get(column.id))]
            printed = [digits for row in others if (digits := row.reported.get(column.id))]
            ours = claims.row(claim.table, pair.of).reported.get(column.id)
            if not values or not ours:
                continue
            row, best = max(values, key=lambda value: _better(column, value[1]))
            if all(_better(column, best) > _better(column, digits) for digits in printed):
                gain = f"{Decimal(ours) - Decimal(best):+}".replace("-", "−")
                text = f"against {row.row}, which has {best} ({row.source.name}), it is {gain}"
                yield LintFinding("baseline", claim.id, text)


def left_out(claims: Claims) -> Iterator[LintFinding]:
    """The literature has a row that the table leaves out and that is better than the authors' on its training set."""
    for row in claims.literature.rows:
        spec = claims.specs[row.table]
        if any(each.key == row.row for each in _rows(spec)):
            continue
        for ours in (each for each in _rows(spec) if each.ours and _block(each.key) == _block(row.row)):
            cells = [(spec.column(name), theirs, ours.reported.get(name)) for name, theirs in row.values.items()]
            both = [(column, theirs, digits) for column, theirs, digits in cells if digits]
            better = [cell for cell in both if _better(cell[0], cell[1]) > _better(cell[0], cell[2])]
            if better:
                column, theirs, digits = better[0]
                text = (
                    f"not in the table, and better than {ours.key} in {len(better)} of {len(both)} columns: "
                    f"{theirs} against {digits} in {heading(column)} ({row.source.name})"
                )
                yield _finding("left out", spec, row.row, text)


def rerun_is_published(claims: Claims) -> Iterator[LintFinding]:
    """A row that is marked as run again has the published values to the digit."""
    for row, printed in _in_both(claims):
        values = [printed.reported.get(name) for name in row.values]
        if printed.rerun and values == [*row.values.values()]:
            text = (
                f"marked as run again, and {'/'.join(row.values.values())} is what {row.source.name} has to the digit"
            )
            yield _finding("rerun", claims.specs[row.table], row.row, text)


def other_values(claims: Claims) -> Iterator[LintFinding]:
    """A value of another method is not the one that the literature has."""
    for row, printed in _in_both(claims):
        spec = claims.specs[row.table]
        pairs = [(spec.column(name), printed.reported.get(name), theirs) for name, theirs in row.values.items()]
        other = [(column, here, there) for column, here, there in pairs if here and Decimal(here) != Decimal(there)]
        if other and not printed.ours:
            values = "; ".join(f"{here}, there {there}, in {heading(column)}" for column, here, there in other)
            yield _finding("sources", spec, row.row, f"other values than {row.source.name} has: {values}")


def remarks(claims: Claims) -> Iterator[LintFinding]:
    """Facts on a row that follow from no values."""
    for remark in claims.literature.remarks:
        yield _finding("remark", claims.specs[remark.table], remark.row, f"{remark.text} ({remark.source.name})")


def largest_of_several(claims: Claims, claim: DifferenceClaim) -> Iterator[LintFinding]:
    """The gain that is claimed is the largest of the comparable ones of its table."""
    spec = claims.specs[claim.table]
    labels = {spec.column(name).label for name in claim.columns}
    gains = [gain for column in spec.columns if column.label in labels for gain in _own_gains(spec, column)]
    claimed = [of - minus for of, minus, _ in _claimed_cells(claims, claim)]
    if len(gains) > 1 and claimed and max(gains) == max(claimed) > min(gains):
        ordered = ", ".join(f"{gain:+}" for gain in sorted(gains, reverse=True))
        name = "/".join(sorted(map(on_one_line, labels)))
        text = f"the largest of {len(gains)} gains of a method over its own baseline in {name}: {ordered}"
        yield LintFinding("selection", claim.id, text)


SPEC_RULES: Sequence[Callable[[Spec], Iterator[LintFinding]]] = (
    same_row_twice,
    row_outside_its_block,
    bold_is_not_best,
    value_twice,
    uneven_digits,
    falling_ladder,
)
CLAIM_RULES: Sequence[Callable[[Claims, DifferenceClaim], Iterator[LintFinding]]] = (
    points_as_percent,
    weak_baseline,
    weak_baseline_of_all,
    largest_of_several,
)

LITERATURE_RULES: Sequence[Callable[[Claims], Iterator[LintFinding]]] = (
    left_out,
    rerun_is_published,
    other_values,
    remarks,
)


def _block(key: str) -> str:
    """Address of a row without its method: rows of one training set have it in common."""
    return key.partition("@")[2]


def _in_both(claims: Claims) -> Iterator[tuple[LiteratureRow, RowSpec]]:
    """The rows of the literature that the authors' tables have, too, with those."""
    for row in claims.literature.rows:
        yield from ((row, each) for each in _rows(claims.specs[row.table]) if each.key == row.row)


def _finding(rule: str, spec: Spec, row: str, text: str, explained: Iterable[str] = ()) -> LintFinding:
    return LintFinding(rule, f"{spec.name}/{row}", text, bool([*explained]))


def _rows(spec: Spec) -> tuple[RowSpec, ...]:
    return tuple(row for row in spec.rows or () if row.reported)


def _cells(spec: Spec) -> Iterator[tuple[Column, list[tuple[RowSpec, str]]]]:
    """The reported values of each column, block by block."""
    blocks: dict[str | None, list[RowSpec]] = {}
    for row in _rows(spec):
        blocks.setdefault(row.headers[spec.block_by] if spec.block_by else None, []).append(row)
    for column in spec.columns:
        for rows in blocks.values():
            values = [(row, digits) for row in rows if (digits := row.reported.get(column.id))]
            if values:
                yield column, values


def _claimed_cells(claims: Claims, claim: DifferenceClaim) -> Iterator[tuple[Decimal, Decimal, Column]]:
    for pair in claim.pairs:
        for name in claim.columns:
            of, minus = (claims.row(claim.table, each).reported.get(name) for each in (pair.of, pair.minus))
            if of and minus:
                yield Decimal(of), Decimal(minus), claims.specs[claim.table].column(name)


def _own_gains(spec: Spec, column: Column) -> Iterator[Decimal]:
    """Gains of the authors' rows `X+Y` over the rows `X` with otherwise equal headers."""
    values: Mapping[str, str | None] = {row.key: row.reported.get(column.id) for row in _rows(spec)}
    for row in _rows(spec):
        base, plus, _ = row.headers.get("method", "").rpartition("+")
        if row.ours and plus:
            of, minus = values[row.key], values.get(address({**row.headers, "method": base}))
            if of and minus:
                yield Decimal(of) - Decimal(minus)


def _better(column: Column, digits: str) -> Decimal:
    return Decimal(digits) if column.better == "higher" else -Decimal(digits)


def _decimals(digits: str) -> int:
    return len(digits.partition(".")[2])
