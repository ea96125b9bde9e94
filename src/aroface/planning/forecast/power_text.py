"""Power of a plan in words: a table for people, JSON for machines, a line for the outlook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from aroface.errors import InputError
from aroface.humanize import plural
from aroface.planning.forecast.power import Needs, PowerForecast, find_power
from aroface.planning.plan import Plan
from aroface.reporting.statistics.decisions import MOST_SEEDS, POWER
from aroface.reporting.statistics.multiplicity import SIGNIFICANT

_ROOM = 140  # characters, so that no line of the table is cut
_UNKNOWN = "–"


def print_power(forecast: PowerForecast) -> None:
    """Print the answers for all benchmarks, and how they are meant."""
    console = Console(highlight=False)
    console = Console(width=max(console.width, _ROOM), highlight=False)
    console.print(_table(forecast))
    for line in _legend(forecast):
        console.print(line, soft_wrap=True, markup=False)


def _table(forecast: PowerForecast) -> Table:
    drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    wished = f"seeds for {forecast.difference:g}"
    names = ["benchmark", "metric", "sd seeds", "sd people", "people", "seen here", "on faces"]
    for name in [*names, f"{wished} here", "on faces", f"people for {forecast.difference:g}"]:
        drawn.add_column(name, justify="left" if name in ("benchmark", "metric") else "right", no_wrap=True)
    for benchmark in forecast.benchmarks:
        drawn.add_row(*_row(benchmark))
    return drawn


def _row(needs: Needs) -> tuple[str, ...]:
    spread, people = needs.spread, needs.spread.people
    return (
        spread.benchmark,
        spread.metric,
        _points(spread.seeds) + ("" if spread.origin == "records" else "*"),
        _UNKNOWN if people is None else _points(people.sd) + ("" if people.origin == "records" else "*"),
        _UNKNOWN if people is None else f"{people.count:,}",
        _known(_points, needs.visible),
        _known(_points, needs.visible_on_faces),
        _known("{:,}".format, needs.seeds, f"> {MOST_SEEDS}"),
        _UNKNOWN if people is None else _known("{:,}".format, needs.seeds_on_faces, f"> {MOST_SEEDS}"),
        _known("{:,}".format, needs.people),
    )


def _known(text_of: Callable[[Any], str], value: float | None, otherwise: str = _UNKNOWN) -> str:
    return otherwise if value is None else text_of(value)


def _points(fraction: float) -> str:
    """A fraction in points, with two digits."""
    points = 100 * fraction
    return f"{points:.0f}" if points >= 9.95 else f"{points:.1f}" if points >= 0.995 else f"{points:.2g}"


def _legend(forecast: PowerForecast) -> list[str]:
    seeds, wished = plural(forecast.seeds, "seed"), f"{forecast.difference:g}"
    lines = [
        "sd: standard deviation of the difference of two methods, in points, over seeds and over draws of the people",
        f"seen: difference that {seeds} find in {100 * POWER:g} % of cases by a test of {100 * SIGNIFICANT:g} %, "
        "in points: here, on this benchmark; on faces like these, of which its people are a sample",
        f"seeds for {wished}: number that finds a difference of {wished} points so",
        f"people for {wished}: number of them on faces, with {seeds}, or a quarter more than here if these are more",
    ]
    if any("assumed" in _origins(each) for each in forecast.benchmarks):
        lines.append("*: assumed; finished runs of two methods and two seeds take its place")
    return lines


def _origins(needs: Needs) -> set[str]:
    people = needs.spread.people
    return {needs.spread.origin, *([] if people is None else [people.origin])}


def power_lines(plan: Plan, **where: Any) -> list[str]:
    """One line on the differences that the plan's seeds can show; none where nothing is trained and evaluated.

    Args:
        plan: Plan of the configuration.
        where: Folder of the repository, as :func:`aroface.planning.forecast.power.find_power` takes it.
    """
    try:
        return power_line(find_power(plan, **where))
    except InputError as error:
        return [f"power: unknown: {error}"]


def power_line(forecast: PowerForecast) -> list[str]:
    """The line of `power_lines` for a forecast."""
    if not forecast.benchmarks or not forecast.seeds:
        return []
    if forecast.seeds == 1:
        return ["power: with 1 seed no difference of two methods can be told from chance"]
    seen = [f"{_points(each.visible)} on {each.spread.benchmark}" for each in forecast.benchmarks if each.visible]
    first, *others = seen
    first = first.replace(" on ", " points on ", 1)
    return [
        f"power: with {forecast.seeds} seeds a difference of {', '.join([first, *others])} can be seen in 4 of 5 cases"
    ]


def power_json(forecast: PowerForecast) -> dict[str, Any]:
    """All numbers, without rounding: standard deviations and visible differences are fractions."""
    return {
        "difference_points": forecast.difference,
        "power": POWER,
        "level": SIGNIFICANT,
        "seeds": forecast.seeds,
        "benchmarks": [_entry(each) for each in forecast.benchmarks],
    }


def _entry(needs: Needs) -> dict[str, Any]:
    spread = asdict(needs.spread)
    return {
        "benchmark": spread["benchmark"],
        "metric": spread["metric"],
        "sd_over_seeds": {"sd": spread["seeds"], "origin": spread["origin"]},
        "sd_over_people": spread["people"],
        "on_this_benchmark": {"visible_difference": needs.visible, "seeds": needs.seeds},
        "on_faces_like_these": {
            "visible_difference": needs.visible_on_faces,
            "seeds": needs.seeds_on_faces,
            "people": needs.people,
        },
    }
