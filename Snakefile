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

from snakemake.utils import min_version

from aroface.planning.costs import plan_costs
from aroface.planning.costs_report import headline
from aroface.errors import InputError
from aroface.planning.plan import make_plan, offer_package
from aroface.planning.products import find_products
from aroface.versions import STRICT

min_version("9.27")

ROOT = Path(os.path.relpath(workflow.basedir))
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from brought import trust_what_was_brought
from cluster import (
    REFUSALS,
    TrainingTime,
    check_call,
    job_memory,
    job_minutes,
    job_resources,
    on_slurm,
    site_settings,
    training_resources,
)
from dry_run import print_summary
from earlier_jobs import comment_of, start_again, wait_for_earlier_jobs
from job_environment import offer_container
from unfinished import (
    Interrupts,
    failures,
    remove_superseded,
    render_unfinished,
)

FILES = workflow.config_settings.configfiles or [ROOT / "config.yaml"]

try:
    PLAN = make_plan(
        [Path(os.path.relpath(file)) for file in FILES],
        workflow.config_settings.config,
        root=ROOT,
    )
    PAPER = find_products(PLAN, root=ROOT)
    TRAINING_RESOURCES = training_resources(PLAN)
    PLAN.write()
    if workflow.is_main_process:
        trust_what_was_brought(PLAN)
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

RESULTS = PLAN.results
DEVICE = PLAN.values["training"]["device"]
RESOURCES = PLAN.values["resources"]

offer_package(ROOT)
if PLAN.values["strict_versions"]:
    os.environ[STRICT] = "1"
if on_slurm():
    offer_container(site_settings(), PLAN, ROOT)


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
    INTERRUPTS = Interrupts()
    atexit.register(print_summary, workflow, PLAN, ROOT)


onstart:
    for line in PLAN.missing():
        print(f"missing: {line}", file=sys.stderr)
    jobs = list(workflow.persistence.dag.needrun_jobs())
    if on_slurm():
        try:
            check_call(workflow)
            earlier = wait_for_earlier_jobs(
                {comment_of(job.rule.name, job.wildcards) for job in jobs}
            )
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
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
        try:
            costs = plan_costs(PLAN, root=ROOT)
            print(headline(costs, trained), file=sys.stderr)
            costs.check_budget(trained)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)


onsuccess:
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
