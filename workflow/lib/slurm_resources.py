"""Resources, time limits and retries of jobs: what Slurm is asked for, by the site and the configuration."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.planning.forecast.costs import plan_costs
from aroface.planning.plan import Plan
from slurm import on_slurm, queue_of, site_settings
from slurm_plugin import NEEDED

SHORTEST = 30
"""Minutes that a training asks for at least: to start, to read the data, to save."""

MARGIN = 1.25
"""By which the time limit of a training is longer than its estimate."""


def job_resources(asked: dict[str, Any]) -> dict[str, Any]:
    """Resources of a job of one node; none without the profile.

    Args:
        asked: Resources of a rule in the configuration.
    """
    if not on_slurm():
        return {}
    kind = "gpu" if asked["gpus"] else "cpu"
    return {**queue_of(site_settings(), kind), **_extras(_gpus(asked["gpus"]))}


def training_resources(plan: Plan) -> dict[str, Callable[[Any], Any]]:
    """Devices of the trainings of a plan, what Slurm is asked for them, and how they are started on their nodes.

    Returns:
        Functions from a job's wildcards, by the names of the resources.

    Raises:
        InputError: The processes of a training cannot be split evenly over the nodes.
    """
    trained = [name for name, run in plan.runs.items() if run.experiment.recipe is not None]
    by_run = {name: resources_of(plan, name) for name in trained}
    names = dict.fromkeys(name for resources in by_run.values() for name in resources)
    return {name: _of_run(by_run, name) for name in names}


def check_devices(plan: Plan) -> None:
    """Refuse a plan with a training that cannot be split over the nodes.

    Raises:
        InputError: One line with the numbers.
    """
    training_resources(plan)


def _of_run(by_run: dict[str, dict[str, Any]], name: str) -> Callable[[Any], Any]:
    return lambda wildcards: by_run[wildcards.run][name]


def resources_of(plan: Plan, run: str) -> dict[str, Any]:
    """Resources of the training of one run; the same names for all runs of a plan.

    The shell of a training on several nodes, and of one alone, runs beside Slurm's step, not in it: the warning
    before the time limit goes to the training and not to Snakemake.

    Raises:
        InputError: Its processes cannot be split evenly over the nodes.
    """
    experiment = plan.runs[run].experiment
    asked = plan.values["resources"]["train"]
    if not on_slurm():
        # Every training begins with the machine's first GPU, so that one holds all that are configured.
        return {**plan.devices(experiment)._asdict(), "gpus": asked["gpus"], "launcher": ""}
    site = site_settings()
    devices = plan.devices(experiment, site["nodes"])
    nodes = devices.nodes
    together = {"tasks": nodes} if site["nodes"] > 1 else {}
    gpus = _gpus(devices.gpus // nodes)
    extra = ["--ntasks-per-node=1", f"--signal=USR1@{site['warning_seconds']}", gpus.pop("slurm_extra", "")]
    return {
        **queue_of(site, "gpu" if devices.gpus else "cpu"),
        **gpus,
        **together,
        **devices._asdict(),
        "mpi": "srun" if nodes > 1 else "",
        "tasks_per_gpu": 0,
        "cpus_per_task": asked["threads"],
        **_extras({"slurm_extra": " ".join(filter(None, extra))}),
        "launcher": f"bash slurm/launch.sh {nodes} {asked['threads']} {site['warning_seconds']}",
    }


def _extras(resources: dict[str, Any]) -> dict[str, Any]:
    """Resources whose ``slurm_extra`` survives a user's own, see `merge_extras`."""
    extra = resources.get("slurm_extra")
    return {**resources, NEEDED: extra} if extra else resources


def _gpus(on_each_node: int) -> dict[str, Any]:
    if not on_each_node:
        return {}
    kind = site_settings()["gpu"].get("type")
    if kind and "-" in kind:  # which Snakemake's plugin takes for a mistake in a gres
        return {"slurm_extra": f"--gpus-per-node={kind}:{on_each_node}"}
    return {"gres": f"gpu:{kind}:{on_each_node}" if kind else f"gpu:{on_each_node}"}


def job_minutes(asked: dict[str, Any]) -> Callable[..., int]:
    """Time limit of a job of one rule: twice as long at the second attempt, and so on, if the partition allows it."""

    def minutes(wildcards: Any, attempt: int) -> int:
        return int(min(asked["runtime"] * attempt, _partition_minutes(asked)))

    return minutes


def job_memory(asked: dict[str, Any]) -> Callable[..., int]:
    """Memory of a job of one rule in MB: twice as much at the second attempt, and so on."""

    def memory(wildcards: Any, attempt: int) -> int:
        return int(asked["mem_mb"]) * attempt

    return memory


class TrainingTime:
    """Time limits of trainings, from the estimates of the plan.

    Args:
        plan: Plan of the configuration.
        root: Folder of the repository.
    """

    def __init__(self, plan: Plan, root: Path) -> None:
        self._plan, self._root = plan, root
        self._asked = plan.values["resources"]["train"]
        self._most = int(min(self._asked["runtime"], _partition_minutes(self._asked)))

    def limit(self, wildcards: Any, attempt: int) -> int:
        """Minutes of a job: the estimate and some more; after a first attempt the longest that is allowed."""
        hours = self._hours.get(wildcards.run)
        return self._most if hours is None or attempt > 1 else min(self._most, math.ceil(_generous(hours)) + SHORTEST)

    @property
    def retries(self) -> int:
        """Number of retries of a training: as configured, and one for each time limit that it has to outlive."""
        if not on_slurm():
            return int(self._asked["retries"])
        longest = max(self._hours.values(), default=0.0)
        return int(self._asked["retries"]) + math.floor(_generous(longest) / self._most)

    @cached_property
    def _hours(self) -> dict[str, float]:
        """Hours on the clock of each run whose training can be estimated."""
        try:
            costs = plan_costs(self._plan, root=self._root)
        except InputError:
            return {}  # said before anything is started
        return {
            run: training.wall_hours
            for training in costs.trainings
            if training.wall_hours is not None
            for run in training.runs
        }


def _generous(hours: float) -> float:
    return 60 * MARGIN * hours


def _partition_minutes(asked: dict[str, Any]) -> float:
    """The longest time limit that the partition allows, as far as that is known."""
    hours = site_settings()["gpu" if asked["gpus"] else "cpu"].get("max_hours") if on_slurm() else None
    return math.inf if hours is None else 60 * hours
