"""State of a workflow's jobs from Snakemake's messages: their number, and which are running, finished or failed."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean

_SHORT_JOB_S = 3.0  # what a job is taken to last before one of its rule has finished; trainings are asked instead


@dataclass(slots=True)
class Job:
    """A job that was started.

    Attributes:
        rule: Name of its rule.
        since: Time of its start, in seconds of the monotonic clock.
        wildcards: Wildcards, such as run and benchmark.
        threads: Number of cores that it takes.
        log: Log file, where it has one.
    """

    rule: str
    since: float
    wildcards: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    log: str | None = None

    @property
    def subject(self) -> str:
        """Subject of the job."""
        return " ".join(self.wildcards.values())


class SnakemakeLog:
    """The state of a workflow, line by line.

    Args:
        clock: Function that returns the time in seconds, monotonic.

    Attributes:
        cores: Number of cores that jobs share.
        total: Number of jobs of this call.
        done: Number of finished jobs.
        running: Jobs by number.
        failed: Jobs by number that were not started again since.
        nothing_to_do: True if everything was there already.
        notice: Lines on the event that it waits for before it plans; empty if it does not wait.
        refusals: Lines on what is missing, and on why it refused to start or to end well.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.cores = 1
        self.total = 0
        self.done = 0
        self.running: dict[str, Job] = {}
        self.failed: dict[str, Job] = {}
        self.nothing_to_do = False
        self.notice = ""
        self.refusals: list[str] = []
        self._clock = clock
        self._left: Counter[str] = Counter()
        self._lasted: defaultdict[str, list[float]] = defaultdict(list)
        self._threads: defaultdict[str, int] = defaultdict(lambda: 1)
        self._counting = False
        self._block: tuple[Job, bool] | None = None

    def feed(self, line: str) -> None:
        """Take in one line, without its newline."""
        if self._block and line.startswith("    "):
            self._describe(*self._block, line.strip())
            return
        self._block = None
        if line.startswith("waiting for "):
            self.notice = line
        elif self.notice and line.startswith("  "):
            self.notice += f"\n{line}"
        elif line.startswith(("error: ", "missing: ")):
            self.refusals.append(line)
        elif self._counting:
            self._count(line)
        elif match := re.match(r"(?:local)?(?:rule|checkpoint) (\w+):$", line):
            self._block = Job(match[1], self._clock()), False
        elif match := re.match(r"Error in rule (\w+):$", line):
            self._block = Job(match[1], self._clock()), True
        elif match := re.match(r"Finished jobid: (\d+)", line):
            self._finish(match[1])
        elif match := re.match(r"(\d+) of (\d+) steps", line):
            self.done, self.total = int(match[1]), int(match[2])
        elif match := re.match(r"Provided cores: (\d+)", line):
            self.cores = int(match[1])
        elif line == "Job stats:":
            self._counting, self.notice = True, ""
        elif line.startswith("Nothing to be done"):
            self.nothing_to_do = True

    def time_left(self, training_left: Callable[[Job], float | None]) -> float | None:
        """Seconds until the last job ends, estimated from those that have ended; None while nobody can know.

        Args:
            training_left: Number of seconds that a running training needs by its own estimate.
        """
        known = {rule: fmean(times) for rule, times in self._lasted.items()}
        work = 0.0
        for job in self.running.values():
            elapsed = self._clock() - job.since
            left = max(0.0, known.get(job.rule, _SHORT_JOB_S) - elapsed)
            if job.rule == "train":
                remaining = training_left(job)
                if remaining is None and "train" not in known:
                    return None
                left = left if remaining is None else remaining
                known.setdefault("train", elapsed + left)
            work += left * job.threads
        for rule, count in (self._left - Counter(job.rule for job in self.running.values())).items():
            if rule == "train" and "train" not in known:
                return None
            work += count * known.get(rule, _SHORT_JOB_S) * self._threads[rule]
        return work / self.cores

    def _count(self, line: str) -> None:
        if match := re.match(r"(\w+) +(\d+)$", line):
            if match[1] == "total":
                self.total, self._counting = int(match[2]), False
            else:
                self._left[match[1]] = int(match[2])

    def _describe(self, job: Job, is_error: bool, text: str) -> None:
        key, _, value = text.partition(": ")
        if key == "wildcards":
            job.wildcards = dict(pair.split("=", 1) for pair in value.split(", "))
        elif key == "threads":
            job.threads = self._threads[job.rule] = int(value)
        elif key == "log":
            job.log = value.split(" (check")[0].split(", ")[0]
        elif key == "jobid" and is_error:
            started = self.running.pop(value, job)
            job.wildcards = started.wildcards
            self.failed[value] = job
        elif key == "jobid":
            self.failed.pop(value, None)
            self.running[value] = job

    def _finish(self, number: str) -> None:
        job = self.running.pop(number, None)
        if job:
            self._lasted[job.rule].append(self._clock() - job.since)
            self._left[job.rule] -= 1
