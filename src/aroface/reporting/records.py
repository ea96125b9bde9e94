"""Result records: reading them from disk and choosing those that a table cell or a curve is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict

from aroface.errors import InputError
from aroface.files import if_there, list_files, read_json, read_json_if_there
from aroface.schemas import validate

COLOUR = "color"
RELEASED = "released"


@dataclass(frozen=True, slots=True, order=True)
class RecordedExperiment:
    """Unit that is repeated over seeds: a method, trained on a data set, with a backbone."""

    method: str
    dataset: str
    arch: str

    def __str__(self) -> str:
        return f"{self.method}/{self.dataset}/{self.arch}"

    def named(self, labels: Mapping[str, str]) -> str:
        """The same by the printed names of method and data set."""
        return f"{labels.get(self.method, self.method)}, {labels.get(self.dataset, self.dataset)}, {self.arch}"


def variant(method: str, label: str) -> str:
    """The name of a method in an experiment with a label of its own, which tells it from others of that method."""
    return f"{method} [{label}]" if label else method


def method_of(run: str, method: str, runs: Collection[str] | None) -> str:
    """Configuration's name for the method of a run, where ``runs`` maps runs to such names; else ``method``."""
    return (runs.get(run) or method) if isinstance(runs, Mapping) else method


@dataclass(frozen=True, slots=True)
class Record:
    """One run evaluated on one benchmark.

    Attributes:
        path: File it was read from.
        run: Name of the run, also the name of the file's folder.
        experiment: Experiment that the run belongs to.
        seed: Run's seed.
        benchmark: Key of the benchmark, also the file's stem.
        protocol: ``name``, ``version`` and ``options`` of the evaluation.
        metrics: Metric name to value; rates are fractions in [0, 1].
        jackknife: Metrics without each group of people, by sampling unit, empty in records of before they were kept.
        resolution: Smallest step of each metric, empty in records of before it was kept.
        series: Points of a sensitivity sweep, empty for other protocols.
        curves: Operating curves by name, empty for protocols without one and in records of before they were kept.
        provenance: Recipe, hashes, commit and the command that made the record.
    """

    path: Path
    run: str
    experiment: RecordedExperiment
    seed: int
    benchmark: str
    protocol: Mapping[str, Any]
    metrics: Mapping[str, float]
    jackknife: Sequence[Mapping[str, Any]]
    resolution: Mapping[str, float]
    series: Sequence[Mapping[str, Any]]
    curves: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]

    @property
    def released(self) -> bool:
        """True if its weights were released by others."""
        return bool(self.provenance.get("source") == RELEASED)


class Selection(TypedDict, total=False):
    """Choice of the records and runs that are shown, and their names; :func:`read_runs_file` gives it.

    Attributes:
        runs: Names of the runs that count; all that are there if left out. Where experiments have labels, a mapping
            to the names of their methods.
        experiments: Those that are shown, in order; all that have results if left out.
        labels: Printed names of methods and data sets by their keys; a key without one is printed itself.
    """

    runs: Collection[str] | None
    experiments: Sequence[RecordedExperiment] | None
    labels: Mapping[str, str]


def selected(shown: Selection) -> tuple[Collection[str] | None, Sequence[RecordedExperiment] | None, Mapping[str, str]]:
    """Runs, experiments and labels of a selection, None and no labels for what it leaves out."""
    return shown.get("runs"), shown.get("experiments"), shown.get("labels", {})


def load_records(folder: str | PathLike[str], runs: Collection[str] | None = None) -> tuple[Record, ...]:
    """Read every ``{run}/{benchmark}.json`` under ``folder``, in the order of their names.

    A record that is being replaced, and so missing at this moment, is left out like one that is not there yet.

    Args:
        folder: ``results/records``; a folder that does not exist holds no records.
        runs: Names of the runs that count, as `Selection` has them; None counts every run that is there.

    Raises:
        InputError: ``folder`` is a file; a file in it is no valid record, or lies under another run's or benchmark's
            name.
    """
    if Path(folder).is_file():
        raise InputError("a file", file=folder, expected="a folder of records")
    paths = (
        path
        for path in list_files(folder, "*/*.json")
        # A record that is being written at this moment has a temporary name that begins with a dot.
        if not path.name.startswith(".") and (runs is None or path.parent.name in runs)
    )
    contents = ((path, _content(path)) for path in paths)
    return tuple(_record(path, content, runs) for path, content in contents if content is not None)


def _content(path: Path) -> Any | None:
    """Content of a record, valid; None where it is not there."""
    status = if_there(path.stat)
    return None if status is None else _valid(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=2048)
def _valid(path: Path, _version: tuple[int, int, int]) -> Any | None:
    # An export shows the same records in many tables and figures, and checking them takes longer than all else.
    content = read_json_if_there(path)
    if content is not None:
        validate(content, "record", file=path)
    return content


