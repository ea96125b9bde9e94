"""Where a cell of a table comes from: value, record, weights, recipe, data, commit, command."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from difflib import SequenceMatcher
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from aroface.errors import InputError
from aroface.files import read_json
from aroface.paper.estimates import estimate, paired_difference, percent
from aroface.paper.measure import Line, lines, measure, point_of
from aroface.paper.records import Experiment, Record, load_records
from aroface.paper.spec import EMPTY, Column, Spec, read_spec

LABEL_WIDTH = 13
RELEASED = "released"
TOP = ("reported", "reproduced", "difference", "of", "minus", RELEASED)


def explain(
    address: str,
    specs: Iterable[str | PathLike[str]],
    records: str | PathLike[str],
    results: str | PathLike[str],
    *,
    runs: Collection[str] | None = None,
    experiments: Iterable[Experiment] | None = None,
    labels: Mapping[str, str] = EMPTY,
    workflow: str = "snakemake --cores all",
) -> str:
    """Walk from a printed value to all that it depends on.

    Args:
        address: ``table/row/column``, such as ``tinyface/ArcFace+ARoFace@MS1MV2/rank1``; a row is its headers joined by
            ``@``.
        specs: the tables' specifications.
        records: folder of the records.
        results: folder with ``runs`` and ``recipes``, as the commands name it.
        runs: see :func:`aroface.paper.table.render_table`.
        experiments: see :func:`aroface.paper.table.render_table`.
        labels: see :func:`aroface.paper.table.render_table`.
        workflow: command that makes the file whose name follows it.

    Returns:
        Lines of text for a terminal.

    Raises:
        InputError: no such table, row or column (the closest of those there are comes first).
    """
    table, _, rest = address.partition("/")
    name, _, column_id = rest.rpartition("/")
    tables = _tables(specs)
    spec = tables.get(table) or _unknown("table", table, tables, address)
    found = load_records(records, runs)
    rows = {_plain(line.row.key): line for line in lines(spec, found, experiments, labels)}
    line = rows.get(_plain(name)) or _unknown("row", name, [line.row.key for line in rows.values()], address)
    columns = {column.id: column for column in spec.columns}
    column = columns.get(column_id) or _unknown("column", column_id, columns, address)
    parts = [f"{spec.name} / {line.row.key} / {column.id}", *_reported(spec, line, column)]
    trace = partial(_reproduced, spec=spec, column=column, records=found, results=Path(results), workflow=workflow)
    if line.row.difference is None:
        parts += trace(line)
    else:
        sides = [side for name in line.row.difference for side in rows.values() if side.row.id == name]
        parts += _difference(spec, sides, column, found)
        for sign, side in zip(("of", "minus"), sides, strict=True):
            parts += ["", _entry(sign, side.row.key), *trace(side)]
    return "\n".join(parts) + "\n"


def _tables(paths: Iterable[str | PathLike[str]]) -> dict[str, Spec]:
    tables: dict[str, Spec] = {}
    for spec in map(read_spec, paths):
        if spec.name in tables:
            raise InputError(f"table {spec.name} is also in {tables[spec.name].path}", file=spec.path)
        tables[spec.name] = spec
    return tables


def _reported(spec: Spec, line: Line, column: Column) -> list[str]:
    if column.id not in line.row.reported:
        return [_entry("reported", "nothing")]
    parts = [_entry("reported", line.row.reported[column.id] or "a dash"), _entry("source", str(spec.source))]
    if line.row.as_printed:
        printed = ", ".join(text for key, text in line.row.as_printed.items() if key != "reason")
        parts.append(_entry("remark", f"the authors print {printed} in this row. {line.row.as_printed['reason']}"))
    return parts


def _reproduced(
    line: Line, *, spec: Spec, column: Column, records: Sequence[Record], results: Path, workflow: str
) -> list[str]:
    if line.experiment is None:
        return [_entry("reproduced", "nothing: no experiment belongs to this row")]
    quality = line.row.quality
    measured = measure(spec, column, line.experiment, records, quality)
    found = estimate(measured.values)
    if found is None:
        return [_entry("reproduced", f"no result of {line.experiment}")]
    spread = "" if found.sd is None else f" ± {percent(found.sd, column.decimals)}"
    over = ", released weights" if all(map(_is_released, measured.records)) else _over(found.n)
    parts = [_entry("reproduced", f"{percent(found.mean, column.decimals)}{spread}{over}")]
    for source in [spec.column(name) for name in column.average_of] or [column]:
        measurement = measure(spec, source, line.experiment, records, quality)
        at = point_of(source, quality)
        what = f"{source.metric} on {source.benchmark}" + ("" if at is None else f", {at}")
        for record in measurement.records:
            fraction = measurement.values[record.seed]
            value = f"{percent(Decimal(repr(fraction)), source.decimals)} = 100 × {fraction!r}"
            name = RELEASED if _is_released(record) else f"seed {record.seed}"
            parts += ["", _entry(name, f"{value} ({what})")]
            parts += _chain(record, results, workflow)
    return parts


def _difference(spec: Spec, sides: Sequence[Line], column: Column, records: Sequence[Record]) -> list[str]:
    of, minus = (
        measure(spec, column, each.experiment, records, each.row.quality).values if each.experiment else {}
        for each in sides
    )
    found = paired_difference(of, minus)
    if found is None:
        return [_entry("difference", "none: the two rows share no seed")]
    value = percent(found.mean, column.decimals, signed=True)
    if found.low is not None and found.high is not None:
        value += f" [{percent(found.low, column.decimals)}, {percent(found.high, column.decimals)}], 95 % t interval"
    return [_entry("difference", value + _over(found.n))]


def _chain(record: Record, results: Path, workflow: str) -> list[str]:
    """From a record to what it depends on."""
    source = record.provenance
    checkpoint = results / "runs" / record.run / "checkpoint.json"
    run = read_json(checkpoint) if checkpoint.exists() else None
    return [
        _entry("record", record.path.as_posix()),
        _entry("protocol", f"{record.protocol['name']}, version {record.protocol['version']}"),
        _entry("benchmark", f"{record.benchmark}, manifest {source['benchmark_manifest_hash']}"),
        _entry("weights", f"sha256 {source['weights_sha256']}"),
        _entry("", _weights(source["weights_sha256"], run, checkpoint)),
        _entry("recipe", _recipe(source["recipe_hash"], results / "recipes" / f"{record.run}.json")),
        _entry("data", f"{source['data']['name']}, manifest {source['data']['manifest_hash'] or 'unknown'}"),
        *([_entry(*_origin(run))] if run else []),
        _entry("commit", _commit(source["git_commit"])),
        _entry("command", source["command"] or "unknown"),
        _entry("again", f"{workflow} {record.path.as_posix()}"),
    ]


def _is_released(record: Record) -> bool:
    return record.provenance.get("source") == RELEASED


def _origin(run: Mapping[str, Any]) -> tuple[str, str]:
    """Which commit trained a run; of released weights which file they come from."""
    if run["source"] != RELEASED:
        return "trained at", _commit(run["environment"]["git_commit"])
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


def _commit(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    return f"{commit[:-1]} with uncommitted changes" if commit.endswith("+") else commit


def _over(seeds: int) -> str:
    return f" over {seeds} seeds" if seeds > 1 else ", one seed"


def _entry(name: str, text: str) -> str:
    return f"{'' if name in TOP or name.startswith('seed') else '  '}{name}".ljust(LABEL_WIDTH) + text


def _plain(name: str) -> str:
    """A row's name as people type it, with a hyphen where the table has a minus sign."""
    return name.replace("−", "-")


def _unknown(what: str, name: str, known: Iterable[str], address: str) -> NoReturn:
    ranked = sorted(known, key=lambda each: -SequenceMatcher(None, name.casefold(), each.casefold()).ratio())
    raise InputError(
        f"no {what} {name!r}", record=address, expected=f"one of {', '.join(ranked)}", remedy="write table/row/column"
    )
