"""The verb ``aroface export``: tables and figures as a folder that compiles in the class of a venue."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aroface import __version__
from aroface.cli.arguments import Arguments, Verbs, add_configuration, add_verb, listed
from aroface.cli.figure import add_figure_verb
from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.reporting.export.templates import TEMPLATES, VenueTemplate
from aroface.reporting.latexmk import ENGINES

if TYPE_CHECKING:
    from aroface.planning.products import Products
    from aroface.reporting.export.folder import Fragment
    from aroface.reporting.export.material import ExportMaterial
    from aroface.reporting.export.origin import Origin


POPPLER = "on Debian or Ubuntu: apt-get install poppler-utils"


def add_export_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs,
        "export",
        "write tables, figures and single numbers into a folder that compiles in the class of a journal or conference",
        "aroface export --template cvpr paper-kit",
        _do_export,
    )
    verb.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="a new folder, or one that this verb wrote")
    titles = "; ".join(f"{template.name}: {template.title}" for template in TEMPLATES.values())
    verb.add_argument("--template", choices=tuple(TEMPLATES), help=titles)
    verb.add_argument("--flat", action="store_true", help="no folders in the folder, as arXiv and some publishers ask")
    verb.add_argument(
        "--subset",
        type=listed,
        metavar="NAME,NAME",
        help="some tables and figures, such as tinyface,ijbs,figure_fae,claims (all)",
    )
    verb.add_argument(
        "--mode",
        choices=("reported", "reproduced", "both", "delta"),
        help="values of tables (those of the configuration's table_mode, and as a table of their own the authors')",
    )
    verb.add_argument("--engine", choices=tuple(ENGINES), default="pdflatex", help="LaTeX that compiles (%(default)s)")
    verb.add_argument("--no-compile", action="store_true", help="write the folder only")
    verb.add_argument(
        "--check",
        type=Path,
        metavar="PAPER.tex",
        help="write nothing, but look up the address of every \\aroval of a paper; exit status 2 if one is unknown",
    )
    add_configuration(verb)


def _do_export(options: Arguments) -> int:
    from aroface.planning.export_material import export_material
    from aroface.planning.plan import make_plan
    from aroface.planning.products import find_products
    from aroface.reporting.records import read_runs_file

    _check_options(options)
    plan = make_plan(options.configfile)
    plan.write()
    products = find_products(plan)
    material = export_material(
        products,
        read_runs_file(plan.runs_file),
        lambda *arguments: draw_figure(products, *arguments),
        mode=options.mode,
        subset=options.subset,
    )
    return _check(options.check, material) if options.check else _export(options, material)


def _check_options(options: Arguments) -> None:
    given = [f"--{name}" for name in ("template", "subset", "mode") if getattr(options, name) is not None]
    if options.check is not None:
        given += ["DIR"] if options.folder is not None else []
        if given:
            raise InputError(f"--check with {given[0]}", expected="one of the two")
        return
    if options.template is None:
        raise InputError("not given", where="--template", expected=f"one of {', '.join(TEMPLATES)}")
    if options.folder is None:
        raise InputError("not given", where="DIR", remedy="name the folder, before --configfile")


def _check(paper: Path, material: ExportMaterial) -> int:
    from aroface.reporting.export.folder import cells
    from aroface.reporting.export.values import check_paper

    number, unknown = check_paper(paper, cells(material))
    for each in unknown:
        print(f"aroface: error: {each}", file=sys.stderr)
    if not unknown:
        print(f"{paper}: {number} numbers, each with a value")
    return ExitStatus.BAD_INPUT if unknown else ExitStatus.DONE


def draw_figure(products: Products, name: str, stem: Path, template: VenueTemplate, spanning: bool) -> None:
    """Draw a figure by ``aroface figure``, as wide as a column or the text.

    Args:
        products: Figures of a plan.
        name: Name of the figure.
        stem: Path of its files, without a suffix.
        template: Class of the document.
        spanning: True for a figure that spans all columns.
    """
    from aroface.reporting.export.forms import figure_options

    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers()
    add_figure_verb(verbs)
    words = ["figure", *shlex.split(products.figure_arguments(name))]
    if "--faces" in words and not all(path.exists() for path in products.figure_faces(name)):
        faces = words.index("--faces")  # of a data set that is not here: the curves are drawn all the same
        del words[faces : faces + 2]
    words[words.index("--out") + 1] = str(stem)
    options = figure_options(template, spanning)
    figure = parser.parse_args([*words, *options])
    words[words.index("--out") + 1] = stem.name
    figure.words = [*words, *options]
    with contextlib.redirect_stdout(io.StringIO()):  # it names its files, which are not where they will be
        figure.action(figure)


def _export(options: Arguments, material: ExportMaterial) -> int:
    from aroface.reporting.export.folder import new_folder, write_folder

    template = TEMPLATES[options.template]
    origin = _origin(options, material)
    with new_folder(options.folder) as folder:
        fragments = write_folder(material, template, folder, origin, flat=options.flat)
        problems, remarks = _compiled(options, template, folder, fragments)
    for remark in (material.left_out, *remarks):
        if remark:
            print(remark, file=sys.stderr)
    for problem in problems:
        print(f"aroface: {problem}", file=sys.stderr)
    print(options.folder)
    return ExitStatus.FAILED if problems else ExitStatus.DONE


def _compiled(
    options: Arguments, template: VenueTemplate, folder: Path, fragments: list[Fragment]
) -> tuple[list[str], list[str]]:
    """Faults of the compiled document, and lines on what was not done."""
    from aroface.reporting.export.compiling import cannot_compile, compile_folder

    if options.no_compile:
        return [], []
    if lacking := cannot_compile(template, options.engine):
        return [], [f"not compiled: {lacking}"]
    faults = compile_folder(folder, fragments, options.engine)
    drawn = any(folder.glob("main-*.png"))
    remarks = (
        [] if drawn else ["pages not drawn: pdftoppm not found; on Debian or Ubuntu: apt-get install poppler-utils"]
    )
    return list(map(str, faults)), remarks if (folder / "main.pdf").exists() else []


def _origin(options: Arguments, material: ExportMaterial) -> Origin:
    from aroface.provenance import git_commit, versions
    from aroface.reporting.export.folder import inputs
    from aroface.reporting.export.origin import Origin, hashes

    return Origin(
        command=f"aroface {shlex.join(options.words)}",
        commit=git_commit(),
        version=__version__,
        configuration=material.configuration,
        configuration_hash=material.configuration_hash,
        versions=versions(),
        hashes=hashes(inputs(material)),
    )
