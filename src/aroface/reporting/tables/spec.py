"""Table specifications: what a YAML file under ``paper_tables/specs`` says, checked and typed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from aroface.errors import InputError
from aroface.reporting.records import variant
from aroface.reporting.tables.form import TableForm, read_form
from aroface.reporting.tables.sources import Published, Source, read_sources
from aroface.schemas import read_yaml, validate

EMPTY: Mapping[str, Any] = MappingProxyType({})
Rule = Literal["as_paper", "best_second", "none"]
ASIDE = "venue"
"""Row header that is printed and no part of a row's address: where a method was published names no row."""


@dataclass(frozen=True, slots=True)
class Citation:
    """Publication of the reported values."""

    title: str
    url: str | None = None
    arxiv: str | None = None

    def __str__(self) -> str:
        details = (self.title, self.arxiv and f"arXiv {self.arxiv}", self.url)
        return ", ".join(detail for detail in details if detail)


@dataclass(frozen=True, slots=True)
class RowHeader:
    """A column that names the rows; ``once`` prints equal neighbours only once."""

    key: str
    label: str
    once: bool = False


@dataclass(frozen=True, slots=True)
class At:
    """A point of a sensitivity sweep; without factor and level, the probes without an alignment error.

    Attributes:
        quality: Quality of the probes; None where each row gives its own.
        factor: Kind of error.
        level: Its size, as records have it.
        show: Metric's value there, or its drop from that of aligned probes.
    """

    quality: str | None = None
    factor: str | None = None
    level: float | None = None
    show: Literal["value", "drop"] = "value"

    def __str__(self) -> str:
        error = f"{self.factor} {self.level:g}" if self.factor else "aligned"
        return ", ".join([*([self.quality] if self.quality else []), error, *(["drop"] if self.show == "drop" else [])])


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values.

    Attributes:
        id: Last part of a cell's address.
        label: Heading.
        decimals: Digits after the point of a reproduced percentage.
        group: Heading over several columns.
        benchmark: Benchmark of the records that fill it; None for an average.
        metric: Metric of those records; None for an average.
        at: Point of a sweep whose metric it is; None for a metric of the whole record.
        average_of: Ids of the columns whose values are averaged.
        reported_digits: True if reported values keep the authors' digits, False if they get ``decimals``.
        better: Good end of the scale.
    """

    id: str
    label: str
    decimals: int
    group: str | None = None
    benchmark: str | None = None
    metric: str | None = None
    at: At | None = None
    average_of: tuple[str, ...] = ()
    reported_digits: Literal["as_printed", "column"] = "as_printed"
    better: Literal["higher", "lower"] = "higher"


@dataclass(frozen=True, slots=True)
class RowSpec:
    """A row as the specification gives it.

    Attributes:
        headers: Row header key to text.
        id: Name by which differences refer to it.
        experiment: Method, and data set and backbone where given, of the records that fill it.
        also: Experiment whose records fill it where ``experiment`` has none, such as released weights that go by
            another name.
        quality: Quality of the probes, for columns that show a point of a sweep.
        difference: Ids of two rows, the second to be subtracted from the first.
        reported: Column id to the authors' digits, None for their dash.
        published: Column id to a value that others published, with its source.
        ours: Printed bold by the authors.
        rerun: Printed with a star by the authors.
        as_printed: Headers that the authors print otherwise, with a ``reason``.
    """

    headers: Mapping[str, str]
    id: str | None = None
    experiment: Mapping[str, str] | None = None
    also: Mapping[str, str] | None = None
    quality: str | None = None
    difference: tuple[str, str] | None = None
    reported: Mapping[str, str | None] = field(default_factory=dict)
    published: Mapping[str, Published] = field(default_factory=dict)
    ours: bool = False
    rerun: bool = False
    as_printed: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Middle part of the address of this row's cells, such as ``ArcFace+ARoFace@MS1MV2``."""
        return address(self.headers)

    @property
    def experiments(self) -> tuple[Mapping[str, str], ...]:
        """The experiments whose records may fill the row, the preferred one first."""
        return tuple(each for each in (self.experiment, self.also) if each is not None)

    def known(self, column: str) -> Published | str | None:
        """The value of a column in print: the authors' digits, or those of others with their source."""
        return self.published.get(column) or self.reported.get(column)

    @property
    def printed_key(self) -> str:
        """The key that the authors' own headers would give the row."""
        return address(
            {**self.headers, **{key: self.as_printed[key] for key in self.headers if key in self.as_printed}}
        )


def address(headers: Mapping[str, str]) -> str:
    """A row's headers as the middle part of its cells' addresses."""
    return "@".join(text for key, text in headers.items() if key != ASIDE)


@dataclass(frozen=True, slots=True)
class Emphasis:
    """Rule for the values that stand out; see the schema."""

    rule: Rule = "none"
    within: Literal["table", "block"] = "table"


