"""Citations of the methods, training sets and benchmarks that a table names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from aroface.reporting.tables.grid import Grid, GridRow
from aroface.reporting.tables.sources import Source, read_sources
from aroface.schemas import read_yaml, validate

CITATIONS = "citations.yaml"
"""Name of the file with them, in a folder above the specifications."""
OPEN, CLOSE = "⟦", "⟧"
"""Brackets of citation keys in a text; LaTeX alone prints what they hold."""


@dataclass(frozen=True, slots=True)
class Citations:
    """Publications by citation key, and the keys of printed names."""

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    entries: Mapping[str, Source] = field(default_factory=dict)

    def of(self, own: Mapping[str, str | None]) -> Citations:
        """The same with names of a specification's own; None cites nothing."""
        names = {name: () if key is None else (key,) for name, key in own.items()}
        return replace(self, names={**self.names, **names})


def read_citations(path: str | PathLike[str]) -> Citations:
    """Read and check a file of citations.

    Raises:
        InputError: The file does not follow the schema.
    """
    content = read_yaml(path)
    validate(content, "citations", file=path)
    names = {name: (keys,) if isinstance(keys, str) else tuple(keys) for name, keys in content["names"].items()}
    return Citations(names, read_sources(content["entries"]))


def citations_above(spec: Path) -> Citations:
    """The citations in the nearest folder above a specification that has some; none where no folder does."""
    for folder in spec.absolute().parents[:3]:
        if (folder / CITATIONS).is_file():
            return read_citations(folder / CITATIONS)
    return Citations()


def cite(grid: Grid, citations: Citations, *, in_rows: bool = True) -> Grid:
    """The table with citation keys behind the names of its caption, row headers and notes.

    Each name is cited where it first stands; those of headings, which have no room, in a further note. Keys stand in
    the brackets ``OPEN`` and ``CLOSE``.

    Args:
        grid: Table.
        citations: Publications and the names that they belong to.
        in_rows: False for row headers without room, whose names are cited in a further note, too.
    """
    marker = _Marker(citations)
    caption = marker.inline(grid.caption)
    rows = tuple(_cited_row(row, marker.behind) for row in grid.rows) if in_rows else grid.rows
    notes = tuple(map(marker.inline, grid.notes))
    further = {
        "Methods and data sets": () if in_rows else (header for row in grid.rows for header in row.headers),
        "Benchmarks": (heading for leaf in grid.leaves for heading in leaf.path),
    }
    lists = [(kind, marker.listed(names)) for kind, names in further.items()]
    return replace(
        grid, caption=caption, rows=rows, notes=(*notes, *(f"{kind}: {names}." for kind, names in lists if names))
    )


def cited_keys(text: str) -> tuple[str, ...]:
    """The keys in the brackets of a text, in their order."""
    return tuple(key for group in re.findall(f"{OPEN}([^{CLOSE}]*){CLOSE}", text) for key in group.split(","))


def texts(grid: Grid) -> Iterator[str]:
    """All texts of a table in which names can be cited."""
    yield grid.caption
    yield from (header for row in grid.rows for header in row.headers)
    yield from grid.notes


def _cited_row(row: GridRow, behind: Callable[[str], str]) -> GridRow:
    return replace(row, headers=tuple(map(behind, row.headers)))


class _Marker:
    """Puts the keys of names into texts, those of each name once."""

    def __init__(self, citations: Citations) -> None:
        self._names = citations.names
        self._cited: set[str] = set()
        self._keys: set[str] = set()
        known = "|".join(re.escape(name) for name in sorted(self._names, key=len, reverse=True))
        self._pattern = re.compile(rf"(?<![\w-])(?P<name>{known})(?![\w-])(?:['’]s)?" if known else r"(?!)")

    def inline(self, text: str) -> str:
        """A sentence with keys behind its names."""
        return self._pattern.sub(lambda found: found[0] + self._mark(found["name"]), text)

    def behind(self, text: str) -> str:
        """A short text with the keys of all its names at its end."""
        return text + self._mark(*(found["name"] for found in self._pattern.finditer(text)))

    def listed(self, texts: Iterable[str]) -> str:
        """The names in these texts whose publications are not cited yet, each with its keys."""
        names = dict.fromkeys(found["name"] for text in texts for found in self._pattern.finditer(text))
        open_names = (name for name in names if {*self._names[name]} - self._keys)
        return ", ".join(name + self._mark(name) for name in open_names)

    def _mark(self, *names: str) -> str:
        keys = dict.fromkeys(key for name in names if name not in self._cited for key in self._names[name])
        self._cited.update(names)
        self._keys.update(keys)
        return f"{OPEN}{','.join(keys)}{CLOSE}" if keys else ""
