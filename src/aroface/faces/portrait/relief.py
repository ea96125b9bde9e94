"""The relief of a face as a sum of Gaussian bumps: they bend the light and tint the skin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from aroface.faces.portrait.head import EYE_Y, HeadShape
from aroface.faces.portrait.shapes import Floats, on_skull, stack

_REDDER = np.array([0.01, -0.05, -0.05])
_BLUSH = np.array([0.05, -0.10, -0.09])
_BEARD = np.array([-0.20, -0.17, -0.13])


@dataclass(frozen=True, slots=True)
class Relief:
    """K bumps for each of N faces.

    Attributes:
        centre: (N, K, 3) in the frame of the head.
        precision: (N, K, 3), xx, xy and yy of the inverse covariance in the plane of the face.
        height: (N, K), negative for a dent.
        tint: (N, K, 3), relative change of red, green and blue.
    """

    centre: Floats
    precision: Floats
    height: Floats
    tint: Floats


@dataclass(frozen=True, slots=True)
class _Bump:
    """One bump; every entry is a number or (N,), the tint (3,) or (N, 3)."""

    x: Any
    y: Any
    wide: Any
    tall: Any
    height: Any = 0.0
    lift: Any = 0.0
    turn: Any = 0.0
    tint: Any = 0.0


def relief(head: HeadShape) -> Relief:
    """The bumps of N faces."""
    bumps = [*_nose(head), *_mouth_and_chin(head), *_brow(head)]
    for side in (-1, 1):
        bumps += [*_eye(head, side), *_cheek(head, side)]
    count = len(head.who)

    def gather(name: str, *width: int) -> Floats:
        rows = [np.broadcast_to(np.asarray(getattr(bump, name), np.float32), (count, *width)) for bump in bumps]
        return np.stack(rows, axis=1)

    cosine, sine = np.cos(gather("turn")), np.sin(gather("turn"))
    along, across = gather("wide") ** -2, gather("tall") ** -2
    precision = stack(
        cosine**2 * along + sine**2 * across, cosine * sine * (along - across), sine**2 * along + cosine**2 * across
    )
    return Relief(on_skull(gather("x"), gather("y"), gather("lift")), precision, gather("height"), gather("tint", 3))


def _nose(head: HeadShape) -> Iterator[_Bump]:
    who, tip_y, high = head.who, head.nose_y[:, 0], head.who.nose_height
    yield _Bump(0.5 * who.nose_bend, EYE_Y + 0.15 * who.nose_length, 0.75 * who.nose_bridge, 6.0, 0.25 * high, 2.0)
    yield _Bump(who.nose_bend, EYE_Y + 0.62 * who.nose_length, who.nose_bridge, 5.5, 0.36 * high, 0.5 * high)
    tint = 0.6 * _BLUSH * who.blush[:, None]
    yield _Bump(who.nose_bend, tip_y - 0.3, 3.5 * who.nose_tip, 3.2 * who.nose_tip, 0.4 * high, 0.9 * high, tint=tint)
    for side in (-1, 1):
        x = who.nose_bend + side * 0.72 * who.nose_width
        yield _Bump(x, tip_y + 1.0, 2.4, 2.5, 0.16 * high, 0.3 * high)
    yield _Bump(0.0, tip_y + 4.2, 4.5, 1.8, -0.07 * high, tint=-0.14)
    yield _Bump(0.0, tip_y + 5.2, 1.5, 2.6, -0.55, tint=-0.06)


def _mouth_and_chin(head: HeadShape) -> Iterator[_Bump]:
    who, drop = head.who, head.jaw_drop[:, 0]
    shadow = _BEARD * who.stubble[:, None]
    yield _Bump(0.0, who.mouth_height + 1.0, 10.5, 6.5, 2.6)
    yield _Bump(0.0, who.mouth_height + who.lower_lip + 3.2 + 0.65 * drop, 6.5, 2.2, -1.5 * who.chin_relief, tint=-0.06)
    yield _Bump(0.0, 0.83 * who.chin_length + drop, 8.0, 5.0, 2.6 * who.chin_relief)
    yield _Bump(
        0.0, 0.86 * who.chin_length + drop, 1.1, 2.5, -1.1 * who.chin_cleft, tint=-0.10 * who.chin_cleft[:, None]
    )
    yield _Bump(0.0, 36.0, 17.0, 8.5, tint=shadow)
    yield _Bump(0.0, who.mouth_height - who.upper_lip - 3.5, 9.0, 2.4, tint=0.8 * shadow)


def _brow(head: HeadShape) -> Iterator[_Bump]:
    yield _Bump(0.0, -40.0, 18.0, 9.0, 1.6)
    frown = np.maximum(-head.how.brow_raise, 0)
    yield _Bump(0.0, -24.0, 1.6, 4.0, -0.9 * frown, tint=-0.10 * frown[:, None])


def _eye(head: HeadShape, side: int) -> Iterator[_Bump]:
    who, deep = head.who, head.who.eye_depth
    x, y = (position[:, (side + 1) // 2] for position in (head.eye_x, head.eye_y))
    shade = _REDDER - 0.10 * deep[:, None]
    yield _Bump(x - side * 2.5, y - 4.5, 8.0, 4.0, -2.1 * deep, turn=0.15 * side, tint=shade)
    yield _Bump(x - side * 6.5, y + 0.5, 3.0, 3.5, -1.2 * deep, tint=shade)
    yield _Bump(x, y + 6.0, 6.0, 2.2, -0.5 - 0.7 * who.age, tint=_REDDER - 0.04 - 0.10 * who.eye_bags[:, None])
    yield _Bump(x - side, who.brow_height - 0.5, 10.0, 3.2, 1.5 + 0.35 * deep, turn=-0.05 * side)


def _cheek(head: HeadShape, side: int) -> Iterator[_Bump]:
    who, smile, half = head.who, head.smile[:, 0], head.mouth_half[:, 0]
    tip_y, corner_y = head.nose_y[:, 0], head.corner_y[:, 0]
    full = 2.2 * who.cheekbone + 1.2 * smile
    yield _Bump(24.0 * side, 5.0 - 1.5 * smile, 8.5, 7.0, full, turn=-0.3 * side, tint=_BLUSH * who.blush[:, None])
    yield _Bump(23.0 * side, 25.0, 7.0, 9.0, -1.6 * who.cheekbone, tint=-0.04)
    fold = 0.35 + 0.9 * smile + 0.9 * who.age
    x = side * (0.5 * who.nose_width + 0.62 * half)
    tint = -0.07 * fold[:, None]
    yield _Bump(x, 0.5 * (tip_y + corner_y) + 1, 1.7, 6.5, -0.6 * fold, turn=-0.55 * side, tint=tint)
    yield _Bump(side * (half + 1.6), corner_y + 0.5, 2.2, 2.6, -0.8 - 0.5 * smile, tint=-0.08)
