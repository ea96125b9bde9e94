"""Data sets as the report shows them: what their manifests say they hold, and whether checking found them whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from aroface.files import HASH_DIGITS
from aroface.humanize import bytes_text, plural
from aroface.reporting.html_report.runs import read_mapping


@dataclass(frozen=True, slots=True)
class ReportedDataSet:
    """A data set that runs are trained or evaluated on.

    Attributes:
        name: Key of the set.
        label: Name in tables.
        kind: Kind of the content.
        manifest_hash: Hash of its identity, as recipes and records name it.
        manifest: File that lists its content.
        used_for: ``training`` or ``evaluation``.
        licence: Terms of its provider; None for a set that the workflow makes itself.
        provider: Provider of the set; None likewise.
        request: Page where it is requested or found; None likewise.
        citation: Citation of the paper that describes it; None likewise.
        missing: Line on what is missing and how to get it; None if nothing is.
    """

    name: str
    label: str
    kind: str
    manifest_hash: str
    manifest: Path
    used_for: str
    licence: str | None = None
    provider: str | None = None
    request: str | None = None
    citation: str | None = None
    missing: str | None = None

    @property
    def key(self) -> str:
        """Name and hash."""
        return f"{self.name}-{self.manifest_hash[:HASH_DIGITS]}"


@dataclass(frozen=True, slots=True)
class DataView:
    """A data set as it is shown.

    Attributes:
        data: Planned set.
        there: True if there is a manifest.
        counts: Content in words.
        files: Number and size of its files, in words.
        verdicts: Outcome of each check: its name, whether it passed, detail.
        corrupt: Number of images that cannot be used.
        identity: Identity, of all that decides its content, as JSON.
    """

    data: ReportedDataSet
    there: bool
    counts: str
    files: str
    verdicts: tuple[tuple[str, bool, str], ...]
    corrupt: int
    identity: str


def view_data(data: ReportedDataSet) -> DataView:
    """Read what the manifest of a set says; nothing of the set itself is read."""
    manifest = read_mapping(data.manifest)
    counts = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in manifest.get("counts", {}).items())
    files = manifest.get("files", {})
    total = bytes_text(sum(entry["size"] for entry in files.values()))
    identity = manifest.get("identity", {})
    return DataView(
        data,
        there=bool(manifest),
        counts=counts,
        files=f"{plural(len(files), 'file')}, {total}" if files else "",
        verdicts=tuple((name, each["passed"], each["detail"]) for name, each in manifest.get("verdicts", {}).items()),
        corrupt=len(manifest.get("corrupt", ())),
        identity="" if "files" in identity else json.dumps(identity, indent=2, ensure_ascii=False),
    )
