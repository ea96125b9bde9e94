"""Publications and repositories, such as sources of values that are not the authors': their texts and their marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """A publication or repository that values were read in.

    Attributes:
        key: Name in the file that declares it, and citation key.
        title: Title of the publication, or owner and name of the repository.
        short: Name where there is little room; None for the title.
        author: Authors as BibTeX writes them; None where they are not known.
        booktitle: Proceedings.
        journal: Journal.
        volume: Volume of the journal.
        number: Number of a report.
        pages: Pages, as BibTeX writes them.
        institution: Institution of a report.
        year: Year of the publication.
        arxiv: Identifier in arXiv.
        url: Address.
        commit: Commit of the repository.
        place: Place in it: a file, a table.
        note: Remark on the values that a reader needs.
    """

    key: str
    title: str
    short: str | None = None
    author: str | None = None
    booktitle: str | None = None
    journal: str | None = None
    volume: str | None = None
    number: str | None = None
    pages: str | None = None
    institution: str | None = None
    year: int | None = None
    arxiv: str | None = None
    url: str | None = None
    commit: str | None = None
    place: str | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        """Name where there is little room."""
        return self.short or self.title

    @property
    def parts(self) -> tuple[str, ...]:
        """All that a reader needs before the address: of proceedings the acronym, where their title ends in one."""
        published_in = self.booktitle or self.journal or self.institution
        acronym = re.search(r"\(([\w-]+)\)$", self.booktitle or "")
        venue = " ".join(str(part) for part in (acronym[1] if acronym else published_in, self.year) if part)
        details = (self.title, venue, self.arxiv and f"arXiv {self.arxiv}", self.place)
        return tuple(part for part in (*details, self.commit and f"commit {self.commit}") if part)

    def __str__(self) -> str:
        return ", ".join([*self.parts, *([self.url] if self.url else [])]) + self.remark

    @property
    def remark(self) -> str:
        """The note in brackets, after a space; empty where there is none."""
        return f" ({self.note})" if self.note else ""


@dataclass(frozen=True, slots=True)
class Published:
    """A value in the digits of its source."""

    digits: str
    source: Source


def read_sources(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Source]:
    """The sources that a file declares, by their keys."""
    return {key: Source(key, **fields) for key, fields in content.items()}


def marks(sources: Iterable[Source]) -> dict[Source, str]:
    """Footnote marks of sources in the order of their first appearance: a to z, then aa to az and so on."""
    return {source: _letters(number) for number, source in enumerate(dict.fromkeys(sources))}


def _letters(number: int) -> str:
    before, last = divmod(number, 26)
    return (_letters(before - 1) if before else "") + chr(ord("a") + last)
