"""Container of jobs, if slurm/site.yaml asks for one in the place of Snakemake's environment or conda's.

Conda environments are Snakemake's business (``software-deployment-method`` of the profile). In a container only the
jobs' ``python`` runs: slurm/container/python is found before every other one and starts that of the image, so that
Slurm's commands and the launcher of several nodes stay outside. No rule knows of it, and nothing becomes stale.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.planning.plan import Plan
from job_environment import extend

CONTAINER = "container"
FOLDER = Path("slurm/container")


def check_image(site: dict[str, Any]) -> None:
    """Refuse a container that is not there.

    Raises:
        InputError: The image is missing; the line says how it is built.
    """
    image = Path(site["image"])
    if site["environment"] == CONTAINER and not image.exists():
        raise InputError(
            f"no image {image}",
            file="slurm/site.yaml",
            where="image",
            remedy=f"apptainer build {image} workflow/envs/aroface.def, where that is allowed, or environment: venv",
        )


def offer_container(site: dict[str, Any], plan: Plan, root: Path) -> None:
    """Let jobs find the container's python first, if the site wants one, and let that see all that they read or write.

    Args:
        site: Settings of the site.
        plan: Plan with the folders of data and results.
        root: Folder of the repository.

    Raises:
        InputError: The path of one of these folders holds what separates them.
    """
    if site["environment"] != CONTAINER:
        return
    extend("PATH", (root / FOLDER).resolve(), first=True)
    os.environ["AROFACE_IMAGE"] = str((root / site["image"]).resolve())
    folders = visible(plan, root)
    for folder in folders:
        if separators := {",", ":"} & {*folder}:
            problem = f"a container cannot be given a folder whose path holds {min(separators)!r}"
            raise InputError(problem, file=folder, remedy="rename it, or environment: venv in slurm/site.yaml")
    os.environ["AROFACE_BIND"] = ",".join(folders)


def visible(plan: Plan, root: Path) -> list[str]:
    """Folders that jobs need, where they really are, those within others left out."""
    folders = {root.resolve(), plan.results.root.resolve(), Path(plan.values["paths"]["data"]).resolve()}
    targets = {source.target.resolve() for source in plan.sources.received if source.target is not None}
    folders |= {target if target.is_dir() else target.parent for target in targets}
    folders |= {making.folder.resolve() for making in plan.sources.makings if making.folder is not None}
    there = {folder for folder in folders if folder.exists()}
    return sorted(str(folder) for folder in there if not there & {*folder.parents})
