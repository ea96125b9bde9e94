"""Trace of a cell of a table: value, record, weights, recipe, data, commit, command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn, Unpack

from aroface.errors import InputError
from aroface.files import read_json_if_there
from aroface.reporting.records import RELEASED, Record, Selection, load_records, selected
from aroface.reporting.rounding import percent
from aroface.reporting.statistics.intervals import (
    SeedInterval,
    estimate,
    on_faces_like_these,
    on_this_benchmark,
    one_further_run,
)
from aroface.reporting.statistics.samples import Sample, difference
from aroface.reporting.tables.cells import Line, lines, measure, point_of
from aroface.reporting.tables.spec import Column, Spec, read_spec
from aroface.results import Results

LABEL_WIDTH = 13


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of an explanation.

    Attributes:
        name: Subject of the fact; empty where it continues the fact before.
        text: Content of the fact.
        leads: True if the following facts belong to it: a value, a seed, a side of a difference.
        path: Path of the file that it names.
        run: Run that it is about.
    """

    name: str
    text: str
    leads: bool = False
    path: Path | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Origin of a cell, as blocks of facts: the value, then each record behind it."""

    table: str
    row: str
    column: str
    blocks: tuple[tuple[Fact, ...], ...]

    @property
    def title(self) -> str:
        """The cell's address."""
        return f"{self.table} / {self.row} / {self.column}"


@dataclass(frozen=True, slots=True)
class Trace:
    """Sources of explanations.

    Attributes:
        records: Records that count.
        results: Results folder, as the commands name it.
        workflow: Command that makes the file whose name follows it.
    """

    records: Sequence[Record]
    results: Results
    workflow: str


def explain(
    address: str,
    specs: Iterable[str | PathLike[str]],
    records: str | PathLike[str],
    results: str | PathLike[str],
    *,
    workflow: str = "snakemake --cores all",
    **shown: Unpack[Selection],
) -> str:
    """Walk from a printed value to all that it depends on.

    Args:
        address: ``table/row/column``, such as ``tinyface/ArcFace+ARoFace@MS1MV2/rank1``; a row is its headers joined by
            ``@``.
        specs: Specifications of the tables.
        records: Folder of the records.
        results: Folder with ``runs`` and ``recipes``, as the commands name it.
        workflow: Command that makes the file whose name follows it.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Returns:
        Lines of text for a terminal.

    Raises:
        InputError: No such table, row or column (the closest of those there are comes first).
    """
    runs, experiments, labels = selected(shown)
    table, _, rest = address.partition("/")
    name, _, column_id = rest.rpartition("/")
    tables = _tables(specs)
    spec = tables.get(table) or _unknown("table", table, tables, address)
    trace = Trace(load_records(records, runs), Results(Path(results)), workflow)
    table_lines = lines(spec, trace.records, experiments, labels)
    rows = {_plain(line.row.key): line for line in table_lines}
    line = rows.get(_plain(name)) or _unknown("row", name, [line.row.key for line in rows.values()], address)
    columns = {column.id: column for column in spec.columns}
    column = columns.get(column_id) or _unknown("column", column_id, columns, address)
    return as_text(explain_cell(spec, table_lines, line, column, trace))


def explain_cell(spec: Spec, table: Sequence[Line], line: Line, column: Column, trace: Trace) -> Explanation:
    """Walk from one cell to all that it depends on.

    Args:
        spec: Specification of the table.
        table: Rows of the table.
        line: Row of the cell.
        column: Column of the cell.
        trace: Records, and the place of runs and recipes.
    """
    top = list(_reported(spec, line, column))
    if line.row.difference is None:
        first, *others = _reproduced(spec, line, column, trace)
        return Explanation(spec.name, line.row.key, column.id, ((*top, *first), *others))
    sides = [side for name in line.row.difference for side in table if side.row.id == name]
    top += _difference(spec, sides, column, trace.records)
    blocks: list[tuple[Fact, ...]] = [tuple(top)]
    for sign, side in zip(("of", "minus"), sides, strict=True):
        first, *others = _reproduced(spec, side, column, trace)
        blocks += [(Fact(sign, side.row.key, leads=True), *first), *others]
    return Explanation(spec.name, line.row.key, column.id, tuple(blocks))


