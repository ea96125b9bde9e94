"""What slurm/site.yaml and the configuration come to; what Slurm makes of it is tested on a real one."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import snakemake_executor_plugin_slurm as plugin
import yaml
from snakemake.settings.types import RemoteExecutionSettings
from snakemake_executor_plugin_slurm.validation import validate_slurm_extra

import orphaned_jobs
import slurm
import slurm_plugin
import slurm_resources
from aroface.errors import InputError
from aroface.files import read_json
from aroface.planning.plan import Plan, make_plan
from partial_results import failures
from repository import ROOT

SITE = {"account": "mine", "gpu": {"partition": "gpu", "type": "a100", "max_hours": 24}, "cpu": {"partition": "cpu"}}
GPU_JOB = {"gpus": 4, "threads": 8, "mem_mb": 1000, "runtime": 2880, "retries": 5}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """As if the profile had been read; changes are made before it is asked."""
    settings: dict[str, object] = {**slurm.DEFAULTS, **SITE}
    monkeypatch.setenv(slurm.SITE, json.dumps(settings))
    return settings


def plan_of(tmp_path: Path, **changes: object) -> Plan:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(changes))
    return make_plan([ROOT / "config.yaml", tmp_path / "mine.yaml"], root=ROOT)


def asked_for(plan: Plan, method: str = "arcface") -> dict[str, Any]:
    """What the rule asks for the training of the first run of a method."""
    run = next(name for name, each in plan.runs.items() if each.experiment.method == method)
    wildcards = SimpleNamespace(run=run)
    return {name: value(wildcards) for name, value in slurm_resources.training_resources(plan).items()}


def test_the_example_has_every_key_and_is_valid() -> None:
    example = slurm.complete_site(ROOT / "slurm/site.example.yaml")
    properties = read_json(ROOT / "src/aroface/_schemas/site.schema.json")["properties"]
    assert example.keys() == properties.keys() == slurm.DEFAULTS.keys()
    for kind in ("cpu", "gpu"):
        assert example[kind].keys() == properties[kind]["properties"].keys()
    for variable in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):  # GPUs talk by one, their processes by the other
        assert f"{variable}=" in example["setup"]
    assert slurm.complete_site(ROOT / "slurm/no such file") == slurm.DEFAULTS


def test_a_wrong_key_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("gpu: {partitoin: gpu}\n")
    with pytest.raises(InputError, match=r"site.yaml: gpu: .*'partitoin' was unexpected"):
        slurm.complete_site(tmp_path / "site.yaml")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gpu: {max_hours: 48:00:00}", "gpu.max_hours: 172800 is greater than the maximum of 2160"),
        ("account: 4711", "account: 4711 is not of type 'string'; write it in quotes"),
        ("environment: docker", r"environment: 'docker' is not one of \['venv', 'conda', 'container'\]"),
        ("- gpu", "'object'"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "site.yaml").write_text(f"{line}\n")
    with pytest.raises(InputError, match=rf"^{tmp_path}/site.yaml: .*{expected}"):
        slurm.complete_site(tmp_path / "site.yaml")


def test_a_key_without_a_value_says_nothing(tmp_path: Path) -> None:
    """As it stays when all lines below it are deleted from a copy of the example."""
    (tmp_path / "site.yaml").write_text("cpu:\ngpu:\n  type:\n  count: 4\naccount:\nsetup:\nnodes: 2\n")
    assert slurm.complete_site(tmp_path / "site.yaml") == {**slurm.DEFAULTS, "gpu": {"count": 4}, "nodes": 2}


@pytest.mark.parametrize("word", ["-n", "-np", "-kn", "--dry-run", "--dryrun"])
def test_a_plan_asks_slurm_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """It is made where there is none yet, or while it is down; a start says in one line what Slurm said."""
    script(tmp_path / "scontrol", "echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(sys, "argv", ["snakemake", word, "--profile", "slurm"])
    assert slurm.Profile(slurm.DEFAULTS, ROOT / "slurm").status_command is None
    for others in (["--nolock"], ["table_n", "-c1"], ["-k"]):
        monkeypatch.setattr(sys, "argv", ["snakemake", *others])
        with pytest.raises(InputError, match=r"^scontrol show config: slurm_load_ctl_conf error: .*controller; does"):
            slurm.Profile(slurm.DEFAULTS, ROOT / "slurm")


def test_a_type_of_gpu_may_have_a_hyphen(
    tmp_path: Path, site: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Slurm itself finds them: the plugin refuses such a gres, and another way of asking for it in the extras."""
    (tmp_path / "site.yaml").write_text("gpu: {type: nvidia_a100-sxm4-80gb}\n")
    monkeypatch.setenv(slurm.SITE, json.dumps(slurm.complete_site(tmp_path / "site.yaml")))
    asked = slurm_resources.job_resources(GPU_JOB), asked_for(plan_of(tmp_path))
    for resources in asked:
        assert "gres" not in resources
        assert "--gpus-per-node=nvidia_a100-sxm4-80gb:4" in resources["slurm_extra"].split()
        validate_slurm_extra(SimpleNamespace(resources=SimpleNamespace(**resources)))
    assert "--signal=USR1@120" in asked[1]["slurm_extra"].split()


