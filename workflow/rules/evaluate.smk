# Records are made from features on the CPU; another version of a protocol makes them again from the same features.
rule evaluate:
    input:
        RESULTS.features("{run}", "{benchmark}").index,
    output:
        RESULTS.record("{run}", "{benchmark}"),
    log:
        RESULTS.job_log("evaluate", "{run}", "{benchmark}"),
    retries: retries(RESOURCES["evaluate"]["retries"])
    conda:
        "../envs/evaluate.yaml"
    threads: RESOURCES["evaluate"]["threads"]
    resources:
        **growing(RESOURCES["evaluate"]),
    params:
        version=lambda wildcards: PLAN.benchmarks[wildcards.benchmark].version,
    shell:
        f"python -m aroface evaluate --features {FEATURES_DIR}"
        " --out {output:q} > {log:q} 2>&1"
