"""Slurm jobs of a Snakemake that was killed: they run on, and nobody must make the same beside them.

A job of this folder whose comment is that of a job to be started can only come from an earlier call: Snakemake's own
lock keeps two living calls apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aroface.errors import InputError

LOOK_EVERY_S = 15.0
TRIES = 20
"""After so many looks in vain Slurm is taken to be down."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A job in the queue.

    Attributes:
        number: Slurm's.
        state: such as RUNNING.
        folder: where it was submitted.
        comment: what it does.
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
        wanted: comments of the jobs to be started.
        folder: where jobs are submitted from.

    Raises:
        InputError: Slurm does not answer.
    """
    here, found, said = os.path.realpath(folder), False, 0
    while jobs := [job for job in _queue() if os.path.realpath(job.folder) == here and job.comment in wanted]:
        found = True
        if len(jobs) != said:
            said = len(jobs)
            print(f"waiting for {said} of an earlier call, to go on from what they make:", file=sys.stderr)
            for job in jobs:
                print(f"    {job.number} {job.state.lower()} {job.comment}", file=sys.stderr)
            numbers = " ".join(job.number for job in jobs)
            print(f"  not to wait: scancel {numbers} (trainings save their state)", file=sys.stderr, flush=True)
        time.sleep(LOOK_EVERY_S)
    return found


def start_again() -> None:
    """Replace this Snakemake by a new one with the same arguments, which plans afresh."""
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *sys.argv[1:]])


def _queue() -> list[Queued]:
    command = ["squeue", "--noheader", "--user", str(os.getuid()), "--format=%i|%T|%Z|%k"]
    for attempt in range(TRIES):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        except FileNotFoundError:
            remedy = "start from a login node of the cluster, where sbatch and squeue are on the path"
            raise InputError("squeue: no such command", remedy=remedy) from None
        except (subprocess.SubprocessError, OSError) as error:
            trouble = " ".join(str(getattr(error, "stderr", None) or error).split())
            if attempt == 0:
                patience = f"asking again for {TRIES * LOOK_EVERY_S / 60:.0f} minutes"
                print(f"squeue does not answer: {trouble}; {patience}", file=sys.stderr, flush=True)
            time.sleep(LOOK_EVERY_S)
            continue
        return [Queued(*line.split("|", 3)) for line in done.stdout.splitlines() if line.count("|") >= 3]
    raise InputError(
        f"squeue does not answer: {trouble}", remedy="whether jobs of an earlier call run on is unknown; try later"
    )