def explain_table(spec: Spec, table: Sequence[Line], trace: Trace) -> Iterator[Explanation]:
    """The explanations of all cells of a table, row by row; see :func:`explain_cell`."""
    for line in table:
        for column in spec.columns:
            yield explain_cell(spec, table, line, column, trace)


def as_text(explanation: Explanation) -> str:
    """An explanation as lines for a terminal: one for each fact, what belongs to a fact indented below it."""
    blocks = ["\n".join(map(_text_line, block)) for block in explanation.blocks]
    return f"{explanation.title}\n" + "\n\n".join(blocks) + "\n"


def _text_line(fact: Fact) -> str:
    return f"{'' if fact.leads else '  '}{fact.name}".ljust(LABEL_WIDTH) + fact.text


def _tables(paths: Iterable[str | PathLike[str]]) -> dict[str, Spec]:
    tables: dict[str, Spec] = {}
    for spec in map(read_spec, paths):
        if spec.name in tables:
            raise InputError(f"table {spec.name} is also in {tables[spec.name].path}", file=spec.path)
        tables[spec.name] = spec
    return tables


def _reported(spec: Spec, line: Line, column: Column) -> Iterator[Fact]:
    if published := line.row.published.get(column.id):
        yield Fact("published", f"{published.digits}, not by the authors", leads=True)
        yield Fact("source", str(published.source))
        return
    if column.id not in line.row.reported:
        yield Fact("reported", "nothing", leads=True)
        return
    yield Fact("reported", line.row.reported[column.id] or "a dash", leads=True)
    yield Fact("source", str(spec.source))
    if line.row.as_printed:
        printed = ", ".join(text for key, text in line.row.as_printed.items() if key != "reason")
        yield Fact("remark", f"the authors print {printed} in this row. {line.row.as_printed['reason']}")


def _reproduced(spec: Spec, line: Line, column: Column, trace: Trace) -> list[tuple[Fact, ...]]:
    """The value in a block of its own, then a block for each record."""
    if line.experiment is None:
        return [(Fact("reproduced", "nothing: no experiment belongs to this row", leads=True),)]
    quality = line.row.quality
    measured = measure(spec, column, line.experiment, trace.records, quality)
    estimated = estimate(measured.values)
    if estimated is None:
        return [(Fact("reproduced", f"no result of {line.experiment}", leads=True),)]
    spread = "" if estimated.sd is None else f" ± {percent(estimated.sd, column.decimals)}"
    over = ", released weights" if all(record.released for record in measured.records) else _over(estimated.n)
    head = Fact("reproduced", f"{percent(estimated.mean, column.decimals)}{spread}{over}", leads=True)
    blocks: list[tuple[Fact, ...]] = [(head, *_intervals(measured.sample, column, "mean"))]
    for source in [spec.column(name) for name in column.average_of] or [column]:
        measurement = measure(spec, source, line.experiment, trace.records, quality)
        at = point_of(source, quality)
        description = f"{source.metric} on {source.benchmark}" + ("" if at is None else f", {at}")
        for record in measurement.records:
            fraction = measurement.values[record.seed]
            value = f"{percent(Decimal(repr(fraction)), source.decimals)} = 100 × {fraction!r}"
            name = RELEASED if record.released else f"seed {record.seed}"
            head = Fact(name, f"{value} ({description})", leads=True)
            blocks.append((head, *_chain(record, trace)))
    return blocks


def _difference(spec: Spec, sides: Sequence[Line], column: Column, records: Sequence[Record]) -> list[Fact]:
    of, minus = (
        measure(spec, column, each.experiment, records, each.row.quality).sample if each.experiment else Sample({})
        for each in sides
    )
    sample = difference(of, minus)
    estimated = on_this_benchmark(sample)
    if estimated is None:
        return [Fact("difference", "none: the two rows share no seed", leads=True)]
    value = percent(estimated.mean, column.decimals, signed=True)
    return [Fact("difference", value + _over(estimated.n), leads=True), *_intervals(sample, column, "mean difference")]


