"""Observations of a simulation's repetitions, and their summary: coverage, size, rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal

import numpy as np
from numpy.random import Generator

Kind = Literal["interval", "test", "share"]
Key = tuple[Kind, str]
Observations = Mapping[Key, tuple[float, ...]]
"""Of one repetition, by kind and quantity: of an interval value, low, high and the truth, which is left out where it is
the mean of the values over all repetitions; of a test its p-value; a share as it is, 1 of an event that happened."""

LEVEL = 0.05
COVERAGE = (0.93, 0.995)
SIZE = (0.0, 0.07)
ANYTHING = (0.0, 1.0)
"""Bounds of what is told for comparison, and of right verdicts: the more seeds, the more of them."""


@dataclass(frozen=True)
class Simulation:
    """A model with known truth, and one repetition of what is measured on it.

    Attributes:
        name: Name of the model.
        model: Description of the draws, in a sentence.
        repeat: Function from a source of draws to the observations of one repetition.
        smoke: Number of repetitions of a short run.
        full: Number of repetitions of a whole run.
        code: Folders and files of the repository whose code is measured.
        bounds: Range in which a rate has to lie, by pattern of ``kind quantity``; the first that fits counts, else
            `COVERAGE` of intervals and `SIZE` of tests and shares.
        before: Values that the earlier methods held, by the same patterns.
    """

    name: str
    model: str
    repeat: Callable[[Generator], Observations]
    smoke: int
    full: int
    code: tuple[str, ...]
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)

    @property
    def chunk(self) -> int:
        """Number of repetitions that are kept or lost together."""
        return -(-self.smoke // 30)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        simulation: Name of the simulation.
        kind: Coverage of an interval, size of a test, or mean of a share.
        quantity: Quantity that it is of.
        repetitions: Number of repetitions in which there was one.
        without: Number of repetitions in which there was none.
        rate: Share of intervals that hold the truth, of tests below 5 %, or mean of the shares.
        error: Monte Carlo standard error of the rate.
        low: Share of intervals wholly below the truth.
        high: Share of intervals wholly above it.
        bounds: Range in which the rate has to lie.
        before: Value that the earlier method held.
    """

    simulation: str
    kind: Kind
    quantity: str
    repetitions: int
    without: int
    rate: float
    error: float
    low: float | None
    high: float | None
    bounds: tuple[float, float]
    before: str

    @property
    def holds(self) -> bool:
        """True unless the rate lies out of its bounds by more than three Monte Carlo errors."""
        low, high = self.bounds
        return low - 3 * self.error <= self.rate <= high + 3 * self.error

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Row:
        """A row of a record."""
        return cls(**{**entry, "bounds": tuple(entry["bounds"])})


def summarise(simulation: Simulation, repetitions: Iterable[Observations]) -> list[Row]:
    """The rows of a simulation, in the order in which they were first observed."""
    gathered: dict[Key, list[tuple[float, ...]]] = {}
    for observations in repetitions:
        for key, values in observations.items():
            gathered.setdefault(key, []).append(values)
    rows = [_row(simulation, kind, quantity, np.array(found)) for (kind, quantity), found in gathered.items()]
    return [row for row in rows if row]


def _row(simulation: Simulation, kind: Kind, quantity: str, found: np.ndarray) -> Row | None:
    """The row of one quantity; none where no repetition has one."""
    there = found[~np.isnan(found).any(axis=1)]
    if not len(there):
        return None
    low = high = None
    if kind == "interval":
        truth = there[:, 3] if there.shape[1] > 3 else np.ma.masked_invalid(there[:, 0]).mean()
        below, above = there[:, 2] < truth, there[:, 1] > truth
        low, high = float(below.mean()), float(above.mean())
        happened = 1.0 - (below | above)
    else:
        happened = 1.0 * (there[:, 0] < LEVEL) if kind == "test" else there[:, 0]
    rate = float(happened.mean())
    usual = COVERAGE if kind == "interval" else SIZE
    return Row(
        simulation.name,
        kind,
        quantity,
        len(there),
        len(found) - len(there),
        rate,
        max(float(happened.std()), math.sqrt(0.5 / len(there))) / math.sqrt(len(there)),
        low,
        high,
        _first(simulation.bounds, f"{kind} {quantity}", usual),
        _first(simulation.before, f"{kind} {quantity}", ""),
    )


def _first(patterns: Mapping[str, Any], name: str, otherwise: Any) -> Any:
    return next((value for pattern, value in patterns.items() if fnmatch(name, pattern)), otherwise)
