"""Eyes, brows, nose and mouth."""

from __future__ import annotations

from typing import Any

import numpy as np

from aroface.faces.portrait.head import HeadShape
from aroface.faces.portrait.shapes import Floats, Shape, circle, curve, on_skull, ribbon, stack, strands

_WHITE = np.array([222.0, 216, 210])
_TEETH = np.array([226.0, 218, 204])
_EYE_LIFT = -2.5


def eyes(head: HeadShape) -> list[Shape]:
    """Both eyes, each from the white to the crease above the lid."""
    return [shape for side in (-1, 1) for shape in _eye(head, side)]


class _Lids:
    """The opening of one eye: its lids as functions of x relative to its centre."""

    def __init__(self, head: HeadShape, side: int) -> None:
        who, how = head.who, head.how
        self.side = side
        self.centre_x, self.centre_y = (position[:, (side + 1) // 2, None] for position in (head.eye_x, head.eye_y))
        self.half = who.eye_width[:, None]
        self.opening = np.maximum(how.eye_open[:, None] * (1 - 0.12 * head.smile), 0.12)
        self.height = who.eye_height[:, None]
        self.roundness = who.eye_round[:, None]
        self.slope = -side * np.tan(who.eye_tilt + 0.04 * side * who.asymmetry[:, 2])[:, None]

    def arch(self, u: Floats) -> Floats:
        """Height of the wide open upper lid at u = x / half the width."""
        bulge = np.maximum(1 - u**2, 0) ** (0.75 - 0.12 * self.roundness)
        return np.asarray(self.height * bulge * (1 - 0.12 * self.side * u))

    def upper(self, u: Floats) -> Floats:
        return -self.opening * self.arch(u)

    def lower(self, u: Floats) -> Floats:
        droop = (0.52 - 0.1 * self.roundness) * (0.6 + 0.4 * self.opening)
        return self.height * droop * np.maximum(1 - u**2, 0)

    def place(self, x: Any, y: Any, lift: float = _EYE_LIFT) -> Floats:
        """Points relative to the eye's centre, tilted as the eye, on the skull."""
        return on_skull(self.centre_x + x, self.centre_y + y + self.slope * x, lift)


def _eye(head: HeadShape, side: int) -> list[Shape]:
    who, how = head.who, head.how
    lids = _Lids(head, side)
    u = np.linspace(-1, 1, 9)
    along = lids.half * u
    upper, lower = lids.upper(u), lids.lower(u)
    lash = who.lashes[:, None] * (0.75 + 0.35 * side * u) * (1 - 0.6 * u**8)
    rise = (1.5 + 1.3 * np.maximum(who.lid_fold, 0) + 0.5 * np.maximum(how.brow_raise, 0))[:, None]
    crease = -np.maximum(1.02 * lids.arch(u), 0.5) - rise * (1 - 0.5 * u**2)
    fade = 1 - u**4
    fold_tone = 0.74 * who.skin * [1, 0.94, 0.92]
    lid_tone = who.skin * [0.94, 0.88, 0.87]
    return [
        Shape(ribbon(lids.place(1.02 * along, crease), lids.place(along, upper)), lid_tone),
        Shape(ribbon(lids.place(along, upper), lids.place(along, lower)), _WHITE, 0.85),
        *_iris(head, lids),
        Shape(
            ribbon(lids.place(1.06 * along, upper - 0.6 * lash), lids.place(1.02 * along, upper + 0.75 * lash)),
            0.28 * who.skin * [0.9, 0.8, 0.8],
            0.6,
        ),
        Shape(ribbon(lids.place(along, lower), lids.place(along, lower + 0.55)), 0.80 * who.skin * [1, 0.93, 0.92]),
        Shape(
            ribbon(lids.place(1.04 * along, crease - 0.35 * fade), lids.place(1.04 * along, crease + 0.5 * fade)),
            fold_tone,
            1.0,
            who.lid_fold > 0,
        ),
    ]


def _iris(head: HeadShape, lids: _Lids) -> list[Shape]:
    """Iris, pupil and glint; what the lids would hide is pushed to their edge."""
    who, how = head.who, head.how
    cosine, sine = circle(14)
    gaze_x, gaze_y = how.gaze[:, :1], 0.5 * how.gaze[:, 1:] - 0.4
    shapes = []
    for share, colour in ((1.0, 0.5 * who.iris), (0.80, who.iris), (0.42, np.array([14.0, 12, 12]))):
        radius = share * who.iris_size[:, None]
        x = gaze_x + radius * cosine
        y = np.clip(gaze_y + radius * sine, lids.upper(x / lids.half), lids.lower(x / lids.half))
        shapes.append(Shape(lids.place(x, y), colour, 0.7))
    x, y = gaze_x - 1.1 + 0.8 * cosine[::2], gaze_y - 1.2 + 0.8 * sine[::2]
    return [*shapes, Shape(lids.place(x, y), (245, 245, 245), 0.2, how.eye_open > 0.7)]


def brows(head: HeadShape) -> list[Shape]:
    """Both brows: a soft edge, the body, some hairs."""
    return [shape for side in (-1, 1) for shape in _brow(head, side)]


def _brow(head: HeadShape, side: int) -> list[Shape]:
    who, how = head.who, head.how
    u = np.linspace(0, 1, 8)
    length = 2 * who.brow_length[:, None]
    x = side * (who.brow_gap - 0.25 * how.brow_raise)[:, None] + side * length * u
    lift = (1.3 * how.brow_raise + 0.8 * side * who.asymmetry[:, 3])[:, None]
    arch = 2.6 * who.brow_arch[:, None] * u * (1 - u) * (1 + 0.6 * u)
    tilt = np.tan(who.brow_tilt)[:, None] * length * (0.4 - u)
    y = who.brow_height[:, None] - lift - arch + tilt + 2.2 * u**3 + 0.9 * (1 - u) ** 3
    thick = who.brow_thickness[:, None] * (0.85 + 0.55 * u - 1.25 * u**2.5)
    density = who.brow_density[:, None]
    hair = 0.75 * who.hair + 4
    shapes = []
    for grow, share, weight in ((0.65, 0.45 * density, 0.95), (0.0, density, 0.85)):
        edge = curve(ribbon(stack(x, y - thick - grow), stack(x, y + thick + grow)), 2)
        tone = who.skin * (1 - share) + hair * share
        shapes.append(Shape(on_skull(edge[..., 0], edge[..., 1], 1.5), tone, weight))
    foot = on_skull(x[:, :-1], y[:, :-1] + 0.5 * thick[:, :-1], 1.5)
    tip = on_skull(x[:, :-1] + side * 1.8, y[:, :-1] - 0.8 * thick[:, :-1], 1.5)
    return [*shapes, Shape(strands(foot, tip), 0.5 * tone + 0.45 * hair, 0.8)]


def nose(head: HeadShape) -> list[Shape]:
    """Nostrils and wings; the rest of the nose is relief."""
    who = head.who
    cosine, sine = circle(10)
    wide = who.nose_width[:, None] * (1 + 0.08 * head.smile)
    base, tip = head.nose_y + 2.9, 0.62 * who.nose_height[:, None]
    bend, size = who.nose_bend[:, None], who.nostril[:, None]
    v = np.linspace(-1, 1, 7)
    shapes = []
    for side in (-1, 1):
        x = bend + side * 0.50 * wide + (1.75 * size + 0.4) * cosine
        y = base - 0.1 + 0.95 * size * sine - 0.28 * side * cosine
        shapes.append(Shape(on_skull(x, y, tip), 0.36 * who.skin * [1.0, 0.8, 0.78], 0.8))
        x = bend + side * wide * (0.86 + 0.14 * np.cos(1.5 * v))
        y = base - 1.9 + 3.1 * v * (0.85 + 0.15 * size)
        width = 0.5 * (1 - v**2) + 0.1
        wing = ribbon(on_skull(x - width, y, 0.35 * tip), on_skull(x + width, y, 0.35 * tip))
        shapes.append(Shape(wing, 0.74 * who.skin * [1, 0.91, 0.89]))
    return shapes


def mouth(head: HeadShape) -> list[Shape]:
    """Lips, and the teeth or the gap between them."""
    who = head.who
    u = np.linspace(-1, 1, 13)
    dome = np.maximum(1 - u**2, 0)
    x = head.mouth_half * u
    bow = who.cupid_bow[:, None]
    middle = who.mouth_height[:, None] + 0.9 * head.smile
    line = middle + (head.corner_y - middle) * np.abs(u) ** 1.7 - 0.35 * bow * np.cos(3 * np.pi * u) * dome
    gap = head.gap * dome**0.7
    thin = 1 - 0.18 * head.smile
    upper = (
        who.upper_lip[:, None] * thin * (0.25 * dome + 0.75 * dome**1.3 * (1 - 0.42 * bow * np.exp(-((u / 0.16) ** 2))))
    )
    lower = who.lower_lip[:, None] * thin * dome**0.75
    top, low = line - 0.35 * gap, line + 0.65 * gap
    lift = 2.0 + dome

    def band(first: Floats, second: Floats, wide: float = 1.0) -> Floats:
        return ribbon(on_skull(wide * x, first, lift), on_skull(wide * x, second, lift))

    apart = head.gap[:, 0]
    seam = 0.42 * (1 - 0.5 * u**2)
    shade = band(low + lower + 0.2, low + lower + 0.2 + 1.5 * dome, 0.5)
    return [
        Shape(shade, 0.87 * who.skin * [1, 0.96, 0.95], 1.0, who.beard == 0),
        Shape(band(top, low), (58, 22, 22), 0.7, apart > 0.7),
        Shape(band(top, np.minimum(low, top + 4.2 * dome**0.4)), _TEETH, 0.8, apart > 1.2),
        Shape(band(low, low + lower), who.lips),
        Shape(band(top - upper, top), 0.86 * who.lips),
        Shape(band(line - seam, line + seam), 0.45 * who.lips, 0.9, apart <= 0.7),
    ]
