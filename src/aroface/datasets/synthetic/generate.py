"""Synthetic sets in the formats of the real ones, each a function of its spec and seed.

The people of a training set and of every kind of test set come from different random streams, so that no test set shows
anybody who was trained on, whichever seeds are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.degradation import Integers, Treatment
from aroface.datasets.formats.ijb import IJBFace, write_ijb
from aroface.datasets.formats.ijbs import IJBSFace, write_ijbs
from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.datasets.formats.tinyface import write_tinyface
from aroface.datasets.formats.training_set import write_training_set
from aroface.datasets.manifest import atomic_folder, manifest_path, write_manifest
from aroface.datasets.synthetic.loose_crops import draw_loose
from aroface.datasets.synthetic.rendering import RenderingPlan, draw
from aroface.datasets.synthetic.spec import generated_identity, resolve_spec
from aroface.datasets.synthetic.template_protocols import surveillance_set, template_set
from aroface.errors import InputError
from aroface.faces.synthetic import Identities, sample_identities
from aroface.progress import track
from aroface.schemas import read_yaml

_PEOPLE, _IMAGES, _PAIRING = 1, 2, 3  # purposes of random streams

Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Composition:
    """People and images of a set, before anything is drawn.

    Attributes:
        people: Number of people.
        rows: Person on each image, int64 (N,).
        treatment: Degradation of images.
        treated: Images that are degraded, bool (N,).
        write: Function that writes the set to a path, given its images in order, and returns the counts.
        draw: Function that draws the images of a plan with a number of processes.
        whole_folder: True if the set is a folder, which appears when it is complete; false if it is a file.
    """

    people: int
    rows: Integers
    treatment: Treatment
    treated: npt.NDArray[np.bool_]
    write: Callable[[Path, Iterator[Any]], dict[str, int]]
    draw: Callable[[RenderingPlan, int | None], Iterator[Any]] = draw
    whole_folder: bool = True


@dataclass(frozen=True, slots=True)
class _Generator:
    """Generator of the sets of one kind.

    Attributes:
        stream: Number of the kind in its random streams.
        compose: Function from complete spec and random numbers to the composition of a set.
    """

    stream: int
    compose: Callable[[Spec, np.random.Generator], _Composition]


def generate(request: str | PathLike[str], out: Path, workers: int | None = None) -> None:
    """Make the set that a file requests.

    Args:
        request: YAML or JSON file with ``kind``, ``seed``, ``spec`` and, for its readers, ``name``.
        out: Path of the set; see `generate_set`.
        workers: Number of drawing processes; it changes nothing but the time.

    Raises:
        InputError: The file or its spec is wrong, or something that was not made here stands at ``out``.
    """
    asked = read_yaml(request)
    if not isinstance(asked, dict) or not {"kind", "seed", "spec"} <= asked.keys() <= {"name", "kind", "seed", "spec"}:
        raise InputError("no request of a synthetic set", file=request, expected="keys name, kind, seed and spec")
    kind, seed = asked["kind"], asked["seed"]
    if str(kind) not in _GENERATORS:  # which may be a list
        raise InputError(f"unknown kind {kind!r:.40}", file=request, expected=f"one of {', '.join(_GENERATORS)}")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise InputError(f"seed {seed!r:.40}", file=request, expected="a whole number, 0 or more")
    resolve_spec(kind, asked["spec"], file=request)
    generate_set(kind, asked["spec"], seed, out, workers)


def generate_set(kind: str, spec: Spec, seed: int, out: Path, workers: int | None = None) -> None:
    """Write a set of rendered faces and its manifest.

    - ``training``: a folder with ``train.rec``, ``train.idx`` and ``property``;
    - ``pairs``: a ``.bin`` file; the first half of the pairs of each fold is genuine;
    - ``tinyface``: a TinyFace tree; every distractor shows another person;
    - ``ijb``: a tree as IJB-B or IJB-C: loose crops, landmarks, templates, pairs, galleries and probes;
    - ``ijbs``: a tree as IJB-S: aligned faces of stills and videos, galleries and probes.

    Args:
        kind: Kind of the set.
        spec: Specification, as under the kind in ``generate.schema.json``.
        seed: Seed of all random numbers; the set is a function of spec and seed.
        out: Path of the folder, which appears when it is complete, or of the ``.bin`` file.
        workers: Number of drawing processes; it changes nothing but the time.

    Raises:
        InputError: The spec is wrong, or something that was not made here stands at ``out``.
    """
    identity = generated_identity(kind, spec, seed)
    resolved, generator = identity["spec"], _GENERATORS[kind]
    composition = generator.compose(resolved, np.random.default_rng([seed, generator.stream, _PAIRING]))
    plan = RenderingPlan(
        people=_people(composition.people, generator.stream, seed),
        rows=composition.rows,
        treated=composition.treated,
        treatment=composition.treatment,
        difficulty=resolved["difficulty"],
        jpeg_quality=resolved["jpeg_quality"],
        stream=(seed, generator.stream, _IMAGES),
    )
    target: AbstractContextManager[Path] = atomic_folder(out) if composition.whole_folder else nullcontext(out)
    with target as path:
        images = iter(track(composition.draw(plan, workers), "drawing faces", len(composition.rows)))
        counts = composition.write(path, images)
        name = out.name if composition.whole_folder else out.stem
        write_manifest(path, name=name, kind=kind, identity=identity, counts=counts)


def _people(count: int, stream: int, seed: int) -> Identities:
    state = np.random.SeedSequence([seed, stream, _PEOPLE]).generate_state(1, np.uint64)
    return sample_identities(count, int(state[0]))


def _compose_training(spec: Spec, rng: np.random.Generator) -> _Composition:
    classes, images_of_one, low = spec["identities"], spec["images_per_identity"], spec["low_quality"]
    labels = np.repeat(np.arange(classes), images_of_one)
    treatment = Treatment(alignment=spec["alignment"])
    if low is not None:
        treatment = Treatment(low["probability"], tuple(low["resolution"]), spec["alignment"])

    def write(folder: Path, images: Iterator[bytes]) -> dict[str, int]:
        write_training_set(folder, zip(labels.tolist(), images, strict=True), classes)
        return {"identities": classes, "images": len(labels)}

    return _Composition(classes, labels, treatment, np.ones(len(labels), bool), write)


def _compose_pairs(spec: Spec, rng: np.random.Generator) -> _Composition:
    count, people = spec["pairs"], spec["identities"]
    half = count // spec["folds"] // 2
    same = np.tile(np.repeat([True, False], half), spec["folds"])
    first = rng.integers(people, size=count)
    second = np.where(same, first, (first + rng.integers(1, people, count)) % people)
    rows = np.stack([first, second], axis=1).reshape(-1)
    treated = np.tile([spec["which"] == "both", True], count)

    def write(path: Path, images: Iterator[bytes]) -> dict[str, int]:
        drawn = list(images)
        manifest_path(path).unlink(missing_ok=True)
        write_pairs(path, Pairs(drawn, same))
        return {"identities": people, "pairs": count}

    return _Composition(people, rows, _test_treatment(spec), treated, write, whole_folder=False)


def _compose_tinyface(spec: Spec, rng: np.random.Generator) -> _Composition:
    known, others = spec["identities"], spec["distractors"]
    gallery = np.repeat(np.arange(known), spec["gallery_per_identity"])
    probes = np.repeat(np.arange(known), spec["probes_per_identity"])
    rows = np.concatenate([gallery, probes, known + np.arange(others)])
    treated = np.full(len(rows), spec["which"] == "all")
    treated[len(gallery) : len(gallery) + len(probes)] = True

    def write(folder: Path, images: Iterator[bytes]) -> dict[str, int]:
        labelled, searched = (zip(labels.tolist(), images, strict=False) for labels in (gallery, probes))
        return write_tinyface(folder, labelled, searched, images)

    return _Composition(known + others, rows, _test_treatment(spec), treated, write)


def _compose_ijb(spec: Spec, rng: np.random.Generator) -> _Composition:
    cast = template_set(spec, rng)
    treated = cast.probes | (spec["which"] == "all")

    def write(folder: Path, crops: Iterator[Any]) -> dict[str, int]:
        faces = (
            IJBFace(template, medium, crop.jpeg, crop.landmarks, crop.score)
            for template, medium, crop in zip(cast.templates.tolist(), cast.media.tolist(), crops, strict=True)
        )
        return write_ijb(folder, spec["benchmark"], faces, cast.pairs, cast.same, cast.search)

    people = spec["identities"] + spec["distractors"]
    return _Composition(people, cast.people, _test_treatment(spec), treated, write, draw_loose)


def _compose_ijbs(spec: Spec, rng: np.random.Generator) -> _Composition:
    cast = surveillance_set(spec, rng)
    rows = np.array([subject - 1 for subject, _, _ in cast.faces])
    treated = cast.of_videos | (spec["which"] == "all")

    def write(folder: Path, images: Iterator[bytes]) -> dict[str, int]:
        faces = (IJBSFace(*face, jpeg) for face, jpeg in zip(cast.faces, images, strict=True))
        return write_ijbs(folder, faces, cast.sightings, cast.galleries, cast.probes)

    return _Composition(spec["subjects"] + spec["unenrolled"], rows, _test_treatment(spec), treated, write)


def _test_treatment(spec: Spec) -> Treatment:
    probability = 1.0 if spec["degradation"] == "surveillance" else 0.0
    return Treatment(probability, tuple(spec["resolution"]), spec["alignment"])


_GENERATORS = {
    "training": _Generator(1201, _compose_training),
    "pairs": _Generator(1202, _compose_pairs),
    "tinyface": _Generator(1203, _compose_tinyface),
    "ijb": _Generator(1204, _compose_ijb),
    "ijbs": _Generator(1205, _compose_ijbs),
}
