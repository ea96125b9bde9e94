"""Simulation of a queue on so many GPUs: list scheduling, event by event, with backfill.

Whenever GPUs are free, the waiting job with the longest chain of work behind it starts, if it fits; else the next. A
job that outlives its time limit gives its GPUs back, waits again, and goes on where it stopped. Jobs without GPUs start
at once. No schedule is shorter than the longest chain of jobs, nor than all GPU-hours over the number of GPUs.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from aroface.errors import InputError

_SAME_TIME = 1e-9  # hours between two ends that are one
_MOST_ATTEMPTS = 1000  # of one job; more are no plan, and would take long to simulate
_MORE_TIME = "raise its time limit: resources of the configuration, max_hours in slurm/site.yaml"


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """Something that runs once.

    Attributes:
        name: No two are alike.
        kind: Kind of work.
        hours: Duration in hours without a time limit.
        gpus: Number of GPUs that it holds.
        nodes: Number of nodes that these GPUs lie on, as many on each.
        needs: Names of the jobs that have to end before it starts.
        limit: Hours after which it has to stop; it goes on later.
        restart: Hours that going on takes before anything new is done.
    """

    name: str
    kind: str
    hours: float
    gpus: int = 0
    nodes: int = 1
    needs: tuple[str, ...] = ()
    limit: float = math.inf
    restart: float = 0.0

    def __post_init__(self) -> None:
        if self.restart >= self.limit:
            raise InputError(
                f"{self.name} takes {60 * self.restart:.0f} minutes to go on and may run for {60 * self.limit:.0f}",
                remedy=_MORE_TIME,
            )
        if self._cut_short >= _MOST_ATTEMPTS:
            raise InputError(
                f"{self.name} takes {self.hours:,.0f} h, {self._cut_short + 1:,} jobs of at most {self.limit:g} h",
                expected=f"at most {_MOST_ATTEMPTS:,}",
                remedy=f"{_MORE_TIME}, or give it GPUs (resources.train.gpus)",
            )

    @property
    def _cut_short(self) -> int:
        """Number of attempts that the time limit makes necessary."""
        return 0 if self.hours <= self.limit else math.ceil((self.hours - self.limit) / (self.limit - self.restart))

    @property
    def attempts(self) -> list[float]:
        """Hours of each time that it runs."""
        times = self._cut_short
        return [self.limit] * times + [self.hours - times * (self.limit - self.restart) if times else self.hours]

    @property
    def whole(self) -> float:
        """Hours that it runs altogether."""
        return self.hours + self._cut_short * self.restart


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes of a cluster, each with the same number of GPUs."""

    nodes: int
    gpus_per_node: int

    @property
    def gpus(self) -> int:
        """All of them."""
        return self.nodes * self.gpus_per_node


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a job runs.

    Attributes:
        job: Job that runs.
        number: Number of the attempt, from 0 on.
        start: Start in hours.
        end: End in hours.
        gpus: Numbers of those that it holds; node k has those from k times the GPUs of a node on.
    """

    job: SimulatedJob
    number: int
    start: float
    end: float
    gpus: tuple[int, ...]


@dataclass(frozen=True)
class SimulatedSchedule:
    """Times and places of all jobs."""

    cluster: Cluster
    attempts: tuple[Attempt, ...]

    @cached_property
    def makespan(self) -> float:
        """Hours until everything is done."""
        return max((attempt.end for attempt in self.attempts), default=0.0)

    @cached_property
    def gpu_hours(self) -> float:
        """Hours that GPUs are held, summed over them."""
        return sum(len(attempt.gpus) * (attempt.end - attempt.start) for attempt in self.attempts)

    @property
    def utilisation(self) -> float:
        """Share of the GPUs' time that is used, until everything is done; 1 where nothing takes time."""
        return self.gpu_hours / (self.cluster.gpus * self.makespan) if self.makespan else 1.0


def cluster_of(gpus: int, gpus_per_node: int, jobs: Sequence[SimulatedJob] = ()) -> Cluster:
    """The nodes that so many GPUs lie on; fewer GPUs than a node has are one node.

    Raises:
        InputError: They are no whole nodes, or a job does not fit on them.
    """
    nodes, left = divmod(gpus, gpus_per_node) if gpus > gpus_per_node else (1, 0)
    if left:
        raise InputError(f"{gpus} GPUs in nodes of {gpus_per_node}", expected="whole nodes")
    cluster = Cluster(nodes, min(gpus, gpus_per_node))
    for job in jobs:
        share, uneven = divmod(job.gpus, job.nodes)
        if job.gpus and (uneven or share > cluster.gpus_per_node or job.nodes > cluster.nodes):
            raise InputError(
                f"{job.name} needs {job.gpus} GPUs on {job.nodes} node{'s'[: job.nodes > 1]}",
                expected=f"at most {cluster.gpus_per_node} on each of {cluster.nodes}",
            )
    return cluster


