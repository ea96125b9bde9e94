"""The jobs of a plan, their hours and order, and what is said of when they would be done."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.planning.forecast.test_costs import CONFIG, FULL, ROOT, finish, planned

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.files import write_json
from aroface.models.footprint_table import find_footprint
from aroface.planning.config import lay_over
from aroface.planning.forecast.costs import plan_costs
from aroface.planning.forecast.outlook_text import jobs_line, outlook_json, outlook_lines, summary
from aroface.planning.forecast.workload import (
    KINDS,
    Outlook,
    Site,
    Task,
    find_outlook,
    find_site,
    tasks_to_do,
    workload,
)
from aroface.planning.plan import Plan, make_plan

CONFIGS = ROOT / "workflow/configs"
ON_GPUS = {"resources": {"train": {"gpus": 4, "runtime": 2880}, "embed": {"gpus": 1}}}
FOUR_NODES = Site(16, 4, 1, None)


def plan_of(folder: Path, *layers: dict[str, Any]) -> Plan:
    config: dict[str, Any] = {**FULL, "paths": {"data": str(folder / "data"), "results": str(folder / "results")}}
    for layer in layers:
        config = lay_over(config, layer)
    (folder / "test.yaml").write_text(yaml.safe_dump(config))
    return make_plan([folder / "test.yaml"], root=ROOT)


def outlook_of(plan: Plan, site: Site = FOUR_NODES) -> Outlook:
    return find_outlook(plan, plan_costs(plan, root=ROOT), tasks_to_do(plan), site)


def test_hours_by_hand(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ON_GPUS, {"seeds": [0]})
    costs = plan_costs(plan, root=ROOT)
    jobs = {job.name: job for job in workload(plan, costs, tasks_to_do(plan), FOUR_NODES)}
    run = next(iter(plan.runs))
    rows, start = 4443 + 153_428 + 3728, 2 / 60
    training = jobs[f"train {run}"]
    assert training.hours == pytest.approx(start + costs.hours_of([run]) / 4)
    assert (training.gpus, training.nodes, training.limit, training.restart) == (4, 1, 48, start)
    assert training.needs == ("verify_ms1mv3",)
    features = jobs[f"embed {run} tinyface"]
    seconds = rows * 2 * 2 * find_footprint("r100", 512, "fp32").multiply_adds / 22e12
    assert features.hours == pytest.approx(start + seconds / 3600)
    assert (features.gpus, features.needs) == (1, (training.name, "verify_tinyface"))
    evaluation = jobs[f"evaluate {run} tinyface"]
    assert evaluation.hours == pytest.approx(0.2 / 60 + rows / 1500 / 3600)
    assert (evaluation.gpus, evaluation.needs) == (0, (features.name,))
    assert jobs["verify_ms1mv3"].hours == pytest.approx(0.2 / 60 + 5_179_510 / 16_000 / 3600)
    assert jobs["verify_tinyface"].hours == pytest.approx(0.2 / 60 + rows / 16_000 / 3600)


@pytest.mark.parametrize(
    ("gpus", "nodes", "expected"), [(4, 1, (2, 1)), (8, 2, (2, 1)), (2, 2, (2, 2)), (1, 1, (1, 1)), (0, 1, (0, 1))]
)
def test_a_training_holds_only_the_gpus_that_it_keeps_busy(
    tmp_path: Path, gpus: int, nodes: int, expected: tuple[int, int]
) -> None:
    experiment = {"method": "adaface", "dataset": "ms1mv3", "recipe": "adaface_official", "seeds": [0]}
    plan = plan_of(tmp_path, {"experiments": [experiment], "resources": {"train": {"gpus": gpus, "runtime": 2880}}})
    costs = plan_costs(plan, root=ROOT)
    (run,) = plan.runs
    job = next(each for each in workload(plan, costs, tasks_to_do(plan), Site(16, 8, nodes, None)) if run in each.name)
    assert (job.kind, job.gpus, job.nodes) == ("train", *expected)
    assert job.hours == pytest.approx(job.restart + costs.hours_of([run]) / max(1, gpus and expected[0]))
    alone = workload(plan, costs, [Task("train", run)], Site(16, 8, 1, None, scheduler=False))
    assert [each.gpus for each in alone] == [gpus], "without a scheduler every training begins with the first GPU"


def test_only_what_is_not_there_is_to_do(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    costs = plan_costs(plan, root=ROOT)
    first, second = [*plan.runs][:2]
    everything = tasks_to_do(plan)
    kinds = [task.kind for task in everything]
    assert {kind: kinds.count(kind) for kind in kinds} == {"data": 2, "train": 4, "embed": 4, "evaluate": 4}
    finish(plan, first, 1.0)
    write_json(plan.results.features(first, "pairs_clean").index, {})
    write_json(plan.results.record(second, "pairs_clean"), {})
    left = tasks_to_do(plan)
    gone = {task.name for task in everything} - {task.name for task in left}
    assert gone == {f"train {first}", f"embed {first} pairs_clean", *_evaluation(second)}
    jobs = workload(plan, costs, left, FOUR_NODES)
    assert next(job for job in jobs if job.name == f"evaluate {first} pairs_clean").needs == ()
    assert [KINDS.index(job.kind) for job in jobs] == sorted(KINDS.index(job.kind) for job in jobs)
    for source in {run.source.name: run.source for run in plan.runs.values()}.values():
        write_json(source.manifest, {"counts": {"identities": 12, "images": 72}})
    assert sorted(task.rule for task in tasks_to_do(plan) if task.kind == "data") == ["generate_clean"]


def _evaluation(run: str) -> set[str]:
    return {f"embed {run} pairs_clean", f"evaluate {run} pairs_clean"}


def test_the_order_of_tasks_does_not_matter(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ON_GPUS)
    costs, tasks = plan_costs(plan, root=ROOT), tasks_to_do(plan)
    one, other = (find_outlook(plan, costs, each, FOUR_NODES) for each in (tasks, tasks[::-1]))
    assert one.schedule == other.schedule
    assert outlook_lines(one) == outlook_lines(other)


def test_what_rendering_takes_is_not_counted(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ON_GPUS)
    costs = plan_costs(plan, root=ROOT)
    tasks = [Task("table_tinyface"), Task("reported_ijbs"), Task("document"), Task("figure_fae")]
    assert jobs_line(tasks) == "to do: 4 jobs: 4 tables, figures and documents"
    assert outlook_lines(find_outlook(plan, costs, tasks, FOUR_NODES)) == []
    assert jobs_line([]) == "to do: nothing"
    assert summary(plan, [], root=ROOT) == []


def test_a_set_for_which_there_is_no_estimate_still_has_its_place(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ON_GPUS, {"benchmarks": ["ijbs"]})
    outlook = outlook_of(plan)
    assert outlook.uncounted == ["ijbs"]
    assert any("without ijbs, whose images nobody has counted yet" in line for line in outlook_lines(outlook))
    start = next(job for job in outlook.jobs if job.kind == "embed")
    assert start.hours == pytest.approx(2 / 60)


def test_a_training_that_outlives_its_time_limit_is_several_jobs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ON_GPUS, {"seeds": [0]})
    (long, *_) = (job for job in outlook_of(plan, Site(16, 4, 1, 10.0)).jobs if "arcface_aroface" in job.name)
    assert (long.limit, len(long.attempts)) == (10, 3)
    chain = outlook_lines(outlook_of(plan, Site(16, 4, 1, 10.0)))[-1]
    assert re.search(r"train arcface_aroface-ms1mv3-\S+ \(26 h in 3 jobs of at most 10 h\)", chain)
    with pytest.raises(InputError, match=r"raise its time limit: resources of the configuration, max_hours in slurm"):
        outlook_of(plan, Site(16, 4, 1, 0.01))


def test_the_outlook_in_words_and_numbers(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ON_GPUS)
    outlook = outlook_of(plan)
    assert [*outlook.makespans] == [4, 8, 16, 32]
    four, eight, sixteen, _ = outlook.makespans.values()
    assert four > eight > sixteen == outlook.makespan >= outlook.chain_hours
    features, time, chain = outlook_lines(outlook)
    assert jobs_line(tasks_to_do(plan)) == "to do: 20 jobs: 2 data sets, 6 trainings, 6 sets of features, 6 evaluations"
    assert re.fullmatch(r"features: about 0\.\d GPU-hours", features)
    assert re.match(r"time: about \d+ h on 16 GPUs \(4 × 4\), [\d.]+ % of them in use, without waiting", time)
    assert re.search(r"; 4 GPUs: 5\.\d days, 8 GPUs: \d+ h, 32 GPUs: \d+ h$", time)
    assert re.match(
        r"longest chain: \d+ h: verify_ms1mv3 \(6 min\) → train arcface_aroface-ms1mv3-r100-s0-\w+ \(", chain
    )
    numbers = outlook_json(outlook)
    assert numbers["makespan_hours_by_gpus"]["16"] == numbers["makespan_hours"] == outlook.makespan
    assert numbers["jobs"] == {"data": 2, "train": 6, "embed": 6, "evaluate": 6}
    assert len(numbers["longest_chain"]) == 4


def test_wide_trainings_leave_out_clusters_that_are_too_small(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, lay_over(ON_GPUS, {"resources": {"train": {"gpus": 8}}}))
    assert [*outlook_of(plan, Site(16, 8, 1, None)).makespans] == [8, 16, 32]
    assert [*outlook_of(plan, Site(16, 4, 2, None)).makespans] == [8, 16, 32]
    with pytest.raises(InputError, match=r"needs 8 GPUs on 1 node; expected at most 4 on each of 4"):
        outlook_of(plan, FOUR_NODES)


def test_the_site_says_how_many_gpus_there_are(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ON_GPUS)
    assert find_site(plan, root=tmp_path) == Site(16, 4, 1, None)
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/site.yaml").write_text("nodes: 2\ngpu: {count: 24, per_node: 8, max_hours: 12}\n")
    assert find_site(plan, root=tmp_path) == Site(24, 8, 2, 12)
    assert find_site(plan, root=tmp_path, gpus=8, gpus_per_node=2) == Site(8, 2, 2, 12)
    (tmp_path / "slurm/site.yaml").write_text("account:\nnodes:\ngpu:\n  type:\n  count: 8\n")
    assert find_site(plan, root=tmp_path) == Site(8, 4, 1, None)
    (tmp_path / "slurm/site.yaml").write_text("gpu: {cuont: 24}\n")
    with pytest.raises(InputError, match=r"site.yaml: gpu: .*'cuont' was unexpected"):
        find_site(plan, root=tmp_path)
    for gpus, expected in ((8, Site(16, 8, 1, None)), (6, Site(18, 6, 1, None)), (32, Site(32, 32, 1, None))):
        wide = plan_of(tmp_path, {"resources": {"train": {"gpus": gpus}}})
        assert find_site(wide, root=ROOT / "no such folder") == expected


def test_gpus_that_are_too_few_leave_the_costs_known(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ON_GPUS)
    lines = summary(plan, tasks_to_do(plan), root=ROOT, gpus=2)
    assert [line.partition(":")[0] for line in lines] == ["to do", "to train", "time", "power", "missing", "missing"]
    assert re.match(r"time: unknown: train \S+ needs 4 GPUs on 1 node; expected at most 2 on each of 1$", lines[2])


def test_a_snakefile_does_not_wait_for_what_it_does_not_need() -> None:
    """Torch, pandas and matplotlib would double the start of every job."""
    modules = "aroface.planning.forecast.outlook_text, aroface.planning.products, aroface.environment_lock"
    code = f"import sys, {modules}; print(*{{'torch', 'pandas', 'matplotlib'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_budget_that_is_not_enough_is_said_before_the_start(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ON_GPUS, {"budget_gpu_hours": 10})
    lines = summary(plan, tasks_to_do(plan), root=ROOT)
    assert [line.split(":")[0] for line in lines] == [
        *("to do", "to train", "features", "time", "longest chain", "power", "budget", "missing", "missing")
    ]
    assert "allows 10" in lines[6]
    only = [task for task in tasks_to_do(plan) if task.kind == "data" and task.rule == "verify_tinyface"]
    said = summary(plan, only, root=ROOT)
    assert [line.partition(":")[0] for line in said] == ["to do", "longest chain", "missing"]
    assert said[-1].startswith("missing: TinyFace: ")


def test_everything_is_the_paper_and_the_ablations() -> None:
    def plan(*names: str) -> Plan:
        return make_plan([ROOT / "config.yaml", *(CONFIGS / f"{name}.yaml" for name in names)], root=ROOT)

    everything, paper, ablations = plan("everything"), plan("paper_all"), plan("ablations")
    assert everything.runs.keys() == paper.runs.keys() | ablations.runs.keys()
    assert not paper.runs.keys() & ablations.runs.keys()
    assert {run.source.name for run in everything.runs.values()} == {"ms1mv2", "ms1mv3", "webface4m", "webface12m"}
    assert {*everything.records()} == {*paper.records()} | {*ablations.records()}
    specs = {str(path.relative_to(ROOT)) for path in (ROOT / "paper_tables/specs").glob("*.yaml")}
    assert {*everything.values["tables"]} == specs - {"paper_tables/specs/released.yaml"}
    assert plan("paper_all", "ablations").runs.keys() == ablations.runs.keys()  # a later list replaces an earlier one


def test_an_experiment_may_name_its_benchmarks(tmp_path: Path) -> None:
    first, second = CONFIG["experiments"]
    changes = {"benchmarks": ["lfw", "tinyface"], "experiments": [{**first, "benchmarks": ["lfw"]}, second]}
    plan = planned(tmp_path, changes)
    assert {path.stem for path in plan.records(rows=[first])} == {"lfw"}
    assert {path.stem for path in plan.records(rows=[second])} == {"lfw", "tinyface"}
    changes["experiments"] = [{**first, "benchmarks": ["lfv"]}, second]
    with pytest.raises(InputError, match=r"experiments.0.benchmarks: unknown benchmark 'lfv'; expected one of lfw, t"):
        planned(tmp_path, changes)


def test_the_schedule_is_drawn_the_same_every_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_of(tmp_path, ON_GPUS, {"benchmarks": ["tinyface", "lfw"]})
    monkeypatch.chdir(ROOT)
    words = ["plan", "--configfile", str(tmp_path / "test.yaml"), "--gpus", "8", "--json", "--schedule"]
    hashes = []
    for name in ("one", "two"):
        assert main([*words, str(tmp_path / f"{name}.pdf")]) == 0
        files = [tmp_path / f"{name}.{suffix}" for suffix in ("pdf", "png")]
        hashes.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
        written = json.loads(capsys.readouterr().out)
    assert hashes[0] == hashes[1]
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")
    assert (written["outlook"]["gpus"], written["outlook"]["gpus_per_node"]) == (8, 4)
