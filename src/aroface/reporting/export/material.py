"""Material of an export: tables, figures and numbers, as a plan gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aroface.reporting.export.templates import VenueTemplate
from aroface.reporting.records import Selection
from aroface.reporting.tables.grid import Mode
from aroface.reporting.tables.spec import Spec


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """A table of an export.

    Attributes:
        spec: Specification.
        mode: Values that it shows.
        records: Records that it shows; none of reported values.
    """

    spec: Spec
    mode: Mode
    records: tuple[Path, ...] = ()

    @property
    def stem(self) -> str:
        """Name of its file, without the suffix."""
        return f"aroface-table-{self.spec.name}" + ("-reported" if self.mode == "reported" else "")


@dataclass(frozen=True, slots=True)
class ExportedFigure:
    """A figure of an export.

    Attributes:
        name: Name of the figure.
        draw: Function that writes its ``.tex`` and its ``.pdf``, given their path without a suffix, the template, and
            whether it spans all columns.
        inputs: Files that it shows.
        command: Command that draws it.
    """

    name: str
    draw: Callable[[Path, VenueTemplate, bool], None]
    inputs: tuple[Path, ...]
    command: str

    @property
    def stem(self) -> str:
        """Name of its files, without the suffix."""
        return f"aroface-figure-{self.name}"


@dataclass(frozen=True, slots=True)
class ExportedClaims:
    """The table of claims of an export.

    Attributes:
        render: Function that gives the table as LaTeX for a template.
        source: File of the claims.
        inputs: Records that the verdicts rest on.
    """

    render: Callable[[VenueTemplate], str]
    source: Path
    inputs: tuple[Path, ...]

    stem: ClassVar[str] = "aroface-claims"
    """Name of its file, without the suffix."""


@dataclass(frozen=True, slots=True)
class ExportMaterial:
    """All that is exported.

    Attributes:
        tables: Tables, in their order.
        figures: Figures, in theirs.
        specs: Tables whose numbers the text of a paper can print.
        records: Folder of the records.
        selection: Runs that count, their experiments and labels.
        note: Last sentence of captions.
        configuration: Names of the configuration's files.
        configuration_hash: Hash of what they say.
        known: Records that numbers in prose come from.
        claims: Claims with their verdicts; None without.
        left_out: Line on tables and figures that are left out; None if none is.
    """

    tables: tuple[ExportedTable, ...]
    figures: tuple[ExportedFigure, ...]
    specs: tuple[Spec, ...]
    records: Path
    selection: Selection
    note: str | None
    configuration: str
    configuration_hash: str
    known: tuple[Path, ...] = ()
    claims: ExportedClaims | None = None
    left_out: str | None = None
