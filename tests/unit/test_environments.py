"""One version of each package, however the environment is made: pip's lock, conda's file, the rules' environments."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from aroface.cli.extras import PACKAGES


def pins(lines: list[str]) -> dict[str, str]:
    """Normalised package name to version."""
    found = [re.fullmatch(r"([\w.-]+)==([\w.+]+)", line) for line in lines]
    assert all(found), "every package is pinned to one version"
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found if match}


def conda_pins(path: Path) -> dict[str, str]:
    packages = yaml.safe_load(path.read_text())["dependencies"]
    return pins(next(entry for entry in packages if isinstance(entry, dict))["pip"])


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    lines = Path("requirements.lock").read_text().splitlines()
    return pins([line for line in lines if not line.startswith("#")])


def test_conda_users_get_the_versions_of_the_lock(lock):
    assert conda_pins(Path("environment.yml")) == lock


RULES = [path for path in sorted(Path("workflow/envs").glob("*.yaml")) if path.stem != "mxnet"]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_the_rules_environments_have_the_versions_of_the_lock(path, lock):
    assert conda_pins(path).items() <= lock.items()


def test_mxnets_environment_is_the_same_for_pip_and_conda():
    """It is apart from the lock: MXNet needs an older numpy."""
    lines = Path("workflow/envs/mxnet.txt").read_text().splitlines()
    found = pins([line for line in lines if not line.startswith("#")])
    assert conda_pins(Path("workflow/envs/mxnet.yaml")) == found
    assert {"mxnet", "numpy", "opencv-python-headless"} <= found.keys()


def test_the_lock_pins_all_that_the_project_asks_for(lock):
    project = tomllib.loads(Path("pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    asked = [*project["project"]["dependencies"], *(each for extra in extras for each in extra)]
    asked = [*(each for each in asked if not each.startswith("aroface[")), *project["build-system"]["requires"]]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[=<>!~\[ ]", each)[0]).lower() for each in asked}
    assert names <= lock.keys()
    exact = pins([each for each in asked if "==" in each])
    assert exact.items() <= lock.items()


def test_conda_environments_use_the_python_of_the_lock():
    minimum = tomllib.loads(Path("pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    for path in (Path("environment.yml"), *Path("workflow/envs").glob("*.yaml")):
        assert f"python={minimum}" in yaml.safe_load(path.read_text())["dependencies"], path


_IMPORTS = ("aroface.models.import_released", "aroface.embedding.import_program")
ENTRIES = {
    "data": [
        "aroface.datasets.synthetic.generate",
        *(f"aroface.datasets.preparation.{verb}" for verb in ("pack", "fetch", "verify", "prepare")),
    ],
    "train": ["aroface.training.train", "aroface.embedding.embed", *_IMPORTS],
    "evaluate": ["aroface.evaluation.evaluate"],
    "paper": [
        *(f"aroface.reporting.{page}" for page in ("document", "crate", "html_report.page", "tables.render")),
        *(f"aroface.reporting.claims.{page}_text" for page in ("claims", "compare")),
        *(f"aroface.reporting.figures.{path.stem}" for path in Path("src/aroface/reporting/figures").glob("[a-z]*.py")),
        "aroface.embedding.example_faces",
        "aroface.planning.report_material",
    ],
}
"""What the jobs of each environment import."""

DISTRIBUTIONS = {module: distribution for module, (distribution, _) in PACKAGES.items()}

UNREAD = {"paper": {"docx", "openpyxl", "pyarrow", "torch"}}
"""Modules that read images of sets, which the jobs of an environment only name, and forms of tables no job makes."""


def imported(module: str, seen: set[str]) -> set[str]:
    """Top-level modules outside the project that importing ``module`` imports."""
    if module in seen:
        return set()
    seen.add(module)
    base = Path("src", *module.split("."))
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    found: set[str] = set()
    tree = ast.parse(file.read_text())
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    unused = {node for block in typing for node in ast.walk(block)}
    for node in {*ast.walk(tree)} - unused:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name for name in inner if Path("src", *name.split(".")).with_suffix(".py").exists()] or [
                node.module
            ]
        for name in names:
            found |= imported(name, seen) if name.startswith("aroface") else {name.split(".")[0]}
    return found - set(sys.stdlib_module_names) - {"_typeshed"}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_rules_environments_hold_what_their_jobs_import(name):
    needed = set().union(*(imported(entry, set()) for entry in ENTRIES[name]))
    needed |= {"tensorboard"} if name == "train" else set()  # which torch imports by itself
    distributions = {DISTRIBUTIONS.get(module, module).lower() for module in needed - UNREAD.get(name, set())}
    assert distributions <= conda_pins(Path(f"workflow/envs/{name}.yaml")).keys()


DEFINITION = Path("workflow/envs/aroface.def")


def sections() -> dict[str, str]:
    """The header of the container's definition under "", and its sections by name."""
    parts = re.split(r"^%(\w+)\n", DEFINITION.read_text(), flags=re.M)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_the_container_has_the_python_and_the_packages_of_the_lock(lock):
    found = sections()
    header = dict(re.findall(r"^(\w+): (\S+)$", found[""], re.M))
    assert header["Bootstrap"] == "docker"
    minimum = tomllib.loads(Path("pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert re.fullmatch(rf"python:{re.escape(minimum)}-slim-\w+", header["From"])
    ((source, target),) = (line.split() for line in found["files"].splitlines() if line.strip())
    assert source == "requirements.lock" and Path(source).is_file()
    assert f"-m pip install --requirement {target}\n" in found["post"]
    assert f"python{minimum} -m venv /opt/aroface" in found["post"]
    assert len(re.findall(r"pip install", found["post"])) == 1  # nothing beside the lock
    (modules,) = re.findall(r"import ([\w, ]+)'", found["test"])
    assert {DISTRIBUTIONS.get(name, name) for name in modules.split(", ")} <= lock.keys()


@pytest.mark.parametrize("name", ["post", "environment", "test", "runscript"])
def test_the_containers_commands_are_a_shells(name):
    done = subprocess.run(["bash", "-n"], input=sections()[name], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_jobs_start_the_containers_python_where_it_is_installed():
    shim = Path("slurm/container/python")
    assert shim.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(shim)], check=True)
    (place,) = re.findall(r"(\S+)/bin/python \"\$@\"", shim.read_text())
    assert f"-m venv {place}\n" in sections()["post"]


def test_the_container_has_what_the_document_and_the_commit_need():
    readme = re.sub(r"\s+", " ", Path("README.md").read_text())
    (packages,) = re.findall(r"`apt install ([\w -]+)`", readme)
    installed = re.sub(r"\s+", " ", sections()["post"].replace("\\\n", ""))
    assert {*packages.split(), "git"} <= {*installed.split()}
