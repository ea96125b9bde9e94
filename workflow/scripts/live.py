"""Run Snakemake and show how far it is: jobs, each training's epoch and loss, the time left; at last the tables.

    python workflow/scripts/live.py -- --cores all --configfile workflow/configs/demo.yaml

What Snakemake itself says goes into results/logs. Ctrl-C stops everything; trainings go on from where they were when
the same command is given again, also after a kill of whatever kind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.humanize import clock_text
from aroface.planning.plan import make_plan
from aroface.planning.products import Products, find_products
from aroface.results import Results

ROOT = Path(os.path.relpath(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "workflow" / "lib"))

from calls import DISPLAY  # noqa: E402
from snakemake_log import Job, SnakemakeLog  # noqa: E402

INTERRUPTED = 130
REFRESH_S = 0.5
PLAIN_EVERY_S = 10.0
SLACK_S = 2.0  # by which a job may have begun before Snakemake's word of it is read
TAIL_LINES = 20


def main() -> int:
    """Run Snakemake with the arguments after ``--``; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="*", metavar="-- ARGUMENTS", help="of Snakemake")
    arguments = parser.parse_args().arguments
    console = Console()
    try:
        files, changes = _configuration(arguments)
        products = find_products(make_plan(files, changes, root=ROOT), root=ROOT)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    results = products.plan.results
    path = results.job_log(f"snakemake-{time.strftime('%Y%m%d-%H%M%S')}")
    path.parent.mkdir(parents=True, exist_ok=True)
    log = SnakemakeLog()
    with open(path, "w", encoding="utf-8") as file:
        status = Snakemake(arguments, log, file).watch(Display(console, log, results))
    if status == 0:
        _show_results(console, products, log)
    elif status == INTERRUPTED:
        console.print("Stopped. The same command goes on from here.")
    else:
        _show_failure(console, products, log, path)
    return status


