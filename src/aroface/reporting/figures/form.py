"""Form of a figure in a document: width, typeface, environment, and the style that Matplotlib draws it in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from aroface.errors import InputError

Font = Literal["serif", "sans", "times", "helvetica"]
FONTS: tuple[Font, ...] = get_args(Font)
"""Typefaces of figures."""
PAGE_WIDTH = 122.0
"""Millimetres of the text of Springer's LNCS page, the default."""
WIDTHS = {"column": 83.3, "text": 174.6}
"""Millimetres of the narrowest column and of the narrowest text of classes in two columns (CVPR's: 237 and 497 pt)."""
NARROWEST, WIDEST = 80.0, 185.0
HELVETICA = ("Helvetica", "TeX Gyre Heros", "Nimbus Sans", "Liberation Sans", "Arial")
"""Typefaces for ``helvetica``, the first one that is installed."""
_TRUETYPE = (b"\x00\x01\x00\x00", b"true", b"ttcf")  # first bytes of a file that a PDF can embed as Type 42


@dataclass(frozen=True, slots=True)
class FigureForm:
    """Form of a figure in a document.

    Attributes:
        width: Width in millimetres, from 80 (a column of a class in two) to 185 (the text of one).
        font: Typeface: ``serif`` is Computer Modern, ``sans`` its sans serif, ``times`` STIX.
        spanning: True for ``figure*``, which spans both columns.
        picture: Path by which the fragment includes the picture; None: its file name, beside the fragment.

    Raises:
        InputError: The width is not one that a figure can be drawn at, or there is no such typeface.
    """

    width: float = PAGE_WIDTH
    font: Font = "serif"
    spanning: bool = False
    picture: str | None = None

    def __post_init__(self) -> None:
        if not NARROWEST <= self.width <= WIDEST:
            expected = f"{NARROWEST:g} to {WIDEST:g} mm"
            raise InputError(f"a figure {self.width:g} mm wide", where="width", expected=expected)
        if self.font not in FONTS:
            raise InputError(f"no typeface {self.font!r}", where="font", expected=f"one of {', '.join(FONTS)}")

    @property
    def inches(self) -> float:
        """Width in inches."""
        return self.width / 25.4

    @property
    def environment(self) -> str:
        """Environment of LaTeX that the figure stands in."""
        return "figure*" if self.spanning else "figure"


DEFAULT_FORM = FigureForm()
"""Form of figures in the project's own document."""


def figure_form(width: str | float | None = None, font: Font | None = None, picture: str | None = None) -> FigureForm:
    """The form that options or a configuration ask for.

    Args:
        width: ``column``, ``text`` (which spans both columns) or a number of millimetres; None for LNCS's text.
        font: Typeface; None for Computer Modern.
        picture: Path by which the fragment includes the picture.

    Raises:
        InputError: The width is out of range.
    """
    millimetres = PAGE_WIDTH if width is None else WIDTHS.get(str(width), width)
    return FigureForm(float(millimetres), font or "serif", width == "text", picture)


def style(form: FigureForm) -> Any:  # matplotlib's stubs list every key as a literal
    """Matplotlib's settings for figures of a form: type of 7 or 8 pt, embedded as Type 42.

    Raises:
        InputError: The typeface is not installed.
    """
    return {**_STYLE, **_typeface(form.font)}


def _typeface(font: Font) -> dict[str, Any]:
    mathematics: dict[str, Any]
    # A character that the first family lacks is taken from the second, which comes with Matplotlib.
    if font == "serif":
        return {"font.family": ["cmr10", "STIXGeneral"], "mathtext.fontset": "cm", "axes.unicode_minus": False}
    if font == "times":
        return {"font.family": ["STIXGeneral"], "mathtext.fontset": "stix"}
    if font == "sans":
        # Computer Modern's sans serif has no minus sign, which mathematics in the font of the text would ask it for.
        mathematics = {"mathtext.fontset": "stixsans", "axes.formatter.use_mathtext": False}
        return {"font.family": ["cmss10", "DejaVu Sans"], **mathematics}
    family = _helvetica()
    upright = {f"mathtext.{kind}": family for kind in ("rm", "it", "bf", "sf", "cal", "tt")}
    mathematics = {"mathtext.fontset": "custom", "mathtext.fallback": "stixsans", **upright}
    return {"font.family": [family, "DejaVu Sans"], **mathematics}


@cache
def _helvetica() -> str:
    """Name of the first typeface like Helvetica that a PDF can embed as TrueType.

    Raises:
        InputError: None is installed.
    """
    from matplotlib import font_manager

    manager = font_manager.fontManager
    known = {entry.name for entry in manager.ttflist if entry.name in HELVETICA and _is_truetype(Path(entry.fname))}
    if not known:  # Matplotlib's list of fonts may be older than a font
        for path in font_manager.findSystemFonts():
            if any(Path(path).stem.startswith(name.replace(" ", "")) for name in HELVETICA) and _is_truetype(
                Path(path)
            ):
                manager.addfont(path)
                known |= {manager.ttflist[-1].name} & {*HELVETICA}
    for name in HELVETICA:
        if name in known:
            return name
    raise InputError(
        f"no typeface like Helvetica is installed as TrueType ({', '.join(HELVETICA)})",
        where="font",
        remedy="on Debian or Ubuntu: apt-get install fonts-liberation; or draw with the font sans",
    )


def _is_truetype(path: Path) -> bool:
    """Tell whether a font has TrueType outlines: Matplotlib labels others wrongly in a PDF."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _TRUETYPE
    except OSError:
        return False


def text_inches(text: str, size: float) -> float:
    """Width of the longest line of a text at a size in points; call this within the style of the figure."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family=rcParams["font.family"])
    lines = [line for line in text.split("\n") if line.strip()]
    return (
        max((float(TextPath((0, 0), line, size=size, prop=font).get_extents().width) for line in lines), default=0) / 72
    )


_STYLE: dict[str, Any] = {
    "axes.formatter.use_mathtext": True,
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,  # publishers refuse matplotlib's default, Type 3
    "text.hinting": "no_hinting",  # texts are as wide in the PNG as in the PDF
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlepad": 4,
    "axes.labelsize": 8,
    "axes.labelpad": 2,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 8,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.4,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.1,
    "lines.markeredgewidth": 0.8,
    "hatch.linewidth": 0.5,
}
