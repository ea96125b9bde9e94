"""End of a call: rendering of incomplete products after failures, and lines on the jobs that failed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from aroface.exit_status import ExitStatus
from aroface.planning.products import Products, latest, partial
from calls import start_again
from slurm_plugin import REFUSALS, job_key, single_jobs

NOTE = "Incomplete: some results could not be made, and -- stands for them."
ERROR = re.compile(r"\berror\b|^aroface: |\w(Error|Exception)\b", re.IGNORECASE)
LAST_LINES = 50
"""Of a log, in which its error is looked for: what is further up was got over."""


AGAIN = "AROFACE_PLANNED_AGAIN"
"""Environment variable of a Snakemake that replaced one which had ended well, and targets were missing."""


def missing_targets(dag: Any) -> list[Path]:
    """Files that a call was to make and that are not there.

    Snakemake leaves jobs out of its plan whose only inputs are ``ancient()`` outputs of a job that runs again, even if
    nothing has made their outputs yet.

    Args:
        dag: Snakemake's.
    """
    files = [file for job in dag.targetjobs for file in job.output or job.input]
    return [Path(file) for file in dict.fromkeys(files) if not Path(file).exists()]


class Interrupts:
    """Record of Ctrl-C, which Snakemake takes for a failure: whoever interrupts wants no pages."""

    def __init__(self) -> None:
        self.seen = False
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> NoReturn:
        self.seen = True
        raise KeyboardInterrupt


def finish(workflow: Any, products: Products) -> None:
    """End a call whose jobs are all done: print where its products lie.

    A call that left targets out of its plan starts again, once.

    Args:
        workflow: Snakemake's object of that name.
        products: Tables, figures and pages.
    """
    missing = missing_targets(workflow.persistence.dag)
    if missing and AGAIN not in os.environ:
        os.environ[AGAIN] = "1"
        workflow.persistence.unlock()
        start_again()
    if missing:
        print(f"error: {len(missing)} targets were not made, such as {missing[0]}", file=sys.stderr)
        sys.exit(ExitStatus.FAILED)
    remove_superseded(products)
    print(*products.summary(), sep="\n", file=sys.stderr)


def finish_failed(workflow: Any, products: Products, interrupts: Interrupts, report: Sequence[str]) -> None:
    """End a call with failed jobs: render what there is, gaps and all, and print a line for each of those jobs.

    Args:
        workflow: Snakemake's object of that name.
        products: Tables, figures and pages.
        interrupts: Record of Ctrl-C; after it nothing is rendered.
        report: Arguments of ``aroface report`` but the file.
    """
    if interrupts.seen:
        return
    unfinished = list(workflow.persistence.dag.needrun_jobs())
    remove_superseded(products)
    render_unfinished(products, {job.rule.name for job in unfinished}, report)
    print(*products.summary(), sep="\n", file=sys.stderr)
    print(*failures(workflow.scheduler.failed, REFUSALS), sep="\n", file=sys.stderr)


def render_unfinished(products: Products, rules: Collection[str], report: Sequence[str]) -> None:
    """Render from what there is what the rules of these names were to render, each beside the place of the whole.

    Args:
        products: Tables, figures and pages.
        rules: Names of the rules that did not get to it.
        report: Arguments of ``aroface report`` but the file.
    """
    for table in products.offered:
        if f"table_{table}" in rules:
            _aroface("table", shlex.split(products.table_arguments(table)), [products.partial_file(table)])
    for figure in products.figures:
        if f"figure_{figure}" in rules:
            _figure(products, figure)
    if "compare" in rules:
        _aroface("compare", shlex.split(products.compare_arguments()), map(partial, products.compare_files))
    if "claims" in rules:
        _aroface("claims", shlex.split(products.claims_arguments()), map(partial, products.claims_files))
    if "document" in rules:
        _document(products)
    if "report" in rules:
        _aroface("report", report, [partial(products.report_file)])


def remove_superseded(products: Products) -> None:
    """Remove tables, figures and pages with gaps where by now there is the whole."""
    tables = [products.table_file(table) for table in products.offered]
    pages = [*products.verdict_files, *products.document_files, products.report_file]
    for path in [*tables, *products.picture_files, *pages]:
        if path.exists() and latest(path) == path:
            for gaps in path.parent.glob(f"{path.stem}.partial.*"):
                gaps.unlink(missing_ok=True)


def failures(jobs: Iterable[Any], refusals: Mapping[tuple[str, ...], str] | None = None) -> list[str]:
    """A line for each job that failed: its rule, what it worked on, its log and the error there.

    Args:
        jobs: Jobs of Snakemake, or groups of them.
        refusals: Messages of Slurm on jobs that it did not take and that have no log, by rule and wildcards.
    """
    lines = []
    for job in (single for each in jobs for single in single_jobs(each)):
        log = Path(job.log[0]) if job.log else None
        key = job_key(job)
        refused = (refusals or {}).get(key)
        reason = f"not submitted: {refused}" if refused else _last_error(log)
        lines.append(f"failed: {' '.join(key)}: {reason}")
    return sorted(lines)


def _last_error(log: Path | None) -> str:
    """A log's name and its last line that speaks of an error, or else its last line."""
    if log is None or not log.exists():
        return "it left no log" if log is None else f"{log}: not there"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines[-LAST_LINES:] if ERROR.search(line)]
    return f"{log}: {(errors or lines or ['empty'])[-1]}"


def _figure(products: Products, figure: str) -> None:
    """Draw the curves that there are, without example faces if the data that those are taken from are not there."""
    out = [products.figure_stem(figure).with_name(f"{figure}.partial")]
    arguments = _without(shlex.split(products.figure_arguments(figure)), "--out")
    if not _aroface("figure", arguments, out) and "--faces" in arguments:
        _aroface("figure", _without(arguments, "--faces"), out)


def _without(words: Sequence[str], option: str) -> list[str]:
    """Arguments without an option and its value."""
    at = words.index(option) if option in words else len(words)
    return [*words[:at], *words[at + 2 :]]


def _document(products: Products) -> None:
    fragments = [path for path in map(latest, products.fragments) if path.exists()]
    pictures = [path for path in map(latest, products.picture_files) if path.exists()]
    note = " ".join(part for part in (products.plan.values["note"], NOTE) if part)
    arguments = [*map(str, fragments), *(["--pictures", *map(str, pictures)] if pictures else []), f"--note={note}"]
    arguments += ["--report", str(partial(products.report_file))]
    if fragments:
        _aroface("document", arguments, map(partial, products.document_files))


def _aroface(verb: str, arguments: Sequence[str], out: Iterable[Path]) -> bool:
    """Run the command, and say whether it went well; what it refuses, such as curves without a record, stays away."""
    command = [sys.executable, "-m", "aroface", verb, *arguments, "--out", *map(str, out)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
