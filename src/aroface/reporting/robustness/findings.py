"""Sentences of a robustness report, each with its numbers, and a note on differences that are not significant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aroface.embedding.alignment_sweep import HIGH_QUALITY
from aroface.embedding.worst_case import FACTOR as WORST
from aroface.evaluation.robustness import MAPS, Facts, Perturbation, Quantity, Robustness, Sweep, coarse, tolerated
from aroface.evaluation.statistics.multiplicity import holm
from aroface.faces.degrade import ALIGNMENT_ERRORS
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.humanize import listing
from aroface.reporting.statistics.multiplicity import SIGNIFICANT
from aroface.reporting.text import metric_name, quality_name

UNITS = {"scale": (100.0, " %"), "rotation": (1.0, "°"), "shift": (100.0, " %"), "joint": (100.0, " %")}
"""Factor and unit of a level."""
SINGLE = ("scale", "rotation", "shift")
DETECTOR_SDS = 2
LEAST_ACCEPTED = 10
"""Impostor pairs above the threshold, below which a TAR at a FAR is told to rest on too few."""


class RobustnessFinding(NamedTuple):
    """A word on what it is about, and one paragraph."""

    subject: str
    text: str


def findings(found: Robustness, points: float) -> list[RobustnessFinding]:
    """Findings, most important first; models are compared with the first of them."""
    metric = found.grid.metrics[0]
    paragraphs = [
        ("Too few pairs", few_impostors(found)),
        ("Single errors", _single(found, metric)),
        ("Detector", _detector(found, metric, points)),
        ("All together", _joint(found, metric)),
        ("Two at once", _interaction(found, metric)),
        ("Worst case", _worst(found, metric)),
        ("Models", _models(found, metric)),
        ("Not significant", _undecided(found, metric)),
    ]
    return [RobustnessFinding(subject, text) for subject, text in paragraphs if text]


def few_impostors(found: Robustness) -> str:
    """That the threshold of the metric rests on too few impostor pairs; empty where there are enough."""
    accepted, impostors = found.falsely_accepted, found.counts["impostors"]
    if accepted is None or accepted >= LEAST_ACCEPTED:
        return ""
    needed = math.ceil(LEAST_ACCEPTED * impostors / accepted)
    return (
        f"{metric_name(found.grid.metrics[0])[0]} accepts {_number(accepted, 1)} of {impostors:,} impostor pairs, too "
        f"few for a steady threshold: values and intervals are unreliable. Take {needed:,} impostor pairs or more, or "
        "another metric (--metric)."
    )


def detector_errors(quality: str) -> dict[str, float]:
    """Two standard deviations of each error that a modern detector makes at a quality, in the factors' units."""
    resolution = TEMPLATE_SIZE if quality == HIGH_QUALITY else int(quality[1:])
    sds = ALIGNMENT_ERRORS["scrfd"].sds(resolution)
    return {factor: DETECTOR_SDS * float(sd[0]) for factor, sd in zip(SINGLE, sds, strict=True)}


def level_words(factor: str, level: float) -> str:
    """A size of error with its unit."""
    times, unit = UNITS["joint" if factor == WORST else factor]
    return f"{_number(times * level)}{unit}"


def joint_words(found: Robustness, level: float) -> str:
    """Parts of a joint error of this level."""
    scale, degrees, shift = (level * found.joint_maximum[key] for key in ("scale", "degrees", "shift"))
    sizes = {"scale": scale, "rotation": degrees, "shift": shift}
    return listing([f"{level_words(factor, size)} {factor}" for factor, size in sizes.items()])


def significant(quantities: Sequence[Quantity]) -> list[bool]:
    """Significance of each of several differences, by Holm's method for all of them."""
    return [p < SIGNIFICANT for p in holm([quantity.p_value for quantity in quantities])]


def in_points(quantity: Quantity, *, signed: bool = False) -> str:
    """A difference of rates in points, with its interval; a word where that includes 0."""
    low, high = (f"{_number(100 * end, 1)}" for end in quantity.interval)
    value = _number(100 * quantity.value, 1)
    plus = "+" if signed and quantity.value > 0 else ""
    doubt = "" if quantity.significant else " (n.s.)"
    return f"{plus}{value} [{low}, {high}]{doubt}"


