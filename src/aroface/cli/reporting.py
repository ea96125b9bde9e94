"""The verbs ``aroface table``, ``document``, ``explain``, ``compare``, ``claims``, ``report`` and ``crate``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aroface import __version__
from aroface.cli.arguments import (
    Arguments,
    Verbs,
    add_configuration,
    add_selection,
    add_verb,
    check_suffix,
    workflow_command,
)
from aroface.errors import InputError, printable
from aroface.exit_status import ExitStatus
from aroface.files import parse_json, write_text
from aroface.planning.paths import CLAIMS, SPECS
from aroface.results import Results

if TYPE_CHECKING:
    from aroface.reporting.html_report.page import Material
    from aroface.reporting.tables.form import TableForm

TABLE_SUFFIXES = {"latex": ".tex", "markdown": ".md", "html": ".html", "csv": ".csv", "csv-excel": ".csv"}
TABLE_SUFFIXES |= {"xlsx": ".xlsx", "docx": ".docx", "terminal": ".txt"}
SUFFIXES = {".txt": "terminal", ".md": "markdown", ".tex": "latex", ".json": "json"}
Forms = Mapping[str, Callable[[], str]]
"""A report in each of its forms, made when asked for."""


def add_table_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare ``aroface table``."""
    verb = add_verb(
        verbs,
        "table",
        "render a table from its specification and the records that are there",
        "aroface table paper_tables/specs/tinyface.yaml --records results/records --format terminal\n"
        "  aroface table paper_tables/specs/ijbs.yaml --mode reported --width column --out ijbs.tex\n"
        "  aroface table paper_tables/specs/ijbs.yaml --mode reported --environment 'table*' --out ijbs.tex",
        _do_table,
    )
    verb.add_argument("spec", type=Path, help="file under paper_tables/specs")
    verb.add_argument(
        "--mode",
        choices=("reported", "reproduced", "both", "delta"),
        default="both",
        help="the authors' values, those of the records, or both, with their difference (%(default)s)",
    )
    verb.add_argument(
        "--format",
        choices=("latex", "markdown", "html", "csv", "csv-excel", "xlsx", "docx", "terminal"),
        default="latex",
        help="csv is for programs, csv-excel for spreadsheet programs; xlsx and docx need --out and aroface[paper] "
        "(%(default)s)",
    )
    verb.add_argument(
        "--cite", action="store_true", help="cite what a LaTeX table names: methods, training sets and benchmarks"
    )
    verb.add_argument(
        "--bibtex",
        action="store_true",
        help="instead of the table, BibTeX entries of the methods, training sets and benchmarks that it names and of "
        "the sources of values that are not the authors', by the keys that the LaTeX table cites",
    )
    verb.add_argument(
        "--emphasis",
        choices=("as_paper", "best_second", "none"),
        help="reported values that stand out: the rows that the authors print bold, or the best and second best; "
        "reproduced ones are bold where they are not significantly worse than the best (the table's)",
    )
    verb.add_argument("--out", type=Path, help="file to write; standard output where it is left out")
    add_selection(verb)
    _add_shape(verb)
    _add_form(verb)


def _add_shape(verb: argparse.ArgumentParser) -> None:
    """Declare the options on what a table shows, whatever its format."""
    shape = verb.add_argument_group("rows, columns and numbers, in every format")
    shape.add_argument("--columns", nargs="+", metavar="ID", help="ids of the columns to show, in this order")
    shape.add_argument(
        "--rows", nargs="+", metavar="ROW", help="rows to show, in this order: ArcFace+ARoFace@MS1MV2, or a row's id"
    )
    shape.add_argument("--transpose", action="store_true", default=None, help="a row for each column, and the reverse")
    shape.add_argument(
        "--decimals", type=int, choices=range(5), help="digits after the point (each column's own); fewer round"
    )
    shape.add_argument(
        "--uncertainty",
        choices=("sd", "interval", "none"),
        help="beside a mean: the standard deviation over seeds, the 95 %% prediction interval of one more, or nothing",
    )
    shape.add_argument("--caption", metavar="TEXT", help="caption in place of the composed one")
    shape.add_argument("--short-caption", metavar="TEXT", help="caption in a list of tables")


