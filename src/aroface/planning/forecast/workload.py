"""The jobs of a plan, with what each takes and needs: for the time until everything is done.

A training takes the start of a job and what :mod:`.costs` says, nothing more where that is not known.
Features of ``R`` rows take, with the device's sustained floating-point operations a second ``S``,

    start + R · (2 with flip, else 1) · 2 · multiply_adds / (S(fp32) · devices)

Starts, verification and evaluation are what ``throughput.yaml`` says under ``jobs``. Making sets and rendering take no
time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from aroface.datasets.formats.registry import FORMATS
from aroface.errors import InputError
from aroface.models.footprint_table import find_footprint
from aroface.planning.data_sources import DataSource
from aroface.planning.forecast.costs import CPU, Costs
from aroface.planning.forecast.simulation import (
    SimulatedJob,
    SimulatedSchedule,
    chain_hours,
    cluster_of,
    longest_chain,
    simulate,
)
from aroface.planning.plan import Plan, PlannedRun
from aroface.planning.site import SITE_FILE, read_site

DEFAULT_GPUS, DEFAULT_GPUS_PER_NODE = 16, 4
COMPARED_GPUS = (4, 8, 16, 32)
KINDS = ("data", "import", "train", "embed", "evaluate", "render")

_OPERATIONS = 2  # of a multiply-add
_DATA_VERBS = ("verify", "generate", "pack", "fetch")


class Task(NamedTuple):
    """A job of the workflow: its rule, and its run and benchmark where it has any."""

    rule: str
    run: str | None = None
    benchmark: str | None = None

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`."""
        known = {"train": "train", "embed": "embed", "evaluate": "evaluate", "import_released": "import"}
        return known.get(self.rule, "data" if self.rule.split("_")[0] in _DATA_VERBS else "render")

    @property
    def name(self) -> str:
        """Rule, run and benchmark."""
        return " ".join(part for part in self if part)


@dataclass(frozen=True, slots=True)
class Site:
    """GPUs that a plan may count on.

    Attributes:
        gpus: All of them.
        gpus_per_node: Number of GPUs of one node.
        nodes: Number of nodes that a training is spread over.
        max_hours: Time limit of a GPU job; None where the configuration alone says.
        scheduler: True if jobs that run at once get different GPUs, as from Slurm. On a machine without it a training
            holds all GPUs of the configuration, for every one begins with the first.
    """

    gpus: int
    gpus_per_node: int
    nodes: int
    max_hours: float | None
    scheduler: bool = True


