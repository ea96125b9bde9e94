"""Remaining jobs and the time of their end in words, for the end of a dry run and for ``aroface plan``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.humanize import days_text, hours_text, plural
from aroface.planning.forecast.costs import Costs, plan_costs
from aroface.planning.forecast.costs_text import headline
from aroface.planning.forecast.power_text import power_lines
from aroface.planning.forecast.simulation import SimulatedJob
from aroface.planning.forecast.workload import Outlook, Task, count_kinds, find_outlook, find_site
from aroface.planning.plan import Plan

_NAMES = {
    "data": "data set",
    "import": "import",
    "train": "training",
    "embed": "set of features",
    "evaluate": "evaluation",
    "render": "table, figure or document",
}
_PLURALS = {"embed": "sets of features", "render": "tables, figures and documents"}


def summary(plan: Plan, tasks: Iterable[Task], *, root: Path = Path(), gpus: int | None = None) -> list[str]:
    """All that is to be known of some jobs before they are started; nothing where there are none.

    Args:
        plan: Plan of the configuration.
        tasks: Jobs.
        root: Folder of the repository.
        gpus: Number of GPUs of one machine, where there is no cluster.
    """
    asked = list(tasks)
    if not asked:
        return []
    trained = [task.run for task in asked if task.kind == "train" and task.run]
    needed = {plan.missing_for(task.rule, _wildcards(task)) for task in asked}
    lines = [jobs_line(asked)]
    try:
        costs = plan_costs(plan, root=root)
        lines += [headline(costs, trained)] if trained else []
        lines += time_lines(plan, costs, asked, root=root, gpus=gpus, gpus_per_node=gpus, scheduler=gpus is None)
        lines += power_lines(plan, root=root) if trained else []
        lines += _refused(costs, trained)
    except InputError as error:
        lines.append(f"costs: unknown: {error}")
    return [*lines, *(f"missing: {line}" for line in plan.missing() if line in needed)]


def time_lines(plan: Plan, costs: Costs, tasks: Sequence[Task], **where: Any) -> list[str]:
    """Lines on the time of features and of the end; the reason if it is unknown because jobs do not fit on the GPUs.

    Args:
        plan: Plan of the configuration.
        costs: Costs of that plan.
        tasks: Its jobs.
        where: Numbers of GPUs as :func:`aroface.planning.forecast.workload.find_site` takes them.
    """
    try:
        return outlook_lines(find_outlook(plan, costs, tasks, find_site(plan, **where)))
    except InputError as error:
        return [f"time: unknown: {error}"]


def outlook_lines(outlook: Outlook) -> list[str]:
    """Lines on the time of features and of the end."""
    return [*_feature_lines(outlook), *_time_lines(outlook)]


def _wildcards(task: Task) -> dict[str, str]:
    named = {"run": task.run, "benchmark": task.benchmark}
    return {name: value for name, value in named.items() if value}


def _refused(costs: Costs, runs: list[str]) -> list[str]:
    try:
        costs.check_budget(runs)
    except InputError as error:
        return [f"budget: {error}"]
    return []


def jobs_line(tasks: Iterable[Task]) -> str:
    """Number of jobs of each kind."""
    counts = count_kinds(tasks)
    phrases = [
        f"{number:,} {_PLURALS[kind]}" if number > 1 and kind in _PLURALS else plural(number, _NAMES[kind])
        for kind, number in counts.items()
    ]
    return f"to do: {plural(sum(counts.values()), 'job')}: {', '.join(phrases)}" if phrases else "to do: nothing"


def _feature_lines(outlook: Outlook) -> list[str]:
    """GPU time of features, if there are any."""
    hours = outlook.feature_hours
    if not hours:
        return []
    some = f", without {', '.join(outlook.uncounted)}, whose images nobody has counted yet" if outlook.uncounted else ""
    return [f"features: about {hours:,.{0 if hours >= 10 else 1}f} GPU-hours{some}"]


def _time_lines(outlook: Outlook) -> list[str]:
    """Time of the end on the site's GPUs and on others, and the longest chain, which bounds it from below."""
    if not outlook.jobs:
        return []
    chain = f"longest chain: {days_text(outlook.chain_hours)}: {' → '.join(map(_job_text, outlook.chain))}"
    if not any(job.gpus for job in outlook.jobs):
        return [chain]
    cluster = outlook.schedule.cluster
    nodes = f" ({cluster.nodes} × {cluster.gpus_per_node})" if cluster.nodes > 1 else ""
    others = [f"{gpus} GPUs: {days_text(hours)}" for gpus, hours in outlook.makespans.items() if gpus != cluster.gpus]
    return [
        f"time: about {days_text(outlook.makespan)} on {plural(cluster.gpus, 'GPU')}{nodes}, "
        f"{100 * outlook.schedule.utilisation:.3g} % of them in use, without waiting in a queue"
        + (f"; {', '.join(others)}" if others else ""),
        chain,
    ]


def outlook_json(outlook: Outlook) -> dict[str, Any]:
    """All numbers, without rounding; hours are on the clock unless they say GPU."""
    return {
        "jobs": dict(outlook.counts),
        "gpus": outlook.schedule.cluster.gpus,
        "gpus_per_node": outlook.schedule.cluster.gpus_per_node,
        "makespan_hours": outlook.makespan,
        "utilisation": outlook.schedule.utilisation,
        "makespan_hours_by_gpus": {str(gpus): hours for gpus, hours in outlook.makespans.items()},
        "longest_chain_hours": outlook.chain_hours,
        "longest_chain": [job.name for job in outlook.chain],
        "feature_gpu_hours": outlook.feature_hours,
    }


def _job_text(job: SimulatedJob) -> str:
    attempts = len(job.attempts)
    several = f" in {attempts} jobs of at most {hours_text(job.limit)}" if attempts > 1 else ""
    return f"{job.name} ({hours_text(job.whole)}{several})"
