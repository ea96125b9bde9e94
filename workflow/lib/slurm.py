"""Settings of slurm/site.yaml and the Snakemake profile that is made of them; without the profile, nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import container
from aroface.errors import InputError
from aroface.planning.site import SITE_FILE, read_site
from refusals import ending_in_one_line
from slurm_plugin import extend_plugin, status_command

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

_IMMEDIATE = re.compile(r"""^["']?(immediate-submit|is)["']?\s*:\s*(true|yes|on|1)\b""", re.MULTILINE | re.IGNORECASE)


class Profile:
    """Settings of ``slurm/config.yaml``.

    Args:
        site: Settings of the site, complete.
        folder: Folder of the profile.

    Attributes:
        jobs: Largest number of jobs at once.
        default_resources: Resources of every job.
        precommand: Commands that the shell of every job runs first.
        status_command: Command by which the plugin asks for states.
        poll_seconds: Seconds before it first does.
        deployment: Environments that Snakemake itself provides.
    """

    def __init__(self, site: dict[str, Any], folder: Path) -> None:
        self.jobs: int = site["jobs"]
        self.poll_seconds: int = site["poll_seconds"]
        setup = shlex.quote(str(folder.resolve() / "setup.sh"))
        self.precommand = f". {setup}".replace("$", "$''")  # Snakemake would expand variables in it
        self.status_command = None if plans_only(sys.argv[1:]) else status_command(site["status"])
        self.deployment = ["conda"] if site["environment"] == "conda" else None
        queue = queue_of(site, "cpu")
        self.default_resources = {name: quoted(value) for name, value in queue.items()} or None


def profile(folder: str) -> Profile:
    """Read the site's settings for the profile in ``folder``, and set the environment that jobs inherit.

    Exits with one line and status 2 where something is wrong.
    """
    with ending_in_one_line():
        site = complete_site(Path(folder) / SITE_FILE.name)
        os.environ[SITE] = json.dumps(site)
        os.environ["AROFACE_SETUP"] = site["setup"]
        os.environ["AROFACE_SCRATCH"] = site["scratch"] or ""
        os.environ.setdefault("AROFACE_HANG_S", str(60 * site["hang_minutes"]))
        container.check_image(site)
        check_working_folder(Path.cwd())
        extend_plugin()
        return Profile(site, Path(folder))


def complete_site(path: Path) -> dict[str, Any]:
    """The site's settings, with defaults for what its file leaves out; all defaults where there is no such file.

    Raises:
        InputError: One line with file and key.
    """
    return {**DEFAULTS, **read_site(path)}


def plans_only(words: Sequence[str]) -> bool:
    """True if Snakemake was called with ``-n``, alone or among other letters: a plan needs no Slurm that answers."""
    return any(re.fullmatch(r"-[Fkpqr]*n[Fkpqr]*|--dry-?run", word) for word in words)


def quoted(value: str) -> str:
    """A string as Snakemake's command line takes it, which else evaluates it."""
    return repr(value)


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


def check_call(workflow: Any) -> None:
    """Refuse options of Snakemake with which a workflow would end before its jobs do, or wait for ever.

    Raises:
        InputError: ``--immediate-submit``.
    """
    settings = workflow.remote_execution_settings  # there are none yet while it plans
    if settings.immediate_submit if settings else _asks_for_immediate_submit(sys.argv[1:]):
        expected = "no such option: jobs are submitted as soon as what they need is there"
        raise InputError("--immediate-submit submits the first jobs and ends, or never ends", expected=expected)


def _asks_for_immediate_submit(words: Sequence[str]) -> bool:
    """True if arguments of Snakemake hold the option, or a profile among them does.

    Profiles are read as text: to evaluate that of this folder has consequences.
    """
    from snakemake.cli import get_argument_parser, get_profile_dir  # heavy, and loaded where it is Snakemake that asks

    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        arguments = get_argument_parser().parse_args(words)
        special = arguments.workflow_profile or "default"
        profiles = map(get_profile_dir, [*(arguments.profile or ()), special, f"profiles/{special}"])
        files = [file for _, file in filter(None, profiles)]
        return arguments.immediate_submit or any(_IMMEDIATE.search(file.read_text()) for file in files)
    return False


def on_slurm() -> bool:
    """True if this Snakemake, or the one that submitted this job, was called with the profile."""
    return SITE in os.environ


def site_settings() -> dict[str, Any]:
    """Settings of slurm/site.yaml, with defaults, of the call with the profile."""
    site: dict[str, Any] = json.loads(os.environ[SITE])
    return site


def queue_of(site: dict[str, Any], kind: str) -> dict[str, str]:
    """Account, partition, quality of service and constraint of jobs of a kind, those that the site names."""
    queue = site[kind]
    named = {"slurm_account": site["account"], "slurm_partition": queue.get("partition")}
    named |= {name: queue.get(name) for name in ("qos", "constraint")}
    return {name: value for name, value in named.items() if value}
