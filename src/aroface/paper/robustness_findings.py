"""What a robustness report says in words: each sentence with its figures, and which differences are not significant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from aroface.embedding.sweep import HIGH_QUALITY
from aroface.embedding.worst_case import FACTOR as WORST
from aroface.evaluation.robustness import MAPS, Condition, Quantity, Robustness, Sweep, coarse, tolerated
from aroface.faces.degrade import ALIGNMENT_ERRORS
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.paper.drawing import metric_name, quality_name

UNITS = {"scale": (100.0, " %"), "rotation": (1.0, "°"), "shift": (100.0, " %"), "joint": (100.0, " %")}
"""What a level is multiplied with, and its unit."""
SINGLE = ("scale", "rotation", "shift")
DETECTOR_SDS = 2
_LISTED = 6


class Finding(NamedTuple):
    """A word on what it is about, and one paragraph."""

    subject: str
    text: str


def findings(found: Robustness, points: float) -> list[Finding]:
    """What there is to say, most important first; models are compared with the first of them."""
    metric = found.grid.metrics[0]
    paragraphs = [
        ("Aligned", _aligned(found, metric)),
        ("Single errors", _single(found, metric, points)),
        ("Detector", _detector(found, metric, points)),
        ("All together", _joint(found, metric)),
        ("Two at once", _interaction(found, metric)),
        ("Worst case", _worst(found, metric)),
        ("Models", _models(found, metric)),
        ("Not significant", _undecided(found, metric)),
    ]
    return [Finding(subject, text) for subject, text in paragraphs if text]


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
    """What a joint error of this level consists of."""
    scale, degrees, shift = (level * found.joint_maximum[key] for key in ("scale", "degrees", "shift"))
    return ", ".join((level_words("scale", scale), level_words("rotation", degrees), level_words("shift", shift)))


def in_points(quantity: Quantity, *, signed: bool = False) -> str:
    """A difference of rates in points, with its interval; a word where that includes 0."""
    low, high = (f"{_number(100 * end, 1)}" for end in quantity.interval)
    value = _number(100 * quantity.value, 1)
    plus = "+" if signed and quantity.value > 0 else ""
    doubt = "" if quantity.significant else " (n.s.)"
    return f"{plus}{value} [{low}, {high}]{doubt}"


def tolerated_words(sweep: Sweep, quality: str, factor: str, metric: str, points: float, *, interval: bool) -> str:
    """A tolerated error, with its interval if asked for; one beyond the sweep is said to be."""
    quantity = tolerated(sweep, quality, factor, metric, points)
    largest = sweep.levels(quality, factor)[-1]
    times, unit = UNITS[factor]

    def words(value: float) -> str:
        return f">{_number(times * largest)}" if math.isinf(value) else _number(times * value, 1)

    text = words(quantity.value)
    if not interval:
        return f"{text}{unit}"
    low, high = map(words, quantity.interval)
    return text if low == text == high else f"{text} [{low}, {high}]"


def _aligned(found: Robustness, metric: str) -> str:
    parts = []
    for sweep in found.sweeps:
        values = [_number(100 * sweep.value(Condition(quality), metric).value, 1) for quality in found.qualities]
        parts.append(f"{sweep.name} {' / '.join(values)} %")
    where = " / ".join(quality_name(quality) for quality in found.qualities)
    return f"Without errors, {metric_name(metric)[0]} is, at {where}: {', '.join(parts)}."


def _single(found: Robustness, metric: str, points: float) -> str:
    quality = found.qualities[0]
    sentences = []
    for sweep in found.sweeps:
        worst = {factor: Condition(quality, factor, sweep.levels(quality, factor)[-1]) for factor in SINGLE}
        order = sorted(SINGLE, key=lambda factor: -sweep.drop(worst[factor], metric).value)
        costs = [
            f"{factor} {level_words(factor, worst[factor].level)}: {in_points(sweep.drop(worst[factor], metric))}"
            for factor in order
        ]
        limits = [
            f"{tolerated_words(sweep, quality, factor, metric, points, interval=False)} {factor}" for factor in order
        ]
        sentences.append(
            f"{sweep.name} loses, in points, {'; '.join(costs)}. {_loss(points)} is lost at {', '.join(limits)}."
        )
    return f"At {quality_name(quality)}, {' '.join(sentences)}"


def _loss(points: float) -> str:
    return "One point" if points == 1 else f"A loss of {points:g} points"


def _detector(found: Robustness, metric: str, points: float) -> str:
    """Where the errors of a detector exceed what is tolerated."""
    sentences = []
    for quality in found.qualities:
        errors = detector_errors(quality)
        exceeded = []
        for factor in SINGLE:
            over = [
                sweep.name
                for sweep in found.sweeps
                if tolerated(sweep, quality, factor, metric, points).value < errors[factor]
            ]
            if over:
                who = _who(over, found)
                exceeded.append(f"{factor} ({level_words(factor, errors[factor])}){who}")
        what = f"exceed it in {', '.join(exceeded)}" if exceeded else "stay within it"
        sentences.append(f"at {quality_name(quality)} they {what}")
    return (
        f"A modern detector's errors, two standard deviations each, against the error that costs {points:g} "
        f"{'point' if points == 1 else 'points'}: {'; '.join(sentences)}."
    )


def _who(names: Sequence[str], found: Robustness) -> str:
    if len(found.sweeps) == 1:
        return ""
    return " for all models" if len(names) == len(found.sweeps) else f" for {_join(names)}"


def _joint(found: Robustness, metric: str) -> str:
    """The loss under the smallest joint error, at full and at the lowest quality, and whether the two differ."""
    level = min(found.grid.joint)
    first, last = found.qualities[0], found.qualities[-1]
    sentences = []
    for sweep in found.sweeps:
        high = sweep.drop(Condition(first, "joint", level), metric)
        if first == last:
            sentences.append(f"{sweep.name} {in_points(high)} points")
            continue
        low = sweep.drop(Condition(last, "joint", level), metric)
        difference = low - high
        verdict = "the difference, {}, is {}significant".format(
            _interval(difference), "" if difference.significant else "not "
        )
        sentences.append(f"{sweep.name} {in_points(high)} and {in_points(low)}: {verdict}")
    where = quality_name(first) if first == last else f"{quality_name(first)} and at {quality_name(last)}"
    return f"An error of {joint_words(found, level)} at once costs at {where}: {'; '.join(sentences)}."


def _interval(quantity: Quantity) -> str:
    low, high = quantity.interval
    plus = "+" if quantity.value > 0 else ""
    return f"{plus}{_number(100 * quantity.value, 1)} [{_number(100 * low, 1)}, {_number(100 * high, 1)}]"


def _interaction(found: Robustness, metric: str) -> str:
    """How far two errors cost more than each alone, in the middle of each map at full quality."""
    quality = found.qualities[0]
    parts = []
    for one, other in MAPS:
        sizes = [coarse(found.sweeps[0].levels(quality, factor)) for factor in (one, other)]
        level, second = (each[(len(each) - 1) // 2] for each in sizes)
        excesses = []
        for sweep in found.sweeps:
            both = sweep.drop(Condition(quality, one, level, other, second), metric)
            alone = (
                sweep.drop(Condition(quality, factor, size), metric) for factor, size in ((one, level), (other, second))
            )
            excesses.append(f"{sweep.name} {in_points(_less(both, alone), signed=True)}")
        parts.append(
            f"{one} {level_words(one, level)} with {other} {level_words(other, second)}: {', '.join(excesses)}"
        )
    return f"Loss beyond the sum of the two alone, at {quality_name(quality)}: {'; '.join(parts)}."


def _less(quantity: Quantity, others: Iterable[Quantity]) -> Quantity:
    for other in others:
        quantity = quantity - other
    return quantity


def _worst(found: Robustness, metric: str) -> str:
    level = min(found.grid.joint)
    quality = found.qualities[0]
    parts = []
    for sweep in found.sweeps:
        condition = Condition(quality, WORST, level)
        if condition not in sweep.measured:
            continue
        worst, random = sweep.drop(condition, metric), sweep.drop(Condition(quality, "joint", level), metric)
        parts.append(f"{sweep.name} {in_points(worst)}, {in_points(worst - random, signed=True)} on the random loss")
    if not parts:
        return ""
    sizes = joint_words(found, level)
    return (
        f"Errors of the same sizes ({sizes}) in the direction that hurts each pair most, at "
        f"{quality_name(quality)}: {'; '.join(parts)}."
    )


def _models(found: Robustness, metric: str) -> str:
    """What each further model loses less or more than the first."""
    if len(found.sweeps) == 1:
        return ""
    first, *others = found.sweeps
    level = max(found.grid.joint)
    sentences = []
    for other in others:
        aligned = [other.value(Condition(q), metric) - first.value(Condition(q), metric) for q in found.qualities]
        # Negative drops of the difference are losses saved.
        lost = [
            other.drop(Condition(q, "joint", level), metric) - first.drop(Condition(q, "joint", level), metric)
            for q in found.qualities
        ]
        sentences.append(
            f"{other.name}: aligned {' / '.join(in_points(each, signed=True) for each in aligned)}, "
            f"loss {' / '.join(in_points(each, signed=True) for each in lost)}"
        )
    where = " / ".join(quality_name(quality) for quality in found.qualities)
    return (
        f"Points more (+) or less (−) than {first.name} at {where}, aligned, and lost under "
        f"{joint_words(found, level)} at once. {'; '.join(sentences)}."
    )


def _undecided(found: Robustness, metric: str) -> str:
    """Which single and joint errors cost nothing that these pairs could show."""
    total, listed = 0, []
    for sweep in found.sweeps:
        for condition in sweep.measured:
            if condition.factor is None or condition.other is not None or condition.factor == WORST:
                continue
            total += 1
            if not sweep.drop(condition, metric).significant:
                listed.append(_condition_words(sweep, condition, len(found.sweeps) > 1))
    if not listed:
        return f"All {total} losses under single and joint errors are significant."
    more = f", and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return (
        f"{len(listed)} of {total} losses under single and joint errors have an interval that includes 0: "
        f"{'; '.join(listed[:_LISTED])}{more}."
    )


def _condition_words(sweep: Sweep, condition: Condition, named: bool) -> str:
    assert condition.factor is not None, "undistorted variants have no drop"
    error = f"{condition.factor} {level_words(condition.factor, condition.level)}"
    words = f"{error} at {quality_name(condition.quality)}"
    return f"{sweep.name}, {words}" if named else words


def reading(found: Robustness, points: float) -> list[Finding]:
    """How the report was made and is to be read."""
    notes: Iterator[Finding] = iter(
        (
            Finding("Models", "; ".join(f"{sweep.name}: {sweep.description}" for sweep in found.sweeps) + "."),
            Finding(
                "Errors",
                "The second image of each pair is reduced to the quality, then warped by a similarity: larger or "
                "smaller, turned either way, shifted in any direction, each drawn once a pair; what enters from "
                f"outside the crop is black. Joint 100 % is {joint_words(found, 1.0)}. The threshold is set anew under "
                "each condition; with one that is kept, losses may be larger.",
            ),
            Finding(
                "Intervals",
                f"95 %, of {found.counts['bootstrap_replicates']:,} bootstrap draws of pairs, the same draws for all "
                "conditions and models; n.s.: the interval includes 0; not corrected for the number of comparisons.",
            ),
            Finding(
                "Tolerated",
                f"The error at which the loss first exceeds {points:g} {'point' if points == 1 else 'points'}, linear "
                f"between the levels (0 loss at 0); > where it never does. Detector: {DETECTOR_SDS} sd of SCRFD-2.5G's "
                "errors, measured on faces of LFW at these resolutions.",
            ),
        )
    )
    listed = [*notes]
    if found.grid.worst_case:
        words = (
            "One step from perfect alignment in the signs of a gradient, of the joint error's sizes. What is maximised "
            "is that the pair be called wrongly: minus the cosine similarity of a genuine pair, the similarity of an "
            "impostor pair."
        )
        listed.append(Finding("Worst case", " ".join((words, *found.notes))))
    return listed


def subtitle(found: Robustness) -> str:
    """What was measured on, in a line."""
    counts = found.counts
    part = "" if found.grid.max_pairs is None else "an evenly spaced part, "
    where = _join([quality_name(quality) for quality in found.qualities])
    return (
        f"{found.pairs.name}: {part}{counts['pairs']:,} pairs ({counts['genuine']:,} genuine, "
        f"{counts['impostors']:,} impostors); probes at {where}"
        f"{'' if found.grid.flip else '; embeddings without the mirrored image'}"
    )


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _number(value: float, digits: int = 2) -> str:
    """Up to ``digits`` decimals; exactly one where one is asked for. A true minus sign, and no negative zero."""
    text = f"{value:.{digits}f}"
    if digits != 1:
        text = text.rstrip("0").rstrip(".")
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")
