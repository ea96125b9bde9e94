"""The folder of an export: fragments, pictures, styles, numbers, bibliography, a document of the class, provenance."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aroface.errors import InputError
from aroface.files import if_there, list_files, placing, sha256_file, write_text
from aroface.leftovers import temporary_prefix, tidy_once
from aroface.reporting.export.forms import render_for
from aroface.reporting.export.glyphs import page_height
from aroface.reporting.export.judge import MAIN
from aroface.reporting.export.material import ExportedClaims, ExportedFigure, ExportedTable, ExportMaterial
from aroface.reporting.export.origin import PROVENANCE, Origin, written_files
from aroface.reporting.export.templates import VenueTemplate
from aroface.reporting.export.values import STYLE, CellFields, cell_fields, values_text, written
from aroface.reporting.records import Record, load_records, selected
from aroface.reporting.tables.bibtex import cited_entries
from aroface.reporting.tables.latex import check_name, environment
from aroface.shipped import PACKAGE

VALUES = "aroface-values.tex"
BIBLIOGRAPHY = "aroface.bib"
PACKAGE_FILE = "aroface.sty"
TITLE = "Tables and figures"
HIGHEST = 0.7
"""Share of a page that a picture in a column may take: a caption is below it."""

_MADE_BY_LATEX = {
    *{".aux", ".bbl", ".bcf", ".blg", ".fdb_latexmk", ".fls", ".lof", ".log", ".lot", ".out", ".run.xml", ".spl"},
    *{".synctex.gz", ".toc", ".xdv", ".nav", ".snm"},
}
_LABEL = re.compile(r"\\label\{(.*?)\}")
_PACKAGES = {
    r"\\begin\{sidewaystable": "rotating",
    r"\\begin\{longtable\}": "longtable",
    r"\\begin\{threeparttable\}": "threeparttable",
    r"\\arosiunitx": "siunitx",
}
"""Packages that fragments need beyond aroface.sty, by what they hold."""
_CITED = re.compile(r"\\(?:arocite|cite[a-z]*\*?)(?:\[[^\]]*\])*\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A table or figure in the folder.

    Attributes:
        kind: ``Table`` or ``Figure``.
        stem: Name of its file without the suffix.
        folder: Folder below the export that it lies in; empty for the export itself.
        label: LaTeX label.
        keys: Citation keys.
        packages: Packages of LaTeX that it needs beside ``aroface``.
    """

    kind: str
    stem: str
    folder: str
    label: str | None
    keys: tuple[str, ...]
    packages: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.stem}.tex"

    @property
    def path(self) -> str:
        r"""Path that ``\input`` takes."""
        return f"{self.folder}/{self.stem}" if self.folder else self.stem


def write_folder(
    material: ExportMaterial, template: VenueTemplate, folder: Path, origin: Origin, *, flat: bool = False
) -> list[Fragment]:
    """Write all files of an export into an empty folder.

    Args:
        material: Tables, figures and numbers.
        template: Class of the document.
        folder: Folder, which exists.
        origin: Origin that all parts share.
        flat: True for one folder without any below it.

    Returns:
        The fragments: tables, figures, claims.

    Raises:
        InputError: Nothing to export; a specification or a record is wrong; a name that LaTeX cannot read.
    """
    if not material.tables and not material.figures and material.claims is None:
        raise InputError("nothing to export", remedy=material.left_out)
    tables, figures = ("", "") if flat else ("tables", "figures")
    records = load_records(material.records, selected(material.selection)[0])
    fragments = [_table(table, material, template, folder / tables, origin) for table in material.tables]
    fragments += [_figure(figure, template, folder / figures, origin) for figure in material.figures]
    fragments += [_claims(material.claims, template, folder / tables, origin)] if material.claims is not None else []
    places = {"Table": tables, "Figure": figures}
    fragments = [replace(fragment, folder=places[fragment.kind]) for fragment in fragments]
    keys = dict.fromkeys(key for fragment in fragments for key in fragment.keys)
    bibliography = cited_entries([*material.specs, *(table.spec for table in material.tables)], keys)
    header = origin.header(f"{VALUES}, written by `aroface export`", None, material.known)
    numbers = list(cells(material, records))
    write_text(folder / VALUES, values_text(numbers, header))
    write_text(folder / PACKAGE_FILE, package_text())
    write_text(folder / BIBLIOGRAPHY, bibliography)
    text = environment().get_template(template.main).render(
        title=template.title,
        heading=TITLE,
        example=_example(numbers),
        packages=sorted({package for fragment in fragments for package in fragment.packages}),
        folder=figures if material.figures and not flat else None,
        fragments=fragments,
        bibliography="@" in bibliography,
    )  # fmt: skip
    write_text(folder / MAIN, text)
    parts = {table.stem: [table.spec.path, *table.records] for table in material.tables}
    parts |= {figure.stem: list(figure.inputs) for figure in material.figures}
    if material.claims is not None:
        parts[material.claims.stem] = [material.claims.source, *material.claims.inputs]
    written = {path.relative_to(folder).as_posix(): sha256_file(path) for path in _files(folder)}
    write_text(folder / PROVENANCE, origin.text(parts, material.left_out, written))
    return fragments


def package_text() -> str:
    r"""The package ``aroface.sty``, the definition of ``\aroval`` included."""
    return "\n".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "_templates" / PACKAGE_FILE, STYLE))