def _configuration(arguments: Sequence[str]) -> tuple[list[Path], dict[str, str]]:
    """The configuration files and the single keys that Snakemake is given."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[ROOT / "config.yaml"])
    parser.add_argument("--config", "-C", nargs="*", default=[])
    options = parser.parse_known_args(arguments)[0]
    return options.configfile, dict(each.partition("=")[::2] for each in options.config)


class Snakemake:
    """A running Snakemake in a process group of its own, so that it and all its jobs can be stopped together.

    Args:
        arguments: Arguments of its command line.
        log: Log that takes in its lines.
        file: File that takes the same, word for word.
    """

    def __init__(self, arguments: Sequence[str], log: SnakemakeLog, file: IO[str]) -> None:
        self._log, self._file = log, file
        self._process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, DISPLAY: str(os.getpid())},
            start_new_session=True,
        )
        # The first request lets trainings save their state, the second is the end of patience.
        self._signals = [signal.SIGINT, signal.SIGKILL]
        self._asked: set[int] = set()

    def watch(self, display: Display) -> int:
        """Show how far it is until it ends; returns its exit status."""
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        ends = [signal.SIGINT, signal.SIGTERM]
        ends += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []  # which nohup ignores
        before = {number: signal.signal(number, self._stop) for number in ends}
        try:
            with display:
                while self._process.poll() is None:
                    display.update()
                    time.sleep(REFRESH_S)
                    if signal.SIGINT not in self._signals:
                        self._ask_latecomers()
                reader.join(REFRESH_S)
                display.update(last=True)
        finally:
            self._signal_all(signal.SIGKILL)
            self._process.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._process.returncode if signal.SIGINT in self._signals else INTERRUPTED

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._file.write(line)
            self._file.flush()
            self._log.feed(line.rstrip("\n"))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._signals:
            self._asked |= {each.pid for each in self._family()}
            self._signal_all(self._signals.pop(0))

    def _ask_latecomers(self) -> None:
        """Ask a job to end that was being started when the others were asked: Snakemake would wait for it."""
        for process in self._family():
            if process.pid not in self._asked:
                self._asked.add(process.pid)
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGINT)

    def _family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _signal_all(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class Display:
    """Jobs and trainings: redrawn on a terminal, elsewhere a line now and then.

    Args:
        console: Console that shows it.
        log: Log with the state of the jobs.
        results: Results folder; the state of each training says how far it is.
    """

    def __init__(self, console: Console, log: SnakemakeLog, results: Results) -> None:
        self._console, self._log, self._results = console, log, results
        self._began = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._printed, self._printed_at, self._noticed = "", 0.0, ""

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, *, last: bool = False) -> None:
        """Show what is known now; the ``last`` time too if nothing is drawn in place."""
        jobs = list(self._log.running.values())
        rows = [_row(job, self._progress(job)) for job in jobs]
        if self._live:
            self._live.update(Group(self._headline(), _table(rows)), refresh=True)
            return
        if self._log.notice != self._noticed:
            self._noticed = self._log.notice
            self._console.print(self._noticed, soft_wrap=True, highlight=False, end="\n" if self._noticed else "")
        now = time.monotonic()
        news = f"{self._log.done}/{self._log.total} " + "; ".join(" ".join(row[:2]) for row in rows)
        if self._log.total and news != self._printed and (last or now - self._printed_at >= PLAIN_EVERY_S):
            self._printed, self._printed_at = news, now
            self._console.print(f"{self._jobs()}  {'; '.join(' '.join(row).strip() for row in rows)}", soft_wrap=True)

    def _progress(self, job: Job) -> dict[str, Any] | None:
        """Progress that a training has reported since it was started."""
        if job.rule != "train":
            return None
        path = self._results.state(job.wildcards.get("run", "")).progress
        with contextlib.suppress(OSError, ValueError):
            if time.time() - path.stat().st_mtime < time.monotonic() - job.since + SLACK_S:
                progress: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return progress
        return None

    def _jobs(self) -> str:
        left = self._log.time_left(self._training_left)
        about = "" if not left else f", about {clock_text(left)} left"
        return f"{self._log.done}/{self._log.total} jobs, {clock_text(time.monotonic() - self._began)}{about}"

    def _training_left(self, job: Job) -> float | None:
        progress = self._progress(job)
        return None if progress is None else float(progress["eta_s"])

    def _headline(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, self._log.total), completed=self._log.done, width=30)
        grid.add_row(bar, self._log.notice or (self._jobs() if self._log.total else "planning"))
        return grid


def _row(job: Job, progress: dict[str, Any] | None) -> tuple[str, str, str]:
    if progress is None:
        return job.rule, job.subject, clock_text(time.monotonic() - job.since)
    loss = "" if progress["loss"] is None else f"  loss {progress['loss']:.3f}"
    return (
        job.rule,
        job.subject,
        f"epoch {progress['epoch']}/{progress['epochs']}  step {progress['step']}/{progress['steps']}{loss}"
        f"  {progress['images_per_s']:,.0f} images/s  {clock_text(progress['eta_s'])} left",
    )


def _table(rows: Sequence[tuple[str, str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for style in ("cyan", "", "dim"):
        grid.add_column(style=style, no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    return grid


def _show_results(console: Console, products: Products, log: SnakemakeLog) -> None:
    if log.nothing_to_do:
        console.print("Nothing to do: everything is there and up to date.")
    for table in products.tables:
        if products.table_file(table).exists():
            console.print()
            arguments = shlex.split(products.table_arguments(table))
            subprocess.run([sys.executable, "-m", "aroface", "table", *arguments, "--format", "terminal"], check=False)
    console.print()
    for line in products.summary():
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _show_failure(console: Console, products: Products, log: SnakemakeLog, path: Path) -> None:
    if not log.failed and any(line.startswith("error: ") for line in log.refusals):
        print(*log.refusals, sep="\n", file=sys.stderr)
        return
    for line in products.summary():
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for job in log.failed.values():
        console.print(f"[red]failed:[/] {job.rule} {job.subject}", soft_wrap=True)
        if job.log:
            _show_tail(console, Path(job.log))
    if not log.failed:
        _show_tail(console, path)
    console.print(f"all that Snakemake said: {path}", soft_wrap=True, highlight=False, markup=False)


def _show_tail(console: Console, path: Path) -> None:
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        for line in lines:
            console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
