"""The plan: from a configuration to runs, benchmarks, tables and figures, with the files that describe them.

Files that jobs start from are named after a hash of their content. Whatever changes what a job would compute changes a
name, so that results of the old kind stay beside those of the new; whatever does not, changes nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from aroface import result_versions
from aroface.datasets.registry import Checkpoint
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.protocols import find_protocol
from aroface.errors import InputError
from aroface.files import HASH_DIGITS, digest
from aroface.planning.config import (
    CHECKPOINTS,
    Configuration,
    Experiment,
    read_configuration,
    read_experiments,
    read_methods,
)
from aroface.planning.data_sources import DataSource, Sources, write_if_new
from aroface.planning.site import SITE_FILE
from aroface.results import Results
from aroface.training.execution import command_line
from aroface.training.recipe import fitting_processes, recipe_hash

SCHEMA = 1

_COLOR = "RGB"  # of the input of trained and of imported networks


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One training, or the import of released weights.

    Attributes:
        name: ``{method}-{dataset}-{arch}-s{seed}-{first digits of the hash}``, of released weights with ``released``
            in the place of the seed.
        experiment: Experiment that it belongs to.
        seed: Seed of the run.
        source: Training set, or the file of the released weights.
        hash: Hash of all that decides its weights.
    """

    name: str
    experiment: Experiment
    seed: int
    source: DataSource
    hash: str

    def entry(self) -> dict[str, Any]:
        """Content of ``results/recipes/{run}.json``."""
        named = {
            "schema": SCHEMA,
            "run": self.name,
            "experiment": {**self.experiment.trained, "seed": self.seed},
        }
        released = self.experiment.released
        if released is not None:
            described = {
                "checkpoint": released.key,
                "color": released.color,
                **_normalisation(released),
                "file_hash": self.source.manifest_hash,
            }
            return {**named, "released": described, "semantics": result_versions.IMPORT}
        return {
            **named,
            "recipe": self.experiment.recipe,
            "recipe_hash": self.hash,
            "data": {"name": self.source.name, "manifest_hash": self.source.manifest_hash},
            "semantics": result_versions.TRAINING,
        }

    @property
    def import_arguments(self) -> str:
        """Arguments of ``aroface model import``, all but where the run goes, if its weights are released."""
        released, experiment = self.experiment.released, self.experiment
        if released is None:
            return ""
        args = [self.source.path.as_posix(), "--color", released.color, "--arch", experiment.arch, "--name", self.name]
        for key, value in _normalisation(released).items():
            args += [f"--{key}={value:g}"]
        return shlex.join([*args, "--method", experiment.method, "--dataset", experiment.dataset])


