"""BibTeX entries of sources of a table's values that are not the authors', and of publications behind its names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from aroface.errors import InputError
from aroface.reporting.tables.citations import (
    CITATIONS,
    Citations,
    citations_above,
    cite,
    cited_keys,
    read_citations,
    texts,
)
from aroface.reporting.tables.grid import Grid
from aroface.reporting.tables.sources import Source
from aroface.reporting.tables.spec import Spec
from aroface.reporting.tables.tex_text import escape

FILE = Path("paper_tables") / CITATIONS
"""Citations of the repository."""


def bibtex(spec: Spec, grid: Grid | None = None) -> str:
    """Entries of all that the LaTeX table can cite, by their keys; what is not known of one is left out.

    Args:
        spec: Table.
        grid: The table as it is printed; None for the sources of values alone.
    """
    sources = _sources(spec)
    citations = citations_above(spec.path).of(spec.cite)
    keys = cited_keys("".join(texts(cite(grid, citations)))) if grid else ()
    known = {key: citations.entries[key] for key in keys if key in citations.entries}
    lacking = [f"% {key}: an entry of your own bibliography.\n" for key in keys if key not in known]
    return "\n".join([*map(_entry, {**sources, **known}.values()), *lacking]) or "% This table cites nothing.\n"


def entries(keys: Iterable[str], citations: Citations | None = None) -> str:
    """Entries of publications, in the order of their keys' first mention.

    Args:
        keys: Citation keys.
        citations: Publications; None reads those of the repository in the current folder.

    Raises:
        InputError: A key is none of theirs.
    """
    citations = citations or read_citations(FILE)
    wanted = dict.fromkeys(keys)
    for key in wanted:
        if key not in citations.entries:
            raise InputError(f"no citation {key!r}", expected=f"one of {', '.join(citations.entries)}")
    return "\n".join(_entry(citations.entries[key]) for key in wanted)


def cited_entries(specs: Iterable[Spec], keys: Iterable[str]) -> str:
    """Entries of what several tables cite, in the order of their keys' first mention; a comment where there is none.

    Args:
        specs: Tables.
        keys: Keys that they cite; those of entries of a document's own are left out.
    """
    known: dict[str, Source] = {}
    for spec in specs:
        known |= {**citations_above(spec.path).entries, **_sources(spec)}
    found = [_entry(known[key]) for key in dict.fromkeys(keys) if key in known]
    return "\n".join(found) or "% Nothing here is cited.\n"


def _sources(spec: Spec) -> dict[str, Source]:
    """Sources of the values of a table that are not the authors', by their keys."""
    rows = [*(row.published for row in spec.rows or ()), *(row.values for row in spec.published)]
    return {value.source.key: value.source for values in rows for value in values.values()}


def _entry(source: Source) -> str:
    fields = "".join(f"  {name} = {{{value}}},\n" for name, value in _fields(source))
    return f"@{_kind(source)}{{{source.key},\n{fields}}}\n"


def _kind(source: Source) -> str:
    if source.booktitle:
        return "inproceedings"
    if source.journal:
        return "article"
    return "techreport" if source.institution else "misc"


def _fields(source: Source) -> Iterator[tuple[str, str]]:
    # A style that changes titles to lower case would spoil names.
    yield "title", f"{{{escape(source.title)}}}"
    if source.author:
        yield "author", escape(source.author)
    else:
        yield "key", escape(source.title)  # to sort by
    for name in ("booktitle", "journal", "institution", "volume", "number", "pages"):
        if value := getattr(source, name):
            yield name, escape(value)
    if source.year:
        yield "year", str(source.year)
    if source.arxiv:
        yield "eprint", source.arxiv
        yield "archiveprefix", "arXiv"
    if source.arxiv and _kind(source) == "misc" and not source.url:
        yield "howpublished", f"arXiv:{source.arxiv}"
    if source.url:
        # The styles of BibTeX itself print no url.
        yield ("url", source.url) if _kind(source) != "misc" else ("howpublished", rf"\url{{{source.url}}}")
    note = ", ".join(part for part in (source.place, source.commit and f"commit {source.commit}") if part)
    if note:
        yield "note", escape(note)
