"""What jobs run in, by one setting of the site; none of its values makes anything run again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

import container
import slurm
from aroface.errors import InputError
from aroface.planning.plan import make_plan
from repository import ROOT
from workflow_project import Outcome, Project

# Notes what it was asked, and runs the rest of its words here: the image's python is this one.
APPTAINER = """#!/bin/sh
printf '%s\\n' "$*" "strict: $AROFACE_STRICT_VERSIONS" >> apptainer.txt
while [ "$1" != /opt/aroface/bin/python ]; do shift; done
shift
exec {python} "$@"
"""
CONDA = """#!/bin/sh
case "$1" in
info) echo '{"conda_prefix": "/none", "platform": "linux-64", "envs": []}' ;;
config) echo '{"get": {"channel_priority": "strict"}}' ;;
*) echo "conda 26.1.0" ;;
esac
"""


def script(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(body)
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins of apptainer, conda and squeue, before all others."""
    folder = tmp_path_factory.mktemp("tools")
    script(folder / "apptainer", APPTAINER.format(python=sys.executable))
    script(folder / "conda", CONDA)
    script(folder / "squeue", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def with_profile(project: Project, **site: object) -> None:
    shutil.copytree(ROOT / "slurm", project.folder / "slurm", dirs_exist_ok=True)
    (project.folder / "slurm/site.yaml").write_text(yaml.safe_dump({"status": "squeue", **site}))


@pytest.mark.parametrize("environment", ["venv", "conda", "container"])
def test_another_environment_makes_nothing_stale(done: Project, tools: Path, environment: str) -> None:
    """With the profile itself: it is read, and hands the setting on."""
    (done.folder / "image.sif").touch()
    with_profile(done, environment=environment, image="image.sif")
    outcome = done.plan("--profile", "slurm")
    assert "Nothing to be done" in outcome.text
    assert outcome.planned == []


def test_nodes_that_do_not_divide_a_training_are_one_line(project: Project) -> None:
    with_profile(project, nodes=3)
    (project.folder / "five.yaml").write_text("training: {processes: 5}\n")
    files = ("--configfile", "config.yaml", "five.yaml")
    outcome = project.run("--dry-run", "--profile", "slurm", *files, config=None)
    assert outcome.status == 2
    errors = [line for line in outcome.text.splitlines() if not line.startswith("Using ")]
    assert len(errors) == 1, outcome.text
    assert errors[0].startswith("error: slurm/site.yaml: nodes: 5 processes on 4 GPUs of ")


def test_the_conda_setting_is_snakemakes_own(project: Project, tools: Path) -> None:
    with_profile(project, environment="conda")
    outcome = project.plan("--profile", "slurm")
    for name in ("train", "evaluate", "data", "paper"):
        assert re.search(rf"^Conda environment .*workflow/envs/{name}.yaml will be created", outcome.text, re.M)
    with_profile(project, environment="venv")
    assert "Conda environment" not in project.plan("--profile", "slurm").text


def test_jobs_run_in_the_container(project: Project, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_profile(project)
    (project.folder / "image.sif").touch()
    project.config["strict_versions"] = True
    project.write()
    settings = {**slurm.DEFAULTS, "environment": "container", "image": "image.sif"}
    monkeypatch.setenv(slurm.SITE, json.dumps(settings))
    outcome: Outcome = project.run("generate_faces")
    assert outcome.status == 0, outcome.text
    (call,) = project.calls()
    assert call.startswith("data generate ")
    asked = (project.folder / "apptainer.txt").read_text().splitlines()
    temporary = f",{tempfile.gettempdir()}"  # Snakemake gives each job a TMPDIR
    words = f"--bind {project.folder}{temporary} --pwd {project.folder} {project.folder / 'image.sif'}"
    gpus = "--nv " if Path("/dev/nvidiactl").exists() else ""
    assert asked == [f"exec {gpus}{words} /opt/aroface/bin/python -m aroface {call}", "strict: 1"]


def test_the_launcher_of_a_training_stays_outside(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which calls Slurm's commands: only what they start is the container's."""
    script(tools / "srun", '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n')
    monkeypatch.setenv("PATH", str(ROOT / "slurm/container"), prepend=os.pathsep)
    settings = {"AROFACE_IMAGE": "/image.sif", "AROFACE_BIND": "/data", "SLURM_JOB_ID": "3"}
    code = "print('trained')"
    command = ["bash", str(ROOT / "slurm/launch.sh"), "1", "1", "120", "python", "-c", code]
    environment = {**os.environ, **settings, "TMPDIR": str(tmp_path / "scratch")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr
    (asked, _) = (tmp_path / "apptainer.txt").read_text().splitlines()
    assert f"--bind /data,{tmp_path / 'scratch'} --pwd {tmp_path} /image.sif /opt/aroface/bin/python -c {code}" in asked


def test_the_container_sees_data_that_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    (tmp_path / "photographs/anna").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "sets")
    for name in ("one", "two", "three"):
        (tmp_path / "photographs/anna" / f"{name}.jpg").write_text(name)
    folders = {"photographs": {"folder": str(tmp_path / "photographs"), "pack": {"pairs": 10}}}
    config = {"data": folders, "paths": {"data": str(tmp_path / "data"), "results": str(tmp_path / "results")}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    plan = make_plan([ROOT / "config.yaml", tmp_path / "mine.yaml"], root=ROOT)
    assert container.visible(plan, ROOT) == sorted(
        [str(ROOT.resolve()), str(tmp_path / "photographs"), str(tmp_path / "sets")]
    )


def test_an_image_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = {**slurm.DEFAULTS, "environment": "container"}
    with pytest.raises(
        InputError, match=r"image: no image workflow/envs/aroface.sif; apptainer build workflow/envs/ar"
    ):
        container.check_image(site)
    for environment in ("venv", "conda"):
        container.check_image({**site, "environment": environment})


def test_without_a_container_runtime_the_job_says_so(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    for tool in ("env", "hostname"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    command = [bash, str(ROOT / "slurm/container/python"), "-m", "aroface"]
    environment = {"PATH": str(tmp_path), "AROFACE_IMAGE": "x.sif", "AROFACE_BIND": "/"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("aroface: neither apptainer nor singularity on ")