def _add_form(verb: argparse.ArgumentParser) -> None:
    """Declare the options on how LaTeX sets a table."""
    form = verb.add_argument_group(
        "form in LaTeX",
        "A table that is wider than its line gets smaller type (to 7 pt), then closer columns,\n"
        "then no venue, then parts below one another; one that is higher than its page is\n"
        "turned. A line says which. The key form of a specification holds the same options.",
    )
    form.add_argument(
        "--environment",
        choices=("table", "table*", "sidewaystable", "longtable", "body"),
        help="table (default); table* for both columns of a page; body for the tabular in a float of your own",
    )
    form.add_argument(
        "--width",
        metavar="WIDTH",
        help="line to fit: column (237 pt, any class of two columns), text (345 pt; in table* 497 pt), or a length "
        "such as 84mm, 252pt, 3.3in (LNCS's 347 pt)",
    )
    form.add_argument("--size", type=int, choices=range(7, 11), metavar="PT", help="type size, 7 to 10 pt (by rule)")
    form.add_argument("--label", help="label (tab:aroface:NAME, with :reported after it for the authors' values)")
    form.add_argument(
        "--notes", choices=("parbox", "threeparttable"), help="notes as paragraphs (default) or of threeparttable"
    )
    form.add_argument(
        "--numbers", choices=("plain", "siunitx"), help="centred columns (default), or S columns of siunitx 2 and 3"
    )
    form.add_argument(
        "--font", choices=("cm", "times"), help="type that the fit is computed with (cm, the widest of the two)"
    )
    form.add_argument(
        "--links",
        action="store_true",
        default=None,
        help="name the row and column of each number, for a document in which numbers are links",
    )


def _table_form(options: Arguments) -> TableForm:
    from aroface.reporting.tables.form import TableForm, read_form

    return read_form({field.name: getattr(options, field.name) for field in fields(TableForm)})


def _do_table(options: Arguments) -> None:
    from aroface.reporting.records import read_runs_file
    from aroface.reporting.tables.bibtex import bibtex
    from aroface.reporting.tables.render import make_grid, render_table, write_table
    from aroface.reporting.tables.spec import read_spec

    if options.bibtex:
        shown = read_runs_file(options.runs_file)
        entries = bibtex(read_spec(options.spec), make_grid(options.spec, options.records, mode=options.mode, **shown))
        if options.out:
            write_text(options.out, entries)
        print(options.out or entries, end="\n" if options.out else "")
        return
    if options.out and options.out.suffix.lower() in TABLE_SUFFIXES.values():  # other endings say nothing
        check_suffix(options.out, TABLE_SUFFIXES[options.format])
    choice = {**read_runs_file(options.runs_file), "mode": options.mode, "format": options.format}
    choice |= {"caption_note": options.caption_note, "emphasis": options.emphasis, "form": _table_form(options)}
    choice["cite"] = options.cite
    choice["say"] = partial(print, file=sys.stderr)
    if options.out:
        write_table(options.spec, options.records, options.out, **choice)
        print(options.out)
    else:
        print(render_table(options.spec, options.records, **choice), end="")
    if options.mode != "reported":
        _tell_of_no_records(options.records)


def _tell_of_no_records(folder: Path) -> None:
    """Say that a folder of records is not there: what is made of it has no reproduced value."""
    if not folder.exists():
        print(f"aroface: no folder {printable(str(folder))}, so there are no reproduced values", file=sys.stderr)


