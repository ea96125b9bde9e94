"""Each kind of edit, and exactly which jobs it makes run.

Jobs are said as their rule with the run and the benchmark that they are for. Runs are called by a letter for what is
trained and by their seed: ``a0`` is arcface on rendered faces, ``b0`` and ``b1`` are arcface_aroface on a received set;
``new a0`` is a run of another name, beside the one that is there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from repository import ROOT
from workflow_project import Project, copy_of

LFW, TINYFACE = "paper_tables/specs/demo/lfw.yaml", "paper_tables/specs/tinyface.yaml"
NAMES = {"arcface-faces-r8s4-s": "a", "arcface_aroface-ms1mv3-r100-s": "b", "cosface-faces-r8s4-s": "c"}
RUNS = ("a0", "b0", "b1")
WHOLE = {"document", "report", "crate"}  # what shows everything
OF_PAIRS, OF_SEARCH = {"table_lfw"} | WHOLE, {"table_tinyface", "compare", "claims"} | WHOLE
RENDERING = OF_PAIRS | OF_SEARCH
"""What shows the pairs, what shows the search (the table with reported values), and all that is rendered."""
SEARCH = {"tinyface": {"identities": 10, "gallery_per_identity": 2, "probes_per_identity": 2, "distractors": 20}}


def chain(*runs: str, benchmarks: tuple[str, ...] = ("pairs_clean", "tinyface"), train: bool = True) -> set[str]:
    """The jobs that evaluate runs, and train them first."""
    jobs = {f"{rule} {run} {benchmark}" for rule in ("embed", "evaluate") for run in runs for benchmark in benchmarks}
    return jobs | {f"train {run}" for run in runs if train}


def set_up(project: Project) -> Project:
    """Configure two experiments, on a rendered and on a received set, two benchmarks and two tables."""
    received = project.folder / "received/ms1m-retinaface-t1"
    received.mkdir(parents=True, exist_ok=True)
    for name in ("train.rec", "train.idx", "property"):
        if not (received / name).exists():
            (received / name).write_text(name)
    project.config["experiments"] = [
        {"method": "arcface", "dataset": "faces", "seeds": [0]},
        {"method": "arcface_aroface", "dataset": "ms1mv3", "arch": "r100", "seeds": [0, 1]},
    ]
    project.config["data"]["search"] = {"seed": 4, "generate": SEARCH}
    project.config["benchmarks"].append({"name": "tinyface", "data": "search"})
    project.config["tables"] = [LFW, TINYFACE]
    project.write()
    return project


@pytest.fixture(scope="module")
def finished(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project in which all of it has been done."""
    project = set_up(copy_of(template, tmp_path_factory.mktemp("finished")))
    for path in (project.folder / "paper_tables").glob("*.tex"):
        path.touch()  # the authors' tables are younger than their specifications, however they were copied
    outcome = project.run()
    assert outcome.status == 0, outcome.text
    return project.folder


