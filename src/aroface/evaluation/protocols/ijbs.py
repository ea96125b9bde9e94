"""Protocol ``ijbs``: people in surveillance videos, searched for among stills, bookings and other videos (IJB-S)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats import ijbs as ijbs_format
from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.frame_pooling import pool_templates
from aroface.evaluation.metrics.ijbs_search import Floats, GallerySearch, Integers, search, tpir_at_fpir
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.statistics import bootstrap
from aroface.evaluation.statistics.weighted_metrics import WeightedMetrics

RANKS = (1, 5, 10)
FPIRS = {"1e-2": 1e-2, "1e-1": 1e-1}
SEARCHES = {
    name: (f"probes_{probes.replace('-', '_')}", f"gallery_{gallery}")
    for name, (probes, gallery) in ijbs_format.SEARCHES.items()
}
"""By name of a search, the arrays with its probes and, but for ``_1`` and ``_2``, its two galleries."""


@dataclass(frozen=True, slots=True)
class Searched:
    """One search, done.

    Attributes:
        closed: Search in both galleries as one.
        parts: Searches in each gallery.
        gallery: Number of templates in both.
    """

    closed: GallerySearch
    parts: tuple[GallerySearch, GallerySearch]
    gallery: int


def evaluate(features: StoredFeatures) -> Outcome:
    """Evaluate stored features against the arrays of :func:`aroface.embedding.ijbs.open_source`.

    ``{search}_rank{1,5,10}``: the share of probes with a mate in either gallery that find one among the k best of both
    galleries as one (closed set). ``{search}_tpir_at_fpir_{1e-2,1e-1}``: the mean over the two galleries of
    :func:`.ijbs_search.tpir_at_fpir` (open set). A rate that is not defined, without any probes with
    or without a mate, is left out.

    ``{search}_legacy_rank{1,5,10}`` and ``{search}_tpir_legacy_at_fpir_{1e-2,1e-1}`` are what the released script
    gives, which credits people without a face by their mate's place in the gallery; see
    :func:`aroface.evaluation.metrics.ijbs_search.search`. They differ where scores tie, as those of such people do.

    Intervals come from a bootstrap over the probes, drawn among those with a mate in the first, in the second and in no
    gallery apart. Probes of the same person or video count as independent though they are not, so intervals are rather
    too narrow.

    Raises:
        InputError: No probe of any search has a mate.
    """
    done = run_searches(features)
    parts = [measure_search(name, searched) for name, searched in done.items()]
    if not parts:
        raise InputError("no probe has a mate in a gallery", file=features.folder, expected="subjects that are in both")
    return Outcome(
        {name: value for part in parts for name, value in part.values().items()},
        {name: ends for part in parts for name, ends in part.intervals().items()},
        _counts(features, done),
    )


def weighted_metrics(features: StoredFeatures) -> list[WeightedMetrics]:
    """The metrics of each search as functions of how often each probe counts; see :func:`evaluate`."""
    return [measure_search(name, searched) for name, searched in run_searches(features).items()]


def run_searches(features: StoredFeatures) -> dict[str, Searched]:
    """Run all of `SEARCHES` in which any probe has a mate."""
    arrays = features.arrays
    places = ("medium_offsets", "template_offsets", "template_media")
    templates, subjects = pool_templates(features.values, *map(arrays.__getitem__, places)), arrays["template_subjects"]
    done = {}
    for name, (probes, gallery) in SEARCHES.items():
        galleries = [arrays[f"{gallery}_{number}"] for number in (1, 2)]
        if np.isin(subjects[arrays[probes]], subjects[np.concatenate(galleries)]).any():
            done[name] = _search(templates, subjects, arrays[probes], galleries)
    return done


def _search(templates: Floats, subjects: Integers, probes: Integers, galleries: list[Integers]) -> Searched:
    both = np.concatenate(galleries)
    closed, *parts = (
        search(templates[probes], subjects[probes], templates[gallery], subjects[gallery])
        for gallery in (both, *galleries)
    )
    return Searched(closed, (parts[0], parts[1]), len(both))


def measure_search(name: str, searched: Searched) -> WeightedMetrics:
    """The metrics of one search, their names beginning with its ``name``."""
    closed, parts = searched.closed, searched.parts
    hits = {f"{name}_rank{rank}": closed.ranks <= rank for rank in RANKS}
    hits |= {f"{name}_legacy_rank{rank}": closed.legacy_ranks <= rank for rank in RANKS}
    opened = all(part.mated.any() and not part.mated.all() for part in parts)

    def statistic(weights: NDArray[np.int64]) -> Mapping[str, Floats]:
        found = (weights @ closed.mated).astype(np.float64)
        ranks: dict[str, Floats] = {metric: (weights @ hit) / found for metric, hit in hits.items()}
        if not opened:
            return ranks
        searches = {"tpir": parts, "tpir_legacy": [part.legacy for part in parts]}
        rates = {
            f"{name}_{kind}_at_fpir_{word}": np.mean([tpir_at_fpir(part, fpir, weights) for part in each], axis=0)
            for kind, each in searches.items()
            for word, fpir in FPIRS.items()
        }
        return ranks | rates

    return WeightedMetrics(parts[0].mated + 2 * parts[1].mated, statistic, hits)


def _counts(features: StoredFeatures, done: Mapping[str, Searched]) -> dict[str, int]:
    media = np.diff(features.arrays["template_offsets"])
    counts = {"faces": len(features.values), "templates": len(media), "templates_without_face": int(np.sum(media == 0))}
    for name, searched in done.items():
        counts[f"{name}_probes"] = len(searched.closed.mated)
        counts[f"{name}_probes_with_mate"] = int(np.count_nonzero(searched.closed.mated))
        counts[f"{name}_gallery"] = searched.gallery
    return {**counts, "bootstrap_replicates": bootstrap.REPLICATES}


PROTOCOL = EvaluationProtocol("ijbs", evaluate, weighted_metrics)
