"""When jobs run on so many GPUs: against the best of all schedules, and what holds of each of them at any moment."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from itertools import pairwise, permutations

import pytest

from aroface.errors import InputError
from aroface.planning.forecast.simulation import (
    Cluster,
    SimulatedJob,
    SimulatedSchedule,
    chain_hours,
    cluster_of,
    longest_chain,
    simulate,
)


def best_makespan(jobs: Sequence[SimulatedJob], gpus: int) -> float:
    """The shortest of all schedules on one node: every order of the jobs, each as early as it fits.

    Whole numbers of hours; each order in which no job comes before what it needs gives an active schedule, and one of
    these is optimal.
    """
    best = math.inf
    for order in permutations(jobs):
        ends: dict[str, int] = {}
        used: dict[int, int] = {}
        for job in order:
            if not all(need in ends for need in job.needs):
                break
            start = max((ends[need] for need in job.needs), default=0)
            hours = range(int(job.hours))
            while any(used.get(start + hour, 0) + job.gpus > gpus for hour in hours):
                start += 1
            for hour in hours:
                used[start + hour] = used.get(start + hour, 0) + job.gpus
            ends[job.name] = start + int(job.hours)
        else:
            best = min(best, max(ends.values()))
    return best


def some_jobs(seed: int, number: int, *, widest: int, chained: bool) -> list[SimulatedJob]:
    chance = random.Random(seed)
    jobs = []
    for place in range(number):
        needs = tuple(f"j{each}" for each in range(place) if chance.random() < 0.3) if chained else ()
        jobs.append(SimulatedJob(f"j{place}", "train", chance.randint(1, 6), chance.randint(1, widest), needs=needs))
    return jobs


def check(jobs: Sequence[SimulatedJob], schedule: SimulatedSchedule) -> None:
    """What holds of every schedule."""
    ended = {each.job.name: each.end for each in schedule.attempts}
    assert ended.keys() == {job.name for job in jobs}
    for job in jobs:
        own = [each for each in schedule.attempts if each.job is job]
        assert [each.number for each in own] == [*range(len(job.attempts))]
        assert [each.end - each.start for each in own] == pytest.approx(job.attempts)
        assert all(first.end <= then.start for first, then in pairwise(own))
        assert all(ended[need] <= own[0].start for need in job.needs)
        share = job.gpus // job.nodes
        for each in own:
            nodes = [gpu // schedule.cluster.gpus_per_node for gpu in each.gpus]
            assert len(set(each.gpus)) == job.gpus
            assert all(nodes.count(node) == share for node in nodes)
            assert len(set(nodes)) == (job.nodes if job.gpus else 0)
    moments = [each.start for each in schedule.attempts]
    for moment in moments:
        held = [gpu for each in schedule.attempts if each.start <= moment < each.end for gpu in each.gpus]
        assert len(held) == len(set(held)) <= schedule.cluster.gpus
        assert all(0 <= gpu < schedule.cluster.gpus for gpu in held)
    assert schedule.makespan >= chain_hours(longest_chain(jobs)) - 1e-9
    assert schedule.makespan >= schedule.gpu_hours / schedule.cluster.gpus - 1e-9


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shape", ["independent and wide", "chained and narrow"])
def test_tiny_plans_against_the_best_of_all_schedules(seed: int, shape: str) -> None:
    """List scheduling takes at most twice the best time (Graham 1969; Garey and Graham 1975 for wide jobs)."""
    chained = shape == "chained and narrow"
    jobs = some_jobs(seed, 6, widest=1 if chained else 3, chained=chained)
    gpus = 2 if chained else 4
    schedule = simulate(jobs, Cluster(1, gpus))
    check(jobs, schedule)
    best = best_makespan(jobs, gpus)
    assert best <= schedule.makespan <= (2 - 1 / gpus) * best + 1e-9


def test_a_plan_that_has_one_best_schedule_gets_it() -> None:
    """The long chain first, though others came before: 4 + 4 hours, the short ones beside it."""
    short = [SimulatedJob(f"short{place}", "train", 2, 1) for place in range(4)]
    jobs = [*short, SimulatedJob("first", "train", 4, 1), SimulatedJob("then", "train", 4, 1, needs=("first",))]
    schedule = simulate(jobs, Cluster(1, 2))
    check(jobs, schedule)
    assert schedule.makespan == best_makespan(jobs, 2) == 8
    assert schedule.utilisation == 1
    assert [job.name for job in longest_chain(jobs)] == ["first", "then"]


@pytest.mark.parametrize("seed", range(6))
def test_many_jobs_on_nodes_with_time_limits(seed: int) -> None:
    chance = random.Random(seed)
    jobs = []
    for place in range(60):
        nodes = chance.choice([1, 1, 1, 2])
        needs = tuple({f"j{chance.randrange(place)}" for _ in range(chance.randint(0, 2))} if place else ())
        gpus = chance.choice([0, 1, 2, 4]) * nodes
        jobs.append(SimulatedJob(f"j{place}", "train", chance.uniform(0.1, 9), gpus, nodes, needs, 4.0, 0.25))
    schedule = simulate(jobs, Cluster(3, 4))
    check(jobs, schedule)
    assert simulate(jobs, Cluster(3, 4)).attempts == schedule.attempts


def test_gpus_are_left_idle_only_when_no_waiting_job_fits() -> None:
    """Backfill: the narrow job does not wait behind the wide one."""
    jobs = [
        SimulatedJob("a", "train", 5, 3),
        SimulatedJob("wide", "train", 4, 4),
        SimulatedJob("narrow", "embed", 2, 1),
    ]
    schedule = simulate(jobs, Cluster(1, 4))
    assert {each.job.name: each.start for each in schedule.attempts} == {"a": 0, "narrow": 0, "wide": 5}


def test_a_job_longer_than_its_limit_comes_again() -> None:
    job = SimulatedJob("long", "train", 10.0, 2, limit=4.0, restart=0.5)
    assert job.attempts == [4.0, 4.0, 3.0]  # 4 + 3.5 + 2.5 hours of work
    other = SimulatedJob("other", "train", 3.5, 2)
    schedule = simulate([job, other], Cluster(1, 2))
    check([job, other], schedule)
    assert schedule.makespan == 14.5
    assert SimulatedJob("exact", "train", 4.0, 2, limit=4.0).attempts == [4.0]
    with pytest.raises(InputError, match=r"takes 30 minutes to go on and may run for 30"):
        SimulatedJob("stuck", "train", 10.0, 1, limit=0.5, restart=0.5)


def test_jobs_without_gpus_wait_for_nobody() -> None:
    jobs = [SimulatedJob("gpu", "train", 2, 1), *(SimulatedJob(f"cpu{place}", "evaluate", 1) for place in range(9))]
    schedule = simulate(jobs, Cluster(1, 1))
    assert {each.start for each in schedule.attempts} == {0}
    assert schedule.gpu_hours == 2


def test_nothing_takes_no_time() -> None:
    schedule = simulate([], Cluster(2, 4))
    assert (schedule.makespan, schedule.utilisation, schedule.attempts) == (0, 1, ())
    assert longest_chain([]) == []


@pytest.mark.parametrize(
    ("gpus", "per_node", "expected"), [(16, 4, Cluster(4, 4)), (2, 4, Cluster(1, 2)), (8, 8, Cluster(1, 8))]
)
def test_gpus_make_nodes(gpus: int, per_node: int, expected: Cluster) -> None:
    assert cluster_of(gpus, per_node) == expected
    assert expected.gpus == gpus


def test_what_cannot_run_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^10 GPUs in nodes of 4; expected whole nodes$"):
        cluster_of(10, 4)
    with pytest.raises(InputError, match=r"^big needs 8 GPUs on 1 node; expected at most 4 on each of 2$"):
        cluster_of(8, 4, [SimulatedJob("big", "train", 1, 8)])
    assert cluster_of(8, 4, [SimulatedJob("big", "train", 1, 8, 2)]) == Cluster(2, 4)
    with pytest.raises(InputError, match=r"^a needs b, which is no job$"):
        simulate([SimulatedJob("a", "train", 1, 1, needs=("b",))], Cluster(1, 1))
    circle = [SimulatedJob("a", "train", 1, 1, needs=("b",)), SimulatedJob("b", "train", 1, 1, needs=("a",))]
    with pytest.raises(InputError, match=r"^a needs itself, or is needed by jobs that do$"):
        simulate(circle, Cluster(1, 1))


def test_many_short_jobs_are_planned_at_once_and_too_many_are_one_line():
    """A training on a CPU within the default time limit of two hours would be thousands of jobs."""
    jobs = [SimulatedJob(f"long {number}", "train", 1500.0, 1, limit=2.0, restart=0.1) for number in range(12)]
    assert len(jobs[0].attempts) == 790  # 1 + (1500 - 2) / 1.9, rounded up
    assert sum(jobs[0].attempts) == pytest.approx(jobs[0].whole) == pytest.approx(1500 + 789 * 0.1)
    before = time.process_time()
    assert simulate(jobs, Cluster(1, 4)).makespan == pytest.approx(3 * jobs[0].whole)
    assert time.process_time() - before < 5
    with pytest.raises(
        InputError, match=r"long takes 57,382 h, 30,\d+ jobs of at most 2 h; .* 1,000; raise its time limit"
    ):
        SimulatedJob("long", "train", 57_382.0, limit=2.0, restart=0.1)
