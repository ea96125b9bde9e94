"""Checks of a drawn figure: nothing outside it, no text over another, type that can be read."""

from __future__ import annotations

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def text_boxes(figure: Figure) -> dict[Text, Bbox]:
    """The texts that are seen, and their boxes in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            view = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                seen = view[0] - 1e-9 <= tick.get_loc() <= view[1] + 1e-9
                hidden |= {label for label in (tick.label1, tick.label2) if not (seen and label.get_visible())}
            if not axis.get_visible() or not axes.axison:
                hidden |= {label for tick in axis.get_major_ticks() for label in (tick.label1, tick.label2)}
    return {text: text.get_window_extent(renderer) for text in texts if text not in hidden}


def check_layout(figure: Figure, width: float = 122.0) -> None:
    """So many millimetres wide, texts of 7 to 9 pt within it, none over another, the legend below the panels.

    Sub- and superscripts are smaller by mathematics' rule; they are no texts of their own.
    """
    assert abs(figure.get_figwidth() * 25.4 - width) < 1e-6
    boxes = text_boxes(figure)
    for text, box in boxes.items():
        assert 7 <= text.get_fontsize() <= 9, text
        assert figure.bbox.x0 - 0.5 <= box.x0 and box.x1 <= figure.bbox.x1 + 0.5, text
        assert figure.bbox.y0 - 0.5 <= box.y0 and box.y1 <= figure.bbox.y1 + 0.5, text
        others = [
            other for other in boxes if other is not text and boxes[other].padded(-0.7).overlaps(box.padded(-0.7))
        ]
        assert others == [], text
    renderer = FigureCanvasAgg(figure).get_renderer()
    bottom = min(box.y0 for axes in figure.axes if (box := axes.get_tightbbox(renderer)) is not None)
    for legend in figure.legends:
        assert legend.get_window_extent(renderer).y1 < bottom + 1
    assert matplotlib.rcParams["pdf.fonttype"] == 42
