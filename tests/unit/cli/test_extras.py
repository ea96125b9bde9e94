"""Extras: the table of packages is that of pyproject.toml, and a verb without its packages ends in one line."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from aroface.cli.extras import PACKAGES, VERBS, missing_package
from aroface.cli.main import _parser
from hidden_packages import run_without
from repository import ROOT
from small_sets import CONFIG

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OF_THE_SNAKEFILE = {"psutil", "snakemake", "snakemake-executor-plugin-slurm"}
"""Distributions that the package itself does not import."""


def name_of(requirement: str) -> str:
    return re.split(r"[=<>!~\[ ]", requirement)[0]


def included(extra: str) -> set[str]:
    """The extra and all that it includes."""
    nested = [re.fullmatch(r"aroface\[(.*)\]", requirement) for requirement in EXTRAS[extra]]
    return {extra}.union(*(included(name) for match in nested if match for name in match[1].split(",")))


def imports(path: Path) -> Iterator[str]:
    """Top-level modules outside the project and the standard library that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"aroface", "_typeshed"}


def test_packages_are_those_of_the_project():
    core = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    assert core == {"numpy", "rich", "scipy", "torch"}
    used = {name for path in (ROOT / "src").rglob("*.py") for name in imports(path)}
    assert used - core == PACKAGES.keys() - {"tensorboard"}, "tensorboard is imported by torch.utils.tensorboard"
    for extra in ("data", "hugging-face", "mtcnn", "onnx", "paper", "workflow"):
        asked = {name_of(each) for each in EXTRAS[extra]} - {"aroface"} - OF_THE_SNAKEFILE
        assert asked == {package for package, place in PACKAGES.values() if place == extra}


def test_each_extra_is_whole():
    assert all("data" in included(extra) for extra in ("hugging-face", "mtcnn", "onnx", "paper", "workflow", "dev"))
    assert included("dev") >= {"workflow", "hugging-face", "mtcnn", "onnx", "paper"}
    assert {*VERBS.values()} <= EXTRAS.keys()
    assert {name_of(requirement) for requirement in EXTRAS["workflow"]} >= OF_THE_SNAKEFILE


COMMANDS = (
    "data degrade nothing --out low",
    "data fetch nothing",
    "data generate spec.yaml --out set",
    "data info nothing",
    "data list",
    "data pack nothing --out set",
    "data pairs nothing --out set.bin",
    "data prepare nothing --out set",
    "data search nothing nothing --out set",
    "data verify nothing",
    "model export nothing --format onnx --out model.onnx",
    "model import nothing --out run",
    "model info nothing",
    "model list",
    "model time nothing",
    "plan --configfile mine.yaml",
    "train --recipe recipe.json --data set --run-dir run --state-dir state",
    "embed --run-dir run --benchmark benchmark.json --out features",
    "embed nothing --model model.pth --out faces.csv",
    "evaluate --features features --out record.json",
    "evaluate --model model.pth --benchmark lfw=lfw.bin",
    "compare-runs --features a b",
    "mistakes --model model.pth --pairs lfw.bin --out mistakes.html",
    "quality --model model.pth --pairs lfw.bin",
    "robustness --model model.pth --pairs lfw.bin",
    "table table.yaml",
    "figure fae --benchmark fae --out figure",
    "figure landmarks --benchmark fae --out figure",
    "figure training --out figure",
    "document table.tex --out paper.tex",
    "explain table/row/column --configfile mine.yaml",
    "compare",
    "claims",
    "report --out report.html --configfile mine.yaml",
    "export kit --template article --configfile mine.yaml",
    "archive pack deposit.zip --configfile mine.yaml",
    "archive unpack nothing.zip --out results",
    "crate --out ro-crate-metadata.json --configfile mine.yaml",
)
"""A use of every verb; what it names need not be there."""

NEED_NONE = ("compare-runs",)
"""Verbs that need no extra until they have features."""


def verbs(parser: argparse.ArgumentParser, above: str = "") -> Iterator[str]:
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in nested:
        for name, child in action.choices.items():
            yield from verbs(child, f"{above}{name} ")
    if not nested:
        yield above.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def test_every_verb_is_tried():
    known = {*verbs(_parser())}
    tried = {next(verb for verb in known if f"{command} ".startswith(f"{verb} ")) for command in COMMANDS}
    assert tried == known
    assert VERBS.keys() <= {verb.partition(" ")[0] for verb in known}


def test_without_extras_each_verb_names_its_own(folder: Path):
    results = run_without(PACKAGES, [command.split() for command in COMMANDS], folder)
    packages = "|".join(package for package, _ in PACKAGES.values())
    for command, (status, said) in zip(COMMANDS, results, strict=True):
        if command.startswith(NEED_NONE):
            assert said.startswith("aroface: error: a: no complete features")
            continue
        extra = VERBS.get(command.split()[0], "data")
        line = rf'aroface: error: this needs the package ({packages}); pip install "aroface\[{extra}\]"\n'
        assert re.fullmatch(line, said), (command, said)
        assert status == 2


@pytest.mark.parametrize("extra", ["data", "paper"])
def test_the_extra_that_a_verb_names_is_enough(folder: Path, extra: str):
    hidden = {module for module, (_, place) in PACKAGES.items() if place not in included(extra)}
    served = [command for command in COMMANDS if VERBS.get(command.split()[0], "data") == extra]
    for command, (_, said) in zip(served, run_without(hidden, [each.split() for each in served], folder), strict=True):
        assert "this needs the package" not in said, (command, said)


def test_an_option_may_need_another_extra(folder: Path):
    hidden = {module for module, (_, place) in PACKAGES.items() if place != "data"}
    commands = ["plan --configfile mine.yaml --schedule plan.pdf", "model info model.onnx"]
    said = [said for _, said in run_without(hidden, [each.split() for each in commands], folder)]
    assert said[0].endswith('this needs the package matplotlib; pip install "aroface[paper]"\n')
    assert said[1] == 'aroface: error: this needs the package onnx; pip install "aroface[onnx]"\n'


def test_other_modules_are_a_programmers_error():
    assert (
        missing_package(ModuleNotFoundError("No module named 'aroface.nothing'", name="aroface.nothing"), "plan")
        is None
    )
    assert missing_package(ModuleNotFoundError("Install it"), "plan") is None
    error = missing_package(ModuleNotFoundError(name="matplotlib.axes"), "figure")
    assert str(error) == 'this needs the package matplotlib; pip install "aroface[paper]"'


CORE = (
    "aroface.heads.registry",
    "aroface.heads.partial_fc",
    *(
        f"aroface.evaluation.metrics.{path.stem}"
        for path in sorted((ROOT / "src/aroface/evaluation/metrics").glob("[a-z]*.py"))
    ),
    *(
        f"aroface.evaluation.statistics.{path.stem}"
        for path in sorted((ROOT / "src/aroface/evaluation/statistics").glob("[a-z]*.py"))
    ),
)


def test_the_core_imports_no_package_of_an_extra():
    """It imports nothing at all before one of its names is used."""
    code = (
        "import importlib, sys\n"
        "import aroface\n"
        "print(*({'numpy', 'torch'} & sys.modules.keys()))\n"
        "from aroface import AdversaryOptions, AlignmentAdversary\n"
        f"for name in {CORE}: importlib.import_module(name)\n"
        f"print(*({set(PACKAGES)} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n"
