"""The verbs ``aroface evaluate`` and ``compare-runs``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aroface.cli.arguments import Arguments, Verbs, add_verb, refuse_options
from aroface.cli.external_model import MODEL_FORMS, OF_MODELS, add_input_options, open_declared, tell_batch
from aroface.cli.scores import OF_SCORES, add_scores_options, evaluate_score_files
from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.files import check_place
from aroface.humanize import seconds_text

_WORTH_TELLING_S = 10.0  # of work that is told before it starts


def add_evaluate_verbs(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verbs."""
    _evaluate(verbs)
    _compare_runs(verbs)


def _evaluate(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "evaluate",
        "evaluate stored features, any model on files of pairs, or scores of any system",
        "aroface evaluate --features results/features/RUN/lfw --out results/records/RUN/lfw.json\n"
        "  aroface evaluate --model my.onnx --benchmark lfw=lfw.bin cfp_fp=cfp_fp.bin --color BGR\n"
        "  aroface evaluate --model my.onnx --pairs data/RFW/african.bin data/RFW/asian.bin --by-group\n"
        "  aroface evaluate --scores mine=mine.csv theirs=theirs.csv --fmr 1e-3 --out verdict",
        _do_evaluate,
    )
    subject = verb.add_mutually_exclusive_group(required=True)
    subject.add_argument("--features", type=Path, help="folder that aroface embed wrote")
    _add_external_options(verb, subject)
    add_scores_options(verb, subject)
    verb.add_argument("--out", type=Path, help="the record (needed with --features); metrics are printed as well")


def _add_external_options(verb: argparse.ArgumentParser, subject: argparse._MutuallyExclusiveGroup) -> None:
    """Declare the options for a model and its benchmarks."""
    subject.add_argument("--model", metavar="MODEL", help=MODEL_FORMS)
    help_text = "files of aligned pairs (.bin), with --model; the name is the file's where it is left out"
    flags = ("--benchmark", "--pairs")
    verb.add_argument(*flags, nargs="+", action="extend", default=[], metavar="NAME=FILE", help=help_text)
    help_text = "the benchmarks are groups of people, as RFW's: also tell how unequal their accuracies are"
    verb.add_argument("--by-group", action="store_true", help=help_text)
    help_text = "folder of features, with --model: what is there is not computed again, and an interrupted call resumes"
    verb.add_argument("--keep-features", type=Path, metavar="DIR", help=help_text)
    add_input_options(verb)


def _do_evaluate(options: Arguments) -> int:
    if not options.scores:
        refuse_options(options, OF_SCORES, "is for --scores")
    if not options.model:
        refuse_options(options, ("by_group", "keep_features", "benchmark", "no_flip", *OF_MODELS), "is for --model")
    if options.scores:
        return evaluate_score_files(options)
    if options.model:
        return _evaluate_external(options)
    if options.out is None:
        raise InputError("--features needs --out", expected="the file of the record")
    from aroface.evaluation.evaluate import evaluate_features

    check_place(options.out)
    command = shlex.join(["aroface", "evaluate", "--features", str(options.features), "--out", str(options.out)])
    _print_metrics(evaluate_features(options.features, options.out, command=command))
    return ExitStatus.DONE


def _evaluate_external(options: Arguments) -> int:
    """Evaluate ``--model`` on each ``--benchmark``; print each record, and write it to ``--out`` if that is given.

    Returns:
        The exit status: ``BAD_INPUT`` if a file could not be evaluated; the error is printed when all others are done.
    """
    from aroface.evaluation.external_model import benchmark_name, evaluate_model, evaluation_work, named_file
    from aroface.files import write_json

    if not options.benchmark:
        raise InputError("--model needs --benchmark", expected="NAME=FILE, such as lfw=lfw.bin")
    if options.by_group and len(options.benchmark) < 2:
        raise InputError("one benchmark", where="--by-group", expected="one for each group")
    files = [named_file(word, "--benchmark") for word in options.benchmark]
    benchmarks = {benchmark_name(name): path for name, path in files}
    if len(benchmarks) < len(files):
        raise InputError("two benchmarks of one name", where="--benchmark", remedy="name them: NAME=FILE")
    one_file = options.out is not None and options.out.suffix == ".json"
    if one_file and len(benchmarks) > 1:
        remedy = "name a folder, which gets RUN/BENCHMARK.json of each"
        raise InputError(f"one file for {len(benchmarks)} records", file=options.out, remedy=remedy)
    if options.out is not None:
        check_place(options.out if one_file else options.out / "RUN" / "BENCHMARK.json")
    name, path = named_file(options.model, "--model")
    model = open_declared(path, name, options)
    tell_batch(options, [model])
    work = {"flip": not options.no_flip, "batch_size": options.batch_size, "keep": options.keep_features}
    images, seconds = evaluation_work(model, benchmarks, **work)
    if seconds > _WORTH_TELLING_S:
        print(f"{images:,} images to embed, about {seconds_text(seconds)}", file=sys.stderr)
    evaluated = evaluate_model(
        model,
        benchmarks,
        flip=not options.no_flip,
        batch_size=options.batch_size,
        threads=options.threads,
        command=shlex.join(["aroface", *options.words]),
        keep=options.keep_features,
    )
    errors, accuracies = [], dict[str, float]()
    for benchmark, record in evaluated:
        if isinstance(record, InputError):
            errors.append(record)
            continue
        _show_record(record)
        accuracies[benchmark] = record["metrics"]["accuracy"]
        if options.out is not None:
            write_json(options.out if one_file else options.out / record["run"] / f"{benchmark}.json", record)
    if options.by_group and len(accuracies) > 1 and not errors:
        from aroface.evaluation.metrics.group_differences import group_differences

        print(*group_differences(accuracies).lines(), sep="\n")
    if errors and options.debug:
        raise errors[0]
    for error in errors:
        print(f"aroface: error: {error}", file=sys.stderr)
    return ExitStatus.BAD_INPUT if errors else ExitStatus.DONE


def _show_record(record: Mapping[str, Any]) -> None:
    counts = record["counts"]
    print(f"{record['benchmark']}: {counts['genuine']} genuine and {counts['impostors']} impostor pairs")
    _print_metrics(record)


def _print_metrics(record: Mapping[str, Any]) -> None:
    for name, value in record["metrics"].items():
        low, high = record["intervals"].get(name, (None, None))
        interval = "" if low is None else f"  [{low:.4f}, {high:.4f}]"
        print(f"{name:26} {value:.4f}{interval}", flush=True)


def _compare_runs(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        verbs,
        "compare-runs",
        "test whether two runs differ on a benchmark, person by person",
        "aroface compare-runs --features results/features/RUN/tinyface results/features/OTHER/tinyface --metric rank1",
        _do_compare_runs,
    )
    verb.add_argument(
        "--features", type=Path, nargs=2, required=True, metavar=("A", "B"), help="as aroface embed wrote"
    )
    verb.add_argument(
        "--metric", action="append", metavar="NAME", help="as in a record; may be repeated (default: all)"
    )


def _do_compare_runs(options: Arguments) -> None:
    from aroface.embedding.feature_store import open_run_features
    from aroface.evaluation.compare_runs import compare, table

    first, second = map(open_run_features, options.features)
    rows = compare(first, second, options.metric)
    print(f"A  {first.index['checkpoint']['run']}\nB  {second.index['checkpoint']['run']}\n\n{table(rows)}")
    print("Intervals (95 %) and p are over draws of people; p (Holm) is for all metrics that are listed.")