@pytest.fixture
def work(finished: Path, tmp_path: Path) -> Project:
    """A project of its own in which all of it has been done, by the same times."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True, symlinks=True)
    return set_up(Project(tmp_path))


def planned(project: Project) -> set[str]:
    """The jobs of a dry run, with the runs called by their short names."""
    there = {path.name for path in (project.folder / "results/runs").iterdir()}

    def short(found: re.Match[str]) -> str:
        return ("" if found[0] in there else "new ") + NAMES[found[1]] + found[2]

    names = "|".join(NAMES)
    jobs = [re.sub(rf"\b({names})(\d+)-[0-9a-f]+", short, job) for job in project.plan().planned]
    assert len(jobs) == len({*jobs})
    return {*jobs}


def edit(project: Project, file: str, old: str, new: str) -> None:
    """Replace a text in a file of the project."""
    path = project.folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def remark(project: Project) -> None:
    for name in (
        *("Snakefile", "workflow/rules/train.smk", "workflow/rules/evaluate.smk", "workflow/lib/slurm.py"),
        *("workflow/registries/recipes.yaml", "workflow/registries/methods.yaml", "workflow/registries/datasets.yaml"),
        *("workflow/registries/benchmarks.yaml", "workflow/configs/defaults.yaml", "test.yaml"),
    ):
        with open(project.folder / name, "a") as file:
            file.write("\n# a comment\n")
    edit(project, "workflow/rules/train.smk", " python -m aroface train", "  python  -m aroface train")


def source_remark(project: Project) -> None:
    own_source(project)
    for name in (
        "training/trainer.py",
        "embedding/embedder.py",
        "evaluation/protocols/tinyface.py",
        "reporting/tables/render.py",
    ):
        with open(project.source / name, "a") as file:
            file.write("\n# a comment\n")


def protocol_version(project: Project) -> None:
    own_source(project)
    versions = (project.source / "result_versions.py").read_text()
    (project.source / "result_versions.py").write_text(re.sub(r'("tinyface": )\d+', r"\g<1>99", versions))


def own_source(project: Project) -> None:
    """Let the project have source code of its own."""
    project.source = project.folder / "src/aroface"
    shutil.copytree(ROOT / "src/aroface", project.source, ignore=shutil.ignore_patterns("__pycache__"))


def change(**keys: Any) -> Callable[[Project], None]:
    """An edit of the configuration's own keys."""

    def apply(project: Project) -> None:
        project.config |= keys
        project.write()

    return apply


def experiment(number: int, **keys: Any) -> Callable[[Project], None]:
    """An edit of one experiment."""

    def apply(project: Project) -> None:
        project.config["experiments"][number] |= keys
        project.write()

    return apply


def another_experiment(project: Project) -> None:
    project.config["experiments"].append({"method": "cosface", "dataset": "faces"})
    project.write()


def other_order(project: Project) -> None:
    project.config["experiments"] = [dict(reversed(each.items())) for each in project.config["experiments"]]
    project.config["data"] = dict(reversed(project.config["data"].items()))
    project.config = dict(reversed(project.config.items()))
    project.write()
    path = project.folder / "workflow/registries/methods.yaml"
    methods = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(dict(reversed(methods.items())), sort_keys=False))


def benchmark(name: str, **keys: Any) -> Callable[[Project], None]:
    """An edit of the data of a benchmark."""

    def apply(project: Project) -> None:
        project.config["data"][name] |= keys
        project.write()

    return apply


def unflipped(project: Project) -> None:
    project.config["benchmarks"][0]["options"]["flip"] = False
    project.write()


def received_again(project: Project) -> None:
    (project.folder / "received/ms1m-retinaface-t1/train.rec").write_text("other images")


def received_copy(project: Project) -> None:
    """The same files with new times, elsewhere."""
    moved = project.folder / "elsewhere"
    shutil.copytree(project.folder / "received", moved, copy_function=shutil.copyfile)
    shutil.rmtree(project.folder / "received")
    project.config["paths"]["data"] = "elsewhere"
    project.write()


def without(*patterns: str) -> Callable[[Project], None]:
    """Remove results."""

    def apply(project: Project) -> None:
        paths = [path for pattern in patterns for path in (project.folder / "results").glob(pattern)]
        assert len(paths) >= len(patterns)
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return apply


def worst_times(project: Project) -> None:
    """Give every file the time of a careless copy: what was made first is the youngest."""
    results = project.folder / "results"
    order = [[*results.glob("*.*"), *results.glob("tables/*")], *([*results.rglob(f"{name}/**/*")] for name in LATER)]
    order.append([path for path in (project.folder / "workflow").rglob("*") if path.is_file()])
    for age, paths in enumerate(order):
        for path in paths:
            if path.is_file() and not path.is_symlink():
                os.utime(path, (1_700_000_000 + 100 * age,) * 2)


LATER = ("records", "features", "runs", "recipes", "benchmarks", "plan", "data")


def fresh_clone(project: Project) -> None:
    """A clone into which only the results were copied, without their times."""
    worst_times(project)
    shutil.rmtree(project.folder / ".snakemake")


