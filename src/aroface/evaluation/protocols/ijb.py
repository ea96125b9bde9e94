"""Protocol ``ijb``: IJB-B and IJB-C, pairs of templates (1:1) and the search in two galleries (1:N)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.left_out_points import tars_left_out
from aroface.evaluation.metrics.left_out_search import rates_left_out
from aroface.evaluation.metrics.open_set import RANKS, Found, Groups, rates, search
from aroface.evaluation.metrics.operating_curves import Curve, tar_far, tpir_fpir
from aroface.evaluation.metrics.operating_points import FARS, admitted, paper_tars, strict_tars
from aroface.evaluation.metrics.pair_scores import pair_scores
from aroface.evaluation.metrics.template_pooling import PooledTemplates, pool
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome, outcome_of
from aroface.evaluation.protocols.pairs import check_kinds
from aroface.evaluation.statistics.jackknife import LeaveOut, groups_of
from aroface.evaluation.statistics.people import linked
from aroface.evaluation.statistics.people_metrics import PeopleMetrics

Booleans = NDArray[np.bool_]
Rows = NDArray[np.integer[Any]]
Scores = NDArray[np.float32]


def evaluate(features: StoredFeatures) -> Outcome:
    """Evaluate stored features of images, with the arrays of :func:`aroface.embedding.ijb.open_source`.

    The curve of TAR against FAR has ``tar_strict_at_far_*`` as its values, that of TPIR against FPIR
    ``tpir_standard_at_fpir_*``.

    Raises:
        InputError: Pairs of one kind only, no probe with a mate, or a template without an image.
    """
    evaluated = _evaluate(features)
    scores, same, gallery_search = evaluated.scores, features.arrays["same"], evaluated.found
    genuine = int(np.count_nonzero(same))
    counts: dict[str, int] = {
        "images": len(features.values),
        "templates": len(evaluated.templates.ids),
        "people": evaluated.measured[0].left_out.units,
        "pairs": len(same),
        "genuine": genuine,
        "impostors": len(same) - genuine,
    }
    curves: dict[str, Curve] = {"tar_far": tar_far(scores[same], scores[~same])}
    if gallery_search is not None:
        counts |= _search_counts(features, gallery_search)
        searched = tpir_fpir(gallery_search)
        curves |= {"tpir_fpir": searched} if searched else {}
    return outcome_of(evaluated.measured, counts, curves=curves)


def measure(features: StoredFeatures) -> list[PeopleMetrics]:
    """Measure the rates of the pairs, and of the search, with and without each group of people.

    Raises:
        InputError: See :func:`evaluate`.
    """
    return _evaluate(features).measured


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """All that is measured on one set of features; without the lists of the search nothing is found."""

    templates: PooledTemplates
    scores: Scores
    found: Found | None
    measured: list[PeopleMetrics]


def _evaluate(features: StoredFeatures) -> _Evaluated:
    same, pairs = features.arrays["same"], features.arrays["pairs"]
    check_kinds(same, features)
    templates = pool_stored(features)
    first, second = templates.rows(pairs[:, 0]), templates.rows(pairs[:, 1])
    scores = pair_scores(templates.vectors, first, second)
    people = people_of(features, templates)
    measured = [measure_verification(scores, first, second, same, people)]
    if "probes" not in features.arrays:
        return _Evaluated(templates, scores, None, measured)
    gallery_search = search_stored(features, templates, people)
    if not gallery_search.mated.any():
        raise InputError(
            f"none of {len(gallery_search.ranks)} probes has a mate in a gallery",
            file=features.folder,
            expected="subjects of the lists of probes in those of the galleries",
        )
    rows = templates.rows(features.arrays["probes"][:, 0])
    return _Evaluated(
        templates,
        scores,
        gallery_search,
        [*measured, measure_search(gallery_search, people.numbers[rows], people.units)],
    )


@dataclass(frozen=True, slots=True)
class TemplatePeople:
    """People of T templates.

    Attributes:
        numbers: (T,) person of each.
        groups: (T,) group of this person.
        units: Number of people.
    """

    numbers: NDArray[np.int64]
    groups: NDArray[np.uint8]
    units: int


def people_of(features: StoredFeatures, templates: PooledTemplates) -> TemplatePeople:
    """People of the templates: those whom genuine pairs link, or to whom the lists of the search give one subject.

    The groups are filled evenly with the people of each gallery, with those who have genuine pairs, and the rest.
    """
    arrays, count = features.arrays, len(templates.ids)
    first, second = (templates.rows(column) for column in arrays["pairs"][arrays["same"]].T)
    names = [name for name in ("probes", *(f"gallery_{name}" for name in _galleries(features))) if name in arrays]
    rows = {name: templates.rows(arrays[name][:, 0]) for name in names}
    listed = np.concatenate([arrays[name][:, 1] for name in names]) if names else np.empty(0, np.int64)
    subjects, numbers = np.unique(listed, return_inverse=True)
    one = np.concatenate([first, *rows.values()])
    other = np.concatenate([second, count + numbers])
    people = linked(one, other, count + len(subjects))[:count]
    units = int(people.max()) + 1
    strata = np.zeros(units, np.int64)
    for bit, members in enumerate([first, *(rows[name] for name in names if name != "probes")]):
        strata[np.unique(people[members])] += 1 << bit
    return TemplatePeople(people, groups_of(strata)[people].astype(np.uint8), units)


def measure_verification(
    scores: Scores, first: Rows, second: Rows, same: Booleans, people: TemplatePeople
) -> PeopleMetrics:
    """Measure the rates of labelled pairs with and without each group of people.

    A rate at a FAR that lets no impostor pass depends on a single one. It has a value and no interval, which would hold
    81 to 85 % of the truths in place of 95.

    Args:
        scores: (P,) of pairs.
        first: (P,) rows of templates.
        second: (P,) rows of templates.
        same: (P,) labels, true for a genuine pair; both kinds must occur.
        people: People of the templates.
    """
    values = verification_metrics(scores, same)
    impostors = np.count_nonzero(~same)
    fars = {name: far for name, far in FARS.items() if admitted(int(impostors), far) > 0}
    known = tars_left_out(scores, first, second, same, people.groups, fars)
    unknown = np.full(int(people.groups.max()) + 1, np.nan)
    mated = len(np.unique(people.numbers[first[same]]))
    return PeopleMetrics(
        values,
        LeaveOut("people", people.units, {name: known.values.get(name, unknown) for name in values}),
        dict.fromkeys(values, mated),
        dict.fromkeys(values, 1 / np.count_nonzero(same)),
        together=known.together,
    )


def measure_search(found: Found, people: NDArray[np.int64], units: int) -> PeopleMetrics:
    """Measure the rates of a search with and without each group of people.

    Args:
        found: Results of a search that knows the groups of people.
        people: (P,) person of each probe.
        units: Number of people on the benchmark.
    """
    values, without = rates(found), rates_left_out(found)
    closed = found.mated.any(axis=1)
    steps = dict.fromkeys(values, 1 / np.count_nonzero(closed))
    steps |= {name: 0.5 / found.mated.sum(axis=0).max() for name in values if "standard" in name}
    return PeopleMetrics(
        values,
        LeaveOut("people", units, {name: without.values[name] for name in values}),
        dict.fromkeys(values, len(np.unique(people[closed]))),
        steps,
        {f"rank{rank}": closed & (found.ranks <= rank) for rank in RANKS},
        without.together,
    )


def pool_stored(features: StoredFeatures) -> PooledTemplates:
    """Pool the templates of stored features, weighted by the protocol's options.

    By norm and by the detector's score in insightface's script; AdaFace's own leaves the score out, which is
    ``detector_weighting: false``.
    """
    arrays, options = features.arrays, features.index["protocol"]["options"]
    return pool(
        features.values,
        arrays["templates"],
        arrays["media"],
        arrays["detector_scores"] if options["detector_weighting"] else None,
        norm_weighting=options["norm_weighting"],
    )


def search_stored(features: StoredFeatures, templates: PooledTemplates, people: TemplatePeople) -> Found:
    """Search the listed probes in the listed galleries, with the groups of people."""
    probes = features.arrays["probes"]
    galleries = [features.arrays[f"gallery_{name}"] for name in _galleries(features)]
    rows, *enrolled = (templates.rows(each[:, 0]) for each in (probes, *galleries))
    groups = Groups(*(people.groups[each].astype(np.int64) for each in (rows, np.concatenate(enrolled))))
    parts = [(templates.vectors[each], gallery[:, 1]) for each, gallery in zip(enrolled, galleries, strict=True)]
    return search(templates.vectors[rows], probes[:, 1], parts, groups=groups)


def _galleries(features: StoredFeatures) -> list[str]:
    return [*features.index["layout"].get("galleries", ())]


def verification_metrics(scores: Scores, same: Booleans) -> dict[str, float]:
    """TAR at each of ``FARS``: ``tar_at_far_*`` as the paper has it, ``tar_strict_at_far_*`` by its words.

    Args:
        scores: (P,) of pairs.
        same: (P,) labels, true for a genuine pair; both kinds must occur.
    """
    genuine, impostors = scores[same], scores[~same]
    paper, strict = (tars(genuine, impostors, FARS.values()) for tars in (paper_tars, strict_tars))
    return {
        **{f"tar_at_far_{name}": value for name, value in zip(FARS, paper, strict=True)},
        **{f"tar_strict_at_far_{name}": value for name, value in zip(FARS, strict, strict=True)},
    }


def _search_counts(features: StoredFeatures, found: Found) -> dict[str, int]:
    names = _galleries(features)
    mated = found.mated
    counts = {f"gallery_{name}": len(features.arrays[f"gallery_{name}"]) for name in names}
    counts |= {f"mated_{name}": int(count) for name, count in zip(names, mated.sum(axis=0), strict=True)}
    return {"probes": len(found.ranks), "probes_with_mate": int(mated.any(axis=1).sum()), **counts}


PROTOCOL = EvaluationProtocol("ijb", evaluate, measure)