def _normalisation(released: Checkpoint) -> dict[str, float]:
    """Mean and divisor of pixels where a registry states them."""
    stated = {"mean": released.mean, "std": released.std}
    return {key: value for key, value in stated.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PlannedBenchmark:
    """Evaluation set, and the way in which runs are evaluated on it.

    Attributes:
        name: Name by which tables know it.
        source: Data set.
        spec: Specification as ``benchmark_spec.schema.json`` describes it.
        file: File of the specification.
        trained_on: Training sets whose runs are evaluated; None for all.
    """

    name: str
    source: DataSource
    spec: dict[str, Any]
    file: Path
    trained_on: frozenset[str] | None

    @property
    def version(self) -> int:
        """Version of the protocol."""
        return result_versions.protocol_version(self.spec["protocol"])

    def evaluates(self, experiment: Experiment) -> bool:
        """True if the runs of this experiment are evaluated on it."""
        asked = experiment.benchmarks is None or self.name in experiment.benchmarks
        return asked and (self.trained_on is None or experiment.dataset in self.trained_on)


class Devices(NamedTuple):
    """Devices of one training, over all of its nodes.

    Attributes:
        processes: Number of processes, one a GPU.
        gpus: Number of GPUs; 0 on CPUs.
        nodes: Number of nodes, each with an equal share of both.
    """

    processes: int
    gpus: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a configuration asks for.

    Attributes:
        configuration: Configuration that it was made from.
        sources: Data sets that it names.
        runs: Runs by name.
        benchmarks: Benchmarks by name.
        labels: Printed names of methods and training sets, and of benchmarks that are made here.
    """

    configuration: Configuration
    sources: Sources
    runs: dict[str, PlannedRun]
    benchmarks: dict[str, PlannedBenchmark]
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
    def results(self) -> Results:
        """Folder of all that is computed."""
        return self.configuration.results

    @property
    def runs_file(self) -> Path:
        """List of the runs, for tables and figures; :meth:`write` writes it."""
        return self.results.run_list(digest(self._listing(), HASH_DIGITS))

    def devices(self, experiment: Experiment, nodes: int = 1) -> Devices:
        """Devices of the training of an experiment.

        Some recipes keep only so many processes busy. Such a training gets no more GPUs than processes, and no more
        nodes than it needs with the share that each node has of a training on all GPUs.

        Args:
            experiment: One that is trained.
            nodes: Number of nodes that a training on all GPUs of the configuration is spread over.

        Raises:
            InputError: The processes or GPUs cannot be split evenly over the nodes.
        """
        all_gpus = int(self.values["resources"]["train"]["gpus"])
        asked = int(self.values["training"]["processes"] or max(1, all_gpus))
        recipe = experiment.recipe or {}
        processes = fitting_processes(asked, recipe.get("batch_size", asked), recipe.get("images_per_pass"))
        gpus = min(all_gpus, processes)
        if asked % nodes == all_gpus % nodes == 0:
            for fewer in range(1, nodes + 1):
                if processes % fewer == gpus % fewer == 0 and processes // fewer <= asked // nodes:
                    return Devices(processes, gpus, fewer)
        raise InputError(
            f"{processes} processes on {gpus} GPUs of {experiment.variant} on {nodes} nodes",
            file=SITE_FILE,
            where="nodes",
            expected="as many on each node",
            remedy="see training.processes and resources.train.gpus of the configuration",
        )

    @property
    def execution(self) -> str:
        """Arguments of ``aroface train`` for the execution of a training, beside the number of processes."""
        arguments = command_line(self.values["training"])
        validate = self.values["training"]["validate"]
        if validate:
            arguments += ["--validate", *(f"{name}={self.benchmarks[name].source.path}" for name in validate)]
        return shlex.join(arguments)

    def recipe_file(self, run: str) -> Path:
        """Recipe of a run; :meth:`write` writes it."""
        return self.results.recipe(run)

    def records(
        self, benchmarks: Iterable[str | None] | None = None, rows: Sequence[Mapping[str, str]] | None = None
    ) -> list[Path]:
        """Records of runs on benchmarks; with ``render_only`` those that are there.

        Args:
            benchmarks: Names of benchmarks, those that are not configured left aside; None for all.
            rows: Parts of experiments, such as ``{"method": "arcface"}``, one of which a run must match; None for all.
        """
        paths = [
            self.results.record(run.name, benchmark.name)
            for run in self.runs.values()
            if rows is None or any(row.items() <= run.experiment.described.items() for row in rows)
            for benchmark in self.benchmarks.values()
            if (benchmarks is None or benchmark.name in benchmarks) and benchmark.evaluates(run.experiment)
        ]
        return [path for path in paths if path.exists()] if self.values["render_only"] else paths

    def missing(self) -> list[str]:
        """A line for each data set and each checkpoint that the plan names and that is not there."""
        sources = [run.source for run in self.runs.values()]
        sources += [benchmark.source for benchmark in self.benchmarks.values()]
        return list(dict.fromkeys(source.missing for source in sources if source.missing))

    def missing_for(self, rule: str, wildcards: Mapping[str, str]) -> str | None:
        """The line of the received set or checkpoint that a job needs and that is not there; None if it can run."""
        if rule in ("train", "import_released"):
            return self.runs[wildcards["run"]].source.missing
        if rule.startswith("verify_"):
            return next(source.missing for source in self.sources.received if rule == f"verify_{source.name}")
        return self.benchmarks[wildcards["benchmark"]].source.missing if rule == "embed" else None

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
        variants = {name: run.experiment.variant for name, run in self.runs.items() if run.experiment.label}
        return {
            "schema": SCHEMA,
            "runs": list(self.runs),
            "experiments": list(experiments.values()),
            "labels": self.labels,
            **({"variants": variants} if variants else {}),
        }


def make_plan(files: Sequence[Path], changes: Mapping[str, Any] | None = None, *, root: Path = Path()) -> Plan:
    """Read a configuration and plan all that it asks for; nothing is written.

    Args:
        files: Configuration files; the last one wins.
        changes: Keys given on Snakemake's command line.
        root: Folder of the repository, which registries and table specifications are relative to.

    Raises:
        InputError: One line with file and key.
    """
    configuration = read_configuration(files, changes, root=root)
    sources = Sources(configuration, root=root)
    runs = _runs(configuration, sources, root)
    benchmarks = _benchmarks(configuration, sources)
    for benchmark in benchmarks.values():
        untrained = (benchmark.trained_on or frozenset()) - {run.experiment.dataset for run in runs.values()}
        if untrained:
            problem = f"no experiment trains on {', '.join(sorted(untrained))}"
            raise InputError(problem, file=configuration.file, where=f"benchmarks: {benchmark.name}: trained_on")
    for number, entry in enumerate(configuration.values["experiments"]):
        unknown = [name for name in entry.get("benchmarks", ()) if name not in benchmarks]
        if unknown:
            record, expected = f"experiments.{number}.benchmarks", f"one of {', '.join(benchmarks)}"
            raise InputError(
                f"unknown benchmark {unknown[0]!r}", file=configuration.file, where=record, expected=expected
            )
    for number, name in enumerate(configuration.values["training"]["validate"]):
        pairs = [benchmark.name for benchmark in benchmarks.values() if benchmark.source.kind == "pairs"]
        if name not in pairs:
            record, expected = f"training.validate.{number}", f"one of the benchmarks {', '.join(pairs)}"
            raise InputError(f"no labelled pairs {name!r}", file=configuration.file, where=record, expected=expected)
    imported = [run.experiment.released for run in runs.values() if run.experiment.released is not None]
    labels = {released.method: released.method_label for released in imported if released.method_label is not None}
    labels |= {key: method["label"] for key, method in read_methods(root).items()}
    labels |= {run.experiment.dataset: _training_label(run, sources) for run in runs.values()}
    for experiment in (run.experiment for run in runs.values() if run.experiment.label):
        labels[experiment.variant] = f"{labels[experiment.method]} ({experiment.label})"
    used = {name for run in runs.values() for name in _names(run.experiment)}
    made = {name: each.source.label for name, each in benchmarks.items() if each.source.label != each.source.name}
    return Plan(
        configuration,
        sources,
        runs,
        benchmarks,
        {
            # Received benchmarks have their titles in the registry.
            **{name: label for name, label in made.items() if not benchmarks[name].source.received},
            **{key: label for key, label in labels.items() if key in used},
        },
    )


def _runs(configuration: Configuration, sources: Sources, root: Path) -> dict[str, PlannedRun]:
    runs: dict[str, PlannedRun] = {}
    for experiment in read_experiments(configuration, root=root):
        released, key = experiment.released, experiment.trained.values()
        if released is not None:
            source = sources.released(released)
            decided = {"file": source.manifest_hash, "color": released.color, **_normalisation(released)}
            hash_ = digest({**decided, "semantics": result_versions.IMPORT})
            name = "-".join([*key, "released", hash_[:HASH_DIGITS]])
            runs[name] = PlannedRun(name, experiment, experiment.seeds[0], source, hash_)
            continue
        source = sources.training_set(experiment.dataset, f"{experiment.where}.dataset")
        for seed in experiment.seeds:
            hash_ = recipe_hash(experiment.recipe or {}, source.manifest_hash, seed, result_versions.TRAINING)
            name = "-".join([*key, f"s{seed}", hash_[:HASH_DIGITS]])
            if name in runs:
                other = runs[name].experiment
                raise InputError(
                    f"{experiment.variant!r} is the same training as {other.variant!r} of {other.where}",
                    file=configuration.file,
                    where=experiment.where,
                    remedy="leave one of them out: a label alone changes nothing",
                )
            runs[name] = PlannedRun(name, experiment, seed, source, hash_)
    return runs


def _names(experiment: Experiment) -> tuple[str, str, str]:
    """Keys whose printed names an experiment needs."""
    return experiment.method, experiment.variant, experiment.dataset


def _training_label(run: PlannedRun, sources: Sources) -> str:
    """The printed name of what a run was trained on, which need not be there if its weights are released."""
    released = run.experiment.released
    if released is None:
        return run.source.label
    return sources.training_label(run.experiment.dataset, f"{CHECKPOINTS}: {released.key}.dataset")


def _benchmarks(configuration: Configuration, sources: Sources) -> dict[str, PlannedBenchmark]:
    benchmarks: dict[str, PlannedBenchmark] = {}
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
        protocol = find_protocol(spec["protocol"], file=configuration.file, where=f"{record}.protocol")
        if source.kind not in protocol.set_kinds:
            raise InputError(f"protocol {spec['protocol']} on {source.kind}", file=configuration.file, where=record)
        spec = resolve(spec, file=f"{configuration.file}: {record}")
        if spec["options"]["color"] != _COLOR:
            problem = f"the colour order {spec['options']['color']}"
            expected = f"{_COLOR}, which all networks of the workflow take: imported weights are turned"
            raise InputError(problem, file=configuration.file, where=f"{record}.options.color", expected=expected)
        if source.target is not None:
            protocol.check_options(source.target, spec["options"])  # better now than after the training
        if spec["name"] in benchmarks:
            raise InputError(f"{spec['name']} is declared twice", file=configuration.file, where=record)
        decisive = {key: spec[key] for key in ("protocol", "options")}
        hash_ = digest({**decisive, "data": source.manifest_hash, "semantics": result_versions.EMBEDDING}, HASH_DIGITS)
        trained_on = declared.get("trained_on")
        file = configuration.results.benchmark(spec["name"], hash_)
        benchmarks[spec["name"]] = PlannedBenchmark(
            spec["name"], source, spec, file, trained_on and frozenset(trained_on)
        )
    return benchmarks