def test_without_the_profile_nothing_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(slurm.SITE, raising=False)
    assert slurm_resources.job_resources(GPU_JOB) == {}
    asked = {"processes": 4, "gpus": 4, "nodes": 1, "launcher": ""}
    assert asked_for(plan_of(tmp_path)) == asked
    assert asked_for(plan_of(tmp_path), "adaface") == {**asked, "processes": 2}, "GPUs are the first of the machine"
    assert slurm_resources.job_minutes(GPU_JOB)(None, 2) == 2 * 2880


def test_jobs_go_where_their_devices_are(site: dict[str, object]) -> None:
    assert slurm_resources.job_resources(GPU_JOB) == {
        "slurm_account": "mine",
        "slurm_partition": "gpu",
        "gres": "gpu:a100:4",
    }
    assert slurm_resources.job_resources(GPU_JOB | {"gpus": 0}) == {"slurm_account": "mine", "slurm_partition": "cpu"}
    assert slurm_resources.job_minutes(GPU_JOB)(None, 1) == 24 * 60
    assert [slurm_resources.job_memory(GPU_JOB)(None, attempt) for attempt in (1, 2)] == [1000, 2000]


def test_one_setting_spreads_a_training_over_nodes(
    tmp_path: Path, site: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(tmp_path, resources={"train": {"gpus": 8}})
    one = asked_for(plan)
    assert (one["nodes"], one["gres"], one["mpi"]) == (1, "gpu:a100:8", "")
    assert "tasks" not in one
    monkeypatch.setenv(slurm.SITE, json.dumps(site | {"nodes": 2}))
    two = asked_for(plan)
    assert (two["nodes"], two["gres"], two["tasks"]) == (2, "gpu:a100:4", 2)
    assert two["mpi"]
    assert "--signal=USR1@120" in two["slurm_extra"]
    monkeypatch.setenv(slurm.SITE, json.dumps(site | {"nodes": 3}))
    for gpus in (4, 8):  # four would fit on two of the nodes
        plan = plan_of(tmp_path, resources={"train": {"gpus": gpus}})
        said = rf"slurm/site.yaml: nodes: {gpus} processes on {gpus} GPUs of \w+ on 3 nodes"
        with pytest.raises(InputError, match=said):
            slurm_resources.training_resources(plan)


@pytest.mark.parametrize(
    ("gpus", "nodes", "expected"),
    [
        (1, 1, (1, 1, 1)),
        (2, 1, (2, 2, 1)),
        (4, 1, (2, 2, 1)),
        (8, 2, (2, 2, 1)),
        (8, 4, (2, 2, 1)),
        (2, 2, (2, 2, 2)),
        (8, 8, (2, 2, 2)),
    ],
)
def test_a_training_gets_only_devices_that_it_keeps_busy(
    tmp_path: Path,
    site: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
    nodes: int,
    expected: tuple[int, int, int],
) -> None:
    """AdaFace's recipe takes 256 of its 512 images at once."""
    monkeypatch.setenv(slurm.SITE, json.dumps(site | {"nodes": nodes}))
    plan = plan_of(tmp_path, resources={"train": {"gpus": gpus}})
    few, many = asked_for(plan, "adaface"), asked_for(plan)
    assert (few["processes"], few["gpus"], few["nodes"]) == expected
    assert few["gres"] == f"gpu:a100:{expected[1] // expected[2]}"
    assert few["launcher"].split()[2] == str(expected[2])
    assert (few["mpi"], few.get("tasks", 1)) == ("srun" if expected[2] > 1 else "", expected[2])
    assert (many["processes"], many["gpus"], many["nodes"]) == (gpus, gpus, nodes)
    assert few.keys() == many.keys()


def test_a_training_asks_for_its_estimate_and_then_for_all_there_is(
    tmp_path: Path, site: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(slurm.SITE, json.dumps(site | {"gpu": {}}))
    plan = plan_of(tmp_path, resources={"train": {"runtime": 100_000}})
    times = slurm_resources.TrainingTime(plan, ROOT)
    small, large = (
        next(run for run in plan.runs if run.startswith(f"arcface-{name}")) for name in ("ms1mv2", "ms1mv3")
    )
    limits = [times.limit(SimpleNamespace(run=run), 1) for run in (small, large)]
    assert all(slurm_resources.SHORTEST < limit < 100_000 for limit in limits)
    assert times.limit(SimpleNamespace(run=small), 2) == 100_000
    assert times.limit(SimpleNamespace(run="of a set that nobody has counted"), 1) == 100_000
    assert times.retries == 5
    monkeypatch.setenv(slurm.SITE, json.dumps(site | {"gpu": {"max_hours": 1}}))
    short = slurm_resources.TrainingTime(plan, ROOT)
    assert short.limit(SimpleNamespace(run=small), 1) == 60
    assert short.retries >= 5 + (limits[0] - slurm_resources.SHORTEST) // 60 - 1


@pytest.mark.parametrize(
    ("age", "accounting", "expected"),
    [
        ("300 sec", "none", "squeue"),
        ("300 sec", "slurmdbd", "squeue"),
        ("60 sec", "slurmdbd", "sacct"),
        ("60 sec", "none", None),
    ],
)
def test_how_states_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: str, accounting: str, expected: str | None
) -> None:
    lines = f"AccountingStorageType   = accounting_storage/{accounting}\nMinJobAge               = {age}\n"
    script(tmp_path / "scontrol", f"cat <<'END'\n{lines}END")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if expected is None:
        with pytest.raises(InputError, match=r"forgets finished jobs after 60 sec and keeps no accounts"):
            slurm_plugin.status_command("auto")
    else:
        assert slurm_plugin.status_command("auto") == expected
    assert slurm_plugin.status_command("sacct") == "sacct"


def test_no_end_of_a_job_is_taken_for_a_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the plugin asks for goes through here; it must still ask by that name."""
    answers = {"1": "RUNNING", "2": "CANCELLED by 1000", "3": "PREEMPTED", "4": "NODE_FAIL", "5": "COMPLETED"}

    async def ask(command: str, logger: object) -> tuple[dict[str, str], float]:
        return {**answers}, 0.1

    assert inspect.iscoroutinefunction(plugin.query_job_status)
    assert "await query_job_status(" in inspect.getsource(plugin.Executor.check_active_jobs)
    monkeypatch.setattr(plugin, "query_job_status", ask)
    slurm_plugin.tell_every_end()
    said: list[str] = []
    logger = SimpleNamespace(warning=said.append)
    for _ in range(2):
        states, _ = asyncio.run(plugin.query_job_status("squeue", logger))
        assert states == {"1": "RUNNING", "2": "CANCELLED", "3": "FAILED", "4": "FAILED", "5": "COMPLETED"}
    assert said == ["Slurm job 2: CANCELLED by 1000", "Slurm job 3: PREEMPTED", "Slurm job 4: NODE_FAIL"]


def test_a_state_that_cannot_be_asked_for_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(command: str, logger: object) -> tuple[None, None]:
        return None, None

    monkeypatch.setattr(plugin, "query_job_status", ask)
    slurm_plugin.tell_every_end()
    assert asyncio.run(plugin.query_job_status("squeue", None)) == (None, None)


def test_jobs_of_a_killed_call_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that make what is to be made now, submitted from this folder; not others."""
    comment = orphaned_jobs.comment_of("train", ["arcface-x"])
    queue = tmp_path / "queue"
    queue.write_text(f"17|RUNNING|{tmp_path}|{comment}\n18|PENDING|{tmp_path}|rule_other\n19|RUNNING|/|{comment}\n")
    script(tmp_path / "squeue", f"cat {queue}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(orphaned_jobs, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(orphaned_jobs.time, "sleep", lambda seconds: queue.write_text(""))
    assert orphaned_jobs.wait_for_earlier_jobs({comment}, tmp_path)
    said = capsys.readouterr().err
    assert "17 running rule_train_wildcards_arcface-x" in said
    assert re.search(r"scancel 17 ", said)
    assert not orphaned_jobs.wait_for_earlier_jobs({comment}, tmp_path)


def test_a_slurm_that_does_not_answer_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "squeue", "echo down >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(orphaned_jobs, "LOOK_EVERY_S", 0.0)
    with pytest.raises(InputError, match="squeue does not answer: down"):
        orphaned_jobs.wait_for_earlier_jobs({"rule_train"}, tmp_path)


@pytest.mark.parametrize(
    ("said", "status", "expected"),
    [
        ("", 75, "the state is saved; the next attempt goes on"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=3.0", 137, "raise resources.train.mem_mb"),
        ("slurmstepd: error: StepId=3.1 exceeded memory limit (9 > 1), being killed", 143, "resources.train.mem_mb"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", 1, "training.micro_batch"),
        ("srun: First task exited 30s ago", 137, "another did not within 120 s"),
        ("wrong recipe", 2, None),
        ("", 0, None),
    ],
)
def test_what_the_launcher_makes_of_an_end(tmp_path: Path, said: str, status: int, expected: str | None) -> None:
    script(tmp_path / "srun", f"echo {said!r} >&2; exit {status}")
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    command = ["bash", str(ROOT / "slurm/launch.sh"), "2", "1", "120", "true"]
    environment = {**os.environ, "PATH": path, "SLURM_JOB_ID": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == status
    assert said in done.stderr
    explained = [line for line in done.stderr.splitlines() if line.startswith("aroface: ")]
    assert len(explained) == (expected is not None)
    assert expected is None or expected in explained[0]


@pytest.mark.parametrize("status", [0, 75])
def test_the_log_of_an_attempt_stays_unless_it_ended_well(tmp_path: Path, status: int) -> None:
    script(tmp_path / "srun", f"echo trained; exit {status}")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "3"}
    log = tmp_path / "run.log"
    with open(log, "w") as file:
        command = ["bash", str(ROOT / "slurm/launch.sh"), "1", "1", "120", "true"]
        subprocess.run(command, env=environment, stdout=file, stderr=file, timeout=30, check=False)
    log.unlink()  # as Snakemake does before it tries again
    kept = [path.read_text() for path in tmp_path.glob("run-3.log")]
    assert len(kept) == (status != 0)
    assert all("trained" in text and "the state is saved" in text for text in kept)


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_a_missing_squeue_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(orphaned_jobs.time, "sleep", None)
    with pytest.raises(InputError, match="squeue: no such command; start from a login node"):
        orphaned_jobs.wait_for_earlier_jobs({"rule_train"}, tmp_path)


def test_a_slurm_that_is_away_is_told_while_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(tmp_path / "squeue", f"[ -e {tmp_path}/up ] || {{ echo down >&2; exit 1; }}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(orphaned_jobs.time, "sleep", lambda seconds: (tmp_path / "up").touch())
    assert not orphaned_jobs.wait_for_earlier_jobs({"rule_train"}, tmp_path)
    assert capsys.readouterr().err == "squeue does not answer: down; asking again for 5 minutes\n"


def job_of(rule: str, *wildcards: str, **resources: object) -> SimpleNamespace:
    return SimpleNamespace(
        rule=SimpleNamespace(name=rule), name=rule, wildcards=list(wildcards), resources=resources, log=["no such log"]
    )


REFUSED = "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            f"SLURM sbatch failed. The error message was '{REFUSED}'.\n    sbatch call:\n        sbatch --x=y\n",
            REFUSED,
        ),
        (
            "SLURM sbatch failed. The error message was 'sbatch: error: one.\nsbatch: error: it's two'.\n"
            "    sbatch call:\n        sbatch\n",
            "sbatch: error: one. sbatch: error: it's two",
        ),
        (
            "Job submission failed with exception: SLURM job submission failed. The error message was away\n",
            "away",
        ),
        (
            "Job submission failed with exception: [Errno 7] too long",
            "Job submission failed with exception: [Errno 7] too long",
        ),
    ],
)
def test_what_sbatch_said_is_in_the_summary(monkeypatch: pytest.MonkeyPatch, message: str, words: str) -> None:
    """The plugin must still report by these names, with that message."""
    source = inspect.getsource(plugin.Executor.run_job)
    assert "self._report_job_error_threadsafe(" in source and "self._report_job_submission_threadsafe(" in source
    assert "The error message was '{e.output.strip()}'." in source
    reported: list[str] = []
    monkeypatch.setattr(plugin.Executor, "_report_job_error_threadsafe", lambda self, info, msg: reported.append(msg))
    monkeypatch.setattr(plugin.Executor, "_report_job_submission_threadsafe", lambda self, info: reported.append(""))
    monkeypatch.setattr(slurm_plugin, "REFUSALS", {})
    slurm_plugin.keep_refusals()
    job = job_of("train", "arcface-x")
    plugin.Executor._report_job_error_threadsafe(None, SimpleNamespace(job=job), message)
    assert failures([job], slurm_plugin.REFUSALS) == [f"failed: train arcface-x: not submitted: {words}"]
    plugin.Executor._report_job_submission_threadsafe(None, SimpleNamespace(job=job))
    assert failures([job], slurm_plugin.REFUSALS) == ["failed: train arcface-x: no such log: not there"]
    assert reported == [message, ""]


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ("--ntasks-per-node=1 --signal=USR1@120", ""),
        ("--exclude=n3", " --ntasks-per-node=1 --signal=USR1@120"),
        ("--signal=USR1@600 --exclude=n3", " --ntasks-per-node=1"),
        ("", " --ntasks-per-node=1 --signal=USR1@120"),
    ],
)
def test_a_users_own_options_of_sbatch_leave_those_that_a_training_needs(
    tmp_path: Path, site: dict[str, object], monkeypatch: pytest.MonkeyPatch, given: str, added: str
) -> None:
    for name in ("run_job", "run_array_jobs"):
        assert "call = get_submit_command(" in inspect.getsource(getattr(plugin.Executor, name))
    monkeypatch.setattr(plugin, "get_submit_command", lambda job, params: f"sbatch {job.resources['slurm_extra']}")
    slurm_plugin.merge_extras()
    resources = {**asked_for(plan_of(tmp_path)), "slurm_extra": given}
    assert plugin.get_submit_command(job_of("train", **resources), {}) == f"sbatch {given}{added}"


