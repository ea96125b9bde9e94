"""The gallery of mistakes: a self-contained HTML page with the faces, and the same cases as CSV."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.images import encode_jpeg
from aroface.embedding.detected_faces import detect_faces
from aroface.evaluation.embedded_set import EmbeddedSet
from aroface.evaluation.mistakes import PairMistake, PairMistakes, SearchMistake, SearchMistakes
from aroface.faces.detection.detector import Detector
from aroface.files import write_text
from aroface.humanize import plural
from aroface.reporting.plain_page import definitions, page

Floats = NDArray[np.float64]
Mistake = PairMistake | SearchMistake

TITLE = "Where it fails"
_FACE_QUALITY = 90
_STYLE = """
body { max-width: 78rem; }
.cases { display: flex; flex-wrap: wrap; gap: 1rem 1.4rem; }
.case { margin: 0; } .case .faces { display: flex; gap: 3px; }
.case .face { width: 112px; font-size: 11px; line-height: 1.3; color: #333; overflow-wrap: anywhere; }
.case img { display: block; width: 112px; height: 112px; } .case figcaption { font-size: 13px; font-weight: 600; }
.role { color: #777; }
""".strip()
_COLUMNS = (
    *("kind", "number", "rank", "role", "row", "score", "person", "image"),
    *("norm", "norm_below", "detector_score", "alignment_error_px"),
)


@dataclass(frozen=True, slots=True)
class FaceFacts:
    """Facts about one face on the page.

    Attributes:
        norm: Length of its feature.
        norm_below: Share of the set's features that are shorter.
        detector_score: Score of the detector; None without one, not a number where it finds no face.
        alignment: Root mean square distance of its landmarks from the template's in pixels, likewise.
        person: Name of the person, empty where no file tells.
        image: Name of the image, likewise.
    """

    norm: float
    norm_below: float
    detector_score: float | None = None
    alignment: float | None = None
    person: str = ""
    image: str = ""


def write_mistakes(
    embedded: EmbeddedSet,
    found: PairMistakes | SearchMistakes,
    out: Path,
    *,
    detector: Detector | None = None,
    command: str = "",
) -> list[Path]:
    """Write the page, and the CSV file beside it.

    Args:
        embedded: Features and images.
        found: The worst mistakes.
        out: Page, ``NAME.html``.
        detector: Detector that scores the faces and tells how well they are aligned; None for none.
        command: Command line, for the page.

    Returns:
        Both files.

    Raises:
        InputError: The data set has gone or changed, or an image is damaged.
    """
    groups = _groups(found)
    rows = list(dict.fromkeys(row for mistakes in groups.values() for each in mistakes for row in each.rows))
    images = embedded.open_images()
    crops = {row: images([row])[0] for row in rows}
    facts = _facts(embedded, rows, crops, detector)
    table = out.with_suffix(".csv")
    parts = [definitions(_summary(embedded, found, detector, command))]
    for title, mistakes in groups.items():
        parts += [f"<h2>{html.escape(title)}</h2>", _cases(mistakes, crops, facts)]
    parts += [f'<p>The same as a table: <a href="{html.escape(table.name)}">{html.escape(table.name)}</a>.</p>']
    about = f"{embedded.name} on {embedded.benchmark}"
    write_text(table, _csv(groups, facts))
    write_text(out, page(TITLE, about, parts, style=_STYLE))
    return [out, table]


def _groups(found: PairMistakes | SearchMistakes) -> dict[str, Sequence[Mistake]]:
    """Mistakes by the heading that they stand under."""
    if isinstance(found, SearchMistakes):
        return {f"Probes whose best hit is somebody else{_first(found.searches, found.missed)}": found.searches}
    return {
        f"False accepts{_first(found.false_accepts, found.accepted)}": found.false_accepts,
        f"False rejects{_first(found.false_rejects, found.rejected)}": found.false_rejects,
    }


def _first(shown: Sequence[Mistake], count: int) -> str:
    return f": {count:,}" if len(shown) == count else f": the worst {len(shown):,} of {count:,}"


def _facts(
    embedded: EmbeddedSet, rows: Sequence[int], crops: Mapping[int, NDArray[np.uint8]], detector: Detector | None
) -> dict[int, FaceFacts]:
    norms, named = embedded.norms(), embedded.pair_rows()
    ordered = np.sort(norms)
    seen: list[tuple[float | None, float | None]] = [(None, None)] * len(rows)
    if detector is not None and rows:
        faces = detect_faces(lambda chosen: np.stack([crops[row] for row in chosen]), rows, detector)
        seen = list(zip(faces.score.tolist(), faces.alignment.tolist(), strict=True))
    facts = {}
    for row, (score, alignment) in zip(rows, seen, strict=True):
        person, image = "", ""
        if named is not None:
            pair = named[row // 2]
            person = pair.second_person if row % 2 else pair.first_person
            image = pair.second if row % 2 else pair.first
        below = float(np.searchsorted(ordered, norms[row])) / len(ordered)
        facts[row] = FaceFacts(float(norms[row]), below, score, alignment, person, image)
    return facts


def _summary(
    embedded: EmbeddedSet, found: PairMistakes | SearchMistakes, detector: Detector | None, command: str
) -> list[tuple[str, str]]:
    if isinstance(found, SearchMistakes):
        share = _percent(found.missed, found.probes)
        text = (
            f"{found.missed:,} of {plural(found.probes, 'probe')} with a mate ({share}) have somebody else as best "
            "hit. First come those whose best hit scores most above their best mate."
        )
    else:
        text = (
            f"At cosines of {found.threshold:.4f} and above, the threshold for an FMR of {100 * found.fmr:g} % on "
            f"these pairs, {found.accepted:,} of {found.impostors:,} impostor pairs are accepted "
            f"({_percent(found.accepted, found.impostors)}) and {found.rejected:,} of {found.genuine:,} genuine ones "
            f"rejected ({_percent(found.rejected, found.genuine)})."
        )
        if found.fmr * found.impostors < 1:
            text += f" So few impostor pairs allow none at this rate: --fmr {1 / found.impostors:.2g} would allow one."
    lines = [("Mistakes", text)]
    lines.append(("norm", "Length of the feature; in brackets the share of the set's features that are shorter."))
    if detector is not None:
        lines.append(
            (
                "detector",
                f"Score of {detector.name}, and distance of its five landmarks from where they should be in the crop "
                "of 112 pixels (root mean square): the alignment error.",
            )
        )
    lines.append(("Faces", f"This page shows faces of {embedded.data.name}: its licence says who may see them."))
    return [*lines, ("Command", command)] if command else lines


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %"


def _cosine(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _cases(mistakes: Sequence[Mistake], crops: Mapping[int, NDArray[np.uint8]], facts: Mapping[int, FaceFacts]) -> str:
    if not mistakes:
        return "<p>None.</p>"
    cards = []
    for mistake in mistakes:
        faces = "".join(_face(role, row, crops[row], facts[row]) for role, row in _roles(mistake))
        cards.append(
            f"<figure class='case'><figcaption>{html.escape(_caption(mistake))}</figcaption>"
            f"<div class='faces'>{faces}</div></figure>"
        )
    return f"<div class='cases'>{''.join(cards)}</div>"


def _roles(mistake: Mistake) -> list[tuple[str, int]]:
    if isinstance(mistake, PairMistake):
        return [("", row) for row in mistake.rows]
    return list(zip(("probe", "best hit", "best mate"), mistake.rows, strict=True))


def _caption(mistake: Mistake) -> str:
    if isinstance(mistake, PairMistake):
        return f"cosine {_cosine(mistake.score)}, pair {mistake.pair:,}"
    return f"cosine {_cosine(mistake.best_score)}; mate {_cosine(mistake.mate_score)}, rank {mistake.rank:,}"


def _face(role: str, row: int, crop: NDArray[np.uint8], facts: FaceFacts) -> str:
    data = base64.b64encode(encode_jpeg(crop, _FACE_QUALITY)).decode()
    lines = [f"norm {facts.norm:.3g} ({100 * facts.norm_below:.0f} %)"]
    if facts.detector_score is not None and facts.alignment is not None:
        seen = np.isfinite(facts.detector_score)
        lines.append(f"detector {facts.detector_score:.2f}, {facts.alignment:.1f} px" if seen else "no face detected")
    lines += [facts.person] if facts.person else []
    lines += [facts.image] if facts.image else []
    text = "<br>".join(html.escape(line) for line in lines)
    head = f"<span class='role'>{role}</span><br>" if role else ""
    alt = html.escape(role or f"row {row}")
    return f'<div class="face"><img alt="{alt}" src="data:image/jpeg;base64,{data}">{head}{text}</div>'


def _csv(groups: Mapping[str, Sequence[Mistake]], facts: Mapping[int, FaceFacts]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for title, mistakes in groups.items():
        for number, mistake in enumerate(mistakes):
            for role, row in _roles(mistake):
                writer.writerow(_row(title.partition(":")[0], number, mistake, role, row, facts[row]))
    return buffer.getvalue()


def _row(title: str, number: int, mistake: Mistake, role: str, row: int, facts: FaceFacts) -> dict[str, Any]:
    kinds = {"False accepts": "false accept", "False rejects": "false reject"}
    cells: dict[str, Any] = {"kind": kinds.get(title, "wrong best hit"), "role": role, "row": row}
    if isinstance(mistake, PairMistake):
        cells |= {"number": mistake.pair, "score": f"{mistake.score:.6f}"}
    else:
        scores = {"best hit": mistake.best_score, "best mate": mistake.mate_score}
        cells |= {"number": number, "rank": mistake.rank}
        cells |= {"score": f"{scores[role]:.6f}"} if role in scores else {}
    cells |= {"person": facts.person, "image": facts.image, "norm": f"{facts.norm:.6g}"}
    cells["norm_below"] = f"{facts.norm_below:.4f}"
    for name, value in (("detector_score", facts.detector_score), ("alignment_error_px", facts.alignment)):
        cells[name] = f"{value:.4f}" if value is not None and np.isfinite(value) else ""
    return cells
