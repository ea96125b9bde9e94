"""Layout of the results folder: the path of every file that one step writes and another one reads.

Rules take the same paths with wildcards in the place of names: ``Results(root).record("{run}", "{benchmark}")``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.errors import InputError, printable
from aroface.files import HASH_DIGITS

CHECKPOINT = "checkpoint.json"
"""File of a finished run that describes it and names the hash of its weights; written last."""
WEIGHTS = "model.safetensors"
CLASSIFIER = "classifier.safetensors"
"""File of an imported run with the classifier that was released with its backbone, for fine-tuning."""
PROGRAM = "model.onnx"
"""File of an imported run whose model is a program: its graph, without the weights."""
HISTORY = "history.json"
"""File with the course of a finished training."""
LOG = "log.jsonl"
"""File with a line for each logged step of a training."""
PROGRESS = "progress.json"
"""File that says how far a running job is."""
INDEX = "index.json"
"""File that describes the features in its folder; written last."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAME_BYTES = 255  # that file systems take of a folder's name


def check_names(run: Any, experiment: Mapping[str, Any], *, file: str | PathLike[str] | None = None) -> None:
    """Check the names of a run that records, their folders and tables hold, before anything is computed with it.

    Args:
        run: Name of the run, which is that of a folder.
        experiment: Method, data set and architecture.
        file: File that has them, for messages.

    Raises:
        InputError: A name is missing or blank, or holds control characters; or the run's can be no folder's.
    """
    for key, name in {"run": run, **{key: experiment.get(key) for key in ("method", "dataset", "arch")}}.items():
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{name!r} is no name", file=file, where=key, remedy="choose one that can be read")
        if _CONTROL.search(name):
            raise InputError(
                f"{name!a:.100} holds a control character", file=file, where=key, expected="printable text"
            )
    if "/" in run or run in (".", "..") or len(run.encode()) > _NAME_BYTES:
        expected = f"the name of a folder: no /, at most {_NAME_BYTES} bytes"
        raise InputError(f"{printable(run, 40)!r} cannot name a run", file=file, where="run", expected=expected)


@dataclass(frozen=True, slots=True)
class _Folder:
    """Folder below the results.

    Attributes:
        path: Path of the folder.
    """

    path: Path


class RunFolder(_Folder):
    """Folder of one trained or imported model."""

    __slots__ = ()

    @property
    def checkpoint(self) -> Path:
        """File that describes the run; it exists once the run is finished."""
        return self.path / CHECKPOINT

    @property
    def weights(self) -> Path:
        """Weights of the backbone."""
        return self.path / WEIGHTS

    @property
    def history(self) -> Path:
        """Course of the training, for figures."""
        return self.path / HISTORY

    @property
    def log(self) -> Path:
        """Log of the training, a line each logged step."""
        return self.path / LOG


class StateFolder(_Folder):
    """Folder of the resumable state of one training."""

    __slots__ = ()

    @property
    def progress(self) -> Path:
        """File that says how far the training is."""
        return self.path / PROGRESS


class FeaturesFolder(_Folder):
    """Folder of the features of one run on one benchmark."""

    __slots__ = ()

    @property
    def index(self) -> Path:
        """File that describes the features; it exists once all of them are there."""
        return self.path / INDEX


@dataclass(frozen=True, slots=True)
class Results:
    """The results folder.

    Attributes:
        root: Path of the folder; ``paths.results`` of the configuration.
    """

    root: Path = Path("results")

    @property
    def runs(self) -> Path:
        """Folder of all runs."""
        return self.root / "runs"

    def run(self, name: str) -> RunFolder:
        """Folder of a run."""
        return RunFolder(self.runs / name)

    @property
    def states(self) -> Path:
        """Folder of the resumable states of all trainings."""
        return self.root / "state"

    def state(self, run: str) -> StateFolder:
        """Folder of the resumable state of a training."""
        return StateFolder(self.states / run)

    def features(self, run: str, benchmark: str) -> FeaturesFolder:
        """Folder of the features of a run on a benchmark."""
        return FeaturesFolder(self.root / "features" / run / benchmark)

    @property
    def records(self) -> Path:
        """Folder of all records."""
        return self.root / "records"

    def record(self, run: str, benchmark: str) -> Path:
        """Record of a run on a benchmark."""
        return self.records / run / f"{benchmark}.json"

    def mistakes(self, run: str, benchmark: str) -> Path:
        """Page of the worst mistakes of a run on a benchmark, which is made on demand: it shows faces."""
        return self.root / "mistakes" / run / f"{benchmark}.html"

    def recipe(self, run: str) -> Path:
        """Recipe of a run."""
        return self.root / "recipes" / f"{run}.json"

    def benchmark(self, name: str, hash_: str) -> Path:
        """Specification of a benchmark, by the hash of what decides its features."""
        return self.root / "benchmarks" / f"{name}-{hash_}.json"

    def run_list(self, hash_: str) -> Path:
        """List of the runs of a plan, by the hash of its content."""
        return self.root / "plan" / f"runs-{hash_}.json"

    def making(self, name: str, hash_: str) -> Path:
        """Specification of a data set that the workflow makes."""
        return self.root / "plan" / f"{name}-{hash_[:HASH_DIGITS]}.json"

    @property
    def data(self) -> Path:
        """Folder of all data sets."""
        return self.root / "data"

    def data_set(self, name: str, hash_: str) -> Path:
        """Folder of a data set: the set itself if the workflow makes it, a link to it if it was received."""
        return self.data / f"{name}-{hash_[:HASH_DIGITS]}"

    def known_hash(self, name: str) -> Path:
        """Hash that a received data set had when it was last there."""
        return self.data / f"{name}.json"

    def file_hashes(self, name: str) -> Path:
        """Hashes of the photographs that a data set is made of."""
        return self.data / f"{name}.files.json"

    def manifest(self, name: str) -> Path:
        """Manifest of a data set that was verified outside the workflow."""
        return self.data / f"{name}.manifest.json"

    def table(self, name: str) -> Path:
        """LaTeX fragment of a table."""
        return self.root / "tables" / f"{name}.tex"

    def figure(self, name: str) -> Path:
        """Files of a figure, without their suffixes."""
        return self.root / "figures" / name

    def document(self, suffix: str) -> Path:
        """Document of all tables and figures: its source (``.tex``) or the compiled one (``.pdf``)."""
        return self.root / f"paper{suffix}"

    def comparison(self, suffix: str) -> Path:
        """Comparison of reproduced with reported values, as ``.md`` or ``.json``."""
        return self.root / f"compare{suffix}"

    def claims(self, suffix: str) -> Path:
        """Verdicts on the paper's claims, as ``.md``, ``.json`` or ``.tex``."""
        return self.root / f"claims{suffix}"

    @property
    def report(self) -> Path:
        """Page with every number and its origin."""
        return self.root / "report.html"

    @property
    def crate(self) -> Path:
        """Description of all results for machines."""
        return self.root / "ro-crate-metadata.json"

    def job_log(self, *names: str) -> Path:
        """Log of a job.

        Args:
            names: Kind of the job, then the names that tell it from others of its kind.
        """
        *folders, name = names
        return self.root.joinpath("logs", *folders, f"{name}.log")
