"""Registry of all that is printed with an uncertainty or a verdict, and of the simulation that measures it.

A test finds everything in the package that gives an interval, a p-value or a verdict (:func:`given`), and fails where
something is neither here nor among `PARTS`, which print nothing themselves.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from known_truth import evaluations, scores, seeds
from known_truth.rows import ANYTHING, SIZE, Simulation

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "aroface"

_EVALUATION = (
    "src/aroface/evaluation",
    "performance/known_truth/populations.py",
    "performance/known_truth/evaluations.py",
)
_SCORES = (
    "src/aroface/evaluation",
    "performance/known_truth/populations.py",
    "performance/known_truth/scores.py",
)
_REPORTING = (
    "src/aroface/evaluation/statistics",
    "src/aroface/reporting/statistics",
    "src/aroface/reporting/claims/compare.py",
    "src/aroface/planning/forecast/power.py",
    "performance/known_truth/seeds.py",
)

_PAIRS_BEFORE = {
    "interval tar_*_1e-3": "88 to 93",
    "interval auc": "89 to 93",
    "interval eer": "91 to 95",
    "test accuracy": ".4 to 2",
    "test auc": "6 to 12",
    "test eer": "1.6 to 6",
    "test tar_*_1e-3": "2",
}


def _evaluated(
    name: str,
    model: str,
    smoke: int,
    full: int,
    before: Mapping[str, str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> Simulation:
    repeat = partial(evaluations.evaluated, name)
    return Simulation(name, model, repeat, smoke, full, _EVALUATION, bounds or {}, before or {})


def _verdict_bounds() -> dict[str, tuple[float, float]]:
    """False verdicts happen in 5 % at most; right ones as often as the number of seeds allows."""
    return {f"share {truth}, *: {right}": ANYTHING for truth, (*_, right) in seeds.TRUTHS.items() if right}


_SIMULATIONS = (
    _evaluated(
        "LFW-like",
        "6,000 pairs of 2,000 people in ten folds; people and images recur in several pairs",
        300,
        10_000,
        {"interval accuracy": "97", **_PAIRS_BEFORE},
    ),
    _evaluated("LFW-like, nearly solved", "the same, at an accuracy of 99 %", 300, 10_000),
    _evaluated(
        "CFP-like",
        "7,000 pairs of 500 people with ten frontal images and four in profile",
        300,
        10_000,
        {"interval accuracy": "94", **_PAIRS_BEFORE},
    ),
    _evaluated(
        "AgeDB-like",
        "6,000 pairs of 440 people, nearly each with other images, which do not tell that they are of the same people",
        300,
        10_000,
    ),
    _evaluated(
        "AgeDB-like, people told",
        "the same, with a file beside the set that names the people of each pair",
        300,
        10_000,
    ),
    Simulation(
        "swept pairs",
        "1,000 pairs of 400 people under alignment errors of two sizes, and none",
        evaluations.swept,
        300,
        10_000,
        _EVALUATION,
    ),
    Simulation(
        "robustness page",
        "two equal models on 600 swept pairs of 250 people",
        evaluations.page,
        150,
        5000,
        _EVALUATION,
    ),
    Simulation(
        "figure of alignment errors",
        "three seeds on 1,000 swept pairs",
        evaluations.figure,
        150,
        10_000,
        (*_EVALUATION, "src/aroface/reporting/figures/curves.py"),
        bounds={"interval *": (0.93, 1.0)},
    ),
    _evaluated(
        "TinyFace-like",
        "800 people with 1.45 probes each among 4,000 distractors",
        400,
        10_000,
        {"interval rank*": "90 to 95", "interval map": "90 to 95"},
    ),
    _evaluated(
        "IJB-like",
        "200 people with 5.5 probes each: pairs of a probe and an enrolled template, and the search in two galleries",
        400,
        10_000,
        {
            "interval tar_*1e-4": "98",
            "interval tar_*1e-3": "95.5",
            "interval tar_*1e-2": "89",
            "interval rank1": "82",
            "interval rank5": "85",
            "interval rank10": "87",
            "interval tpir_*1e-1": "83",
            "interval tpir_*1e-2": "91",
            "test tar_*1e-2": "6",
            "test tar_*1e-4": "1",
            "test rank1": "12",
            "test tpir_*1e-1": "11",
            "test tpir_*1e-2": "4",
        },
        # No impostor passes at 1e-6, and two at 1e-5.
        {"* *far_1e-6": ANYTHING, "* *far_1e-5": ANYTHING},
    ),
    _evaluated(
        "IJB-S-like",
        "202 people with 28 probes each, searched in two galleries",
        300,
        5000,
        {
            "interval difference of *to_single_rank1": "67",
            "interval *to_single_rank1": "54",
            "interval difference of *tpir*": "67",
            "test *to_single_rank1": "32",
            "test *tpir*": "32",
        },
    ),
    Simulation(
        "scores of a search",
        "a matrix of scores of 450 probes, three a person, with a reference of each of 100 of the 150 people",
        partial(scores.evaluated, "scores of a search"),
        300,
        10_000,
        _SCORES,
    ),
    Simulation(
        "scores of unnamed people",
        "a list of scores of 600 genuine and 3,000 impostor comparisons, all of other people",
        partial(scores.evaluated, "scores of unnamed people"),
        300,
        10_000,
        _SCORES,
    ),
    Simulation(
        "seeds",
        "values of 3, 5 and 10 seeds on one benchmark: normal, skewed, or one in ten failing",
        seeds.over_seeds,
        3000,
        20_000,
        _REPORTING,
        bounds={"interval *skewed": (0.84, 0.995), "interval *one in ten fails": (0.70, 0.985)},
        before={
            "interval mean of * seeds, normal": "94.6 to 95",
            "interval mean of * seeds, skewed": "88",
            "interval mean of * seeds, one in ten fails": "83 to 91",
            "interval difference from one reported run, 3 *": "83",
            "interval difference from one reported run, 5 *": "69",
            "interval difference from one reported run, 10 *": "48",
        },
    ),
    Simulation(
        "values with grain",
        "two equal methods that differ by a probe of 400 now and then",
        seeds.grainy,
        4000,
        20_000,
        _REPORTING,
        bounds={"share p below*": (0.0, 0.005)},
        before={"share p below .001, 2 *": "12", "share p below .001, 3 *": "3"},
    ),
    Simulation(
        "seeds and people",
        "two methods that are equal on all faces, not on the people of a benchmark (5 probes each)",
        seeds.seeds_and_people,
        1000,
        4000,
        _REPORTING,
        bounds={"* t over seeds, taken for all faces*": ANYTHING},
        before={
            "interval difference, on faces like these: 3 *": "91 to 95",
            "interval difference, on faces like these: 5 *": "80 to 94",
            "test difference, on faces like these*": "6 to 20",
        },
    ),
    Simulation(
        "ablation",
        "a table of 5 rows and 9 columns in which nothing differs, and one in which a row is better by 5 deviations",
        seeds.ablation,
        500,
        4000,
        _REPORTING,
        bounds={
            "share tables with such a bracket*": ANYTHING,
            "share columns with bold where a row is better*": ANYTHING,
            "share the best row is bold*": (0.95, 1.0),
        },
        before={
            "share tables with such a bracket, 3 *": "74",
            "share tables with a finding after Holm*": "4.8",
            "share brackets*": "5.3",
            "share columns with bold where nothing differs*": "100",
        },
    ),
    Simulation(
        "verdicts",
        "claims of known truth, over 1 to 6 cells",
        seeds.verdicts,
        1000,
        5000,
        _REPORTING,
        bounds=_verdict_bounds(),
        before={
            "share gain of 4.3, true gain a third of it, *: confirmed": "20",
            "share gain of 4.3, true gain at the bound, *: confirmed": "82 to 98",
            "share no loss within .3, all differences 0, *: confirmed": "0",
            "share no loss within .3, all at -.3, *: refuted": "28 to 31",
            "share improves, all by 1.5, *: confirmed": "50",
            "share improves, no effect at all, *: refuted": "12 to 16",
        },
    ),
    Simulation(
        "gains of methods",
        "gains of 3 and of 12 methods that share their seeds, .8 points of each network beside them",
        seeds.over_methods,
        150,
        2000,
        _REPORTING,
        bounds={
            "share gain differs between methods*": ANYTHING,
            "share orthogonal, *: no gain*: confirmed": (0.0, 0.025),
            "share orthogonal, *: no gain: refuted": SIZE,
            "share orthogonal, *: no gain on average*: refuted": ANYTHING,  # some methods do lose
            "share orthogonal, *: one gain*: confirmed": ANYTHING,
            "share orthogonal, *: one gain*: refuted": (0.0, 0.025),
        },
    ),
    Simulation(
        "compare",
        "a reported run, and ours with deviations of 1 point over seeds",
        seeds.closeness,
        4000,
        20_000,
        _REPORTING,
        bounds={"share a run 6 points away holds, *": (0.0, 0.1)},
    ),
    Simulation(
        "forecasts",
        "differences that are said to be seen in four of five cases",
        seeds.forecasts,
        2000,
        10_000,
        _REPORTING,
        bounds={
            "share plan --power, on this benchmark*": (0.77, 0.83),
            "share plan --power, on faces*": (0.75, 0.95),
            "share smallest effect*": (0.75, 0.85),
            "share seeds that would decide*": (0.4, 0.8),
        },
    ),
)
SIMULATIONS: Mapping[str, Simulation] = {each.name: each for each in _SIMULATIONS}
"""Simulations by name, in the order of the table."""

PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "pairs": ("LFW-like", "LFW-like, nearly solved", "CFP-like", "AgeDB-like", "AgeDB-like, people told"),
    "sensitivity": ("swept pairs",),
    "tinyface": ("TinyFace-like",),
    "ijb": ("IJB-like",),
    "ijbs": ("IJB-S-like",),
}
"""Simulations of each protocol; they have a row for every interval in its records."""

_RECORDS = tuple(name for names in PROTOCOLS.values() for name in names)
_SCORE_FILES = tuple(scores.FILES)

PRINTED: Mapping[str, tuple[str, ...]] = {
    "evaluation.protocols.outcome.Outcome": _RECORDS,
    "evaluation.statistics.jackknife.interval": _RECORDS,
    "evaluation.statistics.jackknife.Difference": _RECORDS,
    "evaluation.statistics.jackknife.difference": _RECORDS,
    "evaluation.compare_runs.MetricComparison": _RECORDS,
    "evaluation.compare_runs.compare": _RECORDS,
    "evaluation.robustness.Quantity": ("robustness page",),
    "evaluation.robustness.tolerated": ("robustness page",),
    "evaluation.statistics.multiplicity.holm": (*_RECORDS, "ablation"),
    "evaluation.scores.DecisionThreshold": _SCORE_FILES,
    "evaluation.scores.SystemVerdict": _SCORE_FILES,
    "reporting.robustness.findings.significant": ("robustness page",),
    "reporting.figures.curves.Curve": ("figure of alignment errors",),
    "reporting.figures.paper_bars.Bar": ("figure of alignment errors",),
    "reporting.figures.landmarks.Point": ("figure of alignment errors",),
    "reporting.statistics.intervals.SeedInterval": ("seeds", "seeds and people"),
    "reporting.statistics.intervals.on_this_benchmark": ("seeds", "values with grain"),
    "reporting.statistics.intervals.on_faces_like_these": ("seeds and people",),
    "reporting.statistics.intervals.best_interval": ("seeds", "seeds and people"),
    "reporting.statistics.intervals.one_further_run": ("seeds",),
    "reporting.statistics.samples.against_reported": ("seeds",),
    "reporting.statistics.multiplicity.best_rows": ("ablation",),
    "reporting.tables.grid.Cell": ("ablation", "seeds"),
    "reporting.statistics.decisions.Decision": ("verdicts",),
    "reporting.statistics.decisions.judge_cells": ("verdicts",),
    "reporting.claims.verdicts.Evidence": ("verdicts",),
    "reporting.statistics.over_methods.MethodsGain": ("gains of methods",),
    "reporting.statistics.over_methods.gain_over_methods": ("gains of methods",),
    "reporting.statistics.over_methods.interaction_p": ("gains of methods",),
    "reporting.statistics.over_methods.interquartile_mean": ("gains of methods",),
    "reporting.statistics.orthogonality.Contrast": ("gains of methods",),
    "reporting.statistics.orthogonality.Orthogonality": ("gains of methods",),
    "reporting.statistics.orthogonality.judge_orthogonality": ("gains of methods",),
    "reporting.claims.compare.judge": ("compare",),
    "reporting.claims.compare.ValueComparison": ("compare",),
    "reporting.statistics.decisions.seeds_that_decide": ("forecasts",),
    "reporting.statistics.decisions.smallest_effect": ("forecasts",),
    "planning.forecast.power.power": ("forecasts",),
    "planning.forecast.power.visible_difference": ("forecasts",),
    "planning.forecast.power.PowerForecast": ("forecasts",),
}
"""Simulations that measure each interval, test, verdict and forecast, by its name in the package."""

PARTS: Mapping[str, frozenset[str]] = {
    "evaluation.compare_runs": frozenset({"compare_metrics"}),
    "evaluation.statistics.bootstrap": frozenset({"interval", "samples"}),
    "evaluation.statistics.exact": frozenset({"clopper_pearson"}),
    "evaluation.statistics.jackknife": frozenset(
        {"LeaveOut", "covariance", "groups_of", "pair_variance", "standard_error"}
    ),
    "evaluation.statistics.people_metrics": frozenset({"PeopleMetrics", "mean_of_items"}),
    "evaluation.statistics.people": frozenset(
        {
            *("PairsWithoutGroups", "drawn_pairs", "equal_images", "kept_pairs", "linked", "numbered"),
            *("people_of_pairs", "with_genuine_pairs"),
        }
    ),
    "planning.forecast.power": frozenset(
        {
            *("Needs", "PeopleSpread", "Spread", "find_power", "find_spread", "metric_of"),
            *("people_needed", "seeds_needed"),  # the inverses of power
        }
    ),
    "reporting.claims.verdicts": frozenset({"combined"}),  # of reported values, which have no interval
    "reporting.figures.training": frozenset({"Course"}),  # lowest and highest seed
    "reporting.html_report.data": frozenset({"DataView"}),  # checks of data sets
    "reporting.statistics.decisions": frozenset({"decide", "out_of_reach"}),
    "reporting.statistics.intervals": frozenset(
        {"Estimate", "estimate", "obuchowski_rockette", "people_variance", "standard_error"}
    ),
    "reporting.statistics.orthogonality": frozenset({"Arms"}),
    "reporting.statistics.over_methods": frozenset({"mean_squares"}),
    "reporting.statistics.samples": frozenset({"Sample", "deviation_floor", "difference", "mean_of"}),
    "reporting.tables.spec": frozenset({"Layout"}),
}
"""Functions that are part of others and print nothing, or are named alike without an uncertainty, by module."""


def parts() -> set[str]:
    """Names of `PARTS` in full."""
    return {f"{module}.{name}" for module, names in PARTS.items() for name in names}


_GIVES = re.compile(r"\b(SeedInterval|Difference|Decision|Verdict|Closeness|MetricComparison|Quantity|Needs)\b")
_FIELDS = {
    *("p_value", "adjusted", "interval", "intervals", "low", "high", "half", "further"),
    *("drop_low", "significant", "verdict", "verdicts"),
}
_WHOLE = ("statistics", "power")  # modules, and packages, whose every public name counts


def given(package: Path = PACKAGE) -> set[str]:
    """Names of public functions and classes that give an interval, a p-value or a verdict.

    All of packages and modules of statistics; elsewhere classes with a field or property of such a name, and functions
    whose annotation says that they return one of the types of these.
    """
    return {name for path in sorted(package.rglob("*.py")) for name in _given(path, package)}


def _given(path: Path, package: Path) -> Iterator[str]:
    parts = path.relative_to(package).with_suffix("").parts
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        if (
            {*parts} & {*_WHOLE}
            or node.name in _FIELDS
            or (_has_field(node) if isinstance(node, ast.ClassDef) else _returns(node))
        ):
            yield ".".join((*parts, node.name))


def _has_field(node: ast.ClassDef) -> bool:
    names = {
        each.target.id for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    return bool(_FIELDS & (names | {each.name for each in node.body if isinstance(each, ast.FunctionDef)}))


def _returns(node: ast.FunctionDef) -> bool:
    return node.returns is not None and bool(_GIVES.search(ast.unparse(node.returns)))
