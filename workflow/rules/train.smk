# Everything that a run depends on is in its name, so all inputs are ancient: no copied or touched file trains it again.
# The resumable state is no output: Snakemake deletes outputs before a rerun and must not delete days of training.
# Nor is history.json, for a new output would train finished runs again: figures take it where it is there.
# Trainings come first: they are the longest jobs, and what is left at the end should be short.
# How many devices a training has is a resource: no number of them makes a finished run stale.
TRAINING_TIME = TrainingTime(PLAN, ROOT)


rule train:
    input:
        recipe=ancient(RESULTS.recipe("{run}")),
        data=ancient(lambda wildcards: PLAN.runs[wildcards.run].source.inputs),
    output:
        checkpoint=RESULTS.run("{run}").checkpoint,
        weights=RESULTS.run("{run}").weights,
    log:
        RESULTS.job_log("train", "{run}"),
    wildcard_constraints:
        run=r"[^/]+-s\d+-[0-9a-f]+",
    priority: 10
    retries: retries(TRAINING_TIME.retries)
    conda:
        "../envs/train.yaml"
    threads: RESOURCES["train"]["threads"]
    resources:
        **training_resources(PLAN),
        mem_mb=RESOURCES["train"]["mem_mb"],
        runtime=TRAINING_TIME.limit,
    params:
        data=lambda wildcards: PLAN.runs[wildcards.run].source.path,
    shell:
        "{resources.launcher} python -m aroface train --recipe {input.recipe:q} --data {params.data:q}"
        f" --run-dir {RUN_DIR} --state-dir {STATE_DIR}"
        " --loader-threads $(( ({threads} * {resources.nodes} + {resources.processes} - 1) / {resources.processes} ))"
        " --processes {resources.processes}"
        f" {PLAN.execution}"
        " > {log:q} 2>&1"


# Released weights become a run like any other. Their file is no input: it may go once it is imported, and whatever it
# holds is in the run's name.
rule import_released:
    input:
        ancient(RESULTS.recipe("{run}")),
    output:
        checkpoint=RESULTS.run("{run}").checkpoint,
        weights=RESULTS.run("{run}").weights,
    log:
        RESULTS.job_log("import", "{run}"),
    wildcard_constraints:
        run=r"[^/]+-released-[0-9a-f]+",
    priority: 10
    retries: retries(RESOURCES["evaluate"]["retries"])
    conda:
        "../envs/train.yaml"
    threads: RESOURCES["evaluate"]["threads"]
    resources:
        **growing(RESOURCES["evaluate"]),
    params:
        arguments=lambda wildcards: PLAN.runs[wildcards.run].import_arguments,
    shell:
        "python -m aroface model import {params.arguments}"
        f" --out {RUN_DIR}"
        " > {log:q} 2>&1"
