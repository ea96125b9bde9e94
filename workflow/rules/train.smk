# Everything that a run depends on is in its name, so all inputs are ancient: no copied or touched file trains it again.
# The resumable state is no output: Snakemake deletes outputs before a rerun and must not delete days of training.
# Trainings come first: they are the longest jobs, and what is left at the end should be short.
rule train:
    input:
        recipe=ancient(RESULTS / "recipes/{run}.json"),
        data=ancient(lambda wildcards: PLAN.runs[wildcards.run].source.inputs),
        validation=ancient(PLAN.validation_inputs),
    output:
        checkpoint=RESULTS / "runs/{run}/checkpoint.json",
        weights=RESULTS / "runs/{run}/model.safetensors",
    log:
        RESULTS / "logs/train/{run}.log",
    priority: 10
    retries: RESOURCES["train"]["retries"]
    conda:
        "../envs/train.yaml"
    threads: RESOURCES["train"]["threads"]
    resources:
        mem_mb=RESOURCES["train"]["mem_mb"],
        runtime=RESOURCES["train"]["runtime"],
        gpus=RESOURCES["train"]["gpus"],
    params:
        data=lambda wildcards: PLAN.runs[wildcards.run].source.path,
    shell:
        "python -m aroface train --recipe {input.recipe} --data {params.data:q}"
        f" --run-dir {RESULTS}/runs/{{wildcards.run}} --state-dir {RESULTS}/state/{{wildcards.run}}"
        f" --loader-threads $(( ({{threads}} + {PLAN.processes} - 1) / {PLAN.processes} )) {PLAN.conduct} > {{log}} 2>&1"
