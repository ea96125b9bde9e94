"""Jobs of a Snakemake that was killed: they run on, and nobody must make the same beside them.

On this machine they are known by the call's mark in their environment. A Slurm job of this folder whose comment is that
of a job to be started can only come from an earlier call: Snakemake's own lock keeps two living calls apart.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from aroface.errors import InputError
from calls import MARK, known_calls, this_call
from commands import FAILED, answer, failure_text

LOOK_EVERY_S = 15.0
LOOK_AT_PROCESSES_EVERY_S = 1.0
TRIES = 20
"""After so many looks in vain Slurm is taken to be down."""

DESCRIBED = 100
"""Characters of a command line that are printed."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A job in the queue.

    Attributes:
        number: Number that Slurm gave it.
        state: State of Slurm, such as RUNNING.
        folder: Folder that it was submitted from.
        comment: Description of the job.
    """

    number: str
    state: str
    folder: str
    comment: str


def comment_of(rule: str, wildcards: Iterable[str]) -> str:
    """The comment that Snakemake's plugin gives a job."""
    values = "_".join(wildcards).replace("/", "_")
    return f"rule_{rule}_wildcards_{values}" if values else f"rule_{rule}"


def wait_for_earlier_jobs(wanted: set[str], folder: Path = Path()) -> bool:
    """Wait until no job of an earlier call makes what is to be made now; says whether there was one.

    Args:
        wanted: Comments of the jobs to be started.
        folder: Folder that jobs are submitted from.

    Raises:
        InputError: Slurm does not answer.
    """
    here, waited, announced = os.path.realpath(folder), False, 0
    while jobs := [job for job in _queue() if os.path.realpath(job.folder) == here and job.comment in wanted]:
        waited = True
        if len(jobs) != announced:
            announced = len(jobs)
            print(f"waiting for {announced} of an earlier call, to go on from what they make:", file=sys.stderr)
            for job in jobs:
                print(f"    {job.number} {job.state.lower()} {job.comment}", file=sys.stderr)
            numbers = " ".join(job.number for job in jobs)
            print(f"  not to wait: scancel {numbers} (trainings save their state)", file=sys.stderr, flush=True)
        time.sleep(LOOK_EVERY_S)
    return waited


def processes_of_killed_calls(slurm: bool = False) -> list[psutil.Process]:
    """Processes on this machine that were started by calls of this folder which have ended without them.

    Args:
        slurm: True to leave those out that run within a Slurm job other than this process's own; Slurm is asked
            for them.
    """
    living = {this_call().identity, *(call.identity for call in known_calls().living)}
    orphans, within_slurm = [], set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # of another user, or gone by now
            environment = process.environ()
            identity, _, folder = environment.get(MARK, "").partition(" ")
            if folder != str(Path.cwd()) or identity in living or process.pid == os.getpid():
                continue
            if slurm and environment.get("SLURM_JOB_ID") != os.environ.get("SLURM_JOB_ID"):
                within_slurm.add(process.pid)
            elif process.status() != psutil.STATUS_ZOMBIE:
                orphans.append(process)
    return [process for process in orphans if within_slurm.isdisjoint(_ancestors(process))]


def wait_for_processes(processes: Sequence[psutil.Process]) -> bool:
    """Wait until these have ended; says whether there were any, even if they had ended before."""
    announced: list[str] = []
    while running := [process for process in processes if _runs(process)]:
        jobs = [line for line in map(_described, _outermost(running)) if line]
        if jobs != announced:
            announced = jobs
            print(f"waiting for {len(jobs)} of a call that was killed, to go on from what they make:", file=sys.stderr)
            print(*(f"    {job}" for job in jobs), sep="\n", file=sys.stderr)
            numbers = " ".join(job.split()[0] for job in jobs)
            print(f"  not to wait: kill {numbers} (trainings save their state)", file=sys.stderr, flush=True)
        time.sleep(LOOK_AT_PROCESSES_EVERY_S)
    return bool(processes)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _ancestors(process: psutil.Process) -> set[int]:
    with suppress(psutil.NoSuchProcess):
        return {each.pid for each in process.parents()}
    return set()


def _outermost(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """One process for each job: the first that runs the command itself, where the shell around it is still there."""
    commands = [process for process in processes if _is_command(process)] or list(processes)
    numbers = {process.pid for process in commands}
    return [process for process in commands if numbers.isdisjoint(_ancestors(process))]


def _is_command(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "aroface" in process.cmdline()
    return False


def _described(process: psutil.Process) -> str:
    """Its number and what it does, in a line; empty if it has ended."""
    with suppress(psutil.NoSuchProcess):
        command_line = " ".join(" ".join(process.cmdline()).split())
        command = re.search(r"aroface \S.*", command_line)
        return f"{process.pid} {(command[0] if command else command_line)[:DESCRIBED]}"
    return ""


def _queued(line: str) -> Queued:
    """A line of squeue, whose folder may hold the separator."""
    number, state, rest = line.split("|", 2)
    folder, _, comment = rest.rpartition("|")
    return Queued(number, state, folder, comment)


def _queue() -> list[Queued]:
    command = ["squeue", "--noheader", "--user", str(os.getuid()), "--format=%i|%T|%Z|%k"]
    for attempt in range(TRIES):
        try:
            lines = answer(command).splitlines()
        except FileNotFoundError:
            remedy = "start from a login node of the cluster, where sbatch and squeue are on the path"
            raise InputError("squeue: no such command", remedy=remedy) from None
        except FAILED as error:
            trouble = failure_text(error)
            if attempt == 0:
                patience = f"asking again for {TRIES * LOOK_EVERY_S / 60:.0f} minutes"
                print(f"squeue does not answer: {trouble}; {patience}", file=sys.stderr, flush=True)
            time.sleep(LOOK_EVERY_S)
            continue
        return [_queued(line) for line in lines if line.count("|") >= 3]
    raise InputError(
        f"squeue does not answer: {trouble}", remedy="whether jobs of an earlier call run on is unknown; try later"
    )
