"""The plan: from a configuration to runs, benchmarks, tables and figures, with the files that describe them.

Files that jobs start from are named after a hash of their content. Whatever changes what a job would compute changes a
name, so that results of the old kind stay beside those of the new; whatever does not, changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroface import semantics
from aroface.config import Configuration, Experiment, read_configuration, read_experiments, read_methods
from aroface.embedding.spec import resolve
from aroface.errors import InputError
from aroface.files import HASH_DIGITS, digest
from aroface.sources import Source, Sources, write_if_new
from aroface.training.recipe import recipe_hash

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Run:
    """One training.

    Attributes:
        name: ``{method}-{dataset}-{arch}-s{seed}-{first digits of the hash}``.
        experiment: what it belongs to.
        seed: its seed.
        source: its training set.
        hash: of all that decides its weights.
    """

    name: str
    experiment: Experiment
    seed: int
    source: Source
    hash: str

    def entry(self) -> dict[str, Any]:
        """Content of ``results/recipes/{run}.json``."""
        return {
            "schema": SCHEMA,
            "run": self.name,
            "experiment": {**self.experiment.described, "seed": self.seed},
            "recipe": self.experiment.recipe,
            "recipe_hash": self.hash,
            "data": {"name": self.source.name, "manifest_hash": self.source.manifest_hash},
            "semantics": semantics.TRAINING,
        }


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What runs are evaluated on, and how.

    Attributes:
        name: by which tables know it.
        source: the data.
        spec: as ``benchmark_spec.schema.json`` describes it.
        file: where that is written.
        trained_on: training sets whose runs are evaluated; None for all.
    """

    name: str
    source: Source
    spec: dict[str, Any]
    file: Path
    trained_on: frozenset[str] | None

    @property
    def version(self) -> int:
        """Version of the protocol."""
        return semantics.PROTOCOLS[self.spec["protocol"]]

    def evaluates(self, experiment: Experiment) -> bool:
        """Whether the runs of this experiment are evaluated on it."""
        return self.trained_on is None or experiment.dataset in self.trained_on


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a configuration asks for.

    Attributes:
        configuration: what it was made from.
        sources: the data sets it names.
        runs: by name.
        benchmarks: by name.
        labels: printed names of methods and training sets.
    """

    configuration: Configuration
    sources: Sources
    runs: dict[str, Run]
    benchmarks: dict[str, Benchmark]
    labels: dict[str, str]

    @property
    def file(self) -> str:
        """The configuration's files, as errors call them."""
        return self.configuration.file

    @property
    def values(self) -> dict[str, Any]:
        """The configuration."""
        return self.configuration.values

    @property
    def results(self) -> Path:
        """Folder of all that is computed."""
        return Path(self.values["paths"]["results"])

    @property
    def runs_file(self) -> Path:
        """Where :meth:`write` lists the runs, for tables and figures."""
        return self.results / "plan" / f"runs-{digest(self._listing(), HASH_DIGITS)}.json"

    def recipe_file(self, run: str) -> Path:
        """Where :meth:`write` puts the recipe of a run."""
        return self.results / "recipes" / f"{run}.json"

    def records(
        self, benchmarks: Iterable[str | None] | None = None, rows: Sequence[Mapping[str, str]] | None = None
    ) -> list[Path]:
        """Records of runs on benchmarks; with ``render_only`` those that are there.

        Args:
            benchmarks: names of benchmarks, those that are not configured left aside; None for all.
            rows: parts of experiments, such as ``{"method": "arcface"}``, one of which a run must match; None for all.
        """
        found = [
            self.results / "records" / run.name / f"{benchmark.name}.json"
            for run in self.runs.values()
            if rows is None or any(row.items() <= run.experiment.described.items() for row in rows)
            for benchmark in self.benchmarks.values()
            if (benchmarks is None or benchmark.name in benchmarks) and benchmark.evaluates(run.experiment)
        ]
        return [path for path in found if path.exists()] if self.values["render_only"] else found

    def missing(self) -> list[str]:
        """A line for each data set that the plan names and that is not there."""
        sources = [run.source for run in self.runs.values()]
        sources += [benchmark.source for benchmark in self.benchmarks.values()]
        return list(dict.fromkeys(source.missing for source in sources if source.missing))

    def missing_for(self, rule: str, wildcards: Mapping[str, str]) -> str | None:
        """The line of the received set that a job needs and that is not there; None if it can run."""
        if rule == "train":
            return self.runs[wildcards["run"]].source.missing
        if rule.startswith("verify_"):
            return next(each.missing for each in self.sources.received if rule == f"verify_{each.name}")
        shown = wildcards.get("benchmark", rule.removeprefix("figure_"))
        needs = rule == "embed" or rule.startswith("figure_")
        return self.benchmarks[shown].source.missing if needs else None

    def write(self) -> None:
        """Write the files that jobs start from; those that are there and say the same are left alone."""
        self.sources.write()
        for run in self.runs.values():
            write_if_new(self.recipe_file(run.name), run.entry())
        for benchmark in self.benchmarks.values():
            write_if_new(benchmark.file, benchmark.spec)
        write_if_new(self.runs_file, self._listing())

    def _listing(self) -> dict[str, Any]:
        experiments = {run.experiment.key: run.experiment.described for run in self.runs.values()}
        return {
            "schema": SCHEMA,
            "runs": list(self.runs),
            "experiments": list(experiments.values()),
            "labels": self.labels,
        }


