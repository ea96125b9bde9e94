"""Summary of the jobs of a dry run, printed at its end: where people look, below a list of any length."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from aroface.planning.forecast.outlook_text import summary
from aroface.planning.forecast.workload import Task
from aroface.planning.plan import Plan
from slurm import on_slurm


def print_summary(workflow: Any, plan: Plan, root: Path) -> None:
    """Print what a dry run planned, if that is what it was and it came so far; to be called at exit.

    Args:
        workflow: Snakemake's object of that name.
        plan: Plan of the configuration.
        root: Folder of the repository.
    """
    if not workflow.dryrun or workflow.scheduler is None:
        return
    jobs = [job for job in workflow.persistence.dag.needrun_jobs(exclude_finished=False) if not job.is_norun]
    wildcards = [(job.rule.name, job.wildcards_dict) for job in jobs]
    tasks = [Task(rule, named.get("run"), named.get("benchmark")) for rule, named in wildcards]
    given = workflow.global_resources
    machine = given["gpus"].value if "gpus" in given and not on_slurm() else None
    sys.stdout.flush()
    for line in summary(plan, tasks, root=root, gpus=machine):
        print(line, file=sys.stderr)
