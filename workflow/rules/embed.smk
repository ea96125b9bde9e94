# Features of one run on one benchmark, computed once. The checkpoint, small and naming the hash of the weights, stands
# for them.
rule embed:
    input:
        checkpoint=RESULTS / "runs/{run}/checkpoint.json",
        weights=ancient(RESULTS / "runs/{run}/model.safetensors"),
        spec=ancient(lambda wildcards: PLAN.benchmarks[wildcards.benchmark].file),
        data=ancient(
            lambda wildcards: PLAN.benchmarks[wildcards.benchmark].source.inputs
        ),
    output:
        RESULTS / "features/{run}/{benchmark}/index.json",
    log:
        RESULTS / "logs/embed/{run}/{benchmark}.log",
    retries: RESOURCES["embed"]["retries"] if workflow.is_main_process else 0
    conda:
        "../envs/train.yaml"
    threads: RESOURCES["embed"]["threads"]
    resources:
        **job_resources(RESOURCES["embed"]),
        mem_mb=job_memory(RESOURCES["embed"]),
        runtime=job_minutes(RESOURCES["embed"]),
        gpus=RESOURCES["embed"]["gpus"],
    shell:
        f"python -m aroface embed --run-dir {RESULTS_WORD}/runs/{{wildcards.run}} --benchmark {{input.spec:q}}"
        f" --out {RESULTS_WORD}/features/{{wildcards.run}}/{{wildcards.benchmark}}"
        f" --device {DEVICE} --threads {{threads}} --processes {max(1, RESOURCES['embed']['gpus'])} > {{log:q}} 2>&1"
