"""What a plan ends in: tables, figures and one document, the records they show and the commands that render them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aroface.errors import InputError
from aroface.paper.document import latex_missing
from aroface.paper.spec import Spec, read_spec
from aroface.plan import Plan

SPECS = Path("paper_tables/specs")


@dataclass(frozen=True, slots=True)
class Products:
    """Tables and figures of a plan.

    Attributes:
        plan: what they show.
        tables: specifications of the plan's tables by name.
        offered: these, and those of the repository that show a benchmark of the plan: made when asked for by name.
        reported: specifications that have values of the authors, by name.
        figures: benchmarks that get a figure.
        rendered: folder of the tables as their authors reported them.
        no_latex: one line on how to get LaTeX where it is missing.
    """

    plan: Plan
    tables: dict[str, Spec]
    offered: dict[str, Spec]
    reported: dict[str, Spec]
    figures: tuple[str, ...]
    rendered: Path
    no_latex: str | None

    @property
    def table_files(self) -> list[Path]:
        """The rendered tables."""
        return [self.table_file(table) for table in self.tables]

    @property
    def figure_files(self) -> list[Path]:
        """The figures' LaTeX fragments."""
        return [self.figure_stem(figure).with_suffix(".tex") for figure in self.figures]

    @property
    def picture_files(self) -> list[Path]:
        """What these fragments show."""
        return [self.figure_stem(figure).with_suffix(".pdf") for figure in self.figures]

    @property
    def reported_files(self) -> list[Path]:
        """The tables as their authors reported them."""
        return [self.reported_file(table) for table in self.reported]

    @property
    def document_files(self) -> list[Path]:
        """The document of all tables and figures, if there are any: a PDF, or its source where LaTeX is missing."""
        suffix = ".pdf" if self.no_latex is None else ".tex"
        return [self.plan.results / f"paper{suffix}"] if self.tables or self.figures else []

    @property
    def report_file(self) -> Path:
        """The page on all of it."""
        return self.plan.results / "report.html"

    @property
    def crate_file(self) -> Path:
        """The description of all of it for machines."""
        return self.plan.results / "ro-crate-metadata.json"

    @property
    def fragments(self) -> list[Path]:
        """What the document consists of: the authors' tables that no table here repeats, then tables and figures."""
        repeated = {spec.path for spec in self.tables.values()}
        authors = [self.reported_file(table) for table, spec in self.reported.items() if spec.path not in repeated]
        return [*authors, *self.table_files, *self.figure_files]

    def table_file(self, table: str) -> Path:
        """A rendered table."""
        return self.plan.results / "tables" / f"{table}.tex"

    def partial_file(self, table: str) -> Path:
        """A table that was rendered though some of its records could not be made."""
        return self.plan.results / "tables" / f"{table}.partial.tex"

    def reported_file(self, table: str) -> Path:
        """A table as its authors reported it."""
        return self.rendered / f"{table}.tex"

    def figure_stem(self, figure: str) -> Path:
        """The files of a figure, without their suffixes."""
        return self.plan.results / "figures" / figure

    def table_records(self, table: str) -> list[Path]:
        """The records that a table shows."""
        spec = self.offered[table]
        rows = None if spec.rows is None else [each for row in spec.rows for each in row.experiments]
        return self.plan.records({column.benchmark for column in spec.columns}, rows)

    def figure_records(self, figure: str) -> list[Path]:
        """The records that a figure shows."""
        return self.plan.records({figure})

    @property
    def unshown_records(self) -> list[Path]:
        """The records that the plan asks for and no table or figure shows."""
        shown = {path for table in self.tables for path in self.table_records(table)}
        shown |= {path for figure in self.figures for path in self.figure_records(figure)}
        return [path for path in self.plan.records() if path not in shown]

    def table_arguments(self, table: str) -> str:
        """Arguments of ``aroface table``, all but where the table goes and in which format."""
        return _join([self.offered[table].path, "--mode", self.plan.values["table_mode"], *self._shown()])

    def figure_arguments(self, figure: str) -> str:
        """Arguments of ``aroface figure``."""
        words: list[str | Path] = ["fae", "--benchmark", figure, "--out", self.figure_stem(figure), *self._shown()]
        if self._has_faces(figure):
            words += ["--faces", self.plan.benchmarks[figure].file]
        return _join(words)

    def figure_data(self, figure: str) -> list[Path]:
        """The data that a figure shows faces of."""
        return [*self.plan.benchmarks[figure].source.inputs] if self._has_faces(figure) else []

    def _has_faces(self, figure: str) -> bool:
        """False where nothing may be made and the data are gone: the curves are drawn all the same."""
        return not self.plan.values["render_only"] or self.plan.benchmarks[figure].source.path.exists()

    def document_arguments(self) -> str:
        """Arguments of ``aroface document``, all but where it goes."""
        note = self.plan.values["note"]
        words: list[str | Path] = [*self.fragments]
        words += ["--pictures", *self.picture_files] if self.figures else []
        words += ["--report", self.report_file]
        return _join([*words, "--note", note] if note else words)

    def _shown(self) -> Sequence[str | Path]:
        note = self.plan.values["note"]
        shown: list[str | Path] = ["--records", self.plan.results / "records", "--runs-file", self.plan.runs_file]
        return shown if note is None else [*shown, "--caption-note", note]

    def summary(self) -> list[str]:
        """Lines that say where everything is that there is."""
        files = [("table", path) for path in self.table_files]
        files += [("figure", path) for path in self.picture_files]
        files += [("paper", path) for path in self.document_files]
        files += [("report", self.report_file), ("crate", self.crate_file)]
        lines = [f"{what:7} {path}" for what, path in files if path.exists()]
        return lines if self.no_latex is None else [*lines, f"no PDF: {self.no_latex}"]


def find_products(plan: Plan, *, root: Path = Path()) -> Products:
    """Read the table specifications that a plan names, and those of the authors' tables.

    Args:
        plan: names tables and figures.
        root: folder of the repository.

    Raises:
        InputError: a specification is malformed, two tables have one name, or a figure is of no sensitivity benchmark.
    """
    tables: dict[str, Spec] = {}
    for number, file in enumerate(plan.values["tables"]):
        spec = read_spec(root / file)
        if spec.name in tables:
            raise InputError(f"a second table {spec.name!r}", file=plan.file, record=f"tables.{number}")
        tables[spec.name] = spec
    curves = [name for name, benchmark in plan.benchmarks.items() if benchmark.spec["protocol"] == "sensitivity"]
    for number, name in enumerate(plan.values["figures"]):
        if name not in curves:
            expected = f"one of {', '.join(curves)}" if curves else "a benchmark of the protocol sensitivity"
            raise InputError(f"no curves of {name!r}", file=plan.file, record=f"figures.{number}", expected=expected)
    figures = plan.values["figures"]
    if plan.values["render_only"]:
        figures = [figure for figure in figures if plan.records({figure})]
    specs = [read_spec(path) for path in sorted((root / SPECS).glob("*.yaml"))]
    reported = {spec.name: spec for spec in specs if spec.source}
    asked = {spec.name: spec for spec in specs if {column.benchmark for column in spec.columns} & {*plan.benchmarks}}
    return Products(plan, tables, {**asked, **tables}, reported, tuple(figures), root / SPECS.parent, latex_missing())


def _join(arguments: Iterable[str | Path]) -> str:
    return shlex.join(str(argument) for argument in arguments)