@dataclass(frozen=True, slots=True)
class Layout:
    """Fit of the LaTeX table into the text width; see the schema."""

    size: Literal["normalsize", "small", "footnotesize", "scriptsize"] = "small"
    gap_pt: float = 6
    spread: Literal["beside", "below"] = "beside"
    parts: Literal["beside", "below"] = "beside"
    interval: Literal["ends", "half"] = "ends"


@dataclass(frozen=True, slots=True)
class Seeds:
    """Notes on the seeds behind reproduced values; see the schema."""

    count: Literal["caption", "column", "note"] = "caption"
    spread: Literal["sd", "prediction", "none"] = "sd"
    tests: Literal["none", "note"] = "none"


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """Values of others for the row of an experiment, in a table that has one for every experiment."""

    experiment: Mapping[str, str]
    values: Mapping[str, Published]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One file of weights that several evaluated.

    Attributes:
        weights: Description of the weights.
        values: Column id to the value that each of them published.
    """

    weights: str
    values: Mapping[str, tuple[Published, ...]]


@dataclass(frozen=True, slots=True)
class Spec:
    """A table; ``rows`` is None where every experiment gets one.

    ``published`` are values of others for such rows, ``evaluations`` those of the same weights by several.
    """

    path: Path
    name: str
    caption: str
    label: str
    row_headers: tuple[RowHeader, ...]
    columns: tuple[Column, ...]
    rows: tuple[RowSpec, ...] | None
    short_caption: str | None = None
    note: str | None = None
    notes: tuple[str, ...] = ()
    training_note: str | None = None
    cite: Mapping[str, str | None] = field(default_factory=dict)
    source: Citation | None = None
    rerun_footnote: str | None = None
    block_by: str | None = None
    emphasis: Emphasis = Emphasis()
    layout: Layout = Layout()
    seeds: Seeds = Seeds()
    published: tuple[PublishedRow, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    form: TableForm = field(default_factory=TableForm)

    @property
    def compares(self) -> bool:
        """True if it has values in print, the authors' or others', that reproduced ones can be compared with."""
        return self.source is not None or bool(self.published) or any(row.published for row in self.rows or ())

    def column(self, name: str) -> Column:
        """The column with this id."""
        return next(column for column in self.columns if column.id == name)


def read_spec(path: str | PathLike[str]) -> Spec:
    """Read and check a table specification.

    Raises:
        InputError: The file does not follow the schema, or refers to columns or rows that it does not have.
    """
    path = Path(path)
    content = read_yaml(path)
    validate(content, "table", file=path)
    headers = tuple(RowHeader(**header) for header in content["row_headers"])
    listed = content["rows"]
    sources = read_sources(content.get("sources", EMPTY))
    spec = Spec(
        path=path,
        name=content["name"],
        caption=content["caption"],
        label=content["label"],
        row_headers=headers,
        columns=tuple(map(_column, content["columns"])),
        rows=None if listed == "experiments" else tuple(_row(each, headers, sources, path) for each in listed),
        short_caption=content.get("short_caption"),
        note=content.get("note"),
        notes=tuple(content.get("notes", ())),
        cite=content.get("cite", EMPTY),
        training_note=content.get("training_note"),
        source=Citation(**content["source"]) if "source" in content else None,
        rerun_footnote=content.get("footnotes", EMPTY).get("rerun"),
        block_by=content.get("block_by"),
        emphasis=Emphasis(**content.get("emphasis", EMPTY)),
        layout=Layout(**content.get("layout", EMPTY)),
        seeds=Seeds(**content.get("seeds", EMPTY)),
        published=tuple(_published_row(each, sources, path) for each in content.get("published", ())),
        evaluations=tuple(_evaluation(each, sources, path) for each in content.get("evaluations", ())),
        form=read_form(content.get("form", EMPTY)),
    )
    _check(spec)
    return spec


def _column(content: Mapping[str, Any]) -> Column:
    at = At(**content["at"]) if "at" in content else None
    return Column(**{**content, "at": at, "average_of": tuple(content.get("average_of", ()))})


def _row(
    content: Mapping[str, Any], headers: tuple[RowHeader, ...], sources: Mapping[str, Source], path: Path
) -> RowSpec:
    keys = [header.key for header in headers]
    missing = [key for key in keys if key not in content]
    if missing:
        raise InputError(f"row without {missing[0]}", file=path, where=dict(content), expected=f"{', '.join(keys)}")
    difference = content.get("difference")
    return RowSpec(
        headers={key: content[key] for key in keys},
        id=content.get("id"),
        experiment=_experiment(content.get("experiment")),
        also=_experiment(content.get("also")),
        quality=content.get("quality"),
        difference=(difference["of"], difference["minus"]) if difference else None,
        reported=content.get("reported", EMPTY),
        published=_published(content.get("published", EMPTY), sources, path, "@".join(content[key] for key in keys)),
        ours=content.get("ours", False),
        rerun=content.get("rerun", False),
        as_printed=content.get("as_printed", EMPTY),
    )


def _published(
    content: Mapping[str, Mapping[str, str]], sources: Mapping[str, Source], path: Path, where: str
) -> dict[str, Published]:
    """Values by column, each with its source, from digits by source and column."""
    published: dict[str, Published] = {}
    for column, value in _by_source(content, sources, path, where):
        if column in published:
            expected = f"one source; {published[column].source.key} has it, too"
            raise InputError(f"{column} of {value.source.key}", file=path, where=where, expected=expected)
        published[column] = value
    return published


def _by_source(
    content: Mapping[str, Mapping[str, str]], sources: Mapping[str, Source], path: Path, where: str
) -> Iterator[tuple[str, Published]]:
    for key, values in content.items():
        if key not in sources:
            expected = f"one of sources: {', '.join(sources)}" if sources else "sources that declare it"
            raise InputError(f"no source {key!r}", file=path, where=where, expected=expected)
        yield from ((column, Published(digits, sources[key])) for column, digits in values.items())


def _published_row(content: Mapping[str, Any], sources: Mapping[str, Source], path: Path) -> PublishedRow:
    experiment = _experiment(content["experiment"])
    assert experiment is not None, "the schema asks for it"
    return PublishedRow(experiment, _published(content["values"], sources, path, " ".join(experiment.values())))


def _evaluation(content: Mapping[str, Any], sources: Mapping[str, Source], path: Path) -> Evaluation:
    values: dict[str, tuple[Published, ...]] = {}
    for column, value in _by_source(content["values"], sources, path, content["weights"]):
        values[column] = (*values.get(column, ()), value)
    return Evaluation(content["weights"], values)


def _experiment(content: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """An experiment as records have it: its label is part of the method's name there."""
    if content is None or "label" not in content:
        return content
    named = {key: value for key, value in content.items() if key != "label"}
    return {**named, "method": variant(content["method"], content["label"])}


