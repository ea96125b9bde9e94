# Sets that the workflow makes itself: rendered, or packed from a folder of photographs. Their folders are named after
# what they hold, so what an interrupted job left there can go.
for making in PLAN.sources.makings:

    rule:
        name:
            f"{making.verb}_{making.name}"
        input:
            ancient(making.spec_file),
        output:
            making.manifests,
        log:
            RESULTS.job_log("data", making.name),
        retries: retries(RESOURCES["data"]["retries"])
        conda:
            "../envs/data.yaml"
        threads: RESOURCES["data"]["threads"]
        resources:
            **growing(RESOURCES["data"]),
        params:
            arguments=verbatim(making.arguments),
            remnants=verbatim(making.out),
        shell:
            "rm -rf -- {params.remnants:q} && python -m aroface data {params.arguments} > {log:q} 2>&1"


# Brings what is missing and to be had without a form into the data folder. Runs are named after the data they are
# trained on, so that this goes before everything else, on its own: snakemake --cores 1 fetch
rule fetch:
    log:
        RESULTS.job_log("data", "fetch"),
    localrule: True
    conda:
        "../envs/data.yaml"
    params:
        names=PLAN.sources.to_fetch,
        folder=verbatim(str(command_path(PLAN.values["paths"]["data"]))),
    shell:
        "if [ -z '{params.names}' ]; then echo nothing to fetch > {log:q}; exit 0; fi;"
        " python -m aroface data fetch {params.names:q} --data-dir {params.folder:q} | tee -- {log:q}"


TOLERATED = (
    PLAN.values["training"]["max_corrupt_fraction"]
    if PLAN.values["training"]["on_corrupt"] == "skip"
    else 0
)


# Received sets are read whole before anything is computed from them; what is wrong with one ends in one line.
for source in PLAN.sources.received:

    rule:
        name:
            f"verify_{source.name}"
        output:
            source.manifest,
        log:
            RESULTS.job_log("data", f"verify-{source.name}"),
        retries: retries(RESOURCES["data"]["retries"])
        conda:
            "../envs/data.yaml"
        threads: RESOURCES["data"]["threads"]
        resources:
            **growing(RESOURCES["data"]),
        params:
            arguments=verbatim(source.verification),
            tolerated=TOLERATED,
        shell:
            "python -m aroface data verify {params.arguments} --max-corrupt-fraction {params.tolerated} --threads {threads} > {log:q} 2>&1"
