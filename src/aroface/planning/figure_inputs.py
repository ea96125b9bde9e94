"""Figures of a configuration, and the files that each is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.planning.plan import Plan, PlannedRun
from aroface.reporting.figures.form import Font
from aroface.reporting.figures.registry import FIGURE_KINDS


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a plan.

    Attributes:
        name: Name of its files and of the rule that draws it.
        kind: Key of :data:`aroface.reporting.figures.registry.FIGURE_KINDS`.
        benchmark: Name of the benchmark whose records, and whose faces, it shows; None of kinds that show no records.
        trained_on: Training sets whose experiments it shows; none for all.
        others: Further benchmarks whose records it shows.
        unit: Unit of the changes that it shows; None of kinds without one, and for the kind's own.
        width: ``column``, ``text`` or millimetres; None for LNCS's text.
        font: Typeface; None for Computer Modern.
    """

    name: str
    kind: str
    benchmark: str | None = None
    trained_on: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unit: str | None = None
    width: str | float | None = None
    font: Font | None = None

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Names of all benchmarks whose records it shows."""
        return () if self.benchmark is None else (self.benchmark, *self.others)


def _records(plan: Plan, figure: Figure) -> list[Path]:
    chosen = None
    if figure.trained_on:
        shown = [run.experiment for run in plan.runs.values() if run.experiment.dataset in figure.trained_on]
        chosen = [experiment.described for experiment in shown]
    return plan.records({*figure.benchmarks}, chosen)


def _trained(plan: Plan, figure: Figure) -> list[Path]:
    return _checkpoints(plan, [run for run in plan.runs.values() if run.experiment.recipe])


def _attacked(plan: Plan, figure: Figure) -> list[Path]:
    recipes = {name: run.experiment.recipe for name, run in plan.runs.items() if run.experiment.recipe}
    return _checkpoints(plan, [plan.runs[name] for name in recipes if recipes[name]["adversary"]["kind"] != "none"])


def _checkpoints(plan: Plan, runs: Iterable[PlannedRun]) -> list[Path]:
    # They say which runs are finished. The histories beside them are no job's outputs: earlier versions wrote none, and
    # no run must be trained again for the want of one.
    checkpoints = [plan.results.run(run.name).checkpoint for run in runs]
    return [path for path in checkpoints if path.exists()] if plan.values["render_only"] else checkpoints


_FROM_RUNS: dict[str, Callable[[Plan, Figure], list[Path]]] = {"training": _trained, "displacements": _attacked}


def figure_inputs(plan: Plan, figure: Figure) -> list[Path]:
    """Files that a figure shows; with ``render_only`` those that exist."""
    return _FROM_RUNS.get(figure.kind, _records)(plan, figure)


def source_arguments(plan: Plan, figure: Figure) -> list[str | Path]:
    """Arguments of ``aroface figure`` that name the folder of these files."""
    if FIGURE_KINDS[figure.kind].protocols:
        return ["--records", plan.results.records]
    return ["--runs-dir", plan.results.runs]


def read_figures(plan: Plan) -> dict[str, Figure]:
    """The figures that a plan asks for, by name, but for those that would have nothing to show.

    Experiments laid over a configuration may be none with an adversary; with ``render_only`` nothing may be there yet.

    Raises:
        InputError: Two figures have one name, or a figure's benchmark is not one that its kind can show.
    """
    figures: dict[str, Figure] = {}
    for number, entry in enumerate(plan.values["figures"]):
        figure = _read(plan, entry, f"figures.{number}")
        if figure.name in figures:
            raise InputError(f"a second figure {figure.name!r}", file=plan.file, where=f"figures.{number}")
        figures[figure.name] = figure
    return {name: figure for name, figure in figures.items() if figure_inputs(plan, figure)}


def _read(plan: Plan, entry: str | dict[str, Any], where: str) -> Figure:
    declared: dict[str, Any] = {"name": entry, "kind": "fae"} if isinstance(entry, str) else entry
    name, kind = declared["name"], FIGURE_KINDS[declared["kind"]]
    form: Any = {key: declared.get(key) for key in ("width", "font")}
    protocols = kind.protocols
    for key, fits in (("benchmarks", kind.several), ("benchmark", not kind.several), ("unit", "unit" in kind.needs)):
        if protocols and key in declared and not fits:
            raise InputError(f"not of kind {kind.name}", file=plan.file, where=f"{where}.{key}")
    if not protocols:
        for key in {"benchmark", "benchmarks", "unit", "trained_on"} & declared.keys():
            raise InputError(f"kind {declared['kind']} shows no benchmark", file=plan.file, where=f"{where}.{key}")
        return Figure(name, declared["kind"], **form)
    benchmark, *others = declared.get("benchmarks", [declared.get("benchmark", name)])
    known = [planned.name for planned in plan.benchmarks.values() if planned.spec["protocol"] in protocols]
    for each in (benchmark, *others):
        if each in known:
            continue
        expected = f"one of {', '.join(known)}" if known else f"a benchmark of the protocol {' or '.join(protocols)}"
        raise InputError(f"no curves of {each!r}", file=plan.file, where=where, expected=expected)
    trained_on = tuple(declared.get("trained_on", ()))
    sets = list(dict.fromkeys(run.experiment.dataset for run in plan.runs.values()))
    for number, key in enumerate(trained_on):
        if key not in sets:
            place, expected = f"{where}.trained_on.{number}", f"one of {', '.join(sets)}"
            raise InputError(f"no experiment is trained on {key!r}", file=plan.file, where=place, expected=expected)
    return Figure(name, declared["kind"], benchmark, trained_on, tuple(others), declared.get("unit"), **form)
