"""Repetitions on disk, so that a run goes on where it was ended, and the record of a whole run."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aroface import __version__
from aroface.files import digest, write_json
from aroface.provenance import versions
from known_truth.rows import Key, Observations, Row, Simulation

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "performance" / "records" / "coverage.json"


def rng_of(simulation: Simulation, seed: int, repetition: int) -> np.random.Generator:
    """Source of draws of one repetition, which depends on no other."""
    return np.random.default_rng([seed, zlib.crc32(simulation.name.encode()), repetition])


def code_of(simulation: Simulation) -> str:
    """Hash of all code that the observations of a simulation depend on."""
    places = [ROOT / each for each in simulation.code]
    paths = [path for place in places for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    return digest({str(path.relative_to(ROOT)): path.read_text() for path in paths}, 16)


class Kept:
    """Observations of one simulation on disk, one line a chunk of repetitions.

    Args:
        folder: Folder of the run.
        simulation: Simulation.
        seed: Seed of the run; observations of another one, or of other code, are begun anew.
    """

    def __init__(self, folder: Path, simulation: Simulation, seed: int) -> None:
        self._path = folder / f"{simulation.name.replace(' ', '-').replace(',', '')}.jsonl"
        self._head = {"simulation": simulation.name, "seed": seed, "code": code_of(simulation)}

    def chunks(self) -> dict[int, list[Observations]]:
        """Observations by the number of the chunk."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith("}")]
        if not whole or whole[0] != self._head:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._head) + "\n")
            return {}
        return {each["chunk"]: [*map(_read, each["repetitions"])] for each in whole[1:]}

    def add(self, chunk: int, repetitions: Sequence[Observations]) -> None:
        """Keep a further chunk."""
        with open(self._path, "a") as file:
            file.write(json.dumps({"chunk": chunk, "repetitions": [*map(_written, repetitions)]}) + "\n")


def _written(observations: Observations) -> dict[str, tuple[float, ...]]:
    return {f"{kind} {quantity}": tuple(map(float, values)) for (kind, quantity), values in observations.items()}


def _read(written: Mapping[str, Sequence[float]]) -> dict[Key, tuple[float, ...]]:
    keys: Iterator[Any] = (name.split(" ", 1) for name in written)
    return {(kind, quantity): tuple(values) for (kind, quantity), values in zip(keys, written.values(), strict=True)}


def write_record(path: Path, rows: Sequence[Row], models: Mapping[str, str], *, seed: int, mode: str) -> None:
    """Write the record of a run."""
    names = ("numpy", "scipy")
    write_json(
        path,
        {
            "aroface": __version__,
            "versions": {name: version for name, version in versions().items() if name in names},
            "seed": seed,
            "mode": mode,
            "models": models,
            "rows": [_rounded(asdict(row)) for row in rows],
        },
    )


def _rounded(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 5) if isinstance(value, float) else value for name, value in entry.items()}
