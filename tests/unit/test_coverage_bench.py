"""Intervals, tests and verdicts hold what they say, in a short form; what is printed is measured by the bench."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from aroface.evaluation.protocols.registry import PROTOCOLS, protocol_of
from coverage_bench import evaluations, populations, record, registry, rows, table
from documentation import DOCS, generators

SIMULATIONS = registry.SIMULATIONS
RECORD = json.loads(record.RECORD.read_text())
ROWS = [rows.Row.read(entry) for entry in RECORD["rows"]]
every_simulation = pytest.mark.parametrize("name", SIMULATIONS)


def repeated(name: str, count: int) -> list[rows.Row]:
    simulation = SIMULATIONS[name]
    return rows.summarise(simulation, [simulation.repeat(record.rng_of(simulation, 1, each)) for each in range(count)])


# Nothing is forgotten


def test_everything_that_is_printed_is_measured() -> None:
    given = registry.given()
    unmeasured = given - registry.PRINTED.keys() - registry.parts()
    assert not unmeasured, (
        f"measure it in performance/known_truth, and name the simulation in registry.py: {unmeasured}"
    )
    assert not (registry.PRINTED.keys() | registry.parts()) - given, "what is gone from the package"
    assert not registry.PRINTED.keys() & registry.parts()


def test_a_new_interval_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "reporting" / "statistics"
    folder.mkdir(parents=True)
    (folder / "new.py").write_text("def anything() -> float:\n    return 0.0\n")
    (tmp_path / "page.py").write_text(
        "class Told:\n    p_value: float\n\nclass Shown:\n    name: str\n\n"
        "def judged() -> Verdict:\n    ...\n\ndef _own() -> Verdict:\n    ...\n"
    )
    assert registry.given(tmp_path) == {"reporting.statistics.new.anything", "page.Told", "page.judged"}


def test_every_simulation_measures_something_that_is_printed() -> None:
    used = {name for names in registry.PRINTED.values() for name in names}
    assert used == SIMULATIONS.keys()


def test_every_protocol_is_simulated() -> None:
    assert registry.PROTOCOLS.keys() == PROTOCOLS.keys()


@pytest.mark.parametrize("protocol", registry.PROTOCOLS)
def test_every_interval_of_a_record_has_a_row(protocol: str) -> None:
    """Of a small set: names do not depend on the size."""
    (name, *_) = registry.PROTOCOLS[protocol]
    (features,) = SMALL[protocol].draw(np.random.default_rng(0))
    outcome = protocol_of(features).evaluate(features)
    measured = {row.quantity for row in ROWS if row.simulation == name and row.kind == "interval"}
    assert outcome.intervals and outcome.intervals.keys() <= measured
    tested = {row.quantity for row in ROWS if row.simulation == name and row.kind == "test"}
    assert outcome.intervals.keys() <= tested
    (parts,) = [protocol_of(features).measure(features)]
    ends = {metric: pair for part in parts for metric, pair in part.intervals().items()}
    assert all(outcome.intervals[metric] == ends[metric] for metric in ends), "the bench measures what records have"


FACES = populations.Faces(0.6)
SMALL = {
    "pairs": populations.PairSet(FACES, people=60, pairs=200),
    "sensitivity": populations.SweptPairs(
        populations.PairSet(FACES, people=60, pairs=200),
        populations.LEVELS,
        ("accuracy", "auc", "tar_strict_at_far_1e-2"),
    ),
    "tinyface": populations.ClosedSearch(FACES, people=60, probes=1.5, mates=1.5, distractors=50),
    "ijb": populations.Templates(FACES, people=40, probes=4),
    "ijbs": populations.Videos(FACES, people=40, probes=6),
}


# The record, and the page that shows it


@every_simulation
def test_the_record_has_the_rows_of_every_simulation(name: str) -> None:
    mine = {(row.kind, row.quantity) for row in ROWS if row.simulation == name}
    assert mine and RECORD["models"][name] == SIMULATIONS[name].model
    simulation = SIMULATIONS[name]
    if name not in LONG:
        now = set(simulation.repeat(record.rng_of(simulation, 0, 0)))
        assert now == mine, "run performance/coverage.py --smoke --record"


LONG = {*(name for names in registry.PROTOCOLS.values() for name in names), "robustness page"}
"""Simulations of which a repetition takes a second; their rows are those of the protocols."""


def test_the_record_is_of_this_registry() -> None:
    assert list(dict.fromkeys(row.simulation for row in ROWS)) == [*SIMULATIONS]
    assert min(row.repetitions + row.without for row in ROWS) >= 30


def test_rates_of_the_record_lie_within_their_bounds() -> None:
    beyond = [row for row in ROWS if not row.holds and row.simulation not in KNOWN]
    assert not beyond, "\n".join(f"{row.simulation}: {row.kind} {row.quantity} {row.rate}" for row in beyond)


KNOWN = {"AgeDB-like"}
"""Simulations with rows out of their bounds, which the page names."""


def test_the_page_shows_the_record() -> None:
    page = generators().fill((DOCS / "explanation/statistics.md").read_text())
    assert page.count("### ") >= len(SIMULATIONS)
    for row in ROWS:
        shown = f"{100 * row.rate:.1f} ± {100 * row.error:.1f}"
        assert any(
            shown in line and row.quantity.removeprefix("difference of ") in line for line in page.splitlines()
        ), row
    widths = [line.count(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert widths


# The short form: a few seconds, bounds that a right method misses once in a hundred thousand runs

CHANCE = 1e-5


def surely_low(rate: float, count: int, least: float) -> bool:
    """Whether a rate is lower than chance makes one of at least ``least``."""
    return bool(binom.cdf(round(rate * count), count, least) < CHANCE)


def check(found: list[rows.Row], kinds: tuple[str, ...] = ("interval", "test", "share")) -> None:
    for row in found:
        if row.kind in kinds and row.kind == "interval":
            assert not surely_low(row.rate, row.repetitions, row.bounds[0]), row
        elif row.kind in kinds and row.bounds[1] < 1:
            assert not surely_low(1 - row.rate, row.repetitions, 1 - row.bounds[1]), row


@pytest.mark.parametrize("name", ["seeds", "values with grain", "seeds and people", "verdicts", "compare", "forecasts"])
def test_seeds_and_verdicts_hold(name: str) -> None:
    check(repeated(name, 60))


def test_tables_hold() -> None:
    found = repeated("ablation", 12)
    (bold,) = [row.rate for row in found if row.quantity == "columns with bold where nothing differs, 3 seeds"]
    assert bold < 0.2


def test_people_with_many_probes_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bootstrap over probes holds half of it here."""
    population = populations.Videos(populations.Faces(0.8), people=40, probes=14)
    monkeypatch.setitem(populations.POPULATIONS, "few videos", population)
    simulation = rows.Simulation("few videos", "", lambda rng: evaluations.evaluated("few videos", rng), 25, 25, ())
    found = rows.summarise(simulation, [simulation.repeat(np.random.default_rng(each)) for each in range(25)])
    check([row for row in found if "rank" in row.quantity])
    assert any(row.kind == "interval" for row in found)


