"""Hair of the head and of the face."""

from __future__ import annotations

from functools import cache

import numpy as np

from aroface.faces.portrait.head import HeadShape
from aroface.faces.portrait.shapes import Floats, Shape, column, curve, mirrored, on_skull, ribbon, strands

_STRANDS = 22


def scalp(head: HeadShape) -> list[Shape]:
    """Hair in front of the ears: a soft edge, the body, and strands of three tones combed as the identity does."""
    who = head.who
    rim, edge = _rim(head), _edge(head)
    some = who.hair_cover > 0
    cover = who.hair_cover[:, None]
    tone = who.hair * cover + 0.75 * who.skin * (1 - cover)
    soft = 0.5 * tone + 0.5 * who.skin
    bleed = edge + (edge - rim) * np.array([0.03, 0.03, 0.0])
    shapes = [Shape(ribbon(rim, bleed), soft, 0.8, some), Shape(ribbon(rim, edge), tone, 0.65, some)]
    for layer, gain in enumerate((0.76, 1.16, 0.88)):
        shapes.append(Shape(_strands(head, rim, edge, layer), gain * tone + 5 * (gain > 1), 0.65, some))
    return shapes


def _rim(head: HeadShape) -> Floats:
    """Outer contour from the lowest lock on the left over the crown to the right, (N, P, 3)."""
    who, how = head.who, head.how
    w, top, side = who.face_width[:, None], who.hair_top[:, None], who.hair_side[:, None]
    phase = 9 * who.hair_parting[:, None]
    angle = np.pi / 2 * np.linspace(-1, 1, 11)
    quiff = who.hair_lean[:, None] * np.sin(angle) * np.cos(angle)
    x = (w + side) * np.sin(angle)
    y = -24 - (47 + top * (1 + quiff)) * np.cos(angle) ** 0.85
    rough = who.hair_wave[:, None] * (1.0 + 0.12 * top)
    x = x + rough * np.sin(13 * angle + phase)
    y = y + rough * np.cos(17 * angle + phase) + how.hair_shift[:, :1] * np.sin(3 * angle)
    low = np.maximum(who.hair_length[:, None], -14)
    drop = np.array([1.0, 0.66, 0.33])
    fall_y = -24 + (low + 24) * drop
    long = head.long[:, None]
    fall_x = (
        w
        + side * np.where(long, 1.0, 1 - 0.9 * drop**2)
        + 2.5 * who.hair_wave[:, None] * np.sin(5 * drop + phase) * long
    )
    x = np.concatenate([-fall_x, x, fall_x[:, ::-1]], axis=1)
    y = np.concatenate([fall_y, y, fall_y[:, ::-1]], axis=1)
    return curve(head.contour(x, y, near=-2.0), 3, closed=False)


def _edge(head: HeadShape) -> Floats:
    """Inner contour: left lock, temple, hairline or fringe, right temple and lock; as many points as the rim."""
    who, how = head.who, head.how
    w = who.face_width[:, None]
    parting, fringe = who.hair_parting[:, None], who.hair_fringe[:, None]
    u = np.linspace(-1, 1, 11)
    swept = np.tanh(3 * (u - parting)) * np.sign(-parting)
    recede = 10 * who.hair_recession[:, None] * np.exp(-(((np.abs(u) - 0.55) / 0.22) ** 2)) * (fringe == 0)
    peak = 3 * who.hair_peak[:, None] * np.exp(-((u / 0.15) ** 2)) * (fringe == 0)
    ragged = (0.4 + 1.2 * who.hair_wave[:, None]) * np.sin(17 * u + 7 * parting + 0.3 * how.hair_shift[:, 2:])
    y = who.hairline[:, None] + how.hair_shift[:, 1:2] + fringe * (1 - 0.2 * u**2) + 0.45 * fringe * swept
    y = y - recede + peak + 22 * np.abs(u) ** 3.2 + ragged * (1 - u**4)
    temple = on_skull(0.90 * w * np.sin(np.pi / 2 * 0.92 * u), y, 1.5)
    low = np.maximum(who.hair_length[:, None], -14)
    drop = np.array([1.0, 0.66, 0.33])
    fall_y = -24 + (low + 24) * drop
    lock = np.where(
        head.long[:, None], 0.96 - who.hair_lock[:, None] * np.sin(np.pi * np.minimum(drop, 0.8)), 0.95 - 0.06 * drop
    )
    left = head.contour(-lock * w, fall_y, near=2.0)
    right = head.contour((lock * w)[:, ::-1], fall_y[:, ::-1], near=2.0)
    return curve(np.concatenate([left, temple, right], axis=1), 3, closed=False)


@cache
def _scatter(layer: int) -> tuple[Floats, Floats, Floats]:
    """Starts of the strands along and across the hair, and their lengths, each (_STRANDS,)."""
    rng = np.random.default_rng([0x4A17, layer])
    along = (np.arange(_STRANDS) + rng.uniform(0.1, 0.9, _STRANDS)) / _STRANDS
    return along, rng.uniform(-0.15, 0.55, _STRANDS), rng.uniform(0.35, 0.7, _STRANDS)