def make_plan(files: Sequence[Path], changes: Mapping[str, Any] | None = None, *, root: Path = Path()) -> Plan:
    """Read a configuration and plan all that it asks for; nothing is written.

    Args:
        files: configuration files; the last one wins.
        changes: keys given on Snakemake's command line.
        root: folder of the repository, which registries and table specifications are relative to.

    Raises:
        InputError: one line with file and key.
    """
    configuration = read_configuration(files, changes, root=root)
    sources = Sources(configuration, root=root)
    runs = _runs(configuration, sources, root)
    benchmarks = _benchmarks(configuration, sources)
    for benchmark in benchmarks.values():
        untrained = (benchmark.trained_on or frozenset()) - {run.source.name for run in runs.values()}
        if untrained:
            what = f"no experiment trains on {', '.join(sorted(untrained))}"
            raise InputError(what, file=configuration.file, record=f"benchmarks: {benchmark.name}: trained_on")
    labels = {key: method["label"] for key, method in read_methods(root).items()}
    labels |= {run.source.name: run.source.label for run in runs.values()}
    used = {run.experiment.method for run in runs.values()} | {run.source.name for run in runs.values()}
    return Plan(
        configuration,
        sources,
        runs,
        benchmarks,
        {key: label for key, label in labels.items() if key in used},
    )


def offer_package(root: Path) -> None:
    """Let jobs find the python that runs this process, and this package in whatever environment they activate."""
    _extend("PATH", Path(sys.executable).parent, first=True)
    _extend("PYTHONPATH", root.resolve() / "src", first=False)


def _extend(variable: str, folder: Path, *, first: bool) -> None:
    others = [part for part in os.environ.get(variable, "").split(os.pathsep) if part]
    os.environ[variable] = os.pathsep.join([str(folder), *others] if first else [*others, str(folder)])


def _runs(configuration: Configuration, sources: Sources, root: Path) -> dict[str, Run]:
    runs = {}
    for number, experiment in enumerate(read_experiments(configuration, root=root)):
        source = sources.training_set(experiment.dataset, f"experiments.{number}.dataset")
        for seed in experiment.seeds:
            hash_ = recipe_hash(experiment.recipe, source.manifest_hash, seed, semantics.TRAINING)
            name = "-".join([*experiment.key, f"s{seed}", hash_[:HASH_DIGITS]])
            runs[name] = Run(name, experiment, seed, source, hash_)
    return runs


def _benchmarks(configuration: Configuration, sources: Sources) -> dict[str, Benchmark]:
    benchmarks: dict[str, Benchmark] = {}
    for number, declared in enumerate(configuration.values["benchmarks"]):
        record = f"benchmarks.{number}"
        if isinstance(declared, str):
            declared = {"name": declared, "data": declared}
        source = sources.benchmark(declared["data"], record)
        spec = {
            "name": declared["name"],
            "protocol": declared.get("protocol", source.kind),
            "path": source.path.as_posix(),
            "options": {**(source.options or {}), **declared.get("options", {})},
        }
        spec = resolve(spec, file=f"{configuration.file}: {record}")
        if {"sensitivity": "pairs"}.get(spec["protocol"], spec["protocol"]) != source.kind:
            raise InputError(f"protocol {spec['protocol']} on {source.kind}", file=configuration.file, record=record)
        if spec["name"] in benchmarks:
            raise InputError(f"{spec['name']} is declared twice", file=configuration.file, record=record)
        decisive = {key: spec[key] for key in ("protocol", "options")}
        hash_ = digest({**decisive, "data": source.manifest_hash, "semantics": semantics.EMBEDDING}, HASH_DIGITS)
        trained_on = declared.get("trained_on")
        file = source.path.parents[2] / "benchmarks" / f"{spec['name']}-{hash_}.json"
        benchmarks[spec["name"]] = Benchmark(spec["name"], source, spec, file, trained_on and frozenset(trained_on))
    return benchmarks
