"""Props: glasses and the like that people wear, and objects between them and the camera."""

from __future__ import annotations

import numpy as np

from aroface.faces.portrait.head import EYE_Y, HeadShape
from aroface.faces.portrait.shapes import Floats, Shape, circle, curve, mirrored, on_skull, ribbon, stack
from aroface.faces.portrait.traits import OCCLUSIONS


def _front(x: Floats) -> Floats:
    """Depth of spectacles, which bend around the face."""
    return 44.0 - 0.012 * x**2


def glasses(head: HeadShape) -> list[Shape]:
    """Spectacles: rims, bridge and temples."""
    who = head.who
    worn = (who.glasses > 0) & (head.how.occlusion != OCCLUSIONS.index("sunglasses"))
    size, thick = who.glasses_size[:, None], who.glasses[:, None]
    cosine, sine = circle(20)
    power = 2 / who.glasses_round[:, None]
    round_x, round_y = np.sign(cosine) * np.abs(cosine) ** power, np.sign(sine) * np.abs(sine) ** power
    tall = who.glasses_tall[:, None] * size
    shapes = []
    for side in (-1, 1):
        x = side * 1.03 * who.eye_gap[:, None]
        edges = []
        for grow in (thick, -0.3 * thick):
            edge_x = x + (size + grow) * round_x
            edge = stack(edge_x, EYE_Y + 1.5 + (tall + grow) * round_y, _front(edge_x))
            edges.append(np.concatenate([edge, edge[:, :1]], axis=1))
        shapes.append(Shape(ribbon(edges[0], edges[1]), who.glasses_colour, 0.5, worn))
        start, end = x + side * (size + thick), side * (who.face_width[:, None] + 1)
        arm_x = np.concatenate([start, end, end, start], axis=1)
        near = np.array([1.0, 0, 0, 1])
        arm = stack(arm_x, EYE_Y + np.array([-3.0, -3.0, -1.6, -1.6]), near * _front(arm_x))
        shapes.append(Shape(arm, who.glasses_colour, 0.5, worn & (side * head.sine[:, 0] < 0.3)))
    v = np.linspace(-1, 1, 5)
    inside = 1.03 * who.eye_gap[:, None] - size
    arc = EYE_Y - 0.8 - 1.2 * (1 - v**2)
    bridge = ribbon(stack(inside * v, arc - 0.5 * thick, 45.0), stack(inside * v, arc + 0.7 * thick, 45.0))
    return [*shapes, Shape(bridge, who.glasses_colour, 0.5, worn)]


def occlusion(head: HeadShape) -> list[Shape]:
    """The one thing, if any, that hides part of the face in this image."""
    kinds = {"patch": _patch, "hat": _hat, "mask": _mask, "hand": _hand, "sunglasses": _sunglasses}
    shapes = []
    for code, kind in enumerate(OCCLUSIONS):
        present = head.how.occlusion == code
        if kind in kinds and present.any():
            shapes += [Shape(s.points, s.colour, s.weight, present) for s in kinds[kind](head)]
    return shapes


def _patch(head: HeadShape) -> list[Shape]:
    """A blob or a board at a random place."""
    shape = head.how.occlusion_shape
    cosine, sine = circle(24)
    x, y, a, b, kind, phase = np.split(shape, 6, axis=1)
    lobed = 1 + 0.15 * np.sin(3 * np.arctan2(sine, cosine) + 6 * phase)
    reach = np.where(kind > 0.5, 1 / np.maximum(np.abs(cosine), np.abs(sine)), lobed)
    outline = stack(64 * (x - 0.5) + (8 + 14 * a) * reach * cosine, 70 * (y - 0.4) + (8 + 12 * b) * reach * sine, 52.0)
    return [Shape(outline, head.how.occlusion_colour, 0.5)]


