"""Percentile bootstrap: how far a metric would move on another draw of pairs or probes (Efron, Ann. Statist. 1979).

A statistic maps multiplicities (B, N), how often each of N items occurs in each of B replicates, to named values (B,).
The same ``strata``, ``replicates`` and ``seed`` give the same draws: samples of two conditions measured on the same
items are therefore paired, and their difference, replicate by replicate, is the bootstrap of the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Multiplicities = NDArray[np.int64]
Statistic = Callable[[Multiplicities], Mapping[str, Floats]]

REPLICATES = 1000
SEED = 0
LEVEL = 0.95
_PURPOSE = 0x626F6F74  # "boot": keeps these draws apart from any other use of the same seed
_CHUNK = 50


def samples(
    statistic: Statistic, strata: NDArray[Any], replicates: int = REPLICATES, seed: int = SEED
) -> dict[str, Floats]:
    """Values (replicates,) of each named statistic over replicates drawn with replacement within each stratum.

    Args:
        statistic: Function from multiplicities to metrics, see the module.
        strata: (N,) label of each item; every replicate holds as many items of each label as there are.
        replicates: Number of draws.
        seed: Seed of the draws.
    """
    chunks = [statistic(drawn) for drawn in _draws(strata, replicates, seed)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _draws(strata: NDArray[Any], replicates: int, seed: int) -> Iterator[Multiplicities]:
    rng = np.random.default_rng([seed, _PURPOSE])
    members = [np.flatnonzero(strata == label) for label in np.unique(strata)]
    for start in range(0, replicates, _CHUNK):
        shape = (min(_CHUNK, replicates - start), len(strata))
        rows = len(strata) * np.arange(shape[0])[:, None]
        picks = [rows + items[rng.integers(len(items), size=(shape[0], len(items)))] for items in members]
        flat = np.concatenate([each.ravel() for each in picks])
        yield np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def interval(values: Floats) -> tuple[float, float]:
    """The central 95 % of bootstrap samples (B,): the percentile interval, (low, high)."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