def test_immediate_submit_is_refused() -> None:
    call = SimpleNamespace(remote_execution_settings=RemoteExecutionSettings(immediate_submit=True))
    with pytest.raises(
        InputError, match=r"^--immediate-submit submits the first jobs and ends, or never ends; expected no such option"
    ):
        slurm.check_call(call)
    slurm.check_call(SimpleNamespace(remote_execution_settings=RemoteExecutionSettings()))


@pytest.mark.parametrize(
    "words",
    [
        ["--immediate-submit"],
        ["--is"],
        ["--immediate"],
        ["--profile", "p"],
        ["--workflow-profile", "p"],
        ["--forceall"],
    ],
)
def test_immediate_submit_is_refused_before_there_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.delenv(slurm.SITE, raising=False)
    monkeypatch.chdir(tmp_path)
    for file in ("Snakefile", "p/config.yaml"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("immediate-submit: true\n" if "p/" in file else "")
    monkeypatch.setattr(sys, "argv", ["snakemake", "-n", "--notemp", *words])
    allowed = "--forceall" in words
    with contextlib.nullcontext() if allowed else pytest.raises(InputError, match=r"^--immediate-submit "):
        slurm.check_call(SimpleNamespace(remote_execution_settings=None))
    assert capfd.readouterr() == ("", "")