def find_site(
    plan: Plan,
    *,
    root: Path = Path(),
    gpus: int | None = None,
    gpus_per_node: int | None = None,
    scheduler: bool = True,
) -> Site:
    """Read the GPUs from ``slurm/site.yaml`` and the configuration, where the caller does not name them.

    Args:
        plan: Plan of the configuration.
        root: Folder of the repository.
        gpus: All of them; 16 where nobody says, or what one training takes, in whole nodes.
        gpus_per_node: 4 where nobody says, or what one training takes of a node.
        scheduler: See `Site`.

    Raises:
        InputError: The file is malformed.
    """
    settings = read_site(root / SITE_FILE)
    queue, nodes = settings.get("gpu", {}), settings.get("nodes", 1)
    asked = plan.values["resources"]["train"]["gpus"]
    per_node = gpus_per_node or queue.get("per_node") or max(DEFAULT_GPUS_PER_NODE, -(-asked // nodes))
    number = gpus or queue.get("count") or per_node * -(-max(DEFAULT_GPUS, asked) // per_node)
    return Site(number, per_node, nodes, queue.get("max_hours"), scheduler)


def tasks_to_do(plan: Plan) -> list[Task]:
    """The jobs of a plan whose results are not there yet, without those that render them.

    Snakemake may find more: results that are older than what they were made from.
    """
    if plan.values["render_only"]:
        return []
    tasks, sets = [], {}
    for run in plan.runs.values():
        trained = plan.results.run(run.name).checkpoint.exists()
        if not trained:
            tasks.append(Task("train" if run.experiment.released is None else "import_released", run.name))
            sets[run.source.name] = run.source
        for benchmark in plan.benchmarks.values():
            if not benchmark.evaluates(run.experiment):
                continue
            if plan.results.record(run.name, benchmark.name).exists():
                continue
            if not plan.results.features(run.name, benchmark.name).index.exists():
                tasks.append(Task("embed", run.name, benchmark.name))
                sets[benchmark.source.name] = benchmark.source
            tasks.append(Task("evaluate", run.name, benchmark.name))
    made = {name: _data_rule(plan, source) for name, source in sets.items() if not source.manifest.exists()}
    return [*(Task(rule) for rule in dict.fromkeys(made.values()) if rule), *tasks]


def workload(plan: Plan, costs: Costs, tasks: Iterable[Task], site: Site) -> list[SimulatedJob]:
    """Jobs with hours, GPUs and what they wait for, in the plan's order, of the tasks that are to be done.

    Args:
        plan: Plan of the configuration.
        costs: Costs of that plan.
        tasks: Rendering may be among them and is left out.
        site: Site with the number of nodes of a training and its time limit.

    Raises:
        InputError: A time limit is too short for anything to get done.
    """
    order = {name: rank for rank, name in enumerate([*plan.runs, *plan.benchmarks])}

    def rank(task: Task) -> tuple[Any, ...]:
        return KINDS.index(task.kind), order.get(task.run or "", 0), order.get(task.benchmark or "", 0), task.rule

    chosen = {task.name: task for task in sorted(tasks, key=rank) if task.kind != "render"}
    made = _Hours(plan, costs)
    return [_job(task, chosen, plan, made, site) for task in chosen.values()]


def count_kinds(tasks: Iterable[Task]) -> dict[str, int]:
    """Number of tasks of each kind, of the kinds that occur."""
    counts = Counter(task.kind for task in tasks)
    return {kind: counts[kind] for kind in KINDS if counts[kind]}


@dataclass(frozen=True)
class Outlook:
    """Forecast of a plan's jobs on a certain number of GPUs.

    Attributes:
        counts: Number of jobs by kind.
        jobs: Those that take time.
        chain: Longest one of them.
        makespans: Hours until everything is done, by number of GPUs, where all jobs fit.
        feature_hours: GPU-hours of features.
        uncounted: Benchmarks among them of which nobody knows the number of images yet.
        schedule: Schedule on the site's GPUs.
    """

    counts: Mapping[str, int]
    jobs: Sequence[SimulatedJob]
    chain: Sequence[SimulatedJob]
    makespans: Mapping[int, float]
    feature_hours: float
    uncounted: Sequence[str]
    schedule: SimulatedSchedule

    @property
    def makespan(self) -> float:
        """Hours until everything is done on the site's GPUs."""
        return self.schedule.makespan

    @property
    def chain_hours(self) -> float:
        """Hours of the longest chain."""
        return chain_hours(self.chain)


def find_outlook(plan: Plan, costs: Costs, tasks: Iterable[Task], site: Site) -> Outlook:
    """Simulate the tasks on the site's GPUs, and on 4, 8, 16 and 32 that fit.

    Raises:
        InputError: A job does not fit on the site's nodes.
    """
    asked = list(tasks)
    jobs = workload(plan, costs, asked, site)
    schedule = simulate(jobs, cluster_of(site.gpus, site.gpus_per_node, jobs))
    makespans = {schedule.cluster.gpus: schedule.makespan}
    for gpus in COMPARED_GPUS:
        with suppress(InputError):  # it does not fit on so few
            cluster = cluster_of(gpus, site.gpus_per_node, jobs)
            makespans[gpus] = makespans.get(gpus) or simulate(jobs, cluster).makespan
    return Outlook(
        count_kinds(asked),
        jobs,
        longest_chain(jobs),
        dict(sorted(makespans.items())),
        sum(job.gpus * job.whole for job in jobs if job.kind == "embed"),
        sorted({task.benchmark for task in asked if task.benchmark in costs.uncounted}),
        schedule,
    )


class _Hours:
    """Estimates of jobs by kind."""

    def __init__(self, plan: Plan, costs: Costs) -> None:
        self._plan, self._costs = plan, costs
        self._jobs = costs.throughput["jobs"]

    def start(self, gpus: int) -> float:
        """Until a job computes."""
        return float(self._jobs["start_minutes"]["gpu" if gpus else "cpu"] / 60)

    def of(self, task: Task) -> float:
        """Hours on the clock, without a time limit."""
        resources = self._plan.values["resources"]
        if task.kind == "train" and task.run:
            return self.start(resources["train"]["gpus"]) + self._costs.longest([task.run])
        if task.kind == "embed" and task.run and task.benchmark:
            hours = self._embedding(self._plan.runs[task.run], task.benchmark)
            return self.start(resources["embed"]["gpus"]) + hours
        if task.kind == "evaluate" and task.benchmark:
            rows = self._costs.rows[task.benchmark] or 0
            return self.start(0) + float(rows / self._jobs["evaluated_rows_per_s"] / 3600)
        speed = self._jobs["verified_images_per_s"] * resources["data"]["threads"]
        return self.start(0) + float(self._images(task.rule) / speed / 3600)

    def _embedding(self, run: PlannedRun, benchmark: str) -> float:
        recipe = run.experiment.recipe or {"embedding_size": 512}
        footprint = find_footprint(run.experiment.arch, recipe["embedding_size"], "fp32")
        asked = self._plan.values["resources"]["embed"]
        training, throughput = self._plan.values["training"], self._costs.throughput
        on_gpu = asked["gpus"] and training["device"] != CPU
        device = (training["gpu_type"] or throughput["default_device"]) if on_gpu else CPU
        speed = 1e12 * throughput["devices"][device]["sustained_tflops"]["fp32"]
        passes = 2 if self._plan.benchmarks[benchmark].spec["options"].get("flip") else 1
        work = (self._costs.rows[benchmark] or 0) * passes * _OPERATIONS * footprint.multiply_adds
        return float(work / speed / (asked["gpus"] if on_gpu else asked["threads"]) / 3600)

    def _images(self, rule: str) -> int:
        """Images of the set that a rule verifies; 0 of one that it makes."""
        sets = (source for source in self._plan.sources.received if rule == f"verify_{source.name}")
        return sum(FORMATS[each.kind].image_count(self._costs.counts.get(each.name, {})) for each in sets)


def _job(task: Task, chosen: Mapping[str, Task], plan: Plan, hours: _Hours, site: Site) -> SimulatedJob:
    needs = tuple(name for name in _needs(task, plan) if name in chosen)
    resources = plan.values["resources"]
    if task.kind == "train":
        asked = resources["train"]
        limit = min(asked["runtime"] / 60, site.max_hours or float("inf"))
        _, gpus, nodes = plan.devices(plan.runs[str(task.run)].experiment, site.nodes if asked["gpus"] else 1)
        gpus = gpus if site.scheduler else asked["gpus"]
        return SimulatedJob(task.name, task.kind, hours.of(task), gpus, nodes, needs, limit, hours.start(gpus))
    gpus = resources["embed"]["gpus"] if task.kind == "embed" else 0
    return SimulatedJob(task.name, task.kind, hours.of(task), gpus, needs=needs)


def _needs(task: Task, plan: Plan) -> list[str]:
    """Names of the tasks that make what a task starts from."""
    if task.run is None:
        return []
    run = plan.runs[task.run]
    if task.kind in ("train", "import"):
        return [_data_rule(plan, run.source) or ""]
    if task.kind == "evaluate":
        return [Task("embed", task.run, task.benchmark).name]
    source = plan.benchmarks[str(task.benchmark)].source
    rule = "train" if run.experiment.released is None else "import_released"
    return [Task(rule, task.run).name, _data_rule(plan, source) or ""]


def _data_rule(plan: Plan, source: DataSource) -> str | None:
    """The rule that makes or verifies a set; None of released weights, which nothing does."""
    if source.kind == "checkpoint":
        return None
    if source.received:
        return f"verify_{source.name}"
    makings = (making for making in plan.sources.makings if source.manifest in making.manifests)
    return next((f"{making.verb}_{making.name}" for making in makings), None)
