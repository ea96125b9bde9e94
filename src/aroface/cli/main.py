"""The ``aroface`` command: one subcommand a verb, no logic of its own.

Modules are imported by the verb that needs them: ``aroface table`` must not wait for torch.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aroface import __version__
from aroface.cli.arguments import (
    Arguments,
    Verbs,
    add_configuration,
    add_device,
    add_selection,
    add_verb,
    positive,
    workflow_command,
)
from aroface.cli.compare_runs import add_statistics_verbs
from aroface.cli.data import add_data_verbs
from aroface.cli.extras import missing_package
from aroface.cli.figure import add_figure_verb
from aroface.cli.model import add_model_verbs
from aroface.cli.reporting import add_paper_verbs
from aroface.cli.robustness import add_foreign_options, add_robustness_verb, evaluate_foreign
from aroface.cli.train import add_train_verb
from aroface.environment_lock import check_versions
from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.files import FULL_DISK, REFUSED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0 done, 1 what was checked does not hold, 2 bad input, 75 a training that goes on when it is
        started again, 130 ended by Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    options.words = sys.argv[1:] if arguments is None else [*arguments]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that is not text must not end a finished command
    try:
        _check_words(options.words)
        check_versions()
        status: int | None = options.action(options)
    except InputError as error:
        if options.debug:
            raise
        _defer_to_rank_zero()
        print(f"aroface: error: {error}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    except ModuleNotFoundError as error:
        missing = missing_package(error, options.verb)
        if options.debug or missing is None:
            raise
        _defer_to_rank_zero()
        print(f"aroface: error: {missing}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    except UnicodeEncodeError as error:  # the name of a file or folder in a hash or a list
        if options.debug or "surrogates" not in error.reason:
            raise
        begin, end = max(0, error.start - 40), error.end + 40
        name = ascii(error.object[begin:end])
        _defer_to_rank_zero()
        print(f"aroface: error: {name} is not UTF-8; rename files and folders of such names", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    except KeyboardInterrupt:
        if options.debug:
            raise
        print("aroface: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.DONE
    except OSError as error:
        line = _line(error)
        if options.debug or line is None:
            raise
        _defer_to_rank_zero()
        print(f"aroface: error: {line}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    return status or ExitStatus.DONE


def _check_words(words: Sequence[str]) -> None:
    """Refuse what no record or log could hold, before anything is computed."""
    for word in words:
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise InputError(f"{word!a} is not UTF-8", remedy="rename the file or folder")


def _line(error: OSError) -> str | None:
    """What the disk has refused, in a line; None for an error that only a programmer can read."""
    place = error.filename2 or error.filename
    where = f"{place}: " if place else ""
    if error.errno in FULL_DISK:
        remedy = "free some space and start again: what was done is kept"
        return f"{where}no room ({error.strerror}); {remedy}"
    return f"{where}{error.strerror}" if error.errno in REFUSED else None


def _defer_to_rank_zero() -> None:
    """Among several processes of torchrun's, leave an error to the first one if it has the same: it ends the others."""
    if "RANK" not in os.environ:  # a process of its own: no error has to wait for torch
        return
    from aroface.distributed.launch import is_first

    if not is_first():
        time.sleep(3)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aroface",
        description="Face recognition that is robust to face alignment errors: data, training, evaluation, paper.",
        epilog="Each verb has its own help with an example: aroface train --help",
    )
    parser.add_argument("--version", action="version", version=f"aroface {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an input error")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    add_data_verbs(verbs)
    add_model_verbs(verbs)
    _plan(verbs)
    add_train_verb(verbs)
    _embed(verbs)
    _evaluate(verbs)
    add_statistics_verbs(verbs)
    add_robustness_verb(verbs)
    _table(verbs)
    add_figure_verb(verbs)
    _document(verbs)
    _explain(verbs)
    add_paper_verbs(verbs)
    return parser


def _plan(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "plan",
        "say what a configuration will cost and what is missing, and write its recipes and benchmarks",
        "aroface plan --configfile workflow/configs/demo.yaml",
        _do_plan,
    )
    verb.add_argument("--json", action="store_true", help="all numbers, for machines, instead of a table")
    verb.add_argument("--files", action="store_true", help="name the files that were written instead")
    verb.add_argument(
        "--gpus",
        type=positive,
        metavar="N",
        help="to count on (gpu.count of slurm/site.yaml, else 16): when is it done?",
    )
    verb.add_argument(
        "--gpus-per-node", type=positive, metavar="N", help="of them (gpu.per_node of slurm/site.yaml, else 4)"
    )
    verb.add_argument("--schedule", type=Path, metavar="FILE.pdf", help="draw what runs when, as PDF and PNG")
    add_configuration(verb)


def _do_plan(options: Arguments) -> None:
    import json

    from aroface.planning.forecast.costs import plan_costs
    from aroface.planning.forecast.costs_text import as_json, print_table
    from aroface.planning.forecast.outlook_text import jobs_line, outlook_json, time_lines
    from aroface.planning.forecast.workload import find_outlook, find_site, tasks_to_do
    from aroface.planning.plan import make_plan

    plan = make_plan(options.configfile)
    plan.write()
    costs = plan_costs(plan)
    tasks, where = tasks_to_do(plan), {"gpus": options.gpus, "gpus_per_node": options.gpus_per_node}
    if options.schedule:
        from aroface.planning.forecast.gantt import draw_schedule

        draw_schedule(find_outlook(plan, costs, tasks, find_site(plan, **where)).schedule, options.schedule, plan)
    if options.json:
        outlook = outlook_json(find_outlook(plan, costs, tasks, find_site(plan, **where)))
        print(json.dumps({**as_json(costs, plan.missing()), "outlook": outlook}, indent=2))
    elif options.files:
        for run in plan.runs:
            print(f"run        {plan.recipe_file(run)}")
        for benchmark in plan.benchmarks.values():
            print(f"benchmark  {benchmark.file}")
    else:
        print_table(costs)
        print(jobs_line(tasks), *time_lines(plan, costs, tasks, **where), sep="\n")
    for line in plan.missing():
        print(f"missing: {line}", file=sys.stderr)
    costs.check_budget()


