"""Folders of any name: for the repository, results and data; nothing outside is written, no part of a name is run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import string
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import container
import orphaned_jobs
import slurm
from aroface.errors import InputError
from aroface.planning.config import read_configuration
from aroface.planning.paths import check_path, command_path
from aroface.planning.plan import make_plan
from aroface.planning.products import find_products
from repository import ROOT
from workflow_project import CONFIG, Project, copy_of, finish

NAMES = [
    "my 'results' $HOME; touch pwned #1",
    '-x=&"$(touch pwned)" `touch pwned`|*?[a]~!(b) <c >',
    "größe 中 50% \\n, ",
]
"""Between them, all characters that a shell, make, argparse, Snakemake or Slurm reads as something else."""


def small(folder: Path, template: Path) -> Project:
    """A project with one method on a received set, and a figure."""
    folder.mkdir(parents=True, exist_ok=True)
    project = copy_of(template, folder)
    project.config["experiments"] = [{"method": "arcface", "dataset": "ms1mv3", "seeds": [0]}]
    project.config["figures"] = [{"name": "progress", "kind": "training"}]
    return project


@pytest.mark.parametrize("name", NAMES)
def test_any_folder_name_works(template: Path, tmp_path: Path, name: str) -> None:
    """The canaries have the first words of the names, as a shell would split them."""
    project = small(tmp_path / name, template)
    project.config |= {
        "paths": {"data": f"{name} data", "results": name},
        "note": f"-- {{run}} {name.replace('中', '')}",
    }
    received = project.folder / f"{name} data/ms1m-retinaface-t1"
    received.mkdir(parents=True)
    for file in ("train.rec", "train.idx", "property"):
        (received / file).write_text(file)
    canaries = {project.folder / word for word in {*re.split(r"[ ;&|]", name)} - {"", name, "\\n,", "50%"}}
    for canary in canaries:
        canary.write_text("mine")
    project.write()
    config = f"{name}.yaml"
    (project.folder / "test.yaml").rename(project.folder / config)
    before = {*project.folder.rglob("*")}
    outcome = project.run(config=config)
    assert outcome.status == 0, outcome.text
    assert all(canary.read_text() == "mine" for canary in canaries)
    results = project.folder / name
    outside = {path for path in project.folder.rglob("*") if results not in (path, *path.parents)} - before
    assert {path.relative_to(project.folder).parts[0] for path in outside} <= {".snakemake", "calls.txt"}
    for file in ("report.html", "tables/lfw.tex", "figures/progress.pdf", "logs/paper/table_lfw.log"):
        assert (results / file).exists(), file
    assert [*results.glob("runs/arcface-*/checkpoint.json")]
    assert [*results.glob("data/ms1mv3-*/manifest.json")]


def test_rules_quote_every_path() -> None:
    """Whatever a rule names in a command is one word, or words that Python has joined."""
    for path in [*(ROOT / "workflow/rules").glob("*.smk")]:
        text = path.read_text()
        for fields in re.findall(r"\{+((?:input|output|log)\b[^{}]*)\}+", text):
            assert fields.endswith(":q"), f"{path.name}: {fields}"
        assert "{RESULTS}" not in text, path.name
        for line in text.splitlines():
            if re.match(r"\s+(arguments|remnants|folder)=", line):
                assert "verbatim(" in line or "lambda" in line, f"{path.name}: {line.strip()}"


ANY_NAME = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="{}</"), min_size=1)

ANY_NOTE = st.text(st.sampled_from([*{*string.printable[:95]} - {*"{}</"}, *"öéŁ×–★"]), min_size=1)
"""Of what LaTeX prints."""


@settings(max_examples=15, deadline=None)
@given(
    name=ANY_NAME.filter(lambda name: name.strip(".") and name[0] != "~" and len(name.encode()) < 256), note=ANY_NOTE
)
def test_commands_split_into_the_words_they_were_joined_of(
    tmp_path_factory: pytest.TempPathFactory, name: str, note: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    config = {**CONFIG, "paths": {"data": name, "results": name}, "note": note}
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    products = find_products(make_plan([folder / "c.yaml"], root=ROOT), root=ROOT)
    plan, results = products.plan, command_path(name)
    making = plan.sources.makings[0]
    assert not str(plan.results.root).startswith("-")
    assert shlex.split(making.arguments) == ["generate", str(making.spec_file), "--out", str(making.out)]
    assert results in making.out.parents
    words = shlex.split(products.table_arguments("lfw"))
    assert words[words.index("--records") + 1] == str(results / "records")
    assert words[-2:] == ["--caption-note", note] if note[0] != "-" else words[-1] == f"--caption-note={note}"


@pytest.mark.parametrize(
    ("key", "path", "expected"),
    [
        ("paths.results", "{run}", "'{run}' holds '{', which Snakemake fills in; choose a name without it"),
        ("paths.results", "a}b", "'a}b' holds '}'"),
        ("tables.0", "specs/{x}.yaml", "'specs/{x}.yaml' holds '{'"),
        ("paths.results", "a <b> c", "'a <b> c' holds '<b>', which Snakemake fills in"),
        ("paths.results", "a\nb", r"'a\nb' holds the control character '\n'; choose a name without it"),
        ("paths.data", "a\tb", r"'a\tb' holds the control character"),
        ("data.mine.folder", "a\x1b[0m", r"'a\x1b[0m' holds the control character U+001B"),
        ("paths.results", "a/" + 128 * "ö", f"the name '{20 * 'ö'}'… has 256 bytes; choose one of at most 255"),
        ("data.mine.folder", 256 * "x", f"the name '{20 * 'x'}'… has 256 bytes; choose one of at most 255"),
        ("paths.results", "/".join(20 * [200 * "x"]), "a path of 4,019 bytes; choose one of at most 3,000"),
        ("paths.results", "~", "'~' begins with '~', which is no home folder here; write the path out"),
        ("paths.data", "~me/a", "'~me/a' begins with '~'"),
        ("data.mine.folder", "~/a", "or ./~/a for a folder of that name"),
    ],
)
def test_impossible_paths_are_one_line(tmp_path: Path, key: str, path: str, expected: str) -> None:
    layers = {
        "paths.results": {"paths": {"results": path}},
        "paths.data": {"paths": {"data": path}},
        "tables.0": {"tables": [path]},
        "data.mine.folder": {"data": {"mine": {"folder": path, "pack": {}}}},
    }
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(layers[key]))
    with pytest.raises(InputError) as caught:
        read_configuration([tmp_path / "whole.yaml", tmp_path / "c.yaml"], root=ROOT)
    assert str(caught.value).startswith(f"{tmp_path}/c.yaml: {key}: ")
    assert expected in str(caught.value)


def test_path_that_is_not_utf8_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^this folder: '/caf\\udce9' is not UTF-8; choose a name in UTF-8$"):
        check_path(os.fsdecode(b"/caf\xe9"), where="this folder")


SLURM = {
    "scontrol": "echo 'MinJobAge = 300 sec'",
    "sacct": "exit 0",
    "sacctmgr": "exit 0",
    "sshare": "exit 0",
    "scancel": "exit 0",
    "sinfo": "echo 'cpu*'",
    "squeue": 'for state in "$FAKE"/*.state; do [ -e "$state" ] && echo "7|$(cat "$state")"; done; exit 0',
    "srun": 'while [ "${1#-}" != "$1" ]; do case $1 in -n|-c|-N) shift;; esac; shift; done; exec "$@"',
    "sbatch": """while [ $# -gt 1 ]; do case $1 in -D) cd "$2";; --output) log=$2;; esac; shift; done
cat > "$FAKE/script"; echo RUNNING > "$FAKE/7.state"
( export SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=1; sh "$FAKE/script" > "$log" 2>&1
  [ $? = 0 ] && echo COMPLETED > "$FAKE/7.state" || echo FAILED > "$FAKE/7.state" ) > /dev/null 2>&1 &
echo 7""",
}


def test_slurm_job_starts_in_a_folder_of_any_name(template: Path, tmp_path: Path) -> None:
    """The script for sbatch runs: Snakemake quotes its jobs' arguments as Python does, and Python's path not at all."""
    name = 'it\'s "$HOME" $(touch pwned); `touch pwned` & #1'
    project = small(tmp_path / name, template)
    project.config["paths"]["results"] = f"{name} results"
    project.write()
    shutil.copytree(ROOT / "slurm", project.folder / "slurm")
    (project.folder / "slurm/site.yaml").write_text("poll_seconds: 1\n")
    programs, fake = tmp_path / "bin", tmp_path / "fake"
    programs.mkdir()
    fake.mkdir()
    for program, body in SLURM.items():
        (programs / program).write_text(f"#!/bin/bash\n{body}\n")
        (programs / program).chmod(0o755)
    (project.folder / "python here").symlink_to(sys.prefix)
    python = str(project.folder / "python here/bin" / Path(sys.executable).name)
    environment = project.environment()
    environment |= {"FAKE": str(fake), "PATH": f"{programs}:{environment['PATH']}"}
    words = [python, "-m", "snakemake", "--profile", "slurm", "--configfile", "test.yaml", "--jobs", "1"]
    words += ["--config", f"note=it's {name}", "--latency-wait", "5", "--seconds-between-status-checks", "1"]
    outcome = finish(project.start(*words, "generate_clean", environment=environment), limit_s=240)
    log = "\n".join(path.read_text() for path in project.folder.glob(".snakemake/slurm_logs/**/*.log"))
    assert outcome.status == 0, outcome.text + log
    assert [*(project.folder / f"{name} results").glob("data/clean-*/pairs.bin.manifest.json")]
    assert not [*project.folder.rglob("pwned")]
    assert shlex.quote(python) in (fake / "script").read_text()


@pytest.mark.parametrize("folder", ["/a%j/b", "/a\\b"])
def test_folder_that_slurm_cannot_have_is_one_line(folder: str) -> None:
    with pytest.raises(InputError, match=r"which Slurm does not take as it is in the names of logs; rename"):
        slurm.check_working_folder(Path(folder))
    slurm.check_working_folder(Path("/it's $HOME & more"))


def test_folder_that_a_container_cannot_have_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setattr(container, "visible", lambda plan, root: [f"{tmp_path}/a,b"])
    site = {"environment": "container", "image": "x.sif"}
    with pytest.raises(InputError, match="a,b: a container cannot be given a folder whose path holds ','; rename it"):
        container.offer_container(site, SimpleNamespace(), tmp_path)


def test_queue_is_read_with_any_folder() -> None:
    line = f"7|RUNNING|/a|b {string.punctuation}|rule_train_wildcards_x"
    assert orphaned_jobs._queued(line) == orphaned_jobs.Queued(
        "7", "RUNNING", f"/a|b {string.punctuation}", "rule_train_wildcards_x"
    )
