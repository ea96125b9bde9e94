"""The literature on a paper's tables: values that others published for rows it has or leaves out, and remarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.reporting.tables.sources import Source, read_sources
from aroface.reporting.tables.spec import EMPTY, Spec


@dataclass(frozen=True, slots=True)
class LiteratureRow:
    """Values of one network in another publication.

    Attributes:
        table: Name of the table that they belong to.
        row: Address that a row of theirs has or would have there.
        values: Column id to digits.
        source: The publication.
    """

    table: str
    row: str
    values: Mapping[str, str]
    source: Source


@dataclass(frozen=True, slots=True)
class Remark:
    """Fact on a row that no rule over values finds."""

    table: str
    row: str
    text: str
    source: Source


@dataclass(frozen=True, slots=True)
class Literature:
    """All of it."""

    rows: tuple[LiteratureRow, ...] = ()
    remarks: tuple[Remark, ...] = ()


def read_literature(content: Mapping[str, Any], specs: Mapping[str, Spec], path: Path) -> Literature:
    """Check and type what a file of claims says of the literature.

    Args:
        content: Content of the file, which follows the schema.
        specs: Tables there are.
        path: File of the claims.

    Raises:
        InputError: A source, table, column or row of a remark is not there.
    """
    section = content.get("literature", EMPTY)
    sources = read_sources(content.get("sources", EMPTY))
    for entry in (*section.get("rows", ()), *section.get("remarks", ())):
        _check(path, entry, "source", [entry["source"]], sources)
        _check(path, entry, "table", [entry["table"]], specs)
        spec = specs[entry["table"]]
        _check(path, entry, "column", entry.get("values", ()), [column.id for column in spec.columns])
        _check(path, entry, "row", [entry["row"]] if "text" in entry else (), [row.key for row in spec.rows or ()])
    return Literature(
        tuple(LiteratureRow(**{**entry, "source": sources[entry["source"]]}) for entry in section.get("rows", ())),
        tuple(Remark(**{**entry, "source": sources[entry["source"]]}) for entry in section.get("remarks", ())),
    )


def _check(path: Path, entry: Mapping[str, Any], what: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            where = f"literature, {entry['table']}/{entry['row']}"
            raise InputError(f"no {what} {name!r}", file=path, where=where, expected=f"one of {', '.join(known)}")
