"""BibTeX entries of the sources of a table's values that are not the authors'."""

from __future__ import annotations

from collections.abc import Iterator

from aroface.reporting.tables.latex import escape
from aroface.reporting.tables.sources import Source
from aroface.reporting.tables.spec import Spec


def bibtex(spec: Spec) -> str:
    """An entry for each source, by the key that the LaTeX table cites; what is not known of one is left out."""
    rows = [*(row.published for row in spec.rows or ()), *(row.values for row in spec.published)]
    sources = dict.fromkeys(value.source for values in rows for value in values.values())
    return "\n".join(map(_entry, sources)) or "% No value of this table is another's than the authors'.\n"


def _entry(source: Source) -> str:
    kind = "inproceedings" if source.booktitle else "misc"
    fields = "".join(f"  {name} = {{{value}}},\n" for name, value in _fields(source))
    return f"@{kind}{{{source.key},\n{fields}}}\n"


def _fields(source: Source) -> Iterator[tuple[str, str]]:
    # A style that changes titles to lower case would spoil names.
    yield "title", f"{{{escape(source.title)}}}"
    if source.author:
        yield "author", escape(source.author)
    else:
        yield "key", escape(source.title)  # to sort by
    if source.booktitle:
        yield "booktitle", escape(source.booktitle)
    if source.year:
        yield "year", str(source.year)
    if source.arxiv:
        yield "eprint", source.arxiv
        yield "archiveprefix", "arXiv"
    if source.url:
        # The styles of BibTeX itself print no url.
        yield ("url", source.url) if source.booktitle else ("howpublished", rf"\url{{{source.url}}}")
    note = ", ".join(part for part in (source.place, source.commit and f"commit {source.commit}") if part)
    if note:
        yield "note", escape(note)
