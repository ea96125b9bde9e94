"""Layout that figures share: looks of lines, places of panels, legends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aroface.reporting.figures.form import text_inches
from aroface.reporting.records import RecordedExperiment

# Okabe and Ito's colours, which people with any colour vision tell apart: one a head.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# Dashes for each way of treating the training images, a marker for each head: no two lines differ by colour alone.
TREATMENTS: dict[str, Any] = {"": (0, (4, 1.6)), "random": (0, (1, 1.2)), "aroface": "-"}
OTHER_TREATMENT = (0, (5, 1.2, 1, 1.2))
FURTHER_DASHES: tuple[Any, ...] = (
    *((0, (2, 1)), (0, (7, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (9, 2)), (0, (1, 2)), (0, (6, 1, 2, 1)), (0, (4, 4))),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h")
# Title of a factor's panels, label of their axis, and what a level is multiplied with.
AXES = {
    "scale": ("scale", "scale error (%)", 100.0),
    "rotation": ("rotation", "rotation error (deg)", 1.0),
    "shift": ("shift", "shift (% of width)", 100.0),
    "joint": ("jointly", "% of maximum", 100.0),
}
# Measures of figures, in inches.
LEFT, RIGHT = 0.5, 0.19
PANEL_TITLE, PANEL_LABELS = 0.2, 0.36
LEGEND_LINE, LEGEND_EDGE = 0.15, 0.09
LEGEND_COLUMN = 1.1  # inches that a legend's column takes at least
HANDLE, COLUMN_SPACE = 2.6, 1.6  # of the legend, in sizes of its type


@dataclass(frozen=True, slots=True)
class Look:
    """Look of the lines of one experiment."""

    label: str
    colour: str
    dashes: Any
    marker: str

    @property
    def name(self) -> str:
        """Label in plain text."""
        return self.label.replace(r"$\_$", "_").replace(r"\$", "$")


def figure_text(label: str) -> str:
    """A label as matplotlib prints it in the figures' typeface: no dollar sign of it begins mathematics."""
    # Computer Modern's roman has a dot accent where other fonts have the underscore.
    return label.replace("$", r"\$").replace("_", r"$\_$")


def looks(
    experiments: Sequence[RecordedExperiment], labels: Mapping[str, str], among: Iterable[RecordedExperiment] = ()
) -> dict[RecordedExperiment, Look]:
    """A colour and a marker for each head, dashes for each treatment, and a name for the legend.

    Data set and backbone are part of the name only where they tell experiments apart. What would look like an
    experiment before it takes another colour and marker, and where there is none left other dashes: two looks differ
    in marker or dashes, whatever their colours.

    Args:
        experiments: Experiments that a figure shows.
        labels: Printed names by key.
        among: Experiments that all figures show together, so that a method has one look in all of them.
    """
    methods = [*dict.fromkeys(experiment.method for experiment in (*among, *experiments))]
    heads = [*dict.fromkeys(map(_head, methods))]
    several = [key for key in ("dataset", "arch") if len({getattr(each, key) for each in experiments}) > 1]
    taken: list[Look] = []
    for method in methods:
        taken.append(_free_look(method, heads, taken))
    own = dict(zip(methods, taken, strict=True))
    assigned: dict[RecordedExperiment, Look] = {}
    for experiment in experiments:
        # The first experiment of a method has the method's look, further ones have others.
        look = own.pop(experiment.method, None)
        if look is None:
            look = _free_look(experiment.method, heads, taken)
            taken.append(look)
        details = [labels.get(getattr(experiment, key), getattr(experiment, key)) for key in several]
        name = labels.get(experiment.method, experiment.method) + (f" ({', '.join(details)})" if details else "")
        assigned[experiment] = replace(look, label=figure_text(name))
    return assigned


def _head(method: str) -> str:
    return method.partition("_")[0]


def _own_first(choices: Sequence[str], own: int, heads: int) -> list[str]:
    """A head's choice, then those of no head, then all."""
    return [*dict.fromkeys([choices[own % len(choices)], *choices[heads:], *choices])]


def _free_look(method: str, heads: Sequence[str], taken: Sequence[Look]) -> Look:
    """The first look that no other line has two parts of; if there is none, the first with a free marker and dashes."""
    head, _, treatment = method.partition("_")
    dashes = dict.fromkeys([TREATMENTS.get(treatment, OTHER_TREATMENT), *FURTHER_DASHES])
    colours = _own_first(COLOURS, heads.index(head), len(heads))
    markers = _own_first(MARKERS, heads.index(head), len(heads))
    drawn = {(look.marker, str(look.dashes)) for look in taken}
    coloured = {(look.colour, part) for look in taken for part in (look.marker, str(look.dashes))}
    choices = [
        Look(method, colour, line, marker)
        for line in dashes
        for colour in colours
        for marker in markers
        if (marker, str(line)) not in drawn
    ]
    unlike = (look for look in choices if not {(look.colour, look.marker), (look.colour, str(look.dashes))} & coloured)
    return next(unlike, choices[0] if choices else Look(method, colours[0], next(iter(dashes)), markers[0]))