def _strands(head: HeadShape, rim: Floats, edge: Floats, layer: int) -> Floats:
    """Strands (N, K, 4, 3): brushed from crown to hairline, or combed away from the parting."""
    who = head.who
    along, across, reach = _scatter(layer)
    q = np.linspace(0, 1, 4)
    comb = who.hair_comb[:, None, None]
    away = np.tanh(6 * (along - 0.5 - 0.35 * who.hair_parting[:, None]))[:, :, None]
    curl = 0.012 * who.hair_wave[:, None, None] * np.sin(8 * q + 40 * along[:, None])
    s = np.clip(along[:, None] + comb * away * 0.22 * q + curl, 0.02, 0.98)
    t = np.clip(across[:, None] + (1 - 0.65 * comb) * reach[:, None] * q, 0.02, 1.02)
    last = rim.shape[1] - 1
    low = np.minimum((s * last).astype(int), last - 1)
    share = (s * last - low)[..., None]
    rows = np.arange(len(rim))[:, None, None]
    outer = rim[rows, low] * (1 - share) + rim[rows, low + 1] * share
    inner = edge[rows, low] * (1 - share) + edge[rows, low + 1] * share
    return np.asarray(outer + (inner - outer) * t[..., None])


def beard(head: HeadShape) -> list[Shape]:
    """Beard around the jaw and moustache: soft layers and some hairs."""
    who = head.who
    shapes = []
    hair = 0.85 * who.hair
    for grow, density in ((1.6, 0.35), (0.6, 0.7), (-0.6, 1.0)):
        share = density * who.beard[:, None]
        shapes.append(Shape(_jaw_ring(head, grow), who.skin * (1 - share) + hair * share, 0.9, who.beard > 0))
    shapes += [
        Shape(_bristles(head, layer), gain * hair + 8 * layer, 0.9, who.beard > 0.6)
        for layer, gain in ((0, 0.88), (1, 1.12))
    ]
    for grow, density in ((0.7, 0.5), (0.0, 1.0)):
        share = density * who.moustache[:, None]
        shapes.append(Shape(_whiskers(head, grow), who.skin * (1 - share) + hair * share, 0.9, who.moustache > 0))
    return shapes


def _cheek_line(head: HeadShape, grow: float) -> tuple[Floats, Floats]:
    """Upper edge of one half of the beard, from the ear to below the mouth: x, y (N, 6)."""
    who, w, m = head.who, head.who.face_width, head.mouth_half[:, 0]
    chin = who.chin_length + head.jaw_drop[:, 0]
    top, goatee = 6 - 12 * who.beard_extent, who.beard_extent < 0.25
    side = np.where(goatee, 0.62, 0.98)
    x = column(
        side * w - grow, np.where(goatee, 0.6, 0.82) * w - grow, 1.5 * m - grow, 1.25 * m - grow, 0.62 * m, 0 * m
    )
    y = column(
        np.where(goatee, 26.0, top), np.where(goatee, 30.0, 14.0), 0.52 * chin, 0.72 * chin, 0.80 * chin, 0.81 * chin
    )
    return x, y - 0.4 * grow


def _jaw_ring(head: HeadShape, grow: float) -> Floats:
    x, y, forward = head.jaw()
    lower = y + np.array([0, 0, 0, 0.6, 1.2, 1.6])
    outer = head.contour(mirrored(x + 0.5, -1), mirrored(lower, 1), mirrored(forward, 1))
    x, y = _cheek_line(head, grow)
    inner = on_skull(mirrored(x, -1), mirrored(y, 1))
    goatee = head.who.beard_extent[:, None, None] < 0.25
    outer = np.where(goatee, on_skull(outer[..., 0] * 0.66, np.maximum(outer[..., 1], 26), 0.0), outer)
    return ribbon(curve(outer, 3, closed=False), curve(inner, 3, closed=False))


def _bristles(head: HeadShape, layer: int) -> Floats:
    rng = np.random.default_rng([0xBEA2D, layer])
    x, y, forward = head.jaw()
    outer = curve(head.contour(mirrored(x, -1), mirrored(y, 1), mirrored(forward, 1)), 4, closed=False)
    x, y = _cheek_line(head, 0.6)
    inner = curve(on_skull(mirrored(x, -1), mirrored(y, 1)), 4, closed=False)
    pick = np.sort(rng.integers(6, outer.shape[1] - 6, 30))
    t = rng.uniform(0.0, 0.8, (30, 1))
    foot = inner[:, pick] * (1 - t) + outer[:, pick] * t
    return strands(foot, foot + (outer[:, pick] - inner[:, pick]) * 0.12 + np.array([0, 0.6, 0]))


def _whiskers(head: HeadShape, grow: float) -> Floats:
    who = head.who
    u = np.linspace(-1, 1, 9)
    lip = who.mouth_height[:, None] - 0.35 * head.gap - who.upper_lip[:, None]
    drop = 1.2 + 5.0 * who.moustache_droop[:, None]
    low = lip + 0.3 + drop * np.abs(u) ** 3 - 1.6 * head.smile * u**2
    high = lip - 4.4 * (1 - 0.55 * u**2) + 1.2 * np.exp(-((u / 0.15) ** 2)) + (drop - 1.8) * np.abs(u) ** 3
    x = (1.12 * head.mouth_half + grow) * u
    return ribbon(on_skull(x, high - grow, 2.0), on_skull(x, low + 0.4 * grow, 2.0))