def _check(spec: Spec) -> None:
    rows = spec.rows or ()
    columns = [column.id for column in spec.columns]
    measured = [column.id for column in spec.columns if column.metric]
    ids = [row.id for row in rows if row.id and not row.difference]
    _check_unique(spec, "column", columns)
    _check_unique(spec, "row", [row.key for row in rows])
    _check_unique(spec, "row id", [row.id for row in rows if row.id])
    _check_known(spec, "row header", [spec.block_by] if spec.block_by else [], [h.key for h in spec.row_headers])
    for column in spec.columns:
        _check_known(spec, f"column {column.id} averages", column.average_of, measured)
    _check_qualities(spec)
    _check_published(spec, columns)
    for row in rows:
        _check_known(spec, f"row {row.key} reports column", row.reported, columns)
        _check_known(spec, f"row {row.key} publishes column", row.published, columns)
        _check_known(spec, f"row {row.key} compares row", row.difference or (), ids)
        if row.also and not {"dataset", "arch"} <= {*(row.experiment or ())}:
            expected = "data set and backbone of the experiment, which tell it from the other"
            raise InputError("also beside a part of an experiment", file=spec.path, where=row.key, expected=expected)
        if both := {*row.reported} & {*row.published}:
            expected = "the authors' value or that of others"
            raise InputError(
                f"{min(both)} in reported and in published", file=spec.path, where=row.key, expected=expected
            )
        if row.reported and spec.source is None:
            raise InputError("reported values without a source", file=spec.path, where=row.key, expected="source")
        if row.rerun and spec.rerun_footnote is None:
            raise InputError("a star without a footnote", file=spec.path, where=row.key, expected="footnotes.rerun")


def _check_published(spec: Spec, columns: list[str]) -> None:
    """Values for tables of all experiments, and evaluations, are of columns that are there."""
    if spec.published and spec.rows is not None:
        remedy = "give them to the rows"
        raise InputError("published values beside rows", file=spec.path, where="published", remedy=remedy)
    for row in spec.published:
        _check_known(spec, f"published row of {row.experiment['method']} has column", row.values, columns)
    for evaluation in spec.evaluations:
        _check_known(spec, f"evaluation of {evaluation.weights} has column", evaluation.values, columns)


def _check_qualities(spec: Spec) -> None:
    """Each cell at a point of a sweep has one quality: its column's or its row's."""
    measured = [row for row in spec.rows or () if row.experiment]
    for column in spec.columns:
        if column.at is None:
            continue
        if column.at.quality is None and (spec.rows is None or any(row.quality is None for row in measured)):
            remedy = "give it to the column, or to every row with an experiment"
            raise InputError("no quality of the probes", file=spec.path, where=f"column {column.id}", remedy=remedy)
        if column.at.quality is not None and any(row.quality for row in measured):
            remedy = "leave it to the rows or to the columns"
            raise InputError("two qualities of the probes", file=spec.path, where=f"column {column.id}", remedy=remedy)


def _check_unique(spec: Spec, what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{what} {name} stands {count} times", file=spec.path, expected="once")


def _check_known(spec: Spec, what: str, names: Iterable[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{what} {name}, which is not there", file=spec.path, expected=", ".join(known))
