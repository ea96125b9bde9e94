"""One version of each package, however the environment is made: pip's lock, conda's file, the rules' environments."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml


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
    asked = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["dev"]]
    asked += project["build-system"]["requires"]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[=<>!~\[ ]", each)[0]).lower() for each in asked}
    assert names <= lock.keys()
    exact = pins([each for each in asked if "==" in each])
    assert exact.items() <= lock.items()


def test_conda_environments_use_the_python_of_the_lock():
    minimum = tomllib.loads(Path("pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    for path in (Path("environment.yml"), *Path("workflow/envs").glob("*.yaml")):
        assert f"python={minimum}" in yaml.safe_load(path.read_text())["dependencies"], path


ENTRIES = {
    "data": [f"aroface.datasets.{verb}" for verb in ("generate", "pack", "fetch", "verify", "prepare")],
    "train": ["aroface.training.run", "aroface.embedding.benchmark"],
    "evaluate": ["aroface.evaluation.evaluate"],
    "paper": [
        "aroface.paper.table",
        "aroface.paper.figures",
        "aroface.paper.document",
        "aroface.embedding.examples",
        "aroface.report_material",
    ],
}
"""What the jobs of each environment import."""

DISTRIBUTIONS = {"cv2": "opencv-python-headless", "yaml": "pyyaml", "PIL": "pillow"}
"""Distributions that are not named like their module."""


def imported(module: str, seen: set[str]) -> set[str]:
    """Top-level modules outside the project that importing ``module`` imports."""
    if module in seen:
        return set()
    seen.add(module)
    base = Path("src", *module.split("."))
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name for name in inner if Path("src", *name.split(".")).with_suffix(".py").exists()] or [
                node.module
            ]
        for name in names:
            found |= imported(name, seen) if name.startswith("aroface") else {name.split(".")[0]}
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_rules_environments_hold_what_their_jobs_import(name):
    needed = set().union(*(imported(entry, set()) for entry in ENTRIES[name]))
    needed |= {"tensorboard"} if name == "train" else set()  # which torch imports by itself
    distributions = {DISTRIBUTIONS.get(module, module).lower() for module in needed}
    assert distributions <= conda_pins(Path(f"workflow/envs/{name}.yaml")).keys()
