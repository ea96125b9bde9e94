"""Material of an export: from a plan, its products and a choice of them to what the reporting package exports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from aroface.errors import InputError
from aroface.files import digest, if_there
from aroface.humanize import one_of
from aroface.planning.products import Products
from aroface.reporting.claims import claims_text
from aroface.reporting.claims.verdicts import judge_claims
from aroface.reporting.export.material import ExportedClaims, ExportedFigure, ExportedTable, ExportMaterial
from aroface.reporting.export.templates import VenueTemplate
from aroface.reporting.records import Selection
from aroface.reporting.tables.grid import Mode

TABLE, FIGURE = "table_", "figure_"
"""Prefixes of the names of the workflow's rules, which name products, too."""

CLAIMS = "claims"
"""Name of the table of claims."""

Draw = Callable[[str, Path, VenueTemplate, bool], None]
"""Function that draws the figure of a name: name, path of its files without suffix, template, True for all columns."""


def export_material(
    products: Products,
    selection: Selection,
    draw: Draw,
    *,
    mode: Mode | None = None,
    subset: Sequence[str] | None = None,
) -> ExportMaterial:
    """Choose what is exported: tables and figures with results, and the authors' tables where there are none.

    Args:
        products: Tables and figures, and the plan that they show.
        selection: Runs that count, their experiments and labels.
        draw: Function that draws a figure.
        mode: Values that tables show; None for the configuration's, and the authors' where there is no result.
        subset: Names of tables and figures, ``table_`` and ``figure_`` before them allowed, and ``claims``; None for
            all.

    Raises:
        InputError: No such table or figure (the nearest is named).
    """
    plan = products.plan
    tables, figures = _chosen(products, subset)
    with_claims = CLAIMS in subset if subset is not None else bool(products.verdict_files)
    exported: list[ExportedTable] = []
    bare: list[str] = []
    for name in tables:
        found = list(_tables(products, name, mode))
        exported += found
        if not found:
            bare.append(f"table {name}")
    drawn = []
    for name in figures if mode != "reported" else ():
        inputs = tuple(path for path in products.figure_inputs(name) if if_there(path.is_file))
        if inputs:
            command = f"aroface figure {products.figure_arguments(name)}"
            drawn.append(ExportedFigure(name, _drawing(draw, name), inputs, command))
        else:
            bare.append(f"figure {name}")
    claims = _claims(products, selection) if with_claims and mode != "reported" else None
    bare += [CLAIMS] if with_claims and claims is None else []
    specs = {**products.reported, **products.tables, **{table.spec.name: table.spec for table in exported}}
    return ExportMaterial(
        tables=tuple(exported),
        figures=tuple(drawn),
        specs=tuple(specs.values()),
        records=plan.results.records,
        selection=selection,
        note=plan.values["note"],
        configuration=plan.file,
        configuration_hash=digest(plan.values),
        known=tuple(path for path in plan.records() if if_there(path.is_file)),
        claims=claims,
        left_out=f"left out, without a result in {plan.results.root}: {', '.join(bare)}" if bare else None,
    )


def _chosen(products: Products, subset: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Names of tables and of figures."""
    tables = list(dict.fromkeys([*products.tables, *products.reported]))
    figures = list(products.figures)
    if subset is None:
        return tables, figures
    offered = list(dict.fromkeys([*tables, *products.offered]))
    chosen: tuple[list[str], list[str]] = [], []
    for name in subset:
        if name.removeprefix(TABLE) in offered:
            chosen[0].append(name.removeprefix(TABLE))
        elif name.removeprefix(FIGURE) in figures:
            chosen[1].append(name.removeprefix(FIGURE))
        elif name != CLAIMS:
            known = [*offered, *(f"{FIGURE}{figure}" for figure in figures), CLAIMS]
            raise InputError(f"no table or figure {name!r}", where="--subset", expected=_nearest(name, known))
    return chosen


def _nearest(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, 1)
    return one_of(known, name) + (f"; the nearest is {near[0]}" if near else "")


def _tables(products: Products, name: str, mode: Mode | None) -> Iterator[ExportedTable]:
    """A table with its results, or as its authors reported it, or both where no mode is asked for."""
    reported = products.reported.get(name)
    spec = products.offered.get(name)
    wanted: Mode = mode or products.plan.values["table_mode"]
    records = tuple(path for path in products.table_records(name) if if_there(path.is_file)) if spec else ()
    if spec is not None and records and wanted != "reported":
        yield ExportedTable(spec, wanted, records)
        if mode is not None:
            return
    if reported is not None and (spec is None or spec.path == reported.path or not records):
        yield ExportedTable(reported, "reported")


def _claims(products: Products, selection: Selection) -> ExportedClaims | None:
    """The claims with their verdicts; None without a record that one rests on."""
    inputs = tuple(path for path in products.claimed_records if if_there(path.is_file))
    if not inputs:
        return None

    def render(template: VenueTemplate) -> str:
        judged = judge_claims(products.claims, products.plan.results.records, **selection)
        return claims_text.latex(judged, width=template.text, spanning=template.columns == 2)

    return ExportedClaims(render, products.claims.path, inputs)


def _drawing(draw: Draw, name: str) -> Callable[[Path, VenueTemplate, bool], None]:
    return lambda stem, template, spanning: draw(name, stem, template, spanning)
