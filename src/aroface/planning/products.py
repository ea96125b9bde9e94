"""Products of a plan: tables, figures and one document, their records and the commands that render them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path

from aroface.errors import InputError
from aroface.planning.figure_inputs import Figure, figure_inputs, read_figures, source_arguments
from aroface.planning.paths import CLAIMS, SPECS, command_path
from aroface.planning.plan import Plan, PlannedBenchmark
from aroface.reporting.claims.claims import Claims, DropClaim, read_claims
from aroface.reporting.document import latex_missing
from aroface.reporting.figures.registry import FIGURE_KINDS
from aroface.reporting.tables.spec import Spec, read_spec
from aroface.reporting.tables.tex_text import check_text


@dataclass(frozen=True, slots=True)
class Products:
    """Tables and figures of a plan.

    Attributes:
        plan: Plan that they show.
        tables: Specifications of the plan's tables by name.
        offered: Specifications of these, and of the repository's tables that show a benchmark of the plan.
        reported: Specifications that have values of the authors, by name.
        figures: Figures of the plan by name.
        specs: Folder of the repository's specifications.
        claims: Claims of the paper.
        rendered: Folder of the tables as their authors reported them.
        no_latex: Line on how to get LaTeX where it is missing.
    """

    plan: Plan
    tables: dict[str, Spec]
    offered: dict[str, Spec]
    reported: dict[str, Spec]
    figures: dict[str, Figure]
    specs: Path
    claims: Claims
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
        """Pictures that these fragments include."""
        return [self.figure_stem(figure).with_suffix(".pdf") for figure in self.figures]

    @property
    def reported_files(self) -> list[Path]:
        """The tables as their authors reported them."""
        return [self.reported_file(table) for table in self.reported]

    @property
    def document_files(self) -> list[Path]:
        """The document of all tables and figures, if there are any: a PDF, or its source where LaTeX is missing."""
        suffix = ".pdf" if self.no_latex is None else ".tex"
        return [self.plan.results.document(suffix)] if self.tables or self.figures else []

    @property
    def report_file(self) -> Path:
        """The page on all of it."""
        return self.plan.results.report

    @property
    def crate_file(self) -> Path:
        """The description of all of it for machines."""
        return self.plan.results.crate

    @property
    def fragments(self) -> list[Path]:
        """Parts of the document: the authors' tables that none here repeats, tables, figures and claims."""
        repeated = {spec.path for spec in self.tables.values()}
        authors = [self.reported_file(table) for table, spec in self.reported.items() if spec.path not in repeated]
        verdicts = [path for path in self.verdict_files if path.suffix == ".tex"]
        return [*authors, *self.table_files, *self.figure_files, *verdicts]

    @property
    def compared(self) -> tuple[str, ...]:
        """Tables whose values in print the plan's records can be compared with; none without one of the authors'."""
        if not any(map(self._offers, self.reported.values())):
            return ()
        return tuple(name for name, spec in self.claims.specs.items() if spec.compares and self._offers(spec))

    @property
    def compare_files(self) -> list[Path]:
        """Files of ``aroface compare`` on these tables."""
        return [self.plan.results.comparison(suffix) for suffix in (".md", ".json")] if self.compared else []

    @property
    def claims_files(self) -> list[Path]:
        """Files of ``aroface claims``, the last one a fragment."""
        return [self.plan.results.claims(suffix) for suffix in (".md", ".json", ".tex")] if self.compared else []

    @property
    def verdict_files(self) -> list[Path]:
        """Both, where the plan has tables with values of the authors."""
        return [*self.compare_files, *self.claims_files] if {*self.compared} & {*self.reported} & {*self.tables} else []

    def table_file(self, table: str) -> Path:
        """A rendered table."""
        return self.plan.results.table(table)

    def partial_file(self, table: str) -> Path:
        """A table that was rendered though some of its records could not be made."""
        return partial(self.table_file(table))

    def reported_file(self, table: str) -> Path:
        """A table as its authors reported it."""
        return self.rendered / f"{table}.tex"

    def figure_stem(self, figure: str) -> Path:
        """The files of a figure, without their suffixes."""
        return self.plan.results.figure(figure)

    def table_records(self, table: str) -> list[Path]:
        """The records that a table shows."""
        spec = self.offered[table]
        rows = None if spec.rows is None else [experiment for row in spec.rows for experiment in row.experiments]
        return self.plan.records({column.benchmark for column in spec.columns}, rows)

    def figure_inputs(self, figure: str) -> list[Path]:
        """The files that a figure shows: records, for most kinds."""
        return figure_inputs(self.plan, self.figures[figure])

    @property
    def compared_records(self) -> list[Path]:
        """The records that are compared with reported values."""
        return list(dict.fromkeys(path for table in self.compared for path in self._published_records(table)))

    def _published_records(self, table: str) -> list[Path]:
        """The records of a table, or of those rows that have values in print where it has one for each experiment."""
        spec = self.offered[table]
        if spec.rows is not None:
            return self.table_records(table)
        return self.plan.records(
            {column.benchmark for column in spec.columns}, [row.experiment for row in spec.published]
        )

    @property
    def claimed_records(self) -> list[Path]:
        """The records that claims are about."""
        paths: list[Path] = []
        for claim in self.claims.claims:
            if isinstance(claim, DropClaim):
                paths += self.plan.records({claim.benchmark}, [asdict(experiment) for experiment in claim.experiments])
            elif self._offers(self.claims.specs[claim.table]):
                paths += self.table_records(claim.table)
        return list(dict.fromkeys(paths))

    @property
    def claimed_specs(self) -> list[Path]:
        """The tables that claims are about, and those whose reported values are checked."""
        named = {claim.table for claim in self.claims.claims if not isinstance(claim, DropClaim)}
        return [spec.path for name, spec in self.claims.specs.items() if spec.source or name in named]

    def _offers(self, spec: Spec) -> bool:
        """True if this is the table of its name that is made here."""
        return spec.name in self.offered and self.offered[spec.name].path == spec.path

    def table_arguments(self, table: str) -> str:
        """Arguments of ``aroface table``, all but where the table goes and in which format."""
        arguments: list[str | Path] = [self.offered[table].path, "--mode", self.plan.values["table_mode"]]
        return _join([*arguments, "--links", "--records", self.plan.results.records, *self._choice()])

    def compare_arguments(self) -> str:
        """Arguments of ``aroface compare``, all but its files."""
        tables = [word for table in self.compared for word in ("--table", table)]
        return _join([*tables, "--specs", self.specs, *self._selected(), "--exit-zero"])

    def claims_arguments(self) -> str:
        """Arguments of ``aroface claims``, all but its files."""
        return _join(["--claims", self.claims.path, "--specs", self.specs, *self._selected(), "--exit-zero"])

    def figure_arguments(self, figure: str) -> str:
        """Arguments of ``aroface figure``."""
        asked = self.figures[figure]
        arguments: list[str | Path] = [asked.kind]
        arguments += ["--benchmark", *asked.benchmarks] if asked.benchmarks else []
        arguments += ["--unit", asked.unit] if asked.unit else []
        arguments += ["--width", str(asked.width)] if asked.width else []
        arguments += ["--font", asked.font] if asked.font else []
        arguments += ["--trained-on", *asked.trained_on] if asked.trained_on else []
        arguments += ["--out", self.figure_stem(figure), *source_arguments(self.plan, asked), *self._choice()]
        faces = self._faces(figure)
        return _join(
            [*arguments, "--faces", faces.file] if faces is not None and self._has_faces(figure) else arguments
        )

    def figure_faces(self, figure: str) -> list[Path]:
        """The specification of the benchmark that a figure shows faces of, and its data, if there is one."""
        faces = self._faces(figure)
        if faces is None:
            return []
        return [faces.file, *(faces.source.inputs if self._has_faces(figure) else [])]

    def _faces(self, figure: str) -> PlannedBenchmark | None:
        asked = self.figures[figure]
        shows_faces = FIGURE_KINDS[asked.kind].shows_faces
        return self.plan.benchmarks[asked.benchmark] if asked.benchmark and shows_faces else None

    def _has_faces(self, figure: str) -> bool:
        """False where nothing may be made and the data are gone: the curves are drawn all the same."""
        faces = self._faces(figure)
        return faces is not None and (not self.plan.values["render_only"] or faces.source.path.exists())

    def missing_for(self, rule: str, wildcards: Mapping[str, str]) -> str | None:
        """The line of the received set or checkpoint that a job needs and that is not there; None if it can run."""
        figure = rule.removeprefix("figure_")
        if figure == rule or figure not in self.figures:
            return self.plan.missing_for(rule, wildcards)
        faces = self._faces(figure)
        return faces.source.missing if faces is not None else None

    def document_arguments(self) -> str:
        """Arguments of ``aroface document``, all but where it goes."""
        note = self.plan.values["note"]
        arguments: list[str | Path] = [*self.fragments]
        arguments += ["--pictures", *self.picture_files] if self.figures else []
        arguments += ["--report", self.report_file]
        return _join([*arguments, *_option("--note", note)] if note else arguments)

    def _choice(self) -> Sequence[str | Path]:
        note = self.plan.values["note"]
        choice: list[str | Path] = ["--runs-file", self.plan.runs_file]
        return choice if note is None else [*choice, *_option("--caption-note", note)]

    def _selected(self) -> Sequence[str | Path]:
        return ["--records", self.plan.results.records, "--runs-file", self.plan.runs_file]

    def summary(self) -> list[str]:
        """Lines that say where everything is that there is, whole or with gaps."""
        files = [("table", path) for path in self.table_files]
        files += [("figure", path) for path in self.picture_files]
        files += [(path.stem, path) for path in self.verdict_files if path.suffix == ".md"]
        files += [("paper", path) for path in self.document_files]
        files += [("report", self.report_file), ("crate", self.crate_file)]
        lines = [f"{kind:7} {path}" for kind, path in ((kind, latest(path)) for kind, path in files) if path.exists()]
        return lines if self.no_latex is None else [*lines, f"no PDF: {self.no_latex}"]


