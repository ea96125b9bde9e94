"""Snakemake's Slurm plugin: the command that asks for states, and extensions of one version of the plugin."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from functools import wraps
from importlib.metadata import version
from typing import Any

from aroface.errors import InputError
from commands import FAILED, answer, failure_text

PLUGIN = "snakemake-executor-plugin-slurm"
VERSION = "2.8.0"
"""Version of the plugin whose internals are extended here; pyproject.toml pins the same."""

NEEDED = "site_extra"
"""Resource with the options of sbatch that a job needs whatever a user's ``slurm_extra`` says."""

VISIBLE_S = 200
"""Seconds that a finished job must stay visible: Snakemake asks at least every three minutes."""

REFUSALS: dict[tuple[str, ...], str] = {}
"""By rule and wildcards of a job, what sbatch said when it refused the job last."""


def status_command(wanted: str) -> str | None:
    """Command by which Snakemake asks for the state of jobs: ``squeue`` wherever that is safe.

    With accounting by slurmdbd ``sacct`` works as well; without, it answers nothing, for ever.

    Args:
        wanted: ``auto``, ``squeue`` or ``sacct``.

    Raises:
        InputError: Neither is safe here.
    """
    if wanted != "auto" or shutil.which("scontrol") is None:
        return None if wanted == "auto" else wanted
    try:
        config = answer(["scontrol", "show", "config"])
    except FAILED as error:
        remedy = "does Slurm answer here? try sinfo"
        raise InputError(f"scontrol show config: {failure_text(error)}", remedy=remedy) from None
    settings = dict(re.findall(r"^(\w+) *= *(.*)$", config, re.MULTILINE))
    age = re.match(r"\d+", settings.get("MinJobAge", ""))
    if age and int(age[0]) >= VISIBLE_S:
        return "squeue"
    if "slurmdbd" in settings.get("AccountingStorageType", ""):
        return "sacct"
    raise InputError(
        f"Slurm forgets finished jobs after {settings.get('MinJobAge', 'an unknown time')} and keeps no accounts",
        expected=f"MinJobAge of {VISIBLE_S} s or more in slurm.conf, or slurmdbd",
        remedy="ask the site, or set status: squeue in slurm/site.yaml and keep poll_seconds short",
    )


def extend_plugin() -> None:
    """Extend the plugin: every end of a job is seen, refusals are kept, and options of sbatch are merged.

    Raises:
        InputError: Another version of the plugin is installed.
    """
    check_version(version(PLUGIN))
    tell_every_end()
    keep_refusals()
    merge_extras()


def check_version(installed: str) -> None:
    """Refuse a version of the plugin whose internals may differ.

    Raises:
        InputError: It is not :data:`VERSION`.
    """
    if installed != VERSION:
        remedy = f"pip install {PLUGIN}=={VERSION}, or create the environment again"
        raise InputError(
            f"{PLUGIN} {installed}", expected=f"version {VERSION}, whose internals are extended", remedy=remedy
        )


def quote_job_commands() -> None:
    """Let Snakemake quote what it tells jobs by a shell's rules.

    It quotes strings as Python writes them, ``"it's $HOME"``, and the path of Python not at all.
    """
    import snakemake_executor_plugin_slurm_jobstep as jobstep
    import snakemake_interface_executor_plugins.utils as utils
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    if hasattr(utils.format_cli_value, "__wrapped__"):
        return  # done before in this process
    utils.format_cli_value = _shell_quoted(utils.format_cli_value)
    executors: tuple[Any, ...] = (RemoteExecutor, jobstep.Executor)
    for executor in executors:
        executor.get_python_executable = _quoted_path(executor.get_python_executable)


def _shell_quoted(format_value: Callable[..., str]) -> Callable[..., str]:
    @wraps(format_value)
    def formatted(value: Any, quote: bool = False, base64_encode: bool = False) -> str:
        if isinstance(value, str) and quote and not base64_encode:
            return shlex.quote(str(value))
        return format_value(value, quote=quote, base64_encode=base64_encode)

    return formatted


