"""Synthetic sets in the formats of the real ones, each a function of its spec and seed.

The people of a training set and of every kind of test set come from different random streams, so that no test set shows
anybody who was trained on, whichever seeds are chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.degradation import Integers, Treatment
from aroface.datasets.formats import ijb, ijbs
from aroface.datasets.formats.ijb import write_ijb
from aroface.datasets.formats.ijbs import write_ijbs
from aroface.datasets.formats.kinds import SetKind
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

_STREAMS: dict[SetKind, int] = {"training": 1201, "pairs": 1202, "tinyface": 1203, "ijb": 1204, "ijbs": 1205}
_PEOPLE, _IMAGES, _PAIRING = 1, 2, 3


def generate(request: str | PathLike[str], out: Path, workers: int | None = None) -> None:
    """Make the set that a file asks for.

    Args:
        request: YAML or JSON with ``kind``, ``seed``, ``spec`` and, for its readers, ``name``.
        out: see the function of the kind.
        workers: processes that draw; they change nothing but the time.

    Raises:
        InputError: the file or its spec is wrong, or something that was not made here stands at ``out``.
    """
    asked = read_yaml(request)
    if not isinstance(asked, dict) or not {"kind", "seed", "spec"} <= asked.keys() <= {"name", "kind", "seed", "spec"}:
        raise InputError("no request of a synthetic set", file=request, expected="keys name, kind, seed and spec")
    makers = {
        "training": generate_training,
        "pairs": generate_pairs,
        "tinyface": generate_tinyface,
        "ijb": generate_ijb,
        "ijbs": generate_ijbs,
    }
    kind, seed = asked["kind"], asked["seed"]
    if str(kind) not in makers:  # which may be a list
        raise InputError(f"unknown kind {kind!r:.40}", file=request, expected=f"one of {', '.join(makers)}")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise InputError(f"seed {seed!r:.40}", file=request, expected="a whole number, 0 or more")
    resolve_spec(kind, asked["spec"], file=request)
    makers[kind](asked["spec"], seed, out, workers)


def generate_training(spec: Mapping[str, Any], seed: int, out: Path, workers: int | None = None) -> None:
    """Write a training set: a folder with ``train.rec``, ``train.idx``, ``property`` and its manifest.

    Args:
        spec: as ``training`` in ``generate.schema.json``.
        seed: everything is a function of spec and seed.
        out: the folder; it appears when it is whole.
        workers: processes that draw; they change nothing but the time.

    Raises:
        InputError: the spec is wrong, or something that was not made here stands at ``out``.
    """
    identity = generated_identity("training", spec, seed)
    resolved = identity["spec"]
    classes, each = resolved["identities"], resolved["images_per_identity"]
    labels = np.repeat(np.arange(classes), each)
    low = resolved["low_quality"]
    treatment = Treatment(alignment=resolved["alignment"])
    if low is not None:
        treatment = Treatment(low["probability"], tuple(low["resolution"]), resolved["alignment"])
    treated = np.ones(len(labels), bool)
    plan = _plan("training", resolved, seed, _people("training", classes, seed), labels, treatment, treated)
    with atomic_folder(out) as folder:
        images = track(draw(plan, workers), "drawing faces", len(labels))
        write_training_set(folder, zip(labels.tolist(), images, strict=True), classes)
        counts = {"identities": classes, "images": len(labels)}
        write_manifest(folder, name=out.name, kind="training", identity=identity, counts=counts)


def generate_pairs(spec: Mapping[str, Any], seed: int, out: Path, workers: int | None = None) -> None:
    """Write a pair file and, beside it, its manifest; the first half of the pairs of each fold is genuine.

    Args:
        spec: as ``pairs`` in ``generate.schema.json``.
        seed: everything is a function of spec and seed.
        out: the ``.bin`` file.
        workers: processes that draw; they change nothing but the time.

    Raises:
        InputError: the spec is wrong.
    """
    identity = generated_identity("pairs", spec, seed)
    resolved = identity["spec"]
    count, people = resolved["pairs"], resolved["identities"]
    half = count // resolved["folds"] // 2
    same = np.tile(np.repeat([True, False], half), resolved["folds"])
    rng = np.random.default_rng([seed, _STREAMS["pairs"], _PAIRING])
    first = rng.integers(people, size=count)
    second = np.where(same, first, (first + rng.integers(1, people, count)) % people)
    rows = np.stack([first, second], axis=1).reshape(-1)
    treated = np.tile([resolved["which"] == "both", True], count)
    plan = _plan("pairs", resolved, seed, _people("pairs", people, seed), rows, _test_treatment(resolved), treated)
    images = list(track(draw(plan, workers), "drawing faces", len(rows)))
    manifest_path(out).unlink(missing_ok=True)
    write_pairs(out, Pairs(images, same))
    counts = {"identities": people, "pairs": count}
    write_manifest(out, name=out.stem, kind="pairs", identity=identity, counts=counts)


def generate_tinyface(spec: Mapping[str, Any], seed: int, out: Path, workers: int | None = None) -> None:
    """Write a TinyFace tree and its manifest; every distractor shows another person.

    Args:
        spec: as ``tinyface`` in ``generate.schema.json``.
        seed: everything is a function of spec and seed.
        out: the folder; it appears when it is whole.
        workers: processes that draw; they change nothing but the time.

    Raises:
        InputError: the spec is wrong, or something that was not made here stands at ``out``.
    """
    identity = generated_identity("tinyface", spec, seed)
    resolved = identity["spec"]
    known, others = resolved["identities"], resolved["distractors"]
    gallery = np.repeat(np.arange(known), resolved["gallery_per_identity"])
    probes = np.repeat(np.arange(known), resolved["probes_per_identity"])
    rows = np.concatenate([gallery, probes, known + np.arange(others)])
    treated = np.full(len(rows), resolved["which"] == "all")
    treated[len(gallery) : len(gallery) + len(probes)] = True
    people = _people("tinyface", known + others, seed)
    plan = _plan("tinyface", resolved, seed, people, rows, _test_treatment(resolved), treated)
    with atomic_folder(out) as folder:
        images = track(draw(plan, workers), "drawing faces", len(rows))
        counts = write_tinyface(
            folder, zip(gallery.tolist(), images, strict=False), zip(probes.tolist(), images, strict=False), images
        )
        write_manifest(folder, name=out.name, kind="tinyface", identity=identity, counts=counts)


def generate_ijb(spec: Mapping[str, Any], seed: int, out: Path, workers: int | None = None) -> None:
    """Write a tree as IJB-B or IJB-C, and its manifest: loose crops, landmarks, templates, pairs, galleries and probes.

    Args:
        spec: as ``ijb`` in ``generate.schema.json``; all of it has defaults.
        seed: everything is a function of spec and seed.
        out: the folder; it appears when it is whole.
        workers: processes that draw; they change nothing but the time.

    Raises:
        InputError: the spec is wrong, or something that was not made here stands at ``out``.
    """
    identity = generated_identity("ijb", spec, seed)
    resolved = identity["spec"]
    cast = template_set(resolved, np.random.default_rng([seed, _STREAMS["ijb"], _PAIRING]))
    people = _people("ijb", resolved["identities"] + resolved["distractors"], seed)
    treated = cast.probes | (resolved["which"] == "all")
    plan = _plan("ijb", resolved, seed, people, cast.people, _test_treatment(resolved), treated)
    with atomic_folder(out) as folder:
        crops = track(draw_loose(plan, workers), "drawing faces", len(cast.people))
        faces = (
            ijb.IJBFace(template, medium, crop.jpeg, crop.landmarks, crop.score)
            for template, medium, crop in zip(cast.templates.tolist(), cast.media.tolist(), crops, strict=True)
        )
        counts = write_ijb(folder, resolved["benchmark"], faces, cast.pairs, cast.same, cast.search)
        write_manifest(folder, name=out.name, kind="ijb", identity=identity, counts=counts)


def generate_ijbs(spec: Mapping[str, Any], seed: int, out: Path, workers: int | None = None) -> None:
    """Write a tree as IJB-S, and its manifest: aligned faces of stills and videos, galleries and probes.

    Args:
        spec: as ``ijbs`` in ``generate.schema.json``; all of it has defaults.
        seed: everything is a function of spec and seed.
        out: the folder; it appears when it is whole.
        workers: processes that draw; they change nothing but the time.

    Raises:
        InputError: the spec is wrong, or something that was not made here stands at ``out``.
    """
    identity = generated_identity("ijbs", spec, seed)
    resolved = identity["spec"]
    cast = surveillance_set(resolved, np.random.default_rng([seed, _STREAMS["ijbs"], _PAIRING]))
    people = _people("ijbs", resolved["subjects"] + resolved["unenrolled"], seed)
    rows = np.array([subject - 1 for subject, _, _ in cast.faces])
    treated = cast.of_videos | (resolved["which"] == "all")
    plan = _plan("ijbs", resolved, seed, people, rows, _test_treatment(resolved), treated)
    with atomic_folder(out) as folder:
        images = track(draw(plan, workers), "drawing faces", len(rows))
        faces = (ijbs.IJBSFace(*face, jpeg) for face, jpeg in zip(cast.faces, images, strict=True))
        counts = write_ijbs(folder, faces, cast.sightings, cast.galleries, cast.probes)
        write_manifest(folder, name=out.name, kind="ijbs", identity=identity, counts=counts)


def _people(kind: SetKind, count: int, seed: int) -> Identities:
    state = np.random.SeedSequence([seed, _STREAMS[kind], _PEOPLE]).generate_state(1, np.uint64)
    return sample_identities(count, int(state[0]))


def _plan(
    kind: SetKind,
    resolved: Mapping[str, Any],
    seed: int,
    people: Identities,
    rows: Integers,
    treatment: Treatment,
    treated: npt.NDArray[np.bool_],
) -> RenderingPlan:
    return RenderingPlan(
        people=people,
        rows=rows,
        treated=treated,
        treatment=treatment,
        difficulty=resolved["difficulty"],
        jpeg_quality=resolved["jpeg_quality"],
        stream=(seed, _STREAMS[kind], _IMAGES),
    )


def _test_treatment(resolved: Mapping[str, Any]) -> Treatment:
    probability = 1.0 if resolved["degradation"] == "surveillance" else 0.0
    return Treatment(probability, tuple(resolved["resolution"]), resolved["alignment"])
