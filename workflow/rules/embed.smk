# Features of one run on one benchmark, computed once. The checkpoint, small and naming the hash of the weights, stands
# for them.
rule embed:
    input:
        checkpoint=RESULTS.run("{run}").checkpoint,
        weights=ancient(RESULTS.run("{run}").weights),
        spec=ancient(lambda wildcards: PLAN.benchmarks[wildcards.benchmark].file),
        data=ancient(
            lambda wildcards: PLAN.benchmarks[wildcards.benchmark].source.inputs
        ),
    output:
        RESULTS.features("{run}", "{benchmark}").index,
    log:
        RESULTS.job_log("embed", "{run}", "{benchmark}"),
    retries: retries(RESOURCES["embed"]["retries"])
    conda:
        "../envs/train.yaml"
    threads: RESOURCES["embed"]["threads"]
    resources:
        **growing(RESOURCES["embed"]),
        gpus=RESOURCES["embed"]["gpus"],
    shell:
        f"python -m aroface embed --run-dir {RUN_DIR}"
        " --benchmark {input.spec:q}"
        f" --out {FEATURES_DIR} --device {DEVICE}"
        " --threads {threads}"
        f" --processes {max(1, RESOURCES['embed']['gpus'])}"
        " > {log:q} 2>&1"
