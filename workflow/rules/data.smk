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
            RESULTS / "logs" / "data" / f"{making.name}.log",
        retries: RESOURCES["data"]["retries"]
        conda:
            "../envs/data.yaml"
        threads: RESOURCES["data"]["threads"]
        resources:
            mem_mb=RESOURCES["data"]["mem_mb"],
            runtime=RESOURCES["data"]["runtime"],
        params:
            arguments=making.arguments,
            remnants=making.out,
        shell:
            "rm -rf {params.remnants:q} && python -m aroface data {params.arguments} > {log} 2>&1"
