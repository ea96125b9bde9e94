"""The courses of trainings, which figures are drawn from: reading ``history.json`` of finished runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.files import list_files, read_json_if_there
from aroface.humanize import listing
from aroface.reporting.records import RecordedExperiment, method_of
from aroface.reporting.text import over_seeds
from aroface.results import CHECKPOINT, HISTORY, RunFolder
from aroface.schemas import validate

NO_ADVERSARY = "none"
# Released weights have no seed in their names, and no course that anybody here knows of.
_TRAINED = re.compile(r"([^-]+)-([^-]+)-(.+)-s(\d+)-[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Gap:
    """A training of which a figure has nothing to show.

    Attributes:
        experiment: Experiment that it is one seed of.
        seed: Seed of the run.
        adversary: Kind of the adversary; None where no file has it.
    """

    experiment: RecordedExperiment
    seed: int
    adversary: str | None


@dataclass(frozen=True, slots=True)
class History:
    """The course of one training.

    Attributes:
        path: Path of the file that it was read from.
        run: Name of the run, also the name of the file's folder.
        experiment: Experiment that the run is one seed of.
        seed: Seed of the run.
        content: Content as ``history.schema.json`` describes it.
    """

    path: Path
    run: str
    experiment: RecordedExperiment
    seed: int
    content: Mapping[str, Any]

    @property
    def adversary(self) -> str:
        """Its kind."""
        return str(self.content["adversary"])

    @property
    def gap(self) -> Gap:
        """This training as a gap of a figure that it has nothing for."""
        return Gap(self.experiment, self.seed, self.adversary)


def load_histories(
    folder: str | PathLike[str], runs: Collection[str] | None = None
) -> tuple[tuple[History, ...], tuple[Gap, ...]]:
    """Read the courses of trainings, and say which trainings have left none.

    Args:
        folder: ``results/runs``.
        runs: Names of the runs that count; None counts every finished run that is there.

    Raises:
        InputError: There is no such folder and nothing says which runs count; a file is no valid history, lies under
            another run's name, or is a second one of its seed.
    """
    if runs is None and not Path(folder).is_dir():
        raise InputError("no such folder", file=folder, expected="a folder of runs")
    names = runs if runs is not None else (path.parent.name for path in list_files(folder, f"*/{CHECKPOINT}"))
    chosen: dict[tuple[RecordedExperiment, int], History] = {}
    gaps = []
    for name in sorted(names):
        match = _TRAINED.fullmatch(name)
        if match is None:
            continue
        run = RunFolder(Path(folder) / name)
        history = _read(run.history, runs)
        if history is None:
            experiment = RecordedExperiment(method_of(name, match[1], runs), match[2], match[3])
            gaps.append(Gap(experiment, int(match[4]), _adversary(run)))
            continue
        rival = chosen.setdefault((history.experiment, history.seed), history)
        if rival is not history:
            raise InputError(
                f"{history.experiment} has several runs of seed {history.seed}: {rival.run}, {history.run}",
                file=folder,
                expected="one",
                remedy="say which runs are current (--runs-file)",
            )
    return tuple(chosen.values()), tuple(gaps)


def _read(path: Path, runs: Collection[str] | None) -> History | None:
    content = read_json_if_there(path)
    if content is None:
        return None
    validate(content, "history", file=path)
    if content["run"] != path.parent.name:
        raise InputError("the history is in the wrong place", file=path, expected=f"{content['run']}/{HISTORY}")
    experiment = content["experiment"]
    method = method_of(content["run"], experiment["method"], runs)
    described = RecordedExperiment(method, experiment["dataset"], experiment["arch"])
    return History(path, content["run"], described, experiment["seed"], content)


def _adversary(run_dir: RunFolder) -> str | None:
    """Adversary of a training without history, from its checkpoint."""
    try:
        return str((read_json_if_there(run_dir.checkpoint) or {})["recipe"]["adversary"]["kind"])
    except (KeyError, TypeError):
        return None


def by_experiment(
    histories: Iterable[History], order: Sequence[RecordedExperiment] | None = None
) -> dict[RecordedExperiment, tuple[History, ...]]:
    """The courses of each experiment, one a seed, in the order of ``order`` or of the names.

    Raises:
        InputError: Two seeds of one experiment were not trained for the same number of steps.
    """
    groups: dict[RecordedExperiment, list[History]] = {}
    for history in sorted(histories, key=lambda history: (history.experiment, history.seed)):
        alike = groups.setdefault(history.experiment, [])
        alike.append(history)
        steps, expected = history.content["steps"], alike[0].content["steps"]
        if steps != expected:
            what = f"a training of {steps} steps"
            raise InputError(what, file=history.path, expected=f"{expected} as in {alike[0].run}")
    wanted = [experiment for experiment in order or () if experiment in groups]
    return {experiment: tuple(groups[experiment]) for experiment in dict.fromkeys([*wanted, *groups])}


def gap_words(gaps: Sequence[Gap], labels: Mapping[str, str]) -> str:
    """A sentence that names the trainings of which there is nothing to show; empty where there are none."""
    seeds: dict[RecordedExperiment, list[int]] = {}
    for gap in gaps:
        seeds.setdefault(gap.experiment, []).append(gap.seed)
    several = len({(experiment.dataset, experiment.arch) for experiment in seeds}) > 1
    named = []
    for experiment, missing in seeds.items():
        method = labels.get(experiment.method, experiment.method)
        where = f" on {labels.get(experiment.dataset, experiment.dataset)} ({experiment.arch})" if several else ""
        word = "seed" if len(missing) == 1 else "seeds"
        named.append(f"{method}{where}, {word} {listing([str(seed) for seed in sorted(missing)])}")
    return f"Nothing was recorded of {'; '.join(named)}." if named else ""


def seed_words(groups: Iterable[Sequence[History]]) -> str:
    """Number of seeds behind lines, and the meaning of their bands."""
    counts = {len(group) for group in groups}
    return over_seeds(counts) + ("" if counts == {1} else "; bands reach from the lowest to the highest seed")
