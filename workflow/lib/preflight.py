"""Preparation of a call of Snakemake, and its checks before the first job starts."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from snakemake.persistence import PersistenceBase

from aroface.environment_lock import STRICT
from aroface.errors import InputError
from aroface.planning.forecast.costs import plan_costs
from aroface.planning.forecast.costs_text import headline
from aroface.planning.paths import check_path
from aroface.planning.plan import Plan, make_plan
from aroface.planning.products import Products, find_products
from calls import end_with_display, guard, start_again
from container import offer_container
from dry_run import print_summary
from imported_results import trust_what_is_whole, trust_what_was_brought
from job_environment import offer_package
from orphaned_jobs import comment_of, processes_of_killed_calls, wait_for_earlier_jobs, wait_for_processes
from partial_results import remove_superseded
from refusals import ending_in_one_line
from slurm import check_call, on_slurm, site_settings
from slurm_plugin import quote_job_commands
from slurm_resources import check_devices


def plan_call(workflow: Any, files: Sequence[Path], root: Path) -> tuple[Plan, Products]:
    """Plan what the configuration asks for, and write the files that jobs start from.

    Exits with one line and status 2 where the configuration, its data or an option of the call cannot be used.

    Args:
        workflow: Snakemake's object of that name.
        files: Configuration files.
        root: Folder of the repository.
    """
    with ending_in_one_line():
        check_call(workflow)
        check_path(workflow.basedir, where="this folder", pattern=True)
        plan = make_plan(files, workflow.config_settings.config, root=root)
        products = find_products(plan, root=root)
        check_devices(plan)
        plan.write()
        if workflow.is_main_process:
            trust_what_was_brought(plan)
            trust_what_is_whole(plan, PersistenceBase)
        offer_package(root)
        if on_slurm():
            quote_job_commands()
            offer_container(site_settings(), plan, root)
    if plan.values["strict_versions"]:
        os.environ[STRICT] = "1"
    return plan, products


def watch_call(workflow: Any, plan: Plan, products: Products, root: Path) -> list[psutil.Process]:
    """Guard the folders of a call against other calls, and say at its end what a dry run planned.

    Args:
        workflow: Snakemake's object of that name.
        plan: Plan of the configuration.
        products: Tables and figures of the plan.
        root: Folder of the repository.

    Returns:
        Processes of killed calls that still run. They are looked for before Snakemake plans: what they make by then
        counts, what they make later is not seen by the plan.
    """
    guard(PersistenceBase, plan.results.root)
    earlier = processes_of_killed_calls(slurm=on_slurm())
    end_with_display()
    atexit.register(print_summary, workflow, plan, root)
    # A call that was killed may have left no more to do than this.
    atexit.register(lambda: workflow.dryrun or remove_superseded(products))
    return earlier


def check(workflow: Any, products: Products, earlier: Sequence[psutil.Process], root: Path) -> None:
    """Check that the jobs of a call can run, and wait for jobs of earlier calls that make the same.

    Exits with one line and status 2 where a job lacks its data or the trainings exceed the budget.

    Args:
        workflow: Snakemake's object of that name.
        products: Tables and figures, and the plan that they show.
        earlier: Processes of killed calls.
        root: Folder of the repository.
    """
    plan = products.plan
    for line in plan.missing():
        print(f"missing: {line}", file=sys.stderr)
    jobs = list(workflow.persistence.dag.needrun_jobs())
    with ending_in_one_line():
        if _waited(workflow, jobs, earlier):
            workflow.persistence.unlock()
            start_again()
        needed = {products.missing_for(job.rule.name, job.wildcards_dict) for job in jobs} - {None}
        if needed:
            raise InputError(f"{len(needed)} of the missing sets would be needed; nothing was started")
        trained = [job.wildcards_dict["run"] for job in jobs if job.rule.name == "train"]
        if trained:
            costs = plan_costs(plan, root=root)
            print(headline(costs, trained), file=sys.stderr)
            costs.check_budget(trained)


def _waited(workflow: Any, jobs: Sequence[Any], earlier: Sequence[psutil.Process]) -> bool:
    """Wait for jobs of earlier calls; say whether there were any."""
    waited = workflow.execution_settings.lock and wait_for_processes(earlier)
    check_call(workflow)
    if on_slurm():
        waited |= wait_for_earlier_jobs({comment_of(job.rule.name, job.wildcards) for job in jobs})
    return bool(waited)
