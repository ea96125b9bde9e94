"""Folders of ``aroface export`` from made-up results, for the tests that compile them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aroface.cli.export import draw_figure
from aroface.planning.export_material import export_material
from aroface.planning.products import Products
from aroface.reporting.export.folder import Fragment, inputs, write_folder
from aroface.reporting.export.origin import Origin, hashes
from aroface.reporting.export.templates import TEMPLATES
from aroface.reporting.records import read_runs_file


def write_export(
    products: Products, template: str, folder: Path, *, subset: Sequence[str] | None = None, flat: bool = False
) -> list[Fragment]:
    """Write an export of a plan's tables and figures into a new folder."""
    products.plan.write()
    material = export_material(
        products,
        read_runs_file(products.plan.runs_file),
        lambda *arguments: draw_figure(products, *arguments),
        subset=subset,
    )
    origin = Origin(
        "aroface export", None, "0", material.configuration, material.configuration_hash, {}, hashes(inputs(material))
    )
    folder.mkdir(parents=True)
    return write_folder(material, TEMPLATES[template], folder, origin, flat=flat)
