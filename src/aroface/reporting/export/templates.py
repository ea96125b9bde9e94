"""Registry of the classes that an export is made for: widths of their lines, type, and the packages that have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aroface.reporting.latexmk import Engine

BASE_PACKAGES = ("latexmk", "lmodern", "texlive-latex-recommended", "texlive-latex-extra")
"""Debian's packages for every class; ``texlive-xetex`` and ``texlive-luatex`` have the other engines."""
ENGINE_PACKAGES: dict[Engine, tuple[str, ...]] = {
    "pdflatex": ("cm-super",),
    "xelatex": ("texlive-xetex", "fonts-texgyre"),
    "lualatex": ("texlive-luatex", "fonts-texgyre"),
}


@dataclass(frozen=True, slots=True)
class VenueTemplate:
    r"""A class, and the file ``_templates/main/{name}.tex.j2`` that starts a document of it.

    Attributes:
        name: Name by which ``aroface export`` knows it.
        title: Name of the class, for people.
        column: Width of a column, in pt.
        text: Width of the page's text, in pt; of one column the same.
        height: Height of the page's text, in pt.
        needs: Files of LaTeX beyond every installation's, such as the class.
        packages: Debian's packages that have them.
        font: Type of the text, which the width of a table depends on.
    """

    name: str
    title: str
    column: float
    text: float
    height: float
    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    font: Literal["cm", "times"] = "cm"

    @property
    def columns(self) -> int:
        """Number of columns of a page."""
        return 1 if self.column == self.text else 2

    @property
    def main(self) -> str:
        """Template of the document."""
        return f"main/{self.name}.tex.j2"


_ELSEVIER = ("elsarticle.cls",)
_PUBLISHERS = ("texlive-publishers",)
_TIMES = ("texlive-fonts-recommended",)
_IEEE = (*_PUBLISHERS, *_TIMES)
_ACM = ("texlive-publishers", "texlive-fonts-extra", "texlive-plain-generic", "texlive-science", "fonts-linuxlibertine")

# Widths as \the\columnwidth and \the\textwidth are in TeX Live 2022. The kits of CVPR and ECCV are not in TeX Live;
# theirs are those of their style files.
TEMPLATES = {
    template.name: template
    for template in (
        VenueTemplate("eccv", "ECCV", 347.12, 347.12, 549.0, ("llncs.cls",), _PUBLISHERS),
        VenueTemplate("llncs", "Springer LNCS, llncs", 347.12, 347.12, 549.0, ("llncs.cls",), _PUBLISHERS),
        VenueTemplate("cvpr", "CVPR and ICCV", 237.13, 496.86, 641.0, ("times.sty", "utmr8a.pfb"), _TIMES, "times"),
        VenueTemplate("ieee", "IEEE conference, IEEEtran", 252.0, 516.0, 672.0, ("IEEEtran.cls",), _IEEE, "times"),
        VenueTemplate("ieee-journal", "IEEE journal, IEEEtran", 252.0, 516.0, 696.0, ("IEEEtran.cls",), _IEEE, "times"),
        VenueTemplate(
            "acm", "ACM conference, acmart sigconf", 241.15, 506.3, 626.0, ("acmart.cls", "binhex.tex"), _ACM
        ),
        VenueTemplate("elsevier", "Elsevier, elsarticle 5p", 252.0, 522.0, 682.0, ("elsarticle.cls",), _PUBLISHERS),
        VenueTemplate(
            "elsevier-1p",
            "Elsevier, elsarticle 1p",
            384.0,
            384.0,
            562.0,
            ("elsarticle.cls",),
            _PUBLISHERS,
        ),
        VenueTemplate("revtex", "APS, revtex4-2", 246.0, 510.0, 672.0, ("revtex4-2.cls",), _PUBLISHERS),
        VenueTemplate("article", "LaTeX's article", 345.0, 345.0, 550.0),
        VenueTemplate("article-twocolumn", "LaTeX's article in two columns", 229.5, 469.0, 550.0),
        VenueTemplate("memoir", "memoir", 341.0, 341.0, 550.0, ("memoir.cls",), ()),
        VenueTemplate("scrartcl", "KOMA-Script's scrartcl", 418.26, 418.26, 595.0, ("scrartcl.cls",), ()),
    )
}
"""Templates by name."""
