"""What a dry run says: all that is to do for a target, what it comes to, and what is missing."""

from __future__ import annotations

import re

import yaml

from repository import ROOT
from workflow_project import Project

WHOLE_PAPER = "workflow/configs/everything.yaml"


def test_one_table_plans_only_what_it_shows(project: Project) -> None:
    outcome = project.plan("table_ijbs", config=None)
    rows = yaml.safe_load((ROOT / "paper_tables/specs/ijbs.yaml").read_text())["rows"]
    shown = [row["experiment"] for row in rows if "experiment" in row]
    kinds = sorted("-".join(each.values()) for each in shown)
    runs = sorted(outcome.trained)
    assert sorted({re.sub(r"-s\d+-\w+$", "", run) for run in runs}) == kinds
    assert len(runs) == 3 * len(kinds)
    expected = [f"verify_{name}" for name in ("ijbs", *{each["dataset"] for each in shown})]
    expected += [f"{rule} {run}{more}" for run in runs for rule, more in _ON_IJBS.items()]
    assert sorted(outcome.planned) == sorted([*expected, "table_ijbs"])
    assert f"to do: {len(expected) + 1} jobs: 4 data sets, {len(runs)} trainings, " in outcome.text
    missing = re.findall(r"^missing: ([^:]+):", outcome.text, re.M)
    assert missing == ["MS1MV2", "WebFace4M", "WebFace12M", "IJB-S"]


_ON_IJBS = {"train": "", "embed": " ijbs", "evaluate": " ijbs"}


def test_the_whole_paper_is_planned_and_summed_up_once_at_the_end(project: Project) -> None:
    outcome = project.plan("--configfile", "config.yaml", WHOLE_PAPER, config=None)
    lines = outcome.text.splitlines()
    end = lines[next(place for place, line in enumerate(lines) if line.startswith("to do: ")) :]
    assert [line.partition(":")[0] for line in end] == [
        *("to do", "to train", "features", "time", "longest chain", "power"),
        *["missing"] * 14,
    ]
    assert "jobs: 14 data sets, 64 trainings, 655 sets of features, 655 evaluations, " in end[0]
    assert re.match(r"to train: 64 runs on 2 or 4 × A100 80 GB each .*: about [\d,]+ GPU-hours, .* of disk$", end[1])
    assert re.match(r"time: about [\d.]+ days on 16 GPUs \(4 × 4\), .*; 4 GPUs: \S+ days, 8 GPUs: .*, 32 GPUs:", end[3])
    assert "This was a dry-run" in lines[-len(end) - 1]
    page = (ROOT / "docs/how-to/estimate-cost.md").read_text()
    for line, part in (
        (0, r".*"),
        (1, r"about [\d,]+ GPU-hours, .*"),
        (2, r".*"),
        (3, r".*% of them in use.*4 GPUs: \S+ days"),
    ):
        (shown,) = re.findall(part, end[line])[:1]
        assert shown in page, f"docs/how-to/estimate-cost.md shows another plan: {shown}"


def test_one_machines_gpus_are_those_that_it_is_called_with(project: Project) -> None:
    outcome = project.plan("--resources=gpus=8", "table_lfw", config=None)
    assert re.search(r"^time: about \S+ \w+ on 8 GPUs, ", outcome.text, re.M)


def test_a_training_has_as_many_processes_as_it_keeps_busy(project: Project) -> None:
    text = project.plan("--resources=gpus=8", "-p", "table_fae", config=None).text
    commands = re.findall(r"aroface train --recipe results/recipes/(\w+)-.* - 1\) / (\d) \)\) --processes (\d) ", text)
    assert {*commands} >= {("adaface", "2", "2"), ("arcface", "4", "4")}
    assert all(many == few == ("2" if method == "adaface" else "4") for method, few, many in commands)


def test_nothing_to_do_is_nothing_to_say(done: Project) -> None:
    assert "to do:" not in done.plan().text
    done.config["seeds"] = [0, 1, 2]
    done.write()
    said = done.plan().text
    assert re.search(r"^to do: \d+ jobs: 2 trainings, 2 sets of features, 2 evaluations, ", said, re.M)
    assert said.count("to train:") == 1
    assert "longest chain:" in said


def test_a_plan_that_cannot_be_made_says_only_why(project: Project) -> None:
    outcome = project.run("--dry-run", "table_of_nothing")
    assert outcome.status == 1
    assert "to do:" not in outcome.text