def _embed(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "embed",
        "compute and store the features of a benchmark",
        "aroface embed --run-dir results/runs/RUN --benchmark lfw.json --out results/features/RUN/lfw",
        _do_embed,
    )
    verb.add_argument("--run-dir", type=Path, required=True, help="a finished run")
    verb.add_argument("--benchmark", type=Path, required=True, help="JSON or YAML: name, protocol, path and options")
    verb.add_argument("--out", type=Path, required=True, help="folder for features.npy and index.json")
    add_device(verb)
    verb.add_argument("--batch-size", type=positive, default=256, metavar="N", help="images at once (%(default)s)")
    verb.add_argument("--threads", type=positive, metavar="N", help="of CPU arithmetic (default: all cores)")
    verb.add_argument(
        "--processes", type=positive, default=1, metavar="N", help="on this machine, one a GPU (%(default)s)"
    )
    verb.add_argument(
        "--precision", choices=("float32", "float16"), default="float32", help="of the file (%(default)s)"
    )


def _do_embed(options: Arguments) -> int:
    from aroface.device import keep_freed_memory
    from aroface.distributed.launch import is_first, launch, under_torchrun
    from aroface.embedding.embed import embed_benchmark
    from aroface.schemas import read_yaml

    if options.processes > 1 and not under_torchrun():
        return launch(options.processes, options.words)
    keep_freed_memory()
    benchmark = read_yaml(options.benchmark)
    sizes = {"batch_size": options.batch_size, "threads": options.threads, "precision": options.precision}
    index = embed_benchmark(options.run_dir, benchmark, options.out, device=options.device, **sizes)
    if is_first():
        print(index)
    return 0


def _evaluate(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "evaluate",
        "evaluate stored features, or any model on files of pairs, and write the result record",
        "aroface evaluate --features results/features/RUN/lfw --out results/records/RUN/lfw.json\n"
        "  aroface evaluate --model my.onnx --benchmark lfw=lfw.bin cfp_fp=cfp_fp.bin --color BGR",
        _do_evaluate,
    )
    what = verb.add_mutually_exclusive_group(required=True)
    what.add_argument("--features", type=Path, help="folder that aroface embed wrote")
    add_foreign_options(verb, what)
    verb.add_argument("--out", type=Path, help="the record (needed with --features); metrics are printed as well")


def _do_evaluate(options: Arguments) -> int:
    if options.model:
        return evaluate_foreign(options, _show_record)
    if options.out is None:
        raise InputError("--features needs --out", expected="the file of the record")
    from aroface.evaluation.evaluate import evaluate_features

    command = shlex.join(["aroface", "evaluate", "--features", str(options.features), "--out", str(options.out)])
    _print_metrics(evaluate_features(options.features, options.out, command=command))
    return 0


def _show_record(record: Mapping[str, Any]) -> None:
    counts = record["counts"]
    print(f"{record['benchmark']}: {counts['genuine']} genuine and {counts['impostors']} impostor pairs")
    _print_metrics(record)


def _print_metrics(record: Mapping[str, Any]) -> None:
    for name, value in record["metrics"].items():
        low, high = record["intervals"].get(name, (None, None))
        interval = "" if low is None else f"  [{low:.4f}, {high:.4f}]"
        print(f"{name:26} {value:.4f}{interval}", flush=True)


def _table(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "table",
        "render a table from its specification and the records that are there",
        "aroface table paper_tables/specs/tinyface.yaml --records results/records --format terminal",
        _do_table,
    )
    verb.add_argument("spec", type=Path, help="file under paper_tables/specs")
    verb.add_argument(
        "--mode",
        choices=("reported", "reproduced", "both", "delta"),
        default="both",
        help="the authors' values, those of the records, or both, with their difference (%(default)s)",
    )
    verb.add_argument("--format", choices=("latex", "markdown", "html", "csv", "terminal"), default="latex")
    verb.add_argument(
        "--emphasis",
        choices=("as_paper", "best_second", "none"),
        help="which values stand out: the rows that the authors print bold, or the best and second best (the table's)",
    )
    verb.add_argument("--out", type=Path, help="file to write; standard output where it is left out")
    add_selection(verb)


def _do_table(options: Arguments) -> None:
    from aroface.reporting.records import read_runs_file
    from aroface.reporting.tables.render import render_table, write_table

    choice = {**read_runs_file(options.runs_file), "mode": options.mode, "format": options.format}
    choice |= {"caption_note": options.caption_note, "emphasis": options.emphasis}
    if options.out:
        write_table(options.spec, options.records, options.out, **choice)
        print(options.out)
    else:
        print(render_table(options.spec, options.records, **choice), end="")


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

    make = compile_document if options.out.suffix == ".pdf" else write_document
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
    print(explain(options.cell, specs, plan.results / "records", plan.results, workflow=workflow, **choice), end="")