def simulate(jobs: Sequence[SimulatedJob], cluster: Cluster) -> SimulatedSchedule:
    """Run jobs on a cluster; the same jobs in the same order give the same schedule.

    Args:
        jobs: Jobs in an order that decides between those that are equally urgent.
        cluster: Cluster that they run on, each of them fitting on it.

    Raises:
        InputError: A job needs one that is not there, or itself.
    """
    free = [[*range(node * cluster.gpus_per_node, (node + 1) * cluster.gpus_per_node)] for node in range(cluster.nodes)]
    queue = _Queue(jobs)
    attempts: list[Attempt] = []
    running: list[tuple[float, int, Attempt]] = []
    now = 0.0
    while True:
        for job, number in queue.take(free):
            attempt = Attempt(job, number, now, now + job.attempts[number], _place(job, free))
            heapq.heappush(running, (attempt.end, len(attempts), attempt))
            attempts.append(attempt)
        if not running:
            return SimulatedSchedule(cluster, tuple(attempts))
        now = running[0][0]
        while running and running[0][0] <= now + _SAME_TIME:
            attempt = heapq.heappop(running)[2]
            for gpu in attempt.gpus:
                free[gpu // cluster.gpus_per_node].append(gpu)
            queue.ended(attempt)


def longest_chain(jobs: Sequence[SimulatedJob]) -> list[SimulatedJob]:
    """The jobs, one needing the other, that together take longest, however many GPUs there are."""
    behind, by_name = _hours_behind(jobs), {job.name: job for job in jobs}
    followers = _followers(jobs)
    names: Sequence[str] = [job.name for job in jobs]
    chain: list[SimulatedJob] = []
    while names:
        chain.append(by_name[max(names, key=behind.__getitem__)])
        names = followers[chain[-1].name]
    return chain


def chain_hours(chain: Sequence[SimulatedJob]) -> float:
    """Hours of jobs that run one after the other."""
    return sum(job.whole for job in chain)


@dataclass
class _Queue:
    """Jobs that wait, the most urgent first; a queue for each shape: if one job of it does not fit, none does."""

    jobs: Sequence[SimulatedJob]
    _waiting: dict[tuple[int, int], list[tuple[float, int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._behind = _hours_behind(self.jobs)
        self._followers = _followers(self.jobs)
        self._places = {job.name: index for index, job in enumerate(self.jobs)}
        self._missing = {job.name: len(set(job.needs)) for job in self.jobs}
        for job in self.jobs:
            if not self._missing[job.name]:
                self._add(job, 0, self._behind[job.name])

    def take(self, free: Sequence[Sequence[int]]) -> Iterator[tuple[SimulatedJob, int]]:
        """Jobs that start now, each with the number of its attempt; ``free`` changes with each."""
        shapes = {shape: waiting for shape, waiting in self._waiting.items() if waiting}
        while shapes:
            shape = min(shapes, key=lambda each: shapes[each][0])
            share = shape[0] // shape[1]
            if shape[0] and sum(len(gpus) >= share for gpus in free) < shape[1]:
                del shapes[shape]
                continue
            _, index, number = heapq.heappop(shapes[shape])
            if not shapes[shape]:
                del shapes[shape]
            yield self.jobs[index], number

    def ended(self, attempt: Attempt) -> None:
        """Let the job go on later, or what needs it start."""
        job, number = attempt.job, attempt.number + 1
        left = job.attempts[number:]
        if left:
            self._add(job, number, self._behind[job.name] - job.whole + sum(left))
            return
        for name in self._followers[job.name]:
            self._missing[name] -= 1
            if not self._missing[name]:
                self._add(self.jobs[self._places[name]], 0, self._behind[name])

    def _add(self, job: SimulatedJob, number: int, urgency: float) -> None:
        waiting = self._waiting.setdefault((job.gpus, job.nodes), [])
        heapq.heappush(waiting, (-urgency, self._places[job.name], number))


def _place(job: SimulatedJob, free: list[list[int]]) -> tuple[int, ...]:
    """Take the job's GPUs, on the fullest nodes that have enough of them, the lowest numbers first."""
    if not job.gpus:
        return ()
    share = job.gpus // job.nodes
    nodes = sorted((node for node, gpus in enumerate(free) if len(gpus) >= share), key=lambda node: len(free[node]))
    taken: list[int] = []
    for node in nodes[: job.nodes]:
        free[node].sort()
        taken += free[node][:share]
        del free[node][:share]
    return tuple(sorted(taken))


def _followers(jobs: Sequence[SimulatedJob]) -> dict[str, list[str]]:
    """The jobs that need each job, in order.

    Raises:
        InputError: One is not there.
    """
    followers: dict[str, list[str]] = {job.name: [] for job in jobs}
    for job in jobs:
        for name in dict.fromkeys(job.needs):
            if name not in followers:
                raise InputError(f"{job.name} needs {name}, which is no job")
            followers[name].append(job.name)
    return followers


def _hours_behind(jobs: Sequence[SimulatedJob]) -> Mapping[str, float]:
    """Hours of the longest chain that begins with each job.

    Raises:
        InputError: One needs itself.
    """
    followers, by_name = _followers(jobs), {job.name: job for job in jobs}
    open_ends = {name: len(names) for name, names in followers.items()}
    last = [name for name, number in open_ends.items() if not number]
    behind: dict[str, float] = {}
    while last:
        name = last.pop()
        job = by_name[name]
        behind[name] = job.whole + max((behind[each] for each in followers[name]), default=0.0)
        for need in dict.fromkeys(job.needs):
            open_ends[need] -= 1
            if not open_ends[need]:
                last.append(need)
    if len(behind) < len(jobs):
        stuck = next(name for name in by_name if name not in behind)
        raise InputError(f"{stuck} needs itself, or is needed by jobs that do")
    return behind