def _hat(head: HeadShape) -> list[Shape]:
    """A cap or a bonnet, with or without a peak."""
    shape, colour = head.how.occlusion_shape, head.how.occlusion_colour
    w = head.who.face_width[:, None] + 0.6 * head.who.hair_side[:, None]
    brim = -46 + 14 * shape[:, :1]
    u = np.linspace(-1, 1, 11)
    arc, fall = np.sin(np.pi / 2 * u), np.cos(np.pi / 2 * u)
    tall = np.maximum(38 + 14 * shape[:, 1:2], 30 + head.who.hair_top[:, None])
    crown = head.contour((w + 3) * arc, brim - tall * fall**0.75, near=0.0)
    front = on_skull((w + 1) * 0.97 * arc, brim + 4 * fall, 3.0)
    peak = on_skull(0.98 * w * arc, brim + 4 * fall + 9 * fall * (shape[:, 2:3] > 0.4), 8.0)
    return [Shape(ribbon(crown, front), colour, 0.7), Shape(ribbon(front, peak), 0.72 * np.asarray(colour), 0.7)]


def _mask(head: HeadShape) -> list[Shape]:
    """A face mask from the bridge of the nose to below the chin, with its strings."""
    w = head.who.face_width[:, None]
    u = np.linspace(-1, 1, 9)
    top = on_skull(0.93 * w * u, 2.0 - 9 * (1 - np.abs(u)) + 7 * np.abs(u), 4.0)
    x, y, forward = head.jaw(grow=1.5)
    jaw = head.contour(mirrored(x[:, 1:], -1), mirrored(np.maximum(y[:, 1:], 10), 1), mirrored(forward[:, 1:], 1))
    tone = 0.3 * head.how.occlusion_colour + 0.7 * np.array([205.0, 215, 222])
    string_x = 0.95 * w * np.array([-1.0, -1.08, -1.08])
    strings = [Shape(stack(sign * string_x, np.array([9.0, -8.0, -6.0]), 0.0), 0.9 * tone, 0.9) for sign in (1, -1)]
    return [*strings, Shape(ribbon(top, curve(jaw, 2, closed=False)[:, ::-1]), tone, 0.9)]


def _hand(head: HeadShape) -> list[Shape]:
    """Four fingers held before a cheek, the chin or the brow."""
    shape, skin = head.how.occlusion_shape, head.who.skin
    cosine, sine = circle(16)
    turn = np.radians(50 * (shape[:, :1] - 0.5)) + np.where(shape[:, 2:3] > 0.75, np.pi, 0.0)
    x0, y0 = 44 * (shape[:, 1:2] - 0.5), 8 + 20 * (shape[:, 3:4] - 0.5)
    fingers = []
    for finger, (length, lean) in enumerate(((15.0, -0.08), (18.5, -0.02), (17.5, 0.03), (13.0, 0.1))):
        x = 3.5 * cosine + (finger - 1.5) * 6.9
        y = np.where(sine < 0, length * sine, 46 * sine) + 18
        x = x + lean * (18 - y)
        outline = stack(x0 + x * np.cos(turn) - y * np.sin(turn), y0 + x * np.sin(turn) + y * np.cos(turn), 54.0)
        fingers.append(Shape(outline, 0.6 * skin, 0.9))
        inner = outline + (outline.mean(axis=1, keepdims=True) - outline) * np.array([0.22, 0.05, 0])
        fingers.append(Shape(inner, skin * [0.97, 0.92, 0.9], 0.9))
    return fingers


def _sunglasses(head: HeadShape) -> list[Shape]:
    """Dark glasses."""
    cosine, sine = circle(20)
    tall = (9.0 + 3 * head.how.occlusion_shape[:, :1]) * (0.8 + 0.2 * np.abs(cosine))
    lenses = []
    for side in (-1, 1):
        x = 17.5 * side + 13.5 * cosine
        lenses.append(Shape(stack(x, EYE_Y + 1 + tall * sine, _front(x)), (22, 22, 26), 0.4))
    x = np.array([-1.0, -0.13, 0.13, 1.0, 1.0, 0.13, -0.13, -1.0]) * head.who.face_width[:, None]
    y = EYE_Y + np.array([-4.0, -3.0, -3.0, -4.0, -1.0, -0.5, -0.5, -1.0])
    bar = stack(x, y, np.array([0, 1.0, 1, 0, 0, 1, 1, 0]) * _front(x))
    return [*lenses, Shape(bar, (26, 26, 30), 0.4)]
