"""What the workflow says about wrong configurations, missing data and failing jobs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from aroface.planning.config import look_before_snakemake
from workflow_project import Project


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seeds": ["0"]}, "test.yaml: seeds.0: '0' is not of type 'integer'; write the number without quotes"),
        ({"sedes": [0]}, "test.yaml: Additional properties are not allowed ('sedes' was unexpected)"),
        ({"recipe": "tinny"}, "test.yaml: recipe: unknown recipe 'tinny'; expected one of page2048"),
    ],
)
def test_a_wrong_configuration_is_one_line(project: Project, change: dict[str, Any], line: str) -> None:
    project.config |= change
    project.write()
    outcome = project.run()
    assert outcome.status == 2
    errors = [each for each in outcome.text.splitlines() if not each.startswith("Using ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {line}")


UNREADABLE = {
    "brackets": ("[" * 20_000, "more than 64 levels"),
    "question marks": ("? " * 5000 + "1", "more than 64 levels"),
    "a date": ("note: 2001-02-30", "timestamp '2001-02-30' cannot be read"),
    "an integer": ("note: " + "9" * 6000, "cannot be read"),
    "a program": ('__use_yte__: true\n__definitions__: [\'open("pwned", "w")\']', "makes Snakemake run"),
    "a tag": ("note: !!python/object/apply:os.system [touch pwned]", "could not determine a constructor"),
    "no UTF-8": (b"note: Jos\xe9", "no UTF-8"),
    "no file": (None, "no such file"),
}


@pytest.mark.parametrize("form", [["--configfile", "{}"], ["--configfile={}"], ["--configf", "test.yaml", "{}", "-n"]])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_files_that_snakemake_cannot_read_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str, form: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text, words = UNREADABLE[kind]
    Path("test.yaml").write_text("seeds: [0]")
    if text is not None:
        Path("odd.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SystemExit) as ended:
        look_before_snakemake([*(word.format("odd.yaml") for word in form), "--cores", "1"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: odd.yaml: ") and words in line
    assert not Path("pwned").exists()


@pytest.mark.parametrize("words", [["--dry-run"], ["--cores", "1"]])
def test_immediate_submit_ends_in_one_line_while_the_plan_is_made(project: Project, words: list[str]) -> None:
    outcome = project.run("--immediate-submit", "--notemp", *words)
    assert outcome.status == 2
    errors = [each for each in outcome.text.splitlines() if not each.startswith("Using ")]
    assert len(errors) == 1 and errors[0].startswith("error: --immediate-submit ")
    assert project.calls() == []


def test_snakemake_does_not_read_what_cannot_be_read(project: Project) -> None:
    project.write()
    project.plan()
    with (project.folder / "test.yaml").open("a") as file:
        file.write(f"\n{UNREADABLE['a program'][0]}\n")
    outcome = project.run("--dry-run")
    assert outcome.status == 2
    errors = [each for each in outcome.text.splitlines() if not each.startswith("Using ")]
    assert len(errors) == 1 and errors[0].startswith("error: test.yaml: ")
    assert not (project.folder / "pwned").exists()


def test_the_full_reproduction_names_every_job_and_every_missing_set(project: Project) -> None:
    outcome = project.plan("--quiet", "rules", config=None)
    line = r"^missing: ([^:]+): not in data: .*(?:aroface data fetch|request it from|no longer distributed since) .* https://.*$"
    ijb = ["IJB-B", "IJB-C", "IJB-S"]
    training_sets, benchmarks = ["MS1MV2", "MS1MV3", "WebFace4M", "WebFace12M"], ["TinyFace", "LFW", "CFP-FP", "CFP-FF"]
    assert re.findall(line, outcome.text, re.M) == [*training_sets, *benchmarks, "AgeDB-30", "CALFW", "CPLFW", *ijb]
    counts = dict(re.findall(r"^(\w+) +(\d+)$", outcome.text, re.M))
    assert {rule: int(counts[rule]) for rule in ("train", "embed", "evaluate", "table_tinyface", "figure_fae")} == {
        "train": 39, "embed": 462, "evaluate": 462, "table_tinyface": 1, "figure_fae": 1
    }  # fmt: skip


def test_missing_data_stop_the_workflow_before_any_job(project: Project) -> None:
    project.config["experiments"].append({"method": "arcface", "dataset": "ms1mv2"})
    project.write()
    outcome = project.run()
    assert outcome.status == 2
    assert "missing: MS1MV2: not in received: faces_emore/train.rec" in outcome.text
    assert outcome.text.splitlines()[-1] == "error: 1 of the missing sets would be needed; nothing was started"
    assert project.calls() == []
    assert project.run("generate_faces").status == 0
    assert [call.split()[:2] for call in project.calls()] == [["data", "generate"]]


def test_the_start_says_what_the_trainings_cost(done: Project) -> None:
    assert "to train:" not in done.run().text
    done.config["seeds"] = [0, 1, 2]
    done.write()
    outcome = done.run()
    assert outcome.status == 0, outcome.text
    (line,) = (line for line in outcome.text.splitlines() if line.startswith("to train:"))
    assert re.fullmatch(r"to train: 2 runs on the CPU \(1 thread each\): about [\d.]+ s of CPU time, .* of disk", line)


def test_nothing_is_started_above_the_budget(project: Project) -> None:
    project.config |= {"budget_gpu_hours": 0, "resources": {"train": {"gpus": 1}}}
    project.write()
    outcome = project.run()
    assert outcome.status == 2
    said, refused = outcome.text.splitlines()[-2:]
    assert said.startswith("to train: 4 runs on 1 × A100 80 GB each (assumed: training.gpu_type is not set): about ")
    assert re.fullmatch(r"error: 4 trainings need about .* GPU-hours, budget_gpu_hours allows 0; .*", refused)
    assert project.calls() == []
    assert project.run("generate_faces").status == 0


def test_what_is_finished_needs_no_budget(done: Project) -> None:
    done.config |= {"budget_gpu_hours": 0, "resources": {"train": {"gpus": 1}}}
    done.write()
    next(done.folder.glob("results/records/*/*.json")).unlink()
    done.calls()
    outcome = done.run()
    assert outcome.status == 0, outcome.text
    assert not [call for call in done.calls() if call.startswith("train ")]


def test_a_failed_job_leaves_a_table_with_gaps(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_FAILS", "evaluate")
    outcome = project.run("--keep-going")
    assert outcome.status == 1
    assert "evaluate was told to fail" in outcome.text
    assert [call.split()[0] for call in project.calls()].count("evaluate") == 4
    assert not (project.folder / "results/tables/lfw.tex").exists()
    assert (project.folder / "results/tables/lfw.partial.tex").exists()
    monkeypatch.delenv("STANDIN_FAILS")
    assert project.run().status == 0
    assert [call.split()[0] for call in project.calls()] == [*["evaluate"] * 4, "table", "document", "report", "crate"]
    assert not (project.folder / "results/tables/lfw.partial.tex").exists()


def test_the_targets_are_there(project: Project) -> None:
    outcome = project.plan("tables", "table_lfw", "reported", "figure_fae", config="workflow/configs/demo.yaml")
    assert {"table_tinyface", "table_lfw", "figure_fae"} <= set(outcome.planned)


def test_the_linter_finds_nothing(project: Project) -> None:
    outcome = project.run("--lint", config=None)
    assert outcome.status == 0, outcome.text


def test_what_anybody_may_have_is_fetched_by_one_job(project: Project) -> None:
    project.config["experiments"] += [{"method": "arcface", "dataset": name} for name in ("ms1mv2", "webface4m")]
    project.config["benchmarks"].append("lfw")
    project.write()
    outcome = project.run("fetch")
    assert outcome.status == 0, outcome.text
    assert project.calls() == ["data fetch ms1mv2 lfw --data-dir received"]