def cells(material: ExportMaterial, records: Sequence[Record] | None = None) -> Iterator[CellFields]:
    """The numbers that the text of a paper can print, table by table.

    Args:
        material: Tables.
        records: Records that count; None reads them.
    """
    runs, experiments, labels = selected(material.selection)
    records = load_records(material.records, runs) if records is None else records
    for spec in material.specs:
        yield from cell_fields(spec, records, experiments, labels)


def inputs(material: ExportMaterial) -> list[Path]:
    """All files that an export is made from."""
    paths = [path for table in material.tables for path in (table.spec.path, *table.records)]
    paths += [path for figure in material.figures for path in figure.inputs]
    paths += [material.claims.source, *material.claims.inputs] if material.claims is not None else []
    return list(dict.fromkeys([*paths, *material.known]))


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target``, which takes its place when the body has ended well.

    Raises:
        InputError: ``target`` is there and is not what an export wrote, or was changed since.
    """
    check_target(target)
    with placing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        tidy_once(target.parent)
        folder = tempfile.TemporaryDirectory(prefix=temporary_prefix(target), dir=target.parent)
    with folder as beside:
        made, old = Path(beside, "new"), Path(beside, "old")
        made.mkdir()
        yield made
        check_target(target)
        if target.exists():
            target.rename(old)
        try:
            made.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise


def check_target(target: Path) -> None:
    """Refuse a place that holds anything but an unchanged export.

    Raises:
        InputError: One line with the first file that this command did not write.
    """
    check_name(target.name, target)
    if not if_there(target.exists) and not target.is_symlink():
        return
    if target.is_symlink() or not target.is_dir():
        raise InputError("not a folder", file=target, expected="a new folder, or one that this command wrote")
    written = written_files(target)
    if written is None:
        if any(target.iterdir()):
            raise InputError("a folder that aroface export did not write", file=target, remedy="name another one")
        return
    for path in _files(target):
        name = path.relative_to(target).as_posix()
        if name == PROVENANCE or "".join(path.suffixes[-2:]) in _MADE_BY_LATEX or path.suffix in _MADE_BY_LATEX:
            continue
        if name not in written:
            raise InputError(f"{name} was added since the export", file=target, remedy="export into a new folder")
        if sha256_file(path) != written[name]:
            remedy = "export into a new folder, and copy what you need of it"
            raise InputError(f"{name} was changed since the export", file=target, remedy=remedy)


def add_file(folder: Path, path: Path, name: str) -> None:
    """Copy a file into a finished export, and into the list of its files."""
    shutil.copyfile(path, folder / name)
    with open(folder / PROVENANCE, "a", encoding="utf-8") as provenance:
        provenance.write(f"  {sha256_file(folder / name)}  {name}\n")


def _files(folder: Path) -> list[Path]:
    return [path for path in list_files(folder, "**/*") if not path.is_dir()]


def _example(numbers: Sequence[CellFields]) -> str | None:
    """An address that prints a number, reproduced where one is."""
    found = [f"{cell.address}{suffix}" for suffix in ("", ":reported") for cell in numbers if suffix in cell.fields]
    return written(found[0]) if found else None


def _table(
    table: ExportedTable,
    material: ExportMaterial,
    template: VenueTemplate,
    folder: Path,
    origin: Origin,
) -> Fragment:
    text = render_for(
        template,
        table.spec,
        material.records,
        mode=table.mode,
        caption_note=None if table.mode == "reported" else material.note,
        selection={} if table.mode == "reported" else material.selection,
    )
    made = f"{table.stem}.tex, written by `aroface export` for {template.title}; mode {table.mode}"
    return _written(folder, "Table", table.stem, text, origin.header(made, table.spec.path, table.records))


def _claims(claims: ExportedClaims, template: VenueTemplate, folder: Path, origin: Origin) -> Fragment:
    made = f"{claims.stem}.tex, written by `aroface export` for {template.title}"
    header = origin.header(made, claims.source, claims.inputs)
    return _written(folder, "Table", claims.stem, claims.render(template), header)


def _figure(figure: ExportedFigure, template: VenueTemplate, folder: Path, origin: Origin) -> Fragment:
    folder.mkdir(exist_ok=True)
    figure.draw(folder / figure.stem, template, False)
    picture = folder / f"{figure.stem}.pdf"
    spanning = template.columns == 2 and page_height(picture) > HIGHEST * template.height
    if spanning:
        figure.draw(folder / figure.stem, template, True)
    text = (folder / f"{figure.stem}.tex").read_text(encoding="utf-8")
    text = _LABEL.sub(lambda _: rf"\label{{fig:aroface:{figure.name.replace('_', '-')}}}", text)
    if spanning:
        text = re.sub(r"\\(begin|end)\{figure\}", r"\\\1{figure*}", text)
    for path in folder.glob(f"{figure.stem}.png"):
        path.unlink()
    made = f"{figure.stem}.tex, written by `aroface export` for {template.title}; drawn by: {figure.command}"
    return _written(folder, "Figure", figure.stem, text, origin.header(made, None, figure.inputs))


def _written(folder: Path, kind: str, stem: str, text: str, header: Sequence[str]) -> Fragment:
    folder.mkdir(exist_ok=True)
    write_text(folder / f"{stem}.tex", "".join(f"% {line}\n" for line in header) + text)
    label = _LABEL.search(text)
    keys = [key.strip() for match in _CITED.finditer(text) for key in match[1].split(",")]
    packages = tuple(package for pattern, package in _PACKAGES.items() if re.search(pattern, text))
    return Fragment(kind, stem, "", label[1] if label else None, tuple(dict.fromkeys(keys)), packages)
