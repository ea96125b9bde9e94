"""From traits to shapes: the coloured outlines, the landmarks and the relief of a face in its own frame.

The face frame has x to the viewer's right, y down and z towards the viewer, in template pixels; its origin lies behind
the bridge of the nose, in the axis that the head turns about. Shapes are listed from the back to the front.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.faces.population import Identities, Nuisances

Floats = npt.NDArray[np.floating[Any]]

EYE_Y = -15.0
SKULL = (45.0, 66.0, 48.0)
"""Half-axes of the ellipsoid that the features lie on."""
SKULL_Y = -9.0


@dataclass(frozen=True, slots=True)
class Shape:
    """An outline to be filled, or a bundle of open strands to be drawn as thin lines.

    Attributes:
        points: (N, P, 3) in the face frame, or (N, K, P, 3) for strands.
        colour: (N, 3), RGB in 0..255 under even light.
        weight: how much light and skin texture act on it, 0 (backdrop) to 1 (skin).
        visible: (N,) bool.
    """

    points: Floats
    colour: Floats
    weight: float
    visible: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Relief:
    """Gaussian bumps that shape the light and tint the skin.

    Attributes:
        centre: (N, K, 3) in the face frame.
        precision: (N, K, 3), the inverse covariance's xx, xy, yy in the plane of the face.
        height: (N, K) in template pixels.
        tint: (N, K, 3), relative change of the colour.
    """

    centre: Floats
    precision: Floats
    height: Floats
    tint: Floats


def depth(x: Floats, y: Floats) -> Floats:
    """The skull's surface z at (x, y)."""
    a, b, c = SKULL
    return c * np.sqrt(np.maximum(1 - (x / a) ** 2 - ((y - SKULL_Y) / b) ** 2, 0.02))


@cache
def _spline(count: int, steps: int, closed: bool) -> npt.NDArray[np.float32]:
    """Catmull-Rom weights (samples, count) of a curve through ``count`` control points, ``steps`` samples a segment."""
    segments = count if closed else count - 1
    t = np.arange(steps) / steps
    basis = 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], axis=1
    )
    weights = np.zeros((segments * steps + (0 if closed else 1), count), np.float32)
    for segment in range(segments):
        for offset in range(4):
            index = segment + offset - 1
            index = index % count if closed else min(max(index, 0), count - 1)
            weights[segment * steps : (segment + 1) * steps, index] += basis[:, offset].astype(np.float32)
    if not closed:
        weights[-1, -1] = 1
    return weights


def _curve(points: Floats, steps: int = 4, closed: bool = True) -> Floats:
    """Smooth curve (N, samples, D) through control points (N, C, D)."""
    return _spline(points.shape[1], steps, closed) @ points


def _stack(*columns: Any) -> Floats:
    """Broadcast coordinates of shape (N,), (P,) as (1, P) or (N, P) and stack them on a last axis."""
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def _on_skull(x: Floats, y: Floats, lift: Any = 0.0) -> Floats:
    """Points (N, P, 3) that lie ``lift`` above the skull."""
    return _stack(x, y, depth(x, y) + lift)


