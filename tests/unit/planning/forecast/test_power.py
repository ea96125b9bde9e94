"""Power of a plan: against the textbook's t test, against a simulation with the printed intervals, and from records."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import nct, norm, t
from tests.unit.planning.forecast.test_costs import CONFIG, ROOT, planned

from aroface.cli.main import main
from aroface.datasets.registry import Typical
from aroface.planning.forecast.outlook_text import summary
from aroface.planning.forecast.power import (
    COMMON,
    INTRACLASS,
    MOST_SEEDS,
    POWER,
    SEED_SPREAD,
    find_power,
    find_spread,
    people_needed,
    power,
    seeds_needed,
    visible_difference,
)
from aroface.planning.forecast.power_text import power_line, power_lines, print_power
from aroface.planning.forecast.workload import tasks_to_do
from aroface.planning.plan import make_plan
from aroface.reporting.records import load_records
from aroface.reporting.statistics.intervals import on_faces_like_these, on_this_benchmark
from aroface.reporting.statistics.samples import Sample
from made_up_records import write_record


@pytest.mark.parametrize("seeds", [2, 3, 5, 12, 80])
@pytest.mark.parametrize("effect", [0.0, 0.3, 1.0, 3.0, 12.0, 60.0])
def test_power_on_this_benchmark_is_that_of_the_paired_t_test(seeds: int, effect: float) -> None:
    limit, shift = t.ppf(0.975, seeds - 1), effect * math.sqrt(seeds)
    expected = nct.sf(limit, seeds - 1, shift) + (nct.cdf(-limit, seeds - 1, shift) if shift < 5 else 0)
    assert power(-effect, seeds, 1.0) == power(effect, seeds, 1.0) == pytest.approx(expected, abs=1e-6)


def test_tables_of_the_paired_t_test() -> None:
    """Cohen, Statistical Power Analysis, 1988: 34 pairs find half a standard deviation, 15 find .8 of it, in 80 %."""
    assert [seeds_needed(effect, 1.0) for effect in (0.5, 0.8)] == [34, 15]
    assert power(0.0, 7, 1.0) == pytest.approx(0.05)
    assert power(1.0, 1, 1.0) == 0 and visible_difference(1, 1.0) is None


def test_many_people_and_seeds_make_the_normal_test() -> None:
    assert power(2.8, 5000, 1e-3, 1.0) == pytest.approx(norm.sf(1.96 - 2.8), abs=1e-3)


def simulated(difference: float, seeds: int, seed_sd: float, people: int, spread: float, rounds: int) -> list[float]:
    """Share of rounds in which the printed intervals leave out 0: on this benchmark, on faces like these."""
    rng = np.random.default_rng(7)
    found = np.zeros(2)
    for _ in range(rounds):
        cases = rng.normal(0, spread, people)
        values = difference + cases.mean() + rng.normal(0, seed_sd, seeds)
        left_out = (cases.sum() - cases) / (people - 1)
        by_seed = {seed: value - cases.mean() + left_out for seed, value in enumerate(values)}
        sample = Sample(dict(enumerate(values.tolist())), {"people": by_seed})
        for place, interval in enumerate((on_this_benchmark(sample), on_faces_like_these(sample))):
            assert interval is not None and interval.low is not None and interval.high is not None
            found[place] += interval.low > 0 or interval.high < 0
    return [*(found / rounds)]


def test_power_is_what_the_printed_intervals_find() -> None:
    rounds = 1500
    error = 3 * math.sqrt(0.25 / rounds)
    alone, _ = simulated(1.0, 4, 0.6, 50, 1e-9, rounds)
    assert alone == pytest.approx(power(1.0, 4, 0.6), abs=error)
    _, on_faces = simulated(1.0, 5, 0.4, 60, 2.0, rounds)
    assert on_faces == pytest.approx(power(1.0, 5, 0.4, 2.0 / math.sqrt(60)), abs=error)


def test_a_visible_difference_is_found_in_four_of_five_cases() -> None:
    for people_sd in (0.0, 0.2, 2.0):
        found = visible_difference(4, 0.5, people_sd)
        assert found is not None and power(found, 4, 0.5, people_sd) == pytest.approx(POWER)
    assert visible_difference(4, 0.5, 0.01) == pytest.approx(visible_difference(4, 0.5) or 0, rel=1e-3)


def test_seeds_do_not_make_up_for_people() -> None:
    assert seeds_needed(1.0, 0.5, 0.4) is None
    assert power(1.0, MOST_SEEDS, 0.5, 0.4) < POWER < power(1.0, MOST_SEEDS, 0.5)
    people = people_needed(1.0, 8, 0.5, 0.4, 200)
    assert people is not None and people > 200
    enough, too_few = (power(1.0, 8, 0.5, 0.4 * math.sqrt(200 / count)) for count in (people, people - 1))
    assert too_few < POWER <= enough
    assert people_needed(1.0, 2, 0.5, 0.4, 200) is None, "two seeds do not do, whoever is tested"


def test_more_of_anything_helps() -> None:
    by_people = [power(1.0, 3, 0.3, 1 / math.sqrt(count)) for count in (1, 4, 10, 30, 100, 1000, 10**6)]
    by_seeds = [power(1.0, count, 0.5, 0.3) for count in range(2, 30)]
    assert by_people == sorted(by_people) and by_seeds == sorted(by_seeds)


# Variation: from records, else assumed


def left_out(values: dict[str, float], seed: int) -> list[dict[str, Any]]:
    """A jackknife that moves by known amounts: alike in all seeds of a method."""
    shifts = np.random.default_rng(len(values)).normal(0, 1e-3, 100)
    moved = {name: [value + float(shift) for shift in shifts] for name, value in values.items()}
    return [{"unit": "people", "units": 321, "values": moved}]


def write_runs(folder: Path, method: str, values: list[float], shifts: np.ndarray | None) -> None:
    for seed, value in enumerate(values):
        path = write_record(folder, method, {"rank1": value}, seed=seed)
        if shifts is not None:
            record = json.loads(path.read_text())
            moved = {"rank1": [round(value + float(shift), 9) for shift in shifts]}
            record["jackknife"] = [{"unit": "people", "units": 321, "values": moved}]
            path.write_text(json.dumps(record))


def test_spread_of_finished_runs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1e-3, (2, 100))
    write_runs(tmp_path, "arcface", [0.6, 0.62, 0.64], one)
    write_runs(tmp_path, "arcface_aroface", [0.65, 0.66, 0.7], other)
    found = find_spread("tinyface", "rank1", load_records(tmp_path), Typical(10, 10, 0.5))
    assert found.origin == "records" and found.seeds == pytest.approx(np.std([0.05, 0.04, 0.06], ddof=1))
    gap = other - one
    expected = math.sqrt(99 / 100 * np.sum((gap - gap.mean()) ** 2))
    assert found.people is not None and (found.people.count, found.people.origin) == (321, "records")
    assert found.people.sd == pytest.approx(expected, rel=1e-3)


def test_spread_of_one_method_counts_for_two(tmp_path: Path) -> None:
    shifts = np.random.default_rng(0).normal(0, 1e-3, 100)
    write_runs(tmp_path, "arcface", [0.6, 0.62, 0.64], shifts)
    found = find_spread("tinyface", "rank1", load_records(tmp_path), None)
    assert found.seeds == pytest.approx(math.sqrt(2) * 0.02)
    expected = 2 * (1 - COMMON) * 99 / 100 * np.sum((shifts - shifts.mean()) ** 2)
    assert found.people is not None and found.people.sd == pytest.approx(math.sqrt(expected), rel=1e-3)


def test_spread_without_seeds_or_jackknife_is_assumed(tmp_path: Path) -> None:
    write_runs(tmp_path, "arcface", [0.6], None)
    found = find_spread("tinyface", "rank1", load_records(tmp_path), Typical(200, 1000, 0.9))
    assert found.origin == "assumed" and found.seeds == pytest.approx(SEED_SPREAD * math.sqrt(2 * 0.6 * 0.4))
    effect = 1 + 4 * INTRACLASS
    assert found.people is not None and found.people.origin == "assumed"
    assert found.people.sd == pytest.approx(math.sqrt(2 * (1 - COMMON) * 0.24 / 1000 * effect))
    assert find_spread("tinyface", "rank1", (), None).people is None


# The verb

CONFIGURATIONS = ("config.yaml", *(f"workflow/configs/{name}.yaml" for name in ("claim", "demo", "tiny")))
MADE = {"workflow/configs/demo.yaml": {"clean": 200, "hard": 200, "search": 200, "media": 150, "videos": 80}}
"""People of the benchmarks' sets that a configuration lets make: pairs, a search, templates and videos."""


