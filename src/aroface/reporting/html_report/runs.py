"""Runs as the report shows them: where each comes from, what it cost, and in what any two differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aroface.files import if_there, read_json_if_there
from aroface.humanize import bytes_text, seconds_text
from aroface.reporting.anchors import run_anchor
from aroface.reporting.explain import commit_text
from aroface.reporting.records import Record
from aroface.reporting.tables.grid import MISSING
from aroface.results import RunFolder

_ASIDE = ("schema", "run", "recipe_hash")


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """A run that the configuration asks for.

    Attributes:
        name: Name of the run.
        entry: Content of its recipe file, as a plan writes it.
        folder: Folder of its checkpoint.
        recipe_file: Path of its recipe.
        benchmarks: Names of the benchmarks that it is evaluated on.
        variant: Name of its method in the configuration where the experiment has a label, else empty.
    """

    name: str
    entry: Mapping[str, Any]
    folder: Path
    recipe_file: Path
    benchmarks: tuple[str, ...]
    variant: str = ""

    @property
    def checkpoint_file(self) -> Path:
        """File that exists once the run is finished."""
        return RunFolder(self.folder).checkpoint

    @property
    def released(self) -> bool:
        """True if its weights were released by others."""
        return "released" in self.entry


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it is shown; ``facts`` are names and texts, ``records`` one line for each benchmark."""

    name: str
    anchor: str
    run: ReportedRun
    checkpoint: Mapping[str, Any]
    facts: tuple[tuple[str, str], ...]
    records: Mapping[str, Record | None]
    recipe: str

    @property
    def done(self) -> bool:
        """True if it is finished."""
        return bool(self.checkpoint)

    @property
    def device_hours(self) -> float | None:
        """Hours of all its devices; None if that is not known."""
        return _number(self.checkpoint, "cost", "device_hours")

    @property
    def wall_s(self) -> float | None:
        """Seconds that its training took on the clock; None if that is not known."""
        return _number(self.checkpoint, "cost", "wall_s")


@dataclass(frozen=True, slots=True)
class JobKind:
    """Cost of jobs of one kind; None where it was not recorded."""

    name: str
    done: int
    planned: int
    wall_s: float | None
    longest_s: float | None
    device_hours: float | None


@dataclass(frozen=True, slots=True)
class Differences:
    """In what runs differ.

    Attributes:
        runs: Names of the runs.
        keys: Settings in which any two of them differ.
        settings: Settings of each run, as JSON texts by dotted keys.
    """

    runs: tuple[str, ...]
    keys: tuple[str, ...]
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def view_run(run: ReportedRun, records: Sequence[Record]) -> RunView:
    """Read what there is of a run; what is missing of it is said to be."""
    checkpoint = read_mapping(run.checkpoint_file)
    own = {record.benchmark: record for record in records if record.run == run.name}
    return RunView(
        run.name,
        run_anchor(run.name),
        run,
        checkpoint,
        tuple(_facts(run, checkpoint).items()),
        {name: own.get(name) for name in dict.fromkeys([*run.benchmarks, *own])},
        json.dumps(run.entry.get("recipe") or run.entry.get("released"), indent=2, ensure_ascii=False),
    )


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where the file is not there or holds something else.

    Raises:
        InputError: The file is not JSON.
    """
    value = None if path.is_dir() else read_json_if_there(path)
    return value if isinstance(value, dict) else {}


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested mapping as one of dotted keys to JSON texts; an empty mapping is a value."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            flat |= flatten(item, f"{name}.")
        else:
            flat[name] = json.dumps(item, ensure_ascii=False, sort_keys=True)
    return flat


def settings(run: ReportedRun) -> dict[str, str]:
    """All that decides a run, as dotted keys and JSON texts: experiment, data, recipe or released weights."""
    return flatten({key: value for key, value in run.entry.items() if key not in _ASIDE})


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """The keys in which two runs' settings differ, with both values; None where a run has no such key."""
    keys = dict.fromkeys([*one, *other])
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


def compare_runs(runs: Sequence[ReportedRun]) -> Differences:
    """In what any two of several runs differ."""
    by_run = {run.name: settings(run) for run in runs}
    known = dict.fromkeys(key for each in by_run.values() for key in each)
    keys = tuple(key for key in known if len({each.get(key) for each in by_run.values()}) > 1)
    return Differences(tuple(by_run), keys, by_run)