class Anatomy:
    """Shapes, landmarks and relief of a batch of faces; computed once, then only read."""

    def __init__(self, who: Identities, how: Nuisances) -> None:
        self.who, self.how = who, how
        self.n = len(who)
        self.sine = np.sin(np.radians(how.yaw))[:, None]
        self.cosine = np.cos(np.radians(how.yaw))[:, None]
        self.always = np.ones(self.n, bool)
        self.shapes: list[Shape] = []
        self._eyes_and_mouth()
        self.outline = self._outline()
        self._behind()
        self._skin()
        for side in (-1, 1):
            self._eye(side)
            self._brow(side)
        self._nose()
        self._beard()
        self._mouth()
        self._hair()
        self._glasses()
        self._occlusion()

    def _add(
        self,
        points: Floats,
        colour: Any,
        weight: float = 1.0,
        visible: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        shown = self.always if visible is None else visible
        rows = np.broadcast_to(np.asarray(colour, np.float32), (self.n, 3))
        self.shapes.append(Shape(points, np.clip(rows, 0, 255), weight, shown))

    def _eyes_and_mouth(self) -> None:
        """Places that several features share."""
        who, how = self.who, self.how
        self.eye_x = np.stack([-who.eye_gap + 0.4 * who.asymmetry[:, 0], who.eye_gap], axis=1)
        self.eye_y = EYE_Y + np.stack([0.8 * who.asymmetry[:, 1], -0.8 * who.asymmetry[:, 1]], axis=1)
        self.smile = how.smile
        self.mouth_half = who.mouth_width * (1 + 0.16 * how.smile - 0.10 * how.mouth_open)
        self.corner_y = who.mouth_height - 2.2 * how.smile + 0.8 * who.mouth_tilt + 1.2 * how.mouth_open
        self.nose_y = EYE_Y + who.nose_length - 0.5 * how.smile
        self.jaw_drop = 4.5 * how.mouth_open

    def landmarks(self) -> Floats:
        """Left eye, right eye, nose tip, left and right mouth corner; (N, 5, 3)."""
        eyes = _on_skull(self.eye_x, self.eye_y, -2.5)
        nose = _on_skull(self.who.nose_bend[:, None], self.nose_y[:, None], self.who.nose_height[:, None])
        sides = np.array([-1.0, 1.0]) * self.mouth_half[:, None]
        mouth = _on_skull(sides, np.repeat(self.corner_y[:, None], 2, axis=1), 1.0)
        return np.concatenate([eyes, nose, mouth], axis=1)

    def _turn(self, x: Floats, y: Floats, near: Any = -4.0) -> Floats:
        """Points of the head's contour, (N, P, 3).

        The contour of a turned solid is not the turned contour: on the far side it is the skull's limb, on the near
        side the cheek ends at the ear.
        """
        far = x * 1.12**2 * self.sine / (self.cosine + np.sqrt(self.cosine**2 + (1.12 * self.sine) ** 2))
        return _stack(x, y, np.where(x * self.sine > 0, far, near))

    def _outline(self) -> Floats:
        """The face from crown to chin, (N, P, 3)."""
        who = self.who
        w = who.face_width
        chin = who.chin_length + self.jaw_drop
        half_x = np.stack(
            [0 * w, 0.62 * w, 0.93 * who.brow_width * w, w * who.brow_width, w * who.cheek_width, 0.96 * w,
             who.jaw_width * w, (0.5 * who.jaw_width + 0.62 * who.chin_width) * w, 0.72 * who.chin_width * w], axis=1
        )  # fmt: skip
        half_y = np.stack(
            [-70 + 0 * w, -64 + 0 * w, -45 + 0 * w, -24 + 0 * w, -6 + 0 * w, 8 + 0 * w, 0.54 * chin, 0.82 * chin, 0.965 * chin],
            axis=1,
        )
        forward = np.array([0, 0, 0, 0, 0, 0, 3, 12, 20.0])
        x = np.concatenate([half_x, 0 * w[:, None], -half_x[:, :0:-1]], axis=1)
        y = np.concatenate([half_y, chin[:, None], half_y[:, :0:-1]], axis=1)
        out = self._turn(x, y)
        out[..., 2] += np.concatenate([forward, [23.0], forward[:0:-1]])
        return _curve(out, 4)

    def _behind(self) -> None:
        """Clothes, long hair, neck, back of the head, ears."""
        who, how = self.who, self.how
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        w = who.face_width[:, None]
        volume = who.hair_volume[:, None]
        long = who.hair_length > 0
        shoulders = _stack(np.array([-120, -60, -24, -17, 17, 24, 60, 120.0, 200, -200]),
                           np.array([84, 70, 62, 56, 56, 62, 70, 84.0, 240, 240]), -12.0)  # fmt: skip
        neck_x = np.array([-1, -0.98, -1.15, 1.15, 0.98, 1.0]) * 0.72 * w
        neck = _stack(neck_x, np.array([10.0, 40, 74, 74, 40, 10]), -2.0)
        reach = who.hair_length[:, None]
        fall_y = np.array([-30, 0, 0.55, 1.0, 1.05, 1.05, 1.0, 0.55, 0, -30.0])
        fall_y = np.where(np.abs(fall_y) < 2, fall_y * reach, fall_y)
        fall_x = np.array([-1.0, -1.05, -1.1, -1.0, -0.6, 0.6, 1.0, 1.1, 1.05, 1.0]) * (w + 1.1 * volume)
        wave = 2.5 * who.hair_wave[:, None] * np.sin(np.arange(10) * 2.3 + 9 * who.hair_parting[:, None])
        back = self._turn((w + 0.35 * volume) * np.sin(angle), -28 - (45 + 0.3 * volume) * np.cos(angle))
        self._add(_curve(_stack(fall_x + wave, fall_y, -12.0), 3), 0.8 * who.hair, 0.5, long)
        self._add(np.broadcast_to(shoulders, (self.n, 10, 3)), how.clothes, 0.5)
        self._add(neck, 0.78 * who.skin, 0.9)
        back_colour = np.where(who.hair_cover[:, None] > 0, 0.85 * who.hair, 0.9 * who.skin)
        self._add(back, back_colour, 0.7)
        for side in (-1, 1):
            flare = who.ear_flare[:, None]
            x = side * (w * 0.985 + flare * (0.55 - 0.45 * np.cos(angle)) + 0.5 * flare * np.sin(angle) * 0)
            x = side * (w * 0.97 + flare * 0.35 + (1.6 + flare) * np.cos(angle))
            y = -6.5 + 10.5 * who.ear_size[:, None] * np.sin(angle) - 1.5 * np.cos(angle)
            shown = ~(long & (who.hair_length < 200) & (who.hair_volume > 6))
            self._add(_stack(x, y, -4.0), 0.93 * who.skin * [1.0, 0.95, 0.94], 0.9, shown)
            inner = _stack(side * (w * 0.99 + flare * 0.45 + (0.2 + 0.55 * flare) * np.cos(angle)),
                           -6.5 + 6.5 * who.ear_size[:, None] * np.sin(angle), -4.0)  # fmt: skip
            self._add(inner, 0.72 * who.skin, 0.9, shown)

    def _skin(self) -> None:
        who = self.who
        self._add(self.outline, who.skin)
        angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        for k in range(who.marks.shape[1]):
            x, y, radius, darkness = who.marks[:, k].T
            points = _on_skull(x[:, None] + radius[:, None] * np.cos(angle), y[:, None] + radius[:, None] * np.sin(angle))
            self._add(points, who.skin * (1 - darkness[:, None] * [0.85, 1.0, 1.05]), 1.0, darkness > 0)

    def _eye(self, side: int) -> None:
        who, how = self.who, self.how
        column = (side + 1) // 2
        cx, cy = self.eye_x[:, column, None], self.eye_y[:, column, None]
        u = np.linspace(-1, 1, 9)
        half = who.eye_width[:, None]
        opening = np.maximum(how.eye_open * (1 - 0.12 * np.clip(how.smile, 0, 1)), 0.12)[:, None]
        skew = 1 - side * 0.12 * u
        bulge = (1 - u**2) ** (0.75 - 0.12 * who.eye_round[:, None])
        upper = -who.eye_height[:, None] * opening * bulge * skew
        lower = who.eye_height[:, None] * (0.52 - 0.1 * who.eye_round[:, None]) * (0.6 + 0.4 * opening) * (1 - u**2)
        slope = -side * np.tan(who.eye_tilt + 0.04 * who.asymmetry[:, 2] * side)[:, None] * side * side

        def place(x: Floats, y: Floats, lift: float = -2.5) -> Floats:
            return _on_skull(cx + x, cy + y + slope * x, lift)

        along = half * u
        closed = np.concatenate([u, u[-2:0:-1]])
        lid = np.concatenate([upper, lower[:, -2:0:-1]], axis=1)
        white = np.array([236, 230, 224.0]) * 0.93
        self._add(place(half * closed, lid), white, 0.85)
        angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        gaze_x, gaze_y = how.gaze[:, :1], 0.5 * how.gaze[:, 1:] - 0.35
        for radius, colour, weight in (
            (who.iris_size[:, None], 0.55 * who.iris, 0.7),
            (0.82 * who.iris_size[:, None], who.iris, 0.7),
            (0.42 * who.iris_size[:, None], np.array([14.0, 12, 12]), 0.5),
        ):
            x = gaze_x + radius * np.cos(angle)
            top = np.stack([np.interp(x[i], along[i], upper[i]) for i in range(self.n)])
            bottom = np.stack([np.interp(x[i], along[i], lower[i]) for i in range(self.n)])
            self._add(place(x, np.clip(gaze_y + radius * np.sin(angle), top, bottom)), colour, weight)
        glint = _stack(cx + gaze_x - 1.1 + 0.75 * np.cos(angle[::2]), cy + gaze_y - 1.2 + 0.75 * np.sin(angle[::2]), 42.0)
        self._add(glint, [250, 250, 250], 0.2, how.eye_open > 0.7)
        lash = who.lashes[:, None] * (0.75 + 0.35 * side * u) * (1 - 0.6 * u**8)
        ribbon = np.concatenate([upper - 0.55 * lash, (upper + 0.75 * lash)[:, ::-1]], axis=1)
        ribbon_x = np.concatenate([half * 1.06 * u + 0 * half, (half * 1.02 * u + 0 * half)[:, ::-1]], axis=1)
        self._add(place(ribbon_x, ribbon), 0.30 * who.skin * [0.9, 0.8, 0.8], 0.6)
        under = np.concatenate([lower, (lower + 0.55)[:, ::-1]], axis=1)
        self._add(place(np.concatenate([along, along[:, ::-1]], axis=1), under), 0.80 * who.skin * [1, 0.93, 0.92])
        rise = (1.5 + 1.3 * np.maximum(who.lid_fold, 0) + 0.5 * np.maximum(how.brow_raise, 0))[:, None]
        crease = np.minimum(-who.eye_height[:, None] * bulge * skew * 1.02, -0.5) - rise * (1 - 0.5 * u**2)
        line = np.concatenate([crease - 0.35 * (1 - u**4), (crease + 0.5 * (1 - u**4))[:, ::-1]], axis=1)
        fold_x = np.concatenate([1.04 * along, 1.04 * along[:, ::-1]], axis=1)
        self._add(place(fold_x, line), 0.76 * who.skin * [1, 0.94, 0.92], 1.0, who.lid_fold > 0)

    def _brow(self, side: int) -> None:
        who, how = self.who, self.how
        u = np.linspace(0, 1, 8)
        gap = (who.brow_gap - 0.25 * how.brow_raise)[:, None]
        x = side * (gap + 2 * who.brow_length[:, None] * u)
        raise_ = (how.brow_raise * 1.3 + 0.8 * who.asymmetry[:, 3] * side)[:, None]
        arch = who.brow_arch[:, None] * 2.6 * (u * (1 - u)) * (1 + 0.6 * u)
        tilt = (np.tan(who.brow_tilt)[:, None]) * 2 * who.brow_length[:, None] * (0.4 - u)
        y = who.brow_height[:, None] - raise_ - arch + tilt + 2.2 * u**3 + 0.9 * (1 - u) ** 3
        thick = who.brow_thickness[:, None] * (0.85 + 0.55 * u - 1.25 * u**2.5)
        points = np.concatenate([_stack(x, y - thick), _stack(x, y + thick)[:, ::-1]], axis=1)
        smooth = _curve(points, 2)
        density = who.brow_density[:, None]
        soft = 0.5 * density
        edge = smooth + np.array([0, 0.55]) * np.sign(smooth[..., 1:] - y.mean(axis=1)[:, None, None])
        hair = 0.8 * who.hair + 4
        self._add(_on_skull(edge[..., 0], edge[..., 1], 1.5), who.skin * (1 - soft) + hair * soft, 0.9)
        self._add(_on_skull(smooth[..., 0], smooth[..., 1], 1.5), who.skin * (1 - density) + hair * density, 0.8)

    def _nose(self) -> None:
        who = self.who
        angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        wide = who.nose_width * (1 + 0.08 * self.smile)
        base = (self.nose_y + 2.9)[:, None]
        tip = 0.62 * who.nose_height[:, None]
        bend = who.nose_bend[:, None]
        dark = 0.33 * who.skin * [1.0, 0.8, 0.78]
        for side in (-1, 1):
            x = bend + side * 0.50 * wide[:, None] + (1.75 * who.nostril[:, None] + 0.4) * np.cos(angle)
            y = base - 0.1 + 0.95 * who.nostril[:, None] * np.sin(angle) - side * 0.28 * np.cos(angle)
            self._add(_on_skull(x, y, tip), dark, 0.8)
            v = np.linspace(-1, 1, 7)
            wing_x = bend + side * (wide[:, None] * (0.86 + 0.14 * np.cos(1.5 * v)))
            wing_y = base - 1.9 + 3.1 * v * (0.85 + 0.15 * who.nostril[:, None])
            width = 0.55 * (1 - v**2) + 0.12
            line = np.concatenate([_stack(wing_x - width, wing_y), _stack(wing_x + width, wing_y)[:, ::-1]], axis=1)
            self._add(_on_skull(line[..., 0], line[..., 1], 0.35 * tip), 0.70 * who.skin * [1, 0.9, 0.88])

    def _mouth(self) -> None:
        who, how = self.who, self.how
        u = np.linspace(-1, 1, 13)
        half = self.mouth_half[:, None]
        x = half * u
        middle = (who.mouth_height + 0.9 * np.maximum(how.smile, 0))[:, None]
        corner = self.corner_y[:, None]
        line = middle + (corner - middle) * np.abs(u) ** 1.7 - 0.35 * who.cupid_bow[:, None] * np.cos(3 * np.pi * u) * (1 - u**2)
        gap = (8.5 * how.mouth_open + 2.6 * np.clip(how.smile - 0.35, 0, 1))[:, None] * np.maximum(1 - u**2, 0) ** 0.7
        dome = np.maximum(1 - u**2, 0)
        bow = 1 - 0.42 * who.cupid_bow[:, None] * np.exp(-((u / 0.16) ** 2))
        thin = (1 - 0.18 * np.clip(how.smile, 0, 1))[:, None]
        upper = who.upper_lip[:, None] * thin * (0.25 * dome + 0.75 * dome**1.3 * bow)
        lower = who.lower_lip[:, None] * thin * dome**0.75
        top_in, low_in = line - 0.35 * gap, line + 0.65 * gap
        top_out, low_out = top_in - upper, low_in + lower
        lift = 2.0 + 1.0 * dome

        def band(first: Floats, second: Floats) -> Floats:
            along = np.concatenate([x, x[:, ::-1]], axis=1)
            return _on_skull(along, np.concatenate([first, second[:, ::-1]], axis=1), np.concatenate([lift, lift[::-1]]))

        under = np.concatenate([0.5 * x, 0.5 * x[:, ::-1]], axis=1)
        shade = np.concatenate([low_out + 0.2, (low_out + 1.5 * dome)[:, ::-1]], axis=1)
        self._add(_on_skull(under, shade, 1.5), 0.86 * who.skin * [1, 0.96, 0.95], 1.0, who.beard == 0)
        self._add(band(top_in, low_in), [58, 22, 22], 0.7, (gap.max(axis=1) > 0.7))
        teeth_low = np.minimum(low_in, top_in + 4.2 * dome**0.4)
        self._add(band(top_in, teeth_low), [226, 218, 204], 0.8, (gap.max(axis=1) > 1.2))
        self._add(band(low_in, low_out), who.lips)
        self._add(band(top_out, top_in), 0.86 * who.lips)
        seam = 0.42 * (1 - 0.5 * u**2)
        self._add(band(line - seam, line + seam), 0.42 * who.lips, 0.9, gap.max(axis=1) <= 0.7)

    def _beard(self) -> None:
        """Beard around the jaw and moustache, both below the mouth in the order of painting."""
        who, how = self.who, self.how
        w = who.face_width
        chin = who.chin_length + self.jaw_drop
        top = 4 - 14 * who.beard_extent
        zero = 0 * w
        half_x = np.stack([0.99 * w, 0.965 * w, (0.01 + who.jaw_width) * w, (0.5 * who.jaw_width + 0.62 * who.chin_width) * w, 0.7 * who.chin_width * w], 1)
        half_y = np.stack([top, 8 + zero, 0.55 * chin, 0.84 * chin, 1.0 * chin], 1)
        forward = np.array([0, 0, 3, 12, 20.0])
        outer_x = np.concatenate([half_x, zero[:, None], -half_x[:, ::-1]], 1)
        outer_y = np.concatenate([half_y, 1.04 * chin[:, None], half_y[:, ::-1]], 1)
        outer = self._turn(outer_x, outer_y)
        outer[..., 2] += np.concatenate([forward, [23.0], forward[::-1]])
        m = self.mouth_half
        inner_half_x = np.stack([0.90 * w, 0.80 * w, 1.45 * m, 1.2 * m, 0.62 * m], 1)
        inner_half_y = np.stack([top, 0.30 * chin + zero, 0.46 * chin, 0.72 * chin, 0.79 * chin], 1)
        inner_x = np.concatenate([-inner_half_x, inner_half_x[:, ::-1]], 1)
        inner_y = np.concatenate([inner_half_y, inner_half_y[:, ::-1]], 1)
        ring = np.concatenate([_curve(outer, 3, closed=False), _curve(_on_skull(inner_x, inner_y), 3, closed=False)], 1)
        share = who.beard[:, None]
        tone = who.skin * (1 - share) + 0.9 * who.hair * share
        self._add(ring, tone, 0.9, who.beard > 0)
        u = np.linspace(-1, 1, 9)
        lip = (who.mouth_height - 0.35 * 8.5 * how.mouth_open - who.upper_lip)[:, None]
        lower = lip + 0.4 + 4.5 * np.abs(u) ** 3 - 1.6 * np.clip(how.smile, 0, 1)[:, None] * u**2
        upper = lip - 4.2 * (1 - 0.55 * u**2) + 1.2 * np.exp(-((u / 0.15) ** 2)) + 2.4 * np.abs(u) ** 3
        x = 1.12 * m[:, None] * u
        whisk = np.concatenate([_stack(x, upper), _stack(x, lower)[:, ::-1]], 1)
        share = who.moustache[:, None]
        self._add(_on_skull(whisk[..., 0], whisk[..., 1], 2.0), who.skin * (1 - share) + 0.85 * who.hair * share, 0.9, who.moustache > 0)

    def _hair(self) -> None:
        who, how = self.who, self.how
        w, volume = who.face_width[:, None], who.hair_volume[:, None]
        some = who.hair_cover > 0
        side_low = np.clip(who.hair_length, -16, 26)[:, None]
        u = np.linspace(-1, 1, 11)
        outer_x = (w + 0.45 * volume) * np.sin(np.pi / 2 * u) + 0 * u
        outer_y = -22 - (50 + volume) * np.cos(np.pi / 2 * u) ** 0.8
        tuft = how.hair_shift[:, :1] * np.sin(3 * u) + 1.3 * who.hair_wave[:, None] * np.sin(19 * u + 9 * who.hair_parting[:, None])
        outer = self._turn(outer_x, outer_y + tuft, 0.0)
        low_outer = self._turn(np.array([-1.0, 1.0]) * (w + 0.5 * volume * (side_low > 0)), side_low + 0 * u[:2], -2.0)
        line = who.hairline[:, None] + who.hair_fringe[:, None] * (1 - 0.25 * np.abs(u)) + how.hair_shift[:, 1:2]
        part = who.hair_parting[:, None]
        recede = who.hair_recession[:, None] * 9 * np.exp(-(((np.abs(u) - 0.55) / 0.22) ** 2)) * (who.hair_fringe[:, None] == 0)
        sweep = (1.5 + 3.5 * (who.hair_fringe[:, None] > 0)) * np.tanh((u - part) * 3) * np.sign(part)
        temple = 22 * np.abs(u) ** 3.2
        ragged = (0.5 + 1.0 * who.hair_wave[:, None]) * np.sin(17 * u + 7 * part + 0.3 * how.hair_shift[:, 2:3])
        inner_x = 0.90 * w * np.sin(np.pi / 2 * 0.92 * u)
        inner_y = line - recede + sweep * (1 - u**2) + temple + ragged * (1 - u**4)
        inner = _on_skull(inner_x, inner_y, 1.5)
        low_inner = self._turn(np.array([-1.0, 1.0]) * 0.93 * w, side_low + 0 * u[:2], 2.0)
        rim = np.concatenate([low_outer[:, :1], outer, low_outer[:, 1:]], axis=1)
        edge = np.concatenate([low_inner[:, :1], inner, low_inner[:, 1:]], axis=1)
        rim, edge = _curve(rim, 3, closed=False), _curve(edge, 3, closed=False)
        self._add(np.concatenate([rim, edge[:, ::-1]], axis=1), who.hair, 0.6, some)
        for offset, gain in ((0, 0.72), (1, 1.22)):
            pick = np.arange(2 + offset, rim.shape[1] - 2, 2)
            mix = np.array([0.06, 0.5, 0.97])[:, None]
            swing = np.array([0.0, 1.6, 0.0])[:, None] * np.sin(pick * 1.7 + offset)
            a, b = rim[:, None, pick], edge[:, None, np.clip(pick + offset, 0, rim.shape[1] - 1)]
            strand = a * (1 - mix[..., None]) + b * mix[..., None]
            strand[..., 0] += swing
            self._add(np.swapaxes(strand, 1, 2), gain * who.hair + 6 * offset, 0.6, some)

    def _glasses(self) -> None:
        who = self.who
        angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        power = (2 / who.glasses_round)[:, None]
        worn = who.glasses > 0
        size = who.glasses_size[:, None]
        thick = who.glasses[:, None]
        cosine, sine = np.cos(angle), np.sin(angle)
        rx = np.sign(cosine) * np.abs(cosine) ** power
        ry = np.sign(sine) * np.abs(sine) ** power
        for side in (-1, 1):
            cx = side * who.eye_gap[:, None] * 1.03
            outer = _stack(cx + (size + thick) * rx, EYE_Y + 1.5 + (0.78 * size + thick) * ry, 46.0)
            inner = _stack(cx + (size - 0.3 * thick) * rx, EYE_Y + 1.5 + (0.78 * size - 0.3 * thick) * ry, 46.0)
            ring = np.concatenate([outer, outer[:, :1], inner[:, :1], inner[:, ::-1]], axis=1)
            self._add(ring, who.glasses_colour, 0.5, worn)
            start, end = side * (who.eye_gap[:, None] * 1.03 + size + thick), side * (who.face_width[:, None] + 1)
            y = np.array([EYE_Y - 3, EYE_Y - 1.6])
            temple = np.stack([_stack(start[:, 0], y[0], 46.0), _stack(end[:, 0], y[0], 0.0), _stack(end[:, 0], y[1], 0.0), _stack(start[:, 0], y[1], 46.0)], 1)
            self._add(temple, who.glasses_colour, 0.5, worn)
        v = np.linspace(-1, 1, 5)
        inside = who.eye_gap[:, None] * 1.03 - size
        arc = EYE_Y - 0.8 - 1.2 * (1 - v**2)
        bridge = np.concatenate([_stack(inside * v, arc - 0.5 * thick, 48.0), _stack(inside * v, arc + 0.7 * thick, 48.0)[:, ::-1]], 1)
        self._add(bridge, who.glasses_colour, 0.5, worn)

    def _occlusion(self) -> None:
        how, who = self.how, self.who
        kind, shape, colour = how.occlusion, how.occlusion_shape, how.occlusion_colour
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        cx, cy = 64 * (shape[:, :1] - 0.5), 70 * (shape[:, 1:2] - 0.4)
        a, b = 8 + 14 * shape[:, 2:3], 8 + 12 * shape[:, 3:4]
        square = np.maximum(np.abs(np.cos(angle)), np.abs(np.sin(angle)))
        lobed = np.where((shape[:, 4:5] > 0.5), 1 / square, 1 + 0.15 * np.sin(3 * angle + 6 * shape[:, 5:6]))
        self._add(_stack(cx + a * lobed * np.cos(angle), cy + b * lobed * np.sin(angle), 52.0), colour, 0.5, kind == 1)
        w = who.face_width[:, None]
        brim = -46 + 16 * shape[:, :1]
        u = np.linspace(-1, 1, 9)
        dome = self._turn((w + 5) * np.sin(np.pi / 2 * u), brim - (40 + 14 * shape[:, 1:2]) * np.cos(np.pi / 2 * u) ** 0.7, 0.0)
        front = _on_skull((w + 1)[:, :] * 0.97 * np.sin(np.pi / 2 * u[::-1]), brim + 4 * (1 - u**2), 3.0)
        self._add(np.concatenate([dome, front], 1), colour, 0.7, kind == 2)
        peak = np.concatenate([front, _on_skull((w * 1.0) * np.sin(np.pi / 2 * u), brim + 4 + 8 * (1 - u**2) * (shape[:, 2:3] > 0.4), 8.0)], 1)
        self._add(peak, 0.75 * colour, 0.7, kind == 2)
        low = self.outline[:, 20:53]
        top = _on_skull(0.93 * w * u, 2.0 - 9 * (1 - np.abs(u)) + 7 * np.abs(u), 4.0)
        jaw_x = np.array([0.97, 0.86, 0.5, 0.0, -0.5, -0.86, -0.97]) * w
        jaw_y = np.stack([12 + 0 * cy[:, 0], 27 + 0 * cy[:, 0], 44 + 0 * cy[:, 0], 49 + self.jaw_drop, 44 + 0 * cy[:, 0], 27 + 0 * cy[:, 0], 12 + 0 * cy[:, 0]], 1)
        jaw = self._turn(jaw_x, jaw_y)
        jaw[..., 2] += [0, 4, 16, 24, 16, 4, 0.0]
        del low
        self._add(np.concatenate([top, _curve(jaw, 3, closed=False)], 1), 0.4 * colour + 140, 0.9, kind == 3)
        turn = np.radians(60 * (shape[:, :1] - 0.5)) + np.pi * (shape[:, 1:2] > 0.5)
        for finger in range(4):
            along, across = 15 + 4 * np.sin(finger + 1.0), 3.6
            fx = across * np.cos(angle) + (finger - 1.5) * 6.8
            fy = np.where(np.sin(angle) < 0, along * np.sin(angle), 34 * np.sin(angle))
            hx = fx * np.cos(turn) - (fy + 20) * np.sin(turn) + np.sign(cx) * 20
            hy = fx * np.sin(turn) + (fy + 20) * np.cos(turn) + 12 + 0.3 * cy
            tone = who.skin * (0.97 - 0.03 * (finger % 2))
            self._add(_stack(hx, hy, 54.0), tone, 0.9, kind == 4)
        for side in (-1, 1):
            lens = _stack(side * 17.5 + 13.5 * np.cos(angle), EYE_Y + 1 + (9.0 + 3 * shape[:, :1]) * np.sin(angle) * (0.8 + 0.2 * np.abs(np.cos(angle))), 46.0)
            self._add(lens, [22, 22, 26], 0.4, kind == 5)
        bar = _stack(np.array([-36, -5, 5, 36, 36, 5, -5, -36.0]), np.array([-19, -18, -18, -19, -16, -15.5, -15.5, -16.0]), np.array([0, 46, 46, 0, 0, 46, 46, 0.0]))
        self._add(np.broadcast_to(bar, (self.n, 8, 3)), [26, 26, 30], 0.4, kind == 5)

    def relief(self) -> Relief:
        """The bumps of the face."""
        who, how = self.who, self.how
        rows: list[tuple[Any, ...]] = []

        def bump(x: Any, y: Any, sx: Any, sy: Any, height: Any, lift: Any = 0.0, turn: Any = 0.0, tint: Any = 0.0) -> None:
            rows.append((x, y, sx, sy, height, lift, turn, tint))

        red = np.array([0.05, -0.10, -0.09]) * who.blush[:, None]
        nose_y, tall = self.nose_y, who.nose_height
        bridge = who.nose_bridge
        bump(0.5 * who.nose_bend, EYE_Y + 0.15 * who.nose_length, 0.75 * bridge, 6.0, 0.25 * tall, 2.0)
        bump(who.nose_bend, EYE_Y + 0.62 * who.nose_length, bridge, 5.5, 0.36 * tall, 0.5 * tall)
        bump(who.nose_bend, nose_y - 0.3, 3.5 * who.nose_tip, 3.2 * who.nose_tip, 0.40 * tall, 0.9 * tall, 0.0, 0.6 * red)
        warm = np.array([0.01, -0.05, -0.05])
        for side in (-1, 1):
            column = (side + 1) // 2
            ex, ey = self.eye_x[:, column], self.eye_y[:, column]
            bump(who.nose_bend + side * 0.72 * who.nose_width, nose_y + 1.0, 2.4, 2.5, 0.16 * tall, 0.3 * tall)
            bump(ex - side * 2.5, ey - 4.5, 8.0, 4.0, -2.1 * who.eye_depth, 0.0, side * 0.15, -0.10 * who.eye_depth[:, None] + warm)
            bump(ex - side * 6.5, ey + 0.5, 3.0, 3.5, -1.2 * who.eye_depth, 0.0, 0.0, -0.10 * who.eye_depth[:, None] + warm)
            bump(ex, ey + 6.0, 6.0, 2.2, -0.5 - 0.7 * who.age, 0.0, 0.0, -0.05 - 0.10 * who.age[:, None] + warm)
            bump(ex - side * 1.0, who.brow_height - 0.5, 10.0, 3.2, 1.5 + 0.35 * who.eye_depth, 0.0, side * -0.05)
            bump(side * 24.0, 5.0 - 1.5 * how.smile, 8.5, 7.0, 2.2 * who.cheekbone + 1.2 * np.clip(how.smile, 0, 1), 0.0, side * -0.3, red)
            bump(side * 23.0, 25.0 + 0 * who.age, 7.0, 9.0, -1.6 * who.cheekbone, 0.0, 0.0, -0.04)
            fold = 0.35 + 0.9 * np.clip(how.smile, 0, 1) + 0.9 * who.age
            bump(side * (0.5 * who.nose_width + 0.62 * self.mouth_half), 0.5 * (nose_y + self.corner_y) + 1, 1.7, 6.5, -0.6 * fold, 0.0, side * 0.55, -0.07 * fold[:, None])
            bump(side * (self.mouth_half + 1.6), self.corner_y + 0.5, 2.2, 2.6, -0.8 - 0.5 * np.abs(how.smile), 0.0, 0.0, -0.10)
        mouth = who.mouth_height
        bump(0.0, mouth + 1.0, 10.5, 6.5, 2.6 + 0 * mouth, 0.0)
        bump(0.0, mouth + who.lower_lip + 3.2 + 0.65 * self.jaw_drop, 6.5, 2.2, -1.5 * who.chin_relief, 0.0, 0.0, -0.06)
        bump(0.0, 0.83 * who.chin_length + self.jaw_drop, 8.0, 5.0, 2.6 * who.chin_relief, 0.0)
        bump(0.0, nose_y + 5.2, 1.5, 2.6, -0.55 + 0 * mouth, 0.0, 0.0, -0.06)
        bump(0.0, nose_y + 4.2, 4.5, 1.8, -0.2 * tall / 3, 0.0, 0.0, -0.14)
        bump(0.0, -40.0, 18.0, 9.0, 1.6 + 0 * mouth, 0.0)
        beard = -np.array([0.20, 0.17, 0.13]) * who.stubble[:, None]
        bump(0.0, 37.0, 17.0, 8.5, 0 * mouth, 0.0, 0.0, beard)
        bump(0.0, mouth - who.upper_lip - 3.5, 9.0, 2.4, 0 * mouth, 0.0, 0.0, 0.8 * beard)
        columns = [np.stack([np.broadcast_to(np.asarray(row[k], np.float32), (self.n,)) for row in rows], 1) for k in range(7)]
        x, y, sx, sy, height, lift, turn = columns
        tint = np.stack([np.broadcast_to(np.asarray(row[7], np.float32), (self.n, 3)) for row in rows], 1)
        cosine, sine = np.cos(turn), np.sin(turn)
        wide, tall_ = 1 / sx**2, 1 / sy**2
        precision = _stack(
            cosine**2 * wide + sine**2 * tall_, cosine * sine * (wide - tall_), sine**2 * wide + cosine**2 * tall_
        )
        return Relief(_on_skull(x, y, lift), precision, height, tint)
