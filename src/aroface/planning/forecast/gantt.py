"""A plan's schedule as a picture, PDF and PNG: a line for each GPU, a bar for each job, always the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from aroface.files import write_bytes
from aroface.humanize import days_text, plural
from aroface.planning.forecast.simulation import Attempt, SimulatedSchedule, chain_hours, longest_chain
from aroface.planning.plan import Plan
from aroface.reporting.figures.form import DEFAULT_FORM, style
from aroface.reporting.figures.layout import COLOURS, figure_text
from aroface.reporting.figures.save import picture

WIDTH = 190 / 25.4  # inches; within the margins of A4
LINE = 0.13  # inches of a GPU; less where there are many
LEFT, RIGHT, TOP, BOTTOM = 0.42, 0.12, 0.25, 0.62
MOST_HEIGHT = 7.5  # inches of all lines
LETTERING = 4.6  # points
_GLYPH = 0.52  # width of a letter, of its height
_TEXT: Any = {"color": "white", "fontsize": LETTERING, "linespacing": 1.05, "ha": "center", "va": "center"}
_OTHER = "0.35"
UNDERSCORE = r"$\_$"  # Computer Modern's roman has a dot accent where other fonts have one
_UNITS = ((96, "days", 24.0), (2, "hours", 1.0), (0, "minutes", 1 / 60))  # of the axis, from so many hours on


def draw_schedule(schedule: SimulatedSchedule, out: Path, plan: Plan) -> None:
    """Write ``out`` as PDF and PNG, whichever of the two it names.

    Args:
        schedule: Times and places of the jobs.
        out: Path of the files.
        plan: Has the names of runs.
    """
    labels = {run.name: _labels(run.name, plan) for run in plan.runs.values()}
    datasets = {run.name: figure_text(plan.labels.get(run.source.name, run.source.name)) for run in plan.runs.values()}
    with matplotlib.rc_context({**style(DEFAULT_FORM), "axes.grid": False}):
        figure = _draw(schedule, labels, datasets)
        for suffix in ("pdf", "png"):
            write_bytes(out.with_suffix(f".{suffix}"), picture(figure, suffix))


def _draw(schedule: SimulatedSchedule, labels: Mapping[str, Sequence[str]], datasets: Mapping[str, str]) -> Figure:
    gpus = schedule.cluster.gpus
    lines = min(gpus * LINE, MOST_HEIGHT)
    height = TOP + lines + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((LEFT / WIDTH, BOTTOM / height, 1 - (LEFT + RIGHT) / WIDTH, lines / height))
    unit_name, unit = next((name, hours) for least, name, hours in _UNITS if schedule.makespan >= least)
    axes.set_xlim(0, max(schedule.makespan / unit, 1e-3))
    axes.set_ylim(gpus, 0)
    held = [each for each in schedule.attempts if each.gpus]
    trained = [_run(each) for each in held if each.job.kind == "train"]
    colours = dict(zip(dict.fromkeys(map(datasets.__getitem__, trained)), COLOURS * len(trained), strict=False))
    for attempt in held:
        colour = colours[datasets[_run(attempt)]] if attempt.job.kind == "train" else _OTHER
        label = labels[_run(attempt)] if attempt.job.kind == "train" else ()
        _draw_attempt(axes, attempt, unit, colour, label, lines / gpus)
    _draw_frame(axes, schedule)
    axes.set_xlabel(unit_name)
    figure.text(LEFT / WIDTH, 1 - 0.15 / height, _title(schedule), fontsize=8, va="center")
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    if any(each.job.kind != "train" for each in held):
        handles.append(Patch(color=_OTHER, label="features"))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles) or 1, frameon=False, handlelength=1.2)
    return figure


def _draw_attempt(axes: Axes, attempt: Attempt, unit: float, colour: str, words: Sequence[str], line: float) -> None:
    """Bars on all its GPUs, with its name where there is room for it, upright where the bar is narrow."""
    start, length = attempt.start / unit, (attempt.end - attempt.start) / unit
    label = [*words, f"part {attempt.number + 1}"] if attempt.number else [*words]
    for first, number in _neighbours(attempt.gpus):
        style: Any = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.4 if words else 0}
        axes.add_patch(Rectangle((start, first), length, number, **style))
        width = 72 * length * axes.bbox.width / axes.figure.dpi / axes.get_xlim()[1]
        rooms = {0: (width, 72 * line * number), 90: (72 * line * number, width)}
        # The last words tell runs apart: where there is no room for all, the first ones go.
        choices = [label[skipped:] for skipped in range(max(1, len(label) - 1))] if label else []
        fitting = [(choice, turn) for choice in choices for turn, room in rooms.items() if _fits(choice, *room)]
        if fitting:
            centre, (choice, turn) = (start + length / 2, first + number / 2), fitting[0]
            axes.text(*centre, "\n".join(choice), rotation=turn, **_TEXT)


def _fits(words: Sequence[str], width: float, height: float) -> bool:
    """True if words below one another fit into so many points."""
    longest = max(len(word.replace(UNDERSCORE, "_")) for word in words)
    return longest * _GLYPH * LETTERING + 2 <= width and len(words) * 1.15 * LETTERING + 1 <= height


def _draw_frame(axes: Axes, schedule: SimulatedSchedule) -> None:
    """Axes, and a line between nodes."""
    per_node, nodes = schedule.cluster.gpus_per_node, schedule.cluster.nodes
    for node in range(1, nodes):
        axes.axhline(node * per_node, color="0.2", linewidth=0.4, zorder=3)
    axes.set_yticks([(node + 0.5) * per_node for node in range(nodes)])
    axes.set_yticklabels([f"node {node + 1}" for node in range(nodes)])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(12, steps=[1, 2, 5, 10], integer=True))


def _title(schedule: SimulatedSchedule) -> str:
    jobs = [*dict.fromkeys(each.job for each in schedule.attempts)]
    number = sum(job.kind == "train" for job in jobs)
    workload = plural(number, "training") if number else plural(sum(job.gpus > 0 for job in jobs), "job")
    chain = days_text(chain_hours(longest_chain(jobs)))
    return (
        f"{workload} on {plural(schedule.cluster.gpus, 'GPU')}: {days_text(schedule.makespan)}, "
        f"{100 * schedule.utilisation:.3g} % of them in use; longest chain {chain}. An estimate."
    )


def _labels(name: str, plan: Plan) -> list[str]:
    """Name of a run on its bar, one word a line."""
    run = plan.runs[name]
    method = figure_text(plan.labels.get(run.experiment.variant, run.experiment.variant))
    head, plus, treatment = method.partition("+")
    lines = [head, *(f"{plus}{treatment}".split(", ") if plus else [])]
    return [*lines, f"{run.experiment.arch} s{run.seed}"]


def _run(attempt: Attempt) -> str:
    return attempt.job.name.split()[1]


def _neighbours(gpus: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbouring numbers, each with its length."""
    first = previous = None
    for gpu in [*gpus, -1]:
        if first is not None and previous is not None and gpu != previous + 1:
            yield first, previous + 1 - first
            first = None
        first = gpu if first is None else first
        previous = gpu
