"""Protocol ``ijbs``: people in surveillance videos, searched for among stills, bookings and other videos (IJB-S)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aroface.datasets.formats import ijbs as ijbs_format
from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.frame_pooling import pool_templates
from aroface.evaluation.metrics.ijbs_search import Floats, GallerySearch, GroupedPeople, Integers, search, tpir_at_fpir
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome, outcome_of
from aroface.evaluation.statistics.jackknife import LeaveOut, groups_of
from aroface.evaluation.statistics.people_metrics import PeopleMetrics

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
        subjects: (P,) people of the probes.
        units: Number of people on the benchmark.
    """

    closed: GallerySearch
    parts: tuple[GallerySearch, GallerySearch]
    gallery: int
    subjects: Integers
    units: int


def evaluate(features: StoredFeatures) -> Outcome:
    """Evaluate stored features against the arrays of :func:`aroface.embedding.ijbs.open_source`.

    ``{search}_rank{1,5,10}``: the share of probes with a mate in either gallery that find one among the k best of both
    galleries as one (closed set). ``{search}_tpir_at_fpir_{1e-2,1e-1}``: the mean over the two galleries of
    :func:`.ijbs_search.tpir_at_fpir` (open set). A rate that is not defined, without any probes with
    or without a mate, is left out.

    ``{search}_legacy_rank{1,5,10}`` and ``{search}_tpir_legacy_at_fpir_{1e-2,1e-1}`` are what the released script
    gives, which credits people without a face by their mate's place in the gallery; see
    :func:`aroface.evaluation.metrics.ijbs_search.search`. They differ where scores tie, as those of such people do.

    Raises:
        InputError: No probe of any search has a mate.
    """
    done = run_searches(features)
    if not done:
        raise InputError("no probe has a mate in a gallery", file=features.folder, expected="subjects that are in both")
    return outcome_of([measure_search(name, searched) for name, searched in done.items()], _counts(features, done))


def measure(features: StoredFeatures) -> list[PeopleMetrics]:
    """Measure the metrics of each search with and without each group of people; see :func:`evaluate`."""
    return [measure_search(name, searched) for name, searched in run_searches(features).items()]


def run_searches(features: StoredFeatures) -> dict[str, Searched]:
    """Run all of `SEARCHES` in which any probe has a mate."""
    arrays = features.arrays
    places = ("medium_offsets", "template_offsets", "template_media")
    templates, subjects = pool_templates(features.values, *map(arrays.__getitem__, places)), arrays["template_subjects"]
    people = groups_of_people(arrays)
    done = {}
    for name, (probes, gallery) in SEARCHES.items():
        galleries = [arrays[f"{gallery}_{number}"] for number in (1, 2)]
        if np.isin(subjects[arrays[probes]], subjects[np.concatenate(galleries)]).any():
            done[name] = search_both(templates, people, arrays[probes], galleries)
    return done


def groups_of_people(arrays: Mapping[str, Integers]) -> GroupedPeople:
    """People of all templates, and their groups, filled evenly with those of each gallery."""
    subjects, numbers = np.unique(arrays["template_subjects"], return_inverse=True)
    strata = np.zeros(len(subjects), np.int64)
    for bit, name in enumerate(sorted(name for name in arrays if name.startswith("gallery_"))):
        strata[np.unique(numbers[arrays[name]])] += 1 << bit
    return GroupedPeople(arrays["template_subjects"], groups_of(strata)[numbers])


def search_both(templates: Floats, people: GroupedPeople, probes: Integers, galleries: Sequence[Integers]) -> Searched:
    """Search probes in two galleries, and in both as one.

    Args:
        templates: (T, D) unit vectors, or zero.
        people: People of the templates, and their groups.
        probes: Rows of templates.
        galleries: Rows of the templates of each gallery.
    """
    both, groups = np.concatenate(galleries), int(people.groups.max()) + 1

    def chosen(rows: Integers) -> GroupedPeople:
        return GroupedPeople(people.subjects[rows], people.groups[rows])

    closed, *parts = (
        search(templates[probes], chosen(probes), templates[gallery], chosen(gallery), groups)
        for gallery in (both, *galleries)
    )
    return Searched(closed, (parts[0], parts[1]), len(both), people.subjects[probes], len(np.unique(people.subjects)))


def measure_search(name: str, searched: Searched) -> PeopleMetrics:
    """Measure one search with and without each group of people; metrics' names begin with its ``name``."""
    values = {
        metric: value for metric, value in _rates(name, searched.closed, searched.parts).items() if np.isfinite(value)
    }
    left_out: dict[str, list[float]] = {metric: [] for metric in values}
    for group in range(searched.closed.ahead.shape[1]):
        closed, *parts = (each.without(group) for each in (searched.closed, *searched.parts))
        rates = _rates(name, closed, parts)
        for metric, row in left_out.items():
            row.append(rates[metric])
    mated, closed = [int(np.count_nonzero(part.mated)) for part in searched.parts], searched.closed
    hits = {f"{name}_rank{rank}": closed.ranks <= rank for rank in RANKS}
    hits |= {f"{name}_legacy_rank{rank}": closed.legacy_ranks <= rank for rank in RANKS}
    steps = dict.fromkeys(values, 0.5 / max(mated)) | dict.fromkeys(hits, 1 / np.count_nonzero(closed.mated))
    return PeopleMetrics(
        values,
        LeaveOut("people", searched.units, {metric: np.array(each) for metric, each in left_out.items()}),
        dict.fromkeys(values, len(np.unique(searched.subjects[closed.mated]))),
        steps,
        hits,
    )


def _rates(name: str, closed: GallerySearch, parts: Sequence[GallerySearch]) -> dict[str, float]:
    """The metrics of one search; rates that are not defined are left out where all people are there."""
    ranks = {"rank": closed.ranks, "legacy_rank": closed.legacy_ranks}
    values = {
        f"{name}_{kind}{rank}": float(np.mean(each[closed.mated] <= rank)) if closed.mated.any() else np.nan
        for kind, each in ranks.items()
        for rank in RANKS
    }
    searches = {"tpir": parts, "tpir_legacy": [part.legacy for part in parts]}
    for kind, each in searches.items():
        for word, fpir in FPIRS.items():
            values[f"{name}_{kind}_at_fpir_{word}"] = float(np.mean([tpir_at_fpir(part, fpir) for part in each]))
    return values


def _counts(features: StoredFeatures, done: Mapping[str, Searched]) -> dict[str, int]:
    media = np.diff(features.arrays["template_offsets"])
    counts = {"faces": len(features.values), "templates": len(media), "templates_without_face": int(np.sum(media == 0))}
    counts["people"] = len(np.unique(features.arrays["template_subjects"]))
    for name, searched in done.items():
        counts[f"{name}_probes"] = len(searched.closed.mated)
        counts[f"{name}_probes_with_mate"] = int(np.count_nonzero(searched.closed.mated))
        counts[f"{name}_gallery"] = searched.gallery
    return counts


PROTOCOL = EvaluationProtocol("ijbs", evaluate, measure)
