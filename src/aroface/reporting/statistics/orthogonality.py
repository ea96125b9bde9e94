"""Is a module orthogonal to methods: does it help each, more than its random control, and all of them alike?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from aroface.reporting.statistics.decisions import UNKNOWN, Verdict, decide, judge_cells
from aroface.reporting.statistics.intervals import SeedInterval
from aroface.reporting.statistics.multiplicity import SIGNIFICANT
from aroface.reporting.statistics.over_methods import PERMUTATIONS, MethodsGain, gain_over_methods
from aroface.reporting.statistics.samples import Sample, difference

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Arms:
    """Values of a method over seeds, trained in three ways.

    Attributes:
        plain: Without the module.
        random: With its random control.
        module: With the module.
    """

    plain: Sample
    random: Sample
    module: Sample


@dataclass(frozen=True, slots=True)
class Contrast:
    """A difference of two arms for every method, and over methods.

    Attributes:
        whole: Over methods; None where it cannot be had.
        methods: Interval of each method's own difference; None where it shares no seed.
        verdicts: Verdict of each method: refuted after Holm's correction, confirmed by its own interval.
    """

    whole: MethodsGain | None
    methods: Mapping[str, SeedInterval | None]
    verdicts: Mapping[str, Verdict]

    @property
    def verdict(self) -> Verdict:
        """Confirmed or refuted by the whole interval over methods."""
        return UNKNOWN if self.whole is None else decide(self.whole.low, self.whole.high, ZERO)


@dataclass(frozen=True, slots=True)
class Orthogonality:
    """Contrasts of three arms of several methods, and the verdict on a module.

    Attributes:
        gain: Module less plain.
        beyond_random: Module less its random control.
        random_gain: Random control less plain.
    """

    gain: Contrast
    beyond_random: Contrast
    random_gain: Contrast

    @property
    def same_for_all(self) -> bool | None:
        """False where the gain differs significantly between methods; None where that is not known."""
        return None if self.gain.whole is None else self.gain.whole.interaction >= SIGNIFICANT

    @property
    def verdict(self) -> Verdict:
        """Verdict on the module's being orthogonal to methods.

        Confirmed where all methods have results, the intervals of the mean gain over methods, against plain and against
        the random control, lie above 0, and the gain does not differ significantly between methods. Refuted where one
        of the two intervals lies below 0, or a method loses after Holm's correction over methods. Else not enough data:
        a gain that is not the same for all is not shown to be orthogonal, and may still be one for each.
        """
        if "refuted" in (self.gain.verdict, self.beyond_random.verdict, *self.gain.verdicts.values()):
            return "refuted"
        confirmed = self.gain.verdict == self.beyond_random.verdict == "confirmed"
        complete = all(found is not None for each in (self.gain, self.beyond_random) for found in each.methods.values())
        return "confirmed" if confirmed and complete and self.same_for_all else UNKNOWN


def judge_orthogonality(methods: Mapping[str, Arms], permutations: int = PERMUTATIONS) -> Orthogonality:
    """Judge whether a module is orthogonal to methods.

    Args:
        methods: Arms of each method by its name; values are fractions, higher being better.
        permutations: Number of permutations of the tests of equal gains.
    """
    arms = methods.values()
    return Orthogonality(
        gain=_contrast(methods, [difference(each.module, each.plain) for each in arms], permutations),
        beyond_random=_contrast(methods, [difference(each.module, each.random) for each in arms], permutations),
        random_gain=_contrast(methods, [difference(each.random, each.plain) for each in arms], permutations),
    )


def _contrast(methods: Mapping[str, Arms], cells: Sequence[Sample], permutations: int) -> Contrast:
    known = {name: cell for name, cell in zip(methods, cells, strict=True) if cell.values}
    decision = judge_cells([*known.values()], ZERO)
    found = dict(zip(known, decision.cells, strict=True))
    verdicts = dict(zip(known, decision.verdicts, strict=True))
    return Contrast(
        gain_over_methods([*known.values()], permutations),
        {name: found.get(name) for name in methods},
        {name: verdicts.get(name, UNKNOWN) for name in methods},
    )
