"""What slurm/site.yaml says, as Snakemake's profile and the rules need it; without the profile, nothing."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import job_environment
from aroface.errors import InputError
from aroface.planning.forecast.costs import plan_costs
from aroface.planning.plan import Plan
from aroface.schemas import read_yaml, validate
from refusals import ending_in_one_line

SITE = "AROFACE_SITE"
"""Environment variable by which the profile hands the site's settings on to the rules, in jobs as well."""

DEFAULTS: dict[str, Any] = {
    "account": None,
    "cpu": {},
    "gpu": {},
    "nodes": 1,
    "warning_seconds": 120,
    "hang_minutes": 30,
    "environment": "venv",
    "image": "workflow/envs/aroface.sif",
    "scratch": None,
    "setup": "",
    "jobs": 50,
    "status": "auto",
    "poll_seconds": 20,
}
SHORTEST = 30
"""Minutes that a training asks for at least: to start, to read the data, to save."""
MARGIN = 1.25
"""By which the time limit of a training is longer than its estimate."""
NEEDED = "site_extra"
"""Resource with the options of sbatch that a job needs whatever a user's ``slurm_extra`` says."""
VISIBLE_S = 200
"""Seconds that a finished job must stay visible: Snakemake asks at least every three minutes."""


class Profile:
    """What ``slurm/config.yaml`` asks for.

    Args:
        site: the settings.
        folder: of the profile.

    Attributes:
        jobs: most at once.
        default_resources: of every job.
        precommand: what the shell of every job does first.
        status_command: how the plugin asks for states.
        poll_seconds: before it first does.
        deployment: what Snakemake itself does about environments.
    """

    def __init__(self, site: dict[str, Any], folder: Path) -> None:
        self.jobs: int = site["jobs"]
        self.poll_seconds: int = site["poll_seconds"]
        setup = shlex.quote(str(folder.resolve() / "setup.sh"))
        self.precommand = f". {setup}".replace("$", "$''")  # Snakemake would expand variables in it
        self.status_command = None if plans_only(sys.argv[1:]) else status_command(site["status"])
        self.deployment = ["conda"] if site["environment"] == "conda" else None
        queue = _queue(site, "cpu")
        self.default_resources = {name: quoted(value) for name, value in queue.items()} or None


def profile(folder: str) -> Profile:
    """Read the site's settings for the profile in ``folder``, and set the environment that jobs inherit.

    Exits with one line and status 2 where something is wrong.
    """
    with ending_in_one_line():
        site = read_site(Path(folder) / "site.yaml")
        os.environ[SITE] = json.dumps(site)
        os.environ["AROFACE_SETUP"] = site["setup"]
        os.environ["AROFACE_SCRATCH"] = site["scratch"] or ""
        os.environ.setdefault("AROFACE_HANG_S", str(60 * site["hang_minutes"]))
        job_environment.check(site)
        check_working_folder(Path.cwd())
        tell_every_end()
        keep_refusals()
        merge_extras()
        return Profile(site, Path(folder))


def read_site(path: Path) -> dict[str, Any]:
    """The site's settings, with defaults for what is not said; all defaults where there is no such file.

    A key without a value, as it stays when the lines below it are deleted, says nothing.

    Raises:
        InputError: one line with file and key.
    """
    found = (read_yaml(path) or {}) if path.exists() else {}
    found = _said(found)
    validate(found, "site", file=path)
    return {**DEFAULTS, **found}


def _said(found: Any) -> Any:
    if not isinstance(found, dict):
        return found
    return {key: _said(value) for key, value in found.items() if value is not None}


def plans_only(words: Sequence[str]) -> bool:
    """Whether Snakemake was called with ``-n``, alone or among other letters: a plan needs no Slurm that answers."""
    return any(re.fullmatch(r"-[Fkpqr]*n[Fkpqr]*|--dry-?run", word) for word in words)


def quoted(value: str) -> str:
    """A string as Snakemake's command line takes it, which else evaluates it."""
    return repr(value)


def status_command(wanted: str) -> str | None:
    """How Snakemake asks for the state of jobs: by ``squeue`` wherever that is safe.

    With accounting by slurmdbd ``sacct`` works as well; without, it answers nothing, for ever.

    Args:
        wanted: ``auto``, ``squeue`` or ``sacct``.

    Raises:
        InputError: neither is safe here.
    """
    if wanted != "auto" or shutil.which("scontrol") is None:
        return None if wanted == "auto" else wanted
    try:
        done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        trouble = " ".join(str(getattr(error, "stderr", None) or error).split())
        raise InputError(f"scontrol show config: {trouble}", remedy="does Slurm answer here? try sinfo") from None
    settings = dict(re.findall(r"^(\w+) *= *(.*)$", done.stdout, re.MULTILINE))
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