def job_kinds(runs: Sequence[RunView]) -> list[JobKind]:
    """Cost of trainings, embeddings and evaluations."""
    trained = [run for run in runs if not run.run.released]
    imported = [run for run in runs if run.run.released]
    kinds = []
    if trained:
        hours = [run.device_hours for run in trained if run.device_hours is not None]
        done = sum(run.done for run in trained)
        times = [run.wall_s for run in trained if run.wall_s is not None]
        kinds.append(JobKind("training", done, len(trained), *_times(times), sum(hours) if hours else None))
    if imported:
        kinds.append(JobKind("import", sum(run.done for run in imported), len(imported), None, None, None))
    records = [record for run in runs for record in run.records.values()]
    for name, key in (("embedding", "embed_wall_s"), ("evaluation", "evaluate_wall_s")):
        times = [float(record.provenance[key]) for record in records if record is not None]
        kinds.append(JobKind(name, len(times), len(records), *_times(times), None))
    return kinds


def commits(runs: Sequence[RunView]) -> list[tuple[str, int]]:
    """The commits that trained and evaluated, each with its number of checkpoints and records."""
    counts = Counter(
        [run.checkpoint["environment"].get("git_commit") for run in runs if "environment" in run.checkpoint]
        + [record.provenance["git_commit"] for run in runs for record in run.records.values() if record]
    )
    return [(commit_text(commit), count) for commit, count in counts.most_common()]


def _facts(run: ReportedRun, checkpoint: Mapping[str, Any]) -> dict[str, str]:
    """Facts on a run, in the order in which one asks."""
    environment = checkpoint.get("environment", {})
    return {
        name: text
        for name, text in {
            "state": "finished" if checkpoint else "not there yet",
            **_origin(run, checkpoint),
            "weights": _weights(run, checkpoint),
            "commit": commit_text(environment["git_commit"]) if "git_commit" in environment else None,
            "hardware": _listed(environment.get("hardware", {}), environment.get("threads")),
            "versions": ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items()),
            "execution": _listed(checkpoint.get("execution", {})),
            "progress": _listed(checkpoint.get("progress", {})),
            "cost": _cost(checkpoint),
            "validation": _validation(checkpoint),
            "skipped images": str(len(checkpoint["skipped_images"])) if checkpoint.get("skipped_images") else None,
        }.items()
        if text
    }


def _origin(run: ReportedRun, checkpoint: Mapping[str, Any]) -> dict[str, str | None]:
    if run.released:
        file = checkpoint.get("released", run.entry["released"])
        return {"released weights": ", ".join(f"{name} {value}" for name, value in file.items())}
    data = run.entry["data"]
    return {
        "recipe": f"sha256 {run.entry['recipe_hash']}",
        "data": f"{data['name']}, manifest {data['manifest_hash']}",
    }


def _weights(run: ReportedRun, checkpoint: Mapping[str, Any]) -> str | None:
    if not {"file", "sha256"} <= checkpoint.get("weights", {}).keys():
        return None
    path = run.folder / checkpoint["weights"]["file"]
    state = if_there(path.stat)
    here = "not here" if state is None else bytes_text(state.st_size)
    return f"sha256 {checkpoint['weights']['sha256']}, {path.as_posix()} ({here})"


def _cost(checkpoint: Mapping[str, Any]) -> str | None:
    hours = _number(checkpoint, "cost", "device_hours")
    if hours is None:
        return None
    wall = _number(checkpoint, "cost", "wall_s")
    return f"{hours:,.2f} device-hours, {MISSING if wall is None else seconds_text(wall)} on the clock"


def _validation(checkpoint: Mapping[str, Any]) -> str | None:
    last = checkpoint.get("validation", {}).get("last") or {}
    return ", ".join(f"{name} {value}" for name, value in flatten(last).items()) or None


def _listed(values: Mapping[str, Any], threads: int | None = None) -> str | None:
    entries = [f"{name.replace('_', ' ')} {value}" for name, value in values.items()]
    return ", ".join([*entries, *([f"threads {threads}"] if threads else [])]) or None


def _times(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    return (sum(seconds), max(seconds)) if seconds else (None, None)


def _number(value: Mapping[str, Any], *keys: str) -> float | None:
    node: Any = value
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return None if node is None else float(node)
