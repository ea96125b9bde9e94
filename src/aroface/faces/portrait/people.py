"""The population that identities are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.faces.portrait.traits import Identities

Floats = npt.NDArray[np.floating[Any]]
Traits = dict[str, Floats]

_SKIN = np.array([[238, 204, 184], [222, 178, 150], [196, 148, 116], [148, 104, 78], [96, 66, 52]])
_HAIR = np.array(
    [
        [30, 25, 25],
        [46, 33, 27],
        [74, 50, 35],
        [108, 76, 50],
        [146, 106, 66],
        [204, 168, 112],
        [150, 78, 42],
        [150, 148, 146],
        [214, 210, 204],
    ]
)
_HAIR_ODDS_FAIR = np.array([0.10, 0.16, 0.20, 0.16, 0.10, 0.12, 0.06, 0.07, 0.03])
_HAIR_ODDS_DARK = np.array([0.62, 0.24, 0.05, 0.0, 0.0, 0.0, 0.0, 0.07, 0.02])
_GREYING = np.array([1, 1, 1, 1, 1, 1, 1, 6, 8])
_IRIS = np.array([[52, 32, 22], [88, 58, 34], [118, 94, 54], [86, 112, 76], [78, 116, 158], [112, 124, 136]])
_IRIS_ODDS_FAIR = np.array([0.34, 0.24, 0.13, 0.09, 0.14, 0.06])
_IRIS_ODDS_DARK = np.array([0.70, 0.28, 0.02, 0.0, 0.0, 0.0])
_MARKS = 5


class _IdentityDraws:
    """Draws for n identities, each trait from a stream of its own.

    So the first identities do not depend on how many follow, and a new trait leaves all others as they are.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed

    def stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *name.encode()])

    def normal(self, name: str, mean: float, sd: float, *width: int) -> Floats:
        """Normal draws, cut at 2.2 standard deviations lest anybody look deformed; (N, *width)."""
        return mean + sd * np.clip(self.stream(name).standard_normal((self.n, *width)), -2.2, 2.2)

    def uniform(self, name: str, low: float, high: float, *width: int) -> Floats:
        """Uniform draws (N, *width)."""
        return self.stream(name).uniform(low, high, (self.n, *width))

    def has(self, name: str, odds: Floats | float) -> npt.NDArray[np.bool_]:
        """Random choice of people, each with probability ``odds``, (N,)."""
        return np.asarray(self.uniform(f"has {name}", 0, 1) < odds)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Common causes of several traits: masculinity in -1..1, age in 0..1, darkness of the skin in 0..1; each (N,)."""

    masculine: Floats
    age: Floats
    tone: Floats


def sample_identities(n: int, seed: int) -> Identities:
    """Draw ``n`` identities.

    The same seed gives the same people, and the first of them do not depend on ``n``; another seed gives others.
    """
    draw = _IdentityDraws(n, seed)
    kind = _Kind(draw.uniform("masculine", -1, 1), draw.uniform("age", 0, 1) ** 1.4, draw.uniform("tone", 0, 1))
    samplers = (_skull, _skin, _eyes, _brows, _nose, _mouth, _hair, _beard, _glasses)
    traits = {name: values.astype(np.float32) for sampler in samplers for name, values in sampler(draw, kind).items()}
    return Identities(**traits)


def _skull(draw: _IdentityDraws, kind: _Kind) -> Traits:
    cleft = draw.has("chin_cleft", 0.2)
    return {
        "face_width": draw.normal("face_width", 36.3, 2.1) + 0.7 * kind.masculine,
        "cheek_width": draw.normal("cheek_width", 1.0, 0.035),
        "jaw_width": draw.normal("jaw_width", 0.80, 0.065) + 0.03 * kind.masculine,
        "chin_width": draw.normal("chin_width", 0.42, 0.085) + 0.03 * kind.masculine,
        "brow_width": draw.normal("brow_width", 0.95, 0.03),
        "chin_length": draw.normal("chin_length", 43.8, 2.7) + kind.masculine,
        "cheekbone": draw.normal("cheekbone", 1.0, 0.4),
        "chin_relief": draw.normal("chin_relief", 1.0, 0.4),
        "chin_cleft": np.where(cleft, draw.uniform("chin_cleft", 0.5, 1), 0),
        "ear_size": draw.normal("ear_size", 1.0, 0.13),
        "ear_flare": draw.normal("ear_flare", 3.4, 1.3),
        "asymmetry": draw.normal("asymmetry", 0.0, 0.35, 4),
    }


def _skin(draw: _IdentityDraws, kind: _Kind) -> Traits:
    position = kind.tone * (len(_SKIN) - 1)
    low = np.minimum(position.astype(int), len(_SKIN) - 2)
    share = (position - low)[:, None]
    tone = _SKIN[low] * (1 - share) + _SKIN[low + 1] * share
    red, yellow = draw.normal("redness", 0, 0.022), draw.normal("yellowness", 0, 0.022)
    freckled = draw.has("freckles", 0.22)
    return {
        "skin": tone * (1 + np.stack([red, -red - 0.3 * yellow, -0.6 * red - yellow], axis=1)),
        "blush": draw.uniform("blush", 0, 1),
        "age": kind.age,
        "texture": draw.uniform("texture", 0, 1, 3),
        "texture_strength": draw.uniform("texture_strength", 0.4, 1) + 0.4 * kind.age,
        "freckles": np.where(freckled, draw.uniform("freckles", 0.3, 1), 0),
        "marks": _marks(draw),
        "scar": _scar(draw),
    }


def _marks(draw: _IdentityDraws) -> Floats:
    """Moles at fixed places: x, y, radius, darkness (0 where there is none); (N, _MARKS, 4)."""
    number = draw.stream("mark number").poisson(1.1, draw.n)
    darkness = np.where(np.arange(_MARKS) < number[:, None], draw.uniform("mark darkness", 0.3, 0.6, _MARKS), 0)
    x, y = draw.uniform("mark x", -30, 30, _MARKS), draw.uniform("mark y", -42, 42, _MARKS)
    return np.stack([x, y, draw.uniform("mark radius", 0.6, 1.3, _MARKS), darkness], axis=2)


def _scar(draw: _IdentityDraws) -> Floats:
    """A scar: x, y, direction, half its length (0 where there is none); (N, 4)."""
    reach = np.where(draw.has("scar", 1 / 9), draw.uniform("scar reach", 3, 7), 0)
    x, y = draw.uniform("scar x", -26, 26), draw.uniform("scar y", -40, 36)
    return np.stack([x, y, draw.uniform("scar direction", 0, np.pi), reach], axis=1)


def _eyes(draw: _IdentityDraws, kind: _Kind) -> Traits:
    return {
        "eye_gap": draw.normal("eye_gap", 17.6, 0.9),
        "eye_width": draw.normal("eye_width", 8.1, 0.75),
        "eye_height": draw.normal("eye_height", 3.7, 0.65) - 0.25 * kind.masculine,
        "eye_tilt": draw.normal("eye_tilt", 0.05, 0.075),
        "eye_round": draw.normal("eye_round", 0.0, 0.35),
        "eye_depth": draw.normal("eye_depth", 1.0, 0.35) + 0.2 * kind.masculine,
        "eye_bags": draw.uniform("eye_bags", 0, 0.6) + 0.6 * kind.age,
        "lid_fold": draw.uniform("lid_fold", -0.4, 1),
        "lashes": draw.uniform("lashes", 0.5, 1.1) - 0.3 * kind.masculine,
        "iris": _pick(draw, "iris", _IRIS, _by_tone(kind, _IRIS_ODDS_FAIR, _IRIS_ODDS_DARK), 0.06),
        "iris_size": draw.normal("iris_size", 3.7, 0.22),
    }


def _brows(draw: _IdentityDraws, kind: _Kind) -> Traits:
    return {
        "brow_height": draw.normal("brow_height", -24.6, 1.3) + 0.9 * kind.masculine,
        "brow_thickness": draw.normal("brow_thickness", 1.5, 0.38) + 0.45 * kind.masculine,
        "brow_length": draw.normal("brow_length", 10.2, 0.9),
        "brow_arch": draw.normal("brow_arch", 1.7, 0.9) - 0.5 * kind.masculine,
        "brow_tilt": draw.normal("brow_tilt", 0.0, 0.09),
        "brow_gap": draw.normal("brow_gap", 7.4, 1.2) - 0.6 * kind.masculine,
        "brow_density": draw.uniform("brow_density", 0.45, 0.95),
    }


def _nose(draw: _IdentityDraws, kind: _Kind) -> Traits:
    return {
        "nose_length": draw.normal("nose_length", 20.3, 1.5),
        "nose_width": draw.normal("nose_width", 7.4, 0.9) + 0.6 * kind.tone,
        "nose_bridge": draw.normal("nose_bridge", 3.4, 0.6),
        "nose_height": draw.normal("nose_height", 12.0, 1.6),
        "nose_tip": draw.normal("nose_tip", 1.0, 0.22),
        "nose_bend": draw.normal("nose_bend", 0.0, 0.6),
        "nostril": draw.normal("nostril", 1.0, 0.22),
    }


def _mouth(draw: _IdentityDraws, kind: _Kind) -> Traits:
    fuller = 0.6 * kind.tone - 0.4 * kind.masculine
    skin = _skin(draw, kind)["skin"]
    natural = skin * [0.86, 0.66, 0.66] * (1 + draw.normal("lips", 0, 0.05, 3))
    red, green = draw.uniform("lipstick red", 130, 195), draw.uniform("lipstick green", 30, 85)
    painted = 0.6 * (draw.has("lipstick", 0.35) & (kind.masculine < -0.2))[:, None]
    return {
        "mouth_width": draw.normal("mouth_width", 14.2, 1.4),
        "mouth_height": draw.normal("mouth_height", 25.6, 1.2),
        "mouth_tilt": draw.normal("mouth_tilt", 0.0, 0.7),
        "upper_lip": draw.normal("upper_lip", 2.7, 0.6) + fuller,
        "lower_lip": draw.normal("lower_lip", 3.6, 0.7) + fuller,
        "cupid_bow": draw.uniform("cupid_bow", 0, 1),
        "lips": natural * (1 - painted) + painted * np.stack([red, green, np.full(draw.n, 70.0)], axis=1),
    }


def _hair(draw: _IdentityDraws, kind: _Kind) -> Traits:
    odds = _by_tone(kind, _HAIR_ODDS_FAIR, _HAIR_ODDS_DARK)
    greying = np.where((kind.age > 0.6)[:, None], _GREYING, 1 / _GREYING)
    bald = draw.has("baldness", 0.10 + 0.15 * kind.age) & (kind.masculine > 0)
    cropped = draw.has("cropped hair", 0.14) & (kind.masculine > -0.2) & ~bald
    afro = draw.has("afro", np.where(kind.tone > 0.6, 0.18, 0.05)) & ~cropped & ~bald
    long = (draw.uniform("has long hair", -1, 1) > kind.masculine + 0.1) & ~cropped & ~afro & ~bald
    cover = np.where(cropped, draw.uniform("cropped hair", 0.45, 0.8), 1)
    length = np.where(long, draw.uniform("long hair", 25, 75), draw.uniform("short hair", -18, -4))
    receding = np.where(kind.masculine > 0, 0.4 + 0.6 * kind.age, 0.2)
    fringe = np.where(draw.has("fringe", 0.35), draw.uniform("fringe", 4, 17), 0)
    return {
        "hair": _pick(draw, "hair", _HAIR, odds * greying, 0.025),
        "hair_cover": np.where(bald, 0, cover),
        "hair_top": draw.uniform("hair_top", 0.5, 11) + np.where(afro, 16, 1),
        "hair_side": draw.uniform("hair_side", 0.5, 7.5) * np.where(long, 1, 0.55) + np.where(afro, 9, 0),
        "hair_length": np.where(afro, draw.uniform("afro length", 2, 16), length),
        "hair_lean": draw.normal("hair_lean", 0.0, 0.5),
        "hair_comb": draw.uniform("hair_comb", 0, 1),
        "hair_lock": draw.uniform("hair_lock", -0.05, 0.2),
        "hair_wave": np.where(afro, 0.8, draw.uniform("hair_wave", 0, 1) ** 2),
        "hairline": draw.normal("hairline", -49.5, 3.2),
        "hair_peak": np.maximum(draw.uniform("hair_peak", -0.5, 1), 0),
        "hair_recession": draw.uniform("hair_recession", 0, 1) * receding,
        "hair_parting": draw.uniform("hair_parting", -0.8, 0.8),
        "hair_fringe": np.where(cropped, 0, fringe),
    }


def _beard(draw: _IdentityDraws, kind: _Kind) -> Traits:
    grown = kind.masculine > 0.1
    return {
        "beard": np.where(draw.has("beard", 0.45) & grown, draw.uniform("beard", 0.45, 0.95), 0),
        "beard_extent": draw.uniform("beard_extent", 0, 1),
        "moustache": np.where(draw.has("moustache", 0.45) & grown, draw.uniform("moustache", 0.5, 0.95), 0),
        "moustache_droop": draw.uniform("moustache_droop", 0, 1),
        "stubble": draw.uniform("stubble", 0, 1) * np.maximum(kind.masculine, 0),
    }


def _glasses(draw: _IdentityDraws, kind: _Kind) -> Traits:
    worn = draw.has("glasses", 0.15 + 0.15 * kind.age)
    return {
        "glasses": np.where(worn, draw.uniform("glasses", 0.5, 1.1), 0),
        "glasses_size": draw.normal("glasses_size", 11.5, 1.2),
        "glasses_tall": draw.uniform("glasses_tall", 0.62, 0.95),
        "glasses_round": draw.uniform("glasses_round", 2, 5),
        "glasses_colour": draw.uniform("glasses grey", 10, 110, 1) * draw.uniform("glasses hue", 0.6, 1, 3),
    }


def _by_tone(kind: _Kind, fair: Floats, dark: Floats) -> Floats:
    """Odds (N, colours) by the colour of the skin."""
    return np.where((kind.tone > 0.55)[:, None], dark, fair)


def _pick(draw: _IdentityDraws, name: str, palette: Floats, odds: Floats, hue: float) -> Floats:
    """A colour of the palette by odds (N, colours), each channel varied by ``hue`` and all together by a tenth."""
    cumulative = np.cumsum(odds, axis=1)
    choice = (draw.uniform(f"{name} choice", 0, 1, 1) * cumulative[:, -1:] > cumulative).sum(axis=1)
    varied = palette[choice] * (1 + draw.normal(f"{name} hue", 0, hue, 3))
    return np.asarray(varied * (1 + draw.normal(f"{name} depth", 0, 0.1, 1)))