NOTHING: set[str] = set()
BOTH_NEW = chain("new b0", "new b1")
EDITS: dict[str, tuple[Callable[[Project], None], set[str]]] = {
    "comments in workflow, registries and configuration": (remark, NOTHING),
    "comments in the source": (source_remark, NOTHING),
    "keys that say how, not what": (
        change(
            training={"save_every": 7, "log_every": 3, "device": "cpu", "keep": 5},
            resources={"train": {"runtime": 5, "mem_mb": 123, "retries": 4}, "evaluate": {"runtime": 7}},
            budget_gpu_hours=5,
        ),
        NOTHING,
    ),
    "the number of devices": (change(resources={"train": {"gpus": 2}}, training={"processes": 2}), NOTHING),
    "the order of keys": (other_order, NOTHING),
    "2 as 2.0": (experiment(0, overrides={"epochs": 2.0, "optimiser": {"momentum": 0.90}}), NOTHING),
    "a learning rate": (experiment(0, overrides={"optimiser": {"lr": 0.05}}), chain("new a0") | RENDERING),
    "an option of the adversary": (
        lambda project: edit(project, "workflow/registries/recipes.yaml", "step_mean: 0.1", "step_mean: 0.05"),
        BOTH_NEW | RENDERING,
    ),
    "one more seed": (experiment(0, seeds=[1, 0]), chain("new a1") | RENDERING),
    "one seed fewer": (experiment(1, seeds=[1]), RENDERING),
    "one more experiment": (
        another_experiment,
        chain("new c0", "new c1") | RENDERING,
    ),
    "a table's specification": (lambda project: edit(project, LFW, "LFW protocol: ", "LFW protocol, anew: "), OF_PAIRS),
    "that of a table with reported values": (
        lambda project: edit(project, TINYFACE, "evaluations: ", "evaluations, anew: "),
        OF_SEARCH,
    ),
    "the claims": (
        lambda project: edit(project, "paper_tables/claims.yaml", 'claimed: "2.63"', 'claimed: "2.64"'),
        {"claims"} | WHOLE,
    ),
    "the printed name of a method": (
        lambda project: edit(project, "workflow/registries/methods.yaml", "label: ArcFace+ARoFace", "label: Ours"),
        RENDERING,
    ),
    "the printed name of a training set": (benchmark("faces", label="Rendered faces"), RENDERING),
    "the note below every caption": (change(note="Synthetic."), RENDERING - {"compare", "claims"}),
    "the version of a protocol": (
        protocol_version,
        {f"evaluate {run} tinyface" for run in RUNS} | OF_SEARCH,
    ),
    "data that were received again": (received_again, {"verify_ms1mv3"} | BOTH_NEW | RENDERING),
    "data that lie elsewhere": (received_copy, NOTHING),
    "another training set": (benchmark("faces", seed=9), {"generate_faces"} | chain("new a0") | RENDERING),
    "another set of pairs": (
        benchmark("clean", seed=9),
        {"generate_clean"} | chain(*RUNS, benchmarks=("pairs_clean",), train=False) | OF_PAIRS,
    ),
    "how the pairs are embedded": (unflipped, chain(*RUNS, benchmarks=("pairs_clean",), train=False) | OF_PAIRS),
    "a deleted table": (without("tables/lfw.tex"), OF_PAIRS),
    "a deleted page": (without("compare.md"), {"compare"}),
    "a deleted document": (without("paper.*"), WHOLE),
    "a deleted record": (
        without("records/arcface_aroface-*-s1-*/tinyface.json"),
        {"evaluate b1 tinyface"} | OF_SEARCH,
    ),
    "deleted features": (without("features/arcface-*"), NOTHING),
    "deleted features and their record": (
        without("features/arcface-*/pairs_clean", "records/arcface-*/pairs_clean.json"),
        {"embed a0 pairs_clean", "evaluate a0 pairs_clean"} | OF_PAIRS,
    ),
    "a deleted rendered training set": (without("data/faces-*"), NOTHING),
    "times in the worst order": (worst_times, NOTHING),
    "a fresh clone with copied results": (fresh_clone, RENDERING),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_runs_these_jobs_and_no_others(work: Project, name: str) -> None:
    apply, expected = EDITS[name]
    apply(work)
    assert planned(work) == expected
