"""Response of a feature's norm to alignment errors: does a network still know that a face is misaligned?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from aroface.embedding.feature_store import StoredFeatures

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NormResponse:
    """Norms of the probes under one error, beside their own without it.

    Attributes:
        quality: Quality of the images, ``hq``, ``r24`` ...
        factor: Kind of error.
        level: Size of the error.
        probes: Number of probes.
        ratio: Mean of each probe's norm by its own without the error.
        falls: Share of the probes whose norm the error lowers.
        recognised: Area under the ROC of the norm as a detector of the error: probability that a probe with it has the
            lower norm of two different probes; 0.5 where the norm does not tell.
    """

    quality: str
    factor: str
    level: float
    probes: int
    ratio: float
    falls: float
    recognised: float


def norm_responses(features: StoredFeatures) -> list[NormResponse]:
    """Measure the response to each error of one factor alone.

    Args:
        features: Stored features of the protocol ``sensitivity`` on pairs.
    """
    count = len(features.arrays["same"])
    clean: dict[str, Floats] = {}
    found = []
    for variant in features.index["layout"]["variants"]:
        rows = features.values[variant["second"] : variant["second"] + count]
        norms = np.linalg.norm(np.asarray(rows, np.float64), axis=1)
        if variant["factor"] is None:
            clean[variant["quality"]] = norms
        elif "other" not in variant:
            found.append(_response(variant["quality"], variant["factor"], variant["level"], norms, clean))
    return found


def _response(quality: str, factor: str, level: float, norms: Floats, clean: dict[str, Floats]) -> NormResponse:
    own = clean[quality]
    kept = own > 0
    ratio = float(np.mean(norms[kept] / own[kept])) if kept.any() else float("nan")
    return NormResponse(
        quality, factor, level, len(norms), ratio, float(np.mean(norms < own)), _probability_below(norms, own)
    )


def _probability_below(one: Floats, other: Floats) -> float:
    """Probability that a value of the one is below a value of the other; equal ones count half."""
    ranks = rankdata(np.concatenate([one, other]))[: len(one)]
    above = ranks.sum() - len(one) * (len(one) + 1) / 2
    return float(1 - above / (len(one) * len(other)))


def by_factor(responses: Sequence[NormResponse], quality: str, factor: str) -> list[NormResponse]:
    """Responses of one quality and factor, in the order of their levels."""
    chosen = [each for each in responses if (each.quality, each.factor) == (quality, factor)]
    return sorted(chosen, key=lambda each: each.level)