def find_products(plan: Plan, *, root: Path = Path()) -> Products:
    """Read the table specifications that a plan names, and those of the authors' tables.

    Args:
        plan: Plan, which names tables and figures.
        root: Folder of the repository.

    Raises:
        InputError: A specification is malformed, two tables or figures have one name, a figure cannot be drawn, or a
            label, note or specification has a letter that LaTeX cannot print.
    """
    tables: dict[str, Spec] = {}
    read = cache(read_spec)  # a table of the plan is most often one of the repository's
    for number, file in enumerate(plan.values["tables"]):
        spec = read(command_path(root / file))
        if spec.name in tables:
            raise InputError(f"a second table {spec.name!r}", file=plan.file, where=f"tables.{number}")
        tables[spec.name] = spec
    specs = [read(path) for path in sorted((root / SPECS).glob("*.yaml"))]
    _check_texts(plan, [*tables.values(), *specs])
    reported = {spec.name: spec for spec in specs if spec.source}
    asked = {spec.name: spec for spec in specs if {column.benchmark for column in spec.columns} & {*plan.benchmarks}}
    return Products(
        plan=plan,
        tables=tables,
        offered={**asked, **tables},
        reported=reported,
        figures=read_figures(plan),
        specs=root / SPECS,
        claims=read_claims(root / CLAIMS, specs),
        rendered=root / SPECS.parent,
        no_latex=latex_missing(),
    )