def test_a_plan_of_its_own_sets(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    forecast = find_power(plan, 2.0, root=ROOT)
    assert (forecast.seeds, forecast.difference) == (2, 2.0)
    (needs,) = forecast.benchmarks
    asked = CONFIG["data"]["clean"]["generate"]["pairs"]
    assert needs.spread.people is not None and needs.spread.people.count == asked["identities"]
    (line,) = power_line(forecast)
    assert line.startswith("power: with 2 seeds a difference of ") and line.endswith("can be seen in 4 of 5 cases")
    assert line in summary(plan, tasks_to_do(plan), root=ROOT) and power_lines(plan, root=ROOT) == [line]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_of_the_project_has_an_answer(name: str, tmp_path: Path) -> None:
    paths = {"data": str(tmp_path / "data"), "results": str(tmp_path / "results")}
    (tmp_path / "paths.yaml").write_text(yaml.safe_dump({"paths": paths}))
    plan = make_plan([ROOT / name, tmp_path / "paths.yaml"], root=ROOT)
    found = {needs.spread.benchmark: needs.spread for needs in find_power(plan, root=ROOT).benchmarks}
    assert found.keys() == plan.benchmarks.keys()
    made = {benchmark for benchmark, planned in plan.benchmarks.items() if planned.source.name in MADE.get(name, {})}
    for benchmark in made:
        people = found[benchmark].people
        assert people is not None
        assert people.count == MADE[name][plan.benchmarks[benchmark].source.name]


def test_one_seed_tells_nothing(tmp_path: Path) -> None:
    forecast = find_power(planned(tmp_path, {"seeds": [4]}), root=ROOT)
    assert power_line(forecast) == ["power: with 1 seed no difference of two methods can be told from chance"]
    assert [needs.visible for needs in forecast.benchmarks] == [None]


def test_registered_benchmarks_say_how_many_people_they_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned(tmp_path, {"benchmarks": ["lfw", "tinyface", "ijbc", "ijbs"]})
    print_power(find_power(plan, 1.0, root=ROOT))
    printed = capsys.readouterr().out
    for name, people in {"lfw": "4,281", "tinyface": "2,569", "ijbc": "3,531", "ijbs": "202"}.items():
        (row,) = (line for line in printed.splitlines() if line.startswith(f"{name} "))
        assert people in row.split() and "*" in row


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    planned(tmp_path)
    monkeypatch.chdir(tmp_path)
    call = ["plan", "--configfile", "test.yaml"]
    assert main([*call, "--power", "--difference", "3"]) == 0
    assert "seeds for 3" in capsys.readouterr().out
    assert main([*call, "--json", "--power", "--difference", "3"]) == 0
    found = json.loads(capsys.readouterr().out)["power"]
    assert found["difference_points"] == 3 and len(found["benchmarks"]) == 1
    assert found["benchmarks"][0]["on_this_benchmark"]["seeds"] >= 2
    assert main([*call, "--difference", "3"]) == 2
    assert "--difference without --power" in capsys.readouterr().err
