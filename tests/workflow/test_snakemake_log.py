"""Reading Snakemake's messages."""

from __future__ import annotations

from snakemake_log import Job, SnakemakeLog

START = """\
Provided cores: 4
Job stats:
job         count
--------  -------
generate        1
train           3
all             1
total           5

"""


def started(rule: str, number: int, details: str = "") -> str:
    return f"[Sun Nov 22 01:41:32 2026]\nrule {rule}:\n    input: a\n    jobid: {number}\n{details}"


def finished(rule: str, number: int, done: int) -> str:
    return f"Finished jobid: {number} (Rule: {rule})\n{done} of 5 steps (20%) done\n"


class Reader:
    """A log and the time at which it is read."""

    def __init__(self) -> None:
        self.now = 100.0
        self.log = SnakemakeLog(lambda: self.now)

    def read(self, text: str) -> SnakemakeLog:
        for line in text.splitlines():
            self.log.feed(line)
        return self.log


def test_what_it_waits_for_and_why_it_refuses() -> None:
    log = SnakemakeLog()
    for line in (
        "Job stats:",
        "total    3",
        "waiting for 1 of a call that was killed, to go on:",
        "    17 aroface train",
    ):
        log.feed(line)
    assert log.notice == "waiting for 1 of a call that was killed, to go on:\n    17 aroface train"
    log.feed("Building DAG of jobs...")
    log.feed("Job stats:")
    assert log.notice == ""
    log.feed("error: .snakemake: locked by process 17")
    assert log.refusals == ["error: .snakemake: locked by process 17"]


def test_jobs_start_and_finish() -> None:
    reader = Reader()
    log = reader.read(
        START + started("generate", 7) + started("train", 3, "    wildcards: run=a-b-s0\n    threads: 2\n")
    )
    assert (log.cores, log.done, log.total) == (4, 0, 5)
    assert [(job.rule, job.subject, job.threads) for job in log.running.values()] == [
        ("generate", "", 1),
        ("train", "a-b-s0", 2),
    ]
    reader.read(finished("generate", 7, 1))
    assert (log.done, list(log.running)) == (1, ["3"])


def test_a_failed_job_knows_what_it_was_about_until_it_is_started_again() -> None:
    reader = Reader()
    log = reader.read(START + started("train", 3, "    wildcards: run=a-b-s0\n"))
    reader.read("Error in rule train:\n    jobid: 3\n    log: logs/a.log (check log file(s) for error details)\n")
    assert log.running == {}
    assert [(job.subject, job.log) for job in log.failed.values()] == [("a-b-s0", "logs/a.log")]
    reader.read("Trying to restart job 3.\n" + started("train", 3))
    assert log.failed == {}
    assert list(log.running) == ["3"]


def test_the_time_left_is_that_of_the_work_left_shared_by_the_cores() -> None:
    reader = Reader()
    log = reader.read(START + started("train", 3, "    threads: 2\n"))
    assert log.time_left(lambda job: None) is None
    reader.now += 10

    def said(job: Job) -> float:
        return 50.0

    short = 2 * 3  # generate and all, taken for three seconds each
    assert log.time_left(said) == (2 * 50 + 2 * 2 * 60 + short) / 4
    reader.now += 50
    reader.read(finished("train", 3, 1))
    assert log.time_left(said) == (2 * 2 * 60 + short) / 4


def test_nothing_to_do() -> None:
    assert Reader().read("Nothing to be done (all requested files are present and up to date).").nothing_to_do
