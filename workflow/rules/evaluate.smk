# Records are made from features on the CPU; another version of a protocol makes them again from the same features.
rule evaluate:
    input:
        RESULTS / "features/{run}/{benchmark}/index.json",
    output:
        RESULTS / "records/{run}/{benchmark}.json",
    log:
        RESULTS / "logs/evaluate/{run}/{benchmark}.log",
    retries: RESOURCES["evaluate"]["retries"] if workflow.is_main_process else 0
    conda:
        "../envs/evaluate.yaml"
    threads: RESOURCES["evaluate"]["threads"]
    resources:
        **job_resources(RESOURCES["evaluate"]),
        mem_mb=job_memory(RESOURCES["evaluate"]),
        runtime=job_minutes(RESOURCES["evaluate"]),
    params:
        version=lambda wildcards: PLAN.benchmarks[wildcards.benchmark].version,
    shell:
        f"python -m aroface evaluate --features {RESULTS_WORD}/features/{{wildcards.run}}/{{wildcards.benchmark}}"
        " --out {output:q} > {log:q} 2>&1"