def tolerated_words(sweep: Sweep, quality: str, factor: str, metric: str, points: float) -> str:
    """A tolerated error and its interval; beyond the sweep ``>`` its end, before its first level ``≈``."""
    quantity = tolerated(sweep, quality, factor, metric, points)
    smallest, *_, largest = [*sweep.levels(quality, factor)] * 2
    times = UNITS[factor][0]

    def words(value: float) -> str:
        return f">{_number(times * largest)}" if math.isinf(value) else _number(times * value, 1)

    low, high = map(words, quantity.interval)
    text = f"{'≈' if quantity.value < smallest else ''}{words(quantity.value)}"
    return text if low == text == high else f"{text} [{low}, {high}]"


def rate_words(sweep: Sweep, quality: str, metric: str) -> str:
    """A metric without errors and its interval, in per cent."""
    quantity = sweep.value(Perturbation(quality), metric)
    low, high = (_number(100 * end, 1) for end in quantity.interval)
    return f"{_number(100 * quantity.value, 1)} [{low}, {high}]"


def _single(found: Robustness, metric: str) -> str:
    """Cost of the largest of each single error at the best quality, the costliest first."""
    quality = found.qualities[0]
    worst = {factor: Perturbation(quality, factor, found.sweeps[0].levels(quality, factor)[-1]) for factor in SINGLE}

    def mean(factor: str) -> float:
        return sum(sweep.drop(worst[factor], metric).value for sweep in found.sweeps)

    clauses = [
        f"{factor} by {level_words(factor, worst[factor].level)} costs "
        + ", ".join(f"{sweep.name} {in_points(sweep.drop(worst[factor], metric))}" for sweep in found.sweeps)
        for factor in sorted(SINGLE, key=mean, reverse=True)
    ]
    return f"Loss in points [95 % interval] at {quality_name(quality)}, the costliest first: {'; '.join(clauses)}."


def _detector(found: Robustness, metric: str, points: float) -> str:
    """Conditions in which the errors of a detector exceed the tolerated ones."""
    clauses = []
    for quality in found.qualities:
        exceeded = []
        for factor, error in detector_errors(quality).items():
            over = [
                sweep.name for sweep in found.sweeps if tolerated(sweep, quality, factor, metric, points).value < error
            ]
            if over:
                times, unit = UNITS[factor]
                exceeded.append(f"{_number(times * error, 1)}{unit} {factor}{_who(over, found)}")
        clauses.append(f"{quality_name(quality)}: {', '.join(exceeded) if exceeded else 'none'}")
    loss = "one point" if points == 1 else f"{points:g} points"
    return f"Errors of a modern detector (2 sd) that cost more than {loss}, interpolated: {'; '.join(clauses)}."


def _who(names: Sequence[str], found: Robustness) -> str:
    if len(found.sweeps) == 1:
        return ""
    return " (all models)" if len(names) == len(found.sweeps) else f" ({listing(names)})"


def _joint(found: Robustness, metric: str) -> str:
    """The loss under the smallest joint error, at full and at the lowest quality, and whether the two differ."""
    level = min(found.grid.joint)
    first, last = found.qualities[0], found.qualities[-1]
    ends = [
        [sweep.drop(Perturbation(quality, "joint", level), metric) for quality in (first, last)]
        for sweep in found.sweeps
    ]
    differences = [low - high for high, low in ends]
    clauses = []
    for sweep, (high, low), difference, sure in zip(
        found.sweeps, ends, differences, significant(differences), strict=True
    ):
        apart = "" if first == last else f" and {in_points(low)}, {_verdict(difference, sure)}"
        clauses.append(f"{sweep.name} {in_points(high)}{apart}")
    where = quality_name(first) if first == last else f"{quality_name(first)} and {quality_name(last)}"
    return f"{joint_words(found, level)} at once cost at {where}: {'; '.join(clauses)}."


def _verdict(difference: Quantity, sure: bool) -> str:
    if not sure:
        return "not significantly different"
    return f"significantly {'more' if difference.value > 0 else 'less'}"


