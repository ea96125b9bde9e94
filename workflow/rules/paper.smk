# What there is of records becomes tables, figures and one document. Nothing here needs torch, and it takes seconds:
# under a cluster's profile it runs where Snakemake does.
for table in PAPER.offered:

    rule:
        name:
            f"table_{table}"
        input:
            runs=ancient(PLAN.runs_file),
            spec=PAPER.offered[table].path,
            records=PAPER.table_records(table),
        output:
            PAPER.table_file(table),
        log:
            RESULTS / "logs" / "paper" / f"table_{table}.log",
        localrule: True
        conda:
            "../envs/paper.yaml"
        resources:
            mem_mb=RESOURCES["paper"]["mem_mb"],
            runtime=RESOURCES["paper"]["runtime"],
        params:
            arguments=verbatim(PAPER.table_arguments(table)),
        shell:
            "python -m aroface table {params.arguments} --out {output:q} > {log:q} 2>&1"


for figure in PAPER.figures:

    rule:
        name:
            f"figure_{figure}"
        input:
            runs=ancient(PLAN.runs_file),
            faces=ancient(PAPER.figure_faces(figure)),
            shown=PAPER.figure_inputs(figure),
        output:
            multiext(str(PAPER.figure_stem(figure)), ".tex", ".pdf", ".png"),
        log:
            RESULTS / "logs" / "paper" / f"figure_{figure}.log",
        localrule: True
        conda:
            "../envs/paper.yaml"
        resources:
            mem_mb=RESOURCES["paper"]["mem_mb"],
            runtime=RESOURCES["paper"]["runtime"],
        params:
            arguments=verbatim(PAPER.figure_arguments(figure)),
        shell:
            "python -m aroface figure {params.arguments} > {log:q} 2>&1"


# Whether the reproduction holds, and which of the paper's claims do. A value that differs is news and no failure.
if PAPER.compared:

    rule compare:
        input:
            runs=ancient(PLAN.runs_file),
            specs=[PAPER.offered[table].path for table in PAPER.compared],
            records=PAPER.compared_records,
        output:
            PAPER.compare_files,
        log:
            RESULTS / "logs/paper/compare.log",
        localrule: True
        conda:
            "../envs/paper.yaml"
        resources:
            mem_mb=RESOURCES["paper"]["mem_mb"],
            runtime=RESOURCES["paper"]["runtime"],
        params:
            arguments=verbatim(PAPER.compare_arguments()),
        shell:
            "python -m aroface compare {params.arguments} --out {output:q} > {log:q} 2>&1"

    rule claims:
        input:
            runs=ancient(PLAN.runs_file),
            claims=PAPER.claims.path,
            specs=PAPER.claimed_specs,
            records=PAPER.claimed_records,
        output:
            PAPER.claims_files,
        log:
            RESULTS / "logs/paper/claims.log",
        localrule: True
        conda:
            "../envs/paper.yaml"
        resources:
            mem_mb=RESOURCES["paper"]["mem_mb"],
            runtime=RESOURCES["paper"]["runtime"],
        params:
            arguments=verbatim(PAPER.claims_arguments()),
        shell:
            "python -m aroface claims {params.arguments} --out {output:q} > {log:q} 2>&1"


# The PDF where LaTeX is installed, else the document that makes it.
rule document:
    input:
        fragments=PAPER.fragments,
        pictures=PAPER.picture_files,
    output:
        PAPER.document_files,
    log:
        RESULTS / "logs/paper/document.log",
    localrule: True
    conda:
        "../envs/paper.yaml"
    resources:
        mem_mb=RESOURCES["paper"]["mem_mb"],
        runtime=RESOURCES["paper"]["runtime"],
    params:
        arguments=verbatim(PAPER.document_arguments()),
    shell:
        "python -m aroface document {params.arguments} --out {output:q} > {log:q} 2>&1"


# One page on all of it, and a description of all of it for machines. Both show what is there of the whole plan, so they
# come last.
REPORT_ARGUMENTS = [
    *("--root", str(ROOT)),
    *("--changes", json.dumps(workflow.config_settings.config)),
    *("--configfile", *map(str, FILES)),
]


rule report:
    input:
        PAPER.table_files,
        PAPER.figure_files,
        PAPER.document_files,
        PLAN.records(),
    output:
        PAPER.report_file,
    log:
        RESULTS / "logs/paper/report.log",
    localrule: True
    conda:
        "../envs/paper.yaml"
    resources:
        mem_mb=RESOURCES["paper"]["mem_mb"],
        runtime=RESOURCES["paper"]["runtime"],
    params:
        arguments=verbatim(shlex.join(REPORT_ARGUMENTS)),
    shell:
        "python -m aroface report {params.arguments} --out {output:q} > {log:q} 2>&1"


rule crate:
    input:
        PAPER.report_file,
    output:
        PAPER.crate_file,
    log:
        RESULTS / "logs/paper/crate.log",
    localrule: True
    conda:
        "../envs/paper.yaml"
    resources:
        mem_mb=RESOURCES["paper"]["mem_mb"],
        runtime=RESOURCES["paper"]["runtime"],
    params:
        arguments=verbatim(shlex.join(REPORT_ARGUMENTS)),
    shell:
        "python -m aroface crate {params.arguments} --out {output:q} > {log:q} 2>&1"


# The tables as their authors reported them, which the repository keeps.
for table, spec in PAPER.reported.items():

    rule:
        name:
            f"reported_{table}"
        input:
            spec.path,
        output:
            PAPER.reported_file(table),
        log:
            RESULTS / "logs" / "paper" / f"reported_{table}.log",
        localrule: True
        conda:
            "../envs/paper.yaml"
        shell:
            "python -m aroface table {input:q} --mode reported --out {output:q} > {log:q} 2>&1"
