"""The registries of training sets and benchmarks: who provides them, under which terms, and what must be on disk."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from aroface.schemas import read_yaml, validate


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training set that has to be requested from its provider.

    Attributes:
        key: its name in the configuration.
        title: its name in tables.
        provider: who gives it out.
        licence: the terms, in a few words.
        request: page where it is asked for or found.
        listed_as: its name on that page.
        citation: of the paper that describes it.
        folder: where it lies under the data folder.
        files: in that folder.
        counts: what its provider says it holds, as far as published.
    """

    key: str
    title: str
    provider: str
    licence: str
    request: str
    listed_as: str
    citation: str
    folder: str
    files: tuple[str, ...]
    counts: dict[str, int]

    @property
    def required(self) -> tuple[str, ...]:
        """What must be there, relative to the data folder."""
        return tuple(f"{self.folder}/{name}" for name in self.files)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark that has to be requested from its provider; attributes that `Dataset` has mean the same here.

    Attributes:
        protocol: by which it is evaluated.
        path: what is evaluated, relative to the data folder.
        files: files and folders that must be there, relative to the data folder.
        options: how the literature embeds it: color, flip, fusion, alignment.
    """

    key: str
    title: str
    protocol: Literal["pairs", "tinyface"]
    provider: str
    licence: str
    request: str
    listed_as: str
    citation: str
    path: str
    files: tuple[str, ...]
    counts: dict[str, int]
    options: dict[str, Any]

    @property
    def required(self) -> tuple[str, ...]:
        """What must be there, relative to the data folder."""
        return self.files


def read_datasets(path: str | PathLike[str]) -> dict[str, Dataset]:
    """The registry of training sets by key.

    Raises:
        InputError: the file is missing or is not what ``datasets.schema.json`` says.
    """
    return {key: Dataset(**entry) for key, entry in _read(path, "datasets").items()}


def read_benchmarks(path: str | PathLike[str]) -> dict[str, Benchmark]:
    """The registry of benchmarks by key.

    Raises:
        InputError: the file is missing or is not what ``benchmarks.schema.json`` says.
    """
    return {key: Benchmark(**entry) for key, entry in _read(path, "benchmarks").items()}


def missing(entry: Dataset | Benchmark, data_dir: Path) -> str | None:
    """One line: what is missing under ``data_dir``, where to get it and where to put it; None if nothing is."""
    absent = [name for name in entry.required if not (data_dir / name).exists()]
    if not absent:
        return None
    files = ", ".join(absent)
    return (
        f"{entry.title}: not in {data_dir}: {files}; request it from {entry.provider} ({entry.licence}), "
        f"{entry.request}, there named {entry.listed_as}, and put the files under these names into {data_dir}"
    )


def listing(data_dir: Path, registries: Path = Path("workflow/registries")) -> list[str]:
    """A line for each training set and benchmark: key, title, what it holds, and whether it is there.

    Args:
        data_dir: where received sets lie.
        registries: folder of ``datasets.yaml`` and ``benchmarks.yaml``.

    Raises:
        InputError: a registry is missing or malformed.
    """
    entries: list[Dataset | Benchmark] = [*read_datasets(registries / "datasets.yaml").values()]
    entries += read_benchmarks(registries / "benchmarks.yaml").values()
    rows = []
    for entry in entries:
        counts = ", ".join(f"{count:,} {what}" for what, count in entry.counts.items())
        state = "there" if missing(entry, data_dir) is None else f"not in {data_dir}; see {entry.request}"
        rows.append((entry.key, entry.title, counts, state))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows]


def _read(path: str | PathLike[str], schema: str) -> dict[str, dict[str, Any]]:
    entries = read_yaml(path)
    validate(entries, schema, file=path)
    return {key: {"key": key, **entry, "files": tuple(entry["files"])} for key, entry in entries.items()}