def _interaction(found: Robustness, metric: str) -> str:
    """Cost of two errors beyond the sum of each alone, in the middle of each map at full quality."""
    quality = found.qualities[0]
    middles = []
    for one, other in MAPS:
        sizes = [coarse(found.sweeps[0].levels(quality, factor)) for factor in (one, other)]
        level, second = (each[(len(each) - 1) // 2] for each in sizes)
        middles.append(Perturbation(quality, one, level, other, second))
    excesses = [[_excess(sweep, middle, metric) for sweep in found.sweeps] for middle in middles]
    sure = iter(significant([excess for row in excesses for excess in row]))
    clauses = []
    for middle, row in zip(middles, excesses, strict=True):
        told = [
            f"{sweep.name} {in_points(excess, signed=True)}"
            for sweep, excess in zip(found.sweeps, row, strict=True)
            if next(sure)
        ]
        rest = ", ".join(told) if told else "not significant"
        if told and len(told) < len(found.sweeps):
            rest += ", others not significant"
        sides = [(str(middle.factor), middle.level), (str(middle.other), middle.other_level)]
        errors = [f"{level_words(factor, level)} {factor}" for factor, level in sides]
        clauses.append(f"{' with '.join(errors)}: {rest}")
    return f"Loss beyond the sum of the two alone at {quality_name(quality)}, {'; '.join(clauses)}."


def _excess(sweep: Sweep, condition: Perturbation, metric: str) -> Quantity:
    """Cost of two errors at once beyond the sum of each alone."""
    quality, one, level, other, second = condition
    alone = (sweep.drop(Perturbation(quality, *each), metric) for each in ((one, level), (other, second)))
    return _less(sweep.drop(condition, metric), alone)


def _less(quantity: Quantity, others: Iterable[Quantity]) -> Quantity:
    for other in others:
        quantity = quantity - other
    return quantity


def _worst(found: Robustness, metric: str) -> str:
    level = min(found.grid.joint)
    quality = found.qualities[0]
    clauses = []
    for sweep in found.sweeps:
        condition = Perturbation(quality, WORST, level)
        if condition not in sweep.measured:
            continue
        worst, random = sweep.drop(condition, metric), sweep.drop(Perturbation(quality, "joint", level), metric)
        clauses.append(f"{sweep.name} {in_points(worst)}, {in_points(worst - random, signed=True)} more than at random")
    if not clauses:
        return ""
    return (
        f"The same sizes in the direction that hurts each pair most cost at {quality_name(quality)}: "
        f"{'; '.join(clauses)}."
    ).replace(", +", ", ")


def _models(found: Robustness, metric: str) -> str:
    """Loss of each further model compared with the first."""
    if len(found.sweeps) == 1:
        return ""
    first, *others = found.sweeps
    level = max(found.grid.joint)
    clean = [
        (other, quality, other.value(condition, metric) - first.value(condition, metric))
        for other in others
        for quality in found.qualities
        for condition in [Perturbation(quality)]
    ]
    aligned = [
        f"{other.name} {in_points(difference, signed=True)} at {quality_name(quality)}"
        for (other, quality, difference), sure in zip(clean, significant([each[2] for each in clean]), strict=True)
        if sure
    ]
    clauses = []
    for other in others:
        lost = []
        for quality in found.qualities:
            condition = Perturbation(quality, "joint", level)
            lost.append(in_points(other.drop(condition, metric) - first.drop(condition, metric), signed=True))
        clauses.append(f"{other.name} {' / '.join(lost)}")
    where = " / ".join(quality_name(quality) for quality in found.qualities)
    return (
        f"Loss under {joint_words(found, level)} at once, more (+) or less (−) than {first.name}, {where}: "
        f"{'; '.join(clauses)}. Without errors {'; '.join(aligned) if aligned else 'no difference is significant'}."
    )


def _undecided(found: Robustness, metric: str) -> str:
    """Number of single and joint errors without a cost that these pairs could show."""
    drops: list[Quantity] = []
    clauses, undecided = [], 0
    for sweep in found.sweeps:
        places = [each for each in sweep.measured if each.factor in UNITS and each.other is None]
        lost = [sweep.drop(condition, metric) for condition in places]
        doubtful = sum(not drop.significant for drop in lost)
        drops, undecided = drops + lost, undecided + doubtful
        clauses.append(f"{sweep.name} {doubtful}")
    total, held = len(drops), sum(significant(drops))
    if not undecided:
        by_holm = "" if held == total else f", {held} of them by Holm's method for all"
        return f"All {total} losses under single and joint errors are significant{by_holm}."
    split = f" ({', '.join(clauses)})" if len(clauses) > 1 else ""
    return (
        f"{undecided} of {total} losses under single and joint errors{split} have an interval that includes 0: "
        f"open marks in the curves; by Holm's method for all {total}, {held} are significant. More pairs would decide "
        "more."
    )


def reading(found: Robustness, points: float) -> list[RobustnessFinding]:
    """Method of the report, and how to read it."""
    described: dict[str, list[str]] = {}
    for sweep in found.sweeps:
        described.setdefault(sweep.description, []).append(sweep.name)
    models = "; ".join(f"{listing(names)}: {description}" for description, names in described.items())
    flip = "with" if found.grid.flip else "without"
    listed = [
        RobustnessFinding("Models", f"{models}. Embeddings {flip} that of the mirrored image."),
        RobustnessFinding(
            "Errors",
            f"The second image of each pair is {_ORDERS[found.grid.order]}: larger or smaller, turned, shifted, "
            "in directions drawn once a pair; what enters from outside the crop is black. Joint 100 % is "
            f"{joint_words(found, 1.0)}. The threshold is set anew under each condition; a fixed one may lose more.",
        ),
        RobustnessFinding(
            "Intervals",
            f"95 % over draws of people (jackknife over {found.counts['people']:,} people, the same for all conditions "
            f"and models; tolerated errors: {found.counts['bootstrap_replicates']:,} bootstrap draws of people). n.s.: "
            "the interval includes 0. An interval stands alone: where nothing differs one in twenty leaves 0 out. What "
            "a sentence calls significant is so by Holm's method for all that it compares.",
        ),
        RobustnessFinding(
            "Tolerated",
            f"The error at which the loss first exceeds {points:g} {'point' if points == 1 else 'points'}, linear "
            "between levels: > where it never does, ≈ where that is before the first level, a rough guess until "
            "smaller levels are swept. Detector: SCRFD-2.5G on LFW at these resolutions.",
        ),
    ]
    if found.grid.worst_case:
        explanation = (
            "One step from perfect alignment in the signs of a gradient, of the joint error's sizes. What is maximised "
            "is that the pair be called wrongly: minus the cosine similarity of a genuine pair, the similarity of an "
            "impostor pair."
        )
        listed.append(RobustnessFinding("Worst case", " ".join((explanation, *found.notes))))
    if found.facts is not None:
        listed.append(RobustnessFinding("Made", made_words(found.facts)))
    return listed


_ORDERS = {
    "camera": "warped and then reduced to the quality, as by a camera",
    "reduced_first": "reduced to the quality and then warped, so that pixels move with the face (--order)",
}


def made_words(facts: Facts) -> str:
    """Origin of the report in words."""
    command = f" by: {facts.command}" if facts.command else ""
    hashes = ", ".join(f"{name} {sha256}" for name, sha256 in facts.files)
    return f"{facts.made:%Y-%m-%d} with aroface {facts.version}{command}. sha256: {hashes}."


def subtitle(found: Robustness) -> str:
    """Pairs and conditions of the measurement, in a line."""
    counts = found.counts
    where = listing([quality_name(quality) for quality in found.qualities])
    return (
        f"{found.pairs.name}: {counts['pairs']:,} pairs ({counts['genuine']:,} genuine, "
        f"{counts['impostors']:,} impostors); probes at {where}"
    )


def _number(value: float, digits: int = 2) -> str:
    """Up to ``digits`` decimals; exactly one where one is asked for. A true minus sign, and no negative zero."""
    text = f"{value:.{digits}f}"
    if digits != 1:
        text = text.rstrip("0").rstrip(".")
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")
