# Everything that a run depends on is in its name, so all inputs are ancient: no copied or touched file trains it again.
# The resumable state is no output: Snakemake deletes outputs before a rerun and must not delete days of training.
# Nor is history.json, for a new output would train finished runs again: figures take it where it is there.
# Trainings come first: they are the longest jobs, and what is left at the end should be short.
# How many devices a training has is a resource: no number of them makes a finished run stale.
# Retries are the main process's: a job on a cluster must not try again within its allocation, whose time may be over.
TRAINING_TIME = TrainingTime(PLAN, ROOT)


rule train:
    input:
        recipe=ancient(RESULTS / "recipes/{run}.json"),
        data=ancient(lambda wildcards: PLAN.runs[wildcards.run].source.inputs),
    output:
        checkpoint=RESULTS / "runs/{run}/checkpoint.json",
        weights=RESULTS / "runs/{run}/model.safetensors",
    log:
        RESULTS / "logs/train/{run}.log",
    wildcard_constraints:
        run=r"[^/]+-s\d+-[0-9a-f]+",
    priority: 10
    retries: TRAINING_TIME.retries if workflow.is_main_process else 0
    conda:
        "../envs/train.yaml"
    threads: RESOURCES["train"]["threads"]
    resources:
        **TRAINING_RESOURCES,
        mem_mb=RESOURCES["train"]["mem_mb"],
        runtime=TRAINING_TIME.limit,
    params:
        data=lambda wildcards: PLAN.runs[wildcards.run].source.path,
    shell:
        "{resources.launcher} python -m aroface train --recipe {input.recipe:q} --data {params.data:q}"
        f" --run-dir {RESULTS_WORD}/runs/{{wildcards.run}} --state-dir {RESULTS_WORD}/state/{{wildcards.run}}"
        " --loader-threads $(( ({threads} * {resources.nodes} + {resources.processes} - 1) / {resources.processes} ))"
        f" --processes {{resources.processes}} {PLAN.execution} > {{log:q}} 2>&1"


# Released weights become a run like any other. Their file is no input: it may go once it is imported, and whatever it
# holds is in the run's name.
rule import_released:
    input:
        ancient(RESULTS / "recipes/{run}.json"),
    output:
        checkpoint=RESULTS / "runs/{run}/checkpoint.json",
        weights=RESULTS / "runs/{run}/model.safetensors",
    log:
        RESULTS / "logs/import/{run}.log",
    wildcard_constraints:
        run=r"[^/]+-released-[0-9a-f]+",
    priority: 10
    retries: RESOURCES["evaluate"]["retries"] if workflow.is_main_process else 0
    conda:
        "../envs/train.yaml"
    threads: RESOURCES["evaluate"]["threads"]
    resources:
        **job_resources(RESOURCES["evaluate"]),
        mem_mb=job_memory(RESOURCES["evaluate"]),
        runtime=job_minutes(RESOURCES["evaluate"]),
    params:
        arguments=lambda wildcards: PLAN.runs[wildcards.run].import_arguments,
    shell:
        "python -m aroface model import {params.arguments}"
        f" --out {RESULTS_WORD}/runs/{{wildcards.run}} > {{log:q}} 2>&1"