def _quoted_path(get_path: Callable[[Any], str]) -> Callable[[Any], str]:
    @wraps(get_path)
    def quoted_path(executor: Any) -> str:
        return shlex.quote(get_path(executor))

    return quoted_path


def tell_every_end() -> None:
    """Let Snakemake's plugin see an end in every state that is one.

    It takes a job that was preempted for one that Slurm starts again, and with ``sacct`` one that somebody cancelled
    for one that runs. After NODE_FAIL it never again asks for a node of that job, though one of them may have failed,
    for a minute, and Slurm uses none that is down. No job comes back under its number here (``no-requeue``).
    """
    import snakemake_executor_plugin_slurm as plugin

    ask, told = plugin.query_job_status, set[str]()

    async def ask_and_tell(command: str, logger: Any) -> Any:
        states, seconds = await ask(command, logger)
        for job, state in (states or {}).items():
            if state != (plain := plain_state(state)):
                states[job] = plain
                if job not in told:
                    logger.warning(f"Slurm job {job}: {state}")
                    told.add(job)
        return states, seconds

    plugin.query_job_status = ask_and_tell


def keep_refusals() -> None:
    """Remember what sbatch says of the jobs that it refuses, for the summary at the end: they have no log."""
    import snakemake_executor_plugin_slurm as plugin

    report_error = plugin.Executor._report_job_error_threadsafe
    report_submission = plugin.Executor._report_job_submission_threadsafe

    def refused(self: Any, job_info: Any, msg: str) -> None:
        for job in single_jobs(job_info.job):
            REFUSALS[job_key(job)] = sbatch_words(msg)
        report_error(self, job_info, msg)

    def submitted(self: Any, job_info: Any) -> None:
        for job in single_jobs(job_info.job):
            REFUSALS.pop(job_key(job), None)
        report_submission(self, job_info)

    plugin.Executor._report_job_error_threadsafe = refused
    plugin.Executor._report_job_submission_threadsafe = submitted


def single_jobs(job: Any) -> list[Any]:
    """The jobs of a group, or the job alone."""
    return [*getattr(job, "jobs", [job])]


def job_key(job: Any) -> tuple[str, ...]:
    """Rule and wildcards of a job of Snakemake."""
    return (job.rule.name, *map(str, job.wildcards))


def sbatch_words(message: str) -> str:
    """Words of sbatch in a message of Snakemake's plugin, in one line."""
    match = re.search(r"error message was '?(.*?)'?\.?\n *(?:sbatch call|$)", f"{message}\n", re.DOTALL)
    return " ".join((match[1] if match else message).split())


def merge_extras() -> None:
    """Add the options of sbatch that jobs need to those of a user's own ``slurm_extra``, which replaces the rule's.

    An option that the user gives stands as it is.
    """
    import snakemake_executor_plugin_slurm as plugin

    command = plugin.get_submit_command

    def complete(job: Any, *args: Any, **kwargs: Any) -> str:
        given = str(job.resources.get("slurm_extra") or "")
        return f"{command(job, *args, **kwargs)}{missing_extras(str(job.resources.get(NEEDED) or ''), given)}"

    plugin.get_submit_command = complete


def missing_extras(needed: str, given: str) -> str:
    """Options in ``needed`` that are not in ``given``, each after a blank."""
    names = {word.partition("=")[0] for word in given.split()}
    return "".join(f" {word}" for word in needed.split() if word.partition("=")[0] not in names)


def plain_state(state: str) -> str:
    """A state of Slurm as Snakemake's plugin takes it rightly."""
    word = (state.split() or [""])[0].rstrip("+")  # sacct: CANCELLED by 1000
    return {"PREEMPTED": "FAILED", "NODE_FAIL": "FAILED", "REVOKED": "FAILED"}.get(word, word)