def _intervals(sample: Sample, column: Column, what: str) -> Iterator[Fact]:
    """The 95 % intervals over seeds by what each speaks of; nothing for one seed."""
    here, faces = on_this_benchmark(sample), on_faces_like_these(sample)
    if here is None or here.n < 2:
        return
    yield Fact("interval", f"{_ends(here, column)} on this benchmark: {what}, Student's t over seeds")
    if faces is None:
        yield Fact("", f"none on faces like these: {sample.lacking}")
    else:
        both = "seeds and people both random (Obuchowski and Rockette)"
        yield Fact("", f"{_ends(faces, column)} on faces like these: {what}, {both}")
    if what == "mean" and (further := one_further_run(sample)) is not None:
        yield Fact("", f"{_ends(further, column)} of one further run")


def _ends(interval: SeedInterval, column: Column) -> str:
    if interval.low is None or interval.high is None:
        return "none, for all seeds are equal,"
    return f"[{percent(interval.low, column.decimals)}, {percent(interval.high, column.decimals)}]"


def _chain(record: Record, trace: Trace) -> list[Fact]:
    """From a record to what it depends on."""
    source = record.provenance
    checkpoint = trace.results.run(record.run).checkpoint
    recipe = trace.results.recipe(record.run)
    run = read_json_if_there(checkpoint)
    return [
        Fact("record", record.path.as_posix(), path=record.path),
        Fact("protocol", f"{record.protocol['name']}, version {record.protocol['version']}"),
        Fact("benchmark", f"{record.benchmark}, manifest {source['benchmark_manifest_hash']}"),
        Fact("weights", f"sha256 {source['weights_sha256']}", run=record.run),
        Fact("", _weights(source["weights_sha256"], run, checkpoint), path=checkpoint),
        Fact("recipe", _recipe(source["recipe_hash"], recipe), path=recipe),
        Fact("data", f"{source['data']['name']}, manifest {source['data']['manifest_hash'] or 'unknown'}"),
        *([Fact(*_origin(run))] if run else []),
        Fact("commit", commit_text(source["git_commit"])),
        Fact("command", source["command"] or "unknown"),
        Fact("again", f"{trace.workflow} {shlex.quote(record.path.as_posix())}"),
    ]


def _origin(run: Mapping[str, Any]) -> tuple[str, str]:
    """Commit that trained a run, or file of its released weights."""
    if run["source"] != RELEASED:
        return "trained at", commit_text(run["environment"]["git_commit"])
    file = run["released"]
    turned = "" if file["color"] == run["input"]["color"] else f", imported for {run['input']['color']}"
    return "from", f"{file['file']}, sha256 {file['sha256']}, trained on {file['color']}{turned}"


def _weights(sha256: str, run: Mapping[str, Any] | None, checkpoint: Path) -> str:
    if run is None:
        return f"{checkpoint.parent.as_posix()} is not here"
    path = (checkpoint.parent / run["weights"]["file"]).as_posix()
    if run["weights"]["sha256"] != sha256:
        return f"{path} is another file by now: evaluate it again"
    return f"{path} ({run['source']})"


def _recipe(recipe_hash: str | None, path: Path) -> str:
    if recipe_hash is None:
        return "none: released weights"
    return f"{recipe_hash}, {path.as_posix()}{'' if path.exists() else ' (gone; the record repeats it)'}"


def commit_text(commit: str | None) -> str:
    """A commit as people read it: a plus sign behind it says that files had been changed since."""
    if commit is None:
        return "unknown"
    return f"{commit[:-1]} with uncommitted changes" if commit.endswith("+") else commit


def _over(seeds: int) -> str:
    return f" over {seeds} seeds" if seeds > 1 else ", one seed"


def _plain(name: str) -> str:
    """A row's name as people type it, with a hyphen where the table has a minus sign."""
    return name.replace("−", "-")


def _unknown(what: str, name: str, known: Iterable[str], address: str) -> NoReturn:
    ranked = sorted(known, key=lambda each: -SequenceMatcher(None, name.casefold(), each.casefold()).ratio())
    raise InputError(
        f"no {what} {name!r}", where=address, expected=f"one of {', '.join(ranked)}", remedy="write table/row/column"
    )