def _check_texts(plan: Plan, specs: Sequence[Spec]) -> None:
    """Refuse what LaTeX cannot print now, and not when all records are there."""
    for key, label in plan.labels.items():
        check_text(label, file=plan.file, where=f"label of {key}")
    check_text(plan.values["note"] or "", file=plan.file, where="note")
    for spec in {spec.path: spec for spec in specs}.values():
        for place, text in _texts(spec):
            check_text(text, file=spec.path, where=place)


def _texts(content: object, place: str = "") -> Iterator[tuple[str, str]]:
    """All texts of nested objects, mappings and sequences, each with its place."""
    if isinstance(content, str):
        yield place, content
    elif is_dataclass(content):
        for each in fields(content):
            yield from _texts(getattr(content, each.name), f"{place}.{each.name}" if place else each.name)
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _texts(value, f"{place}.{key}" if place else str(key))
    elif isinstance(content, (tuple, list)):
        for number, value in enumerate(content):
            yield from _texts(value, f"{place}.{number}")


def partial(path: Path) -> Path:
    """Path of the incomplete version of a product, rendered while some records are missing."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def latest(path: Path) -> Path:
    """A product, or the one with gaps if that is newer."""
    gaps = partial(path)
    if gaps.exists() and not (path.exists() and path.stat().st_mtime_ns >= gaps.stat().st_mtime_ns):
        return gaps
    return path


def _option(name: str, text: str) -> list[str]:
    """An option with any text as its value, also one that begins with a dash."""
    return [f"{name}={text}"] if text.startswith("-") else [name, text]


def _join(arguments: Iterable[str | Path]) -> str:
    return shlex.join(str(argument) for argument in arguments)
