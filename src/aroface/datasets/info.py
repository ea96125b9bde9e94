"""Description of a data set in words and as a contact sheet."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from aroface.datasets.formats.base import COLUMNS
from aroface.datasets.formats.registry import detect
from aroface.datasets.manifest import manifest_hash, manifest_path, read_manifest
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.faces.sheet import contact_sheet, write_sheet
from aroface.files import is_there

_BLANK = np.full((TEMPLATE_SIZE, TEMPLATE_SIZE, 3), 255, np.uint8)


def describe(data: Path) -> list[str]:
    """Describe a set in lines of ``name  value``: kind, counts and, with a manifest, its hash.

    Args:
        data: Folder or file of a set of any format.

    Raises:
        InputError: The set is of no known format, or it is damaged.
    """
    set_format = detect(data)
    facts: dict[str, object] = {"kind": set_format.kind, **set_format.facts(data)}
    if is_there(manifest_path(data)):
        manifest = read_manifest(data)
        facts["manifest"] = manifest_hash(manifest["identity"])
        if "left_out" in manifest:
            omissions = manifest["left_out"].items()
            facts["left out"] = "; ".join(f"{summary['count']:,}, {reason}" for reason, summary in omissions)
    width = max(map(len, facts))
    return [f"{name:{width}}  {format(fact, ',' if isinstance(fact, int) else '')}" for name, fact in facts.items()]


def sheet(data: Path, out: str | PathLike[str]) -> None:
    """Draw some images of a set.

    A training set shows one person a row; pairs stand one above the other; a TinyFace tree shows its gallery above its
    probes and these above its distractors, IJB-B and IJB-C a template a row, aligned, IJB-S a medium a row.

    Args:
        data: Folder or file, as for `describe`.
        out: Path of the PNG file.

    Raises:
        InputError: The set is of no known format, or it is damaged.
    """
    rows = [row for row in detect(data).preview(data) if row]
    tiles = [tile for row in rows for tile in row + [_BLANK] * (-len(row) % COLUMNS)]
    write_sheet(out, contact_sheet(np.stack(tiles), columns=COLUMNS))