def read_runs_file(path: str | PathLike[str] | None) -> Selection:
    """The runs that count, their experiments and the printed names, as a plan lists them.

    Args:
        path: ``plan/runs-….json``; None where every record counts.

    Returns:
        Arguments ``runs``, ``experiments`` and ``labels`` of the functions that render.

    Raises:
        InputError: The file is missing or is no such list.
    """
    if path is None:
        return {}
    listing = read_json(path)
    try:
        experiments = [RecordedExperiment(**entry) for entry in listing["experiments"]]
        runs: Collection[str] = listing["runs"]
        if variants := listing.get("variants"):
            runs = {run: variants.get(run, "") for run in runs}
        return {"runs": runs, "experiments": experiments, "labels": listing["labels"]}
    except (AttributeError, KeyError, TypeError) as error:
        expected = "keys runs, experiments, labels"
        raise InputError(f"no list of runs ({error})", file=path, expected=expected, remedy="plan again") from None


def _record(path: Path, content: Any, runs: Collection[str] | None) -> Record:
    """Check the place of one record."""
    expected = f"{content['run']}/{content['benchmark']}.json"
    if path.parts[-2:] != tuple(expected.split("/")):
        raise InputError("the record is in the wrong place", file=path, expected=expected)
    experiment = content["experiment"]
    return Record(
        path=path,
        run=content["run"],
        experiment=RecordedExperiment(
            method_of(content["run"], experiment["method"], runs), experiment["dataset"], experiment["arch"]
        ),
        seed=experiment["seed"],
        benchmark=content["benchmark"],
        protocol=content["protocol"],
        metrics=content["metrics"],
        jackknife=content.get("jackknife", ()),
        resolution=content.get("resolution", {}),
        series=content.get("series", ()),
        curves=content.get("curves", {}),
        provenance=content["provenance"],
    )


def select(records: Iterable[Record], experiment: RecordedExperiment, benchmark: str) -> tuple[Record, ...]:
    """The records of one experiment on one benchmark, one for each seed, in the order of the seeds.

    Raises:
        InputError: A seed has several runs (recipes), or the seeds were not trained and evaluated alike.
    """
    matching = [record for record in records if record.experiment == experiment and record.benchmark == benchmark]
    seeds: dict[int, Record] = {}
    for record in sorted(matching, key=lambda record: (record.seed, record.run)):
        if record.seed in seeds:
            rivals = [rival for rival in matching if rival.seed == record.seed]
            raise InputError(
                f"{experiment} has {len(rivals)} runs of seed {record.seed}: {', '.join(r.run for r in rivals)}",
                file=record.path.parents[1],
                where=benchmark,
                expected="one",
                remedy="say which runs are current (--runs-file), or move the superseded records away",
            )
        seeds[record.seed] = record
    chosen = tuple(seeds.values())
    for record in chosen[1:]:
        _same("recipe", chosen[0], record, chosen[0].provenance["recipe"], record.provenance["recipe"])
        _same("data", chosen[0], record, chosen[0].provenance["data"], record.provenance["data"])
        _same("protocol", chosen[0], record, chosen[0].protocol, record.protocol)
    return chosen


def check_comparable(records: Sequence[Record]) -> None:
    """Refuse records of one benchmark that must not stand in one column.

    Colour order is the only option of a protocol that may differ: it belongs to the model, not to the measurement.

    Raises:
        InputError: Two records differ in the benchmark's files, the protocol, its version or its options.
    """
    for record in records[1:]:
        first = records[0]
        _same("protocol", first, record, _measurement(first), _measurement(record))
        hashes = [each.provenance["benchmark_manifest_hash"] for each in (first, record)]
        _same("benchmark", first, record, {"manifest_hash": hashes[0]}, {"manifest_hash": hashes[1]})


def _measurement(record: Record) -> dict[str, Any]:
    options = {key: value for key, value in record.protocol["options"].items() if key != COLOUR}
    return {**record.protocol, "options": options}


def _same(what: str, first: Record, second: Record, one: Any, other: Any) -> None:
    difference = _difference(one, other, what)
    if difference is None:
        return
    key, mine, yours = difference
    raise InputError(
        f"{key} is {yours!r}",
        file=second.path,
        expected=f"{mine!r} as in {first.run}, for the two stand in one place of the table",
        remedy="say which runs are current (--runs-file), or evaluate both alike",
    )


def _difference(one: Any, other: Any, key: str) -> tuple[str, Any, Any] | None:
    """The first place where two JSON values differ, as a dotted key and the two values; None if they are equal."""
    if one == other:
        return None
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return key, one, other
    for name in sorted({*one, *other}):
        difference = _difference(one.get(name), other.get(name), f"{key}.{name}")
        if difference is not None:
            return difference
    return None