# The bench itself


def test_a_method_that_does_not_hold_is_found() -> None:
    rng = np.random.default_rng(0)
    narrow = [{("interval", "mean"): (value, value - 1.0, value + 1.0, 0.0)} for value in rng.normal(size=400)]
    (row,) = rows.summarise(SIMULATIONS["seeds"], narrow)
    assert row.rate == pytest.approx(0.68, abs=0.07) and not row.holds
    assert row.low == pytest.approx(0.16, abs=0.06) and row.high == pytest.approx(0.16, abs=0.06)
    with pytest.raises(AssertionError):
        check([row])


def test_rows_without_numbers_are_counted() -> None:
    found = [
        {("interval", "x"): (0.5, np.nan, np.nan)},
        {("interval", "x"): (0.5, 0.4, 0.6)},
        {("test", "y"): (np.nan,)},
    ]
    (row,) = rows.summarise(SIMULATIONS["seeds"], found)
    assert (row.repetitions, row.without, row.rate) == (1, 1, 1.0)


def test_a_run_that_was_ended_goes_on(tmp_path: Path) -> None:
    simulation = SIMULATIONS["compare"]
    kept = record.Kept(tmp_path, simulation, seed=3)
    assert kept.chunks() == {}
    observed = [simulation.repeat(record.rng_of(simulation, 3, each)) for each in range(2)]
    kept.add(4, observed)
    again = record.Kept(tmp_path, simulation, seed=3)
    assert again.chunks() == {4: [{key: tuple(values) for key, values in each.items()} for each in observed]}
    assert record.Kept(tmp_path, simulation, seed=5).chunks() == {}, "of another seed"


def test_tables_of_rows_are_whole() -> None:
    text = table.markdown(ROWS, RECORD["models"])
    for part in re.findall(r"(?:^\|.*\n?)+", text, re.M):
        assert len({len(re.findall(r" \| ", line)) for line in part.splitlines()}) == 1
