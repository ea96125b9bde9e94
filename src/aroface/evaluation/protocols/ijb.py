"""Protocol ``ijb``: IJB-B and IJB-C, pairs of templates (1:1) and the search in two galleries (1:N)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.open_set import RANKS, Found, rates, search
from aroface.evaluation.metrics.operating_curves import tar_far, tpir_fpir
from aroface.evaluation.metrics.operating_points import FARS, paper_tars, strict_tars
from aroface.evaluation.metrics.pair_scores import pair_scores
from aroface.evaluation.metrics.template_pooling import PooledTemplates, pool
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.protocols.pairs import check_kinds
from aroface.evaluation.statistics import bootstrap, subject_bootstrap
from aroface.evaluation.statistics.exact import clopper_pearson
from aroface.evaluation.statistics.weighted_metrics import WeightedMetrics

Booleans = NDArray[np.bool_]
Scores = NDArray[np.float32]


def evaluate(features: StoredFeatures) -> Outcome:
    """Evaluate stored features of images, with the arrays of :func:`aroface.embedding.ijb.open_source`.

    The curve of TAR against FAR has ``tar_strict_at_far_*`` as its values, that of TPIR against FPIR
    ``tpir_standard_at_fpir_*``.

    Raises:
        InputError: Pairs of one kind only, no probe with a mate, or a template without an image.
    """
    templates = pool_stored(features)
    pairs = _verification(features, templates)
    if "probes" not in features.arrays:
        return pairs
    found = search_stored(features, templates)
    if not found.mated.any():
        raise InputError(
            f"none of {len(found.ranks)} probes has a mate in a gallery",
            file=features.folder,
            expected="subjects of the lists of probes in those of the galleries",
        )
    samples = bootstrap.samples(lambda weights: rates(found, weights), found.strata)
    searched = tpir_fpir(found)
    return Outcome(
        {**pairs.metrics, **{name: value.item() for name, value in rates(found).items()}},
        {**pairs.intervals, **{name: bootstrap.interval(values) for name, values in samples.items()}},
        {**pairs.counts, **_search_counts(features, found)},
        curves={**pairs.curves, **({"tpir_fpir": searched} if searched else {})},
    )


def weighted_metrics(features: StoredFeatures) -> list[WeightedMetrics]:
    """The strict TARs as functions of how often each subject counts, and the search's metrics, each probe.

    Raises:
        InputError: Pairs of one kind only.
    """
    same, pairs = features.arrays["same"], features.arrays["pairs"]
    check_kinds(same, features)
    templates = pool_stored(features)
    first, second = templates.rows(pairs[:, 0]), templates.rows(pairs[:, 1])
    scores = pair_scores(templates.vectors, first, second)
    verification = subject_bootstrap.strict_measure(scores, first, second, same, len(templates.ids), FARS)
    if "probes" not in features.arrays:
        return [verification]
    found = search_stored(features, templates)
    closed = found.mated.any(axis=1)
    hits = {f"rank{rank}": closed & (found.ranks <= rank) for rank in RANKS}
    return [verification, WeightedMetrics(found.strata, partial(rates, found), hits)]


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


def search_stored(features: StoredFeatures, templates: PooledTemplates) -> Found:
    """Search the listed probes in the listed galleries."""
    probes = features.arrays["probes"]
    galleries = [features.arrays[f"gallery_{name}"] for name in features.index["layout"]["galleries"]]
    return search(
        templates.vectors[templates.rows(probes[:, 0])],
        probes[:, 1],
        [(templates.vectors[templates.rows(gallery[:, 0])], gallery[:, 1]) for gallery in galleries],
    )


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


def _verification(features: StoredFeatures, templates: PooledTemplates) -> Outcome:
    """Metrics of pairs with two intervals each: a bootstrap over subjects, and the binomial one of so many pairs."""
    same, pairs = features.arrays["same"], features.arrays["pairs"]
    check_kinds(same, features)
    first, second = templates.rows(pairs[:, 0]), templates.rows(pairs[:, 1])
    scores = pair_scores(templates.vectors, first, second)
    metrics = verification_metrics(scores, same)
    samples = subject_bootstrap.tar_samples(scores, first, second, same, len(templates.ids), FARS)
    genuine = int(np.count_nonzero(same))
    counts: dict[str, Any] = {
        "images": len(features.values),
        "templates": len(templates.ids),
        "pairs": len(same),
        "genuine": genuine,
        "impostors": len(same) - genuine,
        "pair_bootstrap_replicates": subject_bootstrap.REPLICATES,
    }
    intervals = {name: bootstrap.interval(values) for name, values in samples.items() if len(values)}
    exact = {f"{name}_binomial": clopper_pearson(round(tar * genuine), genuine) for name, tar in metrics.items()}
    curves = {"tar_far": tar_far(scores[same], scores[~same])}
    return Outcome(metrics, {**intervals, **exact}, counts, curves=curves)


def _search_counts(features: StoredFeatures, found: Found) -> dict[str, int]:
    names = features.index["layout"]["galleries"]
    mated = found.mated
    counts = {f"gallery_{name}": len(features.arrays[f"gallery_{name}"]) for name in names}
    counts |= {f"mated_{name}": int(count) for name, count in zip(names, mated.sum(axis=0), strict=True)}
    return {
        "probes": len(found.ranks),
        "probes_with_mate": int(mated.any(axis=1).sum()),
        **counts,
        "bootstrap_replicates": bootstrap.REPLICATES,
    }


PROTOCOL = EvaluationProtocol("ijb", evaluate, weighted_metrics)
