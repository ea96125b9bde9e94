"""From data on disk to the tables and figures of the paper.

    snakemake --cores all                      all that config.yaml declares
    snakemake --cores all table_tinyface       one table and whatever it needs
    snakemake -n                               list the jobs, start none
    snakemake --cores all --configfile workflow/configs/demo.yaml

Targets: all, tables, table_NAME, figure_NAME, compare, claims, report, crate, reported; fetch, for data that anybody may
download.
"""

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

from aroface.planning.paths import command_path

min_version("9.27")

ROOT = command_path(os.path.relpath(workflow.basedir))
sys.path.insert(0, str(ROOT / "workflow" / "lib"))

from partial_results import Interrupts, finish, finish_failed
from preflight import check, plan_call, watch_call

FILES = [
    command_path(os.path.relpath(file))
    for file in workflow.config_settings.configfiles or [ROOT / "config.yaml"]
]
PLAN, PRODUCTS = plan_call(workflow, FILES, ROOT)


rule all:
    input:
        PRODUCTS.table_files,
        PRODUCTS.figure_files,
        PRODUCTS.verdict_files,
        PRODUCTS.document_files,
        PLAN.records(),  # so that one that was deleted is made again
        PRODUCTS.report_file,
        PRODUCTS.crate_file,


rule tables:
    input:
        PRODUCTS.table_files,


rule reported:
    input:
        PRODUCTS.reported_files,


include: "workflow/rules/common.smk"
include: "workflow/rules/reporting.smk"


# Without the rules that make records, tables show the records that exist, and nothing else can start.
if not PLAN.values["render_only"]:

    include: "workflow/rules/data.smk"
    include: "workflow/rules/train.smk"
    include: "workflow/rules/embed.smk"
    include: "workflow/rules/evaluate.smk"


if workflow.is_main_process:
    INTERRUPTS = Interrupts()
    EARLIER = watch_call(workflow, PLAN, PRODUCTS, ROOT)


onstart:
    check(workflow, PRODUCTS, EARLIER, ROOT)


onsuccess:
    finish(workflow, PRODUCTS)


onerror:
    finish_failed(workflow, PRODUCTS, INTERRUPTS, REPORT_ARGUMENTS)
