"""From data on disk to the tables and figures of the paper.

    snakemake --cores all                      all that config.yaml declares
    snakemake --cores all table_tinyface       what one table needs
    snakemake -n                               only say what there is to do
    snakemake --cores all --configfile workflow/configs/demo.yaml

Targets: all, tables, table_NAME, figure_NAME, compare, claims, report, crate, reported; fetch, for data that anybody may
download.
"""

import atexit
import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.persistence import PersistenceBase
from snakemake.utils import min_version

from aroface.planning.forecast.costs import plan_costs
from aroface.planning.forecast.costs_text import headline
from aroface.planning.paths import check_path, command_path
from aroface.planning.plan import make_plan, offer_package
from aroface.planning.products import find_products
from aroface.environment_lock import STRICT

min_version("9.27")

ROOT = command_path(os.path.relpath(workflow.basedir))
sys.path.insert(0, str(ROOT / "workflow" / "lib"))

from imported_results import trust_what_is_whole, trust_what_was_brought
from calls import end_with_display, guard, start_again
from cluster import (
    REFUSALS,
    TrainingTime,
    check_call,
    job_memory,
    job_minutes,
    job_resources,
    on_slurm,
    quote_job_commands,
    site_settings,
    training_resources,
)
from dry_run import print_summary
from orphaned_jobs import (
    comment_of,
    processes_of_killed_calls,
    wait_for_earlier_jobs,
    wait_for_processes,
)
from job_environment import offer_container
from parameters import verbatim
from refusals import ending_in_one_line
from partial_results import (
    AGAIN,
    Interrupts,
    failures,
    missing_targets,
    remove_superseded,
    render_unfinished,
)

FILES = [
    command_path(os.path.relpath(file))
    for file in workflow.config_settings.configfiles or [ROOT / "config.yaml"]
]

with ending_in_one_line():
    check_path(workflow.basedir, record="this folder", pattern=True)
    PLAN = make_plan(
        FILES,
        workflow.config_settings.config,
        root=ROOT,
    )
    PAPER = find_products(PLAN, root=ROOT)
    TRAINING_RESOURCES = training_resources(PLAN)
    PLAN.write()
    if workflow.is_main_process:
        trust_what_was_brought(PLAN)
        trust_what_is_whole(PLAN, PersistenceBase)
    offer_package(ROOT)
    if on_slurm():
        quote_job_commands()
        offer_container(site_settings(), PLAN, ROOT)

RESULTS = PLAN.results
RESULTS_WORD = shlex.quote(str(RESULTS))  # as commands name it
DEVICE = PLAN.values["training"]["device"]
RESOURCES = PLAN.values["resources"]

if PLAN.values["strict_versions"]:
    os.environ[STRICT] = "1"


wildcard_constraints:
    run="[^/]+",
    benchmark="[^/]+",


rule all:
    input:
        PAPER.table_files,
        PAPER.figure_files,
        PAPER.verdict_files,
        PAPER.document_files,
        PLAN.records(),  # so that one that was deleted is made again
        PAPER.report_file,
        PAPER.crate_file,


rule tables:
    input:
        PAPER.table_files,


rule reported:
    input:
        PAPER.reported_files,


include: "workflow/rules/paper.smk"


# Without the rules that make records, those that are there are all that a table can show, and nothing else can start.
if not PLAN.values["render_only"]:

    include: "workflow/rules/data.smk"
    include: "workflow/rules/train.smk"
    include: "workflow/rules/embed.smk"
    include: "workflow/rules/evaluate.smk"


if workflow.is_main_process:
    guard(PersistenceBase, RESULTS)
    # Asked before the plan is made: what these make by then counts, what they make later is not seen by it.
    EARLIER = processes_of_killed_calls(slurm=on_slurm())
    INTERRUPTS = Interrupts()
    end_with_display()
    atexit.register(print_summary, workflow, PLAN, ROOT)
    # A call that was killed may have left no more to do than this.
    atexit.register(lambda: workflow.dryrun or remove_superseded(PAPER))


onstart:
    for line in PLAN.missing():
        print(f"missing: {line}", file=sys.stderr)
    jobs = list(workflow.persistence.dag.needrun_jobs())
    earlier = workflow.execution_settings.lock and wait_for_processes(EARLIER)
    if on_slurm():
        with ending_in_one_line():
            check_call(workflow)
            earlier |= wait_for_earlier_jobs(
                {comment_of(job.rule.name, job.wildcards) for job in jobs}
            )
    if earlier:
        workflow.persistence.unlock()
        start_again()
    needed = {
        PAPER.missing_for(job.rule.name, job.wildcards_dict) for job in jobs
    } - {None}
    if needed:
        print(
            f"error: {len(needed)} of the missing sets would be needed; nothing was started",
            file=sys.stderr,
        )
        sys.exit(2)
    trained = [
        job.wildcards_dict["run"] for job in jobs if job.rule.name == "train"
    ]
    if trained:
        with ending_in_one_line():
            costs = plan_costs(PLAN, root=ROOT)
            print(headline(costs, trained), file=sys.stderr)
            costs.check_budget(trained)


onsuccess:
    missing = missing_targets(workflow.persistence.dag)
    if missing and AGAIN not in os.environ:
        os.environ[AGAIN] = "1"
        workflow.persistence.unlock()
        start_again()
    if missing:
        print(
            f"error: {len(missing)} targets were not made, such as {missing[0]}",
            file=sys.stderr,
        )
        sys.exit(1)
    remove_superseded(PAPER)
    print(*PAPER.summary(), sep="\n", file=sys.stderr)


# What could not be finished leaves gaps; what there is is worth rendering all the same.
onerror:
    if not INTERRUPTS.seen:
        unfinished = list(workflow.persistence.dag.needrun_jobs())
        remove_superseded(PAPER)
        render_unfinished(
            PAPER, {job.rule.name for job in unfinished}, REPORT_ARGUMENTS
        )
        print(*PAPER.summary(), sep="\n", file=sys.stderr)
        print(
            *failures(workflow.scheduler.failed, REFUSALS),
            sep="\n",
            file=sys.stderr,
        )
