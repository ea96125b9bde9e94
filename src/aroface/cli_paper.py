"""The verbs ``aroface compare``, ``claims``, ``report`` and ``crate``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from aroface import __version__
from aroface.cli_verbs import Arguments, Verbs, add_verb

if TYPE_CHECKING:
    from aroface.paper.report import Material

SPECS = Path("paper_tables/specs")
CLAIMS = Path("paper_tables/claims.yaml")


def add_paper_verbs(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verbs."""
    _compare(verbs)
    _claims(verbs)
    _report(verbs)
    _crate(verbs)


def _add_common(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--records", type=Path, default=Path("results/records"), help="folder of records (%(default)s)")
    verb.add_argument("--runs-file", type=Path, help="the workflow's list of current runs; all records where left out")
    verb.add_argument("--specs", type=Path, default=SPECS, help="folder of the tables' specifications (%(default)s)")
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--format", choices=("terminal", "markdown"), default="terminal", help="default: %(default)s")
    form.add_argument("--json", action="store_true", help="all numbers, for machines")


def _compare(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "compare",
        "compare reproduced values with the reported ones, cell by cell; exit status 1 if one does not hold",
        "aroface compare --table tinyface --records results/records",
        _do_compare,
    )
    verb.add_argument("--table", action="append", metavar="NAME", help="may be repeated (default: all with values)")
    _add_common(verb)


def _do_compare(options: Arguments) -> int:
    from aroface.paper import compare_report
    from aroface.paper.compare import compare, reported_specs
    from aroface.paper.records import read_runs_file

    specs = reported_specs(options.specs, options.table)
    report = compare(specs, options.records, **read_runs_file(options.runs_file))
    if options.json:
        print(_json(compare_report.as_json(report)), end="")
    else:
        show = compare_report.markdown if options.format == "markdown" else compare_report.terminal
        print(show(report), end="")
    return 0 if report.holds else 1


def _claims(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "claims",
        "check the paper's claims against reported and reproduced values; exit status 1 if one is refuted",
        "aroface claims --records results/records",
        _do_claims,
    )
    verb.add_argument("--claims", type=Path, default=CLAIMS, metavar="FILE", help="what is claimed (%(default)s)")
    verb.add_argument("--lint", action="store_true", help="only list what is odd in the source; exit status 0")
    _add_common(verb)


def _do_claims(options: Arguments) -> int:
    from aroface.paper import claims_report
    from aroface.paper.claims import read_claims
    from aroface.paper.lint import lint
    from aroface.paper.records import read_runs_file
    from aroface.paper.spec import read_spec
    from aroface.paper.verdicts import judge_claims

    specs = [read_spec(path) for path in sorted(options.specs.glob("*.yaml"))]
    claims = read_claims(options.claims, specs)
    findings = lint(specs, claims)
    if options.lint:
        show = claims_report.lint_markdown if options.format == "markdown" else claims_report.lint_terminal
        print(_json(claims_report.lint_json(findings)) if options.json else show(findings), end="")
        return 0
    judged = judge_claims(claims, options.records, **read_runs_file(options.runs_file))
    if options.json:
        print(_json(claims_report.as_json(judged, findings)), end="")
    else:
        report = claims_report.markdown if options.format == "markdown" else claims_report.terminal
        print(report(judged, findings), end="")
    return int(any("refuted" in (each.paper_verdict, each.reproduction_verdict) for each in judged))


def _report(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "report",
        "write one HTML file with every number, what stands behind it, and what is missing",
        "aroface report --configfile workflow/configs/demo.yaml --out results/demo/report.html",
        _do_report,
    )
    verb.add_argument("--out", type=Path, required=True, help="the HTML file; its links are relative to its folder")
    _add_plan(verb)


def _add_plan(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[Path("config.yaml")],
        metavar="FILE",
        help="configuration, each file laid over the one before, as for snakemake (config.yaml)",
    )
    verb.add_argument("--changes", type=json.loads, default={}, metavar="JSON", help="keys laid over these files")
    verb.add_argument("--root", type=Path, default=Path(), help="folder of the repository (%(default)s)")


def _do_report(options: Arguments) -> None:
    from aroface.paper.report import write_report

    write_report(_material(options), options.out)
    print(options.out)


def _crate(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "crate",
        "describe all that was made as a Research Object Crate (RO-Crate 1.1), for archives and other machines",
        "aroface crate --configfile workflow/configs/demo.yaml --out results/demo/ro-crate-metadata.json",
        _do_crate,
    )
    verb.add_argument("--out", type=Path, required=True, help="ro-crate-metadata.json in the folder of the results")
    _add_plan(verb)


def _do_crate(options: Arguments) -> None:
    from aroface.paper.crate import write_crate
    from aroface.report_material import software

    write_crate(_material(options), software(options.configfile, __version__, root=options.root), options.out)
    print(options.out)


def _material(options: Arguments) -> Material:
    from aroface.plan import make_plan
    from aroface.products import find_products
    from aroface.report_material import report_material

    plan = make_plan(options.configfile, options.changes, root=options.root)
    plan.write()
    files = " ".join(str(file) for file in options.configfile)
    workflow = f"snakemake --cores all --configfile {files}"
    return report_material(find_products(plan, root=options.root), workflow=workflow, root=options.root)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
