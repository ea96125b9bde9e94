# The records that exist become tables, figures and one document. Nothing here needs torch, and it takes seconds: under
# a cluster's profile it runs where Snakemake does.
RENDERING = {name: RESOURCES["paper"][name] for name in ("mem_mb", "runtime")}


for table in PRODUCTS.offered:

    rule:
        name:
            f"table_{table}"
        input:
            runs=ancient(PLAN.runs_file),
            spec=PRODUCTS.offered[table].path,
            records=PRODUCTS.table_records(table),
        output:
            PRODUCTS.table_file(table),
        log:
            RESULTS.job_log("paper", f"table_{table}"),
        localrule: True
        conda:
            "../envs/paper.yaml"
        resources:
            **RENDERING,
        params:
            arguments=verbatim(PRODUCTS.table_arguments(table)),
        shell:
            "python -m aroface table {params.arguments} --out {output:q} > {log:q} 2>&1"


for figure in PRODUCTS.figures:

    rule:
        name:
            f"figure_{figure}"
        input:
            runs=ancient(PLAN.runs_file),
            faces=ancient(PRODUCTS.figure_faces(figure)),
            shown=PRODUCTS.figure_inputs(figure),
        output:
            multiext(str(PRODUCTS.figure_stem(figure)), ".tex", ".pdf", ".png"),
        log:
            RESULTS.job_log("paper", f"figure_{figure}"),
        localrule: True
        conda:
            "../envs/paper.yaml"
        resources:
            **RENDERING,
        params:
            arguments=verbatim(PRODUCTS.figure_arguments(figure)),
        shell:
            "python -m aroface figure {params.arguments} > {log:q} 2>&1"


# Whether the reproduction holds, and which of the paper's claims do. A value that differs is news and no failure.
if PRODUCTS.compared:

    rule compare:
        input:
            runs=ancient(PLAN.runs_file),
            specs=[PRODUCTS.offered[table].path for table in PRODUCTS.compared],
            records=PRODUCTS.compared_records,
        output:
            PRODUCTS.compare_files,
        log:
            RESULTS.job_log("paper", "compare"),
        localrule: True
        conda:
            "../envs/paper.yaml"
        resources:
            **RENDERING,
        params:
            arguments=verbatim(PRODUCTS.compare_arguments()),
        shell:
            "python -m aroface compare {params.arguments} --out {output:q} > {log:q} 2>&1"

    rule claims:
        input:
            runs=ancient(PLAN.runs_file),
            claims=PRODUCTS.claims.path,
            specs=PRODUCTS.claimed_specs,
            records=PRODUCTS.claimed_records,
        output:
            PRODUCTS.claims_files,
        log:
            RESULTS.job_log("paper", "claims"),
        localrule: True
        conda:
            "../envs/paper.yaml"
        resources:
            **RENDERING,
        params:
            arguments=verbatim(PRODUCTS.claims_arguments()),
        shell:
            "python -m aroface claims {params.arguments} --out {output:q} > {log:q} 2>&1"


# The PDF where LaTeX is installed, else its source.
rule document:
    input:
        fragments=PRODUCTS.fragments,
        pictures=PRODUCTS.picture_files,
    output:
        PRODUCTS.document_files,
    log:
        RESULTS.job_log("paper", "document"),
    localrule: True
    conda:
        "../envs/paper.yaml"
    resources:
        **RENDERING,
    params:
        arguments=verbatim(PRODUCTS.document_arguments()),
    shell:
        "python -m aroface document {params.arguments} --out {output:q} > {log:q} 2>&1"


# One page on all results, and a description of them for machines. Both show what exists of the whole plan, so they come
# last.
REPORT_ARGUMENTS = [
    *("--root", str(ROOT)),
    *("--changes", json.dumps(workflow.config_settings.config)),
    *("--configfile", *map(str, FILES)),
]


rule report:
    input:
        PRODUCTS.table_files,
        PRODUCTS.figure_files,
        PRODUCTS.document_files,
        PLAN.records(),
    output:
        PRODUCTS.report_file,
    log:
        RESULTS.job_log("paper", "report"),
    localrule: True
    conda:
        "../envs/paper.yaml"
    resources:
        **RENDERING,
    params:
        arguments=verbatim(shlex.join(REPORT_ARGUMENTS)),
    shell:
        "python -m aroface report {params.arguments} --out {output:q} > {log:q} 2>&1"


rule crate:
    input:
        PRODUCTS.report_file,
    output:
        PRODUCTS.crate_file,
    log:
        RESULTS.job_log("paper", "crate"),
    localrule: True
    conda:
        "../envs/paper.yaml"
    resources:
        **RENDERING,
    params:
        arguments=verbatim(shlex.join(REPORT_ARGUMENTS)),
    shell:
        "python -m aroface crate {params.arguments} --out {output:q} > {log:q} 2>&1"


# The tables as their authors reported them, which the repository keeps.
for table, spec in PRODUCTS.reported.items():

    rule:
        name:
            f"reported_{table}"
        input:
            spec.path,
        output:
            PRODUCTS.reported_file(table),
        log:
            RESULTS.job_log("paper", f"reported_{table}"),
        localrule: True
        conda:
            "../envs/paper.yaml"
        shell:
            "python -m aroface table {input:q} --mode reported --out {output:q} > {log:q} 2>&1"
