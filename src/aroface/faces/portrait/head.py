"""The head as a whole: positions of its features, landmarks, contour, and the parts behind the face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from aroface.faces.portrait.shapes import Floats, Shape, circle, column, curve, mirrored, on_skull, ribbon, stack
from aroface.faces.portrait.traits import Identities, Nuisances

EYE_Y = -15.0
_LIMB = 1.25
"""Depth of the head over half its width."""


@dataclass(frozen=True, slots=True)
class HeadShape:
    """Identities under their circumstances, and the places that several features share; each (N, 1) or (N, 2).

    Attributes:
        sine: Sine of the yaw.
        cosine: Cosine of the yaw.
        eye_x: Horizontal position of both eyes.
        eye_y: Vertical position of both eyes.
        nose_y: Vertical position of the tip of the nose.
        mouth_half: Half the width of the mouth.
        corner_y: Vertical position of the corners of the mouth.
        smile: Positive part of the smile.
        gap: Distance of the lips.
        jaw_drop: Distance by which the chin has moved down.
    """

    who: Identities
    how: Nuisances
    sine: Floats
    cosine: Floats
    eye_x: Floats
    eye_y: Floats
    nose_y: Floats
    mouth_half: Floats
    corner_y: Floats
    smile: Floats
    gap: Floats
    jaw_drop: Floats

    @classmethod
    def of(cls, who: Identities, how: Nuisances) -> Self:
        """Place the features of N identities under N circumstances."""
        yaw = np.radians(how.yaw)[:, None]
        smile = np.maximum(how.smile, 0)[:, None]
        lean, rise = 0.4 * who.asymmetry[:, 0], 0.8 * who.asymmetry[:, 1]
        return cls(
            who=who,
            how=how,
            sine=np.sin(yaw),
            cosine=np.cos(yaw),
            eye_x=column(lean - who.eye_gap, lean + who.eye_gap),
            eye_y=EYE_Y + column(rise, -rise),
            nose_y=EYE_Y + who.nose_length[:, None] - 0.5 * smile,
            mouth_half=(who.mouth_width * (1 + 0.16 * how.smile - 0.10 * how.mouth_open))[:, None],
            corner_y=(who.mouth_height - 2.2 * how.smile + 0.8 * who.mouth_tilt + 1.2 * how.mouth_open)[:, None],
            smile=smile,
            gap=8.5 * how.mouth_open[:, None] + 2.6 * np.maximum(smile - 0.35, 0),
            jaw_drop=4.5 * how.mouth_open[:, None],
        )

    @property
    def long(self) -> npt.NDArray[np.bool_]:
        """People whose hair falls below the ears, (N,)."""
        return self.who.hair_length > 18

    def landmarks(self) -> Floats:
        """Left eye, right eye, nose tip, left and right mouth corner; (N, 5, 3)."""
        eyes = on_skull(self.eye_x, self.eye_y, -2.5)
        nose = on_skull(self.who.nose_bend[:, None], self.nose_y, self.who.nose_height[:, None])
        mouth = on_skull(self.mouth_half * [-1.0, 1.0], self.corner_y * [1.0, 1.0], 2.0)
        return np.concatenate([eyes, nose, mouth], axis=1)

    def contour(self, x: Any, y: Any, forward: Any = 0.0, near: float = -4.0) -> Floats:
        """Points (N, P, 3) on the contour of the head.

        The contour of a turned solid is not its turned contour: on the far side it is the limb of the skull, on the
        near side the cheek ends at the ear.

        Args:
            x: Horizontal positions, (N, P).
            y: Vertical positions, (N, P).
            forward: Distance of a point before the axis, as of the chin.
            near: Depth z of the contour on the side that is turned to the viewer.
        """
        limb = _LIMB**2 * self.sine / (self.cosine + np.sqrt(self.cosine**2 + (_LIMB * self.sine) ** 2))
        return stack(x, y, np.where(x * self.sine > 0, x * limb, near) + forward)

    def jaw(self, grow: float = 0.0) -> tuple[Floats, Floats, Floats]:
        """Contour of one half of the lower face, ear to chin: x, y and forward, (N, 6) each."""
        who, w = self.who, self.who.face_width
        chin = who.chin_length + self.jaw_drop[:, 0] + grow
        bend = 0.5 * who.jaw_width + 0.62 * who.chin_width
        x = column(w * who.cheek_width, 0.965 * w, who.jaw_width * w, bend * w, 0.72 * who.chin_width * w, 0.0)
        y = column(-6.0, 8.0, 0.54 * chin, 0.82 * chin, 0.965 * chin, chin)
        return x + grow * np.array([1, 1, 1, 1, 0.5, 0]), y, np.array([[0, 0, 3, 12, 20, 23.0]])

    def outline(self) -> Floats:
        """The face from the crown to the chin and back, (N, P, 3)."""
        who, w = self.who, self.who.face_width
        x, y, forward = self.jaw()
        x = np.concatenate(
            [column(0.0 * w, 0.62 * w, 0.93 * who.brow_width * w, who.brow_width * w), x[:, :-1]], axis=1
        )
        y = np.concatenate([np.broadcast_to([-70.0, -64, -45, -24], (len(w), 4)), y], axis=1)
        forward = np.concatenate([np.zeros((1, 4)), forward], axis=1)
        right = self.contour(np.concatenate([x, 0 * w[:, None]], axis=1), y, forward)
        left = self.contour(-x[:, 1:], y[:, 1:-1], forward[:, 1:-1])
        return curve(np.concatenate([right, left[:, ::-1]], axis=1))


def body(head: HeadShape) -> list[Shape]:
    """Long hair behind the neck, neck, clothes, back of the head and ears."""
    who, how = head.who, head.how
    w = who.face_width[:, None]
    neck_x = np.array([-0.72, -0.70, -0.86, 0.86, 0.70, 0.72]) * w
    neck = stack(neck_x, np.array([10.0, 40, 74, 74, 40, 10]), -2.0)
    shadow = stack(0.70 * w * [-1.0, 1, 1, 0, -1], np.array([20.0, 20, 50, 60, 50]) + head.jaw_drop, -2.0)
    shoulder_x = np.array([-200.0, -120, -60, -27, -20, 0, 20, 27, 60, 120, 200, 200, -200])
    shoulder_y = np.array([100.0, 84, 71, 63, 58, 66, 58, 63, 71, 84, 100, 300, 300])
    shoulders = np.broadcast_to(stack(shoulder_x, shoulder_y, -12.0), (len(w), 13, 3))
    cosine, sine = circle(28)
    volume = who.hair_side[:, None]
    back = head.contour((w + 0.5 * volume) * sine, -28 - (45 + 0.3 * who.hair_top[:, None]) * cosine)
    bare = who.hair_cover[:, None] == 0
    shapes = [
        Shape(_fall(head), 0.75 * who.hair, 0.5, head.long),
        Shape(neck, 0.90 * who.skin, 0.9),
        Shape(shadow, 0.72 * who.skin, 0.9),
        Shape(curve(shoulders, 2), how.clothes, 0.5),
        Shape(back, np.where(bare, 0.9 * who.skin, 0.8 * who.hair), 0.7),
    ]
    covered = head.long & (who.hair_side > 4)
    for side in (-1, 1):
        shapes += _ear(head, side, ~covered)
    return shapes


def _fall(head: HeadShape) -> Floats:
    """Long hair behind the neck."""
    who = head.who
    low, wide = who.hair_length[:, None], who.face_width[:, None] + 1.2 * who.hair_side[:, None]
    x = mirrored(np.array([0.7, 0.97, 1.03, 1.06, 0.98, 0.55]) * wide, -1)
    y = mirrored(np.array([-62.0, -28, 0, 0, 0, 0]) + np.array([0, 0, 0.1, 0.6, 1.0, 1.08]) * low, 1)
    wave = 3.0 * who.hair_wave[:, None] * np.sin(np.arange(12) * 2.3 + 9 * who.hair_parting[:, None])
    return curve(stack(x + wave, y, -12.0), 3)


def _ear(head: HeadShape, side: int, shown: Any) -> list[Shape]:
    who = head.who
    cosine, sine = circle(16)
    w, flare, tall = who.face_width[:, None], who.ear_flare[:, None], 10.5 * who.ear_size[:, None]
    outer_x = side * (0.97 * w + 0.35 * flare + (1.6 + flare) * cosine)
    inner_x = side * (0.99 * w + 0.45 * flare + (0.2 + 0.55 * flare) * cosine)
    return [
        Shape(stack(outer_x, -6.5 + tall * sine - 1.5 * cosine, -4.0), 0.93 * who.skin * [1, 0.95, 0.94], 0.9, shown),
        Shape(stack(inner_x, -6.5 + 0.62 * tall * sine, -4.0), 0.74 * who.skin * [1, 0.94, 0.92], 0.9, shown),
    ]


def skin(head: HeadShape) -> list[Shape]:
    """The face itself with its moles, scar and the lines of the forehead."""
    who = head.who
    shapes = [Shape(head.outline(), who.skin)]
    cosine, sine = circle(10)
    for k in range(who.marks.shape[1]):
        x, y, radius, darkness = np.split(who.marks[:, k], 4, axis=1)
        spot = on_skull(x + radius * cosine, y + radius * sine)
        shapes.append(Shape(spot, who.skin * (1 - darkness * [0.80, 1.0, 1.05]), 1.0, darkness[:, 0] > 0))
    t = np.linspace(-1, 1, 6)
    x, y, angle, reach = np.split(who.scar, 4, axis=1)
    across = stack(x + reach * np.cos(angle) * t, y + reach * np.sin(angle) * t)
    normal = 0.65 * (1 - t[:, None] ** 2) * stack(-np.sin(angle), np.cos(angle))
    scar = ribbon(across - normal, across + normal)
    tone = 0.55 * who.skin + 0.45 * np.array([225.0, 165, 155])
    shapes.append(Shape(on_skull(scar[..., 0], scar[..., 1]), tone, 1.0, reach[:, 0] > 0))
    for row in range(3):
        wide = (15 - 1.5 * row) * t
        line = -31.5 - 4.6 * row - 0.8 * head.how.brow_raise[:, None] + 1.4 * (row - 0.6) * t**2
        width = (0.15 + 0.35 * who.age[:, None]) * (1 - t**4)
        tone = who.skin * (1 - 0.16 * who.age[:, None] * [0.85, 1, 1.05])
        shapes.append(
            Shape(ribbon(on_skull(wide, line - width), on_skull(wide, line + width)), tone, 1.0, who.age > 0.35)
        )
    return shapes
