"""The option ``--scores`` of ``aroface evaluate``: scores of any system in, a verdict out."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aroface.cli.arguments import Arguments, rate, share
from aroface.errors import InputError
from aroface.exit_status import ExitStatus

if TYPE_CHECKING:
    from aroface.evaluation.score_files import ScoreSet, ScoreSource
    from aroface.evaluation.scores import SystemComparison, SystemVerdict

OF_SCORES = ("impostors", "rows", "columns", "distance", "fmr", "det_axes", "max_left_out")
"""Options that only score files have."""
_MOST_LEFT_OUT = 0.02
_FMR = 1e-3


def add_scores_options(verb: argparse.ArgumentParser, subject: argparse._MutuallyExclusiveGroup) -> None:
    """Declare the options for score files."""
    help_text = (
        "comparisons of one to eight systems: a list (.csv, .tsv, .txt: score, and genuine or impostor) or a matrix "
        "(.npz, .npy)"
    )
    subject.add_argument("--scores", nargs="+", action="extend", metavar="NAME=FILE", help=help_text)
    group = verb.add_argument_group("with --scores (--out is a folder, for the page, its figures, JSON and CSV)")
    help_text = "scores of impostors, a file for each of --scores, which hold the genuine ones then"
    group.add_argument("--impostors", nargs="+", type=Path, metavar="FILE", help=help_text)
    group.add_argument("--rows", type=Path, metavar="FILE", help="people of a matrix's rows, the probes; one a line")
    help_text = "people of its columns, the references; rows and columns are the same images where left out"
    group.add_argument("--columns", type=Path, metavar="FILE", help=help_text)
    group.add_argument("--distance", action="store_true", help="a smaller score is of more similar faces")
    help_text = "false match rates that a threshold is wanted for (0.001)"
    group.add_argument("--fmr", nargs="+", type=rate, metavar="RATE", help=help_text)
    help_text = "scale of the axes of the DET curves (log)"
    group.add_argument("--det-axes", choices=("log", "normal"), help=help_text)
    help_text = f"of the comparisons that may be left out, all told ({_MOST_LEFT_OUT:g})"
    group.add_argument("--max-left-out", type=share, metavar="SHARE", help=help_text)


def evaluate_score_files(options: Arguments) -> int:
    """Evaluate ``--scores``; print the verdict, and write the report to ``--out`` if that is given."""
    from aroface.evaluation.external_model import named_file
    from aroface.evaluation.score_files import ScoreSource, read_scores, with_common_comparisons
    from aroface.evaluation.scores import MOST_SYSTEMS, compare_systems
    from aroface.omissions import Omissions

    named = [named_file(word, "--scores") for word in options.scores]
    impostors: list[Path | None] = options.impostors or [None] * len(named)
    if len(impostors) != len(named):
        raise InputError(f"{len(impostors)} files", where="--impostors", expected=f"{len(named)}, one for each system")
    if len({name for name, _ in named}) < len(named):
        raise InputError("two systems of one name", where="--scores", remedy="name them: NAME=FILE")
    if len(named) > MOST_SYSTEMS:
        raise InputError(f"{len(named)} systems", where="--scores", expected=f"at most {MOST_SYSTEMS}")
    fmrs = options.fmr or [_FMR]
    if options.out is not None:
        from aroface.reporting.scores.files import check_page_place

        check_page_place(options.out)
    sources = {
        name: ScoreSource(path, other, options.rows, options.columns, options.distance)
        for (name, path), other in zip(named, impostors, strict=True)
    }
    omissions = Omissions()
    read = {name: read_scores(source) for name, source in sources.items()}
    total = sum(map(len, read.values()))
    sets = with_common_comparisons(read, omissions)
    omissions.tell()
    most = _MOST_LEFT_OUT if options.max_left_out is None else options.max_left_out
    omissions.check(total, most, file=named[0][1])
    verdicts = [_verdict(name, scores, fmrs, sources[name].scores) for name, scores in sets.items()]
    comparisons = compare_systems(verdicts)
    _print_verdict(verdicts, comparisons)
    if options.out is not None:
        from aroface.files import sha256_file
        from aroface.reporting.scores.files import write_scores_report

        hashes = {name: {str(path): sha256_file(path) for path in _paths(source)} for name, source in sources.items()}
        command = shlex.join(["aroface", *options.words])
        for file in write_scores_report(
            verdicts, comparisons, options.out, det_axes=options.det_axes or "log", sources=hashes, command=command
        ):
            print(file)
    return ExitStatus.DONE


def _verdict(name: str, scores: ScoreSet, fmrs: Sequence[float], file: Path) -> SystemVerdict:
    """Evaluate a system; an error names its file."""
    from aroface.evaluation.scores import evaluate_scores

    try:
        return evaluate_scores(name, scores, fmrs)
    except InputError as error:
        raise InputError(str(error), file=file) from None


def _paths(source: ScoreSource) -> list[Path]:
    return [path for path in (source.scores, source.impostors, source.rows, source.columns) if path is not None]


def _print_verdict(verdicts: Sequence[SystemVerdict], comparisons: Sequence[SystemComparison]) -> None:
    """Print the tables, and the warnings to standard error."""
    from rich.table import Table
    from rich.text import Text

    from aroface.reporting.scores.words import (
        FEW_NOTE,
        MARK,
        comparisons_table,
        metrics_table,
        thresholds_table,
        verdict_lines,
        warnings,
    )
    from aroface.reporting.text import print_wide

    tables = [metrics_table(verdicts), thresholds_table(verdicts)]
    tables += [comparisons_table(comparisons)] if comparisons else []
    parts: list[Table | str] = [verdict_lines(verdicts)[0][1]]
    for heads, rows in tables:
        table = Table(box=None, pad_edge=False)
        for head in heads:
            table.add_column(Text(head), no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        parts += ["", table]
    if any(cell.endswith(MARK) or f"{MARK} [" in cell for _, rows in tables for row in rows for cell in row):
        parts += ["", f"{MARK} {FEW_NOTE}"]
    print(print_wide(parts), end="")
    for line in warnings(verdicts):
        print(f"aroface: warning: {line}", file=sys.stderr)