def check_working_folder(folder: Path) -> None:
    """Refuse a folder in whose name Slurm sees placeholders: the logs of all jobs lie below it.

    Raises:
        InputError: One line with the character.
    """
    for character in "%\\":
        if character in str(folder):
            raise InputError(
                f"the folder's path holds {character}, which Slurm does not take as it is in the names of logs",
                file=str(folder),
                remedy="rename the folder, or start from another",
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


REFUSALS: dict[tuple[str, ...], str] = {}
"""By rule and wildcards of a job, what sbatch said when it refused the job last."""


def keep_refusals() -> None:
    """Remember what sbatch says of the jobs that it refuses, for the summary at the end: they have no log."""
    import snakemake_executor_plugin_slurm as plugin

    report_error = plugin.Executor._report_job_error_threadsafe
    report_submission = plugin.Executor._report_job_submission_threadsafe

    def refused(self: Any, job_info: Any, msg: str) -> None:
        for job in _single(job_info.job):
            REFUSALS[job_key(job)] = sbatch_words(msg)
        report_error(self, job_info, msg)

    def submitted(self: Any, job_info: Any) -> None:
        for job in _single(job_info.job):
            REFUSALS.pop(job_key(job), None)
        report_submission(self, job_info)

    plugin.Executor._report_job_error_threadsafe = refused
    plugin.Executor._report_job_submission_threadsafe = submitted


def _single(job: Any) -> list[Any]:
    """The jobs of a group, or the job alone."""
    return [*getattr(job, "jobs", [job])]


def job_key(job: Any) -> tuple[str, ...]:
    """Rule and wildcards of a job of Snakemake."""
    return (job.rule.name, *map(str, job.wildcards))


def sbatch_words(message: str) -> str:
    """Words of sbatch in a message of Snakemake's plugin, in one line."""
    found = re.search(r"error message was '?(.*?)'?\.?\n *(?:sbatch call|$)", f"{message}\n", re.DOTALL)
    return " ".join((found[1] if found else message).split())


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


def check_call(workflow: Any) -> None:
    """Refuse options of Snakemake with which a workflow on Slurm would end before its jobs do.

    Raises:
        InputError: ``--immediate-submit``.
    """
    if on_slurm() and getattr(workflow.remote_execution_settings, "immediate_submit", False):
        expected = "no such option: jobs are submitted as soon as what they need is there"
        raise InputError("--immediate-submit submits the first jobs and ends", expected=expected)


def plain_state(state: str) -> str:
    """A state of Slurm as Snakemake's plugin takes it rightly."""
    word = (state.split() or [""])[0].rstrip("+")  # sacct: CANCELLED by 1000
    return {"PREEMPTED": "FAILED", "NODE_FAIL": "FAILED", "REVOKED": "FAILED"}.get(word, word)


def on_slurm() -> bool:
    """Whether this Snakemake, or the one that submitted this job, was called with the profile."""
    return SITE in os.environ


def site_settings() -> dict[str, Any]:
    """What slurm/site.yaml says, with defaults, of the call with the profile."""
    site: dict[str, Any] = json.loads(os.environ[SITE])
    return site


def _queue(site: dict[str, Any], kind: str) -> dict[str, str]:
    """Account, partition, quality of service and constraint of jobs of a kind, those that the site names."""
    queue = site[kind]
    named = {"slurm_account": site["account"], "slurm_partition": queue.get("partition")}
    named |= {name: queue.get(name) for name in ("qos", "constraint")}
    return {name: value for name, value in named.items() if value}


def job_resources(asked: dict[str, Any]) -> dict[str, Any]:
    """What Slurm is asked for a job of one node; nothing without the profile.

    Args:
        asked: of the configuration's ``resources``.
    """
    if not on_slurm():
        return {}
    kind = "gpu" if asked["gpus"] else "cpu"
    return {**_queue(site_settings(), kind), **_extras(_gpus(asked["gpus"]))}


def training_resources(plan: Plan) -> dict[str, Callable[[Any], Any]]:
    """Devices of the trainings of a plan, what Slurm is asked for them, and how they are started on their nodes.

    Returns:
        Functions from a job's wildcards, by the names of the resources.

    Raises:
        InputError: The processes of a training cannot be split evenly over the nodes.
    """
    trained = [name for name, run in plan.runs.items() if run.experiment.recipe is not None]
    found = {name: resources_of(plan, name) for name in trained}
    names = dict.fromkeys(name for resources in found.values() for name in resources)
    return {name: _of_run(found, name) for name in names}


def _of_run(found: dict[str, dict[str, Any]], name: str) -> Callable[[Any], Any]:
    return lambda wildcards: found[wildcards.run][name]


def resources_of(plan: Plan, run: str) -> dict[str, Any]:
    """Resources of the training of one run; the same names for all runs of a plan.

    The shell of a training on several nodes, and of one alone, runs beside Slurm's step, not in it: the warning
    before the time limit goes to the training and not to Snakemake.

    Raises:
        InputError: Its processes cannot be split evenly over the nodes.
    """
    experiment = plan.runs[run].experiment
    asked = plan.values["resources"]["train"]
    if not on_slurm():
        # Every training begins with the machine's first GPU, so that one holds all that are configured.
        return {**plan.devices(experiment)._asdict(), "gpus": asked["gpus"], "launcher": ""}
    site = site_settings()
    devices = plan.devices(experiment, site["nodes"])
    nodes = devices.nodes
    together = {"tasks": nodes} if site["nodes"] > 1 else {}
    gpus = _gpus(devices.gpus // nodes)
    extra = ["--ntasks-per-node=1", f"--signal=USR1@{site['warning_seconds']}", gpus.pop("slurm_extra", "")]
    return {
        **_queue(site, "gpu" if devices.gpus else "cpu"),
        **gpus,
        **together,
        **devices._asdict(),
        "mpi": "srun" if nodes > 1 else "",
        "tasks_per_gpu": 0,
        "cpus_per_task": asked["threads"],
        **_extras({"slurm_extra": " ".join(filter(None, extra))}),
        "launcher": f"bash slurm/launch.sh {nodes} {asked['threads']} {site['warning_seconds']}",
    }


def _extras(resources: dict[str, Any]) -> dict[str, Any]:
    """Resources whose ``slurm_extra`` survives a user's own, see `merge_extras`."""
    extra = resources.get("slurm_extra")
    return {**resources, NEEDED: extra} if extra else resources


def _gpus(on_each_node: int) -> dict[str, Any]:
    if not on_each_node:
        return {}
    kind = site_settings()["gpu"].get("type")
    if kind and "-" in kind:  # which Snakemake's plugin takes for a mistake in a gres
        return {"slurm_extra": f"--gpus-per-node={kind}:{on_each_node}"}
    return {"gres": f"gpu:{kind}:{on_each_node}" if kind else f"gpu:{on_each_node}"}


def job_minutes(asked: dict[str, Any]) -> Callable[..., int]:
    """Time limit of a job of one rule: twice as long at the second attempt, and so on, if the partition allows it."""

    def minutes(wildcards: Any, attempt: int) -> int:
        return int(min(asked["runtime"] * attempt, _partition_minutes(asked)))

    return minutes


def job_memory(asked: dict[str, Any]) -> Callable[..., int]:
    """Memory of a job of one rule in MB: twice as much at the second attempt, and so on."""

    def memory(wildcards: Any, attempt: int) -> int:
        return int(asked["mem_mb"]) * attempt

    return memory


class TrainingTime:
    """How long trainings may take, from what the plan estimates.

    Args:
        plan: of the configuration.
        root: folder of the repository.
    """

    def __init__(self, plan: Plan, root: Path) -> None:
        self._plan, self._root = plan, root
        self._asked = plan.values["resources"]["train"]
        self._most = int(min(self._asked["runtime"], _partition_minutes(self._asked)))

    def limit(self, wildcards: Any, attempt: int) -> int:
        """Minutes of a job: the estimate and some more; after a first attempt the longest that is allowed."""
        hours = self._hours.get(wildcards.run)
        return self._most if hours is None or attempt > 1 else min(self._most, math.ceil(_generous(hours)) + SHORTEST)

    @property
    def retries(self) -> int:
        """How often a training is tried again: as configured, and once for each time limit that it has to outlive."""
        if not on_slurm():
            return int(self._asked["retries"])
        longest = max(self._hours.values(), default=0.0)
        return int(self._asked["retries"]) + math.floor(_generous(longest) / self._most)

    @cached_property
    def _hours(self) -> dict[str, float]:
        """Hours on the clock of each run whose training can be estimated."""
        try:
            costs = plan_costs(self._plan, root=self._root)
        except InputError:
            return {}  # said before anything is started
        return {run: each.wall_hours for each in costs.trainings if each.wall_hours is not None for run in each.runs}


def _generous(hours: float) -> float:
    return 60 * MARGIN * hours


def _partition_minutes(asked: dict[str, Any]) -> float:
    """The longest time limit that the partition allows, as far as that is known."""
    hours = site_settings()["gpu" if asked["gpus"] else "cpu"].get("max_hours") if on_slurm() else None
    return math.inf if hours is None else 60 * hours
