"""Citations of the methods, training sets and benchmarks that a table names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from aroface.reporting.tables.grid import Grid, GridRow, Leaf
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


def cite(grid: Grid, citations: Citations) -> Grid:
    """The table with citation keys behind the names of its caption, headers, notes and headings.

    Each publication is cited where it is first named. Keys stand in the brackets ``OPEN`` and ``CLOSE``.
    """
    marker = _Marker(citations)
    caption = marker.inline(grid.caption)
    rows = tuple(_cited_row(row, marker.behind) for row in grid.rows)
    notes = tuple(map(marker.inline, grid.notes))
    headings: dict[str, str] = {}
    leaves = tuple(_cited_leaf(leaf, headings, marker.behind) for leaf in grid.leaves)
    return replace(grid, caption=caption, rows=rows, notes=notes, leaves=leaves)


def cited_keys(text: str) -> tuple[str, ...]:
    """The keys in the brackets of a text, in their order."""
    return tuple(key for group in re.findall(f"{OPEN}([^{CLOSE}]*){CLOSE}", text) for key in group.split(","))


def texts(grid: Grid) -> Iterator[str]:
    """All texts of a table in which names can be cited."""
    yield grid.caption
    yield from (header for row in grid.rows for header in row.headers)
    yield from grid.notes
    yield from (heading for leaf in grid.leaves for heading in leaf.path)


def _cited_row(row: GridRow, behind: Callable[[str], str]) -> GridRow:
    return replace(row, headers=tuple(map(behind, row.headers)))


def _cited_leaf(leaf: Leaf, headings: dict[str, str], behind: Callable[[str], str]) -> Leaf:
    """A column whose headings are cited alike over all columns that share them."""
    for heading in leaf.path:
        headings.setdefault(heading, behind(heading))
    return replace(leaf, path=tuple(headings[heading] for heading in leaf.path))


class _Marker:
    """Puts the keys of names into texts, each key once."""

    def __init__(self, citations: Citations) -> None:
        self._names = citations.names
        self._cited: set[str] = set()
        known = "|".join(re.escape(name) for name in sorted(self._names, key=len, reverse=True))
        self._pattern = re.compile(rf"(?<![\w-])(?P<name>{known})(?![\w-])(?:['’]s)?" if known else r"(?!)")

    def inline(self, text: str) -> str:
        """A sentence with keys behind its names."""
        return self._pattern.sub(lambda found: found[0] + self._mark(found["name"]), text)

    def behind(self, text: str) -> str:
        """A short text with the keys of all its names at its end."""
        return text + self._mark(*(found["name"] for found in self._pattern.finditer(text)))

    def _mark(self, *names: str) -> str:
        keys = dict.fromkeys(key for name in names for key in self._names[name] if key not in self._cited)
        self._cited.update(keys)
        return f"{OPEN}{','.join(keys)}{CLOSE}" if keys else ""