def add_reporting_verbs(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the other verbs."""
    _document(verbs)
    _explain(verbs)
    _compare(verbs)
    _claims(verbs)
    _report(verbs)
    _crate(verbs)


def _document(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "document",
        "put rendered tables and figures into one document",
        "aroface document results/tables/tinyface.tex --out results/paper.pdf",
        _do_document,
    )
    verb.add_argument("fragments", type=Path, nargs="+", help="tables and figures, as table and figure write them")
    verb.add_argument("--pictures", type=Path, nargs="*", default=[], help="PDF files that the figures show")
    verb.add_argument("--note", default="", help="what the numbers are, as the first paragraph")
    verb.add_argument(
        "--report", type=Path, help="report that numbers shall be links into, as aroface report writes it"
    )
    verb.add_argument("--out", type=Path, required=True, help="a .pdf (LaTeX compiles it) or a .tex file")


def _do_document(options: Arguments) -> None:
    from aroface.reporting.document import compile_document, write_document

    check_suffix(options.out, ".pdf", ".tex")
    make = compile_document if options.out.suffix.lower() == ".pdf" else write_document
    make(options.fragments, options.pictures, options.out, note=options.note, report=options.report)
    print(options.out)


def _explain(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "explain",
        "say where a cell of a table comes from",
        "aroface explain tinyface/ArcFace+ARoFace@MS1MV2/rank1",
        _do_explain,
    )
    verb.add_argument("cell", help="table/row/column")
    add_configuration(verb)


def _do_explain(options: Arguments) -> None:
    from aroface.planning.plan import make_plan
    from aroface.planning.products import find_products
    from aroface.reporting.explain import explain
    from aroface.reporting.records import read_runs_file

    plan = make_plan(options.configfile)
    plan.write()
    specs = [spec.path for spec in find_products(plan).offered.values()]
    workflow = workflow_command(options.configfile)
    choice = read_runs_file(plan.runs_file)
    print(explain(options.cell, specs, plan.results.records, plan.results.root, workflow=workflow, **choice), end="")


def _add_common(verb: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    verb.add_argument("--records", type=Path, default=Results().records, help="folder of records (%(default)s)")
    verb.add_argument("--runs-file", type=Path, help="the workflow's list of current runs; all records where left out")
    verb.add_argument("--specs", type=Path, default=SPECS, help="folder of the tables' specifications (%(default)s)")
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--format", choices=formats, default="terminal", help="default: %(default)s")
    form.add_argument("--json", action="store_true", help="all numbers, for machines")
    suffixes = ", ".join(suffix for suffix, format in SUFFIXES.items() if format in (*formats, "json"))
    form.add_argument(
        "--out",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=f"write files instead, each in the form of its name: {suffixes}",
    )
    verb.add_argument("--exit-zero", action="store_true", help="exit with status 0 whatever is found")


def _compare(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "compare",
        "compare reproduced values with the reported ones, cell by cell; exit status 1 if one does not hold",
        "aroface compare --table tinyface --records results/records",
        _do_compare,
    )
    verb.add_argument("--table", action="append", metavar="NAME", help="may be repeated (default: all with values)")
    _add_common(verb, ("terminal", "markdown"))


def _do_compare(options: Arguments) -> int:
    from aroface.reporting.claims import compare_text
    from aroface.reporting.claims.compare import compare, reported_specs
    from aroface.reporting.records import read_runs_file

    specs = reported_specs(options.specs, options.table)
    report = compare(specs, options.records, **read_runs_file(options.runs_file))
    _tell_of_no_records(options.records)
    forms: Forms = {
        "terminal": lambda: compare_text.terminal(report),
        "markdown": lambda: compare_text.markdown(report),
        "json": lambda: _json(compare_text.as_json(report)),
    }
    _show(options, forms)
    return ExitStatus.DONE if report.holds or options.exit_zero else ExitStatus.FAILED


def _claims(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "claims",
        "check the paper's claims against reported and reproduced values; exit status 1 if one is refuted",
        "aroface claims --records results/records",
        _do_claims,
    )
    verb.add_argument("--claims", type=Path, default=CLAIMS, metavar="FILE", help="what is claimed (%(default)s)")
    verb.add_argument(
        "--width",
        type=float,
        metavar="PT",
        help="width of the line that the LaTeX table fits (LNCS, 347.12); in a column of less than 300 each claim "
        "stands above its verdicts",
    )
    verb.add_argument("--lint", action="store_true", help="only list what is odd in the source; exit status 0")
    _add_common(verb, ("terminal", "markdown", "latex"))


def _do_claims(options: Arguments) -> int:
    from aroface.reporting.claims import claims_text
    from aroface.reporting.claims.claims import read_claims
    from aroface.reporting.claims.lint import lint
    from aroface.reporting.claims.verdicts import judge_claims
    from aroface.reporting.records import read_runs_file
    from aroface.reporting.tables.spec import read_spec

    specs = [read_spec(path) for path in sorted(options.specs.glob("*.yaml"))]
    if not specs:
        raise InputError("no tables", file=options.specs, expected="specifications of tables, as YAML")
    claims = read_claims(options.claims, specs)
    findings = lint(specs, claims)
    if options.lint:
        _show(
            options,
            {
                "terminal": lambda: claims_text.lint_terminal(findings),
                "markdown": lambda: claims_text.lint_markdown(findings),
                "json": lambda: _json(claims_text.lint_json(findings)),
            },
        )
        return ExitStatus.DONE
    judged = judge_claims(claims, options.records, **read_runs_file(options.runs_file))
    _tell_of_no_records(options.records)
    _show(
        options,
        {
            "terminal": lambda: claims_text.terminal(judged, findings),
            "markdown": lambda: claims_text.markdown(judged, findings),
            "latex": lambda: claims_text.latex(judged, width=options.width or claims_text.WIDTH),
            "json": lambda: _json(claims_text.as_json(judged, findings)),
        },
    )
    refuted = any("refuted" in (each.paper_verdict, each.reproduction_verdict) for each in judged)
    return ExitStatus.FAILED if refuted and not options.exit_zero else ExitStatus.DONE


def _show(options: Arguments, forms: Forms) -> None:
    """Print a report in the form that was asked for, or write it into files, each in the form of its name.

    Raises:
        InputError: There is no such form of it.
    """
    wanted = {path: SUFFIXES.get(path.suffix) for path in options.out or ()}
    chosen = "json" if options.json else options.format
    for path, form in wanted.items() or {None: chosen}.items():
        if form not in forms:
            raise InputError(
                "no such form of this report",
                file=path,
                where=None if path else chosen,
                expected=f"one of {', '.join(suffix for suffix, form in SUFFIXES.items() if form in forms)}",
            )
    if not wanted:
        print(forms[chosen](), end="")
    for path, form in wanted.items():
        write_text(path, forms[form or ""]())
        print(path)


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
    add_configuration(verb)
    verb.add_argument("--changes", type=_changes, default={}, metavar="JSON", help="keys laid over these files")
    verb.add_argument("--root", type=Path, default=Path(), help="folder of the repository (%(default)s)")


def _changes(text: str) -> dict[str, Any]:
    """Keys of a configuration and their values, as an option's value."""
    try:
        value = parse_json(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{printable(text, 100)} is not a JSON object")
    return value


def _do_report(options: Arguments) -> None:
    from aroface.reporting.html_report.page import write_report

    check_suffix(options.out, ".html", ".htm")
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
    from aroface.planning.report_material import software
    from aroface.reporting.crate import write_crate

    write_crate(_material(options), software(options.configfile, __version__, root=options.root), options.out)
    print(options.out)


def _material(options: Arguments) -> Material:
    from aroface.planning.plan import make_plan
    from aroface.planning.products import find_products
    from aroface.planning.report_material import report_material

    plan = make_plan(options.configfile, options.changes, root=options.root)
    plan.write()
    workflow = workflow_command(options.configfile)
    return report_material(find_products(plan, root=options.root), workflow=workflow, root=options.root)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
