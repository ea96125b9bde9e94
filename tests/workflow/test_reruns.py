"""What an edit makes run again, and what it does not."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

from workflow_project import Outcome, Project

PAGES = ("document", "report", "crate")


def run_of(project: Project, method: str, seed: int) -> str:
    """Name of the one run of this method and seed."""
    (name,) = (path.name for path in (project.folder / "results/runs").glob(f"{method}-faces-*-s{seed}-*"))
    return name


def test_everything_runs_once_and_then_nothing(done: Project, first_run: tuple[Path, Outcome]) -> None:
    # Whether the authors' table is older than its specification is up to how the files were copied.
    verbs = Counter(call.split()[0] for call in done.calls() if "--mode reported" not in call)
    assert verbs == {
        "data": 2,
        "train": 4,
        "embed": 4,
        "evaluate": 4,
        "table": 1,
        "document": 1,
        "report": 1,
        "crate": 1,
    }
    assert "table   results/tables/lfw.tex" in first_run[1].text
    assert "Nothing to be done" in done.run().text
    assert done.calls() == []


def test_pages_with_gaps_go_even_if_nothing_else_is_left_to_do(done: Project) -> None:
    """As after a call that was killed when it had made the whole page."""
    results = done.folder / "results"
    gaps = [results / "report.partial.html", results / "tables/lfw.partial.tex"]
    for path in gaps:
        path.touch()
        os.utime(path, (1, 1))
    done.plan()
    assert all(path.exists() for path in gaps), "a dry run changes nothing"
    assert "Nothing to be done" in done.run().text
    assert not any(path.exists() for path in gaps)


def test_jobs_are_given_what_they_need(done: Project) -> None:
    run = run_of(done, "arcface_aroface", 1)
    recipe = json.loads((done.folder / f"results/recipes/{run}.json").read_text())
    assert recipe["run"] == run
    assert recipe["experiment"] == {"method": "arcface_aroface", "dataset": "faces", "arch": "r8s4", "seed": 1}
    assert run.endswith(recipe["recipe_hash"][:8])
    assert recipe["recipe"]["adversary"]["kind"] == "gradient"
    (runs_file,) = (done.folder / "results/plan").glob("runs-*.json")
    listing = json.loads(runs_file.read_text())
    assert run in listing["runs"]
    assert listing["labels"]["arcface_aroface"] == "ArcFace+ARoFace"


def test_another_learning_rate_is_a_run_beside_the_old_one_and_taken_back_is_nothing(done: Project) -> None:
    old = run_of(done, "arcface", 0)
    done.config["experiments"][0] |= {"overrides": {"optimiser": {"lr": 0.05}}, "seeds": [0]}
    done.write()
    plan = done.plan()
    (new,) = plan.trained
    assert new.startswith("arcface-faces-r8s4-s0-")
    assert new != old
    assert sorted(plan.planned) == sorted(
        [f"train {new}", f"embed {new} pairs_clean", f"evaluate {new} pairs_clean", "table_lfw", *PAGES]
    )
    assert done.run().status == 0
    assert (done.folder / f"results/runs/{old}/checkpoint.json").exists()
    assert (done.folder / f"results/runs/{new}/checkpoint.json").exists()
    done.config["experiments"][0] = {"method": "arcface", "dataset": "faces"}
    done.write()
    assert done.plan().trained == []


def test_figures_of_finished_trainings_train_nothing(done: Project) -> None:
    """Not even where the trainings are of a version that left no history, as the stand-in's are."""
    assert not [*(done.folder / "results/runs").glob("*/history.json")]
    done.config["figures"] = [{"name": "course", "kind": "training"}, {"name": "moved", "kind": "displacements"}]
    done.write()
    assert sorted(done.plan().planned) == ["crate", "document", "figure_course", "figure_moved", "report"]
    done.calls()
    assert done.run().status == 0
    calls = [call.split()[0] for call in done.calls() if "--mode reported" not in call]
    assert calls == ["figure", "figure", "document", "report", "crate"]
    for name in ("course", "moved"):
        assert (done.folder / f"results/figures/{name}.pdf").exists()
    assert "Nothing to be done" in done.run().text
    (done.folder / f"results/runs/{run_of(done, 'arcface', 0)}/history.json").write_text("{}")
    assert done.plan().planned == []


def test_a_checkpoint_with_other_content_is_embedded_again(done: Project) -> None:
    run = run_of(done, "arcface", 0)
    path = done.folder / f"results/runs/{run}/checkpoint.json"
    path.write_text("other weights")
    os.utime(path, (time.time() + 60, time.time() + 60))
    plan = done.plan()
    assert plan.trained == []
    assert [name for name in plan.planned if name.startswith("embed")] == [f"embed {run} pairs_clean"]


def test_render_only_renders_gaps_and_starts_nothing_else(done: Project) -> None:
    run = run_of(done, "arcface", 0)
    shutil.rmtree(done.folder / f"results/records/{run}")
    shutil.rmtree(done.folder / f"results/runs/{run}")
    done.config["render_only"] = True
    done.write()
    done.calls()
    outcome = done.run()
    assert outcome.status == 0, outcome.text
    assert [call.split()[0] for call in done.calls()] == ["table", *PAGES]


def test_a_received_set_may_move_and_may_leave(done: Project, tmp_path: Path) -> None:
    folder = tmp_path / "received/faces_emore"
    folder.mkdir(parents=True)
    for name in ("train.rec", "train.idx", "property"):
        (folder / name).write_text(name)
    done.config["experiments"] = [{"method": "arcface", "dataset": "ms1mv2", "seeds": [0]}]
    done.write()
    assert len(done.plan().trained) == 1
    outcome = done.run()
    assert outcome.status == 0, outcome.text
    assert [call.split()[:2] for call in done.calls()].count(["data", "verify"]) == 1
    (link,) = (done.folder / "results/data").glob("ms1mv2-*/faces_emore")
    assert link.resolve() == folder
    (tmp_path / "received").rename(tmp_path / "moved")
    done.config["paths"]["data"] = "moved"
    done.write()
    assert done.plan().planned == []
    assert link.resolve() == tmp_path / "moved/faces_emore"
    shutil.rmtree(tmp_path / "moved")
    assert done.plan().planned == []
    (tmp_path / "moved/faces_emore").mkdir(parents=True)
    for name in ("train.rec", "train.idx", "property"):
        (tmp_path / "moved/faces_emore" / name).write_text(f"another {name}")
    assert len(done.plan().trained) == 1