def place(
    figure: Figure,
    left: float,
    top: float,
    width: float,
    height: float,
    sharex: Axes | None = None,
    sharey: Axes | None = None,
) -> Axes:
    """Axes at a place given in inches from the upper left corner."""
    across, down = figure.get_figwidth(), figure.get_figheight()
    rectangle = (left / across, 1 - (top + height) / down, width / across, height / down)
    return figure.add_axes(rectangle, sharex=sharex, sharey=sharey)


def beside(panels: int, least: float, room: float, gap: float) -> int:
    """Number of panels that have room beside each other, spread evenly over the lines that all of them take.

    Args:
        panels: Number of panels.
        least: Inches that a panel is wide at least.
        room: Inches that they share.
        gap: Inches between two.
    """
    most = max(1, min(panels, int((room + gap) / (least + gap) + 1e-9)))
    return -(-panels // -(-panels // most))


@dataclass(frozen=True, slots=True)
class PanelGrid:
    """Columns of panels, which break into blocks one below another where a figure is narrow; measures in inches.

    Attributes:
        columns: Number of columns of panels.
        across: Number of columns beside each other.
        heights: Heights of a column's panels.
        gaps: Gaps between columns, and between the panels of a column.
        left: Margin on the left.
        right: Margin on the right.
    """

    columns: int
    across: int
    heights: Sequence[float]
    gaps: tuple[float, float]
    left: float
    right: float

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.columns // self.across)

    @property
    def panels_height(self) -> float:
        """Height of a block's panels."""
        return sum(self.heights) + self.gaps[1] * (len(self.heights) - 1)

    @property
    def block_height(self) -> float:
        """Height of a block with titles above and labels below."""
        return PANEL_TITLE + self.panels_height + PANEL_LABELS

    @property
    def height(self) -> float:
        """Height of all blocks."""
        return self.blocks * self.block_height

    def place(self, figure: Figure, top: float, *, share_rows: bool = True) -> list[list[Axes]]:
        """Place the panels below ``top``; returns them by row and column.

        Panels of a column share their abscissa, with ``share_rows`` those of a row their ordinate.
        """
        width = (figure.get_figwidth() - self.left - self.right - (self.across - 1) * self.gaps[0]) / self.across
        panels: list[list[Axes]] = [[] for _ in self.heights]
        for block in range(self.blocks):
            begin, down = block * self.across, top + block * self.block_height + PANEL_TITLE
            for row, height in enumerate(self.heights):
                for column in range(begin, min(begin + self.across, self.columns)):
                    above = panels[0][column] if row else None
                    first = panels[row][0] if share_rows and column else None
                    left = self.left + (column - begin) * (width + self.gaps[0])
                    axes = place(figure, left, down, width, height, sharex=above, sharey=first)
                    axes.tick_params(labelleft=column == begin, labelbottom=row == len(self.heights) - 1)
                    panels[row].append(axes)
                down += height + self.gaps[1]
        return panels

    def ends(self, row: Sequence[Axes]) -> list[Axes]:
        """The last panel of a row in each block."""
        return [row[min(start + self.across, self.columns) - 1] for start in range(0, self.columns, self.across)]

    def label_ordinate(self, figure: Figure, top: float, text: str) -> None:
        """Write a label for all rows beside each block, or one beside all where a block is too low for it."""
        size = float(rcParams["axes.labelsize"])
        fits = text_inches(text, size) <= self.block_height
        middles = [
            top + number * self.block_height + PANEL_TITLE + self.panels_height / 2 for number in range(self.blocks)
        ]
        for middle in middles if fits else [sum(middles) / len(middles)]:
            ordinate_label(figure, middle, text)


def ordinate_label(figure: Figure, middle: float, text: str) -> None:
    """Write a label along the left edge, its middle so many inches below the top."""
    figure.text(0.06 / figure.get_figwidth(), 1 - middle / figure.get_figheight(), text, **_UPRIGHT)


_UPRIGHT: Any = {"rotation": 90, "va": "center", "ha": "left", "fontsize": 8}


def legend_height(styles: Collection[Look], further: Sequence[Artist] = (), *, room: float) -> float:
    """Inches that :func:`draw_legend` needs at the bottom of a figure ``room`` inches wide."""
    return LEGEND_LINE * max(len(column) for column in _legend_columns(styles, further, room)) + LEGEND_EDGE


def draw_legend(
    figure: Figure, styles: Collection[Look], further: Sequence[Artist] = (), *, handles: HandleOf | None = None
) -> None:
    """A legend at the bottom, with a column for each treatment and a line for each head where there is room.

    Args:
        figure: Figure that gets it.
        styles: Looks of its lines.
        further: Handles after these, with labels of their own.
        handles: Function that makes the handle of a look; None for lines with markers.
    """
    columns = _legend_columns(styles, further, figure.get_figwidth())
    rows = max(len(column) for column in columns)
    # Matplotlib fills columns one after the other: what is missing in one would be taken from the next.
    entries = [entry for column in columns for entry in (*column, *[None] * (rows - len(column)))]
    figure.legend(
        handles=[_legend_handle(entry, handles or line_handle) for entry in entries],
        loc="lower center",
        ncols=len(columns),
        frameon=False,
        borderaxespad=0,
        handlelength=HANDLE,
        columnspacing=COLUMN_SPACE,
        labelspacing=0.3,
    )


def line_handle(look: Look) -> Artist:
    """A line with a marker, for a legend."""
    return Line2D([], [], color=look.colour, linestyle=look.dashes, marker=look.marker, label=look.label)


HandleOf = Callable[[Look], Artist]


def _legend_handle(entry: Look | Artist | None, handles: HandleOf) -> Artist:
    if entry is None:
        return Line2D([], [], linestyle="", label=" ")
    return handles(entry) if isinstance(entry, Look) else entry


def _legend_columns(styles: Collection[Look], further: Sequence[Artist], room: float) -> list[list[Look | Artist]]:
    """A column for each treatment and what comes after them, or as many even columns as fit beside each other."""
    treatments = list(dict.fromkeys(str(look.dashes) for look in styles))
    columns: list[list[Look | Artist]] = [[look for look in styles if str(look.dashes) == each] for each in treatments]
    rows = max((len(column) for column in columns), default=1)
    apart: list[list[Look | Artist]] = [*columns, *_even(further, -(-len(further) // rows))]
    below: list[list[Look | Artist]] = [
        [*column, *further[number :: len(columns)]] for number, column in enumerate(columns)
    ]
    entries = [entry for column in apart for entry in column]
    numbers = range(min(len(entries), int(room / LEGEND_COLUMN)), 0, -1)
    choices: list[list[list[Look | Artist]]] = [apart, below, *(_even(entries, number) for number in numbers)]
    return next((choice for choice in choices if choice and _fits(choice, room)), [entries])


def _even(entries: Sequence[Look | Artist], number: int) -> list[list[Look | Artist]]:
    """The entries in so many columns at most, one after the other."""
    rows = max(1, -(-len(entries) // max(1, number)))
    return [[*entries[begin : begin + rows]] for begin in range(0, len(entries), rows)]


def _fits(columns: Sequence[Sequence[Look | Artist]], room: float) -> bool:
    edges = (2 * float(rcParams["legend.borderpad"]) - COLUMN_SPACE) * _legend_size() / 72
    return sum(map(_column_inches, columns)) + edges <= room


def _column_inches(column: Sequence[Look | Artist]) -> float:
    """Inches that a column of a legend takes, with the space after it."""
    labels = [entry.label if isinstance(entry, Look) else str(entry.get_label()) for entry in column]
    widest = max(text_inches(label, _legend_size()) for label in labels)
    return widest + (HANDLE + 0.8 + COLUMN_SPACE) * _legend_size() / 72


def _legend_size() -> float:
    return float(rcParams["legend.fontsize"])


DIRECT_SIZE, DIRECT_LINE = 7.0, 0.115
"""Type of names at the ends of lines in points, and inches from one to the next."""


def direct_places(
    names: Sequence[str], ends: Sequence[float], limits: tuple[float, float], height: float, room: float
) -> list[float] | None:
    """Ordinates of lines' names at their ends, instead of a legend; None if they would stand too far from them.

    Args:
        names: Names of the lines.
        ends: Ordinates of their ends.
        limits: Limits of the ordinate.
        height: Height of the panel in inches.
        room: Inches for panel and names; names take a third of it at most.
    """
    if len(names) != len(ends) or max(text_inches(name, DIRECT_SIZE) for name in names) > room / 3:
        return None
    unit = (limits[1] - limits[0]) / height
    order = sorted(range(len(ends)), key=lambda number: ends[number])
    wanted = [ends[number] / unit for number in order]
    # Each name as near to its line as those before it allow, then all of them moved back by their mean displacement.
    spread: list[float] = []
    for place_ in wanted:
        spread.append(max(place_, spread[-1] + DIRECT_LINE) if spread else place_)
    back = sum(there - place_ for there, place_ in zip(spread, wanted, strict=True)) / len(ends)
    moved = [there - back for there in spread]
    if max(abs(there - place_) for there, place_ in zip(moved, wanted, strict=True)) > DIRECT_LINE:
        return None
    places = dict(zip(order, moved, strict=True))
    return [unit * places[number] for number in range(len(ends))]


def direct_labels(axes: Axes, styles: Sequence[Look], places: Sequence[float]) -> None:
    """Write the names of lines to the right of their ends."""
    for look, there in zip(styles, places, strict=True):
        axes.annotate(
            look.label,
            (1, there),
            (5, 0),
            ("axes fraction", "data"),
            "offset points",
            color=look.colour,
            fontsize=DIRECT_SIZE,
            va="center",
        )
